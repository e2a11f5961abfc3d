//! Operations on an axis that lies whole in each thread's registers (see `tile_plan::local`): running sums, the greatest
//! elements, parts of an axis. Each is a walk over *lines*: the registers that differ along the axis alone, in order.

use super::{Emission, Emit};
use crate::text::{Ty, V};
use std::collections::BTreeMap;
use tile_base::DType;
use tile_graph::{ElemOp, NodeId, Op, ReduceKind, Value};
use tile_layout::Layout;
use tile_plan::{local, shape::Shapes};

/// Which way a scan goes, and whether an element counts itself.
#[derive(Clone, Copy)]
pub(super) struct Way {
    pub reverse: bool,
    pub exclusive: bool,
}

/// An element of a selection: value, position, whether there is one.
#[derive(Clone, Copy)]
struct Chosen {
    value: V,
    position: V,
    there: V,
}

/// Registers of each line, by the rest of their coordinates.
fn lines(layout: &Layout, axis: usize) -> BTreeMap<Vec<u32>, Vec<usize>> {
    let mut out: BTreeMap<Vec<u32>, Vec<(u32, usize)>> = BTreeMap::new();
    for r in 0..layout.registers() {
        let mut at = layout.register_offset(r);
        let along = std::mem::replace(&mut at[axis], 0);
        out.entry(at).or_default().push((along, r));
    }
    let in_order = |mut line: Vec<(u32, usize)>| {
        line.sort_unstable();
        line.into_iter().map(|(_, r)| r).collect()
    };
    out.into_iter().map(|(at, line)| (at, in_order(line))).collect()
}

impl Emit<'_> {
    /// The layout in which such an operation makes result `port`.
    pub(super) fn made_local(&self, node: NodeId, port: u32) -> Emission<Option<Layout>> {
        if !local::is_local(&self.g.node(node).op) {
            return Ok(None);
        }
        let operand = self.input_layout(node, 0)?;
        let shapes = Shapes::new(self.g, &self.plan.binding, &[]);
        local::made(&shapes, node, port, &operand)
            .map(Some)
            .ok_or_else(|| self.bug(node, "an operand that cannot be rearranged"))
    }

    fn made_of(&self, node: NodeId, port: u32) -> Emission<Layout> {
        self.made_local(node, port)?.ok_or_else(|| self.bug(node, "no operation on a whole axis"))
    }

    pub(super) fn scan(&mut self, node: NodeId, axis: usize, kind: ReduceKind, way: Way) -> Emission<Vec<V>> {
        let operand = self.g.inputs(node)[0];
        let (dtype, out) = (self.g.type_of(operand).dtype, self.g.node(node).outputs[0].dtype);
        let work = if matches!(dtype, DType::F16 | DType::Bf16) { DType::F32 } else { dtype };
        let layout = self.input_layout(node, 0)?;
        let given: Vec<V> = self.input(node, 0)?.into_iter().map(|v| self.cast(v, dtype, work)).collect();
        let identity = self.identity(kind, work);
        // Only a scan that begins past the end meets elements that do not exist.
        let registers = match way.reverse {
            true => self.cleared(node, operand, &layout, &given, axis, identity)?,
            false => given,
        };
        let mut result = registers.clone();
        for mut line in lines(&layout, axis).into_values() {
            if way.reverse {
                line.reverse();
            }
            let mut running = identity;
            for r in line {
                let next = self.scan_step(kind, work, running, registers[r]);
                result[r] = if way.exclusive { running } else { next };
                running = next;
            }
        }
        Ok(result.into_iter().map(|v| self.cast(v, work, out)).collect())
    }

    fn scan_step(&mut self, kind: ReduceKind, dtype: DType, running: V, x: V) -> V {
        let op = match kind {
            ReduceKind::Prod => ElemOp::Mul,
            ReduceKind::Max => ElemOp::Max,
            ReduceKind::Min => ElemOp::Min,
            ReduceKind::Any => ElemOp::Or,
            ReduceKind::All => ElemOp::And,
            _ => ElemOp::Add,
        };
        self.apply(op, dtype, &[running, x], true)
    }

    /// Values and positions of the `k` greatest, each found by a walk that passes over those found before.
    pub(super) fn top(&mut self, node: NodeId, axis: usize, k: u64) -> Emission<Vec<Vec<V>>> {
        let operand = self.g.inputs(node)[0];
        let ty = self.g.type_of(operand).clone();
        let work = if matches!(ty.dtype, DType::F16 | DType::Bf16) { DType::F32 } else { ty.dtype };
        let layout = self.input_layout(node, 0)?;
        let registers: Vec<V> =
            self.input(node, 0)?.into_iter().map(|v| self.cast(v, ty.dtype, work)).collect();
        let made = self.made_of(node, 0)?;
        let no = self.t.int(Ty::I1, 0);
        let (least, none) = (self.identity(ReduceKind::Max, work), self.t.i32(-1));
        // What a register holds past the end may be undefined, and takes part in comparisons.
        let registers = self.cleared(node, operand, &layout, &registers, axis, least)?;
        let nothing = Chosen { value: least, position: none, there: no };
        let mut values = vec![least; made.registers()];
        let mut positions = vec![none; made.registers()];
        for (at, line) in lines(&layout, axis) {
            let mut exist = vec![];
            for (n, _) in line.iter().enumerate() {
                exist.push(self.exists(node, &layout, axis, ty.axes[axis], n as u32)?);
            }
            let mut last: Option<Chosen> = None;
            for found in 0..k as u32 {
                let mut best = nothing;
                for (n, &r) in line.iter().enumerate() {
                    let position = self.t.i32(n as i64);
                    best = self.better_of(work, best, (registers[r], position, exist[n]), last);
                }
                let mut to = at.clone();
                to[axis] = found;
                if let Some(r) = made.find_register(&to) {
                    (values[r], positions[r]) = (best.value, best.position);
                }
                last = Some(best);
            }
        }
        let values = values.into_iter().map(|v| self.cast(v, work, ty.dtype)).collect();
        let positions = positions.into_iter().map(|p| self.t.convert("sext", p, Ty::I64)).collect();
        Ok(vec![values, positions])
    }

    /// `best`, or the candidate if it exists, comes after `last` in order, and is greater.
    fn better_of(
        &mut self,
        dtype: DType,
        best: Chosen,
        (value, position, exists): (V, V, Option<V>),
        last: Option<Chosen>,
    ) -> Chosen {
        let yes = self.t.int(Ty::I1, 1);
        let mut takes = exists.unwrap_or(yes);
        if let Some(last) = last {
            let above = self.precedes(dtype, last.value, value);
            let same = self.alike(dtype, last.value, value);
            let later = self.t.icmp("sgt", position, last.position);
            let after = self.t.int_op("and", same, later);
            let after = self.t.int_op("or", above, after);
            takes = self.t.int_op("and", takes, after);
            takes = self.t.int_op("and", takes, last.there);
        }
        let greater = self.precedes(dtype, value, best.value);
        let first = self.t.int_op("xor", best.there, yes);
        let wins = self.t.int_op("or", greater, first);
        takes = self.t.int_op("and", takes, wins);
        Chosen {
            value: self.t.select(takes, value, best.value),
            position: self.t.select(takes, position, best.position),
            there: self.t.int_op("or", best.there, takes),
        }
    }

    /// Whether a comes before b in falling order; a NaN comes after every number.
    fn precedes(&mut self, dtype: DType, a: V, b: V) -> V {
        let greater = self.apply(ElemOp::Gt, dtype, &[a, b], true);
        if !dtype.is_float() {
            return greater;
        }
        let (number, nan) = (self.t.fcmp("ord", a, a), self.t.fcmp("uno", b, b));
        let only = self.t.int_op("and", number, nan);
        self.t.int_op("or", greater, only)
    }

    fn alike(&mut self, dtype: DType, a: V, b: V) -> V {
        let equal = self.apply(ElemOp::Eq, dtype, &[a, b], true);
        if !dtype.is_float() {
            return equal;
        }
        let (nan_a, nan_b) = (self.t.fcmp("uno", a, a), self.t.fcmp("uno", b, b));
        let both = self.t.int_op("and", nan_a, nan_b);
        self.t.int_op("or", equal, both)
    }

    /// Slices, splits and merges: registers under other names.
    pub(super) fn renamed(&mut self, node: NodeId) -> Emission<Vec<V>> {
        let registers = self.input(node, 0)?;
        let from = self.input_layout(node, 0)?;
        let made = self.made_of(node, 0)?;
        let op = self.g.node(node).op.clone();
        let source = |mut at: Vec<u32>| match op {
            Op::Slice { axis, lo } => {
                at[axis as usize] += lo as u32;
                at
            }
            Op::Split { axis, minor } => {
                let inner = at.remove(axis as usize + 1);
                at[axis as usize] = at[axis as usize] * minor as u32 + inner;
                at
            }
            Op::Merge { axis } => {
                let minor = from.coverage(axis as usize + 1);
                let whole = at[axis as usize];
                at[axis as usize] = whole / minor;
                at.insert(axis as usize + 1, whole % minor);
                at
            }
            _ => at,
        };
        let mut out = vec![];
        for r in 0..made.registers() {
            let at = source(made.register_offset(r));
            // A slice may be padded past the end of what it is cut from.
            let found = from.find_register(&at).unwrap_or(0);
            out.push(registers[found]);
        }
        Ok(out)
    }

    pub(super) fn concatenated(&mut self, node: NodeId, axis: usize) -> Emission<Vec<V>> {
        let made = self.made_of(node, 0)?;
        let mut parts = vec![];
        for (port, value) in self.g.inputs(node).into_iter().enumerate() {
            let length = match self.g.type_of(value).axes[axis] {
                tile_graph::Axis::Fixed(n) => n as u32,
                _ => 1,
            };
            parts.push((length, self.input_layout(node, port as u32)?, self.input(node, port as u32)?));
        }
        let mut out = vec![];
        for r in 0..made.registers() {
            let mut at = made.register_offset(r);
            let mut which = 0;
            while which + 1 < parts.len() && at[axis] >= parts[which].0 {
                at[axis] -= parts[which].0;
                which += 1;
            }
            let (_, layout, registers) = &parts[which];
            out.push(registers[layout.find_register(&at).unwrap_or(0)]);
        }
        Ok(out)
    }

    /// The element at a position known only at run time: a chain of selections along the line.
    pub(super) fn taken(&mut self, node: NodeId, axis: usize) -> Emission<Vec<V>> {
        let inputs = self.g.inputs(node);
        let (registers, from) = (self.input(node, 0)?, self.input_layout(node, 0)?);
        let made = self.made_of(node, 0)?;
        let index = self.g.type_of(inputs[1]).clone();
        let positions = self.registers_of_index(node, inputs[1])?;
        let by_position = match index.is_scalar() {
            true => None,
            false => Some(self.input_layout(node, 1)?),
        };
        let lines = lines(&from, axis);
        let mut out = vec![];
        for r in 0..made.registers() {
            let mut at = made.register_offset(r);
            let along = std::mem::replace(&mut at[axis], 0);
            let position = match &by_position {
                Some(layout) => positions[layout.find_register(&[along]).unwrap_or(0)],
                None => positions[0],
            };
            let line = lines.get(&at).ok_or_else(|| self.bug(node, "a line without registers"))?;
            let mut taken = registers[line[0]];
            for (n, &from) in line.iter().enumerate().skip(1) {
                let here = self.t.int(position.ty, n as i64);
                let hit = self.t.icmp("eq", position, here);
                taken = self.t.select(hit, registers[from], taken);
            }
            out.push(taken);
        }
        Ok(out)
    }

    fn registers_of_index(&mut self, node: NodeId, value: Value) -> Emission<Vec<V>> {
        match self.g.type_of(value).is_scalar() {
            true => Ok(vec![self.scalar(node, value)?]),
            false => self.input(node, 1),
        }
    }
}
