//! Dots: `mma.sync` for what the tensor cores take, multiply-adds for the rest.
//!
//! The loop nest of the tensor path is `depth step, row tile, column tile`, fully unrolled: each left fragment of a
//! depth step is read once and used for all column tiles, each right fragment for all row tiles. 16-bit operands come
//! by `ldmatrix` (four 8 x 8 matrices at a time; `.trans` where the tile lies the other way), tf32 by plain reads.
//!
//! Multiply-adds run over the depth in a real loop, four products deep.

use super::{
    Emission, Emit, register_type,
    staging::{Position, is_half},
};
use crate::text::{Ty, V};
use std::collections::BTreeSet;
use tile_base::DType;
use tile_graph::NodeId;
use tile_layout::{Layout, fragment};
use tile_plan::{Dot, Instruction, Operand, Slot, Staging, Written, dots::fed};
use tile_target::MmaShape;

impl Emit<'_> {
    /// The registers of the result; the addend's where the addition is fused.
    pub(super) fn dot(&mut self, node: NodeId, dot: &Dot) -> Emission<Vec<V>> {
        let ty = self.g.node(node).outputs[0].dtype;
        let start = match dot.addend {
            Some(addend) => {
                let port = self.g.inputs(dot.at).iter().position(|&v| v == addend).unwrap_or(0);
                self.input(dot.at, port as u32)?
            }
            None => {
                let zero = self.zero(ty);
                vec![zero; dot.layout.registers()]
            }
        };
        for (at, operand) in [&dot.lhs, &dot.rhs].into_iter().enumerate() {
            if let Operand::Shared(s) = operand
                && s.written == Written::Before(node)
            {
                self.barrier(dot.at, Slot::Stage(at as u32));
                self.stage(dot.at, s)?;
            }
        }
        // Both copies are on their way before the first is waited for.
        for operand in [&dot.lhs, &dot.rhs] {
            if let Operand::Shared(s) = operand
                && s.written == Written::Before(node)
            {
                self.arrived(s);
            }
        }
        self.barrier(dot.at, Slot::Dot);
        match dot.instruction {
            Instruction::Mma(shape) => self.mma(node, dot, shape, start),
            Instruction::MultiplyAdd => self.multiply_add(node, dot, start),
        }
    }

    /// Registers of an operand as its instruction takes them.
    pub(super) fn fed(&mut self, registers: Vec<V>, dtype: DType) -> Vec<V> {
        self.cast_small_floats(&registers, dtype, fed(dtype)).unwrap_or(registers)
    }

    fn zero(&mut self, dtype: DType) -> V {
        let ty = register_type(dtype);
        if ty.is_float() { self.t.float(ty, 0.0) } else { self.t.int(ty, 0) }
    }

    // ---- tensor cores

    fn mma(&mut self, node: NodeId, dot: &Dot, shape: MmaShape, mut acc: Vec<V>) -> Emission<Vec<V>> {
        let rows = tiles(&dot.layout, 0, 16);
        let columns = tiles(&dot.layout, 1, 8);
        let held = match &dot.lhs {
            Operand::Registers { value, layout, map, clear } => {
                Some(self.held_operand(node, *value, layout, map, *clear)?)
            }
            Operand::Shared(_) => None,
        };
        for k in (0..dot.size[2]).step_by(shape.k as usize) {
            let rhs = self.rhs_fragments(node, dot, shape, &columns, k)?;
            for &row in &rows {
                let a = match (&dot.lhs, &held) {
                    (Operand::Registers { layout, .. }, Some(held)) => {
                        self.held_fragment(node, layout, held, row, k, shape)?
                    }
                    (Operand::Shared(s), _) => self.lhs_fragment(node, dot, s, shape, row, k)?,
                    _ => return Err(self.bug(node, "an operand without source")),
                };
                for (&column, b) in columns.iter().zip(&rhs) {
                    let at = accumulators(&dot.layout, row, column)
                        .ok_or_else(|| self.bug(node, "no accumulator"))?;
                    let c = at.map(|r| acc[r]);
                    let d = self.mma_sync(shape, &a, b, &c);
                    at.iter().zip(d).for_each(|(&r, v)| acc[r] = v);
                }
            }
        }
        Ok(acc)
    }

    fn mma_sync(&mut self, shape: MmaShape, a: &[V], b: &[V], c: &[V]) -> Vec<V> {
        let list = |vs: &[V]| crate::text::lists(vs).0;
        let (kind, operand) = match shape.operand {
            DType::F16 => (String::new(), "vector<2xf16>"),
            DType::Bf16 => (types("bf16"), "i32"),
            _ => (types("tf32"), "i32"),
        };
        let text = format!(
            "nvvm.mma.sync A[{}] B[{}] C[{}] {{layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>{kind}, shape = #nvvm.shape<m = {}, n = {}, k = {}>}} : ({operand}, {operand}, f32) -> !llvm.struct<(f32, f32, f32, f32)>",
            list(a),
            list(b),
            list(c),
            shape.m,
            shape.n,
            shape.k
        );
        self.t.pinned_fields(&text, Ty::F32, 4)
    }

    /// Words of an operand as the instruction takes them.
    fn word(&mut self, word: V, dtype: DType) -> V {
        match dtype {
            DType::F16 => {
                self.t.pure(format!("llvm.bitcast {word} : i32 to vector<2xf16>"), &[word], Ty::I32)
            }
            _ => word,
        }
    }

    /// The value's registers in the order of the operand's layout, 0 past the end of the depth.
    fn held_operand(
        &mut self,
        node: NodeId,
        value: tile_graph::Value,
        layout: &Layout,
        map: &[usize],
        clear: Option<usize>,
    ) -> Emission<Vec<V>> {
        let registers = self.registers(node, value)?;
        let dtype = self.g.type_of(value).dtype;
        let registers = self.fed(map.iter().map(|&r| registers[r]).collect(), dtype);
        match clear.filter(|&dim| !self.zero_past_end.contains(&(value, dim))) {
            Some(dim) => {
                let zero = self.zero(fed(dtype));
                self.cleared(node, value, layout, &registers, dim, zero)
            }
            None => Ok(registers),
        }
    }

    fn held_fragment(
        &mut self,
        node: NodeId,
        layout: &Layout,
        held: &[V],
        row: u32,
        k: u32,
        shape: MmaShape,
    ) -> Emission<Vec<V>> {
        let dtype = shape.operand;
        let find = |e: &Self, at: [u32; 2]| {
            layout
                .find_register(&at)
                .map(|r| held[r])
                .ok_or_else(|| e.bug(node, "a fragment outside its operand"))
        };
        let mut words = vec![];
        if shape.k == 16 {
            for at in [[row, k], [row + 8, k], [row, k + 8], [row + 8, k + 8]] {
                let pair = [find(self, at)?, find(self, [at[0], at[1] + 1])?];
                let word = self.pack(&pair);
                words.push(self.word(word, dtype));
            }
        } else {
            for at in [[row, k], [row + 8, k], [row, k + 4], [row + 8, k + 4]] {
                let v = find(self, at)?;
                words.push(self.t.convert("bitcast", v, Ty::I32));
            }
        }
        Ok(words)
    }

    /// `warp` along rows or along columns of the dot's warp grid.
    fn warp_in_grid(&mut self, dot: &Dot, along_rows: bool) -> V {
        let (m, n) = dot.warps;
        let (shift, count) = if along_rows { (0, m) } else { (m.ilog2(), n) };
        let shift = self.t.i32(i64::from(shift));
        let moved = self.t.int_op("lshr", self.warp, shift);
        let mask = self.t.i32(i64::from(count - 1));
        self.t.int_op("and", moved, mask)
    }

    fn lane_bits(&mut self, shift: i64, mask: i64, times: i64) -> V {
        let (s, m) = (self.t.i32(shift), self.t.i32(mask));
        let moved = self.t.int_op("lshr", self.lane, s);
        let bits = self.t.int_op("and", moved, m);
        self.t.mul_const(bits, times)
    }

    /// Address of an element of an operand, its dimensions in the operand's order.
    fn operand_address(&mut self, s: &Staging, at: [Position; 2]) -> V {
        let mut source = at;
        source[s.order[0]] = at[0];
        source[s.order[1]] = at[1];
        self.staged_address(s, source)
    }

    /// Puts a free and a depth position into the operand's order.
    fn ordered(node_axes_k: usize, free: Position, depth: Position) -> [Position; 2] {
        if node_axes_k == 1 { [free, depth] } else { [depth, free] }
    }

    fn k_axes(&self, node: NodeId) -> (usize, usize) {
        match &self.g.node(node).op {
            tile_graph::Op::Dot(d) => (d.lhs_k as usize, d.rhs_k as usize),
            _ => (1, 0),
        }
    }

    fn lhs_fragment(
        &mut self,
        node: NodeId,
        dot: &Dot,
        s: &Staging,
        shape: MmaShape,
        row: u32,
        k: u32,
    ) -> Emission<Vec<V>> {
        let (k_axis, _) = self.k_axes(node);
        let dtype = shape.operand;
        let warp = self.warp_in_grid(dot, true);
        let warp_rows = self.t.mul_const(warp, 16);
        if !is_half(dtype) {
            let layout = fragment::lhs(16, shape.k, shape.k, 1, 1);
            return self.plain_fragment(s, &layout, k_axis, (warp_rows, row), k);
        }
        let depth_fast = s.order[k_axis] == s.place.fast;
        // Matrices: rows 0..8, rows 8..16, then the same eight deeper.
        let (lane_row, lane_k) = match depth_fast {
            true => (self.lane_bits(0, 15, 1), self.lane_bits(4, 1, 8)),
            false => {
                let (low, high) = (self.lane_bits(0, 7, 1), self.lane_bits(4, 1, 8));
                (self.lane_bits(3, 1, 8), self.t.add(low, high))
            }
        };
        let free = Position { thread: self.t.add(warp_rows, lane_row), constant: row };
        let depth = Position { thread: lane_k, constant: k };
        let pointer = self.operand_address(s, Self::ordered(k_axis, free, depth));
        let words = self.ldmatrix(pointer, 4, !depth_fast);
        Ok(words.into_iter().map(|w| self.word(w, dtype)).collect())
    }

    /// Right fragments of one depth step, for all column tiles.
    fn rhs_fragments(
        &mut self,
        node: NodeId,
        dot: &Dot,
        shape: MmaShape,
        columns: &[u32],
        k: u32,
    ) -> Emission<Vec<Vec<V>>> {
        let Operand::Shared(s) = &dot.rhs else { return Err(self.bug(node, "a right operand in registers")) };
        let (_, k_axis) = self.k_axes(node);
        let dtype = shape.operand;
        let warp = self.warp_in_grid(dot, false);
        let warp_columns = self.t.mul_const(warp, 16);
        if !is_half(dtype) {
            let layout = fragment::rhs(shape.k, 8, shape.k, 1, 1).relabel(&[Some(1), Some(0)]);
            return columns
                .iter()
                .map(|&column| self.plain_fragment(s, &layout, k_axis, (warp_columns, column), k))
                .collect();
        }
        let depth_fast = s.order[k_axis] == s.place.fast;
        // Matrices: depth 0..8 and 8..16 of one column tile, then of the next.
        let (lane_column, lane_k) = match depth_fast {
            true => {
                let (low, high) = (self.lane_bits(0, 7, 1), self.lane_bits(4, 1, 8));
                (self.t.add(low, high), self.lane_bits(3, 1, 8))
            }
            false => (self.lane_bits(4, 1, 8), self.lane_bits(0, 15, 1)),
        };
        let mut out = vec![];
        for pair in columns.chunks(2) {
            let free = Position { thread: self.t.add(warp_columns, lane_column), constant: pair[0] };
            let depth = Position { thread: lane_k, constant: k };
            let pointer = self.operand_address(s, Self::ordered(k_axis, free, depth));
            let neighbours = pair.len() == 2 && pair[1] == pair[0] + 8;
            if pair.len() == 2 && !neighbours {
                return Err(self.bug(node, "column tiles that are not neighbours"));
            }
            let words = self.ldmatrix(pointer, if neighbours { 4 } else { 2 }, !depth_fast);
            let words: Vec<V> = words.into_iter().map(|w| self.word(w, dtype)).collect();
            out.extend(words.chunks(2).map(<[V]>::to_vec));
        }
        Ok(out)
    }

    /// A fragment read element by element; `layout` over (free, depth).
    fn plain_fragment(
        &mut self,
        s: &Staging,
        layout: &Layout,
        k_axis: usize,
        (warp, free): (V, u32),
        k: u32,
    ) -> Emission<Vec<V>> {
        let lane_free = self.thread_part(layout, 0);
        let lane_k = self.thread_part(layout, 1);
        let ty = register_type(self.g.type_of(s.source).dtype);
        Ok((0..layout.registers())
            .map(|r| {
                let at = layout.register_offset(r);
                let free = Position { thread: self.t.add(warp, lane_free), constant: free + at[0] };
                let depth = Position { thread: lane_k, constant: k + at[1] };
                let pointer = self.operand_address(s, Self::ordered(k_axis, free, depth));
                let v = self.read_shared(pointer, ty, 1)[0];
                self.t.convert("bitcast", v, Ty::I32)
            })
            .collect())
    }

    fn ldmatrix(&mut self, pointer: V, count: usize, transposed: bool) -> Vec<V> {
        let layout = if transposed { "col" } else { "row" };
        let result = format!("!llvm.struct<({})>", vec!["i32"; count].join(", "));
        let text = format!(
            "nvvm.ldmatrix {pointer} {{num = {count} : i32, layout = #nvvm.mma_layout<{layout}>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>}} : (!llvm.ptr<3>) -> {result}"
        );
        self.t.pinned_fields(&text, Ty::I32, count)
    }

    // ---- multiply-adds

    fn multiply_add(&mut self, node: NodeId, dot: &Dot, acc: Vec<V>) -> Emission<Vec<V>> {
        let (Operand::Shared(lhs), Operand::Shared(rhs)) = (&dot.lhs, &dot.rhs) else {
            return Err(self.bug(node, "multiply-adds read both operands from shared memory"));
        };
        let accumulator = self.g.node(node).outputs[0].dtype;
        let operand = fed(self.g.type_of(self.g.inputs(node)[0]).dtype);
        let deep = if operand.bits() == 64 { 2 } else { 4 };
        let (lo, hi, step) = (self.t.i32(0), self.t.i32(i64::from(dot.size[2])), self.t.i32(deep));
        let (k, carried) = self.t.open_for((lo, hi, step), &acc);
        let (lhs_k, rhs_k) = self.k_axes(node);
        let a = self.strip(dot, lhs, 0, lhs_k, k, deep as u32)?;
        let b = self.strip(dot, rhs, 1, rhs_k, k, deep as u32)?;
        let mut acc = carried;
        let (rows, columns) = (offsets(&dot.layout, 0), offsets(&dot.layout, 1));
        for d in 0..deep as usize {
            let x: Vec<V> = a[d].iter().map(|&v| self.cast(v, operand, accumulator)).collect();
            let y: Vec<V> = b[d].iter().map(|&v| self.cast(v, operand, accumulator)).collect();
            for (i, &row) in rows.iter().enumerate() {
                for (j, &column) in columns.iter().enumerate() {
                    let r = dot
                        .layout
                        .find_register(&[row, column])
                        .ok_or_else(|| self.bug(node, "no accumulator"))?;
                    acc[r] = match acc[r].ty.is_float() {
                        true => self.t.fma(x[i], y[j], acc[r]),
                        false => {
                            let product = self.t.mul(x[i], y[j]);
                            self.t.add(acc[r], product)
                        }
                    };
                }
            }
        }
        Ok(self.t.close_for(&acc))
    }

    /// Elements of one operand for `deep` depths from `k`: by depth, then by the accumulator's rows (or columns).
    fn strip(
        &mut self,
        dot: &Dot,
        s: &Staging,
        dim: usize,
        k_axis: usize,
        k: V,
        deep: u32,
    ) -> Emission<Vec<Vec<V>>> {
        let thread = self.thread_part(&dot.layout, dim);
        let ty = register_type(fed(self.g.type_of(s.source).dtype));
        let free = offsets(&dot.layout, dim);
        let depth_fast = s.order[k_axis] == s.place.fast;
        let mut out: Vec<Vec<V>> = vec![vec![]; deep as usize];
        let most = 16 / s.place.element;
        if depth_fast {
            let run = deep.min(most);
            for &at in &free {
                for first in (0..deep).step_by(run as usize) {
                    let at = Position { thread, constant: at };
                    let depth = Position { thread: k, constant: first };
                    let pointer = self.operand_address(s, Self::ordered(k_axis, at, depth));
                    let read = self.read_shared(pointer, ty, run as usize);
                    read.into_iter().enumerate().for_each(|(n, v)| out[first as usize + n].push(v));
                }
            }
        } else {
            let run = dot.layout.contiguous(dim).min(most);
            for (d, row) in out.iter_mut().enumerate() {
                for &at in free.iter().step_by(run as usize) {
                    let at = Position { thread, constant: at };
                    let depth = Position { thread: k, constant: d as u32 };
                    let pointer = self.operand_address(s, Self::ordered(k_axis, at, depth));
                    row.extend(self.read_shared(pointer, ty, run as usize));
                }
            }
        }
        Ok(out)
    }
}

fn types(name: &str) -> String {
    format!(", multiplicandAPtxType = #nvvm.mma_type<{name}>, multiplicandBPtxType = #nvvm.mma_type<{name}>")
}

/// Register parts of the coordinates along one dimension, rounded down to tiles, each once.
fn tiles(layout: &Layout, dim: usize, tile: u32) -> Vec<u32> {
    let all: BTreeSet<u32> =
        (0..layout.registers()).map(|r| layout.register_offset(r)[dim] / tile * tile).collect();
    all.into_iter().collect()
}

fn offsets(layout: &Layout, dim: usize) -> Vec<u32> {
    tiles(layout, dim, 1)
}

/// The four accumulators of a thread in one 16 x 8 tile.
fn accumulators(layout: &Layout, row: u32, column: u32) -> Option<[usize; 4]> {
    Some([
        layout.find_register(&[row, column])?,
        layout.find_register(&[row, column + 1])?,
        layout.find_register(&[row + 8, column])?,
        layout.find_register(&[row + 8, column + 1])?,
    ])
}
