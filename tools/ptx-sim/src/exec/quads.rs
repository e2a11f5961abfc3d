//! `mma.m8n8k4` of f16, as compute capability 7.0 had it: a warp computes four products of 8 × 8 × 4 at once.
//!
//! Product n belongs to the quads of lanes `4 n …` and `4 n + 16 …`, which hold rows 0 to 3 and 4 to 7 (of B: columns). With h
//! for 0 or 4 of the two, and t for the lane's place in its quad, element i lies at
//!
//! ```text
//! A by rows       row h + t, column i             by columns   row h + i, column t           (four elements)
//! B by columns    row i, column h + t             by rows      row t, column h + i
//! C, D of f16     row h + t, column i                                                        (eight)
//!      of f32     row h + (t & 1) + (i & 2), column (i & 4) + (t & 2) + (i & 1)
//! ```
//!
//! Products are exact, and so is their sum, to which the old element is added and rounded once.

use super::{
    round::F16,
    rows::{LANES, Rows},
};
use crate::ir::{MmaQuads, Rounding};
use half::f16;

pub fn mma(r: &mut Rows, op: &MmaQuads) {
    let element = |slots: &[u32], lane: usize, i: usize| {
        f16::from_bits((r.row(slots[i / 2])[lane] >> (16 * (i % 2))) as u16).to_f64()
    };
    let (mut a, mut b) = ([[[0f64; 4]; 8]; 4], [[[0f64; 8]; 4]; 4]);
    for lane in 0..LANES {
        let (product, h, t) = quad(lane);
        for i in 0..4 {
            let (row, column) = if op.a_columns { (h + i, t) } else { (h + t, i) };
            a[product][row][column] = element(&op.a, lane, i);
            let (row, column) = if op.b_rows { (t, h + i) } else { (i, h + t) };
            b[product][row][column] = element(&op.b, lane, i);
        }
    }
    let sum = |lane: usize, (row, column): (usize, usize)| -> f64 {
        let product = quad(lane).0;
        (0..4).map(|k| a[product][row][k] * b[product][k][column]).sum()
    };
    // C as f64, by its own layout.
    let mut c = [[[0f64; 8]; 8]; 4];
    for lane in 0..LANES {
        for i in 0..8 {
            let (row, column) = place_of_c(op.c_halves, lane, i);
            c[quad(lane).0][row][column] = if op.c_halves {
                element(&op.c, lane, i)
            } else {
                f32::from_bits(r.row(op.c[i])[lane]) as f64
            };
        }
    }
    let mut out = vec![[0u32; LANES]; op.d.len()];
    for lane in 0..LANES {
        for i in 0..8 {
            let place = place_of_c(op.d_halves, lane, i);
            let value = sum(lane, place) + c[quad(lane).0][place.0][place.1];
            if op.d_halves {
                let bits = F16.encode_f64(value, Rounding::Nearest, false) as u32;
                out[i / 2][lane] |= bits << (16 * (i % 2));
            } else {
                let value = value as f32;
                out[i][lane] = if value.is_nan() { 0x7fff_ffff } else { value.to_bits() };
            }
        }
    }
    op.d.iter().zip(&out).for_each(|(&d, row)| *r.row_mut(d) = *row);
}

/// The product of a lane, the first of its rows, and its place in the quad.
fn quad(lane: usize) -> (usize, usize, usize) {
    (lane / 4 % 4, lane / 16 * 4, lane % 4)
}

/// Row and column of element `i` of C or D.
fn place_of_c(halves: bool, lane: usize, i: usize) -> (usize, usize) {
    let (_, h, t) = quad(lane);
    if halves { (h + t, i) } else { (h + (t & 1) + (i & 2), (i & 4) + (t & 2) + (i & 1)) }
}
