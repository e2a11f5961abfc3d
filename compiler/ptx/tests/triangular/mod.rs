//! `unit_lower_inv` on the simulator: every way in which a side falls into blocks of 16, and several matrices at once.

use crate::support::{arguments, check};
use tile_base::{DType, Mode, Span};
use tile_graph::{
    Graph, Op,
    samples::{Sketch, Sub, tensor},
};
use tile_plan::Request;
use tile_tensor::Argument;

/// The inverse of `a`, in a tile of `side`; with `batch`, of that many matrices.
fn inverse(dtype: DType, side: u64, batch: Option<&'static str>) -> Graph {
    let shape: Vec<&str> = batch.into_iter().chain(["N", "N"]).collect();
    let params = vec![tensor("a", Mode::In, dtype, &shape), tensor("x", Mode::Out, dtype, &shape)];
    let mut s = Sketch::new("inverse", params, &["N"]);
    let tile = s.b.tile_size("B", vec![side], false, Span::default());
    let n = s.dim("N");
    let i = s.par_tiles("i", n, tile);
    let at: Vec<Sub> = batch.iter().map(|_| Sub::All).chain([Sub::Along(i), Sub::Along(i)]).collect();
    let a = s.load(0, &at);
    let x = s.op(Op::UnitLowerInv, &[a]);
    s.store(1, &at, x);
    s.finish()
}

fn error(graph: &Graph, n: i64, warps: u32) -> f64 {
    let dims = [("N", n)];
    let mut arguments = arguments(graph, &dims, &[], |_, t| t);
    if let Some(Argument::Tensor(a)) = arguments.iter_mut().next() {
        // Elements of both signs, small enough that the inverse does not grow without bound.
        let scaled: Vec<f64> = a.to_f64_vec().iter().map(|v| v * 0.2).collect();
        a.fill_with(|at| scaled[at]);
    }
    let request = Request { strided: true, warps: Some(warps), ..Request::default() };
    check(graph, &request, &dims, &arguments)
}

#[test]
fn inverses_of_every_side_agree_with_the_oracle() {
    for (side, n, warps) in
        [(5, 5, 1), (16, 9, 4), (32, 32, 1), (40, 37, 4), (48, 48, 2), (64, 50, 4), (128, 100, 8)]
    {
        let worst = error(&inverse(DType::F32, side, None), n, warps);
        assert!(worst <= 2e-5, "side {side} of {n} with {warps} warps: error {worst:e}");
    }
}

#[test]
fn inverses_of_every_float_agree_with_the_oracle() {
    for (dtype, tolerance) in [(DType::F64, 1e-13), (DType::F16, 2e-3), (DType::Bf16, 1.6e-2)] {
        let worst = error(&inverse(dtype, 40, None), 33, 4);
        assert!(worst <= tolerance, "{dtype}: error {worst:e}");
    }
}

#[test]
fn several_matrices_are_inverted_one_after_the_other() {
    for (side, n, warps) in [(16, 11, 4), (24, 24, 1)] {
        let worst = error(&inverse(DType::F32, side, Some("3")), n, warps);
        assert!(worst <= 2e-5, "three of side {side}: error {worst:e}");
    }
}
