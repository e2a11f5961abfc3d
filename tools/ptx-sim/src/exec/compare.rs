//! `setp` and `testp`.

use super::{
    convert::{Number, as_f64, read},
    rows::{Rows, lanes},
};
use crate::ir::{Bool, Compare, Op, Scalar, TestClass};

pub fn setp(r: &mut Rows, mask: u32, op: &Op) {
    let Op::Setp { cmp, ty, combine, p, q, a, b, ftz } = op else { return };
    // Packed halves: the second predicate is the upper half's, not the complement of the first.
    let mut upper = None;
    let hits = match ty {
        Scalar::F16x2 | Scalar::Bf16x2 => {
            let half = if *ty == Scalar::F16x2 { Scalar::F16 } else { Scalar::Bf16 };
            let number = |word: u32| as_f64(read(half, word & 0xffff, || 0));
            let at = |r: &Rows, shift: u32| {
                bits2(r, *a, *b, |x, y| float_holds(*cmp, number(x >> shift), number(y >> shift)))
            };
            upper = Some(at(r, 16));
            at(r, 0)
        }
        Scalar::Int { signed: true, bits: 32 } => {
            bits2(r, *a, *b, |x, y| holds(*cmp, (x as i32).cmp(&(y as i32))))
        }
        Scalar::Int { bits: 32, .. } => bits2(r, *a, *b, |x, y| holds(*cmp, x.cmp(&y))),
        Scalar::F32 => bits2(r, *a, *b, |x, y| {
            let flush = |v: f32| if *ftz && v.is_subnormal() { 0.0 } else { v };
            float_holds(*cmp, flush(f32::from_bits(x)) as f64, flush(f32::from_bits(y)) as f64)
        }),
        _ => {
            let mut out = 0;
            for lane in 0..32 {
                let number = |slot| read(*ty, r.row(slot)[lane], || r.wide(slot, lane));
                let hit = match (number(*a), number(*b)) {
                    (Number::Int(x), Number::Int(y)) => holds(*cmp, x.cmp(&y)),
                    (x, y) => float_holds(*cmp, as_f64(x), as_f64(y)),
                };
                out |= (hit as u32) << lane;
            }
            out
        }
    };
    let join = |value: u32| match combine {
        None => value,
        Some((op, c, negated)) => {
            let c = if *negated { !r.pred(*c) } else { r.pred(*c) };
            match op {
                Bool::And => value & c,
                Bool::Or => value | c,
                Bool::Xor => value ^ c,
            }
        }
    };
    let (yes, no) = (join(hits), join(upper.unwrap_or(!hits)));
    if let Some(p) = p {
        r.set_pred(*p, yes, mask);
    }
    if let Some(q) = q {
        r.set_pred(*q, no, mask);
    }
}

#[inline(always)]
fn bits2(r: &Rows, a: u32, b: u32, f: impl Fn(u32, u32) -> bool) -> u32 {
    let (x, y) = (r.row(a), r.row(b));
    (0..32).fold(0, |out, lane| out | (f(x[lane], y[lane]) as u32) << lane)
}

#[inline(always)]
fn holds(cmp: Compare, order: std::cmp::Ordering) -> bool {
    match cmp {
        Compare::Eq | Compare::Equ => order.is_eq(),
        Compare::Ne | Compare::Neu => order.is_ne(),
        Compare::Lt | Compare::Ltu => order.is_lt(),
        Compare::Le | Compare::Leu => order.is_le(),
        Compare::Gt | Compare::Gtu => order.is_gt(),
        Compare::Ge | Compare::Geu => order.is_ge(),
        Compare::Num => true,
        Compare::Nan => false,
    }
}

fn float_holds(cmp: Compare, x: f64, y: f64) -> bool {
    match x.partial_cmp(&y) {
        Some(order) => holds(cmp, order),
        None => matches!(
            cmp,
            Compare::Equ
                | Compare::Neu
                | Compare::Ltu
                | Compare::Leu
                | Compare::Gtu
                | Compare::Geu
                | Compare::Nan
        ),
    }
}

pub fn test_class(r: &mut Rows, mask: u32, p: u32, a: u32, wide: bool, class: TestClass) {
    let mut out = 0;
    for lane in lanes(mask) {
        let v = if wide { f64::from_bits(r.wide(a, lane)) } else { f32::from_bits(r.row(a)[lane]) as f64 };
        let normal = if wide { v.is_normal() } else { f32::from_bits(r.row(a)[lane]).is_normal() };
        let hit = match class {
            TestClass::Finite => v.is_finite(),
            TestClass::Infinite => v.is_infinite(),
            TestClass::Number => !v.is_nan(),
            TestClass::NotANumber => v.is_nan(),
            // The hardware counts zeros as normal.
            TestClass::Normal => normal || v == 0.0,
            TestClass::Subnormal => v.is_finite() && !normal && v != 0.0,
        };
        out |= (hit as u32) << lane;
    }
    r.set_pred(p, out, mask);
}
