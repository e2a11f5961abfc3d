//! Moves, integer arithmetic and logic.

use super::{Decode, Decoder, Words, names::rows_of};
use crate::{
    ir::*,
    read::{Instruction, Operand, Type, TypeKind},
};

impl Decoder<'_> {
    pub(super) fn arithmetic(&mut self, i: &Instruction, w: &mut Words) -> Decode<Option<Op>> {
        if i.words.iter().any(|x| x == "pred") {
            return Ok(None);
        }
        Ok(Some(match w.name() {
            "mov" => self.mov(i, w)?,
            // `add.cc` and the carries after it are in `bits`.
            "add" | "sub" | "mad" if w.has("cc") => return Ok(None),
            "add" | "sub" | "mul" | "div" | "rem" | "min" | "max" | "abs" | "neg" | "mad" => {
                match super::float::float_type(i) {
                    true => return Ok(None),
                    false => self.int(i, w)?,
                }
            }
            "and" | "or" | "xor" | "not" | "cnot" | "shl" | "shr" | "popc" | "clz" | "brev" | "bfind"
            | "bfe" | "bfi" | "lop3" | "prmt" | "shf" | "sad" => self.logic(i, w)?,
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
            (to, Operand::Name(n))
                if matches!(n.as_str(), "%clock" | "%clock64" | "%globaltimer" | "%globaltimer_lo") =>
            {
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
            (8 | 16, _) => {
                // Each word is made of its own parts.
                let in_word = (32 / part).min(parts.len() as u32) as usize;
                let mut words = vec![];
                for parts in parts.chunks(in_word) {
                    words.push(self.pack_word(parts, part)?);
                }
                Ok(Op::Copy { to: (d..d + words.len() as u32).collect(), from: words })
            }
            (32 | 64, _) => {
                let mut op = (vec![], vec![]);
                for (n, p) in parts.iter().enumerate() {
                    let a = self.source(p, part, false)?;
                    for r in 0..rows_of(part) {
                        op.0.push(d + n as u32 * rows_of(part) + r);
                        op.1.push(a + r);
                    }
                }
                Ok(Op::Copy { to: op.0, from: op.1 })
            }
            _ => Err(self.error(format!("{} parts of {bits} bits", parts.len()))),
        }
    }

    /// Parts of 8 or 16 bits into one new word, the first at the bottom.
    fn pack_word(&mut self, parts: &[Operand], bits: u32) -> Decode<Slot> {
        let d = self.names.scratch(32);
        let parts = parts.iter().map(|p| self.source(p, bits, false)).collect::<Decode<Vec<Slot>>>()?;
        match (bits, &parts[..]) {
            (16, &[lo, hi]) => self.push(Op::Pack16 { d, lo, hi }),
            _ => {
                let mut so_far = self.names.constant(0, 32);
                for (n, &part) in parts.iter().enumerate() {
                    let place = self.names.constant((n as u64 * bits as u64) | ((bits as u64) << 8), 32);
                    self.push(word_op(IntOp::Bfi, d, part, so_far, place));
                    so_far = d;
                }
            }
        }
        Ok(d)
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
            (8 | 16, _) => {
                let (mut to, mut from) = (vec![], vec![]);
                for (n, p) in parts.iter().enumerate().filter(|(_, p)| **p != Operand::Sink) {
                    to.push(self.dest(p, part)?);
                    let (at, d) = (n as u32 * part, self.names.scratch(32));
                    let (place, length) =
                        (self.names.constant(at as u64 % 32, 32), self.names.constant(part as u64, 32));
                    self.push(word_op(IntOp::Bfe, d, a + at / 32, place, length));
                    from.push(d);
                }
                Ok(Op::Copy { to, from })
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
            _ => Err(self.error(format!("{} parts of {bits} bits", parts.len()))),
        }
    }

    // ---- integers

    fn int(&mut self, i: &Instruction, w: &mut Words) -> Decode<Op> {
        let part = w.take_one(&[("lo", 0), ("hi", 1), ("wide", 2)]).unwrap_or(0);
        if let Some(op) = self.packed_int(i, w)? {
            return Ok(op);
        }
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
        let relu = w.take("relu");
        let ty = self.ty(w)?;
        if sat && (ty.kind, ty.bits) != (TypeKind::Signed, 32) || relu && !matches!(w.name(), "min" | "max") {
            return Err(self.error(format!("`{}`: no such form", w.text())));
        }
        let wide = matches!(op, IntOp::MulWide | IntOp::MadWide);
        let out = if wide { ty.bits * 2 } else { ty.bits };
        let op = self.int_op(i, op, ty, sat, [out, ty.bits, ty.bits, out])?;
        if relu { self.not_negative(i, op) } else { Ok(op) }
    }

    /// `.relu`: the greater of the result and zero.
    fn not_negative(&mut self, i: &Instruction, op: Op) -> Decode<Op> {
        let Op::Int { op: what, signed, width, sat, a, b, c, .. } = op else { return Ok(op) };
        let between = self.names.scratch(32);
        self.push(Op::Int { op: what, signed, width, sat, d: between, a, b, c });
        let d = self.dest(self.operand(i, 0)?, 32)?;
        let zero = self.names.constant(0, 32);
        let packed = matches!(what, IntOp::MinPacked | IntOp::MaxPacked);
        let op = if packed { IntOp::MaxPacked } else { IntOp::Max };
        Ok(Op::Int { op, signed: true, width: Width::W32, sat: false, d, a: between, b: zero, c: zero })
    }

    /// `add`, `min`, `max` of two 16-bit integers.
    fn packed_int(&mut self, i: &Instruction, w: &mut Words) -> Decode<Option<Op>> {
        let Some(signed) = w.take_one(&[("u16x2", false), ("s16x2", true)]) else { return Ok(None) };
        let op = match w.name() {
            "add" => IntOp::AddPacked,
            "min" => IntOp::MinPacked,
            "max" => IntOp::MaxPacked,
            other => return Err(self.error(format!("`{other}` has no packed form"))),
        };
        let relu = signed && op != IntOp::AddPacked && w.take("relu");
        self.operand_count(i, &[3])?;
        let kind = if signed { TypeKind::Signed } else { TypeKind::Unsigned };
        let op = self.int_op(i, op, Type { kind, bits: 32 }, false, [32; 4])?;
        Ok(Some(if relu { self.not_negative(i, op)? } else { op }))
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
        let direction = w.take_one(&[("l", 0), ("r", 1)]);
        let wrap = w.take_one(&[("wrap", true), ("clamp", false)]).unwrap_or(false);
        if name == "lop3" {
            return self.table_logic(i, w);
        }
        let mode = if name == "prmt" { w.take_one(&PERMUTE_MODES) } else { None };
        let shift_amount = name == "bfind" && w.take("shiftamt");
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
            "bfind" if shift_amount => (IntOp::BfindShift, [32, n, n, n]),
            "bfind" => (IntOp::Bfind, [32, n, n, n]),
            "brev" => (IntOp::Brev, [n; 4]),
            "sad" => (IntOp::Sad, [n; 4]),
            "bfe" => (IntOp::Bfe, [n, n, 32, 32]),
            "bfi" => (IntOp::Bfi, [n, n, n, 32]),
            "prmt" => match mode {
                Some(mode) => return self.permute_mode(i, mode),
                None => (IntOp::Prmt, [32; 4]),
            },
            _ => match (direction, wrap) {
                (Some(0), true) => (IntOp::ShfLeftWrap, [32; 4]),
                (Some(0), false) => (IntOp::ShfLeftClamp, [32; 4]),
                (Some(1), true) => (IntOp::ShfRightWrap, [32; 4]),
                (Some(1), false) => (IntOp::ShfRightClamp, [32; 4]),
                _ => return Err(self.error(format!("`{}` is not understood", w.text()))),
            },
        };
        if op == IntOp::Bfi {
            return self.bit_field_insert(i, ty);
        }
        self.int_op(i, op, ty, false, bits)
    }

    /// `lop3.b32 d, a, b, c, table;` and `lop3.or.b32 d|p, a, b, c, table, q;`, where `p = (d ≠ 0) or q`.
    fn table_logic(&mut self, i: &Instruction, w: &mut Words) -> Decode<Op> {
        let bool_op = w.take_one(&[("or", Bool::Or), ("and", Bool::And)]);
        w.take("b32");
        self.operand_count(i, if bool_op.is_some() { &[6] } else { &[5] })?;
        let Operand::Int(table) = i.operands[4] else {
            return Err(self.error("`lop3` needs its table as a literal"));
        };
        let op = IntOp::Lop3(table as u8);
        let [a, b, c] = [1, 2, 3].map(|n| self.source(&i.operands[n], 32, false));
        let (a, b, c) = (a?, b?, c?);
        let Some(bool_op) = bool_op else {
            let d = self.dest(&i.operands[0], 32)?;
            return Ok(word_op(op, d, a, b, c));
        };
        let Operand::Pair(d, p) = &i.operands[0] else {
            return Err(self.error(format!("`{}` gives a register and a predicate", w.text())));
        };
        let value = self.names.scratch(32);
        self.push(word_op(op, value, a, b, c));
        if **d != Operand::Sink {
            let d = self.dest(d, 32)?;
            self.push(copy_rows(d, value, 1));
        }
        let (q, negated) = self.predicate(&i.operands[5])?;
        let zero = self.names.constant(0, 32);
        Ok(Op::Setp {
            cmp: Compare::Ne,
            ty: Scalar::Int { signed: false, bits: 32 },
            ftz: false,
            combine: Some((bool_op, q, negated)),
            p: Some(self.predicate(p)?.0),
            q: None,
            a: value,
            b: zero,
        })
    }

    /// `prmt` with a mode: the selector's low two bits choose one of four permutations.
    fn permute_mode(&mut self, i: &Instruction, selectors: [u16; 4]) -> Decode<Op> {
        self.operand_count(i, &[4])?;
        let d = self.dest(&i.operands[0], 32)?;
        let (a, b) = (self.source(&i.operands[1], 32, false)?, self.source(&i.operands[2], 32, false)?);
        let choice = self.source(&i.operands[3], 32, false)?;
        // The four selectors stand in two words; the choice shifts the wanted one to the bottom.
        let [lo, hi] = [0, 2].map(|n| selectors[n] as u64 | (selectors[n + 1] as u64) << 16);
        let table = self.names.constant(lo | hi << 32, 64);
        let (amount, wide, low) = (self.names.scratch(32), self.names.scratch(64), self.names.scratch(32));
        let (three, four) = (self.names.constant(3, 32), self.names.constant(4, 32));
        self.push(word_op(IntOp::And, low, choice, three, three));
        self.push(word_op(IntOp::Shl, amount, low, four, four));
        let width = Width::W64;
        let op = IntOp::Shr;
        self.push(Op::Int { op, signed: false, width, sat: false, d: wide, a: table, b: amount, c: amount });
        Ok(word_op(IntOp::Prmt, d, a, b, wide))
    }

    /// `bfi d, a, b, pos, len`: position and length travel together, as the low two bytes of one row (pos | len << 8), which
    /// are all that counts, or for 64 bits as two rows.
    fn bit_field_insert(&mut self, i: &Instruction, ty: Type) -> Decode<Op> {
        self.operand_count(i, &[5])?;
        let c = match (&i.operands[3], &i.operands[4]) {
            (pos, len) if ty.bits == 64 => {
                let (pos, len) = (self.source(pos, 32, false)?, self.source(len, 32, false)?);
                let both = self.names.scratch(64);
                self.push(Op::Copy { to: vec![both, both + 1], from: vec![pos, len] });
                both
            }
            (Operand::Int(pos), Operand::Int(len)) => {
                self.names.constant((*pos as u64 & 0xff) | (*len as u64 & 0xff) << 8, 32)
            }
            (pos, len) => {
                let (pos, len) = (self.source(pos, 32, false)?, self.source(len, 32, false)?);
                let (d, byte) = (self.names.scratch(32), self.names.constant(8 | 8 << 8, 32));
                let low = self.names.constant(0xff, 32);
                self.push(word_op(IntOp::And, d, pos, low, low));
                self.push(word_op(IntOp::Bfi, d, len, d, byte));
                d
            }
        };
        let op = self.int_op(i, IntOp::Bfi, ty, false, [ty.bits, ty.bits, ty.bits, 32])?;
        let Op::Int { op, signed, width, sat, d, a, b, .. } = op else { return Err(self.error("`bfi`")) };
        Ok(Op::Int { op, signed, width, sat, d, a, b, c })
    }
}

/// Selectors of `prmt`'s modes for the choices 0 to 3.
const PERMUTE_MODES: [(&str, [u16; 4]); 6] = [
    ("f4e", [0x3210, 0x4321, 0x5432, 0x6543]),
    ("b4e", [0x5670, 0x6701, 0x7012, 0x0123]),
    ("rc8", [0x0000, 0x1111, 0x2222, 0x3333]),
    ("ecl", [0x3210, 0x3211, 0x3222, 0x3333]),
    ("ecr", [0x0000, 0x1110, 0x2210, 0x3210]),
    ("rc16", [0x1010, 0x3232, 0x1010, 0x3232]),
];

/// An operation on words.
pub(super) fn word_op(op: IntOp, d: Slot, a: Slot, b: Slot, c: Slot) -> Op {
    Op::Int { op, signed: false, width: Width::W32, sat: false, d, a, b, c }
}

pub(super) fn copy_rows(d: Slot, a: Slot, rows: u32) -> Op {
    Op::Copy { to: (d..d + rows).collect(), from: (a..a + rows).collect() }
}
