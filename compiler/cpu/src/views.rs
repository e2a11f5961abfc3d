//! Parts of tensors as launches get them, and what has to hold of them.

use crate::runtime::{MAX_RANK, ObjectRecord};
use tile_base::{DType, Diagnostic, IndexKind, Signature, Size, TensorParam, signature::ParamKind};
use tile_graph::Graph;
use tile_tensor::{Scalar, Tensor};

/// A rectangular part of a parameter or a temporary.
#[derive(Clone)]
pub struct View {
    /// Which parameter or temporary.
    buffer: usize,
    ptr: *mut u8,
    /// In elements; only for elements smaller than a byte, else in `ptr`.
    offset: i64,
    pub dtype: DType,
    pub shape: Vec<usize>,
    strides: Vec<i64>,
    /// Which dimension of the buffer each axis is, and what is covered of each of its dimensions.
    axes: Vec<usize>,
    extent: Vec<(usize, usize)>,
}

/// What a launch's parameter is given.
#[derive(Clone)]
pub enum Given {
    View(View),
    Scalar(Scalar),
    Absent,
}

impl View {
    /// A whole tensor. It has to outlive the view, and to be written only if `write`.
    pub fn of(buffer: usize, tensor: &mut Tensor, write: bool) -> View {
        let small = tensor.dtype.bits() < 8;
        let start = if write { tensor.bytes_mut().as_mut_ptr() } else { tensor.bytes().as_ptr() as *mut u8 };
        let offset = tensor.offset() as i64;
        let (ptr, offset) = match small {
            true => (start, offset),
            false => (start.wrapping_offset(offset as isize * tensor.dtype.bits() as isize / 8), 0),
        };
        View {
            buffer,
            ptr,
            offset,
            dtype: tensor.dtype,
            shape: tensor.shape.clone(),
            strides: tensor.strides.clone(),
            axes: (0..tensor.rank()).collect(),
            extent: tensor.shape.iter().map(|&e| (0, e)).collect(),
        }
    }

    /// For each axis `lo..hi`, and whether the axis stays. The ranges lie inside.
    pub fn part(self, ranges: &[(usize, usize, bool)]) -> View {
        let mut out = View { shape: vec![], strides: vec![], axes: vec![], ..self.clone() };
        for (axis, &(lo, hi, kept)) in ranges.iter().enumerate() {
            let moved = lo as i64 * self.strides[axis];
            match self.dtype.bits() {
                8.. => out.ptr = out.ptr.wrapping_offset((moved * self.dtype.bits() as i64 / 8) as isize),
                _ => out.offset += moved,
            }
            if kept {
                out.shape.push(hi - lo);
                out.strides.push(self.strides[axis]);
                out.axes.push(self.axes[axis]);
            }
            let covered = &mut out.extent[self.axes[axis]];
            *covered = (covered.0 + lo, covered.0 + hi);
        }
        out
    }

    /// Whether neighbours along the last axis are neighbours in memory.
    pub fn unit(&self) -> bool {
        self.strides.last().is_none_or(|&s| s == 1) || self.shape.last().is_some_and(|&n| n <= 1)
    }

    /// The record; axes that the tensor has not have one element.
    pub fn record(&self) -> ObjectRecord {
        let mut record = ObjectRecord {
            ptr: self.ptr,
            offset: self.offset,
            dims: [1; MAX_RANK],
            strides: [0; MAX_RANK],
            dtype: self.dtype,
            least: i64::MIN,
            greatest: i64::MAX,
        };
        for (d, (&n, &s)) in self.shape.iter().zip(&self.strides).enumerate() {
            record.dims[d] = n as i64;
            record.strides[d] = s;
        }
        record
    }

    fn overlaps(&self, other: &View) -> bool {
        self.buffer == other.buffer
            && self.extent.iter().zip(&other.extent).all(|(a, b)| a.0 < b.1 && b.0 < a.1)
    }
}

/// The values that an element of an index tensor may have (language rule 12).
pub fn limits(kind: &IndexKind, dims: &dyn Fn(&str) -> Option<i64>) -> Option<(i64, i64)> {
    let of = |n: &Size| n.eval(dims).ok();
    Some(match kind {
        IndexKind::Id(n) => (0, of(n)? - 1),
        IndexKind::IdOrNone(n) => (-1, of(n)? - 1),
        IndexKind::Count(n) | IndexKind::Offsets(n) => (0, of(n)?),
    })
}

/// No two arguments of a launch may share elements if one of them is written.
pub fn check_overlap(graph: &Graph, given: &[Given]) -> Result<(), Vec<Diagnostic>> {
    let tensors = tensors(&graph.signature, given);
    for (at, (p, v)) in tensors.iter().enumerate() {
        for (q, w) in &tensors[at + 1..] {
            if (p.mode.writes() || q.mode.writes()) && v.overlaps(w) {
                let message = format!(
                    "the launch of `{}` is given parts that overlap as `{}` and `{}`, and one is written",
                    graph.name, p.name, q.name
                );
                return Err(vec![Diagnostic::global("T0707", message).help("use another temporary")]);
            }
        }
    }
    Ok(())
}

fn tensors<'a>(signature: &'a Signature, given: &'a [Given]) -> Vec<(&'a TensorParam, &'a View)> {
    let pairs = signature.params.iter().zip(given);
    pairs
        .filter_map(|pair| match pair {
            (ParamKind::Tensor(p), Given::View(v)) => Some((p, v)),
            _ => None,
        })
        .collect()
}

/// The dimensions of a launch from the shapes it is given.
pub fn bind_dims(signature: &Signature, given: &[Given]) -> Result<Vec<i64>, Vec<Diagnostic>> {
    tile_tensor::launch::bind_inner(signature, &|at| match given.get(at) {
        Some(Given::View(v)) => Some(&v.shape[..]),
        _ => None,
    })
}
