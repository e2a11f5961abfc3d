//! Statements: bindings, stores, loops with their claims, `while`, `if`, `unroll`, views.

use crate::{
    elab::{Elab, MAX_UNROLL, TileFields},
    typed::*,
    value::{Binding, Val, ViewDef},
    walk,
};
use std::rc::Rc;
use tile_base::{Diagnostic, Span};
use tile_syntax::ast::{self, Expr, ExprKind, Ident, Pattern, Stmt, StmtKind, TypeKind};

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

    pub(crate) fn statement(&mut self, s: &'m Stmt) {
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

    pub(crate) fn expression_statement(&mut self, e: &'m Expr) {
        let v = match &e.kind {
            ExprKind::If(i) => self.if_value(i, e.span, false),
            _ => self.eval(e),
        };
        if !matches!(v, Val::Unit | Val::Error) && !matches!(e.kind, ExprKind::If(_)) {
            let d = Diagnostic::error("T0247", e.span, "this value is not used");
            self.report(d.help("bind it with `let`, or store it: `o[i] = ...;`"));
        }
    }

    pub(crate) fn tile_decls(&mut self, decls: &'m [ast::TileDecl]) {
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

    pub(crate) fn let_statement(&mut self, pattern: &'m Pattern, ty: Option<&'m ast::Type>, value: &'m Expr) {
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

    pub(crate) fn typed_let(&mut self, v: Val<'m>, ty: &'m ast::Type, at: Span) -> Val<'m> {
        match (self.type_of(ty), v) {
            (_, Val::Error) | (None, _) => Val::Error,
            (Some(t), Val::Const(c)) if t == Type::scalar(Elem::Index) && c.int().is_some() => Val::Const(c),
            (Some(t), v) => self.fit(v, &t, at, "the declared type").map_or(Val::Error, Val::Expr),
        }
    }

    /// Binds names to a value; `fresh`: locals from there on were made by its expression.
    pub(crate) fn bind_pattern(
        &mut self,
        pattern: &'m Pattern,
        v: Val<'m>,
        at: Span,
        fresh: usize,
        marked: bool,
    ) {
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
                    TExprKind::Local(l) if self.locals[l.index()].mutable && !read.contains(&l) => {
                        read.push(l)
                    }
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

    pub(crate) fn var_statement(
        &mut self,
        name: &'m Ident,
        ty: Option<&'m ast::Type>,
        value: &'m Expr,
        span: Span,
    ) {
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

    pub(crate) fn array_statement(
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

    pub(crate) fn view_statement(
        &mut self,
        name: &'m Ident,
        axes: &'m [(Ident, Expr)],
        value: &'m Expr,
        span: Span,
    ) {
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
}
