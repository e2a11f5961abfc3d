//! `tilec`: check, format, build, run, test and measure `.tile` files.
//!
//! This crate is the edge: it reads the command line, calls [`tile_driver`], and is the only one that prints. Exit
//! status: 0 success, 1 diagnostics or a failed test, 2 usage. `docs/cli.md` describes the commands and the `--json`
//! forms.

mod cli;
mod commands;
mod json;
mod output;
mod render;
mod table;

use clap::Parser;
use serde_json::Map;
use std::process::ExitCode;
use tile_base::Sources;

/// Deeply nested programs recurse deeply; the address space for that costs nothing until it is used.
const STACK: usize = 512 << 20;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() { 2 } else { 0 });
        }
    };
    output::catch_panics();
    let as_json = cli.command.is_json();
    let worker = std::thread::Builder::new().stack_size(STACK).spawn(move || commands::run(cli));
    match worker.map(std::thread::JoinHandle::join) {
        Ok(Ok(status)) => status,
        Ok(Err(_)) => {
            let (found, sources) = ([output::fault()], Sources::default());
            match as_json {
                true => json::print(&found, &sources, Map::new()),
                false => render::report(&found, &sources),
            }
            ExitCode::from(1)
        }
        Err(e) => {
            eprintln!("error: cannot start: {e}");
            ExitCode::from(1)
        }
    }
}
