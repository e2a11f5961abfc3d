//! Expressions.
//!
//! Operators by precedence climbing: [`binary`] with a least binding strength reads an operand, then takes
//! operators at least that strong, each with a right side of stronger ones. Loosest first: `..`, `||`, `&&`,
//! comparisons (not chained), `|`, `^`, `&`, shifts, `+ -`, `* / % @`, unary, postfix.
//!
//! `else` directly after the `]` of a subscript belongs to the subscript and takes a unary operand, so that
//! `x[t - 1] else 0 + y` is `(x[t - 1] else 0) + y`.

use super::{
    fault::type_in_expression,
    input::{
        Fault, Parsed, Tokens, Want, any_word, bracketed, chain, enclosed, fail, grow, lit, name, nested,
    },
    stmt::block,
    types::ty,
};
use crate::{
    ast::*,
    lexer::{int_value, unescape},
    token::Kind,
};
use nom::{
    Parser,
    combinator::{cut, map, opt},
    sequence::preceded,
};
use tile_base::Diagnostic;

/// A whole expression, ranges included.
pub fn expr(i: Tokens<'_>) -> Parsed<'_, Expr> {
    chain(|i| {
        let (rest, lo) = binary(i, 0)?;
        if !rest.is("..") {
            return Ok((rest, lo));
        }
        let (rest, hi) = cut(|i| binary(i, 0)).parse(rest.next())?;
        grow(rest)?;
        Ok((
            rest,
            Expr { kind: ExprKind::Range { lo: Box::new(lo), hi: Box::new(hi) }, span: i.span_to(rest) },
        ))
    })
    .parse(i)
}

/// A value between `<` and `>`: only arithmetic, unless in parentheses, so that a `>` always closes.
pub fn generic_value(i: Tokens<'_>) -> Parsed<'_, Expr> {
    chain(|i| binary(i, SUM)).parse(i)
}

const COMPARISON: u8 = 2;
const SUM: u8 = 7;

/// The operator at this place, how strongly it binds, and how many tokens it is.
fn operator(i: Tokens<'_>) -> Option<(BinaryOp, u8, usize)> {
    use BinaryOp::*;
    let token = i.peek();
    if token.kind != Kind::Punct {
        return None;
    }
    let next = i.look(1);
    let twice = next.text == token.text && next.span.start == token.span.end;
    Some(match token.text {
        "||" => (OrOr, 0, 1),
        "&&" => (AndAnd, 1, 1),
        "==" => (Eq, COMPARISON, 1),
        "!=" => (Ne, COMPARISON, 1),
        "<" if twice => (Shl, 6, 2),
        ">" if twice => (Shr, 6, 2),
        "<" => (Lt, COMPARISON, 1),
        "<=" => (Le, COMPARISON, 1),
        ">" => (Gt, COMPARISON, 1),
        ">=" => (Ge, COMPARISON, 1),
        "|" => (Or, 3, 1),
        "^" => (Xor, 4, 1),
        "&" => (And, 5, 1),
        "+" => (Add, SUM, 1),
        "-" => (Sub, SUM, 1),
        "*" => (Mul, 8, 1),
        "/" => (Div, 8, 1),
        "%" => (Rem, 8, 1),
        "@" => (Dot, 8, 1),
        _ => return None,
    })
}

fn binary(i: Tokens<'_>, least: u8) -> Parsed<'_, Expr> {
    let (mut rest, mut lhs) = unary(i)?;
    let mut compared = false;
    while let Some((op, strength, tokens)) = operator(rest) {
        if strength < least {
            break;
        }
        if strength == COMPARISON && std::mem::replace(&mut compared, true) {
            return fail(Fault::exact(rest, chained_comparison(rest)));
        }
        let (after, rhs) = cut(|i| binary(i, strength + 1)).parse(rest.at(rest.position() + tokens))?;
        grow(rest)?;
        rest = after;
        let kind = ExprKind::Binary { op, lhs: Box::new(lhs), rhs: Box::new(rhs) };
        lhs = Expr { kind, span: i.span_to(rest) };
    }
    Ok((rest, lhs))
}

fn chained_comparison(i: Tokens<'_>) -> Diagnostic {
    Diagnostic::error("T0111", i.peek().span, "comparisons do not chain")
        .label("a second comparison")
        .help("write `a < b && b < c`; constants to functions go by name, `f(x, k = 8)`, not in `<>`")
}

pub fn unary(i: Tokens<'_>) -> Parsed<'_, Expr> {
    let op = match i.peek().text {
        "-" if i.peek().kind == Kind::Punct => UnaryOp::Neg,
        "!" if i.peek().kind == Kind::Punct => UnaryOp::Not,
        _ => return postfix(i),
    };
    let (rest, operand) = nested(cut(unary)).parse(i.next())?;
    Ok((rest, Expr { kind: ExprKind::Unary { op, operand: Box::new(operand) }, span: i.span_to(rest) }))
}

fn postfix(i: Tokens<'_>) -> Parsed<'_, Expr> {
    let (mut rest, mut base) = primary(i)?;
    loop {
        let callable = matches!(base.kind, ExprKind::Name(_) | ExprKind::Path(_));
        let (after, kind) = match rest.peek().text {
            "." if rest.peek().kind == Kind::Punct => dotted(base, rest.next())?,
            "[" if rest.peek().kind == Kind::Punct => subscripted(base, rest)?,
            "(" if callable && rest.peek().kind == Kind::Punct => {
                let (after, args) = args(rest)?;
                (after, ExprKind::Call { function: Box::new(base), args })
            }
            _ => return Ok((rest, base)),
        };
        grow(rest)?;
        rest = after;
        base = Expr { kind, span: i.span_to(rest) };
    }
}

/// `.name`, `.name(args)`, `.to(type)`
fn dotted(base: Expr, i: Tokens<'_>) -> Parsed<'_, ExprKind> {
    let (rest, word) = cut(any_word).parse(i)?;
    if !rest.is("(") {
        return Ok((rest, ExprKind::Field { base: Box::new(base), name: word }));
    }
    if word.name == "to" {
        let (rest, ty) = nested(enclosed("(", ty, ")")).parse(rest)?;
        return Ok((rest, ExprKind::To { value: Box::new(base), ty }));
    }
    let (rest, args) = args(rest)?;
    Ok((rest, ExprKind::Method { receiver: Box::new(base), name: word, args }))
}

fn subscripted(base: Expr, i: Tokens<'_>) -> Parsed<'_, ExprKind> {
    let (rest, subscripts) = nested(bracketed("[", subscript, "]")).parse(i)?;
    if subscripts.is_empty() {
        let empty = Diagnostic::error("T0101", i.span_to(rest), "expected a subscript, found `]`")
            .label("nothing between the brackets")
            .help("`:` takes the whole axis");
        return fail(Fault::exact(i.next(), empty));
    }
    let base = Box::new(base);
    if !rest.is("else") {
        return Ok((rest, ExprKind::Subscript { base, subscripts, otherwise: None }));
    }
    let (rest, otherwise) = map(nested(cut(unary)), |o| Some(Box::new(o))).parse(rest.next())?;
    Ok((rest, ExprKind::Subscript { base, subscripts, otherwise }))
}

fn subscript(i: Tokens<'_>) -> Parsed<'_, Subscript> {
    if i.is(":") {
        return Ok((i.next(), Subscript::All(i.peek().span)));
    }
    if i.is("_") {
        return Ok((i.next(), Subscript::New(i.peek().span)));
    }
    if i.is("..") {
        let open = Diagnostic::error("T0101", i.peek().span, "a range has two ends")
            .label("the lower end is missing")
            .help("write `0..n`, or `:` for the whole axis");
        return fail(Fault::exact(i, open));
    }
    map(expr, Subscript::Expr).parse(i)
}

/// `(a, k = 8)`
pub fn args(i: Tokens<'_>) -> Parsed<'_, Vec<Arg>> {
    nested(bracketed("(", arg, ")")).parse(i)
}

fn arg(i: Tokens<'_>) -> Parsed<'_, Arg> {
    if i.peek().kind == Kind::Name && i.look(1).is("=") {
        let (i, name) = name(i)?;
        let (i, value) = cut(expr).parse(i.next())?;
        return Ok((i, Arg { name: Some(name), value }));
    }
    map(expr, |value| Arg { name: None, value }).parse(i)
}

fn primary(i: Tokens<'_>) -> Parsed<'_, Expr> {
    let token = i.peek();
    let simple = |kind| Ok((i.next(), Expr { kind, span: token.span }));
    let (rest, kind) = match token.kind {
        Kind::Int => return simple(ExprKind::Int(int_value(token.text).unwrap_or_default())),
        Kind::Float => return simple(ExprKind::Float(token.text.into())),
        Kind::Str => return simple(ExprKind::Str(unescape(token.text).0)),
        Kind::Dtype => return dtype_value(i),
        Kind::Name if i.look(1).is("::") => path(i)?,
        Kind::Name if reducer_follows(i) => reducer(i)?,
        Kind::Name => return simple(ExprKind::Name(token.text.into())),
        Kind::Keyword => match token.text {
            "true" => return simple(ExprKind::Bool(true)),
            "false" => return simple(ExprKind::Bool(false)),
            "inf" => return simple(ExprKind::Inf),
            "nan" => return simple(ExprKind::Nan),
            "if" => nested(map(conditional, |c| ExprKind::If(Box::new(c)))).parse(i)?,
            _ => return not_an_expression(i),
        },
        Kind::Punct => match token.text {
            "(" => parenthesised(i)?,
            "[" => nested(map(bracketed("[", expr, "]"), ExprKind::List)).parse(i)?,
            "{" => map(block, |b| ExprKind::Block(Box::new(b))).parse(i)?,
            _ => return not_an_expression(i),
        },
        Kind::Label | Kind::End => return not_an_expression(i),
    };
    Ok((rest, Expr { kind, span: i.span_to(rest) }))
}

fn not_an_expression(i: Tokens<'_>) -> Parsed<'_, Expr> {
    Err(nom::Err::Error(Fault::want(i, Want::What("an expression"))))
}

/// A dtype as the value of an argument: `acc = f16`, `T in [f16, bf16]`. What looks like a type is refused.
fn dtype_value(i: Tokens<'_>) -> Parsed<'_, Expr> {
    let token = i.peek();
    if ["[", "(", ".", "::"].contains(&i.look(1).text) {
        return fail(Fault::exact(i, type_in_expression(token)));
    }
    Ok((i.next(), Expr { kind: ExprKind::Name(token.text.into()), span: token.span }))
}

fn path(i: Tokens<'_>) -> Parsed<'_, ExprKind> {
    map(nom::multi::separated_list1(lit("::"), cut(name)), ExprKind::Path).parse(i)
}

fn parenthesised(i: Tokens<'_>) -> Parsed<'_, ExprKind> {
    let (rest, mut items) = nested(bracketed("(", expr, ")")).parse(i)?;
    let comma = rest.at(rest.position() - 2).is(",");
    match items.len() {
        0 => fail(Fault::want(i.next(), Want::What("an expression"))),
        1 if !comma => Ok((rest, ExprKind::Paren(Box::new(items.remove(0))))),
        _ => Ok((rest, ExprKind::Tuple(items))),
    }
}

/// `if c { … } else if d { … } else { … }`, as statement and as expression.
pub fn conditional(i: Tokens<'_>) -> Parsed<'_, If> {
    let (i, condition) = preceded(lit("if"), cut(expr)).parse(i)?;
    let (i, then) = cut(block).parse(i)?;
    let (i, otherwise) = opt(preceded(lit("else"), cut(otherwise))).parse(i)?;
    Ok((i, If { condition, then, otherwise }))
}

fn otherwise(i: Tokens<'_>) -> Parsed<'_, Else> {
    if i.is("if") {
        let (rest, inner) = nested(conditional).parse(i)?;
        return Ok((rest, Else::If(Box::new(inner), i.span_to(rest))));
    }
    map(block, Else::Block).parse(i)
}

/// Whether `name(` begins `sum(j, d in 0..D: …)`: names and commas up to `:` or `in`.
fn reducer_follows(i: Tokens<'_>) -> bool {
    if !i.look(1).is("(") {
        return false;
    }
    let mut at = 2;
    while i.look(at).kind == Kind::Name {
        match i.look(at + 1).text {
            ":" | "in" => return true,
            "," => at += 2,
            _ => return false,
        }
    }
    false
}

fn reducer(i: Tokens<'_>) -> Parsed<'_, ExprKind> {
    let binder = |i| (name, opt(preceded(lit("in"), cut(expr)))).parse(i);
    let (i, name) = name(i)?;
    let inside = |i| {
        let (i, binders) = super::input::listed(binder)(i)?;
        let (i, body) = preceded(cut(lit(":")), cut(expr)).parse(i)?;
        Ok((i, (binders, body)))
    };
    let (i, (binders, body)) = nested(enclosed("(", inside, ")")).parse(i)?;
    Ok((i, ExprKind::Reducer { name, binders, body: Box::new(body) }))
}
