//! What an affine body multiplies its state by: *the body with everything dropped that the state is no part of.*
//!
//! A body that moves a state as `S' = A S + b` seldom has A or b anywhere. But of a value f(S) that is affine in S, the
//! *linear part* f(S) - f(0) can be computed node by node: a sum keeps the operands that have one, a product is the linear
//! part times the factor, a matrix product likewise, and what is not made of S has none:
//!
//! ```text
//! u  = v - k @ S                     linear part   -(k @ S)
//! S' = a * S + k.t @ u                             a * S + k.t @ -(k @ S)   =   A S   with A = a - k.t k
//! ```
//!
//! From there to A are two ways, by what the body does to S on the way ([`transition`]):
//!
//! * only multiplies and casts it element by element: A is a factor for each element, and the linear part of a tile of
//!   ones is that factor, for the axes along which it differs ([`Transition::Factor`]);
//! * mixes its rows by matrix products and sums, every column for itself and alike: A is a matrix, and the linear part of
//!   the identity's columns are A's columns ([`Transition::Matrix`]). Nothing else has to be known of the body.

use super::{Refused, cut::*};
use crate::{ir::*, op::*, typing};
use std::collections::{BTreeSet, HashMap};
use tile_base::DType;

/// How a loop moves its state from one step to the next.
pub(super) enum Transition {
    /// By a factor for each element, of this type.
    Factor(ValueType),
    Matrix(Columns),
}

/// Where the columns of a state lie that a matrix is multiplied with.
#[derive(Clone, Copy)]
pub(super) struct Columns {
    /// The `par` axis that they are cut by, and its span.
    pub par: NodeId,
    pub span: SpanId,
    /// Their axis in the state; the other one of two are the rows.
    pub axis: usize,
    /// How many rows the state has.
    pub rows: u64,
}

/// How the loop's only carried value moves, if that can be computed for many steps at once.
pub(super) fn transition(graph: &Graph, f: &ForOp, state: &ValueType) -> Result<Transition, Refused> {
    let by_element =
        path(graph, f).iter().all(|&n| matches!(graph.node(n).op, Op::Elem(_) | Op::Cast | Op::Broadcast));
    if !by_element {
        return columns(graph, f, state).map(Transition::Matrix);
    }
    let mut trial = graph.clone();
    let one = ValueType::tile(state.dtype, vec![Axis::One; state.axes.len()]);
    let start = splat(&mut trial, before_yield(graph, f), Literal::Float(1.0), &one);
    let factor = linear_part(&mut trial, f, start)?;
    Ok(Transition::Factor(factor.map_or(one, |v| trial.type_of(v).clone())))
}

/// The nodes of the body between the state and the next one: those that are made of the one and needed for the other.
fn path(graph: &Graph, f: &ForOp) -> Vec<NodeId> {
    let (state, next) = ends(graph, f);
    let needed: BTreeSet<NodeId> =
        graph.made_of(f.body, &next.into_iter().collect::<Vec<_>>()).into_iter().map(|v| v.node).collect();
    let mut made: BTreeSet<Value> = state.into_iter().collect();
    let mut found = vec![];
    for &node in &graph.region(f.body).nodes {
        let framed = matches!(graph.node(node).op, Op::RegionArgs | Op::Yield);
        if !framed && needed.contains(&node) && graph.all_inputs(node).iter().any(|v| made.contains(v)) {
            made.extend(graph.outputs(node));
            found.push(node);
        }
    }
    found
}

/// The state as the body has it, and the next one.
fn ends(graph: &Graph, f: &ForOp) -> (Option<Value>, Option<Value>) {
    let state = graph.region_args(f.body).get(f.iter.variables()).copied();
    (state, graph.yields(f.body).get(usize::from(f.early_exit)).copied())
}

pub(super) fn before_yield(graph: &Graph, f: &ForOp) -> At {
    let last = graph.region(f.body).nodes.last().copied();
    At { region: f.body, before: last, span: last.map(|n| graph.node(n).span).unwrap_or_default() }
}

// ---------------------------------------------------------------- linear part

/// The linear part of the next state, of `start` in the state's place; nodes for it are added to the body. `None` where
/// the next state is not made of the state.
///
/// `start` may be smaller than the state (a 1 for an axis) while the body works element by element; the result is then as
/// small as the factors allow.
pub(super) fn linear_part(g: &mut Graph, f: &ForOp, start: Value) -> Result<Option<Value>, Refused> {
    let (Some(state), Some(next)) = ends(g, f) else { return Ok(None) };
    let whole = g.type_of(start) == g.type_of(state);
    let mut parts: HashMap<Value, Value> = [(state, start)].into();
    for node in path(g, f) {
        let at = At { span: g.node(node).span, ..before_yield(g, f) };
        let inputs = g.inputs(node);
        let given: Vec<Option<Value>> = inputs.iter().map(|v| parts.get(v).copied()).collect();
        let mut part = linear_node(g, at, node, &inputs, &given)?;
        let ty = g.node(node).outputs[0].clone();
        if whole && *g.type_of(part) != ty {
            part = insert(g, at, Op::Broadcast, vec![ty], &[part])[0];
        }
        parts.insert(Value { node, port: 0 }, part);
    }
    Ok(parts.get(&next).copied())
}

/// The linear part of one node's output, from those of its inputs (of which at least one has one).
fn linear_node(
    g: &mut Graph,
    at: At,
    node: NodeId,
    inputs: &[Value],
    given: &[Option<Value>],
) -> Result<Value, Refused> {
    let (op, outputs) = (g.node(node).op.clone(), g.node(node).outputs.clone());
    let refused = || Refused(format!("does more to its state than multiply and add (`{}`)", op.name()));
    let with = |g: &mut Graph, op: &Op, operands: &[Value]| {
        let types: Vec<ValueType> = operands.iter().map(|&v| g.type_of(v).clone()).collect();
        let ty = typing::infer(g, op, &types, &outputs).map_err(|_| refused())?;
        insert(g, at, op.clone(), ty, operands).first().copied().ok_or_else(refused)
    };
    let replaced: Vec<Value> = inputs.iter().zip(given).map(|(&v, part)| part.unwrap_or(v)).collect();
    match (&op, given) {
        (Op::Elem(ElemOp::Add), &[Some(part), None] | &[None, Some(part)])
        | (Op::Elem(ElemOp::Sub), &[Some(part), None]) => Ok(part),
        (Op::Elem(ElemOp::Sub), &[None, Some(part)]) => with(g, &Op::Elem(ElemOp::Neg), &[part]),
        // A smaller start stays as small.
        (Op::Broadcast, &[Some(part)]) if g.type_of(part) != g.type_of(inputs[0]) => Ok(part),
        (Op::Cast, _) if !outputs[0].dtype.is_float() => Err(refused()),
        (
            Op::Elem(ElemOp::Add | ElemOp::Sub | ElemOp::Neg)
            | Op::Cast
            | Op::Broadcast
            | Op::Reshape { .. }
            | Op::Permute { .. }
            | Op::Merge { .. }
            | Op::Split { .. }
            | Op::Slice { .. }
            | Op::Reduce { kind: ReduceKind::Sum, .. }
            | Op::Scan { kind: ReduceKind::Sum, .. },
            _,
        )
        | (Op::Elem(ElemOp::Mul) | Op::Dot(_), [_, None] | [None, _])
        | (Op::Elem(ElemOp::Div) | Op::Take { .. }, [_, None]) => with(g, &op, &replaced),
        (Op::Elem(ElemOp::Select), [None, ..]) | (Op::Concat { .. }, _) => {
            let condition = usize::from(matches!(op, Op::Elem(_)));
            let mut operands = replaced;
            for n in condition..operands.len() {
                if given[n].is_none() {
                    let ty = g.type_of(operands[n]).clone();
                    operands[n] = splat(g, at, Literal::Float(0.0), &ty);
                }
            }
            with(g, &op, &operands)
        }
        _ => Err(refused()),
    }
}

// ---------------------------------------------------------------- columns

/// The columns of a state that a body treats alike.
fn columns(graph: &Graph, f: &ForOp, state: &ValueType) -> Result<Columns, Refused> {
    let shape =
        || Refused("mixes rows of a state that is not rows by columns, cut along a `par` axis".into());
    let (axis, par, span) = par_spans(graph)
        .into_iter()
        .find_map(|(par, span)| Some((column(state, span)?, par, span)))
        .ok_or_else(shape)?;
    let rows = match state.axes[..] {
        [Axis::Fixed(rows), _] | [_, Axis::Fixed(rows)] if state.axes.len() == 2 => rows,
        _ => return Err(shape()),
    };
    if state.dtype.accumulator() != Some(state.dtype) {
        return Err(Refused(format!("keeps a state of {}, which products do not add up in", state.dtype)));
    }
    for node in path(graph, f) {
        let inputs = graph.inputs(node);
        let along = |n: u32| inputs.iter().any(|&v| column(graph.type_of(v), span) == Some(n as usize));
        let moved = match graph.node(node).op {
            Op::Scan { axis, .. } | Op::Take { axis } => along(axis),
            _ => false,
        };
        if moved || graph.node(node).outputs.iter().any(|ty| column(ty, span).is_none()) {
            return Err(Refused("mixes columns of its state".into()));
        }
    }
    Ok(Columns { par, span, axis, rows })
}

/// The one axis of a type along a span.
fn column(ty: &ValueType, span: SpanId) -> Option<usize> {
    let mut found = ty.axes.iter().enumerate().filter(|(_, axis)| **axis == Axis::span(span));
    let first = found.next().map(|(at, _)| at);
    first.filter(|_| found.next().is_none())
}

/// `par` axes over tiles, with their spans.
pub(super) fn par_spans(graph: &Graph) -> Vec<(NodeId, SpanId)> {
    let spans = graph.par_nest().into_iter().filter_map(|par| match &graph.node(par).op {
        Op::Par(ParOp { iter: Iter::Tiles { span, .. }, .. }) => Some((par, *span)),
        _ => None,
    });
    spans.collect()
}

impl Columns {
    /// Whether nothing that a launch computes knows which columns it has, but for the loop's own state.
    pub fn are_alike(self, g: &Graph, f: &ForOp) -> bool {
        let Op::Par(par) = &g.node(self.par).op else { return false };
        let own: BTreeSet<NodeId> = path(g, f).into_iter().collect();
        let knows = |node: NodeId| {
            let along = |ty: &ValueType| {
                ty.axes.iter().any(|a| matches!(a, Axis::Span { span, .. } if *span == self.span))
            };
            let carries = matches!(g.node(node).op, Op::Broadcast | Op::RegionArgs | Op::For(_));
            !carries && !own.contains(&node) && g.node(node).outputs.iter().any(along)
        };
        g.region_args(par.body).into_iter().all(|v| g.uses(v).is_empty())
            && !g.nodes_under(ROOT).into_iter().any(knows)
    }

    /// Some rows of a state.
    pub fn rows_of(self, g: &mut Graph, at: At, state: Value, lo: u64, length: u64) -> Value {
        let mut ty = g.type_of(state).clone();
        let axis = 1 - self.axis;
        ty.axes[axis] = typing::fixed(length);
        match length == self.rows {
            true => state,
            false => insert(g, at, Op::Slice { axis: axis as u32, lo }, vec![ty], &[state])[0],
        }
    }

    /// Makes a launch go over the columns of the matrix in place of the state's.
    pub fn of_matrix(self, g: &mut Graph) {
        let at = At { region: g.node(self.par).region, before: Some(self.par), span: g.node(self.par).span };
        let range = [0, self.rows as i64].map(|n| scalar(g, at, Literal::Int(n)));
        g.set_inputs(self.par, &range);
    }

    /// The columns of the identity that an instance has: 1 where the row is the position of the column.
    pub fn identity(self, g: &mut Graph, at: At, state: &ValueType) -> Value {
        let start = g.span(self.span).start;
        let column = self.positions(g, at, state, self.axis, Some(start));
        let row = self.positions(g, at, state, 1 - self.axis, None);
        let same = ValueType::tile(DType::Bool, state.axes.clone());
        let same = insert(g, at, Op::Elem(ElemOp::Eq), vec![same], &[column, row])[0];
        let [one, zero] =
            [1.0, 0.0].map(|v| splat(g, at, Literal::Float(v), &ValueType::scalar(state.dtype)));
        insert(g, at, Op::Elem(ElemOp::Select), vec![state.clone()], &[same, one, zero])[0]
    }

    /// Positions along one axis of the state, from `first` on, as a tile of its rank.
    fn positions(self, g: &mut Graph, at: At, state: &ValueType, axis: usize, first: Option<Value>) -> Value {
        let ty = ValueType::tile(DType::I64, [state.axes[axis]]);
        let mut positions = insert(g, at, Op::Iota, vec![ty.clone()], &[])[0];
        if let Some(first) = first {
            positions = insert(g, at, Op::Elem(ElemOp::Add), vec![ty], &[positions, first])[0];
        }
        let (mut axes, mut from) = (vec![Axis::One; 2], vec![None; 2]);
        (axes[axis], from[axis]) = (state.axes[axis], Some(0));
        insert(g, at, Op::Reshape { axes: from }, vec![ValueType::tile(DType::I64, axes)], &[positions])[0]
    }
}
