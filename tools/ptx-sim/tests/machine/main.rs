//! Small PTX texts on the machine: what they compute, or what is found wrong with them.
//!
//! Each text is the body of a kernel with two pointers, `a` and `b`, whose addresses are in `%rd1` and `%rd2`; `%r1` is
//! `%tid.x`. Right programs are run in both modes and with several seeds; wrong ones name the class expected.

mod asynchronous;
mod barriers;
mod bits;
mod clusters;
mod definedness;
mod dependent;
mod divergence;
mod grids;
mod lanes;
mod mbarriers;
mod races;
mod recursion;
mod registers;
mod shadow;
mod support;
mod tensor_core;
