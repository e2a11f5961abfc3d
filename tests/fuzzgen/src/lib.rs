//! Random well-typed programs on which all rungs have to agree.
//!
//! [`generate`] makes a `.tile` text from a seed, with the sizes and the dtype to run it at; [`Case::program`] takes it
//! through the front end, [`Case::arguments`] fills it with data. What a test does with it is its own affair: the tests
//! of this crate run the oracle in both modes, at random tile sizes, orders and splits, and the CPU.
//!
//! ```
//! let case = tile_fuzzgen::generate(7);
//! let program = case.program().unwrap();
//! assert_eq!(program.signature.kernel, "f");
//! assert_eq!(case.text, tile_fuzzgen::generate(7).text);
//! ```
//!
//! Invariants: every text checks and lowers without a diagnostic; results do not depend on tile sizes beyond
//! rounding; values stay of size one to a few hundred, so that errors are comparable.

mod expr;
mod kernels;
mod matrices;
mod random;

use random::Random;
use std::collections::BTreeMap;
use tile_base::{DType, Diagnostic, FileId, IndexKind, Mode, Size, signature::ParamKind};
use tile_graph::Program;
use tile_sema::{Instance, Module};
use tile_tensor::{Argument, Arguments, Scalar, Tensor, launch};

const PRELUDE: &str = include_str!("../../../kernels-lib/prelude.tile");

/// A program and what to run it at.
#[derive(Clone, Debug)]
pub struct Case {
    /// One kernel, `f`.
    pub text: String,
    pub dims: Vec<(String, i64)>,
    /// The value of its dtype parameter `T`.
    pub dtype: DType,
}

/// The case of a seed.
pub fn generate(seed: u64) -> Case {
    let mut r = Random::new(seed);
    match r.below(12) {
        0 | 1 => kernels::rows(&mut r),
        2 | 3 => kernels::grid(&mut r),
        4 | 5 => kernels::online(&mut r),
        6 => kernels::integers(&mut r),
        7 | 8 => kernels::products(&mut r),
        9 => kernels::selections(&mut r),
        _ => kernels::ragged(&mut r),
    }
}

impl Case {
    /// Parses, checks, specialises and lowers.
    pub fn program(&self) -> Result<Program, Vec<Diagnostic>> {
        let main = tile_syntax::parse(FileId(0), &self.text);
        if main.diagnostics.iter().any(Diagnostic::is_error) {
            return Err(main.diagnostics);
        }
        let prelude = tile_syntax::parse(FileId(1), PRELUDE);
        let module = Module::new(vec![("main".into(), main.file), ("prelude".into(), prelude.file)], 0);
        let found = tile_sema::check(&module);
        if found.iter().any(Diagnostic::is_error) {
            return Err(found);
        }
        let mut instance = Instance::default();
        instance.dtypes.insert("T".into(), self.dtype);
        tile_lower::lower(&tile_sema::instantiate(&module, "f", &instance)?)
    }

    /// Random inputs, zero outputs, scalars of size one.
    pub fn arguments(&self, program: &Program, seed: u64) -> Result<Arguments, Vec<Diagnostic>> {
        let dims: BTreeMap<String, i64> = self.dims.iter().cloned().collect();
        let mut r = Random::new(seed ^ 0x5eed);
        let mut list = vec![];
        for param in &program.signature.params {
            list.push(match param {
                ParamKind::Scalar(_) => Argument::Scalar(Scalar::Float(r.signed())),
                ParamKind::Tensor(p) if !p.present => Argument::Absent,
                ParamKind::Tensor(p) => {
                    let mut tensor = Tensor::zeros(p.dtype, &launch::shape_of(&program.signature, p, &dims)?);
                    let size = |s: &Size| s.eval(&|n| dims.get(n).copied()).unwrap_or(0);
                    match &p.index {
                        _ if p.mode == Mode::Out => {}
                        Some(IndexKind::Offsets(n)) => {
                            let values = offsets(&mut r, tensor.len(), size(n));
                            tensor.fill_with(|at| values[at] as f64);
                        }
                        Some(IndexKind::IdOrNone(n)) => {
                            tensor.fill_with(|_| r.below(size(n) as usize + 1) as f64 - 1.0)
                        }
                        Some(IndexKind::Id(n) | IndexKind::Count(n)) => {
                            tensor.fill_with(|_| r.below(size(n) as usize) as f64)
                        }
                        None if p.dtype.is_float() => tensor.fill_with(|_| 1.5 * r.signed()),
                        None => tensor.fill_with(|_| 100.0 * r.signed()),
                    }
                    Argument::Tensor(tensor)
                }
            });
        }
        Ok(Arguments(list))
    }

    /// How far two correct runs in the case's dtypes may be apart, relative to the size of the values.
    pub fn tolerance(&self, output: DType) -> f64 {
        // Casts of intermediate tiles to `T` move results by a few of its last places.
        match (self.dtype, output) {
            (_, d) if !d.is_float() => 0.0,
            (DType::F32, _) => 2e-4,
            (DType::F16, _) => 1e-2,
            _ => 6e-2,
        }
    }
}

/// `count` offsets from 0 to `end`, not falling; some sequences are empty.
fn offsets(r: &mut Random, count: usize, end: i64) -> Vec<i64> {
    let mut values: Vec<i64> = (0..count).map(|_| r.below(end as usize + 1) as i64).collect();
    values.sort_unstable();
    if let [first, .., last] = &mut values[..] {
        (*first, *last) = (0, end);
    }
    values
}
