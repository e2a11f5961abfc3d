//! Where an element of a tile lies in shared memory, so that rows and columns are both read without bank conflicts.
//!
//! Shared memory has 32 banks of 4 bytes; eight 16-byte *chunks* span all of them. `ldmatrix` reads eight rows at
//! one column: with rows of 128 bytes all eight chunks would lie in the same banks and take eight turns. So chunk
//! `c` of row `r` is kept at `c ^ f(r)`, with `f` chosen such that eight successive rows at one column always hit
//! eight different chunk positions modulo 128 bytes:
//!
//! ```text
//! row of 8n chunks:  f(r) = r % 8                 row of 4 chunks:  f(r) = (r / 2) % 4
//! row of 2 chunks:   f(r) = (r / 4) % 2           other rows:       padded to an odd number of chunks, f = 0
//! ```

/// A two-dimensional tile in shared memory: `row` is the slow dimension, `column` the contiguous one.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SharedLayout {
    pub rows: u32,
    pub columns: u32,
    /// Bytes of an element.
    pub element: u32,
    /// Which dimension of the tile is contiguous.
    pub fast: usize,
    /// Bytes from one row to the next; a multiple of 16.
    pub pitch: u32,
    /// `f(r) = (r >> shift) & mask`, XORed to the chunk number.
    pub shift: u32,
    pub mask: u32,
}

pub const CHUNK: u32 = 16;

impl SharedLayout {
    /// For a tile of `extents` whose dimension `fast` is contiguous.
    pub fn swizzled(extents: [u32; 2], fast: usize, element: u32) -> SharedLayout {
        let (rows, columns) = (extents[1 - fast], extents[fast]);
        let chunks = (columns * element).div_ceil(CHUNK).max(1);
        let (chunks, shift, mask) = match chunks {
            c if c % 8 == 0 => (c, 0, 7),
            4 => (4, 1, 3),
            2 => (2, 2, 1),
            c => (c | 1, 0, 0),
        };
        SharedLayout { rows, columns, element, fast, pitch: chunks * CHUNK, shift, mask }
    }

    pub fn bytes(&self) -> u32 {
        self.rows * self.pitch
    }

    /// What is XORed to the chunk numbers of a row.
    pub fn swizzle(&self, row: u32) -> u32 {
        row >> self.shift & self.mask
    }

    /// Byte offset of an element, by its tile coordinate.
    pub fn offset(&self, at: [u32; 2]) -> u32 {
        let (row, column) = (at[1 - self.fast], at[self.fast]);
        let byte = column * self.element;
        row * self.pitch + ((byte / CHUNK) ^ self.swizzle(row)) * CHUNK + byte % CHUNK
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn eight_rows_at_one_chunk_hit_all_banks() {
        for columns in [16u32, 32, 40, 64, 72, 80, 96, 128, 176, 256] {
            let s = SharedLayout::swizzled([64, columns], 1, 2);
            for first in [0, 8, 56] {
                for chunk in 0..columns / 8 {
                    let banks: HashSet<u32> =
                        (first..first + 8).map(|r| s.offset([r, chunk * 8]) / CHUNK % 8).collect();
                    assert_eq!(banks.len(), 8, "{columns} columns, rows {first}.., chunk {chunk}");
                }
            }
        }
    }

    #[test]
    fn no_two_elements_share_a_place() {
        for (rows, columns, element) in [(16, 40, 2), (24, 64, 4), (9, 24, 2), (5, 3, 4), (32, 32, 2)] {
            for fast in [0, 1] {
                let extents = if fast == 1 { [rows, columns] } else { [columns, rows] };
                let s = SharedLayout::swizzled(extents, fast, element);
                let mut seen = HashSet::new();
                for a in 0..extents[0] {
                    for b in 0..extents[1] {
                        let at = s.offset([a, b]);
                        assert!(at.is_multiple_of(element) && at + element <= s.bytes());
                        assert!(seen.insert(at));
                    }
                }
            }
        }
    }
}
