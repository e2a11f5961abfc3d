//! Plays the traces of CTAs on multiprocessors: what happens when.
//!
//! Warps run in order. A step is issued when its operands are there, what it waits for has come, and its partition's issue
//! slot and pipe are free; it then keeps the pipe busy and names the clock at which its results are there. Nothing waits for
//! an asynchronous operation until a step says so. Steps are taken in the order of time, so every queue is served
//! in the order in which requests come:
//!
//! ```text
//! clock   warp 0 (partition 0)                    warp 4 (partition 0)
//!   100   ldmatrix: port for 4, there at 133      -
//!   101   needs it: stalls until 133 (shared)     mma: tensor core for 7
//!   102   -                                       mma: stalls until 108 (busy)
//!   133   mma
//! ```
//!
//! A cluster of n CTAs is played on n multiprocessors that share their part of L2 and of the device's memory.

mod effects;

use super::{
    Stall,
    cost::{Cost, Kind, PARTITIONS},
    resource::Channel,
    sync::{Barriers, ClusterBarrier},
    trace::{ClusterTrace, Step, WarpTrace},
};
use crate::profile::Pipe;
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};
use tile_target::timing::Timing;

/// Arrivals at `bar.sync` that a multiprocessor counts in a clock: measured, 12 clocks and 2 for each warp.
const BARRIER_ARRIVALS: f64 = 0.5;

/// Wavefronts that may wait at the port of shared memory before a warp that has more stands still.
const PORT_QUEUE: u64 = 32;

/// What the traces are played on.
pub struct Stage<'a> {
    pub costs: &'a [Cost],
    pub timing: &'a Timing,
    /// Rows and predicates of a warp.
    pub registers: usize,
    /// Wavefronts a clock.
    pub shared: f64,
    /// Bytes per clock that L2 and the memory give to the multiprocessors of one cluster.
    pub l2: f64,
    pub memory: f64,
    /// Part of the bytes that L2 has to fetch.
    pub miss: f64,
}

/// What came out.
#[derive(Clone, Debug, Default)]
pub struct Played {
    pub clocks: u64,
    /// Clocks in which each pipe was busy, over all partitions, in the order of [`Pipe::ALL`]; and issue slots used.
    pub pipes: [f64; Pipe::ALL.len()],
    pub issued: f64,
    /// Multiply-adds of the tensor cores.
    pub products: f64,
    /// Of the port to L1 and shared memory, of L2's port, of L2, and of the memory.
    pub shared: f64,
    pub l2_port: f64,
    pub l2: f64,
    pub memory: f64,
    /// Warp-clocks lost, by instruction and reason.
    pub stalls: Vec<[u64; Stall::ALL.len()]>,
}

/// A warp that never goes on: the trace is not one of a kernel that ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    pub at: u32,
}

#[derive(Clone, Copy, Default)]
struct Ready {
    clock: u64,
    by: Stall,
}

struct Warp<'a> {
    trace: &'a WarpTrace,
    cta: usize,
    partition: usize,
    step: usize,
    effect: usize,
    ready: Vec<Ready>,
    /// When it has begun to wait for others, and why.
    parked: Option<(u64, Stall)>,
    copies: Groups,
    products: Groups,
    bulk: Groups,
    /// Round of the cluster's barrier that it has arrived in.
    round: u32,
}

/// Asynchronous operations in groups, by when they end.
#[derive(Default)]
struct Groups {
    open: u64,
    committed: VecDeque<u64>,
}

impl Groups {
    fn add(&mut self, end: u64) {
        self.open = self.open.max(end);
    }

    fn commit(&mut self) {
        // Groups end in their order.
        let end = self.open.max(self.committed.back().copied().unwrap_or(0));
        self.committed.push_back(end);
        self.open = 0;
    }

    /// When all but the last `pending` groups are over.
    fn over(&mut self, pending: u32) -> u64 {
        while self.committed.len() > pending as usize + 1 {
            self.committed.pop_front();
        }
        let done = self.committed.len().checked_sub(pending as usize + 1);
        done.and_then(|n| self.committed.get(n)).copied().unwrap_or(0)
    }

    fn all(&self) -> u64 {
        self.open.max(self.committed.back().copied().unwrap_or(0))
    }
}

struct Cta {
    cluster: usize,
    sm: usize,
    live: u32,
    barriers: Barriers,
}

struct Cluster {
    /// First of its CTAs.
    first: usize,
    live: u32,
    barrier: ClusterBarrier,
}

#[derive(Clone, Default)]
struct Partition {
    issue: u64,
    pipes: [u64; Pipe::ALL.len()],
}

struct Sm {
    partitions: [Partition; PARTITIONS],
    shared: Channel,
    l2: Channel,
    /// Counts arrivals at barriers.
    barriers: Channel,
}

/// What comes at a clock; landings before warps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Land(usize),
    Warp(usize),
}

/// A signal on its way to an mbarrier.
struct Landing {
    cta: usize,
    at: u32,
    arrivals: u32,
    bytes: i64,
}

/// How a step left its warp.
enum After {
    /// On, at this clock.
    At(u64),
    /// Waits for others.
    Parked,
    Ended,
}

struct Player<'a> {
    stage: &'a Stage<'a>,
    sms: Vec<Sm>,
    l2: Channel,
    memory: Channel,
    warps: Vec<Warp<'a>>,
    ctas: Vec<Cta>,
    clusters: Vec<Cluster>,
    landings: Vec<Landing>,
    events: BinaryHeap<Reverse<(u64, Event)>>,
    /// Clusters that have not begun.
    left: VecDeque<&'a ClusterTrace>,
    out: Played,
}

/// Plays clusters in their order, `places` at a time.
pub fn play<'a>(stage: &Stage<'a>, clusters: &[&'a ClusterTrace], places: usize) -> Result<Played, Stuck> {
    let size = clusters.first().map_or(1, |c| c.ctas.len());
    let sm = || Sm {
        partitions: Default::default(),
        shared: Channel::new(stage.shared),
        l2: Channel::new(stage.timing.l2_port),
        barriers: Channel::new(BARRIER_ARRIVALS),
    };
    let mut player = Player {
        stage,
        sms: (0..size).map(|_| sm()).collect(),
        l2: Channel::new(stage.l2),
        memory: Channel::new(stage.memory),
        warps: vec![],
        ctas: vec![],
        clusters: vec![],
        landings: vec![],
        events: BinaryHeap::new(),
        left: clusters.iter().copied().collect(),
        out: Played { stalls: vec![[0; Stall::ALL.len()]; stage.costs.len()], ..Played::default() },
    };
    for _ in 0..places {
        player.begin(0);
    }
    player.run()?;
    Ok(player.finish())
}

impl<'a> Player<'a> {
    /// The next cluster begins, if there is one.
    fn begin(&mut self, now: u64) {
        let Some(trace) = self.left.pop_front() else { return };
        let (cluster, first) = (self.clusters.len(), self.ctas.len());
        let warps = trace.ctas.iter().map(|c| c.len() as u32).sum();
        self.clusters.push(Cluster { first, live: warps, barrier: ClusterBarrier::new(warps) });
        for (sm, cta) in trace.ctas.iter().enumerate() {
            let live = cta.len() as u32;
            self.ctas.push(Cta { cluster, sm, live, barriers: Barriers::default() });
            for (number, trace) in cta.iter().enumerate() {
                self.events.push(Reverse((now, Event::Warp(self.warps.len()))));
                self.warps.push(Warp {
                    trace,
                    cta: first + sm,
                    partition: number % PARTITIONS,
                    step: 0,
                    effect: 0,
                    ready: vec![Ready::default(); self.stage.registers],
                    parked: None,
                    copies: Groups::default(),
                    products: Groups::default(),
                    bulk: Groups::default(),
                    round: 0,
                });
            }
        }
    }

    fn run(&mut self) -> Result<(), Stuck> {
        while let Some(Reverse((now, event))) = self.events.pop() {
            self.out.clocks = self.out.clocks.max(now);
            match event {
                Event::Land(n) => {
                    let Landing { cta, at, arrivals, bytes } = self.landings[n];
                    self.signal(cta, at, arrivals, bytes, now);
                }
                Event::Warp(w) => self.warp(w, now),
            }
        }
        match self.warps.iter().find(|w| w.step < w.trace.steps.len() || w.parked.is_some()) {
            Some(w) => Err(Stuck { at: w.trace.steps.get(w.step.saturating_sub(1)).map_or(0, |s| s.at) }),
            None => Ok(()),
        }
    }

    fn finish(mut self) -> Played {
        for sm in &self.sms {
            self.out.shared += sm.shared.busy;
            self.out.l2_port += sm.l2.busy;
            // What nobody waits for has to be served all the same.
            self.out.clocks = self.out.clocks.max(sm.shared.free()).max(sm.l2.free());
        }
        self.out.clocks = self.out.clocks.max(self.l2.free()).max(self.memory.free());
        (self.out.l2, self.out.memory) = (self.l2.busy, self.memory.busy);
        self.out
    }

    /// A warp goes on for as long as nobody else comes first.
    fn warp(&mut self, w: usize, mut now: u64) {
        if let Some((since, why)) = self.warps[w].parked.take() {
            let before = self.warps[w].step - 1;
            self.stall(self.warps[w].trace.steps[before].at, why, now - since);
        }
        loop {
            match self.step(w, now) {
                After::At(next) => {
                    if next > now && self.events.peek().is_some_and(|Reverse((t, _))| *t <= next) {
                        return self.events.push(Reverse((next, Event::Warp(w))));
                    }
                    now = next;
                }
                After::Parked => return,
                After::Ended => return self.ended(w, now),
            }
        }
    }

    fn stall(&mut self, at: u32, why: Stall, clocks: u64) {
        self.out.stalls[at as usize][why as usize] += clocks;
    }

    /// The next step of a warp: issued, or put off.
    fn step(&mut self, w: usize, now: u64) -> After {
        let warp = &mut self.warps[w];
        let Some(&step) = warp.trace.steps.get(warp.step) else { return After::Ended };
        let cost = &self.stage.costs[step.at as usize];
        let mut start = Ready { clock: now, by: Stall::Busy };
        let later = |start: &mut Ready, clock, by| {
            if clock > start.clock {
                *start = Ready { clock, by };
            }
        };
        for &r in &cost.uses {
            let ready = warp.ready[r as usize];
            later(&mut start, ready.clock, ready.by);
        }
        if cost.kind == Kind::Removed {
            // Whoever needs the result waits for the operand.
            cost.defs.iter().for_each(|&d| warp.ready[d as usize] = start);
            warp.step += 1;
            return After::At(now);
        }
        match cost.kind {
            Kind::CopyWait { all: true, .. } => later(&mut start, warp.copies.all(), Stall::Copy),
            Kind::CopyWait { pending, .. } => later(&mut start, warp.copies.over(pending), Stall::Copy),
            Kind::WgmmaWait { pending } => later(&mut start, warp.products.over(pending), Stall::Tensor),
            Kind::BulkWait { pending } => later(&mut start, warp.bulk.over(pending), Stall::Copy),
            Kind::Memory | Kind::CopyAsync => {
                let port = &self.sms[self.ctas[warp.cta].sm].shared;
                later(&mut start, port.free().saturating_sub(PORT_QUEUE), Stall::Busy);
            }
            _ => {}
        }
        let partition = &mut self.sms[self.ctas[warp.cta].sm].partitions[warp.partition];
        // A wgmma goes into the tensor core's queue and does not wait for it.
        let queued = matches!(cost.kind, Kind::Wgmma { .. });
        let pipe = if queued { 0 } else { partition.pipes[cost.pipe as usize] };
        later(&mut start, partition.issue.max(pipe), Stall::Busy);
        if start.clock > now {
            self.stall(step.at, start.by, start.clock - now);
            return After::At(start.clock);
        }
        partition.issue = now + cost.slots;
        if !queued {
            partition.pipes[cost.pipe as usize] = now + cost.busy;
        }
        self.out.pipes[cost.pipe as usize] += cost.busy as f64;
        self.out.issued += cost.slots as f64;
        self.out.products += cost.products;
        warp.step += 1;
        let after = now + cost.slots.max(cost.holds);
        let ready = if step.active { self.operate(w, cost, step, now) } else { None };
        let ready = ready.unwrap_or(Ready { clock: now + cost.latency, by: by(cost.pipe) });
        let warp = &mut self.warps[w];
        cost.defs.iter().for_each(|&d| warp.ready[d as usize] = ready);
        if self.effects(w, now + cost.holds) {
            return After::Parked;
        }
        After::At(after)
    }

    /// What an instruction does beyond its pipe; when its results are there, if that is not by its latency.
    fn operate(&mut self, w: usize, cost: &Cost, step: Step, now: u64) -> Option<Ready> {
        let sm = self.ctas[self.warps[w].cta].sm;
        match cost.kind {
            Kind::Memory | Kind::CopyAsync => {
                let ready = self.access(sm, step, cost.latency, now);
                if cost.kind == Kind::CopyAsync {
                    self.warps[w].copies.add(ready.clock);
                }
                return Some(ready);
            }
            Kind::Wgmma { wavefronts } => {
                // It reads its operands bit by bit while it runs; the port serves others in between.
                self.sms[sm].shared.use_between(wavefronts);
                let warp = &mut self.warps[w];
                let core = &mut self.sms[sm].partitions[warp.partition].pipes[Pipe::Tensor as usize];
                *core = (*core).max(now) + cost.busy;
                let end = *core + self.stage.timing.wgmma as u64;
                warp.products.add(end);
            }
            Kind::CopyCommit => self.warps[w].copies.commit(),
            Kind::CopyWait { all: true, .. } => self.warps[w].copies.commit(),
            Kind::WgmmaCommit => self.warps[w].products.commit(),
            Kind::BulkCommit => self.warps[w].bulk.commit(),
            Kind::ClusterArrive => {
                let cluster = self.ctas[self.warps[w].cta].cluster;
                self.warps[w].round = self.clusters[cluster].barrier.arrive();
                self.open_cluster(cluster, now + cost.holds);
            }
            _ => {}
        }
        None
    }

    fn ended(&mut self, w: usize, now: u64) {
        let cta = self.warps[w].cta;
        self.warps[w].ready = vec![];
        // Stores that nobody waits for end with the CTA.
        let now = now.max(self.warps[w].bulk.all());
        self.out.clocks = self.out.clocks.max(now);
        let c = &mut self.ctas[cta];
        c.live -= 1;
        let live = c.live;
        let go: Vec<usize> = c.barriers.named.iter_mut().flat_map(|b| b.open(live)).collect();
        self.wake(go, now + self.stage.timing.barrier as u64);
        let cluster = self.ctas[cta].cluster;
        let state = &mut self.clusters[cluster];
        state.live -= 1;
        state.barrier.live = state.live;
        if state.live == 0 {
            return self.begin(now + self.stage.timing.cta_start as u64);
        }
        self.open_cluster(cluster, now);
    }
}

/// Why a step waits for the result of another that used this pipe.
fn by(pipe: Pipe) -> Stall {
    match pipe {
        Pipe::Tensor => Stall::Tensor,
        Pipe::Memory => Stall::Shared,
        _ => Stall::Arithmetic,
    }
}
