//! CTA barriers: counts, names, divergence.

use crate::support::*;
use ptx_sim::FaultKind;

/// Warp 0 writes what warp 1 reads.
fn exchange(before: &str, after: &str) -> String {
    let body = format!(
        "
    mov.u32 %r2, smem;
    mad.lo.u32 %r3, %r1, 4, %r2;
    st.shared.u32 [%r3], %r1;
    {before}
    xor.b32 %r4, %r1, 32;
    mad.lo.u32 %r4, %r4, 4, %r2;
    ld.shared.u32 %r5, [%r4];
    {after}
    mul.wide.u32 %rd3, %r1, 4;
    add.s64 %rd3, %rd1, %rd3;
    st.global.u32 [%rd3], %r5;"
    );
    text("", 1024, &body)
}

fn swapped() -> Vec<u32> {
    (0..64).map(|n| n ^ 32).collect()
}

#[test]
fn a_barrier_orders() {
    for barrier in ["bar.sync 0;", "barrier.sync 0;", "barrier.cta.sync.aligned 3;", "bar.sync 1, 64;"] {
        assert_eq!(clean(&exchange(barrier, ""), &threads(64), &zeros(64), &[0]).a, swapped(), "{barrier}");
    }
}

#[test]
fn without_it_the_witness_names_both_accesses() {
    let ptx = exchange("", "");
    let fault = refuted(&ptx, &threads(64), &zeros(64), &[0], FaultKind::SharedRace);
    let other = fault.other.expect("the other access");
    let lines = [line_of(&ptx, "st.shared"), line_of(&ptx, "ld.shared")];
    let mut found = [fault.line, other.line];
    found.sort_unstable();
    assert_eq!(found, lines);
    assert_ne!(fault.warp, other.warp);
    assert_eq!(fault.missing, Some("no barrier between"));
}

#[test]
fn arrive_gives_and_does_not_take() {
    // Warp 0 produces and only arrives; warp 1 waits and reads.
    let body = |produce: &str, consume: &str| {
        text(
            "",
            256,
            &format!(
                "
    mov.u32 %r2, smem;
    and.b32 %r3, %r1, 31;
    mad.lo.u32 %r3, %r3, 4, %r2;
    setp.ge.u32 %p1, %r1, 32;
    @%p1 bra CONSUME;
    st.shared.u32 [%r3], %r1;
    {produce}
    bra END;
CONSUME:
    {consume}
    ld.shared.u32 %r5, [%r3];
    mul.wide.u32 %rd3, %r1, 4;
    add.s64 %rd3, %rd1, %rd3;
    st.global.u32 [%rd3], %r5;
END:"
            ),
        )
    };
    let right = body("bar.arrive 1, 64;", "bar.sync 1, 64;");
    assert_eq!(clean(&right, &threads(64), &zeros(64), &[0]).a[32..], counting(32)[..]);
    let wrong = body("bar.sync 1, 64;", "bar.arrive 1, 64;");
    refuted(&wrong, &threads(64), &zeros(64), &[0], FaultKind::SharedRace);
    let counts = body("bar.arrive 1, 64;", "bar.sync 1, 96;");
    refuted(&counts, &threads(96), &zeros(96), &[0], FaultKind::BarrierMisuse);
    let alone = body("", "bar.sync 1, 64;");
    let fault = refuted(&alone, &threads(64), &zeros(64), &[0], FaultKind::Deadlock);
    assert!(fault.message.contains("32 of 64 threads"), "{fault}");
}

#[test]
fn exited_threads_do_not_count() {
    let ptx = text(
        "",
        0,
        "
    setp.ge.u32 %p1, %r1, 40;
    @%p1 exit;
    bar.sync 0;
    mul.wide.u32 %rd3, %r1, 4;
    add.s64 %rd3, %rd1, %rd3;
    st.global.u32 [%rd3], %r1;",
    );
    assert_eq!(clean(&ptx, &threads(128), &zeros(40), &[0]).a, counting(40));
}

#[test]
fn aligned_barriers_need_the_whole_warp() {
    let body = |barrier: &str| {
        text(
            "",
            0,
            &format!(
                "
    and.b32 %r2, %r1, 1;
    setp.eq.u32 %p1, %r2, 0;
    @%p1 bra EVEN;
    {barrier}
    bra END;
EVEN:
    {barrier}
END:"
            ),
        )
    };
    let ptx = body("bar.sync 0;");
    let fault = refuted(&ptx, &threads(64), &[0], &[0], FaultKind::DivergentBarrier);
    assert!(fault.line > 0);
    // Without `.aligned` every lane counts for itself.
    clean(&body("barrier.sync 0;"), &threads(64), &[0], &[0]);
    let half = text("", 0, "setp.lt.u32 %p1, %r1, 16;\n@%p1 bar.sync 0;");
    refuted(&half, &threads(32), &[0], &[0], FaultKind::DivergentBarrier);
    let one_side = text("", 0, "setp.lt.u32 %p1, %r1, 16;\n@%p1 bra L;\nbar.sync 0;\nL:");
    refuted(&one_side, &threads(32), &[0], &[0], FaultKind::DivergentBarrier);
}

#[test]
fn counts_have_rules() {
    for barrier in ["bar.sync 16;", "bar.sync 1, 33;", "bar.sync 1, 96;"] {
        refuted(&text("", 0, barrier), &threads(64), &[0], &[0], FaultKind::BarrierMisuse);
    }
}

#[test]
fn collectives_by_the_lanes_named() {
    let vote = |mask: &str, guard: &str| {
        text("", 0, &format!("setp.lt.u32 %p1, %r1, 16;\n{guard} vote.sync.ballot.b32 %r3, %p1, {mask};"))
    };
    clean(&vote("0xffffffff", ""), &threads(32), &[0], &[0]);
    clean(&vote("0xffff", "@%p1"), &threads(32), &[0], &[0]);
    refuted(&vote("0xffffffff", "@%p1"), &threads(32), &[0], &[0], FaultKind::SyncMask);
    refuted(&vote("0xffff", ""), &threads(32), &[0], &[0], FaultKind::SyncMask);
    // Both halves in one instruction, each naming its own.
    let halves = text(
        "",
        0,
        "
    setp.lt.u32 %p1, %r1, 16;
    selp.b32 %r2, 0xffff, 0xffff0000, %p1;
    shfl.sync.bfly.b32 %r3, %r1, 1, 31, %r2;
    mul.wide.u32 %rd3, %r1, 4;
    add.s64 %rd3, %rd1, %rd3;
    st.global.u32 [%rd3], %r3;",
    );
    let want: Vec<u32> = (0..32).map(|n| n ^ 1).collect();
    assert_eq!(clean(&halves, &threads(32), &zeros(32), &[0]).a, want);
}
