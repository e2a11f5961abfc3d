//! `grad`: what it makes, and that a wrong rule is refuted with the result, the place and both values.

use tile_base::Diagnostic;
use tile_driver::{
    Session, choose,
    compile::{self, Picked},
    testing::{self, FileReport, Rung, TestOptions, run_tests},
};
use tile_sema::Instance;

/// y = w x^2 with its backward; `#` is where rules go wrong.
const SQUARE: &str = "
    kernel square(x: in f32[M, N], w: in f32[N], y: out f32[M, N], size: out? f32[M]) {
        tile BM, BN;
        par i in tiles(M, BM) {
            var s: f32[i, 1] = 0;
            for j in tiles(N, BN) {
                let a = x[i, j];
                s += (a * a).sum(1);
                y[i, j] = w[j][_, :] * a * a;
            }
            if size { size[i] = s[:, 0]; }
        }
    }
    kernel square_bwd(x: in f32[M, N], w: in f32[N], gy: in f32[M, N], gs: in? f32[M], gx: out f32[M, N]) {
        tile BM, BN;
        par i in tiles(M, BM), j in tiles(N, BN) {
            let g = FACTOR * gy[i, j] * w[j][_, :] * x[i, j];
            gx[i, j] = if gs { g + 2 * gs[i][:, _] * x[i, j] } else { g };
        }
    }
    kernel square_dw(x: in f32[M, N], gy: in f32[M, N], gw: sum f32[N]) {
        tile BM, BN;
        par i in tiles(M, BM), j in tiles(N, BN) { gw[j] += (gy[i, j] * x[i, j] * x[i, j]).sum(0)[0, :]; }
    }
    spec square {
        y[i, j] = w[j] * x[i, j] * x[i, j];
        size[i] = sum(j: x[i, j] * x[i, j]);
    }
    test square { M in [1, 5], N in [33, 4]; }
    grad square(gy for y, gs: in? for size) -> (gx for x, gw: sum? for w) {
        run square_bwd(SECOND, w, gy, gs, gx);
        if gw { run square_dw(x, gy, gw); }
    }
";

fn square(factor: &str, second: &str) -> String {
    SQUARE.replace("FACTOR", factor).replace("SECOND", second)
}

fn judged(text: &str) -> FileReport {
    let mut session = Session::new();
    let loaded = session.load_text("square.tile", text.to_string());
    let rung = if cfg!(feature = "ptx") { Rung::Sim } else { Rung::Cpu };
    run_tests(&mut session, &loaded, &TestOptions { rung, ..TestOptions::default() }, &mut |_| {})
}

fn failures(report: &FileReport) -> Vec<&Diagnostic> {
    assert!(report.diagnostics.is_empty(), "{:?}", report.diagnostics);
    report.cases.iter().flat_map(|c| &c.failures).collect()
}

#[test]
fn a_right_rule_climbs_the_ladder_at_the_cases_of_its_forward() {
    let report = judged(&square("2", "x"));
    assert!(report.passed(), "{:?}", failures(&report));
    let of_grad: Vec<_> = report.cases.iter().filter(|c| c.kernel == "square.vjp").collect();
    assert_eq!(of_grad.len(), 4);
    for case in of_grad {
        let names: Vec<&str> = case.checks.iter().map(|c| c.name).collect();
        assert!(["grad", "variants", "forms", "cpu"].iter().all(|n| names.contains(n)), "{names:?}");
        assert!(case.stopped.is_empty(), "{:?}", case.stopped);
    }
}

#[test]
fn a_wrong_sign_is_told_with_its_factor() {
    let report = judged(
        &square("-2", "x")
            .replace("test square", "test square.vjp { M = 3, N = 20; absent gs; } test square"),
    );
    let found = failures(&report);
    let d = found.first().expect("it is refuted");
    assert_eq!((d.code, found.len()), ("T0498", 1));
    let start = "`gx` is not the gradient of `square` with respect to `x`: at [";
    assert!(d.message.starts_with(start) && d.message.contains("the slope of the spec is"), "{}", d.message);
    let note = "5 elements were looked at, and all are right if multiplied by -1.000000";
    assert!(d.notes.iter().any(|n| n == note), "{:?}", d.notes);
    assert!(d.notes.iter().any(|n| n == "the slope of L = sum gy * y + sum gs * size"), "{:?}", d.notes);
}

#[test]
fn a_missing_scale_and_a_wrong_operand_are_refuted() {
    for (factor, second) in [("1", "x"), ("2", "gy"), ("2.00001", "x")] {
        let report = judged(&square(factor, second));
        let refuted: Vec<&str> = failures(&report).iter().map(|d| d.code).collect();
        assert!(refuted.contains(&"T0498"), "{factor} {second}: {refuted:?}");
        assert!(failures(&report).iter().all(|d| !d.message.contains("`gw`")), "the other result is right");
    }
}

/// One wrong element among many is found where it is.
#[test]
fn the_witness_is_the_element_that_is_wrong() {
    let wrong =
        "let g = select(j.at[_, :] == 17 && i.at[:, _] == 2, 3.0, 2.0) * gy[i, j] * w[j][_, :] * x[i, j];";
    let text = square("2", "x").replace("let g = 2 * gy[i, j] * w[j][_, :] * x[i, j];", wrong);
    let report = judged(&text.replace("test square {", "test square.vjp { M = 4, N = 60; } test square {"));
    let found = failures(&report);
    let d = found.first().expect("it is refuted");
    assert!(d.message.contains("at [2, 17] it is"), "{}", d.message);
}

#[test]
fn what_cannot_be_checked_is_told() {
    let large = square("2", "x").replace("N in [33, 4]", "N = 10000");
    let codes = |text: &str| judged(text).diagnostics.iter().map(|d| d.code).collect::<Vec<_>>();
    assert_eq!(codes(&large), ["T0485"]);
    // Everywhere on a kink.
    let kinked = "
        kernel rectify(x: in f32[M], y: out f32[M]) { tile B; par i in tiles(M, B) { y[i] = relu(x[i]); } }
        kernel rectify_bwd(x: in f32[M], g: in f32[M], d: out f32[M]) {
            tile B;
            par i in tiles(M, B) { d[i] = select(x[i] > 0, g[i], 0); }
        }
        spec rectify { y[i] = max(x[i], 0); }
        test rectify { M = 9; x = DATA; }
        grad rectify(g for y) -> (d for x) { run rectify_bwd(x, g, d); }";
    assert!(judged(&kinked.replace("DATA", "randn")).passed());
    let report = judged(&kinked.replace("DATA", "0.00001"));
    assert!(failures(&report).iter().any(|d| d.code == "T0485"), "{:?}", failures(&report));
}

/// Which launches a program has, by instance.
fn launches(name: &str, absent: &[&str]) -> String {
    let mut session = Session::new();
    let loaded = session.load_text("square.tile", square("2", "x"));
    let instance = Instance { absent: absent.iter().map(|a| a.to_string()).collect(), ..Instance::default() };
    let picked = Picked { name: name.into(), is_op: true };
    let compiled = compile::compile(&mut session, &loaded, &picked, &instance).unwrap();
    // A program of one launch prints as its graph.
    let text = tile_graph::print_program(&compiled.program);
    let step = |l: &&str| ["launch ", "temp ", "graph "].iter().any(|w| l.trim_start().starts_with(w));
    text.lines().filter(step).map(str::trim).collect::<Vec<_>>().join("; ")
}

#[test]
fn the_forward_runs_where_something_needs_it() {
    assert_eq!(launches("square.vjp", &["y", "size", "gw"]), "graph square_bwd");
    assert_eq!(launches("square.bwd", &["gw"]), "graph square_bwd");
    assert_eq!(
        launches("square.vjp", &["size", "gw"]),
        "launch square(x, w, y, absent); launch square_bwd(x, w, gy, gs, gx); graph square; graph square_bwd"
    );
    assert_eq!(
        launches("square.vjp", &["y", "gs"]),
        "temp y: f32[M, N]; launch square(x, w, y, size); launch square_bwd(x, w, gy, absent, gx); \
         launch square_dw(x, gy, gw); graph square; graph square_bwd; graph square_dw"
    );
}

#[test]
fn a_file_with_one_kernel_and_its_grad_has_one_kernel_to_pick() {
    let mut session = Session::new();
    let text =
        "kernel f(x: in f32[N], y: out f32[N]) { tile B; par i in tiles(N, B) { y[i] = x[i] + x[i]; } }
        op g(x: in f32[N], y: out f32[N]) { run f(x, y); }
        spec f { y[i] = 2 * x[i]; } test f { N = 3; } spec g { y[i] = 2 * x[i]; } test g { N = 3; }
        grad g(gy for y) -> (gx for x) { run f(gy, gx); }";
    let loaded = session.load_text("t.tile", text.to_string());
    let names: Vec<&str> = choose::callables(&loaded.module).map(|c| c.name.name.as_str()).collect();
    assert_eq!(names, ["f", "g", "g.vjp", "g.bwd"]);
    assert_eq!(choose::measured(&loaded.module).collect::<Vec<_>>(), ["f", "g", "g.vjp"]);
    assert_eq!(choose::pick(&loaded.module, "t.tile", None).err().map(|d| d.code), Some("T0803"));
    let one = session.load_text("one.tile", text.replace("op g", "fn g0() { 1 } op g"));
    assert!(choose::pick(&one.module, "one.tile", Some("g.vjp")).is_ok());
    // An op is differentiated as a kernel is: its own launches run first.
    assert!(judged(text).passed());
    let case = testing::first_case(&loaded.module, "g.bwd").expect("the forward has a test");
    assert_eq!((case.test.as_str(), case.dims["N"]), ("g", 3));
}
