//! Changing a graph: the few moves that every law is made of. Each keeps node lists and edges in step; none checks
//! more than that, the verifier does.

use crate::{ir::*, op::*};
use petgraph::{Direction, stable_graph::NodeIndex, visit::EdgeRef};
use std::collections::HashMap;
use tile_base::Span;

impl Graph {
    /// Adds a node to a region before `before`, or at the end.
    pub fn insert(
        &mut self,
        region: RegionId,
        before: Option<NodeId>,
        node: NewNode,
        inputs: &[Value],
    ) -> NodeId {
        let NewNode { op, outputs, path, span } = node;
        let owned = op.regions();
        let at = self.nodes.add_node(Node { op, outputs, region, path, span });
        let id = NodeId::new(at.index());
        for child in owned {
            self.regions[child.index()].owner = Some(id);
        }
        let list = &mut self.regions[region.index()].nodes;
        let position = before.and_then(|b| list.iter().position(|&n| n == b)).unwrap_or(list.len());
        list.insert(position, id);
        self.connect(id, inputs);
        id
    }

    /// A new region without owner or nodes.
    pub fn add_region(&mut self, kind: RegionKind) -> RegionId {
        self.regions.push(Region { kind, owner: None, nodes: vec![] });
        RegionId::new(self.regions.len() - 1)
    }

    fn connect(&mut self, node: NodeId, inputs: &[Value]) {
        for (to, v) in inputs.iter().enumerate() {
            let edge = Edge::Value { from: v.port, to: to as u32 };
            self.nodes.add_edge(NodeIndex::new(v.node.index()), NodeIndex::new(node.index()), edge);
        }
    }

    /// Replaces all inputs of a node.
    pub fn set_inputs(&mut self, node: NodeId, inputs: &[Value]) {
        let old: Vec<_> = self
            .nodes
            .edges_directed(NodeIndex::new(node.index()), Direction::Incoming)
            .filter(|e| matches!(e.weight(), Edge::Value { .. }))
            .map(|e| e.id())
            .collect();
        for edge in old {
            self.nodes.remove_edge(edge);
        }
        self.connect(node, inputs);
    }

    /// Every use of `old` becomes a use of `new`, also as a span's start or end.
    pub fn replace_uses(&mut self, old: Value, new: Value) {
        for (user, port) in self.uses(old) {
            let mut inputs = self.inputs(user);
            inputs[port as usize] = new;
            self.set_inputs(user, &inputs);
        }
        for span in &mut self.spans {
            for field in [&mut span.start, &mut span.end] {
                if *field == old {
                    *field = new;
                }
            }
        }
    }

    /// Removes a node with all it owns. Effects that went through it go past it; its obligations go.
    pub fn remove(&mut self, node: NodeId) {
        for region in self.node(node).op.regions() {
            for inner in self.region(region).nodes.clone().into_iter().rev() {
                self.remove(inner);
            }
            self.regions[region.index()].owner = None;
        }
        let after: Vec<(NodeId, ObjectId)> = self
            .nodes
            .edges_directed(NodeIndex::new(node.index()), Direction::Outgoing)
            .filter_map(|e| match *e.weight() {
                Edge::Effect { object } => Some((NodeId::new(e.target().index()), object)),
                Edge::Value { .. } => None,
            })
            .collect();
        for (source, object) in self.effects_before(node) {
            for &(target, other) in &after {
                if other == object {
                    self.order_after(source, target, object);
                }
            }
        }
        let region = self.node(node).region;
        self.regions[region.index()].nodes.retain(|&n| n != node);
        self.obligations.retain(|o| o.node != node);
        self.nodes.remove_node(NodeIndex::new(node.index()));
    }

    /// `second`'s access to the object comes after `first`'s.
    pub fn order_after(&mut self, first: NodeId, second: NodeId, object: ObjectId) {
        let ends = (NodeIndex::new(first.index()), NodeIndex::new(second.index()));
        if !self.effects_before(second).contains(&(first, object)) {
            self.nodes.add_edge(ends.0, ends.1, Edge::Effect { object });
        }
    }

    /// Moves a node (with what it owns) to another region before `before`, or to its end.
    pub fn relocate(&mut self, node: NodeId, region: RegionId, before: Option<NodeId>) {
        let old = self.node(node).region;
        self.regions[old.index()].nodes.retain(|&n| n != node);
        let list = &mut self.regions[region.index()].nodes;
        let position = before.and_then(|b| list.iter().position(|&n| n == b)).unwrap_or(list.len());
        list.insert(position, node);
        self.node_mut(node).region = region;
    }

    /// A copy of a node, with all it owns, in `region` before `before`. `map` says what stands for values from
    /// outside and learns the values of the copy; spans that the copied loops define are new ones.
    pub fn copy_node(
        &mut self,
        node: NodeId,
        region: RegionId,
        before: Option<NodeId>,
        map: &mut CopyMap,
    ) -> NodeId {
        let original = self.node(node).clone();
        let mut op = original.op;
        let spans_before = self.spans.len();
        self.copy_owned(&mut op, map);
        let outputs = original.outputs.iter().map(|t| map.ty(t)).collect();
        let inputs: Vec<Value> = self.inputs(node).into_iter().map(|v| map.value(v)).collect();
        let new = NewNode { op, outputs, path: original.path, span: original.span };
        let id = self.insert(region, before, new, &inputs);
        for port in 0..original.outputs.len() as u32 {
            map.values.insert(Value { node, port }, Value { node: id, port });
        }
        for at in spans_before..self.spans.len() {
            let (start, end) = (map.value(self.spans[at].start), map.value(self.spans[at].end));
            (self.spans[at].start, self.spans[at].end) = (start, end);
        }
        for (source, object) in self.effects_before(node) {
            let source = map.nodes.get(&source).copied().unwrap_or(source);
            self.order_after(source, id, object);
        }
        map.nodes.insert(node, id);
        let copied: Vec<Obligation> = self.obligations.iter().filter(|o| o.node == node).cloned().collect();
        self.obligations.extend(copied.into_iter().map(|o| Obligation { node: id, ..o }));
        id
    }

    /// The nodes of a region copied to the end of another one, without its `RegionArgs` and `Yield` (whose places
    /// `map` and the caller take); the values yielded.
    pub fn copy_body(
        &mut self,
        from: RegionId,
        to: RegionId,
        before: Option<NodeId>,
        map: &mut CopyMap,
    ) -> Vec<Value> {
        for node in self.region(from).nodes.clone() {
            if !matches!(self.node(node).op, Op::RegionArgs | Op::Yield) {
                self.copy_node(node, to, before, map);
            }
        }
        self.yields(from).into_iter().map(|v| map.value(v)).collect()
    }

    fn copy_owned(&mut self, op: &mut Op, map: &mut CopyMap) {
        if let Op::MakeSpan { span } = op {
            *span = self.copy_span(*span, map);
        }
        if let Op::For(ForOp { iter: Iter::Tiles { span, .. }, .. })
        | Op::Par(ParOp { iter: Iter::Tiles { span, .. }, .. }) = op
        {
            *span = self.copy_span(*span, map);
        }
        op.for_each_region(&mut |region| {
            let copy = self.add_region(self.region(*region).kind);
            for node in self.region(*region).nodes.clone() {
                self.copy_node(node, copy, None, map);
            }
            *region = copy;
        });
    }

    fn copy_span(&mut self, span: SpanId, map: &mut CopyMap) -> SpanId {
        let def = self.span(span).clone();
        self.spans.push(def);
        let new = SpanId::new(self.spans.len() - 1);
        map.spans.insert(span, new);
        new
    }
}

/// A node to be inserted.
pub struct NewNode {
    pub op: Op,
    pub outputs: Vec<ValueType>,
    pub path: Option<String>,
    pub span: Span,
}

/// What stands for what in a copy.
#[derive(Default)]
pub struct CopyMap {
    pub values: HashMap<Value, Value>,
    pub spans: HashMap<SpanId, SpanId>,
    pub nodes: HashMap<NodeId, NodeId>,
}

impl CopyMap {
    pub fn value(&self, v: Value) -> Value {
        self.values.get(&v).copied().unwrap_or(v)
    }

    pub fn ty(&self, t: &ValueType) -> ValueType {
        let axes = t.axes.iter().map(|&a| match a {
            Axis::Span { span, times } => {
                Axis::Span { span: self.spans.get(&span).copied().unwrap_or(span), times }
            }
            other => other,
        });
        ValueType { dtype: t.dtype, axes: axes.collect() }
    }
}

impl Op {
    /// Visits the regions the operation owns, to rename them.
    pub fn for_each_region(&mut self, f: &mut impl FnMut(&mut RegionId)) {
        match self {
            Op::Par(p) => f(&mut p.body),
            Op::For(l) => {
                f(&mut l.body);
                if let Some(skip) = &mut l.skip {
                    f(skip);
                }
                if let LoopCombine::Merge { combine, .. } = &mut l.combine {
                    f(combine);
                }
            }
            Op::While { condition, body } => {
                f(condition);
                f(body);
            }
            Op::If { then, otherwise } => {
                f(then);
                f(otherwise);
            }
            Op::ReduceWith { combine, .. } => f(combine),
            _ => {}
        }
    }
}
