//! Ampere for graphics (RTX 30, A10): sm_80's instructions, little shared memory.

use crate::{MMA_SYNC, Target};

pub const SM_86: Target = Target {
    name: "sm_86",
    capability: 86,
    processor: "sm_86",
    llvm_cpu: "sm_86",
    ptx_feature: "+ptx71",
    warp: 32,
    registers_per_sm: 65536,
    registers_per_thread: 255,
    threads_per_block: 1024,
    shared_per_block: 99 * 1024,
    shared_per_sm: 100 * 1024,
    threads_per_sm: 1536,
    sms: 84,
    tensor_maps: false,
    mma: MMA_SYNC,
};
