//! A tensor in host memory: dtype, shape, strides in elements, bytes.
//!
//! Elements of less than a byte lie low bits first along the axis of stride 1 (language rule 8): element `p` of a
//! 4-bit tensor is in byte `p / 2`, in its low half when `p` is even. Positions count elements from the first byte
//! of the storage, so views (transposed, sliced, strided) are a change of `shape`, `strides` and `offset` alone:
//!
//! ```
//! use tile_tensor::Tensor;
//! use tile_base::DType;
//! let a = Tensor::from_f64(DType::F16, &[2, 3], &[0., 1., 2., 3., 4., 5.]);
//! let t = a.permuted(&[1, 0]);
//! assert_eq!((t.shape.as_slice(), t.strides.as_slice()), (&[3, 2][..], &[1, 3][..]));
//! assert_eq!(t.get_f64(&[2, 1]), 5.0);
//! assert_eq!(t.to_f64_vec(), [0., 3., 1., 4., 2., 5.]);
//! ```
//!
//! Invariant: every position that the shape and strides can reach lies inside the storage; constructors and views
//! keep it, so reading and writing elements cannot fail. `clone` copies the elements; a view shares them until one
//! side is written (then that side gets its own copy).

use crate::{buffer::Buffer, convert};
use rayon::prelude::*;
use std::sync::Arc;
use tile_base::DType;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    #[error("the shape {0:?} has more elements than 63 bits count")]
    Overflow(Vec<usize>),
    #[error("the machine does not give {0} bytes")]
    Memory(usize),
    #[error("a tensor of shape {shape:?} has {expected} elements, not {given}")]
    Count { shape: Vec<usize>, expected: usize, given: usize },
    #[error("shape {shape:?} with strides {strides:?} from element {offset} leaves the storage")]
    Outside { shape: Vec<usize>, strides: Vec<i64>, offset: usize },
}

#[derive(Debug)]
pub struct Tensor {
    pub dtype: DType,
    pub shape: Vec<usize>,
    /// In elements, one per axis; may be 0 or negative.
    pub strides: Vec<i64>,
    /// Position of element `[0, 0, ...]` from the start of the storage, in elements.
    offset: usize,
    storage: Arc<Buffer>,
}

impl Clone for Tensor {
    /// A copy of its own storage (same strides).
    fn clone(&self) -> Self {
        Tensor { storage: Arc::new(Buffer::clone(&self.storage)), ..self.share() }
    }
}

/// Strides of a dense tensor whose last axis is the unit one.
pub fn row_major(shape: &[usize]) -> Vec<i64> {
    let mut strides = vec![1i64; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] =
            strides[axis].saturating_mul(i64::try_from(shape[axis].max(1)).unwrap_or(i64::MAX));
    }
    strides
}

/// Number of elements, or `None` beyond 63 bits.
pub fn element_count(shape: &[usize]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    let n = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
    (n <= i64::MAX as usize / 8).then_some(n)
}

/// Bytes that `count` elements need.
pub fn bytes_of(dtype: DType, count: usize) -> Option<usize> {
    Some(count.checked_mul(dtype.bits())?.div_ceil(8))
}

impl Tensor {
    /// All zero, dense. For shapes that come from a user: see [`Tensor::zeros`] for those that cannot fail.
    pub fn try_zeros(dtype: DType, shape: &[usize]) -> Result<Tensor, TensorError> {
        let overflow = || TensorError::Overflow(shape.to_vec());
        let count = element_count(shape).ok_or_else(overflow)?;
        let bytes = bytes_of(dtype, count).ok_or_else(overflow)?;
        let storage = Buffer::zeroed(bytes).ok_or(TensorError::Memory(bytes))?;
        let strides = row_major(shape);
        Ok(Tensor { dtype, shape: shape.to_vec(), strides, offset: 0, storage: Arc::new(storage) })
    }

    /// All zero, dense.
    ///
    /// # Panics
    /// When the machine has no room; use [`Tensor::try_zeros`] for shapes that a user gave.
    pub fn zeros(dtype: DType, shape: &[usize]) -> Tensor {
        Self::try_zeros(dtype, shape).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Dense, from values in logical (row-major) order, rounded to the dtype.
    pub fn try_from_f64(dtype: DType, shape: &[usize], values: &[f64]) -> Result<Tensor, TensorError> {
        let mut t = Self::try_zeros(dtype, shape)?;
        let expected = t.len();
        if values.len() != expected {
            return Err(TensorError::Count { shape: shape.to_vec(), expected, given: values.len() });
        }
        t.fill_with(|i| values[i]);
        Ok(t)
    }

    /// # Panics
    /// When `values` are not as many as the shape says.
    pub fn from_f64(dtype: DType, shape: &[usize], values: &[f64]) -> Tensor {
        Self::try_from_f64(dtype, shape, values).unwrap_or_else(|e| panic!("{e}"))
    }

    /// A dense f32 tensor. # Panics as [`Tensor::from_f64`].
    pub fn from_f32(shape: &[usize], values: &[f32]) -> Tensor {
        let wide: Vec<f64> = values.iter().map(|&v| v as f64).collect();
        Self::from_f64(DType::F32, shape, &wide)
    }

    /// A dense i32 tensor. # Panics as [`Tensor::from_f64`].
    pub fn from_i32(shape: &[usize], values: &[i32]) -> Tensor {
        let wide: Vec<f64> = values.iter().map(|&v| v as f64).collect();
        Self::from_f64(DType::I32, shape, &wide)
    }

    /// A dense i64 tensor. # Panics as [`Tensor::from_f64`].
    pub fn from_i64(shape: &[usize], values: &[i64]) -> Tensor {
        let mut t = Self::zeros(DType::I64, shape);
        assert_eq!(values.len(), t.len(), "as many values as the shape says");
        for (at, &v) in values.iter().enumerate() {
            t.set_i64_linear(at, v);
        }
        t
    }

    /// Dense, over bytes as they are stored (little-endian). The count must fit exactly.
    pub fn from_bytes(dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Tensor, TensorError> {
        let mut t = Self::try_zeros(dtype, shape)?;
        let expected = t.storage.as_slice().len();
        if bytes.len() != expected {
            return Err(TensorError::Count { shape: shape.to_vec(), expected, given: bytes.len() });
        }
        t.bytes_mut().copy_from_slice(bytes);
        Ok(t)
    }

    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        element_count(&self.shape).unwrap_or(usize::MAX)
    }

    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// Whether the elements lie one after the other in logical order.
    pub fn is_dense(&self) -> bool {
        let dense = row_major(&self.shape);
        self.is_empty() || (0..self.rank()).all(|a| self.shape[a] == 1 || self.strides[a] == dense[a])
    }

    /// The whole storage; element `[0, ...]` is at [`Tensor::offset`].
    pub fn bytes(&self) -> &[u8] {
        self.storage.as_slice()
    }

    /// The whole storage to write to; a view that shares it gets its own copy first.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        Arc::make_mut(&mut self.storage).as_mut_slice()
    }

    /// Position of the first element, in elements from the start of the storage.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Position of an element from the start of the storage, in elements.
    pub fn position(&self, at: &[usize]) -> usize {
        debug_assert!(at.len() == self.rank() && at.iter().zip(&self.shape).all(|(i, d)| i < d), "{at:?}");
        let shift: i64 = at.iter().zip(&self.strides).map(|(&i, &s)| i as i64 * s).sum();
        (self.offset as i64 + shift) as usize
    }

    /// The multi-index of a logical (row-major) position.
    pub fn unravel(&self, mut linear: usize) -> Vec<usize> {
        let mut at = vec![0; self.rank()];
        for axis in (0..self.rank()).rev() {
            let d = self.shape[axis].max(1);
            at[axis] = linear % d;
            linear /= d;
        }
        at
    }

    fn bits_at(&self, position: usize) -> u64 {
        load(self.bytes(), self.dtype, position)
    }

    pub fn get_f64(&self, at: &[usize]) -> f64 {
        convert::decode(self.dtype, self.bits_at(self.position(at)))
    }

    pub fn get_f64_linear(&self, linear: usize) -> f64 {
        self.get_f64(&self.unravel(linear))
    }

    /// The element as an integer; a float is truncated.
    pub fn get_i64(&self, at: &[usize]) -> i64 {
        let bits = self.bits_at(self.position(at));
        if self.dtype.is_float() {
            convert::to_int(DType::I64, convert::decode(self.dtype, bits))
        } else {
            convert::decode_int(self.dtype, bits)
        }
    }

    pub fn get_i64_linear(&self, linear: usize) -> i64 {
        self.get_i64(&self.unravel(linear))
    }

    /// Writes the value of the dtype nearest to `v`.
    pub fn set_f64(&mut self, at: &[usize], v: f64) {
        let (dtype, position) = (self.dtype, self.position(at));
        store(self.bytes_mut(), dtype, position, convert::encode(dtype, v));
    }

    pub fn set_f64_linear(&mut self, linear: usize, v: f64) {
        self.set_f64(&self.unravel(linear), v);
    }

    /// Writes an integer, moved into the range of the dtype.
    pub fn set_i64(&mut self, at: &[usize], v: i64) {
        let (dtype, position) = (self.dtype, self.position(at));
        let bits = match dtype.is_float() {
            true => convert::encode(dtype, v as f64),
            false => convert::encode_int(dtype, convert::saturate(dtype, v)),
        };
        store(self.bytes_mut(), dtype, position, bits);
    }

    pub fn set_i64_linear(&mut self, linear: usize, v: i64) {
        self.set_i64(&self.unravel(linear), v);
    }

    /// The storage position of each element, in logical (row-major) order.
    pub fn positions(&self) -> Positions {
        Positions::of(self)
    }

    /// The elements in logical (row-major) order.
    pub fn to_f64_vec(&self) -> Vec<f64> {
        let (bytes, dtype) = (self.bytes(), self.dtype);
        self.positions().map(|p| convert::decode(dtype, load(bytes, dtype, p))).collect()
    }

    /// The elements in logical order as integers (floats truncated).
    pub fn to_i64_vec(&self) -> Vec<i64> {
        if self.dtype.is_float() {
            return self.to_f64_vec().into_iter().map(|v| convert::to_int(DType::I64, v)).collect();
        }
        let (bytes, dtype) = (self.bytes(), self.dtype);
        self.positions().map(|p| convert::decode_int(dtype, load(bytes, dtype, p))).collect()
    }

    /// Sets each element from its logical position.
    pub fn fill_with(&mut self, mut f: impl FnMut(usize) -> f64) {
        let (dtype, walk) = (self.dtype, Positions::of(self));
        let bytes = self.bytes_mut();
        for (linear, p) in walk.enumerate() {
            store(bytes, dtype, p, convert::encode(dtype, f(linear)));
        }
    }

    /// Sets each element of a dense tensor, blocks of them side by side: `start` makes what a block draws from, given the
    /// position of its first element.
    pub fn fill_blocks<S>(&mut self, start: impl Fn(usize) -> S + Sync, next: impl Fn(&mut S) -> f64 + Sync) {
        /// Elements; whole bytes of every dtype.
        const BLOCK: usize = 1 << 16;
        debug_assert!(self.is_dense() && self.offset == 0);
        let (dtype, count) = (self.dtype, self.len());
        let blocks = self.bytes_mut().par_chunks_mut(BLOCK * dtype.bits() / 8);
        blocks.enumerate().for_each(|(block, bytes)| {
            let first = block * BLOCK;
            let mut state = start(first);
            for at in 0..BLOCK.min(count - first) {
                store(bytes, dtype, at, convert::encode(dtype, next(&mut state)));
            }
        });
    }

    /// The same elements rounded to another dtype, dense.
    pub fn to_dtype(&self, dtype: DType) -> Tensor {
        let mut out = Tensor::zeros(dtype, &self.shape);
        if self.dtype.is_float() || dtype.is_float() {
            let values = self.to_f64_vec();
            out.fill_with(|i| values[i]);
        } else {
            for (i, v) in self.to_i64_vec().into_iter().enumerate() {
                out.set_i64_linear(i, v);
            }
        }
        out
    }

    /// The same elements, dense.
    pub fn to_dense(&self) -> Tensor {
        if self.is_dense() && self.offset == 0 && self.bytes().len() == self.dense_bytes() {
            return self.clone();
        }
        let mut out = Tensor::zeros(self.dtype, &self.shape);
        let dtype = self.dtype;
        let (from, to) = (self.bytes(), out.bytes_mut());
        for (linear, p) in self.positions().enumerate() {
            store(to, dtype, linear, load(from, dtype, p));
        }
        out
    }

    /// A dense sub-byte tensor as the `u8` bytes it is stored in; `None` when rows do not fill whole bytes.
    pub fn packed(&self) -> Option<Tensor> {
        let per_byte = 8 / self.dtype.bits().min(8);
        let mut t = self.to_dense();
        let last = t.shape.last_mut().filter(|n| n.is_multiple_of(per_byte))?;
        *last /= per_byte;
        t.strides = row_major(&t.shape);
        t.dtype = DType::U8;
        Some(t)
    }

    /// The inverse of [`Tensor::packed`]: `u8` bytes seen as the elements of a sub-byte dtype, low bits first.
    pub fn unpacked(&self, dtype: DType) -> Option<Tensor> {
        if self.dtype != DType::U8 || dtype.bits() >= 8 {
            return None;
        }
        let mut t = self.to_dense();
        *t.shape.last_mut()? *= 8 / dtype.bits();
        t.strides = row_major(&t.shape);
        t.dtype = dtype;
        Some(t)
    }

    fn dense_bytes(&self) -> usize {
        bytes_of(self.dtype, self.len()).unwrap_or(usize::MAX)
    }

    /// A second handle on the same elements.
    pub fn share(&self) -> Tensor {
        Tensor {
            dtype: self.dtype,
            shape: self.shape.clone(),
            strides: self.strides.clone(),
            offset: self.offset,
            storage: Arc::clone(&self.storage),
        }
    }

    /// A view with any shape and strides, `offset` elements from the start of the storage.
    pub fn view(&self, shape: &[usize], strides: &[i64], offset: usize) -> Result<Tensor, TensorError> {
        let outside = || TensorError::Outside { shape: shape.to_vec(), strides: strides.to_vec(), offset };
        let t = Tensor {
            dtype: self.dtype,
            shape: shape.to_vec(),
            strides: strides.to_vec(),
            offset,
            storage: Arc::clone(&self.storage),
        };
        let capacity = self.bytes().len() * 8 / self.dtype.bits();
        element_count(shape).ok_or_else(outside)?;
        let inside = shape.len() == strides.len()
            && (t.is_empty() || t.extent().is_some_and(|(lo, hi)| lo >= 0 && hi < capacity as i64));
        if inside { Ok(t) } else { Err(outside()) }
    }

    /// Axes in another order: axis `a` of the view is axis `order[a]` of this.
    ///
    /// # Panics
    /// When `order` is not a permutation.
    pub fn permuted(&self, order: &[usize]) -> Tensor {
        let mut seen = order.to_vec();
        seen.sort_unstable();
        assert!(seen.iter().copied().eq(0..self.rank()), "{order:?} is not a permutation");
        let mut t = self.share();
        t.shape = order.iter().map(|&a| self.shape[a]).collect();
        t.strides = order.iter().map(|&a| self.strides[a]).collect();
        t
    }

    /// The last two axes swapped.
    pub fn transposed(&self) -> Tensor {
        let mut order: Vec<usize> = (0..self.rank()).collect();
        let n = order.len();
        order.swap(n - 2, n - 1);
        self.permuted(&order)
    }

    /// The same values stored with gaps: each stride of the copy is `row_major * step` with the last axis'
    /// neighbours `step` elements apart.
    pub fn spread(&self, step: usize) -> Tensor {
        let mut wide_shape = self.shape.clone();
        if let Some(last) = wide_shape.last_mut() {
            *last *= step.max(1);
        }
        let wide = Tensor::zeros(self.dtype, &wide_shape);
        let mut t = Tensor { shape: self.shape.clone(), ..wide };
        if let Some(last) = t.strides.last_mut() {
            *last = step.max(1) as i64;
        }
        let values = self.to_f64_vec();
        t.fill_with(|i| values[i]);
        t
    }

    /// Least and greatest position reached, in elements; `None` for no element or beyond 63 bits.
    pub fn extent(&self) -> Option<(i64, i64)> {
        if self.is_empty() {
            return None;
        }
        let (mut lo, mut hi) = (self.offset as i64, self.offset as i64);
        for (&d, &s) in self.shape.iter().zip(&self.strides) {
            let reach = s.checked_mul(d as i64 - 1)?;
            let end = if reach < 0 { &mut lo } else { &mut hi };
            *end = end.checked_add(reach)?;
        }
        Some((lo, hi))
    }

    /// Whether two different indices may name one element (a stride of 0, or axes that interleave).
    ///
    /// Exact for the usual strided layouts; a layout it cannot see through counts as overlapping.
    pub fn overlaps_itself(&self) -> bool {
        let mut axes: Vec<(i64, i64)> = (0..self.rank())
            .filter(|&a| self.shape[a] > 1)
            .map(|a| (self.strides[a].abs(), self.shape[a] as i64))
            .collect();
        axes.sort_unstable();
        let mut reach = 0i64;
        for (stride, extent) in axes {
            if stride <= reach {
                return !self.is_empty();
            }
            reach = reach.saturating_add(stride.saturating_mul(extent - 1));
        }
        false
    }

    /// Whether an element of one is an element of the other (by address ranges: two that interleave count).
    pub fn overlaps(&self, other: &Tensor) -> bool {
        let range = |t: &Tensor| {
            let (lo, hi) = t.extent()?;
            let bits = t.dtype.bits() as i64;
            let base = t.bytes().as_ptr() as usize as i64;
            Some((base + lo * bits / 8, base + (hi * bits + bits - 1) / 8))
        };
        matches!((range(self), range(other)), (Some((a, b)), Some((c, d))) if a <= d && c <= b)
    }

    /// Address of element `[0, ...]`, for backends. `None` when it does not start at a byte.
    pub fn as_ptr(&self) -> Option<*const u8> {
        let bit = self.offset * self.dtype.bits();
        bit.is_multiple_of(8).then(|| self.bytes().as_ptr().wrapping_add(bit / 8))
    }

    /// Address of element `[0, ...]` to write to. A view that shares its storage gets its own copy first.
    pub fn as_mut_ptr(&mut self) -> Option<*mut u8> {
        let bit = self.offset * self.dtype.bits();
        bit.is_multiple_of(8).then(|| self.bytes_mut().as_mut_ptr().wrapping_add(bit / 8))
    }
}

/// Storage positions in logical order: an odometer over the index, last axis fastest.
pub struct Positions {
    shape: Vec<usize>,
    strides: Vec<i64>,
    at: Vec<usize>,
    next: i64,
    left: usize,
}

impl Positions {
    fn of(t: &Tensor) -> Positions {
        Positions {
            shape: t.shape.clone(),
            strides: t.strides.clone(),
            at: vec![0; t.rank()],
            next: t.offset as i64,
            left: t.len(),
        }
    }
}

impl Iterator for Positions {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let here = self.next;
        for axis in (0..self.at.len()).rev() {
            self.at[axis] += 1;
            self.next += self.strides[axis];
            if self.at[axis] < self.shape[axis] {
                break;
            }
            self.next -= self.strides[axis] * self.shape[axis] as i64;
            self.at[axis] = 0;
        }
        Some(here as usize)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// The bits of the element at a storage position (in elements).
pub fn load(bytes: &[u8], dtype: DType, position: usize) -> u64 {
    let bits = dtype.bits();
    let le = |n: usize| {
        let mut word = [0u8; 8];
        word[..n].copy_from_slice(&bytes[position * n..position * n + n]);
        u64::from_le_bytes(word)
    };
    match bits {
        8.. => le(bits / 8),
        _ => {
            let bit = position * bits;
            (bytes[bit / 8] >> (bit % 8)) as u64 & ((1 << bits) - 1)
        }
    }
}

/// Writes the bits of the element at a storage position (in elements).
pub fn store(bytes: &mut [u8], dtype: DType, position: usize, value: u64) {
    let bits = dtype.bits();
    match bits {
        8.. => {
            let n = bits / 8;
            bytes[position * n..position * n + n].copy_from_slice(&value.to_le_bytes()[..n]);
        }
        _ => {
            let bit = position * bits;
            let mask = ((1u8 << bits) - 1) << (bit % 8);
            let byte = &mut bytes[bit / 8];
            *byte = *byte & !mask | (value as u8) << (bit % 8) & mask;
        }
    }
}
