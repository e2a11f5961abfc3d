"""Barriers: of a CTA, of a cluster, and mbarriers."""

from copies import BARRIERS, MODULE
from kernel import build


def items(gpu):
    for warps in (1, 2, 4, 8, 12, 16, 32):
        text = build("\n".join([" bar.sync 0;"] * 16))
        yield (f"bar.sync of {warps} warps", "clocks",
               lambda t=text, w=warps: gpu.per_round(t, threads=32 * w) / 16)

    one = """ mbarrier.arrive.shared::cta.b64 %q10, [%r10];
WAIT:
 mbarrier.try_wait.shared::cta.b64 %p2, [%r10], %q10;
 @!%p2 bra WAIT;"""
    alone = build(f" @%p1 bra OVER;\n{one}\nOVER:", setup=BARRIERS, module=MODULE)
    yield "mbarrier: arrive and wait, one thread", "clocks", lambda: gpu.per_round(alone)

    # Two warps wait for each other in turns: %r12 is the barrier of this warp, %r13 that of the other.
    turns = """    mov.u32 %r11, 0;
    setp.ne.u32 %p3, %lane, 0;
    shl.b32 %r12, %warp, 3;
    xor.b32 %r13, %r12, 8;
    add.u32 %r12, %r12, %r10;
    add.u32 %r13, %r13, %r10;
    setp.ne.u32 %p4, %warp, 0;
"""
    arrive = " @!%p3 mbarrier.arrive.shared::cta.b64 _, [%r13];"
    wait = """WAIT{n}:
 mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r12], %r11;
 @!%p2 bra WAIT{n};"""
    body = f" @%p4 bra SECOND;\n{arrive}\n{wait.format(n=1)}\n bra BOTH;\nSECOND:\n{wait.format(n=2)}\n{arrive}\nBOTH:\n xor.b32 %r11, %r11, 1;"
    text = build(body, setup=BARRIERS + turns, module=MODULE)
    yield "mbarrier: from one warp to another", "clocks", lambda t=text: gpu.per_round(t, threads=64) / 2

    for order in (".release", ".relaxed"):
        cluster = build("\n".join([f" barrier.cluster.arrive{order}.aligned;\n barrier.cluster.wait.aligned;"] * 8))
        for size in (2, 4):
            yield (f"barrier.cluster{order} of {size} CTAs", "clocks",
                   lambda s=size, t=cluster: gpu.per_round(t, threads=128, grid=s, cluster=s) / 8)

    # A word of the other CTA of a cluster that holds the address to read next.
    there = """    mov.u32 %r9, smem;
    mov.u32 %r8, %cluster_ctarank;
    xor.b32 %r8, %r8, 1;
    mapa.shared::cluster.u32 %r11, %r9, %r8;
    mov.u32 %r12, %r11;
    st.shared.u32 [%r9], 0;
    barrier.cluster.arrive.aligned;
    barrier.cluster.wait.aligned;
"""
    body = "\n".join([" ld.shared::cluster.u32 %r11, [%r11];\n add.u32 %r11, %r11, %r12;"] * 8)
    end = "    barrier.cluster.arrive.aligned;\n    barrier.cluster.wait.aligned;"
    text = build(body, setup=there, sink=["%r11"], after=end, module=MODULE)
    yield ("ld.shared::cluster of the other CTA", "clocks",
           lambda t=text: gpu.per_round(t, grid=2, cluster=2, shared=1024) / 8 - 4)

    # As above with barriers of two CTAs: each arrives at the other's and waits for its own.
    turns = """    mov.u32 %r11, 0;
    mov.u32 %r8, %cluster_ctarank;
    setp.ne.u32 %p4, %r8, 0;
    xor.b32 %r8, %r8, 1;
    mapa.shared::cluster.u32 %r13, %r10, %r8;
    setp.ne.u32 %p3, %lane, 0;
    mov.u32 %r12, %r10;
    barrier.cluster.arrive.aligned;
    barrier.cluster.wait.aligned;
"""
    wait_cta = wait
    arrive = " @!%p3 mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r13];"
    wait = wait.replace("try_wait.parity", "try_wait.parity.acquire.cluster")
    body = f" @%p4 bra SECOND;\n{arrive}\n{wait.format(n=1)}\n bra BOTH;\nSECOND:\n{wait.format(n=2)}\n{arrive}\nBOTH:\n xor.b32 %r11, %r11, 1;"
    text = build(body, setup=BARRIERS + turns, after=end, module=MODULE)
    yield ("mbarrier: from one CTA of a cluster to another", "clocks",
           lambda t=text: gpu.per_round(t, grid=2, cluster=2) / 2)
    fence = build("\n".join([" fence.proxy.async.shared::cta;"] * 8))
    for name in ("fence.proxy.async.shared::cta", "fence.acq_rel.cta", "fence.acq_rel.gpu"):
        text = build("\n".join([f" {name};"] * 8))
        yield name, "clocks", lambda t=text: gpu.per_round(t) / 8
