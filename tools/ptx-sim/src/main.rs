//! `ptx-sim run K.ptx --entry NAME --grid X,Y,Z --block X,Y,Z [--cluster X,Y,Z] --arg SPEC…`
//!
//! Exit status: 0 clean, 1 refuted (the finding is printed), 2 usage or unreadable input.

mod args;
mod report;

use args::Arguments;
use clap::{Parser, Subcommand};
use ptx_sim::{FaultKind, Geometry, decode, memory::Memory, profile::Profile, read, time};
use report::{Report, counted::Counted};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "ptx-sim", version, about = "Runs PTX on the CPU and finds what a GPU would hide")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run one kernel.
    Run(Run),
}

#[derive(clap::Args)]
struct Run {
    /// PTX text.
    file: String,
    #[arg(long)]
    entry: String,
    /// CTAs in x, y, z.
    #[arg(long, default_value = "1", value_parser = triple)]
    grid: [u32; 3],
    /// Threads in x, y, z.
    #[arg(long, value_parser = triple)]
    block: [u32; 3],
    /// CTAs of a cluster in x, y, z; by default what the kernel requires.
    #[arg(long, value_parser = triple)]
    cluster: Option<[u32; 3]>,
    /// Dynamic shared memory in bytes.
    #[arg(long, default_value_t = 0)]
    shared: usize,
    /// Instructions a warp may execute before the run is given up.
    #[arg(long, default_value_t = 1 << 32)]
    steps: u64,
    /// Look for races and undefined values too.
    #[arg(long)]
    check: bool,
    /// Count instructions, bytes, sectors, bank conflicts and waits, and predict the time.
    #[arg(long)]
    count: bool,
    /// Predict the time from a few CTAs: run no others, leave out the values of tensor products, write no results.
    #[arg(long, conflicts_with = "check")]
    sample: bool,
    /// The device that --count and --sample predict the time for.
    #[arg(long, default_value = "sm_90")]
    target: String,
    /// When asynchronous effects come: 0 as late as possible, 1 at once, others at random.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Begin the clusters in an order made from this seed, instead of that of their numbers.
    #[arg(long, value_name = "SEED")]
    cta_order: Option<u64>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// A buffer that is no argument itself: NAME=SPEC with in:, out: or inout:.
    #[arg(long = "buffer", value_name = "NAME=SPEC")]
    buffers: Vec<String>,
    /// Arguments in parameter order: in:FILE.npy, out:DTYPE:N:FILE.npy, inout:FROM.npy:TO.npy, i32:V (and u8 … f64),
    /// ptr:BUFFER+OFFSET, null, bytes:HEX, tmap:BUFFER:DTYPE:dims:strides:box:elemstrides:swizzle:fill.
    #[arg(long = "arg", value_name = "SPEC", allow_hyphen_values = true)]
    args: Vec<String>,
}

fn triple(text: &str) -> Result<[u32; 3], String> {
    let mut out = [1; 3];
    let parts: Vec<&str> = text.split(',').collect();
    if parts.len() > 3 {
        return Err("at most three numbers".into());
    }
    for (slot, part) in out.iter_mut().zip(parts) {
        *slot = part.trim().parse().map_err(|_| format!("`{part}` is not a number"))?;
    }
    Ok(out)
}

/// What was found; or what keeps the kernel from running.
fn run(run: &Run) -> Result<Report, String> {
    let text = std::fs::read_to_string(&run.file).map_err(|e| format!("{}: {e}", run.file))?;
    let unreadable = |e: read::ReadError| format!("{}: {e}", run.file);
    let target = tile_target::find(&run.target).ok_or_else(|| format!("unknown target `{}`", run.target))?;
    let module = read::parse(&text).map_err(unreadable)?;
    let kernel = decode::kernel(&module, &run.entry).map_err(unreadable)?;
    let mut memory = Memory::new();
    let arguments = Arguments::place(&run.buffers, &run.args, &mut memory)?;
    let params = arguments.parameters(&kernel)?;
    let required = kernel.limits.required_cluster.map(|n| n.max(1));
    let geometry = Geometry {
        grid: run.grid,
        block: run.block,
        cluster: run.cluster.unwrap_or(required),
        dynamic_shared: run.shared,
        step_limit: run.steps,
        check: run.check,
        count: run.count || run.sample,
        sample: None,
        seed: run.seed,
        cta_order: run.cta_order,
    };
    let sample = geometry.count.then(|| time::sample(&kernel, &geometry, target, run.sample));
    let geometry = Geometry { sample, ..geometry };
    let summary = match ptx_sim::run(&kernel, &mut memory, &geometry, &params) {
        Ok(summary) => summary,
        Err(fault) if fault.kind == FaultKind::Launch => return Err(fault.message),
        Err(fault) => return Ok(Report::cut_short(fault)),
    };
    let counted = summary.counters.as_ref().map(|c| Counted {
        profile: Profile::new(&kernel, c, summary.ctas),
        time: time::predict(&kernel, &geometry, c, &memory, target),
        target,
    });
    let report = Report::complete(summary, counted);
    if report.clean() && !run.sample {
        arguments.write_back(&memory)?;
    }
    Ok(report)
}

fn main() -> ExitCode {
    let Command::Run(command) = Cli::parse().command;
    match run(&command) {
        Ok(report) => {
            if command.json {
                println!("{}", report.json());
            } else {
                println!("{}", report.text());
            }
            if report.clean() { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(message) => {
            eprintln!("ptx-sim: {message}");
            ExitCode::from(2)
        }
    }
}
