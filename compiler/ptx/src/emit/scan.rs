//! Running sums, products, maxima: forward or backward, with or without the element itself.
//!
//! A group of lanes goes along its line a chunk at a time. Within a chunk each lane's sum grows by doubling (Hillis and
//! Steele 1986), and the chunk's last sum is carried to the next:
//!
//! ```text
//! lanes          a    b     c      d            4 lanes
//! + lane - 1     a    ab    bc     cd
//! + lane - 2     a    ab    abc    abcd         log2(lanes) shuffles
//! + carried      ra   rab   rabc   rabcd        carried on: rabcd
//! ```
//!
//! Backward, element `n` in the scan's order is position `extent - 1 - n`: the scan begins at the last element that
//! exists. The result replaces the operand in shared memory, element by element, so no step needs another array.

use super::{Emission, Emit, lines::Line};
use crate::text::V;
use tile_base::DType;
use tile_graph::{ElemOp, NodeId, ReduceKind};

/// Which way a scan goes, and whether an element counts itself.
#[derive(Clone, Copy)]
pub(super) struct Way {
    pub reverse: bool,
    pub exclusive: bool,
}

impl Emit<'_> {
    pub(super) fn scan(&mut self, node: NodeId, axis: usize, kind: ReduceKind, way: Way) -> Emission<Vec<V>> {
        let exchange = self.exchange(node)?;
        let (array, operand) = (&exchange.arrays[0], self.g.inputs(node)[0]);
        self.step_barrier(node, 0);
        self.write_input(node, 0, array)?;
        self.step_barrier(node, 1);
        let identity = self.identity(kind, array.dtype);
        let extent = self.extent(node, self.g.type_of(operand).axes[axis])?;
        let extents = self.lines_of(operand, axis);
        self.for_each_line(&extents, exchange.lanes, |e, line| {
            e.along_line(node, operand, axis, line, &[identity], |e, at, inside, carried| {
                let position = match way.reverse {
                    true => {
                        let last = e.t.add_const(extent, -1);
                        e.t.sub(last, at)
                    }
                    false => at,
                };
                let number = e.on_line(array, &line.at, axis, position);
                // Not even read elsewhere: another group may be writing there.
                let mine = e.t.both(line.there, Some(inside)).unwrap_or(inside);
                e.t.open_if(mine, &[identity.ty]);
                let x = e.read_element(array, number);
                e.t.otherwise(&[x]);
                let x = e.t.close_if(&[identity])[0];
                let within = e.scan_lanes(line, kind, array.dtype, x, identity);
                let next = e.scan_step(kind, array.dtype, carried[0], within);
                let result = match way.exclusive {
                    true => e.lane_before(line, next, carried[0]),
                    false => next,
                };
                e.when(Some(mine), |e| e.write_element(array, number, result));
                Ok(vec![e.of_last_lane(line, next)])
            })?;
            Ok(())
        })?;
        self.step_barrier(node, 2);
        self.read_result(node, 0, array)
    }

    /// The scan over the lanes of a group.
    fn scan_lanes(&mut self, line: &Line, kind: ReduceKind, dtype: DType, x: V, identity: V) -> V {
        let mut sum = x;
        let mut distance = 1;
        while distance < i64::from(line.lanes) {
            let by = self.t.i32(distance);
            let before = self.shuffle_by("up", sum, by);
            let has = self.t.icmp("sge", line.lane, by);
            let before = self.t.select(has, before, identity);
            sum = self.scan_step(kind, dtype, before, sum);
            distance *= 2;
        }
        sum
    }

    /// The value of the lane before in its group; the first lane gets `first`.
    fn lane_before(&mut self, line: &Line, v: V, first: V) -> V {
        if line.lanes == 1 {
            return first;
        }
        let (zero, one) = (self.t.i32(0), self.t.i32(1));
        let before = self.shuffle_by("up", v, one);
        let is_first = self.t.icmp("eq", line.lane, zero);
        self.t.select(is_first, first, before)
    }

    fn scan_step(&mut self, kind: ReduceKind, dtype: DType, running: V, x: V) -> V {
        let op = match kind {
            ReduceKind::Prod => ElemOp::Mul,
            ReduceKind::Max => ElemOp::Max,
            ReduceKind::Min => ElemOp::Min,
            ReduceKind::Any => ElemOp::Or,
            ReduceKind::All => ElemOp::And,
            _ => ElemOp::Add,
        };
        self.apply(op, dtype, &[running, x], true)
    }
}
