//! Definedness: every row of the register file has a mask of lanes whose value is defined.
//!
//! A result is defined where its sources are. LLVM reads undefined registers freely (`mov` of a register that was never
//! written, half-filled vectors), so reading one is no fault; reaching a branch, an address, a barrier operand, or a store
//! that leaves the CTA is.
//!
//! Almost all rows are defined as a whole or not at all, and an operation whose sources are all defined is done after a look
//! at their masks. Of a row that is defined in part, the bits are kept beside it, lane by lane ([`super::bitwise`]):
//!
//! ```text
//! and.b32 %r2, %r1, 6       %r1 was never written: of %r2 all bits are defined but two, which makes it no defined row
//! shr.u32 %r3, %r2, 3       and this one is
//! ```

use super::bytes::DefinedBytes;
use crate::exec::rows::{LANES, Rows, lanes};
use crate::ir::{Constant, FloatOp, FloatType, Kernel, Op, Pred, Role, Scalar, Slot};

/// Definedness of one warp's registers, and of its lanes' local memory.
#[derive(Clone, Debug)]
pub struct Defined {
    /// Lanes in which a row is defined as a whole.
    rows: Vec<u32>,
    preds: Vec<u32>,
    /// Of rows some lanes of which are defined in part. Few are; the rest of the machinery need not know.
    parts: Vec<Option<Box<Part>>>,
    /// One lane's bytes after the other's.
    pub local: DefinedBytes,
}

/// For each lane of a row, which bits of its word are defined.
pub type Bits = [u32; LANES];

/// Lanes for each byte of a word.
pub type Bytes = [u32; 4];

/// Of a row that is neither defined nor undefined in all lanes.
#[derive(Clone, Debug)]
struct Part {
    bits: Bits,
    /// Lanes that were loaded like this from local memory: a word of a structure and the padding behind it.
    padding: u32,
}

/// How far one lane of a row is defined. For calls, which save it.
#[derive(Clone, Copy)]
pub struct Mark {
    bits: u32,
    padding: bool,
}

impl Defined {
    pub fn new(rows: u32, preds: u32) -> Self {
        Defined {
            rows: vec![0; rows as usize],
            preds: vec![0; preds as usize],
            parts: vec![None; rows as usize],
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
        if self.parts[slot as usize].is_some() {
            return self.set_bits(slot, mask, &spread(defined));
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
        if defined & mask != mask && self.propagate_parts(op, mask, rows) {
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

    fn part(&self, slot: Slot) -> Option<&Part> {
        self.parts[slot as usize].as_deref()
    }

    fn padding(&self, slot: Slot) -> u32 {
        self.part(slot).map_or(0, |part| part.padding)
    }

    /// Whether these lanes of a row are defined as a whole.
    pub fn whole(&self, slot: Slot, mask: u32) -> bool {
        self.rows[slot as usize] & mask == mask
    }

    pub fn bits(&self, slot: Slot) -> Bits {
        self.part(slot).map_or_else(|| spread(self.rows[slot as usize]), |part| part.bits)
    }

    /// One lane's bits.
    pub fn word(&self, slot: Slot, lane: usize) -> u32 {
        match self.part(slot) {
            Some(part) => part.bits[lane],
            None => (self.rows[slot as usize] >> lane & 1) * u32::MAX,
        }
    }

    pub fn set_bits(&mut self, slot: Slot, mask: u32, bits: &Bits) {
        let mut after = Part { bits: self.bits(slot), padding: self.padding(slot) & !mask };
        lanes(mask).for_each(|lane| after.bits[lane] = bits[lane]);
        let holds = |f: fn(u32) -> bool| (0..LANES).fold(0, |all, n| all | (f(after.bits[n]) as u32) << n);
        self.rows[slot as usize] = holds(|bits| bits == u32::MAX);
        let plain = after.padding == 0 && holds(|bits| !matches!(bits, 0 | u32::MAX)) == 0;
        self.parts[slot as usize] = (!plain).then(|| Box::new(after));
    }

    pub fn set_word(&mut self, slot: Slot, lane: usize, bits: u32) {
        match bits {
            0 | u32::MAX => self.set_row(slot, 1 << lane, bits),
            _ => self.set_bits(slot, 1 << lane, &[bits; LANES]),
        }
    }

    /// Lanes in which each byte of a row is defined.
    pub fn bytes(&self, slot: Slot) -> Bytes {
        let Some(part) = self.part(slot) else { return [self.rows[slot as usize]; 4] };
        let lanes = |n: usize| {
            (0..LANES)
                .fold(0, |all, lane| all | ((part.bits[lane].to_le_bytes()[n] == u8::MAX) as u32) << lane)
        };
        std::array::from_fn(lanes)
    }

    pub fn set_bytes(&mut self, slot: Slot, mask: u32, bytes: Bytes) {
        let word = |lane: usize| u32::from_le_bytes(bytes.map(|lanes| (lanes >> lane & 1) as u8 * u8::MAX));
        self.set_bits(slot, mask, &std::array::from_fn(word));
    }

    /// A lane of a row has been loaded from local memory, some of whose bytes there were never written.
    pub fn pad(&mut self, slot: Slot, lane: usize) {
        self.pad_lanes(slot, 1 << lane);
    }

    /// Lanes whose undefined bytes in these rows, if any, are padding.
    pub fn padded(&self, slots: impl IntoIterator<Item = Slot>) -> u32 {
        slots.into_iter().fold(u32::MAX, |m, s| m & (self.rows[s as usize] | self.padding(s)))
    }

    fn pad_lanes(&mut self, slot: Slot, lanes: u32) {
        if lanes != 0 {
            let bits = self.bits(slot);
            let fresh = || Box::new(Part { bits, padding: 0 });
            self.parts[slot as usize].get_or_insert_with(fresh).padding |= lanes;
        }
    }

    pub fn mark(&self, slot: Slot, lane: usize) -> Mark {
        Mark { bits: self.word(slot, lane), padding: self.padding(slot) >> lane & 1 == 1 }
    }

    /// The counterpart.
    pub fn set_mark(&mut self, slot: Slot, lane: usize, mark: Mark) {
        self.set_word(slot, lane, mark.bits);
        if mark.padding {
            self.pad(slot, lane);
        }
    }

    pub fn pred_mark(&self, p: Pred, lane: usize) -> Mark {
        Mark { bits: self.pred(p) >> lane & 1, padding: false }
    }

    pub fn set_pred_mark(&mut self, p: Pred, lane: usize, mark: Mark) {
        self.set_pred(p, 1 << lane, mark.bits << lane);
    }

    /// Lanes in which all that is stored of these registers is defined: elements of so many bytes.
    pub fn of_elements(&self, slots: &[Slot], bytes: u32) -> u32 {
        let of = |slot: Slot| match bytes {
            1 | 2 if self.part(slot).is_some() => {
                self.bytes(slot)[..bytes as usize].iter().fold(u32::MAX, |all, b| all & b)
            }
            _ => self.of_rows(slot..slot + bytes.div_ceil(4)),
        };
        slots.iter().fold(u32::MAX, |all, &slot| all & of(slot))
    }

    /// Operations on parts of words and on rows of matrices, when a source is not defined as a whole. Whether this is one.
    ///
    /// ```text
    /// cvt.rn.f16x2.f32 %r1, %undefined, %f1;     the low half of %r1 is defined
    /// mov.b32 {%rs1, _}, %r1;                    and so is %rs1
    /// ```
    fn propagate_parts(&mut self, op: &Op, mask: u32, rows: &Rows) -> bool {
        let all = u32::MAX;
        match op {
            Op::Copy { to, from } => {
                let parts: Vec<(Bits, u32)> = from.iter().map(|&s| (self.bits(s), self.padding(s))).collect();
                for (&d, (bits, padding)) in to.iter().zip(&parts) {
                    self.set_bits(d, mask, bits);
                    self.pad_lanes(d, padding & mask);
                }
            }
            Op::Pack16 { d, lo, hi } => {
                let (lo, hi) = (self.bits(*lo), self.bits(*hi));
                self.set_bits(*d, mask, &std::array::from_fn(|n| lo[n] & 0xffff | hi[n] << 16));
            }
            Op::Unpack16 { lo, hi, a } => {
                let a = self.bits(*a);
                let mut half = |slot: &Option<Slot>, by: u32| {
                    if let Some(slot) = slot {
                        self.set_bits(*slot, mask, &a.map(|bits| bits >> by | 0xffff << 16));
                    }
                };
                half(lo, 0);
                half(hi, 16);
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
            Op::Convert { to: Scalar::Int { .. }, from: Scalar::Int { .. }, mods, .. } if !mods.sat => {
                self.converted(op, mask);
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
            _ => return self.bitwise(op, mask, rows),
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

/// Lanes that are defined as a whole, or not at all.
fn spread(defined: u32) -> Bits {
    std::array::from_fn(|lane| (defined >> lane & 1) * u32::MAX)
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
        assert!(defined.part(2).is_none());
    }
}
