//! Integer operations with rules of their own: carries, 24-bit products, dot products of bytes, bit masks, halves.

use super::rows::{Rows, lanes};
use crate::ir::{CarryOp, IntOp, Op};

/// `add.cc`, `addc`, `sub.cc`, `subc`, `mad.lo.cc`, `madc.hi`, …: the carry is one bit of a predicate for each lane.
/// For differences it is the borrow.
pub fn carry(r: &mut Rows, mask: u32, op: &Op) {
    let &Op::Carry { op, signed, wide, carry_in, carry_out, d, a, b, c } = op else { return };
    let incoming = carry_in.map_or(0, |p| r.pred(p));
    let mut outgoing = 0u32;
    let bits = if wide { 64 } else { 32 };
    for lane in lanes(mask) {
        let read = |slot| if wide { r.wide(slot, lane) } else { r.row(slot)[lane] as u64 };
        let (x, y, z) = (read(a), read(b), read(c));
        let bit = (incoming >> lane & 1) as u128;
        let sum = match op {
            CarryOp::Add => x as u128 + y as u128 + bit,
            CarryOp::Sub => (x as u128).wrapping_sub(y as u128).wrapping_sub(bit),
            CarryOp::MadLo | CarryOp::MadHi => {
                let high = op == CarryOp::MadHi;
                product_half(signed, bits, high, x, y) as u128 + z as u128 + bit
            }
        };
        outgoing |= ((sum >> bits & 1) as u32) << lane;
        if wide {
            r.set_wide(d, lane, sum as u64);
        } else {
            r.row_mut(d)[lane] = sum as u32;
        }
    }
    if let Some(p) = carry_out {
        r.set_pred(p, outgoing, mask);
    }
}

/// The low or high half of a product.
fn product_half(signed: bool, bits: u32, high: bool, x: u64, y: u64) -> u64 {
    let product = match (signed, bits) {
        (true, 32) => x as u32 as i32 as i128 * y as u32 as i32 as i128,
        (true, _) => x as i64 as i128 * y as i64 as i128,
        (false, _) => (x as u128 * y as u128) as i128,
    };
    let half = if high { (product >> bits) as u64 } else { product as u64 };
    if bits == 32 { half as u32 as u64 } else { half }
}

/// `dp4a`, `dp2a`: both operands may have signs of their own.
pub fn dot(op: IntOp, p: u32, q: u32, s: u32) -> u32 {
    let byte = |word: u32, n: u32, signed: bool| {
        let byte = (word >> (8 * n)) as u8;
        if signed { byte as i8 as i64 } else { byte as i64 }
    };
    let sum: i64 = match op {
        IntOp::Dp4a(a, b) => (0..4).map(|n| byte(p, n, a) * byte(q, n, b)).sum(),
        IntOp::Dp2a { a_signed, b_signed, high } => (0..2)
            .map(|n| {
                let half = (p >> (16 * n)) as u16;
                let half = if a_signed { half as i16 as i64 } else { half as i64 };
                half * byte(q, n + if high { 2 } else { 0 }, b_signed)
            })
            .sum(),
        _ => 0,
    };
    s.wrapping_add(sum as u32)
}

/// Products of the low 24 bits; `hi` is bits 16 to 47 of the 48.
pub fn product24(op: IntOp, signed: bool, sat: bool, p: u32, q: u32, s: u32) -> u32 {
    let low = |v: u32| if signed { ((v << 8) as i32 >> 8) as i64 } else { (v & 0xff_ffff) as i64 };
    let product = low(p) * low(q);
    let part = match op {
        IntOp::Mul24Hi | IntOp::Mad24Hi => (product >> 16) as u32,
        _ => product as u32,
    };
    match op {
        IntOp::Mad24Hi if sat => {
            (part as i32 as i64 + s as i32 as i64).clamp(i32::MIN as i64, i32::MAX as i64) as u32
        }
        IntOp::Mad24Lo | IntOp::Mad24Hi => part.wrapping_add(s),
        _ => part,
    }
}

/// `bmsk` makes `b` ones from bit `a` up; `szext` extends `a` from its low `b` bits.
pub fn mask_or_extend(op: IntOp, signed: bool, a: u32, b: u32) -> u32 {
    match op {
        IntOp::BitMaskWrap | IntOp::BitMaskClamp => {
            let wrap = op == IntOp::BitMaskWrap;
            let (start, width) = if wrap { (a & 31, b & 31) } else { (a, b.min(32)) };
            if start >= 32 { 0 } else { (((1u64 << width) - 1) << start) as u32 }
        }
        _ => {
            let width = if op == IntOp::ExtendWrap { b & 31 } else { b.min(32) };
            match width {
                0 => 0,
                32 => a,
                n if signed => ((a << (32 - n)) as i32 >> (32 - n)) as u32,
                n => a & ((1 << n) - 1),
            }
        }
    }
}

/// `fns`: the position of the n-th set bit at or after `base` (before it, for negative n; `base` itself for 0).
pub fn nth_set(mask: u32, base: u32, n: i32) -> u32 {
    let base = base & 31;
    let (step, mut left) = match n {
        0 => return if mask >> base & 1 == 1 { base } else { u32::MAX },
        1.. => (1i32, n as i64),
        _ => (-1, -(n as i64)),
    };
    let mut at = base as i32;
    while (0..32).contains(&at) {
        left -= (mask >> at & 1) as i64;
        if left == 0 {
            return at as u32;
        }
        at += step;
    }
    u32::MAX
}

/// Two 16-bit integers in a word.
pub fn packed(op: IntOp, signed: bool, p: u32, q: u32) -> u32 {
    let half = |x: u16, y: u16| match op {
        IntOp::AddPacked => x.wrapping_add(y),
        IntOp::MinPacked if signed => (x as i16).min(y as i16) as u16,
        IntOp::MaxPacked if signed => (x as i16).max(y as i16) as u16,
        IntOp::MinPacked => x.min(y),
        _ => x.max(y),
    };
    half(p as u16, q as u16) as u32 | (half((p >> 16) as u16, (q >> 16) as u16) as u32) << 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_extensions_and_set_bits() {
        assert_eq!(mask_or_extend(IntOp::BitMaskClamp, false, 4, 8), 0xff0);
        assert_eq!(mask_or_extend(IntOp::BitMaskClamp, false, 40, 8), 0);
        assert_eq!(mask_or_extend(IntOp::BitMaskClamp, false, 0, 99), u32::MAX);
        assert_eq!(mask_or_extend(IntOp::ExtendClamp, true, 0x80, 8), 0xffff_ff80);
        assert_eq!(nth_set(0b1011_0000, 0, 2), 5);
        assert_eq!(nth_set(0b1011_0000, 7, -2), 5);
        assert_eq!(nth_set(0b1011_0000, 6, 0), u32::MAX);
    }

    #[test]
    fn dot_products_mix_signs() {
        assert_eq!(dot(IntOp::Dp4a(true, false), 0xff, 0xff, 0) as i32, -255);
        assert_eq!(dot(IntOp::Dp2a { a_signed: true, b_signed: true, high: true }, 2, 0x0003_0000, 1), 7);
    }
}
