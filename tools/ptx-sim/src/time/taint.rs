//! A sampled run leaves tensor products out: does anything that it does depend on one?
//!
//! The results of `mma` and `wgmma` are *tainted*, and so is what is computed from them, per register and warp, and in
//! memory per 16 bytes. A tainted branch, address or barrier operand ends the run with a [`FaultKind::LeftOut`]: the trace
//! would not be that of the kernel.
//!
//! ```text
//! mma.sync {%f1, …}, …           %f1 tainted
//! ex2.approx.f32 %f2, %f1        %f2 tainted; no harm, it takes as long as with any value
//! setp.gt.f32 %p1, %f2, 0.0
//! @%p1 bra RESCALE               LeftOut: the run would not know which way the kernel goes
//! ```

use crate::{
    exec::{
        access::address,
        rows::{Rows, lanes},
        warp::Refused,
        world::{GENERIC_SHARED, Me, WINDOW},
    },
    fault::FaultKind,
    ir::*,
};
use std::collections::HashSet;

/// Bytes that are tainted together.
const GRANULE: u64 = 16;

/// The taint of one machine.
#[derive(Default)]
pub struct Taint {
    /// Registers and predicates of each warp of the machine.
    warps: Vec<Registers>,
    /// Granules of global memory, and of the shared memory of each CTA.
    memory: HashSet<(Option<usize>, u64)>,
}

#[derive(Clone, Default)]
struct Registers {
    rows: Vec<bool>,
    preds: Vec<bool>,
}

impl Registers {
    fn any(&self) -> bool {
        self.rows.iter().chain(&self.preds).any(|tainted| *tainted)
    }
}

fn get(bits: &[bool], at: u32) -> bool {
    bits.get(at as usize).copied().unwrap_or(false)
}

/// Lanes that were not executed keep what they had.
fn put(bits: &mut Vec<bool>, at: u32, tainted: bool, whole: bool) {
    let at = at as usize;
    if at >= bits.len() {
        if !tainted {
            return;
        }
        bits.resize(at + 1, false);
    }
    bits[at] = tainted || bits[at] && !whole;
}

impl Taint {
    /// A warp of a new CTA takes the place of another.
    pub fn begin(&mut self, warp: usize) {
        if let Some(registers) = self.warps.get_mut(warp) {
            *registers = Registers::default();
        }
    }

    /// Before an instruction of the lanes `active` out of `group`.
    pub fn look(&mut self, me: Me, inst: &Inst, active: u32, group: u32, rows: &Rows) -> Result<(), Refused> {
        if self.warps.len() <= me.warp {
            self.warps.resize(me.warp + 1, Registers::default());
        }
        let registers = &mut self.warps[me.warp];
        if inst.guard.is_some_and(|(p, _)| get(&registers.preds, p)) {
            let what = if matches!(inst.op, Op::Branch { .. }) { "a branch" } else { "a guard" };
            return Err(left_out(what));
        }
        if active == 0 {
            return Ok(());
        }
        if matches!(inst.op, Op::Call { .. } | Op::Return { .. }) && registers.any() {
            // Taint is kept by register, not by activation.
            let message = "a recursive function is called or left while registers hold what a sampled run leaves out; run the grid whole";
            return Err((FaultKind::LeftOut, message.into(), None));
        }
        let (mut from, mut steers) = (false, false);
        inst.op.visit(&mut |role| match role {
            Role::Use(s) => from |= get(&registers.rows, s),
            Role::UsePred(p) => from |= get(&registers.preds, p),
            Role::Address(s) => steers |= get(&registers.rows, s),
            _ => {}
        });
        // A shuffle's lane only decides which value comes.
        if steers && !matches!(inst.op, Op::Shuffle { .. }) {
            return Err(left_out("an address or a barrier"));
        }
        let mut tainted = from || steers || is_product(&inst.op);
        match &inst.op {
            Op::Load { space, addr, bytes, d, .. } => {
                tainted = self.reads(me, *space, *addr, *bytes as u64 * d.len() as u64, active, rows);
            }
            Op::LoadMatrix(op) => {
                tainted = self.reads(me, MemSpace::Shared, op.addr, 16, active, rows);
            }
            Op::Store { space, addr, bytes, a, .. } => {
                self.writes(me, *space, *addr, *bytes as u64 * a.len() as u64, active, rows, from);
            }
            Op::StoreMatrix { addr, .. } => {
                self.writes(me, MemSpace::Shared, *addr, 16, active, rows, from);
            }
            Op::Atomic { space, addr, .. } => {
                tainted |= self.reads(me, *space, *addr, 8, active, rows);
                self.writes(me, *space, *addr, 8, active, rows, from);
            }
            _ => {}
        }
        let registers = &mut self.warps[me.warp];
        inst.op.visit(&mut |role| match role {
            Role::Def(s) => put(&mut registers.rows, s, tainted, active == group),
            Role::DefPred(p) => put(&mut registers.preds, p, tainted, active == group),
            _ => {}
        });
        Ok(())
    }

    fn reads(&self, me: Me, space: MemSpace, addr: Addr, bytes: u64, active: u32, rows: &Rows) -> bool {
        !self.memory.is_empty()
            && lanes(active).any(|lane| {
                granules(me, space, address(rows, addr, lane), bytes).any(|g| self.memory.contains(&g))
            })
    }

    #[allow(clippy::too_many_arguments)]
    fn writes(
        &mut self,
        me: Me,
        space: MemSpace,
        addr: Addr,
        bytes: u64,
        active: u32,
        rows: &Rows,
        on: bool,
    ) {
        if !on {
            // Clean values over tainted ones stay tainted: a granule may hold others'.
            return;
        }
        for lane in lanes(active) {
            self.memory.extend(granules(me, space, address(rows, addr, lane), bytes));
        }
    }
}

/// Shared memory of other CTAs is not told apart from the own.
fn granules(me: Me, space: MemSpace, at: u64, bytes: u64) -> impl Iterator<Item = (Option<usize>, u64)> {
    let shared = match space {
        MemSpace::Shared | MemSpace::SharedCluster => true,
        MemSpace::Generic => (GENERIC_SHARED..GENERIC_SHARED + WINDOW).contains(&at),
        _ => false,
    };
    let (owner, at) = if shared { (Some(me.cta), at & (WINDOW - 1)) } else { (None, at) };
    (at / GRANULE..(at + bytes).div_ceil(GRANULE)).map(move |g| (owner, g))
}

fn is_product(op: &Op) -> bool {
    match op {
        Op::Mma { .. } | Op::MmaQuads(_) => true,
        Op::Hopper(op) => matches!(**op, HopperOp::Wgmma(_)),
        _ => false,
    }
}

fn left_out(what: &str) -> Refused {
    let message =
        format!("{what} depends on a tensor product, and a sampled run leaves those out; run the grid whole");
    (FaultKind::LeftOut, message, None)
}
