//! `cp.async.bulk`, `cp.reduce.async.bulk`, `st.async`, `red.async`: from operands to pieces on their way.
//!
//! What the hardware demands of addresses and sizes is checked at issue; what the copy touches is noted then, too, since
//! it may happen from there on.

use super::{
    access::{address, scalar_bytes},
    agents::{Bulk as Agent, Done, From, Piece, To},
    rows::{Rows, lanes},
    warp::Refused,
    world::{Place, World},
};
use crate::{fault::FaultKind, ir::*};

fn illegal<T>(lane: usize, message: String) -> Result<T, Refused> {
    Err((FaultKind::DescriptorIllegal, message, Some(lane as u32)))
}

pub fn issue(r: &Rows, mask: u32, op: &Bulk, m: &mut World) -> Result<(), Refused> {
    for lane in lanes(mask) {
        let receivers = receivers(r, op, lane, m)?;
        let agent = match &op.tensor {
            None => plain(r, op, lane, receivers, m)?,
            Some(tensor) => super::tensor::copy(r, op, tensor, lane, receivers, m)?,
        };
        m.issue_bulk(agent)?;
    }
    Ok(())
}

/// The CTAs named by a multicast mask; none otherwise.
fn receivers(r: &Rows, op: &Bulk, lane: usize, m: &World) -> Result<Vec<usize>, Refused> {
    let Some(mask) = op.multicast else { return Ok(vec![]) };
    let ranks = r.row(mask)[lane] & 0xffff;
    if ranks == 0 {
        return illegal(lane, "a multicast to no CTA".into());
    }
    lanes(ranks).map(|rank| m.of_rank(rank as u64, lane)).collect()
}

fn space(s: BulkSpace) -> MemSpace {
    match s {
        BulkSpace::Global | BulkSpace::L2 => MemSpace::Global,
        BulkSpace::SharedCta => MemSpace::Shared,
        BulkSpace::SharedCluster => MemSpace::SharedCluster,
    }
}

/// One end of a copy in memory.
pub fn end<'a>(
    r: &Rows,
    addr: Addr,
    s: BulkSpace,
    bytes: u64,
    lane: usize,
    m: &mut World<'a>,
) -> Result<Place<'a>, Refused> {
    let mut at = address(r, addr, lane);
    if s == BulkSpace::Global {
        at = address(r, addr, lane);
    } else if at >> 32 != 0 {
        // A generic pointer to shared memory where a shared one is meant: the low half is the address.
        at &= 0xffff_ffff;
    }
    m.place_bytes(space(s), at, bytes, lane)
}

/// Where a copy signals its end, and the CTAs whose shared memory and mbarrier it concerns.
pub fn completion(
    r: &Rows,
    done: Completion,
    receivers: Vec<usize>,
    target: Option<usize>,
    lane: usize,
    m: &mut World,
) -> Result<(Done, Vec<usize>), Refused> {
    let all = if receivers.is_empty() { target.into_iter().collect() } else { receivers };
    Ok(match done {
        Completion::Group => (Done::Group, all),
        Completion::None => (Done::Nothing, all),
        Completion::Mbarrier(bar) => {
            let (cta, at) = m.mbarrier_place(r, bar, MemSpace::SharedCluster, lane)?;
            // Each receiver is told by its own mbarrier at the same offset.
            if target.is_some_and(|t| t != cta) {
                return illegal(
                    lane,
                    "the mbarrier of a copy lies in another CTA than its destination".into(),
                );
            }
            (Done::Mbarrier { at }, all)
        }
    })
}

fn plain(r: &Rows, op: &Bulk, lane: usize, receivers: Vec<usize>, m: &mut World) -> Result<Agent, Refused> {
    let bytes = op.bytes.map_or(0, |s| r.row(s)[lane]);
    if !bytes.is_multiple_of(16) {
        return illegal(lane, format!("a bulk copy of {bytes} bytes; the size is a multiple of 16"));
    }
    let mut from = None;
    if let Some(addr) = op.source {
        let place = end(r, addr, op.from, bytes as u64, lane, m)?;
        from = Some(match place {
            Place::Global(_, at) => (From::Global(at), at),
            Place::Shared { cta, at } => (From::Shared { cta, at }, at as u64),
            _ => return illegal(lane, "a bulk copy from a space it cannot read".into()),
        });
    }
    let Some((from, source)) = from else { return illegal(lane, "a bulk copy without a source".into()) };
    let (mut to, mut target, mut place) = (To::Nowhere, None, 0);
    if let Some(addr) = op.destination {
        (to, target, place) = match end(r, addr, op.to, bytes as u64, lane, m)? {
            Place::Global(_, at) => (To::Global(at), None, at),
            Place::Shared { cta, at } => (To::Shared(at), Some(cta), at as u64),
            _ => return illegal(lane, "a bulk copy to a space it cannot write".into()),
        };
    }
    for at in [source, place] {
        if at % 16 != 0 {
            return illegal(lane, format!("a bulk copy at {at:#x}, which is not a multiple of 16"));
        }
    }
    let (done, all) = completion(r, op.done, receivers, target, lane, m)?;
    let pieces = masked(r, op, lane, Piece { from, to, bytes });
    let mut agent = Agent::new(m.me, lane, pieces, all, done);
    agent.reduce = op.reduce.map(|(op, ty)| (op, ty.unwrap_or(Scalar::Int { signed: false, bits: 32 })));
    Ok(agent)
}

/// `.cp_mask`: of every 16 bytes those whose bit is set.
fn masked(r: &Rows, op: &Bulk, lane: usize, whole: Piece) -> Vec<Piece> {
    let Some(mask) = op.byte_mask.map(|s| r.row(s)[lane] & 0xffff) else { return vec![whole] };
    let mut out = vec![];
    for n in (0..whole.bytes).filter(|n| mask >> (n % 16) & 1 == 1) {
        let from = match &whole.from {
            From::Global(at) => From::Global(at + n as u64),
            From::Shared { cta, at } => From::Shared { cta: *cta, at: at + n as usize },
            other => other.clone(),
        };
        let to = match whole.to {
            To::Global(at) => To::Global(at + n as u64),
            To::Shared(at) => To::Shared(at + n as usize),
            To::Nowhere => To::Nowhere,
        };
        out.push(Piece { from, to, bytes: 1 });
    }
    out
}

/// `st.async` and `red.async`: registers to another CTA's shared memory, counted there.
pub fn store_async(r: &Rows, mask: u32, op: &HopperOp, m: &mut World) -> Result<(), Refused> {
    let HopperOp::StoreAsync { reduce, ty, a, to, bar } = op else { return Ok(()) };
    let size = scalar_bytes(*ty) as usize;
    let total = size * a.len();
    for lane in lanes(mask) {
        let Place::Shared { cta, at } =
            m.place(MemSpace::SharedCluster, address(r, *to, lane), total as u64, lane)?
        else {
            continue;
        };
        let mut held = vec![];
        for &slot in a {
            let value = if size == 8 { r.wide(slot, lane) } else { r.row(slot)[lane] as u64 };
            held.extend_from_slice(&value.to_le_bytes()[..size]);
        }
        let (done, all) = completion(r, Completion::Mbarrier(*bar), vec![], Some(cta), lane, m)?;
        let piece = Piece { from: From::Held(held), to: To::Shared(at), bytes: total as u32 };
        let mut agent = Agent::new(m.me, lane, vec![piece], all, done);
        agent.reduce = reduce.map(|op| (op, *ty));
        m.issue_bulk(agent)?;
    }
    Ok(())
}
