//! Collective operations: they run when all lanes that they name, and that live, stand at them.
//!
//! ```text
//! shfl.sync …, 0xffffffff    lanes 0-15 come first: they wait; lanes 16-31 come on another way: all 32 shuffle
//! @%p bar.sync 0             %p false in half of the lanes of the group: nobody waits for those; a finding
//! ```

use super::{
    divergence::{Group, Wait},
    rows::lanes,
    warp::{Next, Refused, Warp},
    world::World,
};
use crate::{fault::FaultKind, ir::*};

/// Lanes that have to come together for an operation.
#[derive(Clone, Copy)]
pub enum Members {
    /// All of the warp that live.
    Warp,
    /// Those in a register.
    Named(Slot),
}

pub fn members(op: &Op) -> Option<Members> {
    match op {
        Op::Barrier { aligned: true, .. }
        | Op::BarrierReduce { aligned: true, .. }
        | Op::LoadMatrix(_)
        | Op::StoreMatrix { .. }
        | Op::Mma { .. }
        | Op::MmaQuads(_) => Some(Members::Warp),
        Op::Shuffle { members, .. }
        | Op::VotePred { members, .. }
        | Op::VoteBallot { members, .. }
        | Op::MatchAny { members, .. }
        | Op::Redux { members, .. }
        | Op::Elect { members, .. }
        | Op::WarpSync { members } => Some(Members::Named(*members)),
        Op::Hopper(op) => match &**op {
            HopperOp::Wgmma(_)
            | HopperOp::WgmmaFence
            | HopperOp::WgmmaCommit
            | HopperOp::WgmmaWait { .. }
            | HopperOp::SetMaxRegisters { .. }
            | HopperOp::TensorMapCopyFence { .. }
            | HopperOp::ClusterArrive { aligned: true, .. }
            | HopperOp::ClusterWait { aligned: true, .. } => Some(Members::Warp),
            _ => None,
        },
        _ => None,
    }
}

/// Operations on matrices, which have no meaning for a part of a warp.
fn needs_whole_warp(op: &Op) -> bool {
    match op {
        Op::LoadMatrix(_) | Op::StoreMatrix { .. } | Op::Mma { .. } | Op::MmaQuads(_) => true,
        Op::Hopper(op) => matches!(**op, HopperOp::Wgmma(_) | HopperOp::SetMaxRegisters { .. }),
        _ => false,
    }
}

impl Warp {
    /// A collective: runs when all lanes that it names and that live are here.
    pub(super) fn converge(
        &mut self,
        op: &Op,
        group: Group,
        active: u32,
        members: Members,
        world: &mut World,
    ) -> Result<Next, Refused> {
        let wanted = match members {
            Members::Warp => self.live(),
            Members::Named(row) => lanes(active).fold(0, |m, l| m | self.rows.row(row)[l]) & self.live(),
        };
        let code = &world.launch.kernel.code;
        let is_sync = |op: &Op| matches!(op, Op::WarpSync { .. });
        // Each way of a branch may have its own `bar.warp.sync`; other collectives meet at one instruction.
        let meets =
            |pc: u32| pc == group.pc || is_sync(op) && code.get(pc as usize).is_some_and(|i| is_sync(&i.op));
        let here = active | (self.groups.converging(meets, self.exited) & wanted & !group.mask);
        if let Members::Named(row) = members
            && let Some(l) = lanes(active).find(|&l| self.rows.row(row)[l] >> l & 1 == 0)
        {
            let message =
                format!("lane {l} is not among the lanes {:#010x} that it names", self.rows.row(row)[l]);
            return Err((FaultKind::SyncMask, message, Some(l as u32)));
        }
        if wanted & !here != 0 {
            if wanted & group.mask & !active != 0 {
                return Err(self.refuse_partial(op, active, wanted));
            }
            return Ok(Next::Again(Wait::Converge { members: wanted }));
        }
        if here == active {
            return match self.collective(op, here, members, group.give_up, world)? {
                Next::Go => {
                    self.groups.current().pc += 1;
                    Ok(Next::Go)
                }
                other => Ok(other),
            };
        }
        // Several groups at once: all of them go on, or wait alike.
        let next = match op {
            Op::WarpSync { .. } => {
                self.order_lanes(here, world);
                Next::Go
            }
            _ => self.collective(op, here, members, group.give_up, world)?,
        };
        self.groups.current().wait = Some(Wait::Converge { members: wanted });
        match next {
            Next::Again(wait) => {
                self.groups.wait_together(group.pc, wait);
                Ok(Next::Again(wait))
            }
            Next::Go | Next::Yield => {
                self.groups.pass_together(meets, None);
                Ok(Next::Go)
            }
            Next::After(wait) => {
                self.groups.pass_together(meets, Some(wait));
                Ok(Next::Go)
            }
        }
    }

    /// Check mode: a collective operation of these lanes has run.
    fn order_lanes(&self, mask: u32, world: &mut World) {
        if let Some(check) = &mut world.check {
            check.lanes.order(self.agent, mask, mask == self.live());
        }
    }

    pub(super) fn refuse_partial(&self, op: &Op, here: u32, wanted: u32) -> Refused {
        let missing = wanted & !here;
        match op {
            Op::Barrier { .. } | Op::BarrierReduce { .. } => {
                let message = format!(
                    "an aligned barrier is reached by lanes {here:#010x} while {:#010x} are alive",
                    self.live()
                );
                (FaultKind::DivergentBarrier, message, None)
            }
            _ => {
                let message = format!(
                    "a collective operation by lanes {here:#010x} names or needs {missing:#010x} too, which do not come"
                );
                (FaultKind::SyncMask, message, None)
            }
        }
    }

    /// Runs a collective for all lanes that take part, once for each set of lanes that name each other.
    fn collective(
        &mut self,
        op: &Op,
        mask: u32,
        members: Members,
        give_up: bool,
        world: &mut World,
    ) -> Result<Next, Refused> {
        let Members::Named(row) = members else {
            if mask != self.live() || needs_whole_warp(op) && mask != u32::MAX {
                return Err(self.refuse_partial(op, mask, u32::MAX));
            }
            let next = self.execute(op, mask, give_up, world)?;
            self.order_lanes(mask, world);
            return Ok(next);
        };
        let mut left = mask;
        let live = self.live();
        while left != 0 {
            let leader = left.trailing_zeros() as usize;
            let named = self.rows.row(row)[leader] & live;
            let agree = lanes(named & mask).all(|l| self.rows.row(row)[l] & live == named);
            if named & !left != 0 || !agree {
                let message = format!(
                    "lane {leader} names lanes {named:#010x}, which do not all name the same (or not together)"
                );
                return Err((FaultKind::SyncMask, message, Some(leader as u32)));
            }
            self.execute(op, named, give_up, world)?;
            self.order_lanes(named, world);
            left &= !named;
        }
        Ok(Next::Go)
    }
}
