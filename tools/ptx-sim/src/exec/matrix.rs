//! `mma.sync`: fragments to matrices, the product, and back.
//!
//! One rule covers every element size. With `e` elements in a register, lane `4 g + t` holds in register `r`
//!
//! ```text
//! A   row g + 8 (r & 1),   columns 4 e (r >> 1) + e t ..       (m = 16; for m = 8 row g, columns 4 e r + e t ..)
//! B   rows 4 e r + e t .., column g
//! C   row g + 8 (r >> 1),  column 2 t + (r & 1)                (f32, s32, f64)
//!     row g + 8 r,         columns 2 t, 2 t + 1                (packed f16)
//! ```
//!
//! A sparse A has half the columns; its metadata say where each stands (see [`super::sparse`]).
//!
//! Products are exact; the sum over k is taken in f64 and rounded once (f64: one fused step after the other). The
//! hardware's order and intermediate rounding are not documented, so float results may differ from it in the last place.

use super::{
    round::{E4M3, E5M2, F16},
    rows::Rows,
    sparse,
};
use crate::ir::{MatrixType, Op, Rounding};

/// Elements in one register.
pub fn per_word(ty: MatrixType) -> usize {
    match ty {
        MatrixType::F16 | MatrixType::Bf16 => 2,
        MatrixType::S8 | MatrixType::U8 | MatrixType::E4m3 | MatrixType::E5m2 => 4,
        MatrixType::Tf32 | MatrixType::F64 => 1,
        MatrixType::S4 | MatrixType::U4 => 8,
        MatrixType::B1Xor | MatrixType::B1And => 32,
    }
}

fn is_integer(ty: MatrixType) -> bool {
    use MatrixType::*;
    matches!(ty, S8 | U8 | S4 | U4 | B1Xor | B1And)
}

/// Whether the operand lists have the lengths that the shape asks for.
pub fn register_counts_fit(op: &Op) -> bool {
    let Op::Mma { m, n, k, a_type, b_type, half_acc, sparse, d, a, b, c, .. } = op else { return false };
    let (m, n, k) = (*m as usize, *n as usize, *k as usize);
    let e = per_word(*a_type);
    let acc = m * n / 32 / if *half_acc { 2 } else { 1 };
    let stored = if sparse.is_some() { k / 2 } else { k };
    e == per_word(*b_type)
        && a.len() == m * stored / 32 / e
        && b.len() == k * n / 32 / e
        && c.len() == acc
        && d.len() == acc
        && !a.is_empty()
        && !b.is_empty()
}

/// The row of A whose elements a lane holds in its register `word`.
pub fn row_of_a(m: usize, word: usize, lane: usize) -> usize {
    if m == 16 { lane / 4 + 8 * (word & 1) } else { lane / 4 }
}

/// The column of B whose elements a lane holds.
pub fn column_of_b(lane: usize) -> usize {
    lane / 4
}

/// Row and (first) column of a lane's register `word` of C and D.
pub fn place_of_d(half_acc: bool, word: usize, lane: usize) -> (usize, usize) {
    let (g, t) = (lane / 4, lane % 4);
    if half_acc { (g + 8 * word, 2 * t) } else { (g + 8 * (word >> 1), 2 * t + (word & 1)) }
}

/// The operands as matrices by rows: A with `k` columns, B with eight.
struct Operands {
    k: usize,
    a: Vec<f64>,
    b: Vec<f64>,
}

pub fn mma(r: &mut Rows, op: &Op) {
    let Op::Mma { m, n, a_type, half_acc, saturate, d, c, .. } = op else { return };
    let (m, n) = (*m as usize, *n as usize);
    let operands = gather(r, op);
    if *a_type == MatrixType::F64 {
        return doubles(r, &operands, d, c);
    }
    let product = multiply(&operands, m, n, *a_type);
    let at = |row: usize, column: usize| product[row * n + column];
    for lane in 0..32 {
        for word in 0..d.len() {
            let (row, column) = place_of_d(*half_acc, word, lane);
            if *half_acc {
                let old = r.row(c[word])[lane];
                let sum = |x: usize| {
                    let before = F16.decode((old >> (16 * x)) as u64 & 0xffff);
                    F16.encode_f64(before + at(row, column + x), Rounding::Nearest, false) as u32
                };
                r.row_mut(d[word])[lane] = sum(0) | sum(1) << 16;
                continue;
            }
            let value = at(row, column);
            let old = r.row(c[word])[lane];
            r.row_mut(d[word])[lane] = if is_integer(*a_type) {
                let sum = old as i32 as i64 + value as i64;
                let limited = sum.clamp(i32::MIN as i64, i32::MAX as i64);
                if *saturate { limited as u32 } else { sum as u32 }
            } else {
                let sum = (f32::from_bits(old) as f64 + value) as f32;
                if sum.is_nan() { 0x7fff_ffff } else { sum.to_bits() }
            };
        }
    }
}

fn gather(r: &Rows, op: &Op) -> Operands {
    let Op::Mma { m, n, k, a_type, b_type, sparse: pattern, a, b, .. } = op else {
        return Operands { k: 0, a: vec![], b: vec![] };
    };
    let (m, n, k) = (*m as usize, *n as usize, *k as usize);
    let e = per_word(*a_type);
    let stored = if pattern.is_some() { k / 2 } else { k };
    let mut left = vec![0f64; m * stored];
    let mut right = vec![0f64; n * k];
    for (word, &slot) in a.iter().enumerate() {
        let elements = elements(r, *a_type, slot);
        for lane in 0..32 {
            let step = if m == 16 { word >> 1 } else { word };
            let (row, column) = (row_of_a(m, word, lane), 4 * e * step + e * (lane % 4));
            left[row * stored + column..][..e].copy_from_slice(&elements[lane * e..][..e]);
        }
    }
    for (word, &slot) in b.iter().enumerate() {
        let elements = elements(r, *b_type, slot);
        for lane in 0..32 {
            let g = column_of_b(lane);
            for x in 0..e {
                right[(4 * e * word + e * (lane % 4) + x) * n + g] = elements[lane * e + x];
            }
        }
    }
    match pattern {
        Some(p) => Operands { k, a: sparse::expand(r, *p, *a_type, k, &left), b: right },
        None => Operands { k, a: left, b: right },
    }
}

fn multiply(x: &Operands, m: usize, n: usize, ty: MatrixType) -> Vec<f64> {
    let mut product = vec![0f64; m * n];
    if ty == MatrixType::B1Xor {
        for (row, sums) in product.chunks_mut(n).enumerate() {
            for (step, p) in x.a[row * x.k..][..x.k].iter().enumerate() {
                let right = &x.b[step * n..][..n];
                sums.iter_mut().zip(right).for_each(|(sum, q)| *sum += (p != q) as u8 as f64);
            }
        }
        return product;
    }
    pulp::Arch::new().dispatch(Sums { x, out: &mut product });
    product
}

/// The loops of a product with eight columns, compiled for each vector width that the CPU may have.
struct Sums<'a> {
    x: &'a Operands,
    out: &'a mut [f64],
}

impl pulp::NullaryFnOnce for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let k = self.x.k;
        for (row, out) in self.out.chunks_exact_mut(8).enumerate() {
            let mut sums = [0f64; 8];
            for (p, right) in self.x.a[row * k..][..k].iter().zip(self.x.b.chunks_exact(8)) {
                for column in 0..8 {
                    sums[column] += p * right[column];
                }
            }
            out.copy_from_slice(&sums);
        }
    }
}

/// f64: each step of the sum is a fused multiply-add.
fn doubles(r: &mut Rows, x: &Operands, d: &[u32], c: &[u32]) {
    let mut out = vec![[0u64; 32]; d.len()];
    for (word, values) in out.iter_mut().enumerate() {
        for (lane, value) in values.iter_mut().enumerate() {
            let (row, column) = place_of_d(false, word, lane);
            let start = f64::from_bits(r.wide(c[word], lane));
            let left = &x.a[row * x.k..][..x.k];
            let steps = left.iter().zip(x.b.chunks_exact(8));
            *value = steps.fold(start, |sum, (p, right)| p.mul_add(right[column], sum)).to_bits();
        }
    }
    for (word, values) in out.iter().enumerate() {
        for (lane, value) in values.iter().enumerate() {
            r.set_wide(d[word], lane, *value);
        }
    }
}

/// The elements of a register of all lanes, one lane after another.
fn elements(r: &Rows, ty: MatrixType, slot: u32) -> Vec<f64> {
    let words = r.row(slot);
    let split = |bits: u32, f: &dyn Fn(u32) -> f64| -> Vec<f64> {
        let mask = u32::MAX >> (32 - bits);
        words.iter().flat_map(|w| (0..32 / bits).map(move |x| w >> (bits * x) & mask)).map(f).collect()
    };
    match ty {
        MatrixType::F16 => words
            .iter()
            .flat_map(|w| [*w as u16, (*w >> 16) as u16])
            .map(|h| half::f16::from_bits(h).to_f32() as f64)
            .collect(),
        MatrixType::Bf16 => words
            .iter()
            .flat_map(|w| [w << 16, w & 0xffff_0000])
            .map(|bits| f32::from_bits(bits) as f64)
            .collect(),
        // The tensor core reads the upper 19 bits.
        MatrixType::Tf32 => words.iter().map(|w| f32::from_bits(w & !0x1fff) as f64).collect(),
        MatrixType::F64 => (0..32).map(|lane| f64::from_bits(r.wide(slot, lane))).collect(),
        MatrixType::S8 => words.iter().flat_map(|w| w.to_le_bytes()).map(|b| b as i8 as f64).collect(),
        MatrixType::U8 => words.iter().flat_map(|w| w.to_le_bytes()).map(f64::from).collect(),
        MatrixType::S4 => split(4, &|v| ((v << 4) as u8 as i8 >> 4) as f64),
        MatrixType::U4 => split(4, &|v| v as f64),
        MatrixType::B1Xor | MatrixType::B1And => split(1, &|v| v as f64),
        MatrixType::E4m3 => split(8, &|v| E4M3.decode(v as u64)),
        MatrixType::E5m2 => split(8, &|v| E5M2.decode(v as u64)),
    }
}
