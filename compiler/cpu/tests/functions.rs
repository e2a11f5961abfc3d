//! The scalar functions as compiled code computes them, over their whole ranges, against f64.

use tile_base::DType;
use tile_graph::{ElemOp, Program, TileBinding, samples};
use tile_tensor::{Arguments, Tensor};

/// `y[i] = op(x[i])`, in lanes of four and in the tail.
fn apply(op: ElemOp, dtype: DType, values: &[f64]) -> Vec<f64> {
    use tile_base::Mode;
    let p = |n: &str, m| samples::tensor(n, m, dtype, &["N"]);
    let mut s = samples::Sketch::new("unary", vec![p("x", Mode::In), p("y", Mode::Out)], &["N"]);
    let tile = s.b.tile_size("B", vec![], false, Default::default());
    let n = s.dim("N");
    let i = s.par_tiles("i", n, tile);
    let x = s.load(0, &[samples::Sub::Along(i)]);
    let y = s.elem(op, &[x]);
    s.store(1, &[samples::Sub::Along(i)], y);
    let graph = s.finish();
    let binding = TileBinding::uniform(&graph, 1023);
    let kernel = tile_cpu::compile(&Program::single(graph), &[binding]).unwrap();
    let count = values.len();
    let mut arguments = Arguments(vec![
        Tensor::from_f64(dtype, &[count], values).into(),
        Tensor::zeros(dtype, &[count]).into(),
    ]);
    kernel.run(&mut arguments, 1).unwrap();
    arguments[1].tensor().unwrap().to_f64_vec()
}

/// Distance in units of the last place of the true value.
fn ulps(got: f64, want: f64) -> f64 {
    if got == want || (got.is_nan() && want.is_nan()) {
        return 0.0;
    }
    let w = want as f32;
    let size = if w == 0.0 { f32::MIN_POSITIVE } else { w.abs() };
    let unit = (f32::from_bits(size.to_bits() + 1) - size) as f64;
    (got - want).abs() / unit
}

/// Numbers over all magnitudes within `lo..hi`, and what is special.
fn range(lo: f64, hi: f64) -> Vec<f64> {
    let n = 40_000;
    let mut all: Vec<f64> = (0..=n).map(|i| (lo + (hi - lo) * i as f64 / n as f64) as f32 as f64).collect();
    let mut small = 1e-38f64;
    while small < 1.0 {
        all.extend([small, -small].map(|v| v as f32 as f64).iter().filter(|v| (lo..=hi).contains(v)));
        small *= 1.7;
    }
    all
}

fn check(op: ElemOp, lo: f64, hi: f64, limit: f64, f: impl Fn(f64) -> f64) {
    let xs = range(lo, hi);
    let mut worst = (0.0, 0.0, 0.0);
    for (&x, y) in xs.iter().zip(apply(op, DType::F32, &xs)) {
        let u = ulps(y, f(x));
        if u > worst.0 || u.is_nan() {
            worst = (u, x, y);
        }
    }
    assert!(worst.0 <= limit, "{op:?}({}) = {}: {} ulp, wanted {}", worst.1, worst.2, worst.0, f(worst.1));
}

#[test]
fn exponentials() {
    check(ElemOp::Exp2, -126.0, 127.9, 2.0, f64::exp2);
    check(ElemOp::Exp, -87.0, 88.5, 3.0, f64::exp);
    let special = [f64::NEG_INFINITY, f64::INFINITY, f64::NAN, 0.0, -0.0, -200.0, 200.0, -149.0];
    let got = apply(ElemOp::Exp2, DType::F32, &special);
    assert_eq!(got[..2], [0.0, f64::INFINITY]);
    assert!(got[2].is_nan());
    assert_eq!(got[3..], [1.0, 1.0, 0.0, f64::INFINITY, 2f64.powi(-149)]);
    let got = apply(ElemOp::Exp, DType::F32, &special);
    assert_eq!(got[..2], [0.0, f64::INFINITY]);
    assert_eq!(got[3..7], [1.0, 1.0, 0.0, f64::INFINITY]);
}

#[test]
fn logarithms() {
    check(ElemOp::Log, 1e-30, 1e5, 3.0, f64::ln);
    check(ElemOp::Log2, 1e-30, 1e5, 3.0, f64::log2);
    for op in [ElemOp::Log, ElemOp::Log2] {
        let got = apply(op, DType::F32, &[0.0, 1.0, f64::INFINITY, -1.0, f64::NAN, 2f64.powi(-140)]);
        assert_eq!(got[..3], [f64::NEG_INFINITY, 0.0, f64::INFINITY]);
        assert!(got[3].is_nan() && got[4].is_nan());
        let want = if op == ElemOp::Log { 2f64.powi(-140).ln() } else { -140.0 };
        assert!(ulps(got[5], want) < 2.0);
    }
}

#[test]
fn bounded_functions() {
    check(ElemOp::Tanh, -12.0, 12.0, 4.0, f64::tanh);
    check(ElemOp::Erf, -6.0, 6.0, 6.0, tile_cpu::runtime::math::erf);
    for op in [ElemOp::Tanh, ElemOp::Erf] {
        let got = apply(op, DType::F32, &[0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN]);
        assert_eq!(got[..3], [0.0, 1.0, -1.0]);
        assert!(got[3].is_nan());
    }
}

#[test]
fn functions_by_calls() {
    check(ElemOp::Sin, -50.0, 50.0, 2.0, f64::sin);
    check(ElemOp::Cos, -50.0, 50.0, 2.0, f64::cos);
    check(ElemOp::Rsqrt, 1e-20, 1e6, 2.0, |x| 1.0 / x.sqrt());
}

/// Rounding to the narrow floats is what `tile_tensor::convert` says, for every kind of number.
#[test]
fn narrow_floats_round_once_to_nearest_even() {
    let xs: Vec<f64> = range(-3.0, 3.0)
        .into_iter()
        .chain([65504.0, 65519.0, 65520.0, 1e30, -1e30, f64::INFINITY, f64::NAN, 6e-8, 3e-8, 2.9e-8, 1e-5])
        .collect();
    for dtype in [DType::F16, DType::Bf16] {
        let held: Vec<f64> = xs.iter().map(|&x| tile_tensor::convert::round_to(dtype, x)).collect();
        // x + x in the narrow type: the exact sum in f32, rounded.
        let got = apply(ElemOp::Exp2, dtype, &held);
        for (x, y) in held.iter().zip(got) {
            let wide = x.exp2();
            let want = tile_tensor::convert::round_to(dtype, wide);
            let near = (y - want).abs() <= want.abs() * if dtype == DType::F16 { 1e-3 } else { 8e-3 };
            assert!(y == want || near || (y.is_nan() && want.is_nan()), "{dtype} 2^{x} = {y}, wanted {want}");
            assert!(y.is_nan() || tile_tensor::convert::round_to(dtype, y) == y, "{y} is no {dtype}");
        }
    }
}
