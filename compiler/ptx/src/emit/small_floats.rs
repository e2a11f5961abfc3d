//! Floats of 8 and 4 bits: held as their bits, computed with as f16 or f32.
//!
//! Every value of these formats is an f16, so decoding is exact. Their bits, moved to where f16 has sign, exponent and
//! fraction, are the value but for the bias of the exponent, and that is a factor of a power of two (subnormal numbers
//! come out right, too):
//!
//! ```text
//! f8e4m3   s eeee mmm          0.4375 = 0 0101 110
//! f16      s 0eeee mmm0000000  0 00101 1100000000 = 0.4375 * 2^(7 - 15);   times 2^8
//! f8e5m2   s eeeee mm          the upper half of an f16, nothing else to do
//! f4e2m1   s ee m              0 000ee m000000000;                          times 2^14
//! ```
//!
//! Encoding rounds once, to nearest even, and saturates. In the wide format's bits the fraction is rounded by adding
//! half of what is cut off (less one bit where the last kept bit is even); a carry runs into the exponent as it should.
//! Below the least normal number all multiples of one quantum are wanted: adding a power of two whose last bit is
//! that quantum rounds there, and the low bits of the sum are the code.
//!
//! From sm_89 on `cvt` does the 8-bit formats, two at a time; its NaN has no sign, as no comparison can tell.

use super::Emit;
use crate::text::{Ty, V};
use tile_base::DType;

/// A format of at most 8 bits: fraction bits, exponent bits, bias, greatest value.
struct Small {
    fraction: u32,
    exponent: u32,
    bias: i32,
    most: f64,
    /// What a NaN becomes, without its sign.
    nan: i64,
}

fn small(dtype: DType) -> Option<Small> {
    Some(match dtype {
        DType::F8e4m3 => Small { fraction: 3, exponent: 4, bias: 7, most: 448.0, nan: 0x7f },
        DType::F8e5m2 => Small { fraction: 2, exponent: 5, bias: 15, most: 57344.0, nan: 0x7e },
        // No NaN: +6.
        DType::F4e2m1 => Small { fraction: 1, exponent: 2, bias: 1, most: 6.0, nan: 7 },
        _ => return None,
    })
}

/// Whether elements are floats that registers hold as bits.
pub(super) fn is_small_float(dtype: DType) -> bool {
    small(dtype).is_some()
}

/// The name of a pair in PTX.
fn pair_name(dtype: DType) -> Option<&'static str> {
    match dtype {
        DType::F8e4m3 => Some("e4m3x2"),
        DType::F8e5m2 => Some("e5m2x2"),
        _ => None,
    }
}

impl Emit<'_> {
    /// Casts to or from such a format, many elements at once; `None`: the cast has nothing to do with them.
    pub(super) fn cast_small_floats(&mut self, values: &[V], from: DType, to: DType) -> Option<Vec<V>> {
        if from == to || !(is_small_float(from) || is_small_float(to)) {
            return None;
        }
        if is_small_float(from) {
            let halves = self.decode_all(values, from);
            return Some(halves.into_iter().map(|v| self.cast(v, DType::F16, to)).collect());
        }
        // Rounded once: what f32 cannot hold goes by f64. (Integers that f32 rounds are far beyond every maximum.)
        let through = if from == DType::F64 { DType::F64 } else { DType::F32 };
        let wide: Vec<V> = values.iter().map(|&v| self.cast(v, from, through)).collect();
        Some(self.encode_all(&wide, to))
    }

    fn decode_all(&mut self, values: &[V], dtype: DType) -> Vec<V> {
        match pair_name(dtype) {
            Some(name) if self.plan.target.capability >= 89 => {
                let mut out = vec![];
                for pair in values.chunks(2) {
                    let word = self.bytes_to_short(pair[0], pair.get(1).copied());
                    let text = format!("cvt.rn.f16x2.{name} $0, $1;");
                    let both = self.small_asm(&text, "=r,h", &[word], Ty::I32);
                    out.extend(self.t.word_lanes(both, Ty::F16).into_iter().take(pair.len()));
                }
                out
            }
            _ => values.iter().map(|&v| self.decode(v, dtype)).collect(),
        }
    }

    fn encode_all(&mut self, wide: &[V], dtype: DType) -> Vec<V> {
        match pair_name(dtype) {
            Some(name) if self.plan.target.capability >= 89 && wide.iter().all(|v| v.ty == Ty::F32) => {
                let mut out = vec![];
                for pair in wide.chunks(2) {
                    let upper = pair.get(1).copied().unwrap_or(pair[0]);
                    let text = format!("cvt.rn.satfinite.{name}.f32 $0, $1, $2;");
                    let both = self.small_asm(&text, "=h,f,f", &[upper, pair[0]], Ty::I16);
                    out.extend(self.t.word_lanes(both, Ty::I8).into_iter().take(pair.len()));
                }
                out
            }
            _ => wide.iter().map(|&v| self.encode(v, dtype)).collect(),
        }
    }

    /// Two bytes as the halves of 16 bits, the first below.
    fn bytes_to_short(&mut self, low: V, high: Option<V>) -> V {
        let low = self.t.convert("zext", low, Ty::I16);
        let Some(high) = high else { return low };
        let high = self.t.convert("zext", high, Ty::I16);
        let eight = self.t.int(Ty::I16, 8);
        let high = self.t.int_op("shl", high, eight);
        self.t.int_op("or", low, high)
    }

    fn small_asm(&mut self, text: &str, constraints: &str, operands: &[V], ty: Ty) -> V {
        let (args, types) = crate::text::lists(operands);
        let text = format!(
            "llvm.inline_asm asm_dialect = att \"{text}\", \"{constraints}\" {args} : ({types}) -> {ty}"
        );
        self.t.pure(text, operands, ty)
    }

    /// The bits of an element as an f16.
    fn decode(&mut self, v: V, dtype: DType) -> V {
        let Some(f) = small(dtype) else { return v };
        let bits = self.t.convert("zext", v, Ty::I16);
        let rest = f.fraction + f.exponent;
        let mut field = |mask: i64, up: u32| {
            let (mask, up) = (self.t.int(Ty::I16, mask), self.t.int(Ty::I16, i64::from(up)));
            let part = self.t.int_op("and", bits, mask);
            (part, self.t.int_op("shl", part, up))
        };
        let (magnitude, moved) = field((1 << rest) - 1, 10 - f.fraction);
        let (_, sign) = field(1 << rest, 15 - rest);
        let half = self.t.int_op("or", moved, sign);
        let half = self.t.convert("bitcast", half, Ty::F16);
        if f.bias == 15 {
            return half;
        }
        let factor = self.t.float(Ty::F16, f64::from(1 << (15 - f.bias)));
        let value = self.t.float_op("fmul", half, factor);
        if dtype != DType::F8e4m3 {
            return value;
        }
        let (nan_bits, nan) = (self.t.int(Ty::I16, f.nan), self.t.float(Ty::F16, f64::NAN));
        let is_nan = self.t.icmp("eq", magnitude, nan_bits);
        self.t.select(is_nan, nan, value)
    }

    /// The bits of the nearest value; `v` is an f32 or an f64.
    fn encode(&mut self, v: V, dtype: DType) -> V {
        let Some(f) = small(dtype) else { return v };
        let (word, fraction, bias, top) = match v.ty {
            Ty::F64 => (Ty::I64, 52u32, 1023i64, 63),
            _ => (Ty::I32, 23, 127, 31),
        };
        let t = &mut self.t;
        let (most, size) = (t.float(v.ty, f.most), t.intrinsic("fabs", &[v]));
        let size = t.intrinsic("minnum", &[size, most]);
        let bits = t.convert("bitcast", size, word);
        let cut = fraction - f.fraction;
        let (shift, one) = (t.int(word, i64::from(cut)), t.int(word, 1));
        // Normal: half of what is cut off, less one bit if the kept part is even.
        let kept = t.int_op("lshr", bits, shift);
        let odd = t.int_op("and", kept, one);
        let bits_up = t.add_const(bits, (1 << (cut - 1)) - 1);
        let rounded = t.add(bits_up, odd);
        let normal = t.int_op("lshr", rounded, shift);
        let normal = t.add_const(normal, -((bias - i64::from(f.bias)) << f.fraction));
        // Subnormal: multiples of the quantum 2^(1 - bias - fraction).
        let quantum = 1 - f.bias - f.fraction as i32;
        let magic = t.float(v.ty, 2f64.powi(quantum + fraction as i32));
        let sum = t.rounded_sum(size, magic);
        let (sum, magic) = (t.convert("bitcast", sum, word), t.convert("bitcast", magic, word));
        let subnormal = t.sub(sum, magic);
        let least = t.float(v.ty, 2f64.powi(1 - f.bias));
        let below = t.fcmp("olt", size, least);
        let code = t.select(below, subnormal, normal);
        let all = t.convert("bitcast", v, word);
        let down = t.int(word, top - i64::from(f.fraction + f.exponent));
        let sign = t.int_op("lshr", all, down);
        let sign_bit = t.int(word, 1 << (f.fraction + f.exponent));
        let sign = t.int_op("and", sign, sign_bit);
        let code = t.int_op("or", code, sign);
        let nan_code = t.int(word, f.nan);
        let nan_code = if dtype == DType::F4e2m1 { nan_code } else { t.int_op("or", nan_code, sign) };
        let is_nan = t.fcmp("uno", v, v);
        let code = t.select(is_nan, nan_code, code);
        t.convert("trunc", code, Ty::I8)
    }
}
