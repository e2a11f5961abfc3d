//! Who touched which bytes last: one cell for each 16 bytes of memory.
//!
//! A cell keeps the last write inline and everything else that may still matter in a list: reads since, and writes to
//! other bytes of the cell. Each entry has the mask of bytes it is about, so halves written by two lanes stay apart. A
//! write forgets what it covers (it has just been compared with it); a read replaces the reads that happened before it,
//! because whoever comes after it comes after them. In code with barriers a list is thus as long as the number of
//! warps that read the same 16 bytes between two barriers. A cell takes 20 bytes for 16, an entry of a list 20.

use super::clock::{Agent, Knowledge};

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
    /// The engine reads a tensor map, through a proxy of its own.
    pub const MAP: u16 = 64;
    /// A write of what was there already (not kept in the shadow).
    pub const SAME: u16 = 32;
}

/// One access to bytes of a cell.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Entry {
    pub agent: Agent,
    pub interval: u32,
    /// Instruction.
    pub at: u32,
    /// Bytes of the cell; 0 means none.
    pub mask: u16,
    pub flags: u16,
}

impl Entry {
    pub fn is(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

const NIL: u32 = u32::MAX;

#[derive(Clone, Copy)]
pub struct Cell {
    write: Entry,
    rest: u32,
}

impl Default for Cell {
    fn default() -> Self {
        Cell { write: Entry::default(), rest: NIL }
    }
}

#[derive(Clone, Copy)]
struct Node {
    entry: Entry,
    next: u32,
}

/// The lists of all cells.
#[derive(Default)]
pub struct Lists {
    nodes: Vec<Node>,
    free: Vec<u32>,
}

impl Lists {
    fn push(&mut self, entry: Entry, next: u32) -> u32 {
        match self.free.pop() {
            Some(n) => {
                self.nodes[n as usize] = Node { entry, next };
                n
            }
            None => {
                self.nodes.push(Node { entry, next });
                self.nodes.len() as u32 - 1
            }
        }
    }
}

impl Cell {
    /// Compares an access with everything before it, then remembers it. `conflict` is called for each earlier access
    /// to common bytes where one of the two writes.
    #[inline]
    pub fn access(
        &mut self,
        lists: &mut Lists,
        x: Entry,
        known: &Knowledge,
        conflict: &mut impl FnMut(&Entry),
    ) {
        if self.write.mask & x.mask != 0 {
            conflict(&self.write);
        }
        if x.is(flag::WRITE) { self.write(lists, x, conflict) } else { self.read(lists, x, known, conflict) }
    }

    fn write(&mut self, lists: &mut Lists, x: Entry, conflict: &mut impl FnMut(&Entry)) {
        let (mut link, mut before) = (self.rest, NIL);
        while link != NIL {
            let node = &mut lists.nodes[link as usize];
            let next = node.next;
            if node.entry.mask & x.mask != 0 {
                conflict(&node.entry);
                node.entry.mask &= !x.mask;
            }
            if node.entry.mask == 0 {
                self.unlink(lists, before, link)
            } else {
                before = link
            }
            link = next;
        }
        self.write.mask &= !x.mask;
        let same =
            self.write.agent == x.agent && (self.write.interval, self.write.flags) == (x.interval, x.flags);
        if self.write.mask != 0 && same {
            self.write = Entry { mask: self.write.mask | x.mask, ..x };
            return;
        }
        if self.write.mask != 0 {
            self.rest = lists.push(self.write, self.rest);
        }
        self.write = x;
    }

    fn read(&mut self, lists: &mut Lists, x: Entry, known: &Knowledge, conflict: &mut impl FnMut(&Entry)) {
        let (mut link, mut before) = (self.rest, NIL);
        let mut kept = false;
        while link != NIL {
            let node = &mut lists.nodes[link as usize];
            let (next, e) = (node.next, node.entry);
            if e.is(flag::WRITE) {
                if e.mask & x.mask != 0 {
                    conflict(&e);
                }
                before = link;
            } else if e.agent == x.agent && (e.interval, e.flags) == (x.interval, x.flags) {
                node.entry.mask |= x.mask;
                kept = true;
                before = link;
            } else if e.mask & !x.mask == 0 && e.flags == x.flags && known.seen.get(e.agent) >= e.interval {
                self.unlink(lists, before, link);
            } else {
                before = link;
            }
            link = next;
        }
        if !kept {
            self.rest = lists.push(x, self.rest);
        }
    }

    /// Reads by one agent become reads by another, at its interval.
    pub fn adopt_reads(&mut self, lists: &mut Lists, from: Agent, (agent, interval): (Agent, u32)) {
        let mut link = self.rest;
        while link != NIL {
            let node = &mut lists.nodes[link as usize];
            if node.entry.agent == from && !node.entry.is(flag::WRITE) {
                (node.entry.agent, node.entry.interval) = (agent, interval);
            }
            link = node.next;
        }
    }

    fn unlink(&mut self, lists: &mut Lists, before: u32, link: u32) {
        let next = lists.nodes[link as usize].next;
        if before == NIL {
            self.rest = next;
        } else {
            lists.nodes[before as usize].next = next;
        }
        lists.free.push(link);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(agent: Agent, mask: u16, flags: u16) -> Entry {
        Entry { agent, interval: 1, at: agent, mask, flags }
    }

    fn conflicts(cell: &mut Cell, lists: &mut Lists, x: Entry) -> Vec<u32> {
        let mut found = vec![];
        cell.access(lists, x, &Knowledge::default(), &mut |e| found.push(e.agent));
        found
    }

    #[test]
    fn halves_of_a_cell_stay_apart() {
        let (mut cell, mut lists) = (Cell::default(), Lists::default());
        assert!(conflicts(&mut cell, &mut lists, entry(0, 0x00ff, flag::WRITE)).is_empty());
        assert!(conflicts(&mut cell, &mut lists, entry(1, 0xff00, flag::WRITE)).is_empty());
        assert_eq!(conflicts(&mut cell, &mut lists, entry(2, 0x0100, 0)), [1]);
        assert_eq!(conflicts(&mut cell, &mut lists, entry(3, 0x0001, 0)), [0]);
    }

    #[test]
    fn a_write_meets_every_reader_and_forgets_them() {
        let (mut cell, mut lists) = (Cell::default(), Lists::default());
        for agent in 0..4 {
            conflicts(&mut cell, &mut lists, entry(agent, 0xffff, 0));
        }
        let mut met = conflicts(&mut cell, &mut lists, entry(9, 0xffff, flag::WRITE));
        met.sort_unstable();
        assert_eq!(met, [0, 1, 2, 3]);
        assert_eq!(conflicts(&mut cell, &mut lists, entry(8, 0xffff, flag::WRITE)), [9]);
    }

    #[test]
    fn a_read_replaces_reads_that_happened_before_it() {
        let (mut cell, mut lists) = (Cell::default(), Lists::default());
        conflicts(&mut cell, &mut lists, entry(0, 0xffff, 0));
        let mut knows = Knowledge::default();
        knows.seen.raise(0, 1);
        cell.access(&mut lists, entry(1, 0xffff, 0), &knows, &mut |_| {});
        assert_eq!(conflicts(&mut cell, &mut lists, entry(9, 0xffff, flag::WRITE)), [1]);
    }
}
