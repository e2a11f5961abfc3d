//! Words of which some bits are known, and what is known of results computed from them.
//!
//! A bit of a result is known when it is the same whatever the unknown bits of the operands are. (Letters are unknown bits.)
//!
//! ```text
//! 10xy & 0011 = 00xy      a known 0 decides           10xy | 0011 = 1011      so does a known 1
//! 10xy + 0001 = 1uvw      the carry may go anywhere up to the first place where it would be swallowed
//! 00x0 * 0100 = x000      zeros come in from below    10xy < 0100: no         decided by the bits that are known
//! ```
//!
//! Sums are exact by one observation: the carry into a bit only grows when operands grow. If the smallest operands and the
//! greatest agree in a bit of the sum, and both operands are known there, then so does every sum between them.

use crate::ir::Compare;

/// A word; what `value` holds outside of `known` means nothing.
#[derive(Clone, Copy, Debug)]
pub struct Partly {
    pub value: u64,
    pub known: u64,
}

impl Partly {
    pub fn whole(value: u64) -> Partly {
        Partly { value, known: u64::MAX }
    }

    /// The smallest and the greatest number that it may be.
    fn least(self) -> u64 {
        self.value & self.known
    }

    fn most(self) -> u64 {
        self.value | !self.known
    }

    /// Bits that are known and 0, or known and 1.
    fn zeros(self) -> u64 {
        self.known & !self.value
    }

    fn ones(self) -> u64 {
        self.known & self.value
    }

    /// How many of its low bits are known.
    fn low_known(self) -> u32 {
        self.known.trailing_ones()
    }

    /// Its low `bits` moved to the top, where the order of numbers is that of all words.
    pub fn at_top(self, bits: u32) -> Partly {
        let up = 64 - bits;
        Partly { value: self.value << up, known: self.known << up | !(u64::MAX << up) }
    }

    /// Its low `bits`, as a signed or unsigned number of 64.
    pub fn extended(self, bits: u32, signed: bool) -> Partly {
        let up = 64 - bits;
        let copied = |v: u64| ((v << up) as i64 >> up) as u64;
        if signed {
            Partly { value: copied(self.value), known: copied(self.known) }
        } else {
            Partly { value: self.value << up >> up, known: copied(self.known) | !(u64::MAX >> up) }
        }
    }
}

pub fn and(a: Partly, b: Partly) -> u64 {
    a.known & b.known | a.zeros() | b.zeros()
}

pub fn or(a: Partly, b: Partly) -> u64 {
    a.known & b.known | a.ones() | b.ones()
}

/// Any function of three bits, as `lop3` has it in a table: bit `4 a + 2 b + c`.
pub fn table(table: u8, a: Partly, b: Partly, c: Partly) -> u64 {
    let (mut may_be_0, mut may_be_1) = (0, 0);
    for n in 0..8 {
        let may = |x: Partly, bit: u8| if n >> bit & 1 == 1 { !x.zeros() } else { !x.ones() };
        let reached = may(a, 2) & may(b, 1) & may(c, 0);
        if table >> n & 1 == 1 { may_be_1 |= reached } else { may_be_0 |= reached }
    }
    !(may_be_0 & may_be_1)
}

pub fn add(a: Partly, b: Partly) -> u64 {
    let (least, most) = (a.least().wrapping_add(b.least()), a.most().wrapping_add(b.most()));
    a.known & b.known & !(least ^ most)
}

pub fn sub(a: Partly, b: Partly) -> u64 {
    let (least, most) = (a.least().wrapping_sub(b.most()), a.most().wrapping_sub(b.least()));
    a.known & b.known & !(least ^ most)
}

/// The low bits of a product up to the first that an unknown bit reaches: `n` places up, by as many zeros as the other
/// operand ends with.
pub fn multiply(a: Partly, b: Partly) -> u64 {
    let zeros = |x: Partly| x.zeros().trailing_ones();
    let reached = |x: Partly, by: Partly| {
        if x.known == u64::MAX { 64 } else { (x.low_known() + zeros(by)).min(64) }
    };
    low(reached(a, b).min(reached(b, a)))
}

/// So many ones.
fn low(bits: u32) -> u64 {
    if bits >= 64 { u64::MAX } else { (1 << bits) - 1 }
}

/// Whether unknown bits leave it open if this is zero.
pub fn zero_decided(a: Partly) -> bool {
    a.known == u64::MAX || a.ones() != 0
}

/// Whether a comparison of integers, which stand at the top of their words, gives the same whatever the unknown bits are.
pub fn decided(cmp: Compare, signed: bool, a: Partly, b: Partly) -> bool {
    if matches!(cmp, Compare::Eq | Compare::Ne) {
        let both = a.known & b.known;
        return both == u64::MAX || (a.value ^ b.value) & both != 0;
    }
    // With the sign turned, the order of signed numbers is that of unsigned ones.
    let turn = |x: Partly| Partly { value: x.value ^ (signed as u64) << 63, ..x };
    let (a, b) = (turn(a), turn(b));
    let less = |x: u64, y: u64| match cmp {
        Compare::Lt | Compare::Ge => x < y,
        _ => x <= y,
    };
    less(a.least(), b.most()) == less(a.most(), b.least())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bits of the small words that are tried out.
    const BITS: u32 = 4;
    const LOW: u64 = (1 << BITS) - 1;

    fn words() -> impl Iterator<Item = Partly> {
        let pairs = (0..=LOW).flat_map(|known| (0..=LOW).map(move |value| (value, known)));
        pairs.filter(|(v, k)| v & !k == 0).map(|(value, known)| Partly { value, known: known | !LOW })
    }

    fn numbers(of: Partly) -> impl Iterator<Item = u64> {
        (0..=LOW).filter(move |n| (n ^ of.value) & of.known & LOW == 0)
    }

    /// Compares with the results of every pair of numbers that two words may be. `exact`: no known bit is left out.
    fn try_out(exact: bool, known: impl Fn(Partly, Partly) -> u64, f: impl Fn(u64, u64) -> u64) {
        for a in words() {
            for b in words() {
                let results = numbers(a).flat_map(|x| numbers(b).map(move |y| (x, y))).map(|(x, y)| f(x, y));
                let (zeros, ones) = results.fold((0, 0), |(z, o), v| (z | !v, o | v));
                let (want, got) = (!(zeros & ones) & LOW, known(a, b) & LOW);
                assert_eq!(got & !want, 0, "{a:x?} {b:x?}: claims too much");
                assert!(!exact || got == want, "{a:x?} {b:x?}: {got:x}, may know {want:x}");
            }
        }
    }

    #[test]
    fn logic_and_sums_are_exact() {
        try_out(true, and, |x, y| x & y);
        try_out(true, or, |x, y| x | y);
        try_out(true, add, u64::wrapping_add);
        try_out(true, sub, u64::wrapping_sub);
        for t in 0..=255u8 {
            let bit = |x: u64, y: u64, n: u32| (t >> (4 * (x >> n & 1) + 2 * (y >> n & 1)) & 1) as u64;
            let f = |x, y| (0..BITS).fold(0, |all, n| all | bit(x, y, n) << n);
            try_out(true, |a, b| table(t, a, b, Partly::whole(0)), f);
        }
    }

    #[test]
    fn products_claim_no_more_than_they_may() {
        try_out(false, multiply, u64::wrapping_mul);
        let odd = Partly { value: 0, known: !2 };
        assert_eq!(multiply(odd, Partly::whole(4)), 0b111);
    }

    #[test]
    fn comparisons_are_exact() {
        for signed in [false, true] {
            let number = |n: u64| if signed { (n << 60) as i64 >> 60 } else { n as i64 };
            for cmp in [Compare::Eq, Compare::Ne, Compare::Lt, Compare::Le, Compare::Gt, Compare::Ge] {
                let known =
                    |a: Partly, b: Partly| decided(cmp, signed, a.at_top(BITS), b.at_top(BITS)) as u64 | !1;
                try_out(true, known, |x, y| {
                    let (x, y) = (number(x), number(y));
                    (match cmp {
                        Compare::Eq => x == y,
                        Compare::Ne => x != y,
                        Compare::Lt => x < y,
                        Compare::Le => x <= y,
                        Compare::Gt => x > y,
                        _ => x >= y,
                    }) as u64
                });
            }
        }
        try_out(true, |a, _| zero_decided(a) as u64 | !1, |x, _| (x == 0) as u64);
    }
}
