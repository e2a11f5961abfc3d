//! Order between lanes of one warp: what orders them, what is only tolerated, what is wrong.

use crate::support::*;
use ptx_sim::{Fault, FaultKind};

/// Each lane stores its number in shared memory and reads that of its neighbour; `between` stands between the two.
fn exchange(between: &str) -> String {
    text(
        "",
        256,
        &format!(
            "
    mov.u32 %r2, smem;
    shl.b32 %r3, %r1, 2;
    add.u32 %r4, %r2, %r3;
    xor.b32 %r5, %r3, 4;
    add.u32 %r5, %r2, %r5;
    setp.lt.u32 %p1, %r1, 16;
    selp.b32 %r10, 0xffff, 0xffff0000, %p1;
    st.shared.u32 [%r4], %r1;
    {between}
    ld.shared.u32 %r6, [%r5];
    cvt.u64.u32 %rd3, %r3;
    add.u64 %rd3, %rd1, %rd3;
    st.global.u32 [%rd3], %r6;"
        ),
    )
}

fn lane_notes(ptx: &str) -> Vec<Fault> {
    let notes = notes(ptx, &threads(32), &zeros(32), &zeros(32));
    notes.into_iter().filter(|n| n.kind == FaultKind::LaneOrder).collect()
}

fn quiet(ptx: &str) {
    clean(ptx, &threads(32), &zeros(32), &zeros(32));
    let notes = lane_notes(ptx);
    assert!(notes.is_empty(), "{}\n{ptx}", notes[0]);
}

fn noted(ptx: &str) -> Fault {
    clean(ptx, &threads(32), &zeros(32), &zeros(32));
    lane_notes(ptx).into_iter().next().unwrap_or_else(|| panic!("a note expected\n{ptx}"))
}

fn wrong(ptx: &str) -> Fault {
    refuted(ptx, &threads(32), &zeros(32), &zeros(32), FaultKind::LaneOrder)
}

#[test]
fn lanes_in_step_are_noted() {
    let ptx = exchange("");
    let note = noted(&ptx);
    assert_eq!(note.line, line_of(&ptx, "ld.shared"));
    assert_eq!(note.other.expect("the store").line, line_of(&ptx, "st.shared"));
    // It says which lanes run, and orders nothing.
    noted(&exchange("activemask.b32 %r7;"));
    noted(&exchange("membar.cta;"));
}

#[test]
fn collectives_and_barriers_order() {
    for between in [
        "bar.warp.sync 0xffffffff;",
        "bar.sync 0;",
        "barrier.sync 1, 32;",
        "shfl.sync.bfly.b32 %r7, %r1, 1, 31, 0xffffffff;",
        "vote.sync.any.pred %p2, %p1, 0xffffffff;",
        "match.any.sync.b32 %r7, %r1, 0xffffffff;",
        "redux.sync.add.s32 %r7, %r1, 0xffffffff;",
        "elect.sync %r7|%p2, 0xffffffff;",
        "barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;",
    ] {
        quiet(&exchange(between));
    }
}

#[test]
fn a_collective_orders_only_the_lanes_it_names() {
    quiet(&exchange("bar.warp.sync %r10;"));
    // Each half synchronises, and lanes read from the other half.
    noted(&exchange("bar.warp.sync %r10;\nxor.b32 %r5, %r5, 64;"));
    // Two steps lead from each lane to each: neighbours, then halves.
    quiet(&exchange("bar.warp.sync %r10;\nbar.warp.sync 0xffffffff;\nxor.b32 %r5, %r5, 64;"));
}

#[test]
fn lanes_that_went_different_ways_are_refuted() {
    let ways = "xor.b32 %r5, %r5, 64;\n@%p1 bra L;\nadd.u32 %r7, %r1, 1;\nL:";
    let fault = wrong(&exchange(ways));
    assert!(fault.message.contains("different ways"), "{fault}");
    quiet(&exchange(&format!("{ways}\nbar.warp.sync 0xffffffff;")));
    // The two ways meet at a collective of which each has its own.
    quiet(&exchange("@%p1 bra L;\nbar.warp.sync -1;\nbra M;\nL: bar.warp.sync -1;\nM:"));
}

#[test]
fn a_store_on_one_way_only() {
    let body = |between: &str| {
        text(
            "",
            64,
            &format!(
                "
    mov.u32 %r2, smem;
    setp.ne.u32 %p1, %r1, 0;
    @%p1 bra L;
    st.shared.u32 [%r2], 5;
L:
    {between}
    ld.shared.u32 %r6, [%r2];
    mul.wide.u32 %rd3, %r1, 4;
    add.u64 %rd3, %rd1, %rd3;
    st.global.u32 [%rd3], %r6;"
            ),
        )
    };
    wrong(&body(""));
    quiet(&body("bar.warp.sync -1;"));
    quiet(&body("bar.sync 0;"));
}

#[test]
fn a_read_and_then_another_lanes_write() {
    let again = |between: &str| {
        exchange(&format!(
            "bar.warp.sync -1;\nld.shared.u32 %r7, [%r5];\n{between}\nst.shared.u32 [%r4], %r7;\nbar.warp.sync -1;"
        ))
    };
    let note = noted(&again(""));
    assert_eq!(note.line, line_of(&again(""), "st.shared.u32 [%r4], %r7"));
    quiet(&again("bar.warp.sync -1;"));
}

#[test]
fn bytes_are_told_apart() {
    let own = "
    mov.u32 %r2, smem;
    add.u32 %r2, %r2, %r1;
    st.shared.u8 [%r2], %r1;
    ld.shared.u8 %r3, [%r2];
    st.shared.u8 [%r2], %r3;";
    quiet(&text("", 64, own));
    noted(&text("", 64, &format!("{own}\nxor.b32 %r2, %r2, 1;\nld.shared.u8 %r3, [%r2];")));
}

#[test]
fn global_memory_too() {
    let body = |between: &str| {
        text(
            "",
            0,
            &format!(
                "
    shl.b32 %r3, %r1, 2;
    xor.b32 %r4, %r3, 8;
    cvt.u64.u32 %rd3, %r3;
    cvt.u64.u32 %rd4, %r4;
    add.u64 %rd3, %rd1, %rd3;
    add.u64 %rd4, %rd1, %rd4;
    st.global.u32 [%rd3], %r1;
    {between}
    ld.global.u32 %r5, [%rd4];"
            ),
        )
    };
    noted(&body(""));
    quiet(&body("bar.warp.sync -1;"));
}

/// Lane 0 stores a value and raises a flag; the others wait for the flag and read the value.
fn handed_over(store: &str, load: &str) -> String {
    text(
        "",
        64,
        &format!(
            "
    mov.u32 %r2, smem;
    st.relaxed.cta.shared.u32 [%r2+16], 0;
    bar.warp.sync -1;
    setp.ne.u32 %p1, %r1, 0;
    @%p1 bra WAIT;
    st.shared.u32 [%r2], 5;
    {store}
    bra END;
WAIT:
    {load}
    setp.eq.u32 %p2, %r3, 0;
    @%p2 bra WAIT;
    ld.shared.u32 %r4, [%r2];
END:"
        ),
    )
}

#[test]
fn release_and_acquire_order_lanes() {
    let (release, acquire) =
        ("st.release.cta.shared.u32 [%r2+16], 1;", "ld.acquire.cta.shared.u32 %r3, [%r2+16];");
    let (write, read) =
        ("st.relaxed.cta.shared.u32 [%r2+16], 1;", "ld.relaxed.cta.shared.u32 %r3, [%r2+16];");
    let fence = "fence.acq_rel.cta;";
    quiet(&handed_over(release, acquire));
    quiet(&handed_over(&format!("{fence}\n{write}"), &format!("{read}\n{fence}")));
    wrong(&handed_over(write, acquire));
    wrong(&handed_over(release, read));
    wrong(&handed_over(&format!("{write}\n{fence}"), acquire));
}

#[test]
fn an_mbarrier_orders_lanes() {
    let wait = "W: mbarrier.test_wait.parity.shared.b64 %p2, [%r2+128], 0;\n@!%p2 bra W;";
    let set_up = "setp.eq.u32 %p3, %r1, 0;\n@%p3 mbarrier.init.shared.b64 [%r2+128], 32;\nbar.warp.sync -1;";
    let with = |steps: &str| {
        exchange("")
            .replace("st.shared.u32", &format!("{set_up}\nst.shared.u32"))
            .replace("ld.shared.u32", &format!("{steps}\nld.shared.u32"))
    };
    quiet(&with(&format!("mbarrier.arrive.shared.b64 %rd5, [%r2+128];\n{wait}")));
}

#[test]
fn strong_accesses_need_no_order() {
    quiet(&text(
        "",
        64,
        "mov.u32 %r2, smem;\nst.volatile.shared.u32 [%r2], 1;\nld.volatile.shared.u32 %r3, [%r2];",
    ));
    quiet(&text(
        "",
        64,
        "mov.u32 %r2, smem;\natom.shared.add.u32 %r3, [%r2], 1;\natom.shared.add.u32 %r3, [%r2], 1;",
    ));
    // The first guess of a compare-and-swap loop.
    let guess = "
    mov.u32 %r2, smem;
    ld.shared.u32 %r3, [%r2];
L:
    mov.u32 %r4, %r3;
    add.u32 %r5, %r4, 1;
    atom.shared.cas.b32 %r3, [%r2], %r4, %r5;
    setp.ne.u32 %p1, %r3, %r4;
    @%p1 bra L;";
    let begin =
        "mov.u32 %r2, smem;\nsetp.eq.u32 %p1, %r1, 0;\n@%p1 st.shared.u32 [%r2], 0;\nbar.warp.sync -1;";
    quiet(&text("", 64, &format!("{begin}\n{guess}")));
}

#[test]
fn long_divergence_without_order_ends() {
    // Lanes leave the loop one by one, and each writes its own place each time: many spans, and nothing to say.
    let own = "
    mov.u32 %r2, smem;
    shl.b32 %r3, %r1, 2;
    add.u32 %r2, %r2, %r3;
    mov.u32 %r5, 0;
L:
    and.b32 %r6, %r5, 1;
    setp.eq.u32 %p2, %r6, 0;
    setp.lt.u32 %p3, %r1, 7;
    and.pred %p2, %p2, %p3;
    @%p2 bra M;
    st.shared.u32 [%r2], %r5;
M:
    add.u32 %r5, %r5, 1;
    setp.lt.u32 %p1, %r5, 2000;
    @%p1 bra L;";
    quiet(&text("", 256, own));
}
