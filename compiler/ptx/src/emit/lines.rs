//! Groups of lanes that each take one line of an array: the loop around scans, selections and reductions by a function.
//!
//! A group is `lanes` neighbouring threads of one warp. All groups go round the same number of times, so that every lane
//! of a warp reaches every shuffle; a group without a line left works on line 0 and writes nothing.
//!
//! ```text
//! 4 warps, 16 lanes a line, 20 lines:   round 0: groups 0..8 take lines 0..8     round 2: groups 0..4 take lines 16..20
//! ```

use super::{Emission, Emit};
use crate::text::{Ty, V};
use tile_graph::{NodeId, Value};
use tile_plan::exchange::Array;

/// The line of a group of lanes.
pub(super) struct Line {
    /// Where it lies: one coordinate per dimension, 0 along its own.
    pub at: Vec<V>,
    /// Whether this group has one; `None`: always.
    pub there: Option<V>,
    /// The lane's number in its group, and how many it has.
    pub lane: V,
    pub lanes: u32,
}

impl Emit<'_> {
    /// The thread's number in its block.
    pub(super) fn thread(&mut self) -> V {
        self.t.pure("nvvm.read.ptx.sreg.tid.x : i32".into(), &[], Ty::I32)
    }

    /// Lines of a tile along an axis, as extents of all dimensions with 1 for the axis.
    pub(super) fn lines_of(&self, value: Value, axis: usize) -> Vec<u32> {
        let mut extents = self.shapes().extents(self.g.type_of(value));
        extents[axis] = 1;
        extents
    }

    /// Emits code that works on one line at a time, `lanes` threads a line.
    pub(super) fn for_each_line(
        &mut self,
        extents: &[u32],
        lanes: u32,
        work: impl FnOnce(&mut Self, &Line) -> Emission<()>,
    ) -> Emission<()> {
        let (count, groups) = (extents.iter().product::<u32>(), self.plan.threads() / lanes);
        let thread = self.thread();
        let (shift, mask) = (self.t.i32(i64::from(lanes.ilog2())), self.t.i32(i64::from(lanes - 1)));
        let (group, lane) = (self.t.int_op("lshr", thread, shift), self.t.int_op("and", thread, mask));
        let bounds = (self.t.i32(0), self.t.i32(i64::from(count)), self.t.i32(i64::from(groups)));
        let (first, _) = self.t.open_for(bounds, &[]);
        let number = self.t.add(first, group);
        let there = (!count.is_multiple_of(groups)).then(|| self.t.icmp("slt", number, bounds.1));
        let number = match there {
            Some(there) => self.t.select(there, number, bounds.0),
            None => number,
        };
        let line = Line { at: self.unravelled(number, extents), there, lane, lanes };
        work(self, &line)?;
        self.t.close_for(&[]);
        Ok(())
    }

    /// Coordinates of a row-major number.
    pub(super) fn unravelled(&mut self, number: V, extents: &[u32]) -> Vec<V> {
        let mut rest = number;
        let mut at = vec![];
        let last = extents.iter().position(|&e| e != 1).unwrap_or(0);
        for (d, &extent) in extents.iter().enumerate().rev() {
            let n = self.t.i32(i64::from(extent));
            at.push(match extent {
                1 => self.t.i32(0),
                _ if d == last => rest,
                _ => self.t.pure(format!("llvm.urem {rest}, {n} : i32"), &[rest, n], Ty::I32),
            });
            if extent != 1 && d != last {
                rest = self.t.pure(format!("llvm.udiv {rest}, {n} : i32"), &[rest, n], Ty::I32);
            }
        }
        at.reverse();
        at
    }

    /// The number of the element at `position` of a line.
    pub(super) fn on_line(&mut self, array: &Array, at: &[V], axis: usize, position: V) -> V {
        let mut number = self.t.mul_const(position, i64::from(array.strides[axis]));
        for (&coordinate, &stride) in at.iter().zip(&array.strides) {
            let part = self.t.mul_const(coordinate, i64::from(stride));
            number = self.t.add(number, part);
        }
        number
    }

    /// Rounds over a line, `lanes` elements each. The work gets the lane's element (0 where there is none left),
    /// whether there is one, and what the round before carried on.
    pub(super) fn along_line(
        &mut self,
        node: NodeId,
        operand: Value,
        axis: usize,
        line: &Line,
        initial: &[V],
        work: impl FnOnce(&mut Self, V, V, &[V]) -> Emission<Vec<V>>,
    ) -> Emission<Vec<V>> {
        let extent = self.extent(node, self.g.type_of(operand).axes[axis])?;
        let bounds = (self.t.i32(0), extent, self.t.i32(i64::from(line.lanes)));
        let (first, carried) = self.t.open_for(bounds, initial);
        let at = self.t.add(first, line.lane);
        let inside = self.t.icmp("slt", at, extent);
        let at = self.t.select(inside, at, bounds.0);
        let next = work(self, at, inside, &carried)?;
        Ok(self.t.close_for(&next))
    }

    /// Emits code under a condition, if there is one.
    pub(super) fn when(&mut self, condition: Option<V>, work: impl FnOnce(&mut Self)) {
        if let Some(condition) = condition {
            self.t.open_if(condition, &[]);
        }
        work(self);
        if condition.is_some() {
            self.t.close_if(&[]);
        }
    }

    /// The value of the last lane of each lane's group.
    pub(super) fn of_last_lane(&mut self, line: &Line, v: V) -> V {
        if line.lanes == 1 {
            return v;
        }
        let last = self.t.i32(i64::from(line.lanes - 1));
        let source = self.t.int_op("or", self.lane, last);
        self.shuffle_by("idx", v, source)
    }
}
