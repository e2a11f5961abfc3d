"""Arithmetic, shuffles and votes: one warp with a chain for the latency, 16 warps with eight chains for the interval.

The interval is clocks of one partition (a fourth of the multiprocessor) for one warp's instruction: 1 where a pipe takes all
32 lanes in each clock, 2 where it takes 16.
"""

from kernel import build

# name: (kind of register, instruction that makes {x} of {x})
CHAINS = {
    "fma.f32": ("f", "fma.rn.f32 {x}, {x}, %f300, %f301;"),
    "add.f32": ("f", "add.rn.f32 {x}, {x}, %f300;"),
    "mul.f32": ("f", "mul.rn.f32 {x}, {x}, %f300;"),
    "max.f32": ("f", "max.f32 {x}, {x}, %f300;\n neg.f32 {x}, {x};"),
    # ptxas makes one instruction of the two.
    "add.s32 of three": ("r", "add.s32 {x}, {x}, %r300;\n add.s32 {x}, {x}, %r301;"),
    "mad.lo.s32": ("r", "mad.lo.s32 {x}, {x}, %r300, %r301;"),
    "lop3.b32": ("r", "lop3.b32 {x}, {x}, %r300, %r301, 0x6a;"),
    "shl.b32": ("r", "shf.l.wrap.b32 {x}, {x}, %r300, %r301;"),
    "prmt.b32": ("r", "prmt.b32 {x}, {x}, %r300, %r301;"),
    "selp.b32 of setp": ("r", "setp.lt.s32 %p8, {x}, %r301;\n selp.b32 {x}, %r300, {x}, %p8;"),
    "popc.b32": ("r", "popc.b32 {x}, {x};"),
    "fma.f16x2": ("r", "fma.rn.f16x2 {x}, {x}, %r300, %r301;"),
    "fma.bf16x2": ("r", "fma.rn.bf16x2 {x}, {x}, %r300, %r301;"),
    "max.f16x2 of three": ("r", "max.f16x2 {x}, {x}, %r300;\n max.f16x2 {x}, {x}, %r301;"),
    "fma.f64": ("g", "fma.rn.f64 {x}, {x}, %g30, %g31;"),
    "ex2.approx.ftz.f32": ("f", "ex2.approx.ftz.f32 {x}, {x};"),
    "ex2.approx.f32": ("f", "ex2.approx.f32 {x}, {x};"),
    "ex2.approx.f16x2": ("r", "ex2.approx.f16x2 {x}, {x};"),
    "rcp.approx.ftz.f32 and add": ("f", "rcp.approx.ftz.f32 {x}, {x};\n add.ftz.f32 {x}, {x}, %f300;"),
    "rsqrt.approx.ftz.f32": ("f", "rsqrt.approx.ftz.f32 {x}, {x};"),
    "sqrt.approx.ftz.f32": ("f", "sqrt.approx.ftz.f32 {x}, {x};"),
    "lg2.approx.ftz.f32": ("f", "lg2.approx.ftz.f32 {x}, {x};"),
    "sin.approx.ftz.f32": ("f", "sin.approx.ftz.f32 {x}, {x};"),
    "tanh.approx.f32": ("f", "tanh.approx.f32 {x}, {x};"),
    "div.rn.f32": ("f", "div.rn.f32 {x}, {x}, %f300;"),
    "cvt f32 to s32 and back": ("f", "cvt.rzi.s32.f32 %r302, {x};\n cvt.rn.f32.s32 {x}, %r302;"),
    "cvt f32 to f16 and back": ("f", "cvt.rn.f16.f32 %h60, {x};\n cvt.f32.f16 {x}, %h60;"),
    "cvt.rn.bf16x2.f32": ("f", "cvt.rn.bf16x2.f32 %r302, {x}, %f300;\n mov.b32 {x}, %r302;"),
    "cvt.rn.f16x2.f32": ("f", "cvt.rn.f16x2.f32 %r302, {x}, %f300;\n mov.b32 {x}, %r302;"),
    "cvt.rn.e4m3x2.f32": ("f", "cvt.rn.satfinite.e4m3x2.f32 %h60, {x}, %f300;\n cvt.u32.u16 %r302, %h60;\n mov.b32 {x}, %r302;"),
    "shfl.up": ("r", "shfl.sync.up.b32 {x}, {x}, 1, 0, -1;"),
    "redux.add": ("r", "redux.sync.add.s32 {x}, {x}, -1;"),
    "vote.ballot": ("r", "setp.lt.s32 %p8, {x}, %r301;\n vote.sync.ballot.b32 {x}, %p8, -1;"),
    "match.any": ("r", "match.any.sync.b32 {x}, {x}, -1;"),
}

# The values of a chain differ from lane to lane: a shuffle of equal ones is nothing to an assembler.
OPERANDS = """    mul.wide.u32 %q10, %lane, 8;
    add.u64 %q10, %q10, %in;
    ld.global.u32 %r300, [%in];
    ld.global.u32 %r301, [%in+4];
    ld.global.f32 %f300, [%in+8];
    ld.global.f32 %f301, [%in+12];
    ld.global.f64 %g30, [%in+16];
    ld.global.f64 %g31, [%in+24];
"""


def name_of(kind, n):
    return f"%{kind}{10 + n}"


def begin(kind, n):
    x = name_of(kind, n)
    ty = {"f": "f32", "r": "u32", "g": "f64"}[kind]
    return f"    ld.global.{ty} {x}, [%q10+{64 + 8 * n}];\n"


def end(kind, n):
    x = name_of(kind, n)
    return f"    cvt.rn.f32.f64 %f{200 + n}, {x};\n" if kind == "g" else ""


def text(kind, instruction, chains, unroll):
    """`unroll` instructions in each of so many chains."""
    body = "\n".join(
        " " + instruction.format(x=name_of(kind, n)) for _ in range(unroll) for n in range(chains)
    )
    setup = OPERANDS + "".join(begin(kind, n) for n in range(chains))
    after = "".join(end(kind, n) for n in range(chains))
    sink = [f"%f{200 + n}" if kind == "g" else name_of(kind, n) for n in range(chains)]
    return build(body, setup=setup, after=after, sink=sink)


def items(gpu):
    import numpy as np

    source = np.zeros(64, np.float64)
    source.view(np.uint32)[:2] = 3, 5
    source.view(np.float32)[2:4] = 0.999, 0.001
    source[2:4] = 0.999, 0.001
    # 0.5 as f32; as f64 and as halves some small numbers.
    source.view(np.uint32)[16:] = 0x3F000000
    at = gpu.upload(source)
    warps = 16
    for name, (kind, instruction) in CHAINS.items():
        def chain(kind=kind, instruction=instruction):
            return gpu.per_round(text(kind, instruction, 1, 32), source=at) / 32

        def stream(kind=kind, instruction=instruction):
            clocks = gpu.per_round(text(kind, instruction, 4, 8), threads=32 * warps, source=at)
            return clocks / (32 * warps / 4)

        yield f"{name}: latency", "clocks", chain
        yield f"{name}: interval", "clocks/warp/partition", stream
