//! Addresses of local memory: constants in the entry, registers in a recursive function.
//!
//! A frame of an activation lies where the stack happens to end, so an address in it is a row that the call fills in. Each
//! (block, offset) that the function names has its own, shared by all instructions that name it:
//!
//! ```text
//! entry:    st.local.u32 [depot+4], %r1     row of the constant 4
//! routine:  st.local.u32 [depot+4], %r1     row filled with (start of the frame) + 4
//!           ld.param.u32 %r2, [n]           row filled with the address of the block that the caller gave for n
//! ```

use super::names::{Names, rows_of};
use crate::ir::*;
use std::collections::HashMap;

/// What is gathered while a recursive function is read.
pub(crate) struct Frame {
    first_row: u32,
    first_pred: u32,
    places: HashMap<(Block, u32), Slot>,
    pub(super) align: usize,
    /// Local memory of the entry: in use, and its peak.
    entry: (usize, usize),
}

impl Names<'_> {
    /// From here on names belong to a recursive function, until [`Names::leave_routine`].
    pub(super) fn enter_routine(&mut self) {
        let entry = (self.local, self.local_peak);
        let places = HashMap::new();
        self.frame = Some(Frame { first_row: self.rows, first_pred: self.preds, places, align: 16, entry });
        (self.local, self.local_peak) = (0, 0);
        self.enter_function();
    }

    /// The routine that was read, but for the position of its code.
    pub(super) fn leave_routine(&mut self, name: &str, start: u32) -> Option<Routine> {
        self.leave_function(0);
        let frame = self.frame.take()?;
        let (fixed_rows, fixed_preds) = self.fixed();
        let place = |((block, rows), slot)| Place { slot, wide: rows == 2, block };
        let mut places: Vec<Place> = frame.places.into_iter().map(place).collect();
        places.sort_unstable_by_key(|p| p.slot);
        let routine = Routine {
            name: name.to_string(),
            start,
            rows: (frame.first_row..self.rows).filter(|s| !fixed_rows.contains(s)).collect(),
            preds: (frame.first_pred..self.preds).filter(|p| !fixed_preds.contains(&Some(*p))).collect(),
            places,
            frame_bytes: self.local_peak.next_multiple_of(frame.align),
            frame_align: frame.align,
        };
        (self.local, self.local_peak) = frame.entry;
        Some(routine)
    }

    /// A row that holds the address of a block.
    pub(super) fn block_address(&mut self, block: Block, bits: u32) -> Slot {
        let Some(frame) = &self.frame else { return self.constant(block.at, bits) };
        let key = (block, rows_of(bits));
        if let Some(&slot) = frame.places.get(&key) {
            return slot;
        }
        let slot = self.scratch(bits);
        if let Some(frame) = &mut self.frame {
            frame.places.insert(key, slot);
        }
        slot
    }
}
