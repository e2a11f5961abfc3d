//! The parser: tokens to [`Module`].

use super::{
    lex::{Tok, Token, tokens},
    syntax::*,
};

type Read<T> = Result<T, ReadError>;

/// Nested scopes beyond this are refused rather than followed.
const MAX_DEPTH: usize = 64;

/// Reads a module.
pub fn parse(text: &str) -> Read<Module> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens, at: 0, depth: 0 };
    parser.module()
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    // ---- tokens

    fn peek(&self) -> &Tok<'a> {
        &self.tokens[self.at].tok
    }

    fn peek_at(&self, ahead: usize) -> &Tok<'a> {
        &self.tokens[(self.at + ahead).min(self.tokens.len() - 1)].tok
    }

    fn line(&self) -> u32 {
        self.tokens[self.at].line
    }

    fn next(&mut self) -> Tok<'a> {
        let tok = self.tokens[self.at].tok.clone();
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        tok
    }

    fn error<T>(&self, what: impl Into<String>) -> Read<T> {
        Err(ReadError { line: self.line(), message: what.into() })
    }

    fn eat(&mut self, c: char) -> bool {
        let hit = *self.peek() == Tok::Punct(c);
        if hit {
            self.next();
        }
        hit
    }

    fn expect(&mut self, c: char) -> Read<()> {
        if self.eat(c) { Ok(()) } else { self.error(format!("expected `{c}`, found {:?}", self.peek())) }
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let hit = matches!(self.peek(), Tok::Word(w) if *w == word);
        if hit {
            self.next();
        }
        hit
    }

    fn word(&mut self) -> Read<&'a str> {
        match self.next() {
            Tok::Word(w) => Ok(w),
            other => self.error(format!("expected a name, found {other:?}")),
        }
    }

    fn int(&mut self) -> Read<i64> {
        let negative = self.eat('-');
        match self.next() {
            Tok::Int(v) => Ok(if negative { v.wrapping_neg() } else { v }),
            other => self.error(format!("expected an integer, found {other:?}")),
        }
    }

    fn small(&mut self) -> Read<u32> {
        let value = self.int()?;
        u32::try_from(value).or_else(|_| self.error(format!("{value} is out of range here")))
    }

    fn skip_to_semicolon(&mut self) {
        while !matches!(self.peek(), Tok::Punct(';') | Tok::Eof) {
            self.next();
        }
        self.eat(';');
    }

    /// Skips a balanced `{ … }`.
    fn skip_braces(&mut self) -> Read<()> {
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

    fn module(&mut self) -> Read<Module> {
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
                ".visible" | ".weak" | ".common" => {
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
                ".pragma" | ".alias" => self.skip_to_semicolon(),
                _ => return self.error(format!("unknown directive `{word}`")),
            }
            linkage_external = false;
        }
    }

    fn version(&mut self) -> Read<(u32, u32)> {
        match self.next() {
            Tok::F64(bits) => {
                let tenths = (f64::from_bits(bits) * 10.0).round() as u32;
                Ok((tenths / 10, tenths % 10))
            }
            other => self.error(format!("expected a version, found {other:?}")),
        }
    }

    fn function(&mut self) -> Read<Function> {
        let line = self.line();
        let entry = self.word()? == ".entry";
        if self.eat_word(".attribute") {
            self.expect('(')?;
            while !self.eat(')') {
                self.next();
            }
        }
        let results = if !entry && *self.peek() == Tok::Punct('(') { self.params()? } else { vec![] };
        let name = self.word()?.to_string();
        let params = if *self.peek() == Tok::Punct('(') { self.params()? } else { vec![] };
        let limits = self.limits()?;
        let body = if self.eat(';') { None } else { Some(self.scope()?) };
        Ok(Function { name, entry, results, params, limits, body, line })
    }

    fn params(&mut self) -> Read<Vec<Variable>> {
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

    fn limits(&mut self) -> Read<Limits> {
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
                ".noreturn" | ".blocksareclusters" => {
                    self.next();
                }
                ".pragma" => self.skip_to_semicolon(),
                ".abi_preserve" | ".abi_preserve_control" => {
                    self.next();
                    self.int()?;
                }
                _ => return self.error(format!("unknown directive `{word}` of a function")),
            }
        }
    }

    fn triple(&mut self) -> Read<[u32; 3]> {
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

    // ---- variables

    /// A declaration statement: `.shared .align 16 .b8 a[64], b[32];`
    fn variables(&mut self, external: bool) -> Read<Vec<Variable>> {
        let mut out = self.variable_group(external)?;
        let template = out[0].clone();
        while self.eat(',') {
            let name = self.word()?.to_string();
            let mut more =
                Variable { name, numbered: None, count: Some(1), init: vec![], ..template.clone() };
            self.declarator(&mut more)?;
            out.push(more);
        }
        self.expect(';')?;
        Ok(out)
    }

    /// `.param .u64 .ptr .global .align 16 name[4]`, one declarator.
    fn variable_group(&mut self, external: bool) -> Read<Vec<Variable>> {
        let line = self.line();
        let mut space = None;
        let mut ty = None;
        let mut align = 0;
        let mut vector = 1;
        let name = loop {
            let word = self.word()?;
            match word {
                ".reg" => space = Some(Space::Reg),
                ".param" => space = Some(Space::Param),
                ".global" if space.is_none() => space = Some(Space::Global),
                ".shared" if space.is_none() => space = Some(Space::Shared),
                ".const" if space.is_none() => space = Some(Space::Const),
                ".local" if space.is_none() => space = Some(Space::Local),
                // What a pointer parameter points to; nothing to hold.
                ".global" | ".shared" | ".const" | ".local" | ".ptr" => {}
                ".align" => {
                    let value = self.int()?;
                    // The last `.align` of a `.ptr` parameter speaks of the pointee.
                    if align == 0 && ty.is_none() {
                        align =
                            usize::try_from(value).ok().filter(|a| a.is_power_of_two()).ok_or_else(|| {
                                ReadError {
                                    line,
                                    message: format!("alignment {value} is not a power of two"),
                                }
                            })?;
                    }
                }
                ".attribute" => {
                    self.expect('(')?;
                    while !self.eat(')') {
                        self.next();
                    }
                }
                ".v2" => vector = 2,
                ".v4" => vector = 4,
                w if w.starts_with('.') => match Type::from_word(&w[1..]) {
                    Some(t) => ty = Some(t),
                    None => return self.error(format!("unknown type or attribute `{w}`")),
                },
                w => break w.to_string(),
            }
        };
        let Some(ty) = ty else { return self.error(format!("`{name}` has no type")) };
        let Some(space) = space else { return self.error(format!("`{name}` has no state space")) };
        let align = if align == 0 { ty.bytes() * vector } else { align };
        let mut variable =
            Variable { name, space, ty, align, count: Some(1), numbered: None, init: vec![], external, line };
        self.declarator(&mut variable)?;
        if vector > 1 {
            variable.count = variable.count.map(|c| c * vector);
        }
        Ok(vec![variable])
    }

    /// What follows a name: `<10>`, `[4][8]`, `= {…}`.
    fn declarator(&mut self, variable: &mut Variable) -> Read<()> {
        if self.eat('<') {
            variable.numbered = Some(self.small()?);
            self.expect('>')?;
        }
        while self.eat('[') {
            if self.eat(']') {
                variable.count = None;
                continue;
            }
            let extent = self.small()? as usize;
            self.expect(']')?;
            variable.count = match variable.count {
                Some(c) => Some(
                    c.checked_mul(extent)
                        .filter(|&n| n <= 1 << 32)
                        .ok_or_else(|| ReadError { line: self.line(), message: "array too large".into() })?,
                ),
                None => None,
            };
        }
        if self.eat('=') {
            self.initializer(&mut variable.init, 0)?;
            if variable.count.is_none() {
                variable.count = Some(variable.init.len());
            }
        }
        Ok(())
    }

    fn initializer(&mut self, out: &mut Vec<Init>, depth: usize) -> Read<()> {
        if depth > MAX_DEPTH {
            return self.error("initialiser nested too deep");
        }
        if self.eat('{') {
            while !self.eat('}') {
                self.initializer(out, depth + 1)?;
                if !self.eat(',') && *self.peek() != Tok::Punct('}') {
                    return self.error("expected `,` or `}` in an initialiser");
                }
            }
            return Ok(());
        }
        match self.peek().clone() {
            Tok::F32(b) => out.push(Init::F32(b)),
            Tok::F64(b) => out.push(Init::F64(b)),
            Tok::Int(_) | Tok::Punct('-') => {
                let value = self.int()?;
                out.push(Init::Int(value));
                return Ok(());
            }
            Tok::Word(w) => {
                self.next();
                let generic = w == "generic";
                let name = if generic {
                    self.expect('(')?;
                    let name = self.word()?;
                    self.expect(')')?;
                    name
                } else {
                    w
                };
                let offset = if self.eat('+') { self.int()? } else { 0 };
                out.push(Init::Symbol { name: name.to_string(), generic, offset });
                return Ok(());
            }
            other => return self.error(format!("unexpected {other:?} in an initialiser")),
        }
        self.next();
        Ok(())
    }

    // ---- bodies

    fn scope(&mut self) -> Read<Vec<Stmt>> {
        self.expect('{')?;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.error("scopes nested too deep");
        }
        let mut out = vec![];
        while !self.eat('}') {
            self.statement(&mut out)?;
        }
        self.depth -= 1;
        Ok(out)
    }

    fn statement(&mut self, out: &mut Vec<Stmt>) -> Read<()> {
        match self.peek().clone() {
            Tok::Punct('{') => out.push(Stmt::Scope(self.scope()?)),
            Tok::Punct(';') => {
                self.next();
            }
            Tok::Punct('@') => out.push(Stmt::Instruction(self.instruction()?)),
            Tok::Word(".loc") => {
                self.next();
                let (file, line, column) = (self.small()?, self.small()?, self.small()?);
                if self.eat(',') {
                    self.inlined_at()?;
                }
                out.push(Stmt::Location { file, line, column });
            }
            Tok::Word(".pragma") => self.skip_to_semicolon(),
            Tok::Word(".reg" | ".shared" | ".local" | ".param" | ".const" | ".global") => {
                out.extend(self.variables(false)?.into_iter().map(Stmt::Variable));
            }
            Tok::Word(w) if *self.peek_at(1) == Tok::Punct(':') => {
                let line = self.line();
                self.next();
                self.next();
                match self.peek() {
                    Tok::Word(".branchtargets") => {
                        self.next();
                        let mut labels = vec![self.word()?.to_string()];
                        while self.eat(',') {
                            labels.push(self.word()?.to_string());
                        }
                        self.expect(';')?;
                        out.push(Stmt::Targets { name: w.to_string(), labels });
                    }
                    Tok::Word(".callprototype") => {
                        self.skip_to_semicolon();
                        out.push(Stmt::Targets { name: w.to_string(), labels: vec![] });
                    }
                    _ => out.push(Stmt::Label(w.to_string(), line)),
                }
            }
            Tok::Word(w) if w.starts_with('.') => return self.error(format!("unknown directive `{w}`")),
            Tok::Word(_) => out.push(Stmt::Instruction(self.instruction()?)),
            other => return self.error(format!("expected a statement, found {other:?}")),
        }
        Ok(())
    }

    /// `function_name sym + off, inlined_at file line column`, all dropped.
    fn inlined_at(&mut self) -> Read<()> {
        let line = self.line();
        while self.line() == line && !matches!(self.peek(), Tok::Eof) {
            self.next();
        }
        Ok(())
    }

    fn instruction(&mut self) -> Read<Instruction> {
        let guard = if self.eat('@') {
            let negated = self.eat('!');
            Some((self.word()?.to_string(), negated))
        } else {
            None
        };
        let line = self.line();
        let words = self.word()?.split('.').map(str::to_string).collect();
        let mut operands = vec![];
        while !self.eat(';') {
            operands.push(self.operand()?);
            if !self.eat(',') && *self.peek() != Tok::Punct(';') {
                return self.error(format!("expected `,` or `;`, found {:?}", self.peek()));
            }
        }
        Ok(Instruction { guard, words, operands, line })
    }

    fn operand(&mut self) -> Read<Operand> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.error("operand nested too deep");
        }
        let operand = self.operand_inner()?;
        self.depth -= 1;
        if self.eat('|') {
            let second = self.operand_inner()?;
            return Ok(Operand::Pair(operand.into(), second.into()));
        }
        Ok(operand)
    }

    fn operand_inner(&mut self) -> Read<Operand> {
        match self.peek().clone() {
            Tok::Punct('[') => self.address(),
            Tok::Punct('{') => {
                self.next();
                Ok(Operand::Vector(self.operand_list('}')?))
            }
            Tok::Punct('(') => {
                self.next();
                Ok(Operand::List(self.operand_list(')')?))
            }
            Tok::Punct('!') => {
                self.next();
                Ok(Operand::Not(self.word()?.to_string()))
            }
            Tok::Punct('-') => {
                self.next();
                Ok(match self.next() {
                    Tok::Int(v) => Operand::Int(v.wrapping_neg()),
                    Tok::F32(b) => Operand::F32(b ^ 1 << 31),
                    Tok::F64(b) => Operand::F64(b ^ 1 << 63),
                    other => return self.error(format!("expected a number, found {other:?}")),
                })
            }
            Tok::Int(v) => {
                self.next();
                Ok(Operand::Int(v))
            }
            Tok::F32(b) => {
                self.next();
                Ok(Operand::F32(b))
            }
            Tok::F64(b) => {
                self.next();
                Ok(Operand::F64(b))
            }
            Tok::Word("_") => {
                self.next();
                Ok(Operand::Sink)
            }
            Tok::Word(w) => {
                self.next();
                match self.peek() {
                    Tok::Punct('+') => {
                        self.next();
                        Ok(Operand::Offset(w.to_string(), self.int()?))
                    }
                    Tok::Punct('-') => Ok(Operand::Offset(w.to_string(), self.int()?)),
                    _ => Ok(Operand::Name(w.to_string())),
                }
            }
            other => self.error(format!("expected an operand, found {other:?}")),
        }
    }

    fn operand_list(&mut self, end: char) -> Read<Vec<Operand>> {
        let mut out = vec![];
        while !self.eat(end) {
            out.push(self.operand()?);
            if !self.eat(',') && *self.peek() != Tok::Punct(end) {
                return self.error(format!("expected `,` or `{end}`, found {:?}", self.peek()));
            }
        }
        Ok(out)
    }

    fn address(&mut self) -> Read<Operand> {
        self.expect('[')?;
        let (base, offset) = match self.operand()? {
            Operand::Offset(name, offset) => (Operand::Name(name), offset),
            other => (other, 0),
        };
        let coordinates = if self.eat(',') {
            match self.operand()? {
                Operand::Vector(v) => v,
                other => vec![other],
            }
        } else {
            vec![]
        };
        self.expect(']')?;
        Ok(Operand::Address { base: base.into(), offset, coordinates })
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
