//! What check mode keeps of memory for kernels with asynchronous copies and tensor cores: at most one and a half times what
//! they touch.

use crate::support::{Problem, attention, gemm_cluster, gemm_cp_async, gemm_tma, split_k, stream_reduce};
use ptx_sim::{Geometry, decode, read};

#[track_caller]
fn share(ptx: &str, mut problem: Problem) -> f64 {
    let module = read::parse(ptx).expect("a kernel");
    let kernel = decode::kernel(&module, problem.entry).expect("a kernel");
    let geometry = Geometry { check: true, ..problem.geometry };
    let summary = ptx_sim::run(&kernel, &mut problem.memory, &geometry, &problem.params.bytes())
        .unwrap_or_else(|f| panic!("{f}"));
    assert!(summary.findings.is_empty(), "{}", summary.findings[0]);
    println!("{}: {:?}", problem.entry, summary.shadow);
    summary.shadow.bytes as f64 / summary.shadow.touched as f64
}

#[test]
fn kernels_that_fill_their_tiles() {
    for (what, ptx, problem) in [
        ("gemm_tma", include_str!("../kernels/gemm_tma.ptx"), gemm_tma(256, 128, 512)),
        ("gemm_cluster", include_str!("../kernels/gemm_cluster.ptx"), gemm_cluster(256, 256, 448)),
        ("gemm_cp_async", include_str!("../kernels/gemm_cp_async.ptx"), gemm_cp_async(128, 128, 256)),
        ("attention", include_str!("../kernels/attention.ptx"), attention(128, 320)),
        ("stream_reduce", include_str!("../kernels/stream_reduce.ptx"), stream_reduce(5, 2048)),
        ("split_k", include_str!("../kernels/split_k.ptx"), split_k(128, 2048, 4)),
    ] {
        let share = share(ptx, problem);
        println!("{what}: {share:.2}");
        assert!(share <= 1.5, "{what}: {share}");
    }
}
