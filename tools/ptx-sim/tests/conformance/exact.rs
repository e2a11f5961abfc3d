//! References for float arithmetic: exact dyadic numbers of any size, and a search for their neighbours in a format.
//!
//! The codes of the positive numbers of a format rise with their values, so the neighbours of a magnitude are found by
//! bisection over codes, comparing exactly. Nothing here shares an idea with the simulator's rounding.

use num_bigint::{BigInt, BigUint};
use std::cmp::Ordering;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Format {
    pub exponent: u32,
    pub fraction: u32,
}

pub const F64: Format = Format { exponent: 11, fraction: 52 };
pub const F32: Format = Format { exponent: 8, fraction: 23 };
pub const BF16: Format = Format { exponent: 8, fraction: 7 };
pub const TF32: Format = Format { exponent: 8, fraction: 10 };
pub const F16: Format = Format { exponent: 5, fraction: 10 };

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Nearest,
    Zero,
    Down,
    Up,
    /// Ties away from zero.
    Away,
}

/// `n · 2^e`.
#[derive(Clone, Debug)]
pub struct Dyadic {
    pub n: BigInt,
    pub e: i64,
}

impl Dyadic {
    pub fn int(v: i128) -> Dyadic {
        Dyadic { n: v.into(), e: 0 }
    }

    fn at(&self, e: i64) -> BigInt {
        &self.n << (self.e - e) as usize
    }

    pub fn plus(&self, other: &Dyadic) -> Dyadic {
        let e = self.e.min(other.e);
        Dyadic { n: self.at(e) + other.at(e), e }
    }

    pub fn times(&self, other: &Dyadic) -> Dyadic {
        Dyadic { n: &self.n * &other.n, e: self.e + other.e }
    }

    pub fn negative(&self) -> bool {
        self.n < BigInt::ZERO
    }

    pub fn is_zero(&self) -> bool {
        self.n == BigInt::ZERO
    }

    pub fn abs(&self) -> Dyadic {
        Dyadic { n: BigUint::clone(self.n.magnitude()).into(), e: self.e }
    }

    pub fn compare(&self, other: &Dyadic) -> Ordering {
        let e = self.e.min(other.e);
        self.at(e).cmp(&other.at(e))
    }
}

impl Format {
    pub fn bits(self) -> u32 {
        1 + self.exponent + self.fraction
    }

    pub fn sign(self) -> u64 {
        1 << (self.exponent + self.fraction)
    }

    pub fn infinity(self) -> u64 {
        ((1 << self.exponent) - 1) << self.fraction
    }

    /// The one NaN of results.
    pub fn nan(self) -> u64 {
        self.sign() - 1
    }

    pub fn finite(self, code: u64) -> bool {
        code & !self.sign() < self.infinity()
    }

    /// The number of a finite code.
    pub fn number(self, code: u64) -> Dyadic {
        let magnitude = code & (self.sign() - 1);
        let (exponent, fraction) = (magnitude >> self.fraction, magnitude & ((1 << self.fraction) - 1));
        let hidden = if exponent == 0 { 0 } else { 1u64 << self.fraction };
        let n = BigInt::from(fraction | hidden);
        let n = if code & self.sign() != 0 { -n } else { n };
        let bias = (1i64 << (self.exponent - 1)) - 1;
        Dyadic { n, e: exponent.max(1) as i64 - bias - self.fraction as i64 }
    }

    /// The code nearest to a magnitude in a mode; `compare` tells how a candidate lies to it.
    pub fn round(self, mode: Mode, negative: bool, compare: impl Fn(&Dyadic) -> Ordering) -> u64 {
        let (mut below, mut above) = (0, self.infinity());
        while above - below > 1 {
            let middle = (below + above) / 2;
            match compare(&self.number(middle)) {
                Ordering::Greater => above = middle,
                _ => below = middle,
            }
        }
        let sign = if negative { self.sign() } else { 0 };
        if compare(&self.number(below)) == Ordering::Equal {
            return sign | below;
        }
        let up = match mode {
            Mode::Zero => false,
            Mode::Down => negative,
            Mode::Up => !negative,
            Mode::Nearest | Mode::Away => {
                let low = self.number(below);
                // Beyond the greatest number the next step would be as wide again.
                let next = if above == self.infinity() {
                    let before = self.number(below - 1);
                    low.plus(&low).plus(&Dyadic { n: -before.n, e: before.e })
                } else {
                    self.number(above)
                };
                let sum = low.plus(&next);
                let middle = Dyadic { n: sum.n, e: sum.e - 1 };
                match compare(&middle) {
                    Ordering::Less => true,
                    Ordering::Greater => false,
                    Ordering::Equal => mode == Mode::Away || below & 1 == 1,
                }
            }
        };
        sign | if up { above } else { below }
    }

    /// A number in this format.
    pub fn encode(self, v: &Dyadic, mode: Mode, zero_is_negative: bool) -> u64 {
        if v.is_zero() {
            return if zero_is_negative { self.sign() } else { 0 };
        }
        let magnitude = v.abs();
        self.round(mode, v.negative(), |candidate| candidate.compare(&magnitude))
    }
}
