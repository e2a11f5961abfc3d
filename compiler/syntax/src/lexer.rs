//! Text to tokens, with nom over `&str`.
//!
//! Nothing stops the lexer: what it cannot read becomes a diagnostic and is passed over, so the parser always
//! gets a list that ends in [`Kind::End`]. Comments, doc lines, blank lines and spellings of literals are kept
//! beside the tokens; the parser never sees them and the formatter puts them back.

use crate::{
    ast::Comment,
    lookalike,
    token::{FOREIGN, Kind, PREFIXES, PUNCTUATION, Token, classify},
};
use nom::{
    IResult, Parser,
    branch::alt,
    bytes::complete::{tag, take, take_while, take_while1},
    character::complete::{char, digit1, none_of, not_line_ending, one_of, satisfy},
    combinator::{map, opt, recognize, verify},
    multi::many0_count,
    sequence::{pair, preceded},
};
use tile_base::{Diagnostic, FileId, Span};

/// A `///` line.
#[derive(Clone, PartialEq, Debug)]
pub struct DocLine {
    pub text: String,
    pub span: Span,
    pub own_line: bool,
}

#[derive(Default)]
pub struct Lexed<'a> {
    pub tokens: Vec<Token<'a>>,
    pub comments: Vec<Comment>,
    pub docs: Vec<DocLine>,
    /// Start of each token or comment that has a blank line before it.
    pub blanks: Vec<u32>,
    /// Start and text of each integer literal that is not plain decimal.
    pub spellings: Vec<(u32, String)>,
    pub diagnostics: Vec<Diagnostic>,
}

type Lex<'a, O> = IResult<&'a str, O>;

fn word(i: &str) -> Lex<'_, &str> {
    recognize(pair(
        satisfy(|c| c.is_ascii_alphabetic() || c == '_'),
        take_while(|c: char| c.is_ascii_alphanumeric() || c == '_'),
    ))
    .parse(i)
}

fn exponent(i: &str) -> Lex<'_, &str> {
    recognize((one_of("eE"), opt(one_of("+-")), digit1)).parse(i)
}

/// Digits with single `_` between them.
fn grouped<'a>(
    digit: fn(char) -> bool,
) -> impl Parser<&'a str, Output = &'a str, Error = nom::error::Error<&'a str>> {
    recognize((take_while1(digit), many0_count(preceded(char('_'), take_while1(digit)))))
}

/// `12`, `65_536`, `0x1F`, `0b101`, `1.5`, `2e-3`, `1.0e5`. In `0..4` the digits end before the dots.
fn number(i: &str) -> Lex<'_, (Kind, &str)> {
    alt((
        map(recognize(preceded(tag("0x"), grouped(|c| c.is_ascii_hexdigit()))), |t| (Kind::Int, t)),
        map(recognize(preceded(tag("0b"), grouped(|c| c == '0' || c == '1'))), |t| (Kind::Int, t)),
        map(recognize((digit1, char('.'), digit1, opt(exponent))), |t| (Kind::Float, t)),
        map(recognize((digit1, exponent)), |t| (Kind::Float, t)),
        map(grouped(|c| c.is_ascii_digit()), |t| (Kind::Int, t)),
    ))
    .parse(i)
}

/// From the opening quote as far as the string goes on this line; the caller looks whether it is closed.
fn open_string(i: &str) -> Lex<'_, &str> {
    let inside = alt((recognize(preceded(char('\\'), none_of("\r\n"))), recognize(none_of("\"\\\r\n"))));
    recognize((char('"'), many0_count(inside), opt(char('"')))).parse(i)
}

/// The longest sign: of two characters if there is one, else of one.
fn punctuation(i: &str) -> Lex<'_, &str> {
    let is_sign = |t: &&str| FOREIGN.contains(t) || PUNCTUATION.contains(t) || PREFIXES.contains(t);
    alt((verify(take(2usize), is_sign), verify(take(1usize), is_sign))).parse(i)
}

fn token(i: &str) -> Lex<'_, (Kind, &str)> {
    match i.as_bytes().first() {
        Some(b'a'..=b'z' | b'A'..=b'Z' | b'_') => map(word, |t| (classify(t), t)).parse(i),
        Some(b'0'..=b'9') => number(i),
        Some(b'"') => map(open_string, |t| (Kind::Str, t)).parse(i),
        Some(b'\'') => map(recognize(preceded(char('\''), word)), |t| (Kind::Label, t)).parse(i),
        _ => map(punctuation, |t| (Kind::Punct, t)).parse(i),
    }
}

/// `// …` to the end of the line, with the slashes.
fn comment(i: &str) -> Lex<'_, &str> {
    recognize(preceded(tag("//"), not_line_ending)).parse(i)
}

/// The text after the slashes: one leading blank and all trailing ones cut.
fn comment_text(after: &str) -> String {
    after.strip_prefix(' ').unwrap_or(after).trim_end().to_string()
}

struct Lexer<'a> {
    file: FileId,
    text: &'a str,
    out: Lexed<'a>,
}

pub fn lex(file: FileId, text: &str) -> Lexed<'_> {
    let mut lexer = Lexer { file, text, out: Lexed::default() };
    lexer.all();
    lexer.out
}

impl<'a> Lexer<'a> {
    fn span(&self, from: &str, to: &str) -> Span {
        Span::new(self.file, self.text.len() - from.len(), self.text.len() - to.len())
    }

    fn all(&mut self) {
        let mut rest = self.text.strip_prefix('\u{feff}').unwrap_or(self.text);
        let mut first = true;
        loop {
            let white = take_while1::<_, _, nom::error::Error<&str>>(|c: char| c.is_ascii_whitespace());
            if let Ok((after, space)) = { white }.parse(rest) {
                rest = after;
                let lines = space.bytes().filter(|&b| b == b'\n').count();
                first |= lines > 0;
                if lines > 1 && !rest.is_empty() {
                    self.out.blanks.push((self.text.len() - rest.len()) as u32);
                }
            }
            if rest.is_empty() {
                let span = self.span(rest, rest);
                self.out.tokens.push(Token { kind: Kind::End, text: "", span, first: true });
                return;
            }
            rest = self.one(rest, first);
            first = false;
        }
    }

    /// Takes one comment, token or unreadable piece.
    fn one(&mut self, at: &'a str, first: bool) -> &'a str {
        if let Ok((rest, text)) = comment(at) {
            self.keep_comment(at, rest, text, first);
            return rest;
        }
        if at.starts_with("/*") {
            return self.block_comment(at);
        }
        let Ok((rest, (kind, text))) = token(at) else {
            return self.unreadable(at);
        };
        let span = self.span(at, rest);
        let (rest, span, text) = match kind {
            Kind::Int | Kind::Float => self.check_number(at, rest, kind, text),
            Kind::Str => {
                self.check_string(span, text);
                (rest, span, text)
            }
            _ => (rest, span, text),
        };
        self.out.tokens.push(Token { kind, text, span, first });
        rest
    }

    fn keep_comment(&mut self, at: &str, rest: &str, text: &str, own_line: bool) {
        let span = self.span(at, rest);
        match text.strip_prefix("///") {
            Some(doc) if !doc.starts_with('/') => {
                self.out.docs.push(DocLine { text: comment_text(doc), span, own_line });
            }
            _ => self.out.comments.push(Comment { text: comment_text(&text[2..]), span, own_line }),
        }
    }

    fn block_comment(&mut self, at: &'a str) -> &'a str {
        let end = at.find("*/").map_or(at.len(), |e| e + 2);
        let span = self.span(at, &at[end..]);
        self.out.diagnostics.push(
            Diagnostic::error("T0104", Span { end: span.start + 2, ..span }, "there are no block comments")
                .label("`/*` starts nothing here")
                .help("begin each line with `//`"),
        );
        &at[end..]
    }

    /// A run of characters that start no token.
    fn unreadable(&mut self, at: &'a str) -> &'a str {
        let stop =
            |c: char| c.is_ascii() && (c.is_ascii_whitespace() || token(c.encode_utf8(&mut [0; 4])).is_ok());
        let first = at.chars().next().map_or(0, char::len_utf8);
        let len = at[first..].find(stop).map_or(at.len(), |n| n + first);
        let (bad, rest) = at.split_at(len);
        let span = self.span(at, rest);
        let what = if bad.is_ascii() {
            "this is not part of the language"
        } else {
            "only ASCII outside comments and strings"
        };
        let shown: String = bad.chars().take(20).map(|c| c.escape_debug().to_string()).collect();
        let diagnostic =
            Diagnostic::error("T0104", span, format!("unexpected character `{shown}`")).label(what);
        self.out.diagnostics.push(match lookalike::instead(bad) {
            Some(write) => diagnostic.help(format!("write `{write}`")),
            None => diagnostic,
        });
        rest
    }

    /// A number must not run into a word, and must fit; a bad one counts as `0` for the parser.
    fn check_number(
        &mut self,
        at: &'a str,
        rest: &'a str,
        kind: Kind,
        text: &'a str,
    ) -> (&'a str, Span, &'a str) {
        let tail = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let after = &rest[tail..];
        let span = self.span(at, after);
        if tail > 0 {
            let written = &at[..at.len() - after.len()];
            self.out.diagnostics.push(
                Diagnostic::error("T0106", span, format!("`{written}` is not a number"))
                    .label("digits run into letters")
                    .help("numbers are `12`, `65_536`, `0x1f`, `0b101`, `1.5` or `2e-3`; a type is given with `.to(f32)`"),
            );
            return (after, span, "0");
        }
        let fits = match kind {
            Kind::Int => int_value(text).is_some(),
            _ => text.parse::<f64>().is_ok_and(f64::is_finite),
        };
        if !fits {
            let (limit, help) = match kind {
                Kind::Int => ("does not fit 64 bits", "integers reach up to 9223372036854775807"),
                _ => ("is beyond the greatest f64", "write `inf` if that is meant"),
            };
            self.out.diagnostics.push(
                Diagnostic::error("T0106", span, format!("the number `{text}` {limit}"))
                    .label(limit)
                    .help(help),
            );
            return (after, span, "0");
        }
        if kind == Kind::Int && (text.contains('_') || text.starts_with("0x") || text.starts_with("0b")) {
            self.out.spellings.push((span.start, text.to_string()));
        }
        (after, span, text)
    }

    fn check_string(&mut self, span: Span, text: &str) {
        if text.len() < 2 || !text.ends_with('"') {
            self.out.diagnostics.push(
                Diagnostic::error("T0107", span, "this string has no end")
                    .label("the closing `\"` is missing on this line")
                    .help("a string stands on one line; `\\n` is a line break in it"),
            );
        } else if let Some(bad) = unescape(text).1 {
            self.out.diagnostics.push(
                Diagnostic::error("T0107", span, format!("`\\{bad}` is not an escape"))
                    .label("unknown escape in this string")
                    .help("escapes are `\\\\`, `\\\"`, `\\n` and `\\t`"),
            );
        }
    }
}

/// The value of an integer token; `None` when it does not fit.
pub fn int_value(text: &str) -> Option<i64> {
    let digits = text.replace('_', "");
    match (digits.strip_prefix("0x"), digits.strip_prefix("0b")) {
        (Some(hex), _) => i64::from_str_radix(hex, 16).ok(),
        (_, Some(binary)) => i64::from_str_radix(binary, 2).ok(),
        _ => digits.parse().ok(),
    }
}

/// What a string token stands for, and the first escape that is none.
pub fn unescape(token: &str) -> (String, Option<char>) {
    let inside = token.strip_prefix('"').unwrap_or(token);
    let inside = inside.strip_suffix('"').unwrap_or(inside);
    let (mut value, mut bad, mut chars) = (String::new(), None, inside.chars());
    while let Some(c) = chars.next() {
        if c != '\\' {
            value.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => value.push('\n'),
            Some('t') => value.push('\t'),
            Some(q @ ('\\' | '"')) => value.push(q),
            Some(other) => {
                bad = bad.or(Some(other));
                value.push(other);
            }
            None => {}
        }
    }
    (value, bad)
}

/// The token that stands for a string: the inverse of [`unescape`].
pub fn escape(value: &str) -> String {
    let mut text = String::from('"');
    for c in value.chars() {
        match c {
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\\' | '"' => text.extend(['\\', c]),
            _ => text.push(c),
        }
    }
    text.push('"');
    text
}
