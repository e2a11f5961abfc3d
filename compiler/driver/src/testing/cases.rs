//! The cases of a test block.
//!
//! Every name is bound to one value (`B = 2`) or to each of a list (`M in [1, 17]`). The cases are all combinations
//! that the kernel's `where` facts allow, in order, the last list turning fastest; with `pairs` a selection in which
//! every pair of values that occurs together in some allowed combination occurs. The selection is greedy: of all
//! combinations always the one with most pairs that are new. For flash_fwd's 1728 combinations it takes 19 or so.
//!
//! The first case is the first combination, whatever is selected: it is what `tilec build` falls back on.

use super::{
    compare::Tolerance,
    data,
    values::{self, Fault, Names},
};
use crate::choose::{self, Callable};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use tile_base::{DType, Diagnostic, Signature, Span};
use tile_sema::{ConstValue, Instance, Module};
use tile_syntax::ast::{Access, Expr, ExprKind, Generic, Ident, Param, Test, TestItem, TypeKind};
use tile_tensor::{Arguments, Scalar};

/// More combinations than this are refused.
const MAX_COMBINATIONS: usize = 100_000;
/// More cases than this are refused.
const MAX_CASES: usize = 4096;

/// One case: values for everything that the test names.
#[derive(Clone, Debug)]
pub struct Case {
    pub kernel: String,
    pub is_op: bool,
    pub dtypes: BTreeMap<String, DType>,
    pub consts: BTreeMap<String, ConstValue>,
    pub functions: BTreeMap<String, String>,
    pub dims: BTreeMap<String, i64>,
    pub scalars: BTreeMap<String, Scalar>,
    pub absent: BTreeSet<String>,
    /// Tensors that the test gives a distribution or values.
    pub(super) data: BTreeMap<String, Expr>,
    tolerances: BTreeMap<String, (Option<f64>, Option<f64>)>,
    /// Compare the spec with the oracle's rounded mode: the kernel rounds where it matters.
    pub rounded: bool,
    pub seed: u64,
    /// `T = f16, M = 17`: what differs between the cases of the test.
    pub label: String,
    /// The test block's name.
    pub span: Span,
}

/// The cases of one test block.
#[derive(Clone, Debug)]
pub struct Cases {
    pub cases: Vec<Case>,
    /// Combinations that break a `where` fact.
    pub left_out: usize,
}

/// What a name of the kernel is.
enum Kind<'a> {
    Dtype(&'a [Ident]),
    /// With its type's name.
    Const(&'a str),
    Function,
    Tensor,
    Scalar,
    /// A dimension, or one of a captured tensor.
    Dim,
    /// `mask.slopes`
    Captured,
}

/// Every case of a test, or everything that is wrong with it.
pub fn cases(module: &Module, test: &Test) -> Result<Cases, Vec<Diagnostic>> {
    let Some((callable, facts)) = callable(module, &test.name.name) else {
        return Err(vec![
            Diagnostic::error("T0491", test.name.span, format!("there is no kernel `{}`", test.name.name))
                .label("tested here")
                .help("a test has the name of the kernel or op that it tests"),
        ]);
    };
    let found = check_names(callable, test);
    if !found.is_empty() {
        return Err(found);
    }
    let axes: Vec<(&Ident, &[Expr])> = test
        .items
        .iter()
        .filter_map(|item| match item {
            TestItem::Set { name, value, .. } => Some((name, std::slice::from_ref(value))),
            TestItem::Each { name, values, .. } => Some((name, &values[..])),
            _ => None,
        })
        .collect();
    let total = axes.iter().try_fold(1usize, |n, (_, v)| n.checked_mul(v.len()));
    let Some(total) = total.filter(|&n| n <= MAX_COMBINATIONS) else {
        return Err(vec![
            Diagnostic::error("T0494", test.name.span, format!("more than {MAX_COMBINATIONS} combinations"))
                .label("in this test")
                .help("shorten the lists, or split the test into several"),
        ]);
    };
    let (mut allowed, mut left_out) = (vec![], 0);
    for number in 0..total {
        let picks = picks(&axes, number);
        let case = bind(callable, test, &axes, &picks)?;
        match check_facts(facts, &case) {
            Ok(true) => allowed.push((picks, case)),
            Ok(false) => left_out += 1,
            Err(fault) => return Err(vec![fault.diagnostic()]),
        }
    }
    if allowed.is_empty() {
        return Err(vec![
            Diagnostic::error("T0492", test.name.span, "no case of this test fulfils the `where` facts")
                .label(format!("{left_out} combinations, all left out")),
        ]);
    }
    let pairs = test.items.iter().any(|i| matches!(i, TestItem::Pairs(_)));
    let cases: Vec<Case> = if pairs {
        cover_pairs(&allowed).into_iter().map(|at| allowed[at].1.clone()).collect()
    } else {
        allowed.into_iter().map(|(_, case)| case).collect()
    };
    if cases.len() > MAX_CASES {
        return Err(vec![
            Diagnostic::error(
                "T0494",
                test.name.span,
                format!("{} cases are more than {MAX_CASES}", cases.len()),
            )
            .label("in this test")
            .help("cover pairs of values instead of all combinations: `pairs;`"),
        ]);
    }
    Ok(Cases { cases, left_out })
}

/// The kernel or op of a name, in the main file or what it uses, and its `where` facts.
fn callable<'a>(module: &'a Module, name: &str) -> Option<(Callable<'a>, &'a [Expr])> {
    let at = module.resolve(module.main(), name)?;
    let callable = Callable::of(module.item(at))?;
    Some((callable, callable.facts))
}

fn is_tensor(p: &Param) -> bool {
    matches!(p.ty.kind, TypeKind::Tile { .. })
}

fn kind<'a>(callable: Callable<'a>, name: &str) -> Kind<'a> {
    for g in callable.generics {
        match g {
            Generic::Dtype { name: n, choices, .. } if n.name == name => return Kind::Dtype(choices),
            Generic::Const { name: n, ty, .. } if n.name == name => {
                return Kind::Const(ty.as_ref().map_or("index", |t| &t.name));
            }
            Generic::Function { name: n, .. } if n.name == name => return Kind::Function,
            _ => {}
        }
    }
    match callable.params.iter().find(|p| p.name.name == name) {
        Some(p) if is_tensor(p) => Kind::Tensor,
        Some(_) => Kind::Scalar,
        None if name.contains('.') => Kind::Captured,
        None => Kind::Dim,
    }
}

/// Names in sizes of parameters.
fn dims_of(callable: Callable) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for p in callable.params {
        if let TypeKind::Tile { element, axes } = &p.ty.kind {
            let bound = match &element.kind {
                TypeKind::Index { bound, .. } => Some(&**bound),
                _ => None,
            };
            for e in axes.iter().chain(bound) {
                if let Some(size) = choose::size_of(e) {
                    out.extend(size.names().into_iter().map(str::to_string));
                }
            }
        }
    }
    out
}

/// Faults of names: unknown, given twice, missing.
fn check_names(callable: Callable, test: &Test) -> Vec<Diagnostic> {
    let (mut found, mut seen) = (vec![], BTreeMap::new());
    let dims = dims_of(callable);
    let has_functions = callable.generics.iter().any(|g| matches!(g, Generic::Function { .. }));
    for item in &test.items {
        let name = match item {
            TestItem::Set { name, .. } | TestItem::Each { name, .. } => name,
            TestItem::Tolerance { name, .. } => {
                check_tolerance(callable, name, &mut found);
                continue;
            }
            TestItem::Absent { names, .. } => {
                names.iter().for_each(|n| check_absent(callable, n, &mut found));
                continue;
            }
            TestItem::Pairs(_) | TestItem::Rounded(_) => continue,
        };
        if let Some(first) = seen.insert(name.name.clone(), name.span) {
            found.push(
                Diagnostic::error("T0491", name.span, format!("`{}` is bound twice", name.name))
                    .also(first, "first here"),
            );
        }
        if let TestItem::Each { values, .. } = item
            && values.is_empty()
        {
            found.push(Diagnostic::error("T0491", name.span, format!("`{}` has no values", name.name)));
        }
        // The dimensions of a captured tensor are not known here; the instance is asked later.
        if matches!(kind(callable, &name.name), Kind::Dim) && !dims.contains(&name.name) && !has_functions {
            found.push(unknown(callable, name));
        }
        let output = callable.params.iter().find(|p| p.name.name == name.name && is_tensor(p));
        if let Some(p) = output
            && p.mode.is_some_and(|m| matches!(m.access, Access::Out | Access::Sum))
        {
            found.push(
                Diagnostic::error(
                    "T0491",
                    name.span,
                    format!("`{}` is an output and is given no data", name.name),
                )
                .help(format!("a tolerance is written `{}: rel 1e-3`", name.name)),
            );
        }
    }
    let given = |n: &str| seen.contains_key(n);
    for g in callable.generics {
        let missing = match g {
            Generic::Dtype { name, choices, default } if default.is_none() && choices.len() != 1 => name,
            Generic::Const { name, default: None, .. } | Generic::Function { name, default: None, .. } => {
                name
            }
            _ => continue,
        };
        if !given(&missing.name) {
            found.push(unbound(test, missing, &missing.name));
        }
    }
    for p in callable.params {
        if !is_tensor(p) && !given(&p.name.name) {
            found.push(unbound(test, &p.name, &p.name.name));
        }
    }
    found
}

fn unknown(callable: Callable, name: &Ident) -> Diagnostic {
    let kernel = &callable.name.name;
    Diagnostic::error("T0491", name.span, format!("`{kernel}` has nothing called `{}`", name.name))
        .label("neither a dimension nor a parameter")
        .also(callable.name.span, "declared here")
}

fn unbound(test: &Test, at: &Ident, name: &str) -> Diagnostic {
    Diagnostic::error("T0490", test.name.span, format!("this test does not say what `{name}` is"))
        .label("a test binds every name")
        .also(at.span, "declared here")
        .help(format!("add `{name} = …;`"))
}

fn check_tolerance(callable: Callable, name: &Ident, found: &mut Vec<Diagnostic>) {
    let writes = |p: &Param| p.mode.is_some_and(|m| m.access != Access::In);
    if !callable.params.iter().any(|p| p.name.name == name.name && writes(p)) {
        found.push(
            Diagnostic::error("T0491", name.span, format!("`{}` is not an output", name.name))
                .label("a tolerance belongs to an output"),
        );
    }
}

fn check_absent(callable: Callable, name: &Ident, found: &mut Vec<Diagnostic>) {
    let optional = |p: &Param| p.mode.is_some_and(|m| m.optional);
    if !callable.params.iter().any(|p| p.name.name == name.name && optional(p)) {
        found.push(
            Diagnostic::error("T0491", name.span, format!("`{}` is not an optional tensor", name.name))
                .label("cannot be left out"),
        );
    }
}

/// Which value of each axis the combination of that number has; the last axis turns fastest.
fn picks(axes: &[(&Ident, &[Expr])], mut number: usize) -> Vec<usize> {
    let mut out: Vec<usize> = axes
        .iter()
        .rev()
        .map(|(_, values)| {
            let at = number % values.len();
            number /= values.len();
            at
        })
        .collect();
    out.reverse();
    out
}

fn bind(
    callable: Callable,
    test: &Test,
    axes: &[(&Ident, &[Expr])],
    picks: &[usize],
) -> Result<Case, Vec<Diagnostic>> {
    let mut case = Case {
        kernel: test.name.name.clone(),
        is_op: callable.is_op,
        dtypes: BTreeMap::new(),
        consts: BTreeMap::new(),
        functions: BTreeMap::new(),
        dims: BTreeMap::new(),
        scalars: BTreeMap::new(),
        absent: BTreeSet::new(),
        data: BTreeMap::new(),
        tolerances: BTreeMap::new(),
        rounded: false,
        seed: 1,
        label: String::new(),
        span: test.name.span,
    };
    let mut numbers: Vec<(&Ident, &Expr)> = vec![];
    let mut label: Vec<String> = vec![];
    for ((name, values), &pick) in axes.iter().zip(picks) {
        let value = &values[pick];
        if values.len() > 1 {
            label.push(format!("{} = {}", name.name, text_of(value)));
        }
        match kind(callable, &name.name) {
            Kind::Dtype(choices) => {
                let d = dtype(value, choices).map_err(|d| vec![d])?;
                case.dtypes.insert(name.name.clone(), d);
            }
            Kind::Function => {
                let path = path_of(value).ok_or_else(|| vec![not_a(value, "the name of a function")])?;
                case.functions.insert(name.name.clone(), path);
            }
            Kind::Tensor | Kind::Captured => drop(case.data.insert(name.name.clone(), value.clone())),
            Kind::Const(_) | Kind::Dim | Kind::Scalar => numbers.push((name, value)),
        }
    }
    case.label = label.join(", ");
    let names = solve(&numbers).map_err(|d| vec![d])?;
    for (name, value) in &numbers {
        let v = names[&name.name];
        let integer = |v: Scalar| match v {
            Scalar::Int(v) => Ok(v),
            _ => Err(vec![not_a(value, "an integer")]),
        };
        match kind(callable, &name.name) {
            Kind::Const(ty) => {
                let v = match (ty, v) {
                    ("bool", Scalar::Bool(b)) => ConstValue::Bool(b),
                    ("bool", _) => return Err(vec![not_a(value, "`true` or `false`")]),
                    (ty, v) if DType::from_name(ty).is_some_and(DType::is_float) => {
                        ConstValue::Float(v.to_f64())
                    }
                    (_, v) => ConstValue::Int(integer(v)?),
                };
                case.consts.insert(name.name.clone(), v);
            }
            Kind::Scalar => drop(case.scalars.insert(name.name.clone(), v)),
            _ => drop(case.dims.insert(name.name.clone(), integer(v)?)),
        }
    }
    for item in &test.items {
        match item {
            TestItem::Tolerance { name, relative, absolute, .. } => {
                let number = |e: &Option<Expr>| match e {
                    None => Ok(None),
                    Some(e) => match values::evaluate(e, &names) {
                        Ok(v) if v.to_f64() >= 0.0 => Ok(Some(v.to_f64())),
                        Ok(_) => Err(vec![not_a(e, "a tolerance, which is 0 or more")]),
                        Err(fault) => Err(vec![fault.diagnostic()]),
                    },
                };
                case.tolerances.insert(name.name.clone(), (number(relative)?, number(absolute)?));
            }
            TestItem::Rounded(_) => case.rounded = true,
            TestItem::Absent { names, .. } => case.absent.extend(names.iter().map(|n| n.name.clone())),
            _ => {}
        }
    }
    Ok(case)
}

/// Values of numbers that may be written over each other: `N = M + 3`.
fn solve(numbers: &[(&Ident, &Expr)]) -> Result<Names, Diagnostic> {
    let mut names = Names::new();
    let mut open: Vec<(&Ident, &Expr)> = numbers.to_vec();
    loop {
        let before = open.len();
        let mut waiting = vec![];
        let mut first = None;
        for (name, e) in open {
            match values::evaluate(e, &names) {
                Ok(v) => drop(names.insert(name.name.clone(), v)),
                Err(Fault::Wrong(d)) => return Err(*d),
                Err(fault) => {
                    first.get_or_insert(fault);
                    waiting.push((name, e));
                }
            }
        }
        match first {
            None => return Ok(names),
            Some(fault) if waiting.len() == before => return Err(fault.diagnostic()),
            Some(_) => open = waiting,
        }
    }
}

fn not_a(e: &Expr, wanted: &str) -> Diagnostic {
    Diagnostic::error("T0491", e.span, format!("this must be {wanted}")).label("given here")
}

fn dtype(e: &Expr, choices: &[Ident]) -> Result<DType, Diagnostic> {
    let name = path_of(e);
    let Some(d) = name.as_deref().and_then(DType::from_name) else { return Err(not_a(e, "a dtype")) };
    if choices.is_empty() || choices.iter().any(|c| c.name == d.name()) {
        return Ok(d);
    }
    let list: Vec<&str> = choices.iter().map(|c| c.name.as_str()).collect();
    Err(Diagnostic::error("T0491", e.span, format!("`{d}` is not among the dtypes of this parameter"))
        .label(format!("one of {}", list.join(", "))))
}

fn path_of(e: &Expr) -> Option<String> {
    match &e.kind {
        ExprKind::Name(n) => Some(n.clone()),
        ExprKind::Path(parts) => Some(parts.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join("::")),
        ExprKind::Paren(inner) => path_of(inner),
        _ => None,
    }
}

fn text_of(e: &Expr) -> String {
    match &e.kind {
        ExprKind::Int(v) => v.to_string(),
        ExprKind::Float(t) => t.clone(),
        ExprKind::Bool(v) => v.to_string(),
        _ => path_of(e).unwrap_or_else(|| "…".into()),
    }
}

fn check_facts(facts: &[Expr], case: &Case) -> Result<bool, Fault> {
    let mut names: Names = case.dims.iter().map(|(n, &v)| (n.clone(), Scalar::Int(v))).collect();
    names.extend(case.consts.iter().map(|(n, v)| (n.clone(), scalar(*v))));
    for f in facts {
        match values::evaluate(f, &names) {
            Ok(Scalar::Bool(holds)) if !holds => return Ok(false),
            // A dimension that only a list shows is checked when it is bound.
            Ok(_) | Err(Fault::Unbound(..)) => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(true)
}

fn scalar(v: ConstValue) -> Scalar {
    match v {
        ConstValue::Int(v) => Scalar::Int(v),
        ConstValue::Bool(v) => Scalar::Bool(v),
        ConstValue::Float(v) => Scalar::Float(v),
    }
}

/// Positions of a selection of combinations that covers every pair of values; the first is always in it.
fn cover_pairs(allowed: &[(Vec<usize>, Case)]) -> Vec<usize> {
    let pairs = |picks: &[usize]| -> Vec<(usize, usize, usize, usize)> {
        let n = picks.len();
        let all = (0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b)));
        all.map(|(a, b)| (a, picks[a], b, picks[b])).collect()
    };
    let all: Vec<Vec<_>> = allowed.iter().map(|(p, _)| pairs(p)).collect();
    let mut open: HashSet<_> = all.iter().flatten().copied().collect();
    let mut chosen = vec![0];
    open.retain(|p| !all[0].contains(p));
    while !open.is_empty() {
        let gain = |at: &usize| all[*at].iter().filter(|p| open.contains(p)).count();
        // The first of those that gain most, so that the selection is the same everywhere.
        let Some(best) = (0..all.len()).rev().max_by_key(gain) else { break };
        open.retain(|p| !all[best].contains(p));
        chosen.push(best);
    }
    chosen.sort_unstable();
    chosen
}

impl Case {
    pub fn instance(&self) -> Instance {
        Instance {
            dtypes: self.dtypes.clone(),
            consts: self.consts.clone(),
            functions: self.functions.clone(),
            absent: self.absent.clone(),
        }
    }

    /// What a command takes from a case.
    pub fn choice(&self) -> choose::Case {
        choose::Case {
            test: self.kernel.clone(),
            dtypes: self.dtypes.clone(),
            consts: self.consts.clone(),
            functions: self.functions.clone(),
            dims: self.dims.clone(),
            scalars: self.scalars.clone(),
            absent: self.absent.clone(),
        }
    }

    /// Data for every input, room for every output.
    pub fn arguments(&self, signature: &Signature) -> Result<Arguments, Vec<Diagnostic>> {
        data::arguments(self, signature)
    }

    /// The tolerance of an output: what the test says, else by dtype. A test that gives only one of the two numbers
    /// means the other to be 0.
    pub fn tolerance(&self, output: &str, dtype: DType) -> Tolerance {
        match self.tolerances.get(output) {
            Some((relative, absolute)) => {
                Tolerance { relative: relative.unwrap_or(0.0), absolute: absolute.unwrap_or(0.0) }
            }
            None => Tolerance::of(dtype),
        }
    }
}
