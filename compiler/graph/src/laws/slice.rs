//! Slice a recurrence: *first the states, one after the other, then what is made of them, all at once.*
//!
//! A loop that carries a small state and writes something at every step does two things: it moves the state on, which
//! has an order, and it makes outputs from the state, which has none. The law gives each a launch of its own:
//!
//! ```text
//! par h in H {                                 par h in H {                                   (states)
//!     S = for t in tiles(0..L, C) (S = S0) {       S = for t in tiles(0..L, C) (S = S0) {
//!         store O[t, h] = f(S, x[t])                   store W[t.id, h] = S
//!         yield g(S, x[t]) }                           yield g(S, x[t]) }
//!     store S1[h] = S                              store S1[h] = S
//! }                                            }
//!                                              par h in H, t in tiles(0..L, C) {              (outputs)
//!                                                  S = load W[t.id, h]
//!                                                  store O[t, h] = f(S, x[t])
//!                                              }
//! ```
//!
//! What only one of the two needs is computed by that one alone; what both need (a running sum of gates) by both. The
//! outputs launch has an instance for every step, which is what fills a device when heads are few. Nothing is claimed of g
//! but that it is what the loop computes, so any recurrence may be sliced, affine or not.
//!
//! States are kept by the number of the step, so the size of a step is fixed for both launches. Where the ranges of an
//! outer axis lie end to end, its instances share one row of places, so that a batch of sequences takes the space of its
//! tokens and not of the longest sequence for each. Sequence n begins at place `cu[n] / C + n`; as it has at most
//! `(cu[n + 1] - cu[n]) / C + 1` steps, it ends where the next one begins, or before:
//!
//! ```text
//! C = 16, cu = 0 15 15 71     steps 1 0 4     places 0 | | 2 3 4 5     of 71 / 16 + 3 = 7
//! ```

use super::{Refused, cut::*, workspace::*};
use crate::{
    facts::{extent, ragged},
    ir::*,
    op::*,
};
use std::collections::BTreeSet;
use tile_base::{Mode, Size, Span};

/// Slices the kernel at a loop that stands directly in its instances. `sizes` are the tile sizes that the schedule gives:
/// that of the loop has to be one.
pub fn slice_loop(
    graph: &Graph,
    node: NodeId,
    sizes: &dyn Fn(&str) -> Option<u64>,
) -> Result<Launches, Refused> {
    let mut graph = graph.clone();
    fix_step(&mut graph, node, sizes)?;
    let slicer = Slicer::new(&graph, node)?;
    let states = slicer.states(&graph)?;
    let outputs = slicer.outputs(&graph)?;
    crate::debug_verify(&states, "slice_loop (states)");
    crate::debug_verify(&outputs, "slice_loop (outputs)");
    Ok(Launches { graphs: vec![states, outputs], parts: None, workspaces: slicer.workspaces })
}

/// Gives the tile size of a loop or `par` axis a value, wherever the kernel uses it. `sizes` are those of the schedule.
pub(super) fn fix_step(
    graph: &mut Graph,
    node: NodeId,
    sizes: &dyn Fn(&str) -> Option<u64>,
) -> Result<(), Refused> {
    let (Op::For(ForOp { iter, .. }) | Op::Par(ParOp { iter, .. })) = graph.node(node).op else {
        return Ok(());
    };
    let Iter::Tiles { step: StepSize::Tile(tile), .. } = iter else { return Ok(()) };
    let name = graph.tile(tile).name.clone();
    let Some(size) = sizes(&name) else {
        return Err(Refused(format!("needs `tile {name} = …` in the same schedule")));
    };
    let fixed = StepSize::Fixed(size);
    for span in &mut graph.spans {
        if span.step == StepSize::Tile(tile) {
            span.step = fixed;
        }
    }
    for node in graph.nodes_under(ROOT) {
        if let Op::For(ForOp { iter: Iter::Tiles { step, .. }, .. })
        | Op::Par(ParOp { iter: Iter::Tiles { step, .. }, .. }) = &mut graph.node_mut(node).op
            && *step == StepSize::Tile(tile)
        {
            *step = fixed;
        }
    }
    Ok(())
}

struct Slicer {
    f: ForOp,
    node: NodeId,
    home: RegionId,
    /// Positions among the carried values of those that outputs are made of.
    kept: Vec<usize>,
    /// In the order of `kept`.
    stored: Vec<Stored>,
    /// The `par` axis whose ranges lie end to end, when the loop goes over them.
    parted_by: Option<NodeId>,
    workspaces: Vec<Workspace>,
    span: Span,
}

impl Slicer {
    fn new(graph: &Graph, node: NodeId) -> Result<Slicer, Refused> {
        let Op::For(f) = graph.node(node).op.clone() else { return Err(Refused("is not a `for`".into())) };
        let home = instance(graph, node)?;
        if f.early_exit {
            return Err(Refused("has a `break`".into()));
        }
        if matches!(f.iter, Iter::Each { reverse: true } | Iter::Tiles { reverse: true, .. }) {
            return Err(Refused("runs backwards".into()));
        }
        if matches!(f.combine, LoopCombine::Merge { .. }) {
            return Err(Refused("merges: split it into parts".into()));
        }
        if !has_effect(graph, node) {
            return Err(Refused("writes nothing in its body".into()));
        }
        memory_stays_apart(graph, &f)?;
        let kept = states_of_outputs(graph, &f);
        let parted_by = ragged::parted_by(graph, node, &graph.par_nest());
        let types = kept.iter().map(|&at| graph.node(node).outputs[at].clone());
        let stored: Vec<Stored> =
            types.map(|ty| stored_but_for(graph, ty, parted_by)).collect::<Result<_, _>>()?;
        let places = match parted_by {
            Some(par) => places(graph, node, par)?,
            None => steps(graph, node)?,
        };
        let workspaces = kept
            .iter()
            .zip(&stored)
            .map(|(at, s)| Workspace {
                name: unique(&graph.signature, &format!("{}_state{at}", f.name)),
                dtype: s.ty.dtype,
                shape: [places.clone()].into_iter().chain(s.extents()).collect(),
            })
            .collect();
        Ok(Slicer { span: graph.node(node).span, f, node, home, kept, stored, parted_by, workspaces })
    }

    /// The loop with its states stored and nothing else written in its body.
    fn states(&self, graph: &Graph) -> Result<Graph, Refused> {
        let mut g = graph.clone();
        g.name = format!("{}_{}_states", graph.name, identifier(&self.f.name));
        let body = g.region(self.f.body).nodes.clone();
        drop_effects(&mut g, &body, self.node)?;
        let first = extend(&mut g, &self.workspaces, Mode::InOut, self.span);
        let args = g.region_args(self.f.body);
        let at =
            At { region: self.f.body, before: g.region(self.f.body).nodes.get(1).copied(), span: self.span };
        let range = g.inputs(self.node);
        let place = self.place(&mut g, at, range[0], &args);
        for (n, (&kept, stored)) in self.kept.iter().zip(&self.stored).enumerate() {
            let state = args[self.f.iter.variables() + kept];
            stored.store(&mut g, at, ObjectId::new(first.index() + n), place, state);
        }
        // Every step counts now, and none may be left out.
        forget_skip(&mut g, self.node);
        if let Op::For(f) = &mut g.node_mut(self.node).op
            && f.combine == LoopCombine::Sum
        {
            f.combine = LoopCombine::Ordered;
        }
        read_only_unless_written(&mut g);
        super::simplify(&mut g);
        Ok(g)
    }

    /// The body of the loop as an instance for every step.
    fn outputs(&self, graph: &Graph) -> Result<Graph, Refused> {
        let mut g = graph.clone();
        let first = extend(&mut g, &self.workspaces, Mode::In, self.span);
        let before = drop_after(&mut g, self.home, self.node);
        drop_effects(&mut g, &before, self.node)?;
        let bounds = [g.inputs(self.node)[0], g.inputs(self.node)[1]];
        let args = g.region_args(self.f.body);
        let variables = self.f.iter.variables();

        // par t in lo..hi { states; what stood before the loop; its body }
        let body = g.add_region(RegionKind::Par);
        let inside = At { region: body, before: None, span: self.span };
        let types = args[..variables].iter().map(|&v| g.type_of(v).clone()).collect();
        let own = insert(&mut g, inside, Op::RegionArgs, types, &[]);
        let outside: BTreeSet<NodeId> = g.made_of(self.home, &bounds).into_iter().map(|v| v.node).collect();
        for &node in &before {
            // What was written before the loop is gone: the launch of the states writes it.
            let stays = outside.contains(&node) || !g.contains(node);
            if !stays && !matches!(g.node(node).op, Op::RegionArgs) {
                g.relocate(node, body, None);
            }
        }
        let mut stands_for: Vec<(Value, Value)> = args.iter().copied().zip(own.iter().copied()).collect();
        let place = self.place(&mut g, inside, bounds[0], &own);
        for (n, (&kept, stored)) in self.kept.iter().zip(&self.stored).enumerate() {
            let state = stored.load(&mut g, inside, ObjectId::new(first.index() + n), place);
            stands_for.push((args[variables + kept], state));
        }
        for node in g.region(self.f.body).nodes.clone() {
            if !matches!(g.node(node).op, Op::RegionArgs | Op::Yield) {
                g.relocate(node, body, None);
            }
        }
        // The next states go with their yield, before what they were made of.
        let last = g.region(self.f.body).nodes.last().copied().filter(|&n| matches!(g.node(n).op, Op::Yield));
        if let Some(last) = last {
            g.set_inputs(last, &[]);
        }
        for (old, new) in stands_for {
            g.replace_uses(old, new);
        }
        insert(&mut g, inside, Op::Yield, vec![], &[]);
        let end =
            At { region: self.home, before: g.region(self.home).nodes.last().copied(), span: self.span };
        let name = self.f.name.clone();
        insert(&mut g, end, Op::Par(ParOp { iter: self.f.iter, body, name }), vec![], &bounds);
        drop_unused(&mut g, body);
        g.remove(self.node);
        read_only_unless_written(&mut g);
        super::simplify(&mut g);
        Ok(g)
    }

    /// Where the states before a step are kept, of a range from `lo` on.
    fn place(&self, g: &mut Graph, at: At, lo: Value, args: &[Value]) -> Value {
        let number = args[self.f.iter.variables() - 1];
        let part = self.parted_by.and_then(|par| ragged::index_of(g, par));
        match (self.f.iter, part) {
            (Iter::Tiles { step: StepSize::Fixed(step), .. }, Some(part)) => {
                let step = scalar(g, at, Literal::Int(step as i64));
                let before = index(g, at, ElemOp::Div, lo, step);
                let first = index(g, at, ElemOp::Add, before, part);
                index(g, at, ElemOp::Add, first, number)
            }
            // Indices tell themselves apart.
            _ => number,
        }
    }
}

/// How many places the steps of all parts take together.
fn places(graph: &Graph, node: NodeId, par: NodeId) -> Result<Size, Refused> {
    let most = |value| {
        extent::bound(graph, value, extent::Side::Greatest)
            .ok_or_else(|| Refused("goes over a range that the host cannot bound".into()))
    };
    let total = most(graph.inputs(node)[1])?;
    match graph.node(node).op {
        Op::For(ForOp { iter: Iter::Tiles { step: StepSize::Fixed(step), .. }, .. }) => {
            let whole = Size::FloorDiv(total.into(), Size::Const(step as i64).into());
            Ok(Size::Add(whole.into(), most(graph.inputs(par)[1])?.into()))
        }
        Op::For(ForOp { iter: Iter::Tiles { .. }, .. }) => steps(graph, node),
        _ => Ok(total),
    }
}

/// Drops what only the next state needed: it may use states that no output is made of, which are nowhere any more.
fn drop_unused(g: &mut Graph, body: RegionId) {
    for node in g.region(body).nodes.clone().into_iter().rev() {
        let unused = g.outputs(node).all(|v| g.uses(v).is_empty());
        let framed = matches!(g.node(node).op, Op::RegionArgs | Op::Yield | Op::MakeSpan { .. });
        if unused && !framed && !has_effect(g, node) {
            g.remove(node);
        }
    }
}

/// A tensor that the body writes must not be read by it, nor written elsewhere: the steps would no longer see each other.
fn memory_stays_apart(graph: &Graph, f: &ForOp) -> Result<(), Refused> {
    let inside: BTreeSet<NodeId> = graph.nodes_under(f.body).into_iter().collect();
    let accesses = |of: &dyn Fn(&Op) -> bool, within: bool| -> BTreeSet<ObjectId> {
        let nodes = graph.nodes_under(ROOT).into_iter().filter(|n| inside.contains(n) == within);
        nodes
            .filter(|&n| of(&graph.node(n).op))
            .filter_map(|n| Some(graph.node(n).op.access()?.object))
            .collect()
    };
    let written = accesses(&Op::writes_memory, true);
    let read = accesses(&|op| matches!(op, Op::Load(_)), true);
    let elsewhere = accesses(&|op| op.access().is_some(), false);
    match written.iter().find(|o| read.contains(o) || elsewhere.contains(o)) {
        Some(&o) => Err(Refused(format!("uses `{}` beside writing it", graph.object(o).name))),
        None => Ok(()),
    }
}

/// The carried values that something written in the body is made of.
fn states_of_outputs(graph: &Graph, f: &ForOp) -> Vec<usize> {
    let effects = graph.region(f.body).nodes.iter().copied().filter(|&n| has_effect(graph, n));
    let inputs: Vec<Value> = effects.flat_map(|n| graph.all_inputs(n)).collect();
    let values = graph.made_of(f.body, &inputs);
    let args = graph.region_args(f.body);
    let states = (0..args.len()).filter(|&at| values.contains(&args[at]));
    states.filter_map(|at| at.checked_sub(f.iter.variables())).collect()
}

/// Takes the `skip` claim off a loop.
fn forget_skip(g: &mut Graph, node: NodeId) {
    let Op::For(ForOp { skip: Some(skip), .. }) = g.node(node).op else { return };
    for inner in g.region(skip).nodes.clone().into_iter().rev() {
        g.remove(inner);
    }
    g.regions[skip.index()].owner = None;
    if let Op::For(f) = &mut g.node_mut(node).op {
        f.skip = None;
    }
    g.obligations.retain(|o| !(o.node == node && o.claim == Claim::Skip));
}
