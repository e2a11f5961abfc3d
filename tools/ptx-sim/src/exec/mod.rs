//! Execution: a warp steps through the code, a CTA runs its warps, a grid its CTAs.

pub mod access;
pub mod check;
pub mod convert;
pub mod cta;
pub mod float;
pub mod grid;
pub mod int;
pub mod matrix;
pub mod rows;
pub mod units;
pub mod warp;
pub mod warp_ops;
