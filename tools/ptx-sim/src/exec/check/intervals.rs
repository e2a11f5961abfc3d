//! Global memory between CTAs that do not communicate: what each touched, compared at the end.
//!
//! CTAs of a grid without strong accesses or value-returning atomics are concurrent from launch to end, so a byte that
//! one of them writes may be touched by no other. Each keeps the intervals it read and wrote; one sweep over all of
//! them finds the conflicts, and no CTA has to wait for another's log while it runs.

use std::collections::BTreeMap;

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

/// Looks for conflicts between the logs of all CTAs: one sweep over all intervals by address. At most one race is
/// given for each pair of instructions.
pub fn global_races(logs: &[GlobalLog]) -> Vec<GlobalRace> {
    #[derive(Clone, Copy, PartialEq)]
    enum Kind {
        Read,
        Write,
        Atomic,
    }
    let mut all: Vec<(u64, u64, usize, u32, Kind)> = vec![];
    for (cta, log) in logs.iter().enumerate() {
        for (map, kind) in
            [(&log.reads, Kind::Read), (&log.writes, Kind::Write), (&log.atomics, Kind::Atomic)]
        {
            all.extend(map.iter().map(|(&lo, &(hi, at))| (lo, hi, cta, at, kind)));
        }
    }
    all.sort_unstable_by_key(|&(lo, hi, cta, at, _)| (lo, hi, cta, at));
    let mut open: Vec<(u64, usize, u32, Kind)> = vec![];
    let mut found: Vec<GlobalRace> = vec![];
    for (lo, hi, cta, at, kind) in all {
        open.retain(|&(end, ..)| end > lo);
        // Reads are many and conflict only with writes; one look at the open writes is enough for them.
        for &(_, other, other_at, other_kind) in &open {
            let harmless = kind == other_kind && kind != Kind::Write;
            let seen = || found.iter().any(|r| r.at == (other_at, at) || r.at == (at, other_at));
            if other != cta && !harmless && !seen() {
                found.push(GlobalRace { address: lo, ctas: (other, cta), at: (other_at, at) });
            }
        }
        open.push((hi, cta, at, kind));
    }
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
