//! `x[i, j + 1, :]`: elements and slices of arrays; ranges.

use super::{
    super::code::{BinaryFn, NodeId, Op, Ty},
    Builder, Fallible, Value, Vector, rank_mismatch, refuse,
};
use tile_base::{Diagnostic, Span};
use tile_syntax::ast::{Expr, ExprKind, Subscript};

impl Builder<'_> {
    pub(super) fn subscript(
        &mut self,
        base: &Expr,
        subscripts: &[Subscript],
        otherwise: Option<&Expr>,
        span: Span,
    ) -> Fallible<Value> {
        let base = unparen(base);
        let array = match &base.kind {
            ExprKind::Name(name) => self.array_named(name),
            _ => None,
        };
        let Some(array) = array else { return self.element_of(base, subscripts, span) };
        let info = &self.arrays.infos[array];
        if info.absent {
            return refuse(
                Diagnostic::error("T0475", base.span, format!("`{}` is left out of this call", info.name))
                    .label("an optional tensor")
                    .help(format!("guard it: `if {} {{ … }} else {{ … }}`", info.name)),
            );
        }
        if info.axes.len() != subscripts.len() {
            return refuse(rank_mismatch(span, info, subscripts.len()));
        }
        let ty = info.ty;
        let mut nodes = vec![];
        let mut slice: Option<Vector> = None;
        for (axis, s) in subscripts.iter().enumerate() {
            let v = match s {
                Subscript::All(at) => Value::Vector(self.whole_axis(array, axis, *at)?),
                Subscript::New(at) => {
                    return refuse(
                        Diagnostic::error("T0477", *at, "`_` makes a new axis, and a spec has none to make")
                            .label("leave it out"),
                    );
                }
                Subscript::Expr(e) => match &e.kind {
                    ExprKind::Range { .. } => Value::Vector(self.part_of_axis(e)?),
                    _ => self.expr(e)?,
                },
            };
            match v {
                Value::Scalar(node) => nodes.push(self.checked_position(node, span)?),
                Value::Vector(v) => {
                    if slice.is_some() {
                        return refuse(
                            Diagnostic::error("T0477", span, "a slice has one open axis")
                                .label("this leaves several open")
                                .help("subscript the others with indices"),
                        );
                    }
                    nodes.push(self.checked_position(v.body, span)?);
                    slice = Some(v);
                }
                Value::Tuple(_) => {
                    return refuse(Diagnostic::error("T0477", span, "a tuple is not a position"));
                }
            }
        }
        let otherwise = otherwise.map(|e| self.with_lets(|b| b.scalar(e))).transpose()?;
        let ty = otherwise.map_or(ty, |o| ty.join(self.ty(o)));
        let load = self.code.push(Op::Load { array, subscripts: nodes, otherwise }, ty, span);
        Ok(match slice {
            Some(v) => Value::Vector(Vector { body: load, ..v }),
            None => Value::Scalar(load),
        })
    }

    fn checked_position(&self, node: NodeId, span: Span) -> Fallible<NodeId> {
        if self.ty(node) == Ty::Bool {
            return refuse(
                Diagnostic::error("T0482", span, "a bool is not a position").label("used as one here"),
            );
        }
        Ok(node)
    }

    /// `:` counts from 0, so it is refused where the array does not.
    fn whole_axis(&mut self, array: usize, axis: usize, at: Span) -> Fallible<Vector> {
        let (_, hi) = self.axis_range(array, axis, at);
        if self.arrays.infos[array].starts.get(axis).copied().flatten() != Some(0) {
            let name = &self.arrays.infos[array].name;
            return refuse(
                Diagnostic::error("T0477", at, format!("this axis of `{name}` does not start at 0"))
                    .label("`:` counts from 0")
                    .help("write the range, `x[lo..hi]`, whose positions count from 0"),
            );
        }
        let slot = self.slot("", at)?;
        let body = self.code.push(Op::Index(slot), Ty::Int, at);
        Ok(Vector { slot, len: hi, body })
    }

    fn part_of_axis(&mut self, e: &Expr) -> Fallible<Vector> {
        let (lo, hi) = self.range(e)?;
        let slot = self.slot("", e.span)?;
        let at = self.code.push(Op::Index(slot), Ty::Int, e.span);
        let body = self.binary(BinaryFn::Add, lo, at, Ty::Int, e.span);
        let lo = self.renamed(lo, usize::MAX, usize::MAX);
        let len = self.binary(BinaryFn::Sub, hi, lo, Ty::Int, e.span);
        let zero = self.number(0.0, Ty::Int, e.span);
        let len = self.binary(BinaryFn::Max, len, zero, Ty::Int, e.span);
        Ok(Vector { slot, len, body })
    }

    /// `softmax(x[i, :])[j]`: one element of a vector, at an index.
    fn element_of(&mut self, base: &Expr, subscripts: &[Subscript], span: Span) -> Fallible<Value> {
        if let ExprKind::Name(name) = &base.kind
            && self.scopes.iter().all(|(n, _)| n != name)
        {
            return refuse(
                Diagnostic::error("T0475", base.span, format!("there is no array `{name}`"))
                    .label("neither a tensor of the kernel nor a `let` above"),
            );
        }
        let Value::Vector(v) = self.expr(base)? else {
            return refuse(Diagnostic::error("T0477", base.span, "this is one number and has no elements"));
        };
        if let [Subscript::Expr(at)] = subscripts {
            let at = self.scalar(at)?;
            if let Op::Index(slot) = self.code.ops[at] {
                return Ok(Value::Scalar(self.renamed(v.body, v.slot, slot)));
            }
        }
        refuse(
            Diagnostic::error("T0477", span, "an element of a vector is taken with one index")
                .label("not an index alone")
                .help("name the vector first: `let v[i, :] = …;`"),
        )
    }

    /// `lo..hi`, or a number of positions from 0.
    pub(super) fn range(&mut self, e: &Expr) -> Fallible<(NodeId, NodeId)> {
        let e = unparen(e);
        let (lo, hi) = match &e.kind {
            ExprKind::Range { lo, hi } => {
                (self.with_lets(|b| b.scalar(lo))?, self.with_lets(|b| b.scalar(hi))?)
            }
            _ => (self.number(0.0, Ty::Int, e.span), self.with_lets(|b| b.scalar(e))?),
        };
        for node in [lo, hi] {
            if !matches!(self.ty(node), Ty::Int | Ty::Literal) {
                return refuse(
                    Diagnostic::error("T0482", e.span, "the ends of a range are integers")
                        .label("this one is not")
                        .help("convert it: `.to(index)`"),
                );
            }
        }
        Ok((lo, hi))
    }
}

pub(super) fn unparen(e: &Expr) -> &Expr {
    match &e.kind {
        ExprKind::Paren(inner) => unparen(inner),
        _ => e,
    }
}
