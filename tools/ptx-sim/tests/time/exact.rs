//! Clocks of small kernels, where a hand can count them.

use crate::{kernels::gemm_wgmma, support::Params};
use ptx_sim::{FaultKind, Geometry, decode, memory::Memory, read, time};

/// Predicts a kernel with one pointer parameter, whose buffer has so many bytes.
fn predict(body: &str, geometry: Geometry, bytes: usize) -> time::Prediction {
    let ptx = format!(
        ".version 8.0\n.target sm_90a\n.address_size 64\n.visible .entry k(.param .u64 p) {{
         .reg .f32 %f<8>; .reg .b32 %r<8>; .reg .b64 %rd<8>; .reg .pred %p<2>;
         ld.param.u64 %rd0, [p];\n{body}\nret;\n}}"
    );
    let target = tile_target::find("sm_90").unwrap();
    let kernel = decode::kernel(&read::parse(&ptx).unwrap(), "k").unwrap();
    let mut memory = Memory::new();
    let params = Params::default().address(memory.reserve("p", bytes.max(8)).unwrap()).bytes();
    let sample = time::sample(&kernel, &geometry, target, true);
    let geometry = Geometry { count: true, sample: Some(sample), ..geometry };
    let summary = ptx_sim::run_in_module(&kernel, &memory, Default::default(), &geometry, &params).unwrap();
    time::predict(&kernel, &geometry, &summary.counters.unwrap(), &memory, target).unwrap()
}

fn one_cta(warps: u32) -> Geometry {
    Geometry { block: [32 * warps, 1, 1], ..Geometry::default() }
}

/// A hundred sums, each of the one before: four clocks from one to the next.
#[test]
fn a_chain_waits_for_itself() {
    let p = predict(&"add.f32 %f0, %f0, %f1;\n".repeat(100), one_cta(1), 0);
    assert_eq!(p.clocks, 99.0 * 4.0 + 2.0, "the last one, and `ret`");
    assert_eq!(p.bound, "latency");
    let why: f64 = p.lost.iter().filter(|l| l.why == time::Stall::Arithmetic).map(|l| l.share).sum();
    assert!(why > 0.999, "{:?}", p.lost);
}

/// Eight warps, two to a partition, of exponentials that depend on nothing: four lanes a clock.
#[test]
fn a_pipe_is_shared() {
    let p = predict(&"ex2.approx.ftz.f32 %f0, %f1;\n".repeat(100), one_cta(8), 0);
    assert_eq!(p.clocks, (2 * 100 - 1) as f64 * 8.0 + 2.0);
    assert_eq!(p.bound, "special");
    assert!(p.uses[0].share > 0.99, "{:?}", p.uses);
}

/// One warp's load of 128 bytes that are asked for once: all of it comes from the memory.
#[test]
fn a_load_takes_its_latency() {
    let load = "mov.u32 %r0, %tid.x; mul.wide.u32 %rd1, %r0, 4; add.u64 %rd1, %rd0, %rd1;
                ld.global.f32 %f0, [%rd1]; add.f32 %f0, %f0, %f0;";
    let p = predict(load, one_cta(1), 128);
    assert_eq!(p.lost[0].why, time::Stall::Memory);
    assert!((662.0..700.0).contains(&p.clocks), "{}", p.clocks);
}

/// A copy of 256 MiB goes at the memory's pace.
#[test]
fn a_copy_is_bound_by_the_memory() {
    let body = "mov.u32 %r0, %tid.x; mov.u32 %r1, %ctaid.x; mad.lo.u32 %r0, %r1, 256, %r0;
                mul.wide.u32 %rd1, %r0, 16; add.u64 %rd1, %rd0, %rd1;
                ld.global.v4.u32 {%r0, %r1, %r2, %r3}, [%rd1];
                st.global.v4.u32 [%rd1+134217728], {%r0, %r1, %r2, %r3};";
    let geometry = Geometry { grid: [32768, 1, 1], ..one_cta(8) };
    let p = predict(body, geometry, 256 << 20);
    assert_eq!(p.bound, "global memory");
    let rate = p.memory_bytes / p.seconds;
    assert!((2.6e12..3.35e12).contains(&rate), "{rate:e}");
    assert_eq!(p.checked, None, "no copy was compared with measurements");
}

/// Two warps meet at a barrier that one reaches late.
#[test]
fn a_barrier_waits_for_the_last() {
    let body = format!(
        "mov.u32 %r0, %tid.x; setp.lt.u32 %p0, %r0, 32; @%p0 bra MEET;\n{}MEET: bar.sync 0;",
        "add.f32 %f0, %f0, %f1;\n".repeat(50)
    );
    let p = predict(&body, one_cta(2), 0);
    let barrier = p.lost.iter().find(|l| l.why == time::Stall::Barrier).unwrap();
    assert!(barrier.share > 0.4, "{:?}", p.lost);
    assert!((200.0..260.0).contains(&p.clocks), "{}", p.clocks);
}

/// CTAs that differ: in one round the longest decides, in many it is one of many.
#[test]
fn the_longest_cta_decides_a_single_round() {
    let body = "mov.u32 %r0, %ctaid.x; mov.u32 %r1, 0;
                LOOP: add.f32 %f0, %f0, %f1; add.u32 %r1, %r1, 1; setp.le.u32 %p0, %r1, %r0; @%p0 bra LOOP;";
    let clocks = |ctas| predict(body, Geometry { grid: [ctas, 1, 1], ..one_cta(32) }, 0).clocks;
    let (one, all) = (clocks(1), clocks(132));
    assert!(all > 100.0 * one, "132 turns of the loop, not the mean of 66: {one} {all}");
}

/// A few CTAs without their values give what the whole grid with them gives.
#[test]
fn a_sample_stands_for_the_grid() {
    let target = tile_target::find("sm_90").unwrap();
    let clocks = |only: bool| {
        let mut memory = Memory::new();
        let [a, b] = ["a", "b"].map(|x| memory.reserve(x, 1024 * 256 * 2).unwrap());
        let (l, _) = gemm_wgmma::launch(1024, 1024, 256, memory, a, b);
        let kernel = decode::kernel(&read::parse(&l.ptx).unwrap(), l.entry).unwrap();
        let sample = time::sample(&kernel, &l.geometry, target, only);
        let geometry = Geometry { count: true, sample: Some(sample), ..l.geometry.clone() };
        let summary =
            ptx_sim::run_in_module(&kernel, &l.memory, Default::default(), &geometry, &l.params).unwrap();
        let counters = summary.counters.unwrap();
        assert_eq!(counters.ctas, if only { 8 } else { 32 });
        time::predict(&kernel, &geometry, &counters, &l.memory, target).unwrap().clocks
    };
    assert_eq!(clocks(true), clocks(false));
}

/// A branch on a tensor product cannot be sampled: nobody knows which way it goes.
#[test]
fn a_branch_on_a_product_is_refused() {
    let ptx = ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k() {
        .reg .b32 %r<8>; .reg .f32 %f<8>; .reg .pred %p<2>; .shared .align 16 .b8 s[128];
        mov.u32 %r0, 0; mov.f32 %f0, 0f00000000;
        mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f1, %f2, %f3, %f4}, {%r0, %r0, %r0, %r0},
            {%r0, %r0}, {%f0, %f0, %f0, %f0};
        mov.u32 %r1, s;
        st.shared.f32 [%r1], %f1;
        ld.shared.f32 %f5, [%r1];
        setp.gt.f32 %p0, %f5, 0f00000000;
        @%p0 bra DONE;
        add.f32 %f5, %f5, %f5;
        DONE: ret; }";
    let kernel = decode::kernel(&read::parse(ptx).unwrap(), "k").unwrap();
    let geometry = Geometry { block: [32, 1, 1], count: true, ..Geometry::default() };
    let run = |only| {
        let sample = time::sample(&kernel, &geometry, tile_target::find("sm_80").unwrap(), only);
        let geometry = Geometry { sample: Some(sample), ..geometry.clone() };
        ptx_sim::run(&kernel, &mut Memory::new(), &geometry, &[])
    };
    assert!(run(false).is_ok());
    let fault = run(true).unwrap_err();
    assert_eq!((fault.kind, fault.line), (FaultKind::LeftOut, 13));
}
