//! Which index of an equation becomes its lane index.
//!
//! A small model of the evaluator in nanoseconds: a visit of a node costs a few, a lane of arithmetic half of one, a
//! lane read with a stride several. With it `o[i, d] = sum(j: p[i, j] * v[j, d])` gets lanes along `d` (rows of `v`
//! are read as runs, one visit for each `j`) and `x[i, j] = sum(d: q[i, d] * k[j, d])` gets none (the reduction runs
//! along `d` by itself), which is what a person would choose. Only speed depends on the answer.

use super::{
    array::Array,
    code::{BLOCK, Code, NodeId, Op, Slot, UnaryFn},
};

/// Nanoseconds for a visit of a node.
const VISIT: f64 = 8.0;
/// Trips guessed for a range that is not known before the equation runs.
const UNKNOWN: f64 = 64.0;

pub(super) struct Model<'a> {
    pub code: &'a Code,
    pub arrays: &'a [Array],
    /// Extents of the slots, where known.
    pub extents: Vec<Option<f64>>,
}

impl Model<'_> {
    /// The cost of a whole equation with `lane` as its lane index, and without when `None`.
    pub fn equation(&mut self, value: NodeId, free: &[Slot], lane: Option<Slot>) -> f64 {
        let extent = |s: &Slot| self.extents[*s].unwrap_or(UNKNOWN);
        let rows: f64 = free.iter().filter(|s| Some(**s) != lane).map(extent).product();
        let lanes = lane.map_or(1.0, |s| extent(&s));
        rows * (20.0 + lanes + self.node(value, lane, lanes))
    }

    fn node(&mut self, node: NodeId, lane: Option<Slot>, lanes: f64) -> f64 {
        let code = self.code;
        let varies = lane.is_some_and(|s| code.deps[node] >> s & 1 == 1);
        let (lane, lanes) = if varies { (lane, lanes) } else { (None, 1.0) };
        let visits = (lanes / BLOCK as f64).ceil().max(1.0);
        let own = visits * VISIT;
        match &code.ops[node] {
            Op::Const(_) | Op::Index(_) | Op::Var(_) => 0.5 * own,
            Op::Load { array, subscripts, .. } => own + self.load(*array, subscripts, lane, lanes),
            Op::Unary(f, a) => {
                let each = if matches!(f, UnaryFn::Neg | UnaryFn::Not | UnaryFn::Abs) { 0.5 } else { 6.0 };
                own + each * lanes + self.node(*a, lane, lanes)
            }
            Op::Reduce { binders, body, .. } => self.reduce(binders, *body, lane, lanes),
            Op::Vector { slot, len, body, .. } => {
                let len = self.code.constant(*len).unwrap_or(UNKNOWN);
                self.extents[*slot] = Some(len);
                own + len * 6.0 + self.node(*body, Some(*slot), len)
            }
            Op::VectorAt { vector, .. } => {
                let vector_varies = lane.is_some_and(|s| code.deps[*vector] >> s & 1 == 1);
                let times = if vector_varies { lanes } else { 1.0 };
                // A vector that stands still along the lanes is computed once for all of them.
                own + lanes + times * self.node(*vector, None, 1.0)
            }
            _ => {
                let below: f64 = code.children(node).iter().map(|&c| self.node(c, lane, lanes)).sum();
                own + 0.5 * lanes + below
            }
        }
    }

    fn load(&mut self, array: usize, subscripts: &[NodeId], lane: Option<Slot>, lanes: f64) -> f64 {
        let mut step = 0i64;
        let mut cost = 0.0;
        for (axis, &s) in subscripts.iter().enumerate() {
            let Some(slot) = lane.filter(|l| self.code.deps[s] >> l & 1 == 1) else {
                if self.code.affine[s].is_none() {
                    cost += VISIT;
                }
                continue;
            };
            match &self.code.affine[s] {
                Some(f) => {
                    let slope = f.terms.iter().find(|t| t.0 == slot).map_or(0, |t| t.1);
                    let stride = self.arrays[array].strides.get(axis).map_or(1, |&s| s as i64);
                    step += slope * stride;
                }
                None => return lanes * 12.0 + self.node(s, lane, lanes),
            }
        }
        cost + match step.unsigned_abs() {
            0 | 1 => VISIT,
            2..8 => 1.5 * lanes,
            _ => 4.0 * lanes,
        }
    }

    fn reduce(
        &mut self,
        binders: &[super::code::Binder],
        body: NodeId,
        lane: Option<Slot>,
        lanes: f64,
    ) -> f64 {
        let mut trips = 1.0;
        let mut last = (0, 1.0);
        for b in binders {
            let known = self.code.constant(b.lo).zip(self.code.constant(b.hi));
            let extent = known.map_or(UNKNOWN, |(lo, hi)| (hi - lo).max(0.0));
            self.extents[b.slot] = Some(extent);
            trips *= extent;
            last = (b.slot, extent);
        }
        match lane {
            Some(_) => trips * (VISIT + 0.5 * lanes + self.node(body, lane, lanes)),
            None => {
                let outer = if last.1 > 0.0 { trips / last.1 } else { 0.0 };
                outer * (VISIT + 0.4 * last.1 + self.node(body, Some(last.0), last.1))
            }
        }
    }
}
