//! What the laws that cut a loop into parts have in common: where a part begins and ends, what it starts from, and how
//! the results of two parts become one.
//!
//! ```text
//! lo..hi = 0..100, 3 parts, any step      c = cdiv(100, 3) = 34      0..34   34..68   68..100
//!                  3 parts, steps of 16   c = 48                     0..48   48..96   96..100
//! ```
//!
//! Every part but the last is a multiple of the loop's unit, so that parts step where the whole would have stepped (and
//! tiles begin where vectors of memory begin).

use super::Refused;
use crate::{edit::*, ir::*, op::*};
use tile_base::{DType, Span};

/// Free steps are cut at multiples of this across launches, so that parts of contiguous dimensions begin where vectors
/// of memory begin.
pub(super) const UNIT: u64 = 64;

/// The loop at a node, if partial results of it combine to the whole.
pub(super) fn splittable(graph: &Graph, node: NodeId) -> Result<ForOp, Refused> {
    let Op::For(f) = &graph.node(node).op else { return Err(Refused("is not a `for`".into())) };
    if !matches!(f.combine, LoopCombine::Sum | LoopCombine::Merge { .. }) {
        return Err(Refused("neither sums nor merges".into()));
    }
    may_be_cut(graph, f)?;
    Ok(f.clone())
}

/// Whether a loop over part of its range is like the whole.
pub(super) fn may_be_cut(graph: &Graph, f: &ForOp) -> Result<(), Refused> {
    if f.early_exit {
        return Err(Refused("has a `break`".into()));
    }
    if matches!(f.iter, Iter::Each { reverse: true } | Iter::Tiles { reverse: true, .. }) {
        return Err(Refused("runs backwards".into()));
    }
    let number_is_used =
        |r: RegionId| graph.region_args(r).get(2).is_some_and(|&n| !graph.uses(n).is_empty());
    if matches!(f.iter, Iter::Tiles { .. })
        && [Some(f.body), f.skip].into_iter().flatten().any(number_is_used)
    {
        return Err(Refused("uses the number of its step".into()));
    }
    Ok(())
}

/// Where nodes go.
#[derive(Clone, Copy)]
pub(super) struct At {
    pub region: RegionId,
    pub before: Option<NodeId>,
    pub span: Span,
}

pub(super) fn insert(
    graph: &mut Graph,
    at: At,
    op: Op,
    outputs: Vec<ValueType>,
    inputs: &[Value],
) -> Vec<Value> {
    let new = NewNode { op, outputs, path: None, span: at.span };
    let node = graph.insert(at.region, at.before, new, inputs);
    graph.outputs(node).collect()
}

pub(super) fn scalar(graph: &mut Graph, at: At, literal: Literal) -> Value {
    insert(graph, at, Op::Const(literal), vec![ValueType::index()], &[])[0]
}

pub(super) fn index(graph: &mut Graph, at: At, op: ElemOp, a: Value, b: Value) -> Value {
    insert(graph, at, Op::Elem(op), vec![ValueType::index()], &[a, b])[0]
}

/// What every part but the last is a multiple of: a fixed step, or `otherwise` where steps are free.
pub(super) fn unit(f: &ForOp, otherwise: u64) -> u64 {
    match f.iter {
        Iter::Tiles { step: StepSize::Fixed(n), .. } => n,
        Iter::Tiles { step: StepSize::Tile(_), .. } => otherwise,
        Iter::Each { .. } => 1,
    }
}

/// `cdiv(hi - lo, parts)`, rounded up to a multiple of `unit`.
pub(super) fn chunk(graph: &mut Graph, at: At, unit: u64, inputs: &[Value], parts: Value) -> Value {
    let unit = scalar(graph, at, Literal::Int(unit as i64));
    let one = scalar(graph, at, Literal::Int(1));
    let all = index(graph, at, ElemOp::Mul, parts, unit);
    let length = index(graph, at, ElemOp::Sub, inputs[1], inputs[0]);
    let round = index(graph, at, ElemOp::Sub, all, one);
    let sum = index(graph, at, ElemOp::Add, length, round);
    let steps = index(graph, at, ElemOp::Div, sum, all);
    index(graph, at, ElemOp::Mul, steps, unit)
}

/// `lo + p·c` and `min(lo + (p + 1)·c, hi)`.
pub(super) fn bounds(graph: &mut Graph, at: At, inputs: &[Value], p: Value, chunk: Value) -> (Value, Value) {
    let offset = index(graph, at, ElemOp::Mul, p, chunk);
    let lo = index(graph, at, ElemOp::Add, inputs[0], offset);
    let past = index(graph, at, ElemOp::Add, lo, chunk);
    (lo, index(graph, at, ElemOp::Min, past, inputs[1]))
}

pub(super) fn is_merged(f: &ForOp, carried: usize) -> bool {
    matches!(&f.combine, LoopCombine::Merge { vars, .. } if vars.contains(&(carried as u32)))
}

pub(super) fn zero(dtype: DType) -> Literal {
    match dtype {
        DType::Bool => Literal::Bool(false),
        d if d.is_float() => Literal::Float(0.0),
        _ => Literal::Int(0),
    }
}

/// A value of this type whose every element is the literal.
pub(super) fn splat(graph: &mut Graph, at: At, literal: Literal, ty: &ValueType) -> Value {
    let one = insert(graph, at, Op::Const(literal), vec![ValueType::scalar(ty.dtype)], &[])[0];
    match ty.is_scalar() {
        true => one,
        false => insert(graph, at, Op::Broadcast, vec![ty.clone()], &[one])[0],
    }
}

/// What each part starts from: a merged variable from its own start, a summed one from 0.
pub(super) fn starts(
    graph: &mut Graph,
    at: At,
    f: &ForOp,
    initial: &[Value],
    types: &[ValueType],
) -> Vec<Value> {
    let mut out = vec![];
    for (n, ty) in types.iter().enumerate() {
        if is_merged(f, n) {
            out.push(initial[n]);
            continue;
        }
        let zero = zero(ty.dtype);
        out.push(splat(graph, at, zero, ty));
    }
    out
}

/// The totals so far with one part's results.
pub(super) fn combine(graph: &mut Graph, at: At, f: &ForOp, totals: &[Value], part: &[Value]) -> Vec<Value> {
    let mut out = vec![];
    for n in 0..totals.len() {
        let ty = graph.type_of(totals[n]).clone();
        out.push(match is_merged(f, n) {
            true => totals[n],
            false => insert(graph, at, Op::Elem(ElemOp::Add), vec![ty], &[totals[n], part[n]])[0],
        });
    }
    if let LoopCombine::Merge { vars, combine } = &f.combine {
        let mut map = CopyMap::default();
        let given = vars.iter().map(|&v| totals[v as usize]).chain(vars.iter().map(|&v| part[v as usize]));
        for (arg, value) in graph.region_args(*combine).into_iter().zip(given) {
            map.values.insert(arg, value);
        }
        let merged = graph.copy_body(*combine, at.region, at.before, &mut map);
        for (&v, value) in vars.iter().zip(merged) {
            out[v as usize] = value;
        }
    }
    out
}

/// Makes the parts a `par` axis: a new innermost one around everything in the instance. Its body and its index.
pub(super) fn side_by_side(
    g: &mut Graph,
    home: RegionId,
    name: &str,
    dim: u32,
    span: Span,
) -> (RegionId, Value) {
    let body = g.add_region(RegionKind::Par);
    let inside = At { region: body, before: None, span };
    let p = insert(g, inside, Op::RegionArgs, vec![ValueType::index()], &[])[0];
    for node in g.region(home).nodes.clone() {
        if !matches!(g.node(node).op, Op::RegionArgs | Op::Yield) {
            g.relocate(node, body, None);
        }
    }
    insert(g, inside, Op::Yield, vec![], &[]);
    let at = At { region: home, before: g.region(home).nodes.last().copied(), span };
    let zero = scalar(g, at, Literal::Int(0));
    let count = insert(g, at, Op::Dim(dim), vec![ValueType::index()], &[])[0];
    let par = ParOp { iter: Iter::Each { reverse: false }, body, name: name.into() };
    insert(g, at, Op::Par(par), vec![], &[zero, count]);
    (body, p)
}

/// `for q in 0..count carried (totals = initial) { yield body(q, totals) }`; the final totals.
pub(super) fn fold(
    g: &mut Graph,
    at: At,
    name: &str,
    count: Value,
    initial: &[Value],
    body: impl FnOnce(&mut Graph, At, Value, &[Value]) -> Vec<Value>,
) -> Vec<Value> {
    let zero = scalar(g, at, Literal::Int(0));
    let outputs: Vec<ValueType> = initial.iter().map(|&v| g.type_of(v).clone()).collect();
    let region = g.add_region(RegionKind::Loop);
    let inside = At { region, before: None, ..at };
    let types = [ValueType::index()].into_iter().chain(outputs.clone()).collect();
    let args = insert(g, inside, Op::RegionArgs, types, &[]);
    let next = body(g, inside, args[0], &args[1..]);
    insert(g, inside, Op::Yield, vec![], &next);
    let op = ForOp {
        iter: Iter::Each { reverse: false },
        body: region,
        name: name.into(),
        origin: LoopOrigin::Written,
        early_exit: false,
        skip: None,
        combine: LoopCombine::Ordered,
    };
    let new = NewNode { op: Op::For(op), outputs, path: Some(name.into()), span: at.span };
    let node = g.insert(at.region, at.before, new, &[&[zero, count][..], initial].concat());
    g.outputs(node).collect()
}
