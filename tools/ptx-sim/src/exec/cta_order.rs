//! The order in which the clusters of a grid begin.
//!
//! CUDA promises none. By default they begin in the order of their numbers, as devices do by and large; a seed gives them
//! another order, so that a result that hangs on it changes from seed to seed.
//!
//! The order is a permutation that is computed place by place, since a grid may have 2^32 clusters. A Feistel network
//! permutes the numbers of an even number of bits, the fewest that hold the grid; a number that comes out too large goes
//! in again until one fits, which walks along the number's cycle and so stays one to one:
//!
//! ```text
//! 6 clusters, 4 bits: 0 1 2 3 4 5  ─▶  11→3  0  14→9→5  2  4  1      each of 0..6 once
//! ```

#[derive(Clone, Copy, Debug)]
pub struct Order {
    seed: Option<u64>,
    count: u64,
    /// Bits of each half.
    half: u32,
}

/// Four make a permutation that looks like chance; no more is asked of it.
const ROUNDS: u64 = 4;

impl Order {
    /// Of `count` clusters; without a seed as they are numbered.
    pub fn new(seed: Option<u64>, count: u64) -> Order {
        let bits = u64::BITS - count.saturating_sub(1).leading_zeros();
        Order { seed, count, half: bits.div_ceil(2) }
    }

    /// The number of the cluster that begins at a place, for a place below the count.
    pub fn at(&self, place: u64) -> u64 {
        let Some(seed) = self.seed.filter(|_| self.count > 1) else { return place };
        let mut number = self.permute(seed, place);
        while number >= self.count {
            number = self.permute(seed, number);
        }
        number
    }

    fn permute(&self, seed: u64, number: u64) -> u64 {
        let mask = (1 << self.half) - 1;
        let (mut left, mut right) = (number >> self.half, number & mask);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ (mixed(seed ^ (round << 56) ^ right) & mask));
        }
        left << self.half | right
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014): every bit of the input reaches every bit of the output.
fn mixed(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cluster_begins_once() {
        for count in [1, 2, 3, 6, 64, 1000, 4097] {
            for seed in [0, 1, 99] {
                let order = Order::new(Some(seed), count);
                let mut numbers: Vec<u64> = (0..count).map(|place| order.at(place)).collect();
                numbers.sort_unstable();
                assert!(numbers.into_iter().eq(0..count), "{count} clusters, seed {seed}");
            }
        }
    }

    #[test]
    fn seeds_differ_and_none_is_the_plain_order() {
        let all = |seed| -> Vec<u64> { (0..1000).map(|place| Order::new(seed, 1000).at(place)).collect() };
        assert!(all(None).into_iter().eq(0..1000));
        assert_ne!(all(Some(0)), all(Some(1)));
        let stay =
            all(Some(0)).iter().enumerate().filter(|(place, number)| *place as u64 == **number).count();
        assert!(stay < 20, "{stay} of 1000 stay in place");
    }

    #[test]
    fn the_greatest_grid_has_an_order() {
        let order = Order::new(Some(7), 1 << 32);
        assert!(order.at(0) < 1 << 32 && order.at((1 << 32) - 1) < 1 << 32);
    }
}
