//! Tests bind every name of their kernel to values that it can take.

use super::names::{Names, plain};
use crate::module::{Module, nearest};
use std::collections::BTreeSet;
use tile_base::{DType, Diagnostic};
use tile_syntax::ast::{Access, Expr, ExprKind, Generic, Ident, ItemKind, Test, TestItem, UnaryOp};

pub fn check<'m>(m: &'m Module, test: &Test, mut names: Names<'m>, out: &mut Vec<Diagnostic>) {
    let mut bound: BTreeSet<String> = BTreeSet::new();
    let mut absent: BTreeSet<String> = BTreeSet::new();
    // Function arguments first: they bring the tensors that they capture.
    for item in &test.items {
        for (name, value) in values(item) {
            if let (Some(Generic::Function { .. }), Some(f)) = (names.generic(&name.name), plain(value)) {
                names.captures(m, &name.name, f);
            }
        }
    }
    for g in names.generics.clone() {
        if let Generic::Function { name, default: Some(d), .. } = g
            && !test.items.iter().flat_map(values).any(|(n, _)| n.name == name.name)
        {
            names.captures(m, &name.name, &d.name);
        }
    }
    let mut lists: BTreeSet<String> = BTreeSet::new();
    for item in &test.items {
        match item {
            TestItem::Set { name, value, .. } => {
                one(m, &names, name, value, out);
                if matches!(value.kind, ExprKind::List(_)) {
                    lists.insert(name.name.clone());
                }
                bound.insert(name.name.clone());
            }
            TestItem::Each { name, values, span } => {
                if values.is_empty() {
                    out.push(Diagnostic::error(
                        "T0283",
                        *span,
                        format!("`{}` takes no value at all", name.name),
                    ));
                }
                values.iter().for_each(|v| one(m, &names, name, v, out));
                bound.insert(name.name.clone());
            }
            TestItem::Tolerance { name, relative, absolute, .. } => {
                tolerance(&names, name, relative.as_ref(), absolute.as_ref(), out)
            }
            TestItem::Absent { names: left_out, .. } => {
                for n in left_out {
                    match names.tensors.get(&n.name) {
                        Some(t) if t.optional => {
                            absent.insert(n.name.clone());
                        }
                        Some(_) => out.push(
                            Diagnostic::error("T0283", n.span, format!("`{}` is not optional", n.name))
                                .help("only `in?` and `out?` parameters can be left out"),
                        ),
                        None => unknown(&names, n, out),
                    }
                }
            }
            TestItem::Pairs(_) | TestItem::Rounded(_) => {}
        }
    }
    unbound(test, &names, &bound, &absent, &lists, out);
}

fn values(item: &TestItem) -> Vec<(&Ident, &Expr)> {
    match item {
        TestItem::Set { name, value, .. } => vec![(name, value)],
        TestItem::Each { name, values, .. } => values.iter().map(|v| (name, v)).collect(),
        _ => vec![],
    }
}

fn unknown(names: &Names, n: &Ident, out: &mut Vec<Diagnostic>) {
    let all = names.bindable();
    let d = Diagnostic::error("T0281", n.span, format!("the kernel has no `{}`", n.name));
    out.push(match nearest(&n.name, all.iter().map(String::as_str)) {
        Some(near) => d.help(format!("did you mean `{near}`?")),
        None => d.help(format!("a test binds {}", all.join(", "))),
    });
}

/// One value for one name.
fn one(m: &Module, names: &Names, name: &Ident, value: &Expr, out: &mut Vec<Diagnostic>) {
    let bad = |why: String, help: String| Diagnostic::error("T0283", value.span, why).help(help);
    let n = &name.name;
    match names.generic(n) {
        Some(Generic::Dtype { choices, .. }) => {
            let d = plain(value).and_then(DType::from_name);
            let listed = choices.is_empty() || d.is_some_and(|d| choices.iter().any(|c| c.name == d.name()));
            if d.is_none() || !listed {
                let all: Vec<&str> = choices.iter().map(|c| c.name.as_str()).collect();
                out.push(bad(
                    format!("`{n}` is a dtype of the kernel's list"),
                    format!("one of {}", all.join(", ")),
                ));
            }
        }
        Some(Generic::Const { ty, choices, .. }) => {
            let want_bool = ty.as_ref().is_some_and(|t| t.name == "bool");
            match &value.kind {
                ExprKind::Bool(_) if !want_bool => {
                    out.push(bad(format!("`{n}` is a number"), format!("`{n} = 64`")))
                }
                ExprKind::Int(_) if want_bool => {
                    out.push(bad(format!("`{n}` is a bool"), format!("`{n} in [false, true]`")))
                }
                ExprKind::Int(v) if !choices.is_empty() => {
                    let all: Vec<i64> = choices
                        .iter()
                        .filter_map(|c| match c.kind {
                            ExprKind::Int(v) => Some(v),
                            _ => None,
                        })
                        .collect();
                    if !all.contains(v) {
                        out.push(bad(format!("`{n}` cannot be {v}"), format!("the kernel lists {all:?}")));
                    }
                }
                _ => {}
            }
        }
        Some(Generic::Function { .. }) => {
            let found = plain(value)
                .and_then(|f| m.resolve(m.main(), f))
                .is_some_and(|at| matches!(m.item(at).kind, ItemKind::Fn(_)));
            if !found {
                out.push(bad(
                    format!("`{n}` is a function"),
                    "name a function of this file, its `use` lines or the prelude".into(),
                ));
            }
        }
        None => {
            let dim = names.dims.iter().any(|d| d == n);
            if dim && !size_like(value) {
                out.push(bad(format!("`{n}` is a dimension"), format!("`{n} = 64`, `{n} in [1, 17]`")));
            } else if !dim && !names.bindable().contains(n) {
                unknown(names, name, out);
            }
            if dim && matches!(value.kind, ExprKind::Unary { op: UnaryOp::Neg, .. }) {
                out.push(bad(format!("`{n}` is negative"), "a dimension is 0 or more".into()));
            }
        }
    }
}

/// An integer, or arithmetic over other names.
fn size_like(e: &Expr) -> bool {
    match &e.kind {
        ExprKind::Int(_) | ExprKind::Name(_) | ExprKind::Broken => true,
        ExprKind::Paren(e) | ExprKind::Unary { operand: e, .. } => size_like(e),
        ExprKind::Binary { lhs, rhs, .. } => size_like(lhs) && size_like(rhs),
        ExprKind::Call { args, .. } => args.iter().all(|a| size_like(&a.value)),
        _ => false,
    }
}

fn tolerance(names: &Names, name: &Ident, rel: Option<&Expr>, abs: Option<&Expr>, out: &mut Vec<Diagnostic>) {
    match names.tensors.get(&name.name) {
        Some(t) if t.access != Access::In => {}
        Some(_) => {
            out.push(Diagnostic::error(
                "T0284",
                name.span,
                format!("`{}` is an input; a tolerance is for outputs", name.name),
            ));
        }
        None => unknown(names, name, out),
    }
    for e in rel.into_iter().chain(abs) {
        let v = match &e.kind {
            ExprKind::Float(t) => t.replace('_', "").parse::<f64>().ok(),
            ExprKind::Int(v) => Some(*v as f64),
            ExprKind::Broken => Some(0.0),
            _ => None,
        };
        if !v.is_some_and(|v| v.is_finite() && v >= 0.0) {
            let d = Diagnostic::error("T0284", e.span, "a tolerance is a number, 0 or more");
            out.push(d.help("`o: rel 2e-3, abs 1e-5`"));
        }
    }
}

/// Names that the test leaves open.
fn unbound(
    test: &Test,
    names: &Names,
    bound: &BTreeSet<String>,
    absent: &BTreeSet<String>,
    lists: &BTreeSet<String>,
    out: &mut Vec<Diagnostic>,
) {
    let mut missing: Vec<String> = vec![];
    for d in &names.dims {
        let present = |n: &str| !absent.contains(n);
        let needed = names.tensors.iter().any(|(n, t)| present(n) && t.names.contains(d));
        // A list gives the sizes of its tensor.
        let listed = names.tensors.iter().any(|(n, t)| lists.contains(n) && t.names.contains(d));
        if needed && !listed && !bound.contains(d) {
            missing.push(d.clone());
        }
    }
    for g in &names.generics {
        let (name, open) = match g {
            Generic::Const { name, ty, default, .. } => {
                (name, default.is_none() && ty.as_ref().is_none_or(|t| t.name != "bool"))
            }
            Generic::Dtype { name, choices, default } => (name, default.is_none() && choices.len() != 1),
            Generic::Function { name, default, .. } => (name, default.is_none()),
        };
        if open && !bound.contains(&name.name) {
            missing.push(name.name.clone());
        }
    }
    if missing.is_empty() {
        return;
    }
    let message = format!("this test does not bind {}", missing.join(", "));
    let help = format!("`{0} = ..;` or `{0} in [.., ..];`", missing[0]);
    out.push(Diagnostic::error("T0282", test.name.span, message).help(help));
}
