//! Text to tree: whole files as snapshots, precedence and binding as pairs.

mod common;

use common::{read, told};
use tile_syntax::{format, print_tree};

fn tree(text: &str) -> String {
    let parsed = read(text);
    assert!(parsed.diagnostics.is_empty(), "{}", told(text, &parsed));
    print_tree(&parsed.file)
}

#[test]
fn three_kernels() {
    insta::assert_snapshot!(tree(include_str!("corpus/three_kernels.tile")));
}

#[test]
fn everything() {
    insta::assert_snapshot!(tree(include_str!("corpus/everything.tile")));
}

#[test]
fn formatted() {
    for (name, text) in [
        ("three_kernels_formatted", include_str!("corpus/three_kernels.tile")),
        ("everything_formatted", include_str!("corpus/everything.tile")),
        ("comments_formatted", include_str!("corpus/comments.tile")),
    ] {
        insta::assert_snapshot!(name, format(&read(text).file));
    }
}

/// The expression as it binds.
#[track_caller]
fn binds(text: &str, expected: &str) {
    let tree = tree(&format!("fn f() {{ {text} }}"));
    let value = tree.lines().last().unwrap().trim().strip_prefix("value ").unwrap();
    assert_eq!(value, expected, "{text}");
}

#[test]
fn precedence() {
    binds("a + b * c", "(a + (b * c))");
    binds("a - b - c", "((a - b) - c)");
    binds("a * b @ c", "((a * b) @ c)");
    binds("-a * b", "((-a) * b)");
    binds("-x.t", "(-x.t)");
    binds("!a && b || c", "(((!a) && b) || c)");
    binds("a < b && c >= d", "((a < b) && (c >= d))");
    binds("a & b == c", "((a & b) == c)");
    binds("a | b ^ c & d << e + f", "(a | (b ^ (c & (d << (e + f)))))");
    binds("a - 1..b + 1", "((a - 1)..(b + 1))");
    binds("0x1F + 0b101 + 65_536", "((31 + 5) + 65536)");
    binds("a-1", "(a - 1)");
    binds("a--1", "(a - (-1))");
}

#[test]
fn else_of_a_subscript() {
    binds("x[t - 1, c] else 0", "(x[(t - 1), c] else 0)");
    binds("x[t] else 0 + y", "((x[t] else 0) + y)");
    binds("x[t] else -inf", "(x[t] else (-inf))");
    binds("x[t] else y[t] else 0", "(x[t] else (y[t] else 0))");
    binds("(x[t] else 0).to(f32)", "(x[t] else 0).to(f32)");
    binds("if c { x[t] else 0 } else { 1 }", "(if c {value (x[t] else 0)} else {value 1})");
    binds("if c { x[t] } else { 1 }", "(if c {value x[t]} else {value 1})");
}

#[test]
fn conditions_end_at_the_brace() {
    binds("if a < b { c } else { d }", "(if (a < b) {value c} else {value d})");
    binds("1 + if s0 { s0[n] } else { 0 }", "(1 + (if s0 {value s0[n]} else {value 0}))");
    let text = "fn f() { for j in ids[b, :] skip c { g(j); } while x { h(); } if y { 1 } }";
    assert_eq!(
        tree(text),
        "fn f\n  for j in ids[b, :] skip c\n    do g(j)\n  while x\n    do h()\n  value (if y {value 1})\n"
    );
}

#[test]
fn reducers_and_calls() {
    binds("sum(j, d in 0..D: q[d] * k[j, d])", "sum(j, d in (0..D): (q[d] * k[j, d]))");
    binds("sum(j, d)", "sum(j, d)");
    binds("max(j: x[j])", "max(j: x[j])");
    binds("topk(x, k = 8, axis = -1)", "topk(x, k = 8, axis = (-1))");
    binds("dot(a, b, acc = f16)", "dot(a, b, acc = f16)");
    binds("x.merge(0, 1).t[:, 0]", "x.merge(0, 1).t[:, 0]");
    binds("masks::causal(i, j)", "masks::causal(i, j)");
}

#[test]
fn shared_types() {
    let expected = "fn f\n  param a: f32\n  param b: index\n  param c: index\n  value 1\n";
    assert_eq!(tree("fn f(a: f32, b, c: index) { 1 }"), expected);
    assert_eq!(tree("fn f(a: f32, b: index, c: index) { 1 }"), expected);
}

#[test]
fn spans_cover_what_they_name() {
    let text = "fn f() { let y = (q @ k.t) * s; y }";
    let parsed = read(text);
    let tile_syntax::ast::ItemKind::Fn(f) = &parsed.file.items[0].kind else { panic!() };
    let stmt = &f.body.stmts[0];
    assert_eq!(&text[stmt.span.range()], "let y = (q @ k.t) * s;");
    let tile_syntax::ast::StmtKind::Let { value, .. } = &stmt.kind else { panic!() };
    assert_eq!(&text[value.span.range()], "(q @ k.t) * s");
    assert_eq!(&text[f.body.span.range()], "{ let y = (q @ k.t) * s; y }");
    assert_eq!(&text[parsed.file.items[0].span.range()], text);
}
