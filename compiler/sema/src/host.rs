//! `op`s: host code that launches kernels. It computes with sizes only and never reads what is on the device.
//!
//! Each `run` instantiates its kernel for the dtypes and sizes of the arguments; equal instances are made once.
//!
//! ```text
//! temp h: f32[N, F];  run up(x, h);  run up(y, h);      one kernel, two launches
//! ```

use crate::{elab::*, kernel::*, module::*, typed::*, value::*};
use std::collections::{BTreeMap, BTreeSet};
use tile_base::{
    DType, Diagnostic, IndexKind, Mode, Size, Span,
    signature::{ParamKind, Relation},
};
use tile_syntax::ast::{
    self, Arg, BinaryOp, Expr, ExprKind, Generic, Ident, Stmt, StmtKind, Subscript, TypeKind,
};

/// An op specialised, or all that is wrong with it. Its `tile` sizes are consts here: `instance.consts`, else the
/// first choice of their list.
pub fn instantiate_op(m: &Module, name: &str, instance: &Instance) -> Result<TypedProgram, Vec<Diagnostic>> {
    match m.op(m.main(), name) {
        Some((op, item)) => instantiate_op_item(m, op, item, instance),
        None => Err(vec![Diagnostic::global("T0200", format!("there is no op `{name}`"))]),
    }
}

pub(crate) fn instantiate_op_item(
    m: &Module,
    op: &ast::HostOp,
    item: ItemRef,
    instance: &Instance,
) -> Result<TypedProgram, Vec<Diagnostic>> {
    let mut h =
        Host { e: Elab::new(m), objects: vec![], temps: vec![], kernels: vec![], integers: BTreeSet::new() };
    let program = h.op(op, item, instance);
    let mut diags = std::mem::take(&mut h.e.diags);
    dedupe(&mut diags);
    match program {
        Some(p) if !tile_base::diagnostic::any_error(&diags) => Ok(p),
        _ => Err(diags),
    }
}

struct Host<'m> {
    e: Elab<'m>,
    /// What each object of the elaborator is to a launch.
    objects: Vec<HostArg>,
    temps: Vec<Temp>,
    kernels: Vec<(ItemRef, Instance, TypedKernel)>,
    /// Names of host integers.
    integers: BTreeSet<String>,
}

/// An argument of a launch and what is known of it.
struct Passed {
    arg: HostArg,
    kind: PassedKind,
}

enum PassedKind {
    Tensor {
        dtype: DType,
        index: bool,
        mode: Mode,
        shape: Vec<Size>,
    },
    Scalar(Elem),
    /// A literal number.
    Number,
    Absent,
}

impl<'m> Host<'m> {
    fn op(&mut self, op: &'m ast::HostOp, item: ItemRef, instance: &Instance) -> Option<TypedProgram> {
        let name = op.name.name.clone();
        let frame = Frame {
            file: item.0,
            scopes: vec![Scope::new()],
            prefix: String::new(),
            item,
            name: name.clone(),
        };
        self.e.frames.push(frame);
        self.e.signature.kernel = name.clone();
        self.e.absent = instance.absent.clone();
        let tiles: Vec<&'m ast::TileDecl> = op
            .body
            .stmts
            .iter()
            .filter_map(|s| match &s.kind {
                StmtKind::Tile(decls) => Some(decls),
                _ => None,
            })
            .flatten()
            .collect();
        let mut own = instance.clone();
        own.consts.retain(|n, _| !tiles.iter().any(|t| t.name.name == *n));
        self.e.generics(&op.generics, &own, op.name.span)?;
        self.e.params(&op.params);
        if self.e.diags.is_empty() {
            self.e.bindable();
        }
        for f in &op.facts {
            self.e.fact(f);
        }
        for t in tiles {
            self.tile(t, instance);
        }
        self.objects = self.e.objects.iter().map(|o| HostArg::Param(o.param)).collect();
        let steps = self.steps(&op.body.stmts);
        if let Some(v) = &op.body.value {
            let d = Diagnostic::error("T0258", v.span, "an op gives no value");
            self.e.report(d.help("write results to `out` tensors"));
        }
        Some(TypedProgram {
            name,
            span: op.name.span,
            signature: std::mem::take(&mut self.e.signature),
            temps: std::mem::take(&mut self.temps),
            kernels: std::mem::take(&mut self.kernels).into_iter().map(|(_, _, k)| k).collect(),
            steps,
            notes: std::mem::take(&mut self.e.notes),
        })
    }

    /// A tile size of an op has to be known when its kernels are compiled.
    fn tile(&mut self, t: &'m ast::TileDecl, instance: &Instance) {
        let choices: Vec<i64> =
            t.choices.iter().filter_map(|c| self.e.const_int(c, "a tile size")).map(|(v, _)| v).collect();
        let name = t.name.name.clone();
        let value = match instance.consts.get(&name) {
            Some(ConstValue::Int(v)) if choices.is_empty() || choices.contains(v) => *v,
            Some(_) => {
                let d = Diagnostic::error(
                    "T0212",
                    t.name.span,
                    format!("the tile size `{name}` cannot have this value"),
                );
                return self.e.report(d);
            }
            None => match choices.first() {
                Some(v) => *v,
                None => {
                    let d = Diagnostic::error(
                        "T0211",
                        t.name.span,
                        format!("the tile size `{name}` of the op has no value"),
                    );
                    return self.e.report(d.help(format!(
                        "list choices, `tile {name} in {{64, 128}};`, or give one: `--const {name}=64`"
                    )));
                }
            },
        };
        self.e.sizes.insert(name.clone(), value);
        self.e.signature.consts.push((name.clone(), value.to_string()));
        let c = Const::Index(value, Size::name(name));
        self.e.bind(&t.name.name, Binding::Val(Val::Const(c)));
    }

    fn steps(&mut self, stmts: &'m [Stmt]) -> Vec<HostStep> {
        self.e.frame_mut().scopes.push(Scope::new());
        let mut out = vec![];
        for s in stmts {
            if self.e.gave_up {
                break;
            }
            let refused = self.e.depth >= MAX_DEPTH;
            if refused {
                self.e.give_up(s.span, "nested too deeply");
                break;
            }
            self.e.depth += 1;
            self.step(s, &mut out);
            self.e.depth -= 1;
        }
        self.e.frame_mut().scopes.pop();
        out
    }

    fn not_host(&mut self, span: Span, what: &str) {
        let d = Diagnostic::error("T0258", span, format!("{what} does not stand in an op"));
        self.e.report(
            d.note("an op is host code: `temp`, `let` of sizes, `run`, `if`, `for` over a range")
                .help("put it into a kernel"),
        );
    }

    fn step(&mut self, s: &'m Stmt, out: &mut Vec<HostStep>) {
        match &s.kind {
            StmtKind::Tile(_) | StmtKind::Broken => {}
            StmtKind::Temp { name, ty } => self.temp(name, ty),
            StmtKind::Let { pattern: ast::Pattern::Name(n), value, .. } => {
                let Some(size) = self.size(value) else {
                    return self.e.bind(&n.name, Binding::Val(Val::Error));
                };
                if let Ok(v) = size.eval(&|n| self.e.const_value(n)) {
                    return self.e.bind(&n.name, Binding::Val(Val::Const(Const::Index(v, Size::Const(v)))));
                }
                let value = self.with_values(&size);
                self.integer(n);
                out.push(HostStep::Let { name: n.name.clone(), value });
            }
            StmtKind::Run { name, generics, args } => {
                if let Some(step) = self.run(name, generics, args, s.span) {
                    out.push(step);
                }
            }
            StmtKind::If(i) => self.branch(&i.condition, &i.then, i.otherwise.as_ref(), out),
            StmtKind::For { pattern: ast::Pattern::Name(n), range, claims, body } => {
                if !claims.is_empty() {
                    self.not_host(s.span, "a claim");
                }
                let bounds = match &range.kind {
                    ExprKind::Range { lo, hi } => self.size(lo).zip(self.size(hi)),
                    _ => self.size(range).map(|hi| (Size::Const(0), hi)),
                };
                self.e.frame_mut().scopes.push(Scope::new());
                self.integer(n);
                let body = self.steps(&body.stmts);
                self.e.frame_mut().scopes.pop();
                if let Some((lo, hi)) = bounds {
                    let (lo, hi) = (self.with_values(&lo), self.with_values(&hi));
                    out.push(HostStep::For { name: n.name.clone(), lo, hi, body });
                }
            }
            StmtKind::Expr(Expr { kind: ExprKind::If(i), .. }) => {
                self.branch(&i.condition, &i.then, i.otherwise.as_ref(), out)
            }
            StmtKind::Par { .. } => self.not_host(s.span, "`par`"),
            StmtKind::Var { .. } => self.not_host(s.span, "`var`"),
            StmtKind::While { .. } => self.not_host(s.span, "`while`"),
            StmtKind::Assign { .. } => self.not_host(s.span, "a store"),
            _ => self.not_host(s.span, "this statement"),
        }
    }

    /// A host integer: a name that sizes may use.
    fn integer(&mut self, n: &'m Ident) {
        self.integers.insert(n.name.clone());
        let at = match self.e.signature.dims.iter().position(|d| *d == n.name) {
            Some(at) => at as u32,
            None => u32::MAX,
        };
        let dim = TExpr::new(TExprKind::Dim(at), Type::scalar(Elem::Index), n.span);
        self.e.bind(&n.name, Binding::Val(Val::Expr(dim)));
    }

    fn with_values(&self, s: &Size) -> Size {
        let s = s.substitute(&|n| self.e.const_value(n).map(Size::Const));
        s.as_const().map_or(s, Size::Const)
    }

    fn size(&mut self, e: &'m Expr) -> Option<Size> {
        if let Some(at) = reads_device(e) {
            let d = Diagnostic::error("T0258", at, "host code never reads what is on the device");
            self.e.report(d.help("pass counts on as `count<N>` temporaries, which kernels read"));
            return None;
        }
        // Host integers count as dimensions while a size is read.
        let dims = self.e.signature.dims.len();
        let extra: Vec<String> =
            self.integers.iter().filter(|n| !self.e.signature.dims.contains(n)).cloned().collect();
        self.e.signature.dims.extend(extra);
        let s = self.e.size(e, None);
        self.e.signature.dims.truncate(dims);
        s
    }

    fn temp(&mut self, name: &'m Ident, ty: &'m ast::Type) {
        self.e.bind(&name.name, Binding::Val(Val::Error));
        let TypeKind::Tile { element, axes } = &ty.kind else {
            let d = Diagnostic::error("T0258", ty.span, "a temporary is a tensor");
            return self.e.report(d.help("`temp h: f32[N, F];`"));
        };
        let Some(elem) = self.e.scalar_type(element) else { return };
        let shape: Option<Vec<Size>> = axes.iter().map(|a| self.size(a)).collect();
        let Some(shape) = shape else { return };
        let index = match &element.kind {
            TypeKind::Index { kind, bound } => {
                let Some(bound) = self.size(bound) else { return };
                let bound = self.with_values(&bound);
                Some(match kind {
                    ast::IndexType::Id => IndexKind::Id(bound),
                    ast::IndexType::IdOrNone => IndexKind::IdOrNone(bound),
                    ast::IndexType::Count => IndexKind::Count(bound),
                    ast::IndexType::Offsets => IndexKind::Offsets(bound),
                })
            }
            _ => None,
        };
        let dtype = if index.is_some() { DType::I32 } else { elem.dtype() };
        let values: Vec<Size> = shape.iter().map(|s| self.with_values(s)).collect();
        let temp = Temp {
            name: name.name.clone(),
            dtype,
            index: index.clone(),
            shape: values.clone(),
            span: name.span,
        };
        self.temps.push(temp);
        self.objects.push(HostArg::Temp(self.temps.len() - 1));
        self.e.objects.push(Object {
            name: name.name.clone(),
            param: usize::MAX,
            dtype,
            mode: Mode::InOut,
            index,
            shape: values,
            span: name.span,
        });
        self.e.shapes.push(shape);
        let id = ObjectId::new(self.e.objects.len() - 1);
        self.e.bind(&name.name, Binding::Val(Val::Tensor(id)));
    }

    // ------------------------------------------------------------ if

    fn branch(
        &mut self,
        condition: &'m Expr,
        then: &'m ast::Block,
        otherwise: Option<&'m ast::Else>,
        out: &mut Vec<HostStep>,
    ) {
        let arm = |this: &mut Self, taken: bool, out: &mut Vec<HostStep>| match (taken, otherwise) {
            (true, _) => out.extend(this.steps(&then.stmts)),
            (false, Some(ast::Else::Block(b))) => out.extend(this.steps(&b.stmts)),
            (false, Some(ast::Else::If(i, _))) => {
                this.branch(&i.condition, &i.then, i.otherwise.as_ref(), out)
            }
            (false, None) => {}
        };
        match self.condition(condition) {
            None => {
                // Look into both arms for their own faults.
                arm(self, true, &mut vec![]);
                arm(self, false, &mut vec![]);
            }
            Some(Condition::Known(taken)) => arm(self, taken, out),
            Some(Condition::Relation(lhs, op, rhs)) => {
                let (mut yes, mut no) = (vec![], vec![]);
                arm(self, true, &mut yes);
                arm(self, false, &mut no);
                out.push(HostStep::If { lhs, op, rhs, then: yes, otherwise: no });
            }
        }
    }

    fn condition(&mut self, e: &'m Expr) -> Option<Condition> {
        match &e.kind {
            ExprKind::Paren(e) => self.condition(e),
            ExprKind::Binary { op, lhs, rhs } if relation(*op).is_some() => {
                let (a, b, op) = (self.size(lhs), self.size(rhs), relation(*op)?);
                let (a, b) = (self.with_values(&a?), self.with_values(&b?));
                Some(match (a.as_const(), b.as_const()) {
                    (Some(x), Some(y)) => Condition::Known(op.holds(x, y)),
                    _ => Condition::Relation(a, op, b),
                })
            }
            ExprKind::Binary { op: op @ (BinaryOp::AndAnd | BinaryOp::OrOr), lhs, rhs } => {
                let decided = *op == BinaryOp::OrOr;
                match (self.condition(lhs)?, self.condition(rhs)?) {
                    (Condition::Known(b), other) | (other, Condition::Known(b)) => {
                        Some(if b == decided { Condition::Known(b) } else { other })
                    }
                    _ => {
                        let d = Diagnostic::error("T0258", e.span, "an `if` of an op compares two sizes");
                        self.e.report(d.help("nest two `if`s"));
                        None
                    }
                }
            }
            _ => {
                let v = self.e.eval(e);
                match self.e.truth(v) {
                    Val::Const(Const::Bool(b)) => Some(Condition::Known(b)),
                    Val::Error => None,
                    _ => {
                        let d = Diagnostic::error("T0258", e.span, "an `if` of an op compares two sizes");
                        self.e.report(
                            d.help("host code knows sizes, consts and which optional tensors are there"),
                        );
                        None
                    }
                }
            }
        }
    }

    // ------------------------------------------------------------ run

    fn run(
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
        let ok = self.fits(k, &passed, args, &mut instance, span);
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
        let signature = &self.kernels[kernel].2.signature;
        if signature.params.len() != k.params.len() {
            let extra: Vec<String> =
                signature.params[k.params.len()..].iter().map(|p| p.name().to_string()).collect();
            let d = Diagnostic::error(
                "T0258",
                span,
                format!("`run` cannot pass the captured tensors {}", extra.join(", ")),
            );
            self.e.report(d.help("give the kernel a function that captures nothing"));
            return None;
        }
        let args = passed.into_iter().map(|p| p.arg).collect();
        Some(HostStep::Launch { kernel, args, span })
    }

    /// Arguments in the order of the kernel's parameters.
    fn passed(&mut self, k: &'m ast::Kernel, args: &'m [Arg], span: Span) -> Option<Vec<Passed>> {
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

    fn argument(&mut self, e: &'m Expr) -> Option<Passed> {
        match &e.kind {
            ExprKind::Paren(e) => return self.argument(e),
            ExprKind::Subscript { base, subscripts, otherwise: None } => {
                return self.part(base, subscripts, e.span);
            }
            _ => {}
        }
        match self.e.eval(e) {
            Val::Error => None,
            Val::Tensor(o) => {
                let object = &self.e.objects[o.index()];
                let kind = PassedKind::Tensor {
                    dtype: object.dtype,
                    index: object.index.is_some(),
                    mode: object.mode,
                    shape: object.shape.clone(),
                };
                Some(Passed { arg: self.objects[o.index()].clone(), kind })
            }
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

    /// `z[l - 1]`, `x[lo..hi, :]`: a part of a tensor.
    fn part(&mut self, base: &'m Expr, subscripts: &'m [Subscript], span: Span) -> Option<Passed> {
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
    fn instance(&mut self, k: &'m ast::Kernel, generics: &'m [(Ident, Expr)]) -> Option<Instance> {
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
                    out.functions.insert(n, f.name.name.clone());
                }
            }
        }
        Some(out)
    }

    /// Checks arguments against parameters, and takes dtypes and consts from them.
    fn fits(
        &mut self,
        k: &'m ast::Kernel,
        passed: &[Passed],
        args: &'m [Arg],
        instance: &mut Instance,
        span: Span,
    ) -> bool {
        let mut ok = true;
        let mut dims: BTreeMap<&'m str, Size> = BTreeMap::new();
        for (n, (p, a)) in k.params.iter().zip(passed).enumerate() {
            let by_name = args.iter().find(|a| a.name.as_ref().is_some_and(|x| x.name == p.name.name));
            let at = by_name.or(args.get(n)).map_or(span, |a| a.value.span);
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
        self.solve(k, passed, instance);
        ok
    }

    /// Consts that follow from a shape linearly: `E` from `off: offsets<R>[E + 1]`.
    fn solve(&mut self, k: &'m ast::Kernel, passed: &[Passed], instance: &mut Instance) {
        let is_const =
            |n: &str| k.generics.iter().any(|g| matches!(g, Generic::Const { name, .. } if name.name == n));
        for (p, a) in k.params.iter().zip(passed) {
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

    fn mode_fits(&mut self, p: &ast::Param, have: Mode, at: Span) -> bool {
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
    fn dtype_fits(
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
    fn kernel(&mut self, k: &'m ast::Kernel, item: ItemRef, instance: Instance, span: Span) -> Option<usize> {
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

enum Condition {
    Known(bool),
    Relation(Size, Relation, Size),
}

fn optional(p: &ast::Param) -> bool {
    p.mode.is_some_and(|m| m.optional)
}

/// A size over names, without asking what they are.
fn plain_size(e: &Expr) -> Option<Size> {
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

/// A subscript in a size: it would read device data.
fn reads_device(e: &Expr) -> Option<Span> {
    match &e.kind {
        ExprKind::Subscript { .. } => Some(e.span),
        ExprKind::Paren(x) | ExprKind::Unary { operand: x, .. } => reads_device(x),
        ExprKind::Binary { lhs, rhs, .. } => reads_device(lhs).or_else(|| reads_device(rhs)),
        ExprKind::Call { args, .. } => args.iter().find_map(|a| reads_device(&a.value)),
        _ => None,
    }
}

impl TypedProgram {
    /// Temporaries, steps, then each kernel.
    pub fn print(&self) -> String {
        let mut out = format!("op {}\n", self.name);
        for t in &self.temps {
            let shape: Vec<String> = t.shape.iter().map(|s| s.to_string()).collect();
            out.push_str(&format!("    temp {}: {}[{}]\n", t.name, t.dtype, shape.join(", ")));
        }
        print_steps(self, &self.steps, 1, &mut out);
        for k in &self.kernels {
            out.push_str(&k.print());
        }
        out
    }

    fn show_arg(&self, a: &HostArg) -> String {
        match a {
            HostArg::Param(n) => self.signature.params.get(*n).map_or("?", ParamKind::name).to_string(),
            HostArg::Temp(n) => self.temps.get(*n).map_or("?".into(), |t| t.name.clone()),
            HostArg::Part { of, subscripts } => {
                let subs: Vec<String> = subscripts
                    .iter()
                    .map(|s| match s {
                        HostPart::At(v) => v.to_string(),
                        HostPart::All => ":".into(),
                        HostPart::Range(lo, hi) => format!("{lo}..{hi}"),
                    })
                    .collect();
                format!("{}[{}]", self.show_arg(of), subs.join(", "))
            }
            HostArg::Size(s) => s.to_string(),
            HostArg::Float(v) => format!("{v:?}"),
            HostArg::Absent => "absent".into(),
        }
    }
}

fn print_steps(p: &TypedProgram, steps: &[HostStep], depth: usize, out: &mut String) {
    let pad = "    ".repeat(depth);
    for s in steps {
        match s {
            HostStep::Launch { kernel, args, .. } => {
                let name = p.kernels.get(*kernel).map_or("?", |k| k.name.as_str());
                let args: Vec<String> = args.iter().map(|a| p.show_arg(a)).collect();
                out.push_str(&format!("{pad}launch {kernel} {name}({})\n", args.join(", ")));
            }
            HostStep::Let { name, value } => out.push_str(&format!("{pad}let {name} = {value}\n")),
            HostStep::For { name, lo, hi, body } => {
                out.push_str(&format!("{pad}for {name} in {lo}..{hi}\n"));
                print_steps(p, body, depth + 1, out);
            }
            HostStep::If { lhs, op, rhs, then, otherwise } => {
                out.push_str(&format!("{pad}if {lhs} {} {rhs}\n", relation_text(*op)));
                print_steps(p, then, depth + 1, out);
                if !otherwise.is_empty() {
                    out.push_str(&format!("{pad}else\n"));
                    print_steps(p, otherwise, depth + 1, out);
                }
            }
        }
    }
}
