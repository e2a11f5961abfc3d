//! Any stage of one kernel as text: what `build` and `graph` print.

use crate::{
    Given, Loaded, Session, choose, compile,
    schedule::{self, Scheduled},
};
use tile_base::Diagnostic;
use tile_graph::Program;
use tile_target::Target;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    Ast,
    Typed,
    Graph,
    Plan,
    Mlir,
    Llvm,
    Ptx,
    Dot,
    Svg,
}

impl Stage {
    pub fn name(self) -> &'static str {
        match self {
            Stage::Ast => "ast",
            Stage::Typed => "typed",
            Stage::Graph => "graph",
            Stage::Plan => "plan",
            Stage::Mlir => "mlir",
            Stage::Llvm => "llvm",
            Stage::Ptx => "ptx",
            Stage::Dot => "dot",
            Stage::Svg => "svg",
        }
    }

    fn needs_llvm(self) -> bool {
        matches!(self, Stage::Mlir | Stage::Llvm | Stage::Ptx)
    }
}

/// The stages that were asked for, in that order.
pub struct Built {
    pub kernel: String,
    pub texts: Vec<(Stage, String)>,
    /// `D = 64`, from the first test case.
    pub taken: Vec<(String, String)>,
    /// The name of the test block whose first case decided that.
    pub test: String,
    pub notes: Vec<Diagnostic>,
    /// Shared memory of a block, of the launch that uses most; 0 when no plan was made.
    pub shared_bytes: u64,
    /// PTX by launch, when a stage asked for code.
    pub modules: Vec<(String, String)>,
}

/// Compiles one kernel as far as the stages need and prints them.
pub fn build(
    session: &mut Session,
    loaded: &Loaded,
    kernel: Option<&str>,
    given: &Given,
    target: &str,
    stages: &[Stage],
) -> Result<Built, Vec<Diagnostic>> {
    let target = find_target(target)?;
    if stages == [Stage::Ast] {
        // A tree there always is; what the parser has to say goes with it.
        let text = tile_syntax::print_tree(loaded.ast());
        let notes = loaded.diagnostics.clone();
        if tile_base::diagnostic::any_error(&notes) {
            return Err(notes);
        }
        return Ok(Built {
            kernel: String::new(),
            texts: vec![(Stage::Ast, text)],
            taken: vec![],
            test: String::new(),
            notes,
            shared_bytes: 0,
            modules: vec![],
        });
    }
    let picked = compile::pick(session, loaded, kernel)?;
    let case = compile::first_case(loaded, &picked);
    let choice = choose::choose(&loaded.module, picked.callable(loaded), given, case.as_ref())?;
    let compiled = compile::compile(session, loaded, &picked, &choice.instance)?;
    let mut notes = compiled.notes.clone();
    let device = match stages.iter().any(|s| s.needs_llvm() || *s == Stage::Plan) {
        true => Some(for_device(session, loaded, &compiled.program, target, stages, &mut notes)?),
        false => None,
    };
    let mut texts = vec![];
    for &stage in stages {
        let text = match (stage, &device) {
            (Stage::Ast, _) => tile_syntax::print_tree(loaded.ast()),
            (Stage::Typed, _) => compiled.typed.print(),
            (Stage::Graph, _) => graph_text(&compiled.program),
            (Stage::Dot, _) => each_graph(&compiled.program, tile_graph::dot),
            (Stage::Svg, _) => each_graph(&compiled.program, tile_graph::svg),
            (_, Some(device)) => device.text(stage),
            (_, None) => String::new(),
        };
        texts.push((stage, text));
    }
    let shared = |d: &DeviceCode| d.plans.iter().map(|(_, p)| p.shared_bytes() as u64).max();
    let modules = device.as_ref().map(DeviceCode::ptx).unwrap_or_default();
    let shared_bytes = device.as_ref().and_then(shared).unwrap_or(0);
    let test = case.map_or(String::new(), |c| c.test);
    Ok(Built { kernel: picked.name, texts, taken: choice.taken, test, notes, shared_bytes, modules })
}

/// The target of that name.
pub fn find_target(name: &str) -> Result<&'static Target, Vec<Diagnostic>> {
    tile_target::find(name).ok_or_else(|| {
        let known: Vec<&str> = tile_target::ALL.iter().map(|t| t.name).collect();
        vec![
            Diagnostic::global("T0854", format!("`{name}` is no target that the compiler knows"))
                .help(format!("it knows {}", known.join(", "))),
        ]
    })
}

fn graph_text(program: &Program) -> String {
    match &program.graphs[..] {
        [one] if program.temps.is_empty() => tile_graph::print(one),
        _ => tile_graph::print_program(program),
    }
}

fn each_graph(program: &Program, draw: fn(&tile_graph::Graph) -> String) -> String {
    program.graphs.iter().map(draw).collect::<Vec<_>>().join("\n")
}

/// Plans and device code of every launch of a program.
pub struct DeviceCode {
    pub plans: Vec<(String, tile_plan::Plan)>,
    plan_texts: Vec<String>,
    #[cfg(feature = "ptx")]
    pub modules: Vec<tile_ptx::PtxModule>,
}

impl DeviceCode {
    fn text(&self, stage: Stage) -> String {
        match stage {
            Stage::Plan => self.plan_texts.join("\n"),
            _ => self.code(stage),
        }
    }

    #[cfg(feature = "ptx")]
    fn ptx(&self) -> Vec<(String, String)> {
        self.plans.iter().zip(&self.modules).map(|((name, _), m)| (name.clone(), m.ptx.clone())).collect()
    }

    #[cfg(not(feature = "ptx"))]
    fn ptx(&self) -> Vec<(String, String)> {
        vec![]
    }

    #[cfg(feature = "ptx")]
    fn code(&self, stage: Stage) -> String {
        let of = |m: &tile_ptx::PtxModule| match stage {
            Stage::Mlir => m.mlir.clone(),
            Stage::Llvm => m.llvm.clone().unwrap_or_default(),
            _ => m.ptx.clone(),
        };
        self.modules.iter().map(of).collect::<Vec<_>>().join("\n")
    }

    #[cfg(not(feature = "ptx"))]
    fn code(&self, _: Stage) -> String {
        String::new()
    }
}

/// Plans every launch, and compiles it when a stage wants code.
pub fn for_device(
    session: &mut Session,
    loaded: &Loaded,
    program: &Program,
    target: &'static Target,
    stages: &[Stage],
    notes: &mut Vec<Diagnostic>,
) -> Result<DeviceCode, Vec<Diagnostic>> {
    if stages.iter().any(|s| s.needs_llvm()) {
        backend_there()?;
    }
    let Scheduled { program, requests } =
        session.timer.time("laws", || schedule::apply(loaded, program, target, notes))?;
    let (mut plans, mut plan_texts) = (vec![], vec![]);
    for (graph, request) in program.graphs.iter().zip(&requests) {
        let plan = session.timer.time("plan", || tile_plan::plan(graph, target, request))?;
        notes.extend(plan.notes.iter().cloned());
        plan_texts.push(tile_plan::print(graph, &plan));
        plans.push((graph.name.clone(), plan));
    }
    #[cfg(feature = "ptx")]
    let modules = match stages.iter().any(|s| s.needs_llvm()) {
        true => modules(session, &program, &plans, stages.contains(&Stage::Llvm))?,
        false => vec![],
    };
    Ok(DeviceCode {
        plans,
        plan_texts,
        #[cfg(feature = "ptx")]
        modules,
    })
}

/// All launches, side by side. Those with most registers to write code for begin, so that no core waits for a long one at
/// the end; what comes out is in the program's order.
#[cfg(feature = "ptx")]
fn modules(
    session: &mut Session,
    program: &Program,
    plans: &[(String, tile_plan::Plan)],
    llvm: bool,
) -> Result<Vec<tile_ptx::PtxModule>, Vec<Diagnostic>> {
    use rayon::prelude::*;
    let options = tile_ptx::Options { sources: Some(&session.sources), llvm };
    let size = |at: usize| plans[at].1.layouts.values().map(|l| l.registers()).sum::<usize>();
    let mut order: Vec<usize> = (0..plans.len()).collect();
    order.sort_by_cached_key(|&at| std::cmp::Reverse(size(at)));
    let compile = |at: usize| (at, tile_ptx::compile(&program.graphs[at], &plans[at].1, &options));
    let mut compiled: Vec<_> = order.into_iter().par_bridge().map(compile).collect();
    compiled.sort_by_key(|(at, _)| *at);
    let modules = compiled.into_iter().map(|(_, m)| m).collect::<Result<Vec<_>, _>>()?;
    for (stage, spent) in modules.iter().flat_map(|m| &m.stages) {
        session.timer.add(stage, *spent);
    }
    Ok(modules)
}

/// The PTX of one planned launch.
#[cfg(feature = "ptx")]
pub(crate) fn ptx(
    graph: &tile_graph::Graph,
    plan: &tile_plan::Plan,
    sources: &tile_base::Sources,
) -> Result<String, Vec<Diagnostic>> {
    let options = tile_ptx::Options { sources: Some(sources), llvm: false };
    tile_ptx::compile(graph, plan, &options).map(|m| m.ptx)
}

#[cfg(not(feature = "ptx"))]
pub(crate) fn ptx(
    _: &tile_graph::Graph,
    _: &tile_plan::Plan,
    _: &tile_base::Sources,
) -> Result<String, Vec<Diagnostic>> {
    backend_there().map(|()| String::new())
}

#[cfg(feature = "ptx")]
pub(crate) fn backend_there() -> Result<(), Vec<Diagnostic>> {
    Ok(())
}

#[cfg(not(feature = "ptx"))]
pub(crate) fn backend_there() -> Result<(), Vec<Diagnostic>> {
    Err(vec![Diagnostic::global("T0853", "this `tilec` was built without the PTX backend").help(
        "build it with LLVM and MLIR 22 at hand: `./x setup` installs them, `cargo build --release -p tilec` builds",
    )])
}

/// What NVIDIA's assembler says of a module of one kernel; `None` when there is none on this machine.
#[cfg(feature = "ptx")]
pub fn assemble(
    ptx: &str,
    target: &'static Target,
) -> Result<Option<tile_ptx::ptxas::Resources>, Vec<Diagnostic>> {
    let Some(ptxas) = tile_ptx::ptxas::find() else { return Ok(None) };
    tile_ptx::ptxas::assemble(&ptxas, ptx, target).map(Some).map_err(|text| {
        let why = text.lines().find(|l| l.contains("error")).unwrap_or("it failed").trim().to_string();
        let message = format!("ptxas does not accept the PTX for {}: {why}", target.name);
        vec![
            Diagnostic::global("T0857", message)
                .help("this is a fault of the compiler; `--emit ptx` shows the text"),
        ]
    })
}

/// As tile-ptx has it; without the backend there is no PTX to assemble.
#[cfg(not(feature = "ptx"))]
pub struct Resources {
    pub registers: u32,
    pub spill_stores: u32,
    pub spill_loads: u32,
}

#[cfg(not(feature = "ptx"))]
pub fn assemble(_: &str, _: &'static Target) -> Result<Option<Resources>, Vec<Diagnostic>> {
    Ok(None)
}
