//! Operations that move elements without changing them: permute, slice, concat, take.
//!
//! Each is a walk over the result in row-major order; `Merge`, `Split` and `Reshape` change only the shape and need
//! nothing from here.

use super::value::{MAX_RANK, Shape, Val, for_each_row};

/// Applies one function to the array of either kind.
macro_rules! with_array {
    ($value:expr, |$shape:ident, $data:ident| $body:expr) => {
        match $value {
            Val::Floats($shape, $data) => {
                let (out, data) = $body;
                Val::floats(out, data)
            }
            Val::Ints($shape, $data) => {
                let (out, data) = $body;
                Val::ints(out, data)
            }
            scalar => scalar.clone(),
        }
    };
}

/// The elements at `start + Σ stride × position`, row-major over `out`.
pub fn strided<T: Copy>(out: Shape, data: &[T], start: usize, strides: [usize; MAX_RANK]) -> Vec<T> {
    let mut result = Vec::with_capacity(out.count());
    for_each_row(out, [strides, out.strides()], |len, [at, _], [step, _]| {
        let at = start + at;
        match step {
            1 => result.extend_from_slice(&data[at..at + len]),
            _ => result.extend((0..len).map(|n| data[at + n * step])),
        }
    });
    result
}

pub fn permute(x: &Val, order: &[u32]) -> Val {
    with_array!(x, |shape, data| {
        let from = shape.strides();
        let dims: Vec<usize> = order.iter().map(|&o| shape.dim(o as usize)).collect();
        let mut strides = [0; MAX_RANK];
        for (to, &o) in strides.iter_mut().zip(order) {
            *to = from[o as usize];
        }
        let out = Shape::new(&dims);
        (out, strided(out, data, 0, strides))
    })
}

pub fn slice(x: &Val, axis: usize, lo: usize, extent: usize) -> Val {
    with_array!(x, |shape, data| {
        let mut out = *shape;
        out.set(axis, extent);
        let strides = shape.strides();
        (out, strided(out, data, lo * strides[axis], strides))
    })
}

/// `None` when there is nothing to put together.
pub fn concat(parts: &[Val], axis: usize) -> Option<Val> {
    fn join<'a, T: Copy + 'a>(parts: impl Iterator<Item = (Shape, &'a [T])>, axis: usize) -> (Shape, Vec<T>) {
        let parts: Vec<_> = parts.collect();
        let mut out = parts[0].0;
        out.set(axis, parts.iter().map(|(s, _)| s.dim(axis)).sum());
        let (outer, _, inner) = out.around(axis);
        let mut data = Vec::with_capacity(out.count());
        for row in 0..outer {
            for (shape, from) in &parts {
                let len = shape.dim(axis) * inner;
                data.extend_from_slice(&from[row * len..(row + 1) * len]);
            }
        }
        (out, data)
    }
    let first = parts.first()?;
    Some(if first.is_float() {
        let (shape, data) = join(parts.iter().map(|p| (p.shape(), p.float_slice())), axis);
        Val::floats(shape, data)
    } else {
        let (shape, data) = join(parts.iter().map(|p| (p.shape(), p.int_slice())), axis);
        Val::ints(shape, data)
    })
}

/// The elements at `index` along an axis; `Err` with an index that is outside.
pub fn take(x: &Val, index: &[i64], axis: usize) -> Result<Val, i64> {
    let extent = x.shape().dim(axis);
    if let Some(&outside) = index.iter().find(|&&i| i < -1 || i >= extent as i64) {
        return Err(outside);
    }
    Ok(with_array!(x, |shape, data| {
        let mut out = *shape;
        out.set(axis, index.len());
        let (outer, along, inner) = shape.around(axis);
        let mut result = Vec::with_capacity(out.count());
        for row in 0..outer {
            for &i in index {
                match usize::try_from(i) {
                    Ok(i) => {
                        let at = (row * along + i) * inner;
                        result.extend_from_slice(&data[at..at + inner]);
                    }
                    Err(_) => result.resize(result.len() + inner, Default::default()),
                }
            }
        }
        (out, result)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(dims: &[usize]) -> Val {
        let shape = Shape::new(dims);
        Val::floats(shape, (0..shape.count()).map(|x| x as f64).collect())
    }

    #[test]
    fn permuting_there_and_back_is_nothing() {
        let x = tile(&[2, 3, 4]);
        let there = permute(&x, &[2, 0, 1]);
        assert_eq!(there.shape(), Shape::new(&[4, 2, 3]));
        assert_eq!(there.float_slice()[1], 4.0);
        assert_eq!(permute(&there, &[1, 2, 0]).float_slice(), x.float_slice());
    }

    #[test]
    fn slices_put_together_are_the_whole() {
        let x = tile(&[2, 5, 3]);
        let parts = [slice(&x, 1, 0, 2), slice(&x, 1, 2, 3)];
        assert_eq!(parts[0].float_slice()[6..9], [15.0, 16.0, 17.0]);
        assert_eq!(concat(&parts, 1).unwrap().float_slice(), x.float_slice());
    }

    #[test]
    fn taking_checks_its_indices() {
        let x = tile(&[3, 2]);
        assert_eq!(take(&x, &[2, 0], 0).unwrap().float_slice(), [4.0, 5.0, 0.0, 1.0]);
        assert_eq!(take(&x, &[1], 1).unwrap().shape(), Shape::new(&[3, 1]));
        assert_eq!(take(&x, &[0, 3], 0).unwrap_err(), 3);
        assert_eq!(take(&x, &[2, -2], 0).unwrap_err(), -2);
        assert_eq!(take(&x, &[-1, 1], 0).unwrap().float_slice(), [0.0, 0.0, 2.0, 3.0]);
    }
}
