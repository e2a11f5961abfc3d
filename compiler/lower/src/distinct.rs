//! Which index tensors must not repeat a position, so that the launcher can look (T0848).
//!
//! ```text
//! par t in L, g in tiles(HK, BH) {
//!     kc[unique(slot[t]), g, d] = …        slot: in id<NS>[L]
//! }
//! ```
//!
//! The author claims that no two elements of the store go to one place. Here that holds exactly when `slot` repeats no
//! element: each is the position of one step of `t`, every step stores, and the other coordinates (`g`, `d`) take the same
//! values in all of them. Then the claim is a fact about an argument, which the host sees on every device. Where a position is
//! computed, where only some steps store, or where another coordinate depends on `t` (`kc[unique(page[t]), t % P]`), a
//! repeated element may be right, and the oracle tests the claim instead (T0465).

use crate::obligations::{Covers, covers, loops, unconditional};
use std::collections::HashSet;
use tile_base::{IndexKind, Mode, signature::ParamKind};
use tile_graph::{Access, CoordIndex, Graph, NodeId, Op, ROOT, Value};

/// Marks the parameters of the graph's signature.
pub fn mark(graph: &mut Graph) {
    let stores = graph.nodes_under(ROOT);
    let found: Vec<usize> = stores.into_iter().filter_map(|n| positions(graph, n)).collect();
    for at in found {
        if let ParamKind::Tensor(p) = &mut graph.signature.params[at] {
            p.distinct = true;
        }
    }
}

/// The parameter whose elements are the positions of a `unique` store, one for each element.
fn positions(graph: &Graph, store: NodeId) -> Option<usize> {
    let Op::Store { access, unique: true } = &graph.node(store).op else { return None };
    if access.mask.is_some() || access.otherwise.is_some() || !unconditional(graph, store) {
        return None;
    }
    (0..access.coords.len()).find_map(|dim| listed(graph, store, access, dim))
}

/// The same for one coordinate of the store.
fn listed(graph: &Graph, store: NodeId, access: &Access, dim: usize) -> Option<usize> {
    let inputs = graph.inputs(store);
    let (position, tile_axes) = match &access.coords[dim].index {
        CoordIndex::Affine { base: Some(port), terms } if terms.is_empty() => {
            (inputs[*port as usize], vec![])
        }
        CoordIndex::Gather { index, axes } => (inputs[*index as usize], axes.clone()),
        CoordIndex::Affine { .. } => return None,
    };
    let Op::Load(from) = &graph.node(position.node).op else { return None };
    let list = graph.object(from.object);
    let given = matches!(list.index, Some(IndexKind::Id(_))) && list.mode == Mode::In;
    if !given || from.mask.is_some() || from.otherwise.is_some() {
        return None;
    }
    let all = loops(graph, store);
    let mut others = all.clone();
    for along in 0..from.coords.len() {
        let Covers::Whole = covers(graph, position.node, from, along, &mut others)? else { return None };
    }
    let walked: Vec<NodeId> = all.into_iter().filter(|l| !others.contains(l)).collect();
    let same_for_each = |other: usize| {
        let coord = &access.coords[other];
        let ports = match &coord.index {
            CoordIndex::Affine { base, .. } => *base,
            CoordIndex::Gather { index, .. } => Some(*index),
        };
        let bases = ports.into_iter().chain(coord.lo).chain(coord.hi);
        !coord.axes().iter().any(|a| tile_axes.contains(a))
            && bases.into_iter().all(|port| !depends(graph, inputs[port as usize], &walked))
    };
    (0..access.coords.len()).filter(|&other| other != dim).all(same_for_each).then_some(list.param)
}

/// Whether a value may differ between steps of these loops.
fn depends(graph: &Graph, value: Value, loops: &[NodeId]) -> bool {
    let (mut seen, mut open) = (HashSet::new(), vec![value.node]);
    while let Some(node) = open.pop() {
        if !seen.insert(node) {
            continue;
        }
        match &graph.node(node).op {
            // A variable of a loop: of one of these, or of one whose range may differ between their steps.
            Op::RegionArgs => match graph.region(graph.node(node).region).owner {
                Some(owner) if loops.contains(&owner) => return true,
                Some(owner) => open.extend(graph.inputs(owner).into_iter().map(|v| v.node)),
                None => {}
            },
            // What their bodies capture is not looked at.
            Op::For(_) | Op::While { .. } | Op::If { .. } => return true,
            _ => open.extend(graph.inputs(node).into_iter().map(|v| v.node)),
        }
    }
    false
}
