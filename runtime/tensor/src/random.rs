//! Deterministic random data: the same seed gives the same numbers on every machine and in every version.
//!
//! The generator is SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014): a
//! counter through a mixing function. [`Random::stream`] makes an independent stream for each name, so that adding
//! a parameter to a kernel does not change the data of the others.

use crate::{Tensor, TensorError};
use std::collections::HashMap;
use tile_base::{DType, IndexKind};

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

/// How far the counter goes from one draw to the next.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Random {
    pub fn new(seed: u64) -> Random {
        Random { state: mix(seed ^ 0x5851_f42d_4c95_7f2d) }
    }

    /// The stream of a name under a seed.
    pub fn stream(seed: u64, name: &str) -> Random {
        let mut random = Random::new(seed);
        for b in name.bytes() {
            random.state = mix(random.state.wrapping_mul(257).wrapping_add(b as u64 + 1));
        }
        random
    }

    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        mix(self.state)
    }

    /// Leaves out so many draws of [`Self::bits`].
    fn skip(&mut self, draws: u64) {
        self.state = self.state.wrapping_add(STEP.wrapping_mul(draws));
    }

    /// In 0..1, a multiple of 2^-53.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Of the standard normal distribution (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.uniform(), self.uniform());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// In `lo..=hi`, every value as likely.
    pub fn between(&mut self, lo: i64, hi: i64) -> i64 {
        let width = hi.wrapping_sub(lo) as u64;
        match width.checked_add(1) {
            Some(n) if hi >= lo => lo.wrapping_add(((self.bits() as u128 * n as u128) >> 64) as i64),
            _ if hi >= lo => self.bits() as i64,
            _ => lo,
        }
    }
}

/// Random elements as the dtype has them: standard normal for floats, small integers, coin flips for bools.
pub fn fill(dtype: DType, shape: &[usize], random: &mut Random) -> Result<Tensor, TensorError> {
    let mut t = Tensor::try_zeros(dtype, shape)?;
    match dtype.int_range() {
        Some((lo, hi)) => {
            let (lo, hi) = (lo.max(-8), hi.min(7));
            t.fill_with(|_| random.between(lo, hi) as f64);
        }
        None if dtype == DType::Bool => t.fill_with(|_| (random.bits() & 1) as f64),
        None => fill_normal(&mut t, random),
    }
    Ok(t)
}

/// Every number takes two draws, so that each block of elements knows where in the stream it begins.
fn fill_normal(t: &mut Tensor, random: &mut Random) {
    let start = |first: usize| {
        let mut here = random.clone();
        here.skip(2 * first as u64);
        here
    };
    t.fill_blocks(start, Random::normal);
    random.skip(2 * t.len() as u64);
}

/// Different ids in 0..`limit`, in random order: a partial shuffle (Fisher and Yates) of the numbers below `limit`, of
/// which only those that were moved are kept. More than `limit` of them there are not: then the last ones repeat.
pub fn fill_distinct(
    dtype: DType,
    limit: i64,
    shape: &[usize],
    random: &mut Random,
) -> Result<Tensor, TensorError> {
    let mut t = Tensor::try_zeros(dtype, shape)?;
    let mut moved: HashMap<i64, i64> = HashMap::new();
    let last = (limit - 1).max(0);
    t.fill_with(|at| {
        let at = (at as i64).min(last);
        let from = random.between(at, last);
        let (here, there) =
            (moved.get(&at).copied().unwrap_or(at), moved.get(&from).copied().unwrap_or(from));
        moved.insert(from, here);
        there as f64
    });
    Ok(t)
}

/// Random elements of an index type over 0..`limit` (rule 12): ids, about one in eight of them "none" for `id?`;
/// counts; sorted offsets from 0 to `limit`.
pub fn fill_index(
    dtype: DType,
    kind: &IndexKind,
    limit: i64,
    shape: &[usize],
    random: &mut Random,
) -> Result<Tensor, TensorError> {
    let mut t = Tensor::try_zeros(dtype, shape)?;
    let last = (limit - 1).max(0);
    match kind {
        IndexKind::Id(_) => t.fill_with(|_| random.between(0, last) as f64),
        IndexKind::IdOrNone(_) => t.fill_with(|_| match random.between(0, 7) {
            0 => -1.0,
            _ => random.between(0, last) as f64,
        }),
        IndexKind::Count(_) => t.fill_with(|_| random.between(0, limit) as f64),
        IndexKind::Offsets(_) => {
            let row = shape.last().copied().unwrap_or(1).max(1);
            let mut values = Vec::with_capacity(t.len());
            for _ in 0..t.len() / row {
                let mut cuts: Vec<i64> = (0..row).map(|_| random.between(0, limit)).collect();
                cuts.sort_unstable();
                cuts[0] = 0;
                cuts[row - 1] = limit;
                values.extend(cuts);
            }
            t.fill_with(|i| values.get(i).copied().unwrap_or(0) as f64);
        }
    }
    Ok(t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_tensor_has_the_numbers_of_the_stream_in_order() {
        let (mut one, mut other) = (Random::new(3), Random::new(3));
        let t = fill(DType::F32, &[3, 50_001], &mut one).unwrap();
        for (at, v) in t.to_f64_vec().into_iter().enumerate() {
            assert_eq!(v, f64::from(other.normal() as f32), "element {at}");
        }
        assert_eq!(one.bits(), other.bits());
    }

    #[test]
    fn distinct_ids_are_a_part_of_a_permutation() {
        for (count, limit) in [(1, 1), (5, 5), (17, 1000)] {
            let t = fill_distinct(DType::I32, limit, &[count], &mut Random::new(7)).unwrap();
            let mut ids = t.to_i64_vec();
            ids.sort_unstable();
            ids.dedup();
            assert!(
                ids.len() == count && ids.iter().all(|v| (0..limit).contains(v)),
                "{count} of {limit}: {ids:?}"
            );
        }
    }
}
