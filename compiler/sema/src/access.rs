//! Subscripts: what `x[i, :, n, idx]` reaches, of a tensor, a view, or a tile.
//!
//! # A worked example
//!
//! `k[b, j - 2, g, :]` with `k: T[B, N, HK, D]`, `j` a span, `D` const:
//!
//! ```text
//! b      scalar          coordinate b                      the axis is gone
//! j - 2  moved span      coordinate j.start - 2 + p0       axis j
//! g      scalar          coordinate g                      the axis is gone
//! :      D is static     coordinate p1                     axis D
//! ```
//!
//! All axes are static, so this is a load of `T[j, D]`. Had `D` been a run-time dimension, `:` would make a *hidden
//! span* over `0..D`: the load is then a view, and only a dot, a further subscript or a loop may take that axis.
//! Subscripting a view composes: its hidden span's start is replaced by the new coordinate ([`compose`](Elab::compose)).

use crate::{elab::*, expr::Purpose, ops::axis_of, typed::*, value::*, walk};
use std::rc::Rc;
use tile_base::{Diagnostic, Mode, Size, Span, op::*};
use tile_syntax::ast::{self, Expr, ExprKind, Subscript};

/// A subscript, understood.
#[derive(Clone)]
pub(crate) enum Sub {
    /// `:`
    All,
    Scalar(TExpr),
    /// Coordinate `base + p` along a new axis.
    Along {
        axis: Axis,
        base: Option<TExpr>,
    },
    /// `lo..hi` of run-time length.
    Range {
        lo: TExpr,
        hi: TExpr,
    },
    /// An index tile.
    Tile(TExpr),
}

/// A subscript of the source: one of an axis, or `_`.
pub(crate) struct Subs {
    pub subs: Vec<(Sub, Span)>,
    /// Positions (among the subscripts) of `_`.
    pub new: Vec<usize>,
    /// `unique(pos)` was said.
    pub unique: bool,
}

impl<'m> Elab<'m> {
    // ------------------------------------------------------------ entry points

    /// A subscript expression; under `Write` and `Accumulate` the place of a store, as a load of it.
    pub fn subscript(&mut self, e: &'m Expr, purpose: Purpose) -> Val<'m> {
        let ExprKind::Subscript { base, subscripts, otherwise } = &e.kind else { return self.eval(e) };
        let base_val = match &base.kind {
            ExprKind::Name(n)
                if matches!(self.lookup(n), Some(Binding::Val(Val::Tensor(_) | Val::ViewDef(_)))) =>
            {
                match self.lookup(n) {
                    Some(Binding::Val(v)) => v.clone(),
                    _ => Val::Error,
                }
            }
            _ => self.eval(base),
        };
        let otherwise = otherwise.as_ref().map(|o| (self.eval(o), o.span));
        let outer = std::mem::replace(&mut self.else_follows, otherwise.is_some());
        let v = self.subscript_of(base_val, subscripts, otherwise.is_some(), purpose, base.span, e.span);
        self.else_follows = outer;
        match otherwise {
            Some((o, span)) if !v.is_error() => self.with_else(v, o, span),
            _ => v,
        }
    }

    fn subscript_of(
        &mut self,
        base_val: Val<'m>,
        subscripts: &'m [Subscript],
        has_else: bool,
        purpose: Purpose,
        base_span: Span,
        span: Span,
    ) -> Val<'m> {
        match base_val {
            Val::Error => {
                self.block(|this| this.subs(subscripts));
                Val::Error
            }
            Val::Absent(name) => {
                self.absent_used(&name, base_span);
                Val::Error
            }
            Val::Array(locals) => self.array_element(&locals, subscripts, span),
            Val::Tensor(o) => {
                let Some(subs) = self.subs(subscripts) else { return Val::Error };
                self.tensor_access(o, subs, purpose, span)
            }
            Val::ViewDef(v) => {
                let Some(subs) = self.subs(subscripts) else { return Val::Error };
                self.view_access(&v, subs, purpose, span)
            }
            Val::Expr(x) if self.hidden_axis(&x.ty).is_some() => {
                let Some(subs) = self.subs(subscripts) else { return Val::Error };
                self.compose_subs(x, subs, span)
            }
            Val::Expr(x) if !has_else => self.tile_subscript(x, subscripts, span),
            Val::Expr(_) => {
                let d = Diagnostic::error("T0224", span, "`else` on a subscript of a tile");
                self.fail(d.help("`else` stands on a subscript of a tensor, where a position may be outside"))
            }
            other => {
                let message = format!("{} cannot be subscripted", other.kind());
                self.fail(Diagnostic::error("T0224", base_span, message))
            }
        }
    }

    /// A whole tensor as a value or view.
    pub fn whole(&mut self, o: ObjectId, span: Span) -> Val<'m> {
        let rank = self.objects[o.index()].shape.len();
        let subs = Subs { subs: vec![(Sub::All, span); rank], new: vec![], unique: false };
        self.tensor_access(o, subs, Purpose::Read, span)
    }

    /// A tensor or a named view without subscripts: all of it.
    pub fn resolve_view(&mut self, v: Val<'m>, span: Span) -> Val<'m> {
        match v {
            Val::Tensor(o) => self.whole(o, span),
            Val::ViewDef(v) => {
                let subs = Subs { subs: vec![(Sub::All, span); v.axes.len()], new: vec![], unique: false };
                self.view_access(&v, subs, Purpose::Read, span)
            }
            v => v,
        }
    }

    // ------------------------------------------------------------ reading subscripts

    pub fn subs(&mut self, subscripts: &'m [Subscript]) -> Option<Subs> {
        let mut out = Subs { subs: vec![], new: vec![], unique: false };
        let mut ok = true;
        for (n, s) in subscripts.iter().enumerate() {
            match s {
                Subscript::All(span) => out.subs.push((Sub::All, *span)),
                Subscript::New(_) => out.new.push(n),
                Subscript::Expr(e) => {
                    let e = match unique_of(e) {
                        Some(inner) => {
                            out.unique = true;
                            inner
                        }
                        None => e,
                    };
                    match self.sub(e) {
                        Some(sub) => out.subs.push((sub, e.span)),
                        None => ok = false,
                    }
                }
            }
        }
        ok.then_some(out)
    }

    fn sub(&mut self, e: &'m Expr) -> Option<Sub> {
        let v = self.eval(e);
        self.sub_of(v, e.span)
    }

    fn sub_of(&mut self, v: Val<'m>, span: Span) -> Option<Sub> {
        Some(match v {
            Val::Error => return None,
            Val::Span { span: s, offset } => {
                let start =
                    TExpr::new(TExprKind::SpanField(s, SpanField::Start), Type::scalar(Elem::Index), span);
                let base = match offset {
                    None => start,
                    Some(by) => self.sum(start, *by, span)?,
                };
                Sub::Along { axis: Axis::span(s), base: Some(base) }
            }
            Val::Along { axis, offset } => Sub::Along { axis, base: offset.map(|b| *b) },
            Val::Range(lo, hi) => self.range_sub(*lo, *hi, span)?,
            Val::Tiles { .. } | Val::Rev(_) => {
                let d = Diagnostic::error("T0225", span, format!("{} as a subscript", v.kind()));
                self.report(d.help("loop over it: `for j in tiles(N, B) { ... x[j] ... }`"));
                return None;
            }
            v => {
                let e = self.value(v, None, span)?;
                if e.ty.elem != Elem::Index {
                    let got = self.show(&e.ty);
                    let d =
                        Diagnostic::error("T0225", span, format!("a subscript is an index; this is {got}"));
                    self.report(match e.ty.elem.is_int() {
                        true => d.help("convert it: `.to(index)`"),
                        false => d,
                    });
                    return None;
                }
                if e.ty.is_scalar() { Sub::Scalar(e) } else { Sub::Tile(e) }
            }
        })
    }

    fn range_sub(&mut self, lo: Val<'m>, hi: Val<'m>, span: Span) -> Option<Sub> {
        if let (Val::Const(a), Val::Const(b)) = (&lo, &hi)
            && let (Some(x), Some(y), Some(s), Some(t)) = (a.int(), b.int(), a.size(), b.size())
        {
            if y < x {
                let d = Diagnostic::error("T0228", span, format!("the range {x}..{y} runs backwards"));
                self.report(d);
                return None;
            }
            let size = if x == 0 { t } else { Size::Sub(t.into(), s.into()) };
            let size = size.simplified_const().map_or(size, Size::Const);
            return Some(Sub::Along { axis: axis_of(y - x, size), base: Some(TExpr::int(x, span)) });
        }
        let lo = self.index_scalar(lo, span);
        let hi = self.index_scalar(hi, span);
        let (lo, hi) = (lo?, hi?);
        if let (Some(a), Some(b)) = (self.as_size(&lo), self.as_size(&hi))
            && let Some(n) = Size::Sub(b.into(), a.into()).simplified_const()
            && n >= 0
        {
            return Some(Sub::Along { axis: axis_of(n, Size::Const(n)), base: Some(lo) });
        }
        Some(Sub::Range { lo, hi })
    }

    fn arity(&mut self, got: usize, want: usize, what: String, span: Span) -> bool {
        if got != want {
            let message = format!("{what} has {want} axes and {got} subscripts");
            let d = Diagnostic::error("T0224", span, message);
            self.report(if got < want { d.help("write `:` for a whole axis") } else { d });
        }
        got == want
    }

    // ------------------------------------------------------------ tensors

    pub fn tensor_access(&mut self, o: ObjectId, subs: Subs, purpose: Purpose, span: Span) -> Val<'m> {
        let object = self.objects[o.index()].clone();
        if !self.allowed(&object, purpose, span)
            || !self.arity(subs.subs.len(), object.shape.len(), format!("`{}`", object.name), span)
        {
            return Val::Error;
        }
        let dims = self.shapes[o.index()].clone();
        let Some(tile_axes) = self.common_tile(&subs, span) else { return Val::Error };
        let mut b = AccessBuilder { axes: vec![], coords: vec![], tile_at: None };
        let mut masks = vec![];
        let mut ok = true;
        for (n, (sub, at)) in subs.subs.iter().enumerate() {
            let (index, inside) = match sub {
                Sub::All => {
                    let axis = self.dim_axis(&dims[n], *at);
                    let base = self.hidden_start(&axis, *at);
                    (b.along(axis, base), true)
                }
                Sub::Scalar(e) => {
                    ok &= self.const_inside(e, &object.shape[n], &object.name, *at);
                    masks.extend(self.none_leaf(e).map(|l| (l, None)));
                    (
                        CoordIndex::Affine { base: Some(e.clone()), terms: vec![] },
                        self.scalar_inside(e, &dims[n]),
                    )
                }
                Sub::Along { axis, base } => {
                    let inside = self.along_inside(axis, base.as_ref(), &dims[n]);
                    (b.along(axis.clone(), base.clone()), inside)
                }
                Sub::Range { lo, hi } => {
                    let h = self.new_span("", Step::Hidden, lo.clone(), hi.clone(), true, *at);
                    let axis = Axis::span(h);
                    let base = self.hidden_start(&axis, *at);
                    let inside = self.range_inside(lo, hi, &dims[n]);
                    (b.along(axis, base), inside)
                }
                Sub::Tile(e) => {
                    let start = b.tile(&tile_axes);
                    let inside = self.exclusive_bound(e).is_some_and(|s| self.within(&s, &dims[n]));
                    masks.extend(self.none_leaf(e).map(|l| (l, Some(start))));
                    (tile_coord(e, start), inside)
                }
            };
            b.coords.push(Coord { index, lo: None, hi: None, inside, outside_meant: false, span: *at });
        }
        if !ok {
            return Val::Error;
        }
        let axes = b.axes;
        let mask = self.mask_of(masks, &axes, span);
        let access = Access { object: o, coords: b.coords, axes: axes.clone(), otherwise: None, mask, span };
        let ty = Type::tile(object.elem(), axes);
        let load = TExpr::new(TExprKind::Load(Box::new(access)), ty, span);
        if subs.unique && purpose == Purpose::Read {
            let d = Diagnostic::error("T0247", span, "`unique(..)` is a claim on a store");
            return self.fail(d.help("write it on the left of `=`: `t[unique(pos)] = e;`"));
        }
        self.pending_unique |= subs.unique;
        Val::Expr(self.insert_new(load, &subs, &tile_axes, span))
    }

    fn allowed(&mut self, object: &Object, purpose: Purpose, span: Span) -> bool {
        let name = &object.name;
        let d = match (purpose, object.mode) {
            (Purpose::Read, Mode::Out) => {
                Diagnostic::error("T0235", span, format!("`{name}` is `out`: it cannot be read"))
                    .help("keep the value in a `let`, or declare the tensor `inout`")
            }
            (Purpose::Read, Mode::Sum) => {
                Diagnostic::error("T0235", span, format!("`{name}` is `sum`: it cannot be read"))
                    .help("its sum is complete only when the launch is; read it in another kernel")
            }
            (Purpose::Write | Purpose::Accumulate, Mode::In) => {
                Diagnostic::error("T0236", span, format!("`{name}` is `in`: it cannot be written"))
                    .help("declare it `out` or `inout`")
            }
            (Purpose::Write, Mode::Sum) => {
                Diagnostic::error("T0237", span, format!("`{name}` is `sum`: it takes only `+=`"))
                    .help("write `+=`, or declare the tensor `out`")
            }
            (Purpose::Accumulate, Mode::Out) => {
                Diagnostic::error("T0238", span, format!("`{name}` is `out`: it is written once, by `=`"))
                    .help("declare it `sum` to accumulate from many instances, or add up in a `var`")
            }
            _ => return true,
        };
        self.report(d);
        false
    }

    /// The axis that `:` gives of a dimension.
    fn dim_axis(&mut self, dim: &Size, span: Span) -> Axis {
        match dim.eval(&|n| self.const_value(n)) {
            Ok(v) => axis_of(v, dim.clone()),
            Err(_) => {
                let hi = self.size_expr(dim, span);
                Axis::span(self.new_span("", Step::Hidden, TExpr::int(0, span), hi, true, span))
            }
        }
    }

    fn hidden_start(&self, axis: &Axis, at: Span) -> Option<TExpr> {
        match axis {
            Axis::Span { span, .. } => {
                Some(TExpr::new(TExprKind::SpanField(*span, SpanField::Start), Type::scalar(Elem::Index), at))
            }
            _ => None,
        }
    }

    /// A constant subscript of a constant dimension is checked here.
    fn const_inside(&mut self, e: &TExpr, dim: &Size, name: &str, span: Span) -> bool {
        let (Some(v), Some(n)) = (e.as_int(), dim.as_const()) else { return true };
        if (0..n).contains(&v) || self.else_follows {
            return true;
        }
        let d =
            Diagnostic::error("T0228", span, format!("position {v} of an axis of `{name}` of extent {n}"));
        self.report(d.label(format!("valid are 0 to {}", n - 1)));
        false
    }

    fn scalar_inside(&self, e: &TExpr, dim: &Size) -> bool {
        if let (Some(v), Ok(n)) = (e.as_int(), dim.eval(&|n| self.const_value(n))) {
            return (0..n).contains(&v);
        }
        self.exclusive_bound(e).is_some_and(|s| self.within(&s, dim))
    }

    fn along_inside(&self, axis: &Axis, base: Option<&TExpr>, dim: &Size) -> bool {
        match axis {
            Axis::Span { span, times: 1 } => {
                let plain = base.is_some_and(|b| b.kind == TExprKind::SpanField(*span, SpanField::Start));
                let d = &self.span_data[span.index()];
                plain && self.range_inside(&d.lo, &d.hi, dim)
            }
            Axis::Fixed { value, .. } => {
                let lo = base.map_or(Some(0), |b| b.as_int());
                let n = dim.eval(&|n| self.const_value(n)).ok();
                matches!((lo, n), (Some(lo), Some(n)) if lo >= 0 && lo + *value as i64 <= n)
            }
            _ => false,
        }
    }

    fn range_inside(&self, lo: &TExpr, hi: &TExpr, dim: &Size) -> bool {
        self.inclusive_bound(lo).is_some() && self.inclusive_bound(hi).is_some_and(|s| self.within(&s, dim))
    }

    fn common_tile(&mut self, subs: &Subs, span: Span) -> Option<Vec<Axis>> {
        let tiles: Vec<&TExpr> = subs
            .subs
            .iter()
            .filter_map(|(s, _)| match s {
                Sub::Tile(e) => Some(e),
                _ => None,
            })
            .collect();
        self.stretch(&tiles, span)
    }

    /// `leaf >= 0` for each index that may be "none"; axes of a tile leaf stand at the given place.
    fn mask_of(
        &mut self,
        leaves: Vec<(TExpr, Option<u32>)>,
        axes: &[Axis],
        span: Span,
    ) -> Option<Box<TExpr>> {
        let mut mask: Option<TExpr> = None;
        for (leaf, at) in leaves {
            let zero = TExpr::int(0, span);
            let mut m = self.elem(ElemOp::Ge, vec![leaf, zero], span)?;
            if let Some(at) = at
                && !m.ty.is_scalar()
            {
                let rank = m.ty.axes.len() as u32;
                let picks: Vec<Option<u32>> =
                    (0..axes.len() as u32).map(|n| (at..at + rank).contains(&n).then(|| n - at)).collect();
                m = reshaped(m, picks, span);
            }
            mask = Some(match mask {
                None => m,
                Some(old) => self.elem(ElemOp::And, vec![old, m], span)?,
            });
        }
        mask.map(Box::new)
    }

    /// Puts the axes of `_` in.
    fn insert_new(&mut self, x: TExpr, subs: &Subs, tile_axes: &[Axis], span: Span) -> TExpr {
        if subs.new.is_empty() {
            return x;
        }
        let mut picks = vec![];
        let (mut next, mut n, mut tile_seen) = (0u32, 0usize, false);
        for at in 0..subs.subs.len() + subs.new.len() {
            if subs.new.contains(&at) {
                picks.push(None);
                continue;
            }
            let count = match &subs.subs[n].0 {
                Sub::Scalar(_) => 0,
                Sub::Tile(_) if tile_seen => 0,
                Sub::Tile(_) => {
                    tile_seen = true;
                    tile_axes.len() as u32
                }
                _ => 1,
            };
            n += 1;
            picks.extend((next..next + count).map(Some));
            next += count;
        }
        reshaped(x, picks, span)
    }

    fn with_else(&mut self, v: Val<'m>, otherwise: Val<'m>, span: Span) -> Val<'m> {
        let Val::Expr(mut e) = v else { return Val::Error };
        let elem = e.ty.elem;
        let Some(o) = self.value(otherwise, Some(elem), span) else { return Val::Error };
        if !o.ty.is_scalar() {
            let d = Diagnostic::error(
                "T0208",
                span,
                format!("`else` of a subscript is a scalar; this is {}", self.show(&o.ty)),
            );
            return self.fail(d);
        }
        let Some(a) = core_access(&mut e) else {
            let d = Diagnostic::error("T0262", span, "`else` on a rearranged view");
            return self.fail(d.help("put `else` on the subscript of the tensor itself"));
        };
        a.otherwise = Some(Box::new(o));
        for c in &mut a.coords {
            c.outside_meant = true;
        }
        Val::Expr(e)
    }

    // ------------------------------------------------------------ views of views

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

    fn compose_load(
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

    fn compose_coord(
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
    fn shift(
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
    fn sum(&mut self, a: TExpr, b: TExpr, span: Span) -> Option<TExpr> {
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
    fn still_inside(
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

    fn compose_mask(&mut self, mut m: TExpr, moves: &[Moved], rank: usize, span: Span) -> Option<TExpr> {
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

    // ------------------------------------------------------------ named views

    /// A use of `view kb[s in .., d in ..] = e;`: `e` anew, with the axis variables bound to the subscripts.
    pub fn view_access(&mut self, v: &Rc<ViewDef<'m>>, subs: Subs, purpose: Purpose, span: Span) -> Val<'m> {
        if !self.arity(subs.subs.len(), v.axes.len(), format!("the view `{}`", v.name.name), span) {
            return Val::Error;
        }
        let Some(tile_axes) = self.common_tile(&subs, span) else { return Val::Error };
        if self.frames.iter().filter(|f| f.name == v.name.name).count() > MAX_CALLS {
            return self.fail(Diagnostic::error(
                "T0257",
                v.span,
                format!("the view `{}` uses itself", v.name.name),
            ));
        }
        let frame = Frame {
            file: v.file,
            scopes: v.scopes.clone(),
            prefix: v.prefix.clone(),
            item: self.frame().item,
            name: v.name.name.clone(),
        };
        self.frames.push(frame);
        let result = self.view_body(v, &subs, &tile_axes, purpose, span);
        self.frames.pop();
        match result {
            Some(e) => Val::Expr(self.insert_new(e, &subs, &tile_axes, span)),
            None => Val::Error,
        }
    }

    fn view_body(
        &mut self,
        v: &Rc<ViewDef<'m>>,
        subs: &Subs,
        tile_axes: &[Axis],
        purpose: Purpose,
        span: Span,
    ) -> Option<TExpr> {
        self.frame_mut().scopes.push(Scope::new());
        let mut expected: Vec<Axis> = vec![];
        let mut tile_seen = false;
        for ((name, range), (sub, at)) in v.axes.iter().zip(&subs.subs) {
            let value = match sub {
                Sub::All => {
                    let (lo, hi) = self.bounds_of(range)?;
                    match self.range_sub(lo, hi, range.span)? {
                        Sub::Along { axis, base } => {
                            let offset = base.filter(|b| !b.is_zero()).map(Box::new);
                            Val::Along { axis, offset }
                        }
                        Sub::Range { lo, hi } => {
                            let h = self.new_span("", Step::Hidden, lo, hi, true, *at);
                            Val::Span { span: h, offset: None }
                        }
                        _ => return None,
                    }
                }
                Sub::Scalar(e) => Val::Expr(e.clone()),
                Sub::Tile(e) => Val::Expr(e.clone()),
                Sub::Range { lo, hi } => {
                    let h = self.new_span("", Step::Hidden, lo.clone(), hi.clone(), true, *at);
                    Val::Span { span: h, offset: None }
                }
                Sub::Along { axis, base } => self.along_value(axis, base.as_ref(), *at)?,
            };
            match &value {
                Val::Span { span, .. } => expected.push(Axis::span(*span)),
                Val::Along { axis, .. } => expected.push(axis.clone()),
                Val::Expr(e) if !e.ty.is_scalar() && !tile_seen => {
                    tile_seen = true;
                    expected.extend(tile_axes.iter().cloned());
                }
                _ => {}
            }
            self.bind(&name.name, Binding::Val(value));
        }
        let outer = std::mem::replace(&mut self.in_view, true);
        let body = self.view_expr(v.value, purpose);
        self.in_view = outer;
        let body = body?;
        self.in_order(body, &expected, v, span)
    }

    /// A span or axis subscript as the value of an axis variable.
    fn along_value(&mut self, axis: &Axis, base: Option<&TExpr>, at: Span) -> Option<Val<'m>> {
        Some(match axis {
            Axis::Span { span: s, .. } => {
                let start = TExprKind::SpanField(*s, SpanField::Start);
                let offset = match base {
                    Some(b) if b.kind == start => None,
                    Some(TExpr { kind: TExprKind::Elem { op: ElemOp::Add, args }, .. })
                        if args[0].kind == start =>
                    {
                        Some(Box::new(args[1].clone()))
                    }
                    Some(b) => {
                        let start = TExpr::new(start, Type::scalar(Elem::Index), at);
                        Some(Box::new(self.elem(ElemOp::Sub, vec![b.clone(), start], at)?))
                    }
                    None => None,
                };
                Val::Span { span: *s, offset }
            }
            axis => {
                let offset = base.filter(|b| !b.is_zero()).map(|b| Box::new(b.clone()));
                Val::Along { axis: axis.clone(), offset }
            }
        })
    }

    fn view_expr(&mut self, e: &'m Expr, purpose: Purpose) -> Option<TExpr> {
        let v = match &e.kind {
            ExprKind::Subscript { .. } => self.subscript(e, purpose),
            ExprKind::Paren(inner) => return self.view_expr(inner, purpose),
            _ if purpose == Purpose::Read => self.eval(e),
            _ => {
                let d = Diagnostic::error("T0240", e.span, "this view cannot be stored to");
                self.fail(d.help("a view that is written is a plain subscript of a tensor"))
            }
        };
        match v {
            Val::Expr(e) => Some(e),
            Val::Error => None,
            other => {
                let d = Diagnostic::error(
                    "T0257",
                    e.span,
                    format!("a view is an element of a tensor; this is {}", other.kind()),
                );
                self.report(d.help("write `view v[s in N] = x[..];`"));
                None
            }
        }
    }

    /// Brings the axes into the order of the view's own.
    fn in_order(&mut self, e: TExpr, expected: &[Axis], v: &Rc<ViewDef<'m>>, span: Span) -> Option<TExpr> {
        let mut order: Vec<u32> = vec![];
        for axis in expected {
            let free = |n: &usize| !order.contains(&(*n as u32));
            match (0..e.ty.axes.len()).filter(free).find(|&n| e.ty.axes[n] == *axis) {
                Some(n) => order.push(n as u32),
                None => {
                    let message = format!(
                        "the view `{}` does not use its axis `{}`",
                        v.name.name,
                        self.show_axis(axis)
                    );
                    let d = Diagnostic::error("T0257", v.value.span, message);
                    self.report(
                        d.help("every axis variable has to occur once, alone or in index arithmetic"),
                    );
                    return None;
                }
            }
        }
        if order.len() != e.ty.axes.len() {
            let message = format!("the body of the view `{}` has axes that are not its own", v.name.name);
            self.report(Diagnostic::error("T0257", v.value.span, message));
            return None;
        }
        if order.iter().enumerate().all(|(n, &o)| n as u32 == o) {
            return Some(TExpr { span, ..e });
        }
        Some(self.permuted(e, order, span))
    }

    /// `N`, `lo..hi`: the bounds of a range expression.
    pub fn bounds_of(&mut self, e: &'m Expr) -> Option<(Val<'m>, Val<'m>)> {
        match self.eval(e) {
            Val::Range(lo, hi) => Some((*lo, *hi)),
            Val::Error => None,
            v => Some((Val::index(0), v)),
        }
    }

    // ------------------------------------------------------------ tiles and arrays

    /// A tile under constants, constant ranges, `:` and `_`.
    fn tile_subscript(&mut self, x: TExpr, subscripts: &'m [Subscript], span: Span) -> Val<'m> {
        if x.ty.is_scalar() {
            return self.fail(Diagnostic::error("T0224", span, "a scalar cannot be subscripted"));
        }
        let count = subscripts.iter().filter(|s| !matches!(s, Subscript::New(_))).count();
        let what = self.show(&x.ty);
        if !self.arity(count, x.ty.axes.len(), what, span) {
            return Val::Error;
        }
        let mut x = x;
        let mut picks = vec![];
        let mut axis = 0u32;
        for s in subscripts {
            match s {
                Subscript::New(_) => picks.push(None),
                Subscript::All(_) => {
                    picks.push(Some(axis));
                    axis += 1;
                }
                Subscript::Expr(e) => {
                    match self.tile_axis_subscript(&mut x, axis, e) {
                        None => return Val::Error,
                        Some(true) => picks.push(Some(axis)),
                        Some(false) => {}
                    }
                    axis += 1;
                }
            }
        }
        Val::Expr(reshaped(x, picks, span))
    }

    /// Narrows one axis of a tile; whether the axis stays.
    fn tile_axis_subscript(&mut self, x: &mut TExpr, axis: u32, e: &'m Expr) -> Option<bool> {
        let old = x.ty.axes[axis as usize].clone();
        let v = self.eval(e);
        let (lo, len, size, keep) = match &v {
            Val::Error => return None,
            Val::Span { span, offset: None } if old == Axis::span(*span) => return Some(true),
            Val::Const(c) if c.int().is_some() => (c.int()?, 1, Size::Const(1), false),
            Val::Range(a, b) => match (&**a, &**b) {
                (Val::Const(a), Val::Const(b)) if a.int().is_some() && b.int().is_some() => {
                    let (lo, hi) = (a.int()?, b.int()?);
                    let size = match lo {
                        0 => b.size()?,
                        _ => Size::Sub(b.size()?.into(), a.size()?.into()),
                    };
                    let size = size.simplified_const().map_or(size, Size::Const);
                    (lo, hi - lo, size, true)
                }
                _ => return self.run_time_subscript(e.span),
            },
            _ => return self.run_time_subscript(e.span),
        };
        let extent = match &old {
            Axis::One => 1,
            Axis::Fixed { value, .. } => *value as i64,
            Axis::Span { .. } => {
                let name = self.show_axis(&old);
                let d =
                    Diagnostic::error("T0229", e.span, format!("the axis `{name}` has no fixed positions"));
                self.report(d.help("reduce over it (`x.sum(0)`), or pick with `take(x, i, axis)`"));
                return None;
            }
        };
        if lo < 0 || len < 0 || lo + len > extent {
            let name = self.show_axis(&old);
            let message = if keep {
                format!("{lo}..{} of the axis `{name}`", lo + len)
            } else {
                format!("position {lo} of the axis `{name}`")
            };
            self.report(Diagnostic::error("T0228", e.span, message).label(format!("its extent is {extent}")));
            return None;
        }
        if old != Axis::One && len != extent {
            let mut axes = x.ty.axes.clone();
            axes[axis as usize] = axis_of(len, size);
            let ty = Type::tile(x.ty.elem, axes);
            let inner = std::mem::replace(x, TExpr::int(0, e.span));
            *x = TExpr::new(TExprKind::Slice { x: Box::new(inner), axis, lo: lo as u64 }, ty, e.span);
        }
        Some(keep)
    }

    fn run_time_subscript(&mut self, span: Span) -> Option<bool> {
        let d = Diagnostic::error("T0227", span, "a tile is subscripted by constants, `:` and `_` only");
        self.report(d.help("pick run-time positions with `take(x, i, axis)`"));
        None
    }

    fn array_element(&mut self, locals: &[LocalId], subscripts: &'m [Subscript], span: Span) -> Val<'m> {
        match self.array_local(locals, subscripts, span) {
            Some(l) => Val::Expr(self.read(l, span)),
            None => Val::Error,
        }
    }

    pub fn array_local(
        &mut self,
        locals: &[LocalId],
        subscripts: &'m [Subscript],
        span: Span,
    ) -> Option<LocalId> {
        let [Subscript::Expr(e)] = subscripts else {
            let d = Diagnostic::error("T0248", span, "an array of tiles has one subscript");
            self.report(d.help("`Z[2]`, then the tile's own: `Z[2][:, 0]`"));
            return None;
        };
        let (n, _) = match self.eval(e) {
            Val::Error => return None,
            Val::Const(c) if c.int().is_some() => (c.int()?, ()),
            _ => {
                let d = Diagnostic::error(
                    "T0248",
                    e.span,
                    "an array of tiles is indexed by compile-time integers",
                );
                self.report(d.help("use `unroll s in 0..4 { ... Z[s] ... }`, or select among the tiles"));
                return None;
            }
        };
        match usize::try_from(n).ok().and_then(|n| locals.get(n)) {
            Some(&l) => Some(l),
            None => {
                let d = Diagnostic::error(
                    "T0228",
                    e.span,
                    format!("position {n} of an array of {}", locals.len()),
                );
                self.report(d);
                None
            }
        }
    }
}

/// What becomes of an axis of a view.
enum Moved {
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

struct AccessBuilder {
    axes: Vec<Axis>,
    coords: Vec<Coord>,
    /// Where the axes of the index tiles stand.
    tile_at: Option<u32>,
}

impl AccessBuilder {
    fn push(&mut self, axis: Axis) -> u32 {
        self.axes.push(axis);
        self.axes.len() as u32 - 1
    }

    fn along(&mut self, axis: Axis, base: Option<TExpr>) -> CoordIndex {
        let n = self.push(axis);
        CoordIndex::Affine { base: base.filter(|b| !b.is_zero()), terms: vec![(n, 1)] }
    }

    fn tile(&mut self, axes: &[Axis]) -> u32 {
        if let Some(at) = self.tile_at {
            return at;
        }
        let at = self.axes.len() as u32;
        self.axes.extend(axes.iter().cloned());
        self.tile_at = Some(at);
        at
    }
}

/// The access under reshapes.
fn core_access(e: &mut TExpr) -> Option<&mut Access> {
    match &mut e.kind {
        TExprKind::Reshape { x, .. } | TExprKind::Permute { x, .. } => core_access(x),
        TExprKind::Load(a) => Some(a),
        _ => None,
    }
}

fn too_composed(span: Span) -> Diagnostic {
    Diagnostic::error("T0262", span, "this subscript of a view with look-ups is not supported")
        .help("subscript the tensor, or the named `view`, directly")
}

/// `unique(pos)`
fn unique_of(e: &Expr) -> Option<&Expr> {
    let ExprKind::Call { function, args } = &e.kind else { return None };
    match (ident_of(function), &args[..]) {
        (Some("unique"), [ast::Arg { name: None, value }]) => Some(value),
        _ => None,
    }
}

/// Axes picked, dropped or new.
pub(crate) fn reshaped(x: TExpr, picks: Vec<Option<u32>>, span: Span) -> TExpr {
    if picks.len() == x.ty.axes.len() && picks.iter().enumerate().all(|(n, p)| *p == Some(n as u32)) {
        return x;
    }
    let axes = picks.iter().map(|p| p.map_or(Axis::One, |n| x.ty.axes[n as usize].clone())).collect();
    let ty = Type::tile(x.ty.elem, axes);
    TExpr::new(TExprKind::Reshape { x: Box::new(x), axes: picks }, ty, span)
}

/// An index tile as a coordinate: affine in the positions where it is, else a look-up.
fn tile_coord(e: &TExpr, at: u32) -> CoordIndex {
    let rank = e.ty.axes.len() as u32;
    match affine(e) {
        Some((base, terms)) => CoordIndex::Affine {
            base: base.filter(|b| !b.is_zero()),
            terms: terms.into_iter().map(|(n, s)| (n + at, s)).collect(),
        },
        None => CoordIndex::Gather { index: e.clone(), axes: (at..at + rank).collect() },
    }
}

type AffineForm = (Option<TExpr>, Vec<(u32, i64)>);

/// `base + Σ stride × position` of an index tile.
fn affine(e: &TExpr) -> Option<AffineForm> {
    let index = || Type::scalar(Elem::Index);
    if e.ty.is_scalar() {
        return Some((Some(e.clone()), vec![]));
    }
    match &e.kind {
        TExprKind::Positions(s) => {
            let start = TExpr::new(TExprKind::SpanField(*s, SpanField::Start), index(), e.span);
            Some((Some(start), vec![(0, 1)]))
        }
        TExprKind::Iota => Some((None, vec![(0, 1)])),
        TExprKind::Reshape { x, axes } => {
            let (base, terms) = affine(x)?;
            let place = |old: u32| axes.iter().position(|a| *a == Some(old)).map(|n| n as u32);
            let terms = terms.into_iter().map(|(n, s)| Some((place(n)?, s))).collect::<Option<Vec<_>>>()?;
            Some((base, terms))
        }
        TExprKind::Elem { op: op @ (ElemOp::Add | ElemOp::Sub), args } => {
            let ((a, mut terms), (b, more)) = (affine(&args[0])?, affine(&args[1])?);
            let sign = if *op == ElemOp::Sub { -1 } else { 1 };
            for (n, s) in more {
                match terms.iter_mut().find(|(m, _)| *m == n) {
                    Some((_, t)) => *t = t.checked_add(s.checked_mul(sign)?)?,
                    None => terms.push((n, s.checked_mul(sign)?)),
                }
            }
            let base = match (a, b) {
                (a, None) => a,
                (None, Some(b)) if sign == 1 => Some(b),
                (a, Some(b)) => {
                    let a = a.unwrap_or_else(|| TExpr::int(0, e.span));
                    Some(TExpr::new(TExprKind::Elem { op: *op, args: vec![a, b] }, index(), e.span))
                }
            };
            Some((base, terms))
        }
        TExprKind::Elem { op: ElemOp::Mul, args } => {
            let (x, by) = match (args[0].as_int(), args[1].as_int()) {
                (_, Some(c)) => (&args[0], c),
                (Some(c), _) => (&args[1], c),
                _ => return None,
            };
            let (base, terms) = affine(x)?;
            let base = base.map(|b| {
                let args = vec![b, TExpr::int(by, e.span)];
                TExpr::new(TExprKind::Elem { op: ElemOp::Mul, args }, index(), e.span)
            });
            Some((
                base,
                terms.into_iter().map(|(n, s)| Some((n, s.checked_mul(by)?))).collect::<Option<_>>()?,
            ))
        }
        _ => None,
    }
}
