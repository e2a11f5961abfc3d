//! Expressions to nodes. Operand order is evaluation order; every node has the type the checker gave.

use crate::context::{Lowered, Lowering, fault};
use tile_base::DType;
use tile_graph::{
    DotAxes, ElemOp, ForOp, Iter, Literal, LoopCombine, LoopOrigin, Op, RegionKind, Value, ValueType,
};
use tile_sema::typed::{self, SpanField, TExpr, TExprKind};

impl Lowering<'_> {
    pub fn expr(&mut self, e: &TExpr) -> Lowered<Value> {
        let op = match &e.kind {
            TExprKind::Literal(literal) => return self.literal(*literal, e),
            TExprKind::Local(local) => return self.local(*local, e.span),
            TExprKind::Dim(at) => return Ok(self.b.dim(*at)),
            TExprKind::Param(at) => return Ok(self.b.param(*at, e.ty.elem.dtype())),
            TExprKind::SpanField(span, field) => return self.span_field(*span, *field, e),
            TExprKind::Positions(span) => return self.positions(*span, e),
            TExprKind::Dot { lhs, rhs, axes } => return self.dot(lhs, rhs, axes, e),
            TExprKind::StreamDot { .. } => return self.stream_dot(e),
            TExprKind::Load(access) => return self.load(access),
            TExprKind::Broadcast(x) => {
                let x = self.expr(x)?;
                return self.broadcast(x, e);
            }
            TExprKind::Iota => (Op::Iota, vec![]),
            TExprKind::Elem { op, args } => (Op::Elem(*op), self.exprs(args)?),
            TExprKind::Cast(x) => {
                let x = self.expr(x)?;
                if self.b.type_of(x).dtype == e.ty.elem.dtype() {
                    return Ok(x);
                }
                (Op::Cast, vec![x])
            }
            TExprKind::Reshape { x, axes } => (Op::Reshape { axes: axes.clone() }, vec![self.expr(x)?]),
            TExprKind::Permute { x, order } => (Op::Permute { order: order.clone() }, vec![self.expr(x)?]),
            TExprKind::Merge { x, axis } => (Op::Merge { axis: *axis }, vec![self.expr(x)?]),
            TExprKind::Split { x, axis, minor } => {
                (Op::Split { axis: *axis, minor: *minor }, vec![self.expr(x)?])
            }
            TExprKind::Slice { x, axis, lo } => (Op::Slice { axis: *axis, lo: *lo }, vec![self.expr(x)?]),
            TExprKind::Concat { parts, axis } => (Op::Concat { axis: *axis }, self.exprs(parts)?),
            TExprKind::Take { x, index, axis } => {
                (Op::Take { axis: *axis }, vec![self.expr(x)?, self.expr(index)?])
            }
            TExprKind::Reduce { x, axis, kind } => {
                (Op::Reduce { axis: *axis, kind: *kind }, vec![self.expr(x)?])
            }
            TExprKind::Scan { x, axis, kind, reverse, exclusive } => (
                Op::Scan { axis: *axis, kind: *kind, reverse: *reverse, exclusive: *exclusive },
                vec![self.expr(x)?],
            ),
            TExprKind::Histogram { x, bins } => (Op::Histogram { bins: *bins }, vec![self.expr(x)?]),
            TExprKind::UnitLowerInv(x) => (Op::UnitLowerInv, vec![self.expr(x)?]),
        };
        let ty = self.ty(&e.ty, e.span)?;
        self.b.at(e.span);
        Ok(self.b.one(op.0, &op.1, ty))
    }

    pub fn exprs(&mut self, list: &[TExpr]) -> Lowered<Vec<Value>> {
        list.iter().map(|e| self.expr(e)).collect()
    }

    /// A scalar literal in the dtype of its place: `0` beside an `f32` is `0.0`.
    fn literal(&mut self, literal: Literal, e: &TExpr) -> Lowered<Value> {
        let dtype = e.ty.elem.dtype();
        let literal = match literal {
            Literal::Int(v) if dtype.is_float() => Literal::Float(v as f64),
            other => other,
        };
        self.b.at(e.span);
        let scalar = self.b.constant(literal, dtype);
        if e.ty.is_scalar() { Ok(scalar) } else { self.broadcast(scalar, e) }
    }

    fn broadcast(&mut self, x: Value, e: &TExpr) -> Lowered<Value> {
        let ty = self.ty(&e.ty, e.span)?;
        if *self.b.type_of(x) == ty {
            return Ok(x);
        }
        self.b.at(e.span);
        Ok(self.b.one(Op::Broadcast, &[x], ty))
    }

    fn span_field(&mut self, span: typed::SpanId, field: SpanField, e: &TExpr) -> Lowered<Value> {
        let open = self.open_span(span, e.span)?;
        Ok(match field {
            SpanField::Start => open.start,
            SpanField::End => open.end,
            SpanField::Id => open.number,
            SpanField::Len => {
                self.b.at(e.span);
                self.b.elem(ElemOp::Sub, &[open.end, open.start], ValueType::index())
            }
        })
    }

    /// `i.at`: start + iota.
    fn positions(&mut self, span: typed::SpanId, e: &TExpr) -> Lowered<Value> {
        let open = self.open_span(span, e.span)?;
        let ty = self.ty(&e.ty, e.span)?;
        self.b.at(e.span);
        let iota = self.b.one(Op::Iota, &[], ty.clone());
        Ok(self.b.elem(ElemOp::Add, &[iota, open.start], ty))
    }

    fn dot(&mut self, lhs: &TExpr, rhs: &TExpr, axes: &DotAxes, e: &TExpr) -> Lowered<Value> {
        let (lhs, lhs_order) = untransposed(lhs, axes.lhs_k, &axes.lhs_batch);
        let (rhs, rhs_order) = untransposed(rhs, axes.rhs_k, &axes.rhs_batch);
        let (a, b) = (self.expr(lhs)?, self.expr(rhs)?);
        let through = |order: Option<&[u32]>, at: u32| order.map_or(at, |o| o[at as usize]);
        let axes = DotAxes {
            lhs_batch: axes.lhs_batch.iter().map(|&x| through(lhs_order, x)).collect(),
            rhs_batch: axes.rhs_batch.iter().map(|&x| through(rhs_order, x)).collect(),
            lhs_k: through(lhs_order, axes.lhs_k),
            rhs_k: through(rhs_order, axes.rhs_k),
        };
        let ty = self.ty(&e.ty, e.span)?;
        self.b.at(e.span);
        Ok(self.b.one(Op::Dot(axes), &[a, b], ty))
    }

    /// `@` over a run-time axis: `for s in tiles(lo..hi, s) { acc += lhs @ rhs }`.
    fn stream_dot(&mut self, e: &TExpr) -> Lowered<Value> {
        let TExprKind::StreamDot { span, lo, hi, lhs, rhs, axes } = &e.kind else {
            return Err(fault(e.span, "not a streamed dot"));
        };
        let (lo, hi) = (self.expr(lo)?, self.expr(hi)?);
        let ty = self.ty(&e.ty, e.span)?;
        let info = &self.kernel.spans[span.index()];
        let path = info.path.clone();
        self.b.at(e.span);
        let zero = self.zero(ty.dtype);
        let start = self.b.one(Op::Broadcast, &[zero], ty.clone());
        let iter = typed::Iter::Tiles { span: *span, step: info.step };
        let (iter, body, carried) = self.open_loop(RegionKind::Loop, iter, false, vec![ty.clone()]);
        let step = self.dot(lhs, rhs, axes, e)?;
        let sum = self.b.elem(ElemOp::Add, &[carried[0], step], ty.clone());
        self.b.close(&[sum]);
        let f = ForOp {
            iter,
            body,
            name: path.clone(),
            origin: LoopOrigin::Stream,
            early_exit: false,
            skip: None,
            combine: LoopCombine::Sum,
        };
        self.b.at(e.span).named(path);
        debug_assert!(matches!(iter, Iter::Tiles { .. }));
        Ok(self.b.add(Op::For(f), &[lo, hi, start], vec![ty])[0])
    }

    fn zero(&mut self, dtype: DType) -> Value {
        let literal = if dtype.is_float() { Literal::Float(0.0) } else { Literal::Int(0) };
        self.b.constant(literal, dtype)
    }
}

/// Looks through a permutation that a dot can absorb into its axes: one that keeps the free axes in order.
fn untransposed<'e>(x: &'e TExpr, k: u32, batch: &[u32]) -> (&'e TExpr, Option<&'e [u32]>) {
    let TExprKind::Permute { x: inner, order } = &x.kind else { return (x, None) };
    let free = order.iter().enumerate().filter(|(at, _)| *at as u32 != k && !batch.contains(&(*at as u32)));
    let sources: Vec<u32> = free.map(|(_, &o)| o).collect();
    if sources.is_sorted() { (inner, Some(order)) } else { (x, None) }
}
