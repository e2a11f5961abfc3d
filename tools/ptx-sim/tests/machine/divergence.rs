//! Lanes at different places: locks, waits within one warp, reconvergence.

use crate::support::*;
use ptx_sim::{FaultKind, Geometry};

/// Every lane takes a lock in shared or global memory and adds to a counter.
fn lock(space: &str, order: &str) -> String {
    let base = match space {
        "shared" => "mov.u64 %rd5, smem;\nadd.s64 %rd6, %rd5, 16;",
        _ => "mov.u64 %rd5, %rd1;\nadd.s64 %rd6, %rd1, 16;",
    };
    text(
        "",
        64,
        &format!(
            "
    {base}
    setp.ne.u32 %p3, %r1, 0;
    @%p3 bra READY;
    st.{space}.u32 [%rd5], 0;
    st.{space}.u32 [%rd6], 0;
READY:
    bar.sync 0;
AGAIN:
    atom.acquire.{order}.{space}.cas.b32 %r2, [%rd5], 0, 1;
    setp.ne.u32 %p1, %r2, 0;
    @%p1 bra AGAIN;
    ld.{space}.u32 %r3, [%rd6];
    add.u32 %r3, %r3, 1;
    st.{space}.u32 [%rd6], %r3;
    atom.release.{order}.{space}.exch.b32 %r4, [%rd5], 0;
    bar.sync 0;
    @%p3 bra END;
    ld.{space}.u32 %r3, [%rd6];
    st.global.u32 [%rd2], %r3;
END:"
        ),
    )
}

#[test]
fn a_spin_lock_lets_its_owner_go_on() {
    assert_eq!(clean(&lock("shared", "cta"), &threads(48), &zeros(8), &[0]).b, [48]);
    assert_eq!(clean(&lock("global", "gpu"), &threads(40), &zeros(8), &[0]).b, [40]);
}

#[test]
fn a_lane_that_spins_lets_its_siblings_run() {
    // Lane 1 spins for what lane 0 writes on the other way of the branch.
    let ptx = text(
        "",
        64,
        "
    mov.u32 %r2, smem;
    st.shared.u32 [%r2+4], 0;
    setp.eq.u32 %p1, %r1, 0;
    @%p1 bra WRITE;
SPIN:
    ld.acquire.cta.shared.u32 %r3, [%r2+4];
    setp.eq.u32 %p2, %r3, 0;
    @%p2 bra SPIN;
    bra END;
WRITE:
    st.release.cta.shared.u32 [%r2+4], 7;
END:
    ld.shared.u32 %r3, [%r2+4];
    st.global.u32 [%rd1], %r3;",
    );
    for check in [false, true] {
        let run = once(&ptx, &Geometry { check, ..threads(2) }, &[0], &[0]);
        assert!(run.result.is_ok(), "{:?}", run.result);
        assert_eq!(run.a, [7]);
    }
}

#[test]
fn spinning_for_ever_is_a_deadlock() {
    let ptx = text(
        "",
        64,
        "
    st.global.u32 [%rd1], 0;
SPIN:
    ld.volatile.global.u32 %r3, [%rd1];
    setp.eq.u32 %p2, %r3, 0;
    @%p2 bra SPIN;",
    );
    let fault = refuted(&ptx, &threads(1), &[0], &[0], FaultKind::Deadlock);
    assert!(fault.message.contains("spins"), "{fault}");
}

#[test]
fn loops_of_different_length_meet_again() {
    // Each lane loops as often as its number, then all vote.
    let ptx = text(
        "",
        0,
        "
    mov.u32 %r2, 0;
    mov.u32 %r3, 0;
LOOP:
    setp.ge.u32 %p1, %r2, %r1;
    @%p1 bra OUT;
    add.u32 %r3, %r3, %r2;
    add.u32 %r2, %r2, 1;
    bra LOOP;
OUT:
    bar.sync 0;
    mul.wide.u32 %rd3, %r1, 4;
    add.s64 %rd3, %rd1, %rd3;
    st.global.u32 [%rd3], %r3;",
    );
    let want: Vec<u32> = (0..64).map(|n: u32| n * n.saturating_sub(1) / 2).collect();
    assert_eq!(clean(&ptx, &threads(64), &zeros(64), &[0]).a, want);
}

#[test]
fn both_ways_of_a_branch_may_synchronise_their_warp() {
    let ptx = text(
        "",
        64,
        "
    and.b32 %r2, %r1, 1;
    setp.eq.u32 %p1, %r2, 0;
    @%p1 bra EVEN;
    bar.warp.sync 0xffffffff;
    mov.u32 %r3, 5;
    bra END;
EVEN:
    mov.u32 %r3, 4;
    bar.warp.sync 0xffffffff;
END:
    mul.wide.u32 %rd3, %r1, 4;
    add.s64 %rd3, %rd1, %rd3;
    st.global.u32 [%rd3], %r3;",
    );
    let want: Vec<u32> = (0..32).map(|n| 4 + n % 2).collect();
    assert_eq!(clean(&ptx, &threads(32), &zeros(32), &[0]).a, want);
}
