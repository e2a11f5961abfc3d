//! Check mode: definedness goes with the bytes between registers and memory.
//!
//! [`super::note`] looks at the lanes of an access as a whole, which is enough where all that they move is defined. Here is
//! the rest: vectors some words of which were never written, words half of which was, bytes with a bit-field or two of them
//! set, rows of a matrix that stand for padding. Loads and stores move definedness by bits, matrices by bytes.
//!
//! ```text
//! ld.shared.v2.u32 {%r1, %r2}, [%r3]     only the first word was ever stored: %r1 is defined, %r2 is not
//! ldmatrix.x1 {%r1}, [%r3]               row 5 was not: lanes 20 to 23 receive undefined words
//! ```

use super::{
    check::Defined,
    rows::lanes,
    world::{Place, World},
};
use crate::ir::{MatrixLayout, MatrixLoad, Slot};

/// What one element of an access is: bytes in memory, and whether its registers have two rows.
#[derive(Clone, Copy)]
pub struct Element {
    pub bytes: u8,
    pub signed: bool,
    pub wide: bool,
}

impl Element {
    /// All of its bits.
    fn all(self) -> u64 {
        u64::MAX >> (64 - 8 * self.bytes as u32)
    }
}

/// Which of up to 16 bytes of a place hold defined values: bit n for byte n. Global memory and parameters always do:
/// storing an undefined value there is a finding already.
pub fn bytes_defined(m: &World, own: &Defined, place: Place, offset: usize, bytes: usize) -> u16 {
    match (place, &m.check) {
        (Place::Shared { cta, at }, Some(check)) => check.shared_bytes_defined(cta, at + offset, bytes),
        (Place::Local(at), _) => own.local.get(at + offset, bytes),
        _ => u16::MAX,
    }
}

/// Defined bits of up to 8 bytes.
fn bits_defined(m: &World, own: &Defined, place: Place, offset: usize, bytes: usize) -> u64 {
    match (place, &m.check) {
        (Place::Shared { cta, at }, Some(check)) => check.shared_bits_defined(cta, at + offset, bytes),
        (Place::Local(at), _) => own.local.bits(at + offset, bytes),
        _ => u64::MAX,
    }
}

/// Lanes that read no undefined bytes of their local memory.
fn local_defined(m: &World, defined: &Defined, mask: u32, at: &[Place; 32], bytes: usize) -> u32 {
    if m.launch.kernel.local_bytes == 0 {
        return u32::MAX;
    }
    lanes(mask).fold(u32::MAX, |all, lane| match at[lane] {
        Place::Local(at) if !defined.local.all(at, bytes) => all & !(1 << lane),
        _ => all,
    })
}

/// What a load makes of its registers. `whole`: lanes all of whose bytes of shared memory are defined.
pub fn load(
    m: &World,
    defined: &mut Defined,
    mask: u32,
    at: &[Place; 32],
    whole: u32,
    d: &[Option<Slot>],
    e: Element,
) {
    let whole = whole & local_defined(m, defined, mask, at, d.len() * e.bytes as usize);
    let loaded = d.iter().enumerate().filter_map(|(n, slot)| slot.map(|slot| (n * e.bytes as usize, slot)));
    for (_, slot) in loaded.clone() {
        (slot..=slot + e.wide as u32).for_each(|slot| defined.set_row(slot, mask, whole));
    }
    for lane in lanes(mask & !whole) {
        for (offset, slot) in loaded.clone() {
            let bits = bits_defined(m, defined, at[lane], offset, e.bytes as usize) & e.all();
            load_element(defined, lane, slot, e, bits);
            // Padding is whole bytes; a byte with some undefined bits has been computed.
            let whole = bits.to_le_bytes().into_iter().all(|byte| matches!(byte, 0 | u8::MAX));
            if matches!(at[lane], Place::Local(_)) && bits != 0 && bits != e.all() && whole {
                (slot..=slot + e.wide as u32).for_each(|slot| defined.pad(slot, lane));
            }
        }
    }
}

/// One element of one lane. What stands above it in its register is copies of its sign, or zeros.
fn load_element(defined: &mut Defined, lane: usize, slot: Slot, e: Element, bits: u64) {
    let sign = bits >> (8 * e.bytes - 1) & 1 == 1;
    let bits = if e.signed && !sign { bits } else { bits | !e.all() };
    defined.set_word(slot, lane, bits as u32);
    if e.wide {
        defined.set_word(slot + 1, lane, (bits >> 32) as u32);
    }
}

/// What a store leaves in local memory, and in shared memory where its values are not all defined. `whole`: lanes whose
/// values are.
pub fn store(
    m: &mut World,
    defined: &mut Defined,
    mask: u32,
    at: &[Place; 32],
    whole: u32,
    a: &[Slot],
    e: Element,
) {
    if whole & mask == mask && m.launch.kernel.local_bytes == 0 {
        return;
    }
    let size = e.bytes as usize;
    for lane in lanes(mask) {
        match at[lane] {
            Place::Local(at) if whole >> lane & 1 == 1 => defined.local.set_all(at, a.len() * size, true),
            Place::Local(_) | Place::Shared { .. } if whole >> lane & 1 == 0 => {
                for (n, &slot) in a.iter().enumerate() {
                    let high = if e.wide { defined.word(slot + 1, lane) } else { 0 };
                    let bits = defined.word(slot, lane) as u64 | (high as u64) << 32;
                    match (at[lane], &mut m.check) {
                        (Place::Shared { cta, at }, Some(check)) => {
                            check.set_shared_bits_defined(cta, at + n * size, size, bits);
                        }
                        (Place::Local(at), _) => defined.local.set_bits(at + n * size, size, bits),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}

/// `ldmatrix`: what the lanes receive. `whole`: rows all of whose bytes are defined.
pub fn load_matrix(m: &World, defined: &mut Defined, at: &[Place; 32], whole: u32, op: &MatrixLoad) {
    let rows: [u16; 32] = std::array::from_fn(|row| {
        if whole >> row & 1 == 1 {
            return u16::MAX;
        }
        op.packing.defined(bytes_defined(m, defined, at[row], 0, 16))
    });
    let (height, registers) = (op.layout.rows(), op.layout.registers());
    for (n, &slot) in op.d.iter().enumerate() {
        let rows = &rows[n / registers * height..];
        let byte = |byte: usize| {
            (0..32).fold(0, |out, lane| {
                let (row, column) = op.layout.place(n % registers, byte, lane);
                out | ((rows[row] >> column & 1) as u32) << lane
            })
        };
        defined.set_bytes(slot, u32::MAX, std::array::from_fn(byte));
    }
}

/// `stmatrix` of registers that are not all defined.
pub fn store_matrix(
    m: &mut World,
    defined: &mut Defined,
    at: &[Place; 32],
    layout: MatrixLayout,
    a: &[Slot],
) {
    for (n, &slot) in a.iter().enumerate() {
        let bytes = defined.bytes(slot);
        let mut rows = [0u16; 8];
        for lane in 0..32 {
            for (byte, have) in bytes.iter().enumerate() {
                let (row, column) = layout.place(0, byte, lane);
                rows[row] |= ((have >> lane & 1) as u16) << column;
            }
        }
        for (row, &known) in rows.iter().enumerate() {
            if let (Place::Shared { cta, at }, Some(check)) = (at[8 * n + row], &mut m.check) {
                check.set_shared_defined(cta, at, 16, known);
            }
        }
    }
}
