//! How a host calls a kernel: parameters, dimensions, facts. Plain data, in every bundle and every backend.
//!
//! The launcher binds dimensions from tensor shapes (`M` from a bare occurrence, `NS` from `NS + 1` by solving a
//! linear equation), checks every other occurrence, then the `where` facts.

use crate::{dtype::DType, size::Size};
use serde::{Deserialize, Serialize};

/// What a kernel may do with a tensor (language rule 16).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    In,
    /// Every element is written exactly once.
    Out,
    /// Each element is owned by one instance.
    InOut,
    /// Starts at zero; `+=` only; an unordered real sum.
    Sum,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Mode::In => "in",
            Mode::Out => "out",
            Mode::InOut => "inout",
            Mode::Sum => "sum",
        }
    }

    pub fn reads(self) -> bool {
        matches!(self, Mode::In | Mode::InOut)
    }

    pub fn writes(self) -> bool {
        self != Mode::In
    }
}

/// A tensor whose elements are indices or sizes (language rule 12). Stored as i32 unless i64 is given.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IndexKind {
    /// `id<N>`: 0..N-1.
    Id(Size),
    /// `id?<N>`: also -1, which means "none".
    IdOrNone(Size),
    /// `count<N>`: 0..=N.
    Count(Size),
    /// `offsets<N>`: non-decreasing from 0 to N.
    Offsets(Size),
}

impl IndexKind {
    /// N of `id<N>`.
    pub fn bound(&self) -> &Size {
        match self {
            IndexKind::Id(n) | IndexKind::IdOrNone(n) | IndexKind::Count(n) | IndexKind::Offsets(n) => n,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TensorParam {
    pub name: String,
    pub mode: Mode,
    /// `in?`, `out?`: the caller may leave it out.
    pub optional: bool,
    /// Whether this instance has it (always true unless `optional`).
    pub present: bool,
    pub dtype: DType,
    pub index: Option<IndexKind>,
    /// An index tensor that says where a store claimed `unique` goes: no position may occur twice, and the launcher
    /// looks (T0848). Found when the kernel is lowered.
    pub distinct: bool,
    pub shape: Vec<Size>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ScalarParam {
    pub name: String,
    pub dtype: DType,
    /// Of the type `index`: a size or a position, in -2^31..2^31 like every dimension.
    pub index: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParamKind {
    Tensor(TensorParam),
    Scalar(ScalarParam),
}

impl ParamKind {
    pub fn name(&self) -> &str {
        match self {
            ParamKind::Tensor(t) => &t.name,
            ParamKind::Scalar(s) => &s.name,
        }
    }
}

/// A `where` fact, checked at launch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fact {
    pub lhs: Size,
    pub op: Relation,
    pub rhs: Size,
    /// As the user wrote it.
    pub text: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Relation {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Relation {
    pub fn holds(self, a: i64, b: i64) -> bool {
        match self {
            Relation::Eq => a == b,
            Relation::Ne => a != b,
            Relation::Lt => a < b,
            Relation::Le => a <= b,
            Relation::Gt => a > b,
            Relation::Ge => a >= b,
        }
    }
}

/// What one specialised instance of a kernel is called with, in parameter order.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Signature {
    pub kernel: String,
    pub params: Vec<ParamKind>,
    /// Run-time dimensions, in order of first occurrence; a backend's `Dim` operand is a position here.
    pub dims: Vec<String>,
    /// `const` parameters and dtype parameters with their values, as text, in declaration order.
    pub consts: Vec<(String, String)>,
    pub facts: Vec<Fact>,
}

impl Signature {
    pub fn tensors(&self) -> impl Iterator<Item = &TensorParam> {
        self.params.iter().filter_map(|p| match p {
            ParamKind::Tensor(t) => Some(t),
            ParamKind::Scalar(_) => None,
        })
    }

    pub fn scalars(&self) -> impl Iterator<Item = &ScalarParam> {
        self.params.iter().filter_map(|p| match p {
            ParamKind::Scalar(s) => Some(s),
            ParamKind::Tensor(_) => None,
        })
    }
}
