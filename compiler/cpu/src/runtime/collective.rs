//! Collectives along one axis, copies, and the inverse of a unit lower triangle.
//!
//! A tile is seen as *lines*: all elements that differ in the position along the axis only. Every function here
//! visits each line once; lines are independent, elements of a line are taken in order, so results do not depend on
//! how the tile lies in memory.

use super::{Class, Env, MAX_RANK, Words};
use tile_graph::ReduceKind;

/// Shape of a call: extents, strides of source and destination (elements), and the two addresses.
pub struct Shape<'a> {
    pub extents: &'a [i64],
    pub from: &'a [i64],
    pub to: &'a [i64],
    pub source: *const u8,
    pub target: *mut u8,
}

impl<'a> Shape<'a> {
    /// Words: rank, extents, source strides, target strides, source, target.
    pub unsafe fn read(args: *const i64) -> (Shape<'a>, *const i64) {
        // SAFETY: the words were written to fit.
        unsafe {
            let rank = *args as usize;
            let mut w = Words::new(args.add(1), 3 * rank + 2);
            let (extents, from, to) = (w.many(rank), w.many(rank), w.many(rank));
            let shape =
                Shape { extents, from, to, source: w.next() as *const u8, target: w.next() as *mut u8 };
            (shape, args.add(3 + 3 * rank))
        }
    }

    pub fn is_empty(&self) -> bool {
        self.extents.iter().any(|&e| e <= 0)
    }

    /// Calls `visit` with the offsets (elements) in source and target of each position over all axes but `skip`.
    pub fn each(&self, skip: &[usize], mut visit: impl FnMut(isize, isize)) {
        let rank = self.extents.len();
        if (0..rank).any(|a| self.extents[a] <= 0 && !skip.contains(&a)) {
            return;
        }
        let mut at = [0i64; MAX_RANK];
        loop {
            let sum = |strides: &[i64]| strides.iter().zip(&at).map(|(s, p)| s * p).sum::<i64>() as isize;
            visit(sum(self.from), sum(self.to));
            let mut axis = rank;
            loop {
                if axis == 0 {
                    return;
                }
                axis -= 1;
                if skip.contains(&axis) {
                    continue;
                }
                at[axis] += 1;
                if at[axis] < self.extents[axis] {
                    break;
                }
                at[axis] = 0;
            }
        }
    }
}

/// What lines hold.
pub trait Number: Copy + PartialOrd {
    const ZERO: Self;
    const ONE: Self;
    /// Below everything; where a maximum starts.
    const LEAST: Self;
    const GREATEST: Self;
    fn plus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    fn is_number(self) -> bool;
}

macro_rules! number {
    ($($t:ty: $least:expr, $greatest:expr, $zero:expr, $one:expr, $plus:expr, $times:expr, $is:expr;)*) => {$(
        impl Number for $t {
            const ZERO: Self = $zero;
            const ONE: Self = $one;
            const LEAST: Self = $least;
            const GREATEST: Self = $greatest;
            fn plus(self, other: Self) -> Self { let f: fn($t, $t) -> $t = $plus; f(self, other) }
            fn times(self, other: Self) -> Self { let f: fn($t, $t) -> $t = $times; f(self, other) }
            fn is_number(self) -> bool { let f: fn($t) -> bool = $is; f(self) }
        }
    )*};
}

number! {
    f32: f32::NEG_INFINITY, f32::INFINITY, 0.0, 1.0, |a, b| a + b, |a, b| a * b, |a| !a.is_nan();
    f64: f64::NEG_INFINITY, f64::INFINITY, 0.0, 1.0, |a, b| a + b, |a, b| a * b, |a| !a.is_nan();
    i32: i32::MIN, i32::MAX, 0, 1, i32::wrapping_add, i32::wrapping_mul, |_| true;
    i64: i64::MIN, i64::MAX, 0, 1, i64::wrapping_add, i64::wrapping_mul, |_| true;
}

/// maximumNumber: a NaN loses.
fn greater<T: Number>(a: T, b: T) -> T {
    if a > b || !b.is_number() { a } else { b }
}

fn lesser<T: Number>(a: T, b: T) -> T {
    if a < b || !b.is_number() { a } else { b }
}

fn start<T: Number>(kind: ReduceKind) -> T {
    match kind {
        ReduceKind::Sum => T::ZERO,
        ReduceKind::Prod => T::ONE,
        ReduceKind::Max => T::LEAST,
        _ => T::GREATEST,
    }
}

fn step<T: Number>(kind: ReduceKind) -> fn(T, T) -> T {
    match kind {
        ReduceKind::Sum => T::plus,
        ReduceKind::Prod => T::times,
        ReduceKind::Max => greater,
        _ => lesser,
    }
}

pub fn kind_code(kind: ReduceKind) -> i64 {
    KINDS.iter().position(|&k| k == kind).expect("every kind is listed") as i64
}

const KINDS: [ReduceKind; 8] = {
    use ReduceKind::*;
    [Sum, Prod, Max, Min, Any, All, ArgMax, ArgMin]
};

pub fn class_code(class: Class) -> i64 {
    class as i64
}

/// Calls a generic function with the type of a class code (bools as their i32).
macro_rules! by_class {
    ($code:expr, $f:ident($($arg:expr),*)) => {
        match $code {
            c if c == Class::F32 as i64 => $f::<f32>($($arg),*),
            c if c == Class::F64 as i64 => $f::<f64>($($arg),*),
            c if c == Class::I64 as i64 => $f::<i64>($($arg),*),
            _ => $f::<i32>($($arg),*),
        }
    };
}
pub(crate) use by_class;

/// Shape, then class, axis, kind. The target has extent 1 along the axis.
pub unsafe extern "C" fn reduce(_: *mut Env, args: *const i64) -> i64 {
    // SAFETY: tiles of the extents given.
    unsafe {
        let (shape, rest) = Shape::read(args);
        let (class, axis, kind) = (*rest, *rest.add(1) as usize, KINDS[*rest.add(2) as usize]);
        match kind {
            ReduceKind::Any | ReduceKind::All => logical(&shape, axis, kind),
            ReduceKind::ArgMax | ReduceKind::ArgMin => by_class!(class, position(&shape, axis, kind)),
            _ => by_class!(class, fold(&shape, axis, kind)),
        }
    }
    0
}

unsafe fn fold<T: Number>(shape: &Shape, axis: usize, kind: ReduceKind) {
    let (n, stride) = (shape.extents[axis].max(0) as isize, shape.from[axis] as isize);
    let (first, step) = (start::<T>(kind), step::<T>(kind));
    shape.each(&[axis], |from, to| {
        // SAFETY: positions of the tiles.
        unsafe {
            let line = (shape.source as *const T).offset(from);
            let total = (0..n).fold(first, |sum, i| step(sum, *line.offset(i * stride)));
            *(shape.target as *mut T).offset(to) = total;
        }
    });
}

unsafe fn logical(shape: &Shape, axis: usize, kind: ReduceKind) {
    let (n, stride) = (shape.extents[axis].max(0) as isize, shape.from[axis] as isize);
    shape.each(&[axis], |from, to| {
        // SAFETY: positions of the tiles.
        unsafe {
            let line = (shape.source as *const i32).offset(from);
            let mut at = (0..n).map(|i| *line.offset(i * stride) != 0);
            let result = if kind == ReduceKind::Any { at.any(|x| x) } else { at.all(|x| x) };
            *(shape.target as *mut i32).offset(to) = -(result as i32);
        }
    });
}

unsafe fn position<T: Number>(shape: &Shape, axis: usize, kind: ReduceKind) {
    let (n, stride) = (shape.extents[axis].max(0) as isize, shape.from[axis] as isize);
    shape.each(&[axis], |from, to| {
        // SAFETY: positions of the tiles.
        unsafe {
            let line = (shape.source as *const T).offset(from);
            let mut best: Option<(isize, T)> = None;
            for i in 0..n {
                let x = *line.offset(i * stride);
                let better = match best {
                    None => x.is_number(),
                    Some((_, b)) if kind == ReduceKind::ArgMax => x > b,
                    Some((_, b)) => x < b,
                };
                if better {
                    best = Some((i, x));
                }
            }
            *(shape.target as *mut i64).offset(to) = best.map_or(0, |(i, _)| i as i64);
        }
    });
}

/// Shape, then class, axis, kind, reverse, exclusive.
pub unsafe extern "C" fn scan(_: *mut Env, args: *const i64) -> i64 {
    // SAFETY: tiles of the extents given.
    unsafe {
        let (shape, rest) = Shape::read(args);
        let flags = (KINDS[*rest.add(2) as usize], *rest.add(3) != 0, *rest.add(4) != 0);
        by_class!(*rest, running(&shape, *rest.add(1) as usize, flags));
    }
    0
}

unsafe fn running<T: Number>(
    shape: &Shape,
    axis: usize,
    (kind, reverse, exclusive): (ReduceKind, bool, bool),
) {
    let n = shape.extents[axis].max(0) as isize;
    let (from_step, to_step) = (shape.from[axis] as isize, shape.to[axis] as isize);
    let (first, step) = (start::<T>(kind), step::<T>(kind));
    shape.each(&[axis], |from, to| {
        let mut sum = first;
        for i in 0..n {
            let i = if reverse { n - 1 - i } else { i };
            // SAFETY: positions of the tiles.
            unsafe {
                let x = *(shape.source as *const T).offset(from + i * from_step);
                let next = step(sum, x);
                *(shape.target as *mut T).offset(to + i * to_step) = if exclusive { sum } else { next };
                sum = next;
            }
        }
    });
}

/// Shape, then bytes of an element.
pub unsafe extern "C" fn copy(_: *mut Env, args: *const i64) -> i64 {
    // SAFETY: tiles of the extents given.
    unsafe {
        let (shape, rest) = Shape::read(args);
        match *rest {
            8 => copy_elements::<u64>(&shape),
            _ => copy_elements::<u32>(&shape),
        }
    }
    0
}

unsafe fn copy_elements<T: Copy>(shape: &Shape) {
    let rank = shape.extents.len();
    if shape.is_empty() {
        return;
    }
    let Some(inner) = (0..rank).rev().find(|&a| shape.extents[a] > 1) else {
        // SAFETY: one element each.
        return unsafe { *(shape.target as *mut T) = *(shape.source as *const T) };
    };
    let n = shape.extents[inner] as usize;
    let (from_step, to_step) = (shape.from[inner] as isize, shape.to[inner] as isize);
    shape.each(&[inner], |from, to| {
        // SAFETY: positions of the tiles.
        unsafe {
            let source = (shape.source as *const T).offset(from);
            let target = (shape.target as *mut T).offset(to);
            if from_step == 1 && to_step == 1 {
                std::ptr::copy(source, target, n);
            } else {
                for i in 0..n as isize {
                    *target.offset(i * to_step) = *source.offset(i * from_step);
                }
            }
        }
    });
}

/// Shape of the result (source strides of x), then bytes, axis, index address, index stride, extent of x along the
/// axis, site. The axis of the source moves by the index; at -1 there is 0.
pub unsafe extern "C" fn take(env: *mut Env, args: *const i64) -> i64 {
    // SAFETY: tiles of the extents given; indices are checked.
    unsafe {
        let (shape, rest) = Shape::read(args);
        let (bytes, axis, index, index_stride) =
            (*rest, *rest.add(1) as usize, *rest.add(2) as *const i64, *rest.add(3));
        let (limit, site) = (*rest.add(4), *rest.add(5));
        if shape.is_empty() {
            return 0;
        }
        for i in 0..shape.extents[axis] {
            let at = *index.offset((i * index_stride) as isize);
            if at < -1 || at >= limit {
                return (*env).fail(site, axis as i64, at, 0, limit);
            }
            let none = at < 0;
            let source = at.max(0) * shape.from[axis];
            let target = i * shape.to[axis];
            shape.each(&[axis], |from, to| {
                let (from, to) = (from + source as isize, to + target as isize);
                match bytes {
                    8 if none => *(shape.target as *mut u64).offset(to) = 0,
                    8 => *(shape.target as *mut u64).offset(to) = *(shape.source as *const u64).offset(from),
                    _ if none => *(shape.target as *mut u32).offset(to) = 0,
                    _ => *(shape.target as *mut u32).offset(to) = *(shape.source as *const u32).offset(from),
                }
            });
        }
    }
    0
}

/// Words: source, stride, n, target, bins, target stride.
pub unsafe extern "C" fn histogram(_: *mut Env, args: *const i64) -> i64 {
    // SAFETY: tiles of the extents given.
    unsafe {
        let mut w = Words::new(args, 6);
        let (source, stride, n) = (w.next() as *const i64, w.next() as isize, w.next() as isize);
        let (target, bins, to) = (w.next() as *mut i64, w.next(), w.next() as isize);
        (0..bins as isize).for_each(|b| *target.offset(b * to) = 0);
        for i in 0..n {
            let bin = *source.offset(i * stride);
            if (0..bins).contains(&bin) {
                *target.offset(bin as isize * to) += 1;
            }
        }
    }
    0
}

/// Shape, then class: `(I + A)^-1` over the last two axes, A read below the diagonal only.
///
/// Row i of the inverse X is `e_i - Σ_{j < i} A[i, j] · X[j]`: forward substitution with whole rows.
pub unsafe extern "C" fn unit_lower_inv(_: *mut Env, args: *const i64) -> i64 {
    // SAFETY: tiles of the extents given.
    unsafe {
        let (shape, rest) = Shape::read(args);
        match *rest {
            c if c == Class::F64 as i64 => invert::<f64>(&shape, |a, x, y| y - a * x),
            _ => invert::<f32>(&shape, |a, x, y| y - a * x),
        }
    }
    0
}

unsafe fn invert<T: Number>(shape: &Shape, step: impl Fn(T, T, T) -> T) {
    let rank = shape.extents.len();
    let (row, column) = (rank - 2, rank - 1);
    let n = shape.extents[column].max(0) as isize;
    let [ar, ac, xr, xc] =
        [shape.from[row], shape.from[column], shape.to[row], shape.to[column]].map(|s| s as isize);
    shape.each(&[row, column], |from, to| {
        // SAFETY: positions of the tiles.
        unsafe {
            let (a, x) = ((shape.source as *const T).offset(from), (shape.target as *mut T).offset(to));
            for i in 0..n {
                for k in 0..n {
                    *x.offset(i * xr + k * xc) = if i == k { T::ONE } else { T::ZERO };
                }
                for j in 0..i {
                    let f = *a.offset(i * ar + j * ac);
                    let (source, target) = (x.offset(j * xr), x.offset(i * xr));
                    if xc == 1 {
                        let source = std::slice::from_raw_parts(source, j as usize + 1);
                        let target = std::slice::from_raw_parts_mut(target, j as usize + 1);
                        target.iter_mut().zip(source).for_each(|(y, x)| *y = step(f, *x, *y));
                    } else {
                        for k in 0..=j {
                            *target.offset(k * xc) = step(f, *source.offset(k * xc), *target.offset(k * xc));
                        }
                    }
                }
            }
        }
    });
}
