//! Blocks of masks that load: the same values as the oracle's, which looks at every element, and no more products than
//! blocks have something to see.

use super::support::{Kernel, arguments, check_on, compile, kernel, launch};
use ptx_sim::{decode, profile::Profile, read};
use tile_base::{DType, Span};
use tile_graph::{Graph, laws};
use tile_plan::{Request, bulk::Wish};
use tile_tensor::{Argument, Arguments, Tensor};

const TEXT: &str = include_str!("kernels.tile");

/// The kernel with a mask, as a program makes it of the source: with full blocks peeled.
fn attend(mask: &'static str, dtype: DType) -> Graph {
    let k: Kernel = kernel("kernels.tile", "attend", dtype).with("D", 32).epilogue("mask", mask);
    let mut graph = k.graph_of(TEXT);
    laws::peel_full(&mut graph);
    graph
}

/// Arguments of which those captured by the mask are given.
fn given(graph: &Graph, dims: &[(&str, i64)], captured: &[(&str, &dyn Fn(usize) -> f64)]) -> Arguments {
    let mut all = arguments(graph, dims, &[("scale", 0.2)], |_, t: Tensor| t);
    for &(name, value) in captured {
        let at = graph.signature.params.iter().position(|p| p.name() == format!("mask.{name}"));
        let at = at.unwrap_or_else(|| panic!("`{name}` is not captured"));
        let Argument::Tensor(t) = &mut all[at] else { panic!("`{name}` is a tensor") };
        t.fill_with(value);
    }
    all
}

fn tiles(m: u64, n: u64) -> Request {
    Request { tiles: vec![("BM".into(), m), ("BN".into(), n)], strided: true, ..Request::default() }
}

/// Multiply-adds on tensor cores, in products of one block with one block of 16 by 16.
fn products(graph: &Graph, dims: &[(&str, i64)], given: &Arguments) -> u64 {
    let target = tile_target::find("sm_80").expect("a target");
    let (plan, module) = compile(graph, target, &Request { warps: Some(1), ..tiles(16, 16) });
    let mut given = Arguments(given.iter().cloned().collect());
    let summary = launch(graph, &plan, &module.ptx, dims, &mut given).unwrap_or_else(|f| panic!("{f}"));
    let code = decode::kernel(&read::parse(&module.ptx).expect("a module"), &graph.name).expect("a kernel");
    let counters = summary.counters.expect("asked for");
    // Scores and values, each 16 x 16 x 32.
    Profile::new(&code, &counters, summary.ctas).tensor / (2 * 16 * 16 * 32)
}

#[test]
fn blocks_of_other_documents_are_not_worked_on() {
    let dims = [("M", 128), ("N", 128)];
    let causal = attend("causal", DType::F16);
    assert_eq!(products(&causal, &dims, &given(&causal, &dims, &[])), 36);
    let dims = [("M", 128), ("N", 128), ("S", 128)];
    let graph = attend("document", DType::F16);
    let visited =
        |doc: &dyn Fn(usize) -> f64| products(&graph, &dims, &given(&graph, &dims, &[("doc", doc)]));
    // Four documents of two blocks each: 3 of 4 blocks of each.
    assert_eq!(visited(&|p| (p / 32) as f64), 12);
    // In any order of numbers, and with padding in place of the third.
    assert_eq!(visited(&|p| [7.0, 2.0, 9.0, 1.0][p / 32]), 12);
    assert_eq!(visited(&|p| [7.0, 2.0, -1.0, 1.0][p / 32]), 9);
    assert_eq!(visited(&|_| -1.0), 0);
    // One document is what causal is; two that alternate meet in every block.
    assert_eq!(visited(&|_| 4.0), 36);
    assert_eq!(visited(&|p| (p % 2) as f64), 36);
    // Borders within blocks: 40, 40, 48 tokens over the blocks 0-2, 2-4 and 5-7.
    assert_eq!(visited(&|p| [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 2.0][p / 20]), 6 + 6 + 6 - 1);
}

#[test]
fn ranges_and_marks_of_rows_and_columns_leave_blocks_out() {
    let dims = [("M", 64), ("N", 128)];
    let graph = attend("ranges", DType::F16);
    // Rows of block b see the keys from 32 b to 32 b + 8.
    let (lo, hi) = (|i: usize| (i / 16 * 32) as f64, |i: usize| (i / 16 * 32 + 8) as f64);
    assert_eq!(products(&graph, &dims, &given(&graph, &dims, &[("lo", &lo), ("hi", &hi)])), 4);
    let graph = attend("live", DType::F16);
    let (row, col) = (|i: usize| f64::from(i == 20), |j: usize| f64::from(j >= 64 && j.is_multiple_of(3)));
    assert_eq!(products(&graph, &dims, &given(&graph, &dims, &[("row", &row), ("col", &col)])), 4);
    let graph = attend("older", DType::F16);
    let (asked, made) = (|i: usize| (i / 16) as f64, |j: usize| (j / 32) as f64);
    assert_eq!(products(&graph, &dims, &given(&graph, &dims, &[("asked", &asked), ("made", &made)])), 20);
    // Of a table of pairs nothing is known before it is looked at.
    let graph = attend("pairs", DType::F16);
    assert_eq!(products(&graph, &dims, &given(&graph, &dims, &[("table", &|_| 0.0)])), 32);
}

/// Numbers that a small generator makes of positions.
fn scattered(n: usize) -> usize {
    (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) % 1000
}

#[test]
fn values_are_the_oracles_whatever_is_loaded() {
    for (m, n, s) in [(33, 57, 57), (50, 40, 31), (1, 17, 9)] {
        let dims = [("M", m), ("N", n), ("S", s)];
        let short = [("M", m), ("N", n)];
        let docs: [&dyn Fn(usize) -> f64; 4] = [
            &|p| (p / 19) as f64,
            &|p| [5.0, -1.0, 5.0, 0.0, 3.0][p / 7 % 5],
            &|p| (scattered(p) % 3) as f64 - 1.0,
            &|_| -1.0,
        ];
        for (mask, doc) in ["document", "together"].iter().flat_map(|m| docs.iter().map(move |d| (*m, *d))) {
            judge(mask, &dims, &[("doc", doc)]);
        }
        let lo = |i: usize| (scattered(i) as i64 % (n + 1)) as f64;
        let hi = |i: usize| (scattered(i + 77) as i64 % (n + 1)) as f64;
        judge("ranges", &short, &[("lo", &lo), ("hi", &hi)]);
        let some = |at: usize| f64::from(scattered(at).is_multiple_of(20));
        judge("live", &short, &[("row", &some), ("col", &some)]);
        let clock = |at: usize| if scattered(at).is_multiple_of(9) { f64::NAN } else { (at / 16) as f64 };
        let still = |_: usize| 1.0;
        for mask in ["older", "others"] {
            judge(mask, &short, &[("asked", &clock), ("made", &clock)]);
            judge(mask, &short, &[("asked", &still), ("made", &clock)]);
            judge(mask, &short, &[("asked", &still), ("made", &still)]);
        }
    }
}

fn judge(mask: &'static str, dims: &[(&str, i64)], captured: &[(&str, &dyn Fn(usize) -> f64)]) {
    let graph = attend(mask, DType::F16);
    let given = given(&graph, dims, captured);
    for request in [tiles(16, 16), tiles(32, 48)] {
        let error = check_on("sm_80", &graph, &request, dims, &given);
        assert!(error <= 2e-3, "{mask} {dims:?}: error {error:e}");
    }
}

/// Where tiles are fetched a step ahead, the predicate is asked of the step after the last one, too.
#[test]
fn tiles_of_empty_blocks_are_not_fetched() {
    let wish = |t: &str| Wish { path: t.into(), span: Span::default(), required: true };
    let bulk = ["q", "k", "v"].map(wish).to_vec();
    let graph = attend("document", DType::F16);
    let request = Request { bulk, strided: false, ..tiles(64, 32) };
    let target = tile_target::find("sm_90").expect("a target");
    let plan = tile_plan::plan(&graph, target, &request).expect("a plan");
    let keys = laws::loop_named(&graph, "j").expect("the loop over keys");
    assert_eq!(plan.fetched_ahead(keys).len(), 2, "keys and values, a step ahead");
    for (m, n) in [(64, 96), (130, 130)] {
        let dims = [("M", m), ("N", n), ("S", n)];
        let docs: [&dyn Fn(usize) -> f64; 3] =
            [&|p| (p / 40) as f64, &|p| [0.0, -1.0, 2.0][p / 32 % 3], &|_| -1.0];
        for doc in docs {
            let given = given(&graph, &dims, &[("doc", doc)]);
            let error = check_on("sm_90", &graph, &request, &dims, &given);
            assert!(error <= 2e-3, "{dims:?}: error {error:e}");
        }
    }
}
