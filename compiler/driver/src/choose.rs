//! What has to be known when a kernel is compiled, and where each piece comes from.
//!
//! For each dtype, `const` and function parameter, the first of these that says something counts:
//! 1. the person: `--const T=f16`, `--const CAUSAL=true`, `--const epi=relu`, `--const mask=attention::masks::window`,
//!    `--dim D=64`;
//! 2. the inputs: dtypes of tensors, extents of their axes (`q: T[B, M, HQ, D]` of shape [1, 64, 4, 128] says
//!    `D = 128`; sizes linear in one unknown are solved, and so are equalities of the `where` facts: with
//!    `HQ == HK * GR`, HQ = 8 and HK = 2 say `GR = 4`);
//! 3. the default in the declaration, or the only dtype allowed;
//! 4. the first case of the file's `test` block. This is a guess about what is wanted, so it is told
//!    ([`Choice::taken`]).
//!
//! Optional parameters: with inputs at hand, those that are given and those outputs that are asked for; without
//! (`build`), as in the first case.

use crate::{functions, packed};
use std::collections::{BTreeMap, BTreeSet};
use tile_base::{DType, Diagnostic, Size, Span, diagnostic::any_error};
use tile_sema::{ConstValue, Instance, Module, grad::Form};
use tile_syntax::ast;
use tile_tensor::{Argument, Scalar, Tensor};

/// A kernel or an op: what can be compiled and run.
#[derive(Clone, Copy)]
pub struct Callable<'a> {
    pub name: &'a ast::Ident,
    pub generics: &'a [ast::Generic],
    pub params: &'a [ast::Param],
    /// `where` facts.
    pub facts: &'a [ast::Expr],
    pub is_op: bool,
}

impl<'a> Callable<'a> {
    /// Of an item, if it can be compiled.
    pub fn of(item: &'a ast::Item) -> Option<Callable<'a>> {
        Some(match &item.kind {
            ast::ItemKind::Kernel(k) => Callable {
                name: &k.name,
                generics: &k.generics,
                params: &k.params,
                facts: &k.facts,
                is_op: false,
            },
            ast::ItemKind::Op(o) => Callable {
                name: &o.name,
                generics: &o.generics,
                params: &o.params,
                facts: &o.facts,
                is_op: true,
            },
            _ => return None,
        })
    }
}

/// The kernels and ops of a file, and the ops that its `grad`s make.
pub fn callables(module: &Module) -> impl Iterator<Item = Callable<'_>> {
    module.items().filter_map(|(_, item)| Callable::of(item))
}

/// Names of what is measured where nobody says what: a backward alone is a part of `f.vjp`.
pub fn measured(module: &Module) -> impl Iterator<Item = String> + '_ {
    let part = |c: &Callable| module.grad(&c.name.name).is_some_and(|(_, form)| form == Form::Bwd);
    callables(module).filter(move |c| !part(c)).map(|c| c.name.name.clone())
}

/// The kernel that is meant: by name, or the only one of the file beside its gradients and the kernels that they run.
pub fn pick<'a>(module: &'a Module, path: &str, name: Option<&str>) -> Result<Callable<'a>, Diagnostic> {
    let mut all: Vec<Callable> = callables(module).collect();
    if name.is_none() {
        let parts = backward_parts(module);
        all.retain(|c| module.grad(&c.name.name).is_none() && !parts.contains(&c.name.name.as_str()));
    }
    let list = || all.iter().map(|c| c.name.name.as_str()).collect::<Vec<_>>().join(", ");
    match (name, &all[..]) {
        (_, []) => {
            Err(Diagnostic::global("T0802", format!("`{path}` has no kernel"))
                .help("write a `kernel` into it"))
        }
        (Some(name), _) => all.iter().find(|c| c.name.name == name).copied().ok_or_else(|| {
            Diagnostic::global("T0802", format!("`{path}` has no kernel `{name}`"))
                .help(format!("it has {}", list()))
        }),
        (None, [one]) => Ok(*one),
        (None, _) => Err(Diagnostic::global("T0803", format!("`{path}` has several kernels: {}", list()))
            .help("say which one with `--kernel NAME`")),
    }
}

/// Kernels that the bodies of the file's `grad`s run, but for what is differentiated itself or has tests of its own.
fn backward_parts(module: &Module) -> Vec<&str> {
    let grads = module.items().filter_map(|(_, item)| match &item.kind {
        ast::ItemKind::Grad(g) => Some(g),
        _ => None,
    });
    let mut parts = vec![];
    let mut forwards = vec![];
    for g in grads {
        launched(&g.body, &mut parts);
        forwards.push(g.name.name.as_str());
    }
    parts.retain(|p| !forwards.contains(p) && module.tests_of(p).is_empty());
    parts
}

/// The names after `run` in host code.
pub(crate) fn launched<'a>(block: &'a ast::Block, out: &mut Vec<&'a str>) {
    use ast::{Else, If, StmtKind};
    fn arms<'a>(i: &'a If, out: &mut Vec<&'a str>) {
        launched(&i.then, out);
        match &i.otherwise {
            Some(Else::Block(b)) => launched(b, out),
            Some(Else::If(i, _)) => arms(i, out),
            None => {}
        }
    }
    for s in &block.stmts {
        match &s.kind {
            StmtKind::Run { name, .. } => out.push(&name.name),
            StmtKind::For { body, .. } | StmtKind::Unroll { body, .. } | StmtKind::While { body, .. } => {
                launched(body, out);
            }
            StmtKind::If(i) => arms(i, out),
            _ => {}
        }
    }
}

/// What a person gave: flags and inputs.
#[derive(Clone, Default, Debug)]
pub struct Given {
    /// `--const N=V`, as text.
    pub consts: BTreeMap<String, String>,
    /// `--dim N=V`
    pub dims: BTreeMap<String, i64>,
    /// `--in`, `--arg`
    pub arguments: BTreeMap<String, Argument>,
    /// `--out`
    pub outputs: BTreeSet<String>,
    /// Whether [`Given::arguments`] and [`Given::outputs`] decide which optional parameters there are (`run`).
    pub optionals_as_given: bool,
}

/// One case of a test block: values for everything that it names.
#[derive(Clone, Default, Debug)]
pub struct Case {
    /// The name in the test block's head.
    pub test: String,
    pub dtypes: BTreeMap<String, DType>,
    pub consts: BTreeMap<String, ConstValue>,
    pub functions: BTreeMap<String, String>,
    pub dims: BTreeMap<String, i64>,
    pub scalars: BTreeMap<String, Scalar>,
    pub absent: BTreeSet<String>,
}

/// The instance, and what had to be guessed for it.
#[derive(Debug)]
pub struct Choice {
    pub instance: Instance,
    /// `D = 64` and such, taken from the first case of the test block.
    pub taken: Vec<(String, String)>,
}

/// Chooses the instance of a kernel.
pub fn choose(
    module: &Module,
    callable: Callable,
    given: &Given,
    case: Option<&Case>,
) -> Result<Choice, Vec<Diagnostic>> {
    let mut c =
        Chooser { module, callable, given, case, taken: vec![], found: vec![], shown: BTreeMap::new() };
    c.check_names();
    c.shown = c.sizes_from_inputs();
    let mut instance = Instance::default();
    for generic in callable.generics {
        match generic {
            ast::Generic::Dtype { name, choices, default } => {
                if let Some(d) = c.dtype(name, choices, default.as_ref()) {
                    instance.dtypes.insert(name.name.clone(), d);
                }
            }
            ast::Generic::Const { name, ty, default, .. } => {
                if let Some(v) = c.constant(name, ty.as_ref(), default.is_some()) {
                    instance.consts.insert(name.name.clone(), v);
                }
            }
            ast::Generic::Function { name, default, .. } => {
                if let Some(f) = c.function(name, default.is_some()) {
                    instance.functions.insert(name.name.clone(), f);
                }
            }
        }
    }
    instance.absent = c.absent();
    c.check_extents(&instance);
    if any_error(&c.found) { Err(c.found) } else { Ok(Choice { instance, taken: c.taken }) }
}

/// Says of a refused fact which of its names nobody gave (T0817).
pub fn name_taken(found: &mut [Diagnostic], taken: &[(String, String)], test: &str) {
    for d in found.iter_mut().filter(|d| d.code == "T0817") {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let words: Vec<String> = d.message.split(|c| !is_part(c)).map(str::to_string).collect();
        for (name, value) in taken.iter().filter(|(name, _)| words.contains(name)) {
            let note = format!(
                "{name} = {value} was taken from the first case of `test {test}`, for nothing given says it"
            );
            d.notes.push(note);
        }
    }
}

struct Chooser<'a> {
    module: &'a Module,
    callable: Callable<'a>,
    given: &'a Given,
    case: Option<&'a Case>,
    taken: Vec<(String, String)>,
    found: Vec<Diagnostic>,
    /// Names of sizes that the inputs and `--dim` show.
    shown: BTreeMap<String, i64>,
}

impl<'a> Chooser<'a> {
    fn generic_names(&self) -> Vec<&'a str> {
        self.callable.generics.iter().map(generic_name).collect()
    }

    /// Names after `--const` and `--dim` that the kernel does not have.
    fn check_names(&mut self) {
        let generics = self.generic_names();
        let mut sizes: Vec<String> = generics.iter().map(|g| g.to_string()).collect();
        for p in self.callable.params {
            for axis in axes(p) {
                if let Some(s) = size_of(axis) {
                    sizes.extend(s.names().iter().map(|n| n.to_string()));
                }
            }
        }
        let kernel = &self.callable.name.name;
        for name in self.given.consts.keys() {
            if !generics.contains(&name.as_str()) {
                let message = format!("`{kernel}` has no parameter `{name}` between `<` and `>`");
                let help = match generics.is_empty() {
                    true => "it has none; run-time dimensions are given by `--dim`".to_string(),
                    false => {
                        format!("it has {}; run-time dimensions are given by `--dim`", generics.join(", "))
                    }
                };
                self.found.push(Diagnostic::global("T0804", message).help(help));
            }
        }
        for name in self.given.dims.keys() {
            if !sizes.contains(name) {
                let message = format!("`{kernel}` has no dimension `{name}`");
                self.found
                    .push(Diagnostic::global("T0805", message).help("check the spelling against its shapes"));
            }
        }
    }

    /// Solves the shapes of the parameters against the tensors that are given, and the facts that are equalities.
    fn sizes_from_inputs(&mut self) -> BTreeMap<String, i64> {
        let mut known = self.given.dims.clone();
        for (name, text) in &self.given.consts {
            if let Ok(v) = text.parse() {
                known.entry(name.clone()).or_insert(v);
            }
        }
        let mut axes_seen: Vec<(Size, i64)> = vec![];
        let mut packed: Vec<(Size, i64)> = vec![];
        for p in self.callable.params {
            let Some(Argument::Tensor(t)) = self.given.arguments.get(&p.name.name) else { continue };
            let axes = axes(p);
            if axes.len() == t.rank() {
                let sizes = axes.iter().zip(&t.shape);
                axes_seen.extend(sizes.filter_map(|(a, &d)| Some((size_of(a)?, d as i64))));
                // Bytes of a packed axis bound its extent and do not show it.
                let dtype = element_name(p).and_then(|name| DType::from_name(name));
                if let Some(per) = dtype.and_then(packed::per_byte).filter(|_| t.dtype == DType::U8)
                    && axes.last().is_some_and(|a| size_of(a).is_some())
                    && let Some((size, bytes)) = axes_seen.pop()
                {
                    packed.push((size, bytes.saturating_mul(per as i64)));
                }
            }
        }
        for (size, extent) in &axes_seen {
            if let Size::Name(n) = size {
                known.entry(n.clone()).or_insert(*extent);
            }
        }
        let equalities: Vec<Size> = self.callable.facts.iter().filter_map(difference).collect();
        axes_seen.extend(equalities.into_iter().map(|size| (size, 0)));
        solve_all(&axes_seen, &mut known);
        axes_seen.extend(packed);
        solve_all(&axes_seen, &mut known);
        known
    }

    /// The fact that determines a const and that no integer fulfils: `HQ == HK * GR` with HQ = 7, HK = 2.
    fn unsolvable(&self, name: &str) -> Option<Diagnostic> {
        let known = |n: &str| self.shown.get(n).copied();
        self.callable.facts.iter().find_map(|fact| {
            let size = difference(fact)?;
            if !size.names().contains(&name) || size.solve(0, &known).is_ok() {
                return None;
            }
            let message =
                format!("no whole number `{name}` fulfils this fact of `{}`", self.callable.name.name);
            let mut d = Diagnostic::error("T0817", fact.span, message).label("has to hold");
            for n in size.names() {
                if let Some(v) = known(n) {
                    d = d.note(format!("{n} = {v}, from the inputs"));
                }
            }
            Some(d.help("choose dimensions for which it holds"))
        })
    }

    fn dtype(
        &mut self,
        name: &ast::Ident,
        choices: &[ast::Ident],
        default: Option<&ast::Ident>,
    ) -> Option<DType> {
        if let Some(text) = self.given.consts.get(&name.name) {
            let d = DType::from_name(text);
            if d.is_none() {
                self.bad_value(&name.name, text, "a dtype such as f16");
            }
            return d;
        }
        let tensors: Vec<(&str, &Tensor)> = self
            .callable
            .params
            .iter()
            .filter(|p| element_name(p) == Some(&name.name))
            .filter_map(|p| Some((p.name.name.as_str(), self.given.arguments.get(&p.name.name)?.tensor()?)))
            .collect();
        if let [(first, t), rest @ ..] = &tensors[..] {
            for (other, u) in rest.iter().filter(|(_, u)| u.dtype != t.dtype) {
                let message = format!(
                    "`{first}` has elements of {} and `{other}` of {}, and both are `{}`",
                    t.dtype, u.dtype, name.name
                );
                self.found.push(Diagnostic::global("T0808", message).help("give both the same dtype"));
            }
            return Some(t.dtype);
        }
        let declared = default.or(match choices {
            [one] => Some(one),
            _ => None,
        });
        if let Some(d) = declared.and_then(|d| DType::from_name(&d.name)) {
            return Some(d);
        }
        if let Some(d) = self.case.and_then(|c| c.dtypes.get(&name.name)) {
            self.took(&name.name, d.name());
            return Some(*d);
        }
        self.unknown(name, "dtype");
        None
    }

    fn constant(
        &mut self,
        name: &ast::Ident,
        ty: Option<&ast::Ident>,
        has_default: bool,
    ) -> Option<ConstValue> {
        let ty = ty.map_or("index", |t| t.name.as_str());
        if let Some(text) = self.given.consts.get(&name.name) {
            let value = const_value(ty, text);
            if value.is_none() {
                self.bad_value(&name.name, text, &format!("a value of {ty}"));
            }
            return value;
        }
        if let Some(&v) = self.shown.get(&name.name) {
            return Some(ConstValue::Int(v));
        }
        if let Some(d) = self.unsolvable(&name.name) {
            self.found.push(d);
            return None;
        }
        if has_default {
            return None; // the checker knows it
        }
        if let Some(v) = self.case.and_then(|c| c.consts.get(&name.name)) {
            self.took(&name.name, &const_text(*v));
            return Some(*v);
        }
        self.unknown(name, "const");
        None
    }

    fn function(&mut self, name: &ast::Ident, has_default: bool) -> Option<String> {
        if let Some(text) = self.given.consts.get(&name.name) {
            if !functions::is_known(self.module, text) {
                self.found.push(functions::unknown(self.module, name, text));
                return None;
            }
            return Some(text.clone());
        }
        if has_default {
            return None;
        }
        if let Some(f) = self.case.and_then(|c| c.functions.get(&name.name)) {
            self.took(&name.name, f);
            return Some(f.clone());
        }
        self.unknown(name, "function");
        None
    }

    fn absent(&mut self) -> BTreeSet<String> {
        let optional = self.callable.params.iter().filter(|p| p.mode.is_some_and(|m| m.optional));
        let mut absent = BTreeSet::new();
        for p in optional {
            let name = &p.name.name;
            let there = match (self.given.optionals_as_given, self.case) {
                (true, _) => self.given.arguments.contains_key(name) || self.given.outputs.contains(name),
                (false, Some(case)) => !case.absent.contains(name),
                (false, None) => true,
            };
            if !there {
                absent.insert(name.clone());
            }
        }
        absent
    }

    /// Extents that the compile-time names make zero or negative.
    fn check_extents(&mut self, instance: &Instance) {
        let value = |n: &str| match instance.consts.get(n) {
            Some(ConstValue::Int(v)) => Some(*v),
            _ => None,
        };
        for p in self.callable.params.iter().filter(|p| !instance.absent.contains(&p.name.name)) {
            for axis in axes(p) {
                let Some(extent) = size_of(axis).and_then(|s| s.eval(&value).ok()) else { continue };
                if extent <= 0 {
                    let message =
                        format!("an axis of `{}` has the extent {extent} in this instance", p.name.name);
                    let d = Diagnostic::error("T0818", axis.span, message).label("here");
                    self.found.push(d.help("extents start at 1"));
                }
            }
        }
    }

    fn took(&mut self, name: &str, value: &str) {
        self.taken.push((name.to_string(), value.to_string()));
    }

    fn bad_value(&mut self, name: &str, text: &str, wanted: &str) {
        let message = format!("`{name}` is {wanted}, and `{text}` is none");
        self.found.push(Diagnostic::global("T0806", message).help(format!("write `--const {name}=VALUE`")));
    }

    fn unknown(&mut self, name: &ast::Ident, kind: &str) {
        let message = format!("nothing says what the {kind} parameter `{}` is", name.name);
        let d = Diagnostic::error("T0807", name.span, message)
            .label("has to be known when the kernel is compiled");
        self.found.push(d.help(format!(
            "give `--const {0}=VALUE`, an input that shows it, or a `test` block whose first case binds `{0}`",
            name.name
        )));
    }
}

pub(crate) fn generic_name(g: &ast::Generic) -> &str {
    match g {
        ast::Generic::Dtype { name, .. }
        | ast::Generic::Const { name, .. }
        | ast::Generic::Function { name, .. } => &name.name,
    }
}

/// Solves sizes that are linear in one unknown name, until nothing new is found.
fn solve_all(equations: &[(Size, i64)], known: &mut BTreeMap<String, i64>) {
    loop {
        let before = known.len();
        for (size, value) in equations {
            if let Ok(Some((name, v))) = size.solve(*value, &|n| known.get(n).copied()) {
                known.insert(name, v);
            }
        }
        if known.len() == before {
            return;
        }
    }
}

/// `HQ - HK * GR` of the fact `HQ == HK * GR`.
fn difference(fact: &ast::Expr) -> Option<Size> {
    match &fact.kind {
        ast::ExprKind::Paren(inner) => difference(inner),
        ast::ExprKind::Binary { op: ast::BinaryOp::Eq, lhs, rhs } => {
            Some(Size::Sub(size_of(lhs)?.into(), size_of(rhs)?.into()))
        }
        _ => None,
    }
}

/// Axes of a tensor parameter.
fn axes(p: &ast::Param) -> &[ast::Expr] {
    match &p.ty.kind {
        ast::TypeKind::Tile { axes, .. } => axes,
        _ => &[],
    }
}

/// `T` of `q: in T[B, M]`
fn element_name(p: &ast::Param) -> Option<&String> {
    match &p.ty.kind {
        ast::TypeKind::Tile { element, .. } => match &element.kind {
            ast::TypeKind::Scalar(name) => Some(&name.name),
            _ => None,
        },
        _ => None,
    }
}

/// A shape's expression as a size; `None` for what sizes do not have.
pub fn size_of(e: &ast::Expr) -> Option<Size> {
    use ast::{BinaryOp as B, ExprKind as E};
    let two = |f: fn(Box<Size>, Box<Size>) -> Size, a: &ast::Expr, b: &ast::Expr| {
        Some(f(size_of(a)?.into(), size_of(b)?.into()))
    };
    match &e.kind {
        E::Int(v) => Some(Size::Const(*v)),
        E::Name(n) => Some(Size::name(n)),
        E::Paren(inner) => size_of(inner),
        E::Binary { op, lhs, rhs } => match op {
            B::Add => two(Size::Add, lhs, rhs),
            B::Sub => two(Size::Sub, lhs, rhs),
            B::Mul => two(Size::Mul, lhs, rhs),
            B::Div => two(Size::FloorDiv, lhs, rhs),
            B::Rem => two(Size::Mod, lhs, rhs),
            _ => None,
        },
        E::Call { function, args } => match (&function.kind, &args[..]) {
            (E::Name(f), [a, b]) => match f.as_str() {
                "cdiv" => two(Size::CeilDiv, &a.value, &b.value),
                "min" => two(Size::Min, &a.value, &b.value),
                "max" => two(Size::Max, &a.value, &b.value),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

fn const_value(ty: &str, text: &str) -> Option<ConstValue> {
    match (ty, text) {
        ("bool", "true" | "1") => Some(ConstValue::Bool(true)),
        ("bool", "false" | "0") => Some(ConstValue::Bool(false)),
        ("bool", _) => None,
        (ty, _) if DType::from_name(ty).is_some_and(DType::is_float) => {
            text.parse().ok().map(ConstValue::Float)
        }
        _ => text.parse().ok().map(ConstValue::Int),
    }
}

/// A const's value as the user writes it.
pub fn const_text(v: ConstValue) -> String {
    match v {
        ConstValue::Int(v) => v.to_string(),
        ConstValue::Bool(v) => v.to_string(),
        ConstValue::Float(v) => v.to_string(),
    }
}

/// Where a callable is declared, for messages about it as a whole.
pub fn place(callable: Callable) -> Span {
    callable.name.span
}
