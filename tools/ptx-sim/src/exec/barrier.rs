//! The sixteen barriers of a CTA, and the barrier of a cluster.
//!
//! A barrier counts threads. A warp of which all living lanes have arrived counts as 32, whatever the number of lanes
//! that live; lanes that arrive on their own (`barrier.sync` without `.aligned`) count one each until then. When the
//! expected number is there, the barrier opens: its `round` goes up, which is what those that wait look at, and the
//! count starts anew. `bar.arrive` adds and does not wait.
//!
//! Exited lanes count only for a barrier that asks for the whole CTA (no count given).

use super::{check::clock::Knowledge, warp::Refused};
use crate::fault::FaultKind;

pub const BARRIERS: usize = 16;

#[derive(Clone, Default)]
pub struct Barrier {
    /// Lanes of each warp that have arrived in this round; a `bar.arrive` and a `bar.sync` of one warp both count.
    arrived: Vec<u32>,
    /// Full warps counted, in threads.
    counted: u32,
    /// Threads expected in this round; `None`: all of the CTA that live.
    expected: Option<Option<u32>>,
    /// How often it has opened.
    pub round: u64,
    /// Predicates of `barrier.red` that were true, and how many threads gave one.
    votes: (u32, u32),
    /// The votes of the last round.
    pub result: (u32, u32),
    gather: Knowledge,
    /// What those that wait for the last round learn.
    pub opened: Knowledge,
    /// First instruction to arrive in this round.
    pub first: u32,
}

/// One arrival.
pub struct Arrival {
    pub id: u32,
    pub warp: usize,
    pub lanes: u32,
    /// Lanes of the warp that live.
    pub live: u32,
    pub threads: Option<u32>,
    /// Lanes whose predicate is true.
    pub votes: u32,
    pub at: u32,
}

impl Barrier {
    pub fn arrive(&mut self, a: &Arrival, warps: usize, know: Option<&Knowledge>) -> Result<(), Refused> {
        let misuse = |message| Err((FaultKind::BarrierMisuse, message, None));
        if let Some(n) = a.threads
            && (n == 0 || n % 32 != 0)
        {
            return misuse(format!("barrier {} for {n} threads, which is not a multiple of 32", a.id));
        }
        if let Some(n) = a.threads
            && n as usize > 32 * warps
        {
            return misuse(format!("barrier {} for {n} threads; the CTA has {}", a.id, 32 * warps));
        }
        match self.expected {
            None => (self.expected, self.first) = (Some(a.threads), a.at),
            Some(before) if before.unwrap_or(32 * warps as u32) != a.threads.unwrap_or(32 * warps as u32) => {
                let say = |t: Option<u32>| t.map_or("all".to_string(), |n| n.to_string());
                let (here, there) = (say(a.threads), say(before));
                return misuse(format!("barrier {} for {here} threads; others wait for {there}", a.id));
            }
            Some(_) => {}
        }
        self.arrived.resize(warps, 0);
        if self.arrived[a.warp] & a.lanes != 0 {
            return misuse(format!("a lane arrives at barrier {} twice in one round", a.id));
        }
        self.arrived[a.warp] |= a.lanes;
        if self.arrived[a.warp] & a.live == a.live {
            // The warp is whole: from here on it counts 32.
            self.arrived[a.warp] = 0;
            self.counted += 32;
        }
        self.votes.0 += (a.votes & a.lanes).count_ones();
        self.votes.1 += a.lanes.count_ones();
        if let Some(k) = know {
            self.gather.join(k);
        }
        Ok(())
    }

    /// Lanes of a warp have exited; those of its lanes that wait may now be all that live.
    pub fn exited(&mut self, warp: usize, live: u32) {
        if let Some(arrived) = self.arrived.get_mut(warp)
            && *arrived != 0
            && *arrived & live == live
        {
            *arrived = 0;
            self.counted += 32;
        }
    }

    pub fn waits(&self) -> bool {
        self.expected.is_some()
    }

    /// Threads that are there, and that are expected. `exited`: warps that are done, in threads.
    pub fn progress(&self, warps: usize, exited: u32) -> (u32, u32) {
        let alone: u32 = self.arrived.iter().map(|m| m.count_ones()).sum();
        match self.expected {
            Some(Some(n)) => (self.counted + alone, n),
            _ => (self.counted + alone, (32 * warps as u32).saturating_sub(exited)),
        }
    }

    /// Opens if everybody is there.
    pub fn open_if_complete(&mut self, warps: usize, exited: u32) -> bool {
        let (there, expected) = self.progress(warps, exited);
        if !self.waits() || there < expected {
            return false;
        }
        self.round += 1;
        self.arrived.fill(0);
        (self.counted, self.expected) = (0, None);
        self.result = std::mem::take(&mut self.votes);
        self.opened = std::mem::take(&mut self.gather);
        true
    }
}

/// `barrier.cluster`: all threads of all CTAs of a cluster that have not exited.
#[derive(Clone, Default)]
pub struct ClusterBarrier {
    /// Lanes that have arrived in this round, by warp of the cluster.
    arrived: Vec<u32>,
    pub round: u64,
    gather: Knowledge,
    pub opened: Knowledge,
}

impl ClusterBarrier {
    pub fn arrive(&mut self, warp: usize, lanes: u32, know: Option<&Knowledge>) -> Result<(), Refused> {
        if warp >= self.arrived.len() {
            self.arrived.resize(warp + 1, 0);
        }
        if self.arrived[warp] & lanes != 0 {
            let message = "a thread arrives at the cluster barrier twice without a wait between".into();
            return Err((FaultKind::BarrierMisuse, message, None));
        }
        self.arrived[warp] |= lanes;
        if let Some(k) = know {
            self.gather.join(k);
        }
        Ok(())
    }

    /// Lanes of a warp that have arrived in this round.
    pub fn arrived_lanes(&self, warp: usize) -> u32 {
        self.arrived.get(warp).copied().unwrap_or(0)
    }

    /// Opens if every living lane has arrived. `live`: living lanes by warp of the cluster.
    pub fn open_if_complete(&mut self, live: &[u32]) -> bool {
        let there = |w: usize| self.arrived_lanes(w);
        if self.arrived.iter().all(|m| *m == 0) || !live.iter().enumerate().all(|(w, l)| there(w) & l == *l) {
            return false;
        }
        self.round += 1;
        self.arrived.fill(0);
        self.opened = std::mem::take(&mut self.gather);
        true
    }

    /// Warps of the cluster that have not all arrived.
    pub fn missing(&self, live: &[u32]) -> usize {
        live.iter().enumerate().filter(|(w, l)| self.arrived_lanes(*w) & **l != **l).count()
    }
}
