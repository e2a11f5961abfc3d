//! What a CTA owns besides its warps: shared memory, barriers, mbarriers, the pool of registers.

use super::{
    barrier::{BARRIERS, Barrier},
    launch::{Launch, Seat},
    mbarrier::Mbarrier,
    registers::Pool,
};
use std::collections::{BTreeMap, VecDeque};

pub struct Cta {
    pub seat: Seat,
    pub shared: Vec<u8>,
    /// Goes up with every write to shared memory.
    pub version: u64,
    pub barriers: [Barrier; BARRIERS],
    /// Living mbarriers by their offset in shared memory.
    pub mbarriers: BTreeMap<usize, Mbarrier>,
    pub pool: Pool,
    /// Living lanes of each warp.
    pub live: Vec<u32>,
    /// For each warpgroup and warp of it: the `wgmma` it has begun that others of the group have not yet.
    pub tensor: Vec<[VecDeque<TensorStep>; 4]>,
}

/// A `wgmma` as one warp of the group sees it: instruction and operands that have to be the same for all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TensorStep {
    pub at: u32,
    pub a: u64,
    pub b: u64,
}

impl Cta {
    pub fn new(launch: &Launch, seat: Seat) -> Cta {
        let (threads, warps) = (launch.threads(), launch.warps());
        let lanes = |w: usize| match threads - 32 * w as u32 {
            n if n >= 32 => u32::MAX,
            n => (1 << n) - 1,
        };
        Cta {
            seat,
            shared: vec![0; launch.shared_bytes()],
            version: 0,
            barriers: Default::default(),
            mbarriers: BTreeMap::new(),
            pool: Pool::new(launch.registers, warps),
            live: (0..warps).map(lanes).collect(),
            tensor: vec![Default::default(); warps.div_ceil(4)],
        }
    }

    pub fn alive(&self) -> bool {
        self.live.iter().any(|l| *l != 0)
    }

    /// Warps that are done, in threads.
    fn exited(&self) -> u32 {
        32 * self.live.iter().filter(|l| **l == 0).count() as u32
    }

    /// Opens every barrier that all expected threads have reached.
    pub fn open_barriers(&mut self) -> bool {
        let (warps, exited) = (self.live.len(), self.exited());
        let mut any = false;
        for b in self.barriers.iter_mut() {
            any |= b.open_if_complete(warps, exited);
        }
        any
    }

    /// For a report of who waits.
    pub fn describe_barrier(&self, id: usize) -> String {
        let (there, expected) = self.barriers[id].progress(self.live.len(), self.exited());
        format!("barrier {id}, where {there} of {expected} threads are")
    }

    /// Whether the bytes overlap a living mbarrier.
    pub fn touches_mbarrier(&self, from: usize, bytes: usize) -> bool {
        let Some((first, _)) = self.mbarriers.first_key_value() else { return false };
        from + bytes > *first
            && self.mbarriers.range(..from + bytes).next_back().is_some_and(|(at, _)| at + 8 > from)
    }
}
