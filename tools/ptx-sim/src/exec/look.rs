//! Check mode, before each instruction: are guard, addresses and barrier operands defined, and what will the results be?

use super::{access::rows_of, warp::Warp, warp_ops, world::World};
use crate::{fault::FaultKind, ir::*};

impl Warp {
    /// Check mode, before an instruction: are guard, addresses and barrier operands defined? And what will its results be?
    pub(super) fn look(&mut self, inst: &Inst, active: u32, group: u32, m: &mut World) {
        let me = m.me;
        let (Some(defined), Some(check)) = (&mut self.defined, &mut m.check) else { return };
        let mut refute = |lanes: u32, what: &str| {
            if lanes != 0 {
                let message = format!("an undefined value reaches {what}");
                check.report(FaultKind::Undefined, me.warp, me.at, Some(lanes.trailing_zeros()), message);
            }
        };
        if let Some((p, _)) = inst.guard {
            let what = if matches!(inst.op, Op::Branch { .. }) { "a branch" } else { "a guard" };
            refute(group & !defined.pred(p), what);
        }
        if !computes(&inst.op) {
            let mut operands = u32::MAX;
            let steering = match inst.op {
                // Addresses of the first lanes only.
                Op::LoadMatrix(ref load) => active & rows_of(load.rows()),
                Op::StoreMatrix { count, .. } => active & rows_of(8 * count as usize),
                _ => active,
            };
            inst.op.visit(&mut |role| {
                if let Role::Address(s) = role {
                    operands &= defined.of_rows([s]);
                }
            });
            refute(steering & !operands, "an address, a barrier or a lane operand");
        }
        if m.launch.uses.wgmma && active != 0 && !matches!(inst.op, Op::Hopper(_)) {
            self.tensor.plain(&inst.op, check, me.warp, me.at);
        }
        match &inst.op {
            // Memory decides what a load gives; see `execute`.
            Op::Load { .. } | Op::LoadMatrix(_) => {}
            Op::Select { .. } => defined.select(&inst.op, active, &self.rows),
            // A lane receives what its source lane has: reductions of a few lanes leave the others undefined.
            &Op::Shuffle { kind, d, p, a, lane, clamp, .. } => {
                if defined.whole(a, u32::MAX) {
                    defined.set_row(d, active, u32::MAX);
                } else {
                    let (have, by, limit) = (defined.bits(a), self.rows.row(lane), self.rows.row(clamp));
                    let received = |l: usize| {
                        let (source, inside) = warp_ops::source_lane(kind, l as u32, by[l] & 31, limit[l]);
                        have[if inside { source as usize } else { l }]
                    };
                    defined.set_bits(d, active, &std::array::from_fn(received));
                }
                if let Some(p) = p {
                    defined.define_pred(p);
                }
            }
            // Looked at when it is issued.
            Op::Hopper(op) if matches!(**op, HopperOp::Wgmma(_)) => {}
            _ => defined.propagate(&inst.op, active, &self.rows),
        }
    }

    /// Lanes for which all that an operation reads of registers is defined.
    pub(super) fn sources_defined(&self, op: &Op) -> u32 {
        let Some(defined) = &self.defined else { return u32::MAX };
        if let Op::Store { bytes, a, .. } = op {
            return defined.of_elements(a, *bytes as u32);
        }
        let mut mask = u32::MAX;
        op.visit(&mut |role| {
            if let Role::Use(s) = role {
                mask &= defined.of_rows([s]);
            }
        });
        mask
    }
}

/// Operations from registers to registers, without an operand that steers anything. There may be more.
fn computes(op: &Op) -> bool {
    matches!(op, Op::Int { .. } | Op::Float { .. } | Op::Convert { .. } | Op::Setp { .. } | Op::Select { .. })
        || matches!(op, Op::Copy { .. } | Op::Pack16 { .. } | Op::Unpack16 { .. } | Op::PredLogic { .. })
        || matches!(op, Op::Mma { .. } | Op::MmaQuads(_) | Op::Branch { .. })
}
