//! From the syntax tree of a spec to a [`Plan`]: names resolved, extents of indices found, functions inlined.
//!
//! A spec is compiled for one call: dimensions, `const` parameters and scalar arguments are numbers here, and an
//! `if` over them (or over the presence of an optional tensor) keeps one arm. Only what depends on data remains.
//!
//! Indices and arrays live in name spaces of their own: in `k[t, h, k]` the subscript `k` is an index and the base
//! `k` an array, because an array without subscripts means nothing in index notation.

mod body;
mod call;
mod expr;
mod extent;
mod reducer;
mod subscript;

use super::{
    array::{ArrayInfo, Role},
    code::{ArrayId, Code, Deps, LetId, MAX_SLOTS, NodeId, Op, Slot, Ty},
    equation::{Equation, Free, Loop, Plan, RangeKind, Small, Step, TargetAxis},
};
use extent::names_in;
use std::collections::{BTreeMap, BTreeSet};
use tile_base::{Diagnostic, Span};
use tile_sema::Module;
use tile_syntax::ast::{AssignOp, Expr, ExprKind, Ident, Spec, SpecIndex, SpecStmt, SpecStmtKind};

pub(super) type Fallible<T> = Result<T, Box<Diagnostic>>;

pub(super) fn refuse<T>(d: Diagnostic) -> Fallible<T> {
    Err(Box::new(d))
}

/// What surrounds the spec: the call it is evaluated for.
pub(super) struct World<'a> {
    pub module: &'a Module,
    /// File of the spec.
    pub file: usize,
    /// Dimensions, consts and scalar arguments.
    pub numbers: BTreeMap<String, (f64, Ty)>,
    /// Optional tensors: whether this call has them.
    pub optional: BTreeMap<String, bool>,
    /// Function parameters of the kernel: the function each stands for, as `file, item`.
    pub functions: BTreeMap<String, (usize, usize)>,
}

/// Arrays known so far.
#[derive(Default)]
pub(super) struct Arrays {
    pub infos: Vec<ArrayInfo>,
    /// Innermost definition last.
    pub names: Vec<(String, ArrayId)>,
}

impl Arrays {
    pub fn find(&self, name: &str) -> Option<ArrayId> {
        self.names.iter().rev().find(|(n, _)| n == name).map(|&(_, id)| id)
    }

    pub fn add(&mut self, info: ArrayInfo) -> ArrayId {
        let id = self.infos.len();
        self.names.push((info.name.clone(), id));
        self.infos.push(info);
        id
    }
}

/// A vector: `body` over `slot` in `0..len`.
#[derive(Clone, Debug)]
pub(super) struct Vector {
    pub slot: Slot,
    pub len: NodeId,
    pub body: NodeId,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Scalar(NodeId),
    Vector(Vector),
    Tuple(Vec<Value>),
}

/// What a name of the scalar name space stands for.
#[derive(Clone, Debug)]
pub(super) enum Bound {
    Index(Slot),
    Let(LetId, Ty),
    Value(Value),
}

/// Builds the code of one equation (or of one range or condition).
pub(super) struct Builder<'a> {
    pub world: &'a World<'a>,
    pub arrays: &'a Arrays,
    pub code: Code,
    /// Innermost last.
    pub scopes: Vec<(String, Bound)>,
    /// Lets to be wrapped around what is being built.
    pub lets: Vec<(LetId, NodeId)>,
    /// File whose functions are in scope, and the parameter through which captured tensors are found.
    pub file: usize,
    pub prefix: Option<String>,
    /// Depth of calls being inlined.
    pub calls: usize,
    /// How many loop variables stand around it; they are the first slots and scopes.
    loops: usize,
}

impl<'a> Builder<'a> {
    fn new(world: &'a World<'a>, arrays: &'a Arrays, loops: &[String]) -> Fallible<Self> {
        let mut b = Builder {
            world,
            arrays,
            code: Code::default(),
            scopes: vec![],
            lets: vec![],
            file: world.file,
            prefix: None,
            calls: 0,
            loops: loops.len(),
        };
        for name in loops {
            let slot = b.slot(name, Span::default())?;
            b.scopes.push((name.clone(), Bound::Index(slot)));
        }
        Ok(b)
    }

    fn slot(&mut self, name: &str, span: Span) -> Fallible<Slot> {
        if self.code.slots == MAX_SLOTS {
            return refuse(
                Diagnostic::error("T0480", span, format!("one equation has more than {MAX_SLOTS} indices"))
                    .label("this one is too many")
                    .help("name parts of the equation with `let`"),
            );
        }
        self.code.slots += 1;
        self.code.slot_names.push(name.to_string());
        Ok(self.code.slots - 1)
    }

    /// Builds a node with lets of its own around it.
    fn with_lets(&mut self, build: impl FnOnce(&mut Self) -> Fallible<NodeId>) -> Fallible<NodeId> {
        let outer = std::mem::take(&mut self.lets);
        let result = build(self);
        let lets = std::mem::replace(&mut self.lets, outer);
        Ok(self.wrap(lets, result?))
    }

    fn wrap(&mut self, lets: Vec<(LetId, NodeId)>, node: NodeId) -> NodeId {
        lets.into_iter().rev().fold(node, |body, (id, value)| {
            let (ty, span) = (self.code.types[body], self.code.spans[body]);
            self.code.push(Op::Let { id, value, body }, ty, span)
        })
    }
}

/// Compiles a spec; `arrays` holds the parameters.
pub(super) fn compile(world: &World, arrays: Arrays, spec: &Spec) -> Result<Plan, Vec<Diagnostic>> {
    let mut c = Statements { world, arrays, loops: vec![], read: BTreeSet::new(), diagnostics: vec![] };
    spec.stmts.iter().for_each(|s| names_in(s, &mut c.read));
    let steps = c.block(&spec.stmts);
    match c.diagnostics.is_empty() {
        true => Ok(Plan { arrays: c.arrays.infos, steps }),
        false => Err(c.diagnostics),
    }
}

struct Statements<'a> {
    world: &'a World<'a>,
    arrays: Arrays,
    loops: Vec<String>,
    /// Every name that some expression of the spec subscripts or reads.
    read: BTreeSet<String>,
    diagnostics: Vec<Diagnostic>,
}

impl Statements<'_> {
    fn block(&mut self, stmts: &[SpecStmt]) -> Vec<Step> {
        let visible = self.arrays.names.len();
        let out = self.block_in_place(stmts);
        self.arrays.names.truncate(visible);
        out
    }

    /// After an error in the equation of a `let`, knows the array all the same, so that one fault is reported once.
    fn pretend(&mut self, s: &SpecStmt) {
        if let SpecStmtKind::Equation { local: true, name, indices, .. } = &s.kind {
            let (axes, starts) = (vec![None; indices.len()], vec![None; indices.len()]);
            let name = name.name.clone();
            self.arrays.add(ArrayInfo { name, ty: Ty::Real, axes, starts, absent: false, role: Role::Local });
        }
    }

    fn statement(&mut self, s: &SpecStmt) -> Fallible<Vec<Step>> {
        match &s.kind {
            SpecStmtKind::Equation { local, name, indices, op, value } => {
                self.equation(s.span, *local, name, indices, *op, value)
            }
            SpecStmtKind::For { name, range, reverse, body } => {
                let mut b = Builder::new(self.world, &self.arrays, &self.loops)?;
                let (kind, roots, reversed) = b.loop_range(range)?;
                let range = small(b, roots, range.span);
                let depth = self.loops.len();
                self.loops.push(name.name.clone());
                let body = self.block(body);
                self.loops.pop();
                let reverse = *reverse != reversed;
                Ok(vec![Step::For(Box::new(Loop { depth, range, kind, reverse, body }))])
            }
            SpecStmtKind::If { condition, then, otherwise } => {
                let mut b = Builder::new(self.world, &self.arrays, &self.loops)?;
                let root = b.with_lets(|b| b.condition(condition))?;
                if let Some(v) = b.code.constant(root) {
                    // The other arm may use tensors that this call does not have.
                    return Ok(self.block_in_place(if v != 0.0 { then } else { otherwise }));
                }
                let condition = small(b, vec![root], condition.span);
                let (then, otherwise) = (self.block(then), self.block(otherwise));
                Ok(vec![Step::If { condition, then, otherwise }])
            }
            SpecStmtKind::Broken => Ok(vec![]),
        }
    }

    /// The arm of an `if` that is known when compiling: what it defines stays visible after it.
    fn block_in_place(&mut self, stmts: &[SpecStmt]) -> Vec<Step> {
        let mut out = vec![];
        for s in stmts {
            match self.statement(s) {
                Ok(step) => out.extend(step),
                Err(d) => {
                    self.diagnostics.push(*d);
                    self.pretend(s);
                }
            }
        }
        out
    }

    fn equation(
        &mut self,
        span: Span,
        local: bool,
        name: &Ident,
        indices: &[SpecIndex],
        op: AssignOp,
        value: &Expr,
    ) -> Fallible<Vec<Step>> {
        let target = match local {
            true => None,
            false => Some(self.target(name, indices)?),
        };
        if let Some(id) = target
            && self.arrays.infos[id].absent
            && !self.read.contains(&name.name)
        {
            return Ok(vec![]);
        }
        let mut b = Builder::new(self.world, &self.arrays, &self.loops)?;
        let mut within = vec![value];
        within.extend(indices.iter().filter_map(|i| match i {
            SpecIndex::Free { range, .. } => range.as_ref(),
            _ => None,
        }));
        let mut axes = vec![];
        let mut free: Vec<Free> = vec![];
        let mut slice = None;
        for (axis, index) in indices.iter().enumerate() {
            axes.push(match index {
                SpecIndex::Free { name, range: None } if b.is_bound(&name.name) => {
                    let at = Expr { kind: ExprKind::Name(name.name.clone()), span: name.span };
                    TargetAxis::At(b.fixed_index(&at, local)?)
                }
                SpecIndex::Free { name, range } => {
                    let (lo, hi) = match (range, target) {
                        (Some(r), _) => b.range(r)?,
                        (None, Some(id)) => b.axis_range(id, axis, name.span),
                        (None, None) => b.inferred_range(name, &within)?,
                    };
                    if b.scopes.iter().any(|(n, _)| *n == name.name) {
                        return refuse(
                            Diagnostic::error("T0477", name.span, format!("`{}` stands twice", name.name))
                                .label("already an index of this equation"),
                        );
                    }
                    let slot = b.slot(&name.name, name.span)?;
                    free.push(Free { slot, lo, hi, dependent: false });
                    b.scopes.push((name.name.clone(), Bound::Index(slot)));
                    TargetAxis::Free(free.len() - 1)
                }
                SpecIndex::All(at) => {
                    if slice.replace(axis).is_some() {
                        return refuse(
                            Diagnostic::error("T0477", *at, "an equation can have one `:`")
                                .label("the second one")
                                .help("give this axis an index"),
                        );
                    }
                    TargetAxis::Free(usize::MAX)
                }
                SpecIndex::At(e) => TargetAxis::At(b.fixed_index(e, local)?),
            });
        }
        let value_node = b.equation_value(value, slice, &mut axes, &mut free)?;
        let ty = b.code.types[value_node];
        let code = finish_equation(b, &mut free, &axes, value_node);
        let target = match target {
            Some(id) => {
                let joined = self.arrays.infos[id].ty.join(ty);
                if self.arrays.infos[id].role == Role::Local {
                    self.arrays.infos[id].ty = joined;
                }
                id
            }
            None => {
                let known = |f: &Free| Some((code.constant(f.lo)? as i64, code.constant(f.hi)? as i64));
                let ty = if ty == Ty::Literal { Ty::Real } else { ty };
                let start = |f: &Free| code.constant(f.lo).map(|lo| lo as i64);
                let starts = free_order(&axes).map(|f| start(&free[f])).collect();
                let axes = free_order(&axes).map(|f| known(&free[f])).collect();
                let name = name.name.clone();
                self.arrays.add(ArrayInfo { name, ty, axes, starts, absent: false, role: Role::Local })
            }
        };
        let moved = local && !free_order(&axes).eq(0..free.len());
        if moved && free.iter().any(|f| f.dependent) {
            return refuse(
                Diagnostic::error(
                    "T0477",
                    span,
                    "`:` of a length that depends on other indices must stand last",
                )
                .label("in this `let`"),
            );
        }
        let free = match local {
            // The array of a `let` has its axes in the order of its indices, which is that of `free` but for `:`.
            true => free_order(&axes).map(|f| free[f].clone()).collect(),
            false => free,
        };
        let axes = if local { (0..free.len()).map(TargetAxis::Free).collect() } else { axes };
        let adds = op == AssignOp::Add;
        Ok(vec![Step::Equation(Box::new(Equation {
            target,
            fresh: local,
            adds,
            axes,
            free,
            value: value_node,
            code,
            span,
        }))])
    }

    /// The array that an equation without `let` defines.
    fn target(&self, name: &Ident, indices: &[SpecIndex]) -> Fallible<ArrayId> {
        let Some(id) = self.arrays.find(&name.name) else {
            return refuse(
                Diagnostic::error(
                    "T0475",
                    name.span,
                    format!("`{}` is neither an output nor a `let`", name.name),
                )
                .label("not defined")
                .help(format!("write `let {}[…] = …;` to define it", name.name)),
            );
        };
        let info = &self.arrays.infos[id];
        if info.role == Role::Input {
            return refuse(
                Diagnostic::error("T0475", name.span, format!("`{}` is an input", name.name))
                    .label("a spec defines outputs"),
            );
        }
        if info.axes.len() != indices.len() {
            return refuse(rank_mismatch(name.span, info, indices.len()));
        }
        Ok(id)
    }
}

fn free_order(axes: &[TargetAxis]) -> impl Iterator<Item = usize> {
    axes.iter().filter_map(|a| match a {
        TargetAxis::Free(f) => Some(*f),
        TargetAxis::At(_) => None,
    })
}

fn rank_mismatch(span: Span, info: &ArrayInfo, given: usize) -> Diagnostic {
    Diagnostic::error(
        "T0477",
        span,
        format!("`{}` has {} axes and is subscripted by {given}", info.name, info.axes.len()),
    )
    .label("subscripts do not fit")
}

fn small(mut b: Builder, roots: Vec<NodeId>, span: Span) -> Small {
    b.code.finish(&roots, Deps::MAX);
    Small { code: b.code, roots, span }
}

/// Finishes the code of an equation and says which ranges depend on free indices.
fn finish_equation(mut b: Builder, free: &mut [Free], axes: &[TargetAxis], value: NodeId) -> Code {
    let mut roots = vec![value];
    roots.extend(free.iter().flat_map(|f| [f.lo, f.hi]));
    roots.extend(axes.iter().filter_map(|a| match a {
        TargetAxis::At(node) => Some(*node),
        TargetAxis::Free(_) => None,
    }));
    let all: Deps = free.iter().fold(0, |d, f| d | 1 << f.slot);
    b.code.finish(&roots, all);
    for f in free {
        f.dependent = (b.code.deps[f.lo] | b.code.deps[f.hi]) & all != 0;
    }
    b.code
}

impl Builder<'_> {
    fn is_bound(&self, name: &str) -> bool {
        self.scopes[..self.loops].iter().any(|(n, _)| n == name) || self.world.numbers.contains_key(name)
    }

    fn fixed_index(&mut self, e: &Expr, local: bool) -> Fallible<NodeId> {
        if local {
            return refuse(
                Diagnostic::error("T0477", e.span, "a `let` defines an array over free indices")
                    .label("this is a position")
                    .help("use a fresh name, with a range if needed: `let x[i in 0..N] = …`"),
            );
        }
        self.with_lets(|b| b.scalar(e))
    }

    /// The value of an equation; a slice on the left takes a vector and adds a free index.
    fn equation_value(
        &mut self,
        value: &Expr,
        slice: Option<usize>,
        axes: &mut [TargetAxis],
        free: &mut Vec<Free>,
    ) -> Fallible<NodeId> {
        let Some(axis) = slice else {
            return self.with_lets(|b| b.scalar(value));
        };
        let outer = std::mem::take(&mut self.lets);
        let made = self.expr(value)?;
        let lets = std::mem::replace(&mut self.lets, outer);
        let Value::Vector(v) = made else {
            return refuse(
                Diagnostic::error("T0477", value.span, "`:` on the left needs a vector on the right")
                    .label("this is one number")
                    .help("a vector is a slice `x[i, :]` or a function of one, such as `softmax(x[i, :])`"),
            );
        };
        let zero = self.number(0.0, Ty::Int, value.span);
        free.push(Free { slot: v.slot, lo: zero, hi: v.len, dependent: false });
        axes[axis] = TargetAxis::Free(free.len() - 1);
        Ok(self.wrap(lets, v.body))
    }

    /// What a `for` runs over: kind, roots, and whether it was reversed by `.rev()`.
    fn loop_range(&mut self, e: &Expr) -> Fallible<(RangeKind, Vec<NodeId>, bool)> {
        if let ExprKind::Paren(inner) = &e.kind {
            return self.loop_range(inner);
        }
        if let ExprKind::Method { receiver, name, args } = &e.kind
            && name.name == "rev"
            && args.is_empty()
        {
            let (kind, roots, reversed) = self.loop_range(receiver)?;
            return Ok((kind, roots, !reversed));
        }
        if !matches!(e.kind, ExprKind::Range { .. })
            && let Value::Vector(v) = self.expr(e)?
        {
            return Ok((RangeKind::List { slot: v.slot }, vec![v.body, v.len], false));
        }
        let (lo, hi) = self.range(e)?;
        Ok((RangeKind::Span, vec![lo, hi], false))
    }
}
