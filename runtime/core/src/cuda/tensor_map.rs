//! Tensor maps: what TMA needs to know of a tensor in global memory, encoded by the driver into 128 opaque bytes.
//!
//! Example: tiles of 64 x 64 halves of a row-major matrix `a` of M x K, swizzled by 128 bytes, dimensions innermost
//! first: `dims [K, M]`, `strides [2 * K]` (in bytes, of all but the innermost), `tile [64, 64]`.

use super::{
    Buffer, Device,
    error::{CudaError, describe},
};
use cudarc::driver::sys::{self, CUresult};

/// Types of elements that TMA knows and tensors here have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Element {
    U8,
    I32,
    I64,
    F16,
    F32,
    F64,
    Bf16,
    Tf32,
}

/// How 16-byte pieces of a tile are permuted in shared memory, by the width of the rows that are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Swizzle {
    None,
    B32,
    B64,
    B128,
}

/// A tensor of one to five dimensions, innermost first, and the tile that one copy moves.
#[derive(Clone, Debug)]
pub struct TiledMap<'a> {
    pub element: Element,
    pub dims: &'a [u64],
    /// In bytes, one for each dimension but the innermost; multiples of 16.
    pub strides: &'a [u64],
    /// Extents of a tile, each at most 256.
    pub tile: &'a [u32],
    pub swizzle: Swizzle,
    /// Elements outside of the tensor read as NaN, not 0.
    pub nan_outside: bool,
}

/// An encoded map, for a `.param` of 128 bytes at 64-byte alignment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TensorMap(pub [u64; 16]);

impl TensorMap {
    /// Asks the driver, which checks what it is given.
    pub fn tiled(device: &Device, buffer: &Buffer, map: &TiledMap) -> Result<TensorMap, CudaError> {
        use sys::{CUtensorMapDataType_enum as Type, CUtensorMapSwizzle_enum as Mode};
        let rank = map.dims.len();
        if !(1..=5).contains(&rank) || map.strides.len() + 1 != rank || map.tile.len() != rank {
            let message = format!(
                "{rank} dimensions, {} strides, {} extents of the tile; there are 1 to 5, one less, as many",
                map.strides.len(),
                map.tile.len()
            );
            return Err(CudaError::TensorMap(message));
        }
        device.bind()?;
        let element = match map.element {
            Element::U8 => Type::CU_TENSOR_MAP_DATA_TYPE_UINT8,
            Element::I32 => Type::CU_TENSOR_MAP_DATA_TYPE_INT32,
            Element::I64 => Type::CU_TENSOR_MAP_DATA_TYPE_INT64,
            Element::F16 => Type::CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
            Element::F32 => Type::CU_TENSOR_MAP_DATA_TYPE_FLOAT32,
            Element::F64 => Type::CU_TENSOR_MAP_DATA_TYPE_FLOAT64,
            Element::Bf16 => Type::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
            Element::Tf32 => Type::CU_TENSOR_MAP_DATA_TYPE_TFLOAT32,
        };
        let swizzle = match map.swizzle {
            Swizzle::None => Mode::CU_TENSOR_MAP_SWIZZLE_NONE,
            Swizzle::B32 => Mode::CU_TENSOR_MAP_SWIZZLE_32B,
            Swizzle::B64 => Mode::CU_TENSOR_MAP_SWIZZLE_64B,
            Swizzle::B128 => Mode::CU_TENSOR_MAP_SWIZZLE_128B,
        };
        let outside = match map.nan_outside {
            true => sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA,
            false => sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
        };
        let mut out = sys::CUtensorMap { opaque: [0; 16] };
        let steps = [1u32; 5];
        // SAFETY: all arrays have an entry for each dimension (strides one less), as checked above.
        let result = unsafe {
            sys::cuTensorMapEncodeTiled(
                &mut out,
                element,
                rank as u32,
                std::ptr::without_provenance_mut(buffer.address() as usize),
                map.dims.as_ptr(),
                map.strides.as_ptr(),
                map.tile.as_ptr(),
                steps.as_ptr(),
                sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
                swizzle,
                sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                outside,
            )
        };
        match result {
            CUresult::CUDA_SUCCESS => Ok(TensorMap(out.opaque)),
            other => Err(CudaError::TensorMap(describe(other))),
        }
    }
}
