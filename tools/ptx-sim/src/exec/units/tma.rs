//! The walk of a tensor copy: coordinates and a tensor map to runs of bytes.
//!
//! ```text
//! map: bf16, 48 × 100 elements, rows 128 bytes apart, box 32 × 16, no swizzle; copy at (32, 96) to shared 0x1000
//!     row 96  shared 0x1000, 32 bytes  global base + 96·128 + 64       columns 32–47
//!             shared 0x1020, 32 bytes  outside: fill                   columns 48–63
//!     …       row 100 on: all outside
//! ```
//!
//! With a swizzle a run is at most 16 bytes, and its shared address has gone through the address map: the box's rows
//! lie [`TensorMap::row_pitch`] apart *before* the map. A copy to global memory walks the same runs and skips those
//! outside. Coordinates are signed; the first element of a run may lie before the tensor.

use tile_machine::{
    Swizzle, TensorMap,
    tensor_map::{ElementType, Fill, Interleave, MAX_RANK},
};

/// Bytes that lie together at both ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// Address within the CTA's shared memory.
    pub shared: u32,
    pub bytes: u32,
    /// `None`: outside the tensor.
    pub global: Option<u64>,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TmaError {
    #[error("{got} coordinates for a tensor map of {rank} dimensions")]
    Coordinates { got: usize, rank: usize },
    #[error("the box at shared address {address:#x} does not begin at a multiple of {align}")]
    Misaligned { address: u32, align: u32 },
    #[error("{0} tensor copies are not executed yet")]
    Unsupported(&'static str),
}

/// Where a box may begin in shared memory.
pub const BOX_ALIGN: u32 = 128;

/// Visits the runs of one box in the order of shared memory (before swizzling). `shared` is where the box begins.
pub fn walk(map: &TensorMap, at: &[i32], shared: u32, mut visit: impl FnMut(Run)) -> Result<(), TmaError> {
    let rank = map.rank();
    if at.len() != rank {
        return Err(TmaError::Coordinates { got: at.len(), rank });
    }
    if map.interleave() != Interleave::None {
        return Err(TmaError::Unsupported("interleaved"));
    }
    if !shared.is_multiple_of(BOX_ALIGN) {
        return Err(TmaError::Misaligned { address: shared, align: BOX_ALIGN });
    }
    let rows: u32 = (1..rank).map(|d| map.count(d)).product();
    for row in 0..rows {
        let start = shared.wrapping_add(row * map.row_pitch());
        visit_row(map, at[0], row_address(map, at, row), start, &mut visit);
    }
    Ok(())
}

/// Global address of element 0 of a row of the box; `None` if the whole row is outside.
fn row_address(map: &TensorMap, at: &[i32], row: u32) -> Option<u64> {
    let mut rest = row;
    let mut address = map.address();
    for (dim, &at) in at.iter().enumerate().skip(1) {
        let count = map.count(dim);
        let position = at as i64 + (rest % count) as i64 * map.element_stride(dim) as i64;
        rest /= count;
        if position < 0 || position as u64 >= map.dims()[dim] {
            return None;
        }
        address = address.wrapping_add(position as u64 * map.strides()[dim - 1]);
    }
    Some(address)
}

/// One row: before the tensor, inside, after it; each cut into chunks where a swizzle moves them.
fn visit_row(map: &TensorMap, x: i32, row: Option<u64>, start: u32, visit: &mut impl FnMut(Run)) {
    let size = map.element().bytes() as i64;
    let count = map.count(0) as i64;
    let inside = |edge: i64| (edge - x as i64).clamp(0, count);
    let (first, last) = match row {
        Some(_) => (inside(0), inside(map.dims()[0] as i64)),
        None => (0, 0),
    };
    for (from, to, is_inside) in [(0, first, false), (first, last, true), (last, count, false)] {
        let mut byte = from * size;
        while byte < to * size {
            let limit = if map.swizzle() == Swizzle::None { to * size } else { (byte / 16 + 1) * 16 };
            let bytes = (limit.min(to * size) - byte) as u32;
            let global =
                row.filter(|_| is_inside).map(|base| base.wrapping_add_signed(x as i64 * size + byte));
            let shared = map.swizzle().apply(start.wrapping_add(byte as u32));
            visit(Run { shared, bytes, global });
            byte += bytes as i64;
        }
    }
}

/// What `bytes` bytes outside the tensor arrive as. Runs begin and end between elements.
pub fn fill(map: &TensorMap, bytes: u32) -> Vec<u8> {
    let size = map.element().bytes() as usize;
    let element = match map.fill() {
        Fill::Zero => [0; 8],
        Fill::Nan => map.element().nan().to_le_bytes(),
    };
    element[..size].iter().copied().cycle().take(bytes as usize).collect()
}

/// What an element type makes of the 32-bit words it copies: the `.ftz` types flush denormals. (tf32 is rounded by
/// whoever multiplies it.)
pub fn arrive(element: ElementType, word: u32) -> u32 {
    let flushes = matches!(element, ElementType::F32Ftz | ElementType::Tf32Ftz);
    if flushes && word & 0x7f80_0000 == 0 { word & 0x8000_0000 } else { word }
}

/// Extents of the box as its dimensions, for messages.
pub fn box_text(map: &TensorMap) -> String {
    let extents: Vec<String> = (0..map.rank().min(MAX_RANK)).map(|d| map.count(d).to_string()).collect();
    extents.join(" × ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tile_machine::tensor_map::Spec;

    fn runs(map: &TensorMap, at: &[i32], shared: u32) -> Vec<Run> {
        let mut out = vec![];
        walk(map, at, shared, |r| out.push(r)).unwrap();
        out
    }

    fn example() -> TensorMap {
        TensorMap::new(Spec {
            address: 0x10000,
            dims: &[48, 100],
            strides: &[128],
            box_dims: &[32, 16],
            element_strides: &[1, 1],
            ..Spec::new(ElementType::Bf16)
        })
        .unwrap()
    }

    #[test]
    fn the_worked_example() {
        let all = runs(&example(), &[32, 96], 0x1000);
        assert_eq!(all[0], Run { shared: 0x1000, bytes: 32, global: Some(0x10000 + 96 * 128 + 64) });
        assert_eq!(all[1], Run { shared: 0x1020, bytes: 32, global: None });
        // Rows 96–99 in two runs, the 12 rows outside in one each.
        assert_eq!(all.len(), 4 * 2 + 12);
        assert_eq!(all.iter().map(|r| r.bytes).sum::<u32>() as u64, example().box_bytes());
    }

    #[test]
    fn before_the_tensor() {
        let all = runs(&example(), &[-8, -1], 0);
        assert_eq!(all[0], Run { shared: 0, bytes: 64, global: None });
        assert_eq!(all[1], Run { shared: 64, bytes: 16, global: None });
        assert_eq!(all[2], Run { shared: 80, bytes: 48, global: Some(0x10000) });
        // Far away nothing overflows.
        for far in [i32::MIN, i32::MAX] {
            assert!(runs(&example(), &[far, far], 0).iter().all(|r| r.global.is_none()));
        }
    }

    /// Byte by byte against the definition: element coordinates, strides, and the address map of each byte.
    #[test]
    fn every_rank_and_swizzle_against_the_definition() {
        let dims = [24u64, 5, 3, 4, 2];
        let strides = [64u64, 64 * 7, 64 * 7 * 3, 64 * 7 * 3 * 5];
        let boxes = [16u32, 3, 2, 3, 2];
        let steps = [1u32, 2, 1, 2, 1];
        for rank in 1..=5 {
            for swizzle in Swizzle::ALL {
                let box_dims: Vec<u32> = (0..rank)
                    .map(|d| if d == 0 { boxes[0].min(swizzle.width() / 2 * 8) } else { boxes[d] })
                    .map(|e| if swizzle == Swizzle::B32 { e.min(16) } else { e })
                    .collect();
                let map = TensorMap::new(Spec {
                    address: 0x1000,
                    dims: &dims[..rank],
                    strides: &strides[..rank - 1],
                    box_dims: &box_dims,
                    element_strides: &steps[..rank],
                    swizzle,
                    ..Spec::new(ElementType::F16)
                })
                .unwrap();
                let at: Vec<i32> = [12, -1, 1, 2, 1][..rank].to_vec();
                let mut seen = std::collections::HashMap::new();
                for run in runs(&map, &at, 0x800) {
                    for n in 0..run.bytes {
                        let twice = seen.insert(run.shared + n, run.global.map(|g| g + n as u64));
                        assert!(twice.is_none(), "two runs on one byte");
                    }
                }
                let counts: Vec<u32> = (0..5).map(|d| if d < rank { map.count(d) } else { 1 }).collect();
                let total: u32 = counts.iter().product();
                for element in 0..total {
                    let (mut rest, mut index, mut outside) = (element, 0x1000u64, false);
                    let mut row = 0;
                    let mut scale = 1;
                    for d in 0..rank {
                        let i = rest % counts[d];
                        rest /= counts[d];
                        let c = at[d] as i64 + i as i64 * if d == 0 { 1 } else { steps[d] as i64 };
                        outside |= c < 0 || c >= dims[d] as i64;
                        let stride = if d == 0 { 2 } else { strides[d - 1] };
                        index = index.wrapping_add_signed(c * stride as i64);
                        if d > 0 {
                            row += i * scale;
                            scale *= counts[d];
                        }
                    }
                    let pitch = if swizzle == Swizzle::None { counts[0] * 2 } else { swizzle.width() };
                    for byte in 0..2 {
                        let linear = 0x800 + row * pitch + element % counts[0] * 2 + byte;
                        let want = (!outside).then_some(index + byte as u64);
                        assert_eq!(seen[&swizzle.apply(linear)], want, "{rank} {swizzle:?} {element}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_refused() {
        let none = |_: Run| {};
        assert_eq!(walk(&example(), &[0], 0, none), Err(TmaError::Coordinates { got: 1, rank: 2 }));
        assert_eq!(
            walk(&example(), &[0, 0], 64, none),
            Err(TmaError::Misaligned { address: 64, align: 128 })
        );
        let interleaved = TensorMap::new(Spec {
            dims: &[16, 16, 16],
            strides: &[32, 512],
            box_dims: &[16, 1, 1],
            element_strides: &[1; 3],
            interleave: Interleave::B16,
            ..Spec::new(ElementType::F16)
        });
        assert_eq!(
            walk(&interleaved.unwrap(), &[0, 0, 0], 0, none),
            Err(TmaError::Unsupported("interleaved"))
        );
    }

    #[test]
    fn fills_and_denormals() {
        assert_eq!(fill(&example(), 4), [0; 4]);
        let nan = Spec {
            dims: &[64],
            box_dims: &[64],
            element_strides: &[1],
            fill: Fill::Nan,
            ..Spec::new(ElementType::F16)
        };
        assert_eq!(fill(&TensorMap::new(nan).unwrap(), 4), [0xff, 0x7f, 0xff, 0x7f]);
        assert_eq!(arrive(ElementType::F32Ftz, 0x8000_0001), 0x8000_0000);
        assert_eq!(arrive(ElementType::F32, 0x8000_0001), 0x8000_0001);
    }
}
