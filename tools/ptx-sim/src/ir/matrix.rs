//! Operands of the operations on matrices, and how they lie over the lanes of a warp.
//!
//! `ldmatrix` and `stmatrix` move rows of 16 bytes, each at the address of a lane, to and from 32-bit registers of all lanes. Lane
//! `4 g + t` holds four bytes in each register; which, is the layout:
//!
//! ```text
//! m8n8, m8n16              row g, bytes 4t to 4t + 3
//! m8n8.trans               rows 2t and 2t + 1, two bytes each: halfword g
//! ldmatrix.m16n16.trans    rows 4t to 4t + 3, byte g (first register) or g + 8 (second)
//! stmatrix.m16n8.trans     rows 2t and 2t + 1, byte g; then the same rows, byte g + 8
//! ```

use super::{Addr, Slot};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MatrixType {
    F16,
    Bf16,
    Tf32,
    F64,
    S8,
    U8,
    S4,
    U4,
    /// Single bits; the product is `xor` or `and`, summed by counting.
    B1Xor,
    B1And,
    E4m3,
    E5m2,
}

/// The non-zeros of a sparse left operand: a register of indices, and which lanes of four hold them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sparsity {
    pub metadata: Slot,
    pub selector: u8,
}

/// Which bytes of the rows a lane holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MatrixLayout {
    Rows,
    HalfColumns,
    /// `ldmatrix.m16n16.trans`.
    ByteColumns,
    /// `stmatrix.m16n8.trans`.
    BytePairs,
}

impl MatrixLayout {
    /// Rows of a matrix.
    pub fn rows(self) -> usize {
        if self == MatrixLayout::ByteColumns { 16 } else { 8 }
    }

    /// Registers that hold one.
    pub fn registers(self) -> usize {
        self.rows() / 8
    }

    /// Row and column of a byte of a lane's register.
    pub fn place(self, register: usize, byte: usize, lane: usize) -> (usize, usize) {
        let (g, t) = (lane / 4, lane % 4);
        match self {
            MatrixLayout::Rows => (g, 4 * t + byte),
            MatrixLayout::HalfColumns => (2 * t + byte / 2, 2 * g + byte % 2),
            MatrixLayout::ByteColumns => (4 * t + byte, g + 8 * register),
            MatrixLayout::BytePairs => (2 * t + byte % 2, g + 8 * (byte / 2)),
        }
    }
}

/// How the 16 elements of a row lie in shared memory, which registers hold as bytes: narrow ones in the low bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packing {
    Bytes,
    /// `b6x16_p32`: 96 bits, then 32 that nobody reads.
    Six,
    /// `b4x16_p64`: 64 bits, then 64.
    Four,
}

impl Packing {
    fn bits(self) -> usize {
        match self {
            Packing::Bytes => 8,
            Packing::Six => 6,
            Packing::Four => 4,
        }
    }

    /// A row with its elements as bytes.
    pub fn unpack(self, row: [u8; 16]) -> [u8; 16] {
        let (row, bits) = (u128::from_le_bytes(row), self.bits());
        std::array::from_fn(|n| (row >> (bits * n)) as u8 & (0xff >> (8 - bits)))
    }

    /// Which elements are defined, where these bytes of the row are.
    pub fn defined(self, bytes: u16) -> u16 {
        let (bits, have) = (self.bits(), |bit: usize| bytes >> (bit / 8) & 1);
        (0..16).fold(0, |out, n| out | (have(bits * n) & have(bits * n + bits - 1)) << n)
    }
}

/// `ldmatrix`.
#[derive(Clone, Debug)]
pub struct MatrixLoad {
    pub count: u8,
    pub layout: MatrixLayout,
    pub packing: Packing,
    pub d: Vec<Slot>,
    pub addr: Addr,
}

impl MatrixLoad {
    /// How many lanes give an address.
    pub fn rows(&self) -> usize {
        self.count as usize * self.layout.rows()
    }
}

/// `mma.m8n8k4` of f16: four products, each of the lanes of two quads: `4 n` and up, and `4 n + 16` and up.
#[derive(Clone, Debug)]
pub struct MmaQuads {
    /// A by columns, B by rows.
    pub a_columns: bool,
    pub b_rows: bool,
    /// Accumulators of f16, in pairs; else f32.
    pub d_halves: bool,
    pub c_halves: bool,
    pub d: Vec<Slot>,
    pub a: Vec<Slot>,
    pub b: Vec<Slot>,
    pub c: Vec<Slot>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrow_elements_in_their_order() {
        let row: [u8; 16] = std::array::from_fn(|n| [0x21, 0x43, 0x65, 0x87][n % 4]);
        assert_eq!(Packing::Four.unpack(row)[..6], [1, 2, 3, 4, 5, 6]);
        // Bits 0x434 321 = 0b…0100 0011 0010 0001: 100001, 001100, …
        assert_eq!(Packing::Six.unpack(row)[..2], [0x21, 0x0c]);
        assert_eq!(Packing::Bytes.unpack(row), row);
    }

    #[test]
    fn an_element_across_two_bytes_needs_both() {
        // Element 1 has bits 6 to 11.
        assert_eq!(Packing::Six.defined(0b01), 0b01);
        assert_eq!(Packing::Six.defined(0b11), 0b11);
        assert_eq!(Packing::Four.defined(0b101), 0b110011);
    }

    #[test]
    fn every_byte_has_one_place() {
        for layout in [
            MatrixLayout::Rows,
            MatrixLayout::HalfColumns,
            MatrixLayout::ByteColumns,
            MatrixLayout::BytePairs,
        ] {
            let mut seen = vec![[0; 16]; layout.rows()];
            for register in 0..layout.registers() {
                for (lane, byte) in (0..32).flat_map(|lane| (0..4).map(move |byte| (lane, byte))) {
                    let (row, column) = layout.place(register, byte, lane);
                    seen[row][column] += 1;
                }
            }
            assert!(seen.iter().flatten().all(|&n| n == 1), "{layout:?}");
        }
    }
}
