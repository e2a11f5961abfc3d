//! `Dot`: batch axes, free axes of either side, one contracted axis.
//!
//! Each side becomes `[batch, free, k]` by strides alone where its free axes are adjacent (a transposed operand costs
//! nothing), else by one copy. Floats accumulate in f64 whatever the accumulator's dtype and are rounded once by the
//! caller: closer to the real sum than any device, which is what a reference is for. Integers accumulate in i128.

use super::{
    number::fits,
    rearrange,
    value::{Shape, Val},
};
use tile_base::DType;
use tile_graph::DotAxes;

/// One side as a batch of matrices `[free, k]`.
struct Side {
    value: Val,
    /// Extents of the batch axes, and their strides (0 where one matrix serves all).
    batch: Vec<(usize, usize)>,
    free: usize,
    free_stride: usize,
    k: usize,
    k_stride: usize,
    free_dims: Vec<usize>,
}

fn side(value: Val, batch: &[u32], k: u32) -> Side {
    let shape = value.shape();
    let free: Vec<usize> =
        (0..shape.rank()).filter(|&a| a != k as usize && !batch.contains(&(a as u32))).collect();
    let strides = shape.strides();
    let adjacent = free.windows(2).all(|w| strides[w[0]] == strides[w[1]] * shape.dim(w[1]));
    if !adjacent {
        let order: Vec<u32> =
            batch.iter().copied().chain(free.iter().map(|&f| f as u32)).chain([k]).collect();
        let at_front: Vec<u32> = (0..batch.len() as u32).collect();
        return side(rearrange::permute(&value, &order), &at_front, shape.rank() as u32 - 1);
    }
    let stretching = shape.stretching_strides();
    Side {
        batch: batch.iter().map(|&b| (shape.dim(b as usize), stretching[b as usize])).collect(),
        free: free.iter().map(|&f| shape.dim(f)).product(),
        free_stride: free.last().map_or(0, |&f| strides[f]),
        k: shape.dim(k as usize),
        k_stride: strides[k as usize],
        free_dims: free.iter().map(|&f| shape.dim(f)).collect(),
        value,
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DotFault {
    Overflow,
    /// The contracted or batch extents differ.
    Shapes,
}

pub fn dot(lhs: Val, rhs: Val, axes: &DotAxes, accumulator: DType) -> Result<Val, DotFault> {
    let l = side(lhs, &axes.lhs_batch, axes.lhs_k);
    let r = side(rhs, &axes.rhs_batch, axes.rhs_k);
    let mut dims = vec![];
    for (&(a, _), &(b, _)) in l.batch.iter().zip(&r.batch) {
        if a != b && a != 1 && b != 1 {
            return Err(DotFault::Shapes);
        }
        dims.push(if a == 1 { b } else { a });
    }
    if l.k != r.k {
        return Err(DotFault::Shapes);
    }
    let batch = Shape::new(&dims);
    dims.extend(l.free_dims.iter().chain(&r.free_dims));
    let out = Shape::new(&dims);
    let offsets: Vec<(usize, usize)> = (0..batch.count())
        .map(|n| {
            let at = batch.unravel(n);
            let offset = |s: &Side| at.iter().zip(&s.batch).map(|(i, (_, stride))| i * stride).sum();
            (offset(&l), offset(&r))
        })
        .collect();
    if l.value.is_float() {
        Ok(Val::floats(out, float(&l, &r, &offsets)))
    } else {
        Ok(Val::ints(out, int(&l, &r, &offsets, accumulator)?))
    }
}

fn float(l: &Side, r: &Side, offsets: &[(usize, usize)]) -> Vec<f64> {
    let (m, n, k) = (l.free, r.free, l.k);
    let mut out = vec![0.0; offsets.len() * m * n];
    if m * n * k == 0 {
        return out;
    }
    for (&(i, j), c) in offsets.iter().zip(out.chunks_exact_mut(m * n)) {
        let (a, b) = (&l.value.float_slice()[i..], &r.value.float_slice()[j..]);
        if m * n * k < 2048 {
            small(l, r, a, b, c);
            continue;
        }
        // SAFETY: `c` is m × n row-major; `side` made the strides from the shape of the array, so every
        // `free × free_stride + k × k_stride` lies inside `a` and `b`; `c` is its own allocation.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                c.as_mut_ptr(),
                1,
                n as isize,
                false,
                a.as_ptr(),
                l.k_stride as isize,
                l.free_stride as isize,
                b.as_ptr(),
                r.free_stride as isize,
                r.k_stride as isize,
                0.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    }
    out
}

fn small(l: &Side, r: &Side, a: &[f64], b: &[f64], c: &mut [f64]) {
    for (i, row) in c.chunks_exact_mut(r.free).enumerate() {
        for k in 0..l.k {
            let x = a[i * l.free_stride + k * l.k_stride];
            let from = k * r.k_stride;
            for (j, c) in row.iter_mut().enumerate() {
                *c += x * b[from + j * r.free_stride];
            }
        }
    }
}

fn int(l: &Side, r: &Side, offsets: &[(usize, usize)], accumulator: DType) -> Result<Vec<i64>, DotFault> {
    let (a, b) = (l.value.int_slice(), r.value.int_slice());
    let mut out = Vec::with_capacity(offsets.len() * l.free * r.free);
    for &(x, y) in offsets {
        for i in 0..l.free {
            for j in 0..r.free {
                let (x, y) = (x + i * l.free_stride, y + j * r.free_stride);
                let sum: i128 =
                    (0..l.k).map(|k| a[x + k * l.k_stride] as i128 * b[y + k * r.k_stride] as i128).sum();
                let sum = i64::try_from(sum).map_err(|_| DotFault::Overflow)?;
                if !fits(accumulator, sum) {
                    return Err(DotFault::Overflow);
                }
                out.push(sum);
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(dims: &[usize], f: impl Fn(usize) -> f64) -> Val {
        let shape = Shape::new(dims);
        Val::floats(shape, (0..shape.count()).map(f).collect())
    }

    fn axes(lhs_batch: &[u32], rhs_batch: &[u32], lhs_k: u32, rhs_k: u32) -> DotAxes {
        DotAxes { lhs_batch: lhs_batch.to_vec(), rhs_batch: rhs_batch.to_vec(), lhs_k, rhs_k }
    }

    #[test]
    fn a_large_dot_agrees_with_a_small_one_summed_by_hand() {
        let (m, n, k) = (13, 17, 19);
        let a = tile(&[m, k], |x| ((x * 7) % 11) as f64);
        let b = tile(&[n, k], |x| ((x * 5) % 13) as f64);
        let c = dot(a.clone(), b.clone(), &axes(&[], &[], 1, 1), DType::F32).unwrap();
        for i in 0..m {
            for j in 0..n {
                let wanted: f64 =
                    (0..k).map(|s| a.float_slice()[i * k + s] * b.float_slice()[j * k + s]).sum();
                assert_eq!(c.float_slice()[i * n + j], wanted);
            }
        }
    }

    #[test]
    fn batches_and_free_axes_on_both_sides_of_k() {
        // lhs [free 2, k 3, free 2, batch 2], rhs [batch 2, k 3, free 1]
        let a = tile(&[2, 3, 2, 2], |x| x as f64);
        let b = tile(&[2, 3, 1], |x| (x + 1) as f64);
        let c = dot(a.clone(), b.clone(), &axes(&[3], &[0], 1, 1), DType::F32).unwrap();
        assert_eq!(c.shape(), Shape::new(&[2, 2, 2, 1]));
        let at = |p: usize, s: usize, q: usize, n: usize| a.float_slice()[((p * 3 + s) * 2 + q) * 2 + n];
        for (n, p, q) in [(0, 0, 0), (1, 0, 1), (1, 1, 0)] {
            let wanted: f64 = (0..3).map(|s| at(p, s, q, n) * b.float_slice()[n * 3 + s]).sum();
            assert_eq!(c.float_slice()[(n * 2 + p) * 2 + q], wanted);
        }
    }

    #[test]
    fn nothing_contracted_is_zero() {
        let c = dot(tile(&[2, 0], |_| 0.0), tile(&[0, 3], |_| 0.0), &DotAxes::matrix(), DType::F32).unwrap();
        assert_eq!(c.float_slice(), [0.0; 6]);
    }

    #[test]
    fn integer_dots_do_not_wrap() {
        let big = Val::ints(Shape::new(&[1, 2]), vec![i32::MAX as i64; 2]);
        let two = Val::ints(Shape::new(&[2, 1]), vec![1; 2]);
        assert_eq!(dot(big, two, &DotAxes::matrix(), DType::I32).unwrap_err(), DotFault::Overflow);
    }
}
