//! A compiled program and its run: launches in order on the threads, temporaries in the process's memory.
//!
//! Code is made for a *class* of strides: for each tensor, whether neighbours along its last axis are neighbours in
//! memory. The class in which all are is compiled by [`compile`]; another one the first time that arguments ask for
//! it, and is kept.

use crate::{
    diagnose,
    grid::{Failure, Launch, absent},
    jit::{self, Code},
    runtime::{MAX_RANK, ObjectRecord},
    views::{View, limits},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tile_base::{DType, Diagnostic, Mode, signature::ParamKind};
use tile_graph::{Graph, Program, TileBinding};
use tile_host::{Buffer, Given, Machine, Outcome, Region};
use tile_tensor::{Argument, Arguments, Scalar, Tensor};

/// A program compiled for this machine.
pub struct CpuKernel {
    program: Program,
    bindings: Vec<TileBinding>,
    codes: Vec<Mutex<HashMap<Vec<bool>, Arc<Code>>>>,
}

/// What was made: for benchmarks and explanations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeFacts {
    pub machine_code_bytes: usize,
    /// Memory that each thread needs for tiles.
    pub arena_bytes: u64,
}

/// Compiles every launch of the program, with one binding of tile sizes for each.
pub fn compile(program: &Program, bindings: &[TileBinding]) -> Outcome<CpuKernel> {
    let mut found = vec![];
    for (at, graph) in program.graphs.iter().enumerate() {
        let Some(binding) = bindings.get(at) else {
            found.push(Diagnostic::global("T0703", format!("the launch `{}` has no tile sizes", graph.name)));
            continue;
        };
        if let Some(fault) = binding.fault(graph) {
            found.push(Diagnostic::global("T0703", format!("`{}`: {fault}", graph.name)));
        }
        check_size(graph, binding, &mut found);
    }
    if !found.is_empty() {
        return Err(found);
    }
    let kernel = CpuKernel {
        program: program.clone(),
        bindings: bindings.to_vec(),
        codes: program.graphs.iter().map(|_| Mutex::new(HashMap::new())).collect(),
    };
    for (at, graph) in program.graphs.iter().enumerate() {
        kernel.code(at, vec![true; graph.objects.len()])?;
    }
    Ok(kernel)
}

/// Most bytes of one tile.
const TILE_BYTES: u64 = 1 << 30;

fn check_size(graph: &Graph, binding: &TileBinding, found: &mut Vec<Diagnostic>) {
    for id in graph.node_ids() {
        for ty in &graph.node(id).outputs {
            let Some(shape) = binding.shape(graph, ty) else { continue };
            let bytes = shape.iter().try_fold(8u64, |n, &e| n.checked_mul(e.max(1)));
            if shape.len() > MAX_RANK {
                let message = format!("a tile of rank {} is not lowered yet by the CPU backend", shape.len());
                found.push(Diagnostic::error("T0701", graph.node(id).span, message));
                return;
            }
            if bytes.is_none_or(|b| b > TILE_BYTES) {
                let message = format!("a tile of {shape:?} elements is larger than the CPU backend allows");
                found.push(
                    Diagnostic::error("T0704", graph.node(id).span, message)
                        .help("choose smaller tile sizes, or loop over the axis with `tiles(..)`"),
                );
                return;
            }
        }
    }
}

impl CpuKernel {
    pub fn program(&self) -> &Program {
        &self.program
    }

    pub fn bindings(&self) -> &[TileBinding] {
        &self.bindings
    }

    /// Facts of each launch's code, of the class of unit strides.
    pub fn facts(&self) -> Vec<CodeFacts> {
        let of = |(at, g): (usize, &Graph)| {
            let codes = self.codes[at].lock().unwrap_or_else(PoisonError::into_inner);
            let code = codes.get(&vec![true; g.objects.len()])?;
            Some(CodeFacts { machine_code_bytes: code.size, arena_bytes: code.support.arena_bytes })
        };
        self.program.graphs.iter().enumerate().filter_map(of).collect()
    }

    fn code(&self, at: usize, unit: Vec<bool>) -> Outcome<Arc<Code>> {
        let mut codes = self.codes[at].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(code) = codes.get(&unit) {
            return Ok(code.clone());
        }
        let code = jit::compile(&self.program.graphs[at], &self.bindings[at], &unit).map_err(|d| vec![d])?;
        let code = Arc::new(code);
        codes.insert(unit, code.clone());
        Ok(code)
    }

    /// Checks the arguments and runs on `threads` threads; 0 means as many as the machine has.
    pub fn run(&self, arguments: &mut Arguments, threads: usize) -> Outcome<()> {
        let dims = tile_tensor::launch::bind(&self.program.signature, arguments)?;
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
            n => n,
        };
        let given = tile_host::whole(&self.program, arguments);
        let mut machine = OnThreads::new(self, arguments, threads)?;
        tile_host::run(&self.program, &given, &dims, &mut machine)
    }
}

/// One run: launches go to the threads, one after the other.
struct OnThreads<'a> {
    kernel: &'a CpuKernel,
    threads: usize,
    params: Vec<Option<View>>,
    temps: Vec<Option<Tensor>>,
}

impl<'a> OnThreads<'a> {
    fn new(kernel: &'a CpuKernel, arguments: &mut Arguments, threads: usize) -> Outcome<Self> {
        let signature = &kernel.program.signature;
        let mut params = vec![];
        for (param, argument) in signature.params.iter().zip(arguments.iter_mut()) {
            params.push(match (param, argument) {
                (ParamKind::Tensor(p), Argument::Tensor(t)) => {
                    if t.rank() > MAX_RANK {
                        let message =
                            format!("`{}` has rank {}, the CPU backend takes {MAX_RANK}", p.name, t.rank());
                        return Err(vec![Diagnostic::global("T0701", message)]);
                    }
                    Some(View::of(t, p.mode.writes()))
                }
                _ => None,
            });
        }
        Ok(OnThreads { kernel, threads, params, temps: kernel.program.temps.iter().map(|_| None).collect() })
    }

    fn view(&mut self, region: &Region) -> Option<View> {
        let whole = match region.buffer {
            Buffer::Param(at) => self.params[at].clone()?,
            Buffer::Temp(at) => View::of(self.temps[at].as_mut()?, true),
        };
        Some(whole.part(region))
    }
}

impl Machine for OnThreads<'_> {
    fn tile(&self, name: &str) -> Outcome<Option<i64>> {
        let mut all = self.kernel.program.graphs.iter().zip(&self.kernel.bindings);
        Ok(all.find_map(|(g, b)| b.get(g.tile_named(name)?)).map(|size| size as i64))
    }

    fn temporary(&mut self, at: usize, shape: &[usize]) -> Outcome<()> {
        let temp = &self.kernel.program.temps[at];
        let mut found = vec![];
        let count = tile_tensor::element_count(shape).unwrap_or(usize::MAX) as u64;
        tile_tensor::launch::check_memory(count.saturating_mul(temp.dtype.bits() as u64 / 8 + 1), &mut found);
        if !found.is_empty() {
            return Err(found);
        }
        let tensor = Tensor::try_zeros(temp.dtype, shape).map_err(|e| {
            let message = format!("the temporary `{}` cannot be made: {e}", temp.name);
            vec![Diagnostic::global("T0706", message).help("use smaller dimensions")]
        })?;
        self.temps[at] = Some(tensor);
        Ok(())
    }

    fn launch(&mut self, launch: tile_host::Launch) -> Outcome<()> {
        let kernel = self.kernel;
        let graph = &kernel.program.graphs[launch.graph];
        let mut objects = vec![];
        let mut unit = vec![];
        let mut sums = vec![];
        for (n, object) in graph.objects.iter().enumerate() {
            let Some(view) = launch.region(object.param).and_then(|region| self.view(region)) else {
                objects.push(absent(object.dtype));
                unit.push(true);
                continue;
            };
            unit.push(view.unit());
            let mut record = view.record();
            let dim = |name: &str| {
                let at = graph.signature.dims.iter().position(|d| d == name)?;
                launch.dims.get(at).copied()
            };
            if let Some((least, greatest)) = object.index.as_ref().and_then(|k| limits(k, &dim)) {
                (record.least, record.greatest) = (least, greatest);
            }
            if object.mode == Mode::Sum {
                // SAFETY: the record's elements are the view's.
                unsafe { zero(&record) };
                sums.push(n);
            }
            objects.push(record);
        }
        let code = kernel.code(launch.graph, unit)?;
        let scalars = graph.signature.params.iter().zip(&launch.given).map(|(p, g)| match (p, g) {
            (ParamKind::Scalar(p), Given::Scalar(s)) => scalar_word(*s, p.dtype),
            _ => 0,
        });
        let labels = diagnose::labels(&code.support.sites);
        let (dims, scalars) = (launch.dims.clone(), scalars.collect());
        let launch = Launch { code: &code, objects, sums, dims, scalars, labels: &labels };
        launch.run(self.threads).map_err(|failure| {
            vec![match failure {
                Failure::Fault(fault) => diagnose::fault(graph, &code.support.sites, &fault),
                Failure::Memory(bytes) => diagnose::no_memory(graph, bytes),
            }]
        })
    }
}

/// A scalar parameter as compiled code reads it.
fn scalar_word(s: Scalar, dtype: DType) -> u64 {
    match dtype {
        DType::F64 => s.to_f64().to_bits(),
        d if d.is_float() => (tile_tensor::convert::round_to(d, s.to_f64()) as f32).to_bits() as u64,
        _ => s.to_i64() as u64,
    }
}

/// Sets every element to 0.
unsafe fn zero(object: &ObjectRecord) {
    let bits = object.dtype.bits() as i64;
    if object.dims.iter().any(|&d| d <= 0) {
        return;
    }
    // What lies side by side is one run: the axes from `first` on are dense.
    let (mut first, mut run) = (MAX_RANK, 1);
    while bits >= 8 && first > 0 && (object.strides[first - 1] == run || object.dims[first - 1] == 1) {
        first -= 1;
        run *= object.dims[first];
    }
    let mut at = [0i64; MAX_RANK];
    loop {
        let position = object.offset + (0..first).map(|d| at[d] * object.strides[d]).sum::<i64>();
        // SAFETY: the positions of a run of elements.
        unsafe {
            match bits {
                8.. => {
                    let bytes = bits / 8;
                    let start = object.ptr.offset((position * bytes) as isize);
                    std::ptr::write_bytes(start, 0, (run * bytes) as usize);
                }
                _ => {
                    let bit = position * bits;
                    let byte = object.ptr.offset((bit / 8) as isize);
                    *byte &= !((((1u16 << bits) - 1) as u8) << (bit % 8));
                }
            }
        }
        let mut d = first;
        loop {
            if d == 0 {
                return;
            }
            d -= 1;
            at[d] += 1;
            if at[d] < object.dims[d] {
                break;
            }
            at[d] = 0;
        }
    }
}
