//! `libcuda.so.1` over the simulator: host code that drives a GPU runs without one.
//!
//! A process that loads this library in the driver's place (both names, `libcuda.so` and `libcuda.so.1`, in a folder on
//! `LD_LIBRARY_PATH`) sees one device of the Hopper generation. Its memory is the simulator's, its kernels are PTX, run
//! by `ptx-sim` when they are launched.
//!
//! ```text
//! client ─ cuLaunchKernel ─▶ entry ─▶ launch ─▶ work ─▶ ptx_sim::run over state.memory
//!           C ABI            guard     params    now, or a node of a graph when the stream captures
//! ```
//!
//! What one should know of it:
//! - **Work happens when it is enqueued.** Every order of a real device that streams and events allow includes this one,
//!   so a correct client sees correct values; one that forgets to synchronise is not found out here. A fault of a
//!   kernel is told as on a device, by a *later* call, and stays ([`state::Context::fault`]).
//! - **Addresses are numbers.** The host cannot read what they name: the range is reserved without rights.
//! - **Nothing crosses the border.** Each entry catches panics ([`entry`]); handles are checked numbers
//!   ([`handles`]); pointers that the client passes are the only thing that is trusted, as C has it.
//! - **Every function exists.** What is not written is a stub that answers NOT_SUPPORTED and writes its name
//!   ([`stubs`]).
//!
//! Environment: `SIM_CUDA_CHECK=1` runs kernels in check mode, findings end the launch; `SIM_CUDA_LOG=FILE` takes what
//! is otherwise written to standard error. Times (events) come from a crude model ([`clock`]) and are
//! no predictions, unless `SIM_CUDA_TIME=predicted`.

// Entries are called by C, which has no `unsafe` to write; the contract of each is the driver's own documentation.
#![allow(clippy::missing_safety_doc)]

#[macro_use]
mod entry;

mod clock;
mod context;
mod copy;
mod device;
mod errors;
mod event;
mod function;
mod graph;
mod handles;
mod launch;
mod log;
mod memory;
mod module;
mod node;
mod occupancy;
mod pool;
mod proc_address;
mod ptx;
mod state;
mod stream;
mod stubs;
mod tensor_map;
mod work;

#[cfg(test)]
mod tests;
