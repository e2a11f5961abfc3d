//! Reductions by a function of the program: `reduce(x, a, f)`.
//!
//! The function is associative but may not be commutative, and it has no identity. So elements are combined in their
//! order, and whether there is an element on each side is part of what is combined. A group of lanes goes along its line
//! a chunk at a time; within a chunk, lane `n` takes on what lane `n + 2^s` holds, which keeps the order:
//!
//! ```text
//! lanes           a      b     c      d     -       the fifth lane has none
//! + lane + 1      ab     .     cd     .     -
//! + lane + 2      abcd   .     .      .     -
//! running         f(running, abcd), in every lane of the group
//! ```
//!
//! Shuffles and chunks are loops: the function's code stands twice, whatever the axis. Of no elements at all, which the
//! oracle refuses (T0464), the result is 0.

use super::{Emission, Emit, lines::Line};
use crate::text::{Ty, V};
use tile_graph::{NodeId, RegionId};
use tile_plan::exchange::Array;

impl Emit<'_> {
    pub(super) fn folded(&mut self, node: NodeId, axis: usize, combine: RegionId) -> Emission<Vec<Vec<V>>> {
        let exchange = self.exchange(node)?;
        let inputs = self.g.inputs(node);
        let (operands, results) = exchange.arrays.split_at(inputs.len());
        self.step_barrier(node, 0);
        for (port, array) in operands.iter().enumerate() {
            self.write_input(node, port as u32, array)?;
        }
        self.step_barrier(node, 1);
        let extents = self.lines_of(inputs[0], axis);
        self.for_each_line(&extents, exchange.lanes, |e, line| {
            let total = e.fold_line(node, axis, combine, line, operands)?;
            let zero = e.t.i32(0);
            let leads = e.t.icmp("eq", line.lane, zero);
            let writes = e.t.both(line.there, Some(leads));
            e.when(writes, |e| {
                for (array, &value) in results.iter().zip(&total) {
                    let number = e.on_line(array, &line.at, axis, zero);
                    e.write_element(array, number, value);
                }
            });
            Ok(())
        })?;
        self.step_barrier(node, 2);
        (0..results.len()).map(|port| self.read_result(node, port as u32, &results[port])).collect()
    }

    /// The elements of a line combined, in every lane of its group.
    fn fold_line(
        &mut self,
        node: NodeId,
        axis: usize,
        combine: RegionId,
        line: &Line,
        operands: &[Array],
    ) -> Emission<Vec<V>> {
        let mut nothing: Vec<V> =
            operands.iter().map(|a| self.identity(tile_graph::ReduceKind::Sum, a.dtype)).collect();
        nothing.push(self.t.int(Ty::I1, 0));
        let operand = self.g.inputs(node)[0];
        let mut total = self.along_line(node, operand, axis, line, &nothing, |e, at, inside, running| {
            let mut chunk: Vec<V> = vec![];
            for array in operands {
                let number = e.on_line(array, &line.at, axis, at);
                chunk.push(e.read_element(array, number));
            }
            chunk.push(inside);
            let chunk = e.fold_lanes(node, combine, line, chunk)?;
            let next = e.joined(node, combine, running, &chunk)?;
            // The first lane of the group is the one that has it all.
            let lanes = e.t.i32(-i64::from(line.lanes));
            let first = e.t.int_op("and", e.lane, lanes);
            Ok(next
                .into_iter()
                .map(|v| if line.lanes == 1 { v } else { e.shuffle_by("idx", v, first) })
                .collect())
        })?;
        total.pop();
        Ok(total)
    }

    /// The elements of a group's lanes combined, in its first lane.
    fn fold_lanes(
        &mut self,
        node: NodeId,
        combine: RegionId,
        line: &Line,
        chunk: Vec<V>,
    ) -> Emission<Vec<V>> {
        if line.lanes == 1 {
            return Ok(chunk);
        }
        let (zero, one) = (self.t.i32(0), self.t.i32(1));
        let rounds = self.t.i32(i64::from(line.lanes.ilog2()));
        let (round, mine) = self.t.open_for((zero, rounds, one), &chunk);
        let distance = self.t.int_op("shl", one, round);
        let mut other: Vec<V> = mine.iter().map(|&v| self.shuffle_by("down", v, distance)).collect();
        // Past the group's end is nothing of this line.
        let source = self.t.add(line.lane, distance);
        let lanes = self.t.i32(i64::from(line.lanes));
        let within = self.t.icmp("slt", source, lanes);
        if let Some(there) = other.last_mut() {
            *there = self.t.int_op("and", *there, within);
        }
        let next = self.joined(node, combine, &mine, &other)?;
        Ok(self.t.close_for(&next))
    }

    /// `f(a, b)` where both are there (the last field says so), else the one that is.
    fn joined(&mut self, node: NodeId, combine: RegionId, a: &[V], b: &[V]) -> Emission<Vec<V>> {
        let (Some((&there_a, a)), Some((&there_b, b))) = (a.split_last(), b.split_last()) else {
            return Err(self.bug(node, "a reduction of nothing"));
        };
        let arguments = self.g.region_args(combine);
        self.bind(&arguments, &[a, b].concat());
        self.region(combine)?;
        let mut out = vec![];
        for (at, value) in self.g.yields(combine).into_iter().enumerate() {
            let both = self.scalar(node, value)?;
            let with_a = self.t.select(there_b, both, a[at]);
            out.push(self.t.select(there_a, with_a, b[at]));
        }
        out.push(self.t.int_op("or", there_a, there_b));
        Ok(out)
    }
}
