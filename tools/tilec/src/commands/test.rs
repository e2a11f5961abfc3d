//! `tilec test`: the `test` blocks of files, up the ladder of checks as far as this machine allows.

use super::show;
use crate::{
    cli::{Rung, Test},
    json, output,
};
use serde_json::{Map, Value, json};
use std::{io::IsTerminal, sync::Arc, time::Instant};
use tile_base::{Diagnostic, diagnostic::any_error};
use tile_driver::{
    Session, gpu,
    session::tile_files,
    testing::{self, CaseReport, FileReport, TestOptions},
};

pub fn run(args: Test) -> bool {
    let mut session = Session::new();
    let files = match tile_files(&args.paths) {
        Ok(files) => files,
        Err(found) => {
            if args.json {
                json::print(&found, &session.sources, Map::new());
            }
            return !args.json && show(&session, &found);
        }
    };
    let asked = args.rung.or(args.device.map(|_| Rung::Cuda));
    let mut options = TestOptions { rung: driver_rung(asked), ..TestOptions::default() };
    let assembles = asked.is_none_or(|r| r >= Rung::Ptxas);
    let mut found = vec![];
    let mut no_gpu = None;
    if asked.is_none_or(|r| r == Rung::Cuda) && cfg!(feature = "ptx") {
        match (gpu::Cuda::open(args.device.unwrap_or(0)), asked) {
            (Ok(cuda), _) => {
                (options.rung, options.cuda) = (testing::Rung::Cuda, Some(Arc::new(cuda)));
            }
            // Nobody asked for it by name.
            (Err(why), None) => no_gpu = why.into_iter().next().map(|d| d.message),
            (Err(why), Some(_)) => {
                if !args.json {
                    show(&session, &why);
                }
                found.extend(why);
            }
        }
    }
    let without_device = any_error(&found);
    let start = Instant::now();
    let mut totals = Totals::default();
    for file in &files {
        let progress = spinner(file, args.json);
        let report = testing::run_file(&mut session, file, &options, &mut |case| {
            progress.set_message(format!("{file}: {} {}", case.kernel, case.label));
        });
        progress.finish_and_clear();
        match report {
            Ok(report) => {
                let ptx = if assembles { assemble(&mut session, &report) } else { vec![] };
                totals.add(&report, &ptx);
                if !args.json {
                    tell(&session, &report, &ptx);
                }
                found.extend(report.diagnostics.iter().cloned());
                found.extend(report.cases.iter().flat_map(|c| c.failures.iter().cloned()));
                found.extend(doubts(&report).into_iter().cloned());
                found.extend(ptx.iter().flat_map(|p| p.failures.iter().cloned()));
                totals.reports.push((report, ptx));
            }
            Err(more) => {
                if !args.json {
                    show(&session, &more);
                }
                found.extend(more);
            }
        }
    }
    // Without a device, the driver has said why nothing ran on it.
    if let Some(d) = unclimbed(asked, &totals).filter(|_| !without_device) {
        if !args.json {
            show(&session, std::slice::from_ref(&d));
        }
        found.push(d);
    }
    let good = !any_error(&found);
    if args.json {
        json::print(&found, &session.sources, totals.json());
    } else {
        let seconds = start.elapsed().as_secs_f64();
        output::print(&format!(
            "{}: {} in {seconds:.1} s\n",
            if good { "ok" } else { "FAILED" },
            totals.sentence()
        ));
        if assembles && totals.assembled == 0 {
            output::print(&format!("{}\n", why_no_ptxas()));
        }
        if let Some(why) = no_gpu {
            output::print(&format!("stopped below the GPU: {why}\n"));
        }
    }
    good
}

/// How far the driver climbs. Without the backend there is nothing to simulate, which the last line says.
fn driver_rung(asked: Option<Rung>) -> testing::Rung {
    match asked {
        Some(Rung::Oracle) => testing::Rung::Oracle,
        Some(Rung::Cpu) => testing::Rung::Cpu,
        None if !cfg!(feature = "ptx") => testing::Rung::Cpu,
        _ => testing::Rung::Sim,
    }
}

/// A rung that was asked for by name has to be climbed at least once.
fn unclimbed(rung: Option<Rung>, totals: &Totals) -> Option<Diagnostic> {
    let (name, nothing, why) = match rung? {
        Rung::Ptxas if totals.assembled == 0 => ("ptxas", "assembled", why_no_ptxas()),
        Rung::Sim if totals.simulated == 0 => ("sim", "simulated", why_no_sim()),
        Rung::Cuda if totals.on_gpu == 0 => ("cuda", "run on a GPU", why_no_sim()),
        _ => return None,
    };
    let message = format!("the rung `{name}` was asked for, and nothing was {nothing}");
    let help = "build with the feature `ptx`; `./x setup` fetches what that needs, and ptxas";
    Some(Diagnostic::global("T0859", message).note(why).help(help))
}

/// Why nothing ran on the simulator.
fn why_no_sim() -> &'static str {
    match cfg!(feature = "ptx") {
        false => "this `tilec` was built without the PTX backend (see `tilec doctor`)",
        true => "the PTX backend lowers none of these kernels yet",
    }
}

fn spinner(file: &str, quiet: bool) -> indicatif::ProgressBar {
    let progress = indicatif::ProgressBar::new_spinner().with_message(file.to_string());
    if quiet || !std::io::stderr().is_terminal() {
        progress.set_draw_target(indicatif::ProgressDrawTarget::hidden());
    } else {
        progress.enable_steady_tick(std::time::Duration::from_millis(120));
    }
    progress
}

/// PTX of one kernel for one target.
struct Assembled {
    kernel: String,
    target: &'static str,
    /// Registers, bytes spilled; `None` when there is no assembler.
    resources: Option<(u32, u32)>,
    /// A construct that the backend does not lower yet.
    stopped: Vec<Diagnostic>,
    failures: Vec<Diagnostic>,
}

#[derive(Default)]
struct Totals {
    cases: usize,
    failed: usize,
    stopped: usize,
    simulated: usize,
    on_gpu: usize,
    assembled: usize,
    reports: Vec<(FileReport, Vec<Assembled>)>,
}

impl Totals {
    fn add(&mut self, report: &FileReport, ptx: &[Assembled]) {
        self.cases += report.cases.len();
        self.failed += report.cases.iter().filter(|c| !c.passed()).count();
        self.stopped += report.cases.iter().filter(|c| !c.stopped.is_empty()).count();
        let climbed = |rung: &str| {
            let on = |c: &&CaseReport| c.checks.iter().any(|k| k.name == rung);
            report.cases.iter().filter(on).count()
        };
        self.simulated += climbed("sim");
        self.on_gpu += climbed("cuda");
        self.assembled += ptx.iter().filter(|p| p.resources.is_some()).count();
    }

    fn sentence(&self) -> String {
        let mut text = format!("{} cases, {} failed", self.cases, self.failed);
        if self.stopped > 0 {
            text += &format!(", {} stopped below the top (not lowered yet)", self.stopped);
        }
        if self.simulated > 0 {
            text += &format!(", {} on the simulator", self.simulated);
        }
        if self.on_gpu > 0 {
            text += &format!(", {} on the GPU", self.on_gpu);
        }
        if self.assembled > 0 {
            text += &format!(", {} PTX modules assembled", self.assembled);
        }
        text
    }

    fn json(&self) -> Map<String, Value> {
        let mut cases = vec![];
        let mut modules = vec![];
        for (report, ptx) in &self.reports {
            cases.extend(report.cases.iter().map(|c| case_json(&report.path, c)));
            modules.extend(ptx.iter().map(|p| {
                json!({
                    "file": report.path, "kernel": p.kernel, "target": p.target, "ok": p.failures.is_empty(),
                    "registers": p.resources.map(|r| r.0), "spill_bytes": p.resources.map(|r| r.1),
                    "stopped": p.stopped.first().map(|d| format!("{}: {}", d.code, d.message)),
                })
            }));
        }
        let mut map = Map::new();
        map.insert("cases".into(), json!(cases));
        map.insert("ptx".into(), json!(modules));
        map.insert(
            "counts".into(),
            json!({"cases": self.cases, "failed": self.failed, "stopped": self.stopped,
                "simulated": self.simulated, "on_gpu": self.on_gpu, "assembled": self.assembled}),
        );
        map
    }
}

fn case_json(file: &str, c: &CaseReport) -> Value {
    let number = |v: f64| if v.is_finite() { json!(v) } else { Value::Null };
    let checks: Vec<Value> = c
        .checks
        .iter()
        .map(|k| {
            let mut check = json!({"name": k.name, "ok": k.ok, "max_abs": number(k.max_abs), "max_rel": number(k.max_rel)});
            if let Some(bits) = k.bits {
                check["bytes_equal"] = json!(bits.equal);
                check["ulps"] = json!(bits.ulps);
            }
            check
        })
        .collect();
    let dims: Map<String, Value> = c.shape.iter().map(|(n, v)| (n.clone(), json!(v))).collect();
    json!({
        "file": file, "kernel": c.kernel, "case": c.label, "dims": dims, "ok": c.passed(), "checks": checks,
        "seconds": c.seconds,
        "stopped": c.stopped.first().and_then(|s| s.because.first()).map(|d| format!("{}: {}", d.code, d.message)),
    })
}

fn tell(session: &Session, report: &FileReport, ptx: &[Assembled]) {
    let worst = |name: &str| {
        let of = report.cases.iter().flat_map(|c| &c.checks).filter(|k| k.name == name);
        of.map(|k| k.max_abs).fold(None, |a: Option<f64>, b| Some(a.map_or(b, |a| a.max(b))))
    };
    let mut line = format!(
        "{} {}: {} cases",
        if report.passed() && ptx.iter().all(|p| p.failures.is_empty()) { "ok    " } else { "FAILED" },
        report.path,
        report.cases.len()
    );
    for name in ["spec", "grad", "variants", "schedules", "forms", "cpu", "sim", "cuda", "cuda=sim"] {
        if let Some(error) = worst(name) {
            line += &format!(", {name} {error:.1e}");
        }
    }
    for p in ptx {
        if let Some((registers, spilled)) = p.resources {
            line += &format!(", {} {registers} registers", p.target);
            if spilled > 0 {
                line += &format!(" {spilled} bytes spilled");
            }
        }
    }
    output::print(&format!("{line}\n"));
    show(session, &report.diagnostics);
    const SHOWN: usize = 3;
    let failed: Vec<&CaseReport> = report.cases.iter().filter(|c| !c.passed()).collect();
    for case in failed.iter().take(SHOWN) {
        show(session, &case.failures);
    }
    if failed.len() > SHOWN {
        output::tell(&format!("… and {} more failed cases; --json lists all", failed.len() - SHOWN));
    }
    for d in doubts(report) {
        show(session, std::slice::from_ref(d));
    }
    for (s, targets) in stops(report) {
        let place = [&[rung_name(s.rung)], &targets[..]].concat().join(" ");
        output::tell(&format!("       stopped before {place}:"));
        show(session, &s.because);
    }
    for p in ptx {
        show(session, &p.failures);
        if let Some(d) = p.stopped.first() {
            output::tell(&format!("       {} {}: {}: {}", p.kernel, p.target, d.code, d.message));
        }
    }
}

/// Notes of all cases, each once.
fn doubts(report: &FileReport) -> Vec<&Diagnostic> {
    let mut out: Vec<&Diagnostic> = vec![];
    for d in report.cases.iter().flat_map(|c| &c.notes) {
        if !out.iter().any(|o| (&o.message, o.primary) == (&d.message, d.primary)) {
            out.push(d);
        }
    }
    out
}

/// One stop for each rung and reason, with the targets that it is the same for.
fn stops(report: &FileReport) -> Vec<(&testing::Stopped, Vec<&'static str>)> {
    let why = |s: &testing::Stopped| s.because.first().map(|d| (d.code, d.message.clone(), d.primary));
    let mut out: Vec<(&testing::Stopped, Vec<&'static str>)> = vec![];
    for s in report.cases.iter().flat_map(|c| &c.stopped) {
        let known = out.iter().position(|(o, _)| (o.rung, why(o)) == (s.rung, why(s)));
        let at = known.unwrap_or_else(|| {
            out.push((s, vec![]));
            out.len() - 1
        });
        let targets = &mut out[at].1;
        if let Some(t) = s.target.filter(|t| !targets.contains(t)) {
            targets.push(t);
        }
    }
    out
}

fn rung_name(rung: testing::Rung) -> &'static str {
    match rung {
        testing::Rung::Oracle => "oracle",
        testing::Rung::Cpu => "cpu",
        testing::Rung::Sim => "sim",
        testing::Rung::Cuda => "cuda",
    }
}

/// Every kernel of a file that has a test, for the oldest and the newest usual target.
#[cfg(feature = "ptx")]
fn assemble(session: &mut Session, report: &FileReport) -> Vec<Assembled> {
    use tile_driver::{Given, emit};
    if tile_driver::facts::cuda_tool("ptxas").is_none() || any_error(&report.diagnostics) {
        return vec![];
    }
    let mut kernels: Vec<&str> = report.cases.iter().map(|c| c.kernel.as_str()).collect();
    kernels.dedup();
    let Ok(loaded) = session.load(&report.path) else { return vec![] };
    let mut out = vec![];
    for kernel in kernels {
        for target in ["sm_80", "sm_90"] {
            let mut done = Assembled {
                kernel: kernel.to_string(),
                target,
                resources: None,
                stopped: vec![],
                failures: vec![],
            };
            let given = Given::default();
            let built = emit::build(session, &loaded, Some(kernel), &given, target, &[emit::Stage::Ptx]);
            let assembled = built.and_then(|b| {
                let mut worst = (0, 0);
                for (_, text) in &b.modules {
                    if let Some(r) = emit::assemble(text, emit::find_target(target)?)? {
                        worst = (worst.0.max(r.registers), worst.1.max(r.spill_stores + r.spill_loads));
                    }
                }
                Ok(worst)
            });
            match assembled {
                Ok(resources) => done.resources = Some(resources),
                // A limit of the backend is told; a fault of the compiler is a failure.
                Err(because) if because.iter().any(|d| d.code.starts_with("T09") || d.code == "T0857") => {
                    done.failures = because;
                }
                Err(because) => done.stopped = because,
            }
            out.push(done);
        }
    }
    out
}

#[cfg(not(feature = "ptx"))]
fn assemble(_: &mut Session, _: &FileReport) -> Vec<Assembled> {
    vec![]
}

/// Why the ladder ended below the assembler.
fn why_no_ptxas() -> &'static str {
    if !cfg!(feature = "ptx") {
        return "stopped at the CPU: this `tilec` was built without the PTX backend (see `tilec doctor`)";
    }
    match tile_driver::facts::cuda_tool("ptxas") {
        None => "stopped at the simulator: there is no ptxas (see `tilec doctor`)",
        Some(_) => "nothing was assembled",
    }
}
