//! Constant expressions: `4*8+2`, `1<<3`, `-(7)`, `WARP_SZ-1`, as they stand for a number in an operand.
//!
//! Precedence climbing over tokens. Arithmetic is that of 64-bit two's complement; division by zero is an error.
//!
//! ```text
//! 1 + 2 << 3      levels: << 3, + 4, * 5      reads as (1 + 2) << 3 = 24
//! ```

use super::{
    lex::Tok,
    parse::{MAX_DEPTH, Parser, Read},
};

impl Parser<'_> {
    /// An expression whose operators bind at least as tightly as `level`.
    pub(super) fn constant_expression(&mut self, level: u8) -> Read<i64> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.error("expression nested too deep");
        }
        let mut left = self.constant_term()?;
        while let Some((operator, strength, tokens)) = self.operator()
            && strength >= level
        {
            for _ in 0..tokens {
                self.next();
            }
            let right = self.constant_expression(strength + 1)?;
            left = match operator {
                '|' => left | right,
                '^' => left ^ right,
                '&' => left & right,
                '<' => left.wrapping_shl(right as u32),
                '>' => left.wrapping_shr(right as u32),
                '+' => left.wrapping_add(right),
                '-' => left.wrapping_sub(right),
                '*' => left.wrapping_mul(right),
                _ if right == 0 => return self.error("division by zero in a constant expression"),
                '/' => left.wrapping_div(right),
                _ => left.wrapping_rem(right),
            };
        }
        self.depth -= 1;
        Ok(left)
    }

    /// The operator that comes next, its level, and how many tokens it is.
    fn operator(&self) -> Option<(char, u8, usize)> {
        let Tok::Punct(c) = *self.peek() else { return None };
        Some(match c {
            '|' => (c, 0, 1),
            '^' => (c, 1, 1),
            '&' => (c, 2, 1),
            '<' | '>' if *self.peek_at(1) == Tok::Punct(c) => (c, 3, 2),
            '+' | '-' => (c, 4, 1),
            '*' | '/' | '%' => (c, 5, 1),
            _ => return None,
        })
    }

    fn constant_term(&mut self) -> Read<i64> {
        // A chain of signs is a loop, not a recursion.
        let mut signs = vec![];
        loop {
            match self.next() {
                Tok::Punct(c @ ('-' | '~' | '+')) => signs.push(c),
                Tok::Punct('(') => {
                    let value = self.constant_expression(0)?;
                    self.expect(')')?;
                    return Ok(signed(value, &signs));
                }
                Tok::Int(v) => return Ok(signed(v, &signs)),
                Tok::Word("WARP_SZ") => return Ok(signed(32, &signs)),
                other => return self.error(format!("expected an integer, found {other:?}")),
            }
        }
    }
}

fn signed(value: i64, signs: &[char]) -> i64 {
    signs.iter().rev().fold(value, |v, sign| match sign {
        '-' => v.wrapping_neg(),
        '~' => !v,
        _ => v,
    })
}
