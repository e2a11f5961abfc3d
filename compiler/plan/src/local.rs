//! Operations that want one axis of their operand whole within each thread: running sums, selection of the greatest,
//! parts of an axis.
//!
//! Such an operation is a loop over registers when no lane has to be asked. Its operand is converted to a layout in
//! which the axis lies in the registers alone (as repeats of a block of one) and the other axes are spread over lanes
//! and warps; where these have fewer elements than there are threads, threads hold copies.
//!
//! ```text
//! cumsum over t of g[t, h], 64 x 8, 4 warps:   register bits -> none      repeats -> 64 along t, 1 along h
//!                                              lane bits     -> (0,1) (0,2) (0,4), then none
//! ```
//!
//! The result is made in the same layout, with the axis as long as the result's, and converted to what its users want.
//! Simple and right for every shape; a scan over lanes is the planner's affair.

use crate::shape::Shapes;
use tile_graph::{NodeId, Op, ValueType};
use tile_layout::{
    Layout,
    blocked::{WarpOrder, blocked},
};

/// The axis that an operation wants whole.
pub fn axis(op: &Op) -> Option<usize> {
    match op {
        Op::Scan { axis, .. }
        | Op::TopK { axis, .. }
        | Op::Slice { axis, .. }
        | Op::Concat { axis }
        | Op::Take { axis } => Some(*axis as usize),
        _ => None,
    }
}

/// A layout with `axis` in registers.
pub fn layout(shapes: &Shapes, ty: &ValueType, axis: usize, warps: u32) -> Layout {
    let mut extents = shapes.extents(ty);
    let along = std::mem::replace(&mut extents[axis], 1);
    let fast = (0..extents.len()).rev().find(|&d| d != axis).unwrap_or(0);
    let mut layout = blocked(&extents, fast, 1, warps, WarpOrder::SlowFirst);
    layout.reps[axis] = along;
    layout
}

/// What input `port` of such an operation has to look like, given what it looks like; a rearrangement takes its operand
/// as it is wherever the rearrangement is a renaming of bits.
pub fn demanded(
    shapes: &Shapes,
    node: NodeId,
    port: u32,
    operand: &ValueType,
    have: &Layout,
) -> Option<Layout> {
    let warps = have.warps();
    match &shapes.graph.node(node).op {
        Op::Split { axis, minor } => match split(have, *axis as usize, *minor as u32) {
            Some(_) => Some(have.clone()),
            None => Some(layout(shapes, operand, *axis as usize, warps)),
        },
        Op::Merge { axis } => match merge(have, *axis as usize) {
            Some(_) => Some(have.clone()),
            None => {
                let second = *axis as usize + 1;
                let mut extents = shapes.extents(operand);
                let minor = std::mem::replace(&mut extents[second], 1);
                let along = std::mem::replace(&mut extents[*axis as usize], 1);
                let fast = (0..extents.len()).rev().find(|&d| d != second).unwrap_or(0);
                let mut wanted = blocked(&extents, fast, 1, warps, WarpOrder::SlowFirst);
                (wanted.reps[*axis as usize], wanted.reps[second]) = (along, minor);
                Some(wanted)
            }
        },
        // The positions to take: one axis, all of it in every thread.
        Op::Take { .. } if port == 1 => Some(layout(shapes, operand, 0, warps)),
        op => Some(layout(shapes, operand, axis(op)?, warps)),
    }
}

/// In which layout result `port` is made from an operand in the layout demanded.
pub fn made(shapes: &Shapes, node: NodeId, port: u32, operand: &Layout) -> Option<Layout> {
    let n = shapes.graph.node(node);
    match &n.op {
        Op::Split { axis, minor } => split(operand, *axis as usize, *minor as u32),
        Op::Merge { axis } => merge(operand, *axis as usize),
        op => {
            let axis = axis(op)?;
            let mut layout = operand.clone();
            layout.reps[axis] = shapes.padded(n.outputs[port as usize].axes[axis]);
            Some(layout)
        }
    }
}

/// Whether an operation is one of these.
pub fn is_local(op: &Op) -> bool {
    axis(op).is_some() || matches!(op, Op::Split { .. } | Op::Merge { .. })
}

/// `[.., a, ..]` as `[.., a / minor, minor, ..]`: bits below `minor` move the second, the others the first. `None` where
/// the bits do not fall apart (`minor` is no power of two).
pub fn split(layout: &Layout, axis: usize, minor: u32) -> Option<Layout> {
    let part = |basis: &[u32]| {
        let mut out = basis.to_vec();
        let at = basis[axis];
        out[axis] = at / minor;
        out.insert(axis + 1, at % minor);
        out
    };
    let block = layout.block(axis);
    let (fits, mut reps) = (minor.is_power_of_two() && block.is_power_of_two(), layout.reps.clone());
    let inner = (minor / block.min(minor)).max(1);
    if !fits || !reps[axis].is_multiple_of(inner) {
        return None;
    }
    reps[axis] /= inner;
    reps.insert(axis + 1, inner);
    Some(renamed(layout, part, reps))
}

/// `[.., a, minor, ..]` as `[.., a * minor, ..]`. `None` where repeats of the second axis would come between bits of
/// the first.
pub fn merge(layout: &Layout, axis: usize) -> Option<Layout> {
    let minor = layout.coverage(axis + 1);
    let part = |basis: &[u32]| {
        let mut out = basis.to_vec();
        let inner = out.remove(axis + 1);
        out[axis] = out[axis] * minor + inner;
        out
    };
    let mut reps = layout.reps.clone();
    let inner = reps.remove(axis + 1);
    if inner != 1 && layout.block(axis) != 1 {
        return None;
    }
    reps[axis] *= inner;
    Some(renamed(layout, part, reps))
}

/// The layout with every step under its new coordinates.
fn renamed(layout: &Layout, step: impl Fn(&[u32]) -> Vec<u32>, reps: Vec<u32>) -> Layout {
    let each = |bases: &[Vec<u32>]| bases.iter().map(|b| step(b)).collect();
    Layout { register: each(&layout.register), lane: each(&layout.lane), warp: each(&layout.warp), reps }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tile_layout::fragment;

    #[test]
    fn pairs_of_an_accumulator_are_its_lowest_register_bit() {
        let whole = fragment::accumulator(16, 64, 1, 1);
        let pairs = split(&whole, 1, 2).expect("a power of two");
        assert_eq!(pairs.rank(), 3);
        for (register, lane) in [(0, 0), (1, 0), (3, 13), (7, 31)] {
            let at = whole.coordinate(register, lane, 0);
            let apart = pairs.coordinate(
                pairs.find_register(&split_at(&whole.register_offset(register))).unwrap(),
                lane,
                0,
            );
            assert_eq!(apart, split_at(&at));
        }
        assert_eq!(merge(&pairs, 1).map(|l| l.coverage(1)), Some(64));
    }

    fn split_at(at: &[u32]) -> Vec<u32> {
        vec![at[0], at[1] / 2, at[1] % 2]
    }
}
