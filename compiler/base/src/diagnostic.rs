//! A diagnostic is data: a code, a headline, labelled spans, notes, and what to do about it.
//!
//! Rendering happens at the edge (the command line, the editor server); no other crate prints.
//!
//! ```
//! use tile_base::{Diagnostic, Span};
//! let d = Diagnostic::error("T0203", Span::default(), "axes `i` and `j` do not agree")
//!     .label("this has axis `i`")
//!     .help("insert an axis of extent 1 with `x[:, _]`");
//! assert!(d.is_error());
//! ```

use crate::span::Span;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Worth knowing; changes nothing.
    Note,
    /// Probably not what was meant; compiles.
    Warning,
    /// Refused.
    Error,
}

/// A span and what to say of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Label {
    pub span: Span,
    pub text: String,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// `T` and four digits; every code has a page in `docs/diagnostics`.
    pub code: &'static str,
    pub severity: Severity,
    /// One line, in the user's own names.
    pub message: String,
    /// Where; `None` for a fault of the command line, a file or a launch, which has no source line.
    pub primary: Option<Span>,
    /// What the primary span shows.
    pub primary_label: String,
    pub labels: Vec<Label>,
    pub notes: Vec<String>,
    /// What to change, where that is known.
    pub help: Option<String>,
}

pub type Diagnostics = Vec<Diagnostic>;

impl Diagnostic {
    fn new(code: &'static str, severity: Severity, primary: Option<Span>, message: String) -> Self {
        Diagnostic {
            code,
            severity,
            message,
            primary,
            primary_label: String::new(),
            labels: vec![],
            notes: vec![],
            help: None,
        }
    }

    pub fn error(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Error, Some(span), message.into())
    }

    pub fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Warning, Some(span), message.into())
    }

    pub fn note_at(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Note, Some(span), message.into())
    }

    /// An error that belongs to no source line: a file, an argument of a launch, the command line.
    pub fn global(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Error, None, message.into())
    }

    pub fn label(mut self, text: impl Into<String>) -> Self {
        self.primary_label = text.into();
        self
    }

    pub fn also(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// Whether any of them refuses the input.
pub fn any_error(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(Diagnostic::is_error)
}
