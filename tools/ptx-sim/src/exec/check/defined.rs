//! Definedness: every row of the register file has a mask of lanes whose value is defined, for each half of the word.
//!
//! A result is defined where its sources are. LLVM reads undefined registers freely (`mov` of a register that was never
//! written, half-filled vectors), so reading one is no fault; reaching a branch, an address, a barrier operand, or a store
//! that leaves the CTA is. Halves are told apart because LLVM fills vectors of two by halves:
//!
//! ```text
//! cvt.rn.satfinite.e5m2x2.f32 %rs2, %r4, %r1     %r4 was never written: the upper byte is undefined
//! cvt.rn.f16x2.e5m2x2 %r5, %rs2                  and so is the upper half
//! mov.b32 {%rs4, _}, %r5                         the lower one is used: defined
//! ```
//!
//! A 16-bit register counts its two bytes as halves where they are two 8-bit floats, and as alike otherwise.

use crate::ir::{Constant, FloatType, Kernel, Op, Pred, Role, Scalar, Slot};

/// Definedness of one warp's registers.
#[derive(Clone, Debug)]
pub struct Defined {
    /// Lower and upper half.
    rows: Vec<[u32; 2]>,
    preds: Vec<u32>,
}

impl Defined {
    pub fn new(rows: u32, preds: u32) -> Self {
        Defined { rows: vec![[0; 2]; rows as usize], preds: vec![0; preds as usize] }
    }

    /// Constants, special registers and parameters are defined; everything else starts undefined.
    pub fn at_start(kernel: &Kernel) -> Self {
        let mut defined = Defined::new(kernel.rows, kernel.preds);
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
        self.rows[slot as usize] = [u32::MAX; 2];
    }

    pub fn define_pred(&mut self, p: Pred) {
        self.preds[p as usize] = u32::MAX;
    }

    pub fn pred(&self, p: Pred) -> u32 {
        self.preds[p as usize]
    }

    /// Lanes for which all of the rows are defined.
    pub fn of_rows(&self, slots: impl IntoIterator<Item = Slot>) -> u32 {
        slots.into_iter().fold(u32::MAX, |m, s| m & self.whole(s))
    }

    /// Lanes in which the whole word is defined.
    pub fn whole(&self, slot: Slot) -> u32 {
        let [low, high] = self.rows[slot as usize];
        low & high
    }

    pub fn set_row(&mut self, slot: Slot, mask: u32, defined: u32) {
        self.set_halves(slot, mask, [defined; 2]);
    }

    fn set_halves(&mut self, slot: Slot, mask: u32, defined: [u32; 2]) {
        for (half, new) in self.rows[slot as usize].iter_mut().zip(defined) {
            *half = (*half & !mask) | (new & mask);
        }
    }

    /// What an operation makes of it: its results are defined in the lanes in which all its sources are. Operations
    /// that mix lanes ask for all of them.
    pub fn propagate(&mut self, op: &Op, mask: u32) {
        if self.by_halves(op, mask) {
            return;
        }
        let mut defined = u32::MAX;
        op.visit(&mut |role| match role {
            Role::Use(s) => defined &= self.whole(s),
            Role::UsePred(p) => defined &= self.preds[p as usize],
            _ => {}
        });
        if op.mixes_lanes() && defined & mask != mask {
            defined = 0;
        }
        op.visit(&mut |role| match role {
            Role::Def(s) => self.set_row(s, mask, defined),
            Role::DefPred(p) => {
                let row = &mut self.preds[p as usize];
                *row = (*row & !mask) | (defined & mask);
            }
            _ => {}
        });
    }

    /// Operations that treat the halves of a word apart; whether this was one.
    fn by_halves(&mut self, op: &Op, mask: u32) -> bool {
        let halves = |s: Slot| self.rows[s as usize];
        match *op {
            Op::Copy { ref to, ref from } => {
                if let ([d], [a]) = (&to[..], &from[..]) {
                    self.set_halves(*d, mask, halves(*a));
                } else {
                    let values: Vec<_> = from.iter().map(|&s| halves(s)).collect();
                    to.iter().zip(values).for_each(|(&d, v)| self.set_halves(d, mask, v));
                }
            }
            Op::Pack16 { d, lo, hi } => self.set_halves(d, mask, [self.whole(lo), self.whole(hi)]),
            Op::Unpack16 { lo, hi, a } => {
                let [low, high] = halves(a);
                lo.iter().for_each(|&d| self.set_row(d, mask, low));
                hi.iter().for_each(|&d| self.set_row(d, mask, high));
            }
            Op::Float { ty: FloatType::F16x2 | FloatType::Bf16x2, d, a, b, c, .. } => {
                let ([p, q], [r, s], [t, u]) = (halves(a), halves(b), halves(c));
                self.set_halves(d, mask, [p & r & t, q & s & u]);
            }
            Op::Convert { to, from: Scalar::F32, d, a, b, .. } if is_pair(to) => {
                self.set_halves(d, mask, [self.whole(b), self.whole(a)]);
            }
            Op::Convert { to, from, d, a, .. } if is_pair(to) && is_pair(from) => {
                self.set_halves(d, mask, halves(a));
            }
            _ => return false,
        }
        true
    }
}

/// Two values in one register.
fn is_pair(ty: Scalar) -> bool {
    matches!(ty, Scalar::F16x2 | Scalar::Bf16x2 | Scalar::E4m3x2 | Scalar::E5m2x2)
        || matches!(ty, Scalar::E2m3x2 | Scalar::E3m2x2 | Scalar::E2m1x2 | Scalar::Ue8m0x2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::FloatMods;

    #[test]
    fn an_undefined_half_stays_apart_from_the_other() {
        let mut d = Defined::new(8, 0);
        d.define_row(1);
        let mods = FloatMods::default();
        let pair = Op::Convert { to: Scalar::E5m2x2, from: Scalar::F32, mods, d: 2, a: 0, b: 1 };
        d.propagate(&pair, u32::MAX);
        d.propagate(
            &Op::Convert { to: Scalar::F16x2, from: Scalar::E5m2x2, mods, d: 3, a: 2, b: 2 },
            u32::MAX,
        );
        d.propagate(&Op::Unpack16 { lo: Some(4), hi: Some(5), a: 3 }, u32::MAX);
        assert_eq!([d.whole(3), d.whole(4), d.whole(5)], [0, u32::MAX, 0]);
        d.propagate(&Op::Pack16 { d: 6, lo: 5, hi: 4 }, 0xff);
        assert_eq!(d.rows[6], [0, 0xff]);
    }
}
