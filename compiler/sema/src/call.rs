//! Calls: functions are inlined where they stand, with their parameters bound to the arguments.
//!
//! Unbound names in parameter types are generic. `fn online(m: f32[R, 1], s: f32[R, C])` called with `f32[i, 1]` and
//! `f32[i, j]` binds `R` to the axis `i` and `C` to `j`; inside, `f32[R, C]` is `f32[i, j]`. A parameter of scalar type
//! takes a tile as well: the function is then lifted over it.

use crate::{elab::*, typed::*, value::*};
use tile_base::{DType, Diagnostic, Span};
use tile_syntax::ast::{self, Arg, Expr, ExprKind, Generic, ItemKind, TypeKind};

impl<'m> Elab<'m> {
    pub fn call(&mut self, function: &'m Expr, args: &'m [Arg], span: Span) -> Val<'m> {
        let f = match &function.kind {
            ExprKind::Name(n)
                if self.lookup(n).is_none() && self.m.resolve(self.frame().file, n).is_none() =>
            {
                match self.builtin(n, args, span) {
                    Some(v) => return v,
                    None => {
                        args.iter().for_each(|a| {
                            self.eval(&a.value);
                        });
                        let d =
                            Diagnostic::error("T0200", function.span, format!("there is no function `{n}`"));
                        return self.fail(match self.suggest(n) {
                            Some(near) => d.help(format!("did you mean `{near}`?")),
                            None => d.help("functions come from this file, its `use` lines, the prelude, or are built in"),
                        });
                    }
                }
            }
            _ => self.eval(function),
        };
        let vals: Vec<(Option<&'m ast::Ident>, Val<'m>, Span)> =
            args.iter().map(|a| (a.name.as_ref(), self.eval(&a.value), a.value.span)).collect();
        match f {
            Val::Fn(f) => self.inline(&f, vals, span),
            Val::Error => Val::Error,
            other => {
                let d =
                    Diagnostic::error("T0215", function.span, format!("{} cannot be called", other.kind()));
                self.fail(d)
            }
        }
    }

    /// The function of a value, or why it is none.
    fn function(&mut self, f: &FnVal, span: Span) -> Option<&'m ast::Fn> {
        let m = self.m;
        let d = match &m.item(f.item).kind {
            ItemKind::Fn(f) => return Some(f),
            ItemKind::Kernel(k) => {
                let message = format!("`{}` is a kernel; a kernel is launched, not called", k.name.name);
                Diagnostic::error("T0215", span, message)
                    .help("launch it from an `op` with `run`, or share code in a `fn`")
            }
            ItemKind::Op(o) => Diagnostic::error(
                "T0215",
                span,
                format!("`{}` is an op; it cannot be called here", o.name.name),
            ),
            _ => Diagnostic::error("T0215", span, "this cannot be called"),
        };
        self.report(d);
        None
    }

    /// Inlines a function; arguments are values already.
    pub fn inline(
        &mut self,
        f: &FnVal,
        vals: Vec<(Option<&'m ast::Ident>, Val<'m>, Span)>,
        span: Span,
    ) -> Val<'m> {
        let Some(def) = self.function(f, span) else { return Val::Error };
        if let Some(at) = self.frames.iter().position(|fr| fr.item == f.item) {
            let mut cycle: Vec<String> = self.frames[at..].iter().map(|f| format!("`{}`", f.name)).collect();
            cycle.push(format!("`{}`", def.name.name));
            let d = Diagnostic::error(
                "T0219",
                span,
                format!("functions are inlined and cannot recur: {}", cycle.join(" calls ")),
            );
            return self.fail(d.help("use a loop"));
        }
        if self.frames.len() > MAX_CALLS {
            return self.give_up(span, "calls nested too deeply");
        }
        if f.item.0 == self.m.main() {
            self.inlined.insert(def.name.name.clone());
        }
        let prefix = match &self.hint {
            Some(h) => format!("{}{h}.", self.frame().prefix),
            None => format!("{}{}.", self.frame().prefix, def.name.name),
        };
        let frame = Frame {
            file: f.item.0,
            scopes: vec![Scope::new()],
            prefix,
            item: f.item,
            name: def.name.name.clone(),
        };
        self.frames.push(frame);
        let hint = self.hint.take();
        let nest = std::mem::take(&mut self.nest);
        let fields = self.tile_fields;
        let before = self.diags.len();
        let result = self.inlined(f, def, vals, span);
        self.called_from(def, span, before);
        self.tile_fields = fields;
        self.nest = nest;
        self.hint = hint;
        self.frames.pop();
        result.unwrap_or(Val::Error)
    }

    /// A fault inside the function says which call it is of.
    fn called_from(&mut self, def: &ast::Fn, span: Span, before: usize) {
        let inside = |s: Span| {
            s.file == def.body.span.file && s.start >= def.body.span.start && s.end <= def.body.span.end
        };
        for d in self.diags.iter_mut().skip(before) {
            if d.primary.is_some_and(inside) && d.labels.len() < 6 && span != def.name.span {
                d.labels
                    .push(tile_base::Label { span, text: format!("in this call of `{}`", def.name.name) });
            }
        }
    }

    fn inlined(
        &mut self,
        f: &FnVal,
        def: &'m ast::Fn,
        vals: Vec<(Option<&'m ast::Ident>, Val<'m>, Span)>,
        span: Span,
    ) -> Option<Val<'m>> {
        if def.asm.is_some() {
            let message = format!("`{}` runs by its body: no backend emits `asm` yet", def.name.name);
            let d = Diagnostic::note_at("T0259", span, message);
            if !self.notes.contains(&d) {
                self.notes.push(d);
            }
        }
        let (plain, named): (Vec<_>, Vec<_>) = vals.into_iter().partition(|(n, ..)| n.is_none());
        self.named_args(def, named)?;
        if plain.len() != def.params.len() {
            let message =
                format!("`{}` takes {} arguments, here are {}", def.name.name, def.params.len(), plain.len());
            let names: Vec<&str> = def.params.iter().map(crate::builtins::arg_name).collect();
            let d = Diagnostic::error("T0214", span, message).also(def.name.span, "declared here");
            self.report(d.help(format!("its parameters are {}", names.join(", "))));
            return None;
        }
        let mut ok = true;
        for (p, (_, v, at)) in def.params.iter().zip(plain) {
            ok &= self.bind_param(def, p, v, at).is_some();
        }
        if !ok {
            return None;
        }
        for capture in &def.using {
            let v = self.capture(f, capture);
            self.bind(&capture.name.name, Binding::Val(v));
        }
        let v = self.block_value(&def.body);
        match &def.result {
            Some(ty) => self.result(v, ty, def, span),
            None => Some(v),
        }
    }

    /// `f(x, W = 4)`: consts and functions of the callee by name; the rest by default.
    fn named_args(
        &mut self,
        def: &'m ast::Fn,
        named: Vec<(Option<&'m ast::Ident>, Val<'m>, Span)>,
    ) -> Option<()> {
        let mut ok = true;
        for (name, v, at) in named {
            let Some(name) = name else { continue };
            let known = def.generics.iter().any(|g| match g {
                Generic::Const { name: n, .. } | Generic::Function { name: n, .. } => n.name == name.name,
                Generic::Dtype { .. } => false,
            });
            match v {
                _ if !known => {
                    let message =
                        format!("`{}` has no const or function parameter `{}`", def.name.name, name.name);
                    self.report(
                        Diagnostic::error("T0218", name.span, message).help("other arguments go by position"),
                    );
                    ok = false;
                }
                Val::Error => ok = false,
                v @ (Val::Const(_) | Val::Fn(_)) => {
                    if let Val::Const(c) = &v
                        && let Some(i) = c.int()
                    {
                        self.sizes.entry(name.name.clone()).or_insert(i);
                    }
                    self.bind(&name.name, Binding::Val(v));
                }
                _ => {
                    let d =
                        Diagnostic::error("T0210", at, format!("`{}` is known at compile time", name.name));
                    self.report(d.help("pass a literal, a `const` parameter, or a function"));
                    ok = false;
                }
            }
        }
        for g in &def.generics {
            match g {
                Generic::Const { name, default: Some(d), .. } if self.own(&name.name).is_none() => {
                    let v = self.eval(d);
                    self.bind(&name.name, Binding::Val(v));
                }
                Generic::Function { name, default: Some(d), .. } if self.own(&name.name).is_none() => {
                    if let Some(item) = self.m.resolve(self.frame().file, &d.name) {
                        let f = FnVal { item, alias: name.name.clone() };
                        self.bind(&name.name, Binding::Val(Val::Fn(f)));
                    }
                }
                _ => {}
            }
        }
        ok.then_some(())
    }

    fn own(&self, name: &str) -> Option<&Binding<'m>> {
        self.frame().scopes.last().and_then(|s| s.get(name))
    }

    fn misfit(&mut self, def: &ast::Fn, p: &ast::Param, want: String, got: String, at: Span) -> Option<()> {
        let message = format!("`{}` of `{}` is {want}; this is {got}", p.name.name, def.name.name);
        self.report(Diagnostic::error("T0208", at, message).also(p.ty.span, "declared here"));
        None
    }

    fn bind_param(&mut self, def: &'m ast::Fn, p: &'m ast::Param, v: Val<'m>, at: Span) -> Option<()> {
        if v.is_error() {
            return None;
        }
        let v = match &p.ty.kind {
            TypeKind::Function(ty) => match v {
                Val::Fn(f) => {
                    self.check_fn_type(&f, ty, at)?;
                    Val::Fn(f)
                }
                v => return self.misfit(def, p, "a function".into(), v.kind().into(), at),
            },
            TypeKind::Tuple(parts) => match v {
                Val::Tuple(items) if items.len() == parts.len() => Val::Tuple(items),
                v => return self.misfit(def, p, format!("a tuple of {}", parts.len()), v.kind().into(), at),
            },
            TypeKind::Array { .. } => match v {
                Val::Array(items) => Val::Array(items),
                v => return self.misfit(def, p, "an array of tiles".into(), v.kind().into(), at),
            },
            TypeKind::Scalar(name) => self.scalar_param(def, p, name, v, at)?,
            TypeKind::Index { .. } => self.index_param(v, at)?,
            TypeKind::Tile { element, axes } => self.tile_param(def, p, element, axes, v, at)?,
        };
        let v = match v {
            Val::Expr(e) if self.hidden_axis(&e.ty).is_none() && !trivial(&e) => {
                let span = e.span;
                let local = self.let_local(&p.name.name, e, span);
                Val::Expr(self.read(local, span))
            }
            v => v,
        };
        self.bind(&p.name.name, Binding::Val(v));
        Some(())
    }

    fn index_param(&mut self, v: Val<'m>, at: Span) -> Option<Val<'m>> {
        match v {
            Val::Const(Const::Int(i)) => Some(Val::index(i)),
            Val::Const(c @ Const::Index(..)) => Some(Val::Const(c)),
            v => self.value(v, Some(Elem::Index), at).map(Val::Expr),
        }
    }

    /// A parameter of scalar type; a tile lifts the function.
    fn scalar_param(
        &mut self,
        def: &'m ast::Fn,
        p: &'m ast::Param,
        name: &'m ast::Ident,
        v: Val<'m>,
        at: Span,
    ) -> Option<Val<'m>> {
        let v = self.operand(v, at)?;
        let known = name.name == "index"
            || DType::from_name(&name.name).is_some()
            || matches!(self.lookup(&name.name), Some(Binding::Dtype(_)));
        if !known {
            let elem = match &v {
                Val::Expr(e) => e.ty.elem,
                Val::Const(c) => c.default_elem(),
                _ => return None,
            };
            return match elem {
                Elem::Of(d) => {
                    self.bind(&name.name, Binding::Dtype(d));
                    self.value(v, Some(elem), at).map(Val::Expr)
                }
                Elem::Index => {
                    self.misfit(def, p, format!("of a dtype ({})", name.name), "an index".into(), at);
                    None
                }
            };
        }
        let elem = self.elem_named(name)?;
        match (&v, elem) {
            (Val::Const(Const::Int(_) | Const::Index(..)), Elem::Index) => self.index_param(v, at),
            (Val::Const(Const::Bool(_)), Elem::Of(DType::Bool)) => Some(v),
            (Val::Expr(e), want) if e.ty.elem != want => {
                let got = self.show(&e.ty);
                let message =
                    format!("`{}` of `{}` is {}; this is {got}", p.name.name, def.name.name, want.name());
                let d = Diagnostic::error("T0205", at, message).also(p.ty.span, "declared here");
                self.report(d.help(format!("convert it: `.to({})`", want.name())));
                None
            }
            _ => self.value(v, Some(elem), at).map(Val::Expr),
        }
    }

    fn tile_param(
        &mut self,
        def: &'m ast::Fn,
        p: &'m ast::Param,
        element: &'m ast::Type,
        axes: &'m [Expr],
        v: Val<'m>,
        at: Span,
    ) -> Option<Val<'m>> {
        let want = || format!("a tile of rank {}", axes.len());
        let ty = match &v {
            Val::Expr(e) => e.ty.clone(),
            Val::Tensor(_) | Val::ViewDef(_) => match self.resolve_view(v.clone(), at) {
                Val::Expr(e) => e.ty,
                _ => return None,
            },
            Val::Absent(name) => {
                let name = name.clone();
                self.absent_used(&name, at);
                return None;
            }
            other => {
                let kind = other.kind().to_string();
                self.misfit(def, p, want(), kind, at);
                return None;
            }
        };
        if ty.axes.len() != axes.len() {
            let got = self.show(&ty);
            self.misfit(def, p, want(), got, at);
            return None;
        }
        if let TypeKind::Scalar(name) = &element.kind {
            let known = name.name == "index"
                || DType::from_name(&name.name).is_some()
                || matches!(self.lookup(&name.name), Some(Binding::Dtype(_)));
            match (known, ty.elem) {
                (false, Elem::Of(d)) => self.bind(&name.name, Binding::Dtype(d)),
                (false, Elem::Index) => {
                    self.misfit(def, p, format!("of a dtype ({})", name.name), self.show(&ty), at);
                    return None;
                }
                (true, got) => {
                    let want = self.elem_named(name)?;
                    if want != got {
                        let got = self.show(&ty);
                        let message = format!(
                            "`{}` of `{}` is a tile of {}; this is {got}",
                            p.name.name,
                            def.name.name,
                            want.name()
                        );
                        let d = Diagnostic::error("T0205", at, message).also(p.ty.span, "declared here");
                        self.report(d.help(format!("convert it: `.to({})`", want.name())));
                        return None;
                    }
                }
            }
        }
        for (want, got) in axes.iter().zip(&ty.axes) {
            self.bind_axis(def, p, want, got, at)?;
        }
        Some(v)
    }

    /// Matches an axis of a parameter type: a fresh name takes the argument's axis.
    fn bind_axis(
        &mut self,
        def: &'m ast::Fn,
        p: &'m ast::Param,
        want: &'m Expr,
        got: &Axis,
        at: Span,
    ) -> Option<()> {
        let shown = self.show_axis(got);
        let want_axis = match ident_of(want) {
            Some(name) if self.own(name).is_none() => {
                let is_const = def
                    .generics
                    .iter()
                    .any(|g| matches!(g, Generic::Const { name: n, .. } if n.name == name));
                let binding = match (is_const, got) {
                    (true, Axis::Fixed { size, value }) => {
                        Binding::Val(Val::Const(Const::Index(*value as i64, size.clone())))
                    }
                    _ => Binding::Axis(got.clone()),
                };
                self.bind(name, binding);
                return Some(());
            }
            _ => self.type_axis(want)?,
        };
        if self.agree(&want_axis, got) {
            return Some(());
        }
        let declared = self.show_axis(&want_axis);
        let name = ident_of(want).map_or(String::new(), |n| format!(" ({n})"));
        let message = format!(
            "an axis of `{}` of `{}` is `{declared}`{name}; this one is `{shown}`",
            p.name.name, def.name.name
        );
        self.report(Diagnostic::error("T0203", at, message).also(want.span, "declared here"));
        None
    }

    /// The result as declared: literals take the dtype, others must have it.
    fn result(&mut self, v: Val<'m>, ty: &'m ast::Type, def: &'m ast::Fn, span: Span) -> Option<Val<'m>> {
        let at = def.body.value.as_ref().map_or(def.body.span, |v| v.span);
        let mismatch = |this: &mut Self, got: String, want: String| {
            let message = format!("`{}` gives {got}, but declares {want}", def.name.name);
            this.report(
                Diagnostic::error("T0220", at, message)
                    .also(ty.span, "declared here")
                    .also(span, "called here"),
            );
            None
        };
        match (&ty.kind, v) {
            (_, Val::Error) => None,
            (TypeKind::Tuple(tys), Val::Tuple(items)) if tys.len() == items.len() => {
                let items: Option<Vec<_>> =
                    items.into_iter().zip(tys).map(|(v, ty)| self.result(v, ty, def, span)).collect();
                items.map(Val::Tuple)
            }
            (TypeKind::Tuple(tys), v) => mismatch(self, v.kind().into(), format!("a tuple of {}", tys.len())),
            (TypeKind::Scalar(name), v) => {
                let elem = self.elem_named(name)?;
                match self.operand(v, at)? {
                    Val::Const(c) if c.default_elem() == elem => Some(Val::Const(c)),
                    Val::Const(c) => self.literal(&c, elem, at).map(Val::Expr),
                    Val::Expr(e) if e.ty.elem == elem => Some(Val::Expr(e)),
                    Val::Expr(e) => mismatch(self, e.ty.elem.name().into(), elem.name().into()),
                    _ => None,
                }
            }
            (TypeKind::Tile { .. }, v) => {
                let want = self.type_of(ty)?;
                self.fit(v, &want, at, "the declared result").map(Val::Expr)
            }
            (_, v) => Some(v),
        }
    }

    /// Whether a function fits a parameter of function type.
    pub fn check_fn_type(&mut self, f: &FnVal, ty: &'m ast::FnType, at: Span) -> Option<()> {
        let def = self.function(f, at)?;
        let mut wrong = None;
        if def.params.len() != ty.params.len() {
            wrong = Some(format!("it takes {} arguments, {} are given", def.params.len(), ty.params.len()));
        }
        for (p, (_, want)) in def.params.iter().zip(&ty.params) {
            if let (TypeKind::Scalar(a), TypeKind::Scalar(b)) = (&p.ty.kind, &want.kind)
                && a.name != b.name
                && DType::from_name(&a.name).is_some() | (a.name == "index")
                && DType::from_name(&b.name).is_some() | (b.name == "index")
            {
                wrong.get_or_insert(format!("its `{}` is {}, {} is given", p.name.name, a.name, b.name));
            }
        }
        if let (Some(r), TypeKind::Scalar(want)) = (&def.result, &ty.result.kind)
            && let TypeKind::Scalar(have) = &r.kind
            && have.name != want.name
        {
            wrong.get_or_insert(format!("it gives {}, {} is needed", have.name, want.name));
        }
        match wrong {
            None => Some(()),
            Some(why) => {
                let message = format!("the function `{}` does not fit here: {why}", def.name.name);
                let d = Diagnostic::error("T0221", at, message).also(ty.span, "the type of the parameter");
                self.report(d.also(def.name.span, "the function"));
                None
            }
        }
    }

    /// A function of 2n values as a combiner of n.
    pub fn combiner(&mut self, f: Val<'m>, tys: &[Type], what: &str, span: Span) -> Option<Combiner> {
        let f = match f {
            Val::Fn(f) => f,
            Val::Error => return None,
            other => {
                let d = Diagnostic::error(
                    "T0215",
                    span,
                    format!("`{what}` needs a function; this is {}", other.kind()),
                );
                self.report(
                    d.help("a function of two groups of values, as `fn add(a: f32, b: f32) { a + b }`"),
                );
                return None;
            }
        };
        let name = self.function(&f, span)?.name.name.clone();
        let (mut params, mut vals) = (vec![], vec![]);
        for side in ["a", "b"] {
            for (n, ty) in tys.iter().enumerate() {
                let l = self.local(&format!("{what}.{side}{n}"), ty.clone(), false, span);
                params.push(l);
                vals.push((None, Val::Expr(self.read(l, span)), span));
            }
        }
        let (stmts, v) = self.block(|this| this.inline(&f, vals, span));
        let items = match v {
            Val::Error => return None,
            Val::Tuple(items) => items,
            v => vec![v],
        };
        if items.len() != tys.len() {
            let message = format!("`{name}` gives {} values, `{what}` needs {}", items.len(), tys.len());
            let d = Diagnostic::error("T0244", span, message);
            self.report(d.help(
                "the function takes all values of one side, then all of the other, and gives one side",
            ));
            return None;
        }
        let place = format!("what `{what}` combines");
        let values: Option<Vec<TExpr>> =
            items.into_iter().zip(tys).map(|(v, ty)| self.fit(v, ty, span, &place)).collect();
        Some(Combiner { params, body: TBlock { stmts, values: values? } })
    }
}

/// Needs no local of its own.
fn trivial(e: &TExpr) -> bool {
    matches!(
        e.kind,
        TExprKind::Local(_)
            | TExprKind::Literal(_)
            | TExprKind::Dim(_)
            | TExprKind::Param(_)
            | TExprKind::SpanField(..)
            | TExprKind::Positions(_)
            | TExprKind::Iota
    )
}
