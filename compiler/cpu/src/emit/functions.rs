//! Exponentials and rounding to narrow floats, written out in instructions so that they fuse with what surrounds
//! them; the same code serves one element and four.
//!
//! `2^x`: with n the integer nearest to x and f = x - n in [-1/2, 1/2], `2^x = 2^n · p(f)`. Adding 1.5 · 2^23 leaves
//! n in the low bits of the sum; 2^n is put together in the exponent field, in two halves so that results below
//! 2^-126 are rounded and not lost. x is held to [-151, 129], whose powers are 0 and infinity in f32; NaN passes
//! through every comparison as false and comes out as NaN. The polynomial's coefficients are a minimax fit of
//! degree 6 (relative error about 1.3e-8), so the result is within an ulp or so.
//!
//! `log x`: with x = m · 2^e and m in [√½, √2), `log m` by a polynomial in m - 1 (Cephes, `logf`), e added in two
//! parts. `tanh x`: an odd polynomial below 0.625 (Cephes, `tanhf`), `1 - 2 / (e^2|x| + 1)` above. `erf x`: an odd
//! rational function on [-4, 4], beyond which it is 1 in f32. All are within a few ulp; the tests measure them.

#![allow(
    clippy::excessive_precision,
    clippy::approx_constant,
    reason = "coefficients of polynomials are written as they were fitted"
)]

use super::{Emit, Lanes, Reg};
use crate::runtime::Class;
use cranelift_codegen::ir::{
    self, InstBuilder, Type,
    condcodes::{FloatCC, IntCC},
    types,
};
use tile_base::DType;

/// 1.5 · 2^23: the nearest integer of a smaller number appears in the low bits of the sum.
const SHIFTER: f32 = 12_582_912.0;

/// Taylor-like minimax coefficients of 2^f on [-1/2, 1/2], highest degree first.
pub const EXP2: [f32; 7] =
    [1.535_920_9e-4, 1.339_262_7e-3, 9.618_385e-3, 5.550_347_3e-2, 0.240_226_45, 0.693_147_2, 1.0];

/// e^r = 1 + r + r² q(r) on |r| <= ln 2 / 2, highest degree of q first.
pub const EXP: [f32; 6] = [1.985_276_1e-4, 1.393_043_6e-3, 8.333_361e-3, 4.166_648_5e-2, 0.166_666_67, 0.5];

/// (ln(1 + x) - x + x²/2) / x³ on [√½ - 1, √2 - 1], highest degree first.
const LOG: [f32; 9] = [
    7.037_683_6e-2,
    -0.115_146_1,
    0.116_769_98,
    -0.124_201_41,
    0.142_493_23,
    -0.166_680_57,
    0.200_007_14,
    -0.249_999_94,
    0.333_333_3,
];

/// (tanh x - x) / x³ in x², highest degree first.
const TANH: [f32; 5] = [-5.704_988_7e-3, 2.063_908_9e-2, -5.373_971_6e-2, 0.133_314_42, -0.333_332_82];

/// erf x = x · P(x²) / Q(x²) on [-4, 4], highest degree first.
const ERF_P: [f32; 7] = [
    -2.726_142_3e-10,
    2.770_681_4e-8,
    -2.101_024e-6,
    -5.692_506_4e-5,
    -7.349_906_3e-4,
    -2.954_599_8e-3,
    -1.609_603_3e-2,
];
const ERF_Q: [f32; 5] = [-1.456_607_2e-5, -2.133_740_6e-4, -1.682_827e-3, -7.373_329_2e-3, -1.426_473_9e-2];

#[derive(Clone, Copy)]
enum Shift {
    Left,
    Right,
    RightUnsigned,
}

impl Emit<'_, '_> {
    /// By a constant, one element or lanes.
    fn shift(&mut self, shift: Shift, v: ir::Value, by: i64) -> ir::Value {
        let by = self.fb.ins().iconst(types::I32, by);
        match shift {
            Shift::Left => self.fb.ins().ishl(v, by),
            Shift::Right => self.fb.ins().sshr(v, by),
            Shift::RightUnsigned => self.fb.ins().ushr(v, by),
        }
    }

    pub fn f32s(&mut self, v: f32, lanes: Lanes) -> ir::Value {
        let one = self.fb.ins().f32const(v);
        self.splat(Class::F32, one, lanes).low
    }

    fn i32s(&mut self, v: i32, lanes: Lanes) -> ir::Value {
        let one = self.fb.ins().iconst(types::I32, v as u32 as i64);
        self.splat(Class::I32, one, lanes).low
    }

    fn as_int(lanes: Lanes) -> Type {
        if lanes == Lanes::One { types::I32 } else { types::I32X4 }
    }

    fn as_float(lanes: Lanes) -> Type {
        if lanes == Lanes::One { types::F32 } else { types::F32X4 }
    }

    pub fn multiply_add(&mut self, a: ir::Value, b: ir::Value, c: ir::Value) -> ir::Value {
        if self.fma {
            return self.fb.ins().fma(a, b, c);
        }
        let ab = self.fb.ins().fmul(a, b);
        self.fb.ins().fadd(ab, c)
    }

    fn horner(&mut self, x: ir::Value, coefficients: &[f32], lanes: Lanes) -> ir::Value {
        let mut sum = self.f32s(coefficients[0], lanes);
        for &c in &coefficients[1..] {
            let c = self.f32s(c, lanes);
            sum = self.multiply_add(sum, x, c);
        }
        sum
    }

    /// `mask ? a : b` of 32-bit lanes, where the mask is the result of a comparison.
    fn pick(&mut self, mask: ir::Value, a: ir::Value, b: ir::Value, lanes: Lanes) -> ir::Value {
        if lanes == Lanes::One {
            return self.fb.ins().select(mask, a, b);
        }
        let ty = self.fb.func.dfg.value_type(a);
        let mask = self.recast(mask, ty);
        self.fb.ins().bitselect(mask, a, b)
    }

    fn clamp(&mut self, x: ir::Value, lo: f32, hi: f32, lanes: Lanes) -> ir::Value {
        let (lo, hi) = (self.f32s(lo, lanes), self.f32s(hi, lanes));
        let below = self.fb.ins().fcmp(FloatCC::LessThan, x, lo);
        let x = self.pick(below, lo, x, lanes);
        let above = self.fb.ins().fcmp(FloatCC::GreaterThan, x, hi);
        self.pick(above, hi, x, lanes)
    }

    /// The nearest integer of a small number, as float and as integer.
    fn split(&mut self, x: ir::Value, lanes: Lanes) -> (ir::Value, ir::Value) {
        let shifter = self.f32s(SHIFTER, lanes);
        let sum = self.fb.ins().fadd(x, shifter);
        let n = self.fb.ins().fsub(sum, shifter);
        let bits = self.recast(sum, Self::as_int(lanes));
        let zero = self.i32s(SHIFTER.to_bits() as i32, lanes);
        (n, self.fb.ins().isub(bits, zero))
    }

    /// `x · 2^n` for n in -151..=129, rounded once.
    fn scale(&mut self, x: ir::Value, n: ir::Value, lanes: Lanes) -> ir::Value {
        let half = self.shift(Shift::Right, n, 1);
        let rest = self.fb.ins().isub(n, half);
        let power = |e: &mut Self, n: ir::Value| {
            let bias = e.i32s(127, lanes);
            let biased = e.fb.ins().iadd(n, bias);
            let bits = e.shift(Shift::Left, biased, 23);
            e.recast(bits, Self::as_float(lanes))
        };
        let (a, b) = (power(self, half), power(self, rest));
        let x = self.fb.ins().fmul(x, a);
        self.fb.ins().fmul(x, b)
    }

    pub fn exp2_f32(&mut self, x: Reg, lanes: Lanes) -> Reg {
        let x = self.clamp(x.low, -151.0, 129.0, lanes);
        let (n, whole) = self.split(x, lanes);
        let f = self.fb.ins().fsub(x, n);
        let p = self.horner(f, &EXP2, lanes);
        self.scale(p, whole, lanes).into()
    }

    pub fn exp_f32(&mut self, x: Reg, lanes: Lanes) -> Reg {
        let x = self.clamp(x.low, -105.0, 89.5, lanes);
        let log2e = self.f32s(std::f32::consts::LOG2_E, lanes);
        let y = self.fb.ins().fmul(x, log2e);
        let (n, whole) = self.split(y, lanes);
        // ln 2 in two parts, the first with few bits so that n times it is exact.
        let (high, low) = (self.f32s(-0.693_359_4, lanes), self.f32s(2.121_944_4e-4, lanes));
        let r = self.multiply_add(n, high, x);
        let r = self.multiply_add(n, low, r);
        let q = self.horner(r, &EXP, lanes);
        let rr = self.fb.ins().fmul(r, r);
        let p = self.multiply_add(rr, q, r);
        let one = self.f32s(1.0, lanes);
        let p = self.fb.ins().fadd(p, one);
        self.scale(p, whole, lanes).into()
    }

    /// The logarithm to base e, or to base 2.
    pub fn log_f32(&mut self, x: Reg, base_two: bool, lanes: Lanes) -> Reg {
        let x = x.low;
        // Subnormal numbers are made normal first.
        let least = self.f32s(f32::MIN_POSITIVE, lanes);
        let tiny = self.fb.ins().fcmp(FloatCC::LessThan, x, least);
        let up = self.f32s(8_388_608.0, lanes);
        let raised = self.fb.ins().fmul(x, up);
        let y = self.pick(tiny, raised, x, lanes);
        let (less, none) = (self.f32s(-23.0, lanes), self.f32s(0.0, lanes));
        let correction = self.pick(tiny, less, none, lanes);
        // Bits of √½ taken away leave the exponent of m in [√½, √2) above the fraction.
        let bits = self.recast(y, Self::as_int(lanes));
        let root = self.i32s(std::f32::consts::FRAC_1_SQRT_2.to_bits() as i32, lanes);
        let from_root = self.fb.ins().isub(bits, root);
        let e = self.shift(Shift::Right, from_root, 23);
        let back = self.shift(Shift::Left, e, 23);
        let m = self.fb.ins().isub(bits, back);
        let m = self.recast(m, Self::as_float(lanes));
        let e = self.fb.ins().fcvt_from_sint(Self::as_float(lanes), e);
        let e = self.fb.ins().fadd(e, correction);
        let one = self.f32s(1.0, lanes);
        let r = self.fb.ins().fsub(m, one);
        let rr = self.fb.ins().fmul(r, r);
        let p = self.horner(r, &LOG, lanes);
        let p = self.fb.ins().fmul(p, r);
        let half = self.f32s(-0.5, lanes);
        let cubic = self.fb.ins().fmul(p, rr);
        let tail = self.multiply_add(rr, half, cubic);
        let value = match base_two {
            true => {
                // log2 e = 1 + 0.4427: the products with 1 are exact.
                let more = self.f32s(0.442_695_04, lanes);
                let a = self.fb.ins().fmul(tail, more);
                let a = self.multiply_add(r, more, a);
                let a = self.fb.ins().fadd(a, tail);
                let a = self.fb.ins().fadd(a, r);
                self.fb.ins().fadd(a, e)
            }
            false => {
                let (low, high) = (self.f32s(-2.121_944_4e-4, lanes), self.f32s(0.693_359_4, lanes));
                let tail = self.multiply_add(e, low, tail);
                let a = self.fb.ins().fadd(r, tail);
                self.multiply_add(e, high, a)
            }
        };
        self.log_ends(x, value, lanes).into()
    }

    /// Logarithms of 0, infinity, negative numbers and NaN.
    fn log_ends(&mut self, x: ir::Value, value: ir::Value, lanes: Lanes) -> ir::Value {
        let (zero, infinity) = (self.f32s(0.0, lanes), self.f32s(f32::INFINITY, lanes));
        let (least, nan) = (self.f32s(f32::NEG_INFINITY, lanes), self.f32s(f32::NAN, lanes));
        let is_zero = self.fb.ins().fcmp(FloatCC::Equal, x, zero);
        let v = self.pick(is_zero, least, value, lanes);
        let is_infinite = self.fb.ins().fcmp(FloatCC::Equal, x, infinity);
        let v = self.pick(is_infinite, infinity, v, lanes);
        let is_below = self.fb.ins().fcmp(FloatCC::UnorderedOrLessThan, x, zero);
        self.pick(is_below, nan, v, lanes)
    }

    pub fn tanh_f32(&mut self, x: Reg, lanes: Lanes) -> Reg {
        let size = self.fb.ins().fabs(x.low);
        let xx = self.fb.ins().fmul(x.low, x.low);
        let p = self.horner(xx, &TANH, lanes);
        let p = self.fb.ins().fmul(p, xx);
        let small = self.multiply_add(p, x.low, x.low);
        let twice = self.fb.ins().fadd(size, size);
        let e = self.exp_f32(twice.into(), lanes).low;
        let (one, two) = (self.f32s(1.0, lanes), self.f32s(2.0, lanes));
        let under = self.fb.ins().fadd(e, one);
        let part = self.fb.ins().fdiv(two, under);
        let large = self.fb.ins().fsub(one, part);
        let large = self.with_sign_of(large, x.low, lanes);
        let limit = self.f32s(0.625, lanes);
        let is_large = self.fb.ins().fcmp(FloatCC::GreaterThan, size, limit);
        self.pick(is_large, large, small, lanes).into()
    }

    pub fn erf_f32(&mut self, given: Reg, lanes: Lanes) -> Reg {
        let x = self.clamp(given.low, -4.0, 4.0, lanes);
        let xx = self.fb.ins().fmul(x, x);
        let p = self.horner(xx, &ERF_P, lanes);
        let q = self.horner(xx, &ERF_Q, lanes);
        // The quotient first: x · P would lose its last bits among the subnormal numbers.
        let v = self.fb.ins().fdiv(p, q);
        let v = self.fb.ins().fmul(x, v);
        // From here on erf is 1 to the last bit of an f32.
        let (limit, one) = (self.f32s(3.92, lanes), self.f32s(1.0, lanes));
        let size = self.fb.ins().fabs(given.low);
        let is_one = self.fb.ins().fcmp(FloatCC::GreaterThanOrEqual, size, limit);
        let unit = self.with_sign_of(one, given.low, lanes);
        self.pick(is_one, unit, v, lanes).into()
    }

    /// f32 to the nearest value of a narrower float that is held as f32. `None`: not written out here.
    pub fn round_inline(&mut self, dtype: DType, x: Reg, lanes: Lanes) -> Option<Reg> {
        let (drop, limit) = match dtype {
            DType::F32 => return Some(x),
            DType::Bf16 => (16, None),
            DType::Tf32 => (13, None),
            DType::F16 => (13, Some(65504.0)),
            _ => return None,
        };
        let x = x.low;
        let bits = self.recast(x, Self::as_int(lanes));
        let lowest = self.shift(Shift::RightUnsigned, bits, drop);
        let one = self.i32s(1, lanes);
        let odd = self.fb.ins().band(lowest, one);
        let half = self.i32s((1 << (drop - 1)) - 1, lanes);
        let up = self.fb.ins().iadd(bits, half);
        let up = self.fb.ins().iadd(up, odd);
        let keep = self.i32s(!((1 << drop) - 1), lanes);
        let cut = self.fb.ins().band(up, keep);
        let mut rounded = self.recast(cut, Self::as_float(lanes));
        if let Some(max) = limit {
            rounded = self.half_range(x, rounded, max, lanes);
        }
        // NaN keeps its bits: adding to them could make infinity.
        let number = self.fb.ins().fcmp(FloatCC::Equal, x, x);
        Some(self.pick(number, rounded, x, lanes).into())
    }

    /// The ends of f16: multiples of 2^-24 below 2^-14, infinity above the greatest value.
    fn half_range(&mut self, x: ir::Value, rounded: ir::Value, max: f32, lanes: Lanes) -> ir::Value {
        let size = self.fb.ins().fabs(x);
        // Numbers in [1/2, 1) are multiples of 2^-24: adding 1/2 rounds to one.
        let half = self.f32s(0.5, lanes);
        let small = self.fb.ins().fadd(size, half);
        let small = self.fb.ins().fsub(small, half);
        let least = self.f32s(6.103_515_6e-5, lanes);
        let is_small = self.fb.ins().fcmp(FloatCC::LessThan, size, least);
        let big = self.fb.ins().fabs(rounded);
        let limit = self.f32s(max, lanes);
        let is_big = self.fb.ins().fcmp(FloatCC::GreaterThan, big, limit);
        let infinity = self.f32s(f32::INFINITY, lanes);
        let y = self.pick(is_small, small, big, lanes);
        let y = self.pick(is_big, infinity, y, lanes);
        self.with_sign_of(y, x, lanes)
    }

    fn with_sign_of(&mut self, y: ir::Value, x: ir::Value, lanes: Lanes) -> ir::Value {
        let sign = self.i32s(i32::MIN, lanes);
        let x = self.recast(x, Self::as_int(lanes));
        let y = self.recast(y, Self::as_int(lanes));
        let s = self.fb.ins().band(x, sign);
        let v = self.fb.ins().bor(y, s);
        self.recast(v, Self::as_float(lanes))
    }

    /// Keeps the low bits of an i32 as the dtype reads them.
    pub fn wrap_int(&mut self, dtype: DType, x: Reg) -> Reg {
        let bits = dtype.bits() as i64;
        if Class::of(dtype) != Class::I32 || bits == 32 {
            return x;
        }
        self.each1(x, |e, v| {
            let up = e.shift(Shift::Left, v, 32 - bits);
            let back = if dtype.is_signed() { Shift::Right } else { Shift::RightUnsigned };
            e.shift(back, up, 32 - bits)
        })
    }

    /// `a / b` towards minus infinity and the remainder with b's sign; b is not 0.
    pub fn floor_division(&mut self, a: ir::Value, b: ir::Value) -> (ir::Value, ir::Value) {
        let ty = self.fb.func.dfg.value_type(a);
        let one = self.fb.ins().iconst(ty, 1);
        let zero = self.fb.ins().iconst(ty, 0);
        // The least integer over -1 would trap.
        let minus = self.fb.ins().icmp_imm_s(IntCC::Equal, b, -1);
        let safe = self.fb.ins().select(minus, one, b);
        let q = self.fb.ins().sdiv(a, safe);
        let back = self.fb.ins().imul(q, safe);
        let r = self.fb.ins().isub(a, back);
        let mixed = self.fb.ins().bxor(r, safe);
        let opposite = self.fb.ins().icmp_imm_s(IntCC::SignedLessThan, mixed, 0);
        let inexact = self.fb.ins().icmp_imm_s(IntCC::NotEqual, r, 0);
        let down = self.fb.ins().band(opposite, inexact);
        let less = self.fb.ins().isub(q, one);
        let q = self.fb.ins().select(down, less, q);
        let add = self.fb.ins().select(down, safe, zero);
        let r = self.fb.ins().iadd(r, add);
        let negated = self.fb.ins().ineg(a);
        (self.fb.ins().select(minus, negated, q), r)
    }
}
