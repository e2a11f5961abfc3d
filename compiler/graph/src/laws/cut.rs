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

/// The loop at a node, if partial results of it combine to the whole.
pub(super) fn splittable(graph: &Graph, node: NodeId) -> Result<ForOp, Refused> {
    let Op::For(f) = &graph.node(node).op else { return Err(Refused("is not a `for`".into())) };
    if !matches!(f.combine, LoopCombine::Sum | LoopCombine::Merge { .. }) || f.early_exit {
        return Err(Refused(format!("`{}` neither sums nor merges", f.name)));
    }
    let reversed = matches!(f.iter, Iter::Each { reverse: true } | Iter::Tiles { reverse: true, .. });
    if reversed {
        return Err(Refused(format!("`{}` runs backwards", f.name)));
    }
    if let Iter::Tiles { .. } = f.iter {
        let numbered = [Some(f.body), f.skip]
            .into_iter()
            .flatten()
            .any(|r| graph.region_args(r).get(2).is_some_and(|&number| !graph.uses(number).is_empty()));
        if numbered {
            return Err(Refused(format!("`{}` uses the number of its step", f.name)));
        }
    }
    Ok(f.clone())
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
        let literal = match ty.dtype {
            DType::Bool => Literal::Bool(false),
            d if d.is_float() => Literal::Float(0.0),
            _ => Literal::Int(0),
        };
        let zero = insert(graph, at, Op::Const(literal), vec![ValueType::scalar(ty.dtype)], &[])[0];
        out.push(match ty.is_scalar() {
            true => zero,
            false => insert(graph, at, Op::Broadcast, vec![ty.clone()], &[zero])[0],
        });
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
