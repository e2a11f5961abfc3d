//! Execution: warps step through the code, the machine runs the warps of CTAs that belong together, a grid its machines.
//!
//! | module | holds |
//! | --- | --- |
//! | [`grid`], [`launch`] | a launch: checks, what all CTAs share, machines in parallel |
//! | [`machine`], [`world`], [`cycle`] | CTAs that run together: rounds, deadlock; and what their warps share |
//! | [`cta`], [`barrier`], [`mbarrier`], [`registers`] | what a CTA owns |
//! | [`agents`], [`bulk`], [`tensor`], [`copy_async`], [`tensor_core`] | asynchronous operations |
//! | [`warp`], [`divergence`], [`converge`], [`rows`], [`activation`] | a warp, where its lanes stand and how they meet, its registers, its calls |
//! | [`access`], [`mbarrier_ops`], [`order_ops`], [`hopper`] | instructions that touch more than registers |
//! | [`int`], [`float`], [`halves`], [`round`], [`convert`], [`compare`], [`bits`], [`generic`], [`warp_ops`], [`matrix`], [`quads`] | arithmetic |
//! | [`units`] | tensor copies and warpgroup products as pure functions |
//! | [`check`]; [`look`], [`note`], [`traffic`] | what check mode keeps; where instructions ask it |
//! | [`count`] | counters |

pub mod access;
pub mod activation;
pub mod agents;
pub mod barrier;
pub mod bits;
pub mod bulk;
pub mod check;
pub mod compare;
pub mod converge;
pub mod convert;
pub mod copy_async;
pub mod count;
pub mod cta;
mod cta_order;
pub mod cycle;
pub mod divergence;
pub mod float;
pub mod generic;
pub mod grid;
pub mod halves;
pub mod hopper;
pub mod int;
pub mod launch;
pub mod look;
pub mod machine;
pub mod matrix;
pub mod mbarrier;
pub mod mbarrier_ops;
mod nearest;
pub mod note;
pub mod order_ops;
pub mod quads;
pub mod registers;
pub mod round;
pub mod rows;
pub mod sparse;
pub mod tensor;
pub mod tensor_core;
pub mod traffic;
pub mod units;
pub mod warp;
pub mod warp_ops;
pub mod world;
