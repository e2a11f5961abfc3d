//! Loop nests for groups of elementwise nodes.
//!
//! A group of shape `[a, i, j]` becomes loops over a and i; within a row, the phases of the group one after the
//! other (see `fuse`): the row's own values as scalars, then a loop along j over four elements at a time and one over
//! the rest. Every member is computed once per position; it is stored only if something outside, or a later phase,
//! reads it. Values that do not move along j are computed before the loop along j.
//!
//! What a member reads is found by walking its expression with a *map*: for each axis of the value at hand, the
//! axis of the nest it runs along and a constant offset (`x[:, 3:7]` has offset 3). Rearrangements change the map and
//! emit nothing.

use super::{
    Emit, Lanes, Reg, Result,
    buffers::{Base, Stride, Tile, layout},
    scalar_ops::Operand,
};
use crate::{
    fuse::{self, Group, Kind},
    runtime::Class,
};
use cranelift_codegen::ir::{self, InstBuilder};
use cranelift_frontend::Variable;
use std::collections::{HashMap, HashSet};
use tile_graph::{Axis, ElemOp, Literal, NodeId, Op, ReduceKind, Value};

/// For each axis of a value: the nest's axis (none: it does not move) and an offset.
type Map = Vec<(Option<usize>, i64)>;

/// The nest at the place where code is being emitted.
struct Nest {
    inner: usize,
    /// Position along each axis of the nest; none for axes of one element.
    at: Vec<Option<ir::Value>>,
    lanes: Lanes,
    phase: usize,
    /// Members by node, with their phase.
    members: HashMap<NodeId, usize>,
    /// Tiles of stored members, once they are written.
    stored: HashMap<NodeId, Tile>,
    /// Values of this row, and of this position.
    row: HashMap<(Value, Map), Reg>,
    here: HashMap<(Value, Map), Reg>,
}

impl Nest {
    fn moves(&self, map: &Map) -> bool {
        map.iter().any(|m| m.0 == Some(self.inner))
    }
}

impl Emit<'_, '_> {
    pub fn group(&mut self, group: &Group) -> Result<()> {
        let phases = self.phases(group);
        let targets = self.targets(group, &phases)?;
        for (&node, tile) in &targets {
            self.set(Self::out(node), super::Val::Tile(tile.clone()));
        }
        let roots: Vec<(NodeId, usize)> = group.members.iter().map(|&m| (m, phases[&m])).collect();
        self.loop_nest(&group.axes, group.inner, &roots, &phases, targets, None)
    }

    /// Computes an inline value into a tile.
    pub fn fill(&mut self, value: Value, tile: &Tile) -> Result<()> {
        let axes = self.graph.type_of(value).axes.clone();
        let inner = fuse::inner_axis(&axes).unwrap_or(0);
        self.loop_nest(&axes, inner, &[], &HashMap::new(), HashMap::new(), Some((value, tile.clone())))
    }

    /// A new tile of the arena for a value, kept until step `until`.
    pub fn new_tile(&mut self, class: Class, axes: &[Axis], until: usize) -> Tile {
        let capacities: Vec<u64> = axes.iter().map(|&a| self.capacity(a)).collect();
        let (strides, elements) = layout(&capacities);
        let buffer = self.buffers.take(elements.saturating_mul(class.bytes()), until);
        Tile {
            class,
            base: Base::Arena(self.buffers.offset(buffer)),
            strides: strides.into_iter().map(Stride::Const).collect(),
            buffer: Some(buffer),
        }
    }

    pub fn last_use(&self, value: Value) -> usize {
        self.live.last.get(&value).copied().unwrap_or(self.position)
    }

    /// A full member runs in the phase after the reductions it reads; a reduction is ready one phase later.
    fn phases(&self, group: &Group) -> HashMap<NodeId, usize> {
        let mut phases: HashMap<NodeId, usize> = HashMap::new();
        for &m in &group.members {
            let mut found = vec![];
            self.graph.inputs(m).iter().for_each(|&v| fuse::bases(self.graph, v, true, &mut found));
            let ready = |v: &Value| {
                let phase = phases.get(&v.node)?;
                let reduces = matches!(self.graph.node(v.node).op, Op::Reduce { .. });
                Some(phase + reduces as usize)
            };
            let phase = found.iter().filter_map(|(v, _)| ready(v)).max().unwrap_or(0);
            phases.insert(m, phase);
        }
        phases
    }

    /// Tiles for the members that something outside the nest, or a later phase of it, reads.
    fn targets(&mut self, group: &Group, phases: &HashMap<NodeId, usize>) -> Result<HashMap<NodeId, Tile>> {
        let members: HashSet<NodeId> = group.members.iter().copied().collect();
        let mut targets = HashMap::new();
        let mut taken: HashSet<usize> = HashSet::new();
        for &m in &group.members {
            let value = Self::out(m);
            let row = fuse::is_row(group, &self.graph.node(m).outputs[0]);
            let outside = self.read_outside(value, &members);
            let later =
                !row && group.members.iter().any(|&n| phases[&n] > phases[&m] && self.reads(n, value));
            if !outside && !later {
                continue;
            }
            let until = if outside { self.last_use(value) } else { self.position };
            let tile = match self.take_over(group, phases, m, &taken) {
                Some(tile) => tile,
                None => {
                    let ty = &self.graph.node(m).outputs[0];
                    self.new_tile(Class::of(ty.dtype), &ty.axes, until)
                }
            };
            if let Some(buffer) = tile.buffer {
                self.buffers.occupy(buffer, until);
                taken.insert(buffer);
            }
            targets.insert(m, tile);
        }
        Ok(targets)
    }

    fn reads(&self, node: NodeId, value: Value) -> bool {
        let mut found = vec![];
        self.graph.inputs(node).iter().for_each(|&v| fuse::bases(self.graph, v, true, &mut found));
        found.iter().any(|(v, _)| *v == value)
    }

    /// Whether a node other than the members reads the value, directly or through inline nodes.
    fn read_outside(&self, value: Value, members: &HashSet<NodeId>) -> bool {
        self.graph.uses(value).iter().any(|&(user, _)| {
            if members.contains(&user) {
                return false;
            }
            match fuse::kind(self.graph, user) {
                Kind::Inline => self.read_outside(Self::out(user), members),
                _ => true,
            }
        })
    }

    /// The buffer of an operand that ends here: written over position by position. It has to lie as the result
    /// would, to be read in no later phase, and to be read straight.
    fn take_over(
        &mut self,
        group: &Group,
        phases: &HashMap<NodeId, usize>,
        node: NodeId,
        taken: &HashSet<usize>,
    ) -> Option<Tile> {
        let ty = self.graph.node(node).outputs[0].clone();
        let capacities: Vec<u64> = ty.axes.iter().map(|&a| self.capacity(a)).collect();
        let (strides, _) = layout(&capacities);
        let strides: Vec<Stride> = strides.into_iter().map(Stride::Const).collect();
        let mut found = vec![];
        self.graph.inputs(node).iter().for_each(|&v| fuse::bases(self.graph, v, true, &mut found));
        for (value, _) in found {
            let same = self.graph.type_of(value).axes == ty.axes && !phases.contains_key(&value.node);
            let Some(tile) = self.stored(value).filter(|_| same) else { continue };
            let Some(buffer) = tile.buffer.filter(|b| !taken.contains(b)) else { continue };
            let fits = tile.class == Class::of(ty.dtype)
                && tile.strides == strides
                && tile.base == Base::Arena(self.buffers.offset(buffer));
            // Whatever else reads this buffer in the group has to do so no later, and straight.
            let clear = group.members.iter().all(|&m| {
                let mut read = vec![];
                self.graph.inputs(m).iter().for_each(|&v| fuse::bases(self.graph, v, true, &mut read));
                read.iter().all(|(v, aligned)| {
                    let same_buffer = self.stored(*v).is_some_and(|t| t.buffer == Some(buffer));
                    !same_buffer || (*v == value && *aligned && phases[&m] <= phases[&node])
                })
            });
            if fits && clear && self.buffers.is_spent(buffer, self.position) {
                return Some(tile);
            }
        }
        None
    }

    /// The loops. `roots` are members with their phases; `single` is one value into one tile instead.
    fn loop_nest(
        &mut self,
        axes: &[Axis],
        inner: usize,
        roots: &[(NodeId, usize)],
        phases: &HashMap<NodeId, usize>,
        stored: HashMap<NodeId, Tile>,
        single: Option<(Value, Tile)>,
    ) -> Result<()> {
        let mut nest = Nest {
            inner,
            at: vec![None; axes.len()],
            lanes: Lanes::One,
            phase: 0,
            members: phases.clone(),
            stored,
            row: HashMap::new(),
            here: HashMap::new(),
        };
        let outer: Vec<usize> = (0..axes.len()).filter(|&a| a != inner && axes[a] != Axis::One).collect();
        self.outer_loops(axes, &outer, &mut nest, &mut |e, nest| {
            nest.row.clear();
            match &single {
                Some((value, tile)) => {
                    let job = Job { values: vec![(*value, Some(tile.clone()))], sums: vec![] };
                    e.along_row(axes, nest, job)
                }
                None => e.row_phases(axes, nest, roots),
            }
        })
    }

    fn outer_loops(
        &mut self,
        axes: &[Axis],
        outer: &[usize],
        nest: &mut Nest,
        body: &mut dyn FnMut(&mut Self, &mut Nest) -> Result<()>,
    ) -> Result<()> {
        let Some((&axis, rest)) = outer.split_first() else { return body(self, nest) };
        let (zero, end) = (self.int(0), self.extent(axes[axis])?);
        self.counted(zero, end, 1, |e, at| {
            nest.at[axis] = Some(at);
            e.outer_loops(axes, rest, nest, body)
        })
    }

    fn row_phases(&mut self, axes: &[Axis], nest: &mut Nest, roots: &[(NodeId, usize)]) -> Result<()> {
        let last = roots.iter().map(|r| r.1).max().unwrap_or(0);
        let group = Group { members: vec![], axes: axes.to_vec(), inner: nest.inner };
        for phase in 0..=last {
            nest.phase = phase;
            let mut job = Job { values: vec![], sums: vec![] };
            for &(node, _) in roots.iter().filter(|r| r.1 == phase) {
                let value = Self::out(node);
                if let Op::Reduce { kind, .. } = self.graph.node(node).op {
                    job.sums.push((node, kind));
                } else if fuse::is_row(&group, &self.graph.node(node).outputs[0]) {
                    self.row_member(nest, value)?;
                } else {
                    job.values.push((value, nest.stored.get(&node).cloned()));
                }
            }
            if !job.values.is_empty() || !job.sums.is_empty() {
                self.along_row(axes, nest, job)?;
            }
        }
        Ok(())
    }

    /// A member of one value per row.
    fn row_member(&mut self, nest: &mut Nest, value: Value) -> Result<()> {
        let map = self.straight(value);
        nest.lanes = Lanes::One;
        let reg = self.compute(nest, value, &row_map(&map, nest.inner))?;
        nest.row.insert((value, row_map(&map, nest.inner)), reg);
        if let Some(tile) = nest.stored.get(&value.node).cloned() {
            let address = self.address(&tile, &row_map(&map, nest.inner), nest);
            self.store_reg(tile.class, reg, address, Lanes::One);
        }
        Ok(())
    }

    /// The map of a value that runs along the nest's own axes.
    fn straight(&self, value: Value) -> Map {
        let axes = &self.graph.type_of(value).axes;
        axes.iter().enumerate().map(|(n, a)| ((*a != Axis::One).then_some(n), 0)).collect()
    }

    /// The loops along the inner axis: fours, then ones.
    fn along_row(&mut self, axes: &[Axis], nest: &mut Nest, job: Job) -> Result<()> {
        for (value, _) in &job.values {
            let map = self.straight(*value);
            self.hoist(nest, *value, &map)?;
        }
        for (node, _) in &job.sums {
            let input = self.graph.inputs(*node)[0];
            let map = self.straight(input);
            self.hoist(nest, input, &map)?;
        }
        let axis = axes.get(nest.inner).copied().unwrap_or(Axis::One);
        let end = self.extent(axis)?;
        let zero = self.int(0);
        let (fours, tail) = match axis {
            Axis::One => (false, true),
            Axis::Fixed(n) => (n >= 4, n % 4 != 0),
            Axis::Span { .. } => (true, true),
        };
        let whole = if fours { self.fb.ins().band_imm_s(end, !3) } else { zero };
        let mut sums: Vec<Option<Reg>> = vec![None; job.sums.len()];
        if fours {
            let variables = self.start_sums(&job, &sums, Lanes::Four);
            self.positions_loop(nest, zero, whole, Lanes::Four, &job, &variables)?;
            for (at, sum) in sums.iter_mut().enumerate() {
                *sum = Some(self.across(&job, at, &variables));
            }
        }
        if tail {
            let variables = self.start_sums(&job, &sums, Lanes::One);
            self.positions_loop(nest, whole, end, Lanes::One, &job, &variables)?;
            for (at, sum) in sums.iter_mut().enumerate() {
                *sum = Some(self.fb.use_var(variables[at].0).into());
            }
        }
        self.end_sums(nest, &job, sums)
    }

    /// Values of reductions, ready for the row's later phases.
    fn end_sums(&mut self, nest: &mut Nest, job: &Job, sums: Vec<Option<Reg>>) -> Result<()> {
        for (&(node, _), sum) in job.sums.iter().zip(sums) {
            let value = Self::out(node);
            let map = row_map(&self.straight(value), nest.inner);
            let reg = match sum {
                Some(reg) => reg,
                None => return Err(self.bug(node, "a reduction over nothing")),
            };
            nest.row.insert((value, map.clone()), reg);
            if let Some(tile) = nest.stored.get(&node).cloned() {
                let address = self.address(&tile, &map, nest);
                self.store_reg(tile.class, reg, address, Lanes::One);
            }
        }
        Ok(())
    }

    fn start_sums(
        &mut self,
        job: &Job,
        so_far: &[Option<Reg>],
        lanes: Lanes,
    ) -> Vec<(Variable, Option<Variable>)> {
        let mut variables = vec![];
        for (at, &(node, kind)) in job.sums.iter().enumerate() {
            let class = self.class(Self::out(node));
            let start = match so_far[at] {
                Some(reg) => reg,
                None => self.identity(class, kind, lanes),
            };
            let (ty, two) = Self::reg_types(class, lanes);
            let low = self.fb.declare_var(ty);
            self.fb.def_var(low, start.low);
            let high = start.high.filter(|_| two).map(|h| {
                let v = self.fb.declare_var(ty);
                self.fb.def_var(v, h);
                v
            });
            variables.push((low, high));
        }
        variables
    }

    fn positions_loop(
        &mut self,
        nest: &mut Nest,
        from: ir::Value,
        to: ir::Value,
        lanes: Lanes,
        job: &Job,
        variables: &[(Variable, Option<Variable>)],
    ) -> Result<()> {
        let inner = nest.inner;
        self.counted(from, to, lanes.count(), |e, at| {
            if inner < nest.at.len() {
                nest.at[inner] = Some(at);
            }
            nest.lanes = lanes;
            nest.here.clear();
            for (value, tile) in &job.values {
                let map = e.straight(*value);
                let reg = e.eval(nest, *value, &map)?;
                if let Some(tile) = tile {
                    let address = e.address(tile, &map, nest);
                    e.store_reg(tile.class, reg, address, lanes);
                }
            }
            for (&(node, kind), &(low, high)) in job.sums.iter().zip(variables) {
                let input = e.graph.inputs(node)[0];
                let map = e.straight(input);
                let x = e.eval(nest, input, &map)?;
                let sum = Reg { low: e.fb.use_var(low), high: high.map(|h| e.fb.use_var(h)) };
                let class = e.class(Self::out(node));
                let sum = e.reduce_step(class, kind, sum, x, lanes);
                e.fb.def_var(low, sum.low);
                if let (Some(v), Some(h)) = (high, sum.high) {
                    e.fb.def_var(v, h);
                }
            }
            Ok(())
        })?;
        if inner < nest.at.len() {
            nest.at[inner] = None;
        }
        nest.lanes = Lanes::One;
        Ok(())
    }

    /// Four lanes to one: (0 with 2) with (1 with 3).
    fn across(&mut self, job: &Job, at: usize, variables: &[(Variable, Option<Variable>)]) -> Reg {
        let (node, kind) = job.sums[at];
        let class = self.class(Self::out(node));
        let (low, high) = variables[at];
        let reg = Reg { low: self.fb.use_var(low), high: high.map(|h| self.fb.use_var(h)) };
        let lane = |e: &mut Self, n| Reg::from(e.lane(class, reg, n));
        let [a, b, c, d] = [lane(self, 0), lane(self, 1), lane(self, 2), lane(self, 3)];
        let x = self.reduce_step(class, kind, a, c, Lanes::One);
        let y = self.reduce_step(class, kind, b, d, Lanes::One);
        self.reduce_step(class, kind, x, y, Lanes::One)
    }

    /// Computes, before the loop along the inner axis, what does not move along it.
    fn hoist(&mut self, nest: &mut Nest, value: Value, map: &Map) -> Result<()> {
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
    fn is_written_out(&self, nest: &Nest, value: Value) -> bool {
        match nest.members.get(&value.node) {
            Some(&phase) => {
                phase == nest.phase && !matches!(self.graph.node(value.node).op, Op::Reduce { .. })
            }
            None => self.is_inline(value),
        }
    }

    /// Operands with their maps.
    fn operands(&self, value: Value, map: &Map) -> Vec<(Value, Map)> {
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
    fn eval(&mut self, nest: &mut Nest, value: Value, map: &Map) -> Result<Reg> {
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
    fn compute(&mut self, nest: &mut Nest, value: Value, map: &Map) -> Result<Reg> {
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

    /// `j.at <= limit of the row`, four at a time: what does not move is brought to one side as a scalar, and the
    /// positions are compared with it as 32-bit integers instead of 64-bit ones.
    ///
    /// `start + p <= i + extra` becomes `p <= i + extra - start`, the right side held to ±2^31: positions in a tile
    /// are far from it.
    fn position_mask(&mut self, nest: &mut Nest, value: Value, map: &Map) -> Result<Option<Reg>> {
        use cranelift_codegen::ir::{
            condcodes::{CondCode, IntCC},
            types,
        };
        let Op::Elem(op) = self.graph.node(value.node).op else { return Ok(None) };
        let cc = match op {
            ElemOp::Le => IntCC::SignedLessThanOrEqual,
            ElemOp::Lt => IntCC::SignedLessThan,
            ElemOp::Ge => IntCC::SignedGreaterThanOrEqual,
            ElemOp::Gt => IntCC::SignedGreaterThan,
            ElemOp::Eq => IntCC::Equal,
            _ => return Ok(None),
        };
        let operands = self.operands(value, map);
        if nest.lanes != Lanes::Four || self.class(operands[0].0) != Class::I64 {
            return Ok(None);
        }
        let mut sides = vec![];
        for (input, map) in &operands {
            let mut terms = Linear::default();
            if !self.linear(nest, *input, map, 1, &mut terms) {
                return Ok(None);
            }
            sides.push(terms);
        }
        // c p (cc) rest, with c the difference of the coefficients.
        let (left, right) = (&sides[0], &sides[1]);
        let coefficient = left.position - right.position;
        if coefficient.abs() != 1 {
            return Ok(None);
        }
        let mut rest = self.int(right.constant - left.constant);
        for (terms, sign) in [(right, 1), (left, -1)] {
            for (value, map, s) in &terms.rest {
                let v = match self.graph.type_of(*value).is_scalar() {
                    true => self.scalar(*value)?,
                    false => match nest.row.get(&(*value, map.clone())) {
                        Some(reg) => reg.low,
                        None => return Ok(None),
                    },
                };
                rest = if s * sign > 0 { self.fb.ins().iadd(rest, v) } else { self.fb.ins().isub(rest, v) };
            }
        }
        // -p cc rest is p (cc reversed) -rest.
        let (cc, rest) = match coefficient {
            1 => (cc, rest),
            _ => (cc.swap_args(), self.fb.ins().ineg(rest)),
        };
        let (lo, hi) = (self.int(i32::MIN as i64 + 1), self.int(i32::MAX as i64));
        let rest = self.fb.ins().smax(rest, lo);
        let rest = self.fb.ins().smin(rest, hi);
        let rest = self.fb.ins().ireduce(types::I32, rest);
        let rest = self.splat(Class::I32, rest, Lanes::Four).low;
        let at = match nest.at[nest.inner] {
            Some(at) => self.fb.ins().ireduce(types::I32, at),
            None => return Ok(None),
        };
        let at = self.splat(Class::I32, at, Lanes::Four).low;
        let bytes: Vec<u8> = (0..4i32).flat_map(i32::to_le_bytes).collect();
        let constant = self.fb.func.dfg.constants.insert(bytes.into());
        let steps = self.fb.ins().vconst(types::I32X4, constant);
        let positions = self.fb.ins().iadd(at, steps);
        Ok(Some(self.fb.ins().icmp(cc, positions, rest).into()))
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

    /// Whether a value is certainly not NaN.
    fn is_number(&self, value: Value) -> bool {
        matches!(self.graph.splat(value), Some(Literal::Float(v)) if !v.is_nan())
            || matches!(
                self.graph.node(value.node).op,
                Op::Reduce { kind: ReduceKind::Max | ReduceKind::Min, .. }
            )
    }

    /// Address of the element at the nest's position.
    fn address(&mut self, tile: &Tile, map: &Map, nest: &Nest) -> ir::Value {
        let mut address = self.base(tile);
        let bytes = tile.class.bytes() as i64;
        // The inner axis last: what is before it does not move and leaves the loop.
        let mut axes: Vec<usize> = (0..map.len()).collect();
        axes.sort_by_key(|&a| map[a].0 == Some(nest.inner));
        for a in axes {
            let (axis, offset) = map[a];
            let Some(at) = self.plus(axis.and_then(|x| nest.at[x]), offset) else { continue };
            let delta = match tile.strides[a] {
                Stride::Const(0) => continue,
                Stride::Const(s) => self.fb.ins().imul_imm_s(at, s * bytes),
                Stride::Run(s) => {
                    let moved = self.fb.ins().imul(at, s);
                    self.fb.ins().imul_imm_s(moved, bytes)
                }
            };
            address = self.fb.ins().iadd(address, delta);
        }
        address
    }

    fn plus(&mut self, at: Option<ir::Value>, offset: i64) -> Option<ir::Value> {
        match (at, offset) {
            (None, 0) => None,
            (None, n) => Some(self.int(n)),
            (Some(v), 0) => Some(v),
            (Some(v), n) => Some(self.fb.ins().iadd_imm_s(v, n)),
        }
    }

    /// The address of a tile's first element.
    pub fn base(&mut self, tile: &Tile) -> ir::Value {
        match tile.base {
            Base::Arena(offset) => {
                let offset = self.int(offset);
                self.fb.ins().iadd(self.arena, offset)
            }
            Base::Pointer(p) => p,
        }
    }

    fn load_tile(&mut self, tile: &Tile, map: &Map, nest: &Nest) -> Result<Reg> {
        let address = self.address(tile, map, nest);
        if nest.lanes == Lanes::One {
            return Ok(self.load_reg(tile.class, address, Lanes::One));
        }
        let moving: Vec<Stride> =
            map.iter().zip(&tile.strides).filter(|(m, _)| m.0 == Some(nest.inner)).map(|(_, s)| *s).collect();
        match moving[..] {
            [] => {
                let one = self.load_reg(tile.class, address, Lanes::One);
                Ok(self.splat(tile.class, one.low, Lanes::Four))
            }
            [Stride::Const(1)] => Ok(self.load_reg(tile.class, address, Lanes::Four)),
            _ => {
                let bytes = tile.class.bytes() as i64;
                let mut step = self.int(0);
                for s in moving {
                    let s = match s {
                        Stride::Const(s) => self.int(s * bytes),
                        Stride::Run(s) => self.fb.ins().imul_imm_s(s, bytes),
                    };
                    step = self.fb.ins().iadd(step, s);
                }
                let mut at = address;
                let mut elements = [at; 4];
                for (n, element) in elements.iter_mut().enumerate() {
                    if n > 0 {
                        at = self.fb.ins().iadd(at, step);
                    }
                    *element = self.load_reg(tile.class, at, Lanes::One).low;
                }
                Ok(self.gather(tile.class, elements))
            }
        }
    }
}

/// `position · p + constant + Σ ± rest`, p the position along the inner axis.
#[derive(Default)]
struct Linear {
    position: i64,
    constant: i64,
    rest: Vec<(Value, Map, i64)>,
}

/// What one pass along a row computes.
struct Job {
    /// Full values, with the tiles they go to.
    values: Vec<(Value, Option<Tile>)>,
    sums: Vec<(NodeId, ReduceKind)>,
}

/// A row value's map: nothing of it moves along the inner axis.
fn row_map(map: &Map, inner: usize) -> Map {
    map.iter().map(|&(axis, offset)| (axis.filter(|&a| a != inner), offset)).collect()
}
