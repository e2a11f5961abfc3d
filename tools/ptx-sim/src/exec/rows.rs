//! The register file of a warp, and loops over its lanes.

use crate::ir::{Pred, Slot};

pub const LANES: usize = 32;
pub type Row = [u32; LANES];

#[derive(Clone)]
pub struct Rows {
    rows: Vec<Row>,
    preds: Vec<u32>,
}

impl Rows {
    pub fn new(rows: u32, preds: u32) -> Rows {
        // One more than asked: a 64-bit shift reads its 32-bit count as a pair and drops the upper half.
        Rows { rows: vec![[0; LANES]; rows as usize + 1], preds: vec![0; preds as usize] }
    }

    /// A number for all that the registers hold; equal contents have equal numbers. One sum for each lane, so that the
    /// compiler vectorises the loop.
    pub fn digest(&self) -> u64 {
        let mut sums = [0x811c_9dc5u32; LANES];
        for row in &self.rows {
            for (sum, word) in sums.iter_mut().zip(row) {
                *sum = (*sum ^ word).wrapping_mul(0x0100_0193).rotate_left(13);
            }
        }
        let words = sums.iter().chain(&self.preds);
        words.fold(0xcbf2_9ce4_8422_2325, |h: u64, w| {
            (h ^ *w as u64).wrapping_mul(0x100_0000_01b3).rotate_left(29)
        })
    }

    #[inline]
    pub fn row(&self, slot: Slot) -> &Row {
        &self.rows[slot as usize]
    }

    #[inline]
    pub fn row_mut(&mut self, slot: Slot) -> &mut Row {
        &mut self.rows[slot as usize]
    }

    #[inline]
    pub fn pred(&self, p: Pred) -> u32 {
        self.preds[p as usize]
    }

    /// Sets the lanes of `mask` to the bits of `value`.
    #[inline]
    pub fn set_pred(&mut self, p: Pred, value: u32, mask: u32) {
        let slot = &mut self.preds[p as usize];
        *slot = (*slot & !mask) | (value & mask);
    }

    #[inline]
    pub fn wide(&self, slot: Slot, lane: usize) -> u64 {
        self.rows[slot as usize][lane] as u64 | (self.rows[slot as usize + 1][lane] as u64) << 32
    }

    #[inline]
    pub fn set_wide(&mut self, slot: Slot, lane: usize, value: u64) {
        self.rows[slot as usize][lane] = value as u32;
        self.rows[slot as usize + 1][lane] = (value >> 32) as u32;
    }

    #[inline]
    pub fn put(&mut self, slot: Slot, mask: u32, values: &Row) {
        let row = &mut self.rows[slot as usize];
        if mask == u32::MAX {
            *row = *values;
        } else {
            for lane in lanes(mask) {
                row[lane] = values[lane];
            }
        }
    }

    /// `d = f(a)` on the lanes of `mask`.
    #[inline(always)]
    pub fn map1(&mut self, mask: u32, d: Slot, a: Slot, f: impl Fn(u32) -> u32) {
        let x = *self.row(a);
        let out = std::array::from_fn(|l| f(x[l]));
        self.put(d, mask, &out);
    }

    #[inline(always)]
    pub fn map2(&mut self, mask: u32, d: Slot, a: Slot, b: Slot, f: impl Fn(u32, u32) -> u32) {
        let (x, y) = (*self.row(a), *self.row(b));
        let out = std::array::from_fn(|l| f(x[l], y[l]));
        self.put(d, mask, &out);
    }

    #[inline(always)]
    pub fn map3(&mut self, mask: u32, d: Slot, a: Slot, b: Slot, c: Slot, f: impl Fn(u32, u32, u32) -> u32) {
        let (x, y, z) = (*self.row(a), *self.row(b), *self.row(c));
        let out = std::array::from_fn(|l| f(x[l], y[l], z[l]));
        self.put(d, mask, &out);
    }

    /// The 64-bit counterpart: all three operands wide.
    #[inline(always)]
    pub fn wide3(&mut self, mask: u32, d: Slot, a: Slot, b: Slot, c: Slot, f: impl Fn(u64, u64, u64) -> u64) {
        let mut lo = [0; LANES];
        let mut hi = [0; LANES];
        let (x, xh, y, yh, z, zh) =
            (*self.row(a), *self.row(a + 1), *self.row(b), *self.row(b + 1), *self.row(c), *self.row(c + 1));
        let join = |l: u32, h: u32| l as u64 | (h as u64) << 32;
        for l in 0..LANES {
            let value = f(join(x[l], xh[l]), join(y[l], yh[l]), join(z[l], zh[l]));
            lo[l] = value as u32;
            hi[l] = (value >> 32) as u32;
        }
        self.put(d, mask, &lo);
        self.put(d + 1, mask, &hi);
    }
}

/// The set lanes of a mask, in order.
#[inline]
pub fn lanes(mask: u32) -> impl Iterator<Item = usize> {
    let mut left = mask;
    std::iter::from_fn(move || {
        (left != 0).then(|| {
            let lane = left.trailing_zeros() as usize;
            left &= left - 1;
            lane
        })
    })
}
