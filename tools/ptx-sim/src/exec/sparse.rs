//! `mma.sp`: where the stored elements of a sparse left operand stand.
//!
//! Of every four columns two are stored (of two tf32 columns one, of four pairs of 4-bit integers two), and two bits
//! each say which. A *block* is what 16 bits of metadata cover: 4 groups. The lane `4 g + base + b` holds block `b` of the
//! rows `g` (low half) and `g + 8` (high half), where `base` comes of the selector:
//!
//! ```text
//! columns of a block   16 (16 and 8 bits), 8 (tf32), 32 (4 bits)
//! blocks of an operand 1: selector 0 to 3 names the lane;  2: selector 0, 1 names the pair;  4: every lane has one
//! ```

use super::rows::Rows;
use crate::ir::{MatrixType, Sparsity};

/// Columns that 16 bits of metadata speak of.
fn block_columns(ty: MatrixType) -> usize {
    match ty {
        MatrixType::Tf32 => 8,
        MatrixType::S4 | MatrixType::U4 => 32,
        _ => 16,
    }
}

/// How many selectors a shape has.
pub fn selectors(ty: MatrixType, k: usize) -> u8 {
    match k / block_columns(ty) {
        1 => 4,
        2 => 2,
        _ => 1,
    }
}

/// Which lanes of four hold metadata that are read.
pub fn holders(ty: MatrixType, k: usize, selector: u8) -> std::ops::Range<usize> {
    let blocks = k / block_columns(ty);
    let first = (selector as usize * blocks) % 4;
    first..first + blocks
}

/// The operand with its zeros: 16 rows of `k` from the first half of each row.
pub fn expand<const K: usize>(
    r: &Rows,
    pattern: Sparsity,
    ty: MatrixType,
    k: usize,
    stored: &[[f32; K]; 16],
) -> [[f32; K]; 16] {
    let mut out = [[0f32; K]; 16];
    let columns = block_columns(ty);
    let blocks = k / columns;
    let base = holders(ty, k, pattern.selector).start;
    let words = r.row(pattern.metadata);
    for row in 0..16 {
        for block in 0..blocks {
            let lane = 4 * (row % 8) + base + block;
            let bits = (words[lane] >> (16 * (row / 8))) as u16;
            let from = &stored[row][block * columns / 2..][..columns / 2];
            place(ty, bits, from, &mut out[row][block * columns..][..columns]);
        }
    }
    out
}

/// One block: four groups, four bits each.
fn place(ty: MatrixType, bits: u16, from: &[f32], to: &mut [f32]) {
    let (in_stored, in_full) = (from.len() / 4, to.len() / 4);
    for group in 0..4 {
        let nibble = bits >> (4 * group) & 0xf;
        let (from, to) = (&from[group * in_stored..][..in_stored], &mut to[group * in_full..][..in_full]);
        if ty == MatrixType::Tf32 {
            // 0b0100 names the first of two, 0b1110 the second: the halves 0, 1 or 2, 3 of four 16-bit columns.
            to[(nibble >> 3) as usize & 1] = from[0];
            continue;
        }
        // Elements that go together: pairs of 4-bit integers, single ones else.
        let unit = in_stored / 2;
        for stored in 0..2 {
            let index = (nibble >> (2 * stored)) as usize & 3;
            to[index * unit..][..unit].copy_from_slice(&from[stored * unit..][..unit]);
        }
    }
}
