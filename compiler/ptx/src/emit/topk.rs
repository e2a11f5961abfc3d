//! Selection of the k greatest of each line, by k rounds.
//!
//! In a round every lane of a group looks for the first of its own elements, in falling order, that comes after the last
//! one chosen; a butterfly of shuffles then finds the group's first. Elements stay in shared memory, and both the rounds
//! and the walk are loops: the code is the same for 8 experts and for a vocabulary.
//!
//! ```text
//! line   3 9 1 9        round 0: 9 at 1      round 1: 9 at 3 (after (9, 1))      round 2: 3 at 0
//! ```
//!
//! Where fewer than k elements exist, the rest is the least value of the dtype at position -1.

use super::{Emission, Emit, lines::Line, order::Placed};
use crate::text::{Ty, V};
use tile_graph::{NodeId, ReduceKind, Value};
use tile_plan::exchange::Array;

/// Whose line is looked through.
#[derive(Clone, Copy)]
struct Source<'a> {
    node: NodeId,
    operand: Value,
    axis: usize,
    array: &'a Array,
}

impl Emit<'_> {
    /// Values and positions of the `k` greatest.
    pub(super) fn top(&mut self, node: NodeId, axis: usize, k: u64) -> Emission<Vec<Vec<V>>> {
        let exchange = self.exchange(node)?;
        let [array, values, positions] = &exchange.arrays[..] else {
            return Err(self.bug(node, "a selection works on three arrays"));
        };
        let source = Source { node, operand: self.g.inputs(node)[0], axis, array };
        self.step_barrier(node, 0);
        self.write_input(node, 0, array)?;
        self.step_barrier(node, 1);
        let extents = self.lines_of(source.operand, axis);
        let nothing = self.nothing(array);
        self.for_each_line(&extents, exchange.lanes, |e, line| {
            let rounds = (e.t.i32(0), e.t.i32(k as i64), e.t.i32(1));
            let (round, last) = e.t.open_for(rounds, &fields(nothing));
            let best = e.next_after(source, line, round, placed(&last))?;
            let leads = e.t.icmp("eq", line.lane, rounds.0);
            let writes = e.t.both(line.there, Some(leads));
            e.when(writes, |e| {
                for (array, value) in [(values, best.value), (positions, best.position)] {
                    let number = e.on_line(array, &line.at, axis, round);
                    e.write_element(array, number, value);
                }
            });
            e.t.close_for(&fields(best));
            Ok(())
        })?;
        self.step_barrier(node, 2);
        Ok(vec![self.read_result(node, 0, values)?, self.read_result(node, 1, positions)?])
    }

    /// What is chosen where no element is left.
    fn nothing(&mut self, array: &Array) -> Placed {
        let value = self.identity(ReduceKind::Max, array.dtype);
        Placed { value, position: self.t.i32(-1), there: self.t.int(Ty::I1, 0) }
    }

    /// The group's first element after `last`; in round 0 its first.
    fn next_after(&mut self, source: Source, line: &Line, round: V, last: Placed) -> Emission<Placed> {
        let Source { node, operand, axis, array } = source;
        let (dtype, nothing) = (array.dtype, self.nothing(array));
        let zero = self.t.i32(0);
        let any = self.t.icmp("eq", round, zero);
        let walk = |e: &mut Self, at: V, inside: V, best: &[V]| {
            let number = e.on_line(array, &line.at, axis, at);
            let value = e.read_element(array, number);
            let candidate = Placed { value, position: at, there: inside };
            let after = e.comes_before(dtype, true, last, candidate);
            let fresh = e.t.int_op("or", any, after);
            let there = e.t.int_op("and", inside, fresh);
            Ok(fields(e.earlier_of(dtype, true, placed(best), Placed { there, ..candidate })).to_vec())
        };
        let best = self.along_line(node, operand, axis, line, &fields(nothing), walk)?;
        let mut best = placed(&best);
        for bit in 0..line.lanes.ilog2() {
            let other = fields(best).map(|v| self.shuffle(v, 1 << bit));
            best = self.earlier_of(dtype, true, best, placed(&other));
        }
        Ok(best)
    }
}

fn fields(p: Placed) -> [V; 3] {
    [p.value, p.position, p.there]
}

fn placed(fields: &[V]) -> Placed {
    Placed { value: fields[0], position: fields[1], there: fields[2] }
}
