//! How long things take on one device: latencies, what the memory system gives, and the clock that it keeps up.
//!
//! [`crate::rates`] has what a unit does at best; here is what stands between that and a kernel. Each figure names its
//! source, or says *estimate*; those are small next to what they are added to. Those of H100 are measured: on an H200, which has the
//! same multiprocessors and more memory, by `tools/ptx-sim/tests/time/device`, results in
//! `docs/benchmarks/micro-h200-2026-11-26.json`. Those of A100 were written down from papers without their tables at hand, and want
//! a second reading or a measurement.
//!
//! | mark | source |
//! | --- | --- |
//! | \[M\] | the measurements on an H200 |
//! | \[L\] | Luo et al., "Dissecting the NVIDIA Hopper Architecture through Microbenchmarking and Multiple Level Analysis", arXiv 2501.12084 (and 2402.13499) |
//! | \[S\] | Sun et al., "Dissecting Tensor Cores via Microbenchmarks", arXiv 2206.02874 |
//! | \[A\] | Abdelkhalik et al., "Demystifying the Nvidia Ampere Architecture through Microbenchmarking and Instruction-level Analysis", arXiv 2208.11174 |
//! | \[W\] | NVIDIA's white papers on A100 and H100 |
//!
//! # The clock
//!
//! A data sheet's peak is at a clock that a device keeps only while it needs less power than it may. What a chip takes grows with what
//! its units do in a clock, with the clock, and with the square of the voltage, which grows with the clock:
//!
//! ```text
//! power ~ activity · clock³       activity = part of the tensor cores' peak that is used + part of the issue slots
//!
//! product of 8192 by wgmma        0.95 + 0.05     1.55 GHz: the reference
//! attention by mma.sync           0.35 + 0.45     1.67
//! product by mma.sync             0.35 + 0.20     1.89
//! sums of rows                    0    + 0.40     1.98, as high as it goes
//! ```
//!
//! `sustained_clock` is *fitted*: so that the model's product takes the time that cuBLAS was measured to take (see
//! docs/simulator.md). [M] has 1.36 to 1.50 GHz, by the data, after a second of nothing but products. That an issue slot counts as much
//! as the tensor core beside it is an estimate. Both belong to the device and are the same for every kernel.

use crate::Target;

/// Times are in clocks unless their name says otherwise.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Timing {
    /// In Hz, under sustained tensor load; and the highest.
    pub sustained_clock: f64,
    pub highest_clock: f64,
    /// Part of the tensor cores' peak that `mma.sync` reaches; `wgmma` reaches all of it.
    pub mma_sync_share: f64,
    /// From an arithmetic instruction to one that uses its result; the same of 16-bit and 64-bit floats.
    pub arithmetic: u32,
    pub half: u32,
    pub double: u32,
    /// The same of rcp, ex2 and their like; of conversions between floats that are packed; of votes and `redux`.
    pub special: u32,
    pub convert: u32,
    pub vote: u32,
    pub redux: u32,
    /// The same of `mma.sync`; and what a `wgmma` takes beside its work.
    pub mma_sync: u32,
    pub wgmma: u32,
    /// Loads from shared memory; also shuffles. Atomics that return a value.
    pub shared: u32,
    pub atomic_shared: u32,
    /// From an operation on an mbarrier to what needs its result; from the end of a phase to those who wait for it.
    pub mbarrier: u32,
    pub mbarrier_wake: u32,
    /// Loads that L2 answers, and those that the device's memory has to.
    pub l2: u32,
    pub memory: u32,
    /// What a copy by the copy engine (TMA) takes beyond a load of the same bytes.
    pub copy_engine: u32,
    /// From the last arrival at a barrier to the instructions behind it.
    pub barrier: u32,
    /// Fences that order within a CTA, and beyond it.
    pub fence_cta: u32,
    pub fence_gpu: u32,
    /// Loads from another CTA of the cluster; from the last arrival at the cluster's barrier to those behind it; from an arrival at
    /// another CTA's mbarrier to its effect.
    pub cluster: u32,
    pub cluster_barrier: u32,
    pub cluster_hop: u32,
    /// Bytes that L2 gives per clock to one multiprocessor, and to all together.
    pub l2_port: f64,
    pub l2_all: f64,
    /// Part of the memory's peak that streams reach.
    pub memory_share: f64,
    /// From the end of one CTA to the first instruction of the next on the same multiprocessor; from one CTA that is begun anywhere
    /// to the next one.
    pub cta_start: u32,
    pub cta_dispatch: f64,
    /// From one kernel's end to the next one's beginning, in seconds, when launches follow each other.
    pub launch: f64,
}

const A100: Timing = Timing {
    // The boost clock: the tensor cores of A100 reach it within its power limit on most data.
    sustained_clock: 1.41e9,
    highest_clock: 1.41e9,
    // [S]: m16n8k16 reaches the peak.
    mma_sync_share: 1.0,
    // [A]: 4 for what depends.
    arithmetic: 4,
    half: 4,
    double: 4,
    // [A]: ex2 18, rcp 23 and more with its fix-up.
    special: 18,
    // [A]: cvt 8 to 12.
    convert: 10,
    // As H100.
    vote: 13,
    redux: 44,
    // [S]: 24.7 for m16n8k16 with f32 sums.
    mma_sync: 25,
    wgmma: 0,
    // [L]: shared memory 29.0, L2 261.5, device 466.3.
    shared: 29,
    atomic_shared: 64,
    mbarrier: 60,
    mbarrier_wake: 77,
    l2: 262,
    memory: 466,
    copy_engine: 0,
    // As H100.
    barrier: 12,
    fence_cta: 11,
    fence_gpu: 267,
    cluster: 0,
    cluster_barrier: 0,
    cluster_hop: 0,
    // [W]: 5120 bytes per clock; 64 per clock into one multiprocessor.
    l2_port: 64.0,
    l2_all: 5120.0,
    // Estimate: STREAM measures about nine tenths of the data sheet's figure.
    memory_share: 0.9,
    // Estimates.
    cta_start: 270,
    cta_dispatch: 1.1,
    launch: 2e-6,
};

/// All of it [M], but for the clock.
const H100: Timing = Timing {
    // Fitted to cuBLAS, see above.
    sustained_clock: 1.55e9,
    highest_clock: 1.98e9,
    // m16n8k16 every 6 clocks, two warps to a partition: two thirds of what wgmma reaches.
    mma_sync_share: 2.0 / 3.0,
    // 4.2 with the loop around.
    arithmetic: 4,
    // 8.2, 8.1.
    half: 8,
    double: 8,
    // 17.0; cvt.rn.bf16x2.f32 4.3.
    special: 17,
    convert: 4,
    // 17.2 with the comparison before it; 44.1.
    vote: 13,
    redux: 44,
    // 24.2. A wgmma that is waited for takes 44 (A in registers) to 55 beside its work, the instructions around it among them.
    mma_sync: 24,
    wgmma: 36,
    // 23.1; b128 26.1, ldmatrix.x4 29.1, of which the port takes 3. atom.shared 64 to 86.
    shared: 23,
    atomic_shared: 64,
    // arrive and try_wait by one thread 127; from one warp to another 84; a thread that only feeds the copy engine, 134 a copy.
    mbarrier: 56,
    mbarrier_wake: 77,
    // 282 in L2; 662 by loads that miss it, at random over 256 MiB.
    l2: 282,
    memory: 662,
    // 411 for a copy of 1024 bytes from L2, from its start to what waits for it.
    copy_engine: 30,
    // bar.sync of n warps 12 + 2 n.
    barrier: 12,
    fence_cta: 11,
    fence_gpu: 267,
    // ld.shared::cluster 191; barrier.cluster 82 to 86 when relaxed, 357 with its release, which is a fence of the device; an arrival
    // with such a release at another CTA's mbarrier 424 to the one that waits.
    cluster: 191,
    cluster_barrier: 80,
    cluster_hop: 80,
    // 104 by TMA and by cp.async, 124 by loads; all together 36 each.
    l2_port: 104.0,
    l2_all: 4760.0,
    // Of 4.8 TB/s: 4.46 read or written, 4.25 by two reads and a write, 4.10 copied.
    memory_share: 0.885,
    // Empty CTAs of 200 KiB, one after the other, every 149 to 158 ns; small ones everywhere, every 0.6 ns.
    cta_start: 270,
    cta_dispatch: 1.1,
    launch: 2e-6,
};

impl Timing {
    /// The clock that is kept while so much of the tensor cores' peak, and of the issue slots, is used.
    pub fn clock(&self, tensor: f64, issue: f64) -> f64 {
        let activity = (tensor + issue).max(f64::MIN_POSITIVE);
        (self.sustained_clock / activity.cbrt()).clamp(self.sustained_clock, self.highest_clock)
    }
}

/// Of the targets that have been described.
pub fn timing(target: &Target) -> Option<&'static Timing> {
    match target.name {
        "sm_80" => Some(&A100),
        "sm_90" => Some(&H100),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_rates_has_times() {
        for target in crate::ALL {
            assert_eq!(timing(target).is_some(), crate::rates::rates(target).is_some(), "{}", target.name);
        }
    }

    #[test]
    fn a_busy_device_is_slower() {
        let [loaded, mixed, idle] = [(1.0, 0.1), (0.35, 0.45), (0.0, 0.4)].map(|(t, i)| H100.clock(t, i));
        assert_eq!((loaded, idle), (1.55e9, 1.98e9));
        assert!((1.6e9..1.7e9).contains(&mixed), "{mixed:e}");
        assert_eq!(A100.clock(0.0, 0.0), A100.clock(1.0, 1.0));
    }

    #[test]
    fn nothing_is_faster_than_the_data_sheet() {
        for target in crate::ALL {
            let (Some(t), Some(r)) = (timing(target), crate::rates::rates(target)) else { continue };
            assert!(t.sustained_clock <= r.clock && t.sustained_clock <= t.highest_clock);
            assert!(t.mma_sync_share <= 1.0 && t.memory_share <= 1.0);
        }
    }
}
