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

use crate::{
    coords::tile_coord,
    elab::{Elab, ident_of},
    expr::Purpose,
    ops::axis_of,
    typed::*,
    value::{Binding, Val},
};
use tile_base::{Diagnostic, Mode, Size, Span, op::ElemOp};
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

    pub(crate) fn subscript_of(
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

    pub(crate) fn sub(&mut self, e: &'m Expr) -> Option<Sub> {
        let v = self.eval(e);
        self.sub_of(v, e.span)
    }

    pub(crate) fn sub_of(&mut self, v: Val<'m>, span: Span) -> Option<Sub> {
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

    pub(crate) fn range_sub(&mut self, lo: Val<'m>, hi: Val<'m>, span: Span) -> Option<Sub> {
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

    pub(crate) fn arity(&mut self, got: usize, want: usize, what: String, span: Span) -> bool {
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

    pub(crate) fn allowed(&mut self, object: &Object, purpose: Purpose, span: Span) -> bool {
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
    pub(crate) fn dim_axis(&mut self, dim: &Size, span: Span) -> Axis {
        match dim.eval(&|n| self.const_value(n)) {
            Ok(v) => axis_of(v, dim.clone()),
            Err(_) => {
                let hi = self.size_expr(dim, span);
                Axis::span(self.new_span("", Step::Hidden, TExpr::int(0, span), hi, true, span))
            }
        }
    }

    pub(crate) fn hidden_start(&self, axis: &Axis, at: Span) -> Option<TExpr> {
        match axis {
            Axis::Span { span, .. } => {
                Some(TExpr::new(TExprKind::SpanField(*span, SpanField::Start), Type::scalar(Elem::Index), at))
            }
            _ => None,
        }
    }

    /// A constant subscript of a constant dimension is checked here.
    pub(crate) fn const_inside(&mut self, e: &TExpr, dim: &Size, name: &str, span: Span) -> bool {
        let (Some(v), Some(n)) = (e.as_int(), dim.as_const()) else { return true };
        if (0..n).contains(&v) || self.else_follows {
            return true;
        }
        let d =
            Diagnostic::error("T0228", span, format!("position {v} of an axis of `{name}` of extent {n}"));
        self.report(d.label(format!("valid are 0 to {}", n - 1)));
        false
    }

    pub(crate) fn scalar_inside(&self, e: &TExpr, dim: &Size) -> bool {
        if let (Some(v), Ok(n)) = (e.as_int(), dim.eval(&|n| self.const_value(n))) {
            return (0..n).contains(&v);
        }
        self.exclusive_bound(e).is_some_and(|s| self.within(&s, dim))
    }

    pub(crate) fn along_inside(&self, axis: &Axis, base: Option<&TExpr>, dim: &Size) -> bool {
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

    pub(crate) fn range_inside(&self, lo: &TExpr, hi: &TExpr, dim: &Size) -> bool {
        self.inclusive_bound(lo).is_some() && self.inclusive_bound(hi).is_some_and(|s| self.within(&s, dim))
    }

    pub(crate) fn common_tile(&mut self, subs: &Subs, span: Span) -> Option<Vec<Axis>> {
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
    pub(crate) fn mask_of(
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
    pub(crate) fn insert_new(&mut self, x: TExpr, subs: &Subs, tile_axes: &[Axis], span: Span) -> TExpr {
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

    pub(crate) fn with_else(&mut self, v: Val<'m>, otherwise: Val<'m>, span: Span) -> Val<'m> {
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
}

pub(crate) struct AccessBuilder {
    pub(crate) axes: Vec<Axis>,
    pub(crate) coords: Vec<Coord>,
    /// Where the axes of the index tiles stand.
    pub(crate) tile_at: Option<u32>,
}

impl AccessBuilder {
    pub(crate) fn push(&mut self, axis: Axis) -> u32 {
        self.axes.push(axis);
        self.axes.len() as u32 - 1
    }

    pub(crate) fn along(&mut self, axis: Axis, base: Option<TExpr>) -> CoordIndex {
        let n = self.push(axis);
        CoordIndex::Affine { base: base.filter(|b| !b.is_zero()), terms: vec![(n, 1)] }
    }

    pub(crate) fn tile(&mut self, axes: &[Axis]) -> u32 {
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
pub(crate) fn core_access(e: &mut TExpr) -> Option<&mut Access> {
    match &mut e.kind {
        TExprKind::Reshape { x, .. } | TExprKind::Permute { x, .. } => core_access(x),
        TExprKind::Load(a) => Some(a),
        _ => None,
    }
}

/// `unique(pos)`
pub(crate) fn unique_of(e: &Expr) -> Option<&Expr> {
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
