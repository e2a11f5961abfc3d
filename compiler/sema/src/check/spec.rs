//! Names and arity in specs. What an equation means is found out by the evaluator of specs.

use super::names::Names;
use crate::module::{Module, nearest};
use std::collections::HashMap;
use tile_base::{Diagnostic, Span};
use tile_syntax::ast::{
    Access, Arg, Block, Else, Expr, ExprKind, Ident, If, ItemKind, Pattern, Spec, SpecIndex, SpecStmt,
    SpecStmtKind, StmtKind, Subscript,
};

/// Functions of specs, beside those of the file.
const FUNCTIONS: &[&str] = &[
    "exp",
    "exp2",
    "log",
    "log2",
    "sqrt",
    "rsqrt",
    "sin",
    "cos",
    "tanh",
    "erf",
    "abs",
    "floor",
    "ceil",
    "round",
    "isnan",
    "popcount",
    "max",
    "min",
    "pow",
    "select",
    "cdiv",
    "sum",
    "prod",
    "any",
    "all",
    "argmax",
    "argmin",
    "softmax",
    "log_softmax",
    "logsumexp",
    "cumsum",
    "cumprod",
    "cummax",
    "sort",
    "argsort",
    "topk",
    "argtopk",
    "histogram",
    "mean",
];

/// What a name is in a spec.
#[derive(Clone, Copy)]
enum Known {
    /// A free index, loop variable, binder, `let` without indices.
    Scalar,
    /// An array of so many indices.
    Array(usize),
}

struct Checker<'a, 'm> {
    m: &'m Module,
    names: &'a Names<'m>,
    scopes: Vec<HashMap<String, Known>>,
    written: Vec<String>,
    out: &'a mut Vec<Diagnostic>,
}

pub fn check(m: &Module, spec: &Spec, names: &Names, out: &mut Vec<Diagnostic>) {
    let mut c = Checker { m, names, scopes: vec![HashMap::new()], written: vec![], out };
    c.stmts(&spec.stmts);
    let written = std::mem::take(&mut c.written);
    for (name, t) in &names.tensors {
        let has_to = !t.optional && matches!(t.access, Access::Out | Access::Sum) && !name.contains('.');
        if has_to && !written.contains(name) {
            let d = Diagnostic::error(
                "T0273",
                spec.name.span,
                format!("the spec of `{}` does not define `{name}`", spec.name.name),
            );
            out.push(d.help(format!("write an equation `{name}[..] = ..;` for every output")));
        }
    }
}

impl Checker<'_, '_> {
    fn known(&self, name: &str) -> Option<Known> {
        self.scopes.iter().rev().find_map(|s| s.get(name)).copied()
    }

    fn bind(&mut self, name: &str, known: Known) {
        if let Some(s) = self.scopes.last_mut() {
            s.insert(name.to_string(), known);
        }
    }

    fn scoped(&mut self, f: impl FnOnce(&mut Self)) {
        self.scopes.push(HashMap::new());
        f(self);
        self.scopes.pop();
    }

    fn stmts(&mut self, stmts: &[SpecStmt]) {
        for s in stmts {
            match &s.kind {
                SpecStmtKind::Equation { local, name, indices, value, .. } => {
                    self.equation(*local, name, indices, value, s.span)
                }
                SpecStmtKind::For { name, range, body, .. } => {
                    self.expr(range);
                    // Arrays that the body defines outlive it.
                    self.bind(&name.name, Known::Scalar);
                    self.stmts(body);
                }
                SpecStmtKind::If { condition, then, otherwise } => {
                    self.expr(condition);
                    self.stmts(then);
                    self.stmts(otherwise);
                }
                SpecStmtKind::Broken => {}
            }
        }
    }

    fn equation(&mut self, local: bool, name: &Ident, indices: &[SpecIndex], value: &Expr, span: Span) {
        if !local {
            self.target(name, indices.len(), span);
        }
        let mut fresh = vec![];
        for i in indices {
            match i {
                SpecIndex::Free { name, range } => {
                    range.iter().for_each(|r| self.expr(r));
                    fresh.push(name.name.clone());
                }
                SpecIndex::At(e) => self.expr(e),
                SpecIndex::All(_) => {}
            }
        }
        self.scoped(|c| {
            fresh.iter().for_each(|n| c.bind(n, Known::Scalar));
            c.expr(value);
        });
        if local {
            let known = if indices.is_empty() { Known::Scalar } else { Known::Array(indices.len()) };
            self.bind(&name.name, known);
        }
    }

    fn target(&mut self, name: &Ident, count: usize, span: Span) {
        let n = &name.name;
        if let Some(known) = self.known(n) {
            if let Known::Array(rank) = known
                && rank != count
            {
                self.arity(n, rank, count, name.span);
            }
            return;
        }
        match self.names.tensors.get(n) {
            Some(t) if t.access != Access::In => {
                self.written.push(n.clone());
                if t.rank != count {
                    self.arity(n, t.rank, count, name.span);
                }
            }
            Some(_) => {
                let d = Diagnostic::error(
                    "T0274",
                    name.span,
                    format!("`{n}` is an input; a spec does not assign it"),
                );
                self.out.push(d.help(format!("name the value with `let {n}2[..] = ..;`")));
            }
            None => {
                let outputs: Vec<&str> = self
                    .names
                    .tensors
                    .iter()
                    .filter(|(_, t)| t.access != Access::In)
                    .map(|(n, _)| n.as_str())
                    .collect();
                let d = Diagnostic::error("T0274", name.span, format!("`{n}` is not an output"));
                let help = match nearest(n, outputs.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!(
                        "outputs are {}; name other values with `let {n}[..] = ..;`",
                        outputs.join(", ")
                    ),
                };
                self.out.push(d.also(span, "this equation").help(help));
            }
        }
    }

    fn arity(&mut self, name: &str, want: usize, got: usize, span: Span) {
        let d = Diagnostic::error("T0271", span, format!("`{name}` has {want} axes and {got} subscripts"));
        self.out.push(d);
    }

    fn name(&mut self, name: &str, span: Span) {
        let known = self.known(name).is_some()
            || self.names.tensors.contains_key(name)
            || self.names.dims.iter().any(|d| d == name)
            || self.names.scalars.iter().any(|s| s == name)
            || self.names.generic(name).is_some()
            || matches!(name, "LOG2E" | "LN2" | "PI")
            || FUNCTIONS.contains(&name)
            || self.m.resolve(self.m.main(), name).is_some();
        if known {
            return;
        }
        let mut all = self.names.bindable();
        all.extend(self.scopes.iter().flat_map(|s| s.keys().cloned()));
        let d = Diagnostic::error("T0270", span, format!("nothing is called `{name}` in this spec"));
        self.out.push(match nearest(name, all.iter().map(String::as_str)) {
            Some(near) => d.help(format!("did you mean `{near}`?")),
            None => d.help(
                "a spec knows the kernel's parameters, its dimensions, free indices and its own `let`s",
            ),
        });
    }

    fn expr(&mut self, e: &Expr) {
        match &e.kind {
            ExprKind::Name(n) => self.name(n, e.span),
            ExprKind::Unary { operand: x, .. } | ExprKind::Paren(x) | ExprKind::To { value: x, .. } => {
                self.expr(x)
            }
            ExprKind::Field { base, .. } => self.expr(base),
            ExprKind::Binary { lhs, rhs, .. } | ExprKind::Range { lo: lhs, hi: rhs } => {
                self.expr(lhs);
                self.expr(rhs);
            }
            ExprKind::Subscript { base, subscripts, otherwise } => {
                self.subscript(base, subscripts);
                otherwise.iter().for_each(|o| self.expr(o));
            }
            ExprKind::Call { function, args } => self.call(function, args),
            ExprKind::Method { receiver, args, .. } => {
                self.expr(receiver);
                args.iter().for_each(|a| self.expr(&a.value));
            }
            ExprKind::Tuple(items) | ExprKind::List(items) => items.iter().for_each(|i| self.expr(i)),
            ExprKind::If(i) => self.branch(i),
            ExprKind::Block(b) => self.block(b),
            ExprKind::Reducer { binders, body, .. } => {
                for (_, range) in binders {
                    range.iter().for_each(|r| self.expr(r));
                }
                self.scoped(|c| {
                    binders.iter().for_each(|(n, _)| c.bind(&n.name, Known::Scalar));
                    c.expr(body);
                });
            }
            _ => {}
        }
    }

    fn subscript(&mut self, base: &Expr, subscripts: &[Subscript]) {
        for s in subscripts {
            if let Subscript::Expr(e) = s {
                self.expr(e);
            }
        }
        let Some(name) = super::names::plain(base) else { return self.expr(base) };
        let rank = match self.known(name) {
            Some(Known::Array(rank)) => Some(rank),
            Some(Known::Scalar) => None,
            None => match self.names.tensors.get(name) {
                Some(t) => Some(t.rank),
                None => return self.name(name, base.span),
            },
        };
        match rank {
            Some(rank) if rank != subscripts.len() => self.arity(name, rank, subscripts.len(), base.span),
            Some(_) => {}
            None => {
                let d = Diagnostic::error(
                    "T0271",
                    base.span,
                    format!("`{name}` is a number and has no subscripts"),
                );
                self.out.push(d);
            }
        }
    }

    fn call(&mut self, function: &Expr, args: &[Arg]) {
        if let Some(name) = super::names::plain(function) {
            let callable = FUNCTIONS.contains(&name)
                || self.names.generic(name).is_some()
                || self
                    .m
                    .resolve(self.m.main(), name)
                    .is_some_and(|at| matches!(self.m.item(at).kind, ItemKind::Fn(_)));
            if !callable {
                let all = FUNCTIONS.iter().copied().chain(self.m.names(self.m.main()));
                let d = Diagnostic::error("T0270", function.span, format!("a spec has no function `{name}`"));
                self.out.push(match nearest(name, all) {
                    Some(near) => d.help(format!("did you mean `{near}`?")),
                    None => d.help(
                        "a spec calls scalar functions of the file, vector functions and the usual maths",
                    ),
                });
            }
        }
        args.iter().for_each(|a| self.expr(&a.value));
    }

    fn branch(&mut self, i: &If) {
        self.expr(&i.condition);
        self.block(&i.then);
        match &i.otherwise {
            Some(Else::Block(b)) => self.block(b),
            Some(Else::If(i, _)) => self.branch(i),
            None => {}
        }
    }

    fn block(&mut self, b: &Block) {
        self.scoped(|c| {
            for s in &b.stmts {
                if let StmtKind::Let { pattern, value, .. } = &s.kind {
                    c.expr(value);
                    if let Pattern::Name(n) = pattern {
                        c.bind(&n.name, Known::Scalar);
                    }
                }
            }
            b.value.iter().for_each(|v| c.expr(v));
        });
    }
}
