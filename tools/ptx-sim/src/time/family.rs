//! Which kernels the predictions were checked on: a figure is quoted for these, and for others it says so.
//!
//! A *family* is the machinery that a kernel lives by. The tests compare one or more kernels of each listed family with
//! published measurements (`tests/time/published.rs`) and hold them to 15 %.

use crate::ir::*;
use tile_target::Target;

/// The family that was checked and that a kernel belongs to.
pub fn checked(kernel: &Kernel, target: &Target) -> Option<&'static str> {
    let any = |f: &dyn Fn(&Op) -> bool| kernel.code.iter().any(|i| f(&i.op));
    let hopper = |f: &dyn Fn(&HopperOp) -> bool| any(&|op| matches!(op, Op::Hopper(h) if f(h)));
    let sixteen = |t: WgmmaType| matches!(t, WgmmaType::F16 | WgmmaType::Bf16);
    let wgmma = hopper(&|h| matches!(h, HopperOp::Wgmma(w) if sixteen(w.a_type) && w.sparse.is_none()));
    let copies = hopper(&|h| matches!(h, HopperOp::Bulk(_)));
    let half = |t: MatrixType| matches!(t, MatrixType::F16 | MatrixType::Bf16);
    let mma = any(&|op| matches!(op, Op::Mma { a_type, sparse: None, .. } if half(*a_type)));
    let cp_async = any(&|op| matches!(op, Op::CopyAsync { .. }));
    match target.name {
        "sm_90" if wgmma && copies => Some("16-bit wgmma with the copy engine, on H100"),
        "sm_90" if mma && cp_async => Some("16-bit mma.sync with cp.async, on H100"),
        "sm_80" if mma && cp_async => Some("16-bit mma.sync with cp.async, on A100"),
        _ => None,
    }
}
