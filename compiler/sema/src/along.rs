//! Built-in functions that work along an axis: scans, `topk`, `sort`, `take`, `concat`, `dot`, `reduce` with a function.

use crate::{
    elab::{Elab, ident_of},
    ops::axis_of,
    typed::*,
    value::{Binding, Const, Val},
};
use tile_base::{DType, Diagnostic, Size, Span, op::ReduceKind};
use tile_syntax::ast::{Arg, Expr};

impl<'m> Elab<'m> {
    /// A tile operand.
    pub(crate) fn tile(&mut self, e: &'m Expr, what: &str) -> Option<TExpr> {
        let v = self.eval(e);
        let x = self.value(v, None, e.span)?;
        self.tile_of(x, what)
    }

    pub(crate) fn tile_of(&mut self, x: TExpr, what: &str) -> Option<TExpr> {
        if x.ty.is_scalar() {
            let message = format!("`{what}` works along an axis; this is the scalar {}", x.ty.elem.name());
            self.report(Diagnostic::error("T0223", x.span, message));
            return None;
        }
        Some(x)
    }

    /// An axis number; `last` and negative ones count from the end.
    pub(crate) fn axis_number(&mut self, e: &'m Expr, x: &Type) -> Option<u32> {
        let rank = x.axes.len() as i64;
        let n = match ident_of(e) {
            Some("last") => -1,
            _ => self.const_int(e, "an axis number")?.0,
        };
        let at = if n < 0 { n + rank } else { n };
        if !(0..rank).contains(&at) {
            let d = Diagnostic::error("T0222", e.span, format!("there is no axis {n} of {}", self.show(x)));
            self.report(d.label(format!("axes are 0 to {}", rank - 1)));
            return None;
        }
        Some(at as u32)
    }

    pub(crate) fn flag(&mut self, named: &[(&'m str, &'m Expr)], name: &str) -> Option<bool> {
        let Some((_, e)) = named.iter().find(|(n, _)| *n == name) else { return Some(false) };
        match self.eval(e) {
            Val::Const(Const::Bool(b)) => Some(b),
            Val::Error => None,
            _ => {
                self.report(Diagnostic::error(
                    "T0210",
                    e.span,
                    format!("`{name}` is true or false, at compile time"),
                ));
                None
            }
        }
    }

    pub(crate) fn scan(&mut self, name: &'m str, args: &'m [Arg], span: Span) -> Val<'m> {
        let named = ["rev", "exclusive", "axis"];
        let Some((a, by_name)) = self.args(name, args, 1..=2, &named, span) else { return Val::Error };
        let Some(x) = self.tile(a[0], name) else { return Val::Error };
        let axis = match (a.get(1), by_name.iter().find(|(n, _)| *n == "axis")) {
            (Some(e), _) | (None, Some((_, e))) => self.axis_number(e, &x.ty),
            (None, None) if x.ty.axes.len() == 1 => Some(0),
            (None, None) => {
                let d = Diagnostic::error(
                    "T0214",
                    span,
                    format!("`{name}` of a tile of rank {} needs an axis", x.ty.axes.len()),
                );
                self.report(d.help(format!("`{name}(x, 0)`")));
                None
            }
        };
        let (rev, exclusive) = (self.flag(&by_name, "rev"), self.flag(&by_name, "exclusive"));
        let (Some(axis), Some(reverse), Some(exclusive)) = (axis, rev, exclusive) else { return Val::Error };
        let kind = match name {
            "cumsum" => ReduceKind::Sum,
            "cumprod" => ReduceKind::Prod,
            _ => ReduceKind::Max,
        };
        if x.ty.elem == Elem::BOOL {
            return self.wrong_operand(name, "bool", span);
        }
        let ty = x.ty.clone();
        Val::Expr(TExpr::new(TExprKind::Scan { x: Box::new(x), axis, kind, reverse, exclusive }, ty, span))
    }

    /// Emits an operation of several results, bound to locals; a tuple of them.
    pub(crate) fn many(&mut self, op: ManyOp, tys: Vec<Type>, what: &str, span: Span) -> Vec<TExpr> {
        let base = self.hint.clone().unwrap_or_else(|| what.to_string());
        let locals: Vec<LocalId> = tys
            .into_iter()
            .enumerate()
            .map(|(n, ty)| self.local(&format!("{base}.{n}"), ty, false, span))
            .collect();
        self.emit(TStmtKind::LetMany { locals: locals.clone(), op }, span);
        locals.into_iter().map(|l| self.read(l, span)).collect()
    }

    pub(crate) fn topk(&mut self, args: &'m [Arg], span: Span) -> Val<'m> {
        let Some((a, named)) = self.args("topk", args, 1..=2, &["k", "axis"], span) else {
            return Val::Error;
        };
        let Some(x) = self.tile(a[0], "topk") else { return Val::Error };
        let axis = match named.iter().find(|(n, _)| *n == "axis") {
            Some((_, e)) => self.axis_number(e, &x.ty),
            None => Some(x.ty.axes.len() as u32 - 1),
        };
        let k = a.get(1).copied().or(named.iter().find(|(n, _)| *n == "k").map(|(_, e)| *e));
        let Some(k) = k else {
            let d = Diagnostic::error("T0214", span, "`topk` needs `k`");
            return self.fail(d.help("`topk(x, k = 8)`"));
        };
        let k = self.const_int(k, "`k` of `topk`");
        let (Some(axis), Some((k, size))) = (axis, k) else { return Val::Error };
        if k < 1 {
            return self.fail(
                Diagnostic::error("T0212", span, format!("`topk` with k = {k}")).help("k is 1 or more"),
            );
        }
        let mut axes = x.ty.axes.clone();
        if let Axis::Fixed { value, .. } = &axes[axis as usize]
            && (*value as i64) < k
        {
            let d = Diagnostic::error("T0212", span, format!("the {k} greatest of {value} elements"));
            return self.fail(d.help("k is at most the extent of the axis"));
        }
        axes[axis as usize] = axis_of(k, size);
        let tys = vec![Type::tile(x.ty.elem, axes.clone()), Type::tile(Elem::Index, axes)];
        let out = self.many(ManyOp::TopK { x, axis, k: k as u64 }, tys, "topk", span);
        Val::Tuple(out.into_iter().map(Val::Expr).collect())
    }

    pub(crate) fn sort(&mut self, args: &'m [Arg], span: Span) -> Val<'m> {
        let Some((a, named)) = self.args("sort", args, 1..=1, &["desc", "axis"], span) else {
            return Val::Error;
        };
        let Some(x) = self.tile(a[0], "sort") else { return Val::Error };
        let axis = match named.iter().find(|(n, _)| *n == "axis") {
            Some((_, e)) => self.axis_number(e, &x.ty),
            None => Some(x.ty.axes.len() as u32 - 1),
        };
        let (Some(axis), Some(descending)) = (axis, self.flag(&named, "desc")) else { return Val::Error };
        let tys = vec![x.ty.clone(), Type::tile(Elem::Index, x.ty.axes.clone())];
        let out = self.many(ManyOp::Sort { x, axis, descending }, tys, "sort", span);
        Val::Tuple(out.into_iter().map(Val::Expr).collect())
    }

    pub(crate) fn histogram(&mut self, args: &'m [Arg], span: Span) -> Val<'m> {
        let Some((a, named)) = self.args("histogram", args, 1..=2, &["bins"], span) else {
            return Val::Error;
        };
        let Some(x) = self.tile(a[0], "histogram") else { return Val::Error };
        let bins = a.get(1).copied().or(named.first().map(|(_, e)| *e));
        let Some(bins) = bins else {
            let d = Diagnostic::error("T0214", span, "`histogram` needs `bins`");
            return self.fail(d.help("`histogram(x, bins = 16)`"));
        };
        let Some((n, size)) = self.const_int(bins, "`bins`") else { return Val::Error };
        if x.ty.elem != Elem::Index || x.ty.axes.len() != 1 || n < 1 {
            let message = format!(
                "`histogram` takes an index tile of one axis and a positive number of bins; this is {}",
                self.show(&x.ty)
            );
            return self.fail(Diagnostic::error("T0206", span, message));
        }
        let ty = Type::tile(Elem::Index, vec![axis_of(n, size)]);
        Val::Expr(TExpr::new(TExprKind::Histogram { x: Box::new(x), bins: n as u64 }, ty, span))
    }

    pub(crate) fn take(&mut self, args: &'m [Arg], span: Span) -> Val<'m> {
        let Some((a, named)) = self.args("take", args, 2..=3, &["axis"], span) else { return Val::Error };
        let Some(x) = self.tile(a[0], "take") else { return Val::Error };
        let index = self.eval(a[1]);
        let index = self.value(index, Some(Elem::Index), a[1].span);
        let axis = match a.get(2).copied().or(named.first().map(|(_, e)| *e)) {
            Some(e) => self.axis_number(e, &x.ty),
            None if x.ty.axes.len() == 1 => Some(0),
            None => {
                let d = Diagnostic::error("T0214", span, "`take` needs an axis");
                self.report(d.help("`take(x, i, 0)`"));
                None
            }
        };
        let (Some(index), Some(axis)) = (index, axis) else { return Val::Error };
        let mut axes = x.ty.axes.clone();
        axes[axis as usize] = match &index.ty.axes[..] {
            [] => Axis::One,
            [one] => one.clone(),
            _ => {
                let message = format!(
                    "`take` takes a scalar or an index tile of one axis; this is {}",
                    self.show(&index.ty)
                );
                return self.fail(Diagnostic::error("T0223", a[1].span, message));
            }
        };
        let ty = Type::tile(x.ty.elem, axes);
        let kind = TExprKind::Take { x: Box::new(x), index: Box::new(index), axis };
        Val::Expr(TExpr::new(kind, ty, span))
    }

    pub(crate) fn unit_lower_inv(&mut self, args: &'m [Arg], span: Span) -> Val<'m> {
        let Some((a, _)) = self.args("unit_lower_inv", args, 1..=1, &[], span) else { return Val::Error };
        let Some(x) = self.tile(a[0], "unit_lower_inv") else { return Val::Error };
        let n = x.ty.axes.len();
        if n < 2 || !self.agree(&x.ty.axes[n - 1], &x.ty.axes[n - 2]) || !x.ty.elem.is_float() {
            let message = format!(
                "`unit_lower_inv` takes a float tile whose last two axes are the same; this is {}",
                self.show(&x.ty)
            );
            return self.fail(Diagnostic::error("T0223", span, message));
        }
        let ty = x.ty.clone();
        Val::Expr(TExpr::new(TExprKind::UnitLowerInv(Box::new(x)), ty, span))
    }

    pub(crate) fn concat(&mut self, args: &'m [Arg], span: Span) -> Val<'m> {
        let Some((mut a, named)) = self.args("concat", args, 2..=64, &["axis"], span) else {
            return Val::Error;
        };
        let axis_expr = match named.first() {
            Some((_, e)) => *e,
            None => match a.pop() {
                Some(e) => e,
                None => return Val::Error,
            },
        };
        let parts: Option<Vec<TExpr>> = a.iter().map(|e| self.tile(e, "concat")).collect();
        let Some(parts) = parts.filter(|p| !p.is_empty()) else { return Val::Error };
        let first = parts[0].ty.clone();
        let Some(axis) = self.axis_number(axis_expr, &first) else { return Val::Error };
        let (mut total, mut size) = (0u64, Size::Const(0));
        for p in &parts {
            if p.ty.elem != first.elem {
                self.elem_mismatch(p.ty.elem, first.elem, p.span);
                return Val::Error;
            }
            let same = p.ty.axes.len() == first.axes.len()
                && p.ty
                    .axes
                    .iter()
                    .zip(&first.axes)
                    .enumerate()
                    .all(|(n, (x, y))| n as u32 == axis || self.agree(x, y));
            let extent = p.ty.axes.get(axis as usize).and_then(|a| match a {
                Axis::One => Some((1, Size::Const(1))),
                Axis::Fixed { size, value } => Some((*value, size.clone())),
                Axis::Span { .. } => None,
            });
            let (true, Some((n, s))) = (same, extent) else {
                let (x, y) = (self.show(&first), self.show(&p.ty));
                let d = Diagnostic::error(
                    "T0203",
                    span,
                    format!("{x} and {y} cannot be joined along axis {axis}"),
                );
                return self.fail(
                    d.also(p.span, format!("this is {y}"))
                        .help("all other axes agree, and the joined one is compile-time"),
                );
            };
            total = total.saturating_add(n);
            size = match size {
                Size::Const(0) => s,
                size => Size::Add(size.into(), s.into()),
            };
        }
        let mut axes = first.axes.clone();
        let size = size.simplified_const().map_or(size, Size::Const);
        axes[axis as usize] = axis_of(total.min(i64::MAX as u64) as i64, size);
        Val::Expr(TExpr::new(TExprKind::Concat { parts, axis }, Type::tile(first.elem, axes), span))
    }

    pub(crate) fn dot_call(&mut self, args: &'m [Arg], span: Span) -> Val<'m> {
        let Some((a, named)) = self.args("dot", args, 2..=2, &["acc"], span) else { return Val::Error };
        let mut acc = None;
        if let Some((_, e)) = named.first() {
            let name = ident_of(e).unwrap_or("");
            let found = match self.lookup(name) {
                Some(Binding::Dtype(d)) => Some(*d),
                _ => DType::from_name(name),
            };
            if found.is_none() {
                let d = Diagnostic::error("T0209", e.span, "`acc` is a dtype");
                return self.fail(d.help("`dot(a, b, acc = f16)`"));
            }
            acc = found;
        }
        let (x, y) = (self.eval(a[0]), self.eval(a[1]));
        if x.is_error() || y.is_error() {
            return Val::Error;
        }
        self.dot(x, y, acc, a[0].span, a[1].span, span)
    }

    pub(crate) fn reduce_with(&mut self, args: &'m [Arg], span: Span) -> Val<'m> {
        let Some((a, _)) = self.args("reduce", args, 3..=3, &[], span) else { return Val::Error };
        let v = self.eval(a[0]);
        let (items, single) = match v {
            Val::Tuple(items) => (items, false),
            v => (vec![v], true),
        };
        let xs: Option<Vec<TExpr>> = items
            .into_iter()
            .map(|v| self.value(v, None, a[0].span).and_then(|x| self.tile_of(x, "reduce")))
            .collect();
        let f = self.eval(a[2]);
        let Some(xs) = xs.filter(|x| !x.is_empty()) else { return Val::Error };
        let Some(axis) = self.axis_number(a[1], &xs[0].ty) else { return Val::Error };
        if self.stretch(&xs.iter().collect::<Vec<_>>(), span).is_none() {
            return Val::Error;
        }
        let params: Vec<Type> = xs.iter().map(|x| Type::scalar(x.ty.elem)).collect();
        let Some(combine) = self.combiner(f, &params, "reduce", a[2].span) else { return Val::Error };
        let tys = xs
            .iter()
            .map(|x| {
                let mut axes = x.ty.axes.clone();
                axes[axis as usize] = Axis::One;
                Type::tile(x.ty.elem, axes)
            })
            .collect();
        let mut out = self.many(ManyOp::Reduce { xs, axis, combine }, tys, "reduce", span);
        if single { Val::Expr(out.remove(0)) } else { Val::Tuple(out.into_iter().map(Val::Expr).collect()) }
    }
}
