//! Cases, data, comparison, and whole runs of small kernels.

use super::{compare::compare_values, runner::TestOptions, *};
use crate::Session;
use std::collections::BTreeSet;
use tile_base::{DType, FileId};
use tile_sema::Module;
use tile_syntax::{ast::ItemKind, parse};
use tile_tensor::Argument;

const KERNEL: &str = "kernel f<T: f32 | f16, const D, const C: bool = false, g: fn(x: f32) -> f32 = same>(
        x: in T[M, D], off: in offsets<M>[NS + 1], id: in id?<M>[R], y: out T[M, D], z: out? f32[M], s: f32)
    where M >= D {
        par i in M { y[i, :] = x[i, :]; }
    }
    fn same(x: f32) -> f32 { x }\n";

fn module(test: &str) -> Module {
    let parsed = parse(FileId(0), &format!("{KERNEL}{test}"));
    assert_eq!(parsed.diagnostics, vec![]);
    Module::new(vec![("main".into(), parsed.file)], 0)
}

fn found(test: &str) -> Result<Cases, Vec<tile_base::Diagnostic>> {
    let module = module(test);
    let file = module.main_file().unwrap();
    let test = file.items.iter().find_map(|i| match &i.kind {
        ItemKind::Test(t) => Some(t),
        _ => None,
    });
    cases(&module, test.unwrap())
}

#[test]
fn all_combinations_that_where_allows_the_last_list_fastest() {
    let c = found("test f { T in [f16, f32]; D in [2, 8], M in [4, D * 2]; NS = 1, R = 1; s = rsqrt(D); }")
        .unwrap();
    // D = 8 with M = 4 breaks `M >= D`, for both dtypes.
    assert_eq!((c.cases.len(), c.left_out), (6, 2));
    let shown: Vec<String> =
        c.cases.iter().map(|c| format!("{} {} {}", c.dtypes["T"], c.label, c.dims["M"])).collect();
    assert_eq!(shown[0], "f16 T = f16, D = 2, M = 4 4");
    assert_eq!(shown[2], "f16 T = f16, D = 8, M = … 16");
    assert_eq!(c.cases[2].scalars["s"].to_f64(), 8f64.sqrt().recip());
}

#[test]
fn pairs_cover_every_pair_with_fewer_cases() {
    let lists = "T in [f16, f32]; D in [1, 2, 3], M in [4, 5, 6, 7], NS in [1, 2, 3], C in [true, false]; R = 1, s = 1;";
    let all = found(&format!("test f {{ {lists} }}")).unwrap().cases;
    let some = found(&format!("test f {{ {lists} pairs }}")).unwrap().cases;
    let pairs = |cases: &[Case]| -> BTreeSet<(String, String)> {
        cases
            .iter()
            .flat_map(|c| {
                let parts: Vec<&str> = c.label.split(", ").collect();
                let n = parts.len();
                let pairs = (0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b)));
                pairs.map(|(a, b)| (parts[a].to_string(), parts[b].to_string())).collect::<Vec<_>>()
            })
            .collect()
    };
    assert_eq!((all.len(), pairs(&all)), (144, pairs(&some)));
    assert!(some.len() <= 16, "{} cases", some.len());
    assert_eq!(some[0].label, all[0].label);
}

#[test]
fn what_a_test_says_wrong_is_named() {
    let rest = "D = 2, M = 4, NS = 1, R = 1, T = f32, s = 1;";
    let cases = [
        ("test f { D = 2, M = 4, NS = 1, R = 1; s = 1; }", "T0490 this test does not say what `T` is"),
        ("test f { T = f32, D = 2, M = 4, NS = 1, R = 1; }", "T0490 this test does not say what `s` is"),
        ("test f { T = f32, D = 2, M = Q, NS = 1, R = 1; s = 1; }", "T0490 `Q` has no value in this test"),
        (&format!("test f {{ {rest} g = silu; D = 3; }}"), "T0491 `D` is bound twice"),
        (&format!("test f {{ {rest} y = randn; }}"), "T0491 `y` is an output and is given no data"),
        (&format!("test f {{ {rest} absent x; }}"), "T0491 `x` is not an optional tensor"),
        (&format!("test f {{ {rest} x: rel 1; }}"), "T0491 `x` is not an output"),
        (&rest.replace("f32", "bf16"), "T0491 `bf16` is not among the dtypes"),
        (&rest.replace("D = 2", "D = 5"), "T0492 no case of this test fulfils the `where` facts"),
        (&rest.replace("M = 4", "M = 4 / 0"), "T0491 this divides by zero"),
        ("test h { }", "T0491 there is no kernel `h`"),
    ];
    for (test, want) in cases {
        let test = if test.starts_with("test") { test.to_string() } else { format!("test f {{ {test} }}") };
        let got = found(&test).unwrap_err().remove(0);
        let got = format!("{} {}", got.code, got.message);
        assert!(got.starts_with(want), "{test}\n  gives {got}\n  not   {want}");
    }
}

/// The arguments of the first case under the signature that the checker makes.
fn arguments(test: &str) -> (tile_base::Signature, tile_tensor::Arguments) {
    let module = module(test);
    let case = found(test).unwrap().cases.remove(0);
    let typed = tile_sema::instantiate(&module, "f", &case.instance()).unwrap();
    let signature = typed.signature.clone();
    let arguments = case.arguments(&signature).unwrap_or_else(|d| panic!("{d:?}"));
    (signature, arguments)
}

fn data(test: &str, name: &str) -> Vec<f64> {
    let (signature, arguments) = arguments(test);
    arguments.get(&signature, name).and_then(Argument::tensor).unwrap().to_f64_vec()
}

#[test]
fn data_is_drawn_by_name_and_seed() {
    let test = |more: &str| format!("test f {{ T = f32, D = 2, M = 300, R = 200; NS = 3; s = 1; {more} }}");
    let x = data(&test(""), "x");
    assert_eq!(x, data(&test("x = randn; id = 3;"), "x"));
    assert_eq!(x.iter().map(|v| -v * 2.0).collect::<Vec<_>>(), data(&test("x = -randn * 2;"), "x"));
    assert!(x.iter().sum::<f64>().abs() < 60.0 && x.iter().any(|v| *v > 1.0));
    let u = data(&test("x = uniform(2, 3);"), "x");
    assert!(u.iter().all(|v| (2.0..=3.0).contains(v)));
    let both = data(&test("x = randn - randn;"), "x");
    assert!(both.iter().any(|v| *v != 0.0), "two distributions are two streams");
    let order = data(&test("x = permutation;"), "x");
    assert!(order.chunks(2).all(|r| r[0] + r[1] == 1.0));
}

#[test]
fn index_tensors_are_filled_by_type() {
    let test = "test f { T = f32, D = 2, M = 300, R = 200; NS = 9; s = 1; }";
    let off = data(test, "off");
    assert_eq!((off[0], off[9], off.len()), (0.0, 300.0, 10));
    assert!(off.windows(2).all(|w| w[0] <= w[1]));
    let id = data(test, "id");
    assert!(id.contains(&-1.0) && id.iter().all(|v| (-1.0..300.0).contains(v)));
}

#[test]
fn a_list_binds_its_dimension_and_must_fit() {
    let list = "test f { T = f32, D = 2, M = 20, R = 1; off = [0, 7, 7, 20]; s = 1; absent z; }";
    assert_eq!(data(list, "off"), [0.0, 7.0, 7.0, 20.0]);
    let (signature, arguments) = arguments(list);
    assert!(matches!(arguments.get(&signature, "z"), Some(Argument::Absent)));
    let nan = arguments.get(&signature, "y").and_then(Argument::tensor).unwrap().to_f64_vec();
    assert!(nan.iter().all(|v| v.is_nan()), "an output that is not written is found");
    let case = found("test f { T = f32, D = 2, M = 20, R = 1, NS = 1; off = [0, 20, 20]; s = 1; }")
        .unwrap()
        .cases
        .remove(0);
    let typed = tile_sema::instantiate(&module("test f { }"), "f", &case.instance()).unwrap();
    let d = case.arguments(&typed.signature).unwrap_err().remove(0);
    assert_eq!((d.code, d.message.as_str()), ("T0493", "`off` has 2 elements, and 3 are given"));
}

#[test]
fn infinities_and_nans_agree_only_with_themselves() {
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    let loose = Tolerance { relative: 1.0, absolute: 1.0 };
    let agree = |e: f64, a: f64| compare_values(&[e], &[a], &[1], loose).ok;
    assert!(agree(inf, inf) && agree(nan, nan) && agree(0.0, -0.0) && agree(1.0, 2.9));
    assert!(!agree(inf, -inf) && !agree(inf, 1e300) && !agree(1e300, inf));
    assert!(!agree(nan, 0.0) && !agree(0.0, nan) && !agree(1.0, 3.1));
    let c = compare_values(&[1.0, 2.0, inf, 4.0], &[1.0, 2.5, inf, 9.0], &[2, 2], Tolerance::ZERO);
    assert_eq!((c.bad, c.max_abs, c.max_rel), (2, 5.0, 1.25));
    assert_eq!(c.worst, Some((vec![0, 1], 2.0, 2.5)));
}

#[test]
fn a_tolerance_belongs_to_its_output() {
    let case = found("test f { T = f16, D = 2, M = 4, NS = 1, R = 1; s = 1; y: rel 1e-2; }")
        .unwrap()
        .cases
        .remove(0);
    assert_eq!(case.tolerance("y", DType::F16), Tolerance { relative: 1e-2, absolute: 0.0 });
    assert_eq!(case.tolerance("z", DType::F32), Tolerance::of(DType::F32));
}

/// Runs the tests of a text on the oracle rung.
fn run(text: &str) -> FileReport {
    let mut session = Session::new();
    let loaded = session.load_text("t.tile", text.to_string());
    let options = TestOptions { rung: Rung::Oracle, ..TestOptions::default() };
    run_tests(&mut session, &loaded, &options, &mut |_| {})
}

const DOUBLE: &str = "kernel double(x: in f32[M], y: out f32[M]) {
        tile B;
        par i in tiles(M, B) { y[i] = x[i] * 2; }
    }
    test double { M in [1, 100]; }\n";

#[test]
fn a_right_kernel_passes_at_any_tile_size() {
    let report = run(&format!("{DOUBLE} spec double {{ y[i] = x[i] + x[i]; }}"));
    assert!(report.passed(), "{report:?}");
    assert_eq!(report.cases.len(), 2);
    let names: Vec<&str> = report.cases[1].checks.iter().map(|c| c.name).collect();
    assert_eq!(
        (names, &report.cases[1].shape[..]),
        (vec!["spec", "variants"], &[("M".to_string(), 100)][..])
    );
}

#[test]
fn a_wrong_kernel_is_told_with_case_and_element() {
    let report = run(&format!("{DOUBLE} spec double {{ y[i] = if i < 70 {{ x[i] * 2 }} else {{ 0 }}; }}"));
    assert!(report.cases[0].passed() && !report.cases[1].passed());
    let d = &report.cases[1].failures[0];
    assert_eq!(d.code, "T0495");
    assert!(d.message.starts_with(
        "the spec and the oracle disagree on `y`: 30 of 100 elements differ; the first is [70]"
    ));
    assert!(d.notes.iter().any(|n| n == "in the case M = 100 (M = 100)"), "{:?}", d.notes);
}

#[test]
fn a_kernel_that_nothing_judges_is_an_error() {
    let report = run(DOUBLE);
    assert_eq!(report.diagnostics.iter().map(|d| d.code).collect::<Vec<_>>(), ["T0483"]);
    assert!(!report.passed());
}

#[test]
fn a_false_claim_fails_its_variants() {
    // The claim says that nothing happens past position 10; it does.
    let text = "kernel total(x: in f32[M, N], s: out f32[M]) {
            tile BM, BN;
            par i in tiles(M, BM) {
                var t: f32[i, 1] = 0;
                for j in tiles(N, BN) skip j.start >= 10 { t += x[i, j].sum(1); }
                s[i] = t[:, 0];
            }
        }
        spec total { s[i] = sum(j: x[i, j]); }
        test total { M = 3, N = 70; }";
    let report = run(text);
    assert!(!report.passed());
}
