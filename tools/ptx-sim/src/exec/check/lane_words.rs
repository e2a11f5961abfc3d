//! What memory remembers of the lanes of a warp ([`super::lanes`]): one half for writes, one for reads.
//!
//! A word of four bytes keeps its last write and its last read: a stamp, the instruction, and for each byte a lane,
//! "nobody" or "several". That is enough: of two readers at least one is not the writer that comes next.
//!
//! ```text
//! ld.shared.u32 by lanes 3 and 4     read in span 7 by [several; 4]
//! st.shared.u8 by lane 3, byte 0     meets another lane's read; then read by [nobody, several, several, several]
//! ```
//!
//! In a table of states a half is a list of *items*: a stamp, an instruction, the [shape](super::shape) that says the lanes, and
//! the bytes it says them of. One instruction is one item, whatever its lanes are.

use super::{
    lanes::Standing,
    shadow::{GRANULE, flag},
    shape::{Code, Relation, Shapes},
};

/// Instead of a lane: none, or more than one.
pub const NOBODY: u8 = 0xff;
pub const SEVERAL: u8 = 0xfe;

/// One byte in all four of a word.
const EACH: u32 = 0x0101_0101;

/// The bit of an instruction's number that says that its access is strong.
pub const STRONG: u32 = 1 << 31;

/// Who wrote, or read, the bytes of a word last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Last {
    pub stamp: u32,
    /// Instruction, and [`STRONG`].
    pub at: u32,
    /// One for each byte of the word.
    pub lanes: u32,
}

const NEVER: Last = Last { stamp: 0, at: 0, lanes: u32::MAX };

/// One lane's access to bytes of one word.
#[derive(Clone, Copy)]
pub struct LaneAccess {
    /// The warp's present span.
    pub now: u32,
    /// Instruction, and [`STRONG`].
    pub at: u32,
    pub lane: u32,
    /// All bits of the bytes that are meant.
    pub bytes: u32,
}

impl LaneAccess {
    /// Whether no other lane is in this one's way, as is usual: the bytes are its own, or nobody's.
    #[inline]
    fn passes(&self, last: &Last) -> bool {
        (last.lanes ^ (self.lane * EACH)) & self.bytes == 0 || last.lanes | !self.bytes == u32::MAX
    }
}

impl Last {
    fn wrote(&mut self, x: &LaneAccess) {
        let others = if self.stamp == x.now { self.lanes } else { u32::MAX };
        *self = Last { stamp: x.now, at: x.at, lanes: (others & !x.bytes) | ((x.lane * EACH) & x.bytes) };
    }

    fn read(&mut self, x: &LaneAccess) {
        let others = if self.stamp == x.now { self.lanes } else { u32::MAX };
        let mut lanes = (others & !x.bytes) | ((x.lane * EACH) & x.bytes);
        if others | !x.bytes != u32::MAX && (others ^ lanes) != 0 {
            // Bytes that another lane has read, too.
            let merge = |(old, new): (u8, u8)| if old == new || old == NOBODY { new } else { SEVERAL };
            let (old, new) = (others.to_le_bytes(), lanes.to_le_bytes());
            lanes = u32::from_le_bytes(std::array::from_fn(|b| merge((old[b], new[b]))));
        }
        *self = Last { stamp: x.now, at: x.at, lanes };
    }
}

/// An access of a lane that another one should have been ordered with.
#[derive(Clone, Copy)]
pub struct Unordered {
    pub other: u8,
    pub last: Last,
    pub wrote: bool,
}

/// What one instruction did to bytes of a cell, as it stands in a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Item {
    pub stamp: u32,
    pub at: u32,
    pub code: Code,
    pub mask: u16,
}

pub const ITEM_WORDS: usize = 4;

impl Item {
    pub fn words(&self) -> [u32; ITEM_WORDS] {
        [self.stamp, self.at, self.code.0, self.mask as u32]
    }

    pub fn of_words(words: &[u32]) -> Item {
        Item { stamp: words[0], at: words[1], code: Code(words[2]), mask: words[3] as u16 }
    }
}

/// Adds bytes to a list of items, to the item of the same instruction and shape if there is one.
pub fn push_item(items: &mut Vec<Item>, item: Item) {
    let like = |i: &&mut Item| (i.stamp, i.at, i.code) == (item.stamp, item.at, item.code);
    match items.iter_mut().find(like) {
        Some(i) => i.mask |= item.mask,
        None => items.push(item),
    }
}

/// The last writes, or reads, of the four words of a cell.
#[derive(Clone, Copy)]
pub struct Half {
    words: [Last; GRANULE / 4],
    /// The shape that says each byte's lane.
    codes: [Code; GRANULE],
}

impl Default for Half {
    fn default() -> Self {
        Half { words: [NEVER; GRANULE / 4], codes: [Code::SEVERAL; GRANULE] }
    }
}

impl Half {
    pub fn clear(&mut self) {
        self.words = [NEVER; GRANULE / 4];
    }

    fn lane(&self, byte: usize) -> u8 {
        (self.words[byte / 4].lanes >> (8 * (byte % 4))) as u8
    }

    /// What is known of one byte: stamp and instruction, and the lane.
    #[cfg(test)]
    pub fn byte(&self, byte: usize) -> Option<((u32, u32), u8)> {
        let (word, lane) = (self.words[byte / 4], self.lane(byte));
        (lane != NOBODY).then_some(((word.stamp, word.at), lane))
    }

    pub fn add(&mut self, item: &Item, granule: u64, shapes: &Shapes) {
        let lanes = shapes.lanes(item.code, granule);
        for byte in bytes(item.mask) {
            let (word, shift) = (&mut self.words[byte / 4], 8 * (byte % 4));
            (word.stamp, word.at) = (item.stamp, item.at);
            word.lanes = word.lanes & !(0xff << shift) | (lanes[byte] as u32) << shift;
            self.codes[byte] = item.code;
        }
    }

    /// Lists the items of stamps that live.
    pub fn items(&self, live: &impl Fn(u32) -> bool, items: &mut Vec<Item>) {
        items.clear();
        for (n, word) in self.words.iter().enumerate().filter(|(_, w)| w.lanes != u32::MAX && live(w.stamp)) {
            for byte in (4 * n..4 * n + 4).filter(|b| self.lane(*b) != NOBODY) {
                push_item(
                    items,
                    Item { stamp: word.stamp, at: word.at, code: self.codes[byte], mask: 1 << byte },
                );
            }
        }
    }

    /// Whether an access of a shape to these bytes fares alike wherever the shape lies.
    fn alike_everywhere(&self, mask: u16, code: Code, standing: &Standing) -> bool {
        self.words.iter().enumerate().all(|(n, word)| {
            let touched = mask >> (4 * n) & 15;
            touched == 0
                || word.lanes == u32::MAX
                || !standing.holds(word.stamp)
                || (4 * n..4 * n + 4).filter(|b| mask >> b & 1 == 1).all(|byte| {
                    self.lane(byte) == NOBODY
                        || match self.codes[byte].relation(code) {
                            Relation::Same => true,
                            Relation::Differ => !standing.partial(),
                            Relation::Depends => false,
                        }
                })
        })
    }

    /// Says which shape the lanes of bytes come from that an instruction has just touched. Whether it is all its own.
    fn name(&mut self, mask: u16, code: Code, lanes: &[u8; GRANULE]) -> bool {
        bytes(mask).fold(true, |all, byte| {
            let lane = self.lane(byte);
            self.codes[byte] = match lane {
                SEVERAL => Code::SEVERAL,
                lane if lane == lanes[byte] => code,
                lane => Code::one(lane as u32),
            };
            all && (lane == SEVERAL || lane == lanes[byte])
        })
    }
}

fn bytes(mask: u16) -> impl Iterator<Item = usize> {
    (0..GRANULE).filter(move |b| mask >> b & 1 == 1)
}

/// The lanes of one instruction at one cell.
pub struct AtCell<'a> {
    pub mask: u16,
    pub code: Code,
    /// Whether no byte belongs to two lanes.
    pub apart: bool,
    pub flags: u16,
    /// The warp's own access, to be remembered; else an asynchronous operation, which is only compared.
    pub own: bool,
    pub standing: &'a Standing,
}

/// Both halves of a cell.
pub struct Halves<'a> {
    pub write: &'a mut Half,
    pub read: &'a mut Half,
}

impl Halves<'_> {
    /// Compares one lane's access to one word with those before it, and remembers it if it is the warp's own.
    pub fn touch(&mut self, at: usize, x: &LaneAccess, same: bool, cell: &AtCell) -> Option<Unordered> {
        let (write, read) = (&mut self.write.words[at], &mut self.read.words[at]);
        let writes = cell.flags & flag::WRITE != 0;
        let mut found = None;
        // A lane that stores what is there already does no harm to another that stored it.
        if !same
            && !x.passes(write)
            && let Some(other) = cell.standing.unordered(write, x)
        {
            found = Some(Unordered { other, last: *write, wrote: true });
        }
        if writes
            && !x.passes(read)
            && let Some(other) = cell.standing.unordered(read, x)
        {
            found = Some(Unordered { other, last: *read, wrote: false });
        }
        match (cell.own, writes) {
            (false, _) => {}
            (true, false) => read.read(x),
            (true, true) => {
                write.wrote(x);
                read.lanes |= x.bytes;
            }
        }
        found
    }

    /// Before an instruction touches a cell: whether it fares alike in every cell of this state.
    pub fn alike_everywhere(&self, cell: &AtCell) -> bool {
        cell.apart
            && self.write.alike_everywhere(cell.mask, cell.code, cell.standing)
            && self.read.alike_everywhere(cell.mask, cell.code, cell.standing)
    }

    /// After it has: names the shape of what it left.
    pub fn name(&mut self, cell: &AtCell, lanes: &[u8; GRANULE]) -> bool {
        let half = if cell.flags & flag::WRITE != 0 { &mut *self.write } else { &mut *self.read };
        half.name(cell.mask, cell.code, lanes)
    }
}
