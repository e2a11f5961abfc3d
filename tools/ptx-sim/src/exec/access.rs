//! Loads, stores, atomics and matrix accesses: addresses to spaces, bounds and alignment, bytes.

use super::{
    check::{CtaCheck, Finding, GlobalLog},
    cta::Shared,
    round::{BF16, Exact, F16, Format},
    rows::{Rows, lanes},
    warp_ops::combine,
};
use crate::{fault::FaultKind, ir::*, memory::Memory};

/// Where shared memory begins in the generic address space; the low 32 bits of a generic shared address are the
/// shared address itself, so code that truncates one (LLVM does) still works.
pub const GENERIC_SHARED: u64 = 1 << 32;
/// Where each thread's local memory begins in the generic address space.
pub const GENERIC_LOCAL: u64 = 2 << 32;
/// Size of either window.
const WINDOW: u64 = 1 << 32;

/// The memories one warp sees.
pub struct Spaces<'a> {
    pub global: &'a Memory,
    pub shared: &'a mut Shared,
    /// Local memory of the warp's threads, one after another.
    pub local: &'a mut [u8],
    pub local_bytes: usize,
    pub params: &'a [u8],
    /// Present in check mode.
    pub check: Option<Watch<'a>>,
}

/// Who accesses, and where that is written down.
pub struct Watch<'a> {
    pub cta: &'a mut CtaCheck,
    pub log: &'a mut GlobalLog,
    pub warp: usize,
    /// The instruction that executes.
    pub at: u32,
}

/// A refused access: kind, message, lane.
pub type Refused = (FaultKind, String, Option<u32>);

#[derive(Clone, Copy)]
enum Place {
    Global(u64),
    Shared(usize),
    Local(usize),
    Param(usize),
}

impl Spaces<'_> {
    fn place(&self, space: MemSpace, addr: u64, bytes: u64, lane: usize) -> Result<Place, Refused> {
        if addr % bytes != 0 {
            let message = format!("{bytes}-byte access at {addr:#x}, which is not a multiple of {bytes}");
            return Err((FaultKind::Misaligned, message, Some(lane as u32)));
        }
        let space = match space {
            MemSpace::Generic if (GENERIC_SHARED..GENERIC_SHARED + WINDOW).contains(&addr) => {
                MemSpace::Shared
            }
            MemSpace::Generic if (GENERIC_LOCAL..GENERIC_LOCAL + WINDOW).contains(&addr) => MemSpace::Local,
            MemSpace::Generic => MemSpace::Global,
            // Until clusters run together, a CTA's window holds its own shared memory only.
            MemSpace::SharedCluster => MemSpace::Shared,
            other => other,
        };
        let out = |what: &str, size: usize| {
            let message = format!("{bytes} bytes at {what} {addr:#x}, of which there are {size}");
            (FaultKind::OutOfBounds, message, Some(lane as u32))
        };
        let low = (addr & (WINDOW - 1)) as usize;
        match space {
            MemSpace::Shared if low + bytes as usize <= self.shared.bytes.len() => Ok(Place::Shared(low)),
            MemSpace::Shared => Err(out("shared address", self.shared.bytes.len())),
            MemSpace::Local if low + bytes as usize <= self.local_bytes => {
                Ok(Place::Local(lane * self.local_bytes + low))
            }
            MemSpace::Local => Err(out("local address", self.local_bytes)),
            MemSpace::Param if low + bytes as usize <= self.params.len() => Ok(Place::Param(low)),
            MemSpace::Param => Err(out("parameter offset", self.params.len())),
            _ => {
                if self.global.find(addr, bytes).is_none() {
                    let message =
                        format!("{bytes} bytes at global {addr:#x}: {}", self.global.describe(addr));
                    return Err((FaultKind::OutOfBounds, message, Some(lane as u32)));
                }
                Ok(Place::Global(addr))
            }
        }
    }

    fn load(&self, place: Place, bytes: u8) -> u64 {
        let read = |from: &[u8]| {
            let mut word = [0; 8];
            word[..bytes as usize].copy_from_slice(&from[..bytes as usize]);
            u64::from_le_bytes(word)
        };
        match place {
            Place::Global(addr) => self.global.find(addr, bytes as u64).map_or(0, |a| a.load(addr, bytes)),
            Place::Shared(at) => read(&self.shared.bytes[at..]),
            Place::Local(at) => read(&self.local[at..]),
            Place::Param(at) => read(&self.params[at..]),
        }
    }

    fn store(&mut self, place: Place, bytes: u8, value: u64) -> Result<(), Refused> {
        let from = &value.to_le_bytes()[..bytes as usize];
        match place {
            Place::Global(addr) => {
                if let Some(a) = self.global.find(addr, bytes as u64) {
                    a.store(addr, bytes, value);
                }
            }
            Place::Shared(at) => self.shared.bytes[at..at + from.len()].copy_from_slice(from),
            Place::Local(at) => self.local[at..at + from.len()].copy_from_slice(from),
            Place::Param(_) => return Err((FaultKind::OutOfBounds, "a store to parameters".into(), None)),
        }
        Ok(())
    }
}

impl Spaces<'_> {
    /// One byte at a generic address, for messages: no fault, no trace.
    pub fn read_byte(&self, addr: u64, lane: usize) -> Option<u8> {
        self.place(MemSpace::Generic, addr, 1, lane).ok().map(|at| self.load(at, 1) as u8)
    }

    /// A read in check mode; whether what is read is defined.
    fn note_read(&mut self, place: Place, bytes: u64, lane: usize) -> bool {
        let Some(w) = &mut self.check else { return true };
        match place {
            Place::Shared(from) => w.cta.read_shared(w.warp, lane as u32, w.at, from, bytes as usize),
            Place::Global(addr) => {
                w.log.read(addr, bytes, w.at);
                true
            }
            _ => true,
        }
    }

    fn note_write(&mut self, place: Place, bytes: u64, lane: usize, defined: bool) {
        let Some(w) = &mut self.check else { return };
        match place {
            Place::Shared(to) => w.cta.write_shared(w.warp, lane as u32, w.at, to, bytes as usize, defined),
            Place::Global(addr) => {
                w.log.write(addr, bytes, w.at);
                if !defined {
                    let message = "an undefined value is stored to global memory".into();
                    let (at, warp, lane) = (w.at, w.warp as u32, Some(lane as u32));
                    w.cta.report(Finding {
                        kind: FaultKind::Undefined,
                        at,
                        warp,
                        lane,
                        message,
                        other: None,
                    });
                }
            }
            _ => {}
        }
    }
}

fn address(r: &Rows, addr: Addr, lane: usize) -> u64 {
    let base = if addr.wide { r.wide(addr.base, lane) } else { r.row(addr.base)[lane] as u64 };
    let sum = base.wrapping_add_signed(addr.offset);
    if addr.wide { sum } else { sum & 0xffff_ffff }
}

fn extend(value: u64, bytes: u8, signed: bool) -> u64 {
    let shift = 64 - 8 * bytes as u32;
    if signed { ((value << shift) as i64 >> shift) as u64 } else { value }
}

/// Executes an access. `sources`: lanes whose stored values are defined. Gives the lanes whose loaded values are.
pub fn run(r: &mut Rows, mask: u32, op: &Op, m: &mut Spaces, sources: u32) -> Result<u32, Refused> {
    let mut loaded = sources;
    match op {
        Op::Load { space, bytes, signed, d, wide, addr, .. } => {
            // All addresses first: a destination may be the address register.
            let addresses: [u64; 32] = std::array::from_fn(|l| address(r, *addr, l));
            let total = *bytes as u64 * d.len() as u64;
            for lane in lanes(mask) {
                let at = addresses[lane];
                let whole = m.place(*space, at, total, lane)?;
                if !m.note_read(whole, total, lane) {
                    loaded &= !(1 << lane);
                }
                for (n, slot) in d.iter().enumerate() {
                    let Some(slot) = slot else { continue };
                    let place = m.place(*space, at + n as u64 * *bytes as u64, *bytes as u64, lane)?;
                    let value = extend(m.load(place, *bytes), *bytes, *signed);
                    if *wide { r.set_wide(*slot, lane, value) } else { r.row_mut(*slot)[lane] = value as u32 }
                }
            }
        }
        Op::LoadParam { bytes, signed, d, wide, offset } => {
            for (n, slot) in d.iter().enumerate() {
                let Some(slot) = slot else { continue };
                let place =
                    m.place(MemSpace::Param, (offset + n * *bytes as usize) as u64, *bytes as u64, 0)?;
                let value = extend(m.load(place, *bytes), *bytes, *signed);
                r.put(*slot, mask, &[value as u32; 32]);
                if *wide {
                    r.put(*slot + 1, mask, &[(value >> 32) as u32; 32]);
                }
            }
        }
        Op::Store { space, bytes, a, wide, addr, .. } => {
            let total = *bytes as u64 * a.len() as u64;
            for lane in lanes(mask) {
                let at = address(r, *addr, lane);
                let whole = m.place(*space, at, total, lane)?;
                m.note_write(whole, total, lane, sources >> lane & 1 == 1);
                for (n, slot) in a.iter().enumerate() {
                    let value = if *wide { r.wide(*slot, lane) } else { r.row(*slot)[lane] as u64 };
                    let place = m.place(*space, at + n as u64 * *bytes as u64, *bytes as u64, lane)?;
                    m.store(place, *bytes, value)?;
                }
            }
        }
        Op::Atomic { space, op, ty, d, addr, a, b, .. } => {
            let bytes = scalar_bytes(*ty);
            for lane in lanes(mask) {
                let read = |slot| if bytes == 8 { r.wide(slot, lane) } else { r.row(slot)[lane] as u64 };
                let (x, y) = (read(*a), read(*b));
                let place = m.place(*space, address(r, *addr, lane), bytes as u64, lane)?;
                if let (Place::Global(at), Some(w)) = (place, &mut m.check) {
                    w.log.atomic(at, bytes as u64, w.at);
                }
                let old = match place {
                    Place::Global(at) => match m.global.find(at, bytes as u64) {
                        Some(allocation) => allocation.update(at, bytes, |v| atomic(*op, *ty, v, x, y)),
                        None => 0,
                    },
                    other => {
                        let old = m.load(other, bytes);
                        m.store(other, bytes, atomic(*op, *ty, old, x, y))?;
                        old
                    }
                };
                if let Some(d) = d {
                    if bytes == 8 { r.set_wide(*d, lane, old) } else { r.row_mut(*d)[lane] = old as u32 }
                }
            }
        }
        Op::Cvta { space, to_space, d, a, wide } => {
            let window = match space {
                MemSpace::Shared => GENERIC_SHARED,
                MemSpace::Local => GENERIC_LOCAL,
                _ => 0,
            };
            for lane in lanes(mask) {
                let value = if *wide { r.wide(*a, lane) } else { r.row(*a)[lane] as u64 };
                let value = if *to_space { value.wrapping_sub(window) } else { value.wrapping_add(window) };
                if *wide { r.set_wide(*d, lane, value) } else { r.row_mut(*d)[lane] = value as u32 }
            }
        }
        Op::LoadMatrix { count, transpose, d, addr } => {
            // One undefined element leaves the whole fragment undefined.
            if !load_matrix(r, mask, *count, *transpose, d, *addr, m)? {
                loaded = 0;
            }
        }
        Op::StoreMatrix { count, transpose, a, addr } => {
            store_matrix(r, mask, *count, *transpose, a, *addr, m, sources == u32::MAX)?;
        }
        _ => {}
    }
    Ok(loaded)
}

/// Row `i` of matrix `n` lies at the address of lane `8 n + i`; lane `4 g + t` receives elements (g, 2t), (g, 2t+1).
fn load_matrix(
    r: &mut Rows,
    mask: u32,
    count: u8,
    transpose: bool,
    d: &[Slot],
    addr: Addr,
    m: &mut Spaces,
) -> Result<bool, Refused> {
    whole_warp(mask, "ldmatrix")?;
    let mut defined = true;
    let mut out = vec![[0u32; 32]; count as usize];
    for (n, words) in out.iter_mut().enumerate() {
        let mut matrix = [[0u16; 8]; 8];
        for (row, values) in matrix.iter_mut().enumerate() {
            let lane = 8 * n + row;
            let at = address(r, addr, lane);
            let whole = m.place(MemSpace::Shared, at, 16, lane)?;
            defined &= m.note_read(whole, 16, lane);
            for (column, value) in values.iter_mut().enumerate() {
                let place = m.place(MemSpace::Shared, at + 2 * column as u64, 2, lane)?;
                *value = m.load(place, 2) as u16;
            }
        }
        for (lane, word) in words.iter_mut().enumerate() {
            let (g, t) = (lane / 4, lane % 4);
            let pick = |x: usize| if transpose { matrix[2 * t + x][g] } else { matrix[g][2 * t + x] };
            *word = pick(0) as u32 | (pick(1) as u32) << 16;
        }
    }
    for (slot, words) in d.iter().zip(&out) {
        r.put(*slot, mask, words);
    }
    Ok(defined)
}

#[allow(clippy::too_many_arguments)]
fn store_matrix(
    r: &mut Rows,
    mask: u32,
    count: u8,
    transpose: bool,
    a: &[Slot],
    addr: Addr,
    m: &mut Spaces,
    defined: bool,
) -> Result<(), Refused> {
    whole_warp(mask, "stmatrix")?;
    for lane in 0..8 * count as usize {
        let whole = m.place(MemSpace::Shared, address(r, addr, lane), 16, lane)?;
        m.note_write(whole, 16, lane, defined);
    }
    for n in 0..count as usize {
        let words = *r.row(a[n]);
        for (lane, word) in words.iter().enumerate() {
            let (g, t) = (lane / 4, lane % 4);
            for x in 0..2 {
                let (row, column) = if transpose { (2 * t + x, g) } else { (g, 2 * t + x) };
                let owner = 8 * n + row;
                let at = address(r, addr, owner);
                let place = m.place(MemSpace::Shared, at + 2 * column as u64, 2, owner)?;
                m.store(place, 2, (word >> (16 * x)) as u64)?;
            }
        }
    }
    Ok(())
}

fn whole_warp(mask: u32, what: &str) -> Result<(), Refused> {
    if mask == u32::MAX {
        return Ok(());
    }
    Err((
        FaultKind::SyncMask,
        format!("{what} by lanes {mask:#010x} only; the whole warp has to take part"),
        None,
    ))
}

/// One `cp.async`, resolved at issue: destination, bytes read, bytes of zeros after them.
#[derive(Clone, Debug)]
pub struct PendingCopy {
    pub to: usize,
    pub bytes: Vec<u8>,
}

/// Resolves the copies of a warp's `cp.async`. The bytes are read now; when they land is the waiter's affair.
pub fn copy_async(
    r: &Rows,
    mask: u32,
    op: &Op,
    m: &mut Spaces,
    out: &mut Vec<PendingCopy>,
) -> Result<(), Refused> {
    let Op::CopyAsync { size, source, to, from } = op else { return Ok(()) };
    for lane in lanes(mask) {
        let wanted = source.map_or(*size as u32, |s| r.row(s)[lane]).min(*size as u32) as usize;
        let Place::Shared(at) = m.place(MemSpace::Shared, address(r, *to, lane), *size as u64, lane)? else {
            continue;
        };
        // It may land at once: a reader that is not ordered before the issue is in danger from here on.
        m.note_write(Place::Shared(at), *size as u64, lane, true);
        let mut bytes = vec![0; *size as usize];
        let start = address(r, *from, lane);
        if wanted > 0 && start % *size as u64 != 0 {
            let message = format!("cp.async of {size} bytes from {start:#x}");
            return Err((FaultKind::Misaligned, message, Some(lane as u32)));
        }
        if wanted > 0 {
            let whole = m.place(MemSpace::Global, start, 1, lane)?;
            m.note_read(whole, wanted as u64, lane);
        }
        for (n, byte) in bytes.iter_mut().take(wanted).enumerate() {
            let place = m.place(MemSpace::Global, start + n as u64, 1, lane)?;
            *byte = m.load(place, 1) as u8;
        }
        out.push(PendingCopy { to: at, bytes });
    }
    Ok(())
}

fn scalar_bytes(ty: Scalar) -> u8 {
    match ty {
        Scalar::Int { bits, .. } => bits / 8,
        Scalar::F16 | Scalar::Bf16 => 2,
        Scalar::F64 => 8,
        _ => 4,
    }
}

fn atomic(op: AtomOp, ty: Scalar, old: u64, x: u64, y: u64) -> u64 {
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
        (AtomOp::Add, Scalar::F32) => {
            (f32::from_bits(old as u32) + f32::from_bits(x as u32)).to_bits() as u64
        }
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
