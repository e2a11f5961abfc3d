//! Diagnostics for people: source lines with labels through miette, in colour on a terminal, plain elsewhere.
//!
//! ```text
//!   x T0203: axes `i` and `j` do not agree
//!    ,-[kernel.tile:4:23]
//!  4 |         c[i] = a[i] + b[j];
//!    :                ^^^^^^^^^^^ `i` here, `j` there
//!    `----
//!   help: …
//! ```
//!
//! A label in another file than the primary span becomes a note `file:line:column: text`.

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};
use std::{fmt, io::IsTerminal};
use tile_base::{Diagnostic, Severity, Sources, Span};

/// What miette wants to see of a diagnostic.
#[derive(Debug)]
struct Report<'a> {
    diagnostic: &'a Diagnostic,
    source: Option<NamedSource<String>>,
    help: String,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.diagnostic.message)
    }
}

impl std::error::Error for Report<'_> {}

fn labeled(span: Span, text: &str, limit: usize) -> LabeledSpan {
    let (start, end) = ((span.start as usize).min(limit), (span.end as usize).min(limit));
    let text = (!text.is_empty()).then(|| text.to_string());
    LabeledSpan::new(text, start, end.saturating_sub(start))
}

impl miette::Diagnostic for Report<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.diagnostic.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.diagnostic.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
            Severity::Note => miette::Severity::Advice,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        (!self.help.is_empty()).then(|| Box::new(&self.help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|s| s as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let primary = self.diagnostic.primary?;
        let limit = self.source.as_ref()?.inner().len();
        let first = labeled(primary, &self.diagnostic.primary_label, limit);
        let others = self.diagnostic.labels.iter().filter(move |l| l.span.file == primary.file);
        Some(Box::new(std::iter::once(first).chain(others.map(move |l| labeled(l.span, &l.text, limit)))))
    }
}

/// One diagnostic as text, with a line break at the end.
pub fn render(diagnostic: &Diagnostic, sources: &Sources, fancy: bool) -> String {
    let source = diagnostic.primary.and_then(|p| sources.get(p.file));
    let mut help: Vec<String> = vec![];
    help.extend(diagnostic.help.clone());
    for l in diagnostic.labels.iter().filter(|l| diagnostic.primary.is_none_or(|p| p.file != l.span.file)) {
        if let Some(s) = sources.get(l.span.file) {
            let (line, column) = s.line_column(l.span.start);
            help.push(format!("{}:{line}:{column}: {}", s.name, l.text));
        }
    }
    help.extend(diagnostic.notes.iter().map(|n| format!("note: {n}")));
    let report = Report {
        diagnostic,
        source: source.map(|s| NamedSource::new(&s.name, s.text.clone())),
        help: help.join("\n"),
    };
    let theme = if fancy { GraphicalTheme::unicode() } else { GraphicalTheme::none() };
    let handler = GraphicalReportHandler::new_themed(theme).with_links(false).with_width(width(fancy));
    let mut text = String::new();
    match handler.render_report(&mut text, &report) {
        Ok(()) => text,
        Err(_) => format!("{}: {}\n", diagnostic.code, diagnostic.message),
    }
}

fn width(fancy: bool) -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
    if fancy { columns.unwrap_or(100).clamp(40, 140) } else { 120 }
}

/// All of them, on standard error, errors last so that they are seen; and a line that counts them.
pub fn report(diagnostics: &[Diagnostic], sources: &Sources) {
    if diagnostics.is_empty() {
        return;
    }
    let fancy = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut text = String::new();
    for d in diagnostics {
        text += &render(d, sources, fancy);
    }
    let count = |s: Severity| diagnostics.iter().filter(|d| d.severity == s).count();
    let errors = count(Severity::Error);
    if errors > 0 {
        let first = diagnostics.iter().find(|d| d.is_error()).map_or("", |d| d.code);
        let s = if errors == 1 { "" } else { "s" };
        text += &format!("{errors} error{s}; `tilec explain {first}` tells more\n");
    }
    eprint!("{text}");
}
