//! Grids: CTAs that communicate through global memory, and those that must not.

use crate::support::*;
use ptx_sim::{FaultKind, Geometry};

fn grid(ctas: u32, threads: u32) -> Geometry {
    Geometry { grid: [ctas, 1, 1], ..crate::support::threads(threads) }
}

/// CTA n waits for the flag of CTA n - 1, adds to its sum, and raises its own: a chain through memory.
fn chain(release: &str, acquire: &str) -> String {
    text(
        "",
        0,
        &format!(
            "
    mov.u32 %r2, %ctaid.x;
    mul.wide.u32 %rd3, %r2, 4;
    add.s64 %rd4, %rd1, %rd3;
    add.s64 %rd5, %rd2, %rd3;
    setp.eq.u32 %p1, %r2, 0;
    mov.u32 %r4, 0;
    @%p1 bra FIRST;
WAIT:
    {acquire}
    setp.eq.u32 %p2, %r3, 0;
    @%p2 bra WAIT;
    ld.global.u32 %r4, [%rd4+-4];
FIRST:
    add.u32 %r4, %r4, %r2;
    st.global.u32 [%rd4], %r4;
    {release}"
        ),
    )
}

const RELEASE: &str = "mov.u32 %r5, 1;\nst.release.gpu.global.u32 [%rd5], %r5;";
const ACQUIRE: &str = "ld.acquire.gpu.global.u32 %r3, [%rd5+-4];";

#[test]
fn a_chain_of_ctas() {
    let want: Vec<u32> = (0..300).map(|n| n * (n + 1) / 2).collect();
    let run = clean(&chain(RELEASE, ACQUIRE), &grid(300, 1), &zeros(300), &zeros(300));
    assert_eq!(run.a, want);
    let fences = chain(
        "fence.acq_rel.gpu;\nmov.u32 %r5, 1;\nst.relaxed.gpu.global.u32 [%rd5], %r5;",
        "ld.relaxed.gpu.global.u32 %r3, [%rd5+-4];\nfence.acq_rel.gpu;",
    );
    assert_eq!(clean(&fences, &grid(20, 1), &zeros(20), &zeros(20)).a, want[..20]);
}

#[test]
fn flags_that_order_nothing() {
    let relaxed = "mov.u32 %r5, 1;\nst.relaxed.gpu.global.u32 [%rd5], %r5;";
    let narrow = "mov.u32 %r5, 1;\nst.release.cta.global.u32 [%rd5], %r5;";
    for release in [relaxed, narrow] {
        let ptx = chain(release, ACQUIRE);
        let fault = refuted(&ptx, &grid(4, 1), &zeros(4), &zeros(4), FaultKind::GlobalRace);
        assert_ne!(fault.cta, fault.other.expect("the other access").cta);
    }
    let ptx = chain(RELEASE, "ld.relaxed.gpu.global.u32 %r3, [%rd5+-4];");
    refuted(&ptx, &grid(4, 1), &zeros(4), &zeros(4), FaultKind::GlobalRace);
}

#[test]
fn a_barrier_of_the_whole_grid() {
    // Every CTA writes, counts itself in, waits for all, and reads what the last one wrote.
    let body = |wait: u32| {
        text(
            "",
            0,
            &format!(
                "
    mov.u32 %r2, %ctaid.x;
    mul.wide.u32 %rd3, %r2, 4;
    add.s64 %rd4, %rd1, %rd3;
    st.global.u32 [%rd4], %r2;
    fence.acq_rel.gpu;
    atom.relaxed.gpu.global.add.u32 %r3, [%rd2], 1;
WAIT:
    ld.relaxed.gpu.global.u32 %r3, [%rd2];
    setp.lt.u32 %p2, %r3, {wait};
    @%p2 bra WAIT;
    fence.acq_rel.gpu;
    mov.u32 %r6, %nctaid.x;
    sub.u32 %r6, %r6, 1;
    sub.u32 %r6, %r6, %r2;
    mul.wide.u32 %rd3, %r6, 4;
    add.s64 %rd5, %rd1, %rd3;
    ld.global.u32 %r7, [%rd5];
    add.s64 %rd6, %rd2, %rd3;
    st.global.u32 [%rd6+4], %r7;"
            ),
        )
    };
    let run = clean(&body(100), &grid(100, 1), &zeros(100), &zeros(101));
    assert_eq!(run.b[1..], counting(100));
    // One that waits for more than there are.
    let fault = refuted(&body(11), &grid(10, 1), &zeros(10), &zeros(11), FaultKind::Deadlock);
    assert!(fault.message.contains("spins"), "{fault}");
    // Not all of them are resident at once: the first wait for those that never begin.
    let one = body(133)
        .replace("mov.u32 %r2, %ctaid.x;", "setp.ne.u32 %p1, %r1, 0;\n@%p1 exit;\nmov.u32 %r2, %ctaid.x;");
    clean(&one.replace("133", "132"), &grid(132, 1024), &zeros(132), &zeros(133));
    refuted(&one, &grid(133, 1024), &zeros(133), &zeros(134), FaultKind::Deadlock);
}

#[test]
fn ctas_that_do_not_communicate_are_concurrent() {
    let ptx = text("", 0, "st.global.u32 [%rd1], %r1;");
    let fault = refuted(&ptx, &grid(2, 1), &[0], &[0], FaultKind::GlobalRace);
    assert_eq!(fault.cta, [1, 0, 0]);
    let add = text("", 0, "red.global.add.u32 [%rd1], 1;");
    assert_eq!(clean(&add, &grid(64, 32), &[0], &[0]).a, [2048]);
}

#[test]
fn float_sums_do_not_depend_on_the_host() {
    let ptx = text(
        "",
        0,
        "
    mov.u32 %r2, %ctaid.x;
    cvt.rn.f32.u32 %f1, %r2;
    mul.rn.f32 %f1, %f1, 0f3DCCCCCD;
    red.global.add.f32 [%rd1], %f1;",
    );
    clean(&ptx, &grid(200, 1), &[0], &[0]);
}

#[test]
fn global_races_within_a_cta() {
    let body = |sync: &str| {
        text(
            "",
            0,
            &format!(
                "
    mul.wide.u32 %rd3, %r1, 4;
    add.s64 %rd4, %rd1, %rd3;
    st.global.u32 [%rd4], %r1;
    {sync}
    xor.b32 %r2, %r1, 32;
    mul.wide.u32 %rd3, %r2, 4;
    add.s64 %rd5, %rd1, %rd3;
    ld.global.u32 %r3, [%rd5];
    mul.wide.u32 %rd3, %r1, 4;
    add.s64 %rd6, %rd2, %rd3;
    st.global.u32 [%rd6], %r3;"
            ),
        )
    };
    clean(&body("bar.sync 0;"), &threads(64), &zeros(64), &zeros(64));
    let fault = refuted(&body(""), &threads(64), &zeros(64), &zeros(64), FaultKind::GlobalRace);
    assert_eq!(fault.missing, Some("no barrier between"));
}

#[test]
fn reports_are_the_same_each_time() {
    let ptx = text(
        "",
        1024,
        "
    mov.u32 %r2, smem;
    st.shared.u32 [%r2], %r1;
    ld.shared.u32 %r3, [%r2];
    st.global.u32 [%rd1], %r3;",
    );
    let say = || faults(&ptx, &grid(16, 96), &[0], &[0]).iter().map(|f| f.to_string()).collect::<Vec<_>>();
    let first = say();
    assert!(first.len() > 16);
    (0..3).for_each(|_| assert_eq!(say(), first));
}

/// 300 CTAs add to one element: the first 2^24, the others 1.
fn added_up(ty: &str, first: &str, one: &str) -> String {
    text(
        "",
        0,
        &format!(
            "
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, {one};
    setp.eq.u32 %p1, %r2, 0;
    @%p1 mov.u32 %r3, {first};
    red.relaxed.gpu.global.add.{ty} [%rd1], %r3;"
        ),
    )
}

#[test]
fn a_result_that_hangs_on_the_order_of_ctas_shows_it() {
    let sums = |ptx: &str| -> Vec<u32> {
        let shuffled = |seed| Geometry { cta_order: seed, ..grid(300, 1) };
        let orders = [None, Some(1), Some(2), Some(3)];
        orders.map(|seed| clean(ptx, &shuffled(seed), &[0], &[0]).a[0]).to_vec()
    };
    // 2^24 takes no single 1 in f32: only those added before it count.
    let float = sums(&added_up("f32", "0f4B800000", "0f3F800000").replace("mov.u32 %r3", "mov.b32 %r3"));
    assert_eq!(f32::from_bits(float[0]), 16_777_216.0);
    assert!(float[1..].iter().all(|&sum| sum > float[0]), "{float:x?}");
    let integer = sums(&added_up("u32", "16777216", "1"));
    assert_eq!(integer, [16_777_216 + 299; 4]);
}

#[test]
fn a_chain_of_resident_ctas_needs_no_order() {
    let shuffled = Geometry { cta_order: Some(5), ..grid(40, 1) };
    let want: Vec<u32> = (0..40).map(|n| n * (n + 1) / 2).collect();
    assert_eq!(clean(&chain(RELEASE, ACQUIRE), &shuffled, &zeros(40), &zeros(40)).a, want);
}

#[test]
fn launches_that_cannot_be() {
    let plain = text("", 0, "");
    for block in [[0, 1, 1], [1025, 1, 1], [u32::MAX; 3]] {
        refuted(&plain, &Geometry { block, ..threads(1) }, &[0], &[0], FaultKind::Launch);
    }
    let huge = Geometry { grid: [u32::MAX; 3], ..threads(1) };
    refuted(&plain, &huge, &[0], &[0], FaultKind::Launch);
    let clusters = Geometry { cluster: [u32::MAX; 3], ..threads(1) };
    refuted(&plain, &clusters, &[0], &[0], FaultKind::Launch);
    let shared = Geometry { dynamic_shared: 232448, ..threads(1) };
    let target = |name: &str| plain.replace("sm_90a", name);
    clean(&plain, &shared, &[0], &[0]);
    for name in ["sm_80", "sm_86", "sm_89"] {
        let fault = refuted(&target(name), &shared, &[0], &[0], FaultKind::Launch);
        assert!(fault.message.contains(name), "{fault}");
    }
}
