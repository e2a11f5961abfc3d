//! Float arithmetic. f16 and bf16 compute in f32 (f64 for fma) and round once, which is exact for these formats;
//! f32 approximations compute in f64 and round, which is within every error the ISA documents.

use super::rows::{LANES, Rows, lanes};
use crate::ir::{FloatMods, FloatOp, FloatType, Rounding, Slot};
use half::{bf16, f16};

#[derive(Clone, Copy)]
pub struct FloatArgs {
    pub op: FloatOp,
    pub ty: FloatType,
    pub mods: FloatMods,
    pub d: Slot,
    pub a: Slot,
    pub b: Slot,
    pub c: Slot,
}

pub fn run(r: &mut Rows, mask: u32, x: FloatArgs) {
    let FloatArgs { op, ty, mods, d, a, b, c } = x;
    match ty {
        FloatType::F32 => single(r, mask, x),
        FloatType::F64 => {
            for lane in lanes(mask) {
                let read = |s| f64::from_bits(r.wide(s, lane));
                let value = double(op, mods, read(a), read(b), read(c));
                r.set_wide(d, lane, value.to_bits());
            }
        }
        FloatType::F16 => {
            r.map3(mask, d, a, b, c, |p, q, s| half_lane(op, mods, p as u16, q as u16, s as u16) as u32)
        }
        FloatType::Bf16 => {
            r.map3(mask, d, a, b, c, |p, q, s| brain_lane(op, mods, p as u16, q as u16, s as u16) as u32)
        }
        FloatType::F16x2 => r.map3(mask, d, a, b, c, |p, q, s| {
            let lane = |n: u32| half_lane(op, mods, (p >> n) as u16, (q >> n) as u16, (s >> n) as u16) as u32;
            lane(0) | lane(16) << 16
        }),
        FloatType::Bf16x2 => r.map3(mask, d, a, b, c, |p, q, s| {
            let lane =
                |n: u32| brain_lane(op, mods, (p >> n) as u16, (q >> n) as u16, (s >> n) as u16) as u32;
            lane(0) | lane(16) << 16
        }),
    }
}

fn single(r: &mut Rows, mask: u32, x: FloatArgs) {
    let FloatArgs { op, mods, d, a, b, c, .. } = x;
    let plain = mods == FloatMods::default();
    let f = f32::from_bits;
    match op {
        FloatOp::Add if plain => r.map2(mask, d, a, b, |p, q| canonical(f(p) + f(q))),
        FloatOp::Sub if plain => r.map2(mask, d, a, b, |p, q| canonical(f(p) - f(q))),
        FloatOp::Mul if plain => r.map2(mask, d, a, b, |p, q| canonical(f(p) * f(q))),
        FloatOp::Fma if plain => {
            let (x, y, z) = (*r.row(a), *r.row(b), *r.row(c));
            let mut out = [0; LANES];
            for l in 0..LANES {
                out[l] = canonical(f(x[l]).mul_add(f(y[l]), f(z[l])));
            }
            r.put(d, mask, &out);
        }
        FloatOp::Neg if !mods.ftz => r.map1(mask, d, a, |p| p ^ 1 << 31),
        FloatOp::Abs if !mods.ftz => r.map1(mask, d, a, |p| p & !(1 << 31)),
        _ => r.map3(mask, d, a, b, c, |p, q, s| {
            let flush = |v: f32| if mods.ftz && v.is_subnormal() { 0f32.copysign(v) } else { v };
            let exact = one(op, mods, flush(f(p)) as f64, flush(f(q)) as f64, flush(f(s)) as f64);
            let mut value = flush(to_f32(exact, mods.rounding));
            if mods.sat {
                value = if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) };
            }
            canonical(value)
        }),
    }
}

/// NaN results carry one payload, as the hardware's do.
#[inline(always)]
fn canonical(v: f32) -> u32 {
    if v.is_nan() { 0x7fff_ffff } else { v.to_bits() }
}

fn double(op: FloatOp, mods: FloatMods, p: f64, q: f64, s: f64) -> f64 {
    match op {
        FloatOp::Fma => p.mul_add(q, s),
        _ => one(op, mods, p, q, s),
    }
}

/// The function in f64; exact for f32 operands up to one rounding (fma by a product that is exact in f64).
fn one(op: FloatOp, mods: FloatMods, p: f64, q: f64, s: f64) -> f64 {
    match op {
        FloatOp::Add => p + q,
        FloatOp::Sub => p - q,
        FloatOp::Mul => p * q,
        FloatOp::Fma => round_to_odd_sum(p * q, s),
        FloatOp::Div => p / q,
        FloatOp::Min => extremum(mods.nan, p, q, |x, y| x < y || (x == y && x.is_sign_negative())),
        FloatOp::Max => extremum(mods.nan, p, q, |x, y| x > y || (x == y && x.is_sign_positive())),
        FloatOp::Abs => p.abs(),
        FloatOp::Neg => -p,
        FloatOp::Sqrt => p.sqrt(),
        FloatOp::Rsqrt => 1.0 / p.sqrt(),
        FloatOp::Rcp => 1.0 / p,
        FloatOp::Ex2 => p.exp2(),
        FloatOp::Lg2 => p.log2(),
        FloatOp::Sin => p.sin(),
        FloatOp::Cos => p.cos(),
        FloatOp::Tanh => p.tanh(),
        FloatOp::CopySign => q.copysign(p),
    }
}

/// `x + y` in f64, rounded to odd, so that a second rounding to f32 is as if there had been only one.
fn round_to_odd_sum(x: f64, y: f64) -> f64 {
    let sum = x + y;
    if !sum.is_finite() {
        return sum;
    }
    let back = sum - x;
    let error = (x - (sum - back)) + (y - back);
    if error == 0.0 || sum.to_bits() & 1 == 1 {
        return sum;
    }
    let away = (error > 0.0) == (sum > 0.0);
    f64::from_bits(if away { sum.to_bits() + 1 } else { sum.to_bits() - 1 })
}

fn extremum(nan: bool, p: f64, q: f64, first: impl Fn(f64, f64) -> bool) -> f64 {
    match (p.is_nan(), q.is_nan()) {
        (true, true) => f64::NAN,
        (true, false) => {
            if nan {
                f64::NAN
            } else {
                q
            }
        }
        (false, true) => {
            if nan {
                f64::NAN
            } else {
                p
            }
        }
        _ => {
            if first(p, q) {
                p
            } else {
                q
            }
        }
    }
}

/// f64 to f32 in a rounding mode.
pub fn to_f32(v: f64, rounding: Rounding) -> f32 {
    let near = v as f32;
    if near as f64 == v || v.is_nan() {
        return near;
    }
    let below = if near as f64 > v { near.next_down() } else { near };
    let above = if (near as f64) < v { near.next_up() } else { near };
    match rounding {
        Rounding::Down => below,
        Rounding::Up => above,
        Rounding::Zero => {
            if v > 0.0 {
                below
            } else {
                above
            }
        }
        _ => near,
    }
}

fn half_lane(op: FloatOp, mods: FloatMods, p: u16, q: u16, s: u16) -> u16 {
    let read = |v: u16| f16::from_bits(v).to_f64();
    match op {
        FloatOp::Neg => p ^ 0x8000,
        FloatOp::Abs => p & 0x7fff,
        _ => {
            let value = clamp(mods, one(op, mods, read(p), read(q), read(s)));
            if value.is_nan() { 0x7fff } else { f16::from_f64(value).to_bits() }
        }
    }
}

fn brain_lane(op: FloatOp, mods: FloatMods, p: u16, q: u16, s: u16) -> u16 {
    let read = |v: u16| bf16::from_bits(v).to_f64();
    match op {
        FloatOp::Neg => p ^ 0x8000,
        FloatOp::Abs => p & 0x7fff,
        _ => {
            let value = clamp(mods, one(op, mods, read(p), read(q), read(s)));
            if value.is_nan() { 0x7fff } else { bf16::from_f64(value).to_bits() }
        }
    }
}

fn clamp(mods: FloatMods, v: f64) -> f64 {
    if mods.sat {
        return if v.is_nan() { 0.0 } else { v.clamp(0.0, 1.0) };
    }
    if mods.relu && v < 0.0 { 0.0 } else { v }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fused_multiply_add_rounds_once() {
        let (p, q, s) = (1.0f32 + f32::EPSILON, 1.0 - f32::EPSILON, -1.0f32);
        let got =
            to_f32(one(FloatOp::Fma, FloatMods::default(), p as f64, q as f64, s as f64), Rounding::Nearest);
        assert_eq!(got, p.mul_add(q, s));
    }

    #[test]
    fn a_number_wins_against_nan_unless_asked() {
        let keep = FloatMods::default();
        assert_eq!(one(FloatOp::Max, keep, f64::NAN, 2.0, 0.0), 2.0);
        assert!(one(FloatOp::Max, FloatMods { nan: true, ..keep }, f64::NAN, 2.0, 0.0).is_nan());
    }

    #[test]
    fn directed_rounding() {
        let v = 1.0 + 1e-12;
        assert_eq!(to_f32(v, Rounding::Up), 1.0f32.next_up());
        assert_eq!(to_f32(v, Rounding::Down), 1.0);
    }
}
