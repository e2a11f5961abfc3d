//! `mma.sync`: fragments to matrices, the product, and back.
//!
//! One rule covers every element size. With `e` elements in a word, lane `4 g + t` holds in word `r`
//!
//! ```text
//! A   row g + 8 (r & 1),   columns 4 e (r >> 1) + e t ..       (m = 16)
//! B   rows 4 e r + e t .., column g
//! C   row g + 8 (r >> 1),  column 2 t + (r & 1)                (f32, s32, f64)
//!     row g + 8 r,         columns 2 t, 2 t + 1                (packed f16)
//! ```
//!
//! Products are exact; the sum over k is taken in f64 and rounded once. The hardware's order and intermediate
//! rounding are not documented, so results may differ from it in the last place.

use super::rows::Rows;
use crate::ir::{MatrixType, Op};
use half::{bf16, f16};

/// Elements in one register.
fn per_word(ty: MatrixType) -> usize {
    match ty {
        MatrixType::F16 | MatrixType::Bf16 => 2,
        MatrixType::S8 | MatrixType::U8 => 4,
        MatrixType::Tf32 | MatrixType::F64 => 1,
    }
}

/// Whether the operand lists have the lengths that the shape asks for.
pub fn register_counts_fit(op: &Op) -> bool {
    let Op::Mma { m, n, k, a_type, b_type, half_acc, d, a, b, c } = op else { return false };
    let (m, n, k) = (*m as usize, *n as usize, *k as usize);
    let e = per_word(*a_type);
    let acc = m * n / 32 / if *half_acc { 2 } else { 1 };
    e == per_word(*b_type)
        && a.len() == m * k / 32 / e
        && b.len() == k * n / 32 / e
        && c.len() == acc
        && d.len() == acc
        && !a.is_empty()
        && !b.is_empty()
}

pub fn mma(r: &mut Rows, op: &Op) {
    let Op::Mma { m, n, k, a_type, b_type, half_acc, d, a, b, c } = op else { return };
    let (m, n, k) = (*m as usize, *n as usize, *k as usize);
    let e = per_word(*a_type);
    let mut left = [[0f64; 32]; 16];
    let mut right = [[0f64; 8]; 32];
    for lane in 0..32 {
        let (g, t) = (lane / 4, lane % 4);
        for (word, &slot) in a.iter().enumerate() {
            let (row, column) = if m == 16 {
                (g + 8 * (word & 1), 4 * e * (word >> 1) + e * t)
            } else {
                (g, 4 * e * word + e * t)
            };
            for x in 0..e {
                left[row][column + x] = element(r, *a_type, slot, lane, x);
            }
        }
        for (word, &slot) in b.iter().enumerate() {
            for x in 0..e {
                right[4 * e * word + e * t + x][g] = element(r, *b_type, slot, lane, x);
            }
        }
    }
    let mut product = [[0f64; 8]; 16];
    for row in 0..m {
        for step in 0..k {
            for column in 0..n {
                product[row][column] += left[row][step] * right[step][column];
            }
        }
    }
    let integer = matches!(a_type, MatrixType::S8 | MatrixType::U8);
    for lane in 0..32 {
        let (g, t) = (lane / 4, lane % 4);
        for word in 0..d.len() {
            if *half_acc {
                let old = r.row(c[word])[lane];
                let sum = |x: usize| {
                    let before = f16::from_bits((old >> (16 * x)) as u16).to_f64();
                    f16::from_f64(before + product[g + 8 * word][2 * t + x]).to_bits() as u32
                };
                r.row_mut(d[word])[lane] = sum(0) | sum(1) << 16;
                continue;
            }
            let value = product[g + 8 * (word >> 1)][2 * t + (word & 1)];
            if *a_type == MatrixType::F64 {
                let sum = f64::from_bits(r.wide(c[word], lane)) + value;
                r.set_wide(d[word], lane, sum.to_bits());
            } else if integer {
                let sum = (r.row(c[word])[lane] as i32).wrapping_add(value as i64 as i32);
                r.row_mut(d[word])[lane] = sum as u32;
            } else {
                let sum = (f32::from_bits(r.row(c[word])[lane]) as f64 + value) as f32;
                r.row_mut(d[word])[lane] = if sum.is_nan() { 0x7fff_ffff } else { sum.to_bits() };
            }
        }
    }
}

fn element(r: &Rows, ty: MatrixType, slot: u32, lane: usize, x: usize) -> f64 {
    let word = r.row(slot)[lane];
    match ty {
        MatrixType::F16 => f16::from_bits((word >> (16 * x)) as u16).to_f64(),
        MatrixType::Bf16 => bf16::from_bits((word >> (16 * x)) as u16).to_f64(),
        // The tensor core reads the upper 19 bits.
        MatrixType::Tf32 => f32::from_bits(word & !0x1fff) as f64,
        MatrixType::F64 => f64::from_bits(r.wide(slot, lane)),
        MatrixType::S8 => (word >> (8 * x)) as u8 as i8 as f64,
        MatrixType::U8 => (word >> (8 * x)) as u8 as f64,
    }
}
