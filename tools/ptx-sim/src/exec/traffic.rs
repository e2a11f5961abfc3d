//! Check mode: definedness goes with the bytes between registers and memory.
//!
//! [`super::note`] looks at the lanes of an access as a whole, which is enough where all that they move is defined. Here is
//! the rest, byte by byte: vectors some words of which were never written, words half of which was, rows of a matrix that
//! stand for padding.
//!
//! ```text
//! ld.shared.v2.u32 {%r1, %r2}, [%r3]     only the first word was ever stored: %r1 is defined, %r2 is not
//! ldmatrix.x1 {%r1}, [%r3]               row 5 was not: lanes 20 to 23 receive undefined words
//! ```

use super::{
    check::{Check, Defined},
    rows::lanes,
    world::{Place, World},
};
use crate::ir::Slot;

/// What one element of an access is: bytes in memory, and whether its registers have two rows.
#[derive(Clone, Copy)]
pub struct Element {
    pub bytes: u8,
    pub wide: bool,
}

impl World<'_> {
    /// Which of up to 16 bytes of a place hold defined values: bit n for byte n. Global memory and parameters always do:
    /// storing an undefined value there is a finding already.
    fn bytes_defined(&self, place: Place, offset: usize, bytes: usize) -> u16 {
        match (place, &self.check) {
            (Place::Shared { cta, at }, Some(check)) => check.shared_bytes_defined(cta, at + offset, bytes),
            _ => u16::MAX,
        }
    }
}

/// What a load makes of its registers. `whole`: lanes all of whose bytes are defined.
pub fn load(
    m: &World,
    defined: &mut Defined,
    mask: u32,
    at: &[Place; 32],
    whole: u32,
    d: &[Option<Slot>],
    e: Element,
) {
    let loaded = d.iter().enumerate().filter_map(|(n, slot)| slot.map(|slot| (n * e.bytes as usize, slot)));
    for (_, slot) in loaded.clone() {
        (slot..=slot + e.wide as u32).for_each(|slot| defined.set_row(slot, mask, whole));
    }
    for lane in lanes(mask & !whole) {
        for (offset, slot) in loaded.clone() {
            let bytes = m.bytes_defined(at[lane], offset, e.bytes as usize);
            load_element(defined, lane, slot, e, bytes);
        }
    }
}

/// One element of one lane. What is narrower than a word is extended from all of it.
fn load_element(defined: &mut Defined, lane: usize, slot: Slot, e: Element, bytes: u16) {
    let all = (1u32 << e.bytes) - 1;
    let complete = bytes as u32 & all == all;
    for word in 0..=e.wide as u32 {
        let have = |n: u32| {
            if e.bytes as u32 >= 4 * (word + 1) { bytes >> (4 * word + n) & 1 == 1 } else { complete }
        };
        let row = std::array::from_fn(|n| (have(n as u32) as u32) << lane);
        defined.set_bytes(slot + word, 1 << lane, row);
    }
}

/// What a store of values that are not all defined leaves in memory. `whole`: lanes whose values are.
pub fn store(
    m: &mut World,
    defined: &Defined,
    mask: u32,
    at: &[Place; 32],
    whole: u32,
    a: &[Slot],
    e: Element,
) {
    let Some(check) = &mut m.check else { return };
    for lane in lanes(mask & !whole) {
        for (n, &slot) in a.iter().enumerate() {
            let bytes = (0..e.bytes as u32).fold(0, |out, n| {
                out | ((defined.bytes(slot + n / 4)[n as usize % 4] >> lane & 1) as u16) << n
            });
            set(check, at[lane], n * e.bytes as usize, e.bytes as usize, bytes);
        }
    }
}

fn set(check: &mut Check, place: Place, offset: usize, bytes: usize, defined: u16) {
    if let Place::Shared { cta, at } = place {
        check.set_shared_defined(cta, at + offset, bytes, defined);
    }
}

/// `ldmatrix` of 16-bit elements: what the lanes receive. `whole`: rows all of whose bytes are defined.
pub fn load_matrix(
    m: &World,
    defined: &mut Defined,
    at: &[Place; 32],
    whole: u32,
    transpose: bool,
    d: &[Slot],
) {
    let rows: [u16; 32] =
        std::array::from_fn(
            |row| {
                if whole >> row & 1 == 1 { u16::MAX } else { m.bytes_defined(at[row], 0, 16) }
            },
        );
    for (n, &slot) in d.iter().enumerate() {
        let rows = &rows[8 * n..8 * n + 8];
        let half = |lane: usize, x: usize| {
            let (g, t) = (lane / 4, lane % 4);
            let (row, column) = if transpose { (2 * t + x, g) } else { (g, 2 * t + x) };
            rows[row] >> (2 * column) & 3
        };
        let byte =
            |n: usize| (0..32).fold(0, |out, lane| out | ((half(lane, n / 2) >> (n % 2) & 1) as u32) << lane);
        defined.set_bytes(slot, u32::MAX, std::array::from_fn(byte));
    }
}

/// `stmatrix` of registers that are not all defined.
pub fn store_matrix(m: &mut World, defined: &Defined, at: &[Place; 32], transpose: bool, a: &[Slot]) {
    let Some(check) = &mut m.check else { return };
    for (n, &slot) in a.iter().enumerate() {
        let bytes = defined.bytes(slot);
        for row in 0..8 {
            let known = (0..16).fold(0, |out, byte| {
                let (column, part) = (byte / 2, byte % 2);
                let (g, x) = if transpose { (column, row) } else { (row, column) };
                out | ((bytes[2 * (x % 2) + part] >> (4 * g + x / 2) & 1) as u16) << byte
            });
            set(check, at[8 * n + row], 0, 16, known);
        }
    }
}
