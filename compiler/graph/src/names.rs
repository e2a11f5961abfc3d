//! How text forms and pictures call values, axes and types: in the user's names where there are any.
//!
//! Literals, dims and parameters stand inline (`0.0`, `HQ`, `scale`). Loop variables are `b`, or `i.start`, `i.end`,
//! `i.id`. Every other value is `%` and its node (`%17`, `%20.1` when the node has several outputs). Where a loop's
//! name occurs twice in a graph the later ones carry their node: `j#41`.

use crate::{ir::*, op::*};
use std::collections::{HashMap, HashSet};
use tile_base::DType;

pub struct Names<'a> {
    graph: &'a Graph,
    values: HashMap<Value, String>,
    spans: Vec<String>,
    loops: HashMap<NodeId, String>,
}

impl<'a> Names<'a> {
    pub fn new(graph: &'a Graph) -> Self {
        let mut names = Names {
            graph,
            values: HashMap::new(),
            spans: vec![String::new(); graph.spans.len()],
            loops: HashMap::new(),
        };
        let mut taken = HashSet::new();
        for node in graph.nodes_under(ROOT) {
            let mut fresh = |name: &str| match taken.insert(name.to_string()) {
                true => name.to_string(),
                false => format!("{name}#{}", node.0),
            };
            match &graph.node(node).op {
                Op::Par(p) => {
                    let name = fresh(&p.name);
                    names.loop_variables(p.iter, p.body, &name);
                    names.loops.insert(node, name);
                }
                Op::For(f) => {
                    let name = fresh(&f.name);
                    names.loop_variables(f.iter, f.body, &name);
                    if let Some(skip) = f.skip {
                        names.loop_variables(f.iter, skip, &name);
                    }
                    names.loops.insert(node, name);
                }
                Op::MakeSpan { span } => {
                    let name = fresh(&graph.span(*span).name);
                    names.span_fields(*span, &name, [Value { node, port: 0 }, Value { node, port: 1 }]);
                }
                _ => {}
            }
        }
        names
    }

    fn loop_variables(&mut self, iter: Iter, body: RegionId, name: &str) {
        let args = self.graph.region_args(body);
        match (iter, &args[..]) {
            (Iter::Each { .. }, [index, ..]) => {
                self.values.insert(*index, name.into());
            }
            (Iter::Tiles { span, .. }, [start, end, id, ..]) => {
                self.span_fields(span, name, [*start, *end]);
                self.values.insert(*id, format!("{name}.id"));
            }
            _ => {}
        }
    }

    fn span_fields(&mut self, span: SpanId, name: &str, [start, end]: [Value; 2]) {
        self.values.insert(start, format!("{name}.start"));
        self.values.insert(end, format!("{name}.end"));
        self.spans[span.index()] = name.into();
    }

    /// The name of a `for` or `par`, unique in the graph.
    pub fn of_loop(&self, node: NodeId) -> &str {
        self.loops.get(&node).map_or("?", String::as_str)
    }

    pub fn value(&self, value: Value) -> String {
        if let Some(name) = self.values.get(&value) {
            return name.clone();
        }
        let node = self.graph.node(value.node);
        match &node.op {
            Op::Const(literal) => literal_text(*literal, node.outputs[0].dtype),
            Op::Dim(d) => self.graph.signature.dims.get(*d as usize).cloned().unwrap_or(format!("dim{d}")),
            Op::Param(p) => {
                self.graph.signature.params.get(*p as usize).map_or(format!("param{p}"), |p| p.name().into())
            }
            _ if node.outputs.len() == 1 => format!("%{}", value.node.0),
            _ => format!("%{}.{}", value.node.0, value.port),
        }
    }

    pub fn span(&self, span: SpanId) -> String {
        match self.spans.get(span.index()) {
            Some(name) if !name.is_empty() => name.clone(),
            _ => span.to_string(),
        }
    }

    pub fn axis(&self, axis: Axis) -> String {
        match axis {
            Axis::One => "1".into(),
            Axis::Fixed(n) => n.to_string(),
            Axis::Span { span, times: 1 } => self.span(span),
            Axis::Span { span, times } => format!("{}*{times}", self.span(span)),
        }
    }

    /// `f32[i, 64]`; an index is `i64`.
    pub fn ty(&self, ty: &ValueType) -> String {
        match ty.is_scalar() {
            true => ty.dtype.to_string(),
            false => {
                let axes: Vec<String> = ty.axes.iter().map(|&a| self.axis(a)).collect();
                format!("{}[{}]", ty.dtype, axes.join(", "))
            }
        }
    }

    /// `tiles(0..M, BM).rev()`
    pub fn range(&self, iter: Iter, inputs: &[Value]) -> String {
        let range = format!("{}..{}", self.value(inputs[0]), self.value(inputs[1]));
        let (text, reverse) = match iter {
            Iter::Each { reverse } => (range, reverse),
            Iter::Tiles { step, reverse, .. } => (format!("tiles({range}, {})", self.step(step)), reverse),
        };
        if reverse { text + ".rev()" } else { text }
    }

    pub fn step(&self, step: StepSize) -> String {
        match step {
            StepSize::Tile(tile) => self.graph.tile(tile).name.clone(),
            StepSize::Fixed(n) => n.to_string(),
        }
    }
}

/// f32, i64 and bool literals stand alone, others say their dtype.
fn literal_text(literal: Literal, dtype: DType) -> String {
    let text = match literal {
        Literal::Float(v) => format!("{v:?}"),
        Literal::Int(v) => v.to_string(),
        Literal::Bool(v) => v.to_string(),
    };
    match (literal, dtype) {
        (Literal::Float(_), DType::F32) | (Literal::Int(_), DType::I64) | (Literal::Bool(_), _) => text,
        _ => format!("{text}:{dtype}"),
    }
}
