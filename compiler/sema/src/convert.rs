//! From values to typed expressions: literals take a type, views are refused, scalars and axes of extent 1 stretch to the
//! type of a place.

use crate::{
    elab::Elab,
    typed::*,
    value::{Const, Val},
};
use tile_base::{DType, Diagnostic, Span, op::Literal};

impl<'m> Elab<'m> {
    /// A literal of a type.
    pub fn literal(&mut self, c: &Const, elem: Elem, span: Span) -> Option<TExpr> {
        let misfit = |this: &mut Self, why: String, help: &str| {
            let d = Diagnostic::error("T0207", span, why);
            this.report(if help.is_empty() { d } else { d.help(help) });
            None
        };
        let lit = match (c, elem) {
            (Const::Bool(b), Elem::Of(DType::Bool)) => Literal::Bool(*b),
            (Const::Bool(_), _) | (_, Elem::Of(DType::Bool)) => {
                return misfit(
                    self,
                    format!("`{}` is not of type {}", c.show(), elem.name()),
                    "compare to get a bool (`x != 0`), or use `select(c, 1, 0)` to get a number",
                );
            }
            (Const::Index(..), e) if e != Elem::Index => {
                let help = format!("convert it: `.to({})`", e.name());
                let d = Diagnostic::error("T0205", span, format!("an index where {} is needed", e.name()));
                self.report(d.label(format!("this is the index {}", c.show())).help(help));
                return None;
            }
            (Const::Float(v), e) if !e.is_float() => {
                return misfit(
                    self,
                    format!("the float `{v}` where {} is needed", e.name()),
                    "convert the other operand: `.to(f32)`",
                );
            }
            (Const::Float(v), _) => Literal::Float(*v),
            (Const::Int(v) | Const::Index(v, _), e) if e.is_float() => Literal::Float(*v as f64),
            (Const::Int(v) | Const::Index(v, _), e) => {
                if let Elem::Of(d) = e
                    && let Some((lo, hi)) = d.int_range()
                    && !(lo..=hi).contains(v)
                {
                    return misfit(self, format!("`{v}` does not fit {} ({lo} to {hi})", e.name()), "");
                }
                Literal::Int(*v)
            }
        };
        Some(TExpr::new(TExprKind::Literal(lit), Type::scalar(elem), span))
    }

    /// A value that is a scalar or a tile. `None`: not one, and reported.
    pub fn operand(&mut self, v: Val<'m>, span: Span) -> Option<Val<'m>> {
        match v {
            Val::Const(_) => Some(v),
            Val::Expr(e) => self.not_a_view(e, span).map(Val::Expr),
            Val::Error => None,
            Val::Tensor(o) => {
                let whole = self.whole(o, span);
                self.operand(whole, span)
            }
            Val::ViewDef(_) => {
                let whole = self.resolve_view(v, span);
                self.operand(whole, span)
            }
            Val::Span { span: s, offset } => Some(Val::Expr(self.positions(s, offset.as_deref(), span))),
            Val::Along { axis, offset } => Some(Val::Expr(self.iota_from(axis, offset.as_deref(), span))),
            Val::Absent(name) => {
                self.absent_used(&name, span);
                None
            }
            other => {
                let d = Diagnostic::error("T0206", span, format!("{} where a value is needed", other.kind()));
                self.report(match other {
                    Val::Range(..) | Val::Tiles { .. } | Val::Rev(_) => d.help("loop over it with `for`"),
                    Val::TileSize(_) => d.help(
                        "a tile size is used only in `tiles(..)`, `span(..)` and shapes of `temp` (rule 4)",
                    ),
                    Val::Fn(_) => d.help("call it: `f(x)`"),
                    Val::Tuple(_) => d.help("take it apart: `let (a, b) = ...;`"),
                    _ => d,
                });
                None
            }
        }
    }

    pub fn absent_used(&mut self, name: &str, span: Span) {
        let message = format!("`{name}` is optional and may be absent here");
        self.report(
            Diagnostic::error("T0250", span, message)
                .help(format!("put this inside `if {name} {{ ... }}`, which is resolved at compile time")),
        );
    }

    /// Refuses a run-time axis.
    pub fn not_a_view(&mut self, e: TExpr, span: Span) -> Option<TExpr> {
        let Some(hidden) = self.hidden_axis(&e.ty) else { return Some(e) };
        if self.in_view && e.ty.elem == Elem::Index {
            return Some(e);
        }
        let range = self.show_range(hidden);
        self.report(
            Diagnostic::error("T0226", span, format!("this has the run-time axis `{range}`"))
                .label(format!("a view of {}", self.show(&e.ty)))
                .note("a run-time axis can be subscripted, iterated, rearranged, or contracted with `@`")
                .help(format!("loop over it: `for j in tiles({range}, B) {{ ... }}`")),
        );
        None
    }

    /// An expression; a literal takes `want`, else its default type.
    pub fn value(&mut self, v: Val<'m>, want: Option<Elem>, span: Span) -> Option<TExpr> {
        match self.operand(v, span)? {
            Val::Const(c) => {
                let elem = match (&c, want) {
                    (_, Some(w)) => w,
                    (c, None) => c.default_elem(),
                };
                self.literal(&c, elem, span)
            }
            Val::Expr(e) => match want {
                Some(w) if w != e.ty.elem => {
                    self.elem_mismatch(e.ty.elem, w, span);
                    None
                }
                _ => Some(e),
            },
            _ => None,
        }
    }

    pub fn elem_mismatch(&mut self, got: Elem, want: Elem, span: Span) {
        self.report(
            Diagnostic::error("T0205", span, format!("{} where {} is needed", got.name(), want.name()))
                .label(format!("this is {}", got.name()))
                .help(format!("convert it: `.to({})`", want.name())),
        );
    }

    /// A scalar index.
    pub fn index_scalar(&mut self, v: Val<'m>, span: Span) -> Option<TExpr> {
        let e = self.value(v, None, span)?;
        if e.ty.elem != Elem::Index {
            self.elem_mismatch(e.ty.elem, Elem::Index, span);
            return None;
        }
        if !e.ty.is_scalar() {
            let d = Diagnostic::error("T0225", span, "a tile where a scalar index is needed");
            self.report(d.label(format!("this is {}", self.show(&e.ty))));
            return None;
        }
        Some(e)
    }

    pub fn broadcast(&mut self, e: TExpr, axes: &[Axis]) -> TExpr {
        if e.ty.axes.len() == axes.len() && e.ty.axes.iter().zip(axes).all(|(a, b)| a == b) {
            return e;
        }
        let (ty, span) = (Type::tile(e.ty.elem, axes.to_vec()), e.span);
        TExpr::new(TExprKind::Broadcast(Box::new(e)), ty, span)
    }

    /// A value for a place of a fixed type: exact dtype, scalars and axes of extent 1 stretch.
    pub fn fit(&mut self, v: Val<'m>, ty: &Type, span: Span, place: &str) -> Option<TExpr> {
        let e = self.value(v, Some(ty.elem), span)?;
        let fits = e.ty.is_scalar()
            || (e.ty.axes.len() == ty.axes.len()
                && e.ty.axes.iter().zip(&ty.axes).all(|(a, b)| *a == Axis::One || self.agree(a, b)));
        if !fits {
            let (got, want) = (self.show(&e.ty), self.show(ty));
            let d = Diagnostic::error("T0208", span, format!("{got} does not fit {place}, which is {want}"))
                .label(format!("this is {got}"));
            self.report(match self.escapes(&e.ty, ty) {
                Some(name) => d.note(format!("a value over `{name}` cannot leave its loop")),
                None if e.ty.axes.len() != ty.axes.len() => {
                    d.help("insert an axis of extent 1 with `x[:, _]`, drop one with `x[:, 0]`")
                }
                None => d,
            });
            return None;
        }
        Some(self.broadcast(e, &ty.axes))
    }

    /// The name of a span of `got` that the place does not have.
    pub(crate) fn escapes(&self, got: &Type, want: &Type) -> Option<String> {
        got.axes.iter().find_map(|a| match a {
            Axis::Span { span, .. } if !want.axes.iter().any(|w| w.agrees(a)) => {
                Some(self.spans[span.index()].name.clone())
            }
            _ => None,
        })
    }
}
