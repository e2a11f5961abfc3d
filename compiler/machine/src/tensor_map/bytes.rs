//! The encoding: little-endian, every field a whole number of bytes, so that `tensormap.replace` is a store.
//!
//! ```text
//!  0  magic "TMAP"      4  rank − 1      5  element      6  interleave    7  swizzle
//!  8  L2 promotion      9  fill         10  element strides − 1, 5 × u8
//! 16  global address, u64
//! 24  dims − 1, 5 × u32 (so that 2^32 fits)
//! 44  box − 1, 5 × u32
//! 64  strides in bytes, 4 × u64
//! 96  zeros to 128
//! ```
//!
//! Entries beyond the rank are zero. Extents are kept minus one, so that a map of zeros with a magic is 1 × … × 1.

use super::{ElementType, Fill, Interleave, L2Promotion, MAX_RANK, TensorMap, TensorMapError, rules};
use crate::swizzle::Swizzle;

pub const BYTES: usize = 128;
/// A map in memory lies at a multiple of this.
pub const ALIGN: usize = 64;

pub(super) const MAGIC: &[u8; 4] = b"TMAP";
pub(super) const RANK: usize = 4;
pub(super) const ELEMENT: usize = 5;
pub(super) const INTERLEAVE: usize = 6;
pub(super) const SWIZZLE: usize = 7;
const L2_PROMOTION: usize = 8;
pub(super) const FILL: usize = 9;
pub(super) const ELEMENT_STRIDES: usize = 10;
pub(super) const ADDRESS: usize = 16;
pub(super) const DIMS: usize = 24;
pub(super) const BOX: usize = 44;
pub(super) const STRIDES: usize = 64;
const END: usize = 96;

const INTERLEAVES: [Interleave; 3] = [Interleave::None, Interleave::B16, Interleave::B32];
const PROMOTIONS: [L2Promotion; 4] =
    [L2Promotion::None, L2Promotion::B64, L2Promotion::B128, L2Promotion::B256];
const FILLS: [Fill; 2] = [Fill::Zero, Fill::Nan];

/// The number of a variant in its list, which is also the driver's.
fn number<T: PartialEq>(list: &[T], value: &T) -> u8 {
    list.iter().position(|x| x == value).unwrap_or_default() as u8
}

fn u32_at(bytes: &[u8; BYTES], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|n| bytes[at + n]))
}

fn u64_at(bytes: &[u8; BYTES], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|n| bytes[at + n]))
}

/// The variants behind the numbers of the driver call, for whoever receives them.
impl Interleave {
    pub fn from_driver(number: u32) -> Option<Self> {
        INTERLEAVES.get(number as usize).copied()
    }
}

impl L2Promotion {
    pub fn from_driver(number: u32) -> Option<Self> {
        PROMOTIONS.get(number as usize).copied()
    }
}

impl Fill {
    pub fn from_driver(number: u32) -> Option<Self> {
        FILLS.get(number as usize).copied()
    }
}

impl Swizzle {
    /// From the number of `CUtensorMapSwizzle` (and of `tensormap.replace`).
    pub fn from_driver(number: u32) -> Option<Self> {
        Swizzle::ALL.get(number as usize).copied()
    }
}

impl TensorMap {
    pub fn encode(&self) -> [u8; BYTES] {
        let mut out = [0; BYTES];
        out[..4].copy_from_slice(MAGIC);
        out[RANK] = self.rank as u8 - 1;
        out[ELEMENT] = number(&ElementType::ALL, &self.element);
        out[INTERLEAVE] = number(&INTERLEAVES, &self.interleave);
        out[SWIZZLE] = number(&Swizzle::ALL, &self.swizzle);
        out[L2_PROMOTION] = number(&PROMOTIONS, &self.l2_promotion);
        out[FILL] = number(&FILLS, &self.fill);
        out[ADDRESS..ADDRESS + 8].copy_from_slice(&self.address.to_le_bytes());
        for d in 0..self.rank {
            out[ELEMENT_STRIDES + d] = self.element_strides[d] as u8 - 1;
            out[DIMS + 4 * d..][..4].copy_from_slice(&((self.dims[d] - 1) as u32).to_le_bytes());
            out[BOX + 4 * d..][..4].copy_from_slice(&(self.box_dims[d] - 1).to_le_bytes());
        }
        for (d, stride) in self.strides().iter().enumerate() {
            out[STRIDES + 8 * d..][..8].copy_from_slice(&stride.to_le_bytes());
        }
        out
    }

    /// Reads a map and checks it anew: whoever wrote it may have been a kernel.
    pub fn decode(bytes: &[u8; BYTES]) -> Result<TensorMap, TensorMapError> {
        use TensorMapError::NoTensorMap as Garbage;
        if &bytes[..4] != MAGIC || bytes[END..].iter().any(|&b| b != 0) {
            return Err(Garbage);
        }
        let pick = |at: usize| bytes[at] as u32;
        let rank = bytes[RANK] as usize + 1;
        if rank > MAX_RANK {
            return Err(TensorMapError::Rank(rank));
        }
        let mut map = TensorMap {
            element: ElementType::from_driver(pick(ELEMENT)).ok_or(Garbage)?,
            rank,
            address: u64_at(bytes, ADDRESS),
            dims: [1; MAX_RANK],
            strides: [0; MAX_RANK - 1],
            box_dims: [1; MAX_RANK],
            element_strides: [1; MAX_RANK],
            interleave: Interleave::from_driver(pick(INTERLEAVE)).ok_or(Garbage)?,
            swizzle: Swizzle::from_driver(pick(SWIZZLE)).ok_or(Garbage)?,
            l2_promotion: L2Promotion::from_driver(pick(L2_PROMOTION)).ok_or(Garbage)?,
            fill: Fill::from_driver(pick(FILL)).ok_or(Garbage)?,
        };
        for d in 0..rank {
            map.dims[d] = u32_at(bytes, DIMS + 4 * d) as u64 + 1;
            map.box_dims[d] = u32_at(bytes, BOX + 4 * d).saturating_add(1);
            map.element_strides[d] = pick(ELEMENT_STRIDES + d) + 1;
        }
        for d in 0..rank - 1 {
            map.strides[d] = u64_at(bytes, STRIDES + 8 * d);
        }
        rules::check(&map)?;
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Spec, *};

    #[test]
    fn every_rank_and_extreme_there_and_back() {
        for rank in 1..=MAX_RANK {
            let map = TensorMap::new(Spec {
                address: 0x7fff_ffff_fff0,
                dims: &[1 << 32, 1, 5, 1 << 32, 7][..rank],
                strides: &[(1 << 40) - 16, 16, 0, 1 << 39][..rank - 1],
                box_dims: &[32, 256, 1, 2, 3][..rank],
                element_strides: &[1, 8, 1, 2, 3][..rank],
                swizzle: Swizzle::B128,
                l2_promotion: L2Promotion::B256,
                fill: Fill::Nan,
                ..Spec::new(ElementType::Tf32)
            })
            .unwrap();
            assert_eq!(TensorMap::decode(&map.encode()), Ok(map));
        }
    }

    #[test]
    fn garbage_is_an_error() {
        assert_eq!(TensorMap::decode(&[0; BYTES]), Err(TensorMapError::NoTensorMap));
        let good = TensorMap::new(Spec {
            dims: &[64],
            box_dims: &[64],
            element_strides: &[1],
            ..Spec::new(ElementType::F16)
        });
        let good = good.unwrap().encode();
        for at in 0..BYTES {
            let mut bytes = good;
            bytes[at] ^= 0xff;
            // Never a panic; and what is accepted is legal, so it survives another round.
            if let Ok(map) = TensorMap::decode(&bytes) {
                assert_eq!(TensorMap::decode(&map.encode()), Ok(map));
            }
        }
        let mut bytes = good;
        bytes[RANK] = 5;
        assert_eq!(TensorMap::decode(&bytes), Err(TensorMapError::Rank(6)));
        bytes = good;
        bytes[127] = 1;
        assert_eq!(TensorMap::decode(&bytes), Err(TensorMapError::NoTensorMap));
    }
}
