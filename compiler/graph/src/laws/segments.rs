//! Run a recurrence by segments: *an affine state is what the segments before make of it.*
//!
//! A loop whose state moves as `S' = a S + b`, with a and b independent of S, takes any state S through a whole segment
//! as `D S + E`: E is where the segment leads from 0, D the product of its a's. So segments run side by side, three times:
//!
//! ```text
//! S = for t in tiles(0..L, C) affine (S = S0) { store O[t] = f(S, x[t]); yield a[t] S + b[t] }
//!
//! ends     par p in parts   E, D = for t in segment p (S = 0, D = 1) { yield a[t] S + b[t], a[t] D }
//!                           W0[p] = E;  W1[p] = D
//! replay   par p in parts   S = for q in 0..p (S = S0) { W1[q] S + W0[q] }
//!                           for t in segment p (S = S) { store O[t] = f(S, x[t]); … }
//! last                      S = for q in 0..parts (S = S0) { W1[q] S + W0[q] }
//!                           what the kernel does after the loop
//! ```
//!
//! a has to be a factor for each element of the state (a gate per head or per channel), so that D is one too; where the
//! state is multiplied by a matrix (the delta rule), D would be a matrix: refused. a may be smaller than S (a scalar); D
//! then is as small, but for the axes along `par` spans, by which workspaces are kept.

use super::{Refused, cut::*, workspace::*};
use crate::{ir::*, op::*};
use tile_base::{Mode, Size};

/// Takes the kernel apart at an `affine` loop that stands directly in its instances.
pub fn segment_loop(graph: &Graph, node: NodeId) -> Result<Launches, Refused> {
    let Op::For(f) = graph.node(node).op.clone() else { return Err(Refused("is not a `for`".into())) };
    if !matches!(f.combine, LoopCombine::Affine { .. }) {
        return Err(Refused("has no `affine` claim".into()));
    }
    may_be_cut(graph, &f)?;
    let home = instance(graph, node)?;
    let [state] = &graph.node(node).outputs[..] else {
        return Err(Refused("carries more than its affine state".into()));
    };
    let mut summary = graph.clone();
    let factor = factor(&mut summary, &f)?;
    let decay = decay_type(graph, &factor.axes(&summary, &f)?, state);
    let stored = [state.clone(), decay.clone()]
        .into_iter()
        .map(|ty| stored(graph, ty))
        .collect::<Result<Vec<_>, _>>()?;
    let parts = unique(&graph.signature, &format!("{}_parts", f.name));
    let workspace = |(what, s): (&str, &Stored)| Workspace {
        name: unique(&graph.signature, &format!("{}_{what}", f.name)),
        dtype: s.ty.dtype,
        shape: [Size::name(&parts)].into_iter().chain(s.extents()).collect(),
    };
    let workspaces = ["end", "decay"].into_iter().zip(&stored).map(workspace).collect();
    let segments = Segments { f, node, home, stored, decay, parts, workspaces };
    let mut graphs = vec![segments.ends(summary, factor)?, segments.replay(graph)?];
    graphs.extend(segments.last(graph)?);
    graphs.iter().for_each(|g| crate::debug_verify(g, "segment_loop"));
    Ok(Launches { graphs, parts: Some(segments.parts), workspaces: segments.workspaces })
}

struct Segments {
    f: ForOp,
    node: NodeId,
    home: RegionId,
    /// Of the end and of the decay.
    stored: Vec<Stored>,
    decay: ValueType,
    parts: String,
    workspaces: Vec<Workspace>,
}

impl Segments {
    /// Where each segment leads from 0, and its decay.
    fn ends(&self, mut g: Graph, factor: Factor) -> Result<Graph, Refused> {
        g.name = format!("{}_{}_ends", g.name, identifier(&self.f.name));
        self.carry_decay(&mut g, factor);
        let body = g.region(self.f.body).nodes.clone();
        drop_effects(&mut g, &body, self.node)?;
        let nodes = g.region(self.home).nodes.clone();
        drop_effects(&mut g, &nodes, self.node)?;
        let (at, p, range, first) = self.cut(&mut g, Mode::InOut);
        let state = g.node(self.node).outputs[0].clone();
        let zero = splat(&mut g, at, Literal::Float(0.0), &state);
        let one = splat(&mut g, at, Literal::Float(1.0), &self.decay);
        g.set_inputs(self.node, &[range[0], range[1], zero, one]);
        let end = At { before: g.region(at.region).nodes.last().copied(), ..at };
        for (n, stored) in self.stored.iter().enumerate() {
            let value = Value { node: self.node, port: n as u32 };
            stored.store(&mut g, end, ObjectId::new(first.index() + n), p, value);
        }
        read_only_unless_written(&mut g);
        super::simplify(&mut g);
        Ok(g)
    }

    /// The kernel over each segment, from the state that enters it.
    fn replay(&self, graph: &Graph) -> Result<Graph, Refused> {
        let mut g = graph.clone();
        g.name = format!("{}_{}_replay", graph.name, identifier(&self.f.name));
        let before = drop_after(&mut g, self.home, self.node);
        drop_effects(&mut g, &before, self.node)?;
        let (at, p, range, first) = self.cut(&mut g, Mode::In);
        let start = g.inputs(self.node)[2];
        let entered = self.fold(&mut g, at, p, start, first);
        g.set_inputs(self.node, &[range[0], range[1], entered]);
        read_only_unless_written(&mut g);
        super::simplify(&mut g);
        Ok(g)
    }

    /// What the kernel does beside the loop, with the last state; nothing when that is nothing.
    fn last(&self, graph: &Graph) -> Result<Option<Graph>, Refused> {
        let mut g = graph.clone();
        let beside: Vec<NodeId> =
            g.region(self.home).nodes.iter().copied().filter(|&n| n != self.node).collect();
        if !beside.iter().any(|&n| has_effect(&g, n)) {
            return Ok(None);
        }
        let span = g.node(self.node).span;
        let (dim, first) = extend_by_parts(&mut g, &self.parts, &self.workspaces, Mode::In, span);
        let at = At { region: self.home, before: Some(self.node), span };
        let count = insert(&mut g, at, Op::Dim(dim), vec![ValueType::index()], &[])[0];
        let start = g.inputs(self.node)[2];
        let state = self.fold(&mut g, at, count, start, first);
        g.replace_uses(Value { node: self.node, port: 0 }, state);
        g.remove(self.node);
        read_only_unless_written(&mut g);
        super::simplify(&mut g);
        Ok(Some(g))
    }

    /// Makes the segments instances: where to go on, the segment, its range, and the first workspace.
    fn cut(&self, g: &mut Graph, mode: Mode) -> (At, Value, [Value; 2], ObjectId) {
        let span = g.node(self.node).span;
        let (dim, first) = extend_by_parts(g, &self.parts, &self.workspaces, mode, span);
        let (region, p) = side_by_side(g, self.home, &format!("{}.segment", self.f.name), dim, span);
        let at = At { region, before: Some(self.node), span };
        let inputs = g.inputs(self.node);
        let parts = insert(g, at, Op::Dim(dim), vec![ValueType::index()], &[])[0];
        let chunk = chunk(g, at, unit(&self.f, UNIT), &inputs, parts);
        let (lo, hi) = bounds(g, at, &inputs, p, chunk);
        (at, p, [lo, hi], first)
    }

    /// The state behind the first `count` segments.
    fn fold(&self, g: &mut Graph, at: At, count: Value, start: Value, first: ObjectId) -> Value {
        let name = format!("{}.combine", self.f.name);
        let folded = fold(g, at, &name, count, &[start], |g, inside, q, states| {
            let end = self.stored[0].load(g, inside, first, q);
            let decay = self.stored[1].load(g, inside, ObjectId::new(first.index() + 1), q);
            let ty = g.type_of(states[0]).clone();
            let kept = insert(g, inside, Op::Elem(ElemOp::Mul), vec![ty.clone()], &[states[0], decay])[0];
            insert(g, inside, Op::Elem(ElemOp::Add), vec![ty], &[kept, end])
        });
        folded[0]
    }

    /// The loop carries the decay beside its state.
    fn carry_decay(&self, g: &mut Graph, factor: Factor) {
        let body = self.f.body;
        let (args, last) = (g.region(body).nodes[0], g.region(body).nodes.last().copied());
        g.node_mut(args).outputs.push(self.decay.clone());
        let carried = Value { node: args, port: g.node(args).outputs.len() as u32 - 1 };
        let at = At { region: body, before: last, span: g.node(self.node).span };
        let next = match factor {
            Factor::One => carried,
            Factor::Zero => splat(g, at, Literal::Float(0.0), &self.decay),
            Factor::Value(a) => {
                insert(g, at, Op::Elem(ElemOp::Mul), vec![self.decay.clone()], &[carried, a])[0]
            }
        };
        if let Some(last) = last {
            let mut yields = g.inputs(last);
            yields.push(next);
            g.set_inputs(last, &yields);
        }
        g.node_mut(self.node).outputs.push(self.decay.clone());
        if let Op::For(f) = &mut g.node_mut(self.node).op {
            f.combine = LoopCombine::Ordered;
        }
        g.obligations.retain(|o| !(o.node == self.node && matches!(o.claim, Claim::Affine { .. })));
    }
}

/// What an expression multiplies the state by.
#[derive(Clone, Copy)]
enum Factor {
    /// It does not depend on the state.
    Zero,
    One,
    Value(Value),
}

impl Factor {
    /// The axes of the factor, which may not be those of the loop's own steps.
    fn axes(&self, g: &Graph, f: &ForOp) -> Result<Vec<Axis>, Refused> {
        let Factor::Value(a) = self else { return Ok(vec![]) };
        let axes = g.type_of(*a).axes.clone();
        let own = |axis: &Axis| {
            let Axis::Span { span, .. } = *axis else { return false };
            g.encloses(f.body, g.node(g.span(span).start.node).region)
        };
        match axes.iter().any(own) {
            true => Err(Refused("has a factor for each position of a step".into())),
            false => Ok(axes),
        }
    }
}

/// The factor of the state in the next state; nodes for it are added to the body.
fn factor(g: &mut Graph, f: &ForOp) -> Result<Factor, Refused> {
    let args = g.region_args(f.body);
    let state = args[f.iter.variables()];
    let next = g.yields(f.body)[usize::from(f.early_exit)];
    factor_of(g, f.body, state, next)
}

fn factor_of(g: &mut Graph, body: RegionId, state: Value, value: Value) -> Result<Factor, Refused> {
    if value == state {
        return Ok(Factor::One);
    }
    if !g.made_of(body, &[value]).contains(&state) {
        return Ok(Factor::Zero);
    }
    let node = value.node;
    let (op, inputs, span) = (g.node(node).op.clone(), g.inputs(node), g.node(node).span);
    let at = At { region: body, before: g.region(body).nodes.last().copied(), span };
    let matrix = || Refused("multiplies its state by more than a factor for each element".into());
    if g.node(node).region != body {
        return Err(matrix());
    }
    let of = |g: &mut Graph, n: usize| factor_of(g, body, state, inputs[n]);
    match op {
        Op::Elem(ElemOp::Add) => match (of(g, 0)?, of(g, 1)?) {
            (Factor::Zero, f) | (f, Factor::Zero) => Ok(f),
            _ => Err(matrix()),
        },
        Op::Elem(ElemOp::Sub) => match (of(g, 0)?, of(g, 1)?) {
            (f, Factor::Zero) => Ok(f),
            _ => Err(matrix()),
        },
        Op::Elem(ElemOp::Mul) => {
            let (inner, by) = match (of(g, 0)?, of(g, 1)?) {
                (f, Factor::Zero) => (f, inputs[1]),
                (Factor::Zero, f) => (f, inputs[0]),
                _ => return Err(matrix()),
            };
            match inner {
                Factor::One => Ok(Factor::Value(by)),
                Factor::Zero => Ok(Factor::Zero),
                Factor::Value(a) => {
                    let types = [g.type_of(a).clone(), g.type_of(by).clone()];
                    let ty = crate::typing::elementwise(ElemOp::Mul, &types).map_err(|_| matrix())?;
                    Ok(Factor::Value(insert(g, at, Op::Elem(ElemOp::Mul), vec![ty], &[a, by])[0]))
                }
            }
        }
        _ => Err(matrix()),
    }
}

/// The type of a decay: the factor's axes, and those of the state along `par` spans.
fn decay_type(graph: &Graph, factor: &[Axis], state: &ValueType) -> ValueType {
    let par_spans: Vec<SpanId> = graph
        .par_nest()
        .into_iter()
        .filter_map(|par| match &graph.node(par).op {
            Op::Par(ParOp { iter: Iter::Tiles { span, .. }, .. }) => Some(*span),
            _ => None,
        })
        .collect();
    let axes: Vec<Axis> = state
        .axes
        .iter()
        .enumerate()
        .map(|(at, &axis)| {
            let kept = matches!(axis, Axis::Span { span, .. } if par_spans.contains(&span));
            if kept { axis } else { factor.get(at).copied().unwrap_or(Axis::One) }
        })
        .collect();
    ValueType::tile(state.dtype, axes)
}
