//! What the warps of a machine share: memories, barriers, asynchronous operations, and the check state.
//!
//! A machine is the set of CTAs that run together: one cluster, or all resident CTAs of a grid that communicates. One
//! host thread runs it, warp after warp, so nothing here needs a lock and every run is the same.

use super::{
    agents::Agents,
    barrier::ClusterBarrier,
    check::{Check, intervals::GlobalLog},
    count::Counters,
    cta::Cta,
    launch::Launch,
    tensor_core::Tiles,
    warp::Refused,
};
use crate::{
    fault::FaultKind,
    ir::*,
    memory::{Allocation, Memory},
    time::{
        taint::Taint,
        trace::{Effect, Recorder},
    },
};

/// Where shared memory begins in the generic address space; the low 32 bits of a generic shared address are the
/// shared address itself, so code that truncates one (LLVM does) still works.
pub const GENERIC_SHARED: u64 = 1 << 32;
/// Where each thread's local memory begins in the generic address space.
pub const GENERIC_LOCAL: u64 = 2 << 32;
/// Size of either window.
pub const WINDOW: u64 = 1 << 32;
/// In the window of a cluster, a CTA's own memory is at 0 and that of rank r at (r + 1) times this.
pub const RANK: u64 = 1 << 24;
/// Where parameters begin in the generic address space (`cvta.param`).
pub const GENERIC_PARAM: u64 = 3 << 32;

/// Who runs, and what.
#[derive(Clone, Copy, Default, Debug)]
pub struct Me {
    /// Place of the CTA in the machine.
    pub cta: usize,
    /// Number of the warp in the machine, and in its CTA.
    pub warp: usize,
    pub number: usize,
    pub at: u32,
}

pub struct World<'a> {
    pub launch: &'a Launch<'a>,
    pub memory: &'a Memory,
    pub ctas: Vec<Cta>,
    /// One for each cluster of the machine.
    pub cluster_barriers: Vec<ClusterBarrier>,
    pub agents: Agents,
    pub check: Option<Box<Check<'a>>>,
    /// Present when somebody wants to know.
    pub counters: Option<Box<Counters>>,
    /// Present when tensor products are left out.
    pub taint: Option<Box<Taint>>,
    /// In check mode, when CTAs outside of this machine, or later launches, run too.
    pub log: Option<GlobalLog>,
    /// Goes up when something changes that another agent could notice.
    pub changes: u64,
    /// Instructions executed by all warps.
    pub now: u64,
    pub me: Me,
    pub tiles: Tiles,
    /// What `vprintf` wrote.
    pub printed: Vec<u8>,
    /// The allocation used last.
    pub recent: Option<&'a Allocation>,
}

/// A resolved address.
#[derive(Clone, Copy)]
pub enum Place<'a> {
    Global(&'a Allocation, u64),
    Shared { cta: usize, at: usize },
    Local(usize),
    Param(usize),
}

impl<'a> World<'a> {
    pub fn new(
        launch: &'a Launch<'a>,
        memory: &'a Memory,
        ctas: usize,
        clusters: usize,
        alone: bool,
        stream: u64,
    ) -> World<'a> {
        let beside = !launch.after.is_empty();
        let check = launch
            .check
            .then(|| Check::new(launch.kernel, ctas, launch.cluster_size(), launch.warps(), beside))
            .map(Box::new);
        World {
            launch,
            memory,
            ctas: vec![],
            cluster_barriers: vec![ClusterBarrier::default(); clusters],
            agents: Agents::new(launch.seed, stream),
            log: (launch.check && (!alone || launch.keep)).then(GlobalLog::default),
            check,
            counters: launch.count.then(|| Box::new(counters(launch))),
            taint: launch.sample.is_some_and(|s| s.only).then(Box::default),
            changes: 0,
            now: 0,
            me: Me::default(),
            tiles: Tiles::default(),
            printed: vec![],
            recent: None,
        }
    }

    /// Tells the trace, if there is one, what the running warp's last step means to others.
    pub fn effect(&mut self, effect: impl FnOnce() -> Effect) {
        if let Some(trace) = self.counters.as_mut().and_then(|c| c.trace.as_mut()) {
            trace.effect(self.me, effect());
        }
    }

    pub fn allocation(&mut self, addr: u64, bytes: u64) -> Option<&'a Allocation> {
        if let Some(a) = self.recent
            && a.holds(addr, bytes)
        {
            return Some(a);
        }
        self.recent = self.memory.find(addr, bytes);
        self.recent
    }

    /// The memory that an address of a space lies in, and where. Checks alignment and bounds.
    #[inline]
    pub fn place(
        &mut self,
        space: MemSpace,
        addr: u64,
        bytes: u64,
        lane: usize,
    ) -> Result<Place<'a>, Refused> {
        if addr & (bytes - 1) != 0 {
            let message = format!("{bytes}-byte access at {addr:#x}, which is not a multiple of {bytes}");
            return Err((FaultKind::Misaligned, message, Some(lane as u32)));
        }
        self.place_bytes(space, addr, bytes, lane)
    }

    /// The same without a rule about alignment.
    pub fn place_bytes(
        &mut self,
        space: MemSpace,
        addr: u64,
        bytes: u64,
        lane: usize,
    ) -> Result<Place<'a>, Refused> {
        let out = |what: &str, size: usize| {
            let message = format!("{bytes} bytes at {what} {addr:#x}, of which there are {size}");
            (FaultKind::OutOfBounds, message, Some(lane as u32))
        };
        let low = addr & (WINDOW - 1);
        let in_window = |start: u64| (start..start + WINDOW).contains(&addr);
        match space {
            MemSpace::Shared => {
                let cta = self.me.cta;
                if low + bytes <= self.ctas[cta].shared.len() as u64 {
                    return Ok(Place::Shared { cta, at: low as usize });
                }
                Err(out("shared address", self.ctas[cta].shared.len()))
            }
            MemSpace::SharedCluster => self.place_in_cluster(low, bytes, lane),
            MemSpace::Generic if in_window(GENERIC_SHARED) => self.place_in_cluster(low, bytes, lane),
            MemSpace::Local => self
                .place_local(low, bytes, lane)
                .ok_or_else(|| out("local address", self.launch.kernel.local_bytes)),
            MemSpace::Generic if in_window(GENERIC_LOCAL) => self
                .place_local(low, bytes, lane)
                .ok_or_else(|| out("local address", self.launch.kernel.local_bytes)),
            MemSpace::Generic if in_window(GENERIC_PARAM) => {
                self.place_bytes(MemSpace::Param, low, bytes, lane)
            }
            MemSpace::Param if low + bytes <= self.launch.params.len() as u64 => {
                Ok(Place::Param(low as usize))
            }
            MemSpace::Param => Err(out("parameter offset", self.launch.params.len())),
            _ => match self.allocation(addr, bytes) {
                Some(a) => Ok(Place::Global(a, addr)),
                None => {
                    let message =
                        format!("{bytes} bytes at global {addr:#x}: {}", self.memory.describe(addr));
                    Err((FaultKind::OutOfBounds, message, Some(lane as u32)))
                }
            },
        }
    }

    fn place_local(&self, low: u64, bytes: u64, lane: usize) -> Option<Place<'a>> {
        let size = self.launch.kernel.local_bytes;
        (low + bytes <= size as u64).then_some(Place::Local(lane * size + low as usize))
    }

    /// An address in the window of the cluster.
    fn place_in_cluster(&mut self, low: u64, bytes: u64, lane: usize) -> Result<Place<'a>, Refused> {
        let (cta, at) = self.in_cluster(low, lane)?;
        let size = self.ctas[cta].shared.len();
        if at + bytes > size as u64 {
            let message = format!("{bytes} bytes at shared address {at:#x} of a CTA that has {size}");
            return Err((FaultKind::OutOfBounds, message, Some(lane as u32)));
        }
        if cta != self.me.cta && !self.ctas[cta].alive() {
            let message = format!("shared memory of CTA {:?}, which has ended", self.ctas[cta].seat.ctaid);
            return Err((FaultKind::Lifetime, message, Some(lane as u32)));
        }
        if let Some(check) = self.check.as_mut().filter(|_| cta != self.me.cta) {
            check.visit(cta, self.me.warp, self.me.at);
        }
        Ok(Place::Shared { cta, at: at as usize })
    }

    /// The CTA and offset of an address in the window of the cluster.
    pub fn in_cluster(&self, low: u64, lane: usize) -> Result<(usize, u64), Refused> {
        let (rank, at) = (low / RANK, low % RANK);
        if rank == 0 {
            return Ok((self.me.cta, at));
        }
        self.of_rank(rank - 1, lane).map(|cta| (cta, at))
    }

    /// The place of a CTA of the own cluster.
    pub fn of_rank(&self, rank: u64, lane: usize) -> Result<usize, Refused> {
        let size = self.launch.cluster_size();
        if rank >= size as u64 {
            let message = format!("rank {rank} in a cluster of {size} CTAs");
            return Err((FaultKind::OutOfBounds, message, Some(lane as u32)));
        }
        Ok(self.me.cta / size * size + rank as usize)
    }

    #[inline]
    pub fn load(&self, local: &[u8], place: Place, offset: usize, bytes: u8) -> u64 {
        match place {
            Place::Global(a, addr) => a.load(addr + offset as u64, bytes),
            Place::Shared { cta, at } => word(&self.ctas[cta].shared[at + offset..], bytes),
            Place::Local(at) => word(&local[at + offset..], bytes),
            Place::Param(at) => word(&self.launch.params[at + offset..], bytes),
        }
    }

    #[inline]
    pub fn store(&mut self, local: &mut [u8], place: Place, offset: usize, bytes: u8, value: u64) {
        let to = match place {
            Place::Global(a, addr) => return a.store(addr + offset as u64, bytes, value),
            Place::Shared { cta, at } => {
                self.ctas[cta].version += 1;
                &mut self.ctas[cta].shared[at + offset..]
            }
            Place::Local(at) => &mut local[at + offset..],
            // `place` refuses stores to parameters before they come here.
            Place::Param(_) => return,
        };
        match bytes {
            4 => to[..4].copy_from_slice(&(value as u32).to_le_bytes()),
            8 => to[..8].copy_from_slice(&value.to_le_bytes()),
            n => to[..n as usize].copy_from_slice(&value.to_le_bytes()[..n as usize]),
        }
    }
}

fn counters(launch: &Launch) -> Counters {
    let mut counters = Counters::new(launch.kernel.code.len());
    counters.trace = launch.sample.map(|s| Recorder::new(s, launch.cluster_size(), launch.warps()));
    counters
}

fn word(from: &[u8], bytes: u8) -> u64 {
    let mut word = [0; 8];
    match bytes {
        4 => return u32::from_le_bytes([from[0], from[1], from[2], from[3]]) as u64,
        8 => word.copy_from_slice(&from[..8]),
        n => word[..n as usize].copy_from_slice(&from[..n as usize]),
    }
    u64::from_le_bytes(word)
}
