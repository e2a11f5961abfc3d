//! The parser: tokens to [`Module`].

use super::{
    lex::{Tok, Token, tokens},
    syntax::*,
};

pub(super) type Read<T> = Result<T, ReadError>;

/// Nested scopes beyond this are refused rather than followed.
pub(super) const MAX_DEPTH: usize = 64;

/// Reads a module.
pub fn parse(text: &str) -> Read<Module> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens, at: 0, depth: 0 };
    parser.module()
}

pub(super) struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
    pub(super) depth: usize,
}

impl<'a> Parser<'a> {
    // ---- tokens

    pub(super) fn peek(&self) -> &Tok<'a> {
        &self.tokens[self.at].tok
    }

    pub(super) fn peek_at(&self, ahead: usize) -> &Tok<'a> {
        &self.tokens[(self.at + ahead).min(self.tokens.len() - 1)].tok
    }

    pub(super) fn line(&self) -> u32 {
        self.tokens[self.at].line
    }

    pub(super) fn next(&mut self) -> Tok<'a> {
        let tok = self.tokens[self.at].tok.clone();
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        tok
    }

    pub(super) fn error<T>(&self, what: impl Into<String>) -> Read<T> {
        Err(ReadError { line: self.line(), message: what.into() })
    }

    pub(super) fn eat(&mut self, c: char) -> bool {
        let hit = *self.peek() == Tok::Punct(c);
        if hit {
            self.next();
        }
        hit
    }

    pub(super) fn expect(&mut self, c: char) -> Read<()> {
        if self.eat(c) { Ok(()) } else { self.error(format!("expected `{c}`, found {:?}", self.peek())) }
    }

    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let hit = matches!(self.peek(), Tok::Word(w) if *w == word);
        if hit {
            self.next();
        }
        hit
    }

    pub(super) fn word(&mut self) -> Read<&'a str> {
        match self.next() {
            Tok::Word(w) => Ok(w),
            other => self.error(format!("expected a name, found {other:?}")),
        }
    }

    pub(super) fn int(&mut self) -> Read<i64> {
        let negative = self.eat('-');
        match self.next() {
            Tok::Int(v) => Ok(if negative { v.wrapping_neg() } else { v }),
            other => self.error(format!("expected an integer, found {other:?}")),
        }
    }

    pub(super) fn small(&mut self) -> Read<u32> {
        let value = self.int()?;
        u32::try_from(value).or_else(|_| self.error(format!("{value} is out of range here")))
    }

    pub(super) fn skip_to_semicolon(&mut self) {
        while !matches!(self.peek(), Tok::Punct(';') | Tok::Eof) {
            self.next();
        }
        self.eat(';');
    }

    /// Skips a balanced `{ … }`.
    pub(super) fn skip_braces(&mut self) -> Read<()> {
        self.expect('{')?;
        let mut depth = 1;
        while depth > 0 {
            match self.next() {
                Tok::Punct('{') => depth += 1,
                Tok::Punct('}') => depth -= 1,
                Tok::Eof => return self.error("a section does not end"),
                _ => {}
            }
        }
        Ok(())
    }

    // ---- module scope

    pub(super) fn module(&mut self) -> Read<Module> {
        let mut module = Module::default();
        let mut linkage_external = false;
        loop {
            let word = match self.peek() {
                Tok::Eof => return Ok(module),
                Tok::Word(w) => *w,
                other => return self.error(format!("expected a directive, found {other:?}")),
            };
            match word {
                ".version" => {
                    self.next();
                    module.version = self.version()?;
                }
                ".target" => {
                    self.next();
                    module.target = self.word()?.to_string();
                    while self.eat(',') {
                        self.word()?;
                    }
                }
                ".address_size" => {
                    self.next();
                    if self.int()? != 64 {
                        return self.error("only 64-bit addresses are supported");
                    }
                }
                ".file" => {
                    self.next();
                    let number = self.small()?;
                    let Tok::Str(name) = self.next() else { return self.error("expected a file name") };
                    module.files.push((number, name.to_string()));
                    while self.eat(',') {
                        self.int()?;
                    }
                }
                ".section" => {
                    self.next();
                    self.word()?;
                    self.skip_braces()?;
                }
                ".visible" | ".weak" => {
                    self.next();
                }
                // Like `.extern`, but with storage of its own.
                ".common" => {
                    self.next();
                }
                ".extern" => {
                    self.next();
                    linkage_external = true;
                    continue;
                }
                ".entry" | ".func" => module.functions.push(self.function()?),
                ".global" | ".const" | ".shared" | ".tex" => {
                    let found = self.variables(linkage_external)?;
                    module.variables.extend(found);
                }
                ".alias" => {
                    self.next();
                    let name = self.word()?.to_string();
                    self.expect(',')?;
                    module.aliases.push((name, self.word()?.to_string()));
                    self.expect(';')?;
                }
                ".pragma" => self.skip_to_semicolon(),
                // A source position outside a function says nothing about an instruction.
                ".loc" => {
                    self.location()?;
                }
                _ => return self.error(format!("unknown directive `{word}`")),
            }
            linkage_external = false;
        }
    }

    pub(super) fn version(&mut self) -> Read<(u32, u32)> {
        match self.next() {
            Tok::F64(bits) => {
                let tenths = (f64::from_bits(bits) * 10.0).round() as u32;
                Ok((tenths / 10, tenths % 10))
            }
            other => self.error(format!("expected a version, found {other:?}")),
        }
    }

    pub(super) fn function(&mut self) -> Read<Function> {
        let line = self.line();
        let entry = self.word()? == ".entry";
        self.attributes()?;
        let results = if !entry && *self.peek() == Tok::Punct('(') { self.params()? } else { vec![] };
        let name = self.word()?.to_string();
        let params = if *self.peek() == Tok::Punct('(') { self.params()? } else { vec![] };
        let limits = self.limits()?;
        let body = if self.eat(';') { None } else { Some(self.scope()?) };
        Ok(Function { name, entry, results, params, limits, body, line })
    }

    /// `.attribute(.managed, .unified(1, 2))`: where memory lives, which changes no value.
    pub(super) fn attributes(&mut self) -> Read<()> {
        while self.eat_word(".attribute") {
            self.skip_parentheses()?;
        }
        Ok(())
    }

    /// Skips a balanced `( … )`.
    pub(super) fn skip_parentheses(&mut self) -> Read<()> {
        self.expect('(')?;
        let mut depth = 1;
        while depth > 0 {
            match self.next() {
                Tok::Punct('(') => depth += 1,
                Tok::Punct(')') => depth -= 1,
                Tok::Eof => return self.error("a parenthesis does not close"),
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn params(&mut self) -> Read<Vec<Variable>> {
        self.expect('(')?;
        let mut out = vec![];
        while !self.eat(')') {
            out.extend(self.variable_group(false)?);
            if !self.eat(',') && *self.peek() != Tok::Punct(')') {
                return self.error(format!("expected `,` or `)`, found {:?}", self.peek()));
            }
        }
        Ok(out)
    }

    pub(super) fn limits(&mut self) -> Read<Limits> {
        let mut limits = Limits::default();
        loop {
            let Tok::Word(word) = *self.peek() else { return Ok(limits) };
            match word {
                ".maxntid" => limits.max_threads = self.triple()?,
                ".reqntid" => limits.required_threads = self.triple()?,
                ".reqnctapercluster" => limits.required_cluster = self.triple()?,
                ".minnctapersm" | ".maxnctapersm" | ".maxclusterrank" => {
                    self.next();
                    let value = self.small()?;
                    if word == ".minnctapersm" {
                        limits.min_ctas = value;
                    }
                }
                ".maxnreg" => {
                    self.next();
                    limits.max_registers = self.small()?;
                }
                ".explicitcluster" => {
                    self.next();
                    limits.explicit_cluster = true;
                }
                ".noreturn" | ".blocksareclusters" | ".language" => {
                    self.next();
                }
                ".pragma" => self.skip_to_semicolon(),
                ".abi_preserve" | ".abi_preserve_control" | ".local_maxnreg" => {
                    self.next();
                    self.int()?;
                }
                ".attribute" => self.attributes()?,
                _ => return self.error(format!("unknown directive `{word}` of a function")),
            }
        }
    }

    pub(super) fn triple(&mut self) -> Read<[u32; 3]> {
        self.next();
        let mut out = [self.small()?, 1, 1];
        for slot in &mut out[1..] {
            if !self.eat(',') {
                break;
            }
            *slot = self.small()?;
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"
.version 8.0
.target sm_90a, texmode_independent
.address_size 64
.file 1 "k.tile"
.extern .shared .align 16 .b8 smem[];
.global .align 4 .b8 msg[3] = {104, 105, 0};
.visible .entry k(
    .param .u64 .ptr .global .align 16 k_param_0,
    .param .align 64 .b8 map[128]
)
.maxntid 128, 1, 1
.minnctapersm 1
{
    .reg .pred %p<3>;
    .reg .b32 %r<10>;
    .loc 1 3 5
    ld.param.u64 %rd1, [k_param_0+8];
    @!%p1 bra $L__BB0_2;
    { .reg .b32 t; mov.b32 t, {%rs1, %rs2}; }
    shfl.sync.down.b32 %r1|%p2, %r2, 1, 31, -1;
$L__BB0_2:
    cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%rd2, {%r3, %r4}], [%r5];
    ret;
}
"#;

    #[test]
    fn a_module_with_every_shape_of_operand() {
        let module = parse(SAMPLE).unwrap();
        assert_eq!((module.version, module.target.as_str()), ((8, 0), "sm_90a"));
        assert_eq!(module.variables[1].init.len(), 3);
        let k = &module.functions[0];
        assert_eq!(k.limits.max_threads, [128, 1, 1]);
        assert_eq!((k.params[0].align, k.params[1].bytes()), (8, 128));
        let body = k.body.as_ref().unwrap();
        let Stmt::Instruction(tma) = &body[8] else { panic!("{:?}", body[8]) };
        assert!(matches!(&tma.operands[1], Operand::Address { coordinates, .. } if coordinates.len() == 2));
    }

    #[test]
    fn truncated_text_is_an_error_at_every_cut() {
        for cut in (0..SAMPLE.len()).filter(|&c| SAMPLE.is_char_boundary(c)) {
            let _ = parse(&SAMPLE[..cut]);
        }
        assert!(parse(&SAMPLE[..SAMPLE.len() - 4]).is_err());
    }
}
