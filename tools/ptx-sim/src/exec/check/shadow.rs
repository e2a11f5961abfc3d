//! What check mode remembers of memory: for each 16 bytes the number of a state.
//!
//! A state says who touched which of the 16 bytes last ([`super::cell`]), and which lanes did ([`super::lane_words`]). Bytes that
//! an instruction touches alike have the same state, and each state is kept once:
//!
//! ```text
//! warp 3 loads 128 bytes, 4 each lane      8 cells, all in state 17
//! state 17                                 [read: warp 3, interval 2, line 40: ffff] [lanes: stamp 9, line 40, stride 4: ffff]
//! ```
//!
//! So 16 bytes of memory cost a number ([`Number`]), and besides it 34 bytes or so for what one instruction of a warp did in
//! one interval, however many bytes that were. Where every 16 bytes have a history of their own, each costs a state: 16
//! bytes for an access that may still matter, 4 to 20 for its lanes, and 14 around them. States that no memory is in any more go
//! when the table has outgrown a quarter of the memory that is touched.

use super::{
    Region,
    cell::{Cell, ENTRY_WORDS, Entry},
    intern::Interner,
    lane_words::{Half, ITEM_WORDS, Item, STRONG, push_item},
    lanes::Lanes,
    pages::{Pages, Pair, SharedCells},
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

/// The first word of a state: how many words it has, whether the first entry is the last write, and how many items of
/// either half stand behind the entries.
#[derive(Clone, Copy)]
struct Header {
    length: usize,
    write: bool,
    items: [usize; 2],
}

impl Header {
    fn of_word(word: u32) -> Header {
        let items = [(word >> 1 & 31) as usize, (word >> 6 & 31) as usize];
        Header { length: (word >> 11) as usize, write: word & 1 == 1, items }
    }

    fn word(&self) -> u32 {
        (self.length as u32) << 11
            | (self.items[1] as u32) << 6
            | (self.items[0] as u32) << 1
            | self.write as u32
    }

    /// Entries and items among the words of the state.
    fn split<'a>(&self, words: &'a [u32]) -> (&'a [u32], &'a [u32]) {
        words[1..].split_at(self.length - 1 - ITEM_WORDS * (self.items[0] + self.items[1]))
    }
}

/// Marks an entry whose lanes are written with it, as is usual: the stamp stands for the warp, and one word more for the
/// shape; instruction and bytes are the same.
const WITH_LANES: u32 = 1 << 31;

/// An entry, and its lanes if they are with it.
fn entries(mut words: &[u32], warps: u32) -> impl Iterator<Item = (Entry, Option<Item>)> {
    std::iter::from_fn(move || {
        let first = words.get(..ENTRY_WORDS)?;
        let with_lanes = first[3] & WITH_LANES != 0;
        let mut entry = Entry::of_words(&[first[0], first[1], first[2], first[3] & !WITH_LANES]);
        let code = words.get(ENTRY_WORDS).copied().unwrap_or_default();
        words = &words[ENTRY_WORDS + with_lanes as usize..];
        if !with_lanes {
            return Some((entry, None));
        }
        let stamp = entry.agent;
        entry.agent = stamp % warps;
        Some((entry, Some(Item { stamp, at: strong_at(&entry), code: Code(code), mask: entry.mask })))
    })
}

/// The instruction of an entry as it stands in an item.
fn strong_at(e: &Entry) -> u32 {
    if e.is(flag::STRONG) { e.at | STRONG } else { e.at }
}

/// Writes an entry, with its lanes if they are among the items; they are taken out of those.
fn put_entry(e: &Entry, items: &mut Vec<Item>, warps: u32, out: &mut Vec<u32>) {
    let own = |i: &Item| i.mask == e.mask && i.at == strong_at(e) && i.stamp % warps == e.agent;
    let mut words = e.words();
    match items.iter().position(own) {
        Some(at) => {
            let item = items.remove(at);
            words[0] = item.stamp;
            words[3] |= WITH_LANES;
            out.extend(words);
            out.push(item.code.0);
        }
        None => out.extend(words),
    }
}

impl State {
    fn clear(&mut self) {
        self.cell.rest.clear();
        self.cell.write = Entry::default();
        self.write.clear();
        self.read.clear();
    }

    /// Adds what a table says.
    fn read_words(&mut self, words: &[u32], warps: u32, granule: u64, shapes: &Shapes) {
        let Some(&first) = words.first() else { return };
        let header = Header::of_word(first);
        let (with_lanes, items) = header.split(words);
        for (n, (entry, item)) in entries(with_lanes, warps).enumerate() {
            let half = if header.write && n == 0 { &mut self.write } else { &mut self.read };
            item.iter().for_each(|item| half.add(item, granule, shapes));
            if header.write && n == 0 {
                self.cell.write = entry;
            } else {
                self.cell.rest.push(entry);
            }
        }
        for (n, item) in items.chunks_exact(ITEM_WORDS).map(Item::of_words).enumerate() {
            let half = if n < header.items[0] { &mut self.write } else { &mut self.read };
            half.add(&item, granule, shapes);
        }
    }

    /// The last write, or all the rest, or both, as words of a table; nothing if there is nothing to say.
    fn put_words(&self, parts: Parts, warps: u32, buffers: &mut Buffers, live: impl Fn(u32) -> bool) {
        let (writes, others) = (parts != Parts::Others, parts != Parts::Write);
        let Buffers { words: out, items: [of_write, of_reads] } = buffers;
        out.clear();
        out.push(0);
        of_write.clear();
        of_reads.clear();
        let write = writes && self.cell.write.mask != 0;
        if writes {
            self.write.items(&live, of_write);
        }
        if write {
            put_entry(&self.cell.write, of_write, warps, out);
        }
        if others {
            self.read.items(&live, of_reads);
            for e in &self.cell.rest {
                match e.is(flag::WRITE) {
                    true => out.extend(e.words()),
                    false => put_entry(e, of_reads, warps, out),
                }
            }
        }
        finish(out, write, [of_write, of_reads]);
    }
}

/// Room for the words of a state on their way to a table.
#[derive(Default)]
struct Buffers {
    words: Vec<u32>,
    items: [Vec<Item>; 2],
}

/// Writes the items that are left, and the header.
fn finish(out: &mut Vec<u32>, write: bool, items: [&Vec<Item>; 2]) {
    items.into_iter().flatten().for_each(|i| out.extend(i.words()));
    out[0] = Header { length: out.len(), write, items: items.map(Vec::len) }.word();
    if out.len() == 1 {
        out.clear();
    }
}

/// Which parts of a state.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parts {
    Both,
    Write,
    Others,
}

/// The number of a cell's state. Global memory has one number for all of it: mostly it is only read or only written.
/// Shared memory has two, for the last write and for the rest: a tile is written by rows and read by columns, say, so that
/// every cell has another pair of writer and readers. Both 0: untouched.
pub type Number = Pair;

/// The table may grow to this before anything is thrown out.
const SMALL: usize = 512;

pub struct Shadow {
    /// Of each CTA, and of global memory: the number of each cell's state, 0 where nothing was touched.
    shared: Vec<SharedCells>,
    global: Pages,
    states: Interner,
    /// Of the machine.
    warps: u32,
    pub shapes: Shapes,
    buffers: Buffers,
    /// What the tables may take before states are thrown out.
    limit: usize,
    /// Cells touched, of global memory and of each place for a CTA at most.
    touched: usize,
    /// How often states were thrown out, and numbers given anew.
    pub sweeps: u32,
    touched_shared: Vec<(usize, usize)>,
    peak: usize,
}

impl Shadow {
    pub fn new(ctas: usize, warps: usize) -> Shadow {
        Shadow {
            shared: (0..ctas).map(|_| SharedCells::default()).collect(),
            global: Pages::default(),
            states: Interner::new(|words| Header::of_word(words[0]).length),
            warps: warps as u32,
            shapes: Shapes::default(),
            buffers: Buffers::default(),
            limit: SMALL,
            touched: 0,
            sweeps: 0,
            touched_shared: vec![(0, 0); ctas],
            peak: 0,
        }
    }

    /// A CTA begins at a place.
    pub fn begin(&mut self, place: usize, shared_bytes: usize) {
        self.measure();
        self.touched_shared[place].0 = 0;
        self.shared[place] = SharedCells::new(shared_bytes.div_ceil(GRANULE) as u64);
    }

    /// Memory that was touched, in bytes: cells of 16 count as a whole.
    pub fn touched(&self) -> usize {
        let shared: usize = self.touched_shared.iter().map(|(_, most)| most).sum();
        GRANULE * (self.touched + shared)
    }

    /// The number of a cell's state, if there is such a cell.
    #[inline]
    pub fn number(&mut self, region: Region, granule: u64) -> Option<Number> {
        match region {
            Region::Shared(cta) => self.shared[cta].get(granule),
            Region::Global => Some([self.global.get(granule), 0]),
        }
    }

    #[inline]
    pub fn set_number(&mut self, region: Region, granule: u64, number: Number) {
        match region {
            Region::Shared(cta) => self.shared[cta].set(granule, number),
            Region::Global => self.global.set(granule, number[0]),
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
        let shared: usize = self.shared.iter().map(SharedCells::bytes).sum();
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

    pub fn open(&self, number: Number, granule: u64, to: &mut State) {
        to.clear();
        number
            .into_iter()
            .for_each(|id| to.read_words(self.states.get(id), self.warps, granule, &self.shapes));
    }

    /// The number of a state; what it says of lanes that are long ordered is left out.
    pub fn close(&mut self, region: Region, state: &State, lanes: &Lanes) -> Number {
        let mut number = |parts: Parts| {
            state.put_words(parts, self.warps, &mut self.buffers, |stamp| lanes.live(stamp));
            self.states.put(&self.buffers.words)
        };
        match region {
            Region::Global => [number(Parts::Both), 0],
            Region::Shared(_) => [number(Parts::Write), number(Parts::Others)],
        }
    }

    /// Nothing that is known of lanes stands any more.
    pub fn forget_lanes(&mut self) {
        self.sweep(|_| false);
    }

    /// Throws out states that no memory is in, if there may be many.
    #[inline]
    pub fn tidy(&mut self, lanes: &Lanes) {
        if self.tables() > self.limit {
            self.forget_states(lanes);
        }
    }

    pub fn forget_states(&mut self, lanes: &Lanes) {
        self.sweep(|stamp| lanes.live(stamp));
    }

    #[cold]
    fn sweep(&mut self, live: impl Fn(u32) -> bool) {
        self.sweeps += 1;
        let before = self.bytes();
        let mut marks = self.states.no_marks();
        let of_shared = self.shared.iter().flat_map(SharedCells::numbers).copied();
        of_shared.chain(self.global.numbers()).for_each(|id| marks.set(id));
        let mut used = self.shapes.no_marks();
        let codes =
            self.states.marked(&marks).flat_map(|words| items(words, self.warps)).filter(|i| live(i.stamp));
        codes.filter_map(|item| item.code.in_table()).for_each(|id| used.set(id));
        let shapes = self.shapes.sweep(&used);
        let renamed = |code: Code| code.in_table().map_or(code, |id| Code(shapes.get(id)));
        let warps = self.warps;
        let states = self.states.sweep(&marks, |words, out| rewrite(words, warps, renamed, &live, out));
        self.shared.iter_mut().flat_map(SharedCells::numbers_mut).for_each(|id| *id = states.get(*id));
        self.global.rename(|id| states.get(id));
        self.peak = self.peak.max(before + shapes.bytes() + states.bytes() + (before / 32));
        let left = self.tables();
        self.limit = (left + left / 8).max(self.touched() / 4).max(SMALL);
    }
}

/// What a state says of lanes.
fn items(words: &[u32], warps: u32) -> impl Iterator<Item = Item> {
    let (with_lanes, items) = Header::of_word(words[0]).split(words);
    let with_entries = entries(with_lanes, warps).filter_map(|(_, item)| item);
    with_entries.chain(items.chunks_exact(ITEM_WORDS).map(Item::of_words))
}

/// A state without what it says of lanes that are ordered by now, and with new names of shapes.
fn rewrite(
    words: &[u32],
    warps: u32,
    renamed: impl Fn(Code) -> Code,
    live: impl Fn(u32) -> bool,
    out: &mut Vec<u32>,
) {
    let header = Header::of_word(words[0]);
    let (with_lanes, items) = header.split(words);
    out.push(0);
    let mut kept = vec![];
    for (entry, item) in entries(with_lanes, warps) {
        kept.extend(item.filter(|i| live(i.stamp)).map(|i| Item { code: renamed(i.code), ..i }));
        put_entry(&entry, &mut kept, warps, out);
    }
    let mut halves = [vec![], vec![]];
    for (n, item) in items.chunks_exact(ITEM_WORDS).map(Item::of_words).enumerate() {
        if live(item.stamp) {
            let half = &mut halves[(n >= header.items[0]) as usize];
            push_item(half, Item { code: renamed(item.code), ..item });
        }
    }
    finish(out, header.write, [&halves[0], &halves[1]]);
}

#[cfg(test)]
mod tests;
