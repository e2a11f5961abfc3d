//! One kernel or op through the stages that need no target: typed kernel, graph, and the CPU's code on demand.

use crate::{
    Loaded, Session,
    choose::{self, Callable, Case},
    testing,
};
use std::collections::BTreeMap;
use tile_base::{Diagnostic, Signature, diagnostic::any_error};
use tile_graph::{Program, TileBinding};
use tile_plan::cpu::recommend_cpu;
use tile_sema::{Instance, TypedKernel, TypedProgram};
use tile_tensor::Arguments;

pub use tile_oracle::Array as SpecArray;

/// Which item of a file is meant.
#[derive(Clone, Debug)]
pub struct Picked {
    pub name: String,
    pub is_op: bool,
}

impl Picked {
    /// The declaration.
    ///
    /// # Panics
    /// When `loaded` is not the file it was picked from.
    pub fn callable<'a>(&self, loaded: &'a Loaded) -> Callable<'a> {
        choose::callables(&loaded.module).find(|c| c.name.name == self.name).expect("picked from this file")
    }
}

/// Checks a file and picks the kernel that is meant. Faults of the file come first: a kernel of a broken file is not
/// compiled.
pub fn pick(session: &mut Session, loaded: &Loaded, name: Option<&str>) -> Result<Picked, Vec<Diagnostic>> {
    let found = session.check(loaded);
    if any_error(&found) {
        return Err(found);
    }
    let callable = choose::pick(&loaded.module, &loaded.path, name).map_err(|d| vec![d])?;
    Ok(Picked { name: callable.name.name.clone(), is_op: callable.is_op })
}

/// The first case of the test blocks of a kernel; `None` when there is none, or it cannot be evaluated (the tests
/// say why).
pub fn first_case(loaded: &Loaded, picked: &Picked) -> Option<Case> {
    testing::first_case(&loaded.module, &picked.name)
}

/// The typed form, of a kernel or of an op.
pub enum Typed {
    Kernel(Box<TypedKernel>),
    Op(Box<TypedProgram>),
}

impl Typed {
    /// As text.
    pub fn print(&self) -> String {
        match self {
            Typed::Kernel(k) => k.print(),
            Typed::Op(p) => p.print(),
        }
    }
}

/// A program and what else is known of it.
pub struct Compiled {
    pub typed: Typed,
    pub program: Program,
    /// Warnings and notes of the stages.
    pub notes: Vec<Diagnostic>,
    cpu: Option<tile_cpu::CpuKernel>,
}

/// Typed kernel and graph of one instance.
pub fn compile(
    session: &mut Session,
    loaded: &Loaded,
    picked: &Picked,
    instance: &Instance,
) -> Result<Compiled, Vec<Diagnostic>> {
    let timer = &mut session.timer;
    let (typed, program) = if picked.is_op {
        let typed =
            timer.time("typed", || tile_sema::instantiate_op(&loaded.module, &picked.name, instance))?;
        let program = timer.time("graph", || tile_lower::lower_op(&typed))?;
        (Typed::Op(Box::new(typed)), program)
    } else {
        let typed = timer.time("typed", || tile_sema::instantiate(&loaded.module, &picked.name, instance))?;
        let program = timer.time("graph", || tile_lower::lower(&typed))?;
        (Typed::Kernel(Box::new(typed)), program)
    };
    Ok(Compiled { typed, program, notes: vec![], cpu: None })
}

impl Compiled {
    pub fn signature(&self) -> &Signature {
        &self.program.signature
    }

    /// Machine code for this CPU, made once; tile sizes are chosen without knowing the dimensions.
    pub fn cpu(&mut self) -> Result<&tile_cpu::CpuKernel, Vec<Diagnostic>> {
        self.cpu_for(&[])
    }

    /// Machine code for this CPU, made once, with tile sizes for these dimensions (in the signature's order).
    pub fn cpu_for(&mut self, dims: &[i64]) -> Result<&tile_cpu::CpuKernel, Vec<Diagnostic>> {
        if self.cpu.is_none() {
            let tiles: Vec<TileBinding> = self
                .program
                .graphs
                .iter()
                .map(|g| {
                    let own = self.program.graphs.len() == 1 && g.signature.dims.len() == dims.len();
                    let unknown = vec![-1; g.signature.dims.len()];
                    recommend_cpu(g, if own { dims } else { &unknown })
                })
                .collect();
            self.cpu = Some(tile_cpu::compile(&self.program, &tiles)?);
        }
        self.cpu.as_ref().ok_or_else(Vec::new)
    }
}

/// Runs on the oracle, every value rounded to its dtype, and puts the results into the arguments.
pub fn run_oracle(program: &Program, arguments: &mut Arguments) -> Result<(), Vec<Diagnostic>> {
    tile_oracle::run(program, arguments, &tile_oracle::Options::rounded()).map(|_| ())
}

/// What the spec of a kernel says for these arguments, by output.
pub fn spec(
    loaded: &Loaded,
    picked: &Picked,
    instance: &Instance,
    signature: &Signature,
    arguments: &Arguments,
) -> Result<BTreeMap<String, SpecArray>, Vec<Diagnostic>> {
    tile_oracle::spec::evaluate(&loaded.module, &picked.name, instance, signature, arguments)
}
