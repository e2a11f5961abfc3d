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
pub mod cell;
pub mod clock;
mod conflict;
pub mod defined;
pub mod earlier;
pub mod guess;
mod intern;
pub mod intervals;
mod known;
pub mod lane_words;
pub mod lanes;
pub mod maps;
mod packed;
mod pages;
pub mod products;
pub mod shadow;
pub mod shape;
pub mod strong;
pub mod touch;
pub mod visits;

pub use defined::Defined;

use crate::{
    fault::{Fault, FaultKind, Other, Severity},
    ir::Kernel,
};
use bytes::DefinedBytes;
use clock::{Agent, Clock, Knowledge};
use shadow::Shadow;
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

/// What check mode kept of memory, and of how much memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ShadowUse {
    /// At most, at any time.
    pub bytes: u64,
    /// Of shared and global memory, in cells of 16.
    pub touched: u64,
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
        let other = f.other.map(|(at, agent)| {
            let (cta, warp) = self.place(agent);
            let (line, loc) = self.line(at);
            Other { line, loc, cta, warp }
        });
        let other_at = f.other.map(|o| o.0);
        self.add(f, other_at, other);
    }

    /// A finding the other side of which is an access of another launch.
    pub fn report_beside(&mut self, f: Finding, other: Other) {
        self.add(f, Some(ELSEWHERE | other.line), Some(other));
    }

    fn line(&self, at: u32) -> (u32, (u32, u32)) {
        self.kernel.code.get(at as usize).map_or((0, (0, 0)), |i| (i.line, i.loc))
    }

    /// `other_at`: what tells this finding from others of its kind and instruction.
    fn add(&mut self, f: Finding, other_at: Option<u32>, other: Option<Other>) {
        if self.seen(f.kind, f.severity, f.at, other_at) {
            return;
        }
        self.known.insert((f.kind, f.severity, f.at, other_at));
        self.notes += (f.severity == Severity::Note) as usize;
        let (cta, warp) = self.place(f.warp as Agent);
        let (line, loc) = self.line(f.at);
        self.faults.push(Fault {
            kind: f.kind,
            severity: f.severity,
            message: f.message,
            line,
            loc,
            cta,
            warp,
            lane: f.lane,
            other: other.map(Box::new),
            missing: f.missing,
            before: vec![],
        });
    }
}

/// Marks a line of another launch's text among the numbers of instructions.
const ELSEWHERE: u32 = 1 << 31;

struct Slot {
    interval: u32,
}

/// The check state of a machine.
pub struct Check<'a> {
    /// What each warp knows.
    pub know: Vec<Knowledge>,
    /// For each warp: goes up with what it knows of others.
    learned: Vec<u64>,
    slots: Vec<Slot>,
    /// The launches that may still run, as one agent.
    ahead: Option<Agent>,
    /// The slots of each warp.
    own: Vec<Vec<Agent>>,
    shadow: Shadow,
    /// For the shared memory of each CTA.
    defined: Vec<DefinedBytes>,
    pub lanes: lanes::Lanes,
    scratch: touch::Scratch,
    passes: touch::Passes,
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
    /// `beside`: launches ahead of this one may still run.
    pub fn new(
        kernel: &'a Kernel,
        ctas: usize,
        ctas_per_cluster: usize,
        warps_per_cta: usize,
        beside: bool,
    ) -> Self {
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
        let mut check = Check {
            know: vec![Knowledge::default(); warps],
            learned: vec![0; warps],
            slots: vec![],
            ahead: None,
            own: vec![vec![]; warps],
            shadow: Shadow::new(ctas, warps),
            defined: vec![DefinedBytes::default(); ctas],
            lanes: lanes::Lanes::new(warps),
            scratch: touch::Scratch::default(),
            passes: touch::Passes::default(),
            strong: strong::Strong::new(warps),
            findings,
            warps_per_cta,
            ctas_per_cluster,
            visits: (0..ctas).map(|_| vec![]).collect(),
            held: vec![],
            map_fences: vec![],
            fenced_map: Clock::default(),
        };
        check.ahead = beside.then(|| check.grids_ahead());
        check
    }

    /// A CTA begins at a place of the machine, perhaps one where another has ended.
    pub fn begin(&mut self, place: usize, ctaid: [u32; 3], shared_bytes: usize) {
        self.findings.ctas[place] = ctaid;
        self.visits[place].clear();
        self.shadow.begin(place, shared_bytes);
        self.defined[place] = DefinedBytes::new(shared_bytes);
        let warps = place * self.warps_per_cta..(place + 1) * self.warps_per_cta;
        self.lanes.begin(warps.clone());
        for warp in warps {
            let interval = self.know[warp].seen.get(warp as Agent) + 1;
            let mut know = Knowledge::default();
            know.seen.raise(warp as Agent, interval);
            for &slot in &self.own[warp] {
                know.seen.raise(slot, self.slots[slot as usize - self.own.len()].interval);
            }
            self.know[warp] = know;
            self.learned[warp] += 1;
            self.strong.forget(warp);
        }
    }

    /// What the machine's shadow took. Clocks, and what is known of registers, belong to warps, and are not counted.
    pub fn shadow_use(&mut self) -> ShadowUse {
        let defined: usize = self.defined.iter().map(DefinedBytes::bytes).sum();
        let bytes = self.shadow.peak() + defined + self.strong.bytes();
        ShadowUse { bytes: bytes as u64, touched: self.shadow.touched() as u64 }
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
        self.learned[warp] += 1;
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
        self.learned[warp] += 1;
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
        self.learned[warp] += 1;
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

    /// Defined bits of up to 8 bytes.
    pub fn shared_bits_defined(&self, cta: usize, from: usize, bytes: usize) -> u64 {
        self.defined[cta].bits(from, bytes)
    }

    pub fn set_shared_bits_defined(&mut self, cta: usize, from: usize, bytes: usize, bits: u64) {
        self.defined[cta].set_bits(from, bytes, bits);
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
