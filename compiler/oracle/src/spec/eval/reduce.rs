//! Reductions: along lanes to one value, or with lanes kept.

use super::{
    super::code::{BLOCK, BinaryFn, Binder, Fold, NodeId, Op},
    Evaluator, Fault, Source, Val, is_true, lanes, math,
};

/// The running state of a fold: the value, and beside it the position (arg reductions) or the running sum of
/// exponentials relative to the value (log-sum-exp).
#[derive(Clone, Copy)]
struct State {
    value: f64,
    beside: f64,
    empty: bool,
}

fn identity(kind: Fold) -> State {
    let value = match kind {
        Fold::Sum | Fold::Any => 0.0,
        Fold::Prod | Fold::All => 1.0,
        Fold::Max | Fold::ArgMax | Fold::LogSumExp => f64::NEG_INFINITY,
        Fold::Min | Fold::ArgMin => f64::INFINITY,
    };
    State { value, beside: 0.0, empty: true }
}

/// Takes in one more value, which stands at position `at`.
#[inline(always)]
fn step(kind: Fold, s: &mut State, x: f64, at: i64) {
    match kind {
        Fold::Sum => s.value += x,
        Fold::Prod => s.value *= x,
        Fold::Max => s.value = math::max(s.value, x),
        Fold::Min => s.value = math::min(s.value, x),
        Fold::Any => s.value = (is_true(s.value) || is_true(x)) as u8 as f64,
        Fold::All => s.value = (is_true(s.value) && is_true(x)) as u8 as f64,
        Fold::ArgMax | Fold::ArgMin => {
            let better = if kind == Fold::ArgMax { x > s.value } else { x < s.value };
            // The first element stands until something is strictly better; a NaN never is.
            if s.empty || better {
                s.beside = at as f64;
            }
            if better {
                s.value = x;
            }
        }
        Fold::LogSumExp => {
            if x > s.value {
                let scale = if s.value == f64::NEG_INFINITY { 0.0 } else { (s.value - x).exp() };
                s.beside = s.beside * scale + 1.0;
                s.value = x;
            } else if x.is_nan() {
                s.beside = f64::NAN;
            } else if x != f64::NEG_INFINITY {
                s.beside += if x == s.value { 1.0 } else { (x - s.value).exp() };
            }
        }
    }
    s.empty = false;
}

fn result(kind: Fold, s: &State) -> f64 {
    match kind {
        Fold::ArgMax | Fold::ArgMin => s.beside,
        Fold::LogSumExp if s.beside.is_nan() => f64::NAN,
        Fold::LogSumExp if s.value == f64::NEG_INFINITY => s.value,
        Fold::LogSumExp => s.value + s.beside.ln(),
        _ => s.value,
    }
}

impl Evaluator<'_> {
    /// A reduction that does not depend on the lane index outside.
    pub(super) fn reduce_scalar(
        &mut self,
        node: NodeId,
        kind: Fold,
        binders: &[Binder],
        body: NodeId,
    ) -> f64 {
        let mut state = identity(kind);
        self.with_lane(None, |e| e.reduce_level(kind, binders, body, &mut state));
        if state.empty && matches!(kind, Fold::ArgMax | Fold::ArgMin) {
            self.fail(node, Fault::EmptyArg);
        }
        result(kind, &state)
    }

    fn reduce_level(&mut self, kind: Fold, binders: &[Binder], body: NodeId, state: &mut State) {
        let [binder, rest @ ..] = binders else { return };
        let (lo, hi) = (self.integer(binder.lo), self.integer(binder.hi));
        if !rest.is_empty() {
            for v in lo..hi {
                self.set(binder.slot, v);
                self.reduce_level(kind, rest, body, state);
                if self.failed() {
                    return;
                }
            }
            return;
        }
        let mut base = lo;
        while base < hi && !self.failed() {
            let n = (hi - base).min(BLOCK as i64) as usize;
            self.set(binder.slot, base);
            (self.f.lane, self.f.n) = (Some(binder.slot), n);
            self.fold_block(kind, body, n, base, state);
            (self.f.lane, self.f.n) = (None, 1);
            base += n as i64;
        }
    }

    fn fold_block(&mut self, kind: Fold, body: NodeId, n: usize, base: i64, state: &mut State) {
        if kind == Fold::Sum {
            state.empty = false;
            // The sum of products is one loop over both operands.
            if let Op::Binary(BinaryFn::Mul, a, b) = self.code.ops[body] {
                let (a, b) = (self.lanes(a), self.lanes(b));
                state.value += lanes::dot(self.source(a), self.source(b), n);
                return;
            }
            let v = self.lanes(body);
            match self.source(v) {
                Source::One(v) => state.value += v * n as f64,
                Source::Run(run) => state.value += lanes::sum(&run[..n]),
            }
            return;
        }
        let v = self.lanes(body);
        let v = self.source(v);
        for l in 0..n {
            step(kind, state, v.at(l), base + l as i64);
        }
    }

    /// A reduction with a value for each lane.
    pub(super) fn reduce_lanes(&mut self, node: NodeId, kind: Fold, binders: &[Binder], body: NodeId) -> Val {
        let n = self.f.n;
        if kind != Fold::Sum {
            return self.reduce_lanes_slow(node, kind, binders, body);
        }
        let mut acc = self.take(node);
        acc[..n].fill(0.0);
        self.sum_level(binders, body, &mut acc);
        self.give(node, acc)
    }

    /// Calls `visit` for every position of a binder, under a mask where the range depends on the lane.
    fn each_position(&mut self, binder: &Binder, mut visit: impl FnMut(&mut Self, i64)) {
        let (lo, hi) = (self.lanes(binder.lo), self.lanes(binder.hi));
        if let (Val::One(lo), Val::One(hi)) = (lo, hi) {
            for v in lo as i64..hi as i64 {
                self.set(binder.slot, v);
                visit(self, v);
                if self.failed() {
                    return;
                }
            }
            return;
        }
        let n = self.f.n;
        let ranges: Vec<(i64, i64)> =
            (0..n).map(|l| (self.source(lo).at(l) as i64, self.source(hi).at(l) as i64)).collect();
        let live = || (0..n).filter(|&l| self.active(l) && ranges[l].0 < ranges[l].1);
        let Some(first) = live().map(|l| ranges[l].0).min() else { return };
        let last = live().map(|l| ranges[l].1).max().unwrap_or(first);
        for v in first..last {
            self.set(binder.slot, v);
            self.under_mask(|l| ranges[l].0 <= v && v < ranges[l].1, |e| visit(e, v));
            if self.failed() {
                return;
            }
        }
    }

    fn sum_level(&mut self, binders: &[Binder], body: NodeId, acc: &mut [f64]) {
        let Some((binder, rest)) = binders.split_first() else { return };
        self.each_position(binder, |e, _| {
            if rest.is_empty() {
                e.add_lanes(body, acc);
            } else {
                e.sum_level(rest, body, acc);
            }
        });
    }

    fn add_lanes(&mut self, body: NodeId, acc: &mut [f64]) {
        let n = self.f.n;
        if !self.f.masked
            && let Op::Binary(BinaryFn::Mul, a, b) = self.code.ops[body]
        {
            let (a, b) = (self.lanes(a), self.lanes(b));
            lanes::multiply_add(&mut acc[..n], self.source(a), self.source(b));
            return;
        }
        let v = self.lanes(body);
        let v = self.source(v);
        for (l, sum) in acc.iter_mut().enumerate().take(n) {
            if self.active(l) {
                *sum += v.at(l);
            }
        }
    }

    fn reduce_lanes_slow(&mut self, node: NodeId, kind: Fold, binders: &[Binder], body: NodeId) -> Val {
        let n = self.f.n;
        let mut states = vec![identity(kind); n];
        self.step_level(kind, binders, body, &mut states);
        let mut reg = self.take(node);
        for (l, state) in states.iter().enumerate() {
            if state.empty && self.active(l) && matches!(kind, Fold::ArgMax | Fold::ArgMin) {
                self.fail(node, Fault::EmptyArg);
            }
            reg[l] = result(kind, state);
        }
        self.give(node, reg)
    }

    fn step_level(&mut self, kind: Fold, binders: &[Binder], body: NodeId, states: &mut [State]) {
        let Some((binder, rest)) = binders.split_first() else { return };
        self.each_position(binder, |e, at| {
            if !rest.is_empty() {
                return e.step_level(kind, rest, body, states);
            }
            let v = e.lanes(body);
            let v = e.source(v);
            for (l, state) in states.iter_mut().enumerate() {
                if e.active(l) {
                    step(kind, state, v.at(l), at);
                }
            }
        });
    }
}
