//! Runs of elements between a tensor's dtype and the class a tile holds them in.
//!
//! A run is `n` elements at a constant stride. Contiguous runs of the common dtypes go through loops the compiler
//! vectorises; every other combination goes element by element through `tile_tensor::convert`, which defines the
//! formats.

use super::Class;
use half::slice::HalfFloatSliceExt;
use std::sync::atomic::{AtomicU8, Ordering};
use tile_base::DType;
use tile_tensor::convert::{decode, decode_int, encode, encode_int, saturate};

/// A run in a tensor: element `position` from `ptr`, then every `stride` elements.
#[derive(Clone, Copy)]
pub struct Run {
    pub ptr: *mut u8,
    pub dtype: DType,
    pub position: i64,
    pub stride: i64,
}

/// A run in a tile; `stride` in elements.
#[derive(Clone, Copy)]
pub struct TileRun {
    pub ptr: *mut u8,
    pub class: Class,
    pub stride: i64,
}

impl Run {
    fn at<T>(&self, i: usize) -> *mut T {
        (self.ptr as *mut T).wrapping_offset((self.position + i as i64 * self.stride) as isize)
    }

    /// # Safety
    /// The run lies in the tensor.
    unsafe fn slice<T>(&self, n: usize) -> Option<&'static [T]> {
        // SAFETY: as the caller promised; the slice does not outlive the call that made it.
        (self.stride == 1 || n == 1).then(|| unsafe { std::slice::from_raw_parts(self.at::<T>(0), n) })
    }

    unsafe fn slice_mut<T>(&self, n: usize) -> Option<&'static mut [T]> {
        // SAFETY: as above; one instance alone writes these elements.
        (self.stride == 1 || n == 1).then(|| unsafe { std::slice::from_raw_parts_mut(self.at::<T>(0), n) })
    }

    unsafe fn bits(&self, i: usize) -> u64 {
        // SAFETY: element `i` of the run exists.
        unsafe {
            match self.dtype.bits() {
                64 => *self.at::<u64>(i),
                32 => *self.at::<u32>(i) as u64,
                16 => *self.at::<u16>(i) as u64,
                8 => *self.at::<u8>(i) as u64,
                bits => {
                    let bit = (self.position + i as i64 * self.stride) as usize * bits;
                    (*self.ptr.add(bit / 8) >> (bit % 8)) as u64 & ((1 << bits) - 1)
                }
            }
        }
    }

    unsafe fn set_bits(&self, i: usize, value: u64) {
        // SAFETY: element `i` of the run exists and is this instance's to write.
        unsafe {
            match self.dtype.bits() {
                64 => *self.at::<u64>(i) = value,
                32 => *self.at::<u32>(i) = value as u32,
                16 => *self.at::<u16>(i) = value as u16,
                8 => *self.at::<u8>(i) = value as u8,
                bits => {
                    // A neighbour in the same byte may belong to another thread.
                    let bit = (self.position + i as i64 * self.stride) as usize * bits;
                    let mask = (((1u16 << bits) - 1) as u8) << (bit % 8);
                    let byte = AtomicU8::from_ptr(self.ptr.add(bit / 8));
                    let set = |b: u8| Some(b & !mask | (value as u8) << (bit % 8) & mask);
                    let _ = byte.fetch_update(Ordering::Relaxed, Ordering::Relaxed, set);
                }
            }
        }
    }
}

impl TileRun {
    pub fn at<T>(&self, i: usize) -> *mut T {
        (self.ptr as *mut T).wrapping_offset(i as isize * self.stride as isize)
    }

    unsafe fn slice<T>(&self, n: usize) -> Option<&'static mut [T]> {
        // SAFETY: the tile has room for the run; the slice does not outlive the call that made it.
        (self.stride == 1 || n == 1).then(|| unsafe { std::slice::from_raw_parts_mut(self.ptr as *mut T, n) })
    }

    /// Writes one 64-bit word as the class holds it (floats as f64 bits, integers as i64, bools as 0 or 1).
    pub unsafe fn fill(&self, n: usize, word: u64) {
        // SAFETY: the tile has room for the run.
        unsafe {
            for i in 0..n {
                match self.class {
                    Class::F32 => *self.at::<f32>(i) = f64::from_bits(word) as f32,
                    Class::F64 => *self.at::<u64>(i) = word,
                    Class::I32 => *self.at::<i32>(i) = word as i32,
                    Class::I64 => *self.at::<u64>(i) = word,
                    Class::Bool => *self.at::<i32>(i) = if word != 0 { -1 } else { 0 },
                }
            }
        }
    }
}

/// Tensor to tile.
///
/// # Safety
/// Both runs of `n` elements exist.
pub unsafe fn read(from: Run, to: TileRun, n: usize) {
    // SAFETY: as the caller promised.
    unsafe {
        match (from.dtype, to.class) {
            (DType::F32 | DType::Tf32, Class::F32) | (DType::I32, Class::I32) => {
                match (from.slice::<f32>(n), to.slice::<f32>(n)) {
                    (Some(s), Some(d)) => d.copy_from_slice(s),
                    _ => (0..n).for_each(|i| *to.at::<u32>(i) = *from.at::<u32>(i)),
                }
            }
            (DType::F64, Class::F64) | (DType::I64, Class::I64) => {
                (0..n).for_each(|i| *to.at::<u64>(i) = *from.at::<u64>(i))
            }
            (DType::I32, Class::I64) => (0..n).for_each(|i| *to.at::<i64>(i) = *from.at::<i32>(i) as i64),
            (DType::Bf16, Class::F32) => match (from.slice::<u16>(n), to.slice::<u32>(n)) {
                (Some(s), Some(d)) => d.iter_mut().zip(s).for_each(|(d, s)| *d = (*s as u32) << 16),
                _ => (0..n).for_each(|i| *to.at::<u32>(i) = (*from.at::<u16>(i) as u32) << 16),
            },
            (DType::F16, Class::F32) => match (from.slice::<half::f16>(n), to.slice::<f32>(n)) {
                (Some(s), Some(d)) => s.convert_to_f32_slice(d),
                _ => (0..n).for_each(|i| *to.at::<f32>(i) = (*from.at::<half::f16>(i)).to_f32()),
            },
            (DType::Bool, Class::Bool) => {
                (0..n).for_each(|i| *to.at::<i32>(i) = -((*from.at::<u8>(i) != 0) as i32))
            }
            (d, Class::I32) => (0..n).for_each(|i| *to.at::<i32>(i) = decode_int(d, from.bits(i)) as i32),
            (d, Class::I64) => (0..n).for_each(|i| *to.at::<i64>(i) = decode_int(d, from.bits(i))),
            (d, Class::F32) => read_small(d, from, to, n),
            (d, Class::F64) => (0..n).for_each(|i| *to.at::<f64>(i) = decode(d, from.bits(i))),
            (d, Class::Bool) => {
                (0..n).for_each(|i| *to.at::<i32>(i) = -((decode_int(d, from.bits(i)) != 0) as i32))
            }
        }
    }
}

/// Formats of at most 8 bits, through a table of their values.
unsafe fn read_small(dtype: DType, from: Run, to: TileRun, n: usize) {
    use std::sync::OnceLock;
    static TABLES: [OnceLock<Box<[f32]>>; 3] = [const { OnceLock::new() }; 3];
    let at = match dtype {
        DType::F8e4m3 => 0,
        DType::F8e5m2 => 1,
        DType::F4e2m1 => 2,
        // SAFETY: as the caller promised.
        _ => return (0..n).for_each(|i| unsafe { *to.at::<f32>(i) = decode(dtype, from.bits(i)) as f32 }),
    };
    let table =
        TABLES[at].get_or_init(|| (0..1u64 << dtype.bits()).map(|b| decode(dtype, b) as f32).collect());
    // SAFETY: as the caller promised.
    (0..n).for_each(|i| unsafe { *to.at::<f32>(i) = table[from.bits(i) as usize] });
}

/// Tile to tensor, rounding what the tile holds wider than the tensor.
///
/// # Safety
/// Both runs of `n` elements exist and the tensor's is this instance's to write.
pub unsafe fn write(from: TileRun, to: Run, n: usize) {
    // SAFETY: as the caller promised.
    unsafe {
        match (from.class, to.dtype) {
            (Class::F32, DType::F32 | DType::Tf32) | (Class::I32, DType::I32) => {
                match (from.slice::<u32>(n), to.slice_mut::<u32>(n)) {
                    (Some(s), Some(d)) => d.copy_from_slice(s),
                    _ => (0..n).for_each(|i| *to.at::<u32>(i) = *from.at::<u32>(i)),
                }
            }
            (Class::F64, DType::F64) | (Class::I64, DType::I64) => {
                (0..n).for_each(|i| *to.at::<u64>(i) = *from.at::<u64>(i))
            }
            (Class::F32, DType::Bf16) => match (from.slice::<f32>(n), to.slice_mut::<u16>(n)) {
                (Some(s), Some(d)) => d.iter_mut().zip(s).for_each(|(d, s)| *d = bf16_bits(*s)),
                _ => (0..n).for_each(|i| *to.at::<u16>(i) = bf16_bits(*from.at::<f32>(i))),
            },
            (Class::F32, DType::F16) => match (from.slice::<f32>(n), to.slice_mut::<half::f16>(n)) {
                (Some(s), Some(d)) => d.convert_from_f32_slice(s),
                _ => (0..n).for_each(|i| *to.at::<half::f16>(i) = half::f16::from_f32(*from.at::<f32>(i))),
            },
            (Class::F32, d) => (0..n).for_each(|i| to.set_bits(i, encode(d, *from.at::<f32>(i) as f64))),
            (Class::F64, d) => (0..n).for_each(|i| to.set_bits(i, encode(d, *from.at::<f64>(i)))),
            (Class::I32, d) => {
                (0..n).for_each(|i| to.set_bits(i, encode_int(d, saturate(d, *from.at::<i32>(i) as i64))))
            }
            (Class::I64, d) => {
                (0..n).for_each(|i| to.set_bits(i, encode_int(d, saturate(d, *from.at::<i64>(i)))))
            }
            (Class::Bool, d) => {
                (0..n).for_each(|i| to.set_bits(i, encode_int(d, (*from.at::<i32>(i) != 0) as i64)))
            }
        }
    }
}

/// `tensor += tile`, in the tensor's dtype.
///
/// # Safety
/// As [`write`].
pub unsafe fn accumulate(from: TileRun, to: Run, n: usize) {
    // SAFETY: as the caller promised.
    unsafe {
        match (from.class, to.dtype) {
            (Class::F32, DType::F32) => match (from.slice::<f32>(n), to.slice_mut::<f32>(n)) {
                (Some(s), Some(d)) => d.iter_mut().zip(s).for_each(|(d, s)| *d += *s),
                _ => (0..n).for_each(|i| *to.at::<f32>(i) += *from.at::<f32>(i)),
            },
            (Class::F64, DType::F64) => (0..n).for_each(|i| *to.at::<f64>(i) += *from.at::<f64>(i)),
            (Class::I32, d) => (0..n).for_each(|i| {
                let sum = decode_int(d, to.bits(i)).wrapping_add(*from.at::<i32>(i) as i64);
                to.set_bits(i, encode_int(d, sum));
            }),
            (Class::I64, d) => (0..n).for_each(|i| {
                let sum = decode_int(d, to.bits(i)).wrapping_add(*from.at::<i64>(i));
                to.set_bits(i, encode_int(d, sum));
            }),
            (Class::F32, d) => (0..n).for_each(|i| {
                to.set_bits(i, encode(d, decode(d, to.bits(i)) + *from.at::<f32>(i) as f64));
            }),
            (Class::F64, d) => (0..n).for_each(|i| {
                to.set_bits(i, encode(d, decode(d, to.bits(i)) + *from.at::<f64>(i)));
            }),
            (Class::Bool, _) => {}
        }
    }
}

#[inline(always)]
fn bf16_bits(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    if x.is_nan() { (bits >> 16 | 0x40) as u16 } else { rounded as u16 }
}
