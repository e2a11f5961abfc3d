//! What has to be true, written down with a status (language rules 11, 15, 16).
//!
//! | claim | proven when | else |
//! | --- | --- | --- |
//! | bounds | the prover shows each coordinate inside | at launch (rests on index tensors), or in place |
//! | cover, no race | every store's coordinates are, one to one, the loop variables over whole dimensions | tested |
//! | skip | the predicate is false | tested, by running what is skipped |
//! | merge | the loop only adds | tested, by splitting the loop |
//! | affine | the new value is linear in the old one | an error |
//!
//! A store that does not depend on some `par` axis at all is refuted: two instances write one element.

use std::collections::{HashMap, HashSet};
use tile_base::{Diagnostic, IndexKind, Mode, Size, Span};
use tile_graph::{
    Access, Axis, Check, Claim, CoordIndex, Graph, Iter, LoopCombine, LoopOrigin, NodeId, ObjectId,
    Obligation, Op, ROOT, RegionId, RegionKind, SpanId, Status, StepSize, Value,
    facts::{self, linear, prove::Proof},
};

/// Records every obligation and improves the checks of accesses; what is refuted.
pub fn establish(graph: &mut Graph) -> Vec<Diagnostic> {
    let mut found = vec![];
    for node in graph.nodes_under(ROOT) {
        match graph.node(node).op.clone() {
            Op::Load(_) | Op::Store { .. } | Op::Accumulate(_) => bounds(graph, node),
            Op::For(f) => {
                let path = graph.node(node).path.clone().unwrap_or(f.name.clone());
                if f.skip.is_some() {
                    let why = format!("running the steps of `{path}` that are skipped must change nothing");
                    oblige(graph, Claim::Skip, node, Status::Tested, why);
                }
                match f.combine {
                    LoopCombine::Sum if f.origin == LoopOrigin::Stream => {
                        let why = format!("`{path}` is a sum of products");
                        oblige(graph, Claim::Merge, node, Status::Proven, why);
                    }
                    LoopCombine::Sum => {
                        let why = format!("every variable of `{path}` is only added to");
                        oblige(graph, Claim::Merge, node, Status::Proven, why);
                    }
                    LoopCombine::Merge { .. } => {
                        let why = format!("parts of `{path}` must combine to the whole");
                        oblige(graph, Claim::Merge, node, Status::Tested, why);
                    }
                    LoopCombine::Affine { var } => found.extend(affine(graph, node, f.body, f.iter, var)),
                    LoopCombine::Ordered => {}
                }
            }
            _ => {}
        }
        if let Op::Store { access, .. } = graph.node(node).op.clone() {
            made_index(graph, node, access.object);
        }
        if let Op::Store { unique: true, .. } = graph.node(node).op {
            let why = "the author claims that no position repeats".to_string();
            oblige(graph, Claim::Unique, node, Status::Tested, why);
        }
    }
    for at in 0..graph.objects.len() {
        found.extend(writes(graph, ObjectId::new(at)));
    }
    found
}

fn oblige(graph: &mut Graph, claim: Claim, node: NodeId, status: Status, reason: String) {
    let span = graph.node(node).span;
    graph.obligations.push(Obligation { claim, node, status, span, reason });
}

// ---------------------------------------------------------------- bounds

fn bounds(graph: &mut Graph, node: NodeId) {
    let Some(access) = graph.node(node).op.access().cloned() else { return };
    for (dim, coord) in access.coords.iter().enumerate() {
        let name = &graph.object(access.object).name;
        let size = graph.object(access.object).shape[dim].clone();
        let (check, status, reason) = match coord.check {
            // `else` for another coordinate's sake: this one needs no look.
            Check::Else => match facts::inside(graph, node, dim) {
                Proof::Proven => (Check::Proven, Status::Proven, format!("stays in 0..{size}")),
                _ => continue,
            },
            Check::AtLaunch => (Check::AtLaunch, Status::AtLaunch, "the launcher checks it".to_string()),
            // The checker's word is enough where it is by construction: a whole axis or a span of the dimension.
            Check::Proven => match facts::inside(graph, node, dim) {
                Proof::AtLaunch => (
                    Check::AtLaunch,
                    Status::AtLaunch,
                    format!("the index tensors it comes from hold positions of `{name}`"),
                ),
                _ => (Check::Proven, Status::Proven, format!("a span or whole axis of {size}")),
            },
            Check::InPlace => match facts::inside(graph, node, dim) {
                Proof::Proven => (Check::Proven, Status::Proven, format!("stays in 0..{size}")),
                Proof::AtLaunch => (
                    Check::AtLaunch,
                    Status::AtLaunch,
                    format!("stays in 0..{size} if the index tensors hold what their types say"),
                ),
                Proof::Unknown => {
                    (Check::InPlace, Status::InPlace, format!("not shown to stay in 0..{size}"))
                }
            },
        };
        let access = match &mut graph.node_mut(node).op {
            Op::Load(a) | Op::Accumulate(a) | Op::Store { access: a, .. } => a,
            _ => return,
        };
        access.coords[dim].check = check;
        oblige(graph, Claim::Bounds { dim: dim as u32 }, node, status, reason);
    }
}

/// A computed integer that becomes an element of an index tensor stays in its range (language rule 12).
fn made_index(graph: &mut Graph, node: NodeId, object: ObjectId) {
    let Some(kind) = graph.object(object).index.clone() else { return };
    let name = graph.object(object).name.clone();
    let (size, least, past) = match &kind {
        IndexKind::Id(n) => (n, 0, 1),
        IndexKind::IdOrNone(n) => (n, -1, 1),
        IndexKind::Count(n) | IndexKind::Offsets(n) => (n, 0, 0),
    };
    let value = linear::of_value(graph, graph.inputs(node)[0]);
    let gaps = value
        .zip(linear::of_size(size))
        .and_then(|(v, n)| Some([v.offset(-least)?, n.sub(&v)?.offset(-past)?]));
    let mut prover = facts::prove::Prover::new(graph, graph.node(node).region);
    let proofs = gaps.map(|g| g.map(|gap| prover.nonnegative(&gap)));
    let status = match proofs {
        Some(p) if p.iter().all(|p| *p == Proof::Proven) => Status::Proven,
        Some(p) if p.iter().all(|p| *p != Proof::Unknown) => Status::AtLaunch,
        _ => Status::InPlace,
    };
    let why = match status {
        Status::Proven => format!("what is stored in `{name}` is in its range"),
        Status::AtLaunch => {
            format!("what is stored in `{name}` is in its range if the index tensors read are")
        }
        _ => format!("what is stored in `{name}` is not shown to be in its range"),
    };
    oblige(graph, Claim::Overflow, node, status, why);
}

// ---------------------------------------------------------------- cover and race

/// Cover of an `out` tensor, no race on an `out` or `inout` tensor.
fn writes(graph: &mut Graph, object: ObjectId) -> Vec<Diagnostic> {
    let o = graph.object(object);
    let (name, mode, span) = (o.name.clone(), o.mode, o.span);
    if !matches!(mode, Mode::Out | Mode::InOut) {
        return vec![];
    }
    let stores: Vec<NodeId> = graph
        .nodes_under(ROOT)
        .into_iter()
        .filter(|&n| matches!(&graph.node(n).op, Op::Store { access, .. } if access.object == object))
        .collect();
    let Some(&first) = stores.first() else {
        if mode == Mode::InOut {
            return vec![];
        }
        return vec![
            Diagnostic::error("T0401", span, format!("`{name}` is `out` and never written"))
                .help("write every element of it, or drop the parameter"),
        ];
    };
    if let Some(refuted) = stores.iter().find_map(|&s| shared_by_instances(graph, s, &name)) {
        return vec![refuted];
    }
    let plain = match stores[..] {
        [one] => whole(graph, one).and_then(|w| unconditional(graph, one).then_some(w)),
        _ => None,
    };
    let (status, cover, race) = match plain {
        Some(status) => (
            status,
            format!("each element of `{name}` belongs to one step of the loops around its store"),
            format!("each instance stores its own elements of `{name}`"),
        ),
        None => (
            Status::Tested,
            format!("every element of `{name}` must be stored once"),
            format!("no two instances may store one element of `{name}`"),
        ),
    };
    if mode == Mode::Out {
        oblige(graph, Claim::Cover { object }, first, status, cover);
    }
    oblige(graph, Claim::NoRace { object }, first, status, race);
    vec![]
}

/// Whether a store runs in every step of the loops around it, whatever the data.
pub fn unconditional(graph: &Graph, store: NodeId) -> bool {
    let mut region = graph.node(store).region;
    while let Some(owner) = graph.region(region).owner {
        let fits = match &graph.node(owner).op {
            Op::Par(_) => true,
            Op::For(f) => !f.early_exit && f.skip.is_none() && graph.region(region).kind == RegionKind::Loop,
            _ => false,
        };
        if !fits {
            return false;
        }
        region = graph.node(owner).region;
    }
    true
}

/// Whether a store's coordinates are, one to one, the variables of the loops around it, each over a whole dimension.
fn whole(graph: &Graph, store: NodeId) -> Option<Status> {
    let access = graph.node(store).op.access()?;
    if access.mask.is_some() || access.otherwise.is_some() {
        return None;
    }
    let mut open = loops(graph, store);
    let mut status = Status::Proven;
    let mut segmented = vec![];
    for dim in 0..access.coords.len() {
        match covers(graph, store, access, dim, &mut open)? {
            Covers::Whole => {}
            Covers::Segments(loop_node) => {
                segmented.push((loop_node, graph.object(access.object).shape[dim].clone()));
            }
        }
    }
    // `e in E, i in tiles(off[e]..off[e + 1], B)`: the segments of all e are the whole dimension.
    for (inner, size) in segmented {
        let (outer, rests_on) = match even_segments(graph, inner, &size) {
            Some(outer) => (outer, Status::Proven),
            None => (facts::ragged::parted_by(graph, inner, &loops(graph, inner))?, Status::AtLaunch),
        };
        let at = open.iter().position(|&l| l == outer)?;
        open.remove(at);
        if rests_on == Status::AtLaunch {
            status = Status::AtLaunch;
        }
    }
    open.is_empty().then_some(status)
}

/// The loops and `par` axes around a node.
pub fn loops(graph: &Graph, node: NodeId) -> Vec<NodeId> {
    let mut out = vec![];
    let mut region = graph.node(node).region;
    while let Some(owner) = graph.region(region).owner {
        // A `par` over exactly one index is no axis.
        let inputs = graph.inputs(owner);
        let single = inputs.len() == 2 && graph.int(inputs[0]) == Some(0) && graph.int(inputs[1]) == Some(1);
        if !single {
            out.push(owner);
        }
        region = graph.node(owner).region;
    }
    out
}

/// How one coordinate of an access runs over its dimension.
pub enum Covers {
    Whole,
    /// Along part of the dimension: a loop whose bounds depend on a loop further out.
    Segments(NodeId),
}

/// What a coordinate of a load or a store covers; the loop that it follows is taken out of `open`.
pub fn covers(
    graph: &Graph,
    node: NodeId,
    access: &Access,
    dim: usize,
    open: &mut Vec<NodeId>,
) -> Option<Covers> {
    let coord = &access.coords[dim];
    let size = &graph.object(access.object).shape[dim];
    if coord.lo.is_some() || coord.hi.is_some() {
        return None;
    }
    let CoordIndex::Affine { base, terms } = &coord.index else { return None };
    let inputs = graph.inputs(node);
    let base = base.map(|b| inputs[b as usize]);
    let tile = match graph.node(node).op {
        Op::Load(_) => Value { node, port: 0 },
        _ => inputs[0],
    };
    let axes = &graph.type_of(tile).axes;
    let own = match (base, &terms[..]) {
        // x[0] of an axis of extent 1.
        (None, []) => return (size.as_const() == Some(1)).then_some(Covers::Whole),
        (Some(v), []) if graph.int(v) == Some(0) => {
            return (size.as_const() == Some(1)).then_some(Covers::Whole);
        }
        (None, [(axis, 1)]) => {
            let extent = match axes[*axis as usize] {
                Axis::One => 1,
                Axis::Fixed(n) => n as i64,
                Axis::Span { .. } => return None,
            };
            return (size.as_const() == Some(extent)).then_some(Covers::Whole);
        }
        (Some(v), []) => match open.iter().position(|&l| is_index_of(graph, l, v)) {
            Some(own) => own,
            None => {
                let own = open.iter().position(|&l| numbers(graph, l, v, size))?;
                open.remove(own);
                return Some(Covers::Whole);
            }
        },
        (Some(v), [(axis, 1)]) => {
            let Axis::Span { span, times: 1 } = axes[*axis as usize] else { return None };
            if graph.span(span).start != v {
                return None;
            }
            open.iter().position(|&l| iterates(graph, l, span))?
        }
        _ => return None,
    };
    let owner = open.remove(own);
    let (lo, hi) = (graph.inputs(owner)[0], graph.inputs(owner)[1]);
    let whole = graph.int(lo) == Some(0) && same_size(graph, hi, size);
    if whole {
        return Some(Covers::Whole);
    }
    let segments = offsets_total(graph, lo).is_some_and(|t| t.same(size));
    (segments || even_segments(graph, owner, size).is_some()).then_some(Covers::Segments(owner))
}

/// Whether `v` is the number of a step of a loop over `0..n` in fixed steps, and the dimension is `cdiv(n, step)`.
fn numbers(graph: &Graph, node: NodeId, v: Value, size: &Size) -> bool {
    let (iter, body) = match &graph.node(node).op {
        Op::Par(p) => (p.iter, p.body),
        Op::For(f) => (f.iter, f.body),
        _ => return false,
    };
    let Iter::Tiles { step: StepSize::Fixed(step), .. } = iter else { return false };
    let (lo, hi) = (graph.inputs(node)[0], graph.inputs(node)[1]);
    let step = step as i128;
    let count = linear::of_value(graph, hi)
        .and_then(|h| h.offset(step - 1))
        .map(|h| linear::Linear::floor_div(h, linear::Linear::constant(step)));
    graph.region_args(body).get(2) == Some(&v)
        && graph.int(lo) == Some(0)
        && count.is_some()
        && count == linear::of_size(size)
}

/// For a loop over `g·r .. (g + 1)·r` that covers a part of a dimension: the loop over `g in 0..n` with `n·r` the
/// whole dimension.
fn even_segments(graph: &Graph, inner: NodeId, size: &Size) -> Option<NodeId> {
    let bounds = graph.inputs(inner);
    let (lo, hi) = (linear::of_value(graph, bounds[0])?, linear::of_value(graph, bounds[1])?);
    let length = hi.sub(&lo)?;
    let prover = facts::prove::Prover::new(graph, graph.node(inner).region);
    loops(graph, inner).into_iter().find(|&outer| {
        let body = match &graph.node(outer).op {
            Op::Par(p) => p.body,
            Op::For(f) => f.body,
            _ => return false,
        };
        let Some(&index) = graph.region_args(body).first() else { return false };
        let range = graph.inputs(outer);
        let begin = linear::of_value(graph, index).and_then(|g| g.mul(&length));
        let total = linear::of_value(graph, range[1]).and_then(|n| n.mul(&length));
        is_index_of(graph, outer, index)
            && graph.int(range[0]) == Some(0)
            && begin.is_some_and(|b| prover.equal(&b, &lo))
            && total.zip(linear::of_size(size)).is_some_and(|(t, s)| prover.equal(&t, &s))
    })
}

fn is_index_of(graph: &Graph, node: NodeId, v: Value) -> bool {
    facts::ragged::index_of(graph, node) == Some(v)
}

fn iterates(graph: &Graph, node: NodeId, wanted: SpanId) -> bool {
    let iter = match &graph.node(node).op {
        Op::Par(p) => p.iter,
        Op::For(f) => f.iter,
        _ => return false,
    };
    matches!(iter, Iter::Tiles { span, .. } if span == wanted)
}

fn same_size(graph: &Graph, v: Value, size: &Size) -> bool {
    let pair = linear::of_value(graph, v).zip(linear::of_size(size));
    pair.is_some_and(|(a, b)| a == b)
}

/// `N` for an element of an `offsets<N>` tensor.
fn offsets_total(graph: &Graph, v: Value) -> Option<&Size> {
    match &graph.node(v.node).op {
        Op::Load(a) => match &graph.object(a.object).index {
            Some(tile_base::IndexKind::Offsets(n)) => Some(n),
            _ => None,
        },
        _ => None,
    }
}

/// A store that does not depend on a `par` axis in any way: all its instances write the same elements.
fn shared_by_instances(graph: &Graph, store: NodeId, name: &str) -> Option<Diagnostic> {
    let pars: Vec<NodeId> =
        loops(graph, store).into_iter().filter(|&l| matches!(graph.node(l).op, Op::Par(_))).collect();
    let mut seen = HashSet::new();
    // Everything that decides where and whether it stores: coordinates, masks, spans, conditions, bounds.
    let mut work: Vec<Value> = graph.inputs(store)[1..].to_vec();
    work.extend(graph.type_of(graph.inputs(store)[0]).axes.iter().flat_map(|a| span_start(graph, *a)));
    let mut region = graph.node(store).region;
    while let Some(owner) = graph.region(region).owner {
        if !matches!(graph.node(owner).op, Op::Par(_)) {
            work.extend(graph.inputs(owner));
        }
        region = graph.node(owner).region;
    }
    let mut used: HashSet<RegionId> = HashSet::new();
    while let Some(v) = work.pop() {
        if !seen.insert(v) {
            continue;
        }
        let node = graph.node(v.node);
        if matches!(node.op, Op::RegionArgs) {
            used.insert(node.region);
            if let Some(owner) = graph.region(node.region).owner {
                work.extend(graph.inputs(owner));
            }
        }
        work.extend(graph.inputs(v.node));
        for inner in node.op.regions() {
            work.extend(graph.yields(inner));
        }
    }
    let free = pars.into_iter().find(|&p| match &graph.node(p).op {
        Op::Par(par) => !used.contains(&par.body),
        _ => false,
    })?;
    let Op::Par(par) = &graph.node(free).op else { return None };
    let at: Span = graph.node(store).span;
    Some(
        Diagnostic::error(
            "T0402",
            at,
            format!("every instance of `{}` stores the same elements of `{name}`", par.name),
        )
        .label(format!("does not depend on `{}`", par.name))
        .also(graph.node(free).span, "independent instances, in any order")
        .help(format!(
            "subscript `{name}` by `{}`, make `{name}` a `sum` tensor, or loop inside one instance",
            par.name
        )),
    )
}

fn span_start(graph: &Graph, axis: Axis) -> Option<Value> {
    match axis {
        Axis::Span { span, .. } => Some(graph.span(span).start),
        _ => None,
    }
}

// ---------------------------------------------------------------- affine

/// `affine S`: the new value is linear in the old one, casts looked through.
fn affine(graph: &mut Graph, node: NodeId, body: RegionId, iter: Iter, var: u32) -> Option<Diagnostic> {
    let carried = &graph.region_args(body)[iter.variables()..];
    match degree(graph, body, carried, var as usize) {
        Degree::Constant | Degree::Linear => {
            let why = "the new value is linear in the old one, casts looked through".to_string();
            oblige(graph, Claim::Affine { carried: var }, node, Status::Proven, why);
            None
        }
        Degree::Other(at) => Some(
            Diagnostic::error(
                "T0403",
                graph.node(node).span,
                "the loop is claimed `affine`, which does not hold",
            )
            .also(graph.node(at).span, "this is not linear in the claimed variable")
            .help("an affine step is `M @ S + N` with M and N free of S; drop the claim otherwise"),
        ),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Degree {
    Constant,
    Linear,
    /// The node that is neither.
    Other(NodeId),
}

/// The degree of the new value of carried value `var` in its old one.
///
/// Walks the body in program order; what comes from outside is constant. Another carried value is constant too,
/// unless its own new value depends on `var`: then it remembers earlier states and nothing is known of it.
fn degree(graph: &Graph, body: RegionId, carried: &[Value], var: usize) -> Degree {
    let yields = graph.yields(body);
    let mut unknown: HashSet<Value> = HashSet::new();
    loop {
        let known = degrees(graph, body, carried[var], &unknown);
        let of = |v: Value| value_degree(&known, carried[var], &unknown, v);
        let more: Vec<Value> = (0..carried.len())
            .filter(|&c| c != var && !unknown.contains(&carried[c]) && of(yields[c]) != Degree::Constant)
            .map(|c| carried[c])
            .collect();
        if more.is_empty() {
            return of(yields[var]);
        }
        unknown.extend(more);
    }
}

fn value_degree(known: &HashMap<NodeId, Degree>, state: Value, unknown: &HashSet<Value>, v: Value) -> Degree {
    match known.get(&v.node) {
        _ if v == state => Degree::Linear,
        _ if unknown.contains(&v) => Degree::Other(v.node),
        Some(&d) => d,
        None => Degree::Constant,
    }
}

fn degrees(graph: &Graph, body: RegionId, state: Value, unknown: &HashSet<Value>) -> HashMap<NodeId, Degree> {
    let mut known = HashMap::new();
    for &node in &graph.region(body).nodes {
        if matches!(graph.node(node).op, Op::RegionArgs) {
            continue;
        }
        let of = |v: Value| value_degree(&known, state, unknown, v);
        let parts: Vec<Degree> = graph.inputs(node).into_iter().map(of).collect();
        let inner = graph.node(node).op.regions();
        let captured =
            inner.iter().any(|&r| graph.captures(r).into_iter().any(|v| of(v) != Degree::Constant));
        let found = if captured { Degree::Other(node) } else { combine(graph, node, &parts) };
        known.insert(node, found);
    }
    known
}

fn combine(graph: &Graph, at: NodeId, parts: &[Degree]) -> Degree {
    use tile_graph::{ElemOp, ReduceKind};
    if let Some(&bad) = parts.iter().find(|d| matches!(d, Degree::Other(_))) {
        return bad;
    }
    let node = graph.node(at);
    let linear = |d: &Degree| *d == Degree::Linear;
    if !parts.iter().any(linear) {
        return Degree::Constant;
    }
    let allowed = match &node.op {
        Op::Cast => node.outputs[0].dtype.is_float(),
        Op::Broadcast | Op::Reshape { .. } | Op::Permute { .. } | Op::Merge { .. } | Op::Split { .. } => true,
        Op::Slice { .. } | Op::Concat { .. } => true,
        Op::Take { .. } => !linear(&parts[1]),
        Op::Dot(_) => !(linear(&parts[0]) && linear(&parts[1])),
        Op::Reduce { kind: ReduceKind::Sum, .. } | Op::Scan { kind: ReduceKind::Sum, .. } => true,
        Op::Elem(op) => match op {
            ElemOp::Neg | ElemOp::Add | ElemOp::Sub => true,
            ElemOp::Mul => !(linear(&parts[0]) && linear(&parts[1])),
            ElemOp::Div => !linear(&parts[1]),
            ElemOp::Select => !linear(&parts[0]),
            _ => false,
        },
        // A streamed dot adds products of its operands; a loop that carries the state is more than this looks into.
        _ => false,
    };
    if allowed { Degree::Linear } else { Degree::Other(at) }
}
