//! The rungs that run device code: the simulator for several targets, and a CUDA device.

use super::runner::{Check, Environment, Outputs, Run, Rung, Stopped};
use crate::{
    compile::Compiled,
    gpu::{self, Purpose},
};
use tile_base::Diagnostic;
use tile_target::Target;
use tile_tensor::{Argument, Arguments};

/// Targets whose PTX the simulator runs: the oldest, and the newest that it executes.
pub const TARGETS: [&str; 2] = ["sm_80", "sm_90"];

impl Run<'_> {
    pub(super) fn check_sim(&mut self, compiled: &Compiled, arguments: &Arguments, rounded: &Outputs) {
        let mut check = Check { name: "sim", ok: true, max_abs: 0.0, max_rel: 0.0 };
        let mut ran = false;
        for target in TARGETS {
            let mut arguments = arguments.clone();
            match self.simulate(compiled, target, &mut arguments) {
                Ok(found) => {
                    ran = true;
                    self.report.notes.extend(found);
                    let what = format!("the simulator ({target}) and the oracle disagree on");
                    self.compare(&mut check, &what, compiled, &arguments, rounded);
                }
                Err(because) => {
                    check.ok &= !is_failure(&because);
                    self.stop(Rung::Sim, Some(target), because);
                }
            }
        }
        if ran || !check.ok {
            self.report.checks.push(check);
        }
    }

    /// Runs the code for a target in check mode, and again in another order where that must not matter; what the
    /// simulator has doubts about.
    fn simulate(
        &mut self,
        compiled: &Compiled,
        target: &'static str,
        arguments: &mut Arguments,
    ) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
        let program = self.device_program(compiled, crate::emit::find_target(target)?, arguments)?;
        let mut again = program.deterministic.then(|| arguments.clone());
        let sources = self.environment.sources;
        let run = |arguments: &mut Arguments, purpose| {
            gpu::simulate(&program.ptx(), &program.sequence, arguments, sources, purpose)
        };
        let notes = run(arguments, Purpose::Check)?.notes;
        if let Some(again) = &mut again {
            run(again, Purpose::Shuffle(self.options.seed))?;
            self.same_bytes(compiled, arguments, again)?;
        }
        Ok(notes)
    }

    fn same_bytes(
        &self,
        compiled: &Compiled,
        first: &Arguments,
        second: &Arguments,
    ) -> Result<(), Vec<Diagnostic>> {
        let bytes = |a: &'_ Argument| a.tensor().map(|t| t.bytes().to_vec());
        let names = compiled.signature().params.iter().zip(first.iter().zip(second.iter()));
        let differ = names.filter(|(_, (a, b))| bytes(a) != bytes(b)).map(|(p, _)| format!("`{}`", p.name()));
        let differ: Vec<String> = differ.collect();
        if differ.is_empty() {
            return Ok(());
        }
        let message = format!("another order of CTAs gives other bytes in {}", differ.join(", "));
        Err(vec![Diagnostic::error("T0497", self.case.span, message).label("this test")])
    }

    pub(super) fn check_cuda(
        &mut self,
        cuda: &gpu::Cuda,
        compiled: &Compiled,
        arguments: &Arguments,
        rounded: &Outputs,
    ) {
        let mut check = Check { name: "cuda", ok: true, max_abs: 0.0, max_rel: 0.0 };
        let mut arguments = arguments.clone();
        let ran = self
            .device_program(compiled, cuda.target, &arguments)
            .and_then(|program| cuda.run(&program, &mut arguments, 0));
        if let Err(because) = ran {
            return self.stop(Rung::Cuda, Some(cuda.target.name), because);
        }
        let what = format!("the CUDA device ({}) and the oracle disagree on", cuda.target.name);
        self.compare(&mut check, &what, compiled, &arguments, rounded);
        self.report.checks.push(check);
    }

    fn device_program(
        &self,
        compiled: &Compiled,
        target: &'static Target,
        arguments: &Arguments,
    ) -> Result<gpu::DeviceProgram, Vec<Diagnostic>> {
        let Environment { loaded, sources, codes, .. } = self.environment;
        let dims = tile_tensor::launch::bind(compiled.signature(), arguments)?;
        let instance = format!("{} {:?}", self.case.kernel, self.case.instance());
        let program = &compiled.program;
        codes.of(gpu::Wanted { loaded, sources, program, instance: &instance, target }, arguments, &dims)
    }

    /// A limit of a backend is told; a fault of the compiler, and what a run finds, is a failure.
    pub(super) fn stop(&mut self, rung: Rung, target: Option<&'static str>, because: Vec<Diagnostic>) {
        match is_failure(&because) {
            true => {
                let of_target = |d: Diagnostic| match target {
                    Some(t) => d.note(format!("in the code for {t}")),
                    None => d,
                };
                self.fail(because.into_iter().map(of_target).collect());
            }
            false => self.report.stopped.push(Stopped { rung, target, because }),
        }
    }
}

/// Whether diagnostics of a backend or of a run say more than "not lowered yet": faults of the compiler (T09xx), what the
/// simulator refutes or cannot run, what a driver refuses or a device fails at.
fn is_failure(because: &[Diagnostic]) -> bool {
    because.iter().any(|d| {
        d.code.starts_with("T09")
            || matches!(d.code, "T0497" | "T0863" | "T0864" | "T0872" | "T0873" | "T0874")
    })
}
