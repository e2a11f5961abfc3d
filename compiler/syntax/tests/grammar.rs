//! `docs/grammar.ebnf` is the grammar: sentences derived from it parse, and the parser takes nothing else.
//!
//! Random sentences are parsed; then they are damaged at random, and parser and recogniser must agree on each.

mod common;

use common::{
    ebnf::{Ebnf, Node, Rng, join, sentence},
    read, told,
};
use std::collections::BTreeSet;
use tile_syntax::token::{ITEM_KEYWORDS, KEYWORDS, PREFIXES, PUNCTUATION};

#[test]
fn derived_sentences_parse() {
    let ebnf = Ebnf::read();
    let mut rng = Rng::new(1);
    let mut longest = 0;
    for round in 0..6000 {
        let tokens = sentence(&ebnf, 18 + round % 14, &mut rng);
        longest = longest.max(tokens.len());
        let text = join(&tokens);
        let parsed = read(&text);
        assert!(parsed.diagnostics.is_empty(), "{}\n{text}", told(&text, &parsed));
        common::check_format("derived", &text);
    }
    assert!(longest > 60, "the sentences are long enough to mean something: {longest}");
}

#[test]
fn each_rule_is_used() {
    let ebnf = Ebnf::read();
    let mut open = vec!["file".to_string()];
    let mut used = BTreeSet::new();
    fn rules(node: &Node, out: &mut Vec<String>) {
        match node {
            Node::Rule(n) => out.push(n.clone()),
            Node::Text(_) | Node::Token(_) => {}
            Node::Sequence(all) | Node::Choice(all) => all.iter().for_each(|n| rules(n, out)),
            Node::Optional(n) | Node::Repeat(n) | Node::Except(n, _) => rules(n, out),
        }
    }
    while let Some(name) = open.pop() {
        if used.insert(name.clone()) {
            rules(&ebnf.rules[&name], &mut open);
        }
    }
    assert_eq!(used, ebnf.rules.keys().cloned().collect());
}

#[test]
fn each_word_and_sign_of_the_lexer_is_in_the_grammar() {
    let texts = Ebnf::read().texts();
    for word in KEYWORDS.iter().chain(&ITEM_KEYWORDS).chain(&PUNCTUATION).chain(&PREFIXES) {
        assert!(*word == "return" || texts.contains(*word), "`{word}` is not in the grammar");
    }
    let page = include_str!("../../../docs/grammar.ebnf");
    let dtypes = page.lines().find(|l| l.trim_start().starts_with("DTYPE")).unwrap();
    for dtype in tile_base::DType::ALL {
        assert!(dtypes.split_whitespace().any(|w| w == dtype.name()), "{dtype} is not in the grammar");
    }
    for word in &KEYWORDS {
        assert!(
            page.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == *word),
            "{word} is not listed"
        );
    }
}

#[test]
fn parser_and_grammar_agree_on_damaged_sentences() {
    let ebnf = Ebnf::read();
    let mut rng = Rng::new(2);
    let vocabulary: Vec<String> =
        ebnf.texts().into_iter().chain(["x", "1", "f32"].map(String::from)).collect();
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..20_000 {
        let mut tokens = sentence(&ebnf, 18 + round % 10, &mut rng);
        if tokens.len() > 80 {
            continue;
        }
        let at = rng.below(tokens.len());
        match rng.below(4) {
            0 => drop(tokens.remove(at)),
            1 => tokens.insert(at, vocabulary[rng.below(vocabulary.len())].clone()),
            2 => tokens[at] = vocabulary[rng.below(vocabulary.len())].clone(),
            _ => {
                let other = rng.below(tokens.len());
                tokens.swap(at, other);
            }
        }
        let text = join(&tokens);
        let parsed = read(&text);
        let in_grammar = ebnf.derives("file", &tokens);
        assert_eq!(
            parsed.diagnostics.is_empty(),
            in_grammar,
            "the grammar {} this, the parser says:\n{}\n{text}",
            if in_grammar { "derives" } else { "does not derive" },
            told(&text, &parsed)
        );
        if in_grammar { accepted += 1 } else { refused += 1 }
    }
    assert!(accepted > 500 && refused > 5000, "both happen: {accepted} {refused}");
}

#[test]
fn the_corpus_is_derived() {
    let ebnf = Ebnf::read();
    for (path, text) in common::corpus() {
        let tokens = tile_syntax::token::texts(&text);
        // Item by item: the recogniser's sets grow with the length.
        let starts: Vec<usize> =
            (0..tokens.len()).filter(|&i| starts_item(&tokens, i)).chain([tokens.len()]).collect();
        for pair in starts.windows(2) {
            let item = &tokens[pair[0]..pair[1]];
            assert!(ebnf.derives("item", item), "{}: {}", path.display(), join(item));
        }
    }
}

/// An item's word at depth 0, but not the `fn` of `asm fn` or of a type.
fn starts_item(tokens: &[String], at: usize) -> bool {
    let depth = tokens[..at].iter().fold(0i32, |d, t| match t.as_str() {
        "{" | "(" => d + 1,
        "}" | ")" => d - 1,
        _ => d,
    });
    depth == 0
        && ITEM_KEYWORDS.contains(&tokens[at].as_str())
        && (at == 0 || !["asm", ":"].contains(&tokens[at - 1].as_str()))
}
