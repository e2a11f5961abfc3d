//! Cranelift: emitted functions to executable memory.

use crate::{
    emit::{Emit, Support},
    fuse, liveness,
    runtime::Env,
};
use cranelift_codegen::{
    ir::{AbiParam, types},
    settings::{self, Configurable},
};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{Linkage, Module, default_libcall_names};
use tile_base::Diagnostic;
use tile_graph::{Graph, TileBinding};

/// Executable code of one graph for one class of strides.
pub struct Code {
    pub run: unsafe extern "C" fn(*mut Env) -> i64,
    pub support: Support,
    /// Bytes of machine code.
    pub size: usize,
    module: Option<JITModule>,
}

// SAFETY: finished code is immutable, the support is only read, and neither is tied to a thread.
unsafe impl Send for Code {}
unsafe impl Sync for Code {}

impl Drop for Code {
    fn drop(&mut self) {
        if let Some(module) = self.module.take() {
            // SAFETY: `run` goes with the code and nothing else points into the module's memory.
            unsafe { module.free_memory() }
        }
    }
}

/// Compiles a graph. `unit`: for each object, whether its last axis has stride 1.
pub fn compile(graph: &Graph, binding: &TileBinding, unit: &[bool]) -> Result<Code, Diagnostic> {
    let schedule = fuse::schedule(graph);
    let live = liveness::analyse(graph, &schedule);
    let mut flags = settings::builder();
    for (name, value) in [
        ("opt_level", "speed"),
        ("is_pic", "false"),
        ("use_colocated_libcalls", "false"),
        ("enable_verifier", if cfg!(debug_assertions) { "true" } else { "false" }),
    ] {
        flags.set(name, value).map_err(|e| fault(graph, e))?;
    }
    let native = cranelift_native::builder().map_err(|e| {
        Diagnostic::global("T0702", format!("the CPU backend cannot make code for this machine: {e}"))
    })?;
    let isa = native.finish(settings::Flags::new(flags)).map_err(|e| fault(graph, e))?;
    let mut module = JITModule::new(JITBuilder::with_isa(isa, default_libcall_names()));
    let mut context = module.make_context();
    let mut builders = FunctionBuilderContext::new();
    context.func.signature.params.push(AbiParam::new(types::I64));
    context.func.signature.returns.push(AbiParam::new(types::I64));
    let config = module.target_config();
    let builder = FunctionBuilder::new(&mut context.func, &mut builders);
    let support = Emit::new(graph, binding, &schedule, &live, unit, builder).run(config).map_err(|d| *d)?;
    if std::env::var_os("TILE_CPU_CLIF").is_some() {
        eprintln!("{}", context.func.display());
    }
    let function = module
        .declare_function("kernel", Linkage::Export, &context.func.signature)
        .map_err(|e| fault(graph, e))?;
    module.define_function(function, &mut context).map_err(|e| fault(graph, format!("{e:?}")))?;
    let size = context.compiled_code().map_or(0, |c| c.code_buffer().len());
    module.clear_context(&mut context);
    module.finalize_definitions().map_err(|e| fault(graph, e))?;
    let address = module.get_finalized_function(function);
    // SAFETY: the function was emitted with this signature.
    let run = unsafe { std::mem::transmute::<*const u8, unsafe extern "C" fn(*mut Env) -> i64>(address) };
    Ok(Code { run, support, size, module: Some(module) })
}

fn fault(graph: &Graph, e: impl std::fmt::Display) -> Diagnostic {
    Diagnostic::global("T0719", format!("Cranelift refuses the code made for `{}`", graph.name))
        .note(e.to_string())
        .help("this is a fault of the compiler; please report it with the kernel")
}
