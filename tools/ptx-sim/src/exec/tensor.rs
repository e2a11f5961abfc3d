//! Tensor copies: the tensor map and the coordinates to pieces ([`super::units::tma`] walks the box).

use super::{
    access::address,
    agents::{Bulk as Agent, Done, From, Piece, To},
    bulk::{completion, end},
    check::{Access, Region, shadow::flag},
    rows::Rows,
    units::tma,
    warp::Refused,
    world::{Place, World},
};
use crate::{fault::FaultKind, ir::*};
use tile_machine::{
    TensorMap,
    tensor_map::{ElementType, Fill, bytes, replace},
};

fn illegal(lane: usize, message: String) -> Refused {
    (FaultKind::DescriptorIllegal, message, Some(lane as u32))
}

/// The place of a tensor map: a parameter by its offset, or a generic address.
fn map_place<'a>(r: &Rows, map: Addr, lane: usize, m: &mut World<'a>) -> Result<Place<'a>, Refused> {
    let at = address(r, map, lane);
    if !at.is_multiple_of(64) {
        return Err(illegal(lane, format!("a tensor map at {at:#x}, which is not a multiple of 64")));
    }
    let space = if at >> 32 == 0 { MemSpace::Param } else { MemSpace::Generic };
    m.place_bytes(space, at, bytes::BYTES as u64, lane)
}

fn read_map(r: &Rows, map: Addr, lane: usize, m: &mut World) -> Result<TensorMap, Refused> {
    let place = map_place(r, map, lane, m)?;
    note(place, flag::ASYNC | flag::MAP, lane, m);
    let raw = raw_map(place, m);
    TensorMap::decode(&raw).map_err(|e| illegal(lane, format!("not a tensor map: {e}")))
}

/// A tensor map is read or written as a whole.
fn note(place: Place, flags: u16, lane: usize, m: &mut World) {
    let me = m.me;
    let x = Access { agent: me.warp as u32, warp: me.warp, at: me.at, flags, lane: Some(lane as u32) };
    let bytes = bytes::BYTES;
    match place {
        Place::Global(_, at) => {
            if let (true, Some(check)) = (flags & flag::MAP != 0, &mut m.check) {
                check.before_map_read(me.warp, at);
            }
            m.note_range(Region::Global, at, bytes as u64, x);
        }
        Place::Shared { cta, at } => {
            m.note_range(Region::Shared(cta), at as u64, bytes as u64, x);
            let defined = m.check.as_ref().is_none_or(|c| c.shared_defined(cta, at, bytes));
            if !defined {
                let message = "undefined bytes of shared memory become a tensor map".into();
                m.report(FaultKind::Undefined, Some(lane as u32), message);
            }
        }
        _ => {}
    }
}

fn raw_map(place: Place, m: &World) -> [u8; bytes::BYTES] {
    let mut raw = [0; bytes::BYTES];
    for n in (0..bytes::BYTES).step_by(8) {
        raw[n..n + 8].copy_from_slice(&m.load(&[0; bytes::BYTES], place, n, 8).to_le_bytes());
    }
    raw
}

pub fn copy(
    r: &Rows,
    op: &Bulk,
    tensor: &Tensor,
    lane: usize,
    receivers: Vec<usize>,
    m: &mut World,
) -> Result<Agent, Refused> {
    if tensor.mode != TensorMode::Tile {
        return Err((FaultKind::NotSupported, "im2col copies are not run yet".into(), Some(lane as u32)));
    }
    let map = read_map(r, tensor.map, lane, m)?;
    let at: Vec<i32> = tensor.at.iter().map(|&s| r.row(s)[lane] as i32).collect();
    let loads = op.from == BulkSpace::Global;
    let Some(shared) = (if loads { op.destination } else { op.source }) else {
        // A prefetch moves nothing that can be seen; its box has to be legal all the same.
        walk(&map, &at, 0, lane)?;
        return Ok(Agent::new(m.me, lane, vec![], vec![], Done::Nothing));
    };
    let space = if loads { op.to } else { op.from };
    let Place::Shared { cta, at: base } = end(r, shared, space, map.box_bytes().max(1), lane, m)? else {
        return Err(illegal(lane, "the box of a tensor copy is not in shared memory".into()));
    };
    let mut pieces = vec![];
    for run in walk(&map, &at, base as u32, lane)? {
        let at = run.shared as usize;
        if at + run.bytes as usize > m.ctas[cta].shared.len() {
            let message = format!("a box of {} reaches past shared memory, at {at:#x}", tma::box_text(&map));
            return Err((FaultKind::OutOfBounds, message, Some(lane as u32)));
        }
        if let Some(global) = run.global
            && m.allocation(global, run.bytes as u64).is_none()
        {
            let message = format!(
                "a tensor map names {} bytes at {global:#x}: {}",
                run.bytes,
                m.memory.describe(global)
            );
            return Err((FaultKind::OutOfBounds, message, Some(lane as u32)));
        }
        match (loads, run.global) {
            (true, global) => {
                let from = global.map_or_else(|| outside(&map), From::Global);
                pieces.push(Piece { from, to: To::Shared(at), bytes: run.bytes });
            }
            (false, Some(global)) => {
                let from = From::Shared { cta, at };
                pieces.push(Piece { from, to: To::Global(global), bytes: run.bytes });
            }
            // Stores leave out what lies outside of the tensor.
            (false, None) => {}
        }
    }
    let target = loads.then_some(cta);
    let (done, all) = completion(r, op.done, receivers, target, lane, m)?;
    let mut agent = Agent::new(m.me, lane, pieces, all, done);
    agent.flush = loads && matches!(map.element(), ElementType::F32Ftz | ElementType::Tf32Ftz);
    agent.reduce = op.reduce.map(|(op, _)| (op, scalar(map.element())));
    Ok(agent)
}

fn walk(map: &TensorMap, at: &[i32], shared: u32, lane: usize) -> Result<Vec<tma::Run>, Refused> {
    let mut runs = vec![];
    tma::walk(map, at, shared, |run| runs.push(run)).map_err(|e| match e {
        tma::TmaError::Unsupported(_) => (FaultKind::NotSupported, e.to_string(), Some(lane as u32)),
        _ => illegal(lane, e.to_string()),
    })?;
    Ok(runs)
}

fn outside(map: &TensorMap) -> From {
    let value = match map.fill() {
        Fill::Zero => 0,
        Fill::Nan => map.element().nan(),
    };
    From::Fill { value, element: map.element().bytes() as u8 }
}

fn scalar(element: ElementType) -> Scalar {
    let int = |signed, bits| Scalar::Int { signed, bits };
    match element {
        ElementType::U8 => int(false, 8),
        ElementType::U16 => int(false, 16),
        ElementType::U32 => int(false, 32),
        ElementType::S32 => int(true, 32),
        ElementType::U64 => int(false, 64),
        ElementType::S64 => int(true, 64),
        ElementType::F16 => Scalar::F16,
        ElementType::Bf16 => Scalar::Bf16,
        ElementType::F64 => Scalar::F64,
        _ => Scalar::F32,
    }
}

/// `tensormap.replace`: one field of a map in shared or global memory.
pub fn replace_field(r: &Rows, mask: u32, op: &HopperOp, m: &mut World) -> Result<(), Refused> {
    let HopperOp::TensorMapReplace { map, shared, field, ordinal, value } = op else { return Ok(()) };
    for lane in super::rows::lanes(mask) {
        let at = address(r, *map, lane);
        let space = if *shared && at >> 32 == 0 { MemSpace::Shared } else { MemSpace::Generic };
        let place = m.place_bytes(space, at, bytes::BYTES as u64, lane)?;
        let mut raw = raw_map(place, m);
        let wide = matches!(field, TensorMapField::GlobalAddress | TensorMapField::GlobalStride);
        let value = if wide { r.wide(*value, lane) } else { r.row(*value)[lane] as u64 };
        replace::replace(&mut raw, *field, *ordinal, value).map_err(|e| illegal(lane, e.to_string()))?;
        note(place, flag::WRITE, lane, m);
        write_map(place, &raw, m);
    }
    Ok(())
}

fn write_map(place: Place, raw: &[u8; bytes::BYTES], m: &mut World) {
    for n in (0..bytes::BYTES).step_by(8) {
        let word = raw[n..n + 8].iter().rev().fold(0, |v, b| v << 8 | *b as u64);
        m.store(&mut [0; bytes::BYTES], place, n, 8, word);
    }
    m.changes += 1;
}

/// `tensormap.cp_fenceproxy`: 128 bytes from shared to global memory.
pub fn copy_map(r: &Rows, mask: u32, op: &HopperOp, m: &mut World) -> Result<(), Refused> {
    let HopperOp::TensorMapCopyFence { to, from, .. } = op else { return Ok(()) };
    // All lanes of the warp take part in one copy.
    let lane = mask.trailing_zeros() as usize;
    let from = m.place_bytes(MemSpace::Shared, address(r, *from, lane), bytes::BYTES as u64, lane)?;
    // Which of them reads is not said: two stand for all.
    note(from, 0, lane, m);
    note(from, 0, 31 - mask.leading_zeros() as usize, m);
    let raw = raw_map(from, m);
    let to = m.place_bytes(MemSpace::Generic, address(r, *to, lane), bytes::BYTES as u64, lane)?;
    note(to, flag::WRITE, lane, m);
    write_map(to, &raw, m);
    Ok(())
}
