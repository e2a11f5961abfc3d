//! The legality rules of `cuTensorMapEncodeTiled`, each a typed error that names the numbers.
//!
//! ```text
//! rank            1..=5; at least 3 when interleaved
//! address         multiple of 16 (32 with 32-byte interleave), dims 1..=2^32
//! strides         multiples of 16 (32), below 2^40
//! box             1..=256 each; an uninterleaved inner row is a multiple of 16 bytes
//! element strides 1..=8 each
//! swizzle W       inner row at most W bytes; 32-byte interleave only with the 32-byte swizzle
//! NaN fill        floats only
//! ```

use super::{Fill, Interleave, MAX_RANK, Spec, TensorMap};
use crate::swizzle::Swizzle;

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TensorMapError {
    #[error("a tensor map has 1 to 5 dimensions, not {0}")]
    Rank(usize),
    #[error("{got} {what} for {rank} dimensions; {want} are needed")]
    Length { what: &'static str, got: usize, rank: usize, want: usize },
    #[error("an interleaved tensor has at least 3 dimensions, not {0}")]
    InterleavedRank(usize),
    #[error("global address {address:#x} is not a multiple of {align}")]
    Address { address: u64, align: u64 },
    #[error("dimension {dim} has {extent} elements; 1 to 2^32 are possible")]
    Dimension { dim: usize, extent: u64 },
    #[error("stride {stride} of dimension {dim} is not a multiple of {align} below 2^40")]
    Stride { dim: usize, stride: u64, align: u64 },
    #[error("the box has {extent} elements in dimension {dim}; 1 to 256 are possible")]
    Box { dim: usize, extent: u32 },
    #[error("the inner row of the box has {0} bytes, not a multiple of 16")]
    InnerRow(u32),
    #[error("element stride {stride} in dimension {dim}; 1 to 8 are possible")]
    ElementStride { dim: usize, stride: u32 },
    #[error("the inner row of the box has {row} bytes, more than the {width} of its swizzle")]
    SwizzleWidth { row: u32, width: u32 },
    #[error("32-byte interleave needs the 32-byte swizzle")]
    InterleaveSwizzle,
    #[error("NaN fill of elements that are no floats")]
    NanFill,
    #[error("these 128 bytes are no tensor map")]
    NoTensorMap,
    #[error("`{field}` cannot be {value}")]
    FieldValue { field: &'static str, value: u64 },
    #[error("`{field}` has no dimension {ordinal}")]
    Ordinal { field: &'static str, ordinal: u32 },
}

use TensorMapError as E;

/// The lists fit the rank.
pub(super) fn lengths(spec: &Spec) -> Result<(), TensorMapError> {
    let rank = spec.dims.len();
    if rank == 0 || rank > MAX_RANK {
        return Err(E::Rank(rank));
    }
    let lists = [
        ("strides", spec.strides.len(), rank - 1),
        ("box extents", spec.box_dims.len(), rank),
        ("element strides", spec.element_strides.len(), rank),
    ];
    match lists.into_iter().find(|(_, got, want)| got != want) {
        Some((what, got, want)) => Err(E::Length { what, got, rank, want }),
        None => Ok(()),
    }
}

/// Everything else.
pub(super) fn check(map: &TensorMap) -> Result<(), TensorMapError> {
    if map.interleave != Interleave::None && map.rank < 3 {
        return Err(E::InterleavedRank(map.rank));
    }
    let align = if map.interleave == Interleave::B32 { 32 } else { 16 };
    if !map.address.is_multiple_of(align) {
        return Err(E::Address { address: map.address, align });
    }
    for dim in 0..map.rank {
        let (extent, of_box, stride) = (map.dims[dim], map.box_dims[dim], map.element_strides[dim]);
        if extent == 0 || extent > 1 << 32 {
            return Err(E::Dimension { dim, extent });
        }
        if !(1..=256).contains(&of_box) {
            return Err(E::Box { dim, extent: of_box });
        }
        if !(1..=8).contains(&stride) {
            return Err(E::ElementStride { dim, stride });
        }
    }
    for (at, &stride) in map.strides().iter().enumerate() {
        if !stride.is_multiple_of(align) || stride >= 1 << 40 {
            return Err(E::Stride { dim: at + 1, stride, align });
        }
    }
    inner_row(map)?;
    if map.fill == Fill::Nan && !map.element.is_float() {
        return Err(E::NanFill);
    }
    Ok(())
}

fn inner_row(map: &TensorMap) -> Result<(), TensorMapError> {
    let row = map.box_dims[0] * map.element.bytes();
    if map.interleave == Interleave::None && !row.is_multiple_of(16) {
        return Err(E::InnerRow(row));
    }
    if map.interleave == Interleave::B32 && map.swizzle != Swizzle::B32 {
        return Err(E::InterleaveSwizzle);
    }
    let width = map.swizzle.width();
    if map.swizzle != Swizzle::None && map.interleave == Interleave::None && row > width {
        return Err(E::SwizzleWidth { row, width });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::*, *};

    fn spec() -> Spec<'static> {
        Spec {
            address: 0x1000,
            dims: &[64, 100, 3],
            strides: &[128, 12800],
            box_dims: &[32, 16, 1],
            element_strides: &[1, 1, 1],
            ..Spec::new(ElementType::Bf16)
        }
    }

    #[test]
    fn each_rule_is_enforced() {
        assert!(TensorMap::new(spec()).is_ok());
        let wrong = |change: &dyn Fn(&mut Spec)| {
            let mut s = spec();
            change(&mut s);
            TensorMap::new(s).unwrap_err()
        };
        assert_eq!(wrong(&|s| s.dims = &[]), E::Rank(0));
        assert_eq!(wrong(&|s| s.dims = &[1; 6]), E::Rank(6));
        assert!(matches!(wrong(&|s| s.strides = &[128]), E::Length { what: "strides", .. }));
        assert!(matches!(wrong(&|s| s.box_dims = &[8]), E::Length { what: "box extents", .. }));
        assert_eq!(wrong(&|s| s.address = 8), E::Address { address: 8, align: 16 });
        assert_eq!(wrong(&|s| s.dims = &[64, 0, 3]), E::Dimension { dim: 1, extent: 0 });
        assert_eq!(
            wrong(&|s| s.dims = &[(1 << 32) + 1, 1, 1]),
            E::Dimension { dim: 0, extent: (1 << 32) + 1 }
        );
        assert_eq!(wrong(&|s| s.strides = &[120, 12800]), E::Stride { dim: 1, stride: 120, align: 16 });
        assert!(matches!(wrong(&|s| s.strides = &[128, 1 << 40]), E::Stride { dim: 2, .. }));
        assert_eq!(wrong(&|s| s.box_dims = &[32, 257, 1]), E::Box { dim: 1, extent: 257 });
        assert_eq!(wrong(&|s| s.box_dims = &[20, 16, 1]), E::InnerRow(40));
        assert_eq!(wrong(&|s| s.element_strides = &[1, 9, 1]), E::ElementStride { dim: 1, stride: 9 });
        assert_eq!(wrong(&|s| s.swizzle = Swizzle::B32), E::SwizzleWidth { row: 64, width: 32 });
        assert_eq!(wrong(&|s| s.interleave = Interleave::B32), E::InterleaveSwizzle);
        assert_eq!(
            wrong(&|s| {
                s.element = ElementType::U16;
                s.fill = Fill::Nan;
            }),
            E::NanFill
        );
        let flat = Spec { dims: &[64], strides: &[], box_dims: &[32], element_strides: &[1], ..spec() };
        let flat = Spec { interleave: Interleave::B16, ..flat };
        assert_eq!(TensorMap::new(flat).unwrap_err(), E::InterleavedRank(1));
    }

    #[test]
    fn a_box_counts_what_it_steps_over() {
        let map = TensorMap::new(Spec { element_strides: &[2, 3, 1], ..spec() }).unwrap();
        // 16 rows in steps of 3: rows 0, 3, 6, 9, 12, 15. The innermost step is ignored.
        assert_eq!((map.count(0), map.count(1), map.box_bytes()), (32, 6, 6 * 64));
    }

    #[test]
    fn a_narrow_row_takes_the_width_of_its_swizzle() {
        let map = TensorMap::new(Spec { swizzle: Swizzle::B128, ..spec() }).unwrap();
        assert_eq!((map.row_bytes(), map.row_pitch()), (64, 128));
    }
}
