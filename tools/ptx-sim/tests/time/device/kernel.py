"""PTX for one measurement, and the driver that runs it.

A measurement is a loop between two readings of the multiprocessor's clock. What stands around the loop costs the same for
every number of rounds, so that two runs of different length give the cost of a round alone:

    rounds 32:  t = start + 32 r        rounds 96:  t = start + 96 r        r = (t96 - t32) / 64

`build` writes the kernel. `gpu.py` loads it through NVIDIA's driver, `model.py` asks the simulator what it would take; both have
`per_round`, so that the items below do not know whom they ask.
"""

HEAD = """.version {version}
.target sm_90a
.address_size 64
{module}
.visible .entry k(.param .u64 in, .param .u64 out, .param .u32 rounds, .param .u32 zero{more})
{limits}{{
    .reg .b64 %in, %out, %t0, %t1, %q<64>;
    .reg .b32 %n, %i, %zero, %me, %warp, %lane, %cta, %sink, %r<320>;
    .reg .b16 %h<64>;
    .reg .f32 %f<320>;
    .reg .f64 %g<32>;
    .reg .pred %more, %p<16>;
    ld.param.u64 %in, [in];
    ld.param.u64 %out, [out];
    ld.param.u32 %n, [rounds];
    ld.param.u32 %zero, [zero];
    mov.u32 %me, %tid.x;
    mov.u32 %cta, %ctaid.x;
    shr.u32 %warp, %me, 5;
    and.b32 %lane, %me, 31;
    mov.u32 %sink, 0;
{setup}
    bar.sync 0;
    mov.u32 %i, 0;
    mov.u64 %t0, %clock64;
ROUND:
{body}
    add.u32 %i, %i, 1;
    setp.lt.u32 %more, %i, %n;
    @%more bra ROUND;
{after}
    mov.u64 %t1, %clock64;
{sink}
    // The results keep what made them alive; nobody reads them.
    mul.wide.u32 %q0, %me, 4;
    add.u64 %q0, %q0, %out;
    st.global.u32 [%q0+{results}], %sink;
    setp.ne.u32 %p0, %lane, 0;
    @%p0 ret;
    mov.u32 %r0, %ntid.x;
    shr.u32 %r0, %r0, 5;
    mad.lo.u32 %r0, %r0, %cta, %warp;
    mul.wide.u32 %q0, %r0, 16;
    add.u64 %q0, %q0, %out;
    st.global.v2.u64 [%q0], {{%t0, %t1}};
    ret;
}}
"""

# Where the results of threads lie behind the clocks of warps.
RESULTS = 1 << 18
OUT_BYTES = RESULTS + (1 << 16)


def build(body, setup="", after="", sink=(), module="", threads=None, maps=0, version="8.0"):
    """The text of a kernel. `sink` names 32-bit registers (or f32) that depend on what the body did."""
    more = "".join(f", .param .align 64 .b8 map{n}[128]" for n in range(maps))
    keep = []
    for name in sink:
        if name.startswith("%f"):
            keep.append(f"    mov.b32 %r319, {name};\n    xor.b32 %sink, %sink, %r319;")
        else:
            keep.append(f"    xor.b32 %sink, %sink, {name};")
    return HEAD.format(
        version=version,
        module=module,
        more=more,
        limits=f".maxntid {threads}, 1, 1\n.minnctapersm 1\n" if threads else "",
        setup=setup,
        body=body,
        after=after,
        sink="\n".join(keep),
        results=RESULTS,
    )
