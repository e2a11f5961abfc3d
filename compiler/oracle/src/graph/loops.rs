//! Control: `par`, `for`, `while`, `if`, and what a loop claims of itself.
//!
//! A claim is normally taken at its word. With the flags of [`Options`] it is put to the test instead:
//!
//! - **skip**: the body runs although the predicate holds, and the carried values may not change;
//! - **merge**, and loops that only sum: the trips are cut at random points into partials that each start from the
//!   initial values, and the partials are combined. Whether the result agrees with the uncut loop is for the caller
//!   to compare; that the initial values are an identity of the combiner is checked here;
//! - **affine**: with `f` the body as a function of the one variable, `f(a·S + (1-a)·R) = a·f(S) + (1-a)·f(R)` for a
//!   random `R`, in exact mode, without effects on memory.
//!
//! [`Options`]: super::Options

use super::{
    code::NodeCode,
    elem,
    eval::{TestedClaim, Trip, Worker},
    fault::{Fault, Run, coordinate},
    random::Random,
    value::Val,
};
use tile_base::DType;
use tile_graph::{ElemOp, ForOp, Iter, LoopCombine, Node, NodeId, ParOp, RegionId};

/// Trips of one loop that are tested by superposition.
const AFFINE_TRIPS: i64 = 2;

/// The trips of an iteration: how many, and which is which.
#[derive(Clone, Copy)]
struct Trips {
    lo: i64,
    hi: i64,
    /// `None`: one index per trip.
    step: Option<i64>,
    count: i64,
    reverse: bool,
}

impl Trips {
    /// Trip `n` in the order in which they run.
    fn at(&self, n: i64) -> Trip {
        let number = if self.reverse { self.count - 1 - n } else { n };
        match self.step {
            None => Trip { start: self.lo + number, end: self.lo + number + 1, number },
            Some(step) => {
                let start = self.lo + number * step;
                Trip { start, end: start.saturating_add(step).min(self.hi), number }
            }
        }
    }
}

impl Worker<'_> {
    fn trips(&self, node: &Node, iter: Iter, lo: i64, hi: i64) -> Run<Trips> {
        let length = hi.max(lo).checked_sub(lo).ok_or_else(|| {
            Fault::new("T0451", node.span, format!("the range {lo}..{hi} is longer than 64 bits count"))
        })?;
        let (step, reverse) = match iter {
            Iter::Each { reverse } => (None, reverse),
            Iter::Tiles { step, reverse, .. } => (Some(self.step(step)), reverse),
        };
        let per_trip = step.unwrap_or(1);
        Ok(Trips { lo, hi, step, count: length / per_trip + (length % per_trip != 0) as i64, reverse })
    }

    /// Puts a trip's variables into the region's arguments; how many there were.
    fn set_trip(&mut self, region: RegionId, iter: Iter, trip: Trip) -> usize {
        let values = [trip.start, trip.end, trip.number].map(Val::Int);
        let count = iter.variables();
        self.set_args(region, 0, values.into_iter().take(count));
        count
    }

    // ---- par

    pub fn par(&mut self, code: &NodeCode, node: &Node, par: &ParOp) -> Run<()> {
        if self.listing.is_none() {
            return self.enter(par);
        }
        let last = !self.shared.code.region(par.body).has_par;
        let trips = self.trips(node, par.iter, self.int_input(code, 0), self.int_input(code, 1))?;
        let levels = self.coordinates.len() + 1;
        for n in 0..trips.count {
            let trip = trips.at(n);
            self.coordinates.push(trip);
            if last {
                self.list_instance(node, levels)?;
            } else {
                self.set_trip(par.body, par.iter, trip);
                self.region(par.body)?;
            }
            self.coordinates.pop();
        }
        Ok(())
    }

    /// Runs a level of the nest at the instance's coordinates (before any instance: nothing).
    pub fn enter(&mut self, par: &ParOp) -> Run<()> {
        let Some(&trip) = self.coordinates.get(self.level) else { return Ok(()) };
        self.set_trip(par.body, par.iter, trip);
        self.level += 1;
        self.region(par.body)
    }

    fn list_instance(&mut self, node: &Node, levels: usize) -> Run<()> {
        let Some(list) = &mut self.listing else { return Ok(()) };
        let bytes = (list.len() + levels).saturating_mul(size_of::<Trip>()) as u64;
        let too_many = list.len() / levels >= u32::MAX as usize - 2;
        if bytes > self.shared.options.memory_limit / 4 || too_many {
            return Err(Fault::new(
                "T0462",
                node.span,
                "the `par` domain has too many instances for the oracle",
            )
            .label(format!("more than {} of them", list.len() / levels))
            .help("use larger tiles or smaller dimensions"));
        }
        list.extend_from_slice(&self.coordinates);
        Ok(())
    }

    // ---- for

    pub fn for_loop(&mut self, code: &NodeCode, node: &Node, f: &ForOp) -> Run<()> {
        let trips = self.trips(node, f.iter, self.int_input(code, 0), self.int_input(code, 1))?;
        let carried: Vec<Val> = (2..code.inputs.len()).map(|p| self.input(code, p)).collect();
        let shared = self.shared;
        let results = match shared.options.split_seed {
            Some(seed) if trips.count > 1 && self.dry == 0 && can_split(f, carried.len()) => {
                self.split_loop(code.id, node, f, trips, carried, seed)?
            }
            _ => self.run_trips(code.id, node, f, trips, 0..trips.count, carried)?,
        };
        for (port, value) in results.into_iter().enumerate() {
            self.slots[code.out as usize + port] = value;
        }
        Ok(())
    }

    fn run_trips(
        &mut self,
        id: NodeId,
        node: &Node,
        f: &ForOp,
        trips: Trips,
        range: std::ops::Range<i64>,
        mut carried: Vec<Val>,
    ) -> Run<Vec<Val>> {
        let tests = self.shared.options.execute_skipped && self.dry == 0;
        let exact = !self.shared.rounded;
        for n in range {
            let trip = trips.at(n);
            self.loops.push((id, trip));
            if let Some(skip) = f.skip
                && self.skipped(skip, f.iter, trip)?
            {
                if tests {
                    carried = self.test_skip(id, node, f, trip, carried)?;
                }
                self.loops.pop();
                continue;
            }
            if let LoopCombine::Affine { var } = f.combine
                && tests
                && exact
                && n < AFFINE_TRIPS
            {
                self.test_affine(id, node, f, trip, &carried, var as usize)?;
            }
            let stop = self.trip(f, trip, &mut carried)?;
            self.loops.pop();
            if stop {
                break;
            }
        }
        Ok(carried)
    }

    /// Runs the body once, replacing the carried values; whether it says "stop".
    fn trip(&mut self, f: &ForOp, trip: Trip, carried: &mut Vec<Val>) -> Run<bool> {
        let variables = self.set_trip(f.body, f.iter, trip);
        self.set_args(f.body, variables, carried.drain(..));
        self.region(f.body)?;
        self.results(f.body, carried);
        if f.early_exit && !carried.is_empty() {
            return Ok(matches!(carried.remove(0), Val::Int(stop) if stop != 0));
        }
        Ok(false)
    }

    fn skipped(&mut self, skip: RegionId, iter: Iter, trip: Trip) -> Run<bool> {
        self.set_trip(skip, iter, trip);
        self.region(skip)?;
        let mut result = vec![];
        self.results(skip, &mut result);
        Ok(matches!(result.first(), Some(Val::Int(c)) if *c != 0))
    }

    // ---- claims put to the test

    fn test_skip(
        &mut self,
        id: NodeId,
        node: &Node,
        f: &ForOp,
        trip: Trip,
        before: Vec<Val>,
    ) -> Run<Vec<Val>> {
        *self.tested.entry((id, TestedClaim::Skip)).or_default() += 1;
        let mut after = before.clone();
        self.in_skipped += 1;
        let ran = self.trip(f, trip, &mut after);
        self.in_skipped -= 1;
        ran.map_err(|f| f.note("`skip` holds in this iteration, and a schedule may run the body there"))?;
        for (at, (a, b)) in before.iter().zip(&after).enumerate() {
            if let Some(position) = first_difference(a, b) {
                let name = self.carried_name(f, at);
                let fault = Fault::new(
                    "T0453",
                    node.span,
                    format!("`skip` is refuted: the body it passes over changes {name}"),
                );
                let place = if a.shape().rank() == 0 {
                    String::new()
                } else {
                    format!(" at {}", coordinate(&a.shape().unravel(position)))
                };
                let was = a.show(position);
                let is = b.show(position);
                return Err(fault
                    .label(format!("{name}{place} goes from {was} to {is}"))
                    .help("make the condition of `skip` hold only where the body changes nothing"));
            }
        }
        Ok(after)
    }

    fn test_affine(
        &mut self,
        id: NodeId,
        node: &Node,
        f: &ForOp,
        trip: Trip,
        carried: &[Val],
        var: usize,
    ) -> Run<()> {
        let Some(here) = carried.get(var).filter(|v| v.is_float()) else { return Ok(()) };
        *self.tested.entry((id, TestedClaim::Affine)).or_default() += 1;
        const WEIGHT: f64 = 0.375;
        let mut random = Random::new(id.0 as u64 ^ (trip.start as u64) << 20);
        let scale = largest(here).max(1.0);
        let there: Vec<f64> = here.float_slice().iter().map(|_| scale * random.signed()).collect();
        let mixed =
            here.float_slice().iter().zip(&there).map(|(s, r)| WEIGHT * s + (1.0 - WEIGHT) * r).collect();
        let points = [here.float_slice().to_vec(), there, mixed];
        let shape = here.shape();
        let mut images = vec![];
        self.dry += 1;
        for point in points {
            let mut values = carried.to_vec();
            values[var] = Val::floats(shape, point);
            let ran = self.trip(f, trip, &mut values);
            if ran.is_err() {
                self.dry -= 1;
            }
            ran?;
            images.push(values.swap_remove(var));
        }
        self.dry -= 1;
        let [at_here, at_there, at_mixed] = [0, 1, 2].map(|n: usize| images[n].float_slice());
        let size = images.iter().map(largest).fold(0.0, f64::max).max(1e-300);
        for n in 0..at_mixed.len() {
            let expected = WEIGHT * at_here[n] + (1.0 - WEIGHT) * at_there[n];
            let off = (expected - at_mixed[n]).abs();
            if off > 1e-9 * size && expected.is_finite() {
                let name = self.carried_name(f, var);
                return Err(Fault::new(
                    "T0455",
                    node.span,
                    format!("`affine` is refuted: the body is not affine in {name}"),
                )
                .label(format!(
                    "a mixture of two values gives {:?} at {}, the mixture of their results is {expected:?}",
                    at_mixed[n],
                    coordinate(&shape.unravel(n)),
                ))
                .help("the variable may be multiplied by what does not depend on it, and added to"));
            }
        }
        Ok(())
    }

    /// Cuts the trips at random points; see the module's text.
    fn split_loop(
        &mut self,
        id: NodeId,
        node: &Node,
        f: &ForOp,
        trips: Trips,
        initial: Vec<Val>,
        seed: u64,
    ) -> Run<Vec<Val>> {
        *self.tested.entry((id, TestedClaim::Merge)).or_default() += 1;
        let mut random = Random::new(seed ^ (id.0 as u64) << 32 ^ (self.me as u64) << 8 ^ trips.count as u64);
        let pieces = 2 + random.below(3).min(trips.count as u64 - 2) as i64;
        let mut cuts: Vec<i64> = (1..pieces)
            .map(|_| random.below(trips.count as u64 + 1) as i64)
            .chain([0, trips.count])
            .collect();
        cuts.sort_unstable();
        let mut total: Option<Vec<Val>> = None;
        for cut in cuts.windows(2) {
            let start = match (&f.combine, &total) {
                (LoopCombine::Sum, Some(_)) => initial.iter().map(zeros_like).collect(),
                _ => initial.clone(),
            };
            let part = self.run_trips(id, node, f, trips, cut[0]..cut[1], start)?;
            if let LoopCombine::Merge { vars, combine } = &f.combine {
                self.test_identity(node, f, vars, *combine, &initial, &part)?;
            }
            total = Some(match (total, &f.combine) {
                (None, _) => part,
                (Some(so_far), LoopCombine::Merge { vars, combine }) => {
                    self.merge(vars, *combine, so_far, part)?
                }
                (Some(so_far), _) => self.add_all(node, f, so_far, part)?,
            });
        }
        Ok(total.unwrap_or(initial))
    }

    fn merge(&mut self, vars: &[u32], combine: RegionId, mut a: Vec<Val>, b: Vec<Val>) -> Run<Vec<Val>> {
        let pick = |from: &[Val]| -> Vec<Val> { vars.iter().map(|&v| from[v as usize].clone()).collect() };
        self.set_args(combine, 0, pick(&a).into_iter());
        self.set_args(combine, vars.len(), pick(&b).into_iter());
        self.region(combine)?;
        let mut results = vec![];
        self.results(combine, &mut results);
        for (&v, value) in vars.iter().zip(results) {
            a[v as usize] = value;
        }
        Ok(a)
    }

    /// Combining the initial values with a partial result has to give that result.
    fn test_identity(
        &mut self,
        node: &Node,
        f: &ForOp,
        vars: &[u32],
        combine: RegionId,
        initial: &[Val],
        part: &[Val],
    ) -> Run<()> {
        if self.shared.rounded {
            return Ok(());
        }
        let combined = self.merge(vars, combine, initial.to_vec(), part.to_vec())?;
        for &v in vars {
            let (a, b) = (&part[v as usize], &combined[v as usize]);
            if let Some(position) = first_difference(a, b) {
                let name = self.carried_name(f, v as usize);
                let fault = Fault::new(
                    "T0454",
                    node.span,
                    format!("`merge` is refuted: the initial value of {name} is no identity of the function"),
                );
                let (was, is) = (a.show(position), b.show(position));
                return Err(fault
                    .label(format!(
                        "combining the initial values with a partial result turns {was} into {is}"
                    ))
                    .help("start the variables from values that the function ignores"));
            }
        }
        Ok(())
    }

    fn add_all(&mut self, node: &Node, f: &ForOp, a: Vec<Val>, b: Vec<Val>) -> Run<Vec<Val>> {
        let types = self.graph().node(node_of(self.graph(), f)).outputs.iter().map(|t| t.dtype);
        let dtypes: Vec<DType> = types.collect();
        a.into_iter()
            .zip(b)
            .zip(dtypes)
            .map(|((a, b), dtype)| {
                let sum = elem::evaluate(ElemOp::Add, dtype, [a, b].into_iter()).map_err(|_| {
                    Fault::new("T0451", node.span, format!("a sum of partial results overflows {dtype}"))
                })?;
                Ok(self.rounded(dtype, sum))
            })
            .collect()
    }

    /// The variable's name, from the path of the node that gives its next value.
    fn carried_name(&self, f: &ForOp, at: usize) -> String {
        let graph = self.graph();
        let yields = graph.yields(f.body);
        let value = yields.get(at + f.early_exit as usize);
        match value.and_then(|v| graph.node(v.node).path.as_ref()) {
            Some(path) => format!("`{path}`"),
            None => format!("carried value {at}"),
        }
    }

    // ---- while, if

    pub fn while_loop(
        &mut self,
        code: &NodeCode,
        node: &Node,
        condition: RegionId,
        body: RegionId,
    ) -> Run<()> {
        let mut carried: Vec<Val> = (0..code.inputs.len()).map(|p| self.input(code, p)).collect();
        let mut number = 0;
        loop {
            self.loops.push((code.id, Trip { start: number, end: number + 1, number }));
            self.set_args(condition, 0, carried.iter().cloned());
            self.region(condition)?;
            let mut result = vec![];
            self.results(condition, &mut result);
            if !matches!(result.first(), Some(Val::Int(c)) if *c != 0) {
                self.loops.pop();
                break;
            }
            if number as u64 >= self.shared.options.step_limit {
                return Err(Fault::new(
                    "T0461",
                    node.span,
                    format!("`while` has not ended after {number} trips"),
                )
                .label("its condition still holds")
                .help("if that is meant, raise the step limit of the oracle"));
            }
            self.set_args(body, 0, carried.drain(..));
            self.region(body)?;
            self.results(body, &mut carried);
            self.loops.pop();
            number += 1;
        }
        for (port, value) in carried.into_iter().enumerate() {
            self.slots[code.out as usize + port] = value;
        }
        Ok(())
    }

    pub fn branch(&mut self, code: &NodeCode, then: RegionId, otherwise: RegionId) -> Run<()> {
        let taken = if self.int_input(code, 0) != 0 { then } else { otherwise };
        self.region(taken)?;
        let mut results = vec![];
        self.results(taken, &mut results);
        for (port, value) in results.into_iter().enumerate() {
            self.slots[code.out as usize + port] = value;
        }
        Ok(())
    }
}

/// Whether partial results of the loop can be combined.
fn can_split(f: &ForOp, carried: usize) -> bool {
    match &f.combine {
        LoopCombine::Sum => !f.early_exit,
        LoopCombine::Merge { vars, .. } => !f.early_exit && (0..carried as u32).all(|at| vars.contains(&at)),
        _ => false,
    }
}

fn node_of(graph: &tile_graph::Graph, f: &ForOp) -> NodeId {
    graph.region(f.body).owner.unwrap_or(NodeId(0))
}

fn zeros_like(v: &Val) -> Val {
    match v {
        Val::Float(_) => Val::Float(0.0),
        Val::Floats(s, d) => Val::floats(*s, vec![0.0; d.len()]),
        Val::Ints(s, d) => Val::ints(*s, vec![0; d.len()]),
        _ => Val::Int(0),
    }
}

fn largest(v: &Val) -> f64 {
    v.float_slice().iter().filter(|x| x.is_finite()).fold(0.0, |m, x| m.max(x.abs()))
}

/// The first position at which two values differ by more than the last bits of an f64.
fn first_difference(a: &Val, b: &Val) -> Option<usize> {
    if a.is_float() {
        let same = |x: f64, y: f64| {
            x == y || x.is_nan() && y.is_nan() || (x - y).abs() <= 1e-12 * x.abs().max(y.abs())
        };
        return a.float_slice().iter().zip(b.float_slice()).position(|(&x, &y)| !same(x, y));
    }
    a.int_slice().iter().zip(b.int_slice()).position(|(x, y)| x != y)
}
