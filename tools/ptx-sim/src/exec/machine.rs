//! CTAs that run together, on one host thread: in turn, until all are done or nobody can go on.
//!
//! A *round* gives every warp a slice of instructions. When no warp can run, or a number of rounds changed nothing that
//! another agent could see, the oldest asynchronous operation takes effect; when there is none, waits that may give up
//! (`try_wait`) are told to. A machine that comes back to a state it was in, with nothing changed in between and nothing on its
//! way, will do so for ever, because it is deterministic: that is a deadlock, spinning warps included.
//!
//! ```text
//! warp 0: waits for mbarrier A, phase 0     warp 1: spins on `ld.acquire [flag]`
//! nothing on its way; warp 0 is told to give up, tries again, waits: the state of before: deadlock
//! ```
//!
//! The comparison takes the registers of all warps, so a loop that counts is not mistaken for one that spins; it ends at
//! the step limit.

use super::{
    barrier::BARRIERS,
    check::{Defined, ShadowUse, intervals::GlobalLog},
    count::Counters,
    cta::Cta,
    cta_order::Order,
    cycle::Cycle,
    divergence::{Goal, Wait},
    launch::Launch,
    registers,
    warp::{Pause, Refused, Warp},
    world::World,
};
use crate::{
    fault::{Fault, FaultKind, Severity},
    memory::Memory,
};

/// What a machine did.
#[derive(Default)]
pub struct Outcome {
    pub thread_instructions: u64,
    /// What `vprintf` wrote.
    pub printed: Vec<u8>,
    pub findings: Vec<Fault>,
    pub log: GlobalLog,
    pub shadow: ShadowUse,
    pub counters: Option<Box<Counters>>,
}

/// Instructions a warp runs before the next one gets its turn; few in check mode, so that warps interleave.
const SLICE: u64 = 4096;
const CHECKED_SLICE: u64 = 64;
/// Rounds without a visible change after which something asynchronous lands.
const PATIENCE: u64 = 8;
const MOST_PATIENCE: u64 = 128;

pub struct Machine<'a> {
    warps: Vec<Warp>,
    paused: Vec<Pause>,
    world: World<'a>,
    /// Clusters not begun yet: places in `order`, which counts from `first`.
    next: u64,
    end: u64,
    first: u64,
    order: Order,
    work: u64,
    cycle: Cycle,
}

/// Runs clusters `first..end`, at most `places` at a time. `alone`: no other machine runs beside this one.
pub fn run(
    launch: &Launch,
    memory: &Memory,
    first: u64,
    end: u64,
    places: usize,
    alone: bool,
) -> Result<Outcome, Fault> {
    let clusters = places.min((end - first) as usize);
    let ctas = clusters * launch.cluster_size();
    let mut machine = Machine {
        warps: vec![],
        paused: vec![],
        world: World::new(launch, memory, ctas, clusters, alone, first),
        next: first,
        end,
        first,
        order: Order::new(launch.cta_order, end - first),
        work: 0,
        cycle: Cycle::default(),
    };
    for place in 0..clusters {
        machine.begin(place);
    }
    match machine.rounds() {
        Ok(()) => Ok(machine.finish()),
        Err(refused) => Err(machine.locate(refused)),
    }
}

impl<'a> Machine<'a> {
    /// The next cluster begins at a place; the CTAs that were there are gone.
    fn begin(&mut self, place: usize) {
        let launch = self.world.launch;
        let (size, warps) = (launch.cluster_size(), launch.warps());
        let cluster = self.first + self.order.at(self.next - self.first);
        for rank in 0..size {
            let cta = place * size + rank;
            let seat = launch.seat(cluster, rank as u32);
            let fresh = Cta::new(launch, seat);
            if let Some(check) = &mut self.world.check {
                check.begin(cta, seat.ctaid, launch.shared_bytes());
            }
            for number in 0..warps {
                let agent = cta * warps + number;
                let rows = launch.initial_rows(seat, number as u32);
                let bytes = launch.kernel.local_bytes;
                let mut warp = Warp::new(cta, number, agent, rows, fresh.live[number], bytes);
                if let Some(taint) = &mut self.world.taint {
                    taint.begin(agent);
                }
                warp.defined = launch.check.then(|| Defined::at_start(launch.kernel));
                match self.warps.get_mut(agent) {
                    Some(old) => (*old, self.paused[agent]) = (warp, Pause::Preempted),
                    None => {
                        self.warps.push(warp);
                        self.paused.push(Pause::Preempted);
                    }
                }
            }
            match self.world.ctas.get_mut(cta) {
                Some(old) => *old = fresh,
                None => self.world.ctas.push(fresh),
            }
        }
        self.world.cluster_barriers[place] = Default::default();
        if let Some(counters) = &mut self.world.counters {
            if let Some(trace) = &mut counters.trace {
                trace.begin(place, cluster);
            }
            counters.ctas += size as u64;
        }
        self.next += 1;
    }

    fn rounds(&mut self) -> Result<(), Refused> {
        let slice = if self.world.launch.check { CHECKED_SLICE } else { SLICE };
        let (mut quiet, mut changes) = (0, self.world.changes);
        let mut patience = PATIENCE;
        loop {
            let ran = self.round(slice)?;
            if self.paused.iter().all(|p| *p == Pause::Done) {
                return self.world.land_all();
            }
            if self.world.changes != changes {
                (quiet, patience, changes) = (0, PATIENCE, self.world.changes);
            }
            quiet += 1;
            if ran && quiet <= patience {
                continue;
            }
            quiet = 0;
            if self.world.land_oldest()? {
                continue;
            }
            // Long computations are quiet, too: look less and less often.
            patience = (2 * patience).min(MOST_PATIENCE);
            if !self.returned() {
                self.give_up();
                continue;
            }
            let freed = self.warps.iter_mut().fold(false, |any, w| any | w.let_go());
            if !freed {
                return Err(self.deadlock());
            }
            self.cycle.forget();
        }
    }

    /// A slice for every warp; whether any ran.
    fn round(&mut self, slice: u64) -> Result<bool, Refused> {
        let mut ran = false;
        for at in 0..self.warps.len() {
            if self.paused[at] == Pause::Done {
                continue;
            }
            let warp = &mut self.warps[at];
            let before = warp.steps;
            let paused = warp.run(&mut self.world, slice)?;
            self.world.now += warp.steps - before;
            ran |= warp.steps != before;
            self.paused[at] = paused;
            if warp.steps > self.world.launch.step_limit {
                let limit = self.world.launch.step_limit;
                return Err((FaultKind::StepLimit, format!("more than {limit} steps"), None));
            }
            self.world.land_due()?;
            if paused == Pause::Done {
                self.work += warp.work;
                if let Some(check) = &mut self.world.check {
                    warp.tensor.finish(check, at);
                }
                self.ended(at)?;
            }
        }
        Ok(ran)
    }

    /// A warp is done: perhaps its CTA is, and the whole cluster, and another one may begin.
    fn ended(&mut self, at: usize) -> Result<(), Refused> {
        let cta = self.warps[at].cta;
        if self.world.ctas[cta].alive() {
            return Ok(());
        }
        super::tensor_core::check_end(&mut self.world, cta);
        registers::check_end(&mut self.world, cta);
        if let Some(check) = &mut self.world.check {
            check.report_late_visits(cta);
        }
        if let (Some(bulk), true) = (self.world.agents.using(cta), self.world.check.is_some()) {
            let (issuer, lane) = (bulk.issuer, bulk.lane as u32);
            self.world.me = issuer;
            let message = "a CTA ends while this copy still uses its shared memory".into();
            self.world.report(FaultKind::Lifetime, Some(lane), message);
        }
        let size = self.world.launch.cluster_size();
        let place = cta / size;
        let over = self.world.ctas[place * size..(place + 1) * size].iter().all(|c| !c.alive());
        if over && self.next < self.end {
            // What its CTAs left on the way lands in the memory they had.
            self.world.land_all()?;
            self.begin(place);
            self.world.changes += 1;
        }
        Ok(())
    }

    /// Whether the machine is in a state that it was in before, with nothing changed since.
    fn returned(&mut self) -> bool {
        let words = self.warps.iter().map(Warp::state);
        let state = words.fold(0u64, |h, w| (h ^ w).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17));
        self.cycle.returned(state, self.world.changes)
    }

    /// Tells waits that may give up to do so.
    fn give_up(&mut self) {
        for warp in &mut self.warps {
            for g in warp.groups.leaves().filter(|g| matches!(g.wait, Some(Wait::Mbarrier { .. }))) {
                g.give_up = true;
            }
        }
    }

    fn deadlock(&mut self) -> Refused {
        let mut waits = vec![];
        let mut first = None;
        for at in 0..self.warps.len() {
            if self.paused[at] == Pause::Done {
                continue;
            }
            let (cta, number, agent) = (self.warps[at].cta, self.warps[at].number, self.warps[at].agent);
            let ctaid = self.world.ctas[cta].seat.ctaid;
            let lines = &self.world.launch.kernel.code;
            let mut said = vec![];
            for g in self.warps[at].groups.leaves() {
                let pc = match g.wait {
                    Some(Wait::Barrier { .. } | Wait::Cluster { .. }) => g.pc - 1,
                    _ => g.pc,
                };
                let line = lines.get(pc as usize).map_or(0, |i| i.line);
                let what = describe(&self.world, cta, number, g.wait);
                first.get_or_insert((cta, number, agent, pc));
                said.push(format!("{what} (line {line})"));
            }
            if waits.len() < 12 {
                let [x, y, z] = ctaid;
                waits.push(format!("CTA {x},{y},{z} warp {number} {}", said.join(" and ")));
            }
        }
        let waiting = self.paused.iter().filter(|p| **p != Pause::Done).count();
        if waiting > waits.len() {
            waits.push(format!("and {} more", waiting - waits.len()));
        }
        if let Some((cta, number, agent, pc)) = first {
            self.world.me = super::world::Me { cta, warp: agent, number, at: pc };
        }
        let done = self.paused.len() - waiting;
        (FaultKind::Deadlock, format!("no warp can go on: {}; {done} warps are done", waits.join("; ")), None)
    }

    fn locate(&mut self, (kind, message, lane): Refused) -> Fault {
        let me = self.world.me;
        let code = &self.world.launch.kernel.code;
        let (line, loc) = code.get(me.at as usize).map_or((0, (0, 0)), |i| (i.line, i.loc));
        Fault {
            kind,
            severity: Severity::Refuted,
            message,
            line,
            loc,
            cta: self.world.ctas.get(me.cta).map_or([0; 3], |c| c.seat.ctaid),
            warp: me.number as u32,
            lane,
            other: None,
            missing: None,
            before: self.findings(),
        }
    }

    /// What check mode has found, in the order of CTA, warp and line.
    fn findings(&mut self) -> Vec<Fault> {
        let launch = self.world.launch;
        let found = self.world.check.take().map(|mut c| {
            c.report_held();
            c.findings.faults
        });
        let mut found = found.unwrap_or_default();
        found.sort_by_key(|f| (launch.number(f.cta), f.warp, f.line));
        found
    }

    fn finish(mut self) -> Outcome {
        let mut log = self.world.log.take().unwrap_or_default();
        let shadow = self.world.check.as_mut().map_or(ShadowUse::default(), |check| check.shadow_use());
        let shadow = ShadowUse { bytes: shadow.bytes + log.bytes() as u64, ..shadow };
        log.finish();
        let findings = self.findings();
        let counters = self.world.counters.take();
        Outcome {
            thread_instructions: self.work,
            printed: self.world.printed,
            findings,
            log,
            shadow,
            counters,
        }
    }
}

fn describe(world: &World, cta: usize, number: usize, wait: Option<Wait>) -> String {
    match wait {
        None => "spins, and nothing changes".into(),
        Some(Wait::Converge { members }) => format!("waits for lanes {members:#010x} to come together"),
        Some(Wait::Barrier { id, .. }) => {
            debug_assert!(id < BARRIERS);
            format!("waits at {}", world.ctas[cta].describe_barrier(id))
        }
        Some(Wait::Cluster { .. }) => {
            let size = world.launch.cluster_size();
            let place = cta / size;
            let live: Vec<u32> =
                world.ctas[place * size..(place + 1) * size].iter().flat_map(|c| c.live.clone()).collect();
            let missing = world.cluster_barriers[place].missing(&live);
            format!("waits at the cluster barrier, where {missing} warps are missing")
        }
        Some(Wait::Mbarrier { cta, at, goal }) => {
            let what = match goal {
                Goal::Parity(p) => format!("parity {}", p & 1),
                Goal::Token(t) => format!("the end of phase {}", t >> 32),
            };
            let state = world.ctas[cta].mbarriers.get(&at).map_or("gone".into(), |b| b.describe());
            format!("waits for {what} of the mbarrier at {at:#x} ({state})")
        }
        Some(Wait::Registers { count }) => world.ctas[cta].pool.describe(number, count),
    }
}
