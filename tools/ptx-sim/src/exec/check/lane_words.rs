//! What memory remembers of the lanes of a warp ([`super::lanes`]), and the findings that come of it.
//!
//! A word of four bytes keeps its last write and its last read: a stamp, the instruction, and for each byte a lane,
//! "nobody" or "several". That is enough: of two readers at least one is not the writer that comes next.
//!
//! ```text
//! ld.shared.u32 by lanes 3 and 4     read in span 7 by [several; 4]
//! st.shared.u8 by lane 3, byte 0     meets another lane's read; then read by [nobody, several, several, several]
//! ```
//!
//! Nearly every access is settled by a look at the word alone: the stamp is old, or the lane is the same.

use super::{
    Access, Check, Finding, Region,
    clock::Agent,
    guess::first_guess,
    lanes::Lanes,
    shadow::{Entry, GRANULE, flag},
};
use crate::{
    exec::rows::lanes,
    fault::{FaultKind, Severity},
};

/// Instead of a lane: none, or more than one.
pub(super) const NOBODY: u8 = 0xff;
pub(super) const SEVERAL: u8 = 0xfe;

/// One byte in all four of a word.
const EACH: u32 = 0x0101_0101;

/// The bit of an instruction's number that says that its access is strong.
pub(super) const STRONG: u32 = 1 << 31;

/// Who wrote, or read, the bytes of a word last.
#[derive(Clone, Copy)]
pub(super) struct Last {
    pub stamp: u32,
    /// Instruction, and [`STRONG`].
    pub at: u32,
    /// One for each byte of the word.
    pub lanes: u32,
}

#[derive(Clone, Copy)]
pub(super) struct Word {
    write: Last,
    read: Last,
}

impl Default for Word {
    fn default() -> Self {
        let never = Last { stamp: 0, at: 0, lanes: u32::MAX };
        Word { write: never, read: never }
    }
}

/// The words of one granule.
pub(super) type Words = [Word; GRANULE / 4];

/// One lane's access to bytes of one word.
#[derive(Clone, Copy)]
pub(super) struct LaneAccess {
    /// The warp's present span and the oldest that counts.
    pub now: u32,
    first: u32,
    /// Instruction, and [`STRONG`].
    pub at: u32,
    pub lane: u32,
    /// All bits of the bytes that are meant.
    pub bytes: u32,
}

impl LaneAccess {
    /// Whether nothing in an earlier access can be in this one's way, as is usual: it is long ago, or the lane's own.
    #[inline]
    fn passes(&self, last: &Last) -> bool {
        last.stamp < self.first
            || (last.lanes ^ (self.lane * EACH)) & self.bytes == 0
            || last.lanes | !self.bytes == u32::MAX
    }
}

impl Last {
    #[inline]
    fn wrote(&mut self, x: &LaneAccess) {
        let others = if self.stamp == x.now { self.lanes } else { u32::MAX };
        *self = Last { stamp: x.now, at: x.at, lanes: (others & !x.bytes) | ((x.lane * EACH) & x.bytes) };
    }

    #[inline]
    fn read(&mut self, x: &LaneAccess) {
        let others = if self.stamp == x.now { self.lanes } else { u32::MAX };
        let mut lanes = (others & !x.bytes) | ((x.lane * EACH) & x.bytes);
        if others | !x.bytes != u32::MAX && (others ^ lanes) != 0 {
            // Bytes that another lane has read, too.
            let merge = |(old, new): (u8, u8)| if old == new || old == NOBODY { new } else { SEVERAL };
            let (old, new) = (others.to_le_bytes(), lanes.to_le_bytes());
            lanes = u32::from_le_bytes(std::array::from_fn(|b| merge((old[b], new[b]))));
        }
        *self = Last { stamp: x.now, at: x.at, lanes };
    }
}

/// An access of a lane that another one should have been ordered with.
struct Unordered {
    other: u8,
    last: Last,
    wrote: bool,
}

impl Lanes {
    /// Compares an access with those before it to the same word, and remembers it if it is the lane's own.
    #[inline]
    fn touch(&mut self, region: Region, addr: u64, x: &LaneAccess, access: &Access) -> Option<Unordered> {
        let granule = addr / GRANULE as u64;
        let words = match region {
            Region::Shared(cta) => self.shared[cta].get_mut(granule as usize)?,
            Region::Global => self.global.cell(granule),
        };
        let (word, standing) = (&mut words[(addr / 4 % 4) as usize], &self.warps[access.warp]);
        let (writes, own) = (access.flags & flag::WRITE != 0, access.agent as usize == access.warp);
        let mut found = None;
        // A lane that stores what is there already does no harm to another that stored it.
        if access.flags & flag::SAME == 0
            && !x.passes(&word.write)
            && let Some(other) = standing.unordered(&word.write, x)
        {
            found = Some(Unordered { other, last: word.write, wrote: true });
        }
        if writes
            && !x.passes(&word.read)
            && let Some(other) = standing.unordered(&word.read, x)
        {
            found = Some(Unordered { other, last: word.read, wrote: false });
        }
        match (own, writes) {
            (false, _) => {}
            (true, false) => word.read.read(x),
            (true, true) => {
                word.write.wrote(x);
                word.read.lanes |= x.bytes;
            }
        }
        found
    }
}

impl Check<'_> {
    /// The accesses of the lanes of one instruction: are they in order with those of other lanes of their warp? `same`:
    /// lanes that store what is there. An asynchronous operation begins where its lane stands, and is not remembered
    /// here: what comes after it, the clocks judge.
    pub fn touch_lanes(
        &mut self,
        mask: u32,
        bytes: u64,
        access: Access,
        same: u32,
        place: impl Fn(usize) -> Option<(Region, u64)>,
    ) {
        let standing = &mut self.lanes.warps[access.warp];
        if access.agent as usize == access.warp {
            (standing.touched, standing.touched_now) = (true, true);
        } else if !standing.touched {
            return;
        }
        let strong = if access.flags & flag::STRONG != 0 { STRONG } else { 0 };
        let (now, first) = (standing.now(), standing.first());
        let mut x = LaneAccess { now, first, at: access.at | strong, lane: 0, bytes: 0 };
        for lane in lanes(mask) {
            let Some((region, from)) = place(lane) else { continue };
            x.lane = lane as u32;
            let same = if same >> lane & 1 == 1 { flag::SAME } else { 0 };
            let access = Access { flags: access.flags | same, lane: Some(x.lane), ..access };
            let (mut at, end) = (from, from + bytes);
            while at < end {
                let next = end.min((at / 4 + 1) * 4);
                x.bytes = (u64::MAX >> (64 - 8 * (next - at)) << (8 * (at % 4))) as u32;
                if let Some(found) = self.lanes.touch(region, at, &x, &access) {
                    self.lanes_unordered(region, at..next, access, &found);
                }
                at = next;
            }
        }
    }

    fn lanes_unordered(&mut self, region: Region, bytes: std::ops::Range<u64>, x: Access, found: &Unordered) {
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
