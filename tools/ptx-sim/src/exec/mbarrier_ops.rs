//! The instructions on mbarriers: from registers and addresses to [`super::mbarrier`].

use super::{
    access::address,
    agents::CopyArrival,
    check::Region,
    divergence::{Goal, Wait},
    mbarrier::{self, Mbarrier as State},
    rows::{Rows, lanes},
    warp::{Next, Refused},
    world::{Place, World},
};
use crate::{
    fault::FaultKind,
    ir::*,
    time::trace::{Bar, Effect},
};

fn misuse(lane: usize) -> impl Fn(mbarrier::Misuse) -> Refused {
    move |message| (FaultKind::MbarrierMisuse, message, Some(lane as u32))
}

impl World<'_> {
    /// The mbarrier at an offset of a CTA's shared memory.
    pub fn mbarrier(&mut self, cta: usize, at: usize, lane: usize) -> Result<&mut State, Refused> {
        if let Some(check) = &mut self.check
            && let Some(bar) = self.ctas[cta].mbarriers.get(&at)
            && check.know[self.me.warp].seen.get(bar.made.0 as u32) < bar.made.1
        {
            let message = format!("the mbarrier at {at:#x} is used, and nothing orders this after its init");
            check.report(FaultKind::MbarrierMisuse, self.me.warp, self.me.at, Some(lane as u32), message);
        }
        self.ctas[cta].mbarriers.get_mut(&at).ok_or_else(|| {
            let message = format!("no mbarrier is live at shared address {at:#x}");
            (FaultKind::MbarrierMisuse, message, Some(lane as u32))
        })
    }

    /// CTA and offset of an mbarrier operand.
    pub fn mbarrier_place(
        &mut self,
        r: &Rows,
        bar: Addr,
        space: MemSpace,
        lane: usize,
    ) -> Result<(usize, usize), Refused> {
        let at = address(r, bar, lane);
        // A barrier may be named by a generic address.
        let space = if at >> 32 != 0 { MemSpace::Generic } else { space };
        match self.place(space, at, 8, lane)? {
            Place::Shared { cta, at } => Ok((cta, at)),
            _ => {
                let message = format!("an mbarrier at {at:#x}, which is not shared memory");
                Err((FaultKind::MbarrierMisuse, message, Some(lane as u32)))
            }
        }
    }

    /// Tells the trace of arrivals at an mbarrier, and of bytes that are expected there.
    fn effect_arrive(&mut self, cta: usize, at: usize, arrivals: u32, drop: bool, bytes: i64) {
        let size = self.launch.cluster_size();
        let bar = Bar { rank: (cta % size) as u32, at: at as u32 };
        self.effect(|| Effect::Arrive { bar, arrivals, drop, bytes });
    }

    /// What a signal of the running warp carries with these semantics.
    fn signal(&mut self, order: Order) -> Option<super::check::clock::Knowledge> {
        if order.releases() || order.semantics == Semantics::Weak {
            return self.publish();
        }
        let warp = self.me.warp;
        self.check.as_ref().and_then(|c| c.behind_fence(warp).cloned())
    }
}

fn space(cluster: bool) -> MemSpace {
    if cluster { MemSpace::SharedCluster } else { MemSpace::Shared }
}

pub fn run(r: &mut Rows, mask: u32, op: &Mbarrier, give_up: bool, m: &mut World) -> Result<Next, Refused> {
    match op {
        Mbarrier::Init { bar, count } => {
            for lane in lanes(mask) {
                let (cta, at) = m.mbarrier_place(r, *bar, MemSpace::Shared, lane)?;
                init(m, cta, at, r.row(*count)[lane], lane)?;
            }
        }
        Mbarrier::Invalidate { bar } => {
            for lane in lanes(mask) {
                let (cta, at) = m.mbarrier_place(r, *bar, MemSpace::Shared, lane)?;
                m.mbarrier(cta, at, lane)?;
                m.ctas[cta].mbarriers.remove(&at);
                touch(m, cta, at, lane);
            }
        }
        Mbarrier::ExpectTx { bar, cluster, bytes } => {
            for lane in lanes(mask) {
                let (cta, at) = m.mbarrier_place(r, *bar, space(*cluster), lane)?;
                let n = r.row(*bytes)[lane] as i64;
                m.mbarrier(cta, at, lane)?.expect(n).map_err(misuse(lane))?;
                m.effect_arrive(cta, at, 0, false, n);
            }
        }
        Mbarrier::CompleteTx { bar, cluster, bytes } => {
            for lane in lanes(mask) {
                let (cta, at) = m.mbarrier_place(r, *bar, space(*cluster), lane)?;
                let n = r.row(*bytes)[lane] as i64;
                m.mbarrier(cta, at, lane)?.complete(n).map_err(misuse(lane))?;
                m.changes += 1;
                m.effect_arrive(cta, at, 0, false, -n);
            }
        }
        Mbarrier::Arrive { .. } => {
            for lane in lanes(mask) {
                arrive(r, op, lane, m)?;
            }
        }
        Mbarrier::Test { bar, d, token, may_suspend, order } => {
            return test(r, mask, (*bar, *d, *token, *may_suspend && !give_up, *order), m);
        }
        Mbarrier::PendingCount { d, state } => {
            let counts = std::array::from_fn(|l| State::pending_of(r.wide(*state, l)));
            r.put(*d, mask, &counts);
        }
        Mbarrier::CopyAsyncArrive { bar, noinc } => {
            let execution = m.agents.execution();
            for lane in lanes(mask) {
                let (cta, at) = m.mbarrier_place(r, *bar, MemSpace::Shared, lane)?;
                let state = m.mbarrier(cta, at, lane)?;
                if !noinc {
                    state.expect_arrival().map_err(misuse(lane))?;
                }
                m.effect(|| Effect::CopiesArrive { at: at as u32, expected: *noinc });
                copy_arrival(m, at, (lane, execution))?;
            }
        }
    }
    Ok(Next::Go)
}

fn init(m: &mut World, cta: usize, at: usize, count: u32, lane: usize) -> Result<(), Refused> {
    if m.ctas[cta].mbarriers.contains_key(&at) {
        let message = format!("the mbarrier at {at:#x} is initialised while it is live");
        return Err((FaultKind::MbarrierMisuse, message, Some(lane as u32)));
    }
    if m.ctas[cta].touches_mbarrier(at, 8) {
        let message = format!("an mbarrier at {at:#x} overlaps another");
        return Err((FaultKind::MbarrierMisuse, message, Some(lane as u32)));
    }
    touch(m, cta, at, lane);
    let warp = m.me.warp;
    let interval = m.check.as_ref().map_or(0, |c| c.know[warp].seen.get(warp as u32));
    let state = State::new(count, (warp, interval)).map_err(misuse(lane))?;
    m.ctas[cta].mbarriers.insert(at, state);
    m.changes += 1;
    m.effect(|| Effect::Init { at: at as u32, arrivals: count });
    Ok(())
}

/// Making and ending an mbarrier are writes of its eight bytes.
fn touch(m: &mut World, cta: usize, at: usize, lane: usize) {
    let me = m.me;
    if let Some(check) = &mut m.check {
        let x = super::check::Access {
            agent: me.warp as u32,
            warp: me.warp,
            at: me.at,
            flags: super::check::shadow::flag::WRITE,
            lane: Some(lane as u32),
        };
        check.touch(Region::Shared(cta), at as u64, 8, x);
        check.define_shared(cta, at, 8, false);
    }
}

fn arrive(r: &mut Rows, op: &Mbarrier, lane: usize, m: &mut World) -> Result<(), Refused> {
    let Mbarrier::Arrive { bar, cluster, state, count, expect_tx, drop, no_complete, order } = op else {
        return Ok(());
    };
    let (cta, at) = m.mbarrier_place(r, *bar, space(*cluster), lane)?;
    let knowledge = m.signal(*order);
    let barrier = m.mbarrier(cta, at, lane)?;
    let token = barrier.token();
    if let Some(k) = &knowledge {
        barrier.know(k);
    }
    if let Some(bytes) = expect_tx {
        barrier.expect(r.row(*bytes)[lane] as i64).map_err(misuse(lane))?;
    }
    let n = count.map_or(1, |c| r.row(c)[lane]);
    barrier.arrive(n, *drop, *no_complete).map_err(misuse(lane))?;
    m.changes += 1;
    let bytes = expect_tx.map_or(0, |b| r.row(b)[lane] as i64);
    m.effect_arrive(cta, at, n, *drop, bytes);
    if let Some(state) = state {
        r.set_wide(*state, lane, token);
    }
    Ok(())
}

/// `test_wait` and `try_wait`: one answer for each lane; a wait that may suspend waits for all of them.
fn test(
    r: &mut Rows,
    mask: u32,
    (bar, d, token, suspend, order): (Addr, Pred, Token, bool, Order),
    m: &mut World,
) -> Result<Next, Refused> {
    let mut passed = 0;
    // The lanes that each barrier let pass.
    let mut let_pass: Vec<(usize, u32)> = vec![];
    for lane in lanes(mask) {
        let (cta, at) = m.mbarrier_place(r, bar, MemSpace::Shared, lane)?;
        if cta != m.me.cta {
            let message = "a wait for an mbarrier of another CTA".into();
            return Err((FaultKind::MbarrierMisuse, message, Some(lane as u32)));
        }
        let goal = match token {
            Token::State(s) => Goal::Token(r.wide(s, lane)),
            Token::Parity(p) => Goal::Parity(r.row(p)[lane]),
        };
        m.mbarrier(cta, at, lane)?;
        if m.reached(cta, at, goal) {
            passed |= 1 << lane;
            match let_pass.iter_mut().find(|(bar, _)| *bar == at) {
                Some((_, lanes)) => *lanes |= 1 << lane,
                None => {
                    let_pass.push((at, 1 << lane));
                    let phases = m.mbarrier(cta, at, lane)?.phase;
                    m.effect(|| Effect::Wait { at: at as u32, phases });
                }
            }
        } else if suspend {
            return Ok(Next::Again(Wait::Mbarrier { cta, at, goal }));
        }
    }
    let acquires = order.acquires() || order.semantics == Semantics::Weak;
    let_pass.into_iter().for_each(|(at, lanes)| pass(m, at, lanes, acquires, token));
    r.set_pred(d, passed, mask);
    Ok(if passed == mask { Next::Go } else { Next::Yield })
}

/// Check mode: a wait of these lanes for an mbarrier of the own CTA is over.
fn pass(m: &mut World, at: usize, lanes: u32, acquires: bool, token: Token) {
    let me = m.me;
    let (Some(check), Some(bar)) = (&mut m.check, m.ctas[me.cta].mbarriers.get_mut(&at)) else { return };
    if acquires {
        check.learn(me.warp, &bar.done);
    }
    // A token names its phase, and asking for that again is no mistake.
    if let (Token::Parity(_), Some(phase)) = (token, bar.take(me.warp, me.at, lanes)) {
        let which = if phase < 0 { "the phase before the first".into() } else { format!("phase {phase}") };
        let message = format!(
            "a wait for {which} of the mbarrier at {at:#x} passes at once: the warp has taken it here before, and \
             the next has not ended yet (does the parity change?)"
        );
        check.note(FaultKind::MbarrierMisuse, me.warp, me.at, Some(lanes.trailing_zeros()), message);
    }
}

impl World<'_> {
    /// Whether the phase that somebody waits for is over. An mbarrier that is gone lets go, to be found out.
    pub fn reached(&self, cta: usize, at: usize, goal: Goal) -> bool {
        self.ctas[cta].mbarriers.get(&at).is_none_or(|b| match goal {
            Goal::Parity(p) => b.passed(p),
            Goal::Token(t) => b.passed_token(t),
        })
    }
}

/// The arrival that comes when the lane's copies so far have landed.
fn copy_arrival(m: &mut World, at: usize, (lane, execution): (usize, u64)) -> Result<(), Refused> {
    let issuer = m.me;
    let knowledge = m.publish().map(|mut k| {
        // It also tells of the copies themselves.
        if let Some(copies) = m.agents.copies.get(&issuer.warp) {
            copies.slots.iter().for_each(|(_, (slot, interval))| k.seen.raise(*slot, *interval));
        }
        k
    });
    let upto = m.agents.copies.get(&issuer.warp).map_or(0, |c| c.committed[lane] + 1);
    m.issue_arrival(CopyArrival { issuer, lane, execution, upto, at, due: 0, knowledge })
}
