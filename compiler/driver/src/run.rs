//! A run on this machine: arguments in order, dimensions bound, outputs made, the device called.

use crate::{
    Loaded, Session,
    choose::{Case, Given},
    compile::{self, Compiled},
    gpu, packed,
};
use std::{collections::BTreeMap, time::Instant};
use tile_base::{
    DType, Diagnostic, Mode, Signature,
    diagnostic::any_error,
    signature::{ParamKind, ScalarParam, TensorParam},
};
use tile_graph::{Claim, Obligation, Status};
use tile_target::Target;
use tile_tensor::{Argument, Arguments, Scalar, Tensor, launch, random::Random};

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Device {
    Cpu,
    /// The f64 evaluator, rounding as the kernel says.
    Oracle,
    /// The PTX for a target, on the simulator, in check mode.
    Sim(&'static Target),
    /// NVIDIA's driver; devices count from 0.
    Cuda(u32),
}

impl Device {
    pub fn name(self) -> &'static str {
        match self {
            Device::Cpu => "cpu",
            Device::Oracle => "oracle",
            Device::Sim(_) => "sim",
            Device::Cuda(_) => "cuda",
        }
    }
}

/// Arguments that are complete, and how they came about.
#[derive(Debug)]
pub struct Launch {
    pub arguments: Arguments,
    /// In the signature's order.
    pub dims: Vec<i64>,
    /// Parameters that were filled with random data.
    pub random: Vec<String>,
}

/// Puts what a person gave in order, fills what `random` may fill, and makes the outputs. What the first case of the test
/// block decides (`M = 64`) is added to `taken`, also where the launch is refused in the end.
pub fn prepare(
    signature: &Signature,
    given: &mut Given,
    case: Option<&Case>,
    random: Option<u64>,
    taken: &mut Vec<(String, String)>,
) -> Result<Launch, Vec<Diagnostic>> {
    let mut named = std::mem::take(&mut given.arguments);
    packed::unpack(signature, &mut named, &given.dims)?;
    let mut arguments = Arguments::by_name(signature, named)?;
    let mut launch = Filler { signature, given, case, taken, random: vec![] };
    if let Some(seed) = random {
        launch.fill(&mut arguments, seed)?;
    }
    let random = launch.random;
    let mut dims_given = given.dims.clone();
    for (name, value) in taken.iter() {
        if let Ok(v) = value.parse() {
            dims_given.entry(name.clone()).or_insert(v);
        }
    }
    let dims = launch::allocate_outputs(signature, &mut arguments, &dims_given)?;
    for (at, p) in signature.params.iter().enumerate() {
        if let (ParamKind::Tensor(p), Argument::Tensor(t)) = (p, &mut arguments[at]) {
            narrow_index(p, t);
        }
    }
    Ok(Launch { arguments, dims, random })
}

/// Index tensors may come as i64; their contents are checked by now, so the stored width is a matter of the backend.
fn narrow_index(p: &TensorParam, t: &mut Tensor) {
    if p.index.is_some() && t.dtype != p.dtype {
        *t = t.to_dtype(p.dtype);
    }
}

struct Filler<'a> {
    signature: &'a Signature,
    given: &'a Given,
    case: Option<&'a Case>,
    taken: &'a mut Vec<(String, String)>,
    random: Vec<String>,
}

impl Filler<'_> {
    fn fill(&mut self, arguments: &mut Arguments, seed: u64) -> Result<(), Vec<Diagnostic>> {
        let mut dims = launch::known_dims(self.signature, arguments, &self.given.dims)?;
        for name in &self.signature.dims {
            if dims.contains_key(name) {
                continue;
            }
            let Some(&v) = self.case.and_then(|c| c.dims.get(name)) else {
                let message = format!("nothing shows the dimension `{name}` of the random inputs");
                return Err(vec![
                    Diagnostic::global("T0816", message).help(format!("give `--dim {name}=VALUE`")),
                ]);
            };
            self.taken.push((name.clone(), v.to_string()));
            dims.insert(name.clone(), v);
        }
        self.check_memory(arguments, &dims)?;
        let mut found = vec![];
        for (at, param) in self.signature.params.iter().enumerate() {
            if !matches!(arguments[at], Argument::Absent) {
                continue;
            }
            match param {
                ParamKind::Tensor(p) if p.present && p.mode.reads() => match self.tensor(p, &dims, seed) {
                    Ok(t) => {
                        self.random.push(p.name.clone());
                        arguments[at] = Argument::Tensor(t);
                    }
                    Err(more) => found.extend(more),
                },
                ParamKind::Scalar(p) => arguments[at] = Argument::Scalar(self.scalar(p, seed)),
                ParamKind::Tensor(_) => {}
            }
        }
        if any_error(&found) { Err(found) } else { Ok(()) }
    }

    /// Room for everything that is still to be made, outputs included, before the first element is drawn.
    fn check_memory(
        &self,
        arguments: &Arguments,
        dims: &BTreeMap<String, i64>,
    ) -> Result<(), Vec<Diagnostic>> {
        let mut bytes = 0u64;
        for (at, param) in self.signature.params.iter().enumerate() {
            let ParamKind::Tensor(p) = param else { continue };
            if p.present && matches!(arguments[at], Argument::Absent) {
                let shape = launch::shape_of(self.signature, p, dims)?;
                let count = tile_tensor::element_count(&shape);
                let more = count.and_then(|n| tile_tensor::bytes_of(p.dtype, n)).unwrap_or(usize::MAX);
                bytes = bytes.saturating_add(more as u64);
            }
        }
        let mut found = vec![];
        launch::check_memory(bytes, &mut found);
        if any_error(&found) { Err(found) } else { Ok(()) }
    }

    fn tensor(
        &self,
        p: &TensorParam,
        dims: &BTreeMap<String, i64>,
        seed: u64,
    ) -> Result<Tensor, Vec<Diagnostic>> {
        let shape = launch::shape_of(self.signature, p, dims)?;
        let mut random = Random::stream(seed, &p.name);
        let made = match &p.index {
            None => tile_tensor::random::fill(p.dtype, &shape, &mut random),
            Some(kind) => {
                let limit = index_bound(kind).eval(&|n| dims.get(n).copied()).unwrap_or(0);
                match p.distinct {
                    true => tile_tensor::random::fill_distinct(p.dtype, limit, &shape, &mut random),
                    false => tile_tensor::random::fill_index(p.dtype, kind, limit, &shape, &mut random),
                }
            }
        };
        made.map_err(|e| {
            vec![Diagnostic::global("T0828", format!("`{}`: {e}", p.name)).help("use smaller dimensions")]
        })
    }

    /// From the first case if it has one; else in 0..1 for floats, 1 for integers, true for a bool.
    fn scalar(&mut self, p: &ScalarParam, seed: u64) -> Scalar {
        if let Some(s) = self.case.and_then(|c| c.scalars.get(&p.name)) {
            let text = match s {
                Scalar::Int(v) => v.to_string(),
                Scalar::Float(v) => v.to_string(),
                Scalar::Bool(v) => v.to_string(),
            };
            self.taken.push((p.name.clone(), text));
            return *s;
        }
        self.random.push(p.name.clone());
        match p.dtype {
            DType::Bool => Scalar::Bool(true),
            d if d.is_int() => Scalar::Int(1),
            _ => Scalar::Float(Random::stream(seed, &p.name).uniform()),
        }
    }
}

fn index_bound(kind: &tile_base::IndexKind) -> &tile_base::Size {
    use tile_base::IndexKind::*;
    match kind {
        Id(n) | IdOrNone(n) | Count(n) | Offsets(n) => n,
    }
}

/// Runs on a device; seconds that it took, apart from compiling. What a device has to say that is no error goes into
/// the notes of `compiled`.
pub fn execute(
    session: &mut Session,
    loaded: &Loaded,
    compiled: &mut Compiled,
    device: Device,
    launch: &mut Launch,
    threads: usize,
) -> Result<f64, Vec<Diagnostic>> {
    match device {
        Device::Oracle => {
            let start = Instant::now();
            compile::run_oracle(&compiled.program, &mut launch.arguments)?;
            Ok(start.elapsed().as_secs_f64())
        }
        Device::Cpu => {
            session.timer.time("jit", || compiled.cpu_for(&launch.dims).map(drop))?;
            execute_cpu(compiled, launch, threads)
        }
        Device::Sim(target) => {
            let program = device_program(session, loaded, compiled, target, launch)?;
            refuse_outside(compiled, launch, threads)?;
            let start = Instant::now();
            let done = gpu::simulate(
                &program.ptx(),
                &program.sequence,
                &mut launch.arguments,
                &session.sources,
                gpu::Purpose::Check,
            )?;
            compiled.notes.extend(done.notes);
            Ok(start.elapsed().as_secs_f64())
        }
        Device::Cuda(ordinal) => {
            let cuda = gpu::Cuda::open(ordinal)?;
            let seconds = execute_cuda(session, loaded, compiled, &cuda, launch, 0)?;
            Ok(seconds.iter().sum())
        }
    }
}

/// The simulator runs what a GPU runs, and that reads 0 outside of a tensor and stores nothing there: nothing that a check
/// could find. Where the program looks at bounds in place, code for the CPU therefore goes first, on a copy, and what it
/// refuses is refused.
fn refuse_outside(compiled: &mut Compiled, launch: &Launch, threads: usize) -> Result<(), Vec<Diagnostic>> {
    let looked_at = |c: &Claim| matches!(c, Claim::Bounds { .. } | Claim::Overflow);
    let in_place = |o: &Obligation| looked_at(&o.claim) && o.status == Status::InPlace;
    if !compiled.program.graphs.iter().any(|g| g.obligations.iter().any(in_place)) {
        return Ok(());
    }
    let mut copy = launch.arguments.clone();
    compiled.cpu_for(&launch.dims)?.run(&mut copy, threads)
}

/// Runs on a CUDA device, and `repetitions` times more; seconds of each run.
pub fn execute_cuda(
    session: &mut Session,
    loaded: &Loaded,
    compiled: &mut Compiled,
    cuda: &gpu::Cuda,
    launch: &mut Launch,
    repetitions: usize,
) -> Result<Vec<f64>, Vec<Diagnostic>> {
    let program = device_program(session, loaded, compiled, cuda.target, launch)?;
    cuda.run(&program, &mut launch.arguments, repetitions)
}

/// Predicts the launches for a GPU, from a few CTAs of them.
pub fn predict(
    session: &mut Session,
    loaded: &Loaded,
    compiled: &mut Compiled,
    target: &'static Target,
    launch: &Launch,
) -> Result<Vec<gpu::Prediction>, Vec<Diagnostic>> {
    let program = device_program(session, loaded, compiled, target, launch)?;
    gpu::predict(&program.ptx(), &program.sequence, &launch.arguments, &session.sources, target)
}

/// Runs on the CPU, which compiles what is not compiled yet; seconds.
pub fn execute_cpu(
    compiled: &mut Compiled,
    launch: &mut Launch,
    threads: usize,
) -> Result<f64, Vec<Diagnostic>> {
    let kernel = compiled.cpu_for(&launch.dims)?;
    let start = Instant::now();
    kernel.run(&mut launch.arguments, threads)?;
    Ok(start.elapsed().as_secs_f64())
}

/// Launches with PTX that suits the arguments.
pub(crate) fn device_program(
    session: &mut Session,
    loaded: &Loaded,
    compiled: &mut Compiled,
    target: &'static Target,
    launch: &Launch,
) -> Result<gpu::DeviceProgram, Vec<Diagnostic>> {
    let (sources, program) = (&session.sources, &compiled.program);
    let wanted = gpu::Wanted { loaded, sources, program, instance: "", target };
    let make = || gpu::Codes::default().of(wanted, &launch.arguments, &launch.dims);
    let made = session.timer.time("ptx", make)?;
    compiled.notes.extend(made.notes().cloned());
    Ok(made)
}

/// Names of the tensors that a kernel writes, in order.
pub fn outputs(signature: &Signature) -> impl Iterator<Item = &TensorParam> {
    signature.tensors().filter(|p| p.present && p.mode != Mode::In)
}
