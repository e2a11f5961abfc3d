//! Which bytes of a memory hold defined values: one bit for each.
//!
//! ```text
//! st.u16 [4], %h    bits 4 and 5 of the first cell       ld.u32 [4]: 0b0011, its lower half is defined
//! ```

/// Bytes that one cell of the map stands for.
const CELL: usize = 16;

#[derive(Clone, Debug, Default)]
pub struct DefinedBytes(Vec<u16>);

impl DefinedBytes {
    /// Of so many bytes, none of them defined.
    pub fn new(bytes: usize) -> DefinedBytes {
        DefinedBytes(vec![0; bytes.div_ceil(CELL)])
    }

    /// Memory that the map takes.
    pub fn bytes(&self) -> usize {
        2 * self.0.len()
    }

    /// Whether all of a range are; what lies outside is not.
    pub fn all(&self, from: usize, bytes: usize) -> bool {
        if let Some((cell, mask)) = within_cell(from, bytes) {
            return self.0.get(cell).is_some_and(|c| c & mask == mask);
        }
        spans(from, bytes).all(|(cell, mask)| self.0.get(cell).is_some_and(|c| c & mask == mask))
    }

    pub fn set_all(&mut self, from: usize, bytes: usize, defined: bool) {
        if let (Some((cell, mask)), true) = (within_cell(from, bytes), defined) {
            return self.0.get_mut(cell).into_iter().for_each(|c| *c |= mask);
        }
        for (cell, mask) in spans(from, bytes) {
            if let Some(c) = self.0.get_mut(cell) {
                *c = if defined { *c | mask } else { *c & !mask };
            }
        }
    }

    /// Up to 16 bytes: bit n for byte n.
    pub fn get(&self, from: usize, bytes: usize) -> u16 {
        spans(from, bytes).fold(0, |out, (cell, mask)| {
            let have = self.0.get(cell).map_or(0, |c| c & mask);
            let at = from % CELL;
            out | if cell == from / CELL { have >> at } else { have << (CELL - at) }
        })
    }

    /// The counterpart.
    pub fn set(&mut self, from: usize, bytes: usize, defined: u16) {
        for (cell, mask) in spans(from, bytes) {
            let at = from % CELL;
            let new = if cell == from / CELL { defined << at } else { defined >> (CELL - at) };
            if let Some(c) = self.0.get_mut(cell) {
                *c = (*c & !mask) | (new & mask);
            }
        }
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
    fn outside_nothing_is_defined() {
        let mut map = DefinedBytes::new(16);
        map.set_all(0, 64, true);
        assert!(map.all(0, 16) && !map.all(8, 16));
        assert_eq!(map.get(8, 16), 0xff);
    }
}
