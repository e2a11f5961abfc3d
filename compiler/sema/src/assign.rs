//! Assignment: of variables, elements of arrays of tiles, and memory.

use crate::{
    elab::{Elab, ident_of},
    expr::Purpose,
    typed::*,
    value::{Binding, Val},
};
use tile_base::{Diagnostic, Mode, Span};
use tile_syntax::ast::{self, AssignOp, Expr, ExprKind};

impl<'m> Elab<'m> {
    pub(crate) fn assign(&mut self, place: &'m Expr, op: AssignOp, value: &'m Expr, span: Span) {
        match &place.kind {
            ExprKind::Name(n) => self.assign_name(n, place.span, op, value, span),
            ExprKind::Paren(inner) => self.assign(inner, op, value, span),
            ExprKind::Subscript { base, subscripts, .. } => {
                if let Some(name) = ident_of(base) {
                    match self.lookup(name).cloned() {
                        Some(Binding::Array(locals)) => {
                            let target = self.array_local(&locals, subscripts, place.span);
                            let v = self.hinted(format!("{name}.dot"), value);
                            if let Some(l) = target {
                                self.assign_local(l, op, v, place.span, value.span, span);
                            }
                            return;
                        }
                        Some(Binding::Var(_)) => {
                            self.eval(value);
                            let d = Diagnostic::error(
                                "T0240",
                                place.span,
                                "a part of a tile cannot be assigned; tiles are values",
                            );
                            return self.report(
                                d.help(format!("assign the whole: `{name} = select(.., .., {name});`")),
                            );
                        }
                        _ => {}
                    }
                    return self.store(place, op, value, name, span);
                }
                self.store(place, op, value, "store", span)
            }
            _ => {
                self.eval(value);
                let d = Diagnostic::error("T0240", place.span, "this cannot be assigned");
                self.report(d.help("assign a `var`, or a subscript of a tensor: `o[i, :] = ...;`"));
            }
        }
    }

    pub(crate) fn hinted(&mut self, hint: String, value: &'m Expr) -> Val<'m> {
        let outer = self.hint.replace(hint);
        let v = self.eval(value);
        self.hint = outer;
        v
    }

    pub(crate) fn assign_name(&mut self, n: &'m str, at: Span, op: AssignOp, value: &'m Expr, span: Span) {
        match self.lookup(n).cloned() {
            Some(Binding::Var(l)) => {
                let v = self.hinted(format!("{n}.dot"), value);
                self.assign_local(l, op, v, at, value.span, span);
            }
            Some(Binding::Val(Val::Error)) => {
                self.eval(value);
            }
            Some(Binding::Val(Val::Tensor(_))) => {
                self.eval(value);
                let d = Diagnostic::error("T0240", at, format!("`{n}` is a tensor in memory"));
                self.report(d.help(format!("store to a part of it: `{n}[i, :] = ...;`")));
            }
            Some(_) => {
                self.eval(value);
                let d =
                    Diagnostic::error("T0239", at, format!("`{n}` is not a `var`: it cannot be assigned"));
                self.report(d.help(format!("declare it as `var {n}: type = ...;`")));
            }
            None => {
                self.eval(value);
                let d = Diagnostic::error("T0200", at, format!("nothing is called `{n}` here"));
                self.report(match self.suggest(n) {
                    Some(near) => d.help(format!("did you mean `{near}`?")),
                    None => d.help(format!("declare it: `var {n}: type = ...;`")),
                });
            }
        }
    }

    pub(crate) fn assign_local(
        &mut self,
        l: LocalId,
        op: AssignOp,
        v: Val<'m>,
        at: Span,
        value_at: Span,
        span: Span,
    ) {
        let ty = self.locals[l.index()].ty.clone();
        let v = match op {
            AssignOp::Set => v,
            AssignOp::Add => {
                let old = Val::Expr(self.read(l, at));
                self.binary(ast::BinaryOp::Add, old, v, at, value_at, span)
            }
        };
        if v.is_error() {
            return;
        }
        let place = format!("`{}`", self.locals[l.index()].path);
        if let Some(value) = self.fit(v, &ty, value_at, &place) {
            self.emit(TStmtKind::Assign { local: l, value }, span);
        }
    }

    pub(crate) fn store(&mut self, place: &'m Expr, op: AssignOp, value: &'m Expr, name: &str, span: Span) {
        let v = self.hinted(format!("{name}.dot"), value);
        self.pending_unique = false;
        let purpose = match op {
            AssignOp::Set => Purpose::Write,
            AssignOp::Add => Purpose::Accumulate,
        };
        let target = self.subscript(place, purpose);
        let unique = std::mem::take(&mut self.pending_unique);
        let target = match target {
            Val::Expr(e) => e,
            Val::Error => return,
            _ => {
                self.report(Diagnostic::error("T0240", place.span, "this cannot be assigned"));
                return;
            }
        };
        let Some(target) = self.not_a_view(target, place.span) else { return };
        let ty = target.ty.clone();
        let TExprKind::Load(access) = target.kind else {
            let d = Diagnostic::error("T0240", place.span, "a store goes to a plain subscript of a tensor");
            self.report(d.help("rearrange the value instead of the place"));
            return;
        };
        let object = &self.objects[access.object.index()];
        let (mode, owner) = (object.mode, format!("`{}`", object.name));
        let wanted = format!("the place in {owner}");
        if op == AssignOp::Add && mode == Mode::InOut {
            let old = TExpr::new(TExprKind::Load(access.clone()), ty.clone(), place.span);
            let sum = self.binary(ast::BinaryOp::Add, Val::Expr(old), v, place.span, value.span, span);
            if let Some(value) = self.fit(sum, &ty, value.span, &wanted) {
                self.emit(TStmtKind::Store { access: *access, value, unique }, span);
            }
            return;
        }
        if v.is_error() {
            return;
        }
        let Some(value) = self.fit(v, &ty, value.span, &wanted) else { return };
        if unique {
            let path = self.path(owner.trim_matches('`'));
            let reason = "no position occurs twice; tested by counting writes".to_string();
            self.claims.push(ClaimInfo { kind: "unique", path, span, proven: false, reason });
        }
        let access = *access;
        self.emit(
            match op {
                AssignOp::Set => TStmtKind::Store { access, value, unique },
                AssignOp::Add => TStmtKind::Accumulate { access, value },
            },
            span,
        );
    }
}
