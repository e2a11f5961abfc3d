//! Shared memory: operands of dots, and conversions between layouts.
//!
//! An operand lies swizzled ([`tile_layout::shared`]): chunk `c` of row `r` is kept at `c ^ f(r)`. With the row and the
//! chunk each split into a thread's part and a register's constant, which never share bits, the address is
//!
//! ```text
//! (thread row * pitch + ((thread chunk ^ f(thread row)) << 4) + byte in chunk)     one number per thread
//!   ^ ((constant chunk & mask ^ f(constant row)) << 4)                             at most mask + 1 numbers
//!   + constant row * pitch + (constant chunk & !mask) << 4                         an immediate
//! ```
//!
//! Where a tile has several panels, the chunk is counted within its panel, and both parts add their panels' bytes.

use super::{Emission, Emit, place::Copies, register_type};
use crate::text::{Ty, V};
use tile_base::DType;
use tile_graph::NodeId;
use tile_layout::{Layout, SharedLayout, shared::CHUNK};
use tile_plan::{BufferId, Slot, Staging};

/// A position in two parts: what the thread adds, and a constant. Bits of the two are disjoint.
#[derive(Clone, Copy)]
pub(super) struct Position {
    pub thread: V,
    pub constant: u32,
}

impl Emit<'_> {
    /// Address of an element of a staged tile; `at` in the dimensions of the staged value.
    pub(super) fn staged_address(&mut self, staging: &Staging, at: [Position; 2]) -> V {
        let place = &staging.place;
        let base = self.plan.buffers[staging.buffer].offset;
        let (row, column) = (at[1 - place.fast], at[place.fast]);
        let (thread, flip, constant) = self.swizzled(place, row, column);
        let flip = self.t.i32(i64::from(flip));
        let offset = self.t.int_op("xor", thread, flip);
        let mut pointer = self.t.offset(self.shared, offset);
        if let Some(&half) = self.halves.get(&staging.buffer) {
            pointer = self.t.offset(pointer, half);
        }
        let constant = self.t.i32(i64::from(base + constant));
        self.t.offset(pointer, constant)
    }

    fn swizzled(&mut self, place: &SharedLayout, row: Position, column: Position) -> (V, u32, u32) {
        let t = &mut self.t;
        let bytes = t.mul_const(column.thread, i64::from(place.element));
        let four = t.i32(4);
        let chunk = t.int_op("lshr", bytes, four);
        let (panel, chunk) = match place.panels() {
            1 => (t.i32(0), chunk),
            _ => {
                let (shift, low) = (t.i32(i64::from(place.panel.ilog2())), t.i32(i64::from(place.panel - 1)));
                let panel = t.int_op("lshr", chunk, shift);
                let panel = t.mul_const(panel, i64::from(place.panel_bytes()));
                (panel, t.int_op("and", chunk, low))
            }
        };
        let low = t.i32(i64::from(CHUNK - 1));
        let within = t.int_op("and", bytes, low);
        let shift = t.i32(i64::from(place.shift));
        let turned = t.int_op("lshr", row.thread, shift);
        let mask = t.i32(i64::from(place.mask));
        let turned = t.int_op("and", turned, mask);
        let chunk = t.int_op("xor", chunk, turned);
        let chunk = t.int_op("shl", chunk, four);
        let rows = t.mul_const(row.thread, i64::from(place.pitch));
        let sum = t.add(rows, chunk);
        let sum = t.add(sum, panel);
        let thread = t.add(sum, within);
        let constant_bytes = column.constant * place.element;
        let (panel, chunk) = (constant_bytes / CHUNK / place.panel, constant_bytes / CHUNK % place.panel);
        let flip = ((chunk & place.mask) ^ place.swizzle(row.constant)) * CHUNK;
        let constant = panel * place.panel_bytes()
            + row.constant * place.pitch
            + (chunk & !place.mask) * CHUNK
            + constant_bytes % CHUNK;
        (thread, flip, constant)
    }

    /// Writes the operands that must outlive a loop, right after the node that makes them.
    pub(super) fn keep_after(&mut self, node: NodeId) -> Emission<()> {
        let kept: Vec<Staging> =
            tile_plan::memory::kept_after(&self.plan.dots, node).into_iter().cloned().collect();
        for staging in kept {
            self.barrier(node, Slot::Keep(staging.buffer));
            self.stage(node, &staging)?;
            self.arrived(&staging);
        }
        Ok(())
    }

    /// Writes a value to its place in shared memory, or has it written.
    pub(super) fn stage(&mut self, node: NodeId, staging: &Staging) -> Emission<()> {
        match (staging.mbarrier, staging.ahead) {
            (Some(_), Some(_)) => return Ok(()),
            (Some(number), None) => {
                let (always, turn) = (self.t.int(Ty::I1, 1), self.turns[number]);
                return self.fetch(node, staging, always, turn, None);
            }
            (None, _) => {}
        }
        let value = staging.source;
        let layout = self.layout(value)?;
        let mut registers = self.registers(node, value)?;
        let dtype = self.g.type_of(value).dtype;
        let zero = match register_type(dtype).is_float() {
            true => self.t.float(registers[0].ty, 0.0),
            false => self.t.int(registers[0].ty, 0),
        };
        if let Some(dim) = staging.clear.filter(|&dim| !self.zero_past_end.contains(&(value, dim))) {
            registers = self.cleared(node, value, &layout, &registers, dim, zero)?;
        }
        // A depth is whole instructions deep, and the value may be less: who writes an element writes the zeros behind it.
        let behind = staging.clear.map(|dim| {
            let depth = if dim == staging.place.fast { staging.place.columns } else { staging.place.rows };
            (dim, depth, layout.coverage(dim))
        });
        let thread = [self.thread_part(&layout, 0), self.thread_part(&layout, 1)];
        let run = (layout.contiguous(staging.place.fast)).min(CHUNK / staging.place.element) as usize;
        self.once_among_holders(Copies::of(&layout), |e| {
            for r in (0..layout.registers()).step_by(run) {
                let at = layout.register_offset(r);
                let mut at = [0, 1].map(|d| Position { thread: thread[d], constant: at[d] });
                let pointer = e.staged_address(staging, at);
                // Converted where it is written, so that few wide registers are alive at once.
                let values = e.fed(registers[r..r + run].to_vec(), dtype);
                e.write_shared(pointer, &values);
                let Some((dim, depth, covered)) = behind else { continue };
                let first = at[dim].constant + covered;
                for place in (first..depth).step_by(covered as usize) {
                    at[dim].constant = place;
                    let pointer = e.staged_address(staging, at);
                    let zeros = e.fed(vec![zero; run], dtype);
                    e.write_shared(pointer, &zeros);
                }
            }
        });
        Ok(())
    }

    /// Neighbouring elements with one instruction; together at most 16 bytes, aligned to their size.
    pub(super) fn write_shared(&mut self, pointer: V, values: &[V]) {
        let values: Vec<V> = values
            .iter()
            .map(|&v| if v.ty == Ty::I1 { self.t.convert("zext", v, Ty::I8) } else { v })
            .collect();
        let ty = values[0].ty;
        let bytes = size(ty) * values.len();
        match &values[..] {
            [one] => self.t.effect(&format!(
                "llvm.store {one}, {pointer} {{alignment = {bytes} : i64}} : {ty}, !llvm.ptr<3>"
            )),
            many if bytes > 4 && size(ty) < 4 => {
                let words: Vec<V> = many.chunks(4 / size(ty)).map(|c| self.pack(c)).collect();
                let whole = self.t.vector(&words);
                let n = words.len();
                let vector = if n == 1 { "i32".into() } else { format!("vector<{n}xi32>") };
                self.t.effect(&format!(
                    "llvm.store {whole}, {pointer} {{alignment = {bytes} : i64}} : {vector}, !llvm.ptr<3>"
                ));
            }
            many => {
                let whole = self.t.vector(many);
                let n = many.len();
                self.t.effect(&format!(
                    "llvm.store {whole}, {pointer} {{alignment = {bytes} : i64}} : vector<{n}x{ty}>, !llvm.ptr<3>"
                ));
            }
        }
    }

    /// `count` neighbouring elements of a dtype.
    pub(super) fn read_shared(&mut self, pointer: V, ty: Ty, count: usize) -> Vec<V> {
        let stored = if ty == Ty::I1 { Ty::I8 } else { ty };
        let bytes = size(stored) * count;
        let loaded = match count {
            1 => vec![self.t.pinned(
                &format!("llvm.load {pointer} {{alignment = {bytes} : i64}} : !llvm.ptr<3> -> {stored}"),
                stored,
            )],
            n => {
                let text = format!(
                    "llvm.load {pointer} {{alignment = {bytes} : i64}} : !llvm.ptr<3> -> vector<{n}x{stored}>"
                );
                let whole = self.t.pinned(&text, stored);
                self.t.lanes(whole, stored, n)
            }
        };
        match ty {
            Ty::I1 => {
                let zero = self.t.int(Ty::I8, 0);
                loaded.into_iter().map(|v| self.t.icmp("ne", v, zero)).collect()
            }
            _ => loaded,
        }
    }

    // ---- conversions: dense, row-major

    fn dense_base(&mut self, buffer: BufferId, extents: &[u32], layout: &Layout, bytes: u32) -> V {
        let mut offset = self.t.i32(0);
        for d in 0..layout.rank() {
            let part = self.thread_part(layout, d);
            let stride: u32 = extents[d + 1..].iter().product::<u32>() * bytes;
            let part = self.t.mul_const(part, i64::from(stride));
            offset = self.t.add(offset, part);
        }
        let base = self.t.offset(self.shared, offset);
        let at = self.t.i32(i64::from(self.plan.buffers[buffer].offset));
        self.t.offset(base, at)
    }

    fn dense_constant(extents: &[u32], at: &[u32], bytes: u32) -> i64 {
        let linear = at.iter().zip(extents).fold(0u32, |sum, (&a, &e)| sum * e + a);
        i64::from(linear * bytes)
    }

    pub(super) fn write_dense(
        &mut self,
        buffer: BufferId,
        extents: &[u32],
        layout: &Layout,
        registers: &[V],
    ) {
        let bytes = size(registers[0].ty) as u32;
        let base = self.dense_base(buffer, extents, layout, bytes);
        self.once_among_holders(Copies::of(layout), |e| {
            for (r, &v) in registers.iter().enumerate() {
                let constant = e.t.i32(Self::dense_constant(extents, &layout.register_offset(r), bytes));
                let pointer = e.t.offset(base, constant);
                e.write_shared(pointer, &[v]);
            }
        });
    }

    pub(super) fn read_dense(
        &mut self,
        buffer: BufferId,
        extents: &[u32],
        layout: &Layout,
        ty: Ty,
    ) -> Vec<V> {
        let bytes = size(ty) as u32;
        let base = self.dense_base(buffer, extents, layout, bytes);
        (0..layout.registers())
            .flat_map(|r| {
                let constant = self.t.i32(Self::dense_constant(extents, &layout.register_offset(r), bytes));
                let pointer = self.t.offset(base, constant);
                self.read_shared(pointer, ty, 1)
            })
            .collect()
    }
}

/// Bytes of a register in shared memory.
pub(super) fn size(ty: Ty) -> usize {
    match ty {
        Ty::I1 | Ty::I8 => 1,
        Ty::I16 | Ty::F16 | Ty::Bf16 => 2,
        Ty::I32 | Ty::F32 | Ty::Shared | Ty::Cluster => 4,
        Ty::I64 | Ty::F64 | Ty::Global | Ty::Generic => 8,
    }
}

/// Whether `ldmatrix` can move elements of a dtype.
pub(super) fn is_half(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::Bf16)
}
