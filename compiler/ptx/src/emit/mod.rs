//! Graph and plan to MLIR text: what one thread of a block does.
//!
//! A tile is a list of registers, in the order of its layout; a scalar is a list of one and the same in all threads.
//! The walk goes over the region tree in program order, the same order in which the plan placed barriers, and asks
//! the plan at each point: is there a conversion, a barrier, an operand to stage.
//!
//! | file | what |
//! | --- | --- |
//! | `kernel` | parameters, block number, `par` |
//! | `control` | loops and branches |
//! | `place` | coordinates of registers, extents, predicates |
//! | `global` | loads and stores |
//! | `staging` | shared memory: operands of dots, conversions |
//! | `dot` | mma.sync and multiply-adds |
//! | `reduce` | shuffles, partial results of warps |
//! | `elem`, `math` | elementwise operations, functions without an instruction |

mod control;
mod dot;
mod elem;
mod global;
mod kernel;
pub mod math;
mod place;
mod reduce;
mod staging;

use crate::text::{Text, Ty, V};
use std::collections::HashMap;
use tile_base::{DType, Diagnostic, Span};
use tile_graph::{Graph, Literal, NodeId, Op, ROOT, RegionId, Value};
use tile_layout::Layout;
use tile_plan::{Conversion, How, Plan, RESULT, Slot};

/// A function of MLIR text, and the span behind each location number.
pub struct Emitted {
    pub text: String,
    pub spans: Vec<Span>,
    pub operations: usize,
}

pub type Emission<T> = Result<T, Box<Diagnostic>>;

pub struct Emit<'a> {
    pub g: &'a Graph,
    pub plan: &'a Plan,
    pub t: Text,
    values: HashMap<Value, Vec<V>>,
    /// Per object: pointer and strides.
    tensors: Vec<Option<(V, Vec<V>)>>,
    dims: Vec<V>,
    scalars: HashMap<u32, V>,
    lane: V,
    warp: V,
    /// Base of dynamic shared memory.
    shared: V,
}

/// The type of registers that hold a dtype.
pub fn register_type(dtype: DType) -> Ty {
    match dtype {
        DType::F64 => Ty::F64,
        DType::F32 | DType::Tf32 => Ty::F32,
        DType::F16 => Ty::F16,
        DType::Bf16 => Ty::Bf16,
        DType::I64 => Ty::I64,
        DType::I32 => Ty::I32,
        DType::I16 => Ty::I16,
        DType::Bool => Ty::I1,
        _ => Ty::I8,
    }
}

/// Emits the kernel.
pub fn emit(g: &Graph, plan: &Plan, sources: Option<&tile_base::Sources>) -> Emission<Emitted> {
    let mut e = kernel::open(g, plan);
    e.region(ROOT)?;
    e.t.effect("llvm.return");
    let operations = e.t.operations;
    let head = kernel::header(g, plan);
    let t = std::mem::take(&mut e.t);
    let (body, spans) = t.finish();
    let locations = kernel::locations(&spans, sources);
    Ok(Emitted { text: format!("{head}{body}}} loc(#s0)\n}} loc(#s0)\n{locations}"), spans, operations })
}

impl Emit<'_> {
    fn bug(&self, node: NodeId, what: impl std::fmt::Display) -> Box<Diagnostic> {
        let n = self.g.node(node);
        Box::new(
            Diagnostic::error("T0910", n.span, format!("fault in the PTX backend: {what}"))
                .label(format!("while lowering `{}` ({node})", n.op.name()))
                .help("this is a fault of the compiler; please report the kernel"),
        )
    }

    fn region(&mut self, region: RegionId) -> Emission<()> {
        for node in self.g.region(region).nodes.clone() {
            if !matches!(self.g.node(node).op, Op::RegionArgs | Op::Yield) {
                self.node(node)?;
            }
        }
        Ok(())
    }

    fn node(&mut self, node: NodeId) -> Emission<()> {
        let n = self.g.node(node);
        self.t.at(n.span);
        self.barrier(node, Slot::Start);
        if let Some(dot) = self.plan.dots.values().position(|d| d.at == node) {
            let (&dot, plan) = self.plan.dots.iter().nth(dot).ok_or_else(|| self.bug(node, "no such dot"))?;
            let registers = self.dot(dot, plan)?;
            self.finish(node, vec![registers])?;
            return Ok(());
        }
        if self.plan.dots.contains_key(&node) {
            return Ok(()); // emitted with the addition of its result
        }
        let results = self.operation(node)?;
        self.finish(node, results)
    }

    /// Result conversions, what is kept in shared memory, and the values themselves.
    fn finish(&mut self, node: NodeId, results: Vec<Vec<V>>) -> Emission<()> {
        for (port, mut registers) in results.into_iter().enumerate() {
            let value = Value { node, port: port as u32 };
            if port == 0
                && let Some(c) = self.plan.conversions.get(&(node, RESULT))
            {
                let made = self.made_layout(node, value)?;
                registers = self.convert(node, RESULT, c, &registers, &made)?;
            }
            self.values.insert(value, registers);
        }
        self.keep_after(node)
    }

    /// The layout in which a node makes its result, before a conversion.
    fn made_layout(&self, node: NodeId, value: Value) -> Emission<Layout> {
        if let Some(dot) = self.plan.dots.values().find(|d| d.at == node) {
            return Ok(dot.layout.clone());
        }
        match &self.g.node(node).op {
            Op::Reduce { axis, .. } => {
                let from = self.layout(self.g.inputs(node)[0])?;
                let keep: Vec<bool> = (0..from.rank()).map(|d| d != *axis as usize).collect();
                Ok(from.project(&keep))
            }
            _ => self.layout(value),
        }
    }

    fn operation(&mut self, node: NodeId) -> Emission<Vec<Vec<V>>> {
        let n = self.g.node(node);
        Ok(match &n.op {
            Op::Const(literal) => vec![vec![self.literal(*literal, n.outputs[0].dtype)]],
            Op::Dim(d) => vec![vec![self.dims[*d as usize]]],
            Op::Param(p) => vec![vec![self.scalars[p]]],
            Op::MakeSpan { span } => self.make_span(node, *span)?,
            Op::Iota => vec![self.iota(node)?],
            Op::Elem(op) => vec![self.elementwise(node, *op)?],
            Op::Cast => vec![self.cast_node(node)?],
            Op::Broadcast => vec![self.operand(node, 0)?],
            Op::Reshape { .. } => vec![self.reshape(node)?],
            Op::Permute { .. } => vec![self.permute(node)?],
            Op::Reduce { axis, kind } => vec![self.reduce(node, *axis as usize, *kind)?],
            Op::Load(access) => vec![self.load(node, access)?],
            Op::Store { access, .. } => {
                self.store(node, access)?;
                vec![]
            }
            Op::Par(p) => {
                self.par(node, p)?;
                vec![]
            }
            Op::For(f) => self.for_loop(node, f)?,
            Op::If { then, otherwise } => self.branch(node, *then, *otherwise)?,
            op => return Err(self.bug(node, format!("`{}` passed the check of constructs", op.name()))),
        })
    }

    fn literal(&mut self, literal: Literal, dtype: DType) -> V {
        let ty = register_type(dtype);
        match literal {
            Literal::Float(v) => self.t.float(ty, v),
            Literal::Int(v) if ty.is_float() => self.t.float(ty, v as f64),
            Literal::Int(v) => self.t.int(ty, v),
            Literal::Bool(v) => self.t.int(Ty::I1, i64::from(v)),
        }
    }

    // ---- values

    fn registers(&self, node: NodeId, value: Value) -> Emission<Vec<V>> {
        self.values
            .get(&value)
            .cloned()
            .ok_or_else(|| self.bug(node, format!("{}.{} has no registers", value.node, value.port)))
    }

    fn scalar(&self, node: NodeId, value: Value) -> Emission<V> {
        Ok(self.registers(node, value)?[0])
    }

    fn layout(&self, value: Value) -> Emission<Layout> {
        self.plan.layouts.get(&value).cloned().ok_or_else(|| self.bug(value.node, "a tile without layout"))
    }

    /// Input `port` in the layout this node wants it in.
    fn input(&mut self, node: NodeId, port: u32) -> Emission<Vec<V>> {
        let value = self.g.inputs(node)[port as usize];
        let registers = self.registers(node, value)?;
        match self.plan.conversions.get(&(node, port)) {
            Some(c) => {
                let from = self.layout(value)?;
                self.convert(node, port, c, &registers, &from)
            }
            None => Ok(registers),
        }
    }

    /// The layout that input `port` has once converted.
    fn input_layout(&self, node: NodeId, port: u32) -> Emission<Layout> {
        match self.plan.conversions.get(&(node, port)) {
            Some(c) => Ok(c.to.clone()),
            None => self.layout(self.g.inputs(node)[port as usize]),
        }
    }

    /// Input `port`, one register for each register of the result: scalars and axes of 1 stretched.
    fn operand(&mut self, node: NodeId, port: u32) -> Emission<Vec<V>> {
        let value = self.g.inputs(node)[port as usize];
        let registers = self.input(node, port)?;
        let result = Value { node, port: 0 };
        if self.g.type_of(result).is_scalar() {
            return Ok(registers);
        }
        let out = self.layout(result)?;
        let ty = self.g.type_of(value);
        if ty.is_scalar() {
            return Ok(vec![registers[0]; out.registers()]);
        }
        let keep = tile_plan::infer::kept(ty);
        let from = self.input_layout(node, port)?;
        if from == out {
            return Ok(registers);
        }
        (0..out.registers())
            .map(|r| {
                let mut at = out.register_offset(r);
                at.iter_mut().zip(&keep).for_each(|(a, k)| *a *= u32::from(*k));
                let found =
                    from.find_register(&at).ok_or_else(|| self.bug(node, "an operand does not stretch"))?;
                Ok(registers[found])
            })
            .collect()
    }

    fn convert(
        &mut self,
        node: NodeId,
        port: u32,
        c: &Conversion,
        from: &[V],
        layout: &Layout,
    ) -> Emission<Vec<V>> {
        match &c.how {
            How::Registers(map) => Ok(map.iter().map(|&r| from[r]).collect()),
            How::Shared { buffer, extents } => {
                self.barrier(node, Slot::Convert(port));
                self.write_dense(*buffer, extents, layout, from);
                self.barrier(node, Slot::Converted(port));
                Ok(self.read_dense(*buffer, extents, &c.to, from[0].ty))
            }
        }
    }

    fn reshape(&mut self, node: NodeId) -> Emission<Vec<V>> {
        let Op::Reshape { axes } = self.g.node(node).op.clone() else {
            return Err(self.bug(node, "not a reshape"));
        };
        let result = Value { node, port: 0 };
        let registers = self.input(node, 0)?;
        if self.g.type_of(result).is_scalar() || self.g.type_of(self.g.inputs(node)[0]).is_scalar() {
            return Ok(vec![registers[0]]);
        }
        let (out, from) = (self.layout(result)?, self.input_layout(node, 0)?);
        self.rename(node, &out, &from, &registers, |at| {
            let mut to = vec![0; from.rank()];
            axes.iter().zip(at).for_each(|(a, &x)| {
                if let Some(a) = a {
                    to[*a as usize] = x;
                }
            });
            to
        })
    }

    fn permute(&mut self, node: NodeId) -> Emission<Vec<V>> {
        let Op::Permute { order } = self.g.node(node).op.clone() else {
            return Err(self.bug(node, "not a permutation"));
        };
        let registers = self.input(node, 0)?;
        let (out, from) = (self.layout(Value { node, port: 0 })?, self.input_layout(node, 0)?);
        self.rename(node, &out, &from, &registers, |at| {
            let mut to = vec![0; order.len()];
            order.iter().zip(at).for_each(|(&o, &x)| to[o as usize] = x);
            to
        })
    }

    fn rename(
        &self,
        node: NodeId,
        out: &Layout,
        from: &Layout,
        registers: &[V],
        map: impl Fn(&[u32]) -> Vec<u32>,
    ) -> Emission<Vec<V>> {
        (0..out.registers())
            .map(|r| {
                let at = map(&out.register_offset(r));
                let found =
                    from.find_register(&at).ok_or_else(|| self.bug(node, "a register has no source"))?;
                Ok(registers[found])
            })
            .collect()
    }

    /// A block-wide barrier, where the plan has one.
    fn barrier(&mut self, node: NodeId, slot: Slot) {
        if self.plan.barriers.contains(&(node, slot)) {
            self.t.effect("nvvm.barrier0");
        }
    }
}
