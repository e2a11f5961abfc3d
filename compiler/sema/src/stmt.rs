//! Statements: bindings, stores, loops with their claims, `while`, `if`, `unroll`, views.

use crate::{elab::*, expr::Purpose, typed::*, value::*, walk};
use std::rc::Rc;
use tile_base::{Diagnostic, IndexKind, Mode, Span, op::*};
use tile_syntax::ast::{self, AssignOp, Claim, Expr, ExprKind, Ident, Pattern, Stmt, StmtKind, TypeKind};

/// What a loop runs over, before its variable is bound.
pub(crate) enum Over<'m> {
    Each { lo: TExpr, hi: TExpr, reverse: bool },
    Tiles { lo: TExpr, hi: TExpr, step: Step, reverse: bool },
    List { list: Val<'m>, hi: TExpr, reverse: bool },
}

impl<'m> Elab<'m> {
    pub fn statements_of(&mut self, stmts: &'m [Stmt]) {
        for (n, s) in stmts.iter().enumerate() {
            if self.gave_up {
                return;
            }
            self.deeper(s.span, (), |this| this.statement(s));
            if let (StmtKind::Break, Some(next)) = (&s.kind, stmts.get(n + 1)) {
                let d = Diagnostic::error("T0242", next.span, "this is never reached: it follows a `break`");
                self.report(d.help("remove it, or put the `break` last"));
                return;
            }
        }
    }

    fn statement(&mut self, s: &'m Stmt) {
        if let (Some(label), false) = (&s.label, matches!(s.kind, StmtKind::For { .. })) {
            self.report(Diagnostic::error("T0247", label.span, "only a `for` loop has a label"));
        }
        match &s.kind {
            StmtKind::Tile(decls) => self.tile_decls(decls),
            StmtKind::Let { pattern, ty, value } => self.let_statement(pattern, ty.as_ref(), value),
            StmtKind::Var { name, ty, value } => self.var_statement(name, ty.as_ref(), value, s.span),
            StmtKind::View { name, axes, value } => self.view_statement(name, axes, value, s.span),
            StmtKind::Assign { place, op, value } => self.assign(place, *op, value, s.span),
            StmtKind::Par { .. } => {
                let d = Diagnostic::error("T0246", s.span, "`par` stands once in a kernel, outermost");
                self.report(
                    d.help("list all axes in one `par a in A, b in B { ... }`; inside it, use `for`"),
                );
            }
            StmtKind::For { pattern, range, claims, body } => {
                self.for_statement(pattern, range, claims, body, s.label.as_ref(), s.span)
            }
            StmtKind::Unroll { name, range, body } => self.unroll(name, range, body),
            StmtKind::While { condition, body } => self.while_statement(condition, body, s.span),
            StmtKind::If(i) => {
                self.if_value(i, s.span, false);
            }
            StmtKind::Break => self.break_statement(s.span),
            StmtKind::Assert { condition, message } => self.assert(condition, message.as_deref(), s.span),
            StmtKind::Run { .. } | StmtKind::Temp { .. } => {
                let d = Diagnostic::error("T0247", s.span, "`run` and `temp` stand only in an `op`");
                self.report(d.help("a kernel's values are tiles: `let`, `var`"));
            }
            StmtKind::Expr(e) => self.expression_statement(e),
            StmtKind::Broken => {}
        }
    }

    fn expression_statement(&mut self, e: &'m Expr) {
        let v = match &e.kind {
            ExprKind::If(i) => self.if_value(i, e.span, false),
            _ => self.eval(e),
        };
        if !matches!(v, Val::Unit | Val::Error) && !matches!(e.kind, ExprKind::If(_)) {
            let d = Diagnostic::error("T0247", e.span, "this value is not used");
            self.report(d.help("bind it with `let`, or store it: `o[i] = ...;`"));
        }
    }

    fn tile_decls(&mut self, decls: &'m [ast::TileDecl]) {
        for d in decls {
            let mut allowed = vec![];
            for c in &d.choices {
                match self.const_int(c, "a tile size") {
                    Some((v, _)) if v >= 1 => allowed.push(v as u64),
                    Some((v, _)) => {
                        self.report(
                            Diagnostic::error("T0212", c.span, format!("a tile size of {v}"))
                                .help("1 or more"),
                        );
                    }
                    None => {}
                }
            }
            if self.tiles.iter().any(|t| t.name == d.name.name) {
                let message = format!("the tile size `{}` is declared twice", d.name.name);
                self.report(Diagnostic::error("T0201", d.name.span, message));
            }
            self.tiles.push(TileSize { name: d.name.name.clone(), allowed, span: d.name.span });
            let id = TileId::new(self.tiles.len() - 1);
            self.bind(&d.name.name, Binding::Val(Val::TileSize(id)));
        }
    }

    // ------------------------------------------------------------ let and var

    fn let_statement(&mut self, pattern: &'m Pattern, ty: Option<&'m ast::Type>, value: &'m Expr) {
        let fresh = self.locals.len();
        let (fields, saw) = (self.tile_fields, self.saw_tile_field);
        if fields == TileFields::Refuse {
            self.tile_fields = TileFields::Mark;
            self.saw_tile_field = false;
        }
        let hint = match pattern {
            Pattern::Name(n) => Some(n.name.clone()),
            _ => None,
        };
        let outer = std::mem::replace(&mut self.hint, hint);
        let mut v = self.eval(value);
        self.hint = outer;
        let marked = self.tile_fields == TileFields::Mark && self.saw_tile_field;
        self.tile_fields = fields;
        self.saw_tile_field = saw || (marked && fields == TileFields::Mark);
        if let Some(ty) = ty {
            v = self.typed_let(v, ty, value.span);
        }
        self.bind_pattern(pattern, v, value.span, fresh, marked && fields == TileFields::Refuse);
    }

    fn typed_let(&mut self, v: Val<'m>, ty: &'m ast::Type, at: Span) -> Val<'m> {
        match (self.type_of(ty), v) {
            (_, Val::Error) | (None, _) => Val::Error,
            (Some(t), Val::Const(c)) if t == Type::scalar(Elem::Index) && c.int().is_some() => Val::Const(c),
            (Some(t), v) => self.fit(v, &t, at, "the declared type").map_or(Val::Error, Val::Expr),
        }
    }

    /// Binds names to a value; `fresh`: locals from there on were made by its expression.
    fn bind_pattern(&mut self, pattern: &'m Pattern, v: Val<'m>, at: Span, fresh: usize, marked: bool) {
        match (pattern, v) {
            (Pattern::Ignore(_), _) => {}
            (Pattern::Name(n), Val::Unit) => {
                self.report(Diagnostic::error("T0251", at, "this has no value to bind"));
                self.bind(&n.name, Binding::Val(Val::Error));
            }
            (Pattern::Name(n), Val::Expr(e)) if self.hidden_axis(&e.ty).is_none() => {
                let local = match e.kind {
                    // Made just now: it only gets its name.
                    TExprKind::Local(l) if l.index() >= fresh && !self.locals[l.index()].mutable => {
                        let path = self.path(&n.name);
                        let local = &mut self.locals[l.index()];
                        (local.path, local.span) = (path, n.span);
                        l
                    }
                    _ => self.let_local(&n.name, e, n.span),
                };
                if marked {
                    self.marked.insert(local);
                }
                let read = self.read(local, n.span);
                self.bind(&n.name, Binding::Val(Val::Expr(read)));
            }
            // A view is no value yet; what it says of variables is settled now.
            (Pattern::Name(n), Val::Expr(mut e)) => {
                let mut read = vec![];
                walk::each_expr(&e, &mut |x| match x.kind {
                    TExprKind::Local(l) if self.locals[l.index()].mutable && !read.contains(&l) => read.push(l),
                    _ => {}
                });
                for l in read {
                    let now = self.read(l, n.span);
                    let kept = self.let_local(&format!("{}.index", n.name), now, n.span);
                    walk::replace_local(&mut e, l, kept);
                }
                self.bind(&n.name, Binding::Val(Val::Expr(e)));
            }
            (Pattern::Name(n), v) => self.bind(&n.name, Binding::Val(v)),
            (Pattern::Tuple(parts, _), Val::Tuple(items)) if parts.len() == items.len() => {
                for (p, v) in parts.iter().zip(items) {
                    self.bind_pattern(p, v, at, fresh, marked);
                }
            }
            (Pattern::Tuple(parts, span), v) => {
                if !v.is_error() {
                    let got = match &v {
                        Val::Tuple(items) => format!("a tuple of {}", items.len()),
                        v => v.kind().to_string(),
                    };
                    let message = format!("{} names for {got}", parts.len());
                    self.report(
                        Diagnostic::error("T0251", *span, message).also(at, format!("this is {got}")),
                    );
                }
                for p in parts {
                    self.bind_pattern(p, Val::Error, at, fresh, false);
                }
            }
        }
    }

    /// A type of the source.
    pub fn type_of(&mut self, ty: &'m ast::Type) -> Option<Type> {
        match &ty.kind {
            TypeKind::Tile { element, axes } => {
                let elem = self.scalar_type(element);
                let axes: Option<Vec<Axis>> = axes.iter().map(|a| self.type_axis(a)).collect();
                Some(Type::tile(elem?, axes?))
            }
            _ => self.scalar_type(ty).map(Type::scalar),
        }
    }

    fn var_statement(&mut self, name: &'m Ident, ty: Option<&'m ast::Type>, value: &'m Expr, span: Span) {
        if let Some(ast::Type { kind: TypeKind::Array { element, len }, .. }) = ty {
            return self.array_statement(name, element, len, value, span);
        }
        let outer = self.hint.replace(name.name.clone());
        let v = self.eval(value);
        self.hint = outer;
        let value = match ty {
            Some(ty) => {
                let Some(ty) = self.type_of(ty) else {
                    return self.bind(&name.name, Binding::Val(Val::Error));
                };
                match self.fit(v, &ty, value.span, &format!("`{}`", name.name)) {
                    Some(e) => e,
                    // Its type is known: go on with it.
                    None => TExpr::new(TExprKind::Iota, ty, span),
                }
            }
            None => match self.value(v, None, value.span) {
                Some(e) => e,
                None => return self.bind(&name.name, Binding::Val(Val::Error)),
            },
        };
        let local = self.local(&name.name, value.ty.clone(), true, name.span);
        self.emit(TStmtKind::Var { local, value }, span);
        self.bind(&name.name, Binding::Var(local));
    }

    fn array_statement(
        &mut self,
        name: &'m Ident,
        element: &'m ast::Type,
        len: &'m Expr,
        value: &'m Expr,
        span: Span,
    ) {
        let ty = self.type_of(element);
        let len = self.const_int(len, "the length of an array");
        let v = self.eval(value);
        let (Some(ty), Some((len, _))) = (ty, len) else {
            return self.bind(&name.name, Binding::Val(Val::Error));
        };
        if !(0..=MAX_UNROLL).contains(&len) {
            let d = Diagnostic::error("T0249", span, format!("an array of {len} tiles"));
            self.report(d.help(format!("at most {MAX_UNROLL}")));
            return self.bind(&name.name, Binding::Val(Val::Error));
        }
        let mut locals = vec![];
        for n in 0..len as usize {
            let v = match &v {
                Val::Array(from) if from.len() == len as usize => Val::Expr(self.read(from[n], value.span)),
                v => v.clone(),
            };
            let Some(e) = self.fit(v, &ty, value.span, &format!("`{}[{n}]`", name.name)) else { break };
            let local = self.local(&format!("{}.{n}", name.name), ty.clone(), true, name.span);
            self.emit(TStmtKind::Var { local, value: e }, span);
            locals.push(local);
        }
        let binding =
            if locals.len() == len as usize { Binding::Array(locals) } else { Binding::Val(Val::Error) };
        self.bind(&name.name, binding);
    }

    fn view_statement(&mut self, name: &'m Ident, axes: &'m [(Ident, Expr)], value: &'m Expr, span: Span) {
        let frame = self.frame();
        let def = Rc::new(ViewDef {
            name,
            axes,
            value,
            file: frame.file,
            scopes: frame.scopes.clone(),
            prefix: frame.prefix.clone(),
            span,
        });
        // Tried out at once, so that its own faults are reported where it is declared.
        let before = self.diags.len();
        let (_, tried) = self.block(|this| this.resolve_view(Val::ViewDef(def.clone()), span));
        // What only the whole of it lacks is no fault of the view.
        let only_reads = self.diags[before..].iter().all(|d| d.code == "T0235");
        if only_reads {
            self.diags.truncate(before);
        }
        let v = if tried.is_error() && !only_reads { Val::Error } else { Val::ViewDef(def) };
        self.bind(&name.name, Binding::Val(v));
    }

    // ------------------------------------------------------------ assignment

    fn assign(&mut self, place: &'m Expr, op: AssignOp, value: &'m Expr, span: Span) {
        match &place.kind {
            ExprKind::Name(n) => self.assign_name(n, place.span, op, value, span),
            ExprKind::Paren(inner) => self.assign(inner, op, value, span),
            ExprKind::Subscript { base, subscripts, .. } => {
                if let Some(name) = ident_of(base) {
                    match self.lookup(name).cloned() {
                        Some(Binding::Array(locals)) => {
                            let target = self.array_local(&locals, subscripts, place.span);
                            let v = self.hinted(format!("{name}.dot"), value);
                            return match target {
                                Some(l) => self.assign_local(l, op, v, place.span, value.span, span),
                                None => {}
                            };
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

    fn hinted(&mut self, hint: String, value: &'m Expr) -> Val<'m> {
        let outer = self.hint.replace(hint);
        let v = self.eval(value);
        self.hint = outer;
        v
    }

    fn assign_name(&mut self, n: &'m str, at: Span, op: AssignOp, value: &'m Expr, span: Span) {
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

    fn assign_local(&mut self, l: LocalId, op: AssignOp, v: Val<'m>, at: Span, value_at: Span, span: Span) {
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

    fn store(&mut self, place: &'m Expr, op: AssignOp, value: &'m Expr, name: &str, span: Span) {
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

    // ------------------------------------------------------------ loops

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
                    false => d.help("loop over a dimension, `lo..hi`, `tiles(r, B)`, or an id list `ids[b, :]`"),
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

    fn over_list(&mut self, v: Val<'m>, at: Span, reverse: bool) -> Option<Over<'m>> {
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

    fn for_statement(
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

    fn loop_body(&mut self, body: &'m ast::Block) {
        self.scoped(|this| this.statements_of(&body.stmts));
        if let Some(v) = &body.value {
            self.expression_statement(v);
        }
    }

    /// `let n = list[position]; if n >= 0 { … }`
    fn list_body(
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

    fn unroll(&mut self, name: &'m Ident, range: &'m Expr, body: &'m ast::Block) {
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

    fn while_statement(&mut self, condition: &'m Expr, body: &'m ast::Block, span: Span) {
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

    fn break_statement(&mut self, span: Span) {
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

    fn assert(&mut self, condition: &'m Expr, message: Option<&'m str>, span: Span) {
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

    // ------------------------------------------------------------ claims

    fn skip_claim(&mut self, claims: &'m [Claim], path: &str, span: Span) -> Option<TBlock> {
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

    fn skip_reads_nothing_carried(&mut self, skip: &TBlock, carried: &[LocalId], span: Span) {
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

    fn combine_claim(
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

    fn merge_claim(
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

    fn affine_claim(&mut self, var: &'m Ident, carried: &[LocalId], path: &str) -> Option<LoopCombine> {
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

/// Whether statements hold a `break` of the loop they are the body of.
fn breaks(stmts: &[TStmt]) -> bool {
    stmts.iter().any(|s| match &s.kind {
        TStmtKind::Break => true,
        TStmtKind::If { then, otherwise, .. } => breaks(&then.stmts) || breaks(&otherwise.stmts),
        _ => false,
    })
}
