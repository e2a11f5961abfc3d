//! Numbers for the cells of memory, as many as are touched.
//!
//! Global memory is wide and touched anywhere: lines of 128 bytes from end to end, or a word here and there. So a line keeps
//! numbers for those of its eight cells that were touched, and no more:
//!
//! ```text
//! one cell       the number itself stands where else a block would
//! two to four    a block of 2 or 4 numbers, in the order of the cells
//! five and more  a block of 8 numbers, each at the place of its cell
//! ```
//!
//! Shared memory is small and mostly filled: its lines are numbered from 0 and have an entry each ([`SharedCells`]). Those of
//! global memory ([`Pages`]) stand in a table in the order of a hash, each at the place that its hash gives or a little behind,
//! so the table may be nearly full, a search ends early, and it grows by an eighth where it is:
//!
//! ```text
//! hashes, as parts of all    .10      .12   .55   .90          a table of 8: place = 8 · hash
//! table                      .10 .12 ·    · .55  ·  ·  .90     .12 belongs at 0, which is taken
//! ```

use super::intern::extend;

/// Cells of one line.
const CELLS: u64 = 8;

/// Numbers of lines, in blocks of 1, 2, 4 and 8.
struct Blocks<T> {
    all: Vec<T>,
    /// Blocks of each size that are not in use; all zeros.
    free: [Vec<u32>; 4],
}

impl<T> Default for Blocks<T> {
    fn default() -> Self {
        Blocks { all: vec![], free: Default::default() }
    }
}

/// log₂ of the size of a block for so many cells.
fn class(cells: u32) -> usize {
    cells.next_power_of_two().trailing_zeros() as usize
}

/// Where the number of a cell stands in the block of a line in which the cells of `mask` are touched.
#[inline]
fn rank(mask: u8, cell: u32) -> usize {
    match mask {
        u8::MAX => cell as usize,
        _ if mask.count_ones() > 4 => cell as usize,
        _ => (mask & ((1 << cell) - 1)).count_ones() as usize,
    }
}

impl<T: Copy + Default> Blocks<T> {
    #[inline]
    fn get(&self, block: u32, mask: u8, cell: u32) -> T {
        self.all[block as usize + rank(mask, cell)]
    }

    fn set(&mut self, block: u32, mask: u8, cell: u32, number: T) {
        self.all[block as usize + rank(mask, cell)] = number;
    }

    /// The block of a line of which one cell more is touched.
    fn widen(&mut self, block: u32, mask: u8, cell: u32, number: T) -> u32 {
        let mut numbers = [T::default(); CELLS as usize];
        let cells = |mask: u8| (0..CELLS as u32).filter(move |c| mask >> c & 1 == 1);
        cells(mask).for_each(|c| numbers[c as usize] = self.get(block, mask, c));
        numbers[cell as usize] = number;
        let (old, after) = (class(mask.count_ones()), mask | 1 << cell);
        let new = class(after.count_ones());
        let block = if mask != 0 && old == new {
            block
        } else {
            if mask != 0 {
                self.give_back(block, old);
            }
            self.take(new)
        };
        cells(after).for_each(|c| self.set(block, after, c, numbers[c as usize]));
        block
    }

    fn take(&mut self, class: usize) -> u32 {
        self.free[class].pop().unwrap_or_else(|| {
            let block = self.all.len() as u32;
            extend(&mut self.all, &[T::default(); CELLS as usize][..1 << class]);
            block
        })
    }

    fn give_back(&mut self, block: u32, class: usize) {
        self.all[block as usize..][..1 << class].fill(T::default());
        self.free[class].push(block);
    }

    fn bytes(&self) -> usize {
        let free: usize = self.free.iter().map(|f| f.capacity() * size_of::<u32>()).sum();
        self.all.capacity() * size_of::<T>() + free
    }
}

// ---- shared memory

/// Two numbers for each cell.
pub type Pair = [u32; 2];

/// The cells of a CTA's shared memory.
#[derive(Default)]
pub struct SharedCells {
    /// Up to the last that was touched: its cells in 8 bits, and the block.
    lines: Vec<u32>,
    blocks: Blocks<Pair>,
    cells: u64,
}

impl SharedCells {
    pub fn new(cells: u64) -> SharedCells {
        SharedCells { cells, ..SharedCells::default() }
    }

    fn line(&self, granule: u64) -> (u8, u32) {
        let line = self.lines.get((granule / CELLS) as usize).copied().unwrap_or(0);
        ((line >> 24) as u8, line & 0xff_ffff)
    }

    /// `None`: there is no such cell.
    #[inline]
    pub fn get(&self, granule: u64) -> Option<Pair> {
        let (mask, block) = self.line(granule);
        let cell = (granule % CELLS) as u32;
        match mask >> cell & 1 {
            1 => Some(self.blocks.get(block, mask, cell)),
            _ => (granule < self.cells).then_some([0; 2]),
        }
    }

    #[inline]
    pub fn set(&mut self, granule: u64, number: Pair) {
        let (mask, block) = self.line(granule);
        let (line, cell) = ((granule / CELLS) as usize, (granule % CELLS) as u32);
        if mask >> cell & 1 == 1 {
            return self.blocks.set(block, mask, cell, number);
        }
        if granule >= self.cells {
            return;
        }
        while self.lines.len() <= line {
            extend(&mut self.lines, &[0]);
        }
        let block = self.blocks.widen(block, mask, cell, number);
        self.lines[line] = ((mask | 1 << cell) as u32) << 24 | block;
    }

    pub fn numbers(&self) -> impl Iterator<Item = &u32> {
        self.blocks.all.iter().flatten()
    }

    pub fn numbers_mut(&mut self) -> impl Iterator<Item = &mut u32> {
        self.blocks.all.iter_mut().flatten()
    }

    pub fn bytes(&self) -> usize {
        self.lines.capacity() * size_of::<u32>() + self.blocks.bytes()
    }
}

// ---- global memory

/// Bits of a line's number within its part of memory (2 GiB).
const PART: u32 = 24;

/// A line: its hash (24 bits), which of its cells are touched (8), and its only number or its block (32). 0: none.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry(u64);

impl Entry {
    const NONE: Entry = Entry(0);

    fn new(hash: u32, mask: u8, payload: u32) -> Entry {
        Entry((hash as u64) << 40 | (mask as u64) << 32 | payload as u64)
    }

    fn hash(self) -> u32 {
        (self.0 >> 40) as u32
    }

    fn mask(self) -> u8 {
        (self.0 >> 32) as u8
    }

    fn payload(self) -> u32 {
        self.0 as u32
    }
}

/// The lines of one part of memory.
#[derive(Default)]
struct Table {
    entries: Vec<Entry>,
    /// Places that hashes are spread over; a few more may follow.
    places: usize,
    count: usize,
}

impl Table {
    fn place(&self, hash: u32) -> usize {
        (hash as usize * self.places) >> PART
    }

    /// Where a hash is, or where it would have to be put.
    fn find(&self, hash: u32) -> Result<usize, usize> {
        let mut at = self.place(hash);
        loop {
            match self.entries.get(at) {
                Some(&e) if e != Entry::NONE && e.hash() < hash => at += 1,
                Some(&e) if e != Entry::NONE && e.hash() == hash => return Ok(at),
                _ => return Err(at),
            }
        }
    }

    /// Puts in a line that is not there. Its place.
    fn insert(&mut self, entry: Entry) -> usize {
        if 8 * (self.count + 1) > 7 * self.places {
            self.grow();
        }
        let (Ok(at) | Err(at)) = self.find(entry.hash());
        let end = (at..self.entries.len()).find(|&n| self.entries[n] == Entry::NONE).unwrap_or_else(|| {
            extend(&mut self.entries, &[Entry::NONE]);
            self.entries.len() - 1
        });
        self.entries.copy_within(at..end, at + 1);
        self.entries[at] = entry;
        self.count += 1;
        at
    }

    /// Spreads the lines over an eighth more places. They slide to the end, in order, and from there each to its own.
    fn grow(&mut self) {
        self.places += (self.places / 8).max(4);
        let held = self.entries.iter().filter(|e| **e != Entry::NONE);
        let after = held.fold(0, |end, e| self.place(e.hash()).max(end) + 1);
        let (old, length) = (self.entries.len(), after.max(self.places));
        let top = length.max(old);
        self.entries.reserve_exact(top - old);
        self.entries.resize(top, Entry::NONE);
        let mut to = top;
        for from in (0..old).rev() {
            let e = std::mem::replace(&mut self.entries[from], Entry::NONE);
            if e != Entry::NONE {
                to -= 1;
                self.entries[to] = e;
            }
        }
        let mut end = 0;
        for from in to..top {
            let e = std::mem::replace(&mut self.entries[from], Entry::NONE);
            end = self.place(e.hash()).max(end);
            self.entries[end] = e;
            end += 1;
        }
        self.entries.truncate(length);
    }
}

/// Numbers of the cells of global memory.
#[derive(Default)]
pub struct Pages {
    /// Parts of memory, and the lines of each. Few.
    parts: Vec<(u64, Table)>,
    blocks: Blocks<u32>,
    /// Part and place of the line used last.
    last: (usize, usize),
}

impl Pages {
    /// Part and place of a line; `Err`: the part, if there is one.
    #[inline]
    fn find(&mut self, granule: u64) -> Result<(usize, usize), Option<usize>> {
        let (part, hash) = name(granule);
        let (of, at) = self.last;
        if let Some((p, table)) = self.parts.get(of)
            && *p == part
            && table.entries.get(at).is_some_and(|e| e.hash() == hash && *e != Entry::NONE)
        {
            return Ok(self.last);
        }
        let of = self.parts.iter().position(|(p, _)| *p == part).ok_or(None)?;
        let at = self.parts[of].1.find(hash).map_err(|_| Some(of))?;
        self.last = (of, at);
        Ok(self.last)
    }

    #[inline]
    pub fn get(&mut self, granule: u64) -> u32 {
        let Ok((part, at)) = self.find(granule) else { return 0 };
        let entry = self.parts[part].1.entries[at];
        let (mask, cell) = (entry.mask(), (granule % CELLS) as u32);
        match mask >> cell & 1 {
            0 => 0,
            _ if mask.is_power_of_two() => entry.payload(),
            _ => self.blocks.get(entry.payload(), mask, cell),
        }
    }

    #[inline]
    pub fn set(&mut self, granule: u64, number: u32) {
        let cell = (granule % CELLS) as u32;
        let (part, at) = match self.find(granule) {
            Ok(found) => found,
            Err(part) => return self.insert(granule, part, number),
        };
        let entry = &mut self.parts[part].1.entries[at];
        let (mask, payload) = (entry.mask(), entry.payload());
        if mask >> cell & 1 == 1 && !mask.is_power_of_two() {
            return self.blocks.set(payload, mask, cell, number);
        }
        let payload = match (mask >> cell & 1, mask.is_power_of_two()) {
            (1, _) => number,
            (_, false) => self.blocks.widen(payload, mask, cell, number),
            // The second cell: the first one's number goes to a block, too.
            _ => {
                let block = self.blocks.take(1);
                let after = mask | 1 << cell;
                self.blocks.set(block, after, mask.trailing_zeros(), payload);
                self.blocks.set(block, after, cell, number);
                block
            }
        };
        *entry = Entry::new(entry.hash(), mask | 1 << cell, payload);
    }

    fn insert(&mut self, granule: u64, part: Option<usize>, number: u32) {
        let (name, hash) = name(granule);
        let part = part.unwrap_or_else(|| {
            self.parts.reserve_exact(1);
            self.parts.push((name, Table::default()));
            self.parts.len() - 1
        });
        let at = self.parts[part].1.insert(Entry::new(hash, 1 << (granule % CELLS), number));
        self.last = (part, at);
    }

    /// Every number, and zeros between them.
    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        let single = |e: &Entry| e.mask().is_power_of_two().then(|| e.payload());
        let singles = self.parts.iter().flat_map(|(_, table)| &table.entries).filter_map(single);
        singles.chain(self.blocks.all.iter().copied())
    }

    pub fn rename(&mut self, new: impl Fn(u32) -> u32) {
        for entry in self.parts.iter_mut().flat_map(|(_, table)| &mut table.entries) {
            if entry.mask().is_power_of_two() {
                *entry = Entry::new(entry.hash(), entry.mask(), new(entry.payload()));
            }
        }
        self.blocks.all.iter_mut().for_each(|number| *number = new(*number));
    }

    pub fn bytes(&self) -> usize {
        let tables: usize = self.parts.iter().map(|(_, t)| t.entries.capacity() * size_of::<Entry>()).sum();
        tables + self.parts.capacity() * size_of::<(u64, Table)>() + self.blocks.bytes()
    }
}

/// The part of memory that a cell's line is in, and the line's hash there: different for each line.
#[inline]
fn name(granule: u64) -> (u64, u32) {
    let line = granule / CELLS;
    (line >> PART, (line as u32).wrapping_mul(0x9e37_79b1) & ((1 << PART) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// Cells in an order without a pattern: near each other, far apart, in several parts of memory.
    fn places() -> impl Iterator<Item = u64> {
        let mut state = 1u64;
        std::iter::from_fn(move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let (kind, n) = (state >> 62, state >> 33);
            Some(match kind {
                0 => n % 64,
                1 => n % 20_000,
                2 => (1 << 40) + n % 1000 * 8,
                _ => ((n % 3) << 27) | (n % 500 * 4096),
            })
        })
    }

    #[test]
    fn pages_hold_what_a_map_holds() {
        let (mut pages, mut map) = (Pages::default(), HashMap::new());
        for (n, at) in places().take(30_000).enumerate() {
            assert_eq!(pages.get(at), map.get(&at).copied().unwrap_or(0), "{at}");
            pages.set(at, n as u32 + 1);
            map.insert(at, n as u32 + 1);
        }
        pages.rename(|n| n * 2);
        map.iter().for_each(|(at, n)| assert_eq!(pages.get(*at), 2 * n));
        let (mut have, mut want): (Vec<u32>, Vec<u32>) =
            (pages.numbers().filter(|n| *n != 0).collect(), map.values().map(|n| 2 * n).collect());
        have.sort_unstable();
        want.sort_unstable();
        assert_eq!(have, want);
    }

    #[test]
    fn shared_cells_hold_what_a_map_holds() {
        let (mut cells, mut map) = (SharedCells::new(10_000), HashMap::new());
        for (n, at) in places().filter(|at| *at < 20_000).take(20_000).enumerate() {
            let want = (at < 10_000).then(|| map.get(&at).copied().unwrap_or([0; 2]));
            assert_eq!(cells.get(at), want, "{at}");
            cells.set(at, [n as u32 + 1, 1 << 30]);
            map.insert(at, [n as u32 + 1, 1 << 30]);
        }
        assert_eq!(
            cells.numbers().filter(|n| **n == 1 << 30).count(),
            map.keys().filter(|at| **at < 10_000).count()
        );
    }

    #[test]
    fn bytes_for_a_cell() {
        let each = |stride: u64, count: u64| {
            let mut pages = Pages::default();
            (0..count).for_each(|n| pages.set(n * stride, 1));
            pages.bytes() as f64 / count as f64
        };
        for count in [1000, 1100, 5000, 40_000] {
            // Whole lines; one cell of each; two of each.
            assert!(each(1, count) < 6.5, "{}", each(1, count));
            assert!(each(8, count) < 11.0, "{}", each(8, count));
            assert!(each(4, count) < 11.0, "{}", each(4, count));
        }
    }
}
