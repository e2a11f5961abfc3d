//! Inputs and comparisons for the tests of this crate.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use tile_base::{DType, Signature, signature::ParamKind};
use tile_graph::Program;
use tile_oracle::{Mode, Options, Report, random_tiles};
use tile_tensor::{Argument, Arguments, Scalar, Tensor, launch};

/// A repeatable pseudo-random number in -1..1.
pub fn noise(seed: u64, at: usize) -> f64 {
    let mut x = (at as u64).wrapping_add(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)) ^ 0x5851_f42d_4c95_7f2d;
    for _ in 0..3 {
        x = (x ^ (x >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    (x >> 11) as f64 * (2.0 / (1u64 << 53) as f64) - 1.0
}

pub fn random_tensor(dtype: DType, shape: &[usize], seed: u64) -> Tensor {
    let mut t = Tensor::zeros(dtype, shape);
    let scale = if dtype.is_float() { 1.0 } else { 100.0 };
    t.fill_with(|at| scale * noise(seed, at));
    t
}

/// Random inputs and zero outputs for dimensions by name; scalars are 0.25.
pub fn arguments(signature: &Signature, dims: &[(&str, i64)], seed: u64) -> Arguments {
    let dims: BTreeMap<String, i64> = dims.iter().map(|&(n, v)| (n.to_string(), v)).collect();
    let of = |(at, param): (usize, &ParamKind)| match param {
        ParamKind::Tensor(p) if !p.present => Argument::Absent,
        ParamKind::Tensor(p) => {
            let shape = launch::shape_of(signature, p, &dims).expect("the dimensions are complete");
            match p.mode.reads() {
                true => random_tensor(p.dtype, &shape, seed + at as u64).into(),
                false => Tensor::zeros(p.dtype, &shape).into(),
            }
        }
        ParamKind::Scalar(_) => Argument::Scalar(Scalar::Float(0.25)),
    };
    Arguments(signature.params.iter().enumerate().map(of).collect())
}

pub fn run(program: &Program, arguments: &Arguments, options: &Options) -> Report {
    let mut own = arguments.clone();
    tile_oracle::run(program, &mut own, options).unwrap_or_else(|d| panic!("{d:#?}"))
}

/// The codes of the diagnostics a run ends with.
pub fn refused(program: &Program, arguments: &Arguments, options: &Options) -> Vec<tile_base::Diagnostic> {
    let mut own = arguments.clone();
    tile_oracle::run(program, &mut own, options).expect_err("the run is refused")
}

/// The greatest difference of two reports, relative to the greatest value of the output.
pub fn distance(a: &Report, b: &Report) -> f64 {
    assert_eq!(a.outputs.keys().collect::<Vec<_>>(), b.outputs.keys().collect::<Vec<_>>());
    let mut worst: f64 = 0.0;
    for (name, x) in &a.outputs {
        let y = &b.outputs[name];
        assert_eq!(x.shape, y.shape);
        let size = x.values.iter().filter(|v| v.is_finite()).fold(1e-300f64, |m, v| m.max(v.abs()));
        for (at, (&p, &q)) in x.values.iter().zip(&y.values).enumerate() {
            if p == q || p.is_nan() && q.is_nan() {
                continue;
            }
            let d = (p - q).abs() / size;
            assert!(!d.is_nan() && d.is_finite(), "`{name}` at {at}: {p} and {q}");
            worst = worst.max(d);
        }
    }
    worst
}

/// A metamorphic variant: random tiles, order, splits, with skipped bodies run.
pub fn shaken(program: &Program, mode: Mode, seed: u64) -> Options {
    Options {
        mode,
        tiles: random_tiles(program, seed),
        order_seed: Some(seed),
        execute_skipped: true,
        split_seed: Some(seed ^ 0xabcdef),
        ..Options::default()
    }
}
