//! Blocks and statements.
//!
//! A block stands on several lines unless all there is to it is a value: `{ x * 2 }`. An `if` without `else`
//! around one simple statement may stay on its line: `if lse { lse[b, h, i] = m; }`.

use super::{
    Formatter,
    doc::{Doc, blank, concat, group, hard, line, nest, nil, row, text},
    expr::{idents, join},
};
use crate::{ast::*, parser::stmt::has_value};

/// What [`Formatter::sequence`] prints one of: its place and its text.
pub struct Entry<'a> {
    pub start: u32,
    pub end: u32,
    pub print: Box<dyn std::ops::Fn() -> Doc + 'a>,
}

impl Formatter<'_> {
    /// `{ … }`, flat only if it holds nothing but a value.
    pub fn block(&self, b: &Block) -> Doc {
        let empty = b.stmts.is_empty() && !self.trivia.any_before(b.span.end);
        match &b.value {
            None if empty => text("{}"),
            Some(value) if empty => group(row!["{", nest(row![line(), self.tail_value(value)]), line(), "}"]),
            _ => self.braced(self.entries(b), b.span.start, b.span.end),
        }
    }

    fn entries<'a>(&'a self, b: &'a Block) -> Vec<Entry<'a>> {
        let last = b.stmts.len().wrapping_sub(1);
        let each = |(at, s): (usize, &'a Stmt)| {
            let ends = at == last && b.value.is_none();
            Entry { start: s.span.start, end: s.span.end, print: Box::new(move || self.stmt(s, ends)) }
        };
        let mut all: Vec<Entry<'a>> = b.stmts.iter().enumerate().map(each).collect();
        if let Some(v) = &b.value {
            all.push(Entry {
                start: v.span.start,
                end: v.span.end,
                print: Box::new(move || self.tail_value(v)),
            });
        }
        all
    }

    /// The value of a block: it may begin with a block only if it is one as a whole.
    fn tail_value(&self, v: &Expr) -> Doc {
        match &v.kind {
            ExprKind::If(c) if has_value(c) => self.expr(v),
            ExprKind::Block(b) if b.value.is_some() => self.expr(v),
            _ => self.statement_value(v),
        }
    }

    /// Braces around lines, with the comments that stand between.
    pub fn braced(&self, entries: Vec<Entry<'_>>, start: u32, end: u32) -> Doc {
        let first = entries.first().map_or(end, |e| e.start);
        let beside = self.trivia.trailing(first).unwrap_or_else(nil);
        let inside = self.sequence(entries, start, end);
        row!["{", beside, nest(row![hard(), inside]), hard(), "}"]
    }

    /// Entries on lines of their own; empty lines between them are kept.
    fn sequence(&self, entries: Vec<Entry<'_>>, start: u32, end: u32) -> Doc {
        let mut parts: Vec<Doc> = vec![];
        let mut above = start;
        let starts: Vec<u32> = entries.iter().map(|e| e.start).collect();
        for (at, entry) in entries.into_iter().enumerate() {
            let leading = self.trivia.leading(above, entry.start, at > 0);
            if at > 0 {
                parts.push(if leading.blank_first { blank() } else { hard() });
            }
            let printed = (entry.print)();
            parts.push(leading.lines());
            // What the statement had no place for.
            for c in self.trivia.before(entry.end) {
                parts.extend([text(super::comments::written(c)), hard()]);
            }
            parts.push(printed);
            parts.extend(self.trivia.trailing(starts.get(at + 1).copied().unwrap_or(end)));
            above = entry.end;
        }
        let rest = self.trivia.leading(above, end, !parts.is_empty());
        if !rest.is_empty() {
            if !parts.is_empty() {
                parts.push(if rest.blank_first { blank() } else { hard() });
            }
            parts.push(rest.last_lines());
        }
        concat(parts)
    }

    // ------------------------------------------------------------ statements

    /// `last`: nothing follows it in its block.
    fn stmt(&self, s: &Stmt, last: bool) -> Doc {
        let label = match &s.label {
            Some(l) => text(format!("'{}: ", l.name)),
            None => nil(),
        };
        row![label, self.stmt_kind(s, last)]
    }

    fn stmt_kind(&self, s: &Stmt, last: bool) -> Doc {
        match &s.kind {
            StmtKind::Tile(decls) => {
                let one = |d: &TileDecl| row![d.name.name.as_str(), self.choices(&d.choices)];
                row!["tile ", join(decls.iter().map(one).collect(), ", "), ";"]
            }
            StmtKind::Let { pattern, ty, value } => {
                self.binding("let ", pattern_text(pattern).into(), ty, value)
            }
            StmtKind::Var { name, ty, value } => self.binding("var ", name.name.as_str().into(), ty, value),
            StmtKind::View { name, axes, value } => {
                let axis = |(n, r): &(Ident, Expr)| row![n.name.as_str(), " in ", self.expr(r)];
                let axes = self.fill(("[", "]"), axes, 0, |(n, _)| n.span, axis);
                self.binding("view ", row![name.name.as_str(), axes], &None, value)
            }
            StmtKind::Assign { place, op, value } => {
                let op = if *op == AssignOp::Set { " = " } else { " += " };
                row![self.statement_value(place), op, self.expr(value), ";"]
            }
            StmtKind::Par { axes, body } => {
                let axis = |a: &ParAxis| row![a.name.name.as_str(), " in ", self.expr(&a.range)];
                row!["par ", self.head_list(axes.iter().map(axis).collect()), " ", self.body(body)]
            }
            StmtKind::For { pattern, range, claims, body } => self.for_loop(pattern, range, claims, body),
            StmtKind::Unroll { name, range, body } => {
                row!["unroll ", name.name.as_str(), " in ", self.expr(range), " ", self.body(body)]
            }
            StmtKind::While { condition, body } => row![self.condition("while ", condition), self.body(body)],
            StmtKind::If(c) => {
                let end = if last && has_value(c) { ";" } else { "" };
                row![self.conditional(c), end]
            }
            StmtKind::Break => text("break;"),
            StmtKind::Assert { condition, message } => {
                let message = message.as_ref().map_or(nil(), |m| row![", ", crate::lexer::escape(m)]);
                row!["assert ", self.expr(condition), message, ";"]
            }
            StmtKind::Run { name, generics, args } => {
                let one = |(n, v): &(Ident, Expr)| row![n.name.as_str(), " = ", self.generic_value(v)];
                let generics = match generics.is_empty() {
                    true => nil(),
                    false => self.fill(("<", ">"), generics, 0, |(n, _)| n.span, one),
                };
                row!["run ", name.name.as_str(), generics, self.args(args, s.span.end), ";"]
            }
            StmtKind::Temp { name, ty } => row!["temp ", name.name.as_str(), ": ", self.ty(ty), ";"],
            StmtKind::Expr(Expr { kind: ExprKind::Block(b), .. }) => {
                row![self.block(b), if last && b.value.is_some() { ";" } else { "" }]
            }
            StmtKind::Expr(e) => row![self.statement_value(e), ";"],
            StmtKind::Broken => text("<broken>"),
        }
    }

    /// `let x: T = value;`
    fn binding(&self, word: &str, name: Doc, ty: &Option<Type>, value: &Expr) -> Doc {
        let ty = ty.as_ref().map_or(nil(), |t| row![": ", self.ty(t)]);
        row![word, name, ty, " = ", self.expr(value), ";"]
    }

    /// ` in {64, 128}`, or nothing.
    pub fn choices(&self, choices: &[Expr]) -> Doc {
        if choices.is_empty() { nil() } else { row![" in ", self.expr_list("{", choices, 0, "}")] }
    }

    /// Items of a loop's head, filling lines that are set in twice, off the body.
    fn head_list(&self, items: Vec<Doc>) -> Doc {
        let last = items.len().saturating_sub(1);
        let each = |(at, item): (usize, Doc)| {
            let comma = if at == last { "" } else { "," };
            if at == 0 { row![item, comma] } else { group(row![line(), item, comma]) }
        };
        nest(nest(concat(items.into_iter().enumerate().map(each).collect())))
    }

    fn for_loop(&self, pattern: &Pattern, range: &Expr, claims: &[Claim], body: &Block) -> Doc {
        let head = row!["for ", pattern_text(pattern), " in ", self.expr(range)];
        if claims.is_empty() {
            return row![head, " ", self.body(body)];
        }
        let claim = |c: &Claim| match c {
            Claim::Skip(e) => row!["skip ", self.expr(e)],
            Claim::Merge { function, vars, .. } => text(format!("merge {}({})", function.name, idents(vars))),
            Claim::Affine(name) => text(format!("affine {}", name.name)),
        };
        let claims = concat(claims.iter().map(|c| row![line(), claim(c)]).collect());
        row![group(row![head, nest(claims), line()]), self.body(body)]
    }

    /// The block of a loop or item: never on one line, unless empty.
    pub fn body(&self, b: &Block) -> Doc {
        if b.stmts.is_empty() && b.value.is_none() && !self.trivia.any_before(b.span.end) {
            return text("{}");
        }
        self.braced(self.entries(b), b.span.start, b.span.end)
    }

    // ------------------------------------------------------------ conditions

    /// `if c { a } else { b }`: all arms flat, or all broken.
    pub fn conditional(&self, c: &If) -> Doc {
        if let Some(short) = self.short_if(c) {
            return short;
        }
        let mut arms = vec![];
        let flat = only_values(c);
        let mut at = c;
        loop {
            arms.extend([self.condition("if ", &at.condition), self.arm(&at.then, flat)]);
            match &at.otherwise {
                Some(Else::If(next, _)) => {
                    arms.push(text(" else "));
                    at = next;
                }
                Some(Else::Block(b)) => {
                    arms.extend([text(" else "), self.arm(b, flat)]);
                    break;
                }
                None => break,
            }
        }
        group(concat(arms))
    }

    /// `if c `; after a condition of several lines the `{` stands on the next.
    fn condition(&self, word: &'static str, c: &Expr) -> Doc {
        group(row![word, self.loose(c), line()])
    }

    /// An arm breaks with its group, not on its own.
    fn arm(&self, b: &Block, flat: bool) -> Doc {
        match &b.value {
            Some(value) if flat && !self.trivia.any_before(b.span.end) => {
                row!["{", nest(row![line(), self.tail_value(value)]), line(), "}"]
            }
            _ => self.body(b),
        }
    }

    /// `if c { one simple statement; }`
    fn short_if(&self, c: &If) -> Option<Doc> {
        let ([only], None, None) = (c.then.stmts.as_slice(), &c.then.value, &c.otherwise) else {
            return None;
        };
        let simple = matches!(
            only.kind,
            StmtKind::Assign { .. } | StmtKind::Expr(_) | StmtKind::Break | StmtKind::Run { .. }
        );
        if !simple || self.trivia.any_before(c.then.span.end) {
            return None;
        }
        let head = self.condition("if ", &c.condition);
        Some(group(row![head, "{", nest(row![line(), self.stmt(only, true)]), line(), "}"]))
    }
}

/// Whether every arm is a value and nothing else.
fn only_values(c: &If) -> bool {
    let value = |b: &Block| b.stmts.is_empty() && b.value.is_some();
    value(&c.then)
        && match &c.otherwise {
            Some(Else::Block(b)) => value(b),
            Some(Else::If(next, _)) => only_values(next),
            None => true,
        }
}

pub fn pattern_text(p: &Pattern) -> String {
    match p {
        Pattern::Name(n) => n.name.clone(),
        Pattern::Ignore(_) => "_".into(),
        Pattern::Tuple(all, _) => {
            format!("({})", all.iter().map(pattern_text).collect::<Vec<_>>().join(", "))
        }
    }
}
