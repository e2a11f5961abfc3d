//! Plan to MLIR (melior) to LLVM (inkwell) to PTX: the only crate that links LLVM.
//!
//! [`compile`] emits MLIR text for what one thread does ([`emit`]), hands it to MLIR and LLVM ([`llvm`]), and gives
//! back every box on the way. Whatever LLVM would refuse is refused before it ([`tile_plan::legal`]); what it refuses
//! all the same comes back as a diagnostic about the compiler, with the source line where MLIR named one.

pub mod emit;
mod late_init;
pub mod llvm;
pub mod ptxas;
pub mod text;

use tile_base::{
    Diagnostic, Sources,
    time::{Clock, Spent},
};
use tile_graph::Graph;
use tile_plan::Plan;

#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// For file names and lines in MLIR locations.
    pub sources: Option<&'a Sources>,
    /// Keep LLVM IR as text.
    pub llvm: bool,
}

/// A compiled kernel, with every box on its way.
#[derive(Clone, Debug)]
pub struct PtxModule {
    pub mlir: String,
    /// LLVM IR before optimisation, when asked for.
    pub llvm: Option<String>,
    pub ptx: String,
    /// How long each stage took, on the processor the thread that does it.
    pub stages: Vec<(&'static str, Spent)>,
    /// MLIR operations emitted.
    pub operations: usize,
}

/// Compiles one planned launch.
pub fn compile(graph: &Graph, plan: &Plan, options: &Options) -> Result<PtxModule, Vec<Diagnostic>> {
    let mut clock = Clock::thread();
    let emitted = emit::emit(graph, plan, options.sources).map_err(|d| vec![*d])?;
    let mut stages = vec![("emit", clock.lap())];
    let lowered = llvm::lower(&emitted.text, plan.target, options.llvm).map_err(|f| vec![fault(graph, f)])?;
    stages.extend(lowered.stages);
    Ok(PtxModule {
        mlir: emitted.text,
        llvm: lowered.llvm,
        ptx: lowered.ptx,
        stages,
        operations: emitted.operations,
    })
}

fn fault(graph: &Graph, fault: llvm::Fault) -> Diagnostic {
    use llvm::Fault::*;
    let (code, what, text) = match fault {
        Parse(text) => ("T0942", "MLIR refused the code of", text),
        Pass(text) => ("T0942", "MLIR could not lower the code of", text),
        Translate(text) => ("T0942", "MLIR could not translate the code of", text),
        Optimise(text) => ("T0941", "LLVM refused the code of", text),
        Fatal(text) => ("T0941", "LLVM cannot select the code of", text),
        Died => ("T0941", "LLVM's thread ended without an answer for", String::new()),
    };
    Diagnostic::global(code, format!("fault in the PTX backend: {what} `{}`", graph.name))
        .note(text)
        .help("this is a fault of the compiler; please report the kernel")
}
