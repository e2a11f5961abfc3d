//! Tensor maps that the kernel writes: each has to be fenced by its address before a copy uses it.
//!
//! ```text
//! warp 0: tensormap.cp_fenceproxy [map], …                      a generic write, and its release
//!         fence.proxy.tensormap::generic.acquire.gpu [map], 128  kept: warp 0, interval 5, what it knows
//!         bar.sync
//! warp 1: cp.async.bulk.tensor …, [map, …]                       knows {0: 5}: what was known there is fenced
//! ```

use super::{
    Check,
    clock::{Agent, Clock},
};

/// One fence of a map.
pub struct MapFence {
    map: u64,
    warp: usize,
    interval: u32,
    seen: Clock,
}

impl Check<'_> {
    /// `fence.proxy.tensormap::generic.acquire` of the map at this address.
    pub fn map_fence(&mut self, warp: usize, map: u64) {
        let (interval, seen) = (self.know[warp].seen.get(warp as Agent), self.know[warp].seen.clone());
        self.map_fences.retain(|f| (f.map, f.warp) != (map, warp));
        self.map_fences.push(MapFence { map, warp, interval, seen });
        self.next_interval(warp);
    }

    /// A copy is about to read a map: what of its past is fenced for it?
    pub fn before_map_read(&mut self, warp: usize, map: u64) {
        let known = &self.know[warp].seen;
        self.fenced_map = Clock::default();
        for f in self.map_fences.iter().filter(|f| f.map == map) {
            if known.get(f.warp as Agent) >= f.interval {
                self.fenced_map.join(&f.seen);
            }
        }
    }
}
