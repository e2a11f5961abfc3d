//! Expressions and types.
//!
//! Parentheses that the user wrote are kept; where a tree that was made by hand lacks them, they are added, so
//! that what is printed always reads back as the same tree.

use super::{
    Formatter,
    doc::{Doc, concat, group, hard, line, nest, row, softline, text, when_broken},
};
use crate::{ast::*, lexer::escape};
use tile_base::Span;

/// How strongly an operator binds; the order of the table in `parser::expr`.
pub fn strength(op: BinaryOp) -> u8 {
    use BinaryOp::*;
    match op {
        OrOr => 0,
        AndAnd => 1,
        Eq | Ne | Lt | Le | Gt | Ge => 2,
        Or => 3,
        Xor => 4,
        And => 5,
        Shl | Shr => 6,
        Add | Sub => 7,
        Mul | Div | Rem | Dot => 8,
    }
}

pub fn sign(op: BinaryOp) -> &'static str {
    use BinaryOp::*;
    match op {
        OrOr => "||",
        AndAnd => "&&",
        Eq => "==",
        Ne => "!=",
        Lt => "<",
        Le => "<=",
        Gt => ">",
        Ge => ">=",
        Or => "|",
        Xor => "^",
        And => "&",
        Shl => "<<",
        Shr => ">>",
        Add => "+",
        Sub => "-",
        Mul => "*",
        Div => "/",
        Rem => "%",
        Dot => "@",
    }
}

const UNARY: u8 = 9;
const POSTFIX: u8 = 10;
const PRIMARY: u8 = 11;
/// Binds at least like `+`: what may stand between `<` and `>`.
const GENERIC: u8 = 7;

/// How strongly the outermost operator of an expression binds; `None` for a range, which binds least.
fn outer(e: &Expr) -> Option<u8> {
    match &e.kind {
        ExprKind::Range { .. } => None,
        ExprKind::Binary { op, .. } => Some(strength(*op)),
        ExprKind::Unary { .. } | ExprKind::Subscript { otherwise: Some(_), .. } => Some(UNARY),
        ExprKind::Subscript { .. } | ExprKind::Call { .. } | ExprKind::Method { .. } => Some(POSTFIX),
        ExprKind::To { .. } | ExprKind::Field { .. } => Some(POSTFIX),
        _ => Some(PRIMARY),
    }
}

/// Whether the text of an expression starts with a block, which at the start of a statement would end there.
pub fn starts_with_block(e: &Expr) -> bool {
    match &e.kind {
        ExprKind::If(_) | ExprKind::Block(_) => true,
        ExprKind::Binary { lhs: inner, .. }
        | ExprKind::Range { lo: inner, .. }
        | ExprKind::Subscript { base: inner, .. }
        | ExprKind::Method { receiver: inner, .. }
        | ExprKind::To { value: inner, .. }
        | ExprKind::Field { base: inner, .. } => starts_with_block(inner),
        _ => false,
    }
}

pub fn idents(names: &[Ident]) -> String {
    names.iter().map(|n| n.name.as_str()).collect::<Vec<_>>().join(", ")
}

impl Formatter<'_> {
    pub fn expr(&self, e: &Expr) -> Doc {
        match &e.kind {
            ExprKind::Int(v) => text(self.trivia.int(*v, e.span.start)),
            ExprKind::Float(t) => text(t.clone()),
            ExprKind::Bool(b) => text(b.to_string()),
            ExprKind::Inf => text("inf"),
            ExprKind::Nan => text("nan"),
            ExprKind::Str(s) => text(escape(s)),
            ExprKind::Name(n) => text(n.clone()),
            ExprKind::Path(p) => text(p.iter().map(|n| n.name.as_str()).collect::<Vec<_>>().join("::")),
            ExprKind::Unary { op, operand } => {
                let sign = if *op == UnaryOp::Neg { "-" } else { "!" };
                row![sign, self.at_least(operand, UNARY)]
            }
            ExprKind::Binary { op, .. } => self.binary(e, strength(*op)),
            ExprKind::Subscript { base, subscripts, otherwise } => {
                let base = self.at_least(base, POSTFIX);
                let end = otherwise.as_ref().map_or(e.span.end, |o| o.span.start);
                let inside = self.fill(("[", "]"), subscripts, end, subscript_span, |s| self.subscript(s));
                match otherwise {
                    Some(other) => row![base, inside, " else ", self.at_least(other, UNARY)],
                    None => row![base, inside],
                }
            }
            ExprKind::Call { function, args } => {
                row![self.at_least(function, POSTFIX), self.args(args, e.span.end)]
            }
            ExprKind::Method { receiver, name, args } => {
                row![self.at_least(receiver, POSTFIX), ".", name.name.as_str(), self.args(args, e.span.end)]
            }
            ExprKind::To { value, ty } => row![self.at_least(value, POSTFIX), ".to(", self.ty(ty), ")"],
            ExprKind::Field { base, name } => row![self.at_least(base, POSTFIX), ".", name.name.as_str()],
            ExprKind::Range { lo, hi } => row![self.at_least(lo, 0), "..", self.at_least(hi, 0)],
            ExprKind::Tuple(items) => self.tuple(items, e.span.end),
            ExprKind::If(c) => self.conditional(c),
            ExprKind::Block(b) => self.block(b),
            ExprKind::Reducer { name, binders, body } => {
                let binders = binders.iter().map(|(n, range)| match range {
                    Some(r) => row![n.name.as_str(), " in ", self.expr(r)],
                    None => text(n.name.clone()),
                });
                let head = row![name.name.as_str(), "(", join(binders.collect(), ", "), ":"];
                group(row![head, nest(row![line(), self.expr(body)]), softline(), ")"])
            }
            ExprKind::List(items) => self.expr_list("[", items, e.span.end, "]"),
            ExprKind::Paren(inner) => {
                group(row!["(", nest(row![softline(), self.expr(inner)]), softline(), ")"])
            }
            ExprKind::Broken => text("<broken>"),
        }
    }

    /// In parentheses if its outermost operator binds less than `least`.
    fn at_least(&self, e: &Expr, least: u8) -> Doc {
        if outer(e).is_some_and(|s| s >= least) { self.expr(e) } else { row!["(", self.expr(e), ")"] }
    }

    /// A value between `<` and `>`.
    pub fn generic_value(&self, e: &Expr) -> Doc {
        self.at_least(e, GENERIC)
    }

    /// As a statement of its own, where a leading block would end the statement.
    pub fn statement_value(&self, e: &Expr) -> Doc {
        if starts_with_block(e) { row!["(", self.expr(e), ")"] } else { self.expr(e) }
    }

    /// An expression whose outermost chain of operators breaks with the group that the caller puts around it.
    pub fn loose(&self, e: &Expr) -> Doc {
        match &e.kind {
            ExprKind::Binary { op, .. } => self.chain(e, strength(*op)),
            _ => self.expr(e),
        }
    }

    fn binary(&self, e: &Expr, level: u8) -> Doc {
        group(self.chain(e, level))
    }

    /// A chain of operators of one strength: breaks before all of them or none.
    fn chain(&self, e: &Expr, level: u8) -> Doc {
        let mut links = vec![];
        let mut first = e;
        while let ExprKind::Binary { op, lhs, rhs } = &first.kind
            && strength(*op) == level
            && (level != 2 || links.is_empty())
        {
            links.push((*op, &**rhs));
            first = lhs;
        }
        let lhs_least = if level == 2 { 3 } else { level };
        let first = self.at_least(first, lhs_least);
        let link = |(op, rhs): (BinaryOp, &Expr)| row![line(), sign(op), " ", self.at_least(rhs, level + 1)];
        row![first, nest(concat(links.into_iter().rev().map(link).collect()))]
    }

    fn subscript(&self, s: &Subscript) -> Doc {
        match s {
            Subscript::All(_) => text(":"),
            Subscript::New(_) => text("_"),
            Subscript::Expr(e) => self.expr(e),
        }
    }

    pub fn args(&self, args: &[Arg], end: u32) -> Doc {
        let span = |a: &Arg| a.name.as_ref().map_or(a.value.span, |n| n.span);
        self.fill(("(", ")"), args, end, span, |a| match &a.name {
            Some(n) => row![n.name.as_str(), " = ", self.expr(&a.value)],
            None => self.expr(&a.value),
        })
    }

    fn tuple(&self, items: &[Expr], end: u32) -> Doc {
        if let [only] = items {
            return row!["(", self.expr(only), ",)"];
        }
        self.expr_list("(", items, end, ")")
    }

    pub fn expr_list(&self, open: &str, items: &[Expr], end: u32, close: &str) -> Doc {
        self.fill((open, close), items, end, |x| x.span, |x| self.expr(x))
    }

    /// `open a, b, c close`: on one line, else filling lines of its own. Comments up to `end` go between.
    pub fn fill<T>(
        &self,
        brackets: (&str, &str),
        items: &[T],
        end: u32,
        span: impl std::ops::Fn(&T) -> Span,
        print: impl std::ops::Fn(&T) -> Doc,
    ) -> Doc {
        let Some(last) = items.len().checked_sub(1) else { return row![brackets.0, brackets.1] };
        if self.trivia.any_before(end) {
            return self.one_per_line(brackets, items, end, span, print);
        }
        let each = |(at, item): (usize, &T)| {
            let comma = if at == last { "" } else { "," };
            if at == 0 { row![print(item), comma] } else { group(row![line(), print(item), comma]) }
        };
        let items = concat(items.iter().enumerate().map(each).collect());
        group(row![brackets.0, nest(row![softline(), items]), softline(), brackets.1])
    }

    /// On one line, else a line for each item, with a comma after the last.
    pub fn stack<T>(
        &self,
        brackets: (&str, &str),
        items: &[T],
        end: u32,
        span: impl std::ops::Fn(&T) -> Span,
        print: impl std::ops::Fn(&T) -> Doc,
    ) -> Doc {
        let Some(last) = items.len().checked_sub(1) else { return row![brackets.0, brackets.1] };
        if self.trivia.any_before(end) {
            return self.one_per_line(brackets, items, end, span, print);
        }
        let each = |(at, item): (usize, &T)| {
            row![print(item), if at == last { when_broken(",") } else { row![",", line()] }]
        };
        let items = concat(items.iter().enumerate().map(each).collect());
        group(row![brackets.0, nest(row![softline(), items]), softline(), brackets.1])
    }

    fn one_per_line<T>(
        &self,
        brackets: (&str, &str),
        items: &[T],
        end: u32,
        span: impl std::ops::Fn(&T) -> Span,
        print: impl std::ops::Fn(&T) -> Doc,
    ) -> Doc {
        let mut parts = vec![];
        for (at, item) in items.iter().enumerate() {
            let start = span(item).start;
            let next = items.get(at + 1).map_or(end, |n| span(n).start);
            parts.extend([hard(), self.trivia.leading(start, start, false).lines(), print(item), text(",")]);
            parts.extend(self.trivia.trailing(next));
        }
        for c in self.trivia.before(end) {
            parts.extend([hard(), text(super::comments::written(c))]);
        }
        row![brackets.0, nest(concat(parts)), hard(), brackets.1]
    }

    // ------------------------------------------------------------ types

    pub fn ty(&self, t: &Type) -> Doc {
        match &t.kind {
            TypeKind::Scalar(n) => text(n.name.clone()),
            TypeKind::Tile { element, axes } => row![self.ty(element), self.expr_list("[", axes, 0, "]")],
            TypeKind::Index { kind, bound } => {
                let name = match kind {
                    IndexType::Id => "id",
                    IndexType::IdOrNone => "id?",
                    IndexType::Count => "count",
                    IndexType::Offsets => "offsets",
                };
                row![name, "<", self.generic_value(bound), ">"]
            }
            TypeKind::Array { element, len } => row!["[", self.ty(element), "; ", self.expr(len), "]"],
            TypeKind::Tuple(items) => row!["(", join(items.iter().map(|t| self.ty(t)).collect(), ", "), ")"],
            TypeKind::Function(f) => self.fn_type(f),
        }
    }

    pub fn fn_type(&self, f: &FnType) -> Doc {
        let mut groups = vec![];
        for at in shared(&f.params, |(_, t)| t) {
            let names: Vec<&str> = f.params[at.clone()].iter().map(|(n, _)| n.name.as_str()).collect();
            groups.push(row![names.join(", "), ": ", self.ty(&f.params[at.start].1)]);
        }
        row!["fn(", join(groups, ", "), ") -> ", self.ty(&f.result)]
    }
}

/// Runs of neighbours that share one type as written: `b, h: index`.
pub fn shared<T>(all: &[T], ty: impl std::ops::Fn(&T) -> &Type) -> Vec<std::ops::Range<usize>> {
    let mut runs: Vec<std::ops::Range<usize>> = vec![];
    for at in 0..all.len() {
        match runs.last_mut() {
            Some(run) if ty(&all[run.start]) == ty(&all[at]) => run.end = at + 1,
            _ => runs.push(at..at + 1),
        }
    }
    runs
}

fn subscript_span(s: &Subscript) -> Span {
    match s {
        Subscript::All(span) | Subscript::New(span) => *span,
        Subscript::Expr(e) => e.span,
    }
}

pub fn join(items: Vec<Doc>, between: &'static str) -> Doc {
    let mut parts = vec![];
    for item in items {
        if !parts.is_empty() {
            parts.push(text(between));
        }
        parts.push(item);
    }
    concat(parts)
}
