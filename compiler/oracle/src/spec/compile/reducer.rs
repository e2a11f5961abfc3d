//! `sum(j, d in 0..D: e)` and its kin.

use super::{
    super::code::{BinaryFn, Binder, Fold, NodeId, Op, Ty},
    Bound, Builder, Fallible, Value, Vector, refuse,
};
use tile_base::{Diagnostic, Span};
use tile_syntax::ast::{Expr, Ident};

pub(super) fn fold_named(name: &str) -> Option<Fold> {
    Some(match name {
        "sum" => Fold::Sum,
        "prod" => Fold::Prod,
        "max" => Fold::Max,
        "min" => Fold::Min,
        "any" => Fold::Any,
        "all" => Fold::All,
        "argmax" => Fold::ArgMax,
        "argmin" => Fold::ArgMin,
        "logsumexp" => Fold::LogSumExp,
        _ => return None,
    })
}

impl Builder<'_> {
    pub(super) fn reducer(
        &mut self,
        name: &Ident,
        binders: &[(Ident, Option<Expr>)],
        body: &Expr,
        span: Span,
    ) -> Fallible<Value> {
        let Some(kind) = fold_named(&name.name) else {
            return refuse(
                Diagnostic::error("T0475", name.span, format!("there is no reducer `{}`", name.name))
                    .label("not one of them")
                    .help("reducers are sum, prod, max, min, any, all, argmax, argmin and logsumexp"),
            );
        };
        if binders.len() != 1 && matches!(kind, Fold::ArgMax | Fold::ArgMin) {
            return refuse(
                Diagnostic::error("T0477", name.span, format!("`{}` gives one position", name.name))
                    .label("takes one index"),
            );
        }
        let depth = self.scopes.len();
        let mut made = vec![];
        // Positions of a list stand for themselves; -1 among them counts for nothing.
        let mut present: Vec<NodeId> = vec![];
        for (at, (index, range)) in binders.iter().enumerate() {
            let (slot, lo, hi) = match range {
                Some(r) => match self.binder_range(r)? {
                    Ok((lo, hi)) => (self.slot(&index.name, index.span)?, lo, hi),
                    Err(list) => {
                        if matches!(kind, Fold::ArgMax | Fold::ArgMin) {
                            return refuse(Diagnostic::error(
                                "T0477",
                                r.span,
                                "argmax runs over a range, not a list",
                            ));
                        }
                        let (id, zero) = (self.code.lets, self.number(0.0, Ty::Int, r.span));
                        self.code.lets += 1;
                        made.push((
                            Binder { slot: list.slot, lo: zero, hi: list.len },
                            Some((id, list.body)),
                        ));
                        self.scopes.push((index.name.clone(), Bound::Let(id, Ty::Int)));
                        let at = self.code.push(Op::Var(id), Ty::Int, r.span);
                        let zero = self.number(0.0, Ty::Int, r.span);
                        present.push(self.binary(BinaryFn::Ge, at, zero, Ty::Bool, r.span));
                        continue;
                    }
                },
                None => {
                    let mut within: Vec<&Expr> = vec![body];
                    within.extend(binders[at + 1..].iter().filter_map(|(_, r)| r.as_ref()));
                    let (lo, hi) = self.inferred_range(index, &within)?;
                    (self.slot(&index.name, index.span)?, lo, hi)
                }
            };
            made.push((Binder { slot, lo, hi }, None));
            self.scopes.push((index.name.clone(), Bound::Index(slot)));
        }
        let body = self.with_lets(|b| {
            let node = b.scalar(body)?;
            if matches!(kind, Fold::Any | Fold::All) && b.ty(node) != Ty::Bool {
                return refuse(
                    Diagnostic::error("T0482", body.span, format!("`{}` takes bools", name.name))
                        .label("this is a number"),
                );
            }
            Ok(node)
        })?;
        self.scopes.truncate(depth);
        let body = self.over_lists(kind, body, present, &mut made);
        let binders = made.into_iter().map(|(b, _)| b).collect();
        let ty = self.fold_type(kind, body);
        Ok(Value::Scalar(self.code.push(Op::Reduce { kind, binders, body }, ty, span)))
    }

    fn fold_type(&self, kind: Fold, body: NodeId) -> Ty {
        match (kind, self.ty(body)) {
            (Fold::ArgMax | Fold::ArgMin, _) => Ty::Int,
            (Fold::LogSumExp, _) => Ty::Real,
            (Fold::Any | Fold::All, _) => Ty::Bool,
            (_, Ty::Bool | Ty::Literal) => Ty::Int,
            (_, ty) => ty,
        }
    }

    /// Binds the positions of lists and leaves out those that are -1.
    fn over_lists(
        &mut self,
        kind: Fold,
        body: NodeId,
        present: Vec<NodeId>,
        made: &mut [(Binder, Option<(usize, NodeId)>)],
    ) -> NodeId {
        let span = self.code.spans[body];
        let neutral = match kind {
            Fold::Sum | Fold::Any => 0.0,
            Fold::Prod | Fold::All => 1.0,
            Fold::Min => f64::INFINITY,
            _ => f64::NEG_INFINITY,
        };
        let mut body = body;
        for condition in present.into_iter().rev() {
            let nothing = self.number(neutral, self.ty(body), span);
            body = self.select(condition, body, nothing, span);
        }
        let lets = made.iter_mut().filter_map(|(_, l)| l.take()).collect();
        self.wrap(lets, body)
    }

    fn binder_range(&mut self, e: &Expr) -> Fallible<Result<(NodeId, NodeId), Vector>> {
        let e = super::subscript::unparen(e);
        if let tile_syntax::ast::ExprKind::Range { .. } = e.kind {
            return Ok(Ok(self.range(e)?));
        }
        match self.expr(e)? {
            Value::Vector(v) => Ok(Err(v)),
            _ => Ok(Ok(self.range(e)?)),
        }
    }
}
