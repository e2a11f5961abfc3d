//! A small prover of `p >= 0` for polynomials of the graph's indices.
//!
//! It replaces atoms by their bounds until only dims are left (each at least 1), trying facts on the way:
//!
//! ```text
//! k[.., g, ..] with g = h / (HQ / HK), h < HQ, HQ % HK == 0:   is  HK - 1 - g >= 0?
//!     g <= HK - 1 because h <= HQ - 1 and HK divides HQ        ->  0 >= 0
//! x[t + p, ..] with t = lo + 16 n, p <= t.end - t.start - 1:   is  L - 1 - t - p >= 0?
//!     p <= t.end - t - 1                                       ->  L - t.end >= 0
//!     t.end <= L                                               ->  0 >= 0
//! ```
//!
//! Sound, not complete: "no" means "not shown". A proof that used the promised range of an index tensor says so
//! ([`Proof::AtLaunch`]): the launcher checks those tensors.

use super::{linear::*, range};
use crate::{access::Access, ir::*, op::*};
use tile_base::{IndexKind, signature::Relation};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    Proven,
    /// Holds if index tensors hold what their types say.
    AtLaunch,
    Unknown,
}

/// Alternatives, each a list of bounds that must all be used: `x <= min(a, b)` is `[[a], [b]]`, `x <= max(a, b)` is
/// `[[a, b]]`.
type Bounds = Vec<Vec<Linear>>;

pub struct Prover<'a> {
    graph: &'a Graph,
    /// Known to be >= 0.
    facts: Vec<Linear>,
    /// `(a, b)`: b divides a.
    divides: Vec<(Linear, Linear)>,
    /// Axes of the tile whose positions are in question.
    positions: Vec<Axis>,
    trusted_tensor: bool,
    /// Steps left; bounds the time of a failing search.
    budget: u32,
}

const BUDGET: u32 = 500;
const DEPTH: u32 = 12;

impl<'a> Prover<'a> {
    /// A prover for what happens in `region`: facts of the signature and of the branches around it.
    pub fn new(graph: &'a Graph, region: RegionId) -> Self {
        let mut p = Prover {
            graph,
            facts: vec![],
            divides: vec![],
            positions: vec![],
            trusted_tensor: false,
            budget: 0,
        };
        for fact in &graph.signature.facts {
            let (Some(a), Some(b)) = (of_size(&fact.lhs), of_size(&fact.rhs)) else { continue };
            if let (Relation::Eq, Some(0)) = (fact.op, b.as_const()) {
                for atom in a.inner_atoms() {
                    if let Atom::Mod(x, y) = atom {
                        p.divides.push((*x, *y));
                    }
                }
            }
            p.relate(fact.op, a, b);
        }
        p.guards(region);
        p
    }

    fn relate(&mut self, op: Relation, a: Linear, b: Linear) {
        let (up, down) = (b.sub(&a), a.sub(&b));
        let found = match op {
            Relation::Le => vec![up],
            Relation::Lt => vec![up.and_then(|l| l.offset(-1))],
            Relation::Ge => vec![down],
            Relation::Gt => vec![down.and_then(|l| l.offset(-1))],
            Relation::Eq => vec![up, down],
            Relation::Ne => vec![],
        };
        self.facts.extend(found.into_iter().flatten());
    }

    /// What the conditions of the branches around a region say.
    fn guards(&mut self, region: RegionId) {
        let mut at = Some(region);
        while let Some(r) = at {
            let kind = self.graph.region(r).kind;
            if let (RegionKind::Then | RegionKind::Else, Some(owner)) = (kind, self.graph.region(r).owner) {
                let condition = self.graph.inputs(owner)[0];
                self.assume(condition, kind == RegionKind::Then);
            }
            at = self.graph.parent(r);
        }
    }

    /// Adds what `condition == truth` says of indices.
    pub fn assume(&mut self, condition: Value, truth: bool) {
        let inputs = self.graph.inputs(condition.node);
        let Op::Elem(op) = self.graph.node(condition.node).op else { return };
        let op = match (op, truth) {
            (ElemOp::Not, _) => return self.assume(inputs[0], !truth),
            (ElemOp::And, true) | (ElemOp::Or, false) => {
                inputs.iter().for_each(|&i| self.assume(i, truth));
                return;
            }
            (ElemOp::Le, true) | (ElemOp::Gt, false) => Relation::Le,
            (ElemOp::Lt, true) | (ElemOp::Ge, false) => Relation::Lt,
            (ElemOp::Ge, true) | (ElemOp::Lt, false) => Relation::Ge,
            (ElemOp::Gt, true) | (ElemOp::Le, false) => Relation::Gt,
            (ElemOp::Eq, true) | (ElemOp::Ne, false) => Relation::Eq,
            _ => return,
        };
        let index = |v: Value| self.graph.type_of(v).dtype == tile_base::DType::I64;
        if !inputs.iter().all(|&v| index(v)) {
            return;
        }
        if let (Some(a), Some(b)) = (of_value(self.graph, inputs[0]), of_value(self.graph, inputs[1])) {
            self.relate(op, a, b);
        }
    }

    /// The tile whose [`Atom::Position`]s occur in what is asked.
    pub fn over(&mut self, axes: &[Axis]) {
        self.positions = axes.to_vec();
    }

    /// Whether `p >= 0` wherever it is evaluated.
    pub fn nonnegative(&mut self, p: &Linear) -> Proof {
        self.trusted_tensor = false;
        self.budget = BUDGET;
        match (self.search(p, DEPTH), self.trusted_tensor) {
            (true, false) => Proof::Proven,
            (true, true) => Proof::AtLaunch,
            (false, _) => Proof::Unknown,
        }
    }

    fn search(&mut self, p: &Linear, depth: u32) -> bool {
        let Some(p) = &self.exact(p) else { return false };
        if p.holds_for_all_dims() {
            return true;
        }
        if depth == 0 || self.budget == 0 {
            return false;
        }
        self.budget -= 1;
        let trusted = self.trusted_tensor;
        for atom in order(p.inner_atoms()) {
            let Some((slope, rest)) = p.split(&atom) else { continue };
            // Division by a constant: c·p >= 0 decides as p >= 0 does, and c·(n / c) lies in n - c + 1 ..= n.
            let minus = Linear::default().sub(&slope);
            let (bounds, slope_sign) = if self.sign(&slope, depth) {
                (self.lower(&atom, depth), 1)
            } else if minus.is_some_and(|m| self.sign(&m, depth)) {
                (self.upper(&atom, depth), -1)
            } else {
                continue;
            };
            if let (Atom::Div(n, d), Some(c)) = (&atom, constant_divisor(&atom))
                && self.through_division(&slope, &rest, n, d, (c, slope_sign), depth)
            {
                return true;
            }
            for all in bounds {
                let shown = all.iter().all(|bound| {
                    slope
                        .mul(bound)
                        .and_then(|s| s.add(&rest))
                        .is_some_and(|next| self.search(&next, depth - 1))
                });
                if shown {
                    return true;
                }
                self.trusted_tensor = trusted;
            }
        }
        self.with_facts(p, depth)
    }

    /// Takes a multiple of a fact away: p - c·f >= 0 and f >= 0 give p >= 0.
    fn with_facts(&mut self, p: &Linear, depth: u32) -> bool {
        for at in 0..self.facts.len() {
            for times in multiples(p, &self.facts[at]) {
                let next = p.plus(&self.facts[at], -times);
                if let Some(next) = next
                    && next.terms.len() <= p.terms.len()
                    && self.search(&next, depth.saturating_sub(3))
                {
                    return true;
                }
            }
        }
        false
    }

    /// `b · (a / b)` is a where b divides a.
    fn exact(&self, p: &Linear) -> Option<Linear> {
        let mut p = p.clone();
        for (a, b) in &self.divides {
            let [Atom::Dim(_)] = &b.terms.keys().flatten().cloned().collect::<Vec<_>>()[..] else { continue };
            let Some(divisor) = b.terms.keys().flatten().next().cloned() else { continue };
            if *b != Linear::atom(divisor.clone()) {
                continue;
            }
            let quotient = Atom::Div(a.clone().into(), b.clone().into());
            let mut out = Linear::default();
            for (m, &c) in &p.terms {
                let mut rest = m.clone();
                let both = [&divisor, &quotient].map(|x| rest.iter().position(|a| a == x));
                let term = match both {
                    [Some(_), Some(_)] => {
                        for x in [&divisor, &quotient] {
                            let at = rest.iter().position(|a| a == x)?;
                            rest.remove(at);
                        }
                        Linear { terms: [(rest, c)].into() }.mul(a)?
                    }
                    _ => Linear { terms: [(rest, c)].into() },
                };
                out = out.add(&term)?;
            }
            p = out;
        }
        Some(p)
    }

    /// Whether two sizes are equal, given what divides what.
    pub fn equal(&self, a: &Linear, b: &Linear) -> bool {
        a.sub(b).and_then(|d| self.exact(&d)).is_some_and(|d| d == Linear::default())
    }

    fn through_division(
        &mut self,
        slope: &Linear,
        rest: &Linear,
        n: &Linear,
        _d: &Linear,
        (c, sign): (i128, i32),
        depth: u32,
    ) -> bool {
        // c·(slope·q + rest) = slope·(c·q) + c·rest, and c·q is n at most, n - c + 1 at least.
        let bound = if sign < 0 { Some(n.clone()) } else { n.offset(1 - c) };
        let scaled = Linear::default().plus(rest, c);
        let next = bound.and_then(|b| slope.mul(&b)).zip(scaled).and_then(|(s, r)| s.add(&r));
        // p >= 0 follows already from c·p >= -(c - 1).
        next.and_then(|l| l.offset(c - 1)).is_some_and(|l| self.search(&l, depth - 1))
    }

    /// Whether a coefficient is >= 0: cheap, without recursion into what is being proven.
    fn sign(&mut self, slope: &Linear, depth: u32) -> bool {
        match slope.as_const() {
            Some(c) => c >= 0,
            None => slope.holds_for_all_dims() || (depth > 3 && self.search(slope, 3)),
        }
    }

    fn lower(&mut self, atom: &Atom, depth: u32) -> Bounds {
        match atom {
            Atom::Dim(_) => one(Linear::constant(1)),
            Atom::Position(_) => one(Linear::default()),
            Atom::Min(a, b) => vec![vec![(**a).clone(), (**b).clone()]],
            Atom::Max(a, b) => vec![vec![(**a).clone()], vec![(**b).clone()]],
            Atom::Mod(_, d) if self.at_least_one(d, depth) => one(Linear::default()),
            Atom::Div(n, d) if self.at_least_one(d, depth) && self.search(n, depth / 2) => {
                one(Linear::default())
            }
            Atom::Mod(..) | Atom::Div(..) => vec![],
            Atom::Value(v) => self.value_bounds(*v, false),
        }
    }

    fn upper(&mut self, atom: &Atom, depth: u32) -> Bounds {
        match atom {
            Atom::Dim(_) => vec![],
            Atom::Position(axis) => self.extent(*axis as usize),
            Atom::Min(a, b) => vec![vec![(**a).clone()], vec![(**b).clone()]],
            Atom::Max(a, b) => vec![vec![(**a).clone(), (**b).clone()]],
            Atom::Mod(n, d) => {
                let mut out = vec![];
                if self.at_least_one(d, depth) {
                    out.extend(d.offset(-1).map(|l| vec![l]));
                    if self.search(n, depth / 2) {
                        out.push(vec![(**n).clone()]);
                    }
                }
                out
            }
            Atom::Div(n, d) => self.quotient(n, d, depth),
            Atom::Value(v) => self.value_bounds(*v, true),
        }
    }

    /// `n / (a / b)` is at most `b - 1` when `n < a` and b divides a; else at most n.
    fn quotient(&mut self, n: &Linear, d: &Linear, depth: u32) -> Bounds {
        let mut out = vec![];
        if let [Atom::Div(a, b)] = &d.inner_atoms()[..]
            && *d == Linear::atom(Atom::Div(a.clone(), b.clone()))
            && self.divides.contains(&((**a).clone(), (**b).clone()))
            && let Some(room) = a.sub(n).and_then(|l| l.offset(-1))
            && self.search(&room, depth / 2)
        {
            out.extend(b.offset(-1).map(|l| vec![l]));
        }
        if self.at_least_one(d, depth) && self.search(n, depth / 2) {
            out.push(vec![n.clone()]);
        }
        out
    }

    fn at_least_one(&mut self, d: &Linear, depth: u32) -> bool {
        if let [Atom::Div(a, b)] = &d.inner_atoms()[..]
            && *d == Linear::atom(Atom::Div(a.clone(), b.clone()))
            && self.divides.contains(&((**a).clone(), (**b).clone()))
        {
            // A positive multiple of b, divided by b.
            return self.at_least_one(&a.clone(), depth) && self.at_least_one(&b.clone(), depth);
        }
        d.offset(-1).is_some_and(|l| self.search(&l, depth / 2))
    }

    /// The last position along an axis of the tile in question.
    fn extent(&self, axis: usize) -> Bounds {
        match self.positions.get(axis) {
            Some(Axis::One) => one(Linear::default()),
            Some(Axis::Fixed(n)) => one(Linear::constant(*n as i128 - 1)),
            Some(Axis::Span { span, times }) => self.span_extent(*span, *times),
            None => vec![],
        }
    }

    fn span_extent(&self, span: SpanId, times: u64) -> Bounds {
        let def = self.graph.span(span);
        let end = Linear::atom(Atom::Value(def.end));
        let length = of_value(self.graph, def.start).and_then(|s| end.sub(&s));
        let last = length.and_then(|l| Linear::default().plus(&l, times as i128)).and_then(|l| l.offset(-1));
        let mut out: Bounds = last.map(|l| vec![l]).into_iter().collect();
        if let StepSize::Fixed(step) = def.step {
            out.push(vec![Linear::constant(step as i128 * times as i128 - 1)]);
        }
        out
    }

    /// Bounds of a value that is no sum or product.
    fn value_bounds(&mut self, v: Value, upper: bool) -> Bounds {
        let g = self.graph;
        let node = g.node(v.node);
        let inputs = g.inputs(v.node);
        let same = |at: usize| of_value(g, inputs[at]).map(|l| vec![l]).into_iter().collect::<Bounds>();
        match &node.op {
            Op::RegionArgs => self.loop_variable(v, upper),
            Op::MakeSpan { span } => {
                let (start, hi) = (of_value(g, inputs[0]), of_value(g, inputs[1]));
                match (upper, start, hi) {
                    (false, Some(start), _) => one(start),
                    (true, Some(start), hi) => {
                        let mut out: Bounds = hi.map(|h| vec![h, start.clone()]).into_iter().collect();
                        if let StepSize::Fixed(step) = g.span(*span).step {
                            out.extend(start.offset(step as i128).map(|l| vec![l]));
                        }
                        out
                    }
                    _ => vec![],
                }
            }
            Op::Iota if !upper => one(Linear::default()),
            Op::Iota => match node.outputs[0].axes[0] {
                Axis::One => one(Linear::default()),
                Axis::Fixed(n) => one(Linear::constant(n as i128 - 1)),
                Axis::Span { span, times } => self.span_extent(span, times),
            },
            Op::Load(access) => self.loaded(access, &inputs, upper),
            Op::Broadcast
            | Op::Reshape { .. }
            | Op::Permute { .. }
            | Op::Merge { .. }
            | Op::Split { .. }
            | Op::Slice { .. } => same(0),
            // At -1 there is 0.
            Op::Take { .. } if range::least(g, inputs[1]) >= 0 => same(0),
            Op::Take { .. } => both(of_value(g, inputs[0]), Some(Linear::default())),
            Op::Reduce { kind: ReduceKind::Max | ReduceKind::Min, .. } => same(0),
            Op::Reduce { axis, kind: ReduceKind::ArgMax | ReduceKind::ArgMin } => {
                self.along(g.type_of(inputs[0]).axes[*axis as usize], upper)
            }
            // Past the end of a span that is shorter than k the positions are -1.
            Op::TopK { axis, k } if v.port == 1 => match g.type_of(inputs[0]).axes[*axis as usize] {
                Axis::Fixed(n) if *k > n && !upper => one(Linear::constant(-1)),
                Axis::Span { .. } if !upper => one(Linear::constant(-1)),
                axis => self.along(axis, upper),
            },
            Op::Sort { axis, .. } if v.port == 1 => {
                self.along(g.type_of(inputs[0]).axes[*axis as usize], upper)
            }
            Op::Sort { .. } | Op::TopK { .. } => same(0),
            Op::Concat { .. } => {
                inputs.iter().map(|&i| of_value(g, i)).collect::<Option<Vec<_>>>().into_iter().collect()
            }
            Op::Elem(ElemOp::Select) => both(of_value(g, inputs[1]), of_value(g, inputs[2])),
            Op::Elem(ElemOp::And) => match (upper, g.int(inputs[1])) {
                (true, Some(mask)) if mask >= 0 => one(Linear::constant(mask as i128)),
                (false, Some(mask)) if mask >= 0 => one(Linear::default()),
                _ => vec![],
            },
            Op::Cast => match g.type_of(inputs[0]).dtype {
                tile_base::DType::Bool => one(Linear::constant(i128::from(upper))),
                from => match from.int_range() {
                    Some((lo, hi)) => one(Linear::constant(if upper { hi } else { lo } as i128)),
                    None => vec![],
                },
            },
            Op::If { then, otherwise } => {
                let (a, b) = (g.yields(*then)[v.port as usize], g.yields(*otherwise)[v.port as usize]);
                both(of_value(g, a), of_value(g, b))
            }
            _ => vec![],
        }
    }

    /// Positions along an axis (of an argmax, say).
    fn along(&self, axis: Axis, upper: bool) -> Bounds {
        match (upper, axis) {
            (false, _) | (_, Axis::One) => one(Linear::default()),
            (true, Axis::Fixed(n)) => one(Linear::constant(n as i128 - 1)),
            (true, Axis::Span { span, times }) => self.span_extent(span, times),
        }
    }

    fn loop_variable(&self, v: Value, upper: bool) -> Bounds {
        let g = self.graph;
        let region = g.node(v.node).region;
        let Some(owner) = g.region(region).owner else { return vec![] };
        let iter = match &g.node(owner).op {
            Op::Par(p) if p.body == region => p.iter,
            Op::For(f) if f.body == region || f.skip == Some(region) => f.iter,
            _ => return vec![],
        };
        if v.port as usize >= iter.variables() {
            return vec![];
        }
        let inputs = g.inputs(owner);
        let (lo, hi) = (of_value(g, inputs[0]), of_value(g, inputs[1]));
        let start = || of_value(g, Value { node: v.node, port: 0 });
        match (iter, v.port, upper) {
            (_, 0, false) => lo.map(one).unwrap_or_default(),
            (_, 0, true) => hi.and_then(|h| h.offset(-1)).map(one).unwrap_or_default(),
            (Iter::Tiles { .. }, 1, false) => start().and_then(|s| s.offset(1)).map(one).unwrap_or_default(),
            (Iter::Tiles { step, .. }, 1, true) => {
                let mut out: Bounds = hi.map(one).unwrap_or_default();
                if let StepSize::Fixed(n) = step {
                    out.extend(start().and_then(|s| s.offset(n as i128)).map(|l| vec![l]));
                }
                out
            }
            (_, 2, false) => one(Linear::default()),
            (Iter::Tiles { step, .. }, 2, true) => {
                let length = hi.zip(lo).and_then(|(h, l)| h.sub(&l));
                let step = if let StepSize::Fixed(n) = step { n as i128 } else { 1 };
                // ceil(length / step) - 1
                let last =
                    length.and_then(|l| l.offset(-1)).map(|l| Linear::floor_div(l, Linear::constant(step)));
                last.map(one).unwrap_or_default()
            }
            _ => vec![],
        }
    }

    /// What an index tensor promises of its elements.
    fn loaded(&mut self, access: &Access, inputs: &[Value], upper: bool) -> Bounds {
        let Some(kind) = &self.graph.object(access.object).index else { return vec![] };
        let (size, least, past) = match kind {
            IndexKind::Id(n) => (n, 0, 1),
            IndexKind::IdOrNone(n) => (n, -1, 1),
            IndexKind::Count(n) | IndexKind::Offsets(n) => (n, 0, 0),
        };
        let bound = match upper {
            true => of_size(size).and_then(|s| s.offset(-past)),
            false => Some(Linear::constant(least)),
        };
        let Some(bound) = bound else { return vec![] };
        self.trusted_tensor = true;
        let mut all = vec![bound];
        if let Some(port) = access.otherwise {
            match of_value(self.graph, inputs[port as usize]) {
                Some(l) => all.push(l),
                None => return vec![],
            }
        } else if access.mask.is_some()
            || access.coords.iter().any(|c| c.check == crate::access::Check::InPlace)
        {
            // Outside reads 0.
            all.push(Linear::default());
        }
        vec![all]
    }
}

/// How often a fact may be taken away so that one of its terms cancels one of p's; once at any rate.
fn multiples(p: &Linear, fact: &Linear) -> Vec<i128> {
    let mut out = vec![1];
    for (m, f) in fact.terms.iter().filter(|(m, _)| !m.is_empty()) {
        let times = p.terms.get(m).map_or(0, |c| c / f);
        if times > 1 && !out.contains(&times) {
            out.push(times);
        }
    }
    out
}

fn one(l: Linear) -> Bounds {
    vec![vec![l]]
}

fn both(a: Option<Linear>, b: Option<Linear>) -> Bounds {
    a.zip(b).map(|(a, b)| vec![a, b]).into_iter().collect()
}

fn constant_divisor(atom: &Atom) -> Option<i128> {
    match atom {
        Atom::Div(_, d) => d.as_const().filter(|c| *c > 0),
        _ => None,
    }
}

/// Positions first, then values from the innermost out: a bound of one often mentions another further out.
fn order(mut atoms: Vec<Atom>) -> Vec<Atom> {
    let rank = |a: &Atom| match a {
        Atom::Position(_) => (0, 0),
        Atom::Min(..) | Atom::Max(..) => (1, 0),
        Atom::Value(v) => (2, u32::MAX - v.node.0),
        Atom::Div(..) | Atom::Mod(..) => (3, 0),
        Atom::Dim(_) => (4, 0),
    };
    atoms.sort_by_key(rank);
    atoms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use tile_base::DType;

    fn dim(name: &str) -> Linear {
        Linear::atom(Atom::Dim(name.into()))
    }

    #[test]
    fn grouped_heads_are_inside() {
        let g = samples::flash(DType::F16, 64, false);
        let node = g.node_ids().find(|&n| g.node(n).path.as_deref() == Some("g")).expect("the group");
        let head = of_value(&g, Value { node, port: 0 }).expect("an index");
        let mut p = Prover::new(&g, g.node(node).region);
        let below = dim("HK").offset(-1).and_then(|l| l.sub(&head)).expect("small");
        assert_eq!(p.nonnegative(&below), Proof::Proven);
        assert_eq!(p.nonnegative(&head), Proof::Proven);
        // One less is not so.
        assert_eq!(p.nonnegative(&below.offset(-1).expect("small")), Proof::Unknown);
    }

    #[test]
    fn without_the_fact_nothing_is_known() {
        let mut g = samples::flash(DType::F16, 64, false);
        g.signature.facts.clear();
        let node = g.node_ids().find(|&n| g.node(n).path.as_deref() == Some("g")).expect("the group");
        let head = of_value(&g, Value { node, port: 0 }).expect("an index");
        let below = dim("HK").offset(-1).and_then(|l| l.sub(&head)).expect("small");
        assert_eq!(Prover::new(&g, ROOT).nonnegative(&below), Proof::Unknown);
    }

    #[test]
    fn constant_division_is_seen_through() {
        let g = samples::add(DType::F32);
        let mut p = Prover::new(&g, ROOT);
        // 16 * cdiv(N, 16) >= N
        let up = Linear::floor_div(dim("N").offset(15).expect("small"), Linear::constant(16));
        let claim = Linear::default().plus(&up, 16).and_then(|l| l.sub(&dim("N"))).expect("small");
        assert_eq!(p.nonnegative(&claim), Proof::Proven);
        // but not 16 * (N / 16) >= N
        let down = Linear::floor_div(dim("N"), Linear::constant(16));
        let claim = Linear::default().plus(&down, 16).and_then(|l| l.sub(&dim("N"))).expect("small");
        assert_eq!(p.nonnegative(&claim), Proof::Unknown);
    }

    #[test]
    fn the_heads_of_a_group_are_inside() {
        let g = samples::flash(DType::F16, 64, false);
        let p = Prover::new(&g, ROOT);
        let group = Linear::floor_div(dim("HQ"), dim("HK"));
        let all = group.mul(&dim("HK")).expect("small");
        assert!(p.equal(&all, &dim("HQ")));
        let other = group.mul(&dim("M")).expect("small");
        assert!(!p.equal(&other, &dim("HQ")));
    }

    #[test]
    fn dims_are_at_least_one_and_nothing_more() {
        let product = dim("M").mul(&dim("N")).expect("small");
        assert!(product.sub(&dim("N")).expect("small").holds_for_all_dims());
        assert!(!dim("N").offset(-2).expect("small").holds_for_all_dims());
    }
}
