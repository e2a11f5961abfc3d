//! `tilec test`: the `test` blocks of files, up the ladder of checks as far as this machine allows.

use super::show;
use crate::{
    cli::{Rung, Test},
    json, output,
};
use serde_json::{Map, Value, json};
use std::{io::IsTerminal, time::Instant};
use tile_base::{Diagnostic, diagnostic::any_error};
use tile_driver::{
    Session,
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
    let rung = match args.rung {
        Some(Rung::Oracle) => testing::Rung::Oracle,
        _ => testing::Rung::Cpu,
    };
    let assembles = args.rung.is_none_or(|r| r == Rung::Ptxas);
    let options = TestOptions { rung, ..TestOptions::default() };
    let start = Instant::now();
    let mut totals = Totals::default();
    let mut found = vec![];
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
    if args.rung == Some(Rung::Ptxas) && totals.assembled == 0 {
        let d = Diagnostic::global("T0859", "the rung `ptxas` was asked for, and nothing was assembled");
        let d = d.note(why_no_ptxas()).help("`./x setup` fetches ptxas; build with the feature `ptx`");
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
    }
    good
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
    assembled: usize,
    reports: Vec<(FileReport, Vec<Assembled>)>,
}

impl Totals {
    fn add(&mut self, report: &FileReport, ptx: &[Assembled]) {
        self.cases += report.cases.len();
        self.failed += report.cases.iter().filter(|c| !c.passed()).count();
        self.stopped += report.cases.iter().filter(|c| c.stopped.is_some()).count();
        self.assembled += ptx.iter().filter(|p| p.resources.is_some()).count();
    }

    fn sentence(&self) -> String {
        let mut text = format!("{} cases, {} failed", self.cases, self.failed);
        if self.stopped > 0 {
            text += &format!(", {} stopped before the CPU (not lowered yet)", self.stopped);
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
            json!({"cases": self.cases, "failed": self.failed, "stopped": self.stopped, "assembled": self.assembled}),
        );
        map
    }
}

fn case_json(file: &str, c: &CaseReport) -> Value {
    let number = |v: f64| if v.is_finite() { json!(v) } else { Value::Null };
    let checks: Vec<Value> = c
        .checks
        .iter()
        .map(|k| json!({"name": k.name, "ok": k.ok, "max_abs": number(k.max_abs), "max_rel": number(k.max_rel)}))
        .collect();
    let dims: Map<String, Value> = c.shape.iter().map(|(n, v)| (n.clone(), json!(v))).collect();
    json!({
        "file": file, "kernel": c.kernel, "case": c.label, "dims": dims, "ok": c.passed(), "checks": checks,
        "seconds": c.seconds,
        "stopped": c.stopped.as_ref().and_then(|s| s.because.first()).map(|d| format!("{}: {}", d.code, d.message)),
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
    for name in ["spec", "variants", "cpu"] {
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
    if let Some(s) = report.cases.iter().find_map(|c| c.stopped.as_ref()) {
        show(session, &s.because);
    }
    for p in ptx {
        show(session, &p.failures);
        if let Some(d) = p.stopped.first() {
            output::tell(&format!("       {} {}: {}: {}", p.kernel, p.target, d.code, d.message));
        }
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
        None => "stopped at the CPU: there is no ptxas (see `tilec doctor`)",
        Some(_) => "nothing was assembled",
    }
}
