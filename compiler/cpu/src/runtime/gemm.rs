//! Dots of tiles: `c[m, n] (+)= a[m, k] · b[k, n]`, operands by pointer and strides, so a transposed tile or a
//! tile that still lies in a tensor costs no copy of its own.
//!
//! f32 on a machine with AVX-512 uses the microkernel below: a block of 14 × 32 results in 28 registers, each step
//! along k two loads of B and 14 broadcasts of A. B is packed to panels of 32 columns unless its rows are already
//! contiguous and few rows of A would repay the packing. A is read where it lies, since a broadcast takes any address,
//! unless many columns share it or its rows fall on each other in the first-level cache; then it is packed to panels of 14
//! rows. Other machines and f64 use the `gemm` crate, which packs and dispatches by itself; integers a plain loop.
//!
//! A result does not depend on the thread that computes it: the order of the sum over k is fixed by the extents.

use super::{Env, Words, pack::Packing};

/// A matrix by pointer and strides in elements.
#[derive(Clone, Copy)]
pub struct Matrix<T> {
    pub ptr: *const T,
    pub row: isize,
    pub column: isize,
}

/// Extents and operands of one dot; the result's columns may be strided too.
#[derive(Clone, Copy)]
pub struct Dot<T> {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: Matrix<T>,
    pub b: Matrix<T>,
    pub c: *mut T,
    pub c_row: isize,
    pub c_column: isize,
    /// Add to what `c` holds.
    pub accumulate: bool,
    /// B is the same the next time, in a tensor that the launch does not write.
    pub b_stays: bool,
}

/// Words: m, n, k, a, a row, a column, b, b row, b column, c, c row, c column, accumulate, b stays.
unsafe fn dot_of<T>(args: *const i64) -> Dot<T> {
    // SAFETY: fourteen words by the calling convention.
    let mut w = unsafe { Words::new(args, 14) };
    let [m, n, k] = [w.next(), w.next(), w.next()].map(|x| x.max(0) as usize);
    let mut matrix =
        || Matrix { ptr: w.next() as *const T, row: w.next() as isize, column: w.next() as isize };
    let (a, b, c) = (matrix(), matrix(), matrix());
    let (accumulate, b_stays) = (w.next() != 0, w.next() != 0);
    Dot { m, n, k, a, b, c: c.ptr as *mut T, c_row: c.row, c_column: c.column, accumulate, b_stays }
}

pub unsafe extern "C" fn dot_f32(env: *mut Env, args: *const i64) -> i64 {
    // SAFETY: operands are tiles of the extents given, checked by the code generator.
    unsafe { run_f32(&dot_of(args), &mut *(*env).packing) }
    0
}

pub unsafe extern "C" fn dot_f64(_: *mut Env, args: *const i64) -> i64 {
    // SAFETY: as above.
    unsafe {
        let d = dot_of::<f64>(args);
        if d.k == 0 {
            plain(&d, |a, b, s| a.mul_add(b, s));
        } else {
            through_crate(&d, 1.0, 1.0);
        }
    }
    0
}

pub unsafe extern "C" fn dot_i32(_: *mut Env, args: *const i64) -> i64 {
    // SAFETY: as above.
    unsafe { plain(&dot_of::<i32>(args), |a, b, s| s.wrapping_add(a.wrapping_mul(b))) }
    0
}

pub unsafe extern "C" fn dot_i64(_: *mut Env, args: *const i64) -> i64 {
    // SAFETY: as above.
    unsafe { plain(&dot_of::<i64>(args), |a, b, s| s.wrapping_add(a.wrapping_mul(b))) }
    0
}

/// # Safety
/// Operands and result have the extents given.
pub unsafe fn run_f32(d: &Dot<f32>, packing: &mut Packing) {
    if d.m == 0 || d.n == 0 {
        return;
    }
    if d.k == 0 {
        // SAFETY: as the caller promised.
        return unsafe { plain(d, |a, b, s| a * b + s) };
    }
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx512f") && d.c_column == 1 {
        // SAFETY: the feature is there.
        return unsafe { avx512::run(d, packing) };
    }
    let _ = packing;
    // SAFETY: as the caller promised.
    unsafe { through_crate(d, 1.0, 1.0) }
}

unsafe fn through_crate<T: 'static>(d: &Dot<T>, alpha: T, beta: T) {
    // SAFETY: as the caller promised.
    unsafe {
        gemm::gemm(
            d.m,
            d.n,
            d.k,
            d.c,
            d.c_column,
            d.c_row,
            d.accumulate,
            d.a.ptr,
            d.a.column,
            d.a.row,
            d.b.ptr,
            d.b.column,
            d.b.row,
            alpha,
            beta,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

unsafe fn plain<T: Copy + Default>(d: &Dot<T>, step: impl Fn(T, T, T) -> T) {
    for i in 0..d.m as isize {
        for j in 0..d.n as isize {
            // SAFETY: as the caller promised.
            unsafe {
                let c = d.c.offset(i * d.c_row + j * d.c_column);
                let mut sum = if d.accumulate { *c } else { T::default() };
                for k in 0..d.k as isize {
                    let a = *d.a.ptr.offset(i * d.a.row + k * d.a.column);
                    let b = *d.b.ptr.offset(k * d.b.row + j * d.b.column);
                    sum = step(a, b, sum);
                }
                *c = sum;
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::*;
    use crate::runtime::pack::avx512::pack;
    use std::arch::x86_64::*;

    const MR: usize = 14;
    const NR: usize = 32;
    /// Steps along k that share one packing: a panel of B (32 KiB) fills the first-level cache.
    const KC: usize = 256;
    /// Columns that share one packing: half a megabyte of the second-level cache.
    const NC: usize = 512;

    /// Columns that repay the packing of A.
    const MANY: usize = 8 * NR;
    /// Rows this many bytes apart share eight lines of the first-level cache.
    const ALIAS: isize = 4096;

    /// Rows of A for the microkernel: element `(i, k)` is `i · row + k · step` elements behind `ptr`, and one of the
    /// two is 1.
    #[derive(Clone, Copy)]
    struct Rows {
        ptr: *const f32,
        row: isize,
        step: isize,
    }

    /// Columns of B for the microkernel.
    #[derive(Clone, Copy)]
    enum Columns {
        /// Panels one after the other.
        Packed(*const f32),
        /// Rows of whole panels as they lie; there is room to pack the last, narrower one.
        InPlace { b: *const f32, room: *mut f32 },
    }

    impl Rows {
        fn from(self, i: usize) -> Rows {
            Rows { ptr: self.ptr.wrapping_offset(i as isize * self.row), ..self }
        }
    }

    /// A where it lies, if the microkernel reads it well there.
    fn in_place(d: &Dot<f32>, a: *const f32) -> Option<Rows> {
        let rows = Rows { ptr: a, row: d.a.row, step: d.a.column };
        let reads_well = rows.row == 1 || (rows.step == 1 && rows.row * 4 % ALIAS != 0);
        (reads_well && d.n <= MANY).then_some(rows)
    }

    #[target_feature(enable = "avx512f")]
    pub unsafe fn run(d: &Dot<f32>, packing: &mut Packing) {
        if d.m <= 4 && d.a.column == 1 && d.b.row == 1 && d.k >= 16 {
            // SAFETY: as the caller promised.
            return unsafe { along_k(d) };
        }
        let kc = KC.min(d.k);
        let rows = d.m.div_ceil(MR) * MR;
        let (pa, pb) = packing.buffers(rows * kc, NC.min(d.n).div_ceil(NR) * NR * kc);
        for k0 in (0..d.k).step_by(KC) {
            let k = KC.min(d.k - k0);
            let accumulate = d.accumulate || k0 > 0;
            // SAFETY: the packing buffers were just made large enough; offsets stay within the operands.
            unsafe {
                let a = d.a.ptr.offset(k0 as isize * d.a.column);
                let rows = in_place(d, a);
                if rows.is_none() {
                    pack::<MR>(pa, d.m, k, a, d.a.row, d.a.column);
                }
                for j0 in (0..d.n).step_by(NC) {
                    let n = NC.min(d.n - j0);
                    let b = d.b.ptr.offset(k0 as isize * d.b.row + j0 as isize * d.b.column);
                    let columns = columns(d, k, n, b, pb, packing);
                    block(d, k, n, rows.ok_or(pa as *const f32), columns, d.c.add(j0), accumulate);
                }
            }
        }
    }

    /// The columns of B for the microkernel, packed unless they are read where they lie.
    #[target_feature(enable = "avx512f")]
    unsafe fn columns(
        d: &Dot<f32>,
        k: usize,
        n: usize,
        b: *const f32,
        room: *mut f32,
        packing: &mut Packing,
    ) -> Columns {
        // Contiguous rows of B are read where they lie when few rows of A would share a packed copy.
        if d.b.column == 1 && d.m <= 8 * MR {
            return Columns::InPlace { b, room };
        }
        let (place, packed) = match d.b_stays && k == d.k && n == d.n {
            true => packing.kept((b, d.b.row, d.b.column, n, k), n.next_multiple_of(NR) * k),
            false => (room, false),
        };
        if !packed {
            // SAFETY: there is room for whole panels.
            unsafe { pack::<NR>(place, n, k, b, d.b.column, d.b.row) };
        }
        Columns::Packed(place)
    }

    #[target_feature(enable = "avx512f")]
    unsafe fn block(
        d: &Dot<f32>,
        k: usize,
        n: usize,
        rows: Result<Rows, *const f32>,
        columns: Columns,
        c: *mut f32,
        accumulate: bool,
    ) {
        // SAFETY: panels of the operands and masked results.
        unsafe {
            for j in (0..n).step_by(NR) {
                let width = NR.min(n - j);
                let (panel, stride) = match columns {
                    Columns::Packed(place) => (place.add(j * k), NR as isize),
                    Columns::InPlace { b, .. } if width == NR => (b.add(j), d.b.row),
                    Columns::InPlace { b, room } => {
                        pack::<NR>(room, width, k, b.add(j), d.b.column, d.b.row);
                        (room as *const f32, NR as isize)
                    }
                };
                for i in (0..d.m).step_by(MR) {
                    let at = c.offset(i as isize * d.c_row).add(j);
                    let a = match rows {
                        Ok(rows) => rows.from(i),
                        Err(packed) => Rows { ptr: packed.add(i * k), row: 1, step: MR as isize },
                    };
                    let count = MR.min(d.m - i);
                    if a.row == 1 {
                        micro::<true>(count, k, a, panel, stride, at, d.c_row, width, accumulate);
                    } else {
                        micro::<false>(count, k, a, panel, stride, at, d.c_row, width, accumulate);
                    }
                }
            }
        }
    }

    #[target_feature(enable = "avx512f")]
    #[expect(clippy::too_many_arguments, reason = "one call for each row count")]
    unsafe fn micro<const COLUMN: bool>(
        rows: usize,
        k: usize,
        a: Rows,
        b: *const f32,
        bs: isize,
        c: *mut f32,
        cs: isize,
        width: usize,
        add: bool,
    ) {
        // SAFETY: `rows` is 1..=14 and the operands have as many rows and steps.
        unsafe {
            match rows {
                14 => kernel::<14, COLUMN>(k, a, b, bs, c, cs, width, add),
                13 => kernel::<13, COLUMN>(k, a, b, bs, c, cs, width, add),
                12 => kernel::<12, COLUMN>(k, a, b, bs, c, cs, width, add),
                11 => kernel::<11, COLUMN>(k, a, b, bs, c, cs, width, add),
                10 => kernel::<10, COLUMN>(k, a, b, bs, c, cs, width, add),
                9 => kernel::<9, COLUMN>(k, a, b, bs, c, cs, width, add),
                8 => kernel::<8, COLUMN>(k, a, b, bs, c, cs, width, add),
                7 => kernel::<7, COLUMN>(k, a, b, bs, c, cs, width, add),
                6 => kernel::<6, COLUMN>(k, a, b, bs, c, cs, width, add),
                5 => kernel::<5, COLUMN>(k, a, b, bs, c, cs, width, add),
                4 => kernel::<4, COLUMN>(k, a, b, bs, c, cs, width, add),
                3 => kernel::<3, COLUMN>(k, a, b, bs, c, cs, width, add),
                2 => kernel::<2, COLUMN>(k, a, b, bs, c, cs, width, add),
                _ => kernel::<1, COLUMN>(k, a, b, bs, c, cs, width, add),
            }
        }
    }

    /// `M` × 32 results; `COLUMN`: rows of `a` are neighbours, else its steps are; `b` has rows of 32 columns `bs` apart;
    /// `width` columns exist.
    #[target_feature(enable = "avx512f")]
    #[expect(clippy::too_many_arguments, reason = "a microkernel")]
    unsafe fn kernel<const M: usize, const COLUMN: bool>(
        k: usize,
        a: Rows,
        b: *const f32,
        bs: isize,
        c: *mut f32,
        cs: isize,
        width: usize,
        add: bool,
    ) {
        let mut sums = [[_mm512_setzero_ps(); 2]; M];
        let (row, step) = if COLUMN { (1, a.step) } else { (a.row, 1) };
        // SAFETY: operands hold k steps; loads and stores of c are masked to what exists.
        unsafe {
            let (mut a, mut b) = (a.ptr, b);
            for _ in 0..k {
                let (b0, b1) = (_mm512_loadu_ps(b), _mm512_loadu_ps(b.add(16)));
                for (i, sum) in sums.iter_mut().enumerate() {
                    let x = _mm512_set1_ps(*a.offset(i as isize * row));
                    sum[0] = _mm512_fmadd_ps(x, b0, sum[0]);
                    sum[1] = _mm512_fmadd_ps(x, b1, sum[1]);
                }
                a = a.wrapping_offset(step);
                b = b.wrapping_offset(bs);
            }
            let mask = ((1u64 << width) - 1) as u32;
            let (low, high) = (mask as u16, (mask >> 16) as u16);
            for (i, sum) in sums.iter_mut().enumerate() {
                let at = c.offset(i as isize * cs);
                let next = at.wrapping_add(16);
                if add {
                    sum[0] = _mm512_add_ps(sum[0], _mm512_maskz_loadu_ps(low, at));
                    sum[1] = _mm512_add_ps(sum[1], _mm512_maskz_loadu_ps(high, next));
                }
                _mm512_mask_storeu_ps(at, low, sum[0]);
                _mm512_mask_storeu_ps(next, high, sum[1]);
            }
        }
    }

    /// Few rows against columns that are contiguous along k (a decode step against the keys): each result is a sum
    /// of products of two runs, four columns at a time.
    #[target_feature(enable = "avx512f")]
    unsafe fn along_k(d: &Dot<f32>) {
        let (whole, rest) = (d.k / 16 * 16, d.k % 16);
        let tail = ((1u32 << rest) - 1) as u16;
        for i in 0..d.m as isize {
            let a = d.a.ptr.wrapping_offset(i * d.a.row);
            for j in (0..d.n).step_by(4) {
                let columns = 4.min(d.n - j);
                let mut sums = [_mm512_setzero_ps(); 4];
                // SAFETY: `columns` columns of k elements exist; the tail is masked.
                unsafe {
                    let at = |x: usize| d.b.ptr.offset((j + x.min(columns - 1)) as isize * d.b.column);
                    for k in (0..whole).step_by(16) {
                        let v = _mm512_loadu_ps(a.add(k));
                        for (x, sum) in sums.iter_mut().enumerate() {
                            *sum = _mm512_fmadd_ps(v, _mm512_loadu_ps(at(x).add(k)), *sum);
                        }
                    }
                    if rest > 0 {
                        let v = _mm512_maskz_loadu_ps(tail, a.add(whole));
                        for (x, sum) in sums.iter_mut().enumerate() {
                            let w = _mm512_maskz_loadu_ps(tail, at(x).add(whole));
                            *sum = _mm512_fmadd_ps(v, w, *sum);
                        }
                    }
                    for (x, sum) in sums.iter().enumerate().take(columns) {
                        let c = d.c.offset(i * d.c_row).add(j + x);
                        let total = _mm512_reduce_add_ps(*sum);
                        *c = if d.accumulate { *c + total } else { total };
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every mixture of strides and odd extents against the plain loop.
    #[test]
    fn dots_agree_with_the_plain_loop() {
        let data = data();
        let mut packing = Packing::default();
        for (m, n, k) in [(1, 1, 1), (3, 5, 17), (14, 32, 16), (15, 33, 40), (100, 70, 300), (130, 530, 20)] {
            for layout in 0..4 {
                let (a, b) =
                    (matrix(&data, m, k, layout & 1 == 1), matrix(&data[9..], k, n, layout & 2 == 2));
                for accumulate in [false, true] {
                    agrees(&Case { extents: (m, n, k), a, b, accumulate, b_stays: false }, &mut packing);
                }
            }
        }
    }

    /// Rows of A a multiple of 4 KiB apart are packed.
    #[test]
    fn rows_that_alias_agree_too() {
        let data = data();
        let a = Matrix { ptr: data.as_ptr(), row: 1024, column: 1 };
        let b = matrix(&data[9..], 70, 40, false);
        agrees(
            &Case { extents: (30, 40, 70), a, b, accumulate: false, b_stays: false },
            &mut Packing::default(),
        );
    }

    /// A right operand that stays is packed once, until the launch ends.
    #[test]
    fn what_stays_is_packed_once() {
        let mut data = data();
        let mut packing = Packing::default();
        for _ in 0..2 {
            for block in 0..6 {
                let a = matrix(&data[block..], 120, 30, false);
                for b in [1000, 2000] {
                    let b = matrix(&data[b..], 30, 50, true);
                    let case = Case { extents: (120, 50, 30), a, b, accumulate: false, b_stays: true };
                    agrees(&case, &mut packing);
                }
            }
            data.iter_mut().for_each(|x| *x += 1.0);
            packing.forget();
        }
    }

    struct Case {
        extents: (usize, usize, usize),
        a: Matrix<f32>,
        b: Matrix<f32>,
        accumulate: bool,
        b_stays: bool,
    }

    fn agrees(case: &Case, packing: &mut Packing) {
        let (m, n, k) = case.extents;
        let (mut got, mut want) = (vec![0.5f32; m * n], vec![0.5f32; m * n]);
        let dot = |c: &mut Vec<f32>| Dot {
            m,
            n,
            k,
            a: case.a,
            b: case.b,
            c: c.as_mut_ptr(),
            c_row: n as isize,
            c_column: 1,
            accumulate: case.accumulate,
            b_stays: case.b_stays,
        };
        unsafe { run_f32(&dot(&mut got), packing) };
        unsafe { plain(&dot(&mut want), |a, b, s| a * b + s) };
        for (x, y) in got.iter().zip(&want) {
            assert!((x - y).abs() <= 1e-4 * (1.0 + y.abs()), "{m} {n} {k}: {x} {y}");
        }
    }

    fn data() -> Vec<f32> {
        (0..200_000).map(|i| ((i * 7919) % 257) as f32 / 128.0 - 1.0).collect()
    }

    fn matrix(data: &[f32], rows: usize, columns: usize, transposed: bool) -> Matrix<f32> {
        let (row, column) = if transposed { (1, rows as isize + 3) } else { (columns as isize + 5, 1) };
        Matrix { ptr: data.as_ptr(), row, column }
    }
}
