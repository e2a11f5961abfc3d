//! What one instruction costs on a target, before anything is known of its operands.
//!
//! PTX is not what runs: ptxas drops copies between registers, folds parameters into operands, and makes several
//! instructions of a division or a 64-bit sum, which [`super::expand`] knows; the pipes' rates and the latencies are the target's.
//!
//! ```text
//! H100, one of four partitions    fma.rn.f32        32 of 32 lanes a clock: the pipe is busy for 1, the result is there after 4
//!                                 max.f32           16 lanes a clock:                        2                            4
//!                                 ex2.approx.ftz     4 lanes a clock:                        8                           17
//!                                 mma m16n8k16      2048 of 341 products a clock:            6                           24
//!                                 wgmma n = 256     a quarter is 65536 of 512 a clock:     128           at the wait for it
//! ```

use super::expand::{Expansion, expand};
use crate::{
    exec::units::operand,
    ir::*,
    profile::{Pipe, tensor_work},
};
use tile_target::{rates::Rates, timing::Timing};

/// What the model does with an instruction besides taking its time on a pipe.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// ptxas removes it: its result is there when its operand is.
    Removed,
    Plain,
    /// Loads, stores, shuffles: through the port of L1 and shared memory.
    Memory,
    CopyAsync,
    CopyCommit,
    CopyWait {
        pending: u32,
        all: bool,
    },
    /// Wavefronts of shared memory that this quarter reads.
    Wgmma {
        wavefronts: f64,
    },
    WgmmaCommit,
    WgmmaWait {
        pending: u32,
    },
    BulkCommit,
    BulkWait {
        pending: u32,
    },
    ClusterArrive,
    ClusterWait,
}

/// The cost of one instruction.
#[derive(Clone, Debug)]
pub struct Cost {
    pub kind: Kind,
    pub pipe: Pipe,
    /// Issue slots, clocks that the pipe of the partition is busy, clocks until the result is there.
    pub slots: u64,
    pub busy: u64,
    pub latency: u64,
    /// Clocks that the warp stands still for a fence, which come before what the instruction does to others.
    pub holds: u64,
    /// Multiply-adds of a tensor core, as so many of 16-bit operands.
    pub products: f64,
    /// Rows, and predicates behind all rows.
    pub uses: Vec<u32>,
    pub defs: Vec<u32>,
}

/// Clocks of the tensor core that every `mma.sync` takes.
const MMA_SYNC_LEAST: f64 = 4.0;

/// Partitions of a multiprocessor: each has its issue slot, pipes, and tensor core.
pub const PARTITIONS: usize = 4;

/// The costs of all instructions of a kernel.
pub fn costs(kernel: &Kernel, rates: &Rates, timing: &Timing) -> Vec<Cost> {
    kernel.code.iter().map(|inst| cost(kernel, inst, rates, timing)).collect()
}

fn cost(kernel: &Kernel, inst: &Inst, rates: &Rates, timing: &Timing) -> Cost {
    let Expansion { pipe, slots, trips, latency } = expand(&inst.op, timing);
    let kind = kind(&inst.op);
    let (mut uses, mut defs) = (vec![], vec![]);
    let predicate = |p: Pred| kernel.rows + 1 + p;
    uses.extend(inst.guard.map(|(p, _)| predicate(p)));
    let asynchronous = matches!(kind, Kind::Wgmma { .. });
    inst.op.visit(&mut |role| match role {
        Role::Use(s) | Role::Address(s) if kernel.is_register(s) => uses.push(s),
        Role::UsePred(p) => uses.push(predicate(p)),
        // The registers of a wgmma are ready when its wait is over.
        Role::Def(s) if !asynchronous => defs.push(s),
        Role::DefPred(p) => defs.push(predicate(p)),
        _ => {}
    });
    let once = match pipe {
        Pipe::Tensor => tensor_clocks(&inst.op, rates, timing),
        _ => lane_rate(pipe, rates).map_or(1, |rate| (32.0 * PARTITIONS as f64 / rate).ceil() as u64),
    };
    let latency = special_latency(&inst.op, timing).unwrap_or(latency).max(once);
    let (holds, products) = (holds(&inst.op, timing), tensor_work(&inst.op).1);
    Cost { kind, pipe, slots, busy: trips * once, latency, holds, products, uses, defs }
}

/// Latencies of what is no arithmetic: loads that leave the multiprocessor are reckoned when they are played.
fn special_latency(op: &Op, timing: &Timing) -> Option<u64> {
    let clocks = match op {
        Op::Atomic { space: MemSpace::Shared | MemSpace::SharedCluster, .. } => timing.atomic_shared,
        Op::Load { space: MemSpace::SharedCluster, .. } => timing.cluster,
        Op::TransposeMatrix { .. } => timing.shared,
        Op::Hopper(op) if matches!(**op, HopperOp::Mbarrier(_)) => timing.mbarrier,
        _ => return None,
    };
    Some(clocks.into())
}

/// What a warp stands still for: fences, and the release that an arrival beyond the CTA contains.
fn holds(op: &Op, timing: &Timing) -> u64 {
    let release = |order: &Order| match (order.releases(), order.scope) {
        (false, _) => 0,
        (true, Scope::Cta) => timing.fence_cta,
        (true, _) => timing.fence_gpu,
    };
    let clocks = match op {
        Op::Fence(Fence::Thread(order)) => release(order),
        Op::Fence(_) => timing.fence_cta,
        Op::Hopper(op) => match &**op {
            HopperOp::ClusterArrive { order, .. } => release(order),
            HopperOp::Mbarrier(Mbarrier::Arrive { order, .. }) if order.scope != Scope::Cta => release(order),
            _ => 0,
        },
        _ => 0,
    };
    clocks.into()
}

/// Lanes per clock of a multiprocessor, of the pipes that have less than an instruction in each clock and partition.
fn lane_rate(pipe: Pipe, rates: &Rates) -> Option<f64> {
    match pipe {
        Pipe::F32 => Some(rates.f32),
        Pipe::F16 => Some(rates.f16),
        Pipe::F64 => Some(rates.f64),
        Pipe::Int => Some(rates.int),
        Pipe::Convert => Some(rates.convert),
        Pipe::Special => Some(rates.special),
        Pipe::Tensor | Pipe::Memory | Pipe::Control => None,
    }
}

/// Clocks that one partition's tensor core needs. A wgmma is no faster than shared memory gives its operands.
fn tensor_clocks(op: &Op, rates: &Rates, timing: &Timing) -> u64 {
    let (_, work) = tensor_work(op);
    let rate = rates.tensor / PARTITIONS as f64;
    let clocks = match kind(op) {
        Kind::Wgmma { wavefronts } => (work / rate).max(wavefronts * PARTITIONS as f64 / rates.shared),
        // Short ones take their time, too: m16n8k8 the same as twice its work.
        _ => (work / (rate * timing.mma_sync_share)).max(MMA_SYNC_LEAST),
    };
    (clocks.ceil() as u64).max(1)
}

/// A quarter's share of the operands in shared memory: its rows of A, and a fourth of B, which all quarters read together.
fn wavefronts(w: &Wgmma) -> f64 {
    let k_bytes = w.k as f64 * operand::bits(w.a_type) as f64 / 8.0;
    let a_rows = match w.a {
        WgmmaA::Registers(_) => 0.0,
        WgmmaA::Descriptor(_) => 16.0,
    };
    k_bytes * (a_rows + w.n as f64 / PARTITIONS as f64) / 128.0
}

fn kind(op: &Op) -> Kind {
    match op {
        Op::Nop | Op::Copy { .. } | Op::LoadParam { .. } | Op::Cvta { .. } => Kind::Removed,
        Op::Load { .. } | Op::Store { .. } | Op::Atomic { .. } => Kind::Memory,
        Op::LoadMatrix(_) | Op::StoreMatrix { .. } => Kind::Memory,
        Op::Shuffle { .. } | Op::Redux { .. } | Op::TransposeMatrix { .. } => Kind::Memory,
        Op::CopyAsync { .. } => Kind::CopyAsync,
        Op::CopyAsyncCommit => Kind::CopyCommit,
        Op::CopyAsyncWait { pending, all } => Kind::CopyWait { pending: *pending, all: *all },
        Op::Hopper(op) => match &**op {
            HopperOp::Wgmma(w) => Kind::Wgmma { wavefronts: wavefronts(w) },
            HopperOp::WgmmaCommit => Kind::WgmmaCommit,
            HopperOp::WgmmaWait { pending } => Kind::WgmmaWait { pending: *pending },
            HopperOp::BulkCommit => Kind::BulkCommit,
            HopperOp::BulkWait { pending, .. } => Kind::BulkWait { pending: *pending },
            HopperOp::ClusterArrive { .. } => Kind::ClusterArrive,
            HopperOp::ClusterWait { .. } => Kind::ClusterWait,
            _ => Kind::Plain,
        },
        _ => Kind::Plain,
    }
}
