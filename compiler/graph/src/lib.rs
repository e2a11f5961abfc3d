//! The fused tile graph: the single source for the oracle, the CPU backend, the plan and the pictures.
//!
//! # What a graph means
//!
//! A [`Program`] is what a host calls: a list of launches with temporaries. Each launch runs one [`Graph`]: a
//! flat `StableDiGraph` of [`Node`]s, beside it a tree of [`Region`]s that says which node belongs to which loop,
//! branch or combiner. *Values* flow along `Value` edges from an output port to an input port, also from an outer
//! region into an inner one; *effects* on one memory object are ordered by `Effect` edges. Nodes of a region run
//! in any order that respects both; the list of a region is one such order (the program's own).
//!
//! A value is a tile: a dtype and a list of axes. A scalar is a tile of no axes. **Elements past the end of an axis
//! do not exist**: an operation means what it means on the existing elements only; what a register holds there is
//! a backend's affair (0 for a dot, -inf for a max).
//!
//! ```text
//! matmul:   root                        par i in tiles(M, BM) ── par j in tiles(N, BN) ── body
//!           body:   for s in tiles(K, BK) carried acc: f32[i, j] from 0
//!                       a = load A[i, s]      b = load B[s, j]
//!                       yield acc + dot(a, b)
//!                   store C[i, j] = cast(acc)
//! ```
//!
//! Regions begin with one [`Op::RegionArgs`] node (the loop variables, then the carried values) and end with one
//! [`Op::Yield`] node. See [`op`] for what each operation takes and gives.

pub mod access;
pub mod analysis;
pub mod binding;
pub mod build;
pub mod count;
pub mod edit;
pub mod facts;
pub mod ir;
pub mod laws;
pub mod names;
pub mod op;
pub mod picture;
pub mod print;
pub mod program;
#[cfg(any(test, feature = "samples"))]
pub mod samples;
pub mod typing;
pub mod verify;

pub use access::{Access, Check, Coord, CoordIndex, Port};
pub use binding::TileBinding;
pub use build::GraphBuilder;
pub use count::{Work, count};
pub use ir::*;
pub use op::*;
pub use picture::{dot, svg};
pub use print::{print, print_program};
pub use program::{Arg, Part, Program, Step, Temp};
pub use verify::{debug_verify, verify};
