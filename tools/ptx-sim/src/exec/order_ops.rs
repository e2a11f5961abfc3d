//! Barriers and fences: instructions that compute nothing and order everything.

use super::{
    access::address,
    barrier::Arrival,
    check::Defined,
    divergence::Wait,
    rows::{Rows, lanes},
    warp::{Next, Refused, Warp},
    world::World,
};
use crate::{fault::FaultKind, ir::*};

impl Warp {
    pub(super) fn barrier(&mut self, op: &Op, mask: u32, m: &mut World) -> Result<Next, Refused> {
        let (id, count, wait, votes) = match *op {
            Op::Barrier { id, count, wait, .. } => (id, count, wait, 0),
            Op::BarrierReduce { id, count, a, negate, .. } => {
                let votes = self.rows.pred(a);
                (id, count, true, if negate { !votes } else { votes })
            }
            _ => return Ok(Next::Go),
        };
        let lane = mask.trailing_zeros() as usize;
        let id = self.rows.row(id)[lane];
        let threads = count.map(|c| self.rows.row(c)[lane]);
        if lanes(mask).any(|l| match *op {
            Op::Barrier { id: i, count, .. } | Op::BarrierReduce { id: i, count, .. } => {
                self.rows.row(i)[l] != id || count.map(|c| self.rows.row(c)[l]) != threads
            }
            _ => false,
        }) {
            return Err((FaultKind::BarrierMisuse, "lanes of a warp name different barriers".into(), None));
        }
        if id as usize >= super::barrier::BARRIERS {
            return Err((FaultKind::BarrierMisuse, format!("barrier {id}; there are 16"), None));
        }
        let know = m.publish();
        let (me, live) = (m.me, self.live());
        let cta = &mut m.ctas[me.cta];
        let warps = cta.live.len();
        let arrival = Arrival { id, warp: me.number, lanes: mask, live, threads, votes, at: me.at };
        let barrier = &mut cta.barriers[id as usize];
        barrier.arrive(&arrival, warps, know.as_ref())?;
        let round = barrier.round;
        m.changes += 1;
        cta.open_barriers();
        Ok(if wait { Next::After(Wait::Barrier { id: id as usize, round }) } else { Next::Go })
    }
}

/// What a fence does: nothing to values, all to knowledge.
pub fn fence_of(r: &Rows, mask: u32, fence: Fence, m: &mut World) {
    let warp = m.me.warp;
    let Some(check) = &mut m.check else { return };
    match fence {
        Fence::Thread(order) => check.thread_fence(warp, order),
        Fence::ProxyAsync { global, shared } => check.proxy_fence(warp, global, shared),
        Fence::ProxyAlias => check.proxy_fence(warp, true, true),
        Fence::TensorMapRelease { scope } => {
            check.thread_fence(warp, Order { semantics: Semantics::Release, scope });
        }
        Fence::TensorMapAcquire { scope, at } => {
            check.thread_fence(warp, Order { semantics: Semantics::Acquire, scope });
            lanes(mask).for_each(|lane| check.map_fence(warp, address(r, at, lane)));
        }
        Fence::MbarrierInit => {
            check.thread_fence(warp, Order { semantics: Semantics::Release, scope: Scope::Cluster });
        }
    }
}

/// The result of `barrier.red`, when the barrier has opened.
pub fn give_votes(
    op: &Op,
    rows: &mut Rows,
    defined: &mut Option<Defined>,
    mask: u32,
    (yes, all): (u32, u32),
) {
    let Op::BarrierReduce { result, .. } = op else { return };
    let pred = |v: bool| if v { u32::MAX } else { 0 };
    match *result {
        BarrierResult::Count(d) => {
            rows.put(d, mask, &[yes; 32]);
            defined.iter_mut().for_each(|x| x.set_row(d, mask, u32::MAX));
        }
        BarrierResult::All(p) => rows.set_pred(p, pred(yes == all), mask),
        BarrierResult::Any(p) => rows.set_pred(p, pred(yes > 0), mask),
    }
}
