//! Barriers of all kinds, as far as time matters: who waits, and what lets them go.
//!
//! The simulator has seen to it that counts and phases are right; here an arrival is a number, and a waiter is a warp's
//! number. Each function gives the warps that go on.

use std::collections::HashMap;

/// `bar.sync`: one of the sixteen of a CTA.
#[derive(Clone, Debug, Default)]
pub struct NamedBarrier {
    /// Warps that have arrived, and of how many threads; none: all of the CTA that live.
    arrived: u32,
    threads: Option<Option<u32>>,
    waiting: Vec<usize>,
}

impl NamedBarrier {
    /// A warp arrives, and waits if it is named.
    pub fn arrive(&mut self, threads: Option<u32>, waits: Option<usize>, live: u32) -> Vec<usize> {
        self.threads = Some(threads);
        self.arrived += 1;
        self.waiting.extend(waits);
        self.open(live)
    }

    /// Opens if all are there. `live`: warps of the CTA.
    pub fn open(&mut self, live: u32) -> Vec<usize> {
        let Some(threads) = self.threads else { return vec![] };
        if self.arrived < threads.map_or(live, |n| n.div_ceil(32)) {
            return vec![];
        }
        (self.arrived, self.threads) = (0, None);
        std::mem::take(&mut self.waiting)
    }
}

/// An mbarrier.
#[derive(Clone, Debug, Default)]
pub struct Mbarrier {
    expected: i64,
    pending: i64,
    bytes: i64,
    phases: u32,
    waiting: Vec<(u32, usize)>,
}

impl Mbarrier {
    pub fn new(arrivals: u32) -> Mbarrier {
        let arrivals = arrivals as i64;
        Mbarrier { expected: arrivals, pending: arrivals, ..Mbarrier::default() }
    }

    /// Arrivals, and bytes that are expected (or, negative, have landed).
    pub fn signal(&mut self, arrivals: u32, bytes: i64) -> Vec<usize> {
        self.pending -= arrivals as i64;
        self.bytes += bytes;
        if self.pending > 0 || self.bytes != 0 {
            return vec![];
        }
        self.pending = self.expected;
        self.phases += 1;
        let phases = self.phases;
        let (go, stay) = self.waiting.iter().partition(|w| w.0 <= phases);
        self.waiting = stay;
        let go: Vec<(u32, usize)> = go;
        go.into_iter().map(|w| w.1).collect()
    }

    /// So many of those that arrive will not in later phases.
    pub fn drop(&mut self, arrivals: u32) {
        self.expected -= arrivals as i64;
    }

    /// One more arrival is to come in this phase.
    pub fn expect_arrival(&mut self) {
        self.pending += 1;
    }

    /// Whether so many phases are over; if not, the warp is let go when they are.
    pub fn wait(&mut self, phases: u32, warp: usize) -> bool {
        let over = self.phases >= phases;
        if !over {
            self.waiting.push((phases, warp));
        }
        over
    }
}

/// The barrier of a cluster.
#[derive(Clone, Debug, Default)]
pub struct ClusterBarrier {
    pub live: u32,
    arrived: u32,
    rounds: u32,
    waiting: Vec<usize>,
    /// When those who waited for the last round went on.
    opened: u64,
}

impl ClusterBarrier {
    /// Of so many warps.
    pub fn new(live: u32) -> ClusterBarrier {
        ClusterBarrier { live, ..ClusterBarrier::default() }
    }

    /// A warp arrives; the round that it will wait for.
    pub fn arrive(&mut self) -> u32 {
        self.arrived += 1;
        self.rounds + 1
    }

    /// Opens at a clock if all are there.
    pub fn open(&mut self, clock: u64) -> Vec<usize> {
        if self.arrived == 0 || self.arrived < self.live {
            return vec![];
        }
        self.arrived = 0;
        self.rounds += 1;
        self.opened = clock;
        std::mem::take(&mut self.waiting)
    }

    /// When a round was over; if it is not yet, the warp is let go when it is.
    pub fn wait(&mut self, round: u32, warp: usize) -> Option<u64> {
        if self.rounds >= round {
            return Some(self.opened);
        }
        self.waiting.push(warp);
        None
    }
}

/// The barriers of one CTA.
#[derive(Clone, Debug, Default)]
pub struct Barriers {
    pub named: [NamedBarrier; 16],
    pub mbarriers: HashMap<u32, Mbarrier>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_needs_arrivals_and_bytes() {
        let mut bar = Mbarrier::new(1);
        assert!(!bar.wait(1, 7));
        assert!(bar.signal(1, 64).is_empty());
        assert_eq!(bar.signal(0, -64), [7]);
        assert!(bar.wait(1, 7) && !bar.wait(2, 8));
    }

    #[test]
    fn a_barrier_opens_for_those_who_wait() {
        let mut bar = NamedBarrier::default();
        assert!(bar.arrive(Some(64), None, 8).is_empty());
        assert_eq!(bar.arrive(Some(64), Some(3), 8), [3]);
        // Of the whole CTA: four warps, one of which ends instead.
        for warp in 0..3 {
            assert!(bar.arrive(None, Some(warp), 4).is_empty());
        }
        assert_eq!(bar.open(3), [0, 1, 2]);
    }

    #[test]
    fn a_cluster_meets_in_rounds() {
        let mut bar = ClusterBarrier::new(2);
        let round = bar.arrive();
        assert!(bar.open(5).is_empty() && bar.wait(round, 0).is_none());
        bar.arrive();
        assert_eq!(bar.open(7), [0]);
        assert_eq!(bar.wait(round, 1), Some(7));
    }
}
