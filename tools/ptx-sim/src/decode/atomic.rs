//! `atom` and `red`. A vector form is one atomic an element: the ISA promises no more.

use super::{
    Decode, Decoder, Words,
    compare::scalar_of,
    memory::{ATOMS, SCOPES, SPACES},
};
use crate::{
    ir::*,
    read::{Instruction, Operand, Type, TypeKind},
};

impl Decoder<'_> {
    pub(super) fn atomic_access(&mut self, i: &Instruction, w: &mut Words) -> Decode<Option<Op>> {
        if !matches!(w.name(), "atom" | "red") || w.has("async") {
            return Ok(None);
        }
        let space = w.take_one(&SPACES).unwrap_or(MemSpace::Generic);
        let hinted = w.has("L2::cache_hint");
        let order = self.atomic_order(w);
        let op = w.take_one(&ATOMS);
        let op = op.ok_or_else(|| self.error(format!("`{}` without an operation", w.text())))?;
        w.take("noftz");
        let count = self.vector_length(w);
        let (ty, bits) = self.atomic_type(w, op)?;
        let returns = w.name() == "atom";
        let sources = if op == AtomOp::Cas { 2 } else { 1 };
        self.operand_count(i, &[usize::from(returns) + 1 + sources + usize::from(hinted)])?;
        let (d, rest) =
            if returns { (Some(&i.operands[0]), &i.operands[1..]) } else { (None, &i.operands[..]) };
        let addr = self.address(&rest[0])?;
        let elements = |operand| self.vector(operand);
        let (first, second) = (elements(&rest[1]), rest.get(2).filter(|_| sources == 2).map(elements));
        let d = d.map(elements);
        let fits = |v: &Vec<&Operand>| v.len() == count;
        if !(fits(&first) && second.as_ref().is_none_or(fits) && d.as_ref().is_none_or(fits)) {
            return Err(self.error(format!("`{}` is of {count} elements", i.text())));
        }
        let float = !matches!(ty, Scalar::Int { .. });
        let mut operations = vec![];
        let mut copies = (vec![], vec![]);
        for n in 0..count {
            let a = self.source(first[n], bits, float)?;
            let b = match &second {
                Some(second) => self.source(second[n], bits, float)?,
                None => a,
            };
            let addr = Addr { offset: addr.offset + n as i64 * bits as i64 / 8, ..addr };
            let d = match d.as_ref().map(|d| d[n]) {
                None | Some(Operand::Sink) => None,
                Some(d) => Some(self.dest(d, bits)?),
            };
            // Of several elements the results wait, lest one be a later element's source.
            let d = match d {
                Some(d) if count > 1 => {
                    let between = self.names.scratch(bits);
                    copies.0.push(d);
                    copies.1.push(between);
                    Some(between)
                }
                d => d,
            };
            operations.push(Op::Atomic { space, op, ty, d, addr, a, b, order });
        }
        let last = if copies.0.is_empty() {
            operations.pop().unwrap_or(Op::Nop)
        } else {
            Op::Copy { to: copies.0, from: copies.1 }
        };
        operations.into_iter().for_each(|op| self.push(op));
        Ok(Some(last))
    }

    /// An atomic without words is relaxed, at the scope of the device.
    fn atomic_order(&mut self, w: &mut Words) -> Order {
        let semantics = w.take_one(&[
            ("relaxed", Semantics::Relaxed),
            ("acquire", Semantics::Acquire),
            ("release", Semantics::Release),
            ("acq_rel", Semantics::AcqRel),
        ]);
        let scope = w.take_one(&SCOPES);
        w.take_hints();
        Order { semantics: semantics.unwrap_or(Semantics::Relaxed), scope: scope.unwrap_or(Scope::Gpu) }
    }

    fn atomic_type(&mut self, w: &mut Words, op: AtomOp) -> Decode<(Scalar, u32)> {
        let word = w.take_type_word().ok_or_else(|| self.error(format!("`{}` has no type", w.text())))?;
        let ty = match word {
            "f16x2" => return Ok((Scalar::F16x2, 32)),
            "bf16x2" => return Ok((Scalar::Bf16x2, 32)),
            other => Type::from_word(other).ok_or_else(|| self.error("type"))?,
        };
        let float = matches!(ty.kind, TypeKind::Float | TypeKind::Bf16);
        let bitwise = matches!(op, AtomOp::And | AtomOp::Or | AtomOp::Xor | AtomOp::Inc | AtomOp::Dec);
        let extremum = matches!(op, AtomOp::Min | AtomOp::Max);
        let fits = match ty.bits {
            16 => float && (op == AtomOp::Add || extremum) || op == AtomOp::Cas,
            32 | 64 => !float || !bitwise && !extremum,
            128 => matches!(op, AtomOp::Cas | AtomOp::Exch),
            _ => false,
        };
        if !fits {
            return Err(self.error(format!("`{}`: no such form", w.text())));
        }
        Ok((scalar_of(ty), ty.bits))
    }
}
