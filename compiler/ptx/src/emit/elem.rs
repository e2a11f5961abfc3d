//! Elementwise operations and casts, one register at a time.
//!
//! 16-bit floats are computed in f32 and rounded once: add, sub, mul, div and sqrt of f16 and bf16 come out correctly
//! rounded that way (f32 has more than twice their bits). Casts from f32 to 16 bits go in pairs, one instruction each.

use super::{Emission, Emit, math, register_type};
use crate::text::{Ty, V};
use tile_base::DType;
use tile_graph::{ElemOp, NodeId, Op, Value};

impl Emit<'_> {
    pub(super) fn elementwise(&mut self, node: NodeId, op: ElemOp) -> Emission<Vec<V>> {
        if let Some(compared) = self.affine_compare(node, op)? {
            return Ok(compared);
        }
        let operands: Vec<Vec<V>> =
            (0..op.arity() as u32).map(|port| self.operand(node, port)).collect::<Emission<_>>()?;
        let inputs = self.g.inputs(node);
        let dtype = self.g.type_of(*inputs.last().unwrap_or(&Value { node, port: 0 })).dtype;
        let tile = !self.g.type_of(Value { node, port: 0 }).is_scalar();
        let small =
            !tile && matches!(op, ElemOp::Div | ElemOp::Rem) && inputs.iter().all(|&v| self.is_small(v));
        let count = operands.first().map_or(0, Vec::len);
        (0..count)
            .map(|r| {
                let x: Vec<V> = operands.iter().map(|o| o[r]).collect();
                Ok(match small {
                    true => self.small_division(op, x[0], x[1]),
                    false => self.apply(op, dtype, &x, tile),
                })
            })
            .collect()
    }

    /// One element. `dtype` is that of the operands (of the choices, for a select).
    pub(super) fn apply(&mut self, op: ElemOp, dtype: DType, x: &[V], tile: bool) -> V {
        if op == ElemOp::Select {
            return self.t.select(x[0], x[1], x[2]);
        }
        let ty = register_type(dtype);
        if matches!(ty, Ty::F16 | Ty::Bf16) {
            let wide: Vec<V> = x.iter().map(|&v| self.t.convert("fpext", v, Ty::F32)).collect();
            let result = self.apply(op, DType::F32, &wide, tile);
            return match op.is_predicate() {
                true => result,
                false => self.t.convert("fptrunc", result, ty),
            };
        }
        match ty.is_float() {
            true => self.apply_float(op, x, tile),
            false => self.apply_int(op, dtype, x),
        }
    }

    fn apply_float(&mut self, op: ElemOp, x: &[V], tile: bool) -> V {
        use ElemOp::*;
        let t = &mut self.t;
        let ty = x[0].ty;
        match op {
            Neg => t.pure(format!("llvm.fneg {} : {ty}", x[0]), x, ty),
            Abs => t.intrinsic("fabs", x),
            Floor => t.intrinsic("floor", x),
            Ceil => t.intrinsic("ceil", x),
            Round => t.intrinsic("roundeven", x),
            Sqrt => t.intrinsic("sqrt", x),
            Add => t.float_op("fadd", x[0], x[1]),
            Sub => t.float_op("fsub", x[0], x[1]),
            Mul => t.float_op("fmul", x[0], x[1]),
            // A tile is divided to 2 ulp over the full range; a scalar exactly.
            Div if ty == Ty::F32 && tile => math::div_full(t, x[0], x[1]),
            Div => t.float_op("fdiv", x[0], x[1]),
            Max => t.intrinsic("maxnum", x),
            Min => t.intrinsic("minnum", x),
            Eq => t.fcmp("oeq", x[0], x[1]),
            Ne => t.fcmp("une", x[0], x[1]),
            Lt => t.fcmp("olt", x[0], x[1]),
            Le => t.fcmp("ole", x[0], x[1]),
            Gt => t.fcmp("ogt", x[0], x[1]),
            Ge => t.fcmp("oge", x[0], x[1]),
            IsNan => t.fcmp("uno", x[0], x[0]),
            Rsqrt if ty == Ty::F32 => t.nvvm("llvm.nvvm.rsqrt.approx.f", x, ty),
            Rsqrt => {
                let one = t.float(ty, 1.0);
                let root = t.intrinsic("sqrt", x);
                t.float_op("fdiv", one, root)
            }
            Rem => {
                // x - y * floor(x / y): the divisor's sign, as for integers.
                let q = t.float_op("fdiv", x[0], x[1]);
                let q = t.intrinsic("floor", &[q]);
                let minus = t.pure(format!("llvm.fneg {q} : {ty}"), &[q], ty);
                t.fma(minus, x[1], x[0])
            }
            Exp => math::exp(t, x[0]),
            Exp2 => math::exp2(t, x[0]),
            Log => math::log(t, x[0]),
            Log2 => math::log2(t, x[0]),
            Sin => math::sin_cos(t, x[0], false),
            Cos => math::sin_cos(t, x[0], true),
            Tanh => math::tanh(t, x[0]),
            Erf => math::erf(t, x[0]),
            Pow => math::pow(t, x[0], x[1]),
            // The graph's type rule gives these no float operands.
            Not | Popcount | And | Or | Xor | Shl | Shr | Select => not_lowered(t, op, x),
        }
    }

    fn apply_int(&mut self, op: ElemOp, dtype: DType, x: &[V]) -> V {
        use ElemOp::*;
        let ty = x[0].ty;
        let signed = dtype.is_signed();
        let compare =
            |signed_name: &'static str, unsigned: &'static str| if signed { signed_name } else { unsigned };
        let t = &mut self.t;
        match op {
            Neg => {
                let zero = t.int(ty, 0);
                t.sub(zero, x[0])
            }
            Not => {
                let ones = t.int(ty, -1);
                t.int_op("xor", x[0], ones)
            }
            Abs if signed => {
                let zero = t.int(ty, 0);
                let minus = t.sub(zero, x[0]);
                t.intrinsic("smax", &[x[0], minus])
            }
            Abs => x[0],
            Popcount => t.intrinsic("ctpop", x),
            Add => t.add(x[0], x[1]),
            Sub => t.sub(x[0], x[1]),
            Mul => t.mul(x[0], x[1]),
            And => t.int_op("and", x[0], x[1]),
            Or => t.int_op("or", x[0], x[1]),
            Xor => t.int_op("xor", x[0], x[1]),
            Shl => t.int_op("shl", x[0], x[1]),
            Shr => t.int_op(compare("ashr", "lshr"), x[0], x[1]),
            Max => t.intrinsic(compare("smax", "umax"), x),
            Min => t.intrinsic(compare("smin", "umin"), x),
            Eq => t.icmp("eq", x[0], x[1]),
            Ne => t.icmp("ne", x[0], x[1]),
            Lt => t.icmp(compare("slt", "ult"), x[0], x[1]),
            Le => t.icmp(compare("sle", "ule"), x[0], x[1]),
            Gt => t.icmp(compare("sgt", "ugt"), x[0], x[1]),
            Ge => t.icmp(compare("sge", "uge"), x[0], x[1]),
            Div if signed => self.floor_div(x[0], x[1]),
            Div => t.pure(format!("llvm.udiv {}, {} : {ty}", x[0], x[1]), x, ty),
            Rem if signed => {
                let q = self.floor_div(x[0], x[1]);
                let back = self.t.mul(q, x[1]);
                self.t.sub(x[0], back)
            }
            Rem => t.pure(format!("llvm.urem {}, {} : {ty}", x[0], x[1]), x, ty),
            // The graph's type rule gives these no integer operands.
            _ => not_lowered(t, op, x),
        }
    }

    /// Division that rounds down. A divisor of 0 gives 0, and is never handed to the hardware's undefined case.
    pub(super) fn floor_div(&mut self, a: V, b: V) -> V {
        let ty = a.ty;
        let t = &mut self.t;
        let (zero, one) = (t.int(ty, 0), t.int(ty, 1));
        if let Some(n) = t.known(b)
            && n > 0
            && (n as u64).is_power_of_two()
        {
            let shift = t.int(ty, i64::from(n.trailing_zeros()));
            return t.int_op("ashr", a, shift);
        }
        let by_zero = t.icmp("eq", b, zero);
        let safe = t.select(by_zero, one, b);
        let q = t.pure(format!("llvm.sdiv {a}, {safe} : {ty}"), &[a, safe], ty);
        let r = t.pure(format!("llvm.srem {a}, {safe} : {ty}"), &[a, safe], ty);
        let inexact = t.icmp("ne", r, zero);
        let signs = t.int_op("xor", a, safe);
        let opposite = t.icmp("slt", signs, zero);
        let down = t.int_op("and", inexact, opposite);
        let down = t.convert("zext", down, ty);
        let q = t.sub(q, down);
        t.select(by_zero, zero, q)
    }

    /// Whether an index is known to be in 0 .. 2^31: dimensions (launches refuse larger), loop variables over them,
    /// and quotients of such.
    fn is_small(&self, value: Value) -> bool {
        let inputs = self.g.inputs(value.node);
        match &self.g.node(value.node).op {
            Op::Const(tile_graph::Literal::Int(v)) => (0..1 << 31).contains(v),
            Op::Dim(_) => true,
            Op::Elem(ElemOp::Div | ElemOp::Rem | ElemOp::Min | ElemOp::Max) => {
                inputs.iter().all(|&v| self.is_small(v))
            }
            Op::RegionArgs => {
                let region = self.g.node(value.node).region;
                let Some(owner) = self.g.region(region).owner else { return false };
                let bounds = self.g.inputs(owner);
                value.port < self.g.variables(region) && bounds.iter().take(2).all(|&v| self.is_small(v))
            }
            _ => false,
        }
    }

    /// Division and remainder of numbers in 0 .. 2^31, in 32 bits. A divisor of 0 gives 0.
    fn small_division(&mut self, op: ElemOp, a: V, b: V) -> V {
        let t = &mut self.t;
        let (a, b) = (t.convert("trunc", a, Ty::I32), t.convert("trunc", b, Ty::I32));
        let one = t.i32(1);
        let safe = t.intrinsic("umax", &[b, one]);
        let op = if op == ElemOp::Div { "udiv" } else { "urem" };
        let q = t.pure(format!("llvm.{op} {a}, {safe} : i32"), &[a, safe], Ty::I32);
        t.convert("zext", q, Ty::I64)
    }

    // ---- casts

    pub(super) fn cast_node(&mut self, node: NodeId) -> Emission<Vec<V>> {
        let registers = self.operand(node, 0)?;
        let from = self.g.type_of(self.g.inputs(node)[0]).dtype;
        let to = self.g.node(node).outputs[0].dtype;
        let input = self.g.inputs(node)[0];
        for axis in 0..self.g.type_of(input).axes.len() {
            if self.zero_past_end.contains(&(input, axis)) {
                self.zero_past_end.insert((Value { node, port: 0 }, axis));
            }
        }
        if let Some(cast) = self.cast_small_floats(&registers, from, to) {
            return Ok(cast);
        }
        if from == DType::F32 && matches!(to, DType::F16 | DType::Bf16) && registers.len() > 1 {
            return Ok(self.narrow_pairs(&registers, register_type(to)));
        }
        Ok(registers.into_iter().map(|v| self.cast(v, from, to)).collect())
    }

    /// f32 to 16 bits, two at a time.
    fn narrow_pairs(&mut self, registers: &[V], ty: Ty) -> Vec<V> {
        let mut out = vec![];
        for pair in registers.chunks(2) {
            let &[a, b] = pair else {
                out.push(self.t.convert("fptrunc", pair[0], ty));
                continue;
            };
            let both = self.t.vector(&[a, b]);
            let narrow =
                self.t.pure(format!("llvm.fptrunc {both} : vector<2xf32> to vector<2x{ty}>"), &[both], ty);
            out.extend(self.t.lanes(narrow, ty, 2));
        }
        out
    }

    /// To the nearest even; saturating into integers; floats to integers truncate, NaN gives 0.
    pub(super) fn cast(&mut self, v: V, from: DType, to: DType) -> V {
        if let Some(cast) = self.cast_small_floats(&[v], from, to) {
            return cast[0];
        }
        let (a, b) = (register_type(from), register_type(to));
        if to == DType::Tf32 && from != DType::Tf32 {
            let wide = self.cast(v, from, DType::F32);
            return math::round_tf32(&mut self.t, wide);
        }
        match (a.is_float(), b.is_float()) {
            _ if from == to => v,
            (true, true) => self.cast_float(v, b),
            (true, false) => self.float_to_int(v, to, b),
            (false, true) => self.int_to_float(v, from, b),
            (false, false) => self.cast_int(v, from, to),
        }
    }

    fn cast_float(&mut self, v: V, to: Ty) -> V {
        let bits = |t: Ty| match t {
            Ty::F64 => 64,
            Ty::F32 => 32,
            _ => 16,
        };
        // Between bf16 and f64 there is no instruction before sm_90.
        if matches!((v.ty, to), (Ty::F64, Ty::Bf16) | (Ty::Bf16, Ty::F64)) {
            let middle = self.cast_float(v, Ty::F32);
            return self.cast_float(middle, to);
        }
        match (bits(v.ty), bits(to)) {
            (a, b) if a < b => self.t.convert("fpext", v, to),
            (a, b) if a > b => self.t.convert("fptrunc", v, to),
            _ if v.ty == to => v,
            _ => {
                let wide = self.t.convert("fpext", v, Ty::F32);
                self.t.convert("fptrunc", wide, to)
            }
        }
    }

    fn float_to_int(&mut self, v: V, to: DType, ty: Ty) -> V {
        let wide = self.t.convert("fpext", v, if v.ty == Ty::F64 { Ty::F64 } else { Ty::F32 });
        if to == DType::Bool {
            let zero = self.t.float(wide.ty, 0.0);
            return self.t.fcmp("une", wide, zero);
        }
        let (lo, hi) = to.int_range().unwrap_or((0, 0));
        // The greatest float not above `hi`, so that the conversion is always in range; beyond it, `hi` itself.
        let top = match wide.ty {
            Ty::F64 => {
                if hi == i64::MAX {
                    9223372036854774784.0
                } else {
                    hi as f64
                }
            }
            _ => match hi {
                i64::MAX => 9223371487098961920.0,
                0x7fff_ffff => 2147483520.0,
                h => h as f64,
            },
        };
        let (bottom, top) = (self.t.float(wide.ty, lo as f64), self.t.float(wide.ty, top));
        let clamped = self.t.intrinsic("maxnum", &[wide, bottom]);
        let clamped = self.t.intrinsic("minnum", &[clamped, top]);
        let op = if to.is_signed() { "fptosi" } else { "fptoui" };
        let inner = self.t.convert(op, clamped, if matches!(ty, Ty::I8) { Ty::I32 } else { ty });
        let inner = self.t.convert("trunc", inner, ty);
        let above = self.t.fcmp("ogt", wide, top);
        let most = self.t.int(ty, hi);
        let value = self.t.select(above, most, inner);
        let nan = self.t.fcmp("uno", wide, wide);
        let zero = self.t.int(ty, 0);
        self.t.select(nan, zero, value)
    }

    fn int_to_float(&mut self, v: V, from: DType, to: Ty) -> V {
        let op = if from.is_signed() { "sitofp" } else { "uitofp" };
        match to {
            Ty::F16 | Ty::Bf16 if from.bits() <= 16 => {
                let wide = self.t.convert(op, v, Ty::F32);
                self.t.convert("fptrunc", wide, to)
            }
            Ty::F16 | Ty::Bf16 => {
                // Exact in f64 up to 2^53; a single rounding for all but 64-bit integers above that.
                let wide = self.t.convert(op, v, Ty::F64);
                let narrow = self.t.convert("fptrunc", wide, Ty::F32);
                self.t.convert("fptrunc", narrow, to)
            }
            _ => self.t.convert(op, v, to),
        }
    }

    fn cast_int(&mut self, v: V, from: DType, to: DType) -> V {
        let ty = register_type(to);
        if to == DType::Bool {
            let zero = self.t.int(v.ty, 0);
            return self.t.icmp("ne", v, zero);
        }
        let widen = if from.is_signed() { "sext" } else { "zext" };
        if from == DType::Bool {
            return self.t.convert("zext", v, ty);
        }
        let wide = self.t.convert(widen, v, Ty::I64);
        if let (Some((lo, hi)), Some((flo, fhi))) = (to.int_range(), from.int_range())
            && (flo < lo || fhi > hi)
        {
            let (lo, hi) = (self.t.i64(lo), self.t.i64(hi));
            let clamped = self.t.intrinsic("smax", &[wide, lo]);
            let clamped = self.t.intrinsic("smin", &[clamped, hi]);
            return self.t.convert("trunc", clamped, ty);
        }
        if ty == Ty::I64 { wide } else { self.t.convert("trunc", wide, ty) }
    }
}

/// What the graph's type rule and the plan's legality check keep from here. Should one let something through, MLIR
/// refuses this operation by name, which becomes a diagnostic.
fn not_lowered(t: &mut crate::text::Text, op: ElemOp, x: &[V]) -> V {
    t.pure(format!("tilec.not_lowered {} {{op = \"{}\"}}", x[0], op.name()), x, x[0].ty)
}
