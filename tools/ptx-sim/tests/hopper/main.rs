//! Hand-written kernels (`tests/kernels/*.ptx`): right and clean, counted, and broken in every way.

mod assemble;
mod clean;
mod counters;
mod deletions;
mod mutants;
mod shadow;
mod support;
