//! Simulated time: enough that events are in order and that more work takes longer.
//!
//! Each stream has a time in nanoseconds, and an operation moves it on. The figures are round numbers of an H200's data
//! sheet; latency, occupancy and overlap within a kernel are not modelled. With `SIM_CUDA_TIME=predicted` a kernel takes
//! what the simulator's model of an H100 predicts (docs/simulator.md says what that is worth), and simulating it takes
//! longer, as its steps are recorded.

use ptx_sim::{Summary, time::Prediction};

/// From the call to the first instruction.
const LAUNCH_NS: u64 = 2_000;
const COPY_NS: u64 = 1_000;
/// Bytes per microsecond over PCIe, and within device memory (each byte is read and written).
const PCIE_PER_US: u64 = 50_000;
const MEMORY_PER_US: u64 = 2_400_000;
/// 132 multiprocessors that issue four warps of 32 threads in each cycle, at 1.755 GHz.
const THREADS_PER_US: u64 = 132 * 128 * 1_755;

/// Whether kernels take their predicted time.
pub fn predicts() -> bool {
    std::env::var_os("SIM_CUDA_TIME").is_some_and(|v| v == "predicted")
}

pub fn predicted(time: &Prediction) -> u64 {
    (time.seconds * 1e9) as u64
}

pub fn kernel(summary: &Summary) -> u64 {
    LAUNCH_NS + summary.thread_instructions.saturating_mul(1_000) / THREADS_PER_US
}

pub fn copy(bytes: u64, over_pcie: bool) -> u64 {
    COPY_NS + bytes.saturating_mul(1_000) / if over_pcie { PCIE_PER_US } else { MEMORY_PER_US }
}
