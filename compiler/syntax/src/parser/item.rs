//! Items: what stands at the top of a file.

use super::{
    harness::{schedule, test},
    input::{Fault, Parsed, Tokens, Want, bracketed, kind, lit, name, type_word},
    spec::spec,
    stmt::{block, semicolon},
    types::{captures, facts, generics, mode, params, ty},
};
use crate::{ast::*, lexer::unescape, token::Kind};
use nom::{
    Parser,
    combinator::{cut, map, opt},
    sequence::preceded,
};

pub fn item(i: Tokens<'_>) -> Parsed<'_, ItemKind> {
    let after = i.next();
    match i.peek().text {
        "use" => use_item(after),
        "kernel" => map(cut(kernel), ItemKind::Kernel).parse(after),
        "fn" => map(cut(|i| function(i, false)), ItemKind::Fn).parse(after),
        "asm" => map(cut(preceded(lit("fn"), |i| function(i, true))), ItemKind::Fn).parse(after),
        "spec" => map(cut(spec), ItemKind::Spec).parse(after),
        "test" => map(cut(test), ItemKind::Test).parse(after),
        "schedule" => map(cut(schedule), ItemKind::Schedule).parse(after),
        "op" => map(cut(op), ItemKind::Op).parse(after),
        "grad" => map(cut(grad), ItemKind::Grad).parse(after),
        _ => Err(nom::Err::Error(Fault::want(
            i,
            Want::What(
                "an item: `kernel`, `fn`, `spec`, `test`, `schedule`, `op`, `grad`, `asm fn` or `use`",
            ),
        ))),
    }
}

/// `attention::masks::{causal};`
fn use_item(i: Tokens<'_>) -> Parsed<'_, ItemKind> {
    let (mut i, first) = cut(name).parse(i)?;
    let mut used = Use { path: vec![first], names: None };
    while let Ok((rest, _)) = lit("::")(i) {
        if rest.is("{") {
            let (rest, names) = bracketed("{", name, "}").parse(rest)?;
            used.names = Some(names);
            i = rest;
            break;
        }
        let (rest, next) = cut(name).parse(rest)?;
        used.path.push(next);
        i = rest;
    }
    let (i, ()) = semicolon(i)?;
    Ok((i, ItemKind::Use(used)))
}

fn kernel(i: Tokens<'_>) -> Parsed<'_, Kernel> {
    map((name, generics, params, facts, block), |(name, generics, params, facts, body)| Kernel {
        name,
        generics,
        params,
        facts,
        body,
    })
    .parse(i)
}

fn op(i: Tokens<'_>) -> Parsed<'_, HostOp> {
    map((name, generics, params, facts, block), |(name, generics, params, facts, body)| HostOp {
        name,
        generics,
        params,
        facts,
        body,
    })
    .parse(i)
}

/// `f(x: f32) -> f32 using s: in f32[H] { … }`; of an `asm fn` the template stands before the body.
fn function(i: Tokens<'_>, is_asm: bool) -> Parsed<'_, Fn> {
    let (i, (name, generics, params)) = (name, generics, params).parse(i)?;
    let (i, result) = opt(preceded(lit("->"), cut(ty))).parse(i)?;
    let (i, using) = map(opt(preceded(lit("using"), cut(captures))), Option::unwrap_or_default).parse(i)?;
    let template = map(kind(Kind::Str, "the instruction in quotes"), |t| unescape(t.text).0);
    let (i, asm) = if is_asm { map(template, Some).parse(i)? } else { (i, None) };
    let (i, body) = block(i)?;
    Ok((i, Fn { name, generics, params, using, result, asm, body }))
}

/// `f<…>(go for o) -> (dq: sum f32 for q, dk for k) { … }`
fn grad(i: Tokens<'_>) -> Parsed<'_, Grad> {
    let list = |i| bracketed("(", gradient, ")").parse(i);
    let parts = (name, generics, list, preceded(lit("->"), list), block);
    map(parts, |(name, generics, seeds, results, body)| Grad { name, generics, seeds, results, body })
        .parse(i)
}

/// `dq: sum f32 for q`
fn gradient(i: Tokens<'_>) -> Parsed<'_, Gradient> {
    let ty = opt(preceded(lit(":"), cut((mode, opt(type_word)))));
    let (rest, (name, ty, of)) = (name, ty, cut(preceded(lit("for"), name))).parse(i)?;
    let (mode, element) = ty.map_or((None, None), |(mode, element)| (Some(mode), element));
    Ok((rest, Gradient { name, mode, element, of, span: i.span_to(rest) }))
}
