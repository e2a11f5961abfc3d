//! Parameters of kernels and ops: generics and their values, tensors, scalars, captured tensors, dimensions, facts.
//!
//! A dimension is a name in a shape that is no const. It has to follow from the shapes that a launch is given: standing alone
//! somewhere, or linearly, as `NS` in `cu: offsets<L>[NS + 1]`.

use crate::{
    elab::{ConstValue, Elab, Instance, ident_of},
    kernel::{generic_name, relation, relation_text},
    module::nearest,
    typed::*,
    value::{Binding, Const, FnVal, Val},
};
use std::collections::BTreeSet;
use tile_base::{
    DType, Diagnostic, IndexKind, Mode, Size, Span, TensorParam,
    signature::{Fact, ParamKind, ScalarParam},
};
use tile_syntax::ast::{self, BinaryOp, Expr, ExprKind, Generic, TypeKind};

impl<'m> Elab<'m> {
    pub(crate) fn generics(
        &mut self,
        generics: &'m [Generic],
        instance: &Instance,
        span: Span,
    ) -> Option<()> {
        let mut ok = true;
        for g in generics {
            ok &= match g {
                Generic::Dtype { name, choices, default } => {
                    self.dtype_param(name, choices, default.as_ref(), instance)
                }
                Generic::Const { name, ty, choices, default } => {
                    self.const_param(name, ty.as_ref(), choices, default.as_ref(), instance)
                }
                Generic::Function { name, ty, default } => {
                    self.function_param(name, ty, default.as_ref(), instance)
                }
            }
            .is_some();
        }
        let known = |n: &str| generics.iter().any(|g| generic_name(g).name == n);
        for name in instance.dtypes.keys().chain(instance.consts.keys()).chain(instance.functions.keys()) {
            if !known(name) {
                let what = self.signature.kernel.clone();
                self.report(Diagnostic::error("T0211", span, format!("`{what}` has no parameter `{name}`")));
                ok = false;
            }
        }
        ok.then_some(())
    }

    pub(crate) fn dtype_param(
        &mut self,
        name: &'m ast::Ident,
        choices: &'m [ast::Ident],
        default: Option<&'m ast::Ident>,
        instance: &Instance,
    ) -> Option<()> {
        let mut among = vec![];
        for c in choices {
            match DType::from_name(&c.name) {
                Some(d) => among.push(d),
                None => {
                    self.elem_named(c);
                }
            }
        }
        let given = instance.dtypes.get(&name.name).copied();
        let chosen = given.or(default.and_then(|d| DType::from_name(&d.name))).or(match &among[..] {
            [one] => Some(*one),
            _ => None,
        });
        let Some(d) = chosen else {
            let d = Diagnostic::error("T0211", name.span, format!("the dtype `{}` is not known", name.name));
            self.report(d.help(format!("give it: `--const {}=f32`, or by the dtype of an input", name.name)));
            return None;
        };
        if !among.is_empty() && !among.contains(&d) {
            let all: Vec<&str> = among.iter().map(|d| d.name()).collect();
            let message = format!("`{}` is {d}, which is not one of {}", name.name, all.join(" | "));
            self.report(Diagnostic::error("T0212", name.span, message));
            return None;
        }
        self.signature.consts.push((name.name.clone(), d.name().into()));
        self.bind(&name.name, Binding::Dtype(d));
        Some(())
    }

    pub(crate) fn const_param(
        &mut self,
        name: &'m ast::Ident,
        ty: Option<&'m ast::Ident>,
        choices: &'m [Expr],
        default: Option<&'m Expr>,
        instance: &Instance,
    ) -> Option<()> {
        let n = &name.name;
        let value = match instance.consts.get(n) {
            Some(ConstValue::Int(v)) => Const::Index(*v, Size::name(n.clone())),
            Some(ConstValue::Bool(b)) => Const::Bool(*b),
            Some(ConstValue::Float(f)) => Const::Float(*f),
            None => match default {
                Some(d) => match self.eval(d) {
                    Val::Const(c) if c.int().is_some() => Const::Index(c.int()?, Size::name(n.clone())),
                    Val::Const(c) => c,
                    Val::Error => return None,
                    _ => {
                        self.report(Diagnostic::error(
                            "T0210",
                            d.span,
                            format!("the default of `{n}` is not compile-time"),
                        ));
                        return None;
                    }
                },
                None => {
                    let d = Diagnostic::error("T0211", name.span, format!("the const `{n}` has no value"));
                    self.report(d.help(format!("give it: `--const {n}=..`, or `--dim {n}=..`")));
                    return None;
                }
            },
        };
        let want = ty.map_or("index", |t| t.name.as_str());
        let value = match (want, value) {
            ("bool", c @ Const::Bool(_)) => c,
            ("index" | "i32" | "i64", c @ Const::Index(..)) => c,
            (w, c) if w.starts_with('f') && c.float().is_some() => Const::Float(c.float()?),
            ("bool" | "index" | "i32" | "i64", c) => {
                self.report(Diagnostic::error(
                    "T0212",
                    name.span,
                    format!("`{n}` is {want}; {} is given", c.show()),
                ));
                return None;
            }
            (_, _) => {
                if let Some(t) = ty {
                    let d =
                        Diagnostic::error("T0209", t.span, format!("a const cannot be of type `{}`", t.name));
                    self.report(d.help("a const is `index` (if no type stands), `bool`, or `f32`"));
                }
                return None;
            }
        };
        if let Const::Index(v, _) = &value {
            if *v < 0 || *v > 1 << 30 {
                self.report(
                    Diagnostic::error("T0212", name.span, format!("`{n}` = {v} is out of range"))
                        .help("0 to 2^30"),
                );
                return None;
            }
            self.sizes.insert(n.clone(), *v);
        }
        let mut among = vec![];
        for c in choices {
            if let Val::Const(c) = self.eval(c) {
                among.push(c);
            }
        }
        if !among.is_empty() && !among.iter().any(|c| c.float() == value.float() && value.float().is_some()) {
            let all: Vec<String> = among.iter().map(Const::show).collect();
            let message = format!("`{n}` is {}, which is not one of {}", value.show(), all.join(", "));
            self.report(Diagnostic::error("T0212", name.span, message));
            return None;
        }
        self.signature.consts.push((n.clone(), value.show()));
        self.bind(n, Binding::Val(Val::Const(value)));
        Some(())
    }

    pub(crate) fn function_param(
        &mut self,
        name: &'m ast::Ident,
        ty: &'m ast::FnType,
        default: Option<&'m ast::Ident>,
        instance: &Instance,
    ) -> Option<()> {
        let (wanted, at, file) = match (instance.functions.get(&name.name), default) {
            (Some(f), Some(d)) if d.name == *f => (f.clone(), d.span, self.frame().file),
            (Some(f), _) => (f.clone(), name.span, self.m.main()),
            (None, Some(d)) => (d.name.clone(), d.span, self.frame().file),
            (None, None) => {
                let d = Diagnostic::error(
                    "T0211",
                    name.span,
                    format!("the function `{}` is not known", name.name),
                );
                self.report(d.help(format!("give it: `--const {}=relu`, or a default", name.name)));
                return None;
            }
        };
        let Some(item) = self.m.resolve_text(file, &wanted) else {
            let d = Diagnostic::error("T0200", at, format!("there is no function `{wanted}`"));
            self.report(match nearest(&wanted, self.m.names(file).into_iter()) {
                Some(near) => d.help(format!("did you mean `{near}`?")),
                None => d.help("import it with `use`"),
            });
            return None;
        };
        let f = FnVal { item, alias: name.name.clone() };
        self.check_fn_type(&f, ty, at)?;
        self.signature.consts.push((name.name.clone(), wanted));
        self.bind(&name.name, Binding::Val(Val::Fn(f)));
        Some(())
    }

    pub(crate) fn params(&mut self, params: &'m [ast::Param]) {
        for p in params {
            if self.signature.params.iter().any(|q| q.name() == p.name.name) {
                let d = Diagnostic::error(
                    "T0201",
                    p.name.span,
                    format!("the parameter `{}` occurs twice", p.name.name),
                );
                self.report(d);
                continue;
            }
            match &p.ty.kind {
                TypeKind::Tile { .. } => {
                    let name = p.name.name.clone();
                    let v = self.tensor_param(p, name);
                    self.bind(&p.name.name, Binding::Val(v));
                }
                _ => self.scalar(p),
            }
        }
    }

    pub(crate) fn scalar(&mut self, p: &'m ast::Param) {
        if let Some(mode) = p.mode
            && mode.access != ast::Access::In
        {
            let d =
                Diagnostic::error("T0255", p.span, format!("the scalar `{}` cannot be written", p.name.name));
            self.report(d.help("return values through an `out` tensor, such as `out f32[1]`"));
        }
        let elem = match &p.ty.kind {
            TypeKind::Scalar(_) | TypeKind::Index { .. } => self.scalar_type(&p.ty),
            _ => {
                let d = Diagnostic::error("T0255", p.ty.span, "a kernel takes tensors and scalars");
                self.report(d.help("functions go between `<` and `>`: `<f: fn(x: f32) -> f32 = same>`"));
                None
            }
        };
        let v = match elem {
            Some(elem) => {
                let n = self.signature.params.len() as u32;
                let param = ScalarParam {
                    name: p.name.name.clone(),
                    dtype: elem.dtype(),
                    index: elem == Elem::Index,
                };
                self.signature.params.push(ParamKind::Scalar(param));
                Val::Expr(TExpr::new(TExprKind::Param(n), Type::scalar(elem), p.name.span))
            }
            None => Val::Error,
        };
        self.bind(&p.name.name, Binding::Val(v));
    }

    /// Adds a tensor to the signature under a name.
    pub(crate) fn tensor_param(&mut self, p: &'m ast::Param, name: String) -> Val<'m> {
        let TypeKind::Tile { element, axes } = &p.ty.kind else { return Val::Error };
        let Some(mode) = p.mode else {
            let d = Diagnostic::error("T0255", p.span, format!("the tensor `{name}` has no mode"));
            return self.fail(d.help(format!(
                "say what the kernel does with it: `{name}: in ...` (or `out`, `inout`, `sum`)"
            )));
        };
        let present = !(mode.optional && self.absent.contains(&name));
        let mut shape = vec![];
        for a in axes {
            match self.shape_size(a, present) {
                Some(s) => shape.push(s),
                None => return Val::Error,
            }
        }
        let index = match &element.kind {
            TypeKind::Index { kind, bound } => {
                let span = bound.span;
                let Some(bound) = self.shape_size(bound, false) else { return Val::Error };
                let bound = self.with_values(&bound);
                self.bounds.push((bound.clone(), span));
                Some(match kind {
                    ast::IndexType::Id => IndexKind::Id(bound),
                    ast::IndexType::IdOrNone => IndexKind::IdOrNone(bound),
                    ast::IndexType::Count => IndexKind::Count(bound),
                    ast::IndexType::Offsets => IndexKind::Offsets(bound),
                })
            }
            _ => None,
        };
        let Some(elem) = self.scalar_type(element) else { return Val::Error };
        let dtype = match (&index, elem) {
            (Some(_), _) => DType::I32,
            (None, elem) => elem.dtype(),
        };
        let mode_base = match mode.access {
            ast::Access::In => Mode::In,
            ast::Access::Out => Mode::Out,
            ast::Access::InOut => Mode::InOut,
            ast::Access::Sum => Mode::Sum,
        };
        if mode_base == Mode::Sum && !matches!(dtype, DType::F32 | DType::F64 | DType::I32 | DType::I64) {
            let d = Diagnostic::error("T0255", p.span, format!("`sum` of {dtype}"));
            self.report(d.help("a `sum` tensor is f32, f64, i32 or i64"));
        }
        let values: Vec<Size> = shape.iter().map(|s| self.with_values(s)).collect();
        let param = self.signature.params.len();
        self.signature.params.push(ParamKind::Tensor(TensorParam {
            name: name.clone(),
            mode: mode_base,
            optional: mode.optional,
            present,
            dtype,
            index: index.clone(),
            distinct: false,
            shape: values.clone(),
        }));
        if !present {
            return Val::Absent(name);
        }
        if elem == Elem::Index && index.is_none() {
            let d = Diagnostic::error("T0255", p.ty.span, "a tensor of `index` needs a bound or a width");
            self.report(d.help("`id<N>`, `count<N>`, `offsets<N>`, or a stored integer such as `i32`"));
        }
        self.objects.push(Object {
            name,
            param,
            dtype,
            mode: mode_base,
            index,
            shape: values,
            span: p.name.span,
        });
        self.shapes.push(shape);
        let id = ObjectId::new(self.objects.len() - 1);
        if mode.optional {
            self.optional.insert(id);
        }
        Val::Tensor(id)
    }

    pub(crate) fn with_values(&self, s: &Size) -> Size {
        let s = s.substitute(&|n| self.const_value(n).map(Size::Const));
        s.as_const().map_or(s, Size::Const)
    }

    /// A size of a shape: unknown names are run-time dimensions.
    pub(crate) fn shape_size(&mut self, e: &'m Expr, declare: bool) -> Option<Size> {
        self.size(e, Some(declare))
    }

    /// An expression over dimensions and consts. `declare`: an unknown name is a new dimension (`Some(true)`), or may
    /// become one later (`Some(false)`); `None`: it is an error.
    pub(crate) fn size(&mut self, e: &'m Expr, declare: Option<bool>) -> Option<Size> {
        let two = |this: &mut Self, a: &'m Expr, b: &'m Expr| {
            let (a, b) = (this.size(a, declare), this.size(b, declare));
            Some((Box::new(a?), Box::new(b?)))
        };
        Some(match &e.kind {
            ExprKind::Int(v) => Size::Const(*v),
            ExprKind::Paren(e) => self.size(e, declare)?,
            ExprKind::Name(n) => return self.size_name(n, e.span, declare),
            ExprKind::Binary { op, lhs, rhs } => {
                let (a, b) = two(self, lhs, rhs)?;
                match op {
                    BinaryOp::Add => Size::Add(a, b),
                    BinaryOp::Sub => Size::Sub(a, b),
                    BinaryOp::Mul => Size::Mul(a, b),
                    BinaryOp::Div => Size::FloorDiv(a, b),
                    BinaryOp::Rem => Size::Mod(a, b),
                    _ => return self.not_a_size(e.span),
                }
            }
            ExprKind::Unary { op: ast::UnaryOp::Neg, operand } => {
                Size::Sub(Size::Const(0).into(), self.size(operand, declare)?.into())
            }
            ExprKind::Call { function, args } => match (ident_of(function), &args[..]) {
                (Some(f @ ("cdiv" | "min" | "max")), [a, b]) => {
                    let (a, b) = two(self, &a.value, &b.value)?;
                    match f {
                        "cdiv" => Size::CeilDiv(a, b),
                        "min" => Size::Min(a, b),
                        _ => Size::Max(a, b),
                    }
                }
                _ => return self.not_a_size(e.span),
            },
            ExprKind::Broken => return None,
            _ => return self.not_a_size(e.span),
        })
    }

    pub(crate) fn not_a_size(&mut self, span: Span) -> Option<Size> {
        let d = Diagnostic::error("T0263", span, "this is not a size");
        self.report(
            d.help("sizes are made of dimensions, consts, integers, `+ - * / %`, `cdiv`, `min`, `max`"),
        );
        None
    }

    pub(crate) fn size_name(&mut self, n: &'m str, span: Span, declare: Option<bool>) -> Option<Size> {
        if let Some(Binding::Val(Val::Const(c))) = self.lookup(n) {
            let size = c.size();
            return match size {
                Some(s) => Some(s),
                None => self.not_a_size(span),
            };
        }
        if let Some(Binding::Dtype(_)) = self.lookup(n) {
            let d = Diagnostic::error("T0209", span, format!("`{n}` is a dtype, not a size"));
            self.report(d);
            return None;
        }
        let known = self.signature.dims.iter().any(|d| d == n);
        match declare {
            Some(true) if !known => self.declare_dim(n, span),
            Some(_) => {}
            None if known => {}
            None => {
                let d = Diagnostic::error("T0200", span, format!("there is no dimension or const `{n}`"));
                let dims = self.signature.dims.clone();
                self.report(match nearest(n, dims.iter().map(String::as_str)) {
                    Some(near) => d.help(format!("did you mean `{near}`?")),
                    None => d.help("dimensions are the names in the shapes of tensors"),
                });
                return None;
            }
        }
        Some(Size::name(n))
    }

    pub(crate) fn declare_dim(&mut self, n: &'m str, span: Span) {
        let at = self.signature.dims.len() as u32;
        self.signature.dims.push(n.to_string());
        let v = TExpr::new(TExprKind::Dim(at), Type::scalar(Elem::Index), span);
        // Dimensions are seen by the kernel, whoever's type declares them.
        if let Some(scope) = self.frames.first_mut().and_then(|f| f.scopes.first_mut()) {
            scope.entry(n).or_insert(Binding::Val(Val::Expr(v)));
        }
    }

    /// Tensors that function arguments capture, in order of declaration.
    pub(crate) fn captures_of(&mut self, generics: &'m [Generic]) {
        let m = self.m;
        for g in generics {
            let Generic::Function { name, .. } = g else { continue };
            let Some(Binding::Val(Val::Fn(f))) = self.lookup(&name.name).cloned() else { continue };
            if let ast::ItemKind::Fn(def) = &m.item(f.item).kind {
                for p in &def.using {
                    self.capture(&f, p);
                }
            }
        }
    }

    /// The tensor that a function captures, added to the kernel's signature on first use.
    pub(crate) fn capture(&mut self, f: &FnVal, p: &'m ast::Param) -> Val<'m> {
        let name = format!("{}.{}", f.alias, p.name.name);
        if let Some(known) = self.captured.get(&name) {
            return match known {
                Some(o) => Val::Tensor(*o),
                None => Val::Absent(name),
            };
        }
        // Its shape is read in a scope of its own: dimensions of equal name are the kernel's.
        let v = match &p.ty.kind {
            TypeKind::Tile { .. } => self.tensor_param(p, name.clone()),
            _ => {
                let d = Diagnostic::error("T0255", p.span, "only tensors are captured");
                self.fail(d.help("declare it as `using slopes: in f32[H]`"))
            }
        };
        self.captured.insert(
            name,
            match &v {
                Val::Tensor(o) => Some(*o),
                _ => None,
            },
        );
        v
    }

    /// Every dimension has to follow from some shape.
    pub(crate) fn bindable(&mut self) {
        self.bounds_known();
        let mut known: BTreeSet<String> = BTreeSet::new();
        let shapes: Vec<Size> =
            self.signature.tensors().filter(|t| t.present).flat_map(|t| t.shape.iter().cloned()).collect();
        loop {
            let before = known.len();
            for s in &shapes {
                let lookup = |n: &str| known.contains(n).then_some(1);
                match s.solve(1 << 20, &lookup) {
                    Ok(Some((n, _))) => {
                        known.insert(n);
                    }
                    Ok(None) => {}
                    Err(_) => {
                        let unknown: Vec<String> = s
                            .names()
                            .iter()
                            .filter(|n| !known.contains(**n))
                            .map(|n| n.to_string())
                            .collect();
                        known.extend(unknown);
                    }
                }
            }
            if known.len() == before {
                break;
            }
        }
        let unbound: Vec<String> =
            self.signature.dims.iter().filter(|d| !known.contains(*d)).cloned().collect();
        for d in unbound {
            let at = self.frames.first().and_then(|f| f.scopes.first()).and_then(|s| s.get(d.as_str()));
            let span = match at {
                Some(Binding::Val(Val::Expr(e))) => e.span,
                _ => Span::default(),
            };
            let message = format!("the dimension `{d}` does not follow from any shape");
            let diag = Diagnostic::error("T0254", span, message);
            self.report(diag.help(
                "a dimension stands alone in some shape, or linearly (`NS + 1`); else declare it `const`",
            ));
        }
    }

    /// A name in the bound of an index type stands in some shape, be it that of a tensor left out.
    fn bounds_known(&mut self) {
        let shapes: BTreeSet<String> = self
            .signature
            .tensors()
            .flat_map(|t| t.shape.iter())
            .flat_map(|s| s.names().into_iter().map(str::to_string).collect::<Vec<_>>())
            .collect();
        for (bound, span) in std::mem::take(&mut self.bounds) {
            let missing = bound.names().into_iter().find(|n| !shapes.contains(*n));
            if let Some(name) = missing {
                let message = format!("`{name}` stands in no shape and is no `const`");
                let diag = Diagnostic::error("T0254", span, message).label("bound of an index type");
                self.report(diag.help("a dimension follows from a shape; else declare it `const`"));
            }
        }
    }

    pub(crate) fn fact(&mut self, e: &'m Expr) {
        match &e.kind {
            ExprKind::Paren(e) => self.fact(e),
            ExprKind::Binary { op: BinaryOp::AndAnd, lhs, rhs } => {
                self.fact(lhs);
                self.fact(rhs);
            }
            ExprKind::Binary { op, lhs, rhs } if relation(*op).is_some() => {
                let (a, b) = (self.size(lhs, None), self.size(rhs, None));
                let (Some(a), Some(b), Some(op)) = (a, b, relation(*op)) else { return };
                let text = format!("{a} {} {b}", relation_text(op));
                let (lhs, rhs) = (self.with_values(&a), self.with_values(&b));
                match (lhs.as_const(), rhs.as_const()) {
                    (Some(x), Some(y)) if op.holds(x, y) => {}
                    (Some(x), Some(y)) => {
                        let message = format!("`{text}` does not hold: {x} {} {y}", relation_text(op));
                        self.report(Diagnostic::error("T0213", e.span, message));
                    }
                    _ => self.signature.facts.push(Fact { lhs, op, rhs, text }),
                }
            }
            // What is decided at compile time may be any bool: `!CAUSAL || M <= N`.
            ExprKind::Binary { op: BinaryOp::OrOr, lhs, rhs } => match self.eval(lhs) {
                Val::Const(Const::Bool(true)) | Val::Error => {}
                Val::Const(Const::Bool(false)) => self.fact(rhs),
                _ => self.not_a_fact(e.span),
            },
            ExprKind::Broken => {}
            _ => match self.eval(e) {
                Val::Const(Const::Bool(true)) | Val::Error => {}
                Val::Const(Const::Bool(false)) => {
                    self.report(Diagnostic::error("T0213", e.span, "this fact does not hold"));
                }
                _ => self.not_a_fact(e.span),
            },
        }
    }

    pub(crate) fn not_a_fact(&mut self, span: Span) {
        let d = Diagnostic::error("T0263", span, "a fact compares two sizes");
        self.report(d.help("`where H % G == 0, D <= 256`: comparisons, joined by `,` or `&&`"));
    }
}
