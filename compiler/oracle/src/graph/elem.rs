//! Elementwise operations: `Elem`, `Cast`, `Broadcast`.
//!
//! The result's shape is that of the operands stretched over each other, not the declared one, so a scalar function
//! (a combiner region, say) can be run on whole tiles at once. Loops are monomorphised per operation and per way of
//! stretching, which is what makes them quick.

use super::{
    number::{self, IntFault},
    value::{Shape, Val, for_each_row},
};
use std::sync::Arc;
use tile_base::DType;
use tile_graph::ElemOp;

/// What went wrong in an elementwise operation.
#[derive(Clone, PartialEq, Debug)]
pub enum ElemFault {
    /// The operands that have no result.
    Int { fault: IntFault, a: i64, b: i64 },
    /// Extents that do not stretch over each other.
    Shapes(Shape, Shape),
    /// An operation that values of this kind do not have.
    Kind,
}

type Result<T> = std::result::Result<T, ElemFault>;

fn stretched(a: &Val, b: &Val) -> Result<Shape> {
    a.shape().stretched(b.shape()).ok_or(ElemFault::Shapes(a.shape(), b.shape()))
}

/// `f` over every element of one array, in place when nobody else holds it.
fn map1(shape: Shape, data: Arc<Vec<f64>>, f: impl Fn(f64) -> f64) -> Val {
    match Arc::try_unwrap(data) {
        Ok(mut own) => {
            own.iter_mut().for_each(|x| *x = f(*x));
            Val::floats(shape, own)
        }
        Err(shared) => Val::floats(shape, shared.iter().map(|&x| f(x)).collect()),
    }
}

/// `f` over pairs of elements of two arrays that stretch over each other.
fn map2<A: Copy, B: Copy, R>(
    out: Shape,
    (a_shape, a): (Shape, &[A]),
    (b_shape, b): (Shape, &[B]),
    mut f: impl FnMut(A, B) -> R,
) -> Vec<R> {
    let mut result = Vec::with_capacity(out.count());
    let strides = [a_shape.stretching_strides(), b_shape.stretching_strides()];
    for_each_row(out, strides, |len, [i, j], step| match step {
        [1, 1] => result.extend(a[i..i + len].iter().zip(&b[j..j + len]).map(|(&x, &y)| f(x, y))),
        [1, 0] => {
            let y = b[j];
            result.extend(a[i..i + len].iter().map(|&x| f(x, y)));
        }
        [0, 1] => {
            let x = a[i];
            result.extend(b[j..j + len].iter().map(|&y| f(x, y)));
        }
        [p, q] => result.extend((0..len).map(|n| f(a[i + n * p], b[j + n * q]))),
    });
    result
}

/// As [`map2`] for floats, writing over an operand that has the result's shape and that nobody else holds.
fn float2(a: Val, b: Val, f: impl Fn(f64, f64) -> f64) -> Result<Val> {
    let out = stretched(&a, &b)?;
    let (a, b) = match (a, b) {
        (Val::Floats(shape, mut own), b) if shape == out => {
            if let Some(data) = Arc::get_mut(&mut own)
                && (b.shape().rank() == 0 || b.shape() == out)
            {
                match &b {
                    Val::Float(y) => data.iter_mut().for_each(|x| *x = f(*x, *y)),
                    b => data.iter_mut().zip(b.float_slice()).for_each(|(x, &y)| *x = f(*x, y)),
                }
                return Ok(Val::Floats(shape, own));
            }
            (Val::Floats(shape, own), b)
        }
        pair => pair,
    };
    Ok(Val::floats(out, map2(out, (a.shape(), a.float_slice()), (b.shape(), b.float_slice()), f)))
}

fn compare(a: &Val, b: &Val, f: impl Fn(f64, f64) -> bool) -> Result<Val> {
    let out = stretched(a, b)?;
    let pairs = map2(out, (a.shape(), a.float_slice()), (b.shape(), b.float_slice()), |x, y| f(x, y) as i64);
    Ok(Val::ints(out, pairs))
}

fn int1(op: ElemOp, dtype: DType, a: &Val) -> Result<Val> {
    let one =
        |&x: &i64| number::int_op(op, dtype, x, 0).map_err(|fault| ElemFault::Int { fault, a: x, b: 0 });
    match a {
        Val::Int(x) => one(x).map(Val::Int),
        Val::Ints(shape, d) => Ok(Val::ints(*shape, d.iter().map(one).collect::<Result<_>>()?)),
        _ => Err(ElemFault::Kind),
    }
}

fn int2(op: ElemOp, dtype: DType, a: &Val, b: &Val) -> Result<Val> {
    let failed = |fault, a, b| ElemFault::Int { fault, a, b };
    if let (&Val::Int(x), &Val::Int(y)) = (a, b) {
        return number::int_op(op, dtype, x, y).map(Val::Int).map_err(|fault| failed(fault, x, y));
    }
    let out = stretched(a, b)?;
    let (x, y) = ((a.shape(), a.int_slice()), (b.shape(), b.int_slice()));
    // Comparisons and logic cannot fail and are what masks are made of: their own loops.
    let quick = match op {
        ElemOp::Eq => map2(out, x, y, |a, b| (a == b) as i64),
        ElemOp::Ne => map2(out, x, y, |a, b| (a != b) as i64),
        ElemOp::Lt => map2(out, x, y, |a, b| (a < b) as i64),
        ElemOp::Le => map2(out, x, y, |a, b| (a <= b) as i64),
        ElemOp::Gt => map2(out, x, y, |a, b| (a > b) as i64),
        ElemOp::Ge => map2(out, x, y, |a, b| (a >= b) as i64),
        ElemOp::And => map2(out, x, y, |a, b| a & b),
        ElemOp::Or => map2(out, x, y, |a, b| a | b),
        _ => {
            let mut first = None;
            let all = map2(out, x, y, |a, b| {
                number::int_op(op, dtype, a, b).unwrap_or_else(|fault| {
                    first.get_or_insert(failed(fault, a, b));
                    0
                })
            });
            first.map_or(Ok(all), Err)?
        }
    };
    Ok(Val::ints(out, quick))
}

fn float_binary(op: ElemOp, a: Val, b: Val) -> Result<Val> {
    use ElemOp::*;
    match op {
        Add => float2(a, b, |x, y| x + y),
        Sub => float2(a, b, |x, y| x - y),
        Mul => float2(a, b, |x, y| x * y),
        Div => float2(a, b, |x, y| x / y),
        Rem => float2(a, b, number::float_rem),
        Max => float2(a, b, number::max_number),
        Min => float2(a, b, number::min_number),
        Pow => float2(a, b, f64::powf),
        Eq => compare(&a, &b, |x, y| x == y),
        Ne => compare(&a, &b, |x, y| x != y),
        Lt => compare(&a, &b, |x, y| x < y),
        Le => compare(&a, &b, |x, y| x <= y),
        Gt => compare(&a, &b, |x, y| x > y),
        Ge => compare(&a, &b, |x, y| x >= y),
        _ => Err(ElemFault::Kind),
    }
}

fn float_unary(op: ElemOp, a: Val) -> Result<Val> {
    if op == ElemOp::IsNan {
        let bits = a.float_slice().iter().map(|x| x.is_nan() as i64).collect();
        return Ok(Val::ints(a.shape(), bits));
    }
    let f = number::float_unary(op).ok_or(ElemFault::Kind)?;
    match (op, a) {
        (_, Val::Float(x)) => Ok(Val::Float(f(x))),
        (ElemOp::Exp2, Val::Floats(s, d)) => Ok(map1(s, d, f64::exp2)),
        (ElemOp::Neg, Val::Floats(s, d)) => Ok(map1(s, d, |x| -x)),
        (_, Val::Floats(s, d)) => Ok(map1(s, d, f)),
        _ => Err(ElemFault::Kind),
    }
}

fn select(condition: &Val, a: &Val, b: &Val) -> Result<Val> {
    if let Val::Int(c) = condition
        && a.shape() == b.shape()
    {
        return Ok(if *c != 0 { a.clone() } else { b.clone() });
    }
    let out = stretched(a, b)?;
    let out = condition.shape().stretched(out).ok_or(ElemFault::Shapes(condition.shape(), out))?;
    let strides = [condition, a, b].map(|v| v.shape().stretching_strides());
    fn pick<T: Copy>(out: Shape, strides: [[usize; 8]; 3], c: &[i64], a: &[T], b: &[T]) -> Vec<T> {
        let mut result = Vec::with_capacity(out.count());
        for_each_row(out, strides, |len, [i, j, k], [p, q, r]| {
            result.extend((0..len).map(|n| if c[i + n * p] != 0 { a[j + n * q] } else { b[k + n * r] }));
        });
        result
    }
    let c = condition.int_slice();
    match (a.is_float(), b.is_float()) {
        (true, true) => Ok(Val::floats(out, pick(out, strides, c, a.float_slice(), b.float_slice()))),
        (false, false) => Ok(Val::ints(out, pick(out, strides, c, a.int_slice(), b.int_slice()))),
        _ => Err(ElemFault::Kind),
    }
}

/// Evaluates an elementwise operation without rounding; `dtype` is the operands' (not the condition's).
pub fn evaluate(op: ElemOp, dtype: DType, mut operands: impl Iterator<Item = Val>) -> Result<Val> {
    let mut next = || operands.next().ok_or(ElemFault::Kind);
    let a = next()?;
    match op.arity() {
        1 if a.is_float() => float_unary(op, a),
        1 => int1(op, dtype, &a),
        2 => match (a, next()?) {
            (Val::Float(x), Val::Float(y)) => float_binary_scalar(op, x, y),
            (a, b) if a.is_float() && b.is_float() => float_binary(op, a, b),
            (a, b) if !a.is_float() && !b.is_float() => int2(op, dtype, &a, &b),
            _ => Err(ElemFault::Kind),
        },
        _ => select(&a, &next()?, &next()?),
    }
}

fn float_binary_scalar(op: ElemOp, x: f64, y: f64) -> Result<Val> {
    use ElemOp::*;
    Ok(match op {
        Add => Val::Float(x + y),
        Sub => Val::Float(x - y),
        Mul => Val::Float(x * y),
        Div => Val::Float(x / y),
        _ => return float_binary(op, Val::Float(x), Val::Float(y)),
    })
}

/// `.to(dtype)` without the rounding of floats, which the caller does when it rounds at all.
pub fn cast(to: DType, x: Val) -> Val {
    let to_float = to.is_float();
    match x {
        Val::Float(v) if !to_float => Val::Int(number::float_to_int(to, v)),
        Val::Int(v) if to_float => Val::Float(v as f64),
        Val::Int(v) => Val::Int(number::int_to_int(to, v)),
        Val::Floats(s, d) if !to_float => {
            Val::ints(s, d.iter().map(|&v| number::float_to_int(to, v)).collect())
        }
        Val::Ints(s, d) if to_float => Val::floats(s, d.iter().map(|&v| v as f64).collect()),
        Val::Ints(s, d) => Val::ints(s, d.iter().map(|&v| number::int_to_int(to, v)).collect()),
        float => float,
    }
}

/// Stretches a scalar or a tile to a shape.
pub fn broadcast(x: &Val, out: Shape) -> Result<Val> {
    if x.shape() == out {
        return Ok(x.clone());
    }
    if x.shape().stretched(out) != Some(out) {
        return Err(ElemFault::Shapes(x.shape(), out));
    }
    fn fill<T: Copy>(out: Shape, from: Shape, data: &[T]) -> Vec<T> {
        let mut result = Vec::with_capacity(out.count());
        // The result takes part in the walk, so that its rows are never longer than what is copied at once.
        for_each_row(out, [from.stretching_strides(), out.strides()], |len, [i, _], [step, _]| match step {
            0 => result.extend(std::iter::repeat_n(data[i], len)),
            _ => result.extend((0..len).map(|n| data[i + n * step])),
        });
        result
    }
    Ok(match x {
        Val::Float(v) => Val::floats(out, vec![*v; out.count()]),
        Val::Int(v) => Val::ints(out, vec![*v; out.count()]),
        Val::Floats(s, d) => Val::floats(out, fill(out, *s, d)),
        Val::Ints(s, d) => Val::ints(out, fill(out, *s, d)),
        Val::Unset => Val::Unset,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(dims: &[usize], data: &[f64]) -> Val {
        Val::floats(Shape::new(dims), data.to_vec())
    }

    #[test]
    fn a_column_and_a_row_stretch() {
        let (column, row) = (tile(&[2, 1], &[1.0, 2.0]), tile(&[1, 3], &[10.0, 20.0, 30.0]));
        let sum = evaluate(ElemOp::Add, DType::F32, [column.clone(), row].into_iter()).unwrap();
        assert_eq!(sum.float_slice(), [11.0, 21.0, 31.0, 12.0, 22.0, 32.0]);
        let less = evaluate(ElemOp::Lt, DType::F32, [sum, Val::Float(20.0)].into_iter()).unwrap();
        assert_eq!(less.int_slice(), [1, 0, 0, 1, 0, 0]);
        let picked =
            evaluate(ElemOp::Select, DType::F32, [less, column, Val::Float(0.0)].into_iter()).unwrap();
        assert_eq!(picked.float_slice(), [1.0, 0.0, 0.0, 2.0, 0.0, 0.0]);
    }

    #[test]
    fn an_array_that_others_hold_is_not_written_over() {
        let a = tile(&[2], &[1.0, 2.0]);
        let doubled = evaluate(ElemOp::Add, DType::F32, [a.clone(), a.clone()].into_iter()).unwrap();
        assert_eq!((doubled.float_slice(), a.float_slice()), (&[2.0, 4.0][..], &[1.0, 2.0][..]));
    }

    #[test]
    fn overflow_names_the_operands() {
        let a = Val::ints(Shape::new(&[2]), vec![1, 127]);
        let fault = evaluate(ElemOp::Add, DType::I8, [a, Val::Int(1)].into_iter()).unwrap_err();
        assert_eq!(fault, ElemFault::Int { fault: IntFault::Overflow, a: 127, b: 1 });
    }

    #[test]
    fn broadcasting_repeats_along_the_axes_of_extent_one() {
        let b = broadcast(&tile(&[2, 1], &[1.0, 2.0]), Shape::new(&[2, 2])).unwrap();
        assert_eq!(b.float_slice(), [1.0, 1.0, 2.0, 2.0]);
        let b = broadcast(&tile(&[1, 2], &[1.0, 2.0]), Shape::new(&[2, 2])).unwrap();
        assert_eq!(b.float_slice(), [1.0, 2.0, 1.0, 2.0]);
    }
}
