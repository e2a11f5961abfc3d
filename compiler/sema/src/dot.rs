//! `@`: dtype and axis rules, the accumulator, and streams over run-time axes.

use crate::{elab::Elab, typed::*, value::Val, walk};
use tile_base::{DType, Diagnostic, Span, op::DotAxes};

impl<'m> Elab<'m> {
    pub fn dot(
        &mut self,
        a: Val<'m>,
        b: Val<'m>,
        acc: Option<DType>,
        sa: Span,
        sb: Span,
        span: Span,
    ) -> Val<'m> {
        let (Some(mut a), Some(mut b)) = (self.dot_operand(a, sa), self.dot_operand(b, sb)) else {
            return Val::Error;
        };
        (a.span, b.span) = (sa, sb);
        let (ta, tb) = (self.show(&a.ty), self.show(&b.ty));
        let both = |d: Diagnostic| d.also(sa, format!("this is {ta}")).also(sb, format!("this is {tb}"));
        let rank = a.ty.axes.len();
        if rank < 2 || b.ty.axes.len() != rank {
            let d = Diagnostic::error(
                "T0230",
                span,
                format!("`@` of {ta} and {tb}: the ranks must be equal, and 2 or more"),
            );
            return self.fail(both(d).help("insert an axis of extent 1: `x[_, :] @ w`, `w @ x[:, _]`"));
        }
        let batch = rank - 2;
        for n in 0..batch {
            if !self.agree(&a.ty.axes[n], &b.ty.axes[n]) {
                let (x, y) = (self.show_axis(&a.ty.axes[n]), self.show_axis(&b.ty.axes[n]));
                let d = Diagnostic::error(
                    "T0203",
                    span,
                    format!("batch axes `{x}` and `{y}` of `@` do not agree"),
                );
                return self.fail(both(d));
            }
        }
        let (ka, kb) = (a.ty.axes[rank - 1].clone(), b.ty.axes[rank - 2].clone());
        if !self.agree(&ka, &kb) {
            let (x, y) = (self.show_axis(&ka), self.show_axis(&kb));
            let message = format!("`@` contracts `{x}` with `{y}`, which do not agree");
            let d = both(Diagnostic::error("T0231", span, message));
            let flipped = self.agree(&ka, &b.ty.axes[rank - 1]);
            return self.fail(if flipped {
                d.help("transpose the second: `b.t`")
            } else {
                d.note("the last axis of the first is contracted with the last but one of the second")
            });
        }
        let Some(elem) = self.dot_elem(&a, &b, acc, span) else { return Val::Error };
        let mut axes = a.ty.axes[..rank - 1].to_vec();
        axes.push(b.ty.axes[rank - 1].clone());
        let ty = Type::tile(elem, axes);
        let lead: Vec<u32> = (0..batch as u32).collect();
        let dot = DotAxes {
            lhs_batch: lead.clone(),
            rhs_batch: lead,
            lhs_k: rank as u32 - 1,
            rhs_k: rank as u32 - 2,
        };
        let kind = match ka {
            Axis::Span { span: s, .. } if self.span_data[s.index()].hidden => {
                // A view may be contracted more than once: each stream has a span of its own.
                let (lo, hi) = (self.span_data[s.index()].lo.clone(), self.span_data[s.index()].hi.clone());
                let stream = self.new_span("", Step::Hidden, lo, hi, true, span);
                walk::replace_span(&mut a, s, stream);
                if let Axis::Span { span: other, .. } = kb {
                    walk::replace_span(&mut b, other, stream);
                }
                let s = stream;
                self.name_stream(s, span);
                let (lo, hi) = (self.span_data[s.index()].lo.clone(), self.span_data[s.index()].hi.clone());
                let (lo, hi) = (Box::new(lo), Box::new(hi));
                TExprKind::StreamDot { span: s, lo, hi, lhs: Box::new(a), rhs: Box::new(b), axes: dot }
            }
            _ => TExprKind::Dot { lhs: Box::new(a), rhs: Box::new(b), axes: dot },
        };
        let e = TExpr::new(kind, ty, span);
        match self.not_a_view(e, span) {
            Some(e) => Val::Expr(e),
            None => Val::Error,
        }
    }

    pub(crate) fn dot_operand(&mut self, v: Val<'m>, span: Span) -> Option<TExpr> {
        match v {
            Val::Expr(e) => Some(e),
            Val::Tensor(_) | Val::ViewDef(_) => match self.resolve_view(v, span) {
                Val::Expr(e) => Some(e),
                _ => None,
            },
            other => self.value(other, None, span),
        }
    }

    pub(crate) fn dot_elem(&mut self, a: &TExpr, b: &TExpr, acc: Option<DType>, span: Span) -> Option<Elem> {
        let (Elem::Of(x), Elem::Of(y)) = (a.ty.elem, b.ty.elem) else {
            self.report(
                Diagnostic::error("T0232", span, "`@` does not take indices").help("convert: `.to(f32)`"),
            );
            return None;
        };
        if x != y {
            let d = Diagnostic::error("T0232", span, format!("`@` of {x} and {y}"))
                .also(a.span, format!("this is {}", self.show(&a.ty)))
                .also(b.span, format!("this is {}", self.show(&b.ty)));
            self.report(d.help("convert one operand, so that both are of one dtype"));
            return None;
        }
        let Some(own) = x.accumulator() else {
            let d = Diagnostic::error("T0232", span, format!("`@` does not take {x}"));
            self.report(d.help("convert to a float type or to i8"));
            return None;
        };
        match acc {
            Some(d) if d.is_float() != own.is_float() || d.bits() < 16 => {
                let d = Diagnostic::error("T0232", span, format!("`@` of {x} cannot accumulate in {d}"));
                self.report(d);
                None
            }
            Some(d) => Some(Elem::Of(d)),
            None => Some(Elem::Of(own)),
        }
    }

    /// Gives a stream the path of the `let` that holds it.
    pub(crate) fn name_stream(&mut self, s: SpanId, span: Span) {
        let base = self.hint.clone().unwrap_or_else(|| "dot".into());
        let full = self.path(&base);
        let mut path = full.clone();
        let mut n = 2;
        while self.spans.iter().any(|i| i.step == Step::Hidden && i.path == path && i.span != span) {
            path = format!("{full}_{n}");
            n += 1;
        }
        let info = &mut self.spans[s.index()];
        info.path = path;
        info.name = base;
        info.span = span;
    }
}
