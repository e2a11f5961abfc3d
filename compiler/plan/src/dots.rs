//! Instruction, warp grid, fused addend and operand sources of each dot.
//!
//! A dot whose result is reduced along its columns, or is the left operand of another dot, keeps each row within one
//! warp (`warps_n = 1`): row reductions are then shuffles, and the result can become an operand without leaving
//! registers. Every dot of such a kernel gives as many warps to its rows as it can, so that per-row values fit all
//! results with these rows. Warps that are left over split the columns of a result that nobody needs whole, and
//! repeat the work of the others where somebody does:
//!
//! ```text
//! decoding, 16 heads x 512 columns, 4 warps
//!   s = q @ c.t     16 x 32      warps 1 x 1: each of the four has all scores, as left operand in registers
//!   acc += p @ c    16 x 512     warps 1 x 4: each has 128 columns, 64 registers a thread instead of 256
//! ```

use crate::{bulk, infer::Layouts, plan::*, shape::Shapes};
use std::collections::{BTreeMap, BTreeSet};
use tile_base::{DType, Diagnostic};
use tile_graph::{DotAxes, ElemOp, Graph, NodeId, Op, Value};
use tile_layout::{Layout, SharedLayout, convert, fragment};
use tile_machine::tensor_map::Template;
use tile_target::Target;

/// A dot before its operands are placed.
pub struct Shape {
    pub node: NodeId,
    pub at: NodeId,
    pub addend: Option<Value>,
    pub instruction: Instruction,
    pub size: [u32; 3],
    pub warps: (u32, u32),
    pub layout: Layout,
    pub axes: DotAxes,
}

impl Shape {
    pub fn result(&self) -> Value {
        Value { node: self.at, port: 0 }
    }
}

/// Shapes of all dots, in program order.
pub fn shapes(s: &Shapes, target: &Target, warps: u32) -> Result<Vec<Shape>, Vec<Diagnostic>> {
    let g = s.graph;
    let nodes: Vec<NodeId> =
        g.nodes_under(tile_graph::ROOT).into_iter().filter(|&n| matches!(g.node(n).op, Op::Dot(_))).collect();
    let row_local = nodes.iter().any(|&n| rows_stay_together(g, Value { node: n, port: 0 }));
    let mut out = vec![];
    for node in nodes {
        let Op::Dot(axes) = g.node(node).op.clone() else { continue };
        let inputs = g.inputs(node);
        let (lhs, rhs) = (g.type_of(inputs[0]), g.type_of(inputs[1]));
        if lhs.axes.len() != 2 || rhs.axes.len() != 2 || !axes.lhs_batch.is_empty() {
            return Err(vec![
                Diagnostic::error(
                    "T0720",
                    g.node(node).span,
                    "a batched dot is not lowered yet by the PTX backend",
                )
                .label("has batch axes or operands that are not matrices")
                .help("loop over the batch axis, or make it an axis of `par`"),
            ]);
        }
        let (lm, rn) = (1 - axes.lhs_k as usize, 1 - axes.rhs_k as usize);
        let (m, k, n) =
            (s.padded(lhs.axes[lm]), s.padded(lhs.axes[axes.lhs_k as usize]), s.padded(rhs.axes[rn]));
        // An axis of extent 1 is a row of padding like any other.
        let size = [m.next_multiple_of(16), n.next_multiple_of(16), k.next_multiple_of(16)];
        let accumulator = g.node(node).outputs[0].dtype;
        let instruction = match target.mma_for(fed(lhs.dtype), accumulator) {
            Some(shape) => Instruction::Mma(shape),
            None => Instruction::MultiplyAdd,
        };
        let rows = if instruction == Instruction::MultiplyAdd { 8 } else { 16 };
        let most = (m.div_ceil(rows), n.div_ceil(16));
        let spread = match row_local {
            true if rows_stay_together(g, Value { node, port: 0 }) => (rows_first(warps, most).0, 1),
            true => rows_first(warps, most),
            false => square(warps, most.0, most.1),
        };
        let run = (16 / (accumulator.bits() as u32 / 8)).clamp(1, 4);
        let mut layout = match instruction {
            Instruction::Mma(_) => fragment::accumulator(m, n, spread.0, spread.1),
            Instruction::MultiplyAdd => fragment::multiply_add(m, n, run, spread.0, spread.1),
        };
        // Warps beyond the grid compute the same again.
        layout.warp.resize(warps.ilog2() as usize, vec![0, 0]);
        // Of two products in one sum the first adds itself to the second.
        let (at, addend) = match fused_addend(g, node) {
            (at, Some(_)) if out.iter().any(|earlier: &Shape| earlier.at == at) => (node, None),
            fused => fused,
        };
        out.push(Shape { node, at, addend, instruction, size, warps: spread, layout, axes });
    }
    Ok(out)
}

/// A warp grid with as many rows as the tile has, and columns with what is left.
fn rows_first(warps: u32, (most_m, most_n): (u32, u32)) -> (u32, u32) {
    let below = |n: u32| 1 << n.max(1).ilog2();
    let m = below(warps.min(most_m));
    (m, below((warps / m).min(most_n)))
}

/// A warp grid as square as the tile allows, rows first.
fn square(warps: u32, most_m: u32, most_n: u32) -> (u32, u32) {
    let (mut m, mut n) = (1, 1);
    while m * n < warps {
        if m * 2 <= most_m && (m <= n || n * 2 > most_n) {
            m *= 2;
        } else if n * 2 <= most_n {
            n *= 2;
        } else {
            break;
        }
    }
    (m, n)
}

/// Whether some use of the value, through operations that keep elements in place, reduces rows or is a left operand.
fn rows_stay_together(g: &Graph, value: Value) -> bool {
    let mut seen = BTreeSet::new();
    let mut stack = vec![value];
    while let Some(v) = stack.pop() {
        for (user, port) in g.uses(v) {
            match &g.node(user).op {
                Op::Reduce { axis: 1, .. } => return true,
                Op::Dot(_) if port == 0 => return true,
                Op::Elem(_) | Op::Cast if g.node(user).outputs[0].axes == g.type_of(v).axes => {
                    let out = Value { node: user, port: 0 };
                    if seen.insert(out) {
                        stack.push(out);
                    }
                }
                _ => {}
            }
        }
    }
    false
}

/// `acc + dot(a, b)` with the dot used nowhere else: the sum is the instruction's own.
fn fused_addend(g: &Graph, node: NodeId) -> (NodeId, Option<Value>) {
    let result = Value { node, port: 0 };
    let [(user, port)] = g.uses(result)[..] else { return (node, None) };
    let n = g.node(user);
    if n.op != Op::Elem(ElemOp::Add) || n.region != g.node(node).region {
        return (node, None);
    }
    let other = g.inputs(user)[1 - port as usize];
    match g.type_of(other) == g.type_of(result) {
        true => (user, Some(other)),
        false => (node, None),
    }
}

/// What operands need beside the dots.
#[derive(Default)]
pub struct Placed {
    pub buffers: Vec<Buffer>,
    /// Loads that the copy engine does, each with its map.
    pub bulk: BTreeMap<NodeId, usize>,
    pub maps: Vec<MapPlan>,
    /// By number of an mbarrier, as [`Mbarriers::all`].
    pub mbarriers: Vec<(NodeId, u32)>,
    /// Values whose copy in shared memory serves several dots.
    staged: BTreeMap<Value, Staging>,
}

/// Places the operands of all dots, and finds the buffers they need (offsets come later).
pub fn place(
    s: &Shapes,
    shapes: Vec<Shape>,
    layouts: &Layouts,
    bulk: &bulk::Bulk,
) -> (BTreeMap<NodeId, Dot>, Placed) {
    let mut placed = Placed::default();
    let mut dots = BTreeMap::new();
    for shape in shapes {
        let inputs = s.graph.inputs(shape.node);
        let mut operand = |port: usize| operand(s, &shape, port, inputs[port], layouts, bulk, &mut placed);
        let (lhs, rhs) = (operand(0), operand(1));
        dots.insert(
            shape.node,
            Dot {
                instruction: shape.instruction,
                at: shape.at,
                addend: shape.addend,
                layout: shape.layout,
                warps: shape.warps,
                lhs,
                rhs,
                size: shape.size,
            },
        );
    }
    (dots, placed)
}

fn operand(
    s: &Shapes,
    shape: &Shape,
    port: usize,
    value: Value,
    layouts: &Layouts,
    bulk: &bulk::Bulk,
    placed: &mut Placed,
) -> Operand {
    let k_axis = if port == 0 { shape.axes.lhs_k } else { shape.axes.rhs_k } as usize;
    // An axis of 16n elements has nothing past its end within the depth that is read.
    let whole = |v: Value, k: usize| matches!(s.graph.type_of(v).axes.get(k), Some(tile_graph::Axis::Fixed(n)) if n.is_multiple_of(16));
    // A depth of 1 is read as 16, and no tile of extent 1 reaches that far.
    let single = |v: Value, k: usize| s.graph.type_of(v).axes.get(k) == Some(&tile_graph::Axis::One);
    let clear = |v: Value, k: usize| (single(v, k) || !whole(v, k) && !zero_past_end(s, v, k)).then_some(k);
    let (source, order) = behind_permutations(s.graph, value);
    let load = bulk.loads.get(&source.node);
    if let (0, Instruction::Mma(mma)) = (port, shape.instruction)
        && k_axis == 1
        && load.is_none()
        && let Some(from) = layouts.get(&value)
        && s.graph.node(value.node).region == s.graph.node(shape.at).region
    {
        let mut layout = fragment::lhs(shape.size[0], shape.size[2], mma.k, shape.warps.0, shape.warps.1);
        layout.warp.resize(from.warp.len(), vec![0, 0]);
        if let Some(map) = convert::registers(from, &layout) {
            return Operand::Registers { value, layout, map, clear: clear(value, k_axis) };
        }
    }
    let clear = clear(source, order[k_axis]);
    let free = shape.layout.coverage(port);
    let mut needs = [padded(s, source, 0), padded(s, source, 1)];
    needs[order[1 - k_axis]] = needs[order[1 - k_axis]].max(free);
    let covers = |p: &SharedLayout| {
        let has = if p.fast == 1 { [p.rows, p.columns] } else { [p.columns, p.rows] };
        has[0] >= needs[0] && has[1] >= needs[1]
    };
    if let Some(found) = placed.staged.get_mut(&source)
        && covers(&found.place)
    {
        found.clear = found.clear.or(clear);
        let mut again = found.clone();
        again.order = order;
        return Operand::Shared(again);
    }
    let home = s.graph.node(source.node).region;
    let is_argument = matches!(s.graph.node(source.node).op, Op::RegionArgs);
    let written = match home == s.graph.node(shape.at).region || is_argument {
        // What arrives once is not fetched again for the next dot.
        true if load.is_none_or(|l| l.users == 1) => Written::Before(shape.node),
        _ => Written::After(source.node),
    };
    let staging = match load {
        Some(load) => {
            let ahead = match written {
                Written::Before(_) => bulk.ahead(s.graph, source.node),
                Written::After(_) => None,
            };
            placed.by_bulk(s.graph, source, load.laid_out(needs), (written, ahead), shape.at)
        }
        None => {
            let from = &layouts[&source];
            let extents = [from.coverage(0).max(needs[0]), from.coverage(1).max(needs[1])];
            let fast = if from.contiguous(0) > from.contiguous(1) { 0 } else { 1 };
            let element = (fed(s.graph.type_of(source).dtype).bits() / 8) as u32;
            let place = SharedLayout::swizzled(extents, fast, element);
            let buffer = placed.room(s.graph, source, place.bytes(), Buffer::default().align);
            Staging { source, order, place, buffer, written, clear, mbarrier: None, ahead: None }
        }
    };
    let staging = Staging { order, ..staging };
    if matches!(written, Written::After(_)) {
        placed.staged.insert(source, staging.clone());
    }
    Operand::Shared(staging)
}

impl Placed {
    fn room(&mut self, g: &Graph, source: Value, bytes: u32, align: u32) -> BufferId {
        let name = g.node(source.node).path.clone().unwrap_or_else(|| source.node.to_string());
        self.buffers.push(Buffer { name, bytes, align, ..Buffer::default() });
        self.buffers.len() - 1
    }

    /// An operand that the copy engine writes; `dot` is where the code of the dot stands.
    fn by_bulk(
        &mut self,
        g: &Graph,
        source: Value,
        (place, template): (SharedLayout, Template),
        (written, ahead): (Written, Option<NodeId>),
        dot: NodeId,
    ) -> Staging {
        if let Op::Load(access) = &g.node(source.node).op {
            let object = g.object(access.object);
            let map = MapPlan { param: object.param, name: object.name.clone(), template };
            self.bulk.insert(source.node, bulk::map_of(&mut self.maps, map));
        }
        let at = match written {
            Written::Before(_) => dot,
            Written::After(load) => load,
        };
        let stages = if ahead.is_some() { STAGES } else { 1 };
        self.mbarriers.push((at, stages));
        let buffer = self.room(g, source, place.bytes() * stages, place.period());
        let mbarrier = Some(self.mbarriers.len() - 1);
        Staging { source, order: [0, 1], place, buffer, written, clear: None, mbarrier, ahead }
    }

    /// Layouts without those of tiles that the copy engine loads, which nobody holds in registers.
    pub fn without_bulk(&self, g: &Graph, mut layouts: Layouts) -> Layouts {
        layouts.retain(|&value, _| !self.bulk.contains_key(&behind_permutations(g, value).0.node));
        layouts
    }

    /// Room for the mbarriers themselves, where there are any.
    pub fn mbarrier_room(&mut self) -> Option<Mbarriers> {
        let all = std::mem::take(&mut self.mbarriers);
        let bytes = 8 * STAGES * all.len() as u32;
        (bytes > 0).then(|| {
            self.buffers.push(Buffer { name: "mbarriers".into(), bytes, ..Buffer::default() });
            Mbarriers { buffer: self.buffers.len() - 1, all }
        })
    }
}

/// The dtype in which operands of a dot are handed to its instruction. Every value of a float of 8 or 4 bits is an f16,
/// so the products are the same as those of an instruction for the small format; small integers fill a byte.
pub fn fed(dtype: DType) -> DType {
    match dtype {
        DType::F8e4m3 | DType::F8e5m2 | DType::F4e2m1 => DType::F16,
        DType::I4 | DType::U4 | DType::I2 => DType::I8,
        other => other,
    }
}

fn padded(s: &Shapes, value: Value, dim: usize) -> u32 {
    s.padded(s.graph.type_of(value).axes[dim]).next_multiple_of(16)
}

/// What a value is a permutation of; dimension `n` of the value is dimension `order[n]` of that.
pub fn behind_permutations(g: &Graph, value: Value) -> (Value, [usize; 2]) {
    match &g.node(value.node).op {
        Op::Permute { order } if order[..] == [1, 0] => {
            let (source, inner) = behind_permutations(g, g.inputs(value.node)[0]);
            (source, [inner[1], inner[0]])
        }
        _ => (value, [0, 1]),
    }
}

/// Whether registers past the end of an axis are known to hold 0: loads fill with it.
pub fn zero_past_end(s: &Shapes, value: Value, axis: usize) -> bool {
    let g = s.graph;
    let ty = g.type_of(value);
    let inputs = g.inputs(value.node);
    match &g.node(value.node).op {
        Op::Load(a) => a.otherwise.is_none(),
        Op::Cast => zero_past_end(s, inputs[0], axis),
        Op::Permute { order } => zero_past_end(s, inputs[0], order[axis] as usize),
        Op::Reshape { axes } => axes[axis].is_some_and(|a| zero_past_end(s, inputs[0], a as usize)),
        Op::Elem(ElemOp::Mul | ElemOp::Add | ElemOp::Sub) => inputs.iter().all(|&v| {
            let t = g.type_of(v);
            !t.is_scalar() && t.axes[axis] == ty.axes[axis] && zero_past_end(s, v, axis)
        }),
        _ => false,
    }
}
