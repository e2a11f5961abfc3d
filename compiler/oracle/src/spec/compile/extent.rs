//! Extents of indices without a range: an index runs over the axis that it stands alone on.
//!
//! In `sum(d: q[b, i, h, d] * k[b, j, h / G, d])` the index `d` stands alone on the last axes of `q` and `k`, whose
//! extents must agree; `j` stands alone on axis 1 of `k`. A subscript such as `t - 1` says nothing. Where an array
//! with a range of its own (`let x[t in lo..hi]`) is among them, its range counts.

use super::{
    super::{
        array::Role,
        code::{ArrayId, NodeId, Op, Ty},
    },
    Builder, Fallible, refuse,
};
use std::collections::BTreeSet;
use tile_base::{Diagnostic, Span};
use tile_syntax::ast::{
    Block, Else, Expr, ExprKind, Ident, If, Pattern, SpecIndex, SpecStmt, SpecStmtKind, StmtKind, Subscript,
};

/// The parts of an expression, with the names that hide an outer index in each.
fn parts<'e>(e: &'e Expr, visit: &mut dyn FnMut(&'e Expr, &[&'e str])) {
    match &e.kind {
        ExprKind::Unary { operand, .. } => visit(operand, &[]),
        ExprKind::Binary { lhs, rhs, .. } => {
            visit(lhs, &[]);
            visit(rhs, &[]);
        }
        ExprKind::Subscript { base, subscripts, otherwise } => {
            if !matches!(base.kind, ExprKind::Name(_)) {
                visit(base, &[]);
            }
            for s in subscripts {
                if let Subscript::Expr(s) = s {
                    visit(s, &[]);
                }
            }
            otherwise.iter().for_each(|o| visit(o, &[]));
        }
        ExprKind::Call { args, .. } => args.iter().for_each(|a| visit(&a.value, &[])),
        ExprKind::Method { receiver, args, .. } => {
            visit(receiver, &[]);
            args.iter().for_each(|a| visit(&a.value, &[]));
        }
        ExprKind::To { value, .. } => visit(value, &[]),
        ExprKind::Field { base, .. } => visit(base, &[]),
        ExprKind::Range { lo, hi } => {
            visit(lo, &[]);
            visit(hi, &[]);
        }
        ExprKind::Tuple(list) | ExprKind::List(list) => list.iter().for_each(|e| visit(e, &[])),
        ExprKind::If(i) => if_parts(i, visit),
        ExprKind::Block(b) => block_parts(b, visit),
        ExprKind::Reducer { binders, body, .. } => {
            let mut hidden: Vec<&str> = vec![];
            for (name, range) in binders {
                range.iter().for_each(|r| visit(r, &hidden));
                hidden.push(&name.name);
            }
            visit(body, &hidden);
        }
        ExprKind::Paren(inner) => visit(inner, &[]),
        _ => {}
    }
}

fn if_parts<'e>(i: &'e If, visit: &mut dyn FnMut(&'e Expr, &[&'e str])) {
    visit(&i.condition, &[]);
    block_parts(&i.then, visit);
    match &i.otherwise {
        Some(Else::Block(b)) => block_parts(b, visit),
        Some(Else::If(i, _)) => if_parts(i, visit),
        None => {}
    }
}

fn block_parts<'e>(b: &'e Block, visit: &mut dyn FnMut(&'e Expr, &[&'e str])) {
    let mut hidden: Vec<&str> = vec![];
    for s in &b.stmts {
        match &s.kind {
            StmtKind::Let { pattern, value, .. } => {
                visit(value, &hidden);
                if let Pattern::Name(n) = pattern {
                    hidden.push(&n.name);
                }
            }
            StmtKind::Var { value, .. } | StmtKind::Assign { value, .. } | StmtKind::Expr(value) => {
                visit(value, &hidden);
            }
            _ => {}
        }
    }
    b.value.iter().for_each(|v| visit(v, &hidden));
}

/// Collects every name that the expressions of a statement read.
pub(super) fn names_in(s: &SpecStmt, out: &mut BTreeSet<String>) {
    fn expr(e: &Expr, out: &mut BTreeSet<String>) {
        match &e.kind {
            ExprKind::Name(n) => drop(out.insert(n.clone())),
            ExprKind::Subscript { base, .. } => expr(base, out),
            _ => {}
        }
        parts(e, &mut |p, _| expr(p, out));
    }
    match &s.kind {
        SpecStmtKind::Equation { indices, value, .. } => {
            expr(value, out);
            for i in indices {
                match i {
                    SpecIndex::Free { range: Some(r), .. } => expr(r, out),
                    SpecIndex::At(e) => expr(e, out),
                    _ => {}
                }
            }
        }
        SpecStmtKind::For { range, body, .. } => {
            expr(range, out);
            body.iter().for_each(|s| names_in(s, out));
        }
        SpecStmtKind::If { condition, then, otherwise } => {
            // The name of an optional tensor in a condition reads nothing of it.
            if !matches!(condition.kind, ExprKind::Name(_)) {
                expr(condition, out);
            }
            then.iter().chain(otherwise).for_each(|s| names_in(s, out));
        }
        SpecStmtKind::Broken => {}
    }
}

/// An axis that an index stands alone on.
struct Use {
    array: ArrayId,
    axis: usize,
    span: Span,
}

impl Builder<'_> {
    /// Bounds of an axis of an array, as nodes.
    pub(super) fn axis_range(&mut self, array: ArrayId, axis: usize, span: Span) -> (NodeId, NodeId) {
        match self.arrays.infos[array].axes.get(axis).copied().flatten() {
            Some((lo, hi)) => (self.number(lo as f64, Ty::Int, span), self.number(hi as f64, Ty::Int, span)),
            None => (
                self.code.push(Op::AxisLo(array, axis), Ty::Int, span),
                self.code.push(Op::AxisHi(array, axis), Ty::Int, span),
            ),
        }
    }

    /// The range of an index from the arrays that it subscripts in `within`.
    pub(super) fn inferred_range(&mut self, name: &Ident, within: &[&Expr]) -> Fallible<(NodeId, NodeId)> {
        let mut uses = vec![];
        within.iter().for_each(|e| self.find_uses(&name.name, e, &mut uses));
        let known = |u: &Use| self.arrays.infos[u.array].axes.get(u.axis).copied().flatten();
        let Some(first) = uses.first() else {
            return refuse(
                Diagnostic::error(
                    "T0476",
                    name.span,
                    format!("the extent of `{}` cannot be found", name.name),
                )
                .label("does not stand alone on an axis of an array")
                .help(format!("give it a range: `{} in 0..N`", name.name)),
            );
        };
        let open: Vec<&Use> = uses.iter().filter(|u| known(u).is_none()).collect();
        if let Some(chosen) = open.first() {
            let (lo, hi) = self.axis_range(chosen.array, chosen.axis, chosen.span);
            return Ok(open[1..].iter().fold((lo, hi), |(lo, hi), other| {
                let (other_lo, other_hi) = self.axis_range(other.array, other.axis, other.span);
                let same =
                    |b: &mut Self, value, other| b.code.push(Op::Same { value, other }, Ty::Int, name.span);
                (same(self, lo, other_lo), same(self, hi, other_hi))
            }));
        }
        if let Some(other) = uses.iter().find(|u| known(u) != known(first)) {
            let text = |u: &Use| {
                let (lo, hi) = known(u).unwrap_or((0, 0));
                format!("`{}` has {lo}..{hi} on axis {}", self.arrays.infos[u.array].name, u.axis)
            };
            return refuse(
                Diagnostic::error("T0476", name.span, format!("`{}` has two different extents", name.name))
                    .label("which range is meant?")
                    .also(first.span, text(first))
                    .also(other.span, text(other))
                    .help(format!("give it a range: `{} in 0..N`", name.name)),
            );
        }
        let (array, axis, span) = (first.array, first.axis, first.span);
        Ok(self.axis_range(array, axis, span))
    }

    fn find_uses(&self, name: &str, e: &Expr, out: &mut Vec<Use>) {
        if let ExprKind::Subscript { base, subscripts, .. } = &e.kind
            && let ExprKind::Name(array) = &base.kind
            && let Some(array) = self.array_named(array)
            && !self.left_out(array)
        {
            for (axis, s) in subscripts.iter().enumerate() {
                if let Subscript::Expr(s) = s
                    && matches!(&s.kind, ExprKind::Name(n) if n == name)
                    && axis < self.arrays.infos[array].axes.len()
                {
                    out.push(Use { array, axis, span: s.span });
                }
            }
        }
        parts(e, &mut |part, hidden| {
            if !hidden.contains(&name) {
                self.find_uses(name, part, out);
            }
        });
    }

    /// Whether an array is an input that this call does not have. It stands in arms that are not taken, and its extents
    /// are nobody's.
    fn left_out(&self, array: ArrayId) -> bool {
        let info = &self.arrays.infos[array];
        info.absent && info.role == Role::Input
    }

    /// An array by its name, or a tensor that the function being inlined captures.
    pub(super) fn array_named(&self, name: &str) -> Option<ArrayId> {
        match &self.prefix {
            Some(prefix) => self.arrays.find(&format!("{prefix}.{name}")),
            None => self.arrays.find(name),
        }
    }
}
