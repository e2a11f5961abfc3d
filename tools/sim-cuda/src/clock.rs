//! Simulated time: enough that events are in order and that more work takes longer.
//!
//! Each stream has a time in nanoseconds, and an operation moves it on. The figures are round numbers of an H200's data
//! sheet; latency, occupancy and overlap within a kernel are not modelled. Nobody should quote a time from here: the
//! predictions of this project come from the simulator's counters, and carry their error.

use ptx_sim::Summary;

/// From the call to the first instruction.
const LAUNCH_NS: u64 = 2_000;
const COPY_NS: u64 = 1_000;
/// Bytes per microsecond over PCIe, and within device memory (each byte is read and written).
const PCIE_PER_US: u64 = 50_000;
const MEMORY_PER_US: u64 = 2_400_000;
/// 132 multiprocessors that issue four warps of 32 threads in each cycle, at 1.755 GHz.
const THREADS_PER_US: u64 = 132 * 128 * 1_755;

pub fn kernel(summary: &Summary) -> u64 {
    LAUNCH_NS + summary.thread_instructions.saturating_mul(1_000) / THREADS_PER_US
}

pub fn copy(bytes: u64, over_pcie: bool) -> u64 {
    COPY_NS + bytes.saturating_mul(1_000) / if over_pcie { PCIE_PER_US } else { MEMORY_PER_US }
}
