//! MLIR text to PTX: parse, lower, translate, optimise, print.
//!
//! Everything LLVM runs on its own thread, for one reason: on an operation it cannot select LLVM calls its fatal
//! error handler and then ends the process. Here the handler reports to the waiting thread and sleeps for good, so
//! that a fatal error becomes a diagnostic and costs a parked thread, never the process.
//!
//! Two rules found by experiment:
//! - `mma.sync` and inline assembly are *convergent* (all lanes of a warp take part), but MLIR cannot say so and LLVM
//!   would move them into divergent branches: the mark is set on the calls after translation
//!   ([`mark_convergent`]), and checked in debug builds;
//! - what LLVM does by default is made for other programs. A tile is unrolled already, its addresses are written once and
//!   hoisted by the emitter, nothing is called and nothing is spilled to memory: of the default passes most find nothing and
//!   all of them look at every instruction. [`PASSES`] and [`LEFT_OUT`] say what remains.

use inkwell::{
    OptimizationLevel,
    context::Context as LlvmContext,
    llvm_sys::{
        LLVMOpcode,
        core::*,
        error_handling::LLVMInstallFatalErrorHandler,
        prelude::{LLVMModuleRef, LLVMValueRef},
        support::LLVMParseCommandLineOptions,
    },
    module::Module as LlvmModule,
    passes::PassBuilderOptions,
    targets::{
        CodeModel, FileType, InitializationConfig, RelocMode, Target as LlvmTarget, TargetMachine,
        TargetTriple,
    },
};
use melior::{
    Context,
    dialect::{DialectHandle, DialectRegistry},
    ir::Module,
    pass::PassManager,
};
use std::{
    cell::RefCell,
    ffi::{CStr, c_char},
    sync::{Mutex, Once, mpsc},
};
use tile_base::time::{Clock, Spent};
use tile_target::Target;

/// What LLVM makes of a module.
#[derive(Clone, Debug, Default)]
pub struct Lowered {
    /// LLVM IR before optimisation, when asked for.
    pub llvm: Option<String>,
    pub ptx: String,
    pub stages: Vec<(&'static str, Spent)>,
}

/// Why there is no PTX; the text is MLIR's or LLVM's own.
#[derive(Clone, Debug)]
pub enum Fault {
    Parse(String),
    Pass(String),
    Translate(String),
    Optimise(String),
    /// LLVM would have ended the process.
    Fatal(String),
    /// The thread died.
    Died,
}

/// The passes over LLVM IR, in a third of the time of `default<O3>`. What ptxas makes of the library's launches has as many
/// instructions in the mean; one launch in four has more (the last one of `decode`, whose loop is unrolled further, half
/// as many again), and nothing spills.
///
/// What they are for: how great the number of a thread can be (without that, offsets into shared memory do not add up to
/// aligned vectors); constants and dead branches; sums of addresses in an order in which parts are shared; loops turned
/// around, and what does not change put before them; loads of shared memory that repeat; divisions that are unsigned or
/// narrow because of what was asked before; the same code at the end of both arms, once; operations on two halves of a
/// register as one (what is left out is seen in the spills of kernels at model widths).
const PASSES: &str = "function(nvvm-intr-range),ipsccp,function(simplifycfg,instcombine<no-verify-fixpoint>,reassociate,\
    loop-mssa(loop-rotate,licm),simplifycfg,loop(indvars),gvn,correlated-propagation,\
    instcombine<no-verify-fixpoint>,simplifycfg<sink-common-insts>,slp-vectorizer)";

/// Passes of the code generator that cost a fifth of its time here and change nothing: they look for multiples of strides
/// among addresses, which the emitter has shared already.
const LEFT_OUT: &CStr = c"-opt-disable=slsr,nary-reassociate";

thread_local! {
    /// Where the handler reports from this thread.
    static REPORT: RefCell<Option<mpsc::Sender<Result<Lowered, Fault>>>> = const { RefCell::new(None) };
}

extern "C" fn on_fatal_error(reason: *const c_char) {
    let text = match reason.is_null() {
        true => "no reason given".to_string(),
        false => unsafe { CStr::from_ptr(reason) }.to_string_lossy().into_owned(),
    };
    let told =
        REPORT.with(|r| r.borrow_mut().take().map(|sender| sender.send(Err(Fault::Fatal(text.clone())))));
    match told {
        // The waiting thread goes on; this one holds LLVM's broken state and must not return into it.
        Some(_) => loop {
            std::thread::park();
        },
        None => {
            eprintln!("error[T0941]: LLVM stopped: {text}");
            std::process::exit(1);
        }
    }
}

/// Compiles one module for one target.
pub fn lower(mlir: &str, target: &'static Target, want_llvm: bool) -> Result<Lowered, Fault> {
    crate::late_init::ensure();
    static ONCE: Once = Once::new();
    ONCE.call_once(|| unsafe {
        LLVMInstallFatalErrorHandler(Some(on_fatal_error));
        let arguments = [c"tilec".as_ptr(), LEFT_OUT.as_ptr()];
        LLVMParseCommandLineOptions(arguments.len() as i32, arguments.as_ptr(), std::ptr::null());
    });
    let (sender, receiver) = mpsc::channel();
    let text = mlir.to_string();
    let work = move || {
        REPORT.with(|r| *r.borrow_mut() = Some(sender.clone()));
        let result = run(&text, target, want_llvm);
        REPORT.with(|r| r.borrow_mut().take());
        let _ = sender.send(result);
    };
    // LLVM and MLIR recurse over nesting and expressions.
    let thread = std::thread::Builder::new().name("llvm".into()).stack_size(64 << 20).spawn(work);
    match thread {
        Ok(_) => receiver.recv().unwrap_or(Err(Fault::Died)),
        Err(_) => Err(Fault::Died),
    }
}

fn run(mlir: &str, target: &'static Target, want_llvm: bool) -> Result<Lowered, Fault> {
    let mut out = Lowered::default();
    let mut clock = Clock::thread();
    let mut lap =
        |name: &'static str, stages: &mut Vec<(&'static str, Spent)>| stages.push((name, clock.lap()));
    let context = mlir_context();
    let messages: std::rc::Rc<RefCell<Vec<String>>> = Default::default();
    let seen = messages.clone();
    context.attach_diagnostic_handler(move |d| {
        seen.borrow_mut().push(format!("{d} at {}", d.location()));
        true
    });
    let said = || messages.borrow().join("; ");
    lap("mlir context", &mut out.stages);
    let mut module = Module::parse(&context, mlir).ok_or_else(|| Fault::Parse(said()))?;
    lap("mlir parse", &mut out.stages);
    keep_locations(&context, &mut module).map_err(|_| Fault::Pass(said()))?;
    lap("mlir passes", &mut out.stages);
    let llvm = LlvmContext::create();
    // The two crates bind the same LLVM and name its opaque pointers apart.
    let translated =
        unsafe { mlir_sys::mlirTranslateModuleToLLVMIR(module.as_operation().to_raw(), llvm.raw().cast()) };
    if translated.is_null() {
        return Err(Fault::Translate(said()));
    }
    let raw: LLVMModuleRef = unsafe { std::mem::transmute(translated) };
    let llvm_module = unsafe { LlvmModule::new(raw) };
    lap("translate", &mut out.stages);
    unsafe { mark_convergent(raw) };
    debug_assert!(unsafe { unmarked(raw) } == 0, "a call that needs its warp is not marked convergent");
    if want_llvm {
        out.llvm = Some(llvm_module.print_to_string().to_string());
    }
    let machine = machine(target)?;
    llvm_module.set_triple(&machine.get_triple());
    llvm_module.set_data_layout(&machine.get_target_data().get_data_layout());
    llvm_module
        .run_passes(PASSES, &machine, PassBuilderOptions::create())
        .map_err(|e| Fault::Optimise(e.to_string()))?;
    lap("llvm passes", &mut out.stages);
    let buffer = machine
        .write_to_memory_buffer(&llvm_module, FileType::Assembly)
        .map_err(|e| Fault::Optimise(e.to_string()))?;
    out.ptx = String::from_utf8_lossy(buffer.as_slice()).trim_end_matches('\0').to_string();
    lap("ptx", &mut out.stages);
    Ok(out)
}

/// Lets the locations of operations become `.loc` lines, by which the simulator and NVIDIA's tools find the user's line.
/// Directives only: debug sections would make ptxas compile without optimisation.
fn keep_locations(context: &Context, module: &mut Module) -> Result<(), melior::Error> {
    const PASS: &str =
        "builtin.module(ensure-debug-info-scope-on-llvm-func{emission-kind=DebugDirectivesOnly})";
    static ONCE: Once = Once::new();
    ONCE.call_once(|| unsafe { mlir_sys::mlirRegisterLLVMDIScopeForLLVMFuncOpPass() });
    let passes = PassManager::new(context);
    // Reading the text has verified it.
    passes.enable_verifier(cfg!(debug_assertions));
    melior::utility::parse_pass_pipeline(passes.as_operation_pass_manager(), PASS)?;
    passes.run(module)
}

/// A context with the dialects in use and nothing else: registering all of MLIR costs 25 ms.
fn mlir_context() -> Context {
    let registry = DialectRegistry::new();
    DialectHandle::llvm().insert_dialect(&registry);
    unsafe { DialectHandle::from_raw(mlir_sys::mlirGetDialectHandle__nvvm__()) }.insert_dialect(&registry);
    let context = Context::new();
    context.append_dialect_registry(&registry);
    context.enable_multi_threading(false);
    context.load_all_available_dialects();
    // After loading: this registers translations of every dialect there is, and none of those shall be loaded.
    melior::utility::register_all_llvm_translations(&context);
    context
}

fn machine(target: &Target) -> Result<TargetMachine, Fault> {
    static ONCE: Mutex<bool> = Mutex::new(false);
    if let Ok(mut done) = ONCE.lock()
        && !*done
    {
        LlvmTarget::initialize_nvptx(&InitializationConfig::default());
        *done = true;
    }
    let triple = TargetTriple::create("nvptx64-nvidia-cuda");
    let found = LlvmTarget::from_triple(&triple).map_err(|e| Fault::Optimise(e.to_string()))?;
    found
        .create_target_machine(
            &triple,
            target.llvm_cpu,
            target.ptx_feature,
            OptimizationLevel::Default,
            RelocMode::Default,
            CodeModel::Default,
        )
        .ok_or_else(|| Fault::Optimise(format!("no LLVM target machine for {}", target.llvm_cpu)))
}

/// Sets `convergent` on every call of inline assembly and of an `mma`/`wmma` intrinsic.
///
/// # Safety
/// `module` is a live LLVM module.
pub unsafe fn mark_convergent(module: LLVMModuleRef) {
    unsafe {
        let context = LLVMGetModuleContext(module);
        let name = "convergent";
        let kind = LLVMGetEnumAttributeKindForName(name.as_ptr().cast(), name.len());
        let attribute = LLVMCreateEnumAttribute(context, kind, 0);
        for_each_warp_call(module, |call| LLVMAddCallSiteAttribute(call, u32::MAX, attribute));
    }
}

/// How many such calls lack the mark.
///
/// # Safety
/// `module` is a live LLVM module.
pub unsafe fn unmarked(module: LLVMModuleRef) -> usize {
    let mut missing = 0;
    unsafe {
        let name = "convergent";
        let kind = LLVMGetEnumAttributeKindForName(name.as_ptr().cast(), name.len());
        for_each_warp_call(module, |call| {
            missing += usize::from(LLVMGetCallSiteEnumAttribute(call, u32::MAX, kind).is_null());
        });
    }
    missing
}

unsafe fn for_each_warp_call(module: LLVMModuleRef, mut each: impl FnMut(LLVMValueRef)) {
    unsafe {
        let mut function = LLVMGetFirstFunction(module);
        while !function.is_null() {
            let mut block = LLVMGetFirstBasicBlock(function);
            while !block.is_null() {
                let mut instruction = LLVMGetFirstInstruction(block);
                while !instruction.is_null() {
                    if LLVMGetInstructionOpcode(instruction) == LLVMOpcode::LLVMCall
                        && needs_warp(instruction)
                    {
                        each(instruction);
                    }
                    instruction = LLVMGetNextInstruction(instruction);
                }
                block = LLVMGetNextBasicBlock(block);
            }
            function = LLVMGetNextFunction(function);
        }
    }
}

unsafe fn needs_warp(call: LLVMValueRef) -> bool {
    unsafe {
        let callee = LLVMGetCalledValue(call);
        if !LLVMIsAInlineAsm(callee).is_null() {
            return true;
        }
        let mut length = 0;
        let name = LLVMGetValueName2(callee, &mut length);
        let name = std::slice::from_raw_parts(name.cast::<u8>(), length);
        name.starts_with(b"llvm.nvvm.mma.") || name.starts_with(b"llvm.nvvm.wmma.")
    }
}
