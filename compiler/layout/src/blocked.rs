//! Blocked layouts: each thread holds short runs along the fastest dimension, for vector loads and stores.
//!
//! Worked example: a 64 x 64 tile of f16, rows contiguous in memory, 4 warps, 16-byte loads (8 elements):
//!
//! ```text
//! register bits -> (0,1) (0,2) (0,4)          8 elements, one 16-byte load
//! lane bits     -> (0,8) (0,16) (0,32)        8 lanes finish a row of 128 bytes
//!                  (1,0) (2,0)                the other lanes take 4 rows
//! warp bits     -> (4,0) (8,0)                the warps 16
//! repeats       -> 4 along dimension 0
//! ```
//!
//! A warp thus reads 4 full lines of 128 bytes with one instruction.

use crate::linear::{Basis, Layout};

/// How warps are spread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WarpOrder {
    /// Over the slow dimensions first: a row stays within a warp, so reducing along it needs no shared memory.
    SlowFirst,
    /// Over the fast dimension first.
    FastFirst,
}

/// `extents` are the tile's, `fast` the dimension that is contiguous in memory, `vector` the run of a thread.
pub fn blocked(extents: &[u32], fast: usize, vector: u32, warps: u32, order: WarpOrder) -> Layout {
    let rank = extents.len();
    let mut build = Builder { size: vec![1; rank], extents: extents.to_vec() };
    let register: Vec<Basis> = (0..vector.max(1).ilog2()).map(|_| build.step(fast)).collect();
    let dims: Vec<usize> = std::iter::once(fast).chain((0..rank).rev().filter(|&d| d != fast)).collect();
    let lane = build.spread(5, &dims);
    let slow_first: Vec<usize> = match order {
        WarpOrder::SlowFirst => dims.iter().skip(1).chain(dims.first()).copied().collect(),
        WarpOrder::FastFirst => dims.clone(),
    };
    let warp = build.spread(warps.max(1).ilog2(), &slow_first);
    let reps = (0..rank).map(|d| extents[d].max(1).div_ceil(build.size[d])).collect();
    Layout { register, lane, warp, reps }
}

struct Builder {
    /// Size of the block so far.
    size: Vec<u32>,
    extents: Vec<u32>,
}

impl Builder {
    fn step(&mut self, dim: usize) -> Basis {
        let mut basis = vec![0; self.size.len()];
        basis[dim] = self.size[dim];
        self.size[dim] *= 2;
        basis
    }

    /// Gives `bits` to the dimensions in turn, as long as another bit covers something useful; then to none.
    fn spread(&mut self, bits: u32, dims: &[usize]) -> Vec<Basis> {
        let mut out = vec![];
        for &dim in dims {
            while (out.len() as u32) < bits && self.worth(dim) {
                let basis = self.step(dim);
                out.push(basis);
            }
        }
        while (out.len() as u32) < bits {
            out.push(vec![0; self.size.len()]);
        }
        out
    }

    /// Whether doubling the block along `dim` saves a repeat and wastes at most an eighth of the covered positions.
    fn worth(&self, dim: usize) -> bool {
        let (size, extent) = (self.size[dim], self.extents[dim].max(1));
        let doubled = extent.div_ceil(size * 2) * size * 2;
        size < extent
            && doubled - extent <= extent / 8 + (extent.next_power_of_two() - extent) * u32::from(extent < 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_worked_example() {
        let l = blocked(&[64, 64], 1, 8, 4, WarpOrder::SlowFirst);
        assert_eq!(l.to_string(), "reg [0,1 0,2 0,4] lane [0,8 0,16 0,32 1,0 2,0] warp [4,0 8,0] x4,1");
    }

    proptest! {
        #[test]
        fn every_element_has_an_owner_that_holds_it(
            rows in 1u32..80, cols in 1u32..300, vector in 0u32..4, warps in 0u32..4, fast in 0usize..2
        ) {
            let l = blocked(&[rows, cols], fast, 1 << vector, 1 << warps, WarpOrder::SlowFirst);
            prop_assert_eq!(l.check(), Ok(()));
            for at in [[0, 0], [rows - 1, cols - 1], [rows / 2, cols / 3], [rows - 1, 0]] {
                let (r, lane, warp) = l.owner(&at).expect("covered");
                prop_assert_eq!(l.coordinate(r, lane, warp), at.to_vec());
            }
        }

        #[test]
        fn each_position_is_held_once_but_for_free_bits(rows in 1u32..9, cols in 1u32..70, vector in 0u32..3) {
            let l = blocked(&[rows, cols], 1, 1 << vector, 2, WarpOrder::SlowFirst);
            let mut seen = std::collections::HashSet::new();
            for r in 0..l.registers() {
                for lane in (0..32).filter(|x| x & l.free_lanes() == 0) {
                    for warp in (0..2).filter(|x| x & l.free_warps() == 0) {
                        prop_assert!(seen.insert(l.coordinate(r, lane, warp)));
                    }
                }
            }
            prop_assert_eq!(seen.len() as u32, l.coverage(0) * l.coverage(1));
        }
    }
}
