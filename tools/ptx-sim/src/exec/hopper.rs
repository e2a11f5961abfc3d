//! The remaining operations of compute capability 9.0: clusters, bulk groups, `setmaxnreg`.

use super::{
    bulk,
    divergence::Wait,
    mbarrier_ops,
    registers::{self, Outcome},
    rows::{Rows, lanes},
    tensor,
    warp::{Next, Refused},
    world::{GENERIC_SHARED, RANK, WINDOW, World},
};
use crate::{fault::FaultKind, ir::*};

/// Runs an operation for the lanes of `mask`.
pub fn run(r: &mut Rows, mask: u32, op: &HopperOp, give_up: bool, m: &mut World) -> Result<Next, Refused> {
    match op {
        HopperOp::Mbarrier(op) => return mbarrier_ops::run(r, mask, op, give_up, m),
        HopperOp::Bulk(op) => bulk::issue(r, mask, op, m)?,
        HopperOp::StoreAsync { .. } => bulk::store_async(r, mask, op, m)?,
        HopperOp::BulkCommit => {
            lanes(mask).for_each(|lane| m.agents.commit_bulk(m.me.warp, lane));
        }
        HopperOp::BulkWait { pending, read_only } => {
            for lane in lanes(mask) {
                m.wait_bulk(lane, *pending as usize, *read_only)?;
            }
        }
        HopperOp::ClusterArrive { order, .. } => cluster_arrive(mask, *order, m)?,
        HopperOp::ClusterWait { order, .. } => return cluster_wait(mask, *order, m),
        &HopperOp::Mapa { d, a, rank, wide, generic } => {
            for lane in lanes(mask) {
                let value = if wide { r.wide(a, lane) } else { r.row(a)[lane] as u64 };
                let (_, at) = m.in_cluster(value & (WINDOW - 1), lane)?;
                let rank = r.row(rank)[lane] as u64;
                m.of_rank(rank, lane)?;
                let mapped = (rank + 1) * RANK + at + if generic { GENERIC_SHARED } else { 0 };
                if wide { r.set_wide(d, lane, mapped) } else { r.row_mut(d)[lane] = mapped as u32 }
            }
        }
        &HopperOp::CtaRank { d, a, wide, .. } => {
            for lane in lanes(mask) {
                let value = if wide { r.wide(a, lane) } else { r.row(a)[lane] as u64 };
                let (cta, _) = m.in_cluster(value & (WINDOW - 1), lane)?;
                r.row_mut(d)[lane] = m.ctas[cta].seat.rank;
            }
        }
        HopperOp::SetMaxRegisters { increase, count } => return set_registers(*increase, *count, m),
        // Grids run one after another here: those ahead are over. What a program may rely on, check mode says.
        HopperOp::GridDependency { wait: true } => {
            if let Some(check) = &mut m.check {
                check.wait_for_grids(m.me.warp);
            }
        }
        HopperOp::GridDependency { wait: false } | HopperOp::PrefetchTensorMap { .. } => {}
        HopperOp::TensorMapReplace { .. } => tensor::replace_field(r, mask, op, m)?,
        HopperOp::TensorMapCopyFence { .. } => tensor::copy_map(r, mask, op, m)?,
        // See `super::tensor_core`, which needs more of the warp.
        HopperOp::Wgmma(_) | HopperOp::WgmmaFence | HopperOp::WgmmaCommit | HopperOp::WgmmaWait { .. } => {}
    }
    Ok(Next::Go)
}

/// Number of the running warp in its cluster.
fn warp_in_cluster(m: &World) -> (usize, usize) {
    let size = m.launch.cluster_size();
    (m.me.cta / size, m.me.cta % size * m.launch.warps() + m.me.number)
}

fn cluster_arrive(mask: u32, order: Order, m: &mut World) -> Result<(), Refused> {
    let (cluster, warp) = warp_in_cluster(m);
    let knowledge = match order.semantics {
        // A relaxed arrive carries only what lies behind a fence.
        Semantics::Relaxed => m.check.as_ref().and_then(|c| c.behind_fence(m.me.warp).cloned()),
        _ => m.publish(),
    };
    m.cluster_barriers[cluster].arrive(warp, mask, knowledge.as_ref())?;
    m.changes += 1;
    m.open_cluster_barrier(cluster);
    Ok(())
}

fn cluster_wait(mask: u32, order: Order, m: &mut World) -> Result<Next, Refused> {
    let (cluster, warp) = warp_in_cluster(m);
    let barrier = &m.cluster_barriers[cluster];
    let acquire = order.semantics != Semantics::Relaxed;
    // The round the lanes have arrived in: the current one if it is still open.
    Ok(match barrier.arrived_lanes(warp) & mask {
        0 if barrier.round == 0 => {
            let message = "a wait for the cluster barrier without an arrive before".into();
            return Err((FaultKind::BarrierMisuse, message, None));
        }
        0 => Next::After(Wait::Cluster { round: barrier.round - 1, acquire }),
        _ => Next::After(Wait::Cluster { round: barrier.round, acquire }),
    })
}

impl World<'_> {
    pub fn open_cluster_barrier(&mut self, cluster: usize) {
        let size = self.launch.cluster_size();
        let live: Vec<u32> =
            self.ctas[cluster * size..(cluster + 1) * size].iter().flat_map(|c| c.live.clone()).collect();
        if self.cluster_barriers[cluster].open_if_complete(&live) {
            self.changes += 1;
        }
    }
}

fn set_registers(increase: bool, count: u32, m: &mut World) -> Result<Next, Refused> {
    let me = m.me;
    if !registers::known_at_entry(&m.launch.kernel.limits) {
        let message = "ptxas ignores setmaxnreg here (C7508): neither .maxnreg nor .minnctapersm with .reqntid or .maxntid";
        if let Some(check) = &mut m.check {
            check.note(FaultKind::Registers, me.warp, me.at, None, message.into());
        }
        return Ok(Next::Go);
    }
    match m.ctas[me.cta].pool.set(me.number, increase, count) {
        registers::Outcome::Done => {
            m.ctas[me.cta].pool.note(me.number, me.at);
            m.changes += 1;
            Ok(Next::Go)
        }
        Outcome::Wait => Ok(Next::Again(Wait::Registers { count })),
        Outcome::Illegal(message) => Err((FaultKind::Registers, message, None)),
    }
}
