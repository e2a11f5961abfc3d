//! What a mask says of a whole block: *empty, full or partial*, from the corners of the block alone.
//!
//! A mask is a predicate of positions, `j <= i + (N - M)`. Over a block of rows `i.start .. i.end` and columns
//! `j.start .. j.end` each index expression lies between two scalars, and so the predicate has two scalar bounds: *must*
//! (true at every position) and *may* (true at some position, as far as intervals can tell):
//!
//! ```text
//! i.at       in  i.start .. i.end - 1          must:  j.end - 1 <= i.start + (N - M)       full: nothing is hidden
//! j.at       in  j.start .. j.end - 1          may:   j.start <= i.end - 1 + (N - M)       not may: empty
//! ```
//!
//! Two laws use them. [`bound_skips`]: `skip !mask(…).any()` asks whether a block is empty; *not may* implies it, costs a few
//! scalar operations, and skipping less than the claim allows is always right. [`peel_full`]: in a full block
//! `select(mask, x, y)` is x, so the mask need not be computed there.
//!
//! What intervals say nothing about (a predicate of loaded document numbers) is partial always.

use super::cut::*;
use crate::{edit::*, facts, ir::*, op::*};
use std::collections::BTreeSet;

/// Replaces tiles in `skip` predicates by bounds: what is skipped is a part of what the claim allows.
pub fn bound_skips(graph: &mut Graph) {
    for node in loops(graph) {
        let Op::For(ForOp { skip: Some(skip), .. }) = graph.node(node).op else { continue };
        let Some(&last) = graph.region(skip).nodes.last() else { continue };
        let at = At { region: skip, before: Some(last), span: graph.node(node).span };
        let claimed = graph.inputs(last)[0];
        let bounded = Blocks { at }.bounds(graph, claimed).must;
        graph.set_inputs(last, &[bounded]);
        drop_tiles(graph, skip);
    }
    crate::debug_verify(graph, "bound_skips");
}

fn loops(graph: &Graph) -> Vec<NodeId> {
    graph.nodes_under(ROOT).into_iter().filter(|&n| matches!(graph.node(n).op, Op::For(_))).collect()
}

/// Drops what the predicate is not made of any more, and the spans that only tiles named.
fn drop_tiles(graph: &mut Graph, skip: RegionId) {
    let args = graph.region_args(skip);
    for node in graph.region(skip).nodes.clone().into_iter().rev() {
        let unused = graph.outputs(node).all(|v| graph.uses(v).is_empty());
        match graph.node(node).op {
            Op::RegionArgs | Op::Yield => {}
            Op::MakeSpan { span } if unused => {
                let def = &mut graph.spans[span.index()];
                (def.start, def.end) = (args[0], args[1]);
                graph.remove(node);
            }
            _ if unused => graph.remove(node),
            _ => {}
        }
    }
}

/// In loops over tiles: `select(mask, x, y)` becomes `if must { x } else { select(mask, x, y) }`. How many there were.
pub fn peel_full(graph: &mut Graph) -> usize {
    let mut peeled = 0;
    for node in loops(graph) {
        let Op::For(ForOp { iter: Iter::Tiles { .. }, body, .. }) = graph.node(node).op else { continue };
        for select in graph.region(body).nodes.clone() {
            peeled += usize::from(peel(graph, select));
        }
    }
    super::simplify(graph);
    peeled
}

fn peel(graph: &mut Graph, select: NodeId) -> bool {
    let n = graph.node(select);
    let (region, span, ty) = (n.region, n.span, n.outputs.first().cloned());
    let (Op::Elem(ElemOp::Select), Some(ty)) = (&n.op, ty) else { return false };
    let inputs = graph.inputs(select);
    let mask = graph.type_of(inputs[0]);
    // A column or a row of a mask is as cheap as its bounds; blocks on the diagonal are always partial.
    let wide: Vec<&Axis> = mask.axes.iter().filter(|a| **a != Axis::One).collect();
    let distinct = wide.iter().enumerate().all(|(n, a)| !wide[..n].contains(a));
    if wide.len() < 2 || !distinct || graph.type_of(inputs[1]) != &ty {
        return false;
    }
    let at = At { region, before: Some(select), span };
    let must = Blocks { at }.bounds(graph, inputs[0]).must;
    if graph.literal(must) == Some(Literal::Bool(false)) {
        return false;
    }
    let arm = |graph: &mut Graph, kind| {
        let region = graph.add_region(kind);
        insert(graph, At { region, before: None, span }, Op::RegionArgs, vec![], &[]);
        (region, At { region, before: None, span })
    };
    let (then, full) = arm(graph, RegionKind::Then);
    insert(graph, full, Op::Yield, vec![], &[inputs[1]]);
    let (otherwise, partial) = arm(graph, RegionKind::Else);
    let mut map = CopyMap::default();
    for made in own_nodes(graph, region, select) {
        graph.copy_node(made, otherwise, None, &mut map);
    }
    let copy = graph.copy_node(select, otherwise, None, &mut map);
    insert(graph, partial, Op::Yield, vec![], &[Value { node: copy, port: 0 }]);
    let path = graph.node(select).path.clone();
    let new = NewNode { op: Op::If { then, otherwise }, outputs: vec![ty], path, span };
    let branch = graph.insert(region, Some(select), new, &[must]);
    graph.replace_uses(Value { node: select, port: 0 }, Value { node: branch, port: 0 });
    graph.remove(select);
    true
}

/// What the condition of a select is made of in its region and nothing else needs, in program order.
fn own_nodes(graph: &Graph, region: RegionId, select: NodeId) -> Vec<NodeId> {
    let mut own: BTreeSet<NodeId> = [select].into();
    for &node in graph.region(region).nodes.iter().rev() {
        let pure =
            graph.is_pure(node) && !matches!(graph.node(node).op, Op::RegionArgs | Op::MakeSpan { .. });
        let used = graph.outputs(node).flat_map(|v| graph.uses(v)).collect::<Vec<_>>();
        let only_here = !used.is_empty()
            && used.iter().all(|(user, port)| own.contains(user) && (*user != select || *port == 0));
        if pure && only_here && graph.node(node).op.regions().is_empty() {
            own.insert(node);
        }
    }
    own.remove(&select);
    graph.region(region).nodes.iter().copied().filter(|n| own.contains(n)).collect()
}

/// Scalar bounds of a predicate over a block.
#[derive(Clone, Copy)]
struct Bounds {
    /// True only where the predicate is true everywhere.
    must: Value,
    /// False only where it is false everywhere.
    may: Value,
}

/// Least and greatest value of an index expression over a block.
#[derive(Clone, Copy)]
struct Interval {
    lo: Value,
    hi: Value,
}

/// Builds bounds at one place. Blocks have at least one position.
struct Blocks {
    at: At,
}

impl Blocks {
    fn bounds(&self, g: &mut Graph, value: Value) -> Bounds {
        let inputs = g.inputs(value.node);
        let op = g.node(value.node).op.clone();
        match op {
            Op::Elem(ElemOp::Not) => {
                let Bounds { must, may } = self.bounds(g, inputs[0]);
                Bounds { must: self.not(g, may), may: self.not(g, must) }
            }
            Op::Elem(op @ (ElemOp::And | ElemOp::Or)) => {
                let (a, b) = (self.bounds(g, inputs[0]), self.bounds(g, inputs[1]));
                Bounds { must: self.both(g, op, a.must, b.must), may: self.both(g, op, a.may, b.may) }
            }
            _ if g.type_of(value).is_scalar() && !self.is_of_tiles(g, value) => {
                Bounds { must: value, may: value }
            }
            Op::Elem(op) if op.is_predicate() && inputs.len() == 2 => {
                match (self.interval(g, inputs[0]), self.interval(g, inputs[1])) {
                    (Some(a), Some(b)) => self.compared(g, op, a, b),
                    _ => self.unknown(g),
                }
            }
            // Of one element, of any, of all: the bounds hold for the whole block.
            Op::Reduce { kind: ReduceKind::Any | ReduceKind::All, .. }
            | Op::Reshape { .. }
            | Op::Broadcast
            | Op::Permute { .. } => self.bounds(g, inputs[0]),
            _ => self.unknown(g),
        }
    }

    /// Whether a scalar was made of tiles here.
    fn is_of_tiles(&self, g: &Graph, value: Value) -> bool {
        g.made_of(self.at.region, &[value]).into_iter().any(|v| !g.type_of(v).is_scalar())
    }

    fn compared(&self, g: &mut Graph, op: ElemOp, a: Interval, b: Interval) -> Bounds {
        match op {
            // Every a is below every b; some a may be below some b.
            ElemOp::Lt | ElemOp::Le => {
                Bounds { must: self.test(g, op, a.hi, b.lo), may: self.test(g, op, a.lo, b.hi) }
            }
            ElemOp::Gt | ElemOp::Ge => {
                Bounds { must: self.test(g, op, a.lo, b.hi), may: self.test(g, op, a.hi, b.lo) }
            }
            ElemOp::Eq | ElemOp::Ne => {
                let below = self.test(g, ElemOp::Le, a.lo, b.hi);
                let above = self.test(g, ElemOp::Le, b.lo, a.hi);
                let meet = self.both(g, ElemOp::And, below, above);
                let one = self.test(g, ElemOp::Eq, a.lo, b.hi);
                let other = self.test(g, ElemOp::Eq, a.hi, b.lo);
                let same = self.both(g, ElemOp::And, one, other);
                match op {
                    ElemOp::Eq => Bounds { must: same, may: meet },
                    _ => Bounds { must: self.not(g, meet), may: self.not(g, same) },
                }
            }
            _ => self.unknown(g),
        }
    }

    fn interval(&self, g: &mut Graph, value: Value) -> Option<Interval> {
        if g.type_of(value).is_scalar() {
            let index = g.type_of(value) == &ValueType::index();
            return index.then_some(Interval { lo: value, hi: value });
        }
        let inputs = g.inputs(value.node);
        let of = |g: &mut Graph, n: usize| self.interval(g, inputs[n]);
        match g.node(value.node).op.clone() {
            Op::Iota => {
                let last = match *g.type_of(value).axes.first()? {
                    Axis::One => self.index(g, 0),
                    Axis::Fixed(n) => self.index(g, n as i64 - 1),
                    Axis::Span { span, times } => {
                        let SpanDef { start, end, .. } = g.span(span).clone();
                        let length = self.two(g, ElemOp::Sub, end, start);
                        let times = self.index(g, times as i64);
                        let count = self.two(g, ElemOp::Mul, length, times);
                        let one = self.index(g, 1);
                        self.two(g, ElemOp::Sub, count, one)
                    }
                };
                Some(Interval { lo: self.index(g, 0), hi: last })
            }
            Op::Reshape { .. } | Op::Broadcast | Op::Permute { .. } => of(g, 0),
            Op::Elem(op) => match op {
                ElemOp::Add | ElemOp::Max | ElemOp::Min => {
                    let (a, b) = (of(g, 0)?, of(g, 1)?);
                    Some(Interval { lo: self.two(g, op, a.lo, b.lo), hi: self.two(g, op, a.hi, b.hi) })
                }
                ElemOp::Sub => {
                    let (a, b) = (of(g, 0)?, of(g, 1)?);
                    Some(Interval { lo: self.two(g, op, a.lo, b.hi), hi: self.two(g, op, a.hi, b.lo) })
                }
                ElemOp::Abs => {
                    let a = of(g, 0)?;
                    let zero = self.index(g, 0);
                    let (low, high) =
                        (self.two(g, ElemOp::Sub, zero, a.lo), self.two(g, ElemOp::Sub, zero, a.hi));
                    let nearest = self.two(g, ElemOp::Max, a.lo, high);
                    Some(Interval {
                        lo: self.two(g, ElemOp::Max, nearest, zero),
                        hi: self.two(g, ElemOp::Max, a.hi, low),
                    })
                }
                // By a scalar that is shown to be positive.
                ElemOp::Mul | ElemOp::Div => {
                    let (a, by) = (of(g, 0)?, inputs[1]);
                    let scalar = g.type_of(by).is_scalar();
                    let positive = scalar
                        && (g.int(by).is_some_and(|c| c > 0) || facts::positive(g, self.at.region, by));
                    positive
                        .then(|| Interval { lo: self.two(g, op, a.lo, by), hi: self.two(g, op, a.hi, by) })
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn unknown(&self, g: &mut Graph) -> Bounds {
        Bounds { must: self.literal(g, false), may: self.literal(g, true) }
    }

    fn literal(&self, g: &mut Graph, value: bool) -> Value {
        let ty = ValueType::scalar(tile_base::DType::Bool);
        insert(g, self.at, Op::Const(Literal::Bool(value)), vec![ty], &[])[0]
    }

    fn index(&self, g: &mut Graph, value: i64) -> Value {
        scalar(g, self.at, Literal::Int(value))
    }

    fn two(&self, g: &mut Graph, op: ElemOp, a: Value, b: Value) -> Value {
        index(g, self.at, op, a, b)
    }

    fn test(&self, g: &mut Graph, op: ElemOp, a: Value, b: Value) -> Value {
        let ty = ValueType::scalar(tile_base::DType::Bool);
        insert(g, self.at, Op::Elem(op), vec![ty], &[a, b])[0]
    }

    /// `a && b` or `a || b`, with what literals decide decided.
    fn both(&self, g: &mut Graph, op: ElemOp, a: Value, b: Value) -> Value {
        let decides = op == ElemOp::Or;
        match (g.literal(a), g.literal(b)) {
            (Some(Literal::Bool(x)), _) => {
                if x == decides {
                    a
                } else {
                    b
                }
            }
            (_, Some(Literal::Bool(y))) => {
                if y == decides {
                    b
                } else {
                    a
                }
            }
            _ => self.test(g, op, a, b),
        }
    }

    fn not(&self, g: &mut Graph, a: Value) -> Value {
        match g.literal(a) {
            Some(Literal::Bool(x)) => self.literal(g, !x),
            _ => {
                let ty = ValueType::scalar(tile_base::DType::Bool);
                insert(g, self.at, Op::Elem(ElemOp::Not), vec![ty], &[a])[0]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{laws::loop_named, print, samples};
    use tile_base::DType;

    #[test]
    fn full_blocks_of_a_causal_mask_are_not_masked() {
        let mut g = samples::flash(DType::F16, 64, true);
        assert_eq!(peel_full(&mut g), 1);
        crate::verify(&g).expect("the law keeps the invariants");
        insta::assert_snapshot!(print(&g));
        // Without a mask there is nothing to leave out.
        assert_eq!(peel_full(&mut samples::flash(DType::F16, 64, false)), 0);
    }

    /// Bounds of a predicate of two tiles of positions, as they are on a grid of blocks.
    #[test]
    fn bounds_agree_with_every_position() {
        let compare = |op: ElemOp, a: i64, b: i64| match op {
            ElemOp::Lt => a < b,
            ElemOp::Le => a <= b,
            ElemOp::Gt => a > b,
            ElemOp::Ge => a >= b,
            ElemOp::Eq => a == b,
            _ => a != b,
        };
        for op in [ElemOp::Lt, ElemOp::Le, ElemOp::Gt, ElemOp::Ge, ElemOp::Eq, ElemOp::Ne] {
            for (a, b) in (0..6).flat_map(|a| (0..6).map(move |b| (a, b))) {
                for (m, n) in [(1, 1), (1, 3), (2, 1), (3, 2)] {
                    let mut g = samples::flash(DType::F16, 64, true);
                    let node = loop_named(&g, "j").expect("the loop over keys");
                    let at = At { region: g.node(node).region, before: Some(node), span: Default::default() };
                    let blocks = Blocks { at };
                    let mut between =
                        |lo, hi| Interval { lo: blocks.index(&mut g, lo), hi: blocks.index(&mut g, hi) };
                    let (x, y) = (between(a, a + m - 1), between(b, b + n - 1));
                    let Bounds { must, may } = blocks.compared(&mut g, op, x, y);
                    let found = [must, may].map(|v| fold(&g, v));
                    let all = (a..a + m).flat_map(|x| (b..b + n).map(move |y| compare(op, x, y)));
                    let (every, some) = all.fold((true, false), |(e, s), t| (e && t, s || t));
                    assert_eq!(found, [every, some], "{op:?} of {a}+{m} and {b}+{n}");
                }
            }
        }
    }

    /// The value of a condition over literals.
    fn fold(g: &Graph, v: Value) -> bool {
        fn int(g: &Graph, v: Value) -> i64 {
            g.int(v).expect("a literal")
        }
        let inputs = g.inputs(v.node);
        match &g.node(v.node).op {
            Op::Const(Literal::Bool(b)) => *b,
            Op::Elem(ElemOp::Not) => !fold(g, inputs[0]),
            Op::Elem(ElemOp::And) => fold(g, inputs[0]) && fold(g, inputs[1]),
            Op::Elem(ElemOp::Or) => fold(g, inputs[0]) || fold(g, inputs[1]),
            Op::Elem(ElemOp::Lt) => int(g, inputs[0]) < int(g, inputs[1]),
            Op::Elem(ElemOp::Le) => int(g, inputs[0]) <= int(g, inputs[1]),
            Op::Elem(ElemOp::Gt) => int(g, inputs[0]) > int(g, inputs[1]),
            Op::Elem(ElemOp::Ge) => int(g, inputs[0]) >= int(g, inputs[1]),
            Op::Elem(ElemOp::Eq) => int(g, inputs[0]) == int(g, inputs[1]),
            op => panic!("{op:?}"),
        }
    }
}
