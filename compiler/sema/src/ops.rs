//! Operators and conversions: dtype rules (literals adapt, nothing else does), equal-rank stretching, `@`.

use crate::{
    elab::{Elab, MAX_INT},
    typed::*,
    value::{Const, Val},
    walk,
};
use tile_base::{DType, Diagnostic, Size, Span, op::ElemOp};
use tile_syntax::ast::{BinaryOp, UnaryOp};

pub(crate) fn axis_of(value: i64, size: Size) -> Axis {
    match size {
        Size::Const(1) => Axis::One,
        size => Axis::Fixed { size, value: value.max(0) as u64 },
    }
}

pub(crate) fn elem_op_of(op: BinaryOp) -> Option<ElemOp> {
    Some(match op {
        BinaryOp::Eq => ElemOp::Eq,
        BinaryOp::Ne => ElemOp::Ne,
        BinaryOp::Lt => ElemOp::Lt,
        BinaryOp::Le => ElemOp::Le,
        BinaryOp::Gt => ElemOp::Gt,
        BinaryOp::Ge => ElemOp::Ge,
        BinaryOp::Or => ElemOp::Or,
        BinaryOp::Xor => ElemOp::Xor,
        BinaryOp::And => ElemOp::And,
        BinaryOp::Shl => ElemOp::Shl,
        BinaryOp::Shr => ElemOp::Shr,
        BinaryOp::Add => ElemOp::Add,
        BinaryOp::Sub => ElemOp::Sub,
        BinaryOp::Mul => ElemOp::Mul,
        BinaryOp::Div => ElemOp::Div,
        BinaryOp::Rem => ElemOp::Rem,
        BinaryOp::OrOr | BinaryOp::AndAnd | BinaryOp::Dot => return None,
    })
}

/// Sums of scalar indices with what is known folded: `(a + 2) - 2` is `a`.
pub(crate) fn index_sum(op: ElemOp, args: &[TExpr], span: Span) -> Option<TExpr> {
    let [a, b] = args else { return None };
    let scalar = |e: &TExpr| e.ty == Type::scalar(Elem::Index);
    if !scalar(a) || !scalar(b) || !matches!(op, ElemOp::Add | ElemOp::Sub) {
        return None;
    }
    let c = match b.as_int() {
        Some(c) if op == ElemOp::Add => c,
        Some(c) => c.checked_neg()?,
        None if op == ElemOp::Add && a.is_zero() => return Some(b.clone()),
        // a + (b - a) is b.
        None => match (op, &b.kind) {
            (ElemOp::Add, TExprKind::Elem { op: ElemOp::Sub, args: inner })
                if walk::same_value(&inner[1], a) =>
            {
                return Some(inner[0].clone());
            }
            _ => return None,
        },
    };
    if let Some(x) = a.as_int() {
        return Some(TExpr::int(x.checked_add(c)?, span));
    }
    let (base, c) = match &a.kind {
        TExprKind::Elem { op: inner @ (ElemOp::Add | ElemOp::Sub), args } if args[1].as_int().is_some() => {
            let d = args[1].as_int()?;
            (&args[0], c.checked_add(if *inner == ElemOp::Add { d } else { d.checked_neg()? })?)
        }
        _ => (a, c),
    };
    if c == 0 {
        return Some(base.clone());
    }
    let op = if c < 0 { ElemOp::Sub } else { ElemOp::Add };
    let kind = TExprKind::Elem { op, args: vec![base.clone(), TExpr::int(c.checked_abs()?, span)] };
    Some(TExpr::new(kind, Type::scalar(Elem::Index), span))
}

/// Types that are only stored: converted before anything is computed with them.
pub(crate) fn storage_only(elem: Elem) -> bool {
    use DType::*;
    matches!(elem, Elem::Of(Tf32 | F8e4m3 | F8e5m2 | F4e2m1 | I4 | U4 | I2))
}

impl<'m> Elab<'m> {
    // ------------------------------------------------------------ elementwise

    /// The axes of an elementwise result. `None`: they do not go together, and that is reported.
    pub fn stretch(&mut self, args: &[&TExpr], span: Span) -> Option<Vec<Axis>> {
        let mut tiles = args.iter().filter(|a| !a.ty.is_scalar());
        let Some(first) = tiles.next() else { return Some(vec![]) };
        let mut axes = first.ty.axes.clone();
        for t in tiles {
            let (a, b) = (self.show(&first.ty), self.show(&t.ty));
            if t.ty.axes.len() != axes.len() {
                self.report(
                    Diagnostic::error("T0204", span, format!("{a} and {b} have different ranks"))
                        .also(first.span, format!("this is {a}"))
                        .also(t.span, format!("this is {b}"))
                        .help("insert an axis of extent 1 with `x[:, _]` or `x[_, :]`"),
                );
                return None;
            }
            for (have, new) in axes.iter_mut().zip(&t.ty.axes) {
                if *have == Axis::One {
                    *have = new.clone();
                } else if *new != Axis::One && !self.agree(have, new) {
                    let (x, y) = (self.show_axis(have), self.show_axis(new));
                    self.report(
                        Diagnostic::error("T0203", span, format!("axes `{x}` and `{y}` do not agree"))
                            .also(first.span, format!("this is {a}"))
                            .also(t.span, format!("this is {b}"))
                            .note("axes agree by identity: the same span or the same compile-time size")
                            .help("to combine every element with every other, insert axes of extent 1: `x[:, _]`, `y[_, :]`"),
                    );
                    return None;
                }
            }
        }
        Some(axes)
    }

    /// An elementwise operation on operands of one element type (or a condition first, for `select`).
    pub fn elem(&mut self, op: ElemOp, args: Vec<TExpr>, span: Span) -> Option<TExpr> {
        if let Some(e) = index_sum(op, &args, span) {
            return Some(e);
        }
        let axes = self.stretch(&args.iter().collect::<Vec<_>>(), span)?;
        let elem = match op {
            ElemOp::Select => args[1].ty.elem,
            op if op.is_predicate() => Elem::BOOL,
            _ => args[0].ty.elem,
        };
        Some(TExpr::new(TExprKind::Elem { op, args }, Type::tile(elem, axes), span))
    }

    /// Two operands of one element type; a literal takes the other's.
    pub fn pair(&mut self, a: Val<'m>, b: Val<'m>, sa: Span, sb: Span) -> Option<(TExpr, TExpr)> {
        let (a, b) = (self.operand(a, sa), self.operand(b, sb));
        match (a?, b?) {
            (Val::Const(c), Val::Expr(e)) => Some((self.literal(&c, e.ty.elem, sa)?, e)),
            (Val::Expr(e), Val::Const(c)) => {
                let elem = e.ty.elem;
                Some((e, self.literal(&c, elem, sb)?))
            }
            (Val::Const(c), Val::Const(d)) => {
                let elem = match (c.default_elem(), d.default_elem()) {
                    (x, y) if x == y => x,
                    (Elem::Index, y) if matches!(c, Const::Int(_)) => y,
                    (x, _) => x,
                };
                Some((self.literal(&c, elem, sa)?, self.literal(&d, elem, sb)?))
            }
            (Val::Expr(x), Val::Expr(y)) if x.ty.elem != y.ty.elem => {
                let (p, q) = (x.ty.elem, y.ty.elem);
                let d = Diagnostic::error(
                    "T0205",
                    sa.to(sb),
                    format!("{} and {} do not go together", p.name(), q.name()),
                )
                .also(sa, format!("this is {}", self.show(&x.ty)))
                .also(sb, format!("this is {}", self.show(&y.ty)));
                let wide = if q == Elem::Of(DType::F32) || p == Elem::Index { q } else { p };
                self.report(d.help(format!("nothing is converted implicitly; write `.to({})`", wide.name())));
                None
            }
            (Val::Expr(x), Val::Expr(y)) => Some((x, y)),
            _ => None,
        }
    }

    pub fn unary(&mut self, op: UnaryOp, v: Val<'m>, at: Span, span: Span) -> Val<'m> {
        let v = if op == UnaryOp::Not { self.truth(v) } else { v };
        match (op, v) {
            (_, Val::Error) => Val::Error,
            (UnaryOp::Neg, Val::Const(c)) => match c {
                Const::Int(v) => Val::Const(Const::Int(v.wrapping_neg())),
                Const::Index(v, s) => {
                    let s = Size::Sub(Size::Const(0).into(), s.into());
                    Val::Const(Const::Index(v.wrapping_neg(), s))
                }
                Const::Float(v) => Val::Const(Const::Float(-v)),
                Const::Bool(_) => self.wrong_operand("-", "bool", span),
            },
            (UnaryOp::Not, Val::Const(Const::Bool(b))) => Val::Const(Const::Bool(!b)),
            (op, v) => {
                let Some(e) = self.value(v, None, at) else { return Val::Error };
                let fits = match op {
                    UnaryOp::Neg => e.ty.elem != Elem::BOOL && !storage_only(e.ty.elem),
                    UnaryOp::Not => e.ty.elem == Elem::BOOL,
                };
                if !fits {
                    let sign = if op == UnaryOp::Neg { "-" } else { "!" };
                    return self.wrong_operand(sign, e.ty.elem.name(), span);
                }
                let op = if op == UnaryOp::Neg { ElemOp::Neg } else { ElemOp::Not };
                self.elem(op, vec![e], span).map_or(Val::Error, Val::Expr)
            }
        }
    }

    pub fn wrong_operand(&mut self, op: &str, elem: &str, span: Span) -> Val<'m> {
        let d = Diagnostic::error("T0206", span, format!("`{op}` does not take {elem}"));
        let help = match elem {
            "bool" => "use `select(c, 1, 0)` to get a number from a bool, `&& || !` to combine bools",
            _ => "convert first, for example `.to(f32)`",
        };
        self.fail(d.help(help))
    }

    pub fn binary(
        &mut self,
        op: BinaryOp,
        a: Val<'m>,
        b: Val<'m>,
        sa: Span,
        sb: Span,
        span: Span,
    ) -> Val<'m> {
        if a.is_error() || b.is_error() {
            return Val::Error;
        }
        if let (Val::Const(x), Val::Const(y)) = (&a, &b) {
            return self.fold(op, x, y, span);
        }
        if let (BinaryOp::Add | BinaryOp::Sub, Val::Span { .. } | Val::Along { .. }) = (op, &a)
            && matches!(&b, Val::Const(_) | Val::Expr(TExpr { ty: Type { elem: Elem::Index, .. }, .. }))
            && !matches!(&b, Val::Expr(e) if !e.ty.is_scalar())
        {
            return self.moved(op, a, b, sb, span);
        }
        if let (BinaryOp::Add, Val::Span { .. } | Val::Along { .. }) = (op, &b)
            && matches!(&a, Val::Const(_))
        {
            return self.moved(op, b, a, sa, span);
        }
        if op == BinaryOp::Dot {
            return self.dot(a, b, None, sa, sb, span);
        }
        let Some(elem_op) = elem_op_of(op) else { return Val::Error };
        let Some((x, y)) = self.pair(a, b, sa, sb) else { return Val::Error };
        let elem = x.ty.elem;
        let name = crate::print::binary_name(op);
        let fits = match elem_op {
            ElemOp::Eq | ElemOp::Ne => !storage_only(elem),
            ElemOp::And | ElemOp::Or | ElemOp::Xor => elem.is_int() || elem == Elem::BOOL,
            ElemOp::Shl | ElemOp::Shr => elem.is_int(),
            _ => elem != Elem::BOOL && !storage_only(elem),
        };
        if !fits {
            return self.wrong_operand(name, elem.name(), span);
        }
        // x + 0 and x * 1 say nothing.
        let neutral = match elem_op {
            ElemOp::Add | ElemOp::Sub => y.is_zero(),
            ElemOp::Mul | ElemOp::Div => elem == Elem::Index && y.as_int() == Some(1),
            _ => false,
        };
        if neutral {
            return Val::Expr(x);
        }
        self.elem(elem_op, vec![x, y], span).map_or(Val::Error, Val::Expr)
    }

    /// `i + n`, `i - n` on a span or a whole axis.
    pub(crate) fn moved(&mut self, op: BinaryOp, a: Val<'m>, by: Val<'m>, at: Span, span: Span) -> Val<'m> {
        let Some(by) = self.index_scalar(by, at) else { return Val::Error };
        let old = match &a {
            Val::Span { offset, .. } | Val::Along { offset, .. } => offset.clone(),
            _ => None,
        };
        let op = if op == BinaryOp::Sub { ElemOp::Sub } else { ElemOp::Add };
        let sum = match old {
            None if op == ElemOp::Add => by,
            old => {
                let made = match old {
                    Some(from) => self.elem(op, vec![*from, by], span),
                    None => match by.as_int() {
                        Some(v) => Some(TExpr::int(v.wrapping_neg(), span)),
                        None => self.elem(ElemOp::Neg, vec![by], span),
                    },
                };
                let Some(e) = made else { return Val::Error };
                e
            }
        };
        let offset = Some(Box::new(sum));
        match a {
            Val::Span { span, .. } => Val::Span { span, offset },
            Val::Along { axis, .. } => Val::Along { axis, offset },
            other => other,
        }
    }

    /// Arithmetic of constants.
    pub(crate) fn fold(&mut self, op: BinaryOp, a: &Const, b: &Const, span: Span) -> Val<'m> {
        use BinaryOp::*;
        if let (Const::Bool(x), Const::Bool(y)) = (a, b) {
            return match op {
                Eq => Val::Const(Const::Bool(x == y)),
                Ne | Xor => Val::Const(Const::Bool(x != y)),
                And | AndAnd => Val::Const(Const::Bool(*x && *y)),
                Or | OrOr => Val::Const(Const::Bool(*x || *y)),
                _ => self.wrong_operand(crate::print::binary_name(op), "bool", span),
            };
        }
        if let (Some(x), Some(y)) = (a.int(), b.int()) {
            let compare = match op {
                Eq => Some(x == y),
                Ne => Some(x != y),
                Lt => Some(x < y),
                Le => Some(x <= y),
                Gt => Some(x > y),
                Ge => Some(x >= y),
                _ => None,
            };
            if let Some(c) = compare {
                return Val::Const(Const::Bool(c));
            }
            return self.fold_int(op, (a, x), (b, y), span);
        }
        let (Some(x), Some(y)) = (a.float(), b.float()) else {
            return self.wrong_operand(crate::print::binary_name(op), "bool and a number", span);
        };
        Val::Const(match op {
            Add => Const::Float(x + y),
            Sub => Const::Float(x - y),
            Mul => Const::Float(x * y),
            Div => Const::Float(x / y),
            Eq => Const::Bool(x == y),
            Ne => Const::Bool(x != y),
            Lt => Const::Bool(x < y),
            Le => Const::Bool(x <= y),
            Gt => Const::Bool(x > y),
            Ge => Const::Bool(x >= y),
            _ => return self.wrong_operand(crate::print::binary_name(op), "floats", span),
        })
    }

    pub(crate) fn fold_int(
        &mut self,
        op: BinaryOp,
        (a, x): (&Const, i64),
        (b, y): (&Const, i64),
        span: Span,
    ) -> Val<'m> {
        use BinaryOp::*;
        if matches!(op, Div | Rem) && y == 0 {
            return self.fail(Diagnostic::error("T0265", span, "division by zero"));
        }
        let value = match op {
            Add => x.checked_add(y),
            Sub => x.checked_sub(y),
            Mul => x.checked_mul(y),
            Div => tile_base::size::floor_div(x, y),
            Rem => tile_base::size::floor_mod(x, y),
            And => Some(x & y),
            Or => Some(x | y),
            Xor => Some(x ^ y),
            Shl => u32::try_from(y).ok().filter(|s| *s < 63).and_then(|s| x.checked_mul(1i64 << s)),
            Shr => u32::try_from(y).ok().filter(|s| *s < 64).map(|s| x >> s),
            _ => None,
        };
        let Some(value) = value.filter(|v| v.unsigned_abs() <= MAX_INT as u64) else {
            let d = Diagnostic::error(
                "T0265",
                span,
                format!("`{}` of {x} and {y} is beyond 2^61", crate::print::binary_name(op)),
            );
            return self.fail(if op == Dot {
                Diagnostic::error("T0230", span, "`@` of two numbers").help("use `*`")
            } else {
                d
            });
        };
        if matches!((a, b), (Const::Int(_), Const::Int(_))) {
            if op == Div && x % y != 0 {
                let message = format!("`{x} / {y}` of whole numbers is rounded down to {value}");
                let d = Diagnostic::error("T0207", span, message);
                return self.fail(d.help(format!("write `{x}.0 / {y}` for the quotient, or {value}")));
            }
            return Val::Const(Const::Int(value));
        }
        let (Some(s), Some(t)) = (a.size(), b.size()) else { return Val::index(value) };
        let size = match op {
            Add => Size::Add(s.into(), t.into()),
            Sub => Size::Sub(s.into(), t.into()),
            Mul => Size::Mul(s.into(), t.into()),
            Div => Size::FloorDiv(s.into(), t.into()),
            Rem => Size::Mod(s.into(), t.into()),
            _ => Size::Const(value),
        };
        Val::Const(Const::Index(value, size))
    }

    // ------------------------------------------------------------ truth

    /// An optional tensor as a condition is whether it is there.
    pub fn truth(&mut self, v: Val<'m>) -> Val<'m> {
        match v {
            Val::Absent(_) => Val::Const(Const::Bool(false)),
            Val::Tensor(o) if self.optional.contains(&o) => Val::Const(Const::Bool(true)),
            v => v,
        }
    }

    /// A bool, scalar or tile.
    pub fn boolean(&mut self, v: Val<'m>, span: Span) -> Option<Val<'m>> {
        let v = self.truth(v);
        match self.operand(v, span)? {
            Val::Const(Const::Bool(b)) => Some(Val::Const(Const::Bool(b))),
            Val::Expr(e) if e.ty.elem == Elem::BOOL => Some(Val::Expr(e)),
            other => {
                let got = match &other {
                    Val::Expr(e) => self.show(&e.ty),
                    v => v.kind().to_string(),
                };
                let d = Diagnostic::error("T0241", span, format!("{got} where a bool is needed"));
                self.report(d.help("compare it, for example `x != 0`"));
                None
            }
        }
    }
}
