//! `mma.sp`, `wgmma.mma_async.sp`: where the stored elements of a sparse left operand stand.
//!
//! Of a *group* of columns half are stored: of four, two (of two tf32 columns one, of four pairs of 4-bit integers two
//! pairs). Four bits of metadata say which. The four lanes `4 g + t` hold those of the rows g and g + 8, one word each;
//! how the word is shared was asked of a device:
//!
//! ```text
//! 16 bits, tf32   the low half is of row g, the high half of row g + 8; a lane has 4 groups of both, the next lane 4 more
//! 8 and 4 bits    a lane has 8 groups of one row: even lanes of row g, odd ones of row g + 8; two lanes on 8 groups more
//!
//! m16n8k32 f16    row 11, group 5:  lane 4·3 + base + 1, bits 16 + 4·1 up
//! m16n8k64 s8     row 11, group 13: lane 4·3 + 1 + 2·1,  bits 4·5 up
//! ```
//!
//! Either way an operand with 4 n groups a row needs n lanes of four, and the selector says where they begin.

use super::rows::{Row, Rows};
use crate::ir::{MatrixType, Sparsity};

/// How the metadata of an operand lie in a register.
#[derive(Clone, Copy, Debug)]
pub struct Metadata {
    /// Of a row.
    pub groups: usize,
    /// A word is of one row, not of two.
    one_row: bool,
    /// The first of the lanes of four.
    base: usize,
}

impl Metadata {
    /// Of elements of so many bits, `k` of them in a full row.
    pub fn new(bits: usize, k: usize, selector: usize) -> Metadata {
        let columns = match bits {
            32 => 2,
            4 => 8,
            _ => 4,
        };
        let groups = k / columns;
        Metadata { groups, one_row: bits <= 8, base: selector * (groups / 4) % 4 }
    }

    /// How many selectors there are.
    pub fn selectors(&self) -> usize {
        4 / (self.groups / 4)
    }

    /// The lane that holds the four bits of a group, and at which bit.
    pub fn place(&self, row: usize, group: usize) -> (usize, usize) {
        let (lane, bit) = if self.one_row {
            (row / 8 + group / 8 * 2, 4 * (group % 8))
        } else {
            (group / 4, 16 * (row / 8) + 4 * (group % 4))
        };
        (4 * (row % 8) + self.base + lane, bit)
    }

    pub fn of(&self, words: &Row, row: usize, group: usize) -> u32 {
        let (lane, bit) = self.place(row, group);
        words[lane] >> bit & 0xf
    }
}

/// Bits of an element of a sparse operand.
fn bits(ty: MatrixType) -> usize {
    match ty {
        MatrixType::Tf32 => 32,
        MatrixType::F16 | MatrixType::Bf16 => 16,
        MatrixType::S4 | MatrixType::U4 => 4,
        _ => 8,
    }
}

pub fn metadata(ty: MatrixType, k: usize, selector: u8) -> Metadata {
    Metadata::new(bits(ty), k, selector as usize)
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
    let metadata = metadata(ty, k, pattern.selector);
    let (columns, words) = (k / metadata.groups, r.row(pattern.metadata));
    for (row, (stored, out)) in stored.iter().zip(&mut out).enumerate() {
        let groups = stored.chunks_exact(columns / 2).zip(out.chunks_exact_mut(columns));
        for (group, (from, to)) in groups.take(metadata.groups).enumerate() {
            place(metadata.of(words, row, group), from, to);
        }
    }
    out
}

/// The stored half of a group to its places.
pub fn place(nibble: u32, from: &[f32], to: &mut [f32]) {
    if let [one] = from {
        // 0b0100 names the first of two, 0b1110 the second: the halves 0, 1 or 2, 3 of four 16-bit columns.
        to[(nibble >> 3) as usize & 1] = *one;
        return;
    }
    // Elements that go together: pairs of 4-bit integers, single ones else.
    let unit = from.len() / 2;
    for (stored, from) in from.chunks_exact(unit).enumerate() {
        let index = (nibble >> (2 * stored)) as usize & 3;
        to[index * unit..][..unit].copy_from_slice(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_of_the_header() {
        assert_eq!(metadata(MatrixType::F16, 32, 1).place(11, 5), (4 * 3 + 2 + 1, 20));
        assert_eq!(metadata(MatrixType::S8, 64, 0).place(11, 13), (4 * 3 + 1 + 2, 20));
        assert_eq!(metadata(MatrixType::S8, 32, 1).place(11, 7), (4 * 3 + 2 + 1, 28));
    }

    /// Every word is read, and no bit twice.
    #[test]
    fn no_bit_is_shared() {
        use MatrixType::*;
        for (ty, k, selectors) in
            [(F16, 16, 4), (F16, 32, 2), (Tf32, 8, 4), (Tf32, 16, 2), (S8, 32, 2), (S8, 64, 1), (S4, 128, 1)]
        {
            assert_eq!(metadata(ty, k, 0).selectors(), selectors);
            let mut seen = std::collections::HashSet::new();
            for selector in 0..selectors {
                let m = metadata(ty, k, selector as u8);
                (0..16).for_each(|row| (0..m.groups).for_each(|g| assert!(seen.insert(m.place(row, g)))));
            }
            assert_eq!(seen.len(), 32 * 8, "{ty:?} {k}");
        }
    }
}
