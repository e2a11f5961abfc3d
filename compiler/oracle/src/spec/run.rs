//! Runs a compiled spec: statements in order, each equation over all of its free indices at once.
//!
//! An equation is a statement about whole arrays: `S[k, v] = S[k, v] - sum(c: S[c, v] * w[k, c])` reads the `S` from
//! before it on the right, everywhere. So its values are computed into a buffer of their own, row by row (a row runs
//! along the lane index), rows in parallel, and stored afterwards.

use super::{
    array::{Array, ArrayInfo, MAX_ELEMENTS, undefined},
    code::{BLOCK, NodeId, Op, Slot},
    cost::Model,
    equation::{Equation, Loop, Plan, RangeKind, Small, Step, TargetAxis},
    eval::{Evaluator, Fault, Frame},
    faults::report,
};
use rayon::prelude::*;
use tile_base::{Diagnostic, Diagnostics, Span};

/// Equations cheaper than this (nanoseconds, estimated) are not worth a thread.
const PARALLEL: f64 = 200_000.0;

pub(super) struct Runner<'a> {
    plan: &'a Plan,
    pub arrays: Vec<Array>,
    elements: usize,
    /// Lane index and estimated cost of equations that have run, by address of the equation.
    choices: std::collections::HashMap<*const Equation, (Option<usize>, f64)>,
    frames: std::collections::HashMap<*const Equation, Frame>,
}

/// The box that the free indices run through: least positions, extents, and whether some rows are cut shorter.
struct Domain {
    lo: Vec<i64>,
    extent: Vec<usize>,
    ragged: bool,
}

impl<'a> Runner<'a> {
    pub fn new(plan: &'a Plan, arrays: Vec<Array>) -> Self {
        let elements = arrays.iter().map(|a| a.data.len()).sum();
        Runner { plan, arrays, elements, choices: Default::default(), frames: Default::default() }
    }

    pub fn run(&mut self) -> Result<(), Diagnostics> {
        let plan = self.plan;
        self.steps(&plan.steps, &mut vec![])
    }

    fn steps(&mut self, steps: &'a [Step], env: &mut Vec<i64>) -> Result<(), Diagnostics> {
        for step in steps {
            match step {
                Step::Equation(e) => self.equation(e, env)?,
                Step::For(l) => self.repeat(l, env)?,
                Step::If { condition, then, otherwise } => {
                    let holds = self.small(condition, env)?[0] != 0.0;
                    self.steps(if holds { then } else { otherwise }, env)?;
                }
            }
        }
        Ok(())
    }

    fn small(&self, small: &Small, env: &[i64]) -> Result<Vec<f64>, Diagnostics> {
        let mut frame = Frame::new(&small.code);
        let mut e = Evaluator { code: &small.code, arrays: &self.arrays, f: &mut frame };
        env.iter().enumerate().for_each(|(slot, &v)| e.set(slot, v));
        let values = small.roots.iter().map(|&r| e.scalar(r)).collect();
        match frame.fault.take() {
            Some((node, fault)) => Err(vec![self.fault(&small.code, node, fault, small.span, &[])]),
            None => Ok(values),
        }
    }

    fn fault(
        &self,
        code: &super::code::Code,
        node: NodeId,
        fault: Fault,
        span: Span,
        at: &[(Slot, i64)],
    ) -> Diagnostic {
        let array = match &code.ops[node] {
            Op::Load { array, .. } | Op::AxisLo(array, _) | Op::AxisHi(array, _) => {
                Some(self.plan.arrays[*array].name.as_str())
            }
            _ => None,
        };
        report(fault, code.spans[node], span, array, &super::faults::place(code, at))
    }

    fn repeat(&mut self, l: &'a Loop, env: &mut Vec<i64>) -> Result<(), Diagnostics> {
        let mut positions: Box<dyn Iterator<Item = i64>> = match l.kind {
            RangeKind::Span => {
                let bounds = self.small(&l.range, env)?;
                let (lo, hi) = (bounds[0] as i64, bounds[1] as i64);
                if l.reverse { Box::new((lo..hi).rev()) } else { Box::new(lo..hi) }
            }
            RangeKind::List { slot } => {
                let mut list = self.list(&l.range, slot, env)?;
                if l.reverse {
                    list.reverse();
                }
                Box::new(list.into_iter().filter(|&v| v != -1))
            }
        };
        positions.try_for_each(|v| {
            env.truncate(l.depth);
            env.push(v);
            self.steps(&l.body, env)
        })?;
        env.truncate(l.depth);
        Ok(())
    }

    fn list(&self, small: &Small, slot: Slot, env: &[i64]) -> Result<Vec<i64>, Diagnostics> {
        let mut frame = Frame::new(&small.code);
        let mut e = Evaluator { code: &small.code, arrays: &self.arrays, f: &mut frame };
        env.iter().enumerate().for_each(|(slot, &v)| e.set(slot, v));
        let len = e.integer(small.roots[1]);
        let mut out = vec![];
        for at in 0..len {
            e.set(slot, at);
            out.push(e.integer(small.roots[0]));
            if e.f.fault.is_some() {
                break;
            }
        }
        match frame.fault.take() {
            Some((node, fault)) => Err(vec![self.fault(&small.code, node, fault, small.span, &[])]),
            None => Ok(out),
        }
    }

    // ------------------------------------------------------------ equations

    fn equation(&mut self, eq: &'a Equation, env: &[i64]) -> Result<(), Diagnostics> {
        let key: *const Equation = eq;
        let mut frame = self.frames.remove(&key).unwrap_or_else(|| Frame::new(&eq.code));
        frame.refresh();
        let result = self.equation_with(eq, env, &mut frame);
        self.frames.insert(key, frame);
        result
    }

    fn equation_with(&mut self, eq: &'a Equation, env: &[i64], frame: &mut Frame) -> Result<(), Diagnostics> {
        let mut e = Evaluator { code: &eq.code, arrays: &self.arrays, f: frame };
        env.iter().enumerate().for_each(|(slot, &v)| e.set(slot, v));
        let domain = domain(eq, &mut e);
        if let Some((node, fault)) = frame.fault.take() {
            return Err(vec![self.fault(&eq.code, node, fault, eq.span, &[])]);
        }
        let count = domain.extent.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let Some(count) = count.filter(|c| self.elements.saturating_add(*c) <= MAX_ELEMENTS) else {
            return Err(vec![too_large(eq, &domain)]);
        };
        let (lane, cost) = self.choose(eq, &domain);
        let order = iteration_order(domain.extent.len(), lane);
        let row = lane.map_or(1, |l| domain.extent[l]);
        let mut values = vec![0.0; count];
        let walk = Walk { eq, domain: &domain, order: &order, row, lane };
        let fault = if count == 0 {
            None
        } else if cost < PARALLEL || rayon::current_num_threads() == 1 {
            walk.rows(&self.arrays, frame, 0, &mut values)
        } else {
            let rows = count / row;
            let chunk = rows.div_ceil(rayon::current_num_threads() * 8).max(1);
            let prepare = || {
                let mut f = Frame::new(&eq.code);
                let mut e = Evaluator { code: &eq.code, arrays: &self.arrays, f: &mut f };
                env.iter().enumerate().for_each(|(slot, &v)| e.set(slot, v));
                f
            };
            values
                .par_chunks_mut(chunk * row)
                .enumerate()
                .map_init(prepare, |f, (at, part)| walk.rows(&self.arrays, f, at * chunk, part))
                .find_map_first(|fault| fault)
        };
        if let Some((node, fault, at)) = fault {
            let at: Vec<(Slot, i64)> = eq.free.iter().map(|f| f.slot).zip(at).collect();
            return Err(vec![self.fault(&eq.code, node, fault, eq.span, &at)]);
        }
        self.store(eq, env, &domain, &order, values)
    }

    fn choose(&mut self, eq: &Equation, domain: &Domain) -> (Option<usize>, f64) {
        if let Some(&choice) = self.choices.get(&(eq as *const Equation)) {
            return choice;
        }
        let mut extents = vec![None; eq.code.slots];
        for (f, &n) in eq.free.iter().zip(&domain.extent) {
            extents[f.slot] = Some(n as f64);
        }
        let slots: Vec<Slot> = eq.free.iter().map(|f| f.slot).collect();
        let mut model = Model { code: &eq.code, arrays: &self.arrays, extents };
        let mut best = (None, model.equation(eq.value, &slots, None));
        // An index that later ranges depend on cannot run innermost.
        let last_dependent = eq.free.iter().rposition(|f| f.dependent).unwrap_or(0);
        for at in last_dependent..slots.len() {
            let cost = model.equation(eq.value, &slots, Some(slots[at]));
            if cost < best.1 {
                best = (Some(at), cost);
            }
        }
        self.choices.insert(eq, best);
        best
    }

    /// Puts the values, which lie in iteration order, where the equation says.
    fn store(
        &mut self,
        eq: &Equation,
        env: &[i64],
        domain: &Domain,
        order: &[usize],
        values: Vec<f64>,
    ) -> Result<(), Diagnostics> {
        if eq.fresh {
            return self.store_fresh(eq, domain, order, values);
        }
        let info: &ArrayInfo = &self.plan.arrays[eq.target];
        let mut frame = Frame::new(&eq.code);
        let mut e = Evaluator { code: &eq.code, arrays: &self.arrays, f: &mut frame };
        env.iter().enumerate().for_each(|(slot, &v)| e.set(slot, v));
        let fixed: Vec<Option<i64>> = eq
            .axes
            .iter()
            .map(|a| match a {
                TargetAxis::At(node) => Some(e.integer(*node)),
                TargetAxis::Free(_) => None,
            })
            .collect();
        if let Some((node, fault)) = frame.fault.take() {
            return Err(vec![self.fault(&eq.code, node, fault, eq.span, &[])]);
        }
        let a = &mut self.arrays[eq.target];
        let (mut base, mut step) = (0usize, vec![0usize; domain.extent.len()]);
        for (axis, target) in eq.axes.iter().enumerate() {
            let (first, last) = match target {
                TargetAxis::Free(f) => (domain.lo[*f], domain.lo[*f] + domain.extent[*f] as i64 - 1),
                TargetAxis::At(_) => (fixed[axis].unwrap_or(0), fixed[axis].unwrap_or(0)),
            };
            if values.is_empty() {
                continue;
            }
            if first < a.lo[axis] || last >= a.hi(axis) {
                let at = if first < a.lo[axis] { first } else { last };
                let fault = Fault::Outside { axis, at, lo: a.lo[axis], hi: a.hi(axis) };
                return Err(vec![report(fault, eq.span, eq.span, Some(&info.name), "")]);
            }
            base += (first - a.lo[axis]) as usize * a.strides[axis];
            if let TargetAxis::Free(f) = target {
                step[*f] = a.strides[axis];
            }
        }
        let whole = !domain.ragged && values.len() == a.data.len();
        let target_name = &info.name;
        let mut missing = false;
        each_target(domain, order, &step, base, &values, |offset, v| {
            let cell = &mut a.data[offset];
            if domain.ragged && super::array::is_undefined(v) {
                return;
            }
            if eq.adds {
                missing |= super::array::is_undefined(*cell);
                *cell += v;
            } else {
                *cell = v;
            }
        });
        if missing {
            return Err(vec![
                Diagnostic::error(
                    "T0479",
                    eq.span,
                    format!("`{target_name}` is added to before it is defined"),
                )
                .label("some element has no value yet")
                .help(format!("define it first: `{target_name}[…] = 0;`")),
            ]);
        }
        if whole && !eq.adds {
            a.gaps = false;
        }
        Ok(())
    }

    fn store_fresh(
        &mut self,
        eq: &Equation,
        domain: &Domain,
        order: &[usize],
        values: Vec<f64>,
    ) -> Result<(), Diagnostics> {
        let shape = domain.extent.clone();
        self.elements -= self.arrays[eq.target].data.len();
        self.elements += values.len();
        let in_order = order.iter().copied().eq(0..order.len());
        let mut made = Array::new(domain.lo.clone(), shape, vec![], domain.ragged);
        made.data = if in_order {
            values
        } else {
            let mut data = vec![0.0; values.len()];
            each_target(domain, order, &made.strides, 0, &values, |offset, v| data[offset] = v);
            data
        };
        self.arrays[eq.target] = made;
        Ok(())
    }
}

/// Free indices from the slowest to the fastest: as written, but the lane index last.
fn iteration_order(n: usize, lane: Option<usize>) -> Vec<usize> {
    (0..n).filter(|&f| Some(f) != lane).chain(lane).collect()
}

/// Calls `put` with the offset and the value of every element, in iteration order.
fn each_target(
    domain: &Domain,
    order: &[usize],
    step: &[usize],
    base: usize,
    values: &[f64],
    mut put: impl FnMut(usize, f64),
) {
    let Some((&inner, outer)) = order.split_last() else {
        values.iter().for_each(|&v| put(base, v));
        return;
    };
    let n = domain.extent[inner].max(1);
    let mut at = vec![0usize; order.len()];
    for row in values.chunks(n) {
        let start = base + outer.iter().zip(&at).map(|(&f, &i)| i * step[f]).sum::<usize>();
        row.iter().enumerate().for_each(|(l, &v)| put(start + l * step[inner], v));
        for (k, &f) in outer.iter().enumerate().rev() {
            at[k] += 1;
            if at[k] < domain.extent[f] {
                break;
            }
            at[k] = 0;
        }
    }
}

/// The ranges of the free indices; those that depend on others are covered by their hull.
fn domain(eq: &Equation, e: &mut Evaluator) -> Domain {
    let mut d = Domain { lo: vec![], extent: vec![], ragged: false };
    for (at, f) in eq.free.iter().enumerate() {
        let (lo, hi) = if f.dependent {
            d.ragged = true;
            hull(eq, e, &d, at)
        } else {
            (e.integer(f.lo), e.integer(f.hi))
        };
        d.lo.push(lo);
        d.extent.push((hi - lo).max(0) as usize);
    }
    d
}

fn hull(eq: &Equation, e: &mut Evaluator, d: &Domain, at: usize) -> (i64, i64) {
    let mut found: Option<(i64, i64)> = None;
    let total: usize = d.extent.iter().product();
    let mut counter = vec![0usize; at];
    for _ in 0..total {
        for (k, &i) in counter.iter().enumerate() {
            e.set(eq.free[k].slot, d.lo[k] + i as i64);
        }
        if inside(eq, e, at) {
            let (lo, hi) = (e.integer(eq.free[at].lo), e.integer(eq.free[at].hi));
            if lo < hi {
                found = Some(found.map_or((lo, hi), |(a, b)| (a.min(lo), b.max(hi))));
            }
        }
        for k in (0..at).rev() {
            counter[k] += 1;
            if counter[k] < d.extent[k] {
                break;
            }
            counter[k] = 0;
        }
    }
    found.unwrap_or((0, 0))
}

/// Whether the first `n` free indices, as set, are inside their own ranges.
fn inside(eq: &Equation, e: &mut Evaluator, n: usize) -> bool {
    eq.free[..n].iter().all(|f| {
        if !f.dependent {
            return true;
        }
        let v = e.index(f.slot);
        e.integer(f.lo) <= v && v < e.integer(f.hi)
    })
}

fn too_large(eq: &Equation, domain: &Domain) -> Diagnostic {
    let shape: Vec<String> = domain.extent.iter().map(usize::to_string).collect();
    Diagnostic::error("T0480", eq.span, "this equation has more elements than a spec may hold")
        .label(format!("its indices run through [{}]", shape.join(", ")))
        .note(format!("all arrays of a spec together may have {MAX_ELEMENTS} elements"))
        .help("use smaller dimensions in the test, or write the intermediate array inside the sum that reads it")
}

/// One pass over rows of an equation.
struct Walk<'a> {
    eq: &'a Equation,
    domain: &'a Domain,
    order: &'a [usize],
    row: usize,
    lane: Option<usize>,
}

type RowFault = (NodeId, Fault, Vec<i64>);

impl Walk<'_> {
    /// Fills `out` with rows from number `first` on; stops at the first fault.
    fn rows(&self, arrays: &[Array], frame: &mut Frame, first: usize, out: &mut [f64]) -> Option<RowFault> {
        let eq = self.eq;
        let mut e = Evaluator { code: &eq.code, arrays, f: frame };
        let outer = &self.order[..self.order.len() - usize::from(self.lane.is_some())];
        let mut at = vec![0i64; outer.len()];
        let mut left = first;
        for (k, &f) in outer.iter().enumerate().rev() {
            let extent = self.domain.extent[f];
            at[k] = (left % extent) as i64;
            left /= extent;
            e.set(eq.free[f].slot, self.domain.lo[f] + at[k]);
        }
        for row in out.chunks_mut(self.row) {
            self.one_row(&mut e, outer, row);
            if let Some((node, fault)) = e.f.fault.take() {
                let at = eq.free.iter().map(|f| e.index(f.slot)).collect();
                return Some((node, fault, at));
            }
            for (k, &f) in outer.iter().enumerate().rev() {
                at[k] += 1;
                let wrapped = at[k] == self.domain.extent[f] as i64;
                if wrapped {
                    at[k] = 0;
                }
                e.set(eq.free[f].slot, self.domain.lo[f] + at[k]);
                if !wrapped {
                    break;
                }
            }
        }
        None
    }

    fn one_row(&self, e: &mut Evaluator, outer: &[usize], row: &mut [f64]) {
        let eq = self.eq;
        if self.domain.ragged {
            let all_inside = outer.iter().all(|&f| {
                let free = &eq.free[f];
                !free.dependent || {
                    let v = e.index(free.slot);
                    e.integer(free.lo) <= v && v < e.integer(free.hi)
                }
            });
            if !all_inside {
                row.fill(undefined());
                return;
            }
        }
        let Some(lane) = self.lane else {
            row[0] = e.scalar(eq.value);
            return;
        };
        let free = &eq.free[lane];
        let start = self.domain.lo[lane];
        let (lo, hi) = match free.dependent {
            true => (e.integer(free.lo), e.integer(free.hi)),
            false => (start, start + row.len() as i64),
        };
        if free.dependent {
            row.fill(undefined());
        }
        let mut base = lo;
        while base < hi && e.f.fault.is_none() {
            let n = (hi - base).min(BLOCK as i64) as usize;
            let at = (base - start) as usize;
            e.block(eq.value, free.slot, base, n, &mut row[at..at + n]);
            base += n as i64;
        }
    }
}
