//! The instances at which a kernel is checked.

use crate::{
    elab::{ConstValue, Instance},
    module::Module,
};
use tile_base::DType;
use tile_syntax::ast::{BinaryOp, Expr, ExprKind, Generic, ItemKind, Param, TestItem};

/// At most so many; see the limit on the time that `check` may take.
const LIMIT: usize = 24;

/// One parameter and what it may be.
struct Choice<'m> {
    name: &'m str,
    values: Vec<Value>,
    /// An integer that neither a test, nor a list, nor a default gives.
    guessed: bool,
}

#[derive(Clone)]
enum Value {
    Dtype(DType),
    Const(ConstValue),
    Function(String),
    Absent(bool),
}

/// Every value of every parameter at least once, and pairs as far as the limit goes.
pub fn of(m: &Module, name: &str, generics: &[Generic], params: &[Param], facts: &[Expr]) -> Vec<Instance> {
    let mut choices: Vec<Choice> = vec![];
    let mut guessed;
    let mut plain = 0i64;
    for g in generics {
        choices.push(match g {
            Generic::Dtype { name: n, choices, .. } => {
                guessed = false;
                let mut values: Vec<Value> =
                    choices.iter().filter_map(|c| DType::from_name(&c.name)).map(Value::Dtype).collect();
                if values.is_empty() {
                    values = [DType::F32, DType::F16].map(Value::Dtype).to_vec();
                }
                Choice { name: &n.name, values, guessed }
            }
            Generic::Const { name: n, ty, choices, default } => {
                guessed = false;
                let values = if ty.as_ref().is_some_and(|t| t.name == "bool") {
                    vec![Value::Const(ConstValue::Bool(false)), Value::Const(ConstValue::Bool(true))]
                } else if ty.as_ref().is_some_and(|t| t.name.starts_with('f')) {
                    vec![Value::Const(ConstValue::Float(0.5))]
                } else {
                    plain += 1;
                    let known = integer(m, name, &n.name, choices, default.as_ref());
                    guessed = known.is_none();
                    vec![Value::Const(ConstValue::Int(known.unwrap_or(16 * plain)))]
                };
                Choice { name: &n.name, values, guessed }
            }
            Generic::Function { name: n, default, .. } => {
                guessed = false;
                let mut names: Vec<String> = default.iter().map(|d| d.name.clone()).collect();
                for f in tested(m, name, &n.name).filter_map(crate::elab::ident_of) {
                    if !names.iter().any(|n| n == f) && m.resolve(m.main(), f).is_some() {
                        names.push(f.to_string());
                    }
                }
                Choice { name: &n.name, values: names.into_iter().map(Value::Function).collect(), guessed }
            }
        });
    }
    for p in params {
        if p.mode.is_some_and(|m| m.optional) {
            let values = vec![Value::Absent(false), Value::Absent(true)];
            choices.push(Choice { name: &p.name.name, values, guessed: false });
        }
    }
    settle(&mut choices, facts);
    combine(&choices)
}

/// Puts values that were only guessed into an order in which the facts on consts hold, where one is found.
fn settle(choices: &mut [Choice], facts: &[Expr]) {
    let guessed: Vec<usize> = (0..choices.len()).filter(|&n| choices[n].guessed).collect();
    let value = |choices: &[Choice], name: &str| {
        choices.iter().find(|c| c.name == name).and_then(|c| match c.values.first() {
            Some(Value::Const(ConstValue::Int(v))) => Some(*v),
            _ => None,
        })
    };
    let wrong =
        |choices: &[Choice]| facts.iter().filter(|f| holds(f, &|n| value(choices, n)) == Some(false)).count();
    let set = |choices: &mut [Choice], at: usize, v: i64| {
        choices[at].values = vec![Value::Const(ConstValue::Int(v))]
    };
    for candidate in [16i64, 8, 32, 4, 64, 2, 128, 1] {
        for &at in &guessed {
            let before = wrong(choices);
            if before == 0 {
                return;
            }
            let Some(Value::Const(ConstValue::Int(old))) = choices[at].values.first().cloned() else {
                continue;
            };
            set(choices, at, candidate);
            if wrong(choices) >= before {
                set(choices, at, old);
            }
        }
    }
}

/// A fact over consts; `None`: it says something of run-time dimensions.
fn holds(e: &Expr, value: &dyn Fn(&str) -> Option<i64>) -> Option<bool> {
    match &e.kind {
        ExprKind::Paren(e) => holds(e, value),
        ExprKind::Binary { op: BinaryOp::AndAnd, lhs, rhs } => Some(holds(lhs, value)? && holds(rhs, value)?),
        ExprKind::Binary { op, lhs, rhs } => {
            Some(crate::kernel::relation(*op)?.holds(number(lhs, value)?, number(rhs, value)?))
        }
        _ => None,
    }
}

fn number(e: &Expr, value: &dyn Fn(&str) -> Option<i64>) -> Option<i64> {
    match &e.kind {
        ExprKind::Int(v) => Some(*v),
        ExprKind::Name(n) => value(n),
        ExprKind::Paren(e) => number(e, value),
        ExprKind::Binary { op, lhs, rhs } => {
            let (a, b) = (number(lhs, value)?, number(rhs, value)?);
            match op {
                BinaryOp::Add => a.checked_add(b),
                BinaryOp::Sub => a.checked_sub(b),
                BinaryOp::Mul => a.checked_mul(b),
                BinaryOp::Div => tile_base::size::floor_div(a, b),
                BinaryOp::Rem => tile_base::size::floor_mod(a, b),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The values that the tests of a kernel give to a name.
fn tested<'m>(m: &'m Module, kernel: &'m str, name: &'m str) -> impl Iterator<Item = &'m Expr> {
    m.tests_of(kernel).into_iter().flat_map(|t| &t.items).flat_map(move |i| match i {
        TestItem::Set { name: n, value, .. } if n.name == name => std::slice::from_ref(value),
        TestItem::Each { name: n, values, .. } if n.name == name => &values[..],
        _ => &[],
    })
}

/// The values that any test of the file gives to a const of this name.
fn elsewhere<'m>(m: &'m Module, name: &'m str) -> impl Iterator<Item = &'m Expr> {
    let tests = m.main_file().into_iter().flat_map(|f| &f.items).filter_map(|i| match &i.kind {
        ItemKind::Test(t) => Some(t),
        _ => None,
    });
    tests.flat_map(|t| &t.items).flat_map(move |i| match i {
        TestItem::Set { name: n, value, .. } if n.name == name => std::slice::from_ref(value),
        TestItem::Each { name: n, values, .. } if n.name == name => &values[..],
        _ => &[],
    })
}

fn integer(m: &Module, kernel: &str, name: &str, choices: &[Expr], default: Option<&Expr>) -> Option<i64> {
    let literal = |e: &Expr| match e.kind {
        ExprKind::Int(v) => Some(v),
        _ => None,
    };
    tested(m, kernel, name)
        .find_map(literal)
        .or_else(|| choices.iter().find_map(literal))
        .or_else(|| default.and_then(literal))
        .or_else(|| elsewhere(m, name).find_map(literal))
}

fn combine(choices: &[Choice]) -> Vec<Instance> {
    let pick = |at: &[usize]| {
        let mut out = Instance::default();
        for (c, &n) in choices.iter().zip(at) {
            let name = c.name.to_string();
            match c.values.get(n).cloned() {
                Some(Value::Dtype(d)) => {
                    out.dtypes.insert(name, d);
                }
                Some(Value::Const(v)) => {
                    out.consts.insert(name, v);
                }
                Some(Value::Function(f)) => {
                    out.functions.insert(name, f);
                }
                Some(Value::Absent(true)) => {
                    out.absent.insert(name);
                }
                Some(Value::Absent(false)) | None => {}
            }
        }
        out
    };
    let base = vec![0usize; choices.len()];
    let mut rows = vec![base.clone()];
    for (c, choice) in choices.iter().enumerate() {
        for n in 1..choice.values.len() {
            let mut row = base.clone();
            row[c] = n;
            rows.push(row);
        }
    }
    // All at their last value, then pairs of what is not a dtype.
    rows.push(choices.iter().map(|c| c.values.len().saturating_sub(1)).collect());
    let open = |c: &Choice| c.values.len() > 1 && !matches!(c.values[0], Value::Dtype(_));
    for (a, x) in choices.iter().enumerate().filter(|(_, c)| open(c)) {
        for (b, y) in choices.iter().enumerate().skip(a + 1).filter(|(_, c)| open(c)) {
            let mut row = base.clone();
            (row[a], row[b]) = (x.values.len() - 1, y.values.len() - 1);
            rows.push(row);
        }
    }
    let mut out: Vec<Instance> = vec![];
    for row in rows {
        let instance = pick(&row);
        if out.len() < LIMIT && !out.contains(&instance) {
            out.push(instance);
        }
    }
    out
}
