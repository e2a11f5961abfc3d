//! Reductions along one axis: within the thread, over lanes by butterfly shuffles, over warps through shared memory.
//!
//! A register past the end of the axis holds the identity (0 for a sum, -inf for a max), put there before anything
//! is combined. All holders of a result end with the same bits: a butterfly gives every lane the same value because
//! the combination is commutative and nothing is contracted into it, and warps read the partial results in one order.

use super::{Emission, Emit, place::Copies, register_type, staging::size};
use crate::text::{Ty, V};
use tile_base::DType;
use tile_graph::{ElemOp, NodeId, ReduceKind};
use tile_layout::Layout;
use tile_plan::Slot;

/// A partial result: a value, and where it was found for argmax and argmin.
type Partial = Vec<V>;

impl Emit<'_> {
    pub(super) fn reduce(&mut self, node: NodeId, axis: usize, kind: ReduceKind) -> Emission<Vec<V>> {
        let operand = self.g.inputs(node)[0];
        let from = self.input_layout(node, 0)?;
        let dtype = self.g.type_of(operand).dtype;
        let work = match dtype {
            DType::F16 | DType::Bf16 => DType::F32,
            other => other,
        };
        let registers: Vec<V> = self.input(node, 0)?.into_iter().map(|v| self.cast(v, dtype, work)).collect();
        let identity = self.identity(kind, work);
        let cleared = match kind {
            ReduceKind::Sum if tile_plan_zero(self, operand, axis) => registers,
            _ => self.cleared(node, operand, &from, &registers, axis, identity)?,
        };
        let untouched = dtype == work && !self.plan.conversions.contains_key(&(node, 0));
        if kind == ReduceKind::Sum
            && untouched
            && self.g.node(node).region == self.g.node(operand.node).region
        {
            // What lies past the end is nobody's: from here on the value itself holds 0 there.
            self.values.insert(operand, cleared.clone());
            self.zero_past_end.insert((operand, axis));
        }
        let keep: Vec<bool> = (0..from.rank()).map(|d| d != axis).collect();
        let to = from.project(&keep);
        let mut partials = self.within_thread(&from, &to, axis, kind, work, &cleared);
        let whole = by_one_instruction(&from, axis, kind, work);
        if whole {
            partials = partials.iter().map(|p| vec![self.redux(kind, p[0])]).collect();
        }
        for (bit, basis) in from.lane.iter().enumerate() {
            if basis[axis] != 0 && !whole {
                for partial in &mut partials {
                    let other: Partial = partial.iter().map(|&v| self.shuffle(v, 1 << bit)).collect();
                    *partial = self.combine_lanes(kind, work, partial, &other);
                }
            }
        }
        if let Some(&buffer) = self.plan.cross_warp.get(&node) {
            self.barrier(node, Slot::Partial);
            partials = self.over_warps(node, buffer, &from, &to, axis, kind, work, &partials);
        }
        let result = if matches!(kind, ReduceKind::ArgMax | ReduceKind::ArgMin) { 1 } else { 0 };
        let out = self.g.node(node).outputs[0].dtype;
        Ok(partials
            .into_iter()
            .map(|p| match result {
                1 => self.t.convert("sext", p[1], Ty::I64),
                _ => self.cast(p[0], work, out),
            })
            .collect())
    }

    /// The least or greatest value of all lanes.
    fn redux(&mut self, kind: ReduceKind, v: V) -> V {
        let all = self.t.i32(-1);
        let word = if kind == ReduceKind::Min { "min" } else { "max" };
        self.t.pinned(&format!("nvvm.redux.sync {word} {v}, {all} : i32 -> i32"), Ty::I32)
    }

    /// What changes nothing when combined with.
    pub(super) fn identity(&mut self, kind: ReduceKind, dtype: DType) -> V {
        use ReduceKind::*;
        let ty = register_type(dtype);
        let (lo, hi) = dtype.int_range().unwrap_or((0, 1));
        match (kind, ty.is_float()) {
            (Sum, true) => self.t.float(ty, 0.0),
            (Prod, true) => self.t.float(ty, 1.0),
            // NaN loses against everything, so a row of existing NaN alone stays what maximumNumber makes of it.
            (Max, true) => self.t.float(ty, f64::NEG_INFINITY),
            (Min, true) => self.t.float(ty, f64::INFINITY),
            (ArgMax | ArgMin, true) => self.t.float(ty, f64::NAN),
            (Sum | Any, false) => self.t.int(ty, 0),
            (Prod | All, false) => self.t.int(ty, 1),
            (Max | ArgMax, false) => self.t.int(ty, lo),
            (Min | ArgMin, false) => self.t.int(ty, hi),
            (Any | All, true) => self.t.float(ty, 0.0),
        }
    }

    fn within_thread(
        &mut self,
        from: &Layout,
        to: &Layout,
        axis: usize,
        kind: ReduceKind,
        dtype: DType,
        registers: &[V],
    ) -> Vec<Partial> {
        let positions = matches!(kind, ReduceKind::ArgMax | ReduceKind::ArgMin);
        let thread = if positions { Some(self.thread_part(from, axis)) } else { None };
        let mut groups: Vec<Vec<Partial>> = vec![vec![]; to.registers()];
        for (r, &v) in registers.iter().enumerate() {
            let mut at = from.register_offset(r);
            let position = thread.map(|t| self.t.add_const(t, i64::from(at[axis])));
            at[axis] = 0;
            if let Some(group) = to.find_register(&at).and_then(|g| groups.get_mut(g)) {
                group.push(std::iter::once(v).chain(position).collect());
            }
        }
        groups.into_iter().map(|group| self.tree(kind, dtype, group)).collect()
    }

    /// Pairwise, so that the longest chain is logarithmic.
    fn tree(&mut self, kind: ReduceKind, dtype: DType, mut group: Vec<Partial>) -> Partial {
        while group.len() > 1 {
            group = group
                .chunks(2)
                .map(|pair| match pair {
                    [a, b] => self.combine(kind, dtype, a, b),
                    rest => rest[0].clone(),
                })
                .collect();
        }
        group.pop().unwrap_or_default()
    }

    fn combine(&mut self, kind: ReduceKind, dtype: DType, a: &Partial, b: &Partial) -> Partial {
        use ReduceKind::*;
        let op = match kind {
            Sum => ElemOp::Add,
            Prod => ElemOp::Mul,
            Max => ElemOp::Max,
            Min => ElemOp::Min,
            Any => ElemOp::Or,
            All => ElemOp::And,
            ArgMax | ArgMin => return self.better(kind, dtype, a, b),
        };
        vec![self.apply(op, dtype, &[a[0], b[0]], true)]
    }

    /// [`Self::combine`] for what two lanes exchange: both have to come to the same bits. So a sum is not contracted:
    /// where the partial result is a product, one lane would compute `fma(a, b, c * d)` and the other
    /// `fma(c, d, a * b)`, each with another of the two products rounded.
    fn combine_lanes(&mut self, kind: ReduceKind, dtype: DType, mine: &Partial, other: &Partial) -> Partial {
        match (kind, mine[0].ty.is_float()) {
            (ReduceKind::Sum, true) => vec![self.t.rounded_sum(mine[0], other[0])],
            _ => self.combine(kind, dtype, mine, other),
        }
    }

    /// The greater (or less) one; of equals the earlier; a number before a NaN.
    fn better(&mut self, kind: ReduceKind, dtype: DType, a: &Partial, b: &Partial) -> Partial {
        let op = if kind == ReduceKind::ArgMax { ElemOp::Gt } else { ElemOp::Lt };
        let wins = self.apply(op, dtype, &[b[0], a[0]], true);
        let ties = self.apply(ElemOp::Eq, dtype, &[b[0], a[0]], true);
        let earlier = self.t.icmp("slt", b[1], a[1]);
        let mut takes = ties;
        if dtype.is_float() {
            let (nan_a, nan_b) = (self.t.fcmp("uno", a[0], a[0]), self.t.fcmp("uno", b[0], b[0]));
            let both = self.t.int_op("and", nan_a, nan_b);
            takes = self.t.int_op("or", ties, both);
            let yes = self.t.int(Ty::I1, 1);
            let number = self.t.int_op("xor", nan_b, yes);
            let only = self.t.int_op("and", nan_a, number);
            takes = self.t.int_op("and", takes, earlier);
            takes = self.t.int_op("or", takes, only);
        } else {
            takes = self.t.int_op("and", takes, earlier);
        }
        takes = self.t.int_op("or", takes, wins);
        vec![self.t.select(takes, b[0], a[0]), self.t.select(takes, b[1], a[1])]
    }

    /// The value of the lane whose number differs in one bit. All lanes take part.
    pub(super) fn shuffle(&mut self, v: V, mask: i64) -> V {
        let mask = self.t.i32(mask);
        self.shuffle_by("bfly", v, mask)
    }

    /// The value of another lane, by a mode of `shfl.sync`: `bfly`, `up`, `down` by a distance, `idx` at a lane. All
    /// lanes take part; where there is no such lane, a lane gets its own value.
    pub(super) fn shuffle_by(&mut self, mode: &str, v: V, by: V) -> V {
        match v.ty {
            Ty::I32 | Ty::F32 => {
                let clamp = if mode == "up" { 0 } else { 31 };
                let (all, clamp, ty) = (self.t.i32(-1), self.t.i32(clamp), v.ty);
                self.t.pinned(&format!("nvvm.shfl.sync {mode} {all}, {v}, {by}, {clamp} : {ty} -> {ty}"), ty)
            }
            Ty::I1 | Ty::I8 | Ty::I16 => {
                let wide = self.t.convert("zext", v, Ty::I32);
                let moved = self.shuffle_by(mode, wide, by);
                self.t.convert("trunc", moved, v.ty)
            }
            Ty::F16 | Ty::Bf16 | Ty::F64 => {
                let bits = self.t.convert("bitcast", v, if v.ty == Ty::F64 { Ty::I64 } else { Ty::I16 });
                let moved = self.shuffle_by(mode, bits, by);
                self.t.convert("bitcast", moved, v.ty)
            }
            _ => {
                let halves = self.t.word_lanes(v, Ty::I32);
                let moved: Vec<V> = halves.into_iter().map(|h| self.shuffle_by(mode, h, by)).collect();
                let whole = self.t.vector(&moved);
                self.t.pure(format!("llvm.bitcast {whole} : vector<2xi32> to i64"), &[whole], Ty::I64)
            }
        }
    }

    /// Each warp writes its partial results, then all read those of every warp along the axis, in one order.
    #[allow(clippy::too_many_arguments)]
    fn over_warps(
        &mut self,
        node: NodeId,
        buffer: usize,
        from: &Layout,
        to: &Layout,
        axis: usize,
        kind: ReduceKind,
        dtype: DType,
        partials: &[Partial],
    ) -> Vec<Partial> {
        // The warps along the axis, numbered by their own bits.
        let bits: Vec<usize> = (0..from.warp.len()).filter(|&b| from.warp[b][axis] != 0).collect();
        let warps = 1u32 << bits.len();
        let mut rank = self.t.i32(0);
        for (n, &bit) in bits.iter().enumerate() {
            let (shift, one, up) = (self.t.i32(bit as i64), self.t.i32(1), self.t.i32(n as i64));
            let moved = self.t.int_op("lshr", self.warp, shift);
            let moved = self.t.int_op("and", moved, one);
            let moved = self.t.int_op("shl", moved, up);
            rank = self.t.add(rank, moved);
        }
        let extents: Vec<u32> = (0..to.rank()).map(|d| to.coverage(d)).collect();
        let rows: u32 = extents.iter().product();
        let mut row = self.t.i32(0);
        for d in 0..to.rank() {
            let stride: u32 = extents[d + 1..].iter().product();
            let part = self.thread_part(to, d);
            let part = self.t.mul_const(part, i64::from(stride));
            row = self.t.add(row, part);
        }
        let offset = self.plan.buffers[buffer].offset;
        let fields = partials.first().map_or(0, Vec::len);
        let place = |e: &mut Self, field: usize, ty: Ty, at: &[u32], warp: Option<u32>| {
            let bytes = size(ty) as i64;
            let constant = at.iter().zip(&extents).fold(0u32, |s, (&a, &x)| s * x + a);
            // Fields one after the other, 8 bytes for each result and warp.
            let base = i64::from(offset) + field as i64 * i64::from(rows * warps) * 8;
            let first = e.t.mul_const(row, i64::from(warps) * bytes);
            let mut pointer = e.t.offset(e.shared, first);
            let mut fixed = base + i64::from(constant * warps) * bytes;
            match warp {
                Some(w) => fixed += i64::from(w) * bytes,
                None => {
                    let mine = e.t.mul_const(rank, bytes);
                    pointer = e.t.offset(pointer, mine);
                }
            }
            let fixed = e.t.i32(fixed);
            e.t.offset(pointer, fixed)
        };
        // After the butterfly all lanes along the axis hold the same; warps along it each have a part of their own.
        let holders = Copies { lanes: to.free_lanes(), warps: from.free_warps() };
        self.once_among_holders(holders, |e| {
            for (r, partial) in partials.iter().enumerate() {
                let at = to.register_offset(r);
                for (field, &v) in partial.iter().enumerate() {
                    let pointer = place(e, field, v.ty, &at, None);
                    e.write_shared(pointer, &[v]);
                }
            }
        });
        self.barrier(node, Slot::Combine);
        (0..partials.len())
            .map(|r| {
                let at = to.register_offset(r);
                let all: Vec<Partial> = (0..warps)
                    .map(|w| {
                        (0..fields)
                            .map(|field| {
                                let ty = partials[r][field].ty;
                                let pointer = place(self, field, ty, &at, Some(w));
                                self.read_shared(pointer, ty, 1)[0]
                            })
                            .collect()
                    })
                    .collect();
                self.tree(kind, dtype, all)
            })
            .collect()
    }
}

/// Whether the lanes of a warp are all of one line of the axis, or copies, and the values of a kind that `redux.sync` compares.
fn by_one_instruction(from: &Layout, axis: usize, kind: ReduceKind, dtype: DType) -> bool {
    let along = |b: &Vec<u32>| b[axis] != 0 || b.iter().all(|&step| step == 0);
    dtype == DType::I32
        && matches!(kind, ReduceKind::Min | ReduceKind::Max)
        && from.lane.iter().all(along)
        && from.lane.iter().any(|b| b[axis] != 0)
}

/// Whether registers past the end already hold 0.
fn tile_plan_zero(e: &Emit, value: tile_graph::Value, axis: usize) -> bool {
    let none: [tile_plan::TensorClass; 0] = [];
    let shapes = tile_plan::shape::Shapes::new(e.g, &e.plan.binding, &none);
    tile_plan::dots::zero_past_end(&shapes, value, axis)
}
