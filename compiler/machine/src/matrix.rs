//! The 64-bit descriptor by which `wgmma` finds a tile in shared memory.
//!
//! A tile is made of *core matrices*: 8 lines of 16 bytes. K-major (the usual way): a line is a row of M or N, its
//! bytes run along K. MN-major ("transposed"): a line is one k, its bytes run along M or N. Two offsets say how core
//! matrices follow each other; their meaning depends on major-ness and swizzle, and one of them may be idle:
//!
//! ```text
//!                         lines of a core   next 8 lines   next 16 bytes      next row of chunks
//! K-major,  no swizzle    16 apart          stride         leading            –
//! K-major,  swizzle W     W apart           stride         16 (inside W)      leading
//! MN-major, no swizzle    16 apart          leading        stride             –
//! MN-major, swizzle W     W apart           stride         16 (inside W)      leading
//!
//! bits  0–13 start >> 4    16–29 leading >> 4    32–45 stride >> 4    49–51 base offset    62–63 swizzle
//! ```
//!
//! Worked example: B of 128 columns by 64 k in bf16, K-major, 128 B swizzle, at 0x4000. A row has 64 · 2 = 128 bytes,
//! so eight rows take 1024: stride 1024, leading idle. k-step 1 of 16 begins 32 bytes further: start 0x4020. Column 9,
//! second chunk of that step: 0x4020 + 1024 + 128 + 16 = 0x44b0; row bits (0x44b0 >> 7) & 7 = 1; kept at 0x44a0.

use crate::swizzle::Swizzle;

/// Which dimension is contiguous.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Major {
    K,
    Mn,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MatrixDescriptor {
    /// Bytes; multiples of 16 below 2^18, as all of these.
    pub start: u32,
    pub leading: u32,
    pub stride: u32,
    /// (start of the pattern >> 7) & 7 where the pattern does not begin at a multiple of its period.
    pub base_offset: u8,
    pub swizzle: Swizzle,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DescriptorError {
    #[error("matrix descriptor {0:#018x} has reserved bits set")]
    Reserved(u64),
    #[error("matrix descriptor has base offset {0}, which only a swizzled tile may have")]
    BaseOffset(u8),
    #[error("{what} {bytes} of a matrix descriptor is not a multiple of 16 below 2^18")]
    Unencodable { what: &'static str, bytes: u32 },
}

const RESERVED: u64 = 0x3ff1_c000_c000_c000;

impl MatrixDescriptor {
    pub fn encode(&self) -> Result<u64, DescriptorError> {
        let field = |what, bytes: u32| {
            let fits = bytes.is_multiple_of(16) && bytes < 1 << 18;
            if fits { Ok(bytes as u64 >> 4) } else { Err(DescriptorError::Unencodable { what, bytes }) }
        };
        let swizzle = match self.swizzle {
            Swizzle::None => 0u64,
            Swizzle::B128 => 1,
            Swizzle::B64 => 2,
            Swizzle::B32 => 3,
        };
        if self.base_offset > 7 || (self.base_offset != 0 && self.swizzle == Swizzle::None) {
            return Err(DescriptorError::BaseOffset(self.base_offset));
        }
        Ok(field("start", self.start)?
            | field("leading offset", self.leading)? << 16
            | field("stride offset", self.stride)? << 32
            | (self.base_offset as u64) << 49
            | swizzle << 62)
    }

    pub fn decode(bits: u64) -> Result<MatrixDescriptor, DescriptorError> {
        if bits & RESERVED != 0 {
            return Err(DescriptorError::Reserved(bits));
        }
        let field = |at: u32| ((bits >> at) & 0x3fff) as u32 * 16;
        let swizzle = [Swizzle::None, Swizzle::B128, Swizzle::B64, Swizzle::B32][(bits >> 62) as usize];
        let base_offset = (bits >> 49 & 7) as u8;
        if base_offset != 0 && swizzle == Swizzle::None {
            return Err(DescriptorError::BaseOffset(base_offset));
        }
        Ok(MatrixDescriptor { start: field(0), leading: field(16), stride: field(32), base_offset, swizzle })
    }

    /// Shared address of 16 bytes: `line` counts rows of M or N (K-major) or k (MN-major), `chunk` 16-byte steps
    /// along the contiguous dimension.
    pub fn chunk(&self, major: Major, line: u32, chunk: u32) -> u32 {
        let width = self.swizzle.width();
        let (in_core, core) = (line % 8, line / 8);
        let offset = match (self.swizzle, major) {
            (Swizzle::None, Major::K) => in_core * 16 + core * self.stride + chunk * self.leading,
            (Swizzle::None, Major::Mn) => in_core * 16 + core * self.leading + chunk * self.stride,
            _ => {
                let per_row = width / 16;
                in_core * width + core * self.stride + chunk % per_row * 16 + chunk / per_row * self.leading
            }
        };
        // The descriptor sees 18 bits of an address.
        let linear = (self.start + offset) & 0x3ffff;
        self.swizzle.apply_from(linear, self.base_offset as u32)
    }

    /// The addresses of the eight lines of one core matrix.
    pub fn core_matrix(&self, major: Major, core: u32, chunk: u32) -> [u32; 8] {
        std::array::from_fn(|line| self.chunk(major, core * 8 + line as u32, chunk))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(start: u32, leading: u32, stride: u32, swizzle: Swizzle) -> MatrixDescriptor {
        MatrixDescriptor { start, leading, stride, base_offset: 0, swizzle }
    }

    #[test]
    fn the_worked_example() {
        let d = descriptor(0x4020, 16, 1024, Swizzle::B128);
        assert_eq!(d.chunk(Major::K, 9, 1), 0x44a0);
        assert_eq!(d.encode(), Ok(0x4000_0040_0001_0402));
    }

    #[test]
    fn bits_there_and_back() {
        for swizzle in Swizzle::ALL {
            let mut d = descriptor(0x3fff0, 0x120, 0x2000, swizzle);
            d.base_offset = if swizzle == Swizzle::None { 0 } else { 5 };
            assert_eq!(MatrixDescriptor::decode(d.encode().unwrap()), Ok(d));
        }
        assert!(matches!(MatrixDescriptor::decode(1 << 14), Err(DescriptorError::Reserved(_))));
        assert!(matches!(MatrixDescriptor::decode(1 << 49), Err(DescriptorError::BaseOffset(1))));
        assert!(descriptor(8, 0, 0, Swizzle::None).encode().is_err());
        assert!(descriptor(0, 1 << 18, 0, Swizzle::None).encode().is_err());
        // Every bit belongs to a field or is reserved.
        let fields = 0x3fff | 0x3fff << 16 | 0x3fff << 32 | 7 << 49 | 3 << 62;
        assert_eq!(fields ^ RESERVED, u64::MAX);
    }

    #[test]
    fn without_swizzle_a_core_matrix_is_128_contiguous_bytes() {
        // 16 rows by 32 bytes: cores of one column together, columns 256 apart.
        let d = descriptor(0x100, 256, 128, Swizzle::None);
        let lines: Vec<u32> = (0..8).map(|l| 0x100 + 128 + 256 + 16 * l).collect();
        assert_eq!(d.core_matrix(Major::K, 1, 1).to_vec(), lines);
        // MN-major: 64 columns by 16 k of 2 bytes; next 8 columns 128 further, next 8 k 1024 further.
        let d = descriptor(0, 1024, 128, Swizzle::None);
        assert_eq!(d.chunk(Major::Mn, 9, 3), 1024 + 16 + 3 * 128);
    }

    /// A tile as TMA leaves it is found where TMA put it: element (line, byte) at swizzle(line · width + byte).
    #[test]
    fn agrees_with_a_tile_written_row_by_row() {
        for swizzle in [Swizzle::B32, Swizzle::B64, Swizzle::B128] {
            let width = swizzle.width();
            let d = descriptor(2048, 4096, 8 * width, swizzle);
            for major in [Major::K, Major::Mn] {
                for line in 0..32 {
                    for chunk in 0..2 * width / 16 {
                        let box_at = 2048 + chunk * 16 / width * 4096;
                        let want = swizzle.apply(box_at + line * width + chunk * 16 % width);
                        assert_eq!(d.chunk(major, line, chunk), want, "{swizzle:?} {line} {chunk}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_tile_off_its_period_names_its_base() {
        let mut d = descriptor(0x4000 + 3 * 128, 16, 1024, Swizzle::B128);
        d.base_offset = 3;
        assert_eq!(d.chunk(Major::K, 0, 1), 0x4000 + 3 * 128 + 16);
        assert_eq!(d.chunk(Major::K, 1, 1), 0x4000 + 4 * 128);
    }
}
