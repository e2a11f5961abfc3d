//! Blocks and statements, and how the parser goes on after a fault in one.
//!
//! A statement that cannot be read becomes [`StmtKind::Broken`]. [`resume`] then looks for the next place where
//! a statement may begin: after a `;`, before the `}` of this block, or at a statement's or item's word that is
//! first on its line.

use super::{
    expr::{args, conditional, expr, generic_value},
    fault::missing_semicolon,
    input::{Fault, Parsed, Tokens, Want, bracketed, fail, kind, listed, lit, name, nested},
    types::{choices, ty},
};
use crate::{ast::*, lexer::unescape, token::Kind};
use nom::{
    Parser,
    branch::alt,
    combinator::{cut, map, opt},
    sequence::{preceded, terminated},
};
use tile_base::Diagnostic;

/// `{ statements; value }`
pub fn block(i: Tokens<'_>) -> Parsed<'_, Block> {
    let start = i;
    let (i, (stmts, value)) = nested(|i| {
        let (i, open) = lit("{")(i)?;
        pieces(i, open.span)
    })
    .parse(i)?;
    Ok((i, Block { stmts, value, span: start.span_to(i) }))
}

enum Piece {
    Stmt(Stmt),
    Value(Expr),
}

type Pieces = (Vec<Stmt>, Option<Box<Expr>>);

/// What stands between `{` and `}`, and the `}`.
fn pieces(mut i: Tokens<'_>, open: tile_base::Span) -> Parsed<'_, Pieces> {
    let mut stmts = vec![];
    loop {
        if let Some(rest) = block_end(i, open) {
            return Ok((rest, (stmts, None)));
        }
        if i.is(";") {
            i = i.next();
            continue;
        }
        let height = i.cx.height();
        match piece(i) {
            Ok((rest, Piece::Stmt(stmt))) => {
                stmts.push(stmt);
                i = rest;
            }
            Ok((rest, Piece::Value(value))) => {
                let rest = block_end(rest, open).unwrap_or(rest);
                return Ok((rest, (stmts, Some(Box::new(value)))));
            }
            Err(fault) => {
                i.cx.set_height(height);
                let rest = recover(i, fault);
                stmts.push(Stmt { label: None, kind: StmtKind::Broken, span: i.span_to(rest) });
                i = rest;
            }
        }
    }
}

/// Past the `}`; or here, with a report, where the block plainly ends without one.
pub fn block_end(i: Tokens<'_>, open: tile_base::Span) -> Option<Tokens<'_>> {
    if i.is("}") {
        return Some(i.next());
    }
    let token = i.peek();
    if !(i.ended() || token.first && token.starts_item()) {
        return None;
    }
    let message = format!("expected `}}`, found {}", token.describe());
    let d = Diagnostic::error("T0103", token.span, message)
        .label("the block must end before this")
        .also(open, "this is still open");
    i.cx.report(d.help("add `}`"));
    Some(i)
}

/// Reports, then goes to where the next statement may begin; always past at least one token.
pub fn recover<'a>(start: Tokens<'a>, fault: nom::Err<Fault>) -> Tokens<'a> {
    let (nom::Err::Error(fault) | nom::Err::Failure(fault)) = fault else { return start.next() };
    let at = fault.at.max(start.position());
    start.cx.report_fault(fault);
    resume(start, at)
}

/// From `start`, whose statement failed at the token `failed`.
fn resume(start: Tokens<'_>, failed: usize) -> Tokens<'_> {
    let mut i = start;
    let mut depth = 0usize;
    loop {
        let token = i.peek();
        let moved = i.position() > start.position();
        let beyond = i.position() >= failed && moved;
        if i.ended() || moved && token.first && token.starts_item() {
            return i;
        }
        match token.text {
            "{" => depth += 1,
            "}" if depth == 0 && i.position() >= failed => return i,
            "}" => depth = depth.saturating_sub(1),
            ";" if depth == 0 && i.position() >= failed => return i.next(),
            _ if depth == 0 && beyond && token.first && token.starts_statement() => return i,
            _ => {}
        }
        i = i.next();
    }
}

fn piece(i: Tokens<'_>) -> Parsed<'_, Piece> {
    let token = i.peek();
    if token.kind == Kind::Keyword && token.text == "if" {
        return conditional_piece(i);
    }
    if token.is("{") {
        let (rest, block) = block(i)?;
        let valued = block.value.is_some();
        let value = Expr { kind: ExprKind::Block(Box::new(block)), span: i.span_to(rest) };
        return Ok((
            rest,
            if valued && rest.is("}") { Piece::Value(value) } else { expression(i, rest, value) },
        ));
    }
    if token.kind == Kind::Label || token.starts_statement() {
        return map(statement, Piece::Stmt).parse(i);
    }
    if token.kind == Kind::Keyword && ["else", "const", "where", "in"].contains(&token.text)
        || token.starts_item()
    {
        return Err(nom::Err::Error(Fault::want(i, Want::What("a statement"))));
    }
    let (rest, value) = expr(i).map_err(|e| as_statement(e, i))?;
    if rest.is("=") || rest.is("+=") {
        return map(|r| assignment(i, r, value.clone()), Piece::Stmt).parse(rest);
    }
    if rest.is("}") {
        return Ok((rest, Piece::Value(value)));
    }
    let (rest, ()) = semicolon(rest)?;
    Ok((rest, expression(i, rest, value)))
}

/// At the first token of a statement, "an expression" is too narrow.
fn as_statement(e: nom::Err<Fault>, i: Tokens<'_>) -> nom::Err<Fault> {
    match e {
        nom::Err::Error(f) if f.exact.is_none() && f.at == i.position() && i.peek().kind != Kind::Dtype => {
            nom::Err::Error(Fault::want(i, Want::What("a statement")))
        }
        other => other,
    }
}

fn expression<'a>(start: Tokens<'a>, rest: Tokens<'a>, value: Expr) -> Piece {
    Piece::Stmt(Stmt { label: None, kind: StmtKind::Expr(value), span: start.span_to(rest) })
}

/// An `if` that ends a block and whose arms have values is the block's value; else it is a statement.
fn conditional_piece(i: Tokens<'_>) -> Parsed<'_, Piece> {
    let (rest, found) = nested(conditional).parse(i)?;
    let span = i.span_to(rest);
    if rest.is("}") && has_value(&found) {
        return Ok((rest, Piece::Value(Expr { kind: ExprKind::If(Box::new(found)), span })));
    }
    Ok((rest, Piece::Stmt(Stmt { label: None, kind: StmtKind::If(found), span })))
}

/// Whether some arm ends in an expression.
pub fn has_value(c: &If) -> bool {
    c.then.value.is_some()
        || match &c.otherwise {
            Some(Else::Block(b)) => b.value.is_some(),
            Some(Else::If(c, _)) => has_value(c),
            None => false,
        }
}

fn assignment<'a>(start: Tokens<'a>, i: Tokens<'a>, place: Expr) -> Parsed<'a, Stmt> {
    let op = if i.is("=") { AssignOp::Set } else { AssignOp::Add };
    if !matches!(place.kind, ExprKind::Name(_) | ExprKind::Subscript { otherwise: None, .. }) {
        let d = Diagnostic::error("T0117", place.span, "this cannot be assigned to")
            .label("not a variable and not a part of a tensor")
            .help("assign to a `var`, or to elements: `o[b, i] = e;`; several values at once are `let (a, b) = e;`");
        return fail(Fault::exact(i, d));
    }
    let (i, value) = terminated(cut(expr), semicolon).parse(i.next())?;
    Ok((i, Stmt { label: None, kind: StmtKind::Assign { place, op, value }, span: start.span_to(i) }))
}

/// `;`. Where it is missing and the next token is on a new line or closes the block, says so and goes on.
pub fn semicolon(i: Tokens<'_>) -> Parsed<'_, ()> {
    if i.is(";") {
        return Ok((i.next(), ()));
    }
    let plain = i.peek().first && !["=", "-=", "*=", "/=", ")", "]", ","].contains(&i.peek().text);
    match i.previous() {
        Some(previous) if plain || i.is("}") => {
            i.cx.report(missing_semicolon(previous));
            Ok((i, ()))
        }
        _ => fail(Fault::want(i, Want::Token(";"))),
    }
}

fn statement(i: Tokens<'_>) -> Parsed<'_, Stmt> {
    let start = i;
    let (i, label) = opt(label).parse(i)?;
    if label.is_some() && !["for", "while", "unroll", "par"].iter().any(|w| i.is(w)) {
        return fail(Fault::want(i, Want::What("a loop after its label")));
    }
    let (i, kind) = match i.peek().text {
        "tile" => terminated(map(preceded(lit("tile"), cut(listed(tile_decl))), StmtKind::Tile), semicolon)
            .parse(i)?,
        "let" => let_statement(i.next())?,
        "var" => var_statement(i.next())?,
        "view" => view(i.next())?,
        "par" => par(i.next())?,
        "for" => for_loop(i.next())?,
        "unroll" => unroll(i.next())?,
        "while" => while_loop(i.next())?,
        "if" => map(conditional, StmtKind::If).parse(i)?,
        "break" => map(preceded(lit("break"), semicolon), |()| StmtKind::Break).parse(i)?,
        "assert" => assert(i.next())?,
        "run" => run(i.next())?,
        "temp" => temp(i.next())?,
        _ => return Err(nom::Err::Error(Fault::want(i, Want::What("a statement")))),
    };
    Ok((i, Stmt { label, kind, span: start.span_to(i) }))
}

/// `'kv:`
fn label(i: Tokens<'_>) -> Parsed<'_, Ident> {
    let (i, token) = kind(Kind::Label, "a label")(i)?;
    let (i, _) = cut(lit(":")).parse(i)?;
    Ok((i, Ident { name: token.text[1..].to_string(), span: token.span }))
}

fn tile_decl(i: Tokens<'_>) -> Parsed<'_, TileDecl> {
    map((name, choices), |(name, choices)| TileDecl { name, choices }).parse(i)
}

fn let_statement(i: Tokens<'_>) -> Parsed<'_, StmtKind> {
    let parts = (cut(pattern), opt(preceded(lit(":"), cut(ty))), cut(preceded(lit("="), expr)));
    map(terminated(parts, semicolon), |(pattern, ty, value)| StmtKind::Let { pattern, ty, value }).parse(i)
}

fn var_statement(i: Tokens<'_>) -> Parsed<'_, StmtKind> {
    let parts = (cut(name), opt(preceded(lit(":"), cut(ty))), cut(preceded(lit("="), expr)));
    map(terminated(parts, semicolon), |(name, ty, value)| StmtKind::Var { name, ty, value }).parse(i)
}

fn pattern(i: Tokens<'_>) -> Parsed<'_, Pattern> {
    if i.is("_") {
        return Ok((i.next(), Pattern::Ignore(i.peek().span)));
    }
    if i.is("(") {
        let (rest, all) = nested(bracketed("(", pattern, ")")).parse(i)?;
        return Ok((rest, Pattern::Tuple(all, i.span_to(rest))));
    }
    map(name, Pattern::Name).parse(i)
}

/// `kb[s in len[b], d in D] = pages[…];`
fn view(i: Tokens<'_>) -> Parsed<'_, StmtKind> {
    let axis = |i| (name, cut(preceded(lit("in"), expr))).parse(i);
    let parts = (cut(name), cut(bracketed("[", axis, "]")), cut(preceded(lit("="), expr)));
    map(terminated(parts, semicolon), |(name, axes, value)| StmtKind::View { name, axes, value }).parse(i)
}

fn par(i: Tokens<'_>) -> Parsed<'_, StmtKind> {
    let axis =
        |i| map((name, cut(preceded(lit("in"), expr))), |(name, range)| ParAxis { name, range }).parse(i);
    map((cut(listed(axis)), cut(block)), |(axes, body)| StmtKind::Par { axes, body }).parse(i)
}

fn for_loop(i: Tokens<'_>) -> Parsed<'_, StmtKind> {
    let (i, pattern) = cut(pattern).parse(i)?;
    let (i, range) = cut(preceded(lit("in"), expr)).parse(i)?;
    let (i, claims) = nom::multi::many0(claim).parse(i)?;
    let (i, body) = cut(block).parse(i)?;
    Ok((i, StmtKind::For { pattern, range, claims, body }))
}

fn claim(i: Tokens<'_>) -> Parsed<'_, Claim> {
    alt((
        map(preceded(lit("skip"), cut(expr)), Claim::Skip),
        merge,
        map(preceded(lit("affine"), cut(name)), Claim::Affine),
    ))
    .parse(i)
}

/// `merge f(m, l, acc)`
fn merge(i: Tokens<'_>) -> Parsed<'_, Claim> {
    let (rest, (function, vars)) = preceded(lit("merge"), cut((name, bracketed("(", name, ")")))).parse(i)?;
    Ok((rest, Claim::Merge { function, vars, span: i.span_to(rest) }))
}

fn unroll(i: Tokens<'_>) -> Parsed<'_, StmtKind> {
    let parts = (cut(name), cut(preceded(lit("in"), expr)), cut(block));
    map(parts, |(name, range, body)| StmtKind::Unroll { name, range, body }).parse(i)
}

fn while_loop(i: Tokens<'_>) -> Parsed<'_, StmtKind> {
    map((cut(expr), cut(block)), |(condition, body)| StmtKind::While { condition, body }).parse(i)
}

fn assert(i: Tokens<'_>) -> Parsed<'_, StmtKind> {
    let message = map(kind(Kind::Str, "a message in quotes"), |t| unescape(t.text).0);
    let parts = (cut(expr), opt(preceded(lit(","), cut(message))));
    map(terminated(parts, semicolon), |(condition, message)| StmtKind::Assert { condition, message }).parse(i)
}

/// `f<C = C>(a, b);`
fn run(i: Tokens<'_>) -> Parsed<'_, StmtKind> {
    let binding = |i| (name, cut(preceded(lit("="), generic_value))).parse(i);
    let generics = map(opt(bracketed("<", binding, ">")), Option::unwrap_or_default);
    map(terminated((cut(name), generics, cut(args)), semicolon), |(name, generics, args)| StmtKind::Run {
        name,
        generics,
        args,
    })
    .parse(i)
}

fn temp(i: Tokens<'_>) -> Parsed<'_, StmtKind> {
    let parts = (cut(name), cut(preceded(lit(":"), ty)));
    map(terminated(parts, semicolon), |(name, ty)| StmtKind::Temp { name, ty }).parse(i)
}
