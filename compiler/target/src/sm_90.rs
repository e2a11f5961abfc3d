//! Hopper (H100, H200).

use crate::{MMA_SYNC, Target};

pub const SM_90: Target = Target {
    name: "sm_90",
    capability: 90,
    processor: "sm_90a",
    llvm_cpu: "sm_90a",
    ptx_feature: "+ptx80",
    warp: 32,
    registers_per_sm: 65536,
    registers_per_thread: 255,
    threads_per_block: 1024,
    shared_per_block: 227 * 1024,
    shared_per_sm: 228 * 1024,
    threads_per_sm: 2048,
    sms: 132,
    tensor_maps: true,
    mma: MMA_SYNC,
};
