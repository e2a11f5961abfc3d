//! Values of the evaluator: scalars without allocation, tiles as dense row-major arrays of *existing* elements.
//!
//! A tile of type `f32[i, 64]` whose span `i` covers 13 positions is an array of 13 × 64 numbers: the elements past
//! the end have no place to be. Floats of every dtype are kept as `f64`, integers, indices and bools as `i64`; the
//! dtype itself stays in the graph.
//!
//! Invariants: a shape of no axes is always a scalar variant; the length of a tile's array is its shape's count.
//! Arrays are shared by `Arc`, so copying a value, or giving it another shape, copies no elements.

use std::sync::Arc;

/// The most axes that a tile may have here.
pub const MAX_RANK: usize = 8;

/// Extents of a tile, row-major.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Shape {
    rank: u8,
    dims: [u32; MAX_RANK],
}

impl Shape {
    pub const SCALAR: Shape = Shape { rank: 0, dims: [0; MAX_RANK] };

    pub fn new(dims: &[usize]) -> Shape {
        let mut shape = Shape { rank: dims.len() as u8, dims: [0; MAX_RANK] };
        for (to, &from) in shape.dims.iter_mut().zip(dims) {
            *to = from as u32;
        }
        shape
    }

    pub fn rank(&self) -> usize {
        self.rank as usize
    }

    pub fn dims(&self) -> &[u32] {
        &self.dims[..self.rank as usize]
    }

    pub fn dim(&self, axis: usize) -> usize {
        self.dims()[axis] as usize
    }

    pub fn set(&mut self, axis: usize, extent: usize) {
        self.dims[..self.rank as usize][axis] = extent as u32;
    }

    pub fn count(&self) -> usize {
        self.dims().iter().map(|&d| d as usize).product()
    }

    /// Elements before, along and after an axis: the tile seen as `[outer, along, inner]`.
    pub fn around(&self, axis: usize) -> (usize, usize, usize) {
        let product = |d: &[u32]| d.iter().map(|&x| x as usize).product();
        (product(&self.dims()[..axis]), self.dim(axis), product(&self.dims()[axis + 1..]))
    }

    /// Row-major strides, 0 along axes of extent 1 so that they stretch.
    pub fn stretching_strides(&self) -> [usize; MAX_RANK] {
        let mut strides = self.strides();
        for (stride, &dim) in strides.iter_mut().zip(self.dims()) {
            if dim == 1 {
                *stride = 0;
            }
        }
        strides
    }

    pub fn strides(&self) -> [usize; MAX_RANK] {
        let mut strides = [0; MAX_RANK];
        let mut step = 1;
        for axis in (0..self.rank()).rev() {
            strides[axis] = step;
            step *= self.dim(axis);
        }
        strides
    }

    /// Coordinates of a linear position.
    pub fn unravel(&self, mut linear: usize) -> Vec<usize> {
        let mut at = vec![0; self.rank()];
        for axis in (0..self.rank()).rev() {
            let extent = self.dim(axis).max(1);
            at[axis] = linear % extent;
            linear /= extent;
        }
        at
    }

    /// The shape of an elementwise result: extents of 1 stretch; `None` when two others differ.
    pub fn stretched(self, other: Shape) -> Option<Shape> {
        if self.rank == 0 || other.rank == 0 {
            return Some(if self.rank == 0 { other } else { self });
        }
        if self.rank != other.rank {
            return None;
        }
        let mut out = self;
        for axis in 0..self.rank() {
            match (self.dims[axis], other.dims[axis]) {
                (a, b) if a == b => {}
                (1, b) => out.dims[axis] = b,
                (_, 1) => {}
                _ => return None,
            }
        }
        Some(out)
    }
}

#[derive(Clone, Debug, Default)]
pub enum Val {
    /// Not computed yet (or a tile of a loop that is over).
    #[default]
    Unset,
    Int(i64),
    Float(f64),
    Ints(Shape, Arc<Vec<i64>>),
    Floats(Shape, Arc<Vec<f64>>),
}

impl Val {
    pub fn ints(shape: Shape, data: Vec<i64>) -> Val {
        match (shape.rank(), &data[..]) {
            (0, &[x]) => Val::Int(x),
            _ => Val::Ints(shape, Arc::new(data)),
        }
    }

    pub fn floats(shape: Shape, data: Vec<f64>) -> Val {
        match (shape.rank(), &data[..]) {
            (0, &[x]) => Val::Float(x),
            _ => Val::Floats(shape, Arc::new(data)),
        }
    }

    pub fn bool(b: bool) -> Val {
        Val::Int(b as i64)
    }

    pub fn shape(&self) -> Shape {
        match self {
            Val::Ints(s, _) | Val::Floats(s, _) => *s,
            _ => Shape::SCALAR,
        }
    }

    pub fn is_float(&self) -> bool {
        matches!(self, Val::Float(_) | Val::Floats(..))
    }

    /// The elements of a float value, a scalar as one element; empty for an integer.
    pub fn float_slice(&self) -> &[f64] {
        match self {
            Val::Float(x) => std::slice::from_ref(x),
            Val::Floats(_, d) => d,
            _ => &[],
        }
    }

    pub fn int_slice(&self) -> &[i64] {
        match self {
            Val::Int(x) => std::slice::from_ref(x),
            Val::Ints(_, d) => d,
            _ => &[],
        }
    }

    /// The same elements under another shape of the same count.
    pub fn reshaped(self, shape: Shape) -> Val {
        match self {
            Val::Floats(_, d) if shape.rank() == 0 => d.first().map_or(Val::Unset, |&x| Val::Float(x)),
            Val::Ints(_, d) if shape.rank() == 0 => d.first().map_or(Val::Unset, |&x| Val::Int(x)),
            Val::Floats(_, d) => Val::Floats(shape, d),
            Val::Ints(_, d) => Val::Ints(shape, d),
            Val::Float(x) if shape.rank() > 0 => Val::Floats(shape, Arc::new(vec![x])),
            Val::Int(x) if shape.rank() > 0 => Val::Ints(shape, Arc::new(vec![x])),
            scalar => scalar,
        }
    }

    /// Element `at` as a number for messages.
    pub fn show(&self, at: usize) -> String {
        match self {
            Val::Unset => "nothing".into(),
            v if v.is_float() => v.float_slice().get(at).map_or("nothing".into(), |x| format!("{x:?}")),
            v => v.int_slice().get(at).map_or("nothing".into(), |x| x.to_string()),
        }
    }
}

/// Walks several row-major arrays in step over one output shape, a row at a time: `row(len, offsets, steps)` gets
/// where each operand's row starts and how far it moves per element (0 where it stretches). Axes that every operand
/// passes through contiguously are joined first, so equal shapes are one row.
pub fn for_each_row<const N: usize>(
    shape: Shape,
    strides: [[usize; MAX_RANK]; N],
    mut row: impl FnMut(usize, [usize; N], [usize; N]),
) {
    // Joined axes, innermost first: extent and the operands' strides.
    let mut axes: Vec<(usize, [usize; N])> = Vec::with_capacity(MAX_RANK);
    for axis in (0..shape.rank()).rev() {
        let extent = shape.dim(axis);
        if extent == 0 {
            return;
        }
        if extent == 1 {
            continue;
        }
        let here: [usize; N] = std::array::from_fn(|n| strides[n][axis]);
        match axes.last_mut() {
            Some((inner, steps)) if (0..N).all(|n| here[n] == steps[n] * *inner) => *inner *= extent,
            _ => axes.push((extent, here)),
        }
    }
    let (len, steps) = axes.first().copied().unwrap_or((1, [0; N]));
    let outer = axes.get(1..).unwrap_or(&[]);
    let mut at = [0usize; MAX_RANK];
    let mut offsets = [0usize; N];
    'rows: loop {
        row(len, offsets, steps);
        for (count, (extent, step)) in at.iter_mut().zip(outer) {
            *count += 1;
            for n in 0..N {
                offsets[n] += step[n];
            }
            if *count < *extent {
                continue 'rows;
            }
            for n in 0..N {
                offsets[n] -= step[n] * extent;
            }
            *count = 0;
        }
        return;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_shapes_are_one_row_and_a_column_stretches_row_by_row() {
        let (a, column) = (Shape::new(&[3, 4]), Shape::new(&[3, 1]));
        let mut rows = vec![];
        for_each_row(a, [a.stretching_strides(); 2], |len, at, _| rows.push((len, at)));
        assert_eq!(rows, [(12, [0, 0])]);
        rows.clear();
        for_each_row(a, [a.stretching_strides(), column.stretching_strides()], |len, at, step| {
            assert_eq!(step, [1, 0]);
            rows.push((len, at));
        });
        assert_eq!(rows, [(4, [0, 0]), (4, [4, 1]), (4, [8, 2])]);
    }

    #[test]
    fn no_elements_give_no_rows() {
        let empty = Shape::new(&[3, 0]);
        for_each_row(empty, [empty.stretching_strides()], |_, _, _| panic!("there is no row"));
        assert_eq!(empty.stretched(Shape::new(&[1, 1])), Some(empty));
    }
}
