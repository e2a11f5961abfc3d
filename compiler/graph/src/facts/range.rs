//! Between which integers a value lies, whatever the launch: an interval for each integer value.
//!
//! Dimensions are 0 to 2^31 - 1 (a launch refuses others), positions lie within them, elements of index tensors within
//! what their type says, other integers within their dtype. Arithmetic is exact, so an interval beyond 64 bits means
//! that the operation may leave them; [`may_overflow`] asks just that.
//!
//! ```text
//! b in B            0 .. 2^31 - 2
//! b * M * N + i     0 .. about 2^93        may leave 64 bits: a back end has to look
//! b * M + i         0 .. about 2^62        cannot
//! ```

use crate::{ir::*, op::*};
use std::collections::HashMap;
use tile_base::{DType, IndexKind};

/// The greatest dimension that a launch takes.
const MAX_DIM: i128 = (1 << 31) - 1;

/// Least and greatest value.
pub type Interval = (i128, i128);

/// The operations of index arithmetic (i64 results of elementwise nodes) that may leave 64 bits.
pub fn may_overflow(graph: &Graph) -> Vec<NodeId> {
    let mut reader = Reader { graph, known: HashMap::new() };
    graph
        .node_ids()
        .filter(|&node| {
            let n = graph.node(node);
            let arithmetic = matches!(n.op, Op::Elem(_)) && n.outputs[0].dtype == DType::I64;
            arithmetic && !within(reader.exact(node, 0), limits(DType::I64))
        })
        .collect()
}

/// The least that an integer may be.
pub fn least(graph: &Graph, value: Value) -> i128 {
    Reader { graph, known: HashMap::new() }.value(value, 0).0
}

/// Nodes that one interval looks through, one inside the other.
const DEEPEST: u32 = 200;

struct Reader<'a> {
    graph: &'a Graph,
    known: HashMap<Value, Interval>,
}

fn limits(dtype: DType) -> Interval {
    let (lo, hi) = dtype.int_range().unwrap_or((i64::MIN, i64::MAX));
    (lo as i128, hi as i128)
}

fn within(a: Interval, b: Interval) -> bool {
    a.0 >= b.0 && a.1 <= b.1
}

fn union(a: Interval, b: Interval) -> Interval {
    (a.0.min(b.0), a.1.max(b.1))
}

/// The least and greatest of some products or the like.
fn hull(values: impl IntoIterator<Item = i128>) -> Interval {
    values.into_iter().fold((i128::MAX, i128::MIN), |a, v| (a.0.min(v), a.1.max(v)))
}

impl Reader<'_> {
    /// Where the stored value lies: what is exact, as far as its dtype holds it.
    fn value(&mut self, value: Value, depth: u32) -> Interval {
        if let Some(&known) = self.known.get(&value) {
            return known;
        }
        let all = limits(self.graph.type_of(value).dtype);
        let found = if depth > DEEPEST { all } else { self.look(value, depth) };
        let found = if within(found, all) { found } else { all };
        self.known.insert(value, found);
        found
    }

    fn look(&mut self, value: Value, depth: u32) -> Interval {
        let graph = self.graph;
        let node = graph.node(value.node);
        let inputs = graph.inputs(value.node);
        let all = limits(node.outputs.get(value.port as usize).map_or(DType::I64, |t| t.dtype));
        match &node.op {
            Op::Const(Literal::Int(v)) => (*v as i128, *v as i128),
            Op::Const(Literal::Bool(v)) => (*v as i128, *v as i128),
            Op::Dim(_) => (0, MAX_DIM),
            Op::Iota => (0, MAX_DIM),
            Op::Elem(_) => self.exact(value.node, depth),
            Op::Cast if graph.type_of(inputs[0]).dtype.is_int() => self.value(inputs[0], depth + 1),
            Op::Broadcast
            | Op::Reshape { .. }
            | Op::Permute { .. }
            | Op::Merge { .. }
            | Op::Split { .. }
            | Op::Slice { .. } => self.value(inputs[0], depth + 1),
            // At -1 there is 0.
            Op::Take { .. } => union(self.value(inputs[0], depth + 1), (0, 0)),
            Op::Concat { .. } => {
                inputs.iter().map(|&v| self.value(v, depth + 1)).reduce(union).unwrap_or(all)
            }
            Op::Reduce { kind: ReduceKind::Max | ReduceKind::Min, .. } => self.value(inputs[0], depth + 1),
            Op::Reduce { kind: ReduceKind::ArgMax | ReduceKind::ArgMin, .. } => (0, MAX_DIM),
            Op::TopK { .. } | Op::Sort { .. } if value.port == 1 => (-1, MAX_DIM),
            Op::Histogram { .. } => (0, MAX_DIM),
            Op::MakeSpan { .. } => {
                let (lo, hi) = (self.value(inputs[0], depth + 1), self.value(inputs[1], depth + 1));
                if value.port == 0 { lo } else { union(lo, hi) }
            }
            Op::Load(access) => match &graph.object(access.object).index {
                Some(IndexKind::IdOrNone(_)) => (-1, MAX_DIM),
                Some(_) => (0, MAX_DIM),
                None => all,
            },
            Op::RegionArgs => self.variable(value, depth).unwrap_or(all),
            Op::If { then, otherwise } => {
                let arm = |r: &mut Self, region: RegionId| {
                    let end = *graph.region(region).nodes.last()?;
                    let v = *graph.inputs(end).get(value.port as usize)?;
                    Some(r.value(v, depth + 1))
                };
                match (arm(self, *then), arm(self, *otherwise)) {
                    (Some(a), Some(b)) => union(a, b),
                    _ => all,
                }
            }
            _ => all,
        }
    }

    /// The variables of a loop or a `par` axis; a carried value may be anything.
    fn variable(&mut self, value: Value, depth: u32) -> Option<Interval> {
        let graph = self.graph;
        let owner = graph.region(graph.node(value.node).region).owner?;
        let iter = match &graph.node(owner).op {
            Op::Par(p) => p.iter,
            Op::For(f) => f.iter,
            _ => return None,
        };
        if value.port as usize >= iter.variables() {
            return None;
        }
        let inputs = graph.inputs(owner);
        let (lo, hi) = (self.value(inputs[0], depth + 1), self.value(inputs[1], depth + 1));
        Some(match (iter, value.port) {
            (Iter::Tiles { .. }, 2) => (0, (hi.1 - lo.0).max(0)),
            (Iter::Tiles { .. }, 1) => union(lo, hi),
            _ => (lo.0, (hi.1 - 1).max(lo.0)),
        })
    }

    /// What an elementwise operation gives before its dtype limits it.
    fn exact(&mut self, node: NodeId, depth: u32) -> Interval {
        let graph = self.graph;
        let n = graph.node(node);
        let Op::Elem(op) = n.op else { return limits(n.outputs[0].dtype) };
        let all = limits(n.outputs[0].dtype);
        let inputs = graph.inputs(node);
        if inputs.iter().any(|&v| {
            let t = graph.type_of(v).dtype;
            !t.is_int() && t != DType::Bool
        }) {
            return all;
        }
        let args: Vec<Interval> = inputs.iter().map(|&v| self.value(v, depth + 1)).collect();
        let a = args.first().copied().unwrap_or(all);
        let b = args.get(1).copied().unwrap_or(all);
        match op {
            ElemOp::Neg => (-a.1, -a.0),
            ElemOp::Abs => {
                (if a.0 <= 0 && a.1 >= 0 { 0 } else { a.0.abs().min(a.1.abs()) }, a.0.abs().max(a.1.abs()))
            }
            ElemOp::Add => (a.0 + b.0, a.1 + b.1),
            ElemOp::Sub => (a.0 - b.1, a.1 - b.0),
            ElemOp::Mul => hull([a.0 * b.0, a.0 * b.1, a.1 * b.0, a.1 * b.1]),
            ElemOp::Div if b.0 > 0 || b.1 < 0 => {
                let floor = |x: i128, y: i128| x.div_euclid(y) - i128::from(y < 0 && x.rem_euclid(y) != 0);
                hull([floor(a.0, b.0), floor(a.0, b.1), floor(a.1, b.0), floor(a.1, b.1)])
            }
            // By 0 is another fault; by -1 the least integer has no quotient.
            ElemOp::Div => (-a.0.abs().max(a.1.abs()), a.0.abs().max(a.1.abs())),
            ElemOp::Rem => (b.0.min(0), b.1.max(0)),
            ElemOp::Min => (a.0.min(b.0), a.1.min(b.1)),
            ElemOp::Max => (a.0.max(b.0), a.1.max(b.1)),
            ElemOp::Select => union(b, args.get(2).copied().unwrap_or(all)),
            ElemOp::Pow => power(a, b),
            // Bits that a shift pushes out are meant to be lost.
            ElemOp::Shr if a.0 >= 0 => (0, a.1),
            ElemOp::And if a.0 >= 0 || b.0 >= 0 => (0, if a.0 >= 0 { a.1 } else { b.1 }),
            ElemOp::Popcount => (0, 64),
            _ => all,
        }
    }
}

/// `a ^ b` where it is easily bounded: a non-negative base below 2^32 and an exponent of at most 2.
fn power(a: Interval, b: Interval) -> Interval {
    match a.0 >= 0 && a.1 < 1 << 32 && b.0 >= 0 && b.1 <= 2 {
        true => (0, (a.1 * a.1).max(1)),
        false => (i128::MIN, i128::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::Sketch;

    fn overflows(build: impl Fn(&mut Sketch, Value, Value) -> Value) -> bool {
        let mut s = Sketch::new("f", vec![], &["M", "N"]);
        let (m, n) = (s.dim("M"), s.dim("N"));
        let x = build(&mut s, m, n);
        may_overflow(s.b.graph()).contains(&x.node)
    }

    #[test]
    fn products_of_two_dimensions_fit_and_of_three_do_not() {
        assert!(!overflows(|s, m, n| s.elem(ElemOp::Mul, &[m, n])));
        assert!(overflows(|s, m, n| {
            let p = s.elem(ElemOp::Mul, &[m, n]);
            s.elem(ElemOp::Mul, &[p, n])
        }));
    }

    #[test]
    fn what_limits_a_factor_makes_it_fit() {
        assert!(!overflows(|s, m, n| {
            let p = s.elem(ElemOp::Mul, &[m, n]);
            let r = s.elem(ElemOp::Rem, &[p, n]);
            s.elem(ElemOp::Mul, &[r, m])
        }));
        assert!(!overflows(|s, m, n| {
            let d = s.elem(ElemOp::Sub, &[m, n]);
            s.elem(ElemOp::Neg, &[d])
        }));
    }
}
