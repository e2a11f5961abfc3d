//! Specs, tests and schedules.

use super::{
    Formatter,
    doc::{Doc, concat, either, group, line, nest, nil, row, text},
    stmt::Entry,
};
use crate::ast::*;
use tile_base::{DType, Span};

impl Formatter<'_> {
    // ------------------------------------------------------------ specs

    pub fn spec(&self, s: &Spec, end: u32) -> Doc {
        row!["spec ", s.name.name.as_str(), " ", self.spec_body(&s.stmts, s.name.span.end, end)]
    }

    fn spec_body(&self, stmts: &[SpecStmt], start: u32, end: u32) -> Doc {
        if stmts.is_empty() && !self.trivia.any_before(end) {
            return text("{}");
        }
        let mut entries: Vec<Entry<'_>> = vec![];
        for s in stmts {
            entries.push(Entry {
                start: s.span.start,
                end: s.span.end,
                print: Box::new(move || self.spec_stmt(s)),
            });
        }
        self.braced(entries, start, end)
    }

    fn spec_stmt(&self, s: &SpecStmt) -> Doc {
        match &s.kind {
            SpecStmtKind::Equation { local, name, indices, op, value } => {
                let op = if *op == AssignOp::Set { " = " } else { " += " };
                let indices = match indices.is_empty() {
                    true => nil(),
                    false => self.fill(("[", "]"), indices, 0, |_| s.span, |x| self.spec_index(x)),
                };
                row![if *local { "let " } else { "" }, name.name.as_str(), indices, op, self.expr(value), ";"]
            }
            SpecStmtKind::For { name, range, reverse, body } => {
                let range = match (&range.kind, reverse) {
                    (ExprKind::Range { .. } | ExprKind::Binary { .. } | ExprKind::Unary { .. }, true) => {
                        row!["(", self.expr(range), ").rev()"]
                    }
                    (ExprKind::Subscript { otherwise: Some(_), .. }, true) => {
                        row!["(", self.expr(range), ").rev()"]
                    }
                    (_, true) => row![self.expr(range), ".rev()"],
                    (_, false) => self.expr(range),
                };
                let end = s.span.end;
                row!["for ", name.name.as_str(), " in ", range, " ", self.spec_body(body, s.span.start, end)]
            }
            SpecStmtKind::If { condition, then, otherwise } => {
                let last = then.last().map_or(condition.span.end, |t| t.span.end);
                let then_end = if otherwise.is_empty() { s.span.end } else { self.trivia.arm_end(last) };
                let condition = self.expr(condition);
                let head = row!["if ", condition, " ", self.spec_body(then, s.span.start, then_end)];
                match otherwise.as_slice() {
                    [] => head,
                    [only @ SpecStmt { kind: SpecStmtKind::If { .. }, .. }] => {
                        row![head, " else ", self.spec_stmt(only)]
                    }
                    all => row![head, " else ", self.spec_body(all, then_end, s.span.end)],
                }
            }
            SpecStmtKind::Broken => text("<broken>"),
        }
    }

    fn spec_index(&self, x: &SpecIndex) -> Doc {
        match x {
            SpecIndex::Free { name, range: None } => text(name.name.clone()),
            SpecIndex::Free { name, range: Some(r) } => row![name.name.as_str(), " in ", self.expr(r)],
            SpecIndex::All(_) => text(":"),
            SpecIndex::At(e) => self.expr(e),
        }
    }

    // ------------------------------------------------------------ tests

    /// Sizes (`M in [1, 17]`, capital letters) share a row, unless an empty line or a comment parts them; every
    /// other item, dtypes too, has its own.
    pub fn test(&self, t: &Test, end: u32) -> Doc {
        if t.items.is_empty() && !self.trivia.any_before(end) {
            return row!["test ", t.name.name.as_str(), " {}"];
        }
        let mut rows: Vec<Vec<&TestItem>> = vec![];
        for item in &t.items {
            match rows.last_mut() {
                Some(row) if row.last().is_some_and(|last| self.same_row(last, item)) => row.push(item),
                _ => rows.push(vec![item]),
            }
        }
        let mut entries: Vec<Entry<'_>> = vec![];
        for items in rows {
            let (start, end) = (test_span(items[0]).start, test_span(items[items.len() - 1]).end);
            entries.push(Entry { start, end, print: Box::new(move || self.test_row(&items)) });
        }
        row!["test ", t.name.name.as_str(), " ", self.braced(entries, t.name.span.end, end)]
    }

    fn same_row(&self, a: &TestItem, b: &TestItem) -> bool {
        let (from, to) = (test_span(a).end, test_span(b).start);
        let apart = self.trivia.blank_in(from + 1, to) || self.trivia.comment_in(from, to);
        !apart && is_size(a) && is_size(b)
    }

    /// `B = 2, M in [1, 17];`, or each with its own `;` on its own line.
    fn test_row(&self, items: &[&TestItem]) -> Doc {
        let last = items.len() - 1;
        let each = |(at, item): (usize, &&TestItem)| {
            let end = if at == last { text(";") } else { row![either(",", ";"), line()] };
            row![self.test_item(item), end]
        };
        group(concat(items.iter().enumerate().map(each).collect()))
    }

    fn test_item(&self, item: &TestItem) -> Doc {
        match item {
            TestItem::Set { name, value, .. } => row![name.name.as_str(), " = ", self.expr(value)],
            TestItem::Each { name, values, span } => {
                row![name.name.as_str(), " in ", self.expr_list("[", values, span.end, "]")]
            }
            TestItem::Tolerance { name, relative, absolute, .. } => {
                let bound = |word: &'static str, e: &Expr| row![word, self.expr(e)];
                let bounds = match (relative, absolute) {
                    (Some(r), Some(a)) => row![bound(" rel ", r), bound(", abs ", a)],
                    (Some(r), None) => bound(" rel ", r),
                    (None, Some(a)) => bound(" abs ", a),
                    (None, None) => text(" exact"),
                };
                row![name.name.as_str(), ":", bounds]
            }
            TestItem::Pairs(_) => text("pairs"),
            TestItem::Rounded(_) => text("rounded"),
            TestItem::Absent { names, .. } => text(format!("absent {}", super::expr::idents(names))),
        }
    }

    // ------------------------------------------------------------ schedules

    /// On one line if it fits, else a row on each.
    pub fn schedule(&self, s: &Schedule, end: u32) -> Doc {
        let target = s.target.as_ref().map_or(String::new(), |t| format!(" for {}", t.name));
        let guard = s.guard.as_ref().map_or(nil(), |g| row![" where ", self.expr(g)]);
        let head = row!["schedule ", s.name.name.as_str(), target, guard, " "];
        if self.trivia.any_before(end) {
            let mut entries: Vec<Entry<'_>> = vec![];
            for item in &s.items {
                let print = Box::new(move || row![self.schedule_row(item), ";"]);
                entries.push(Entry { start: item.span.start, end: item.span.end, print });
            }
            let start = s.guard.as_ref().map_or(s.name.span.end, |g| g.span.end);
            return row![head, self.braced(entries, start, end)];
        }
        if s.items.is_empty() {
            return row![head, "{}"];
        }
        let rows = concat(s.items.iter().map(|item| row![line(), self.schedule_row(item), ";"]).collect());
        group(row![head, "{", nest(rows), line(), "}"])
    }

    fn schedule_row(&self, item: &ScheduleItem) -> Doc {
        let mut parts = vec![text(item.keyword.name.clone())];
        for word in &item.words {
            parts.push(match word {
                ScheduleWord::Comma => text(","),
                ScheduleWord::Path(p) => {
                    text(format!(" {}", p.iter().map(|n| n.name.as_str()).collect::<Vec<_>>().join(".")))
                }
                ScheduleWord::Int(v, span) => row![" ", self.trivia.int(*v, span.start)],
                ScheduleWord::Bind(name, value) => row![" ", name.name.as_str(), " = ", self.expr(value)],
                ScheduleWord::Call(name, args) => {
                    row![" ", name.name.as_str(), self.expr_list("(", args, 0, ")")]
                }
            });
        }
        concat(parts)
    }
}

/// Whether this sets a dimension or a constant, which by custom have capital names.
fn is_size(item: &TestItem) -> bool {
    let (name, first) = match item {
        TestItem::Set { name, value, .. } => (name, Some(value)),
        TestItem::Each { name, values, .. } => (name, values.first()),
        _ => return false,
    };
    let dtype = |e: &Expr| matches!(&e.kind, ExprKind::Name(n) if DType::from_name(n).is_some());
    name.name.starts_with(|c: char| c.is_ascii_uppercase()) && !first.is_some_and(dtype)
}

fn test_span(item: &TestItem) -> Span {
    match item {
        TestItem::Set { span, .. }
        | TestItem::Each { span, .. }
        | TestItem::Tolerance { span, .. }
        | TestItem::Pairs(span)
        | TestItem::Rounded(span)
        | TestItem::Absent { span, .. } => *span,
    }
}
