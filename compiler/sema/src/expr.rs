//! Expressions: names, `if`, blocks, tuples, fields, conversions; the rest is handed to its own file.

use crate::{elab::*, ops::axis_of, typed::*, value::*};
use std::f64::consts;
use tile_base::{DType, Diagnostic, Size, Span, op::*};
use tile_syntax::ast::{self, BinaryOp, Expr, ExprKind};

/// What an access is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    Read,
    Write,
    Accumulate,
}

impl<'m> Elab<'m> {
    pub fn eval(&mut self, e: &'m Expr) -> Val<'m> {
        self.deeper(e.span, Val::Error, |this| this.eval_inner(e))
    }

    fn eval_inner(&mut self, e: &'m Expr) -> Val<'m> {
        match &e.kind {
            // A few of the 64 bits are left free, so that no sum of two positions overflows in the checker.
            ExprKind::Int(v) if v.unsigned_abs() > MAX_INT as u64 => {
                let d = Diagnostic::error("T0207", e.span, format!("`{v}` is beyond 2^61"));
                self.fail(d.help("integers of a kernel are between -2^61 and 2^61"))
            }
            ExprKind::Int(v) => Val::Const(Const::Int(*v)),
            ExprKind::Float(text) => match text.replace('_', "").parse::<f64>() {
                Ok(v) => Val::Const(Const::Float(v)),
                Err(_) => self.fail(Diagnostic::error("T0207", e.span, format!("`{text}` is not a number"))),
            },
            ExprKind::Bool(b) => Val::Const(Const::Bool(*b)),
            ExprKind::Inf => Val::Const(Const::Float(f64::INFINITY)),
            ExprKind::Nan => Val::Const(Const::Float(f64::NAN)),
            ExprKind::Str(_) => Val::Str,
            ExprKind::Name(n) => self.name(n, e.span),
            ExprKind::Path(path) => match self.m.resolve_path(self.frame().file, path) {
                Some(item) => self.item_value(item, &path[path.len() - 1].name),
                None => {
                    let text = crate::module::module_path(path);
                    let d = Diagnostic::error("T0200", e.span, format!("nothing is called `{text}`"));
                    self.fail(d.help("import it: `use module::{name};`"))
                }
            },
            ExprKind::Unary { op, operand } => {
                let v = self.eval(operand);
                self.unary(*op, v, operand.span, e.span)
            }
            ExprKind::Binary { op: op @ (BinaryOp::AndAnd | BinaryOp::OrOr), lhs, rhs } => {
                self.logical(*op, lhs, rhs, e.span)
            }
            ExprKind::Binary { op, lhs, rhs } => {
                let (a, b) = (self.eval(lhs), self.eval(rhs));
                self.binary(*op, a, b, lhs.span, rhs.span, e.span)
            }
            ExprKind::Subscript { .. } => self.subscript(e, Purpose::Read),
            ExprKind::Call { function, args } => self.call(function, args, e.span),
            ExprKind::Method { receiver, name, args } => self.method(receiver, name, args, e.span),
            ExprKind::To { value, ty } => self.convert(value, ty, e.span),
            ExprKind::Field { base, name } => self.field(base, name, e.span),
            ExprKind::Range { lo, hi } => {
                let (a, b) = (self.range_end(lo), self.range_end(hi));
                if a.is_error() || b.is_error() {
                    return Val::Error;
                }
                Val::Range(Box::new(a), Box::new(b))
            }
            ExprKind::Tuple(items) => {
                let items: Vec<_> = items.iter().map(|i| self.eval(i)).collect();
                Val::Tuple(items)
            }
            ExprKind::If(i) => self.if_value(i, e.span, true),
            ExprKind::Block(b) => self.block_value(b),
            ExprKind::Paren(inner) => self.eval(inner),
            ExprKind::Reducer { name, .. } => {
                let d = Diagnostic::error(
                    "T0247",
                    e.span,
                    format!("`{}(j: ...)` stands only in a spec", name.name),
                );
                self.fail(d.help("in a kernel, reduce a tile along an axis: `x.sum(1)`"))
            }
            ExprKind::List(_) => {
                let d = Diagnostic::error("T0247", e.span, "a list stands only in tests and schedules");
                self.fail(d.help("an array of tiles is declared as `var Z: [f32[K, V]; 4] = 0;`"))
            }
            ExprKind::Broken => Val::Error,
        }
    }

    // ------------------------------------------------------------ names

    fn name(&mut self, name: &'m str, span: Span) -> Val<'m> {
        match self.lookup(name).cloned() {
            Some(Binding::Val(v)) => {
                if let Val::Expr(TExpr { kind: TExprKind::Local(l), .. }) = &v
                    && self.marked.contains(l)
                {
                    let l = *l;
                    self.tile_field(&format!("`{name}`"), span);
                    return Val::Expr(self.read(l, span));
                }
                match v {
                    Val::Expr(mut e) => {
                        e.span = span;
                        Val::Expr(e)
                    }
                    v => v,
                }
            }
            Some(Binding::Var(l)) => Val::Expr(self.read(l, span)),
            Some(Binding::Array(locals)) => Val::Array(locals),
            Some(Binding::Axis(axis)) => self.axis_value(&axis, span),
            Some(Binding::Dtype(d)) => {
                let d = Diagnostic::error("T0206", span, format!("`{name}` is the dtype {d}, not a value"));
                self.fail(d.help(format!("a dtype stands after `:`, `->` and in `.to({name})`")))
            }
            None => self.global(name, span),
        }
    }

    fn global(&mut self, name: &'m str, span: Span) -> Val<'m> {
        match name {
            "LOG2E" => return Val::Const(Const::Float(consts::LOG2_E)),
            "LN2" => return Val::Const(Const::Float(consts::LN_2)),
            "PI" => return Val::Const(Const::Float(consts::PI)),
            _ => {}
        }
        if let Some(item) = self.m.resolve(self.frame().file, name) {
            return self.item_value(item, name);
        }
        let d = Diagnostic::error("T0200", span, format!("nothing is called `{name}` here"));
        let d = if crate::builtins::NAMES.contains(&name) {
            d.help(format!("`{name}` is a built-in function: call it as `{name}(..)`"))
        } else if DType::from_name(name).is_some() {
            d.help("a dtype stands after `:`, `->` and in `.to(..)`")
        } else {
            match self.suggest(name) {
                Some(near) => d.help(format!("did you mean `{near}`?")),
                None => d.help("names come from parameters, shapes, `let`, `var`, loops, this file, its `use` lines and the prelude"),
            }
        };
        self.fail(d)
    }

    fn item_value(&mut self, item: crate::module::ItemRef, name: &str) -> Val<'m> {
        Val::Fn(FnVal { item, alias: name.to_string() })
    }

    /// An axis of a function's parameter type, used as a value.
    fn axis_value(&mut self, axis: &Axis, span: Span) -> Val<'m> {
        match axis {
            Axis::One => Val::index(1),
            Axis::Fixed { size, value } => Val::Const(Const::Index(*value as i64, size.clone())),
            Axis::Span { span: s, .. } if self.span_data[s.index()].hidden => {
                let (lo, hi) = (self.span_data[s.index()].lo.clone(), self.span_data[s.index()].hi.clone());
                if lo.is_zero() {
                    return Val::Expr(hi);
                }
                self.elem(ElemOp::Sub, vec![hi, lo], span).map_or(Val::Error, Val::Expr)
            }
            Axis::Span { span: s, .. } => Val::Span { span: *s, offset: None },
        }
    }

    /// The axis that an expression names in a type.
    pub fn type_axis(&mut self, e: &'m Expr) -> Option<Axis> {
        if let Some(name) = ident_of(e)
            && let Some(Binding::Axis(a)) = self.lookup(name)
        {
            return Some(a.clone());
        }
        match self.eval(e) {
            Val::Span { span, offset: None } => Some(Axis::span(span)),
            Val::Along { axis, offset: None } => Some(axis),
            Val::Const(c) if c.int().is_some() => {
                let (v, size) = (c.int()?, c.size()?);
                if v < 0 {
                    self.report(Diagnostic::error("T0209", e.span, format!("an axis of extent {v}")));
                    return None;
                }
                Some(axis_of(v, size))
            }
            Val::Error => None,
            other => {
                let d = Diagnostic::error("T0209", e.span, format!("{} as an axis of a tile", other.kind()));
                self.report(match other {
                    Val::Expr(_) => d
                        .note("the extent of a tile is a compile-time size or a span")
                        .help("cut the dimension with `tiles(N, B)`, or declare it `const`"),
                    Val::TileSize(_) => d.help("use the span that `tiles(.., B)` gives, as in `f32[i, D]`"),
                    _ => d.help("an axis is a compile-time size, 1, or a span"),
                });
                None
            }
        }
    }

    /// `.start` and the like of a tile-sized span, or a local that holds one.
    pub fn tile_field(&mut self, what: &str, span: Span) {
        match self.tile_fields {
            TileFields::Allow => {}
            TileFields::Mark => self.saw_tile_field = true,
            TileFields::Refuse => {
                let message = format!("{what} depends on a tile size, which a schedule chooses");
                self.report(
                    Diagnostic::error("T0234", span, message)
                        .note("`.start .end .len .id` of a tile-sized span may flow only into `skip` and `assert`")
                        .help("use positions (`i.at`), a `skip` claim, or a `const` size, which means something"),
                );
            }
        }
    }

    /// `lo` or `hi` of a range: both ends of one span may be used whatever its size is.
    fn range_end(&mut self, e: &'m Expr) -> Val<'m> {
        self.eval(e)
    }

    fn field(&mut self, base: &'m Expr, name: &'m ast::Ident, span: Span) -> Val<'m> {
        let v = self.eval(base);
        let field = match name.name.as_str() {
            "start" => SpanField::Start,
            "end" => SpanField::End,
            "len" => SpanField::Len,
            "id" => SpanField::Id,
            "at" | "t" => return self.at_or_transpose(v, name, base.span, span),
            _ => {
                if v.is_error() {
                    return v;
                }
                let d = Diagnostic::error(
                    "T0217",
                    name.span,
                    format!("{} has no field `{}`", v.kind(), name.name),
                );
                return self.fail(d.help("fields: `.t` of a tile; `.start .end .len .id .at` of a span"));
            }
        };
        let (s, offset) = match v {
            Val::Span { span, offset } => (span, offset),
            Val::Error => return Val::Error,
            other => {
                let message = format!("`.{}` is a field of spans; this is {}", name.name, other.kind());
                return self.fail(Diagnostic::error("T0217", name.span, message));
            }
        };
        if let Step::Tile(t) = self.spans[s.index()].step {
            let what =
                format!("`{}.{}` ({})", self.spans[s.index()].name, name.name, self.tiles[t.index()].name);
            self.tile_field(&what, span);
        }
        if field == SpanField::Id && !self.span_data[s.index()].numbered {
            let d = Diagnostic::error("T0217", name.span, "a single span has no number");
            return self.fail(d.help("`.id` counts the spans of `tiles(..)`"));
        }
        let e = TExpr::new(TExprKind::SpanField(s, field), Type::scalar(Elem::Index), span);
        match (offset, field) {
            (Some(by), SpanField::Start | SpanField::End) => {
                self.elem(ElemOp::Add, vec![e, *by], span).map_or(Val::Error, Val::Expr)
            }
            _ => Val::Expr(e),
        }
    }

    fn at_or_transpose(&mut self, v: Val<'m>, name: &ast::Ident, base: Span, span: Span) -> Val<'m> {
        match (name.name.as_str(), v) {
            (_, Val::Error) => Val::Error,
            ("at", Val::Span { span: s, offset }) => Val::Expr(self.positions(s, offset.as_deref(), span)),
            ("at", Val::Along { axis, offset }) => Val::Expr(self.iota_from(axis, offset.as_deref(), span)),
            ("at", other) => {
                let message = format!("`.at` is a field of spans; this is {}", other.kind());
                self.fail(Diagnostic::error("T0217", name.span, message))
            }
            (_, v) => {
                let Some(x) = self.tile_or_view(v, base) else { return Val::Error };
                let rank = x.ty.axes.len();
                if rank < 2 {
                    let d = Diagnostic::error(
                        "T0223",
                        span,
                        format!("`.t` of {}: it swaps the last two axes", self.show(&x.ty)),
                    );
                    return self.fail(d);
                }
                let mut order: Vec<u32> = (0..rank as u32).collect();
                order.swap(rank - 1, rank - 2);
                Val::Expr(self.permuted(x, order, span))
            }
        }
    }

    /// A tile, or a view that may be rearranged.
    pub fn tile_or_view(&mut self, v: Val<'m>, span: Span) -> Option<TExpr> {
        match v {
            Val::Tensor(_) | Val::ViewDef(_) => match self.resolve_view(v, span) {
                Val::Expr(e) => Some(e),
                _ => None,
            },
            Val::Expr(e) => Some(e),
            v => self.value(v, None, span),
        }
    }

    pub fn permuted(&mut self, x: TExpr, order: Vec<u32>, span: Span) -> TExpr {
        let axes = order.iter().map(|&n| x.ty.axes[n as usize].clone()).collect();
        let ty = Type::tile(x.ty.elem, axes);
        TExpr::new(TExprKind::Permute { x: Box::new(x), order }, ty, span)
    }

    /// Positions of a span, moved.
    pub fn positions(&mut self, s: SpanId, offset: Option<&TExpr>, span: Span) -> TExpr {
        let ty = Type::tile(Elem::Index, vec![Axis::span(s)]);
        let at = TExpr::new(TExprKind::Positions(s), ty, span);
        self.plus(at, offset, span)
    }

    /// 0, 1, … along an axis, moved.
    pub fn iota_from(&mut self, axis: Axis, offset: Option<&TExpr>, span: Span) -> TExpr {
        let at = TExpr::new(TExprKind::Iota, Type::tile(Elem::Index, vec![axis]), span);
        self.plus(at, offset, span)
    }

    fn plus(&mut self, e: TExpr, offset: Option<&TExpr>, span: Span) -> TExpr {
        let Some(by) = offset else { return e };
        let ty = e.ty.clone();
        TExpr::new(TExprKind::Elem { op: ElemOp::Add, args: vec![e, by.clone()] }, ty, span)
    }

    // ------------------------------------------------------------ conversion

    fn convert(&mut self, value: &'m Expr, ty: &'m ast::Type, span: Span) -> Val<'m> {
        let v = self.eval(value);
        let Some(elem) = self.scalar_type(ty) else { return Val::Error };
        match v {
            Val::Error => Val::Error,
            Val::Const(c) => self.convert_const(c, elem, span),
            v => {
                let Some(x) = self.tile_or_view(v, value.span) else { return Val::Error };
                if x.ty.elem == elem {
                    return Val::Expr(TExpr { span, ..x });
                }
                let ty = Type::tile(elem, x.ty.axes.clone());
                Val::Expr(TExpr::new(TExprKind::Cast(Box::new(x)), ty, span))
            }
        }
    }

    fn convert_const(&mut self, c: Const, elem: Elem, span: Span) -> Val<'m> {
        let lit = match (elem, &c) {
            (Elem::Index, Const::Int(_) | Const::Index(..)) => return Val::Const(c),
            (Elem::Index, Const::Float(v)) => return Val::index((*v as i64).clamp(-MAX_INT, MAX_INT)),
            (Elem::Of(DType::Bool), Const::Bool(b)) => Literal::Bool(*b),
            (Elem::Of(DType::Bool), c) => Literal::Bool(c.float() != Some(0.0)),
            (e, Const::Bool(b)) if e.is_float() => Literal::Float(f64::from(u8::from(*b))),
            (Elem::Index, Const::Bool(b)) => return Val::index(i64::from(*b)),
            (_, Const::Bool(b)) => Literal::Int(i64::from(*b)),
            (e, c) if e.is_float() => Literal::Float(c.float().unwrap_or(0.0)),
            (Elem::Of(d), c) => {
                let (lo, hi) = d.int_range().unwrap_or((i64::MIN, i64::MAX));
                Literal::Int(c.int().unwrap_or_else(|| c.float().unwrap_or(0.0) as i64).clamp(lo, hi))
            }
        };
        Val::Expr(TExpr::new(TExprKind::Literal(lit), Type::scalar(elem), span))
    }

    /// `f32`, `T`, `index`, and index types (which load as `index`).
    pub fn scalar_type(&mut self, ty: &'m ast::Type) -> Option<Elem> {
        match &ty.kind {
            ast::TypeKind::Scalar(name) => self.elem_named(name),
            ast::TypeKind::Index { .. } => Some(Elem::Index),
            _ => {
                let d = Diagnostic::error("T0209", ty.span, "a scalar type is needed here");
                self.report(d.help("for example `f32`, `index`, or a dtype parameter"));
                None
            }
        }
    }

    pub fn elem_named(&mut self, name: &ast::Ident) -> Option<Elem> {
        if name.name == "index" {
            return Some(Elem::Index);
        }
        if let Some(Binding::Dtype(d)) = self.lookup(&name.name) {
            return Some(Elem::Of(*d));
        }
        if let Some(d) = DType::from_name(&name.name) {
            return Some(Elem::Of(d));
        }
        let d = Diagnostic::error("T0209", name.span, format!("there is no type `{}`", name.name));
        let all: Vec<&str> = DType::ALL.iter().map(|d| d.name()).chain(["index"]).collect();
        self.report(match crate::module::nearest(&name.name, all.iter().copied()) {
            Some(near) => d.help(format!("did you mean `{near}`?")),
            None => d.help(format!("types are {}", all.join(" "))),
        });
        None
    }

    // ------------------------------------------------------------ && ||

    fn logical(&mut self, op: BinaryOp, lhs: &'m Expr, rhs: &'m Expr, span: Span) -> Val<'m> {
        let decided = op == BinaryOp::OrOr;
        let a = self.eval(lhs);
        let Some(a) = self.boolean(a, lhs.span) else {
            self.eval(rhs);
            return Val::Error;
        };
        if let Val::Const(Const::Bool(b)) = a {
            if b == decided {
                return Val::Const(Const::Bool(b));
            }
            let b = self.eval(rhs);
            return self.boolean(b, rhs.span).unwrap_or(Val::Error);
        }
        let Val::Expr(a) = a else { return Val::Error };
        let (stmts, b) = self.block(|this| {
            let b = this.eval(rhs);
            this.boolean(b, rhs.span)
        });
        let b = match b {
            None => return Val::Error,
            // `x && true` is x; `x && false` is false, whatever x is.
            Some(Val::Const(Const::Bool(b))) => {
                return if b == decided { Val::Const(Const::Bool(b)) } else { Val::Expr(a) };
            }
            Some(Val::Expr(b)) => b,
            Some(_) => return Val::Error,
        };
        let mut loads = false;
        crate::walk::each_expr(&b, &mut |e| loads |= matches!(e.kind, TExprKind::Load(_)));
        if a.ty.is_scalar() && b.ty.is_scalar() && (loads || !stmts.is_empty()) {
            return self.short_circuit(decided, a, stmts, b, span);
        }
        if let Some(block) = self.blocks.last_mut() {
            block.extend(stmts);
        }
        let op = if op == BinaryOp::OrOr { ElemOp::Or } else { ElemOp::And };
        self.elem(op, vec![a, b], span).map_or(Val::Error, Val::Expr)
    }

    /// On scalars the right side is not evaluated when the left decides.
    fn short_circuit(&mut self, decided: bool, a: TExpr, stmts: Vec<TStmt>, b: TExpr, span: Span) -> Val<'m> {
        let ty = Type::scalar(Elem::BOOL);
        let known = TExpr::new(TExprKind::Literal(Literal::Bool(decided)), ty.clone(), span);
        let right = TBlock { stmts, values: vec![b] };
        let left = TBlock { stmts: vec![], values: vec![known] };
        let (then, otherwise) = if decided { (left, right) } else { (right, left) };
        let result = self.local("both", ty, false, span);
        let kind = TStmtKind::If { condition: a, then, otherwise, results: vec![result], carried: vec![] };
        self.emit(kind, span);
        Val::Expr(self.read(result, span))
    }

    // ------------------------------------------------------------ blocks and if

    pub fn block_value(&mut self, b: &'m ast::Block) -> Val<'m> {
        self.scoped(|this| {
            this.statements_of(&b.stmts);
            match &b.value {
                Some(v) => this.eval(v),
                None => Val::Unit,
            }
        })
    }

    pub fn else_value(&mut self, otherwise: Option<&'m ast::Else>, want: bool) -> Val<'m> {
        match otherwise {
            None => Val::Unit,
            Some(ast::Else::Block(b)) => self.block_value(b),
            Some(ast::Else::If(i, span)) => self.if_value(i, *span, want),
        }
    }

    /// `if`, as a statement (`want` false) or an expression.
    pub fn if_value(&mut self, i: &'m ast::If, span: Span, want: bool) -> Val<'m> {
        let c = self.eval(&i.condition);
        let condition = match self.boolean(c, i.condition.span) {
            Some(Val::Const(Const::Bool(true))) => return self.block_value(&i.then),
            Some(Val::Const(Const::Bool(false))) => return self.else_value(i.otherwise.as_ref(), want),
            Some(Val::Expr(e)) => e,
            _ => {
                // Look into both arms for their own faults.
                self.block(|this| this.block_value(&i.then));
                self.block(|this| this.else_value(i.otherwise.as_ref(), want));
                return Val::Error;
            }
        };
        if want && i.otherwise.is_none() {
            let d = Diagnostic::error("T0261", span, "an `if` without `else` has no value");
            return self.fail(d.help("add `else { ... }`"));
        }
        if !condition.ty.is_scalar() {
            return self.lifted_if(condition, i, span, want);
        }
        let (then_stmts, a) = self.block(|this| this.block_value(&i.then));
        let (else_stmts, b) = self.block(|this| this.else_value(i.otherwise.as_ref(), want));
        let mut then = TBlock { stmts: then_stmts, values: vec![] };
        let mut otherwise = TBlock { stmts: else_stmts, values: vec![] };
        let (shape, ok) = if want {
            match self.join(a, b, i, &mut then, &mut otherwise) {
                Some(shape) => (shape, true),
                None => (Val::Error, false),
            }
        } else {
            (Val::Unit, true)
        };
        if !ok {
            return Val::Error;
        }
        let mut carried = crate::walk::assigned(&then.stmts);
        carried.extend(crate::walk::assigned(&otherwise.stmts));
        let tys: Vec<Type> = then.values.iter().map(|v| v.ty.clone()).collect();
        let name = self.hint.clone().unwrap_or_else(|| "if".into());
        let results: Vec<LocalId> = tys.into_iter().map(|ty| self.local(&name, ty, false, span)).collect();
        let mut reads: Vec<TExpr> = results.iter().map(|&r| self.read(r, span)).collect();
        let carried = carried.into_iter().collect();
        self.emit(TStmtKind::If { condition, then, otherwise, results, carried }, span);
        reads.reverse();
        rebuild(shape, &mut reads)
    }

    /// Brings the values of two arms to one type; the shape (of tuples) of the result.
    fn join(
        &mut self,
        a: Val<'m>,
        b: Val<'m>,
        i: &'m ast::If,
        then: &mut TBlock,
        otherwise: &mut TBlock,
    ) -> Option<Val<'m>> {
        let end = |b: &ast::Block| b.value.as_ref().map_or(b.span, |v| v.span);
        let sa = end(&i.then);
        let sb = match &i.otherwise {
            Some(ast::Else::Block(b)) => end(b),
            Some(ast::Else::If(_, s)) => *s,
            None => sa,
        };
        match (a, b) {
            (Val::Error, _) | (_, Val::Error) => None,
            (Val::Tuple(xs), Val::Tuple(ys)) if xs.len() == ys.len() => {
                let mut parts = vec![];
                for (x, y) in xs.into_iter().zip(ys) {
                    parts.push(self.join(x, y, i, then, otherwise)?);
                }
                Some(Val::Tuple(parts))
            }
            (Val::Unit, _) | (_, Val::Unit) => {
                let d = Diagnostic::error(
                    "T0261",
                    i.condition.span,
                    "one arm of this `if` has a value and the other has none",
                );
                self.report(d.help("end both arms with an expression without `;`"));
                None
            }
            (a, b) => {
                let (x, y) = self.pair(a, b, sa, sb)?;
                let axes = self.stretch(&[&x, &y], sa)?;
                let (x, y) = (self.broadcast(x, &axes), self.broadcast(y, &axes));
                then.values.push(x);
                otherwise.values.push(y);
                Some(Val::Unit)
            }
        }
    }

    /// A scalar function lifted over tiles: `if` becomes `select`.
    fn lifted_if(&mut self, condition: TExpr, i: &'m ast::If, span: Span, want: bool) -> Val<'m> {
        if !want || self.frames.len() < 2 {
            let message =
                format!("the condition of `if` is {}; it has to be a scalar", self.show(&condition.ty));
            let d = Diagnostic::error("T0241", i.condition.span, message);
            return self.fail(d.help("choose elementwise with `select(c, a, b)`, or reduce the condition with `.any()` or `.all()`"));
        }
        let a = self.block_value(&i.then);
        let b = self.else_value(i.otherwise.as_ref(), want);
        self.select(Val::Expr(condition), a, b, [i.condition.span, i.then.span, span], span)
    }

    pub fn select(&mut self, c: Val<'m>, a: Val<'m>, b: Val<'m>, at: [Span; 3], span: Span) -> Val<'m> {
        let c = self.boolean(c, at[0]);
        let (Some(c), false, false) = (c, a.is_error(), b.is_error()) else { return Val::Error };
        if let (Val::Const(Const::Bool(pick)), Val::Const(x), Val::Const(y)) = (&c, &a, &b) {
            return Val::Const(if *pick { x.clone() } else { y.clone() });
        }
        let Some((x, y)) = self.pair(a, b, at[1], at[2]) else { return Val::Error };
        match c {
            Val::Const(Const::Bool(pick)) => {
                let Some(axes) = self.stretch(&[&x, &y], span) else { return Val::Error };
                let chosen = if pick { x } else { y };
                Val::Expr(self.broadcast(chosen, &axes))
            }
            Val::Expr(c) => self.elem(ElemOp::Select, vec![c, x, y], span).map_or(Val::Error, Val::Expr),
            _ => Val::Error,
        }
    }

    /// A compile-time integer.
    pub fn const_int(&mut self, e: &'m Expr, what: &str) -> Option<(i64, Size)> {
        match self.eval(e) {
            Val::Const(c) if c.int().is_some() => Some((c.int()?, c.size()?)),
            Val::Error => None,
            other => {
                let message = format!("{what} has to be a compile-time integer; this is {}", other.kind());
                self.report(
                    Diagnostic::error("T0210", e.span, message).help("use a literal or a `const` parameter"),
                );
                None
            }
        }
    }
}

/// Puts values into the tuple shape of the arms.
fn rebuild<'m>(shape: Val<'m>, values: &mut Vec<TExpr>) -> Val<'m> {
    match shape {
        Val::Tuple(parts) => Val::Tuple(parts.into_iter().map(|p| rebuild(p, values)).collect()),
        other => values.pop().map_or(other, Val::Expr),
    }
}
