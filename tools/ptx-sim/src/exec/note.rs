//! Check mode: what the lanes of one instruction touch, gathered into cells and ranges.
//!
//! Lanes mostly touch neighbouring bytes, so the shadow is asked once for every 16 bytes and the log of global memory once
//! for every unbroken range:
//!
//! ```text
//! ld.global.u32, lanes 0-31 at p, p+4, …     8 cells, one range of 128 bytes
//! ```

use super::{
    check::{
        Access, Check, Region,
        clock::Knowledge,
        earlier::GridLog,
        intervals::GlobalLog,
        shadow::{GRANULE, flag},
        shape::Lanes,
        touch::{Part, PartLanes},
    },
    rows::lanes,
    world::{Me, Place, World},
};
use crate::fault::FaultKind;
use std::sync::Arc;

/// What one instruction does to the places of its lanes.
#[derive(Clone, Copy)]
struct Touch {
    me: Me,
    bytes: u64,
    flags: u16,
    /// Lanes whose stored value is defined.
    defined: u32,
    /// Lanes whose store changes nothing.
    same: u32,
    /// Lanes do it together, and are in order with each other when it is done.
    collective: bool,
}

impl<'a> World<'a> {
    /// Notes the accesses of the lanes of one instruction; gives the lanes whose bytes are all defined. `defined`: lanes
    /// whose stored value is.
    pub fn note(&mut self, mask: u32, places: &[Place<'a>; 32], bytes: u64, flags: u16, defined: u32) -> u32 {
        self.note_stores(mask, places, bytes, flags, (defined, 0))
    }

    /// The same for stores of which the lanes `same` change nothing.
    pub fn note_stores(
        &mut self,
        mask: u32,
        places: &[Place<'a>; 32],
        bytes: u64,
        flags: u16,
        (defined, same): (u32, u32),
    ) -> u32 {
        let touch = Touch { me: self.me, bytes, flags, defined, same, collective: false };
        self.note_touch(mask, places, touch)
    }

    /// Rows of 16 bytes that all lanes of a warp load or store together.
    pub fn note_rows(
        &mut self,
        mask: u32,
        places: &[Place<'a>; 32],
        flags: u16,
        (defined, same): (u32, u32),
    ) -> u32 {
        let touch = Touch { me: self.me, bytes: 16, flags, defined, same, collective: true };
        self.note_touch(mask, places, touch)
    }

    fn note_touch(&mut self, mask: u32, places: &[Place<'a>; 32], touch: Touch) -> u32 {
        let bytes = touch.bytes;
        let Some(check) = &mut self.check else { return u32::MAX };
        let mut read = u32::MAX;
        let mut range = Range { touch, open: None };
        let mut far = Far { log: &mut self.log, after: self.launch.after };
        let (mut regions, mut from) = ([Region::Global; 32], [0; 32]);
        let mut remembered = 0;
        for lane in lanes(mask) {
            (regions[lane], from[lane]) = match places[lane] {
                Place::Global(_, addr) => (Region::Global, addr),
                Place::Shared { cta, at } => (Region::Shared(cta), at as u64),
                _ => continue,
            };
            remembered |= 1 << lane;
            match regions[lane] {
                Region::Global => {
                    touch.leaves("global memory", lane, check);
                    range.add(from[lane], lane, &mut far, check);
                }
                Region::Shared(cta) => {
                    let at = from[lane] as usize;
                    if self.ctas[cta].touches_mbarrier(at, bytes as usize) {
                        let message = "an ordinary access to a live mbarrier".into();
                        touch.report(FaultKind::MbarrierMisuse, lane, message, check);
                    }
                    if cta != touch.me.cta {
                        touch.leaves("the shared memory of another CTA", lane, check);
                    }
                    if !touch.shared_value(cta, at, lane, check) {
                        read &= !(1 << lane);
                    }
                }
            }
        }
        range.close(&mut far, check);
        if remembered != 0 {
            touch.cells(remembered, &regions, &from, check);
        }
        read
    }

    /// An asynchronous operation, or an operation on a tensor map, touches a range.
    pub fn note_range(&mut self, region: Region, from: u64, bytes: u64, x: Access) {
        if let Some(check) = &mut self.check {
            match x.lane {
                Some(lane) => check.touch_by_lane(region, from, bytes, x, lane),
                None => check.touch(region, from, bytes, x),
            }
        }
        if region == Region::Global
            && let Some(check) = &mut self.check
        {
            let mut far = Far { log: &mut self.log, after: self.launch.after };
            far.note((from, from + bytes), &x, check);
        }
    }

    pub fn report(&mut self, kind: FaultKind, lane: Option<u32>, message: String) {
        let me = self.me;
        if let Some(check) = &mut self.check {
            check.report(kind, me.warp, me.at, lane, message);
        }
    }

    /// Structures are copied with the padding between their fields, which nobody ever writes: no reason to refute.
    pub fn note_padding(&mut self, mask: u32, places: &[Place<'a>; 32]) {
        let leaves = |lane: &usize| matches!(places[*lane], Place::Global(..));
        let (me, first) = (self.me, lanes(mask).find(leaves));
        if let (Some(check), Some(lane)) = (&mut self.check, first) {
            let message =
                "padding that was never written is stored to global memory with its structure".into();
            check.note(FaultKind::Undefined, me.warp, me.at, Some(lane as u32), message);
        }
    }

    /// A copy of what the running warp knows, to be handed on.
    pub fn publish(&mut self) -> Option<Knowledge> {
        let warp = self.me.warp;
        self.check.as_mut().map(|c| c.publish(warp))
    }
}

impl Touch {
    fn writes(&self) -> bool {
        self.flags & flag::WRITE != 0
    }

    fn value_defined(&self, lane: usize) -> bool {
        self.defined >> lane & 1 == 1
    }

    fn access(&self, flags: u16, lane: usize) -> Access {
        let Me { warp, at, .. } = self.me;
        Access { agent: warp as u32, warp, at, flags, lane: Some(lane as u32) }
    }

    fn report(&self, kind: FaultKind, lane: usize, message: String, check: &mut Check) {
        check.report(kind, self.me.warp, self.me.at, Some(lane as u32), message);
    }

    /// A stored value leaves the CTA: it has to be defined.
    fn leaves(&self, to: &str, lane: usize, check: &mut Check) {
        if self.writes() && !self.value_defined(lane) {
            let message = format!("an undefined value is stored to {to}");
            self.report(FaultKind::Undefined, lane, message, check);
        }
    }

    /// Writes what is known of the bytes, or looks at it: whether all that are read are defined.
    fn shared_value(&self, cta: usize, from: usize, lane: usize, check: &mut Check) -> bool {
        let bytes = self.bytes as usize;
        if self.writes() {
            check.define_shared(cta, from, bytes, self.value_defined(lane));
            return true;
        }
        check.shared_defined(cta, from, bytes)
    }

    /// Asks the shadow, once for each cell that neighbouring lanes touch together.
    fn cells(&self, mask: u32, regions: &[Region; 32], from: &[u64; 32], check: &mut Check) {
        let bytes = self.bytes;
        let first = mask.trailing_zeros() as usize;
        let lanes_of = Lanes { mask, bytes, from };
        let mut pass = check.pass_of_lanes(self.access(self.flags, first), &lanes_of, !self.collective);
        let by = PartLanes { mask: 0, same: self.same, bytes, from };
        let mut open: Option<(Part, PartLanes)> = None;
        for lane in lanes(mask) {
            let (region, at) = (regions[lane], from[lane]);
            if bytes > GRANULE as u64 {
                let by = PartLanes { mask: 1 << lane, ..by };
                check.touch_range(&mut pass, region, at..at + bytes, Some(by));
                continue;
            }
            // At most 16 bytes of a lane, aligned to their size: one cell.
            let own = (((1u32 << bytes) - 1) << (at % GRANULE as u64)) as u16;
            let (granule, same) = (at / GRANULE as u64, self.same >> lane & 1 == 1);
            match &mut open {
                Some((part, by)) if part.region == region && part.granule == granule => {
                    part.mask |= own;
                    part.same &= same;
                    by.mask |= 1 << lane;
                }
                _ => {
                    if let Some((part, by)) = open.take() {
                        check.touch_cell(&mut pass, &part, Some(by));
                    }
                    let part = Part { region, granule, mask: own, lane: Some(lane as u32), same };
                    open = Some((part, PartLanes { mask: 1 << lane, ..by }));
                }
            }
        }
        if let Some((part, by)) = open {
            check.touch_cell(&mut pass, &part, Some(by));
        }
        check.end_pass(pass);
    }
}

/// The range of global memory that lanes are being gathered for, and the first of them.
struct Range {
    touch: Touch,
    open: Option<(u64, u64, usize)>,
}

impl Range {
    fn add(&mut self, from: u64, lane: usize, out: &mut Far, check: &mut Check) {
        let end = from + self.touch.bytes;
        self.open = match self.open {
            Some((lo, hi, first)) if hi == from => Some((lo, end, first)),
            Some((lo, hi, first)) if from >= lo && end <= hi => Some((lo, hi, first)),
            _ => {
                self.close(out, check);
                Some((from, end, lane))
            }
        };
    }

    fn close(&mut self, out: &mut Far, check: &mut Check) {
        if let Some((lo, hi, lane)) = self.open.take() {
            out.note((lo, hi), &self.touch.access(self.touch.flags, lane), check);
        }
    }
}

/// Those outside of the machine that accesses to global memory may meet: other CTAs, later, and earlier launches.
struct Far<'w> {
    log: &'w mut Option<GlobalLog>,
    after: &'w [Arc<GridLog>],
}

impl Far<'_> {
    fn note(&mut self, (lo, hi): (u64, u64), x: &Access, check: &mut Check) {
        if check.beside_earlier(x.warp) {
            check.against_earlier(self.after, (lo, hi), x);
        }
        let Some(log) = self.log else { return };
        if x.flags & flag::STRONG != 0 {
            log.atomic(lo, hi - lo, x.at);
        } else if x.flags & flag::WRITE != 0 {
            log.write(lo, hi - lo, x.at);
        } else {
            log.read(lo, hi - lo, x.at);
        }
    }
}
