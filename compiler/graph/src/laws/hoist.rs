//! Hoist: *what does not depend on a loop is computed before it.*
//!
//! Pure operations whose operands come from outside a `for`, and loads of `in` tensors at such places that need no
//! check, move in front of the loop, innermost loops first. Nothing moves out of a branch. A division moves only when
//! its divisor is known not to be 0: the loop may have no steps at all.

use crate::{access::Check, facts, ir::*, op::*};
use std::collections::BTreeSet;
use tile_base::Mode;

/// Moves everything that can move. How many nodes did.
pub fn hoist(graph: &mut Graph) -> usize {
    let mut moved = 0;
    for node in graph.nodes_under(ROOT).into_iter().rev() {
        let Op::For(f) = graph.node(node).op.clone() else { continue };
        let region = graph.node(node).region;
        for inner in graph.region(f.body).nodes.clone() {
            let outside = |v: &Value| graph.node(v.node).region != f.body;
            if movable(graph, inner) && graph.inputs(inner).iter().all(outside) {
                graph.relocate(inner, region, Some(node));
                moved += 1;
            }
        }
    }
    crate::debug_verify(graph, "hoist");
    moved
}

/// Moves what some values of a region are made of in front of the loop that owns it, as far as it can move. How many nodes did.
pub(super) fn lift(graph: &mut Graph, owner: NodeId, region: RegionId, values: &[Value]) -> usize {
    let wanted: BTreeSet<NodeId> = graph.made_of(region, values).into_iter().map(|v| v.node).collect();
    let home = graph.node(owner).region;
    let mut moved = 0;
    for node in graph.region(region).nodes.clone() {
        let outside = |v: &Value| graph.node(v.node).region != region;
        if wanted.contains(&node) && movable(graph, node) && graph.inputs(node).iter().all(outside) {
            graph.relocate(node, home, Some(owner));
            moved += 1;
        }
    }
    moved
}

fn movable(graph: &Graph, node: NodeId) -> bool {
    let inputs = graph.inputs(node);
    let n = graph.node(node);
    // A tile along the loop's own span stays (an iota names it without taking it as an operand).
    let region = n.region;
    let local = n.outputs.iter().flat_map(|t| &t.axes).any(|a| match a {
        Axis::Span { span, .. } => graph.node(graph.span(*span).start.node).region == region,
        _ => false,
    });
    !local
        && match &n.op {
            Op::Load(a) => {
                let checked = |c: &crate::access::Coord| c.check == Check::InPlace;
                graph.object(a.object).mode == Mode::In && !a.coords.iter().any(checked)
            }
            Op::Elem(ElemOp::Div | ElemOp::Rem) if n.outputs[0].dtype.is_int() => {
                facts::positive(graph, n.region, inputs[1])
            }
            Op::MakeSpan { .. } => false,
            op => op.is_pure() && op.regions().is_empty(),
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{laws::loop_named, samples};
    use tile_base::DType;

    #[test]
    fn the_factor_and_the_rows_leave_the_loop() {
        let mut g = samples::flash(DType::F16, 64, true);
        // scale * LOG2E; i.at as a column, with the offset of the diagonal: 5 nodes and the offset itself.
        let moved = hoist(&mut g);
        crate::verify(&g).expect("the law keeps the invariants");
        assert_eq!(moved, 6);
        let j = loop_named(&g, "j").expect("the loop over keys");
        let Op::For(f) = &g.node(j).op else { panic!("a loop") };
        assert!(
            !g.region(f.body)
                .nodes
                .iter()
                .any(|&n| g.inputs(n).iter().any(|v| matches!(g.node(v.node).op, Op::Param(_))))
        );
        assert_eq!(hoist(&mut g), 0);
    }
}
