//! Predicted times: of kernels of known structure against published measurements, and of small ones exactly.

#[path = "../hopper/support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;

mod exact;
mod kernels;
mod published;
mod values;
