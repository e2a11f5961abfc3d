//! Tokens to the tree: a predictive grammar in nom combinators that goes on after a fault.
//!
//! | file | rules |
//! |---|---|
//! | [`input`] | positions, faults, token parsers, lists, bounds on nesting |
//! | [`fault`] | wording of messages |
//! | [`item`] | `kernel`, `fn`, `op`, `grad`, `use` |
//! | [`types`] | types, generics, parameters, facts |
//! | [`stmt`] | blocks, statements, recovery |
//! | [`expr`] | expressions |
//! | [`spec`] | equations |
//! | [`harness`] | tests, schedules |

mod expr;
mod fault;
mod harness;
pub(crate) mod input;
mod item;
mod spec;
pub(crate) mod stmt;
mod types;

use crate::{
    ast::{Comment, File, Item, ItemKind},
    lexer::{DocLine, Lexed, lex},
};
use input::{Context, Tokens};
use tile_base::{Diagnostic, FileId, Span};

/// Longest text that is read; spans count in 32 bits, and no kernel is this long.
pub const MAX_TEXT: usize = 16 << 20;

/// A tree, always, and what is wrong with the text.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Parsed {
    pub file: File,
    pub diagnostics: Vec<Diagnostic>,
}

pub fn parse(file: FileId, text: &str) -> Parsed {
    if text.len() > MAX_TEXT {
        let message = format!("this file has {} bytes; at most {MAX_TEXT} are read", text.len());
        let d =
            Diagnostic::error("T0113", Span::new(file, 0, 0), message).help("split it into several files");
        return Parsed { file: File::default(), diagnostics: vec![d] };
    }
    let lexed = lex(file, text);
    let cx = Context::new(&lexed.tokens);
    let mut docs = Docs { lines: &lexed.docs, taken: 0, stray: vec![] };
    let items = items(Tokens::new(&cx), &mut docs);
    docs.all_stray();
    let mut arms = cx.arms.into_inner();
    arms.sort_unstable();
    let dropped = cx.dropped.get();
    let mut diagnostics = cx.diagnostics.into_inner();
    let comments = with_stray(&lexed, docs.stray, &mut diagnostics);
    diagnostics.extend(lexed.diagnostics);
    let tree = File { items, comments, blanks: lexed.blanks, spellings: lexed.spellings, arms };
    Parsed { file: tree, diagnostics: tidy(file, diagnostics, dropped) }
}

fn items(mut i: Tokens<'_>, docs: &mut Docs<'_>) -> Vec<Item> {
    let mut items = vec![];
    while !i.ended() {
        let start = i;
        let lines = docs.before(i.peek().span.start);
        i.cx.set_height(0);
        let kind = if i.is("}") {
            i.cx.report(stray_close(i));
            i = i.next();
            ItemKind::Broken
        } else {
            match item::item(i) {
                Ok((rest, kind)) => {
                    i = rest;
                    kind
                }
                Err(fault) => {
                    i = recover(i, fault);
                    ItemKind::Broken
                }
            }
        };
        items.push(Item { docs: lines, kind, span: start.span_to(i) });
        docs.stray_before(i.previous().map_or(0, |t| t.span.end));
    }
    items
}

/// To the next item. Its word may stand anywhere on a line when the braces around it are closed; inside open
/// braces only at the start of a line, which ends what was never closed.
fn recover<'a>(start: Tokens<'a>, fault: nom::Err<input::Fault>) -> Tokens<'a> {
    let (nom::Err::Error(fault) | nom::Err::Failure(fault)) = fault else { return start.next() };
    start.cx.report_fault(fault);
    let mut i = start.next();
    let mut depth = 0i32;
    while !i.ended() {
        let token = i.peek();
        match token.text {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ if token.starts_item() && token.first => return i,
            _ => {}
        }
        i = i.next();
        let closed = token.is("}") && depth <= 0;
        if closed {
            return i;
        }
    }
    i
}

fn stray_close(i: Tokens<'_>) -> Diagnostic {
    Diagnostic::error("T0114", i.peek().span, "this `}` closes nothing")
        .label("no block is open here")
        .help("remove it, or look for a `}` too many above")
}

/// `///` lines go to the item that follows them; others are stray.
struct Docs<'a> {
    lines: &'a [DocLine],
    taken: usize,
    stray: Vec<DocLine>,
}

impl Docs<'_> {
    fn before(&mut self, start: u32) -> Vec<String> {
        let from = self.taken;
        while self.lines.get(self.taken).is_some_and(|l| l.span.start < start) {
            self.taken += 1;
        }
        self.lines[from..self.taken].iter().map(|l| l.text.clone()).collect()
    }

    /// Those inside the item that just ended belong to none.
    fn stray_before(&mut self, end: u32) {
        while let Some(line) = self.lines.get(self.taken).filter(|l| l.span.start < end) {
            self.stray.push(line.clone());
            self.taken += 1;
        }
    }

    fn all_stray(&mut self) {
        self.stray_before(u32::MAX);
    }
}

/// Stray doc lines are kept as comments, with a warning.
fn with_stray(lexed: &Lexed<'_>, stray: Vec<DocLine>, diagnostics: &mut Vec<Diagnostic>) -> Vec<Comment> {
    let mut comments = lexed.comments.clone();
    for line in stray {
        diagnostics.push(
            Diagnostic::warning("T0112", line.span, "this documents nothing")
                .label("no item follows this `///` line")
                .help("write `//`; `///` stands before an item"),
        );
        comments.push(Comment { text: line.text, span: line.span, own_line: line.own_line });
    }
    comments.sort_by_key(|c| c.span.start);
    comments
}

/// In order of position, each once, and not without end.
fn tidy(file: FileId, mut all: Vec<Diagnostic>, dropped: usize) -> Vec<Diagnostic> {
    all.sort_by_key(|d| d.primary.map(|s| (s.start, s.end)));
    all.dedup();
    if all.len() > fault::MAX_DIAGNOSTICS {
        let hidden = all.len() - fault::MAX_DIAGNOSTICS + dropped;
        let at = all[fault::MAX_DIAGNOSTICS].primary.unwrap_or(Span::new(file, 0, 0));
        all.truncate(fault::MAX_DIAGNOSTICS);
        let message = format!("{hidden} more faults in this file are not shown");
        all.push(
            Diagnostic::error("T0113", at, message)
                .label("the first that is not shown")
                .help("mend the first ones and look again"),
        );
    }
    all
}
