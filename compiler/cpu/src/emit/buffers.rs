//! Where tiles lie: offsets in the thread's arena, given out and taken back in the order of emission.
//!
//! A buffer is held until the step that reads it last (see `liveness`); its place is then given to the next one that
//! fits. Since the code of a loop body is emitted once, the offsets are constants. A loop's carried values keep their
//! buffers for the whole loop; a value computed from a carried one elementwise may take its buffer over, which turns
//! `acc = acc * c + p @ v` into an update in place.
//!
//! Layout of a tile `[i, j]` with capacities 100 and 60: row-major, the last axis padded to 64 elements, strides
//! `[64, 1]`. Axes of extent 1 take no room (`[i, 1]` is 100 neighbouring elements).

use crate::runtime::Class;
use cranelift_codegen::ir;

/// Elements between neighbours along an axis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stride {
    Const(i64),
    /// A tensor's stride, known at the launch.
    Run(ir::Value),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Base {
    /// Bytes from the start of the arena.
    Arena(i64),
    Pointer(ir::Value),
}

/// A tile in memory: the arena's or a tensor's own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tile {
    pub class: Class,
    pub base: Base,
    pub strides: Vec<Stride>,
    pub buffer: Option<usize>,
}

#[derive(Debug)]
struct Buffer {
    offset: u64,
    bytes: u64,
    /// Kept at least until this step, whoever lies in it (loops).
    hold: usize,
    /// Read for the last time by what lies in it now.
    used: usize,
    free: bool,
}

#[derive(Default)]
pub struct Buffers {
    list: Vec<Buffer>,
    /// Free ranges of the arena, by offset.
    gaps: Vec<(u64, u64)>,
    top: u64,
    high: u64,
}

/// Buffers start on pages' 64-byte lines.
const LINE: u64 = 64;

impl Buffers {
    /// A new buffer; it goes after step `until`.
    pub fn take(&mut self, bytes: u64, until: usize) -> usize {
        let bytes = bytes.max(1).div_ceil(LINE) * LINE;
        let fit = self.gaps.iter().enumerate().filter(|(_, g)| g.1 >= bytes).min_by_key(|(_, g)| g.1);
        let offset = match fit.map(|(at, _)| at) {
            Some(at) => {
                let gap = &mut self.gaps[at];
                let offset = gap.0;
                *gap = (gap.0 + bytes, gap.1 - bytes);
                if gap.1 == 0 {
                    self.gaps.remove(at);
                }
                offset
            }
            None => {
                self.top += bytes;
                self.top - bytes
            }
        };
        self.high = self.high.max(self.top);
        self.list.push(Buffer { offset, bytes, hold: until, used: until, free: false });
        self.list.len() - 1
    }

    pub fn offset(&self, buffer: usize) -> i64 {
        self.list[buffer].offset as i64
    }

    /// A value that is read until `until` lies in the buffer now.
    pub fn occupy(&mut self, buffer: usize, until: usize) {
        let b = &mut self.list[buffer];
        b.used = b.used.max(until);
    }

    /// The buffer is kept until `until`, whoever lies in it.
    pub fn hold(&mut self, buffer: usize, until: usize) {
        let b = &mut self.list[buffer];
        b.hold = b.hold.max(until);
    }

    /// What lies in the buffer from now on is read until `until` (a loop's carried value, at its body's start).
    pub fn restart(&mut self, buffer: usize, until: usize) {
        self.list[buffer].used = until;
    }

    /// Whether nothing reads the buffer after `step`, so that a result may be written over it.
    pub fn is_spent(&self, buffer: usize, step: usize) -> bool {
        self.list[buffer].used <= step
    }

    /// Gives back every buffer that nothing needs after `step`.
    pub fn release(&mut self, step: usize) {
        for at in 0..self.list.len() {
            let b = &mut self.list[at];
            if !b.free && b.used <= step && b.hold <= step {
                b.free = true;
                let gap = (b.offset, b.bytes);
                self.give_back(gap);
            }
        }
    }

    fn give_back(&mut self, gap: (u64, u64)) {
        let at = self.gaps.partition_point(|g| g.0 < gap.0);
        self.gaps.insert(at, gap);
        // Join with the neighbours.
        if at + 1 < self.gaps.len() && self.gaps[at].0 + self.gaps[at].1 == self.gaps[at + 1].0 {
            self.gaps[at].1 += self.gaps[at + 1].1;
            self.gaps.remove(at + 1);
        }
        if at > 0 && self.gaps[at - 1].0 + self.gaps[at - 1].1 == self.gaps[at].0 {
            self.gaps[at - 1].1 += self.gaps[at].1;
            self.gaps.remove(at);
        }
        // A gap at the end is no longer part of the arena in use.
        if let Some(&(offset, bytes)) = self.gaps.last()
            && offset + bytes == self.top
        {
            self.top = offset;
            self.gaps.pop();
        }
    }

    pub fn high_water(&self) -> u64 {
        self.high
    }
}

/// Row-major strides for capacities, the last axis that has room padded to a line; and the elements in all.
pub fn layout(capacities: &[u64]) -> (Vec<i64>, u64) {
    let mut strides = vec![0; capacities.len()];
    let mut next = 1u64;
    let mut first = true;
    for at in (0..capacities.len()).rev() {
        let n = capacities[at].max(1);
        if n == 1 {
            continue;
        }
        strides[at] = next as i64;
        let padded = if first && n >= 16 { n.div_ceil(16) * 16 } else { n };
        next = next.saturating_mul(padded);
        first = false;
    }
    (strides, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_of_one_take_no_room_and_rows_are_padded() {
        assert_eq!(layout(&[100, 60]), (vec![64, 1], 6400));
        assert_eq!(layout(&[100, 1]), (vec![1, 0], 112));
        assert_eq!(layout(&[8, 2]), (vec![2, 1], 16));
        assert_eq!(layout(&[]), (vec![], 1));
    }

    #[test]
    fn places_are_given_again_once_they_are_free() {
        let mut b = Buffers::default();
        let x = b.take(100, 1);
        let y = b.take(100, 5);
        b.release(1);
        let z = b.take(128, 9);
        assert_eq!(b.offset(z), b.offset(x));
        assert_ne!(b.offset(z), b.offset(y));
        b.release(9);
        assert_eq!(b.top, 0);
        assert_eq!(b.high_water(), 256);
    }
}
