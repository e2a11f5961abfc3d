//! Accesses at random, the short way and the plain one: states in full, one for each cell, every step worked out.

use super::*;
use crate::{decode, ir::Kernel, read};
use std::collections::HashMap;

const WARPS: usize = 4;

fn kernel() -> Kernel {
    let text = ".version 8.6\n.target sm_90a\n.address_size 64\n.visible .entry k() { ret; }";
    decode::kernel(&read::parse(text).expect("a module"), "k").expect("a kernel")
}

/// Numbers without a pattern.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % n
    }

    /// Where the lanes of an instruction go: in order, by strides, all to one place, shared by pairs, anywhere.
    fn places(&mut self, bytes: u64) -> [u64; 32] {
        let (kind, base) = (self.below(8), self.below(6) * 16);
        let swap = self.below(32);
        std::array::from_fn(|lane| {
            let lane = lane as u64;
            base + match kind {
                0..3 => lane * bytes,
                3 => lane * 2 * bytes,
                4 => lane * 33 * bytes,
                5 => 0,
                6 => lane / 2 * bytes,
                _ => (lane ^ swap) * bytes,
            }
        })
    }
}

struct Both<'a> {
    check: Check<'a>,
    plain: HashMap<(Region, u64), State>,
    short: usize,
    conflicts: usize,
}

impl Both<'_> {
    fn access(&mut self, x: Access, of: &Lanes, region: Region, apart: bool) {
        let mut pass = self.check.pass_of_lanes(x, of, apart);
        let mut open: Option<(Part, u32)> = None;
        for lane in lanes(of.mask) {
            let (granule, low) = (of.from[lane] / 16, of.from[lane] % 16);
            let own = (((1u32 << of.bytes) - 1) << low) as u16;
            match &mut open {
                Some((part, lanes)) if part.granule == granule => {
                    part.mask |= own;
                    *lanes |= 1 << lane;
                }
                _ => {
                    if let Some((part, lanes)) = open.take() {
                        self.part(&mut pass, &part, of, lanes);
                    }
                    let part = Part { region, granule, mask: own, lane: Some(lane as u32), same: false };
                    open = Some((part, 1 << lane));
                }
            }
        }
        if let Some((part, lanes)) = open {
            self.part(&mut pass, &part, of, lanes);
        }
        self.check.end_pass(pass);
        if !apart {
            self.check.lanes.order(x.warp, u32::MAX, true);
        }
    }

    fn part(&mut self, pass: &mut Pass, part: &Part, of: &Lanes, mask: u32) {
        let place = (part.region, part.granule);
        let by = PartLanes { mask, same: 0, bytes: of.bytes, from: of.from };
        let mut scratch = Working { state: self.plain.remove(&place).unwrap_or_default(), unordered: vec![] };
        // A pass that knows nothing of those before it: what the short one still knows has to be so.
        let plain = self.check.fresh_pass(pass.x, pass.code, pass.remembered);
        let bad = self.check.against_agents(&plain, part, &mut scratch.state);
        if let Some((code, apart)) = pass.code {
            let at = LanesAt { part, by, code, apart, own: pass.remembered };
            self.check.against_lanes(pass.x, &at, &mut scratch);
        }
        let before = self.check.shadow.number(part.region, part.granule).expect("a cell");
        let conflict = bad.is_some() || !scratch.unordered.is_empty();
        if pass.known(before, part.touched()).is_some() {
            self.short += 1;
            assert!(!conflict, "a step that is taken again hides a conflict");
        }
        self.conflicts += conflict as usize;
        self.check.touch_cell(pass, part, Some(by));
        self.same(part.region, part.granule, &scratch.state);
        self.plain.insert(place, scratch.state);
    }

    fn same(&mut self, region: Region, granule: u64, plain: &State) {
        let number = self.check.shadow.number(region, granule).expect("a cell");
        let mut short = State::default();
        self.check.shadow.open(number, granule, &mut short);
        assert_eq!(short.cell, plain.cell);
        for (short, plain) in [(&short.write, &plain.write), (&short.read, &plain.read)] {
            for byte in 0..GRANULE {
                let said = |half: &super::super::lane_words::Half| {
                    half.byte(byte).filter(|(last, _)| self.check.lanes.live(last.0))
                };
                assert_eq!(said(short), said(plain), "byte {byte} of cell {granule}");
            }
        }
    }

    /// Something that orders lanes or warps.
    fn order(&mut self, random: &mut Random) {
        let warp = random.below(WARPS as u64) as usize;
        match random.below(8) {
            0..3 => self.check.lanes.order(warp, u32::MAX, true),
            3 => self.check.lanes.order(warp, 0xffff << (16 * random.below(2)), false),
            4 => self.check.lanes.stand(
                warp,
                [u32::MAX, 0xff, 0xffff_ff00][random.below(3) as usize],
                u32::MAX,
                false,
            ),
            5 => self.check.lanes.fence(warp, true, true),
            6 => self.check.lanes.release(warp),
            _ => {
                let known = self.check.publish(warp);
                self.check.learn(random.below(WARPS as u64) as usize, &known);
            }
        }
    }
}

#[test]
fn the_short_way_is_the_plain_one() {
    let kernel = kernel();
    let mut check = Check::new(&kernel, 1, 1, WARPS, false);
    check.begin(0, [0; 3], 1 << 15);
    let mut both = Both { check, plain: HashMap::new(), short: 0, conflicts: 0 };
    let mut random = Random(1);
    for step in 0..6000 {
        let warp = random.below(WARPS as u64) as usize;
        let bytes = 1 << random.below(5);
        let from = random.places(bytes);
        let mask = [u32::MAX, u32::MAX, 0xff, 0xaaaa_aaaa, 1 << 7][random.below(5) as usize];
        let strong = flag::STRONG | flag::CLUSTER | flag::GPU;
        let flags = [0, 0, flag::WRITE, flag::WRITE, flag::WRITE | strong, strong][random.below(6) as usize];
        let region = if random.below(3) == 0 { Region::Global } else { Region::Shared(0) };
        let (agent, at) = (warp as u32, random.below(5) as u32);
        // Now and then a collective, as `ldmatrix` and `stmatrix` are.
        let apart = mask != u32::MAX || flags & strong != 0 || random.below(3) > 0;
        let at = if apart { at } else { 10 + at };
        // Often again, and in the other memory, as through generic addresses.
        let other = if region == Region::Global { Region::Shared(0) } else { Region::Global };
        for region in [region, region, other].into_iter().skip(random.below(3) as usize) {
            let x = Access { agent, warp, at, flags, lane: None };
            both.access(x, &Lanes { mask, bytes, from: &from }, region, apart);
        }
        for _ in 0..random.below(4) {
            both.order(&mut random);
        }
        if step % 500 == 499 {
            both.check.shadow.forget_states(&both.check.lanes);
            let cells: Vec<_> = both.plain.iter().map(|(&place, state)| (place, state.clone())).collect();
            cells.iter().for_each(|((region, granule), state)| both.same(*region, *granule, state));
        }
    }
    assert!(both.short > 1000 && both.conflicts > 1000, "{} short, {} conflicts", both.short, both.conflicts);
}

#[test]
fn lanes_are_forgotten_when_stamps_run_out_and_told_apart_again() {
    let kernel = kernel();
    let mut check = Check::new(&kernel, 1, 1, WARPS, false);
    check.begin(0, [0; 3], 1024);
    let store = |check: &mut Check, at: u32, lane: u32| {
        let x = Access { agent: 0, warp: 0, at, flags: flag::WRITE, lane: Some(lane) };
        check.touch_by_lane(Region::Shared(0), 16, 4, x, lane);
        check.findings.faults.len()
    };
    assert_eq!((store(&mut check, 1, 0), store(&mut check, 2, 1)), (0, 1));
    check.lanes.wear_out(0);
    assert_eq!((store(&mut check, 3, 2), store(&mut check, 4, 3)), (1, 2));
}
