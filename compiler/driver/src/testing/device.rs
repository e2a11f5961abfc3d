//! The rungs that run device code: the simulator for several targets, and a CUDA device.

use super::{
    compare::{Tolerance, compare},
    runner::{Bits, Check, Environment, Outputs, Run, Rung, Stopped},
};
use crate::{
    compile::Compiled,
    gpu::{self, Purpose},
};
use tile_base::Diagnostic;
use tile_target::Target;
use tile_tensor::{Argument, Arguments, Tensor};

/// Targets whose PTX the simulator runs: the oldest, and the newest that it executes.
pub const TARGETS: [&str; 2] = ["sm_80", "sm_90"];

impl Run<'_> {
    /// What the runs left in the arguments, by target.
    pub(super) fn check_sim(
        &mut self,
        compiled: &Compiled,
        arguments: &Arguments,
        rounded: &Outputs,
    ) -> Vec<(&'static str, Arguments)> {
        let mut check = Check::new("sim");
        let mut done = vec![];
        for target in TARGETS {
            let mut arguments = arguments.clone();
            match self.simulate(compiled, target, &mut arguments) {
                Ok(found) => {
                    self.report.notes.extend(found);
                    let what = format!("the simulator ({target}) and the oracle disagree on");
                    self.compare(&mut check, &what, compiled, &arguments, rounded);
                    done.push((target, arguments));
                }
                Err(because) => {
                    check.ok &= !is_failure(&because);
                    self.stop(Rung::Sim, Some(target), because);
                }
            }
        }
        if !done.is_empty() || !check.ok {
            self.report.checks.push(check);
        }
        done
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
        simulated: &[(&'static str, Arguments)],
    ) {
        let mut check = Check::new("cuda");
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
        if let Some((_, simulated)) = simulated.iter().find(|(target, _)| *target == cuda.target.name) {
            self.report.checks.push(beside(compiled, &arguments, simulated, rounded));
        }
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

/// The outputs of a device beside those that the simulator got from the same code.
fn beside(compiled: &Compiled, device: &Arguments, simulated: &Arguments, outputs: &Outputs) -> Check {
    let mut check = Check::new("cuda=sim");
    let mut bits = Bits { equal: true, ulps: 0 };
    for (p, (d, s)) in compiled.signature().params.iter().zip(device.iter().zip(simulated.iter())) {
        let (Some(d), Some(s), true) = (d.tensor(), s.tensor(), outputs.contains_key(p.name())) else {
            continue;
        };
        let c = compare(&s.to_f64_vec(), d, Tolerance::ZERO);
        check.max_abs = check.max_abs.max(c.max_abs);
        check.max_rel = check.max_rel.max(c.max_rel);
        bits.equal &= d.bytes() == s.bytes();
        bits.ulps = bits.ulps.max(greatest_ulps(d, s));
    }
    check.bits = Some(bits);
    check
}

/// How many representable numbers lie between the elements of two tensors of one dtype at most. Elements of less than a byte
/// are not looked at, nor are values that are no floats: for those `max_abs` says as much.
fn greatest_ulps(a: &Tensor, b: &Tensor) -> u64 {
    let bits = a.dtype.bits();
    if !a.dtype.is_float() || bits < 8 {
        return 0;
    }
    // Codes of floats in the order of their values, both zeros in one place.
    let sign = 1i128 << (bits - 1);
    let place = |code: i128| if code & sign != 0 { sign - code } else { code };
    let codes = |t: &Tensor| -> Vec<i128> {
        let word = |w: &[u8]| w.iter().rev().fold(0, |v, &b| v << 8 | i128::from(b));
        t.bytes().chunks_exact(bits / 8).map(word).collect()
    };
    let apart = codes(a).into_iter().zip(codes(b)).map(|(a, b)| place(a).abs_diff(place(b)));
    apart.max().unwrap_or(0).try_into().unwrap_or(u64::MAX)
}

/// Whether diagnostics of a backend or of a run say more than "not lowered yet": faults of the compiler (T09xx), what the
/// simulator refutes or cannot run, what a driver refuses or a device fails at.
fn is_failure(because: &[Diagnostic]) -> bool {
    because.iter().any(|d| {
        d.code.starts_with("T09")
            || matches!(d.code, "T0497" | "T0863" | "T0864" | "T0872" | "T0873" | "T0874")
    })
}
