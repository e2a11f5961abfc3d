//! `ptx-sim run K.ptx --entry NAME --grid X,Y,Z --block X,Y,Z [--cluster X,Y,Z] --arg SPEC… [--then K.ptx …]`
//!
//! Behind `--then` stands another launch, with options of its own; it shares memory with those before it.
//!
//! Exit status: 0 clean, 1 refuted (the finding is printed), 2 usage or unreadable input.

mod args;
mod report;

use args::Arguments;
use clap::{Parser, Subcommand};
use ptx_sim::{FaultKind, Geometry, GridLog, decode, memory::Memory, profile::Profile, read, time};
use report::{Report, counted::Counted};
use serde_json::Value;
use std::{process::ExitCode, sync::Arc};

#[derive(Parser)]
#[command(name = "ptx-sim", version, about = "Runs PTX on the CPU and finds what a GPU would hide")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a kernel, or several in a row.
    #[command(
        after_help = "Behind `--then` stands another launch in the same way; it can name the buffers of those before."
    )]
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
    /// Of a launch behind --then: it may begin before the one ahead has ended (programmatic serialization).
    #[arg(long, requires = "check")]
    programmatic: bool,
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

/// What launches share.
#[derive(Default)]
struct Session {
    memory: Memory,
    arguments: Vec<Arguments>,
    /// What the launch ahead did.
    ahead: Option<Arc<GridLog>>,
}

/// Launches one after another, up to the first that is refuted; the results are written if none is.
fn run_all(launches: &[Run]) -> Result<Vec<Report>, String> {
    let mut session = Session { memory: Memory::new(), ..Session::default() };
    let mut reports = vec![];
    for (n, launch) in launches.iter().enumerate() {
        let keep = launches.get(n + 1).is_some_and(|next| next.programmatic);
        let report = run(launch, keep, &mut session)?;
        let clean = report.clean();
        reports.push(report);
        if !clean {
            return Ok(reports);
        }
    }
    for (launch, arguments) in launches.iter().zip(&session.arguments).filter(|(l, _)| !l.sample) {
        arguments.write_back(&session.memory).map_err(|e| format!("`{}`: {e}", launch.entry))?;
    }
    Ok(reports)
}

/// What was found; or what keeps the kernel from running. `keep`: the launch behind this one may begin early.
fn run(run: &Run, keep: bool, session: &mut Session) -> Result<Report, String> {
    let text = std::fs::read_to_string(&run.file).map_err(|e| format!("{}: {e}", run.file))?;
    let unreadable = |e: read::ReadError| format!("{}: {e}", run.file);
    let target = tile_target::find(&run.target).ok_or_else(|| format!("unknown target `{}`", run.target))?;
    let module = read::parse(&text).map_err(unreadable)?;
    let kernel = decode::kernel(&module, &run.entry).map_err(unreadable)?;
    let memory = &mut session.memory;
    let arguments = Arguments::place(&run.buffers, &run.args, memory, &session.arguments)?;
    let params = arguments.parameters(&kernel)?;
    session.arguments.push(arguments);
    let ahead = session.ahead.take();
    if run.programmatic && ahead.is_none() {
        return Err("--programmatic: no launch with --check stands ahead of it".into());
    }
    let required = kernel.limits.required_cluster.map(|n| n.max(1));
    let geometry = Geometry {
        grid: run.grid,
        block: run.block,
        cluster: run.cluster.unwrap_or(required),
        dynamic_shared: run.shared,
        step_limit: run.steps,
        check: run.check,
        after: ahead.filter(|_| run.programmatic).into_iter().collect(),
        keep,
        count: run.count || run.sample,
        sample: None,
        seed: run.seed,
        cta_order: run.cta_order,
    };
    let sample = geometry.count.then(|| time::sample(&kernel, &geometry, target, run.sample));
    let geometry = Geometry { sample, ..geometry };
    let summary = match ptx_sim::run(&kernel, memory, &geometry, &params) {
        Ok(summary) => summary,
        Err(fault) if fault.kind == FaultKind::Launch => return Err(fault.message),
        Err(fault) => return Ok(Report::cut_short(fault)),
    };
    let counted = summary.counters.as_ref().map(|c| Counted {
        profile: Profile::new(&kernel, c, summary.ctas),
        time: time::predict(&kernel, &geometry, c, memory, target),
        target,
    });
    session.ahead = summary.log.clone();
    Ok(Report::complete(summary, counted))
}

/// The launches of a command line, which `--then` divides.
fn launches() -> Vec<Run> {
    let words: Vec<String> = std::env::args().collect();
    let mut parts = words.split(|w| w == "--then");
    let Command::Run(first) = Cli::parse_from(parts.next().unwrap_or_default()).command;
    let more = parts.map(|part| {
        let Command::Run(run) = Cli::parse_from(words.iter().take(2).chain(part)).command;
        run
    });
    std::iter::once(first).chain(more).collect()
}

fn main() -> ExitCode {
    let launches = launches();
    match run_all(&launches) {
        Ok(reports) => {
            let several = launches.len() > 1;
            match launches.iter().any(|l| l.json) {
                true if several => println!("{}", Value::from_iter(reports.iter().map(Report::json))),
                true => reports.iter().for_each(|r| println!("{}", r.json())),
                false => {
                    for (report, launch) in reports.iter().zip(&launches) {
                        if several {
                            println!("`{}`:", launch.entry);
                        }
                        println!("{}", report.text());
                    }
                }
            }
            if reports.iter().all(Report::clean) { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(message) => {
            eprintln!("ptx-sim: {message}");
            ExitCode::from(2)
        }
    }
}
