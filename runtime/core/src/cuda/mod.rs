//! NVIDIA's driver API, over cudarc's bindings, loaded at run time.
//!
//! ```text
//! Device::open(0) ─▶ Device ─ Module::load(ptx) ─▶ Module ─┐
//!                      │                                   ├─▶ Prepared ─ launch ─▶ seconds on the device
//!                      └────────── Sequence, arguments ────┘              fetch  ─▶ outputs in the arguments
//! ```
//!
//! Three things about drivers that this module settles once:
//! - **There may be none.** cudarc panics when the library or one of its functions is missing. [`Device::open`] asks for
//!   the library first, then for a version that has every function used here (12.0); without them it returns
//!   [`CudaError::NoDriver`], and nothing else in this module can be reached without a [`Device`].
//! - **A context is current per thread.** Everything that calls the driver goes through [`Device::bind`] first.
//! - **A fault in a kernel is for good.** After an illegal access every call of the process on that context returns the
//!   same error; [`CudaError::Launch`] says so, and a new process is the only way on.

mod buffer;
mod device;
mod error;
mod event;
mod launch;
mod module;
mod tensor_map;

pub use buffer::Buffer;
pub use device::Device;
pub use error::CudaError;
pub use event::Event;
pub use launch::{Prepared, run};
pub use module::Module;
pub use tensor_map::encode;
