//! `wgmma`: what it computes, and the rules about its registers and operands.

use crate::support::*;
use ptx_sim::{FaultKind, Geometry};

/// D (64 × 8) = A · B with every element of A and B one, so D is 16; written to `a` by every thread.
fn product(fill: &str, before: &str, after: &str) -> String {
    text(
        "",
        8192,
        &format!(
            "
    mov.u32 %r2, smem;
    // 2048 bytes of A, 256 of B, as bf16 ones.
    mad.lo.u32 %r3, %r1, 16, %r2;
    mov.u32 %r4, 0x3f803f80;
    st.shared.v4.u32 [%r3], {{%r4, %r4, %r4, %r4}};
    setp.lt.u32 %p1, %r1, 16;
    @%p1 st.shared.v4.u32 [%r3+2048], {{%r4, %r4, %r4, %r4}};
    {fill}
    // No swizzle: core matrices of 128 bytes, next along k 128 further, next rows 256 further.
    shr.u32 %r5, %r2, 4;
    cvt.u64.u32 %rd5, %r5;
    and.b64 %rd5, %rd5, 0x3fff;
    or.b64 %rd5, %rd5, 0x0000001000080000;
    add.s64 %rd6, %rd5, 128;
    mov.f32 %f0, 0f00000000; mov.f32 %f1, 0f00000000; mov.f32 %f2, 0f00000000; mov.f32 %f3, 0f00000000;
    setp.ne.u32 %p2, 0, 0;
    setp.eq.u32 %p3, 0, 0;
    {before}
    wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {{%f0, %f1, %f2, %f3}}, %rd5, %rd6, %p2, 1, 1, 0, 0;
    wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {{%f0, %f1, %f2, %f3}}, %rd5, %rd6, %p3, 1, 1, 0, 0;
    {after}
    add.rn.f32 %f4, %f0, %f1;
    mul.wide.u32 %rd3, %r1, 4;
    add.s64 %rd3, %rd1, %rd3;
    st.global.f32 [%rd3], %f4;"
        ),
    )
}

const FILL: &str = "fence.proxy.async.shared::cta;\nbar.sync 0;";
const BEFORE: &str = "wgmma.fence.sync.aligned;";
const AFTER: &str = "wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;";

/// The same where A and B come by `cp.async` from `b`, into the first operand places, and two warpgroups have roles.
fn copied(complete: &str, fence: &str) -> String {
    text(
        "",
        8192,
        &format!(
            "
    mov.u32 %r2, smem;
    setp.eq.u32 %p1, %r1, 0;
    @%p1 mbarrier.init.shared::cta.b64 [%r2+4096], 128;
    bar.sync 0;
    setp.ge.u32 %p4, %r1, 128;
    @%p4 bra CONSUMER;
    mad.lo.u32 %r3, %r1, 16, %r2;
    mul.wide.u32 %rd3, %r1, 16;
    add.s64 %rd3, %rd2, %rd3;
    cp.async.cg.shared.global [%r3], [%rd3], 16;
    setp.lt.u32 %p1, %r1, 16;
    @%p1 cp.async.cg.shared.global [%r3+2048], [%rd3], 16;
    {complete}
    bra END;
CONSUMER:
    mbarrier.try_wait.parity.shared::cta.b64 %p9, [%r2+4096], 0;
    @!%p9 bra CONSUMER;
    {fence}
    shr.u32 %r5, %r2, 4;
    cvt.u64.u32 %rd5, %r5;
    and.b64 %rd5, %rd5, 0x3fff;
    or.b64 %rd5, %rd5, 0x0000001000080000;
    add.s64 %rd6, %rd5, 128;
    setp.ne.u32 %p2, 0, 0;
    wgmma.fence.sync.aligned;
    wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {{%f0, %f1, %f2, %f3}}, %rd5, %rd6, %p2, 1, 1, 0, 0;
    wgmma.commit_group.sync.aligned;
    wgmma.wait_group.sync.aligned 0;
    mul.wide.u32 %rd3, %r1, 4;
    add.s64 %rd3, %rd1, %rd3;
    st.global.f32 [%rd3+-512], %f0;
END:"
        ),
    )
}

/// CUTLASS's and TileLang's loops leave out the fence between a `cp.async` that arrives by itself and wgmma. Whoever waits
/// for the copy and arrives then has no such excuse.
#[test]
fn copies_that_arrive_by_themselves() {
    let ones = vec![0x3f80_3f80; 512];
    let run = |ptx: &str| clean(ptx, &threads(256), &zeros(128), &ones).a;
    let by_itself = "cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%r2+4096];";
    let waited = "cp.async.wait_all;\nmbarrier.arrive.shared::cta.b64 _, [%r2+4096];";
    let (fence, want) = ("fence.proxy.async.shared::cta;", vec![16f32.to_bits(); 128]);
    for complete in [by_itself, waited] {
        assert_eq!(run(&copied(complete, fence)), want);
    }
    let bare = copied(by_itself, "");
    assert_eq!(run(&bare), want);
    let notes = notes(&bare, &threads(256), &zeros(128), &ones);
    assert!(notes.iter().any(|n| n.kind == FaultKind::ProxyFence), "{notes:#?}");
    refuted(&copied(waited, ""), &threads(256), &zeros(128), &ones, FaultKind::ProxyFence);
    // Nobody told the consumer of the copies.
    let early = "mbarrier.arrive.shared::cta.b64 _, [%r2+4096];";
    refuted(&copied(early, fence), &threads(256), &zeros(128), &ones, FaultKind::SharedRace);
}

fn group() -> Geometry {
    threads(128)
}

#[test]
fn two_products_accumulate() {
    let run = clean(&product(FILL, BEFORE, AFTER), &group(), &zeros(128), &[0]);
    assert_eq!(run.a, vec![64f32.to_bits(); 128]);
}

#[test]
fn accumulators_belong_to_the_product_until_the_wait() {
    for after in ["wgmma.commit_group.sync.aligned;", "", &AFTER.replace("aligned 0", "aligned 1")] {
        let ptx = product(FILL, BEFORE, after);
        let fault = refuted(&ptx, &group(), &zeros(128), &[0], FaultKind::AccumulatorRead);
        assert_eq!(fault.line, line_of(&ptx, "add.rn.f32 %f4"));
        assert_eq!(fault.other.expect("the wgmma").line, line_of(&ptx, "%p3, 1, 1"));
        let late = once(&ptx, &group(), &zeros(128), &[0]);
        assert_ne!(late.a, vec![64f32.to_bits(); 128], "it shows in fast mode too");
    }
}

#[test]
fn registers_touched_before_need_a_fence() {
    refuted(&product(FILL, "", AFTER), &group(), &zeros(128), &[0], FaultKind::WgmmaFence);
    let touched = format!("{BEFORE}\nadd.rn.f32 %f0, %f0, %f1;");
    refuted(&product(FILL, &touched, AFTER), &group(), &zeros(128), &[0], FaultKind::WgmmaFence);
    // A copy is put right by ptxas: a note.
    let copied = product(FILL, &format!("{BEFORE}\nmov.f32 %f0, 0f00000000;"), AFTER);
    assert!(faults(&copied, &group(), &zeros(128), &[0]).is_empty());
    assert!(notes(&copied, &group(), &zeros(128), &[0]).iter().any(|n| n.kind == FaultKind::WgmmaFence));
}

#[test]
fn operands_in_shared_memory_need_fence_and_barrier() {
    let run = |fill| product(fill, BEFORE, AFTER);
    refuted(&run("bar.sync 0;"), &group(), &zeros(128), &[0], FaultKind::ProxyFence);
    refuted(&run("fence.proxy.async;"), &group(), &zeros(128), &[0], FaultKind::SharedRace);
}

#[test]
fn a_wait_ends_only_the_quarter_of_its_own_warp() {
    // Warp 0 overwrites B after its own wait; the others may still read it.
    let write = |sync: &str| {
        let after = format!("{AFTER}\n{sync}\n@%p1 st.shared.u32 [%r3+2048], 0;");
        product(FILL, BEFORE, &after)
    };
    refuted(&write(""), &group(), &zeros(128), &[0], FaultKind::SharedRace);
    let ordered = write("bar.sync 0;").replace("[%r3+2048], 0", "[%r3+2048], %r4");
    clean(&ordered, &group(), &zeros(128), &[0]);
}

#[test]
fn what_the_group_does_not_do_together() {
    let skip = product(FILL, BEFORE, AFTER)
        .replace(
            "wgmma.fence.sync.aligned;",
            "wgmma.fence.sync.aligned;\nsetp.ge.u32 %p5, %r1, 96;\n@%p5 bra SKIP;",
        )
        .replace("wgmma.commit_group", "SKIP:\nwgmma.commit_group");
    refuted(&skip, &group(), &zeros(128), &[0], FaultKind::WarpgroupMismatch);
    let other =
        product(FILL, &format!("{BEFORE}\nsetp.lt.u32 %p5, %r1, 32;\n@%p5 add.s64 %rd5, %rd5, 8;"), AFTER);
    refuted(&other, &group(), &zeros(128), &[0], FaultKind::WarpgroupMismatch);
}

#[test]
fn descriptors_have_rules() {
    let reserved = product(FILL, &format!("{BEFORE}\nor.b64 %rd5, %rd5, 0x4000;"), AFTER);
    refuted(&reserved, &group(), &zeros(128), &[0], FaultKind::DescriptorIllegal);
    let far = product(FILL, &format!("{BEFORE}\nadd.s64 %rd6, %rd6, 512;"), AFTER);
    refuted(&far, &group(), &zeros(128), &[0], FaultKind::OutOfBounds);
}

#[test]
fn a_from_registers_is_locked_too() {
    let ptx = |after: &str| {
        product(
            FILL,
            &format!("mov.u32 %r20, %r4; mov.u32 %r21, %r4; mov.u32 %r22, %r4; mov.u32 %r23, %r4;\n{BEFORE}"),
            after,
        )
        .replace("%rd5, %rd6", "{%r20, %r21, %r22, %r23}, %rd6")
        .replace("1, 1, 0, 0;", "1, 1, 0;")
    };
    assert_eq!(clean(&ptx(AFTER), &group(), &zeros(128), &[0]).a, vec![64f32.to_bits(); 128]);
    let early = ptx(&format!("mov.u32 %r21, 0;\n{AFTER}"));
    refuted(&early, &group(), &zeros(128), &[0], FaultKind::AccumulatorRead);
}
