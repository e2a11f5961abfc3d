//! Random expressions over matrices whose axes have names, so that every product is well typed.
//!
//! ```text
//! axes    I (a span of rows), D, E (known extents)        leaves    x[I, D]  y[I, E]  w[D, E]  u[D, D]  v[E, E]
//! I x E   tanh((x.to(T) @ w) * 0.5) + y         D x I   (y @ w.t).t
//! ```
//!
//! `I` is never contracted here, since a sum over one span hangs on the tile size; the frame adds such sums up over
//! all spans. Factors are bounded by `tanh` and products scaled, so that values stay of size one.

use crate::random::Random;

/// An axis of a matrix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Axis {
    I,
    D,
    E,
}

pub struct Matrices {
    pub d: i64,
    pub e: i64,
}

impl Matrices {
    /// An expression of f32 of these axes; not both are `I`.
    pub fn expression(&self, r: &mut Random, rows: Axis, columns: Axis, depth: usize) -> String {
        if depth == 0 {
            return leaf(rows, columns).into();
        }
        let d = depth - 1;
        match r.below(7) {
            0 => format!(
                "({} + {})",
                self.expression(r, rows, columns, d),
                self.expression(r, rows, columns, d)
            ),
            1 => format!("max({}, {})", self.expression(r, rows, columns, d), leaf(rows, columns)),
            2 => format!("tanh({})", self.expression(r, rows, columns, d)),
            3 => format!("{}.t", self.expression(r, columns, rows, d)),
            _ => self.product(r, rows, columns, d),
        }
    }

    fn product(&self, r: &mut Random, rows: Axis, columns: Axis, depth: usize) -> String {
        let (inner, extent) = if r.one_in(2) { (Axis::D, self.d) } else { (Axis::E, self.e) };
        let a = self.expression(r, rows, inner, depth);
        let b = self.expression(r, inner, columns, depth);
        let scale = 1.0 / (extent as f64).sqrt();
        format!("(({} @ {}) * {scale:.4})", factor(r, &a), factor(r, &b))
    }
}

/// A bounded operand of a product, in the element type.
pub fn factor(r: &mut Random, expression: &str) -> String {
    match r.below(3) {
        0 => format!("tanh({expression}).to(T)"),
        1 => format!("(tanh({expression}) + 0.125).to(T)"),
        _ => format!("sin({expression}).to(T)"),
    }
}

fn leaf(rows: Axis, columns: Axis) -> &'static str {
    match (rows, columns) {
        (Axis::I, Axis::D | Axis::I) => "x",
        (Axis::I, Axis::E) => "y",
        (Axis::D, Axis::I) => "x.t",
        (Axis::E, Axis::I) => "y.t",
        (Axis::D, Axis::E) => "w",
        (Axis::E, Axis::D) => "w.t",
        (Axis::D, Axis::D) => "u",
        (Axis::E, Axis::E) => "v",
    }
}
