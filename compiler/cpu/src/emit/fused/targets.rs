//! Which members of a group are stored, and where.
//!
//! A member is stored if something outside the group, or a later phase of it, reads it. It may take the buffer of an
//! operand that ends here over: `acc * c` is then an update in place.

use super::super::{
    Emit, Result,
    buffers::{Base, Stride, Tile, layout},
};
use crate::{
    fuse::{self, Group, Kind},
    runtime::Class,
};
use std::collections::{HashMap, HashSet};
use tile_graph::{Axis, NodeId, Op, Value};

impl Emit<'_, '_> {
    /// A new tile of the arena for a value, kept until step `until`.
    pub fn new_tile(&mut self, class: Class, axes: &[Axis], until: usize) -> Tile {
        let capacities: Vec<u64> = axes.iter().map(|&a| self.capacity(a)).collect();
        let (strides, elements) = layout(&capacities);
        let buffer = self.buffers.take(elements.saturating_mul(class.bytes()), until);
        Tile {
            class,
            base: Base::Arena(self.buffers.offset(buffer)),
            strides: strides.into_iter().map(Stride::Const).collect(),
            buffer: Some(buffer),
        }
    }

    pub fn last_use(&self, value: Value) -> usize {
        self.live.last.get(&value).copied().unwrap_or(self.position)
    }

    /// A full member runs in the phase after the reductions it reads; a reduction is ready one phase later.
    pub(super) fn phases(&self, group: &Group) -> HashMap<NodeId, usize> {
        let mut phases: HashMap<NodeId, usize> = HashMap::new();
        for &m in &group.members {
            let mut found = vec![];
            self.graph.inputs(m).iter().for_each(|&v| fuse::bases(self.graph, v, true, &mut found));
            let ready = |v: &Value| {
                let phase = phases.get(&v.node)?;
                let reduces = matches!(self.graph.node(v.node).op, Op::Reduce { .. });
                Some(phase + reduces as usize)
            };
            let phase = found.iter().filter_map(|(v, _)| ready(v)).max().unwrap_or(0);
            phases.insert(m, phase);
        }
        phases
    }

    /// Tiles for the members that something outside the nest, or a later phase of it, reads.
    pub(super) fn targets(
        &mut self,
        group: &Group,
        phases: &HashMap<NodeId, usize>,
    ) -> Result<HashMap<NodeId, Tile>> {
        let members: HashSet<NodeId> = group.members.iter().copied().collect();
        let mut targets = HashMap::new();
        let mut taken: HashSet<usize> = HashSet::new();
        for &m in &group.members {
            let value = Self::out(m);
            let row = fuse::is_row(group, &self.graph.node(m).outputs[0]);
            let outside = self.read_outside(value, &members);
            let later =
                !row && group.members.iter().any(|&n| phases[&n] > phases[&m] && self.reads(n, value));
            if !outside && !later {
                continue;
            }
            let until = if outside { self.last_use(value) } else { self.position };
            let tile = match self.take_over(group, phases, m, &taken) {
                Some(tile) => tile,
                None => {
                    let ty = &self.graph.node(m).outputs[0];
                    self.new_tile(Class::of(ty.dtype), &ty.axes, until)
                }
            };
            if let Some(buffer) = tile.buffer {
                self.buffers.occupy(buffer, until);
                taken.insert(buffer);
            }
            targets.insert(m, tile);
        }
        Ok(targets)
    }

    pub(super) fn reads(&self, node: NodeId, value: Value) -> bool {
        let mut found = vec![];
        self.graph.inputs(node).iter().for_each(|&v| fuse::bases(self.graph, v, true, &mut found));
        found.iter().any(|(v, _)| *v == value)
    }

    /// Whether a node other than the members reads the value, directly or through inline nodes.
    pub(super) fn read_outside(&self, value: Value, members: &HashSet<NodeId>) -> bool {
        self.graph.uses(value).iter().any(|&(user, _)| {
            if members.contains(&user) {
                return false;
            }
            match fuse::kind(self.graph, user) {
                Kind::Inline => self.read_outside(Self::out(user), members),
                _ => true,
            }
        })
    }

    /// The buffer of an operand that ends here: written over position by position. It has to lie as the result
    /// would, to be read in no later phase, and to be read straight.
    pub(super) fn take_over(
        &mut self,
        group: &Group,
        phases: &HashMap<NodeId, usize>,
        node: NodeId,
        taken: &HashSet<usize>,
    ) -> Option<Tile> {
        let ty = self.graph.node(node).outputs[0].clone();
        let capacities: Vec<u64> = ty.axes.iter().map(|&a| self.capacity(a)).collect();
        let (strides, _) = layout(&capacities);
        let strides: Vec<Stride> = strides.into_iter().map(Stride::Const).collect();
        let mut found = vec![];
        self.graph.inputs(node).iter().for_each(|&v| fuse::bases(self.graph, v, true, &mut found));
        for (value, _) in found {
            let same = self.graph.type_of(value).axes == ty.axes && !phases.contains_key(&value.node);
            let Some(tile) = self.stored(value).filter(|_| same) else { continue };
            let Some(buffer) = tile.buffer.filter(|b| !taken.contains(b)) else { continue };
            let fits = tile.class == Class::of(ty.dtype)
                && tile.strides == strides
                && tile.base == Base::Arena(self.buffers.offset(buffer));
            // Whatever else reads this buffer in the group has to do so no later, and straight.
            let clear = group.members.iter().all(|&m| {
                let mut read = vec![];
                self.graph.inputs(m).iter().for_each(|&v| fuse::bases(self.graph, v, true, &mut read));
                read.iter().all(|(v, aligned)| {
                    let same_buffer = self.stored(*v).is_some_and(|t| t.buffer == Some(buffer));
                    !same_buffer || (*v == value && *aligned && phases[&m] <= phases[&node])
                })
            });
            if fits && clear && self.buffers.is_spent(buffer, self.position) {
                return Some(tile);
            }
        }
        None
    }
}
