//! Ops whose kernels are given functions that capture tensors: the op's own, temporaries too, or those that came with a
//! function of the op.

mod support;

use tile_driver::{
    Session,
    testing::{Rung, TestOptions, run_tests},
};

const FILE: &str = "
    fn nothing(i: index) -> f32 { 0 }
    fn from_table(i: index) -> f32 using table: in f32[N] { table[i] }
    fn from_two(i: index) -> f32 using table: in f32[N], shift: in f32[1] { table[i] + shift[0] }

    kernel twice(x: in f32[N], y: out f32[N]) {
        tile B;
        par i in tiles(N, B) { y[i] = 2 * x[i]; }
    }
    spec twice { y[i] = 2 * x[i]; }

    kernel added<f: fn(i: index) -> f32 = nothing>(x: in f32[N], y: out f32[N]) {
        tile B;
        par i in tiles(N, B) { y[i] = x[i] + f(i.at); }
    }

    op of_its_own(x: in f32[N], table: in f32[N], y: out f32[N]) { run added<f = from_table>(x, y); }
    spec of_its_own { y[i] = x[i] + table[i]; }
    test of_its_own { N in [1, 37]; }

    op of_a_temporary(x: in f32[N], y: out f32[N]) {
        temp table: f32[N];
        run twice(x, table);
        run added<f = from_table>(x, y);
    }
    spec of_a_temporary { y[i] = 3 * x[i]; }
    test of_a_temporary { N in [1, 37]; }

    op given<g: fn(i: index) -> f32 = nothing>(x: in f32[N], table: in f32[N], y: out f32[N]) {
        temp once: f32[N];
        run added<f = g>(x, once);
        run added<f = g>(once, y);
    }
    spec given { y[i] = x[i] + 2 * g(i); }
    test given { g = from_table; N in [5, 33]; }
    test given { g = from_two; N in [5, 33]; g.shift = [0.5]; }
";

#[test]
fn captured_tensors_pass_through_ops() {
    let mut session = Session::new();
    let loaded = session.load_text("captures.tile", FILE.to_string());
    let rung = if cfg!(feature = "ptx") { Rung::Sim } else { Rung::Cpu };
    let options = TestOptions { rung, variants: 1, ..TestOptions::default() };
    let report = run_tests(&mut session, &loaded, &options, &mut |_| {});
    let failed = support::failures(&report);
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert_eq!(report.cases.len(), 8);
}
