//! Collectives along an axis, parts of axes, and control flow: PTX on the simulator in check mode beside the oracle.

use super::{
    assemble_everywhere,
    support::{self, Kernel, arguments, check, kernel},
    tolerance,
};
use tile_base::DType;
use tile_graph::Graph;
use tile_plan::Request;
use tile_tensor::{Argument, Arguments, Tensor};

const TEXT: &str = include_str!("kernels.tile");

fn small(name: &'static str, dtype: DType, consts: &[(&'static str, i64)]) -> Graph {
    let with = |k: Kernel, &(name, value): &(&'static str, i64)| k.with(name, value);
    consts.iter().fold(kernel("kernels.tile", name, dtype), with).graph_of(TEXT)
}

/// Few different values, so that there are ties.
fn with_ties(graph: &Graph, dims: &[(&str, i64)]) -> Arguments {
    filled(graph, dims, |n| ((n * 7919 + 13) % 11) as f64 - 4.0)
}

fn filled(graph: &Graph, dims: &[(&str, i64)], value: impl Fn(usize) -> f64) -> Arguments {
    let mut arguments = arguments(graph, dims, &[], |_, t: Tensor| t);
    for argument in arguments.iter_mut() {
        if let Argument::Tensor(t) = argument {
            t.fill_with(&value);
        }
    }
    arguments
}

/// As planned, and with two warps and with eight on tiles of three rows: other numbers of lanes take a line.
fn agrees(graph: &Graph, dims: &[(&str, i64)], arguments: &Arguments, allowed: f64) {
    let rows = graph.tile_named("BM").map(|_| ("BM".to_string(), 3));
    for warps in [None, Some(2), Some(8)] {
        let tiles = rows.iter().filter(|_| warps.is_some()).cloned().collect();
        let request = Request { strided: true, warps, tiles, ..Request::default() };
        let error = check(graph, &request, dims, arguments);
        assert!(error <= allowed, "{} {dims:?} {warps:?}: error {error:e}", graph.name);
    }
}

#[test]
fn nothing_is_taken_at_minus_one() {
    for dtype in [DType::F32, DType::F16, DType::I32] {
        for n in [2, 7, 40] {
            let graph = small("holes", dtype, &[("N", n)]);
            let dims = [("M", 5)];
            let mut given = with_ties(&graph, &dims);
            let one = graph.signature.params.iter().position(|p| p.name() == "one").expect("a parameter");
            if let Argument::Tensor(t) = &mut given[one] {
                t.fill_with(|i| (i % 2) as f64 - 1.0);
            }
            agrees(&graph, &dims, &given, 0.0);
        }
    }
}

#[test]
fn scans_go_both_ways_over_axes_of_any_length() {
    for dtype in [DType::F32, DType::F16, DType::I32] {
        for n in [1, 7, 40, 200] {
            let graph = small("scans", dtype, &[("N", n)]);
            let dims = [("M", 5)];
            let allowed = if dtype == DType::F16 { 4e-3 } else { tolerance(DType::F32) };
            agrees(&graph, &dims, &with_ties(&graph, &dims), if dtype.is_float() { allowed } else { 0.0 });
        }
    }
    for (c, k, l) in [(16, 1, 37), (64, 8, 100), (16, 200, 40), (16, 33, 16)] {
        let graph = small("ragged_scans", DType::F32, &[("C", c), ("K", k)]);
        let dims = [("L", l)];
        let given = arguments(&graph, &dims, &[], |_, t| t);
        agrees(&graph, &dims, &given, tolerance(DType::F32));
    }
}

#[test]
fn the_greatest_come_in_order_with_the_earlier_of_equals_first() {
    for dtype in [DType::F32, DType::F16, DType::I32] {
        for (n, k) in [(5, 5), (1, 1), (8, 2), (40, 3), (300, 8)] {
            let graph = small("greatest", dtype, &[("N", n), ("K", k)]);
            for m in [1, 9] {
                let dims = [("M", m)];
                agrees(&graph, &dims, &with_ties(&graph, &dims), 0.0);
            }
        }
    }
    for (c, k, l) in [(16, 3, 33), (16, 4, 2), (64, 1, 65)] {
        let graph = small("ragged_greatest", DType::F32, &[("C", c), ("K", k)]);
        let dims = [("L", l), ("NC", (l + c - 1) / c)];
        agrees(&graph, &dims, &with_ties(&graph, &dims), 0.0);
    }
}

#[test]
fn positions_of_a_selection_lead_to_its_elements() {
    for k in [1, 3, 4, 5, 6, 7, 16] {
        let graph = small("chosen", DType::F32, &[("K", k)]);
        let dims = [("M", 3)];
        agrees(&graph, &dims, &with_ties(&graph, &dims), 0.0);
    }
}

#[test]
fn sorting_is_stable_and_puts_nan_last() {
    let odd = |n: usize| if n % 5 == 3 { f64::NAN } else { ((n * 31) % 17) as f64 };
    for dtype in [DType::F32, DType::F16, DType::I32] {
        for n in [1, 5, 33, 130] {
            let graph = small("ordered", dtype, &[("N", n)]);
            let dims = [("M", 6)];
            agrees(&graph, &dims, &with_ties(&graph, &dims), 0.0);
            if dtype.is_float() {
                agrees(&graph, &dims, &filled(&graph, &dims, odd), 0.0);
            }
        }
    }
    for l in [1, 16, 45] {
        let graph = small("ragged_order", DType::F32, &[("C", 16)]);
        let dims = [("L", l)];
        agrees(&graph, &dims, &with_ties(&graph, &dims), 0.0);
    }
}

#[test]
fn histograms_count_what_is_below_the_number_of_bins() {
    for (bins, l) in [(1, 5), (8, 1), (8, 1000), (300, 77)] {
        let graph = small("counts", DType::F32, &[("BINS", bins)]);
        let dims = [("L", l)];
        agrees(&graph, &dims, &with_ties(&graph, &dims), 0.0);
    }
}

#[test]
fn a_function_that_does_not_commute_reduces_in_order() {
    for n in [1, 3, 32, 77] {
        let graph = small("composed", DType::F32, &[("N", n)]);
        for m in [1, 6, 200] {
            let dims = [("M", m)];
            let given = filled(&graph, &dims, |n| 0.9 + (n % 7) as f64 * 0.03);
            agrees(&graph, &dims, &given, 1e-5);
        }
    }
}

#[test]
fn parts_of_an_axis_need_no_power_of_two() {
    for dtype in [DType::F32, DType::I32] {
        for n in [1, 4, 5, 24] {
            let graph = small("parts", dtype, &[("N", n)]);
            let dims = [("M", 7)];
            agrees(&graph, &dims, &filled(&graph, &dims, |n| (n % 251) as f64), 0.0);
        }
    }
}

#[test]
fn loops_end_where_their_conditions_say() {
    let graph = small("loops", DType::F32, &[]);
    let dims = [("M", 12)];
    agrees(&graph, &dims, &filled(&graph, &dims, |n| ((n * 5) % 9 + 1) as f64), 0.0);
}

#[test]
fn an_assertion_that_fails_ends_the_kernel_with_its_message() {
    let graph = small("guarded", DType::F32, &[]);
    assemble_everywhere(&graph);
    let dims = [("M", 40)];
    agrees(&graph, &dims, &filled(&graph, &dims, |n| n as f64), tolerance(DType::F32));
    let target = tile_target::find("sm_80").expect("a target");
    let (plan, module) = support::compile(&graph, target, &Request::default());
    let mut bad = filled(&graph, &dims, |n| if n == 33 { -1.0 } else { 1.0 });
    let said = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        support::simulate(&graph, &plan, &module.ptx, &dims, &mut bad)
    }))
    .expect_err("the simulator stops");
    let said = said.downcast_ref::<String>().cloned().unwrap_or_default();
    assert!(said.contains("assertion failed: x is not negative"), "{said}");
}

#[test]
fn a_depth_below_that_of_the_instruction_ends_in_zeros() {
    for dtype in [DType::F16, DType::Bf16] {
        for d in [1, 2, 5, 8, 17] {
            let graph = small("shallow", dtype, &[("D", d)]);
            let dims = [("M", 33)];
            let given = arguments(&graph, &dims, &[], |_, t| t);
            agrees(&graph, &dims, &given, tolerance(dtype));
        }
    }
}

#[test]
fn everything_here_assembles() {
    for (name, consts) in [
        ("scans", &[("N", 200)][..]),
        ("greatest", &[("N", 300), ("K", 8)]),
        ("ordered", &[("N", 130)]),
        ("counts", &[("BINS", 64)]),
        ("composed", &[("N", 77)]),
        ("parts", &[("N", 5)]),
        ("loops", &[]),
    ] {
        assemble_everywhere(&small(name, DType::F32, consts));
    }
}

/// The point of working in shared memory: lines of PTX do not follow the axis or k.
#[test]
fn code_does_not_grow_with_the_axis() {
    let lines = |name, consts: &[(&'static str, i64)]| {
        let graph = small(name, DType::F32, consts);
        let target = tile_target::find("sm_90").expect("a target");
        let request = Request { tiles: vec![("BM".into(), 1)], ..Request::default() };
        support::compile(&graph, target, &request).1.ptx.lines().count()
    };
    // A single round needs no loop, hence 2.
    let few = lines("greatest", &[("N", 128), ("K", 2)]);
    // A tile of 4096 is loaded and written by 128 threads, 32 elements each; k costs nothing.
    assert!(lines("greatest", &[("N", 128), ("K", 64)]) <= few);
    let many = lines("greatest", &[("N", 4096), ("K", 64)]);
    assert!(few < 300 && many < few + 31 * 12, "{few}, {many}");
    let (few, many) = (lines("ordered", &[("N", 128)]), lines("ordered", &[("N", 1024)]));
    assert!(few < 900 && many < 3 * few, "{few}, {many}");
}
