//! The 128 bytes that describe a tensor in global memory, and the box that one bulk copy moves.
//!
//! All lists are innermost dimension first. The innermost stride is the element itself, so there is one stride fewer
//! than dimensions. Worked example: a row-major bf16 matrix of 100 rows by 48 columns, rows padded to 64 elements, of
//! which a copy takes 32 columns of 16 rows:
//!
//! ```
//! use tile_machine::{Swizzle, tensor_map::*};
//! let map = TensorMap::new(Spec {
//!     address: 0x7000_0000_0000,
//!     dims: &[48, 100],
//!     strides: &[128], // bytes from row to row
//!     box_dims: &[32, 16],
//!     element_strides: &[1, 1],
//!     swizzle: Swizzle::B64, // a row of the box is 64 bytes
//!     ..Spec::new(ElementType::Bf16)
//! })
//! .unwrap();
//! assert_eq!(map.box_bytes(), 1024);
//! assert_eq!(TensorMap::decode(&map.encode()), Ok(map));
//! ```
//!
//! The copy at (32, 96) covers columns 32–63 and rows 96–111: columns from 48 and rows from 100 on are outside and
//! arrive as zeros, and all 1024 bytes are counted.
//!
//! NVIDIA does not publish its encoding; [`bytes`] documents this project's, which the launcher writes and the
//! simulator reads. [`rules`] are those of `cuTensorMapEncodeTiled`.

pub mod bytes;
pub mod replace;
pub mod rules;
mod template;

pub use replace::Field;
pub use rules::TensorMapError;
pub use template::Template;

use crate::swizzle::Swizzle;

/// In the order of `CUtensorMapDataType`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ElementType {
    U8,
    U16,
    U32,
    S32,
    U64,
    S64,
    F16,
    F32,
    F64,
    Bf16,
    /// Denormals become zero.
    F32Ftz,
    /// f32 rounded to the 10 bits a tensor core reads.
    Tf32,
    Tf32Ftz,
}

use ElementType::*;

impl ElementType {
    pub const ALL: [ElementType; 13] =
        [U8, U16, U32, S32, U64, S64, F16, F32, F64, Bf16, F32Ftz, Tf32, Tf32Ftz];

    pub fn bytes(self) -> u32 {
        match self {
            U8 => 1,
            U16 | F16 | Bf16 => 2,
            U32 | S32 | F32 | F32Ftz | Tf32 | Tf32Ftz => 4,
            U64 | S64 | F64 => 8,
        }
    }

    pub fn is_float(self) -> bool {
        matches!(self, F16 | F32 | F64 | Bf16 | F32Ftz | Tf32 | Tf32Ftz)
    }

    /// From the number of `CUtensorMapDataType`.
    pub fn from_driver(number: u32) -> Option<ElementType> {
        ElementType::ALL.get(number as usize).copied()
    }

    /// From the number that `tensormap.replace.elemtype` takes, which counts f32.ftz after f32.
    pub fn from_ptx(number: u32) -> Option<ElementType> {
        [U8, U16, U32, S32, U64, S64, F16, F32, F32Ftz, F64, Bf16, Tf32, Tf32Ftz]
            .get(number as usize)
            .copied()
    }

    /// What an out-of-bounds element is with [`Fill::Nan`]; the payload of the hardware's is not documented.
    pub fn nan(self) -> u64 {
        match self {
            F16 | Bf16 => 0x7fff,
            F64 => 0x7fff_ffff_ffff_ffff,
            _ => 0x7fff_ffff,
        }
    }
}

/// Channels in slices of 16 or 32 bytes (NC/8HWC8, NC/16HWC16).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Interleave {
    #[default]
    None,
    B16,
    B32,
}

/// How much L2 fetches; changes no value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum L2Promotion {
    #[default]
    None,
    B64,
    B128,
    B256,
}

/// What elements outside the tensor are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Fill {
    #[default]
    Zero,
    Nan,
}

pub const MAX_RANK: usize = 5;

/// What `cuTensorMapEncodeTiled` takes.
#[derive(Clone, Copy, Debug)]
pub struct Spec<'a> {
    pub element: ElementType,
    pub address: u64,
    pub dims: &'a [u64],
    /// In bytes, of every dimension but the innermost.
    pub strides: &'a [u64],
    pub box_dims: &'a [u32],
    pub element_strides: &'a [u32],
    pub interleave: Interleave,
    pub swizzle: Swizzle,
    pub l2_promotion: L2Promotion,
    pub fill: Fill,
}

impl Spec<'_> {
    /// Nothing but the element type said.
    pub fn new(element: ElementType) -> Self {
        Spec {
            element,
            address: 0,
            dims: &[],
            strides: &[],
            box_dims: &[],
            element_strides: &[],
            interleave: Interleave::None,
            swizzle: Swizzle::None,
            l2_promotion: L2Promotion::None,
            fill: Fill::Zero,
        }
    }
}

/// A legal tensor map. Entries beyond the rank are 1 (dimensions, box, element strides) or 0 (strides).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TensorMap {
    element: ElementType,
    rank: usize,
    address: u64,
    dims: [u64; MAX_RANK],
    strides: [u64; MAX_RANK - 1],
    box_dims: [u32; MAX_RANK],
    element_strides: [u32; MAX_RANK],
    interleave: Interleave,
    swizzle: Swizzle,
    l2_promotion: L2Promotion,
    fill: Fill,
}

impl TensorMap {
    pub fn new(spec: Spec) -> Result<TensorMap, TensorMapError> {
        let rank = spec.dims.len();
        rules::lengths(&spec)?;
        let mut map = TensorMap {
            element: spec.element,
            rank,
            address: spec.address,
            dims: [1; MAX_RANK],
            strides: [0; MAX_RANK - 1],
            box_dims: [1; MAX_RANK],
            element_strides: [1; MAX_RANK],
            interleave: spec.interleave,
            swizzle: spec.swizzle,
            l2_promotion: spec.l2_promotion,
            fill: spec.fill,
        };
        map.dims[..rank].copy_from_slice(spec.dims);
        map.strides[..rank - 1].copy_from_slice(spec.strides);
        map.box_dims[..rank].copy_from_slice(spec.box_dims);
        map.element_strides[..rank].copy_from_slice(spec.element_strides);
        rules::check(&map)?;
        Ok(map)
    }

    pub fn element(&self) -> ElementType {
        self.element
    }

    pub fn rank(&self) -> usize {
        self.rank
    }

    pub fn address(&self) -> u64 {
        self.address
    }

    pub fn dims(&self) -> &[u64] {
        &self.dims[..self.rank]
    }

    pub fn strides(&self) -> &[u64] {
        &self.strides[..self.rank - 1]
    }

    pub fn box_dims(&self) -> &[u32] {
        &self.box_dims[..self.rank]
    }

    /// As they were given, that of the innermost dimension too.
    pub fn element_strides(&self) -> &[u32] {
        &self.element_strides[..self.rank]
    }

    pub fn l2_promotion(&self) -> L2Promotion {
        self.l2_promotion
    }

    pub fn swizzle(&self) -> Swizzle {
        self.swizzle
    }

    pub fn interleave(&self) -> Interleave {
        self.interleave
    }

    pub fn fill(&self) -> Fill {
        self.fill
    }

    /// Step between the elements taken along a dimension; the innermost has none (docs of the driver call).
    pub fn element_stride(&self, dim: usize) -> u32 {
        if dim == 0 { 1 } else { self.element_strides[dim] }
    }

    /// Elements that a copy takes along a dimension: the box counts those it steps over too.
    pub fn count(&self, dim: usize) -> u32 {
        self.box_dims[dim].div_ceil(self.element_stride(dim))
    }

    /// Bytes of one row of the box.
    pub fn row_bytes(&self) -> u32 {
        self.count(0) * self.element.bytes()
    }

    /// Bytes from row to row in shared memory: a swizzled row takes the swizzle's width, full or not.
    pub fn row_pitch(&self) -> u32 {
        if self.swizzle == Swizzle::None { self.row_bytes() } else { self.swizzle.width() }
    }

    /// Bytes that one copy moves and its mbarrier counts, those outside the tensor too.
    pub fn box_bytes(&self) -> u64 {
        (1..self.rank).map(|d| self.count(d) as u64).product::<u64>() * self.row_bytes() as u64
    }
}
