//! Definedness of integer operations that move bytes or put constants in their place: how bit-fields are written into
//! memory that nobody has written before.
//!
//! ```text
//! ld.u32  %r1, [%SP]          never written: no byte of %r1 is defined
//! and.b32 %r2, %r1, 255       bytes 1 to 3 are 0, whatever %r1 holds
//! or.b32  %r3, %r2, %r9       and %r9's here
//! shr.u32 %r4, %r3, 8         defined: byte 0 has left
//! ```
//!
//! Bytes are the grain: of a byte of which one bit is set and the others are kept, nothing is known.
//!
//! Predicates are joined in the same way: `in_range && a[i] > x` is computed without a branch, and where `in_range` is false
//! it does not matter what lay behind the end.

use super::defined::{Bytes, Defined};
use crate::{
    exec::rows::{Rows, lanes},
    ir::{Bool, IntOp, Op, Role, Slot, Width},
};

impl Defined {
    /// When a source is not defined as a whole. Whether this is such an operation.
    pub(super) fn bitwise(&mut self, op: &Op, mask: u32, rows: &Rows) -> bool {
        let (op, signed, width, [d, a, b]) = match *op {
            Op::Int { op, signed, width, d, a, b, .. } => (op, signed, width, [d, a, b]),
            Op::PredLogic { .. } | Op::Setp { .. } => return self.joined(op, mask, rows),
            _ => return false,
        };
        let words = if width == Width::W64 { 2 } else { 1 };
        match op {
            IntOp::And => self.absorb(words, [d, a, b], mask, |value, n| fixed(rows, value, n, 0)),
            IntOp::Or => self.absorb(words, [d, a, b], mask, |value, n| fixed(rows, value, n, 0xff)),
            IntOp::Not => self.absorb(words, [d, a, a], mask, |_, _| 0),
            IntOp::Xor => self.absorb(words, [d, a, b], mask, |_, _| 0),
            IntOp::Shl | IntOp::Shr if width != Width::W16 => {
                let fill = (op == IntOp::Shr && signed).then_some(4 * words as i64 - 1);
                let up = op == IntOp::Shl;
                self.shifted(words, [d, a, b], mask & self.of_rows([b]), |lane| {
                    let by = rows.row(b)[lane].min(64) as i64;
                    (if up { -by } else { by }, fill)
                });
                self.forget(words, d, mask & !self.of_rows([b]));
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
            Op::Setp { combine: Some((how, c, negated)), p, q, .. } => {
                let mut compared = u32::MAX;
                op.visit(&mut |role| {
                    if let Role::Use(s) = role {
                        compared &= self.of_rows([s]);
                    }
                });
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

    /// A byte is defined where both operands are, or where one is and decides alone: `decides` gives the lanes in which a
    /// row's n-th byte does.
    fn absorb(&mut self, words: u32, [d, a, b]: [Slot; 3], mask: u32, decides: impl Fn(Slot, usize) -> u32) {
        let of = |word: u32| -> Bytes {
            let (p, q) = (self.bytes(a + word), self.bytes(b + word));
            std::array::from_fn(|n| p[n] & q[n] | p[n] & decides(a + word, n) | q[n] & decides(b + word, n))
        };
        let results: Vec<Bytes> = (0..words).map(of).collect();
        results.into_iter().zip(d..).for_each(|(bytes, d)| self.set_bytes(d, mask, bytes));
    }

    /// A result's bits come from `by` bits further up; `by` and what fills up from beyond the top: a byte of the source, or
    /// zeros.
    fn shifted(
        &mut self,
        words: u32,
        [d, a, _]: [Slot; 3],
        mask: u32,
        by: impl Fn(usize) -> (i64, Option<i64>),
    ) {
        let source: Vec<Bytes> = (0..words).map(|n| self.bytes(a + n)).collect();
        let end = 4 * words as i64;
        let mut results = vec![[0; 4]; words as usize];
        for lane in lanes(mask) {
            let (by, fill) = by(lane);
            let known = |byte: i64| match byte {
                _ if byte < 0 => true,
                _ if byte < end => source[byte as usize / 4][byte as usize % 4] >> lane & 1 == 1,
                _ => fill.is_none_or(|top| source[top as usize / 4][top as usize % 4] >> lane & 1 == 1),
            };
            for byte in 0..end {
                let (first, last) = (8 * byte + by, 8 * byte + by + 7);
                let defined = known(first.div_euclid(8)) && known(last.div_euclid(8));
                results[byte as usize / 4][byte as usize % 4] |= (defined as u32) << lane;
            }
        }
        results.into_iter().zip(d..).for_each(|(bytes, d)| self.set_bytes(d, mask, bytes));
    }

    fn forget(&mut self, words: u32, d: Slot, mask: u32) {
        if mask != 0 {
            (d..d + words).for_each(|d| self.set_row(d, mask, 0));
        }
    }
}

/// Lanes in which a byte of a row has this value.
fn fixed(rows: &Rows, slot: Slot, byte: usize, value: u8) -> u32 {
    let row = rows.row(slot);
    (0..32).fold(0, |all, lane| all | ((row[lane].to_le_bytes()[byte] == value) as u32) << lane)
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
