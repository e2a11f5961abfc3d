//! Which clusters stand for a grid, and how many of them one multiprocessor gets.
//!
//! ```text
//! H100, grid of 2048 CTAs, clusters of 2, one CTA to a multiprocessor (shared memory):
//!     66 groups of two multiprocessors, ⌈1024 / 66⌉ = 16 clusters each, one at a time
//! samples: clusters 0, 341, 682, 1023: evenly over the grid, as the CTAs of a causal mask differ along it, and with both
//! ends, one of which has the most work then
//! ```

use super::{registers, trace::Sample};
use crate::{Geometry, ir::Kernel};
use tile_target::Target;

/// Clusters that are traced at most; the others take their turn as these.
const MOST_TRACED: u64 = 4;
/// Greater numbers are taken for this one.
const MOST: u64 = 1 << 40;
/// CTAs that one multiprocessor holds, and shared memory that each takes besides its own.
const MOST_CTAS: u64 = 32;
const RESERVED_SHARED: u64 = 1024;

/// How a grid falls on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    pub clusters: u64,
    pub cluster_size: u64,
    /// Groups of multiprocessors that run clusters; the others are idle.
    pub groups: u64,
    /// Clusters that the busiest group gets, and that it holds at once.
    pub each: u64,
    pub places: u64,
    /// Registers of a thread, known or estimated.
    pub registers: u32,
}

pub fn shares(kernel: &Kernel, geometry: &Geometry, target: &Target) -> Shares {
    // What is too large is refused when it runs.
    let product = |d: [u32; 3]| d.iter().fold(1, |p: u64, &n| p.saturating_mul(n as u64)).clamp(1, MOST);
    let required = kernel.limits.required_cluster;
    let asked = product(geometry.cluster);
    let cluster_size =
        if asked == 1 && required != [0; 3] { product(required.map(|n| n.max(1))) } else { asked };
    let clusters = (product(geometry.grid) / cluster_size).max(1);
    let threads = product(geometry.block).min(1024).next_multiple_of(32);
    let registers = registers::per_thread(kernel, threads as u32, target);
    let shared = kernel.static_shared.saturating_add(geometry.dynamic_shared) as u64;
    let shared = shared.saturating_add(RESERVED_SHARED);
    let by_registers = target.registers_per_sm as u64 / (threads * registers as u64);
    let places = (target.shared_per_sm as u64 / shared)
        .min(target.threads_per_sm as u64 / threads)
        .min(by_registers)
        .clamp(1, MOST_CTAS);
    let groups = (target.sms as u64 / cluster_size).clamp(1, clusters);
    Shares { clusters, cluster_size, groups, each: clusters.div_ceil(groups), places, registers }
}

/// The clusters to trace. `only`: to run no others, and without the values of tensor products.
pub fn sample(kernel: &Kernel, geometry: &Geometry, target: &Target, only: bool) -> Sample {
    let Shares { clusters, .. } = shares(kernel, geometry, target);
    let count = clusters.min(MOST_TRACED);
    let number = |n: u64| n * (clusters - 1) / (count - 1).max(1);
    Sample { clusters: (0..count).map(number).collect(), only }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worked_example() {
        let ptx = ".version 8.0\n.target sm_90a\n.address_size 64\n.visible .entry k() { ret; }";
        let kernel = crate::decode::kernel(&crate::read::parse(ptx).unwrap(), "k").unwrap();
        let target = tile_target::find("sm_90").unwrap();
        let geometry = Geometry {
            grid: [2048, 1, 1],
            block: [384, 1, 1],
            cluster: [2, 1, 1],
            dynamic_shared: 200 << 10,
            ..Geometry::default()
        };
        let s = shares(&kernel, &geometry, target);
        assert_eq!((s.clusters, s.groups, s.each, s.places), (1024, 66, 16, 1));
        let few = sample(&kernel, &geometry, target, true);
        assert_eq!(few.clusters, [0, 341, 682, 1023]);
        // Five warps' worth of shared memory fit, five CTAs are there: one group for each.
        let small = Geometry { grid: [5, 1, 1], cluster: [1; 3], ..geometry };
        let s = shares(&kernel, &small, target);
        assert_eq!((s.groups, s.each), (5, 1));
    }
}
