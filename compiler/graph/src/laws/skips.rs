//! What `skip c` means, two ways: *a skip claim changes nothing*.
//!
//! The claim says that a step for which `c` holds leaves every carried value (and memory) as it was. So a loop with
//! the claim equals the loop without it ([`execute_skipped`]), and equals the loop whose body asks first
//! ([`honour_skip`]):
//!
//! ```text
//! for j … carried (v) { yield f(v) } skip { c }
//!   = for j … carried (v) { yield f(v) }
//!   = for j … carried (v) { yield if c { v } else { f(v) } }
//! ```
//!
//! Testing the claim is comparing the first two.

use crate::{edit::*, ir::*, op::*};

/// Drops every skip claim: all steps run. How many there were.
pub fn execute_skipped(graph: &mut Graph) -> usize {
    let loops = claimed(graph);
    for &(node, skip) in &loops {
        forget(graph, node, skip);
    }
    crate::debug_verify(graph, "execute_skipped");
    loops.len()
}

/// Turns every skip claim into a branch around the body. How many there were.
pub fn honour_skip(graph: &mut Graph) -> usize {
    let loops = claimed(graph);
    for &(node, skip) in &loops {
        guard(graph, node, skip);
        forget(graph, node, skip);
    }
    crate::debug_verify(graph, "honour_skip");
    loops.len()
}

fn claimed(graph: &Graph) -> Vec<(NodeId, RegionId)> {
    let skip = |n: NodeId| match &graph.node(n).op {
        Op::For(f) => f.skip.map(|s| (n, s)),
        _ => None,
    };
    graph.nodes_under(ROOT).into_iter().filter_map(skip).collect()
}

fn forget(graph: &mut Graph, node: NodeId, skip: RegionId) {
    for inner in graph.region(skip).nodes.clone().into_iter().rev() {
        graph.remove(inner);
    }
    graph.regions[skip.index()].owner = None;
    if let Op::For(f) = &mut graph.node_mut(node).op {
        f.skip = None;
    }
    graph.obligations.retain(|o| !(o.node == node && o.claim == Claim::Skip));
}

/// The body becomes `if c { carried } else { body }`.
fn guard(graph: &mut Graph, node: NodeId, skip: RegionId) {
    let Op::For(f) = graph.node(node).op.clone() else { return };
    let (body, variables) = (f.body, f.iter.variables());
    let args = graph.region_args(body);
    let inner: Vec<NodeId> = graph.region(body).nodes.clone();
    let (Some(&last), results) = (inner.last(), graph.yields(body)) else { return };

    // The condition, on the body's own loop variables, ahead of everything.
    let mut map = CopyMap::default();
    for (from, to) in graph.region_args(skip).into_iter().zip(&args) {
        map.values.insert(from, *to);
    }
    let before = inner.get(1).copied();
    let condition = graph.copy_body(skip, body, before, &mut map);

    let then = graph.add_region(RegionKind::Then);
    let otherwise = graph.add_region(RegionKind::Else);
    let span = graph.node(node).span;
    let plain = |op: Op| NewNode { op, outputs: vec![], path: None, span };
    graph.insert(then, None, plain(Op::RegionArgs), &[]);
    let mut unchanged = vec![];
    if f.early_exit {
        let no = NewNode {
            op: Op::Const(Literal::Bool(false)),
            outputs: vec![ValueType::scalar(tile_base::DType::Bool)],
            path: None,
            span,
        };
        unchanged.push(Value { node: graph.insert(then, None, no, &[]), port: 0 });
    }
    unchanged.extend(&args[variables..]);
    graph.insert(then, None, plain(Op::Yield), &unchanged);

    graph.insert(otherwise, None, plain(Op::RegionArgs), &[]);
    for &n in &inner[1..inner.len() - 1] {
        graph.relocate(n, otherwise, None);
    }
    graph.insert(otherwise, None, plain(Op::Yield), &results);

    let outputs: Vec<ValueType> = results.iter().map(|&v| graph.type_of(v).clone()).collect();
    let new = NewNode { op: Op::If { then, otherwise }, outputs, path: None, span };
    let branch = graph.insert(body, Some(last), new, &condition);
    let out: Vec<Value> = graph.outputs(branch).collect();
    graph.set_inputs(last, &out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{print, samples};
    use tile_base::DType;

    #[test]
    fn honoured_skips_are_branches() {
        let mut g = samples::flash(DType::F32, 8, true);
        assert_eq!(honour_skip(&mut g), 1);
        crate::verify(&g).expect("the law keeps the invariants");
        let text = print(&g);
        assert!(!text.contains("skip {"));
        assert!(text.contains("if %"), "{text}");
        assert_eq!(honour_skip(&mut g), 0);
    }

    #[test]
    fn executed_skips_leave_the_loop_as_it_was() {
        let (mut claimed, mut plain) =
            (samples::flash(DType::F32, 8, true), samples::flash(DType::F32, 8, true));
        execute_skipped(&mut claimed);
        crate::verify(&claimed).expect("the law keeps the invariants");
        assert!(print(&plain).contains("skip {"));
        assert!(!print(&claimed).contains("skip {"));
        honour_skip(&mut plain);
        assert!(print(&claimed).lines().count() < print(&plain).lines().count());
    }
}
