//! Tile sizes: what a binding leaves out gets a default, what it gives is checked, and tests draw random ones.

use super::random::Random;
use tile_base::Diagnostic;
use tile_graph::{Graph, Program, TileBinding, TileId, TileSize};

/// A good size for the oracle: large enough for the inner loops, small enough for several tiles per tensor.
fn default_size(tile: &TileSize) -> u64 {
    let fitting = tile.allowed.iter().copied().filter(|&s| s <= 64).max();
    fitting.or_else(|| tile.allowed.iter().copied().min()).unwrap_or(48)
}

/// Elements per step of each tile size of the graph.
pub fn steps(graph: &Graph, binding: Option<&TileBinding>) -> Result<Vec<u64>, Vec<Diagnostic>> {
    let mut problems = vec![];
    let size = |(at, tile): (usize, &TileSize)| {
        let size = binding.and_then(|b| b.get(TileId::new(at))).unwrap_or_else(|| default_size(tile));
        if size == 0 || !tile.allowed.is_empty() && !tile.allowed.contains(&size) {
            let name = &tile.name;
            let message = format!("the tile size `{name}` of `{}` cannot be {size}", graph.name);
            let problem = Diagnostic::error("T0463", tile.span, message);
            problems.push(match tile.allowed.is_empty() {
                true => problem.help("choose at least 1"),
                false => problem.help(format!("its declaration allows {:?}", tile.allowed)),
            });
        }
        size
    };
    let sizes = graph.tiles.iter().enumerate().map(size).collect();
    if problems.is_empty() { Ok(sizes) } else { Err(problems) }
}

/// Random tile sizes for every graph of a program: small and odd ones, round ones, one larger than most tests'
/// tensors. The same seed gives the same sizes.
pub fn random_tiles(program: &Program, seed: u64) -> Vec<TileBinding> {
    const SIZES: [u64; 12] = [1, 2, 3, 5, 8, 13, 16, 24, 33, 48, 64, 200];
    let mut random = Random::new(seed);
    let bind = |graph: &Graph| {
        let mut binding = TileBinding::new();
        for (at, tile) in graph.tiles.iter().enumerate() {
            let choices = if tile.allowed.is_empty() { &SIZES[..] } else { &tile.allowed };
            binding.set(TileId::new(at), choices[random.below(choices.len() as u64) as usize]);
        }
        binding
    };
    program.graphs.iter().map(bind).collect()
}
