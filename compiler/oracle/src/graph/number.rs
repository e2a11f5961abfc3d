//! Scalar arithmetic of the language (rule 7): rounding to a dtype, integers that never wrap quietly, NaN in
//! `max` and `min`.
//!
//! A result in f64 rounded once to f32 is the correctly rounded f32 result for `+ - * / sqrt` on f32 operands (f64
//! has more than twice the bits), so *rounded* mode needs no other arithmetic than f64's. Shifts are operations on
//! bits and drop what leaves the dtype; every other integer result outside the dtype is an overflow.

use tile_base::{
    DType,
    size::{floor_div, floor_mod},
};
use tile_graph::ElemOp;

/// Rounds each element to the nearest value of a float dtype, ties to even.
pub fn round_slice(dtype: DType, data: &mut [f64]) {
    match dtype {
        DType::F64 => {}
        DType::F32 => data.iter_mut().for_each(|x| *x = *x as f32 as f64),
        DType::F16 => data.iter_mut().for_each(|x| *x = round_normal::<10>(*x, -14, 65504.0, dtype)),
        DType::Bf16 => data.iter_mut().for_each(|x| *x = round_normal::<7>(*x, -126, MAX_BF16, dtype)),
        DType::Tf32 => data.iter_mut().for_each(|x| *x = round_normal::<10>(*x, -126, MAX_TF32, dtype)),
        _ => data.iter_mut().for_each(|x| *x = tile_tensor::convert::round_to(dtype, *x)),
    }
}

pub fn round(dtype: DType, x: f64) -> f64 {
    let mut one = [x];
    round_slice(dtype, &mut one);
    one[0]
}

/// 2^127 · (2 − 2^-7) and 2^127 · (2 − 2^-10), the greatest finite values.
const MAX_BF16: f64 = 3.3895313892515355e38;
const MAX_TF32: f64 = 3.4011621342146535e38;

/// The quick way for normal numbers of a format with `BITS` of significand: add half an ulp in the bits (ties to
/// even) and cut. What is zero, subnormal in the format, overflowing, infinite or NaN goes the general way.
#[inline(always)]
fn round_normal<const BITS: u32>(x: f64, min_exponent: i64, max: f64, dtype: DType) -> f64 {
    let bits = x.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i64 - 1023;
    if exponent < min_exponent || x.abs() > max {
        return if x == 0.0 { x } else { tile_tensor::convert::round_to(dtype, x) };
    }
    let drop = 52 - BITS;
    let odd = (bits >> drop) & 1;
    let rounded = f64::from_bits((bits + ((1u64 << (drop - 1)) - 1) + odd) & !((1u64 << drop) - 1));
    if rounded.abs() > max { f64::INFINITY.copysign(x) } else { rounded }
}

/// Whether an integer result lies in its dtype; a bool is 0 or 1.
pub fn fits(dtype: DType, x: i64) -> bool {
    match dtype.int_range() {
        Some((lo, hi)) => (lo..=hi).contains(&x),
        None => x == 0 || x == 1,
    }
}

/// Keeps the low bits of an integer, read as the dtype reads them.
pub fn wrap(dtype: DType, x: i64) -> i64 {
    let unused = 64 - dtype.bits() as u32;
    match dtype {
        DType::Bool => (x != 0) as i64,
        _ if dtype.is_signed() => (x << unused) >> unused,
        _ => (((x as u64) << unused) >> unused) as i64,
    }
}

/// A float made an integer: towards zero, to the nearest end of the range, NaN to 0.
pub fn float_to_int(dtype: DType, x: f64) -> i64 {
    if dtype == DType::Bool {
        return (x != 0.0) as i64;
    }
    let (lo, hi) = dtype.int_range().unwrap_or((i64::MIN, i64::MAX));
    (x as i64).clamp(lo, hi)
}

/// An integer made another one: to the nearest end of the range.
pub fn int_to_int(dtype: DType, x: i64) -> i64 {
    match dtype.int_range() {
        Some((lo, hi)) => x.clamp(lo, hi),
        None => (x != 0) as i64,
    }
}

/// IEEE maximumNumber: a NaN operand loses, +0 is greater than -0.
#[inline(always)]
pub fn max_number(a: f64, b: f64) -> f64 {
    if a > b || b.is_nan() || (a == b && a.is_sign_positive()) { a } else { b }
}

#[inline(always)]
pub fn min_number(a: f64, b: f64) -> f64 {
    if a < b || b.is_nan() || (a == b && a.is_sign_negative()) { a } else { b }
}

/// Why an integer operation has no result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IntFault {
    Overflow,
    DivisionByZero,
    Shift,
}

/// Integer and bool operations of one and two operands (`b` is ignored by the unary ones).
pub fn int_op(op: ElemOp, dtype: DType, a: i64, b: i64) -> Result<i64, IntFault> {
    use ElemOp::*;
    let exact = match op {
        Neg => a.checked_neg(),
        Abs => a.checked_abs(),
        Add => a.checked_add(b),
        Sub => a.checked_sub(b),
        Mul => a.checked_mul(b),
        Div | Rem if b == 0 => return Err(IntFault::DivisionByZero),
        Div => floor_div(a, b),
        Rem if b == -1 => Some(0),
        Rem => floor_mod(a, b),
        Pow => power(a, b),
        Max => Some(a.max(b)),
        Min => Some(a.min(b)),
        _ => return bit_op(op, dtype, a, b),
    };
    exact.filter(|&x| fits(dtype, x)).ok_or(IntFault::Overflow)
}

fn bit_op(op: ElemOp, dtype: DType, a: i64, b: i64) -> Result<i64, IntFault> {
    use ElemOp::*;
    Ok(match op {
        Not if dtype == DType::Bool => (a == 0) as i64,
        Not => wrap(dtype, !a),
        And => a & b,
        Or => a | b,
        Xor => a ^ b,
        Shl | Shr if b < 0 || b >= dtype.bits() as i64 => return Err(IntFault::Shift),
        Shl => wrap(dtype, a << b),
        Shr => a >> b,
        Popcount => (a as u64 & (u64::MAX >> (64 - dtype.bits()))).count_ones() as i64,
        Eq => (a == b) as i64,
        Ne => (a != b) as i64,
        Lt => (a < b) as i64,
        Le => (a <= b) as i64,
        Gt => (a > b) as i64,
        Ge => (a >= b) as i64,
        _ => return Err(IntFault::Overflow),
    })
}

/// `a` to the power of `b`; a negative power is the floor of the quotient, which only 1 and -1 have exactly.
fn power(a: i64, b: i64) -> Option<i64> {
    match (a, b) {
        (_, 0) | (1, _) => Some(1),
        (-1, b) => Some(if b % 2 == 0 { 1 } else { -1 }),
        (0, b) if b > 0 => Some(0),
        (a, b) => a.checked_pow(u32::try_from(b).ok()?),
    }
}

/// A float operation of one operand; `None` for one that floats do not have.
pub fn float_unary(op: ElemOp) -> Option<fn(f64) -> f64> {
    use ElemOp::*;
    Some(match op {
        Neg => |x| -x,
        Abs => f64::abs,
        Exp => f64::exp,
        Exp2 => f64::exp2,
        Log => f64::ln,
        Log2 => f64::log2,
        Sqrt => f64::sqrt,
        Rsqrt => |x| 1.0 / x.sqrt(),
        Sin => f64::sin,
        Cos => f64::cos,
        Tanh => f64::tanh,
        Erf => erf,
        Floor => f64::floor,
        Ceil => f64::ceil,
        Round => f64::round_ties_even,
        _ => return None,
    })
}

/// `%` of floats: as of integers, with the divisor's sign.
pub fn float_rem(a: f64, b: f64) -> f64 {
    let r = a % b;
    if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
}

/// The error function to about 1e-15: its Taylor series near 0, a continued fraction for erfc further out.
///
/// `erf x = 2/√π · Σ (-1)^n x^(2n+1) / (n! (2n+1))` loses digits to cancellation as `x` grows, so the equivalent
/// series of positive terms `2/√π · e^(-x²) · Σ 2^n x^(2n+1) / (2n+1)!!` is summed, up to |x| = 3.
pub fn erf(x: f64) -> f64 {
    const TWO_OVER_SQRT_PI: f64 = std::f64::consts::FRAC_2_SQRT_PI;
    let a = x.abs();
    if x.is_nan() {
        return x;
    }
    if a >= 6.0 {
        return 1f64.copysign(x);
    }
    if a < 3.0 {
        let (mut term, mut sum, mut n) = (x, x, 0.0);
        while term.abs() > 1e-17 * sum.abs() {
            n += 1.0;
            term *= 2.0 * x * x / (2.0 * n + 1.0);
            sum += term;
        }
        return TWO_OVER_SQRT_PI * (-x * x).exp() * sum;
    }
    // erfc(a) = e^(-a²)/√π · 1/(a + (1/2)/(a + 1/(a + (3/2)/(a + …)))), from the far end.
    let tail = (1..=60).rev().fold(a, |below, n| a + n as f64 / 2.0 / below);
    (1.0 - (-a * a).exp() * 0.5 * TWO_OVER_SQRT_PI / tail).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tile_tensor::convert::round_to;

    #[test]
    fn the_quick_rounding_agrees_with_the_general_one() {
        for dtype in [DType::F16, DType::Bf16, DType::Tf32, DType::F32, DType::F8e4m3] {
            let mut x = 1.7e-46f64;
            while x < 1e41 {
                for v in [x, -x, x * 1.5, (x as f32) as f64] {
                    assert_eq!(round(dtype, v).to_bits(), round_to(dtype, v).to_bits(), "{dtype} {v:e}");
                }
                x *= 1.00137;
            }
            for v in
                [0.0, -0.0, f64::INFINITY, 65519.9, 65520.0, 65504.0, MAX_BF16, MAX_TF32, f32::MAX as f64]
            {
                assert_eq!(round(dtype, v).to_bits(), round_to(dtype, v).to_bits(), "{dtype} {v:e}");
            }
            assert!(round(dtype, f64::NAN).is_nan());
        }
        assert_eq!(MAX_BF16, 2f64.powi(127) * (2.0 - 2f64.powi(-7)));
        assert_eq!(MAX_TF32, 2f64.powi(127) * (2.0 - 2f64.powi(-10)));
    }

    #[test]
    fn erf_agrees_with_known_values() {
        for (x, y) in [
            (0.1, 0.1124629160182849),
            (0.5, 0.5204998778130465),
            (1.0, 0.8427007929497149),
            (2.0, 0.9953222650189527),
            (2.999, 0.9999777698314002),
            (3.5, 0.9999992569016276),
        ] {
            assert!((erf(x) - y).abs() < 4e-15, "{x} {} {y}", erf(x));
            assert_eq!(erf(-x), -erf(x));
        }
        assert!((erf(3.0 - 1e-12) - erf(3.0 + 1e-12)).abs() < 1e-14);
        assert_eq!(erf(f64::NEG_INFINITY), -1.0);
    }

    #[test]
    fn division_floors_and_shifts_drop_bits() {
        assert_eq!(int_op(ElemOp::Div, DType::I64, -7, 2), Ok(-4));
        assert_eq!(int_op(ElemOp::Rem, DType::I64, -7, 2), Ok(1));
        assert_eq!(int_op(ElemOp::Rem, DType::I64, i64::MIN, -1), Ok(0));
        assert_eq!(int_op(ElemOp::Add, DType::I8, 100, 100), Err(IntFault::Overflow));
        assert_eq!(int_op(ElemOp::Shl, DType::U8, 0xff, 4), Ok(0xf0));
        assert_eq!(int_op(ElemOp::Shr, DType::I32, -8, 1), Ok(-4));
        assert_eq!(int_op(ElemOp::Popcount, DType::I8, -1, 0), Ok(8));
        assert_eq!(int_op(ElemOp::Div, DType::I32, 1, 0), Err(IntFault::DivisionByZero));
    }

    #[test]
    fn a_nan_operand_loses() {
        assert_eq!(max_number(f64::NAN, 1.0), 1.0);
        assert_eq!(max_number(1.0, f64::NAN), 1.0);
        assert!(max_number(-0.0, 0.0).is_sign_positive() && max_number(0.0, -0.0).is_sign_positive());
        assert!(min_number(-0.0, 0.0).is_sign_negative());
        assert!(max_number(f64::NAN, f64::NAN).is_nan());
    }
}
