//! The command line's grammar: the contract that other tools call.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::str::FromStr;

#[derive(Parser, Debug)]
#[command(name = "tilec", version, about = "Compiler for tile kernels: check, run on the CPU, build PTX")]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Report what is wrong with files
    Check(Check),
    /// Rewrite files in the canonical form
    Fmt(Fmt),
    /// Compile a kernel and print any stage of it
    Build(Build),
    /// Run a kernel on the CPU, on the oracle, on the simulator or on a GPU
    Run(Run),
    /// Run the `test` blocks of files or folders
    Test(Test),
    /// Measure kernels
    Bench(Bench),
    /// Draw the graph of a kernel
    Graph(Graph),
    /// Show the page of a diagnostic
    Explain { code: String },
    /// List the tools and libraries that were found
    Doctor {
        #[arg(long)]
        json: bool,
    },
    /// Build, run and measure FlashAttention (what `./x demo` shows)
    #[command(hide = true)]
    Demo(Demo),
}

impl Command {
    /// Whether one JSON object is wanted on standard output, whatever happens.
    pub fn is_json(&self) -> bool {
        match self {
            Command::Check(c) => c.json,
            Command::Run(c) => c.json,
            Command::Test(c) => c.json,
            Command::Bench(c) => c.json,
            Command::Doctor { json } => *json,
            Command::Fmt(_)
            | Command::Build(_)
            | Command::Graph(_)
            | Command::Explain { .. }
            | Command::Demo(_) => false,
        }
    }
}

#[derive(Args, Debug)]
pub struct Check {
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<String>,
    /// Diagnostics as JSON on standard output
    #[arg(long)]
    pub json: bool,
    /// Also list the claims of each kernel and how each is known
    #[arg(long)]
    pub claims: bool,
}

#[derive(Args, Debug)]
pub struct Fmt {
    /// Change nothing; exit with 1 when a file is not in canonical form
    #[arg(long)]
    pub check: bool,
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<String>,
}

/// Which instance of which kernel.
#[derive(Args, Debug, Default)]
pub struct Choose {
    /// The kernel or op; not needed when the file has one
    #[arg(long, value_name = "K")]
    pub kernel: Option<String>,
    /// A const, dtype or function parameter: CAUSAL=true, T=f16, epi=relu
    #[arg(long = "const", value_name = "N=V", value_parser = pair)]
    pub consts: Vec<(String, String)>,
    /// A dimension that no input shows, or a const that is a dimension: D=64
    #[arg(long = "dim", value_name = "N=V", value_parser = pair)]
    pub dims: Vec<(String, String)>,
}

#[derive(Args, Debug)]
pub struct Build {
    pub file: String,
    #[command(flatten)]
    pub choose: Choose,
    /// Architecture to compile for
    #[arg(long, default_value = "sm_90", value_name = "ARCH")]
    pub target: String,
    /// Stages to print
    #[arg(long, value_delimiter = ',', value_name = "STAGE", default_value = "ptx")]
    pub emit: Vec<Stage>,
    /// Write there instead of standard output (several stages: PATH.STAGE each)
    #[arg(short, long, value_name = "PATH")]
    pub output: Option<String>,
    /// Print the time of each stage on standard error
    #[arg(long)]
    pub time: bool,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    Ast,
    Typed,
    Graph,
    Plan,
    Mlir,
    Llvm,
    Ptx,
}

/// Where a kernel runs: `cpu`, `oracle`, `sim`, `cuda` or `cuda:N`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Device {
    Cpu,
    Oracle,
    Sim,
    Cuda(u32),
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Device, String> {
        match (text, text.strip_prefix("cuda:")) {
            ("cpu", _) => Ok(Device::Cpu),
            ("oracle", _) => Ok(Device::Oracle),
            ("sim", _) => Ok(Device::Sim),
            ("cuda", _) => Ok(Device::Cuda(0)),
            (_, Some(n)) => {
                n.parse().map(Device::Cuda).map_err(|_| format!("`{n}` is no number of a device"))
            }
            _ => Err("there are cpu, oracle, sim, cuda and cuda:N".into()),
        }
    }
}

/// Arguments of a launch.
#[derive(Args, Debug)]
pub struct Data {
    /// A scalar argument: scale=0.125
    #[arg(long = "arg", value_name = "N=V", value_parser = pair)]
    pub args: Vec<(String, String)>,
    /// A tensor argument: q=q.npy, q=weights.safetensors#q
    #[arg(long = "in", value_name = "NAME=FILE", value_parser = pair)]
    pub inputs: Vec<(String, String)>,
}

#[derive(Args, Debug)]
pub struct Run {
    pub file: String,
    #[command(flatten)]
    pub choose: Choose,
    /// cpu, oracle, sim (the PTX for `--target` on the simulator, in check mode), cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    pub device: Device,
    /// Architecture that the simulator runs code for
    #[arg(long, default_value = "sm_90", value_name = "ARCH")]
    pub target: String,
    #[command(flatten)]
    pub data: Data,
    /// Where to write an output: o=o.npy, o=out.safetensors#o
    #[arg(long = "out", value_name = "NAME=FILE", value_parser = pair)]
    pub outputs: Vec<(String, String)>,
    /// Make the inputs that are not given, the same ones for the same seed
    #[arg(long, value_name = "SEED")]
    pub random: Option<u64>,
    /// Threads of the CPU device; 0 means all
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub threads: usize,
    /// Print the time of each stage on standard error
    #[arg(long)]
    pub time: bool,
    #[arg(long)]
    pub json: bool,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Rung {
    Oracle,
    Cpu,
    Sim,
    Ptxas,
    Cuda,
}

#[derive(Args, Debug)]
pub struct Test {
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<String>,
    /// How far up the ladder to climb; without it as far as this machine allows
    #[arg(long, value_enum)]
    pub rung: Option<Rung>,
    /// cuda or cuda:N: climb up to `cuda`, on that device
    #[arg(long, value_parser = cuda_device)]
    pub device: Option<u32>,
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct Bench {
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<String>,
    /// cpu, cuda or cuda:N; sim predicts the times of `--target` instead of measuring
    #[arg(long, default_value = "cpu", value_parser = bench_device)]
    pub device: Device,
    /// Architecture that times are predicted for
    #[arg(long, default_value = "sm_90", value_name = "ARCH")]
    pub target: String,
    /// Measure the compiler instead: source to PTX for `--target`, by stage
    #[arg(long, conflicts_with_all = ["device", "threads"])]
    pub compile: bool,
    #[command(flatten)]
    pub choose: Choose,
    /// What is not given is random
    #[command(flatten)]
    pub data: Data,
    /// Threads; 0 means all
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub threads: usize,
    #[arg(long)]
    pub json: bool,
}

/// The number of a CUDA device.
fn cuda_device(text: &str) -> Result<u32, String> {
    match text.parse()? {
        Device::Cuda(ordinal) => Ok(ordinal),
        _ => Err("there are cuda and cuda:N; `--rung` says how far to climb".into()),
    }
}

/// A device whose times mean something.
fn bench_device(text: &str) -> Result<Device, String> {
    match text.parse()? {
        Device::Oracle => Err("the oracle's times mean nothing; there are cpu, sim, cuda and cuda:N".into()),
        device => Ok(device),
    }
}

#[derive(Args, Debug)]
pub struct Graph {
    pub file: String,
    #[command(flatten)]
    pub choose: Choose,
    #[command(flatten)]
    pub format: GraphFormat,
    /// Write there instead of standard output
    #[arg(short, long, value_name = "PATH")]
    pub output: Option<String>,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct GraphFormat {
    /// A picture
    #[arg(long)]
    pub svg: bool,
    /// Graphviz text
    #[arg(long)]
    pub dot: bool,
}

#[derive(Args, Debug)]
pub struct Demo {
    /// The FlashAttention kernel
    #[arg(default_value = "kernels-lib/attention/flash_fwd.tile")]
    pub file: String,
}

/// `NAME=VALUE`
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((name.into(), value.into())),
        _ => Err("write NAME=VALUE".into()),
    }
}
