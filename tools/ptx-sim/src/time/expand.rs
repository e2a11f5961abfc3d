//! What the assembler makes of one PTX instruction, as far as time matters: issue slots, trips through a pipe, and the pipe.
//!
//! PTX is not what runs. Seen in what ptxas 13 emits for sm_90a, and measured (`tests/time/device`):
//!
//! ```text
//! ex2.approx.ftz.f32   MUFU.EX2                                    1 slot,  special once
//! ex2.approx.f32       FSETP, FMUL if tiny, MUFU.EX2, FMUL if tiny 4 slots, special once
//! ex2.approx.f16x2     MUFU.EX2.F16 for either half                2 slots, special twice
//! div.rn.f32           MUFU.RCP, FCHK, eight more                  11 slots, special twice
//! cvt.rzi.s32.f32      F2I                                         special; to f32 I2FP, as quick as an integer instruction
//! cvt.f32.f16          HADD2.F32                                   the pipe of 16-bit floats
//! popc, clz, bfind     as MUFU: four lanes a clock
//! ```

use crate::{ir::*, profile::Pipe};
use tile_target::timing::Timing;

/// One PTX instruction as machine instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expansion {
    /// The pipe that limits it.
    pub pipe: Pipe,
    /// Machine instructions, and how many of them go through the pipe.
    pub slots: u64,
    pub trips: u64,
    /// From its issue to one that uses its result.
    pub latency: u64,
}

/// Of those that have no kind of their own in [`super::cost`].
pub fn expand(op: &Op, timing: &Timing) -> Expansion {
    let arithmetic = u64::from(timing.arithmetic);
    let one = |pipe, latency: u32| Expansion { pipe, slots: 1, trips: 1, latency: latency.into() };
    // One after the other through one pipe.
    let row = |pipe, n: u64| Expansion { pipe, slots: n, trips: n, latency: n * arithmetic };
    match op {
        Op::Float { op, ty, mods, .. } => float(*op, *ty, mods, timing),
        Op::Convert { to, from, mods, .. } => convert(*to, *from, mods, timing),
        Op::Int { op: IntOp::Popc | IntOp::Clz | IntOp::Brev | IntOp::Bfind, width, .. } => {
            let n = if *width == Width::W64 { 2 } else { 1 };
            Expansion { slots: n, trips: n, ..one(Pipe::Special, timing.special) }
        }
        Op::Int { op: IntOp::Div | IntOp::Rem, width, .. } => {
            // By a reciprocal in f32, and corrections.
            row(Pipe::Int, if *width == Width::W64 { 80 } else { 20 })
        }
        Op::Int {
            width: Width::W64, op: IntOp::MulLo | IntOp::MulHi | IntOp::MadLo | IntOp::MadHi, ..
        } => row(Pipe::Int, 4),
        Op::Int { width: Width::W64, .. } | Op::Carry { wide: true, .. } => row(Pipe::Int, 2),
        Op::Redux { .. } => one(Pipe::Special, timing.redux),
        Op::VotePred { .. } | Op::VoteBallot { .. } => one(Pipe::Int, timing.vote),
        Op::MatchAny { .. } | Op::MatchAll { .. } => one(Pipe::Special, timing.redux),
        op => match Pipe::of(op) {
            Pipe::Tensor => one(Pipe::Tensor, timing.mma_sync),
            Pipe::Memory => one(Pipe::Memory, timing.shared),
            pipe => one(pipe, timing.arithmetic),
        },
    }
}

fn float(op: FloatOp, ty: FloatType, mods: &FloatMods, timing: &Timing) -> Expansion {
    use FloatOp::*;
    let arithmetic = u64::from(timing.arithmetic);
    let special = |slots: u64, trips: u64| Expansion {
        pipe: Pipe::Special,
        slots,
        trips,
        latency: u64::from(timing.special) + (slots - 1) * arithmetic,
    };
    let plain = |pipe, slots: u64, latency: u32| Expansion {
        pipe,
        slots,
        trips: slots,
        latency: u64::from(latency) * slots,
    };
    let packed = matches!(ty, FloatType::F16x2 | FloatType::Bf16x2);
    match (op, ty) {
        (Div | Sqrt, FloatType::F64) => plain(Pipe::F64, 30, timing.double),
        (Min | Max, FloatType::F64) => plain(Pipe::F64, 2, timing.double),
        (_, FloatType::F64) => plain(Pipe::F64, 1, timing.double),
        (Min | Max | Abs | Neg, _) => plain(Pipe::Int, 1, timing.arithmetic),
        // The reciprocal, a check of the operands, and Newton's steps, most of them beside each other.
        (Div, _) => Expansion { latency: 44, ..special(11, 2) },
        (Sqrt, _) => Expansion { latency: 44, ..special(9, 1) },
        (DivApprox | Sin | Cos, _) => special(2, 1),
        (Tanh, _) if !packed => special(1, 1),
        // Denormals: the operand is scaled, and the result scaled back.
        (Ex2 | Lg2 | Rsqrt, FloatType::F32) if !mods.ftz => special(4, 1),
        (Ex2 | Lg2 | Rsqrt | Rcp | Tanh | RcpCoarse | RsqrtCoarse, _) if packed => special(2, 2),
        (Ex2 | Lg2 | Rsqrt | Rcp | Tanh | RcpCoarse | RsqrtCoarse, _) => special(1, 1),
        (_, FloatType::F32) => plain(Pipe::F32, 1, timing.arithmetic),
        _ => plain(Pipe::F16, 1, timing.half),
    }
}

/// Conversions share no pipe: it depends on the two types.
fn convert(to: Scalar, from: Scalar, mods: &FloatMods, timing: &Timing) -> Expansion {
    let one = |pipe, latency: u32| Expansion { pipe, slots: 1, trips: 1, latency: latency.into() };
    let integer = |s| matches!(s, Scalar::Int { .. });
    let wide = |s| s == Scalar::F64 || matches!(s, Scalar::Int { bits: 64, .. });
    match (integer(to), integer(from)) {
        (true, true) => one(Pipe::Int, timing.arithmetic),
        (false, true) if to == Scalar::F32 && !wide(from) => one(Pipe::Int, timing.arithmetic),
        (true, false) | (false, true) => one(Pipe::Special, timing.special + 2),
        (false, false) if wide(to) || wide(from) => one(Pipe::Special, timing.special + 2),
        (false, false) if to == from => match mods.rounding {
            Rounding::NearestInt | Rounding::ZeroInt | Rounding::DownInt | Rounding::UpInt => {
                one(Pipe::Special, timing.special)
            }
            _ => one(Pipe::F32, timing.arithmetic),
        },
        (false, false) if to == Scalar::F32 && from == Scalar::F16 => one(Pipe::F16, timing.half),
        (false, false) => one(Pipe::Convert, timing.convert),
    }
}
