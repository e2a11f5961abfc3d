//! Float arithmetic. Sums, products, quotients and roots are exact and rounded once in the mode asked for
//! ([`super::round`]); to nearest the host's numbers do the same ([`super::nearest`]). Approximations compute in f64 and
//! round: within every error the ISA documents.

use super::{
    nearest,
    round::{BF16, Exact, F16, F32, F64, Format},
    rows::{Rows, lanes},
};
use crate::ir::{AtomOp, FloatMods, FloatOp, FloatType, Rounding, Scalar, Slot};

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
    if nearest::run(r, mask, x) {
        return;
    }
    let FloatArgs { op, ty, mods, d, a, b, c } = x;
    let half = |format: Format| {
        move |p: u32, q: u32, s: u32| narrow_lane(op, mods, format, p as u16, q as u16, s as u16) as u32
    };
    let pair = |format: Format| {
        let lane = half(format);
        move |p: u32, q: u32, s: u32| lane(p, q, s) | lane(p >> 16, q >> 16, s >> 16) << 16
    };
    match ty {
        FloatType::F32 => single(r, mask, x),
        FloatType::F64 => {
            for lane in lanes(mask) {
                let value = double(op, mods, r.wide(a, lane), r.wide(b, lane), r.wide(c, lane));
                r.set_wide(d, lane, value);
            }
        }
        FloatType::F16 => r.map3(mask, d, a, b, c, half(F16)),
        FloatType::Bf16 => r.map3(mask, d, a, b, c, half(BF16)),
        FloatType::F16x2 => r.map3(mask, d, a, b, c, pair(F16)),
        FloatType::Bf16x2 => r.map3(mask, d, a, b, c, pair(BF16)),
    }
}

fn single(r: &mut Rows, mask: u32, x: FloatArgs) {
    let FloatArgs { op, mods, d, a, b, c, .. } = x;
    match op {
        // Sums with -0 on the hardware, which give the one NaN.
        FloatOp::Neg if !mods.ftz => r.map1(mask, d, a, |p| if is_nan(p) { NAN } else { p ^ 1 << 31 }),
        FloatOp::Abs if !mods.ftz => r.map1(mask, d, a, |p| if is_nan(p) { NAN } else { p & !(1 << 31) }),
        FloatOp::CopySign => r.map2(mask, d, a, b, |p, q| (p & 1 << 31) | (q & !(1 << 31))),
        _ => r.map3(mask, d, a, b, c, |p, q, s| narrow(op, mods, F32, p as u64, q as u64, s as u64) as u32),
    }
}

const NAN: u32 = 0x7fff_ffff;

fn is_nan(code: u32) -> bool {
    f32::from_bits(code).is_nan()
}

fn narrow_lane(op: FloatOp, mods: FloatMods, format: Format, p: u16, q: u16, s: u16) -> u16 {
    match op {
        FloatOp::Neg | FloatOp::Abs if format.is_nan(p as u64) => format.nan() as u16,
        FloatOp::Neg if !mods.ftz => p ^ 0x8000,
        FloatOp::Abs if !mods.ftz => p & 0x7fff,
        _ => narrow(op, mods, format, p as u64, q as u64, s as u64) as u16,
    }
}

/// One operation of a format no wider than f32, on codes.
fn narrow(op: FloatOp, mods: FloatMods, format: Format, p: u64, q: u64, s: u64) -> u64 {
    let flush = |bits: u64| {
        let zero = mods.ftz && format.is_subnormal(bits);
        if zero {
            format.encode_f64(0f64.copysign(format.decode(bits)), Rounding::Nearest, false)
        } else {
            bits
        }
    };
    let read = |bits: u64| format.decode(flush(bits));
    let (p, q, s) = (read(p), read(q), read(s));
    let bits = match arithmetic(op, mods.rounding, p, q, s) {
        Some(exact) if mods.ftz => format.encode_flushed(exact, mods.rounding),
        Some(exact) => format.encode(exact, mods.rounding, false),
        None => format.encode_f64(function(op, mods, p, q, s), Rounding::Nearest, false),
    };
    clamp(mods, format, flush(bits))
}

/// Saturation to [0, 1], or to what is not negative.
fn clamp(mods: FloatMods, format: Format, bits: u64) -> u64 {
    if !mods.sat && !mods.relu {
        return bits;
    }
    let v = format.decode(bits);
    let one = |v| format.encode_f64(v, Rounding::Nearest, false);
    match () {
        () if v.is_nan() => {
            if mods.sat {
                0
            } else {
                format.nan()
            }
        }
        () if v <= 0.0 => 0,
        () if mods.sat && v > 1.0 => one(1.0),
        () => bits,
    }
}

fn double(op: FloatOp, mods: FloatMods, p: u64, q: u64, s: u64) -> u64 {
    let f = f64::from_bits;
    let exact = if mods.rounding == Rounding::Nearest {
        None
    } else {
        arithmetic(op, mods.rounding, f(p), f(q), f(s))
    };
    if let Some(exact) = exact {
        return F64.encode(exact, mods.rounding, false);
    }
    let value = match op {
        FloatOp::Neg => return p ^ 1 << 63,
        FloatOp::Abs => return p & !(1 << 63),
        FloatOp::CopySign => return (p & 1 << 63) | (q & !(1 << 63)),
        // The operands' upper halves only, subnormal ones flushed; the lower half of the result is 0.
        FloatOp::RcpCoarse | FloatOp::RsqrtCoarse => {
            let operand = f(p & !0xffff_ffff);
            let operand = if operand.is_subnormal() { 0f64.copysign(operand) } else { operand };
            let value = function(op, mods, operand, operand, operand);
            let value = if value.is_subnormal() { 0f64.copysign(value) } else { value };
            return value.to_bits() & !0xffff_ffff;
        }
        FloatOp::Fma => f(p).mul_add(f(q), f(s)),
        _ => function(op, mods, f(p), f(q), f(s)),
    };
    value.to_bits()
}

/// The exact result of the operations that are rounded correctly, where operands and result are finite numbers.
fn arithmetic(op: FloatOp, rounding: Rounding, p: f64, q: f64, s: f64) -> Option<Exact> {
    let two = p.is_finite() && q.is_finite();
    let e = |v: f64| Exact::from(v);
    Some(match op {
        FloatOp::Add if two => e(p).plus(e(q), rounding),
        FloatOp::Sub if two => e(p).plus(e(-q), rounding),
        FloatOp::Mul if two => e(p).times(e(q)),
        FloatOp::Fma if two && s.is_finite() => e(p).times(e(q)).plus(e(s), rounding),
        FloatOp::Div if two && q != 0.0 => e(p).over(e(q)),
        FloatOp::Rcp if p.is_finite() && p != 0.0 => e(1.0).over(e(p)),
        FloatOp::Sqrt if p.is_finite() && p >= 0.0 => e(p).root(),
        _ => return None,
    })
}

/// The function in f64.
fn function(op: FloatOp, mods: FloatMods, p: f64, q: f64, s: f64) -> f64 {
    match op {
        FloatOp::Add => p + q,
        FloatOp::Sub => p - q,
        FloatOp::Mul => p * q,
        FloatOp::Fma => p * q + s,
        FloatOp::Div => p / q,
        FloatOp::DivApprox => match q.abs() > 2f64.powi(126) && q.is_finite() {
            true if p.is_infinite() => f64::NAN,
            true => 0f64.copysign(p * q.signum()),
            false => p / q,
        },
        FloatOp::Min => extremum(mods, p, q, |x, y| x < y || (x == y && x.is_sign_negative())),
        FloatOp::Max => extremum(mods, p, q, |x, y| x > y || (x == y && x.is_sign_positive())),
        FloatOp::Abs => p.abs(),
        FloatOp::Neg => -p,
        FloatOp::Sqrt => p.sqrt(),
        FloatOp::Rsqrt | FloatOp::RsqrtCoarse => 1.0 / p.sqrt(),
        FloatOp::Rcp | FloatOp::RcpCoarse => 1.0 / p,
        FloatOp::Ex2 => p.exp2(),
        FloatOp::Lg2 => p.log2(),
        FloatOp::Sin => p.sin(),
        FloatOp::Cos => p.cos(),
        FloatOp::Tanh => p.tanh(),
        FloatOp::CopySign => q.copysign(p),
    }
}

fn extremum(mods: FloatMods, p: f64, q: f64, first: impl Fn(f64, f64) -> bool) -> f64 {
    let negative = mods.xorsign_abs && p.is_sign_negative() != q.is_sign_negative();
    let (p, q) = if mods.xorsign_abs { (p.abs(), q.abs()) } else { (p, q) };
    let pick = match (p.is_nan(), q.is_nan()) {
        (true, true) => f64::NAN,
        (true, false) | (false, true) if mods.nan => f64::NAN,
        (true, false) => q,
        (false, true) => p,
        _ if first(p, q) => p,
        _ => q,
    };
    if negative { -pick } else { pick }
}

/// `atom.min`, `atom.max` of halves, one or two in a word.
pub fn packed_extremum(op: AtomOp, ty: Scalar, old: u64, x: u64) -> u64 {
    let format = if matches!(ty, Scalar::F16 | Scalar::F16x2) { F16 } else { BF16 };
    let op = if op == AtomOp::Min { FloatOp::Min } else { FloatOp::Max };
    let lane = |shift: u32| {
        let (p, q) = (old >> shift & 0xffff, x >> shift & 0xffff);
        narrow(op, FloatMods::default(), format, p, q, q) << shift
    };
    let pair = matches!(ty, Scalar::F16x2 | Scalar::Bf16x2);
    if pair { lane(0) | lane(16) } else { lane(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn f32_of(op: FloatOp, mods: FloatMods, p: f32, q: f32, s: f32) -> f32 {
        let bits = |v: f32| v.to_bits() as u64;
        f32::from_bits(narrow(op, mods, F32, bits(p), bits(q), bits(s)) as u32)
    }

    #[test]
    fn fused_multiply_add_rounds_once() {
        let (p, q, s) = (1.0f32 + f32::EPSILON, 1.0 - f32::EPSILON, -1.0f32);
        assert_eq!(f32_of(FloatOp::Fma, FloatMods::default(), p, q, s), p.mul_add(q, s));
    }

    #[test]
    fn a_number_wins_against_nan_unless_asked() {
        let keep = FloatMods::default();
        assert_eq!(f32_of(FloatOp::Max, keep, f32::NAN, 2.0, 0.0), 2.0);
        assert!(f32_of(FloatOp::Max, FloatMods { nan: true, ..keep }, f32::NAN, 2.0, 0.0).is_nan());
    }

    #[test]
    fn a_sum_that_vanishes_is_negative_only_downwards() {
        let down = FloatMods { rounding: Rounding::Down, ..FloatMods::default() };
        assert!(f32_of(FloatOp::Sub, down, 1.0, 1.0, 0.0).is_sign_negative());
        assert!(f32_of(FloatOp::Sub, FloatMods::default(), 1.0, 1.0, 0.0).is_sign_positive());
    }
}
