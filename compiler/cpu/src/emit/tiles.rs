//! Nodes that are one call into the runtime: dots, collectives, rearrangements that copy; and scalar nodes.

use super::{
    Emit, Lanes, Result, SiteKind, Val,
    buffers::{Base, Stride, Tile, layout},
    lanes::scalar_type,
    scalar_ops::Operand,
};
use crate::runtime::{Class, Entry, collective, gemm, ordering};
use cranelift_codegen::ir::{self, InstBuilder, types};
use tile_base::{DType, signature::ParamKind};
use tile_graph::{Axis, DotAxes, Literal, NodeId, Op, RegionId, Value};

impl Emit<'_, '_> {
    // ---- scalars

    pub fn scalar_node(&mut self, id: NodeId) -> Result<()> {
        let graph = self.graph;
        let node = graph.node(id);
        let inputs = graph.inputs(id);
        let class = Class::of(node.outputs[0].dtype);
        let v = match &node.op {
            Op::Const(literal) => self.literal(*literal, class),
            Op::Dim(n) => {
                let dims =
                    self.fb.ins().load(types::I64, super::flags(), self.env, crate::runtime::Env::DIMS);
                self.fb.ins().load(types::I64, super::flags().with_readonly(), dims, *n as i32 * 8)
            }
            Op::Param(n) => self.parameter(*n as usize, class),
            Op::Elem(op) => {
                let mut args = vec![];
                for &input in &inputs {
                    let number = matches!(graph.splat(input), Some(Literal::Float(v)) if !v.is_nan());
                    args.push(Operand { reg: self.scalar(input)?.into(), number });
                }
                let dtype = inputs.last().map_or(node.outputs[0].dtype, |&v| graph.type_of(v).dtype);
                self.elem_op(id, *op, dtype, &args, Lanes::One)?.low
            }
            Op::Cast => {
                let x = self.scalar(inputs[0])?;
                let from = graph.type_of(inputs[0]).dtype;
                self.cast_reg(from, node.outputs[0].dtype, x.into(), Lanes::One)?.low
            }
            Op::Reshape { .. } | Op::Broadcast | Op::Take { .. } | Op::Slice { .. } | Op::Permute { .. } => {
                if graph.type_of(inputs[0]).is_scalar() {
                    self.scalar(inputs[0])?
                } else {
                    let tile = self.tile_of(inputs[0])?;
                    let address = self.base(&tile);
                    self.load_reg(class, address, Lanes::One).low
                }
            }
            Op::Dot(_) => {
                let tile = self.new_tile(class, &[], self.position);
                self.dot(id, &tile, false)?;
                let address = self.base(&tile);
                self.load_reg(class, address, Lanes::One).low
            }
            other => return Err(self.unsupported(id, format!("{} giving a scalar", op_name(other)))),
        };
        self.set(Self::out(id), Val::Scalar(v));
        Ok(())
    }

    pub fn literal(&mut self, literal: Literal, class: Class) -> ir::Value {
        match (class, literal) {
            (Class::F32 | Class::F64, Literal::Float(v)) => self.float_constant(class, v, Lanes::One).low,
            (Class::F32 | Class::F64, Literal::Int(v)) => {
                self.float_constant(class, v as f64, Lanes::One).low
            }
            (_, Literal::Int(v)) => {
                let v = if class == Class::I32 { v & 0xffff_ffff } else { v };
                self.fb.ins().iconst(scalar_type(class), v)
            }
            (_, Literal::Bool(v)) => self.fb.ins().iconst(scalar_type(class), v as i64),
            (_, Literal::Float(v)) => self.fb.ins().iconst(scalar_type(class), v as i64),
        }
    }

    fn parameter(&mut self, at: usize, class: Class) -> ir::Value {
        debug_assert!(matches!(self.graph.signature.params.get(at), Some(ParamKind::Scalar(_))));
        let env = self.env;
        let list = self.fb.ins().load(types::I64, super::flags(), env, crate::runtime::Env::SCALARS);
        self.fb.ins().load(scalar_type(class), super::flags().with_readonly(), list, at as i32 * 8)
    }

    pub fn make_span(&mut self, id: NodeId, span: tile_graph::SpanId) -> Result<()> {
        let inputs = self.graph.inputs(id);
        let (lo, hi) = (self.scalar(inputs[0])?, self.scalar(inputs[1])?);
        let step = self.capacity(Axis::span(span));
        let end = self.span_end(lo, hi, step);
        self.set(Value { node: id, port: 0 }, Val::Scalar(lo));
        self.set(Value { node: id, port: 1 }, Val::Scalar(end));
        Ok(())
    }

    /// `min(lo + step, hi)`, not below lo; nothing overflows, whatever lo and hi are.
    pub fn span_end(&mut self, lo: ir::Value, hi: ir::Value, step: u64) -> ir::Value {
        use cranelift_codegen::ir::condcodes::IntCC;
        let distance = self.fb.ins().isub(hi, lo);
        let step = self.int(step as i64);
        let length = self.fb.ins().umin(distance, step);
        let end = self.fb.ins().iadd(lo, length);
        let empty = self.fb.ins().icmp(IntCC::SignedGreaterThanOrEqual, lo, hi);
        self.fb.ins().select(empty, lo, end)
    }

    // ---- dots

    /// `add = x + dot`: the dot adds to x where it lies, if nothing else needs x.
    pub fn dot_add(&mut self, dot: NodeId, add: NodeId) -> Result<()> {
        let product = Self::out(dot);
        let inputs = self.graph.inputs(add);
        let other = if inputs[0] == product { inputs[1] } else { inputs[0] };
        let ty = self.graph.node(add).outputs[0].clone();
        let until = self.last_use(Self::out(add));
        let mut operands = vec![];
        self.graph.inputs(dot).iter().for_each(|&v| crate::fuse::bases(self.graph, v, true, &mut operands));
        // The dot may not read what it writes over.
        let read =
            |t: &Tile| operands.iter().any(|(v, _)| self.stored(*v).is_some_and(|o| o.buffer == t.buffer));
        let reuse = self.stored(other).filter(|t| self.is_ours(t, &ty.axes) && !read(t));
        let zero = matches!(self.graph.splat(other), Some(Literal::Float(0.0) | Literal::Int(0)));
        let tile = match reuse {
            Some(tile) => tile,
            None => {
                let tile = self.new_tile(Class::of(ty.dtype), &ty.axes, until);
                if !zero {
                    self.fill(other, &tile)?;
                }
                tile
            }
        };
        if let Some(buffer) = tile.buffer {
            self.buffers.occupy(buffer, until);
        }
        self.dot(dot, &tile, !zero)?;
        self.set(Self::out(add), Val::Tile(tile));
        Ok(())
    }

    /// Whether a tile may be written over: it lies as a new one would and nothing reads it after this step.
    fn is_ours(&self, tile: &Tile, axes: &[Axis]) -> bool {
        let capacities: Vec<u64> = axes.iter().map(|&a| self.capacity(a)).collect();
        let strides: Vec<Stride> = layout(&capacities).0.into_iter().map(Stride::Const).collect();
        tile.buffer.is_some_and(|b| {
            tile.strides == strides
                && tile.base == Base::Arena(self.buffers.offset(b))
                && self.buffers.is_spent(b, self.position)
        })
    }

    fn dot(&mut self, id: NodeId, target: &Tile, accumulate: bool) -> Result<()> {
        let graph = self.graph;
        let Op::Dot(axes) = &graph.node(id).op else { return Err(self.bug(id, "a dot that is none")) };
        let inputs = graph.inputs(id);
        let out = graph.node(id).outputs[0].clone();
        let class = Class::of(out.dtype);
        let entry: Entry = match class {
            Class::F32 => gemm::dot_f32,
            Class::F64 => gemm::dot_f64,
            Class::I32 => gemm::dot_i32,
            Class::I64 => gemm::dot_i64,
            Class::Bool => return Err(self.bug(id, "a dot of bools")),
        };
        let operand = |e: &mut Self, v: Value| -> Result<Tile> {
            if e.class(v) == class && graph.type_of(v).dtype != DType::Tf32 {
                return e.tile_of(v);
            }
            e.converted(v, class)
        };
        let (a, b) = (operand(self, inputs[0])?, operand(self, inputs[1])?);
        let types = [graph.type_of(inputs[0]).clone(), graph.type_of(inputs[1]).clone()];
        let plan = DotPlan::new(axes, &types[0].axes, &types[1].axes, &out.axes);
        let (a0, b0, c0) = (self.base(&a), self.base(&b), self.base(target));
        let how = DotCall { entry, accumulate, b_stays: b.buffer.is_none() && self.stays(inputs[1], id) };
        self.dot_loops(&plan, &plan.loops, [a0, b0, c0], [&a, &b, target], how)
    }

    /// Whether an operand comes from outside of the loop that the node stands in.
    fn stays(&self, operand: Value, node: NodeId) -> bool {
        let graph = self.graph;
        let mut at = Some(graph.node(node).region);
        while let Some(region) = at {
            let owner = graph.region(region).owner;
            if owner.is_some_and(|o| matches!(graph.node(o).op, Op::For(_) | Op::While { .. })) {
                let mut found = vec![];
                crate::fuse::bases(graph, operand, true, &mut found);
                return found.iter().all(|(v, _)| !graph.encloses(region, graph.node(v.node).region));
            }
            at = graph.parent(region);
        }
        false
    }

    /// An operand in the accumulator's class: f16 for f64, i64 for i32, f32 rounded to tf32.
    fn converted(&mut self, value: Value, class: Class) -> Result<Tile> {
        let ty = self.graph.type_of(value).clone();
        let from = self.tile_of(value)?;
        let tile = self.new_tile(class, &ty.axes, self.position);
        let dtype = match class {
            Class::F64 => DType::F64,
            Class::F32 if ty.dtype == DType::F64 => DType::F32,
            Class::F32 => DType::Tf32,
            Class::I64 => DType::I64,
            _ => DType::I32,
        };
        // Element by element: rare mixtures, and tf32.
        let mut extents = vec![];
        for &axis in &ty.axes {
            extents.push(self.extent(axis)?);
        }
        let starts = [self.base(&from), self.base(&tile)];
        self.convert_loops(&extents, starts, [&from, &tile], 0, (ty.dtype, dtype))?;
        Ok(tile)
    }

    fn convert_loops(
        &mut self,
        extents: &[ir::Value],
        at: [ir::Value; 2],
        tiles: [&Tile; 2],
        axis: usize,
        (from, to): (DType, DType),
    ) -> Result<()> {
        let Some(&extent) = extents.get(axis) else {
            let x = self.load_reg(tiles[0].class, at[0], Lanes::One);
            // An f32 already rounded to tf32 keeps its value; anything else is converted once.
            let y = match (from, to) {
                (DType::Tf32, DType::Tf32) => self.round(DType::Tf32, x, Lanes::One)?,
                _ => self.cast_reg(from, to, x, Lanes::One)?,
            };
            self.store_reg(tiles[1].class, y, at[1], Lanes::One);
            return Ok(());
        };
        let zero = self.int(0);
        self.counted(zero, extent, 1, |e, n| {
            let next = [0, 1].map(|t| e.moved(at[t], tiles[t], axis, n));
            e.convert_loops(extents, next, tiles, axis + 1, (from, to))
        })
    }

    /// `at` moved by `n` positions along an axis.
    fn moved(&mut self, at: ir::Value, tile: &Tile, axis: usize, n: ir::Value) -> ir::Value {
        let bytes = tile.class.bytes() as i64;
        let delta = match tile.strides[axis] {
            Stride::Const(s) => self.fb.ins().imul_imm_s(n, s * bytes),
            Stride::Run(s) => {
                let d = self.fb.ins().imul(n, s);
                self.fb.ins().imul_imm_s(d, bytes)
            }
        };
        self.fb.ins().iadd(at, delta)
    }

    fn dot_loops(
        &mut self,
        plan: &DotPlan,
        loops: &[[Option<(usize, Axis)>; 3]],
        at: [ir::Value; 3],
        tiles: [&Tile; 3],
        how: DotCall,
    ) -> Result<()> {
        if let Some((axes, rest)) = loops.split_first() {
            let axis = axes.iter().flatten().next().map_or(Axis::One, |a| a.1);
            let (zero, end) = (self.int(0), self.extent(axis)?);
            return self.counted(zero, end, 1, |e, n| {
                let next = [0, 1, 2].map(|t| match axes[t] {
                    Some((axis, _)) => e.moved(at[t], tiles[t], axis, n),
                    None => at[t],
                });
                e.dot_loops(plan, rest, next, tiles, how)
            });
        }
        let [a, b, c] = tiles;
        let stride =
            |t: &Tile, axis: Option<(usize, Axis)>| axis.map_or(Stride::Const(0), |(n, _)| t.strides[n]);
        let extents = [plan.m, plan.n, Some((0, plan.k.1))].map(|a| a.map_or(Axis::One, |a| a.1));
        self.begin();
        for axis in extents {
            let e = self.extent(axis)?;
            self.word(e);
        }
        self.word(at[0]);
        self.word_stride(stride(a, plan.m));
        self.word_stride(a.strides[plan.k.0.0]);
        self.word(at[1]);
        self.word_stride(b.strides[plan.k.0.1]);
        self.word_stride(stride(b, plan.n));
        self.word(at[2]);
        let c_row = plan.m.and(plan.c_m).map_or(Stride::Const(0), |n| c.strides[n]);
        let c_column = plan.n.and(plan.c_n).map_or(Stride::Const(1), |n| c.strides[n]);
        self.word_stride(c_row);
        // A column axis of one element may have any stride.
        self.word_stride(if extents[1] == Axis::One { Stride::Const(1) } else { c_column });
        self.word_int(how.accumulate as i64);
        self.word_int(how.b_stays as i64);
        self.call(how.entry);
        Ok(())
    }

    // ---- other tiles

    pub fn tile_node(&mut self, id: NodeId) -> Result<()> {
        let graph = self.graph;
        let node = graph.node(id);
        match &node.op {
            Op::Dot(_) => {
                let tile = self.result(id, 0);
                self.dot(id, &tile, false)
            }
            Op::Reduce { axis, kind } => {
                let words = [*axis as i64, collective::kind_code(*kind)];
                self.collective(id, collective::reduce, &words)
            }
            Op::Scan { axis, kind, reverse, exclusive } => {
                let words = [*axis as i64, collective::kind_code(*kind), *reverse as i64, *exclusive as i64];
                self.collective(id, collective::scan, &words)
            }
            Op::UnitLowerInv => self.collective(id, collective::unit_lower_inv, &[]),
            Op::TopK { axis, k } => self.sorted(id, *axis, true, Some(*k)),
            Op::Sort { axis, descending } => self.sorted(id, *axis, *descending, None),
            Op::Histogram { bins } => self.histogram(id, *bins),
            Op::Take { axis } => self.take(id, *axis as usize),
            Op::Concat { axis } => self.concat(id, *axis as usize),
            Op::Merge { axis } => self.merge(id, *axis as usize),
            Op::Split { axis, minor } => self.split_axis(id, *axis as usize, *minor),
            Op::ReduceWith { axis, combine } => self.reduce_with(id, *axis as usize, *combine),
            Op::Assert { message } => self.assertion(id, message),
            Op::Print { label } => self.print(id, label),
            other => Err(self.unsupported(id, op_name(other))),
        }
    }

    /// A new tile for an output.
    fn result(&mut self, id: NodeId, port: u32) -> Tile {
        let value = Value { node: id, port };
        let ty = self.graph.type_of(value).clone();
        let until = self.last_use(value);
        let tile = self.new_tile(Class::of(ty.dtype), &ty.axes, until);
        self.set(value, Val::Tile(tile.clone()));
        tile
    }

    /// The words of `collective::Shape`: `extents` of the source.
    fn shape_words(&mut self, axes: &[Axis], from: &Tile, to: &Tile) -> Result<()> {
        self.begin();
        self.word_int(axes.len() as i64);
        for &axis in axes {
            let extent = self.extent(axis)?;
            self.word(extent);
        }
        from.strides.clone().into_iter().for_each(|s| self.word_stride(s));
        to.strides.clone().into_iter().for_each(|s| self.word_stride(s));
        let (a, b) = (self.base(from), self.base(to));
        self.word(a);
        self.word(b);
        Ok(())
    }

    fn collective(&mut self, id: NodeId, entry: Entry, words: &[i64]) -> Result<()> {
        let input = self.graph.inputs(id)[0];
        let axes = self.graph.type_of(input).axes.clone();
        let from = self.tile_of(input)?;
        let to = self.result(id, 0);
        self.shape_words(&axes, &from, &to)?;
        self.word_int(collective::class_code(from.class));
        words.iter().for_each(|&w| self.word_int(w));
        self.call(entry);
        Ok(())
    }

    fn sorted(&mut self, id: NodeId, axis: u32, descending: bool, k: Option<u64>) -> Result<()> {
        let input = self.graph.inputs(id)[0];
        let axes = self.graph.type_of(input).axes.clone();
        let from = self.tile_of(input)?;
        let (values, positions) = (self.result(id, 0), self.result(id, 1));
        self.shape_words(&axes, &from, &values)?;
        self.word_int(collective::class_code(from.class));
        self.word_int(axis as i64);
        self.word_int(descending as i64);
        let at = self.base(&positions);
        self.word(at);
        positions.strides.clone().into_iter().for_each(|s| self.word_stride(s));
        match k {
            Some(k) => self.word_int(k as i64),
            None => {
                let all = self.extent(axes[axis as usize])?;
                self.word(all);
            }
        }
        self.call(ordering::sort);
        Ok(())
    }

    fn histogram(&mut self, id: NodeId, bins: u64) -> Result<()> {
        let input = self.graph.inputs(id)[0];
        let axis = self.graph.type_of(input).axes[0];
        let from = self.tile_of(input)?;
        let to = self.result(id, 0);
        let (source, n, target) = (self.base(&from), self.extent(axis)?, self.base(&to));
        self.begin();
        self.word(source);
        self.word_stride(from.strides[0]);
        self.word(n);
        self.word(target);
        self.word_int(bins as i64);
        self.word_stride(to.strides[0]);
        self.call(collective::histogram);
        Ok(())
    }

    fn take(&mut self, id: NodeId, axis: usize) -> Result<()> {
        let inputs = self.graph.inputs(id);
        let (axes, taken) =
            (self.graph.type_of(inputs[0]).axes.clone(), self.graph.type_of(inputs[1]).clone());
        let out_axes = self.graph.node(id).outputs[0].axes.clone();
        let from = self.tile_of(inputs[0])?;
        let index = if taken.is_scalar() {
            let tile = self.new_tile(Class::I64, &[], self.position);
            let (v, at) = (self.scalar(inputs[1])?, self.base(&tile));
            self.store_reg(Class::I64, v.into(), at, Lanes::One);
            tile
        } else {
            self.tile_of(inputs[1])?
        };
        let to = self.result(id, 0);
        self.shape_words(&out_axes, &from, &to)?;
        self.word_int(from.class.bytes() as i64);
        self.word_int(axis as i64);
        let at = self.base(&index);
        self.word(at);
        self.word_stride(index.strides.first().copied().unwrap_or(Stride::Const(0)));
        let limit = self.extent(axes[axis])?;
        self.word(limit);
        let site = self.site(id, SiteKind::Take);
        self.word_int(site);
        self.call_checked(collective::take);
        Ok(())
    }

    /// A copy of elements between two tiles of one shape.
    pub fn copy(&mut self, axes: &[Axis], from: &Tile, to: &Tile) -> Result<()> {
        self.shape_words(axes, from, to)?;
        self.word_int(from.class.bytes() as i64);
        self.call(collective::copy);
        Ok(())
    }

    fn concat(&mut self, id: NodeId, axis: usize) -> Result<()> {
        let inputs = self.graph.inputs(id);
        let mut parts = vec![];
        for &input in &inputs {
            parts.push(self.tile_of(input)?);
        }
        let to = self.result(id, 0);
        let mut done = 0i64;
        for (&input, part) in inputs.iter().zip(&parts) {
            let axes = self.graph.type_of(input).axes.clone();
            let start = self.base(&to);
            let at = self.int(done);
            let base = Base::Pointer(self.moved(start, &to, axis, at));
            let slot = Tile { base, ..to.clone() };
            self.copy(&axes, part, &slot)?;
            done += self.capacity(axes[axis]) as i64;
        }
        Ok(())
    }

    /// Two axes become one: a new name where the memory allows, else a copy.
    fn merge(&mut self, id: NodeId, axis: usize) -> Result<()> {
        let input = self.graph.inputs(id)[0];
        let axes = self.graph.type_of(input).axes.clone();
        let from = self.tile_of(input)?;
        let minor = self.capacity(axes[axis + 1]) as i64;
        let (major_stride, minor_stride) = (from.strides[axis], from.strides[axis + 1]);
        let joined = match (axes[axis], axes[axis + 1]) {
            (_, Axis::One) => Some(major_stride),
            (Axis::One, _) => Some(minor_stride),
            _ => match (major_stride, minor_stride) {
                (Stride::Const(a), Stride::Const(b)) if a == b * minor => Some(minor_stride),
                _ => None,
            },
        };
        let own = self.stored(input).is_some();
        if let (Some(stride), true) = (joined, own) {
            let mut tile = from;
            tile.strides[axis] = stride;
            tile.strides.remove(axis + 1);
            self.set(Self::out(id), Val::Tile(tile));
            return Ok(());
        }
        let to = self.result(id, 0);
        // The result seen as the source's shape.
        let mut split = to.clone();
        let unit = to.strides[axis];
        let major = match unit {
            Stride::Const(s) => Stride::Const(s * minor),
            Stride::Run(_) => return Err(self.bug(id, "a new tile with unknown strides")),
        };
        split.strides[axis] = major;
        split.strides.insert(axis + 1, unit);
        self.copy(&axes, &from, &split)
    }

    fn split_axis(&mut self, id: NodeId, axis: usize, minor: u64) -> Result<()> {
        let input = self.graph.inputs(id)[0];
        let axes = self.graph.type_of(input).axes.clone();
        let mut tile = match self.stored(input) {
            Some(tile) => tile,
            None => {
                let until = self.last_use(Self::out(id));
                let tile = self.new_tile(self.class(input), &axes, until);
                self.fill(input, &tile)?;
                tile
            }
        };
        let unit = tile.strides[axis];
        let major = match unit {
            Stride::Const(s) => Stride::Const(s * minor as i64),
            Stride::Run(s) => Stride::Run(self.fb.ins().imul_imm_s(s, minor as i64)),
        };
        tile.strides[axis] = major;
        tile.strides.insert(axis + 1, unit);
        self.set(Self::out(id), Val::Tile(tile));
        Ok(())
    }

    /// `reduce(x, axis, f)`: the elements in order, combined by the region written out for scalars.
    fn reduce_with(&mut self, id: NodeId, axis: usize, combine: RegionId) -> Result<()> {
        let inputs = self.graph.inputs(id);
        let axes = self.graph.type_of(inputs[0]).axes.clone();
        let (mut from, mut to) = (vec![], vec![]);
        for (port, &input) in inputs.iter().enumerate() {
            from.push(self.tile_of(input)?);
            to.push(self.result(id, port as u32));
        }
        let outer: Vec<usize> = (0..axes.len()).filter(|&a| a != axis).collect();
        let sources = from.iter().map(|t| self.base(t)).collect();
        let targets = to.iter().map(|t| self.base(t)).collect();
        let fold = Fold { axes: &axes, axis, combine, from: &from, to: &to };
        self.fold_loops(&fold, &outer, sources, targets)
    }

    fn fold_loops(
        &mut self,
        fold: &Fold,
        outer: &[usize],
        sources: Vec<ir::Value>,
        targets: Vec<ir::Value>,
    ) -> Result<()> {
        if let Some((&axis, rest)) = outer.split_first() {
            let (zero, end) = (self.int(0), self.extent(fold.axes[axis])?);
            return self.counted(zero, end, 1, |e, n| {
                let s = sources.iter().zip(fold.from).map(|(&at, t)| e.moved(at, t, axis, n)).collect();
                let t = targets.iter().zip(fold.to).map(|(&at, t)| e.moved(at, t, axis, n)).collect();
                e.fold_loops(fold, rest, s, t)
            });
        }
        let mut sums = vec![];
        for (&at, tile) in sources.iter().zip(fold.from) {
            let first = self.load_reg(tile.class, at, Lanes::One).low;
            let variable = self.fb.declare_var(scalar_type(tile.class));
            self.fb.def_var(variable, first);
            sums.push(variable);
        }
        let args = self.graph.region_args(fold.combine);
        let yields = self.graph.yields(fold.combine);
        let (one, end) = (self.int(1), self.extent(fold.axes[fold.axis])?);
        self.counted(one, end, 1, |e, n| {
            for (at, &sum) in sums.iter().enumerate() {
                let a = e.fb.use_var(sum);
                let address = e.moved(sources[at], &fold.from[at], fold.axis, n);
                let b = e.load_reg(fold.from[at].class, address, Lanes::One).low;
                e.set(args[at], Val::Scalar(a));
                e.set(args[at + sums.len()], Val::Scalar(b));
            }
            let here = e.position();
            e.steps(fold.combine)?;
            e.set_position(here);
            let results = yields.iter().map(|&y| e.scalar(y)).collect::<Result<Vec<_>>>()?;
            for (&sum, v) in sums.iter().zip(results) {
                e.fb.def_var(sum, v);
            }
            Ok(())
        })?;
        for (at, &sum) in sums.iter().enumerate() {
            let v = self.fb.use_var(sum);
            self.store_reg(fold.to[at].class, v.into(), targets[at], Lanes::One);
        }
        Ok(())
    }

    fn assertion(&mut self, id: NodeId, message: &str) -> Result<()> {
        let input = self.graph.inputs(id)[0];
        let site = self.site(id, SiteKind::Assert { message: message.into() });
        let nothing = self.int(0);
        if self.graph.type_of(input).is_scalar() {
            let v = self.scalar(input)?;
            let bad = self.fb.ins().bxor_imm_s(v, 1);
            self.fail_if(bad, site, 0, [nothing; 3]);
            return Ok(());
        }
        let axes = self.graph.type_of(input).axes.clone();
        let tile = self.tile_of(input)?;
        let start = self.base(&tile);
        self.assert_loops(&axes, 0, &tile, start, site)
    }

    fn assert_loops(
        &mut self,
        axes: &[Axis],
        at: usize,
        tile: &Tile,
        address: ir::Value,
        site: i64,
    ) -> Result<()> {
        let Some(&axis) = axes.get(at) else {
            let v = self.load_reg(Class::Bool, address, Lanes::One).low;
            let bad = self.fb.ins().bxor_imm_s(v, 1);
            let nothing = self.int(0);
            self.fail_if(bad, site, 0, [nothing; 3]);
            return Ok(());
        };
        let (zero, end) = (self.int(0), self.extent(axis)?);
        self.counted(zero, end, 1, |e, n| {
            let next = e.moved(address, tile, at, n);
            e.assert_loops(axes, at + 1, tile, next, site)
        })
    }

    fn print(&mut self, id: NodeId, label: &str) -> Result<()> {
        let input = self.graph.inputs(id)[0];
        let ty = self.graph.type_of(input).clone();
        let class = Class::of(ty.dtype);
        let tile = if ty.is_scalar() {
            let tile = self.new_tile(class, &[], self.position);
            let (v, at) = (self.scalar(input)?, self.base(&tile));
            self.store_reg(class, v.into(), at, Lanes::One);
            tile
        } else {
            self.tile_of(input)?
        };
        let site = self.site(id, SiteKind::Print { label: label.into() });
        let to = tile.clone();
        self.shape_words(&ty.axes, &tile, &to)?;
        self.word_int(collective::class_code(class));
        self.word_int(site);
        self.call_checked(crate::runtime::print::print);
        Ok(())
    }
}

struct Fold<'a> {
    axes: &'a [Axis],
    axis: usize,
    combine: RegionId,
    from: &'a [Tile],
    to: &'a [Tile],
}

/// What a dot calls, and what it says of the operands (see `gemm::Dot`).
#[derive(Clone, Copy)]
struct DotCall {
    entry: Entry,
    accumulate: bool,
    b_stays: bool,
}

/// A dot as one matrix product within loops over the batch axes and all but one free axis of each operand.
struct DotPlan {
    /// Axes of lhs, rhs and result that a loop runs over.
    loops: Vec<[Option<(usize, Axis)>; 3]>,
    m: Option<(usize, Axis)>,
    n: Option<(usize, Axis)>,
    c_m: Option<usize>,
    c_n: Option<usize>,
    /// Positions in lhs and rhs, and the axis.
    k: ((usize, usize), Axis),
}

impl DotPlan {
    fn new(axes: &DotAxes, lhs: &[Axis], rhs: &[Axis], out: &[Axis]) -> DotPlan {
        let mut loops = vec![];
        for (at, (&l, &r)) in axes.lhs_batch.iter().zip(&axes.rhs_batch).enumerate() {
            let axis = lhs[l as usize];
            loops.push([Some((l as usize, axis)), Some((r as usize, axis)), Some((at, axis))]);
        }
        let free = |operand: &[Axis], batch: &[u32], k: u32| -> Vec<usize> {
            (0..operand.len()).filter(|&a| a as u32 != k && !batch.contains(&(a as u32))).collect()
        };
        let left = free(lhs, &axes.lhs_batch, axes.lhs_k);
        let right = free(rhs, &axes.rhs_batch, axes.rhs_k);
        let first = axes.lhs_batch.len();
        // The last axis that has room is the matrix axis; the others are looped over.
        let matrix = |list: &[usize], operand: &[Axis]| {
            list.iter().rposition(|&a| operand[a] != Axis::One).or(list.len().checked_sub(1))
        };
        let (pm, pn) = (matrix(&left, lhs), matrix(&right, rhs));
        for (at, &a) in left.iter().enumerate().filter(|(at, _)| Some(*at) != pm) {
            loops.push([Some((a, lhs[a])), None, Some((first + at, lhs[a]))]);
        }
        for (at, &a) in right.iter().enumerate().filter(|(at, _)| Some(*at) != pn) {
            loops.push([None, Some((a, rhs[a])), Some((first + left.len() + at, rhs[a]))]);
        }
        loops.retain(|l| l.iter().flatten().any(|(_, axis)| *axis != Axis::One));
        debug_assert_eq!(out.len(), first + left.len() + right.len());
        DotPlan {
            loops,
            m: pm.map(|p| (left[p], lhs[left[p]])),
            n: pn.map(|p| (right[p], rhs[right[p]])),
            c_m: pm.map(|p| first + p),
            c_n: pn.map(|p| first + left.len() + p),
            k: ((axes.lhs_k as usize, axes.rhs_k as usize), lhs[axes.lhs_k as usize]),
        }
    }
}

fn op_name(op: &Op) -> String {
    let text = format!("{op:?}");
    let end = text.find([' ', '(', '{']).unwrap_or(text.len());
    format!("`{}`", text[..end].to_lowercase())
}
