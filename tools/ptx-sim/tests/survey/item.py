"""One question to a device: a tiny kernel `k(in, out)`, its input, and how many bytes come out.

Nothing here says what is right. The same items run on a device and on the simulator (through the driver that stands for a device), and
`survey.py compare` shows where the bytes differ. An elementwise item is one instruction over rows of operands, a thread for each row, every
operand in a slot of eight bytes:

    elementwise("add.rn.f32 %d, %a, %b;", "r", ["r", "r"], [column, column])
"""

import numpy as np

HEAD = ".version 8.8\n.target sm_90a\n.address_size 64\n"
PROLOGUE = """    .reg .b64 %in, %out, %x<40>; .reg .b32 %t, %r<300>; .reg .b16 %h<40>; .reg .pred %p<20>; .reg .f32 %f<60>; .reg .f64 %g<40>;
    ld.param.u64 %in, [in]; ld.param.u64 %out, [out];
    { .reg .b32 a, b; mov.u32 a, %ctaid.x; mov.u32 b, %ntid.x; mov.u32 %t, %tid.x; mad.lo.u32 %t, a, b, %t; }
"""

# Kinds of registers and their bits; `p` is a predicate, 1 or 0 in its slot.
BITS = {"h": 16, "r": 32, "x": 64, "p": 32}
KIND = {"f16": "h", "bf16": "h", "f32": "r", "f64": "x", "i16": "h", "i32": "r", "i64": "x", "amount": "r"}

# Bits of exponent and of fraction.
FORMAT = {"f16": (5, 10), "bf16": (8, 7), "tf32": (8, 23), "e4m3": (4, 3), "e5m2": (5, 2), "f32": (8, 23), "f64": (11, 52)}


class Item:
    def __init__(self, name, body, data, out_bytes, threads=128, grid=1, shared=0, slots=False):
        self.name, self.body, self.out_bytes = name, body, out_bytes
        self.input = np.ascontiguousarray(data).view(np.uint8).ravel()
        self.threads, self.grid, self.shared, self.slots = threads, grid, shared, slots

    def text(self, entry):
        declare = ".extern .shared .align 1024 .b8 smem[];\n" if self.shared else ""
        return f"{declare}.visible .entry {entry}(.param .u64 in, .param .u64 out) {{\n{PROLOGUE}{self.body}\n    ret;\n}}\n"


def elementwise(text, destination, sources, columns):
    names = ("%a", "%b", "%c", "%e")
    body = ""
    for name, kind in [*zip(names, sources), ("%d", destination)]:
        body += f"    .reg .{'pred' if kind == 'p' else f'b{BITS[kind]}'} {name};\n"
    body += f"    mad.wide.u32 %in, %t, {8 * len(sources)}, %in; mad.wide.u32 %out, %t, 8, %out;\n"
    for at, (name, kind) in enumerate(zip(names, sources)):
        body += f"    ld.global.b{BITS[kind]} {name}, [%in+{8 * at}];\n"
    body += f"    {text}\n"
    if destination == "p":
        body += "    selp.u32 %r0, 1, 0, %d; st.global.b32 [%out], %r0;\n"
    else:
        body += f"    st.global.b{BITS[destination]} [%out], %d;\n"
    rows = len(columns[0])
    assert rows % 128 == 0
    data = np.stack([np.asarray(c, np.uint64) for c in columns], axis=1)
    return Item(text, body, data, 8 * rows, 128, rows // 128, slots=True)


def edges(kind):
    """Codes at which rules change: zeros, subnormal numbers, the least normal one, ones, ties, infinities, NaN quiet and not."""
    if kind[0] in "ia":
        powers = [1 << n for n in (5, 6, 8, 15, 16, 31, 32, 63)]
        return [0, 1, 2, 3] + [p + d for p in powers for d in (-1, 0, 1)] + [(1 << 64) - 2, (1 << 64) - 1]
    exponent, fraction = FORMAT[kind]
    sign, least = 1 << (exponent + fraction), 1 << fraction
    one, infinity = ((1 << (exponent - 1)) - 1) << fraction, ((1 << exponent) - 1) << fraction
    sizes = [0, 1, least - 1, least, least + 1, 2 * least - 1, one - 2, one - 1, one, one + 1, infinity - 1, infinity]
    sizes += [infinity | least // 2, infinity | 1, infinity | least // 2 - 1, infinity | least - 1, one - least, one + least * fraction]
    if kind == "f32":
        # Where reciprocals and exponentials have their limits.
        sizes += [0x7E800000, 0x7E800001, 0x7F000001, 0x42FC0000, 0x43160000, 0x40490FDB, 0x4F000000, 0x5F000000]
    if kind == "f64":
        # About the least normal and the greatest f32.
        sizes += [0x380FFFFFE0000001, 0x380FFFFFF0000000, 0x3810000000000000, 0x47EFFFFFE0000000, 0x47EFFFFFF0000000, 0x36A0000000000000]
    return [size | s for size in sizes for s in (0, sign)]


def column(rng, kind, rows):
    """Edges, any codes, and numbers of a size."""
    codes = rng.integers(0, 1 << 64, rows, dtype=np.uint64)
    if kind[0] in "ia":
        small = rng.integers(0, 70, rows).astype(np.uint64)
        codes = np.where(rng.random(rows) < (0.7 if kind == "amount" else 0.3), small, codes)
    else:
        exponent, fraction = FORMAT[kind]
        one = ((1 << (exponent - 1)) - 1) << fraction
        codes >>= np.uint64(63 - exponent - fraction)
        near = np.uint64(one) + (rng.integers(-4, 5, rows) * (1 << fraction)).astype(np.uint64)
        near += rng.integers(0, 1 << fraction, rows).astype(np.uint64)
        near |= rng.integers(0, 2, rows).astype(np.uint64) << np.uint64(exponent + fraction)
        codes = np.where(rng.random(rows) < 0.5, near, codes)
    some = np.array(edges(kind), np.uint64)
    return np.where(rng.random(rows) < 0.25, some[rng.integers(0, len(some), rows)], codes)


def columns(rng, kinds, rows=2048):
    """One column for each kind; two of floats begin with all pairs of edges."""
    out = [column(rng, kind, rows) for kind in kinds]
    if kinds[0] in FORMAT:
        some = np.array(edges(kinds[0]), np.uint64)
        if len(kinds) == 1:
            out[0][: len(some)] = some
        elif kinds[0] == kinds[1]:
            at = np.arange(min(len(some) ** 2, rows))
            out[0][at], out[1][at] = some[at // len(some)], some[at % len(some)]
    return out


def pack(codes, bits):
    """Codes into words, the first at the bottom."""
    per = 32 // bits
    words = np.asarray(codes).astype(np.uint64).reshape(-1, per)
    return sum(words[:, n] << np.uint64(bits * n) for n in range(per)).astype(np.uint32)
