//! What check mode remembers of memory: for each 16 bytes the number of a state.
//!
//! A state says who touched which of the 16 bytes last ([`super::cell`]), and which lanes did ([`super::lane_words`]). Bytes that
//! an instruction touches alike have the same state, and each state is kept once:
//!
//! ```text
//! warp 3 loads 128 bytes, 4 each lane      8 cells, all 17
//! state 17                                 [read: warp 3, interval 2, line 40: ffff] [lanes: stamp 9, line 40, stride 4: ffff]
//! ```
//!
//! So memory costs 4 bytes for 16, and besides it 60 bytes or so for what one instruction of a warp did in one interval,
//! however many bytes that were. Where every 16 bytes have a history of their own, each costs a state; nothing bounds that
//! below 4 + 16 for each access that may still matter, and another 16 for lanes. States that no memory is in any more go when the
//! table has outgrown half of the memory that is touched.

use super::{
    Region,
    cell::{Cell, ENTRY_WORDS, Entry},
    intern::Interner,
    lane_words::{Half, ITEM_WORDS, Item},
    lanes::Lanes,
    pages::Pages,
    shape::{Code, Shapes},
};

/// Bytes of one cell.
pub const GRANULE: usize = 16;

/// Properties of an access.
pub mod flag {
    pub const WRITE: u16 = 1;
    /// Through the async proxy.
    pub const ASYNC: u16 = 2;
    /// A strong access, which may meet another strong one of sufficient scope.
    pub const STRONG: u16 = 4;
    /// The scope of a strong access reaches other CTAs of the cluster, of the grid.
    pub const CLUSTER: u16 = 8;
    pub const GPU: u16 = 16;
    /// A write of what was there already (not kept in the shadow).
    pub const SAME: u16 = 32;
    /// The engine reads a tensor map, through a proxy of its own.
    pub const MAP: u16 = 64;
}

/// A state in full, with room to be used again.
#[derive(Clone, Default)]
pub struct State {
    pub cell: Cell,
    pub write: Half,
    pub read: Half,
}

/// Counts in the first word of a state: entries besides the last write, whether there is one, items of either half.
#[derive(Clone, Copy)]
struct Header {
    rest: usize,
    write: usize,
    items: [usize; 2],
}

impl Header {
    fn of_word(word: u32) -> Header {
        let items = [(word >> 8 & 31) as usize, (word >> 3 & 31) as usize];
        Header { rest: (word >> 13) as usize, write: (word & 1) as usize, items }
    }

    fn word(&self) -> u32 {
        (self.rest as u32) << 13 | (self.items[0] as u32) << 8 | (self.items[1] as u32) << 3 | self.write as u32
    }

    /// Where the items begin in the words of the state.
    fn entries_end(&self) -> usize {
        1 + ENTRY_WORDS * (self.write + self.rest)
    }
}

impl State {
    /// Of a cell whose number is this one's place in the table.
    fn read_words(&mut self, words: &[u32], granule: u64, shapes: &Shapes) {
        self.cell.rest.clear();
        self.cell.write = Entry::default();
        self.write.clear();
        self.read.clear();
        let Some((&header, _)) = words.split_first() else { return };
        let header = Header::of_word(header);
        let (entries, items) = words[1..].split_at(header.entries_end() - 1);
        let mut entries = entries.chunks_exact(ENTRY_WORDS).map(Entry::of_words);
        if header.write == 1 {
            self.cell.write = entries.next().unwrap_or_default();
        }
        self.cell.rest.extend(entries);
        for (n, item) in items.chunks_exact(ITEM_WORDS).map(Item::of_words).enumerate() {
            let half = if n < header.items[0] { &mut self.write } else { &mut self.read };
            half.add(&item, granule, shapes);
        }
    }

    fn put_words(&self, out: &mut Vec<u32>, live: impl Fn(u32) -> bool) {
        out.clear();
        let write = Some(self.cell.write).filter(|w| w.mask != 0);
        out.push(0);
        write.iter().chain(&self.cell.rest).for_each(|e| out.extend(e.words()));
        let write_items = self.write.put_items(out, &live);
        let read_items = self.read.put_items(out, &live);
        let items = [write_items, read_items];
        out[0] = Header { rest: self.cell.rest.len(), write: write.is_some() as usize, items }.word();
    }
}

/// The table may grow to this before anything is thrown out.
const SMALL: usize = 4096;

#[derive(Default)]
pub struct Shadow {
    /// Of each CTA, and of global memory: the number of each cell's state, 0 where nothing was touched.
    shared: Vec<Vec<u32>>,
    global: Pages,
    states: Interner,
    pub shapes: Shapes,
    words: Vec<u32>,
    /// What the tables may take before states are thrown out.
    limit: usize,
    /// Cells touched, of global memory and of each place for a CTA at most.
    touched: usize,
    touched_shared: Vec<(usize, usize)>,
    peak: usize,
}

impl Shadow {
    pub fn new(ctas: usize) -> Shadow {
        let (shared, touched_shared) = (vec![vec![]; ctas], vec![(0, 0); ctas]);
        Shadow { shared, touched_shared, limit: SMALL, ..Shadow::default() }
    }

    /// A CTA begins at a place.
    pub fn begin(&mut self, place: usize, shared_bytes: usize) {
        self.measure();
        self.touched_shared[place].0 = 0;
        self.shared[place] = vec![0; shared_bytes.div_ceil(GRANULE)];
    }

    /// Memory that was touched, in bytes: cells of 16 count as a whole.
    pub fn touched(&self) -> usize {
        let shared: usize = self.touched_shared.iter().map(|(_, most)| most).sum();
        GRANULE * (self.touched + shared)
    }

    /// The number of a cell's state.
    #[inline]
    pub fn number(&mut self, region: Region, granule: u64) -> Option<&mut u32> {
        match region {
            Region::Shared(cta) => self.shared[cta].get_mut(granule as usize),
            Region::Global => Some(self.global.cell(granule)),
        }
    }

    /// A cell is touched that was not before.
    pub fn touch_first(&mut self, region: Region) {
        match region {
            Region::Global => self.touched += 1,
            Region::Shared(cta) => {
                let (now, most) = &mut self.touched_shared[cta];
                *now += 1;
                *most = (*most).max(*now);
            }
        }
    }

    fn bytes(&self) -> usize {
        let shared: usize = self.shared.iter().map(|s| 4 * s.capacity()).sum();
        shared + self.global.bytes() + self.tables()
    }

    fn tables(&self) -> usize {
        self.states.bytes() + self.shapes.bytes()
    }

    fn measure(&mut self) {
        self.peak = self.peak.max(self.bytes());
    }

    /// The most memory that this took at any time.
    pub fn peak(&mut self) -> usize {
        self.measure();
        self.peak
    }

    // ---- states

    pub fn open(&self, id: u32, granule: u64, to: &mut State) {
        to.read_words(self.states.get(id), granule, &self.shapes);
    }

    /// The number of a state; what it says of lanes that are long ordered is left out.
    pub fn close(&mut self, state: &State, lanes: &Lanes) -> u32 {
        state.put_words(&mut self.words, |stamp| lanes.live(stamp));
        self.states.put(&self.words)
    }

    /// Nothing that is known of lanes stands any more.
    pub fn forget_lanes(&mut self) {
        self.sweep(|_| false);
    }

    /// Throws out states that no memory is in, if there may be many.
    #[inline]
    pub fn tidy(&mut self, lanes: &Lanes) {
        if self.tables() > self.limit {
            self.sweep(|stamp| lanes.live(stamp));
        }
    }

    #[cold]
    fn sweep(&mut self, live: impl Fn(u32) -> bool) {
        let mut numbers = vec![u32::MAX; self.states.len()];
        numbers[0] = 0;
        let old = (std::mem::take(&mut self.states), std::mem::take(&mut self.shapes));
        let Shadow { shared, global, states, shapes, words, .. } = self;
        for id in shared.iter_mut().flatten().chain(global.cells_mut()) {
            let new = &mut numbers[*id as usize];
            if *new == u32::MAX {
                moved(old.0.get(*id), words, |code| shapes.adopt(code, &old.1), &live);
                *new = states.put(words);
            }
            *id = *new;
        }
        let both = self.bytes() + old.0.bytes() + old.1.bytes() + 4 * numbers.len();
        self.peak = self.peak.max(both);
        let live = self.tables();
        self.limit = (live + live / 4).max(self.touched() / 2).max(SMALL);
    }
}

/// The words of a state for other tables, without what is said of lanes that are ordered by now.
fn moved(
    words: &[u32],
    out: &mut Vec<u32>,
    mut adopt: impl FnMut(Code) -> Code,
    live: impl Fn(u32) -> bool,
) {
    let mut header = Header::of_word(words[0]);
    let (entries, items) = words.split_at(header.entries_end());
    out.clear();
    out.extend(entries);
    let mut kept = [0; 2];
    for (n, item) in items.chunks_exact(ITEM_WORDS).map(Item::of_words).enumerate() {
        if live(item.stamp) {
            kept[(n >= header.items[0]) as usize] += 1;
            out.extend(Item { code: adopt(item.code), ..item }.words());
        }
    }
    header.items = kept;
    out[0] = header.word();
}

#[cfg(test)]
mod tests;
