//! Calls: functions of `.tile` files (inlined), vector functions, built-ins.

use super::{
    super::code::{BinaryFn, Fold, NodeId, Op, Ty, UnaryFn, VectorFn},
    Builder, Fallible, Value, Vector,
    reducer::fold_named,
    refuse,
};
use tile_base::{Diagnostic, Span};
use tile_syntax::ast::{Arg, Expr, ExprKind, Fn, ItemKind};

/// Calls nest no deeper than this; functions cannot recurse.
const MAX_CALLS: usize = 64;

impl Builder<'_> {
    pub(super) fn call(&mut self, function: &Expr, args: &[Arg], span: Span) -> Fallible<Value> {
        let (name, item) = match &function.kind {
            ExprKind::Name(name) => match self.world.functions.get(name).filter(|_| self.prefix.is_none()) {
                Some(&item) => return self.call_fn(item, Some(name.clone()), args, span),
                None => (name.as_str(), self.world.module.resolve(self.file, name)),
            },
            ExprKind::Path(path) => match self.world.module.resolve_path(self.file, path) {
                Some(item) => return self.call_fn(item, None, args, span),
                None => return refuse(unknown(function.span, "this path")),
            },
            _ => {
                return refuse(Diagnostic::error("T0477", function.span, "only a name can be called"));
            }
        };
        // `all(x[i, :])` is the reduction although the prelude has a mask of that name.
        if let [only] = args
            && only.name.is_none()
            && let Some(kind) = fold_named(name)
        {
            let value = self.expr(&only.value)?;
            if let Value::Vector(v) = value {
                return Ok(Value::Scalar(self.fold_vector(kind, v, span)));
            }
        }
        if let Some(function) = self.vector_function(name, args)? {
            return self.call_vector(name, function, args, span);
        }
        match item {
            Some(item) => self.call_fn(item, None, args, span),
            None => self.builtin(name, function.span, args, span),
        }
    }

    // ------------------------------------------------------------ functions of the language

    fn call_fn(
        &mut self,
        item: (usize, usize),
        prefix: Option<String>,
        args: &[Arg],
        span: Span,
    ) -> Fallible<Value> {
        let module = self.world.module;
        let ItemKind::Fn(f) = &module.item(item).kind else {
            return refuse(
                Diagnostic::error("T0477", span, "a spec can call functions, not kernels").label("here"),
            );
        };
        let args = self.arguments(f, args, span)?;
        if self.calls == MAX_CALLS {
            return refuse(
                Diagnostic::error("T0477", span, format!("calls nest deeper than {MAX_CALLS}"))
                    .label("does this function call itself?"),
            );
        }
        let outer_scopes = std::mem::take(&mut self.scopes);
        let outer_file = std::mem::replace(&mut self.file, item.0);
        let outer_prefix = std::mem::replace(&mut self.prefix, prefix);
        self.calls += 1;
        for (p, v) in f.params.iter().zip(args) {
            self.bind_name(&p.name.name, v);
        }
        let result = self.block_value(&f.body);
        self.calls -= 1;
        self.scopes = outer_scopes;
        self.file = outer_file;
        self.prefix = outer_prefix;
        result.map_err(|d| Box::new(d.also(span, "called here")))
    }

    /// Arguments in the order of the parameters.
    fn arguments(&mut self, f: &Fn, args: &[Arg], span: Span) -> Fallible<Vec<Value>> {
        let names: Vec<&str> = f.params.iter().map(|p| p.name.name.as_str()).collect();
        if args.len() != names.len() {
            return refuse(
                Diagnostic::error(
                    "T0482",
                    span,
                    format!("`{}` takes {} arguments, not {}", f.name.name, names.len(), args.len()),
                )
                .label(format!("its parameters are ({})", names.join(", "))),
            );
        }
        let mut out: Vec<Option<Value>> = vec![None; names.len()];
        for (at, a) in args.iter().enumerate() {
            let place = match &a.name {
                None => at,
                Some(n) => match names.iter().position(|p| *p == n.name) {
                    Some(p) => p,
                    None => {
                        return refuse(Diagnostic::error(
                            "T0482",
                            n.span,
                            format!("`{}` has no parameter `{}`", f.name.name, n.name),
                        ));
                    }
                },
            };
            out[place] = Some(self.expr(&a.value)?);
        }
        match out.into_iter().collect() {
            Some(values) => Ok(values),
            None => refuse(Diagnostic::error("T0482", span, "an argument is given twice")),
        }
    }

    // ------------------------------------------------------------ vectors

    fn fold_vector(&mut self, kind: Fold, v: Vector, span: Span) -> NodeId {
        let lo = self.number(0.0, Ty::Int, span);
        let binders = vec![super::super::code::Binder { slot: v.slot, lo, hi: v.len }];
        let ty = match (kind, self.ty(v.body)) {
            (Fold::ArgMax | Fold::ArgMin, _) => Ty::Int,
            (Fold::LogSumExp, _) => Ty::Real,
            (Fold::Any | Fold::All, _) => Ty::Bool,
            (_, Ty::Bool | Ty::Literal) => Ty::Int,
            (_, ty) => ty,
        };
        self.code.push(Op::Reduce { kind, binders, body: v.body }, ty, span)
    }

    fn vector_function(&mut self, name: &str, args: &[Arg]) -> Fallible<Option<VectorFn>> {
        let mut flag = |wanted: &str| -> Fallible<bool> {
            let Some(arg) = args.iter().find(|a| a.name.as_ref().is_some_and(|n| n.name == wanted)) else {
                return Ok(false);
            };
            let node = self.condition(&arg.value)?;
            match self.code.constant(node) {
                Some(v) => Ok(v != 0.0),
                None => refuse(
                    Diagnostic::error("T0482", arg.value.span, format!("`{wanted}` must be a constant"))
                        .label("depends on data"),
                ),
            }
        };
        Ok(Some(match name {
            "softmax" => VectorFn::Softmax,
            "log_softmax" => VectorFn::LogSoftmax,
            "cumsum" => VectorFn::CumSum { reverse: flag("rev")?, exclusive: flag("exclusive")? },
            "cumprod" => VectorFn::CumProd { reverse: flag("rev")?, exclusive: flag("exclusive")? },
            "cummax" => VectorFn::CumMax { reverse: flag("rev")? },
            "sort" => VectorFn::Sort { descending: flag("desc")? },
            "argsort" => VectorFn::ArgSort { descending: flag("desc")? },
            "topk" => VectorFn::TopK,
            "argtopk" => VectorFn::ArgTopK,
            "histogram" => VectorFn::Histogram,
            _ => return Ok(None),
        }))
    }

    fn call_vector(&mut self, name: &str, function: VectorFn, args: &[Arg], span: Span) -> Fallible<Value> {
        let sizes = match function {
            VectorFn::TopK | VectorFn::ArgTopK => Some("k"),
            VectorFn::Histogram => Some("bins"),
            _ => None,
        };
        let allowed = ["k", "bins", "rev", "exclusive", "desc"];
        for a in args.iter().filter_map(|a| a.name.as_ref()) {
            if !allowed.contains(&a.name.as_str()) {
                return refuse(Diagnostic::error(
                    "T0482",
                    a.span,
                    format!("`{name}` has no option `{}`", a.name),
                ));
            }
        }
        let mut plain = args.iter().filter(|a| a.name.is_none());
        let (Some(only), None) = (plain.next(), plain.next()) else {
            return refuse(
                Diagnostic::error("T0482", span, format!("`{name}` takes one vector")).label("here"),
            );
        };
        let Value::Vector(v) = self.expr(&only.value)? else {
            return refuse(
                Diagnostic::error("T0477", only.value.span, format!("`{name}` takes a vector"))
                    .label("this is one number")
                    .help(format!("a slice is a vector: `{name}(x[i, :])`")),
            );
        };
        let parameter = match sizes {
            None => None,
            Some(option) => {
                let given = args.iter().find(|a| a.name.as_ref().is_some_and(|n| n.name == option));
                let Some(given) = given else {
                    return refuse(
                        Diagnostic::error("T0482", span, format!("`{name}` needs `{option} = …`"))
                            .label("not given"),
                    );
                };
                Some(self.scalar(&given.value)?)
            }
        };
        let element = self.ty(v.body);
        let ty = match function {
            VectorFn::Softmax | VectorFn::LogSoftmax => Ty::Real,
            VectorFn::ArgSort { .. } | VectorFn::ArgTopK | VectorFn::Histogram => Ty::Int,
            _ if element == Ty::Literal || element == Ty::Bool => Ty::Int,
            _ => element,
        };
        let made = Op::Vector { function, slot: v.slot, len: v.len, body: v.body, parameter };
        let vector = self.code.push(made, ty, span);
        let slot = self.slot("", span)?;
        let body = self.code.push(Op::VectorAt { vector, slot }, ty, span);
        let len = match parameter {
            Some(_) => self.code.push(Op::VectorLen(vector), Ty::Int, span),
            None => v.len,
        };
        Ok(Value::Vector(Vector { slot, len, body }))
    }

    // ------------------------------------------------------------ built-ins

    fn builtin(&mut self, name: &str, at: Span, args: &[Arg], span: Span) -> Fallible<Value> {
        let arity = match name {
            "max" | "min" | "pow" | "cdiv" => 2,
            "select" => 3,
            _ if unary_named(name).is_some() => 1,
            _ => return refuse(unknown(at, &format!("`{name}`"))),
        };
        if args.len() != arity || args.iter().any(|a| a.name.is_some()) {
            return refuse(
                Diagnostic::error(
                    "T0482",
                    span,
                    format!("`{name}` takes {arity} argument(s), not {}", args.len()),
                )
                .label("here"),
            );
        }
        let values = args.iter().map(|a| self.expr(&a.value)).collect::<Fallible<Vec<_>>>()?;
        self.lift(values, span, |b, n| b.apply_builtin(name, n, span))
    }

    fn apply_builtin(&mut self, name: &str, n: &[NodeId], span: Span) -> Fallible<NodeId> {
        let types: Vec<Ty> = n.iter().map(|&n| self.ty(n)).collect();
        let joined = types.iter().copied().reduce(Ty::join).unwrap_or(Ty::Real);
        let arithmetic = if joined == Ty::Bool { Ty::Int } else { joined };
        Ok(match name {
            "max" => self.binary(BinaryFn::Max, n[0], n[1], arithmetic, span),
            "min" => self.binary(BinaryFn::Min, n[0], n[1], arithmetic, span),
            "pow" => self.binary(BinaryFn::Pow, n[0], n[1], Ty::Real, span),
            "cdiv" if joined == Ty::Real => {
                return refuse(
                    Diagnostic::error("T0482", span, "`cdiv` divides integers").label("an argument is real"),
                );
            }
            "cdiv" => self.binary(BinaryFn::CeilDiv, n[0], n[1], arithmetic, span),
            "select" if types[0] != Ty::Bool => {
                return refuse(
                    Diagnostic::error("T0482", span, "the first argument of `select` is a condition")
                        .label("it is a number here"),
                );
            }
            "select" => self.select(n[0], n[1], n[2], span),
            _ => {
                let Some((f, ty)) = unary_named(name) else {
                    return refuse(unknown(span, &format!("`{name}`")));
                };
                let keeps = matches!(f, UnaryFn::Abs | UnaryFn::Floor | UnaryFn::Ceil | UnaryFn::Round);
                self.unary(f, n[0], if keeps { arithmetic } else { ty }, span)
            }
        })
    }
}

fn unary_named(name: &str) -> Option<(UnaryFn, Ty)> {
    let f = match name {
        "exp" => UnaryFn::Exp,
        "exp2" => UnaryFn::Exp2,
        "log" => UnaryFn::Log,
        "log2" => UnaryFn::Log2,
        "sqrt" => UnaryFn::Sqrt,
        "rsqrt" => UnaryFn::Rsqrt,
        "sin" => UnaryFn::Sin,
        "cos" => UnaryFn::Cos,
        "tanh" => UnaryFn::Tanh,
        "erf" => UnaryFn::Erf,
        "abs" => UnaryFn::Abs,
        "floor" => UnaryFn::Floor,
        "ceil" => UnaryFn::Ceil,
        "round" => UnaryFn::Round,
        "isnan" => return Some((UnaryFn::IsNan, Ty::Bool)),
        "popcount" => return Some((UnaryFn::Popcount, Ty::Int)),
        _ => return None,
    };
    Some((f, Ty::Real))
}

fn unknown(span: Span, what: &str) -> Diagnostic {
    Diagnostic::error("T0475", span, format!("{what} is not a function that a spec can call"))
        .label("neither a `fn` in scope nor a built-in")
}
