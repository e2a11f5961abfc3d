//! Inserts a conversion wherever a consumer needs another layout than its operand has.

use crate::{
    exchange::{self, Exchange},
    infer::{Layouts, demanded},
    local,
    plan::*,
    shape::Shapes,
    triangular::Room,
};
use std::collections::BTreeMap;
use tile_graph::{Graph, NodeId, Op, Value};
use tile_layout::{Layout, convert};

pub struct Conversions {
    pub at: BTreeMap<(NodeId, u32), Conversion>,
    pub cross_warp: BTreeMap<NodeId, BufferId>,
    pub exchanges: BTreeMap<NodeId, Exchange>,
}

/// Conversions at ports and results, and what reductions over warps and exchanges of elements have in shared memory.
pub fn insert(
    shapes: &Shapes,
    layouts: &Layouts,
    dots: &BTreeMap<NodeId, Dot>,
    warps: u32,
    buffers: &mut Vec<Buffer>,
) -> Conversions {
    let graph = shapes.graph;
    let mut out =
        Conversions { at: BTreeMap::new(), cross_warp: BTreeMap::new(), exchanges: BTreeMap::new() };
    let fused: BTreeMap<NodeId, NodeId> = dots.iter().map(|(&dot, d)| (d.at, dot)).collect();
    for node in graph.nodes_under(tile_graph::ROOT) {
        if graph.in_claim(node) {
            continue;
        }
        let is_dot = matches!(graph.node(node).op, Op::Dot(_));
        for (port, operand) in graph.inputs(node).into_iter().enumerate() {
            let port = port as u32;
            if is_dot || (fused.contains_key(&node) && operand.node == fused[&node]) {
                continue;
            }
            let wanted = match fused.get(&node) {
                Some(dot) => Some(dots[dot].layout.clone()),
                None => demanded(shapes, layouts, node, port, operand),
            };
            if let (Some(wanted), Some(have)) = (wanted, layouts.get(&operand))
                && let Some(c) = conversion(graph, operand, have, &wanted, buffers)
            {
                out.at.insert((node, port), c);
            }
        }
        if let Some(exchange) = exchange::plan(shapes, layouts, node, warps, buffers) {
            out.exchanges.insert(node, exchange);
            continue;
        }
        if graph.node(node).op == Op::UnitLowerInv
            && let (Some(from), Some(to)) =
                (layouts.get(&graph.inputs(node)[0]), layouts.get(&Value { node, port: 0 }))
        {
            let dtype = graph.node(node).outputs[0].dtype;
            buffers.push(Room::of(dtype, from, to).buffer(graph, node));
            out.cross_warp.insert(node, buffers.len() - 1);
        }
        let made = match &graph.node(node).op {
            Op::Reduce { axis, .. } => {
                let operand = graph.inputs(node)[0];
                let Some(from) = layouts.get(&operand) else { continue };
                let axis = *axis as usize;
                if from.warp.iter().any(|b| b[axis] != 0) {
                    buffers.push(partials(graph, node, from, axis));
                    out.cross_warp.insert(node, buffers.len() - 1);
                }
                Some(from.project(&(0..from.rank()).map(|d| d != axis).collect::<Vec<_>>()))
            }
            op if local::rearranges(op) => {
                let operand = graph.inputs(node)[0];
                layouts.get(&operand).and_then(|from| local::made(shapes, node, from))
            }
            _ => fused.get(&node).map(|dot| dots[dot].layout.clone()),
        };
        let result = Value { node, port: 0 };
        if let (Some(made), Some(wanted)) = (made, layouts.get(&result))
            && let Some(c) = conversion(graph, result, &made, wanted, buffers)
        {
            out.at.insert((node, RESULT), c);
        }
    }
    out
}

/// Room for one partial result of each warp along the reduced axis; twice for a value with its position.
fn partials(graph: &Graph, node: NodeId, from: &Layout, axis: usize) -> Buffer {
    let rows: u32 = (0..from.rank()).filter(|&d| d != axis).map(|d| from.coverage(d)).product();
    let warps = 1u32 << from.warp.iter().filter(|b| b[axis] != 0).count();
    // A value of at most 8 bytes, and a position of 8 when the reduction asks where.
    let name = format!("{}.partials", graph.node(node).path.as_deref().unwrap_or("reduce"));
    Buffer { name, bytes: rows * warps * 16, ..Buffer::default() }
}

fn conversion(
    graph: &Graph,
    value: Value,
    have: &Layout,
    wanted: &Layout,
    buffers: &mut Vec<Buffer>,
) -> Option<Conversion> {
    if have == wanted {
        return None;
    }
    if let Some(map) = convert::registers(have, wanted) {
        return Some(Conversion { to: wanted.clone(), how: How::Registers(map) });
    }
    let extents: Vec<u32> = (0..have.rank()).map(|d| have.coverage(d).max(wanted.coverage(d))).collect();
    let ty = graph.type_of(value);
    let element = ty.dtype.bits().max(8) as u32 / 8;
    let name = format!("{}.layout", graph.node(value.node).path.as_deref().unwrap_or("tile"));
    buffers.push(Buffer { name, bytes: extents.iter().product::<u32>() * element, ..Buffer::default() });
    Some(Conversion { to: wanted.clone(), how: How::Shared { buffer: buffers.len() - 1, extents } })
}

/// Regions that are claims, not code: combiners are not run.
pub trait Claims {
    /// Whether the node stands in a combiner region.
    fn in_claim(&self, node: NodeId) -> bool;
}

impl Claims for Graph {
    fn in_claim(&self, node: NodeId) -> bool {
        let mut region = Some(self.node(node).region);
        while let Some(r) = region {
            if matches!(self.region(r).kind, tile_graph::RegionKind::Combine) {
                return true;
            }
            region = self.parent(r);
        }
        false
    }
}
