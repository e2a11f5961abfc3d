//! Ranges of bytes in order, packed: a word here and there takes three to five bytes.
//!
//! A range is written as its distance from the end of the one before it; its length and instruction only where they are
//! others. Numbers take as many bytes as they need, seven bits in each. Every 32 ranges a *block* begins, which says where
//! it does, so that a search has to read no more than one.
//!
//! ```text
//! ranges    [1000, 1004) by 7   [1600, 1604) by 7   [1700, 1708) by 9
//! block     begins at 1000
//! packed    0 differs, 4, +7    596                 96 differs, 8, +2
//! ```

use super::{intern::extend, intervals::Touched};

/// Ranges of a block.
const BLOCK: usize = 32;

#[derive(Clone, Copy, Debug)]
struct Block {
    lo: u64,
    /// Where it is among the packed bytes.
    at: usize,
}

#[derive(Clone, Debug, Default)]
pub struct Packed {
    bytes: Vec<u8>,
    blocks: Vec<Block>,
    count: usize,
    /// The last one; what the next is compared with.
    last: Touched,
}

impl Packed {
    pub fn len(&self) -> usize {
        self.count
    }

    /// Adds a range that begins behind all others.
    pub fn push(&mut self, range: Touched) {
        if self.count.is_multiple_of(BLOCK) {
            extend(&mut self.blocks, &[Block { lo: range.lo, at: self.bytes.len() }]);
            self.last = Touched { lo: range.lo, ..Touched::default() };
        }
        let Touched { lo, len, at } = range;
        let other = (len, at) != (self.last.len, self.last.at);
        self.put((lo - self.last.hi()) << 1 | other as u64);
        if other {
            self.put(len as u64);
            let step = at as i64 - self.last.at as i64;
            self.put((step << 1 ^ step >> 63) as u64);
        }
        (self.last, self.count) = (range, self.count + 1);
    }

    fn put(&mut self, mut number: u64) {
        let mut digits = [0; 10];
        let mut length = 0;
        loop {
            let low = (number & 0x7f) as u8;
            number >>= 7;
            digits[length] = if number == 0 { low } else { low | 0x80 };
            length += 1;
            if number == 0 {
                break;
            }
        }
        extend(&mut self.bytes, &digits[..length]);
    }

    pub fn iter(&self) -> Iter<'_> {
        self.at_block(0)
    }

    /// From the last block on that begins at or before an address.
    pub fn near(&self, address: u64) -> Iter<'_> {
        let after = self.blocks.partition_point(|b| b.lo <= address);
        self.at_block(after.saturating_sub(1))
    }

    fn at_block(&self, block: usize) -> Iter<'_> {
        let at = self.blocks.get(block).map_or(self.bytes.len(), |b| b.at);
        Iter { of: self, at, number: block * BLOCK, last: Touched::default() }
    }

    pub fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.blocks.shrink_to_fit();
    }

    /// Memory that it takes.
    pub fn bytes(&self) -> usize {
        self.bytes.capacity() + self.blocks.capacity() * size_of::<Block>()
    }
}

/// Ranges one after the other.
#[derive(Clone)]
pub struct Iter<'a> {
    of: &'a Packed,
    /// Place and number of the next.
    at: usize,
    number: usize,
    last: Touched,
}

impl Iter<'_> {
    fn take(&mut self) -> u64 {
        let (mut number, mut shift) = (0, 0);
        while let Some(&digit) = self.of.bytes.get(self.at) {
            self.at += 1;
            number |= ((digit & 0x7f) as u64) << shift;
            shift += 7;
            if digit < 0x80 {
                break;
            }
        }
        number
    }
}

impl Iterator for Iter<'_> {
    type Item = Touched;

    fn next(&mut self) -> Option<Touched> {
        if self.number >= self.of.count {
            return None;
        }
        if self.number.is_multiple_of(BLOCK) {
            self.last = Touched { lo: self.of.blocks[self.number / BLOCK].lo, ..Touched::default() };
        }
        let first = self.take();
        let lo = self.last.hi() + (first >> 1);
        self.last.lo = lo;
        if first & 1 == 1 {
            self.last.len = self.take() as u32;
            let step = self.take();
            let step = (step >> 1) as i64 ^ -((step & 1) as i64);
            self.last.at = (self.last.at as i64 + step) as u32;
        }
        self.number += 1;
        Some(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_come_back_as_they_were() {
        let mut all = vec![];
        let mut lo = 0u64;
        for n in 0..1000u64 {
            lo += [1, 5, 100, 4096, 1 << 33][n as usize % 5] * (1 + n % 3);
            let range = Touched {
                lo,
                len: [4, 4, 4, 16, u32::MAX][(n / 7) as usize % 5],
                at: (n / 11 * 37 % 64) as u32,
            };
            all.push(range);
            lo = range.hi();
        }
        let mut packed = Packed::default();
        all.iter().for_each(|r| packed.push(*r));
        assert_eq!((packed.len(), packed.iter().collect::<Vec<_>>()), (1000, all.clone()));
        for range in &all {
            let found = packed.near(range.lo).take(BLOCK).find(|r| r.lo == range.lo);
            assert_eq!(found, Some(*range));
        }
        assert_eq!(Packed::default().near(7).next(), None);
    }

    #[test]
    fn a_word_here_and_there_takes_four_bytes() {
        let mut packed = Packed::default();
        (0..10_000).for_each(|n| packed.push(Touched { lo: n * 5000 + n % 7, len: 4, at: 3 }));
        packed.shrink();
        assert!(packed.bytes() < 4 * 10_000, "{}", packed.bytes());
    }
}
