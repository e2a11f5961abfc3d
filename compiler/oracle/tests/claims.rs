//! Claims put to the test: each program claims something false, runs unharmed when taken at its word, and is refuted with
//! a witness when asked.

mod support;

use support::*;
use tile_graph::{LoopCombine, Op, Program, TileBinding};
use tile_oracle::{Options, Report};
use tile_tensor::{Arguments, Tensor};

fn f32s(n: usize) -> Tensor {
    Tensor::from_f64(tile_base::DType::F32, &[n], &(0..n).map(|x| x as f64 + 1.0).collect::<Vec<_>>())
}

fn tested(program: &Program, seed: u64) -> Options {
    let tiles = program.graphs.iter().map(|g| TileBinding::uniform(g, 4)).collect();
    Options { tiles, execute_skipped: true, split_seed: Some(seed), ..Options::exact() }
}

/// The diagnostic of a kernel `f(x: in f32[N], o: out f32[1])`.
fn refuted(body: &str) -> String {
    let program = with_body(body);
    let arguments = Arguments(vec![f32s(10).into(), f32s(1).into()]);
    run(&program, &arguments, &Options { tiles: tested(&program, 0).tiles, ..Options::exact() });
    refusal(&program, &arguments, &tested(&program, 1)).1
}

fn with_body(body: &str) -> Program {
    let functions = "fn largest(a: f32, b: f32) { max(a, b) }";
    let text =
        format!("{functions} kernel f(x: in f32[N], o: out f32[1]) {{ tile B; par z in 0..1 {{ {body} }} }}");
    kernel(&text, "f", "")
}

fn report(body: &str, seed: u64) -> Report {
    let program = with_body(body);
    run(&program, &Arguments(vec![f32s(10).into(), f32s(1).into()]), &tested(&program, seed))
}

#[test]
fn a_skip_that_hides_work_is_refuted_with_the_iteration_and_the_values() {
    let told = refuted(
        "var s: f32 = 0;
         for j in tiles(N, B) skip j.start >= 8 { s += x[j].sum(); }
         o[0] = s;",
    );
    assert_eq!(
        told,
        "T0453: `skip` is refuted: the body it passes over changes `s`
  `s` goes from 36.0 to 55.0
  note: in the instance z = 0
  note: in the iteration j = 8..10"
    );
}

#[test]
fn a_skip_that_hides_a_store_is_refuted() {
    let text = "kernel f(x: in f32[N], o: inout f32[N]) {
        tile B;
        par z in 0..1 { for j in tiles(N, B) skip j.start >= 8 { o[j] = x[j]; } }
    }";
    let program = kernel(text, "f", "");
    let arguments = Arguments(vec![f32s(10).into(), Tensor::from_f32(&[10], &[0.0; 10]).into()]);
    let (code, told) = refusal(&program, &arguments, &tested(&program, 0));
    assert_eq!(code, "T0453", "{told}");
    // What is there already may be stored again.
    let same = Arguments(vec![f32s(10).into(), f32s(10).into()]);
    run(&program, &same, &tested(&program, 0));
}

#[test]
fn a_merge_whose_variable_starts_elsewhere_is_refuted() {
    let told = refuted(
        "var m: f32 = 100;
         for j in tiles(N, B) merge largest(m) { m = m * 0 + x[j].max(); }
         o[0] = m;",
    );
    assert!(told.starts_with("T0454"), "{told}");
}

#[test]
fn an_affine_claim_on_a_square_is_refuted() {
    // Lowering refutes what it can see; here the claim is put onto the loop behind its back.
    let mut program = with_body(
        "var s: f32 = 0.5;
         for j in tiles(N, B) { s = s * s + x[j].sum(); }
         o[0] = s;",
    );
    let graph = &mut program.graphs[0];
    let loops: Vec<_> = graph.node_ids().filter(|&n| matches!(graph.node(n).op, Op::For(_))).collect();
    for node in loops {
        if let Op::For(f) = &mut graph.node_mut(node).op {
            f.combine = LoopCombine::Affine { var: 0 };
        }
    }
    let arguments = Arguments(vec![f32s(10).into(), f32s(1).into()]);
    run(&program, &arguments, &Options { tiles: tested(&program, 0).tiles, ..Options::exact() });
    let (_, told) = refusal(&program, &arguments, &tested(&program, 1));
    assert!(told.starts_with("T0455: `affine` is refuted: the body is not affine in `s`"), "{told}");
}

#[test]
fn true_claims_pass_and_are_counted() {
    for seed in 0..8 {
        let r = report(
            "var s: f32 = 3;
             for j in tiles(N, B) skip j.start >= 12 { s += x[j].sum(); }
             o[0] = s;",
            seed,
        );
        assert_eq!(r.outputs["o"].values, [58.0]);
        let r = report(
            "var m: f32 = -inf;
             for j in tiles(N, B) merge largest(m) { m = max(m, x[j].max()); }
             o[0] = m;",
            seed,
        );
        assert_eq!((r.outputs["o"].values[0], r.claims[0].claim), (10.0, "merge"));
        let r = report(
            "var s: f32 = 1;
             for j in tiles(N, B) affine s { s = s * x[j].sum() + 1; }
             o[0] = s;",
            seed,
        );
        assert_eq!(r.claims.iter().map(|c| (c.claim, c.times)).collect::<Vec<_>>(), [("affine", 2)]);
    }
}

#[test]
fn a_split_of_a_wrong_merge_changes_the_result() {
    // Not associative: the mean of two partial means forgets how many each is the mean of. The identity holds.
    let body = "var m: f32 = 0;
         for j in tiles(N, B) merge mean(m) { m = mean(m, x[j].sum()); }
         o[0] = m;";
    let text = format!(
        "fn mean(a: f32, b: f32) {{ select(a == 0, b, select(b == 0, a, (a + b) / 2)) }}
         kernel f(x: in f32[N], o: out f32[1]) {{ tile B; par z in 0..1 {{ {body} }} }}"
    );
    let program = kernel(&text, "f", "");
    let arguments = Arguments(vec![f32s(10).into(), f32s(1).into()]);
    let plain = run(&program, &arguments, &Options { split_seed: None, ..tested(&program, 0) });
    let differs =
        (0..10).any(|seed| distance(&plain, &run(&program, &arguments, &tested(&program, seed))) > 1e-3);
    assert!(differs);
}
