//! Numbers between f64 and the dtypes of the language (rule 7): floats round to nearest even and saturate into 8 bits;
//! into integers they are truncated towards zero and saturate.
//!
//! Every value of every dtype but `i64` is an f64 exactly, so one pair of functions serves all: [`encode`] rounds
//! an f64 to the dtype and gives the stored bits, [`decode`] gives the f64 of stored bits, and
//! [`round_to`] is the one after the other. The rounding is done once, straight from f64: going through f32 first
//! could round twice.
//!
//! A binary float format is three numbers: the bits of its significand after the point (`p`), its least normal
//! exponent (`emin`) and its greatest value. A number with exponent `e` is a multiple of the quantum
//! `2^(max(e, emin) - p)`; rounding is `round_ties_even(v / quantum) * quantum`, and both scalings are exact because
//! the quantum is a power of two. Example, `f8e4m3` (`p` = 3, `emin` = -6): 19 = 1.0011b * 2^4 has the quantum
//! 2^(4-3) = 2, 19 / 2 = 9.5 rounds to the even 10, so the result is 20.
//!
//! | dtype | overflow | NaN |
//! | --- | --- | --- |
//! | f32 tf32 f16 bf16 | becomes infinite | NaN |
//! | f8e4m3 (448, no infinity), f8e5m2 (57344) | the greatest finite value, for infinities too | NaN |
//! | f4e2m1 (6, neither infinity nor NaN) | the greatest value | +6 |
//! | integers | the nearest end of the range | 0 |
//! | bool | anything but 0 is true | true |

use tile_base::DType;

/// A binary floating-point format of at most 32 bits.
struct Format {
    /// Bits of the significand after the point.
    fraction: i32,
    exponent_bits: u32,
    /// Exponent of the least normal number.
    min_exponent: i32,
    max: f64,
    saturates: bool,
}

/// 2^127, the greatest power of two of an 8-bit exponent.
const TOP: f64 = 170141183460469231731687303715884105728.0;

fn format_of(dtype: DType) -> Option<Format> {
    let f = |fraction, exponent_bits, min_exponent, max, saturates| {
        Some(Format { fraction, exponent_bits, min_exponent, max, saturates })
    };
    match dtype {
        DType::F32 => f(23, 8, -126, f32::MAX as f64, false),
        DType::Tf32 => f(10, 8, -126, TOP * (2.0 - 1.0 / 1024.0), false),
        DType::Bf16 => f(7, 8, -126, TOP * (2.0 - 1.0 / 128.0), false),
        DType::F16 => f(10, 5, -14, 65504.0, false),
        DType::F8e5m2 => f(2, 5, -14, 57344.0, true),
        DType::F8e4m3 => f(3, 4, -6, 448.0, true),
        DType::F4e2m1 => f(1, 2, 0, 6.0, true),
        _ => None,
    }
}

/// `2^e` for every exponent an f64 can have, subnormal ones included.
fn power_of_two(e: i32) -> f64 {
    match e {
        -1022..=1023 => f64::from_bits(((e + 1023) as u64) << 52),
        -1074..=-1023 => f64::from_bits(1 << (e + 1074)),
        _ => 2f64.powi(e),
    }
}

/// The exponent of a finite number that is not zero: `2^e <= |v| < 2^(e+1)`.
fn exponent(v: f64) -> i32 {
    let biased = ((v.to_bits() >> 52) & 0x7ff) as i32;
    match biased {
        0 => 63 - (v.to_bits() << 1 >> 1).leading_zeros() as i32 - 1074,
        _ => biased - 1023,
    }
}

fn round_float(f: &Format, v: f64) -> f64 {
    if v.is_nan() || v == 0.0 {
        return v;
    }
    let limit = if f.saturates { f.max } else { f64::INFINITY };
    if v.is_infinite() {
        return limit.copysign(v);
    }
    let quantum = power_of_two(exponent(v).max(f.min_exponent) - f.fraction);
    let rounded = (v / quantum).round_ties_even() * quantum;
    if rounded.abs() > f.max { limit.copysign(v) } else { rounded }
}

/// The value of `dtype` that `v` becomes, as an f64 (see the table above). For `i64` exact up to 2^53.
pub fn round_to(dtype: DType, v: f64) -> f64 {
    match dtype {
        DType::F64 => v,
        DType::F32 => v as f32 as f64,
        DType::F4e2m1 if v.is_nan() => 6.0,
        DType::Bool => (v != 0.0) as u8 as f64,
        _ => match (format_of(dtype), dtype.int_range()) {
            (Some(f), _) => round_float(&f, v),
            (None, Some(_)) => to_int(dtype, v) as f64,
            (None, None) => v,
        },
    }
}

/// `v` without its fraction, moved into the range of `dtype`; NaN gives 0. For `bool` 0 or 1.
pub fn to_int(dtype: DType, v: f64) -> i64 {
    if dtype == DType::Bool {
        return (v != 0.0) as i64;
    }
    let (lo, hi) = dtype.int_range().unwrap_or((i64::MIN, i64::MAX));
    (v as i64).clamp(lo, hi)
}

/// An integer moved into the range of `dtype`; a float dtype rounds, as text `3` becomes `3.0`.
pub fn saturate(dtype: DType, v: i64) -> i64 {
    match dtype.int_range() {
        Some((lo, hi)) => v.clamp(lo, hi),
        None if dtype == DType::Bool => (v != 0) as i64,
        None => v,
    }
}

/// The stored bits (in the low `dtype.bits()` bits) of the value of `dtype` nearest to `v`.
pub fn encode(dtype: DType, v: f64) -> u64 {
    match dtype {
        DType::F64 => v.to_bits(),
        DType::F32 => (v as f32).to_bits() as u64,
        _ => match format_of(dtype) {
            Some(f) => encode_float(dtype, &f, round_to(dtype, v)),
            None => encode_int(dtype, to_int(dtype, v)),
        },
    }
}

/// The stored bits of an integer within the range of an integer dtype or bool (two's complement).
pub fn encode_int(dtype: DType, v: i64) -> u64 {
    match dtype.bits() {
        64 => v as u64,
        bits => v as u64 & ((1 << bits) - 1),
    }
}

fn encode_float(dtype: DType, f: &Format, v: f64) -> u64 {
    if dtype == DType::Tf32 {
        return (v as f32).to_bits() as u64; // stored as f32
    }
    let (fraction, exponents) = (f.fraction as u32, f.exponent_bits);
    let sign = (v.is_sign_negative() as u64) << (fraction + exponents);
    let top_exponent = (1u64 << exponents) - 1;
    if v.is_nan() {
        let quiet = if dtype == DType::F8e4m3 { 0x7 } else { 1 << (fraction - 1) };
        return sign | top_exponent << fraction | quiet;
    }
    if v.is_infinite() {
        return sign | top_exponent << fraction;
    }
    if v == 0.0 {
        return sign;
    }
    let e = exponent(v);
    let quantum = power_of_two(e.max(f.min_exponent) - f.fraction);
    let significand = (v.abs() / quantum) as u64;
    let biased = if e < f.min_exponent { 0 } else { (e - f.min_exponent + 1) as u64 };
    sign | biased << fraction | significand & ((1 << fraction) - 1)
}

/// The value of stored bits.
pub fn decode(dtype: DType, bits: u64) -> f64 {
    match dtype {
        DType::F64 => f64::from_bits(bits),
        DType::F32 | DType::Tf32 => f32::from_bits(bits as u32) as f64,
        _ => match format_of(dtype) {
            Some(f) => decode_float(dtype, &f, bits),
            None => decode_int(dtype, bits) as f64,
        },
    }
}

/// The value of the stored bits of an integer dtype or bool.
pub fn decode_int(dtype: DType, bits: u64) -> i64 {
    let unused = 64 - dtype.bits() as u32;
    match dtype {
        DType::Bool => (bits & 0xff != 0) as i64,
        _ if dtype.is_signed() => (bits << unused) as i64 >> unused,
        _ => (bits << unused >> unused) as i64,
    }
}

fn decode_float(dtype: DType, f: &Format, bits: u64) -> f64 {
    let fraction = f.fraction as u32;
    let sign = if bits >> (fraction + f.exponent_bits) & 1 == 1 { -1.0 } else { 1.0 };
    let biased = (bits >> fraction) & ((1 << f.exponent_bits) - 1);
    let rest = bits & ((1 << fraction) - 1);
    let top = biased == (1 << f.exponent_bits) - 1;
    match dtype {
        DType::F8e4m3 if top && rest == 7 => return f64::NAN.copysign(sign),
        DType::F8e4m3 | DType::F4e2m1 => {}
        _ if top && rest == 0 => return sign * f64::INFINITY,
        _ if top => return f64::NAN.copysign(sign),
        _ => {}
    }
    let (e, hidden) = match biased {
        0 => (f.min_exponent, 0),
        _ => (f.min_exponent + biased as i32 - 1, 1u64 << fraction),
    };
    sign * (rest | hidden) as f64 * power_of_two(e - f.fraction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use DType::*;

    #[test]
    fn every_bit_pattern_of_the_small_floats_comes_back() {
        for dtype in [F16, Bf16, F8e4m3, F8e5m2, F4e2m1, I16, I8, U8, I4, U4, I2] {
            for bits in 0..1u64 << dtype.bits() {
                let v = decode(dtype, bits);
                if v.is_nan() || v.is_infinite() {
                    continue;
                }
                assert_eq!(encode(dtype, v), bits, "{dtype} {bits:#x} {v}");
                assert_eq!(round_to(dtype, v), v);
            }
        }
    }

    #[test]
    fn f16_and_bf16_agree_with_the_half_crate() {
        for bits in 0..=u16::MAX {
            let (h, b) = (half::f16::from_bits(bits), half::bf16::from_bits(bits));
            assert!(decode(F16, bits as u64) == h.to_f64() || h.is_nan());
            assert!(decode(Bf16, bits as u64) == b.to_f64() || b.is_nan());
        }
        // Midway between neighbours, and a hair beside it: one rounding, to even.
        for i in 0..2000u64 {
            let v = f64::from_bits(0x3f00_0000_0000_0000 + i * 0x0000_1357_9bdf_1234);
            assert_eq!(encode(F16, v) as u16, half::f16::from_f64(v).to_bits(), "{v:e}");
        }
    }

    #[test]
    fn ties_go_to_even_and_eight_bits_saturate() {
        assert_eq!(round_to(F8e4m3, 19.0), 20.0);
        assert_eq!(round_to(F8e4m3, 17.0), 16.0);
        assert_eq!(round_to(F8e4m3, 1e9), 448.0);
        assert_eq!(round_to(F8e4m3, f64::NEG_INFINITY), -448.0);
        assert_eq!(round_to(F8e5m2, f64::INFINITY), 57344.0);
        assert_eq!(round_to(F16, 65520.0), f64::INFINITY);
        assert_eq!(round_to(F16, 65519.9), 65504.0);
        assert_eq!([0.25, 0.75, 5.0, 7.0].map(|v| round_to(F4e2m1, v)), [0.0, 1.0, 4.0, 6.0]);
        assert_eq!(round_to(F4e2m1, f64::NAN), 6.0);
        assert_eq!(
            [2.5, -3.9, -200.0, 1e30, f64::NAN].map(|v| round_to(I8, v)),
            [2.0, -3.0, -128.0, 127.0, 0.0]
        );
        assert_eq!(round_to(Bool, -0.5), 1.0);
    }

    #[test]
    fn rounding_is_done_once() {
        // Just above the tie of bf16 by less than an f32 can hold: through f32 it would fall to even.
        let v = 1.0 + 1.0 / 256.0 + 1e-12;
        assert_eq!(round_to(Bf16, v), 1.0 + 1.0 / 128.0);
    }

    #[test]
    fn tf32_keeps_ten_bits() {
        assert_eq!(round_to(Tf32, 1.0 + 1.0 / 2048.0), 1.0);
        assert_eq!(round_to(Tf32, 1.0 + 3.0 / 2048.0), 1.0 + 2.0 / 1024.0);
        assert_eq!(round_to(Tf32, f32::MAX as f64), f64::INFINITY);
    }

    #[test]
    fn subnormals_round_too() {
        assert_eq!(round_to(F16, 2f64.powi(-25)), 0.0);
        assert_eq!(round_to(F16, 2f64.powi(-25) * 1.001), 2f64.powi(-24));
        assert_eq!(round_to(F32, 1e-46), 0.0);
        assert_eq!(round_to(Bf16, f64::MIN_POSITIVE / 4.0), 0.0);
    }
}
