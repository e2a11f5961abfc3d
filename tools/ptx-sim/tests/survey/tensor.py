"""Tensor cores: sums of numbers of any size, which show the adder; small integers through every layout, which show the places.

In the first, exponents are spread by so many bits to either side and some factors are zero, so that one large and a few small products meet:
what is cut off where they are aligned is in the result's last places. `adder.py` looks for a rule. In the second every sum is exact.
"""

import numpy as np

from item import FORMAT, Item, pack

# Instruction: registers of A, of B, of D; the type of A and B.
MMA = {
    "m16n8k8.row.col.f32.f16.f16.f32": (2, 1, 4, "f16"),
    "m16n8k16.row.col.f32.f16.f16.f32": (4, 2, 4, "f16"),
    "m16n8k8.row.col.f16.f16.f16.f16": (2, 1, 2, "f16"),
    "m16n8k16.row.col.f16.f16.f16.f16": (4, 2, 2, "f16"),
    "m16n8k8.row.col.f32.bf16.bf16.f32": (2, 1, 4, "bf16"),
    "m16n8k16.row.col.f32.bf16.bf16.f32": (4, 2, 4, "bf16"),
    "m16n8k4.row.col.f32.tf32.tf32.f32": (2, 1, 4, "tf32"),
    "m16n8k8.row.col.f32.tf32.tf32.f32": (4, 2, 4, "tf32"),
    "m16n8k16.row.col.f32.e4m3.e4m3.f32": (2, 1, 4, "e4m3"),
    "m16n8k32.row.col.f32.e4m3.e4m3.f32": (4, 2, 4, "e4m3"),
    "m16n8k32.row.col.f32.e5m2.e5m2.f32": (4, 2, 4, "e5m2"),
    "m16n8k32.row.col.f16.e4m3.e4m3.f16": (4, 2, 2, "e4m3"),
}
# Type of D, A, B; k; registers of A, B; selectors.
SPARSE = [
    ("f32", "f16", "f16", 16, 2, 2, 4),
    ("f32", "bf16", "bf16", 32, 4, 4, 2),
    ("f32", "tf32", "tf32", 16, 4, 4, 2),
    ("s32", "s8", "s8", 32, 2, 2, 2),
    ("s32", "s8", "u8", 64, 4, 4, 1),
    ("s32", "s4", "s4", 64, 2, 2, 2),
    ("s32", "u4", "s4", 128, 4, 4, 1),
    ("f32", "e4m3", "e5m2", 64, 4, 4, 1),
]
# Bits to either side of one.
SPREADS = (0, 1, 3, 6, 10, 14)
WIDTH = {"f16": 16, "bf16": 16, "tf32": 32, "e4m3": 8, "e5m2": 8, "s8": 8, "u8": 8, "s4": 4, "u4": 4}
SHARED = 32 << 10
# B lies behind A.
HALF = SHARED // 2


def items():
    rng = np.random.default_rng(13)
    for name, (a, b, d, ty) in MMA.items():
        data = np.concatenate([sums(rng, ty, a, b, d, spread) for spread in SPREADS for _ in range(8)])
        yield mma(f"mma.sync.aligned.{name}", data, a, b, d)
    for d, a, b, k, count_a, count_b, selectors in SPARSE:
        for selector in range(selectors):
            data = np.concatenate([lanes(rng, a, b, d, count_a, count_b) for _ in range(8)])
            name = f"mma.sp::ordered_metadata.sync.aligned.m16n8k{k}.row.col.{d}.{a}.{b}.{d}"
            yield mma(name, data, count_a, count_b, 4, f", %r{count_a + count_b + 4}, {selector}")
    for ty in ("f16", "bf16", "tf32", "e4m3", "e5m2", "s8", "u8"):
        for width in (16, 32, 64, 128):
            for ta, tb in ((0, 0), (0, 1), (1, 0), (1, 1)) if WIDTH[ty] == 16 else ((0, 0),):
                yield wgmma(rng, ty, width, (ta, tb))
        for selector in (0, 1) if WIDTH[ty] > 8 else (0,):
            for registers in (False, True):
                yield wgmma(rng, ty, 128, (0, 0), registers, selector)
    for ty in ("f16", "bf16", "tf32", "e4m3", "e5m2"):
        for d in ("f32", "f16") if ty in ("f16", "e4m3", "e5m2") else ("f32",):
            for spread in SPREADS:
                yield wgmma(rng, ty, 16, (0, 0), True, None, d, spread)


def numbers(rng, ty, count, spread, centre=0):
    """Codes of random numbers, their exponents about `centre`."""
    exponent, fraction = FORMAT[ty]
    bias = (1 << (exponent - 1)) - 1
    e = np.clip(bias + centre + rng.integers(-spread, spread + 1, count), 0, 2 * bias)
    return rng.integers(0, 2, count) << (exponent + fraction) | e << fraction | rng.integers(0, 1 << fraction, count)


def integers(rng, ty, count):
    """Codes of small integers."""
    value = rng.integers(0, 4, count) if ty[0] == "u" else rng.integers(-3, 4, count)
    if ty[0] in "su":
        return value & ((1 << min(WIDTH.get(ty, 32), 32)) - 1)
    exponent, fraction = FORMAT[ty]
    size = np.abs(value)
    e = (size > 1).astype(np.int64)
    code = (e + (1 << (exponent - 1)) - 1) << fraction | (size << fraction >> e) & ((1 << fraction) - 1)
    return np.where(size == 0, 0, code | (value < 0).astype(np.int64) << (exponent + fraction))


def sums(rng, ty, a, b, d, spread):
    """One warp's registers of A, B and C."""
    spread, per = min(spread, (1 << (FORMAT[ty][0] - 1)) - 3), 32 // WIDTH[ty]
    left = numbers(rng, ty, 32 * a * per, spread)
    left = np.where(rng.random(left.size) < rng.choice([0, 0.6]), 0, left)
    right = numbers(rng, ty, 32 * b * per, spread)
    half = d == 2
    old = numbers(rng, "f16" if half else "f32", 32 * d * (2 if half else 1), min(spread, 12), rng.choice([0, 4, -4]))
    parts = [pack(left, WIDTH[ty]).reshape(32, a), pack(right, WIDTH[ty]).reshape(32, b), pack(old, 16 if half else 32).reshape(32, d)]
    return np.concatenate(parts, axis=1)[None]


def metadata(rng, ty, count):
    """Eight groups a word, each naming two of four."""
    legal = np.array([0x4, 0xE] if ty == "tf32" else [0x4, 0x8, 0xC, 0x9, 0xD, 0xE])
    return pack(legal[rng.integers(0, len(legal), 8 * count)], 4)


def lanes(rng, a, b, d, count_a, count_b):
    parts = [pack(integers(rng, ty, 32 * n * 32 // w), w).reshape(32, n) for ty, n, w in ((a, count_a, WIDTH[a]), (b, count_b, WIDTH[b]), (d, 4, 32))]
    return np.concatenate([*parts, metadata(rng, a, 32).reshape(32, 1)], axis=1)[None]


def group(first, count):
    return "{" + ", ".join(f"%r{first + n}" for n in range(count)) + "}"


def mma(name, data, a, b, d, tail=""):
    """A warp for each CTA; its registers lie lane by lane."""
    count = data.shape[2]
    body = f"    mad.wide.u32 %in, %t, {4 * count}, %in; mad.wide.u32 %out, %t, {4 * d}, %out;\n"
    body += "".join(f"    ld.global.b32 %r{n}, [%in+{4 * n}];\n" for n in range(count))
    body += f"    {name} {group(100, d)}, {group(0, a)}, {group(a, b)}, {group(a + b, d)}{tail};\n"
    body += "".join(f"    st.global.b32 [%out+{4 * n}], %r{100 + n};\n" for n in range(d))
    return Item(name + tail, body, data, data.shape[0] * 32 * d * 4, 32, data.shape[0])


def descriptor(lines, k, bits, width, transposed):
    """Offsets and swizzle of an operand of so many lines of k elements."""
    code = {16: 0, 32: 3, 64: 2, 128: 1}[width]
    if transposed:
        leading, stride = (128, lines * bits // 8 * 8) if width == 16 else (16 * width, 8 * width)
    else:
        leading, stride = (128, k * bits // 8 * 8) if width == 16 else (16, 8 * width)
    return leading >> 4 << 16 | stride >> 4 << 32 | code << 62


def wgmma(rng, ty, width, transposed, registers=False, selector=None, d=None, spread=None):
    """One product of a warpgroup: shared memory is the input's beginning; behind it each thread's A, metadata and D."""
    n, bits = 64, WIDTH[ty]
    k = 256 // bits * (1 if selector is None else 2)
    d = d or ("s32" if ty[1:] == "8" else "f32")
    count = n // 4 if d == "f16" else n // 2
    if spread is None:
        shared, a = integers(rng, ty, SHARED * 8 // bits), integers(rng, ty, 128 * 128 // bits)
        old = integers(rng, d, 128 * count)
    else:
        spread = min(spread, (1 << (FORMAT[ty][0] - 1)) - 3)
        shared, a = numbers(rng, ty, SHARED * 8 // bits, spread), numbers(rng, ty, 128 * 128 // bits, spread)
        a = np.where(rng.random(a.size) < rng.choice([0, 0.6]), 0, a)
        old = numbers(rng, d, 128 * count * (2 if d == "f16" else 1), min(spread, 12), rng.choice([0, 4, -4]))
    per_thread = [pack(a, bits).reshape(128, 4), metadata(rng, ty, 128).reshape(128, 1), pack(old, 16 if d == "f16" and spread is not None else 32).reshape(128, count)]
    data = np.concatenate([pack(shared, bits), np.concatenate(per_thread, axis=1).ravel()])
    # A sparse A in shared memory is as long as half a row.
    left = descriptor(64, k if selector is None else k // 2, bits, width, transposed[0])
    right = descriptor(n, k, bits, width, transposed[1])
    body = f"""    mov.u32 %r250, smem; mov.u32 %r251, %tid.x; shl.b32 %r252, %r251, 2;
COPY: cvt.u64.u32 %x1, %r252; add.u64 %x2, %in, %x1; ld.global.u32 %r253, [%x2]; add.u32 %r254, %r250, %r252; st.shared.u32 [%r254], %r253;
    add.u32 %r252, %r252, 512; setp.lt.u32 %p1, %r252, {SHARED}; @%p1 bra COPY;
    fence.proxy.async.shared::cta; bar.sync 0; setp.eq.u32 %p9, %r250, %r250;
    add.u64 %in, %in, {SHARED}; mad.wide.u32 %in, %t, {4 * (5 + count)}, %in; mad.wide.u32 %out, %t, {4 * count}, %out;
    cvt.u64.u32 %x10, %r250; shr.u64 %x10, %x10, 4; or.b64 %x11, %x10, {left:#x}; add.u64 %x12, %x10, {HALF >> 4}; or.b64 %x12, %x12, {right:#x};
"""
    body += "".join(f"    ld.global.b32 %r{m}, [%in+{4 * m}];\n" for m in range(5 + count))
    sp, tail = ("", ", %p9") if selector is None else (".sp", f", %r4, {selector}, %p9")
    tail += "" if d == "s32" else ", 1, 1"
    if bits == 16:
        tail += f", {transposed[1]}" if registers else f", {transposed[0]}, {transposed[1]}"
    name = f"wgmma.mma_async{sp}.sync.aligned.m64n{n}k{k}.{d}.{ty}.{ty}"
    body += f"    wgmma.fence.sync.aligned;\n    {name} {group(5, count)}, {group(0, 4) if registers else '%x11'}, %x12{tail};\n"
    body += "    wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;\n"
    body += "".join(f"    st.global.b32 [%out+{4 * m}], %r{5 + m};\n" for m in range(count))
    form = f"{name}, rows of {width} bytes, transposed {transposed}, {'registers' if registers else 'shared'}, selector {selector}, spread {spread}"
    return Item(form, body, data, 128 * count * 4, 128, 1, SHARED)
