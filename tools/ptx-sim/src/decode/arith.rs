//! Moves, integer and float arithmetic, logic, conversions.

use super::{Decode, Decoder, Words, compare::scalar_of, names::rows_of};
use crate::{
    ir::*,
    read::{Instruction, Operand, Type, TypeKind},
};

impl Decoder<'_> {
    pub(super) fn arithmetic(&mut self, i: &Instruction, w: &mut Words) -> Decode<Option<Op>> {
        let name = w.name();
        if i.words.iter().any(|x| x == "pred") {
            return Ok(None);
        }
        Ok(Some(match name {
            "mov" => self.mov(i, w)?,
            "cvt" => self.cvt(i, w)?,
            "add" | "sub" | "mul" | "div" | "rem" | "min" | "max" | "abs" | "neg" | "mad" | "fma"
            | "sqrt" | "rsqrt" | "rcp" | "ex2" | "lg2" | "sin" | "cos" | "tanh" | "copysign" => {
                self.by_type(i, w)?
            }
            "and" | "or" | "xor" | "not" | "cnot" | "shl" | "shr" | "popc" | "clz" | "brev" | "bfind"
            | "bfe" | "bfi" | "lop3" | "prmt" | "shf" | "sad" | "dp4a" => self.logic(i, w)?,
            _ => return Ok(None),
        }))
    }

    // ---- moves

    fn mov(&mut self, i: &Instruction, w: &mut Words) -> Decode<Op> {
        self.operand_count(i, &[2])?;
        let ty = self.ty(w)?;
        let (to, from) = (&i.operands[0], &i.operands[1]);
        match (to, from) {
            (Operand::Vector(parts), whole) => self.unpack(parts, whole, ty.bits),
            (whole, Operand::Vector(parts)) => self.pack(whole, parts, ty.bits),
            (to, Operand::Name(n)) if n == "%clock" || n == "%clock64" || n == "%globaltimer" => {
                Ok(Op::Clock { d: self.dest(to, ty.bits)?, wide: ty.bits == 64 })
            }
            (to, from) => {
                let d = self.dest(to, ty.bits)?;
                let a = self.source(from, ty.bits, ty.kind == TypeKind::Float)?;
                Ok(copy_rows(d, a, rows_of(ty.bits)))
            }
        }
    }

    fn pack(&mut self, whole: &Operand, parts: &[Operand], bits: u32) -> Decode<Op> {
        let d = self.dest(whole, bits)?;
        let part = bits / parts.len().max(1) as u32;
        match (part, parts) {
            (16, [lo, hi]) => {
                Ok(Op::Pack16 { d, lo: self.source(lo, 16, true)?, hi: self.source(hi, 16, true)? })
            }
            (32 | 64, _) => {
                let mut op = (vec![], vec![]);
                for (n, p) in parts.iter().enumerate() {
                    let a = self.source(p, part, true)?;
                    for r in 0..rows_of(part) {
                        op.0.push(d + n as u32 * rows_of(part) + r);
                        op.1.push(a + r);
                    }
                }
                Ok(Op::Copy { to: op.0, from: op.1 })
            }
            _ => Err(self.error("this packing is not supported")),
        }
    }

    fn unpack(&mut self, parts: &[Operand], whole: &Operand, bits: u32) -> Decode<Op> {
        let a = self.source(whole, bits, false)?;
        let part = bits / parts.len().max(1) as u32;
        match (part, parts) {
            (16, [lo, hi]) => {
                let mut half = |o: &Operand| -> Decode<Option<Slot>> {
                    Ok(if *o == Operand::Sink { None } else { Some(self.dest(o, 16)?) })
                };
                Ok(Op::Unpack16 { lo: half(lo)?, hi: half(hi)?, a })
            }
            (32 | 64, _) => {
                let mut op = (vec![], vec![]);
                for (n, p) in parts.iter().enumerate().filter(|(_, p)| **p != Operand::Sink) {
                    let d = self.dest(p, part)?;
                    for r in 0..rows_of(part) {
                        op.0.push(d + r);
                        op.1.push(a + n as u32 * rows_of(part) + r);
                    }
                }
                Ok(Op::Copy { to: op.0, from: op.1 })
            }
            _ => Err(self.error("this unpacking is not supported")),
        }
    }

    // ---- arithmetic

    fn by_type(&mut self, i: &Instruction, w: &mut Words) -> Decode<Op> {
        let word = i.words.iter().skip(1).find(|x| Type::from_word(x).is_some()).map(String::as_str);
        match word {
            Some("f16" | "f16x2" | "bf16" | "bf16x2" | "f32" | "f64") => self.float(i, w),
            Some("f32x2") => Err(self.error(format!("`{}` is not supported", w.text()))),
            Some(_) => self.int(i, w),
            None => Err(self.error(format!("`{}` has no type", w.text()))),
        }
    }

    fn float(&mut self, i: &Instruction, w: &mut Words) -> Decode<Op> {
        let op = match w.name() {
            "add" => FloatOp::Add,
            "sub" => FloatOp::Sub,
            "mul" => FloatOp::Mul,
            "mad" | "fma" => FloatOp::Fma,
            "div" => FloatOp::Div,
            "min" => FloatOp::Min,
            "max" => FloatOp::Max,
            "abs" => FloatOp::Abs,
            "neg" => FloatOp::Neg,
            "sqrt" => FloatOp::Sqrt,
            "rsqrt" => FloatOp::Rsqrt,
            "rcp" => FloatOp::Rcp,
            "ex2" => FloatOp::Ex2,
            "lg2" => FloatOp::Lg2,
            "sin" => FloatOp::Sin,
            "cos" => FloatOp::Cos,
            "tanh" => FloatOp::Tanh,
            "copysign" => FloatOp::CopySign,
            other => return Err(self.error(format!("`{other}` has no float form"))),
        };
        let word = w.take_type_word().unwrap_or_default();
        let (ty, bits) = match word {
            "f16" => (FloatType::F16, 16),
            "f16x2" => (FloatType::F16x2, 32),
            "bf16" => (FloatType::Bf16, 16),
            "bf16x2" => (FloatType::Bf16x2, 32),
            "f32" => (FloatType::F32, 32),
            "f64" => (FloatType::F64, 64),
            other => return Err(self.error(format!("float type `{other}`"))),
        };
        // Approximations are computed exactly and rounded: within every documented error.
        w.take("approx");
        w.take("full");
        let mods = self.float_mods(w);
        let d = self.dest(self.operand(i, 0)?, bits)?;
        let a = self.source(self.operand(i, 1)?, bits, true)?;
        let b = i.operands.get(2).map(|o| self.source(o, bits, true)).transpose()?.unwrap_or(a);
        let c = i.operands.get(3).map(|o| self.source(o, bits, true)).transpose()?.unwrap_or(a);
        Ok(Op::Float { op, ty, mods, d, a, b, c })
    }

    fn float_mods(&mut self, w: &mut Words) -> FloatMods {
        const ROUND: [(&str, Rounding); 9] = [
            ("rn", Rounding::Nearest),
            ("rz", Rounding::Zero),
            ("rm", Rounding::Down),
            ("rp", Rounding::Up),
            ("rni", Rounding::NearestInt),
            ("rzi", Rounding::ZeroInt),
            ("rmi", Rounding::DownInt),
            ("rpi", Rounding::UpInt),
            ("rna", Rounding::Away),
        ];
        FloatMods {
            rounding: w.take_one(&ROUND).unwrap_or_default(),
            ftz: w.take("ftz"),
            sat: w.take("sat") || w.take("satfinite"),
            relu: w.take("relu"),
            nan: w.take("NaN"),
        }
    }

    fn int(&mut self, i: &Instruction, w: &mut Words) -> Decode<Op> {
        let part = w.take_one(&[("lo", 0), ("hi", 1), ("wide", 2)]).unwrap_or(0);
        let op = match (w.name(), part) {
            ("add", _) => IntOp::Add,
            ("sub", _) => IntOp::Sub,
            ("mul", 0) => IntOp::MulLo,
            ("mul", 1) => IntOp::MulHi,
            ("mul", _) => IntOp::MulWide,
            ("mad", 0) => IntOp::MadLo,
            ("mad", 1) => IntOp::MadHi,
            ("mad", _) => IntOp::MadWide,
            ("div", _) => IntOp::Div,
            ("rem", _) => IntOp::Rem,
            ("min", _) => IntOp::Min,
            ("max", _) => IntOp::Max,
            ("abs", _) => IntOp::Abs,
            ("neg", _) => IntOp::Neg,
            (other, _) => return Err(self.error(format!("`{other}` has no integer form"))),
        };
        let sat = w.take("sat");
        let ty = self.ty(w)?;
        let wide = matches!(op, IntOp::MulWide | IntOp::MadWide);
        let out = if wide { ty.bits * 2 } else { ty.bits };
        self.int_op(i, op, ty, sat, [out, ty.bits, ty.bits, out])
    }

    /// Operands d, a, b, c of the given widths; a missing source repeats `a`.
    fn int_op(&mut self, i: &Instruction, op: IntOp, ty: Type, sat: bool, bits: [u32; 4]) -> Decode<Op> {
        let width = match ty.bits {
            16 => Width::W16,
            32 => Width::W32,
            64 => Width::W64,
            other => return Err(self.error(format!("`{}`: {other}-bit arithmetic", i.text()))),
        };
        let d = self.dest(self.operand(i, 0)?, bits[0])?;
        let a = self.source(self.operand(i, 1)?, bits[1], false)?;
        let b = i.operands.get(2).map(|o| self.source(o, bits[2], false)).transpose()?.unwrap_or(a);
        let c = i.operands.get(3).map(|o| self.source(o, bits[3], false)).transpose()?.unwrap_or(a);
        Ok(Op::Int { op, signed: ty.kind == TypeKind::Signed, width, sat, d, a, b, c })
    }

    fn logic(&mut self, i: &Instruction, w: &mut Words) -> Decode<Op> {
        let name = w.name();
        if name == "dp4a" {
            let (a, b) = (self.ty(w)?, self.ty(w)?);
            if a.kind != b.kind {
                return Err(self.error("`dp4a` of mixed signs is not supported"));
            }
            let op = if a.kind == TypeKind::Signed { IntOp::Dp4aSigned } else { IntOp::Dp4aUnsigned };
            return self.int_op(i, op, a, false, [32; 4]);
        }
        let direction = w.take_one(&[("l", 0), ("r", 1)]);
        let wrap = w.take_one(&[("wrap", true), ("clamp", false)]).unwrap_or(false);
        let ty = self.ty(w)?;
        let n = ty.bits;
        let (op, bits) = match name {
            "and" => (IntOp::And, [n; 4]),
            "or" => (IntOp::Or, [n; 4]),
            "xor" => (IntOp::Xor, [n; 4]),
            "not" => (IntOp::Not, [n; 4]),
            "cnot" => (IntOp::Cnot, [n; 4]),
            "shl" => (IntOp::Shl, [n, n, 32, 32]),
            "shr" => (IntOp::Shr, [n, n, 32, 32]),
            "popc" => (IntOp::Popc, [32, n, n, n]),
            "clz" => (IntOp::Clz, [32, n, n, n]),
            "bfind" => (IntOp::Bfind, [32, n, n, n]),
            "brev" => (IntOp::Brev, [n; 4]),
            "sad" => (IntOp::Sad, [n; 4]),
            "bfe" => (IntOp::Bfe, [n, n, 32, 32]),
            "bfi" => (IntOp::Bfi, [n, n, n, 32]),
            "prmt" => (IntOp::Prmt, [32; 4]),
            "lop3" => {
                let Some(Operand::Int(table)) = i.operands.get(4) else {
                    return Err(self.error("`lop3` needs its table as a literal"));
                };
                (IntOp::Lop3(*table as u8), [32; 4])
            }
            _ => match (direction, wrap) {
                (Some(0), true) => (IntOp::ShfLeftWrap, [32; 4]),
                (Some(0), false) => (IntOp::ShfLeftClamp, [32; 4]),
                (Some(1), true) => (IntOp::ShfRightWrap, [32; 4]),
                (Some(1), false) => (IntOp::ShfRightClamp, [32; 4]),
                _ => return Err(self.error(format!("`{}` is not understood", w.text()))),
            },
        };
        if op == IntOp::Bfi {
            // bfi d, a, b, pos, len: position and length travel in one row (pos | len << 8).
            return self.bit_field_insert(i, ty);
        }
        self.int_op(i, op, ty, false, bits)
    }

    fn bit_field_insert(&mut self, i: &Instruction, ty: Type) -> Decode<Op> {
        let (Some(Operand::Int(pos)), Some(Operand::Int(len))) = (i.operands.get(3), i.operands.get(4))
        else {
            return Err(self.error("`bfi` with a position or length in a register is not supported"));
        };
        let field = (*pos as u64 & 0xff) | (*len as u64 & 0xff) << 8;
        let c = self.names.constant(field, 32);
        let op = self.int_op(i, IntOp::Bfi, ty, false, [ty.bits, ty.bits, ty.bits, 32])?;
        let Op::Int { op, signed, width, sat, d, a, b, .. } = op else { return Err(self.error("`bfi`")) };
        Ok(Op::Int { op, signed, width, sat, d, a, b, c })
    }

    // ---- conversions

    fn cvt(&mut self, i: &Instruction, w: &mut Words) -> Decode<Op> {
        let mods = self.float_mods(w);
        let (to, to_bits) = self.conversion_type(w)?;
        let (from, from_bits) = self.conversion_type(w)?;
        let d = self.dest(self.operand(i, 0)?, to_bits)?;
        let a = self.source(self.operand(i, 1)?, from_bits, true)?;
        let b = i.operands.get(2).map(|o| self.source(o, from_bits, true)).transpose()?.unwrap_or(a);
        let paired = matches!(to, Scalar::F16x2 | Scalar::Bf16x2 | Scalar::E4m3x2 | Scalar::E5m2x2);
        if paired && from == Scalar::F32 && i.operands.len() != 3 {
            return Err(self.error(format!("`{}` needs two sources", w.text())));
        }
        Ok(Op::Convert { to, from, mods, d, a, b })
    }

    fn conversion_type(&mut self, w: &mut Words) -> Decode<(Scalar, u32)> {
        let special = [
            ("tf32", (Scalar::Tf32, 32)),
            ("e4m3x2", (Scalar::E4m3x2, 16)),
            ("e5m2x2", (Scalar::E5m2x2, 16)),
            ("f16x2", (Scalar::F16x2, 32)),
            ("bf16x2", (Scalar::Bf16x2, 32)),
        ];
        let word = w
            .take_if(|x| special.iter().any(|(n, _)| *n == x) || Type::from_word(x).is_some())
            .ok_or_else(|| self.error(format!("`{}` needs two types", w.text())))?;
        if let Some((_, found)) = special.iter().find(|(n, _)| *n == word) {
            return Ok(*found);
        }
        let ty = Type::from_word(word).ok_or_else(|| self.error("type"))?;
        Ok((scalar_of(ty), ty.bits))
    }
}

fn copy_rows(d: Slot, a: Slot, rows: u32) -> Op {
    Op::Copy { to: (d..d + rows).collect(), from: (a..a + rows).collect() }
}
