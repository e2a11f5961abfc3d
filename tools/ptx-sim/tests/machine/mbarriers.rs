//! mbarriers: phases, bytes, and how they are misused.

use crate::support::*;
use ptx_sim::{FaultKind, Geometry};

/// Warp 0 initialises for `count` arrivals, all meet, then `rest` runs.
fn with_barrier(count: &str, rest: &str) -> String {
    text(
        "",
        1024,
        &format!(
            "
    mov.u32 %r2, smem;
    setp.eq.u32 %p1, %r1, 0;
    @%p1 mbarrier.init.shared::cta.b64 [%r2], {count};
    bar.sync 0;
    {rest}"
        ),
    )
}

fn wait(parity: u32, label: &str) -> String {
    format!(
        "{label}:
    mbarrier.try_wait.parity.shared::cta.b64 %p9, [%r2], {parity};
    @!%p9 bra {label};"
    )
}

/// Each warp writes its part of 64 words, arrives, waits, and reads the other's.
fn exchange(arrive: &str, wait: &str) -> String {
    with_barrier(
        "64",
        &format!(
            "
    mad.lo.u32 %r3, %r1, 4, %r2;
    st.shared.u32 [%r3+64], %r1;
    {arrive}
    {wait}
    xor.b32 %r4, %r1, 32;
    mad.lo.u32 %r4, %r4, 4, %r2;
    ld.shared.u32 %r5, [%r4+64];
    mul.wide.u32 %rd3, %r1, 4;
    add.s64 %rd3, %rd1, %rd3;
    st.global.u32 [%rd3], %r5;"
        ),
    )
}

#[test]
fn an_arrival_and_a_wait_order() {
    let want: Vec<u32> = (0..64).map(|n| n ^ 32).collect();
    let arrive = "mbarrier.arrive.shared::cta.b64 %rd5, [%r2];";
    assert_eq!(clean(&exchange(arrive, &wait(0, "W")), &threads(64), &zeros(64), &[0]).a, want);
    let token = "W:\nmbarrier.test_wait.shared::cta.b64 %p9, [%r2], %rd5;\n@!%p9 bra W;";
    assert_eq!(clean(&exchange(arrive, token), &threads(64), &zeros(64), &[0]).a, want);
}

#[test]
fn a_wrong_parity_or_no_wait_is_a_race() {
    let arrive = "mbarrier.arrive.shared::cta.b64 %rd5, [%r2];";
    for wait in [wait(1, "W"), String::new()] {
        refuted(&exchange(arrive, &wait), &threads(64), &zeros(64), &[0], FaultKind::SharedRace);
    }
    let relaxed = "mbarrier.arrive.relaxed.cta.shared::cta.b64 %rd5, [%r2];";
    refuted(&exchange(relaxed, &wait(0, "W")), &threads(64), &zeros(64), &[0], FaultKind::SharedRace);
}

#[test]
fn a_phase_that_never_ends_says_what_is_missing() {
    let ptx = with_barrier("65", &format!("mbarrier.arrive.shared::cta.b64 %rd5, [%r2];\n{}", wait(0, "W")));
    let fault = refuted(&ptx, &threads(64), &[0], &[0], FaultKind::Deadlock);
    assert!(fault.message.contains("1 of 65 arrivals"), "{fault}");
    let expect = with_barrier(
        "1",
        &format!("@%p1 mbarrier.arrive.expect_tx.shared::cta.b64 %rd5, [%r2], 64;\n{}", wait(0, "W")),
    );
    let fault = refuted(&expect, &threads(32), &[0], &[0], FaultKind::Deadlock);
    assert!(fault.message.contains("64 bytes"), "{fault}");
}

#[test]
fn misuse() {
    let cases = [
        ("double init", "@%p1 mbarrier.init.shared::cta.b64 [%r2], 1;"),
        ("too many arrivals", "mbarrier.arrive.shared::cta.b64 %rd5, [%r2], 3;"),
        (
            "use after inval",
            "@%p1 mbarrier.inval.shared::cta.b64 [%r2];\nbar.sync 0;\nmbarrier.arrive.shared::cta.b64 %rd5, [%r2];",
        ),
        ("no barrier there", "mbarrier.arrive.shared::cta.b64 %rd5, [%r2+8];"),
        ("noComplete completes", "@%p1 mbarrier.arrive.noComplete.shared::cta.b64 %rd5, [%r2], 1;"),
        ("bytes overflow", "@%p1 mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%r2], 1048576;"),
        ("overlap", "@%p1 mbarrier.init.shared::cta.b64 [%r2+4], 1;"),
    ];
    for (name, body) in cases {
        let kind = if name == "overlap" { FaultKind::Misaligned } else { FaultKind::MbarrierMisuse };
        let fault = refuted(&with_barrier("1", body), &threads(32), &[0], &[0], kind);
        assert!(fault.line > 10, "{name}: {fault}");
    }
}

#[test]
fn plain_accesses_to_a_live_mbarrier() {
    for body in ["st.shared.u32 [%r2+4], 0;", "ld.shared.u64 %rd5, [%r2];"] {
        let ptx = with_barrier("1", &format!("@%p1 {body}"));
        refuted(&ptx, &threads(32), &[0], &[0], FaultKind::MbarrierMisuse);
    }
    let dead = with_barrier("1", "@%p1 mbarrier.inval.shared::cta.b64 [%r2];\n@%p1 st.shared.u32 [%r2], 0;");
    clean(&dead, &threads(32), &[0], &[0]);
}

/// Two rounds, in each of which all threads arrive and then wait; `next` makes the parity of the second.
fn two_rounds(next: &str, wait: &str) -> String {
    with_barrier(
        "64",
        &format!(
            "
    mov.u32 %r4, 0;
    mov.u32 %r5, 0;
AGAIN:
    mbarrier.arrive.shared::cta.b64 %rd5, [%r2];
W:
    {wait}
    @!%p9 bra W;
    {next}
    add.u32 %r5, %r5, 1;
    setp.lt.u32 %p2, %r5, 2;
    @%p2 bra AGAIN;"
        ),
    )
}

#[test]
fn a_phase_that_is_waited_for_again_is_noted() {
    let by_parity = "mbarrier.try_wait.parity.shared::cta.b64 %p9, [%r2], %r4;";
    let by_token = "mbarrier.try_wait.shared::cta.b64 %p9, [%r2], %rd5;";
    let flips = "xor.b32 %r4, %r4, 1;";
    let said = |ptx: &str| -> Vec<String> {
        let check = Geometry { check: true, ..threads(64) };
        let taken = match once(ptx, &check, &[0], &[0]).result {
            Ok(summary) => summary.notes,
            Err(fault) => fault.before,
        };
        taken.iter().filter(|n| n.kind == FaultKind::MbarrierMisuse).map(|n| n.to_string()).collect()
    };
    // Two places that wait for one phase, and lanes that come one after the other.
    let twice = format!("{by_parity}\n@!%p9 bra W;\n{by_parity}");
    let by_turns = format!(
        "mov.u32 %r6, 0;
EACH:
    and.b32 %r7, %r1, 1;
    setp.eq.u32 %p5, %r6, %r7;
    @!%p5 bra SKIP;
MINE:
    {by_parity}
    @!%p9 bra MINE;
SKIP:
    add.u32 %r6, %r6, 1;
    setp.lt.u32 %p6, %r6, 2;
    @%p6 bra EACH;
    setp.eq.u32 %p9, 0, 0;"
    );
    for good in [by_parity, &twice, &by_turns].map(|wait| two_rounds(flips, wait)) {
        clean(&good, &threads(64), &[0], &[0]);
        assert_eq!(said(&good), [""; 0]);
    }
    assert_eq!(said(&two_rounds("", by_token)), [""; 0]);
    // A warp that goes round too early, and then waits for a phase that nobody completes.
    let stuck = two_rounds("", by_parity);
    refuted(&stuck, &threads(64), &[0], &[0], FaultKind::Deadlock);
    let notes = said(&stuck);
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(
        notes[0].contains("phase 0") && notes[0].contains(&format!("line {}", line_of(&stuck, by_parity)))
    );
}

/// Refutations are never lost among notes.
#[test]
fn notes_do_not_crowd_out_refutations() {
    let equal: String = (0..100).map(|n| format!("st.shared.u32 [%r2+{}], 7;\n", 4 * n)).collect();
    let ptx = text("", 1024, &format!("mov.u32 %r2, smem;\n{equal}st.shared.u32 [%r2+512], %r1;"));
    let fault = refuted(&ptx, &threads(32), &[0], &[0], FaultKind::LaneConflict);
    assert_eq!(fault.line, line_of(&ptx, "[%r2+512]"));
    assert_eq!(notes(&ptx, &threads(32), &[0], &[0]).len(), 64);
}

#[test]
fn use_before_the_init_is_seen() {
    let ptx = text(
        "",
        64,
        "
    mov.u32 %r2, smem;
    setp.eq.u32 %p1, %r1, 0;
    @%p1 mbarrier.init.shared::cta.b64 [%r2], 32;
    setp.ge.u32 %p2, %r1, 32;
    @%p2 mbarrier.arrive.shared::cta.b64 %rd5, [%r2];",
    );
    refuted(&ptx, &threads(64), &[0], &[0], FaultKind::MbarrierMisuse);
}

#[test]
fn pending_counts_drops_and_phases() {
    let ptx = with_barrier(
        "3",
        "
    @!%p1 bra END;
    mbarrier.arrive.shared::cta.b64 %rd5, [%r2];
    mbarrier.pending_count.b64 %r5, %rd5;
    mbarrier.arrive_drop.shared::cta.b64 %rd6, [%r2];
    mbarrier.pending_count.b64 %r6, %rd6;
    mbarrier.arrive.shared::cta.b64 %rd7, [%r2];
    mbarrier.test_wait.shared::cta.b64 %p2, [%r2], %rd7;
    selp.b32 %r7, 1, 0, %p2;
    mbarrier.arrive.shared::cta.b64 %rd8, [%r2];
    mbarrier.pending_count.b64 %r8, %rd8;
    mbarrier.arrive.shared::cta.b64 %rd8, [%r2];
    mbarrier.test_wait.parity.shared::cta.b64 %p3, [%r2], 1;
    selp.b32 %r9, 1, 0, %p3;
    st.global.v4.u32 [%rd1], {%r5, %r6, %r7, %r8};
    st.global.u32 [%rd1+16], %r9;
END:",
    );
    assert_eq!(clean(&ptx, &threads(32), &zeros(5), &[0]).a, [3, 2, 1, 2, 1]);
}

#[test]
fn a_remote_arrival_completes_a_phase_of_another_cta() {
    let body = |wait: &str| {
        text(
            "",
            64,
            &format!(
                "
    mov.u32 %r2, smem;
    mov.u32 %r3, %cluster_ctarank;
    mbarrier.init.shared::cta.b64 [%r2], 1;
    fence.mbarrier_init.release.cluster;
    barrier.cluster.arrive.relaxed;
    barrier.cluster.wait.acquire;
    setp.eq.u32 %p1, %r3, 0;
    @%p1 bra READ;
    mapa.shared::cluster.u32 %r5, %r2, 0;
    st.shared::cluster.u32 [%r5+16], 42;
    mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r5];
    bra END;
READ:
    {wait}
    ld.shared.u32 %r6, [%r2+16];
    st.global.u32 [%rd1], %r6;
END:
    barrier.cluster.arrive;
    barrier.cluster.wait;"
            ),
        )
    };
    let acquire = "W:\nmbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 %p9, [%r2], 0;\n@!%p9 bra W;";
    assert_eq!(clean(&body(acquire), &cluster(2, 1), &[0], &[0]).a, [42]);
    refuted(&body(""), &cluster(2, 1), &[0], &[0], FaultKind::SharedRace);
}
