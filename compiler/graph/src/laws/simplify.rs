//! Simplify: fewer nodes, the same values to the bit.
//!
//! * fold: an operation on literals is a literal (integers, bools, and floats where nothing is rounded); `x && true`,
//!   `select` on a known condition; a stretched scalar beside a tile that has its axes already is the scalar; an `if` on a literal is its arm; `skip false` is no claim
//! * share: two equal pure operations, or loads of an `in` tensor, in one region or one inside the other, are one
//! * drop: what nobody uses and changes nothing is gone
//!
//! Repeats until nothing changes. Cost: a few walks over the graph.

use crate::{edit::CopyMap, ir::*, op::*};
use std::collections::HashMap;
use tile_base::{DType, Mode, size};

/// Folds, shares and drops until nothing changes.
pub fn simplify(graph: &mut Graph) {
    loop {
        let changed = fold(graph) | share(graph) | drop_unused(graph);
        if !changed {
            break;
        }
    }
    crate::debug_verify(graph, "simplify");
}

// ---------------------------------------------------------------- fold

fn fold(graph: &mut Graph) -> bool {
    let mut changed = false;
    for node in graph.nodes_under(ROOT) {
        // An arm that was inlined took its nodes with it.
        if graph.contains(node) {
            changed |= fold_node(graph, node);
        }
    }
    changed
}

fn fold_node(graph: &mut Graph, node: NodeId) -> bool {
    let inputs = graph.inputs(node);
    match graph.node(node).op.clone() {
        Op::Elem(op) => {
            if let Some(literal) = fold_literals(graph, node, op, &inputs) {
                return become_splat(graph, node, literal);
            }
            if let Some(value) = shortcut(graph, node, op, &inputs) {
                graph.replace_uses(Value { node, port: 0 }, value);
                return !graph.uses(Value { node, port: 0 }).is_empty() || graph.is_pure(node);
            }
            unstretch(graph, node, op, &inputs)
        }
        Op::If { then, otherwise } => match graph.literal(inputs[0]) {
            Some(Literal::Bool(c)) => {
                inline_arm(graph, node, if c { then } else { otherwise });
                true
            }
            _ => false,
        },
        Op::For(f) => match f.skip {
            Some(skip)
                if graph.yields(skip).iter().any(|&v| graph.literal(v) == Some(Literal::Bool(false))) =>
            {
                for inner in graph.region(skip).nodes.clone().into_iter().rev() {
                    graph.remove(inner);
                }
                graph.regions[skip.index()].owner = None;
                if let Op::For(f) = &mut graph.node_mut(node).op {
                    f.skip = None;
                }
                graph.obligations.retain(|o| !(o.node == node && o.claim == Claim::Skip));
                true
            }
            _ => false,
        },
        _ => false,
    }
}

/// The literal that every element of the result equals.
fn fold_literals(graph: &Graph, node: NodeId, op: ElemOp, inputs: &[Value]) -> Option<Literal> {
    let literals: Vec<Option<Literal>> = inputs.iter().map(|&v| graph.splat(v)).collect();
    if let (ElemOp::And | ElemOp::Or, DType::Bool) = (op, graph.node(node).outputs[0].dtype) {
        // One side decides.
        let deciding = Literal::Bool(op == ElemOp::Or);
        if literals.contains(&Some(deciding)) {
            return Some(deciding);
        }
    }
    let literals: Vec<Literal> = literals.into_iter().collect::<Option<_>>()?;
    let dtype = graph.type_of(*inputs.last()?).dtype;
    match literals[..] {
        [Literal::Int(a), Literal::Int(b)] => fold_ints(op, a, b, dtype),
        [Literal::Float(a), Literal::Float(b)] => fold_floats(op, a, b, dtype),
        [Literal::Bool(a), Literal::Bool(b)] => Some(Literal::Bool(match op {
            ElemOp::And => a && b,
            ElemOp::Or => a || b,
            ElemOp::Xor | ElemOp::Ne => a != b,
            ElemOp::Eq => a == b,
            _ => return None,
        })),
        [Literal::Bool(a)] if op == ElemOp::Not => Some(Literal::Bool(!a)),
        [Literal::Int(a)] if op == ElemOp::Neg => in_range(a.checked_neg()?, dtype),
        [Literal::Float(a)] if op == ElemOp::Neg => Some(Literal::Float(-a)),
        _ => None,
    }
}

fn in_range(v: i64, dtype: DType) -> Option<Literal> {
    let (lo, hi) = dtype.int_range()?;
    (lo..=hi).contains(&v).then_some(Literal::Int(v))
}

fn fold_ints(op: ElemOp, a: i64, b: i64, dtype: DType) -> Option<Literal> {
    use ElemOp::*;
    let v = match op {
        Add => a.checked_add(b)?,
        Sub => a.checked_sub(b)?,
        Mul => a.checked_mul(b)?,
        Div => size::floor_div(a, b)?,
        Rem => size::floor_mod(a, b)?,
        Min => a.min(b),
        Max => a.max(b),
        _ => return compare(op, a.partial_cmp(&b)?).map(Literal::Bool),
    };
    in_range(v, dtype)
}

/// Only where nothing is rounded, so that the oracle's exact mode sees the same number.
fn fold_floats(op: ElemOp, a: f64, b: f64, dtype: DType) -> Option<Literal> {
    use ElemOp::*;
    let exact = |v: f64| dtype == DType::F64 || (dtype == DType::F32 && v as f32 as f64 == v);
    if !exact(a) || !exact(b) {
        return None;
    }
    let v = match op {
        Add => a + b,
        Sub => a - b,
        Mul => a * b,
        Div => a / b,
        _ => return compare(op, a.partial_cmp(&b)?).map(Literal::Bool),
    };
    let whole = |v: f64| v.is_finite() && v.fract() == 0.0 && v.abs() < 1e6;
    (exact(v) && whole(a) && whole(b) && whole(v)).then_some(Literal::Float(v))
}

fn compare(op: ElemOp, order: std::cmp::Ordering) -> Option<bool> {
    Some(match op {
        ElemOp::Eq => order.is_eq(),
        ElemOp::Ne => order.is_ne(),
        ElemOp::Lt => order.is_lt(),
        ElemOp::Le => order.is_le(),
        ElemOp::Gt => order.is_gt(),
        ElemOp::Ge => order.is_ge(),
        _ => return None,
    })
}

fn become_splat(graph: &mut Graph, node: NodeId, literal: Literal) -> bool {
    let ty = graph.node(node).outputs[0].clone();
    if ty.is_scalar() {
        graph.node_mut(node).op = Op::Const(literal);
        graph.set_inputs(node, &[]);
        // Literals stand in the root, before everything.
        let first = graph.region(ROOT).nodes.first().copied();
        graph.relocate(node, ROOT, first);
        return true;
    }
    let (region, span) = (graph.node(node).region, graph.node(node).span);
    let new = crate::edit::NewNode {
        op: Op::Const(literal),
        outputs: vec![ValueType::scalar(ty.dtype)],
        path: None,
        span,
    };
    let constant = graph.insert(region, Some(node), new, &[]);
    graph.node_mut(node).op = Op::Broadcast;
    graph.set_inputs(node, &[Value { node: constant, port: 0 }]);
    let first = graph.region(ROOT).nodes.first().copied();
    graph.relocate(constant, ROOT, first);
    true
}

/// An operand that the whole operation equals.
fn shortcut(graph: &Graph, node: NodeId, op: ElemOp, inputs: &[Value]) -> Option<Value> {
    let ty = &graph.node(node).outputs[0];
    if graph.uses(Value { node, port: 0 }).is_empty() {
        return None;
    }
    let splat = |v: Value| graph.splat(v);
    let pick = match op {
        ElemOp::Select => match splat(inputs[0])? {
            Literal::Bool(true) => inputs[1],
            Literal::Bool(false) => inputs[2],
            _ => return None,
        },
        ElemOp::And | ElemOp::Or if ty.dtype == DType::Bool => {
            let neutral = Some(Literal::Bool(op == ElemOp::And));
            match (splat(inputs[0]) == neutral, splat(inputs[1]) == neutral) {
                (true, _) => inputs[1],
                (_, true) => inputs[0],
                _ => return None,
            }
        }
        ElemOp::Add | ElemOp::Sub if ty.dtype == DType::I64 => match (splat(inputs[0]), splat(inputs[1])) {
            (_, Some(Literal::Int(0))) => inputs[0],
            (Some(Literal::Int(0)), _) if op == ElemOp::Add => inputs[1],
            _ => return None,
        },
        ElemOp::Mul | ElemOp::Div if ty.dtype == DType::I64 => match (splat(inputs[0]), splat(inputs[1])) {
            (_, Some(Literal::Int(1))) => inputs[0],
            (Some(Literal::Int(1)), _) if op == ElemOp::Mul => inputs[1],
            _ => return None,
        },
        _ => return None,
    };
    (graph.type_of(pick) == ty).then_some(pick)
}

/// A stretched scalar as the scalar itself, where another operand still gives the result its axes.
fn unstretch(graph: &mut Graph, node: NodeId, op: ElemOp, inputs: &[Value]) -> bool {
    for (at, &v) in inputs.iter().enumerate() {
        if graph.type_of(v).is_scalar() || !matches!(graph.node(v.node).op, Op::Broadcast) {
            continue;
        }
        let Some(scalar) = graph.uniform(v) else { continue };
        let mut next = inputs.to_vec();
        next[at] = scalar;
        let types: Vec<ValueType> = next.iter().map(|&v| graph.type_of(v).clone()).collect();
        if crate::typing::elementwise(op, &types).as_ref() == Ok(&graph.node(node).outputs[0]) {
            graph.set_inputs(node, &next);
            return true;
        }
    }
    false
}

fn inline_arm(graph: &mut Graph, node: NodeId, arm: RegionId) {
    let region = graph.node(node).region;
    let results = graph.copy_body(arm, region, Some(node), &mut CopyMap::default());
    for (port, value) in results.into_iter().enumerate() {
        graph.replace_uses(Value { node, port: port as u32 }, value);
    }
    graph.remove(node);
}

// ---------------------------------------------------------------- share

fn share(graph: &mut Graph) -> bool {
    let mut scopes = vec![];
    share_region(graph, ROOT, &mut scopes)
}

fn share_region(graph: &mut Graph, region: RegionId, scopes: &mut Vec<HashMap<String, NodeId>>) -> bool {
    scopes.push(HashMap::new());
    let mut changed = false;
    for node in graph.region(region).nodes.clone() {
        let owned = graph.node(node).op.regions();
        if !owned.is_empty() {
            for inner in owned {
                changed |= share_region(graph, inner, scopes);
            }
            continue;
        }
        let Some(key) = share_key(graph, node) else { continue };
        match scopes.iter().rev().find_map(|s| s.get(&key)).copied() {
            Some(first) => {
                for port in 0..graph.node(node).outputs.len() as u32 {
                    graph.replace_uses(Value { node, port }, Value { node: first, port });
                }
                if graph.node(first).path.is_none() {
                    graph.node_mut(first).path = graph.node(node).path.clone();
                }
                graph.remove(node);
                changed = true;
            }
            None => {
                if let Some(scope) = scopes.last_mut() {
                    scope.insert(key, node);
                }
            }
        }
    }
    scopes.pop();
    changed
}

/// Equal for nodes that give equal values; `None` for nodes that are not shared.
fn share_key(graph: &Graph, node: NodeId) -> Option<String> {
    let n = graph.node(node);
    let fits = match &n.op {
        Op::Load(a) => graph.object(a.object).mode == Mode::In,
        Op::MakeSpan { .. } => false,
        op => op.is_pure(),
    };
    fits.then(|| format!("{:?} {:?} {:?}", n.op, graph.inputs(node), n.outputs))
}

// ---------------------------------------------------------------- drop

fn drop_unused(graph: &mut Graph) -> bool {
    let mut changed = false;
    for node in graph.nodes_under(ROOT).into_iter().rev() {
        if !graph.contains(node) || matches!(graph.node(node).op, Op::RegionArgs | Op::Yield) {
            continue;
        }
        let used = graph.outputs(node).any(|v| !graph.uses(v).is_empty());
        let spans = matches!(graph.node(node).op, Op::MakeSpan { .. });
        if !used && !spans && graph.is_pure(node) {
            graph.remove(node);
            changed = true;
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{print, samples, samples::Sketch};

    #[test]
    fn sharing_keeps_the_first_and_dropping_leaves_what_is_stored() {
        let mut g = samples::flash(DType::F16, 64, true);
        let before = g.node_ids().count();
        simplify(&mut g);
        assert!(g.node_ids().count() < before + 1);
        crate::verify(&g).expect("the law keeps the invariants");
        let text = print(&g);
        simplify(&mut g);
        assert_eq!(print(&g), text, "a second run changes nothing");
    }

    #[test]
    fn a_known_mask_disappears() {
        let mut s = Sketch::new(
            "masked",
            vec![
                samples::tensor("a", Mode::In, DType::F32, &["N"]),
                samples::tensor("o", Mode::Out, DType::F32, &["N"]),
            ],
            &["N"],
        );
        let tile = s.b.tile_size("B", vec![], false, tile_base::Span::default());
        let n = s.dim("N");
        let i = s.par_tiles("i", n, tile);
        let a = s.load(0, &[samples::Sub::Along(i)]);
        let zero = s.f32(0.0);
        let positive = s.elem(ElemOp::Gt, &[a, zero]);
        let yes = s.b.constant(Literal::Bool(true), DType::Bool);
        let mask = s.elem(ElemOp::Or, &[yes, positive]);
        let out = s.elem(ElemOp::Select, &[mask, a, zero]);
        s.store(1, &[samples::Sub::Along(i)], out);
        let mut g = s.finish();
        simplify(&mut g);
        insta::assert_snapshot!(print(&g));
    }

    #[test]
    fn an_if_on_a_literal_is_its_arm() {
        let mut s = Sketch::new("arm", vec![samples::tensor("o", Mode::Out, DType::F32, &["N"])], &["N"]);
        let n = s.dim("N");
        let i = s.par("i", n);
        let (one, two) = (s.f32(1.0), s.f32(2.0));
        let (then, _) = s.b.open(RegionKind::Then, vec![]);
        let sum = s.elem(ElemOp::Add, &[one, two]);
        s.b.close(&[sum]);
        let (otherwise, _) = s.b.open(RegionKind::Else, vec![]);
        s.b.close(&[one]);
        let no = s.b.constant(Literal::Bool(false), DType::Bool);
        let not = s.elem(ElemOp::Not, &[no]);
        let out = s.b.add(Op::If { then, otherwise }, &[not], vec![ValueType::scalar(DType::F32)])[0];
        s.store(0, &[samples::Sub::At(i)], out);
        let mut g = s.finish();
        simplify(&mut g);
        insta::assert_snapshot!(print(&g));
    }
}
