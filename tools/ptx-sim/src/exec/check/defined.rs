//! Definedness: every row of the register file has a mask of lanes whose value is defined.
//!
//! A result is defined where its sources are. LLVM reads undefined registers freely (`mov` of a register that was never
//! written, half-filled vectors), so reading one is no fault; reaching a branch, an address, a barrier operand, or a store
//! that leaves the CTA is.

use super::bytes::DefinedBytes;
use crate::exec::rows::Rows;
use crate::ir::{Constant, FloatOp, FloatType, Kernel, Op, Pred, Role, Scalar, Slot};
use std::collections::HashMap;

/// Definedness of one warp's registers, and of its lanes' local memory.
#[derive(Clone, Debug)]
pub struct Defined {
    /// Lanes in which a row is defined as a whole.
    rows: Vec<u32>,
    preds: Vec<u32>,
    /// Rows of which some bytes are defined in more lanes than others: words half of which was never filled. Few have
    /// any; the rest of the machinery need not know.
    parts: HashMap<Slot, Bytes>,
    /// Lanes of those that were loaded like this from local memory: a word of a structure and the padding behind it.
    padding: HashMap<Slot, u32>,
    /// One lane's bytes after the other's.
    pub local: DefinedBytes,
}

/// Lanes for each byte of a word.
pub type Bytes = [u32; 4];

impl Defined {
    pub fn new(rows: u32, preds: u32) -> Self {
        Defined {
            rows: vec![0; rows as usize],
            preds: vec![0; preds as usize],
            parts: HashMap::new(),
            padding: HashMap::new(),
            local: DefinedBytes::default(),
        }
    }

    /// Constants, special registers and parameters are defined; everything else starts undefined.
    pub fn at_start(kernel: &Kernel) -> Self {
        let mut defined = Defined::new(kernel.rows, kernel.preds);
        defined.local = DefinedBytes::new(kernel.local_bytes * 32);
        for (slot, constant) in &kernel.constants {
            match constant {
                Constant::Pred(_) => defined.define_pred(*slot),
                _ => {
                    defined.define_row(*slot);
                    if slot + 1 < kernel.rows && !kernel.is_register(slot + 1) {
                        defined.define_row(slot + 1);
                    }
                }
            }
        }
        for (slot, _) in &kernel.specials {
            defined.define_row(*slot);
            defined.define_row(slot + 1);
        }
        defined
    }

    pub fn define_row(&mut self, slot: Slot) {
        self.rows[slot as usize] = u32::MAX;
    }

    pub fn define_pred(&mut self, p: Pred) {
        self.preds[p as usize] = u32::MAX;
    }

    pub fn pred(&self, p: Pred) -> u32 {
        self.preds[p as usize]
    }

    /// Lanes for which all of the rows are defined.
    pub fn of_rows(&self, slots: impl IntoIterator<Item = Slot>) -> u32 {
        slots.into_iter().fold(u32::MAX, |m, s| m & self.rows[s as usize])
    }

    pub fn set_row(&mut self, slot: Slot, mask: u32, defined: u32) {
        if !self.parts.is_empty() && self.parts.contains_key(&slot) {
            return self.set_bytes(slot, mask, [defined; 4]);
        }
        let row = &mut self.rows[slot as usize];
        *row = (*row & !mask) | (defined & mask);
    }

    /// What an operation makes of it: its results are defined in the lanes in which all its sources are. Operations
    /// that mix lanes ask for all of them. `rows`: what the registers hold before it.
    pub fn propagate(&mut self, op: &Op, mask: u32, rows: &Rows) {
        let mut defined = u32::MAX;
        op.visit(&mut |role| match role {
            Role::Use(s) => defined &= self.rows[s as usize],
            Role::UsePred(p) => defined &= self.preds[p as usize],
            _ => {}
        });
        if defined & mask != mask && (self.propagate_parts(op, mask) || self.bitwise(op, mask, rows)) {
            return;
        }
        if op.mixes_lanes() && defined & mask != mask {
            defined = 0;
        }
        op.visit(&mut |role| match role {
            Role::Def(s) => self.set_row(s, mask, defined),
            Role::DefPred(p) => self.set_pred(p, mask, defined),
            _ => {}
        });
    }

    pub fn set_pred(&mut self, p: Pred, mask: u32, defined: u32) {
        let row = &mut self.preds[p as usize];
        *row = (*row & !mask) | (defined & mask);
    }

    pub fn bytes(&self, slot: Slot) -> Bytes {
        self.parts.get(&slot).copied().unwrap_or([self.rows[slot as usize]; 4])
    }

    /// A lane of a row has been loaded from local memory, some of whose bytes there were never written.
    pub fn pad(&mut self, slot: Slot, lane: usize) {
        *self.padding.entry(slot).or_default() |= 1 << lane;
    }

    /// Lanes whose undefined bytes in these rows, if any, are padding.
    pub fn padded(&self, slots: impl IntoIterator<Item = Slot>) -> u32 {
        let padding = |s: Slot| self.padding.get(&s).copied().unwrap_or(0);
        slots.into_iter().fold(u32::MAX, |m, s| m & (self.rows[s as usize] | padding(s)))
    }

    /// How far a lane of a row is defined: a bit for each byte, and one for padding. For calls, which save it.
    pub fn mark(&self, slot: Slot, lane: usize) -> u8 {
        let padding = self.padding.get(&slot).copied().unwrap_or(0);
        let bits = self.bytes(slot).into_iter().chain([padding]).enumerate();
        bits.fold(0, |mark, (n, lanes)| mark | ((lanes >> lane & 1) as u8) << n)
    }

    /// The counterpart.
    pub fn set_mark(&mut self, slot: Slot, lane: usize, mark: u8) {
        self.set_bytes(slot, 1 << lane, std::array::from_fn(|n| ((mark >> n & 1) as u32) << lane));
        if mark >> 4 & 1 == 1 {
            self.pad(slot, lane);
        }
    }

    pub fn set_bytes(&mut self, slot: Slot, mask: u32, bytes: Bytes) {
        if let Some(padding) = self.padding.get_mut(&slot) {
            *padding &= !mask;
        }
        let before = self.bytes(slot);
        let after: Bytes = std::array::from_fn(|n| (before[n] & !mask) | (bytes[n] & mask));
        let whole = after.iter().fold(u32::MAX, |all, b| all & b);
        self.rows[slot as usize] = whole;
        if after == [whole; 4] {
            self.parts.remove(&slot);
        } else {
            self.parts.insert(slot, after);
        }
    }

    /// Operations on parts of words and on rows of matrices, when a source is not defined as a whole. Whether this is one.
    ///
    /// ```text
    /// cvt.rn.f16x2.f32 %r1, %undefined, %f1;     the low half of %r1 is defined
    /// mov.b32 {%rs1, _}, %r1;                    and so is %rs1
    /// ```
    fn propagate_parts(&mut self, op: &Op, mask: u32) -> bool {
        let all = u32::MAX;
        match op {
            Op::Copy { to, from } => {
                let parts: Vec<Bytes> = from.iter().map(|&s| self.bytes(s)).collect();
                let padding: Vec<u32> =
                    from.iter().map(|s| self.padding.get(s).copied().unwrap_or(0)).collect();
                to.iter().zip(parts).for_each(|(&d, bytes)| self.set_bytes(d, mask, bytes));
                for (&d, lanes) in to.iter().zip(padding).filter(|(_, lanes)| lanes & mask != 0) {
                    *self.padding.entry(d).or_default() |= lanes & mask;
                }
            }
            Op::Pack16 { d, lo, hi } => {
                let (lo, hi) = (self.bytes(*lo), self.bytes(*hi));
                self.set_bytes(*d, mask, [lo[0], lo[1], hi[0], hi[1]]);
            }
            Op::Unpack16 { lo, hi, a } => {
                let a = self.bytes(*a);
                for (slot, at) in [(lo, 0), (hi, 2)] {
                    if let Some(slot) = slot {
                        self.set_bytes(*slot, mask, [a[at], a[at + 1], all, all]);
                    }
                }
            }
            Op::Float { op, ty: FloatType::F16x2 | FloatType::Bf16x2, d, a, b, c, .. } => {
                let mut bytes = [self.bytes(*a), self.bytes(*b), self.bytes(*c)];
                if *op != FloatOp::Fma {
                    bytes[2] = [all; 4];
                }
                let half = |at: usize| bytes.iter().fold(all, |m, b| m & b[at] & b[at + 1]);
                let (lo, hi) = (half(0), half(2));
                self.set_bytes(*d, mask, [lo, lo, hi, hi]);
            }
            Op::Convert { to, from, d, a, b, .. } => {
                let Some(width) = packed_bytes(*to) else {
                    let wide = matches!(to, Scalar::F64 | Scalar::Int { bits: 64, .. });
                    return self.narrow_source(*from, *d, 1 + wide as u32, *a, mask);
                };
                let word = self.bytes(*a);
                let (hi, lo) = match packed_bytes(*from) {
                    Some(2) => (word[2] & word[3], word[0] & word[1]),
                    Some(_) => (word[1], word[0]),
                    None => (self.rows[*a as usize], self.rows[*b as usize]),
                };
                let bytes = if width == 2 { [lo, lo, hi, hi] } else { [lo, hi, all, all] };
                self.set_bytes(*d, mask, bytes);
            }
            Op::Mma { .. } => self.mma(op),
            // Four products, each of the lanes of two quads.
            Op::MmaQuads(op) => {
                let sources = op.a.iter().chain(&op.b).chain(&op.c).copied();
                let have = self.of_rows(sources);
                let whole = (0..4).map(|n| 0x000f_000f << (4 * n)).filter(|quads| have & quads == *quads);
                let whole = whole.fold(0, |all, quads| all | quads);
                op.d.iter().for_each(|&d| self.set_row(d, mask, whole));
            }
            _ => return false,
        }
        true
    }

    /// A conversion of a value of one or two bytes needs only those.
    fn narrow_source(&mut self, from: Scalar, d: Slot, rows: u32, a: Slot, mask: u32) -> bool {
        let bytes = match from {
            Scalar::F16 | Scalar::Bf16 | Scalar::Int { bits: 16, .. } => 2,
            Scalar::Int { bits: 8, .. } => 1,
            _ => return false,
        };
        let defined = self.bytes(a)[..bytes].iter().fold(u32::MAX, |all, b| all & b);
        (d..d + rows).for_each(|d| self.set_row(d, mask, defined));
        true
    }
}

/// Bytes of one of two packed values, where they do not share one.
fn packed_bytes(ty: Scalar) -> Option<usize> {
    match ty {
        Scalar::F16x2 | Scalar::Bf16x2 => Some(2),
        Scalar::E4m3x2 | Scalar::E5m2x2 | Scalar::E2m3x2 | Scalar::E3m2x2 | Scalar::Ue8m0x2 => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::FloatMods;

    #[test]
    fn half_of_a_word_may_be_defined() {
        let mut defined = Defined::new(8, 0);
        defined.define_row(1);
        let mods = FloatMods::default();
        // Row 0 was never written: the upper half of row 2 is what it was.
        let pack = Op::Convert { to: Scalar::F16x2, from: Scalar::F32, mods, d: 2, a: 0, b: 1 };
        let rows = Rows::new(8, 0);
        defined.propagate(&pack, u32::MAX, &rows);
        assert_eq!(defined.of_rows([2]), 0);
        defined.propagate(&Op::Unpack16 { lo: Some(3), hi: Some(4), a: 2 }, u32::MAX, &rows);
        assert_eq!((defined.of_rows([3]), defined.of_rows([4])), (u32::MAX, 0));
        // Packed again, both halves from what is defined.
        defined.propagate(&Op::Pack16 { d: 2, lo: 3, hi: 3 }, u32::MAX, &rows);
        assert_eq!(defined.of_rows([2]), u32::MAX);
        assert!(!defined.parts.contains_key(&2));
    }
}
