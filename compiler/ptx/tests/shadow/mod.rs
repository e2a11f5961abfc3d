//! What the simulator's check mode keeps of memory for kernels of the library: at most one and a half times what they touch.

use crate::{
    as_is,
    support::{Kernel, arguments, compile, kernel, simulate},
};
use tile_base::DType;
use tile_plan::Request;

/// Shadow by touched memory.
fn share(k: &Kernel, dims: &[(&str, i64)], scalars: &[(&str, f64)]) -> f64 {
    let graph = k.graph();
    let (plan, module) = compile(&graph, tile_target::find("sm_80").expect("a target"), &Request::default());
    let shadow = simulate(&graph, &plan, &module.ptx, dims, &mut arguments(&graph, dims, scalars, as_is));
    let share = shadow.bytes as f64 / shadow.touched as f64;
    println!("{} {dims:?}: {} bytes for {}, {share:.2}", k.label(), shadow.bytes, shadow.touched);
    share
}

#[test]
fn shadow_of_library_kernels_is_at_most_half_as_much_again_as_memory() {
    let rows = [("M", 8), ("N", 8192)];
    for dtype in [DType::F32, DType::Bf16] {
        let matmul = kernel("gemm/matmul.tile", "matmul", dtype);
        let flash = kernel("attention/flash_fwd.tile", "flash_fwd", dtype).with("D", 64).with("CAUSAL", 1);
        let product = [("M", 192), ("N", 136), ("K", 128)];
        let heads = [("B", 1), ("M", 128), ("HQ", 2), ("N", 128), ("HK", 1)];
        for (k, dims, scalars) in [
            (kernel("elementwise/add.tile", "add", dtype), &rows[..], &[][..]),
            (kernel("elementwise/silu_mul.tile", "silu_mul", dtype), &rows, &[]),
            (kernel("norm/rmsnorm.tile", "rmsnorm", dtype), &rows, &[("eps", 1e-5)]),
            (kernel("softmax/softmax.tile", "softmax_fwd", dtype), &rows, &[]),
            (kernel("reduce/sum.tile", "row_sum", dtype), &rows, &[]),
            (matmul, &product, &[]),
            (flash, &heads, &[("scale", 0.125)]),
        ] {
            let share = share(&k, dims, scalars);
            assert!(share <= 1.5, "{} {dims:?}: {share}", k.label());
        }
    }
}
