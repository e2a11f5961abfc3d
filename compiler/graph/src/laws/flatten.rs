//! Flatten `par`: *two independent axes are one.*
//!
//! ```text
//! par b in 0..B { par h in 0..H { … } }  =  par b·h in 0..B·H { b = f / H;  h = f % H;  … }
//! ```
//!
//! Refused where the inner bounds depend on the outer axis, where either is over tiles, or where something stands
//! between the two.

use super::Refused;
use crate::{edit::*, ir::*, op::*};

/// Merges the `par` at `outer` with the one directly inside it.
pub fn flatten_par(graph: &mut Graph, outer: NodeId) -> Result<(), Refused> {
    let Op::Par(a) = graph.node(outer).op.clone() else { return Err(Refused("is not a `par`".into())) };
    let nested = graph.region(a.body).nodes.iter().copied().find(|&n| matches!(graph.node(n).op, Op::Par(_)));
    let Some(inner) = nested else { return Err(Refused(format!("`{}` has no `par` inside it", a.name))) };
    let Op::Par(b) = graph.node(inner).op.clone() else { return Err(Refused("is not a `par`".into())) };
    let each = |p: &ParOp| matches!(p.iter, Iter::Each { .. });
    if !each(&a) || !each(&b) {
        return Err(Refused(format!("`{}` or `{}` is over tiles", a.name, b.name)));
    }
    if graph.region(a.body).nodes.len() != 3 {
        return Err(Refused(format!("`{}` does more than contain `{}`", a.name, b.name)));
    }
    let (outer_range, inner_range) = (graph.inputs(outer), graph.inputs(inner));
    if inner_range.iter().any(|v| graph.node(v.node).region == a.body) {
        return Err(Refused(format!("the bounds of `{}` depend on `{}`", b.name, a.name)));
    }

    let (region, span) = (graph.node(outer).region, graph.node(outer).span);
    let index = |graph: &mut Graph, region, before, op, x: Value, y: Value| {
        let new = NewNode { op: Op::Elem(op), outputs: vec![ValueType::index()], path: None, span };
        Value { node: graph.insert(region, before, new, &[x, y]), port: 0 }
    };
    let lengths: Vec<Value> = [&outer_range, &inner_range]
        .into_iter()
        .map(|r| match graph.int(r[0]) {
            Some(0) => r[1],
            _ => index(graph, region, Some(outer), ElemOp::Sub, r[1], r[0]),
        })
        .collect();
    let total = index(graph, region, Some(outer), ElemOp::Mul, lengths[0], lengths[1]);
    let zero =
        NewNode { op: Op::Const(Literal::Int(0)), outputs: vec![ValueType::index()], path: None, span };
    let zero = Value { node: graph.insert(region, Some(outer), zero, &[]), port: 0 };

    // The inner body becomes the body; its index is taken apart at the top.
    let body = b.body;
    let flat = graph.region_args(body)[0];
    let top = graph.region(body).nodes.get(1).copied();
    let mut parts = vec![];
    for (op, range) in [(ElemOp::Div, &outer_range), (ElemOp::Rem, &inner_range)] {
        let part = index(graph, body, top, op, flat, lengths[1]);
        parts.push((part, *range.first().unwrap_or(&zero)));
    }
    let values: Vec<Value> = parts
        .iter()
        .map(|&(part, lo)| match graph.int(lo) {
            Some(0) => part,
            _ => index(graph, body, top, ElemOp::Add, part, lo),
        })
        .collect();
    let made: Vec<NodeId> = parts.iter().map(|p| p.0.node).collect();
    for (user, port) in graph.uses(flat) {
        if !made.contains(&user) {
            let mut inputs = graph.inputs(user);
            inputs[port as usize] = values[1];
            graph.set_inputs(user, &inputs);
        }
    }
    let outer_index = graph.region_args(a.body)[0];
    graph.replace_uses(outer_index, values[0]);

    // Detach the inner body, drop the outer nest, and own the body anew.
    let keep = graph.add_region(RegionKind::Par);
    if let Op::Par(p) = &mut graph.node_mut(inner).op {
        p.body = keep;
    }
    graph.regions[keep.index()].owner = Some(inner);
    let name = format!("{}.{}", a.name, b.name);
    let op = Op::Par(ParOp { iter: Iter::Each { reverse: false }, body, name });
    let new = NewNode { op, outputs: vec![], path: None, span };
    graph.insert(region, Some(outer), new, &[zero, total]);
    graph.remove(outer);
    crate::debug_verify(graph, "flatten_par");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{print, samples};
    use tile_base::DType;

    #[test]
    fn batch_and_head_become_one_axis() {
        let mut g = samples::flash(DType::F32, 8, false);
        let outer = g.par_nest()[0];
        flatten_par(&mut g, outer).expect("two plain axes");
        crate::verify(&g).expect("the law keeps the invariants");
        let text = print(&g);
        assert!(text.contains("par b.h in 0..%"), "{text}");
        assert_eq!(g.par_nest().len(), 2);
        // What is left is an axis over tiles: refused, and the graph is as it was.
        let outer = g.par_nest()[0];
        assert!(flatten_par(&mut g, outer).is_err());
        assert_eq!(print(&g), text);
    }
}
