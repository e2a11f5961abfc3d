//! Gradients are judged by the spec of the forward, which no one has to differentiate by hand.
//!
//! A `grad f(go for o) -> (dq for q, …)` claims that dq = dL/dq of the scalar L = sum go * o. Take a random direction u of q's
//! shape: then sum dq * u has to be the slope of L along u, and that slope is a difference of specs in f64,
//!
//! ```text
//!     (L(q - 2hu) - 8 L(q - hu) + 8 L(q + hu) - L(q + 2hu)) / 12h          four evaluations, for all of q at once
//! ```
//!
//! whose error of h^4 is far below what f64 rounds. A wrong element, however few they are, almost surely shows in every direction
//! (`slope.rs`). Where one does, the direction is cut in halves, always going on with the half that disagrees more, until one
//! element is left: the witness (`judge.rs`). So a rule with the wrong sign is refuted by
//!
//! ```text
//! T0498  `dx` is not the gradient of `f` with respect to `x`: at [3, 7] it is -2.500000e-1, the slope of the spec is 2.500000e-1
//!   note: 5 elements were looked at, and all are right if multiplied by -1.000000
//! ```
//!
//! | file | does |
//! | --- | --- |
//! | `mod.rs` | a case of `f.vjp`: its results against slopes; the same with saved outputs given |
//! | `slope.rs` | L along a line |
//! | `judge.rs` | agrees, or disagrees with a witness |
//! | `call.rs` | arguments of one program from those of another |
//! | `cases.rs` | what to test a `grad` with that has no test of its own |

mod call;
mod cases;
mod judge;
mod slope;

pub use cases::{retargeted, untold};

use super::{
    compare::{Tolerance, compare_values},
    runner::{Check, Outputs, Run, scaled},
};
use crate::{
    Session,
    compile::{self, Compiled, Picked},
};
use judge::{Judge, Verdict, Witness};
use slope::Forward;
use std::collections::BTreeSet;
use tile_base::{Diagnostic, Signature};
use tile_oracle::Options;
use tile_sema::{Instance, grad::Form};
use tile_syntax::ast::{Grad, Gradient};
use tile_tensor::{Argument, Arguments, Tensor, launch};

impl Run<'_> {
    /// Every result of the exact oracle against slopes of the forward's spec.
    pub(super) fn check_gradient(
        &mut self,
        grad: &Grad,
        compiled: &Compiled,
        arguments: &Arguments,
        exact: &Outputs,
    ) {
        let mut check = Check::new("grad");
        let signature = compiled.signature();
        let forward = match Forward::new(self.loaded, self.case, grad, signature, arguments) {
            Ok(forward) => forward,
            Err(diagnostics) => return self.fail(diagnostics),
        };
        for result in &grad.results {
            let Some(claimed) = exact.get(&result.name.name) else { continue };
            let Some(Argument::Tensor(at)) = arguments.get(signature, &result.of.name) else { continue };
            let judge = Judge {
                forward: &forward,
                input: &result.of.name,
                at: at.to_f64_vec(),
                claimed: &claimed.values,
                seed: self.options.seed,
            };
            let told = match judge.verdict() {
                Ok(Verdict::Holds { error }) => {
                    check.max_abs = check.max_abs.max(error);
                    continue;
                }
                Ok(Verdict::Wrong(w)) => {
                    let shape = &claimed.shape;
                    check.max_abs = check.max_abs.max((w.slope - w.claimed).abs());
                    vec![refuted(grad, result, &w, &super::compare::unravel(w.at, shape))]
                }
                Ok(Verdict::Kinks) => vec![kinks(grad, result)],
                Err(diagnostics) => diagnostics,
            };
            check.ok = false;
            self.fail(told);
        }
        self.report.checks.push(check);
    }

    /// The other forms of the program have to give the same: outputs of the forward asked for or not, and the backward alone on
    /// what the forward saved.
    pub(super) fn check_forms(&mut self, grad: &Grad, arguments: &Arguments, rounded: &Outputs) {
        let mut check = Check::new("forms");
        if let Err(diagnostics) = self.forms(grad, arguments, rounded, &mut check) {
            check.ok = false;
            self.fail(diagnostics);
        }
        self.report.checks.push(check);
    }

    fn forms(
        &mut self,
        grad: &Grad,
        arguments: &Arguments,
        rounded: &Outputs,
        check: &mut Check,
    ) -> Result<(), Vec<Diagnostic>> {
        let own = self.case.instance();
        let vjp = self.program(grad, Form::Vjp, &own)?;
        let outputs: BTreeSet<String> = outputs_of(grad, vjp.signature());
        let asked = Instance {
            absent: own.absent.iter().filter(|n| !outputs.contains(*n)).cloned().collect(),
            ..own.clone()
        };
        let bare = Instance { absent: own.absent.union(&outputs).cloned().collect(), ..own.clone() };
        let whole = self.program(grad, Form::Vjp, &asked)?;
        let run = |program: &Compiled, saved: &Outputs| {
            let mut call = call_of(program.signature(), vjp.signature(), arguments, saved)?;
            Ok::<_, Vec<Diagnostic>>(
                tile_oracle::run(&program.program, &mut call, &Options::rounded())?.outputs,
            )
        };
        let saved = run(&whole, &Outputs::new())?;
        let mut others = vec![("asking for every output of the forward changes", saved.clone())];
        if bare != asked {
            let program = self.program(grad, Form::Vjp, &bare)?;
            others.push(("asking for no output of the forward changes", run(&program, &Outputs::new())?));
        }
        let alone = self.program(grad, Form::Bwd, &asked)?;
        others.push(("the backward alone, given what the forward saved, changes", run(&alone, &saved)?));
        for (what, outputs) in others {
            for r in &grad.results {
                let (Some(e), Some(a)) = (rounded.get(&r.name.name), outputs.get(&r.name.name)) else {
                    continue;
                };
                let tolerance = scaled(Tolerance::EXACT, &e.values);
                let c = compare_values(&e.values, &a.values, &e.shape, tolerance);
                self.note(check, "T0496", what, &r.name.name, &c, tolerance, None);
            }
        }
        Ok(())
    }

    fn program(&self, grad: &Grad, form: Form, instance: &Instance) -> Result<Compiled, Vec<Diagnostic>> {
        let name = format!("{}.{}", grad.name.name, form.suffix());
        compile::compile(&mut Session::new(), self.loaded, &Picked { name, is_op: true }, instance)
    }
}

/// Names of the forward's outputs: what `f.vjp` writes and no result is.
fn outputs_of(grad: &Grad, vjp: &Signature) -> BTreeSet<String> {
    let result = |name: &str| grad.results.iter().any(|r| r.name.name == name);
    vjp.tensors().filter(|p| p.mode.writes() && !result(&p.name)).map(|p| p.name.clone()).collect()
}

/// What the two programs have in common, what the forward saved, and room for outputs.
fn call_of(
    to: &Signature,
    from: &Signature,
    arguments: &Arguments,
    saved: &Outputs,
) -> Result<Arguments, Vec<Diagnostic>> {
    let dims = launch::bind(from, arguments)?;
    let dims = from.dims.iter().cloned().zip(dims).collect();
    let given = |name: &str| match saved.get(name) {
        Some(a) => {
            let dtype = to.tensors().find(|p| p.name == name)?.dtype;
            Some(Argument::Tensor(Tensor::try_from_f64(dtype, &a.shape, &a.values).ok()?))
        }
        None => arguments.get(from, name).cloned(),
    };
    let mut passed = call::passed(to, &given);
    launch::allocate_outputs(to, &mut passed, &dims)?;
    Ok(passed)
}

fn refuted(grad: &Grad, result: &Gradient, w: &Witness, at: &[usize]) -> Diagnostic {
    let message = format!(
        "`{}` is not the gradient of `{}` with respect to `{}`: at {at:?} it is {:.6e}, the slope of the spec is {:.6e}",
        result.name.name, grad.name.name, result.of.name, w.claimed, w.slope
    );
    let seeds: Vec<String> =
        grad.seeds.iter().map(|s| format!("sum {} * {}", s.name.name, s.of.name)).collect();
    let d = Diagnostic::error("T0498", result.span, message)
        .label("declared here")
        .note(format!("the slope of L = {}", seeds.join(" + ")));
    match w.factor {
        Some((f, n)) if n > 1 => {
            d.note(format!("{n} elements were looked at, and all are right if multiplied by {f:.6}"))
        }
        _ => d,
    }
}

fn kinks(grad: &Grad, result: &Gradient) -> Diagnostic {
    let message = format!(
        "the spec of `{}` has no slope with respect to `{}` near the data of this case",
        grad.name.name, result.of.name
    );
    Diagnostic::error("T0485", result.span, message)
        .label("cannot be checked here")
        .help("give the test data that keeps away from kinks: `x = uniform(0.1, 1)`")
}
