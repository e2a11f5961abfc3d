//! Visits of one CTA in the shared memory of another: the other may not end before it knows of them.
//!
//! ```text
//! CTA 0: mbarrier.arrive [barrier of CTA 1]                       a visit by warp 0, interval 7
//!        barrier.cluster.arrive                                   gives {0: 7}
//! CTA 1: barrier.cluster.wait: knows {0: 7}, ends                 clean
//!        …without the cluster barrier: ends, knowing {0: 5}       CTA 0 may come too late
//! ```
//!
//! A visit that does come too late is a fault of its own; this finds those that did not happen to.

use super::{Check, clock::Agent};
use crate::fault::FaultKind;

/// The last visit of a warp; whoever knows of it knows of those before.
pub struct Visit {
    warp: usize,
    interval: u32,
    at: u32,
}

impl Check<'_> {
    /// The running instruction of `warp` reaches into the shared memory of another CTA.
    pub fn visit(&mut self, cta: usize, warp: usize, at: u32) {
        let interval = self.know[warp].seen.get(warp as Agent);
        let visit = Visit { warp, interval, at };
        match self.visits[cta].iter_mut().find(|v| v.warp == warp) {
            Some(last) => *last = visit,
            None => self.visits[cta].push(visit),
        }
    }

    /// A CTA has ended: does any of its warps know of every visit?
    pub fn report_late_visits(&mut self, cta: usize) {
        let warps = cta * self.warps_per_cta..(cta + 1) * self.warps_per_cta;
        for v in std::mem::take(&mut self.visits[cta]) {
            let known = warps.clone().any(|w| self.know[w].seen.get(v.warp as Agent) >= v.interval);
            if !known {
                let message = format!(
                    "CTA {:?}, whose shared memory this reaches, may have ended: nothing orders the two",
                    self.findings.ctas[cta]
                );
                self.report(FaultKind::Lifetime, v.warp, v.at, None, message);
            }
        }
    }
}
