//! Order between the lanes of one warp.
//!
//! Two lanes are two threads: between two instructions nothing orders them but a collective operation that names both, a
//! barrier, or a release and an acquire. The clocks of [`super::clock`] know warps only, so lanes are looked at here.
//!
//! Each warp's time is cut into *spans*. One begins when lanes are ordered and when other lanes run than before; its
//! *stamp*, divided by the number of warps, leaves the warp. When the whole warp is ordered, its earlier spans are
//! forgotten: what bears their stamps can conflict no more. A word of memory remembers the stamp of its last write and of
//! its last read, and for each byte the lane ([`super::lane_words`]):
//!
//! ```text
//! lanes 0-31: st.shared x[lane]                  span 7 {0-31}     word of lane 0: written in 7 by lane 0
//!             ld.shared x[lane ^ 1]              span 7            lane 1 reads it, 7 is live: a note
//!             bar.warp.sync                      span 8, 7 gone    …after this the same read is in order
//! ```
//!
//! Had the lanes been on different ways of a branch in a span since (one of the two in it, the other not), nothing would have
//! kept them in step: refuted. Lanes in step all along are tolerated in practice, as old "warp-synchronous" code relies on
//! it: a note.
//!
//! Where this errs it errs to silence: a word remembers the lanes of one warp; a release is thought to reach every
//! acquire of its warp, whatever the address; conflicts of an instruction with itself, round a loop, are not looked for;
//! and no more than [`MOST_SPANS`] spans of a warp are kept.

use super::lane_words::{LaneAccess, Last, NOBODY, SEVERAL, STRONG};
use crate::exec::rows::lanes;

/// Spans of a warp that are kept while nothing orders all of its lanes.
const MOST_SPANS: usize = 256;

#[derive(Clone, Copy)]
struct Span {
    stamp: u32,
    /// The lanes that ran.
    group: u32,
}

/// What each lane knows of each other: up to which stamp.
type Seen = [[u32; 32]; 32];

/// What is known of the lanes of one warp.
pub struct Standing {
    /// The last stamp given, and how far apart stamps of one warp are.
    last: u32,
    step: u32,
    /// The lanes of the group that runs, and those that execute the instruction.
    group: u32,
    active: u32,
    /// The instruction is a collective: its lanes are in step, whatever was before.
    pub collective: bool,
    /// Since all lanes were ordered; the last one is now.
    spans: Vec<Span>,
    /// Something was accessed in `spans`, in the last of them.
    pub touched: bool,
    pub touched_now: bool,
    /// Present while some lanes are ordered that not all are.
    seen: Option<Box<Seen>>,
    /// Up to which stamp each lane has released, has fenced.
    released: [u32; 32],
    fenced: [u32; 32],
    /// Lanes that made a relaxed read, which a fence may turn into an acquire.
    aside: u32,
}

impl Standing {
    fn new(warp: u32, step: u32) -> Standing {
        let stamp = step + warp;
        Standing {
            last: stamp,
            step,
            group: 0,
            active: 0,
            collective: false,
            spans: vec![Span { stamp, group: 0 }],
            touched: false,
            touched_now: false,
            seen: None,
            released: [0; 32],
            fenced: [0; 32],
            aside: 0,
        }
    }

    /// The oldest stamp that counts.
    #[inline]
    pub fn first(&self) -> u32 {
        self.spans.first().map_or(0, |s| s.stamp)
    }

    #[inline]
    pub fn now(&self) -> u32 {
        self.spans.last().map_or(0, |s| s.stamp)
    }

    /// The stamps up to this one are of accesses that have been made.
    fn past(&self) -> u32 {
        if self.touched_now { self.now() } else { self.now().saturating_sub(1) }
    }

    /// Whether accesses of a stamp can still be in the way of this warp's.
    pub fn holds(&self, stamp: u32) -> bool {
        stamp >= self.first() && stamp % self.step == self.last % self.step
    }

    /// Whether some lanes know more of each other than the rest.
    pub fn partial(&self) -> bool {
        self.seen.is_some()
    }

    /// A span begins, if the last one holds anything.
    fn cut(&mut self) {
        let group = self.group;
        if !self.touched {
            self.spans.clear();
        } else if self.spans.len() >= MOST_SPANS {
            self.spans.drain(..MOST_SPANS / 2);
        }
        match self.spans.last_mut() {
            Some(last) if !self.touched_now && last.group == group => {}
            _ => {
                self.last += self.step;
                self.spans.push(Span { stamp: self.last, group });
            }
        }
        self.touched_now = false;
    }

    /// All lanes are ordered: what was accessed before is before everything that comes.
    fn order_all(&mut self) {
        self.aside = 0;
        if self.touched {
            (self.touched, self.seen) = (false, None);
            self.cut();
        }
    }

    /// These lanes are ordered.
    fn order(&mut self, mask: u32) {
        if !self.touched {
            return;
        }
        let now = self.past();
        let seen = self.begin_partial();
        let mut row = [0; 32];
        for lane in lanes(mask) {
            row.iter_mut().zip(&seen[lane]).for_each(|(to, from)| *to = (*to).max(*from));
        }
        lanes(mask).for_each(|lane| row[lane] = now);
        lanes(mask).for_each(|lane| seen[lane] = row);
        self.cut();
    }

    /// What the lanes know of each other is kept lane by lane until the whole warp is ordered.
    fn begin_partial(&mut self) -> &mut Seen {
        self.seen.get_or_insert_with(|| Box::new([[0; 32]; 32]))
    }

    fn release(&mut self, mask: u32) {
        let now = self.past();
        lanes(mask).for_each(|lane| self.released[lane] = now);
        self.cut();
    }

    fn acquire(&mut self, mask: u32) {
        if self.released.iter().all(|stamp| *stamp < self.first()) {
            return;
        }
        let released = self.released;
        let seen = self.begin_partial();
        for lane in lanes(mask) {
            seen[lane].iter_mut().zip(&released).for_each(|(to, from)| *to = (*to).max(*from));
        }
    }

    /// A lane of an earlier access that is not ordered with this one; `None` if there is none.
    pub fn unordered(&self, last: &Last, x: &LaneAccess) -> Option<u8> {
        let others = |l: &u8| *l != x.lane as u8 && *l != NOBODY;
        let other = (last.lanes | !x.bytes).to_le_bytes().into_iter().find(others)?;
        let now = last.stamp == x.now;
        if now && last.at == x.at || last.at & x.at & STRONG != 0 {
            return None;
        }
        if !now && self.spans.binary_search_by_key(&last.stamp, |s| s.stamp).is_err() {
            return None;
        }
        let ordered = match other {
            SEVERAL => !now,
            other => self.seen.as_ref().is_some_and(|s| s[x.lane as usize][other as usize] >= last.stamp),
        };
        (!(self.partial() && ordered)).then_some(other)
    }

    /// Whether one of the two has run without the other since a stamp.
    pub fn apart(&self, since: u32, lane: u8, other: u8) -> bool {
        let both = 1u32 << lane | if other == SEVERAL { 0 } else { 1u32 << other };
        let split = |s: &Span| s.group & both != 0 && s.group & both != both;
        self.spans.iter().any(|s| s.stamp >= since && split(s))
    }
}

/// Stamps run out beyond this: what is known of lanes is forgotten, and they begin anew.
const MOST_STAMPS: u32 = u32::MAX / 2;

/// The lanes of all warps of a machine.
pub struct Lanes {
    pub(super) warps: Vec<Standing>,
}

impl Lanes {
    pub fn new(warps: usize) -> Lanes {
        Lanes { warps: (0..warps as u32).map(|w| Standing::new(w, warps as u32)).collect() }
    }

    /// A CTA begins at a place of the machine.
    pub fn begin(&mut self, warps: std::ops::Range<usize>) {
        for standing in &mut self.warps[warps] {
            standing.touched = true;
            standing.order_all();
        }
    }

    /// Whether accesses that bear a stamp can still be in anybody's way.
    #[inline]
    pub fn live(&self, stamp: u32) -> bool {
        stamp >= self.warps[stamp as usize % self.warps.len()].first()
    }

    /// Whether a warp has had so many spans that no numbers are left for more.
    #[inline]
    pub fn worn_out(&self, warp: usize) -> bool {
        self.warps[warp].last > MOST_STAMPS
    }

    #[cfg(test)]
    pub fn wear_out(&mut self, warp: usize) {
        let step = self.warps.len() as u32;
        self.warps[warp].last = (MOST_STAMPS / step + 1) * step + warp as u32;
    }

    /// Forgets all spans; what memory remembers has to be swept before, with nothing living.
    pub fn restart(&mut self) {
        let step = self.warps.len() as u32;
        for (warp, s) in (0..).zip(&mut self.warps) {
            let fresh = Standing::new(warp, step);
            *s = Standing { group: s.group, active: s.active, collective: s.collective, ..fresh };
        }
    }

    /// Which lanes of a warp are about to execute an instruction: its group, and those whose guard is true.
    #[inline]
    pub fn stand(&mut self, warp: usize, group: u32, active: u32, collective: bool) {
        let s = &mut self.warps[warp];
        (s.active, s.collective) = (active, collective);
        if s.group != group {
            s.group = group;
            s.cut();
        }
    }

    /// A collective operation of these lanes. `all`: of all that live.
    pub fn order(&mut self, warp: usize, mask: u32, all: bool) {
        let s = &mut self.warps[warp];
        if all { s.order_all() } else { s.order(mask) }
    }

    /// The lanes that execute the instruction hand on what they know.
    pub fn release(&mut self, warp: usize) {
        let s = &mut self.warps[warp];
        s.release(s.active);
    }

    /// The lanes that execute the instruction learn what others of their warp have handed on.
    pub fn acquire(&mut self, warp: usize) {
        let s = &mut self.warps[warp];
        s.acquire(s.active);
    }

    /// A strong read that is no acquire: a fence behind it will make it one.
    pub fn relaxed_read(&mut self, warp: usize) {
        let s = &mut self.warps[warp];
        s.aside |= s.active;
    }

    /// A strong write that is no release hands on what lay before the last fence.
    pub fn relaxed_write(&mut self, warp: usize) {
        let s = &mut self.warps[warp];
        lanes(s.active).for_each(|lane| s.released[lane] = s.released[lane].max(s.fenced[lane]));
    }

    pub fn fence(&mut self, warp: usize, acquires: bool, releases: bool) {
        let s = &mut self.warps[warp];
        if acquires {
            s.acquire(s.active & s.aside);
        }
        if releases {
            let now = s.past();
            lanes(s.active).for_each(|lane| s.fenced[lane] = now);
            s.cut();
        }
    }
}
