//! What an expression can be while a kernel is elaborated: a constant, a typed value, a span, a range, a function …
//!
//! Only [`Val::Expr`] reaches the typed kernel. A *view* (an access with a run-time axis) is a `Val::Expr` too: the
//! checker makes a hidden span for the run-time axis at once and writes the load over it, so that `.t`, `.merge`,
//! `.to` act on views as on values. A dot consumes the hidden span as its stream; anything else refuses it.

use crate::typed::*;
use std::{collections::HashMap, rc::Rc};
use tile_base::{DType, Size, Span, op::Literal};
use tile_syntax::ast;

/// A compile-time scalar.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Const {
    /// A literal, of no type yet.
    Int(i64),
    /// An index whose value is known: a `const` parameter, `D / 2`.
    Index(i64, Size),
    /// A literal, of no type yet.
    Float(f64),
    Bool(bool),
}

impl Const {
    /// The type it has where nothing else decides.
    pub fn default_elem(&self) -> Elem {
        match self {
            Const::Int(_) | Const::Index(..) => Elem::Index,
            Const::Float(_) => Elem::Of(DType::F32),
            Const::Bool(_) => Elem::BOOL,
        }
    }

    pub fn int(&self) -> Option<i64> {
        match self {
            Const::Int(v) | Const::Index(v, _) => Some(*v),
            _ => None,
        }
    }

    pub fn float(&self) -> Option<f64> {
        match self {
            Const::Int(v) | Const::Index(v, _) => Some(*v as f64),
            Const::Float(v) => Some(*v),
            Const::Bool(_) => None,
        }
    }

    pub fn size(&self) -> Option<Size> {
        match self {
            Const::Int(v) => Some(Size::Const(*v)),
            Const::Index(_, s) => Some(s.clone()),
            _ => None,
        }
    }

    pub fn show(&self) -> String {
        match self {
            Const::Int(v) | Const::Index(v, _) => v.to_string(),
            Const::Float(v) => format!("{v}"),
            Const::Bool(v) => v.to_string(),
        }
    }
}

/// A function as a value, and what its captured tensors are called in the signature.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FnVal {
    pub item: crate::module::ItemRef,
    /// `mask` in `mask.slopes`.
    pub alias: String,
}

/// `view kb[s in len[b], d in D] = pages[…]`: evaluated anew at each use.
pub(crate) struct ViewDef<'m> {
    pub name: &'m ast::Ident,
    pub axes: &'m [(ast::Ident, ast::Expr)],
    pub value: &'m ast::Expr,
    pub file: usize,
    pub scopes: Vec<Scope<'m>>,
    pub prefix: String,
    pub span: Span,
}

#[derive(Clone)]
pub(crate) enum Val<'m> {
    /// Already reported; silences what follows from it.
    Error,
    Unit,
    Const(Const),
    Expr(TExpr),
    Tensor(ObjectId),
    /// An optional tensor that this instance lacks.
    Absent(String),
    ViewDef(Rc<ViewDef<'m>>),
    /// A span, moved by `offset`.
    Span {
        span: SpanId,
        offset: Option<Box<TExpr>>,
    },
    /// A whole compile-time axis, moved by `offset` (an axis variable of a view under `:`).
    Along {
        axis: Axis,
        offset: Option<Box<TExpr>>,
    },
    Range(Box<Val<'m>>, Box<Val<'m>>),
    Tiles {
        lo: TExpr,
        hi: TExpr,
        step: Step,
    },
    Rev(Box<Val<'m>>),
    Tuple(Vec<Val<'m>>),
    /// A tile array: its locals.
    Array(Vec<LocalId>),
    Fn(FnVal),
    TileSize(TileId),
    Str,
}

impl Val<'_> {
    pub fn index(value: i64) -> Self {
        Val::Const(Const::Index(value, Size::Const(value)))
    }

    /// "a span", for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Val::Error => "an error",
            Val::Unit => "nothing",
            Val::Const(Const::Bool(_)) => "a compile-time bool",
            Val::Const(_) => "a number",
            Val::Expr(e) if e.ty.is_scalar() => "a scalar",
            Val::Expr(_) => "a tile",
            Val::Tensor(_) | Val::Absent(_) => "a tensor",
            Val::ViewDef(_) => "a view",
            Val::Span { .. } => "a span",
            Val::Along { .. } => "an axis",
            Val::Range(..) => "a range",
            Val::Tiles { .. } => "tiles of a range",
            Val::Rev(_) => "a reversed range",
            Val::Tuple(_) => "a tuple",
            Val::Array(_) => "an array of tiles",
            Val::Fn(_) => "a function",
            Val::TileSize(_) => "a tile size",
            Val::Str => "a string",
        }
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Val::Error)
    }
}

/// What a name stands for.
#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "most names are values")]
pub(crate) enum Binding<'m> {
    Val(Val<'m>),
    /// A `var`.
    Var(LocalId),
    Array(Vec<LocalId>),
    Dtype(DType),
    /// An axis of a function's parameter type.
    Axis(Axis),
}

pub(crate) type Scope<'m> = HashMap<&'m str, Binding<'m>>;

impl TExpr {
    pub(crate) fn new(kind: TExprKind, ty: Type, span: Span) -> TExpr {
        TExpr { kind, ty, span }
    }

    pub(crate) fn int(value: i64, span: Span) -> TExpr {
        TExpr::new(TExprKind::Literal(Literal::Int(value)), Type::scalar(Elem::Index), span)
    }

    pub(crate) fn is_zero(&self) -> bool {
        matches!(self.kind, TExprKind::Literal(Literal::Int(0)))
    }

    /// The value of a literal index.
    pub(crate) fn as_int(&self) -> Option<i64> {
        match self.kind {
            TExprKind::Literal(Literal::Int(v)) => Some(v),
            _ => None,
        }
    }
}
