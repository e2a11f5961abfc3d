//! One file per command.

mod bench;
mod build;
mod check;
mod compile_time;
mod data;
mod demo;
mod doctor;
mod explain;
mod fmt;
mod graph;
mod process;
mod run;
mod test;

use crate::{
    cli::{Choose, Cli, Command},
    render,
};
use std::{collections::BTreeMap, process::ExitCode};
use tile_base::{Diagnostic, diagnostic::any_error};
use tile_driver::{Given, Session};

/// Whether a command did what it was asked; the rest is said in diagnostics.
pub fn run(cli: Cli) -> ExitCode {
    let good = match cli.command {
        Command::Check(args) => check::run(args),
        Command::Fmt(args) => fmt::run(args),
        Command::Build(args) => build::run(args),
        Command::Run(args) => run::run(args),
        Command::Test(args) => test::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Graph(args) => graph::run(args),
        Command::Explain { code } => explain::run(&code),
        Command::Doctor { json } => doctor::run(json),
    };
    ExitCode::from(u8::from(!good))
}

/// Shows diagnostics on standard error; false when one of them is an error.
fn show(session: &Session, diagnostics: &[Diagnostic]) -> bool {
    render::report(diagnostics, &session.sources);
    !any_error(diagnostics)
}

/// `--kernel`, `--const`, `--dim` as the driver takes them.
fn given(choose: &Choose) -> Result<Given, Vec<Diagnostic>> {
    let (mut given, mut found) = (Given::default(), vec![]);
    for (name, value) in &choose.consts {
        twice(given.consts.insert(name.clone(), value.clone()).is_some(), "--const", name, &mut found);
    }
    for (name, value) in &choose.dims {
        match dimension(name, value) {
            Ok(v) => twice(given.dims.insert(name.clone(), v).is_some(), "--dim", name, &mut found),
            Err(d) => found.push(d),
        }
    }
    if any_error(&found) { Err(found) } else { Ok(given) }
}

fn twice(already: bool, flag: &str, name: &str, found: &mut Vec<Diagnostic>) {
    if already {
        let message = format!("`{flag} {name}=…` is given twice");
        found.push(Diagnostic::global("T0809", message).help("give it once"));
    }
}

/// A dimension: a whole number in 1..2^31.
fn dimension(name: &str, text: &str) -> Result<i64, Diagnostic> {
    const LIMIT: i64 = 1 << 31;
    match text.parse::<i64>() {
        Ok(v) if v >= LIMIT => {
            let message = format!("the dimension `{name}` is {v} (given), and the limit is 2^31 - 1");
            Err(Diagnostic::global("T0819", message).help("split the work into several launches"))
        }
        Ok(v) if v <= 0 => {
            let message = format!("the dimension `{name}` is {v} (given)");
            Err(Diagnostic::global("T0818", message).help("dimensions start at 1"))
        }
        Ok(v) => Ok(v),
        Err(_) => {
            let digits = text.trim_start_matches(['-', '+']);
            if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
                let message = format!("the dimension `{name}` is {text} (given), and the limit is 2^31 - 1");
                return Err(Diagnostic::global("T0819", message).help("split the work into several launches"));
            }
            let message = format!("the dimension `{name}` is `{text}`, which is no whole number");
            Err(Diagnostic::global("T0806", message).help(format!("write `--dim {name}=1024`")))
        }
    }
}

/// The values that the first test case decided, as one sentence.
fn taken(taken: &[(String, String)], test: &str) -> Option<String> {
    if taken.is_empty() {
        return None;
    }
    let list: Vec<String> = taken.iter().map(|(n, v)| format!("{n} = {v}")).collect();
    Some(format!("note: took {} from the first case of `test {test}`", list.join(", ")))
}

/// Milliseconds per stage, one line each, on standard error: what passed, and what the processor worked.
fn show_times(session: &Session) {
    for (stage, spent) in session.timer.stages() {
        let [wall, cpu] = [spent.wall, spent.cpu].map(milliseconds);
        crate::output::tell(&format!("time: {stage:<12} {wall:>9.3} ms {cpu:>9.3} ms CPU"));
    }
    if let Some(line) = process::peak_line() {
        crate::output::tell(&line);
    }
}

fn milliseconds(time: std::time::Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn times_json(session: &Session) -> serde_json::Value {
    let map: BTreeMap<&str, f64> =
        session.timer.stages().iter().map(|(stage, spent)| (*stage, milliseconds(spent.wall))).collect();
    serde_json::json!(map)
}
