//! Tensors in host memory: strides, dtypes, files, and the checks before a launch.
//!
//! - [`Tensor`]: dtype, shape, strides, bytes; sub-byte packing; views.
//! - [`convert`]: the one place that says how a number becomes a value of a dtype.
//! - [`files`]: `.npy` and `.safetensors`; [`random`]: deterministic data.
//! - [`Arguments`]: what a host passes to a kernel; [`launch::bind`] checks it and binds the dimensions.
//!
//! Nothing here prints, and nothing here knows of the compiler: a host that only runs kernels needs no more.

mod argument;
mod buffer;
pub mod convert;
pub mod files;
pub mod launch;
pub mod random;
mod tensor;

pub use argument::{Argument, Arguments, Scalar};
pub use buffer::ALIGN;
pub use files::{
    parse_npy, parse_safetensors, read_npy, read_safetensors, read_tensor, write_npy, write_safetensors,
    write_tensor,
};
pub use launch::Dims;
pub use tensor::{Positions, Tensor, TensorError, bytes_of, element_count, load, row_major, store};
