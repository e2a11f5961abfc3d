//! Coordinates of registers, extents of axes, and the predicates that follow.
//!
//! A coordinate is the thread's part (a run-time number, the same for all registers) plus the register's part (a
//! constant). So `coordinate < extent` is `thread part < extent - constant`, and the right side is uniform.

use super::{Emission, Emit};
use crate::text::{Ty, V};
use tile_graph::{Axis, NodeId, Value};
use tile_layout::{Layout, linear::Basis};

impl Emit<'_> {
    /// The thread's part of a coordinate, i32.
    pub(super) fn thread_part(&mut self, layout: &Layout, dim: usize) -> V {
        let lane = self.bits(self.lane, &layout.lane, dim);
        let warp = self.bits(self.warp, &layout.warp, dim);
        self.t.add(lane, warp)
    }

    /// The sum of the steps along `dim` of the set bits of `number`. Runs of bits whose steps double are one shift.
    fn bits(&mut self, number: V, bases: &[Basis], dim: usize) -> V {
        let mut sum = self.t.i32(0);
        let mut bit = 0;
        while bit < bases.len() {
            let step = bases[bit][dim];
            if step == 0 {
                bit += 1;
                continue;
            }
            let mut run = 1;
            while bit + run < bases.len() && bases[bit + run][dim] == step << run {
                run += 1;
            }
            let shift = self.t.i32(bit as i64);
            let mut part = self.t.int_op("lshr", number, shift);
            // The highest bits need no mask: nothing lies above them.
            if bit + run < bases.len() || number == self.lane {
                let mask = self.t.i32((1 << run) - 1);
                part = self.t.int_op("and", part, mask);
            }
            part = self.t.mul_const(part, i64::from(step));
            sum = self.t.add(sum, part);
            bit += run;
        }
        sum
    }

    /// The greatest value of the thread's part.
    fn thread_most(layout: &Layout, dim: usize) -> u32 {
        layout.lane.iter().chain(&layout.warp).map(|b| b[dim]).sum()
    }

    /// Elements that exist along an axis, i32.
    pub(super) fn extent(&mut self, node: NodeId, axis: Axis) -> Emission<V> {
        Ok(match axis {
            Axis::One => self.t.i32(1),
            Axis::Fixed(n) => self.t.i32(n as i64),
            Axis::Span { span, times } => {
                let def = self.g.span(span);
                let (start, end) = (self.scalar(node, def.start)?, self.scalar(node, def.end)?);
                let length = self.t.sub(end, start);
                let length = self.t.convert("trunc", length, Ty::I32);
                self.t.mul_const(length, times as i64)
            }
        })
    }

    /// Whether the element of a register exists along one dimension; `None`: always.
    pub(super) fn exists(
        &mut self,
        node: NodeId,
        layout: &Layout,
        dim: usize,
        axis: Axis,
        at: u32,
    ) -> Emission<Option<V>> {
        let thread = self.thread_part(layout, dim);
        match axis {
            Axis::One if layout.coverage(dim) == 1 => Ok(None),
            // The first row of a padded one.
            Axis::One => {
                let left = self.t.i32(1 - i64::from(at));
                Ok(Some(self.t.icmp("slt", thread, left)))
            }
            Axis::Fixed(n) if u64::from(Self::thread_most(layout, dim) + at) < n => Ok(None),
            Axis::Fixed(_) | Axis::Span { .. } => {
                let extent = self.extent(node, axis)?;
                let left = self.t.add_const(extent, -i64::from(at));
                Ok(Some(self.t.icmp("slt", thread, left)))
            }
        }
    }

    /// Registers of a tile with `fill` where the element does not exist along `dim`.
    pub(super) fn cleared(
        &mut self,
        node: NodeId,
        value: Value,
        layout: &Layout,
        registers: &[V],
        dim: usize,
        fill: V,
    ) -> Emission<Vec<V>> {
        let axis = self.g.type_of(value).axes[dim];
        (0..registers.len())
            .map(|r| {
                let at = layout.register_offset(r)[dim];
                Ok(match self.exists(node, layout, dim, axis, at)? {
                    Some(inside) => self.t.select(inside, registers[r], fill),
                    None => registers[r],
                })
            })
            .collect()
    }

    /// Emits writes to shared memory for one of the threads that hold each element. Copies in other warps would write
    /// the same place at the same time, a race; copies in other lanes of one warp write equal values at once, which
    /// is none but costs bank conflicts.
    pub(super) fn once_among_holders(&mut self, holders: Copies, write: impl FnOnce(&mut Self)) {
        match self.first_of(holders) {
            Some(first) => {
                self.t.open_if(first, &[]);
                write(self);
                self.t.close_if(&[]);
            }
            None => write(self),
        }
    }

    /// True in one of the threads that hold each element; `None`: each is held once.
    pub(super) fn owner(&mut self, layout: &Layout) -> Option<V> {
        self.first_of(Copies::of(layout))
    }

    fn first_of(&mut self, holders: Copies) -> Option<V> {
        let mut first = None;
        for (number, free) in [(self.lane, holders.lanes), (self.warp, holders.warps)] {
            if free != 0 {
                let mask = self.t.i32(i64::from(free));
                let bits = self.t.int_op("and", number, mask);
                let zero = self.t.i32(0);
                let here = self.t.icmp("eq", bits, zero);
                first = self.t.both(first, Some(here));
            }
        }
        first
    }
}

/// Bits of lane and warp numbers on which a tile does not depend: threads that differ in these alone hold copies.
#[derive(Clone, Copy)]
pub(super) struct Copies {
    pub lanes: u32,
    pub warps: u32,
}

impl Copies {
    pub(super) fn of(layout: &Layout) -> Copies {
        Copies { lanes: layout.free_lanes(), warps: layout.free_warps() }
    }
}
