//! Branches, exits, barriers, fences.

use super::{Decode, Decoder, Words};
use crate::{
    ir::*,
    read::{Instruction, Operand},
};

impl Decoder<'_> {
    pub(super) fn control_flow(&mut self, i: &Instruction, w: &mut Words) -> Decode<Option<Op>> {
        Ok(Some(match w.name() {
            "bra" => {
                w.take_hints();
                let Operand::Name(label) = self.operand(i, 0)? else {
                    return Err(self.error("`bra` needs a label"));
                };
                let key = self.names.label_key(label);
                self.branches.push((self.code.len(), key, self.line));
                Op::Branch { target: u32::MAX }
            }
            "ret" | "exit" => {
                w.take_hints();
                Op::Exit
            }
            "trap" => Op::Trap,
            "bar" | "barrier" => return self.barrier(i, w),
            "membar" => {
                let scope = w
                    .take_one(&[("cta", Scope::Cta), ("gl", Scope::Gpu), ("sys", Scope::Sys)])
                    .unwrap_or_default();
                Op::Fence(Fence::Thread(Order { semantics: Semantics::SeqCst, scope }))
            }
            "fence" => {
                let semantics = w.take_one(&[
                    ("sc", Semantics::SeqCst),
                    ("acq_rel", Semantics::AcqRel),
                    ("acquire", Semantics::Acquire),
                    ("release", Semantics::Release),
                ]);
                let Some(semantics) = semantics else { return Ok(None) };
                let scope = w.take_one(&super::memory::SCOPES).unwrap_or_default();
                Op::Fence(Fence::Thread(Order { semantics, scope }))
            }
            "nanosleep" => {
                w.take("u32");
                Op::NanoSleep { time: self.source(self.operand(i, 0)?, 32, false)? }
            }
            "pragma" => Op::Nop,
            _ => return Ok(None),
        }))
    }

    fn barrier(&mut self, i: &Instruction, w: &mut Words) -> Decode<Option<Op>> {
        if w.take("warp") {
            w.take("sync");
            let members = self.source(self.operand(i, 0)?, 32, false)?;
            return Ok(Some(Op::WarpSync { members }));
        }
        w.take("cta");
        // `bar` is short for `barrier.cta….aligned`.
        let aligned = w.take("aligned") || w.name() == "bar";
        let wait = if w.take("sync") {
            true
        } else if w.take("arrive") {
            false
        } else {
            return Ok(None);
        };
        self.operand_count(i, &[1, 2])?;
        let id = self.source(&i.operands[0], 32, false)?;
        let count = i.operands.get(1).map(|o| self.source(o, 32, false)).transpose()?;
        Ok(Some(Op::Barrier { id, count, wait, aligned }))
    }
}
