//! Symbolic sizes: integer expressions over a kernel's dimensions, such as `NS + 1`, `2 * F` or `cdiv(L, C)`.
//!
//! A size knows two things: its value under a binding of the names ([`Size::eval`], overflow-checked, with the
//! language's floor division), and whether it is the same polynomial as another ([`Size::same`]), which is how
//! axes agree by identity rather than by equal length.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// An integer expression over named dimensions and constants.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Size {
    Const(i64),
    /// A run-time dimension, a `const` parameter or a tile size, by name.
    Name(String),
    Add(Box<Size>, Box<Size>),
    Sub(Box<Size>, Box<Size>),
    Mul(Box<Size>, Box<Size>),
    /// Rounds towards minus infinity.
    FloorDiv(Box<Size>, Box<Size>),
    /// Has the divisor's sign.
    Mod(Box<Size>, Box<Size>),
    /// Rounds towards plus infinity.
    CeilDiv(Box<Size>, Box<Size>),
    Min(Box<Size>, Box<Size>),
    Max(Box<Size>, Box<Size>),
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SizeError {
    #[error("`{0}` is not bound")]
    Unbound(String),
    #[error("the size `{0}` overflows 64 bits")]
    Overflow(String),
    #[error("the size `{0}` divides by zero")]
    DivisionByZero(String),
}

/// `a / b` rounded towards minus infinity; `None` on division by zero or overflow.
pub fn floor_div(a: i64, b: i64) -> Option<i64> {
    let q = a.checked_div(b)?;
    Some(if a % b != 0 && (a < 0) != (b < 0) { q - 1 } else { q })
}

/// The remainder that goes with [`floor_div`]: it has the divisor's sign.
pub fn floor_mod(a: i64, b: i64) -> Option<i64> {
    let r = a.checked_rem(b)?;
    Some(if r != 0 && (r < 0) != (b < 0) { r + b } else { r })
}

impl Size {
    pub fn name(name: impl Into<String>) -> Size {
        Size::Name(name.into())
    }

    pub fn as_const(&self) -> Option<i64> {
        self.eval(&|_| None).ok()
    }

    /// The value under `lookup`.
    pub fn eval(&self, lookup: &dyn Fn(&str) -> Option<i64>) -> Result<i64, SizeError> {
        let two = |a: &Size, b: &Size| Ok::<_, SizeError>((a.eval(lookup)?, b.eval(lookup)?));
        let overflow = || SizeError::Overflow(self.to_string());
        let divided = |b: i64, q: Option<i64>| match b {
            0 => Err(SizeError::DivisionByZero(self.to_string())),
            _ => q.ok_or_else(overflow),
        };
        match self {
            Size::Const(v) => Ok(*v),
            Size::Name(n) => lookup(n).ok_or_else(|| SizeError::Unbound(n.clone())),
            Size::Add(a, b) => two(a, b).and_then(|(a, b)| a.checked_add(b).ok_or_else(overflow)),
            Size::Sub(a, b) => two(a, b).and_then(|(a, b)| a.checked_sub(b).ok_or_else(overflow)),
            Size::Mul(a, b) => two(a, b).and_then(|(a, b)| a.checked_mul(b).ok_or_else(overflow)),
            Size::FloorDiv(a, b) => two(a, b).and_then(|(a, b)| divided(b, floor_div(a, b))),
            Size::Mod(a, b) => two(a, b).and_then(|(a, b)| divided(b, floor_mod(a, b))),
            Size::CeilDiv(a, b) => two(a, b).and_then(|(a, b)| {
                divided(b, a.checked_neg().and_then(|n| floor_div(n, b)).and_then(i64::checked_neg))
            }),
            Size::Min(a, b) => two(a, b).map(|(a, b)| a.min(b)),
            Size::Max(a, b) => two(a, b).map(|(a, b)| a.max(b)),
        }
    }

    /// Every name in it, each once, in order of first occurrence.
    pub fn names(&self) -> Vec<&str> {
        let mut out = vec![];
        self.collect_names(&mut out);
        out
    }

    fn collect_names<'a>(&'a self, out: &mut Vec<&'a str>) {
        match self {
            Size::Const(_) => {}
            Size::Name(n) => {
                if !out.contains(&n.as_str()) {
                    out.push(n);
                }
            }
            Size::Add(a, b)
            | Size::Sub(a, b)
            | Size::Mul(a, b)
            | Size::FloorDiv(a, b)
            | Size::Mod(a, b)
            | Size::CeilDiv(a, b)
            | Size::Min(a, b)
            | Size::Max(a, b) => {
                a.collect_names(out);
                b.collect_names(out);
            }
        }
    }

    /// Whether the two are one polynomial: `D + D` and `2 * D` are, `M` and `N` are not.
    pub fn same(&self, other: &Size) -> bool {
        self == other || self.polynomial().is_some_and(|p| other.polynomial() == Some(p))
    }

    /// The value when the names cancel out: `h * 64 + 64 - h * 64` is 64.
    pub fn simplified_const(&self) -> Option<i64> {
        let polynomial = self.polynomial()?;
        match polynomial.len() {
            0 => Some(0),
            1 => polynomial.get(&vec![]).copied(),
            _ => None,
        }
    }

    /// Coefficients by monomial (sorted atoms); divisions and min/max are atoms by their text.
    fn polynomial(&self) -> Option<BTreeMap<Vec<String>, i64>> {
        let mut out = BTreeMap::new();
        match self {
            Size::Const(v) => {
                out.insert(vec![], *v);
            }
            Size::Add(a, b) | Size::Sub(a, b) => {
                let sign = if matches!(self, Size::Sub(..)) { -1 } else { 1 };
                out = a.polynomial()?;
                for (m, c) in b.polynomial()? {
                    let slot = out.entry(m).or_insert(0);
                    *slot = slot.checked_add(c.checked_mul(sign)?)?;
                }
            }
            Size::Mul(a, b) => {
                let b = b.polynomial()?;
                for (m, c) in a.polynomial()? {
                    for (n, d) in &b {
                        let mut product = m.clone();
                        product.extend(n.iter().cloned());
                        product.sort();
                        let slot = out.entry(product).or_insert(0);
                        *slot = slot.checked_add(c.checked_mul(*d)?)?;
                    }
                }
            }
            Size::Name(_) => {
                out.insert(vec![self.to_string()], 1);
            }
            _ => match self.as_const() {
                Some(v) => {
                    out.insert(vec![], v);
                }
                None => {
                    out.insert(vec![self.to_string()], 1);
                }
            },
        }
        out.retain(|_, c| *c != 0);
        Some(out)
    }

    /// Replaces names by sizes (const parameters by their values, say).
    pub fn substitute(&self, with: &dyn Fn(&str) -> Option<Size>) -> Size {
        let s = |x: &Size| Box::new(x.substitute(with));
        match self {
            Size::Const(_) => self.clone(),
            Size::Name(n) => with(n).unwrap_or_else(|| self.clone()),
            Size::Add(a, b) => Size::Add(s(a), s(b)),
            Size::Sub(a, b) => Size::Sub(s(a), s(b)),
            Size::Mul(a, b) => Size::Mul(s(a), s(b)),
            Size::FloorDiv(a, b) => Size::FloorDiv(s(a), s(b)),
            Size::Mod(a, b) => Size::Mod(s(a), s(b)),
            Size::CeilDiv(a, b) => Size::CeilDiv(s(a), s(b)),
            Size::Min(a, b) => Size::Min(s(a), s(b)),
            Size::Max(a, b) => Size::Max(s(a), s(b)),
        }
    }

    /// Solves `self == value` for the one unbound name that occurs linearly: `NS + 1 == 4` gives `NS = 3`.
    ///
    /// `Ok(None)` when more than one name is unbound or the unknown is not linear; `Err` when a linear equation
    /// has no integer solution.
    pub fn solve(
        &self,
        value: i64,
        lookup: &dyn Fn(&str) -> Option<i64>,
    ) -> Result<Option<(String, i64)>, SizeError> {
        let unknown: Vec<&str> = self.names().into_iter().filter(|n| lookup(n).is_none()).collect();
        let [unknown] = unknown[..] else { return Ok(None) };
        let Some(poly) = self.substitute(&|n| lookup(n).map(Size::Const)).polynomial() else {
            return Ok(None);
        };
        let (mut slope, mut offset) = (0i64, 0i64);
        for (monomial, c) in &poly {
            match &monomial[..] {
                [] => offset = *c,
                [one] if one == unknown => slope = *c,
                _ => return Ok(None),
            }
        }
        let rest = value.checked_sub(offset).ok_or_else(|| SizeError::Overflow(self.to_string()))?;
        if slope == 0 {
            return Ok(None);
        }
        if rest % slope != 0 {
            return Err(SizeError::Overflow(format!("{self} = {value}")));
        }
        Ok(Some((unknown.to_string(), rest / slope)))
    }
}

impl From<i64> for Size {
    fn from(v: i64) -> Size {
        Size::Const(v)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn wrapped(s: &Size, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match s {
                Size::Add(..) | Size::Sub(..) => write!(f, "({s})"),
                _ => write!(f, "{s}"),
            }
        }
        let product = |f: &mut fmt::Formatter<'_>, a: &Size, op: &str, b: &Size| {
            wrapped(a, f)?;
            write!(f, " {op} ")?;
            match b {
                Size::Mul(..) | Size::FloorDiv(..) | Size::Mod(..) => write!(f, "({b})"),
                _ => wrapped(b, f),
            }
        };
        match self {
            Size::Const(v) => write!(f, "{v}"),
            Size::Name(n) => f.write_str(n),
            Size::Add(a, b) => write!(f, "{a} + {b}"),
            Size::Sub(a, b) => {
                write!(f, "{a} - ")?;
                wrapped(b, f)
            }
            Size::Mul(a, b) => product(f, a, "*", b),
            Size::FloorDiv(a, b) => product(f, a, "/", b),
            Size::Mod(a, b) => product(f, a, "%", b),
            Size::CeilDiv(a, b) => write!(f, "cdiv({a}, {b})"),
            Size::Min(a, b) => write!(f, "min({a}, {b})"),
            Size::Max(a, b) => write!(f, "max({a}, {b})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n(s: &str) -> Size {
        Size::name(s)
    }

    #[test]
    fn identity_is_by_polynomial_not_by_spelling() {
        let double = Size::Add(n("D").into(), n("D").into());
        assert!(double.same(&Size::Mul(Size::Const(2).into(), n("D").into())));
        assert!(!n("M").same(&n("N")));
    }

    #[test]
    fn a_linear_size_is_solved_for_its_one_unknown() {
        let ns1 = Size::Add(n("NS").into(), Size::Const(1).into());
        assert_eq!(ns1.solve(4, &|_| None), Ok(Some(("NS".into(), 3))));
        let twice = Size::Mul(Size::Const(2).into(), n("F").into());
        assert!(twice.solve(5, &|_| None).is_err());
    }

    #[test]
    fn division_floors_and_remainder_has_the_divisors_sign() {
        assert_eq!(floor_div(-7, 2), Some(-4));
        assert_eq!(floor_mod(-7, 2), Some(1));
        assert_eq!(Size::CeilDiv(Size::Const(7).into(), Size::Const(2).into()).as_const(), Some(4));
    }

    #[test]
    fn overflow_is_an_error() {
        let big = Size::Mul(Size::Const(i64::MAX).into(), Size::Const(2).into());
        assert!(matches!(big.eval(&|_| None), Err(SizeError::Overflow(_))));
    }
}
