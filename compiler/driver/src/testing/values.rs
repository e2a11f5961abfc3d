//! Numbers in tests: dimensions, consts, scalar arguments, tolerances, `where` facts.

use std::collections::BTreeMap;
use tile_base::{
    Diagnostic, Span,
    size::{floor_div, floor_mod},
};
use tile_syntax::ast::{Arg, BinaryOp, Expr, ExprKind, UnaryOp};
use tile_tensor::Scalar;

/// Values of names.
pub type Names = BTreeMap<String, Scalar>;

/// Why there is no value.
pub enum Fault {
    /// A name that has no value (yet).
    Unbound(String, Span),
    Wrong(Box<Diagnostic>),
}

pub fn wrong(span: Span, message: impl Into<String>) -> Fault {
    Fault::Wrong(Box::new(Diagnostic::error("T0491", span, message)))
}

impl Fault {
    pub fn diagnostic(self) -> Diagnostic {
        match self {
            Fault::Unbound(name, span) => {
                Diagnostic::error("T0490", span, format!("`{name}` has no value in this test"))
                    .label("not bound")
            }
            Fault::Wrong(d) => *d,
        }
    }
}

/// The value of an expression over names.
pub fn evaluate(e: &Expr, names: &Names) -> Result<Scalar, Fault> {
    Ok(match &e.kind {
        ExprKind::Int(v) => Scalar::Int(*v),
        ExprKind::Float(text) => match text.replace('_', "").parse() {
            Ok(v) => Scalar::Float(v),
            Err(_) => return Err(wrong(e.span, format!("`{text}` is not a number"))),
        },
        ExprKind::Bool(v) => Scalar::Bool(*v),
        ExprKind::Inf => Scalar::Float(f64::INFINITY),
        ExprKind::Nan => Scalar::Float(f64::NAN),
        ExprKind::Paren(inner) => evaluate(inner, names)?,
        ExprKind::Name(name) => match (names.get(name), constant(name)) {
            (Some(v), _) => *v,
            (None, Some(v)) => Scalar::Float(v),
            (None, None) => return Err(Fault::Unbound(name.clone(), e.span)),
        },
        ExprKind::Unary { op, operand } => match (op, evaluate(operand, names)?) {
            (UnaryOp::Neg, Scalar::Int(v)) => match v.checked_neg() {
                Some(v) => Scalar::Int(v),
                None => return Err(wrong(e.span, "this overflows 64 bits")),
            },
            (UnaryOp::Neg, v) => Scalar::Float(-v.to_f64()),
            (UnaryOp::Not, Scalar::Bool(v)) => Scalar::Bool(!v),
            (UnaryOp::Not, _) => return Err(wrong(e.span, "`!` needs a bool")),
        },
        ExprKind::Binary { op, lhs, rhs } => {
            binary(*op, evaluate(lhs, names)?, || evaluate(rhs, names), e.span)?
        }
        ExprKind::Call { function, args } => call(function, args, e.span, names)?,
        _ => return Err(wrong(e.span, "this is not a number")),
    })
}

pub fn constant(name: &str) -> Option<f64> {
    Some(match name {
        "LOG2E" => std::f64::consts::LOG2_E,
        "LN2" => std::f64::consts::LN_2,
        "PI" => std::f64::consts::PI,
        _ => return None,
    })
}

fn binary(
    op: BinaryOp,
    a: Scalar,
    rhs: impl FnOnce() -> Result<Scalar, Fault>,
    span: Span,
) -> Result<Scalar, Fault> {
    match (op, a) {
        (BinaryOp::AndAnd, Scalar::Bool(false)) | (BinaryOp::OrOr, Scalar::Bool(true)) => return Ok(a),
        (BinaryOp::AndAnd | BinaryOp::OrOr, Scalar::Bool(_)) => return rhs(),
        _ => {}
    }
    let b = rhs()?;
    if let (Scalar::Int(x), Scalar::Int(y)) = (a, b) {
        return integers(op, x, y, span);
    }
    let (x, y) = (a.to_f64(), b.to_f64());
    Ok(match op {
        BinaryOp::Add => Scalar::Float(x + y),
        BinaryOp::Sub => Scalar::Float(x - y),
        BinaryOp::Mul => Scalar::Float(x * y),
        BinaryOp::Div => Scalar::Float(x / y),
        BinaryOp::Rem => Scalar::Float(x - y * (x / y).floor()),
        BinaryOp::Eq => Scalar::Bool(x == y),
        BinaryOp::Ne => Scalar::Bool(x != y),
        BinaryOp::Lt => Scalar::Bool(x < y),
        BinaryOp::Le => Scalar::Bool(x <= y),
        BinaryOp::Gt => Scalar::Bool(x > y),
        BinaryOp::Ge => Scalar::Bool(x >= y),
        _ => return Err(wrong(span, "this operation has no meaning for these values")),
    })
}

fn integers(op: BinaryOp, x: i64, y: i64, span: Span) -> Result<Scalar, Fault> {
    let bounded = |v: Option<i64>| match v {
        Some(v) => Ok(Scalar::Int(v)),
        None if y == 0 => Err(wrong(span, "this divides by zero")),
        None => Err(wrong(span, "this overflows 64 bits")),
    };
    match op {
        BinaryOp::Add => bounded(x.checked_add(y)),
        BinaryOp::Sub => bounded(x.checked_sub(y)),
        BinaryOp::Mul => bounded(x.checked_mul(y)),
        BinaryOp::Div => bounded(floor_div(x, y)),
        BinaryOp::Rem => bounded(floor_mod(x, y)),
        BinaryOp::Eq => Ok(Scalar::Bool(x == y)),
        BinaryOp::Ne => Ok(Scalar::Bool(x != y)),
        BinaryOp::Lt => Ok(Scalar::Bool(x < y)),
        BinaryOp::Le => Ok(Scalar::Bool(x <= y)),
        BinaryOp::Gt => Ok(Scalar::Bool(x > y)),
        BinaryOp::Ge => Ok(Scalar::Bool(x >= y)),
        BinaryOp::And => Ok(Scalar::Int(x & y)),
        BinaryOp::Or => Ok(Scalar::Int(x | y)),
        BinaryOp::Xor => Ok(Scalar::Int(x ^ y)),
        BinaryOp::Shl => bounded(u32::try_from(y).ok().and_then(|y| x.checked_shl(y))),
        BinaryOp::Shr => bounded(u32::try_from(y).ok().and_then(|y| x.checked_shr(y))),
        _ => Err(wrong(span, "this operation has no meaning for integers")),
    }
}

/// Functions of one number; also of distributions, element by element.
pub fn unary_function(name: &str) -> Option<fn(f64) -> f64> {
    let sigmoid: fn(f64) -> f64 = |x| 1.0 / (1.0 + (-x).exp());
    Some(match name {
        "exp" => f64::exp,
        "exp2" => f64::exp2,
        "log" => f64::ln,
        "log2" => f64::log2,
        "sqrt" => f64::sqrt,
        "rsqrt" => |x| 1.0 / x.sqrt(),
        "sin" => f64::sin,
        "cos" => f64::cos,
        "tanh" => f64::tanh,
        "abs" => f64::abs,
        "floor" => f64::floor,
        "ceil" => f64::ceil,
        "round" => f64::round_ties_even,
        "relu" => |x| x.max(0.0),
        "sigmoid" => sigmoid,
        "silu" => |x| x / (1.0 + (-x).exp()),
        "softplus" => |x| x.max(0.0) + (-x.abs()).exp().ln_1p(),
        _ => return None,
    })
}

fn call(function: &Expr, args: &[Arg], span: Span, names: &Names) -> Result<Scalar, Fault> {
    let ExprKind::Name(name) = &function.kind else {
        return Err(wrong(function.span, "only a name can be called"));
    };
    let values = args.iter().map(|a| evaluate(&a.value, names)).collect::<Result<Vec<_>, _>>()?;
    match (name.as_str(), &values[..]) {
        ("cdiv", [Scalar::Int(a), Scalar::Int(b)]) => {
            let up = a.checked_neg().and_then(|n| floor_div(n, *b)).and_then(i64::checked_neg);
            up.map(Scalar::Int).ok_or_else(|| wrong(span, "this divides by zero or overflows"))
        }
        ("max", [Scalar::Int(a), Scalar::Int(b)]) => Ok(Scalar::Int(*a.max(b))),
        ("min", [Scalar::Int(a), Scalar::Int(b)]) => Ok(Scalar::Int(*a.min(b))),
        ("max", [a, b]) => Ok(Scalar::Float(a.to_f64().max(b.to_f64()))),
        ("min", [a, b]) => Ok(Scalar::Float(a.to_f64().min(b.to_f64()))),
        ("pow", [a, b]) => Ok(Scalar::Float(a.to_f64().powf(b.to_f64()))),
        (f, [v]) => match unary_function(f) {
            Some(f) => Ok(Scalar::Float(f(v.to_f64()))),
            None => Err(wrong(span, format!("`{name}` is not a function of tests"))),
        },
        _ => Err(wrong(span, format!("`{name}` is not a function of tests, or not with these arguments"))),
    }
}
