//! Float arithmetic, and the modifiers of rounding and saturation.

use super::{Decode, Decoder, Words, arith::copy_rows};
use crate::{
    ir::*,
    read::{Instruction, Operand, Type},
};

const OPERATIONS: [(&str, FloatOp, usize); 18] = [
    ("add", FloatOp::Add, 2),
    ("sub", FloatOp::Sub, 2),
    ("mul", FloatOp::Mul, 2),
    ("mad", FloatOp::Fma, 3),
    ("fma", FloatOp::Fma, 3),
    ("div", FloatOp::Div, 2),
    ("min", FloatOp::Min, 2),
    ("max", FloatOp::Max, 2),
    ("abs", FloatOp::Abs, 1),
    ("neg", FloatOp::Neg, 1),
    ("sqrt", FloatOp::Sqrt, 1),
    ("rsqrt", FloatOp::Rsqrt, 1),
    ("rcp", FloatOp::Rcp, 1),
    ("ex2", FloatOp::Ex2, 1),
    ("lg2", FloatOp::Lg2, 1),
    ("sin", FloatOp::Sin, 1),
    ("cos", FloatOp::Cos, 1),
    ("tanh", FloatOp::Tanh, 1),
];

const TYPES: [(&str, FloatType, u32); 6] = [
    ("f16", FloatType::F16, 16),
    ("f16x2", FloatType::F16x2, 32),
    ("bf16", FloatType::Bf16, 16),
    ("bf16x2", FloatType::Bf16x2, 32),
    ("f32", FloatType::F32, 32),
    ("f64", FloatType::F64, 64),
];

/// Whether the first type of an instruction is a float.
pub(super) fn float_type(i: &Instruction) -> bool {
    let mut types = i.words.iter().skip(1).filter(|x| Type::from_word(x).is_some());
    types.next().is_some_and(|x| x.starts_with('f') || x.starts_with("bf"))
}

impl Decoder<'_> {
    pub(super) fn float_arithmetic(&mut self, i: &Instruction, w: &mut Words) -> Decode<Option<Op>> {
        if w.name() == "copysign" {
            return self.float(i, w, FloatOp::CopySign, 2).map(Some);
        }
        match OPERATIONS.iter().find(|(name, ..)| *name == w.name()) {
            Some(&(_, op, sources)) if float_type(i) => self.float(i, w, op, sources).map(Some),
            _ => Ok(None),
        }
    }

    fn float(&mut self, i: &Instruction, w: &mut Words, op: FloatOp, sources: usize) -> Decode<Op> {
        let word = w.take_type_word().unwrap_or_default();
        if word == "f32x2" {
            return self.float_pair(i, w, op, sources);
        }
        let Some(&(_, ty, bits)) = TYPES.iter().find(|(name, ..)| *name == word) else {
            return Err(self.error(format!("`{}`: float type `{word}`", w.text())));
        };
        if w.has("oob") {
            return Err(self.error(format!("`{}`: out-of-bounds NaNs are not modelled", w.text())));
        }
        let approximate = w.take("approx");
        w.take("full");
        w.take("rnd");
        let mods = self.arithmetic_mods(w, op)?;
        let op = match op {
            FloatOp::Div if approximate => FloatOp::DivApprox,
            FloatOp::Rcp if approximate && ty == FloatType::F64 => FloatOp::RcpCoarse,
            FloatOp::Rsqrt if ty == FloatType::F64 => FloatOp::RsqrtCoarse,
            op => op,
        };
        // `add.f32.f16 d, a, c`: the narrow operands are widened first.
        let narrow = w.take_one(&[("f16", Scalar::F16), ("bf16", Scalar::Bf16)]);
        let extremum = matches!(op, FloatOp::Min | FloatOp::Max);
        let three = if extremum && bits == 32 { 4 } else { 1 + sources };
        self.operand_count(i, &[1 + sources, three])?;
        let d = self.dest(&i.operands[0], bits)?;
        let mut read = vec![];
        for (n, operand) in i.operands[1..].iter().enumerate() {
            // The last operand of a mixed form has the wide type.
            let widen = narrow.filter(|_| n + 1 < sources.max(2));
            read.push(match widen {
                Some(from) => self.widened(operand, from)?,
                None => self.source(operand, bits, true)?,
            });
        }
        let (a, b) = (read[0], read.get(1).copied().unwrap_or(read[0]));
        match read.get(2) {
            Some(&third) if extremum => self.extremum_of_three(op, ty, mods, d, [a, b, third]),
            third => {
                let c = third.copied().unwrap_or(a);
                Ok(Op::Float { op, ty, mods, d, a, b, c })
            }
        }
    }

    fn widened(&mut self, operand: &Operand, from: Scalar) -> Decode<Slot> {
        let (a, d) = (self.source(operand, 16, true)?, self.names.scratch(32));
        let mods = FloatMods::default();
        self.push(Op::Convert { to: Scalar::F32, from, mods, d, a, b: a });
        Ok(d)
    }

    /// `min d, a, b, c`: of the first two, and then of that and the third.
    fn extremum_of_three(
        &mut self,
        op: FloatOp,
        ty: FloatType,
        mods: FloatMods,
        d: Slot,
        [a, b, c]: [Slot; 3],
    ) -> Decode<Op> {
        let between = self.names.scratch(32);
        self.push(Op::Float { op, ty, mods, d: between, a, b, c: a });
        Ok(Op::Float { op, ty, mods, d, a: between, b: c, c })
    }

    /// Two f32 in a 64-bit register, one row each (sm_100).
    fn float_pair(&mut self, i: &Instruction, w: &mut Words, op: FloatOp, sources: usize) -> Decode<Op> {
        if !matches!(op, FloatOp::Add | FloatOp::Sub | FloatOp::Mul | FloatOp::Fma) {
            return Err(self.error(format!("`{}`: no such form", w.text())));
        }
        if self.target_version() < 100 {
            let target = &self.module.target;
            return Err(self.error(format!("`{}` needs sm_100; the target is {target}", w.text())));
        }
        let mods = self.arithmetic_mods(w, op)?;
        self.operand_count(i, &[1 + sources])?;
        let d = self.dest(&i.operands[0], 64)?;
        let mut read = vec![];
        for operand in &i.operands[1..] {
            read.push(self.source(operand, 64, false)?);
        }
        let (a, b) = (read[0], read[1]);
        let c = read.get(2).copied().unwrap_or(a);
        let ty = FloatType::F32;
        let low = self.names.scratch(64);
        for half in 0..2 {
            self.push(Op::Float { op, ty, mods, d: low + half, a: a + half, b: b + half, c: c + half });
        }
        Ok(copy_rows(d, low, 2))
    }

    /// The number in `sm_90a`.
    pub(super) fn target_version(&self) -> u32 {
        let digits: String = self.module.target.chars().filter(char::is_ascii_digit).collect();
        digits.parse().unwrap_or(0)
    }

    fn arithmetic_mods(&mut self, w: &mut Words, op: FloatOp) -> Decode<FloatMods> {
        let mut mods = self.float_mods(w);
        if matches!(op, FloatOp::Min | FloatOp::Max) {
            mods.xorsign_abs = w.take("xorsign") && w.take("abs");
            // Three-operand forms know `.abs` alone.
            if !mods.xorsign_abs && w.take("abs") {
                return Err(self.error(format!("`{}`: `.abs` goes with `.xorsign`", w.text())));
            }
        }
        Ok(mods)
    }

    pub(super) fn float_mods(&mut self, w: &mut Words) -> FloatMods {
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
            sat: w.take("sat"),
            satfinite: w.take("satfinite"),
            relu: w.take("relu"),
            nan: w.take("NaN"),
            xorsign_abs: false,
        }
    }
}
