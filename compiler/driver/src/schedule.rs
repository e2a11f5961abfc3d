//! Which `schedule` of a file holds for a kernel on a target, and what the plan is asked for by it.
//!
//! The first schedule whose name, target and guard fit is taken (language rule 22). Guards over compile-time names are
//! decided here; a guard on a run-time dimension is a choice at launch, which no backend makes yet, so such a schedule is
//! passed over with a note. Items that a backend does not honour yet are told (T0855); under `require` that is an error.

use crate::Loaded;
use tile_base::{Diagnostic, Span};
use tile_graph::Graph;
use tile_plan::Request;
use tile_syntax::ast;
use tile_target::Target;

/// What the file's schedule asks of the plan of one launch.
pub fn request(
    loaded: &Loaded,
    graph: &Graph,
    target: &'static Target,
    notes: &mut Vec<Diagnostic>,
) -> Result<Request, Vec<Diagnostic>> {
    let mut request = Request::default();
    let Some(schedule) = choose(loaded, graph, target, notes) else { return Ok(request) };
    let mut refused = vec![];
    for item in &schedule.items {
        match item.keyword.name.as_str() {
            "tile" => {
                for word in &item.words {
                    if let ast::ScheduleWord::Bind(name, value) = word {
                        let size =
                            crate::choose::size_of(value).and_then(|s| s.eval(&|n| constant(graph, n)).ok());
                        match size.and_then(|v| u64::try_from(v).ok()) {
                            Some(v) => request.tiles.push((name.name.clone(), v)),
                            None => refused.push(not_a_size(name)),
                        }
                    }
                }
            }
            "require" => refused.push(unhonoured(item, true)),
            _ => notes.push(unhonoured(item, false)),
        }
    }
    if refused.is_empty() { Ok(request) } else { Err(refused) }
}

fn choose<'a>(
    loaded: &'a Loaded,
    graph: &Graph,
    target: &Target,
    notes: &mut Vec<Diagnostic>,
) -> Option<&'a ast::Schedule> {
    for item in &loaded.ast().items {
        let ast::ItemKind::Schedule(s) = &item.kind else { continue };
        let fits =
            s.name.name == graph.signature.kernel && s.target.as_ref().is_none_or(|t| t.name == target.name);
        if !fits {
            continue;
        }
        match s.guard.as_ref().map(|g| guard(g, graph)) {
            None | Some(Some(true)) => return Some(s),
            Some(Some(false)) => {}
            Some(None) => notes.push(
                Diagnostic::note_at("T0856", s.guard.as_ref().map_or(item.span, |g| g.span), {
                    "this schedule is passed over: its guard is only known at launch"
                })
                .help("guard with compile-time parameters; a choice at launch is not made yet"),
            ),
        }
    }
    None
}

/// The value of a `const` parameter of this instance.
fn constant(graph: &Graph, name: &str) -> Option<i64> {
    let (_, text) = graph.signature.consts.iter().find(|(n, _)| n == name)?;
    match text.as_str() {
        "true" => Some(1),
        "false" => Some(0),
        _ => text.parse().ok(),
    }
}

/// A guard's truth; `None` when it depends on the launch.
fn guard(e: &ast::Expr, graph: &Graph) -> Option<bool> {
    use ast::{BinaryOp as B, ExprKind as E};
    match &e.kind {
        E::Bool(v) => Some(*v),
        E::Paren(inner) => guard(inner, graph),
        E::Name(n) => constant(graph, n).map(|v| v != 0),
        E::Unary { op: ast::UnaryOp::Not, operand } => guard(operand, graph).map(|v| !v),
        E::Binary { op: B::AndAnd, lhs, rhs } => match (guard(lhs, graph), guard(rhs, graph)) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (a, b) => Some(a? && b?),
        },
        E::Binary { op: B::OrOr, lhs, rhs } => match (guard(lhs, graph), guard(rhs, graph)) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (a, b) => Some(a? || b?),
        },
        E::Binary { op, lhs, rhs } => {
            if let Some(same) = same_dtype(lhs, rhs, graph) {
                return match op {
                    B::Eq => Some(same),
                    B::Ne => Some(!same),
                    _ => None,
                };
            }
            let value = |e| crate::choose::size_of(e)?.eval(&|n| constant(graph, n)).ok();
            let (a, b) = (value(lhs)?, value(rhs)?);
            match op {
                B::Eq => Some(a == b),
                B::Ne => Some(a != b),
                B::Lt => Some(a < b),
                B::Le => Some(a <= b),
                B::Gt => Some(a > b),
                B::Ge => Some(a >= b),
                _ => None,
            }
        }
        _ => None,
    }
}

/// `T == f16`
fn same_dtype(lhs: &ast::Expr, rhs: &ast::Expr, graph: &Graph) -> Option<bool> {
    let text = |e: &ast::Expr| match &e.kind {
        ast::ExprKind::Name(n) => {
            let bound = graph.signature.consts.iter().find(|(c, _)| c == n).map(|(_, v)| v.clone());
            let text = bound.unwrap_or_else(|| n.clone());
            tile_base::DType::from_name(&text)
        }
        _ => None,
    };
    Some(text(lhs)? == text(rhs)?)
}

fn not_a_size(name: &ast::Ident) -> Diagnostic {
    Diagnostic::error("T0806", name.span, format!("the tile size `{}` is given no whole number", name.name))
        .help("write a number or an expression over the kernel's const parameters")
}

fn unhonoured(item: &ast::ScheduleItem, required: bool) -> Diagnostic {
    let words: Span = item.span;
    let message = format!("`{}` is not honoured yet by the generic tensor-core path", item.keyword.name);
    let d = match required {
        true => Diagnostic::error("T0855", words, message),
        false => Diagnostic::note_at("T0855", words, message),
    };
    d.help("the kernel computes the same without it; `require` makes this an error")
}
