//! Copies that go on beside the warps: `cp.async`, bulk copies, `st.async`.

use crate::support::*;
use ptx_sim::{FaultKind, Geometry};

/// Lane l copies word l to shared memory and writes it to `b`.
fn cp_async(wait: &str) -> String {
    text(
        "",
        256,
        &format!(
            "
    mov.u32 %r2, smem;
    mad.lo.u32 %r3, %r1, 4, %r2;
    mul.wide.u32 %rd3, %r1, 4;
    add.s64 %rd4, %rd1, %rd3;
    cp.async.ca.shared.global [%r3], [%rd4], 4;
    {wait}
    ld.shared.u32 %r5, [%r3];
    add.s64 %rd4, %rd2, %rd3;
    st.global.u32 [%rd4], %r5;"
        ),
    )
}

#[test]
fn a_copy_and_its_wait() {
    for wait in ["cp.async.commit_group;\ncp.async.wait_group 0;", "cp.async.wait_all;"] {
        assert_eq!(clean(&cp_async(wait), &threads(32), &counting(32), &zeros(32)).b, counting(32));
    }
    for wait in ["", "cp.async.commit_group;\ncp.async.wait_group 1;", "cp.async.wait_group 0;"] {
        refuted(&cp_async(wait), &threads(32), &counting(32), &zeros(32), FaultKind::SharedRace);
        let late = once(&cp_async(wait), &threads(32), &counting(32), &zeros(32));
        assert_ne!(late.b, counting(32), "a missing wait shows in fast mode too");
    }
}

#[test]
fn a_copy_that_others_read_needs_wait_and_barrier() {
    let other = |sync: &str| {
        cp_async(&format!(
            "cp.async.commit_group;\n{sync}\nxor.b32 %r6, %r1, 32;\nmad.lo.u32 %r3, %r6, 4, %r2;"
        ))
    };
    let right = other("cp.async.wait_group 0;\nbar.sync 0;");
    let want: Vec<u32> = (0..64).map(|n| n ^ 32).collect();
    assert_eq!(clean(&right, &threads(64), &counting(64), &zeros(64)).b, want);
    for sync in ["bar.sync 0;\ncp.async.wait_group 0;", "cp.async.wait_group 0;", "bar.sync 0;"] {
        refuted(&other(sync), &threads(64), &counting(64), &zeros(64), FaultKind::SharedRace);
    }
}

#[test]
fn an_mbarrier_learns_of_cp_async() {
    let body = |noinc: &str, count: u32| {
        text(
            "",
            1024,
            &format!(
                "
    mov.u32 %r2, smem;
    setp.eq.u32 %p1, %r1, 0;
    @%p1 mbarrier.init.shared::cta.b64 [%r2], {count};
    bar.sync 0;
    mad.lo.u32 %r3, %r1, 4, %r2;
    mul.wide.u32 %rd3, %r1, 4;
    add.s64 %rd4, %rd1, %rd3;
    cp.async.ca.shared.global [%r3+128], [%rd4], 4;
    cp.async.mbarrier.arrive{noinc}.shared::cta.b64 [%r2];
    {}
W:
    mbarrier.try_wait.parity.shared::cta.b64 %p9, [%r2], 0;
    @!%p9 bra W;
    xor.b32 %r6, %r1, 32;
    mad.lo.u32 %r3, %r6, 4, %r2;
    ld.shared.u32 %r5, [%r3+128];
    add.s64 %rd4, %rd2, %rd3;
    st.global.u32 [%rd4], %r5;",
                if noinc.is_empty() { "mbarrier.arrive.shared::cta.b64 %rd9, [%r2];" } else { "" }
            ),
        )
    };
    let want: Vec<u32> = (0..64).map(|n| n ^ 32).collect();
    for noinc in ["", ".noinc"] {
        assert_eq!(clean(&body(noinc, 64), &threads(64), &counting(64), &zeros(64)).b, want);
    }
}

/// Thread 0 loads 64 words by a bulk copy; everybody reads them after `wait`.
fn bulk_load(copy: &str, wait: &str) -> String {
    text(
        "",
        1024,
        &format!(
            "
    mov.u32 %r2, smem;
    setp.eq.u32 %p1, %r1, 0;
    @!%p1 bra READY;
    mbarrier.init.shared::cta.b64 [%r2], 1;
    fence.mbarrier_init.release.cluster;
READY:
    bar.sync 0;
    @!%p1 bra READ;
    {copy}
READ:
    {wait}
    mad.lo.u32 %r3, %r1, 4, %r2;
    ld.shared.u32 %r5, [%r3+128];
    mul.wide.u32 %rd3, %r1, 4;
    add.s64 %rd4, %rd2, %rd3;
    st.global.u32 [%rd4], %r5;"
        ),
    )
}

const EXPECT: &str = "mbarrier.arrive.expect_tx.shared::cta.b64 %rd5, [%r2], 256;";
const COPY: &str = "add.u32 %r8, %r2, 128;
    cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r8], [%rd1], 256, [%r2];";
const WAIT: &str = "W:\nmbarrier.try_wait.parity.shared::cta.b64 %p9, [%r2], 0;\n@!%p9 bra W;";

#[test]
fn a_bulk_load_counts_its_bytes() {
    for copy in [format!("{EXPECT}\n{COPY}"), format!("{COPY}\n{EXPECT}")] {
        assert_eq!(clean(&bulk_load(&copy, WAIT), &threads(64), &counting(64), &zeros(64)).b, counting(64));
    }
}

#[test]
fn wrong_counts_and_missing_waits() {
    let right = format!("{EXPECT}\n{COPY}");
    for wait in ["", &WAIT.replace("], 0", "], 1")] {
        let fault =
            refuted(&bulk_load(&right, wait), &threads(64), &counting(64), &zeros(64), FaultKind::SharedRace);
        assert_eq!(fault.missing, Some("nobody has waited for the operation"));
    }
    let more = right.replace("], 256;", "], 272;");
    refuted(&bulk_load(&more, WAIT), &threads(64), &counting(64), &zeros(64), FaultKind::Deadlock);
    // Two copies, one of which is expected: the phase ends too early.
    let twice = format!("{EXPECT}\n{COPY}\n{}", COPY.replace("128;", "512;"));
    refuted(&bulk_load(&twice, WAIT), &threads(64), &counting(64), &zeros(64), FaultKind::MbarrierMisuse);
}

#[test]
fn addresses_and_sizes_have_rules() {
    let right = format!("{EXPECT}\n{COPY}");
    for (from, to) in [("%r2, 128", "%r2, 136"), ("], 256, [%r2]", "], 248, [%r2]")] {
        let ptx = bulk_load(&right.replace(from, to), WAIT);
        refuted(&ptx, &threads(64), &counting(64), &zeros(64), FaultKind::DescriptorIllegal);
    }
    let ptx = bulk_load(&right, WAIT);
    refuted(&ptx, &threads(64), &counting(32), &zeros(64), FaultKind::OutOfBounds);
}

/// All threads write shared memory, thread 0 stores it to `a` by a bulk copy, then all write again.
fn bulk_store(fence: &str, wait: &str, again: &str) -> String {
    text(
        "",
        1024,
        &format!(
            "
    mov.u32 %r2, smem;
    setp.eq.u32 %p1, %r1, 0;
    mad.lo.u32 %r3, %r1, 4, %r2;
    st.shared.u32 [%r3], %r1;
    {fence}
    @!%p1 bra DONE;
    cp.async.bulk.global.shared::cta.bulk_group [%rd1], [%r2], 256;
    cp.async.bulk.commit_group;
    {wait}
DONE:
    bar.sync 0;
    {again}"
        ),
    )
}

#[test]
fn a_bulk_store_needs_fence_barrier_and_wait() {
    let fence = "fence.proxy.async.shared::cta;\nbar.sync 0;";
    let read = "cp.async.bulk.wait_group.read 0;";
    let again = "st.shared.u32 [%r3], 0;";
    let run = |f, w, a| bulk_store(f, w, a);
    let none = zeros(64);
    assert_eq!(clean(&run(fence, read, again), &threads(64), &none, &[0]).a, counting(64));
    // The fence may stand after the barrier as well.
    let after = "bar.sync 0;\nfence.proxy.async.shared::cta;";
    assert_eq!(clean(&run(after, read, again), &threads(64), &none, &[0]).a, counting(64));
    let missing = refuted(&run("bar.sync 0;", read, again), &threads(64), &none, &[0], FaultKind::ProxyFence);
    assert_eq!(missing.missing, Some("no fence.proxy.async on the way"));
    let unordered = run("fence.proxy.async.shared::cta;", read, again);
    refuted(&unordered, &threads(64), &none, &[0], FaultKind::SharedRace);
    refuted(&run(fence, "", again), &threads(64), &none, &[0], FaultKind::SharedRace);
    let late = once(&run(fence, "", again), &threads(64), &none, &[0]);
    assert_ne!(late.a, counting(64), "the overwritten source shows in fast mode too");
    // A CTA has to live until its memory has been read.
    refuted(&run(fence, "", ""), &threads(64), &none, &[0], FaultKind::Lifetime);
}

#[test]
fn a_reduction_adds_in_global_memory() {
    let fence = "fence.proxy.async.shared::cta;\nbar.sync 0;";
    let ptx = bulk_store(fence, "cp.async.bulk.wait_group 0;", "").replace(
        "cp.async.bulk.global.shared::cta.bulk_group [%rd1]",
        "cp.reduce.async.bulk.global.shared::cta.bulk_group.add.u32 [%rd1]",
    );
    let want: Vec<u32> = (0..64).map(|n| 100 + 2 * n).collect();
    let start: Vec<u32> = (0..64).map(|_| 100).collect();
    let geometry = Geometry { grid: [2, 1, 1], ..threads(64) };
    assert_eq!(clean(&ptx, &geometry, &start, &[0]).a, want);
}

#[test]
fn one_copy_to_all_ctas_of_a_cluster() {
    let body = |mask: u32| {
        text(
            "",
            1024,
            &format!(
                "
    mov.u32 %r2, smem;
    mov.u32 %r3, %cluster_ctarank;
    mbarrier.init.shared::cta.b64 [%r2], 1;
    fence.mbarrier_init.release.cluster;
    barrier.cluster.arrive;
    barrier.cluster.wait;
    mbarrier.arrive.expect_tx.shared::cta.b64 %rd5, [%r2], 16;
    setp.ne.u32 %p1, %r3, 0;
    @%p1 bra READ;
    add.u32 %r8, %r2, 128;
    mov.u16 %h1, {mask};
    cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%r8], [%rd1], 16, [%r2], %h1;
READ:
    {WAIT}
    ld.shared.u32 %r5, [%r2+136];
    mul.wide.u32 %rd3, %r3, 4;
    add.s64 %rd4, %rd2, %rd3;
    st.global.u32 [%rd4], %r5;
    barrier.cluster.arrive;
    barrier.cluster.wait;"
            ),
        )
        .replace(".reg .pred", ".reg .b16 %h<4>; .reg .pred")
    };
    assert_eq!(clean(&body(7), &cluster(3, 1), &counting(4), &zeros(3)).b, [2, 2, 2]);
    refuted(&body(3), &cluster(3, 1), &counting(4), &zeros(3), FaultKind::Deadlock);
}

#[test]
fn st_async_is_counted_at_its_target() {
    let ptx = text(
        "",
        256,
        &format!(
            "
    mov.u32 %r2, smem;
    mov.u32 %r3, %cluster_ctarank;
    mbarrier.init.shared::cta.b64 [%r2], 1;
    fence.mbarrier_init.release.cluster;
    barrier.cluster.arrive;
    barrier.cluster.wait;
    mbarrier.arrive.expect_tx.shared::cta.b64 %rd5, [%r2], 4;
    xor.b32 %r4, %r3, 1;
    mapa.shared::cluster.u32 %r6, %r2, %r4;
    add.u32 %r7, %r6, 64;
    add.u32 %r8, %r3, 10;
    st.async.shared::cluster.mbarrier::complete_tx::bytes.u32 [%r7], %r8, [%r6];
    {WAIT}
    ld.shared.u32 %r5, [%r2+64];
    mul.wide.u32 %rd3, %r3, 4;
    add.s64 %rd4, %rd2, %rd3;
    st.global.u32 [%rd4], %r5;
    barrier.cluster.arrive;
    barrier.cluster.wait;"
        ),
    );
    assert_eq!(clean(&ptx, &cluster(2, 1), &[0], &zeros(2)).b, [11, 10]);
}

#[test]
fn a_tensor_map_that_the_kernel_writes_has_to_be_fenced() {
    use tile_machine::{TensorMap, tensor_map::*};
    let spec = Spec {
        address: 0x7000_0000_0000,
        dims: &[64],
        box_dims: &[64],
        element_strides: &[1],
        ..Spec::new(ElementType::U32)
    };
    let map = TensorMap::new(spec).expect("a legal map").encode();
    let words: Vec<u32> =
        map.chunks(4).map(|w| u32::from_le_bytes(w.try_into().expect("four bytes"))).collect();
    let body = |fence: &str| {
        let copy = format!(
            "
    ld.global.u32 %r9, [%rd2];
    st.global.u32 [%rd2], %r9;
    {fence}
    {EXPECT}
    add.u32 %r8, %r2, 128;
    mov.u32 %r7, 0;
    cp.async.bulk.tensor.1d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%r8], [%rd2, {{%r7}}], [%r2];"
        );
        bulk_load(&copy, WAIT).replace("    st.global.u32 [%rd4], %r5;", "")
    };
    let fence = "fence.proxy.tensormap::generic.acquire.gpu [%rd2], 128;";
    clean(&body(fence), &threads(64), &counting(64), &words);
    refuted(&body(""), &threads(64), &counting(64), &words, FaultKind::ProxyFence);
}

#[test]
fn polling_with_a_counter_in_local_memory_is_quiet() {
    // Unoptimised code keeps everything in local memory. Its stores there are seen by nobody else, so what is on its way
    // lands all the same, also with seed 0: as late as possible.
    let ptx = text(
        "",
        64,
        "
    .local .b32 counter;
    st.local.u32 [counter], 0;
    setp.ne.u32 %p1, %r1, 0;
    mov.u32 %r2, smem;
    @!%p1 mbarrier.init.shared.b64 [%r2], 32;
    bar.sync 0;
    mul.wide.u32 %rd3, %r1, 4;
    add.s64 %rd4, %rd1, %rd3;
    add.s64 %rd5, %rd2, %rd3;
    shl.b32 %r3, %r1, 2;
    add.u32 %r3, %r3, 1024;
    add.u32 %r3, %r2, %r3;
    cp.async.ca.shared.global [%r3], [%rd4], 4;
    cp.async.mbarrier.arrive.noinc.shared.b64 [%r2];
POLL:
    ld.local.u32 %r4, [counter];
    add.u32 %r4, %r4, 1;
    st.local.u32 [counter], %r4;
    mbarrier.test_wait.parity.shared.b64 %p2, [%r2], 0;
    @!%p2 bra POLL;
    ld.shared.u32 %r5, [%r3];
    st.global.u32 [%rd5], %r5;",
    );
    let ptx = ptx.replace("smem[64]", "smem[2048]");
    assert_eq!(clean(&ptx, &threads(32), &counting(32), &zeros(32)).b, counting(32));
}

#[test]
fn lanes_of_one_instruction_arrive_together_when_nothing_says_when() {
    // With seed 0 an arrival comes when the warp has polled in vain for a while; not once for each of its lanes.
    let polled = |count: u32, guard: &str| {
        let ptx = text(
            "",
            2048,
            &format!(
                "
    setp.eq.u32 %p1, %r1, 0;
    mov.u32 %r2, smem;
    @%p1 mbarrier.init.shared.b64 [%r2], {count};
    bar.sync 0;
    mul.wide.u32 %rd3, %r1, 4;
    add.s64 %rd4, %rd1, %rd3;
    mad.lo.u32 %r3, %r1, 4, %r2;
    cp.async.ca.shared.global [%r3+1024], [%rd4], 4;
    {guard} cp.async.mbarrier.arrive.noinc.shared.b64 [%r2];
POLL:
    mbarrier.test_wait.parity.shared.b64 %p2, [%r2], 0;
    @!%p2 bra POLL;"
            ),
        );
        let run = once(&ptx, &threads(32), &counting(32), &[0]);
        run.result.expect("a clean run").thread_instructions
    };
    let (all, one) = (polled(32, ""), polled(1, "@%p1"));
    assert!(all < one + one / 4, "{all} instructions for all lanes, {one} for one");
}
