//! Global memory between CTAs that do not communicate: what each touched, compared at the end.
//!
//! CTAs of a grid without strong accesses or value-returning atomics are concurrent from launch to end, so a byte that
//! one of them writes may be touched by no other. Each keeps the ranges it read and wrote; one sweep over all of them
//! finds the conflicts, and no CTA has to wait for another's log while it runs.
//!
//! ```text
//! CTA 0 writes [0, 128) [128, 256)     kept as [0, 256)
//! CTA 1 reads  [252, 260)              meets it: a race, at 252
//! ```

use super::packed::{self, Packed};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashSet},
};

/// Bytes, and the instruction that touched the first of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Touched {
    pub lo: u64,
    pub len: u32,
    pub at: u32,
}

impl Touched {
    pub fn hi(&self) -> u64 {
        self.lo + self.len as u64
    }

    /// Takes in a range that begins in this one or right behind it, if the length still fits.
    fn take(&mut self, lo: u64, hi: u64) -> bool {
        let len = self.hi().max(hi) - self.lo;
        let fits = self.lo <= lo && lo <= self.hi() && len <= u32::MAX as u64;
        if fits {
            self.len = len as u32;
        }
        fits
    }
}

/// Ranges of one kind: those in order, apart from each other, and the latest as they came.
#[derive(Clone, Debug, Default)]
pub struct Ranges {
    sorted: Packed,
    latest: Vec<Touched>,
}

/// So many are kept as they came, at least; or a sixteenth of the others.
const LATEST: usize = 16;

impl Ranges {
    /// Whether there are so many that came lately that they should be put in order.
    fn crowded(&self) -> bool {
        self.latest.len() >= LATEST.max(self.sorted.len() / 16)
    }

    fn add(&mut self, lo: u64, bytes: u64, at: u32) {
        let hi = lo + bytes;
        if self.latest.last_mut().is_some_and(|l| l.take(lo, hi)) || self.holds(lo, hi) {
            return;
        }
        for lo in (lo..hi).step_by(u32::MAX as usize) {
            let len = (hi - lo).min(u32::MAX as u64) as u32;
            super::intern::extend(&mut self.latest, &[Touched { lo, len, at }]);
        }
    }

    fn holds(&self, lo: u64, hi: u64) -> bool {
        let before = self.sorted.near(lo).take_while(|t| t.lo <= lo).last();
        before.is_some_and(|t| hi <= t.hi())
    }

    /// Puts all in order and together; where two meet, the instruction of the lower one stays. Without those that lie within
    /// ranges of others.
    fn sort(&mut self, others: &Packed) {
        let mut others = others.iter().peekable();
        let mut keep = |t: Touched, kept: &mut Packed| {
            while others.next_if(|other| other.hi() < t.hi()).is_some() {}
            if others.peek().is_none_or(|other| t.lo < other.lo) {
                kept.push(t);
            }
        };
        self.latest.sort_by_key(|t| t.lo);
        let old = std::mem::take(&mut self.sorted);
        let (mut old, mut latest) = (old.iter().peekable(), self.latest.drain(..).peekable());
        let mut open: Option<Touched> = None;
        loop {
            let older = match (old.peek(), latest.peek()) {
                (Some(a), Some(b)) => a.lo <= b.lo,
                (a, _) => a.is_some(),
            };
            let Some(next) = (if older { old.next() } else { latest.next() }) else { break };
            if !open.as_mut().is_some_and(|t| t.take(next.lo, next.hi())) {
                open.replace(next).into_iter().for_each(|done| keep(done, &mut self.sorted));
            }
        }
        open.into_iter().for_each(|done| keep(done, &mut self.sorted));
    }

    /// Those that were put in order, from one on that is near an address and begins no later if any does.
    pub fn near(&self, address: u64) -> packed::Iter<'_> {
        self.sorted.near(address)
    }

    fn bytes(&self) -> usize {
        self.sorted.bytes() + self.latest.capacity() * size_of::<Touched>()
    }
}

/// What one CTA did to global memory.
#[derive(Clone, Debug, Default)]
pub struct GlobalLog {
    reads: Ranges,
    writes: Ranges,
    atomics: Ranges,
}

impl GlobalLog {
    pub fn read(&mut self, addr: u64, bytes: u64, at: u32) {
        if self.reads.crowded() {
            self.sort();
        }
        self.reads.add(addr, bytes, at);
    }

    pub fn write(&mut self, addr: u64, bytes: u64, at: u32) {
        if self.writes.crowded() {
            self.writes.sort(&Packed::default());
        }
        self.writes.add(addr, bytes, at);
    }

    pub fn atomic(&mut self, addr: u64, bytes: u64, at: u32) {
        if self.atomics.crowded() {
            self.atomics.sort(&Packed::default());
        }
        self.atomics.add(addr, bytes, at);
    }

    /// Puts everything in order. What is written, too, meets all that its reads would: those need not be kept.
    fn sort(&mut self) {
        self.writes.sort(&Packed::default());
        self.reads.sort(&self.writes.sorted);
        self.atomics.sort(&Packed::default());
    }

    /// Takes in what another CTA, which has ended, did.
    pub fn join(&mut self, other: &GlobalLog) {
        other.writes.sorted.iter().for_each(|t| self.write(t.lo, t.len as u64, t.at));
        other.reads.sorted.iter().for_each(|t| self.read(t.lo, t.len as u64, t.at));
        other.atomics.sorted.iter().for_each(|t| self.atomic(t.lo, t.len as u64, t.at));
    }

    pub fn of(&self, kind: Kind) -> &Ranges {
        match kind {
            Kind::Read => &self.reads,
            Kind::Write => &self.writes,
            Kind::Atomic => &self.atomics,
        }
    }

    /// The CTA has ended: everything in order, and no room for more.
    pub fn finish(&mut self) {
        self.sort();
        for ranges in [&mut self.reads, &mut self.writes, &mut self.atomics] {
            ranges.sorted.shrink();
            ranges.latest = vec![];
        }
    }

    /// How many are kept.
    pub fn intervals(&self) -> usize {
        [&self.reads, &self.writes, &self.atomics].iter().map(|r| r.sorted.len() + r.latest.len()).sum()
    }

    /// Memory that the log takes.
    pub fn bytes(&self) -> usize {
        self.reads.bytes() + self.writes.bytes() + self.atomics.bytes()
    }

    /// How many kinds of access there are ranges of.
    pub fn kinds(&self) -> usize {
        [&self.reads, &self.writes, &self.atomics].iter().filter(|r| r.sorted.len() > 0).count()
    }
}

/// A byte that two CTAs touch, one of them writing: both CTAs and instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GlobalRace {
    pub address: u64,
    pub ctas: (usize, usize),
    pub at: (u32, u32),
}

/// A range of one CTA.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    lo: u64,
    len: u32,
    cta: u32,
    at: u32,
    kind: Kind,
    source: u32,
}

/// The ranges of one kind of one CTA that the sweep has yet to come to.
struct Source<'a> {
    cta: u32,
    kind: Kind,
    ranges: packed::Iter<'a>,
}

impl Source<'_> {
    fn next(&mut self, source: u32) -> Option<Reverse<Span>> {
        let (cta, kind, Touched { lo, len, at }) = (self.cta, self.kind, self.ranges.next()?);
        Some(Reverse(Span { lo, len, cta, at, kind, source }))
    }
}

/// What the last comparison takes for each kind of ranges of a log.
pub const SWEEP_BYTES: usize = size_of::<(Span, Source)>();

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    Read,
    Write,
    Atomic,
}

/// Ranges that reach past the place of the sweep, by their ends.
#[derive(Default)]
struct Open(BinaryHeap<Reverse<(u64, usize, u32)>>);

impl Open {
    fn close_before(&mut self, place: u64) {
        while self.0.peek().is_some_and(|Reverse((end, ..))| *end <= place) {
            self.0.pop();
        }
    }
}

/// Looks for conflicts between the logs of all CTAs, which are finished: one sweep over all ranges by address. Reads are
/// many and meet only writes and atomics, so a read looks at the few of those that are open. At most one race is given
/// for each pair of instructions.
pub fn global_races(logs: Vec<GlobalLog>) -> Vec<GlobalRace> {
    let kinds = [Kind::Read, Kind::Write, Kind::Atomic];
    let all = logs.iter().zip(0..).flat_map(|(log, cta)| kinds.map(|kind| (log, cta, kind)));
    let held = all.filter(|(log, _, kind)| log.of(*kind).sorted.len() > 0);
    let mut sources: Vec<Source> =
        held.map(|(log, cta, kind)| Source { cta, kind, ranges: log.of(kind).sorted.iter() }).collect();
    let firsts: Vec<_> = sources.iter_mut().zip(0..).filter_map(|(source, n)| source.next(n)).collect();
    let mut heap = BinaryHeap::from(firsts);
    let (mut reads, mut writes, mut atomics) = (Open::default(), Open::default(), Open::default());
    let mut found: Vec<GlobalRace> = vec![];
    let mut seen = HashSet::new();
    while let Some(Reverse(span)) = heap.pop() {
        heap.extend(sources[span.source as usize].next(span.source));
        for open in [&mut reads, &mut writes, &mut atomics] {
            open.close_before(span.lo);
        }
        let meets: &[&Open] = match span.kind {
            Kind::Read => &[&writes, &atomics],
            Kind::Write => &[&writes, &atomics, &reads],
            Kind::Atomic => &[&writes, &reads],
        };
        let own = span.cta as usize;
        for &Reverse((_, cta, at)) in meets.iter().flat_map(|open| &open.0) {
            if cta != own && seen.insert((at.min(span.at), at.max(span.at))) {
                found.push(GlobalRace { address: span.lo, ctas: (cta, own), at: (at, span.at) });
            }
        }
        let open = match span.kind {
            Kind::Read => &mut reads,
            Kind::Write => &mut writes,
            Kind::Atomic => &mut atomics,
        };
        open.0.push(Reverse((span.lo + span.len as u64, own, span.at)));
    }
    found.sort_by_key(|r| (r.ctas.0.max(r.ctas.1), r.at));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_merge_and_conflicts_between_ctas_are_found_once() {
        let mut a = GlobalLog::default();
        for n in 0..8 {
            a.write(4 * n, 4, 1);
        }
        a.finish();
        assert_eq!(a.intervals(), 1);
        let mut b = GlobalLog::default();
        b.read(30, 4, 2);
        b.read(64, 4, 2);
        b.finish();
        let races = global_races(vec![a.clone(), b]);
        assert_eq!(races, [GlobalRace { address: 30, ctas: (0, 1), at: (1, 2) }]);
        assert!(global_races(vec![a]).is_empty());
    }

    #[test]
    fn reads_of_what_is_written_are_not_kept() {
        let mut log = GlobalLog::default();
        for n in 0..100 {
            log.read(16 * n, 8, 1);
            log.write(16 * n + 8 * (n % 2), 4 + 4 * (n % 3 / 2), 2);
        }
        log.finish();
        let kept: Vec<u64> = log.reads.sorted.iter().map(|t| t.lo / 16).collect();
        // Even ones of three whose eight bytes are all written are gone.
        let want: Vec<u64> = (0..100).filter(|n| n % 2 == 1 || n % 3 != 2).collect();
        assert_eq!(kept, want);
    }

    #[test]
    fn columns_grow_together_to_rows() {
        let mut log = GlobalLog::default();
        for column in 0..32 {
            for row in 0..1000 {
                log.write(4096 * row + 4 * column, 4, 1);
            }
        }
        assert!(log.bytes() < 1600 * 16, "{}", log.bytes());
        log.finish();
        assert_eq!(log.intervals(), 1000);
    }
}
