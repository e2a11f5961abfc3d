//! A warp: its lanes, where each group of them stands, and one instruction after the other.
//!
//! Divergence is a stack of groups. A branch that splits a group leaves it waiting at the point where both ways meet
//! again (the immediate post-dominator) and pushes a group for each way; the group on top runs until it gets there.

use super::{
    access::{self, PendingCopy, Refused, Spaces},
    bits,
    check::{Defined, Finding},
    compare, convert, float, generic, int, matrix,
    rows::{Rows, lanes},
    warp_ops,
};
use crate::{fault::FaultKind, flow::NEVER, ir::*};
use std::collections::VecDeque;

#[derive(Clone, Copy, Debug)]
struct Group {
    pc: u32,
    mask: u32,
    /// Where it merges into the group below.
    meet: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pause {
    Done,
    /// Arrived at a barrier and waits there.
    Barrier(u32),
    /// The slice of steps is used up.
    Preempted,
}

pub struct Warp {
    pub number: u32,
    pub rows: Rows,
    groups: Vec<Group>,
    pub exited: u32,
    /// Lanes that exist (the last warp of a CTA may be partial).
    pub lanes: u32,
    pub local: Vec<u8>,
    /// Present in check mode.
    pub defined: Option<Defined>,
    pub steps: u64,
    /// Thread-instructions executed.
    pub work: u64,
    open_copies: Vec<PendingCopy>,
    copy_groups: VecDeque<Vec<PendingCopy>>,
}

/// What an instruction asks of the CTA.
pub enum Ask {
    Arrive { id: u32, threads: Option<u32>, wait: bool, count: u32 },
}

/// A fault of one instruction, at its position.
pub struct WarpFault {
    pub at: u32,
    pub refused: Refused,
}

impl Warp {
    pub fn new(number: u32, rows: Rows, lanes: u32, local_bytes: usize) -> Warp {
        Warp {
            number,
            rows,
            groups: vec![Group { pc: 0, mask: lanes, meet: NEVER }],
            exited: 0,
            lanes,
            local: vec![0; local_bytes * 32],
            defined: None,
            steps: 0,
            work: 0,
            open_copies: vec![],
            copy_groups: VecDeque::new(),
        }
    }

    pub fn live(&self) -> u32 {
        self.lanes & !self.exited
    }

    /// Position of the next instruction.
    pub fn position(&self) -> u32 {
        self.groups.last().map_or(0, |g| g.pc)
    }

    /// Runs until the warp is done, waits, or has used `budget` steps.
    pub fn run(
        &mut self,
        kernel: &Kernel,
        meets: &[u32],
        mut spaces: Spaces,
        budget: u64,
        ask: &mut dyn FnMut(Ask) -> Result<(), Refused>,
    ) -> Result<Pause, WarpFault> {
        for _ in 0..budget {
            let Some(group) = self.settle() else {
                self.land_all(&mut spaces);
                return Ok(Pause::Done);
            };
            let inst = &kernel.code[group.pc as usize];
            let active = match inst.guard {
                None => group.mask,
                Some((p, false)) => group.mask & self.rows.pred(p),
                Some((p, true)) => group.mask & !self.rows.pred(p),
            };
            self.steps += 1;
            self.work += active.count_ones() as u64;
            let fault = |refused| WarpFault { at: group.pc, refused };
            if spaces.check.is_some() {
                self.look(inst, group.pc, active, group.mask, &mut spaces);
            }
            match &inst.op {
                Op::Branch { target } => self.branch(active, *target, meets[group.pc as usize]),
                Op::Exit => {
                    self.advance();
                    self.exit(active);
                }
                Op::Trap if active != 0 => {
                    return Err(fault((
                        FaultKind::Trap,
                        "`trap` was reached".into(),
                        lanes(active).next().map(|l| l as u32),
                    )));
                }
                Op::Barrier { id, count, wait } if active != 0 => {
                    let lane = active.trailing_zeros() as usize;
                    let number = self.rows.row(*id)[lane];
                    let threads = count.map(|c| self.rows.row(c)[lane]);
                    if active != self.live() {
                        let message = format!(
                            "barrier {number} is reached by lanes {active:#010x} while {:#010x} are alive",
                            self.live()
                        );
                        return Err(fault((FaultKind::DivergentBarrier, message, None)));
                    }
                    self.advance();
                    ask(Ask::Arrive { id: number, threads, wait: *wait, count: 32 }).map_err(fault)?;
                    if *wait {
                        return Ok(Pause::Barrier(number));
                    }
                }
                op => {
                    if active != 0 {
                        self.execute(op, active, &mut spaces).map_err(fault)?;
                    }
                    self.advance();
                }
            }
        }
        Ok(Pause::Preempted)
    }

    /// Drops empty and merged groups; the one that runs next.
    fn settle(&mut self) -> Option<Group> {
        while let Some(top) = self.groups.last() {
            if top.mask & !self.exited == 0 || top.pc == top.meet {
                self.groups.pop();
                continue;
            }
            let mask = top.mask & !self.exited;
            let group = Group { mask, ..*top };
            return Some(group);
        }
        None
    }

    fn advance(&mut self) {
        if let Some(top) = self.groups.last_mut() {
            top.pc += 1;
        }
    }

    fn exit(&mut self, mask: u32) {
        self.exited |= mask;
    }

    fn branch(&mut self, taken: u32, target: u32, meet: u32) {
        let exited = self.exited;
        let Some(top) = self.groups.last_mut() else { return };
        let rest = top.mask & !exited & !taken;
        if taken == 0 {
            top.pc += 1;
            return;
        }
        if rest == 0 {
            top.pc = target;
            return;
        }
        let next = top.pc + 1;
        if top.meet == meet {
            // The group below already waits there with all of these lanes.
            self.groups.pop();
        } else {
            top.pc = meet;
        }
        for (pc, mask) in [(next, rest), (target, taken)] {
            if pc != meet {
                self.groups.push(Group { pc, mask, meet });
            }
        }
    }

    /// Check mode, before an instruction: are guard, addresses and barrier operands defined? And what will its results be?
    fn look(&mut self, inst: &Inst, at: u32, active: u32, group: u32, m: &mut Spaces) {
        let (Some(defined), Some(watch)) = (&mut self.defined, &mut m.check) else { return };
        watch.at = at;
        let warp = watch.warp as u32;
        let mut refute = |lanes: u32, what: &str| {
            if lanes != 0 {
                let message = format!("an undefined value reaches {what}");
                let lane = Some(lanes.trailing_zeros());
                watch.cta.report(Finding {
                    kind: FaultKind::Undefined,
                    at,
                    warp,
                    lane,
                    message,
                    other: None,
                });
            }
        };
        if let Some((p, _)) = inst.guard {
            let what = if matches!(inst.op, Op::Branch { .. }) { "a branch" } else { "a guard" };
            refute(group & !defined.pred(p), what);
        }
        let mut operands = u32::MAX;
        inst.op.visit(&mut |role| {
            if let Role::Address(s) = role {
                operands &= defined.of_rows([s]);
            }
        });
        refute(active & !operands, "an address, a barrier or a lane operand");
        match inst.op {
            // Memory decides what a load gives; see `execute`.
            Op::Load { .. } | Op::LoadMatrix { .. } => {}
            Op::Select { rows, d, a, b, p } => {
                let pick = self.rows.pred(p);
                for n in 0..rows as u32 {
                    let chosen = (defined.of_rows([a + n]) & pick) | (defined.of_rows([b + n]) & !pick);
                    defined.set_row(d + n, active, chosen & defined.pred(p));
                }
            }
            // A lane receives what its source lane has: reductions of a few lanes leave the others undefined.
            Op::Shuffle { kind, d, p, a, lane, clamp, .. } => {
                let (have, by, limit) = (defined.of_rows([a]), self.rows.row(lane), self.rows.row(clamp));
                let received = lanes(active).fold(0, |m, l| {
                    let (source, inside) = warp_ops::source_lane(kind, l as u32, by[l] & 31, limit[l]);
                    m | (have >> if inside { source } else { l as u32 } & 1) << l
                });
                defined.set_row(d, active, received);
                if let Some(p) = p {
                    defined.define_pred(p);
                }
            }
            _ => defined.propagate(&inst.op, active),
        }
    }

    /// Lanes for which all rows an operation reads are defined.
    fn sources_defined(&self, op: &Op) -> u32 {
        let Some(defined) = &self.defined else { return u32::MAX };
        let mut mask = u32::MAX;
        op.visit(&mut |role| {
            if let Role::Use(s) = role {
                mask &= defined.of_rows([s]);
            }
        });
        mask
    }

    fn execute(&mut self, op: &Op, mask: u32, m: &mut Spaces) -> Result<(), Refused> {
        let sources = if m.check.is_some() { self.sources_defined(op) } else { u32::MAX };
        let r = &mut self.rows;
        match op {
            Op::Nop
            | Op::Fence(_)
            | Op::NanoSleep { .. }
            | Op::WarpSync { .. }
            | Op::Trap
            | Op::Exit
            | Op::Branch { .. }
            | Op::Barrier { .. } => {}
            Op::Copy { to, from } => {
                if let ([d], [a]) = (&to[..], &from[..]) {
                    let row = *r.row(*a);
                    r.put(*d, mask, &row);
                } else {
                    let values: Vec<_> = from.iter().map(|&a| *r.row(a)).collect();
                    for (d, row) in to.iter().zip(&values) {
                        r.put(*d, mask, row);
                    }
                }
            }
            Op::Pack16 { d, lo, hi } => r.map2(mask, *d, *lo, *hi, |l, h| (l & 0xffff) | h << 16),
            Op::Unpack16 { lo, hi, a } => {
                let word = *r.row(*a);
                if let Some(lo) = lo {
                    r.put(*lo, mask, &word.map(|w| w & 0xffff));
                }
                if let Some(hi) = hi {
                    r.put(*hi, mask, &word.map(|w| w >> 16));
                }
            }
            &Op::Int { op, signed, width, sat, d, a, b, c } => {
                int::run(r, mask, int::IntArgs { op, signed, width, sat, d, a, b, c });
            }
            &Op::Float { op, ty, mods, d, a, b, c } => {
                float::run(r, mask, float::FloatArgs { op, ty, mods, d, a, b, c });
            }
            Op::Carry { .. } => bits::carry(r, mask, op),
            Op::IsSpace { p, space, a } => generic::is_space(r, mask, *p, *space, *a),
            Op::Print { d, format, arguments } => {
                let text = generic::print(r, mask, *d, *format, *arguments, m);
                m.shared.printed.extend_from_slice(&text);
            }
            Op::AssertFail { .. } => return Err(generic::assertion(r, mask, op, m)),
            Op::Refuse(why) => return Err((FaultKind::NotSupported, why.to_string(), None)),
            Op::BarrierReduce { .. } => {
                return Err((FaultKind::NotSupported, "`barrier.red` is not run yet".into(), None));
            }
            Op::Convert { .. } => convert::convert(r, mask, op),
            Op::Setp { .. } => compare::setp(r, mask, op),
            Op::TestClass { p, a, wide, class } => compare::test_class(r, mask, *p, *a, *wide, *class),
            Op::Select { rows, d, a, b, p } => {
                let pick = r.pred(*p);
                for n in 0..*rows as u32 {
                    let (x, y) = (*r.row(a + n), *r.row(b + n));
                    let out = std::array::from_fn(|l| if pick >> l & 1 == 1 { x[l] } else { y[l] });
                    r.put(d + n, mask, &out);
                }
            }
            Op::PredLogic { d, a, b, table } => {
                let (x, y) = (r.pred(*a), r.pred(*b));
                let term = |bit: u8, v: u32| if table >> bit & 1 == 1 { v } else { 0 };
                let value = term(0, !x & !y) | term(1, x & !y) | term(2, !x & y) | term(3, x & y);
                r.set_pred(*d, value, mask);
            }
            Op::PredFrom { d, a } => {
                let bits = r.row(*a).iter().enumerate().fold(0, |m, (l, v)| m | ((*v != 0) as u32) << l);
                r.set_pred(*d, bits, mask);
            }
            Op::Load { .. }
            | Op::LoadParam { .. }
            | Op::Store { .. }
            | Op::Atomic { .. }
            | Op::Cvta { .. }
            | Op::LoadMatrix { .. }
            | Op::StoreMatrix { .. } => {
                let loaded = access::run(r, mask, op, m, sources)?;
                if let (Op::Load { .. } | Op::LoadMatrix { .. }, Some(defined)) = (op, &mut self.defined) {
                    op.visit(&mut |role| {
                        if let Role::Def(s) = role {
                            defined.set_row(s, mask, loaded);
                        }
                    });
                }
            }
            Op::CopyAsync { .. } => access::copy_async(r, mask, op, m, &mut self.open_copies)?,
            Op::CopyAsyncCommit => self.copy_groups.push_back(std::mem::take(&mut self.open_copies)),
            Op::CopyAsyncWait { pending } => {
                while self.copy_groups.len() > *pending as usize {
                    let group = self.copy_groups.pop_front().unwrap_or_default();
                    land(&group, m);
                }
            }
            Op::Shuffle { .. }
            | Op::VotePred { .. }
            | Op::VoteBallot { .. }
            | Op::MatchAny { .. }
            | Op::MatchAll { .. }
            | Op::TransposeMatrix { .. }
            | Op::Redux { .. }
            | Op::Elect { .. }
            | Op::ActiveMask { .. } => {
                warp_ops::run(r, mask, op).map_err(|message| (FaultKind::SyncMask, message, None))?;
            }
            Op::Mma { .. } => {
                if mask != u32::MAX {
                    let message =
                        format!("`mma` by lanes {mask:#010x} only; the whole warp has to take part");
                    return Err((FaultKind::SyncMask, message, None));
                }
                matrix::mma(r, op);
            }
            Op::Hopper(op) => {
                let message = format!("the simulator does not run {op:?} yet");
                return Err((FaultKind::NotSupported, message, None));
            }
            Op::Clock { d, wide } => {
                let steps = self.steps;
                r.put(*d, mask, &[steps as u32; 32]);
                if *wide {
                    r.put(*d + 1, mask, &[(steps >> 32) as u32; 32]);
                }
            }
        }
        Ok(())
    }

    fn land_all(&mut self, m: &mut Spaces) {
        for group in self.copy_groups.drain(..) {
            land(&group, m);
        }
        land(&std::mem::take(&mut self.open_copies), m);
    }
}

/// Asynchronous copies land as late as the program allows: at the wait. A missing wait reads old bytes.
fn land(group: &[PendingCopy], m: &mut Spaces) {
    for copy in group {
        m.shared.bytes[copy.to..copy.to + copy.bytes.len()].copy_from_slice(&copy.bytes);
    }
}
