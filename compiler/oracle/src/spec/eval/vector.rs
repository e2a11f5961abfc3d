//! Functions of whole vectors: softmax, scans, sorting, selection.

use super::{
    super::code::{BLOCK, NodeId, Op, Slot, VectorFn},
    Evaluator, Fault, Source, Val, math,
};

/// No vector of a spec is longer (16 GiB of f64).
const MAX_LEN: f64 = (1u64 << 31) as f64;

impl Evaluator<'_> {
    /// Computes the buffer of a `Vector` node, unless it is there.
    pub(super) fn vector(&mut self, node: NodeId) {
        if self.is_fresh(node, self.f.vector_at[node]) {
            return;
        }
        let Op::Vector { function, slot, len, body, parameter } = self.code.ops[node] else {
            self.fail(node, Fault::Internal("not a vector"));
            return;
        };
        let len = self.scalar(len);
        if !(0.0..=MAX_LEN).contains(&len) {
            self.fail(node, Fault::TooLong { len });
            return;
        }
        let parameter = parameter.map(|p| self.scalar(p));
        let mut data = std::mem::take(&mut self.f.vectors[node]);
        data.clear();
        self.with_lane(None, |e| e.materialise(slot, len as usize, body, &mut data));
        if let Err(fault) = apply(function, &mut data, parameter) {
            self.fail(node, fault);
        }
        self.f.vectors[node] = data;
        self.f.vector_at[node] = self.f.clock;
    }

    fn materialise(&mut self, slot: Slot, len: usize, body: NodeId, out: &mut Vec<f64>) {
        while out.len() < len && !self.failed() {
            let (base, n) = (out.len(), (len - out.len()).min(BLOCK));
            self.set(slot, base as i64);
            (self.f.lane, self.f.n) = (Some(slot), n);
            let v = self.lanes(body);
            match self.source(v) {
                Source::One(v) => out.resize(base + n, v),
                Source::Run(run) => out.extend_from_slice(&run[..n]),
            }
            (self.f.lane, self.f.n) = (None, 1);
        }
    }

    /// Elements of a vector by lanes: a run of one vector, or one element of each lane's own vector.
    pub(super) fn vector_at_lanes(&mut self, node: NodeId, vector: NodeId, slot: Slot) -> Val {
        if self.varies(vector) {
            return self.lane_by_lane(node);
        }
        self.vector(vector);
        let n = self.f.n;
        let base = self.f.env[slot];
        let mut reg = self.take(node);
        let found = usize::try_from(base).ok().and_then(|b| self.f.vectors[vector].get(b..b + n));
        match found {
            Some(run) => reg[..n].copy_from_slice(run),
            None => {
                let hi = self.f.vectors[vector].len() as i64;
                self.fail(node, Fault::Outside { axis: 0, at: base + n as i64 - 1, lo: 0, hi });
            }
        }
        self.give(node, reg)
    }
}

fn apply(function: VectorFn, data: &mut Vec<f64>, parameter: Option<f64>) -> Result<(), Fault> {
    let scan = |data: &mut [f64], reverse: bool, exclusive: bool, unit: f64, f: fn(f64, f64) -> f64| {
        let mut acc = unit;
        let mut visit = |x: &mut f64| {
            let with = f(acc, *x);
            *x = if exclusive { acc } else { with };
            acc = with;
        };
        if reverse { data.iter_mut().rev().for_each(&mut visit) } else { data.iter_mut().for_each(visit) }
    };
    match function {
        VectorFn::Softmax => softmax(data),
        VectorFn::LogSoftmax => {
            let m = data.iter().copied().fold(f64::NEG_INFINITY, math::max);
            let lse = m + data.iter().map(|x| (x - m).exp()).sum::<f64>().ln();
            data.iter_mut().for_each(|x| *x = if m == f64::NEG_INFINITY { m } else { *x - lse });
        }
        VectorFn::CumSum { reverse, exclusive } => scan(data, reverse, exclusive, 0.0, |a, b| a + b),
        VectorFn::CumProd { reverse, exclusive } => scan(data, reverse, exclusive, 1.0, |a, b| a * b),
        VectorFn::CumMax { reverse } => scan(data, reverse, false, f64::NEG_INFINITY, math::max),
        VectorFn::Sort { descending } => {
            *data = sorted(data, descending).into_iter().map(|(_, v)| v).collect()
        }
        VectorFn::ArgSort { descending } => {
            *data = sorted(data, descending).into_iter().map(|(i, _)| i as f64).collect();
        }
        VectorFn::TopK | VectorFn::ArgTopK => {
            let k = size(parameter, data.len())?;
            if k > data.len() {
                return Err(Fault::VectorSize { asked: k as f64, len: data.len() });
            }
            let best = sorted(data, true).into_iter().take(k);
            *data = match function {
                VectorFn::TopK => best.map(|(_, v)| v).collect(),
                _ => best.map(|(i, _)| i as f64).collect(),
            };
        }
        VectorFn::Histogram => {
            let bins = size(parameter, data.len())?;
            let mut counts = vec![0.0; bins];
            for &x in data.iter() {
                match counts.get_mut(x as usize) {
                    Some(c) if x >= 0.0 && x.fract() == 0.0 => *c += 1.0,
                    _ => return Err(Fault::Outside { axis: 0, at: x as i64, lo: 0, hi: bins as i64 }),
                }
            }
            *data = counts;
        }
    }
    Ok(())
}

fn size(parameter: Option<f64>, len: usize) -> Result<usize, Fault> {
    match parameter {
        Some(k) if (0.0..=MAX_LEN).contains(&k) && k.fract() == 0.0 => Ok(k as usize),
        other => Err(Fault::VectorSize { asked: other.unwrap_or(f64::NAN), len }),
    }
}

/// Softmax of a vector of nothing but -inf is 0.
fn softmax(data: &mut [f64]) {
    let m = data.iter().copied().fold(f64::NEG_INFINITY, math::max);
    if m == f64::NEG_INFINITY && !data.iter().any(|x| x.is_nan()) {
        data.fill(0.0);
        return;
    }
    data.iter_mut().for_each(|x| *x = (*x - m).exp());
    let total: f64 = data.iter().sum();
    data.iter_mut().for_each(|x| *x /= total);
}

/// Positions and values in order; equal ones keep their order, NaN comes last either way.
fn sorted(data: &[f64], descending: bool) -> Vec<(usize, f64)> {
    let mut all: Vec<(usize, f64)> = data.iter().copied().enumerate().collect();
    all.sort_by(|(_, a), (_, b)| {
        let (a_nan, b_nan) = (a.is_nan(), b.is_nan());
        if a_nan || b_nan {
            return a_nan.cmp(&b_nan);
        }
        let order = a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal);
        if descending { order.reverse() } else { order }
    });
    all
}
