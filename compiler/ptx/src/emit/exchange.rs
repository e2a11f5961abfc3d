//! Arrays in shared memory (`tile_plan::exchange`): writing a tile to one, reading a tile from one, and the operations
//! that are no more than that: parts of an axis, joined axes, elements at run-time positions.
//!
//! A tile sees an array through a [`View`]: where it starts and how far apart the elements of each of the *tile's* axes
//! are. So every rearrangement is a choice of strides:
//!
//! ```text
//! slice  x[:, 3..8]            read at strides (row, 1), from element 3
//! split  [12] -> [4, 3]        read at strides (3, 1)
//! merge  [4, 3] -> [12]        written at strides (3, 1), read at stride 1
//! concat a, b along 0          b written from element a.len * row
//! ```

use super::{Emission, Emit, place::Copies, register_type, staging::size};
use crate::text::{Ty, V};
use tile_graph::{Axis, NodeId, Op, Value};
use tile_layout::Layout;
use tile_plan::{
    Slot,
    exchange::{self, Array, Exchange},
};

/// An array in the coordinates of a tile.
pub(super) struct View<'a> {
    pub array: &'a Array,
    /// Elements from one index of the tile to the next, per dimension.
    pub strides: Vec<u32>,
    /// The element at the tile's origin.
    pub start: u32,
}

impl<'a> View<'a> {
    /// The array as it is.
    pub fn whole(array: &'a Array) -> Self {
        View { array, strides: array.strides.clone(), start: 0 }
    }

    /// From position `lo` of an axis.
    fn from(array: &'a Array, axis: usize, lo: u32) -> Self {
        View { start: lo * array.strides[axis], ..Self::whole(array) }
    }

    /// Axis `axis` of the array as two, the second of `minor` elements.
    fn apart(array: &'a Array, axis: usize, minor: u32) -> Self {
        let mut view = Self::whole(array);
        view.strides[axis] *= minor;
        view.strides.insert(axis + 1, array.strides[axis]);
        view
    }

    /// The register's part of an element's number.
    fn constant(&self, at: &[u32]) -> i64 {
        let moved: u32 = at.iter().zip(&self.strides).map(|(a, s)| a * s).sum();
        i64::from(self.start + moved)
    }
}

impl<'a> Emit<'a> {
    /// What the plan gave an operation in shared memory.
    pub(super) fn exchange(&self, node: NodeId) -> Emission<&'a Exchange> {
        self.plan.exchanges.get(&node).ok_or_else(|| self.bug(node, "nothing in shared memory"))
    }

    pub(super) fn step_barrier(&mut self, node: NodeId, step: u32) {
        self.barrier(node, Slot::Step(step));
    }

    /// Address of an element of an array, by its number.
    pub(super) fn element(&mut self, array: &Array, number: V) -> V {
        let bytes = size(register_type(array.dtype)) as i64;
        let offset = self.t.mul_const(number, bytes);
        let pointer = self.t.offset(self.shared, offset);
        let base = self.t.i32(i64::from(self.plan.buffers[array.buffer].offset));
        self.t.offset(pointer, base)
    }

    pub(super) fn read_element(&mut self, array: &Array, number: V) -> V {
        let pointer = self.element(array, number);
        self.read_shared(pointer, register_type(array.dtype), 1)[0]
    }

    pub(super) fn write_element(&mut self, array: &Array, number: V, value: V) {
        let pointer = self.element(array, number);
        self.write_shared(pointer, &[value]);
    }

    /// The thread's part of the number of an element, along all dimensions but `without`.
    fn thread_number(&mut self, view: &View, layout: &Layout, without: Option<usize>) -> V {
        let mut number = self.t.i32(0);
        for d in (0..layout.rank()).filter(|&d| Some(d) != without) {
            let part = self.thread_part(layout, d);
            let part = self.t.mul_const(part, i64::from(view.strides[d]));
            number = self.t.add(number, part);
        }
        number
    }

    /// Writes a tile, each element by one of the threads that hold it; `bound`: only what lies below a position.
    pub(super) fn write_tile(
        &mut self,
        node: NodeId,
        view: &View,
        layout: &Layout,
        registers: &[V],
        bound: Option<(usize, u32)>,
    ) -> Emission<()> {
        let thread = self.thread_number(view, layout, None);
        let mut inside = vec![];
        for r in 0..registers.len() {
            inside.push(match bound {
                Some((d, n)) => {
                    let at = layout.register_offset(r)[d];
                    self.exists(node, layout, d, Axis::Fixed(u64::from(n)), at)?
                }
                None => None,
            });
        }
        self.once_among_holders(Copies::of(layout), |e| {
            for (r, &value) in registers.iter().enumerate() {
                let number = e.t.add_const(thread, view.constant(&layout.register_offset(r)));
                e.when(inside[r], |e| e.write_element(view.array, number, value));
            }
        });
        Ok(())
    }

    /// Reads a tile in a layout.
    pub(super) fn read_tile(&mut self, view: &View, layout: &Layout) -> Vec<V> {
        let thread = self.thread_number(view, layout, None);
        (0..layout.registers())
            .map(|r| {
                let number = self.t.add_const(thread, view.constant(&layout.register_offset(r)));
                self.read_element(view.array, number)
            })
            .collect()
    }

    /// Input `port` in the dtype of an array, written there.
    pub(super) fn write_input(&mut self, node: NodeId, port: u32, array: &Array) -> Emission<()> {
        let value = self.g.inputs(node)[port as usize];
        let (layout, dtype) = (self.input_layout(node, port)?, self.g.type_of(value).dtype);
        let registers = self.input(node, port)?;
        let registers: Vec<V> = registers.into_iter().map(|v| self.cast(v, dtype, array.dtype)).collect();
        self.write_tile(node, &View::whole(array), &layout, &registers, None)
    }

    /// Result `port` read from an array.
    pub(super) fn read_result(&mut self, node: NodeId, port: u32, array: &Array) -> Emission<Vec<V>> {
        let value = Value { node, port };
        let (layout, dtype) = (self.layout(value)?, self.g.type_of(value).dtype);
        let registers = self.read_tile(&View::whole(array), &layout);
        Ok(registers.into_iter().map(|v| self.cast(v, array.dtype, dtype)).collect())
    }

    // ---- parts of an axis

    /// A slice, a split or a merge that is no renaming of registers.
    pub(super) fn rearranged(&mut self, node: NodeId) -> Emission<Vec<V>> {
        let array = &self.exchange(node)?.arrays[0];
        let (from, to) = (self.input_layout(node, 0)?, self.layout(Value { node, port: 0 })?);
        let whole = View::whole(array);
        let second = |axis: usize| {
            let axes = &self.g.type_of(self.g.inputs(node)[0]).axes;
            axes.get(axis + 1).map_or(1, |&a| exchange::fixed(a))
        };
        let (written, read, bound) = match self.g.node(node).op {
            Op::Slice { axis, lo } => (whole, View::from(array, axis as usize, lo as u32), None),
            Op::Split { axis, minor } => (whole, View::apart(array, axis as usize, minor as u32), None),
            Op::Merge { axis } => {
                let minor = second(axis as usize);
                (View::apart(array, axis as usize, minor), whole, Some((axis as usize + 1, minor)))
            }
            _ => return Err(self.bug(node, "no rearrangement")),
        };
        let registers = self.input(node, 0)?;
        self.step_barrier(node, 0);
        self.write_tile(node, &written, &from, &registers, bound)?;
        self.step_barrier(node, 1);
        Ok(self.read_tile(&read, &to))
    }

    pub(super) fn concatenated(&mut self, node: NodeId, axis: usize) -> Emission<Vec<V>> {
        let array = &self.exchange(node)?.arrays[0];
        self.step_barrier(node, 0);
        let mut lo = 0;
        for (port, value) in self.g.inputs(node).into_iter().enumerate() {
            let length = exchange::fixed(self.g.type_of(value).axes[axis]);
            let (layout, registers) = (self.input_layout(node, port as u32)?, self.input(node, port as u32)?);
            let view = View::from(array, axis, lo);
            self.write_tile(node, &view, &layout, &registers, Some((axis, length)))?;
            lo += length;
        }
        self.step_barrier(node, 1);
        let layout = self.layout(Value { node, port: 0 })?;
        Ok(self.read_tile(&View::whole(array), &layout))
    }

    /// Elements at positions known only at run time. At -1, and at any position outside the axis, which the language
    /// forbids, there is 0. Positions that do not exist read the first element: registers past the end of their tile may
    /// hold what was never written, of which an address cannot be made.
    pub(super) fn taken(&mut self, node: NodeId, axis: usize) -> Emission<Vec<V>> {
        let array = &self.exchange(node)?.arrays[0];
        let index = self.g.inputs(node)[1];
        let positions = self.input(node, 1)?;
        let (by_position, positions) = match self.g.type_of(index).is_scalar() {
            true => (None, positions),
            false => {
                let (layout, zero) = (self.input_layout(node, 1)?, self.t.int(positions[0].ty, 0));
                let existing = self.cleared(node, index, &layout, &positions, 0, zero)?;
                (Some(layout), existing)
            }
        };
        let operand = self.g.type_of(self.g.inputs(node)[0]).axes[axis];
        let length = self.t.i32(i64::from(self.shapes().padded(operand)));
        self.step_barrier(node, 0);
        self.write_input(node, 0, array)?;
        self.step_barrier(node, 1);
        let (view, layout) = (View::whole(array), self.layout(Value { node, port: 0 })?);
        let thread = self.thread_number(&view, &layout, Some(axis));
        let mut out = vec![];
        for r in 0..layout.registers() {
            let mut at = layout.register_offset(r);
            let along = std::mem::replace(&mut at[axis], 0);
            let found = match &by_position {
                Some(layout) => layout.find_register(&[along]),
                None => Some(0),
            };
            let found = found.ok_or_else(|| self.bug(node, "an element without position"))?;
            let (position, inside) = self.position_within(positions[found], length);
            let moved = self.t.mul_const(position, i64::from(array.strides[axis]));
            let number = self.t.add(thread, moved);
            let number = self.t.add_const(number, view.constant(&at));
            let element = self.read_element(array, number);
            let none = match element.ty.is_float() {
                true => self.t.float(element.ty, 0.0),
                false => self.t.int(element.ty, 0),
            };
            out.push(self.t.select(inside, element, none));
        }
        Ok(out)
    }

    /// A position in 32 bits, 0 where it is not below `length`, and whether it is.
    fn position_within(&mut self, position: V, length: V) -> (V, V) {
        let wide = self.t.convert("sext", position, Ty::I64);
        let limit = self.t.convert("zext", length, Ty::I64);
        let inside = self.t.icmp("ult", wide, limit);
        let (narrow, zero) = (self.t.convert("trunc", wide, Ty::I32), self.t.i32(0));
        (self.t.select(inside, narrow, zero), inside)
    }
}
