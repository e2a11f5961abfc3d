//! Specs: equations in index notation, with loops and conditions.

use super::{
    expr::expr,
    input::{Fault, Parsed, Tokens, Want, bracketed, lit, name, nested},
    stmt::{block_end, recover, semicolon},
};
use crate::{ast::*, token::Kind};
use nom::{
    Parser,
    branch::alt,
    combinator::{cut, map, opt},
    sequence::{preceded, terminated},
};

pub fn spec(i: Tokens<'_>) -> Parsed<'_, Spec> {
    map((name, body), |(name, stmts)| Spec { name, stmts }).parse(i)
}

fn body(i: Tokens<'_>) -> Parsed<'_, Vec<SpecStmt>> {
    nested(|i| {
        let (i, open) = lit("{")(i)?;
        statements(i, open.span)
    })
    .parse(i)
}

fn statements(mut i: Tokens<'_>, open: tile_base::Span) -> Parsed<'_, Vec<SpecStmt>> {
    let mut all = vec![];
    loop {
        if let Some(rest) = block_end(i, open) {
            return Ok((rest, all));
        }
        if i.is(";") {
            i = i.next();
            continue;
        }
        let height = i.cx.height();
        let (rest, kind) = match statement(i) {
            Ok(found) => found,
            Err(fault) => {
                i.cx.set_height(height);
                (recover(i, fault), SpecStmtKind::Broken)
            }
        };
        all.push(SpecStmt { kind, span: i.span_to(rest) });
        i = rest;
    }
}

fn statement(i: Tokens<'_>) -> Parsed<'_, SpecStmtKind> {
    match i.peek().text {
        "for" => for_loop(i.next()),
        "if" => conditional(i.next()),
        "let" => cut(|i| equation(i, true)).parse(i.next()),
        _ if i.peek().kind == Kind::Name => equation(i, false),
        _ => Err(nom::Err::Error(Fault::want(i, Want::What("an equation, `let`, `for` or `if`")))),
    }
}

/// `x[b, h, i] = e;`
fn equation(i: Tokens<'_>, local: bool) -> Parsed<'_, SpecStmtKind> {
    let (i, name) = name(i)?;
    let (i, indices) = if i.is("[") { bracketed("[", index, "]").parse(i)? } else { (i, vec![]) };
    let op = alt((map(lit("="), |_| AssignOp::Set), map(lit("+="), |_| AssignOp::Add)));
    let (i, (op, value)) = terminated((cut(op), cut(expr)), semicolon).parse(i)?;
    Ok((i, SpecStmtKind::Equation { local, name, indices, op, value }))
}

fn index(i: Tokens<'_>) -> Parsed<'_, SpecIndex> {
    if i.is(":") {
        return Ok((i.next(), SpecIndex::All(i.peek().span)));
    }
    if i.peek().kind == Kind::Name && ["in", ",", "]"].contains(&i.look(1).text) {
        let (i, (name, range)) = (name, opt(preceded(lit("in"), cut(expr)))).parse(i)?;
        return Ok((i, SpecIndex::Free { name, range }));
    }
    map(expr, SpecIndex::At).parse(i)
}

/// `t in lo..hi { … }`; `.rev()` at the end of the range turns the order round.
fn for_loop(i: Tokens<'_>) -> Parsed<'_, SpecStmtKind> {
    let (i, (name, range, body)) = (cut(name), cut(preceded(lit("in"), expr)), cut(body)).parse(i)?;
    let (range, reverse) = match range.kind {
        ExprKind::Method { receiver, name, args } if name.name == "rev" && args.is_empty() => {
            (*receiver, true)
        }
        kind => (Expr { kind, span: range.span }, false),
    };
    Ok((i, SpecStmtKind::For { name, range, reverse, body }))
}

fn conditional(i: Tokens<'_>) -> Parsed<'_, SpecStmtKind> {
    let (i, (condition, then)) = (cut(expr), cut(body)).parse(i)?;
    let closed = i.previous().map_or(0, |t| t.span.end);
    let Ok((i, _)) = lit("else")(i) else {
        return Ok((i, SpecStmtKind::If { condition, then, otherwise: vec![] }));
    };
    i.cx.arms.borrow_mut().push(closed);
    if !i.is("if") {
        let (i, otherwise) = cut(body).parse(i)?;
        return Ok((i, SpecStmtKind::If { condition, then, otherwise }));
    }
    let (rest, kind) = nested(conditional).parse(i.next())?;
    let otherwise = vec![SpecStmt { kind, span: i.span_to(rest) }];
    Ok((rest, SpecStmtKind::If { condition, then, otherwise }))
}
