//! `tilec bench --compile`: how long source to PTX takes, the slowest first, and in which stages.

use super::{given, milliseconds, show};
use crate::{cli::Bench, json, output, table};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use tile_base::{Diagnostic, diagnostic::any_error};
use tile_driver::{
    Given, Session,
    compile_time::{self, CompileTime},
    session::tile_files,
};

const REPETITIONS: usize = 7;

pub fn run(args: &Bench) -> bool {
    let (mut session, mut found) = (Session::new(), vec![]);
    let mut results = measure(&mut session, args, &mut found);
    results.sort_by_key(|(_, m)| std::cmp::Reverse(m.spent.wall));
    if args.json {
        let list: Vec<Value> = results.iter().map(|(file, m)| as_json(file, m)).collect();
        let mut more = Map::new();
        more.insert("compile".into(), json!(list));
        json::print(&found, &session.sources, more);
        return !any_error(&found);
    }
    if !results.is_empty() {
        output::print(&as_table(&results));
    }
    show(&session, &found)
}

/// A file that cannot be measured is told and passed over.
fn measure(session: &mut Session, args: &Bench, found: &mut Vec<Diagnostic>) -> Vec<(String, CompileTime)> {
    let mut results = vec![];
    match (given(&args.choose), tile_files(&args.paths)) {
        (Ok(given), Ok(files)) => {
            for file in files {
                match of_file(session, &file, args, &given) {
                    Ok(list) => results.extend(list.into_iter().map(|m| (file.clone(), m))),
                    Err(more) => found.extend(more),
                }
            }
        }
        (a, b) => found.extend(a.err().into_iter().chain(b.err()).flatten()),
    }
    results
}

fn of_file(
    session: &mut Session,
    file: &str,
    args: &Bench,
    given: &Given,
) -> Result<Vec<CompileTime>, Vec<Diagnostic>> {
    let names = match &args.choose.kernel {
        Some(name) => vec![name.clone()],
        None => compile_time::names(session, file)?,
    };
    let of = |name: &String| compile_time::measure(session, file, name, given, &args.target, REPETITIONS);
    names.iter().map(of).collect()
}

fn as_json(file: &str, m: &CompileTime) -> Value {
    let stages: BTreeMap<&str, Value> = m
        .stages
        .iter()
        .map(|(stage, s)| {
            (*stage, json!({"ms": rounded(milliseconds(s.wall)), "cpu_ms": rounded(milliseconds(s.cpu))}))
        })
        .collect();
    json!({
        "file": file, "kernel": m.kernel, "launches": m.launches, "repetitions": REPETITIONS,
        "ms": rounded(milliseconds(m.spent.wall)), "cpu_ms": rounded(milliseconds(m.spent.cpu)),
        "first_ms": rounded(milliseconds(m.first.wall)), "ptx_bytes": m.ptx_bytes, "stages": stages,
    })
}

/// To the microsecond.
fn rounded(ms: f64) -> f64 {
    (ms * 1e3).round() / 1e3
}

fn as_table(results: &[(String, CompileTime)]) -> String {
    let mut stages: Vec<&str> = vec![];
    for (stage, _) in results.iter().flat_map(|(_, m)| &m.stages) {
        if !stages.contains(stage) {
            stages.push(stage);
        }
    }
    let mut heads = vec!["kernel", "launches", "ms", "CPU ms"];
    heads.extend(&stages);
    let rows: Vec<Vec<String>> = results.iter().map(|(_, m)| row(m, &stages)).collect();
    table::table(&heads, &rows)
}

fn row(m: &CompileTime, stages: &[&str]) -> Vec<String> {
    let ms = |time| format!("{:.1}", milliseconds(time));
    let mut row = vec![m.kernel.clone(), m.launches.to_string(), ms(m.spent.wall), ms(m.spent.cpu)];
    row.extend(
        stages.iter().map(|stage| {
            m.stages.iter().find(|(name, _)| name == stage).map_or("-".into(), |(_, s)| ms(s.cpu))
        }),
    );
    row
}
