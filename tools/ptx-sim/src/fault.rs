//! What a run can end in, with a witness.

use std::fmt;

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum FaultKind {
    OutOfBounds,
    Misaligned,
    DivergentBarrier,
    Deadlock,
    SyncMask,
    Trap,
    StepLimit,
    /// Two warps, one byte of shared memory, one of them writing, no barrier between.
    SharedRace,
    GlobalRace,
    /// An undefined value reaches a branch, an address, or a store that leaves the CTA.
    Undefined,
    Launch,
    /// The instruction is read, and not run yet.
    NotSupported,
}

/// A refutation: what happened, where in the PTX, by whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    pub kind: FaultKind,
    pub message: String,
    pub line: u32,
    /// `.loc` file and line; (0, 0) where none.
    pub loc: (u32, u32),
    pub cta: [u32; 3],
    pub warp: u32,
    pub lane: Option<u32>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [x, y, z] = self.cta;
        write!(
            f,
            "{:?}: {} (PTX line {}, CTA {x},{y},{z}, warp {}",
            self.kind, self.message, self.line, self.warp
        )?;
        if let Some(lane) = self.lane {
            write!(f, ", lane {lane}")?;
        }
        if self.loc.1 != 0 {
            write!(f, ", source line {}", self.loc.1)?;
        }
        f.write_str(")")
    }
}

impl std::error::Error for Fault {}
