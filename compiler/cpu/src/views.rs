//! Parts of tensors as launches get them.

use crate::runtime::{MAX_RANK, ObjectRecord};
use tile_base::{DType, IndexKind, Size};
use tile_host::Region;
use tile_tensor::Tensor;

/// A rectangular part of a parameter or a temporary.
#[derive(Clone)]
pub struct View {
    ptr: *mut u8,
    /// In elements; only for elements smaller than a byte, else in `ptr`.
    offset: i64,
    pub dtype: DType,
    pub shape: Vec<usize>,
    strides: Vec<i64>,
}

impl View {
    /// A whole tensor. It has to outlive the view, and to be written only if `write`.
    pub fn of(tensor: &mut Tensor, write: bool) -> View {
        let small = tensor.dtype.bits() < 8;
        let start = if write { tensor.bytes_mut().as_mut_ptr() } else { tensor.bytes().as_ptr() as *mut u8 };
        let offset = tensor.offset() as i64;
        let (ptr, offset) = match small {
            true => (start, offset),
            false => (start.wrapping_offset(offset as isize * tensor.dtype.bits() as isize / 8), 0),
        };
        View {
            ptr,
            offset,
            dtype: tensor.dtype,
            shape: tensor.shape.clone(),
            strides: tensor.strides.clone(),
        }
    }

    /// A part of a whole tensor.
    pub fn part(self, region: &Region) -> View {
        let (moved, strides) = region.place(&self.strides);
        let bits = self.dtype.bits() as i64;
        let (ptr, offset) = match bits {
            8.. => (self.ptr.wrapping_offset((moved * bits / 8) as isize), self.offset),
            _ => (self.ptr, self.offset + moved),
        };
        View { ptr, offset, dtype: self.dtype, shape: region.shape(), strides }
    }

    /// Whether neighbours along the last axis are neighbours in memory.
    pub fn unit(&self) -> bool {
        self.strides.last().is_none_or(|&s| s == 1) || self.shape.last().is_some_and(|&n| n <= 1)
    }

    /// The record; axes that the tensor has not have one element.
    pub fn record(&self) -> ObjectRecord {
        let mut record = ObjectRecord {
            ptr: self.ptr,
            offset: self.offset,
            dims: [1; MAX_RANK],
            strides: [0; MAX_RANK],
            dtype: self.dtype,
            least: i64::MIN,
            greatest: i64::MAX,
        };
        for (d, (&n, &s)) in self.shape.iter().zip(&self.strides).enumerate() {
            record.dims[d] = n as i64;
            record.strides[d] = s;
        }
        record
    }
}

/// The values that an element of an index tensor may have (language rule 12).
pub fn limits(kind: &IndexKind, dims: &dyn Fn(&str) -> Option<i64>) -> Option<(i64, i64)> {
    let of = |n: &Size| n.eval(dims).ok();
    Some(match kind {
        IndexKind::Id(n) => (0, of(n)? - 1),
        IndexKind::IdOrNone(n) => (-1, of(n)? - 1),
        IndexKind::Count(n) | IndexKind::Offsets(n) => (0, of(n)?),
    })
}
