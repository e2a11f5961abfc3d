//! Split a loop that sums or merges: *the parts combine to the whole.*
//!
//! ```text
//! v = for j in tiles(lo..hi, B) combine f carried (v = e) { … }
//!   = for p in 0..parts carried (t = e) {
//!         v = for j in tiles(lo + p·c .. min(lo + (p + 1)·c, hi), B) … carried (v = e') { … }
//!         yield f(t, v) }                                  with c = cdiv(hi - lo, parts)
//! ```
//!
//! where a summed variable starts each part at 0 and a merged one at its own start `e`, which the claim says is the
//! identity of f. A loop whose steps are fixed (a `const` size) is cut at multiples of the step. The parts here run
//! one after the other in one launch, which is what testing the claim needs; split-K and split decode run them as
//! launches of their own.
//!
//! Refused for loops that run in order, that break, or whose body uses the number of the step.

use super::Refused;
use crate::{edit::*, ir::*, op::*};
use tile_base::{DType, Span};

/// Cuts the loop at `node` into `parts` partial loops and combines their results. The loop over the parts.
pub fn split_merge_loop(graph: &mut Graph, node: NodeId, parts: u64) -> Result<NodeId, Refused> {
    let f = splittable(graph, node, parts)?;
    let (region, span) = (graph.node(node).region, graph.node(node).span);
    let inputs = graph.inputs(node);
    let outputs = graph.node(node).outputs.clone();
    let at = At { region, before: Some(node), span };
    let chunk = chunk(graph, at, &f, &inputs, parts);
    let zero = scalar(graph, at, Literal::Int(0));
    let count = scalar(graph, at, Literal::Int(parts as i64));

    // for p in 0..parts carried (t)
    let body = graph.add_region(RegionKind::Loop);
    let inside = At { region: body, before: None, span };
    let types: Vec<ValueType> = [ValueType::index()].into_iter().chain(outputs.clone()).collect();
    let args = insert(graph, inside, Op::RegionArgs, types, &[]);
    let (lo, hi) = bounds(graph, inside, &inputs, args[0], chunk);
    let starts = starts(graph, inside, &f, &inputs[2..], &outputs);

    // The loop itself over one part: a copy, so that its name and body stay.
    let copy = graph.copy_node(node, body, None, &mut CopyMap::default());
    graph.set_inputs(copy, &[&[lo, hi][..], &starts].concat());
    let part: Vec<Value> = graph.outputs(copy).collect();
    let combined = combine(graph, inside, &f, &args[1..], &part);
    insert(graph, inside, Op::Yield, vec![], &combined);

    let op = ForOp {
        iter: Iter::Each { reverse: false },
        body,
        name: format!("{}.part", f.name),
        origin: LoopOrigin::Written,
        early_exit: false,
        skip: None,
        combine: LoopCombine::Ordered,
    };
    let new = NewNode { op: Op::For(op), outputs, path: Some(format!("{}.part", f.name)), span };
    let outer = graph.insert(region, Some(node), new, &[&[zero, count][..], &inputs[2..]].concat());
    for port in 0..graph.node(node).outputs.len() as u32 {
        graph.replace_uses(Value { node, port }, Value { node: outer, port });
    }
    graph.remove(node);
    crate::debug_verify(graph, "split_merge_loop");
    Ok(outer)
}

fn splittable(graph: &Graph, node: NodeId, parts: u64) -> Result<ForOp, Refused> {
    let Op::For(f) = &graph.node(node).op else { return Err(Refused("is not a `for`".into())) };
    if parts == 0 {
        return Err(Refused("into 0 parts".into()));
    }
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
struct At {
    region: RegionId,
    before: Option<NodeId>,
    span: Span,
}

fn insert(graph: &mut Graph, at: At, op: Op, outputs: Vec<ValueType>, inputs: &[Value]) -> Vec<Value> {
    let new = NewNode { op, outputs, path: None, span: at.span };
    let node = graph.insert(at.region, at.before, new, inputs);
    graph.outputs(node).collect()
}

fn scalar(graph: &mut Graph, at: At, literal: Literal) -> Value {
    insert(graph, at, Op::Const(literal), vec![ValueType::index()], &[])[0]
}

fn index(graph: &mut Graph, at: At, op: ElemOp, a: Value, b: Value) -> Value {
    insert(graph, at, Op::Elem(op), vec![ValueType::index()], &[a, b])[0]
}

/// `cdiv(hi - lo, parts)`, rounded up to a multiple of a fixed step.
fn chunk(graph: &mut Graph, at: At, f: &ForOp, inputs: &[Value], parts: u64) -> Value {
    let step = match f.iter {
        Iter::Tiles { step: StepSize::Fixed(n), .. } => n as i64,
        _ => 1,
    };
    let unit = step.saturating_mul(parts as i64);
    let length = index(graph, at, ElemOp::Sub, inputs[1], inputs[0]);
    let round = scalar(graph, at, Literal::Int(unit - 1));
    let unit = scalar(graph, at, Literal::Int(unit));
    let sum = index(graph, at, ElemOp::Add, length, round);
    let steps = index(graph, at, ElemOp::Div, sum, unit);
    let step = scalar(graph, at, Literal::Int(step));
    index(graph, at, ElemOp::Mul, steps, step)
}

/// `lo + p·c` and `min(lo + (p + 1)·c, hi)`.
fn bounds(graph: &mut Graph, at: At, inputs: &[Value], p: Value, chunk: Value) -> (Value, Value) {
    let offset = index(graph, at, ElemOp::Mul, p, chunk);
    let lo = index(graph, at, ElemOp::Add, inputs[0], offset);
    let past = index(graph, at, ElemOp::Add, lo, chunk);
    (lo, index(graph, at, ElemOp::Min, past, inputs[1]))
}

fn is_merged(f: &ForOp, carried: usize) -> bool {
    matches!(&f.combine, LoopCombine::Merge { vars, .. } if vars.contains(&(carried as u32)))
}

/// What each part starts from: a merged variable from its own start, a summed one from 0.
fn starts(graph: &mut Graph, at: At, f: &ForOp, initial: &[Value], types: &[ValueType]) -> Vec<Value> {
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
fn combine(graph: &mut Graph, at: At, f: &ForOp, totals: &[Value], part: &[Value]) -> Vec<Value> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{laws::loop_named, print, samples};

    #[test]
    fn a_split_sum_adds_its_parts() {
        let mut g = samples::matmul(DType::F32);
        let s = loop_named(&g, "s").expect("the stream");
        split_merge_loop(&mut g, s, 3).expect("a sum");
        crate::verify(&g).expect("the law keeps the invariants");
        insta::assert_snapshot!(print(&g));
    }

    #[test]
    fn a_split_merge_combines_its_parts() {
        let mut g = samples::flash(DType::F32, 8, true);
        let j = loop_named(&g, "j").expect("the loop over keys");
        split_merge_loop(&mut g, j, 4).expect("a merge");
        crate::verify(&g).expect("the law keeps the invariants");
        let text = print(&g);
        assert!(text.contains("for j.part in 0..4"), "{text}");
        // The split loop keeps its claims, so it can be split again.
        let j = loop_named(&g, "j").expect("the part");
        split_merge_loop(&mut g, j, 2).expect("still a merge");
    }

    #[test]
    fn loops_that_run_in_order_are_refused() {
        let mut g = samples::matmul(DType::F32);
        let s = loop_named(&g, "s").expect("the stream");
        if let Op::For(f) = &mut g.node_mut(s).op {
            f.combine = LoopCombine::Ordered;
        }
        assert!(split_merge_loop(&mut g, s, 2).is_err());
    }
}
