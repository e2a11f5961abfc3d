//! Bodies of functions: scopes, labels, instructions and their operands.

use super::{
    lex::Tok,
    parse::{MAX_DEPTH, Parser, Read},
    syntax::*,
};

impl Parser<'_> {
    pub(super) fn scope(&mut self) -> Read<Vec<Stmt>> {
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

    pub(super) fn statement(&mut self, out: &mut Vec<Stmt>) -> Read<()> {
        match self.peek().clone() {
            Tok::Punct('{') => out.push(Stmt::Scope(self.scope()?)),
            Tok::Punct(';') => {
                self.next();
            }
            Tok::Punct('@') => out.push(Stmt::Instruction(self.instruction()?)),
            Tok::Word(".loc") => out.push(self.location()?),
            Tok::Word(".pragma") => self.skip_to_semicolon(),
            Tok::Word(".reg" | ".shared" | ".local" | ".param" | ".const" | ".global") => {
                out.extend(self.variables(false)?.into_iter().map(Stmt::Variable));
            }
            Tok::Word(w) if *self.peek_at(1) == Tok::Punct(':') => {
                let line = self.line();
                self.next();
                self.next();
                match self.peek() {
                    Tok::Word(".branchtargets" | ".calltargets") => {
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
                        out.push(Stmt::Prototype { name: w.to_string() });
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

    /// `.loc file line column{, function_name sym{+off}, inlined_at file line column}`; what is inlined where is dropped.
    pub(super) fn location(&mut self) -> Read<Stmt> {
        self.next();
        let (file, line, column) = (self.small()?, self.small()?, self.small()?);
        while self.eat(',') {
            match self.word()? {
                "function_name" => {
                    self.word()?;
                    if self.eat('+') {
                        self.int()?;
                    }
                }
                "inlined_at" => {
                    for _ in 0..3 {
                        self.small()?;
                    }
                }
                // `is_stmt 1`, `discriminator 2` and the like: a word and a number.
                _ => {
                    self.int()?;
                }
            }
        }
        Ok(Stmt::Location { file, line, column })
    }

    pub(super) fn instruction(&mut self) -> Read<Instruction> {
        let guard = if self.eat('@') {
            let negated = self.eat('!');
            Some((self.word()?.to_string(), negated))
        } else {
            None
        };
        let line = self.line();
        let mut words: Vec<String> = self.word()?.split('.').map(str::to_string).collect();
        // `ld.global .f32`: qualifiers may stand apart.
        while let Tok::Word(w) = *self.peek()
            && let Some(more) = w.strip_prefix('.')
        {
            words.extend(more.split('.').map(str::to_string));
            self.next();
        }
        let mut operands = vec![];
        while !self.eat(';') {
            operands.push(self.operand()?);
            if !self.eat(',') && *self.peek() != Tok::Punct(';') {
                return self.error(format!("expected `,` or `;`, found {:?}", self.peek()));
            }
        }
        Ok(Instruction { guard, words, operands, line })
    }

    pub(super) fn operand(&mut self) -> Read<Operand> {
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

    pub(super) fn operand_inner(&mut self) -> Read<Operand> {
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
            Tok::Punct('-') if matches!(self.peek_at(1), Tok::F32(_) | Tok::F64(_)) => {
                self.next();
                Ok(match self.next() {
                    Tok::F32(b) => Operand::F32(b ^ 1 << 31),
                    Tok::F64(b) => Operand::F64(b ^ 1 << 63),
                    other => return self.error(format!("expected a number, found {other:?}")),
                })
            }
            Tok::Int(_) | Tok::Punct('-' | '~') | Tok::Word("WARP_SZ") => {
                Ok(Operand::Int(self.constant_expression(0)?))
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
                        Ok(Operand::Offset(w.to_string(), self.constant_expression(0)?))
                    }
                    Tok::Punct('-') => Ok(Operand::Offset(w.to_string(), self.constant_expression(0)?)),
                    _ => Ok(Operand::Name(w.to_string())),
                }
            }
            other => self.error(format!("expected an operand, found {other:?}")),
        }
    }

    pub(super) fn operand_list(&mut self, end: char) -> Read<Vec<Operand>> {
        let mut out = vec![];
        while !self.eat(end) {
            out.push(self.operand()?);
            if !self.eat(',') && *self.peek() != Tok::Punct(end) {
                return self.error(format!("expected `,` or `{end}`, found {:?}", self.peek()));
            }
        }
        Ok(out)
    }

    pub(super) fn address(&mut self) -> Read<Operand> {
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
        // `[a].unified`: where the memory lives.
        self.eat_word(".unified");
        Ok(Operand::Address { base: base.into(), offset, coordinates })
    }
}
