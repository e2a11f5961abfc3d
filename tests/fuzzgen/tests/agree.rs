//! Differential tests: a few hundred random programs, each on the oracle in both modes, on the oracle at random tile
//! sizes, orders and splits, and on the CPU.

use tile_base::{Diagnostic, signature::ParamKind};
use tile_fuzzgen::{Case, generate};
use tile_graph::Program;
use tile_oracle::{Mode, Options, Report, random_tiles};
use tile_tensor::Arguments;

/// Programs per test. `TILE_FUZZ=5000` runs more.
fn cases() -> std::ops::Range<u64> {
    let count = std::env::var("TILE_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(120);
    0..count
}

fn fail(case: &Case, seed: u64, what: &str) -> ! {
    panic!("seed {seed}: {what}\n{:?} T = {}\n{}", case.dims, case.dtype, case.text)
}

fn told(found: &[Diagnostic]) -> String {
    found.iter().map(|d| format!("{} {} {:?}\n", d.code, d.message, d.notes)).collect()
}

fn oracle(case: &Case, seed: u64, program: &Program, arguments: &Arguments, options: &Options) -> Report {
    tile_oracle::run(program, &mut arguments.clone(), options)
        .unwrap_or_else(|d| fail(case, seed, &format!("the oracle refuses it: {}", told(&d))))
}

/// The first pair of values further apart than the tolerance allows.
fn difference(a: &[f64], b: &[f64], tolerance: f64) -> Option<String> {
    let size = a.iter().filter(|v| v.is_finite()).fold(1.0f64, |m, v| m.max(v.abs()));
    let apart = |p: f64, q: f64| !(p == q || p.is_nan() && q.is_nan() || (p - q).abs() <= tolerance * size);
    let at = (0..a.len()).find(|&n| apart(a[n], b[n]))?;
    Some(format!("at {at}: {} and {}, of size {size}", a[at], b[at]))
}

fn prepared(seed: u64) -> (Case, Program, Arguments) {
    let case = generate(seed);
    let program = case.program().unwrap_or_else(|d| fail(&case, seed, &told(&d)));
    let arguments = case.arguments(&program, seed).unwrap_or_else(|d| fail(&case, seed, &told(&d)));
    (case, program, arguments)
}

#[test]
fn the_oracle_agrees_with_itself_however_a_program_is_cut() {
    for seed in cases() {
        let (case, program, arguments) = prepared(seed);
        let plain = oracle(&case, seed, &program, &arguments, &Options::exact());
        let options = Options {
            mode: Mode::Exact,
            tiles: random_tiles(&program, seed),
            order_seed: Some(seed),
            execute_skipped: true,
            split_seed: Some(seed),
            ..Options::exact()
        };
        let other = oracle(&case, seed, &program, &arguments, &options);
        for (name, a) in &plain.outputs {
            if let Some(d) = difference(&a.values, &other.outputs[name].values, 1e-10) {
                fail(&case, seed, &format!("tile sizes change `{name}` {d}"));
            }
        }
    }
}

#[test]
fn rounding_moves_results_by_little() {
    for seed in cases() {
        let (case, program, arguments) = prepared(seed);
        let exact = oracle(&case, seed, &program, &arguments, &Options::exact());
        let rounded = oracle(&case, seed, &program, &arguments, &Options::rounded());
        for (name, a) in &exact.outputs {
            let param = program.signature.tensors().find(|p| p.name == *name);
            let dtype = param.map_or(case.dtype, |p| p.dtype);
            if let Some(d) = difference(&a.values, &rounded.outputs[name].values, 2.0 * case.tolerance(dtype))
            {
                fail(&case, seed, &format!("exact and rounded mode disagree on `{name}` {d}"));
            }
        }
    }
}

#[test]
fn the_cpu_agrees_with_the_oracle() {
    let (mut agreed, mut refused) = (0, vec![]);
    for seed in cases() {
        let (case, program, arguments) = prepared(seed);
        let tiles = random_tiles(&program, seed);
        let kernel = match tile_cpu::compile(&program, &tiles) {
            Ok(kernel) => kernel,
            Err(found) if found.iter().all(|d| d.code == "T0701") => {
                refused.extend(found.into_iter().map(|d| d.message));
                continue;
            }
            Err(found) => fail(&case, seed, &format!("the CPU's compiler fails: {}", told(&found))),
        };
        let options = Options { tiles, ..Options::rounded() };
        let expected = oracle(&case, seed, &program, &arguments, &options);
        let mut own = arguments.clone();
        if let Err(found) = kernel.run(&mut own, 2) {
            fail(&case, seed, &format!("the CPU fails: {}", told(&found)));
        }
        for (param, argument) in program.signature.params.iter().zip(own.iter()) {
            let (ParamKind::Tensor(p), Some(tensor)) = (param, argument.tensor()) else { continue };
            let Some(a) = expected.outputs.get(&p.name) else { continue };
            if let Some(d) = difference(&a.values, &tensor.to_f64_vec(), case.tolerance(p.dtype)) {
                fail(&case, seed, &format!("oracle and CPU disagree on `{}` {d}", p.name));
            }
        }
        agreed += 1;
    }
    // What the CPU does not lower yet is no failure, but then it must be the exception.
    assert!(agreed * 10 >= cases().end * 9, "only {agreed} programs ran; refused: {refused:?}");
}
