//! The units beside the warps, as pure functions: which bytes a bulk copy moves where, and what a product of a
//! warpgroup computes. Nothing here knows of time, of races or of who waits.

pub mod fragment;
pub mod operand;
pub mod tma;
pub mod wgmma;
