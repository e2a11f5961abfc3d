//! What is measured: kernels of the library at the shapes that the literature uses, others at their first test case.
//!
//! Work is what the graph multiplies and adds in its dots with every `skip` taken element by element, not what a
//! backend executes: a causal attention counts half of the full one, as FlashAttention's own benchmarks do.

use crate::{
    Loaded, Session,
    choose::{self, Case, Given},
    compile::{self, Compiled},
    gpu, run,
};
use std::time::{Duration, Instant};
use tile_base::{DType, Diagnostic};
use tile_graph::{Program, TileBinding};
use tile_target::Target;
use tile_tensor::{Argument, Scalar};

/// One shape of one kernel.
struct Shape {
    kernel: &'static str,
    consts: &'static [(&'static str, &'static str)],
    dims: &'static [(&'static str, i64)],
}

const ATTENTION: &[(&str, i64)] = &[("B", 1), ("M", 1024), ("N", 1024), ("HQ", 8), ("HK", 8), ("D", 64)];
const SQUARE: &[(&str, i64)] = &[("M", 1024), ("N", 1024), ("K", 1024)];
const ROWS: &[(&str, i64)] = &[("M", 4096), ("N", 1024)];

const SHAPES: &[Shape] = &[
    Shape { kernel: "matmul", consts: &[], dims: SQUARE },
    Shape { kernel: "flash_fwd", consts: &[("CAUSAL", "false")], dims: ATTENTION },
    Shape { kernel: "flash_fwd", consts: &[("CAUSAL", "true")], dims: ATTENTION },
    Shape { kernel: "softmax_fwd", consts: &[], dims: ROWS },
    Shape { kernel: "rmsnorm", consts: &[], dims: ROWS },
    Shape { kernel: "layernorm", consts: &[], dims: ROWS },
    Shape { kernel: "add", consts: &[], dims: ROWS },
    Shape { kernel: "silu_mul", consts: &[], dims: ROWS },
    Shape { kernel: "gelu_fwd", consts: &[], dims: ROWS },
    Shape { kernel: "row_sum", consts: &[], dims: ROWS },
    Shape { kernel: "row_argmax", consts: &[], dims: ROWS },
    Shape { kernel: "row_logsumexp", consts: &[], dims: ROWS },
];

/// What kernels are measured on.
pub enum On {
    /// With so many threads; 0 means all.
    Cpu(usize),
    /// By the device's own clock.
    Cuda(gpu::Cuda),
    /// Not measured but predicted, by the simulator's model of a device.
    Sim(&'static Target),
}

/// Seconds of a compilation to machine code, and of each repetition.
struct Samples {
    compiling: f64,
    seconds: Vec<f64>,
    /// For predictions: what bounds the longest launch, and whether all launches are of checked families.
    predicted: Option<Predicted>,
}

impl Samples {
    fn measured(compiling: f64, seconds: Vec<f64>) -> Samples {
        Samples { compiling, seconds, predicted: None }
    }
}

/// What there is to say about a time that was not measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Predicted {
    /// The resource that bounds the longest launch.
    pub bound: &'static str,
    /// Kernels of this kind were compared with measurements.
    pub checked: bool,
}

impl On {
    fn threads(&self) -> usize {
        match self {
            On::Cpu(0) => std::thread::available_parallelism().map_or(1, usize::from),
            On::Cpu(n) => *n,
            On::Cuda(_) | On::Sim(_) => 0,
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
                Ok(Samples::measured(compiling, samples))
            }
            On::Cuda(cuda) => {
                const REPETITIONS: usize = 30;
                let mut seconds = run::execute_cuda(session, loaded, compiled, cuda, launch, REPETITIONS)?;
                // The first one warms up. All that is not a launch is compiling, copying included.
                let launches: f64 = seconds.iter().sum();
                seconds.remove(0);
                Ok(Samples::measured((start.elapsed().as_secs_f64() - launches).max(0.0), seconds))
            }
            On::Sim(target) => {
                let times = run::predict(session, loaded, compiled, target, launch)?;
                let longest = times.iter().max_by(|a, b| a.seconds.total_cmp(&b.seconds));
                let checked = times.iter().all(|t| t.checked.is_some());
                Ok(Samples {
                    compiling: 0.0,
                    seconds: vec![times.iter().map(|t| t.seconds).sum()],
                    predicted: longest.map(|t| Predicted { bound: t.bound, checked }),
                })
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
    /// `None` for what was measured.
    pub predicted: Option<Predicted>,
    /// `None` for kernels without dots, whose time is the memory's, and for several launches.
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
        None => choose::measured(&loaded.module).collect(),
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
    let mut mine = given.clone();
    mine.optionals_as_given = true;
    // What nobody asks for is not computed: of a gradient everything is asked for.
    if let Some((grad, _)) = loaded.module.grad(&picked.name) {
        mine.outputs.extend(grad.results.iter().map(|r| r.name.name.clone()));
    }
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
    let choice = choose::choose(&loaded.module, picked.callable(loaded), &mine, case.as_ref())?;
    let start = Instant::now();
    let mut compiled = compile::compile(session, loaded, picked, &choice.instance)?;
    let mut compile_ms = start.elapsed().as_secs_f64() * 1e3;
    let signature = compiled.program.signature.clone();
    // Scalars of the first case may follow its own dimensions; any value takes the same time.
    for s in signature.scalars() {
        let value = if s.dtype.is_float() { Scalar::Float(0.125) } else { Scalar::Int(1) };
        mine.arguments.entry(s.name.clone()).or_insert(Argument::Scalar(value));
    }
    let mut launch = run::prepare(&signature, &mut mine, case.as_ref(), Some(1), &mut vec![])?;
    let Samples { compiling, seconds: mut samples, predicted } =
        on.samples(session, loaded, &mut compiled, &mut launch)?;
    compile_ms += compiling * 1e3;
    samples.sort_by(f64::total_cmp);
    let seconds = samples[samples.len() / 2];
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
        predicted,
        gflops: work(&compiled.program, &launch.dims).map(|w| w / seconds / 1e9),
        gbytes_per_s: bytes as f64 / seconds / 1e9,
    })
}

/// Multiplications and additions of the dots, two for each product.
fn work(program: &Program, dims: &[i64]) -> Option<f64> {
    let [graph] = &program.graphs[..] else { return None };
    let flops = tile_graph::count(graph, dims, &TileBinding::uniform(graph, 1)).dot_flops;
    (flops > 0.0).then_some(flops)
}
