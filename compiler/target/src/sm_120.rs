//! Blackwell for graphics (RTX 50): mma.sync is its matrix instruction, with little shared memory.

use crate::{MMA_SYNC, Target};

pub const SM_120: Target = Target {
    name: "sm_120",
    capability: 120,
    processor: "sm_120a",
    llvm_cpu: "sm_120a",
    ptx_feature: "+ptx87",
    warp: 32,
    registers_per_sm: 65536,
    registers_per_thread: 255,
    threads_per_block: 1024,
    shared_per_block: 99 * 1024,
    shared_per_sm: 100 * 1024,
    threads_per_sm: 1536,
    sms: 170,
    tensor_maps: true,
    mma: MMA_SYNC,
};
