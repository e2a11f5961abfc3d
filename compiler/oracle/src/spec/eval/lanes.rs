//! Loops over lanes: operands that are one value or a run of values.

use super::super::code::{BinaryFn, UnaryFn};
use super::math;

/// An operand of a lane loop.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    One(f64),
    Run(&'a [f64]),
}

impl Source<'_> {
    pub fn at(self, lane: usize) -> f64 {
        match self {
            Source::One(v) => v,
            Source::Run(s) => s[lane],
        }
    }
}

/// `out[l] = f(a[l], b[l])`, with a loop of its own for each shape of the operands, so that it vectorises.
fn map2(out: &mut [f64], a: Source, b: Source, f: impl Fn(f64, f64) -> f64) {
    let n = out.len();
    match (a, b) {
        (Source::One(a), Source::One(b)) => out.fill(f(a, b)),
        (Source::One(a), Source::Run(b)) => out.iter_mut().zip(&b[..n]).for_each(|(o, &b)| *o = f(a, b)),
        (Source::Run(a), Source::One(b)) => out.iter_mut().zip(&a[..n]).for_each(|(o, &a)| *o = f(a, b)),
        (Source::Run(a), Source::Run(b)) => {
            out.iter_mut().zip(&a[..n]).zip(&b[..n]).for_each(|((o, &a), &b)| *o = f(a, b));
        }
    }
}

pub(super) fn binary(f: BinaryFn, out: &mut [f64], a: Source, b: Source) {
    match f {
        BinaryFn::Add => map2(out, a, b, |a, b| a + b),
        BinaryFn::Sub => map2(out, a, b, |a, b| a - b),
        BinaryFn::Mul => map2(out, a, b, |a, b| a * b),
        BinaryFn::Div => map2(out, a, b, |a, b| a / b),
        BinaryFn::Max => map2(out, a, b, math::max),
        BinaryFn::Min => map2(out, a, b, math::min),
        BinaryFn::Lt => map2(out, a, b, |a, b| (a < b) as u8 as f64),
        BinaryFn::Le => map2(out, a, b, |a, b| (a <= b) as u8 as f64),
        BinaryFn::Eq => map2(out, a, b, |a, b| (a == b) as u8 as f64),
        _ => map2(out, a, b, |a, b| math::binary(f, a, b)),
    }
}

pub(super) fn unary(f: UnaryFn, out: &mut [f64], a: Source) {
    match (f, a) {
        (_, Source::One(v)) => out.fill(math::unary(f, v)),
        (UnaryFn::Neg, Source::Run(a)) => out.iter_mut().zip(a).for_each(|(o, &a)| *o = -a),
        (UnaryFn::Exp, Source::Run(a)) => out.iter_mut().zip(a).for_each(|(o, &a)| *o = a.exp()),
        (_, Source::Run(a)) => out.iter_mut().zip(a).for_each(|(o, &a)| *o = math::unary(f, a)),
    }
}

/// `acc[l] += a[l] * b[l]`
pub(super) fn multiply_add(acc: &mut [f64], a: Source, b: Source) {
    let n = acc.len();
    match (a, b) {
        (Source::One(a), Source::One(b)) => acc.iter_mut().for_each(|o| *o += a * b),
        (Source::One(x), Source::Run(run)) | (Source::Run(run), Source::One(x)) => {
            acc.iter_mut().zip(&run[..n]).for_each(|(o, &v)| *o += x * v);
        }
        (Source::Run(a), Source::Run(b)) => {
            acc.iter_mut().zip(&a[..n]).zip(&b[..n]).for_each(|((o, &a), &b)| *o += a * b);
        }
    }
}

/// `sum(a[l] * b[l])` over `n` lanes, in eight partial sums.
pub(super) fn dot(a: Source, b: Source, n: usize) -> f64 {
    match (a, b) {
        (Source::One(a), Source::One(b)) => a * b * n as f64,
        (Source::One(x), Source::Run(run)) | (Source::Run(run), Source::One(x)) => x * sum(&run[..n]),
        (Source::Run(a), Source::Run(b)) => {
            let (a, b) = (&a[..n], &b[..n]);
            let mut parts = [0.0; 8];
            let (ca, cb) = (a.chunks_exact(8), b.chunks_exact(8));
            let tail: f64 = ca.remainder().iter().zip(cb.remainder()).map(|(a, b)| a * b).sum();
            for (a, b) in ca.zip(cb) {
                for l in 0..8 {
                    parts[l] += a[l] * b[l];
                }
            }
            parts.iter().sum::<f64>() + tail
        }
    }
}

pub(super) fn sum(a: &[f64]) -> f64 {
    let mut parts = [0.0; 8];
    let chunks = a.chunks_exact(8);
    let tail: f64 = chunks.remainder().iter().sum();
    for c in chunks {
        for l in 0..8 {
            parts[l] += c[l];
        }
    }
    parts.iter().sum::<f64>() + tail
}
