//! `cp.async`: copies of 4 to 16 bytes by each lane, in groups that the lane waits for.
//!
//! All copies of a warp in one group are one agent of check mode: they write when they like between issue and wait, so
//! even the own warp may not touch the bytes before it has waited.

use super::{
    access::address,
    agents::Copy,
    check::{Access, Region, shadow::flag},
    rows::{Rows, lanes},
    warp::Refused,
    world::{Place, World},
};
use crate::{fault::FaultKind, ir::*};

pub fn issue(r: &Rows, mask: u32, op: &Op, m: &mut World) -> Result<(), Refused> {
    let Op::CopyAsync { size, source, to, from } = op else { return Ok(()) };
    let me = m.me;
    let at_once = m.agents.at_once();
    let agent = slot_of(m, mask.trailing_zeros() as usize);
    for lane in lanes(mask) {
        let wanted = source.map_or(*size as u32, |s| r.row(s)[lane]).min(*size as u32) as u8;
        let Place::Shared { cta, at } =
            m.place(MemSpace::Shared, address(r, *to, lane), *size as u64, lane)?
        else {
            continue;
        };
        let start = address(r, *from, lane);
        if wanted > 0 {
            if !start.is_multiple_of(*size as u64) {
                let message = format!("cp.async of {size} bytes from {start:#x}");
                return Err((FaultKind::Misaligned, message, Some(lane as u32)));
            }
            m.place_bytes(MemSpace::Global, start, wanted as u64, lane)?;
        }
        if let Some(agent) = agent {
            let x = |flags| Access { agent, warp: me.warp, at: me.at, flags, lane: Some(lane as u32) };
            m.note_range(Region::Shared(cta), at as u64, *size as u64, x(flag::WRITE));
            if wanted > 0 {
                m.note_range(Region::Global, start, wanted as u64, x(0));
            }
            if let Some(check) = &mut m.check {
                check.define_shared(cta, at, *size as usize, true);
            }
        }
        let copies = m.agents.copies.entry(me.warp).or_default();
        let group = copies.committed[lane];
        let copy = Copy { lane, group, cta, to: at, size: *size, from: start, wanted };
        if at_once { m.land_copy(&copy) } else { copies.open.push_back(copy) }
    }
    Ok(())
}

/// Check mode: the slot of the group that the warp has open.
fn slot_of(m: &mut World, lane: usize) -> Option<u32> {
    let warp = m.me.warp;
    let check = m.check.as_mut()?;
    let copies = m.agents.copies.entry(warp).or_default();
    let group = copies.committed[lane];
    if let Some((_, (slot, _))) = copies.slots.iter().find(|(g, _)| *g == group) {
        return Some(*slot);
    }
    let slot = check.open_slot(warp);
    copies.slots.push_back((group, slot));
    Some(slot.0)
}

pub fn commit(mask: u32, m: &mut World) {
    let copies = m.agents.copies.entry(m.me.warp).or_default();
    lanes(mask).for_each(|lane| copies.committed[lane] += 1);
}

/// All but the last `pending` groups are over; `all`: the open one too, as if it were committed first.
pub fn wait(mask: u32, pending: u32, all: bool, m: &mut World) {
    if all {
        commit(mask, m);
    }
    let warp = m.me.warp;
    let Some(copies) = m.agents.copies.get_mut(&warp) else { return };
    let committed = copies.committed;
    let over = |lane: usize, group: u32| group + pending < committed[lane];
    let leader = mask.trailing_zeros() as usize;
    if let Some(check) = &mut m.check {
        copies.slots.retain(|(group, slot)| {
            let done = over(leader, *group);
            if done {
                check.close_slot(warp, *slot);
            }
            !done
        });
    }
    m.land_copies(warp, mask, |c| over(c.lane, c.group));
}
