//! Scalar functions, reductions and literals: the operation names that the typed kernel and the graph share.

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Literal {
    Float(f64),
    Int(i64),
    Bool(bool),
}

/// Which axes of a dot are batch and which is contracted; the rest is free.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DotAxes {
    pub lhs_batch: Vec<u32>,
    pub rhs_batch: Vec<u32>,
    pub lhs_k: u32,
    pub rhs_k: u32,
}

impl DotAxes {
    /// `[m, k] @ [k, n]`.
    pub fn matrix() -> DotAxes {
        DotAxes { lhs_batch: vec![], rhs_batch: vec![], lhs_k: 1, rhs_k: 0 }
    }
}

/// Scalar functions. Integers: `Div` floors, `Rem` has the divisor's sign, shifts are by 0..bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ElemOp {
    Neg,
    Not,
    Abs,
    Exp,
    Exp2,
    Log,
    Log2,
    Sqrt,
    Rsqrt,
    Sin,
    Cos,
    Tanh,
    Erf,
    Floor,
    Ceil,
    /// To nearest, ties to even.
    Round,
    IsNan,
    Popcount,
    Add,
    Sub,
    Mul,
    Div,
    Rem,
    /// A NaN operand loses (IEEE maximumNumber).
    Max,
    Min,
    Pow,
    And,
    Or,
    Xor,
    Shl,
    /// Arithmetic for signed types.
    Shr,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    /// In: condition, then, else.
    Select,
}

impl ElemOp {
    pub const ALL: [ElemOp; 38] = {
        use ElemOp::*;
        [
            Neg, Not, Abs, Exp, Exp2, Log, Log2, Sqrt, Rsqrt, Sin, Cos, Tanh, Erf, Floor, Ceil, Round, IsNan,
            Popcount, Add, Sub, Mul, Div, Rem, Max, Min, Pow, And, Or, Xor, Shl, Shr, Eq, Ne, Lt, Le, Gt, Ge,
            Select,
        ]
    };

    pub fn arity(self) -> usize {
        use ElemOp::*;
        match self {
            Neg | Not | Abs | Exp | Exp2 | Log | Log2 | Sqrt | Rsqrt | Sin | Cos | Tanh | Erf | Floor
            | Ceil | Round | IsNan | Popcount => 1,
            Select => 3,
            _ => 2,
        }
    }

    /// Whether it gives a bool whatever it takes.
    pub fn is_predicate(self) -> bool {
        use ElemOp::*;
        matches!(self, Eq | Ne | Lt | Le | Gt | Ge | IsNan)
    }

    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ReduceKind {
    Sum,
    Prod,
    Max,
    Min,
    /// Bool.
    Any,
    All,
    ArgMax,
    ArgMin,
}

impl ReduceKind {
    /// The method of the language.
    pub fn name(self) -> &'static str {
        match self {
            ReduceKind::Sum => "sum",
            ReduceKind::Prod => "prod",
            ReduceKind::Max => "max",
            ReduceKind::Min => "min",
            ReduceKind::Any => "any",
            ReduceKind::All => "all",
            ReduceKind::ArgMax => "argmax",
            ReduceKind::ArgMin => "argmin",
        }
    }
}
