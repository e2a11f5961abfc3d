//! Collectives along one axis: reductions, scans, top-k, sort, histogram, the triangular inverse.
//!
//! A tile is seen as `[outer, along, inner]`. Sums run in f64 in the order of the axis and are rounded by the caller
//! once, at the end. Of nothing, a sum is 0, a product 1, a maximum -inf (the least value, for an integer), `any`
//! false and `all` true; `argmax` of nothing has no answer.

use super::{
    number::{max_number, min_number},
    value::{Shape, Val},
};
use std::cmp::Ordering;
use tile_base::DType;
use tile_graph::ReduceKind;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CollectiveFault {
    /// An integer result leaves its dtype.
    Overflow,
    /// The first of no elements was asked for.
    Empty,
}

type Result<T> = std::result::Result<T, CollectiveFault>;

/// What a reduction starts from.
fn float_identity(kind: ReduceKind) -> f64 {
    match kind {
        ReduceKind::Prod => 1.0,
        ReduceKind::Max => f64::NEG_INFINITY,
        ReduceKind::Min => f64::INFINITY,
        _ => 0.0,
    }
}

fn float_step(kind: ReduceKind) -> fn(f64, f64) -> f64 {
    match kind {
        ReduceKind::Prod => |a, b| a * b,
        // The identity must not hide that all were NaN: maximumNumber of (-inf, NaN) is -inf, as on the devices.
        ReduceKind::Max => max_number,
        ReduceKind::Min => min_number,
        _ => |a, b| a + b,
    }
}

fn int_identity(kind: ReduceKind, dtype: DType) -> i64 {
    let (lo, hi) = dtype.int_range().unwrap_or((0, 1));
    match kind {
        ReduceKind::Prod | ReduceKind::All => 1,
        ReduceKind::Max => lo,
        ReduceKind::Min => hi,
        _ => 0,
    }
}

fn int_step(kind: ReduceKind, a: i128, b: i64) -> i128 {
    let b = b as i128;
    match kind {
        ReduceKind::Prod => a.saturating_mul(b),
        ReduceKind::Max => a.max(b),
        ReduceKind::Min => a.min(b),
        ReduceKind::Any => a | b,
        ReduceKind::All => a & b,
        _ => a + b,
    }
}

fn narrow(dtype: DType, x: i128) -> Result<i64> {
    let (lo, hi) = dtype.int_range().unwrap_or((0, 1));
    if x < lo as i128 || x > hi as i128 { Err(CollectiveFault::Overflow) } else { Ok(x as i64) }
}

pub fn reduce(x: &Val, axis: usize, kind: ReduceKind, dtype: DType) -> Result<Val> {
    let mut out = x.shape();
    let (outer, along, inner) = out.around(axis);
    out.set(axis, 1);
    match (kind, x) {
        (ReduceKind::ArgMax | ReduceKind::ArgMin, _) => arg(x, axis, kind),
        (_, Val::Floats(_, data)) => {
            let (start, step) = (float_identity(kind), float_step(kind));
            let mut result = vec![start; outer * inner];
            for o in 0..outer {
                let into = &mut result[o * inner..(o + 1) * inner];
                let rows = &data[o * along * inner..(o + 1) * along * inner];
                match (inner, kind) {
                    (1, ReduceKind::Sum) => into[0] = sum(rows),
                    (1, _) => into[0] = rows.iter().fold(start, |a, &b| step(a, b)),
                    _ => rows.chunks_exact(inner).for_each(|row| {
                        into.iter_mut().zip(row).for_each(|(a, &b)| *a = step(*a, b));
                    }),
                }
            }
            Ok(Val::floats(out, result))
        }
        _ => {
            let data = x.int_slice();
            let start = int_identity(kind, dtype);
            let mut result = Vec::with_capacity(outer * inner);
            for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
                let column = (0..along).map(|a| data[(o * along + a) * inner + i]);
                result.push(narrow(dtype, column.fold(start as i128, |a, b| int_step(kind, a, b)))?);
            }
            Ok(Val::ints(out, result))
        }
    }
}

/// Four running sums: quick, and always in the same order.
fn sum(row: &[f64]) -> f64 {
    let mut parts = [0.0; 4];
    let chunks = row.chunks_exact(4);
    let rest: f64 = chunks.remainder().iter().sum();
    for c in chunks {
        parts.iter_mut().zip(c).for_each(|(p, x)| *p += x);
    }
    (parts[0] + parts[1]) + (parts[2] + parts[3]) + rest
}

/// Whether `a` comes before `b` when the greatest comes first (or the least); NaN comes last either way.
fn before(a: f64, b: f64, greatest: bool) -> bool {
    !a.is_nan() && (b.is_nan() || if greatest { a > b } else { a < b })
}

fn arg(x: &Val, axis: usize, kind: ReduceKind) -> Result<Val> {
    let mut out = x.shape();
    let (outer, along, inner) = out.around(axis);
    out.set(axis, 1);
    if along == 0 && outer * inner > 0 {
        return Err(CollectiveFault::Empty);
    }
    let greatest = kind == ReduceKind::ArgMax;
    let better: &dyn Fn(usize, usize) -> bool = match x {
        Val::Floats(_, d) => &move |a, b| before(d[a], d[b], greatest),
        _ => {
            let d = x.int_slice();
            &move |a: usize, b: usize| if greatest { d[a] > d[b] } else { d[a] < d[b] }
        }
    };
    let mut result = Vec::with_capacity(outer * inner);
    for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
        let at = |a: usize| (o * along + a) * inner + i;
        let best = (1..along).fold(0, |best, a| if better(at(a), at(best)) { a } else { best });
        result.push(best as i64);
    }
    Ok(Val::ints(out, result))
}

/// How a running reduction goes along its axis.
#[derive(Clone, Copy)]
pub struct Direction {
    pub reverse: bool,
    pub exclusive: bool,
}

pub fn scan(x: &Val, axis: usize, kind: ReduceKind, way: Direction, dtype: DType) -> Result<Val> {
    let (outer, along, inner) = x.shape().around(axis);
    let positions = |o: usize, i: usize| {
        (0..along).map(move |a| {
            let a = if way.reverse { along - 1 - a } else { a };
            (o * along + a) * inner + i
        })
    };
    let columns = (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i)));
    if let Val::Floats(shape, data) = x {
        let (start, step) = (float_identity(kind), float_step(kind));
        let mut result = vec![0.0; data.len()];
        for (o, i) in columns {
            let mut running = start;
            for at in positions(o, i) {
                let next = step(running, data[at]);
                result[at] = if way.exclusive { running } else { next };
                running = next;
            }
        }
        return Ok(Val::floats(*shape, result));
    }
    let data = x.int_slice();
    let mut result = vec![0; data.len()];
    for (o, i) in columns {
        let mut running = int_identity(kind, dtype) as i128;
        for at in positions(o, i) {
            let next = int_step(kind, running, data[at]);
            result[at] = narrow(dtype, if way.exclusive { running } else { next })?;
            running = next;
        }
    }
    Ok(Val::ints(x.shape(), result))
}

/// The first `count` elements along the axis in sorted order, and their positions. Equal elements keep their order.
/// Past the extent values are the least of their dtype (-inf) and positions -1.
pub fn sorted(x: &Val, axis: usize, descending: bool, count: Option<usize>, dtype: DType) -> (Val, Val) {
    let (outer, along, inner) = x.shape().around(axis);
    let k = count.unwrap_or(along);
    let mut out = x.shape();
    out.set(axis, k);
    let order: &dyn Fn(usize, usize) -> Ordering = match x {
        Val::Floats(_, d) => {
            &move |a, b| match (before(d[a], d[b], descending), before(d[b], d[a], descending)) {
                (true, _) => Ordering::Less,
                (_, true) => Ordering::Greater,
                _ => Ordering::Equal,
            }
        }
        _ => {
            let d = x.int_slice();
            &move |a: usize, b: usize| if descending { d[b].cmp(&d[a]) } else { d[a].cmp(&d[b]) }
        }
    };
    let mut positions = vec![-1i64; out.count()];
    let mut sources = vec![None; out.count()];
    for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
        let at = |a: usize| (o * along + a) * inner + i;
        let mut column: Vec<usize> = (0..along).collect();
        column.sort_by(|&a, &b| order(at(a), at(b)));
        for (n, &a) in column.iter().take(k).enumerate() {
            positions[(o * k + n) * inner + i] = a as i64;
            sources[(o * k + n) * inner + i] = Some(at(a));
        }
    }
    let values = match x {
        Val::Floats(_, d) => {
            let none = float_identity(ReduceKind::Max);
            Val::floats(out, sources.iter().map(|s| s.map_or(none, |s| d[s])).collect())
        }
        _ => {
            let (d, none) = (x.int_slice(), int_identity(ReduceKind::Max, dtype));
            Val::ints(out, sources.iter().map(|s| s.map_or(none, |s| d[s])).collect())
        }
    };
    (values, Val::ints(out, positions))
}

pub fn histogram(x: &Val, bins: usize) -> Val {
    let mut counts = vec![0i64; bins];
    for &v in x.int_slice() {
        if let Some(count) = usize::try_from(v).ok().and_then(|v| counts.get_mut(v)) {
            *count += 1;
        }
    }
    Val::ints(Shape::new(&[bins]), counts)
}

/// `(I + A)^-1` of the strictly lower part of each `[t, t]` matrix, by forward substitution:
/// row `i` of the inverse is `e_i - Σ_{j<i} A[i, j] · row j`.
pub fn unit_lower_inv(x: &Val) -> Val {
    let shape = x.shape();
    let a = x.float_slice();
    let t = shape.dim(shape.rank() - 1);
    let mut inverse = vec![0.0; a.len()];
    for (a, inv) in a.chunks_exact((t * t).max(1)).zip(inverse.chunks_exact_mut((t * t).max(1))) {
        for i in 0..t {
            let (done, rest) = inv.split_at_mut(i * t);
            let row = &mut rest[..t];
            row[i] = 1.0;
            for j in 0..i {
                let factor = a[i * t + j];
                if factor != 0.0 {
                    row.iter_mut().zip(&done[j * t..j * t + t]).for_each(|(r, d)| *r -= factor * d);
                }
            }
        }
    }
    Val::floats(shape, inverse)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(dims: &[usize], data: &[f64]) -> Val {
        Val::floats(Shape::new(dims), data.to_vec())
    }

    #[test]
    fn reductions_of_nothing_are_their_identities() {
        let nothing = tile(&[1, 0], &[]);
        let of = |kind| reduce(&nothing, 1, kind, DType::F32);
        assert_eq!(of(ReduceKind::Sum).unwrap().float_slice(), [0.0]);
        assert_eq!(of(ReduceKind::Max).unwrap().float_slice(), [f64::NEG_INFINITY]);
        assert_eq!(of(ReduceKind::ArgMax).unwrap_err(), CollectiveFault::Empty);
    }

    #[test]
    fn an_axis_in_the_middle_reduces() {
        let x = tile(&[2, 2, 2], &[1., 2., 3., 4., 5., 6., 7., 8.]);
        assert_eq!(reduce(&x, 1, ReduceKind::Sum, DType::F32).unwrap().float_slice(), [4., 6., 12., 14.]);
        assert_eq!(reduce(&x, 0, ReduceKind::ArgMin, DType::F32).unwrap().int_slice(), [0; 4]);
    }

    #[test]
    fn the_first_of_equals_wins_and_nan_loses() {
        let x = tile(&[1, 4], &[f64::NAN, 2.0, 3.0, 3.0]);
        assert_eq!(reduce(&x, 1, ReduceKind::ArgMax, DType::F32).unwrap().int_slice(), [2]);
        let (values, positions) = sorted(&x, 1, true, Some(3), DType::F32);
        assert_eq!((values.float_slice(), positions.int_slice()), (&[3.0, 3.0, 2.0][..], &[2, 3, 1][..]));
        let (values, positions) = sorted(&x, 1, true, Some(5), DType::F32);
        assert_eq!((values.float_slice()[4], positions.int_slice()[4]), (f64::NEG_INFINITY, -1));
    }

    #[test]
    fn scans_run_both_ways() {
        let x = tile(&[3], &[1.0, 2.0, 4.0]);
        let of = |reverse, exclusive| {
            let way = Direction { reverse, exclusive };
            scan(&x, 0, ReduceKind::Sum, way, DType::F32).unwrap().float_slice().to_vec()
        };
        assert_eq!(of(false, false), [1.0, 3.0, 7.0]);
        assert_eq!(of(true, false), [7.0, 6.0, 4.0]);
        assert_eq!(of(false, true), [0.0, 1.0, 3.0]);
        assert_eq!(of(true, true), [6.0, 4.0, 0.0]);
    }

    #[test]
    fn the_triangular_inverse_inverts() {
        let a = tile(&[3, 3], &[9., 9., 9., 2., 9., 9., 3., 4., 9.]);
        let inv = unit_lower_inv(&a);
        assert_eq!(inv.float_slice(), [1., 0., 0., -2., 1., 0., 5., -4., 1.]);
    }

    #[test]
    fn integer_sums_do_not_wrap() {
        let x = Val::ints(Shape::new(&[2]), vec![100, 100]);
        assert_eq!(reduce(&x, 0, ReduceKind::Sum, DType::I8).unwrap_err(), CollectiveFault::Overflow);
        assert_eq!(reduce(&x, 0, ReduceKind::Sum, DType::I32).unwrap().int_slice(), [200]);
    }
}
