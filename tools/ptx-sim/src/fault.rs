//! What a run can end in, with a witness.
//!
//! A finding names the class, the place (PTX line, source line, CTA, warp, lane), the other access where there is one,
//! and the order that is missing between the two:
//!
//! ```text
//! refuted: SharedRace: reads shared bytes 64..80, written by line 12 of CTA 0,0,0 warp 0; no barrier between
//!          (PTX line 19, CTA 0,0,0, warp 1, lane 4)
//! ```

use std::fmt;

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum FaultKind {
    OutOfBounds,
    Misaligned,
    /// An aligned barrier, or a collective of the whole warp, is reached by a part of the warp.
    DivergentBarrier,
    /// Counts that do not fit: barriers reached with different numbers of threads, or by too many.
    BarrierMisuse,
    Deadlock,
    SyncMask,
    Trap,
    StepLimit,
    /// Recursion that is deeper than the thread's stack, or than the host can keep.
    StackOverflow,
    /// Two agents, one byte of shared memory, one of them writing, nothing that orders them.
    SharedRace,
    GlobalRace,
    /// Two lanes of one warp, one byte, one of them writing, and no collective operation between.
    LaneOrder,
    /// Lanes of one instruction write different values to one address.
    LaneConflict,
    /// Ordered, but written through the generic proxy and accessed through the async one without a proxy fence.
    ProxyFence,
    /// A register of a `wgmma` in flight is touched before the wait.
    AccumulatorRead,
    /// Registers were touched before a `wgmma` without `wgmma.fence` between.
    WgmmaFence,
    /// The warps of a warpgroup do not execute the same `wgmma`.
    WarpgroupMismatch,
    MbarrierMisuse,
    /// A bulk copy, tensor map, or matrix descriptor that the hardware does not accept.
    DescriptorIllegal,
    /// A CTA ends while its shared memory is still used by an asynchronous operation or another CTA.
    Lifetime,
    /// `setmaxnreg` outside its rules.
    Registers,
    /// An undefined value reaches a branch, an address, or a store that leaves the CTA.
    Undefined,
    /// A run that leaves tensor products out comes to where one matters.
    LeftOut,
    Launch,
    /// The instruction is read, and not run yet.
    NotSupported,
}

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub enum Severity {
    /// The program is wrong.
    #[default]
    Refuted,
    /// Suspicious, but tolerated in practice, or a question that NVIDIA's texts leave open.
    Note,
}

/// The other access of a conflict.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Other {
    pub line: u32,
    pub loc: (u32, u32),
    pub cta: [u32; 3],
    pub warp: u32,
}

/// A finding: what happened, where in the PTX, by whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    pub kind: FaultKind,
    pub severity: Severity,
    pub message: String,
    pub line: u32,
    /// `.loc` file and line; (0, 0) where none.
    pub loc: (u32, u32),
    pub cta: [u32; 3],
    pub warp: u32,
    pub lane: Option<u32>,
    pub other: Option<Box<Other>>,
    /// What would have ordered the two, in words.
    pub missing: Option<&'static str>,
    /// What check mode had found when this ended the run.
    pub before: Vec<Fault>,
}

impl Fault {
    /// A launch that cannot begin.
    pub(crate) fn launch(message: String) -> Fault {
        Fault {
            kind: FaultKind::Launch,
            severity: Severity::Refuted,
            message,
            line: 0,
            loc: (0, 0),
            cta: [0; 3],
            warp: 0,
            lane: None,
            other: None,
            missing: None,
            before: vec![],
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [x, y, z] = self.cta;
        write!(f, "{:?}: {}", self.kind, self.message)?;
        if let Some(o) = &self.other {
            let [x, y, z] = o.cta;
            write!(f, "; the other access: PTX line {}, CTA {x},{y},{z}, warp {}", o.line, o.warp)?;
            if o.loc.1 != 0 {
                write!(f, ", source line {}", o.loc.1)?;
            }
        }
        if let Some(missing) = self.missing {
            write!(f, "; {missing}")?;
        }
        write!(f, " (PTX line {}, CTA {x},{y},{z}, warp {}", self.line, self.warp)?;
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
