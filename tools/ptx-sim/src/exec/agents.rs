//! Asynchronous operations between their issue and their effect.
//!
//! An operation may take effect at any time from its issue to the wait for it; the seed of the launch decides when. Seed
//! 0: as late as the program allows (when somebody waits, or nobody else can go on), which shows missing waits as old
//! bytes. Seed 1: at once, which shows buffers overwritten too early. Other seeds: after a random number of instructions.
//!
//! ```text
//! cp.async.bulk [smem], [global], 64, [bar]      issued: nothing has changed
//! mbarrier.try_wait [bar]                        nobody else can run: 64 bytes appear, the barrier's phase ends
//! ```
//!
//! Reading the source and writing the destination are two steps, as `wait_group.read` waits for the first only.

use super::{
    access,
    check::{
        Access, Check, Region,
        clock::{Agent, Knowledge},
        shadow::flag,
    },
    count::SECTOR,
    units::tma,
    warp::Refused,
    world::{Me, World},
};
use crate::{
    fault::FaultKind,
    ir::{AtomOp, Scalar},
    time::trace::{BulkCopy, Effect, Signal},
};
use std::collections::{BTreeMap, HashMap, VecDeque};
use tile_machine::tensor_map::ElementType;

/// One stretch of bytes that a copy moves.
#[derive(Clone, Debug)]
pub struct Piece {
    pub from: From,
    pub to: To,
    pub bytes: u32,
}

#[derive(Clone, Debug)]
pub enum From {
    Global(u64),
    Shared {
        cta: usize,
        at: usize,
    },
    /// Outside of a tensor: elements of this many bytes with this value.
    Fill {
        value: u64,
        element: u8,
    },
    /// Taken from registers at issue.
    Held(Vec<u8>),
}

#[derive(Clone, Copy, Debug)]
pub enum To {
    Global(u64),
    /// At this offset in each CTA that receives.
    Shared(usize),
    /// A prefetch.
    Nowhere,
}

/// How an operation tells that it is done.
#[derive(Clone, Debug)]
pub enum Done {
    /// Bytes at an mbarrier of each CTA that receives.
    Mbarrier {
        at: usize,
    },
    /// The bulk group of a lane.
    Group,
    Nothing,
}

/// One bulk copy (or `st.async`) on its way.
#[derive(Clone, Debug)]
pub struct Bulk {
    pub issuer: Me,
    pub lane: usize,
    pub pieces: Vec<Piece>,
    /// Places of the CTAs whose shared memory receives.
    pub receivers: Vec<usize>,
    pub reduce: Option<(AtomOp, Scalar)>,
    pub done: Done,
    /// Check mode: its slot, and what its issuer knew.
    pub slot: Option<((Agent, u32), Knowledge)>,
    /// Denormals of f32 arrive as zero (a property of the tensor map).
    pub flush: bool,
    due: u64,
    /// The source, once it has been read.
    data: Option<Vec<u8>>,
}

impl Bulk {
    pub fn new(issuer: Me, lane: usize, pieces: Vec<Piece>, receivers: Vec<usize>, done: Done) -> Bulk {
        Bulk {
            issuer,
            lane,
            pieces,
            receivers,
            reduce: None,
            done,
            slot: None,
            flush: false,
            due: 0,
            data: None,
        }
    }

    /// The stretches of global memory that it reads or writes.
    fn global_runs(&self) -> impl Iterator<Item = (u64, u64)> {
        self.pieces.iter().filter_map(|p| match (&p.from, p.to) {
            (&From::Global(at), _) | (_, To::Global(at)) => Some((at, p.bytes as u64)),
            _ => None,
        })
    }

    /// For the model of time: how much moves, and who is told.
    fn traced(&self, cluster_size: usize) -> BulkCopy {
        let stretches = self.global_runs().map(|(at, n)| (at / SECTOR)..(at + n).div_ceil(SECTOR));
        let mut sectors: Vec<u64> = stretches.flatten().collect();
        sectors.dedup();
        BulkCopy {
            bytes: self.bytes() as u32,
            sectors: sectors.len() as u32,
            receivers: self.receivers.iter().map(|cta| (cta % cluster_size) as u32).collect(),
            done: match self.done {
                Done::Mbarrier { at } => Signal::Mbarrier(at as u32),
                Done::Group => Signal::Group,
                Done::Nothing => Signal::Nothing,
            },
        }
    }

    fn bytes(&self) -> i64 {
        self.pieces.iter().map(|p| p.bytes as i64).sum()
    }
}

/// One `cp.async` of a lane.
#[derive(Clone, Debug)]
pub struct Copy {
    pub lane: usize,
    /// Number of its group among those of the lane.
    pub group: u32,
    pub cta: usize,
    pub to: usize,
    pub size: u8,
    /// Global source and how many bytes of it; the rest is zero.
    pub from: u64,
    pub wanted: u8,
}

/// The `cp.async` of one warp.
#[derive(Default)]
pub struct Copies {
    pub open: VecDeque<Copy>,
    /// Groups committed by each lane.
    pub committed: [u32; 32],
    /// Check mode: the slot of each group that nobody has waited for.
    pub slots: VecDeque<(u32, (Agent, u32))>,
}

/// `cp.async.mbarrier.arrive` of a lane: arrives when all its earlier copies have landed.
pub struct CopyArrival {
    pub issuer: Me,
    pub lane: usize,
    /// The instruction's execution that it belongs to: its lanes arrive together where nothing says when.
    pub execution: u64,
    /// Copies of groups before this number count, and all of them that are older.
    pub upto: u32,
    pub at: usize,
    pub due: u64,
    pub knowledge: Option<Knowledge>,
}

#[derive(Default)]
struct LaneGroups {
    open: Vec<u64>,
    committed: VecDeque<Vec<u64>>,
}

pub struct Agents {
    seed: u64,
    random: u64,
    next: u64,
    bulk: BTreeMap<u64, Bulk>,
    groups: HashMap<(usize, usize), LaneGroups>,
    /// Check mode: copies of bulk groups that have landed and that nobody has waited for.
    landed: BTreeMap<u64, Bulk>,
    pub copies: HashMap<usize, Copies>,
    arrivals: VecDeque<CopyArrival>,
    /// The earliest time at which something lands by itself.
    soonest: u64,
}

/// Never by itself.
const LATE: u64 = u64::MAX;
/// Instructions of the machine within which an effect comes, with random delays.
const DELAY: u64 = 4096;

impl Agents {
    pub fn new(seed: u64, stream: u64) -> Agents {
        Agents {
            seed,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
                ^ (stream + 1).wrapping_mul(0xd134_2543_de82_ef95)
                | 1,
            next: 0,
            bulk: BTreeMap::new(),
            groups: HashMap::new(),
            landed: BTreeMap::new(),
            copies: HashMap::new(),
            arrivals: VecDeque::new(),
            soonest: LATE,
        }
    }

    fn draw(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 16
    }

    /// When an operation issued now takes effect by itself.
    fn due(&mut self, now: u64) -> u64 {
        match self.seed {
            0 => LATE,
            1 => now,
            _ => now + self.draw() % DELAY,
        }
    }

    /// Whether an operation that can only land at its issue or at its wait lands at its issue.
    pub fn at_once(&mut self) -> bool {
        match self.seed {
            0 => false,
            1 => true,
            _ => self.draw() & 1 == 1,
        }
    }

    pub fn idle(&self) -> bool {
        self.bulk.is_empty() && self.arrivals.is_empty()
    }

    /// The issue lines of operations that use the shared memory of a CTA.
    pub fn using(&self, cta: usize) -> Option<&Bulk> {
        let reads = |p: &Piece| matches!(p.from, From::Shared { cta: c, .. } if c == cta);
        self.bulk
            .values()
            .find(|b| b.receivers.contains(&cta) || b.data.is_none() && b.pieces.iter().any(reads))
    }

    /// A number for one execution of an instruction.
    pub fn execution(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub fn commit_bulk(&mut self, warp: usize, lane: usize) {
        let g = self.groups.entry((warp, lane)).or_default();
        g.committed.push_back(std::mem::take(&mut g.open));
    }
}

impl World<'_> {
    /// Checks and remembers what a copy will touch, and sends it on its way.
    pub fn issue_bulk(&mut self, mut bulk: Bulk) -> Result<(), Refused> {
        let (me, lane) = (bulk.issuer, bulk.lane);
        if let Some(counters) = &mut self.counters {
            counters.global(me.at, bulk.global_runs());
        }
        let size = self.launch.cluster_size();
        self.effect(|| Effect::Bulk(bulk.traced(size)));
        if let Done::Mbarrier { at } = bulk.done {
            for &cta in &bulk.receivers {
                self.mbarrier(cta, at, lane)?.copies += 1;
            }
        }
        if let Some(check) = &mut self.check {
            let slot = check.open_slot(me.warp);
            let knowledge = check.publish(me.warp);
            bulk.slot = Some((slot, knowledge));
            self.note_bulk(&bulk, slot.0);
        }
        bulk.due = self.agents.due(self.now);
        self.agents.soonest = self.agents.soonest.min(bulk.due);
        let id = self.agents.next;
        self.agents.next += 1;
        if matches!(bulk.done, Done::Group) {
            self.agents.groups.entry((me.warp, lane)).or_default().open.push(id);
        }
        self.agents.bulk.insert(id, bulk);
        self.changes += 1;
        self.land_due()
    }

    fn note_bulk(&mut self, bulk: &Bulk, agent: Agent) {
        let lane = Some(bulk.lane as u32);
        let x = |flags| Access {
            agent,
            warp: bulk.issuer.warp,
            at: bulk.issuer.at,
            flags: flags | flag::ASYNC,
            lane,
        };
        // Reductions are atomic at the scope of the device.
        let write = match bulk.reduce {
            Some(_) => flag::WRITE | flag::STRONG | flag::CLUSTER | flag::GPU,
            None => flag::WRITE,
        };
        for p in &bulk.pieces {
            let bytes = p.bytes as u64;
            match p.from {
                From::Global(at) => self.note_range(Region::Global, at, bytes, x(0)),
                From::Shared { cta, at } => {
                    self.note_range(Region::Shared(cta), at as u64, bytes, x(0));
                    self.note_defined(cta, at, bytes as usize, lane);
                }
                From::Fill { .. } | From::Held(_) => {}
            }
            match p.to {
                To::Global(at) => self.note_range(Region::Global, at, bytes, x(write)),
                To::Shared(at) => {
                    for &cta in &bulk.receivers {
                        self.note_range(Region::Shared(cta), at as u64, bytes, x(write));
                        // A reduction leaves undefined what was undefined.
                        if let Some(check) = self.check.as_mut().filter(|_| bulk.reduce.is_none()) {
                            check.define_shared(cta, at, bytes as usize, true);
                        }
                    }
                }
                To::Nowhere => {}
            }
        }
    }

    /// Bytes of shared memory leave the CTA: they have to be defined.
    fn note_defined(&mut self, cta: usize, at: usize, bytes: usize, lane: Option<u32>) {
        let undefined = self.check.as_ref().is_some_and(|c| !c.shared_defined(cta, at, bytes));
        if undefined {
            let message =
                format!("a bulk copy takes undefined bytes of shared memory, at {at}..{}", at + bytes);
            self.report(FaultKind::Undefined, lane, message);
        }
    }

    /// Lands what is due.
    pub fn land_due(&mut self) -> Result<(), Refused> {
        if self.agents.soonest > self.now {
            return Ok(());
        }
        let now = self.now;
        while let Some((&id, _)) = self.agents.bulk.iter().find(|(_, b)| b.due <= now) {
            self.land(id)?;
        }
        while let Some(n) = self.agents.arrivals.iter().position(|a| a.due <= now) {
            self.land_arrival(n)?;
        }
        let bulk = self.agents.bulk.values().map(|b| b.due);
        self.agents.soonest = bulk.chain(self.agents.arrivals.iter().map(|a| a.due)).min().unwrap_or(LATE);
        Ok(())
    }

    /// Nobody can go on: the oldest operation takes effect, or the arrivals of all lanes of an instruction. False when there
    /// is none.
    pub fn land_oldest(&mut self) -> Result<bool, Refused> {
        if let Some((&id, _)) = self.agents.bulk.first_key_value() {
            self.land(id)?;
            return Ok(true);
        }
        let Some(first) = self.agents.arrivals.front().map(|a| a.execution) else { return Ok(false) };
        while self.agents.arrivals.front().is_some_and(|a| a.execution == first) {
            self.land_arrival(0)?;
        }
        Ok(true)
    }

    /// Reads the source of a copy.
    fn read_source(&mut self, bulk: &mut Bulk) {
        if bulk.data.is_some() {
            return;
        }
        let mut data = vec![0; bulk.bytes() as usize];
        let mut rest = &mut data[..];
        for p in &bulk.pieces {
            let (bytes, after) = rest.split_at_mut(p.bytes as usize);
            rest = after;
            match &p.from {
                From::Global(at) => {
                    if let Some(a) = self.allocation(*at, p.bytes as u64) {
                        a.read_bytes(*at, bytes);
                    }
                }
                From::Shared { cta, at } => {
                    let n = bytes.len();
                    bytes.copy_from_slice(&self.ctas[*cta].shared[*at..*at + n]);
                }
                From::Fill { value, element } => {
                    for chunk in bytes.chunks_mut(*element as usize) {
                        chunk.copy_from_slice(&value.to_le_bytes()[..chunk.len()]);
                    }
                }
                From::Held(held) => bytes.copy_from_slice(held),
            }
            if bulk.flush {
                for word in bytes.chunks_exact_mut(4) {
                    let value = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
                    word.copy_from_slice(&tma::arrive(ElementType::F32Ftz, value).to_le_bytes());
                }
            }
        }
        bulk.data = Some(data);
    }

    fn land(&mut self, id: u64) -> Result<(), Refused> {
        let Some(mut bulk) = self.agents.bulk.remove(&id) else { return Ok(()) };
        self.read_source(&mut bulk);
        let data = bulk.data.take().unwrap_or_default();
        let mut rest = &data[..];
        for p in &bulk.pieces {
            let (bytes, after) = rest.split_at(p.bytes as usize);
            rest = after;
            match p.to {
                To::Global(at) => self.put_global(at, bytes, bulk.reduce),
                To::Shared(at) => {
                    for &cta in &bulk.receivers {
                        self.ctas[cta].version += 1;
                        let to = &mut self.ctas[cta].shared[at..at + bytes.len()];
                        combine(to, bytes, bulk.reduce);
                    }
                }
                To::Nowhere => {}
            }
        }
        self.changes += 1;
        if matches!(bulk.done, Done::Group) && self.check.is_some() {
            self.agents.landed.insert(id, bulk);
            return Ok(());
        }
        if let Done::Mbarrier { at } = bulk.done {
            let knows = match (&self.check, &bulk.slot) {
                (Some(check), Some((slot, start))) => Some(check.of_operation(start, *slot)),
                _ => None,
            };
            for &cta in &bulk.receivers {
                self.me = bulk.issuer;
                let bar = self.mbarrier(cta, at, bulk.lane)?;
                bar.copies = bar.copies.saturating_sub(1);
                if let Some(k) = &knows {
                    bar.know(k);
                }
                bar.complete(bulk.bytes())
                    .map_err(|m| (FaultKind::MbarrierMisuse, m, Some(bulk.lane as u32)))?;
            }
        }
        Ok(())
    }

    fn put_global(&mut self, at: u64, bytes: &[u8], reduce: Option<(AtomOp, Scalar)>) {
        let Some(a) = self.allocation(at, bytes.len() as u64) else { return };
        let Some((op, ty)) = reduce else { return a.write_bytes(at, bytes) };
        let size = access::scalar_bytes(ty);
        for (n, chunk) in bytes.chunks_exact(size as usize).enumerate() {
            let x = chunk.iter().rev().fold(0u64, |v, b| v << 8 | *b as u64);
            a.update(at + (n * size as usize) as u64, size, |v| access::atomic(op, ty, v, x, 0));
        }
    }

    /// `cp.async.bulk.wait_group`: all but the last `pending` groups of a lane are done (their sources read).
    pub fn wait_bulk(&mut self, lane: usize, pending: usize, read_only: bool) -> Result<(), Refused> {
        let me = self.me;
        let Some(groups) = self.agents.groups.get_mut(&(me.warp, lane)) else { return Ok(()) };
        let count = groups.committed.len().saturating_sub(pending);
        let ids: Vec<u64> = if read_only {
            groups.committed.iter().take(count).flatten().copied().collect()
        } else {
            groups.committed.drain(..count).flatten().collect()
        };
        for id in ids {
            if let Some(mut bulk) = self.agents.bulk.remove(&id) {
                self.read_source(&mut bulk);
                self.agents.bulk.insert(id, bulk);
            }
            if !read_only {
                self.land(id)?;
            }
            self.waited_for(id, read_only);
        }
        Ok(())
    }

    /// Check mode: what a lane learns that has waited for a copy.
    fn waited_for(&mut self, id: u64, read_only: bool) {
        let warp = self.me.warp;
        let Some(check) = &mut self.check else { return };
        let Some(bulk) = self.agents.bulk.get(&id).or(self.agents.landed.get(&id)) else { return };
        let Some((slot, _)) = bulk.slot else { return };
        if read_only {
            source_is_free(bulk, slot.0, warp, check);
        } else {
            check.close_slot(warp, slot);
            self.agents.landed.remove(&id);
        }
    }

    /// What is left at the end lands.
    pub fn land_all(&mut self) -> Result<(), Refused> {
        while self.land_oldest()? {}
        let warps: Vec<usize> = self.agents.copies.keys().copied().collect();
        for warp in warps {
            self.land_copies(warp, u32::MAX, |_| true);
        }
        Ok(())
    }

    // ---- cp.async

    /// Lands the copies of a warp's lanes that fit.
    pub fn land_copies(&mut self, warp: usize, lanes: u32, fits: impl Fn(&Copy) -> bool) {
        let Some(copies) = self.agents.copies.get_mut(&warp) else { return };
        let mut left = VecDeque::new();
        let mut landing = vec![];
        for c in copies.open.drain(..) {
            if lanes >> c.lane & 1 == 1 && fits(&c) { landing.push(c) } else { left.push_back(c) }
        }
        copies.open = left;
        for c in landing {
            self.land_copy(&c);
        }
    }

    pub fn land_copy(&mut self, c: &Copy) {
        let mut bytes = [0; 16];
        if c.wanted > 0
            && let Some(a) = self.allocation(c.from, c.wanted as u64)
        {
            a.read_bytes(c.from, &mut bytes[..c.wanted as usize]);
        }
        self.ctas[c.cta].version += 1;
        self.ctas[c.cta].shared[c.to..c.to + c.size as usize].copy_from_slice(&bytes[..c.size as usize]);
        self.changes += 1;
    }

    pub fn issue_arrival(&mut self, mut arrival: CopyArrival) -> Result<(), Refused> {
        arrival.due = self.agents.due(self.now);
        self.agents.soonest = self.agents.soonest.min(arrival.due);
        self.agents.arrivals.push_back(arrival);
        self.changes += 1;
        self.land_due()
    }

    fn land_arrival(&mut self, n: usize) -> Result<(), Refused> {
        let Some(a) = self.agents.arrivals.remove(n) else { return Ok(()) };
        self.land_copies(a.issuer.warp, 1 << a.lane, |c| c.group < a.upto);
        self.me = a.issuer;
        let bar = self.mbarrier(a.issuer.cta, a.at, a.lane)?;
        if let Some(k) = &a.knowledge {
            bar.know(k);
        }
        bar.arrive(1, false, false).map_err(|m| (FaultKind::MbarrierMisuse, m, Some(a.lane as u32)))?;
        self.changes += 1;
        Ok(())
    }
}

/// `.read`: the waiter learns of the reads of the source, not of the writes; they become reads of its own.
fn source_is_free(bulk: &Bulk, slot: Agent, warp: usize, check: &mut Check) {
    for p in &bulk.pieces {
        if let From::Shared { cta, at } = p.from {
            check.adopt_reads(Region::Shared(cta), at as u64, p.bytes as u64, slot, warp);
        }
    }
}

fn combine(to: &mut [u8], from: &[u8], reduce: Option<(AtomOp, Scalar)>) {
    let Some((op, ty)) = reduce else { return to.copy_from_slice(from) };
    let size = access::scalar_bytes(ty) as usize;
    let value = |b: &[u8]| b.iter().rev().fold(0u64, |v, b| v << 8 | *b as u64);
    for (to, from) in to.chunks_exact_mut(size).zip(from.chunks_exact(size)) {
        let new = access::atomic(op, ty, value(to), value(from), 0);
        to.copy_from_slice(&new.to_le_bytes()[..size]);
    }
}
