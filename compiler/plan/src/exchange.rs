//! Operations whose threads exchange elements through shared memory: running sums, selection, sorting, histograms,
//! reductions by a function, and parts of an axis that no renaming of registers gives.
//!
//! The operand is written to an array in whatever layout it has, the block works on the array, and the result is read
//! in whatever layout its users want: no conversion is needed on either side, and the code does not grow with the axis.
//! The work is done in *steps*, with a barrier wherever one touches what another did ([`steps`]).
//!
//! Along an axis the array falls into *lines*, the elements that differ in that coordinate alone. As many lanes take a
//! line as the block has to spare, a power of two within one warp, so that they can talk by shuffles:
//!
//! ```text
//! cumsum over t of g[t], 64 elements, 4 warps        1 line:     32 lanes take it, 2 elements each
//! cumsum over t of g[t, h], 64 x 8                   8 lines:    16 lanes each
//! cumsum over t of g[t, k], 64 x 256               256 lines:    every thread takes two, one after the other
//! ```
//!
//! Where threads walk whole lines side by side along the last axis, its pitch is odd, so that they meet different banks.

use crate::{
    infer::Layouts,
    local,
    plan::{Buffer, BufferId},
    shape::Shapes,
};
use tile_base::DType;
use tile_graph::{Axis, NodeId, Op, Value};
use tile_layout::Layout;

/// What an operation has in shared memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exchange {
    /// In the order of [`steps`].
    pub arrays: Vec<Array>,
    /// Threads that share a line: a power of two, at most a warp.
    pub lanes: u32,
}

/// A row-major array in shared memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Array {
    pub buffer: BufferId,
    /// Elements from one index to the next, per dimension.
    pub strides: Vec<u32>,
    pub dtype: DType,
}

/// What one step does to an array: its number, and whether it is written.
pub type Touch = (usize, bool);

const READ: bool = false;
const WRITE: bool = true;

/// What each step of an operation touches.
pub fn steps(op: &Op, arrays: usize) -> Vec<Vec<Touch>> {
    let of = |arrays: std::ops::Range<usize>, write: bool| arrays.map(move |a| (a, write));
    match op {
        // Counters are cleared, then counted up.
        Op::Histogram { .. } => vec![vec![(0, WRITE)], vec![(0, WRITE)], vec![(0, READ)]],
        // In place.
        Op::Scan { .. } | Op::Sort { .. } => {
            vec![
                of(0..arrays, WRITE).collect(),
                of(0..arrays, WRITE).collect(),
                of(0..arrays, READ).collect(),
            ]
        }
        Op::TopK { .. } | Op::ReduceWith { .. } => {
            let operands = if matches!(op, Op::TopK { .. }) { 1 } else { arrays / 2 };
            vec![
                of(0..operands, WRITE).collect(),
                of(0..operands, READ).chain(of(operands..arrays, WRITE)).collect(),
                of(operands..arrays, READ).collect(),
            ]
        }
        _ => vec![vec![(0, WRITE)], vec![(0, READ)]],
    }
}

/// Whether an operation goes through shared memory, given the layout of its operand.
pub fn exchanges(shapes: &Shapes, node: NodeId, operand: &Layout) -> bool {
    match &shapes.graph.node(node).op {
        Op::Scan { .. }
        | Op::TopK { .. }
        | Op::Sort { .. }
        | Op::Histogram { .. }
        | Op::ReduceWith { .. }
        | Op::Concat { .. }
        | Op::Take { .. } => true,
        op => local::rearranges(op) && local::made(shapes, node, operand).is_none(),
    }
}

/// The layout that a tile of positions needs, which a `take` reads beside its result.
pub fn demanded(node_op: &Op, port: u32, result: Option<&Layout>) -> Option<Layout> {
    match node_op {
        Op::Take { axis } if port == 1 => {
            let result = result?;
            let axis = *axis as usize;
            let keep: Vec<bool> = (0..result.rank()).map(|d| d == axis).collect();
            Some(result.project(&keep).relabel(&[Some(axis)]))
        }
        _ => None,
    }
}

/// The dtype in which elements are compared and combined.
pub fn working(dtype: DType) -> DType {
    match dtype {
        DType::F64 => DType::F64,
        float if float.is_float() => DType::F32,
        other => other,
    }
}

/// Room for an operation, and who works on it; `None` where it needs none.
pub fn plan(
    shapes: &Shapes,
    layouts: &Layouts,
    node: NodeId,
    warps: u32,
    buffers: &mut Vec<Buffer>,
) -> Option<Exchange> {
    let graph = shapes.graph;
    let operand = *graph.inputs(node).first()?;
    if !exchanges(shapes, node, layouts.get(&operand)?) {
        return None;
    }
    let n = graph.node(node);
    let result = layouts.get(&Value { node, port: 0 })?;
    let mut build = Build { shapes, node, buffers, arrays: vec![] };
    let dtype = graph.type_of(operand).dtype;
    let mut lanes = 1;
    match &n.op {
        Op::Histogram { .. } => build.array("counts", &extents(&[result]), DType::I32, None),
        Op::Scan { axis, .. } => {
            let covered = extents(&[layouts.get(&operand)?, result]);
            build.array("line", &covered, working(dtype), Some(*axis));
            lanes = build.lanes(operand, *axis, warps);
        }
        Op::Sort { axis, .. } => {
            let positions = layouts.get(&Value { node, port: 1 })?;
            let mut covered = extents(&[layouts.get(&operand)?, result, positions]);
            let along = shapes.padded(graph.type_of(operand).axes[*axis as usize]);
            let along = along.next_power_of_two();
            covered[*axis as usize] = covered[*axis as usize].max(along);
            build.array("values", &covered, working(dtype), Some(*axis));
            build.array("positions", &covered, DType::I32, Some(*axis));
        }
        Op::TopK { axis, .. } => {
            let given = layouts.get(&operand)?;
            let positions = layouts.get(&Value { node, port: 1 })?;
            build.array("line", &extents(&[given]), working(dtype), Some(*axis));
            let chosen = beside(extents(&[result, positions]), given, *axis);
            build.array("values", &chosen, working(dtype), Some(*axis));
            build.array("positions", &chosen, DType::I32, Some(*axis));
            lanes = build.lanes(operand, *axis, warps);
        }
        Op::ReduceWith { axis, .. } => {
            for &input in &graph.inputs(node) {
                let covered = extents(&[layouts.get(&input)?]);
                build.array("line", &covered, graph.type_of(input).dtype, Some(*axis));
            }
            for (port, &input) in graph.inputs(node).iter().enumerate() {
                let out = layouts.get(&Value { node, port: port as u32 })?;
                let covered = beside(extents(&[out]), layouts.get(&input)?, *axis);
                build.array("result", &covered, n.outputs[port].dtype, Some(*axis));
            }
            lanes = build.lanes(operand, *axis, warps);
        }
        _ => {
            let covered = part_extents(shapes, layouts, node)?;
            build.array("part", &covered, dtype, None);
        }
    }
    Some(Exchange { arrays: build.arrays, lanes })
}

/// The array through which parts of an axis go: in the operand's coordinates, of a merge and a concatenation in the
/// result's.
fn part_extents(shapes: &Shapes, layouts: &Layouts, node: NodeId) -> Option<Vec<u32>> {
    let graph = shapes.graph;
    let inputs = graph.inputs(node);
    let (given, made) = (layouts.get(&inputs[0])?, layouts.get(&Value { node, port: 0 })?);
    Some(match &graph.node(node).op {
        Op::Slice { axis, lo } => {
            let axis = *axis as usize;
            let mut covered = extents(&[given, made]);
            covered[axis] = given.coverage(axis).max(*lo as u32 + made.coverage(axis));
            covered
        }
        Op::Take { axis } => beside(extents(&[given]), made, *axis),
        Op::Concat { axis } => {
            let axis = *axis as usize;
            let mut covered = extents(&[made]);
            let mut at = 0;
            for &input in &inputs {
                let part = layouts.get(&input)?;
                covered = beside(covered, part, axis as u32);
                covered[axis] = covered[axis].max(at + part.coverage(axis));
                at += fixed(graph.type_of(input).axes[axis]);
            }
            covered
        }
        Op::Split { axis, minor } => {
            let axis = *axis as usize;
            let mut covered = merged_extents(made, axis, *minor as u32);
            (0..covered.len()).for_each(|d| covered[d] = covered[d].max(given.coverage(d)));
            covered
        }
        Op::Merge { axis } => {
            let axis = *axis as usize;
            let minor = fixed(graph.type_of(inputs[0]).axes[axis + 1]);
            let mut covered = merged_extents(given, axis, minor);
            (0..covered.len()).for_each(|d| covered[d] = covered[d].max(made.coverage(d)));
            covered
        }
        _ => return None,
    })
}

/// Elements of a compile-time axis.
pub fn fixed(axis: Axis) -> u32 {
    match axis {
        Axis::Fixed(n) => n as u32,
        _ => 1,
    }
}

/// What a layout over `[.., a, minor, ..]` reaches of `[.., a * minor, ..]`.
fn merged_extents(apart: &Layout, axis: usize, minor: u32) -> Vec<u32> {
    let mut covered: Vec<u32> = (0..apart.rank()).map(|d| apart.coverage(d)).collect();
    let inner = covered.remove(axis + 1);
    covered[axis] = (covered[axis] - 1) * minor + inner.max(minor);
    covered
}

/// What any of some layouts of one shape covers.
fn extents(layouts: &[&Layout]) -> Vec<u32> {
    let most = |d: usize| layouts.iter().map(|l| l.coverage(d)).max().unwrap_or(1);
    (0..layouts.first().map_or(0, |l| l.rank())).map(most).collect()
}

/// Extents that also hold another layout in every dimension but one.
fn beside(mut covered: Vec<u32>, layout: &Layout, axis: u32) -> Vec<u32> {
    for d in (0..covered.len()).filter(|&d| d != axis as usize) {
        covered[d] = covered[d].max(layout.coverage(d));
    }
    covered
}

struct Build<'a, 'b> {
    shapes: &'a Shapes<'b>,
    node: NodeId,
    buffers: &'a mut Vec<Buffer>,
    arrays: Vec<Array>,
}

impl Build<'_, '_> {
    /// An array of `extents`; `walked`: the axis along which threads walk lines.
    fn array(&mut self, what: &str, extents: &[u32], dtype: DType, walked: Option<u32>) {
        let mut pitches = extents.to_vec();
        if let Some(last) = pitches.last_mut()
            && walked.is_some_and(|axis| axis > 0 && axis as usize + 1 == extents.len())
        {
            *last |= 1;
        }
        let strides: Vec<u32> = (0..pitches.len()).map(|d| pitches[d + 1..].iter().product()).collect();
        let elements: u32 = pitches.iter().product();
        let node = self.shapes.graph.node(self.node);
        let name = format!("{}.{what}", node.path.clone().unwrap_or_else(|| node.op.name()));
        let bytes = elements * dtype.bits().max(8) as u32 / 8;
        self.buffers.push(Buffer { name, bytes, ..Buffer::default() });
        self.arrays.push(Array { buffer: self.buffers.len() - 1, strides, dtype });
    }

    /// Lanes that can be spared for each line.
    fn lanes(&self, operand: Value, axis: u32, warps: u32) -> u32 {
        let mut extents = self.shapes.extents(self.shapes.graph.type_of(operand));
        let along = std::mem::replace(&mut extents[axis as usize], 1);
        let lines: u32 = extents.iter().product();
        let spare = (warps * 32 / lines.next_power_of_two()).clamp(1, 32);
        spare.min(along.next_power_of_two())
    }
}
