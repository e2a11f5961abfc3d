//! (I + A)^-1 for strictly lower triangular A, by the whole block, in place in shared memory.
//!
//! Forward substitution alone would be a chain as long as the matrix. So only blocks of 16 on the diagonal are
//! inverted that way, all at once, a thread for each column; then inverses of neighbours are joined, 16 to 32 to 64:
//!
//! ```text
//! [ B11   0  ]^-1   [     X11         0  ]
//! [ A21  B22 ]    = [ -X22 A21 X11   X22 ]        X11, X22: inverses of the diagonal parts
//! ```
//!
//! which are two products with every pair of blocks and every element of the result on its own. The square holds
//! what its elements mean at that moment: A, then the inverses of the diagonal blocks, then of larger ones.
//!
//! Powers of A (the Neumann series) would need no substitution, but their terms grow and cancel; this is as exact
//! as substitution. Elements past the end and above the diagonal are set to 0 first. In the products they meet
//! every row, so a NaN in one row reaches earlier rows of the block, too.

use super::{Emission, Emit, place::Copies};
use crate::text::{Ty, V};
use std::collections::BTreeMap;
use tile_base::DType;
use tile_graph::{NodeId, Value};
use tile_layout::Layout;
use tile_plan::{
    Slot,
    triangular::{BLOCK, Room},
};

/// One matrix in shared memory.
struct Square<'r> {
    room: &'r Room,
    base: V,
    ty: Ty,
    /// Number of this thread in its block, and how many there are; a power of two.
    thread: V,
    threads: u32,
}

/// Elements that a thread computes when pairs of blocks are joined.
///
/// Numbered pair, row, column, from high bits to low. Thread numbers are the low bits of an element's number, its
/// turn the high ones, so that a coordinate is the thread's part plus a constant for each turn.
struct Share {
    /// Side of the blocks.
    side: u32,
    turns: Vec<[u32; 3]>,
    mine: [V; 3],
    /// False in threads that have no element of their own; `None`: all have.
    works: Option<V>,
}

impl Emit<'_> {
    pub(super) fn unit_lower_inv(&mut self, node: NodeId) -> Emission<Vec<V>> {
        let result = Value { node, port: 0 };
        let (from, to) = (self.input_layout(node, 0)?, self.layout(result)?);
        let dtype = self.g.type_of(result).dtype;
        let work = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
        let &buffer =
            self.plan.cross_warp.get(&node).ok_or_else(|| self.bug(node, "no room for the matrix"))?;
        let room = Room::of(dtype, &from, &to);
        let ty = super::register_type(work);
        let at = self.t.i32(i64::from(self.plan.buffers[buffer].offset));
        let base = self.t.offset(self.shared, at);
        let five = self.t.i32(5);
        let first = self.t.int_op("shl", self.warp, five);
        let thread = self.t.int_op("or", first, self.lane);
        let square = Square { room: &room, base, ty, thread, threads: self.plan.threads() };

        self.barrier(node, Slot::Partial);
        self.write_lower(node, &square, &from, work)?;
        let step = i64::from(room.matrix_bytes());
        if room.matrices() == 1 {
            self.invert(&square);
        } else {
            let all = step * i64::from(room.matrices());
            let (lo, hi, step) = (self.t.i32(0), self.t.i32(all), self.t.i32(step));
            let (offset, _) = self.t.open_for((lo, hi, step), &[]);
            let base = self.t.offset(square.base, offset);
            self.invert(&Square { base, ..square });
            self.t.close_for(&[]);
        }
        self.barrier(node, Slot::Combine);
        let start = self.square_start(&square, &to);
        let read: Vec<V> = (0..to.registers())
            .map(|r| {
                let pointer = self.square_place(&square, start, &to.register_offset(r));
                self.read_shared(pointer, ty, 1)[0]
            })
            .collect();
        Ok(read.into_iter().map(|v| self.cast(v, work, dtype)).collect())
    }

    /// A, with 0 on and above the diagonal and past the end.
    fn write_lower(&mut self, node: NodeId, square: &Square, from: &Layout, work: DType) -> Emission<()> {
        let operand = self.g.inputs(node)[0];
        let dtype = self.g.type_of(operand).dtype;
        let (row, column) = (from.rank() - 2, from.rank() - 1);
        let given: Vec<V> = self.input(node, 0)?.into_iter().map(|v| self.cast(v, dtype, work)).collect();
        let zero = self.t.float(square.ty, 0.0);
        let given = self.cleared(node, operand, from, &given, row, zero)?;
        if from.coverage(row) < square.room.side || from.coverage(column) < square.room.side {
            self.fill(square, zero);
            self.block_barrier();
        }
        let (down, right) = (self.thread_part(from, row), self.thread_part(from, column));
        let below = self.t.sub(down, right);
        let start = self.square_start(square, from);
        self.once_among_holders(Copies::of(from), |e| {
            for (r, &v) in given.iter().enumerate() {
                let at = from.register_offset(r);
                let least = e.t.i32(i64::from(at[column]) - i64::from(at[row]));
                let strictly_lower = e.t.icmp("sgt", below, least);
                let v = e.t.select(strictly_lower, v, zero);
                let pointer = e.square_place(square, start, &at);
                e.write_shared(pointer, &[v]);
            }
        });
        self.block_barrier();
        Ok(())
    }

    /// `value` in the whole room.
    fn fill(&mut self, square: &Square, value: V) {
        let room = square.room;
        let run = (16 / room.element) as usize;
        let bytes = room.matrices() * room.matrix_bytes();
        let first = self.t.mul_const(square.thread, 16);
        let (hi, step) = (self.t.i32(i64::from(bytes)), self.t.i32(i64::from(square.threads * 16)));
        let (offset, _) = self.t.open_for((first, hi, step), &[]);
        let pointer = self.t.offset(square.base, offset);
        self.write_shared(pointer, &vec![value; run]);
        self.t.close_for(&[]);
    }

    /// From A, written and seen by all, to its inverse, not yet seen by all.
    fn invert(&mut self, square: &Square) {
        self.invert_diagonal(square);
        let mut side = BLOCK;
        while side < square.room.side {
            self.block_barrier();
            self.join_pairs(square, side);
            side *= 2;
        }
    }

    /// The diagonal blocks: 16 threads for each, one for each column, whose elements follow one another.
    fn invert_diagonal(&mut self, square: &Square) {
        let room = square.room;
        let (blocks, groups) = (room.side / BLOCK, square.threads / BLOCK);
        let (four, low) = (self.t.i32(4), self.t.i32(i64::from(BLOCK - 1)));
        let group = self.t.int_op("lshr", square.thread, four);
        let column = self.t.int_op("and", square.thread, low);
        let last = self.t.i32(i64::from(blocks - 1));
        // Groups without a block of their own compute another's again, and do not write it.
        let own = if groups > blocks { self.t.int_op("and", group, last) } else { group };
        let works = (groups > blocks).then(|| self.t.icmp("sle", group, last));
        for first in (0..blocks).step_by(groups as usize) {
            let block = self.t.add_const(own, i64::from(first));
            let corner = self.t.mul_const(block, i64::from(BLOCK * (room.pitch + 1) * room.element));
            let corner = self.t.offset(square.base, corner);
            let solved = self.substitute(square, corner, column);
            self.block_barrier();
            let right = self.t.mul_const(column, i64::from(room.element));
            let top = self.t.offset(corner, right);
            self.when(works, |e| {
                for (row, &x) in solved.iter().enumerate() {
                    let down = e.t.i32(i64::from(row as u32 * room.pitch * room.element));
                    let pointer = e.t.offset(top, down);
                    e.write_shared(pointer, &[x]);
                }
            });
        }
    }

    /// One column of the inverse of the block at `corner`: `x[r] = (r == column) - sum_(c < r) A[r, c] x[c]`.
    fn substitute(&mut self, square: &Square, corner: V, column: V) -> Vec<V> {
        let room = square.room;
        let run = 16 / room.element;
        let (zero, one) = (self.t.float(square.ty, 0.0), self.t.float(square.ty, 1.0));
        let mut solved: Vec<V> = vec![];
        for row in 0..BLOCK {
            let here = self.t.i32(i64::from(row));
            let diagonal = self.t.icmp("eq", column, here);
            let mut sum = self.t.select(diagonal, one, zero);
            for first in (0..row).step_by(run as usize) {
                let at = self.t.i32(i64::from((row * room.pitch + first) * room.element));
                let pointer = self.t.offset(corner, at);
                let a = self.read_shared(pointer, square.ty, run as usize);
                for (&a, &x) in a.iter().zip(&solved[first as usize..]) {
                    let minus = self.negative(a);
                    sum = self.t.fma(minus, x, sum);
                }
            }
            solved.push(sum);
        }
        solved
    }

    /// `-X22 A21 X11` in the place of A21, for all pairs of blocks of `side`.
    fn join_pairs(&mut self, square: &Square, side: u32) {
        let pitch = square.room.pitch;
        let share = self.share(square, side);
        let below = side * pitch;
        for (lhs, rhs, sign) in [(below, 0, 1), (below + side, below, -1)] {
            let mut sums = self.product(square, &share, lhs, rhs);
            if sign < 0 {
                sums = sums.into_iter().map(|v| self.negative(v)).collect();
            }
            self.block_barrier();
            self.when(share.works, |e| {
                for (turn, v) in sums.into_iter().enumerate() {
                    let pointer = e.share_place(square, &share, turn, below, [1, 1]);
                    e.write_shared(pointer, &[v]);
                }
            });
            if sign > 0 {
                self.block_barrier();
            }
        }
    }

    fn share(&mut self, square: &Square, side: u32) -> Share {
        let elements = square.room.side / 2 * side;
        let bits = side.ilog2();
        let split = |number: u32| [number >> (2 * bits), number >> bits & (side - 1), number & (side - 1)];
        let idle = square.threads > elements;
        let turns = (0..elements.div_ceil(square.threads)).map(|n| split(n * square.threads)).collect();
        let last = self.t.i32(i64::from(elements - 1));
        let number = if idle { self.t.int_op("and", square.thread, last) } else { square.thread };
        let works = idle.then(|| self.t.icmp("sle", square.thread, last));
        let mut field = |shift: u32| {
            let shift = self.t.i32(i64::from(shift));
            self.t.int_op("lshr", number, shift)
        };
        let (pair, row) = (field(2 * bits), field(bits));
        let low = self.t.i32(i64::from(side - 1));
        let mine = [pair, self.t.int_op("and", row, low), self.t.int_op("and", number, low)];
        Share { side, turns, mine, works }
    }

    /// Address of what a thread needs in one turn: the pair's corner, `origin`, and its row and column as far as
    /// `moves` says.
    fn share_place(
        &mut self,
        square: &Square,
        share: &Share,
        turn: usize,
        origin: u32,
        moves: [u32; 2],
    ) -> V {
        let room = square.room;
        let strides = [2 * share.side * (room.pitch + 1), moves[0] * room.pitch, moves[1]];
        let mut offset = self.t.i32(0);
        let mut constant = origin;
        for (dim, stride) in strides.into_iter().enumerate() {
            let part = self.t.mul_const(share.mine[dim], i64::from(stride * room.element));
            offset = self.t.add(offset, part);
            constant += share.turns[turn][dim] * stride;
        }
        let pointer = self.t.offset(square.base, offset);
        let constant = self.t.i32(i64::from(constant * room.element));
        self.t.offset(pointer, constant)
    }

    /// For each turn the sum over depth of left (row, depth) times right (depth, column).
    fn product(&mut self, square: &Square, share: &Share, lhs: u32, rhs: u32) -> Vec<V> {
        let room = square.room;
        let run = 16 / room.element;
        let zero = self.t.float(square.ty, 0.0);
        let (lo, hi, step) = (self.t.i32(0), self.t.i32(i64::from(share.side)), self.t.i32(i64::from(run)));
        let (depth, mut sums) = self.t.open_for((lo, hi, step), &vec![zero; share.turns.len()]);
        let right = self.t.mul_const(depth, i64::from(room.element));
        let down = self.t.mul_const(depth, i64::from(room.pitch * room.element));
        // Turns that share a row or a column read it once.
        let (mut rows, mut columns) = (BTreeMap::new(), BTreeMap::new());
        for (turn, sum) in sums.iter_mut().enumerate() {
            let [pair, row, column] = share.turns[turn];
            let a = rows
                .entry((pair, row))
                .or_insert_with(|| {
                    let pointer = self.share_place(square, share, turn, lhs, [1, 0]);
                    let pointer = self.t.offset(pointer, right);
                    self.read_shared(pointer, square.ty, run as usize)
                })
                .clone();
            let b = columns
                .entry((pair, column))
                .or_insert_with(|| {
                    let pointer = self.share_place(square, share, turn, rhs, [0, 1]);
                    let pointer = self.t.offset(pointer, down);
                    let mut each = vec![];
                    for n in 0..run {
                        let at = self.t.i32(i64::from(n * room.pitch * room.element));
                        let pointer = self.t.offset(pointer, at);
                        each.extend(self.read_shared(pointer, square.ty, 1));
                    }
                    each
                })
                .clone();
            for (&x, y) in a.iter().zip(b) {
                *sum = self.t.fma(x, y, *sum);
            }
        }
        self.t.close_for(&sums)
    }

    fn negative(&mut self, v: V) -> V {
        self.t.pure(format!("llvm.fneg {v} : {}", v.ty), &[v], v.ty)
    }

    /// The thread's part of an address in the tile's coordinates.
    fn square_start(&mut self, square: &Square, layout: &Layout) -> V {
        let mut offset = self.t.i32(0);
        for (dim, stride) in square.room.strides().into_iter().enumerate() {
            let part = self.thread_part(layout, dim);
            let part = self.t.mul_const(part, i64::from(stride));
            offset = self.t.add(offset, part);
        }
        self.t.offset(square.base, offset)
    }

    fn square_place(&mut self, square: &Square, start: V, at: &[u32]) -> V {
        let constant: u32 = at.iter().zip(square.room.strides()).map(|(&a, s)| a * s).sum();
        let constant = self.t.i32(i64::from(constant));
        self.t.offset(start, constant)
    }

    /// A barrier of this operation's own, beside those of the plan.
    fn block_barrier(&mut self) {
        self.t.effect("nvvm.barrier0");
    }
}
