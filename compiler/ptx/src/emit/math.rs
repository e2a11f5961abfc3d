//! Functions that LLVM cannot select for NVPTX, or only badly, from operations it can.
//!
//! LLVM ends the process on `log`, `exp`, `pow`, `tanh` and others of this target, so none of them ever reaches it.
//! Everything here is f32 in, f32 out (16-bit floats come widened). Polynomials interpolate at Chebyshev nodes; the
//! error in the table is over the whole range, in units of the last place where not said otherwise.
//!
//! | function | method | error |
//! | --- | --- | --- |
//! | exp2 | `ex2.approx` | 2 |
//! | exp | `2^(x log2 e)`, with the rounding error of the product put back as a factor | 3 |
//! | log, log2 | `x = m 2^e`, m in [2/3, 4/3); `log1p(m - 1)` by a polynomial of degree 11 | 3 |
//! | tanh | odd polynomial below 0.625, else `1 - 2 / (e^2x + 1)` | 4 |
//! | erf | odd polynomial below 1, else `1 - 2^-q(x)`, q = -log2 erfc by a polynomial | 4 |
//! | sin, cos | reduced in f64 by pi/2 in two parts, polynomials on [-pi/4, pi/4] | 2; for abs x > 2^31 the angle is lost |
//! | pow | `2^(y log2 x)` in f64 | 2 |
//! | x / y | `div.full` | 2 |

use crate::text::{Text, Ty, V};
use std::f64::consts;

fn f(t: &mut Text, v: f64) -> V {
    t.float(Ty::F32, v)
}

/// `c[0] + x (c[1] + x (…))`.
fn horner(t: &mut Text, x: V, c: &[f64]) -> V {
    let mut sum = t.float(x.ty, *c.last().unwrap_or(&0.0));
    for &c in c.iter().rev().skip(1) {
        let c = t.float(x.ty, c);
        sum = t.fma(sum, x, c);
    }
    sum
}

/// One value in, inline PTX, one out; the operation reads nothing but its operands.
fn asm(t: &mut Text, text: &str, operands: &[V], letters: &str, ty: Ty) -> V {
    let (args, types) = crate::text::lists(operands);
    t.pure(
        format!("llvm.inline_asm asm_dialect = att \"{text}\", \"{letters}\" {args} : ({types}) -> {ty}"),
        operands,
        ty,
    )
}

pub fn div_full(t: &mut Text, a: V, b: V) -> V {
    asm(t, "div.full.f32 $0, $1, $2;", &[a, b], "=f,f,f", Ty::F32)
}

/// To 10 bits of significand, to nearest; the bits of an f32 whose low 13 are 0.
pub fn round_tf32(t: &mut Text, x: V) -> V {
    let bits = asm(t, "cvt.rna.tf32.f32 $0, $1;", &[x], "=r,f", Ty::I32);
    t.convert("bitcast", bits, Ty::F32)
}

pub fn exp2(t: &mut Text, x: V) -> V {
    t.intrinsic("exp2", &[x])
}

pub fn exp(t: &mut Text, x: V) -> V {
    // Beyond these e^x is infinite or 0 anyway, and the products below stay finite.
    let (low, high) = (f(t, -110.0), f(t, 90.0));
    let clamped = t.intrinsic("maxnum", &[x, low]);
    let clamped = t.intrinsic("minnum", &[clamped, high]);
    let (log2e, rest) = (f(t, consts::LOG2_E), f(t, consts::LOG2_E - f64::from(consts::LOG2_E as f32)));
    // No contraction here: the error term needs the rounded product.
    let product = t.pure(format!("llvm.fmul {clamped}, {log2e} : f32"), &[clamped, log2e], Ty::F32);
    let minus = t.pure(format!("llvm.fneg {product} : f32"), &[product], Ty::F32);
    let error = t.fma(clamped, log2e, minus);
    let error = t.fma(clamped, rest, error);
    let power = exp2(t, product);
    let (ln2, one) = (f(t, consts::LN_2), f(t, 1.0));
    let factor = t.fma(error, ln2, one);
    let result = t.float_op("fmul", power, factor);
    let nan = t.fcmp("uno", x, x);
    t.select(nan, x, result)
}

const LOG1P: [f64; 11] = [
    1.0,
    -0.500000019915107,
    0.33333335177217455,
    -0.24999643244779124,
    0.19999669706731218,
    -0.16684426151417792,
    0.14302154348741414,
    -0.12143640167425537,
    0.1078131301489108,
    -0.13038038219752368,
    0.11900881448947077,
];

/// Exponent (as f32) and `log1p(m - 1)` of a positive finite number.
fn log_parts(t: &mut Text, x: V) -> (V, V) {
    let least = f(t, f64::from(f32::MIN_POSITIVE));
    let tiny = t.fcmp("olt", x, least);
    let scale = f(t, 16777216.0);
    let scaled = t.float_op("fmul", x, scale);
    let x = t.select(tiny, scaled, x);
    let bits = t.convert("bitcast", x, Ty::I32);
    // 0x3f2aaaab is 2/3: the subtraction makes the exponent step there.
    let above = t.add_const(bits, -0x3f2a_aaab);
    let shift = t.i32(23);
    let exponent = t.int_op("ashr", above, shift);
    let down = t.int_op("shl", exponent, shift);
    let mantissa = t.sub(bits, down);
    let mantissa = t.convert("bitcast", mantissa, Ty::F32);
    let (moved, zero) = (t.i32(-24), t.i32(0));
    let moved = t.select(tiny, moved, zero);
    let exponent = t.add(exponent, moved);
    let exponent = t.convert("sitofp", exponent, Ty::F32);
    let one = f(t, -1.0);
    let rest = t.float_op("fadd", mantissa, one);
    let series = horner(t, rest, &LOG1P);
    (exponent, t.float_op("fmul", rest, series))
}

/// What a logarithm is outside the positive finite numbers.
fn log_specials(t: &mut Text, x: V, inner: V) -> V {
    let (zero, infinity) = (f(t, 0.0), f(t, f64::INFINITY));
    let (minus, nan) = (f(t, f64::NEG_INFINITY), f(t, f64::NAN));
    let top = t.fcmp("oeq", x, infinity);
    let result = t.select(top, infinity, inner);
    let none = t.fcmp("oeq", x, zero);
    let result = t.select(none, minus, result);
    let bad = t.fcmp("ult", x, zero); // negative, or NaN
    t.select(bad, nan, result)
}

pub fn log2(t: &mut Text, x: V) -> V {
    let (exponent, log) = log_parts(t, x);
    let log2e = f(t, consts::LOG2_E);
    let inner = t.fma(log, log2e, exponent);
    log_specials(t, x, inner)
}

pub fn log(t: &mut Text, x: V) -> V {
    let (exponent, log) = log_parts(t, x);
    let ln2 = f(t, consts::LN_2);
    let inner = t.fma(exponent, ln2, log);
    log_specials(t, x, inner)
}

/// `value` with the sign of `x`; `value` is not negative.
fn with_sign(t: &mut Text, value: V, x: V) -> V {
    t.intrinsic("copysign", &[value, x])
}

pub fn tanh(t: &mut Text, x: V) -> V {
    const SERIES: [f64; 6] = [
        -0.33333333172140545,
        0.13333303556908155,
        -0.05395925957577047,
        0.02176891864259186,
        -0.008343945494970131,
        0.0022927447973807836,
    ];
    let a = t.intrinsic("fabs", &[x]);
    let square = t.float_op("fmul", x, x);
    let series = horner(t, square, &SERIES);
    let cube = t.float_op("fmul", square, x);
    let small = t.fma(cube, series, x);
    let twice = t.float_op("fadd", a, a);
    let power = exp(t, twice);
    let (one, two) = (f(t, 1.0), f(t, -2.0));
    let below = t.float_op("fadd", power, one);
    let quotient = div_full(t, two, below);
    let big = t.float_op("fadd", quotient, one);
    let big = with_sign(t, big, x);
    let edge = f(t, 0.625);
    let inner = t.fcmp("olt", a, edge);
    t.select(inner, small, big)
}

pub fn erf(t: &mut Text, x: V) -> V {
    const SMALL: [f64; 8] = [
        1.1283791670615435,
        -0.3761263846802857,
        0.11283782495235466,
        -0.02686543072766611,
        0.005221031808012272,
        -0.0008484080409427272,
        0.00011265959061437438,
        -9.667044686599499e-06,
    ];
    const TAIL: [f64; 10] = [
        -0.000600636093933437,
        1.6312194233497423,
        0.9102728071858395,
        0.16021852278784288,
        -0.03909634783805773,
        0.0073071737910122714,
        -0.0009894531775251774,
        8.987752456201421e-05,
        -4.792177809123909e-06,
        1.0939497318873938e-07,
    ];
    let a = t.intrinsic("fabs", &[x]);
    let square = t.float_op("fmul", x, x);
    let series = horner(t, square, &SMALL);
    let small = t.float_op("fmul", x, series);
    let (four, one) = (f(t, 4.0), f(t, 1.0));
    let clamped = t.intrinsic("minnum", &[a, four]);
    let q = horner(t, clamped, &TAIL);
    let minus = t.pure(format!("llvm.fneg {q} : f32"), &[q], Ty::F32);
    let rest = exp2(t, minus);
    let big = t.float_op("fsub", one, rest);
    let big = with_sign(t, big, x);
    let inner = t.fcmp("olt", a, one);
    let result = t.select(inner, small, big);
    let nan = t.fcmp("uno", x, x);
    t.select(nan, x, result)
}

pub fn sin_cos(t: &mut Text, x: V, cosine: bool) -> V {
    const SIN: [f64; 4] =
        [-0.16666666663855254, 0.008333331874706664, -0.00019840086734535528, 2.7249925744664544e-06];
    const COS: [f64; 4] =
        [0.04166666666440661, -0.0013888887680037344, 2.4800602557588203e-05, -2.7301139793861353e-07];
    let wide = t.convert("fpext", x, Ty::F64);
    let inverse = t.float(Ty::F64, consts::FRAC_2_PI);
    let turns = t.float_op("fmul", wide, inverse);
    let turns = t.intrinsic("roundeven", &[turns]);
    // pi/2 in two parts: the first has 33 bits, so that its product with the turns is exact.
    let high = f64::from_bits(consts::FRAC_PI_2.to_bits() & 0xffff_ffff_fff0_0000);
    let low = consts::FRAC_PI_2 - high + 6.123233995736766e-17;
    let (high, low) = (t.float(Ty::F64, -high), t.float(Ty::F64, -low));
    let r = t.fma(turns, high, wide);
    let r = t.fma(turns, low, r);
    let r = t.convert("fptrunc", r, Ty::F32);
    let limit = t.float(Ty::F64, 4294967296.0);
    let minus = t.float(Ty::F64, -4294967296.0);
    let bounded = t.intrinsic("minnum", &[turns, limit]);
    let bounded = t.intrinsic("maxnum", &[bounded, minus]);
    let quadrant = t.convert("fptosi", bounded, Ty::I64);
    let quadrant = t.convert("trunc", quadrant, Ty::I32);
    let quadrant = t.add_const(quadrant, i64::from(cosine));
    let square = t.float_op("fmul", r, r);
    let series = horner(t, square, &SIN);
    let cube = t.float_op("fmul", square, r);
    let sine = t.fma(cube, series, r);
    let series = horner(t, square, &COS);
    let fourth = t.float_op("fmul", square, square);
    let (half, one) = (f(t, -0.5), f(t, 1.0));
    let base = t.fma(square, half, one);
    let cosine = t.fma(fourth, series, base);
    let (bit0, bit1, zero) = (t.i32(1), t.i32(2), t.i32(0));
    let odd = t.int_op("and", quadrant, bit0);
    let odd = t.icmp("ne", odd, zero);
    let value = t.select(odd, cosine, sine);
    let flip = t.int_op("and", quadrant, bit1);
    let flip = t.icmp("ne", flip, zero);
    let negative = t.pure(format!("llvm.fneg {value} : f32"), &[value], Ty::F32);
    let value = t.select(flip, negative, value);
    // Infinite and NaN angles.
    let difference = t.pure(format!("llvm.fsub {x}, {x} : f32"), &[x], Ty::F32);
    let zero = f(t, 0.0);
    let finite = t.fcmp("oeq", difference, zero);
    let nan = f(t, f64::NAN);
    t.select(finite, value, nan)
}

/// `log2` of a positive finite f64, by `log m = 2 atanh((m - 1) / (m + 1))`.
fn log2_wide(t: &mut Text, x: V) -> V {
    let bits = t.convert("bitcast", x, Ty::I64);
    // 0x3fe5555555555555 is 2/3.
    let above = t.add_const(bits, -0x3fe5_5555_5555_5555);
    let shift = t.i64(52);
    let exponent = t.int_op("ashr", above, shift);
    let down = t.int_op("shl", exponent, shift);
    let mantissa = t.sub(bits, down);
    let mantissa = t.convert("bitcast", mantissa, Ty::F64);
    let exponent = t.convert("sitofp", exponent, Ty::F64);
    let one = t.float(Ty::F64, 1.0);
    let (above, below) = (t.float_op("fsub", mantissa, one), t.float_op("fadd", mantissa, one));
    let s = t.float_op("fdiv", above, below);
    let square = t.float_op("fmul", s, s);
    let series: Vec<f64> = (0..8).map(|n| 2.0 * consts::LOG2_E / f64::from(2 * n + 1)).collect();
    let series = horner(t, square, &series);
    t.fma(s, series, exponent)
}

/// `2^x` for x in -200 .. 200, to f32.
fn exp2_wide(t: &mut Text, x: V) -> V {
    let (low, high) = (t.float(Ty::F64, -200.0), t.float(Ty::F64, 200.0));
    let x = t.intrinsic("maxnum", &[x, low]);
    let x = t.intrinsic("minnum", &[x, high]);
    let whole = t.intrinsic("roundeven", &[x]);
    let rest = t.float_op("fsub", x, whole);
    let mut term = 1.0;
    let series: Vec<f64> = (0..11)
        .map(|n| {
            let c = term;
            term *= consts::LN_2 / f64::from(n + 1);
            c
        })
        .collect();
    let fraction = horner(t, rest, &series);
    let exponent = t.convert("fptosi", whole, Ty::I64);
    let exponent = t.add_const(exponent, 1023);
    let shift = t.i64(52);
    let scale = t.int_op("shl", exponent, shift);
    let scale = t.convert("bitcast", scale, Ty::F64);
    let wide = t.float_op("fmul", fraction, scale);
    t.convert("fptrunc", wide, Ty::F32)
}

/// As IEEE `pow`: x^0 and 1^y are 1; a negative x needs a whole y.
pub fn pow(t: &mut Text, x: V, y: V) -> V {
    let a = t.intrinsic("fabs", &[x]);
    let (zero, one, infinity, nan) = (f(t, 0.0), f(t, 1.0), f(t, f64::INFINITY), f(t, f64::NAN));
    let (wide_a, wide_y) = (t.convert("fpext", a, Ty::F64), t.convert("fpext", y, Ty::F64));
    let log = log2_wide(t, wide_a);
    let product = t.float_op("fmul", log, wide_y);
    let power = exp2_wide(t, product);
    // 0 and infinity: the exponent's sign decides.
    let positive = t.fcmp("ogt", y, zero);
    let grown = t.select(positive, infinity, zero);
    let shrunk = t.select(positive, zero, infinity);
    let top = t.fcmp("oeq", a, infinity);
    let power = t.select(top, grown, power);
    let none = t.fcmp("oeq", a, zero);
    let power = t.select(none, shrunk, power);
    // An infinite exponent: |x| against 1.
    let endless = t.intrinsic("fabs", &[y]);
    let endless = t.fcmp("oeq", endless, infinity);
    let greater = t.fcmp("ogt", a, one);
    let grows = t.int_op("xor", greater, positive);
    let limit = t.select(grows, zero, infinity);
    let unit = t.fcmp("oeq", a, one);
    let limit = t.select(unit, one, limit);
    let power = t.select(endless, limit, power);
    // The sign of a negative base.
    let floor = t.intrinsic("floor", &[y]);
    let whole = t.fcmp("oeq", floor, y);
    let half = f(t, 0.5);
    let halved = t.float_op("fmul", y, half);
    let floor = t.intrinsic("floor", &[halved]);
    let even = t.fcmp("oeq", floor, halved);
    let bits = t.convert("bitcast", x, Ty::I32);
    let zero_bits = t.i32(0);
    let negative = t.icmp("slt", bits, zero_bits);
    let minus = t.pure(format!("llvm.fneg {power} : f32"), &[power], Ty::F32);
    let signed = t.select(even, power, minus);
    let below = t.fcmp("olt", x, zero);
    let unbounded = t.int_op("or", endless, top);
    let allowed = t.int_op("or", whole, unbounded);
    let allowed = t.int_op("or", allowed, none);
    let other = t.select(below, nan, power);
    let odd_whole = t.select(whole, signed, power);
    let under = t.select(allowed, odd_whole, other);
    let power = t.select(negative, under, power);
    let bad_x = t.fcmp("uno", x, y);
    let power = t.select(bad_x, nan, power);
    let base_one = t.fcmp("oeq", x, one);
    let power = t.select(base_one, one, power);
    let no_exponent = t.fcmp("oeq", y, zero);
    t.select(no_exponent, one, power)
}
