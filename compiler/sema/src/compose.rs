//! Subscripting a view: each of its axes moves coordinates of the object, and a subscript of the axis moves them on.
//!
//! `let xs = x[lo..hi, :]; xs[j, c]`: the first axis of `xs` is a hidden span over `lo..hi` whose start is the coordinate. The
//! subscript `j` puts that start at `lo + j.start`, and what lies outside `lo..hi` is outside.

use crate::{
    access::{AccessBuilder, Sub, Subs, reshaped},
    coords::tile_coord,
    elab::Elab,
    typed::*,
    value::Val,
    walk,
};
use tile_base::{Diagnostic, Span, op::ElemOp};

/// What becomes of an axis of a view.
pub(crate) enum Moved {
    Kept(u32),
    /// Its start is at `base` and it moves along new axes.
    To {
        hidden: Option<SpanId>,
        base: TExpr,
        terms: Vec<(u32, i64)>,
    },
    Gathered {
        hidden: Option<SpanId>,
        index: TExpr,
        axes: Vec<u32>,
    },
}

impl<'m> Elab<'m> {
    /// Subscripts a view: a load with hidden axes, maybe converted or transposed.
    pub fn compose_subs(&mut self, x: TExpr, subs: Subs, span: Span) -> Val<'m> {
        let rank = x.ty.axes.len();
        if !self.arity(subs.subs.len(), rank, "this view".into(), span) {
            return Val::Error;
        }
        let Some(tile_axes) = self.common_tile(&subs, span) else { return Val::Error };
        let list: Vec<(Sub, Span)> = subs.subs.clone();
        match self.compose(x, list, &tile_axes, span) {
            Some(e) => Val::Expr(self.insert_new(e, &subs, &tile_axes, span)),
            None => Val::Error,
        }
    }

    pub fn compose(
        &mut self,
        x: TExpr,
        subs: Vec<(Sub, Span)>,
        tile_axes: &[Axis],
        span: Span,
    ) -> Option<TExpr> {
        let elem = x.ty.elem;
        match x.kind {
            TExprKind::Cast(inner) => {
                let e = self.compose(*inner, subs, tile_axes, span)?;
                let ty = Type::tile(elem, e.ty.axes.clone());
                Some(TExpr::new(TExprKind::Cast(Box::new(e)), ty, span))
            }
            TExprKind::Permute { x, order } if tile_axes.is_empty() => {
                let mut inner: Vec<Option<(Sub, Span)>> = vec![None; subs.len()];
                for (n, s) in subs.iter().enumerate() {
                    inner[order[n] as usize] = Some(s.clone());
                }
                let inner: Vec<_> = inner.into_iter().flatten().collect();
                let kept: Vec<bool> = inner.iter().map(|(s, _)| !matches!(s, Sub::Scalar(_))).collect();
                let e = self.compose(*x, inner, tile_axes, span)?;
                let position = |axis: u32| kept[..axis as usize].iter().filter(|k| **k).count() as u32;
                let order: Vec<u32> =
                    order.iter().filter(|&&o| kept[o as usize]).map(|&o| position(o)).collect();
                Some(self.permuted(e, order, span))
            }
            TExprKind::Load(a) => self.compose_load(*a, elem, subs, tile_axes, span),
            _ => {
                let d = Diagnostic::error(
                    "T0262",
                    span,
                    "a subscript of a merged, split or widened view is not supported",
                );
                self.report(d.help("subscript first, then rearrange"));
                None
            }
        }
    }

    pub(crate) fn compose_load(
        &mut self,
        a: Access,
        elem: Elem,
        subs: Vec<(Sub, Span)>,
        tile_axes: &[Axis],
        span: Span,
    ) -> Option<TExpr> {
        let mut b = AccessBuilder { axes: vec![], coords: a.coords, tile_at: None };
        // For each old axis: the terms that replace it, and the new start.
        let mut moves: Vec<Moved> = vec![];
        for (n, (sub, at)) in subs.iter().enumerate() {
            let old = &a.axes[n];
            let hidden = match old {
                Axis::Span { span, .. } if self.span_data[span.index()].hidden => Some(*span),
                _ => None,
            };
            let m = match sub {
                Sub::All => Moved::Kept(b.push(old.clone())),
                Sub::Scalar(e) => Moved::To { hidden, base: e.clone(), terms: vec![] },
                Sub::Along { axis, base } => {
                    let base = base.clone().unwrap_or_else(|| TExpr::int(0, *at));
                    Moved::To { hidden, base, terms: vec![(b.push(axis.clone()), 1)] }
                }
                Sub::Range { lo, hi } => {
                    let h = self.new_span("", Step::Hidden, lo.clone(), hi.clone(), true, *at);
                    let axis = Axis::span(h);
                    let base = self.hidden_start(&axis, *at)?;
                    Moved::To { hidden, base, terms: vec![(b.push(axis), 1)] }
                }
                Sub::Tile(e) => {
                    let start = b.tile(tile_axes);
                    match tile_coord(e, start) {
                        CoordIndex::Affine { base, terms } => {
                            let base = base.unwrap_or_else(|| TExpr::int(0, *at));
                            Moved::To { hidden, base, terms }
                        }
                        CoordIndex::Gather { index, axes } => Moved::Gathered { hidden, index, axes },
                    }
                }
            };
            moves.push(m);
        }
        let mut coords = std::mem::take(&mut b.coords);
        for c in &mut coords {
            self.compose_coord(c, &moves, &subs, span)?;
        }
        let mask = match a.mask {
            None => None,
            Some(m) => Some(Box::new(self.compose_mask(*m, &moves, b.axes.len(), span)?)),
        };
        let axes = b.axes;
        let access =
            Access { object: a.object, coords, axes: axes.clone(), otherwise: a.otherwise, mask, span };
        Some(TExpr::new(TExprKind::Load(Box::new(access)), Type::tile(elem, axes), span))
    }

    pub(crate) fn compose_coord(
        &mut self,
        c: &mut Coord,
        moves: &[Moved],
        subs: &[(Sub, Span)],
        span: Span,
    ) -> Option<()> {
        match &mut c.index {
            CoordIndex::Affine { base, terms } => {
                let mut out_terms = vec![];
                let mut gathered = None;
                for &(axis, stride) in terms.iter() {
                    match &moves[axis as usize] {
                        Moved::Kept(n) => out_terms.push((*n, stride)),
                        Moved::To { hidden, base: by, terms } => {
                            c.span = subs[axis as usize].1;
                            self.shift(base, *hidden, by, stride, span)?;
                            out_terms.extend(terms.iter().map(|&(n, s)| (n, s * stride)));
                            c.inside = self.still_inside(
                                c.inside, *hidden, terms, by, &mut c.lo, &mut c.hi, base, stride,
                            );
                        }
                        Moved::Gathered { hidden, index, axes } => {
                            c.span = subs[axis as usize].1;
                            gathered = Some((*hidden, index.clone(), axes.clone(), stride));
                        }
                    }
                }
                match gathered {
                    None => *terms = out_terms,
                    Some((hidden, index, axes, stride)) if out_terms.is_empty() => {
                        let mut base = base.take();
                        self.shift(&mut base, hidden, &TExpr::int(0, span), stride, span)?;
                        let mut index = index;
                        if stride != 1 {
                            index = self.elem(ElemOp::Mul, vec![index, TExpr::int(stride, span)], span)?;
                        }
                        if let Some(b) = base.filter(|b| !b.is_zero()) {
                            index = self.elem(ElemOp::Add, vec![index, b], span)?;
                        }
                        c.inside = false;
                        c.index = CoordIndex::Gather { index, axes };
                    }
                    Some(_) => {
                        self.report(too_composed(span));
                        return None;
                    }
                }
            }
            CoordIndex::Gather { index, axes } => {
                for axis in axes.iter_mut() {
                    match &moves[*axis as usize] {
                        Moved::Kept(n) => *axis = *n,
                        // A stream over a look-up: the positions of the new span are those of the old one.
                        Moved::To { hidden: Some(h), base, terms } => match (&base.kind, &terms[..]) {
                            (TExprKind::SpanField(s, SpanField::Start), [(n, 1)])
                                if self.span_data[h.index()].lo.is_zero() =>
                            {
                                walk::replace_span(index, *h, *s);
                                *axis = *n;
                            }
                            _ => {
                                self.report(too_composed(span));
                                return None;
                            }
                        },
                        _ => {
                            self.report(too_composed(span));
                            return None;
                        }
                    }
                }
            }
        }
        Some(())
    }

    /// `base` with the hidden span's start put at `lo + by`, or `stride * by` added for a static axis.
    pub(crate) fn shift(
        &mut self,
        base: &mut Option<TExpr>,
        hidden: Option<SpanId>,
        by: &TExpr,
        stride: i64,
        span: Span,
    ) -> Option<()> {
        match (hidden, base.as_mut()) {
            (Some(h), Some(b)) => {
                let lo = self.span_data[h.index()].lo.clone();
                let start = if lo.is_zero() {
                    by.clone()
                } else if by.is_zero() {
                    lo
                } else {
                    self.sum(lo, by.clone(), span)?
                };
                walk::replace_start(b, h, &start);
            }
            _ if by.is_zero() => {}
            (_, old) => {
                let mut step = by.clone();
                if stride != 1 {
                    step = self.elem(ElemOp::Mul, vec![step, TExpr::int(stride, span)], span)?;
                }
                let sum = match old {
                    Some(b) => self.elem(ElemOp::Add, vec![b.clone(), step], span)?,
                    None => step,
                };
                *base = Some(sum);
            }
        }
        Some(())
    }

    /// `a + b` of indices, with a negated part subtracted and equal parts cancelled.
    pub(crate) fn sum(&mut self, a: TExpr, b: TExpr, span: Span) -> Option<TExpr> {
        match b.kind {
            TExprKind::Elem { op: ElemOp::Neg, args } => {
                let [by] = <[TExpr; 1]>::try_from(args).ok()?;
                self.elem(ElemOp::Sub, vec![a, by], span)
            }
            // a + ((x - a) + c) is x + c.
            TExprKind::Elem { op: ElemOp::Sub, args } if walk::same_value(&args[1], &a) => {
                Some(args[0].clone())
            }
            TExprKind::Elem { op: op @ (ElemOp::Add | ElemOp::Sub), args } => {
                let [x, y] = <[TExpr; 2]>::try_from(args).ok()?;
                let front = self.sum(a, x, span)?;
                self.elem(op, vec![front, y], span)
            }
            kind => self.elem(ElemOp::Add, vec![a, TExpr { kind, ..b }], span),
        }
    }

    /// Whether a coordinate stays inside, and the narrower limits that a slice sets.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn still_inside(
        &self,
        was: bool,
        hidden: Option<SpanId>,
        terms: &[(u32, i64)],
        by: &TExpr,
        lo: &mut Option<TExpr>,
        hi: &mut Option<TExpr>,
        _base: &Option<TExpr>,
        stride: i64,
    ) -> bool {
        let Some(h) = hidden else { return false };
        let range = &self.span_data[h.index()];
        if stride != 1 {
            return false;
        }
        // A whole dimension: the span's own range decides.
        if range.lo.is_zero() {
            if let (TExprKind::SpanField(s, SpanField::Start), [(_, 1)]) = (&by.kind, terms) {
                let d = &self.span_data[s.index()];
                let covers = match (self.inclusive_bound(&d.hi), self.as_size(&range.hi)) {
                    (Some(x), Some(y)) => x.same(&y),
                    _ => walk::same_value(&d.hi, &range.hi),
                };
                if was && covers && self.inclusive_bound(&d.lo).is_some() {
                    return true;
                }
            } else if let (Some(x), Some(y)) = (self.exclusive_bound(by), self.as_size(&range.hi))
                && terms.is_empty()
                && x.same(&y)
            {
                return was;
            }
        }
        let whole = was && range.lo.is_zero() && matches!(range.hi.kind, TExprKind::Dim(_));
        if !whole {
            *lo = Some(range.lo.clone());
            *hi = Some(range.hi.clone());
        }
        false
    }

    pub(crate) fn compose_mask(
        &mut self,
        mut m: TExpr,
        moves: &[Moved],
        rank: usize,
        span: Span,
    ) -> Option<TExpr> {
        if m.ty.is_scalar() {
            return Some(m);
        }
        let mut picks: Vec<Option<u32>> = vec![None; rank];
        for (old, mv) in moves.iter().enumerate() {
            let one = m.ty.axes[old] == Axis::One;
            match mv {
                Moved::Kept(n) => picks[*n as usize] = Some(old as u32),
                _ if one => {}
                Moved::To { hidden: Some(h), base, terms } => match (&base.kind, &terms[..]) {
                    (TExprKind::SpanField(s, SpanField::Start), [(n, 1)])
                        if self.span_data[h.index()].lo.is_zero() =>
                    {
                        walk::replace_span(&mut m, *h, *s);
                        picks[*n as usize] = Some(old as u32);
                    }
                    _ => {
                        self.report(too_composed(span));
                        return None;
                    }
                },
                _ => {
                    self.report(too_composed(span));
                    return None;
                }
            }
        }
        Some(reshaped(m, picks, span))
    }
}

pub(crate) fn too_composed(span: Span) -> Diagnostic {
    Diagnostic::error("T0262", span, "this subscript of a view with look-ups is not supported")
        .help("subscript the tensor, or the named `view`, directly")
}
