//! Whether a result is what was expected.
//!
//! An element agrees when `|actual - expected| <= absolute + relative * |expected|`. Infinities agree only with the
//! same infinity, a NaN only with a NaN.

use std::fmt;
use tile_base::DType;
use tile_tensor::Tensor;

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Tolerance {
    pub relative: f64,
    pub absolute: f64,
}

impl Tolerance {
    pub const ZERO: Tolerance = Tolerance { relative: 0.0, absolute: 0.0 };

    /// For two evaluations in f64 that sum in different orders.
    pub const EXACT: Tolerance = Tolerance { relative: 1e-9, absolute: 1e-9 };

    /// For an output of this dtype when the test does not say: a few units in the last place, and the error of sums
    /// of some hundred terms of size one. Integers and bools are equal or wrong.
    pub fn of(dtype: DType) -> Tolerance {
        let (relative, absolute) = match dtype {
            DType::F64 => (1e-10, 1e-10),
            DType::F32 => (1e-4, 1e-5),
            DType::Tf32 | DType::F16 => (4e-3, 2e-3),
            DType::Bf16 => (3e-2, 1e-2),
            DType::F8e4m3 => (0.13, 0.02),
            DType::F8e5m2 => (0.26, 0.02),
            DType::F4e2m1 => (0.51, 0.26),
            _ => (0.0, 0.0),
        };
        Tolerance { relative, absolute }
    }

    fn allows(&self, expected: f64, actual: f64) -> bool {
        if expected == actual || (expected.is_nan() && actual.is_nan()) {
            return true;
        }
        (actual - expected).abs() <= self.absolute + self.relative * expected.abs() && expected.is_finite()
    }
}

impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rel {:e}, abs {:e}", self.relative, self.absolute)
    }
}

/// How far two results are apart.
#[derive(Clone, PartialEq, Debug)]
pub struct Comparison {
    pub ok: bool,
    /// Over the elements that are finite in both.
    pub max_abs: f64,
    /// `|actual - expected| / |expected|`, where the expected value is not 0.
    pub max_rel: f64,
    /// How many elements are outside the tolerance.
    pub bad: usize,
    pub elements: usize,
    /// The first element outside the tolerance, else the one with the greatest error: where, expected, actual.
    pub worst: Option<(Vec<usize>, f64, f64)>,
}

/// Compares a tensor with expected values in row-major order.
pub fn compare(expected: &[f64], actual: &Tensor, tolerance: Tolerance) -> Comparison {
    compare_values(expected, &actual.to_f64_vec(), &actual.shape, tolerance)
}

/// The same for values.
pub fn compare_values(expected: &[f64], actual: &[f64], shape: &[usize], tolerance: Tolerance) -> Comparison {
    let mut c = Comparison {
        ok: expected.len() == actual.len(),
        max_abs: 0.0,
        max_rel: 0.0,
        bad: 0,
        elements: expected.len(),
        worst: None,
    };
    let (mut first_bad, mut greatest) = (None, None);
    for (at, (&e, &a)) in expected.iter().zip(actual).enumerate() {
        if !tolerance.allows(e, a) {
            c.bad += 1;
            first_bad.get_or_insert(at);
        }
        let error = (a - e).abs();
        if error.is_finite() {
            if error > c.max_abs || greatest.is_none() {
                c.max_abs = error;
                greatest = Some(at);
            }
            if e != 0.0 {
                c.max_rel = c.max_rel.max(error / e.abs());
            }
        }
    }
    c.ok &= c.bad == 0;
    c.worst = first_bad.or(greatest).map(|at| (unravel(at, shape), expected[at], actual[at]));
    c
}

pub(super) fn unravel(mut linear: usize, shape: &[usize]) -> Vec<usize> {
    let mut at: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&n| {
            let i = linear % n.max(1);
            linear /= n.max(1);
            i
        })
        .collect();
    at.reverse();
    at
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ok {
            return write!(f, "max error {:.3e}", self.max_abs);
        }
        let Some((at, expected, actual)) = &self.worst else {
            return write!(f, "different numbers of elements");
        };
        let (bad, all) = (self.bad, self.elements);
        write!(f, "{bad} of {all} elements differ; the first is {at:?}: {actual:e} instead of {expected:e}")
    }
}
