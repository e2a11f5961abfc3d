//! From a fault of the grammar to a message: what was expected, what stands there, what to write.
//!
//! The first rule here that recognises the situation words it; the plain "expected … found …" is the last.

use crate::{
    parser::input::{Context, Fault, Want},
    token::{Kind, Token},
};
use tile_base::{Diagnostic, Span};

/// At most this many per file; after that the rest is noise.
pub const MAX_DIAGNOSTICS: usize = 50;

impl Context<'_> {
    pub fn report_fault(&self, fault: Fault) {
        self.report(explain(self, fault));
    }
}

fn explain(cx: &Context<'_>, fault: Fault) -> Diagnostic {
    if let Some(exact) = fault.exact {
        return *exact;
    }
    let found = cx.tokens[fault.at.min(cx.tokens.len() - 1)];
    let previous = fault.at.checked_sub(1).map(|at| cx.tokens[at]);
    let at = Situation { wants: &fault.want, found, previous, opened: fault.opened };
    at.foreign()
        .or_else(|| at.doubled())
        .or_else(|| at.single_equals())
        .or_else(|| at.reserved())
        .or_else(|| at.type_in_expression())
        .or_else(|| at.unclosed())
        .or_else(|| at.body_without_braces())
        .or_else(|| at.semicolon())
        .unwrap_or_else(|| at.plain())
}

struct Situation<'a> {
    wants: &'a [Want],
    found: Token<'a>,
    previous: Option<Token<'a>>,
    opened: Option<Span>,
}

impl Situation<'_> {
    fn wants(&self, text: &str) -> bool {
        self.wants.iter().any(|w| matches!(w, Want::Token(t) | Want::What(t) if *t == text))
    }

    fn expected(&self) -> String {
        let all: Vec<String> = self
            .wants
            .iter()
            .map(|w| match w {
                Want::Token(t) => format!("`{t}`"),
                Want::What(t) => t.to_string(),
            })
            .collect();
        match all.as_slice() {
            [] => "something else".into(),
            [one] => one.clone(),
            [most @ .., last] => format!("{} or {last}", most.join(", ")),
        }
    }

    fn plain(&self) -> Diagnostic {
        let message = format!("expected {}, found {}", self.expected(), self.found.describe());
        let label = format!("expected {}", self.expected());
        let mut d = Diagnostic::error("T0101", self.found.span, message).label(label);
        d.help = self.habit().map(String::from);
        match self.opened {
            Some(open) => d.also(open, "opened here"),
            None => d,
        }
    }

    /// What to write here for what other languages write.
    fn habit(&self) -> Option<&'static str> {
        let before = self.previous.map_or("", |t| t.text);
        Some(match (before, self.found.text) {
            ("mut", _) => "`var` declares what changes: `var x = 0;`",
            (_, "as") => "a conversion is `x.to(f32)`",
            (".", _) if self.found.kind == Kind::Int => "a tuple is taken apart by `let (a, b) = t;`",
            (_, "|") if self.wants("an expression") => "functions are declared with `fn` and passed by name",
            (_, "const") => {
                "a constant is a `let`; compile-time parameters stand in `<const D>` of the declaration"
            }
            (_, ";") if self.wants("=") => "it starts with a value: `var acc: f32[i, D] = 0;`",
            (_, "def" | "func" | "function" | "struct" | "enum" | "impl" | "mod" | "pub" | "import")
                if !self.wants(";") =>
            {
                "functions begin with `fn`, kernels with `kernel`, imports with `use`"
            }
            ("match" | "struct" | "loop" | "new", _) => "the statements are listed in docs/grammar.ebnf",
            _ => return None,
        })
    }

    /// `x++`, `x @= y`: two signs that touch and are no operator together.
    fn doubled(&self) -> Option<Diagnostic> {
        let touches = |t: &Token<'_>| t.kind == Kind::Punct && t.span.end == self.found.span.start;
        let sign = self.previous.filter(touches).filter(|_| self.wants("an expression"))?;
        let help = match (sign.text, self.found.text) {
            ("+", "+") => "write `x += 1`",
            ("@", "=") => "write it out: `x = x @ y`; only `+=` has a short form",
            _ => return None,
        };
        let both = format!("{}{}", sign.text, self.found.text);
        Some(
            Diagnostic::error(
                "T0118",
                sign.span.to(self.found.span),
                format!("`{both}` is not an operator here"),
            )
            .label("not part of the language")
            .help(help),
        )
    }

    /// `-=`, `=>`, `**`, …
    fn foreign(&self) -> Option<Diagnostic> {
        let help = match self.found.text {
            "-=" => "write `x += -e` or `x = x - e`",
            "*=" | "/=" | "%=" | "&=" | "|=" | "^=" => {
                "write it out: `x = x * e`; only `+=` has a short form"
            }
            "**" => "write `pow(a, b)`, or `a * a`",
            "=>" => "a result type follows `->`; there is no `match`",
            "#" => "comments begin with `//`; there are no attributes",
            "?" if !self.wants("a type") => "write `if c { a } else { b }`, or `select(c, a, b)` on tiles",
            "!" => "`!` is the prefix \"not\"; there are no macros",
            "return" => "the last expression of a block, without `;`, is its value",
            _ => return None,
        };
        let message = format!("`{}` is not an operator here", self.found.text);
        Some(
            Diagnostic::error("T0118", self.found.span, message).label("not part of the language").help(help),
        )
    }

    fn single_equals(&self) -> Option<Diagnostic> {
        let bracket = self.wants("]") || self.wants(">");
        let beside = self.previous.is_some_and(|t| t.kind == Kind::Keyword);
        if !self.found.is("=") || self.wants("=") || bracket || beside {
            return None;
        }
        let help = match (self.wants("{"), self.wants(")")) {
            (true, _) => "to compare, write `==`; a body stands in braces",
            (_, true) => "to compare, write `==`; a named argument is `name = value`",
            _ => "to compare, write `==`",
        };
        Some(
            Diagnostic::error("T0110", self.found.span, format!("expected {}, found `=`", self.expected()))
                .label("`=` gives a value")
                .help(help),
        )
    }

    fn reserved(&self) -> Option<Diagnostic> {
        let word = self.found;
        let named = word.kind == Kind::Dtype || word.kind == Kind::Keyword && word.text != "_";
        if !named || !self.wants("a name") {
            return None;
        }
        let what = if word.kind == Kind::Dtype { "a type" } else { "a reserved word" };
        Some(
            Diagnostic::error("T0108", word.span, format!("`{}` is {what} and cannot be a name", word.text))
                .label("expected a name")
                .help(format!("use another name, such as `{}_`", word.text)),
        )
    }

    fn type_in_expression(&self) -> Option<Diagnostic> {
        if self.found.kind != Kind::Dtype || !self.wants("an expression") {
            return None;
        }
        Some(type_in_expression(self.found))
    }

    /// The end of the file, or of a statement, inside a bracket.
    fn unclosed(&self) -> Option<Diagnostic> {
        let open = self.opened?;
        let outside = self.found.kind == Kind::End
            || [";", "{", "}", "="].contains(&self.found.text)
            || self.found.starts_item()
            || self.found.starts_statement();
        outside.then(|| {
            let found = self.found.describe();
            Diagnostic::error(
                "T0103",
                self.found.span,
                format!("expected {}, found {found}", self.expected()),
            )
            .label(format!("expected {}", self.expected()))
            .also(open, "this is still open")
            .help("close the bracket before this")
        })
    }

    fn body_without_braces(&self) -> Option<Diagnostic> {
        if !self.wants("{") {
            return None;
        }
        let message = format!("expected {}, found {}", self.expected(), self.found.describe());
        Some(
            Diagnostic::error("T0116", self.found.span, message)
                .label("the body stands in braces")
                .help("write `{ … }` around it, also when it is one statement".replace('…', "...")),
        )
    }

    fn semicolon(&self) -> Option<Diagnostic> {
        if !self.wants(";") {
            return None;
        }
        if [")", "]"].contains(&self.found.text) {
            return Some(
                Diagnostic::error(
                    "T0114",
                    self.found.span,
                    format!("this `{}` closes nothing", self.found.text),
                )
                .label("no such bracket is open here")
                .help("remove it, or look for one that was closed too early"),
            );
        }
        let message = format!("expected {}, found {}", self.expected(), self.found.describe());
        let d = Diagnostic::error("T0102", self.found.span, message)
            .label("`;` or an operator is missing before this");
        if let Some(habit) = self.habit() {
            return Some(d.help(habit));
        }
        Some(match self.previous {
            Some(p) if self.found.kind == Kind::Name && p.kind == Kind::Name => {
                d.help("there are no operators of letters; a call is `f(x)`")
            }
            _ => d.help("a statement ends in `;`"),
        })
    }
}

/// `f32[i, D]`, `f32(x)` where a value is meant.
pub fn type_in_expression(found: Token<'_>) -> Diagnostic {
    let t = found.text;
    Diagnostic::error("T0109", found.span, format!("the type `{t}` stands where a value is expected"))
        .label("a type")
        .help(format!(
            "types stand after `:` and `->` and in `.to({t})`; a tile of zeros is `var x: {t}[i, D] = 0;`"
        ))
}

/// A statement that ends without `;`, seen because the next one begins on a new line.
pub fn missing_semicolon(previous: Token<'_>) -> Diagnostic {
    let after = Span { start: previous.span.end, ..previous.span };
    Diagnostic::error("T0102", after, "`;` is missing at the end of the statement")
        .label("`;` belongs here")
        .help("add `;`")
}
