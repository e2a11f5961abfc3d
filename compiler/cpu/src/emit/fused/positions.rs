//! Comparisons of positions, the masks of attention.

use super::super::{Emit, Lanes, Reg, Result};
use super::{Map, Nest};
use crate::runtime::Class;
use cranelift_codegen::ir::{
    self, InstBuilder,
    condcodes::{CondCode, IntCC},
    types,
};
use tile_graph::{ElemOp, Op, Value};

/// `position · p + constant + Σ ± rest`, p the position along the inner axis.
#[derive(Default)]
struct Linear {
    position: i64,
    constant: i64,
    rest: Vec<(Value, Map, i64)>,
}

/// `p cc constant + Σ ± rest`: a condition on the position along the inner axis, everything else on the right.
pub(super) struct Bound {
    pub(super) cc: IntCC,
    constant: i64,
    rest: Vec<(Value, Map, i64)>,
}

impl Emit<'_, '_> {
    /// A comparison of positions with what does not move, such as `j.at <= i.at + (N - M)`.
    ///
    /// `start + p <= i + extra` becomes `p <= i + extra - start`. Everything on the right has been computed before the
    /// loop along the row; `None` if it has not, or if the value is no such comparison.
    pub(super) fn bound_of(&self, nest: &Nest, value: Value, map: &Map) -> Option<Bound> {
        let Op::Elem(op) = self.graph.node(value.node).op else { return None };
        let cc = match op {
            ElemOp::Le => IntCC::SignedLessThanOrEqual,
            ElemOp::Lt => IntCC::SignedLessThan,
            ElemOp::Ge => IntCC::SignedGreaterThanOrEqual,
            ElemOp::Gt => IntCC::SignedGreaterThan,
            ElemOp::Eq => IntCC::Equal,
            _ => return None,
        };
        let operands = self.operands(value, map);
        if self.class(operands[0].0) != Class::I64 {
            return None;
        }
        let (mut left, mut right) = (Linear::default(), Linear::default());
        for (form, (input, map)) in [&mut left, &mut right].into_iter().zip(&operands) {
            if !self.linear(nest, *input, map, 1, form) {
                return None;
            }
        }
        // c p cc rest, with c the difference of the coefficients; -p cc rest is p (cc reversed) -rest.
        let sign = left.position - right.position;
        if sign.abs() != 1 {
            return None;
        }
        let signed =
            |terms: Vec<(Value, Map, i64)>, s: i64| terms.into_iter().map(move |(v, m, t)| (v, m, t * s));
        let constant = sign * (right.constant - left.constant);
        let rest: Vec<_> = signed(right.rest, sign).chain(signed(left.rest, -sign)).collect();
        let known = |(v, m, _): &(Value, Map, i64)| {
            self.graph.type_of(*v).is_scalar() || nest.row.contains_key(&(*v, m.clone()))
        };
        let cc = if sign == 1 { cc } else { cc.swap_args() };
        rest.iter().all(known).then_some(Bound { cc, constant, rest })
    }

    /// The right side as an i32, held to ±2^31: positions in a tile are far from that.
    pub(super) fn bound_value(&mut self, nest: &Nest, bound: &Bound) -> Result<ir::Value> {
        let mut sum = self.int(bound.constant);
        for (value, map, sign) in &bound.rest {
            let v = match nest.row.get(&(*value, map.clone())) {
                Some(reg) => reg.low,
                None => self.scalar(*value)?,
            };
            sum = if *sign > 0 { self.fb.ins().iadd(sum, v) } else { self.fb.ins().isub(sum, v) };
        }
        let (lo, hi) = (self.int(i32::MIN as i64 + 1), self.int(i32::MAX as i64));
        let sum = self.fb.ins().smax(sum, lo);
        let sum = self.fb.ins().smin(sum, hi);
        Ok(self.fb.ins().ireduce(types::I32, sum))
    }

    /// Four positions compared as 32-bit integers instead of 64-bit ones.
    pub(super) fn position_mask(&mut self, nest: &mut Nest, value: Value, map: &Map) -> Result<Option<Reg>> {
        if nest.lanes != Lanes::Four {
            return Ok(None);
        }
        let (Some(at), Some(bound)) = (nest.at[nest.inner], self.bound_of(nest, value, map)) else {
            return Ok(None);
        };
        let limit = self.bound_value(nest, &bound)?;
        let limit = self.splat(Class::I32, limit, Lanes::Four).low;
        let at = self.fb.ins().ireduce(types::I32, at);
        let at = self.splat(Class::I32, at, Lanes::Four).low;
        let bytes: Vec<u8> = (0..4i32).flat_map(i32::to_le_bytes).collect();
        let constant = self.fb.func.dfg.constants.insert(bytes.into());
        let steps = self.fb.ins().vconst(types::I32X4, constant);
        let positions = self.fb.ins().iadd(at, steps);
        Ok(Some(self.fb.ins().icmp(bound.cc, positions, limit).into()))
    }

    /// Adds `sign · value` to a linear form over the position along the inner axis; false when it is none. Index
    /// arithmetic is exact (rule 7), so terms may change sides.
    fn linear(&self, nest: &Nest, value: Value, map: &Map, sign: i64, form: &mut Linear) -> bool {
        if self.graph.type_of(value).is_scalar() || !nest.moves(map) {
            form.rest.push((value, map.clone(), sign));
            return form.rest.len() <= 8;
        }
        if !self.is_written_out(nest, value) {
            return false;
        }
        let operands = self.operands(value, map);
        match &self.graph.node(value.node).op {
            Op::Iota => {
                form.position += sign;
                form.constant += sign * map[0].1;
                true
            }
            Op::Elem(ElemOp::Add) => operands.iter().all(|(v, m)| self.linear(nest, *v, m, sign, form)),
            Op::Elem(ElemOp::Sub) => {
                self.linear(nest, operands[0].0, &operands[0].1, sign, form)
                    && self.linear(nest, operands[1].0, &operands[1].1, -sign, form)
            }
            Op::Reshape { .. } | Op::Permute { .. } | Op::Slice { .. } | Op::Broadcast => {
                self.linear(nest, operands[0].0, &operands[0].1, sign, form)
            }
            _ => false,
        }
    }
}
