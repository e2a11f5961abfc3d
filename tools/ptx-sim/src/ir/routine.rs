//! Functions that can come to call themselves: their code stands once, and each call makes an *activation*.
//!
//! Other functions are read in their caller's place and need none of this. An activation owns the registers of its
//! function (a call saves those of the activation before it, a return restores them) and a *frame*, a stretch of the
//! thread's stack in local memory. Addresses of what lies in the frame differ from activation to activation, so they are
//! registers, too, that the call fills in:
//!
//! ```text
//! .func (.param .b32 r) f(.param .b32 n)        rows 7,8: address of n, a block of the caller's
//! { .local .b8 depot[16]; …                     rows 9,10: address of depot = start of this frame + 0
//!   call (r2), f, (p2); … }                     Call { formals: [address of p2, address of r2] }
//! ```

use super::{Pred, Slot};

/// The code of a recursive function, and what its activations own.
#[derive(Clone, Debug)]
pub struct Routine {
    pub name: String,
    /// Position of its first instruction.
    pub start: u32,
    /// Rows and predicates that a call saves and a return restores.
    pub rows: Vec<Slot>,
    pub preds: Vec<Pred>,
    /// Rows that hold addresses of an activation.
    pub places: Vec<Place>,
    /// Size and alignment of a frame.
    pub frame_bytes: usize,
    pub frame_align: usize,
}

/// A row (or two) that holds the address of a block.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub slot: Slot,
    pub wide: bool,
    pub block: Block,
}

/// Bytes of local memory, from where they are counted on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Block {
    pub base: Base,
    pub at: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Base {
    /// The start of the activation's frame; for the entry, of local memory.
    Frame,
    /// The block that the caller gave as parameter or result of this number.
    Formal(u32),
}

impl Block {
    pub fn offset(self, offset: i64) -> Block {
        Block { at: self.at.wrapping_add_signed(offset), ..self }
    }
}
