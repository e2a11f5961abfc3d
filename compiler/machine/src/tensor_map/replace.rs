//! `tensormap.replace`: a kernel builds or changes a map, one field at a time.
//!
//! Triton builds one on the device this way: 128 bytes of zeros in shared memory, each field replaced, then copied to
//! global memory with a fence. So zeros are a legal start, and the map is checked as a whole only when a copy uses it:
//!
//! ```
//! use tile_machine::tensor_map::{Field, TensorMap, replace::replace};
//! let mut bytes = [0; 128];
//! replace(&mut bytes, Field::ElementType, 0, 10).unwrap(); // bf16 in the numbers of PTX
//! replace(&mut bytes, Field::GlobalDim, 0, 48).unwrap();
//! replace(&mut bytes, Field::BoxDim, 0, 32).unwrap();
//! assert_eq!(TensorMap::decode(&bytes).unwrap().box_bytes(), 64);
//! ```
//!
//! Numbers as the ISA has them: rank minus one, extents and strides as they are, enumerations by their tables.

use super::{ElementType, TensorMapError, bytes::*};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Field {
    GlobalAddress,
    Rank,
    BoxDim,
    GlobalDim,
    GlobalStride,
    ElementStride,
    ElementType,
    InterleaveLayout,
    SwizzleMode,
    FillMode,
}

impl Field {
    /// The word in `tensormap.replace.tile.WORD`.
    pub fn word(self) -> &'static str {
        match self {
            Field::GlobalAddress => "global_address",
            Field::Rank => "rank",
            Field::BoxDim => "box_dim",
            Field::GlobalDim => "global_dim",
            Field::GlobalStride => "global_stride",
            Field::ElementStride => "element_stride",
            Field::ElementType => "elemtype",
            Field::InterleaveLayout => "interleave_layout",
            Field::SwizzleMode => "swizzle_mode",
            Field::FillMode => "fill_mode",
        }
    }

    /// How many dimensions it has, where it has some.
    pub fn ordinals(self) -> u32 {
        match self {
            Field::BoxDim | Field::GlobalDim | Field::ElementStride => 5,
            Field::GlobalStride => 4,
            _ => 1,
        }
    }
}

/// Stores one field. Refused: bytes that are neither a map nor zeros, and values the field cannot hold.
pub fn replace(map: &mut [u8; BYTES], field: Field, ordinal: u32, value: u64) -> Result<(), TensorMapError> {
    if map.iter().all(|&b| b == 0) {
        map[..4].copy_from_slice(MAGIC);
    } else if &map[..4] != MAGIC {
        return Err(TensorMapError::NoTensorMap);
    }
    if ordinal >= field.ordinals() {
        return Err(TensorMapError::Ordinal { field: field.word(), ordinal });
    }
    let bad = TensorMapError::FieldValue { field: field.word(), value };
    let at = ordinal as usize;
    let below = |limit: u64| if value < limit { Ok(value as u8) } else { Err(bad) };
    match field {
        Field::GlobalAddress => map[ADDRESS..ADDRESS + 8].copy_from_slice(&value.to_le_bytes()),
        Field::GlobalStride => map[STRIDES + 8 * at..][..8].copy_from_slice(&value.to_le_bytes()),
        Field::GlobalDim => extent(map, DIMS + 4 * at, value).ok_or(bad)?,
        Field::BoxDim => extent(map, BOX + 4 * at, value).ok_or(bad)?,
        Field::ElementStride => {
            map[ELEMENT_STRIDES + at] = value.checked_sub(1).filter(|v| *v < 8).ok_or(bad)? as u8;
        }
        Field::Rank => map[RANK] = below(5)?,
        Field::ElementType => {
            let element = u32::try_from(value).ok().and_then(ElementType::from_ptx).ok_or(bad)?;
            map[ELEMENT] = ElementType::ALL.iter().position(|e| *e == element).ok_or(bad)? as u8;
        }
        Field::InterleaveLayout => map[INTERLEAVE] = below(3)?,
        Field::SwizzleMode => map[SWIZZLE] = below(4)?,
        Field::FillMode => map[FILL] = below(2)?,
    }
    Ok(())
}

/// Extents are kept minus one; 32 bits of register give at most 2^32 − 1.
fn extent(map: &mut [u8; BYTES], at: usize, value: u64) -> Option<()> {
    let kept = u32::try_from(value.checked_sub(1)?).ok()?;
    map[at..at + 4].copy_from_slice(&kept.to_le_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Fill, Interleave, Spec, TensorMap},
        *,
    };
    use crate::swizzle::Swizzle;

    #[test]
    fn a_map_built_from_zeros_equals_the_launchers() {
        let want = TensorMap::new(Spec {
            address: 0x1230,
            dims: &[48, 100, 3],
            strides: &[128, 12800],
            box_dims: &[32, 16, 2],
            element_strides: &[1, 2, 1],
            swizzle: Swizzle::B64,
            fill: Fill::Nan,
            ..Spec::new(ElementType::Bf16)
        })
        .unwrap();
        let mut map = [0; BYTES];
        let fields = [
            (Field::GlobalAddress, 0, 0x1230),
            (Field::Rank, 0, 2),
            (Field::GlobalDim, 0, 48),
            (Field::GlobalDim, 1, 100),
            (Field::GlobalDim, 2, 3),
            (Field::GlobalStride, 0, 128),
            (Field::GlobalStride, 1, 12800),
            (Field::BoxDim, 0, 32),
            (Field::BoxDim, 1, 16),
            (Field::BoxDim, 2, 2),
            (Field::ElementStride, 0, 1),
            (Field::ElementStride, 1, 2),
            (Field::ElementStride, 2, 1),
            (Field::ElementType, 0, 10),
            (Field::InterleaveLayout, 0, 0),
            (Field::SwizzleMode, 0, 2),
            (Field::FillMode, 0, 1),
        ];
        for (field, ordinal, value) in fields {
            replace(&mut map, field, ordinal, value).unwrap();
        }
        assert_eq!(TensorMap::decode(&map), Ok(want));
        assert_eq!(want.interleave(), Interleave::None);
    }

    #[test]
    fn what_a_field_cannot_hold_is_refused() {
        let mut map = [0; BYTES];
        for (field, ordinal, value) in [
            (Field::Rank, 0, 5),
            (Field::SwizzleMode, 0, 4),
            (Field::ElementType, 0, 13),
            (Field::GlobalDim, 0, 0),
            (Field::ElementStride, 0, 9),
        ] {
            let error = replace(&mut map, field, ordinal, value).unwrap_err();
            assert!(matches!(error, TensorMapError::FieldValue { .. }), "{field:?}: {error}");
        }
        assert!(matches!(
            replace(&mut map, Field::GlobalStride, 4, 16),
            Err(TensorMapError::Ordinal { ordinal: 4, .. })
        ));
        let mut garbage = [7; BYTES];
        assert_eq!(replace(&mut garbage, Field::Rank, 0, 1), Err(TensorMapError::NoTensorMap));
    }
}
