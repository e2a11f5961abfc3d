//! The guard of a schedule: what is known now, and what is left for the host to ask before a launch.
//!
//! ```text
//! schedule flash_fwd for sm_90 where D == 128 && M <= 8 { … }
//!     D = 64     Known(false): never taken
//!     D = 128    Holds(M <= 8): both variants are compiled, the host chooses
//! ```

use crate::choose::size_of;
use tile_base::{DType, Size, signature::Relation};
use tile_graph::{Graph, Step};
use tile_syntax::ast;

/// A condition over the dimensions of a kernel.
#[derive(Clone, PartialEq, Debug)]
pub enum Condition {
    Known(bool),
    Holds(Size, Relation, Size),
    Not(Box<Condition>),
    Both(Box<Condition>, Box<Condition>),
    Either(Box<Condition>, Box<Condition>),
}

/// The guard of an instance with consts put in; `None` for what the host cannot compute.
pub fn condition(e: &ast::Expr, graph: &Graph) -> Option<Condition> {
    use ast::{BinaryOp as B, ExprKind as E};
    let of = |e| condition(e, graph);
    Some(match &e.kind {
        E::Bool(v) => Condition::Known(*v),
        E::Paren(inner) => of(inner)?,
        E::Name(n) => Condition::Known(constant(graph, n)? != 0),
        E::Unary { op: ast::UnaryOp::Not, operand } => of(operand)?.not(),
        E::Binary { op: B::AndAnd, lhs, rhs } => of(lhs)?.and(of(rhs)?),
        E::Binary { op: B::OrOr, lhs, rhs } => of(lhs)?.or(of(rhs)?),
        E::Binary { op, lhs, rhs } => {
            if let Some(same) = same_dtype(lhs, rhs, graph) {
                return match op {
                    B::Eq => Some(Condition::Known(same)),
                    B::Ne => Some(Condition::Known(!same)),
                    _ => None,
                };
            }
            compare(size(lhs, graph)?, relation(*op)?, size(rhs, graph)?)
        }
        _ => return None,
    })
}

impl Condition {
    fn not(self) -> Condition {
        match self {
            Condition::Known(v) => Condition::Known(!v),
            other => Condition::Not(other.into()),
        }
    }

    fn and(self, other: Condition) -> Condition {
        match (self, other) {
            (Condition::Known(false), _) | (_, Condition::Known(false)) => Condition::Known(false),
            (Condition::Known(true), c) | (c, Condition::Known(true)) => c,
            (a, b) => Condition::Both(a.into(), b.into()),
        }
    }

    fn or(self, other: Condition) -> Condition {
        match (self, other) {
            (Condition::Known(true), _) | (_, Condition::Known(true)) => Condition::Known(true),
            (Condition::Known(false), c) | (c, Condition::Known(false)) => c,
            (a, b) => Condition::Either(a.into(), b.into()),
        }
    }

    /// The dimensions that it asks about.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Condition::Known(_) => vec![],
            Condition::Holds(a, _, b) => [a.names(), b.names()].concat(),
            Condition::Not(c) => c.names(),
            Condition::Both(a, b) | Condition::Either(a, b) => [a.names(), b.names()].concat(),
        }
    }

    /// Host steps that do `then` where it holds and `otherwise` where not. `with` puts a program's sizes for the
    /// kernel's dimensions.
    pub fn choose(
        &self,
        with: &dyn Fn(&str) -> Option<Size>,
        then: Vec<Step>,
        otherwise: Vec<Step>,
    ) -> Vec<Step> {
        match self {
            Condition::Known(true) => then,
            Condition::Known(false) => otherwise,
            Condition::Holds(lhs, op, rhs) => {
                let (lhs, rhs) = (lhs.substitute(with), rhs.substitute(with));
                vec![Step::If { lhs, op: *op, rhs, then, otherwise }]
            }
            Condition::Not(c) => c.choose(with, otherwise, then),
            Condition::Both(a, b) => {
                let inner = b.choose(with, then, otherwise.clone());
                a.choose(with, inner, otherwise)
            }
            Condition::Either(a, b) => {
                let inner = b.choose(with, then.clone(), otherwise);
                a.choose(with, then, inner)
            }
        }
    }
}

fn compare(lhs: Size, op: Relation, rhs: Size) -> Condition {
    match (lhs.as_const(), rhs.as_const()) {
        (Some(a), Some(b)) => Condition::Known(op.holds(a, b)),
        _ => Condition::Holds(lhs, op, rhs),
    }
}

fn relation(op: ast::BinaryOp) -> Option<Relation> {
    use ast::BinaryOp as B;
    Some(match op {
        B::Eq => Relation::Eq,
        B::Ne => Relation::Ne,
        B::Lt => Relation::Lt,
        B::Le => Relation::Le,
        B::Gt => Relation::Gt,
        B::Ge => Relation::Ge,
        _ => return None,
    })
}

/// A size over dimensions, consts put in.
pub fn size(e: &ast::Expr, graph: &Graph) -> Option<Size> {
    let size = size_of(e)?.substitute(&|n| constant(graph, n).map(Size::Const));
    size.names().iter().all(|n| graph.signature.dims.iter().any(|d| d == n)).then_some(size)
}

/// The value of a `const` parameter of this instance.
pub fn constant(graph: &Graph, name: &str) -> Option<i64> {
    let (_, text) = graph.signature.consts.iter().find(|(n, _)| n == name)?;
    match text.as_str() {
        "true" => Some(1),
        "false" => Some(0),
        _ => text.parse().ok(),
    }
}

/// `T == f16`
fn same_dtype(lhs: &ast::Expr, rhs: &ast::Expr, graph: &Graph) -> Option<bool> {
    let text = |e: &ast::Expr| match &e.kind {
        ast::ExprKind::Name(n) => {
            let bound = graph.signature.consts.iter().find(|(c, _)| c == n).map(|(_, v)| v.clone());
            let text = bound.unwrap_or_else(|| n.clone());
            DType::from_name(&text)
        }
        _ => None,
    };
    Some(text(lhs)? == text(rhs)?)
}
