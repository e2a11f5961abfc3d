//! CTAs that see each other's shared memory.

use crate::support::*;
use ptx_sim::{FaultKind, Geometry};

/// Every CTA writes its number into the memory of the next one, which reads it after the barrier.
fn ring(store: &str, barrier: &str, end: &str) -> String {
    text(
        "",
        64,
        &format!(
            "
    mov.u32 %r2, smem;
    mov.u32 %r3, %cluster_ctarank;
    mov.u32 %r4, %cluster_nctarank;
    add.u32 %r5, %r3, 1;
    rem.u32 %r5, %r5, %r4;
    mapa.shared::cluster.u32 %r6, %r2, %r5;
    {store}
    {barrier}
    ld.shared.u32 %r8, [%r2];
    mul.wide.u32 %rd3, %r3, 4;
    add.s64 %rd3, %rd1, %rd3;
    st.global.u32 [%rd3], %r8;
    {end}"
        ),
    )
}

const STORE: &str = "add.u32 %r7, %r3, 100;\nst.shared::cluster.u32 [%r6], %r7;";
const BARRIER: &str = "barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;";

#[test]
fn a_ring_of_ctas() {
    let want = [103, 100, 101, 102];
    assert_eq!(clean(&ring(STORE, BARRIER, ""), &cluster(4, 1), &zeros(4), &[0]).a, want);
    let relaxed = "fence.acq_rel.cluster;\nbarrier.cluster.arrive.relaxed;\nbarrier.cluster.wait.acquire;";
    assert_eq!(clean(&ring(STORE, relaxed, ""), &cluster(4, 1), &zeros(4), &[0]).a, want);
}

#[test]
fn without_the_barrier_it_is_a_race_between_ctas() {
    let ptx = ring(STORE, "", BARRIER);
    let fault = refuted(&ptx, &cluster(2, 1), &zeros(2), &[0], FaultKind::SharedRace);
    assert_ne!(fault.cta, fault.other.expect("the other access").cta);
    // A relaxed arrive orders nothing by itself.
    let relaxed = ring(STORE, "barrier.cluster.arrive.relaxed;\nbarrier.cluster.wait;", "");
    refuted(&relaxed, &cluster(2, 1), &zeros(2), &[0], FaultKind::SharedRace);
}

#[test]
fn atomics_reach_other_ctas() {
    let add = "atom.relaxed.cluster.shared::cluster.add.u32 %r9, [%r6], 5;";
    let zero = "st.shared.u32 [%r2], 1;\nbarrier.cluster.arrive;\nbarrier.cluster.wait;\n";
    let ptx = ring(&format!("{zero}{add}"), BARRIER, "");
    assert_eq!(clean(&ptx, &cluster(2, 1), &zeros(2), &[0]).a, [6, 6]);
}

#[test]
fn a_cta_that_has_ended_has_no_memory() {
    let ptx = text(
        "",
        64,
        "
    mov.u32 %r2, smem;
    mov.u32 %r3, %cluster_ctarank;
    setp.eq.u32 %p1, %r3, 0;
    @%p1 exit;
    mapa.shared::cluster.u32 %r6, %r2, 0;
    mov.u32 %r9, 0;
LOOP:
    add.u32 %r9, %r9, 1;
    setp.lt.u32 %p2, %r9, 2000;
    @%p2 bra LOOP;
    st.shared::cluster.u32 [%r6], 1;",
    );
    refuted(&ptx, &cluster(2, 1), &[0], &[0], FaultKind::Lifetime);
}

#[test]
fn ranks_and_their_limits() {
    let ptx = text(
        "",
        64,
        "
    mov.u32 %r2, smem;
    mov.u32 %r3, %cluster_ctarank;
    xor.b32 %r4, %r3, 1;
    mapa.shared::cluster.u32 %r5, %r2, %r4;
    getctarank.shared::cluster.u32 %r6, %r5;
    getctarank.shared::cluster.u32 %r7, %r2;
    shl.b32 %r6, %r6, 4;
    or.b32 %r6, %r6, %r7;
    mov.u32 %r8, %ctaid.x;
    mul.wide.u32 %rd3, %r8, 4;
    add.s64 %rd3, %rd1, %rd3;
    st.global.u32 [%rd3], %r6;",
    );
    let geometry = Geometry { grid: [4, 1, 1], ..cluster(2, 1) };
    assert_eq!(clean(&ptx, &geometry, &zeros(4), &[0]).a, [0x10, 0x01, 0x10, 0x01]);
    let far = text("", 64, "mov.u32 %r2, smem;\nmapa.shared::cluster.u32 %r3, %r2, 2;");
    refuted(&far, &cluster(2, 1), &[0], &[0], FaultKind::OutOfBounds);
}

#[test]
fn the_kernel_may_prescribe_its_cluster() {
    let body = "
    mov.u32 %r3, %cluster_nctarank;
    mov.u32 %r8, %ctaid.x;
    mul.wide.u32 %rd3, %r8, 4;
    add.s64 %rd3, %rd1, %rd3;
    st.global.u32 [%rd3], %r3;";
    let ptx = text(".explicitcluster .reqnctapercluster 2, 1, 1", 0, body);
    let geometry = Geometry { grid: [4, 1, 1], ..threads(1) };
    assert_eq!(clean(&ptx, &geometry, &zeros(4), &[0]).a, [2; 4]);
    let odd = Geometry { grid: [3, 1, 1], ..threads(1) };
    refuted(&ptx, &odd, &zeros(4), &[0], FaultKind::Launch);
    refuted(
        &text("", 0, body),
        &Geometry { grid: [34, 1, 1], ..cluster(17, 1) },
        &[0],
        &[0],
        FaultKind::Launch,
    );
}

#[test]
fn waiting_for_a_cta_that_does_not_come() {
    let ptx = text(
        "",
        64,
        "
    mov.u32 %r3, %cluster_ctarank;
    setp.eq.u32 %p1, %r3, 0;
    @!%p1 bra OTHER;
    barrier.cluster.arrive;
    barrier.cluster.wait;
    bra END;
OTHER:
    setp.lt.u32 %p2, %r1, 32;
    @%p2 bra END;
    bar.sync 1, 64;
END:",
    );
    let fault = refuted(&ptx, &cluster(2, 64), &[0], &[0], FaultKind::Deadlock);
    assert!(fault.message.contains("cluster barrier") && fault.message.contains("barrier 1"), "{fault}");
}

#[test]
fn an_undefined_value_may_not_go_to_another_cta() {
    let own = ring("st.shared.u32 [%r2], %r20;\nst.shared.u32 [%r2], %r3;", BARRIER, "");
    assert_eq!(clean(&own, &cluster(2, 1), &zeros(2), &[0]).a, [0, 1]);
    let other = ring("st.shared::cluster.u32 [%r6], %r20;", BARRIER, "");
    refuted(&other, &cluster(2, 1), &zeros(2), &[0], FaultKind::Undefined);
}
