//! Blackwell for data centres (B200).

use crate::{MMA_SYNC, Target};

pub const SM_100: Target = Target {
    name: "sm_100",
    capability: 100,
    processor: "sm_100a",
    llvm_cpu: "sm_100a",
    ptx_feature: "+ptx86",
    warp: 32,
    registers_per_sm: 65536,
    registers_per_thread: 255,
    threads_per_block: 1024,
    shared_per_block: 227 * 1024,
    shared_per_sm: 228 * 1024,
    threads_per_sm: 2048,
    sms: 148,
    tensor_maps: true,
    mma: MMA_SYNC,
};
