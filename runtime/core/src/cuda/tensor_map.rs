//! Tensor maps by the driver: what TMA needs to know of a tensor in global memory, in 128 bytes that are nobody else's affair.
//!
//! The map is legal before it comes here ([`tile_machine::tensor_map::rules`]); a driver that refuses it all the same is told
//! ([`CudaError::RefusedMap`]). The function is there in every driver that [`Device::open`] accepts.

use super::{
    Device,
    error::{CudaError, describe},
};
use crate::MapBytes;
use cudarc::driver::sys::{self, CUresult};
use tile_machine::{
    Swizzle, TensorMap,
    tensor_map::{ElementType, Fill, Interleave, L2Promotion},
};

/// Encodes a map for a `.param` of 128 bytes at 64-byte alignment.
pub fn encode(device: &Device, map: &TensorMap) -> Result<MapBytes, CudaError> {
    device.bind()?;
    let mut out = sys::CUtensorMap { opaque: [0; 16] };
    // SAFETY: all arrays have an entry for each dimension, strides one less; the address is not read.
    let result = unsafe {
        sys::cuTensorMapEncodeTiled(
            &mut out,
            element(map.element()),
            map.rank() as u32,
            std::ptr::without_provenance_mut(map.address() as usize),
            map.dims().as_ptr(),
            map.strides().as_ptr(),
            map.box_dims().as_ptr(),
            map.element_strides().as_ptr(),
            interleave(map.interleave()),
            swizzle(map.swizzle()),
            promotion(map.l2_promotion()),
            outside(map.fill()),
        )
    };
    if result != CUresult::CUDA_SUCCESS {
        return Err(CudaError::RefusedMap(describe(result)));
    }
    let mut bytes: MapBytes = [0; 128];
    for (to, word) in bytes.chunks_exact_mut(8).zip(out.opaque) {
        to.copy_from_slice(&word.to_ne_bytes());
    }
    Ok(bytes)
}

fn element(e: ElementType) -> sys::CUtensorMapDataType {
    use sys::CUtensorMapDataType_enum as Driver;
    match e {
        ElementType::U8 => Driver::CU_TENSOR_MAP_DATA_TYPE_UINT8,
        ElementType::U16 => Driver::CU_TENSOR_MAP_DATA_TYPE_UINT16,
        ElementType::U32 => Driver::CU_TENSOR_MAP_DATA_TYPE_UINT32,
        ElementType::S32 => Driver::CU_TENSOR_MAP_DATA_TYPE_INT32,
        ElementType::U64 => Driver::CU_TENSOR_MAP_DATA_TYPE_UINT64,
        ElementType::S64 => Driver::CU_TENSOR_MAP_DATA_TYPE_INT64,
        ElementType::F16 => Driver::CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
        ElementType::F32 => Driver::CU_TENSOR_MAP_DATA_TYPE_FLOAT32,
        ElementType::F64 => Driver::CU_TENSOR_MAP_DATA_TYPE_FLOAT64,
        ElementType::Bf16 => Driver::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
        ElementType::F32Ftz => Driver::CU_TENSOR_MAP_DATA_TYPE_FLOAT32_FTZ,
        ElementType::Tf32 => Driver::CU_TENSOR_MAP_DATA_TYPE_TFLOAT32,
        ElementType::Tf32Ftz => Driver::CU_TENSOR_MAP_DATA_TYPE_TFLOAT32_FTZ,
    }
}

fn interleave(i: Interleave) -> sys::CUtensorMapInterleave {
    use sys::CUtensorMapInterleave_enum as Driver;
    match i {
        Interleave::None => Driver::CU_TENSOR_MAP_INTERLEAVE_NONE,
        Interleave::B16 => Driver::CU_TENSOR_MAP_INTERLEAVE_16B,
        Interleave::B32 => Driver::CU_TENSOR_MAP_INTERLEAVE_32B,
    }
}

fn swizzle(s: Swizzle) -> sys::CUtensorMapSwizzle {
    use sys::CUtensorMapSwizzle_enum as Driver;
    match s {
        Swizzle::None => Driver::CU_TENSOR_MAP_SWIZZLE_NONE,
        Swizzle::B32 => Driver::CU_TENSOR_MAP_SWIZZLE_32B,
        Swizzle::B64 => Driver::CU_TENSOR_MAP_SWIZZLE_64B,
        Swizzle::B128 => Driver::CU_TENSOR_MAP_SWIZZLE_128B,
    }
}

fn promotion(l: L2Promotion) -> sys::CUtensorMapL2promotion {
    use sys::CUtensorMapL2promotion_enum as Driver;
    match l {
        L2Promotion::None => Driver::CU_TENSOR_MAP_L2_PROMOTION_NONE,
        L2Promotion::B64 => Driver::CU_TENSOR_MAP_L2_PROMOTION_L2_64B,
        L2Promotion::B128 => Driver::CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
        L2Promotion::B256 => Driver::CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
    }
}

fn outside(f: Fill) -> sys::CUtensorMapFloatOOBfill {
    use sys::CUtensorMapFloatOOBfill_enum as Driver;
    match f {
        Fill::Zero => Driver::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
        Fill::Nan => Driver::CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA,
    }
}
