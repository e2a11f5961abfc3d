//! Tile sizes and warps for the generic path, by legality alone: the first of a short list whose plan fits.
//!
//! Each tile size has a role, found from how spans meet dots and memory:
//!
//! | role | meaning | tried |
//! | --- | --- | --- |
//! | rows | free axis of a dot's left operand; slow axis of a tile elsewhere | 128, 64, 32, 16 (dots); 4 |
//! | columns | free axis of a right operand; contiguous axis elsewhere | 128, 64, 32, 16; 512 |
//! | depth | contracted axis alone (a streamed dot) | 32, 16 |
//!
//! Where rows of a product are reduced (attention), warps own 16 rows each and columns are what one step of the loop
//! sees. Ranking by a model of the machine comes later; until then bigger is tried first, more warps before tiles of 16
//! columns. A candidate has to fit shared memory and registers ([`register_budget`]); when none fits the registers, the
//! one that comes nearest is taken, with T0602.

use std::collections::BTreeMap;
use tile_graph::{Axis, Graph, Op, StepSize, TileBinding, TileId};

/// Registers that tile values may take of those that a thread has. The rest is for addresses, predicates and what is in
/// flight: three eighths without products; with them some 54, and for each product the addresses of its fragments,
/// which LLVM keeps over the loops (15, as the assembler's counts of the library's kernels say).
pub fn register_budget(registers_of_a_thread: u32, products: usize) -> u32 {
    match products {
        0 => registers_of_a_thread.div_ceil(8) * 5,
        n => registers_of_a_thread.saturating_sub(54 + 15 * n as u32),
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    Rows,
    Columns,
    Depth,
}

/// One thing to try.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    pub binding: TileBinding,
    pub warps: u32,
}

/// Candidates in order of preference. Sizes in `given` stand; a declaration's list of allowed sizes holds.
pub fn candidates(graph: &Graph, given: &TileBinding, warps: Option<u32>) -> Vec<Candidate> {
    let roles = roles(graph);
    let dots = graph.node_ids().filter(|&n| matches!(graph.node(n).op, Op::Dot(_))).count();
    let streamed = graph.tiles.iter().any(|t| t.hidden);
    let shapes: &[([u64; 3], u32)] = match dots {
        0 => {
            &[([4, 512, 512], 4), ([4, 256, 256], 4), ([4, 128, 128], 4), ([4, 64, 64], 4), ([4, 32, 32], 4)]
        }
        _ if streamed => &[
            ([128, 128, 32], 8),
            ([128, 64, 32], 8),
            ([64, 64, 32], 4),
            ([32, 64, 32], 4),
            ([32, 32, 16], 2),
            ([16, 16, 16], 1),
        ],
        _ => &[
            ([64, 64, 32], 4),
            ([64, 32, 32], 4),
            // Wide results (latent attention, gradients at 128 channels) split their columns over more warps.
            ([64, 32, 32], 8),
            ([64, 16, 32], 4),
            ([32, 32, 32], 4),
            ([32, 32, 32], 8),
            ([32, 16, 16], 4),
            ([32, 16, 16], 8),
            ([16, 16, 16], 2),
            ([16, 16, 16], 1),
            // Tiles of rank 3 (chunk x chunk x channels) want few positions and many threads.
            ([16, 16, 16], 4),
            ([16, 16, 16], 8),
            ([16, 16, 16], 16),
        ],
    };
    let mut out: Vec<Candidate> = vec![];
    for (sizes, default_warps) in shapes {
        let mut binding = given.clone();
        for (at, tile) in graph.tiles.iter().enumerate() {
            let id = TileId::new(at);
            if given.get(id).is_some() {
                continue;
            }
            let alone = graph.tiles.len() == 1 && dots == 0;
            let want = match roles.get(&id) {
                _ if alone && roles.get(&id) == Some(&Role::Columns) => sizes[1] * 2,
                Some(Role::Rows) => sizes[0],
                Some(Role::Depth) => sizes[2],
                _ => sizes[1],
            };
            binding.set(id, nearest(want, &tile.allowed));
        }
        let candidate = Candidate { binding, warps: warps.unwrap_or(*default_warps) };
        if !out.contains(&candidate) {
            out.push(candidate);
        }
    }
    out
}

fn nearest(want: u64, allowed: &[u64]) -> u64 {
    allowed.iter().copied().min_by_key(|a| a.abs_diff(want)).unwrap_or(want)
}

/// The first role met stands: dots in program order, then accesses.
pub fn roles(graph: &Graph) -> BTreeMap<TileId, Role> {
    let mut roles = BTreeMap::new();
    let mut note = |axis: Option<&Axis>, role: Role| {
        if let Some(Axis::Span { span, .. }) = axis
            && let StepSize::Tile(tile) = graph.span(*span).step
        {
            roles.entry(tile).or_insert(role);
        }
    };
    let nodes = graph.nodes_under(tile_graph::ROOT);
    for &node in &nodes {
        let Op::Dot(d) = &graph.node(node).op else { continue };
        let inputs = graph.inputs(node);
        let (lhs, rhs) = (graph.type_of(inputs[0]), graph.type_of(inputs[1]));
        if lhs.axes.len() == 2 && rhs.axes.len() == 2 {
            note(lhs.axes.get(1 - d.lhs_k as usize), Role::Rows);
            note(rhs.axes.get(1 - d.rhs_k as usize), Role::Columns);
            note(lhs.axes.get(d.lhs_k as usize), Role::Depth);
        }
    }
    for &node in &nodes {
        let n = graph.node(node);
        let ty = match &n.op {
            Op::Load(_) => &n.outputs[0],
            Op::Store { .. } | Op::Accumulate(_) => match graph.inputs(node).first() {
                Some(&v) => graph.type_of(v),
                None => continue,
            },
            _ => continue,
        };
        let rank = ty.axes.len();
        if rank >= 2 {
            note(ty.axes.last(), Role::Columns);
            ty.axes[..rank - 1].iter().for_each(|a| note(Some(a), Role::Rows));
        }
    }
    for &node in &nodes {
        if let Op::Load(_) = &graph.node(node).op {
            note(graph.node(node).outputs[0].axes.last(), Role::Columns);
        }
    }
    roles
}
