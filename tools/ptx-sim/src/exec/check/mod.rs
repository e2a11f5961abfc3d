//! Check mode: what each agent knows, what each byte remembers, and the findings that come of it.
//!
//! An access is compared with the earlier ones to the same bytes ([`shadow`]). It is in order when the agent's
//! [`clock`] covers the earlier access; when it does not, the two race. Accesses through the async proxy to bytes
//! written through the generic one need a proxy fence on the way as well: a second clock holds what lies behind one.
//!
//! ```text
//! warp 0: st.shared x            interval 1                    seen {0: 2}   fenced {}
//!         fence.proxy.async      fenced := seen, interval 2    seen {0: 2}   fenced {0: 1}
//!         bar.sync, TMA store of x: seen[0] >= 1 and fenced[0] >= 1: clean
//! ```
//!
//! Without the fence the bytes are ordered, but may still sit where the async proxy does not look: `ProxyFence`.

pub mod bitwise;
pub mod bytes;
pub mod clock;
pub mod defined;
pub mod global;
pub mod guess;
pub mod intervals;
pub mod lane_words;
pub mod lanes;
pub mod maps;
pub mod products;
pub mod shadow;
pub mod strong;
pub mod visits;

pub use defined::Defined;

use crate::{
    fault::{Fault, FaultKind, Other, Severity},
    ir::Kernel,
};
use bytes::DefinedBytes;
use clock::{Agent, Clock, Knowledge};
use global::Pages;
use guess::first_guess;
use shadow::{Cell, Entry, GRANULE, Lists, flag};
use std::collections::HashSet;

/// Findings, and notes, beyond this many of one machine are dropped (they repeat). Each have their own count, so that no
/// number of notes hides a refutation.
const MOST_FINDINGS: usize = 64;

/// A memory with a shadow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Region {
    /// Shared memory of the CTA at this place in the machine.
    Shared(usize),
    Global,
}

/// Who accesses, as what.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// The warp, or the slot of an asynchronous operation.
    pub agent: Agent,
    /// The warp whose knowledge counts: the own or the issuer's.
    pub warp: usize,
    pub at: u32,
    pub flags: u16,
    pub lane: Option<u32>,
}

/// A finding before it is put into words about places.
pub struct Finding {
    pub kind: FaultKind,
    pub severity: Severity,
    pub at: u32,
    pub warp: usize,
    pub lane: Option<u32>,
    pub message: String,
    /// Instruction and agent of the other access.
    pub other: Option<(u32, Agent)>,
    pub missing: Option<&'static str>,
}

/// Findings, each kind once for a pair of instructions.
pub struct Findings<'a> {
    kernel: &'a Kernel,
    /// The CTA at each place of the machine.
    pub ctas: Vec<[u32; 3]>,
    warps_per_cta: usize,
    /// The warp that owns each slot.
    owners: Vec<usize>,
    known: HashSet<(FaultKind, Severity, u32, Option<u32>)>,
    pub faults: Vec<Fault>,
    /// How many of them are notes.
    notes: usize,
}

impl Findings<'_> {
    fn place(&self, agent: Agent) -> ([u32; 3], u32) {
        let warps = self.ctas.len() * self.warps_per_cta;
        let agent = agent as usize;
        let warp = if agent < warps { agent } else { self.owners.get(agent - warps).copied().unwrap_or(0) };
        (self.ctas[warp / self.warps_per_cta], (warp % self.warps_per_cta) as u32)
    }

    /// Whether a finding like this one has been made already.
    fn seen(&self, kind: FaultKind, severity: Severity, at: u32, other: Option<u32>) -> bool {
        let made = if severity == Severity::Note { self.notes } else { self.faults.len() - self.notes };
        made >= MOST_FINDINGS || self.known.contains(&(kind, severity, at, other))
    }

    pub fn report(&mut self, f: Finding) {
        let other_at = f.other.map(|o| o.0);
        if self.seen(f.kind, f.severity, f.at, other_at) {
            return;
        }
        self.known.insert((f.kind, f.severity, f.at, other_at));
        self.notes += (f.severity == Severity::Note) as usize;
        let line = |at: u32| self.kernel.code.get(at as usize).map_or((0, (0, 0)), |i| (i.line, i.loc));
        let other = f.other.map(|(at, agent)| {
            let (cta, warp) = self.place(agent);
            Box::new(Other { line: line(at).0, loc: line(at).1, cta, warp })
        });
        let (cta, warp) = self.place(f.warp as Agent);
        self.faults.push(Fault {
            kind: f.kind,
            severity: f.severity,
            message: f.message,
            line: line(f.at).0,
            loc: line(f.at).1,
            cta,
            warp,
            lane: f.lane,
            other,
            missing: f.missing,
            before: vec![],
        });
    }
}

struct Slot {
    interval: u32,
}

/// The check state of a machine.
pub struct Check<'a> {
    /// What each warp knows.
    pub know: Vec<Knowledge>,
    slots: Vec<Slot>,
    /// The slots of each warp.
    own: Vec<Vec<Agent>>,
    shared: Vec<Vec<Cell>>,
    /// For the shared memory of each CTA.
    defined: Vec<DefinedBytes>,
    pub global: Pages<Cell>,
    lists: Lists,
    pub lanes: lanes::Lanes,
    pub strong: strong::Strong,
    pub findings: Findings<'a>,
    warps_per_cta: usize,
    ctas_per_cluster: usize,
    /// What other CTAs did in the shared memory of each.
    visits: Vec<Vec<visits::Visit>>,
    held: Vec<guess::Held>,
    map_fences: Vec<maps::MapFence>,
    /// What the fences of the map that is being read cover.
    fenced_map: Clock,
}

impl<'a> Check<'a> {
    pub fn new(kernel: &'a Kernel, ctas: usize, ctas_per_cluster: usize, warps_per_cta: usize) -> Self {
        let warps = ctas * warps_per_cta;
        let findings = Findings {
            kernel,
            ctas: vec![[0; 3]; ctas],
            warps_per_cta,
            owners: vec![],
            known: HashSet::new(),
            faults: vec![],
            notes: 0,
        };
        Check {
            know: vec![Knowledge::default(); warps],
            slots: vec![],
            own: vec![vec![]; warps],
            shared: vec![vec![]; ctas],
            defined: vec![DefinedBytes::default(); ctas],
            global: Pages::default(),
            lists: Lists::default(),
            lanes: lanes::Lanes::new(ctas, warps),
            strong: strong::Strong::new(warps),
            findings,
            warps_per_cta,
            ctas_per_cluster,
            visits: (0..ctas).map(|_| vec![]).collect(),
            held: vec![],
            map_fences: vec![],
            fenced_map: Clock::default(),
        }
    }

    /// A CTA begins at a place of the machine, perhaps one where another has ended.
    pub fn begin(&mut self, place: usize, ctaid: [u32; 3], shared_bytes: usize) {
        self.findings.ctas[place] = ctaid;
        self.visits[place].clear();
        let cells = shared_bytes.div_ceil(GRANULE);
        self.shared[place] = vec![Cell::default(); cells];
        self.defined[place] = DefinedBytes::new(shared_bytes);
        let warps = place * self.warps_per_cta..(place + 1) * self.warps_per_cta;
        self.lanes.begin(place, warps.clone(), shared_bytes);
        for warp in warps {
            let interval = self.know[warp].seen.get(warp as Agent) + 1;
            let mut know = Knowledge::default();
            know.seen.raise(warp as Agent, interval);
            for &slot in &self.own[warp] {
                know.seen.raise(slot, self.slots[slot as usize - self.own.len()].interval);
            }
            self.know[warp] = know;
            self.strong.forget(warp);
        }
    }

    // ---- knowledge

    /// A copy of what a warp knows, to be handed on; what it does afterwards is not in it.
    pub fn publish(&mut self, warp: usize) -> Knowledge {
        self.lanes.release(warp);
        self.copy_out(warp)
    }

    fn copy_out(&mut self, warp: usize) -> Knowledge {
        let copy = self.know[warp].clone();
        self.next_interval(warp);
        copy
    }

    fn next_interval(&mut self, warp: usize) {
        let next = self.know[warp].seen.get(warp as Agent) + 1;
        self.know[warp].seen.raise(warp as Agent, next);
    }

    pub fn learn(&mut self, warp: usize, from: &Knowledge) {
        self.lanes.acquire(warp);
        self.know[warp].join(from);
    }

    /// `fence.proxy.async`: what is known is now fenced too, for the spaces that it names.
    pub fn proxy_fence(&mut self, warp: usize, global: bool, shared: bool) {
        let know = &mut self.know[warp];
        if shared {
            know.fenced_shared.join(&know.seen);
        }
        if global {
            know.fenced_global.join(&know.seen);
        }
        self.next_interval(warp);
    }

    /// A slot for an asynchronous operation that the warp issues.
    pub fn open_slot(&mut self, warp: usize) -> (Agent, u32) {
        let first = self.own.len();
        let free = self.own[warp]
            .iter()
            .copied()
            .find(|&s| self.know[warp].seen.get(s) >= self.slots[s as usize - first].interval);
        let slot = free.unwrap_or_else(|| {
            self.slots.push(Slot { interval: 0 });
            self.findings.owners.push(warp);
            let slot = (first + self.slots.len() - 1) as Agent;
            self.own[warp].push(slot);
            slot
        });
        let s = &mut self.slots[slot as usize - first];
        s.interval += 1;
        (slot, s.interval)
    }

    /// A warp has waited for an operation of its own.
    pub fn close_slot(&mut self, warp: usize, (slot, interval): (Agent, u32)) {
        self.know[warp].seen.raise(slot, interval);
    }

    /// What somebody learns who waits for an operation through an mbarrier: all that its issuer knew, and its effects.
    pub fn of_operation(&self, start: &Knowledge, (slot, interval): (Agent, u32)) -> Knowledge {
        let mut k = start.clone();
        k.seen.raise(slot, interval);
        k
    }

    fn interval(&self, agent: Agent) -> u32 {
        match self.slots.get((agent as usize).wrapping_sub(self.own.len())) {
            Some(slot) => slot.interval,
            None => self.know[agent as usize].seen.get(agent),
        }
    }

    // ---- accesses

    /// Compares an access with those before it and remembers it.
    pub fn touch(&mut self, region: Region, from: u64, bytes: u64, x: Access) {
        let interval = self.interval(x.agent);
        let (mut at, end) = (from, from + bytes);
        while at < end {
            let granule = at / GRANULE as u64;
            let next = end.min((granule + 1) * GRANULE as u64);
            let low = (at % GRANULE as u64) as u32;
            let mask = ((1u32 << (next - at)) - 1) << low;
            self.touch_cell(region, granule, mask as u16, interval, x);
            at = next;
        }
    }

    /// Bytes of one cell.
    pub fn touch_cell(&mut self, region: Region, granule: u64, mask: u16, interval: u32, x: Access) {
        let cell = match region {
            Region::Shared(cta) => match self.shared[cta].get_mut(granule as usize) {
                Some(cell) => cell,
                None => return,
            },
            Region::Global => self.global.cell(granule),
        };
        let entry = Entry { agent: x.agent, interval, at: x.at, mask, flags: x.flags & !flag::SAME };
        let known = &self.know[x.warp];
        let mut bad: Option<(Entry, Verdict)> = None;
        let warps = self.own.len();
        let (per_cta, per_cluster) = (self.warps_per_cta, self.ctas_per_cluster);
        let owners = &self.findings.owners;
        let cta_of = |agent: Agent| {
            let a = agent as usize;
            (if a < warps { a } else { owners[a - warps] }) / per_cta
        };
        let fenced = match region {
            _ if entry.is(flag::MAP) => &self.fenced_map,
            Region::Shared(_) => &known.fenced_shared,
            Region::Global => &known.fenced_global,
        };
        cell.access(&mut self.lists, entry, known, &mut |e| {
            let verdict = judge(e, &entry, (&known.seen, fenced), &cta_of, per_cluster);
            let equal = x.flags & flag::SAME != 0 && e.is(flag::WRITE) && !e.is(flag::ASYNC);
            let verdict = match verdict {
                Some(Verdict::Race) if equal => Some(Verdict::EqualValues),
                other => other,
            };
            if let Some(v) = verdict
                && bad.as_ref().is_none_or(|(_, b)| v < *b)
            {
                bad = Some((*e, v));
            }
        });
        if let Some((e, verdict)) = bad {
            self.conflict(region, granule, mask & e.mask, x, &e, verdict);
        }
    }

    fn conflict(&mut self, region: Region, granule: u64, mask: u16, x: Access, e: &Entry, v: Verdict) {
        let (kind, severity, missing) = match (v, region) {
            (Verdict::Race, Region::Shared(_)) => {
                (FaultKind::SharedRace, Severity::Refuted, self.missing_order(x, e))
            }
            (Verdict::Race, Region::Global) => {
                (FaultKind::GlobalRace, Severity::Refuted, self.missing_order(x, e))
            }
            (Verdict::EqualValues, Region::Shared(_)) => (FaultKind::SharedRace, Severity::Note, EQUAL),
            (Verdict::EqualValues, Region::Global) => (FaultKind::GlobalRace, Severity::Note, EQUAL),
            (Verdict::Fence, _) if x.flags & flag::MAP != 0 => (
                FaultKind::ProxyFence,
                Severity::Refuted,
                "no fence.proxy.tensormap::generic.acquire of this map before it is used",
            ),
            (Verdict::Fence, Region::Shared(_)) if self.copied_without_wait(e) => (
                FaultKind::ProxyFence,
                Severity::Note,
                "no fence.proxy.async between a cp.async that arrives on an mbarrier by itself and its reader; tolerated \
                 in practice",
            ),
            (Verdict::Fence, _) => {
                (FaultKind::ProxyFence, Severity::Refuted, "no fence.proxy.async on the way")
            }
            (Verdict::FenceBetweenCtas, _) => (
                FaultKind::ProxyFence,
                Severity::Note,
                "no fence.proxy.async on the way; NVIDIA's texts disagree whether one is needed between CTAs",
            ),
            (Verdict::FenceAfterRead, _) => (
                FaultKind::ProxyFence,
                Severity::Note,
                "no fence.proxy.async between a generic read and an async write; tolerated in practice",
            ),
        };
        if self.findings.seen(kind, severity, x.at, Some(e.at)) {
            return;
        }
        let first = granule * GRANULE as u64 + mask.trailing_zeros() as u64;
        let last = granule * GRANULE as u64 + 16 - mask.leading_zeros() as u64;
        let does = if x.flags & flag::WRITE != 0 { "writes" } else { "reads" };
        let did = if e.is(flag::WRITE) { "wrote" } else { "read" };
        let by = |f: u16| if f & flag::ASYNC != 0 { "an asynchronous operation" } else { "a warp" };
        let memory = match region {
            Region::Shared(_) => format!("shared bytes {first}..{last}"),
            Region::Global => format!("global bytes {first:#x}..{last:#x}"),
        };
        let message = format!("{} {does} {memory}, which {} {did}", by(x.flags), by(e.flags));
        let finding = Finding {
            kind,
            severity,
            at: x.at,
            warp: x.warp,
            lane: x.lane,
            message,
            other: Some((e.at, e.agent)),
            missing: Some(missing),
        };
        match first_guess(x, e) {
            Some(reader) if v == Verdict::Race => self.hold(region, granule, mask, reader, finding),
            _ => self.findings.report(finding),
        }
    }

    /// Bytes that a plain cp.async wrote, for which its warp has not waited: an mbarrier told the reader. PTX wants a fence
    /// there, since the copy goes through the generic proxy; CUTLASS's and TileLang's loops over wgmma have none.
    fn copied_without_wait(&self, e: &Entry) -> bool {
        let Some(slot) = (e.agent as usize).checked_sub(self.own.len()) else { return false };
        let issuer = &self.know[self.findings.owners[slot]];
        e.is(flag::WRITE) && !e.is(flag::ASYNC) && issuer.seen.get(e.agent) < e.interval
    }

    /// What could have ordered the two, in words.
    fn missing_order(&self, x: Access, e: &Entry) -> &'static str {
        let async_before = e.agent as usize >= self.own.len();
        let (x_cta, _) = self.findings.place(x.warp as Agent);
        let (e_cta, _) = self.findings.place(e.agent);
        if async_before {
            "nobody has waited for the operation"
        } else if x_cta != e_cta {
            "no cluster barrier, mbarrier, or release and acquire of sufficient scope between"
        } else if x.flags & flag::ASYNC != 0 {
            "the operation was issued without a barrier after that access"
        } else {
            "no barrier between"
        }
    }

    /// The reads that an operation made of these bytes count as the warp's own from here on: it has waited for them.
    pub fn adopt_reads(&mut self, region: Region, from: u64, bytes: u64, slot: Agent, warp: usize) {
        let interval = self.know[warp].seen.get(warp as Agent);
        for granule in from / GRANULE as u64..(from + bytes).div_ceil(GRANULE as u64) {
            let cell = match region {
                Region::Shared(cta) => self.shared[cta].get_mut(granule as usize),
                Region::Global => Some(self.global.cell(granule)),
            };
            if let Some(cell) = cell {
                cell.adopt_reads(&mut self.lists, slot, (warp as Agent, interval));
            }
        }
    }

    // ---- definedness of shared memory

    /// Whether all of these bytes of shared memory hold defined values.
    pub fn shared_defined(&self, cta: usize, from: usize, bytes: usize) -> bool {
        self.defined[cta].all(from, bytes)
    }

    pub fn define_shared(&mut self, cta: usize, from: usize, bytes: usize, defined: bool) {
        self.defined[cta].set_all(from, bytes, defined);
    }

    /// Which of up to 16 bytes of shared memory do: bit n for byte n.
    pub fn shared_bytes_defined(&self, cta: usize, from: usize, bytes: usize) -> u16 {
        self.defined[cta].get(from, bytes)
    }

    pub fn set_shared_defined(&mut self, cta: usize, from: usize, bytes: usize, defined: u16) {
        self.defined[cta].set(from, bytes, defined);
    }

    pub fn report(&mut self, kind: FaultKind, warp: usize, at: u32, lane: Option<u32>, message: String) {
        if !self.findings.seen(kind, Severity::Refuted, at, None) {
            self.findings.report(Finding {
                kind,
                severity: Severity::Refuted,
                at,
                warp,
                lane,
                message,
                other: None,
                missing: None,
            });
        }
    }

    /// A finding about two instructions of one warp.
    pub fn report_with(
        &mut self,
        kind: FaultKind,
        warp: usize,
        at: u32,
        message: String,
        other: u32,
        missing: &'static str,
    ) {
        self.findings.report(Finding {
            kind,
            severity: Severity::Refuted,
            at,
            warp,
            lane: None,
            message,
            other: Some((other, warp as Agent)),
            missing: Some(missing),
        });
    }

    pub fn note(&mut self, kind: FaultKind, warp: usize, at: u32, lane: Option<u32>, message: String) {
        if !self.findings.seen(kind, Severity::Note, at, None) {
            let severity = Severity::Note;
            self.findings.report(Finding {
                kind,
                severity,
                at,
                warp,
                lane,
                message,
                other: None,
                missing: None,
            });
        }
    }
}

const EQUAL: &str = "both write the same values";

/// What is wrong between two accesses, worst first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Verdict {
    Race,
    Fence,
    FenceBetweenCtas,
    FenceAfterRead,
    /// Copies of one value, as replicated layouts store them.
    EqualValues,
}

fn judge(
    e: &Entry,
    x: &Entry,
    (seen, fenced): (&Clock, &Clock),
    cta_of: &impl Fn(Agent) -> usize,
    per_cluster: usize,
) -> Option<Verdict> {
    // A warp knows its own past, but even it needs a fence before the engine reads a map that it wrote.
    let own = e.agent == x.agent && !x.is(flag::MAP);
    if own || !(e.is(flag::WRITE) || x.is(flag::WRITE)) {
        return None;
    }
    if e.is(flag::STRONG) && x.is(flag::STRONG) {
        let (a, b) = (cta_of(e.agent), cta_of(x.agent));
        let reach = |f: &Entry| {
            f.is(flag::GPU) || a == b || (f.is(flag::CLUSTER) && a / per_cluster == b / per_cluster)
        };
        if reach(e) && reach(x) {
            return None;
        }
    }
    if seen.get(e.agent) < e.interval {
        return Some(Verdict::Race);
    }
    if e.is(flag::ASYNC) || !x.is(flag::ASYNC) || fenced.get(e.agent) >= e.interval {
        return None;
    }
    Some(match (e.is(flag::WRITE), cta_of(e.agent) == cta_of(x.agent)) {
        (false, _) => Verdict::FenceAfterRead,
        (true, same) if same || x.is(flag::MAP) => Verdict::Fence,
        (true, _) => Verdict::FenceBetweenCtas,
    })
}
