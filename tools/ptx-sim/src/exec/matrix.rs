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
//! The hardware's order and intermediate rounding are not documented. Here products are exact where f32 holds them (all but
//! those of extreme bf16), summed in f32 from +0 with k ascending, and the old element is added last; f64 takes one fused step after
//! the other from the old element. Integers are exact. So float results may differ from the hardware's in the last places.

use super::{
    halves::{Brain, Half, Narrow},
    rows::{LANES, Row, Rows},
    sparse,
    units::operand,
};
use crate::ir::{MatrixType, Op};
use half::f16;

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

pub fn mma(r: &mut Rows, op: &Op) {
    let Op::Mma { a_type, k, .. } = op else { return };
    let arch = pulp::Arch::new();
    match k {
        _ if *a_type == MatrixType::F64 => doubles(r, op),
        ..=8 => arch.dispatch(Product::<8> { r, op }),
        ..=16 => arch.dispatch(Product::<16> { r, op }),
        ..=32 => arch.dispatch(Product::<32> { r, op }),
        _ => arch.dispatch(Product::<256> { r, op }),
    }
}

/// All types but f64, with up to `K` columns of A: the operands as rows of f32, of which B's have eight elements. Compiled for
/// each vector width that the CPU may have.
struct Product<'a, const K: usize> {
    r: &'a mut Rows,
    op: &'a Op,
}

impl<const K: usize> pulp::NullaryFnOnce for Product<'_, K> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Product { r, op } = self;
        let Op::Mma { m, k, a_type, b_type, sparse: pattern, a, b, .. } = op else { return };
        let (m, k) = (*m as usize, *k as usize);
        let (mut left, mut right) = ([[0f32; K]; 16], [[0f32; 8]; K]);
        for (word, &slot) in a.iter().enumerate() {
            each_group(r.row(slot), *a_type, |group, elements| {
                let step = if m == 16 { word >> 1 } else { word };
                let row = &mut left[row_of_a(m, word, 4 * group)];
                row[elements.len() * step..][..elements.len()].copy_from_slice(elements);
            });
        }
        if let Some(p) = pattern {
            left = sparse::expand(r, *p, *a_type, k, &left);
        }
        for (word, &slot) in b.iter().enumerate() {
            each_group(r.row(slot), *b_type, |group, elements| {
                let rows = &mut right[elements.len() * word..][..elements.len()];
                rows.iter_mut().zip(elements).for_each(|(row, element)| row[group] = *element);
            });
        }
        let right = &right[..k];
        let sums =
            if *a_type == MatrixType::B1Xor { differences(&left, right) } else { products(&left, right) };
        store(r, op, &sums);
    }
}

type Sums = [[f32; 8]; 16];

/// Four rows at once.
#[inline(always)]
fn products<const K: usize>(left: &[[f32; K]; 16], right: &[[f32; 8]]) -> Sums {
    let mut out = [[0f32; 8]; 16];
    for (rows, out) in left.chunks_exact(4).zip(out.chunks_exact_mut(4)) {
        let mut sums = [[0f32; 8]; 4];
        for (k, right) in right.iter().enumerate() {
            for (sums, row) in sums.iter_mut().zip(rows) {
                for column in 0..8 {
                    sums[column] += row[k] * right[column];
                }
            }
        }
        out.copy_from_slice(&sums);
    }
    out
}

/// For `xor`: how many bits differ.
#[inline(always)]
fn differences<const K: usize>(left: &[[f32; K]; 16], right: &[[f32; 8]]) -> Sums {
    let mut out = [[0f32; 8]; 16];
    for (row, sums) in left.iter().zip(&mut out) {
        for (p, right) in row.iter().zip(right) {
            sums.iter_mut().zip(right).for_each(|(sum, q)| *sum += (p != q) as u8 as f32);
        }
    }
    out
}

/// D = C + the sums.
#[inline(always)]
fn store(r: &mut Rows, op: &Op, sums: &Sums) {
    let Op::Mma { a_type, half_acc, saturate, d, c, .. } = op else { return };
    // D may name registers of C in another order.
    let mut words = [[0u32; LANES]; 4];
    words.iter_mut().zip(c).for_each(|(row, &slot)| *row = *r.row(slot));
    for (word, row) in words.iter_mut().enumerate().take(d.len()) {
        match (*half_acc, is_integer(*a_type)) {
            (true, _) => add(row, sums, place_of_d(true, word, 0), |old, sums| {
                let half = |x: usize| {
                    let sum = f16::from_bits((old >> (16 * x)) as u16).to_f64() + sums[x] as f64;
                    if sum.is_nan() { 0x7fff } else { f16::from_f64(sum).to_bits() as u32 }
                };
                half(0) | half(1) << 16
            }),
            (_, true) => add(row, sums, place_of_d(false, word, 0), |old, sums| {
                let sum = old as i32 as i64 + sums[0] as i64;
                let limited = sum.clamp(i32::MIN as i64, i32::MAX as i64);
                if *saturate { limited as u32 } else { sum as u32 }
            }),
            _ => add(row, sums, place_of_d(false, word, 0), |old, sums| {
                let sum = f32::from_bits(old) + sums[0];
                if sum.is_nan() { 0x7fff_ffff } else { sum.to_bits() }
            }),
        }
    }
    d.iter().zip(&words).for_each(|(&slot, row)| *r.row_mut(slot) = *row);
}

/// `f` of each lane's word and the two sums from its place on. `first` is the place of lane 0: lane `4 g + t` is g rows
/// and 2 t columns further.
#[inline(always)]
fn add(row: &mut Row, sums: &Sums, first: (usize, usize), f: impl Fn(u32, [f32; 2]) -> u32) {
    for (words, line) in row.chunks_exact_mut(4).zip(&sums[first.0..]) {
        for (word, pair) in words.iter_mut().zip(line.chunks_exact(2)) {
            *word = f(*word, [pair[first.1], pair[1]]);
        }
    }
}

/// f64: each step of the sum is a fused multiply-add.
fn doubles(r: &mut Rows, op: &Op) {
    let Op::Mma { m, k, a, b, c, d, .. } = op else { return };
    let value = |slot: u32, lane: usize| f64::from_bits(r.wide(slot, lane));
    let (mut left, mut right) = ([[0f64; 16]; 16], [[0f64; 8]; 16]);
    for lane in 0..LANES {
        for (word, &slot) in a.iter().enumerate() {
            let step = if *m == 16 { word >> 1 } else { word };
            left[row_of_a(*m as usize, word, lane)][4 * step + lane % 4] = value(slot, lane);
        }
        for (word, &slot) in b.iter().enumerate() {
            right[4 * word + lane % 4][column_of_b(lane)] = value(slot, lane);
        }
    }
    let mut out = vec![[0f64; LANES]; d.len()];
    for (word, values) in out.iter_mut().enumerate() {
        for (lane, sum) in values.iter_mut().enumerate() {
            let (row, column) = place_of_d(false, word, lane);
            let steps = left[row].iter().zip(&right).take(*k as usize);
            *sum = steps.fold(value(c[word], lane), |sum, (p, right)| p.mul_add(right[column], sum));
        }
    }
    for (word, values) in out.iter().enumerate() {
        for (lane, sum) in values.iter().enumerate() {
            r.set_wide(d[word], lane, sum.to_bits());
        }
    }
}

/// The elements of a register, those of four lanes together: they are neighbours along k.
#[inline(always)]
fn each_group(words: &Row, ty: MatrixType, f: impl FnMut(usize, &[f32])) {
    match ty {
        MatrixType::F16 => gathered::<2, 8>(words, Half::wide, f),
        MatrixType::Bf16 => gathered::<2, 8>(words, Brain::wide, f),
        // The tensor core reads the upper 19 bits.
        MatrixType::Tf32 => gathered::<1, 4>(words, |w| f32::from_bits(w & !0x1fff), f),
        MatrixType::S8 => bytes(words, |b| b as i8 as f32, f),
        MatrixType::U8 => bytes(words, |b| b as f32, f),
        MatrixType::E4m3 => gathered::<4, 16>(words, |w| operand::FP8[0][w as u8 as usize], f),
        MatrixType::E5m2 => gathered::<4, 16>(words, |w| operand::FP8[1][w as u8 as usize], f),
        MatrixType::S4 => gathered::<8, 32>(words, |w| ((w as i32) << 28 >> 28) as f32, f),
        MatrixType::U4 => gathered::<8, 32>(words, |w| (w & 0xf) as f32, f),
        MatrixType::B1Xor | MatrixType::B1And => gathered::<32, 128>(words, |w| (w & 1) as f32, f),
        MatrixType::F64 => {}
    }
}

/// Elements of one byte lie in memory as they do along k, so that a row is converted as one.
#[inline(always)]
fn bytes(words: &Row, element: impl Fn(u8) -> f32, mut f: impl FnMut(usize, &[f32])) {
    let codes: [u8; 4 * LANES] = pulp::bytemuck::cast(words.map(u32::to_le));
    let all = codes.map(element);
    all.chunks_exact(16).enumerate().for_each(|(group, elements)| f(group, elements));
}

/// `E` elements of a word, `G` of four words. `element` is the lowest of what it is given; it is asked for all lanes at once,
/// which the compiler can turn into vector operations.
#[inline(always)]
fn gathered<const E: usize, const G: usize>(
    words: &Row,
    element: impl Fn(u32) -> f32,
    mut f: impl FnMut(usize, &[f32]),
) {
    let mut parts = [[0f32; LANES]; E];
    for (n, part) in parts.iter_mut().enumerate() {
        for (out, word) in part.iter_mut().zip(words) {
            *out = element(word >> (32 / E * n));
        }
    }
    for group in 0..LANES / 4 {
        let elements: [f32; G] = std::array::from_fn(|n| parts[n % E][4 * group + n / E]);
        f(group, &elements);
    }
}
