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
//!
//! The copy engine (TMA) permutes in the same way, by the bits of the address, within rows of 32, 64 or 128 bytes
//! ([`SharedLayout::boxed`]). A tile that is wider lies in *panels*: the first 128 bytes of all rows, then the next.
//!
//! ```text
//! 64 rows of 128 halves, 256 bytes each:  panel 0 at 0: columns 0 .. 64       panel 1 at 64 * 128: columns 64 .. 128
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
    /// Chunks of a row that lie side by side; those beyond are in the next panel, behind all rows of this one. A power of
    /// two where there are several panels.
    pub panel: u32,
}

pub const CHUNK: u32 = 16;

/// The widest row that the copy engine permutes.
const WIDEST: u32 = 128;

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
        SharedLayout { rows, columns, element, fast, pitch: chunks * CHUNK, shift, mask, panel: chunks }
    }

    /// As a bulk copy of boxes lays a tile down: rows as wide as the narrowest swizzle that holds them, in panels of 128
    /// bytes where none does. The base has to be a multiple of [`SharedLayout::period`].
    pub fn boxed(extents: [u32; 2], fast: usize, element: u32) -> SharedLayout {
        let (rows, columns) = (extents[1 - fast], extents[fast]);
        let pitch = (columns * element).next_power_of_two().clamp(2 * CHUNK, WIDEST);
        let panel = pitch / CHUNK;
        let shift = (WIDEST / pitch).ilog2();
        SharedLayout { rows, columns, element, fast, pitch, shift, mask: panel - 1, panel }
    }

    /// Of a [`SharedLayout::boxed`] tile: the permutation repeats after so many bytes.
    pub fn period(&self) -> u32 {
        WIDEST * self.panel
    }

    pub fn panels(&self) -> u32 {
        (self.columns * self.element).div_ceil(self.panel * CHUNK).max(1)
    }

    /// Bytes from one panel to the next.
    pub fn panel_bytes(&self) -> u32 {
        self.rows * self.pitch
    }

    pub fn bytes(&self) -> u32 {
        self.panels() * self.panel_bytes()
    }

    /// What is XORed to the chunk numbers of a row.
    pub fn swizzle(&self, row: u32) -> u32 {
        row >> self.shift & self.mask
    }

    /// Byte offset of an element, by its tile coordinate.
    pub fn offset(&self, at: [u32; 2]) -> u32 {
        let (row, column) = (at[1 - self.fast], at[self.fast]);
        let byte = column * self.element;
        let (panel, chunk) = (byte / CHUNK / self.panel, byte / CHUNK % self.panel);
        panel * self.panel_bytes() + row * self.pitch + (chunk ^ self.swizzle(row)) * CHUNK + byte % CHUNK
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
    fn a_box_is_permuted_by_the_bits_of_its_addresses() {
        for (columns, pitch) in [(8, 32), (16, 32), (32, 64), (48, 128), (64, 128), (176, 128)] {
            let s = SharedLayout::boxed([32, columns], 1, 2);
            assert_eq!(s.pitch, pitch);
            assert!(s.panel_bytes().is_multiple_of(s.period()), "each panel begins a pattern");
            for (row, column) in (0..32).flat_map(|r| (0..columns).map(move |c| (r, c))) {
                let (panel, byte) = (column * 2 / pitch, column * 2 % pitch);
                let linear = row * pitch + byte;
                // As docs/machine.md has it: bits 7.. of the address, as many as a row has bits of chunks, to bits 4...
                let permuted = linear ^ ((linear >> 7 & (pitch / 16 - 1)) << 4);
                assert_eq!(s.offset([row, column]), panel * 32 * pitch + permuted);
            }
        }
    }

    #[test]
    fn no_two_elements_share_a_place() {
        for (rows, columns, element) in [(16, 40, 2), (24, 64, 4), (9, 24, 2), (5, 3, 4), (32, 32, 2)] {
            for (fast, boxed) in [(0, false), (1, false), (0, true), (1, true)] {
                let extents = if fast == 1 { [rows, columns] } else { [columns, rows] };
                let make = if boxed { SharedLayout::boxed } else { SharedLayout::swizzled };
                let s = make(extents, fast, element);
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
