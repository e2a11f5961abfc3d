//! Methods: reductions, `.merge`, `.split`, `.permute`, `.rev`.

use crate::{builtins::NAMES, elab::Elab, ops::axis_of, typed::*, value::Val};
use tile_base::{Diagnostic, Size, Span, op::ReduceKind};
use tile_syntax::ast::{Arg, Expr, Ident};

impl<'m> Elab<'m> {
    pub fn method(&mut self, receiver: &'m Expr, name: &'m Ident, args: &'m [Arg], span: Span) -> Val<'m> {
        let v = self.eval(receiver);
        if v.is_error() {
            return v;
        }
        let kind = match name.name.as_str() {
            "sum" => ReduceKind::Sum,
            "prod" => ReduceKind::Prod,
            "max" => ReduceKind::Max,
            "min" => ReduceKind::Min,
            "any" => ReduceKind::Any,
            "all" => ReduceKind::All,
            "argmax" => ReduceKind::ArgMax,
            "argmin" => ReduceKind::ArgMin,
            "merge" | "split" | "permute" => return self.rearrange(v, receiver.span, name, args, span),
            "rev" => {
                return match v {
                    Val::Range(..) | Val::Tiles { .. } | Val::Const(_) | Val::Tensor(_) => {
                        Val::Rev(Box::new(v))
                    }
                    Val::Expr(ref e) if e.ty.elem == Elem::Index => Val::Rev(Box::new(v)),
                    other => {
                        let d = Diagnostic::error("T0252", span, format!("`.rev()` of {}", other.kind()));
                        self.fail(d.help("`.rev()` is of ranges: `(0..n).rev()`, `tiles(N, B).rev()`"))
                    }
                };
            }
            _ => {
                let d =
                    Diagnostic::error("T0216", name.span, format!("there is no method `.{}()`", name.name));
                let d = match crate::module::nearest(&name.name, METHODS.iter().copied()) {
                    Some(near) => d.help(format!("did you mean `.{near}()`?")),
                    None if NAMES.contains(&name.name.as_str()) => {
                        d.help(format!("`{0}` is a function: `{0}(x)`", name.name))
                    }
                    None => d.help(format!("methods: {}", METHODS.join(" "))),
                };
                return self.fail(d);
            }
        };
        let Some((a, by_name)) = self.args(&name.name, args, 0..=1, &["axis"], span) else {
            return Val::Error;
        };
        let Some(x) = self.value(v, None, receiver.span) else { return Val::Error };
        // A mask that is the same everywhere is a scalar: `mask(..).any()` is that scalar.
        let whole = a.is_empty() && by_name.is_empty() && x.ty.elem == Elem::BOOL;
        if x.ty.is_scalar() && whole && matches!(kind, ReduceKind::Any | ReduceKind::All) {
            return Val::Expr(x);
        }
        let Some(x) = self.tile_of(x, &name.name) else { return Val::Error };
        let fits = match kind {
            ReduceKind::Any | ReduceKind::All => x.ty.elem == Elem::BOOL,
            _ => x.ty.elem != Elem::BOOL,
        };
        if !fits {
            let d = Diagnostic::error(
                "T0206",
                span,
                format!("`.{}()` does not take {}", name.name, x.ty.elem.name()),
            );
            return self.fail(match x.ty.elem == Elem::BOOL {
                true => d.help("count with `select(c, 1, 0).sum(..)`, or ask `.any()`, `.all()`"),
                false => d.help("compare first: `(x != 0).any(..)`"),
            });
        }
        match a.first().copied().or(by_name.first().map(|(_, e)| *e)) {
            Some(e) => match self.axis_number(e, &x.ty) {
                Some(axis) => Val::Expr(self.reduced(x, axis, kind, span)),
                None => Val::Error,
            },
            None => self.reduce_all(x, kind, name, span),
        }
    }

    pub(crate) fn reduced(&mut self, x: TExpr, axis: u32, kind: ReduceKind, span: Span) -> TExpr {
        let mut axes = x.ty.axes.clone();
        axes[axis as usize] = Axis::One;
        let elem = match kind {
            ReduceKind::ArgMax | ReduceKind::ArgMin => Elem::Index,
            _ => x.ty.elem,
        };
        TExpr::new(TExprKind::Reduce { x: Box::new(x), axis, kind }, Type::tile(elem, axes), span)
    }

    pub(crate) fn reduce_all(&mut self, x: TExpr, kind: ReduceKind, name: &Ident, span: Span) -> Val<'m> {
        let rank = x.ty.axes.len();
        if rank > 1 && matches!(kind, ReduceKind::ArgMax | ReduceKind::ArgMin) {
            let d = Diagnostic::error(
                "T0222",
                span,
                format!("`.{}()` of {} needs an axis", name.name, self.show(&x.ty)),
            );
            return self.fail(d.help(format!("`.{}(1)`", name.name)));
        }
        let mut x = x;
        for axis in (0..rank as u32).rev() {
            x = self.reduced(x, axis, kind, span);
        }
        Val::Expr(crate::access::reshaped(x, vec![], span))
    }

    pub(crate) fn rearrange(
        &mut self,
        v: Val<'m>,
        at: Span,
        name: &'m Ident,
        args: &'m [Arg],
        span: Span,
    ) -> Val<'m> {
        let Some(x) = self.tile_or_view(v, at) else { return Val::Error };
        let count = if name.name == "permute" { 0..=16 } else { 2..=2 };
        let Some((a, _)) = self.args(&name.name, args, count, &[], span) else { return Val::Error };
        match name.name.as_str() {
            "permute" => {
                let order: Option<Vec<u32>> = a.iter().map(|e| self.axis_number(e, &x.ty)).collect();
                let Some(order) = order else { return Val::Error };
                let mut seen = order.clone();
                seen.sort_unstable();
                if seen.len() != x.ty.axes.len() || seen.iter().enumerate().any(|(n, &s)| n as u32 != s) {
                    let message = format!("`.permute` of {} names each of its axes once", self.show(&x.ty));
                    return self.fail(Diagnostic::error("T0253", span, message));
                }
                Val::Expr(self.permuted(x, order, span))
            }
            "merge" => self.merge(x, &a, span),
            _ => self.split(x, &a, span),
        }
    }

    pub(crate) fn merge(&mut self, x: TExpr, a: &[&'m Expr], span: Span) -> Val<'m> {
        let (Some(p), Some(q)) = (self.axis_number(a[0], &x.ty), self.axis_number(a[1], &x.ty)) else {
            return Val::Error;
        };
        let merged = match (&x.ty.axes[p as usize], x.ty.axes.get(q as usize)) {
            (first, Some(Axis::Fixed { size, value })) if q == p + 1 => match first {
                Axis::One => Some(Axis::Fixed { size: size.clone(), value: *value }),
                Axis::Fixed { size: s, value: v } => {
                    let size = Size::Mul(s.clone().into(), size.clone().into());
                    let size = size.simplified_const().map_or(size, Size::Const);
                    v.checked_mul(*value).map(|value| Axis::Fixed { size, value })
                }
                Axis::Span { span, times } => {
                    times.checked_mul(*value).map(|times| Axis::Span { span: *span, times })
                }
            },
            _ => None,
        };
        let Some(merged) = merged else {
            let message = format!("axes {p} and {q} of {} cannot be merged", self.show(&x.ty));
            let d = Diagnostic::error("T0253", span, message);
            return self
                .fail(d.help("`.merge(a, b)` joins two neighbours, of which the second is compile-time"));
        };
        let mut axes = x.ty.axes.clone();
        axes[p as usize] = merged;
        axes.remove(q as usize);
        let ty = Type::tile(x.ty.elem, axes);
        Val::Expr(TExpr::new(TExprKind::Merge { x: Box::new(x), axis: p }, ty, span))
    }

    pub(crate) fn split(&mut self, x: TExpr, a: &[&'m Expr], span: Span) -> Val<'m> {
        let axis = self.axis_number(a[0], &x.ty);
        let minor = self.const_int(a[1], "the inner extent of `.split`");
        let (Some(axis), Some((minor, size))) = (axis, minor) else { return Val::Error };
        let outer = match &x.ty.axes[axis as usize] {
            _ if minor < 1 => None,
            Axis::Fixed { value, size: s } if value % minor as u64 == 0 => {
                let outer = Size::FloorDiv(s.clone().into(), size.clone().into());
                let outer = quotient(s, &size).unwrap_or(outer);
                Some(axis_of((value / minor as u64) as i64, outer))
            }
            Axis::Span { span, times } if times % minor as u64 == 0 => {
                Some(Axis::Span { span: *span, times: times / minor as u64 })
            }
            _ => None,
        };
        let Some(outer) = outer else {
            let message = format!("axis {axis} of {} cannot be split by {minor}", self.show(&x.ty));
            let d = Diagnostic::error("T0253", span, message);
            return self.fail(d.help(
                "`.split(a, c)` needs a compile-time axis of a multiple of `c`, or an axis merged from `c`",
            ));
        };
        let mut axes = x.ty.axes.clone();
        axes[axis as usize] = outer;
        axes.insert(axis as usize + 1, axis_of(minor, size));
        let ty = Type::tile(x.ty.elem, axes);
        Val::Expr(TExpr::new(TExprKind::Split { x: Box::new(x), axis, minor: minor as u64 }, ty, span))
    }
}

/// `2 * F / 2` is `F`, where the factor is plain.
pub(crate) fn quotient(s: &Size, by: &Size) -> Option<Size> {
    match s {
        Size::Mul(a, b) if b.same(by) => Some((**a).clone()),
        Size::Mul(a, b) if a.same(by) => Some((**b).clone()),
        Size::Const(n) => Some(Size::Const(n / by.as_const().filter(|b| *b != 0)?)),
        _ => None,
    }
}

const METHODS: &[&str] =
    &["sum", "prod", "max", "min", "any", "all", "argmax", "argmin", "merge", "split", "permute", "rev"];
