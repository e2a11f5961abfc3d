//! Every law against the oracle: both sides, at random sizes and tile sizes, give the same numbers.

use proptest::prelude::*;
use std::collections::BTreeMap;
use tile_base::{DType, Mode, Size, Span};
use tile_graph::{
    Arg, DotAxes, ElemOp, ForOp, Graph, Iter, LoopCombine, LoopOrigin, Op, Program, ReduceKind, RegionKind,
    Step, Temp, TileBinding, TileId, Value, ValueType, laws,
    samples::{self, Sketch, Sub, Tiles},
};
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
    launched(graph, laws::split_launches(graph, named(graph, at)).expect("the loop combines"), parts)
}

/// The program of a kernel that a law took apart.
fn launched(graph: &Graph, launches: laws::Launches, parts: i64) -> Program {
    let laws::Launches { graphs, parts: dim, workspaces } = launches;
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
    program.steps = (0..graphs.len()).map(|graph| Step::Launch { graph, args: args.clone() }).collect();
    program.graphs = graphs;
    program
}

/// What the body of a recurrence has: the state f32[4, w], a key as a row and as a column, a value f32[1, w].
struct Body {
    state: Value,
    row: Value,
    column: Value,
    x: Value,
    w: Tiles,
}

/// `par w { S = s0[:, w]; for t in L affine S { o[t, w] = k[t, :] @ S;  S = next(…) }  s1[:, w] = S }`
fn recurrence(next: impl Fn(&mut Sketch, &Body) -> Value) -> Graph {
    let f32s = |name, mode, shape: &[&str]| samples::tensor(name, mode, DType::F32, shape);
    let params = vec![
        f32s("k", Mode::In, &["L", "4"]),
        f32s("v", Mode::In, &["L", "V"]),
        f32s("s0", Mode::In, &["4", "V"]),
        f32s("o", Mode::Out, &["L", "V"]),
        f32s("s1", Mode::Out, &["4", "V"]),
    ];
    let mut s = Sketch::new("recurrence", params, &["L", "V"]);
    let tile = s.b.tile_size("BV", vec![], false, Span::default());
    let (steps, width) = (s.dim("L"), s.dim("V"));
    let w = s.par_tiles("w", width, tile);
    let start = s.load(2, &[Sub::All, Sub::Along(w)]);
    let ty = s.b.type_of(start).clone();
    let (body, args) = s.b.open(RegionKind::Loop, vec![ValueType::index(), ty.clone()]);
    let key = s.load(0, &[Sub::At(args[0]), Sub::All]);
    let row = s.op(Op::Reshape { axes: vec![None, Some(0)] }, &[key]);
    let column = s.op(Op::Reshape { axes: vec![Some(0), None] }, &[key]);
    let value = s.load(1, &[Sub::At(args[0]), Sub::Along(w)]);
    let x = s.op(Op::Reshape { axes: vec![None, Some(0)] }, &[value]);
    let read = s.op(Op::Dot(DotAxes::matrix()), &[row, args[1]]);
    let read = s.op(Op::Reshape { axes: vec![Some(1)] }, &[read]);
    s.store(3, &[Sub::At(args[0]), Sub::Along(w)], read);
    let next = next(&mut s, &Body { state: args[1], row, column, x, w });
    s.b.close(&[next]);
    let f = ForOp {
        iter: Iter::Each { reverse: false },
        body,
        name: "t".into(),
        origin: LoopOrigin::Written,
        early_exit: false,
        skip: None,
        combine: LoopCombine::Affine { var: 0 },
    };
    let lo = s.b.index(0);
    let last = s.b.add(Op::For(f), &[lo, steps, start], vec![ty])[0];
    s.store(4, &[Sub::All, Sub::Along(w)], last);
    s.finish()
}

/// A factor for each row: S = k S + v.
fn gated(s: &mut Sketch, b: &Body) -> Value {
    let kept = s.elem(ElemOp::Mul, &[b.state, b.column]);
    s.elem(ElemOp::Add, &[kept, b.x])
}

/// The delta rule: S = S + k (v - k^T S).
fn delta(s: &mut Sketch, b: &Body) -> Value {
    let seen = s.op(Op::Dot(DotAxes::matrix()), &[b.row, b.state]);
    let off = s.elem(ElemOp::Sub, &[b.x, seen]);
    let write = s.elem(ElemOp::Mul, &[b.column, off]);
    s.elem(ElemOp::Add, &[b.state, write])
}

/// L steps, V columns.
fn recurrence_arguments((l, v): (usize, usize)) -> Arguments {
    Arguments(vec![
        random(1, &[l, 4]),
        random(2, &[l, v]),
        random(3, &[4, v]),
        zeros(&[l, v]),
        zeros(&[4, v]),
    ])
}

fn segmented(graph: &Graph) -> Result<laws::Launches, laws::Refused> {
    laws::segment_loop(graph, named(graph, "t"))
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
    fn segments_of_a_recurrence_agree(
        size in (1usize..40, 1usize..12), tiles in [1u64..9, 1..9], parts in 1i64..7,
    ) {
        for (plain, launches) in [(recurrence(gated), 3), (recurrence(delta), 4)] {
            let cut = launched(&plain, segmented(&plain).expect("an affine loop"), parts);
            assert_eq!(cut.graphs.len(), launches);
            agree(
                &outputs(&plain, recurrence_arguments(size), &tiles),
                &outputs_of(&cut, recurrence_arguments(size), &tiles),
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

/// Segments of a matrix need columns that all move alike.
#[test]
fn what_does_not_move_by_columns_is_refused() {
    let refused = |next: fn(&mut Sketch, &Body) -> Value| match segmented(&recurrence(next)) {
        Ok(_) => "not refused".to_string(),
        Err(why) => why.0,
    };
    let across = refused(|s, b| {
        let sum = s.op(Op::Reduce { axis: 1, kind: ReduceKind::Sum }, &[b.state]);
        s.elem(ElemOp::Add, &[b.state, sum])
    });
    assert_eq!(across, "mixes columns of its state");
    let own = refused(|s, b| {
        let moved = delta(s, b);
        s.elem(ElemOp::Mul, &[moved, b.x])
    });
    assert_eq!(own, "moves columns of its state in ways of their own");
    // A count of columns knows them without a load.
    let counted = refused(|s, b| {
        let places = s.b.one(Op::Iota, &[], ValueType::tile(DType::I64, [b.w.axis()]));
        let places = s.cast(places, DType::F32);
        let places = s.op(Op::Reshape { axes: vec![None, Some(0)] }, &[places]);
        let moved = delta(s, b);
        s.elem(ElemOp::Mul, &[moved, places])
    });
    assert_eq!(counted, own);
    let square = refused(|s, b| s.elem(ElemOp::Mul, &[b.state, b.state]));
    assert_eq!(square, "does more to its state than multiply and add (`mul`)");
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
