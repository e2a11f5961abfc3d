//! Formatting keeps what it formats: random programs with comments and odd blanks anywhere, trees that lack the
//! parentheses they need; and nothing, however damaged, makes the front end panic or hang.

mod common;

use common::{
    check_format, corpus,
    ebnf::{Ebnf, Rng, join, sentence},
    read,
};
use proptest::prelude::*;
use std::sync::LazyLock;
use tile_base::Span;
use tile_syntax::{ast::*, format, parse, print_tree};

static EBNF: LazyLock<Ebnf> = LazyLock::new(Ebnf::read);

/// The tokens with blanks, line breaks, empty lines and numbered comments between them. Gives the text and the
/// number of comments.
fn scatter(tokens: &[String], rng: &mut Rng) -> (String, usize) {
    let (mut text, mut comments) = (String::new(), 0);
    for token in tokens {
        text += token;
        // A `///` line ends with the line; a comment right behind would be part of it.
        let doc = token.starts_with("///");
        match rng.below(12) {
            0 => text.push('\n'),
            1 => text.push_str("\n\n\n"),
            2 if !doc => {
                comments += 1;
                text += &format!("  // remark {comments}\n");
            }
            3 => {
                comments += 1;
                text += &format!("\n\n   //own line {comments}   \n\n");
            }
            4 => text.push_str(" \t "),
            _ => text.push(' '),
        }
    }
    (text, comments)
}

/// `PROPTEST_CASES` asks for more than the few that every run does.
fn config() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok());
    ProptestConfig { cases: asked.unwrap_or(500), failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn programs_with_comments(seed: u64, depth in 10usize..30, items in 1usize..4) {
        let mut rng = Rng::new(seed);
        let mut tokens = vec![];
        for _ in 0..items {
            tokens.extend(sentence(&EBNF, depth, &mut rng));
        }
        let (text, comments) = scatter(&tokens, &mut rng);
        let parsed = read(&text);
        prop_assert_eq!(parsed.file.comments.len(), comments);
        let formatted = check_format("scattered", &text);
        // Comments, blanks and breaks do not matter to the tree.
        let plain = read(&join(&tokens)).file;
        prop_assert_eq!(print_tree(&plain), print_tree(&parsed.file));
        prop_assert!(read(&formatted).file.comments.len() == comments);
    }

    #[test]
    fn trees_made_by_hand(expr in expression()) {
        let file = in_function(expr);
        let text = format(&file);
        let parsed = read(&text);
        prop_assert!(parsed.diagnostics.is_empty(), "{}\n{text}", common::told(&text, &parsed));
        prop_assert_eq!(print_tree(&parsed.file), print_tree(&file), "{}", text);
    }

    #[test]
    fn any_text(text in "\\PC{0,200}") {
        survive(text.as_bytes());
    }

    #[test]
    fn any_tokens(words in prop::collection::vec(prop::sample::select(VOCABULARY), 0..120)) {
        survive(words.join(" ").as_bytes());
    }

    #[test]
    fn damaged_files(seed: u64, edits in 1usize..8) {
        let files = corpus();
        let mut rng = Rng::new(seed);
        let mut bytes = files[rng.below(files.len())].1.clone().into_bytes();
        for _ in 0..edits {
            if bytes.is_empty() {
                break;
            }
            let at = rng.below(bytes.len());
            match rng.below(5) {
                0 => bytes[at] = rng.below(256) as u8,
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, b"(){}[]<>;:.,\"'=/-"[rng.below(17)]),
                3 => bytes.truncate(at.max(1)),
                _ => {
                    let end = (at + rng.below(40)).min(bytes.len());
                    let piece = bytes[at..end].to_vec();
                    let to = rng.below(bytes.len());
                    bytes.splice(to..to, piece);
                }
            }
        }
        survive(&bytes);
    }
}

const VOCABULARY: &[&str] = &[
    "kernel", "fn", "spec", "test", "schedule", "op", "grad", "asm", "use", "where", "using", "const", "in",
    "tile", "let", "var", "view", "par", "for", "unroll", "while", "if", "else", "break", "assert", "run",
    "temp", "x", "f", "sum", "1", "2.5", "f32", "\"s\"", "'l", "(", ")", "[", "]", "{", "}", "<", ">", ",",
    ";", ":", ".", "=", "+=", "+", "-", "*", "@", "..", "::", "->", "!", "?", "_", "\n", "// c\n", "/// d\n",
    "é", "0x", "skip", "merge", "affine", "id", "to",
];

/// Parses, formats and prints; spans lie in the text and the diagnostics make sense.
fn survive(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let parsed = parse(tile_base::FileId(0), &text);
    for d in &parsed.diagnostics {
        let span = d.primary.expect("a syntax error has a place");
        assert!(text.get(span.range()).is_some(), "{d:?} is not in the text");
        assert!(!d.message.is_empty() && d.code.starts_with("T01"));
    }
    let formatted = format(&parsed.file);
    print_tree(&parsed.file);
    if parsed.diagnostics.is_empty() {
        assert_eq!(formatted, check_format("damaged", &text));
    }
}

// ---------------------------------------------------------------- trees

fn node(kind: ExprKind) -> Expr {
    Expr { kind, span: Span::default() }
}

fn ident(name: &str) -> Ident {
    Ident { name: name.into(), span: Span::default() }
}

fn block(value: Expr) -> Block {
    Block { stmts: vec![], value: Some(Box::new(value)), span: Span::default() }
}

/// Expressions without a single [`ExprKind::Paren`]: the formatter has to add what the grammar needs.
fn expression() -> impl Strategy<Value = Expr> {
    use BinaryOp::*;
    let leaf = prop_oneof![
        prop::sample::select(vec!["x", "acc", "M"]).prop_map(|n| node(ExprKind::Name(n.into()))),
        (0i64..100).prop_map(|v| node(ExprKind::Int(v))),
        Just(node(ExprKind::Float("2e-3".into()))),
        Just(node(ExprKind::Inf)),
        any::<bool>().prop_map(|b| node(ExprKind::Bool(b))),
        "[ -~\n\t]{0,8}".prop_map(|s| node(ExprKind::Str(s))),
    ];
    let ops =
        vec![OrOr, AndAnd, Eq, Ne, Lt, Le, Gt, Ge, Or, Xor, And, Shl, Shr, Add, Sub, Mul, Div, Rem, Dot];
    leaf.prop_recursive(6, 60, 3, move |inner| {
        let boxed = || inner.clone().prop_map(Box::new);
        let list = prop::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            4 => (prop::sample::select(ops.clone()), boxed(), boxed())
                .prop_map(|(op, lhs, rhs)| node(ExprKind::Binary { op, lhs, rhs })),
            2 => (any::<bool>(), boxed()).prop_map(|(n, operand)| {
                node(ExprKind::Unary { op: if n { UnaryOp::Neg } else { UnaryOp::Not }, operand })
            }),
            2 => (boxed(), inner.clone(), prop::option::of(boxed())).prop_map(|(base, index, otherwise)| {
                let subscripts =
                    vec![Subscript::All(Span::default()), Subscript::Expr(index), Subscript::New(Span::default())];
                node(ExprKind::Subscript { base, subscripts, otherwise })
            }),
            1 => (boxed(), boxed()).prop_map(|(lo, hi)| node(ExprKind::Range { lo, hi })),
            1 => list.clone().prop_map(|items| node(ExprKind::Tuple(items))),
            1 => list.clone().prop_map(|items| node(ExprKind::List(items))),
            1 => (boxed(), inner.clone()).prop_map(|(receiver, a)| {
                let args = vec![Arg { name: Some(ident("k")), value: a }];
                node(ExprKind::Method { receiver, name: ident("sum"), args })
            }),
            1 => boxed().prop_map(|base| node(ExprKind::Field { base, name: ident("t") })),
            1 => boxed().prop_map(|value| {
                let ty = Type { kind: TypeKind::Scalar(ident("f32")), span: Span::default() };
                node(ExprKind::To { value, ty })
            }),
            1 => inner.clone().prop_map(|a| {
                let function = Box::new(node(ExprKind::Name("f".into())));
                node(ExprKind::Call { function, args: vec![Arg { name: None, value: a }] })
            }),
            1 => (inner.clone(), boxed()).prop_map(|(range, body)| {
                let binders = vec![(ident("j"), None), (ident("d"), Some(range))];
                node(ExprKind::Reducer { name: ident("sum"), binders, body })
            }),
            1 => (inner.clone(), inner.clone(), inner.clone()).prop_map(|(condition, a, b)| {
                let otherwise = Some(Else::Block(block(b)));
                node(ExprKind::If(Box::new(If { condition, then: block(a), otherwise })))
            }),
            1 => inner.clone().prop_map(|v| node(ExprKind::Block(Box::new(block(v))))),
        ]
    })
}

/// The expression as a statement, a bound value, a generic's value, a condition and a block's value.
fn in_function(e: Expr) -> File {
    let stmt = |kind| Stmt { label: None, kind, span: Span::default() };
    let stmts = vec![
        stmt(StmtKind::Expr(e.clone())),
        stmt(StmtKind::Let { pattern: Pattern::Name(ident("y")), ty: None, value: e.clone() }),
        stmt(StmtKind::Run { name: ident("f"), generics: vec![(ident("C"), e.clone())], args: vec![] }),
        stmt(StmtKind::While { condition: e.clone(), body: block(node(ExprKind::Int(1))) }),
    ];
    let body = Block { stmts, value: Some(Box::new(e)), span: Span::default() };
    let function = Fn {
        name: ident("f"),
        generics: vec![],
        params: vec![],
        using: vec![],
        result: None,
        asm: None,
        body,
    };
    let item = Item { docs: vec![], kind: ItemKind::Fn(function), span: Span::default() };
    File { items: vec![item], ..File::default() }
}
