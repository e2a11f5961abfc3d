//! Ada (RTX 40, L4, L40): sm_86 with 8-bit floats.

use crate::{MMA_SYNC, Target};

pub const SM_89: Target = Target {
    name: "sm_89",
    capability: 89,
    processor: "sm_89",
    llvm_cpu: "sm_89",
    ptx_feature: "+ptx81",
    warp: 32,
    registers_per_sm: 65536,
    registers_per_thread: 255,
    threads_per_block: 1024,
    shared_per_block: 99 * 1024,
    shared_per_sm: 100 * 1024,
    threads_per_sm: 1536,
    sms: 128,
    tensor_maps: false,
    mma: MMA_SYNC,
};
