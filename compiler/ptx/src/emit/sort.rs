//! Stable sorting of each line with its positions, by a bitonic network (Batcher 1968) over shared memory.
//!
//! A line is thought of as padded to a power of two by elements that come last. Stage (m, s) compares elements `2^s`
//! apart, in runs of `2^(m+1)` that go up and down by turns. The positions travel along and break ties, so the network,
//! which is not stable, gives the stable order. The stages are one loop with a barrier a trip, the comparisons another:
//! the code does not grow with the line.
//!
//! ```text
//! 4 elements   stage (0, 0)   pairs 0-1 up, 2-3 down
//!              stage (1, 1)   pairs 0-2, 1-3 up
//!              stage (1, 0)   pairs 0-1, 2-3 up
//! ```

use super::{Emission, Emit, order::Placed};
use crate::text::V;
use tile_graph::{NodeId, Value};
use tile_plan::exchange::Array;

/// The lines being sorted.
struct Lines<'a> {
    node: NodeId,
    axis: usize,
    values: &'a Array,
    positions: &'a Array,
    /// Extents of the lines, and of one line: a power of two.
    extents: Vec<u32>,
    length: u32,
    descending: bool,
    /// Elements that exist.
    extent: V,
}

impl Emit<'_> {
    pub(super) fn sorted(&mut self, node: NodeId, axis: usize, descending: bool) -> Emission<Vec<Vec<V>>> {
        let [values, positions] = &self.exchange(node)?.arrays[..] else {
            return Err(self.bug(node, "sorting works on two arrays"));
        };
        let operand = self.g.inputs(node)[0];
        let along = self.g.type_of(operand).axes[axis];
        let lines = Lines {
            node,
            axis,
            values,
            positions,
            extents: self.lines_of(operand, axis),
            length: self.shapes().padded(along).next_power_of_two(),
            descending,
            extent: self.extent(node, along)?,
        };
        self.step_barrier(node, 0);
        self.write_input(node, 0, values)?;
        self.number_elements(&lines, operand)?;
        self.stages(&lines);
        self.step_barrier(node, 2);
        Ok(vec![self.read_result(node, 0, values)?, self.read_result(node, 1, positions)?])
    }

    /// Threads go over the numbers below `count` in turn.
    pub(super) fn over_threads(&mut self, count: u32, work: impl FnOnce(&mut Self, V)) {
        let (thread, threads) = (self.thread(), self.t.i32(i64::from(self.plan.threads())));
        let count = self.t.i32(i64::from(count));
        let (at, _) = self.t.open_for((thread, count, threads), &[]);
        work(self, at);
        self.t.close_for(&[]);
    }

    /// Positions of all elements, and a value for those past what the operand's layout covers.
    fn number_elements(&mut self, lines: &Lines, operand: Value) -> Emission<()> {
        let covered = self.layout(operand)?.coverage(lines.axis);
        let mut all = lines.extents.clone();
        all[lines.axis] = lines.length;
        let nothing = self.identity(tile_graph::ReduceKind::Sum, lines.values.dtype);
        self.over_threads(all.iter().product(), |e, number| {
            let mut at = e.unravelled(number, &all);
            let zero = e.t.i32(0);
            let along = std::mem::replace(&mut at[lines.axis], zero);
            let number = e.on_line(lines.positions, &at, lines.axis, along);
            e.write_element(lines.positions, number, along);
            if covered < lines.length {
                let covered = e.t.i32(i64::from(covered));
                let past = e.t.icmp("sge", along, covered);
                e.when(Some(past), |e| {
                    let number = e.on_line(lines.values, &at, lines.axis, along);
                    e.write_element(lines.values, number, nothing);
                });
            }
        });
        Ok(())
    }

    /// The loop over the stages (m, s): s from m down to 0, for m from 0.
    fn stages(&mut self, lines: &Lines) {
        let bits = i64::from(lines.length.ilog2());
        let (zero, one) = (self.t.i32(0), self.t.i32(1));
        let count = self.t.i32(bits * (bits + 1) / 2);
        let (_, stage) = self.t.open_for((zero, count, one), &[zero, zero]);
        let (m, s) = (stage[0], stage[1]);
        self.step_barrier(lines.node, 1);
        let pairs = lines.extents.iter().product::<u32>() * (lines.length / 2);
        self.over_threads(pairs, |e, pair| e.compare(lines, pair, m, s));
        let ends = self.t.icmp("eq", s, zero);
        let (longer, closer) = (self.t.add(m, one), self.t.sub(s, one));
        let next = [self.t.select(ends, longer, m), self.t.select(ends, longer, closer)];
        self.t.close_for(&next);
    }

    /// One pair of a stage: put in order, up or down as its run goes.
    fn compare(&mut self, lines: &Lines, pair: V, m: V, s: V) {
        let half = self.t.i32(i64::from((lines.length / 2).max(1)));
        let number = self.t.pure(format!("llvm.udiv {pair}, {half} : i32"), &[pair, half], pair.ty);
        let pair = self.t.pure(format!("llvm.urem {pair}, {half} : i32"), &[pair, half], pair.ty);
        let at = self.unravelled(number, &lines.extents);
        let (zero, one) = (self.t.i32(0), self.t.i32(1));
        // The pair's number with a 0 put in at bit s, and with a 1.
        let distance = self.t.int_op("shl", one, s);
        let below = self.t.sub(distance, one);
        let low = self.t.int_op("and", pair, below);
        let high = self.t.sub(pair, low);
        let high = self.t.int_op("shl", high, one);
        let first = self.t.int_op("or", high, low);
        let second = self.t.int_op("or", first, distance);
        let places = [first, second].map(|position| {
            [lines.values, lines.positions]
                .map(|array| (array, self.on_line(array, &at, lines.axis, position)))
        });
        let [a, b] = places.map(|[(values, v), (positions, p)]| {
            let (value, position) = (self.read_element(values, v), self.read_element(positions, p));
            let there = self.t.icmp("slt", position, lines.extent);
            Placed { value, position, there }
        });
        let run = self.t.add(m, one);
        let run = self.t.int_op("lshr", first, run);
        let run = self.t.int_op("and", run, one);
        let up = self.t.icmp("eq", run, zero);
        let dtype = lines.values.dtype;
        let (wrong_up, wrong_down) = (
            self.comes_before(dtype, lines.descending, b, a),
            self.comes_before(dtype, lines.descending, a, b),
        );
        let swaps = self.t.select(up, wrong_up, wrong_down);
        self.when(Some(swaps), |e| {
            for (places, from) in places.iter().zip([b, a]) {
                e.write_element(places[0].0, places[0].1, from.value);
                e.write_element(places[1].0, places[1].1, from.position);
            }
        });
    }
}
