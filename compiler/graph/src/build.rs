//! Building a graph region by region, in program order.
//!
//! The builder keeps a current region; [`GraphBuilder::open`] starts a nested one with its arguments,
//! [`GraphBuilder::close`] ends it with its yields. The owner node is added after its regions are closed and then
//! claims them, so values flow outside-in and the outer node list stays in program order.
//!
//! ```
//! use tile_base::{DType, Signature, Span};
//! use tile_graph::*;
//! let mut b = GraphBuilder::new("zero", Signature::default());
//! let lo = b.constant(Literal::Int(0), DType::I64);
//! let hi = b.constant(Literal::Int(4), DType::I64);
//! let zero = b.constant(Literal::Float(0.0), DType::F32);
//! let (body, args) = b.open(RegionKind::Loop, vec![ValueType::index(), ValueType::scalar(DType::F32)]);
//! let sum = b.elem(ElemOp::Add, &[args[1], args[1]], ValueType::scalar(DType::F32));
//! b.close(&[sum]);
//! let op = ForOp { iter: Iter::Each { reverse: false }, body, name: "k".into(), origin: LoopOrigin::Written,
//!                  early_exit: false, skip: None, combine: LoopCombine::Ordered };
//! let out = b.add(Op::For(op), &[lo, hi, zero], vec![ValueType::scalar(DType::F32)]);
//! assert_eq!(out.len(), 1);
//! let graph = b.finish();
//! assert_eq!(graph.region(body).nodes.len(), 3);
//! ```

use crate::{ir::*, op::*, typing::infer};
use petgraph::stable_graph::NodeIndex;
use std::collections::HashMap;
use tile_base::{DType, Signature, Span};

pub struct GraphBuilder {
    graph: Graph,
    /// Innermost last; never empty.
    open: Vec<RegionId>,
    span: Span,
    path: Option<String>,
    /// Per object, the accesses since (and with) the last write, in the current flow: (node, is write).
    last: HashMap<ObjectId, Vec<(NodeId, bool)>>,
    /// Literals, dims and parameters of the root.
    pool: HashMap<String, Value>,
}

impl GraphBuilder {
    pub fn new(name: impl Into<String>, signature: Signature) -> Self {
        GraphBuilder {
            graph: Graph::new(name, signature),
            open: vec![ROOT],
            span: Span::default(),
            path: None,
            last: HashMap::new(),
            pool: HashMap::new(),
        }
    }

    /// Nodes added from now on carry this span.
    pub fn at(&mut self, span: Span) -> &mut Self {
        self.span = span;
        self
    }

    /// The next node added carries this path.
    pub fn named(&mut self, path: impl Into<String>) -> &mut Self {
        self.path = Some(path.into());
        self
    }

    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    pub fn graph_mut(&mut self) -> &mut Graph {
        &mut self.graph
    }

    pub fn region(&self) -> RegionId {
        *self.open.last().expect("the root is always open")
    }

    pub fn type_of(&self, value: Value) -> &ValueType {
        self.graph.type_of(value)
    }

    /// Adds a node to the current region; its outputs.
    pub fn add(&mut self, op: Op, inputs: &[Value], outputs: Vec<ValueType>) -> Vec<Value> {
        self.add_in(self.region(), op, inputs, outputs)
    }

    fn add_in(&mut self, region: RegionId, op: Op, inputs: &[Value], outputs: Vec<ValueType>) -> Vec<Value> {
        let count = outputs.len() as u32;
        let owned = op.regions();
        let access = op.access().map(|a| (a.object, op.writes_memory()));
        let node = Node { op, outputs, region, path: self.path.take(), span: self.span };
        let at = self.graph.nodes.add_node(node);
        let id = NodeId::new(at.index());
        for (to, value) in inputs.iter().enumerate() {
            let edge = Edge::Value { from: value.port, to: to as u32 };
            self.graph.nodes.add_edge(NodeIndex::new(value.node.index()), at, edge);
        }
        for child in owned {
            self.graph.regions[child.index()].owner = Some(id);
        }
        self.graph.regions[region.index()].nodes.push(id);
        if let Some((object, write)) = access {
            self.order_effect(id, object, write);
        }
        (0..count).map(|port| Value { node: id, port }).collect()
    }

    /// A node with one output.
    pub fn one(&mut self, op: Op, inputs: &[Value], output: ValueType) -> Value {
        self.add(op, inputs, vec![output])[0]
    }

    /// A node with one output whose type follows from the inputs (see [`crate::typing`]).
    pub fn infer(&mut self, op: Op, inputs: &[Value]) -> Result<Value, String> {
        let types: Vec<ValueType> = inputs.iter().map(|&v| self.type_of(v).clone()).collect();
        let mut outputs = infer(&self.graph, &op, &types, &[])?;
        match outputs.len() {
            1 => Ok(self.one(op, inputs, outputs.remove(0))),
            n => Err(format!("has {n} outputs")),
        }
    }

    /// A literal. Literals, dims and parameters stand in the root, each once: they are values of the launch.
    pub fn constant(&mut self, literal: Literal, dtype: DType) -> Value {
        self.pooled(Op::Const(literal), ValueType::scalar(dtype))
    }

    pub fn index(&mut self, value: i64) -> Value {
        self.constant(Literal::Int(value), DType::I64)
    }

    /// Run-time dimension `signature.dims[at]`.
    pub fn dim(&mut self, at: u32) -> Value {
        self.pooled(Op::Dim(at), ValueType::index())
    }

    /// Scalar parameter `signature.params[at]`.
    pub fn param(&mut self, at: u32, dtype: DType) -> Value {
        self.pooled(Op::Param(at), ValueType::scalar(dtype))
    }

    fn pooled(&mut self, op: Op, output: ValueType) -> Value {
        // By text, so that -0.0 and 0.0 stay apart and NaN finds itself.
        let key = format!("{op:?} {output:?}");
        if let Some(&value) = self.pool.get(&key) {
            return value;
        }
        let path = self.path.take();
        let value = self.add_in(ROOT, op, &[], vec![output])[0];
        self.path = path;
        self.pool.insert(key, value);
        value
    }

    pub fn elem(&mut self, op: ElemOp, inputs: &[Value], output: ValueType) -> Value {
        self.one(Op::Elem(op), inputs, output)
    }

    /// Starts a nested region; its arguments.
    pub fn open(&mut self, kind: RegionKind, args: Vec<ValueType>) -> (RegionId, Vec<Value>) {
        let id = RegionId::new(self.graph.regions.len());
        self.graph.regions.push(Region { kind, owner: None, nodes: vec![] });
        self.open.push(id);
        let args = self.add(Op::RegionArgs, &[], args);
        (id, args)
    }

    /// Ends the innermost region with its results.
    pub fn close(&mut self, results: &[Value]) -> RegionId {
        self.add(Op::Yield, results, vec![]);
        assert!(self.open.len() > 1, "the root is not closed");
        self.open.pop().expect("a region is open")
    }

    pub fn span_def(&mut self, name: impl Into<String>, step: StepSize, start: Value, end: Value) -> SpanId {
        self.graph.spans.push(SpanDef { name: name.into(), step, start, end });
        SpanId::new(self.graph.spans.len() - 1)
    }

    /// A span id whose start and end become known when its loop is opened: fill with [`Self::set_span`].
    pub fn declare_span(&mut self, name: impl Into<String>, step: StepSize) -> SpanId {
        let nowhere = Value { node: NodeId(u32::MAX), port: 0 };
        self.span_def(name, step, nowhere, nowhere)
    }

    pub fn set_span(&mut self, span: SpanId, start: Value, end: Value) {
        let def = &mut self.graph.spans[span.index()];
        (def.start, def.end) = (start, end);
    }

    pub fn tile_size(
        &mut self,
        name: impl Into<String>,
        allowed: Vec<u64>,
        hidden: bool,
        span: Span,
    ) -> TileId {
        self.graph.tiles.push(TileSize { name: name.into(), allowed, hidden, span });
        TileId::new(self.graph.tiles.len() - 1)
    }

    pub fn object(&mut self, object: Object) -> ObjectId {
        self.graph.objects.push(object);
        ObjectId::new(self.graph.objects.len() - 1)
    }

    pub fn oblige(&mut self, obligation: Obligation) {
        self.graph.obligations.push(obligation);
    }

    pub fn finish(self) -> Graph {
        self.graph
    }

    /// Program order on one object: reads after the last write, a write after everything since.
    fn order_effect(&mut self, id: NodeId, object: ObjectId, write: bool) {
        let seen = self.last.entry(object).or_default();
        let before: Vec<NodeId> = seen.iter().filter(|(_, w)| write || *w).map(|&(n, _)| n).collect();
        if write {
            seen.clear();
        }
        seen.push((id, write));
        for source in before {
            let edge = Edge::Effect { object };
            self.graph.nodes.add_edge(NodeIndex::new(source.index()), NodeIndex::new(id.index()), edge);
        }
    }
}

impl Op {
    /// The regions that a node with this operation owns.
    pub fn regions(&self) -> Vec<RegionId> {
        match self {
            Op::Par(p) => vec![p.body],
            Op::For(f) => {
                let mut all = vec![f.body];
                all.extend(f.skip);
                if let LoopCombine::Merge { combine, .. } = f.combine {
                    all.push(combine);
                }
                all
            }
            Op::While { condition, body } => vec![*condition, *body],
            Op::If { then, otherwise } => vec![*then, *otherwise],
            Op::ReduceWith { combine, .. } => vec![*combine],
            _ => vec![],
        }
    }

    pub fn access(&self) -> Option<&crate::access::Access> {
        match self {
            Op::Load(a) | Op::Accumulate(a) | Op::Store { access: a, .. } => Some(a),
            _ => None,
        }
    }

    pub fn writes_memory(&self) -> bool {
        matches!(self, Op::Store { .. } | Op::Accumulate(_))
    }
}
