//! The state of elaborating one kernel, and what every part of it needs: names, locals, statements, messages.

use crate::{module::*, typed::*, value::*};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tile_base::{DType, Diagnostic, Signature, Size, Span, op::*};
use tile_syntax::ast;

/// A choice of dtypes, consts, functions and left-out optional tensors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Instance {
    pub dtypes: BTreeMap<String, DType>,
    pub consts: BTreeMap<String, ConstValue>,
    pub functions: BTreeMap<String, String>,
    pub absent: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ConstValue {
    Int(i64),
    Bool(bool),
    Float(f64),
}

/// Limits on what one kernel may expand to; see T0249.
pub(crate) const MAX_STATEMENTS: usize = 100_000;
/// Compile-time integers lie within ± this.
pub(crate) const MAX_INT: i64 = 1 << 61;
pub(crate) const MAX_UNROLL: i64 = 4096;
pub(crate) const MAX_CALLS: usize = 64;
pub(crate) const MAX_DEPTH: usize = 200;

/// What is known of a span beside its public part.
pub(crate) struct SpanData {
    pub lo: TExpr,
    pub hi: TExpr,
    /// A stream's span: the axis has a run-time extent and has to be contracted.
    pub hidden: bool,
    /// Has a step number (not of `span(..)`).
    pub numbered: bool,
}

/// A function body being elaborated (the kernel's own at the bottom).
pub(crate) struct Frame<'m> {
    pub file: usize,
    pub scopes: Vec<Scope<'m>>,
    /// Path of the call, with its dot: `st.`.
    pub prefix: String,
    /// The function, for messages and the recursion check.
    pub item: ItemRef,
    pub name: String,
}

/// How `.start` and the like of a tile-sized span may be used here (rule 4).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum TileFields {
    Refuse,
    /// In a `let`: the local is marked instead.
    Mark,
    /// In `skip` and `assert`, and for bounds that cover the whole span.
    Allow,
}

/// What encloses a statement, innermost last.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nest {
    For { claims: bool },
    While,
    Unroll,
}

pub(crate) struct Elab<'m> {
    pub m: &'m Module,
    pub diags: Vec<Diagnostic>,
    pub notes: Vec<Diagnostic>,
    pub signature: Signature,
    pub objects: Vec<Object>,
    /// Shapes of the objects with the names of consts kept.
    pub shapes: Vec<Vec<Size>>,
    /// Values of the integer consts, by the name that sizes use.
    pub sizes: HashMap<String, i64>,
    /// `unique(..)` was said in the place being read.
    pub pending_unique: bool,
    /// In the body of a named view index arithmetic may run over run-time axes.
    pub in_view: bool,
    /// The subscript being read has an `else`.
    pub else_follows: bool,
    pub absent: BTreeSet<String>,
    /// Tensors of the signature that are optional and present.
    pub optional: BTreeSet<ObjectId>,
    pub tiles: Vec<TileSize>,
    pub spans: Vec<SpanInfo>,
    pub span_data: Vec<SpanData>,
    pub locals: Vec<Local>,
    pub claims: Vec<ClaimInfo>,
    /// Functions of the main file that were inlined.
    pub inlined: BTreeSet<String>,
    pub blocks: Vec<Vec<TStmt>>,
    pub frames: Vec<Frame<'m>>,
    pub nest: Vec<Nest>,
    pub tile_fields: TileFields,
    pub saw_tile_field: bool,
    /// Locals that hold `.start` and the like of a tile-sized span.
    pub marked: BTreeSet<LocalId>,
    /// Locals that may hold -1 for "none".
    pub maybe_none: BTreeSet<LocalId>,
    /// Exclusive upper bounds of index locals that are never negative.
    pub below: HashMap<LocalId, Size>,
    /// What an immutable index scalar was bound to.
    pub defs: HashMap<LocalId, TExpr>,
    /// The `let` being elaborated: names streamed dots and calls.
    pub hint: Option<String>,
    pub statements: usize,
    pub depth: usize,
    pub gave_up: bool,
    /// Bounds of index types, whose names have to stand in some shape.
    pub bounds: Vec<(Size, Span)>,
    /// `name.tensor` of captured tensors already in the signature.
    pub captured: HashMap<String, Option<ObjectId>>,
}

impl<'m> Elab<'m> {
    pub fn new(m: &'m Module) -> Elab<'m> {
        Elab {
            m,
            diags: vec![],
            notes: vec![],
            signature: Signature::default(),
            objects: vec![],
            shapes: vec![],
            sizes: HashMap::new(),
            pending_unique: false,
            else_follows: false,
            in_view: false,
            absent: BTreeSet::new(),
            optional: BTreeSet::new(),
            tiles: vec![],
            spans: vec![],
            span_data: vec![],
            locals: vec![],
            claims: vec![],
            inlined: BTreeSet::new(),
            blocks: vec![vec![]],
            frames: vec![],
            nest: vec![],
            tile_fields: TileFields::Refuse,
            saw_tile_field: false,
            marked: BTreeSet::new(),
            maybe_none: BTreeSet::new(),
            below: HashMap::new(),
            defs: HashMap::new(),
            hint: None,
            statements: 0,
            depth: 0,
            gave_up: false,
            bounds: vec![],
            captured: HashMap::new(),
        }
    }

    // ------------------------------------------------------------ messages

    /// Reports; the value silences what follows.
    pub fn fail(&mut self, d: Diagnostic) -> Val<'m> {
        self.diags.push(d);
        Val::Error
    }

    pub fn report(&mut self, d: Diagnostic) {
        self.diags.push(d);
    }

    /// Stops an expansion that grows without end, once.
    pub fn give_up(&mut self, span: Span, what: &str) -> Val<'m> {
        if !self.gave_up {
            self.gave_up = true;
            self.report(
                Diagnostic::error("T0249", span, format!("{what}: this kernel expands to too much"))
                    .help("use a `for` loop instead of `unroll`, a shorter array, or fewer nested calls"),
            );
        }
        Val::Error
    }

    // ------------------------------------------------------------ names

    pub fn frame(&self) -> &Frame<'m> {
        self.frames.last().expect("a frame is open")
    }

    pub fn frame_mut(&mut self) -> &mut Frame<'m> {
        self.frames.last_mut().expect("a frame is open")
    }

    pub fn lookup(&self, name: &str) -> Option<&Binding<'m>> {
        self.frame().scopes.iter().rev().find_map(|s| s.get(name))
    }

    pub fn bind(&mut self, name: &'m str, binding: Binding<'m>) {
        if let Some(scope) = self.frame_mut().scopes.last_mut() {
            scope.insert(name, binding);
        }
    }

    /// Runs `inside` with a scope of its own.
    pub fn scoped<R>(&mut self, inside: impl FnOnce(&mut Self) -> R) -> R {
        self.frame_mut().scopes.push(Scope::new());
        let result = inside(self);
        self.frame_mut().scopes.pop();
        result
    }

    /// Names that can be meant by a misspelt one.
    pub fn suggest(&self, name: &str) -> Option<String> {
        let own = self.frame().scopes.iter().flat_map(|s| s.keys().copied());
        let items = self.m.names(self.frame().file);
        nearest(name, own.chain(items).chain(crate::builtins::NAMES.iter().copied())).map(str::to_string)
    }

    // ------------------------------------------------------------ statements and locals

    pub fn emit(&mut self, kind: TStmtKind, span: Span) {
        self.statements += 1;
        if self.statements > MAX_STATEMENTS {
            self.give_up(span, "too many statements");
            return;
        }
        if let Some(block) = self.blocks.last_mut() {
            block.push(TStmt { kind, span });
        }
    }

    /// The statements that `inside` emits.
    pub fn block<R>(&mut self, inside: impl FnOnce(&mut Self) -> R) -> (Vec<TStmt>, R) {
        self.blocks.push(vec![]);
        let result = inside(self);
        (self.blocks.pop().unwrap_or_default(), result)
    }

    pub fn path(&self, name: &str) -> String {
        format!("{}{name}", self.frame().prefix)
    }

    pub fn local(&mut self, name: &str, ty: Type, mutable: bool, span: Span) -> LocalId {
        let path = self.path(name);
        self.locals.push(Local { path, ty, mutable, span });
        LocalId::new(self.locals.len() - 1)
    }

    pub fn read(&self, local: LocalId, span: Span) -> TExpr {
        TExpr::new(TExprKind::Local(local), self.locals[local.index()].ty.clone(), span)
    }

    /// Binds a value to a new immutable local, keeping what is known of it.
    pub fn let_local(&mut self, name: &str, value: TExpr, span: Span) -> LocalId {
        let local = self.local(name, value.ty.clone(), false, span);
        if value.ty.elem == Elem::Index {
            if value.ty.is_scalar() {
                if let Some(b) = self.exclusive_bound(&value) {
                    self.below.insert(local, b);
                }
                self.defs.insert(local, value.clone());
            }
            if self.none_leaf(&value).is_some() {
                self.maybe_none.insert(local);
            }
        }
        self.emit(TStmtKind::Let { local, value }, span);
        local
    }

    pub fn new_span(
        &mut self,
        name: &str,
        step: Step,
        lo: TExpr,
        hi: TExpr,
        numbered: bool,
        span: Span,
    ) -> SpanId {
        let path = self.path(name);
        let hidden = step == Step::Hidden;
        self.spans.push(SpanInfo { path, name: name.to_string(), step, span });
        self.span_data.push(SpanData { lo, hi, hidden, numbered });
        SpanId::new(self.spans.len() - 1)
    }

    // ------------------------------------------------------------ types as text

    pub fn show_axis(&self, axis: &Axis) -> String {
        match axis {
            Axis::One => "1".into(),
            Axis::Fixed { size, .. } => size.to_string(),
            Axis::Span { span, times } => {
                let info = &self.spans[span.index()];
                let name = match self.span_data[span.index()].hidden {
                    true => self.show_range(*span),
                    false => info.name.clone(),
                };
                if *times == 1 { name } else { format!("{name} * {times}") }
            }
        }
    }

    /// The range of a hidden span: `K`, `2..N`.
    pub fn show_range(&self, span: SpanId) -> String {
        let d = &self.span_data[span.index()];
        let hi = self.show_size(&d.hi);
        if d.lo.is_zero() { hi } else { format!("{}..{hi}", self.show_size(&d.lo)) }
    }

    pub fn show_size(&self, e: &TExpr) -> String {
        match self.as_size(e) {
            Some(s) => self.user_size(&s).to_string(),
            None => "..".into(),
        }
    }

    /// Replaces the names given to locals by the user's.
    fn user_size(&self, s: &Size) -> Size {
        s.substitute(&|n| {
            let at: usize = n.strip_prefix("%v")?.parse().ok()?;
            Some(Size::name(self.locals.get(at)?.path.clone()))
        })
    }

    pub fn show(&self, ty: &Type) -> String {
        if ty.axes.is_empty() {
            return ty.elem.name().to_string();
        }
        let axes: Vec<String> = ty.axes.iter().map(|a| self.show_axis(a)).collect();
        format!("{}[{}]", ty.elem.name(), axes.join(", "))
    }

    // ------------------------------------------------------------ sizes and bounds

    /// An index expression as a polynomial over dimensions and opaque locals.
    pub fn as_size(&self, e: &TExpr) -> Option<Size> {
        if e.ty.elem != Elem::Index || !e.ty.is_scalar() {
            return None;
        }
        Some(match &e.kind {
            TExprKind::Literal(Literal::Int(v)) => Size::Const(*v),
            TExprKind::Dim(n) => Size::name(self.signature.dims.get(*n as usize)?.clone()),
            TExprKind::Local(l) => match self.defs.get(l) {
                Some(def) if !matches!(def.kind, TExprKind::Load(_)) => {
                    self.as_size(def).unwrap_or_else(|| Size::Name(format!("%v{}", l.0)))
                }
                _ if self.locals[l.index()].mutable => return None,
                _ => Size::Name(format!("%v{}", l.0)),
            },
            TExprKind::SpanField(s, f) => Size::Name(format!("%{}.{f:?}", s.0)),
            TExprKind::Elem { op, args } => {
                let arg = |n: usize| self.as_size(args.get(n)?).map(Box::new);
                match op {
                    ElemOp::Add => Size::Add(arg(0)?, arg(1)?),
                    ElemOp::Sub => Size::Sub(arg(0)?, arg(1)?),
                    ElemOp::Mul => Size::Mul(arg(0)?, arg(1)?),
                    ElemOp::Div => Size::FloorDiv(arg(0)?, arg(1)?),
                    ElemOp::Rem => Size::Mod(arg(0)?, arg(1)?),
                    ElemOp::Min => Size::Min(arg(0)?, arg(1)?),
                    ElemOp::Max => Size::Max(arg(0)?, arg(1)?),
                    ElemOp::Neg => match &args[0].kind {
                        TExprKind::Elem { op: ElemOp::Div, args: d }
                            if matches!(&d[0].kind, TExprKind::Elem { op: ElemOp::Neg, .. }) =>
                        {
                            let TExprKind::Elem { args: n, .. } = &d[0].kind else { return None };
                            Size::CeilDiv(self.as_size(&n[0])?.into(), self.as_size(&d[1])?.into())
                        }
                        _ => Size::Sub(Size::Const(0).into(), arg(0)?),
                    },
                    _ => return None,
                }
            }
            _ => return None,
        })
    }

    /// A size that no index expression of 0.. reaches, where one is known.
    pub fn exclusive_bound(&self, e: &TExpr) -> Option<Size> {
        match &e.kind {
            TExprKind::Local(l) => self.below.get(l).cloned(),
            TExprKind::Load(a) => match self.objects[a.object.index()].index.as_ref()? {
                tile_base::IndexKind::Id(n) => Some(n.clone()),
                _ => None,
            },
            TExprKind::Reshape { x, .. } | TExprKind::Broadcast(x) => self.exclusive_bound(x),
            TExprKind::Literal(Literal::Int(v)) if *v >= 0 => Some(Size::Const(v.checked_add(1)?)),
            TExprKind::Elem { op: ElemOp::Add, args } => {
                let by = args[1].as_int().filter(|c| *c >= 0)?;
                Some(Size::Add(self.exclusive_bound(&args[0])?.into(), Size::Const(by).into()))
            }
            TExprKind::SpanField(s, SpanField::Id) => {
                let d = &self.span_data[s.index()];
                let Step::Fixed(step) = self.spans[s.index()].step else { return None };
                let hi = d.lo.is_zero().then(|| self.inclusive_bound(&d.hi))??;
                Some(Size::CeilDiv(hi.into(), Size::Const(step as i64).into()))
            }
            _ => None,
        }
    }

    /// Whether a bound is at most a dimension.
    pub fn within(&self, bound: &Size, dim: &Size) -> bool {
        let value = |s: &Size| {
            let s = s.substitute(&|n| self.const_value(n).map(Size::Const));
            s.as_const().map_or(s, Size::Const)
        };
        let (bound, dim) = (value(bound), value(dim));
        bound.same(&dim) || Size::Sub(dim.into(), bound.into()).simplified_const().is_some_and(|n| n >= 0)
    }

    /// A size that an index expression of 0.. does not pass, where one is known.
    pub fn inclusive_bound(&self, e: &TExpr) -> Option<Size> {
        match &e.kind {
            TExprKind::Dim(n) => Some(Size::name(self.signature.dims.get(*n as usize)?.clone())),
            TExprKind::Literal(Literal::Int(v)) if *v >= 0 => Some(Size::Const(*v)),
            TExprKind::Local(l) => match self.defs.get(l) {
                Some(d) => self.inclusive_bound(d),
                None => self.below.get(l).cloned(),
            },
            TExprKind::Load(a) => match self.objects[a.object.index()].index.as_ref()? {
                tile_base::IndexKind::Count(n)
                | tile_base::IndexKind::Offsets(n)
                | tile_base::IndexKind::Id(n) => Some(n.clone()),
                _ => None,
            },
            // A span lies in its range.
            TExprKind::SpanField(s, SpanField::Start | SpanField::End) => {
                let d = &self.span_data[s.index()];
                self.inclusive_bound(&d.lo).and_then(|_| self.inclusive_bound(&d.hi))
            }
            _ => {
                // A product or sum of dimensions is its own bound.
                let s = self.as_size(e)?;
                s.names().iter().all(|n| self.signature.dims.iter().any(|d| d == n)).then_some(s)
            }
        }
    }

    /// The part of an index expression that may be -1 for "none".
    pub fn none_leaf(&self, e: &TExpr) -> Option<TExpr> {
        match &e.kind {
            TExprKind::Load(a) => {
                let kind = self.objects[a.object.index()].index.as_ref();
                matches!(kind, Some(tile_base::IndexKind::IdOrNone(_))).then(|| e.clone())
            }
            TExprKind::Local(l) => self.maybe_none.contains(l).then(|| e.clone()),
            TExprKind::Reshape { x, axes } => {
                let leaf = self.none_leaf(x)?;
                if leaf.ty.axes != x.ty.axes {
                    return Some(leaf);
                }
                let kind = TExprKind::Reshape { x: Box::new(leaf), axes: axes.clone() };
                Some(TExpr::new(kind, e.ty.clone(), e.span))
            }
            TExprKind::Elem {
                op: ElemOp::Add | ElemOp::Sub | ElemOp::Mul | ElemOp::Div | ElemOp::Rem,
                args,
            } => args.iter().find_map(|a| self.none_leaf(a)),
            _ => None,
        }
    }

    /// Whether the value has an axis that has to be contracted.
    pub fn hidden_axis(&self, ty: &Type) -> Option<SpanId> {
        ty.axes.iter().find_map(|a| match a {
            Axis::Span { span, .. } if self.span_data[span.index()].hidden => Some(*span),
            _ => None,
        })
    }

    pub fn const_value(&self, name: &str) -> Option<i64> {
        self.sizes.get(name).copied()
    }

    /// A size as an index expression.
    pub fn size_expr(&self, size: &Size, span: Span) -> TExpr {
        let two = |op: ElemOp, a: &Size, b: &Size| {
            let args = vec![self.size_expr(a, span), self.size_expr(b, span)];
            TExpr::new(TExprKind::Elem { op, args }, Type::scalar(Elem::Index), span)
        };
        if let Ok(v) = size.eval(&|n| self.const_value(n)) {
            return TExpr::int(v, span);
        }
        match size {
            Size::Const(v) => TExpr::int(*v, span),
            Size::Name(n) => match self.signature.dims.iter().position(|d| d == n) {
                Some(at) => TExpr::new(TExprKind::Dim(at as u32), Type::scalar(Elem::Index), span),
                None => TExpr::int(0, span),
            },
            Size::Add(a, b) => two(ElemOp::Add, a, b),
            Size::Sub(a, b) => two(ElemOp::Sub, a, b),
            Size::Mul(a, b) => two(ElemOp::Mul, a, b),
            Size::FloorDiv(a, b) => two(ElemOp::Div, a, b),
            Size::Mod(a, b) => two(ElemOp::Rem, a, b),
            Size::Min(a, b) => two(ElemOp::Min, a, b),
            Size::Max(a, b) => two(ElemOp::Max, a, b),
            Size::CeilDiv(a, b) => {
                let (a, b) = (self.size_expr(a, span), self.size_expr(b, span));
                ceil_div(a, b)
            }
        }
    }

    /// Same axis, or two streams over one range.
    pub fn agree(&self, a: &Axis, b: &Axis) -> bool {
        if a.agrees(b) {
            return true;
        }
        let (Axis::Span { span: s, times: m }, Axis::Span { span: t, times: n }) = (a, b) else {
            return false;
        };
        let (ds, dt) = (&self.span_data[s.index()], &self.span_data[t.index()]);
        let same = |x: &TExpr, y: &TExpr| match (self.as_size(x), self.as_size(y)) {
            (Some(x), Some(y)) => x.same(&y),
            _ => crate::walk::same_value(x, y),
        };
        m == n && ds.hidden && dt.hidden && same(&ds.lo, &dt.lo) && same(&ds.hi, &dt.hi)
    }

    /// Guards against deeply nested input.
    pub fn deeper<R>(&mut self, span: Span, refused: R, inside: impl FnOnce(&mut Self) -> R) -> R {
        if self.depth >= MAX_DEPTH || self.gave_up {
            self.give_up(span, "nested too deeply");
            return refused;
        }
        self.depth += 1;
        let result = inside(self);
        self.depth -= 1;
        result
    }
}

/// `cdiv(a, b)` as `-((-a) / b)`, since `/` floors.
pub(crate) fn ceil_div(a: TExpr, b: TExpr) -> TExpr {
    let span = a.span;
    let make = |op, args| TExpr::new(TExprKind::Elem { op, args }, Type::scalar(Elem::Index), span);
    let minus = make(ElemOp::Neg, vec![a]);
    let quotient = make(ElemOp::Div, vec![minus, b]);
    make(ElemOp::Neg, vec![quotient])
}

/// The name in a pattern or path, for messages.
pub(crate) fn ident_of(e: &ast::Expr) -> Option<&str> {
    match &e.kind {
        ast::ExprKind::Name(n) => Some(n),
        ast::ExprKind::Paren(e) => ident_of(e),
        _ => None,
    }
}
