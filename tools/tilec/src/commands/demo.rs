//! `tilec demo`: FlashAttention from source to GPU code and to a checked result on this CPU.
//!
//! The input is real: tensors in a `.safetensors` file that the command makes (the same on every machine), reads back
//! and runs on, so that the demonstration goes the way that any user's data goes.

use super::show;
use crate::{cli::Demo, output, table};
use std::{collections::BTreeMap, path::PathBuf, time::Instant};
use tile_base::{DType, Diagnostic, diagnostic::any_error};
use tile_driver::{Given, Session, choose, compile, emit, resources, run};
use tile_tensor::{Argument, Scalar, Tensor, files, random};

pub fn run(args: Demo) -> bool {
    let mut session = Session::new();
    let result = demo(&mut session, &args.file);
    match result {
        Ok(()) => true,
        Err(found) => show(&session, &found) && !any_error(&found),
    }
}

fn demo(session: &mut Session, file: &str) -> Result<(), Vec<Diagnostic>> {
    output::print(&format!("\n1. {file} to PTX\n\n"));
    let mut rows = vec![];
    for target in ["sm_90", "sm_80"] {
        rows.push(gpu(session, file, target)?);
    }
    let heads =
        ["target", "source to PTX", "registers", "spills", "shared memory", "threads", "instructions"];
    output::print(&table::table(&heads, &rows));
    output::print("\n2. On this CPU, compared with the spec\n\n");
    let folder =
        PathBuf::from(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into())).join("demo");
    std::fs::create_dir_all(&folder).map_err(|e| {
        vec![
            Diagnostic::global("T0846", format!("`{}` cannot be made: {e}", folder.display()))
                .help("check its rights"),
        ]
    })?;
    let mut rows = vec![];
    let mut good = true;
    for case in CASES {
        let (row, close) = cpu(session, file, case, &folder)?;
        rows.push(row);
        good &= close;
    }
    let heads = ["shape", "dtype", "causal", "max error", "allowed", "time", "GFLOP/s", ""];
    output::print(&table::table(&heads, &rows));
    output::print(&format!("\nInputs and results are in {}.\n", folder.display()));
    if good {
        return Ok(());
    }
    Err(vec![
        Diagnostic::global(
            "T0858",
            "the result on the CPU differs from the spec by more than its dtype allows",
        )
        .help("this is a fault of the compiler"),
    ])
}

const DEMO_D: &str = "128";

/// Compiles for one target; what the PTX and, when it is there, NVIDIA's assembler say.
fn gpu(session: &mut Session, file: &str, target: &str) -> Result<Vec<String>, Vec<Diagnostic>> {
    let mut given = Given::default();
    for (name, value) in [("T", "f16"), ("D", DEMO_D), ("CAUSAL", "true")] {
        given.consts.insert(name.into(), value.into());
    }
    // The first run reads the command itself from the disk; the best of three is what a second call would see.
    let mut spent = f64::INFINITY;
    let built = last_of_three(|| {
        let start = Instant::now();
        let loaded = session.load(file)?;
        let built = emit::build(session, &loaded, None, &given, target, &[emit::Stage::Ptx])?;
        spent = spent.min(start.elapsed().as_secs_f64() * 1e3);
        Ok(built)
    })?;
    let ptx: String = built.texts.into_iter().map(|(_, t)| t).collect();
    let shown = resources::shown(&ptx);
    let counts: Vec<String> = shown.counts.iter().map(|(name, n)| format!("{n} {name}")).collect();
    let (registers, spills) = match emit::assemble(&ptx, emit::find_target(target)?)? {
        Some(r) => (r.registers.to_string(), format!("{} bytes", r.spill_stores + r.spill_loads)),
        None => ("no ptxas".into(), "no ptxas".into()),
    };
    let shared = built.shared_bytes.max(shown.shared_bytes);
    Ok(vec![
        target.to_string(),
        format!("{spent:.1} ms"),
        registers,
        spills,
        format!("{:.1} KiB", shared as f64 / 1024.0),
        shown.threads.map_or("-".into(), |t| t.to_string()),
        counts.join(", "),
    ])
}

/// The last of three results.
fn last_of_three<T>(mut work: impl FnMut() -> Result<T, Vec<Diagnostic>>) -> Result<T, Vec<Diagnostic>> {
    work()?;
    work()?;
    work()
}

struct Case {
    /// B, M, N, HQ, HK, D
    dims: [usize; 6],
    dtype: DType,
    causal: bool,
}

const fn case(dims: [usize; 6], dtype: DType, causal: bool) -> Case {
    Case { dims, dtype, causal }
}

/// The last one has odd sizes in every dimension and grouped heads.
const CASES: &[Case] = &[
    case([1, 1024, 1024, 8, 8, 64], DType::F32, false),
    case([1, 1024, 1024, 8, 8, 64], DType::F32, true),
    case([1, 1024, 1024, 8, 8, 64], DType::F16, true),
    case([1, 1024, 1024, 8, 8, 64], DType::Bf16, true),
    case([2, 333, 517, 6, 2, 72], DType::F32, true),
];

/// Makes the input, runs, compares; the row of the table and whether the result is close enough.
fn cpu(
    session: &mut Session,
    file: &str,
    case: &Case,
    folder: &std::path::Path,
) -> Result<(Vec<String>, bool), Vec<Diagnostic>> {
    let [b, m, n, hq, hk, d] = case.dims;
    let name = format!("flash_{}_{}_{m}x{n}x{d}", case.dtype, if case.causal { "causal" } else { "full" });
    let input = folder.join(format!("{name}_in.safetensors")).to_string_lossy().into_owned();
    make_input(&input, case)?;
    let mut given = Given { optionals_as_given: true, ..Given::default() };
    given.consts.insert("CAUSAL".into(), case.causal.to_string());
    for p in ["q", "k", "v"] {
        let t = files::read_tensor(&format!("{input}#{p}")).map_err(|e| vec![e])?;
        given.arguments.insert(p.into(), Argument::Tensor(t));
    }
    given.arguments.insert("scale".into(), Argument::Scalar(Scalar::Float(1.0 / (d as f64).sqrt())));
    let loaded = session.load(file)?;
    let picked = compile::pick(session, &loaded, None)?;
    let choice = choose::choose(&loaded.module, picked.callable(&loaded), &given, None)?;
    let mut compiled = compile::compile(session, &loaded, &picked, &choice.instance)?;
    let signature = compiled.program.signature.clone();
    let mut launch = run::prepare(&signature, &mut given, None, None, &mut vec![])?;
    compiled.cpu_for(&launch.dims)?;
    let expected =
        tile_driver::compile::spec(&loaded, &picked, &choice.instance, &signature, &launch.arguments)?;
    let mut samples = vec![];
    for _ in 0..3 {
        samples.push(run::execute_cpu(&mut compiled, &mut launch, 0)?);
    }
    let seconds = samples.iter().copied().fold(f64::INFINITY, f64::min);
    let (error, allowed) = worst(&signature, &launch.arguments, &expected, case.dtype);
    let output = folder.join(format!("{name}_out.safetensors")).to_string_lossy().into_owned();
    let results: Vec<(&str, &Tensor)> = run::outputs(&signature)
        .filter_map(|p| Some((p.name.as_str(), launch.arguments.get(&signature, &p.name)?.tensor()?)))
        .collect();
    files::write_safetensors(&output, &results).map_err(|e| vec![e])?;
    let pairs = if case.causal { visible(m, n) } else { (m * n) as f64 };
    let work = 4.0 * (b * hq * d) as f64 * pairs;
    let good = error <= allowed;
    let row = vec![
        format!("B{b} M{m} N{n} HQ{hq} HK{hk} D{d}"),
        case.dtype.to_string(),
        if case.causal { "yes" } else { "no" }.into(),
        format!("{error:.1e}"),
        format!("{allowed:.0e}"),
        format!("{:.1} ms", seconds * 1e3),
        format!("{:.1}", work / seconds / 1e9),
        if good { "ok" } else { "WRONG" }.into(),
    ];
    Ok((row, good))
}

/// Query-key pairs that a causal mask aligned bottom right lets through.
fn visible(m: usize, n: usize) -> f64 {
    (0..m).map(|i| (i + 1 + n).saturating_sub(m).min(n) as f64).sum()
}

fn make_input(path: &str, case: &Case) -> Result<(), Vec<Diagnostic>> {
    let [b, m, n, hq, hk, d] = case.dims;
    let mut tensors = vec![];
    for (name, shape) in [("q", [b, m, hq, d]), ("k", [b, n, hk, d]), ("v", [b, n, hk, d])] {
        let t = random::fill(case.dtype, &shape, &mut random::Random::stream(1, name))
            .map_err(|e| vec![Diagnostic::global("T0828", e.to_string()).help("free some memory")])?;
        tensors.push((name, t));
    }
    let list: Vec<(&str, &Tensor)> = tensors.iter().map(|(n, t)| (*n, t)).collect();
    files::write_safetensors(path, &list).map_err(|e| vec![e])
}

/// The greatest difference from the spec over all outputs, and what the dtype allows. Where the spec has no finite value
/// the result has to have the same one.
fn worst(
    signature: &tile_base::Signature,
    arguments: &tile_tensor::Arguments,
    expected: &BTreeMap<String, compile::SpecArray>,
    dtype: DType,
) -> (f64, f64) {
    let allowed = match dtype {
        DType::F16 => 2e-3,
        DType::Bf16 => 2e-2,
        _ => 2e-5,
    };
    let mut worst = 0f64;
    for (name, want) in expected {
        let Some(Argument::Tensor(t)) = arguments.get(signature, name) else {
            return (f64::INFINITY, allowed);
        };
        for (have, want) in t.to_f64_vec().into_iter().zip(&want.values) {
            let same = have == *want || have.is_nan() && want.is_nan();
            let error = if same { 0.0 } else { (have - want).abs() / want.abs().max(1.0) };
            worst = worst.max(if error.is_nan() { f64::INFINITY } else { error });
        }
    }
    (worst, allowed)
}
