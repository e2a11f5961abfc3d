//! Elements of 4 and 2 bits in memory: several to a byte, low bits first along the unit dimension.
//!
//! Where a vector of elements fills whole bytes it is moved as these bytes and taken apart in registers. A single
//! element is the byte that holds it, shifted:
//!
//! ```text
//! w[3, 5] of u4[8, 10], dense    element 35, byte 35 * 4 / 8 = 17, shift 35 * 4 % 8 = 4
//! ```
//!
//! A store always fills bytes (`tile_plan::legal::whole_bytes`): the other half of a byte may be another thread's.

use super::{Emission, Emit};
use crate::text::{Ty, V};
use tile_base::DType;
use tile_graph::{Access, CoordIndex, NodeId};
use tile_layout::Layout;

/// Where a vector of packed elements lies.
pub(super) struct PackedPlace {
    pub pointer: V,
    /// Bits to shift out below a single element; `None`: the vector fills whole bytes.
    pub shift: Option<V>,
}

impl Emit<'_> {
    /// Place of the vector at register `r`: `thread` and `gathers` as `thread_positions` gives them.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn packed_place(
        &mut self,
        node: NodeId,
        access: &Access,
        layout: &Layout,
        strides: &[V],
        thread: &[V],
        gathers: &[Option<Vec<V>>],
        (r, vector): (usize, usize),
    ) -> Emission<PackedPlace> {
        let at = layout.register_offset(r);
        let mut element = self.t.i64(0);
        for (d, coord) in access.coords.iter().enumerate() {
            let position = match (&coord.index, &gathers[d]) {
                (_, Some(positions)) => positions[r],
                (CoordIndex::Affine { terms, .. }, None) => {
                    let moved: i64 = terms.iter().map(|&(a, s)| i64::from(at[a as usize]) * s).sum();
                    self.t.add_const(thread[d], moved)
                }
                (CoordIndex::Gather { .. }, None) => return Err(self.bug(node, "a gather without positions")),
            };
            let part = self.t.mul(position, strides[d]);
            element = self.t.add(element, part);
        }
        let object = self.g.object(access.object);
        let bits = object.dtype.bits() as i64;
        let (pointer, _) = self.tensors[access.object.index()]
            .clone()
            .ok_or_else(|| self.bug(node, "an absent tensor is accessed"))?;
        let first = self.t.mul_const(element, bits);
        let three = self.t.i64(3);
        let byte = self.t.int_op("ashr", first, three);
        let shift = (!(vector * bits as usize).is_multiple_of(8)).then(|| {
            let low = self.t.i64(7);
            let shift = self.t.int_op("and", first, low);
            self.t.convert("trunc", shift, Ty::I8)
        });
        Ok(PackedPlace { pointer: self.t.offset(pointer, byte), shift })
    }

    pub(super) fn load_packed(
        &mut self,
        place: &PackedPlace,
        predicate: Option<V>,
        dtype: DType,
        count: usize,
        constant: bool,
    ) -> Vec<V> {
        let bits = dtype.bits();
        let bytes = (count * bits).div_ceil(8);
        let loaded = self.load_vector(place.pointer, predicate, DType::U8, bytes, constant);
        let per_byte = 8 / bits;
        let mut out = vec![];
        for byte in loaded {
            match place.shift {
                Some(shift) => {
                    let low = self.t.int_op("lshr", byte, shift);
                    out.push(self.field(low, 0, dtype));
                }
                None => out.extend((0..per_byte).map(|n| self.field(byte, n * bits, dtype))),
            }
        }
        out
    }

    /// The element that begins at a bit of a byte, with its sign where the dtype has one.
    pub(super) fn field(&mut self, byte: V, from: usize, dtype: DType) -> V {
        let bits = dtype.bits();
        let up = self.t.int(Ty::I8, (8 - bits - from) as i64);
        let down = self.t.int(Ty::I8, (8 - bits) as i64);
        let high = self.t.int_op("shl", byte, up);
        let op = if dtype.is_signed() { "ashr" } else { "lshr" };
        self.t.int_op(op, high, down)
    }

    /// Elements as the bytes that they fill.
    pub(super) fn packed_bytes(&mut self, elements: &[V], dtype: DType) -> Vec<V> {
        let bits = dtype.bits();
        let mask = self.t.int(Ty::I8, (1 << bits) - 1);
        elements
            .chunks(8 / bits)
            .map(|together| {
                let mut byte = self.t.int(Ty::I8, 0);
                for (n, &element) in together.iter().enumerate() {
                    let up = self.t.int(Ty::I8, (n * bits) as i64);
                    let field = self.t.int_op("and", element, mask);
                    let field = self.t.int_op("shl", field, up);
                    byte = self.t.int_op("or", byte, field);
                }
                byte
            })
            .collect()
    }
}
