//! The arithmetic of one warp's quarter of a `wgmma`: D = A·B (+ D) over 16 × n.
//!
//! NVIDIA does not document how its tensor cores add. Here, and in this order, for every element: the k products are
//! summed in f32, k ascending, starting from +0 (each product is exact, or rounded once where f32 cannot hold it);
//! the sign of `imm-scale` is applied; the old D is added in f32; an f16 D is rounded once. Integers are exact
//! throughout (at most 256 products below 2^16 each) and wrap or saturate when added to D. Results do not depend on
//! the CPU: it may add eight columns at once, never two k's.
//!
//! ```text
//! d = 1.0, a = [2^-24, 1], b = [1, 1]:   (2^-24 + 1) rounds to 1;  1 + 1 = 2
//! ```

use super::{
    fragment,
    operand::{ROWS, Tile},
};
use crate::{
    exec::rows::Row,
    ir::{Wgmma, WgmmaAcc},
};
use half::f16;

/// Columns of the inner block: accumulators of 4 rows by 16 columns stay in vector registers.
const BLOCK: usize = 16;
const BLOCK_ROWS: usize = 4;

/// The registers of D, one [`Row`] each, in the order of the instruction. `accumulate` is scale-d: false leaves D
/// unread.
pub fn multiply(w: &Wgmma, a: &Tile, b: &Tile, accumulate: bool, d: &mut [Row]) {
    let (n, k) = (w.n as usize, w.k as usize);
    let mut sums = vec![0f32; ROWS * n];
    pulp::Arch::new().dispatch(Product { a: &a.values, b: &b.values, n, k, sums: &mut sums });
    if w.negate_a != w.negate_b {
        sums.iter_mut().for_each(|s| *s = -*s);
    }
    match w.d_type {
        WgmmaAcc::F32 => store_f32(&sums, n, accumulate, d),
        WgmmaAcc::F16 => store_f16(&sums, n, accumulate, d),
        WgmmaAcc::S32 => store_s32(&sums, n, accumulate, w.saturate, d),
    }
}

/// The loop, compiled for each vector width that the CPU may have.
struct Product<'a> {
    a: &'a [f32],
    b: &'a [f32],
    n: usize,
    k: usize,
    sums: &'a mut [f32],
}

impl pulp::NullaryFnOnce for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Product { a, b, n, k, sums } = self;
        for row in (0..ROWS).step_by(BLOCK_ROWS) {
            let mut column = 0;
            while column + BLOCK <= n {
                block::<BLOCK>(a, b, n, k, row, column, sums);
                column += BLOCK;
            }
            if column < n {
                block::<8>(a, b, n, k, row, column, sums);
            }
        }
    }
}

#[inline(always)]
fn block<const W: usize>(
    a: &[f32],
    b: &[f32],
    n: usize,
    k: usize,
    row: usize,
    column: usize,
    sums: &mut [f32],
) {
    let mut acc = [[0f32; W]; BLOCK_ROWS];
    for step in 0..k {
        let right = &b[step * n + column..][..W];
        for (r, acc) in acc.iter_mut().enumerate() {
            let left = a[(row + r) * k + step];
            for (sum, right) in acc.iter_mut().zip(right) {
                *sum += left * right;
            }
        }
    }
    for (r, acc) in acc.iter().enumerate() {
        sums[(row + r) * n + column..][..W].copy_from_slice(acc);
    }
}

/// The tensor core gives one NaN, whatever went in.
fn canonical(x: f32) -> u32 {
    if x.is_nan() { 0x7fff_ffff } else { x.to_bits() }
}

/// Calls `f` with every word of D and the sum at its place. Lanes 4g … 4g + 3 lie in one row, two columns apart.
#[inline(always)]
fn each(sums: &[f32], n: usize, d: &mut [Row], f: impl Fn(u32, f32) -> u32) {
    for (register, row) in d.iter_mut().enumerate() {
        let (first, column) = fragment::d_position(register, 0);
        for (g, words) in row.chunks_exact_mut(4).enumerate() {
            let line = &sums[(first + g) * n + column..];
            for (t, word) in words.iter_mut().enumerate() {
                *word = f(*word, line[2 * t]);
            }
        }
    }
}

fn store_f32(sums: &[f32], n: usize, accumulate: bool, d: &mut [Row]) {
    if accumulate {
        each(sums, n, d, |old, sum| canonical(f32::from_bits(old) + sum));
    } else {
        each(sums, n, d, |_, sum| canonical(sum));
    }
}

fn store_s32(sums: &[f32], n: usize, accumulate: bool, saturate: bool, d: &mut [Row]) {
    each(sums, n, d, |word, sum| {
        let (old, sum) = (if accumulate { word as i32 } else { 0 }, sum as i32);
        if saturate { old.saturating_add(sum) as u32 } else { old.wrapping_add(sum) as u32 }
    });
}

fn store_f16(sums: &[f32], n: usize, accumulate: bool, d: &mut [Row]) {
    for (register, row) in d.iter_mut().enumerate() {
        for (lane, word) in row.iter_mut().enumerate() {
            let (r, c) = fragment::d_half_position(register, lane);
            let half = |x: usize| {
                let old = f16::from_bits((*word >> (16 * x)) as u16).to_f32();
                let sum = sums[r * n + c + x] + if accumulate { old } else { 0.0 };
                let bits = if sum.is_nan() { 0x7fff } else { f16::from_f32(sum).to_bits() };
                (bits as u32) << (16 * x)
            };
            *word = half(0) | half(1);
        }
    }
}

#[cfg(test)]
mod tests;
