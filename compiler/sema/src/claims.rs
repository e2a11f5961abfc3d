//! What the author of a loop claims: `skip`, `merge`, `affine`, and the sum that needs no claim.

use crate::{
    elab::{Elab, TileFields},
    typed::*,
    value::{Binding, Const, FnVal, Val},
    walk,
};
use tile_base::{Diagnostic, Span, op::Literal};
use tile_syntax::ast::{Claim, Ident};

impl<'m> Elab<'m> {
    pub(crate) fn skip_claim(&mut self, claims: &'m [Claim], path: &str, span: Span) -> Option<TBlock> {
        let mut skips = claims.iter().filter_map(|c| match c {
            Claim::Skip(e) => Some(e),
            _ => None,
        });
        let e = skips.next()?;
        if let Some(second) = skips.next() {
            let d = Diagnostic::error("T0243", second.span, "a second `skip` on one loop");
            self.report(d.help("join the conditions with `||`"));
        }
        let fields = std::mem::replace(&mut self.tile_fields, TileFields::Allow);
        let (stmts, v) = self.block(|this| {
            let v = this.eval(e);
            this.boolean(v, e.span)
        });
        self.tile_fields = fields;
        let value = match v? {
            Val::Const(Const::Bool(false)) => return None,
            Val::Const(Const::Bool(true)) => {
                let ty = Type::scalar(Elem::BOOL);
                TExpr::new(TExprKind::Literal(Literal::Bool(true)), ty, e.span)
            }
            Val::Expr(x) if x.ty.is_scalar() => x,
            Val::Expr(x) => {
                let d = Diagnostic::error(
                    "T0241",
                    e.span,
                    format!("`skip` needs a scalar; this is {}", self.show(&x.ty)),
                );
                self.report(d.help("a step is skipped as a whole: `.all()` of the condition"));
                return None;
            }
            _ => return None,
        };
        let reason = "where it holds the body changes nothing; tested by running the body there".to_string();
        self.claims.push(ClaimInfo { kind: "skip", path: path.into(), span, proven: false, reason });
        Some(TBlock { stmts, values: vec![value] })
    }

    pub(crate) fn skip_reads_nothing_carried(&mut self, skip: &TBlock, carried: &[LocalId], span: Span) {
        let mut read = None;
        walk::each_in_block(skip, &mut |e| {
            if let TExprKind::Local(l) = e.kind
                && carried.contains(&l)
            {
                read = Some((l, e.span));
            }
        });
        if let Some((l, at)) = read {
            let message = format!("`skip` reads `{}`, which the loop changes", self.locals[l.index()].path);
            let d = Diagnostic::error("T0243", at, message).also(span, "the loop");
            self.report(
                d.help("`skip` depends on the loop's variable and on what is outside; use `if` for the rest"),
            );
        }
    }

    pub(crate) fn combine_claim(
        &mut self,
        claims: &'m [Claim],
        carried: &[LocalId],
        body: &[TStmt],
        path: &str,
        has_break: bool,
        span: Span,
    ) -> LoopCombine {
        let added = |l: &LocalId| walk::only_added(*l, body);
        let mut result = None;
        for c in claims {
            let next = match c {
                Claim::Skip(_) => continue,
                Claim::Merge { function, vars, span: at } => {
                    self.merge_claim(function, vars, carried, body, path, *at)
                }
                Claim::Affine(var) => self.affine_claim(var, carried, path),
            };
            if result.is_some() {
                let d = Diagnostic::error(
                    "T0244",
                    span,
                    "a loop is merged in one way: `merge` or `affine`, once",
                );
                self.report(d);
            }
            result = next.or(Some(LoopCombine::Ordered));
        }
        match result {
            Some(r) => r,
            None if !has_break && !carried.is_empty() && carried.iter().all(added) => {
                let reason = "its variables are only `+=`-ed".to_string();
                self.claims.push(ClaimInfo { kind: "merge", path: path.into(), span, proven: true, reason });
                LoopCombine::Sum
            }
            None => LoopCombine::Ordered,
        }
    }

    pub(crate) fn merge_claim(
        &mut self,
        function: &'m Ident,
        vars: &'m [Ident],
        carried: &[LocalId],
        body: &[TStmt],
        path: &str,
        at: Span,
    ) -> Option<LoopCombine> {
        let mut locals = vec![];
        for v in vars {
            match self.lookup(&v.name) {
                Some(Binding::Var(l)) => locals.push(*l),
                Some(Binding::Val(Val::Error)) => return None,
                _ => {
                    let d = Diagnostic::error(
                        "T0244",
                        v.span,
                        format!("`merge` of `{}`, which is not a `var`", v.name),
                    );
                    self.report(d.help("list the variables that the loop carries"));
                    return None;
                }
            }
        }
        if let Some(l) = carried.iter().find(|l| !locals.contains(l) && !walk::only_added(**l, body)) {
            let message = format!(
                "the loop also changes `{}`, which `merge` does not list",
                self.locals[l.index()].path
            );
            let d = Diagnostic::error("T0244", at, message);
            self.report(d.help("list it, or only `+=` it"));
            return None;
        }
        let tys: Vec<Type> = locals.iter().map(|l| self.locals[l.index()].ty.clone()).collect();
        let f = match self.lookup(&function.name).cloned() {
            Some(Binding::Val(v)) => v,
            _ => match self.m.resolve(self.frame().file, &function.name) {
                Some(item) => Val::Fn(FnVal { item, alias: function.name.clone() }),
                None => {
                    let d = Diagnostic::error(
                        "T0200",
                        function.span,
                        format!("there is no function `{}`", function.name),
                    );
                    let near = self.suggest(&function.name);
                    self.report(match near {
                        Some(n) => d.help(format!("did you mean `{n}`?")),
                        None => d.help("the prelude has `lse_merge` and `sum_merge`"),
                    });
                    return None;
                }
            },
        };
        let outer = self.hint.take();
        let combine = self.combiner(f, &tys, "merge", function.span);
        self.hint = outer;
        let reason = format!("`{}` combines two partial results; tested at random splits", function.name);
        self.claims.push(ClaimInfo { kind: "merge", path: path.into(), span: at, proven: false, reason });
        Some(LoopCombine::Merge { vars: locals, combine: combine? })
    }

    pub(crate) fn affine_claim(
        &mut self,
        var: &'m Ident,
        carried: &[LocalId],
        path: &str,
    ) -> Option<LoopCombine> {
        match self.lookup(&var.name) {
            Some(Binding::Var(l)) if carried.contains(l) => {
                let l = *l;
                let reason =
                    format!("`{}` is an affine function of itself; tested by superposition", var.name);
                self.claims.push(ClaimInfo {
                    kind: "affine",
                    path: path.into(),
                    span: var.span,
                    proven: false,
                    reason,
                });
                Some(LoopCombine::Affine { var: l })
            }
            Some(Binding::Val(Val::Error)) => None,
            Some(Binding::Var(_)) => {
                let message = format!("`affine {0}`, but the loop does not change `{0}`", var.name);
                self.report(Diagnostic::error("T0245", var.span, message));
                None
            }
            _ => {
                let d = Diagnostic::error(
                    "T0245",
                    var.span,
                    format!("`affine` of `{}`, which is not a `var`", var.name),
                );
                self.report(d.help("name the variable that the loop carries"));
                None
            }
        }
    }
}
