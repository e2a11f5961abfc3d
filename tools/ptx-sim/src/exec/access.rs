//! Loads, stores, atomics and matrix accesses: addresses to places, bytes to registers and back.
//!
//! All addresses of an instruction are resolved first (a destination may be the address register, and check mode looks
//! at the lanes of an instruction together), then the bytes move.

use super::{
    check::{Defined, Region, shadow::flag},
    round::{BF16, Exact, F16, Format},
    rows::{Rows, lanes},
    traffic,
    warp::Refused,
    warp_ops::combine,
    world::{GENERIC_LOCAL, GENERIC_PARAM, GENERIC_SHARED, Place, WINDOW, World},
};
use crate::{fault::FaultKind, ir::*};

pub fn address(r: &Rows, addr: Addr, lane: usize) -> u64 {
    let base = if addr.wide { r.wide(addr.base, lane) } else { r.row(addr.base)[lane] as u64 };
    let sum = base.wrapping_add_signed(addr.offset);
    if addr.wide { sum } else { sum & 0xffff_ffff }
}

fn extend(value: u64, bytes: u8, signed: bool) -> u64 {
    let shift = 64 - 8 * bytes as u32;
    if signed { ((value << shift) as i64 >> shift) as u64 } else { value }
}

/// The properties of a plain or strong access, for the shadow.
fn flags(write: bool, order: Order) -> u16 {
    let scope = match (order.strong(), order.scope) {
        (false, _) => 0,
        (true, Scope::Cta) => flag::STRONG,
        (true, Scope::Cluster) => flag::STRONG | flag::CLUSTER,
        (true, _) => flag::STRONG | flag::CLUSTER | flag::GPU,
    };
    scope | if write { flag::WRITE } else { 0 }
}

const NOWHERE: Place = Place::Param(0);

fn places<'a>(
    r: &Rows,
    mask: u32,
    space: MemSpace,
    addr: Addr,
    bytes: u64,
    m: &mut World<'a>,
) -> Result<[Place<'a>; 32], Refused> {
    let mut out = [NOWHERE; 32];
    let aligned = |at: u64| at & (bytes - 1) == 0;
    // The usual cases first: own shared memory, and the allocation of the access before.
    match space {
        MemSpace::Shared => {
            let (cta, size) = (m.me.cta, m.ctas[m.me.cta].shared.len() as u64);
            for lane in lanes(mask) {
                let at = address(r, addr, lane);
                let low = at & (WINDOW - 1);
                out[lane] = if aligned(at) && low + bytes <= size {
                    Place::Shared { cta, at: low as usize }
                } else {
                    m.place(space, at, bytes, lane)?
                };
            }
        }
        MemSpace::Global => {
            for lane in lanes(mask) {
                let at = address(r, addr, lane);
                out[lane] = match m.recent.filter(|a| aligned(at) && a.holds(at, bytes)) {
                    Some(allocation) => Place::Global(allocation, at),
                    None => m.place(space, at, bytes, lane)?,
                };
            }
        }
        _ => {
            for lane in lanes(mask) {
                out[lane] = m.place(space, address(r, addr, lane), bytes, lane)?;
            }
        }
    }
    Ok(out)
}

/// What an access needs of its warp besides the registers.
pub struct Own<'a> {
    /// Local memory of all lanes.
    pub local: &'a mut [u8],
    /// Present in check mode.
    pub defined: Option<&'a mut Defined>,
    /// Lanes whose stored values are defined.
    pub sources: u32,
}

impl Own<'_> {
    /// Lanes that store elements of which only the padding is undefined.
    fn padded(&self, mask: u32, a: &[Slot], wide: bool) -> u32 {
        let Some(defined) = self.defined.as_ref().filter(|_| mask & !self.sources != 0) else { return 0 };
        defined.padded(a.iter().flat_map(|&a| a..=a + wide as u32)) & mask & !self.sources
    }
}

/// Executes an access.
pub fn run(r: &mut Rows, own: &mut Own, mask: u32, op: &Op, m: &mut World) -> Result<(), Refused> {
    match op {
        Op::Load { space, bytes, signed, d, wide, addr, order } => {
            let total = *bytes as u64 * d.len() as u64;
            let at = places(r, mask, *space, *addr, total, m)?;
            if m.check.is_some() && order.strong() {
                synchronise(mask, &at, m, |c, warp, region, addr| c.strong_read(warp, region, addr, *order));
            }
            let whole = m.note(mask, &at, total, flags(false, *order), u32::MAX);
            if let Some(defined) = &mut own.defined {
                let element = traffic::Element { bytes: *bytes, signed: *signed, wide: *wide };
                traffic::load(m, defined, mask, &at, whole, d, element);
            }
            for (n, slot) in d.iter().enumerate() {
                let Some(slot) = *slot else { continue };
                let offset = n * *bytes as usize;
                load_element(r, own.local, mask, m, &at, offset, (*bytes, *signed, *wide), slot);
            }
        }
        Op::LoadParam { bytes, signed, d, wide, offset } => {
            for (n, slot) in d.iter().enumerate() {
                let Some(slot) = slot else { continue };
                let at = (offset + n * *bytes as usize) as u64;
                let place = m.place(MemSpace::Param, at, *bytes as u64, 0)?;
                let value = extend(m.load(own.local, place, 0, *bytes), *bytes, *signed);
                r.put(*slot, mask, &[value as u32; 32]);
                if *wide {
                    r.put(*slot + 1, mask, &[(value >> 32) as u32; 32]);
                }
            }
        }
        Op::Store { space, bytes, a, wide, addr, order } => {
            let total = *bytes as u64 * a.len() as u64;
            if *space == MemSpace::Param {
                return Err((FaultKind::OutOfBounds, "a store to parameters".into(), None));
            }
            let at = places(r, mask, *space, *addr, total, m)?;
            let mut same = 0;
            if m.check.is_some() {
                lane_conflicts(r, mask, m, &at, total, a, *wide);
                same = unchanged(r, own.local, mask, m, &at, (*bytes, *wide), a);
            }
            let padded = own.padded(mask, a, *wide);
            if padded != 0 {
                m.note_padding(padded, &at);
            }
            m.note_stores(mask, &at, total, flags(true, *order), (own.sources | padded, same));
            if let Some(defined) = &mut own.defined {
                let element = traffic::Element { bytes: *bytes, signed: false, wide: *wide };
                traffic::store(m, defined, mask, &at, own.sources, a, element);
            }
            if m.check.is_some() && order.strong() {
                let write = |c: &mut super::check::Check, w, region, addr| {
                    c.strong_write(w, region, addr, *order, false);
                };
                synchronise(mask, &at, m, write);
            }
            for (n, slot) in a.iter().enumerate() {
                let offset = n * *bytes as usize;
                for lane in lanes(mask) {
                    let value = if *wide { r.wide(*slot, lane) } else { r.row(*slot)[lane] as u64 };
                    m.store(own.local, at[lane], offset, *bytes, value);
                }
            }
            m.changes += 1;
            m.private += lanes(mask).all(|lane| matches!(at[lane], Place::Local(_))) as u64;
        }
        Op::Atomic { .. } => atomics(r, own, mask, op, m)?,
        Op::Cvta { space, to_space, d, a, wide } => {
            let window = match space {
                MemSpace::Shared | MemSpace::SharedCluster => GENERIC_SHARED,
                MemSpace::Local => GENERIC_LOCAL,
                MemSpace::Param => GENERIC_PARAM,
                _ => 0,
            };
            for lane in lanes(mask) {
                let value = if *wide { r.wide(*a, lane) } else { r.row(*a)[lane] as u64 };
                let value = if *to_space { value.wrapping_sub(window) } else { value.wrapping_add(window) };
                if *wide { r.set_wide(*d, lane, value) } else { r.row_mut(*d)[lane] = value as u32 }
            }
        }
        Op::LoadMatrix(load) => load_matrix(r, own, load, m)?,
        Op::StoreMatrix { .. } => store_matrix(r, own, op, m)?,
        _ => {}
    }
    Ok(())
}

#[allow(clippy::too_many_arguments)]
#[inline]
fn load_element(
    r: &mut Rows,
    local: &[u8],
    mask: u32,
    m: &World,
    at: &[Place; 32],
    offset: usize,
    (bytes, signed, wide): (u8, bool, bool),
    slot: Slot,
) {
    if bytes == 4 && !wide {
        let row = r.row_mut(slot);
        for lane in lanes(mask) {
            row[lane] = m.load(local, at[lane], offset, 4) as u32;
        }
        return;
    }
    for lane in lanes(mask) {
        let value = extend(m.load(local, at[lane], offset, bytes), bytes, signed);
        if wide { r.set_wide(slot, lane, value) } else { r.row_mut(slot)[lane] = value as u32 }
    }
}

fn region(place: Place) -> Option<(Region, u64)> {
    match place {
        Place::Global(_, addr) => Some((Region::Global, addr)),
        Place::Shared { cta, at } => Some((Region::Shared(cta), at as u64)),
        _ => None,
    }
}

/// Check mode: what the strong accesses of an instruction hand on or take.
fn synchronise(
    mask: u32,
    at: &[Place; 32],
    m: &mut World,
    mut f: impl FnMut(&mut super::check::Check, usize, Region, u64),
) {
    let warp = m.me.warp;
    let Some(check) = &mut m.check else { return };
    let mut last = None;
    for lane in lanes(mask) {
        let place = region(at[lane]);
        if let Some((region, addr)) = place
            && place != last
        {
            f(check, warp, region, addr);
        }
        last = place;
    }
}

/// Check mode: the lanes whose store changes nothing.
fn unchanged(
    r: &Rows,
    local: &[u8],
    mask: u32,
    m: &World,
    at: &[Place; 32],
    (bytes, wide): (u8, bool),
    a: &[Slot],
) -> u32 {
    let low = if bytes >= 8 { u64::MAX } else { (1 << (8 * bytes as u32)) - 1 };
    lanes(mask).fold(0, |same, lane| {
        let equal = a.iter().enumerate().all(|(n, &slot)| {
            let value = if wide { r.wide(slot, lane) } else { r.row(slot)[lane] as u64 };
            m.load(local, at[lane], n * bytes as usize, bytes) == value & low
        });
        same | (equal as u32) << lane
    })
}

/// Check mode: lanes of one store that write the same bytes.
fn lane_conflicts(r: &Rows, mask: u32, m: &mut World, at: &[Place; 32], bytes: u64, a: &[Slot], wide: bool) {
    let mut sorted: [(Option<(Region, u64)>, usize); 32] = [(None, 0); 32];
    let mut count = 0;
    let mut ascending = true;
    for lane in lanes(mask) {
        let place = region(at[lane]);
        if count > 0
            && let (Some((r, last)), Some((q, next))) = (sorted[count - 1].0, place)
        {
            ascending &= r == q && next >= last + bytes;
        }
        sorted[count] = (place, lane);
        count += 1;
    }
    if ascending {
        return;
    }
    let key = |p: &Option<(Region, u64)>| match p {
        None => (0, 0),
        Some((Region::Global, addr)) => (1, *addr),
        Some((Region::Shared(cta), addr)) => (2 + cta, *addr),
    };
    sorted[..count].sort_unstable_by_key(|(p, lane)| (key(p), *lane));
    for pair in sorted[..count].windows(2) {
        let ((Some(p), x), (q, y)) = (pair[0], pair[1]) else { continue };
        if q != Some(p) {
            continue;
        }
        let value = |slot: Slot, lane| if wide { r.wide(slot, lane) } else { r.row(slot)[lane] as u64 };
        let equal = a.iter().all(|&s| value(s, x) == value(s, y));
        let word = bytes == 4 * a.len() as u64;
        let close = word && a.iter().all(|&s| differ_by_rounding(r.row(s)[x], r.row(s)[y]));
        let (warp, at) = (m.me.warp, m.me.at);
        let Some(check) = &mut m.check else { return };
        let say = |what| format!("lanes {x} and {y} write {what} values to {:#x} in one instruction", p.1);
        let lane = Some(y as u32);
        match (equal, close) {
            (true, _) => check.note(FaultKind::LaneConflict, warp, at, lane, say("equal")),
            (_, true) => check.note(FaultKind::LaneConflict, warp, at, lane, say("all but equal")),
            _ => check.report(FaultKind::LaneConflict, warp, at, lane, say("different")),
        }
    }
}

/// Whether two words are f32 that differ in their last bits only. After a reduction by `shfl.bfly`, lane 0 holds
/// f(a, b) where lane 1 holds f(b, a): Triton stores both to one place, and means it.
fn differ_by_rounding(x: u32, y: u32) -> bool {
    let (p, q) = (f32::from_bits(x), f32::from_bits(y));
    // Small integers are subnormal.
    let numbers = p.is_normal() && q.is_normal();
    x == y || numbers && (p - q).abs() <= p.abs().max(q.abs()) / 4096.0
}

fn atomics(r: &mut Rows, own: &mut Own, mask: u32, op: &Op, m: &mut World) -> Result<(), Refused> {
    let Op::Atomic { space, op, ty, d, addr, a, b, order } = op else { return Ok(()) };
    let bytes = scalar_bytes(*ty);
    let at = places(r, mask, *space, *addr, bytes as u64, m)?;
    for lane in lanes(mask) {
        let (x, y) = (read(r, *a, bytes, lane), read(r, *b, bytes, lane));
        if let (Some((region, addr)), Some(check)) = (region(at[lane]), &mut m.check) {
            let warp = m.me.warp;
            check.strong_read(warp, region, addr, *order);
            if *op == AtomOp::Cas {
                check.excuse(warp, region, addr, bytes as u64);
            }
        }
        let left = old_defined(own, *op, *d, at[lane], bytes, lane, m);
        m.note(1 << lane, &at, bytes as u64, flags(true, *order), left);
        let new = |old: u128| match (*op, bytes) {
            (AtomOp::Exch, _) => x,
            (AtomOp::Cas, _) => {
                if old == x {
                    y
                } else {
                    old
                }
            }
            // The atomic units of global memory flush; shared memory is added to by an ordinary sum.
            (AtomOp::Add, 4) if *ty == Scalar::F32 => {
                single_add(old as u32, x as u32, matches!(at[lane], Place::Global(..))) as u128
            }
            _ => atomic(*op, *ty, old as u64, x as u64, y as u64) as u128,
        };
        let old = match at[lane] {
            // Of 16 bytes in global memory: grids with such atomics run on one host thread (see `grid`).
            Place::Global(allocation, at) if bytes <= 8 => {
                allocation.update(at, bytes, |v| new(v as u128) as u64) as u128
            }
            other => {
                let old = load_wide(own.local, other, bytes, m);
                store_wide(own.local, other, bytes, new(old), m);
                old
            }
        };
        // A lock that is not free, a counter that is not there yet: nobody could tell that it was looked at.
        m.changes += (new(old) != old) as u64;
        let writes = *op != AtomOp::Cas || old == x;
        if let (true, Some((region, addr)), Some(check)) = (writes, region(at[lane]), &mut m.check) {
            check.strong_write(m.me.warp, region, addr, *order, true);
        }
        if let Some(d) = *d {
            (d..).zip(words(old, bytes)).for_each(|(slot, word)| r.row_mut(slot)[lane] = word);
        }
    }
    Ok(())
}

/// The 32-bit words of a value of so many bytes.
fn words(value: u128, bytes: u8) -> impl Iterator<Item = u32> {
    (0..(bytes as u32).div_ceil(4)).map(move |n| (value >> (32 * n)) as u32)
}

/// A register of so many bytes.
fn read(r: &Rows, slot: Slot, bytes: u8, lane: usize) -> u128 {
    let count = (bytes as u32).div_ceil(4);
    (0..count).rev().fold(0, |v, n| v << 32 | r.row(slot + n)[lane] as u128)
}

fn load_wide(local: &[u8], place: Place, bytes: u8, m: &World) -> u128 {
    let low = m.load(local, place, 0, bytes.min(8)) as u128;
    if bytes == 16 { low | (m.load(local, place, 8, 8) as u128) << 64 } else { low }
}

fn store_wide(local: &mut [u8], place: Place, bytes: u8, value: u128, m: &mut World) {
    m.store(local, place, 0, bytes.min(8), value as u64);
    if bytes == 16 {
        m.store(local, place, 8, 8, (value >> 64) as u64);
    }
}

/// Check mode: the result of an atomic is defined where memory is, and memory afterwards where operands are, too. Gives
/// the lanes that leave something defined.
fn old_defined(
    own: &mut Own,
    op: AtomOp,
    d: Option<Slot>,
    place: Place,
    bytes: u8,
    lane: usize,
    m: &World,
) -> u32 {
    let Some(defined) = &mut own.defined else { return u32::MAX };
    let all = u16::MAX >> (16 - bytes as u32);
    let old =
        if traffic::bytes_defined(m, defined, place, 0, bytes as usize) & all == all { u32::MAX } else { 0 };
    if let Some(d) = d {
        (d..d + (bytes as u32).div_ceil(4)).for_each(|d| defined.set_row(d, 1 << lane, old));
    }
    if op == AtomOp::Exch { own.sources } else { own.sources & old }
}

/// Row `i` of matrix `n` lies at the address of lane `n · rows + i`.
fn load_matrix(r: &mut Rows, own: &mut Own, op: &MatrixLoad, m: &mut World) -> Result<(), Refused> {
    let rows = rows_of(op.rows());
    let at = places(r, rows, MemSpace::Shared, op.addr, 16, m)?;
    let whole = m.note_rows(rows, &at, 0, (u32::MAX, 0));
    match &mut own.defined {
        Some(defined) if whole & rows != rows => traffic::load_matrix(m, defined, &at, whole, op),
        Some(defined) => op.d.iter().for_each(|&slot| defined.set_row(slot, u32::MAX, u32::MAX)),
        None => {}
    }
    let mut lines = [[0u8; 16]; 32];
    for (line, at) in lines.iter_mut().zip(&at).take(op.rows()) {
        let &Place::Shared { cta, at } = at else { continue };
        line.copy_from_slice(&m.ctas[cta].shared[at..at + 16]);
        if op.packing != Packing::Bytes {
            *line = op.packing.unpack(*line);
        }
    }
    let (height, registers) = (op.layout.rows(), op.layout.registers());
    for (n, slot) in op.d.iter().enumerate() {
        let lines = &lines[n / registers * height..][..height];
        let words = r.row_mut(*slot);
        if op.layout == MatrixLayout::Rows {
            for (line, words) in lines.iter().zip(words.chunks_exact_mut(4)) {
                for (word, four) in words.iter_mut().zip(line.chunks_exact(4)) {
                    *word = u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
                }
            }
            continue;
        }
        for (lane, word) in words.iter_mut().enumerate() {
            let byte = |byte: usize| {
                let (row, column) = op.layout.place(n % registers, byte, lane);
                lines[row][column]
            };
            *word = u32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)]);
        }
    }
    Ok(())
}

/// The lanes whose addresses a matrix access of so many rows uses.
pub fn rows_of(rows: usize) -> u32 {
    ((1u64 << rows) - 1) as u32
}

fn store_matrix(r: &Rows, own: &mut Own, op: &Op, m: &mut World) -> Result<(), Refused> {
    let &Op::StoreMatrix { count, layout, ref a, addr } = op else { return Ok(()) };
    let rows = rows_of(8 * count as usize);
    let at = places(r, rows, MemSpace::Shared, addr, 16, m)?;
    let mut lines = [[0u8; 16]; 32];
    for (n, slot) in a.iter().enumerate() {
        for (lane, word) in r.row(*slot).iter().enumerate() {
            for (byte, value) in word.to_le_bytes().into_iter().enumerate() {
                let (row, column) = layout.place(0, byte, lane);
                lines[8 * n + row][column] = value;
            }
        }
    }
    let there = |m: &World, lane: usize| match at[lane] {
        Place::Shared { cta, at } => m.ctas[cta].shared[at..at + 16] == lines[lane],
        _ => false,
    };
    let same = lanes(rows).fold(0, |same, lane| same | (there(m, lane) as u32) << lane);
    let whole = own.sources == u32::MAX;
    m.note_rows(rows, &at, flag::WRITE, (if whole { u32::MAX } else { 0 }, same));
    if let Some(defined) = own.defined.as_mut().filter(|_| !whole) {
        traffic::store_matrix(m, defined, &at, layout, a);
    }
    for lane in lanes(rows) {
        let Place::Shared { cta, at } = at[lane] else { continue };
        m.ctas[cta].version += 1;
        m.ctas[cta].shared[at..at + 16].copy_from_slice(&lines[lane]);
    }
    m.changes += 1;
    Ok(())
}

pub fn scalar_bytes(ty: Scalar) -> u8 {
    match ty {
        Scalar::Int { bits, .. } => bits / 8,
        Scalar::F16 | Scalar::Bf16 => 2,
        Scalar::F64 => 8,
        _ => 4,
    }
}

/// The value that an atomic operation leaves.
pub fn atomic(op: AtomOp, ty: Scalar, old: u64, x: u64, y: u64) -> u64 {
    match (op, ty) {
        (AtomOp::Exch, _) => x,
        (AtomOp::Cas, _) => {
            if old == x {
                y
            } else {
                old
            }
        }
        (AtomOp::Inc, _) => {
            if old >= x {
                0
            } else {
                old + 1
            }
        }
        (AtomOp::Dec, _) => {
            if old == 0 || old > x {
                x
            } else {
                old - 1
            }
        }
        (AtomOp::Add, Scalar::F32) => single_add(old as u32, x as u32, false) as u64,
        (AtomOp::Add, Scalar::F64) => (f64::from_bits(old) + f64::from_bits(x)).to_bits(),
        (AtomOp::Add, Scalar::F16) => half_add(old, x),
        (AtomOp::Add, Scalar::Bf16) => brain_add(old, x),
        (AtomOp::Add, Scalar::F16x2) => half_add(old, x) | half_add(old >> 16, x >> 16) << 16,
        (AtomOp::Add, Scalar::Bf16x2) => brain_add(old, x) | brain_add(old >> 16, x >> 16) << 16,
        (AtomOp::Min | AtomOp::Max, Scalar::F16 | Scalar::F16x2 | Scalar::Bf16 | Scalar::Bf16x2) => {
            super::float::packed_extremum(op, ty, old, x)
        }
        (_, Scalar::Int { signed, bits: 64 }) => match op {
            AtomOp::Add => old.wrapping_add(x),
            AtomOp::Min if signed => (old as i64).min(x as i64) as u64,
            AtomOp::Max if signed => (old as i64).max(x as i64) as u64,
            AtomOp::Min => old.min(x),
            AtomOp::Max => old.max(x),
            AtomOp::And => old & x,
            AtomOp::Or => old | x,
            _ => old ^ x,
        },
        (_, Scalar::Int { signed, .. }) => combine(op, signed, old as u32, x as u32) as u64,
        _ => old,
    }
}

/// `flush`: subnormal numbers count, and come out, as zeros.
fn single_add(x: u32, y: u32, flush: bool) -> u32 {
    let flushed = |v: f32| if flush && v.is_subnormal() { 0f32.copysign(v) } else { v };
    let sum = flushed(flushed(f32::from_bits(x)) + flushed(f32::from_bits(y)));
    if sum.is_nan() { 0x7fff_ffff } else { sum.to_bits() }
}

fn half_add(x: u64, y: u64) -> u64 {
    float_add(F16, x, y)
}

fn brain_add(x: u64, y: u64) -> u64 {
    float_add(BF16, x, y)
}

fn float_add(format: Format, x: u64, y: u64) -> u64 {
    let (x, y) = (format.decode(x & 0xffff), format.decode(y & 0xffff));
    if !(x.is_finite() && y.is_finite()) {
        return format.encode_f64(x + y, Rounding::Nearest, false);
    }
    let sum = Exact::from(x).plus(Exact::from(y), Rounding::Nearest);
    format.encode(sum, Rounding::Nearest, false)
}
