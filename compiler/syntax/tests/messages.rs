//! What the parser says of faulty text: code, the text the span covers, message, and help where it matters.

mod common;

use common::read;

/// `code 'text under the span': message`, a line for each.
fn said(text: &str) -> Vec<String> {
    let parsed = read(text);
    parsed
        .diagnostics
        .iter()
        .map(|d| format!("{} '{}': {}", d.code, &text[d.primary.unwrap().range()], d.message))
        .collect()
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    assert_eq!(said(text), expected, "in {text:?}");
}

/// In the body of a kernel.
#[track_caller]
fn check_body(body: &str, expected: &[&str]) {
    check(&format!("kernel k(x: in f32[N]) {{\n{body}\n}}\n"), expected);
}

#[track_caller]
fn check_help(text: &str, part: &str) {
    let parsed = read(text);
    let help: Vec<String> = parsed.diagnostics.iter().filter_map(|d| d.help.clone()).collect();
    assert!(help.iter().any(|h| h.contains(part)), "no help with {part:?} in {help:?}");
}

#[test]
fn plain_expectations() {
    check("kernel 3() {}", &["T0101 '3': expected a name, found the number `3`"]);
    check_body("let x = ;", &["T0101 ';': expected an expression, found `;`"]);
    check_body("x[];", &["T0101 '[]': expected a subscript, found `]`"]);
    check_body("f(a b);", &["T0101 'b': expected `,` or `)`, found the name `b`"]);
    check_body(
        "'kv: let x = 1;",
        &["T0101 'let': expected a loop after its label, found the reserved word `let`"],
    );
    check(
        "hello",
        &[
            "T0101 'hello': expected an item: `kernel`, `fn`, `spec`, `test`, `schedule`, `op`, `grad`, `asm fn` or `use`, found the name `hello`",
        ],
    );
    check_body("x[..3] = 1;", &["T0101 '..': a range has two ends"]);
}

#[test]
fn missing_semicolon() {
    check_body(
        "let x = 1\nlet y = 2\nf(y)\n",
        &[
            "T0102 '': `;` is missing at the end of the statement",
            "T0102 '': `;` is missing at the end of the statement",
        ],
    );
    check_body("let x = 1 y;", &["T0102 'y': expected `;`, found the name `y`"]);
    check("spec s { o[i] = x[i] }", &["T0102 '': `;` is missing at the end of the statement"]);
    check("use a::b\nuse c;", &["T0102 '': `;` is missing at the end of the statement"]);
}

#[test]
fn unclosed_and_stray() {
    check("fn f(x: f32 {\n x }", &["T0103 '{': expected `,` or `)`, found `{`"]);
    check(
        "kernel k() {\n let x = 1;\n\nfn g() { 1 }",
        &["T0103 'fn': expected `}`, found the reserved word `fn`"],
    );
    check("kernel k() {", &["T0103 '': expected `}`, found the end of the file"]);
    check_body("let x = f(a;\nlet y = 1;", &["T0103 ';': expected `,` or `)`, found `;`"]);
    check_body(
        "let x = f(a,\nlet y = 1;",
        &["T0103 'let': expected an expression, found the reserved word `let`"],
    );
    check("fn f() { 1 } }\nfn g() { 2 }", &["T0114 '}': this `}` closes nothing"]);
}

#[test]
fn habits_of_other_languages() {
    check_body("let y = (a + b));", &["T0114 ')': this `)` closes nothing"]);
    check_body("x++;", &["T0118 '++': `++` is not an operator here"]);
    check_body("x @= y;", &["T0118 '@=': `@=` is not an operator here"]);
    check_body("let y = x as f32;", &["T0102 'as': expected `;`, found the name `as`"]);
    check_help("fn f() { let y = x as f32; }", ".to(f32)");
    check_help("fn f() { let mut y = x; }", "var");
    check_help("fn f() { var y: f32; }", "starts with a value");
    check_help("fn f() { x.0 }", "let (a, b) = t;");
    check_help("def f(): x", "`fn`");
    check_body("let y = x.to(f32;", &["T0103 ';': expected `)`, found `;`"]);
    check_body("let w: f32[i, D = 0;", &["T0103 '=': expected `,` or `]`, found `=`"]);
}

#[test]
fn characters() {
    check_body(
        "let y = x × 2;",
        &["T0104 '×': unexpected character `×`", "T0102 '2': expected `;`, found the number `2`"],
    );
    check_help("fn f() { k\u{1d40} }", ".t");
    check("/* hm */ fn f() { 1 }", &["T0104 '/*': there are no block comments"]);
    check("fn f() { \"é is fine here\" } // and é here", &[]);
}

#[test]
fn nesting() {
    let deep = |n: usize| format!("fn f() {{ {}1{} }}", "(".repeat(n), ")".repeat(n));
    check(&deep(50), &[]);
    check(&deep(100), &["T0105 '(': this is nested too deeply"]);
    check(&deep(100_000), &["T0105 '(': this is nested too deeply"]);
    let chain = |n: usize| format!("fn f() {{ a{} }}", " + a".repeat(n));
    check(&chain(200), &[]);
    check(&chain(100_000), &["T0105 '+': this is nested too deeply"]);
    // Long and nested together: (((a + a …) + a …) + a …).
    let mut both = "a".to_string();
    for _ in 0..20 {
        both = format!("({both}{})", " + a".repeat(30));
    }
    check(&format!("fn f() {{ {both} }}"), &["T0105 '+': this is nested too deeply"]);
}

#[test]
fn literals() {
    check_body(
        "let x = 99999999999999999999;",
        &["T0106 '99999999999999999999': the number `99999999999999999999` does not fit 64 bits"],
    );
    check_body("let x = 1_;", &["T0106 '1_': `1_` is not a number"]);
    check_body("let x = 0b12;", &["T0106 '0b12': `0b12` is not a number"]);
    check_body(
        "let x = 0xffff_ffff_ffff_ffff;",
        &["T0106 '0xffff_ffff_ffff_ffff': the number `0xffff_ffff_ffff_ffff` does not fit 64 bits"],
    );
    check_body("let x = 1e999;", &["T0106 '1e999': the number `1e999` is beyond the greatest f64"]);
    check_body("let x = 2f32;", &["T0106 '2f32': `2f32` is not a number"]);
    check_body(
        "assert a, \"open;",
        &["T0107 '\"open;': this string has no end", "T0102 '': `;` is missing at the end of the statement"],
    );
    check_body("assert a, \"\\q\";", &["T0107 '\"\\q\"': `\\q` is not an escape"]);
}

#[test]
fn names_and_types() {
    check_body("let for = 1;", &["T0108 'for': `for` is a reserved word and cannot be a name"]);
    check("fn f(index: f32) { 1 }", &["T0108 'index': `index` is a type and cannot be a name"]);
    check_body("let x = f32[i, D];", &["T0109 'f32': the type `f32` stands where a value is expected"]);
    check_body("let x = f32(y);", &["T0109 'f32': the type `f32` stands where a value is expected"]);
    check_help("fn f() { f32(y) }", ".to(f32)");
}

#[test]
fn operators() {
    check_body("if a = b { f(); }", &["T0110 '=': expected `{`, found `=`"]);
    check_body("let y = f(g(a) = b);", &["T0110 '=': expected `,` or `)`, found `=`"]);
    check_help("fn f() { if a = b { 1 } else { 2 } }", "==");
    check_body("let x = a < b < c;", &["T0111 '<': comparisons do not chain"]);
    check_body("let x = f<8>(y);", &["T0111 '>': comparisons do not chain"]);
    check_body("x -= 1;", &["T0118 '-=': `-=` is not an operator here"]);
    check_body("let y = c ? a : b;", &["T0118 '?': `?` is not an operator here"]);
    check_body("return x;", &["T0118 'return': `return` is not an operator here"]);
}

#[test]
fn bodies_and_places() {
    check_body("if a f();", &["T0116 'f': expected `{`, found the name `f`"]);
    check_body("for i in 0..3 x[i] = 1;", &["T0116 'x': expected `{`, found the name `x`"]);
    check_body("f(x) = 1;", &["T0117 'f(x)': this cannot be assigned to"]);
    check_body("(a, b) = f(x);", &["T0117 '(a, b)': this cannot be assigned to"]);
}

#[test]
fn doc_comments() {
    check("fn f() {\n /// inside\n 1\n}", &["T0112 '/// inside': this documents nothing"]);
    check("fn f() { 1 }\n/// at the end", &["T0112 '/// at the end': this documents nothing"]);
}

#[test]
fn several_at_once_and_the_rest_is_read() {
    let text = "kernel a(x: in f32[N]) {\n let = 1;\n let y = 2;\n if { f(); }\n y = ;\n}\nfn b( { 1 }\nspec c { o[i] = ; p[i] = x[i]; }\nfn d() { 4 }\n";
    insta::assert_snapshot!(format!(
        "{}\n\n{}",
        said(text).join("\n"),
        tile_syntax::print_tree(&read(text).file)
    ));
}

#[test]
fn not_without_end() {
    let text = "fn f() { let = 1; }\n".repeat(200);
    let parsed = read(&text);
    assert_eq!(parsed.diagnostics.len(), 51);
    assert_eq!(parsed.diagnostics[50].code, "T0113");
    assert_eq!(parsed.diagnostics[50].message, "150 more faults in this file are not shown");
}

/// Every code that the sources use has a page, and no page is left over.
#[test]
fn every_code_has_a_page() {
    let mut sources = String::new();
    for dir in ["src", "src/parser"] {
        for entry in std::fs::read_dir(format!("{}/{dir}", env!("CARGO_MANIFEST_DIR"))).unwrap().flatten() {
            sources += &std::fs::read_to_string(entry.path()).unwrap_or_default();
        }
    }
    let used: std::collections::BTreeSet<&str> =
        sources.match_indices("\"T01").map(|(at, _)| &sources[at + 1..at + 6]).collect();
    let pages: std::collections::BTreeSet<&str> =
        tile_base::codes::PAGES.iter().map(|&(code, _)| code).filter(|c| c.starts_with("T01")).collect();
    assert_eq!(used, pages);
}
