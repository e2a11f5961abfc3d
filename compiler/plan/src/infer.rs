//! Layout inference: from a few anchors to every tile value, by following the operations that keep elements in place.
//!
//! Anchors, in this order: results of dots (the instruction prescribes them), then loads and stores (memory does,
//! largest tiles first), then whatever is left. From an anchor the layout spreads to operands and users:
//!
//! ```text
//! elementwise, cast, broadcast   same layout; an operand that stretches has it projected
//! reduce                         result: the operand's, projected
//! reshape, permute               dimensions renamed
//! loops and branches             initial, carried, yielded and final value agree
//! ```
//!
//! Rows of which only bounds are asked (documents of a block of keys) are held whole by every warp: each finds them by
//! itself.
//!
//! The first assignment stands. Where a user needs something else a conversion is inserted afterwards
//! ([`crate::convert`]), so inference never fails.
//!
//! Worked example, FlashAttention: the scores `s[i, j]` get the accumulator's layout of the first dot; it spreads to
//! `p`, to the row maximum `m[i, 1]` (projected: four lanes hold each row), and over `l` and the loop's carried
//! values. The second dot's `acc[i, D]` has its own layout, whose projection to rows is the same, so `acc * c` needs
//! no conversion.

use crate::{exchange, local, plan::TensorClass, shape::Shapes};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tile_graph::{Axis, Graph, NodeId, Op, ReduceKind, Value, ValueType};
use tile_layout::{
    Layout,
    blocked::{WarpOrder, blocked},
};

pub type Layouts = BTreeMap<Value, Layout>;

/// Which axes of an operand are longer than 1.
pub fn kept(operand: &ValueType) -> Vec<bool> {
    operand.axes.iter().map(|a| *a != Axis::One).collect()
}

/// Which axes of an operand are those of the result, not stretched to them. (An axis of extent 1 in both may still be
/// padded: the result of a product has rows that do not exist, and they are no copies of the one that does.)
pub fn shared(operand: &ValueType, out: &ValueType) -> Vec<bool> {
    operand.axes.iter().zip(&out.axes).map(|(a, b)| *a != Axis::One || *b == Axis::One).collect()
}

/// Elements of a row that every warp may load for itself.
const MEASURED: u32 = 512;

pub struct Inference<'a> {
    shapes: &'a Shapes<'a>,
    classes: &'a [TensorClass],
    warps: u32,
    layouts: Layouts,
    queue: VecDeque<Value>,
    /// Values whose layout is decided ([`Inference::carriers`]) and that have not had their turn.
    held: BTreeSet<Value>,
}

/// Layouts of all tile values, starting from those of the dots.
pub fn infer(shapes: &Shapes, classes: &[TensorClass], warps: u32, dots: &[(Value, Layout)]) -> Layouts {
    let mut inference = Inference {
        shapes,
        classes,
        warps,
        layouts: BTreeMap::new(),
        queue: VecDeque::new(),
        held: BTreeSet::new(),
    };
    for (value, layout) in dots {
        inference.assign(*value, layout.clone());
    }
    inference.spread();
    for (value, layout) in inference.memory_anchors() {
        inference.assign(value, layout);
        inference.spread();
    }
    let rest: Vec<Value> = inference.graph().node_ids().flat_map(|n| inference.graph().outputs(n)).collect();
    for value in rest {
        let ty = inference.graph().type_of(value).clone();
        if !ty.is_scalar() {
            let layout = inference.plain(&ty, ty.axes.len() - 1, 1, 1);
            inference.assign(value, layout);
            inference.spread();
        }
    }
    inference.layouts
}

impl Inference<'_> {
    fn graph(&self) -> &Graph {
        self.shapes.graph
    }

    fn assign(&mut self, value: Value, layout: Layout) {
        if self.held.remove(&value) {
            self.queue.push_back(value);
            return;
        }
        if self.graph().type_of(value).is_scalar() || self.layouts.contains_key(&value) {
            return;
        }
        for carrier in self.carriers(value).into_iter().filter(|c| *c != value) {
            self.layouts.insert(carrier, layout.clone());
            self.held.insert(carrier);
        }
        self.layouts.insert(value, layout);
        self.queue.push_back(value);
    }

    /// The registers that a loop carries a value in: its variable inside and its result are the same ones, so what
    /// decides the layout of one decides both at once. (What goes in and what a step yields can be converted.)
    fn carriers(&self, value: Value) -> Vec<Value> {
        let g = self.graph();
        let result = match g.node(value.node).op {
            Op::For(_) | Op::While { .. } => value,
            Op::RegionArgs => match self.tied_to_argument(value).first() {
                Some(&result) => result,
                None => return vec![],
            },
            _ => return vec![],
        };
        let at = result.port as usize;
        match &g.node(result.node).op {
            Op::For(f) => vec![result, g.region_args(f.body)[at + f.iter.variables()]],
            Op::While { condition, body } => {
                vec![result, g.region_args(*body)[at], g.region_args(*condition)[at]]
            }
            _ => vec![],
        }
    }

    fn spread(&mut self) {
        while let Some(value) = self.queue.pop_front() {
            let layout = self.layouts[&value].clone();
            self.backward(value, &layout);
            for (user, port) in self.graph().uses(value) {
                self.forward(value, &layout, user, port);
            }
        }
    }

    /// To the operands of the node that makes it.
    fn backward(&mut self, value: Value, layout: &Layout) {
        let node = self.graph().node(value.node);
        let inputs = self.graph().inputs(value.node);
        match node.op.clone() {
            Op::Elem(_) | Op::Cast | Op::Broadcast => {
                let out = node.outputs[0].clone();
                for operand in inputs {
                    let ty = self.graph().type_of(operand);
                    if !ty.is_scalar() {
                        let layout = layout.project(&shared(ty, &out));
                        self.assign(operand, layout);
                    }
                }
            }
            Op::Reshape { axes } => {
                let rank = self.graph().type_of(inputs[0]).axes.len();
                self.assign(inputs[0], unreshape(layout, &axes, rank));
            }
            Op::Permute { order } => self.assign(inputs[0], unpermute(layout, &order)),
            Op::Split { .. } | Op::Merge { .. } => {
                if let Some(layout) = local::unmade(self.shapes, value.node, layout) {
                    self.assign(inputs[0], layout);
                }
            }
            Op::Scan { .. } | Op::Sort { .. } | Op::UnitLowerInv => self.assign(inputs[0], layout.clone()),
            Op::Load(access) if self.measured(value) => {
                for (port, &index) in inputs.iter().enumerate() {
                    if let Some(layout) = gathered(&access, port as u32, self.graph().type_of(index), layout)
                    {
                        self.assign(index, layout);
                    }
                }
            }
            Op::RegionArgs => {
                for other in self.tied_to_argument(value) {
                    self.assign(other, layout.clone());
                }
            }
            Op::For(_) | Op::While { .. } | Op::If { .. } => {
                for other in self.tied_to_result(value) {
                    self.assign(other, layout.clone());
                }
            }
            _ => {}
        }
    }

    /// To one user.
    fn forward(&mut self, value: Value, layout: &Layout, user: NodeId, port: u32) {
        let axes = self.graph().type_of(value).axes.clone();
        let node = self.graph().node(user);
        let out = Value { node: user, port: 0 };
        match node.op.clone() {
            Op::Elem(_) | Op::Cast | Op::Broadcast if node.outputs[0].axes == axes => {
                self.assign(out, layout.clone());
            }
            Op::Reduce { axis, .. } => {
                let keep: Vec<bool> = (0..axes.len()).map(|a| a as u32 != axis).collect();
                self.assign(out, layout.project(&keep));
            }
            Op::Reshape { axes } => self.assign(out, reshape(layout, &axes)),
            Op::Permute { order } => self.assign(out, permute(layout, &order)),
            op if local::rearranges(&op) => {
                if let Some(layout) = local::made(self.shapes, user, layout) {
                    self.assign(out, layout);
                }
            }
            Op::Scan { .. } | Op::Sort { .. } | Op::UnitLowerInv => {
                self.graph().outputs(user).for_each(|result| self.assign(result, layout.clone()));
            }
            Op::For(f) if port >= 2 => {
                let argument = self.graph().region_args(f.body)[f.iter.variables() + port as usize - 2];
                self.assign(argument, layout.clone());
            }
            Op::While { body, .. } => {
                let argument = self.graph().region_args(body)[port as usize];
                self.assign(argument, layout.clone());
            }
            Op::Yield => {
                for other in self.tied_to_yield(user, port) {
                    self.assign(other, layout.clone());
                }
            }
            _ => {}
        }
    }

    fn tied_to_argument(&self, value: Value) -> Vec<Value> {
        let g = self.graph();
        let region = g.node(value.node).region;
        let Some(owner) = g.region(region).owner else { return vec![] };
        match &g.node(owner).op {
            Op::For(f) if f.body == region && value.port as usize >= f.iter.variables() => {
                self.tied_to_result(Value { node: owner, port: value.port - f.iter.variables() as u32 })
            }
            Op::While { .. } => self.tied_to_result(Value { node: owner, port: value.port }),
            _ => vec![],
        }
    }

    /// Everything that must agree with a result of a loop or branch, itself included.
    fn tied_to_result(&self, value: Value) -> Vec<Value> {
        let g = self.graph();
        let at = value.port as usize;
        let mut all = vec![value];
        match &g.node(value.node).op {
            Op::For(f) => {
                all.push(g.inputs(value.node)[at + 2]);
                all.push(g.region_args(f.body)[at + f.iter.variables()]);
                all.push(g.yields(f.body)[at + usize::from(f.early_exit)]);
            }
            Op::While { condition, body } => {
                all.push(g.inputs(value.node)[at]);
                all.push(g.region_args(*body)[at]);
                all.push(g.region_args(*condition)[at]);
                all.push(g.yields(*body)[at]);
            }
            Op::If { then, otherwise } => {
                all.push(g.yields(*then)[at]);
                all.push(g.yields(*otherwise)[at]);
            }
            _ => {}
        }
        all
    }

    fn tied_to_yield(&self, node: NodeId, port: u32) -> Vec<Value> {
        let g = self.graph();
        let region = g.node(node).region;
        let Some(owner) = g.region(region).owner else { return vec![] };
        match &g.node(owner).op {
            Op::For(f) if f.body == region => match port.checked_sub(u32::from(f.early_exit)) {
                Some(port) => self.tied_to_result(Value { node: owner, port }),
                None => vec![],
            },
            Op::While { body, .. } if *body == region => self.tied_to_result(Value { node: owner, port }),
            Op::If { .. } => self.tied_to_result(Value { node: owner, port }),
            _ => vec![],
        }
    }

    /// Loads and stores, largest first, each with the layout that serves memory best. Stores of elements that share
    /// bytes go before all others, since a thread has to hold whole bytes.
    fn memory_anchors(&self) -> Vec<(Value, Layout)> {
        let g = self.graph();
        let mut found = vec![];
        for node in g.nodes_under(tile_graph::ROOT) {
            let Some((access, ty)) = crate::access::moved(self.shapes, node) else { continue };
            if ty.is_scalar() {
                continue;
            }
            let value = match g.node(node).op {
                Op::Load(_) => Value { node, port: 0 },
                _ => g.inputs(node)[0],
            };
            let (axis, vector) =
                crate::access::widest(self.shapes, node, self.classes[access.object.index()]);
            let size: u64 = self.shapes.extents(ty).iter().map(|&e| u64::from(e)).product();
            let fast = axis.unwrap_or(ty.axes.len() - 1);
            let bits = g.object(access.object).dtype.bits() as u32;
            let packed = bits < 8 && g.node(node).op.writes_memory();
            let least = if packed { vector.min(8 / bits) } else { 1 };
            let layout = match self.measured(value) {
                true => self.by_each_warp(ty, fast, vector),
                false => self.plain(ty, fast, vector, least),
            };
            found.push(((!packed, std::cmp::Reverse(size)), value, layout));
        }
        // A stable sort keeps program order among equals.
        found.sort_by_key(|&(order, ..)| order);
        found.into_iter().map(|(_, value, layout)| (value, layout)).collect()
    }

    /// Whether a value is a row of which, and of what is made of it, only minima, maxima and the like are taken
    /// ([`tile_graph::laws::blocks`]).
    fn measured(&self, row: Value) -> bool {
        let g = self.graph();
        let short = self.shapes.extents(g.type_of(row)).iter().product::<u32>() <= MEASURED;
        let is_row = |v: Value| g.type_of(v).axes.iter().filter(|a| **a != Axis::One).count() == 1;
        let (mut seen, mut open) = (BTreeSet::new(), vec![row]);
        while let Some(value) = open.pop() {
            let uses = g.uses(value);
            if !is_row(value) || uses.is_empty() {
                return false;
            }
            for (user, _) in uses {
                use ReduceKind::{All, Any, Max, Min};
                match g.node(user).op {
                    Op::Reduce { kind: Min | Max | Any | All, .. } => {}
                    Op::Elem(_) | Op::Cast | Op::Reshape { .. } if seen.insert(user) => {
                        open.push(Value { node: user, port: 0 });
                    }
                    Op::Elem(_) | Op::Cast | Op::Reshape { .. } => {}
                    _ => return false,
                }
            }
        }
        short
    }

    /// All of a tile in every warp, so that a reduction of it needs no shared memory and no barrier.
    fn by_each_warp(&self, ty: &ValueType, fast: usize, vector: u32) -> Layout {
        let layout = self.spread_over(1, ty, fast, vector, 1);
        Layout { warp: vec![vec![0; layout.rank()]; self.warps.ilog2() as usize], ..layout }
    }

    /// Runs of at most `vector` elements along `fast`; shorter, down to `least`, so that all threads have some.
    fn plain(&self, ty: &ValueType, fast: usize, vector: u32, least: u32) -> Layout {
        self.spread_over(self.warps, ty, fast, vector, least)
    }

    fn spread_over(&self, warps: u32, ty: &ValueType, fast: usize, vector: u32, least: u32) -> Layout {
        let extents = self.shapes.extents(ty);
        let total: u32 = extents.iter().product();
        let per_thread = (total / (warps * 32)).max(1);
        let vector = vector.min(1 << per_thread.ilog2()).max(least);
        blocked(&extents, fast, vector, warps, WarpOrder::SlowFirst)
    }
}

pub fn reshape(layout: &Layout, axes: &[Option<u32>]) -> Layout {
    layout.relabel(&axes.iter().map(|a| a.map(|a| a as usize)).collect::<Vec<_>>())
}

fn unreshape(layout: &Layout, axes: &[Option<u32>], rank: usize) -> Layout {
    let from: Vec<Option<usize>> =
        (0..rank as u32).map(|d| axes.iter().position(|a| *a == Some(d))).collect();
    layout.relabel(&from)
}

pub fn permute(layout: &Layout, order: &[u32]) -> Layout {
    layout.relabel(&order.iter().map(|&o| Some(o as usize)).collect::<Vec<_>>())
}

fn unpermute(layout: &Layout, order: &[u32]) -> Layout {
    let from: Vec<Option<usize>> =
        (0..order.len() as u32).map(|d| order.iter().position(|&o| o == d)).collect();
    layout.relabel(&from)
}

/// The layout that input `port` of a node must have, given the layouts of its results; `None`: any.
pub fn demanded(
    shapes: &Shapes,
    layouts: &Layouts,
    node: NodeId,
    port: u32,
    operand: Value,
) -> Option<Layout> {
    let graph = shapes.graph;
    let n = graph.node(node);
    let ty = graph.type_of(operand);
    if ty.is_scalar() {
        return None;
    }
    let out = |at: u32| layouts.get(&Value { node, port: at });
    match &n.op {
        Op::Elem(_) | Op::Cast | Op::Broadcast => Some(out(0)?.project(&shared(ty, &n.outputs[0]))),
        Op::Reshape { axes } => Some(unreshape(out(0)?, axes, ty.axes.len())),
        Op::Permute { order } => Some(unpermute(out(0)?, order)),
        op @ Op::Take { .. } => exchange::demanded(op, port, out(0)),
        Op::For(_) if port >= 2 => out(port - 2).cloned(),
        Op::While { .. } => out(port).cloned(),
        Op::Yield => {
            let owner = graph.region(n.region).owner?;
            let at = |port: u32| layouts.get(&Value { node: owner, port }).cloned();
            match &graph.node(owner).op {
                Op::For(f) if f.body == n.region => at(port.checked_sub(u32::from(f.early_exit))?),
                Op::While { body, .. } if *body == n.region => at(port),
                Op::If { .. } => at(port),
                _ => None,
            }
        }
        // Masks and gathered indices of an access go with the tile that moves.
        Op::Load(a) => gathered(a, port, ty, out(0)?),
        Op::Store { access, .. } | Op::Accumulate(access) if port > 0 => {
            let value = *graph.inputs(node).first()?;
            gathered(access, port, ty, layouts.get(&value)?)
        }
        _ => None,
    }
}

fn gathered(access: &tile_graph::Access, port: u32, ty: &ValueType, tile: &Layout) -> Option<Layout> {
    if access.mask == Some(port) {
        return Some(tile.project(&kept(ty)));
    }
    access.coords.iter().find_map(|c| match &c.index {
        tile_graph::CoordIndex::Gather { index, axes } if *index == port => {
            let from: Vec<Option<usize>> = axes.iter().map(|&a| Some(a as usize)).collect();
            let mut keep = vec![false; tile.rank()];
            axes.iter().zip(kept(ty)).for_each(|(&a, k)| keep[a as usize] = k);
            Some(tile.project(&keep).relabel(&from))
        }
        _ => None,
    })
}
