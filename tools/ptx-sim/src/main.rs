//! `ptx-sim run K.ptx --entry NAME --grid X,Y,Z --block X,Y,Z --arg SPEC…`
//!
//! Exit status: 0 clean, 1 refuted (the finding is printed), 2 usage or unreadable input.

mod args;

use clap::{Parser, Subcommand};
use ptx_sim::{Geometry, decode, memory::Memory, read};
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
    /// Dynamic shared memory in bytes.
    #[arg(long, default_value_t = 0)]
    shared: usize,
    /// Instructions a warp may execute before the run is given up.
    #[arg(long, default_value_t = 1 << 32)]
    steps: u64,
    /// Look for races and undefined values too.
    #[arg(long)]
    check: bool,
    #[arg(long)]
    json: bool,
    /// Arguments in parameter order: in:FILE.npy, out:DTYPE:N:FILE.npy, inout:FROM.npy:TO.npy, i32:V (and the other
    /// scalars), ptr:ARGUMENT+OFFSET, null, bytes:HEX.
    #[arg(long = "arg", allow_hyphen_values = true)]
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

/// What keeps a run from happening, or what a run found.
enum Stop {
    Unusable(String),
    Refuted(Vec<ptx_sim::Fault>),
}

fn run(run: &Run) -> Result<ptx_sim::Summary, Stop> {
    let text =
        std::fs::read_to_string(&run.file).map_err(|e| Stop::Unusable(format!("{}: {e}", run.file)))?;
    let unreadable = |e: read::ReadError| Stop::Unusable(format!("{}: {e}", run.file));
    let module = read::parse(&text).map_err(unreadable)?;
    let kernel = decode::kernel(&module, &run.entry).map_err(unreadable)?;
    let mut memory = Memory::new();
    let placed = args::place(&run.args, &mut memory).map_err(Stop::Unusable)?;
    let params = args::parameters(&kernel, &placed).map_err(Stop::Unusable)?;
    let geometry = Geometry {
        grid: run.grid,
        block: run.block,
        dynamic_shared: run.shared,
        step_limit: run.steps,
        check: run.check,
        ..Geometry::default()
    };
    let summary =
        ptx_sim::run(&kernel, &mut memory, &geometry, &params).map_err(|fault| match fault.kind {
            ptx_sim::FaultKind::Launch => Stop::Unusable(fault.message),
            _ => Stop::Refuted(vec![fault]),
        })?;
    args::write_back(&placed, &memory).map_err(Stop::Unusable)?;
    if summary.findings.is_empty() { Ok(summary) } else { Err(Stop::Refuted(summary.findings)) }
}

fn describe(fault: &ptx_sim::Fault) -> serde_json::Value {
    serde_json::json!({
        "kind": format!("{:?}", fault.kind),
        "message": fault.message,
        "line": fault.line,
        "source_line": fault.loc.1,
        "cta": fault.cta,
        "warp": fault.warp,
        "lane": fault.lane,
    })
}

fn main() -> ExitCode {
    let Command::Run(command) = Cli::parse().command;
    match run(&command) {
        Ok(summary) => {
            if command.json {
                let report = serde_json::json!({
                    "verdict": "clean",
                    "ctas": summary.ctas,
                    "thread_instructions": summary.thread_instructions,
                });
                println!("{report}");
            } else {
                println!("clean: {} CTAs, {} thread-instructions", summary.ctas, summary.thread_instructions);
            }
            ExitCode::SUCCESS
        }
        Err(Stop::Refuted(faults)) => {
            if command.json {
                let findings: Vec<_> = faults.iter().map(describe).collect();
                println!("{}", serde_json::json!({ "verdict": "refuted", "findings": findings }));
            } else {
                faults.iter().for_each(|fault| println!("refuted: {fault}"));
            }
            ExitCode::from(1)
        }
        Err(Stop::Unusable(message)) => {
            eprintln!("ptx-sim: {message}");
            ExitCode::from(2)
        }
    }
}
