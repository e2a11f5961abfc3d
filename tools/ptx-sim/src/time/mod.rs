//! How long a kernel would take on a device: traces of a few CTAs, played on a model of a multiprocessor.
//!
//! Three steps, each with its module:
//!
//! 1. [`mod@sample`] chooses clusters that stand for the grid; the simulator runs them and [`trace`] keeps what each warp did.
//! 2. [`cost`] (with [`expand`]) says what each instruction costs on the target, and [`play`] plays the traces of the clusters that one
//!    multiprocessor gets against its resources: pipes, ports, L2 and memory. The result is clocks, and who waited for what.
//! 3. [`mod@predict`] makes seconds of it, with the memory's bound for the whole grid and the cost of a launch.
//!
//! [`mod@launch`] does all three.
//!
//! ```text
//! 8192 × 8192 × 8192, tiles of 128 × 256 by clusters of two: 1024 clusters, 66 places, each gets ⌈15.5⌉ = 16
//! 16 clusters (four traced, the others as those), one after the other: 2.2 M clocks at 1.55 GHz
//! ```
//!
//! What is not modelled: hits in L1 (every sector goes to L2), conflicts between registers' banks, instruction fetch, how
//! ptxas orders instructions (they are issued in the order of the PTX), thread block scheduling beyond an even share, and
//! waits of one cluster for another. See docs/simulator.md for what was checked against measurements.

pub mod cost;
pub mod expand;
pub mod family;
pub mod launch;
pub mod play;
pub mod predict;
pub mod registers;
pub mod resource;
pub mod sample;
pub mod sync;
pub mod taint;
pub mod trace;

pub use launch::launch;
pub use predict::{Prediction, TimeError, predict};
pub use sample::sample;

/// What a warp waits for.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stall {
    /// The issue slot or a pipe.
    #[default]
    Busy,
    /// A result of an arithmetic instruction.
    Arithmetic,
    /// Shared memory, a shuffle.
    Shared,
    /// L2 and what is behind it.
    Memory,
    /// A matrix product.
    Tensor,
    /// An asynchronous copy, waited for by its group.
    Copy,
    Barrier,
    Mbarrier,
}

impl Stall {
    pub const ALL: [Stall; 8] = [
        Stall::Busy,
        Stall::Arithmetic,
        Stall::Shared,
        Stall::Memory,
        Stall::Tensor,
        Stall::Copy,
        Stall::Barrier,
        Stall::Mbarrier,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Stall::Busy => "busy",
            Stall::Arithmetic => "arithmetic",
            Stall::Shared => "shared",
            Stall::Memory => "memory",
            Stall::Tensor => "tensor",
            Stall::Copy => "copy",
            Stall::Barrier => "barrier",
            Stall::Mbarrier => "mbarrier",
        }
    }
}
