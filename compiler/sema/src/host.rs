//! `op`s: host code that launches kernels. It computes with sizes only and never reads what is on the device.
//!
//! Each `run` instantiates its kernel for the dtypes and sizes of the arguments; equal instances are made once.
//!
//! ```text
//! temp h: f32[N, F];  run up(x, h);  run up(y, h);      one kernel, two launches
//! ```

use crate::{
    elab::{ConstValue, Elab, Frame, Instance, MAX_DEPTH},
    grad::{Derived, Form},
    kernel::{dedupe, relation},
    module::{ItemRef, Module},
    typed::*,
    value::{Binding, Const, Scope, Val},
};
use std::collections::BTreeSet;
use tile_base::{DType, Diagnostic, IndexKind, Mode, Size, Span, signature::Relation};
use tile_syntax::ast::{self, BinaryOp, Expr, ExprKind, Ident, Stmt, StmtKind, TypeKind};

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

pub(crate) struct Host<'m> {
    pub(crate) e: Elab<'m>,
    /// What each object of the elaborator is to a launch.
    pub(crate) objects: Vec<HostArg>,
    pub(crate) temps: Vec<Temp>,
    pub(crate) kernels: Vec<(ItemRef, Instance, TypedKernel)>,
    /// Names of host integers.
    pub(crate) integers: BTreeSet<String>,
}

/// An argument of a launch and what is known of it.
pub(crate) struct Passed {
    pub(crate) arg: HostArg,
    pub(crate) kind: PassedKind,
}

pub(crate) enum PassedKind {
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
    pub(crate) fn op(
        &mut self,
        op: &'m ast::HostOp,
        item: ItemRef,
        instance: &Instance,
    ) -> Option<TypedProgram> {
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
        let derived = self.e.m.derived(item);
        for (result, input) in derived.iter().flat_map(|d| &d.ties) {
            if self.e.absent.contains(input) {
                self.e.absent.insert(result.clone());
            }
        }
        let forward = derived.filter(|d| d.form == Form::Vjp);
        let tiles: Vec<&'m ast::TileDecl> = forward
            .iter()
            .flat_map(|d| &d.forward.stmts)
            .chain(&op.body.stmts)
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
        self.e.captures_of(&op.generics);
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
        let mut steps = forward.map_or(vec![], |d| self.forward(d, &op.params));
        steps.extend(self.steps(&op.body.stmts));
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

    /// Runs the forward of a `grad` where an output of it is asked for or the backward needs one. What is not asked for is
    /// temporary.
    fn forward(&mut self, d: &'m Derived, params: &'m [ast::Param]) -> Vec<HostStep> {
        let is_there = |this: &Self, name: &String| !this.e.absent.contains(name);
        if !d.outputs.iter().any(|o| d.saved.contains(o) || is_there(self, o)) {
            return vec![];
        }
        for p in params.iter().filter(|p| d.outputs.contains(&p.name.name)) {
            let name = &p.name.name;
            if !is_there(self, name) && (d.saved.contains(name) || d.required.contains(name)) {
                self.temp(&p.name, &p.ty);
            }
        }
        self.steps(&d.forward.stmts)
    }

    /// A tile size of an op has to be known when its kernels are compiled.
    pub(crate) fn tile(&mut self, t: &'m ast::TileDecl, instance: &Instance) {
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

    pub(crate) fn steps(&mut self, stmts: &'m [Stmt]) -> Vec<HostStep> {
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

    pub(crate) fn not_host(&mut self, span: Span, what: &str) {
        let d = Diagnostic::error("T0258", span, format!("{what} does not stand in an op"));
        self.e.report(
            d.note("an op is host code: `temp`, `let` of sizes, `run`, `if`, `for` over a range")
                .help("put it into a kernel"),
        );
    }

    pub(crate) fn step(&mut self, s: &'m Stmt, out: &mut Vec<HostStep>) {
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
    pub(crate) fn integer(&mut self, n: &'m Ident) {
        self.integers.insert(n.name.clone());
        let at = match self.e.signature.dims.iter().position(|d| *d == n.name) {
            Some(at) => at as u32,
            None => u32::MAX,
        };
        let dim = TExpr::new(TExprKind::Dim(at), Type::scalar(Elem::Index), n.span);
        self.e.bind(&n.name, Binding::Val(Val::Expr(dim)));
    }

    pub(crate) fn with_values(&self, s: &Size) -> Size {
        let s = s.substitute(&|n| self.e.const_value(n).map(Size::Const));
        s.as_const().map_or(s, Size::Const)
    }

    pub(crate) fn size(&mut self, e: &'m Expr) -> Option<Size> {
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

    pub(crate) fn temp(&mut self, name: &'m Ident, ty: &'m ast::Type) {
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

    pub(crate) fn branch(
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

    pub(crate) fn condition(&mut self, e: &'m Expr) -> Option<Condition> {
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
}

pub(crate) enum Condition {
    Known(bool),
    Relation(Size, Relation, Size),
}

/// A subscript in a size: it would read device data.
pub(crate) fn reads_device(e: &Expr) -> Option<Span> {
    match &e.kind {
        ExprKind::Subscript { .. } => Some(e.span),
        ExprKind::Paren(x) | ExprKind::Unary { operand: x, .. } => reads_device(x),
        ExprKind::Binary { lhs, rhs, .. } => reads_device(lhs).or_else(|| reads_device(rhs)),
        ExprKind::Call { args, .. } => args.iter().find_map(|a| reads_device(&a.value)),
        _ => None,
    }
}
