//! Shuffles, votes, matches, reductions over a warp.

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
                let all = w.take_one(&[("any", false), ("all", true)]);
                let all = all.ok_or_else(|| self.error(format!("`{}` without a mode", w.text())))?;
                self.operand_count(i, &[3])?;
                if all {
                    return self.match_all(i, w).map(Some);
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
                let magnitude = w.take("abs");
                let nan = w.take("NaN");
                let ty = self.ty(w)?;
                let float = ty.kind == crate::read::TypeKind::Float;
                if (magnitude || nan) && !float {
                    return Err(self.error(format!("`{}`: no such form", w.text())));
                }
                if float && self.target_version() < 100 {
                    let target = &self.module.target;
                    return Err(self.error(format!("`{}` needs sm_100a; the target is {target}", w.text())));
                }
                Op::Redux {
                    op,
                    float: float.then_some(FloatMods { nan, ..FloatMods::default() }),
                    magnitude,
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
            Operand::Pair(d, p) => {
                let p = if **p == Operand::Sink { None } else { Some(self.predicate(p)?.0) };
                (self.dest(d, 32)?, p)
            }
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

    /// `match.all.sync.b32 d|p, a, members;`
    fn match_all(&mut self, i: &Instruction, w: &mut Words) -> Decode<Op> {
        let ty = self.ty(w)?;
        let (d, p) = match &i.operands[0] {
            Operand::Pair(d, p) => (&**d, Some(&**p)),
            one => (one, None),
        };
        let d = if *d == Operand::Sink { None } else { Some(self.dest(d, 32)?) };
        let p = match p {
            None | Some(Operand::Sink) => None,
            Some(p) => Some(self.predicate(p)?.0),
        };
        let a = self.source(&i.operands[1], ty.bits, false)?;
        let members = self.source(&i.operands[2], 32, false)?;
        Ok(Op::MatchAll { wide: ty.bits == 64, d, p, a, members })
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
}
