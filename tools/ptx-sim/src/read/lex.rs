//! Tokens of PTX.
//!
//! A dotted word is one token: `ld.global.nc.v4.f32`, `%tid.x`, `.reg`, `shared::cluster` inside a longer word. So
//! the parser sees an opcode with all its qualifiers at once.

use super::syntax::ReadError;

#[derive(Clone, PartialEq, Debug)]
pub enum Tok<'a> {
    /// `add.f32`, `%r1`, `$L__BB0_1`, `.param`, `_`
    Word(&'a str),
    /// A decimal, hexadecimal, octal or binary integer (two's complement in 64 bits).
    Int(i64),
    /// `0f3F800000`
    F32(u32),
    /// `0d3FF0000000000000`, or a decimal number with a point or exponent
    F64(u64),
    Str(&'a str),
    /// One of `{ } [ ] ( ) , ; : = + - ! | @ < > ~ * / & ^ %`
    Punct(char),
    Eof,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Token<'a> {
    pub tok: Tok<'a>,
    pub line: u32,
}

/// All tokens of a text, with `Eof` last. Comments are dropped.
pub fn tokens(text: &str) -> Result<Vec<Token<'_>>, ReadError> {
    let mut lexer = Lexer { text, at: 0, line: 1 };
    let mut out = Vec::with_capacity(text.len() / 4);
    loop {
        lexer.skip_blank()?;
        let line = lexer.line;
        let tok = lexer.next()?;
        let end = tok == Tok::Eof;
        out.push(Token { tok, line });
        if end {
            return Ok(out);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: u32,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn error(&self, what: impl Into<String>) -> ReadError {
        ReadError { line: self.line, message: what.into() }
    }

    fn skip_blank(&mut self) -> Result<(), ReadError> {
        loop {
            let rest = self.rest();
            match rest.as_bytes() {
                [b'\n', ..] => {
                    self.line += 1;
                    self.at += 1;
                }
                [c, ..] if c.is_ascii_whitespace() => self.at += 1,
                [b'/', b'/', ..] => self.at += rest.find('\n').unwrap_or(rest.len()),
                [b'/', b'*', ..] => {
                    let end = rest.find("*/").ok_or_else(|| self.error("a comment does not end"))?;
                    self.line += rest[..end].matches('\n').count() as u32;
                    self.at += end + 2;
                }
                _ => return Ok(()),
            }
        }
    }

    fn next(&mut self) -> Result<Tok<'a>, ReadError> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(Tok::Eof) };
        match first {
            '0'..='9' => self.number(),
            '"' => {
                let end = string_length(&rest[1..]).ok_or_else(|| self.error("a string does not end"))?;
                self.line += rest[1..=end].matches('\n').count() as u32;
                self.at += end + 2;
                Ok(Tok::Str(&rest[1..end + 1]))
            }
            c if is_word_start(c) => {
                let len = word_length(rest);
                self.at += len;
                Ok(Tok::Word(&rest[..len]))
            }
            c if "{}[](),;:=+-!|@<>~*/&^%".contains(c) => {
                self.at += 1;
                Ok(Tok::Punct(c))
            }
            c => Err(self.error(format!("unexpected character {c:?}"))),
        }
    }

    fn number(&mut self) -> Result<Tok<'a>, ReadError> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let hex = |from: usize, len: usize| {
            rest.get(from..from + len)
                .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))
                .and_then(|d| u64::from_str_radix(d, 16).ok())
        };
        if bytes.len() > 1 && bytes[0] == b'0' {
            match bytes[1] {
                b'f' | b'F' => {
                    let bits = hex(2, 8).ok_or_else(|| self.error("0f needs 8 hexadecimal digits"))?;
                    self.at += 10;
                    return Ok(Tok::F32(bits as u32));
                }
                b'd' | b'D' => {
                    let bits = hex(2, 16).ok_or_else(|| self.error("0d needs 16 hexadecimal digits"))?;
                    self.at += 18;
                    return Ok(Tok::F64(bits));
                }
                _ => {}
            }
        }
        let len = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'.').count();
        let (digits, radix, skip) = match bytes {
            [b'0', b'x' | b'X', ..] => (rest[2..len].trim_end_matches(['U', 'u']), 16, true),
            [b'0', b'b' | b'B', ..] => (rest[2..len].trim_end_matches(['U', 'u']), 2, true),
            _ => (rest[..len].trim_end_matches(['U', 'u']), 10, false),
        };
        if !skip && (digits.contains('.') || digits.contains(['e', 'E'])) {
            // An exponent may carry a sign, which the word scan stopped at.
            let mut end = len;
            if digits.ends_with(['e', 'E']) && rest[len..].starts_with(['+', '-']) {
                end += 1 + rest[len + 1..].bytes().take_while(u8::is_ascii_digit).count();
            }
            let value: f64 = rest[..end].parse().map_err(|_| self.error("malformed number"))?;
            self.at += end;
            return Ok(Tok::F64(value.to_bits()));
        }
        let radix = if radix == 10 && digits.len() > 1 && digits.starts_with('0') { 8 } else { radix };
        let value = u64::from_str_radix(digits, radix).map_err(|_| self.error("malformed integer"))?;
        self.at += len;
        Ok(Tok::Int(value as i64))
    }
}

/// Bytes up to the closing quote; a backslash takes the next character with it.
fn string_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    None
}

fn is_word_start(c: char) -> bool {
    c.is_ascii_alphabetic() || matches!(c, '_' | '$' | '%' | '.')
}

/// A word runs over letters, digits, `_ $ .` and `::`; a leading `%` belongs to it. One that begins with a dot ends at the
/// next: `.reg.b32` is two.
fn word_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'.' if bytes[0] == b'.' => break,
            b if b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$' | b'.') => at += 1,
            b':' if bytes.get(at + 1) == Some(&b':') => at += 2,
            _ => break,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opcodes_and_numbers_are_single_tokens() {
        let toks: Vec<Tok> = tokens("mov.b32 %r1, 0f3F800000; // one\nadd.s32 %r2,%r1,-0x10;")
            .unwrap()
            .into_iter()
            .map(|t| t.tok)
            .collect();
        assert_eq!(toks[0], Tok::Word("mov.b32"));
        assert_eq!(toks[3], Tok::F32(0x3f80_0000));
        assert_eq!(toks[10], Tok::Punct('-'));
        assert_eq!(toks[11], Tok::Int(16));
    }

    #[test]
    fn malformed_text_is_an_error_with_its_line() {
        assert_eq!(tokens("\n\n#").unwrap_err().line, 3);
        assert!(tokens("/* no end").is_err());
        assert!(tokens("0fZZ").is_err());
    }
}
