//! Loops: over indices, tiles, lists; `unroll`, `while`, `break`, `assert`.

use crate::{
    elab::{Elab, MAX_UNROLL, Nest, TileFields},
    typed::*,
    value::{Binding, Const, Val},
    walk,
};
use tile_base::{
    Diagnostic, IndexKind, Span,
    op::{ElemOp, Literal},
};
use tile_syntax::ast::{self, Claim, Expr, Ident, Pattern};

/// What a loop runs over, before its variable is bound.
pub(crate) enum Over<'m> {
    Each { lo: TExpr, hi: TExpr, reverse: bool },
    Tiles { lo: TExpr, hi: TExpr, step: Step, reverse: bool },
    List { list: Val<'m>, hi: TExpr, reverse: bool },
}

impl<'m> Elab<'m> {
    /// What a range expression runs over.
    pub fn over(&mut self, v: Val<'m>, at: Span, reverse: bool) -> Option<Over<'m>> {
        match v {
            Val::Error => None,
            Val::Rev(inner) => self.over(*inner, at, !reverse),
            Val::Tiles { lo, hi, step } => Some(Over::Tiles { lo, hi, step, reverse }),
            Val::Tensor(_) | Val::ViewDef(_) => {
                let v = self.resolve_view(v, at);
                self.over_list(v, at, reverse)
            }
            Val::Expr(ref e) if !e.ty.is_scalar() => self.over_list(v, at, reverse),
            Val::Expr(e) if e.ty.elem != Elem::Index => {
                let message = format!("{} cannot be looped over", self.show(&e.ty));
                let d = Diagnostic::error("T0252", at, message);
                self.report(match e.ty.elem.is_int() {
                    true => d.help("convert it: `.to(index)`"),
                    false => {
                        d.help("loop over a dimension, `lo..hi`, `tiles(r, B)`, or an id list `ids[b, :]`")
                    }
                });
                None
            }
            v @ (Val::Range(..) | Val::Span { .. } | Val::Const(_) | Val::Expr(_)) => {
                let (lo, hi) = self.range_of(v, at)?;
                Some(Over::Each { lo, hi, reverse })
            }
            other => {
                let d = Diagnostic::error("T0252", at, format!("{} cannot be looped over", other.kind()));
                self.report(
                    d.help("loop over a dimension, `lo..hi`, `tiles(r, B)`, or an id list `ids[b, :]`"),
                );
                None
            }
        }
    }

    pub(crate) fn over_list(&mut self, v: Val<'m>, at: Span, reverse: bool) -> Option<Over<'m>> {
        let Val::Expr(e) = v else { return None };
        let list = matches!(e.kind, TExprKind::Load(_)) && e.ty.axes.len() == 1 && e.ty.elem == Elem::Index;
        if !list {
            let d = Diagnostic::error("T0252", at, format!("{} cannot be looped over", self.show(&e.ty)));
            self.report(d.help(
                "a loop runs over a dimension, a range, `tiles(r, B)`, or a list of indices in memory",
            ));
            return None;
        }
        let hi = match &e.ty.axes[0] {
            Axis::One => TExpr::int(1, at),
            Axis::Fixed { value, .. } => TExpr::int(*value as i64, at),
            Axis::Span { span, .. } if self.span_data[span.index()].hidden => {
                let d = &self.span_data[span.index()];
                let (lo, hi) = (d.lo.clone(), d.hi.clone());
                if lo.is_zero() { hi } else { self.elem(ElemOp::Sub, vec![hi, lo], at)? }
            }
            Axis::Span { span, .. } => {
                TExpr::new(TExprKind::SpanField(*span, SpanField::Len), Type::scalar(Elem::Index), at)
            }
        };
        Some(Over::List { list: Val::Expr(e), hi, reverse })
    }

    /// Makes the loop variable of an index or tiles loop and binds its name.
    pub fn bind_iter(
        &mut self,
        name: &'m str,
        path: &str,
        over: &Over<'m>,
        span: Span,
    ) -> (Iter, TExpr, TExpr) {
        match over {
            Over::Tiles { lo, hi, step, .. } => {
                let s = self.new_span(name, *step, lo.clone(), hi.clone(), true, span);
                self.spans[s.index()].path = self.path(path);
                self.bind(name, Binding::Val(Val::Span { span: s, offset: None }));
                (Iter::Tiles { span: s, step: *step }, lo.clone(), hi.clone())
            }
            Over::Each { lo, hi, .. } => {
                let l = self.local(path, Type::scalar(Elem::Index), false, span);
                if let (Some(_), Some(b)) = (self.inclusive_bound(lo), self.inclusive_bound(hi)) {
                    self.below.insert(l, b);
                }
                let read = self.read(l, span);
                self.bind(name, Binding::Val(Val::Expr(read)));
                (Iter::Each { index: l }, lo.clone(), hi.clone())
            }
            Over::List { hi, .. } => {
                let l = self.local(&format!("{path}.position"), Type::scalar(Elem::Index), false, span);
                if let Some(b) = self.inclusive_bound(hi) {
                    self.below.insert(l, b);
                }
                (Iter::Each { index: l }, TExpr::int(0, span), hi.clone())
            }
        }
    }

    pub(crate) fn for_statement(
        &mut self,
        pattern: &'m Pattern,
        range: &'m Expr,
        claims: &'m [Claim],
        body: &'m ast::Block,
        label: Option<&'m Ident>,
        span: Span,
    ) {
        let (name, name_span) = match pattern {
            Pattern::Name(n) => (n.name.as_str(), n.span),
            Pattern::Ignore(s) => ("_", *s),
            Pattern::Tuple(_, s) => {
                self.report(Diagnostic::error("T0251", *s, "a loop has one variable"));
                return;
            }
        };
        let v = self.eval(range);
        let Some(over) = self.over(v, range.span, false) else {
            // Look into the body for its own faults.
            self.block(|this| {
                this.scoped(|this| {
                    this.bind(name, Binding::Val(Val::Error));
                    this.nest.push(Nest::For { claims: false });
                    this.statements_of(&body.stmts);
                    this.nest.pop();
                })
            });
            return;
        };
        let path = label.map_or(name, |l| l.name.as_str()).trim_start_matches('\'');
        self.scoped(|this| {
            let (iter, lo, hi) = this.bind_iter(name, path, &over, name_span);
            let reverse = match &over {
                Over::Each { reverse, .. } | Over::Tiles { reverse, .. } | Over::List { reverse, .. } => {
                    *reverse
                }
            };
            let full = this.path(path);
            let skip = this.skip_claim(claims, &full, span);
            let origin = match over {
                Over::List { .. } => ForOrigin::List,
                _ => ForOrigin::Written,
            };
            this.nest.push(Nest::For { claims: !claims.is_empty() });
            let (stmts, ()) = this.block(|this| match (&over, iter) {
                (Over::List { list, .. }, Iter::Each { index }) => {
                    this.list_body(name, path, list.clone(), index, body, name_span)
                }
                _ => this.loop_body(body),
            });
            this.nest.pop();
            let carried: Vec<LocalId> = walk::assigned(&stmts).into_iter().collect();
            if let Some(b) = &skip {
                this.skip_reads_nothing_carried(b, &carried, span);
            }
            let has_break = breaks(&stmts);
            let combine = this.combine_claim(claims, &carried, &stmts, &full, has_break, span);
            let f = TFor {
                path: full,
                iter,
                lo,
                hi,
                reverse,
                origin,
                skip,
                combine,
                carried,
                body: stmts,
                has_break,
            };
            this.emit(TStmtKind::For(Box::new(f)), span);
        });
    }

    pub(crate) fn loop_body(&mut self, body: &'m ast::Block) {
        self.scoped(|this| this.statements_of(&body.stmts));
        if let Some(v) = &body.value {
            self.expression_statement(v);
        }
    }

    /// `let n = list[position]; if n >= 0 { … }`
    pub(crate) fn list_body(
        &mut self,
        name: &'m str,
        path: &str,
        list: Val<'m>,
        index: LocalId,
        body: &'m ast::Block,
        at: Span,
    ) {
        let Val::Expr(list) = list else { return };
        let TExprKind::Load(a) = &list.kind else { return };
        let (bound, optional) = match self.objects[a.object.index()].index.clone() {
            Some(IndexKind::IdOrNone(n)) => (Some(n), true),
            Some(IndexKind::Id(n)) => (Some(n), false),
            _ => (None, false),
        };
        let position = self.read(index, at);
        let Some(element) = self.compose(list, vec![(crate::access::Sub::Scalar(position), at)], &[], at)
        else {
            return;
        };
        let n = self.let_local(path, element, at);
        self.maybe_none.remove(&n);
        if let Some(b) = bound {
            self.below.insert(n, b);
        }
        let read = self.read(n, at);
        self.bind(name, Binding::Val(Val::Expr(read.clone())));
        if !optional {
            return self.loop_body(body);
        }
        let (stmts, ()) = self.block(|this| this.loop_body(body));
        let ge = TExprKind::Elem { op: ElemOp::Ge, args: vec![read, TExpr::int(0, at)] };
        let condition = TExpr::new(ge, Type::scalar(Elem::BOOL), at);
        let carried = walk::assigned(&stmts).into_iter().collect();
        let then = TBlock { stmts, values: vec![] };
        self.emit(
            TStmtKind::If { condition, then, otherwise: TBlock::default(), results: vec![], carried },
            at,
        );
    }

    pub(crate) fn unroll(&mut self, name: &'m Ident, range: &'m Expr, body: &'m ast::Block) {
        let bounds = match self.eval(range) {
            Val::Range(lo, hi) => match (*lo, *hi) {
                (Val::Const(a), Val::Const(b)) => a.int().zip(b.int()),
                (Val::Error, _) | (_, Val::Error) => return,
                _ => None,
            },
            Val::Const(c) => c.int().map(|n| (0, n)),
            Val::Error => return,
            _ => None,
        };
        let Some((lo, hi)) = bounds else {
            let d = Diagnostic::error("T0256", range.span, "the bounds of `unroll` have to be compile-time");
            return self.report(d.help("use `const` parameters or literals, or a `for` loop"));
        };
        if hi.saturating_sub(lo) > MAX_UNROLL {
            let d = Diagnostic::error(
                "T0249",
                range.span,
                format!("`unroll` of {} steps", hi.saturating_sub(lo)),
            );
            return self.report(d.help(format!("at most {MAX_UNROLL}; use a `for` loop")));
        }
        self.nest.push(Nest::Unroll);
        for v in lo..hi {
            if self.gave_up {
                break;
            }
            self.scoped(|this| {
                this.bind(&name.name, Binding::Val(Val::index(v)));
                this.loop_body(body);
            });
        }
        self.nest.pop();
    }

    pub(crate) fn while_statement(&mut self, condition: &'m Expr, body: &'m ast::Block, span: Span) {
        let (stmts, c) = self.block(|this| {
            let v = this.eval(condition);
            this.boolean(v, condition.span)
        });
        self.nest.push(Nest::While);
        let (body, ()) = self.block(|this| this.loop_body(body));
        self.nest.pop();
        let value = match c {
            None => return,
            Some(Val::Expr(e)) if e.ty.is_scalar() => e,
            Some(Val::Const(Const::Bool(b))) => {
                let ty = Type::scalar(Elem::BOOL);
                TExpr::new(TExprKind::Literal(Literal::Bool(b)), ty, condition.span)
            }
            Some(Val::Expr(e)) => {
                let d = Diagnostic::error(
                    "T0241",
                    condition.span,
                    format!("the condition of `while` is {}", self.show(&e.ty)),
                );
                return self.report(d.help("reduce it: `.any()` or `.all()`"));
            }
            Some(_) => return,
        };
        let mut carried = walk::assigned(&body);
        carried.extend(walk::assigned(&stmts));
        let condition = TBlock { stmts, values: vec![value] };
        self.emit(TStmtKind::While { condition, body, carried: carried.into_iter().collect() }, span);
    }

    pub(crate) fn break_statement(&mut self, span: Span) {
        let d = match self.nest.last() {
            Some(Nest::For { claims: false } | Nest::While) => return self.emit(TStmtKind::Break, span),
            Some(Nest::For { claims: true }) => {
                Diagnostic::error("T0242", span, "`break` in a loop with a claim").help(
                    "a loop that may be split or reordered has no early exit: drop the claim or the `break`",
                )
            }
            Some(Nest::Unroll) => Diagnostic::error("T0242", span, "`break` in an `unroll`")
                .help("use `for`, or put the rest into an `if`"),
            None => Diagnostic::error("T0242", span, "`break` outside a loop"),
        };
        self.report(d);
    }

    pub(crate) fn assert(&mut self, condition: &'m Expr, message: Option<&'m str>, span: Span) {
        let fields = std::mem::replace(&mut self.tile_fields, TileFields::Allow);
        let v = self.eval(condition);
        self.tile_fields = fields;
        let message = message.unwrap_or("an assertion").to_string();
        let condition = match self.boolean(v, condition.span) {
            Some(Val::Expr(e)) => e,
            Some(Val::Const(Const::Bool(false))) => {
                self.report(Diagnostic::error(
                    "T0213",
                    span,
                    format!("this assertion never holds: {message}"),
                ));
                return;
            }
            _ => return,
        };
        self.emit(TStmtKind::Assert { condition, message }, span);
    }
}

/// Whether statements hold a `break` of the loop they are the body of.
pub(crate) fn breaks(stmts: &[TStmt]) -> bool {
    stmts.iter().any(|s| match &s.kind {
        TStmtKind::Break => true,
        TStmtKind::If { then, otherwise, .. } => breaks(&then.stmts) || breaks(&otherwise.stmts),
        _ => false,
    })
}
