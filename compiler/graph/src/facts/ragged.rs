//! Ranges that lie end to end: *the parts that an `offsets` tensor cuts a dimension into.*
//!
//! ```text
//! par n in NS { for t in tiles(cu[n]..cu[n + 1], C) … }        cu: offsets<L>[NS + 1]
//! ```
//!
//! Offsets begin at 0, never fall and end at L, so the ranges of all n together are `0..L`, each position once. Who writes
//! along `t` in all of them covers the dimension, and what is kept by position or by step needs no place for each n.

use super::linear::{Linear, of_size, of_value};
use crate::{access::*, ir::*, op::*};
use tile_base::IndexKind;

/// For a loop over `off[e]..off[e + 1]`: that of the loops `around` it over e, if it is over all of `off` but its last element.
pub fn parted_by(graph: &Graph, inner: NodeId, around: &[NodeId]) -> Option<NodeId> {
    let bounds = graph.inputs(inner);
    let (lo, hi) = (single_load(graph, *bounds.first()?)?, single_load(graph, *bounds.get(1)?)?);
    let offsets = matches!(graph.object(lo.0).index, Some(IndexKind::Offsets(_)));
    if !offsets || lo.0 != hi.0 || hi.1.sub(&lo.1)?.as_const() != Some(1) {
        return None;
    }
    let counts = |l: &NodeId| index_of(graph, *l).is_some_and(|v| of_value(graph, v).as_ref() == Some(&lo.1));
    let outer = around.iter().copied().find(counts)?;
    let range = graph.inputs(outer);
    let parts = of_value(graph, range[1])?.offset(1)?;
    let length = of_size(graph.object(lo.0).shape.first()?)?;
    (graph.int(range[0]) == Some(0) && parts == length).then_some(outer)
}

/// The index of a loop or `par` axis over indices.
pub fn index_of(graph: &Graph, node: NodeId) -> Option<Value> {
    let (iter, body) = match &graph.node(node).op {
        Op::Par(p) => (p.iter, p.body),
        Op::For(f) => (f.iter, f.body),
        _ => return None,
    };
    graph.region_args(body).first().copied().filter(|_| matches!(iter, Iter::Each { .. }))
}

/// A load of one element of a tensor of one dimension: tensor and position.
fn single_load(graph: &Graph, v: Value) -> Option<(ObjectId, Linear)> {
    let Op::Load(a) = &graph.node(v.node).op else { return None };
    let [coord] = &a.coords[..] else { return None };
    let CoordIndex::Affine { base, terms } = &coord.index else { return None };
    if !terms.is_empty() {
        return None;
    }
    let at = match base {
        Some(port) => of_value(graph, graph.inputs(v.node)[*port as usize])?,
        None => Linear::default(),
    };
    Some((a.object, at))
}
