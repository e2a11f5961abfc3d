//! Named views: `view kb[s in len[b], d in D] = pages[table[b, s / P], s % P, h, d];`
//!
//! A view is evaluated anew at each use, with its axis variables bound to the subscripts: a span, a whole axis, a scalar, an
//! index tile. So paging, packing and halos compose without rules of their own.

use crate::{
    access::{Sub, Subs},
    elab::{Elab, Frame, MAX_CALLS},
    expr::Purpose,
    typed::*,
    value::{Binding, Scope, Val, ViewDef},
};
use std::rc::Rc;
use tile_base::{Diagnostic, Span, op::ElemOp};
use tile_syntax::ast::{Expr, ExprKind};

impl<'m> Elab<'m> {
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

    pub(crate) fn view_body(
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
    pub(crate) fn along_value(&mut self, axis: &Axis, base: Option<&TExpr>, at: Span) -> Option<Val<'m>> {
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

    pub(crate) fn view_expr(&mut self, e: &'m Expr, purpose: Purpose) -> Option<TExpr> {
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
    pub(crate) fn in_order(
        &mut self,
        e: TExpr,
        expected: &[Axis],
        v: &Rc<ViewDef<'m>>,
        span: Span,
    ) -> Option<TExpr> {
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
}
