//! Facts of each GPU architecture as data: limits, matrix instructions, PTX version.
//!
//! One file per architecture holds one `pub const`; nothing here computes. A fact stands here when the plan or a
//! back end decides something by it, and comes from the CUDA programming guide's table of technical
//! specifications or the PTX manual's target notes.
//!
//! ```
//! let hopper = tile_target::find("sm_90").unwrap();
//! assert_eq!(hopper.processor, "sm_90a");
//! assert_eq!(hopper.shared_per_block, 227 * 1024);
//! ```

pub mod rates;
mod sm_100;
mod sm_120;
mod sm_80;
mod sm_86;
mod sm_89;
mod sm_90;
pub mod timing;

use serde::Serialize;
use tile_base::DType;

/// A warp-wide matrix instruction `mma.sync.aligned.m{m}n{n}k{k}`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct MmaShape {
    pub operand: DType,
    pub accumulator: DType,
    pub m: u32,
    pub n: u32,
    pub k: u32,
}

/// One architecture.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Target {
    /// How a user and a schedule name it: `sm_90`.
    pub name: &'static str,
    /// Compute capability times ten.
    pub capability: u32,
    /// What the assembler is told; `a` selects the features that exist on this chip alone.
    pub processor: &'static str,
    /// Processor name for LLVM; differs from `processor` only where LLVM would choose newer PTX for nothing.
    pub llvm_cpu: &'static str,
    /// The lowest PTX version that has everything the generic path uses, as LLVM spells it.
    pub ptx_feature: &'static str,
    pub warp: u32,
    pub registers_per_sm: u32,
    pub registers_per_thread: u32,
    pub threads_per_block: u32,
    /// Bytes a block may use after opting in.
    pub shared_per_block: u32,
    pub shared_per_sm: u32,
    pub threads_per_sm: u32,
    pub sms: u32,
    /// Whether there is a copy engine that takes tensor maps (TMA), and mbarriers that count its bytes.
    pub tensor_maps: bool,
    pub mma: &'static [MmaShape],
}

/// The shapes of `mma.sync` that every architecture from sm_80 on has and the generic path uses.
pub(crate) const MMA_SYNC: &[MmaShape] = &[
    MmaShape { operand: DType::F16, accumulator: DType::F32, m: 16, n: 8, k: 16 },
    MmaShape { operand: DType::Bf16, accumulator: DType::F32, m: 16, n: 8, k: 16 },
    MmaShape { operand: DType::Tf32, accumulator: DType::F32, m: 16, n: 8, k: 8 },
];

/// Every architecture, oldest first.
pub const ALL: [&Target; 6] =
    [&sm_80::SM_80, &sm_86::SM_86, &sm_89::SM_89, &sm_90::SM_90, &sm_100::SM_100, &sm_120::SM_120];

/// By the name a user gives (`sm_90`) or the processor's own (`sm_90a`).
pub fn find(name: &str) -> Option<&'static Target> {
    ALL.into_iter().find(|t| t.name == name || t.processor == name)
}

impl Target {
    /// The warp-wide instruction for operands of one dtype.
    pub fn mma_for(&self, operand: DType, accumulator: DType) -> Option<MmaShape> {
        self.mma.iter().copied().find(|s| s.operand == operand && s.accumulator == accumulator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_found_by_both_names() {
        for target in ALL {
            assert_eq!(find(target.name), Some(target));
            assert_eq!(find(target.processor), Some(target));
        }
        assert_eq!(find("sm_70"), None);
    }

    #[test]
    fn a_block_never_gets_more_than_its_multiprocessor_has() {
        for target in ALL {
            assert!(target.shared_per_block < target.shared_per_sm);
            assert!(target.threads_per_block <= target.threads_per_sm);
        }
    }

    #[test]
    fn only_the_listed_operands_have_a_matrix_instruction() {
        let ampere = find("sm_80").unwrap();
        assert_eq!(ampere.mma_for(DType::F16, DType::F32).map(|s| s.k), Some(16));
        assert_eq!(ampere.mma_for(DType::Tf32, DType::F32).map(|s| s.k), Some(8));
        assert_eq!(ampere.mma_for(DType::F32, DType::F32), None);
    }
}
