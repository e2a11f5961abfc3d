//! What the warps of a few CTAs executed, step by step, for the model of time to play again.
//!
//! A *step* is one executed instruction with what it cost the memories. What it means to others (a barrier, an mbarrier, a
//! copy on its way) is an *effect* of the step:
//!
//! ```text
//! warp 0   mbarrier.arrive.expect_tx [full], 16384    step 41, Arrive { bar: full, arrivals: 1, bytes: 16384 }
//!          cp.async.bulk.tensor … [full]              step 42, Bulk { bytes: 16384, sectors: 512, done: full }
//! warp 4   mbarrier.try_wait.parity [full], 0         failed: no step
//!          mbarrier.try_wait.parity [full], 0         passed: step 17, Wait { full, phases: 1 }
//! ```
//!
//! The simulator decides *what* happens, the model *when*: a wait that failed here leaves no trace, and one that passed
//! says which phase it needed, not how long that took.

use crate::{
    exec::{rows::Rows, world::Me},
    ir::*,
};

/// Steps and effects that are kept of one machine.
const MOST_STEPS: usize = 1 << 25;

/// Which clusters of a grid are traced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// By number, ascending.
    pub clusters: Vec<u64>,
    /// Run no others, and leave out the values of tensor products. What a kernel does must not depend on those:
    /// [`super::taint`] looks.
    pub only: bool,
}

/// One executed instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub at: u32,
    /// Sectors of global memory and wavefronts of shared memory.
    pub sectors: u8,
    pub wavefronts: u8,
    /// False when the guard left no lane.
    pub active: bool,
}

/// An mbarrier of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    pub rank: u32,
    pub at: u32,
}

/// What a step means to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    Init {
        at: u32,
        arrivals: u32,
    },
    /// `bytes`: how many more are expected.
    Arrive {
        bar: Bar,
        arrivals: u32,
        drop: bool,
        bytes: i64,
    },
    /// Goes on when so many phases are complete.
    Wait {
        at: u32,
        phases: u32,
    },
    /// Arrives when the warp's `cp.async` so far have landed; `expected`: the arrival was part of the count.
    CopiesArrive {
        at: u32,
        expected: bool,
    },
    Bulk(BulkCopy),
    Barrier {
        id: u32,
        threads: Option<u32>,
        wait: bool,
    },
}

/// A copy by the copy engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkCopy {
    /// Into each receiver, or out of shared memory.
    pub bytes: u32,
    /// Of global memory.
    pub sectors: u32,
    /// Ranks whose shared memory receives; none for a store.
    pub receivers: Vec<u32>,
    pub done: Signal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Bytes at the mbarrier at this offset of each receiver.
    Mbarrier(u32),
    Group,
    Nothing,
}

#[derive(Clone, Debug, Default)]
pub struct WarpTrace {
    pub steps: Vec<Step>,
    /// In the order of the steps whose number they bear.
    pub effects: Vec<(u32, Effect)>,
}

/// The CTAs of a cluster by rank, each with its warps.
#[derive(Clone, Debug)]
pub struct ClusterTrace {
    pub number: u64,
    pub ctas: Vec<Vec<WarpTrace>>,
}

/// Traces of one machine while it runs.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    wanted: Vec<u64>,
    cluster_size: usize,
    warps: usize,
    steps: usize,
    /// The trace of the cluster at each place of the machine, if it is wanted.
    places: Vec<Option<usize>>,
    pub clusters: Vec<ClusterTrace>,
    /// A trace was cut off.
    pub full: bool,
}

impl Recorder {
    pub fn new(sample: &Sample, cluster_size: usize, warps: usize) -> Recorder {
        Recorder { wanted: sample.clusters.clone(), cluster_size, warps, ..Recorder::default() }
    }

    /// Adds what was recorded of another machine.
    pub fn append(&mut self, mut other: Recorder) {
        self.clusters.append(&mut other.clusters);
        self.full |= other.full;
    }

    /// A cluster begins at a place of the machine.
    pub fn begin(&mut self, place: usize, number: u64) {
        self.places.resize(self.places.len().max(place + 1), None);
        self.places[place] = self.wanted.contains(&number).then(|| {
            let ctas = vec![vec![WarpTrace::default(); self.warps]; self.cluster_size];
            self.clusters.push(ClusterTrace { number, ctas });
            self.clusters.len() - 1
        });
    }

    fn warp(&mut self, me: Me) -> Option<&mut WarpTrace> {
        // One that nobody asked for knows of no clusters.
        let place = me.cta.checked_div(self.cluster_size)?;
        let trace = (*self.places.get(place)?)?;
        Some(&mut self.clusters[trace].ctas[me.cta % self.cluster_size][me.number])
    }

    /// A warp is about to execute an instruction.
    pub fn step(&mut self, me: Me, op: &Op, active: u32, rows: &Rows, (sectors, wavefronts): (u64, u64)) {
        self.full |= self.steps >= MOST_STEPS;
        if self.full {
            return;
        }
        let Some(warp) = self.warp(me) else { return };
        let clamp = |n: u64| n.min(u8::MAX as u64) as u8;
        let (sectors, wavefronts) = (clamp(sectors), clamp(wavefronts));
        warp.steps.push(Step { at: me.at, sectors, wavefronts, active: active != 0 });
        self.steps += 1;
        if let Some(barrier) = barrier(op, active, rows) {
            self.effect(me, barrier);
        }
    }

    /// It has to wait, and will come again.
    pub fn undo(&mut self, me: Me) {
        if self.full {
            return;
        }
        let Some(warp) = self.warp(me) else { return };
        warp.steps.pop();
        let steps = warp.steps.len() as u32;
        let kept = warp.effects.partition_point(|e| e.0 < steps);
        let undone = 1 + warp.effects.len() - kept;
        warp.effects.truncate(kept);
        self.steps -= undone;
    }

    /// What the last step of a warp means to others.
    pub fn effect(&mut self, me: Me, effect: Effect) {
        if self.full {
            return;
        }
        let Some(warp) = self.warp(me) else { return };
        let step = (warp.steps.len() as u32).saturating_sub(1);
        warp.effects.push((step, effect));
        self.steps += 1;
    }
}

/// The effect of `bar.sync` and its like, whose operands are registers.
fn barrier(op: &Op, active: u32, rows: &Rows) -> Option<Effect> {
    if active == 0 {
        return None;
    }
    let lane = active.trailing_zeros() as usize;
    let value = |slot: Slot| rows.row(slot)[lane];
    match op {
        Op::Barrier { id, count, wait, .. } => {
            Some(Effect::Barrier { id: value(*id), threads: count.map(value), wait: *wait })
        }
        Op::BarrierReduce { id, count, .. } => {
            Some(Effect::Barrier { id: value(*id), threads: count.map(value), wait: true })
        }
        _ => None,
    }
}
