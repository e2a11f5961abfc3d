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

// ---- programs from text

use std::path::Path;
use tile_base::FileId;
use tile_sema::{ConstValue, Instance, Module};

pub fn repository(path: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// A text as a module, with the prelude.
pub fn module(text: &str) -> Module {
    let parse = |at: u32, text: &str| {
        let parsed = tile_syntax::parse(FileId(at), text);
        assert!(parsed.diagnostics.is_empty(), "{:#?}", parsed.diagnostics);
        parsed.file
    };
    let prelude = repository("kernels-lib/prelude.tile");
    Module::new(vec![("main".into(), parse(0, text)), ("prelude".into(), parse(1, &prelude))], 0)
}

/// `T=f16 D=64 CAUSAL=true`.
pub fn instance(words: &str) -> Instance {
    let mut instance = Instance::default();
    for word in words.split_whitespace() {
        let (name, value) = word.split_once('=').expect("NAME=VALUE");
        if let Some(dtype) = DType::from_name(value) {
            instance.dtypes.insert(name.into(), dtype);
        } else if let Ok(v) = value.parse::<i64>() {
            instance.consts.insert(name.into(), ConstValue::Int(v));
        } else {
            instance.consts.insert(name.into(), ConstValue::Bool(value == "true"));
        }
    }
    instance
}

pub fn kernel(text: &str, name: &str, words: &str) -> Program {
    let module = module(text);
    let checked: Vec<_> = tile_sema::check(&module).into_iter().filter(|d| d.is_error()).collect();
    assert!(checked.is_empty(), "{checked:#?}");
    let typed = tile_sema::instantiate(&module, name, &instance(words)).unwrap_or_else(|d| panic!("{d:#?}"));
    tile_lower::lower(&typed).unwrap_or_else(|d| panic!("{d:#?}"))
}

pub fn op(text: &str, name: &str, words: &str) -> Program {
    let typed =
        tile_sema::instantiate_op(&module(text), name, &instance(words)).unwrap_or_else(|d| panic!("{d:#?}"));
    tile_lower::lower_op(&typed).unwrap_or_else(|d| panic!("{d:#?}"))
}

/// The only code a run ends with, and its diagnostic as one text.
pub fn refusal(program: &Program, arguments: &Arguments, options: &Options) -> (String, String) {
    let found = refused(program, arguments, options);
    assert_eq!(found.len(), 1, "{found:#?}");
    let d = &found[0];
    let mut text = format!("{}: {}", d.code, d.message);
    if !d.primary_label.is_empty() {
        text += &format!("\n  {}", d.primary_label);
    }
    for note in &d.notes {
        text += &format!("\n  note: {note}");
    }
    (d.code.to_string(), text)
}
