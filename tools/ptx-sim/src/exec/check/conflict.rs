//! What is wrong between two accesses, and the finding that says it.
//!
//! ```text
//! warp 0 writes, warp 1 reads, nothing between      Race                 refuted
//! warp 0 writes, bar.sync, TMA reads                Fence                refuted: ordered, but through another proxy
//! both warps write what is there already            EqualValues          a note
//! ```

use super::{
    Access, Check, Finding, Region,
    cell::Entry,
    clock::{Agent, Clock},
    guess::first_guess,
    lane_words::{SEVERAL, STRONG, Unordered},
    shadow::{GRANULE, flag},
};
use crate::fault::{FaultKind, Severity};

const EQUAL: &str = "both write the same values";

/// What is wrong between two accesses, worst first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verdict {
    Race,
    Fence,
    FenceBetweenCtas,
    FenceAfterRead,
    /// Copies of one value, as replicated layouts store them.
    EqualValues,
}

pub fn judge(
    e: &Entry,
    x: &Entry,
    (seen, fenced): (&Clock, &Clock),
    cta_of: &impl Fn(Agent) -> usize,
    per_cluster: usize,
) -> Option<Verdict> {
    // A warp knows its own past, but even it needs a fence before the engine reads a map that it wrote.
    let own = e.agent == x.agent && !x.is(flag::MAP);
    if own || !(e.is(flag::WRITE) || x.is(flag::WRITE)) {
        return None;
    }
    if e.is(flag::STRONG) && x.is(flag::STRONG) {
        let (a, b) = (cta_of(e.agent), cta_of(x.agent));
        let reach = |f: &Entry| {
            f.is(flag::GPU) || a == b || (f.is(flag::CLUSTER) && a / per_cluster == b / per_cluster)
        };
        if reach(e) && reach(x) {
            return None;
        }
    }
    if seen.get(e.agent) < e.interval {
        return Some(Verdict::Race);
    }
    if e.is(flag::ASYNC) || !x.is(flag::ASYNC) || fenced.get(e.agent) >= e.interval {
        return None;
    }
    Some(match (e.is(flag::WRITE), cta_of(e.agent) == cta_of(x.agent)) {
        (false, _) => Verdict::FenceAfterRead,
        (true, same) if same || x.is(flag::MAP) => Verdict::Fence,
        (true, _) => Verdict::FenceBetweenCtas,
    })
}

impl Check<'_> {
    pub(super) fn conflict(
        &mut self,
        region: Region,
        granule: u64,
        mask: u16,
        x: Access,
        e: &Entry,
        v: Verdict,
    ) {
        let (kind, severity, missing) = match (v, region) {
            (Verdict::Race, Region::Shared(_)) => {
                (FaultKind::SharedRace, Severity::Refuted, self.missing_order(x, e))
            }
            (Verdict::Race, Region::Global) => {
                (FaultKind::GlobalRace, Severity::Refuted, self.missing_order(x, e))
            }
            (Verdict::EqualValues, Region::Shared(_)) => (FaultKind::SharedRace, Severity::Note, EQUAL),
            (Verdict::EqualValues, Region::Global) => (FaultKind::GlobalRace, Severity::Note, EQUAL),
            (Verdict::Fence, _) if x.flags & flag::MAP != 0 => (
                FaultKind::ProxyFence,
                Severity::Refuted,
                "no fence.proxy.tensormap::generic.acquire of this map before it is used",
            ),
            (Verdict::Fence, Region::Shared(_)) if self.copied_without_wait(e) => (
                FaultKind::ProxyFence,
                Severity::Note,
                "no fence.proxy.async between a cp.async that arrives on an mbarrier by itself and its reader; tolerated \
                 in practice",
            ),
            (Verdict::Fence, _) => {
                (FaultKind::ProxyFence, Severity::Refuted, "no fence.proxy.async on the way")
            }
            (Verdict::FenceBetweenCtas, _) => (
                FaultKind::ProxyFence,
                Severity::Note,
                "no fence.proxy.async on the way; NVIDIA's texts disagree whether one is needed between CTAs",
            ),
            (Verdict::FenceAfterRead, _) => (
                FaultKind::ProxyFence,
                Severity::Note,
                "no fence.proxy.async between a generic read and an async write; tolerated in practice",
            ),
        };
        if self.findings.seen(kind, severity, x.at, Some(e.at)) {
            return;
        }
        let first = granule * GRANULE as u64 + mask.trailing_zeros() as u64;
        let last = granule * GRANULE as u64 + 16 - mask.leading_zeros() as u64;
        let does = if x.flags & flag::WRITE != 0 { "writes" } else { "reads" };
        let did = if e.is(flag::WRITE) { "wrote" } else { "read" };
        let by = |f: u16| if f & flag::ASYNC != 0 { "an asynchronous operation" } else { "a warp" };
        let memory = match region {
            Region::Shared(_) => format!("shared bytes {first}..{last}"),
            Region::Global => format!("global bytes {first:#x}..{last:#x}"),
        };
        let message = format!("{} {does} {memory}, which {} {did}", by(x.flags), by(e.flags));
        let finding = Finding {
            kind,
            severity,
            at: x.at,
            warp: x.warp,
            lane: x.lane,
            message,
            other: Some((e.at, e.agent)),
            missing: Some(missing),
        };
        match first_guess(x, e) {
            Some(reader) if v == Verdict::Race => self.hold(region, granule, mask, reader, finding),
            _ => self.findings.report(finding),
        }
    }

    /// Bytes that a plain cp.async wrote, for which its warp has not waited: an mbarrier told the reader. PTX wants a fence
    /// there, since the copy goes through the generic proxy; CUTLASS's and TileLang's loops over wgmma have none.
    fn copied_without_wait(&self, e: &Entry) -> bool {
        let Some(slot) = (e.agent as usize).checked_sub(self.own.len()) else { return false };
        let issuer = &self.know[self.findings.owners[slot]];
        e.is(flag::WRITE) && !e.is(flag::ASYNC) && issuer.seen.get(e.agent) < e.interval
    }

    /// What could have ordered the two, in words.
    fn missing_order(&self, x: Access, e: &Entry) -> &'static str {
        let async_before = e.agent as usize >= self.own.len();
        let (x_cta, _) = self.findings.place(x.warp as Agent);
        let (e_cta, _) = self.findings.place(e.agent);
        if async_before {
            "nobody has waited for the operation"
        } else if x_cta != e_cta {
            "no cluster barrier, mbarrier, or release and acquire of sufficient scope between"
        } else if x.flags & flag::ASYNC != 0 {
            "the operation was issued without a barrier after that access"
        } else {
            "no barrier between"
        }
    }

    /// An access of a lane to bytes that another lane of its warp has touched.
    pub(super) fn lanes_unordered(
        &mut self,
        region: Region,
        bytes: std::ops::Range<u64>,
        x: Access,
        found: &Unordered,
    ) {
        let standing = &self.lanes.warps[x.warp];
        let lane = x.lane.unwrap_or(0) as u8;
        let apart = !standing.collective && standing.apart(found.last.stamp, lane, found.other);
        let severity = if apart { Severity::Refuted } else { Severity::Note };
        let at = found.last.at & !STRONG;
        let strong = if found.last.at != at { flag::STRONG } else { 0 };
        let write = if found.wrote { flag::WRITE } else { 0 };
        let warp = x.warp as Agent;
        let earlier = Entry { agent: warp, interval: 0, at, mask: 0, flags: strong | write };
        if self.findings.seen(FaultKind::LaneOrder, severity, x.at, Some(at)) {
            return;
        }
        let does = if x.flags & flag::WRITE != 0 { "writes" } else { "reads" };
        let did = if found.wrote { "wrote" } else { "read" };
        let by =
            if found.other == SEVERAL { "other lanes".to_string() } else { format!("lane {}", found.other) };
        let memory = match region {
            Region::Shared(_) => format!("shared bytes {}..{}", bytes.start, bytes.end),
            Region::Global => format!("global bytes {:#x}..{:#x}", bytes.start, bytes.end),
        };
        let how = if apart { "they went different ways since" } else { "they went in step" };
        let finding = Finding {
            kind: FaultKind::LaneOrder,
            severity,
            at: x.at,
            warp: x.warp,
            lane: x.lane,
            message: format!("a lane {does} in {memory} what {by} of its warp {did}; {how}"),
            other: Some((at, warp)),
            missing: Some("no bar.warp.sync or other collective of the two between"),
        };
        match first_guess(x, &earlier) {
            Some(reader) => {
                let low = bytes.start % GRANULE as u64;
                let mask = ((1u32 << (bytes.end - bytes.start)) - 1) << low;
                self.hold(region, bytes.start / GRANULE as u64, mask as u16, reader, finding);
            }
            None => self.findings.report(finding),
        }
    }
}
