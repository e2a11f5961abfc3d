//! `wgmma`: four operations, one for each warp of a warpgroup.
//!
//! A warp's quarter starts when the warp issues it and takes effect between then and the warp's wait, in order with its
//! other quarters. Until the wait its registers are locked: D may be written and A read at any time.
//!
//! ```text
//! wgmma.fence          touches of registers before this no longer matter
//! wgmma d, a, desc     D and A are locked; the 16-byte granules of B are being read, by this warp's operation
//! wgmma.commit_group
//! wgmma.wait_group 0   D has its values, locks are gone, and the *warp* knows that it no longer reads B
//! ```
//!
//! Code in use reads accumulators by copies (`mov.b32 {lo, hi}, d`) between commit and wait; ptxas waits first and says
//! so (C7517). Such a copy gets the product here too, and is a note if the wait follows, and refuted if none does.
//!
//! Check mode keeps, for every register, the last plain instruction that touched it since the last fence.

use super::{
    check::{Access, Check, Defined, Region, clock::Agent, products::Factors, shadow::flag, touch::Part},
    cta::TensorStep,
    rows::{Row, Rows},
    units::{
        operand::{self, Footprint, OperandError, SourceA, Tile},
        wgmma::multiply,
    },
    warp::Refused,
    world::World,
};
use crate::{fault::FaultKind, ir::*};
use std::{
    collections::{HashMap, VecDeque},
    rc::Rc,
};
use tile_machine::MatrixDescriptor;

/// A warp's part of one `wgmma`, between issue and wait.
struct Quarter {
    at: u32,
    a: u64,
    b: u64,
    accumulate: bool,
    landed: bool,
}

/// How a plain instruction touched a register since the last `wgmma.fence`.
#[derive(Clone, Copy, Default)]
struct Touch {
    /// Number of the fence it came after, plus one; 0: never.
    fence: u32,
    at: u32,
    /// Only copied to or from.
    copied: bool,
}

#[derive(Clone, Copy, Default)]
struct Lock {
    /// As D: by how many operations, of which shape, the last at which instruction.
    d: u32,
    n: u16,
    at: u32,
    /// As A.
    a: u32,
}

/// The tensor operations of one warp.
#[derive(Default)]
pub struct Queue {
    open: Vec<Quarter>,
    groups: VecDeque<Vec<Quarter>>,
    /// Check mode: slot of the open group and of the committed ones.
    open_slot: Option<(Agent, u32)>,
    slots: VecDeque<Option<(Agent, u32)>>,
    locks: Vec<Lock>,
    touched: Vec<Touch>,
    /// `wgmma.fence` executed so far.
    fences: u32,
    /// Copies of accumulators before the wait: the copy, the `wgmma`.
    early: Vec<(u32, u32)>,
}

/// Moves of whole registers or halves of them.
fn is_copy(op: &Op) -> bool {
    matches!(op, Op::Copy { .. } | Op::Pack16 { .. } | Op::Unpack16 { .. })
}

/// Unpacked tiles of B, which all four warps of a group read.
#[derive(Default)]
pub struct Tiles(HashMap<(usize, u32, u64), (u64, Rc<Tile>)>);

const MOST_TILES: usize = 64;

fn wgmma_at(kernel: &Kernel, at: u32) -> Option<&Wgmma> {
    match &kernel.code[at as usize].op {
        Op::Hopper(op) => match &**op {
            HopperOp::Wgmma(w) => Some(w),
            _ => None,
        },
        _ => None,
    }
}

fn in_words(e: OperandError) -> Refused {
    let kind = match e {
        OperandError::OutOfBounds { .. } => FaultKind::OutOfBounds,
        OperandError::Metadata { .. } => FaultKind::DescriptorIllegal,
    };
    (kind, e.to_string(), None)
}

fn descriptor(what: &str, bits: u64) -> Result<MatrixDescriptor, Refused> {
    MatrixDescriptor::decode(bits)
        .map_err(|e| (FaultKind::DescriptorIllegal, format!("descriptor of {what}: {e}"), None))
}

impl Queue {
    pub fn idle(&self) -> bool {
        self.open.is_empty() && self.groups.is_empty()
    }

    pub fn issue(
        &mut self,
        r: &mut Rows,
        defined: &mut Option<Defined>,
        w: &Wgmma,
        m: &mut World,
    ) -> Result<(), Refused> {
        let scale = r.pred(w.scale_d) ^ if w.scale_d_negated { u32::MAX } else { 0 };
        if scale != 0 && scale != u32::MAX {
            let message = "scale-d differs between the lanes of a warp".into();
            return Err((FaultKind::WarpgroupMismatch, message, None));
        }
        let uniform = |slot: Slot| (0..32).all(|l| r.wide(slot, l) == r.wide(slot, 0));
        let mut a = 0;
        if let WgmmaA::Descriptor(s) = w.a {
            if !uniform(s) {
                let message = "the descriptor of A differs between the lanes of a warp".into();
                return Err((FaultKind::WarpgroupMismatch, message, None));
            }
            a = r.wide(s, 0);
            descriptor("A", a)?;
        }
        if !uniform(w.b) {
            let message = "the descriptor of B differs between the lanes of a warp".into();
            return Err((FaultKind::WarpgroupMismatch, message, None));
        }
        let b = r.wide(w.b, 0);
        descriptor("B", b)?;
        let quarter = Quarter { at: m.me.at, a, b, accumulate: scale != 0, landed: false };
        if m.check.is_some() {
            self.check_issue(defined, w, &quarter, m)?;
        }
        self.open.push(quarter);
        if m.agents.at_once() {
            self.land_all(r, m)?;
        }
        Ok(())
    }

    /// Everything issued so far takes effect, in order.
    fn land_all(&mut self, r: &mut Rows, m: &mut World) -> Result<(), Refused> {
        for q in self.groups.iter_mut().flatten().chain(&mut self.open).filter(|q| !q.landed) {
            land(q, r, m)?;
        }
        Ok(())
    }

    /// A copy takes an accumulator before the wait: it gets what ptxas would wait for.
    pub fn copied(&mut self, op: &Op, r: &mut Rows, m: &mut World) -> Result<(), Refused> {
        if !is_copy(op) {
            return Ok(());
        }
        let kernel = m.launch.kernel;
        let flying = self.groups.iter().flatten().chain(&self.open).filter(|q| !q.landed);
        let mut hit = false;
        for w in flying.filter_map(|q| wgmma_at(kernel, q.at)) {
            op.visit(&mut |role| hit |= matches!(role, Role::Use(s) if w.d.contains(&s)));
        }
        if hit { self.land_all(r, m) } else { Ok(()) }
    }

    /// The warp has ended: copies of accumulators that no wait has followed.
    pub fn finish(&mut self, check: &mut Check, warp: usize) {
        for (at, wgmma) in std::mem::take(&mut self.early) {
            let message = "a register that a wgmma in flight accumulates into is read before its wait".into();
            let missing = "no wgmma.wait_group between, nor after";
            check.report_with(FaultKind::AccumulatorRead, warp, at, message, wgmma, missing);
        }
    }

    pub fn commit(&mut self) {
        self.groups.push_back(std::mem::take(&mut self.open));
        self.slots.push_back(self.open_slot.take());
    }

    pub fn wait(&mut self, r: &mut Rows, pending: usize, m: &mut World) -> Result<(), Refused> {
        while self.groups.len() > pending {
            let Some(group) = self.groups.pop_front() else { break };
            let slot = self.slots.pop_front().flatten();
            for mut q in group {
                if !q.landed {
                    land(&mut q, r, m)?;
                }
                let kernel = m.launch.kernel;
                if let (Some(check), Some(w)) = (&mut m.check, wgmma_at(kernel, q.at)) {
                    self.unlock(w);
                    self.early.retain(|&(at, wgmma)| {
                        if wgmma == q.at {
                            let message =
                                "an accumulator is copied before its wait; ptxas waits there (C7517)";
                            check.note(FaultKind::AccumulatorRead, m.me.warp, at, None, message.into());
                        }
                        wgmma != q.at
                    });
                }
            }
            let warp = m.me.warp;
            if let (Some(check), Some(slot)) = (&mut m.check, slot) {
                check.close_slot(warp, slot);
            }
        }
        Ok(())
    }

    // ---- check mode

    fn lock(&mut self, slot: Slot) -> &mut Lock {
        let at = slot as usize;
        if at >= self.locks.len() {
            self.locks.resize(at + 1, Lock::default());
        }
        &mut self.locks[at]
    }

    fn unlock(&mut self, w: &Wgmma) {
        w.d.iter().for_each(|&s| self.lock(s).d -= 1);
        if let WgmmaA::Registers(a) = &w.a {
            a.iter().for_each(|&s| self.lock(s).a -= 1);
        }
    }

    pub fn fence(&mut self) {
        self.fences += 1;
    }

    /// A plain instruction touches registers: is one of them in flight? And remember it for the next `wgmma`.
    pub fn plain(&mut self, op: &Op, check: &mut Check, warp: usize, at: u32) {
        let copied = is_copy(op);
        let busy = !self.idle();
        op.visit(&mut |role| {
            let (slot, write) = match role {
                Role::Use(s) | Role::Address(s) => (s, false),
                Role::Def(s) => (s, true),
                _ => return,
            };
            let n = slot as usize;
            if n >= self.touched.len() {
                self.touched.resize(n + 1, Touch::default());
            }
            let before = self.touched[n];
            let only_copied = copied && (before.fence != self.fences + 1 || before.copied);
            self.touched[n] = Touch { fence: self.fences + 1, at, copied: only_copied };
            let Some(lock) = self.locks.get(n).filter(|_| busy) else { return };
            if lock.d > 0 && copied && !write {
                if !self.early.iter().any(|(_, wgmma)| *wgmma == lock.at) {
                    self.early.push((at, lock.at));
                }
                return;
            }
            let (does, kind) = (if write { "written" } else { "read" }, FaultKind::AccumulatorRead);
            if lock.d > 0 {
                let message =
                    format!("a register that a wgmma in flight accumulates into is {does} before its wait");
                check.report_with(kind, warp, at, message, lock.at, "no wgmma.wait_group between");
            } else if lock.a > 0 && write {
                let message =
                    "a register that a wgmma in flight reads as A is written before its wait".into();
                check.report_with(kind, warp, at, message, lock.at, "no wgmma.wait_group between");
            } else if lock.a > 0 {
                let message = "a register that a wgmma in flight reads as A is read before its wait".into();
                check.note(kind, warp, at, None, message);
            }
        });
    }

    fn check_issue(
        &mut self,
        defined: &mut Option<Defined>,
        w: &Wgmma,
        q: &Quarter,
        m: &mut World,
    ) -> Result<(), Refused> {
        self.same_in_group(q, m);
        self.registers_are_free(w, m);
        let mut factors = Factors::default();
        let quarter = (m.me.number % 4) as u32;
        if matches!(w.a, WgmmaA::Descriptor(_)) {
            let footprint = operand::a_footprint(w, quarter);
            let bits = operand::bits(w.a_type);
            self.reads(footprint, &descriptor("A", q.a)?, "A", m, |line, chunk, bytes| {
                each_undefined((line, chunk), !w.transpose_a, bits, bytes, |row| factors.row(row, false));
            })?;
        }
        let bits = operand::bits(w.b_type);
        self.reads(operand::b_footprint(w), &descriptor("B", q.b)?, "B", m, |line, chunk, bytes| {
            each_undefined((line, chunk), !w.transpose_b, bits, bytes, |n| factors.column(n, false));
        })?;
        if let Some(d) = defined {
            d.wgmma(w, factors, q.accumulate);
        }
        let at = q.at;
        for &s in &w.d {
            let lock = self.lock(s);
            (lock.d, lock.n, lock.at) = (lock.d + 1, w.n, at);
        }
        if let WgmmaA::Registers(a) = &w.a {
            for &s in a {
                let lock = self.lock(s);
                (lock.a, lock.at) = (lock.a + 1, at);
            }
        }
        Ok(())
    }

    /// The warps of a group have to execute the same products in the same order.
    fn same_in_group(&mut self, q: &Quarter, m: &mut World) {
        let me = m.me;
        let step = TensorStep { at: q.at, a: q.a, b: q.b };
        let lines = &mut m.ctas[me.cta].tensor[me.number / 4];
        lines[me.number % 4].push_back(step);
        let position = lines[me.number % 4].len() - 1;
        let other = (0..4).filter_map(|n| lines[n].get(position).copied()).find(|s| *s != step);
        if lines.iter().all(|l| !l.is_empty()) {
            for line in lines.iter_mut() {
                line.pop_front();
            }
        }
        if let (Some(other), Some(check)) = (other, &mut m.check) {
            let message =
                "the warps of a warpgroup execute different wgmma, or with different descriptors".into();
            let missing = "all four warps execute the same";
            check.report_with(FaultKind::WarpgroupMismatch, me.warp, me.at, message, other.at, missing);
        }
    }

    /// D and A: not in flight in another role or shape, and fenced since they were touched.
    fn registers_are_free(&mut self, w: &Wgmma, m: &mut World) {
        let me = m.me;
        let Some(check) = &mut m.check else { return };
        if self.fences == 0 {
            let message = "a wgmma before any wgmma.fence".into();
            check.report(FaultKind::WgmmaFence, me.warp, me.at, None, message);
        }
        let a: &[Slot] = if let WgmmaA::Registers(a) = &w.a { a } else { &[] };
        for (&slot, is_d) in w.d.iter().map(|s| (s, true)).chain(a.iter().map(|s| (s, false))) {
            let lock = self.locks.get(slot as usize).copied().unwrap_or_default();
            let clash = if is_d { lock.a > 0 || lock.d > 0 && lock.n != w.n } else { lock.d > 0 };
            if clash {
                let message =
                    "a register of a wgmma in flight is used by another in a different role or shape".into();
                let missing = "no wgmma.wait_group between";
                check.report_with(FaultKind::AccumulatorRead, me.warp, me.at, message, lock.at, missing);
            }
            let touch = self.touched.get(slot as usize).copied().unwrap_or_default();
            if self.fences == 0 || touch.fence != self.fences + 1 {
                continue;
            }
            let what = if is_d { "accumulates into" } else { "reads" };
            let message = format!("a wgmma {what} a register that was touched since the last wgmma.fence");
            if touch.copied {
                check.note(
                    FaultKind::WgmmaFence,
                    me.warp,
                    me.at,
                    None,
                    message + " (copied only; ptxas fences it)",
                );
            } else {
                let missing = "no wgmma.fence between";
                check.report_with(FaultKind::WgmmaFence, me.warp, me.at, message, touch.at, missing);
            }
        }
    }

    /// Notes the reads of an operand in shared memory. `undefined` is told of chunks of which not all bytes are defined:
    /// line, chunk, and which bytes are.
    fn reads(
        &mut self,
        footprint: Footprint,
        descriptor: &MatrixDescriptor,
        what: &'static str,
        m: &mut World,
        mut undefined: impl FnMut(usize, usize, u16),
    ) -> Result<(), Refused> {
        let me = m.me;
        let size = m.ctas[me.cta].shared.len();
        let Some(check) = &mut m.check else { return Ok(()) };
        let (agent, _) = *self.open_slot.get_or_insert_with(|| check.open_slot(me.warp));
        let x = Access { agent, warp: me.warp, at: me.at, flags: flag::ASYNC, lane: None };
        let mut pass = check.pass(x);
        let mut bad = None;
        footprint.visit(descriptor, |line, chunk, address| {
            if address as usize + 16 > size {
                bad.get_or_insert(address);
                return;
            }
            let (region, granule) = (Region::Shared(me.cta), address as u64 / 16);
            check.touch_cell(
                &mut pass,
                &Part { region, granule, mask: u16::MAX, lane: None, same: false },
                None,
            );
            let bytes = check.shared_bytes_defined(me.cta, address as usize, 16);
            if bytes != u16::MAX {
                undefined(line, chunk, bytes);
            }
        });
        match bad {
            Some(address) => Err(in_words(OperandError::OutOfBounds { what, address, size })),
            None => Ok(()),
        }
    }
}

/// Calls `f` with the rows (of B: columns) that the undefined bytes of a chunk belong to. `along`: a line is a row; else
/// each element of a chunk lies in a row of its own.
fn each_undefined(
    (line, chunk): (usize, usize),
    along: bool,
    bits: usize,
    defined: u16,
    mut f: impl FnMut(usize),
) {
    if along {
        return f(line);
    }
    for byte in (0..16).filter(|byte| defined >> byte & 1 == 0) {
        f(chunk * 128 / bits + byte * 8 / bits);
    }
}

/// The quarter takes effect.
fn land(q: &mut Quarter, r: &mut Rows, m: &mut World) -> Result<(), Refused> {
    q.landed = true;
    let Some(w) = wgmma_at(m.launch.kernel, q.at) else { return Ok(()) };
    if m.taint.is_some() {
        return Ok(());
    }
    let me = m.me;
    let b = b_tile(w, q, m)?;
    let shared = &m.ctas[me.cta].shared;
    let metadata = w.sparse.map(|(slot, _)| *r.row(slot));
    let quarter = (me.number % 4) as u32;
    let a = match &w.a {
        WgmmaA::Registers(slots) => {
            let rows: [Row; 4] = std::array::from_fn(|n| slots.get(n).map_or([0; 32], |&s| *r.row(s)));
            operand::unpack_a(w, SourceA::Registers(&rows), quarter, metadata.as_ref())
        }
        WgmmaA::Descriptor(_) => {
            let d = descriptor("A", q.a)?;
            operand::unpack_a(w, SourceA::Shared(&d, shared), quarter, metadata.as_ref())
        }
    }
    .map_err(in_words)?;
    let mut d: Vec<Row> = w.d.iter().map(|&s| *r.row(s)).collect();
    multiply(w, &a, &b, q.accumulate, &mut d);
    w.d.iter().zip(&d).for_each(|(&s, row)| *r.row_mut(s) = *row);
    Ok(())
}

fn b_tile(w: &Wgmma, q: &Quarter, m: &mut World) -> Result<Rc<Tile>, Refused> {
    let cta = m.me.cta;
    let key = (cta, q.at, q.b);
    let version = m.ctas[cta].version;
    if let Some((v, tile)) = m.tiles.0.get(&key)
        && *v == version
    {
        return Ok(tile.clone());
    }
    let d = descriptor("B", q.b)?;
    let tile = Rc::new(operand::unpack_b(w, &d, &m.ctas[cta].shared).map_err(in_words)?);
    if m.tiles.0.len() >= MOST_TILES {
        m.tiles.0.clear();
    }
    m.tiles.0.insert(key, (version, tile.clone()));
    Ok(tile)
}

/// A CTA has ended: have all warps of each group executed the same products?
pub fn check_end(m: &mut World, cta: usize) {
    let warps = m.launch.warps();
    let Some(check) = &mut m.check else { return };
    for (group, lines) in m.ctas[cta].tensor.iter().enumerate() {
        for (n, line) in lines.iter().enumerate() {
            if let Some(step) = line.front() {
                let warp = cta * warps + (4 * group + n).min(warps - 1);
                let message = "a wgmma that not all four warps of the warpgroup execute".into();
                check.report(FaultKind::WarpgroupMismatch, warp, step.at, None, message);
            }
        }
    }
}
