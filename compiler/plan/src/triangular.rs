//! Room for the inverse of a unit lower triangular matrix.
//!
//! All threads of a block work on one matrix through shared memory. It is put into a square whose side is a power of
//! two and at least one block of 16, so that halves of halves are whole blocks; rows are padded by 16 bytes, so that
//! neighbouring rows begin in other banks.
//!
//! ```text
//! chunk of 40 tokens, layouts that cover 48   side 64, row of 64 + 4 floats, 17,408 bytes
//! ```

use crate::plan::Buffer;
use tile_base::DType;
use tile_graph::{Graph, NodeId};
use tile_layout::Layout;

/// Side of the blocks that are inverted by substitution.
pub const BLOCK: u32 = 16;

/// Where the matrices of one operation lie.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Room {
    /// Rows and columns; a power of two.
    pub side: u32,
    /// Elements from one row to the next; rows begin at multiples of 16 bytes.
    pub pitch: u32,
    /// Bytes of an element: the arithmetic is in f32, of f64 in f64.
    pub element: u32,
    /// Covered positions along the axes before the last two; a matrix for each.
    pub batch: Vec<u32>,
}

impl Room {
    /// For an operand and a result in these layouts.
    pub fn of(dtype: DType, from: &Layout, to: &Layout) -> Room {
        let covered = |d: usize| from.coverage(d).max(to.coverage(d));
        let matrix = from.rank().saturating_sub(2);
        let side = (matrix..from.rank()).map(covered).max().unwrap_or(1).max(BLOCK).next_power_of_two();
        let element = if dtype == DType::F64 { 8 } else { 4 };
        Room { side, pitch: side + 16 / element, element, batch: (0..matrix).map(covered).collect() }
    }

    pub fn matrices(&self) -> u32 {
        self.batch.iter().product()
    }

    /// Bytes from one matrix to the next.
    pub fn matrix_bytes(&self) -> u32 {
        self.side * self.pitch * self.element
    }

    /// Bytes from one position to the next, for every dimension of the tile.
    pub fn strides(&self) -> Vec<u32> {
        let mut strides = vec![self.element, self.pitch * self.element];
        let mut next = self.matrix_bytes();
        for extent in self.batch.iter().rev() {
            strides.push(next);
            next *= extent;
        }
        strides.reverse();
        strides
    }

    pub fn buffer(&self, graph: &Graph, node: NodeId) -> Buffer {
        let name = format!("{}.inverse", graph.node(node).path.as_deref().unwrap_or("unit_lower_inv"));
        Buffer { name, bytes: self.matrices() * self.matrix_bytes(), ..Buffer::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tile_layout::fragment;

    #[test]
    fn the_worked_example() {
        let layout = fragment::accumulator(48, 48, 1, 1);
        let room = Room::of(DType::Bf16, &layout, &layout);
        assert_eq!((room.side, room.pitch, room.matrix_bytes()), (64, 68, 17_408));
        assert_eq!(room.strides(), [272, 4]);
    }

    #[test]
    fn one_matrix_for_each_position_of_the_axes_before() {
        let layout = fragment::accumulator(16, 8, 1, 1).relabel(&[None, Some(0), Some(1)]);
        let three = Layout { reps: vec![3, 1, 1], ..layout };
        let room = Room::of(DType::F64, &three, &three);
        assert_eq!((room.matrices(), room.side, room.pitch), (3, 16, 18));
        assert_eq!(room.strides(), [16 * 18 * 8, 18 * 8, 8]);
    }
}
