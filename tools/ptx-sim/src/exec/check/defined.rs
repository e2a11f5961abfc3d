//! Definedness: every row of the register file has a mask of lanes whose value is defined.
//!
//! A result is defined where its sources are. LLVM reads undefined registers freely (`mov` of a register that was never
//! written, half-filled vectors), so reading one is no fault; reaching a branch, an address, a barrier operand, or a store
//! that leaves the CTA is.

use crate::ir::{Constant, Kernel, Op, Pred, Role, Slot};

/// Definedness of one warp's registers.
#[derive(Clone, Debug)]
pub struct Defined {
    rows: Vec<u32>,
    preds: Vec<u32>,
}

impl Defined {
    pub fn new(rows: u32, preds: u32) -> Self {
        Defined { rows: vec![0; rows as usize], preds: vec![0; preds as usize] }
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
        let row = &mut self.rows[slot as usize];
        *row = (*row & !mask) | (defined & mask);
    }

    /// What an operation makes of it: its results are defined in the lanes in which all its sources are. Operations
    /// that mix lanes ask for all of them.
    pub fn propagate(&mut self, op: &Op, mask: u32) {
        let mut defined = u32::MAX;
        op.visit(&mut |role| match role {
            Role::Use(s) => defined &= self.rows[s as usize],
            Role::UsePred(p) => defined &= self.preds[p as usize],
            _ => {}
        });
        if op.mixes_lanes() && defined & mask != mask {
            defined = 0;
        }
        op.visit(&mut |role| match role {
            Role::Def(s) => {
                let row = &mut self.rows[s as usize];
                *row = (*row & !mask) | (defined & mask);
            }
            Role::DefPred(p) => {
                let row = &mut self.preds[p as usize];
                *row = (*row & !mask) | (defined & mask);
            }
            _ => {}
        });
    }
}
