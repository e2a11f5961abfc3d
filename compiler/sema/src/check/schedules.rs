//! Schedules name what their kernel has. What a row means is the planner's affair; names are the same for all targets.

use super::names::Names;
use crate::module::nearest;
use std::collections::BTreeSet;
use tile_base::Diagnostic;
use tile_syntax::ast::{Expr, ExprKind, Ident, Schedule, ScheduleItem, ScheduleWord};

/// The closed table, with whether the first word after the keyword is a path.
const ROWS: &[(&str, bool)] = &[
    ("tile", false),
    ("stages", true),
    ("stream", true),
    ("split", true),
    ("walk", true),
    ("order", true),
    ("grid", false),
    ("cluster", false),
    ("roles", false),
    ("regs", false),
    ("place", true),
    ("layout", true),
    ("inst", true),
    ("class", true),
    ("save", true),
    ("fuse", false),
    ("pack", false),
    ("require", false),
];

/// Suffixes of split and peeled loops.
const SUFFIXES: &[&str] =
    &["full", "diag", "partial", "empty", "combine", "head", "tail", "prep", "step", "read"];

pub fn check(s: &Schedule, names: &Names, out: &mut Vec<Diagnostic>) {
    if let Some(g) = &s.guard {
        guard(g, names, out);
    }
    for item in &s.items {
        row(item, names, out);
    }
}

/// Schedules of one kernel that an earlier one always wins over.
pub fn unreachable(all: &[&Schedule], out: &mut Vec<Diagnostic>) {
    for (n, s) in all.iter().enumerate() {
        let wins = |e: &&&Schedule| {
            e.name.name == s.name.name
                && e.guard.is_none()
                && (e.target.is_none()
                    || e.target.as_ref().map(|t| &t.name) == s.target.as_ref().map(|t| &t.name))
        };
        if let Some(first) = all[..n].iter().find(wins) {
            let message = format!("this schedule of `{}` is never taken", s.name.name);
            let d = Diagnostic::warning("T0296", s.name.span, message)
                .also(first.name.span, "this one always matches before");
            out.push(d.help("put the schedule without `where` last"));
        }
    }
}

fn guard(e: &Expr, names: &Names, out: &mut Vec<Diagnostic>) {
    let mut used = BTreeSet::new();
    super::names::collect(e, &mut used);
    for n in used {
        let known = names.dims.contains(&n)
            || names.generic(&n).is_some()
            || tile_base::DType::from_name(&n).is_some();
        if !known {
            let d = Diagnostic::error(
                "T0291",
                e.span,
                format!("the guard names `{n}`, which the kernel does not have"),
            );
            let all = names.bindable();
            out.push(match nearest(&n, all.iter().map(String::as_str)) {
                Some(near) => d.help(format!("did you mean `{near}`?")),
                None => {
                    d.help(format!("a guard asks about dimensions and consts: {}", names.dims.join(", ")))
                }
            });
        }
    }
}

fn row(item: &ScheduleItem, names: &Names, out: &mut Vec<Diagnostic>) {
    let key = item.keyword.name.as_str();
    let Some(&(_, path_first)) = ROWS.iter().find(|(k, _)| *k == key) else {
        let d = Diagnostic::error("T0294", item.keyword.span, format!("a schedule has no row `{key}`"));
        let all = ROWS.iter().map(|(k, _)| *k);
        out.push(match nearest(key, all.clone()) {
            Some(near) => d.help(format!("did you mean `{near}`?")),
            None => d.help(format!("rows are {}", all.collect::<Vec<_>>().join(" "))),
        });
        return;
    };
    if key == "tile" {
        return tiles(item, names, out);
    }
    if key == "require" {
        return require(item, names, out);
    }
    if let (true, Some(ScheduleWord::Path(path))) = (path_first, item.words.first()) {
        check_path(path, names, out);
    }
}

/// `require stages j;`: a row without its value.
fn require(item: &ScheduleItem, names: &Names, out: &mut Vec<Diagnostic>) {
    let mut words = item.words.iter();
    let Some(ScheduleWord::Path(first)) = words.next() else { return };
    let [keyword] = &first[..] else { return };
    match ROWS.iter().find(|(k, _)| *k == keyword.name) {
        None => {
            let d =
                Diagnostic::error("T0294", keyword.span, format!("a schedule has no row `{}`", keyword.name));
            out.push(d.help("`require` names a row: `require stages j;`"));
        }
        Some((_, true)) => {
            if let Some(ScheduleWord::Path(path)) = words.next() {
                check_path(path, names, out);
            }
        }
        Some(_) => {}
    }
}

fn tiles(item: &ScheduleItem, names: &Names, out: &mut Vec<Diagnostic>) {
    for w in &item.words {
        let ScheduleWord::Bind(name, value) = w else { continue };
        let Some(allowed) = names.tiles.get(&name.name) else {
            let d =
                Diagnostic::error("T0291", name.span, format!("the kernel has no tile size `{}`", name.name));
            out.push(match nearest(&name.name, names.tiles.keys().map(String::as_str)) {
                Some(near) => d.help(format!("did you mean `{near}`?")),
                None => {
                    let all: Vec<&str> = names.tiles.keys().map(String::as_str).collect();
                    d.help(format!("its tile sizes are {}", all.join(", ")))
                }
            });
            continue;
        };
        match &value.kind {
            ExprKind::Int(v) if *v >= 1 && (allowed.is_empty() || allowed.contains(&(*v as u64))) => {}
            ExprKind::Broken => {}
            ExprKind::Int(v) if *v >= 1 => {
                let d = Diagnostic::error("T0295", value.span, format!("`{}` cannot be {v}", name.name));
                out.push(d.help(format!("the kernel lists {allowed:?}")));
            }
            _ => {
                let d = Diagnostic::error(
                    "T0295",
                    value.span,
                    format!("`{}` is a whole number, 1 or more", name.name),
                );
                out.push(d);
            }
        }
    }
}

fn check_path(path: &[Ident], names: &Names, out: &mut Vec<Diagnostic>) {
    let Some((last, front)) = path.split_last() else { return };
    let text = |p: &[Ident]| p.iter().map(|i| i.name.as_str()).collect::<Vec<_>>().join(".");
    let full = text(path);
    let span = path[0].span.to(last.span);
    let spans = match names.paths.get(&full) {
        Some(spans) => spans,
        None if !front.is_empty() && SUFFIXES.contains(&last.name.as_str()) => {
            match names.paths.get(&text(front)) {
                Some(spans) => spans,
                None => return missing(&full, span, names, out),
            }
        }
        None => return missing(&full, span, names, out),
    };
    if spans.len() > 1 {
        let d = Diagnostic::error("T0293", span, format!("`{full}` names {} different things", spans.len()));
        out.push(d.help("label the loop (`'kv: for j in ...`) or rename one of them"));
    }
}

fn missing(full: &str, span: tile_base::Span, names: &Names, out: &mut Vec<Diagnostic>) {
    let d = Diagnostic::error("T0292", span, format!("the kernel has nothing called `{full}`"));
    out.push(match nearest(full, names.paths.keys().map(String::as_str)) {
        Some(near) => d.help(format!("did you mean `{near}`?")),
        None => d.help("paths are loops, `let`s and `var`s; inside an inlined call they follow the `let` that holds it: `st.p`"),
    });
}
