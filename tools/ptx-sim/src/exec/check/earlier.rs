//! Launches that may still run while this one does.
//!
//! A launch with programmatic serialization may begin before the one ahead of it in the stream has ended. What orders its
//! threads after that one is `griddepcontrol.wait` alone: it returns when the grids ahead are over and their effects
//! visible. So the grids ahead are one agent more, whose only interval a warp learns of by that wait, and others learn of
//! from the warp as of everything else it knows; and what they did to global memory is a log of their own.
//!
//! ```text
//! grid 0: st.global [x]                                  kept: x written, line 40, CTA 3
//! grid 1: warp 0: griddepcontrol.wait; bar.sync 0        warp 0 knows that grid 0 is over, and hands it on
//!         warp 1: bar.sync 0; ld.global [x]              knows it: clean
//!         …without the wait: a race, with a witness in either grid
//! ```
//!
//! `griddepcontrol.launch_dependents` lets a grid begin, and orders nothing.

use super::{
    Access, Check, Finding,
    clock::Agent,
    intervals::{GlobalLog, Kind, Ranges, Touched},
    shadow::flag,
};
use crate::{
    fault::{FaultKind, Other, Severity},
    ir::Kernel,
};

/// What a grid did to global memory.
#[derive(Debug, Default)]
pub struct GridLog {
    kernel: String,
    /// PTX line and source line of each instruction.
    lines: Vec<(u32, (u32, u32))>,
    /// The reads, writes and atomics of all CTAs, put together; and of each, or of each machine that had several.
    all: GlobalLog,
    each: Vec<([u32; 3], GlobalLog)>,
}

impl GridLog {
    pub fn new(kernel: &Kernel, each: Vec<([u32; 3], GlobalLog)>) -> GridLog {
        let mut all = GlobalLog::default();
        each.iter().for_each(|(_, log)| all.join(log));
        all.finish();
        let lines = kernel.code.iter().map(|i| (i.line, i.loc)).collect();
        GridLog { kernel: kernel.name.clone(), lines, all, each }
    }

    /// An access of this grid that one of a later grid may meet while both run.
    fn meets(&self, lo: u64, hi: u64, flags: u16) -> Option<Met> {
        let strong = flag::STRONG | flag::GPU;
        let kinds: &[Kind] = match (flags & flag::WRITE != 0, flags & strong == strong) {
            (true, true) => &[Kind::Write, Kind::Read],
            (true, false) => &[Kind::Write, Kind::Atomic, Kind::Read],
            (false, true) => &[Kind::Write],
            (false, false) => &[Kind::Write, Kind::Atomic],
        };
        let kind = *kinds.iter().find(|kind| self.all.of(**kind).first_in(lo, hi).is_some())?;
        let first = |(cta, log): &([u32; 3], GlobalLog)| Some((*cta, log.of(kind).first_in(lo, hi)?));
        let (cta, range) = self.each.iter().find_map(first)?;
        Some(Met { kind, range, cta })
    }
}

/// An access of an earlier grid.
struct Met {
    kind: Kind,
    range: Touched,
    cta: [u32; 3],
}

impl Ranges {
    /// The lowest of finished ranges that overlaps.
    fn first_in(&self, lo: u64, hi: u64) -> Option<Touched> {
        self.near(lo).find(|t| t.hi() > lo).filter(|t| t.lo < hi)
    }
}

/// The interval of the grids ahead.
const OVER: u32 = 1;

impl Check<'_> {
    /// The grids ahead, as an agent.
    pub(super) fn grids_ahead(&mut self) -> Agent {
        self.slots.push(super::Slot { interval: OVER });
        self.findings.owners.push(0);
        (self.own.len() + self.slots.len() - 1) as Agent
    }

    /// `griddepcontrol.wait`
    pub fn wait_for_grids(&mut self, warp: usize) {
        if let Some(ahead) = self.ahead {
            self.know[warp].seen.raise(ahead, OVER);
            self.learned[warp] += 1;
        }
    }

    /// Whether grids ahead may still run for all that a warp knows.
    pub fn beside_earlier(&self, warp: usize) -> bool {
        self.ahead.is_some_and(|ahead| self.know[warp].seen.get(ahead) < OVER)
    }

    /// An access to global memory before the warp knows that the grids ahead are over.
    pub fn against_earlier(&mut self, earlier: &[std::sync::Arc<GridLog>], (lo, hi): (u64, u64), x: &Access) {
        for grid in earlier {
            let Some(met) = grid.meets(lo, hi, x.flags) else { continue };
            let (line, loc) = grid.lines.get(met.range.at as usize).copied().unwrap_or_default();
            let does = if x.flags & flag::WRITE != 0 { "writes" } else { "reads" };
            let did = match met.kind {
                Kind::Read => "read",
                Kind::Write => "wrote",
                Kind::Atomic => "changed by atomics",
            };
            let (from, to) = (lo.max(met.range.lo), hi.min(met.range.hi()));
            let message = format!(
                "`{}` {does} global bytes {from:#x}..{to:#x}, which the launch ahead, of `{}`, {did}; the two may run at once",
                self.findings.kernel.name, grid.kernel
            );
            let finding = Finding {
                kind: FaultKind::GlobalRace,
                severity: Severity::Refuted,
                at: x.at,
                warp: x.warp,
                lane: x.lane,
                message,
                other: None,
                missing: Some("no griddepcontrol.wait before"),
            };
            self.findings.report_beside(finding, Other { line, loc, cta: met.cta, warp: 0 });
        }
    }
}
