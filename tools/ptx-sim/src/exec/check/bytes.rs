//! Which bytes of a memory hold defined values: one bit for each. Of the few bytes that hold some defined bits and some
//! undefined ones, a table says which.
//!
//! ```text
//! st.u16 [4], %h             bits 4 and 5 of the first cell       ld.u32 [4]: its lower half is defined
//! and.b32 %r1, %r1, ~1
//! st.u8  [8], %r1            no bit of the cell; table: 8 has bit 0, as the rest of %r1 was never written
//! ```

use std::collections::HashMap;

/// Bytes that one cell of the map stands for.
const CELL: usize = 16;

#[derive(Clone, Debug, Default)]
pub struct DefinedBytes {
    /// As far as something was ever defined.
    cells: Vec<u16>,
    /// How many there may be.
    most: usize,
    /// Bytes that are defined in part, and their defined bits. Of a byte that has since been defined as a whole, an entry may
    /// be left: `cells` is looked at first.
    partly: HashMap<usize, u8>,
}

impl DefinedBytes {
    /// Of so many bytes, none of them defined.
    pub fn new(bytes: usize) -> DefinedBytes {
        DefinedBytes { most: bytes.div_ceil(CELL), ..DefinedBytes::default() }
    }

    /// Memory that the map takes.
    pub fn bytes(&self) -> usize {
        2 * self.cells.capacity() + self.partly.capacity() * (size_of::<(usize, u8)>() + 1)
    }

    /// Whether all of a range are; what lies outside is not.
    pub fn all(&self, from: usize, bytes: usize) -> bool {
        if let Some((cell, mask)) = within_cell(from, bytes) {
            return self.cells.get(cell).is_some_and(|c| c & mask == mask);
        }
        spans(from, bytes).all(|(cell, mask)| self.cells.get(cell).is_some_and(|c| c & mask == mask))
    }

    pub fn set_all(&mut self, from: usize, bytes: usize, defined: bool) {
        if let (Some((cell, mask)), true) = (within_cell(from, bytes), defined) {
            return self.put(cell, mask, mask);
        }
        spans(from, bytes).for_each(|(cell, mask)| self.put(cell, mask, if defined { mask } else { 0 }));
        if !defined {
            self.forget_bits(from, bytes);
        }
    }

    /// Some bytes of a cell.
    #[inline]
    fn put(&mut self, cell: usize, mask: u16, defined: u16) {
        if cell >= self.cells.len() {
            if cell >= self.most || defined == 0 {
                return;
            }
            let (length, more) = (self.cells.len(), cell + 1 - self.cells.len());
            if self.cells.capacity() < length + more {
                self.cells.reserve_exact(more.max(length / 8));
            }
            self.cells.resize(length + more, 0);
        }
        self.cells[cell] = (self.cells[cell] & !mask) | (defined & mask);
    }

    /// Up to 16 bytes: bit n for byte n.
    pub fn get(&self, from: usize, bytes: usize) -> u16 {
        spans(from, bytes).fold(0, |out, (cell, mask)| {
            let have = self.cells.get(cell).map_or(0, |c| c & mask);
            let at = from % CELL;
            out | if cell == from / CELL { have >> at } else { have << (CELL - at) }
        })
    }

    /// The counterpart.
    pub fn set(&mut self, from: usize, bytes: usize, defined: u16) {
        for (cell, mask) in spans(from, bytes) {
            let at = from % CELL;
            let new = if cell == from / CELL { defined << at } else { defined >> (CELL - at) };
            self.put(cell, mask, new);
        }
        self.forget_bits(from, bytes);
    }

    fn forget_bits(&mut self, from: usize, bytes: usize) {
        if self.partly.len() > bytes {
            for at in from..from + bytes {
                self.partly.remove(&at);
            }
        } else if !self.partly.is_empty() {
            self.partly.retain(|at, _| !(from..from + bytes).contains(at));
        }
    }

    /// Defined bits of up to 8 bytes.
    pub fn bits(&self, from: usize, bytes: usize) -> u64 {
        let whole = self.get(from, bytes);
        (0..bytes).fold(0, |out, n| {
            let byte = match whole >> n & 1 {
                0 => self.partly.get(&(from + n)).copied().unwrap_or(0),
                _ => u8::MAX,
            };
            out | (byte as u64) << (8 * n)
        })
    }

    /// The counterpart.
    pub fn set_bits(&mut self, from: usize, bytes: usize, bits: u64) {
        let byte = |n: usize| (bits >> (8 * n)) as u8;
        let whole = (0..bytes).fold(0, |out, n| out | ((byte(n) == u8::MAX) as u16) << n);
        self.set(from, bytes, whole);
        let within = (self.most * CELL).saturating_sub(from).min(bytes);
        let partly = (0..within).filter(|&n| !matches!(byte(n), 0 | u8::MAX));
        self.partly.extend(partly.map(|n| (from + n, byte(n))));
    }
}

/// Most ranges lie within a cell: the accesses of lanes are aligned.
#[inline]
fn within_cell(from: usize, bytes: usize) -> Option<(usize, u16)> {
    let low = from % CELL;
    (low + bytes <= CELL).then(|| (from / CELL, (((1u32 << bytes) - 1) << low) as u16))
}

/// Cells and masks of a range.
fn spans(from: usize, bytes: usize) -> impl Iterator<Item = (usize, u16)> {
    let end = from + bytes;
    (from / CELL..end.div_ceil(CELL)).map(move |cell| {
        let lo = from.max(cell * CELL) - cell * CELL;
        let hi = end.min((cell + 1) * CELL) - cell * CELL;
        (cell, (((1u32 << (hi - lo)) - 1) << lo) as u16)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_across_cells() {
        let mut map = DefinedBytes::new(48);
        map.set(12, 8, 0b1010_0110);
        assert_eq!(map.get(12, 8), 0b1010_0110);
        assert_eq!((map.get(13, 2), map.get(0, 16), map.get(16, 16)), (0b11, 0b0110 << 12, 0b1010));
        assert!(map.all(13, 2) && !map.all(12, 3));
        map.set_all(10, 30, true);
        assert!(map.all(10, 30) && !map.all(9, 2) && !map.all(40, 1));
        map.set_all(20, 1, false);
        assert_eq!(map.get(18, 4), 0b1011);
    }

    #[test]
    fn bits_of_a_byte() {
        let mut map = DefinedBytes::new(32);
        map.set_bits(14, 4, 0xff_80_01_ff);
        assert_eq!((map.bits(14, 4), map.get(14, 4), map.bits(15, 1)), (0xff_80_01_ff, 0b1001, 1));
        // What is written over them counts, also when it is undefined again.
        map.set_all(15, 1, true);
        assert_eq!(map.bits(14, 4), 0xff_80_ff_ff);
        map.set_all(15, 1, false);
        map.set(16, 1, 0);
        assert_eq!(map.bits(14, 4), 0xff_00_00_ff);
        assert_eq!(map.bits(30, 4), 0);
    }

    #[test]
    fn outside_nothing_is_defined() {
        let mut map = DefinedBytes::new(16);
        map.set_all(0, 64, true);
        map.set_bits(14, 4, 0x0f0f_0fff);
        assert_eq!(map.bits(12, 8), 0x0fff_ffff);
        assert!(map.all(0, 14) && !map.all(8, 16));
        assert_eq!(map.get(8, 16), 0x7f);
    }
}
