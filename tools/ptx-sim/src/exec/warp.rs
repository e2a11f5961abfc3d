//! A warp: its registers, where its lanes stand ([`super::divergence`]), and one instruction after the other.
//!
//! Most instructions run for the lanes of one group and end there. The others *converge* (collectives wait until all
//! lanes they name stand at the same instruction) or *wait* for something outside of the warp; the machine comes back
//! to a warp that waits and looks whether the wait is over.

use super::{
    access,
    activation::Activations,
    bits,
    check::Defined,
    compare,
    converge::members,
    convert, copy_async,
    cycle::Cycle,
    divergence::{Group, Groups, Wait},
    float, generic, hopper, int, matrix,
    order_ops::{fence_of, give_votes},
    quads,
    rows::Rows,
    tensor_core::Queue,
    warp_ops,
    world::{Me, World},
};
use crate::{fault::FaultKind, ir::*};

/// A refused operation: kind, message, lane.
pub type Refused = (FaultKind, String, Option<u32>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pause {
    Done,
    /// Every lane waits for something.
    Blocked,
    /// The slice of steps is used up.
    Preempted,
}

/// How a group goes on after an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    Go,
    /// On, after the others have had their turn.
    Yield,
    /// Waits, then runs the instruction again.
    Again(Wait),
    /// Waits, then goes on behind it.
    After(Wait),
}

/// Steps after which another group of the warp runs, and after which a warp is looked at for spinning.
const TURN: u32 = 512;

pub struct Warp {
    /// Place of the CTA in the machine; number in the CTA and in the machine.
    pub cta: usize,
    pub number: usize,
    pub agent: usize,
    pub rows: Rows,
    pub groups: Groups,
    pub exited: u32,
    /// Lanes that exist (the last warp of a CTA may be partial).
    pub lanes: u32,
    pub local: Vec<u8>,
    /// Present in check mode.
    pub defined: Option<Defined>,
    pub steps: u64,
    /// Thread-instructions executed.
    pub work: u64,
    pub tensor: Queue,
    pub(super) activations: Activations,
    turn: u32,
    cycle: Cycle,
    /// Changes this warp has made.
    changed: u64,
}

impl Warp {
    pub fn new(cta: usize, number: usize, agent: usize, rows: Rows, lanes: u32, local_bytes: usize) -> Warp {
        Warp {
            cta,
            number,
            agent,
            rows,
            groups: Groups::new(lanes),
            exited: 0,
            lanes,
            local: vec![0; local_bytes * 32],
            defined: None,
            steps: 0,
            work: 0,
            tensor: Queue::default(),
            activations: Activations::default(),
            turn: 0,
            cycle: Cycle::default(),
            changed: 0,
        }
    }

    pub fn live(&self) -> u32 {
        self.lanes & !self.exited
    }

    /// Runs until the warp is done, waits, or has used `budget` steps. A fault is at `world.me`.
    pub fn run(&mut self, world: &mut World, budget: u64) -> Result<Pause, Refused> {
        let kernel = world.launch.kernel;
        let meets = world.launch.meets;
        let before = world.changes;
        world.me = Me { cta: self.cta, warp: self.agent, number: self.number, at: self.groups.position() };
        self.wake(world);
        let mut left = budget;
        while left > 0 {
            left -= 1;
            let Some(group) = self.groups.settle(self.exited) else {
                return Ok(Pause::Done);
            };
            if group.wait.is_some() {
                if self.groups.rotate() {
                    continue;
                }
                self.changed += world.changes - before;
                return self.blocked(world).map(|()| Pause::Blocked);
            }
            world.me = Me { cta: self.cta, warp: self.agent, number: self.number, at: group.pc };
            let inst = &kernel.code[group.pc as usize];
            let active = match inst.guard {
                None => group.mask,
                Some((p, false)) => group.mask & self.rows.pred(p),
                Some((p, true)) => group.mask & !self.rows.pred(p),
            };
            self.steps += 1;
            self.turn += 1;
            self.work += active.count_ones() as u64;
            if world.check.is_some() {
                self.look(inst, active, group.mask, world);
            }
            if let Some(check) = &mut world.check {
                check.lanes.stand(self.agent, group.mask, active, members(&inst.op).is_some());
            }
            if let Some(counters) = &mut world.counters {
                counters.instruction(&inst.op, world.me, active, &self.rows);
            }
            if let Some(taint) = &mut world.taint {
                taint.look(world.me, inst, active, group.mask, &self.rows)?;
            }
            match self.step(inst, group, active, meets, world)? {
                Next::Go => {}
                Next::Yield => left = 0,
                Next::Again(wait) => {
                    if let Some(counters) = &mut world.counters {
                        counters.waited(world.me, active);
                    }
                    let g = self.groups.current();
                    (g.wait, g.give_up) = (Some(wait), false);
                }
                Next::After(wait) => {
                    let g = self.groups.current();
                    g.pc += 1;
                    g.wait = Some(wait);
                }
            }
            if self.turn >= TURN {
                self.take_turns(world.changes - before);
            }
        }
        self.changed += world.changes - before;
        Ok(Pause::Preempted)
    }

    /// One instruction; moves the group, but for a wait.
    #[inline]
    fn step(
        &mut self,
        inst: &Inst,
        group: Group,
        active: u32,
        meets: &[u32],
        world: &mut World,
    ) -> Result<Next, Refused> {
        match &inst.op {
            Op::Branch { target } => {
                self.groups.branch(active, *target, meets[group.pc as usize], self.exited);
                return Ok(Next::Go);
            }
            Op::Call { routine, formals } => {
                self.call(*routine, formals, group, world)?;
                return Ok(Next::Go);
            }
            Op::Return { routine } => {
                self.give_back(*routine, group, world)?;
                return Ok(Next::Go);
            }
            Op::Exit => {
                self.groups.current().pc += 1;
                self.exit(active, world);
                return Ok(Next::Go);
            }
            _ if active == 0 => {}
            op => {
                let next = match members(op) {
                    Some(members) => return self.converge(op, group, active, members, world),
                    None => self.execute(op, active, group.give_up, world)?,
                };
                if !matches!(next, Next::Go) {
                    if matches!(next, Next::Yield) {
                        let g = self.groups.current();
                        g.pc += 1;
                        g.give_up = false;
                    }
                    return Ok(next);
                }
            }
        }
        let g = self.groups.current();
        g.pc += 1;
        g.give_up = false;
        Ok(Next::Go)
    }

    /// Looks whether what the groups wait for has come.
    fn wake(&mut self, world: &mut World) {
        let Warp { groups, rows, defined, exited, cta, agent, .. } = self;
        let size = world.launch.cluster_size();
        for g in groups.leaves() {
            let Some(wait) = g.wait else { continue };
            match wait {
                Wait::Converge { .. } => continue,
                Wait::Barrier { id, round } => {
                    let barrier = &world.ctas[*cta].barriers[id];
                    if barrier.round == round {
                        continue;
                    }
                    if let Some(check) = &mut world.check {
                        check.learn(*agent, &barrier.opened);
                        check.lanes.order(*agent, u32::MAX, true);
                    }
                    let inst = &world.launch.kernel.code[g.pc as usize - 1];
                    give_votes(&inst.op, rows, defined, g.mask & !*exited, barrier.result);
                }
                Wait::Cluster { round, acquire } => {
                    let barrier = &world.cluster_barriers[*cta / size];
                    if barrier.round == round {
                        continue;
                    }
                    if let (true, Some(check)) = (acquire, &mut world.check) {
                        check.learn(*agent, &barrier.opened);
                        check.lanes.order(*agent, u32::MAX, true);
                    }
                }
                Wait::Mbarrier { cta, at, goal } => {
                    if !g.give_up && !world.reached(cta, at, goal) {
                        continue;
                    }
                }
                Wait::Registers { .. } => {}
            }
            g.wait = None;
        }
    }

    /// Every lane waits: for others of this warp only, it waits in vain.
    fn blocked(&mut self, world: &mut World) -> Result<(), Refused> {
        let mut inside = None;
        for g in self.groups.leaves() {
            match g.wait {
                Some(Wait::Converge { members }) => inside = Some((g.pc, g.mask, members)),
                _ => return Ok(()),
            }
        }
        let Some((pc, mask, members)) = inside else { return Ok(()) };
        // Lanes that met others' ways may be among those that are missing: let them come first.
        if self.groups.release_met(self.exited) {
            return Ok(());
        }
        world.me.at = pc;
        Err(self.refuse_partial(&world.launch.kernel.code[pc as usize].op, mask & !self.exited, members))
    }

    /// A group has run for a while: another one's turn. If the warp only repeats itself, lanes that wait for it to
    /// meet them go on by themselves.
    fn take_turns(&mut self, changes: u64) {
        self.turn = 0;
        if !self.groups.diverged() {
            self.cycle.forget();
            return;
        }
        let state = self.state();
        if self.cycle.returned(state, self.changed + changes) {
            self.groups.release_met(self.exited);
            self.cycle.forget();
        }
        self.groups.rotate();
    }

    /// Lets lanes that wait to be met go on by themselves, as nothing else helps. Whether there were any.
    pub fn let_go(&mut self) -> bool {
        self.groups.release_met(self.exited)
    }

    /// A number for the state of registers and groups; equal states have equal numbers.
    pub fn state(&self) -> u64 {
        let mut h = 0xcbf2_9ce4_8422_2325u64;
        let mut mix = |w: u64| h = (h ^ w).wrapping_mul(0x100_0000_01b3).rotate_left(29);
        self.groups.state().for_each(&mut mix);
        mix(self.exited as u64);
        if self.groups.diverged() {
            // When the next group has its turn.
            mix(self.turn as u64);
        }
        mix(self.rows.digest());
        mix(self.activations.digest());
        h
    }

    fn exit(&mut self, mask: u32, world: &mut World) {
        self.exited |= mask;
        self.forget_activations(mask, world);
        let live = self.live();
        let cta = &mut world.ctas[self.cta];
        cta.live[self.number] = live;
        for b in cta.barriers.iter_mut().filter(|b| b.waits()) {
            b.exited(self.number, live);
        }
        cta.open_barriers();
        world.open_cluster_barrier(self.cta / world.launch.cluster_size());
        world.changes += 1;
    }

    pub(super) fn execute(
        &mut self,
        op: &Op,
        mask: u32,
        give_up: bool,
        m: &mut World,
    ) -> Result<Next, Refused> {
        if !self.tensor.idle() {
            self.tensor.copied(op, &mut self.rows, m)?;
        }
        let live = self.live();
        let r = &mut self.rows;
        match op {
            Op::Nop | Op::WarpSync { .. } | Op::Exit => {}
            Op::Branch { .. } | Op::Call { .. } | Op::Return { .. } => {}
            Op::Trap => {
                return Err((FaultKind::Trap, "`trap` was reached".into(), Some(mask.trailing_zeros())));
            }
            Op::NanoSleep { .. } => return Ok(Next::Yield),
            Op::Fence(fence) => fence_of(&self.rows, mask, *fence, m),
            Op::Barrier { .. } | Op::BarrierReduce { .. } => return self.barrier(op, mask, m),
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
                let text = generic::print(r, mask, (*d, *format, *arguments), &self.local, m);
                m.printed.extend_from_slice(&text);
            }
            Op::AssertFail { .. } => return Err(generic::assertion(r, mask, op, &self.local, m)),
            Op::Refuse(why) => return Err((FaultKind::NotSupported, why.to_string(), None)),
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
            Op::Load { .. }
            | Op::LoadParam { .. }
            | Op::Store { .. }
            | Op::Atomic { .. }
            | Op::Cvta { .. }
            | Op::LoadMatrix(_)
            | Op::StoreMatrix { .. } => {
                let sources = self.sources_defined(op);
                let mut own = access::Own { local: &mut self.local, defined: self.defined.as_mut(), sources };
                access::run(&mut self.rows, &mut own, mask, op, m)?;
            }
            Op::CopyAsync { .. } => copy_async::issue(r, mask, op, m)?,
            Op::CopyAsyncCommit => copy_async::commit(mask, m),
            Op::CopyAsyncWait { pending, all } => copy_async::wait(mask, *pending, *all, m),
            Op::Shuffle { .. }
            | Op::VotePred { .. }
            | Op::VoteBallot { .. }
            | Op::MatchAny { .. }
            | Op::MatchAll { .. }
            | Op::TransposeMatrix { .. }
            | Op::Redux { .. }
            | Op::Elect { .. }
            | Op::ActiveMask { .. } => {
                warp_ops::run(r, mask, live, op).map_err(|message| (FaultKind::SyncMask, message, None))?;
            }
            Op::Mma { .. } | Op::MmaQuads(_) if m.taint.is_some() => {}
            Op::Mma { .. } => matrix::mma(r, op),
            Op::MmaQuads(op) => quads::mma(r, op),
            Op::Hopper(op) => match &**op {
                HopperOp::Wgmma(w) => self.tensor.issue(r, &mut self.defined, w, m)?,
                HopperOp::WgmmaFence => self.tensor.fence(),
                HopperOp::WgmmaCommit => self.tensor.commit(),
                HopperOp::WgmmaWait { pending } => self.tensor.wait(r, *pending as usize, m)?,
                op => return hopper::run(r, mask, op, give_up, m),
            },
            Op::Clock { d, wide } => {
                let steps = self.steps;
                r.put(*d, mask, &[steps as u32; 32]);
                if *wide {
                    r.put(*d + 1, mask, &[(steps >> 32) as u32; 32]);
                }
            }
        }
        Ok(Next::Go)
    }
}
