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
//! | `packed` | elements of 4 and 2 bits in memory |
//! | `small_floats` | floats of 8 and 4 bits |
//! | `staging` | shared memory: operands of dots, conversions |
//! | `bulk` | tiles that the copy engine brings to shared memory, mbarriers |
//! | `dot` | mma.sync and multiply-adds |
//! | `reduce` | shuffles, partial results of warps |
//! | `local` | slices, splits and merges that rename registers |
//! | `exchange` | arrays in shared memory, and parts of an axis through them |
//! | `lines`, `order` | loops over lines of an array; the order of a sort |
//! | `scan`, `topk`, `sort`, `histogram`, `fold` | collectives along an axis of any length |
//! | `failure` | assertions |
//! | `triangular` | inverse of a unit lower triangular matrix |
//! | `index` | tiles of positions |
//! | `elem`, `math` | elementwise operations, functions without an instruction |

mod bulk;
mod control;
mod dot;
mod elem;
mod exchange;
mod failure;
mod fold;
mod global;
mod histogram;
mod index;
mod kernel;
mod lines;
mod local;
pub mod math;
mod order;
mod packed;
mod place;
mod reduce;
mod scan;
mod small_floats;
mod sort;
mod staging;
mod topk;
mod triangular;

use crate::text::{Text, Ty, V};
use std::collections::{HashMap, HashSet};
use tile_base::{DType, Diagnostic, Span};
use tile_graph::{Graph, Literal, NodeId, Op, ROOT, RegionId, Value};
use tile_layout::Layout;
use tile_plan::{BufferId, Conversion, How, Plan, RESULT, Slot, result_port, shape::Shapes};

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
    /// Tiles of positions, until somebody needs them as numbers.
    affine: HashMap<Value, index::Affine>,
    /// Tiles whose registers past the end of an axis were set to 0, for a sum say: a later dot need not do it again.
    zero_past_end: HashSet<(Value, usize)>,
    /// Per object: pointer and strides.
    tensors: Vec<Option<(V, Vec<V>)>>,
    dims: Vec<V>,
    scalars: HashMap<u32, V>,
    /// Tensor maps, in the order of the plan.
    maps: Vec<V>,
    /// By mbarrier, how many tiles have arrived on it where the code being written stands.
    turns: Vec<V>,
    /// Of buffers with several tiles, where in it the one lies that is read, in bytes.
    halves: HashMap<BufferId, V>,
    lane: V,
    warp: V,
    /// Base of dynamic shared memory.
    shared: V,
    sources: Option<&'a tile_base::Sources>,
    /// Texts that the assertions refer to.
    texts: Vec<String>,
}

/// The type of registers that hold a dtype. Integers below 8 bits are held as 8; floats of 8 and 4 bits as their bits.
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
    let mut e = kernel::open(g, plan, sources);
    e.open_mbarriers();
    e.region(ROOT)?;
    e.t.effect("llvm.return");
    let operations = e.t.operations;
    let head = kernel::header(g, plan, &failure::declarations(&e.texts));
    let t = std::mem::take(&mut e.t);
    let (body, spans) = t.finish();
    let locations = kernel::locations(&spans, sources);
    Ok(Emitted { text: format!("{head}{body}}} loc(#s0)\n}} loc(#s0)\n{locations}"), spans, operations })
}

impl Emit<'_> {
    fn bug(&self, node: NodeId, what: impl std::fmt::Display) -> Box<Diagnostic> {
        let n = self.g.node(node);
        Box::new(
            Diagnostic::error("T0940", n.span, format!("fault in the PTX backend: {what}"))
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
        if self.goes_by_bulk(node) {
            return self.keep_after(node);
        }
        if self.position_tile(node)? {
            return self.keep_after(node);
        }
        let results = self.operation(node)?;
        self.finish(node, results)
    }

    /// Whether a node's value is a tile that the copy engine loads, or that tile transposed: it has no registers.
    fn goes_by_bulk(&self, node: NodeId) -> bool {
        let loads = |n: NodeId| self.plan.bulk.contains_key(&n);
        match self.g.node(node).op {
            Op::Load(_) => loads(node),
            Op::Permute { .. } => {
                loads(tile_plan::dots::behind_permutations(self.g, Value { node, port: 0 }).0.node)
            }
            _ => false,
        }
    }

    /// Result conversions, what is kept in shared memory, and the values themselves.
    fn finish(&mut self, node: NodeId, results: Vec<Vec<V>>) -> Emission<()> {
        for (port, mut registers) in results.into_iter().enumerate() {
            let value = Value { node, port: port as u32 };
            let as_port = result_port(value.port);
            if let Some(c) = self.plan.conversions.get(&(node, as_port)) {
                let made = self.made_layout(node, value)?;
                registers = self.convert(node, as_port, c, &registers, &made)?;
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
            op if tile_plan::local::rearranges(op) && !self.plan.exchanges.contains_key(&node) => {
                let from = self.input_layout(node, 0)?;
                tile_plan::local::made(&self.shapes(), node, &from)
                    .ok_or_else(|| self.bug(node, "an operand that cannot be renamed"))
            }
            Op::Reduce { axis, .. } => {
                let from = self.layout(self.g.inputs(node)[0])?;
                let keep: Vec<bool> = (0..from.rank()).map(|d| d != *axis as usize).collect();
                Ok(from.project(&keep))
            }
            _ => self.layout(value),
        }
    }

    /// Tiles of positions stay in their form; `true` when that is all there is to do.
    fn position_tile(&mut self, node: NodeId) -> Emission<bool> {
        let n = self.g.node(node);
        if n.outputs.first().is_none_or(|t| t.dtype != DType::I64 || t.is_scalar())
            || self.plan.conversions.contains_key(&(node, RESULT))
        {
            return Ok(false);
        }
        let tile = match &n.op {
            Op::Iota => Some(self.affine_iota(node)?),
            Op::Elem(op) => self.affine_sum(node, *op)?,
            Op::Reshape { .. } | Op::Permute { .. } | Op::Broadcast => self.affine_moved(node)?,
            _ => None,
        };
        let found = tile.is_some();
        if let Some(tile) = tile {
            let value = Value { node, port: 0 };
            // A predicate of `skip` is written twice where tiles are fetched a step ahead; these are other positions.
            self.values.remove(&value);
            self.affine.insert(value, tile);
        }
        Ok(found)
    }

    fn operation(&mut self, node: NodeId) -> Emission<Vec<Vec<V>>> {
        let n = self.g.node(node);
        Ok(match &n.op {
            Op::Const(literal) => vec![vec![self.literal(*literal, n.outputs[0].dtype)]],
            Op::Dim(d) => vec![vec![self.dims[*d as usize]]],
            Op::Param(p) => {
                let (given, dtype) = (self.scalars[p], n.outputs[0].dtype);
                vec![vec![if dtype.bits() < 8 { self.field(given, 0, dtype) } else { given }]]
            }
            Op::MakeSpan { span } => self.make_span(node, *span)?,
            Op::Iota => {
                let tile = self.affine_iota(node)?;
                vec![self.summed(&tile)]
            }
            Op::Elem(op) => vec![self.elementwise(node, *op)?],
            Op::Cast => vec![self.cast_node(node)?],
            Op::Broadcast | Op::Reshape { .. } | Op::Permute { .. } => vec![self.operand(node, 0)?],
            Op::Reduce { axis, kind } => vec![self.reduce(node, *axis as usize, *kind)?],
            Op::Scan { axis, kind, reverse, exclusive } => {
                let way = scan::Way { reverse: *reverse, exclusive: *exclusive };
                vec![self.scan(node, *axis as usize, *kind, way)?]
            }
            Op::UnitLowerInv => vec![self.unit_lower_inv(node)?],
            Op::TopK { axis, k } => self.top(node, *axis as usize, *k)?,
            Op::Slice { .. } | Op::Split { .. } | Op::Merge { .. } => vec![self.part(node)?],
            Op::Sort { axis, descending } => self.sorted(node, *axis as usize, *descending)?,
            Op::Histogram { bins } => vec![self.histogram(node, *bins)?],
            Op::ReduceWith { axis, combine } => self.folded(node, *axis as usize, *combine)?,
            Op::Concat { axis } => vec![self.concatenated(node, *axis as usize)?],
            Op::Take { axis } => vec![self.taken(node, *axis as usize)?],
            Op::Load(access) => vec![self.load(node, access)?],
            Op::Store { access, .. } => {
                self.store(node, access)?;
                vec![]
            }
            Op::Accumulate(access) => {
                self.accumulate(node, access)?;
                vec![]
            }
            Op::Par(p) => {
                self.par(node, p)?;
                vec![]
            }
            Op::For(f) => self.for_loop(node, f)?,
            Op::While { condition, body } => self.while_loop(node, *condition, *body)?,
            Op::If { then, otherwise } => self.branch(node, *then, *otherwise)?,
            Op::Assert { message } => {
                self.assertion(node, message)?;
                vec![]
            }
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

    /// Padded extents under the plan's tile sizes.
    fn shapes(&self) -> Shapes<'_> {
        Shapes::new(self.g, &self.plan.binding, &[])
    }

    fn registers(&mut self, node: NodeId, value: Value) -> Emission<Vec<V>> {
        if let Some(found) = self.values.get(&value) {
            return Ok(found.clone());
        }
        let Some(tile) = self.affine.get(&value).cloned() else {
            return Err(self.bug(node, format!("{}.{} has no registers", value.node, value.port)));
        };
        let numbers = self.summed(&tile);
        self.values.insert(value, numbers.clone());
        Ok(numbers)
    }

    fn scalar(&mut self, node: NodeId, value: Value) -> Emission<V> {
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
        let registers = self.input(node, port)?;
        if self.g.type_of(Value { node, port: 0 }).is_scalar() {
            return Ok(vec![registers[0]]);
        }
        Ok(self.operand_map(node, port)?.into_iter().map(|r| registers[r]).collect())
    }

    /// For each register of the (tile) result, the register of input `port` that it comes from.
    fn operand_map(&self, node: NodeId, port: u32) -> Emission<Vec<usize>> {
        let value = self.g.inputs(node)[port as usize];
        let out = self.layout(Value { node, port: 0 })?;
        let ty = self.g.type_of(value);
        if ty.is_scalar() {
            return Ok(vec![0; out.registers()]);
        }
        let from = self.input_layout(node, port)?;
        let op = &self.g.node(node).op;
        let keep = tile_plan::infer::shared(ty, &self.g.node(node).outputs[0]);
        let source = |at: Vec<u32>| -> Vec<u32> {
            let mut to = vec![0; from.rank()];
            match op {
                Op::Reshape { axes } => {
                    axes.iter()
                        .zip(at)
                        .filter_map(|(a, x)| Some(((*a)?, x)))
                        .for_each(|(a, x)| to[a as usize] = x);
                }
                Op::Permute { order } => order.iter().zip(at).for_each(|(&o, x)| to[o as usize] = x),
                _ => to.iter_mut().zip(at).zip(&keep).for_each(|((t, x), k)| *t = if *k { x } else { 0 }),
            }
            to
        };
        (0..out.registers())
            .map(|r| {
                let at = source(out.register_offset(r));
                from.find_register(&at).ok_or_else(|| self.bug(node, "a register has no source"))
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

    /// A block-wide barrier, where the plan has one.
    fn barrier(&mut self, node: NodeId, slot: Slot) {
        if self.plan.barriers.contains(&(node, slot)) {
            self.t.effect("nvvm.barrier0");
        }
    }
}
