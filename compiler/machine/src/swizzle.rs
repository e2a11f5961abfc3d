//! How tiles are permuted in shared memory, so that eight rows at one column lie in different banks.
//!
//! A swizzle works on *address bits*, not on coordinates: within its period, bits 4… of a byte's address are XORed
//! with bits 7… (three, two or one of them). TMA applies it to the address it writes, `wgmma` to the address it reads,
//! so both agree when both start from the same base.
//!
//! ```text
//! 128 B: bits 4..=6 ^= bits 7..=9, period 1024       64 B: bits 4..=5 ^= bits 7..=8, period 512
//! 32 B:  bit 4      ^= bit 7,      period 256
//!
//! A tile of 8 rows of 128 bytes at address 0, 128 B swizzle. The 16-byte chunk c of row r is kept as chunk c ^ r:
//!     row 0:  0 1 2 3 4 5 6 7
//!     row 1:  1 0 3 2 5 4 7 6        chunk 2 of row 1: linear 128 + 32 = 160 = 0b0_0101_00000
//!     row 2:  2 3 0 1 6 7 4 5        160 ^ ((160 >> 3) & 0x70) = 160 ^ 16 = 176 = chunk 3 of row 1
//! 32 B swizzle: rows of 32 bytes, four to 128; chunks 0 and 1 trade places in the second four rows.
//! ```

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Swizzle {
    #[default]
    None,
    B32,
    B64,
    B128,
}

impl Swizzle {
    pub const ALL: [Swizzle; 4] = [Swizzle::None, Swizzle::B32, Swizzle::B64, Swizzle::B128];

    /// Bytes of a row that is permuted as a whole: 16 (one chunk) without swizzle.
    pub fn width(self) -> u32 {
        16 << self.bits()
    }

    /// The map repeats after this many bytes; a base aligned to it makes the map one of coordinates.
    pub fn period(self) -> u32 {
        if self == Swizzle::None { 16 } else { 128 << self.bits() }
    }

    /// How many address bits take part.
    fn bits(self) -> u32 {
        match self {
            Swizzle::None => 0,
            Swizzle::B32 => 1,
            Swizzle::B64 => 2,
            Swizzle::B128 => 3,
        }
    }

    /// Where the byte at a linear address is kept. Its own inverse.
    pub fn apply(self, address: u32) -> u32 {
        self.apply_from(address, 0)
    }

    /// The same for a pattern that begins `base` rows of 128 bytes after a multiple of its period.
    pub fn apply_from(self, address: u32, base: u32) -> u32 {
        let mask = (1 << self.bits()) - 1;
        address ^ (((address >> 7).wrapping_sub(base) & mask) << 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_worked_example() {
        let s = Swizzle::B128;
        assert_eq!(s.apply(160), 176);
        let row = |r: u32| (0..8).map(|c| s.apply(r * 128 + c * 16) % 128 / 16).collect::<Vec<_>>();
        assert_eq!(row(1), [1, 0, 3, 2, 5, 4, 7, 6]);
        assert_eq!(row(2), [2, 3, 0, 1, 6, 7, 4, 5]);
        assert_eq!((Swizzle::B32.apply(0), Swizzle::B32.apply(128), Swizzle::B32.apply(144)), (0, 144, 128));
    }

    #[test]
    fn permutes_within_a_row_and_is_its_own_inverse() {
        for s in Swizzle::ALL {
            for at in 0..4096 {
                let to = s.apply(at);
                assert_eq!(s.apply(to), at);
                assert_eq!(to / s.width(), at / s.width(), "{s:?} {at}");
                assert_eq!(s.apply(at + s.period()), to + s.period());
            }
        }
    }

    #[test]
    fn eight_rows_at_one_column_take_every_bank_once() {
        for s in [Swizzle::B32, Swizzle::B64, Swizzle::B128] {
            for chunk in 0..s.width() / 16 {
                let banks: HashSet<u32> =
                    (0..8).map(|r| s.apply(r * s.width() + chunk * 16) % 128 / 16).collect();
                assert_eq!(banks.len(), 8, "{s:?}");
            }
        }
    }

    #[test]
    fn a_pattern_that_begins_elsewhere() {
        // A tile at 256: its first row is row 0 of the pattern.
        assert_eq!(Swizzle::B128.apply_from(256, 2), 256);
        assert_eq!(Swizzle::B128.apply_from(256 + 128, 2), 256 + 128 + 16);
        assert_eq!(Swizzle::B128.apply(256), 256 + 32);
    }
}
