//! Rearrangements that are a renaming of registers: splits and merges of axes, and parts of an axis that no lane or
//! warp is spread along. The rest goes through shared memory ([`crate::exchange`]).
//!
//! ```text
//! y.split(1, 2)[:, :, 0] of an accumulator     the lowest register bit moves along columns: it becomes the pair's axis,
//!                                              and the slice keeps every other register
//! ```

use crate::shape::Shapes;
use tile_graph::{Axis, NodeId, Op};
use tile_layout::Layout;

/// Whether an operation only gives elements other coordinates.
pub fn rearranges(op: &Op) -> bool {
    matches!(op, Op::Slice { .. } | Op::Split { .. } | Op::Merge { .. })
}

/// In which layout such an operation makes its result from an operand by renaming alone; `None` where that is not
/// enough.
pub fn made(shapes: &Shapes, node: NodeId, operand: &Layout) -> Option<Layout> {
    let n = shapes.graph.node(node);
    match &n.op {
        Op::Split { axis, minor } => split(operand, *axis as usize, *minor as u32),
        Op::Merge { axis } => {
            let input = *shapes.graph.inputs(node).first()?;
            let second = *shapes.graph.type_of(input).axes.get(*axis as usize + 1)?;
            merge(operand, *axis as usize, crate::exchange::fixed(second))
        }
        Op::Slice { axis, .. } => {
            slice(operand, *axis as usize, shapes.padded(n.outputs[0].axes[*axis as usize]))
        }
        _ => None,
    }
}

/// The operand's layout from the result's, where the operation is a renaming.
pub fn unmade(shapes: &Shapes, node: NodeId, result: &Layout) -> Option<Layout> {
    let input = *shapes.graph.inputs(node).first()?;
    match &shapes.graph.node(node).op {
        Op::Split { axis, minor } => merge(result, *axis as usize, *minor as u32),
        Op::Merge { axis } => match shapes.graph.type_of(input).axes.get(*axis as usize + 1)? {
            Axis::Fixed(minor) => split(result, *axis as usize, *minor as u32),
            _ => None,
        },
        _ => None,
    }
}

/// A part of `length` elements of an axis along which only registers move.
fn slice(layout: &Layout, axis: usize, length: u32) -> Option<Layout> {
    if layout.lane.iter().chain(&layout.warp).any(|step| step[axis] != 0) {
        return None;
    }
    let mut part = layout.clone();
    part.register.retain(|step| step[axis] == 0);
    part.reps[axis] = length;
    Some(part)
}

/// `[.., a, ..]` as `[.., a / minor, minor, ..]`: bits below `minor` move the second, the others the first. `None` where
/// the bits do not fall apart (`minor` is no power of two).
fn split(layout: &Layout, axis: usize, minor: u32) -> Option<Layout> {
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

/// `[.., a, minor, ..]` as `[.., a * minor, ..]`. `None` where the layout covers more than `minor` positions of the
/// second axis, or where its repeats would come between bits of the first.
fn merge(layout: &Layout, axis: usize, minor: u32) -> Option<Layout> {
    if layout.coverage(axis + 1) != minor || !minor.is_power_of_two() {
        return None;
    }
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
        assert_eq!(merge(&pairs, 1, 2).map(|l| l.coverage(1)), Some(64));
        assert_eq!(merge(&pairs, 1, 3), None);
    }

    #[test]
    fn one_of_each_pair_is_every_other_register() {
        let pairs = split(&fragment::accumulator(16, 64, 1, 1), 1, 2).expect("a power of two");
        let first = slice(&pairs, 2, 1).expect("pairs lie in registers");
        assert_eq!(first.registers() * 2, pairs.registers());
        assert_eq!(slice(&pairs, 0, 1), None);
    }

    fn split_at(at: &[u32]) -> Vec<u32> {
        vec![at[0], at[1] / 2, at[1] % 2]
    }
}
