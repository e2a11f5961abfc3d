//! Shuffles, votes, reductions over a warp, matrix products.

use super::{Decode, Decoder, Words};
use crate::{
    ir::*,
    read::{Instruction, Operand},
};

impl Decoder<'_> {
    pub(super) fn warp_wide(&mut self, i: &Instruction, w: &mut Words) -> Decode<Option<Op>> {
        Ok(Some(match w.name() {
            "shfl" => self.shuffle(i, w)?,
            "vote" => self.vote(i, w)?,
            "match" => {
                w.take("sync");
                if !w.take("any") {
                    return Err(self.error(format!("`{}` is not supported", w.text())));
                }
                let ty = self.ty(w)?;
                Op::MatchAny {
                    wide: ty.bits == 64,
                    d: self.dest(self.operand(i, 0)?, 32)?,
                    a: self.source(self.operand(i, 1)?, ty.bits, false)?,
                    members: self.source(self.operand(i, 2)?, 32, false)?,
                }
            }
            "redux" => {
                w.take("sync");
                let op = w
                    .take_one(&[
                        ("add", AtomOp::Add),
                        ("min", AtomOp::Min),
                        ("max", AtomOp::Max),
                        ("and", AtomOp::And),
                        ("or", AtomOp::Or),
                        ("xor", AtomOp::Xor),
                    ])
                    .ok_or_else(|| self.error("`redux` without an operation"))?;
                let ty = self.ty(w)?;
                Op::Redux {
                    op,
                    signed: ty.kind == crate::read::TypeKind::Signed,
                    d: self.dest(self.operand(i, 0)?, 32)?,
                    a: self.source(self.operand(i, 1)?, 32, false)?,
                    members: self.source(self.operand(i, 2)?, 32, false)?,
                }
            }
            "elect" => {
                w.take("sync");
                let Operand::Pair(d, p) = self.operand(i, 0)? else {
                    return Err(self.error("`elect` gives a register and a predicate"));
                };
                let d = if **d == Operand::Sink { None } else { Some(self.dest(d, 32)?) };
                Op::Elect {
                    d,
                    p: self.predicate(p)?.0,
                    members: self.source(self.operand(i, 1)?, 32, false)?,
                }
            }
            "activemask" => {
                w.take("b32");
                Op::ActiveMask { d: self.dest(self.operand(i, 0)?, 32)? }
            }
            "mma" => self.mma(i, w)?,
            _ => return Ok(None),
        }))
    }

    fn shuffle(&mut self, i: &Instruction, w: &mut Words) -> Decode<Op> {
        self.operand_count(i, &[5])?;
        w.take("sync");
        w.take("b32");
        let kind = w
            .take_one(&[
                ("up", Shuffle::Up),
                ("down", Shuffle::Down),
                ("bfly", Shuffle::Xor),
                ("idx", Shuffle::Idx),
            ])
            .ok_or_else(|| self.error("`shfl` without a mode"))?;
        let (d, p) = match &i.operands[0] {
            Operand::Pair(d, p) => (self.dest(d, 32)?, Some(self.predicate(p)?.0)),
            one => (self.dest(one, 32)?, None),
        };
        Ok(Op::Shuffle {
            kind,
            d,
            p,
            a: self.source(&i.operands[1], 32, false)?,
            lane: self.source(&i.operands[2], 32, false)?,
            clamp: self.source(&i.operands[3], 32, false)?,
            members: self.source(&i.operands[4], 32, false)?,
        })
    }

    fn vote(&mut self, i: &Instruction, w: &mut Words) -> Decode<Op> {
        w.take("sync");
        self.operand_count(i, &[3])?;
        let members = self.source(&i.operands[2], 32, false)?;
        let (a, negate) = self.predicate(&i.operands[1])?;
        if w.take("ballot") {
            w.take("b32");
            return Ok(Op::VoteBallot { d: self.dest(&i.operands[0], 32)?, a, negate, members });
        }
        let kind = w
            .take_one(&[("all", Vote::All), ("any", Vote::Any), ("uni", Vote::Uni)])
            .ok_or_else(|| self.error("`vote` without a mode"))?;
        w.take("pred");
        let (d, _) = self.predicate(&i.operands[0])?;
        Ok(Op::VotePred { kind, d, a, negate, members })
    }

    /// `mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 d, a, b, c;`
    fn mma(&mut self, i: &Instruction, w: &mut Words) -> Decode<Op> {
        self.operand_count(i, &[4])?;
        w.take("sync");
        w.take("aligned");
        let shape = w.take_if(|s| s.starts_with('m') && s.contains('k')).unwrap_or_default();
        let (m, n, k) = match shape {
            "m16n8k4" => (16, 8, 4),
            "m16n8k8" => (16, 8, 8),
            "m16n8k16" => (16, 8, 16),
            "m16n8k32" => (16, 8, 32),
            "m8n8k4" => (8, 8, 4),
            _ => return Err(self.error(format!("`{}`: this shape is not supported", w.text()))),
        };
        if !(w.take("row") && w.take("col")) {
            return Err(self.error(format!("`{}`: only .row.col is supported", w.text())));
        }
        w.take("satfinite");
        const TYPES: [(&str, Option<MatrixType>); 8] = [
            ("f16", Some(MatrixType::F16)),
            ("bf16", Some(MatrixType::Bf16)),
            ("tf32", Some(MatrixType::Tf32)),
            ("f64", Some(MatrixType::F64)),
            ("s8", Some(MatrixType::S8)),
            ("u8", Some(MatrixType::U8)),
            ("f32", None),
            ("s32", None),
        ];
        let next = |w: &mut Words| {
            w.take_one(&TYPES)
                .ok_or_else(|| self.error(format!("`{}`: a type is missing or not supported", w.text())))
        };
        let (d_type, a_type, b_type, _c_type) = (next(w)?, next(w)?, next(w)?, next(w)?);
        let (Some(a_type), Some(b_type)) = (a_type, b_type) else {
            return Err(self.error(format!("`{}`: operand types", w.text())));
        };
        let wide = a_type == MatrixType::F64;
        let bits = if wide { 64 } else { 32 };
        let mut slots = |at: usize, dest: bool| -> Decode<Vec<Slot>> {
            let operands = self.vector(&i.operands[at]);
            operands
                .into_iter()
                .map(|o| if dest { self.dest(o, bits) } else { self.source(o, bits, true) })
                .collect()
        };
        let (d, a, b, c) = (slots(0, true)?, slots(1, false)?, slots(2, false)?, slots(3, false)?);
        let half_acc = d_type == Some(MatrixType::F16);
        let op = Op::Mma { m, n, k, a_type, b_type, half_acc, d, a, b, c };
        if !crate::exec::matrix::register_counts_fit(&op) {
            return Err(self.error(format!("`{}`: wrong number of registers", w.text())));
        }
        Ok(op)
    }
}
