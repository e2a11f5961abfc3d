//! Number formats, and the one rounding from an exact value into each of them.
//!
//! An exact value is `±m · 2^e` with `m` of up to 128 bits. A value that is not exact (a quotient, a root, a sum whose
//! far end fell off) is *rounded to odd*: cut off, and its last bit set. It then lies strictly between the same two
//! neighbours of any shorter format as the true value, so that rounding it gives what rounding the true value would.
//!
//! ```text
//! 1/3 in e2m1 (fractions of one bit), down: m = 0x5555…5 (odd), e = -k     between 0.0 and 0.5, so 0.0
//! 1 + 2^-11 + 2^-60 into f16, nearest:      above the tie 1 + 2^-11, so 1 + 2^-10
//! ```

use crate::ir::Rounding;

/// `±m · 2^e`; the last bit of `m` is set where more follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exact {
    pub negative: bool,
    pub m: u128,
    pub e: i32,
}

/// What the codes at the top of a format mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Top {
    /// Infinities, and NaNs above them.
    Ieee,
    /// One NaN per sign, no infinity (e4m3).
    NanOnly,
    /// Numbers only.
    Finite,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Format {
    exponent: u32,
    fraction: u32,
    top: Top,
}

const fn format(exponent: u32, fraction: u32, top: Top) -> Format {
    Format { exponent, fraction, top }
}

pub const F64: Format = format(11, 52, Top::Ieee);
pub const F32: Format = format(8, 23, Top::Ieee);
/// Nineteen bits; a register holds them at its top.
pub const TF32: Format = format(8, 10, Top::Ieee);
pub const BF16: Format = format(8, 7, Top::Ieee);
pub const F16: Format = format(5, 10, Top::Ieee);
pub const E5M2: Format = format(5, 2, Top::Ieee);
pub const E4M3: Format = format(4, 3, Top::NanOnly);
pub const E3M2: Format = format(3, 2, Top::Finite);
pub const E2M3: Format = format(2, 3, Top::Finite);
pub const E2M1: Format = format(2, 1, Top::Finite);

impl Format {
    fn bias(self) -> i32 {
        (1 << (self.exponent - 1)) - 1
    }

    fn sign_bit(self) -> u64 {
        1 << (self.exponent + self.fraction)
    }

    /// Code of the greatest finite number.
    pub fn greatest(self) -> u64 {
        match self.top {
            Top::Ieee => self.infinity() - 1,
            Top::NanOnly => self.sign_bit() - 2,
            Top::Finite => self.sign_bit() - 1,
        }
    }

    /// Code of infinity, where there is one.
    fn infinity(self) -> u64 {
        ((1 << self.exponent) - 1) << self.fraction
    }

    /// The NaN that results carry; formats without one give their greatest number.
    pub fn nan(self) -> u64 {
        self.sign_bit() - 1
    }

    /// A NaN of another format with its sign and the upper bits of its payload, quiet.
    pub fn nan_of(self, from: Format, bits: u64) -> u64 {
        let sign = if bits & from.sign_bit() != 0 { self.sign_bit() } else { 0 };
        let payload = bits & ((1 << from.fraction) - 1);
        let payload = (payload << (64 - from.fraction)) >> (64 - self.fraction);
        sign | self.infinity() | 1 << (self.fraction - 1) | payload
    }

    pub fn is_nan(self, bits: u64) -> bool {
        let magnitude = bits & (self.sign_bit() - 1);
        match self.top {
            Top::Ieee => magnitude > self.infinity(),
            Top::NanOnly => magnitude == self.sign_bit() - 1,
            Top::Finite => false,
        }
    }

    pub fn is_subnormal(self, bits: u64) -> bool {
        let magnitude = bits & (self.sign_bit() - 1);
        magnitude != 0 && magnitude < 1 << self.fraction
    }

    /// The number a code means; every format here fits f64.
    pub fn decode(self, bits: u64) -> f64 {
        if self == F64 {
            return f64::from_bits(bits);
        }
        let magnitude = bits & (self.sign_bit() - 1);
        let sign = if bits & self.sign_bit() != 0 { -1.0 } else { 1.0 };
        if self.is_nan(bits) {
            return f64::NAN;
        }
        if self.top == Top::Ieee && magnitude == self.infinity() {
            return sign * f64::INFINITY;
        }
        let exponent = (magnitude >> self.fraction) as i32;
        let fraction = magnitude & ((1 << self.fraction) - 1);
        let (m, e) = if exponent == 0 { (fraction, 1) } else { (fraction | 1 << self.fraction, exponent) };
        sign * m as f64 * power_of_two(e - self.bias() - self.fraction as i32)
    }

    /// The code of a number after one rounding. `saturate`: beyond the greatest finite number lies that number.
    pub fn encode(self, value: Exact, rounding: Rounding, saturate: bool) -> u64 {
        let sign = if value.negative { self.sign_bit() } else { 0 };
        if value.m == 0 {
            return sign;
        }
        let length = 128 - value.m.leading_zeros() as i32;
        let lowest = 1 - self.bias();
        let top = (value.e + length - 1).max(lowest);
        let quantum = top - self.fraction as i32;
        let (kept, tail) = split(value.m, quantum - value.e);
        let kept = kept as u64 + up(rounding, value.negative, kept as u64 & 1 == 1, tail) as u64;
        // A carry out of the fraction lands in the exponent, as it should.
        let biased = (quantum + self.fraction as i32 + self.bias()) as u64;
        let magnitude = if kept >> self.fraction == 0 {
            kept
        } else {
            biased.saturating_mul(1 << self.fraction).saturating_add(kept - (1 << self.fraction))
        };
        sign | if magnitude <= self.greatest() {
            magnitude
        } else {
            self.overflow(rounding, value.negative, saturate)
        }
    }

    /// The same where subnormal results become zeros (`.ftz`). Whether one is too small shows after rounding, in a format that has
    /// the same digits and no least exponent:
    ///
    /// ```text
    /// f32   (1 - 2^-24) 2^-126    fits 24 bits as it is, below 2^-126: zero (though as a subnormal it would round up)
    ///       (1 - 2^-46) 2^-126    rounds to 2^-126: stays
    /// ```
    pub fn encode_flushed(self, value: Exact, rounding: Rounding) -> u64 {
        // Far enough up that nothing of interest is subnormal.
        let lifted = self.encode(Exact { e: value.e + self.bias(), ..value }, rounding, false);
        let tiny = lifted & (self.sign_bit() - 1) < ((self.bias() + 1) as u64) << self.fraction;
        if tiny { lifted & self.sign_bit() } else { self.encode(value, rounding, false) }
    }

    fn overflow(self, rounding: Rounding, negative: bool, saturate: bool) -> u64 {
        let towards_zero = match rounding {
            Rounding::Zero | Rounding::ZeroInt => true,
            Rounding::Down | Rounding::DownInt => !negative,
            Rounding::Up | Rounding::UpInt => negative,
            _ => false,
        };
        match self.top {
            _ if saturate || towards_zero => self.greatest(),
            Top::Ieee => self.infinity(),
            Top::NanOnly => self.nan(),
            Top::Finite => self.greatest(),
        }
    }

    /// The code of an f64, NaN and infinity too.
    pub fn encode_f64(self, v: f64, rounding: Rounding, saturate: bool) -> u64 {
        if v.is_nan() {
            return self.nan();
        }
        if v.is_infinite() {
            let sign = if v < 0.0 { self.sign_bit() } else { 0 };
            let infinite = self.top == Top::Ieee && !saturate;
            return sign
                | if infinite {
                    self.infinity()
                } else {
                    self.overflow(Rounding::Nearest, v < 0.0, saturate)
                };
        }
        self.encode(Exact::from(v), rounding, saturate)
    }
}

/// What lies below the bits kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tail {
    Nothing,
    BelowHalf,
    Half,
    AboveHalf,
}

/// The bits above `shift`, and what lies below.
fn split(m: u128, shift: i32) -> (u128, Tail) {
    match shift {
        ..=0 => (m << -shift, Tail::Nothing),
        1..=127 => {
            let (kept, rest, half) = (m >> shift, m & ((1 << shift) - 1), 1u128 << (shift - 1));
            let tail = match rest.cmp(&half) {
                _ if rest == 0 => Tail::Nothing,
                std::cmp::Ordering::Less => Tail::BelowHalf,
                std::cmp::Ordering::Equal => Tail::Half,
                std::cmp::Ordering::Greater => Tail::AboveHalf,
            };
            (kept, tail)
        }
        128 if m > 1 << 127 => (0, Tail::AboveHalf),
        128 if m == 1 << 127 => (0, Tail::Half),
        _ => (0, Tail::BelowHalf),
    }
}

/// Whether to go one further from zero.
fn up(rounding: Rounding, negative: bool, odd: bool, tail: Tail) -> bool {
    match rounding {
        _ if tail == Tail::Nothing => false,
        Rounding::Zero | Rounding::ZeroInt => false,
        Rounding::Down | Rounding::DownInt => negative,
        Rounding::Up | Rounding::UpInt => !negative,
        Rounding::Away => tail != Tail::BelowHalf,
        Rounding::Nearest | Rounding::NearestInt => tail == Tail::AboveHalf || (tail == Tail::Half && odd),
    }
}

/// `2^e`, also where it is subnormal.
fn power_of_two(e: i32) -> f64 {
    match e {
        -1022..=1023 => f64::from_bits(((e + 1023) as u64) << 52),
        -1074..=-1023 => f64::from_bits(1 << (e + 1074)),
        ..=-1075 => 0.0,
        _ => f64::INFINITY,
    }
}

impl From<f64> for Exact {
    /// Of a finite number.
    fn from(v: f64) -> Exact {
        let bits = v.to_bits();
        let exponent = (bits >> 52 & 0x7ff) as i32;
        let fraction = (bits & ((1 << 52) - 1)) as u128;
        let (m, e) = if exponent == 0 { (fraction, 1) } else { (fraction | 1 << 52, exponent) };
        Exact { negative: bits >> 63 == 1, m, e: e - 1075 }
    }
}

impl From<i128> for Exact {
    fn from(v: i128) -> Exact {
        Exact { negative: v < 0, m: v.unsigned_abs(), e: 0 }
    }
}

impl Exact {
    /// Moves the last bit to the place `e`, rounding to odd what falls off.
    fn align(self, e: i32) -> u128 {
        let shift = e - self.e;
        match shift {
            ..=0 => self.m << -shift,
            1..=127 => (self.m >> shift) | (self.m & ((1 << shift) - 1) != 0) as u128,
            _ => (self.m != 0) as u128,
        }
    }

    fn end(self) -> i32 {
        self.e + 128 - self.m.leading_zeros() as i32
    }

    /// A product of two numbers of at most 64 bits, exact.
    pub fn times(self, other: Exact) -> Exact {
        Exact { negative: self.negative != other.negative, m: self.m * other.m, e: self.e + other.e }
    }

    /// A sum of numbers of at most 106 bits. A zero that comes of unequal signs is negative only when rounding down.
    pub fn plus(self, other: Exact, rounding: Rounding) -> Exact {
        if other.m == 0 || self.m == 0 {
            let both = self.m == 0 && other.m == 0;
            let some = if self.m == 0 { other } else { self };
            let negative = if both && self.negative != other.negative {
                rounding == Rounding::Down
            } else {
                some.negative
            };
            return Exact { negative, ..some };
        }
        // The greater one ends at bit 126; the other loses bits only where it is far below.
        let e = self.end().max(other.end()) - 126;
        let (x, y) = (self.align(e), other.align(e));
        let (negative, m) = match () {
            () if self.negative == other.negative => (self.negative, x + y),
            () if x > y => (self.negative, x - y),
            () if y > x => (other.negative, y - x),
            () => (rounding == Rounding::Down, 0),
        };
        Exact { negative, m, e }
    }

    /// A quotient; the divisor is not zero.
    pub fn over(self, other: Exact) -> Exact {
        let room = self.m.leading_zeros() as i32 - 1;
        let m = self.m << room.max(0);
        let odd = !m.is_multiple_of(other.m) as u128;
        let negative = self.negative != other.negative;
        Exact { negative, m: (m / other.m) | odd, e: self.e - room.max(0) - other.e }
    }

    /// The square root of a number that is not negative.
    pub fn root(self) -> Exact {
        let room = (self.m.leading_zeros() as i32 - 2).max(0);
        // The exponent has to be even.
        let room = if (self.e - room) % 2 == 0 { room } else { room + 1 };
        let m = self.m << room;
        let root = m.isqrt();
        Exact { negative: self.negative, m: root | (root * root != m) as u128, e: (self.e - room) / 2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_small_formats_comes_back() {
        for format in [F16, BF16, E5M2, E4M3, E3M2, E2M3, E2M1] {
            for bits in 0..2 * format.sign_bit() {
                if !format.is_nan(bits) {
                    let v = format.decode(bits);
                    assert_eq!(format.encode_f64(v, Rounding::Nearest, false), bits, "{format:?} {v}");
                }
            }
        }
        assert_eq!(E4M3.decode(0x7e), 448.0);
        assert_eq!(E2M1.decode(7), 6.0);
        assert_eq!(E2M3.decode(0x1f), 7.5);
        assert_eq!(E3M2.decode(0x1f), 28.0);
    }

    #[test]
    fn f64_and_f32_arithmetic_agree_with_the_host() {
        let values = [1.0, -3.0, 0.1, 1e300, -1e-300, 5e-324, f64::MAX, 1.0 + f64::EPSILON, -0.0];
        for x in values {
            for y in values {
                let (a, b) = (Exact::from(x), Exact::from(y));
                let near = |v: Exact| f64::from_bits(F64.encode(v, Rounding::Nearest, false));
                assert_eq!(near(a.plus(b, Rounding::Nearest)).to_bits(), (x + y).to_bits(), "{x} + {y}");
                assert_eq!(near(a.times(b)).to_bits(), (x * y).to_bits(), "{x} * {y}");
                let fused = near(a.times(b).plus(Exact::from(0.3), Rounding::Nearest));
                assert_eq!(fused.to_bits(), x.mul_add(y, 0.3).to_bits(), "{x} * {y} + 0.3");
                if y != 0.0 {
                    assert_eq!(near(a.over(b)).to_bits(), (x / y).to_bits(), "{x} / {y}");
                }
            }
            if x >= 0.0 && x.is_sign_positive() {
                let root = F64.encode(Exact::from(x).root(), Rounding::Nearest, false);
                assert_eq!(root, x.sqrt().to_bits(), "root of {x}");
            }
            assert_eq!(F32.encode_f64(x, Rounding::Nearest, false) as u32, (x as f32).to_bits());
        }
    }

    #[test]
    fn a_nan_keeps_the_top_of_its_payload() {
        assert_eq!(F32.nan_of(F64, 0x7ff8_0000_0000_0000), 0x7fc0_0000);
        assert_eq!(F16.nan_of(F64, 0xfff1_2345_6789_abcd), 0xfe48);
        assert_eq!(F64.nan_of(F32, 0xff80_0001), 0xfff8_0000_2000_0000);
        assert_eq!(F64.nan_of(BF16, 0x7fff), 0x7fff_e000_0000_0000);
    }

    #[test]
    fn what_is_too_small_shows_after_rounding() {
        let (one, least) = (Exact::from(1.0), 1 << 23);
        let below = |n: i32| Exact { m: (1u128 << n) - 1, e: -126 - n, ..one };
        let near = |n| F32.encode_flushed(below(n), Rounding::Nearest);
        assert_eq!((near(23), near(24), near(25), near(46)), (0, 0, least, least));
        assert_eq!(F32.encode(below(24), Rounding::Nearest, false), least);
        assert_eq!(F32.encode_flushed(below(46), Rounding::Zero), 0);
        assert_eq!(F32.encode_flushed(below(46), Rounding::Up), least);
        let minus = Exact { negative: true, ..below(24) };
        assert_eq!(F32.encode_flushed(minus, Rounding::Nearest), 1 << 31);
        assert_eq!(F16.encode_flushed(Exact { m: (1 << 11) - 1, e: -14 - 11, ..one }, Rounding::Nearest), 0);
    }

    #[test]
    fn directed_modes_enclose() {
        let third = Exact::from(1.0).over(Exact::from(3.0));
        let at = |mode| F16.decode(F16.encode(third, mode, false));
        assert!(at(Rounding::Down) < 1.0 / 3.0 && at(Rounding::Up) > 1.0 / 3.0);
        assert_eq!(at(Rounding::Zero), at(Rounding::Down));
        let tie = Exact::from(1.0).plus(Exact::from(2f64.powi(-11) + 2f64.powi(-60)), Rounding::Nearest);
        assert_eq!(F16.decode(F16.encode(tie, Rounding::Nearest, false)), 1.0 + 2f64.powi(-10));
    }
}
