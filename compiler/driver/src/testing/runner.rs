//! Runs the cases of a file up the ladder of checks.
//!
//! For each case, in this order, and all of it even when something before failed (a wrong spec should not hide a
//! wrong backend):
//!
//! 1. *spec*: the spec against the oracle's exact mode, both in f64. With `rounded` in the test, against its rounded
//!    mode within the tolerance of the test.
//!    For the program of a `grad` in its place *grad*: its results against slopes of the forward's spec (`gradient`).
//! 2. *variants*: the oracle again at random tile sizes, instances in random order, skipped bodies executed, loops
//!    split at random points. Tile sizes and claims promise not to matter; this is where the promise is kept.
//! 3. *schedules*: the oracle on the program as each schedule of the kernel splits it, for the same reason.
//! 4. *cpu*: the CPU's code against the oracle's rounded mode, within the tolerance of the test. What the CPU does not
//!    lower yet stops the climb there, with the backend's diagnostic; it is not a failure of the kernel.
//! 5. *sim*: the PTX for each of [`super::TARGETS`], for the strides and extents of the case, on the simulator in check mode.
//!    What it finds fails the case; so does a value outside the tolerance.
//!
//! 6. *cuda*: the same on a CUDA device, for the target that it is. Where the simulator ran the code of that target,
//!    `cuda=sim` tells how far apart the two are; it judges nothing.
//!
//! Cases run in parallel; their reports come in the order of the file.
//!
//! A failure is a diagnostic that names the case, the tensor, the first bad element, and both values.

use super::{
    cases::{Case, cases},
    compare::{Comparison, Tolerance, compare, compare_values},
    gradient,
};
use crate::{
    Loaded, Session,
    choose::launched,
    compile::{self, Compiled, Picked},
    gpu, schedule,
};
use rayon::prelude::*;
use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc},
    time::Instant,
};
use tile_base::{DType, Diagnostic, Sources, diagnostic::any_error};
use tile_oracle::{Array, Options, random_tiles, spec};
use tile_sema::Module;
use tile_syntax::ast::ItemKind;
use tile_tensor::Arguments;

/// How far up the ladder to climb.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Rung {
    Oracle,
    Cpu,
    Sim,
    Cuda,
}

#[derive(Clone, Debug)]
pub struct TestOptions {
    pub rung: Rung,
    /// Of data and of variants.
    pub seed: u64,
    /// Runs of the oracle at random tile sizes, orders and splits, for each case.
    pub variants: u64,
    pub threads: usize,
    /// Only tests of this kernel.
    pub kernel: Option<String>,
    /// The device of [`Rung::Cuda`].
    pub cuda: Option<Arc<gpu::Cuda>>,
}

impl Default for TestOptions {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
        TestOptions { rung: Rung::Sim, seed: 1, variants: 2, threads, kernel: None, cuda: None }
    }
}

/// One comparison of a case, over all outputs.
#[derive(Clone, Debug)]
pub struct Check {
    /// `spec`, `grad`, `variants`, `schedules`, `forms`, `cpu`, `sim`, `cuda`, `cuda=sim`
    pub name: &'static str,
    pub ok: bool,
    pub max_abs: f64,
    pub max_rel: f64,
    /// Of `cuda=sim`.
    pub bits: Option<Bits>,
}

impl Check {
    pub(super) fn new(name: &'static str) -> Check {
        Check { name, ok: true, max_abs: 0.0, max_rel: 0.0, bits: None }
    }
}

/// How the bytes of two runs compare, over all outputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bits {
    pub equal: bool,
    /// How many representable numbers of an output's dtype lie between two values at most.
    pub ulps: u64,
}

/// Why a case did not climb a rung.
#[derive(Clone, Debug)]
pub struct Stopped {
    pub rung: Rung,
    /// Of a rung that has several.
    pub target: Option<&'static str>,
    pub because: Vec<Diagnostic>,
}

#[derive(Clone, Debug)]
pub struct CaseReport {
    pub kernel: String,
    /// What tells it from the other cases of its test; empty when there is one.
    pub label: String,
    /// Dimensions of the call.
    pub shape: Vec<(String, i64)>,
    pub checks: Vec<Check>,
    pub failures: Vec<Diagnostic>,
    /// What the simulator has doubts about.
    pub notes: Vec<Diagnostic>,
    pub stopped: Vec<Stopped>,
    pub seconds: f64,
}

impl CaseReport {
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

#[derive(Clone, Debug, Default)]
pub struct FileReport {
    pub path: String,
    pub cases: Vec<CaseReport>,
    /// Faults of the file and of its tests as such.
    pub diagnostics: Vec<Diagnostic>,
    /// Combinations that break a `where` fact.
    pub left_out: usize,
}

impl FileReport {
    pub fn passed(&self) -> bool {
        !any_error(&self.diagnostics) && self.cases.iter().all(CaseReport::passed)
    }
}

/// Loads and runs the tests of a file. `each` is told of every case as it ends.
pub fn run_file(
    session: &mut Session,
    path: &str,
    options: &TestOptions,
    each: &mut dyn FnMut(&CaseReport),
) -> Result<FileReport, Vec<Diagnostic>> {
    let loaded = session.load(path)?;
    Ok(run_tests(session, &loaded, options, each))
}

/// Runs the tests of a file that is loaded.
pub fn run_tests(
    session: &mut Session,
    loaded: &Loaded,
    options: &TestOptions,
    each: &mut dyn FnMut(&CaseReport),
) -> FileReport {
    let mut report = FileReport { path: loaded.path.clone(), ..FileReport::default() };
    report.diagnostics = session.check(loaded);
    if any_error(&report.diagnostics) {
        return report;
    }
    report.diagnostics.extend(untested(&loaded.module));
    let tests = loaded.ast().items.iter().filter_map(|item| match &item.kind {
        ItemKind::Test(t) => Some(t),
        _ => None,
    });
    for test in tests {
        if options.kernel.as_ref().is_none_or(|k| *k == test.name.name) {
            match cases(&loaded.module, test) {
                Ok(found) => {
                    report.left_out += found.left_out;
                    run_cases(session, loaded, found.cases, options, &mut report, each);
                }
                Err(diagnostics) => report.diagnostics.extend(diagnostics),
            }
        }
    }
    for (name, cases) in gradient::untold(&loaded.module) {
        if options.kernel.as_ref().is_none_or(|k| *k == name) {
            match cases {
                Ok(cases) => run_cases(session, loaded, cases, options, &mut report, each),
                Err(diagnostics) => report.diagnostics.extend(diagnostics),
            }
        }
    }
    report
}

/// Kernels and ops that no spec or no test judges. A kernel that an op or a `grad` of the file runs is judged by that.
pub fn untested(module: &Module) -> Vec<Diagnostic> {
    let Some(file) = module.main_file() else { return vec![] };
    let mut run_by_ops: Vec<&str> = vec![];
    for (_, item) in module.items() {
        if let ItemKind::Op(op) = &item.kind {
            launched(&op.body, &mut run_by_ops);
        }
    }
    let named = |wanted: &str, test: bool| {
        file.items.iter().any(|item| match &item.kind {
            ItemKind::Test(t) => test && t.name.name == wanted,
            ItemKind::Spec(s) => !test && s.name.name == wanted,
            _ => false,
        })
    };
    let mut found = vec![];
    for item in &file.items {
        let name = match &item.kind {
            ItemKind::Kernel(k) => &k.name,
            ItemKind::Op(o) => &o.name,
            _ => continue,
        };
        for (kind, code, test) in [("spec", "T0483", false), ("test", "T0484", true)] {
            if !named(&name.name, test) && !run_by_ops.contains(&name.name.as_str()) {
                found.push(
                    Diagnostic::error(code, name.span, format!("`{}` has no {kind}", name.name))
                        .label("nothing judges it")
                        .help(format!("add `{kind} {} {{ … }}` to this file", name.name)),
                );
            }
        }
    }
    found
}

fn run_cases(
    session: &mut Session,
    loaded: &Loaded,
    cases: Vec<Case>,
    options: &TestOptions,
    report: &mut FileReport,
    each: &mut dyn FnMut(&CaseReport),
) {
    let environment =
        Environment { loaded, sources: &session.sources, options, codes: gpu::Codes::default() };
    let mut done: Vec<Option<CaseReport>> = cases.iter().map(|_| None).collect();
    let (sender, receiver) = mpsc::channel();
    let work = || {
        cases.par_iter().enumerate().for_each_with(sender, |sender, (at, case)| {
            let _ = sender.send((at, run_case(&environment, case)));
        });
    };
    std::thread::scope(|scope| {
        match pool() {
            Some(pool) => scope.spawn(move || pool.install(work)),
            None => scope.spawn(work),
        };
        for (at, case) in receiver {
            each(&case);
            done[at] = Some(case);
        }
    });
    report.cases.extend(done.into_iter().flatten());
}

/// Threads for the cases. Deeply nested kernels recurse deeply.
fn pool() -> Option<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new().stack_size(256 << 20).build().ok()
}

/// What all cases of a test share.
pub(super) struct Environment<'a> {
    pub(super) loaded: &'a Loaded,
    pub(super) sources: &'a Sources,
    pub(super) options: &'a TestOptions,
    pub(super) codes: gpu::Codes,
}

fn run_case(environment: &Environment, case: &Case) -> CaseReport {
    let start = Instant::now();
    let mut case = case.clone();
    case.seed = environment.options.seed;
    let mut run = Run {
        environment,
        loaded: environment.loaded,
        options: environment.options,
        case: &case,
        report: CaseReport {
            kernel: case.kernel.clone(),
            label: case.label.clone(),
            shape: vec![],
            checks: vec![],
            failures: vec![],
            notes: vec![],
            stopped: vec![],
            seconds: 0.0,
        },
    };
    if let Err(diagnostics) = run.case() {
        run.fail(diagnostics);
    }
    CaseReport { seconds: start.elapsed().as_secs_f64(), ..run.report }
}

/// One case on its way up.
pub(super) struct Run<'a> {
    pub(super) environment: &'a Environment<'a>,
    pub(super) loaded: &'a Loaded,
    pub(super) options: &'a TestOptions,
    pub(super) case: &'a Case,
    pub(super) report: CaseReport,
}

pub(super) type Outputs = BTreeMap<String, Array>;

impl Run<'_> {
    fn case(&mut self) -> Result<(), Vec<Diagnostic>> {
        let picked = Picked { name: self.case.kernel.clone(), is_op: self.case.is_op };
        let instance = self.case.instance();
        let mut compiled = compile::compile(&mut Session::new(), self.loaded, &picked, &instance)?;
        let signature = compiled.signature().clone();
        let arguments = self.case.arguments(&signature)?;
        let dims = tile_tensor::launch::bind(&signature, &arguments)?;
        self.report.shape = signature.dims.iter().cloned().zip(dims).collect();

        let exact = self.oracle(&compiled, &arguments, &Options::exact());
        let rounded = self.oracle(&compiled, &arguments, &Options::rounded());
        if spec::has_spec(&self.loaded.module, &self.case.kernel) {
            match spec::evaluate(&self.loaded.module, &self.case.kernel, &instance, &signature, &arguments) {
                Ok(expected) => self.check_spec(&compiled, &expected, exact.as_ref(), rounded.as_ref()),
                Err(diagnostics) => self.fail(diagnostics),
            }
        }
        if let (Some((grad, _)), Some(exact)) = (self.loaded.module.grad(&self.case.kernel), &exact) {
            self.check_gradient(grad, &compiled, &arguments, exact);
        }
        if let Some(exact) = &exact {
            self.check_variants(&compiled, &arguments, exact);
            self.check_schedules(&compiled, &arguments, exact);
        }
        let Some(rounded) = &rounded else { return Ok(()) };
        if let Some((grad, _)) = self.loaded.module.grad(&self.case.kernel) {
            self.check_forms(grad, &arguments, rounded);
        }
        if self.options.rung >= Rung::Cpu {
            self.check_cpu(&mut compiled, &arguments, rounded);
        }
        let mut simulated = vec![];
        if self.options.rung >= Rung::Sim {
            simulated = self.check_sim(&compiled, &arguments, rounded);
        }
        if let (Rung::Cuda, Some(cuda)) = (self.options.rung, &self.options.cuda) {
            self.check_cuda(cuda, &compiled, &arguments, rounded, &simulated);
        }
        Ok(())
    }

    pub(super) fn fail(&mut self, diagnostics: Vec<Diagnostic>) {
        let place = self.place();
        self.report.failures.extend(diagnostics.into_iter().map(|d| d.note(place.clone())));
    }

    /// `in the case T = f16, M = 17 (B = 2, M = 17, N = 33)`
    fn place(&self) -> String {
        let shape: Vec<String> = self.report.shape.iter().map(|(n, v)| format!("{n} = {v}")).collect();
        match self.case.label.as_str() {
            "" => format!("in the only case ({})", shape.join(", ")),
            label => format!("in the case {label} ({})", shape.join(", ")),
        }
    }

    fn oracle(&mut self, compiled: &Compiled, arguments: &Arguments, options: &Options) -> Option<Outputs> {
        match tile_oracle::run(&compiled.program, &mut arguments.clone(), options) {
            Ok(report) => Some(report.outputs),
            Err(diagnostics) => {
                self.fail(diagnostics);
                None
            }
        }
    }

    fn check_spec(
        &mut self,
        compiled: &Compiled,
        expected: &Outputs,
        exact: Option<&Outputs>,
        rounded: Option<&Outputs>,
    ) {
        let actual = if self.case.rounded { rounded } else { exact };
        let Some(actual) = actual else { return };
        let mut check = Check::new("spec");
        for (name, e) in expected {
            let Some(a) = actual.get(name) else { continue };
            let dtype = self.dtype(compiled, name);
            let tolerance = match self.case.rounded {
                true => self.case.tolerance(name, dtype),
                false => scaled(Tolerance::EXACT, &e.values),
            };
            let c = compare_values(&e.values, &a.values, &e.shape, tolerance);
            self.note(&mut check, "T0495", "the spec and the oracle disagree on", name, &c, tolerance, None);
        }
        self.report.checks.push(check);
    }

    fn check_variants(&mut self, compiled: &Compiled, arguments: &Arguments, exact: &Outputs) {
        let mut check = Check::new("variants");
        for number in 0..self.options.variants {
            let seed = self.options.seed.wrapping_mul(1000).wrapping_add(number);
            let tiles = random_tiles(&compiled.program, seed);
            let sizes = describe(compiled, &tiles);
            let options = Options {
                tiles,
                order_seed: Some(seed),
                execute_skipped: true,
                split_seed: Some(seed),
                ..Options::exact()
            };
            let outputs = match tile_oracle::run(&compiled.program, &mut arguments.clone(), &options) {
                Ok(report) => report.outputs,
                Err(diagnostics) => {
                    check.ok = false;
                    let at_sizes = |d: Diagnostic| d.note(format!("at tile sizes {sizes}"));
                    self.fail(diagnostics.into_iter().map(at_sizes).collect());
                    continue;
                }
            };
            for (name, e) in exact {
                let Some(a) = outputs.get(name) else { continue };
                let tolerance = scaled(Tolerance::EXACT, &e.values);
                let c = compare_values(&e.values, &a.values, &e.shape, tolerance);
                let what = "tile sizes, order, skips or splits change";
                self.note(&mut check, "T0496", what, name, &c, tolerance, Some(&sizes));
            }
        }
        self.report.checks.push(check);
    }

    /// The oracle on the program as each schedule splits it, at random tile sizes.
    fn check_schedules(&mut self, compiled: &Compiled, arguments: &Arguments, exact: &Outputs) {
        let programs = match schedule::each_split(self.loaded, &compiled.program) {
            Ok(programs) => programs,
            Err(diagnostics) => return self.fail(diagnostics),
        };
        if programs.is_empty() {
            return;
        }
        let mut check = Check::new("schedules");
        for program in programs {
            let options = Options { tiles: random_tiles(&program, self.options.seed), ..Options::exact() };
            match tile_oracle::run(&program, &mut arguments.clone(), &options) {
                Ok(report) => {
                    for (name, e) in exact {
                        let Some(a) = report.outputs.get(name) else { continue };
                        let tolerance = scaled(Tolerance::EXACT, &e.values);
                        let c = compare_values(&e.values, &a.values, &e.shape, tolerance);
                        self.note(&mut check, "T0496", "a schedule changes", name, &c, tolerance, None);
                    }
                }
                Err(diagnostics) => {
                    check.ok = false;
                    self.fail(diagnostics);
                }
            }
        }
        self.report.checks.push(check);
    }

    fn check_cpu(&mut self, compiled: &mut Compiled, arguments: &Arguments, rounded: &Outputs) {
        let mut arguments = arguments.clone();
        let run = match compiled.cpu() {
            Ok(kernel) => kernel.run(&mut arguments, self.options.threads),
            Err(because) => return self.stop(Rung::Cpu, None, because),
        };
        let mut check = Check::new("cpu");
        if let Err(diagnostics) = run {
            check.ok = false;
            self.report.checks.push(check);
            return self.fail(diagnostics);
        }
        self.compare(&mut check, "the CPU and the oracle disagree on", compiled, &arguments, rounded);
        self.report.checks.push(check);
    }

    pub(super) fn compare(
        &mut self,
        check: &mut Check,
        what: &str,
        compiled: &Compiled,
        arguments: &Arguments,
        rounded: &Outputs,
    ) {
        for (p, argument) in compiled.signature().params.iter().zip(arguments.iter()) {
            let (Some(e), Some(t)) = (rounded.get(p.name()), argument.tensor()) else { continue };
            let tolerance = self.case.tolerance(p.name(), t.dtype);
            let c = compare(&e.values, t, tolerance);
            self.note(check, "T0495", what, p.name(), &c, tolerance, None);
        }
    }

    fn dtype(&self, compiled: &Compiled, name: &str) -> DType {
        compiled.signature().tensors().find(|p| p.name == name).map_or(DType::F64, |p| p.dtype)
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn note(
        &mut self,
        check: &mut Check,
        code: &'static str,
        what: &str,
        name: &str,
        c: &Comparison,
        tolerance: Tolerance,
        sizes: Option<&str>,
    ) {
        check.max_abs = check.max_abs.max(c.max_abs);
        check.max_rel = check.max_rel.max(c.max_rel);
        if c.ok {
            return;
        }
        check.ok = false;
        let mut d = Diagnostic::error(code, self.case.span, format!("{what} `{name}`: {c}"))
            .label("this test")
            .note(format!("tolerance {tolerance}; greatest error {:.3e}", c.max_abs));
        if let Some(sizes) = sizes {
            d = d.note(format!("at tile sizes {sizes}"));
        }
        self.fail(vec![d]);
    }
}

/// An absolute tolerance is meant for values of size one.
pub(super) fn scaled(t: Tolerance, expected: &[f64]) -> Tolerance {
    let greatest = expected.iter().filter(|v| v.is_finite()).fold(1.0f64, |m, v| m.max(v.abs()));
    Tolerance { absolute: t.absolute * greatest, ..t }
}

/// `BM = 13, BN = 64`
fn describe(compiled: &Compiled, tiles: &[tile_graph::TileBinding]) -> String {
    let mut out = vec![];
    for (graph, binding) in compiled.program.graphs.iter().zip(tiles) {
        for (at, tile) in graph.tiles.iter().enumerate() {
            if let Some(size) = binding.get(tile_graph::TileId::new(at)) {
                out.push(format!("{} = {size}", tile.name));
            }
        }
    }
    out.join(", ")
}
