"""Tensor cores: mma.sync by one to sixteen warps, wgmma by one to three warpgroups.

For wgmma the operands in shared memory lie in rows of 128 bytes under the 128-byte swizzle. Their values are zeros, but for those
who ask for others (`clock.py`).
"""

from kernel import build

MMA = {
    # name: (instruction, registers of A, of B, of D, floats in D)
    "mma m16n8k16 f16": ("m16n8k16.row.col.f32.f16.f16.f32", 4, 2, 4, True),
    "mma m16n8k16 bf16": ("m16n8k16.row.col.f32.bf16.bf16.f32", 4, 2, 4, True),
    "mma m16n8k16 f16 sums in f16": ("m16n8k16.row.col.f16.f16.f16.f16", 4, 2, 2, False),
    "mma m16n8k8 tf32": ("m16n8k8.row.col.f32.tf32.tf32.f32", 4, 2, 4, True),
    "mma m16n8k32 s8": ("m16n8k32.row.col.satfinite.s32.s8.s8.s32", 4, 2, 4, False),
    "mma m16n8k8 f16": ("m16n8k8.row.col.f32.f16.f16.f32", 2, 1, 4, True),
}


def group(kind, first, count):
    return "{" + ", ".join(f"%{kind}{first + n}" for n in range(count)) + "}"


def mma(name, chains, unroll):
    instruction, a, b, d, floats = MMA[name]
    kind = "f" if floats else "r"
    one = lambda n: (
        f" mma.sync.aligned.{instruction} {group(kind, 100 + 4 * n, d)}, {group('r', 10, a)}, "
        f"{group('r', 14, b)}, {group(kind, 100 + 4 * n, d)};"
    )
    body = "\n".join(one(n) for _ in range(unroll) for n in range(chains))
    setup = "".join(f"    mov.b32 %r{10 + n}, %zero;\n" for n in range(6))
    setup += "".join(f"    mov.b32 %{kind}{100 + n}, %zero;\n" for n in range(4 * chains))
    return build(body, setup=setup, sink=[f"%{kind}{100 + n}" for n in range(4 * chains)])


def mma_items(gpu):
    for name in MMA:
        yield f"{name}: latency", "clocks", lambda n=name: gpu.per_round(mma(n, 1, 16)) / 16
        for warps in (1, 2, 4, 8, 16):
            def interval(n=name, w=warps):
                return gpu.per_round(mma(n, 4, 8), threads=32 * w) / (32 * w)

            yield f"{name}: interval, {warps} warps", "clocks/warp", interval


# A in the first 64 KiB, B behind it; descriptors of rows of 128 bytes under the widest swizzle.
WGMMA = """    mov.u32 %r9, smem;
    cvt.u64.u32 %q10, %r9;
    shr.u64 %q10, %q10, 4;
    or.b64 %q10, %q10, 0x4000004000010000;
    shr.u32 %r8, %warp, 2;
    mul.wide.u32 %q11, %r8, 512;
    add.u64 %q11, %q11, %q10;
    add.u64 %q12, %q10, 4096;
    setp.eq.u32 %p9, %zero, 0;
"""
SHARED = 128 << 10
CLEAR = """    mov.u32 %r9, smem;
    shl.b32 %r8, %me, 2;
CLEAR:
    add.u32 %r6, %r9, %r8;
    mov.u32 %r7, %zero;
    {value}
    st.shared.u32 [%r6], %r7;
    mov.u32 %r5, %ntid.x;
    shl.b32 %r5, %r5, 2;
    add.u32 %r8, %r8, %r5;
    setp.lt.u32 %p0, %r8, 131072;
    @%p0 bra CLEAR;
    fence.proxy.async.shared::cta;
"""
RANDOM = """mul.lo.u32 %r4, %r8, 747796405;
    add.u32 %r4, %r4, %cta;
    shr.u32 %r3, %r4, 15;
    xor.b32 %r4, %r4, %r3;
    mul.lo.u32 %r4, %r4, 0x2c1b3c6d;
    shr.u32 %r3, %r4, 12;
    xor.b32 %r4, %r4, %r3;
    // Two bf16 of either sign between 2^-8 and 2^0 or so.
    and.b32 %r4, %r4, 0x83ff83ff;
    add.u32 %r7, %r4, 0x3c003c00;"""


def wgmma(n, k, types, registers, steps, count, threads, wait=0, values="", scale=True):
    """`count` groups of `steps` products each in one round; `wait`: groups that may be under way at its end."""
    a = group("r", 20, 4) if registers else "%q14"
    d = group("f", 40, n // 2)
    # Only operands of 16 bits can be transposed, and only those in shared memory.
    tail = "1, 1" if k != 16 else "1, 1, 0" if registers else "1, 1, 0, 0"
    body = []
    for _ in range(count):
        body.append(" wgmma.fence.sync.aligned;")
        for step in range(steps):
            body.append(f" add.u64 %q14, %q11, {2 * step};\n add.u64 %q15, %q12, {2 * step};")
            body.append(
                f" wgmma.mma_async.sync.aligned.m64n{n}k{k}.{types} {d}, {a}, %q15, %p9, {tail};"
            )
        body.append(" wgmma.commit_group.sync.aligned;")
        body.append(f" wgmma.wait_group.sync.aligned {wait};")
    setup = CLEAR.format(value=values) + WGMMA
    setup += "".join(f"    mov.b32 %r{20 + m}, %zero;\n" for m in range(4))
    setup += "".join(f"    mov.b32 %f{40 + m}, %zero;\n" for m in range(n // 2))
    if registers and values:
        setup += "".join(f"    mov.b32 %r{20 + m}, 0x3c9cbd8c;\n" for m in range(4))
    return build(
        "\n".join(body),
        setup=setup,
        after="    wgmma.wait_group.sync.aligned 0;",
        sink=[f"%f{40 + m}" for m in range(n // 2)],
        module=".extern .shared .align 1024 .b8 smem[];",
        threads=threads,
    )


def wgmma_items(gpu):
    shapes = [(n, 16, "f32.bf16.bf16") for n in (8, 16, 32, 64, 96, 128, 192, 256)]
    shapes += [(256, 8, "f32.tf32.tf32"), (256, 32, "f32.e4m3.e4m3"), (128, 16, "f32.f16.f16")]
    for n, k, types in shapes:
        for registers in (False, True):
            form = "RS" if registers else "SS"
            label = f"wgmma m64n{n}k{k} {types.split('.')[1]} {form}"

            def latency(n=n, k=k, types=types, registers=registers):
                text = wgmma(n, k, types, registers, 1, 4, 128)
                return gpu.per_round(text, threads=128, shared=SHARED) / 4

            yield f"{label}: one, waited for", "clocks", latency

            def chain(n=n, k=k, types=types, registers=registers):
                text = wgmma(n, k, types, registers, 4, 2, 128)
                return gpu.per_round(text, threads=128, shared=SHARED) / 2

            yield f"{label}: four, waited for", "clocks", chain
            for groups in (1, 2, 3):
                if groups == 3 and n > 192:
                    continue

                def interval(n=n, k=k, types=types, registers=registers, groups=groups):
                    threads = 128 * groups
                    text = wgmma(n, k, types, registers, 4, 2, threads, wait=1)
                    return gpu.per_round(text, threads=threads, shared=SHARED) / (8 * groups)

                yield f"{label}: interval, {groups} warpgroups", "clocks", interval


def items(gpu):
    yield from mma_items(gpu)
    yield from wgmma_items(gpu)
