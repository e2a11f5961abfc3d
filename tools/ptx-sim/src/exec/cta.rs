//! A CTA: shared memory, barriers, and its warps in turn until all are done.

use super::{
    access::{Refused, Spaces, Watch},
    check::{CtaCheck, Defined, GlobalLog},
    grid::Launch,
    rows::Rows,
    warp::{Ask, Pause, Warp, WarpFault},
};
use crate::{
    fault::{Fault, FaultKind},
    ir::*,
    memory::Memory,
};

#[derive(Default)]
pub struct Shared {
    pub bytes: Vec<u8>,
    /// What `vprintf` wrote.
    pub printed: Vec<u8>,
}

#[derive(Clone, Default)]
struct Barrier {
    arrived: u32,
    /// Threads it waits for in this round.
    expected: u32,
    waiting: Vec<usize>,
    /// What those that arrived know of each other (check mode).
    clock: Vec<u32>,
}

/// What one CTA did.
#[derive(Default)]
pub struct Outcome {
    pub thread_instructions: u64,
    pub printed: Vec<u8>,
    pub findings: Vec<Fault>,
    pub log: GlobalLog,
}

const BARRIERS: usize = 16;
/// Instructions a warp runs before the next one gets its turn; few in check mode, so that warps interleave.
const SLICE: u64 = 4096;
const CHECKED_SLICE: u64 = 64;

/// Runs one CTA to its end.
pub fn run(launch: &Launch, memory: &Memory, ctaid: [u32; 3]) -> Result<Outcome, Fault> {
    let kernel = launch.kernel;
    let threads = launch.block.iter().product::<u32>();
    let warps = threads.div_ceil(32);
    let mut shared = Shared { bytes: vec![0; launch.shared_bytes()], ..Shared::default() };
    let mut all: Vec<Warp> = (0..warps)
        .map(|number| {
            let lanes = if (number + 1) * 32 <= threads { u32::MAX } else { (1 << (threads % 32)) - 1 };
            Warp::new(number, launch.initial_rows(ctaid, number), lanes, kernel.local_bytes)
        })
        .collect();
    let mut state: Vec<Pause> = vec![Pause::Preempted; all.len()];
    let mut barriers = vec![Barrier::default(); BARRIERS];
    let slice = if launch.check { CHECKED_SLICE } else { SLICE };
    let mut outcome = Outcome::default();
    let mut check = launch.check.then(|| CtaCheck::new(all.len(), launch.shared_bytes()));
    if launch.check {
        all.iter_mut().for_each(|w| w.defined = Some(initially_defined(kernel)));
    }
    loop {
        let mut progressed = false;
        for at in 0..all.len() {
            if state[at] != Pause::Preempted {
                continue;
            }
            progressed = true;
            let warp = &mut all[at];
            let mut local = std::mem::take(&mut warp.local);
            let spaces = Spaces {
                global: memory,
                shared: &mut shared,
                local: &mut local,
                local_bytes: kernel.local_bytes,
                params: launch.params,
                check: check.as_mut().map(|cta| Watch { cta, log: &mut outcome.log, warp: at, at: 0 }),
            };
            let mut arrived = None;
            let mut ask = |a: Ask| arrive(&mut barriers, at, threads, a).map(|id| arrived = Some(id));
            let paused = warp.run(kernel, launch.meets, spaces, slice, &mut ask);
            warp.local = local;
            if let (Some(id), Some(check)) = (arrived, &mut check) {
                check.arrive(at, &mut barriers[id].clock);
            }
            match paused {
                Ok(pause) => state[at] = pause,
                Err(fault) => return Err(locate(kernel, fault, ctaid, at as u32)),
            }
            if all[at].steps > launch.step_limit {
                let refused = (FaultKind::StepLimit, format!("more than {} steps", launch.step_limit), None);
                let position = all[at].position();
                return Err(locate(kernel, WarpFault { at: position, refused }, ctaid, at as u32));
            }
            release(&mut barriers, &mut state, threads, check.as_mut());
        }
        if state.iter().all(|s| *s == Pause::Done) {
            outcome.thread_instructions = all.iter().map(|w| w.work).sum();
            outcome.printed = shared.printed;
            let findings = check.map(|c| c.findings).unwrap_or_default();
            outcome.findings = findings.iter().map(|f| finding(kernel, f, ctaid)).collect();
            return Ok(outcome);
        }
        if !progressed {
            return Err(deadlock(kernel, &state, &all, ctaid));
        }
    }
}

/// Counts a warp in; the barrier's number.
fn arrive(barriers: &mut [Barrier], warp: usize, threads: u32, ask: Ask) -> Result<usize, Refused> {
    let Ask::Arrive { id, threads: wanted, wait, count } = ask;
    let Some(barrier) = barriers.get_mut(id as usize) else {
        return Err((FaultKind::Launch, format!("barrier {id}; there are {BARRIERS}"), None));
    };
    barrier.expected = wanted.unwrap_or(threads.next_multiple_of(32));
    barrier.arrived += count;
    if wait {
        barrier.waiting.push(warp);
    }
    Ok(id as usize)
}

/// Opens every barrier that all expected threads have reached. Exited warps count as arrived at barriers that ask for
/// the whole CTA.
fn release(barriers: &mut [Barrier], state: &mut [Pause], threads: u32, mut check: Option<&mut CtaCheck>) {
    let exited = 32 * state.iter().filter(|s| **s == Pause::Done).count() as u32;
    for barrier in barriers.iter_mut().filter(|b| b.arrived > 0) {
        let whole = barrier.expected == threads.next_multiple_of(32);
        if barrier.arrived + if whole { exited } else { 0 } >= barrier.expected {
            for warp in barrier.waiting.drain(..) {
                state[warp] = Pause::Preempted;
                if let Some(check) = &mut check {
                    check.leave(warp, &barrier.clock);
                }
            }
            barrier.arrived = 0;
            barrier.clock.clear();
        }
    }
}

/// Constants, special registers and parameters are defined; everything else starts undefined.
fn initially_defined(kernel: &Kernel) -> Defined {
    let mut defined = Defined::new(kernel.rows, kernel.preds);
    for (slot, constant) in &kernel.constants {
        match constant {
            Constant::Pred(_) => defined.define_pred(*slot),
            _ => {
                defined.define_row(*slot);
                if slot + 1 < kernel.rows && !kernel.is_register(slot + 1) {
                    defined.define_row(slot + 1);
                }
            }
        }
    }
    for (slot, _) in &kernel.specials {
        defined.define_row(*slot);
        defined.define_row(slot + 1);
    }
    defined
}

fn finding(kernel: &Kernel, f: &super::check::Finding, cta: [u32; 3]) -> Fault {
    let inst = &kernel.code[f.at as usize];
    let other = f.other.map(|o| format!(" (the other access: PTX line {})", kernel.code[o as usize].line));
    let message = format!("{}{}", f.message, other.unwrap_or_default());
    Fault { kind: f.kind, message, line: inst.line, loc: inst.loc, cta, warp: f.warp, lane: f.lane }
}

fn locate(kernel: &Kernel, fault: WarpFault, cta: [u32; 3], warp: u32) -> Fault {
    let inst = &kernel.code[fault.at as usize];
    let (kind, message, lane) = fault.refused;
    Fault { kind, message, line: inst.line, loc: inst.loc, cta, warp, lane }
}

fn deadlock(kernel: &Kernel, state: &[Pause], warps: &[Warp], cta: [u32; 3]) -> Fault {
    let waits: Vec<String> = state
        .iter()
        .zip(warps)
        .filter_map(|(s, w)| match s {
            Pause::Barrier(id) => {
                let line = kernel.code[w.position().saturating_sub(1) as usize].line;
                Some(format!("warp {} waits at barrier {id} (line {line})", w.number))
            }
            _ => None,
        })
        .collect();
    let done = state.iter().filter(|s| **s == Pause::Done).count();
    let message = format!("no warp can go on: {}; {done} warps are done", waits.join(", "));
    let first = warps.iter().zip(state).find(|(_, s)| **s != Pause::Done).map_or(0, |(w, _)| w.number);
    let inst = &kernel.code[warps[first as usize].position().saturating_sub(1) as usize];
    Fault { kind: FaultKind::Deadlock, message, line: inst.line, loc: inst.loc, cta, warp: first, lane: None }
}

/// Fills the rows that hold constants and special registers.
pub fn fill_rows(launch: &Launch, ctaid: [u32; 3], warp: u32) -> Rows {
    let kernel = launch.kernel;
    let mut rows = Rows::new(kernel.rows, kernel.preds);
    for (slot, constant) in &kernel.constants {
        match constant {
            Constant::Pred(value) => rows.set_pred(*slot, if *value { u32::MAX } else { 0 }, u32::MAX),
            Constant::Bits(value) => fill(&mut rows, *slot, *value),
            Constant::Global { name, offset } => {
                let base = launch.globals.get(name).copied().unwrap_or(0);
                fill(&mut rows, *slot, base.wrapping_add_signed(*offset));
            }
        }
    }
    let [bx, by, bz] = launch.block;
    let warps = (bx * by * bz).div_ceil(32);
    for (slot, special) in &kernel.specials {
        for lane in 0..32u32 {
            let thread = warp * 32 + lane;
            let value = match special {
                Special::Tid(0) => thread % bx,
                Special::Tid(1) => thread / bx % by,
                Special::Tid(_) => thread / bx / by % bz.max(1),
                Special::Ntid(n) => launch.block[*n as usize],
                Special::Ctaid(n) => ctaid[*n as usize],
                Special::Nctaid(n) => launch.grid[*n as usize],
                Special::LaneId => lane,
                Special::WarpId => warp,
                Special::NWarpId => warps,
                Special::LaneMaskEq => 1 << lane,
                Special::LaneMaskLt => (1 << lane) - 1,
                Special::LaneMaskLe => u32::MAX >> (31 - lane),
                Special::LaneMaskGt => !(u32::MAX >> (31 - lane)),
                Special::LaneMaskGe => !((1 << lane) - 1),
                Special::DynamicSmemSize => launch.dynamic_shared as u32,
                Special::TotalSmemSize => launch.shared_bytes() as u32,
                Special::NSmId => 132,
                // A cluster of one CTA, until clusters run.
                Special::ClusterNCtaId(_) | Special::ClusterNCtaRank => 1,
                Special::ClusterId(n) => ctaid[*n as usize],
                Special::NClusterId(n) => launch.grid[*n as usize],
                Special::ClusterCtaId(_) | Special::ClusterCtaRank => 0,
                Special::GridId | Special::SmId | Special::Zero => 0,
            };
            rows.row_mut(*slot)[lane as usize] = value;
        }
    }
    rows
}

fn fill(rows: &mut Rows, slot: Slot, value: u64) {
    *rows.row_mut(slot) = [value as u32; 32];
    // One-row constants are followed by somebody else's row; only wide ones have a high half to set.
    if value >> 32 != 0 {
        *rows.row_mut(slot + 1) = [(value >> 32) as u32; 32];
    }
}
