//! `mma.sync`, `mma.sp`, `movmatrix`.

use super::{Decode, Decoder, Words};
use crate::{
    exec::{matrix::register_counts_fit, sparse},
    ir::*,
    read::{Instruction, Operand},
};

/// What a type word says of a multiplicand, or of an accumulator.
const TYPES: [(&str, MmaType); 13] = [
    ("f16", MmaType::Both(MatrixType::F16)),
    ("f64", MmaType::Both(MatrixType::F64)),
    ("bf16", MmaType::Operand(MatrixType::Bf16)),
    ("tf32", MmaType::Operand(MatrixType::Tf32)),
    ("s8", MmaType::Operand(MatrixType::S8)),
    ("u8", MmaType::Operand(MatrixType::U8)),
    ("s4", MmaType::Operand(MatrixType::S4)),
    ("u4", MmaType::Operand(MatrixType::U4)),
    ("b1", MmaType::Operand(MatrixType::B1Xor)),
    ("e4m3", MmaType::Operand(MatrixType::E4m3)),
    ("e5m2", MmaType::Operand(MatrixType::E5m2)),
    ("f32", MmaType::Single),
    ("s32", MmaType::Integer),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum MmaType {
    /// A multiplicand that accumulators may have too.
    Both(MatrixType),
    Operand(MatrixType),
    Single,
    Integer,
}

impl MmaType {
    fn operand(self) -> Option<MatrixType> {
        match self {
            MmaType::Both(ty) | MmaType::Operand(ty) => Some(ty),
            _ => None,
        }
    }
}

/// Shapes of each multiplicand: m, n, and every k; those of `mma.sp`.
fn shapes(ty: MatrixType, sparse: bool) -> &'static [(u8, u8, u16)] {
    use MatrixType::*;
    match (ty, sparse) {
        (F16, false) | (Bf16, false) => &[(16, 8, 8), (16, 8, 16)],
        (Tf32, false) => &[(16, 8, 4), (16, 8, 8)],
        (F64, false) => &[(8, 8, 4), (16, 8, 4), (16, 8, 8), (16, 8, 16)],
        (S8 | U8, false) => &[(8, 8, 16), (16, 8, 16), (16, 8, 32)],
        (S4 | U4, false) => &[(8, 8, 32), (16, 8, 32), (16, 8, 64)],
        (B1Xor | B1And, false) => &[(8, 8, 128), (16, 8, 128), (16, 8, 256)],
        (E4m3 | E5m2, false) => &[(16, 8, 16), (16, 8, 32)],
        (F16 | Bf16, true) => &[(16, 8, 16), (16, 8, 32)],
        (Tf32, true) => &[(16, 8, 8), (16, 8, 16)],
        (S8 | U8, true) => &[(16, 8, 32), (16, 8, 64)],
        (S4 | U4, true) => &[(16, 8, 64), (16, 8, 128)],
        (E4m3 | E5m2, true) => &[(16, 8, 64)],
        (F64 | B1Xor | B1And, true) => &[],
    }
}

/// `m16n8k32` to its numbers.
pub(super) fn shape(word: &str) -> Option<(u8, u8, u16)> {
    let (m, rest) = word.strip_prefix('m')?.split_once('n')?;
    let (n, k) = rest.split_once('k')?;
    Some((m.parse().ok()?, n.parse().ok()?, k.parse().ok()?))
}

impl Decoder<'_> {
    pub(super) fn matrix_product(&mut self, i: &Instruction, w: &mut Words) -> Decode<Option<Op>> {
        match w.name() {
            "mma" => self.mma(i, w).map(Some),
            "movmatrix" => {
                ["sync", "aligned", "m8n8", "trans", "b16"].iter().for_each(|word| _ = w.take(word));
                self.operand_count(i, &[2])?;
                let (d, a) = (self.dest(&i.operands[0], 32)?, self.source(&i.operands[1], 32, false)?);
                Ok(Some(Op::TransposeMatrix { d, a }))
            }
            _ => Ok(None),
        }
    }

    /// `mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 d, a, b, c;`
    fn mma(&mut self, i: &Instruction, w: &mut Words) -> Decode<Op> {
        let sparse = w.take("sp") | w.take("sp::ordered_metadata");
        self.operand_count(i, if sparse { &[6] } else { &[4] })?;
        w.take("sync");
        w.take("aligned");
        let word = w.take_if(|s| shape(s).is_some());
        let (m, n, k) = word.and_then(shape).ok_or_else(|| self.error("`mma` without a shape"))?;
        if (m, n, k) == (8, 8, 4) && !w.has("f64") {
            return self.quads(i, w);
        }
        if !(w.take("row") && w.take("col")) {
            return Err(self.error(format!("`{}`: only .row.col is supported", w.text())));
        }
        let saturate = w.take("satfinite");
        let bits = w.take_one(&[("xor", MatrixType::B1Xor), ("and", MatrixType::B1And)]);
        w.take("popc");
        w.take("rn");
        let mut next = || {
            w.take_one(&TYPES)
                .ok_or_else(|| self.error(format!("`{}`: a type is missing or not supported", i.text())))
        };
        let (d_type, a_type, b_type, c_type) = (next()?, next()?, next()?, next()?);
        let (Some(a_type), Some(b_type)) = (a_type.operand(), b_type.operand()) else {
            return Err(self.error(format!("`{}`: types of the operands", w.text())));
        };
        let single_bit = |ty| if ty == MatrixType::B1Xor { bits.unwrap_or(ty) } else { ty };
        let (a_type, b_type) = (single_bit(a_type), single_bit(b_type));
        let half_acc = self.accumulator(a_type, b_type, d_type, c_type, w)?;
        if !shapes(a_type, sparse).contains(&(m, n, k)) {
            return Err(self.error(format!("`{}`: this shape is not supported", w.text())));
        }
        let pattern = if sparse { Some(self.sparse_operand(i, a_type, k)?) } else { None };
        let bits = if a_type == MatrixType::F64 { 64 } else { 32 };
        let mut slots = |at: usize, dest: bool| -> Decode<Vec<Slot>> {
            let operands = self.vector(&i.operands[at]);
            operands
                .into_iter()
                .map(|o| if dest { self.dest(o, bits) } else { self.source(o, bits, true) })
                .collect()
        };
        let (d, a, b, c) = (slots(0, true)?, slots(1, false)?, slots(2, false)?, slots(3, false)?);
        let op = Op::Mma { m, n, k, a_type, b_type, half_acc, saturate, sparse: pattern, d, a, b, c };
        if !register_counts_fit(&op) {
            return Err(self.error(format!("`{}`: wrong number of registers", w.text())));
        }
        Ok(op)
    }

    /// `mma.sync.aligned.m8n8k4.row.col.f32.f16.f16.f16 d, a, b, c;`
    fn quads(&mut self, i: &Instruction, w: &mut Words) -> Decode<Op> {
        const ORDERS: [(&str, bool); 2] = [("row", false), ("col", true)];
        let (a_columns, b_columns) = (w.take_one(&ORDERS), w.take_one(&ORDERS));
        let types: Vec<_> = (0..4).map_while(|_| w.take_one(&TYPES)).collect();
        let half = MmaType::Both(MatrixType::F16);
        let (Some(a_columns), Some(b_columns), &[d, a, b, c]) = (a_columns, b_columns, &types[..]) else {
            return Err(self.error(format!("`{}`: two orders and four types are needed", w.text())));
        };
        let sums = [d, c].iter().all(|ty| [half, MmaType::Single].contains(ty));
        if !sums || (a, b) != (half, half) || (d, c) == (half, MmaType::Single) {
            return Err(self.error(format!("`{}`: these types do not go together", w.text())));
        }
        let (d_halves, c_halves) = (d == half, c == half);
        let sums = |halves: bool| if halves { 4 } else { 8 };
        let mut slots = |at: usize, count: usize, dest: bool| -> Decode<Vec<Slot>> {
            let parts = self.vector(&i.operands[at]);
            if parts.len() != count {
                return Err(self.error(format!("`{}`: wrong number of registers", i.text())));
            }
            let slot = |o| if dest { self.dest(o, 32) } else { self.source(o, 32, true) };
            parts.into_iter().map(slot).collect()
        };
        let d = slots(0, sums(d_halves), true)?;
        let (a, b, c) = (slots(1, 2, false)?, slots(2, 2, false)?, slots(3, sums(c_halves), false)?);
        let b_rows = !b_columns;
        Ok(Op::MmaQuads(Box::new(MmaQuads { a_columns, b_rows, d_halves, c_halves, d, a, b, c })))
    }

    /// Whether the accumulators are packed halves; an error if the four types do not go together.
    fn accumulator(&self, a: MatrixType, b: MatrixType, d: MmaType, c: MmaType, w: &Words) -> Decode<bool> {
        use MatrixType::*;
        let integers = |x| matches!(x, S8 | U8) as u8 | (matches!(x, S4 | U4) as u8) << 1;
        let floats = |x| matches!(x, E4m3 | E5m2);
        let pair = a == b || floats(a) && floats(b) || integers(a) != 0 && integers(a) == integers(b);
        let expected = match a {
            F64 => d == MmaType::Both(F64),
            F16 | E4m3 | E5m2 => matches!(d, MmaType::Single | MmaType::Both(F16)),
            Bf16 | Tf32 => d == MmaType::Single,
            _ => d == MmaType::Integer,
        };
        if !pair || !expected || d != c {
            return Err(self.error(format!("`{}`: these types do not go together", w.text())));
        }
        Ok(d == MmaType::Both(F16))
    }

    fn sparse_operand(&mut self, i: &Instruction, ty: MatrixType, k: u16) -> Decode<Sparsity> {
        let metadata = self.source(&i.operands[4], 32, false)?;
        match i.operands[5] {
            Operand::Int(n) if (0..sparse::metadata(ty, k as usize, 0).selectors() as i64).contains(&n) => {
                Ok(Sparsity { metadata, selector: n as u8 })
            }
            _ => Err(self.error(format!("`{}`: the selector is out of range", i.text()))),
        }
    }
}
