//! Tiles under constant subscripts, and arrays of tiles.

use crate::{access::reshaped, elab::Elab, ops::axis_of, typed::*, value::Val};
use tile_base::{Diagnostic, Size, Span};
use tile_syntax::ast::{Expr, Subscript};

impl<'m> Elab<'m> {
    /// A tile under constants, constant ranges, `:` and `_`.
    pub(crate) fn tile_subscript(&mut self, x: TExpr, subscripts: &'m [Subscript], span: Span) -> Val<'m> {
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
    pub(crate) fn tile_axis_subscript(&mut self, x: &mut TExpr, axis: u32, e: &'m Expr) -> Option<bool> {
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

    pub(crate) fn run_time_subscript(&mut self, span: Span) -> Option<bool> {
        let d = Diagnostic::error("T0227", span, "a tile is subscripted by constants, `:` and `_` only");
        self.report(d.help("pick run-time positions with `take(x, i, axis)`"));
        None
    }

    pub(crate) fn array_element(
        &mut self,
        locals: &[LocalId],
        subscripts: &'m [Subscript],
        span: Span,
    ) -> Val<'m> {
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
