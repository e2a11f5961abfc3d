//! Check mode: what each value and each byte knows of its past.
//!
//! **Definedness.** Every row of the register file has a mask of lanes whose value is defined, every byte of shared and
//! local memory a bit. A result is defined where its sources are. LLVM reads undefined registers freely, so reading one
//! is no fault; reaching a branch, an address, or a store that leaves the CTA is.
//!
//! **Races in shared memory.** Each warp carries a vector clock, joined at barriers. A byte pair (the granule) knows the
//! clock at which each warp last read it and the one that last wrote it; an access whose predecessor by another warp
//! is not covered by the own clock is a race. Example: warp 0 writes at its clock 1, both warps meet at `bar.sync`
//! (warp 1 learns "warp 0: 1", warp 0 goes on to clock 2), warp 1 reads: 1 <= 1, ordered. Without the barrier warp 1
//! knows "warp 0: 0", and 1 > 0 is a race.
//!
//! **Races in global memory.** CTAs of a grid without clusters are concurrent as long as no atomics order them: a byte
//! that one CTA writes may be touched by no other.

use crate::{
    fault::FaultKind,
    ir::{Op, Pred, Role, Slot},
};
use std::collections::BTreeMap;

/// Findings beyond this many of one CTA are dropped (they repeat).
const MOST_FINDINGS: usize = 32;
/// Bytes of shared memory that share one entry.
const GRANULE: usize = 2;

/// One finding of a CTA: what, at which instruction, by whom.
#[derive(Clone, Debug)]
pub struct Finding {
    pub kind: FaultKind,
    pub at: u32,
    pub warp: u32,
    pub lane: Option<u32>,
    pub message: String,
    /// The other instruction of a race.
    pub other: Option<u32>,
}

/// Definedness of one warp's registers.
#[derive(Clone, Debug)]
pub struct Defined {
    rows: Vec<u32>,
    preds: Vec<u32>,
}

impl Defined {
    pub fn new(rows: u32, preds: u32) -> Self {
        Defined { rows: vec![0; rows as usize], preds: vec![0; preds as usize] }
    }

    pub fn define_row(&mut self, slot: Slot) {
        self.rows[slot as usize] = u32::MAX;
    }

    pub fn define_pred(&mut self, p: Pred) {
        self.preds[p as usize] = u32::MAX;
    }

    pub fn pred(&self, p: Pred) -> u32 {
        self.preds[p as usize]
    }

    /// Lanes for which all of the rows are defined.
    pub fn of_rows(&self, slots: impl IntoIterator<Item = Slot>) -> u32 {
        slots.into_iter().fold(u32::MAX, |m, s| m & self.rows[s as usize])
    }

    pub fn set_row(&mut self, slot: Slot, mask: u32, defined: u32) {
        let row = &mut self.rows[slot as usize];
        *row = (*row & !mask) | (defined & mask);
    }

    /// What an operation makes of it: its results are defined in the lanes in which all its sources are. Operations
    /// that mix lanes ask for all of them.
    pub fn propagate(&mut self, op: &Op, mask: u32) {
        let mut defined = u32::MAX;
        op.visit(&mut |role| match role {
            Role::Use(s) => defined &= self.rows[s as usize],
            Role::UsePred(p) => defined &= self.preds[p as usize],
            _ => {}
        });
        if op.mixes_lanes() && defined & mask != mask {
            defined = 0;
        }
        op.visit(&mut |role| match role {
            Role::Def(s) => {
                let row = &mut self.rows[s as usize];
                *row = (*row & !mask) | (defined & mask);
            }
            Role::DefPred(p) => {
                let row = &mut self.preds[p as usize];
                *row = (*row & !mask) | (defined & mask);
            }
            _ => {}
        });
    }
}

/// The check state of one CTA.
pub struct CtaCheck {
    warps: usize,
    /// Row w: what warp w knows of each warp.
    clocks: Vec<Vec<u32>>,
    /// Per granule: warp + 1, clock and instruction of the last write.
    writer: Vec<(u32, u32, u32)>,
    /// Per granule and warp: clock of the last read.
    readers: Vec<u32>,
    /// Per granule: instruction of the last read.
    read_at: Vec<u32>,
    /// Per byte of shared memory.
    written: Vec<bool>,
    pub findings: Vec<Finding>,
}

impl CtaCheck {
    pub fn new(warps: usize, shared_bytes: usize) -> Self {
        let granules = shared_bytes.div_ceil(GRANULE);
        let mut clocks = vec![vec![0; warps]; warps];
        for (w, row) in clocks.iter_mut().enumerate() {
            row[w] = 1;
        }
        CtaCheck {
            warps,
            clocks,
            writer: vec![(0, 0, 0); granules],
            readers: vec![0; granules * warps],
            read_at: vec![0; granules],
            written: vec![false; shared_bytes],
            findings: vec![],
        }
    }

    pub fn report(&mut self, finding: Finding) {
        let known = self
            .findings
            .iter()
            .any(|f| f.kind == finding.kind && f.at == finding.at && f.other == finding.other);
        if !known && self.findings.len() < MOST_FINDINGS {
            self.findings.push(finding);
        }
    }

    /// A warp reaches a barrier: it gives what it knows and starts a new interval.
    pub fn arrive(&mut self, warp: usize, barrier: &mut Vec<u32>) {
        join(barrier, &self.clocks[warp]);
        self.clocks[warp][warp] += 1;
    }

    /// A warp leaves a barrier with what all that arrived knew.
    pub fn leave(&mut self, warp: usize, barrier: &[u32]) {
        let mut row = std::mem::take(&mut self.clocks[warp]);
        join(&mut row, barrier);
        self.clocks[warp] = row;
    }

    /// A read of shared bytes; whether all of them are defined.
    pub fn read_shared(&mut self, warp: usize, lane: u32, at: u32, from: usize, bytes: usize) -> bool {
        for granule in from / GRANULE..(from + bytes).div_ceil(GRANULE) {
            let (writer, clock, other) = self.writer[granule];
            if writer != 0 && writer as usize != warp + 1 && clock > self.clocks[warp][writer as usize - 1] {
                self.race("reads", "wrote", granule, warp, lane, at, writer - 1, other);
            }
            self.readers[granule * self.warps + warp] = self.clocks[warp][warp];
            self.read_at[granule] = at;
        }
        self.written[from..from + bytes].iter().all(|w| *w)
    }

    pub fn write_shared(
        &mut self,
        warp: usize,
        lane: u32,
        at: u32,
        from: usize,
        bytes: usize,
        defined: bool,
    ) {
        for granule in from / GRANULE..(from + bytes).div_ceil(GRANULE) {
            let (writer, clock, other) = self.writer[granule];
            if writer != 0 && writer as usize != warp + 1 && clock > self.clocks[warp][writer as usize - 1] {
                self.race("writes", "wrote", granule, warp, lane, at, writer - 1, other);
            }
            let readers = &self.readers[granule * self.warps..(granule + 1) * self.warps];
            let known = &self.clocks[warp];
            if let Some(reader) = (0..self.warps).find(|&w| w != warp && readers[w] > known[w]) {
                let other = self.read_at[granule];
                self.race("writes", "read", granule, warp, lane, at, reader as u32, other);
            }
            self.writer[granule] = (warp as u32 + 1, self.clocks[warp][warp], at);
        }
        self.written[from..from + bytes].fill(defined);
    }

    #[allow(clippy::too_many_arguments)]
    fn race(
        &mut self,
        does: &str,
        did: &str,
        granule: usize,
        warp: usize,
        lane: u32,
        at: u32,
        other_warp: u32,
        other: u32,
    ) {
        let message = format!(
            "warp {warp} {does} shared bytes {}.. which warp {other_warp} {did} with no barrier between",
            granule * GRANULE
        );
        let other = Some(other);
        self.report(Finding {
            kind: FaultKind::SharedRace,
            at,
            warp: warp as u32,
            lane: Some(lane),
            message,
            other,
        });
    }
}

fn join(into: &mut Vec<u32>, from: &[u32]) {
    into.resize(from.len().max(into.len()), 0);
    for (a, b) in into.iter_mut().zip(from) {
        *a = (*a).max(*b);
    }
}

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
    fn a_barrier_orders_and_its_absence_is_a_race() {
        let mut check = CtaCheck::new(2, 64);
        check.write_shared(0, 3, 10, 0, 4, true);
        let mut barrier = vec![];
        check.arrive(0, &mut barrier);
        check.arrive(1, &mut barrier);
        check.leave(0, &barrier);
        check.leave(1, &barrier);
        assert!(check.read_shared(1, 5, 20, 0, 4));
        assert!(check.findings.is_empty());
        check.write_shared(0, 3, 30, 0, 4, true);
        assert_eq!(check.findings.len(), 1, "a write after a read of another warp needs a barrier too");
        assert_eq!((check.findings[0].at, check.findings[0].other), (30, Some(20)));
    }

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
