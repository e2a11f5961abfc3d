//! What is measured: kernels of the library at the shapes that the literature uses, others at their first test case.
//!
//! Work is counted by the formula of the kernel's maths, not by what a backend executes: a causal attention counts
//! half of the full one, as FlashAttention's own benchmarks do.

use crate::{
    Loaded, Session,
    choose::{self, Case, Given},
    compile::{self, Compiled},
    gpu, run,
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use tile_base::{DType, Diagnostic};
use tile_tensor::{Argument, Scalar};

/// One shape of one kernel.
struct Shape {
    kernel: &'static str,
    consts: &'static [(&'static str, &'static str)],
    dims: &'static [(&'static str, i64)],
    /// Floating-point operations; not for elementwise and row-wise kernels, whose time is the memory's.
    work: Option<fn(&dyn Fn(&str) -> f64) -> f64>,
}

const ATTENTION: &[(&str, i64)] = &[("B", 1), ("M", 1024), ("N", 1024), ("HQ", 8), ("HK", 8), ("D", 64)];
const SQUARE: &[(&str, i64)] = &[("M", 1024), ("N", 1024), ("K", 1024)];
const ROWS: &[(&str, i64)] = &[("M", 4096), ("N", 1024)];

fn attention(n: &dyn Fn(&str) -> f64) -> f64 {
    4.0 * n("B") * n("HQ") * n("M") * n("N") * n("D")
}

fn causal(n: &dyn Fn(&str) -> f64) -> f64 {
    attention(n) / 2.0
}

fn product(n: &dyn Fn(&str) -> f64) -> f64 {
    2.0 * n("M") * n("N") * n("K")
}

const SHAPES: &[Shape] = &[
    Shape { kernel: "matmul", consts: &[], dims: SQUARE, work: Some(product) },
    Shape { kernel: "flash_fwd", consts: &[("CAUSAL", "false")], dims: ATTENTION, work: Some(attention) },
    Shape { kernel: "flash_fwd", consts: &[("CAUSAL", "true")], dims: ATTENTION, work: Some(causal) },
    Shape { kernel: "softmax_fwd", consts: &[], dims: ROWS, work: None },
    Shape { kernel: "rmsnorm", consts: &[], dims: ROWS, work: None },
    Shape { kernel: "layernorm", consts: &[], dims: ROWS, work: None },
    Shape { kernel: "add", consts: &[], dims: ROWS, work: None },
    Shape { kernel: "silu_mul", consts: &[], dims: ROWS, work: None },
    Shape { kernel: "gelu_fwd", consts: &[], dims: ROWS, work: None },
    Shape { kernel: "row_sum", consts: &[], dims: ROWS, work: None },
    Shape { kernel: "row_argmax", consts: &[], dims: ROWS, work: None },
    Shape { kernel: "row_logsumexp", consts: &[], dims: ROWS, work: None },
];

/// What kernels are measured on.
pub enum On {
    /// With so many threads; 0 means all.
    Cpu(usize),
    /// By the device's own clock.
    Cuda(gpu::Cuda),
}

/// Seconds of a compilation to machine code, and of each repetition.
type Samples = (f64, Vec<f64>);

impl On {
    fn threads(&self) -> usize {
        match self {
            On::Cpu(0) => std::thread::available_parallelism().map_or(1, usize::from),
            On::Cpu(n) => *n,
            On::Cuda(_) => 0,
        }
    }

    fn samples(
        &self,
        session: &mut Session,
        loaded: &Loaded,
        compiled: &mut Compiled,
        launch: &mut run::Launch,
    ) -> Result<Samples, Vec<Diagnostic>> {
        let start = Instant::now();
        match self {
            On::Cpu(threads) => {
                compiled.cpu_for(&launch.dims)?;
                let compiling = start.elapsed().as_secs_f64();
                run::execute_cpu(compiled, launch, *threads)?;
                let start = Instant::now();
                let mut samples = vec![];
                while samples.len() < 5 || start.elapsed() < Duration::from_millis(600) && samples.len() < 200
                {
                    samples.push(run::execute_cpu(compiled, launch, *threads)?);
                    if start.elapsed() > Duration::from_secs(20) {
                        break;
                    }
                }
                Ok((compiling, samples))
            }
            On::Cuda(cuda) => {
                const REPETITIONS: usize = 30;
                let mut seconds = run::execute_cuda(session, loaded, compiled, cuda, launch, REPETITIONS)?;
                // The first one warms up. All that is not a launch is compiling, copying included.
                let launches: f64 = seconds.iter().sum();
                seconds.remove(0);
                Ok(((start.elapsed().as_secs_f64() - launches).max(0.0), seconds))
            }
        }
    }
}

/// A measured case.
#[derive(Clone, Debug)]
pub struct Measured {
    pub kernel: String,
    /// Consts and dimensions as `N = V`.
    pub case: String,
    pub dtype: String,
    /// 0 on a GPU.
    pub threads: usize,
    /// Source in memory to machine code.
    pub compile_ms: f64,
    /// Median of the repetitions.
    pub ms: f64,
    pub repetitions: usize,
    /// `None` where the work is not known.
    pub gflops: Option<f64>,
    /// Of all tensors, each once.
    pub gbytes_per_s: f64,
}

/// Measures the kernels of a file. `only` and `given` come from the command line; with a dimension given,
/// the table of shapes is not used.
pub fn file(
    session: &mut Session,
    loaded: &Loaded,
    only: Option<&str>,
    given: &Given,
    on: &On,
) -> Result<Vec<Measured>, Vec<Diagnostic>> {
    let names: Vec<String> = match only {
        Some(name) => vec![name.to_string()],
        None => choose::callables(loaded.ast()).map(|c| c.name.name.clone()).collect(),
    };
    let mut out = vec![];
    for name in names {
        let own: Vec<&Shape> = match given.dims.is_empty() {
            true => SHAPES.iter().filter(|s| s.kernel == name).collect(),
            false => vec![],
        };
        let picked = compile::pick(session, loaded, Some(&name))?;
        let dtypes = dtypes(picked.callable(loaded), given);
        for &dtype in &dtypes {
            match own.is_empty() {
                true => out.push(measure(session, loaded, &picked, given, None, dtype, on)?),
                false => {
                    for shape in &own {
                        out.push(measure(session, loaded, &picked, given, Some(shape), dtype, on)?);
                    }
                }
            }
        }
    }
    Ok(out)
}

/// f32, f16 and bf16 where the kernel has a dtype parameter that allows them and nothing was given for it.
fn dtypes<'a>(callable: choose::Callable<'a>, given: &Given) -> Vec<Option<(&'a str, DType)>> {
    for g in callable.generics {
        if let tile_syntax::ast::Generic::Dtype { name, choices, .. } = g
            && !given.consts.contains_key(&name.name)
        {
            let allowed = |d: DType| choices.is_empty() || choices.iter().any(|c| c.name == d.name());
            let mut list: Vec<_> = [DType::F32, DType::F16, DType::Bf16]
                .into_iter()
                .filter(|&d| allowed(d))
                .map(|d| Some((name.name.as_str(), d)))
                .collect();
            if list.is_empty() {
                list.push(None);
            }
            return list;
        }
    }
    vec![None]
}

fn measure(
    session: &mut Session,
    loaded: &Loaded,
    picked: &compile::Picked,
    given: &Given,
    shape: Option<&Shape>,
    dtype: Option<(&str, DType)>,
    on: &On,
) -> Result<Measured, Vec<Diagnostic>> {
    let mut mine = Given { consts: given.consts.clone(), dims: given.dims.clone(), ..Given::default() };
    mine.optionals_as_given = true;
    for (name, value) in shape.map_or(&[][..], |s| s.consts) {
        mine.consts.entry(name.to_string()).or_insert_with(|| value.to_string());
    }
    for (name, value) in shape.map_or(&[][..], |s| s.dims) {
        mine.dims.entry(name.to_string()).or_insert(*value);
    }
    if let Some((name, d)) = dtype {
        mine.consts.entry(name.to_string()).or_insert_with(|| d.name().to_string());
    }
    let case: Option<Case> = compile::first_case(loaded, picked);
    let choice = choose::choose(picked.callable(loaded), &mine, case.as_ref())?;
    let start = Instant::now();
    let mut compiled = compile::compile(session, loaded, picked, &choice.instance)?;
    let mut compile_ms = start.elapsed().as_secs_f64() * 1e3;
    let signature = compiled.program.signature.clone();
    // Scalars of the first case may follow its own dimensions; any value takes the same time.
    for s in signature.scalars() {
        let value = if s.dtype.is_float() { Scalar::Float(0.125) } else { Scalar::Int(1) };
        mine.arguments.insert(s.name.clone(), Argument::Scalar(value));
    }
    let mut launch = run::prepare(&signature, &mut mine, case.as_ref(), Some(1))?;
    let (compiling, mut samples) = on.samples(session, loaded, &mut compiled, &mut launch)?;
    compile_ms += compiling * 1e3;
    samples.sort_by(f64::total_cmp);
    let seconds = samples[samples.len() / 2];
    let mut values: BTreeMap<String, f64> =
        signature.dims.iter().cloned().zip(launch.dims.iter().map(|&v| v as f64)).collect();
    for (name, text) in &signature.consts {
        if let Ok(v) = text.parse() {
            values.insert(name.clone(), v);
        }
    }
    let work = shape.and_then(|s| s.work).map(|f| f(&|n| values.get(n).copied().unwrap_or(f64::NAN)));
    let bytes: usize = launch
        .arguments
        .iter()
        .filter_map(Argument::tensor)
        .filter_map(|t| tile_tensor::bytes_of(t.dtype, t.len()))
        .sum();
    let dims = signature.dims.iter().zip(&launch.dims).map(|(n, v)| format!("{n}={v}"));
    let consts = signature
        .consts
        .iter()
        .filter(|(_, v)| DType::from_name(v).is_none())
        .map(|(n, v)| format!("{n}={v}"));
    Ok(Measured {
        kernel: picked.name.clone(),
        case: dims.chain(consts).collect::<Vec<_>>().join(" "),
        dtype: dtype.map_or_else(
            || signature.tensors().next().map_or("-", |p| p.dtype.name()).to_string(),
            |(_, d)| d.name().to_string(),
        ),
        threads: on.threads(),
        compile_ms,
        ms: seconds * 1e3,
        repetitions: samples.len(),
        gflops: work.map(|w| w / seconds / 1e9),
        gbytes_per_s: bytes as f64 / seconds / 1e9,
    })
}
