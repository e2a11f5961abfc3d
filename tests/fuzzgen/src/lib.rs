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
mod random;

use random::Random;
use std::collections::BTreeMap;
use tile_base::{DType, Diagnostic, FileId, Mode, signature::ParamKind};
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
    match r.below(8) {
        0..=2 => kernels::rows(&mut r),
        3 | 4 => kernels::grid(&mut r),
        5 | 6 => kernels::online(&mut r),
        _ => kernels::integers(&mut r),
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
                    if p.mode != Mode::Out {
                        let size = if p.dtype.is_float() { 1.5 } else { 100.0 };
                        tensor.fill_with(|_| size * r.signed());
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
