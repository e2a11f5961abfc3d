//! Expressions: numbers, operators, names, `if`.

use super::{
    super::{
        code::{BinaryFn, NodeId, Op, Slot, Ty, UnaryFn},
        eval::{constant_binary, constant_unary},
    },
    Bound, Builder, Fallible, Value, Vector, refuse,
};
use tile_base::{DType, Diagnostic, Span};
use tile_syntax::ast::{BinaryOp, Else, Expr, ExprKind, If, Type, TypeKind, UnaryOp};

impl Builder<'_> {
    pub(super) fn number(&mut self, v: f64, ty: Ty, span: Span) -> NodeId {
        self.code.push(Op::Const(v), ty, span)
    }

    pub(super) fn ty(&self, node: NodeId) -> Ty {
        self.code.types[node]
    }

    /// An expression that is one number.
    pub(super) fn scalar(&mut self, e: &Expr) -> Fallible<NodeId> {
        match self.expr(e)? {
            Value::Scalar(node) => Ok(node),
            Value::Vector(_) => refuse(
                Diagnostic::error("T0477", e.span, "a slice stands where one number is needed")
                    .label("this is a vector")
                    .help("subscript it with an index, or reduce it: `sum(x[i, :])`"),
            ),
            Value::Tuple(_) => refuse(
                Diagnostic::error("T0477", e.span, "a tuple stands where one number is needed")
                    .label("this has several values"),
            ),
        }
    }

    pub(super) fn condition(&mut self, e: &Expr) -> Fallible<NodeId> {
        let node = self.scalar(e)?;
        self.expect_bool(node, e.span)?;
        Ok(node)
    }

    fn expect_bool(&self, node: NodeId, span: Span) -> Fallible<()> {
        if self.ty(node) == Ty::Bool {
            return Ok(());
        }
        refuse(
            Diagnostic::error("T0482", span, "a condition must be a bool")
                .label("this is a number")
                .help("compare it: `x != 0`"),
        )
    }

    pub(super) fn expr(&mut self, e: &Expr) -> Fallible<Value> {
        let span = e.span;
        let one = |node| Ok(Value::Scalar(node));
        match &e.kind {
            ExprKind::Int(v) => one(self.number(*v as f64, Ty::Literal, span)),
            ExprKind::Float(text) => match text.replace('_', "").parse() {
                Ok(v) => one(self.number(v, Ty::Real, span)),
                Err(_) => refuse(Diagnostic::error("T0477", span, format!("`{text}` is not a number"))),
            },
            ExprKind::Bool(v) => one(self.number(*v as u8 as f64, Ty::Bool, span)),
            ExprKind::Inf => one(self.number(f64::INFINITY, Ty::Real, span)),
            ExprKind::Nan => one(self.number(f64::NAN, Ty::Real, span)),
            ExprKind::Name(name) => self.name(name, span),
            ExprKind::Paren(inner) => self.expr(inner),
            ExprKind::Unary { op, operand } => {
                let v = self.expr(operand)?;
                self.lift(vec![v], span, |b, n| b.unary_op(*op, n[0], span))
            }
            ExprKind::Binary { op, lhs, rhs } => self.binary_expr(*op, lhs, rhs, span),
            ExprKind::Subscript { base, subscripts, otherwise } => {
                self.subscript(base, subscripts, otherwise.as_deref(), span)
            }
            ExprKind::Call { function, args } => self.call(function, args, span),
            ExprKind::To { value, ty } => {
                let v = self.expr(value)?;
                self.lift(vec![v], span, |b, n| b.convert(n[0], ty))
            }
            ExprKind::Tuple(list) => {
                Ok(Value::Tuple(list.iter().map(|e| self.expr(e)).collect::<Fallible<_>>()?))
            }
            ExprKind::If(i) => self.if_value(i, span),
            ExprKind::Block(b) => self.block_value(b),
            ExprKind::Reducer { name, binders, body } => self.reducer(name, binders, body, span),
            ExprKind::Broken => refuse(
                Diagnostic::error("T0477", span, "this could not be read").label("see the syntax error"),
            ),
            ExprKind::Str(_)
            | ExprKind::Path(_)
            | ExprKind::Method { .. }
            | ExprKind::Field { .. }
            | ExprKind::Range { .. }
            | ExprKind::List(_) => refuse(
                Diagnostic::error("T0477", span, "this has no meaning in index notation")
                    .label("not a number, a slice or a call")
                    .help("a spec is written over single elements: `sum(j: x[i, j])`, not `x.sum(1)`"),
            ),
        }
    }

    fn name(&mut self, name: &str, span: Span) -> Fallible<Value> {
        if let Some(at) = self.scopes.iter().rposition(|(n, _)| n == name) {
            return Ok(match self.scopes[at].1.clone() {
                Bound::Index(slot) => Value::Scalar(self.code.push(Op::Index(slot), Ty::Int, span)),
                Bound::Let(id, ty) => Value::Scalar(self.code.push(Op::Var(id), ty, span)),
                Bound::Value(v) => self.copy(&v)?,
            });
        }
        let captured = self.prefix.as_ref().map(|p| format!("{p}.{name}"));
        let number = captured.as_ref().and_then(|n| self.world.numbers.get(n));
        if let Some(&(v, ty)) = number.or_else(|| self.world.numbers.get(name)) {
            return Ok(Value::Scalar(self.number(v, ty, span)));
        }
        if let Some(&present) = self.world.optional.get(name) {
            return Ok(Value::Scalar(self.number(present as u8 as f64, Ty::Bool, span)));
        }
        if let Some(array) = self.array_named(name) {
            let info = &self.arrays.infos[array];
            if !info.axes.is_empty() {
                return refuse(
                    Diagnostic::error(
                        "T0477",
                        span,
                        format!("`{name}` is an array of {} axes", info.axes.len()),
                    )
                    .label("subscript it"),
                );
            }
            let ty = info.ty;
            let load = Op::Load { array, subscripts: vec![], otherwise: None };
            return Ok(Value::Scalar(self.code.push(load, ty, span)));
        }
        let constant = match name {
            "LOG2E" => std::f64::consts::LOG2_E,
            "LN2" => std::f64::consts::LN_2,
            "PI" => std::f64::consts::PI,
            _ => {
                return refuse(
                    Diagnostic::error("T0475", span, format!("`{name}` is not defined here"))
                        .label("neither an index, a `let`, a dimension nor a parameter"),
                );
            }
        };
        Ok(Value::Scalar(self.number(constant, Ty::Real, span)))
    }

    // ------------------------------------------------------------ operators

    fn binary_expr(&mut self, op: BinaryOp, lhs: &Expr, rhs: &Expr, span: Span) -> Fallible<Value> {
        if matches!(op, BinaryOp::AndAnd | BinaryOp::OrOr) {
            let a = self.condition(lhs)?;
            let decided = if op == BinaryOp::AndAnd { 0.0 } else { 1.0 };
            match self.code.constant(a) {
                Some(v) if v == decided => return Ok(Value::Scalar(a)),
                Some(_) => return Ok(Value::Scalar(self.condition(rhs)?)),
                None => {}
            }
            let b = self.with_lets(|b| b.condition(rhs))?;
            let op = if op == BinaryOp::AndAnd { Op::AndAlso(a, b) } else { Op::OrElse(a, b) };
            return Ok(Value::Scalar(self.code.push(op, Ty::Bool, span)));
        }
        let (a, b) = (self.expr(lhs)?, self.expr(rhs)?);
        self.lift(vec![a, b], span, |x, n| x.binary_op(op, n[0], n[1], span))
    }

    fn unary_op(&mut self, op: UnaryOp, a: NodeId, span: Span) -> Fallible<NodeId> {
        let ty = self.ty(a);
        Ok(match (op, ty) {
            (UnaryOp::Neg, Ty::Bool) => self.unary(UnaryFn::Neg, a, Ty::Int, span),
            (UnaryOp::Neg, _) => self.unary(UnaryFn::Neg, a, ty, span),
            (UnaryOp::Not, Ty::Bool) => self.unary(UnaryFn::Not, a, Ty::Bool, span),
            (UnaryOp::Not, Ty::Int | Ty::Literal) => self.unary(UnaryFn::Complement, a, ty, span),
            (UnaryOp::Not, Ty::Real) => {
                return refuse(
                    Diagnostic::error("T0482", span, "`!` needs a bool or an integer")
                        .label("this is a real number"),
                );
            }
        })
    }

    pub(super) fn unary(&mut self, f: UnaryFn, a: NodeId, ty: Ty, span: Span) -> NodeId {
        match self.code.constant(a) {
            Some(v) => self.number(constant_unary(f, v), ty, span),
            None => self.code.push(Op::Unary(f, a), ty, span),
        }
    }

    pub(super) fn binary(&mut self, f: BinaryFn, a: NodeId, b: NodeId, ty: Ty, span: Span) -> NodeId {
        let divides = matches!(f, BinaryFn::FloorDiv | BinaryFn::CeilDiv);
        match (self.code.constant(a), self.code.constant(b)) {
            (Some(x), Some(y)) if !(divides && y == 0.0) => self.number(constant_binary(f, x, y), ty, span),
            _ => self.code.push(Op::Binary(f, a, b), ty, span),
        }
    }

    pub(super) fn binary_op(&mut self, op: BinaryOp, a: NodeId, b: NodeId, span: Span) -> Fallible<NodeId> {
        let (ta, tb) = (self.ty(a), self.ty(b));
        let joined = ta.join(tb);
        let arithmetic = if joined == Ty::Bool { Ty::Int } else { joined };
        let real = joined == Ty::Real;
        let (f, ty) = match op {
            BinaryOp::Add => (BinaryFn::Add, arithmetic),
            BinaryOp::Sub => (BinaryFn::Sub, arithmetic),
            BinaryOp::Mul => (BinaryFn::Mul, arithmetic),
            BinaryOp::Div if real => (BinaryFn::Div, Ty::Real),
            BinaryOp::Div => {
                self.check_literal_division(a, b, span)?;
                (BinaryFn::FloorDiv, arithmetic)
            }
            BinaryOp::Rem => (BinaryFn::Rem, arithmetic),
            BinaryOp::Eq => (BinaryFn::Eq, Ty::Bool),
            BinaryOp::Ne => (BinaryFn::Ne, Ty::Bool),
            BinaryOp::Lt => (BinaryFn::Lt, Ty::Bool),
            BinaryOp::Le => (BinaryFn::Le, Ty::Bool),
            BinaryOp::Gt => (BinaryFn::Gt, Ty::Bool),
            BinaryOp::Ge => (BinaryFn::Ge, Ty::Bool),
            BinaryOp::And | BinaryOp::Or | BinaryOp::Xor | BinaryOp::Shl | BinaryOp::Shr if real => {
                return refuse(
                    Diagnostic::error("T0482", span, "bit operations need integers")
                        .label("an operand is a real number"),
                );
            }
            BinaryOp::And => (BinaryFn::And, joined),
            BinaryOp::Or => (BinaryFn::Or, joined),
            BinaryOp::Xor => (BinaryFn::Xor, joined),
            BinaryOp::Shl => (BinaryFn::Shl, arithmetic),
            BinaryOp::Shr => (BinaryFn::Shr, arithmetic),
            BinaryOp::AndAnd | BinaryOp::OrOr | BinaryOp::Dot => {
                return refuse(
                    Diagnostic::error("T0477", span, "a spec has no tiles, so no `@`")
                        .label("write the sum")
                        .help("`sum(k: a[i, k] * b[k, j])`"),
                );
            }
        };
        Ok(self.binary(f, a, b, ty, span))
    }

    /// `1 / 2` would be 0, which nobody means.
    fn check_literal_division(&self, a: NodeId, b: NodeId, span: Span) -> Fallible<()> {
        if (self.ty(a), self.ty(b)) == (Ty::Literal, Ty::Literal)
            && let (Some(x), Some(y)) = (self.code.constant(a), self.code.constant(b))
            && y != 0.0
            && x % y != 0.0
        {
            return refuse(
                Diagnostic::error("T0482", span, "the quotient of two integers is rounded down")
                    .label(format!("this is {}", constant_binary(BinaryFn::FloorDiv, x, y)))
                    .help(format!("write `{x}.0 / {y}` for a fraction")),
            );
        }
        Ok(())
    }

    /// `.to(…)`: float types change nothing in f64; integer types truncate and saturate.
    fn convert(&mut self, a: NodeId, ty: &Type) -> Fallible<NodeId> {
        let TypeKind::Scalar(name) = &ty.kind else {
            return refuse(Diagnostic::error("T0482", ty.span, "`.to` takes a scalar type"));
        };
        let span = ty.span;
        if name.name == "index" {
            return Ok(self.truncated(a, Ty::Int, i64::MIN, i64::MAX, span));
        }
        Ok(match DType::from_name(&name.name) {
            Some(DType::Bool) => self.unary(UnaryFn::ToBool, a, Ty::Bool, span),
            Some(d) => match d.int_range() {
                Some((lo, hi)) => self.truncated(a, Ty::Int, lo, hi, span),
                None => self.retyped(a, Ty::Real),
            },
            // A dtype parameter; kernels take them for floats.
            None => self.retyped(a, Ty::Real),
        })
    }

    fn retyped(&mut self, a: NodeId, ty: Ty) -> NodeId {
        self.code.types[a] = ty;
        a
    }

    fn truncated(&mut self, a: NodeId, ty: Ty, lo: i64, hi: i64, span: Span) -> NodeId {
        self.unary(UnaryFn::Truncate(lo, hi), a, ty, span)
    }

    // ------------------------------------------------------------ if

    fn if_value(&mut self, i: &If, span: Span) -> Fallible<Value> {
        let c = self.condition(&i.condition)?;
        if let Some(v) = self.code.constant(c) {
            return match (&i.otherwise, v != 0.0) {
                (_, true) => self.block_value(&i.then),
                (Some(other), false) => self.else_value(other),
                (None, false) => refuse(no_else(span)),
            };
        }
        let Some(other) = &i.otherwise else { return refuse(no_else(span)) };
        let (a, a_lets) = self.apart(|b| b.block_value(&i.then))?;
        let (b, b_lets) = self.apart(|b| b.else_value(other))?;
        let mut arms = Some((a_lets, b_lets));
        self.lift(vec![Value::Scalar(c), a, b], span, |x, n| {
            let (a_lets, b_lets) = arms.take().unwrap_or_default();
            let (a, b) = (x.wrap(a_lets, n[1]), x.wrap(b_lets, n[2]));
            Ok(x.select(n[0], a, b, span))
        })
    }

    fn else_value(&mut self, e: &Else) -> Fallible<Value> {
        match e {
            Else::Block(b) => self.block_value(b),
            Else::If(i, span) => self.if_value(i, *span),
        }
    }

    /// Builds a value and gives the lets it made apart.
    #[allow(clippy::type_complexity)]
    fn apart(
        &mut self,
        build: impl FnOnce(&mut Self) -> Fallible<Value>,
    ) -> Fallible<(Value, Vec<(usize, NodeId)>)> {
        let outer = std::mem::take(&mut self.lets);
        let value = build(self);
        let lets = std::mem::replace(&mut self.lets, outer);
        Ok((value?, lets))
    }

    pub(super) fn select(&mut self, c: NodeId, a: NodeId, b: NodeId, span: Span) -> NodeId {
        let ty = self.ty(a).join(self.ty(b));
        match self.code.constant(c) {
            Some(v) => {
                let taken = if v != 0.0 { a } else { b };
                self.retyped(taken, ty)
            }
            None => self.code.push(Op::Select(c, a, b), ty, span),
        }
    }

    // ------------------------------------------------------------ vectors

    /// Applies a scalar operation to values: element by element where some are vectors or tuples.
    pub(super) fn lift(
        &mut self,
        values: Vec<Value>,
        span: Span,
        mut f: impl FnMut(&mut Self, &[NodeId]) -> Fallible<NodeId>,
    ) -> Fallible<Value> {
        self.lift_dyn(values, span, &mut f)
    }

    fn lift_dyn(
        &mut self,
        values: Vec<Value>,
        span: Span,
        f: &mut dyn FnMut(&mut Self, &[NodeId]) -> Fallible<NodeId>,
    ) -> Fallible<Value> {
        if values.iter().any(|v| matches!(v, Value::Tuple(_))) {
            return refuse(
                Diagnostic::error("T0477", span, "tuples are taken apart by `let (a, b) = …`, nothing else")
                    .label("an operand is a tuple"),
            );
        }
        let mut joined: Option<Vector> = None;
        let mut nodes = vec![];
        for v in values {
            match (v, &joined) {
                (Value::Scalar(n), _) => nodes.push(n),
                (Value::Vector(v), None) => {
                    nodes.push(v.body);
                    joined = Some(v);
                }
                (Value::Vector(v), Some(first)) => {
                    let (slot, len) = (first.slot, first.len);
                    nodes.push(self.renamed(v.body, v.slot, slot));
                    let len = self.same_length(len, v.len, span)?;
                    joined = Some(Vector { slot, len, body: v.body });
                }
                (Value::Tuple(_), _) => {}
            }
        }
        let body = f(self, &nodes)?;
        Ok(match joined {
            None => Value::Scalar(body),
            Some(v) => Value::Vector(Vector { body, ..v }),
        })
    }

    fn same_length(&mut self, a: NodeId, b: NodeId, span: Span) -> Fallible<NodeId> {
        match (self.code.constant(a), self.code.constant(b)) {
            (Some(x), Some(y)) if x == y => Ok(a),
            (Some(x), Some(y)) => refuse(
                Diagnostic::error("T0476", span, format!("vectors of {x} and {y} elements do not agree"))
                    .label("element by element"),
            ),
            _ => Ok(self.code.push(Op::Same { value: a, other: b }, Ty::Int, span)),
        }
    }

    /// A copy of a value, so that every node keeps one place in the tree.
    fn copy(&mut self, v: &Value) -> Fallible<Value> {
        Ok(match v {
            Value::Scalar(n) => Value::Scalar(self.renamed(*n, usize::MAX, usize::MAX)),
            Value::Vector(v) => {
                let name = self.code.slot_names[v.slot].clone();
                let slot = self.slot(&name, self.code.spans[v.body])?;
                let body = self.renamed(v.body, v.slot, slot);
                Value::Vector(Vector { slot, len: v.len, body })
            }
            Value::Tuple(list) => Value::Tuple(list.iter().map(|v| self.copy(v)).collect::<Fallible<_>>()?),
        })
    }

    /// A copy of a tree in which one slot takes the place of another.
    pub(super) fn renamed(&mut self, node: NodeId, from: Slot, to: Slot) -> NodeId {
        let swap = |s: Slot| if s == from { to } else { s };
        let op = match self.code.ops[node].clone() {
            Op::Index(s) => Op::Index(swap(s)),
            Op::Load { array, subscripts, otherwise } => Op::Load {
                array,
                subscripts: subscripts.into_iter().map(|s| self.renamed(s, from, to)).collect(),
                otherwise: otherwise.map(|o| self.renamed(o, from, to)),
            },
            Op::Unary(f, a) => Op::Unary(f, self.renamed(a, from, to)),
            Op::Binary(f, a, b) => Op::Binary(f, self.renamed(a, from, to), self.renamed(b, from, to)),
            Op::AndAlso(a, b) => Op::AndAlso(self.renamed(a, from, to), self.renamed(b, from, to)),
            Op::OrElse(a, b) => Op::OrElse(self.renamed(a, from, to), self.renamed(b, from, to)),
            Op::Select(c, a, b) => {
                Op::Select(self.renamed(c, from, to), self.renamed(a, from, to), self.renamed(b, from, to))
            }
            Op::Let { id, value, body } => {
                Op::Let { id, value: self.renamed(value, from, to), body: self.renamed(body, from, to) }
            }
            Op::Reduce { kind, mut binders, body } => {
                for b in &mut binders {
                    b.lo = self.renamed(b.lo, from, to);
                    b.hi = self.renamed(b.hi, from, to);
                }
                Op::Reduce { kind, binders, body: self.renamed(body, from, to) }
            }
            Op::Vector { function, slot, len, body, parameter } => Op::Vector {
                function,
                slot,
                len: self.renamed(len, from, to),
                body: self.renamed(body, from, to),
                parameter: parameter.map(|p| self.renamed(p, from, to)),
            },
            Op::VectorAt { vector, slot } => {
                Op::VectorAt { vector: self.renamed(vector, from, to), slot: swap(slot) }
            }
            Op::VectorLen(v) => Op::VectorLen(self.renamed(v, from, to)),
            Op::Same { value, other } => {
                Op::Same { value: self.renamed(value, from, to), other: self.renamed(other, from, to) }
            }
            op @ (Op::Const(_) | Op::AxisLo(..) | Op::AxisHi(..) | Op::Var(_)) => op,
        };
        self.code.push(op, self.code.types[node], self.code.spans[node])
    }
}

fn no_else(span: Span) -> Diagnostic {
    Diagnostic::error("T0477", span, "an `if` that is a value needs an `else`")
        .label("no value when it is false")
}
