//! The order of emission: which elementwise operations share one pass over memory, and when each step runs.
//!
//! Words:
//! - a *soft* node is elementwise or a fusable reduction; it joins a [`Group`], one loop nest over one tile shape;
//! - an *inline* node is a rearrangement or cheap index arithmetic; it is computed wherever it is used and never
//!   stored on its own account;
//! - every other node is *hard* and is one step of its own, in program order.
//!
//! A group of shape `[i, j]` holds *full* members (`f32[i, j]`) and *row* members (`f32[i, 1]`), one value per row:
//!
//! ```text
//! flash:   s = select(mask, x * scale, -inf)     full, phase 0      for each row i:
//!          m1 = max(m, s.max(1))                 row, phase 1         for j: s, its maximum
//!          p = exp2(s - r)                       full, phase 1        m1, r
//!          l1 = l * c + p.sum(1)                 row, phase 2         for j: p, its sum
//!                                                                     c, l1
//! ```
//!
//! Groups stay open while hard nodes pass by, and are emitted when something outside needs one of their values.
//! Invariant: groups are kept in order and a node joins a group only if everything it needs comes from that group
//! or earlier ones, so emitting them in order is emitting operands first.

use std::collections::HashMap;
use tile_base::DType;
use tile_graph::{Axis, Graph, NodeId, Op, ROOT, ReduceKind, RegionId, Value, ValueType};

use crate::runtime::Class;

#[derive(Clone, Debug)]
pub enum Step {
    Node(NodeId),
    /// `sum = x + dot(a, b)`: the dot adds to a buffer that holds x.
    DotAdd {
        dot: NodeId,
        add: NodeId,
    },
    Group(Group),
}

#[derive(Clone, Debug)]
pub struct Group {
    /// In program order.
    pub members: Vec<NodeId>,
    pub axes: Vec<Axis>,
    /// The axis of the innermost loop: the last that is not `One`.
    pub inner: usize,
}

/// Steps of each region.
pub struct Schedule {
    pub regions: HashMap<RegionId, Vec<Step>>,
}

/// Most members of a group: keeps loop bodies within what a register allocator handles well.
const MEMBERS: usize = 48;
/// Most nodes of index arithmetic computed again at each use.
const INLINE_COST: usize = 12;

pub fn schedule(graph: &Graph) -> Schedule {
    let mut regions = HashMap::new();
    let mut pending = vec![ROOT];
    while let Some(region) = pending.pop() {
        for &node in &graph.region(region).nodes {
            pending.extend(graph.node(node).op.regions());
        }
        regions.insert(region, Scheduler::new(graph).run(region));
    }
    Schedule { regions }
}

/// How a node is computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Inline,
    Soft,
    Hard,
}

pub fn kind(graph: &Graph, node: NodeId) -> Kind {
    let n = graph.node(node);
    let Some(out) = n.outputs.first() else { return Kind::Hard };
    if out.is_scalar() {
        return Kind::Hard;
    }
    match &n.op {
        Op::Iota | Op::Broadcast | Op::Reshape { .. } | Op::Permute { .. } | Op::Slice { .. } => Kind::Inline,
        Op::Cast if is_alias(graph, node) => Kind::Inline,
        Op::Elem(_) | Op::Cast => match inline_cost(graph, node) {
            Some(cost) if cost <= INLINE_COST => Kind::Inline,
            _ => Kind::Soft,
        },
        Op::Reduce {
            axis,
            kind: ReduceKind::Sum | ReduceKind::Prod | ReduceKind::Max | ReduceKind::Min,
            ..
        } => {
            let input = graph.type_of(graph.inputs(node)[0]);
            if inner_axis(&input.axes) == Some(*axis as usize) { Kind::Soft } else { Kind::Hard }
        }
        _ => Kind::Hard,
    }
}

/// A cast that changes no bits of what the tile holds: widening within the class.
pub fn is_alias(graph: &Graph, node: NodeId) -> bool {
    let to = graph.node(node).outputs[0].dtype;
    let from = graph.type_of(graph.inputs(node)[0]).dtype;
    widens(from, to)
}

pub fn widens(from: DType, to: DType) -> bool {
    use DType::*;
    from == to
        || match to {
            F32 => Class::of(from) == Class::F32,
            Tf32 => matches!(from, F16 | Bf16 | F8e4m3 | F8e5m2 | F4e2m1),
            F16 => matches!(from, F8e4m3 | F8e5m2 | F4e2m1),
            Bf16 => matches!(from, F8e4m3 | F8e5m2 | F4e2m1),
            I32 => Class::of(from) == Class::I32,
            _ => false,
        }
}

/// Nodes computed when this one is written out at a use; `None` when it is no index arithmetic over positions.
fn inline_cost(graph: &Graph, node: NodeId) -> Option<usize> {
    let n = graph.node(node);
    if n.outputs[0].is_scalar() {
        return Some(0);
    }
    match &n.op {
        Op::Iota => return Some(0),
        Op::Elem(_) if matches!(n.outputs[0].dtype, DType::I64 | DType::Bool) => {}
        Op::Broadcast | Op::Reshape { .. } | Op::Permute { .. } | Op::Slice { .. } => {}
        _ => return None,
    }
    graph.inputs(node).into_iter().try_fold(1, |sum, v| {
        let cost = if graph.type_of(v).is_scalar() { 0 } else { inline_cost(graph, v.node)? };
        (sum + cost <= 4 * INLINE_COST).then_some(sum + cost)
    })
}

/// The last axis that may hold more than one element; the last one when there is none.
pub fn inner_axis(axes: &[Axis]) -> Option<usize> {
    axes.iter().rposition(|a| *a != Axis::One).or(axes.len().checked_sub(1))
}

/// The stored values that computing `value` reads, each with whether it is read position by position (through
/// stretching alone).
pub fn bases(graph: &Graph, value: Value, aligned: bool, found: &mut Vec<(Value, bool)>) {
    if graph.type_of(value).is_scalar() {
        return;
    }
    if kind(graph, value.node) != Kind::Inline {
        if !found.contains(&(value, aligned)) {
            found.push((value, aligned));
        }
        return;
    }
    let straight = matches!(graph.node(value.node).op, Op::Broadcast | Op::Cast | Op::Elem(_));
    for input in graph.inputs(value.node) {
        bases(graph, input, aligned && straight, found);
    }
}

struct Scheduler<'a> {
    graph: &'a Graph,
    steps: Vec<Step>,
    open: Vec<Group>,
    /// The open group of a member, by its serial number.
    place: HashMap<NodeId, usize>,
    /// Groups emitted so far: serial number of `open[0]`.
    emitted: usize,
    /// Dots that wait for the sum that takes them up.
    waiting: HashMap<NodeId, NodeId>,
}

impl<'a> Scheduler<'a> {
    fn new(graph: &'a Graph) -> Self {
        Scheduler {
            graph,
            steps: vec![],
            open: vec![],
            place: HashMap::new(),
            emitted: 0,
            waiting: HashMap::new(),
        }
    }

    fn run(mut self, region: RegionId) -> Vec<Step> {
        for &node in &self.graph.region(region).nodes {
            let op = &self.graph.node(node).op;
            // Of two dots in one sum, one adds to the other.
            if let Some(add) = self.taken_up(node).filter(|a| !self.waiting.contains_key(a)) {
                self.waiting.insert(add, node);
                continue;
            }
            if let Some(dot) = self.waiting.remove(&node) {
                let mut inputs = self.graph.inputs(node);
                inputs.extend(self.graph.inputs(dot));
                self.need(&inputs);
                self.steps.push(Step::DotAdd { dot, add: node });
                continue;
            }
            match kind(self.graph, node) {
                Kind::Inline => {}
                Kind::Soft => self.join(node),
                Kind::Hard => {
                    if op.regions().is_empty() && !matches!(op, Op::Yield) {
                        self.need(&self.graph.inputs(node));
                    } else {
                        self.emit(self.emitted + self.open.len());
                    }
                    self.steps.push(Step::Node(node));
                }
            }
        }
        self.steps
    }

    /// The sum that a dot can add to: its only use, an addition of another tile of the same type in this region.
    fn taken_up(&self, dot: NodeId) -> Option<NodeId> {
        let n = self.graph.node(dot);
        let Op::Dot(_) = n.op else { return None };
        let value = Value { node: dot, port: 0 };
        let [(add, _)] = self.graph.uses(value)[..] else { return None };
        let sum = self.graph.node(add);
        let other = self.graph.inputs(add).into_iter().find(|v| *v != value)?;
        let same = sum.region == n.region
            && sum.outputs.first() == n.outputs.first()
            && self.graph.type_of(other) == &n.outputs[0]
            && !n.outputs[0].is_scalar();
        (same && matches!(sum.op, Op::Elem(tile_graph::ElemOp::Add))).then_some(add)
    }

    /// Emits what the values come from.
    fn need(&mut self, values: &[Value]) {
        let last = values.iter().filter_map(|&v| self.latest(v)).max();
        if let Some(last) = last {
            self.emit(last + 1);
        }
    }

    /// The latest open group that a value depends on.
    fn latest(&self, value: Value) -> Option<usize> {
        let mut found = vec![];
        bases(self.graph, value, true, &mut found);
        found
            .iter()
            .filter_map(|(v, _)| self.place.get(&v.node))
            .copied()
            .filter(|&g| g >= self.emitted)
            .max()
    }

    /// Emits the open groups with serial numbers below `until`.
    fn emit(&mut self, until: usize) {
        while self.emitted < until {
            let group = self.open.remove(0);
            self.steps.push(Step::Group(group));
            self.emitted += 1;
        }
    }

    fn join(&mut self, node: NodeId) {
        let inputs = self.graph.inputs(node);
        let shape = match self.graph.node(node).op {
            Op::Reduce { .. } => &self.graph.type_of(inputs[0]).axes,
            _ => &self.graph.node(node).outputs[0].axes,
        };
        let first = inputs.iter().filter_map(|&v| self.latest(v)).max().unwrap_or(self.emitted);
        let reduces = matches!(self.graph.node(node).op, Op::Reduce { .. });
        for serial in (first..self.emitted + self.open.len()).rev() {
            let group = &self.open[serial - self.emitted];
            let fits = fits(group, shape, reduces) && group.members.len() < MEMBERS;
            if fits && self.reads_straight(&inputs, serial) {
                self.open[serial - self.emitted].members.push(node);
                self.place.insert(node, serial);
                return;
            }
        }
        let serial = self.emitted + self.open.len();
        let inner = inner_axis(shape).unwrap_or(0);
        self.open.push(Group { members: vec![node], axes: shape.clone(), inner });
        self.place.insert(node, serial);
    }

    /// Whether members of the group are read position by position.
    fn reads_straight(&self, inputs: &[Value], serial: usize) -> bool {
        let mut found = vec![];
        inputs.iter().for_each(|&v| bases(self.graph, v, true, &mut found));
        found.iter().all(|(v, aligned)| *aligned || self.place.get(&v.node) != Some(&serial))
    }
}

/// Full members have the group's shape, row members its shape with 1 along the inner axis.
fn fits(group: &Group, shape: &[Axis], full: bool) -> bool {
    shape.len() == group.axes.len()
        && shape
            .iter()
            .zip(&group.axes)
            .enumerate()
            .all(|(at, (a, b))| a == b || (!full && at == group.inner && *a == Axis::One))
}

/// Whether a type is one value per row of the group.
pub fn is_row(group: &Group, ty: &ValueType) -> bool {
    group.axes[group.inner] != Axis::One && ty.axes.get(group.inner) == Some(&Axis::One)
}
