//! What a mask says of a whole block: *empty, full or partial*, from a few scalars of the block alone.
//!
//! A mask is a predicate of positions, `j <= i + (N - M)`, and of rows and columns that are loaded, `doc[i] == doc[j]`.
//! Over a block of rows `i.start .. i.end` and columns `j.start .. j.end` each side of a comparison lies between two
//! scalars, and so the predicate has two scalar bounds ([`bounds`]): *must* (true at every position) and *may* (true at
//! some position, as far as intervals can tell):
//!
//! ```text
//! i.at       in  i.start .. i.end - 1          must:  j.end - 1 <= i.start + (N - M)       full: nothing is hidden
//! j.at       in  j.start .. j.end - 1          may:   j.start <= i.end - 1 + (N - M)       not may: empty
//!
//! doc[i]     in  min doc[i] .. max doc[i]      must:  all four are equal                   one document: full
//! doc[j]     in  min doc[j] .. max doc[j]      may:   the two intervals meet               documents apart: empty
//! ```
//!
//! Positions are bounded by arithmetic on scalars. What is loaded is measured when the kernel runs: one reduction of a row
//! per bound, small beside the products of the block, and those of the query side before the loop ([`lift_measures`]).
//!
//! Two laws use the bounds. [`bound_skips`]: `skip !mask(…).any()` asks whether a block is empty; *not may* implies it,
//! and skipping less than the claim allows is always right. [`peel_full`]: in a full block `select(mask, x, y)` is x, so
//! the mask need not be computed there. What neither arithmetic nor a row says (a mask loaded as a table of pairs) is
//! partial always.

mod bounds;
mod peel;

pub use peel::peel_full;

use super::{cut::*, hoist};
use crate::{ir::*, op::*};
use bounds::Blocks;

/// Replaces tiles in `skip` predicates by bounds: what is skipped is a part of what the claim allows.
pub fn bound_skips(graph: &mut Graph) {
    for node in loops(graph) {
        let Some(skip) = skip_of(graph, node) else { continue };
        let Some(&last) = graph.region(skip).nodes.last() else { continue };
        let at = At { region: skip, before: Some(last), span: graph.node(node).span };
        let claimed = graph.inputs(last)[0];
        let bounded = Blocks::measuring(at).bounds(graph, claimed).must;
        graph.set_inputs(last, &[bounded]);
        drop_tiles(graph, skip);
    }
    crate::debug_verify(graph, "bound_skips");
}

/// Moves what `skip` predicates measure of tiles from outside their loops in front of them. To be called once accesses are
/// known to be inside: those that have to be looked at stay.
pub fn lift_measures(graph: &mut Graph) {
    let mut moved = 0;
    for node in loops(graph).into_iter().rev() {
        let Some(skip) = skip_of(graph, node) else { continue };
        let nodes = graph.region(skip).nodes.clone();
        let measures: Vec<Value> = nodes.into_iter().flat_map(|n| measure(graph, n)).collect();
        moved += hoist::lift(graph, node, skip, &measures);
    }
    if moved > 0 {
        super::simplify(graph);
    }
}

/// The scalar that a node makes of a reduced row.
fn measure(graph: &Graph, node: NodeId) -> Option<Value> {
    let reduced = |v: &Value| matches!(graph.node(v.node).op, Op::Reduce { .. });
    let op = &graph.node(node).op;
    (matches!(op, Op::Reshape { .. }) && graph.inputs(node).iter().all(reduced))
        .then_some(Value { node, port: 0 })
}

fn skip_of(graph: &Graph, node: NodeId) -> Option<RegionId> {
    match graph.node(node).op {
        Op::For(ForOp { skip, .. }) => skip,
        _ => None,
    }
}

fn loops(graph: &Graph) -> Vec<NodeId> {
    graph.nodes_under(ROOT).into_iter().filter(|&n| matches!(graph.node(n).op, Op::For(_))).collect()
}

/// Drops what the predicate is not made of any more, and the spans that only dropped tiles named.
fn drop_tiles(graph: &mut Graph, skip: RegionId) {
    let args = graph.region_args(skip);
    for node in graph.region(skip).nodes.clone().into_iter().rev() {
        let unused = graph.outputs(node).all(|v| graph.uses(v).is_empty());
        match graph.node(node).op {
            Op::RegionArgs | Op::Yield => {}
            Op::MakeSpan { span } if unused && !named(graph, skip, span) => {
                let def = &mut graph.spans[span.index()];
                (def.start, def.end) = (args[0], args[1]);
                graph.remove(node);
            }
            Op::MakeSpan { .. } => {}
            _ if unused => graph.remove(node),
            _ => {}
        }
    }
}

/// Whether a tile made in a region runs along a span.
fn named(graph: &Graph, region: RegionId, along: SpanId) -> bool {
    let runs = |a: &Axis| matches!(a, Axis::Span { span, .. } if *span == along);
    graph.nodes_under(region).iter().any(|&n| graph.node(n).outputs.iter().flat_map(|t| &t.axes).any(runs))
}

#[cfg(test)]
mod tests {
    use super::bounds::{Bounds, Interval};
    use super::*;
    use crate::{laws::loop_named, print, samples};
    use tile_base::DType;

    #[test]
    fn full_blocks_of_a_causal_mask_are_not_masked() {
        let mut g = samples::flash(DType::F16, 64, true);
        assert_eq!(peel_full(&mut g), 1);
        crate::verify(&g).expect("the law keeps the invariants");
        insta::assert_snapshot!(print(&g));
        // Without a mask there is nothing to leave out.
        assert_eq!(peel_full(&mut samples::flash(DType::F16, 64, false)), 0);
    }

    /// Bounds of a predicate of two tiles of positions, as they are on a grid of blocks.
    #[test]
    fn bounds_agree_with_every_position() {
        let compare = |op: ElemOp, a: i64, b: i64| match op {
            ElemOp::Lt => a < b,
            ElemOp::Le => a <= b,
            ElemOp::Gt => a > b,
            ElemOp::Ge => a >= b,
            ElemOp::Eq => a == b,
            _ => a != b,
        };
        for op in [ElemOp::Lt, ElemOp::Le, ElemOp::Gt, ElemOp::Ge, ElemOp::Eq, ElemOp::Ne] {
            for (a, b) in (0..6).flat_map(|a| (0..6).map(move |b| (a, b))) {
                for (m, n) in [(1, 1), (1, 3), (2, 1), (3, 2)] {
                    let mut g = samples::flash(DType::F16, 64, true);
                    let node = loop_named(&g, "j").expect("the loop over keys");
                    let at = At { region: g.node(node).region, before: Some(node), span: Default::default() };
                    let blocks = Blocks::of_positions(at);
                    let mut between = |lo, hi| {
                        let (lo, hi) = (blocks.index(&mut g, lo), blocks.index(&mut g, hi));
                        Interval { lo, hi, ordered: None }
                    };
                    let (x, y) = (between(a, a + m - 1), between(b, b + n - 1));
                    let Bounds { must, may } = blocks.compared(&mut g, op, x, y);
                    let found = [must, may].map(|v| fold(&g, v));
                    let all = (a..a + m).flat_map(|x| (b..b + n).map(move |y| compare(op, x, y)));
                    let (every, some) = all.fold((true, false), |(e, s), t| (e && t, s || t));
                    assert_eq!(found, [every, some], "{op:?} of {a}+{m} and {b}+{n}");
                }
            }
        }
    }

    /// The value of a condition over literals.
    fn fold(g: &Graph, v: Value) -> bool {
        fn int(g: &Graph, v: Value) -> i64 {
            g.int(v).expect("a literal")
        }
        let inputs = g.inputs(v.node);
        match &g.node(v.node).op {
            Op::Const(Literal::Bool(b)) => *b,
            Op::Elem(ElemOp::Not) => !fold(g, inputs[0]),
            Op::Elem(ElemOp::And) => fold(g, inputs[0]) && fold(g, inputs[1]),
            Op::Elem(ElemOp::Or) => fold(g, inputs[0]) || fold(g, inputs[1]),
            Op::Elem(ElemOp::Lt) => int(g, inputs[0]) < int(g, inputs[1]),
            Op::Elem(ElemOp::Le) => int(g, inputs[0]) <= int(g, inputs[1]),
            Op::Elem(ElemOp::Gt) => int(g, inputs[0]) > int(g, inputs[1]),
            Op::Elem(ElemOp::Ge) => int(g, inputs[0]) >= int(g, inputs[1]),
            Op::Elem(ElemOp::Eq) => int(g, inputs[0]) == int(g, inputs[1]),
            op => panic!("{op:?}"),
        }
    }
}
