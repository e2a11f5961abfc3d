//! Hand-written kernels (`tests/kernels/*.ptx`): right and clean, counted, broken in every way, and replayed on a device.

mod assemble;
mod clean;
mod counters;
mod deletions;
mod device;
mod mutants;
#[path = "../replay/mod.rs"]
mod replay;
mod shadow;
#[path = "../../../sim-cuda/tests/common/mod.rs"]
mod shim;
mod support;
