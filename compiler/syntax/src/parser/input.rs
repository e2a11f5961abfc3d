//! What the grammar's combinators work on: a position in the token list, a fault that remembers what was
//! expected, and the token parsers from which the rest is built.
//!
//! The grammar is predictive: one or two tokens decide which rule applies, and after that a rule is `cut`, so a
//! fault is never forgotten by trying something else. That is what makes its message sharp. Where a rule can go
//! on after a fault (a statement, an item) it reports the fault to the [`Context`] and returns a tree.
//!
//! # Bounds
//! Recursion is bounded twice. [`nested`] counts brackets and blocks on the way down ([`MAX_NEST`]), which
//! bounds the parser's own stack. It counts the height of what was built on the way up ([`MAX_HEIGHT`]), together
//! with [`grow`] for chains such as `a + a + a + …`, which are loops here but deep trees for everyone later.

use crate::{
    ast::Ident,
    token::{Kind, Token},
};
use nom::{IResult, Input, Needed, Parser, error::ErrorKind};
use std::cell::{Cell, RefCell};
use tile_base::{Diagnostic, Span};

/// Brackets and blocks inside each other.
pub const MAX_NEST: u32 = 64;
/// Nodes from the root of an expression to a leaf.
pub const MAX_HEIGHT: u32 = 256;

/// Findings that are kept; more are counted. Well above what is shown, which is chosen by position.
const MAX_KEPT: usize = 500;

/// What outlives backtracking: findings and counters.
pub struct Context<'a> {
    /// All tokens; the last is [`Kind::End`].
    pub tokens: &'a [Token<'a>],
    pub diagnostics: RefCell<Vec<Diagnostic>>,
    /// See [`crate::ast::File::arms`].
    pub arms: RefCell<Vec<u32>>,
    /// Findings beyond [`MAX_KEPT`].
    pub dropped: Cell<usize>,
    nest: Cell<u32>,
    height: Cell<u32>,
}

impl<'a> Context<'a> {
    pub fn new(tokens: &'a [Token<'a>]) -> Self {
        Context {
            tokens,
            diagnostics: RefCell::default(),
            arms: RefCell::default(),
            dropped: Cell::new(0),
            nest: Cell::new(0),
            height: Cell::new(0),
        }
    }

    /// The height of what this level holds so far, to be put back when a piece of it turned out broken.
    pub fn height(&self) -> u32 {
        self.height.get()
    }

    pub fn set_height(&self, height: u32) {
        self.height.set(height);
    }

    pub fn report(&self, diagnostic: Diagnostic) {
        let mut all = self.diagnostics.borrow_mut();
        if all.len() < MAX_KEPT {
            all.push(diagnostic);
        } else {
            self.dropped.set(self.dropped.get() + 1);
        }
    }
}

/// A position in the token list.
#[derive(Clone, Copy)]
pub struct Tokens<'a> {
    rest: &'a [Token<'a>],
    pub cx: &'a Context<'a>,
}

impl<'a> Tokens<'a> {
    pub fn new(cx: &'a Context<'a>) -> Self {
        Tokens { rest: cx.tokens, cx }
    }

    /// The same context at another place.
    pub fn at(self, position: usize) -> Self {
        Tokens { rest: &self.cx.tokens[position.min(self.cx.tokens.len() - 1)..], ..self }
    }

    pub fn position(self) -> usize {
        self.cx.tokens.len() - self.rest.len()
    }

    /// The next token, which is [`Kind::End`] at the end.
    pub fn peek(self) -> Token<'a> {
        self.look(0)
    }

    pub fn look(self, ahead: usize) -> Token<'a> {
        self.rest[ahead.min(self.rest.len() - 1)]
    }

    pub fn is(self, text: &str) -> bool {
        self.peek().is(text)
    }

    pub fn ended(self) -> bool {
        self.peek().kind == Kind::End
    }

    /// Past one token; stays before the end.
    pub fn next(self) -> Self {
        self.at(self.position() + 1)
    }

    /// The token before this position, if any.
    pub fn previous(self) -> Option<Token<'a>> {
        self.position().checked_sub(1).map(|at| self.cx.tokens[at])
    }

    /// From the first token here to the last one before `rest`.
    pub fn span_to(self, rest: Tokens<'a>) -> Span {
        let start = self.peek().span;
        match rest.previous() {
            Some(last) if rest.position() > self.position() => start.to(last.span),
            _ => Span { end: start.start, ..start },
        }
    }
}

impl<'a> Input for Tokens<'a> {
    type Item = Token<'a>;
    type Iter = std::iter::Copied<std::slice::Iter<'a, Token<'a>>>;
    type IterIndices = std::iter::Enumerate<Self::Iter>;

    fn input_len(&self) -> usize {
        self.rest.len()
    }

    fn take(&self, index: usize) -> Self {
        Tokens { rest: &self.rest[..index], ..*self }
    }

    fn take_from(&self, index: usize) -> Self {
        Tokens { rest: &self.rest[index..], ..*self }
    }

    fn take_split(&self, index: usize) -> (Self, Self) {
        (self.take_from(index), self.take(index))
    }

    fn position<P: Fn(Self::Item) -> bool>(&self, predicate: P) -> Option<usize> {
        self.rest.iter().position(|&t| predicate(t))
    }

    fn iter_elements(&self) -> Self::Iter {
        self.rest.iter().copied()
    }

    fn iter_indices(&self) -> Self::IterIndices {
        self.iter_elements().enumerate()
    }

    fn slice_index(&self, count: usize) -> Result<usize, Needed> {
        if self.rest.len() >= count { Ok(count) } else { Err(Needed::new(count - self.rest.len())) }
    }
}

/// Something that would have been right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Want {
    /// Written in backticks.
    Token(&'static str),
    /// In words: "an expression".
    What(&'static str),
}

/// Why the grammar cannot go on at a token.
#[derive(Debug)]
pub struct Fault {
    /// Position in the token list.
    pub at: usize,
    pub want: Vec<Want>,
    /// The bracket that is open around it, if what is missing is its close.
    pub opened: Option<Span>,
    /// A message that is already complete.
    pub exact: Option<Box<Diagnostic>>,
}

impl Fault {
    pub fn want(at: Tokens<'_>, want: Want) -> Self {
        Fault { at: at.position(), want: vec![want], opened: None, exact: None }
    }

    pub fn exact(at: Tokens<'_>, diagnostic: Diagnostic) -> Self {
        Fault { at: at.position(), want: vec![], opened: None, exact: Some(Box::new(diagnostic)) }
    }
}

impl<'a> nom::error::ParseError<Tokens<'a>> for Fault {
    fn from_error_kind(input: Tokens<'a>, _: ErrorKind) -> Self {
        Fault { at: input.position(), want: vec![], opened: None, exact: None }
    }

    fn append(_: Tokens<'a>, _: ErrorKind, other: Self) -> Self {
        other
    }

    /// Of two alternatives the one that went further knows better; at the same place both may be right.
    fn or(mut self, mut other: Self) -> Self {
        match self.at.cmp(&other.at) {
            std::cmp::Ordering::Greater => self,
            std::cmp::Ordering::Less => other,
            std::cmp::Ordering::Equal if self.exact.is_some() => self,
            std::cmp::Ordering::Equal => {
                other.want.retain(|w| !self.want.contains(w));
                self.want.append(&mut other.want);
                self
            }
        }
    }
}

pub type Parsed<'a, O> = IResult<Tokens<'a>, O, Fault>;

pub fn fail<'a, O>(fault: Fault) -> Parsed<'a, O> {
    Err(nom::Err::Failure(fault))
}

/// One token that fulfils a condition.
fn one<'a>(want: Want, fits: impl Fn(&Token<'a>) -> bool) -> impl Fn(Tokens<'a>) -> Parsed<'a, Token<'a>> {
    move |i| {
        let token = i.peek();
        if fits(&token) { Ok((i.next(), token)) } else { Err(nom::Err::Error(Fault::want(i, want))) }
    }
}

/// A sign or a word by its text.
pub fn lit<'a>(text: &'static str) -> impl Fn(Tokens<'a>) -> Parsed<'a, Token<'a>> {
    one(Want::Token(text), move |t| t.is(text))
}

pub fn kind<'a>(kind: Kind, what: &'static str) -> impl Fn(Tokens<'a>) -> Parsed<'a, Token<'a>> {
    one(Want::What(what), move |t| t.kind == kind)
}

fn ident(token: Token<'_>) -> Ident {
    Ident { name: token.text.to_string(), span: token.span }
}

/// A name of the user's.
pub fn name(i: Tokens<'_>) -> Parsed<'_, Ident> {
    nom::combinator::map(kind(Kind::Name, "a name"), ident).parse(i)
}

/// Any word, where none can be mistaken: after a dot, in schedules.
pub fn any_word(i: Tokens<'_>) -> Parsed<'_, Ident> {
    let fits = |t: &Token<'_>| matches!(t.kind, Kind::Name | Kind::Keyword | Kind::Dtype) && t.text != "_";
    nom::combinator::map(one(Want::What("a word"), fits), ident).parse(i)
}

/// A dtype, `index`, or a name that may stand for one.
pub fn type_word(i: Tokens<'_>) -> Parsed<'_, Ident> {
    let fits = |t: &Token<'_>| matches!(t.kind, Kind::Name | Kind::Dtype);
    nom::combinator::map(one(Want::What("a type"), fits), ident).parse(i)
}

/// `item, item, …` up to `close`, which is taken; a comma may follow the last. `open` is taken first.
pub fn bracketed<'a, O>(
    open: &'static str,
    mut item: impl Parser<Tokens<'a>, Output = O, Error = Fault>,
    close: &'static str,
) -> impl FnMut(Tokens<'a>) -> Parsed<'a, Vec<O>> {
    move |i| {
        let (mut i, opening) = lit(open)(i)?;
        let mut items = vec![];
        loop {
            if i.is(close) {
                return Ok((i.next(), items));
            }
            let (rest, found) = committed(&mut item, i).map_err(|e| inside(e, i, opening.span))?;
            items.push(found);
            i = rest;
            if i.is(",") {
                i = i.next();
            } else if !i.is(close) {
                let want = vec![Want::Token(","), Want::Token(close)];
                return fail(Fault { at: i.position(), want, opened: Some(opening.span), exact: None });
            }
        }
    }
}

/// A fault at the very start of an item of a list: the list may have been meant to end before.
fn inside(e: nom::Err<Fault>, i: Tokens<'_>, opening: Span) -> nom::Err<Fault> {
    e.map(|f| if f.at == i.position() { Fault { opened: f.opened.or(Some(opening)), ..f } } else { f })
}

/// `open inner close`, where a missing close names the open one.
pub fn enclosed<'a, O>(
    open: &'static str,
    mut inner: impl Parser<Tokens<'a>, Output = O, Error = Fault>,
    close: &'static str,
) -> impl FnMut(Tokens<'a>) -> Parsed<'a, O> {
    move |i| {
        let (i, opening) = lit(open)(i)?;
        let (i, found) = committed(&mut inner, i)?;
        match lit(close)(i) {
            Ok((i, _)) => Ok((i, found)),
            Err(_) => fail(Fault { opened: Some(opening.span), ..Fault::want(i, Want::Token(close)) }),
        }
    }
}

/// `item, item`, at least one, no comma at the end.
pub fn listed<'a, O>(
    mut item: impl Parser<Tokens<'a>, Output = O, Error = Fault>,
) -> impl FnMut(Tokens<'a>) -> Parsed<'a, Vec<O>> {
    move |i| {
        let (mut i, first) = item.parse(i)?;
        let mut items = vec![first];
        while i.is(",") {
            let (rest, next) = committed(&mut item, i.next())?;
            items.push(next);
            i = rest;
        }
        Ok((i, items))
    }
}

fn committed<'a, O>(
    item: &mut impl Parser<Tokens<'a>, Output = O, Error = Fault>,
    i: Tokens<'a>,
) -> Parsed<'a, O> {
    item.parse(i).map_err(|e| match e {
        nom::Err::Error(fault) => nom::Err::Failure(fault),
        other => other,
    })
}

/// One level deeper: refuses beyond [`MAX_NEST`] and [`MAX_HEIGHT`].
pub fn nested<'a, O>(
    mut inner: impl Parser<Tokens<'a>, Output = O, Error = Fault>,
) -> impl FnMut(Tokens<'a>) -> Parsed<'a, O> {
    move |i| {
        let cx = i.cx;
        if cx.nest.get() >= MAX_NEST {
            return fail(Fault::exact(i, too_deep(i)));
        }
        cx.nest.set(cx.nest.get() + 1);
        let beside = cx.height.replace(0);
        let result = inner.parse(i);
        cx.nest.set(cx.nest.get() - 1);
        let grown = result.is_err() || grow(i).is_ok();
        cx.height.set(cx.height.get().max(beside));
        if grown { result } else { fail(Fault::exact(i, too_deep(i))) }
    }
}

/// A chain of operators: like [`nested`] but the parser itself does not go deeper. Each link calls [`grow`].
pub fn chain<'a, O>(
    mut inner: impl Parser<Tokens<'a>, Output = O, Error = Fault>,
) -> impl FnMut(Tokens<'a>) -> Parsed<'a, O> {
    move |i| {
        let beside = i.cx.height.replace(0);
        let result = inner.parse(i);
        i.cx.height.set(i.cx.height.get().max(beside));
        result
    }
}

/// Everything read in this [`nested`] or [`chain`] so far is now one node deeper in the tree.
pub fn grow(i: Tokens<'_>) -> Result<(), nom::Err<Fault>> {
    let height = i.cx.height.get() + 1;
    i.cx.height.set(height.min(MAX_HEIGHT + 1));
    if height > MAX_HEIGHT { Err(nom::Err::Failure(Fault::exact(i, too_deep(i)))) } else { Ok(()) }
}

fn too_deep(i: Tokens<'_>) -> Diagnostic {
    Diagnostic::error("T0105", i.peek().span, "this is nested too deeply")
        .label(format!(
            "more than {MAX_NEST} brackets or blocks, or {MAX_HEIGHT} operators, inside each other"
        ))
        .help("name the inner parts with `let`")
}
