//! Elements of 8 bits and fewer: every code decoded, every rounding boundary encoded, packed bits loaded and stored at
//! odd places; by software (sm_80) and by `cvt` (sm_89, sm_90).

use crate::support::{arguments, check_on};
use tile_base::{DType, Mode, Span};
use tile_graph::{
    Graph,
    samples::{Sketch, Sub, tensor},
};
use tile_plan::Request;
use tile_tensor::{Argument, Arguments};

const FLOATS: [DType; 3] = [DType::F8e4m3, DType::F8e5m2, DType::F4e2m1];
const TARGETS: [&str; 3] = ["sm_80", "sm_89", "sm_90"];

/// `b[m, n] = a[m, n].to(to)`, a row at a time in tiles of 32.
fn cast(from: DType, to: DType) -> Graph {
    let params = vec![tensor("a", Mode::In, from, &["M", "N"]), tensor("b", Mode::Out, to, &["M", "N"])];
    let mut s = Sketch::new("cast", params, &["M", "N"]);
    let tile = s.b.tile_size("B", vec![32], false, Span::default());
    let (rows, columns) = (s.dim("M"), s.dim("N"));
    let m = s.par("m", rows);
    let n = s.par_tiles("n", columns, tile);
    let at = [Sub::At(m), Sub::Along(n)];
    let a = s.load(0, &at);
    let b = s.cast(a, to);
    s.store(1, &at, b);
    s.finish()
}

fn filled(graph: &Graph, dims: &[(&str, i64)], values: &[f64]) -> Arguments {
    let mut arguments = arguments(graph, dims, &[], |_, t| t);
    if let Some(Argument::Tensor(a)) = arguments.iter_mut().next() {
        a.fill_with(|n| values[n % values.len()]);
    }
    arguments
}

/// The greatest error over all targets.
fn worst(graph: &Graph, strided: bool, dims: &[(&str, i64)], values: &[f64]) -> f64 {
    let request = Request { strided, ..Request::default() };
    let given = filled(graph, dims, values);
    TARGETS.iter().map(|target| check_on(target, graph, &request, dims, &given)).fold(0.0, f64::max)
}

/// The value of every code of a dtype.
fn all_values(dtype: DType) -> Vec<f64> {
    (0..1u64 << dtype.bits()).map(|bits| tile_tensor::convert::decode(dtype, bits)).collect()
}

#[test]
fn every_code_of_a_small_float_is_decoded() {
    for from in FLOATS {
        let values = all_values(from);
        for to in [DType::F32, DType::F16, DType::Bf16, DType::F64, DType::I32] {
            let error = worst(&cast(from, to), false, &[("M", 4), ("N", 64)], &values);
            assert_eq!(error, 0.0, "{from} to {to}");
        }
    }
}

/// Neighbouring values, what lies midway, and what lies next to that; beyond the ends, and no numbers.
#[test]
fn small_floats_round_to_nearest_even_and_saturate() {
    for to in FLOATS {
        let mut values: Vec<f64> = all_values(to).into_iter().filter(|v| v.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let middles: Vec<f64> = values.windows(2).map(|w| (w[0] + w[1]) / 2.0).collect();
        for &m in &middles {
            values.extend([m, m * (1.0 + 1e-6), m * (1.0 - 1e-6)]);
        }
        let most = values.iter().copied().fold(0.0, f64::max);
        values.extend([most * 1.04, most * 1.2, -most * 100.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN]);
        values.extend([1e-30, -1e-30, 0.0, -0.0]);
        let rows = (values.len() as i64).div_euclid(64) + 1;
        for from in [DType::F32, DType::F64, DType::F16] {
            let error = worst(&cast(from, to), false, &[("M", rows), ("N", 64)], &values);
            assert_eq!(error, 0.0, "{from} to {to}");
        }
    }
}

#[test]
fn packed_elements_are_loaded_whatever_their_place() {
    for from in [DType::U4, DType::I4, DType::I2, DType::F4e2m1] {
        let values = all_values(from);
        // Rows that begin in the middle of a byte; then whole bytes, as vectors.
        for (strided, dims) in [(true, [("M", 5), ("N", 37)]), (false, [("M", 3), ("N", 96)])] {
            let error = worst(&cast(from, DType::F32), strided, &dims, &values);
            assert_eq!(error, 0.0, "{from} {dims:?}");
        }
    }
}

#[test]
fn packed_elements_are_stored_in_whole_bytes() {
    let values: Vec<f64> = (-40..40).map(|v| f64::from(v) * 0.5).collect();
    for to in [DType::U4, DType::I4, DType::I2, DType::F4e2m1] {
        let graph = cast(DType::F32, to);
        let error = worst(&graph, false, &[("M", 3), ("N", 96)], &values);
        assert_eq!(error, 0.0, "to {to}");
        let target = tile_target::find("sm_80").expect("a target");
        let one_by_one = Request { strided: true, ..Request::default() };
        let errors = tile_plan::plan(&graph, target, &one_by_one).expect_err("half a byte");
        assert!(errors[0].code == "T0722" && errors[0].message.contains("`b`"), "{errors:?}");
    }
}
