//! Tokens and the words the language keeps for itself.
//!
//! A token borrows its text from the source. Reserved words are told apart here, once: the parser asks for a
//! [`Kind::Name`] and a reserved word is not one. Words that mean something only in one place (`out`, `skip`,
//! `merge`, `pairs`, the rows of a schedule) are ordinary names.

use tile_base::{DType, Span};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Name,
    /// One of [`KEYWORDS`].
    Keyword,
    /// A dtype or `index`.
    Dtype,
    Int,
    Float,
    /// With its quotes.
    Str,
    /// `'kv`, with the apostrophe.
    Label,
    /// One of [`PUNCTUATION`].
    Punct,
    /// After the last token; never taken.
    End,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Token<'a> {
    pub kind: Kind,
    pub text: &'a str,
    pub span: Span,
    /// The first token on its line: where recovery may assume that something new begins.
    pub first: bool,
}

/// Reserved words, besides the dtypes and `index`.
pub const KEYWORDS: [&str; 33] = [
    "use", "kernel", "fn", "asm", "spec", "test", "schedule", "op", "grad", "where", "using", "const", "in",
    "tile", "let", "var", "view", "par", "for", "unroll", "while", "if", "else", "break", "assert", "run",
    "temp", "true", "false", "inf", "nan", "_", "return",
];

/// The words that start an item: where a parser that lost its way may start again.
pub const ITEM_KEYWORDS: [&str; 9] = ["use", "kernel", "fn", "asm", "spec", "test", "schedule", "op", "grad"];

/// The words that start a statement.
pub const STATEMENT_KEYWORDS: [&str; 13] =
    ["let", "var", "view", "par", "for", "unroll", "while", "if", "break", "assert", "run", "temp", "tile"];

/// The signs of the grammar; of two that fit the longer is the token. The shifts are two tokens that touch, since
/// `id<N>>` would otherwise end in one.
pub const PUNCTUATION: [&str; 32] = [
    "..", "::", "->", "==", "!=", "<=", ">=", "&&", "||", "+=", "(", ")", "[", "]", "{", "}", "<", ">", ",",
    ";", ":", ".", "=", "+", "-", "*", "/", "%", "@", "&", "|", "^",
];

/// Tokens of other languages, lexed whole so that the message can say what to write instead.
pub const FOREIGN: [&str; 10] = ["**", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "=>", "#"];

/// `!` and `?` stand apart: `!=` comes first, `?` only in types.
pub const PREFIXES: [&str; 2] = ["!", "?"];

/// What kind of word this is.
pub fn classify(word: &str) -> Kind {
    if KEYWORDS.contains(&word) {
        Kind::Keyword
    } else if word == "index" || DType::from_name(word).is_some() {
        Kind::Dtype
    } else {
        Kind::Name
    }
}

impl Token<'_> {
    pub fn is(&self, text: &str) -> bool {
        self.text == text && matches!(self.kind, Kind::Punct | Kind::Keyword | Kind::Name)
    }

    pub fn starts_item(&self) -> bool {
        self.kind == Kind::Keyword && ITEM_KEYWORDS.contains(&self.text)
    }

    pub fn starts_statement(&self) -> bool {
        self.kind == Kind::Keyword && STATEMENT_KEYWORDS.contains(&self.text)
    }

    /// As a message names it.
    pub fn describe(&self) -> String {
        match self.kind {
            Kind::Name => format!("the name `{}`", self.text),
            Kind::Keyword => format!("the reserved word `{}`", self.text),
            Kind::Dtype => format!("the type `{}`", self.text),
            Kind::Int | Kind::Float => format!("the number `{}`", self.text),
            Kind::Str => "a string".into(),
            Kind::Label => format!("the label `{}`", self.text),
            Kind::Punct => format!("`{}`", self.text),
            Kind::End => "the end of the file".into(),
        }
    }
}

/// The tokens of a text as they are written, shifts as one, for tools and tests. What cannot be read is left out.
pub fn texts(text: &str) -> Vec<String> {
    let lexed = crate::lexer::lex(tile_base::FileId(0), text);
    let mut out: Vec<String> = vec![];
    let mut end = 0;
    for token in lexed.tokens.iter().filter(|t| t.kind != Kind::End) {
        match out.last_mut() {
            Some(last)
                if token.span.start == end && ["<", ">"].contains(&token.text) && last == token.text =>
            {
                last.push_str(token.text);
            }
            _ => out.push(token.text.to_string()),
        }
        end = token.span.end;
    }
    out
}
