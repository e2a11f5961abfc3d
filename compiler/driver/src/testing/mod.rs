//! Tests of kernels: from a `test` block to cases, from a case to data, from results to a verdict.
//!
//! ```text
//! test f { M in [1, 17], T in [f32, f16]; x = randn * 3; y: rel 2e-3; pairs }
//!   cases.rs     every combination (or enough to cover every pair of values) that `where` allows
//!   values.rs    dimensions, consts and scalars as numbers
//!   data.rs      tensors: a distribution each, from a stream of random numbers of its own
//!   runner.rs    spec, oracle, oracle again at random tile sizes, orders and splits, CPU
//!   gradient/    what a `grad` says, against slopes of the forward's spec
//!   device.rs    the same code as a GPU runs, on the simulator and on a CUDA device
//!   compare.rs   two results within a tolerance
//! ```
//!
//! A case is a pure function of the text and a seed, so that a failure can be repeated.

pub mod cases;
pub mod compare;
mod data;
mod device;
mod gradient;
mod runner;
mod values;

#[cfg(test)]
mod tests;

pub use cases::{Case, Cases, cases};
pub use compare::{Comparison, Tolerance, compare};
pub use device::TARGETS;
pub use runner::{CaseReport, Check, FileReport, Rung, Stopped, TestOptions, run_file, run_tests, untested};

use crate::choose;
use tile_sema::Module;
use tile_syntax::ast::{Test, TestItem};

/// The first case of a kernel's test blocks, for commands that need to know sizes and dtypes. `None` when there is
/// no test, or its first block has a fault (which running the tests reports).
pub fn first_case(module: &Module, kernel: &str) -> Option<choose::Case> {
    let written = module.tests_of(kernel).into_iter().next()?;
    let test = match module.grad(kernel) {
        Some(_) => gradient::retargeted(module, kernel, written)?,
        None => written.clone(),
    };
    // The first value of every list is the first case, unless a `where` fact forbids it; then all have to be looked at.
    let first = |test: &Test| cases(module, test).ok()?.cases.into_iter().next();
    let case = first(&first_values(&test)).or_else(|| first(&test))?;
    Some(choose::Case { test: written.name.name.clone(), ..case.choice() })
}

/// The test with every list cut to its first value.
fn first_values(test: &Test) -> Test {
    let mut test = test.clone();
    for item in &mut test.items {
        if let TestItem::Each { values, .. } = item {
            values.truncate(1);
        }
    }
    test
}
