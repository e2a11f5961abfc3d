//! What a host passes: one [`Argument`] per parameter of a [`Signature`], in its order.

use crate::{Tensor, convert};
use std::{
    collections::BTreeMap,
    fmt,
    ops::{Index, IndexMut},
};
use tile_base::{DType, Diagnostic, Signature, signature::ParamKind};

/// The value of a scalar parameter, before it takes the parameter's dtype.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Scalar {
    Int(i64),
    Float(f64),
    Bool(bool),
}

/// As a person writes it: `2.5`, `true`.
impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Int(v) => write!(f, "{v}"),
            Scalar::Float(v) => write!(f, "{v:?}"),
            Scalar::Bool(v) => write!(f, "{v}"),
        }
    }
}

impl Scalar {
    /// As an f64 (an `i64` beyond 2^53 rounds).
    pub fn to_f64(self) -> f64 {
        match self {
            Scalar::Int(v) => v as f64,
            Scalar::Float(v) => v,
            Scalar::Bool(v) => v as u8 as f64,
        }
    }

    pub fn to_i64(self) -> i64 {
        match self {
            Scalar::Int(v) => v,
            Scalar::Float(v) => convert::to_int(DType::I64, v),
            Scalar::Bool(v) => v as i64,
        }
    }

    /// The value that a parameter of `dtype` receives: floats are rounded to it, integers have to lie in its range.
    /// `None` where the kinds do not fit (`2.5` for an integer, `3` for a bool).
    pub fn of_dtype(self, dtype: DType) -> Option<Scalar> {
        match (self, dtype) {
            (Scalar::Bool(_), DType::Bool) => Some(self),
            (Scalar::Bool(_), _) | (_, DType::Bool) => None,
            (_, d) if d.is_float() => Some(Scalar::Float(convert::round_to(d, self.to_f64()))),
            (Scalar::Int(v), d) => (convert::saturate(d, v) == v).then_some(self),
            (Scalar::Float(v), d) => {
                let whole = convert::to_int(d, v);
                (whole as f64 == v).then_some(Scalar::Int(whole))
            }
        }
    }
}

/// The value of one parameter.
#[derive(Clone, Debug)]
pub enum Argument {
    Tensor(Tensor),
    Scalar(Scalar),
    /// An optional parameter that is left out; before [`crate::launch::allocate_outputs`] also an output that the
    /// launcher shall make.
    Absent,
}

impl Argument {
    pub fn tensor(&self) -> Option<&Tensor> {
        match self {
            Argument::Tensor(t) => Some(t),
            _ => None,
        }
    }

    pub fn tensor_mut(&mut self) -> Option<&mut Tensor> {
        match self {
            Argument::Tensor(t) => Some(t),
            _ => None,
        }
    }

    pub fn scalar(&self) -> Option<Scalar> {
        match self {
            Argument::Scalar(s) => Some(*s),
            _ => None,
        }
    }
}

impl From<Tensor> for Argument {
    fn from(t: Tensor) -> Self {
        Argument::Tensor(t)
    }
}

impl From<f64> for Argument {
    fn from(v: f64) -> Self {
        Argument::Scalar(Scalar::Float(v))
    }
}

impl From<i64> for Argument {
    fn from(v: i64) -> Self {
        Argument::Scalar(Scalar::Int(v))
    }
}

impl From<bool> for Argument {
    fn from(v: bool) -> Self {
        Argument::Scalar(Scalar::Bool(v))
    }
}

/// One argument per parameter, in the signature's order.
#[derive(Clone, Debug, Default)]
pub struct Arguments(pub Vec<Argument>);

impl Arguments {
    pub fn new(list: Vec<Argument>) -> Arguments {
        Arguments(list)
    }

    /// Puts named arguments in order; what is not named is [`Argument::Absent`]. A name that no parameter has is an
    /// error (T0811).
    pub fn by_name(
        signature: &Signature,
        mut named: BTreeMap<String, Argument>,
    ) -> Result<Arguments, Vec<Diagnostic>> {
        let list: Vec<Argument> =
            signature.params.iter().map(|p| named.remove(p.name()).unwrap_or(Argument::Absent)).collect();
        if named.is_empty() {
            return Ok(Arguments(list));
        }
        let known: Vec<&str> = signature.params.iter().map(ParamKind::name).collect();
        Err(named
            .into_keys()
            .map(|name| {
                Diagnostic::global("T0811", format!("`{}` has no parameter `{name}`", signature.kernel))
                    .help(format!("its parameters are {}", known.join(", ")))
            })
            .collect())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Argument> {
        self.0.iter()
    }

    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, Argument> {
        self.0.iter_mut()
    }

    /// The argument of the parameter of that name.
    pub fn get<'a>(&'a self, signature: &Signature, name: &str) -> Option<&'a Argument> {
        let at = signature.params.iter().position(|p| p.name() == name)?;
        self.0.get(at)
    }
}

impl Index<usize> for Arguments {
    type Output = Argument;

    fn index(&self, at: usize) -> &Argument {
        &self.0[at]
    }
}

impl IndexMut<usize> for Arguments {
    fn index_mut(&mut self, at: usize) -> &mut Argument {
        &mut self.0[at]
    }
}
