//! Packing of dot operands: panels of `W` neighbouring rows (or columns), contraction axis outermost, so that the
//! microkernel reads memory in order whatever the strides of the tile were.
//!
//! ```text
//! panel p of A (W = 14):  a[14p + 0, k0] .. a[14p + 13, k0] | a[14p + 0, k1] .. | ..
//! ```
//!
//! An operand that stays the same over a loop (the keys of a block, while the queries go by) is packed once: a few packed
//! operands are kept under where they came from. Only what lies in a tensor that the launch does not write may be
//! kept, and only until the launch ends.

use std::alloc::{Layout, alloc, dealloc};

/// Packing buffers of one thread; they grow to the largest dot and stay.
pub struct Packing {
    a: Grown,
    b: Grown,
    kept: [Kept; KEPT],
    /// Counts the uses of what is kept.
    uses: u64,
}

/// Operands kept: a body of a loop has few that stay.
const KEPT: usize = 4;

/// Where a right operand lies, its strides and its extents n and k: as long as the tensor is not written, what it is.
pub type Origin = (*const f32, isize, isize, usize, usize);

struct Kept {
    memory: Grown,
    origin: Option<Origin>,
    used: u64,
}

struct Grown {
    ptr: *mut f32,
    len: usize,
}

impl Grown {
    const EMPTY: Grown = Grown { ptr: std::ptr::null_mut(), len: 0 };

    fn at_least(&mut self, len: usize) -> *mut f32 {
        if len > self.len {
            self.free();
            let layout = Self::layout(len);
            // SAFETY: the size is not 0.
            self.ptr = unsafe { alloc(layout) as *mut f32 };
            if self.ptr.is_null() {
                std::alloc::handle_alloc_error(layout);
            }
            self.len = len;
        }
        self.ptr
    }

    fn layout(len: usize) -> Layout {
        Layout::from_size_align(len * 4, 64).expect("a packing buffer of a few MiB")
    }

    fn free(&mut self) {
        if self.len > 0 {
            // SAFETY: allocated above with this layout.
            unsafe { dealloc(self.ptr as *mut u8, Self::layout(self.len)) }
        }
    }
}

impl Drop for Grown {
    fn drop(&mut self) {
        self.free();
    }
}

impl Default for Packing {
    fn default() -> Self {
        let kept = || Kept { memory: Grown::EMPTY, origin: None, used: 0 };
        Packing { a: Grown::EMPTY, b: Grown::EMPTY, kept: std::array::from_fn(|_| kept()), uses: 0 }
    }
}

impl Packing {
    pub fn buffers(&mut self, a: usize, b: usize) -> (*mut f32, *mut f32) {
        (self.a.at_least(a.max(1)), self.b.at_least(b.max(1)))
    }

    /// The place of a right operand that stays, and whether it has been packed there already.
    pub fn kept(&mut self, origin: Origin, len: usize) -> (*mut f32, bool) {
        self.uses += 1;
        let known = self.kept.iter().position(|k| k.origin == Some(origin));
        let oldest = || (0..KEPT).min_by_key(|&n| self.kept[n].used).unwrap_or(0);
        let slot = &mut self.kept[known.unwrap_or_else(oldest)];
        (slot.origin, slot.used) = (Some(origin), self.uses);
        (slot.memory.at_least(len.max(1)), known.is_some())
    }

    /// Another launch: tensors may hold something else.
    pub fn forget(&mut self) {
        self.kept.iter_mut().for_each(|k| k.origin = None);
    }
}

#[cfg(target_arch = "x86_64")]
pub mod avx512 {
    use std::arch::x86_64::*;

    /// Packs `n` rows of `k` elements into panels of `W` (at most 32); rows that are missing in the last panel are 0.
    ///
    /// # Safety
    /// `src` has the rows at the strides given, `dst` has room for `n` rounded up to panels.
    #[target_feature(enable = "avx512f")]
    pub unsafe fn pack<const W: usize>(
        dst: *mut f32,
        n: usize,
        k: usize,
        src: *const f32,
        row: isize,
        column: isize,
    ) {
        let mut done = 0;
        while done < n {
            let count = W.min(n - done);
            // SAFETY: offsets lie within the operand by the caller's promise.
            unsafe {
                let s = src.offset(done as isize * row);
                let d = dst.add(done * k);
                match (row, column) {
                    (1, _) => copy_rows::<W>(d, count, k, s, column),
                    (_, 1) => transpose::<W>(d, count, k, s, row),
                    _ => one_by_one::<W>(d, 0, count, 0..k, s, row, column),
                }
            }
            done += W;
        }
    }

    #[target_feature(enable = "avx512f")]
    unsafe fn copy_rows<const W: usize>(d: *mut f32, count: usize, k: usize, s: *const f32, column: isize) {
        let mask = ((1u64 << count) - 1) as u32;
        for at in 0..k {
            // SAFETY: masked loads touch `count` elements only; a panel's row holds W, the stores write W.
            unsafe {
                let (from, to) = (s.offset(at as isize * column), d.add(at * W));
                let low = _mm512_maskz_loadu_ps(mask as u16, from);
                if W > 16 {
                    let high = _mm512_maskz_loadu_ps((mask >> 16) as u16, from.wrapping_add(16));
                    _mm512_storeu_ps(to, low);
                    _mm512_mask_storeu_ps(to.add(16), ((1u32 << (W - 16)) - 1) as u16, high);
                } else {
                    _mm512_mask_storeu_ps(to, ((1u32 << W) - 1) as u16, low);
                }
            }
        }
    }

    /// 16 × 16 blocks through registers, the rest element by element.
    #[target_feature(enable = "avx512f")]
    unsafe fn transpose<const W: usize>(d: *mut f32, count: usize, k: usize, s: *const f32, row: isize) {
        let whole = k / 16 * 16;
        let mut first = 0;
        while first < W {
            let width = 16.min(W - first);
            let rows = count.saturating_sub(first).min(width);
            let mask = ((1u32 << width) - 1) as u16;
            for at in (0..whole).step_by(16) {
                // SAFETY: 16 elements of existing rows; stores are masked to the panel's width.
                unsafe {
                    let from = s.offset(first as isize * row).add(at);
                    let block = match rows {
                        16 => load_rows::<16>(from, row),
                        14 => load_rows::<14>(from, row),
                        _ => load_some_rows(rows, from, row),
                    };
                    let block = transpose16(block);
                    for (c, line) in block.into_iter().enumerate() {
                        _mm512_mask_storeu_ps(d.add((at + c) * W + first), mask, line);
                    }
                }
            }
            first += 16;
        }
        if whole < k {
            // SAFETY: as the caller promised.
            unsafe { one_by_one::<W>(d, 0, count, whole..k, s, row, 1) }
        }
    }

    /// `R` rows of 16 elements; the rest of the block is 0. A constant count keeps the block in registers.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load_rows<const R: usize>(from: *const f32, row: isize) -> [__m512; 16] {
        let mut block = [_mm512_setzero_ps(); 16];
        for (r, line) in block.iter_mut().enumerate().take(R) {
            // SAFETY: as the caller promised.
            *line = unsafe { _mm512_loadu_ps(from.offset(r as isize * row)) };
        }
        block
    }

    #[target_feature(enable = "avx512f")]
    unsafe fn load_some_rows(rows: usize, from: *const f32, row: isize) -> [__m512; 16] {
        let mut block = [_mm512_setzero_ps(); 16];
        for (r, line) in block.iter_mut().enumerate().take(rows) {
            // SAFETY: as the caller promised.
            *line = unsafe { _mm512_loadu_ps(from.offset(r as isize * row)) };
        }
        block
    }

    unsafe fn one_by_one<const W: usize>(
        d: *mut f32,
        first: usize,
        count: usize,
        k: std::ops::Range<usize>,
        s: *const f32,
        row: isize,
        column: isize,
    ) {
        for at in k {
            for w in first..W {
                // SAFETY: only existing elements are read.
                unsafe {
                    let x = if w < count { *s.offset(w as isize * row + at as isize * column) } else { 0.0 };
                    *d.add(at * W + w) = x;
                }
            }
        }
    }

    /// Rows to columns: pairs of 32-bit, of 64-bit, of 128-bit lanes.
    #[target_feature(enable = "avx512f")]
    fn transpose16(r: [__m512; 16]) -> [__m512; 16] {
        let mut t = r;
        for i in 0..8 {
            t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
            t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
        }
        let mut q = t;
        for i in 0..4 {
            let [a, b, c, d] = [0, 1, 2, 3].map(|n| _mm512_castps_pd(t[4 * i + n]));
            q[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
            q[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
            q[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
            q[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
        }
        for i in 0..4 {
            t[i] = _mm512_shuffle_f32x4::<0x88>(q[i], q[4 + i]);
            t[4 + i] = _mm512_shuffle_f32x4::<0xdd>(q[i], q[4 + i]);
            t[8 + i] = _mm512_shuffle_f32x4::<0x88>(q[8 + i], q[12 + i]);
            t[12 + i] = _mm512_shuffle_f32x4::<0xdd>(q[8 + i], q[12 + i]);
        }
        for i in 0..4 {
            q[i] = _mm512_shuffle_f32x4::<0x88>(t[i], t[8 + i]);
            q[8 + i] = _mm512_shuffle_f32x4::<0xdd>(t[i], t[8 + i]);
            q[4 + i] = _mm512_shuffle_f32x4::<0x88>(t[4 + i], t[12 + i]);
            q[12 + i] = _mm512_shuffle_f32x4::<0xdd>(t[4 + i], t[12 + i]);
        }
        q
    }
}
