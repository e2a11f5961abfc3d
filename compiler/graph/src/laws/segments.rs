//! Run a recurrence by segments: *an affine state is what the segments before make of it.*
//!
//! A loop whose state moves as `S' = A S + b`, with A and b independent of S, takes any state S through a whole segment as
//! `D S + E`: E is where the segment leads from 0, D the product of its A's. So segments run side by side, twice, and only
//! their ends are gone through in order:
//!
//! ```text
//! S = for t in tiles(0..L, C) affine (S = S0) { store O[t] = f(S, x[t]); yield A[t] S + b[t] }
//! store S1 = S
//!
//! ends     par p in parts   E, D = for t in segment p (S = 0, D = 1) { yield A[t] S + b[t], A[t] D }
//!                           W0[p] = E;  W1[p] = D
//! starts                    S = for q in 0..parts (S = S0) { W2[q] = S; yield W1[q] S + W0[q] }
//!                           store S1 = S
//! replay   par p in parts   for t in segment p (S = W2[p]) { store O[t] = f(S, x[t]); … }
//! ```
//!
//! What A and D are, [`super::transition`] finds. Where A is a factor for each element (a gate per head or per channel), so
//! is D, and the ends carry it beside the state. Where A is a matrix (the delta rule), D is one, and each of its columns
//! moves as a column of the state would that nothing is added to. So D is what the kernel itself makes of the identity, in a
//! launch of its own whose `par` axis over the columns of the state goes over those of D instead:
//!
//! ```text
//! par w in tiles(0..V, BV)  S: f32[K, w] …        products   par w in tiles(0..K, BV), p in parts
//!                                                            D = for t in segment p (D = I[:, w]) { yield A[t] D }
//!                                                            W1[p, w] = D
//! ```
//!
//! Segments are combined in their order, so results do not hang on which ends first.

use super::{Refused, cut::*, transition::*, workspace::*};
use crate::{ir::*, op::*};
use tile_base::{Mode, Size};

/// A matrix is multiplied by about so many of its elements at a time, some of its columns: 64 KB in f32, so that they fit
/// a block's shared memory beside the state.
const AT_A_TIME: u64 = 128 * 128;

/// Takes the kernel apart at an `affine` loop that stands directly in its instances.
pub fn segment_loop(graph: &Graph, node: NodeId) -> Result<Launches, Refused> {
    let Op::For(f) = graph.node(node).op.clone() else { return Err(Refused("is not a `for`".into())) };
    if !matches!(f.combine, LoopCombine::Affine { .. }) {
        return Err(Refused("has no `affine` claim".into()));
    }
    may_be_cut(graph, &f)?;
    let home = instance(graph, node)?;
    let [state] = &graph.node(node).outputs[..] else {
        return Err(Refused("carries more than its affine state".into()));
    };
    let moves = match transition(graph, &f, state)? {
        Transition::Factor(factor) => Moves::Factor(stored(graph, decay_type(graph, &factor.axes, state))?),
        Transition::Matrix(columns) => {
            let mut wide = graph.clone();
            columns.of_matrix(&mut wide);
            Moves::Matrix(columns, stored(&wide, state.clone())?)
        }
    };
    let state = stored(graph, state.clone())?;
    let parts = unique(&graph.signature, &format!("{}_parts", f.name));
    let workspace = |(what, s): (&str, &Stored)| Workspace {
        name: unique(&graph.signature, &format!("{}_{what}", f.name)),
        dtype: s.ty.dtype,
        shape: [Size::name(&parts)].into_iter().chain(s.extents()).collect(),
    };
    let workspaces = [("end", &state), ("decay", moves.stored()), ("start", &state)].map(workspace).to_vec();
    let segments = Segments { f, node, home, state, moves, parts, workspaces };
    let mut graphs = vec![];
    graphs.extend(segments.products(graph)?);
    graphs.extend([segments.ends(graph)?, segments.starts(graph)?, segments.replay(graph)?]);
    graphs.iter().for_each(|g| crate::debug_verify(g, "segment_loop"));
    Ok(Launches { graphs, parts: Some(segments.parts), workspaces: segments.workspaces })
}

struct Segments {
    f: ForOp,
    node: NodeId,
    home: RegionId,
    state: Stored,
    moves: Moves,
    parts: String,
    /// Of the ends, of what segments multiply by, and of the starts.
    workspaces: Vec<Workspace>,
}

/// What a segment multiplies the state by, as it is kept.
enum Moves {
    Factor(Stored),
    Matrix(Columns, Stored),
}

impl Moves {
    fn stored(&self) -> &Stored {
        match self {
            Moves::Factor(stored) | Moves::Matrix(_, stored) => stored,
        }
    }
}

/// The workspaces, in the order of [`Segments::workspaces`], in one of the launches.
#[derive(Clone, Copy)]
struct Kept {
    end: ObjectId,
    product: ObjectId,
    start: ObjectId,
}

impl Kept {
    fn from(first: ObjectId) -> Kept {
        let [end, product, start] = [0, 1, 2].map(|n| ObjectId::new(first.index() + n));
        Kept { end, product, start }
    }
}

/// An instance of a launch by segments.
struct Segment {
    at: At,
    /// Its number and range.
    p: Value,
    range: [Value; 2],
    kept: Kept,
}

impl Segments {
    /// Where each segment leads from 0, and its factor.
    fn ends(&self, graph: &Graph) -> Result<Graph, Refused> {
        let mut g = self.launch(graph, "ends");
        if let Moves::Factor(factor) = &self.moves {
            self.carry_factor(&mut g, &factor.ty)?;
        }
        self.in_order(&mut g);
        let segment = self.cut_without_effects(&mut g)?;
        let (at, kept) = (segment.at, segment.kept);
        let mut inputs = segment.range.to_vec();
        inputs.push(splat(&mut g, at, Literal::Float(0.0), &self.state.ty));
        if let Moves::Factor(factor) = &self.moves {
            inputs.push(splat(&mut g, at, Literal::Float(1.0), &factor.ty));
        }
        g.set_inputs(self.node, &inputs);
        let end = At { before: g.region(at.region).nodes.last().copied(), ..at };
        self.state.store(&mut g, end, kept.end, segment.p, Value { node: self.node, port: 0 });
        if let Moves::Factor(factor) = &self.moves {
            factor.store(&mut g, end, kept.product, segment.p, Value { node: self.node, port: 1 });
        }
        Ok(done(g))
    }

    /// The columns of each segment's matrix; `None` where factors do.
    fn products(&self, graph: &Graph) -> Result<Option<Graph>, Refused> {
        let Moves::Matrix(columns, stored) = &self.moves else { return Ok(None) };
        let mut g = self.launch(graph, "products");
        let state = g.region_args(self.f.body)[self.f.iter.variables()];
        let at = before_yield(&g, &self.f);
        let next = match linear_part(&mut g, &self.f, state)? {
            Some(part) => part,
            None => splat(&mut g, at, Literal::Float(0.0), &self.state.ty),
        };
        if let Some(last) = at.before {
            g.set_inputs(last, &[next]);
        }
        self.in_order(&mut g);
        // Nothing that the state came from is left in the launch.
        let at = At { region: self.home, before: Some(self.node), span: at.span };
        let zero = splat(&mut g, at, Literal::Float(0.0), &self.state.ty);
        let range = g.inputs(self.node);
        g.set_inputs(self.node, &[range[0], range[1], zero]);
        let segment = self.cut_without_effects(&mut g)?;
        if !columns.are_alike(&g, &self.f) {
            return Err(Refused("moves columns of its state in ways of their own".into()));
        }
        columns.of_matrix(&mut g);
        let identity = columns.identity(&mut g, segment.at, &self.state.ty);
        let [lo, hi] = segment.range;
        g.set_inputs(self.node, &[lo, hi, identity]);
        let end = At { before: g.region(segment.at.region).nodes.last().copied(), ..segment.at };
        stored.store(&mut g, end, segment.kept.product, segment.p, Value { node: self.node, port: 0 });
        Ok(Some(done(g)))
    }

    /// The state that enters each segment, and what the kernel does beside the loop, with the last state.
    fn starts(&self, graph: &Graph) -> Result<Graph, Refused> {
        let mut g = self.launch(graph, "starts");
        let span = g.node(self.node).span;
        let (dim, first) = extend_by_parts(&mut g, &self.parts, &self.workspaces, Mode::InOut, span);
        let kept = Kept::from(first);
        let at = At { region: self.home, before: Some(self.node), span };
        let count = insert(&mut g, at, Op::Dim(dim), vec![ValueType::index()], &[])[0];
        let start = g.inputs(self.node)[2];
        let name = format!("{}.combine", self.f.name);
        let last = fold(&mut g, at, &name, count, &[start], |g, inside, q, states| {
            self.state.store(g, inside, kept.start, q, states[0]);
            vec![self.behind(g, inside, kept, q, states[0])]
        });
        g.replace_uses(Value { node: self.node, port: 0 }, last[0]);
        g.remove(self.node);
        Ok(done(g))
    }

    /// The state behind segment `q`, from the one that enters it.
    fn behind(&self, g: &mut Graph, at: At, kept: Kept, q: Value, state: Value) -> Value {
        let ty = || vec![self.state.ty.clone()];
        let mut sum = self.state.load(g, at, kept.end, q);
        match &self.moves {
            Moves::Factor(factor) => {
                let factor = factor.load(g, at, kept.product, q);
                let moved = insert(g, at, Op::Elem(ElemOp::Mul), ty(), &[state, factor])[0];
                sum = insert(g, at, Op::Elem(ElemOp::Add), ty(), &[moved, sum])[0];
            }
            Moves::Matrix(columns, stored) => {
                let most = (AT_A_TIME / columns.rows / 16 * 16).max(16);
                for lo in (0..columns.rows).step_by(most as usize) {
                    let length = most.min(columns.rows - lo);
                    let first = scalar(g, at, Literal::Int(lo as i64));
                    let block = stored.positions(columns.axis, first, length).load(g, at, kept.product, q);
                    let rows = columns.rows_of(g, at, state, lo, length);
                    // Columns that come first are rows of the transposed product.
                    let operands = if columns.axis == 0 { [rows, block] } else { [block, rows] };
                    let moved = insert(g, at, Op::Dot(DotAxes::matrix()), ty(), &operands)[0];
                    sum = insert(g, at, Op::Elem(ElemOp::Add), ty(), &[sum, moved])[0];
                }
            }
        }
        sum
    }

    /// The kernel over each segment, from the state that enters it.
    fn replay(&self, graph: &Graph) -> Result<Graph, Refused> {
        let mut g = self.launch(graph, "replay");
        let before = drop_after(&mut g, self.home, self.node);
        drop_effects(&mut g, &before, self.node)?;
        let Segment { at, p, range: [lo, hi], kept } = self.cut(&mut g);
        let start = self.state.load(&mut g, at, kept.start, p);
        g.set_inputs(self.node, &[lo, hi, start]);
        Ok(done(g))
    }

    fn launch(&self, graph: &Graph, what: &str) -> Graph {
        let name = format!("{}_{}_{what}", graph.name, identifier(&self.f.name));
        Graph { name, ..graph.clone() }
    }

    /// Makes the segments instances that do nothing but compute the loop.
    fn cut_without_effects(&self, g: &mut Graph) -> Result<Segment, Refused> {
        let body = g.region(self.f.body).nodes.clone();
        drop_effects(g, &body, self.node)?;
        let nodes = g.region(self.home).nodes.clone();
        drop_effects(g, &nodes, self.node)?;
        Ok(self.cut(g))
    }

    /// Makes the segments instances.
    fn cut(&self, g: &mut Graph) -> Segment {
        let span = g.node(self.node).span;
        let (dim, first) = extend_by_parts(g, &self.parts, &self.workspaces, Mode::InOut, span);
        let (region, p) = side_by_side(g, self.home, &format!("{}.segment", self.f.name), dim, span);
        let at = At { region, before: Some(self.node), span };
        let inputs = g.inputs(self.node);
        let parts = insert(g, at, Op::Dim(dim), vec![ValueType::index()], &[])[0];
        let chunk = chunk(g, at, unit(&self.f, UNIT), &inputs, parts);
        let (lo, hi) = bounds(g, at, &inputs, p, chunk);
        Segment { at, p, range: [lo, hi], kept: Kept::from(first) }
    }

    /// The loop carries its factor beside its state.
    fn carry_factor(&self, g: &mut Graph, ty: &ValueType) -> Result<(), Refused> {
        let args = g.region(self.f.body).nodes[0];
        g.node_mut(args).outputs.push(ty.clone());
        let carried = Value { node: args, port: g.node(args).outputs.len() as u32 - 1 };
        let at = before_yield(g, &self.f);
        let next = match linear_part(g, &self.f, carried)? {
            Some(part) if g.type_of(part) == ty => part,
            Some(part) => insert(g, at, Op::Broadcast, vec![ty.clone()], &[part])[0],
            None => splat(g, at, Literal::Float(0.0), ty),
        };
        if let Some(last) = at.before {
            let mut yields = g.inputs(last);
            yields.push(next);
            g.set_inputs(last, &yields);
        }
        g.node_mut(self.node).outputs.push(ty.clone());
        Ok(())
    }

    /// What the loop computes now is claimed to be nothing but a loop.
    fn in_order(&self, g: &mut Graph) {
        if let Op::For(f) = &mut g.node_mut(self.node).op {
            f.combine = LoopCombine::Ordered;
        }
        g.obligations.retain(|o| !(o.node == self.node && matches!(o.claim, Claim::Affine { .. })));
    }
}

fn done(mut g: Graph) -> Graph {
    read_only_unless_written(&mut g);
    super::simplify(&mut g);
    g
}

/// The type of a segment's factor: the axes of the steps' factors, and those of the state along `par` spans.
fn decay_type(graph: &Graph, factor: &[Axis], state: &ValueType) -> ValueType {
    let spans: Vec<SpanId> = par_spans(graph).into_iter().map(|(_, span)| span).collect();
    let kept = |axis: &Axis| matches!(axis, Axis::Span { span, .. } if spans.contains(span));
    let axes = state.axes.iter().zip(factor).map(|(axis, own)| if kept(axis) { *axis } else { *own });
    ValueType::tile(state.dtype, axes.collect::<Vec<_>>())
}
