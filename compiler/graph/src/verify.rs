//! The invariants of a graph. What fails here is a fault of the compiler, never of the user: codes T0901 to T0911.
//!
//! 1. Every node is listed once, in the region it names. The root has no `RegionArgs` and no `Yield`; every other
//!    region begins with the one and ends with the other, and has them nowhere else. (T0901)
//! 2. Every region but the root is owned by one node, whose operation names it and fits its kind; a region that is
//!    no longer owned is empty. (T0902)
//! 3. The input ports of a node are `0..n`, each fed once, from output ports that exist. (T0903)
//! 4. A value is defined before it is used: earlier in the same region, or earlier than the owner of the using region
//!    in a region around it. (T0904)
//! 5. Output types are what [`crate::typing::infer`] says: elementwise axes agree, accesses match their object,
//!    carried values, region arguments and yields match. (T0905)
//! 6. An axis names a span only where the span is in scope: in the body of the loop over it, or after its
//!    `MakeSpan`. A span's start and end are the values its definer gives. (T0906)
//! 7. Effect edges link two accesses to one object and follow program order, so they have no cycle. (T0907)
//! 8. Memory modes: loads of `in` and `inout`, stores to `out` and `inout`, accumulation into `sum`. (T0908)
//! 9. `par` stands in the root or in the body of a `par`, one at most in each. (T0909)
//! 10. Extents have one spelling: no `Fixed(0)`, `Fixed(1)` or `times` of 0. (T0910)
//! 11. Objects, dims, tile sizes and obligations refer to what exists. (T0911)

use crate::{ir::*, op::*, typing::infer};
use petgraph::{Direction, stable_graph::NodeIndex, visit::EdgeRef};
use std::collections::HashMap;
use tile_base::{Diagnostic, Mode, signature::ParamKind};

/// Checks every invariant; all that fail.
pub fn verify(graph: &Graph) -> Result<(), Vec<Diagnostic>> {
    let mut v = Verifier { graph, order: HashMap::new(), found: vec![] };
    v.regions();
    // Later rules walk regions and ports; they need the first ones.
    if v.found.is_empty() {
        v.ports();
    }
    if v.found.is_empty() {
        v.order = graph.nodes_under(ROOT).into_iter().enumerate().map(|(at, n)| (n, at)).collect();
        v.references();
        v.each_node();
        v.effects();
        v.pars();
    }
    if v.found.is_empty() { Ok(()) } else { Err(v.found) }
}

struct Verifier<'a> {
    graph: &'a Graph,
    /// Position in program order.
    order: HashMap<NodeId, usize>,
    found: Vec<Diagnostic>,
}

impl Verifier<'_> {
    fn fault(&mut self, code: &'static str, node: Option<NodeId>, text: String) {
        let name = &self.graph.name;
        self.found.push(match node.filter(|&n| self.graph.contains(n)) {
            Some(n) => {
                let node = self.graph.node(n);
                let message = format!("graph `{name}`, {n} ({}): {text}", node.op.name());
                Diagnostic::error(code, node.span, message)
            }
            None => Diagnostic::global(code, format!("graph `{name}`: {text}")),
        });
    }

    /// Invariants 1 and 2.
    fn regions(&mut self) {
        let g = self.graph;
        let mut listed: HashMap<NodeId, usize> = HashMap::new();
        for (at, region) in g.regions.iter().enumerate() {
            let id = RegionId::new(at);
            for &node in &region.nodes {
                *listed.entry(node).or_default() += 1;
                if !g.contains(node) {
                    self.fault("T0901", None, format!("region {id} lists {node}, which is gone"));
                } else if g.node(node).region != id {
                    self.fault(
                        "T0901",
                        Some(node),
                        format!("is listed in {id}, names {}", g.node(node).region),
                    );
                }
            }
            self.frame(id, region);
            self.ownership(id, region);
        }
        for node in g.node_ids() {
            let times = listed.get(&node).copied().unwrap_or(0);
            if times != 1 {
                self.fault("T0901", Some(node), format!("is listed {times} times"));
            }
        }
    }

    fn frame(&mut self, id: RegionId, region: &Region) {
        let g = self.graph;
        let is = |n: NodeId, args: bool| {
            g.contains(n) && matches!((&g.node(n).op, args), (Op::RegionArgs, true) | (Op::Yield, false))
        };
        let (args, yields) = (
            region.nodes.iter().filter(|&&n| is(n, true)).count(),
            region.nodes.iter().filter(|&&n| is(n, false)).count(),
        );
        let framed = match region.nodes[..] {
            _ if id == ROOT => args == 0 && yields == 0,
            [] => region.owner.is_none(),
            [first, .., last] => is(first, true) && is(last, false) && args == 1 && yields == 1,
            _ => false,
        };
        if !framed {
            self.fault("T0901", region.owner, format!("region {id} is not args, nodes, yield"));
        }
    }

    fn ownership(&mut self, id: RegionId, region: &Region) {
        let g = self.graph;
        let Some(owner) = region.owner else {
            if id != ROOT && !region.nodes.is_empty() {
                self.fault("T0902", None, format!("region {id} has no owner"));
            }
            return;
        };
        if !g.contains(owner) || !g.node(owner).op.regions().contains(&id) {
            self.fault("T0902", Some(owner), format!("does not own region {id}"));
            return;
        }
        let fits = match (&g.node(owner).op, region.kind) {
            (Op::Par(_), RegionKind::Par) => true,
            (Op::For(f), kind) => match kind {
                RegionKind::Loop => f.body == id,
                RegionKind::Skip => f.skip == Some(id),
                RegionKind::Combine => {
                    matches!(f.combine, LoopCombine::Merge { combine, .. } if combine == id)
                }
                _ => false,
            },
            (Op::While { condition, .. }, RegionKind::Condition) => *condition == id,
            (Op::While { body, .. }, RegionKind::Loop) => *body == id,
            (Op::If { then, .. }, RegionKind::Then) => *then == id,
            (Op::If { otherwise, .. }, RegionKind::Else) => *otherwise == id,
            (Op::ReduceWith { .. }, RegionKind::Combine) => true,
            _ => false,
        };
        if !fits {
            self.fault("T0902", Some(owner), format!("owns region {id} of kind {:?}", region.kind));
        }
        let mut seen = vec![id];
        let mut up = g.node(owner).region;
        while let Some(next) = g.parent(up) {
            if seen.contains(&up) {
                self.fault("T0902", Some(owner), format!("stands inside region {id}, which it owns"));
                return;
            }
            seen.push(up);
            up = next;
        }
    }

    /// Invariant 3.
    fn ports(&mut self) {
        let g = self.graph;
        for node in g.node_ids() {
            let mut fed = vec![];
            for edge in g.nodes.edges_directed(NodeIndex::new(node.index()), Direction::Incoming) {
                if let Edge::Value { from, to } = *edge.weight() {
                    fed.push(to);
                    let source = NodeId::new(edge.source().index());
                    if from as usize >= g.node(source).outputs.len() {
                        self.fault(
                            "T0903",
                            Some(node),
                            format!("port {to} is fed by {source}.{from}, which is none"),
                        );
                    }
                }
            }
            fed.sort_unstable();
            if fed.iter().enumerate().any(|(at, &p)| at as u32 != p) {
                self.fault("T0903", Some(node), format!("has input ports {fed:?}"));
            }
        }
    }

    /// Invariants 4, 5, 6, 8 and 10.
    fn each_node(&mut self) {
        let g = self.graph;
        for node in g.nodes_under(ROOT) {
            let inputs = g.inputs(node);
            for &value in &inputs {
                if !self.dominates(value.node, node) {
                    self.fault(
                        "T0904",
                        Some(node),
                        format!("uses {}.{} before it is defined", value.node, value.port),
                    );
                }
            }
            let n = g.node(node);
            let types: Vec<ValueType> = inputs.iter().map(|&v| g.type_of(v).clone()).collect();
            match infer(g, &n.op, &types, &n.outputs) {
                Err(text) => self.fault("T0905", Some(node), text),
                Ok(wanted) if wanted != n.outputs => {
                    self.fault("T0905", Some(node), format!("gives {:?}, must give {wanted:?}", n.outputs));
                }
                Ok(_) => {}
            }
            for axis in n.outputs.iter().flat_map(|t| &t.axes) {
                self.axis(node, *axis);
            }
            self.mode(node);
        }
    }

    fn dominates(&self, def: NodeId, user: NodeId) -> bool {
        let g = self.graph;
        let home = g.node(def).region;
        let mut at = user;
        while g.node(at).region != home {
            match g.region(g.node(at).region).owner {
                Some(owner) => at = owner,
                None => return false,
            }
        }
        self.order.get(&def) < self.order.get(&at)
    }

    fn axis(&mut self, node: NodeId, axis: Axis) {
        let g = self.graph;
        match axis {
            Axis::Fixed(0 | 1) | Axis::Span { times: 0, .. } => {
                self.fault("T0910", Some(node), format!("has an axis {axis:?}"));
            }
            Axis::Span { span, .. } => {
                let in_scope = g.spans.get(span.index()).is_some_and(|s| {
                    g.contains(s.start.node) && (s.start.node == node || self.dominates(s.start.node, node))
                });
                if !in_scope {
                    self.fault(
                        "T0906",
                        Some(node),
                        format!("has an axis along {span}, which is not in scope"),
                    );
                }
            }
            Axis::One | Axis::Fixed(_) => {}
        }
    }

    fn mode(&mut self, node: NodeId) {
        let g = self.graph;
        let n = g.node(node);
        let Some(access) = n.op.access() else { return };
        let mode = g.object(access.object).mode;
        let fits = match n.op {
            Op::Load(_) => mode.reads(),
            Op::Accumulate(_) => mode == Mode::Sum,
            _ => matches!(mode, Mode::Out | Mode::InOut),
        };
        if !fits {
            let name = &g.object(access.object).name;
            self.fault("T0908", Some(node), format!("is not for `{name}`, which is `{}`", mode.name()));
        }
    }

    /// Invariant 7.
    fn effects(&mut self) {
        let g = self.graph;
        for node in g.node_ids() {
            for (source, object) in g.effects_before(node) {
                let touches = |n: NodeId| g.node(n).op.access().is_some_and(|a| a.object == object);
                if !touches(source) || !touches(node) {
                    self.fault(
                        "T0907",
                        Some(node),
                        format!("an effect on {object} links nodes that do not access it"),
                    );
                }
                if self.order.get(&source) >= self.order.get(&node) {
                    self.fault(
                        "T0907",
                        Some(node),
                        format!("an effect on {object} comes from the later {source}"),
                    );
                }
            }
        }
    }

    /// Invariant 9.
    fn pars(&mut self) {
        let g = self.graph;
        for (at, region) in g.regions.iter().enumerate() {
            let pars: Vec<NodeId> =
                region.nodes.iter().copied().filter(|&n| matches!(g.node(n).op, Op::Par(_))).collect();
            let allowed = matches!(region.kind, RegionKind::Root | RegionKind::Par);
            if pars.len() > usize::from(allowed) {
                self.fault("T0909", pars.last().copied(), format!("is one `par` too many in r{at}"));
            }
        }
    }

    /// Invariants 11 and the definers of spans (6).
    fn references(&mut self) {
        let g = self.graph;
        for object in &g.objects {
            let fits = match g.signature.params.get(object.param) {
                Some(ParamKind::Tensor(t)) => t.dtype == object.dtype && t.shape.len() == object.shape.len(),
                _ => false,
            };
            if !fits {
                self.fault("T0911", None, format!("object `{}` is not its parameter", object.name));
            }
        }
        for o in &g.obligations {
            if !g.contains(o.node) {
                self.fault(
                    "T0911",
                    None,
                    format!("an obligation ({}) is of {}, which is gone", o.reason, o.node),
                );
            }
        }
        for node in g.nodes_under(ROOT) {
            match &g.node(node).op {
                Op::Dim(d) if *d as usize >= g.signature.dims.len() => {
                    self.fault("T0911", Some(node), format!("there is no dim {d}"));
                }
                Op::Par(ParOp { iter, body, .. }) | Op::For(ForOp { iter, body, .. }) => {
                    if let Iter::Tiles { step, span, .. } = *iter {
                        let args = g.region_args(*body);
                        self.definer(node, span, Some(step), args.first().copied(), args.get(1).copied());
                    }
                }
                Op::MakeSpan { span } => {
                    let port = |port| Some(Value { node, port });
                    self.definer(node, *span, None, port(0), port(1));
                }
                _ => {}
            }
        }
    }

    fn definer(
        &mut self,
        node: NodeId,
        span: SpanId,
        step: Option<StepSize>,
        start: Option<Value>,
        end: Option<Value>,
    ) {
        let g = self.graph;
        let Some(def) = g.spans.get(span.index()) else {
            return self.fault("T0911", Some(node), format!("there is no span {span}"));
        };
        if Some(def.start) != start || Some(def.end) != end || step.is_some_and(|s| s != def.step) {
            self.fault("T0906", Some(node), format!("defines {span} otherwise than the span says"));
        }
        if let StepSize::Tile(t) = def.step
            && t.index() >= g.tiles.len()
        {
            self.fault("T0911", Some(node), format!("there is no tile size {t}"));
        }
    }
}

/// Panics with the diagnostics when a graph made by the compiler breaks an invariant; for debug builds and tests.
pub fn debug_verify(graph: &Graph, after: &str) {
    if cfg!(debug_assertions)
        && let Err(faults) = verify(graph)
    {
        let text: Vec<&str> = faults.iter().map(|d| d.message.as_str()).collect();
        panic!("after {after}:\n{}", text.join("\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use tile_base::DType;

    fn codes(graph: &Graph) -> Vec<&'static str> {
        verify(graph).expect_err("a broken graph").into_iter().map(|d| d.code).collect()
    }

    fn find(graph: &Graph, is: impl Fn(&Op) -> bool) -> NodeId {
        graph.node_ids().find(|&n| is(&graph.node(n).op)).expect("the sample has such a node")
    }

    #[test]
    fn samples_hold() {
        for dtype in [DType::F32, DType::F16, DType::Bf16] {
            for graph in [
                samples::add(dtype),
                samples::matmul(dtype),
                samples::softmax(dtype, 100),
                samples::flash(dtype, 64, true),
                samples::flash(dtype, 1, false),
            ] {
                if let Err(faults) = verify(&graph) {
                    panic!("{}: {faults:#?}", graph.name);
                }
            }
        }
    }

    #[test]
    fn each_broken_invariant_is_named() {
        let whole = samples::matmul(DType::F16);
        let dot = find(&whole, |o| matches!(o, Op::Dot(_)));
        let store = find(&whole, |o| matches!(o, Op::Store { .. }));
        let body = whole.node(dot).region;

        let mut g = whole.clone();
        g.regions[body.index()].nodes.retain(|&n| n != dot);
        assert_eq!(codes(&g), ["T0901"]);

        let mut g = whole.clone();
        g.regions[body.index()].kind = RegionKind::Then;
        assert_eq!(codes(&g), ["T0902"]);

        let mut g = whole.clone();
        g.nodes.add_edge(
            NodeIndex::new(dot.index()),
            NodeIndex::new(store.index()),
            Edge::Value { from: 0, to: 9 },
        );
        assert_eq!(codes(&g), ["T0903"]);

        let mut g = whole.clone();
        let at = g.region(body).nodes.iter().position(|&n| n == dot).expect("listed");
        g.regions[body.index()].nodes.swap(at, at - 1);
        assert_eq!(codes(&g), ["T0904"]);

        let mut g = whole.clone();
        g.node_mut(dot).outputs[0].dtype = DType::F16;
        assert!(codes(&g).contains(&"T0905"));

        let mut g = whole.clone();
        g.objects[2].mode = Mode::In;
        assert_eq!(codes(&g), ["T0908"]);

        let mut g = whole.clone();
        g.objects[2].param = 7;
        assert_eq!(codes(&g), ["T0911"]);
    }

    #[test]
    fn a_loops_span_may_not_leave_it() {
        let mut g = samples::matmul(DType::F16);
        let k = SpanId::new(g.spans.iter().position(|s| s.name == "s").expect("the stream's span"));
        let start = find(&g, |o| matches!(o, Op::Broadcast));
        g.node_mut(start).outputs[0].axes[0] = Axis::span(k);
        assert!(codes(&g).contains(&"T0906"));
    }
}
