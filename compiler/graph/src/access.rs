//! How a load or a store reaches memory: per dimension of the object, the coordinate as a function of the
//! position in the tile.
//!
//! Worked example: `kb[b, j - 2, h, :]` over `k: [B, N, HK, 64]` with `j` a span gives a tile `[j, 64]` and
//!
//! ```text
//! coords[0] = Affine { base: b,           terms: [] }            axis gone
//! coords[1] = Affine { base: j.start - 2, terms: [(0, 1)] }      moves with tile axis 0
//! coords[2] = Affine { base: h,           terms: [] }
//! coords[3] = Affine { base: none,        terms: [(1, 1)] }      moves with tile axis 1
//! ```
//!
//! Views (paging, packing, halos, interleaving) dissolve into these: an affine index map changes bases and terms;
//! a look-up becomes an ordinary `Load` of a table whose result, an index tile, is a `Gather` coordinate.

use crate::ir::ObjectId;

/// An input port of the node that holds the access.
pub type Port = u32;

#[derive(Clone, PartialEq, Debug)]
pub struct Access {
    pub object: ObjectId,
    /// One for each dimension of the object.
    pub coords: Vec<Coord>,
    /// A scalar input read where some coordinate lies outside (`x[t - s, c] else 0`). A store with `else` stores
    /// nothing there.
    pub otherwise: Option<Port>,
    /// Input port of an optional bool tile or scalar (axes as the accessed tile, stretching): false means as if
    /// outside, with `otherwise` (or 0) read and nothing stored. Made for `id?` look-ups.
    pub mask: Option<Port>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Coord {
    pub index: CoordIndex,
    /// Narrower limits than `0..dim` (a slice `x[lo..hi]`): input ports of scalars.
    pub lo: Option<Port>,
    pub hi: Option<Port>,
    pub check: Check,
}

#[derive(Clone, PartialEq, Debug)]
pub enum CoordIndex {
    /// `base + Σ stride × (position along the tile axis)`.
    Affine { base: Option<Port>, terms: Vec<(u32, i64)> },
    /// An index tile; its axis `n` runs along the accessed tile's axis `axes[n]` (axes of extent 1 stretch).
    Gather { index: Port, axes: Vec<u32> },
}

/// Whether a backend has to look before it accesses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Check {
    /// Inside by construction or proof.
    Proven,
    /// Inside whenever the launch was accepted.
    AtLaunch,
    /// Look: outside is an error (oracle, CPU, simulator), or reads 0 and stores nothing (GPU).
    InPlace,
    /// Look: outside is meant, and reads `otherwise`.
    Else,
}

impl Coord {
    pub fn new(index: CoordIndex, check: Check) -> Coord {
        Coord { index, lo: None, hi: None, check }
    }

    /// A scalar subscript at an input port.
    pub fn scalar(base: Port, check: Check) -> Coord {
        Coord::new(CoordIndex::Affine { base: Some(base), terms: vec![] }, check)
    }

    /// A span or slice: moves with tile axis `axis` from an input port.
    pub fn along(axis: u32, base: Option<Port>, check: Check) -> Coord {
        Coord::new(CoordIndex::Affine { base, terms: vec![(axis, 1)] }, check)
    }

    /// The tile axes it depends on.
    pub fn axes(&self) -> Vec<u32> {
        match &self.index {
            CoordIndex::Affine { terms, .. } => terms.iter().map(|&(a, _)| a).collect(),
            CoordIndex::Gather { axes, .. } => axes.clone(),
        }
    }
}
