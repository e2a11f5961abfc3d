//! Index expressions as polynomials over atoms, so that `j.start + p - (j.start - 2)` is `p + 2`.
//!
//! Atoms are run-time dimensions, values of the graph that are not sums or products, and divisions, remainders,
//! minima and maxima of polynomials. Two ways of writing one expression give one polynomial: `cdiv(L, 16)` in a
//! tensor's shape and `(L + 15) / 16` in the kernel.
//!
//! A tile stands for one arbitrary element. Elementwise operations keep positions aligned, so the same tile twice is
//! the same element; whatever moves elements (`Reshape`, `Permute`, …) is an atom of its own, so `r[:, _] - r[_, :]`
//! does not cancel.

use crate::{ir::*, op::*};
use std::collections::{BTreeMap, HashMap};
use tile_base::Size;

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Atom {
    Dim(String),
    Value(Value),
    /// Position along an axis of an access's tile.
    Position(u32),
    Div(Box<Linear>, Box<Linear>),
    Mod(Box<Linear>, Box<Linear>),
    Min(Box<Linear>, Box<Linear>),
    Max(Box<Linear>, Box<Linear>),
}

impl Atom {
    fn to_size(&self) -> Option<Size> {
        let two = |a: &Linear, b: &Linear, make: fn(Box<Size>, Box<Size>) -> Size| {
            Some(make(a.to_size()?.into(), b.to_size()?.into()))
        };
        match self {
            Atom::Dim(name) => Some(Size::name(name)),
            Atom::Div(a, b) => two(a, b, Size::FloorDiv),
            Atom::Mod(a, b) => two(a, b, Size::Mod),
            Atom::Min(a, b) => two(a, b, Size::Min),
            Atom::Max(a, b) => two(a, b, Size::Max),
            Atom::Value(_) | Atom::Position(_) => None,
        }
    }
}

/// Coefficients by monomial (sorted atoms); no zero coefficients.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Linear {
    pub terms: BTreeMap<Vec<Atom>, i128>,
}

impl Linear {
    pub fn constant(c: i128) -> Linear {
        let mut terms = BTreeMap::new();
        if c != 0 {
            terms.insert(vec![], c);
        }
        Linear { terms }
    }

    pub fn atom(a: Atom) -> Linear {
        Linear { terms: BTreeMap::from([(vec![a], 1)]) }
    }

    pub fn as_const(&self) -> Option<i128> {
        match self.terms.len() {
            0 => Some(0),
            1 => self.terms.get(&vec![]).copied(),
            _ => None,
        }
    }

    pub fn plus(&self, other: &Linear, times: i128) -> Option<Linear> {
        let mut out = self.clone();
        for (m, c) in &other.terms {
            let slot = out.terms.entry(m.clone()).or_insert(0);
            *slot = slot.checked_add(c.checked_mul(times)?)?;
        }
        out.terms.retain(|_, c| *c != 0);
        Some(out)
    }

    pub fn add(&self, other: &Linear) -> Option<Linear> {
        self.plus(other, 1)
    }

    pub fn sub(&self, other: &Linear) -> Option<Linear> {
        self.plus(other, -1)
    }

    pub fn offset(&self, c: i128) -> Option<Linear> {
        self.plus(&Linear::constant(c), 1)
    }

    pub fn mul(&self, other: &Linear) -> Option<Linear> {
        let mut out = Linear::default();
        for (m, c) in &self.terms {
            for (n, d) in &other.terms {
                let mut product = m.clone();
                product.extend(n.iter().cloned());
                product.sort();
                if product.len() > 6 {
                    return None;
                }
                let slot = out.terms.entry(product).or_insert(0);
                *slot = slot.checked_add(c.checked_mul(*d)?)?;
            }
        }
        out.terms.retain(|_, c| *c != 0);
        Some(out)
    }

    /// `a / b` rounded down.
    pub fn floor_div(a: Linear, b: Linear) -> Linear {
        match (a.as_const(), b.as_const()) {
            (Some(x), Some(y)) if y != 0 => {
                Linear::constant(x.div_euclid(y) - i128::from(y < 0 && x.rem_euclid(y) != 0))
            }
            (_, Some(1)) => a,
            (_, Some(c)) if c > 0 && a.terms.values().all(|x| x % c == 0) => {
                Linear { terms: a.terms.into_iter().map(|(m, x)| (m, x / c)).collect() }
            }
            _ => Linear::atom(Atom::Div(a.into(), b.into())),
        }
    }

    /// The remainder that goes with [`Linear::floor_div`].
    pub fn modulo(a: Linear, b: Linear) -> Linear {
        match (a.as_const(), b.as_const()) {
            (Some(x), Some(y)) if y > 0 => Linear::constant(x.rem_euclid(y)),
            (_, Some(c)) if c > 0 && a.terms.values().all(|x| x % c == 0) => Linear::constant(0),
            _ => Linear::atom(Atom::Mod(a.into(), b.into())),
        }
    }

    /// `self = slope × atom + rest`; `None` if the atom occurs twice in a monomial.
    pub fn split(&self, atom: &Atom) -> Option<(Linear, Linear)> {
        let (mut slope, mut rest) = (Linear::default(), Linear::default());
        for (m, &c) in &self.terms {
            match m.iter().filter(|a| *a == atom).count() {
                0 => {
                    rest.terms.insert(m.clone(), c);
                }
                1 => {
                    let other = m.iter().filter(|a| *a != atom).cloned().collect();
                    slope.terms.insert(other, c);
                }
                _ => return None,
            }
        }
        Some((slope, rest))
    }

    /// The same as a size over the dimensions; `None` when it depends on a value of the graph.
    pub fn to_size(&self) -> Option<Size> {
        let mut total: Option<Size> = None;
        for (atoms, &times) in &self.terms {
            let mut term = Size::Const(i64::try_from(times).ok()?);
            for atom in atoms {
                let factor = atom.to_size()?;
                term = if term == Size::Const(1) { factor } else { Size::Mul(term.into(), factor.into()) };
            }
            total = Some(match total {
                Some(sum) => Size::Add(sum.into(), term.into()),
                None => term,
            });
        }
        Some(total.unwrap_or(Size::Const(0)))
    }

    /// Atoms in it, those inside divisions counted.
    pub fn weight(&self) -> usize {
        let inside = |a: &Atom| match a {
            Atom::Div(x, y) | Atom::Mod(x, y) | Atom::Min(x, y) | Atom::Max(x, y) => x.weight() + y.weight(),
            Atom::Dim(_) | Atom::Value(_) | Atom::Position(_) => 0,
        };
        self.terms.keys().map(|m| 1 + m.iter().map(|a| 1 + inside(a)).sum::<usize>()).sum()
    }

    /// Atoms that are not dims, each once.
    pub fn inner_atoms(&self) -> Vec<Atom> {
        let mut out: Vec<Atom> = vec![];
        for a in self.terms.keys().flatten() {
            if !matches!(a, Atom::Dim(_)) && !out.contains(a) {
                out.push(a.clone());
            }
        }
        out
    }

    /// Whether it is ≥ 0 whatever the dims are, as long as each is at least 1: with `d = 1 + d'` no coefficient is
    /// negative. Only for polynomials in dims alone.
    pub fn holds_for_all_dims(&self) -> bool {
        let mut shifted: BTreeMap<Vec<&str>, i128> = BTreeMap::new();
        for (m, &c) in &self.terms {
            let mut names = vec![];
            for a in m {
                let Atom::Dim(name) = a else { return false };
                names.push(name.as_str());
            }
            // (1 + x)(1 + y)… : every subset of the factors.
            for subset in 0..(1u32 << names.len()) {
                let part: Vec<&str> = names
                    .iter()
                    .enumerate()
                    .filter(|(at, _)| subset & (1 << at) != 0)
                    .map(|(_, n)| *n)
                    .collect();
                let slot = shifted.entry(part).or_insert(0);
                let Some(sum) = slot.checked_add(c) else { return false };
                *slot = sum;
            }
        }
        shifted.values().all(|&c| c >= 0)
    }
}

/// A size of a shape or a fact.
pub fn of_size(size: &Size) -> Option<Linear> {
    let two = |a: &Size, b: &Size| Some((of_size(a)?, of_size(b)?));
    Some(match size {
        Size::Const(c) => Linear::constant(*c as i128),
        Size::Name(n) => Linear::atom(Atom::Dim(n.clone())),
        Size::Add(a, b) => two(a, b).and_then(|(a, b)| a.add(&b))?,
        Size::Sub(a, b) => two(a, b).and_then(|(a, b)| a.sub(&b))?,
        Size::Mul(a, b) => two(a, b).and_then(|(a, b)| a.mul(&b))?,
        Size::FloorDiv(a, b) => two(a, b).map(|(a, b)| Linear::floor_div(a, b))?,
        Size::Mod(a, b) => two(a, b).map(|(a, b)| Linear::modulo(a, b))?,
        Size::CeilDiv(a, b) => {
            let (a, b) = two(a, b)?;
            Linear::floor_div(a.add(&b)?.offset(-1)?, b)
        }
        Size::Min(a, b) => two(a, b).map(|(a, b)| Linear::atom(Atom::Min(a.into(), b.into())))?,
        Size::Max(a, b) => two(a, b).map(|(a, b)| Linear::atom(Atom::Max(a.into(), b.into())))?,
    })
}

/// An index value (of a tile: any one element).
///
/// Shared operands are read once, and what grows too large or too deep is an atom: the time is bounded whatever the
/// kernel says.
pub fn of_value(graph: &Graph, value: Value) -> Option<Linear> {
    Reader { graph, known: HashMap::new() }.value(value, 0)
}

/// Operations that one polynomial looks through, one inside the other.
const DEEPEST: u32 = 100;
/// Atoms in one polynomial, those inside divisions counted.
const HEAVIEST: usize = 64;

struct Reader<'a> {
    graph: &'a Graph,
    known: HashMap<Value, Option<Linear>>,
}

impl Reader<'_> {
    fn value(&mut self, value: Value, depth: u32) -> Option<Linear> {
        let opaque = Linear::atom(Atom::Value(value));
        if depth > DEEPEST {
            return Some(opaque);
        }
        if let Some(known) = self.known.get(&value) {
            return known.clone();
        }
        let found = match self.expand(value, depth) {
            Some(p) if p.weight() > HEAVIEST => Some(opaque),
            other => other,
        };
        self.known.insert(value, found.clone());
        found
    }

    fn expand(&mut self, value: Value, depth: u32) -> Option<Linear> {
        let graph = self.graph;
        let node = graph.node(value.node);
        let inputs = graph.inputs(value.node);
        let mut of = |at: usize| self.value(inputs[at], depth + 1);
        let opaque = || Some(Linear::atom(Atom::Value(value)));
        match &node.op {
            Op::Const(Literal::Int(v)) => Some(Linear::constant(*v as i128)),
            Op::Dim(d) => Some(Linear::atom(Atom::Dim(graph.signature.dims.get(*d as usize)?.clone()))),
            // A stretched scalar is that scalar.
            Op::Broadcast if graph.type_of(inputs[0]).is_scalar() => of(0),
            Op::MakeSpan { .. } if value.port == 0 => of(0),
            Op::RegionArgs => match start_of_step(graph, value) {
                Some((lo, number, step)) => self.value(lo, depth + 1)?.plus(&number, step as i128),
                None => opaque(),
            },
            Op::Elem(op) if node.outputs[0].dtype == tile_base::DType::I64 => match op {
                ElemOp::Neg => Linear::default().sub(&of(0)?),
                ElemOp::Add => of(0)?.add(&of(1)?),
                ElemOp::Sub => of(0)?.sub(&of(1)?),
                ElemOp::Mul => of(0)?.mul(&of(1)?).or_else(opaque),
                ElemOp::Div => Some(Linear::floor_div(of(0)?, of(1)?)),
                ElemOp::Rem => Some(Linear::modulo(of(0)?, of(1)?)),
                ElemOp::Min => Some(Linear::atom(Atom::Min(of(0)?.into(), of(1)?.into()))),
                ElemOp::Max => Some(Linear::atom(Atom::Max(of(0)?.into(), of(1)?.into()))),
                _ => opaque(),
            },
            _ => opaque(),
        }
    }
}

/// In a loop of fixed steps the start of a step is `lo + step × number`.
fn start_of_step(graph: &Graph, value: Value) -> Option<(Value, Linear, u64)> {
    let region = graph.node(value.node).region;
    let owner = graph.region(region).owner?;
    let iter = match &graph.node(owner).op {
        Op::Par(p) if p.body == region => p.iter,
        Op::For(f) if f.body == region || f.skip == Some(region) => f.iter,
        _ => return None,
    };
    let Iter::Tiles { step: StepSize::Fixed(step), reverse: false, .. } = iter else { return None };
    if value.port != 0 {
        return None;
    }
    let number = Linear::atom(Atom::Value(Value { node: value.node, port: 2 }));
    Some((*graph.inputs(owner).first()?, number, step))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::Sketch;

    #[test]
    fn sharing_and_depth_do_not_blow_up() {
        let mut s = Sketch::new("deep", vec![], &["N"]);
        let n = s.dim("N");
        let three = s.b.index(3);
        let mut x = n;
        for _ in 0..2000 {
            let third = s.elem(ElemOp::Div, &[x, three]);
            let product = s.elem(ElemOp::Mul, &[x, third]);
            x = s.elem(ElemOp::Add, &[product, third]);
        }
        let p = of_value(s.b.graph(), x).expect("an atom at least");
        assert!(p.weight() <= HEAVIEST);
    }

    #[test]
    fn doubling_is_a_coefficient() {
        let mut s = Sketch::new("double", vec![], &["N"]);
        let mut x = s.dim("N");
        for _ in 0..60 {
            x = s.elem(ElemOp::Add, &[x, x]);
        }
        let n = Linear::atom(Atom::Dim("N".into()));
        assert_eq!(of_value(s.b.graph(), x), Linear::default().plus(&n, 1 << 60));
    }
}
