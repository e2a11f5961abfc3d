//! Errors while a graph runs, on their way to becoming diagnostics.
//!
//! A fault starts where an operation fails and gains its witness (instance and iterations) at the innermost node, once.

use tile_base::{Diagnostic, Span};

/// A diagnostic under construction.
#[derive(Debug)]
pub struct Fault {
    pub diagnostic: Box<Diagnostic>,
    /// The witness has been added.
    pub located: bool,
}

pub type Run<T> = Result<T, Fault>;

impl Fault {
    pub fn new(code: &'static str, span: Span, message: impl Into<String>) -> Fault {
        Fault { diagnostic: Box::new(Diagnostic::error(code, span, message)), located: false }
    }

    /// The compiler's own fault: a graph that the verifier should have refused, or a proof that does not hold.
    pub fn internal(span: Span, message: impl Into<String>) -> Fault {
        let fault = Fault::new("T0929", span, message);
        fault.note("this is a fault of the compiler, not of the program: please report it")
    }

    pub fn label(mut self, text: impl Into<String>) -> Fault {
        self.diagnostic.primary_label = text.into();
        self
    }

    pub fn also(mut self, span: Span, text: impl Into<String>) -> Fault {
        *self.diagnostic = self.diagnostic.also(span, text);
        self
    }

    pub fn note(mut self, text: impl Into<String>) -> Fault {
        self.diagnostic.notes.push(text.into());
        self
    }

    pub fn help(mut self, text: impl Into<String>) -> Fault {
        self.diagnostic.help = Some(text.into());
        self
    }
}

/// `1 element`, `3 elements`.
pub fn counted(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// `[3, 0, 17]`.
pub fn coordinate(at: &[usize]) -> String {
    let list: Vec<String> = at.iter().map(|x| x.to_string()).collect();
    format!("[{}]", list.join(", "))
}
