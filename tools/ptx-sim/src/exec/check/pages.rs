//! Numbers for the cells of global memory, a line of 128 bytes at a time as it is touched.

use super::intern::extend;
use hashbrown::HashTable;

/// Cells of one line. Few, because code that walks down a column touches little of each line.
const CELLS: u64 = 8;

#[derive(Clone, Copy)]
struct Line {
    /// Address, in lines.
    at: u64,
    cells: [u32; CELLS as usize],
}

#[derive(Default)]
pub struct Pages {
    index: HashTable<u32>,
    lines: Vec<Line>,
    /// The line used last.
    last: u32,
}

impl Pages {
    #[inline]
    pub fn cell(&mut self, granule: u64) -> &mut u32 {
        let at = granule / CELLS;
        if self.lines.get(self.last as usize).is_none_or(|line| line.at != at) {
            self.last = self.find(at);
        }
        &mut self.lines[self.last as usize].cells[(granule % CELLS) as usize]
    }

    fn find(&mut self, at: u64) -> u32 {
        let lines = &self.lines;
        if let Some(&n) = self.index.find(hash(at), |&n| lines[n as usize].at == at) {
            return n;
        }
        let n = self.lines.len() as u32;
        extend(&mut self.lines, &[Line { at, cells: [0; CELLS as usize] }]);
        let lines = &self.lines;
        self.index.insert_unique(hash(at), n, |&n| hash(lines[n as usize].at));
        n
    }

    pub fn cells(&self) -> impl Iterator<Item = &u32> {
        self.lines.iter().flat_map(|line| &line.cells)
    }

    /// Every cell of a line that was touched.
    pub fn cells_mut(&mut self) -> impl Iterator<Item = &mut u32> {
        self.lines.iter_mut().flat_map(|line| &mut line.cells)
    }

    pub fn bytes(&self) -> usize {
        self.lines.capacity() * size_of::<Line>() + self.index.allocation_size()
    }
}

fn hash(at: u64) -> u64 {
    let mixed = at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 32
}
