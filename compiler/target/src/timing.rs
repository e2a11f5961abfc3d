//! How long things take on one device: latencies, what the memory system gives, and the clock that it keeps up.
//!
//! [`crate::rates`] has what a unit does at best; here is what stands between that and a kernel. Each figure names its
//! source, or says *estimate*; those are small next to what they are added to. The figures of the four papers were
//! written down without their tables at hand: they want a second reading, or a measurement on a device. What speaks
//! for them so far is that whole kernels come out as published.
//!
//! | mark | source |
//! | --- | --- |
//! | \[L\] | Luo et al., "Dissecting the NVIDIA Hopper Architecture through Microbenchmarking and Multiple Level Analysis", arXiv 2501.12084 (and 2402.13499) |
//! | \[S\] | Sun et al., "Dissecting Tensor Cores via Microbenchmarks", arXiv 2206.02874 |
//! | \[A\] | Abdelkhalik et al., "Demystifying the Nvidia Ampere Architecture through Microbenchmarking and Instruction-level Analysis", arXiv 2208.11174 |
//! | \[J\] | Jia et al., "Dissecting the NVIDIA Volta GPU Architecture via Microbenchmarking", arXiv 1804.06826 |
//! | \[W\] | NVIDIA's white papers on A100 and H100 |
//!
//! # The clock
//!
//! A data sheet's peak is at the boost clock. Under dense tensor work the power limit rules: an H100 SXM at 700 W runs far
//! below 1.83 GHz, by an amount that depends on the data, the cooling and the board. `sustained_clock` is the one
//! *fitted* number of the model: that of H100 is set so that the model's product of 8192 × 8192 × 8192 takes the time
//! that cuBLAS was measured to take (see docs/simulator.md). It is a property of the device, the same for every kernel;
//! attention is predicted with it, not fitted.

use crate::Target;

/// Times are in clocks unless their name says otherwise.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Timing {
    /// In Hz, under sustained tensor load.
    pub sustained_clock: f64,
    /// Part of the tensor cores' peak that `mma.sync` reaches; `wgmma` reaches all of it.
    pub mma_sync_share: f64,
    /// From an arithmetic instruction to one that uses its result.
    pub arithmetic: u32,
    /// The same of rcp, ex2 and their like, and of conversions.
    pub special: u32,
    pub convert: u32,
    /// The same of `mma.sync`; and what a `wgmma` takes beside its work.
    pub mma_sync: u32,
    pub wgmma: u32,
    /// Loads from shared memory; also shuffles, and tries of an mbarrier.
    pub shared: u32,
    /// Loads that L2 answers, and those that the device's memory has to.
    pub l2: u32,
    pub memory: u32,
    /// What a copy by the copy engine (TMA) takes beyond a load of the same bytes.
    pub copy_engine: u32,
    /// From the last arrival at a barrier to the instructions behind it.
    pub barrier: u32,
    /// The same between the CTAs of a cluster, and from a remote arrival to its effect.
    pub cluster: u32,
    /// Bytes that L2 gives per clock to one multiprocessor, and to all together.
    pub l2_port: f64,
    pub l2_all: f64,
    /// Part of the memory's peak that streams reach.
    pub memory_share: f64,
    /// From the end of one CTA to the first instruction of the next on the same multiprocessor.
    pub cta_start: u32,
    /// From one kernel's end to the next one's beginning, in seconds, when launches follow each other.
    pub launch: f64,
}

const A100: Timing = Timing {
    // The boost clock: the tensor cores of A100 reach it within its power limit on most data.
    sustained_clock: 1.41e9,
    // [S]: m16n8k16 reaches the peak.
    mma_sync_share: 1.0,
    // [A], [J]: 4 for what depends.
    arithmetic: 4,
    // [A]: ex2 18, rcp 23 and more with its fix-up.
    special: 18,
    // [A]: cvt 8 to 12.
    convert: 10,
    // [S]: 24.7 for m16n8k16 with f32 sums.
    mma_sync: 25,
    wgmma: 0,
    // [L]: shared memory 29.0, L2 261.5, device 466.3.
    shared: 29,
    l2: 262,
    memory: 466,
    copy_engine: 0,
    // Estimate: [J] measures about 20 for a barrier that nobody is late for.
    barrier: 20,
    cluster: 0,
    // [W]: 5120 bytes per clock; 64 per clock into one multiprocessor.
    l2_port: 64.0,
    l2_all: 5120.0,
    // Estimate: STREAM measures about nine tenths of the data sheet's figure.
    memory_share: 0.9,
    // Estimate.
    cta_start: 200,
    launch: 2e-6,
};

const H100: Timing = Timing {
    // Fitted to cuBLAS, see above.
    sustained_clock: 1.55e9,
    // [L]: mma.sync reaches 62.9 % of the peak on average.
    mma_sync_share: 0.629,
    arithmetic: 4,
    special: 18,
    convert: 10,
    // [L]: 32 to 33 for m16n8k16.
    mma_sync: 33,
    // [L]: m64n256k16 takes 128, its work; small shapes show about 18 beside it.
    wgmma: 18,
    // [L]: shared memory 29.0, L2 263.0, device 478.8.
    shared: 29,
    l2: 263,
    memory: 479,
    // [L]: TMA takes about 170 more than a load.
    copy_engine: 170,
    barrier: 20,
    // [L]: 180 from one multiprocessor to another.
    cluster: 180,
    // [W] names no figure for H100; as A100, which [L] finds it to exceed by little.
    l2_port: 64.0,
    l2_all: 5120.0,
    memory_share: 0.92,
    cta_start: 200,
    launch: 2e-6,
};

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
    fn nothing_is_faster_than_the_data_sheet() {
        for target in crate::ALL {
            let (Some(t), Some(r)) = (timing(target), crate::rates::rates(target)) else { continue };
            assert!(t.sustained_clock <= r.clock);
            assert!(t.mma_sync_share <= 1.0 && t.memory_share <= 1.0);
        }
    }
}
