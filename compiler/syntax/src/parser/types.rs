//! Types and the parts of a declaration's head: generics, parameters, facts.

use super::{
    expr::{expr, generic_value},
    input::{Fault, Parsed, Tokens, Want, bracketed, enclosed, fail, listed, lit, name, nested, type_word},
};
use crate::ast::*;
use nom::{
    Parser,
    branch::alt,
    combinator::{cut, map, opt},
    sequence::preceded,
};

pub fn ty(i: Tokens<'_>) -> Parsed<'_, Type> {
    nested(bare_type).parse(i)
}

fn bare_type(i: Tokens<'_>) -> Parsed<'_, Type> {
    let typed = |rest: Tokens<'_>, kind| Type { kind, span: i.span_to(rest) };
    if i.is("fn") {
        let (rest, f) = fn_type(i)?;
        return Ok((rest, typed(rest, TypeKind::Function(f))));
    }
    if i.is("[") {
        let (rest, (element, len)) = enclosed("[", (ty, preceded(lit(";"), expr)), "]").parse(i)?;
        return Ok((rest, typed(rest, TypeKind::Array { element: Box::new(element), len: Box::new(len) })));
    }
    if i.is("(") {
        let (rest, items) = bracketed("(", ty, ")").parse(i)?;
        return Ok((rest, typed(rest, TypeKind::Tuple(items))));
    }
    let (rest, kind) = alt((index_type, map(type_word, TypeKind::Scalar))).parse(i)?;
    let element = typed(rest, kind);
    if !rest.is("[") {
        return Ok((rest, element));
    }
    let (rest, axes) = bracketed("[", expr, "]").parse(rest)?;
    Ok((rest, typed(rest, TypeKind::Tile { element: Box::new(element), axes })))
}

/// `id<N>`, `id?<N>`, `count<N>`, `offsets<N>`
fn index_type(i: Tokens<'_>) -> Parsed<'_, TypeKind> {
    let optional = i.look(1).is("?");
    let kind = match i.peek().text {
        "id" if optional && i.look(2).is("<") => IndexType::IdOrNone,
        "id" if i.look(1).is("<") => IndexType::Id,
        "count" if i.look(1).is("<") => IndexType::Count,
        "offsets" if i.look(1).is("<") => IndexType::Offsets,
        _ => return Err(nom::Err::Error(Fault::want(i, Want::What("a type")))),
    };
    let i = if optional { i.next().next() } else { i.next() };
    let (i, bound) = enclosed("<", generic_value, ">").parse(i)?;
    Ok((i, TypeKind::Index { kind, bound: Box::new(bound) }))
}

/// `fn(b, h: index, x: f32) -> bool`
fn fn_type(i: Tokens<'_>) -> Parsed<'_, FnType> {
    let (rest, params) = preceded(lit("fn"), cut(|i| groups(i, ty))).parse(i)?;
    let (rest, result) = cut(preceded(lit("->"), ty)).parse(rest)?;
    let params = params.into_iter().map(|(name, ty, _)| (name, ty)).collect();
    Ok((rest, FnType { params, result: Box::new(result), span: i.span_to(rest) }))
}

/// `(a, b: type, c: type)`: names share the type that follows them. Each with its own name and the span from
/// the name to the end of the type.
fn groups<'a, T: Clone>(
    i: Tokens<'a>,
    mut ty: impl FnMut(Tokens<'a>) -> Parsed<'a, T>,
) -> Parsed<'a, Vec<(Ident, T, tile_base::Span)>> {
    let group = |i| {
        let (i, names) = listed(name).parse(i)?;
        let (rest, ty) = cut(preceded(lit(":"), &mut ty)).parse(i)?;
        let end = i.span_to(rest);
        Ok((rest, names.into_iter().map(|n| (n.clone(), ty.clone(), n.span.to(end))).collect::<Vec<_>>()))
    };
    map(bracketed("(", group, ")"), |groups| groups.into_iter().flatten().collect()).parse(i)
}

pub fn params(i: Tokens<'_>) -> Parsed<'_, Vec<Param>> {
    let param = |(name, (mode, ty), span)| Param { name, mode, ty, span };
    map(|i| groups(i, |i| (opt(mode), ty).parse(i)), |all| all.into_iter().map(param).collect()).parse(i)
}

/// `slopes: in f32[H], ids: in i32[B]`, after `using`.
pub fn captures(i: Tokens<'_>) -> Parsed<'_, Vec<Param>> {
    listed(capture).parse(i)
}

fn capture(i: Tokens<'_>) -> Parsed<'_, Param> {
    let (rest, (name, mode, ty)) = (name, preceded(cut(lit(":")), opt(mode)), cut(ty)).parse(i)?;
    Ok((rest, Param { name, mode, ty, span: i.span_to(rest) }))
}

/// `in`, `out?`, … before a type.
pub fn mode(i: Tokens<'_>) -> Parsed<'_, ParamMode> {
    let access = match i.peek().text {
        "in" => Access::In,
        "out" => Access::Out,
        "inout" => Access::InOut,
        "sum" => Access::Sum,
        _ => return Err(nom::Err::Error(Fault::want(i, Want::What("a mode")))),
    };
    let (i, optional) = map(opt(lit("?")), |q| q.is_some()).parse(i.next())?;
    Ok((i, ParamMode { access, optional }))
}

/// `<T: f16 | bf16, const D, mask: fn(…) -> bool = all>`, or nothing.
pub fn generics(i: Tokens<'_>) -> Parsed<'_, Vec<Generic>> {
    if !i.is("<") {
        return Ok((i, vec![]));
    }
    bracketed("<", generic, ">").parse(i)
}

fn generic(i: Tokens<'_>) -> Parsed<'_, Generic> {
    if i.is("const") {
        return const_generic(i.next());
    }
    let (i, name) = name(i)?;
    if i.is(":") && i.look(1).is("fn") {
        let (i, ty) = nested(fn_type).parse(i.next())?;
        let (i, default) = opt(preceded(lit("="), cut(self::name))).parse(i)?;
        return Ok((i, Generic::Function { name, ty, default }));
    }
    let choices = cut(nom::multi::separated_list1(lit("|"), type_word));
    let (i, choices) = map(opt(preceded(lit(":"), choices)), Option::unwrap_or_default).parse(i)?;
    let (i, default) = opt(preceded(lit("="), cut(type_word))).parse(i)?;
    Ok((i, Generic::Dtype { name, choices, default }))
}

fn const_generic(i: Tokens<'_>) -> Parsed<'_, Generic> {
    let (i, name) = cut(name).parse(i)?;
    let (i, ty) = opt(preceded(lit(":"), cut(type_word))).parse(i)?;
    let (i, choices) = choices(i)?;
    let (i, default) = opt(preceded(lit("="), cut(generic_value))).parse(i)?;
    Ok((i, Generic::Const { name, ty, choices, default }))
}

/// `in {64, 128}`, or nothing.
pub fn choices(i: Tokens<'_>) -> Parsed<'_, Vec<Expr>> {
    let Ok((i, _)) = lit("in")(i) else { return Ok((i, vec![])) };
    let (rest, values) = cut(bracketed("{", expr, "}")).parse(i)?;
    if values.is_empty() {
        return fail(Fault::want(i.next(), Want::What("an expression")));
    }
    Ok((rest, values))
}

/// `where HQ % HK == 0, D <= 256`, or nothing.
pub fn facts(i: Tokens<'_>) -> Parsed<'_, Vec<Expr>> {
    map(opt(preceded(lit("where"), cut(listed(expr)))), Option::unwrap_or_default).parse(i)
}
