//! `run` in an op: arguments in the order of the kernel's parameters, then what its functions capture, and the instance that
//! they ask for.

use crate::{
    elab::{ConstValue, Instance, ident_of},
    host::{Host, Passed, PassedKind},
    kernel::{generic_name, instantiate_item},
    module::ItemRef,
    typed::*,
    value::{Binding, Const, Val},
};
use std::collections::BTreeMap;
use tile_base::{DType, Diagnostic, Mode, Size, Span};
use tile_syntax::ast::{self, Arg, BinaryOp, Expr, ExprKind, Generic, Ident, Subscript, TypeKind};

/// A parameter of the kernel, what is passed for it, and where that stands.
type Given<'a, 'm> = (&'m ast::Param, &'a Passed, Span);

impl<'m> Host<'m> {
    pub(crate) fn run(
        &mut self,
        name: &'m Ident,
        generics: &'m [(Ident, Expr)],
        args: &'m [Arg],
        span: Span,
    ) -> Option<HostStep> {
        let m = self.e.m;
        let Some(item) = m.resolve(self.e.frame().file, &name.name) else {
            let d = Diagnostic::error("T0200", name.span, format!("there is no kernel `{}`", name.name));
            let near = self.e.suggest(&name.name);
            self.e.report(match near {
                Some(n) => d.help(format!("did you mean `{n}`?")),
                None => d.help("import it with `use`"),
            });
            return None;
        };
        let ast::ItemKind::Kernel(k) = &m.item(item).kind else {
            let d = Diagnostic::error("T0215", name.span, format!("`{}` is not a kernel", name.name));
            self.e.report(d.help("`run` launches kernels; a `fn` is called inside a kernel"));
            return None;
        };
        let passed = self.passed(k, args, span)?;
        let mut instance = self.instance(k, generics)?;
        let captured = self.captured(k, item.0, generics, span)?;
        let mut given: Vec<Given> = vec![];
        for (n, (p, a)) in k.params.iter().zip(&passed).enumerate() {
            let by_name = args.iter().find(|a| a.name.as_ref().is_some_and(|x| x.name == p.name.name));
            given.push((p, a, by_name.or(args.get(n)).map_or(span, |a| a.value.span)));
        }
        given.extend(captured.iter().map(|c| (c.param, &c.passed, c.at)));
        let ok = self.fits(k, &given, &mut instance);
        let mut missing = vec![];
        for (p, a) in k.params.iter().zip(&passed) {
            if matches!(a.kind, PassedKind::Absent) {
                if p.mode.is_some_and(|m| m.optional) {
                    instance.absent.insert(p.name.name.clone());
                } else {
                    missing.push(p.name.name.as_str());
                }
            }
        }
        if !missing.is_empty() {
            let message = format!("`{}` needs `{}`", name.name, missing.join("`, `"));
            self.e.report(Diagnostic::error("T0214", span, message));
            return None;
        }
        if !ok {
            return None;
        }
        let kernel = self.kernel(k, item, instance, span)?;
        let mut args: Vec<HostArg> = passed.into_iter().map(|p| p.arg).collect();
        // Behind the parameters the kernel takes what its functions capture, by the names that it gives them.
        for p in &self.kernels[kernel].2.signature.params[k.params.len()..] {
            let Some(found) = captured.iter().find(|c| c.name == p.name()) else {
                let message = format!("`run` cannot pass the captured tensor `{}`", p.name());
                let d = Diagnostic::error("T0258", span, message)
                    .help("let functions that are given to the kernel capture it, not those that they call");
                self.e.report(d);
                return None;
            };
            args.push(found.passed.arg.clone());
        }
        Some(HostStep::Launch { kernel, args, span })
    }

    /// Arguments in the order of the kernel's parameters.
    pub(crate) fn passed(&mut self, k: &'m ast::Kernel, args: &'m [Arg], span: Span) -> Option<Vec<Passed>> {
        let plain = args.iter().filter(|a| a.name.is_none()).count();
        let named = args.len() - plain;
        if plain > k.params.len() || (named == 0 && plain < k.params.iter().filter(|p| !optional(p)).count())
        {
            let names: Vec<&str> = k.params.iter().map(|p| p.name.name.as_str()).collect();
            let message =
                format!("`{}` takes {} arguments, here are {}", k.name.name, k.params.len(), args.len());
            let d = Diagnostic::error("T0214", span, message).also(k.name.span, "declared here");
            self.e.report(d.help(format!("its parameters are {}", names.join(", "))));
            return None;
        }
        for a in args {
            if let Some(n) = &a.name
                && !k.params.iter().any(|p| p.name.name == n.name)
            {
                let d = Diagnostic::error(
                    "T0218",
                    n.span,
                    format!("`{}` has no parameter `{}`", k.name.name, n.name),
                );
                self.e.report(d);
                return None;
            }
        }
        let mut out = vec![];
        let mut next = args.iter().filter(|a| a.name.is_none());
        for p in &k.params {
            let by_name = args.iter().find(|a| a.name.as_ref().is_some_and(|n| n.name == p.name.name));
            // Fewer plain arguments than parameters: the optional ones at the end are left out.
            let arg = by_name.or_else(|| next.next());
            out.push(match arg {
                Some(a) => self.argument(&a.value)?,
                None => Passed { arg: HostArg::Absent, kind: PassedKind::Absent },
            });
        }
        Some(out)
    }

    pub(crate) fn argument(&mut self, e: &'m Expr) -> Option<Passed> {
        match &e.kind {
            ExprKind::Paren(e) => return self.argument(e),
            ExprKind::Subscript { base, subscripts, otherwise: None } => {
                return self.part(base, subscripts, e.span);
            }
            _ => {}
        }
        match self.e.eval(e) {
            Val::Error => None,
            Val::Tensor(o) => Some(self.whole(o)),
            Val::Absent(_) => Some(Passed { arg: HostArg::Absent, kind: PassedKind::Absent }),
            Val::Const(Const::Float(v)) => Some(Passed { arg: HostArg::Float(v), kind: PassedKind::Number }),
            Val::Const(Const::Int(v)) => {
                Some(Passed { arg: HostArg::Size(Size::Const(v)), kind: PassedKind::Number })
            }
            Val::Expr(TExpr { kind: TExprKind::Param(n), ty, .. }) => {
                Some(Passed { arg: HostArg::Param(n as usize), kind: PassedKind::Scalar(ty.elem) })
            }
            _ => {
                let s = self.size(e)?;
                Some(Passed {
                    arg: HostArg::Size(self.with_values(&s)),
                    kind: PassedKind::Scalar(Elem::Index),
                })
            }
        }
    }

    /// All of a tensor.
    pub(crate) fn whole(&self, o: ObjectId) -> Passed {
        let object = &self.e.objects[o.index()];
        let kind = PassedKind::Tensor {
            dtype: object.dtype,
            index: object.index.is_some(),
            mode: object.mode,
            shape: object.shape.clone(),
        };
        Passed { arg: self.objects[o.index()].clone(), kind }
    }

    /// `z[l - 1]`, `x[lo..hi, :]`: a part of a tensor.
    pub(crate) fn part(&mut self, base: &'m Expr, subscripts: &'m [Subscript], span: Span) -> Option<Passed> {
        let Passed { arg, kind } = self.argument(base)?;
        let PassedKind::Tensor { dtype, index, mode, shape } = kind else {
            self.e.report(Diagnostic::error("T0224", span, "only a tensor has parts"));
            return None;
        };
        if subscripts.len() > shape.len() {
            let message =
                format!("a tensor of {} dimensions under {} subscripts", shape.len(), subscripts.len());
            self.e.report(Diagnostic::error("T0224", span, message));
            return None;
        }
        let (mut parts, mut rest) = (vec![], vec![]);
        for (n, dim) in shape.into_iter().enumerate() {
            match subscripts.get(n) {
                None | Some(Subscript::All(_)) => {
                    parts.push(HostPart::All);
                    rest.push(dim);
                }
                Some(Subscript::New(at)) => {
                    self.e.report(Diagnostic::error("T0258", *at, "`_` on an argument of `run`"));
                    return None;
                }
                Some(Subscript::Expr(Expr { kind: ExprKind::Range { lo, hi }, .. })) => {
                    let (lo, hi) = (self.size(lo), self.size(hi));
                    let (lo, hi) = (self.with_values(&lo?), self.with_values(&hi?));
                    rest.push(Size::Sub(hi.clone().into(), lo.clone().into()));
                    parts.push(HostPart::Range(lo, hi));
                }
                Some(Subscript::Expr(e)) => {
                    let at = self.size(e)?;
                    parts.push(HostPart::At(self.with_values(&at)));
                }
            }
        }
        let arg = HostArg::Part { of: Box::new(arg), subscripts: parts };
        Some(Passed { arg, kind: PassedKind::Tensor { dtype, index, mode, shape: rest } })
    }

    /// What `run f<…>` says.
    pub(crate) fn instance(&mut self, k: &'m ast::Kernel, generics: &'m [(Ident, Expr)]) -> Option<Instance> {
        let mut out = Instance::default();
        for (name, value) in generics {
            let Some(g) = k.generics.iter().find(|g| generic_name(g).name == name.name) else {
                let message = format!("`{}` has no parameter `{}`", k.name.name, name.name);
                self.e.report(Diagnostic::error("T0218", name.span, message));
                return None;
            };
            let n = name.name.clone();
            match g {
                Generic::Dtype { .. } => {
                    let named = ident_of(value).unwrap_or("");
                    let d = match self.e.lookup(named) {
                        Some(Binding::Dtype(d)) => Some(*d),
                        _ => DType::from_name(named),
                    };
                    match d {
                        Some(d) => {
                            out.dtypes.insert(n, d);
                        }
                        None => {
                            self.e.report(Diagnostic::error(
                                "T0209",
                                value.span,
                                format!("`{n}` is a dtype"),
                            ));
                            return None;
                        }
                    }
                }
                Generic::Const { .. } => match self.e.eval(value) {
                    Val::Const(Const::Bool(b)) => {
                        out.consts.insert(n, ConstValue::Bool(b));
                    }
                    Val::Const(Const::Float(f)) => {
                        out.consts.insert(n, ConstValue::Float(f));
                    }
                    Val::Const(c) => {
                        out.consts.insert(n, ConstValue::Int(c.int()?));
                    }
                    Val::Error => return None,
                    _ => {
                        let d = Diagnostic::error(
                            "T0210",
                            value.span,
                            format!("`{n}` has to be known at compile time"),
                        );
                        self.e.report(d.help("pass a literal, a `const` parameter or a tile size of the op"));
                        return None;
                    }
                },
                Generic::Function { .. } => {
                    let named = ident_of(value).unwrap_or("");
                    let target = match self.e.lookup(named) {
                        Some(Binding::Val(Val::Fn(f))) => Some(f.item),
                        _ => self.e.m.resolve(self.e.frame().file, named),
                    };
                    let Some(ast::ItemKind::Fn(f)) = target.map(|t| &self.e.m.item(t).kind) else {
                        self.e.report(Diagnostic::error("T0215", value.span, format!("`{n}` is a function")));
                        return None;
                    };
                    // The kernel looks for it in the main file, where it may be called otherwise or not at all.
                    let m = self.e.m;
                    let known = m.resolve(m.main(), &f.name.name) == target;
                    let module = target.map_or("", |t| m.module(t.0));
                    let path = || format!("{module}::{}", f.name.name);
                    out.functions.insert(n, if known { f.name.name.clone() } else { path() });
                }
            }
        }
        Some(out)
    }

    /// Checks arguments against parameters, and takes dtypes and consts from them.
    pub(crate) fn fits(
        &mut self,
        k: &'m ast::Kernel,
        given: &[Given<'_, 'm>],
        instance: &mut Instance,
    ) -> bool {
        let mut ok = true;
        let mut dims: BTreeMap<&'m str, Size> = BTreeMap::new();
        for &(p, a, at) in given {
            let wrong = |this: &mut Self, why: String| {
                let message = format!("`{}` of `{}` {why}", p.name.name, k.name.name);
                this.e.report(Diagnostic::error("T0208", at, message).also(p.span, "declared here"));
            };
            match (&p.ty.kind, &a.kind) {
                (_, PassedKind::Absent) => {}
                (TypeKind::Tile { element, axes }, PassedKind::Tensor { dtype, index, mode, shape }) => {
                    if axes.len() != shape.len() {
                        wrong(self, format!("has {} dimensions; this has {}", axes.len(), shape.len()));
                        ok = false;
                        continue;
                    }
                    ok &= self.mode_fits(p, *mode, at);
                    ok &= self.dtype_fits(k, p, element, *dtype, *index, instance, at);
                    for (axis, have) in axes.iter().zip(shape) {
                        let Some(name) = ident_of(axis) else { continue };
                        if let Some(Generic::Const { .. }) =
                            k.generics.iter().find(|g| generic_name(g).name == name)
                        {
                            let Some(v) = have.as_const() else {
                                wrong(
                                    self,
                                    format!("has the const `{name}`; this is the run-time size {have}"),
                                );
                                ok = false;
                                continue;
                            };
                            match instance.consts.insert(name.into(), ConstValue::Int(v)) {
                                Some(ConstValue::Int(old)) if old != v => {
                                    wrong(self, format!("makes `{name}` both {old} and {v}"));
                                    ok = false;
                                }
                                _ => {}
                            }
                            continue;
                        }
                        match dims.get(name) {
                            Some(old)
                                if !old.same(have)
                                    && old.as_const().is_some()
                                    && have.as_const().is_some() =>
                            {
                                wrong(self, format!("makes `{name}` both {old} and {have}"));
                                ok = false;
                            }
                            Some(_) => {}
                            None => {
                                dims.insert(name, have.clone());
                            }
                        }
                    }
                }
                (TypeKind::Tile { .. }, _) => {
                    wrong(self, "is a tensor".into());
                    ok = false;
                }
                (_, PassedKind::Tensor { .. }) => {
                    wrong(self, "is a scalar".into());
                    ok = false;
                }
                (TypeKind::Scalar(t), PassedKind::Scalar(elem)) => {
                    let want = if t.name == "index" {
                        Some(Elem::Index)
                    } else {
                        DType::from_name(&t.name).map(Elem::Of)
                    };
                    if want.is_some_and(|w| w != *elem) {
                        wrong(self, format!("is {}; this is {}", t.name, elem.name()));
                        ok = false;
                    }
                }
                _ => {}
            }
        }
        self.solve(k, given, instance);
        ok
    }

    /// Consts that follow from a shape linearly: `E` from `off: offsets<R>[E + 1]`.
    pub(crate) fn solve(&mut self, k: &'m ast::Kernel, given: &[Given<'_, 'm>], instance: &mut Instance) {
        let is_const =
            |n: &str| k.generics.iter().any(|g| matches!(g, Generic::Const { name, .. } if name.name == n));
        for &(p, a, _) in given {
            let (TypeKind::Tile { axes, .. }, PassedKind::Tensor { shape, .. }) = (&p.ty.kind, &a.kind)
            else {
                continue;
            };
            for (axis, have) in axes.iter().zip(shape) {
                let (Some(size), Some(value)) = (plain_size(axis), have.as_const()) else { continue };
                let known = |n: &str| match instance.consts.get(n) {
                    Some(ConstValue::Int(v)) => Some(*v),
                    _ => None,
                };
                if let Ok(Some((name, v))) = size.solve(value, &known)
                    && is_const(&name)
                {
                    instance.consts.insert(name, ConstValue::Int(v));
                }
            }
        }
    }

    pub(crate) fn mode_fits(&mut self, p: &ast::Param, have: Mode, at: Span) -> bool {
        let Some(want) = p.mode else { return true };
        if have == Mode::In && want.access != ast::Access::In {
            let message = format!(
                "`{}` is written by the kernel, but this is an `in` parameter of the op",
                p.name.name
            );
            let d = Diagnostic::error("T0236", at, message).also(p.span, "declared here");
            self.e.report(d.help("declare it `out` or `inout`, or use a `temp`"));
            return false;
        }
        true
    }

    #[allow(clippy::too_many_arguments)]
    pub(crate) fn dtype_fits(
        &mut self,
        k: &ast::Kernel,
        p: &ast::Param,
        element: &ast::Type,
        have: DType,
        index: bool,
        instance: &mut Instance,
        at: Span,
    ) -> bool {
        let mismatch = |this: &mut Self, want: String| {
            let got = if index { "an index tensor".to_string() } else { have.to_string() };
            let message = format!("`{}` of `{}` holds {want}; this holds {got}", p.name.name, k.name.name);
            this.e.report(Diagnostic::error("T0205", at, message).also(p.span, "declared here"));
            false
        };
        match &element.kind {
            TypeKind::Index { .. } if index => true,
            TypeKind::Index { .. } => mismatch(self, "indices".into()),
            TypeKind::Scalar(name) => {
                let generic = k
                    .generics
                    .iter()
                    .any(|g| matches!(g, Generic::Dtype { name: n, .. } if n.name == name.name));
                if index {
                    return mismatch(self, name.name.clone());
                }
                if generic {
                    return match instance.dtypes.insert(name.name.clone(), have) {
                        Some(old) if old != have => mismatch(self, format!("{} = {old}", name.name)),
                        _ => true,
                    };
                }
                match DType::from_name(&name.name) {
                    Some(d) if d != have => mismatch(self, d.to_string()),
                    _ => true,
                }
            }
            _ => true,
        }
    }

    /// The kernel of an instance, made once.
    pub(crate) fn kernel(
        &mut self,
        k: &'m ast::Kernel,
        item: ItemRef,
        instance: Instance,
        span: Span,
    ) -> Option<usize> {
        if let Some(at) = self.kernels.iter().position(|(i, n, _)| *i == item && *n == instance) {
            return Some(at);
        }
        if self.kernels.len() > 256 {
            self.e.give_up(span, "too many kernels");
            return None;
        }
        match instantiate_item(self.e.m, k, item, &instance) {
            Ok(kernel) => {
                self.kernels.push((item, instance, kernel));
                Some(self.kernels.len() - 1)
            }
            Err(diags) => {
                // A fault of another file is shown from here.
                let elsewhere = diags.iter().all(|d| d.primary.is_none_or(|s| s.file != span.file));
                if elsewhere {
                    let message = format!("`{}` cannot be made for these arguments", k.name.name);
                    let why = diags.first().map_or(String::new(), |d| d.message.clone());
                    self.e.report(Diagnostic::error("T0258", span, message).note(why));
                }
                self.e.diags.extend(diags);
                None
            }
        }
    }
}

pub(crate) fn optional(p: &ast::Param) -> bool {
    p.mode.is_some_and(|m| m.optional)
}

/// A size over names, without asking what they are.
pub(crate) fn plain_size(e: &Expr) -> Option<Size> {
    Some(match &e.kind {
        ExprKind::Int(v) => Size::Const(*v),
        ExprKind::Name(n) => Size::name(n.clone()),
        ExprKind::Paren(e) => plain_size(e)?,
        ExprKind::Binary { op, lhs, rhs } => {
            let (a, b) = (plain_size(lhs)?.into(), plain_size(rhs)?.into());
            match op {
                BinaryOp::Add => Size::Add(a, b),
                BinaryOp::Sub => Size::Sub(a, b),
                BinaryOp::Mul => Size::Mul(a, b),
                _ => return None,
            }
        }
        _ => return None,
    })
}
