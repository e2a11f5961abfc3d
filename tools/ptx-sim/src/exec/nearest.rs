//! Float arithmetic rounded to nearest, as kernels mostly have it: on the host's own numbers, without the detour over exact
//! values of [`super::round`]. The results are the same; the tests of both say so.
//!
//! f16 and bf16 compute in f32, which is wide enough that rounding twice does no harm for sums and products
//! (24 ≥ 2·11 + 2 bits); a fused product and sum goes through an f64 and an f32 that are rounded to odd.

use super::{
    float::FloatArgs,
    rows::{LANES, Row, Rows},
};
use crate::ir::{FloatMods, FloatOp, FloatType, Rounding};
use half::{bf16, f16};

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
        FloatType::F16x2 | FloatType::F16 => halves::<Half>(op, ty, mods, [&p, &q, &s], &mut out),
        FloatType::Bf16x2 | FloatType::Bf16 => halves::<Brain>(op, ty, mods, [&p, &q, &s], &mut out),
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
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let [p, q, s] = self.rows;
        for l in 0..LANES {
            let v = (self.f)(f32::from_bits(p[l]), f32::from_bits(q[l]), f32::from_bits(s[l]));
            self.out[l] = if v.is_nan() { 0x7fff_ffff } else { v.to_bits() };
        }
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
                (false, _) => pulp::Arch::new().dispatch(Loop { rows, out, f }),
                (true, _) => pulp::Arch::new().dispatch(Loop {
                    rows,
                    out,
                    f: |p, q, s| flushed(f(flushed(p), flushed(q), flushed(s))),
                }),
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
        FloatOp::Ex2 => lanes!(|p: f32, _: f32, _: f32| (p as f64).exp2() as f32),
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

/// A format of 16 bits.
trait Narrow {
    fn wide(bits: u16) -> f32;
    fn narrow(v: f32) -> u16;
}

struct Half;
struct Brain;

impl Narrow for Half {
    fn wide(bits: u16) -> f32 {
        f16::from_bits(bits).to_f32()
    }
    fn narrow(v: f32) -> u16 {
        if v.is_nan() { 0x7fff } else { f16::from_f32(v).to_bits() }
    }
}

impl Narrow for Brain {
    fn wide(bits: u16) -> f32 {
        f32::from_bits((bits as u32) << 16)
    }
    fn narrow(v: f32) -> u16 {
        if v.is_nan() { 0x7fff } else { bf16::from_f32(v).to_bits() }
    }
}

fn halves<T: Narrow>(op: FloatOp, ty: FloatType, mods: FloatMods, rows: [&Row; 3], out: &mut Row) -> bool {
    if mods.ftz || mods.sat || mods.relu {
        return false;
    }
    let f: fn(f32, f32, f32) -> f32 = match op {
        FloatOp::Add => |p, q, _| p + q,
        FloatOp::Sub => |p, q, _| p - q,
        FloatOp::Mul => |p, q, _| p * q,
        FloatOp::Fma => fused,
        _ => return false,
    };
    let pair = matches!(ty, FloatType::F16x2 | FloatType::Bf16x2);
    let [p, q, s] = rows;
    for l in 0..LANES {
        let part = |n: u32| {
            let wide = |w: u32| T::wide((w >> n) as u16);
            let v = f(wide(p[l]), wide(q[l]), wide(s[l]));
            // The products of bf16 may be subnormal in f32 already, and are then rounded twice.
            if v.is_subnormal() { None } else { Some((T::narrow(v) as u32) << n) }
        };
        out[l] = match (part(0), if pair { part(16) } else { Some(0) }) {
            (Some(lo), Some(hi)) => lo | hi,
            _ => return false,
        };
    }
    true
}

/// `p q + s` as an f32 rounded to odd: the product is exact in f64, the sum keeps a trace of what it loses, and so
/// does the step to f32.
fn fused(p: f32, q: f32, s: f32) -> f32 {
    let (x, y) = (p as f64 * q as f64, s as f64);
    let sum = x + y;
    if !sum.is_finite() {
        return sum as f32;
    }
    let back = sum - x;
    let error = (x - (sum - back)) + (y - back);
    let odd = match error == 0.0 || sum.to_bits() & 1 == 1 {
        true => sum,
        false if (error > 0.0) == (sum > 0.0) => f64::from_bits(sum.to_bits() + 1),
        false => f64::from_bits(sum.to_bits() - 1),
    };
    let near = odd as f32;
    if near as f64 == odd || near.is_infinite() {
        return near;
    }
    let below = if (near.abs() as f64) > odd.abs() { near.to_bits() - 1 } else { near.to_bits() };
    f32::from_bits(below | 1)
}
