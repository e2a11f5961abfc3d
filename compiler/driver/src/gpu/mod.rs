//! Kernels on a GPU, real or simulated: code for the arguments at hand, and the two machines that run it.
//!
//! ```text
//! program, arguments ─ host ─▶ calls, each of a graph with its own arguments
//! call ─ classes ─▶ plan ─ tile-ptx ─▶ PTX ─────┐
//!                                               ├─▶ sim   check mode, findings with their `.tile` line; predicted times
//! calls ─ tile-runtime ─▶ Sequence ─────────────┴─▶ cuda  NVIDIA's driver, times by its events
//! ```
//!
//! A plan takes things for granted (16-byte vectors, a unit stride), and the launcher is who keeps the promise:
//! [`classes`] compares what a plan relies on with the tensors that are there, and asks for other code where they do
//! not have it. Nothing is copied or padded in silence.

pub mod classes;
mod code;
mod cuda;
mod host;
mod predicted;
mod sim;

pub use code::{Codes, DeviceProgram, Wanted};
pub use cuda::Cuda;
pub use predicted::predict;
pub use ptx_sim::time::Prediction;
pub use sim::{Purpose, Simulated, simulate};
