//! The scalar functions in f64.

use super::super::code::{BinaryFn, UnaryFn};

pub(in super::super) fn unary(f: UnaryFn, x: f64) -> f64 {
    match f {
        UnaryFn::Neg => -x,
        UnaryFn::Not => (x == 0.0) as u8 as f64,
        UnaryFn::Abs => x.abs(),
        UnaryFn::Exp => x.exp(),
        UnaryFn::Exp2 => x.exp2(),
        UnaryFn::Log => x.ln(),
        UnaryFn::Log2 => x.log2(),
        UnaryFn::Sqrt => x.sqrt(),
        UnaryFn::Rsqrt => 1.0 / x.sqrt(),
        UnaryFn::Sin => x.sin(),
        UnaryFn::Cos => x.cos(),
        UnaryFn::Tanh => x.tanh(),
        UnaryFn::Erf => libm::erf(x),
        UnaryFn::Floor => x.floor(),
        UnaryFn::Ceil => x.ceil(),
        UnaryFn::Round => x.round_ties_even(),
        UnaryFn::IsNan => x.is_nan() as u8 as f64,
        UnaryFn::Popcount => (x as i64).count_ones() as f64,
        UnaryFn::Complement => !(x as i64) as f64,
        UnaryFn::Truncate(lo, hi) => {
            if x.is_nan() {
                0.0
            } else {
                x.trunc().clamp(lo as f64, hi as f64)
            }
        }
        UnaryFn::ToBool => (x != 0.0) as u8 as f64,
    }
}

/// IEEE 754-2019 maximumNumber: a NaN loses.
pub(super) fn max(a: f64, b: f64) -> f64 {
    if a > b || b.is_nan() { a } else { b }
}

pub(super) fn min(a: f64, b: f64) -> f64 {
    if a < b || b.is_nan() { a } else { b }
}

/// Shifts of 64 bits and more, or of a negative count, leave nothing.
fn shift(a: f64, by: f64, left: bool) -> f64 {
    let (a, n) = (a as i64, by as i64);
    let valid = (0..64).contains(&n);
    match (left, valid) {
        (true, true) => (a << n) as f64,
        (true, false) => 0.0,
        (false, true) => (a >> n) as f64,
        (false, false) => (a >> 63) as f64,
    }
}

pub(in super::super) fn binary(f: BinaryFn, a: f64, b: f64) -> f64 {
    let bit = |v: bool| v as u8 as f64;
    match f {
        BinaryFn::Add => a + b,
        BinaryFn::Sub => a - b,
        BinaryFn::Mul => a * b,
        BinaryFn::Div => a / b,
        BinaryFn::FloorDiv => floor_div(a, b),
        BinaryFn::CeilDiv => -floor_div(-a, b),
        BinaryFn::Rem => a - b * (a / b).floor(),
        BinaryFn::Max => max(a, b),
        BinaryFn::Min => min(a, b),
        BinaryFn::Pow => a.powf(b),
        BinaryFn::And => ((a as i64) & (b as i64)) as f64,
        BinaryFn::Or => ((a as i64) | (b as i64)) as f64,
        BinaryFn::Xor => ((a as i64) ^ (b as i64)) as f64,
        BinaryFn::Shl => shift(a, b, true),
        BinaryFn::Shr => shift(a, b, false),
        BinaryFn::Eq => bit(a == b),
        BinaryFn::Ne => bit(a != b),
        BinaryFn::Lt => bit(a < b),
        BinaryFn::Le => bit(a <= b),
        BinaryFn::Gt => bit(a > b),
        BinaryFn::Ge => bit(a >= b),
    }
}

/// `a / b` rounded towards minus infinity. The quotient of two integers below 2^53 rounds to a wrong integer only
/// when it is within half an ulp of one, so it is corrected by its remainder.
fn floor_div(a: f64, b: f64) -> f64 {
    let q = (a / b).floor();
    let r = a - q * b;
    if r != 0.0 && (r < 0.0) != (b < 0.0) {
        q - 1.0
    } else if r != 0.0 && r.abs() >= b.abs() {
        q + 1.0
    } else {
        q
    }
}
