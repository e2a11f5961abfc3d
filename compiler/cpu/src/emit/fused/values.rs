//! Values at the nest's position: computed from their operands, loaded, or remembered.

use super::super::{Emit, Lanes, Reg, Result, scalar_ops::Operand};
use super::{Map, Nest};
use crate::runtime::Class;
use cranelift_codegen::ir::InstBuilder;
use tile_graph::{Axis, Literal, Op, ReduceKind, Value};

impl Emit<'_, '_> {
    /// Computes, before the loop along the inner axis, what does not move along it.
    pub(super) fn hoist(&mut self, nest: &mut Nest, value: Value, map: &Map) -> Result<()> {
        if self.graph.type_of(value).is_scalar() {
            return Ok(());
        }
        if !nest.moves(map) {
            let key = (value, map.clone());
            if !nest.row.contains_key(&key) {
                nest.lanes = Lanes::One;
                let reg = self.compute(nest, value, map)?;
                nest.row.insert(key, reg);
            }
            return Ok(());
        }
        if !self.is_written_out(nest, value) {
            return Ok(());
        }
        for (input, map) in self.operands(value, map) {
            self.hoist(nest, input, &map)?;
        }
        Ok(())
    }

    /// Whether the value is computed here from its operands, not loaded.
    pub(super) fn is_written_out(&self, nest: &Nest, value: Value) -> bool {
        match nest.members.get(&value.node) {
            Some(&phase) => {
                phase == nest.phase && !matches!(self.graph.node(value.node).op, Op::Reduce { .. })
            }
            None => self.is_inline(value),
        }
    }

    /// Operands with their maps.
    pub(super) fn operands(&self, value: Value, map: &Map) -> Vec<(Value, Map)> {
        let inputs = self.graph.inputs(value.node);
        let stretched = |v: &Value| -> Map {
            let axes = &self.graph.type_of(*v).axes;
            axes.iter().zip(map).map(|(a, m)| if *a == Axis::One { (None, 0) } else { *m }).collect()
        };
        match &self.graph.node(value.node).op {
            Op::Reshape { axes } => {
                let rank = self.graph.type_of(inputs[0]).axes.len();
                let mut source = vec![(None, 0); rank];
                for (n, from) in axes.iter().enumerate() {
                    if let Some(from) = from {
                        source[*from as usize] = map[n];
                    }
                }
                vec![(inputs[0], source)]
            }
            Op::Permute { order } => {
                let mut source = vec![(None, 0); order.len()];
                for (n, &from) in order.iter().enumerate() {
                    source[from as usize] = map[n];
                }
                vec![(inputs[0], source)]
            }
            Op::Slice { axis, lo } => {
                let mut source = map.clone();
                source[*axis as usize].1 += *lo as i64;
                vec![(inputs[0], source)]
            }
            _ => inputs.iter().map(|v| (*v, stretched(v))).collect(),
        }
    }

    /// The value at the current position.
    pub(super) fn eval(&mut self, nest: &mut Nest, value: Value, map: &Map) -> Result<Reg> {
        if self.graph.type_of(value).is_scalar() {
            let v = self.scalar(value)?;
            return Ok(self.splat(self.class(value), v, nest.lanes));
        }
        let key = (value, map.clone());
        if !nest.moves(map)
            && let Some(&reg) = nest.row.get(&key)
        {
            return Ok(self.splat(self.class(value), reg.low, nest.lanes));
        }
        if let Some(&reg) = nest.here.get(&key).filter(|_| nest.moves(map)) {
            return Ok(reg);
        }
        let reg = self.compute(nest, value, map)?;
        if nest.moves(map) {
            nest.here.insert(key, reg);
        } else if nest.at.get(nest.inner).is_none_or(Option::is_none) {
            // Outside of the loop along the row: later readings of this row see what was read first, even if a
            // result has been written over it since.
            nest.row.insert(key, reg);
        }
        Ok(reg)
    }

    /// As [`Self::eval`], without looking for what was computed before.
    pub(super) fn compute(&mut self, nest: &mut Nest, value: Value, map: &Map) -> Result<Reg> {
        if !self.is_written_out(nest, value) {
            let tile = match nest.stored.get(&value.node) {
                Some(tile) => tile.clone(),
                None => match self.stored(value) {
                    Some(tile) => tile,
                    None => return Err(self.bug(value.node, "a tile is used before it is computed")),
                },
            };
            return self.load_tile(&tile, map, nest);
        }
        if let Some(mask) = self.position_mask(nest, value, map)? {
            return Ok(mask);
        }
        let graph = self.graph;
        let node = graph.node(value.node);
        let mut regs = vec![];
        for (input, map) in self.operands(value, map) {
            regs.push((input, self.eval(nest, input, &map)?));
        }
        match &node.op {
            Op::Elem(op) => {
                let args: Vec<Operand> =
                    regs.iter().map(|&(v, reg)| Operand { reg, number: self.is_number(v) }).collect();
                let dtype = graph.type_of(regs.last().map_or(value, |r| r.0)).dtype;
                self.elem_op(value.node, *op, dtype, &args, nest.lanes)
            }
            Op::Cast => {
                let from = graph.type_of(regs[0].0).dtype;
                self.cast_reg(from, node.outputs[0].dtype, regs[0].1, nest.lanes)
            }
            Op::Iota => {
                let (axis, offset) = map[0];
                let at = match axis.and_then(|a| nest.at[a]) {
                    Some(at) => at,
                    None => self.int(0),
                };
                let at = if offset == 0 { at } else { self.fb.ins().iadd_imm_s(at, offset) };
                let lanes = if axis == Some(nest.inner) { nest.lanes } else { Lanes::One };
                let reg = self.positions(at, lanes);
                Ok(if lanes == nest.lanes { reg } else { self.splat(Class::I64, reg.low, nest.lanes) })
            }
            _ => Ok(regs[0].1),
        }
    }

    /// Whether a value is certainly not NaN.
    pub(super) fn is_number(&self, value: Value) -> bool {
        matches!(self.graph.splat(value), Some(Literal::Float(v)) if !v.is_nan())
            || matches!(
                self.graph.node(value.node).op,
                Op::Reduce { kind: ReduceKind::Max | ReduceKind::Min, .. }
            )
    }
}
