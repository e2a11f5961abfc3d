//! Float arithmetic rounded to nearest, as kernels mostly have it: on the host's own numbers, without the detour over exact
//! values of [`super::round`]. The results are the same; the tests of both say so.
//!
//! f16 and bf16 compute in f32, which is wide enough that rounding twice does no harm for sums and products
//! (24 ≥ 2·11 + 2 bits); a fused product and sum goes through numbers that are rounded to odd. Each loop over the lanes holds one
//! operation and no branch, so that the compiler takes eight lanes at once.

use super::{
    float::FloatArgs,
    halves::{Brain, Half, Narrow},
    rows::{LANES, Row, Rows},
};
use crate::ir::{FloatMods, FloatOp, FloatType, Rounding};
use std::marker::PhantomData;

/// Executes what has a fast way; false: nothing was done.
pub fn run(r: &mut Rows, mask: u32, x: FloatArgs) -> bool {
    let FloatArgs { op, ty, mods, d, a, b, c } = x;
    if mods.rounding != Rounding::Nearest || mods.xorsign_abs || mods.nan {
        return false;
    }
    let (p, q, s) = (*r.row(a), *r.row(b), *r.row(c));
    let mut out = [0; LANES];
    let done = match ty {
        FloatType::F32 => single(op, mods, [&p, &q, &s], &mut out),
        FloatType::F16x2 | FloatType::F16 => {
            halves::<Half>(op, ty, mods, fused_halves, [&p, &q, &s], &mut out)
        }
        FloatType::Bf16x2 | FloatType::Bf16 => {
            halves::<Brain>(op, ty, mods, fused_brains, [&p, &q, &s], &mut out)
        }
        FloatType::F64 => false,
    };
    if done {
        r.put(d, mask, &out);
    }
    done
}

/// One loop over the lanes, compiled for each vector width that the CPU may have.
struct Loop<'a, F> {
    rows: [&'a Row; 3],
    out: &'a mut Row,
    f: F,
}

impl<F: Fn(f32, f32, f32) -> f32> pulp::NullaryFnOnce for Loop<'_, F> {
    /// Whether a result is the least normal number: it may have been less before it was rounded.
    type Output = bool;

    #[inline(always)]
    fn call(self) -> bool {
        let [p, q, s] = self.rows;
        let mut least = 0u32;
        for l in 0..LANES {
            let v = (self.f)(f32::from_bits(p[l]), f32::from_bits(q[l]), f32::from_bits(s[l]));
            least |= (v.abs() == f32::MIN_POSITIVE) as u32;
            self.out[l] = if v.is_nan() { 0x7fff_ffff } else { v.to_bits() };
        }
        least != 0
    }
}

#[inline(always)]
fn flushed(v: f32) -> f32 {
    if v.abs() < f32::MIN_POSITIVE { 0f32.copysign(v) } else { v }
}

fn single(op: FloatOp, mods: FloatMods, rows: [&Row; 3], out: &mut Row) -> bool {
    macro_rules! lanes {
        ($f:expr) => {{
            let f = $f;
            match (mods.ftz, mods.sat || mods.relu) {
                (_, true) => return false,
                (false, _) => {
                    pulp::Arch::new().dispatch(Loop { rows, out, f });
                }
                (true, _) => {
                    let f = |p, q, s| flushed(f(flushed(p), flushed(q), flushed(s)));
                    // The slow way knows whether such a result has to be a zero.
                    if pulp::Arch::new().dispatch(Loop { rows, out, f }) {
                        return false;
                    }
                }
            }
        }};
    }
    match op {
        FloatOp::Add => lanes!(|p: f32, q: f32, _: f32| p + q),
        FloatOp::Sub => lanes!(|p: f32, q: f32, _: f32| p - q),
        FloatOp::Mul => lanes!(|p: f32, q: f32, _: f32| p * q),
        FloatOp::Fma => lanes!(|p: f32, q: f32, s: f32| p.mul_add(q, s)),
        FloatOp::Div => lanes!(|p: f32, q: f32, _: f32| p / q),
        FloatOp::Sqrt => lanes!(|p: f32, _: f32, _: f32| p.sqrt()),
        FloatOp::Rcp => lanes!(|p: f32, _: f32, _: f32| 1.0 / p),
        FloatOp::Rsqrt => lanes!(|p: f32, _: f32, _: f32| (1.0 / (p as f64).sqrt()) as f32),
        FloatOp::Ex2 => lanes!(|p: f32, _: f32, _: f32| power_of_two(p)),
        FloatOp::Lg2 => lanes!(|p: f32, _: f32, _: f32| (p as f64).log2() as f32),
        // NaN loses; -0 lies below +0.
        FloatOp::Min => lanes!(|p: f32, q: f32, _: f32| {
            let less = if p == q { p.is_sign_negative() } else { p < q };
            if q.is_nan() || (less && !p.is_nan()) { p } else { q }
        }),
        FloatOp::Max => lanes!(|p: f32, q: f32, _: f32| {
            let more = if p == q { p.is_sign_positive() } else { p > q };
            if q.is_nan() || (more && !p.is_nan()) { p } else { q }
        }),
        _ => return false,
    }
    true
}

/// The same for one half of each word; tells whether a result was subnormal in f32.
struct HalfLoop<'a, T, F> {
    rows: [&'a Row; 3],
    shift: u32,
    out: &'a mut Row,
    f: F,
    format: PhantomData<T>,
}

impl<T: Narrow, F: Fn(f32, f32, f32) -> f32> pulp::NullaryFnOnce for HalfLoop<'_, T, F> {
    type Output = bool;

    #[inline(always)]
    fn call(self) -> bool {
        let ([p, q, s], shift) = (self.rows, self.shift);
        let mut subnormal = 0u32;
        for l in 0..LANES {
            let v = (self.f)(T::wide(p[l] >> shift), T::wide(q[l] >> shift), T::wide(s[l] >> shift));
            let size = v.to_bits() & 0x7fff_ffff;
            subnormal |= (size != 0 && size < 1 << 23) as u32;
            self.out[l] |= T::narrow(v) << shift;
        }
        subnormal != 0
    }
}

fn halves<T: Narrow>(
    op: FloatOp,
    ty: FloatType,
    mods: FloatMods,
    fused: impl Fn(f32, f32, f32) -> f32 + Copy,
    rows: [&Row; 3],
    out: &mut Row,
) -> bool {
    if mods.ftz || mods.sat || mods.relu {
        return false;
    }
    let arch = pulp::Arch::new();
    macro_rules! lanes {
        ($f:expr, $shift:expr) => {
            arch.dispatch(HalfLoop { rows, shift: $shift, out, f: $f, format: PhantomData::<T> })
        };
    }
    let pair = matches!(ty, FloatType::F16x2 | FloatType::Bf16x2);
    for shift in if pair { &[0, 16][..] } else { &[0] } {
        let subnormal = match op {
            FloatOp::Add => lanes!(|p, q, _| p + q, *shift),
            FloatOp::Sub => lanes!(|p, q, _| p - q, *shift),
            FloatOp::Mul => lanes!(|p, q, _| p * q, *shift),
            FloatOp::Fma => lanes!(fused, *shift),
            _ => return false,
        };
        // The products of bf16 may be subnormal in f32 already, and are then rounded twice.
        if subnormal {
            return false;
        }
    }
    true
}

/// `p q + s` of f16 as an f32 rounded to odd: the product is exact, the sum keeps a trace of what it loses.
#[inline(always)]
fn fused_halves(p: f32, q: f32, s: f32) -> f32 {
    let product = p * q;
    let sum = product + s;
    let back = sum - product;
    let error = (product - (sum - back)) + (s - back);
    let bits = sum.to_bits();
    // What was lost points away from zero, or towards it.
    let odd = if (error > 0.0) == (sum > 0.0) { bits | 1 } else { bits.wrapping_sub(1) | 1 };
    if error == 0.0 || !sum.is_finite() { sum } else { f32::from_bits(odd) }
}

/// The same of bf16: the product is exact in f64 only, and the step to f32 keeps a trace, too.
#[inline(always)]
fn fused_brains(p: f32, q: f32, s: f32) -> f32 {
    let (product, s) = (p as f64 * q as f64, s as f64);
    let sum = product + s;
    let back = sum - product;
    let error = (product - (sum - back)) + (s - back);
    let bits = sum.to_bits();
    let odd = if (error > 0.0) == (sum > 0.0) { bits | 1 } else { bits.wrapping_sub(1) | 1 };
    let sum = if error == 0.0 || !sum.is_finite() { sum } else { f64::from_bits(odd) };
    let near = sum as f32;
    let beyond = (near.abs() as f64) > sum.abs();
    let below = near.to_bits().wrapping_sub(beyond as u32) | 1;
    if near as f64 == sum || !near.is_finite() || sum.is_nan() { near } else { f32::from_bits(below) }
}

/// The series of 2^x, for |x| up to a half good to 2^-37: ln(2)^n / n!
const SERIES: [f64; 10] = {
    let (mut series, mut n) = ([1.0; 10], 1);
    while n < 10 {
        series[n] = series[n - 1] * std::f64::consts::LN_2 / n as f64;
        n += 1;
    }
    series
};

/// 2^x: the nearest integer goes to the exponent, the rest through the series; rounding to f32 is nearly all of the error.
///
/// ```text
/// 3.25 → 2^3 · 2^0.25        an integral x has a rest of 0: 2^n is exact
/// ```
#[inline(always)]
fn power_of_two(x: f32) -> f32 {
    // Beyond these all is infinity or zero.
    let x = (x as f64).clamp(-200.0, 200.0);
    // Adding and taking away 1.5 · 2^52 leaves the nearest integer.
    let magic = 6_755_399_441_055_744.0;
    let shifted = x + magic;
    let whole = shifted - magic;
    let rest = x - whole;
    let sum = SERIES.iter().rev().fold(0.0, |sum, c| sum * rest + c);
    let exponent = (shifted.to_bits() as u32 as i32).wrapping_add(1023) as u64;
    (sum * f64::from_bits(exponent << 52)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_are_the_nearest_number_or_its_neighbour() {
        for n in -150..=128 {
            assert_eq!(power_of_two(n as f32), 2f64.powi(n) as f32, "{n}");
        }
        for n in 0..200_000 {
            let x = (n as f32 - 100_000.0) * 0.001_37;
            let (got, want) = (power_of_two(x), (x as f64).exp2() as f32);
            assert!(got.to_bits().abs_diff(want.to_bits()) <= 1, "{x}: {got} {want}");
        }
        assert!(power_of_two(f32::NAN).is_nan());
        assert_eq!((power_of_two(f32::INFINITY), power_of_two(f32::NEG_INFINITY)), (f32::INFINITY, 0.0));
    }
}
