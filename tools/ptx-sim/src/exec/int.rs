//! Integer arithmetic and logic. 16-bit values live in the low half of a word and are kept zero-extended.

use super::{bits, rows::Rows};
use crate::ir::{IntOp, Slot, Width};

#[derive(Clone, Copy)]
pub struct IntArgs {
    pub op: IntOp,
    pub signed: bool,
    pub width: Width,
    pub sat: bool,
    pub d: Slot,
    pub a: Slot,
    pub b: Slot,
    pub c: Slot,
}

pub fn run(r: &mut Rows, mask: u32, x: IntArgs) {
    match x.width {
        Width::W16 => half(r, mask, x),
        Width::W32 => word(r, mask, x),
        Width::W64 => double(r, mask, x),
    }
}

fn half(r: &mut Rows, mask: u32, x: IntArgs) {
    let IntArgs { op, signed, d, a, b, c, .. } = x;
    let extend = |v: u32| if signed { v as u16 as i16 as i32 as i64 } else { v as u16 as i64 };
    if matches!(op, IntOp::MulWide | IntOp::MadWide) {
        let add = op == IntOp::MadWide;
        return r.map3(mask, d, a, b, c, |p, q, s| {
            ((extend(p) * extend(q)) as u32).wrapping_add(if add { s } else { 0 })
        });
    }
    r.map3(mask, d, a, b, c, |p, q, s| {
        let shift = matches!(op, IntOp::Shl | IntOp::Shr);
        let right = if shift { q as i64 } else { extend(q) };
        scalar(op, signed, 16, extend(p), right, extend(s)) as u16 as u32
    });
}

fn word(r: &mut Rows, mask: u32, x: IntArgs) {
    let IntArgs { op, signed, d, a, b, c, .. } = x;
    use IntOp::*;
    match op {
        // The frequent ones, so that the loop over lanes has no branch in it.
        Add if x.sat => r.map2(mask, d, a, b, |p, q| (p as i32).saturating_add(q as i32) as u32),
        Sub if x.sat => r.map2(mask, d, a, b, |p, q| (p as i32).saturating_sub(q as i32) as u32),
        Add => r.map2(mask, d, a, b, u32::wrapping_add),
        Sub => r.map2(mask, d, a, b, u32::wrapping_sub),
        MulLo => r.map2(mask, d, a, b, u32::wrapping_mul),
        MadLo => r.map3(mask, d, a, b, c, |p, q, s| p.wrapping_mul(q).wrapping_add(s)),
        And => r.map2(mask, d, a, b, |p, q| p & q),
        Or => r.map2(mask, d, a, b, |p, q| p | q),
        Xor => r.map2(mask, d, a, b, |p, q| p ^ q),
        Shl => r.map2(mask, d, a, b, |p, q| if q < 32 { p << q } else { 0 }),
        Shr if signed => r.map2(mask, d, a, b, |p, q| ((p as i32) >> q.min(31)) as u32),
        Shr => r.map2(mask, d, a, b, |p, q| if q < 32 { p >> q } else { 0 }),
        Lop3(table) => r.map3(mask, d, a, b, c, |p, q, s| lop3(table, p, q, s)),
        Prmt => r.map3(mask, d, a, b, c, prmt),
        ShfLeftWrap | ShfLeftClamp | ShfRightWrap | ShfRightClamp => {
            r.map3(mask, d, a, b, c, |lo, hi, n| funnel(op, lo, hi, n))
        }
        MulWide | MadWide => {
            let add = op == MadWide;
            let (p, q) = (*r.row(a), *r.row(b));
            for lane in super::rows::lanes(mask) {
                let product = if signed {
                    (p[lane] as i32 as i64).wrapping_mul(q[lane] as i32 as i64) as u64
                } else {
                    p[lane] as u64 * q[lane] as u64
                };
                let sum = if add { product.wrapping_add(r.wide(c, lane)) } else { product };
                r.set_wide(d, lane, sum);
            }
        }
        Dp4a(..) | Dp2a { .. } => r.map3(mask, d, a, b, c, |p, q, s| bits::dot(op, p, q, s)),
        Mul24Lo | Mul24Hi | Mad24Lo | Mad24Hi => {
            r.map3(mask, d, a, b, c, |p, q, s| bits::product24(op, signed, x.sat, p, q, s))
        }
        MadHi if x.sat && signed => r.map3(mask, d, a, b, c, |p, q, s| {
            let high = (p as i32 as i64 * q as i32 as i64) >> 32;
            (high + s as i32 as i64).clamp(i32::MIN as i64, i32::MAX as i64) as u32
        }),
        BitMaskWrap | BitMaskClamp | ExtendWrap | ExtendClamp => {
            r.map2(mask, d, a, b, |p, q| bits::mask_or_extend(op, signed, p, q))
        }
        FindNthSet => r.map3(mask, d, a, b, c, |p, base, n| bits::nth_set(p, base, n as i32)),
        AddPacked | MinPacked | MaxPacked => r.map2(mask, d, a, b, |p, q| bits::packed(op, signed, p, q)),
        Bfe => r.map3(mask, d, a, b, c, |p, pos, len| {
            bit_field(signed, 32, p as u64, pos & 0xff, len & 0xff) as u32
        }),
        Bfi => r.map3(mask, d, a, b, c, |p, q, field| {
            insert(32, p as u64, q as u64, field & 0xff, field >> 8 & 0xff) as u32
        }),
        _ => {
            let extend = |v: u32| if signed { v as i32 as i64 } else { v as i64 };
            r.map3(mask, d, a, b, c, |p, q, s| scalar(op, signed, 32, extend(p), extend(q), extend(s)) as u32)
        }
    }
}

fn double(r: &mut Rows, mask: u32, x: IntArgs) {
    let IntArgs { op, signed, d, a, b, c, .. } = x;
    use IntOp::*;
    match op {
        Add => r.wide3(mask, d, a, b, a, |p, q, _| p.wrapping_add(q)),
        Sub => r.wide3(mask, d, a, b, a, |p, q, _| p.wrapping_sub(q)),
        MulLo => r.wide3(mask, d, a, b, a, |p, q, _| p.wrapping_mul(q)),
        MadLo => r.wide3(mask, d, a, b, c, |p, q, s| p.wrapping_mul(q).wrapping_add(s)),
        // The shift amount and the field's place are single words: their high rows mean nothing.
        Shl => r.wide3(mask, d, a, b, a, |p, q, _| if (q as u32) < 64 { p << (q as u32) } else { 0 }),
        Shr if signed => r.wide3(mask, d, a, b, a, |p, q, _| ((p as i64) >> (q as u32).min(63)) as u64),
        Shr => r.wide3(mask, d, a, b, a, |p, q, _| if (q as u32) < 64 { p >> (q as u32) } else { 0 }),
        Bfe => r.wide3(mask, d, a, b, c, |p, pos, len| bit_field(signed, 64, p, pos as u32, len as u32)),
        Bfi => r.wide3(mask, d, a, b, c, |p, q, field| insert(64, p, q, field as u32, (field >> 32) as u32)),
        Popc | Clz | Bfind | BfindShift => {
            let values: Vec<u64> = (0..32).map(|l| r.wide(a, l)).collect();
            for lane in super::rows::lanes(mask) {
                let v = values[lane];
                r.row_mut(d)[lane] = match op {
                    Popc => v.count_ones(),
                    Clz => v.leading_zeros(),
                    Bfind => find_leading(signed, 64, v),
                    _ => shift_to_top(signed, 64, v),
                };
            }
        }
        MulHi | MadHi => r.wide3(mask, d, a, b, c, |p, q, s| {
            let hi = if signed {
                ((p as i64 as i128 * q as i64 as i128) >> 64) as u64
            } else {
                ((p as u128 * q as u128) >> 64) as u64
            };
            if op == MadHi { hi.wrapping_add(s) } else { hi }
        }),
        Sad if !signed => r.wide3(mask, d, a, b, c, |p, q, s| p.abs_diff(q).wrapping_add(s)),
        Div | Rem | Min | Max if !signed => r.wide3(mask, d, a, b, a, |p, q, _| match op {
            Div => p.checked_div(q).unwrap_or(u64::MAX),
            Rem => p.checked_rem(q).unwrap_or(p),
            Min => p.min(q),
            _ => p.max(q),
        }),
        _ => r.wide3(mask, d, a, b, c, |p, q, s| scalar(op, signed, 64, p as i64, q as i64, s as i64) as u64),
    }
}

/// One lane, operands already extended to 64 bits; the caller truncates.
fn scalar(op: IntOp, signed: bool, bits: u32, p: i64, q: i64, s: i64) -> i64 {
    use IntOp::*;
    let low = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
    let raw = p as u64 & low;
    match op {
        Add => p.wrapping_add(q),
        Sub => p.wrapping_sub(q),
        MulLo => p.wrapping_mul(q),
        MulHi => ((p as i128 * q as i128) >> bits) as i64,
        MadLo => p.wrapping_mul(q).wrapping_add(s),
        MadHi => (((p as i128 * q as i128) >> bits) as i64).wrapping_add(s),
        // Division by zero gives all ones, as the hardware does.
        Div => {
            if q == 0 {
                -1
            } else {
                p.wrapping_div(q)
            }
        }
        Rem => {
            if q == 0 {
                p
            } else {
                p.wrapping_rem(q)
            }
        }
        Min => p.min(q),
        Max => p.max(q),
        Abs => p.wrapping_abs(),
        Neg => p.wrapping_neg(),
        Sad => (p.abs_diff(q) as i64).wrapping_add(s),
        And => p & q,
        Or => p | q,
        Xor => p ^ q,
        Not => !p,
        Cnot => (p == 0) as i64,
        Shl if (q as u32) < bits => p << (q as u32),
        Shl => 0,
        Shr if signed => p >> (q as u32).min(bits - 1),
        Shr if (q as u32) < bits => (raw >> (q as u32)) as i64,
        Shr => 0,
        Popc => raw.count_ones() as i64,
        Clz => raw.leading_zeros() as i64 - (64 - bits as i64),
        Brev => (raw.reverse_bits() >> (64 - bits)) as i64,
        Bfind => find_leading(signed, bits, raw) as i64,
        BfindShift => shift_to_top(signed, bits, raw) as i64,
        // Decoded at 32 bits only, where each has its own loop.
        _ => 0,
    }
}

/// `bfind.shiftamt`.
fn shift_to_top(signed: bool, bits: u32, raw: u64) -> u32 {
    match find_leading(signed, bits, raw) {
        u32::MAX => u32::MAX,
        at => bits - 1 - at,
    }
}

fn find_leading(signed: bool, bits: u32, raw: u64) -> u32 {
    let low = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
    let value = if signed && raw >> (bits - 1) & 1 == 1 { !raw & low } else { raw };
    if value == 0 { u32::MAX } else { 63 - value.leading_zeros() }
}

/// `len` bits of a value from `pos` up. The ISA takes both modulo 256; that holds of 32-bit fields only, for which hardware
/// has instructions. A 64-bit field is put together of shifts, by the whole words.
fn bit_field(signed: bool, bits: u32, value: u64, pos: u32, len: u32) -> u64 {
    if len == 0 {
        return 0;
    }
    // Above the value stand copies of its sign, or zeros.
    let extended = if signed { (value << (64 - bits)) as i64 as i128 >> (64 - bits) } else { value as i128 };
    let moved = extended >> pos.min(127);
    if len >= 64 {
        return moved as u64;
    }
    let field = moved as u64 & ((1 << len) - 1);
    let top = pos.saturating_add(len - 1).min(bits - 1);
    let sign = signed && value >> top & 1 == 1;
    if sign { field | u64::MAX << len } else { field }
}

/// `into` with `len` bits from `pos` up replaced.
fn insert(bits: u32, value: u64, into: u64, pos: u32, len: u32) -> u64 {
    if pos >= bits || len == 0 {
        return into;
    }
    let ones = u64::MAX >> (64 - len.min(64));
    (into & !(ones << pos)) | (value & ones) << pos
}

fn lop3(table: u8, p: u32, q: u32, s: u32) -> u32 {
    let mut out = 0;
    for n in 0..8 {
        if table >> n & 1 == 1 {
            let pick = |x: u32, bit: u32| if bit == 1 { x } else { !x };
            out |= pick(p, n >> 2 & 1) & pick(q, n >> 1 & 1) & pick(s, n & 1);
        }
    }
    out
}

fn prmt(p: u32, q: u32, selector: u32) -> u32 {
    let bytes = p as u64 | (q as u64) << 32;
    (0..4).fold(0, |out, n| {
        let pick = selector >> (4 * n) & 0xf;
        let byte = (bytes >> (8 * (pick & 7))) as u8;
        let byte = if pick & 8 != 0 { ((byte as i8) >> 7) as u8 } else { byte };
        out | (byte as u32) << (8 * n)
    })
}

fn funnel(op: IntOp, lo: u32, hi: u32, n: u32) -> u32 {
    let both = lo as u64 | (hi as u64) << 32;
    match op {
        IntOp::ShfLeftWrap => (both << (n & 31) >> 32) as u32,
        IntOp::ShfLeftClamp => ((both as u128) << n.min(32) >> 32) as u32,
        IntOp::ShfRightWrap => (both >> (n & 31)) as u32,
        _ => (both >> n.min(32)) as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_permutation_bit_fields_and_tables() {
        assert_eq!(prmt(0x4433_2211, 0x8877_6655, 0x7540), 0x8866_5511);
        assert_eq!(prmt(0x0000_0080, 0, 0x8888), 0xffff_ffff);
        assert_eq!(bit_field(true, 32, 0x0000_00f0, 4, 4) as u32, 0xffff_ffff);
        assert_eq!(bit_field(false, 32, 0x0000_00f0, 4, 4), 0xf);
        assert_eq!(insert(32, 0b101, 0, 4, 3), 0b101_0000);
        assert_eq!(lop3(0x96, 0b1100, 0b1010, 0b0110), 0b1100 ^ 0b1010 ^ 0b0110);
        assert_eq!(funnel(IntOp::ShfLeftWrap, 0x8000_0000, 1, 1), 3);
        assert_eq!(find_leading(false, 32, 0), u32::MAX);
    }
}
