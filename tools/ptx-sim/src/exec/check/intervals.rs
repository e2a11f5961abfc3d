//! Global memory between CTAs that do not communicate: what each touched, compared at the end.
//!
//! CTAs of a grid without strong accesses or value-returning atomics are concurrent from launch to end, so a byte that
//! one of them writes may be touched by no other. Each keeps the intervals it read and wrote; one sweep over all of
//! them finds the conflicts, and no CTA has to wait for another's log while it runs.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashSet},
};

/// What one CTA did to global memory: disjoint intervals of bytes, by their start.
#[derive(Clone, Debug, Default)]
pub struct GlobalLog {
    reads: BTreeMap<u64, (u64, u32)>,
    writes: BTreeMap<u64, (u64, u32)>,
    atomics: BTreeMap<u64, (u64, u32)>,
}

impl GlobalLog {
    pub fn read(&mut self, addr: u64, bytes: u64, at: u32) {
        insert(&mut self.reads, addr, bytes, at);
    }

    pub fn write(&mut self, addr: u64, bytes: u64, at: u32) {
        insert(&mut self.writes, addr, bytes, at);
    }

    pub fn atomic(&mut self, addr: u64, bytes: u64, at: u32) {
        insert(&mut self.atomics, addr, bytes, at);
    }
}

/// Adds an interval, merging with what touches it (the instruction of the earlier one is kept).
fn insert(map: &mut BTreeMap<u64, (u64, u32)>, addr: u64, bytes: u64, at: u32) {
    let (mut lo, mut hi, mut who) = (addr, addr + bytes, at);
    if let Some((&start, &(end, first))) = map.range(..=addr).next_back()
        && end >= addr
    {
        if end >= hi {
            return;
        }
        (lo, who) = (start, first);
    }
    while let Some((&start, &(end, _))) = map.range(lo..=hi).next() {
        hi = hi.max(end);
        map.remove(&start);
    }
    map.insert(lo, (hi, who));
}

/// A byte that two CTAs touch, one of them writing: both CTAs and instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GlobalRace {
    pub address: u64,
    pub ctas: (usize, usize),
    pub at: (u32, u32),
}

/// An interval of one CTA.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    lo: u64,
    hi: u64,
    cta: usize,
    at: u32,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Read,
    Write,
    Atomic,
}

impl GlobalLog {
    /// How many are kept.
    pub fn intervals(&self) -> usize {
        self.reads.len() + self.writes.len() + self.atomics.len()
    }

    fn spans(&self, cta: usize) -> impl Iterator<Item = Span> + '_ {
        let of = move |map: &'_ BTreeMap<u64, (u64, u32)>, kind| {
            map.iter().map(|(&lo, &(hi, at))| Span { lo, hi, cta, at, kind }).collect::<Vec<_>>()
        };
        [(&self.reads, Kind::Read), (&self.writes, Kind::Write), (&self.atomics, Kind::Atomic)]
            .into_iter()
            .flat_map(move |(map, kind)| of(map, kind))
    }
}

/// Intervals that reach past the place of the sweep, by their ends.
#[derive(Default)]
struct Open(BinaryHeap<Reverse<(u64, usize, u32)>>);

impl Open {
    fn close_before(&mut self, place: u64) {
        while self.0.peek().is_some_and(|Reverse((end, ..))| *end <= place) {
            self.0.pop();
        }
    }
}

/// Looks for conflicts between the logs of all CTAs: one sweep over all intervals by address. Reads are many and meet
/// only writes and atomics, so a read looks at the few of those that are open. At most one race is given for each pair
/// of instructions.
pub fn global_races(logs: &[GlobalLog]) -> Vec<GlobalRace> {
    let mut all: Vec<Span> = logs.iter().enumerate().flat_map(|(cta, log)| log.spans(cta)).collect();
    all.sort_unstable();
    let (mut reads, mut writes, mut atomics) = (Open::default(), Open::default(), Open::default());
    let mut found: Vec<GlobalRace> = vec![];
    let mut seen = HashSet::new();
    for span in all {
        for open in [&mut reads, &mut writes, &mut atomics] {
            open.close_before(span.lo);
        }
        let meets: &[&Open] = match span.kind {
            Kind::Read => &[&writes, &atomics],
            Kind::Write => &[&writes, &atomics, &reads],
            Kind::Atomic => &[&writes, &reads],
        };
        for &Reverse((_, cta, at)) in meets.iter().flat_map(|open| &open.0) {
            if cta != span.cta && seen.insert((at.min(span.at), at.max(span.at))) {
                found.push(GlobalRace { address: span.lo, ctas: (cta, span.cta), at: (at, span.at) });
            }
        }
        let open = match span.kind {
            Kind::Read => &mut reads,
            Kind::Write => &mut writes,
            Kind::Atomic => &mut atomics,
        };
        open.0.push(Reverse((span.hi, span.cta, span.at)));
    }
    found.sort_by_key(|r| (r.ctas.0.max(r.ctas.1), r.at));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_merge_and_conflicts_between_ctas_are_found_once() {
        let mut a = GlobalLog::default();
        for n in 0..8 {
            a.write(4 * n, 4, 1);
        }
        assert_eq!(a.writes.len(), 1);
        let mut b = GlobalLog::default();
        b.read(30, 4, 2);
        b.read(64, 4, 2);
        let races = global_races(&[a.clone(), b]);
        assert_eq!(races, [GlobalRace { address: 30, ctas: (0, 1), at: (1, 2) }]);
        assert!(global_races(&[a.clone()]).is_empty());
    }
}
