//! Tests and schedules: lists of small rows.

use super::{
    expr::{expr, unary},
    input::{Fault, Parsed, Tokens, Want, any_word, bracketed, fail, lit, name},
    stmt::{block_end, recover, semicolon},
};
use crate::{ast::*, lexer::int_value, token::Kind};
use nom::{
    Parser,
    combinator::{cut, map, opt},
    multi::separated_list1,
    sequence::preceded,
};
use tile_base::Span;

// ---------------------------------------------------------------- tests

pub fn test(i: Tokens<'_>) -> Parsed<'_, Test> {
    let (i, name) = dotted_name(i)?;
    let (mut i, open) = lit("{")(i)?;
    let mut items = vec![];
    loop {
        if let Some(rest) = block_end(i, open.span) {
            return Ok((rest, Test { name, items }));
        }
        let height = i.cx.height();
        match test_item(i) {
            Ok((rest, item)) => {
                items.push(item);
                i = rest;
            }
            Err(fault) => {
                i.cx.set_height(height);
                i = recover(i, fault);
            }
        }
    }
}

/// One item and the `;` or `,` after it, which may be left out before `}`.
fn test_item(i: Tokens<'_>) -> Parsed<'_, TestItem> {
    let (rest, item) = bare_test_item(i)?;
    if rest.is(";") || rest.is(",") {
        return Ok((rest.next(), item));
    }
    if rest.is("}") || rest.ended() {
        return Ok((rest, item));
    }
    fail(Fault { want: vec![Want::Token(","), Want::Token(";")], ..Fault::want(rest, Want::Token("}")) })
}

fn bare_test_item(i: Tokens<'_>) -> Parsed<'_, TestItem> {
    let alone = [";", ",", "}"].contains(&i.look(1).text);
    match i.peek().text {
        "pairs" if alone => return Ok((i.next(), TestItem::Pairs(i.peek().span))),
        "rounded" if alone => return Ok((i.next(), TestItem::Rounded(i.peek().span))),
        "absent" if i.look(1).kind == Kind::Name => return absent(i),
        _ => {}
    }
    let (rest, name) = dotted_name(i)?;
    if rest.is("=") {
        let (rest, value) = cut(expr).parse(rest.next())?;
        return Ok((rest, TestItem::Set { name, value, span: i.span_to(rest) }));
    }
    if rest.is("in") {
        let (rest, values) = cut(bracketed("[", expr, "]")).parse(rest.next())?;
        return Ok((rest, TestItem::Each { name, values, span: i.span_to(rest) }));
    }
    if rest.is(":") {
        let (rest, (relative, absolute)) = tolerance(rest.next())?;
        return Ok((rest, TestItem::Tolerance { name, relative, absolute, span: i.span_to(rest) }));
    }
    fail(Fault { want: vec![Want::Token("="), Want::Token("in")], ..Fault::want(rest, Want::Token(":")) })
}

/// `mask.slopes`, an argument that a function captures; `f.vjp`, a program that a `grad` makes: one name with a dot in it.
fn dotted_name(i: Tokens<'_>) -> Parsed<'_, Ident> {
    let (rest, words) = separated_list1(lit("."), name).parse(i)?;
    let joined = words.iter().map(|w| w.name.as_str()).collect::<Vec<_>>().join(".");
    Ok((rest, Ident { name: joined, span: i.span_to(rest) }))
}

/// `rel 2e-3, abs 1e-5`, one of the two, or `exact`.
fn tolerance(i: Tokens<'_>) -> Parsed<'_, (Option<Expr>, Option<Expr>)> {
    if i.is("exact") {
        return Ok((i.next(), (None, None)));
    }
    let bound = |word| preceded(lit(word), cut(unary));
    if i.is("abs") {
        return map(bound("abs"), |abs| (None, Some(abs))).parse(i);
    }
    let (i, rel) = nom::branch::alt((bound("rel"), |i| {
        let want = vec![Want::Token("rel"), Want::Token("abs"), Want::Token("exact")];
        fail(Fault { want, ..Fault::want(i, Want::Token("rel")) })
    }))
    .parse(i)?;
    let more = i.is(",") && i.look(1).is("abs") && !["=", "in", ":", "."].contains(&i.look(2).text);
    let (i, abs) = if more { map(bound("abs"), Some).parse(i.next())? } else { (i, None) };
    Ok((i, (Some(rel), abs)))
}

/// `absent bias, lse`: names as long as no `=`, `in` or `:` follows.
fn absent(i: Tokens<'_>) -> Parsed<'_, TestItem> {
    let (mut rest, first) = cut(dotted_name).parse(i.next())?;
    let mut names = vec![first];
    while rest.is(",") {
        let Ok((after, next)) = dotted_name(rest.next()) else { break };
        if ![",", ";", "}"].contains(&after.peek().text) || ["pairs", "rounded"].contains(&next.name.as_str())
        {
            break;
        }
        names.push(next);
        rest = after;
    }
    Ok((rest, TestItem::Absent { names, span: i.span_to(rest) }))
}

// ---------------------------------------------------------------- schedules

pub fn schedule(i: Tokens<'_>) -> Parsed<'_, Schedule> {
    let (i, name) = name(i)?;
    let (i, target) = opt(preceded(lit("for"), cut(name_of_target))).parse(i)?;
    let (i, guard) = opt(preceded(lit("where"), cut(expr))).parse(i)?;
    let (i, open) = lit("{")(i)?;
    let (i, items) = rows(i, open.span)?;
    Ok((i, Schedule { name, target, guard, items }))
}

fn name_of_target(i: Tokens<'_>) -> Parsed<'_, Ident> {
    name(i)
}

fn rows(mut i: Tokens<'_>, open: Span) -> Parsed<'_, Vec<ScheduleItem>> {
    let mut items = vec![];
    loop {
        if let Some(rest) = block_end(i, open) {
            return Ok((rest, items));
        }
        if i.is(";") {
            i = i.next();
            continue;
        }
        let height = i.cx.height();
        match row(i) {
            Ok((rest, item)) => {
                items.push(item);
                i = rest;
            }
            Err(fault) => {
                i.cx.set_height(height);
                i = recover(i, fault);
            }
        }
    }
}

fn row(i: Tokens<'_>) -> Parsed<'_, ScheduleItem> {
    let start = i;
    let (mut i, keyword) = any_word(i)?;
    let mut words = vec![];
    while !(i.is(";") || i.is("}") || i.ended()) {
        let (rest, word) = schedule_word(i)?;
        words.push(word);
        i = rest;
    }
    let span = start.span_to(i);
    let (i, ()) = if i.is("}") { (i, ()) } else { semicolon(i)? };
    Ok((i, ScheduleItem { keyword, words, span }))
}

fn schedule_word(i: Tokens<'_>) -> Parsed<'_, ScheduleWord> {
    let token = i.peek();
    if token.is(",") {
        return Ok((i.next(), ScheduleWord::Comma));
    }
    if token.kind == Kind::Int {
        return Ok((i.next(), ScheduleWord::Int(int_value(token.text).unwrap_or_default(), token.span)));
    }
    if token.kind == Kind::Name && i.look(1).is("=") {
        let (rest, value) = cut(expr).parse(i.next().next())?;
        return Ok((rest, ScheduleWord::Bind(Ident { name: token.text.into(), span: token.span }, value)));
    }
    if token.kind == Kind::Name && i.look(1).is("(") {
        let (rest, (function, args)) = (name, bracketed("(", expr, ")")).parse(i)?;
        return Ok((rest, ScheduleWord::Call(function, args)));
    }
    match map(separated_list1(lit("."), any_word), ScheduleWord::Path).parse(i) {
        Err(_) => fail(Fault::want(i, Want::What("a name, a number, `,` or `;`"))),
        found => found,
    }
}
