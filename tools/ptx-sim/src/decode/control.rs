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
            "brx" => self.branch_indexed(i, w)?,
            "ret" => {
                w.take_hints();
                match self.return_label() {
                    Some(end) => {
                        self.branches.push((self.code.len(), end, self.line));
                        Op::Branch { target: u32::MAX }
                    }
                    None => Op::Exit,
                }
            }
            "exit" => Op::Exit,
            "trap" => Op::Trap,
            // A debugger would stop here; without one it goes on. Nor is there anybody to count events.
            "brkpt" => Op::Nop,
            "pmevent" => {
                w.take("mask");
                Op::Nop
            }
            "alloca" | "stacksave" | "stackrestore" => {
                return Err(
                    self.error(format!("`{}`: a stack that grows at run time is not modelled", w.text()))
                );
            }
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
        if w.take("red") {
            return self.barrier_reduction(i, aligned, w).map(Some);
        }
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

    /// `barrier.red.popc.u32 d, a{, b}, {!}c;` and `barrier.red.{and,or}.pred p, a{, b}, {!}c;`
    fn barrier_reduction(&mut self, i: &Instruction, aligned: bool, w: &mut Words) -> Decode<Op> {
        let kind = w.take_one(&[("popc", 0), ("and", 1), ("or", 2)]);
        let kind = kind.ok_or_else(|| self.error(format!("`{}` without an operation", w.text())))?;
        w.take(if kind == 0 { "u32" } else { "pred" });
        self.operand_count(i, &[3, 4])?;
        let result = match kind {
            0 => BarrierResult::Count(self.dest(&i.operands[0], 32)?),
            1 => BarrierResult::All(self.predicate(&i.operands[0])?.0),
            _ => BarrierResult::Any(self.predicate(&i.operands[0])?.0),
        };
        let id = self.source(&i.operands[1], 32, false)?;
        let count = match &i.operands[2..] {
            [count, _] => Some(self.source(count, 32, false)?),
            _ => None,
        };
        let (a, negate) = self.predicate(&i.operands[i.operands.len() - 1])?;
        Ok(Op::BarrierReduce { id, count, a, negate, aligned, result })
    }
}
