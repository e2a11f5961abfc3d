//! Items, and the order of things in a file.
//!
//! An item of several lines has an empty line around it; items of one line (imports, small schedules) stand
//! together if the user put them together.

use super::{
    Formatter,
    comments::written,
    doc::{Doc, concat, group, hard, line, nest, nil, render, row, text},
    expr::{idents, join, shared},
};
use crate::{ast::*, lexer::escape};

/// A piece of the file at the top: an item or comments between items.
struct Piece {
    text: String,
    start: u32,
    end: u32,
    is_item: bool,
}

impl Formatter<'_> {
    pub fn file(&self, file: &File) -> String {
        let mut pieces: Vec<Piece> = vec![];
        for item in &file.items {
            self.comment_pieces(&mut pieces, item.span.start);
            let printed = self.item(item);
            let left = self.trivia.before(item.span.end);
            let above: String = left.iter().map(|c| written(c) + "\n").collect();
            let text = above + &render(&printed);
            pieces.push(Piece { text, start: item.span.start, end: item.span.end, is_item: true });
        }
        self.comment_pieces(&mut pieces, u32::MAX);
        self.assemble(&pieces)
    }

    /// Comments up to `end`: one beside the last item goes to its line.
    fn comment_pieces(&self, pieces: &mut Vec<Piece>, end: u32) {
        for c in self.trivia.before(end) {
            match pieces.last_mut() {
                Some(last) if !c.own_line => {
                    last.text += &format!("  {}", written(c));
                    last.end = c.span.end;
                }
                _ => {
                    pieces.push(Piece {
                        text: written(c),
                        start: c.span.start,
                        end: c.span.end,
                        is_item: false,
                    });
                }
            }
        }
    }

    fn assemble(&self, pieces: &[Piece]) -> String {
        let mut out = String::new();
        for (at, piece) in pieces.iter().enumerate() {
            if let Some(above) = at.checked_sub(1).map(|a| &pieces[a]) {
                let tall = |p: &Piece| p.is_item && p.text.contains('\n');
                let apart = above.is_item && (tall(above) || tall(piece));
                if apart || self.trivia.blank_in(above.end, piece.start) {
                    out.push('\n');
                }
            }
            out.push_str(&piece.text);
            out.push('\n');
        }
        out
    }

    fn item(&self, item: &Item) -> Doc {
        let mut parts = vec![];
        for doc in &item.docs {
            parts.extend([text(format!("///{}{doc}", if doc.is_empty() { "" } else { " " })), hard()]);
        }
        parts.push(match &item.kind {
            ItemKind::Use(u) => self.use_item(u),
            ItemKind::Kernel(k) => {
                row![
                    "kernel ",
                    self.head(&k.name, &k.generics, &k.params, &k.facts, &k.body),
                    self.body(&k.body)
                ]
            }
            ItemKind::Op(o) => {
                row!["op ", self.head(&o.name, &o.generics, &o.params, &o.facts, &o.body), self.body(&o.body)]
            }
            ItemKind::Fn(f) => self.function(f),
            ItemKind::Spec(s) => self.spec(s, item.span.end),
            ItemKind::Test(t) => self.test(t, item.span.end),
            ItemKind::Schedule(s) => self.schedule(s, item.span.end),
            ItemKind::Grad(g) => self.grad(g),
            ItemKind::Broken => text("<broken>"),
        });
        concat(parts)
    }

    fn use_item(&self, u: &Use) -> Doc {
        let path: Vec<&str> = u.path.iter().map(|n| n.name.as_str()).collect();
        let names = match &u.names {
            Some(names) => format!("::{{{}}}", idents(names)),
            None => String::new(),
        };
        text(format!("use {}{names};", path.join("::")))
    }

    /// `f<…>(…) where …` and the blank before the body.
    fn head(
        &self,
        name: &Ident,
        generics: &[Generic],
        params: &[Param],
        facts: &[Expr],
        body: &Block,
    ) -> Doc {
        let end = facts.first().map_or(body.span.start, |f| f.span.start);
        let signature = row![name.name.as_str(), self.generics(generics), self.params("(", params, end, ")")];
        if facts.is_empty() {
            return row![signature, " "];
        }
        let each = |(at, f): (usize, &Expr)| {
            let comma = if at + 1 == facts.len() { "" } else { "," };
            if at == 0 { row![self.expr(f), comma] } else { group(row![line(), self.expr(f), comma]) }
        };
        let facts = nest(nest(concat(facts.iter().enumerate().map(each).collect())));
        row![signature, " where ", facts, " "]
    }

    fn function(&self, f: &Fn) -> Doc {
        let start = f.using.first().map_or(f.body.span.start, |p| p.span.start);
        let params_end = f.result.as_ref().map_or(start, |t| t.span.start);
        let result = f.result.as_ref();
        let head = row![
            if f.asm.is_some() { "asm fn " } else { "fn " },
            f.name.name.as_str(),
            self.generics(&f.generics),
            self.params("(", &f.params, params_end, ")"),
            result.map_or(nil(), |t| row![" -> ", self.ty(t)]),
            if f.using.is_empty() { nil() } else { row![" using ", self.params("", &f.using, 0, "")] },
            f.asm.as_ref().map_or(nil(), |t| row![" ", escape(t)]),
        ];
        row![head, " ", self.block(&f.body)]
    }

    fn grad(&self, g: &Grad) -> Doc {
        let seeds_end = g.results.first().map_or(g.body.span.start, |r| r.span.start);
        let list =
            |items: &[Gradient], end| self.stack(("(", ")"), items, end, |g| g.span, |g| text(gradient(g)));
        row![
            "grad ",
            g.name.name.as_str(),
            self.generics(&g.generics),
            list(&g.seeds, seeds_end),
            " -> ",
            list(&g.results, g.body.span.start),
            " ",
            self.body(&g.body)
        ]
    }

    fn generics(&self, generics: &[Generic]) -> Doc {
        if generics.is_empty() {
            return nil();
        }
        let name = |g: &Generic| match g {
            Generic::Dtype { name, .. } | Generic::Const { name, .. } | Generic::Function { name, .. } => {
                name.span
            }
        };
        self.stack(("<", ">"), generics, 0, name, |g| self.generic(g))
    }

    fn generic(&self, g: &Generic) -> Doc {
        let word = |d: &Option<Ident>| d.as_ref().map_or(String::new(), |d| format!(" = {}", d.name));
        match g {
            Generic::Dtype { name, choices, default } => {
                let choices: Vec<&str> = choices.iter().map(|c| c.name.as_str()).collect();
                let colon = if choices.is_empty() { "" } else { ": " };
                text(format!("{}{colon}{}{}", name.name, choices.join(" | "), word(default)))
            }
            Generic::Const { name, ty, choices, default } => {
                let ty = ty.as_ref().map_or(String::new(), |t| format!(": {}", t.name));
                let default = default.as_ref().map_or(nil(), |d| row![" = ", self.generic_value(d)]);
                row!["const ", name.name.as_str(), ty, self.choices(choices), default]
            }
            Generic::Function { name, ty, default } => {
                row![name.name.as_str(), ": ", self.fn_type(ty), word(default)]
            }
        }
    }

    /// Neighbours that share a type are printed together.
    fn params(&self, open: &str, params: &[Param], end: u32, close: &str) -> Doc {
        let mut runs = shared(params, |p| &p.ty);
        runs = runs.into_iter().flat_map(|r| split_modes(params, r)).collect();
        let print = |r: &std::ops::Range<usize>| {
            let names: Vec<&str> = params[r.clone()].iter().map(|p| p.name.name.as_str()).collect();
            let p = &params[r.start];
            row![names.join(", "), ": ", p.mode.map_or("", mode), self.ty(&p.ty)]
        };
        if open.is_empty() {
            return join(runs.iter().map(print).collect(), ", ");
        }
        self.stack((open, close), &runs, end, |r| params[r.start].span, print)
    }
}

/// A run of one type, cut where the mode changes.
fn split_modes(params: &[Param], run: std::ops::Range<usize>) -> Vec<std::ops::Range<usize>> {
    let mut out: Vec<std::ops::Range<usize>> = vec![];
    for at in run {
        match out.last_mut() {
            Some(r) if params[r.start].mode == params[at].mode => r.end = at + 1,
            _ => out.push(at..at + 1),
        }
    }
    out
}

/// `dq: sum f32 for q`
fn gradient(g: &Gradient) -> String {
    let ty = g.mode.map_or(String::new(), |m| match &g.element {
        Some(element) => format!(": {}{}", mode(m), element.name),
        None => format!(": {}", mode(m).trim_end()),
    });
    format!("{}{ty} for {}", g.name.name, g.of.name)
}

fn mode(m: ParamMode) -> &'static str {
    match (m.access, m.optional) {
        (Access::In, false) => "in ",
        (Access::In, true) => "in? ",
        (Access::Out, false) => "out ",
        (Access::Out, true) => "out? ",
        (Access::InOut, false) => "inout ",
        (Access::InOut, true) => "inout? ",
        (Access::Sum, false) => "sum ",
        (Access::Sum, true) => "sum? ",
    }
}
