//! `cvt`: every pair of number formats, each value rounded once.
//!
//! ```text
//! cvt.rn.f16.s64       an integer, exact, rounded once to f16
//! cvt.rzi.s32.f64      to an integer, then clamped; NaN gives 0, or the sign bit where a 64-bit type takes part
//! cvt.rn.satfinite.e4m3x2.f32 d, a, b     two values packed, a in the upper half
//! ```

use super::{
    halves::{Brain, Half, Narrow, Pack},
    round::{BF16, E2M1, E2M3, E3M2, E4M3, E5M2, Exact, F16, F32, F64, Format, TF32},
    rows::{LANES, Rows, lanes},
};
use crate::ir::{FloatMods, Op, Rounding, Scalar};
use std::marker::PhantomData;

/// A number read from a register: integers exactly, floats as f64.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    Int(i128),
    Float(f64),
}

/// The two halves of a packed scalar: their format, and how far apart they stand.
fn packed(ty: Scalar) -> Option<(Packed, u32)> {
    Some(match ty {
        Scalar::F16x2 => (Packed::Float(F16), 16),
        Scalar::Bf16x2 => (Packed::Float(BF16), 16),
        Scalar::E4m3x2 => (Packed::Float(E4M3), 8),
        Scalar::E5m2x2 => (Packed::Float(E5M2), 8),
        Scalar::E2m3x2 => (Packed::Float(E2M3), 8),
        Scalar::E3m2x2 => (Packed::Float(E3M2), 8),
        Scalar::E2m1x2 => (Packed::Float(E2M1), 4),
        Scalar::Ue8m0x2 => (Packed::Exponent, 8),
        _ => return None,
    })
}

#[derive(Clone, Copy)]
enum Packed {
    Float(Format),
    /// ue8m0: a power of two, 255 for NaN.
    Exponent,
}

impl Packed {
    fn decode(self, bits: u64) -> f64 {
        match self {
            Packed::Float(format) => format.decode(bits),
            Packed::Exponent if bits == 0xff => f64::NAN,
            Packed::Exponent => 2f64.powi(bits as i32 - 127),
        }
    }

    fn encode(self, v: f64, mods: FloatMods) -> u64 {
        match self {
            Packed::Float(format) => encode(format, v, mods),
            Packed::Exponent => exponent_of(v, mods),
        }
    }
}

/// The pairs that matter most, on the host's own numbers; false: nothing was done.
fn frequent(r: &mut Rows, mask: u32, to: Scalar, from: Scalar, d: u32, a: u32, b: u32) -> bool {
    const S32: Scalar = Scalar::Int { signed: true, bits: 32 };
    const U32: Scalar = Scalar::Int { signed: false, bits: 32 };
    match (to, from) {
        (Scalar::F32, Scalar::F16) => {
            r.map1(mask, d, a, |w| canonical(Half::wide(w)));
        }
        // A shift, which leaves a NaN what it is.
        (Scalar::F32, Scalar::Bf16) => r.map1(mask, d, a, |w| w << 16),
        (Scalar::F16, Scalar::F32) => narrowed::<Half>(r, mask, d, a, None),
        (Scalar::Bf16, Scalar::F32) => narrowed::<Brain>(r, mask, d, a, None),
        (Scalar::F16x2, Scalar::F32) => narrowed::<Half>(r, mask, d, b, Some(a)),
        (Scalar::Bf16x2, Scalar::F32) => narrowed::<Brain>(r, mask, d, b, Some(a)),
        (Scalar::F32, S32) => r.map1(mask, d, a, |w| (w as i32 as f32).to_bits()),
        (Scalar::F32, U32) => r.map1(mask, d, a, |w| (w as f32).to_bits()),
        _ => return false,
    }
    true
}

/// f32 to halves: one source, or the low and the high one.
fn narrowed<T: Narrow>(r: &mut Rows, mask: u32, d: u32, low: u32, high: Option<u32>) {
    let mut out = [0; LANES];
    let (low, high) = (r.row(low), high.map(|high| r.row(high)));
    pulp::Arch::new().dispatch(Pack { low, high, out: &mut out, format: PhantomData::<T> });
    r.put(d, mask, &out);
}

/// NaN results carry one payload, as the hardware's do (but see [`keeps_nan`]).
fn canonical(v: f32) -> u32 {
    if v.is_nan() { 0x7fff_ffff } else { v.to_bits() }
}

/// Whether a NaN comes out with the sign and payload it went in with: where the unit of f64 converts floats.
fn keeps_nan(to: Scalar, from: Scalar, mods: FloatMods) -> bool {
    let float = |ty| !matches!(ty, Scalar::Int { .. });
    float(to) && float(from) && (to == Scalar::F64 || from == Scalar::F64) && !mods.sat
}

pub fn convert(r: &mut Rows, mask: u32, op: &Op) {
    let Op::Convert { to, from, mods, d, a, b } = op else { return };
    if *mods == FloatMods::default() && frequent(r, mask, *to, *from, *d, *a, *b) {
        return;
    }
    if let Some((part, width)) = packed(*to) {
        let source = packed(*from);
        let both = (1u64 << width) - 1;
        for lane in lanes(mask) {
            let (hi, lo) = match source {
                Some((from, at)) => {
                    let word = r.row(*a)[lane] as u64;
                    let one = (1 << at) - 1;
                    (from.decode(word >> at & one), from.decode(word & one))
                }
                None => (f32::from_bits(r.row(*a)[lane]) as f64, f32::from_bits(r.row(*b)[lane]) as f64),
            };
            let bits = |v: f64| part.encode(v, *mods) & both;
            r.row_mut(*d)[lane] = (bits(hi) << width | bits(lo)) as u32;
        }
        return;
    }
    for lane in lanes(mask) {
        let value = read(*from, r.row(*a)[lane], || r.wide(*a, lane));
        let bits = || if *from == Scalar::F64 { r.wide(*a, lane) } else { r.row(*a)[lane] as u64 };
        let value = match value {
            Number::Float(v) if v.is_nan() && keeps_nan(*to, *from, *mods) => {
                format_of(*to).nan_of(format_of(*from), bits())
            }
            // Away from zero is an integer sum, cut off; infinity and NaN are only cut off.
            Number::Float(v) if v.is_nan() && *to == Scalar::Tf32 && mods.rounding == Rounding::Away => {
                bits() & 0xffff_e000
            }
            _ => write(*to, *from, value, *mods),
        };
        match to {
            Scalar::F64 | Scalar::Int { bits: 64, .. } => r.set_wide(*d, lane, value),
            _ => r.row_mut(*d)[lane] = value as u32,
        }
    }
}

pub fn read(ty: Scalar, word: u32, wide: impl Fn() -> u64) -> Number {
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
        Scalar::F16 => Number::Float(F16.decode(word as u16 as u64)),
        Scalar::Bf16 => Number::Float(BF16.decode(word as u16 as u64)),
        Scalar::F64 => Number::Float(f64::from_bits(wide())),
        _ => Number::Float(f32::from_bits(word) as f64),
    }
}

pub fn as_f64(n: Number) -> f64 {
    match n {
        Number::Int(v) => v as f64,
        Number::Float(v) => v,
    }
}

fn integral(v: f64, rounding: Rounding) -> f64 {
    match rounding {
        Rounding::NearestInt | Rounding::Nearest => v.round_ties_even(),
        Rounding::DownInt | Rounding::Down => v.floor(),
        Rounding::UpInt | Rounding::Up => v.ceil(),
        _ => v.trunc(),
    }
}

fn write(to: Scalar, from: Scalar, value: Number, mods: FloatMods) -> u64 {
    let value = match value {
        Number::Float(v) if mods.ftz && from == Scalar::F32 && (v as f32).is_subnormal() => {
            Number::Float(0f64.copysign(v))
        }
        other => other,
    };
    match to {
        Scalar::Int { signed, bits } => to_integer(signed, bits as u32, from, value, mods),
        _ => {
            let format = format_of(to);
            let bits = match value {
                Number::Int(v) if !mods.sat => format.encode(Exact::from(v), mods.rounding, false),
                Number::Int(v) => encode(format, v as f64, mods),
                Number::Float(v) => encode(format, v, mods),
            };
            // tf32 stands in the upper bits of its register.
            if to == Scalar::Tf32 { bits << 13 } else { bits }
        }
    }
}

fn format_of(ty: Scalar) -> Format {
    match ty {
        Scalar::F16 => F16,
        Scalar::Bf16 => BF16,
        Scalar::F64 => F64,
        Scalar::Tf32 => TF32,
        _ => F32,
    }
}

/// One float into a format, with what the modifiers ask for.
fn encode(format: Format, v: f64, mods: FloatMods) -> u64 {
    let to_integral = matches!(
        mods.rounding,
        Rounding::NearestInt | Rounding::ZeroInt | Rounding::DownInt | Rounding::UpInt
    );
    let v = if to_integral { integral(v, mods.rounding).copysign(v) } else { v };
    let v = match () {
        () if mods.sat && v.is_nan() => 0.0,
        () if mods.sat => v.clamp(0.0, 1.0) + 0.0,
        () if mods.relu && v <= 0.0 => 0.0,
        () => v,
    };
    if mods.ftz && format == F32 && v.is_finite() {
        return format.encode_flushed(Exact::from(v), mods.rounding);
    }
    format.encode_f64(v, mods.rounding, mods.satfinite)
}

fn to_integer(signed: bool, bits: u32, from: Scalar, value: Number, mods: FloatMods) -> u64 {
    let (lowest, greatest) =
        if signed { (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1) } else { (0, (1i128 << bits) - 1) };
    let int = match value {
        Number::Int(v) if mods.sat => v.clamp(lowest, greatest),
        Number::Int(v) => v,
        Number::Float(v) if v.is_nan() => {
            if from == Scalar::F64 || bits == 64 {
                1 << (bits - 1)
            } else {
                0
            }
        }
        // Float to integer always clamps.
        Number::Float(v) => (integral(v, mods.rounding) as i128).clamp(lowest, greatest),
    };
    let low = if bits >= 32 { u64::MAX } else { (1 << bits) - 1 };
    // A narrow signed result is sign-extended to the register.
    if signed && bits < 32 {
        let shift = 64 - bits;
        (((int as u64) << shift) as i64 >> shift) as u32 as u64
    } else {
        int as u64 & low
    }
}

/// The exponent of a magnitude as ue8m0 holds it, rounded up or towards zero.
fn exponent_of(v: f64, mods: FloatMods) -> u64 {
    let magnitude = v.abs();
    if magnitude.is_nan() || (magnitude.is_infinite() && !mods.satfinite) {
        return 0xff;
    }
    if magnitude == 0.0 {
        return 0;
    }
    let magnitude = magnitude.min(f64::MAX);
    // f32 and bf16 values are normal numbers of f64.
    let exponent = ((magnitude.to_bits() >> 52) as i64) - 1023;
    let above = mods.rounding == Rounding::Up && magnitude.to_bits() << 12 != 0;
    let biased = exponent + above as i64 + 127;
    biased.clamp(0, if mods.satfinite { 254 } else { 255 }) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn float_to_integer_clamps_and_nan_has_its_rule() {
        let rz = FloatMods { rounding: Rounding::ZeroInt, ..Default::default() };
        let to = |from, v| to_integer(true, 32, from, Number::Float(v), rz) as u32;
        assert_eq!(to(Scalar::F32, 1e20), i32::MAX as u32);
        assert_eq!(to(Scalar::F32, f64::NAN), 0);
        assert_eq!(to(Scalar::F64, f64::NAN), 1 << 31);
        assert_eq!(to(Scalar::F32, -1.7) as i32, -1);
    }

    #[test]
    fn an_integer_is_rounded_once() {
        // 2^53 + 2^29 + 1 rounded to f64 first would be a tie for f32, and go down.
        let v = (1i128 << 53) + (1 << 29) + 1;
        let got =
            write(Scalar::F32, Scalar::Int { signed: true, bits: 64 }, Number::Int(v), FloatMods::default());
        assert_eq!(f32::from_bits(got as u32), (v as i64) as f32);
    }

    #[test]
    fn powers_of_two() {
        let up = FloatMods { rounding: Rounding::Up, satfinite: true, ..Default::default() };
        let zero = FloatMods { rounding: Rounding::Zero, ..up };
        assert_eq!((exponent_of(3.0, up), exponent_of(3.0, zero)), (129, 128));
        assert_eq!(exponent_of(f64::INFINITY, up), 254);
        assert_eq!(exponent_of(f64::NAN, up), 255);
    }
}
