//! Ampere (A100): the oldest architecture the generic path serves.

use crate::{MMA_SYNC, Target};

pub const SM_80: Target = Target {
    name: "sm_80",
    capability: 80,
    processor: "sm_80",
    llvm_cpu: "sm_80",
    ptx_feature: "+ptx70",
    warp: 32,
    registers_per_sm: 65536,
    registers_per_thread: 255,
    threads_per_block: 1024,
    shared_per_block: 163 * 1024,
    shared_per_sm: 164 * 1024,
    threads_per_sm: 2048,
    sms: 108,
    tensor_maps: false,
    mma: MMA_SYNC,
};
