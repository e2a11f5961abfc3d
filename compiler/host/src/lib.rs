//! Host code of a program, evaluated the same way for every machine that runs its launches.
//!
//! Host code computes integers and launches; it never reads device data (language rule 19). What it comes to is a list
//! of launches, each with the parts of tensors that it is given:
//!
//! ```text
//! op layers(x: inout f32[M], w: in f32[L, M]) { for l in 0..L { run scale(w[l], x); } }     L = 2, M = 5
//!
//! scale   w[0..1, 0..5] without its first axis, x[0..5]     M = 5
//! scale   w[1..2, 0..5] without its first axis, x[0..5]     M = 5
//! ```
//!
//! [`run`] walks the steps. It knows shapes and no memory: a [`Region`] says which part of which buffer a launch is given, and the
//! [`Machine`] (the oracle, the CPU, or who gathers launches for a GPU) makes of it what it reads and writes. What may be
//! wrong is found here, once: a host integer without a value or a part outside of its tensor (T0705), shapes that do not agree
//! (T0708), parts that overlap while one is written (T0707).

mod region;
mod walk;

pub use region::{Buffer, Cut, Region};
pub use walk::{run, whole};

use tile_base::Diagnostic;
use tile_tensor::Scalar;

pub type Outcome<T> = Result<T, Vec<Diagnostic>>;

/// Who runs launches.
pub trait Machine {
    /// The value of a tile size, which the shape of a temporary may name.
    fn tile(&self, name: &str) -> Outcome<Option<i64>>;

    /// Makes a temporary, once, before the first launch that is given a part of it.
    fn temporary(&mut self, at: usize, shape: &[usize]) -> Outcome<()>;

    fn launch(&mut self, launch: Launch) -> Outcome<()>;
}

/// One launch of a graph of the program.
#[derive(Clone, Debug)]
pub struct Launch {
    pub graph: usize,
    /// By parameter of the graph.
    pub given: Vec<Given>,
    /// Values of the graph's dimensions.
    pub dims: Vec<i64>,
}

impl Launch {
    /// The part of a tensor that a parameter is given.
    pub fn region(&self, param: usize) -> Option<&Region> {
        match self.given.get(param) {
            Some(Given::Tensor(region)) => Some(region),
            _ => None,
        }
    }
}

/// What a parameter of a launch is given.
#[derive(Clone, Debug)]
pub enum Given {
    Tensor(Region),
    Scalar(Scalar),
    Absent,
}
