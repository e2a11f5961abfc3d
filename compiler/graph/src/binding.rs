//! Tile sizes chosen for one graph: by a schedule, the recommender, or a test that draws them at random.
//!
//! A binding gives every axis a *capacity*: the greatest extent it can have in any step. The true extent of a span
//! may be smaller (the tail) and is never part of a binding.

use crate::ir::*;
use std::collections::BTreeMap;

/// Tile sizes by [`TileId`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TileBinding {
    sizes: BTreeMap<TileId, u64>,
}

impl TileBinding {
    pub fn new() -> Self {
        Self::default()
    }

    /// From names, hidden ones too: `[("BM", 128), ("s", 32)]`. Names that the graph has not are an error.
    pub fn named(graph: &Graph, sizes: &[(&str, u64)]) -> Result<Self, String> {
        let mut binding = Self::new();
        for &(name, size) in sizes {
            let tile = graph.tile_named(name).ok_or_else(|| format!("no tile size is called `{name}`"))?;
            binding.set(tile, size);
        }
        Ok(binding)
    }

    /// The same size for every tile size of the graph.
    pub fn uniform(graph: &Graph, size: u64) -> Self {
        TileBinding { sizes: (0..graph.tiles.len()).map(|t| (TileId::new(t), size)).collect() }
    }

    pub fn set(&mut self, tile: TileId, size: u64) -> &mut Self {
        self.sizes.insert(tile, size);
        self
    }

    pub fn get(&self, tile: TileId) -> Option<u64> {
        self.sizes.get(&tile).copied()
    }

    pub fn iter(&self) -> impl Iterator<Item = (TileId, u64)> + '_ {
        self.sizes.iter().map(|(&t, &s)| (t, s))
    }

    /// Elements one step covers.
    pub fn step(&self, step: StepSize) -> Option<u64> {
        match step {
            StepSize::Tile(tile) => self.get(tile),
            StepSize::Fixed(n) => Some(n),
        }
    }

    /// The greatest extent of an axis; `None` when its tile size is not bound (or the product overflows).
    pub fn capacity(&self, graph: &Graph, axis: Axis) -> Option<u64> {
        match axis {
            Axis::One => Some(1),
            Axis::Fixed(n) => Some(n),
            Axis::Span { span, times } => self.step(graph.span(span).step)?.checked_mul(times),
        }
    }

    /// Capacity of each axis of a tile.
    pub fn shape(&self, graph: &Graph, ty: &ValueType) -> Option<Vec<u64>> {
        ty.axes.iter().map(|&a| self.capacity(graph, a)).collect()
    }

    /// The first tile size without a value, with a zero, or with a value its declaration does not allow.
    pub fn fault(&self, graph: &Graph) -> Option<String> {
        graph.tiles.iter().enumerate().find_map(|(at, tile)| match self.get(TileId::new(at)) {
            None => Some(format!("tile size `{}` has no value", tile.name)),
            Some(0) => Some(format!("tile size `{}` is 0", tile.name)),
            Some(v) if !tile.allowed.is_empty() && !tile.allowed.contains(&v) => {
                Some(format!("tile size `{}` is {v}, allowed are {:?}", tile.name, tile.allowed))
            }
            Some(_) => None,
        })
    }
}

impl Graph {
    /// A tile size by its name or, for the hidden ones, the path of its loop.
    pub fn tile_named(&self, name: &str) -> Option<TileId> {
        self.tiles.iter().position(|t| t.name == name).map(TileId::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use tile_base::DType;

    #[test]
    fn capacity_follows_the_tile_size_of_the_span() {
        let g = samples::matmul(DType::F32);
        let binding = TileBinding::named(&g, &[("BM", 176), ("BN", 64)]).expect("names of matmul");
        let of = |name: &str| {
            let at = g.spans.iter().position(|s| s.name == name).expect("a span");
            Axis::span(SpanId::new(at))
        };
        assert_eq!(binding.capacity(&g, of("i")), Some(176));
        assert_eq!(binding.capacity(&g, of("s")), None);
        assert_eq!(binding.fault(&g), Some("tile size `s` has no value".into()));
        assert!(TileBinding::named(&g, &[("BX", 1)]).is_err());
    }
}
