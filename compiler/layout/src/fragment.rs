//! Layouts of the operands of matrix instructions, and of the accumulator of plain multiply-adds.
//!
//! A block's `warps_m * warps_n` warps share a product: warp bits run along rows first, then along columns. Rows of
//! one warp are 16 apart from those of the next, columns too; what is left is repeated. With `warps_n == 1` a row
//! lives in four lanes of one warp, so row sums are two shuffles.

use crate::linear::{Basis, Layout};

fn steps(dim: usize, first: u32, bits: u32) -> impl Iterator<Item = Basis> {
    (0..bits).map(move |n| {
        let mut basis = vec![0; 2];
        basis[dim] = first << n;
        basis
    })
}

fn repeat(register: Vec<Basis>, lane: Vec<Basis>, warp: Vec<Basis>, extents: [u32; 2]) -> Layout {
    let mut layout = Layout { register, lane, warp, reps: vec![1, 1] };
    for (dim, extent) in extents.into_iter().enumerate() {
        layout.reps[dim] = extent.max(1).div_ceil(layout.block(dim));
    }
    layout
}

/// Accumulator of `mma.m16n8kX` over an m x n tile: see the worked example of the crate's header.
///
/// With several warps along columns each takes two neighbouring 8-column tiles, which one `ldmatrix.x4` feeds.
pub fn accumulator(m: u32, n: u32, warps_m: u32, warps_n: u32) -> Layout {
    let mut register = vec![vec![0, 1], vec![8, 0]];
    let mut next = 8;
    if warps_n > 1 {
        register.push(vec![0, 8]);
        next = 16;
    }
    let lane = steps(1, 2, 2).chain(steps(0, 1, 3)).collect();
    let warp = steps(0, 16, warps_m.ilog2()).chain(steps(1, next, warps_n.ilog2())).collect();
    repeat(register, lane, warp, [m, n])
}

/// Left operand of `mma.m16n8k16` (16-bit elements) or, with `k_step == 8`, of `mma.m16n8k8` (tf32), over an m x k
/// tile. All warps of one row group hold the same.
pub fn lhs(m: u32, k: u32, k_step: u32, warps_m: u32, warps_n: u32) -> Layout {
    let (register, lane): (Vec<Basis>, Vec<Basis>) = if k_step == 16 {
        (vec![vec![0, 1], vec![8, 0], vec![0, 8]], steps(1, 2, 2).chain(steps(0, 1, 3)).collect())
    } else {
        (vec![vec![8, 0], vec![0, 4]], steps(1, 1, 2).chain(steps(0, 1, 3)).collect())
    };
    let warp = steps(0, 16, warps_m.ilog2()).chain((0..warps_n.ilog2()).map(|_| vec![0, 0])).collect();
    repeat(register, lane, warp, [m, k])
}

/// Right operand over a k x n tile, of the same instructions.
pub fn rhs(k: u32, n: u32, k_step: u32, warps_m: u32, warps_n: u32) -> Layout {
    let (mut register, lane): (Vec<Basis>, Vec<Basis>) = if k_step == 16 {
        (vec![vec![1, 0], vec![8, 0]], steps(0, 2, 2).chain(steps(1, 1, 3)).collect())
    } else {
        (vec![vec![4, 0]], steps(0, 1, 2).chain(steps(1, 1, 3)).collect())
    };
    let mut next = 8;
    if warps_n > 1 {
        register.push(vec![0, 8]);
        next = 16;
    }
    let warp = (0..warps_m.ilog2()).map(|_| vec![0, 0]).chain(steps(1, next, warps_n.ilog2())).collect();
    repeat(register, lane, warp, [k, n])
}

/// Accumulator of a product by multiply-adds: a thread holds runs of `run` columns (what one 16-byte read from
/// shared memory feeds); 8 lanes go down the rows, 4 along the columns.
pub fn multiply_add(m: u32, n: u32, run: u32, warps_m: u32, warps_n: u32) -> Layout {
    let register = steps(1, 1, run.ilog2()).collect();
    let lane = steps(1, run, 2).chain(steps(0, 1, 3)).collect();
    let warp = steps(0, 8, warps_m.ilog2()).chain(steps(1, run * 4, warps_n.ilog2())).collect();
    repeat(register, lane, warp, [m, n])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The formulas of the PTX manual, "Matrix Fragments for mma.m16n8k16 with floating point type".
    #[test]
    fn fragments_are_those_of_the_manual() {
        let (a, b, c) = (lhs(16, 16, 16, 1, 1), rhs(16, 8, 16, 1, 1), accumulator(16, 8, 1, 1));
        for lane in 0..32 {
            let (group, thread) = (lane >> 2, lane % 4);
            for i in 0..8 {
                let row = if i < 2 || (4..6).contains(&i) { group } else { group + 8 };
                let col = thread * 2 + (i as u32 & 1) + if i >= 4 { 8 } else { 0 };
                assert_eq!(a.coordinate(i, lane, 0), [row, col], "a{i}");
            }
            for i in 0..4 {
                let row = thread * 2 + (i as u32 & 1) + if i >= 2 { 8 } else { 0 };
                assert_eq!(b.coordinate(i, lane, 0), [row, group], "b{i}");
                let row = if i < 2 { group } else { group + 8 };
                assert_eq!(c.coordinate(i, lane, 0), [row, thread * 2 + (i as u32 & 1)], "c{i}");
            }
        }
    }

    /// "Matrix Fragments for mma.m16n8k8 with .tf32".
    #[test]
    fn tf32_fragments_are_those_of_the_manual() {
        let (a, b) = (lhs(16, 8, 8, 1, 1), rhs(8, 8, 8, 1, 1));
        for lane in 0..32 {
            let (group, thread) = (lane >> 2, lane % 4);
            for i in 0..4usize {
                let row = if i % 2 == 0 { group } else { group + 8 };
                let col = if i < 2 { thread } else { thread + 4 };
                assert_eq!(a.coordinate(i, lane, 0), [row, col], "a{i}");
            }
            for i in 0..2usize {
                assert_eq!(b.coordinate(i, lane, 0), [thread + 4 * i as u32, group], "b{i}");
            }
        }
    }

    #[test]
    fn layouts_of_products_are_sound_at_odd_sizes() {
        for (m, n) in [(64, 64), (128, 176), (48, 40), (16, 8)] {
            for (wm, wn) in [(1, 1), (4, 1), (2, 2), (4, 2)] {
                for layout in [
                    accumulator(m, n, wm, wn),
                    lhs(m, n, 16, wm, wn),
                    rhs(m, n, 16, wm, wn),
                    lhs(m, n, 8, wm, wn),
                    multiply_add(m, n, 4, wm, wn),
                ] {
                    assert_eq!(layout.check(), Ok(()), "{layout}");
                    assert!(layout.coverage(0) >= m && layout.coverage(1) >= n);
                }
            }
        }
    }
}
