//! Sums of a counted run by pipe, the sites that matter, and a lower bound on the time a device would take.
//!
//! A *pipe* is a unit that does one thing at a fixed rate. No kernel is faster than its busiest pipe; how much slower it is
//! (latency that nobody hides, pipes that wait for each other) this does not say. [`bounds`] has the rates, [`crate::time`] the rest.

pub mod bounds;

use crate::{
    exec::count::{Counters, Site},
    ir::*,
};

/// Units of a multiprocessor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Pipe {
    F32,
    F16,
    F64,
    /// Integers, logic, moves, comparisons, selections.
    Int,
    Convert,
    Special,
    /// `mma`, `wgmma`.
    Tensor,
    /// Loads, stores, atomics, shuffles, asynchronous copies.
    Memory,
    /// Branches, barriers, waits, fences.
    Control,
}

impl Pipe {
    pub const ALL: [Pipe; 9] = [
        Pipe::F32,
        Pipe::F16,
        Pipe::F64,
        Pipe::Int,
        Pipe::Convert,
        Pipe::Special,
        Pipe::Tensor,
        Pipe::Memory,
        Pipe::Control,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Pipe::F32 => "f32",
            Pipe::F16 => "f16",
            Pipe::F64 => "f64",
            Pipe::Int => "int",
            Pipe::Convert => "convert",
            Pipe::Special => "special",
            Pipe::Tensor => "tensor",
            Pipe::Memory => "memory",
            Pipe::Control => "control",
        }
    }

    pub fn of(op: &Op) -> Pipe {
        match op {
            Op::Float { op, ty, .. } => float_pipe(*op, *ty),
            Op::Convert { .. } => Pipe::Convert,
            Op::Mma { .. } | Op::MmaQuads(_) => Pipe::Tensor,
            Op::Load { .. }
            | Op::Store { .. }
            | Op::LoadParam { .. }
            | Op::Atomic { .. }
            | Op::LoadMatrix(_)
            | Op::StoreMatrix { .. }
            | Op::CopyAsync { .. }
            | Op::Shuffle { .. } => Pipe::Memory,
            Op::Branch { .. }
            | Op::Call { .. }
            | Op::Return { .. }
            | Op::Exit
            | Op::Trap
            | Op::Barrier { .. }
            | Op::BarrierReduce { .. }
            | Op::WarpSync { .. }
            | Op::Fence(_)
            | Op::NanoSleep { .. }
            | Op::CopyAsyncCommit
            | Op::CopyAsyncWait { .. } => Pipe::Control,
            Op::Hopper(op) => match **op {
                HopperOp::Wgmma(_) => Pipe::Tensor,
                HopperOp::Bulk(_) | HopperOp::StoreAsync { .. } => Pipe::Memory,
                _ => Pipe::Control,
            },
            _ => Pipe::Int,
        }
    }
}

fn float_pipe(op: FloatOp, ty: FloatType) -> Pipe {
    use FloatOp::*;
    match (op, ty) {
        (_, FloatType::F64) => Pipe::F64,
        (
            Div | Sqrt | Rsqrt | Rcp | Ex2 | Lg2 | Sin | Cos | Tanh | DivApprox | RcpCoarse | RsqrtCoarse,
            _,
        ) => Pipe::Special,
        (_, FloatType::F32) => Pipe::F32,
        _ => Pipe::F16,
    }
}

/// Multiply-adds of one warp's part of a matrix instruction, as so many of 16-bit operands (8-bit ones count half,
/// tf32 double).
pub fn tensor_work(op: &Op) -> (u64, f64) {
    match op {
        Op::Mma { m, n, k, a_type, .. } => {
            let products = *m as u64 * *n as u64 * *k as u64;
            let weight = match a_type {
                MatrixType::F16 | MatrixType::Bf16 => 1.0,
                MatrixType::Tf32 => 2.0,
                MatrixType::F64 => 16.0,
                _ => 0.5,
            };
            (products, products as f64 * weight)
        }
        // Four products of 8 × 8 × 4.
        Op::MmaQuads(_) => (1024, 1024.0),
        Op::Hopper(op) => match &**op {
            HopperOp::Wgmma(w) => {
                let products = 16 * w.n as u64 * w.k as u64;
                // A sparse product does twice the work in the same time.
                let halved = if w.sparse.is_some() { 0.5 } else { 1.0 };
                let weight = crate::exec::units::operand::bits(w.a_type) as f64 / 16.0;
                (products, products as f64 * weight * halved)
            }
            _ => (0, 0.0),
        },
        _ => (0, 0.0),
    }
}

/// One instruction that moves bytes or waits.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Hot {
    pub line: u32,
    pub source_line: u32,
    pub pipe: Pipe,
    pub site: Site,
}

/// The sums of a run.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// Of the grid, and those of them that were counted.
    pub ctas: u64,
    pub counted: u64,
    pub warp_instructions: u64,
    pub thread_instructions: u64,
    /// Warps and lanes, in the order of [`Pipe::ALL`].
    pub pipes: Vec<(Pipe, u64, u64)>,
    /// Multiply-adds, and the same weighed by how long they take.
    pub tensor: u64,
    pub tensor_weighed: f64,
    pub total: Site,
    pub touched_bytes: u64,
    /// Sites with memory accesses or waits, in the order of the text.
    pub hot: Vec<Hot>,
}

impl Profile {
    pub fn new(kernel: &Kernel, counters: &Counters, ctas: u64) -> Profile {
        let (counted, touched_bytes) = (counters.ctas, counters.touched_bytes());
        let mut p = Profile { ctas, counted, touched_bytes, ..Profile::default() };
        p.pipes = Pipe::ALL.iter().map(|&pipe| (pipe, 0, 0)).collect();
        for (inst, site) in kernel.code.iter().zip(&counters.sites) {
            let pipe = Pipe::of(&inst.op);
            if let Some(sum) = p.pipes.iter_mut().find(|s| s.0 == pipe) {
                (sum.1, sum.2) = (sum.1 + site.warps, sum.2 + site.lanes);
            }
            let (products, weighed) = tensor_work(&inst.op);
            p.tensor += products * site.warps;
            p.tensor_weighed += weighed * site.warps as f64;
            p.total.add(site);
            if site.sectors + site.wavefronts + site.waits > 0 {
                p.hot.push(Hot { line: inst.line, source_line: inst.loc.1, pipe, site: *site });
            }
        }
        (p.warp_instructions, p.thread_instructions) = (p.total.warps, p.total.lanes);
        p
    }
}
