//! Reading elements of arrays: one, a run, a strided run, or scattered ones.

use super::{
    super::{
        array::is_undefined,
        code::{ArrayId, NodeId},
    },
    Evaluator, Fault, Val,
};

impl Evaluator<'_> {
    pub(super) fn load_scalar(
        &mut self,
        node: NodeId,
        array: ArrayId,
        subscripts: &[NodeId],
        otherwise: Option<NodeId>,
    ) -> f64 {
        if !self.check_defined(node, array) {
            return f64::NAN;
        }
        let arrays = self.arrays;
        let a = &arrays[array];
        let mut offset = 0;
        for (axis, &s) in subscripts.iter().enumerate() {
            let at = self.position(s);
            let (lo, hi) = (a.lo[axis], a.hi(axis));
            if at < lo || at >= hi {
                return match otherwise {
                    Some(other) => self.scalar(other),
                    None => {
                        self.fail(node, Fault::Outside { axis, at, lo, hi });
                        f64::NAN
                    }
                };
            }
            offset += (at - lo) as usize * a.strides[axis];
        }
        let v = a.data[offset];
        if a.gaps && is_undefined(v) {
            let at = subscripts.iter().map(|&s| self.position(s)).collect();
            self.fail(node, Fault::Undefined { at });
        }
        v
    }

    fn check_defined(&mut self, node: NodeId, array: ArrayId) -> bool {
        if !self.arrays[array].defined {
            self.fail(node, Fault::Undefined { at: vec![] });
        }
        self.arrays[array].defined
    }

    /// The value of a subscript that does not depend on the lane index.
    fn position(&mut self, node: NodeId) -> i64 {
        let code = self.code;
        match &code.affine[node] {
            Some(f) => f.terms.iter().fold(f.constant, |v, &(slot, c)| v + c * self.f.env[slot]),
            None => self.integer(node),
        }
    }

    pub(super) fn load_lanes(
        &mut self,
        node: NodeId,
        array: ArrayId,
        subscripts: &[NodeId],
        otherwise: Option<NodeId>,
    ) -> Val {
        if !self.check_defined(node, array) {
            return Val::One(f64::NAN);
        }
        let Some(lane) = self.f.lane else { return Val::One(f64::NAN) };
        let (arrays, code, n) = (self.arrays, self.code, self.f.n);
        let a = &arrays[array];
        let (mut offset, mut step) = (0i64, 0i64);
        for (axis, &s) in subscripts.iter().enumerate() {
            if self.varies(s) && code.affine[s].is_none() {
                return self.gather(node, array, subscripts, otherwise);
            }
            let slope = match &code.affine[s] {
                Some(f) => f.terms.iter().find(|(slot, _)| *slot == lane).map_or(0, |t| t.1),
                None => 0,
            };
            let first = self.position(s);
            let last = first + slope * (n as i64 - 1);
            if first.min(last) < a.lo[axis] || first.max(last) >= a.hi(axis) {
                return self.gather(node, array, subscripts, otherwise);
            }
            offset += (first - a.lo[axis]) * a.strides[axis] as i64;
            step += slope * a.strides[axis] as i64;
        }
        if a.gaps {
            let hole = |l: usize| is_undefined(a.data[(offset + l as i64 * step) as usize]);
            if (0..n).any(|l| self.active(l) && hole(l)) {
                self.fail(node, Fault::Undefined { at: vec![] });
            }
        }
        match step {
            0 => Val::One(a.data[offset as usize]),
            1 => Val::Mem(array, offset as usize),
            _ => {
                let mut reg = self.take(node);
                let mut at = offset;
                for r in &mut reg[..n] {
                    *r = a.data[at as usize];
                    at += step;
                }
                self.give(node, reg)
            }
        }
    }

    /// Each lane at its own place; some may lie outside.
    fn gather(
        &mut self,
        node: NodeId,
        array: ArrayId,
        subscripts: &[NodeId],
        otherwise: Option<NodeId>,
    ) -> Val {
        let (arrays, n) = (self.arrays, self.f.n);
        let a = &arrays[array];
        let mut offsets = vec![Some(0usize); n];
        for (axis, &s) in subscripts.iter().enumerate() {
            let v = self.lanes(s);
            let (lo, hi) = (a.lo[axis], a.hi(axis));
            for (l, offset) in offsets.iter_mut().enumerate() {
                if !self.active(l) {
                    *offset = None;
                    continue;
                }
                let value = self.source(v).at(l);
                let at = value as i64;
                if value.fract() != 0.0 {
                    self.fail(s, Fault::NotInteger { value });
                } else if at < lo || at >= hi {
                    if otherwise.is_none() {
                        self.fail(node, Fault::Outside { axis, at, lo, hi });
                    }
                    *offset = None;
                } else if let Some(o) = offset {
                    *o += (at - lo) as usize * a.strides[axis];
                }
            }
        }
        let other = match otherwise {
            Some(other) => {
                self.under_mask(|l| offsets[l].is_none(), |e| e.lanes(other)).unwrap_or(Val::One(f64::NAN))
            }
            None => Val::One(f64::NAN),
        };
        let mut reg = self.take(node);
        let mut hole = false;
        for (l, r) in reg[..n].iter_mut().enumerate() {
            *r = match offsets[l] {
                Some(o) => a.data[o],
                None => self.source(other).at(l),
            };
            hole |= a.gaps && is_undefined(*r) && self.active(l);
        }
        if hole {
            self.fail(node, Fault::Undefined { at: vec![] });
        }
        self.give(node, reg)
    }
}
