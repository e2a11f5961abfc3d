//! Every law against the oracle: both sides, at random sizes and tile sizes, give the same numbers.

use proptest::prelude::*;
use std::collections::BTreeMap;
use tile_base::{DType, Size};
use tile_graph::{Arg, Graph, LoopCombine, Op, Program, Step, Temp, TileBinding, TileId, laws, samples};
use tile_oracle::{Options, run};
use tile_tensor::{Argument, Arguments, Scalar, Tensor};

/// Numbers without pattern, in -1..1.
fn noise(seed: u64) -> impl FnMut(usize) -> f64 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

fn random(seed: u64, shape: &[usize]) -> Argument {
    let mut t = Tensor::zeros(DType::F32, shape);
    t.fill_with(noise(seed));
    t.into()
}

fn zeros(shape: &[usize]) -> Argument {
    Tensor::zeros(DType::F32, shape).into()
}

/// Outputs of a graph; tile sizes by position, for those that are left.
fn outputs(graph: &Graph, arguments: Arguments, tiles: &[u64]) -> BTreeMap<String, Vec<f64>> {
    outputs_of(&Program::single(graph.clone()), arguments, tiles)
}

/// Outputs of a program. Each graph begins with another tile size.
fn outputs_of(program: &Program, mut arguments: Arguments, tiles: &[u64]) -> BTreeMap<String, Vec<f64>> {
    let bind = |(skew, graph): (usize, &Graph)| {
        let mut binding = TileBinding::new();
        for at in 0..graph.tiles.len() {
            binding.set(TileId::new(at), tiles[(at + skew) % tiles.len()]);
        }
        binding
    };
    let tiles = program.graphs.iter().enumerate().map(bind).collect();
    let report = run(program, &mut arguments, &Options { tiles, ..Options::exact() });
    let report = report.unwrap_or_else(|d| panic!("{d:#?}\n{}", tile_graph::print_program(program)));
    report.outputs.into_iter().map(|(name, array)| (name, array.values)).collect()
}

/// The launches of a split kernel, in so many parts.
fn in_launches(graph: &Graph, at: &str, parts: i64) -> Program {
    let laws::Launches { graphs, parts: dim, workspaces } =
        laws::split_launches(graph, named(graph, at)).expect("the loop combines");
    for g in &graphs {
        tile_graph::verify(g).expect("the law keeps the invariants");
    }
    let mut program = Program::single(graph.clone());
    let args: Vec<Arg> = (0..graph.signature.params.len())
        .map(Arg::Param)
        .chain((0..workspaces.len()).map(Arg::Temp))
        .collect();
    let count = |n: &str| (Some(n) == dim.as_deref()).then_some(Size::Const(parts));
    program.temps = workspaces
        .into_iter()
        .map(|w| Temp {
            name: w.name,
            dtype: w.dtype,
            index: None,
            shape: w.shape.iter().map(|s| s.substitute(&count)).collect(),
            workspace: true,
        })
        .collect();
    program.graphs = graphs;
    program.steps = (0..2).map(|graph| Step::Launch { graph, args: args.clone() }).collect();
    program
}

fn agree(a: &BTreeMap<String, Vec<f64>>, b: &BTreeMap<String, Vec<f64>>) {
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (name, x) in a {
        for (at, (x, y)) in x.iter().zip(&b[name]).enumerate() {
            let same = x == y || (x - y).abs() <= 1e-9 * (1.0 + x.abs());
            assert!(same, "{name}[{at}]: {x} and {y}");
        }
    }
}

/// (M, N, K) of a matmul.
fn matmul_arguments((m, n, k): (usize, usize, usize)) -> Arguments {
    Arguments(vec![random(1, &[m, k]), random(2, &[k, n]), zeros(&[m, n])])
}

/// B 2, HQ 4, HK 2, D 8.
fn flash_arguments((m, n): (usize, usize)) -> Arguments {
    Arguments(vec![
        random(1, &[2, m, 4, 8]),
        random(2, &[2, n, 2, 8]),
        random(3, &[2, n, 2, 8]),
        zeros(&[2, m, 4, 8]),
        zeros(&[2, 4, m]),
        Argument::Scalar(Scalar::Float(0.5)),
    ])
}

fn check_flash(law: impl Fn(&mut Graph), size: (usize, usize), tiles: &[u64]) {
    for causal in [false, true] {
        let plain = samples::flash(DType::F32, 8, causal);
        let mut other = plain.clone();
        law(&mut other);
        tile_graph::verify(&other).expect("the law keeps the invariants");
        agree(&outputs(&plain, flash_arguments(size), tiles), &outputs(&other, flash_arguments(size), tiles));
    }
}

fn named(graph: &Graph, name: &str) -> tile_graph::NodeId {
    laws::loop_named(graph, name).expect("a loop of the sample")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_sum_may_run_backwards(size in (1usize..20, 1usize..20, 1usize..40), tiles in [1u64..9, 1..9, 1..9]) {
        let plain = samples::matmul(DType::F32);
        let mut other = plain.clone();
        let s = named(&other, "s");
        laws::reverse_loop(&mut other, s).expect("a sum");
        agree(
            &outputs(&plain, matmul_arguments(size), &tiles),
            &outputs(&other, matmul_arguments(size), &tiles),
        );
    }

    #[test]
    fn the_parts_of_a_sum_add_up(
        size in (1usize..20, 1usize..20, 1usize..40), tiles in [1u64..9, 1..9, 1..9], parts in 1u64..7,
    ) {
        let plain = samples::matmul(DType::F32);
        let mut other = plain.clone();
        let s = named(&other, "s");
        laws::split_merge_loop(&mut other, s, parts).expect("a sum");
        agree(
            &outputs(&plain, matmul_arguments(size), &tiles),
            &outputs(&other, matmul_arguments(size), &tiles),
        );
    }

    #[test]
    fn the_parts_of_attention_merge(
        size in (1usize..20, 1usize..40), tiles in [1u64..9, 1..9], parts in 1u64..7, again in 1u64..3,
    ) {
        check_flash(|g| {
            let j = named(g, "j");
            laws::split_merge_loop(g, j, parts).expect("a merge");
            let j = named(g, "j");
            laws::split_merge_loop(g, j, again).expect("still a merge");
        }, size, &tiles);
    }

    #[test]
    fn parts_in_launches_of_their_own_agree(
        size in (1usize..20, 1usize..20, 1usize..400), tiles in [1u64..9, 1..9, 1..9], parts in 1i64..7,
    ) {
        let plain = samples::matmul(DType::F32);
        let split = in_launches(&plain, "s", parts);
        agree(
            &outputs(&plain, matmul_arguments(size), &tiles),
            &outputs_of(&split, matmul_arguments(size), &tiles),
        );
        let (m, _, n) = size;
        for causal in [false, true] {
            let plain = samples::flash(DType::F32, 8, causal);
            let split = in_launches(&plain, "j", parts);
            agree(
                &outputs(&plain, flash_arguments((m, n)), &tiles),
                &outputs_of(&split, flash_arguments((m, n)), &tiles),
            );
        }
    }

    #[test]
    fn skips_change_nothing(size in (1usize..20, 1usize..40), tiles in [1u64..9, 1..9]) {
        check_flash(|g| { laws::honour_skip(g); }, size, &tiles);
        check_flash(|g| { laws::execute_skipped(g); }, size, &tiles);
    }

    #[test]
    fn full_blocks_need_no_mask(size in (1usize..40, 1usize..40), tiles in [1u64..9, 1..9]) {
        check_flash(|g| { laws::peel_full(g); }, size, &tiles);
    }

    #[test]
    fn flattening_and_hoisting_and_simplifying_change_nothing(
        size in (1usize..20, 1usize..20), tiles in [1u64..9, 1..9],
    ) {
        check_flash(|g| {
            let outer = g.par_nest()[0];
            laws::flatten_par(g, outer).expect("two plain axes");
        }, size, &tiles);
        check_flash(|g| { laws::hoist(g); }, size, &tiles);
        check_flash(laws::simplify, size, &tiles);
    }
}

/// The test would notice: a false claim is a different number.
#[test]
fn a_false_merge_is_seen() {
    let plain = samples::flash(DType::F32, 8, false);
    let mut other = plain.clone();
    let j = named(&other, "j");
    if let Op::For(f) = &mut other.node_mut(j).op {
        // Adding the states up is no way to combine them.
        f.combine = LoopCombine::Sum;
    }
    // The combiner has no owner any more: take the whole check out of the law, not out of this test.
    let orphan =
        other.regions.iter().position(|r| r.kind == tile_graph::RegionKind::Combine).expect("a combiner");
    for node in other.regions[orphan].nodes.clone().into_iter().rev() {
        other.remove(node);
    }
    other.regions[orphan].owner = None;
    laws::split_merge_loop(&mut other, j, 2).expect("claimed to be a sum");
    let (a, b) =
        (outputs(&plain, flash_arguments((5, 9)), &[4]), outputs(&other, flash_arguments((5, 9)), &[4]));
    assert!(a["o"].iter().zip(&b["o"]).any(|(x, y)| (x - y).abs() > 1e-3));
}
