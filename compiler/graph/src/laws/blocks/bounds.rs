//! Scalar bounds of predicates and least and greatest values of what they compare, over one block.
//!
//! ```text
//! j <= i + c            j, i, c: positions and scalars           arithmetic on the ends of the spans
//! doc[i] == doc[j]      a row and a column that are loaded       reductions: min and max of each
//! lo[i] + 1 <= j        one loaded, one a position               min and max of the row lo[i] + 1; arithmetic
//! live[j] && j <= i     a row of bools                           all and any of it
//! ```
//!
//! Rows of floats may hold NaN, which a minimum passes over: they are bounds only together with *ordered*, which says that
//! there is none. Then `must` of a comparison asks for it too (a comparison with NaN is false, `!=` is true).

use crate::{
    facts,
    ir::*,
    laws::cut::{At, index, insert, scalar},
    op::*,
};
use std::collections::BTreeSet;
use tile_base::DType;

/// Scalar bounds of a predicate over a block.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// True only where the predicate is true everywhere.
    pub must: Value,
    /// False only where it is false everywhere.
    pub may: Value,
}

/// Least and greatest value of an expression over a block.
#[derive(Clone, Copy)]
pub(super) struct Interval {
    pub lo: Value,
    pub hi: Value,
    /// Of floats: whether none of the values is NaN.
    pub ordered: Option<Value>,
}

impl Interval {
    fn of(lo: Value, hi: Value) -> Interval {
        Interval { lo, hi, ordered: None }
    }
}

/// Builds bounds at one place. Blocks have at least one position.
pub(super) struct Blocks {
    at: At,
    /// Whether rows may be reduced for their bounds.
    measures: bool,
    /// The reductions that were made for it.
    pub measured: Vec<Value>,
}

impl Blocks {
    /// Bounds of positions and scalars alone.
    pub fn of_positions(at: At) -> Blocks {
        Blocks { at, measures: false, measured: vec![] }
    }

    /// Bounds of rows and columns of any origin, too.
    pub fn measuring(at: At) -> Blocks {
        Blocks { at, measures: true, measured: vec![] }
    }

    pub fn bounds(&mut self, g: &mut Graph, value: Value) -> Bounds {
        let inputs = g.inputs(value.node);
        match g.node(value.node).op.clone() {
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
            Op::Elem(op) if op.is_predicate() && inputs.len() == 2 => self.comparison(g, op, value, &inputs),
            // Of one element, of any, of all: the bounds hold for the whole block.
            Op::Reduce { kind: ReduceKind::Any | ReduceKind::All, .. }
            | Op::Reshape { .. }
            | Op::Broadcast
            | Op::Permute { .. } => self.bounds(g, inputs[0]),
            _ => self.row_of_bools(g, value),
        }
    }

    /// Whether a scalar was made of tiles here.
    fn is_of_tiles(&self, g: &Graph, value: Value) -> bool {
        g.made_of(self.at.region, &[value]).into_iter().any(|v| !g.type_of(v).is_scalar())
    }

    fn comparison(&mut self, g: &mut Graph, op: ElemOp, value: Value, inputs: &[Value]) -> Bounds {
        // Two rows along one axis are compared element by element: their intervals would say less than all and any.
        let rows = inputs.iter().all(|&v| g.uniform(v).is_none());
        if rows && long_axis(g, value).is_some() && self.measurable(g, value).is_some() {
            return self.row_of_bools(g, value);
        }
        match (self.interval(g, inputs[0]), self.interval(g, inputs[1])) {
            (Some(a), Some(b)) => self.compared(g, op, a, b),
            _ => self.row_of_bools(g, value),
        }
    }

    pub fn compared(&self, g: &mut Graph, op: ElemOp, a: Interval, b: Interval) -> Bounds {
        let Bounds { must, may } = match op {
            // Every a is below every b; some a may be below some b.
            ElemOp::Lt | ElemOp::Le => {
                Bounds { must: self.test(g, op, a.hi, b.lo), may: self.test(g, op, a.lo, b.hi) }
            }
            ElemOp::Gt | ElemOp::Ge => {
                Bounds { must: self.test(g, op, a.lo, b.hi), may: self.test(g, op, a.hi, b.lo) }
            }
            ElemOp::Eq => {
                let below = self.test(g, ElemOp::Le, a.lo, b.hi);
                let above = self.test(g, ElemOp::Le, b.lo, a.hi);
                let one = self.test(g, ElemOp::Eq, a.lo, b.hi);
                let other = self.test(g, ElemOp::Eq, a.hi, b.lo);
                Bounds {
                    must: self.both(g, ElemOp::And, one, other),
                    may: self.both(g, ElemOp::And, below, above),
                }
            }
            ElemOp::Ne => {
                // Where something is NaN it differs from everything.
                let Bounds { must, may } = self.compared(g, ElemOp::Eq, a, b);
                return Bounds { must: self.not(g, may), may: self.not(g, must) };
            }
            _ => return self.unknown(g),
        };
        let ordered = [a.ordered, b.ordered].into_iter().flatten();
        let must = ordered.fold(must, |must, o| self.both(g, ElemOp::And, must, o));
        Bounds { must, may }
    }

    pub fn interval(&mut self, g: &mut Graph, value: Value) -> Option<Interval> {
        if let Some(scalar) = g.uniform(value) {
            return self.of_scalar(g, scalar);
        }
        let inputs = g.inputs(value.node);
        let op = g.node(value.node).op.clone();
        if let Op::Reshape { .. } | Op::Broadcast | Op::Permute { .. } = op {
            return self.interval(g, inputs[0]);
        }
        if let Some(axis) = self.measurable(g, value) {
            return Some(self.measure(g, value, axis));
        }
        // Only indices are exact: sums of other numbers wrap or round.
        if g.type_of(value).dtype != DType::I64 {
            return None;
        }
        match op {
            Op::Iota => self.positions(g, value),
            Op::Elem(op) => self.arithmetic(g, op, &inputs),
            _ => None,
        }
    }

    fn of_scalar(&self, g: &mut Graph, value: Value) -> Option<Interval> {
        let dtype = g.type_of(value).dtype;
        if !comparable(dtype) {
            return None;
        }
        let ordered = match (dtype.is_float(), g.literal(value)) {
            (true, Some(Literal::Float(v))) if !v.is_nan() => None,
            (true, _) => Some(self.test(g, ElemOp::Eq, value, value)),
            (false, _) => None,
        };
        Some(Interval { ordered, ..Interval::of(value, value) })
    }

    fn positions(&self, g: &mut Graph, value: Value) -> Option<Interval> {
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
        Some(Interval::of(self.index(g, 0), last))
    }

    fn arithmetic(&mut self, g: &mut Graph, op: ElemOp, inputs: &[Value]) -> Option<Interval> {
        match op {
            ElemOp::Add | ElemOp::Max | ElemOp::Min => {
                let (a, b) = (self.interval(g, inputs[0])?, self.interval(g, inputs[1])?);
                Some(Interval::of(self.two(g, op, a.lo, b.lo), self.two(g, op, a.hi, b.hi)))
            }
            ElemOp::Sub => {
                let (a, b) = (self.interval(g, inputs[0])?, self.interval(g, inputs[1])?);
                Some(Interval::of(self.two(g, op, a.lo, b.hi), self.two(g, op, a.hi, b.lo)))
            }
            ElemOp::Abs => {
                let a = self.interval(g, inputs[0])?;
                let zero = self.index(g, 0);
                let (low, high) =
                    (self.two(g, ElemOp::Sub, zero, a.lo), self.two(g, ElemOp::Sub, zero, a.hi));
                let nearest = self.two(g, ElemOp::Max, a.lo, high);
                Some(Interval::of(
                    self.two(g, ElemOp::Max, nearest, zero),
                    self.two(g, ElemOp::Max, a.hi, low),
                ))
            }
            // By a scalar that is shown to be positive.
            ElemOp::Mul | ElemOp::Div => {
                let (a, by) = (self.interval(g, inputs[0])?, inputs[1]);
                let scalar = g.type_of(by).is_scalar();
                let positive =
                    scalar && (g.int(by).is_some_and(|c| c > 0) || facts::positive(g, self.at.region, by));
                positive.then(|| Interval::of(self.two(g, op, a.lo, by), self.two(g, op, a.hi, by)))
            }
            _ => None,
        }
    }

    // ---- rows and columns

    /// The axis of a row that arithmetic on positions does not bound, if rows may be reduced here.
    fn measurable(&self, g: &Graph, value: Value) -> Option<u32> {
        let dtype = g.type_of(value).dtype;
        let fits = self.measures && (comparable(dtype) || dtype == DType::Bool);
        let axis = long_axis(g, value)?;
        let some = never_empty(g, g.type_of(value).axes[axis as usize]);
        (fits && some && !positional(g, value)).then_some(axis)
    }

    fn measure(&mut self, g: &mut Graph, row: Value, axis: u32) -> Interval {
        let lo = self.reduced(g, row, axis, ReduceKind::Min);
        let hi = self.reduced(g, row, axis, ReduceKind::Max);
        let ordered = g.type_of(row).dtype.is_float().then(|| {
            let ty = ValueType { dtype: DType::Bool, ..g.type_of(row).clone() };
            let number = insert(g, self.at, Op::Elem(ElemOp::Eq), vec![ty], &[row, row])[0];
            self.reduced(g, number, axis, ReduceKind::All)
        });
        Interval { lo, hi, ordered }
    }

    /// All and any of a row of bools; of anything else nothing is known.
    fn row_of_bools(&mut self, g: &mut Graph, value: Value) -> Bounds {
        match self.measurable(g, value) {
            Some(axis) => Bounds {
                must: self.reduced(g, value, axis, ReduceKind::All),
                may: self.reduced(g, value, axis, ReduceKind::Any),
            },
            None => self.unknown(g),
        }
    }

    fn reduced(&mut self, g: &mut Graph, row: Value, axis: u32, kind: ReduceKind) -> Value {
        let mut ty = g.type_of(row).clone();
        ty.axes[axis as usize] = Axis::One;
        let scalar = ValueType::scalar(ty.dtype);
        let one = insert(g, self.at, Op::Reduce { axis, kind }, vec![ty], &[row])[0];
        let found = insert(g, self.at, Op::Reshape { axes: vec![] }, vec![scalar], &[one])[0];
        self.measured.push(found);
        found
    }

    // ---- nodes

    fn unknown(&self, g: &mut Graph) -> Bounds {
        Bounds { must: self.literal(g, false), may: self.literal(g, true) }
    }

    fn literal(&self, g: &mut Graph, value: bool) -> Value {
        let ty = ValueType::scalar(DType::Bool);
        insert(g, self.at, Op::Const(Literal::Bool(value)), vec![ty], &[])[0]
    }

    pub fn index(&self, g: &mut Graph, value: i64) -> Value {
        scalar(g, self.at, Literal::Int(value))
    }

    fn two(&self, g: &mut Graph, op: ElemOp, a: Value, b: Value) -> Value {
        index(g, self.at, op, a, b)
    }

    fn test(&self, g: &mut Graph, op: ElemOp, a: Value, b: Value) -> Value {
        let ty = ValueType::scalar(DType::Bool);
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
                let ty = ValueType::scalar(DType::Bool);
                insert(g, self.at, Op::Elem(ElemOp::Not), vec![ty], &[a])[0]
            }
        }
    }
}

/// The one axis of a value that is longer than 1.
fn long_axis(g: &Graph, value: Value) -> Option<u32> {
    let axes = &g.type_of(value).axes;
    let mut long = (0..axes.len()).filter(|&a| axes[a] != Axis::One);
    long.next().filter(|_| long.next().is_none()).map(|a| a as u32)
}

/// Whether an axis has a position in every step: spans of loops have, which a `skip` names once more; one that is clipped may
/// have none, and the least of nothing is no number to go on with.
fn never_empty(g: &Graph, axis: Axis) -> bool {
    let Axis::Span { span, .. } = axis else { return true };
    let start = g.node(g.span(span).start.node);
    matches!(start.op, Op::RegionArgs) || g.region(start.region).kind == RegionKind::Skip
}

/// Numbers of which every backend takes minima and maxima.
fn comparable(dtype: DType) -> bool {
    matches!(
        dtype,
        DType::I64
            | DType::I32
            | DType::I16
            | DType::I8
            | DType::U8
            | DType::F64
            | DType::F32
            | DType::F16
            | DType::Bf16
    )
}

/// Whether a tile is made of positions and scalars alone.
fn positional(g: &Graph, value: Value) -> bool {
    let (mut seen, mut open) = (BTreeSet::new(), vec![value]);
    while let Some(v) = open.pop() {
        if g.type_of(v).is_scalar() || !seen.insert(v) {
            continue;
        }
        match g.node(v.node).op {
            Op::Iota => {}
            Op::Elem(_) | Op::Cast | Op::Broadcast | Op::Reshape { .. } | Op::Permute { .. } => {
                open.extend(g.inputs(v.node));
            }
            _ => return false,
        }
    }
    true
}
