//! Scalar functions that compiled code does not write inline: four f32 at a time by registers, and single f32 and
//! f64.
//!
//! | function | f32 |
//! | --- | --- |
//! | log, log2 | through f64 arithmetic of the standard library's f32 functions |
//! | erf | from the f64 series of Abramowitz and Stegun 7.1.6 and the continued fraction 7.1.14, rounded once |
//! | sin, cos, tanh, pow | the standard library's |

use tile_base::DType;

pub type One32 = extern "C" fn(f32) -> f32;
pub type One64 = extern "C" fn(f64) -> f64;
pub type Two32 = extern "C" fn(f32, f32) -> f32;
pub type Two64 = extern "C" fn(f64, f64) -> f64;

macro_rules! functions {
    ($($name32:ident, $name64:ident: $x:ident => $f32:expr, $f64:expr;)*) => {$(
        pub extern "C" fn $name32($x: f32) -> f32 { $f32 }
        pub extern "C" fn $name64($x: f64) -> f64 { $f64 }
    )*};
}

functions! {
    exp_f32, exp_f64: x => x.exp(), x.exp();
    exp2_f32, exp2_f64: x => x.exp2(), x.exp2();
    log_f32, log_f64: x => x.ln(), x.ln();
    log2_f32, log2_f64: x => x.log2(), x.log2();
    sin_f32, sin_f64: x => x.sin(), x.sin();
    cos_f32, cos_f64: x => x.cos(), x.cos();
    tanh_f32, tanh_f64: x => x.tanh(), x.tanh();
    erf_f32, erf_f64: x => erf(x as f64) as f32, erf(x);
}

pub extern "C" fn pow_f32(a: f32, b: f32) -> f32 {
    a.powf(b)
}

pub extern "C" fn pow_f64(a: f64, b: f64) -> f64 {
    a.powf(b)
}

/// `%` with the divisor's sign.
pub extern "C" fn rem_f32(a: f32, b: f32) -> f32 {
    let r = a % b;
    if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
}

pub extern "C" fn rem_f64(a: f64, b: f64) -> f64 {
    let r = a % b;
    if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
}

/// The nearest value of a narrow float dtype.
pub extern "C" fn round_f32(dtype: u32, x: f32) -> f32 {
    tile_tensor::convert::round_to(DType::ALL[dtype as usize], x as f64) as f32
}

/// f64 rounded once to a narrow float dtype, as f32.
pub extern "C" fn round_f64(dtype: u32, x: f64) -> f32 {
    tile_tensor::convert::round_to(DType::ALL[dtype as usize], x) as f32
}

/// Whether `pow_i64` has its exact result in 64 bits.
pub extern "C" fn pow_fits(a: i64, b: i64) -> bool {
    b < 0 || matches!(a, -1..=1) || u32::try_from(b).is_ok_and(|b| a.checked_pow(b).is_some())
}

/// An integer to the power of another; a negative power is 0 but of 1 and -1.
pub extern "C" fn pow_i64(a: i64, b: i64) -> i64 {
    match (a, b) {
        (_, 0) | (1, _) => 1,
        (-1, b) => {
            if b % 2 == 0 {
                1
            } else {
                -1
            }
        }
        (_, b) if b < 0 => 0,
        (a, b) => (0..b.min(64)).fold(1i64, |p, _| p.wrapping_mul(a)),
    }
}

/// The error function in f64.
pub fn erf(x: f64) -> f64 {
    let a = x.abs();
    if x.is_nan() {
        return x;
    }
    if a >= 6.0 {
        return 1f64.copysign(x);
    }
    if a < 2.5 {
        // erf x = 2/√π e^(-x²) Σ 2^n x^(2n+1) / (2n+1)!!, all terms of one sign.
        let (mut term, mut sum, mut n) = (x, x, 0.0);
        while term.abs() > 1e-17 * sum.abs() {
            n += 1.0;
            term *= 2.0 * x * x / (2.0 * n + 1.0);
            sum += term;
        }
        return std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum;
    }
    let tail = (1..=40).rev().fold(a, |below, n| a + n as f64 / 2.0 / below);
    (1.0 - (-a * a).exp() * 0.5 * std::f64::consts::FRAC_2_SQRT_PI / tail).copysign(x)
}
