//! Random programs as PTX on the simulator in check mode, beside the oracle.

use crate::support;
use std::collections::BTreeMap;
use tile_base::{Diagnostic, signature::ParamKind};
use tile_fuzzgen::{Case, generate};
use tile_graph::Program;
use tile_oracle::Options;
use tile_plan::{Plan, Request};
use tile_target::Target;
use tile_tensor::Arguments;

/// Seeds of the programs. `TILE_FUZZ=5000` takes more.
fn seeds() -> std::ops::Range<u64> {
    let count = std::env::var("TILE_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(48);
    0..count
}

/// Limits that a backend states of itself: no plan fits, or an operation is not lowered.
fn is_limit(found: &[Diagnostic]) -> bool {
    found.iter().all(|d| d.code.starts_with("T06") || d.code.starts_with("T072"))
}

/// Vectors where every extent is whole in them, else any strides.
fn request(arguments: &Arguments) -> Request {
    let whole = |n: &usize| n.is_multiple_of(8);
    let strided = arguments.iter().filter_map(|a| a.tensor()).any(|t| !t.shape.iter().all(whole));
    Request { strided, ..Request::default() }
}

fn compiled(
    program: &Program,
    target: &'static Target,
    request: &Request,
) -> Result<(Plan, String), Vec<Diagnostic>> {
    let graph = &program.graphs[0];
    let plan = tile_plan::plan(graph, target, request)?;
    let module = tile_ptx::compile(graph, &plan, &tile_ptx::Options::default())?;
    Ok((plan, module.ptx))
}

fn told(case: &Case, seed: u64, what: &str) -> String {
    format!("seed {seed}: {what}\n{:?} T = {}\n{}", case.dims, case.dtype, case.text)
}

/// The first element of an output that is further from the oracle's than the case allows.
fn difference(case: &Case, program: &Program, ours: &Arguments, theirs: &Arguments) -> Option<String> {
    for (param, (a, b)) in program.signature.params.iter().zip(ours.iter().zip(theirs.iter())) {
        let (ParamKind::Tensor(p), Some(a), Some(b)) = (param, a.tensor(), b.tensor()) else { continue };
        let (a, b) = (a.to_f64_vec(), b.to_f64_vec());
        let size = b.iter().filter(|v| v.is_finite()).fold(1.0f64, |m, v| m.max(v.abs()));
        let far = |x: f64, y: f64| {
            let same = x == y || x.is_nan() && y.is_nan();
            !(same || (x - y).abs() <= case.tolerance(p.dtype) * size)
        };
        if let Some(at) = (0..a.len()).find(|&n| far(a[n], b[n])) {
            return Some(format!("`{}` at {at}: {} for {}, of size {size}", p.name, a[at], b[at]));
        }
    }
    None
}

#[test]
fn random_programs_agree_with_the_oracle() {
    let mut limits: BTreeMap<String, u64> = BTreeMap::new();
    let mut ran = 0;
    for seed in seeds() {
        let case = generate(seed);
        let program = case.program().unwrap_or_else(|d| panic!("{}", told(&case, seed, &format!("{d:?}"))));
        let arguments = case
            .arguments(&program, seed)
            .unwrap_or_else(|d| panic!("{}", told(&case, seed, &format!("{d:?}"))));
        let dims: Vec<(&str, i64)> = case.dims.iter().map(|(n, v)| (n.as_str(), *v)).collect();
        let target = tile_target::find(["sm_80", "sm_90"][seed as usize % 2]).expect("a target");
        let (plan, ptx) = match compiled(&program, target, &request(&arguments)) {
            Ok(made) => made,
            Err(found) if is_limit(&found) => {
                *limits.entry(found[0].message.clone()).or_default() += 1;
                continue;
            }
            Err(found) => panic!("{}", told(&case, seed, &format!("{found:#?}"))),
        };
        let (mut ours, mut theirs) = (arguments.clone(), arguments.clone());
        tile_oracle::run(&program, &mut theirs, &Options::rounded())
            .unwrap_or_else(|d| panic!("{}", told(&case, seed, &format!("{d:?}"))));
        println!("{}", told(&case, seed, target.name));
        support::simulate(&program.graphs[0], &plan, &ptx, &dims, &mut ours);
        if let Some(d) = difference(&case, &program, &ours, &theirs) {
            panic!("{}", told(&case, seed, &d));
        }
        ran += 1;
    }
    // A limit is no failure, but then it must be the exception.
    assert!(ran * 10 >= seeds().end * 9, "only {ran} programs ran; limits: {limits:#?}");
}
