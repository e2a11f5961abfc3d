//! Integer operations with rules of their own: carry chains, 24-bit products, dot products of bytes, bit masks.

use super::{Decode, Decoder, Words, arith::word_op};
use crate::{
    ir::*,
    read::{Instruction, Type, TypeKind},
};

impl Decoder<'_> {
    pub(super) fn bit_arithmetic(&mut self, i: &Instruction, w: &mut Words) -> Decode<Option<Op>> {
        Ok(Some(match w.name() {
            "add" | "sub" | "mad" | "addc" | "subc" | "madc" => self.carry_chain(i, w)?,
            "mul24" | "mad24" => self.product24(i, w)?,
            "dp4a" | "dp2a" => self.dot_product(i, w)?,
            "bmsk" | "szext" => {
                let clamp = w.take_one(&[("wrap", false), ("clamp", true)]);
                let clamp = clamp.ok_or_else(|| self.error(format!("`{}` without a mode", w.text())))?;
                let ty = self.ty(w)?;
                let op = match (w.name(), clamp) {
                    ("bmsk", false) => IntOp::BitMaskWrap,
                    ("bmsk", true) => IntOp::BitMaskClamp,
                    (_, false) => IntOp::ExtendWrap,
                    (_, true) => IntOp::ExtendClamp,
                };
                self.words(i, op, ty, 2)?
            }
            "fns" => {
                let ty = self.ty(w)?;
                self.words(i, IntOp::FindNthSet, ty, 3)?
            }
            _ => return Ok(None),
        }))
    }

    /// An operation on words only, with so many sources.
    fn words(&mut self, i: &Instruction, op: IntOp, ty: Type, sources: usize) -> Decode<Op> {
        self.operand_count(i, &[1 + sources])?;
        if ty.bits != 32 {
            return Err(self.error(format!("`{}`: only of 32 bits", i.text())));
        }
        let d = self.dest(&i.operands[0], 32)?;
        let mut read = vec![];
        for operand in &i.operands[1..] {
            read.push(self.source(operand, 32, false)?);
        }
        let c = read.get(2).copied().unwrap_or(read[0]);
        let Op::Int { op, width, sat, d, a, b, c, .. } = word_op(op, d, read[0], read[1], c) else {
            return Ok(Op::Nop);
        };
        Ok(Op::Int { op, signed: ty.kind == TypeKind::Signed, width, sat, d, a, b, c })
    }

    /// The carry flag is one predicate of the kernel, shared by all instructions of a chain.
    fn carry_chain(&mut self, i: &Instruction, w: &mut Words) -> Decode<Op> {
        let op = match (w.name(), w.take_one(&[("lo", false), ("hi", true)])) {
            ("add" | "addc", None) => CarryOp::Add,
            ("sub" | "subc", None) => CarryOp::Sub,
            ("mad" | "madc", Some(false)) => CarryOp::MadLo,
            ("mad" | "madc", Some(true)) => CarryOp::MadHi,
            _ => return Err(self.error(format!("`{}` is not understood", w.text()))),
        };
        let reads = w.name().ends_with('c');
        let writes = w.take("cc");
        let ty = self.ty(w)?;
        if !matches!(ty.bits, 32 | 64) {
            return Err(self.error(format!("`{}`: carries of {} bits", w.text(), ty.bits)));
        }
        let flag = match self.carry {
            Some(flag) => flag,
            None => *self.carry.insert(self.names.scratch_pred()),
        };
        let product = matches!(op, CarryOp::MadLo | CarryOp::MadHi);
        self.operand_count(i, if product { &[4] } else { &[3] })?;
        let d = self.dest(&i.operands[0], ty.bits)?;
        let a = self.source(&i.operands[1], ty.bits, false)?;
        let b = self.source(&i.operands[2], ty.bits, false)?;
        let c = if product { self.source(&i.operands[3], ty.bits, false)? } else { a };
        Ok(Op::Carry {
            op,
            signed: ty.kind == TypeKind::Signed,
            wide: ty.bits == 64,
            carry_in: reads.then_some(flag),
            carry_out: writes.then_some(flag),
            d,
            a,
            b,
            c,
        })
    }

    fn product24(&mut self, i: &Instruction, w: &mut Words) -> Decode<Op> {
        let high = w.take_one(&[("lo", false), ("hi", true)]);
        let op = match (w.name(), high) {
            ("mul24", Some(false)) => IntOp::Mul24Lo,
            ("mul24", Some(true)) => IntOp::Mul24Hi,
            ("mad24", Some(false)) => IntOp::Mad24Lo,
            ("mad24", Some(true)) => IntOp::Mad24Hi,
            _ => return Err(self.error(format!("`{}` without `.lo` or `.hi`", w.text()))),
        };
        let saturate = op == IntOp::Mad24Hi && w.take("sat");
        let ty = self.ty(w)?;
        let op = self.words(i, op, ty, if w.name() == "mad24" { 3 } else { 2 })?;
        let Op::Int { op, signed, width, d, a, b, c, .. } = op else { return Ok(op) };
        Ok(Op::Int { op, signed, width, sat: saturate, d, a, b, c })
    }

    fn dot_product(&mut self, i: &Instruction, w: &mut Words) -> Decode<Op> {
        let high = w.take_one(&[("lo", false), ("hi", true)]);
        let (a, b) = (self.ty(w)?, self.ty(w)?);
        let [a_signed, b_signed] = [a, b].map(|ty| ty.kind == TypeKind::Signed);
        let op = match (w.name(), high) {
            ("dp4a", None) => IntOp::Dp4a(a_signed, b_signed),
            ("dp2a", Some(high)) => IntOp::Dp2a { a_signed, b_signed, high },
            _ => return Err(self.error(format!("`{}` is not understood", w.text()))),
        };
        self.words(i, op, a, 3)
    }
}
