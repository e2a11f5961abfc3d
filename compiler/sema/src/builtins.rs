//! Built-in functions and methods: what each takes and gives.

use crate::{elab::*, ops::axis_of, typed::*, value::*};
use tile_base::{DType, Diagnostic, Size, Span, op::*};
use tile_syntax::ast::{self, Arg, Expr, Ident};

/// Every built-in function, for "did you mean".
pub(crate) const NAMES: &[&str] = &[
    "exp",
    "exp2",
    "log",
    "log2",
    "sqrt",
    "rsqrt",
    "sin",
    "cos",
    "tanh",
    "erf",
    "abs",
    "floor",
    "ceil",
    "round",
    "isnan",
    "popcount",
    "max",
    "min",
    "pow",
    "select",
    "cdiv",
    "iota",
    "cumsum",
    "cumprod",
    "cummax",
    "topk",
    "sort",
    "histogram",
    "take",
    "unit_lower_inv",
    "concat",
    "dot",
    "reduce",
    "span",
    "tiles",
    "unique",
];

const METHODS: &[&str] =
    &["sum", "prod", "max", "min", "any", "all", "argmax", "argmin", "merge", "split", "permute", "rev"];

fn unary_math(name: &str) -> Option<ElemOp> {
    Some(match name {
        "exp" => ElemOp::Exp,
        "exp2" => ElemOp::Exp2,
        "log" => ElemOp::Log,
        "log2" => ElemOp::Log2,
        "sqrt" => ElemOp::Sqrt,
        "rsqrt" => ElemOp::Rsqrt,
        "sin" => ElemOp::Sin,
        "cos" => ElemOp::Cos,
        "tanh" => ElemOp::Tanh,
        "erf" => ElemOp::Erf,
        "abs" => ElemOp::Abs,
        "floor" => ElemOp::Floor,
        "ceil" => ElemOp::Ceil,
        "round" => ElemOp::Round,
        "isnan" => ElemOp::IsNan,
        "popcount" => ElemOp::Popcount,
        _ => return None,
    })
}

fn fold_math(op: ElemOp, v: f64) -> Option<f64> {
    Some(match op {
        ElemOp::Exp => v.exp(),
        ElemOp::Exp2 => v.exp2(),
        ElemOp::Log => v.ln(),
        ElemOp::Log2 => v.log2(),
        ElemOp::Sqrt => v.sqrt(),
        ElemOp::Rsqrt => 1.0 / v.sqrt(),
        ElemOp::Sin => v.sin(),
        ElemOp::Cos => v.cos(),
        ElemOp::Tanh => v.tanh(),
        ElemOp::Abs => v.abs(),
        ElemOp::Floor => v.floor(),
        ElemOp::Ceil => v.ceil(),
        ElemOp::Round => v.round_ties_even(),
        _ => return None,
    })
}

impl<'m> Elab<'m> {
    /// Splits arguments; names not in `named` and a wrong count are reported.
    fn args(
        &mut self,
        what: &str,
        args: &'m [Arg],
        count: std::ops::RangeInclusive<usize>,
        named: &[&str],
        span: Span,
    ) -> Option<(Vec<&'m Expr>, Vec<(&'m str, &'m Expr)>)> {
        let (mut plain, mut by_name) = (vec![], vec![]);
        let mut ok = true;
        for a in args {
            match &a.name {
                None => plain.push(&a.value),
                Some(n) if named.contains(&n.name.as_str()) => by_name.push((n.name.as_str(), &a.value)),
                Some(n) => {
                    ok = false;
                    let d =
                        Diagnostic::error("T0218", n.span, format!("`{what}` has no argument `{}`", n.name));
                    self.report(match named {
                        [] => d.help("its arguments go by position"),
                        names => d.help(format!("named arguments: {}", names.join(", "))),
                    });
                }
            }
        }
        if ok && !count.contains(&plain.len()) {
            ok = false;
            let want = match (count.start(), count.end()) {
                (a, b) if a == b => format!("{a}"),
                (a, b) => format!("{a} to {b}"),
            };
            let message = format!("`{what}` takes {want} arguments, here are {}", plain.len());
            self.report(Diagnostic::error("T0214", span, message));
        }
        ok.then_some((plain, by_name))
    }

    /// A call of a built-in. `None`: there is none of this name.
    pub fn builtin(&mut self, name: &'m str, args: &'m [Arg], span: Span) -> Option<Val<'m>> {
        if let Some(op) = unary_math(name) {
            return Some(self.math(name, op, args, span));
        }
        Some(match name {
            "max" | "min" | "pow" => self.binary_math(name, args, span),
            "select" => self.select_call(args, span),
            "cdiv" => self.cdiv(args, span),
            "iota" => self.iota_call(args, span),
            "cumsum" | "cumprod" | "cummax" => self.scan(name, args, span),
            "topk" => self.topk(args, span),
            "sort" => self.sort(args, span),
            "histogram" => self.histogram(args, span),
            "take" => self.take(args, span),
            "unit_lower_inv" => self.unit_lower_inv(args, span),
            "concat" => self.concat(args, span),
            "dot" => self.dot_call(args, span),
            "reduce" => self.reduce_with(args, span),
            "tiles" => self.tiles(args, span),
            "span" => self.span_value(args, span),
            "unique" => {
                let d = Diagnostic::error("T0247", span, "`unique(..)` is a claim on a store");
                self.fail(d.help("write it as the subscript of a store: `t[unique(pos)] = e;`"))
            }
            _ => return None,
        })
    }

    // ------------------------------------------------------------ elementwise

    fn math(&mut self, name: &str, op: ElemOp, args: &'m [Arg], span: Span) -> Val<'m> {
        let Some((a, _)) = self.args(name, args, 1..=1, &[], span) else { return Val::Error };
        let v = self.eval(a[0]);
        if let Val::Const(c) = &v {
            match (op, c) {
                (ElemOp::Abs, Const::Int(v)) => return Val::Const(Const::Int(v.wrapping_abs())),
                (ElemOp::Popcount, c) if c.int().is_some() => {
                    return Val::index(i64::from(c.int().unwrap_or(0).count_ones()));
                }
                (op, c) => {
                    if let Some(v) = c.float().and_then(|v| fold_math(op, v)) {
                        return Val::Const(Const::Float(v));
                    }
                }
            }
        }
        let Some(x) = self.value(v, None, a[0].span) else { return Val::Error };
        let fits = match op {
            ElemOp::Abs => x.ty.elem != Elem::BOOL,
            ElemOp::Popcount => x.ty.elem.is_int(),
            _ => matches!(x.ty.elem, Elem::Of(DType::F64 | DType::F32 | DType::F16 | DType::Bf16)),
        };
        if !fits {
            let elem = x.ty.elem.name();
            return self.wrong_operand(name, elem, span);
        }
        self.elem(op, vec![x], span).map_or(Val::Error, Val::Expr)
    }

    fn binary_math(&mut self, name: &'m str, args: &'m [Arg], span: Span) -> Val<'m> {
        let Some((a, _)) = self.args(name, args, 2..=2, &[], span) else { return Val::Error };
        let (x, y) = (self.eval(a[0]), self.eval(a[1]));
        if x.is_error() || y.is_error() {
            return Val::Error;
        }
        if let (Val::Const(x), Val::Const(y)) = (&x, &y) {
            if let (Some(p), Some(q), true) = (x.int(), y.int(), name != "pow") {
                let value = if name == "max" { p.max(q) } else { p.min(q) };
                return match (x, y) {
                    (Const::Int(_), Const::Int(_)) => Val::Const(Const::Int(value)),
                    _ => {
                        let size = if value == p { x.size() } else { y.size() };
                        Val::Const(Const::Index(value, size.unwrap_or(Size::Const(value))))
                    }
                };
            }
            if let (Some(p), Some(q)) = (x.float(), y.float()) {
                let value = match name {
                    "max" => p.max(q),
                    "min" => p.min(q),
                    _ => p.powf(q),
                };
                return Val::Const(Const::Float(value));
            }
        }
        let Some((x, y)) = self.pair(x, y, a[0].span, a[1].span) else { return Val::Error };
        let op = match name {
            "max" => ElemOp::Max,
            "min" => ElemOp::Min,
            _ => ElemOp::Pow,
        };
        if x.ty.elem == Elem::BOOL || (op == ElemOp::Pow && !x.ty.elem.is_float()) {
            let elem = x.ty.elem.name();
            return self.wrong_operand(name, elem, span);
        }
        self.elem(op, vec![x, y], span).map_or(Val::Error, Val::Expr)
    }

    fn select_call(&mut self, args: &'m [Arg], span: Span) -> Val<'m> {
        let Some((a, _)) = self.args("select", args, 3..=3, &[], span) else { return Val::Error };
        let (c, x, y) = (self.eval(a[0]), self.eval(a[1]), self.eval(a[2]));
        self.select(c, x, y, [a[0].span, a[1].span, a[2].span], span)
    }

    fn cdiv(&mut self, args: &'m [Arg], span: Span) -> Val<'m> {
        let Some((a, _)) = self.args("cdiv", args, 2..=2, &[], span) else { return Val::Error };
        let (x, y) = (self.eval(a[0]), self.eval(a[1]));
        if let (Val::Const(x), Val::Const(y)) = (&x, &y)
            && let (Some(s), Some(t)) = (x.size(), y.size())
        {
            let (Some(p), Some(q)) = (x.int(), y.int()) else { return Val::Error };
            let size = Size::CeilDiv(s.into(), t.into());
            return match Size::CeilDiv(Size::Const(p).into(), Size::Const(q).into()).as_const() {
                Some(v) => Val::Const(Const::Index(v, size)),
                None => self.fail(Diagnostic::error("T0265", span, "division by zero")),
            };
        }
        let (x, y) = (self.index_scalar(x, a[0].span), self.index_scalar(y, a[1].span));
        match (x, y) {
            (Some(x), Some(y)) => Val::Expr(ceil_div(x, y)),
            _ => Val::Error,
        }
    }

    fn iota_call(&mut self, args: &'m [Arg], span: Span) -> Val<'m> {
        let Some((a, _)) = self.args("iota", args, 1..=1, &[], span) else { return Val::Error };
        let Some(axis) = self.type_axis(a[0]) else { return Val::Error };
        Val::Expr(self.iota_from(axis, None, span))
    }

    // ------------------------------------------------------------ along an axis

    /// A tile operand.
    fn tile(&mut self, e: &'m Expr, what: &str) -> Option<TExpr> {
        let v = self.eval(e);
        let x = self.value(v, None, e.span)?;
        self.tile_of(x, what)
    }

    fn tile_of(&mut self, x: TExpr, what: &str) -> Option<TExpr> {
        if x.ty.is_scalar() {
            let message = format!("`{what}` works along an axis; this is the scalar {}", x.ty.elem.name());
            self.report(Diagnostic::error("T0223", x.span, message));
            return None;
        }
        Some(x)
    }

    /// An axis number; `last` and negative ones count from the end.
    fn axis_number(&mut self, e: &'m Expr, x: &Type) -> Option<u32> {
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

    fn flag(&mut self, named: &[(&'m str, &'m Expr)], name: &str) -> Option<bool> {
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

    fn scan(&mut self, name: &'m str, args: &'m [Arg], span: Span) -> Val<'m> {
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
    fn many(&mut self, op: ManyOp, tys: Vec<Type>, what: &str, span: Span) -> Vec<TExpr> {
        let base = self.hint.clone().unwrap_or_else(|| what.to_string());
        let locals: Vec<LocalId> = tys
            .into_iter()
            .enumerate()
            .map(|(n, ty)| self.local(&format!("{base}.{n}"), ty, false, span))
            .collect();
        self.emit(TStmtKind::LetMany { locals: locals.clone(), op }, span);
        locals.into_iter().map(|l| self.read(l, span)).collect()
    }

    fn topk(&mut self, args: &'m [Arg], span: Span) -> Val<'m> {
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
        axes[axis as usize] = match size {
            Size::Const(n) => Axis::Fixed { size: Size::Const(n), value: n as u64 },
            size => axis_of(k, size),
        };
        let tys = vec![Type::tile(x.ty.elem, axes.clone()), Type::tile(Elem::Index, axes)];
        let out = self.many(ManyOp::TopK { x, axis, k: k as u64 }, tys, "topk", span);
        Val::Tuple(out.into_iter().map(Val::Expr).collect())
    }

    fn sort(&mut self, args: &'m [Arg], span: Span) -> Val<'m> {
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

    fn histogram(&mut self, args: &'m [Arg], span: Span) -> Val<'m> {
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

    fn take(&mut self, args: &'m [Arg], span: Span) -> Val<'m> {
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

    fn unit_lower_inv(&mut self, args: &'m [Arg], span: Span) -> Val<'m> {
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

    fn concat(&mut self, args: &'m [Arg], span: Span) -> Val<'m> {
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

    fn dot_call(&mut self, args: &'m [Arg], span: Span) -> Val<'m> {
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

    fn reduce_with(&mut self, args: &'m [Arg], span: Span) -> Val<'m> {
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

    // ------------------------------------------------------------ ranges

    /// A step: a tile size, or a compile-time integer.
    fn step(&mut self, e: &'m Expr) -> Option<Step> {
        match self.eval(e) {
            Val::TileSize(t) => Some(Step::Tile(t)),
            Val::Const(c) if c.int().is_some_and(|v| v >= 1) => Some(Step::Fixed(c.int()? as u64)),
            Val::Const(c) => {
                self.report(
                    Diagnostic::error("T0212", e.span, format!("a step of {}", c.show()))
                        .help("a step is 1 or more"),
                );
                None
            }
            Val::Error => None,
            other => {
                let d = Diagnostic::error(
                    "T0210",
                    e.span,
                    format!("{} as the step of `tiles(..)`", other.kind()),
                );
                self.report(d.help("a step is a `tile` size, a `const`, or a literal"));
                None
            }
        }
    }

    fn tiles(&mut self, args: &'m [Arg], span: Span) -> Val<'m> {
        let Some((a, _)) = self.args("tiles", args, 2..=2, &[], span) else { return Val::Error };
        let Some((lo, hi)) = self.range_bounds(a[0]) else {
            self.step(a[1]);
            return Val::Error;
        };
        let Some(step) = self.step(a[1]) else { return Val::Error };
        Val::Tiles { lo, hi, step }
    }

    /// `M`, `lo..hi`, or a span (its own range) as two index scalars.
    pub fn range_bounds(&mut self, e: &'m Expr) -> Option<(TExpr, TExpr)> {
        let v = self.eval(e);
        self.range_of(v, e.span)
    }

    pub fn range_of(&mut self, v: Val<'m>, span: Span) -> Option<(TExpr, TExpr)> {
        match v {
            Val::Error => None,
            Val::Range(lo, hi) => {
                let (lo, hi) = (self.index_scalar(*lo, span), self.index_scalar(*hi, span));
                Some((lo?, hi?))
            }
            Val::Span { span: s, offset: None } => {
                let field = |f| TExpr::new(TExprKind::SpanField(s, f), Type::scalar(Elem::Index), span);
                Some((field(SpanField::Start), field(SpanField::End)))
            }
            Val::Tiles { .. } | Val::Rev(_) | Val::Tensor(_) | Val::ViewDef(_) => {
                let d = Diagnostic::error(
                    "T0252",
                    span,
                    format!("{} where a dimension or a range is needed", v.kind()),
                );
                self.report(d.help("`tiles(N, B)` or `tiles(lo..hi, B)`"));
                None
            }
            v => Some((TExpr::int(0, span), self.index_scalar(v, span)?)),
        }
    }

    fn span_value(&mut self, args: &'m [Arg], span: Span) -> Val<'m> {
        let Some((a, _)) = self.args("span", args, 3..=3, &[], span) else { return Val::Error };
        let (lo, hi) = (self.eval(a[0]), self.eval(a[2]));
        let (lo, hi) = (self.index_scalar(lo, a[0].span), self.index_scalar(hi, a[2].span));
        let (Some(lo), Some(hi), Some(step)) = (lo, hi, self.step(a[1])) else { return Val::Error };
        let name = self.hint.clone().unwrap_or_else(|| "span".into());
        let s = self.new_span(&name, step, lo.clone(), hi.clone(), false, span);
        self.emit(TStmtKind::MakeSpan { span: s, lo, hi }, span);
        Val::Span { span: s, offset: None }
    }

    // ------------------------------------------------------------ methods

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
        let Some(x) = self.value(v, None, receiver.span).and_then(|x| self.tile_of(x, &name.name)) else {
            return Val::Error;
        };
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

    fn reduced(&mut self, x: TExpr, axis: u32, kind: ReduceKind, span: Span) -> TExpr {
        let mut axes = x.ty.axes.clone();
        axes[axis as usize] = Axis::One;
        let elem = match kind {
            ReduceKind::ArgMax | ReduceKind::ArgMin => Elem::Index,
            _ => x.ty.elem,
        };
        TExpr::new(TExprKind::Reduce { x: Box::new(x), axis, kind }, Type::tile(elem, axes), span)
    }

    fn reduce_all(&mut self, x: TExpr, kind: ReduceKind, name: &Ident, span: Span) -> Val<'m> {
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

    fn rearrange(&mut self, v: Val<'m>, at: Span, name: &'m Ident, args: &'m [Arg], span: Span) -> Val<'m> {
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

    fn merge(&mut self, x: TExpr, a: &[&'m Expr], span: Span) -> Val<'m> {
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

    fn split(&mut self, x: TExpr, a: &[&'m Expr], span: Span) -> Val<'m> {
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
        axes.insert(axis as usize + 1, Axis::Fixed { size, value: minor as u64 });
        let ty = Type::tile(x.ty.elem, axes);
        Val::Expr(TExpr::new(TExprKind::Split { x: Box::new(x), axis, minor: minor as u64 }, ty, span))
    }
}

/// `2 * F / 2` is `F`, where the factor is plain.
fn quotient(s: &Size, by: &Size) -> Option<Size> {
    match s {
        Size::Mul(a, b) if b.same(by) => Some((**a).clone()),
        Size::Mul(a, b) if a.same(by) => Some((**b).clone()),
        Size::Const(n) => Some(Size::Const(n / by.as_const().filter(|b| *b != 0)?)),
        _ => None,
    }
}

/// The names of a call's arguments, for messages.
pub(crate) fn arg_name(p: &ast::Param) -> &str {
    &p.name.name
}
