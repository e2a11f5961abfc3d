//! Tile sizes for the CPU: from the shapes of dots, the caches, and how many threads there are to feed.
//!
//! A tile size gets a *role* from the dots it occurs in, and each role a size that suits the microkernel of
//! `tile-cpu` (14 rows by 32 columns, contraction in runs of 256):
//!
//! | role | size | why |
//! | --- | --- | --- |
//! | rows of dots | 504 (126 beside a row-wise loop) | 36 (9) microkernels for each packed panel of columns |
//! | columns of dots | 512 (128 beside a row-wise loop) | half of L2 for the packed operand |
//! | contraction only (streams) | 256 | a packed panel of 32 columns fills L1 |
//! | columns of one dot and contraction or rows of another | 256 (128 in a kernel that skips steps) | scores of a block of rows stay in L2; of small blocks more are skipped |
//! | rows and columns of one dot (chunks of a recurrence) | 64 | the work grows with the size |
//! | no dot | rows of a tile within 64 KiB, or 4096 elements | operands and results in L1 and L2 |
//!
//! The dimension that is cut is cut evenly, into tiles of about that size: 512 rows are four tiles of 128 and not four of
//! 126 and one of 8. Row tiles shrink until every thread has a few instances. Sizes promise not to matter for
//! results, so none of this is a question of correctness.

use std::collections::BTreeMap;
use tile_graph::{Axis, DotAxes, Graph, Iter, Literal, NodeId, Op, StepSize, TileBinding, TileId};

/// What the dots do along a tile size.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Role {
    rows: bool,
    columns: bool,
    contracted: bool,
    /// Rows and columns of one dot.
    square: bool,
}

/// Rows and columns of the microkernel.
const ROWS: u64 = 14;
const COLUMNS: u64 = 32;
/// Bytes of a row-wise tile.
const ROW_TILE: u64 = 64 << 10;
/// Instances that each thread should have, so that the last ones finish together.
const INSTANCES: u64 = 4;

/// Tile sizes of one launch. `dims`: values of `signature.dims`, or as many as are known (-1: not known).
pub fn recommend_cpu(graph: &Graph, dims: &[i64]) -> TileBinding {
    let roles = roles(graph);
    let mut binding = TileBinding::new();
    for at in 0..graph.tiles.len() {
        let tile = TileId::new(at);
        let extent = extent(graph, tile, dims);
        let wanted = match (roles.get(&tile), extent) {
            (Some(role), Some(n)) => evenly(n, dot_size(graph, *role), role),
            (Some(role), None) => dot_size(graph, *role),
            (None, Some(n)) => row_size(graph, tile).min(n.max(1)),
            (None, None) => row_size(graph, tile),
        };
        binding.set(tile, allowed(graph, tile, wanted));
    }
    feed_threads(graph, dims, &roles, &mut binding);
    binding
}

fn roles(graph: &Graph) -> BTreeMap<TileId, Role> {
    let mut roles: BTreeMap<TileId, Role> = BTreeMap::new();
    let tile_of = |axis: Axis| match axis {
        Axis::Span { span, .. } => match graph.span(span).step {
            StepSize::Tile(tile) => Some(tile),
            StepSize::Fixed(_) => None,
        },
        _ => None,
    };
    for node in graph.node_ids() {
        let Op::Dot(DotAxes { lhs_batch, rhs_batch, lhs_k, rhs_k }) = &graph.node(node).op else { continue };
        let inputs = graph.inputs(node);
        let mut free: Vec<TileId> = vec![];
        for (side, batch, k) in [(0, lhs_batch, *lhs_k), (1, rhs_batch, *rhs_k)] {
            for (at, &axis) in graph.type_of(inputs[side]).axes.iter().enumerate() {
                let Some(tile) = tile_of(axis) else { continue };
                let role = roles.entry(tile).or_default();
                match (side, at as u32) {
                    (_, at) if at == k => role.contracted = true,
                    (_, at) if batch.contains(&at) => {}
                    (0, _) => {
                        role.rows = true;
                        free.push(tile);
                    }
                    _ => {
                        role.columns = true;
                        role.square |= free.contains(&tile);
                    }
                }
            }
        }
    }
    roles
}

/// Whether some loop carries more than the sum of a streamed dot: its rows are worked on between dots.
fn is_row_wise(graph: &Graph) -> bool {
    graph.node_ids().any(|n| {
        matches!(&graph.node(n).op, Op::For(f) if f.origin == tile_graph::LoopOrigin::Written)
            && !graph.node(n).outputs.is_empty()
    })
}

/// Whether some loop passes over steps (blocks that a mask hides).
fn skips(graph: &Graph) -> bool {
    let never = |region| graph.literal(graph.yields(region)[0]) == Some(Literal::Bool(false));
    graph.node_ids().any(|n| match &graph.node(n).op {
        Op::For(f) => f.skip.is_some_and(|region| !never(region)),
        _ => false,
    })
}

fn dot_size(graph: &Graph, role: Role) -> u64 {
    let fused = is_row_wise(graph);
    let scores = if skips(graph) { 4 * COLUMNS } else { 8 * COLUMNS };
    match role {
        Role { square: true, .. } => 64,
        Role { columns: true, contracted: true, .. } | Role { rows: true, columns: true, .. } => scores,
        Role { rows: true, .. } if fused => 9 * ROWS,
        Role { rows: true, .. } => 36 * ROWS,
        Role { columns: true, .. } if fused => 4 * COLUMNS,
        Role { columns: true, .. } => 16 * COLUMNS,
        Role { contracted: true, .. } => 256,
        _ => 64,
    }
}

/// The size near `wanted` that cuts `extent` into equal tiles, but for what is lost to whole vectors of columns.
fn evenly(extent: u64, wanted: u64, role: &Role) -> u64 {
    let extent = extent.max(1);
    let tiles = ((extent + wanted / 2) / wanted).max(1);
    let size = extent.div_ceil(tiles);
    if role.columns { size.next_multiple_of(COLUMNS).min(extent) } else { size }
}

/// Rows of the widest tile along this tile size that fit, or a run of elements.
fn row_size(graph: &Graph, tile: TileId) -> u64 {
    let along = |axis: &Axis| match axis {
        Axis::Span { span, .. } => graph.span(*span).step == StepSize::Tile(tile),
        _ => false,
    };
    let mut widest = 1u64;
    for node in graph.node_ids() {
        for ty in &graph.node(node).outputs {
            if !ty.axes.iter().any(along) {
                continue;
            }
            let others = ty.axes.iter().filter(|a| !along(a)).map(|a| match a {
                Axis::One => 1,
                Axis::Fixed(n) => *n,
                Axis::Span { times, .. } => 64 * times,
            });
            widest = widest.max(others.fold(1, u64::saturating_mul));
        }
    }
    (ROW_TILE / 4 / widest).clamp(1, 4096)
}

/// The greatest allowed size up to `wanted`, else the least allowed one.
fn allowed(graph: &Graph, tile: TileId, wanted: u64) -> u64 {
    let list = &graph.tile(tile).allowed;
    let fits = list.iter().copied().filter(|&n| n <= wanted).max();
    fits.or_else(|| list.iter().copied().min()).unwrap_or(wanted.max(1))
}

/// The dimension that a loop over tiles of this size cuts, if it is one that is known.
fn extent(graph: &Graph, tile: TileId, dims: &[i64]) -> Option<u64> {
    graph.node_ids().find_map(|node| {
        let iter = iter_of(graph, node)?;
        let Iter::Tiles { step, .. } = iter else { return None };
        if step != StepSize::Tile(tile) {
            return None;
        }
        let inputs = graph.inputs(node);
        let hi = bound(graph, inputs[1], dims)?;
        (graph.int(inputs[0]) == Some(0)).then_some(hi)
    })
}

fn iter_of(graph: &Graph, node: NodeId) -> Option<Iter> {
    match &graph.node(node).op {
        Op::Par(p) => Some(p.iter),
        Op::For(f) => Some(f.iter),
        _ => None,
    }
}

fn bound(graph: &Graph, value: tile_graph::Value, dims: &[i64]) -> Option<u64> {
    let known = match graph.node(value.node).op {
        Op::Dim(n) => dims.get(n as usize).copied().filter(|&d| d >= 0),
        _ => graph.int(value),
    };
    known.and_then(|n| u64::try_from(n).ok())
}

/// Halves row tiles, then column tiles, of the `par` nest while there are too few instances.
fn feed_threads(graph: &Graph, dims: &[i64], roles: &BTreeMap<TileId, Role>, binding: &mut TileBinding) {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let wanted = threads * INSTANCES;
    // Each halving at least halves some tile, so this ends.
    for _ in 0..32 {
        let Some((instances, cut)) = instances(graph, dims, binding) else { return };
        if instances >= wanted {
            return;
        }
        let largest = cut.into_iter().max_by_key(|t| binding.get(*t).unwrap_or(1));
        let Some(tile) = largest else { return };
        let now = binding.get(tile).unwrap_or(1);
        let grain = match roles.get(&tile) {
            Some(Role { rows: true, .. }) => ROWS,
            Some(_) => COLUMNS,
            None => 1,
        };
        let half = (now / 2).div_ceil(grain) * grain;
        let next = allowed(graph, tile, half);
        if next >= now {
            return;
        }
        binding.set(tile, next);
    }
}

/// How many instances the nest has, and the tile sizes it cuts by; `None` when its bounds are not known here.
fn instances(graph: &Graph, dims: &[i64], binding: &TileBinding) -> Option<(u64, Vec<TileId>)> {
    let (mut count, mut tiles) = (1u64, vec![]);
    for node in graph.par_nest() {
        let inputs = graph.inputs(node);
        let length = bound(graph, inputs[1], dims)?;
        let step = match iter_of(graph, node)? {
            Iter::Each { .. } => 1,
            Iter::Tiles { step, .. } => {
                if let StepSize::Tile(tile) = step {
                    tiles.push(tile);
                }
                binding.step(step)?
            }
        };
        count = count.saturating_mul(length.div_ceil(step.max(1)));
    }
    Some((count, tiles))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tile_base::DType;
    use tile_graph::samples;

    fn sizes(graph: &Graph, dims: &[i64]) -> Vec<(String, u64)> {
        let binding = recommend_cpu(graph, dims);
        let name = |t: TileId| graph.tile(t).name.clone();
        binding.iter().map(|(t, n)| (name(t), n)).collect()
    }

    #[test]
    fn no_tile_is_larger_than_what_it_cuts() {
        let graph = samples::matmul(DType::F32);
        for (_, size) in sizes(&graph, &[3, 5, 7]) {
            assert!(size <= 7);
        }
        assert!(recommend_cpu(&graph, &[0, 0, 0]).fault(&graph).is_none());
    }

    #[test]
    fn dimensions_are_cut_evenly_and_columns_into_whole_vectors() {
        let graph = samples::flash(DType::F32, 64, false);
        assert_eq!(sizes(&graph, &[1, 512, 8, 512, 8]), [("BM".into(), 128), ("BN".into(), 256)]);
        // Three tiles of rows; four of columns, of 250 filled up to whole vectors.
        assert_eq!(sizes(&graph, &[1, 400, 8, 1000, 8]), [("BM".into(), 134), ("BN".into(), 256)]);
        let causal = samples::flash(DType::F32, 64, true);
        assert_eq!(sizes(&causal, &[1, 512, 8, 512, 8]), [("BM".into(), 128), ("BN".into(), 128)]);
        let product = sizes(&samples::matmul(DType::F32), &[4096, 4096, 4096]);
        assert!(product.iter().all(|(_, size)| 4096 % size == 0), "{product:?}");
    }

    #[test]
    fn every_tile_size_gets_one() {
        for graph in [samples::add(DType::F32), samples::softmax(DType::F16, 4096)] {
            assert!(recommend_cpu(&graph, &[-1, -1]).fault(&graph).is_none());
        }
    }
}
