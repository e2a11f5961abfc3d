//! Declarations of variables, and their initial values.
//!
//! ```text
//! .global .align 8 .u64 table[2] = { generic(a)+4, b };     numbers, floats, addresses
//! .global .b8 bytes[2] = { 0xFF(a), 0xFF00(a) };            one byte of an address each
//! ```

use super::{
    lex::Tok,
    parse::{MAX_DEPTH, Parser, Read},
    syntax::*,
};

impl Parser<'_> {
    /// A declaration statement: `.shared .align 16 .b8 a[64], b[32];`
    pub(super) fn variables(&mut self, external: bool) -> Read<Vec<Variable>> {
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
    pub(super) fn variable_group(&mut self, external: bool) -> Read<Vec<Variable>> {
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
                ".attribute" => self.skip_parentheses()?,
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
    pub(super) fn declarator(&mut self, variable: &mut Variable) -> Read<()> {
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

    pub(super) fn initializer(&mut self, out: &mut Vec<Init>, depth: usize) -> Read<()> {
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
            Tok::Punct('-') if matches!(self.peek_at(1), Tok::F32(_) | Tok::F64(_)) => {
                self.next();
                out.push(match self.next() {
                    Tok::F32(b) => Init::F32(b ^ 1 << 31),
                    Tok::F64(b) => Init::F64(b ^ 1 << 63),
                    other => return self.error(format!("expected a number, found {other:?}")),
                });
                return Ok(());
            }
            // `0xFF00(sym)`: one byte of an address.
            Tok::Int(mask) if *self.peek_at(1) == Tok::Punct('(') => {
                self.next();
                self.expect('(')?;
                let symbol = self.symbol(mask as u64)?;
                self.expect(')')?;
                out.push(symbol);
                return Ok(());
            }
            Tok::Int(_) | Tok::Punct('-' | '~') => {
                let value = self.constant_expression(0)?;
                out.push(Init::Int(value));
                return Ok(());
            }
            Tok::Word(_) => {
                let symbol = self.symbol(u64::MAX)?;
                out.push(symbol);
                return Ok(());
            }
            other => return self.error(format!("unexpected {other:?} in an initialiser")),
        }
        self.next();
        Ok(())
    }

    /// `sym`, `sym+8`, `generic(sym)+8`.
    pub(super) fn symbol(&mut self, mask: u64) -> Read<Init> {
        let word = self.word()?;
        let generic = word == "generic" && *self.peek() == Tok::Punct('(');
        let name = if generic {
            self.expect('(')?;
            let name = self.word()?;
            self.expect(')')?;
            name
        } else {
            word
        };
        let offset = match self.peek() {
            Tok::Punct('+') => {
                self.next();
                self.constant_expression(0)?
            }
            Tok::Punct('-') => self.constant_expression(0)?,
            _ => 0,
        };
        Ok(Init::Symbol { name: name.to_string(), generic, offset, mask })
    }
}
