//! Layout algebra: which register of which lane of which warp holds which element of a tile, and where an element
//! lies in shared memory.
//!
//! # The idea
//!
//! A thread block holds a tile in registers. Number the registers of a thread, the lanes of a warp and the warps
//! of a block in binary; then every bit of these numbers moves the coordinate by a fixed step. A [`Layout`] is the
//! list of those steps (its *bases*), and the coordinate of a register is the sum of the steps of its set bits.
//! Blocked layouts, the fragments of the matrix instructions, and slices of either are all of this kind, so that
//! comparing, inverting, projecting and converting are written once.
//!
//! # Worked example: the accumulator of `mma.m16n8`
//!
//! The PTX manual says: lane `l` holds in its registers `c0 c1 c2 c3` the elements
//! `(l/4, 2(l%4))`, `(l/4, 2(l%4) + 1)`, `(l/4 + 8, 2(l%4))`, `(l/4 + 8, 2(l%4) + 1)`. As bases:
//!
//! ```text
//! register bit 0 -> (0, 1)      c1 is one column right of c0
//! register bit 1 -> (8, 0)      c2 is eight rows below c0
//! lane bits 0, 1 -> (0, 2) (0, 4)
//! lane bits 2..4 -> (1, 0) (2, 0) (4, 0)
//! ```
//!
//! and lane 13 = 0b01101, register 3 = 0b11 is at (0,2) + (1,0) + (2,0) + (0,1) + (8,0) = (11, 3).
//!
//! ```
//! use tile_layout::{Layout, fragment};
//! let c = fragment::accumulator(16, 8, 1, 1);
//! assert_eq!(c.coordinate(3, 13, 0), vec![11, 3]);
//! assert_eq!(c.owner(&[11, 3]), Some((3, 13, 0)));
//! ```
//!
//! # Sizes that are no powers of two
//!
//! Bits give powers of two. A larger or odd tile is the same block *repeated* along each dimension ([`Layout::reps`]):
//! 64 x 176 is the 64 x 16 block 11 times. Repeats are registers above the block's own.
//!
//! # Rows only
//!
//! The layout of a row maximum `[i, 1]` is the tile's layout [projected](Layout::project): steps along the reduced
//! dimension become zero. A zero step on a lane or warp bit means that both hold the same element.
//!
//! # Conversions
//!
//! Two layouts whose lane and warp bases agree differ by a renaming of registers ([`convert::registers`]): this is
//! how the accumulator of one product becomes the operand of the next in FlashAttention without moving a bit.
//! Anything else goes through shared memory, where [`shared::SharedLayout`] keeps it free of bank conflicts.

pub mod blocked;
pub mod convert;
pub mod fragment;
pub mod linear;
pub mod shared;

pub use linear::Layout;
pub use shared::SharedLayout;
