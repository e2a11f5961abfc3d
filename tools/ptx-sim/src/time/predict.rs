//! From the traces of a run to seconds for the whole grid.
//!
//! The busiest multiprocessor plays its clusters; when they are many, some are played and the rest is taken to go on at the
//! same pace. It takes no less than the longest cluster does alone. L2 and the memory are shared evenly. A byte that several CTAs read comes from the memory once: the
//! part of all requests that L2 must fetch is the bytes touched (by the samples, scaled to the grid, at most the size of
//! each allocation) by the bytes asked for.
//!
//! ```text
//! A of 128 MiB: a cluster reads 4 MiB of it, 1024 clusters ask for 4 GiB and touch 128 MiB:    1 in 32 comes from memory
//! y[i] = x[i]:  everything is asked for once:                                                  all of it does
//! ```

use super::{
    Stall,
    cost::{self, PARTITIONS},
    family,
    play::{Played, Stage, Stuck, play},
    sample::{Shares, shares},
    trace::ClusterTrace,
};
use crate::{Geometry, exec::count::Counters, ir::Kernel, memory::Memory, profile::Pipe};
use tile_target::{
    Target, rates,
    timing::{self, Timing},
};

/// Steps that are played at most; and clusters, in rounds of as many as fit at once.
const MOST_STEPS: u64 = 1 << 22;
const MOST_ROUNDS: u64 = 16;

/// A resource, and which part of the time it was in use.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Use {
    pub of: &'static str,
    pub share: f64,
}

/// Where warps lost time.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Lost {
    pub line: u32,
    pub source_line: u32,
    pub why: Stall,
    /// Of all that was lost.
    pub share: f64,
}

/// What a kernel would take.
#[derive(Clone, PartialEq, Debug)]
pub struct Prediction {
    pub target: &'static str,
    /// From launch to launch.
    pub seconds: f64,
    /// Of the busiest multiprocessor, and the clock they are at.
    pub clocks: f64,
    pub clock: f64,
    /// The resource in use most, or `latency` when none is in use half of the time.
    pub bound: &'static str,
    /// In use most first.
    pub uses: Vec<Use>,
    /// The worst first.
    pub lost: Vec<Lost>,
    pub shares: Shares,
    /// Bytes that come from or go to the memory.
    pub memory_bytes: f64,
    /// The family of kernels that were compared with measurements, if this is one of them.
    pub checked: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    #[error("no latencies are recorded for {0}")]
    UnknownTarget(&'static str),
    #[error("no cluster of the grid was traced")]
    NothingTraced,
    #[error("the traced CTAs execute too many instructions to keep")]
    TooLong,
    #[error("played again, a warp waits for ever at PTX line {line}")]
    Stuck { line: u32 },
}

/// Predicts the time of a counted run.
pub fn predict(
    kernel: &Kernel,
    geometry: &Geometry,
    counters: &Counters,
    memory: &Memory,
    target: &'static Target,
) -> Result<Prediction, TimeError> {
    let (Some(rates), Some(timing)) = (rates::rates(target), timing::timing(target)) else {
        return Err(TimeError::UnknownTarget(target.name));
    };
    let trace = counters.trace.as_ref().filter(|t| !t.clusters.is_empty()).ok_or(TimeError::NothingTraced)?;
    if trace.full {
        return Err(TimeError::TooLong);
    }
    let traces = &trace.clusters;
    let shares = shares(kernel, geometry, target);
    let traffic = Traffic::of(geometry, counters, memory, &shares);
    let bandwidth = rates.memory * timing.memory_share;
    let costs = cost::costs(kernel, rates, timing);
    // The clock is known when all has been played; what the memory gives in each depends on it.
    let assumed = match costs.iter().any(|c| c.products > 0.0) {
        true => timing.sustained_clock,
        false => timing.highest_clock,
    };
    let stage = Stage {
        costs: &costs,
        timing,
        registers: kernel.rows as usize + 2 + kernel.preds as usize,
        shared: rates.shared,
        l2: timing.l2_all / shares.groups as f64,
        memory: bandwidth / assumed / shares.groups as f64,
        miss: traffic.miss,
    };
    let played = whole(&stage, traces, &shares).map_err(|Stuck { at }| TimeError::Stuck {
        line: kernel.code.get(at as usize).map_or(0, |i| i.line),
    })?;
    let clock = clock(&played, &shares, rates.tensor, timing, target);
    let dispatch = (shares.clusters * shares.cluster_size) as f64 * timing.cta_dispatch;
    let seconds = (played.clocks.max(dispatch) / clock).max(traffic.bytes / bandwidth) + timing.launch;
    let uses = uses(&played, &shares, seconds, traffic.bytes / bandwidth);
    Ok(Prediction {
        target: target.name,
        seconds,
        clocks: played.clocks,
        clock,
        bound: uses.first().filter(|u| u.share >= 0.5).map_or("latency", |u| u.of),
        uses,
        lost: lost(kernel, &played.of),
        shares,
        memory_bytes: traffic.bytes,
        checked: family::checked(kernel, target),
    })
}

/// The clock that the device keeps, by what it does in each.
fn clock(whole: &Whole, shares: &Shares, peak: f64, timing: &Timing, target: &Target) -> f64 {
    let played = &whole.of;
    let partitions = (shares.cluster_size as usize * PARTITIONS) as f64 * played.clocks.max(1) as f64;
    let tensor = played.products / (peak / PARTITIONS as f64) / partitions;
    // Idle multiprocessors need little.
    let busy = (shares.groups * shares.cluster_size) as f64 / f64::from(target.sms);
    timing.clock(tensor * busy, played.issued / partitions * busy)
}

/// What goes over the memory's pins.
struct Traffic {
    bytes: f64,
    /// Of what L2 is asked for.
    miss: f64,
}

impl Traffic {
    fn of(geometry: &Geometry, counters: &Counters, memory: &Memory, shares: &Shares) -> Traffic {
        let counted = match &geometry.sample {
            Some(s) if s.only => s.clusters.len() as f64,
            _ => shares.clusters as f64,
        };
        let scale = shares.clusters as f64 / counted.max(1.0);
        let of = |(size, touched): (u64, u64)| (touched as f64 * scale).min(size.next_multiple_of(32) as f64);
        let bytes = counters.touched_of(memory).into_iter().map(of).sum::<f64>();
        let asked: u64 = counters.sites.iter().map(|s| s.sectors * 32).sum();
        Traffic { bytes, miss: (bytes / (asked as f64 * scale).max(1.0)).min(1.0) }
    }
}

/// The clusters of the busiest group, played or reckoned.
struct Whole {
    clocks: f64,
    /// What was played, and in how many clocks.
    of: Played,
}

fn whole(stage: &Stage, traces: &[ClusterTrace], shares: &Shares) -> Result<Whole, Stuck> {
    let steps = |c: &ClusterTrace| c.ctas.iter().flatten().map(|w| w.steps.len() as u64).sum::<u64>();
    let mean = traces.iter().map(steps).sum::<u64>() / traces.len() as u64;
    let most = (MOST_STEPS / mean.max(1)).clamp(2, MOST_ROUNDS * shares.places).max(shares.places);
    let count = shares.each.min(most);
    // Spread over the samples, so that a part of them stands for the grid as well.
    let pick = |n: u64, of: u64| &traces[(n * traces.len() as u64 / of) as usize % traces.len()];
    let run = |count: u64| {
        let order: Vec<&ClusterTrace> = (0..count).map(|n| pick(n, count)).collect();
        play(stage, &order, shares.places as usize)
    };
    let longest = traces.iter().max_by_key(|c| steps(c)).unwrap_or(&traces[0]);
    let alone = play(stage, &vec![longest; shares.places.min(shares.each) as usize], shares.places as usize)?;
    if shares.each <= shares.places {
        return Ok(Whole { clocks: alone.clocks as f64, of: alone });
    }
    let of = run(count)?;
    let mut clocks = of.clocks.max(alone.clocks) as f64;
    if count < shares.each {
        // The first and the last round differ from those between.
        let half = run(count / 2)?;
        let pace = (of.clocks - half.clocks) as f64 / (count - count / 2) as f64;
        clocks += pace * (shares.each - count) as f64;
    }
    Ok(Whole { clocks, of })
}

fn uses(whole: &Whole, shares: &Shares, seconds: f64, memory_seconds: f64) -> Vec<Use> {
    let played = &whole.of;
    let clocks = played.clocks.max(1) as f64;
    let sms = shares.cluster_size as f64;
    let partitions = sms * PARTITIONS as f64;
    let pipe = |p: Pipe| Use { of: p.name(), share: played.pipes[p as usize] / partitions / clocks };
    let busy = |p: &Pipe| !matches!(p, Pipe::Memory | Pipe::Control);
    let mut uses: Vec<Use> = Pipe::ALL.into_iter().filter(busy).map(pipe).collect();
    uses.push(Use { of: "issue", share: played.issued / partitions / clocks });
    uses.push(Use { of: "shared memory", share: played.shared / sms / clocks });
    uses.push(Use { of: "L2", share: (played.l2 / clocks).max(played.l2_port / sms / clocks) });
    uses.push(Use { of: "global memory", share: memory_seconds / seconds });
    uses.retain(|u| u.share > 0.0);
    uses.sort_by(|a, b| b.share.total_cmp(&a.share));
    uses
}

fn lost(kernel: &Kernel, played: &Played) -> Vec<Lost> {
    let total: u64 = played.stalls.iter().flatten().sum();
    let mut out = vec![];
    for (inst, stalls) in kernel.code.iter().zip(&played.stalls) {
        for (why, clocks) in Stall::ALL.into_iter().zip(stalls).filter(|(_, c)| **c > 0) {
            let share = *clocks as f64 / total as f64;
            out.push(Lost { line: inst.line, source_line: inst.loc.1, why, share });
        }
    }
    out.sort_by(|a, b| b.share.total_cmp(&a.share).then(a.line.cmp(&b.line)));
    out
}
