//! `tilec bench`: how quick kernels are on this CPU or on a GPU, and how quickly they are compiled.

use super::{
    data::read_data,
    given,
    process::{self, Whole},
    show,
};
use crate::{
    cli::{Bench, Device},
    json, output, table,
};
use serde_json::{Map, json};
use std::io::IsTerminal;
use tile_base::{Diagnostic, diagnostic::any_error};
use tile_driver::{Session, bench, emit, functions, gpu, session::tile_files};

pub fn run(args: Bench) -> bool {
    if args.compile {
        return super::compile_time::run(&args);
    }
    let mut session = Session::new();
    let mut found = vec![];
    let results = measure(&mut session, &args, &mut found);
    let mut files: Vec<&String> = results.iter().map(|(file, _)| file).collect();
    files.dedup();
    let processes: Vec<Whole> = match args.device {
        Device::Cpu => files.into_iter().flat_map(|f| process::measure(f)).collect(),
        _ => vec![],
    };
    if args.json {
        let list: Vec<_> = results
            .iter()
            .map(|(file, m)| {
                json!({
                    "file": file, "kernel": m.kernel, "case": m.case, "dtype": m.dtype, "threads": m.threads,
                    "ms": m.ms, "repetitions": m.repetitions, "gflops": m.gflops,
                    "gbytes_per_s": m.gbytes_per_s, "compile_ms": m.compile_ms,
                    "predicted": m.predicted.map(|p| json!({"bound": p.bound, "checked": p.checked})),
                })
            })
            .collect();
        let mut more = Map::new();
        more.insert("results".into(), json!(list));
        let list: Vec<_> = processes
            .iter()
            .map(|w| json!({"what": w.what, "file": w.file, "ms": w.ms, "peak_mib": w.peak_mib}))
            .collect();
        more.insert("processes".into(), json!(list));
        json::print(&found, &session.sources, more);
        return !any_error(&found);
    }
    let rows: Vec<Vec<String>> = results
        .iter()
        .map(|(_, m)| {
            vec![
                m.kernel.clone(),
                m.dtype.clone(),
                m.case.clone(),
                format!("{:.3}", m.ms),
                m.gflops.map_or("-".into(), |g| format!("{g:.1}")),
                format!("{:.1}", m.gbytes_per_s),
                format!("{:.1}", m.compile_ms),
                m.predicted.map_or("-".into(), predicted),
            ]
        })
        .collect();
    if !rows.is_empty() {
        let heads = ["kernel", "dtype", "case", "ms", "GFLOP/s", "GB/s", "compile ms", "predicted"];
        output::print(&table::table(&heads, &rows));
    }
    let rows: Vec<Vec<String>> = processes
        .iter()
        .map(|w| {
            let peak = w.peak_mib.map_or("-".into(), |m| format!("{m:.0}"));
            vec![w.file.clone(), w.what.to_string(), format!("{:.1}", w.ms), peak]
        })
        .collect();
    if !rows.is_empty() {
        output::print(&format!("\n{}", table::table(&["file", "whole process", "ms", "peak MiB"], &rows)));
    }
    show(&session, &found)
}

/// What a predicted time is bound by, and whether it may be quoted.
fn predicted(p: bench::Predicted) -> String {
    format!("{}{}", p.bound, if p.checked { "" } else { ", not calibrated" })
}

/// A file that cannot be measured is told and passed over.
fn measure(
    session: &mut Session,
    args: &Bench,
    found: &mut Vec<Diagnostic>,
) -> Vec<(String, bench::Measured)> {
    let mut results = vec![];
    let (mut given, files) = match (given(&args.choose), tile_files(&args.paths)) {
        (Ok(given), Ok(files)) => (given, files),
        (a, b) => {
            found.extend(a.err().into_iter().chain(b.err()).flatten());
            return results;
        }
    };
    read_data(session, &args.data, &mut given, found);
    if any_error(found) {
        return results;
    }
    let on = match args.device {
        Device::Cuda(ordinal) => gpu::Cuda::open(ordinal).map(bench::On::Cuda),
        Device::Sim => emit::find_target(&args.target).map(bench::On::Sim),
        _ => Ok(bench::On::Cpu(args.threads)),
    };
    let on = match on {
        Ok(on) => on,
        Err(more) => {
            found.extend(more);
            return results;
        }
    };
    let progress = indicatif::ProgressBar::new(files.len() as u64);
    if args.json || !std::io::stderr().is_terminal() {
        progress.set_draw_target(indicatif::ProgressDrawTarget::hidden());
    }
    for file in files {
        progress.set_message(file.clone());
        let measured = session
            .load_with(&file, &functions::modules(&given))
            .and_then(|loaded| bench::file(session, &loaded, args.choose.kernel.as_deref(), &given, &on));
        match measured {
            Ok(list) => results.extend(list.into_iter().map(|m| (file.clone(), m))),
            Err(more) => found.extend(more),
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    results
}
