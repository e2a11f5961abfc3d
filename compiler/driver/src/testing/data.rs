//! Tensors of a case.
//!
//! | written | gives |
//! | --- | --- |
//! | `randn` | standard normal |
//! | `rand` | uniform in 0..1 |
//! | `uniform(a, b)` | uniform between two numbers |
//! | `randint(a, b)` | integers in a..b, b not among them |
//! | `permutation` | 0, 1, … in random order, along the last axis |
//! | `arange` | 0, 1, 2, … in row-major order |
//! | a number, `N`, `rsqrt(D)` | that number everywhere |
//! | `[0, 15, 15, 71]` | these elements, in row-major order; nested lists for several axes |
//! | `-softplus(randn)`, `randn * 0.1 + 2` | element by element |
//!
//! Every tensor draws from a stream of its own, by name and seed, and the n-th distribution in its expression from
//! the n-th of that; so a tensor keeps its data when others are added.
//!
//! What is not named: `randn` for floats, small integers, coin flips for bools; index tensors by their type.
//! `out` tensors start as NaN (or the greatest integer), so that an element that is not written is found.

use super::{
    cases::Case,
    values::{self, Fault, Names, wrong},
};
use std::collections::BTreeMap;
use tile_base::{
    Diagnostic, IndexKind, Mode, Signature, Span,
    diagnostic::any_error,
    signature::{ParamKind, TensorParam},
};
use tile_syntax::ast::{Arg, BinaryOp, Expr, ExprKind, UnaryOp};
use tile_tensor::{Argument, Arguments, Scalar, Tensor, TensorError, element_count, launch, random};

/// Elements of one tensor of a test.
const MAX_ELEMENTS: usize = 1 << 28;

pub(super) fn arguments(case: &Case, signature: &Signature) -> Result<Arguments, Vec<Diagnostic>> {
    let mut dims = case.dims.clone();
    for (name, v) in &case.consts {
        if let tile_sema::ConstValue::Int(v) = v {
            dims.insert(name.clone(), *v);
        }
    }
    check_dims(case, signature, &mut dims)?;
    let mut names: Names = dims.iter().map(|(n, &v)| (n.clone(), Scalar::Int(v))).collect();
    names.extend(case.scalars.iter().map(|(n, &v)| (n.clone(), v)));
    let (mut out, mut found) = (vec![], vec![]);
    for param in &signature.params {
        out.push(match param {
            ParamKind::Scalar(p) => match case.scalars.get(&p.name) {
                Some(v) => Argument::Scalar(*v),
                None => {
                    let message = format!("this test does not say what `{}` is", p.name);
                    found.push(
                        Diagnostic::error("T0490", case.span, message).label("a test binds every name"),
                    );
                    Argument::Absent
                }
            },
            ParamKind::Tensor(p) if !p.present => Argument::Absent,
            ParamKind::Tensor(p) => match tensor(case, signature, p, &dims, &names) {
                Ok(t) => Argument::Tensor(t),
                Err(more) => {
                    found.extend(more);
                    Argument::Absent
                }
            },
        });
    }
    if any_error(&found) { Err(found) } else { Ok(Arguments(out)) }
}

/// Dimensions that the test does not name are solved from lists; names that are no dimension are refused.
fn check_dims(
    case: &Case,
    signature: &Signature,
    dims: &mut BTreeMap<String, i64>,
) -> Result<(), Vec<Diagnostic>> {
    let mut found = vec![];
    for name in case.dims.keys() {
        if !signature.dims.contains(name) && !signature.consts.iter().any(|(n, _)| n == name) {
            let message = format!("`{}` has nothing called `{name}`", case.kernel);
            found.push(Diagnostic::error("T0491", case.span, message).label("bound in this test"));
        }
    }
    for name in case.data.keys() {
        if !signature.tensors().any(|p| p.name == *name) {
            let message = format!("`{}` has no tensor `{name}` in this case", case.kernel);
            found.push(Diagnostic::error("T0491", case.span, message).label("given data in this test"));
        }
    }
    for p in signature.tensors().filter(|p| p.present && p.shape.len() == 1) {
        let Some(Expr { kind: ExprKind::List(list), span }) = case.data.get(&p.name) else { continue };
        match p.shape[0].solve(list.len() as i64, &|n| dims.get(n).copied()) {
            Ok(Some((name, v))) => drop(dims.insert(name, v)),
            Ok(None) => {}
            Err(_) => found.push(
                Diagnostic::error(
                    "T0493",
                    *span,
                    format!("`{}` cannot have {} elements", p.name, list.len()),
                )
                .label(format!("its shape is [{}]", p.shape[0])),
            ),
        }
    }
    for name in signature.dims.iter().filter(|n| !dims.contains_key(*n)) {
        found.push(
            Diagnostic::error("T0490", case.span, format!("this test does not say what `{name}` is"))
                .label("a test binds every dimension")
                .help(format!("add `{name} = …;`")),
        );
    }
    if found.is_empty() { Ok(()) } else { Err(found) }
}

fn tensor(
    case: &Case,
    signature: &Signature,
    p: &TensorParam,
    dims: &BTreeMap<String, i64>,
    names: &Names,
) -> Result<Tensor, Vec<Diagnostic>> {
    let shape = launch::shape_of(signature, p, dims)?;
    let count = element_count(&shape).filter(|&n| n <= MAX_ELEMENTS).ok_or_else(|| {
        let message = format!("`{}` of shape {shape:?} is too large for a test", p.name);
        vec![
            Diagnostic::error("T0494", case.span, message)
                .label(format!("more than {MAX_ELEMENTS} elements")),
        ]
    })?;
    let memory = |e: TensorError| vec![Diagnostic::error("T0494", case.span, format!("`{}`: {e}", p.name))];
    match p.mode {
        Mode::Sum => return Tensor::try_zeros(p.dtype, &shape).map_err(memory),
        Mode::Out => {
            let mut t = Tensor::try_zeros(p.dtype, &shape).map_err(memory)?;
            let poison = p.dtype.int_range().map_or(f64::NAN, |(_, hi)| hi as f64);
            t.fill_with(|_| poison);
            return Ok(t);
        }
        Mode::In | Mode::InOut => {}
    }
    let Some(e) = case.data.get(&p.name) else {
        let mut random = random::Random::stream(case.seed, &p.name);
        let made = match &p.index {
            None => random::fill(p.dtype, &shape, &mut random),
            Some(kind) if p.distinct => {
                random::fill_distinct(p.dtype, bound(kind, dims), &shape, &mut random)
            }
            Some(kind) => random::fill_index(p.dtype, kind, bound(kind, dims), &shape, &mut random),
        };
        return made.map_err(memory);
    };
    let mut source =
        Source { case, name: &p.name, names, count, row: shape.last().copied().unwrap_or(1), drawn: 0 };
    let values = source.values(e).map_err(|f| vec![f.diagnostic()])?;
    check_values(p, e.span, &values)?;
    Tensor::try_from_f64(p.dtype, &shape, &values).map_err(memory)
}

fn bound(kind: &IndexKind, dims: &BTreeMap<String, i64>) -> i64 {
    kind.bound().eval(&|n| dims.get(n).copied()).unwrap_or(0)
}

/// Values that an integer tensor cannot hold are a mistake of the test.
fn check_values(p: &TensorParam, span: Span, values: &[f64]) -> Result<(), Vec<Diagnostic>> {
    let Some((lo, hi)) = p.dtype.int_range() else { return Ok(()) };
    let fits = |v: &f64| v.fract() == 0.0 && *v >= lo as f64 && *v <= hi as f64;
    match values.iter().find(|v| !fits(v)) {
        None => Ok(()),
        Some(v) => Err(vec![
            Diagnostic::error(
                "T0493",
                span,
                format!("{v} is not a value of `{}`, which is {}", p.name, p.dtype),
            )
            .label("gives such elements")
            .help("use `randint(a, b)`, or round: `floor(randn * 8)`"),
        ]),
    }
}

/// Draws the elements of one tensor.
struct Source<'a> {
    case: &'a Case,
    name: &'a str,
    names: &'a Names,
    count: usize,
    row: usize,
    drawn: usize,
}

impl Source<'_> {
    fn stream(&mut self) -> random::Random {
        self.drawn += 1;
        match self.drawn {
            1 => random::Random::stream(self.case.seed, self.name),
            n => random::Random::stream(self.case.seed, &format!("{}#{n}", self.name)),
        }
    }

    fn draw(&mut self, mut f: impl FnMut(&mut random::Random) -> f64) -> Vec<f64> {
        let mut r = self.stream();
        (0..self.count).map(|_| f(&mut r)).collect()
    }

    fn values(&mut self, e: &Expr) -> Result<Vec<f64>, Fault> {
        match &e.kind {
            ExprKind::Paren(inner) => self.values(inner),
            ExprKind::List(_) => {
                let mut out = vec![];
                self.flatten(e, &mut out)?;
                if out.len() != self.count {
                    let (name, count, given) = (self.name, self.count, out.len());
                    let message = format!("`{name}` has {count} elements, and {given} are given");
                    return Err(Fault::Wrong(Box::new(
                        Diagnostic::error("T0493", e.span, message).label("this list"),
                    )));
                }
                Ok(out)
            }
            ExprKind::Name(name) => match name.as_str() {
                "randn" => Ok(self.draw(random::Random::normal)),
                "rand" => Ok(self.draw(random::Random::uniform)),
                "permutation" => Ok(self.permutation()),
                "arange" => Ok((0..self.count).map(|i| i as f64).collect()),
                _ => self.constant(e),
            },
            ExprKind::Unary { op: UnaryOp::Neg, operand } => {
                Ok(self.values(operand)?.into_iter().map(|v| -v).collect())
            }
            ExprKind::Binary { op, lhs, rhs } => {
                let f: fn(f64, f64) -> f64 = match op {
                    BinaryOp::Add => |a, b| a + b,
                    BinaryOp::Sub => |a, b| a - b,
                    BinaryOp::Mul => |a, b| a * b,
                    // Sizes are whole numbers, and here they stand for reals.
                    BinaryOp::Div => |a, b| a / b,
                    BinaryOp::Rem => |a, b| a - b * (a / b).floor(),
                    _ => return Err(wrong(e.span, "this operation has no meaning for data")),
                };
                let (a, b) = (self.values(lhs)?, self.values(rhs)?);
                Ok(a.into_iter().zip(b).map(|(a, b)| f(a, b)).collect())
            }
            ExprKind::Call { function, args } => self.call(e, function, args),
            _ => self.constant(e),
        }
    }

    fn constant(&self, e: &Expr) -> Result<Vec<f64>, Fault> {
        match values::evaluate(e, self.names) {
            Ok(v) => Ok(vec![v.to_f64(); self.count]),
            Err(Fault::Unbound(name, span)) => Err(wrong(
                span,
                format!("`{name}` is neither a distribution nor a dimension, const or scalar of this test"),
            )),
            Err(fault) => Err(fault),
        }
    }

    fn flatten(&self, e: &Expr, out: &mut Vec<f64>) -> Result<(), Fault> {
        match &e.kind {
            ExprKind::List(list) => list.iter().try_for_each(|e| self.flatten(e, out)),
            _ => {
                let v = values::evaluate(e, self.names)?.to_f64();
                out.push(v);
                Ok(())
            }
        }
    }

    /// Fisher and Yates, row by row.
    fn permutation(&mut self) -> Vec<f64> {
        let mut r = self.stream();
        let mut out: Vec<f64> = (0..self.count).map(|i| (i % self.row.max(1)) as f64).collect();
        for row in out.chunks_mut(self.row.max(1)) {
            for i in (1..row.len()).rev() {
                row.swap(i, r.between(0, i as i64) as usize);
            }
        }
        out
    }

    fn call(&mut self, e: &Expr, function: &Expr, args: &[Arg]) -> Result<Vec<f64>, Fault> {
        let ExprKind::Name(name) = &function.kind else {
            return Err(wrong(function.span, "only a name can be called"));
        };
        let number = |s: &Self, at: usize| values::evaluate(&args[at].value, s.names).map(Scalar::to_f64);
        match (name.as_str(), args.len()) {
            ("uniform", 2) => {
                let (lo, hi) = (number(self, 0)?, number(self, 1)?);
                Ok(self.draw(|r| lo + (hi - lo) * r.uniform()))
            }
            ("randint", 2) => {
                let (lo, hi) = (number(self, 0)? as i64, number(self, 1)? as i64);
                if lo >= hi {
                    return Err(wrong(e.span, format!("there is no integer in {lo}..{hi}")));
                }
                Ok(self.draw(|r| r.between(lo, hi - 1) as f64))
            }
            ("max" | "min", 2) => {
                let (a, b) = (self.values(&args[0].value)?, self.values(&args[1].value)?);
                let f = if name == "max" { f64::max } else { f64::min };
                Ok(a.into_iter().zip(b).map(|(a, b)| f(a, b)).collect())
            }
            (f, 1) => match values::unary_function(f) {
                Some(f) => Ok(self.values(&args[0].value)?.into_iter().map(f).collect()),
                None => {
                    Err(wrong(e.span, format!("`{name}` is neither a distribution nor a function of tests")))
                }
            },
            _ => Err(wrong(e.span, format!("`{name}` is no distribution with {} arguments", args.len()))),
        }
    }
}
