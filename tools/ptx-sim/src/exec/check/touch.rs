//! Accesses: compared with those before them, and remembered.
//!
//! An instruction makes a *pass* over the cells that its lanes touch. All of its cells that are in one state, and of which it
//! touches the same bytes, mostly fare alike, so the pass works a step out once and takes it again:
//!
//! ```text
//! ld.global.f32, 32 lanes in order: cells 0-7, all untouched      cell 0: state 0 becomes 17, worked out
//!                                                                 cells 1-7: 0 becomes 17
//! ```
//!
//! When a warp comes to an instruction again, and has learned nothing since, the pass goes on: a loop that streams works out
//! nothing. A step is worked out for each cell where a conflict is found, and where the lanes of an earlier access, still in the way,
//! compare with these in a way that depends on the place.

use super::{
    Access, Check, Region,
    cell::Entry,
    clock::Agent,
    conflict::{Verdict, judge},
    lane_words::{AtCell, Halves, LaneAccess, STRONG, Unordered},
    shadow::{GRANULE, Number, State, flag},
    shape::{Code, Lanes},
};
use crate::exec::rows::lanes;

/// Room that every access uses again.
#[derive(Default)]
pub struct Scratch(Option<Box<Working>>);

#[derive(Default)]
struct Working {
    state: State,
    unordered: Vec<(u64, u64, Access, Unordered)>,
}

impl Scratch {
    fn take(&mut self) -> Box<Working> {
        self.0.take().unwrap_or_default()
    }
}

/// Steps that a pass remembers.
const STEPS: usize = 8;

/// A state, what is touched, and the state after it.
type Step = (Number, Touched, Number);

/// Bytes of a cell, and whether it is one of global memory, whose numbers are others.
type Touched = (u16, bool);

/// One instruction, or operation, on its way over memory.
pub struct Pass {
    x: Access,
    interval: u32,
    /// Shape of its lanes, and whether none share a byte; `None`: lanes are not told apart.
    code: Option<(Code, bool)>,
    /// Whether memory remembers the lanes: not those of an asynchronous operation, which the clocks judge, nor those of a
    /// collective, which are in order with all that comes behind it.
    remembered: bool,
    /// What its steps hang on besides.
    standing: Standpoint,
    steps: [Step; STEPS],
    count: usize,
}

/// Where a warp stands when it makes a pass: its span of lanes, how much it has learned of others, and since when the numbers of
/// states stand.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Standpoint {
    span: u32,
    learned: u64,
    sweeps: u32,
}

/// The latest passes of instructions, each at the place that warp and instruction give it.
#[derive(Default)]
pub struct Passes(Vec<Option<Box<Pass>>>);

/// How many are kept.
const PASSES: usize = 64;

impl Passes {
    fn place(&mut self, x: &Access) -> &mut Option<Box<Pass>> {
        if self.0.is_empty() {
            self.0.resize_with(PASSES, || None);
        }
        &mut self.0[(x.warp * 37 + x.at as usize) % PASSES]
    }
}

/// What a pass touches of one cell.
pub struct Part {
    pub region: Region,
    pub granule: u64,
    pub mask: u16,
    /// The lane that a finding names.
    pub lane: Option<u32>,
    /// What is stored was there already.
    pub same: bool,
}

impl Part {
    #[inline]
    fn touched(&self) -> Touched {
        (self.mask, self.region == Region::Global)
    }
}

/// The lanes of a part, and where each accesses how many bytes. Those in `same` store what is there.
#[derive(Clone, Copy)]
pub struct PartLanes<'a> {
    pub mask: u32,
    pub same: u32,
    pub bytes: u64,
    pub from: &'a [u64; 32],
}

impl Pass {
    #[inline]
    fn known(&self, from: Number, touched: Touched) -> Option<Number> {
        let known = self.steps[..self.count.min(STEPS)].iter().find(|s| (s.0, s.1) == (from, touched));
        known.map(|s| s.2)
    }

    fn learn(&mut self, step: Step) {
        self.steps[self.count % STEPS] = step;
        self.count += 1;
    }
}

impl Check<'_> {
    /// A pass whose lanes are not told apart.
    pub fn pass(&mut self, x: Access) -> Pass {
        self.shadow.tidy(&self.lanes);
        self.fresh_pass(x, None, false)
    }

    fn fresh_pass(&self, x: Access, code: Option<(Code, bool)>, remembered: bool) -> Pass {
        let (interval, standing) = (self.interval(x.agent), self.standpoint(x.warp));
        Pass {
            x,
            interval,
            code,
            remembered,
            standing,
            steps: [([0; 2], (0, false), [0; 2]); STEPS],
            count: 0,
        }
    }

    fn standpoint(&self, warp: usize) -> Standpoint {
        let (span, learned) = (self.lanes.warps[warp].now(), self.learned[warp]);
        Standpoint { span, learned, sweeps: self.shadow.sweeps }
    }

    /// A pass of an instruction of these lanes. `apart`: each lane by itself, not all of a warp together.
    pub fn pass_of_lanes(&mut self, x: Access, of: &Lanes, apart: bool) -> Box<Pass> {
        if self.lanes.worn_out(x.warp) {
            self.lanes.restart();
            self.shadow.forget_lanes();
        }
        self.shadow.tidy(&self.lanes);
        let standing = &mut self.lanes.warps[x.warp];
        let remembered = apart && x.agent as usize == x.warp;
        if remembered {
            (standing.touched, standing.touched_now) = (true, true);
        }
        // Without anything to be compared with, lanes need not be told apart.
        let code = standing.touched.then(|| {
            let code = self.shadow.shapes.of(of);
            (code, self.shadow.shapes.apart(code))
        });
        match self.passes.place(&x).take() {
            Some(mut old) => {
                let goes_on = (old.x.agent, old.x.warp, old.x.at, old.x.flags)
                    == (x.agent, x.warp, x.at, x.flags)
                    && (old.interval, old.standing) == (self.interval(x.agent), self.standpoint(x.warp))
                    && old.code == code
                    // What is fenced of a map hangs on which map it is.
                    && x.flags & flag::MAP == 0;
                match goes_on {
                    true => old.x.lane = x.lane,
                    false => *old = self.fresh_pass(x, code, remembered),
                }
                old
            }
            None => Box::new(self.fresh_pass(x, code, remembered)),
        }
    }

    /// The pass is over; it may go on when its warp comes by again.
    pub fn end_pass(&mut self, pass: Box<Pass>) {
        let place = self.passes.place(&pass.x);
        *place = Some(pass);
    }

    /// A range of bytes, whatever the lane.
    pub fn touch(&mut self, region: Region, from: u64, bytes: u64, x: Access) {
        let mut pass = self.pass(x);
        self.touch_range(&mut pass, region, from..from + bytes, None);
    }

    /// A range of bytes, by one lane.
    pub fn touch_by_lane(&mut self, region: Region, from: u64, bytes: u64, x: Access, lane: u32) {
        let mut begins = [0; 32];
        begins[lane as usize] = from;
        let by = PartLanes { mask: 1 << lane, same: 0, bytes, from: &begins };
        let mut pass = self.pass_of_lanes(x, &Lanes { mask: by.mask, bytes, from: &begins }, true);
        self.touch_range(&mut pass, region, from..from + bytes, Some(by));
        self.end_pass(pass);
    }

    pub(in crate::exec) fn touch_range(
        &mut self,
        pass: &mut Pass,
        region: Region,
        bytes: std::ops::Range<u64>,
        by: Option<PartLanes>,
    ) {
        let (size, lane) = (GRANULE as u64, pass.x.lane);
        for granule in bytes.start / size..bytes.end.div_ceil(size) {
            let from = bytes.start.max(granule * size) - granule * size;
            let end = bytes.end.min((granule + 1) * size) - granule * size;
            let mask = (((1u32 << (end - from)) - 1) << from) as u16;
            self.touch_cell(pass, &Part { region, granule, mask, lane, same: false }, by);
        }
    }

    /// Bytes of one cell.
    #[inline]
    pub fn touch_cell(&mut self, pass: &mut Pass, part: &Part, by: Option<PartLanes>) {
        let Some(before) = self.shadow.number(part.region, part.granule) else { return };
        let after = match pass.known(before, part.touched()) {
            Some(after) => after,
            None => self.step(pass, part, by, before),
        };
        if after == before {
            return;
        }
        self.shadow.set_number(part.region, part.granule, after);
        if before == [0; 2] {
            self.shadow.touch_first(part.region);
        }
    }

    /// Works out the state of a cell after an access, and says what is wrong with it.
    fn step(&mut self, pass: &mut Pass, part: &Part, by: Option<PartLanes>, before: Number) -> Number {
        let x = Access { lane: part.lane, ..pass.x };
        let mut scratch = self.scratch.take();
        self.shadow.open(before, part.granule, &mut scratch.state);
        let bad = self.against_agents(pass, part, &mut scratch.state);
        let mut general = bad.is_none();
        if let (Some((code, apart)), Some(by)) = (pass.code, by) {
            let at = LanesAt { part, by, code, apart, own: pass.remembered };
            general &= self.against_lanes(x, &at, &mut scratch);
        }
        let after = self.shadow.close(part.region, &scratch.state, &self.lanes);
        if general {
            pass.learn((before, part.touched(), after));
        }
        if let Some((e, verdict)) = bad {
            self.conflict(part.region, part.granule, part.mask & e.mask, x, &e, verdict);
        }
        for (from, end, x, found) in scratch.unordered.drain(..) {
            self.lanes_unordered(part.region, from..end, x, &found);
        }
        self.scratch.0 = Some(scratch);
        after
    }

    /// The worst that is wrong with an access, judged by the clocks of warps and operations.
    fn against_agents(&self, pass: &Pass, part: &Part, state: &mut State) -> Option<(Entry, Verdict)> {
        let (x, same) = (pass.x, part.same);
        let entry =
            Entry { agent: x.agent, interval: pass.interval, at: x.at, mask: part.mask, flags: x.flags };
        let known = &self.know[x.warp];
        let warps = self.own.len();
        let (per_cta, per_cluster) = (self.warps_per_cta, self.ctas_per_cluster);
        let owners = &self.findings.owners;
        let cta_of = |agent: Agent| {
            let a = agent as usize;
            (if a < warps { a } else { owners[a - warps] }) / per_cta
        };
        let fenced = match part.region {
            _ if entry.is(flag::MAP) => &self.fenced_map,
            Region::Shared(_) => &known.fenced_shared,
            Region::Global => &known.fenced_global,
        };
        let mut bad: Option<(Entry, Verdict)> = None;
        state.cell.access(entry, known, &mut |e| {
            let verdict = judge(e, &entry, (&known.seen, fenced), &cta_of, per_cluster);
            let equal = same && e.is(flag::WRITE) && !e.is(flag::ASYNC);
            let verdict = match verdict {
                Some(Verdict::Race) if equal => Some(Verdict::EqualValues),
                other => other,
            };
            if let Some(v) = verdict
                && bad.as_ref().is_none_or(|(_, b)| v < *b)
            {
                bad = Some((*e, v));
            }
        });
        bad
    }

    /// Are the lanes of one instruction in order with other lanes of their warp? An asynchronous operation begins where its
    /// lane stands. Whether the answer would be the same at every cell of this state.
    fn against_lanes(&self, x: Access, at: &LanesAt, scratch: &mut Working) -> bool {
        let standing = &self.lanes.warps[x.warp];
        let Working { state, unordered } = scratch;
        let own = at.own;
        let (mask, code, apart) = (at.part.mask, at.code, at.apart);
        let cell = AtCell { mask, code, apart, flags: x.flags, own, standing };
        let mut halves = Halves { write: &mut state.write, read: &mut state.read };
        let mut general = halves.alike_everywhere(&cell);
        let strong = if x.flags & flag::STRONG != 0 { STRONG } else { 0 };
        let mut access = LaneAccess { now: standing.now(), at: x.at | strong, lane: 0, bytes: 0 };
        let (first, end) = (at.part.granule * GRANULE as u64, (at.part.granule + 1) * GRANULE as u64);
        for lane in lanes(at.by.mask) {
            access.lane = lane as u32;
            let same = at.by.same >> lane & 1 == 1;
            let (from, to) = (at.by.from[lane].max(first), end.min(at.by.from[lane] + at.by.bytes));
            let mut from = from;
            while from < to {
                let next = to.min((from / 4 + 1) * 4);
                access.bytes = (u64::MAX >> (64 - 8 * (next - from)) << (8 * (from % 4))) as u32;
                if let Some(found) = halves.touch((from % 16 / 4) as usize, &access, same, &cell) {
                    let x = Access { lane: Some(access.lane), ..x };
                    unordered.push((from, next, x, found));
                }
                from = next;
            }
        }
        if own {
            general &= halves.name(&cell, &self.shadow.shapes.lanes(code, at.part.granule));
        }
        general && unordered.is_empty()
    }

    /// The reads that an operation made of these bytes count as the warp's own from here on: it has waited for them.
    pub fn adopt_reads(&mut self, region: Region, from: u64, bytes: u64, slot: Agent, warp: usize) {
        let interval = self.know[warp].seen.get(warp as Agent);
        let mut last = ([0; 2], [0; 2]);
        for granule in from / GRANULE as u64..(from + bytes).div_ceil(GRANULE as u64) {
            let Some(before) = self.shadow.number(region, granule) else { continue };
            if before != last.0 {
                let mut scratch = self.scratch.take();
                self.shadow.open(before, granule, &mut scratch.state);
                scratch.state.cell.adopt_reads(slot, (warp as Agent, interval));
                last = (before, self.shadow.close(region, &scratch.state, &self.lanes));
                self.scratch.0 = Some(scratch);
            }
            self.shadow.set_number(region, granule, last.1);
        }
    }
}

/// The lanes of a part, with their shape.
struct LanesAt<'a> {
    part: &'a Part,
    by: PartLanes<'a>,
    code: Code,
    apart: bool,
    own: bool,
}

#[cfg(test)]
mod tests;
