//! Who touched which bytes of a cell of 16 bytes last.
//!
//! A cell keeps the last write and everything else that may still matter: reads since, and writes to other bytes of the
//! cell. Each entry has the mask of bytes it is about, so halves written by two lanes stay apart. A write forgets what it
//! covers (it has just been compared with it); a read replaces the reads that happened before it, because whoever comes
//! after it comes after them. In code with barriers there are thus as many entries as warps that read the same 16 bytes
//! between two barriers.
//!
//! ```text
//! warp 0 writes bytes 0-15          [write 0: ffff]
//! barrier; warps 1 and 2 read       [write 0: ffff] [read 1: ffff] [read 2: ffff]
//! warp 3 writes bytes 8-15          [write 3: ff00] [write 0: 00ff] [read 1: 00ff] [read 2: 00ff]   compared with all three
//! ```

use super::{
    clock::{Agent, Knowledge},
    shadow::flag,
};

/// One access to bytes of a cell.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Entry {
    pub agent: Agent,
    pub interval: u32,
    /// Instruction.
    pub at: u32,
    /// Bytes of the cell; 0 means none.
    pub mask: u16,
    pub flags: u16,
}

/// Words that an entry takes in a table.
pub const ENTRY_WORDS: usize = 4;

impl Entry {
    pub fn is(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    pub fn words(&self) -> [u32; ENTRY_WORDS] {
        [self.agent, self.interval, self.at, self.mask as u32 | (self.flags as u32) << 16]
    }

    pub fn of_words(words: &[u32]) -> Entry {
        let (mask, flags) = (words[3] as u16, (words[3] >> 16) as u16);
        Entry { agent: words[0], interval: words[1], at: words[2], mask, flags }
    }

    /// Of one agent, at one time, in one way.
    fn alike(&self, x: &Entry) -> bool {
        self.agent == x.agent && (self.interval, self.flags) == (x.interval, x.flags)
    }
}

#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Cell {
    /// The last write; its mask is 0 if there was none.
    pub write: Entry,
    /// In a fixed order, so that equal cells look equal.
    pub rest: Vec<Entry>,
}

impl Cell {
    /// Compares an access with everything before it, then remembers it. `conflict` is called for each earlier access
    /// to common bytes where one of the two writes.
    pub fn access(&mut self, x: Entry, known: &Knowledge, conflict: &mut impl FnMut(&Entry)) {
        if self.write.mask & x.mask != 0 {
            conflict(&self.write);
        }
        if x.is(flag::WRITE) {
            self.write(x, conflict)
        } else {
            self.read(x, known, conflict)
        }
        if self.rest.len() > 1 {
            self.rest.sort_unstable();
        }
    }

    fn write(&mut self, x: Entry, conflict: &mut impl FnMut(&Entry)) {
        self.rest.retain_mut(|e| {
            if e.mask & x.mask != 0 {
                conflict(e);
                e.mask &= !x.mask;
            }
            e.mask != 0
        });
        self.write.mask &= !x.mask;
        if self.write.mask != 0 && self.write.alike(&x) {
            self.write = Entry { mask: self.write.mask | x.mask, ..x };
            return;
        }
        if self.write.mask != 0 {
            self.rest.push(self.write);
        }
        self.write = x;
    }

    fn read(&mut self, x: Entry, known: &Knowledge, conflict: &mut impl FnMut(&Entry)) {
        let mut kept = false;
        self.rest.retain_mut(|e| {
            if e.is(flag::WRITE) {
                if e.mask & x.mask != 0 {
                    conflict(e);
                }
                return true;
            }
            if e.alike(&x) {
                e.mask |= x.mask;
                kept = true;
                return true;
            }
            let covered = e.mask & !x.mask == 0 && e.flags == x.flags;
            !(covered && known.seen.get(e.agent) >= e.interval)
        });
        if !kept {
            self.rest.push(x);
        }
    }

    /// Reads by one agent become reads by another, at its interval.
    pub fn adopt_reads(&mut self, from: Agent, (agent, interval): (Agent, u32)) {
        for e in self.rest.iter_mut().filter(|e| e.agent == from && !e.is(flag::WRITE)) {
            (e.agent, e.interval) = (agent, interval);
        }
        self.rest.sort_unstable();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(agent: Agent, mask: u16, flags: u16) -> Entry {
        Entry { agent, interval: 1, at: agent, mask, flags }
    }

    fn conflicts(cell: &mut Cell, x: Entry) -> Vec<u32> {
        let mut found = vec![];
        cell.access(x, &Knowledge::default(), &mut |e| found.push(e.agent));
        found
    }

    #[test]
    fn halves_of_a_cell_stay_apart() {
        let mut cell = Cell::default();
        assert!(conflicts(&mut cell, entry(0, 0x00ff, flag::WRITE)).is_empty());
        assert!(conflicts(&mut cell, entry(1, 0xff00, flag::WRITE)).is_empty());
        assert_eq!(conflicts(&mut cell, entry(2, 0x0100, 0)), [1]);
        assert_eq!(conflicts(&mut cell, entry(3, 0x0001, 0)), [0]);
    }

    #[test]
    fn a_write_meets_every_reader_and_forgets_them() {
        let mut cell = Cell::default();
        for agent in 0..4 {
            conflicts(&mut cell, entry(agent, 0xffff, 0));
        }
        let met = conflicts(&mut cell, entry(9, 0xffff, flag::WRITE));
        assert_eq!(met, [0, 1, 2, 3]);
        assert_eq!(conflicts(&mut cell, entry(8, 0xffff, flag::WRITE)), [9]);
    }

    #[test]
    fn a_read_replaces_reads_that_happened_before_it() {
        let mut cell = Cell::default();
        conflicts(&mut cell, entry(0, 0xffff, 0));
        let mut knows = Knowledge::default();
        knows.seen.raise(0, 1);
        cell.access(entry(1, 0xffff, 0), &knows, &mut |_| {});
        assert_eq!(conflicts(&mut cell, entry(9, 0xffff, flag::WRITE)), [1]);
    }
}
