//! The arrays of a spec at run time: dense, f64, with a least position on every axis (a spec may define an array
//! over `t in cu[n]..cu[n + 1]`).

use super::code::Ty;

/// Marks an element that no equation has defined. A NaN of this exact payload is not made by arithmetic, and only
/// arrays that may have gaps are searched for it.
pub(super) const UNDEFINED: u64 = 0x7ff8_dead_beef_0475;

pub(super) fn undefined() -> f64 {
    f64::from_bits(UNDEFINED)
}

pub(super) fn is_undefined(v: f64) -> bool {
    v.to_bits() == UNDEFINED
}

/// All arrays of one evaluation together may hold this many elements (4 GiB).
pub(super) const MAX_ELEMENTS: usize = 1 << 29;

#[derive(Clone, Debug, Default)]
pub(super) struct Array {
    pub lo: Vec<i64>,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
    pub data: Vec<f64>,
    /// Some element may be undefined.
    pub gaps: bool,
    pub defined: bool,
}

impl Array {
    pub fn new(lo: Vec<i64>, shape: Vec<usize>, data: Vec<f64>, gaps: bool) -> Array {
        let mut strides = vec![1; shape.len()];
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] = strides[axis] * shape[axis].max(1);
        }
        Array { lo, shape, strides, data, gaps, defined: true }
    }

    pub fn hi(&self, axis: usize) -> i64 {
        self.lo[axis] + self.shape[axis] as i64
    }
}

/// What the compiler of equations knows of an array before anything runs.
#[derive(Clone, Debug)]
pub(super) struct ArrayInfo {
    pub name: String,
    pub ty: Ty,
    /// Least position and one past the greatest, where they are known.
    pub axes: Vec<Option<(i64, i64)>>,
    /// Least position alone, which may be known where the other end is not.
    pub starts: Vec<Option<i64>>,
    /// An optional parameter that this call leaves out; kept as a local array of the spec.
    pub absent: bool,
    pub role: Role,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Input,
    Output,
    Local,
}
