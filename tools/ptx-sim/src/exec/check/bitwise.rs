//! Definedness of integer operations, bit by bit: how bit-fields are written into memory that nobody has written before, and
//! read again.
//!
//! ```text
//! ld.u8   %r1, [%SP]          never written
//! and.b32 %r2, %r1, 254       bit 0 is 0, whatever %r1 holds
//! or.b32  %r3, %r2, 1         and 1 here
//! shr.u32 %r4, %r3, 1         undefined
//! and.b32 %r5, %r3, 1         defined: may reach a branch
//! ```
//!
//! Operations are of two kinds. Those that *move* bits (shifts, fields, permutations of bytes, conversions between integers)
//! move undefined bits in the same way, so they are run on a row of these: `shr.s32` of the mask 0x80000000 by 4 is
//! 0xf8000000, the undefined sign and its copies. Those that *join* bits ([`super::known`]) need the operands' values.
//!
//! Predicates are joined in the same way: `in_range && a[i] > x` is computed without a branch, and where `in_range` is false
//! it does not matter what lay behind the end.

use super::{
    defined::{Bits, Defined},
    known::{self, Partly},
};
use crate::{
    exec::{
        convert,
        int::{self, IntArgs},
        rows::{LANES, Rows, lanes},
    },
    ir::{Bool, IntOp, Op, Role, Scalar, Slot, Vote, Width},
};

/// Where a row of undefined bits of each operand stands, for an operation that is run on them.
const A: Slot = 0;
const B: Slot = 2;
const C: Slot = 4;
const D: Slot = 6;

impl Defined {
    /// When a source is not defined as a whole. Whether this is an operation whose results are looked at by bit.
    pub(super) fn bitwise(&mut self, op: &Op, mask: u32, rows: &Rows) -> bool {
        match *op {
            Op::Int { sat: true, .. } => false,
            Op::Int { op, signed, width, d, a, b, c, .. } => {
                let x = IntArgs { op, signed, width, sat: false, d, a, b, c };
                self.moves(x, mask, rows) || self.joins(x, mask, rows)
            }
            _ => self.joined(op, mask, rows) || self.votes(op, mask, rows),
        }
    }

    /// Operations that only move bits, by amounts that are defined.
    fn moves(&mut self, x: IntArgs, mask: u32, rows: &Rows) -> bool {
        use IntOp::*;
        // Which operands are moved; the others say where to.
        let (of_b, of_c) = match x.op {
            Brev => (true, false),
            Shl | Shr | ExtendWrap | ExtendClamp | Bfe => (false, false),
            Bfi | Prmt | ShfLeftWrap | ShfLeftClamp | ShfRightWrap | ShfRightClamp => (true, false),
            _ => return false,
        };
        let words = if x.width == Width::W64 { 2 } else { 1 };
        let mut scratch = Rows::new(D + 2, 0);
        let mut steered = u32::MAX;
        let operands = [(A, x.a, true), (B, x.b, of_b), (C, x.c, of_c)];
        for (at, slot, moved) in operands.into_iter().take(2 + x.op.reads_c() as usize) {
            if moved {
                (0..words).for_each(|n| *scratch.row_mut(at + n) = self.bits(slot + n).map(|known| !known));
            } else {
                *scratch.row_mut(at) = *rows.row(slot);
                steered &= self.of_rows([slot]);
            }
        }
        int::run(&mut scratch, u32::MAX, IntArgs { d: D, a: A, b: B, c: C, ..x });
        self.take(&scratch, words, x.d, mask, steered);
        true
    }

    /// A conversion between integers moves bits, too, or copies of the sign.
    pub(super) fn converted(&mut self, op: &Op, mask: u32) {
        let &Op::Convert { to, from, mods, d, a, .. } = op else { return };
        let words = |ty: Scalar| if matches!(ty, Scalar::Int { bits: 64, .. }) { 2 } else { 1 };
        let mut scratch = Rows::new(D + 2, 0);
        (0..words(from)).for_each(|n| *scratch.row_mut(A + n) = self.bits(a + n).map(|known| !known));
        convert::convert(&mut scratch, u32::MAX, &Op::Convert { to, from, mods, d: D, a: A, b: A });
        self.take(&scratch, words(to), d, mask, u32::MAX);
    }

    /// Undefined bits become those of a register, where what moved them was defined.
    fn take(&mut self, scratch: &Rows, words: u32, d: Slot, mask: u32, steered: u32) {
        for n in 0..words {
            let undefined = scratch.row(D + n);
            let bits = |lane: usize| if steered >> lane & 1 == 1 { !undefined[lane] } else { 0 };
            self.set_bits(d + n, mask, &std::array::from_fn(bits));
        }
    }

    /// Operations that join bits of their operands.
    fn joins(&mut self, x: IntArgs, mask: u32, rows: &Rows) -> bool {
        use IntOp::*;
        let bits = match x.width {
            Width::W16 => 16,
            Width::W32 => 32,
            Width::W64 => 64,
        };
        let wide = matches!(x.op, MulWide | MadWide);
        let result = |[a, b, c]: [Partly; 3]| -> Option<u64> {
            let product = |known: u64, value: u64| Partly { value, known };
            Some(match x.op {
                And => known::and(a, b),
                Or => known::or(a, b),
                Xor => a.known & b.known,
                Not => a.known,
                Lop3(table) => known::table(table, a, b, c),
                Add => known::add(a, b),
                Sub => known::sub(a, b),
                Neg => known::sub(Partly::whole(0), a),
                Cnot => known::zero_decided(a) as u64 | !1,
                MulLo | MulWide => known::multiply(a, b),
                MadLo | MadWide => {
                    known::add(product(known::multiply(a, b), a.value.wrapping_mul(b.value)), c)
                }
                _ => return None,
            })
        };
        let mut out: [Bits; 2] = [[0; LANES]; 2];
        for lane in lanes(mask) {
            let number = |slot, bits| self.partly(rows, slot, lane, bits).extended(bits, x.signed);
            let c = if x.op.reads_c() {
                number(x.c, if wide { 2 * bits } else { bits })
            } else {
                Partly::whole(0)
            };
            let Some(known) = result([number(x.a, bits), number(x.b, bits), c]) else { return false };
            // 16-bit registers hold nothing above their bits.
            let known = if bits == 16 && !wide { known | !0xffff } else { known };
            (out[0][lane], out[1][lane]) = (known as u32, (known >> 32) as u32);
        }
        let words = if bits == 64 || wide && bits == 32 { 2 } else { 1 };
        (0..words).for_each(|n| self.set_bits(x.d + n, mask, &out[n as usize]));
        true
    }

    /// A lane's register of so many bits.
    fn partly(&self, rows: &Rows, slot: Slot, lane: usize, bits: u32) -> Partly {
        let low = Partly { value: rows.row(slot)[lane] as u64, known: self.word(slot, lane) as u64 };
        if bits < 64 {
            return low;
        }
        Partly { value: rows.wide(slot, lane), known: low.known | (self.word(slot + 1, lane) as u64) << 32 }
    }

    /// Lanes in which a comparison comes out the same whatever the undefined bits are.
    fn compared(&self, op: &Op, rows: &Rows, mask: u32) -> u32 {
        let &Op::Setp { cmp, ty, a, b, .. } = op else { return 0 };
        let mut whole = u32::MAX;
        op.visit(&mut |role| {
            if let Role::Use(s) = role {
                whole &= self.of_rows([s]);
            }
        });
        let Scalar::Int { signed, bits } = ty else { return whole };
        let bits = bits as u32;
        lanes(mask & !whole).fold(whole, |all, lane| {
            let number = |slot| self.partly(rows, slot, lane, bits).at_top(bits);
            all | (known::decided(cmp, signed, number(a), number(b)) as u32) << lane
        })
    }

    /// What is chosen by a predicate; where that is undefined, what both have in common.
    pub fn select(&mut self, op: &Op, mask: u32, rows: &Rows) {
        let &Op::Select { rows: count, d, a, b, p } = op else { return };
        let (pick, decided) = (rows.pred(p), self.pred(p));
        for n in 0..count as u32 {
            let (a, b, d) = (a + n, b + n, d + n);
            let chosen = self.of_rows([a]) & pick | self.of_rows([b]) & !pick;
            if chosen & decided & mask == mask {
                self.set_row(d, mask, u32::MAX);
                continue;
            }
            let bits = |lane: usize| match (decided >> lane & 1, pick >> lane & 1) {
                (1, 1) => self.word(a, lane),
                (1, _) => self.word(b, lane),
                _ => self.word(a, lane) & self.word(b, lane) & !(rows.row(a)[lane] ^ rows.row(b)[lane]),
            };
            self.set_bits(d, mask, &std::array::from_fn(bits));
        }
    }

    /// Votes that come out the same whatever lanes with an undefined predicate say.
    fn votes(&mut self, op: &Op, mask: u32, rows: &Rows) -> bool {
        match *op {
            Op::VoteBallot { d, a, .. } => self.set_bits(d, mask, &[self.pred(a) | !mask; LANES]),
            Op::VotePred { kind, d, a, negate, .. } => {
                let value = if negate { !rows.pred(a) } else { rows.pred(a) };
                let (yes, no) = (self.pred(a) & value & mask != 0, self.pred(a) & !value & mask != 0);
                let decided = match kind {
                    Vote::All => no,
                    Vote::Any => yes,
                    Vote::Uni => yes && no,
                };
                self.set_pred(d, mask, if decided { u32::MAX } else { 0 });
            }
            _ => return false,
        }
        true
    }

    /// Predicates of two operands of which one may decide alone.
    fn joined(&mut self, op: &Op, mask: u32, rows: &Rows) -> bool {
        match *op {
            Op::PredLogic { d, a, b, table } => {
                let (have_a, have_b) = (self.pred(a), self.pred(b));
                // Lanes in which the value of one operand leaves the table no choice: bits it looks up with either other.
                let decides = |value: u32, [no, yes]: [u8; 2]| {
                    let fixed = |bits: u8| matches!(table & bits, 0) || table & bits == bits;
                    (if fixed(no) { !value } else { 0 }) | (if fixed(yes) { value } else { 0 })
                };
                let by_a = have_a & decides(rows.pred(a), [0b0101, 0b1010]);
                let by_b = have_b & decides(rows.pred(b), [0b0011, 0b1100]);
                self.set_pred(d, mask, have_a & have_b | by_a | by_b);
            }
            Op::Setp { combine: None, p, q, .. } => {
                let compared = self.compared(op, rows, mask);
                p.iter().chain(&q).for_each(|&p| self.set_pred(p, mask, compared));
            }
            Op::Setp { combine: Some((how, c, negated)), p, q, .. } => {
                let compared = self.compared(op, rows, mask);
                let value = if negated { !rows.pred(c) } else { rows.pred(c) };
                let decides = match how {
                    Bool::And => !value,
                    Bool::Or => value,
                    Bool::Xor => 0,
                };
                let defined = self.pred(c) & (compared | decides);
                p.iter().chain(&q).for_each(|&p| self.set_pred(p, mask, defined));
            }
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNKNOWN: Slot = 0;
    const CONSTANT: Slot = 1;

    /// What becomes of the bytes of row 4 in lane 0: one letter each, lowest first.
    fn after(value: u32, operations: &[(IntOp, bool, [Slot; 2])]) -> String {
        let mut rows = Rows::new(8, 0);
        *rows.row_mut(CONSTANT) = [value; 32];
        let mut defined = Defined::new(8, 0);
        defined.define_row(CONSTANT);
        for &(op, signed, [a, b]) in operations {
            let op = Op::Int { op, signed, width: Width::W32, sat: false, d: 4, a, b, c: 0 };
            defined.propagate(&op, u32::MAX, &rows);
        }
        defined.bytes(4).iter().map(|b| if b & 1 == 1 { 'd' } else { '-' }).collect()
    }

    #[test]
    fn constants_decide() {
        assert_eq!(after(255, &[(IntOp::And, false, [UNKNOWN, CONSTANT])]), "-ddd");
        assert_eq!(after(0xff00, &[(IntOp::Or, false, [CONSTANT, UNKNOWN])]), "-d--");
        assert_eq!(after(0, &[(IntOp::Xor, false, [UNKNOWN, CONSTANT])]), "----");
        // A byte of which some bits are kept.
        assert_eq!(after(0xffff_fffe, &[(IntOp::And, false, [UNKNOWN, CONSTANT])]), "----");
    }

    #[test]
    fn shifts_move_bytes() {
        let low = (IntOp::And, false, [UNKNOWN, CONSTANT]);
        let shift = |op, signed| (op, signed, [4, 3]);
        // Row 3 holds no defined amount: nothing is known.
        assert_eq!(after(255, &[low, shift(IntOp::Shl, false)]), "----");
        assert_eq!(after(8, &[(IntOp::Shl, false, [UNKNOWN, CONSTANT])]), "d---");
        assert_eq!(after(24, &[(IntOp::Shr, false, [UNKNOWN, CONSTANT])]), "-ddd");
        assert_eq!(after(24, &[(IntOp::Shr, true, [UNKNOWN, CONSTANT])]), "----");
        assert_eq!(after(12, &[(IntOp::Shl, false, [UNKNOWN, CONSTANT])]), "d---");
        assert_eq!(after(99, &[(IntOp::Shl, false, [UNKNOWN, CONSTANT])]), "dddd");
    }

    #[test]
    fn one_predicate_decides() {
        let mut rows = Rows::new(2, 4);
        rows.set_pred(1, 0b01, u32::MAX);
        let mut defined = Defined::new(2, 4);
        defined.define_pred(1);
        // Predicate 0 was never written, 1 is true in lane 0 and false in lane 1: and, or, exclusive or of the two.
        for (table, want) in [(0b1000, 0b10), (0b1110, 0b01), (0b0110, 0b00)] {
            for (a, b) in [(0, 1), (1, 0)] {
                defined.propagate(&Op::PredLogic { d: 2, a, b, table }, 0b11, &rows);
                assert_eq!(defined.pred(2), want, "{table:#b}");
            }
        }
    }
}
