//! Full blocks without their mask: `select(mask, x, y)` becomes `if must { x } else { select(mask, x, y) }`.

use super::{bounds::Blocks, loops};
use crate::{
    edit::*,
    ir::*,
    laws::{cut::*, hoist, simplify},
    op::*,
};
use std::collections::{BTreeSet, HashMap};

/// In loops over tiles; how many selections there were. Rows are measured only beside a product, which is what they are cheap
/// against.
pub fn peel_full(graph: &mut Graph) -> usize {
    let mut peeled = 0;
    for node in loops(graph) {
        let Op::For(ForOp { iter: Iter::Tiles { .. }, body, .. }) = graph.node(node).op else { continue };
        for select in graph.region(body).nodes.clone() {
            peeled += usize::from(peel(graph, select));
        }
    }
    simplify(graph);
    if peeled > 0 {
        let loops = loops(graph);
        loops.into_iter().for_each(|node| part_measures(graph, node));
    }
    peeled
}

/// Loads rows that are measured apart from the same rows in masks. A mask wants them beside its scores, spread over warps as
/// those are; whoever measures wants all of a row in each warp. A load more costs less than an exchange in every step.
fn part_measures(graph: &mut Graph, node: NodeId) {
    let Op::For(ForOp { body, .. }) = graph.node(node).op else { return };
    let mut parted: HashMap<Value, Value> = HashMap::new();
    for reduce in graph.region(body).nodes.clone() {
        let bounds = matches!(
            graph.node(reduce).op,
            Op::Reduce { kind: ReduceKind::Min | ReduceKind::Max | ReduceKind::Any | ReduceKind::All, .. }
        );
        let row = graph.inputs(reduce).first().copied();
        let Some(row) = row.filter(|r| bounds && matches!(graph.node(r.node).op, Op::Load(_))) else {
            continue;
        };
        let reduced = |(user, _): (NodeId, u32)| matches!(graph.node(user).op, Op::Reduce { .. });
        if graph.node(row.node).region == body && !graph.uses(row).into_iter().all(reduced) {
            let own = *parted.entry(row).or_insert_with(|| copied(graph, body, row, reduce));
            graph.set_inputs(reduce, &[own]);
        }
    }
}

/// A row once more, with the tiles of positions it is loaded at.
fn copied(graph: &mut Graph, body: RegionId, row: Value, before: NodeId) -> Value {
    let tiles: BTreeSet<NodeId> = graph
        .made_of(body, &[row])
        .into_iter()
        .filter(|&v| !graph.type_of(v).is_scalar())
        .map(|v| v.node)
        .collect();
    let mut map = CopyMap::default();
    for node in graph.region(body).nodes.clone() {
        if tiles.contains(&node) && !matches!(graph.node(node).op, Op::RegionArgs) {
            graph.copy_node(node, body, Some(before), &mut map);
        }
    }
    map.value(row)
}

fn peel(graph: &mut Graph, select: NodeId) -> bool {
    let n = graph.node(select);
    let (region, span, ty) = (n.region, n.span, n.outputs.first().cloned());
    let (Op::Elem(ElemOp::Select), Some(ty)) = (&n.op, ty) else { return false };
    let inputs = graph.inputs(select);
    let mask = graph.type_of(inputs[0]);
    // A column or a row of a mask is as cheap as its bounds; blocks on the diagonal are always partial.
    let wide: Vec<&Axis> = mask.axes.iter().filter(|a| **a != Axis::One).collect();
    let distinct = wide.iter().enumerate().all(|(n, a)| !wide[..n].contains(a));
    if wide.len() < 2 || !distinct || graph.type_of(inputs[1]) != &ty {
        return false;
    }
    let at = At { region, before: Some(select), span };
    let mut blocks = match graph.region(region).nodes.iter().any(|&n| matches!(graph.node(n).op, Op::Dot(_)))
    {
        true => Blocks::measuring(at),
        false => Blocks::of_positions(at),
    };
    let must = blocks.bounds(graph, inputs[0]).must;
    if graph.literal(must) == Some(Literal::Bool(false)) {
        return false;
    }
    if let Some(owner) = graph.region(region).owner {
        hoist::lift(graph, owner, region, &blocks.measured);
    }
    let arm = |graph: &mut Graph, kind| {
        let region = graph.add_region(kind);
        insert(graph, At { region, before: None, span }, Op::RegionArgs, vec![], &[]);
        (region, At { region, before: None, span })
    };
    let (then, full) = arm(graph, RegionKind::Then);
    insert(graph, full, Op::Yield, vec![], &[inputs[1]]);
    let (otherwise, partial) = arm(graph, RegionKind::Else);
    let mut map = CopyMap::default();
    for made in own_nodes(graph, region, select) {
        graph.copy_node(made, otherwise, None, &mut map);
    }
    let copy = graph.copy_node(select, otherwise, None, &mut map);
    insert(graph, partial, Op::Yield, vec![], &[Value { node: copy, port: 0 }]);
    let path = graph.node(select).path.clone();
    let new = NewNode { op: Op::If { then, otherwise }, outputs: vec![ty], path, span };
    let branch = graph.insert(region, Some(select), new, &[must]);
    graph.replace_uses(Value { node: select, port: 0 }, Value { node: branch, port: 0 });
    graph.remove(select);
    true
}

/// What the condition of a select is made of in its region and nothing else needs, in program order.
fn own_nodes(graph: &Graph, region: RegionId, select: NodeId) -> Vec<NodeId> {
    let mut own: BTreeSet<NodeId> = [select].into();
    for &node in graph.region(region).nodes.iter().rev() {
        let pure =
            graph.is_pure(node) && !matches!(graph.node(node).op, Op::RegionArgs | Op::MakeSpan { .. });
        let used = graph.outputs(node).flat_map(|v| graph.uses(v)).collect::<Vec<_>>();
        let only_here = !used.is_empty()
            && used.iter().all(|(user, port)| own.contains(user) && (*user != select || *port == 0));
        if pure && only_here && graph.node(node).op.regions().is_empty() {
            own.insert(node);
        }
    }
    own.remove(&select);
    graph.region(region).nodes.iter().copied().filter(|n| own.contains(n)).collect()
}
