//! The oracle of graphs: a program of launches evaluated in f64, tile by tile, on arrays of existing elements.
//!
//! It is slow compared with a backend and quick enough for every test (some hundred MFLOP/s per thread), it believes
//! nothing, and it is the judge: `spec` against *exact* mode judges the maths, *rounded* mode against CPU and GPU
//! judges the backends.
//!
//! | | exact | rounded |
//! | --- | --- | --- |
//! | inputs | as stored | as stored |
//! | float operations and casts between floats | f64, casts are transparent | rounded to their dtype, once each |
//! | `@`, sums, scans | f64 | summed in f64, rounded once at the end |
//! | temporaries, `sum` tensors between launches | f64 | as stored in their dtype |
//! | float to integer, integers, comparisons | exactly | exactly, of the rounded values |
//!
//! Integers never wrap: leaving the dtype is an error, shifts excepted. Accesses are checked whatever their obligation
//! says; see [`memory`] for who may touch what, [`loops`] for how claims are tested.
//!
//! ```
//! use tile_base::DType;
//! use tile_graph::{Program, samples};
//! use tile_oracle::{Options, run};
//! use tile_tensor::{Arguments, Tensor};
//! let program = Program::single(samples::add(DType::F32));
//! let a = Tensor::from_f32(&[5], &[1., 2., 3., 4., 5.]);
//! let mut arguments = Arguments(vec![a.clone().into(), a.into(), Tensor::zeros(DType::F32, &[5]).into()]);
//! let report = run(&program, &mut arguments, &Options::default()).unwrap();
//! assert_eq!(report.outputs["c"].values, [2., 4., 6., 8., 10.]);
//! ```

mod access;
mod code;
mod collective;
mod contract;
mod elem;
mod eval;
mod fault;
mod io;
mod launch;
mod loops;
mod memory;
mod number;
mod program;
mod random;
mod rearrange;
mod tiles;
mod value;

use std::collections::BTreeMap;
use tile_base::{Diagnostic, Span};
use tile_graph::{Program, TileBinding};
use tile_tensor::Arguments;

pub use tiles::random_tiles;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// f64 throughout: judges the maths.
    #[default]
    Exact,
    /// Every value in its dtype: what a backend should give, up to the order of summation.
    Rounded,
}

#[derive(Clone, Debug)]
pub struct Options {
    pub mode: Mode,
    /// Tile sizes, one binding per graph of the program; what is not bound gets a default (they promise not to
    /// matter).
    pub tiles: Vec<TileBinding>,
    /// Run the instances of each launch in this random order.
    pub order_seed: Option<u64>,
    /// Run bodies that `skip` passes over and compare; test `affine` claims by superposition.
    pub execute_skipped: bool,
    /// Cut loops that may be split at random points.
    pub split_seed: Option<u64>,
    /// Trips of one `while`.
    pub step_limit: u64,
    /// Bytes of all tensors of the program together, in the oracle's own storage.
    pub memory_limit: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            mode: Mode::Exact,
            tiles: vec![],
            order_seed: None,
            execute_skipped: false,
            split_seed: None,
            step_limit: 10_000_000,
            memory_limit: 8 << 30,
        }
    }
}

impl Options {
    pub fn exact() -> Options {
        Options::default()
    }

    pub fn rounded() -> Options {
        Options { mode: Mode::Rounded, ..Options::default() }
    }
}

/// A result as f64: in exact mode what a tensor of its dtype could not hold.
#[derive(Clone, PartialEq, Debug)]
pub struct Array {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

/// How often a claim was put to the test.
#[derive(Clone, PartialEq, Debug)]
pub struct ClaimTest {
    pub graph: String,
    /// `skip`, `merge`, `affine`, `unique`.
    pub claim: &'static str,
    /// The loop's or the store's name in the program.
    pub path: String,
    pub span: Span,
    pub times: u64,
}

#[derive(Clone, PartialEq, Debug, Default)]
pub struct Report {
    /// Every tensor that the program writes, by parameter name.
    pub outputs: BTreeMap<String, Array>,
    /// Lines of `print`, by launch and instance.
    pub prints: Vec<String>,
    /// Claims that were tested and not refuted.
    pub claims: Vec<ClaimTest>,
    pub launches: u64,
    pub instances: u64,
}

/// Runs a program: binds the arguments, evaluates its steps, writes the results into the arguments' tensors (rounded
/// to their dtypes) and into the report (as they are).
pub fn run(
    program: &Program,
    arguments: &mut Arguments,
    options: &Options,
) -> Result<Report, Vec<Diagnostic>> {
    program::run(program, arguments, options)
}
