//! Compiled kernels on a device. No compiler in here, and no LLVM: a host that only runs kernels needs no more.
//!
//! - [`LaunchImage`]: arguments as the bytes that `docs/abi.md` describes, for the simulator and for CUDA alike.
//! - [`Sequence`]: the launches of an op over one set of buffers.
//! - [`cuda`]: NVIDIA's driver, loaded when it is first asked for. The same binary runs where there is none and says so
//!   (T0870).

pub mod cuda;
mod image;
mod sequence;

pub use image::{BufferImage, Geometry, LaunchImage, MapBytes, simulated};
pub use sequence::{Launch, Owner, Sequence, Storage};
