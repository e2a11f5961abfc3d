//! Index tiles as one number for the block, one for the thread, and constants.
//!
//! Positions are 64-bit in the language, but a tile of them is always `base + iota`: a uniform base, and an offset
//! smaller than a tile. Kept apart, two such tiles compare in 32 bits:
//!
//! ```text
//! j.at[_, :] <= i.at[:, _] + (N - M)
//! j.start + (tj + cj[r])  <=  i.start + N - M + (ti + ci[r])          t: thread's part, c: constant of register r
//! (tj - ti)  <=  clamp(i.start + N - M - j.start) - (cj[r] - ci[r])   left: one register; right: uniform
//! ```
//!
//! The clamp to 2^30 loses nothing: offsets are far smaller. Where a tile is needed as numbers it is added up.

use super::{Emission, Emit};
use crate::text::{Ty, V};
use tile_base::DType;
use tile_graph::{ElemOp, NodeId, Value};

/// `base + thread + constants[r]`.
#[derive(Clone)]
pub struct Affine {
    /// Uniform, i64.
    base: V,
    /// The thread's part, i32.
    thread: V,
    /// One for each register of the tile's layout.
    constants: Vec<i64>,
}

impl Emit<'_> {
    pub(super) fn affine_iota(&mut self, node: NodeId) -> Emission<Affine> {
        let layout = self.layout(Value { node, port: 0 })?;
        let thread = self.thread_part(&layout, 0);
        let constants = (0..layout.registers()).map(|r| i64::from(layout.register_offset(r)[0])).collect();
        Ok(Affine { base: self.t.i64(0), thread, constants })
    }

    /// The tile as numbers.
    pub(super) fn summed(&mut self, tile: &Affine) -> Vec<V> {
        let wide = self.t.convert("sext", tile.thread, Ty::I64);
        let start = self.t.add(tile.base, wide);
        tile.constants.iter().map(|&c| self.t.add_const(start, c)).collect()
    }

    /// An operand of an elementwise node in this form, in the order of the result's registers.
    fn affine_operand(&mut self, node: NodeId, port: u32, count: usize) -> Emission<Option<Affine>> {
        let value = self.g.inputs(node)[port as usize];
        let ty = self.g.type_of(value);
        if ty.dtype != DType::I64 {
            return Ok(None);
        }
        if ty.is_scalar() {
            let base = self.scalar(node, value)?;
            return Ok(Some(Affine { base, thread: self.t.i32(0), constants: vec![0; count] }));
        }
        let Some(tile) = self.affine.get(&value).cloned() else { return Ok(None) };
        if self.plan.conversions.contains_key(&(node, port)) {
            return Ok(None);
        }
        let map = self.operand_map(node, port)?;
        Ok(Some(Affine { constants: map.into_iter().map(|r| tile.constants[r]).collect(), ..tile }))
    }

    /// The result of an operation that only moves elements.
    pub(super) fn affine_moved(&mut self, node: NodeId) -> Emission<Option<Affine>> {
        let value = self.g.inputs(node)[0];
        let Some(tile) = self.affine.get(&value).cloned() else { return Ok(None) };
        if self.plan.conversions.contains_key(&(node, 0))
            || self.g.type_of(Value { node, port: 0 }).is_scalar()
        {
            return Ok(None);
        }
        let map = self.operand_map(node, 0)?;
        Ok(Some(Affine { constants: map.into_iter().map(|r| tile.constants[r]).collect(), ..tile }))
    }

    /// Sums and differences stay in the form.
    pub(super) fn affine_sum(&mut self, node: NodeId, op: ElemOp) -> Emission<Option<Affine>> {
        let result = Value { node, port: 0 };
        if !matches!(op, ElemOp::Add | ElemOp::Sub) || self.g.type_of(result).is_scalar() {
            return Ok(None);
        }
        let count = self.layout(result)?.registers();
        let (Some(a), Some(b)) = (self.affine_operand(node, 0, count)?, self.affine_operand(node, 1, count)?)
        else {
            return Ok(None);
        };
        let name = if op == ElemOp::Add { "add" } else { "sub" };
        let sign = if op == ElemOp::Add { 1 } else { -1 };
        Ok(Some(Affine {
            base: self.t.int_op(name, a.base, b.base),
            thread: self.t.int_op(name, a.thread, b.thread),
            constants: a.constants.iter().zip(&b.constants).map(|(x, y)| x + sign * y).collect(),
        }))
    }

    /// A comparison of two such tiles, in 32 bits.
    pub(super) fn affine_compare(&mut self, node: NodeId, op: ElemOp) -> Emission<Option<Vec<V>>> {
        let predicate = match op {
            ElemOp::Eq => "eq",
            ElemOp::Ne => "ne",
            ElemOp::Lt => "slt",
            ElemOp::Le => "sle",
            ElemOp::Gt => "sgt",
            ElemOp::Ge => "sge",
            _ => return Ok(None),
        };
        let result = Value { node, port: 0 };
        if self.g.type_of(result).is_scalar() {
            return Ok(None);
        }
        let count = self.layout(result)?.registers();
        let (Some(a), Some(b)) = (self.affine_operand(node, 0, count)?, self.affine_operand(node, 1, count)?)
        else {
            return Ok(None);
        };
        let thread = self.t.sub(a.thread, b.thread);
        let distance = self.t.sub(b.base, a.base);
        let (low, high) = (self.t.i64(-(1 << 30)), self.t.i64(1 << 30));
        let distance = self.t.intrinsic("smax", &[distance, low]);
        let distance = self.t.intrinsic("smin", &[distance, high]);
        let limit = self.t.convert("trunc", distance, Ty::I32);
        let constants: Vec<i64> = a.constants.iter().zip(&b.constants).map(|(x, y)| x - y).collect();
        Ok(Some(
            constants
                .into_iter()
                .map(|c| {
                    let right = self.t.add_const(limit, -c);
                    self.t.icmp(predicate, thread, right)
                })
                .collect(),
        ))
    }
}
