//! Built-in functions and methods: what each takes and gives.

use crate::{
    elab::{Elab, ceil_div, ident_of},
    typed::*,
    value::{Const, Val},
};
use tile_base::{DType, Diagnostic, Size, Span, op::ElemOp};
use tile_syntax::ast::{self, Arg, Expr};

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

/// Arguments by place, and those by name.
type Split<'m> = (Vec<&'m Expr>, Vec<(&'m str, &'m Expr)>);

impl<'m> Elab<'m> {
    /// Splits arguments; names not in `named` and a wrong count are reported.
    pub(crate) fn args(
        &mut self,
        what: &str,
        args: &'m [Arg],
        count: std::ops::RangeInclusive<usize>,
        named: &[&str],
        span: Span,
    ) -> Option<Split<'m>> {
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

    pub(crate) fn math(&mut self, name: &str, op: ElemOp, args: &'m [Arg], span: Span) -> Val<'m> {
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

    pub(crate) fn binary_math(&mut self, name: &'m str, args: &'m [Arg], span: Span) -> Val<'m> {
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

    pub(crate) fn select_call(&mut self, args: &'m [Arg], span: Span) -> Val<'m> {
        let Some((a, _)) = self.args("select", args, 3..=3, &[], span) else { return Val::Error };
        let (c, x, y) = (self.eval(a[0]), self.eval(a[1]), self.eval(a[2]));
        self.select(c, x, y, [a[0].span, a[1].span, a[2].span], span)
    }

    pub(crate) fn cdiv(&mut self, args: &'m [Arg], span: Span) -> Val<'m> {
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

    pub(crate) fn iota_call(&mut self, args: &'m [Arg], span: Span) -> Val<'m> {
        let Some((a, _)) = self.args("iota", args, 1..=1, &[], span) else { return Val::Error };
        let Some(axis) = self.type_axis(a[0]) else { return Val::Error };
        Val::Expr(self.iota_from(axis, None, span))
    }

    // ------------------------------------------------------------ ranges

    /// A step: a tile size, or a compile-time integer.
    pub(crate) fn step(&mut self, e: &'m Expr) -> Option<Step> {
        match self.eval(e) {
            Val::TileSize(t) => Some(Step::Tile(t)),
            Val::Const(c) if c.int().is_some_and(|v| v >= 1) => Some(Step::Fixed(c.int()? as u64)),
            Val::Const(c) => {
                let message = match ident_of(e) {
                    Some(name) => format!("the step `{name}` is {}", c.show()),
                    None => format!("a step of {}", c.show()),
                };
                self.report(Diagnostic::error("T0212", e.span, message).help("a step is 1 or more"));
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

    pub(crate) fn tiles(&mut self, args: &'m [Arg], span: Span) -> Val<'m> {
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

    pub(crate) fn span_value(&mut self, args: &'m [Arg], span: Span) -> Val<'m> {
        let Some((a, _)) = self.args("span", args, 3..=3, &[], span) else { return Val::Error };
        let (lo, hi) = (self.eval(a[0]), self.eval(a[2]));
        let (lo, hi) = (self.index_scalar(lo, a[0].span), self.index_scalar(hi, a[2].span));
        let (Some(lo), Some(hi), Some(step)) = (lo, hi, self.step(a[1])) else { return Val::Error };
        let name = self.hint.clone().unwrap_or_else(|| "span".into());
        let s = self.new_span(&name, step, lo.clone(), hi.clone(), false, span);
        self.emit(TStmtKind::MakeSpan { span: s, lo, hi }, span);
        Val::Span { span: s, offset: None }
    }
}

/// The names of a call's arguments, for messages.
pub(crate) fn arg_name(p: &ast::Param) -> &str {
    &p.name.name
}
