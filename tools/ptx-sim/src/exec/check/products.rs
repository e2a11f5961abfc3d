//! Definedness through matrix products.
//!
//! An element of D is a sum over k of a row of A times a column of B, so it is defined where that row, that column and
//! the old element are. Kernels rely on it: a product with one row in use stages only this row, multiplies whatever
//! the other 15 hold, and looks at one row of D.
//!
//! ```text
//! A: row 0 written, rows 1 to 15 not    B: column 3 not written     D: row 0 is defined, but for column 3
//! ```
//!
//! Within a row or a column nothing is told apart: a zero of A does not hide what it is multiplied with, which may be NaN.

use super::defined::{Bytes, Defined};
use crate::{
    exec::{
        matrix,
        sparse::{self, Metadata},
        units::{fragment, operand},
    },
    ir::{MatrixType, Op, Wgmma, WgmmaA, WgmmaAcc},
};

/// Which rows of A (16) and columns of B (up to 256) are defined as a whole.
pub struct Factors {
    rows: [bool; 16],
    columns: [bool; 256],
}

impl Default for Factors {
    fn default() -> Self {
        Factors { rows: [true; 16], columns: [true; 256] }
    }
}

impl Factors {
    pub fn whole(&self) -> bool {
        self.rows.iter().chain(&self.columns).all(|d| *d)
    }

    pub fn row(&mut self, row: usize, defined: bool) {
        self.rows[row] &= defined;
    }

    pub fn column(&mut self, column: usize, defined: bool) {
        self.columns[column] &= defined;
    }

    /// A register of A: the row that each lane holds a part of.
    pub fn register_of_a(&mut self, defined: u32, row: impl Fn(usize) -> usize) {
        (0..32).for_each(|lane| self.row(row(lane), defined >> lane & 1 == 1));
    }

    /// The metadata of a sparse A, of which each row has some.
    pub fn metadata(&mut self, bytes: Bytes, metadata: Metadata) {
        for row in 0..16 {
            let mut places = (0..metadata.groups).map(|group| metadata.place(row, group));
            self.row(row, places.all(|(lane, bit)| bytes[bit / 8] >> lane & 1 == 1));
        }
    }

    /// Lanes of a register of D whose element is a product of defined ones; `place` gives its row and column.
    pub fn of_register(&self, place: impl Fn(usize) -> (usize, usize)) -> u32 {
        (0..32).fold(0, |out, lane| {
            let (row, column) = place(lane);
            out | ((self.rows[row] && self.columns[column]) as u32) << lane
        })
    }
}

/// What a register of D holds.
#[derive(Clone, Copy)]
pub enum Element {
    /// One element, of one or two rows.
    Word { rows: u32 },
    /// Two of 16 bits, of neighbouring columns.
    Halves,
}

impl Defined {
    /// One register of D. `before` is the register that is added to, if any.
    pub fn product(
        &mut self,
        factors: &Factors,
        (d, before): (u32, Option<u32>),
        element: Element,
        place: impl Fn(usize) -> (usize, usize),
    ) {
        match element {
            Element::Word { rows } => {
                let old = before.map_or(u32::MAX, |c| self.of_rows(c..c + rows));
                let new = factors.of_register(&place) & old;
                (d..d + rows).for_each(|d| self.set_row(d, u32::MAX, new));
            }
            Element::Halves => {
                let old = before.map_or([u32::MAX; 4], |c| self.bytes(c));
                let half = |n: usize| {
                    factors.of_register(|lane| (place(lane).0, place(lane).1 + n))
                        & old[2 * n]
                        & old[2 * n + 1]
                };
                let (lo, hi) = (half(0), half(1));
                self.set_bytes(d, u32::MAX, [lo, lo, hi, hi]);
            }
        }
    }

    /// `mma.sync` and `mma.sp`.
    pub fn mma(&mut self, op: &Op) {
        let Op::Mma { m, k, a_type, half_acc, sparse: pattern, d, a, b, c, .. } = op else { return };
        let words = if *a_type == MatrixType::F64 { 2 } else { 1 };
        let mut factors = Factors::default();
        for (word, &slot) in a.iter().enumerate() {
            let defined = self.of_rows(slot..slot + words);
            factors.register_of_a(defined, |lane| matrix::row_of_a(*m as usize, word, lane));
        }
        for &slot in b {
            let defined = self.of_rows(slot..slot + words);
            (0..32).for_each(|lane| factors.column(matrix::column_of_b(lane), defined >> lane & 1 == 1));
        }
        if let Some(p) = pattern {
            factors.metadata(self.bytes(p.metadata), sparse::metadata(*a_type, *k as usize, p.selector));
        }
        let element = if *half_acc { Element::Halves } else { Element::Word { rows: words } };
        for (word, (&d, &c)) in d.iter().zip(c).enumerate() {
            self.product(&factors, (d, Some(c)), element, |lane| matrix::place_of_d(*half_acc, word, lane));
        }
    }

    /// A warp's quarter of a `wgmma`; `factors` holds what its operands in shared memory say.
    pub fn wgmma(&mut self, w: &Wgmma, mut factors: Factors, accumulate: bool) {
        if let WgmmaA::Registers(a) = &w.a {
            let per_word = 32 / operand::bits(w.a_type);
            for (word, &slot) in a.iter().enumerate() {
                let row = |lane| fragment::a_position(word, lane, per_word).0;
                factors.register_of_a(self.of_rows([slot]), row);
            }
        }
        if let Some((slot, selector)) = w.sparse {
            let metadata = Metadata::new(operand::bits(w.a_type), w.k as usize, selector as usize);
            factors.metadata(self.bytes(slot), metadata);
        }
        // Whether D is added to hangs on this predicate.
        if self.pred(w.scale_d) != u32::MAX {
            (0..16).for_each(|row| factors.row(row, false));
        }
        let olds = || w.d.iter().copied();
        if factors.whole() && (!accumulate || self.of_rows(olds()) == u32::MAX) {
            return w.d.iter().for_each(|&d| self.set_row(d, u32::MAX, u32::MAX));
        }
        for (register, &d) in w.d.iter().enumerate() {
            let before = accumulate.then_some(d);
            if w.d_type == WgmmaAcc::F16 {
                let place = |lane| fragment::d_half_position(register, lane);
                self.product(&factors, (d, before), Element::Halves, place);
            } else {
                let place = |lane| fragment::d_position(register, lane);
                self.product(&factors, (d, before), Element::Word { rows: 1 }, place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// m16n8k16 of f16 with f32 sums: A in rows 0 to 3, B in 4 and 5, C in 6 to 9, D in 10 to 13.
    fn product() -> (Defined, Op) {
        let mut defined = Defined::new(14, 0);
        (0..10).for_each(|s| defined.define_row(s));
        let ty = MatrixType::F16;
        let op = Op::Mma {
            m: 16,
            n: 8,
            k: 16,
            a_type: ty,
            b_type: ty,
            half_acc: false,
            saturate: false,
            sparse: None,
            d: vec![10, 11, 12, 13],
            a: vec![0, 1, 2, 3],
            b: vec![4, 5],
            c: vec![6, 7, 8, 9],
        };
        (defined, op)
    }

    #[test]
    fn an_undefined_row_of_a_is_a_row_of_d() {
        let (mut defined, op) = product();
        // Lane 21 = 4 * 5 + 1 of the register with columns 8 and up of rows 8 and up: row 13.
        defined.set_row(3, 1 << 21, 0);
        defined.mma(&op);
        let group = 0xf << 20;
        assert_eq!([10, 11, 12, 13].map(|d| defined.of_rows([d])), [u32::MAX, u32::MAX, !group, !group]);
    }

    #[test]
    fn an_undefined_column_of_b_is_a_column_of_d() {
        let (mut defined, op) = product();
        // Lane 14 = 4 * 3 + 2: column 3, which lanes 4 g + 1 hold in their odd registers.
        defined.set_row(4, 1 << 14, 0);
        defined.mma(&op);
        let odd = !0x2222_2222;
        assert_eq!([10, 11, 12, 13].map(|d| defined.of_rows([d])), [u32::MAX, odd, u32::MAX, odd]);
    }

    #[test]
    fn an_undefined_element_of_c_is_one_of_d() {
        let (mut defined, op) = product();
        defined.set_row(8, 1 << 7, 0);
        defined.mma(&op);
        assert_eq!([10, 11, 12, 13].map(|d| defined.of_rows([d])), [u32::MAX, u32::MAX, !(1 << 7), u32::MAX]);
    }
}
