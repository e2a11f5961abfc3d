//! `cvt` and `setp`.

use super::{
    float::to_f32,
    rows::{Rows, lanes},
};
use crate::ir::{Bool, Compare, FloatMods, Op, Rounding, Scalar, TestClass};
use half::{bf16, f16};

/// A number read from a register: integers exactly, floats as f64.
#[derive(Clone, Copy)]
enum Number {
    Int(i128),
    Float(f64),
}

pub fn convert(r: &mut Rows, mask: u32, op: &Op) {
    let Op::Convert { to, from, mods, d, a, b } = op else { return };
    for lane in lanes(mask) {
        let read = |slot| read(*from, r.row(slot)[lane], || r.wide(slot, lane));
        match to {
            // The first source becomes the high half.
            Scalar::F16x2 | Scalar::Bf16x2 if *from == Scalar::F32 => {
                let bits = |n| narrow(*to, relu(*mods, as_f64(n)), mods.rounding) as u32;
                r.row_mut(*d)[lane] = bits(read(*b)) | bits(read(*a)) << 16;
            }
            Scalar::E4m3x2 | Scalar::E5m2x2 => {
                let e4m3 = *to == Scalar::E4m3x2;
                let (hi, lo) = pair_of(*from, r.row(*a)[lane], r.row(*b)[lane]);
                let bits = |v| fp8_from(relu(*mods, v), e4m3) as u32;
                r.row_mut(*d)[lane] = bits(lo) | bits(hi) << 8;
            }
            Scalar::F16x2 => {
                let word = r.row(*a)[lane];
                let e4m3 = *from == Scalar::E4m3x2;
                let bits = |byte: u32| f16::from_f64(fp8_to(byte as u8, e4m3)).to_bits() as u32;
                r.row_mut(*d)[lane] = bits(word) | bits(word >> 8) << 16;
            }
            _ => {
                let value = write(*to, read(*a), *mods, matches!(from, Scalar::Int { .. }));
                match to {
                    Scalar::F64 | Scalar::Int { bits: 64, .. } => r.set_wide(*d, lane, value),
                    _ => r.row_mut(*d)[lane] = value as u32,
                }
            }
        }
    }
}

/// High and low source of a packed 8-bit conversion.
fn pair_of(from: Scalar, a: u32, b: u32) -> (f64, f64) {
    match from {
        Scalar::F16x2 => (f16::from_bits((a >> 16) as u16).to_f64(), f16::from_bits(a as u16).to_f64()),
        _ => (f32::from_bits(a) as f64, f32::from_bits(b) as f64),
    }
}

fn read(ty: Scalar, word: u32, wide: impl Fn() -> u64) -> Number {
    match ty {
        Scalar::Int { signed, bits } => {
            let raw = if bits == 64 { wide() } else { word as u64 };
            let shift = 64 - bits as u32;
            Number::Int(if signed {
                ((raw << shift) as i64 >> shift) as i128
            } else {
                (raw << shift >> shift) as i128
            })
        }
        Scalar::F16 => Number::Float(f16::from_bits(word as u16).to_f64()),
        Scalar::Bf16 => Number::Float(bf16::from_bits(word as u16).to_f64()),
        Scalar::F64 => Number::Float(f64::from_bits(wide())),
        _ => Number::Float(f32::from_bits(word) as f64),
    }
}

fn as_f64(n: Number) -> f64 {
    match n {
        Number::Int(v) => v as f64,
        Number::Float(v) => v,
    }
}

fn relu(mods: FloatMods, v: f64) -> f64 {
    if mods.relu && v < 0.0 { 0.0 } else { v }
}

fn integral(v: f64, rounding: Rounding) -> f64 {
    match rounding {
        Rounding::NearestInt | Rounding::Nearest => v.round_ties_even(),
        Rounding::DownInt | Rounding::Down => v.floor(),
        Rounding::UpInt | Rounding::Up => v.ceil(),
        _ => v.trunc(),
    }
}

fn write(ty: Scalar, value: Number, mods: FloatMods, from_int: bool) -> u64 {
    match ty {
        Scalar::Int { signed, bits } => {
            let (lo, hi) = match (signed, bits) {
                (true, n) => (-(1i128 << (n - 1)), (1i128 << (n - 1)) - 1),
                (false, n) => (0, (1i128 << n) - 1),
            };
            let int = match value {
                Number::Int(v) if mods.sat => v.clamp(lo, hi),
                Number::Int(v) => v,
                // Float to integer always clamps; NaN gives 0.
                Number::Float(v) if v.is_nan() => 0,
                Number::Float(v) => (integral(v, mods.rounding) as i128).clamp(lo, hi),
            };
            let low = if bits >= 32 { u64::MAX } else { (1 << bits) - 1 };
            // A narrow signed result is sign-extended to the register.
            if signed && bits < 32 { int as i64 as u32 as u64 } else { int as u64 & low }
        }
        _ => {
            let mut v = relu(mods, as_f64(value));
            if !from_int
                && matches!(
                    mods.rounding,
                    Rounding::NearestInt | Rounding::ZeroInt | Rounding::DownInt | Rounding::UpInt
                )
            {
                v = integral(v, mods.rounding);
            }
            if mods.sat {
                v = if v.is_nan() { 0.0 } else { v.clamp(0.0, 1.0) };
            }
            narrow(ty, v, mods.rounding)
        }
    }
}

fn narrow(ty: Scalar, v: f64, rounding: Rounding) -> u64 {
    match ty {
        Scalar::F64 => v.to_bits(),
        Scalar::F16 | Scalar::F16x2 => {
            if v.is_nan() {
                0x7fff
            } else {
                f16::from_f64(v).to_bits() as u64
            }
        }
        Scalar::Bf16 | Scalar::Bf16x2 => {
            if v.is_nan() {
                0x7fff
            } else {
                bf16::from_f64(v).to_bits() as u64
            }
        }
        Scalar::Tf32 => {
            // Ten bits of fraction, ties away from zero.
            let bits = (v as f32).to_bits();
            if (v as f32).is_finite() { (bits.wrapping_add(0x1000) & !0x1fff) as u64 } else { bits as u64 }
        }
        _ => {
            let f = to_f32(v, rounding);
            if f.is_nan() { 0x7fff_ffff } else { f.to_bits() as u64 }
        }
    }
}

/// e4m3 (no infinity, one NaN) or e5m2 to a number.
pub fn fp8_to(byte: u8, e4m3: bool) -> f64 {
    let (mantissa_bits, bias) = if e4m3 { (3, 7) } else { (2, 15) };
    let sign = if byte >> 7 == 1 { -1.0 } else { 1.0 };
    let exponent = (byte & 0x7f) >> mantissa_bits;
    let mantissa = (byte & ((1 << mantissa_bits) - 1)) as f64 / (1 << mantissa_bits) as f64;
    match (e4m3, byte & 0x7f) {
        (true, 0x7f) => return f64::NAN,
        (false, 0x7c) => return sign * f64::INFINITY,
        (false, 0x7d..) => return f64::NAN,
        _ => {}
    }
    let scaled = if exponent == 0 {
        mantissa * 2f64.powi(1 - bias)
    } else {
        (1.0 + mantissa) * 2f64.powi(exponent as i32 - bias)
    };
    sign * scaled
}

/// Nearest even, saturating to the greatest finite value.
pub fn fp8_from(v: f64, e4m3: bool) -> u8 {
    if v.is_nan() {
        return 0x7f;
    }
    let sign = if v.is_sign_negative() { 0x80 } else { 0 };
    let top = if e4m3 { 0x7e } else { 0x7b };
    let magnitude = v.abs();
    // The magnitudes rise with the code, so the nearest is found by bisection.
    let (mut lo, mut hi) = (0u8, top);
    while hi - lo > 1 {
        let mid = lo + (hi - lo) / 2;
        if fp8_to(mid, e4m3) <= magnitude { lo = mid } else { hi = mid }
    }
    let (below, above) = (magnitude - fp8_to(lo, e4m3), fp8_to(hi, e4m3) - magnitude);
    let pick = if below < above || (below == above && lo & 1 == 0) { lo } else { hi };
    sign | pick
}

pub fn setp(r: &mut Rows, mask: u32, op: &Op) {
    let Op::Setp { cmp, ty, combine, p, q, a, b, ftz } = op else { return };
    // Packed halves: the second predicate is the upper half's, not the complement of the first.
    let mut upper = None;
    let hits = match ty {
        Scalar::F16x2 | Scalar::Bf16x2 => {
            let half = if *ty == Scalar::F16x2 { Scalar::F16 } else { Scalar::Bf16 };
            let number = |word: u32| as_f64(read(half, word & 0xffff, || 0));
            let at = |r: &Rows, shift: u32| {
                bits2(r, *a, *b, |x, y| float_holds(*cmp, number(x >> shift), number(y >> shift)))
            };
            upper = Some(at(r, 16));
            at(r, 0)
        }
        Scalar::Int { signed: true, bits: 32 } => {
            bits2(r, *a, *b, |x, y| holds(*cmp, (x as i32).cmp(&(y as i32))))
        }
        Scalar::Int { bits: 32, .. } => bits2(r, *a, *b, |x, y| holds(*cmp, x.cmp(&y))),
        Scalar::F32 => bits2(r, *a, *b, |x, y| {
            let flush = |v: f32| if *ftz && v.is_subnormal() { 0.0 } else { v };
            float_holds(*cmp, flush(f32::from_bits(x)) as f64, flush(f32::from_bits(y)) as f64)
        }),
        _ => {
            let mut out = 0;
            for lane in 0..32 {
                let number = |slot| read(*ty, r.row(slot)[lane], || r.wide(slot, lane));
                let hit = match (number(*a), number(*b)) {
                    (Number::Int(x), Number::Int(y)) => holds(*cmp, x.cmp(&y)),
                    (x, y) => float_holds(*cmp, as_f64(x), as_f64(y)),
                };
                out |= (hit as u32) << lane;
            }
            out
        }
    };
    let join = |value: u32| match combine {
        None => value,
        Some((op, c, negated)) => {
            let c = if *negated { !r.pred(*c) } else { r.pred(*c) };
            match op {
                Bool::And => value & c,
                Bool::Or => value | c,
                Bool::Xor => value ^ c,
            }
        }
    };
    let (yes, no) = (join(hits), join(upper.unwrap_or(!hits)));
    if let Some(p) = p {
        r.set_pred(*p, yes, mask);
    }
    if let Some(q) = q {
        r.set_pred(*q, no, mask);
    }
}

#[inline(always)]
fn bits2(r: &Rows, a: u32, b: u32, f: impl Fn(u32, u32) -> bool) -> u32 {
    let (x, y) = (r.row(a), r.row(b));
    (0..32).fold(0, |out, lane| out | (f(x[lane], y[lane]) as u32) << lane)
}

#[inline(always)]
fn holds(cmp: Compare, order: std::cmp::Ordering) -> bool {
    match cmp {
        Compare::Eq | Compare::Equ => order.is_eq(),
        Compare::Ne | Compare::Neu => order.is_ne(),
        Compare::Lt | Compare::Ltu => order.is_lt(),
        Compare::Le | Compare::Leu => order.is_le(),
        Compare::Gt | Compare::Gtu => order.is_gt(),
        Compare::Ge | Compare::Geu => order.is_ge(),
        Compare::Num => true,
        Compare::Nan => false,
    }
}

fn float_holds(cmp: Compare, x: f64, y: f64) -> bool {
    match x.partial_cmp(&y) {
        Some(order) => holds(cmp, order),
        None => matches!(
            cmp,
            Compare::Equ
                | Compare::Neu
                | Compare::Ltu
                | Compare::Leu
                | Compare::Gtu
                | Compare::Geu
                | Compare::Nan
        ),
    }
}

pub fn test_class(r: &mut Rows, mask: u32, p: u32, a: u32, wide: bool, class: TestClass) {
    let mut out = 0;
    for lane in lanes(mask) {
        let v = if wide { f64::from_bits(r.wide(a, lane)) } else { f32::from_bits(r.row(a)[lane]) as f64 };
        let normal = if wide { v.is_normal() } else { f32::from_bits(r.row(a)[lane]).is_normal() };
        let hit = match class {
            TestClass::Finite => v.is_finite(),
            TestClass::Infinite => v.is_infinite(),
            TestClass::Number => !v.is_nan(),
            TestClass::NotANumber => v.is_nan(),
            TestClass::Normal => normal,
            TestClass::Subnormal => v.is_finite() && !normal && v != 0.0,
        };
        out |= (hit as u32) << lane;
    }
    r.set_pred(p, out, mask);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fp8_round_trips_and_saturates() {
        for e4m3 in [true, false] {
            for code in 0..0x7bu8 {
                assert_eq!(fp8_from(fp8_to(code, e4m3), e4m3), code);
            }
        }
        assert_eq!(fp8_to(fp8_from(1e9, true), true), 448.0);
        assert_eq!(fp8_from(-0.0, true), 0x80);
    }

    #[test]
    fn float_to_integer_clamps_and_nan_is_zero() {
        let s32 = Scalar::Int { signed: true, bits: 32 };
        let rz = FloatMods { rounding: Rounding::ZeroInt, ..Default::default() };
        assert_eq!(write(s32, Number::Float(1e20), rz, false) as u32, i32::MAX as u32);
        assert_eq!(write(s32, Number::Float(f64::NAN), rz, false), 0);
        assert_eq!(write(s32, Number::Float(-1.7), rz, false) as u32 as i32, -1);
    }
}
