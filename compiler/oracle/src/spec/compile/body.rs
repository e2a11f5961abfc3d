//! Blocks: the bodies of functions, which are inlined, and `{ let …; value }`.
//!
//! A `let` of one number becomes a `Let` around what follows, so that it is computed once; vectors and tuples are
//! bound as they are. Assignments rename: `x = x + 1;` binds a new `x`.

use super::{
    super::code::{NodeId, Op, Ty},
    Bound, Builder, Fallible, Value, refuse,
};
use tile_base::{Diagnostic, Span};
use tile_syntax::ast::{AssignOp, BinaryOp, Block, Expr, ExprKind, Pattern, Stmt, StmtKind};

impl Builder<'_> {
    pub(super) fn block_value(&mut self, block: &Block) -> Fallible<Value> {
        let depth = self.scopes.len();
        block.stmts.iter().try_for_each(|s| self.stmt(s))?;
        let Some(value) = &block.value else {
            return refuse(
                Diagnostic::error("T0477", block.span, "this block has no value")
                    .label("ends without an expression")
                    .help("leave the `;` out after the last expression"),
            );
        };
        let value = self.expr(value)?;
        self.scopes.truncate(depth);
        Ok(value)
    }

    fn stmt(&mut self, s: &Stmt) -> Fallible<()> {
        match &s.kind {
            StmtKind::Let { pattern, value, .. } => {
                let v = self.expr(value)?;
                self.bind(pattern, v, value.span)
            }
            StmtKind::Var { name, value, .. } => {
                let v = self.expr(value)?;
                self.bind_name(&name.name, v);
                Ok(())
            }
            StmtKind::Assign { place: Expr { kind: ExprKind::Name(name), span }, op, value } => {
                let mut v = self.expr(value)?;
                if *op == AssignOp::Add {
                    let old = self.expr(&Expr { kind: ExprKind::Name(name.clone()), span: *span })?;
                    v = self
                        .lift(vec![old, v], s.span, |b, n| b.binary_op(BinaryOp::Add, n[0], n[1], s.span))?;
                }
                let Some(at) = self.scopes.iter().rposition(|(n, _)| n == name) else {
                    return refuse(Diagnostic::error(
                        "T0475",
                        *span,
                        format!("`{name}` is not a `var` of this function"),
                    ));
                };
                self.bind_name(name, v);
                if let Some((_, new)) = self.scopes.pop() {
                    self.scopes[at].1 = new;
                }
                Ok(())
            }
            StmtKind::Unroll { name, range, body } => {
                let (lo, hi) = self.range(range)?;
                let (Some(lo), Some(hi)) = (self.code.constant(lo), self.code.constant(hi)) else {
                    return refuse(unsupported(range.span, "a loop whose bounds are not constant"));
                };
                for i in lo as i64..hi as i64 {
                    let depth = self.scopes.len();
                    let at = self.number(i as f64, Ty::Int, name.span);
                    self.scopes.push((name.name.clone(), Bound::Value(Value::Scalar(at))));
                    body.stmts.iter().try_for_each(|s| self.stmt(s))?;
                    self.scopes.truncate(depth);
                }
                Ok(())
            }
            _ => refuse(unsupported(s.span, "this statement")),
        }
    }

    fn bind(&mut self, pattern: &Pattern, value: Value, span: Span) -> Fallible<()> {
        match (pattern, value) {
            (Pattern::Ignore(_), _) => Ok(()),
            (Pattern::Name(n), v) => {
                self.bind_name(&n.name, v);
                Ok(())
            }
            (Pattern::Tuple(parts, _), Value::Tuple(values)) if parts.len() == values.len() => {
                parts.iter().zip(values).try_for_each(|(p, v)| self.bind(p, v, span))
            }
            (Pattern::Tuple(parts, at), _) => refuse(
                Diagnostic::error("T0482", *at, format!("this takes {} values apart", parts.len()))
                    .also(span, "which this has not"),
            ),
        }
    }

    /// Binds a name; a number that takes work to compute is computed once.
    pub(super) fn bind_name(&mut self, name: &str, value: Value) {
        let bound = match value {
            Value::Scalar(node) if !self.is_simple(node) => {
                let id = self.code.lets;
                self.code.lets += 1;
                self.lets.push((id, node));
                Bound::Let(id, self.code.types[node])
            }
            Value::Tuple(parts) => {
                let parts = parts.into_iter().map(|p| self.settle(p)).collect();
                Bound::Value(Value::Tuple(parts))
            }
            v => Bound::Value(v),
        };
        self.scopes.push((name.to_string(), bound));
    }

    /// A number inside a tuple, behind a `Let` of its own.
    fn settle(&mut self, value: Value) -> Value {
        match value {
            Value::Scalar(node) if !self.is_simple(node) => {
                let id = self.code.lets;
                self.code.lets += 1;
                self.lets.push((id, node));
                Value::Scalar(self.code.push(Op::Var(id), self.code.types[node], self.code.spans[node]))
            }
            v => v,
        }
    }

    fn is_simple(&self, node: NodeId) -> bool {
        matches!(self.code.ops[node], Op::Const(_) | Op::Index(_) | Op::Var(_))
    }
}

fn unsupported(span: Span, what: &str) -> Diagnostic {
    Diagnostic::error("T0477", span, format!("{what} is not understood in a function that a spec calls"))
        .label("here")
        .help("write it with `let` and an `if` that is a value")
}
