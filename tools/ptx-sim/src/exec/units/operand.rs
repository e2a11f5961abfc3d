//! Operands of a `wgmma` as plain f32 tiles: 16 × k for one warp's quarter of A, k × n for B.
//!
//! Every element type fits f32 exactly (integers up to 8 bits, single bits as 0 and 1), so that one loop multiplies
//! all of them. A tile in shared memory is read 16 bytes at a time, in the order of [`Footprint::visit`], which is
//! also what a race detector needs:
//!
//! ```text
//! B of m64n128k16, bf16, K-major: 128 lines (columns) of 2 chunks of 8 elements: 256 granules
//!                        MN-major: 16 lines (k) of 16 chunks
//! ```

use super::fragment;
use crate::{
    exec::{
        rows::Row,
        sparse::{self, Metadata},
    },
    ir::{Wgmma, WgmmaType},
};
use half::{bf16, f16, slice::HalfFloatSliceExt};
use std::sync::LazyLock;
use tile_machine::{Major, MatrixDescriptor};

/// Rows of A and D that one warp works on.
pub const ROWS: usize = 16;

/// Bytes that a descriptor names together.
const CHUNK: usize = 16;

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OperandError {
    #[error("{what} of a wgmma reads 16 bytes at shared address {address:#x}; the CTA has {size} bytes")]
    OutOfBounds { what: &'static str, address: u32, size: usize },
    #[error("metadata of a sparse wgmma name no pair of elements (row {row}, group {group})")]
    Metadata { row: usize, group: usize },
}

/// Row-major values.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Tile {
    pub columns: usize,
    pub values: Vec<f32>,
}

impl Tile {
    fn new(rows: usize, columns: usize) -> Tile {
        Tile { columns, values: vec![0.0; rows * columns] }
    }

    pub fn at(&self, row: usize, column: usize) -> f32 {
        self.values[row * self.columns + column]
    }
}

pub fn bits(ty: WgmmaType) -> usize {
    match ty {
        WgmmaType::Tf32 => 32,
        WgmmaType::F16 | WgmmaType::Bf16 => 16,
        WgmmaType::E4m3 | WgmmaType::E5m2 | WgmmaType::S8 | WgmmaType::U8 => 8,
        WgmmaType::B1 => 1,
    }
}

fn per_chunk(ty: WgmmaType) -> usize {
    8 * CHUNK / bits(ty)
}

/// The granules of shared memory that an operand is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Footprint {
    pub major: Major,
    pub first_line: u32,
    pub lines: u32,
    pub first_chunk: u32,
    pub chunks: u32,
}

impl Footprint {
    /// Line, chunk (both from 0) and shared address of each 16 bytes.
    pub fn visit(&self, descriptor: &MatrixDescriptor, mut f: impl FnMut(usize, usize, u32)) {
        for line in 0..self.lines {
            for chunk in 0..self.chunks {
                let at = descriptor.chunk(self.major, self.first_line + line, self.first_chunk + chunk);
                f(line as usize, chunk as usize, at);
            }
        }
    }
}

/// All of B.
pub fn b_footprint(w: &Wgmma) -> Footprint {
    let per = per_chunk(w.b_type) as u32;
    let (n, k) = (w.n as u32, w.k as u32);
    let (major, lines, chunks) = if w.transpose_b { (Major::Mn, k, n / per) } else { (Major::K, n, k / per) };
    Footprint { major, first_line: 0, lines, first_chunk: 0, chunks }
}

/// The 16 rows of A that warp `quarter` (0 to 3) of the group reads; of a sparse A, the stored half of k.
pub fn a_footprint(w: &Wgmma, quarter: u32) -> Footprint {
    let per = per_chunk(w.a_type) as u32;
    let k = stored_k(w) as u32;
    let rows = ROWS as u32;
    if w.transpose_a {
        let chunks = rows / per;
        return Footprint {
            major: Major::Mn,
            first_line: 0,
            lines: k,
            first_chunk: quarter * chunks,
            chunks,
        };
    }
    Footprint { major: Major::K, first_line: quarter * rows, lines: rows, first_chunk: 0, chunks: k / per }
}

fn stored_k(w: &Wgmma) -> usize {
    if w.sparse.is_some() { w.k as usize / 2 } else { w.k as usize }
}

/// B as k × n.
pub fn unpack_b(w: &Wgmma, b: &MatrixDescriptor, shared: &[u8]) -> Result<Tile, OperandError> {
    let mut tile = Tile::new(w.k as usize, w.n as usize);
    let along_rows = w.transpose_b;
    read(&mut tile, b_footprint(w), b, w.b_type, along_rows, shared, "B")?;
    Ok(tile)
}

/// Where a warp's A comes from.
#[derive(Clone, Copy, Debug)]
pub enum SourceA<'a> {
    Registers(&'a [Row; 4]),
    Shared(&'a MatrixDescriptor, &'a [u8]),
}

/// The warp's 16 rows of A as 16 × k, a sparse A filled up with zeros. `metadata`: the register of `.sp`.
pub fn unpack_a(
    w: &Wgmma,
    source: SourceA,
    quarter: u32,
    metadata: Option<&Row>,
) -> Result<Tile, OperandError> {
    let mut tile = Tile::new(ROWS, stored_k(w));
    match source {
        SourceA::Registers(rows) => read_registers(&mut tile, rows, w.a_type),
        SourceA::Shared(descriptor, shared) => {
            let along_rows = !w.transpose_a;
            read(&mut tile, a_footprint(w, quarter), descriptor, w.a_type, along_rows, shared, "A")?;
        }
    }
    match (w.sparse, metadata) {
        (Some((_, selector)), Some(metadata)) => expand(w, &tile, selector, metadata),
        _ => Ok(tile),
    }
}

/// `along_rows`: a line of the footprint is a row of the tile (else a column).
fn read(
    tile: &mut Tile,
    footprint: Footprint,
    descriptor: &MatrixDescriptor,
    ty: WgmmaType,
    along_rows: bool,
    shared: &[u8],
    what: &'static str,
) -> Result<(), OperandError> {
    let per = per_chunk(ty);
    let columns = tile.columns;
    let mut bad = None;
    let mut values = [0f32; 128];
    footprint.visit(descriptor, |line, chunk, address| {
        let Some(bytes) = shared.get(address as usize..address as usize + CHUNK) else {
            bad.get_or_insert(address);
            return;
        };
        let values = &mut values[..per];
        unpack(bytes, ty, values);
        if along_rows {
            tile.values[line * columns + chunk * per..][..per].copy_from_slice(values);
        } else {
            for (x, v) in values.iter().enumerate() {
                tile.values[(chunk * per + x) * columns + line] = *v;
            }
        }
    });
    match bad {
        Some(address) => Err(OperandError::OutOfBounds { what, address, size: shared.len() }),
        None => Ok(()),
    }
}

fn read_registers(tile: &mut Tile, rows: &[Row; 4], ty: WgmmaType) {
    let per = 32 / bits(ty);
    let mut values = [0f32; 32];
    for (register, row) in rows.iter().enumerate() {
        for (lane, word) in row.iter().enumerate() {
            let (r, c) = fragment::a_position(register, lane, per);
            unpack(&word.to_le_bytes(), ty, &mut values[..per]);
            tile.values[r * tile.columns + c..][..per].copy_from_slice(&values[..per]);
        }
    }
}

/// Little-endian elements to f32. tf32 is what a tensor core reads of an f32: its upper 19 bits.
fn unpack(bytes: &[u8], ty: WgmmaType, out: &mut [f32]) {
    let halves = || bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
    match ty {
        WgmmaType::Tf32 => {
            for (o, b) in out.iter_mut().zip(bytes.chunks_exact(4)) {
                *o = f32::from_bits(u32::from_le_bytes([b[0], b[1], b[2], b[3]]) & !0x1fff);
            }
        }
        WgmmaType::Bf16 => out.iter_mut().zip(halves()).for_each(|(o, h)| *o = bf16::from_bits(h).to_f32()),
        WgmmaType::F16 => {
            let mut row = [f16::ZERO; 8];
            let count = out.len();
            row.iter_mut().zip(halves()).for_each(|(o, h)| *o = f16::from_bits(h));
            row[..count].convert_to_f32_slice(out);
        }
        WgmmaType::E4m3 => out.iter_mut().zip(bytes).for_each(|(o, &b)| *o = FP8[0][b as usize]),
        WgmmaType::E5m2 => out.iter_mut().zip(bytes).for_each(|(o, &b)| *o = FP8[1][b as usize]),
        WgmmaType::S8 => out.iter_mut().zip(bytes).for_each(|(o, &b)| *o = b as i8 as f32),
        WgmmaType::U8 => out.iter_mut().zip(bytes).for_each(|(o, &b)| *o = b as f32),
        WgmmaType::B1 => out.iter_mut().enumerate().for_each(|(n, o)| {
            *o = (bytes[n / 8] >> (n % 8) & 1) as f32;
        }),
    }
}

/// e4m3 (no infinities, 0x7f is NaN) and e5m2 (a short f16).
pub static FP8: LazyLock<[[f32; 256]; 2]> = LazyLock::new(|| {
    let e4m3 = |b: u8| {
        let (exponent, fraction) = ((b >> 3 & 15) as i32, (b & 7) as f32);
        let size = match (exponent, b & 7) {
            (15, 7) => f32::NAN,
            (0, _) => fraction / 8.0 * 2f32.powi(-6),
            _ => (1.0 + fraction / 8.0) * 2f32.powi(exponent - 7),
        };
        if b >> 7 == 1 { -size } else { size }
    };
    let e5m2 = |b: u8| f16::from_bits((b as u16) << 8).to_f32();
    [std::array::from_fn(|b| e4m3(b as u8)), std::array::from_fn(|b| e5m2(b as u8))]
});

/// A sparse A with its zeros; its metadata lie as those of `mma.sp` ([`sparse`]).
///
/// ```text
/// stored 5, 7 with 0b1101: 5 is element 1 of the group, 7 is element 3:   0 5 0 7
/// ```
fn expand(w: &Wgmma, stored: &Tile, selector: u32, words: &Row) -> Result<Tile, OperandError> {
    let metadata = Metadata::new(bits(w.a_type), w.k as usize, selector as usize);
    let mut tile = Tile::new(ROWS, w.k as usize);
    let columns = tile.columns / metadata.groups;
    for row in 0..ROWS {
        let (full, half) = (row * tile.columns, row * stored.columns);
        for group in 0..metadata.groups {
            let nibble = metadata.of(words, row, group);
            let sound =
                if columns == 2 { matches!(nibble, 0b0100 | 0b1110) } else { nibble & 3 != nibble >> 2 };
            if !sound {
                return Err(OperandError::Metadata { row, group });
            }
            let from = &stored.values[half + group * columns / 2..][..columns / 2];
            sparse::place(nibble, from, &mut tile.values[full + group * columns..][..columns]);
        }
    }
    Ok(tile)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bit_floats_at_their_edges() {
        let one = |ty, b: u8| {
            let mut out = [0.0];
            unpack(&[b], ty, &mut out);
            out[0]
        };
        use WgmmaType::*;
        assert_eq!(one(E4m3, 0x38), 1.0);
        assert_eq!(one(E4m3, 0x7e), 448.0);
        assert!(one(E4m3, 0xff).is_nan());
        assert_eq!(one(E4m3, 0x81), -(2f32.powi(-9)));
        assert_eq!(one(E5m2, 0x7b), 57344.0);
        assert_eq!(one(E5m2, 0xfc), f32::NEG_INFINITY);
        assert_eq!((one(S8, 0x80), one(U8, 0x80)), (-128.0, 128.0));
    }

    #[test]
    fn tf32_drops_what_the_tensor_core_does_not_read() {
        let mut out = [0.0];
        unpack(&f32::from_bits(0x3f80_3fff).to_le_bytes(), WgmmaType::Tf32, &mut out);
        assert_eq!(out[0].to_bits(), 0x3f80_2000);
    }
}
