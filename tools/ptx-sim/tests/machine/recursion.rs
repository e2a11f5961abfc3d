//! Functions that call themselves: values by activation, frames, lanes of different depths, bounds, definedness.

use crate::support::*;
use ptx_sim::{FaultKind, Geometry, decode, read, time::trace::Sample};

/// The text of a kernel with device functions before it.
fn with_functions(functions: &str, body: &str) -> String {
    text("", 0, body).replace(".visible .entry", &format!("{functions}\n.visible .entry"))
}

/// Every thread calls `f` of `a[tid]` and writes what it gives to `b[tid]`.
fn apply(functions: &str) -> String {
    with_functions(
        functions,
        "
    mul.wide.u32 %rd3, %r1, 4;
    add.s64 %rd4, %rd1, %rd3;
    add.s64 %rd5, %rd2, %rd3;
    ld.global.u32 %r2, [%rd4];
    .param .b32 actual;
    .param .b32 given;
    st.param.b32 [actual], %r2;
    call.uni (given), f, (actual);
    ld.param.b32 %r3, [given];
    st.global.u32 [%rd5], %r3;",
    )
}

/// f(n) = n < 2 ? 1 : n * f(n - 1), as nvcc writes it.
const FACTORIAL: &str = "
.func (.param .b32 value) f(.param .b32 n)
{
    .reg .pred %p<2>; .reg .b32 %r<6>;
    ld.param.u32 %r1, [n];
    mov.u32 %r5, 1;
    setp.lt.u32 %p1, %r1, 2;
    @%p1 bra DONE;
    sub.u32 %r2, %r1, 1;
    { .param .b32 p; .param .b32 v;
      st.param.b32 [p], %r2;
      call.uni (v), f, (p);
      ld.param.b32 %r3, [v]; }
    mul.lo.u32 %r5, %r1, %r3;
DONE:
    st.param.b32 [value], %r5;
    ret;
}";

/// Two calls in each activation; parameters and result are registers.
const FIBONACCI: &str = "
.func (.reg .b32 value) f(.reg .b32 n)
{
    .reg .pred %p<2>; .reg .b32 %r<6>;
    setp.lt.u32 %p1, n, 2;
    mov.u32 value, n;
    @%p1 ret;
    sub.u32 %r1, n, 1;
    call (%r2), f, (%r1);
    sub.u32 %r1, n, 2;
    call (%r3), f, (%r1);
    add.u32 value, %r2, %r3;
    ret;
}";

#[test]
fn every_activation_has_its_own_registers() {
    let lanes = |most: u32| (0..48).map(|n| n * 7 % most).collect::<Vec<u32>>();
    let n = lanes(13);
    let want: Vec<u32> = n.iter().map(|n| (1..=*n).product()).collect();
    assert_eq!(clean(&apply(FACTORIAL), &threads(48), &n, &zeros(48)).b, want);
    let n = lanes(11);
    let fibonacci = |n: u32| (0..n).fold((0, 1), |(a, b), _| (b, a + b)).0;
    let want: Vec<u32> = n.iter().map(|n| fibonacci(*n)).collect();
    assert_eq!(clean(&apply(FIBONACCI), &threads(48), &n, &zeros(48)).b, want);
}

#[test]
fn functions_may_call_each_other() {
    let other = |name: &str, callee: &str, base: u32| {
        format!(
            "
.func (.param .b32 value) {name}(.param .b32 n)
{{
    .reg .pred %p<2>; .reg .b32 %r<6>;
    ld.param.u32 %r1, [n];
    mov.u32 %r3, {base};
    setp.eq.u32 %p1, %r1, 0;
    @%p1 bra DONE;
    sub.u32 %r1, %r1, 1;
    .param .b32 p; .param .b32 v;
    st.param.b32 [p], %r1;
    call.uni (v), {callee}, (p);
    ld.param.b32 %r3, [v];
DONE:
    st.param.b32 [value], %r3;
    ret;
}}"
        )
    };
    let functions = format!(
        ".func (.param .b32 value) odd(.param .b32 n);{}{}",
        other("f", "odd", 1), // even
        other("odd", "f", 0)
    );
    let n = counting(40);
    let want: Vec<u32> = n.iter().map(|n| 1 - n % 2).collect();
    assert_eq!(clean(&apply(&functions), &threads(40), &n, &zeros(40)).b, want);
}

#[test]
fn a_helper_of_a_recursive_function_stands_in_its_code() {
    // f(n) = n == 0 ? 0 : twice(n) + f(n - 1) = n * (n + 1)
    let functions = "
.func (.reg .b32 value) twice(.reg .b32 n) { add.u32 value, n, n; ret; }
.func (.reg .b32 value) f(.reg .b32 n)
{
    .reg .pred %p; .reg .b32 %r<4>;
    mov.u32 value, 0;
    setp.eq.u32 %p, n, 0;
    @%p ret;
    call (%r1), twice, (n);
    sub.u32 %r2, n, 1;
    call (%r3), f, (%r2);
    add.u32 value, %r1, %r3;
    ret;
}";
    let ptx = apply(functions);
    let kernel = decode::kernel(&read::parse(&ptx).unwrap(), "k").unwrap();
    assert_eq!(kernel.routines.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["f"]);
    let n = counting(32);
    let want: Vec<u32> = n.iter().map(|n| n * (n + 1)).collect();
    assert_eq!(clean(&ptx, &threads(32), &n, &zeros(32)).b, want);
}

#[test]
fn a_pointer_may_lead_back() {
    // f(n) = n == 0 ? 5 : 1 + (*pointer)(n - 1), where the pointer is to f.
    let functions = "
.func (.param .b32 value) f(.param .b32 n)
{
    .reg .pred %p; .reg .b32 %r<4>; .reg .b64 %rd<2>;
    ld.param.u32 %r1, [n];
    mov.u32 %r2, 5;
    setp.eq.u32 %p, %r1, 0;
    @%p bra DONE;
    sub.u32 %r1, %r1, 1;
    mov.u64 %rd1, f;
    .param .b32 p; .param .b32 v;
    st.param.b32 [p], %r1;
    shape: .callprototype (.param .b32 _) _ (.param .b32 _);
    call (v), %rd1, (p), shape;
    ld.param.b32 %r2, [v];
    add.u32 %r2, %r2, 1;
DONE:
    st.param.b32 [value], %r2;
    ret;
}";
    let want: Vec<u32> = (5..37).collect();
    assert_eq!(clean(&apply(functions), &threads(32), &counting(32), &zeros(32)).b, want);
}

#[test]
fn lanes_walk_a_tree_each_to_its_own_depth_and_meet_again() {
    // A heap of 31 nodes in `a`; each lane sums the subtree of node (lane % 31), which has 1 to 5 levels. Behind the calls
    // all lanes shuffle together, which needs them to have met.
    let functions = "
.func (.param .b32 value) walk(.param .b64 tree, .param .b32 node)
{
    .reg .pred %p<2>; .reg .b32 %r<8>; .reg .b64 %rd<4>;
    ld.param.u64 %rd1, [tree];
    ld.param.u32 %r1, [node];
    mov.u32 %r2, 0;
    setp.gt.u32 %p1, %r1, 30;
    @%p1 bra DONE;
    mul.wide.u32 %rd2, %r1, 4;
    add.s64 %rd3, %rd1, %rd2;
    ld.global.u32 %r2, [%rd3];
    shl.b32 %r3, %r1, 1;
    mov.u32 %r4, 0;
NEXT:
    add.u32 %r4, %r4, 1;
    add.u32 %r5, %r3, %r4;
    { .param .b64 t; .param .b32 n; .param .b32 v;
      st.param.b64 [t], %rd1;
      st.param.b32 [n], %r5;
      call.uni (v), walk, (t, n);
      ld.param.b32 %r6, [v]; }
    add.u32 %r2, %r2, %r6;
    setp.lt.u32 %p1, %r4, 2;
    @%p1 bra NEXT;
DONE:
    st.param.b32 [value], %r2;
    ret;
}";
    let ptx = with_functions(
        functions,
        "
    rem.u32 %r2, %r1, 31;
    .param .b64 t; .param .b32 n; .param .b32 v;
    st.param.b64 [t], %rd1;
    st.param.b32 [n], %r2;
    call.uni (v), walk, (t, n);
    ld.param.b32 %r3, [v];
    shfl.sync.bfly.b32 %r4, %r3, 1, 31, 0xffffffff;
    mul.wide.u32 %rd3, %r1, 4;
    add.s64 %rd4, %rd2, %rd3;
    st.global.u32 [%rd4], %r4;",
    );
    let tree: Vec<u32> = (0..31).map(|n| n * n + 3).collect();
    fn sum(tree: &[u32], n: usize) -> u32 {
        if n > 30 { 0 } else { tree[n] + sum(tree, 2 * n + 1) + sum(tree, 2 * n + 2) }
    }
    let want: Vec<u32> = (0..32).map(|l| sum(&tree, (l ^ 1) % 31)).collect();
    assert_eq!(clean(&ptx, &threads(32), &tree, &zeros(32)).b, want);
    // A warp that lacks lanes names those it has.
    let ptx = ptx.replace("0xffffffff", "0x3ff");
    assert_eq!(clean(&ptx, &threads(10), &tree, &zeros(10)).b, want[..10]);
}

/// f(n): a frame holds n and n + 1; their sum, read after the call, is added to what the call gives.
const FRAMES: &str = "
.func (.param .b32 value) f(.param .b32 n)
{
    .local .align 16 .b8 depot[16];
    .reg .pred %p; .reg .b32 %r<8>; .reg .b64 %SP, %SPL, %rd<2>;
    mov.u64 %SPL, depot;
    cvta.local.u64 %SP, %SPL;
    ld.param.u32 %r1, [n];
    st.u32 [%SP+4], %r1;
    add.u32 %r2, %r1, 1;
    st.local.u32 [depot+8], %r2;
    mov.u32 %r3, 0;
    setp.eq.u32 %p, %r1, 0;
    @%p bra DONE;
    sub.u32 %r4, %r1, 1;
    { .param .b32 p; .param .b32 v;
      st.param.b32 [p], %r4;
      call.uni (v), f, (p);
      ld.param.b32 %r3, [v]; }
DONE:
    ld.local.u32 %r5, [depot+4];
    ld.u32 %r6, [%SP+8];
    add.u32 %r3, %r3, %r5;
    add.u32 %r3, %r3, %r6;
    st.param.b32 [value], %r3;
    ret;
}";

#[test]
fn every_activation_has_its_own_frame() {
    // n + (n + 1) + … + 0 + 1 = (n + 1)²
    let n: Vec<u32> = (0..40).map(|l| l * 5 % 23).collect();
    let want: Vec<u32> = n.iter().map(|n| (n + 1) * (n + 1)).collect();
    assert_eq!(clean(&apply(FRAMES), &threads(40), &n, &zeros(40)).b, want);
}

#[test]
fn recursion_without_an_end_is_an_overflow_of_the_stack() {
    let n = [u32::MAX; 32];
    // Activations without a frame of their own, and with one of 4000 bytes.
    let small = apply(&FACTORIAL.replace("setp.lt.u32 %p1, %r1, 2", "setp.eq.u32 %p1, %r1, 2"));
    let large = apply(&FRAMES.replace("depot[16]", "depot[4000]"));
    for (ptx, says) in
        [(small, "4096 activations"), (large, "bytes of stack are left for `f`, 16 activations deep")]
    {
        let fault = once(&ptx, &threads(32), &n, &zeros(32)).result.expect_err("an overflow");
        assert_eq!(fault.kind, FaultKind::StackOverflow);
        assert_eq!(fault.line, line_of(&ptx, "call.uni (v), f, (p)"));
        assert!(fault.message.contains(says), "{fault}");
        assert_eq!(refuted(&ptx, &threads(32), &n, &zeros(32), FaultKind::StackOverflow).line, fault.line);
    }
}

#[test]
fn lanes_may_exit_in_the_midst_of_calls() {
    // Where n was odd at the first call, the innermost activation exits: those lanes write nothing.
    let ptx = apply(&FACTORIAL.replace("@%p1 bra DONE;", "@%p1 bra LAST;").replace(
        "DONE:",
        "    bra DONE;
LAST:
    setp.eq.u32 %p1, %r1, 1;
    @%p1 exit;
DONE:",
    ));
    let ptx = ptx.replace("sub.u32 %r2, %r1, 1;", "sub.u32 %r2, %r1, 2;");
    let n: Vec<u32> = (0..32).map(|l| l % 9).collect();
    let even = |n: u32| (1..=n / 2).map(|k| 2 * k).product::<u32>();
    let want: Vec<u32> = n.iter().map(|&n| if n % 2 == 1 { 77 } else { even(n) }).collect();
    assert_eq!(clean(&ptx, &threads(32), &n, &[77; 32]).b, want);
}

#[test]
fn what_an_activation_left_undefined_is_undefined_for_its_caller() {
    // The innermost activation gives nothing: the value is undefined through every return, and no store may take it away.
    let silent = FACTORIAL.replace("@%p1 bra DONE;", "@%p1 bra SILENT;").replace("    ret;", "SILENT: ret;");
    let ptx = apply(&silent);
    let fault = refuted(&ptx, &threads(32), &[3; 32], &zeros(32), FaultKind::Undefined);
    assert_eq!(fault.line, line_of(&ptx, "st.global.u32 [%rd5]"));
    // A register that only the activation before wrote is not written in this one, though it holds a value; nor is a frame.
    let stale = FACTORIAL
        .replace("mov.u32 %r5, 1;", "setp.ne.u32 %p1, %r1, 3; @%p1 bra OTHERS; mov.u32 %r5, 1;\nOTHERS:");
    refuted(&apply(&stale), &threads(32), &[3; 32], &zeros(32), FaultKind::Undefined);
    let frame = FRAMES.replace(
        "st.u32 [%SP+4], %r1;",
        "setp.ne.u32 %p, %r1, 3; @%p bra OTHERS; st.u32 [%SP+4], %r1;\nOTHERS:",
    );
    refuted(&apply(&frame), &threads(32), &[3; 32], &zeros(32), FaultKind::Undefined);
}

#[test]
fn what_returns_is_as_defined_as_it_was() {
    // The caller's registers are defined again behind a call, although the callee never wrote its own.
    let lazy = FACTORIAL
        .replace("mov.u32 %r5, 1;", "")
        .replace("DONE:\n", "    bra GIVE;\nDONE:\n    st.param.b32 [value], 1;\n    ret;\nGIVE:\n");
    let want: Vec<u32> = (0..8).map(|n| (1..=n).product()).collect();
    assert_eq!(clean(&apply(&lazy), &threads(8), &counting(8), &zeros(8)).b, want);
}

#[test]
fn a_lock_may_be_taken_in_a_recursive_function() {
    // Each of n activations of every lane adds 1 under a spin lock; lanes that have it must not wait for those that spin.
    let functions = "
.func f(.param .b64 lock, .param .b32 n)
{
    .reg .pred %p<3>; .reg .b32 %r<8>; .reg .b64 %rd<4>;
    ld.param.u64 %rd1, [lock];
    ld.param.u32 %r1, [n];
    setp.eq.u32 %p1, %r1, 0;
    @%p1 bra DONE;
AGAIN:
    atom.acquire.gpu.global.cas.b32 %r2, [%rd1], 0, 1;
    setp.ne.u32 %p2, %r2, 0;
    @%p2 bra AGAIN;
    ld.global.u32 %r3, [%rd1+4];
    add.u32 %r3, %r3, 1;
    st.global.u32 [%rd1+4], %r3;
    atom.release.gpu.global.exch.b32 %r4, [%rd1], 0;
    sub.u32 %r5, %r1, 1;
    .param .b64 l; .param .b32 m;
    st.param.b64 [l], %rd1;
    st.param.b32 [m], %r5;
    call.uni f, (l, m);
DONE:
    ret;
}";
    let ptx = with_functions(
        functions,
        "
    and.b32 %r2, %r1, 3;
    .param .b64 l; .param .b32 m;
    st.param.b64 [l], %rd1;
    st.param.b32 [m], %r2;
    call.uni f, (l, m);",
    );
    let run = clean(&ptx, &threads(32), &zeros(2), &zeros(1));
    assert_eq!(run.a, [0, 8 * (1 + 2 + 3)]);
}

#[test]
fn spinning_in_a_recursive_function_is_a_deadlock() {
    // Nobody writes the flag; each round calls, so the stacks are part of what repeats itself.
    let spin = FACTORIAL.replace(
        "    sub.u32 %r2, %r1, 1;",
        "SPIN: ld.volatile.global.u32 %r4, [flag]; setp.eq.u32 %p1, %r4, 0; @%p1 bra SPIN;
    sub.u32 %r2, %r1, 1;",
    );
    let ptx = apply(&format!(".global .u32 flag = 0;\n{spin}"));
    let run = once(&ptx, &threads(32), &counting(32), &zeros(32));
    assert_eq!(run.result.expect_err("a deadlock").kind, FaultKind::Deadlock);
}

#[test]
fn what_calls_save_of_the_host_is_bounded() {
    // 1500 registers of 128 threads: 768 KB for each depth, so that the bound comes before the 4096 activations.
    let wide = FACTORIAL
        .replace(".reg .b32 %r<6>;", ".reg .b32 %r<6>; .reg .b32 %w<1500>;")
        .replace("setp.lt.u32 %p1, %r1, 2", "setp.eq.u32 %p1, %r1, 2");
    let sum: String = (0..1500).map(|n| format!("add.u32 %w{n}, %r1, {n};\n")).collect();
    let ptx = apply(&wide.replace("DONE:", &format!("DONE:\n{sum}")));
    let n = vec![u32::MAX; 128];
    let fault = once(&ptx, &threads(128), &n, &zeros(128)).result.expect_err("an overflow");
    assert_eq!((fault.kind, fault.line), (FaultKind::StackOverflow, line_of(&ptx, "call.uni (v), f, (p)")));
    assert!(fault.message.contains("1073741824 bytes of the host"), "{fault}");
}

/// A product of a warpgroup, from memory that nobody wrote, and a call of `f`.
fn product_and_call(between: &str) -> String {
    let body = format!(
        "
    mov.u64 %rd5, 0x0000001000080000;
    mov.u64 %rd6, 0x0000001000080080;
    setp.ne.u32 %p3, 0, 0;
    wgmma.fence.sync.aligned;
    wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {{%f0, %f1, %f2, %f3}}, %rd5, %rd6, %p3, 1, 1, 0, 0;
    wgmma.commit_group.sync.aligned;
    {between}
    .param .b32 actual;
    .param .b32 given;
    st.param.b32 [actual], 5;
    call.uni (given), f, (actual);
    ld.param.b32 %r3, [given];
    wgmma.wait_group.sync.aligned 0;
    st.global.u32 [%rd2], %r3;"
    );
    text("", 8192, &body).replace(".visible .entry", &format!("{FACTORIAL}\n.visible .entry"))
}

#[test]
fn no_product_may_be_on_its_way_at_a_call() {
    let waited = product_and_call("wgmma.wait_group.sync.aligned 0;");
    assert_eq!(once(&waited, &threads(128), &[0], &[0]).b, [120]);
    let ptx = product_and_call("");
    for check in [false, true] {
        let fault =
            once(&ptx, &Geometry { check, ..threads(128) }, &[0], &[0]).result.expect_err("a refusal");
        assert_eq!((fault.kind, fault.line), (FaultKind::NotSupported, line_of(&ptx, "call.uni (given)")));
        assert!(fault.message.contains("`wgmma` is in flight"), "{fault}");
    }
}

#[test]
fn a_sampled_run_keeps_no_activations_of_what_it_leaves_out() {
    let sampled = |between: &str| {
        let sample = Some(Sample { clusters: vec![0], only: true });
        let ptx = product_and_call(between);
        (once(&ptx, &Geometry { sample, count: true, ..threads(128) }, &[0], &[0]).result, ptx)
    };
    let (result, ptx) = sampled("wgmma.wait_group.sync.aligned 0;");
    let fault = result.expect_err("a refusal");
    assert_eq!((fault.kind, fault.line), (FaultKind::LeftOut, line_of(&ptx, "call.uni (given)")));
    // Registers written anew hold nothing that was left out.
    let anew = "wgmma.wait_group.sync.aligned 0; mov.f32 %f0, %f9; mov.f32 %f1, %f9; mov.f32 %f2, %f9; mov.f32 %f3, %f9;";
    sampled(anew).0.expect("a run");
}
