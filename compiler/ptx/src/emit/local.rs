//! Rearrangements by renaming (see `tile_plan::local`): slices, splits and merges whose result is the operand's registers
//! under other coordinates.

use super::{Emission, Emit};
use crate::text::V;
use tile_graph::{NodeId, Op};
use tile_plan::{exchange, local};

impl Emit<'_> {
    /// A slice, a split or a merge; through shared memory where lanes would have to be asked.
    pub(super) fn part(&mut self, node: NodeId) -> Emission<Vec<V>> {
        match self.plan.exchanges.contains_key(&node) {
            true => self.rearranged(node),
            false => self.renamed(node),
        }
    }

    fn renamed(&mut self, node: NodeId) -> Emission<Vec<V>> {
        let registers = self.input(node, 0)?;
        let from = self.input_layout(node, 0)?;
        let made = local::made(&self.shapes(), node, &from)
            .ok_or_else(|| self.bug(node, "an operand that cannot be renamed"))?;
        let op = self.g.node(node).op.clone();
        let axes = &self.g.type_of(self.g.inputs(node)[0]).axes;
        let source = |mut at: Vec<u32>| match op {
            Op::Slice { axis, lo } => {
                at[axis as usize] += lo as u32;
                at
            }
            Op::Split { axis, minor } => {
                let inner = at.remove(axis as usize + 1);
                at[axis as usize] = at[axis as usize] * minor as u32 + inner;
                at
            }
            Op::Merge { axis } => {
                let minor = axes.get(axis as usize + 1).map_or(1, |&a| exchange::fixed(a));
                let whole = at[axis as usize];
                at[axis as usize] = whole / minor;
                at.insert(axis as usize + 1, whole % minor);
                at
            }
            _ => at,
        };
        // A slice may be padded past the end of what it is cut from.
        let register =
            |r: usize| registers[from.find_register(&source(made.register_offset(r))).unwrap_or(0)];
        Ok((0..made.registers()).map(register).collect())
    }
}
