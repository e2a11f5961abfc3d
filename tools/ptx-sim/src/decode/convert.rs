//! `cvt` and `cvt.pack`.

use super::{
    Decode, Decoder, Words,
    arith::{copy_rows, word_op},
    compare::scalar_of,
};
use crate::{
    ir::*,
    read::{Instruction, Operand, Type, TypeKind},
};

/// Formats that are no types of registers, with the bits of the register that holds them.
const FORMATS: [(&str, Scalar, u32); 9] = [
    ("tf32", Scalar::Tf32, 32),
    ("e4m3x2", Scalar::E4m3x2, 16),
    ("e5m2x2", Scalar::E5m2x2, 16),
    ("e2m3x2", Scalar::E2m3x2, 16),
    ("e3m2x2", Scalar::E3m2x2, 16),
    ("e2m1x2", Scalar::E2m1x2, 8),
    ("ue8m0x2", Scalar::Ue8m0x2, 16),
    ("f16x2", Scalar::F16x2, 32),
    ("bf16x2", Scalar::Bf16x2, 32),
];

fn is_packed(ty: Scalar) -> bool {
    !matches!(ty, Scalar::Int { .. } | Scalar::F16 | Scalar::Bf16 | Scalar::Tf32 | Scalar::F32 | Scalar::F64)
}

impl Decoder<'_> {
    pub(super) fn conversion(&mut self, i: &Instruction, w: &mut Words) -> Decode<Option<Op>> {
        if w.name() != "cvt" {
            return Ok(None);
        }
        if w.take("pack") {
            return self.convert_and_pack(i, w).map(Some);
        }
        if w.has("rs") {
            return Err(self.error(format!("`{}`: stochastic rounding is not modelled", w.text())));
        }
        let mods = self.float_mods(w);
        let (to, to_bits) = self.conversion_type(w)?;
        let (from, from_bits) = self.conversion_type(w)?;
        let two = is_packed(to) && from == Scalar::F32;
        if is_packed(to) != (is_packed(from) || two) || to == Scalar::Tf32 && from != Scalar::F32 {
            return Err(self.error(format!("`{}`: no such conversion", w.text())));
        }
        self.operand_count(i, if two { &[3] } else { &[2] })?;
        let d = self.dest(&i.operands[0], to_bits)?;
        let float = !matches!(from, Scalar::Int { .. }) && !is_packed(from);
        let a = self.source(&i.operands[1], from_bits, float)?;
        let b = if two { self.source(&i.operands[2], from_bits, float)? } else { a };
        Ok(Some(self.integer_move(to, from, mods, d, a).unwrap_or(Op::Convert { to, from, mods, d, a, b })))
    }

    /// Conversions that only drop or add bits of words.
    fn integer_move(&mut self, to: Scalar, from: Scalar, mods: FloatMods, d: Slot, a: Slot) -> Option<Op> {
        let (Scalar::Int { bits: to, .. }, Scalar::Int { signed, bits: from }) = (to, from) else {
            return None;
        };
        match (to, from) {
            _ if mods.sat => None,
            (32, 32 | 64) => Some(copy_rows(d, a, 1)),
            (64, 64) => Some(copy_rows(d, a, 2)),
            (64, 32) if !signed => {
                let zero = self.names.constant(0, 32);
                Some(Op::Copy { to: vec![d, d + 1], from: vec![a, zero] })
            }
            _ => None,
        }
    }

    fn conversion_type(&mut self, w: &mut Words) -> Decode<(Scalar, u32)> {
        let word = w
            .take_if(|x| FORMATS.iter().any(|(n, ..)| *n == x) || Type::from_word(x).is_some())
            .ok_or_else(|| self.error(format!("`{}`: two types are needed", w.text())))?;
        if let Some(&(_, scalar, bits)) = FORMATS.iter().find(|(n, ..)| *n == word) {
            return Ok((scalar, bits));
        }
        match Type::from_word(word) {
            Some(ty) if word != "f32x2" && ty.kind != TypeKind::Pred && ty.bits <= 64 => {
                Ok((scalar_of(ty), ty.bits))
            }
            _ => Err(self.error(format!("`{}`: `{word}` is not converted", w.text()))),
        }
    }

    /// `cvt.pack.sat.u8.s32.b32 d, a, b, c`: `b` at the bottom, `a` above, the low bits of `c` above both.
    fn convert_and_pack(&mut self, i: &Instruction, w: &mut Words) -> Decode<Op> {
        w.take("sat");
        let narrow = w.take_one(&[
            ("u16", (false, 16u32)),
            ("s16", (true, 16)),
            ("u8", (false, 8)),
            ("s8", (true, 8)),
            ("u4", (false, 4)),
            ("s4", (true, 4)),
            ("u2", (false, 2)),
            ("s2", (true, 2)),
        ]);
        let (signed, bits) = narrow.ok_or_else(|| self.error(format!("`{}` without a type", w.text())))?;
        w.take("s32");
        let more = w.take("b32");
        self.operand_count(i, if more { &[4] } else { &[3] })?;
        if more == (bits == 16) {
            return Err(self.error(format!("`{}`: no such form", w.text())));
        }
        let (hi, lo) =
            (self.saturated(&i.operands[1], signed, bits)?, self.saturated(&i.operands[2], signed, bits)?);
        let above = match i.operands.get(3) {
            Some(c) => {
                let (c, d) = (self.source(c, 32, false)?, self.names.scratch(32));
                let amount = self.names.constant(2 * bits as u64, 32);
                self.push(word_op(IntOp::Shl, d, c, amount, amount));
                d
            }
            None => self.names.constant(0, 32),
        };
        let both = self.names.scratch(32);
        let place = self.names.constant(bits as u64 | (bits as u64) << 8, 32);
        self.push(word_op(IntOp::Bfi, both, hi, above, place));
        let d = self.dest(&i.operands[0], 32)?;
        let bottom = self.names.constant((bits as u64) << 8, 32);
        Ok(word_op(IntOp::Bfi, d, lo, both, bottom))
    }

    /// A signed word, limited to a narrow type.
    fn saturated(&mut self, operand: &Operand, signed: bool, bits: u32) -> Decode<Slot> {
        let a = self.source(operand, 32, false)?;
        let (lowest, greatest) =
            if signed { (-(1i64 << (bits - 1)), (1i64 << (bits - 1)) - 1) } else { (0, (1i64 << bits) - 1) };
        let (below, d) = (self.names.scratch(32), self.names.scratch(32));
        let (least, most) =
            (self.names.constant(lowest as u64, 32), self.names.constant(greatest as u64, 32));
        let op = |op, d, a, b| Op::Int { op, signed: true, width: Width::W32, sat: false, d, a, b, c: b };
        self.push(op(IntOp::Max, below, a, least));
        self.push(op(IntOp::Min, d, below, most));
        Ok(d)
    }
}
