//! Execution: a warp steps through the code, a CTA runs its warps, a grid its CTAs.

pub mod access;
pub mod bits;
pub mod check;
pub mod compare;
pub mod convert;
pub mod cta;
pub mod float;
pub mod generic;
pub mod grid;
pub mod int;
pub mod matrix;
pub mod round;
pub mod rows;
pub mod sparse;
pub mod units;
pub mod warp;
pub mod warp_ops;
