"""`cvt` between all types, all 65536 codes of sources of 16 bits; the approximations, whose bytes nobody documents."""

import numpy as np

from item import KIND, Item, columns, elementwise

FLOATS = {"f16": 16, "bf16": 16, "f32": 32, "f64": 64}
INTEGERS = ("u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64")
REGISTER = {"u8": "r", "s8": "r", "u16": "h", "s16": "h", "u32": "r", "s32": "r", "u64": "x", "s64": "x", **{f: KIND[f] for f in FLOATS}}
ALL_HALVES = np.arange(1 << 16, dtype=np.uint64)


def items():
    rng = np.random.default_rng(9)
    for to in FLOATS:
        for source in FLOATS:
            for words in roundings(to, source):
                yield one(rng, words, to, source)
        for integer in INTEGERS:
            if to == "bf16" and integer[1:] == "8":
                continue
            for r in "nzmp":
                yield one(rng, f"r{r}i", integer, to)
                yield one(rng, f"r{r}", to, integer)
    yield from small(rng)
    yield from approximations(rng)
    yield from whole()


def one(rng, words, to, source):
    kind = source if source in FLOATS else "i64"
    values = [ALL_HALVES] if FLOATS.get(source) == 16 else columns(rng, [kind], 4096)
    name = ".".join(filter(None, ("cvt", words, to, source)))
    return elementwise(f"{name} %d, %a;", REGISTER[to], [REGISTER[source]], values)


def roundings(to, source):
    """The modifiers between two float types."""
    flush = [w for w in ("ftz",) if (to, source) in (("f64", "f32"), ("f32", "f16"), ("f32", "f32"))]
    if to == source:
        return [] if to == "bf16" else [f"r{r}i" for r in "nzmp"] + (["sat"] if FLOATS[to] > 16 else []) + (["rni.ftz"] if flush else [])
    if FLOATS[to] > FLOATS[source]:
        return ["", *flush]
    modes = "nz" if source == "f32" else "nzmp"
    out = [f"r{r}" for r in modes]
    if source == "f32":
        out += ["rn.relu"] + (["rn.ftz", "rn.sat"] if to == "f16" else [])
    if (to, source) == ("f32", "f64"):
        out += [f"r{r}.{w}" for r in modes for w in ("ftz", "sat")]
    return out


def small(rng):
    for words in ("rna", "rn", "rz", "rn.relu", "rz.relu"):
        yield elementwise(f"cvt.{words}.tf32.f32 %d, %a;", "r", ["r"], columns(rng, ["f32"], 8192))
    for pair in ("f16x2", "bf16x2"):
        for words in ("rn", "rz", "rn.relu", "rz.relu"):
            yield elementwise(f"cvt.{words}.{pair}.f32 %d, %a, %b;", "r", ["r", "r"], columns(rng, ["f32", "f32"], 4096))
    for pair in ("e4m3x2", "e5m2x2"):
        for relu in ("", ".relu"):
            yield elementwise(f"cvt.rn{relu}.f16x2.{pair} %d, %a;", "r", ["h"], [ALL_HALVES])
            both = ALL_HALVES | ALL_HALVES[::-1] << np.uint64(16)
            yield elementwise(f"cvt.rn.satfinite{relu}.{pair}.f16x2 %d, %a;", "h", ["r"], [both])
            yield elementwise(f"cvt.rn.satfinite{relu}.{pair}.f32 %d, %a, %b;", "h", ["r", "r"], columns(rng, ["f32", "f32"], 8192))


def approximations(rng):
    """The simulator rounds correctly here; the record says how often, and where, a device does not."""
    for op in ("rcp", "rsqrt", "sqrt", "ex2", "lg2", "sin", "cos"):
        for flush in ("", ".ftz"):
            yield elementwise(f"{op}.approx{flush}.f32 %d, %a;", "r", ["r"], columns(rng, ["f32"], 8192))
    for op in ("div.approx", "div.full"):
        for flush in ("", ".ftz"):
            yield elementwise(f"{op}{flush}.f32 %d, %a, %b;", "r", ["r", "r"], columns(rng, ["f32", "f32"], 8192))
    yield elementwise("tanh.approx.f32 %d, %a;", "r", ["r"], columns(rng, ["f32"], 8192))
    for op in ("ex2.approx.f16", "tanh.approx.f16", "ex2.approx.ftz.bf16", "tanh.approx.bf16"):
        yield elementwise(f"{op} %d, %a;", "h", ["h"], [ALL_HALVES])
    for op in ("rcp", "rsqrt"):
        yield elementwise(f"{op}.approx.ftz.f64 %d, %a;", "x", ["x"], columns(rng, ["f64"], 4096))


def whole():
    """All 2^23 fractions of one exponent (rsqrt: of two)."""
    one, two = 0x3F800000, 0x40000000
    for op, first in (("rcp", one), ("rsqrt", one), ("rsqrt", two), ("sqrt", one), ("ex2", one), ("lg2", one), ("sin", one), ("cos", one)):
        text = f"{op}.approx.ftz.f32"
        body = f"    mad.wide.u32 %out, %t, 4, %out; add.u32 %r1, %t, {first:#x}; mov.b32 %f0, %r1; {text} %f1, %f0; st.global.f32 [%out], %f1;"
        yield Item(f"{text} from {first:#x}", body, np.zeros(8, np.uint8), 4 << 23, 256, 1 << 15)
