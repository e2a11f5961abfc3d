//! Two launches of which the second may begin before the first has ended: what `griddepcontrol` orders, and what it does not.

use ptx_sim::{Fault, FaultKind, Geometry, GridLog, decode, memory::Memory, read};
use std::sync::Arc;

/// Threads of each launch.
const THREADS: u32 = 64;

/// Both kernels have the address of 256 words in `%rd1`, that of their own word in `%rd2`, and the thread's number in `%r1`.
fn text(first: &str, second: &str) -> String {
    let entry = |name: &str, body: &str| {
        format!(
            ".visible .entry {name}(.param .u64 p) {{
    .reg .b32 %r<16>; .reg .b64 %rd<8>; .reg .pred %p<4>;
    ld.param.u64 %rd1, [p];
    mov.u32 %r1, %tid.x;
    mul.wide.u32 %rd2, %r1, 4;
    add.s64 %rd2, %rd1, %rd2;
{body}
    ret;
}}
"
        )
    };
    let head = ".version 8.6\n.target sm_90a\n.address_size 64\n";
    format!("{head}{}{}", entry("first", first), entry("second", second))
}

/// What check mode finds in the second of two launches, the first of which is clean.
fn second(ptx: &str, grids: [u32; 2]) -> Vec<Fault> {
    let module = read::parse(ptx).unwrap_or_else(|e| panic!("{e}\n{ptx}"));
    let mut memory = Memory::new();
    let at = memory.allocate("p", &[0; 1024]);
    let mut run = |entry: &str, grid: u32, after: Vec<Arc<GridLog>>| {
        let kernel = decode::kernel(&module, entry).unwrap_or_else(|e| panic!("{e}\n{ptx}"));
        let geometry = Geometry {
            grid: [grid, 1, 1],
            block: [THREADS, 1, 1],
            check: true,
            keep: true,
            after,
            ..Geometry::default()
        };
        ptx_sim::run(&kernel, &mut memory, &geometry, &at.to_le_bytes()).unwrap_or_else(|f| panic!("{f}"))
    };
    let first = run("first", grids[0], vec![]);
    assert!(first.findings.is_empty(), "{}", first.findings[0]);
    run("second", grids[1], vec![first.log.expect("a log")]).findings
}

#[track_caller]
fn clean(first: &str, body: &str) {
    let found = second(&text(first, body), [1, 1]);
    assert!(found.is_empty(), "{}\n{body}", found[0]);
}

#[track_caller]
fn race(first: &str, body: &str) -> Fault {
    let ptx = text(first, body);
    let found = second(&ptx, [1, 1]);
    let fault = found.first().unwrap_or_else(|| panic!("a race expected\n{ptx}")).clone();
    assert_eq!(fault.kind, FaultKind::GlobalRace, "{fault}");
    assert!(fault.message.contains("`second`") && fault.message.contains("`first`"), "{fault}");
    fault
}

const WRITE: &str = "st.global.u32 [%rd2], %r1;";
const READ: &str = "ld.global.u32 %r2, [%rd2];";
const WAIT: &str = "griddepcontrol.wait;";

#[test]
fn a_wait_orders_what_comes_after_it() {
    clean(WRITE, &format!("{WAIT}\n{READ}"));
    clean(READ, &format!("{WAIT}\n{WRITE}"));
    clean(WRITE, &format!("{WAIT}\n{WRITE}"));
    // Both kernels as they are written in practice.
    let early = format!("griddepcontrol.launch_dependents;\n{WRITE}");
    clean(&early, &format!("griddepcontrol.launch_dependents;\nmov.u32 %r3, 1;\n{WAIT}\n{READ}"));
}

#[test]
fn without_a_wait_it_is_a_race() {
    let ptx = text(WRITE, READ);
    let fault = race(WRITE, READ);
    let line = |words: &str| 1 + ptx.lines().position(|l| l.contains(words)).expect("the words") as u32;
    assert_eq!(fault.line, line("ld.global"));
    assert_eq!(fault.other.as_ref().expect("the write").line, line("st.global"));
    assert_eq!(fault.missing, Some("no griddepcontrol.wait before"));
    race(READ, WRITE);
    race(WRITE, WRITE);
    race(WRITE, &format!("{READ}\n{WAIT}"));
    // Copies are accesses, too.
    let copy = "
    .shared .align 16 .b8 smem[1024];
    mov.u32 %r5, smem; mad.lo.u32 %r5, %r1, 4, %r5;
    cp.async.ca.shared.global [%r5], [%rd2], 4;
    cp.async.wait_all;";
    race(WRITE, copy);
    clean(WRITE, &format!("{WAIT}\n{copy}"));
}

#[test]
fn starting_early_orders_nothing() {
    race(&format!("{WRITE}\ngriddepcontrol.launch_dependents;"), READ);
    race(
        &format!("{WRITE}\ngriddepcontrol.launch_dependents;"),
        &format!("griddepcontrol.launch_dependents;\n{READ}"),
    );
}

#[test]
fn what_one_warp_waits_for_others_learn_by_a_barrier() {
    let one = "setp.lt.u32 %p1, %r1, 32;\n@!%p1 bra L;\ngriddepcontrol.wait;\nL:";
    clean(WRITE, &format!("{one}\nbar.sync 0;\n{READ}"));
    race(WRITE, &format!("{one}\n{READ}"));
    race(WRITE, &format!("{one}\nbar.sync 1, 32;\n{READ}").replace("bar.sync 1, 32", "bar.warp.sync -1"));
    // The warp that waited may go on at once.
    clean(WRITE, &format!("{one}\n@!%p1 bra M;\n{READ}\nM:"));
}

#[test]
fn what_both_only_read_or_one_does_not_touch_is_no_race() {
    clean(READ, READ);
    clean(WRITE, "ld.global.u32 %r2, [%rd2+512];");
    clean("red.global.add.u32 [%rd2], 1;", "red.global.add.u32 [%rd2], 1;");
    race("red.global.add.u32 [%rd2], 1;", READ);
    race(READ, "red.global.add.u32 [%rd2], 1;");
}

#[test]
fn every_cta_waits_for_itself() {
    // Only CTA 0 waits; each reads a word that some CTA of the first launch wrote.
    let own = "mov.u32 %r4, %ctaid.x; mad.lo.u32 %r5, %r4, 64, %r1; mul.wide.u32 %rd2, %r5, 4; add.s64 %rd2, %rd1, %rd2;";
    let some = "setp.ne.u32 %p1, %r4, 0;\n@%p1 bra L;\ngriddepcontrol.wait;\nL:";
    let all = second(&text(&format!("{own}\n{WRITE}"), &format!("{own}\n{WAIT}\n{READ}")), [4, 4]);
    assert!(all.is_empty(), "{}", all[0]);
    let found = second(&text(&format!("{own}\n{WRITE}"), &format!("{own}\n{some}\n{READ}")), [4, 4]);
    let ctas: Vec<_> = found.iter().map(|f| (f.cta[0], f.other.as_ref().expect("a write").cta[0])).collect();
    assert_eq!(ctas, [(1, 1), (2, 2), (3, 3)]);
}

#[test]
fn a_grid_that_communicates_keeps_its_log_and_waits() {
    let count = "ld.acquire.gpu.global.u32 %r3, [%rd1+1020];";
    let body = |steps: &str| format!("{count}\n{steps}");
    assert!(second(&text(&body(WRITE), &body(&format!("{WAIT}\n{READ}"))), [1, 1]).is_empty());
    assert_eq!(second(&text(&body(WRITE), &body(READ)), [1, 1])[0].kind, FaultKind::GlobalRace);
}
