//! f64 evaluation of specs and graphs.

pub mod graph;
pub mod spec;

pub use graph::{Array, ClaimTest, Mode, Options, Report, random_tiles, run};
