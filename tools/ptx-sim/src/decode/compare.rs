//! `setp`, `set`, `selp`, `slct`, `testp`, logic on predicates.

use super::{Decode, Decoder, Words};
use crate::{
    ir::*,
    read::{Instruction, Operand, Type, TypeKind},
};

const COMPARE: [(&str, Compare); 18] = [
    ("eq", Compare::Eq),
    ("ne", Compare::Ne),
    ("lt", Compare::Lt),
    ("le", Compare::Le),
    ("gt", Compare::Gt),
    ("ge", Compare::Ge),
    ("lo", Compare::Lt),
    ("ls", Compare::Le),
    ("hi", Compare::Gt),
    ("hs", Compare::Ge),
    ("equ", Compare::Equ),
    ("neu", Compare::Neu),
    ("ltu", Compare::Ltu),
    ("leu", Compare::Leu),
    ("gtu", Compare::Gtu),
    ("geu", Compare::Geu),
    ("num", Compare::Num),
    ("nan", Compare::Nan),
];

impl Decoder<'_> {
    pub(super) fn comparison(&mut self, i: &Instruction, w: &mut Words) -> Decode<Option<Op>> {
        Ok(Some(match w.name() {
            "setp" => self.setp(i, w)?,
            "set" => self.set(i, w)?,
            "slct" => self.select_by_sign(i, w)?,
            "selp" => {
                self.operand_count(i, &[4])?;
                let ty = self.ty(w)?;
                let float = is_float(ty);
                let (p, negated) = self.predicate(&i.operands[3])?;
                let d = self.dest(&i.operands[0], ty.bits)?;
                let mut a = self.source(&i.operands[1], ty.bits, float)?;
                let mut b = self.source(&i.operands[2], ty.bits, float)?;
                if negated {
                    std::mem::swap(&mut a, &mut b);
                }
                Op::Select { rows: super::names::rows_of(ty.bits) as u8, d, a, b, p }
            }
            "testp" => {
                const CLASSES: [(&str, TestClass); 6] = [
                    ("finite", TestClass::Finite),
                    ("infinite", TestClass::Infinite),
                    ("number", TestClass::Number),
                    ("notanumber", TestClass::NotANumber),
                    ("normal", TestClass::Normal),
                    ("subnormal", TestClass::Subnormal),
                ];
                let class = w.take_one(&CLASSES).ok_or_else(|| self.error("`testp` without a class"))?;
                let ty = self.ty(w)?;
                let (p, _) = self.predicate(self.operand(i, 0)?)?;
                let a = self.source(self.operand(i, 1)?, ty.bits, true)?;
                Op::TestClass { p, a, wide: ty.bits == 64, class }
            }
            "and" | "or" | "xor" | "not" | "mov" if w.left_is_pred() => self.pred_logic(i, w)?,
            _ => return Ok(None),
        }))
    }

    fn setp(&mut self, i: &Instruction, w: &mut Words) -> Decode<Op> {
        let (p, q) = match self.operand(i, 0)? {
            Operand::Pair(p, q) => (self.optional_pred(p)?, self.optional_pred(q)?),
            one => (self.optional_pred(one)?, None),
        };
        self.comparison_of(i, w, p, q)
    }

    /// The comparison of operands 1 and 2, joined with the Boolean operand 3.
    fn comparison_of(
        &mut self,
        i: &Instruction,
        w: &mut Words,
        p: Option<Pred>,
        q: Option<Pred>,
    ) -> Decode<Op> {
        self.operand_count(i, &[3, 4])?;
        let cmp =
            w.take_one(&COMPARE).ok_or_else(|| self.error(format!("`{}` without a comparison", w.text())))?;
        let bool_op = w.take_one(&[("and", Bool::And), ("or", Bool::Or), ("xor", Bool::Xor)]);
        let ftz = w.take("ftz");
        let packed = match () {
            () if w.left.contains(&"f16x2") => Some(Scalar::F16x2),
            () if w.left.contains(&"bf16x2") => Some(Scalar::Bf16x2),
            () => None,
        };
        let ty = self.ty(w)?;
        let scalar = packed.unwrap_or_else(|| scalar_of(ty));
        let float = is_float(ty);
        let a = self.source(&i.operands[1], ty.bits, float)?;
        let b = self.source(&i.operands[2], ty.bits, float)?;
        let combine = match (bool_op, i.operands.get(3)) {
            (Some(op), Some(c)) => {
                let (c, negated) = self.predicate(c)?;
                Some((op, c, negated))
            }
            (None, None) => None,
            _ => return Err(self.error("a Boolean operator and its operand go together")),
        };
        Ok(Op::Setp { cmp, ty: scalar, ftz, combine, p, q, a, b })
    }

    /// `set.lt.and.f32.s32 d, a, b, c;`: all ones or 1.0 where the comparison holds. Packed halves take one each.
    fn set(&mut self, i: &Instruction, w: &mut Words) -> Decode<Op> {
        // The comparison's words come first, then the type of the result, then that of the operands.
        let at = w.left.iter().position(|x| Type::from_word(x).is_some());
        let at = at.ok_or_else(|| self.error(format!("`{}` has no type", w.text())))?;
        let result = w.left.remove(at);
        let packed = w.has("f16x2") || w.has("bf16x2");
        let (p, q) = (self.names.scratch_pred(), self.names.scratch_pred());
        let compare = self.comparison_of(i, w, Some(p), packed.then_some(q))?;
        self.push(compare);
        let (yes, bits) = match result {
            "u32" | "s32" => (0xffff_ffff, 32),
            "f32" => (0x3f80_0000, 32),
            "u16" | "s16" => (0xffff, 16),
            "f16" | "f16x2" => (0x3c00, 16),
            "bf16" | "bf16x2" => (0x3f80, 16),
            other => return Err(self.error(format!("`{}`: a result of type `{other}`", w.text()))),
        };
        let d = self.dest(self.operand(i, 0)?, if packed { 32 } else { bits })?;
        let (yes, no) = (self.names.constant(yes, bits), self.names.constant(0, bits));
        if !packed {
            return Ok(Op::Select { rows: 1, d, a: yes, b: no, p });
        }
        let [lo, hi] = [p, q].map(|p| {
            let d = self.names.scratch(32);
            self.push(Op::Select { rows: 1, d, a: yes, b: no, p });
            d
        });
        Ok(Op::Pack16 { d, lo, hi })
    }

    /// `slct.b32.s32 d, a, b, c;`: `a` where c ≥ 0, else `b`; NaN is not ≥ 0, and -0 is.
    fn select_by_sign(&mut self, i: &Instruction, w: &mut Words) -> Decode<Op> {
        self.operand_count(i, &[4])?;
        let ftz = w.take("ftz");
        let (ty, sign) = (self.ty(w)?, self.ty(w)?);
        if sign.bits != 32 {
            return Err(self.error(format!("`{}`: no such form", w.text())));
        }
        let p = self.names.scratch_pred();
        let c = self.source(&i.operands[3], 32, is_float(sign))?;
        let zero = self.names.constant(0, 32);
        let of = scalar_of(sign);
        self.push(Op::Setp {
            cmp: Compare::Ge,
            ty: of,
            ftz,
            combine: None,
            p: Some(p),
            q: None,
            a: c,
            b: zero,
        });
        let a = self.source(&i.operands[1], ty.bits, is_float(ty))?;
        let b = self.source(&i.operands[2], ty.bits, is_float(ty))?;
        let d = self.dest(&i.operands[0], ty.bits)?;
        Ok(Op::Select { rows: super::names::rows_of(ty.bits) as u8, d, a, b, p })
    }

    fn optional_pred(&mut self, operand: &Operand) -> Decode<Option<Pred>> {
        match operand {
            Operand::Sink => Ok(None),
            other => Ok(Some(self.predicate(other)?.0)),
        }
    }

    fn pred_logic(&mut self, i: &Instruction, w: &mut Words) -> Decode<Op> {
        w.take("pred");
        let (d, _) = self.predicate(self.operand(i, 0)?)?;
        let (a, not_a) = self.predicate(self.operand(i, 1)?)?;
        let (b, not_b) = match i.operands.get(2) {
            Some(operand) => self.predicate(operand)?,
            None => (a, not_a),
        };
        let mut table = 0;
        for at in 0..4u8 {
            let (x, y) = ((at & 1 == 1) != not_a, (at >> 1 == 1) != not_b);
            let value = match w.name() {
                "and" => x && y,
                "or" => x || y,
                "xor" => x != y,
                "not" => !x,
                _ => x,
            };
            table |= (value as u8) << at;
        }
        Ok(Op::PredLogic { d, a, b, table })
    }
}

impl Words<'_> {
    fn left_is_pred(&self) -> bool {
        self.left.contains(&"pred")
    }
}

pub(super) fn is_float(ty: Type) -> bool {
    matches!(ty.kind, TypeKind::Float | TypeKind::Bf16)
}

/// What a comparison or conversion sees in a register.
pub(super) fn scalar_of(ty: Type) -> Scalar {
    match (ty.kind, ty.bits) {
        (TypeKind::Float, 16) => Scalar::F16,
        (TypeKind::Float, 32) => Scalar::F32,
        (TypeKind::Float, _) => Scalar::F64,
        (TypeKind::Bf16, _) => Scalar::Bf16,
        (kind, bits) => Scalar::Int { signed: kind == TypeKind::Signed, bits: bits as u8 },
    }
}
