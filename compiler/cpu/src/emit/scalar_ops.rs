//! The elementwise operations and casts over registers (language rule 7).
//!
//! What vectors have directly is one instruction for each machine register; the rest goes lane by lane through the
//! same code that serves scalars, so that every operation exists for every class and lane count.

use super::{
    Emit, Lanes, Reg, Result, SiteKind,
    lanes::{is_wide, part_type, scalar_type},
};
use crate::runtime::{Class, math};
use cranelift_codegen::ir::{
    self, AbiParam, InstBuilder, Signature, Type,
    condcodes::{FloatCC, IntCC},
    types,
};
use tile_base::DType;
use tile_graph::{ElemOp, NodeId};

/// An operand and whether it may be NaN.
#[derive(Clone, Copy)]
pub struct Operand {
    pub reg: Reg,
    pub number: bool,
}

impl Emit<'_, '_> {
    /// An operation on operands of one dtype (of a select: the dtype of its branches).
    pub fn elem_op(
        &mut self,
        node: NodeId,
        op: ElemOp,
        dtype: DType,
        args: &[Operand],
        lanes: Lanes,
    ) -> Result<Reg> {
        let class = Class::of(dtype);
        if op == ElemOp::Select {
            return Ok(self.select_reg(class, args[0].reg, args[1].reg, args[2].reg, lanes));
        }
        match class {
            Class::F32 | Class::F64 => {
                let r = self.float_op(node, op, class, args, lanes)?;
                let exact =
                    op.is_predicate() || matches!(op, ElemOp::Neg | ElemOp::Abs | ElemOp::Max | ElemOp::Min);
                if exact || matches!(dtype, DType::F32 | DType::F64) {
                    Ok(r)
                } else {
                    self.round(dtype, r, lanes)
                }
            }
            Class::Bool => self.bool_op(node, op, args, lanes),
            Class::I64 if self.may_overflow.contains(&node) => self.checked_op(node, op, args, lanes),
            Class::I32 | Class::I64 => {
                let r = self.int_op(node, op, class, args, lanes)?;
                let exact = op.is_predicate()
                    || matches!(
                        op,
                        ElemOp::Max | ElemOp::Min | ElemOp::And | ElemOp::Or | ElemOp::Xor | ElemOp::Shr
                    );
                Ok(if exact { r } else { self.wrap_int(dtype, r) })
            }
        }
    }

    /// f32 rounded to a narrower float.
    pub fn round(&mut self, dtype: DType, x: Reg, lanes: Lanes) -> Result<Reg> {
        if let Some(r) = self.round_inline(dtype, x, lanes) {
            return Ok(r);
        }
        let code = DType::ALL.iter().position(|&d| d == dtype).unwrap_or(0) as i64;
        self.per_lane(&[(x, Class::F32)], Class::F32, lanes, |e, v| {
            let code = e.fb.ins().iconst(types::I32, code);
            Ok(e.host_call(math::round_f32 as *const () as i64, &[code, v[0]], types::F32))
        })
    }

    /// Calls a plain function of scalars.
    pub fn host_call(&mut self, address: i64, args: &[ir::Value], out: Type) -> ir::Value {
        let mut signature = Signature::new(self.fb.func.signature.call_conv);
        signature.params = args.iter().map(|&v| AbiParam::new(self.fb.func.dfg.value_type(v))).collect();
        signature.returns = vec![AbiParam::new(out)];
        let signature = self.fb.import_signature(signature);
        let callee = self.int(address);
        let call = self.fb.ins().call_indirect(signature, callee, args);
        self.fb.inst_results(call)[0]
    }

    fn host_unary(&mut self, class: Class, x: Reg, lanes: Lanes, f32: i64, f64: i64) -> Result<Reg> {
        let address = if class == Class::F32 { f32 } else { f64 };
        let ty = scalar_type(class);
        self.per_lane(&[(x, class)], class, lanes, |e, v| Ok(e.host_call(address, v, ty)))
    }

    fn host_binary(
        &mut self,
        class: Class,
        args: &[Operand],
        lanes: Lanes,
        f32: i64,
        f64: i64,
    ) -> Result<Reg> {
        let address = if class == Class::F32 { f32 } else { f64 };
        let ty = scalar_type(class);
        let regs = [(args[0].reg, class), (args[1].reg, class)];
        self.per_lane(&regs, class, lanes, |e, v| Ok(e.host_call(address, v, ty)))
    }

    fn float_op(
        &mut self,
        node: NodeId,
        op: ElemOp,
        class: Class,
        args: &[Operand],
        lanes: Lanes,
    ) -> Result<Reg> {
        use ElemOp::*;
        let a = args[0].reg;
        let b = args.get(1).map_or(a, |x| x.reg);
        macro_rules! address {
            ($f:ident) => {
                math::$f as *const () as i64
            };
        }
        Ok(match op {
            Neg => self.each1(a, |e, x| e.fb.ins().fneg(x)),
            Abs => self.each1(a, |e, x| e.fb.ins().fabs(x)),
            Floor => self.each1(a, |e, x| e.fb.ins().floor(x)),
            Ceil => self.each1(a, |e, x| e.fb.ins().ceil(x)),
            Round => self.each1(a, |e, x| e.fb.ins().nearest(x)),
            Sqrt => self.each1(a, |e, x| e.fb.ins().sqrt(x)),
            Rsqrt => {
                let one = self.float_constant(class, 1.0, lanes);
                let root = self.each1(a, |e, x| e.fb.ins().sqrt(x));
                self.each2(one, root, |e, x, y| e.fb.ins().fdiv(x, y))
            }
            Add => self.each2(a, b, |e, x, y| e.fb.ins().fadd(x, y)),
            Sub => self.each2(a, b, |e, x, y| e.fb.ins().fsub(x, y)),
            Mul => self.each2(a, b, |e, x, y| e.fb.ins().fmul(x, y)),
            Div => self.each2(a, b, |e, x, y| e.fb.ins().fdiv(x, y)),
            Max => self.extremum(class, args[0], args[1], true, lanes),
            Min => self.extremum(class, args[0], args[1], false, lanes),
            Eq => self.float_compare(FloatCC::Equal, a, b),
            Ne => self.float_compare(FloatCC::NotEqual, a, b),
            Lt => self.float_compare(FloatCC::LessThan, a, b),
            Le => self.float_compare(FloatCC::LessThanOrEqual, a, b),
            Gt => self.float_compare(FloatCC::GreaterThan, a, b),
            Ge => self.float_compare(FloatCC::GreaterThanOrEqual, a, b),
            IsNan => self.float_compare(FloatCC::Unordered, a, a),
            Exp2 if class == Class::F32 => self.exp2_f32(a, lanes),
            Exp if class == Class::F32 => self.exp_f32(a, lanes),
            Log if class == Class::F32 => self.log_f32(a, false, lanes),
            Log2 if class == Class::F32 => self.log_f32(a, true, lanes),
            Tanh if class == Class::F32 => self.tanh_f32(a, lanes),
            Erf if class == Class::F32 => self.erf_f32(a, lanes),
            Exp => self.host_unary(class, a, lanes, address!(exp_f32), address!(exp_f64))?,
            Exp2 => self.host_unary(class, a, lanes, address!(exp2_f32), address!(exp2_f64))?,
            Log => self.host_unary(class, a, lanes, address!(log_f32), address!(log_f64))?,
            Log2 => self.host_unary(class, a, lanes, address!(log2_f32), address!(log2_f64))?,
            Sin => self.host_unary(class, a, lanes, address!(sin_f32), address!(sin_f64))?,
            Cos => self.host_unary(class, a, lanes, address!(cos_f32), address!(cos_f64))?,
            Tanh => self.host_unary(class, a, lanes, address!(tanh_f32), address!(tanh_f64))?,
            Erf => self.host_unary(class, a, lanes, address!(erf_f32), address!(erf_f64))?,
            Pow => self.host_binary(class, args, lanes, address!(pow_f32), address!(pow_f64))?,
            Rem => self.host_binary(class, args, lanes, address!(rem_f32), address!(rem_f64))?,
            Not | And | Or | Xor | Shl | Shr | Popcount | Select => {
                return Err(self.bug(node, "a bit operation on floats"));
            }
        })
    }

    pub fn float_constant(&mut self, class: Class, v: f64, lanes: Lanes) -> Reg {
        let one = match class {
            Class::F64 => self.fb.ins().f64const(v),
            _ => self.fb.ins().f32const(v as f32),
        };
        self.splat(class, one, lanes)
    }

    fn float_compare(&mut self, cc: FloatCC, a: Reg, b: Reg) -> Reg {
        let m = self.each2(a, b, |e, x, y| e.fb.ins().fcmp(cc, x, y));
        self.narrow_mask(m)
    }

    /// maximumNumber and minimumNumber: a NaN operand loses. With one operand known to be a number, one comparison
    /// does: `x > n ? x : n` takes n whenever x is NaN.
    pub fn extremum(&mut self, class: Class, a: Operand, b: Operand, greatest: bool, lanes: Lanes) -> Reg {
        let cc = if greatest { FloatCC::GreaterThan } else { FloatCC::LessThan };
        let (x, n) = if a.number && !b.number { (b, a) } else { (a, b) };
        let better = self.float_compare(cc, x.reg, n.reg);
        let r = self.select_reg(class, better, x.reg, n.reg, lanes);
        if n.number {
            return r;
        }
        let fine = self.float_compare(FloatCC::Equal, n.reg, n.reg);
        self.select_reg(class, fine, r, x.reg, lanes)
    }

    fn bool_op(&mut self, node: NodeId, op: ElemOp, args: &[Operand], lanes: Lanes) -> Result<Reg> {
        use ElemOp::*;
        let a = args[0].reg.low;
        let b = args.get(1).map_or(a, |x| x.reg.low);
        // Lanes are all ones or all zeros, one element is 1 or 0.
        let invert = |e: &mut Self, v| match lanes {
            Lanes::One => e.fb.ins().bxor_imm_s(v, 1),
            Lanes::Four => e.fb.ins().bnot(v),
        };
        Ok(match op {
            Not => invert(self, a),
            And | Min => self.fb.ins().band(a, b),
            Or | Max => self.fb.ins().bor(a, b),
            Xor | Ne => self.fb.ins().bxor(a, b),
            Eq => {
                let differ = self.fb.ins().bxor(a, b);
                invert(self, differ)
            }
            _ => return Err(self.bug(node, "arithmetic on bools")),
        }
        .into())
    }

    fn int_op(
        &mut self,
        node: NodeId,
        op: ElemOp,
        class: Class,
        args: &[Operand],
        lanes: Lanes,
    ) -> Result<Reg> {
        use ElemOp::*;
        let a = args[0].reg;
        let b = args.get(1).map_or(a, |x| x.reg);
        let ty = scalar_type(class);
        Ok(match op {
            Neg => self.each1(a, |e, x| e.fb.ins().ineg(x)),
            Abs => self.each1(a, |e, x| e.fb.ins().iabs(x)),
            Not => self.each1(a, |e, x| e.fb.ins().bnot(x)),
            Add => self.each2(a, b, |e, x, y| e.fb.ins().iadd(x, y)),
            Sub => self.each2(a, b, |e, x, y| e.fb.ins().isub(x, y)),
            Mul => self.each2(a, b, |e, x, y| e.fb.ins().imul(x, y)),
            And => self.each2(a, b, |e, x, y| e.fb.ins().band(x, y)),
            Or => self.each2(a, b, |e, x, y| e.fb.ins().bor(x, y)),
            Xor => self.each2(a, b, |e, x, y| e.fb.ins().bxor(x, y)),
            Eq => self.int_compare(IntCC::Equal, a, b),
            Ne => self.int_compare(IntCC::NotEqual, a, b),
            Lt => self.int_compare(IntCC::SignedLessThan, a, b),
            Le => self.int_compare(IntCC::SignedLessThanOrEqual, a, b),
            Gt => self.int_compare(IntCC::SignedGreaterThan, a, b),
            Ge => self.int_compare(IntCC::SignedGreaterThanOrEqual, a, b),
            Max | Min => {
                let cc = if op == Max { IntCC::SignedGreaterThan } else { IntCC::SignedLessThan };
                let better = self.int_compare(cc, a, b);
                self.select_reg(class, better, a, b, lanes)
            }
            Div | Rem => self.per_lane(&[(a, class), (b, class)], class, lanes, |e, v| {
                e.check_divisor(node, v[1]);
                let (q, r) = e.floor_division(v[0], v[1]);
                Ok(if op == Div { q } else { r })
            })?,
            Shl | Shr | Popcount => self.per_lane(&[(a, class), (b, class)], class, lanes, |e, v| {
                Ok(match op {
                    Shl => e.fb.ins().ishl(v[0], v[1]),
                    Shr => e.fb.ins().sshr(v[0], v[1]),
                    _ => e.count_bits(node, v[0]),
                })
            })?,
            Pow => self.per_lane(&[(a, class), (b, class)], class, lanes, |e, v| {
                let wide = |e: &mut Self, v| {
                    if ty == types::I32 { e.fb.ins().sextend(types::I64, v) } else { v }
                };
                let (x, y) = (wide(e, v[0]), wide(e, v[1]));
                let p = e.host_call(math::pow_i64 as *const () as i64, &[x, y], types::I64);
                Ok(if ty == types::I32 { e.fb.ins().ireduce(types::I32, p) } else { p })
            })?,
            _ => return Err(self.bug(node, "a float function of integers")),
        })
    }

    /// Index arithmetic whose result may not fit: one lane at a time, with a look at each.
    fn checked_op(&mut self, node: NodeId, op: ElemOp, args: &[Operand], lanes: Lanes) -> Result<Reg> {
        let a = args[0].reg;
        let b = args.get(1).map_or(a, |x| x.reg);
        self.per_lane(&[(a, Class::I64), (b, Class::I64)], Class::I64, lanes, |e, v| {
            let (x, y) = (v[0], v[1]);
            let zero = e.int(0);
            let (result, bad) = match op {
                ElemOp::Add => e.fb.ins().sadd_overflow(x, y),
                ElemOp::Sub => e.fb.ins().ssub_overflow(x, y),
                ElemOp::Mul => e.fb.ins().smul_overflow(x, y),
                ElemOp::Neg => e.fb.ins().ssub_overflow(zero, x),
                ElemOp::Abs => {
                    let least = e.fb.ins().icmp_imm_s(IntCC::Equal, x, i64::MIN);
                    (e.fb.ins().iabs(x), least)
                }
                ElemOp::Pow => {
                    let fine = e.host_call(math::pow_fits as *const () as i64, &[x, y], types::I8);
                    let bad = e.fb.ins().bxor_imm_s(fine, 1);
                    (e.host_call(math::pow_i64 as *const () as i64, &[x, y], types::I64), bad)
                }
                _ => {
                    let operands = [x, y].map(|v| Operand { reg: v.into(), number: false });
                    let r = e.int_op(node, op, Class::I64, &operands, Lanes::One)?.low;
                    let least = e.fb.ins().icmp_imm_s(IntCC::Equal, x, i64::MIN);
                    let minus = e.fb.ins().icmp_imm_s(IntCC::Equal, y, -1);
                    (r, e.fb.ins().band(least, minus))
                }
            };
            let site = e.site(node, SiteKind::Overflow { name: op.name() });
            e.fail_if(bad, site, 0, [x, y, zero]);
            Ok(result)
        })
    }

    /// Bits of the dtype only: a negative i8 is held sign-extended.
    fn count_bits(&mut self, node: NodeId, v: ir::Value) -> ir::Value {
        let dtype = self.graph.type_of(self.graph.inputs(node)[0]).dtype;
        let v = match dtype.bits() {
            32 | 64 => v,
            bits => self.fb.ins().band_imm_s(v, (1i64 << bits) - 1),
        };
        self.fb.ins().popcnt(v)
    }

    fn check_divisor(&mut self, node: NodeId, divisor: ir::Value) {
        if let Some(b) = self.graph.inputs(node).get(1).and_then(|&v| self.graph.splat(v))
            && !matches!(b, tile_graph::Literal::Int(0))
        {
            return;
        }
        let zero = self.fb.ins().icmp_imm_s(IntCC::Equal, divisor, 0);
        let site = self.site(node, SiteKind::DivisionByZero);
        let nothing = self.int(0);
        self.fail_if(zero, site, 0, [nothing; 3]);
    }

    fn int_compare(&mut self, cc: IntCC, a: Reg, b: Reg) -> Reg {
        let m = self.each2(a, b, |e, x, y| e.fb.ins().icmp(cc, x, y));
        self.narrow_mask(m)
    }

    /// `.to(dtype)`: nearest even, saturating into 8 bits and integers, floats towards zero to integers.
    pub fn cast_reg(&mut self, from: DType, to: DType, x: Reg, lanes: Lanes) -> Result<Reg> {
        let (a, b) = (Class::of(from), Class::of(to));
        if from == to || crate::fuse::widens(from, to) {
            return Ok(x);
        }
        match (a, b) {
            (Class::F32, Class::F32) => self.round(to, x, lanes),
            (Class::Bool, Class::Bool) => Ok(x),
            (_, Class::Bool) => Ok(self.is_not_zero(a, x, lanes)),
            (Class::I32, Class::F32) if lanes == Lanes::Four => {
                let r = self.fb.ins().fcvt_from_sint(types::F32X4, x.low).into();
                self.round(to, r, lanes)
            }
            (Class::F32, Class::I32) if lanes == Lanes::Four => {
                let r = self.fb.ins().fcvt_to_sint_sat(types::I32X4, x.low).into();
                Ok(self.clamp_int(to, r, lanes))
            }
            (Class::I32, Class::I32) => Ok(self.clamp_int(to, x, lanes)),
            (Class::I32, Class::I64) if lanes == Lanes::Four => {
                let low = self.fb.ins().swiden_low(x.low);
                Ok(Reg { low, high: Some(self.fb.ins().swiden_high(x.low)) })
            }
            (Class::Bool, Class::I32) if lanes == Lanes::Four => Ok(self.fb.ins().ineg(x.low).into()),
            _ => self.per_lane(&[(x, a)], b, lanes, |e, v| e.cast_scalar(from, to, v[0])),
        }
    }

    fn is_not_zero(&mut self, class: Class, x: Reg, lanes: Lanes) -> Reg {
        match class {
            Class::F32 | Class::F64 => {
                let zero = self.float_constant(class, 0.0, lanes);
                self.float_compare(FloatCC::NotEqual, x, zero)
            }
            _ => {
                let zero = self.fb.ins().iconst(scalar_type(class), 0);
                let zero = self.splat(class, zero, lanes);
                self.int_compare(IntCC::NotEqual, x, zero)
            }
        }
    }

    /// Into the range of a narrow integer.
    fn clamp_int(&mut self, to: DType, x: Reg, lanes: Lanes) -> Reg {
        let Some((lo, hi)) = to.int_range().filter(|_| to.bits() < 32) else { return x };
        let mut bound = |v: i64, cc: IntCC, x: Reg| {
            let limit = self.fb.ins().iconst(types::I32, v & 0xffff_ffff);
            let limit = self.splat(Class::I32, limit, lanes);
            let better = self.int_compare(cc, x, limit);
            self.select_reg(Class::I32, better, x, limit, lanes)
        };
        let x = bound(lo, IntCC::SignedGreaterThan, x);
        bound(hi, IntCC::SignedLessThan, x)
    }

    fn cast_scalar(&mut self, from: DType, to: DType, v: ir::Value) -> Result<ir::Value> {
        let (a, b) = (Class::of(from), Class::of(to));
        // Bools as the integers 0 and 1.
        let (a, v) = match a {
            Class::Bool => (Class::I32, self.fb.ins().uextend(types::I32, v)),
            _ => (a, v),
        };
        Ok(match (a, b) {
            (Class::F32, Class::F64) => self.fb.ins().fpromote(types::F64, v),
            (Class::F64, Class::F32) if to == DType::F32 => self.fb.ins().fdemote(types::F32, v),
            (Class::F64, Class::F32) => {
                let code = DType::ALL.iter().position(|&d| d == to).unwrap_or(0) as i64;
                let code = self.fb.ins().iconst(types::I32, code);
                self.host_call(math::round_f64 as *const () as i64, &[code, v], types::F32)
            }
            (Class::I32 | Class::I64, Class::F32 | Class::F64) if to == DType::F32 || to == DType::F64 => {
                self.fb.ins().fcvt_from_sint(scalar_type(b), v)
            }
            (Class::I32 | Class::I64, Class::F32) => {
                // Through f64, which holds every integer that a narrow float can tell from its neighbours.
                let wide = self.fb.ins().fcvt_from_sint(types::F64, v);
                return self.cast_scalar(DType::F64, to, wide);
            }
            (Class::F32 | Class::F64, Class::I32) => {
                let r = self.fb.ins().fcvt_to_sint_sat(types::I32, v);
                self.clamp_int(to, r.into(), Lanes::One).low
            }
            (Class::F32 | Class::F64, Class::I64) => self.fb.ins().fcvt_to_sint_sat(types::I64, v),
            (Class::I32, Class::I64) => self.fb.ins().sextend(types::I64, v),
            (Class::I64, Class::I32) => {
                let (lo, hi) = to.int_range().unwrap_or((i32::MIN as i64, i32::MAX as i64));
                let (lo, hi) = (self.int(lo), self.int(hi));
                let v = self.fb.ins().smax(v, lo);
                let v = self.fb.ins().smin(v, hi);
                self.fb.ins().ireduce(types::I32, v)
            }
            _ => v,
        })
    }

    /// Where a reduction starts, in all lanes.
    pub fn identity(&mut self, class: Class, kind: tile_graph::ReduceKind, lanes: Lanes) -> Reg {
        use tile_graph::ReduceKind::*;
        match class {
            Class::F32 | Class::F64 => {
                let v = match kind {
                    Sum => 0.0,
                    Prod => 1.0,
                    Max => f64::NEG_INFINITY,
                    _ => f64::INFINITY,
                };
                self.float_constant(class, v, lanes)
            }
            _ => {
                let (lo, hi) = if is_wide(class) { (i64::MIN, i64::MAX) } else { (1 << 31, (1 << 31) - 1) };
                let v = match kind {
                    Sum => 0,
                    Prod => 1,
                    Max => lo,
                    _ => hi,
                };
                let one = self.fb.ins().iconst(scalar_type(class), v);
                self.splat(class, one, lanes)
            }
        }
    }

    /// One step of a reduction; `sum` is never NaN where it is a maximum or a minimum.
    pub fn reduce_step(
        &mut self,
        class: Class,
        kind: tile_graph::ReduceKind,
        sum: Reg,
        x: Reg,
        lanes: Lanes,
    ) -> Reg {
        use tile_graph::ReduceKind::*;
        let float = matches!(class, Class::F32 | Class::F64);
        match (kind, float) {
            (Sum, true) => self.each2(sum, x, |e, a, b| e.fb.ins().fadd(a, b)),
            (Prod, true) => self.each2(sum, x, |e, a, b| e.fb.ins().fmul(a, b)),
            (Sum, false) => self.each2(sum, x, |e, a, b| e.fb.ins().iadd(a, b)),
            (Prod, false) => self.each2(sum, x, |e, a, b| e.fb.ins().imul(a, b)),
            (_, true) => {
                let (a, b) = (Operand { reg: x, number: false }, Operand { reg: sum, number: true });
                self.extremum(class, a, b, kind == Max, lanes)
            }
            (_, false) => {
                let cc = if kind == Max { IntCC::SignedGreaterThan } else { IntCC::SignedLessThan };
                let better = self.int_compare(cc, x, sum);
                self.select_reg(class, better, x, sum, lanes)
            }
        }
    }

    /// The machine types of a register of a class.
    pub fn reg_types(class: Class, lanes: Lanes) -> (Type, bool) {
        match lanes {
            Lanes::One => (scalar_type(class), false),
            Lanes::Four => (part_type(class), is_wide(class)),
        }
    }
}
