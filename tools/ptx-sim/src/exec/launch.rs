//! What is the same for all CTAs of a launch, and the first contents of their registers.

use super::{check::earlier::GridLog, rows::Rows};
use crate::{
    ir::{Constant, Kernel, Slot, Special},
    time::trace::Sample,
};
use std::{collections::HashMap, sync::Arc};

pub struct Launch<'a> {
    pub kernel: &'a Kernel,
    pub meets: &'a [u32],
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub cluster: [u32; 3],
    pub dynamic_shared: usize,
    pub params: &'a [u8],
    pub globals: HashMap<String, u64>,
    pub step_limit: u64,
    pub check: bool,
    /// Launches ahead that may still run.
    pub after: &'a [Arc<GridLog>],
    /// What the grid does to global memory is kept for later launches.
    pub keep: bool,
    pub count: bool,
    pub sample: Option<&'a Sample>,
    pub seed: u64,
    /// See [`super::cta_order`].
    pub cta_order: Option<u64>,
    /// Registers of each thread at the start.
    pub registers: u32,
    /// What of the asynchronous machine the kernel uses, so that others need not pay for it.
    pub uses: Uses,
}

/// Which machinery a kernel needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Uses {
    pub wgmma: bool,
    /// CTAs may see each other's effects in global memory while they run, or their order in the result.
    pub communicates: bool,
}

/// Where a CTA stands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seat {
    pub ctaid: [u32; 3],
    /// Number of its cluster, in launch order.
    pub cluster: u64,
    pub rank: u32,
}

impl Launch<'_> {
    pub fn shared_bytes(&self) -> usize {
        match self.dynamic_shared {
            // Nothing lies behind the last variable.
            0 => self.kernel.static_shared,
            dynamic => self.kernel.dynamic_base.max(self.kernel.static_shared) + dynamic,
        }
    }

    pub fn threads(&self) -> u32 {
        self.block.iter().product()
    }

    pub fn warps(&self) -> usize {
        self.threads().div_ceil(32) as usize
    }

    pub fn cluster_size(&self) -> usize {
        self.cluster.iter().product::<u32>() as usize
    }

    pub fn clusters(&self) -> u64 {
        (0..3).map(|n| (self.grid[n] / self.cluster[n]) as u64).product()
    }

    /// The CTA of a rank in the n-th cluster.
    pub fn seat(&self, cluster: u64, rank: u32) -> Seat {
        let [cx, cy, cz] = self.cluster;
        let [gx, gy] = [0, 1].map(|n| (self.grid[n] / self.cluster[n]) as u64);
        let at = [(cluster % gx) as u32, (cluster / gx % gy) as u32, (cluster / gx / gy) as u32];
        let inner = [rank % cx, rank / cx % cy, rank / cx / cy];
        Seat { ctaid: [at[0] * cx + inner[0], at[1] * cy + inner[1], at[2] * cz + inner[2]], cluster, rank }
    }

    /// The number of a CTA in launch order.
    pub fn number(&self, [x, y, z]: [u32; 3]) -> u64 {
        (z as u64 * self.grid[1] as u64 + y as u64) * self.grid[0] as u64 + x as u64
    }

    /// Fills the rows that hold constants and special registers.
    pub fn initial_rows(&self, seat: Seat, warp: u32) -> Rows {
        let kernel = self.kernel;
        let mut rows = Rows::new(kernel.rows, kernel.preds);
        for (slot, constant) in &kernel.constants {
            match constant {
                Constant::Pred(value) => rows.set_pred(*slot, if *value { u32::MAX } else { 0 }, u32::MAX),
                Constant::Bits(value) => fill(&mut rows, *slot, *value),
                Constant::Global { name, offset } => {
                    let base = self.globals.get(name).copied().unwrap_or(0);
                    fill(&mut rows, *slot, base.wrapping_add_signed(*offset));
                }
            }
        }
        for (slot, special) in &kernel.specials {
            for lane in 0..32u32 {
                rows.row_mut(*slot)[lane as usize] = self.special(*special, seat, warp, lane);
            }
        }
        rows
    }

    fn special(&self, special: Special, seat: Seat, warp: u32, lane: u32) -> u32 {
        let [bx, by, bz] = self.block;
        let thread = warp * 32 + lane;
        let inside = |n: usize| seat.ctaid[n] % self.cluster[n];
        match special {
            Special::Tid(0) => thread % bx,
            Special::Tid(1) => thread / bx % by,
            Special::Tid(_) => thread / bx / by % bz.max(1),
            Special::Ntid(n) => self.block[n as usize],
            Special::Ctaid(n) => seat.ctaid[n as usize],
            Special::Nctaid(n) => self.grid[n as usize],
            Special::LaneId => lane,
            Special::WarpId => warp,
            Special::NWarpId => self.warps() as u32,
            Special::LaneMaskEq => 1 << lane,
            Special::LaneMaskLt => (1 << lane) - 1,
            Special::LaneMaskLe => u32::MAX >> (31 - lane),
            Special::LaneMaskGt => !(u32::MAX >> (31 - lane)),
            Special::LaneMaskGe => !((1 << lane) - 1),
            Special::DynamicSmemSize => self.dynamic_shared as u32,
            Special::TotalSmemSize => self.shared_bytes() as u32,
            Special::NSmId => super::grid::MULTIPROCESSORS,
            Special::SmId => (self.number(seat.ctaid) % super::grid::MULTIPROCESSORS as u64) as u32,
            Special::ClusterNCtaId(n) => self.cluster[n as usize],
            Special::ClusterNCtaRank => self.cluster_size() as u32,
            Special::ClusterId(n) => seat.ctaid[n as usize] / self.cluster[n as usize],
            Special::NClusterId(n) => self.grid[n as usize] / self.cluster[n as usize],
            Special::ClusterCtaId(n) => inside(n as usize),
            Special::ClusterCtaRank => seat.rank,
            Special::GridId | Special::Zero => 0,
        }
    }
}

fn fill(rows: &mut Rows, slot: Slot, value: u64) {
    *rows.row_mut(slot) = [value as u32; 32];
    // One-row constants are followed by somebody else's row; only wide ones have a high half to set.
    if value >> 32 != 0 {
        *rows.row_mut(slot + 1) = [(value >> 32) as u32; 32];
    }
}
