//! Shared memory: when each buffer is written and read, where it lies, and where barriers must stand.
//!
//! The walk goes over the graph as the back end will: for each node its conversions, its operands' staging, its
//! reads. A barrier is put before an event exactly when some earlier event, since the last barrier, touched the same
//! bytes and one of the two is a write. At the head of a loop everything its body does counts as having happened
//! (the previous trip did it).
//!
//! A bulk copy into a buffer is a write like any other as far as what came *before* it goes. What comes after needs no
//! barrier on its account: all threads wait for its mbarrier before they go on. And because every thread reads the
//! buffer behind that wait, the barrier before the next copy also keeps a slow thread from missing a phase.
//!
//! Tiles that are fetched one step ahead ([`crate::bulk`]) are written at the head of each step, into the half of their
//! buffers that the step before has read: one barrier there serves all of them.
//!
//! Worked example, the loop of a matmul: `load a; load b; dot`. The dot stages `a` (last trip's dot read that
//! buffer: barrier), stages `b` (nothing since: none), reads both (written just now: barrier). Two barriers a trip.

use crate::{
    convert::Claims,
    exchange::{self, Exchange},
    plan::*,
};
use std::collections::{BTreeMap, BTreeSet};
use tile_graph::{ForOp, Graph, NodeId, ObjectId, Op, ROOT, RegionId, RegionKind};

#[derive(Clone, Copy)]
struct Event {
    slot: Slot,
    buffer: BufferId,
    touch: Touch,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Touch {
    Read,
    Write,
    /// A bulk copy, issued and waited for.
    Bulk,
}

impl Touch {
    fn writes(self) -> bool {
        self != Touch::Read
    }
}

/// The event of staging an operand at `slot`.
fn staging(s: &Staging, slot: Slot) -> Event {
    let touch = if s.mbarrier.is_some() { Touch::Bulk } else { Touch::Write };
    Event { slot, buffer: s.buffer, touch }
}

/// What the walk needs of the plan so far.
pub struct Parts<'a> {
    pub graph: &'a Graph,
    pub dots: &'a BTreeMap<NodeId, Dot>,
    pub conversions: &'a BTreeMap<(NodeId, u32), Conversion>,
    pub cross_warp: &'a BTreeMap<NodeId, BufferId>,
    pub exchanges: &'a BTreeMap<NodeId, Exchange>,
}

/// Gives each buffer its life and offset; the barriers. One buffer may live as long as the kernel (`permanent`).
pub fn arrange(
    parts: &Parts,
    buffers: &mut [Buffer],
    permanent: Option<BufferId>,
) -> BTreeSet<(NodeId, Slot)> {
    let mut lives = Lives { parts, at: 0, life: vec![None; buffers.len()], loops: vec![] };
    lives.region(ROOT);
    let loops = lives.loops.clone();
    for (buffer, life) in buffers.iter_mut().zip(&lives.life) {
        let (first, mut last) = life.unwrap_or((0, 0));
        for &(start, end) in &loops {
            if first < start && last >= start {
                last = last.max(end);
            }
        }
        buffer.life = (first, last);
    }
    if let Some(buffer) = permanent.and_then(|b| buffers.get_mut(b)) {
        buffer.life = (0, lives.at);
    }
    place(buffers);
    let mut walk = Barriers {
        parts,
        buffers,
        pending: vec![],
        barriers: BTreeSet::new(),
        rewritten: read_and_written(parts.graph),
    };
    walk.region(ROOT);
    walk.barriers
}

/// First fit, in order of birth; offsets are multiples of what each buffer asks for, 128 bytes at least so that all banks
/// line up.
fn place(buffers: &mut [Buffer]) {
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_by_key(|&b| (buffers[b].life.0, b));
    let mut placed: Vec<usize> = vec![];
    for b in order {
        let (first, last) = buffers[b].life;
        let alive = |o: &Buffer| o.life.0 <= last && first <= o.life.1;
        let mut taken: Vec<(u32, u32)> = placed
            .iter()
            .map(|&p| &buffers[p])
            .filter(|o| alive(o))
            .map(|o| (o.offset, o.offset + o.bytes))
            .collect();
        taken.sort_unstable();
        let mut offset = 0;
        for (from, to) in taken {
            if offset + buffers[b].bytes <= from {
                break;
            }
            offset = offset.max(to.next_multiple_of(buffers[b].align));
        }
        buffers[b].offset = offset;
        placed.push(b);
    }
}

fn read_and_written(g: &Graph) -> BTreeSet<ObjectId> {
    let (mut read, mut written) = (BTreeSet::new(), BTreeSet::new());
    for node in g.nodes_under(ROOT) {
        let op = &g.node(node).op;
        if let Some(access) = op.access() {
            if op.writes_memory() {
                written.insert(access.object)
            } else {
                read.insert(access.object)
            };
        }
    }
    read.intersection(&written).copied().collect()
}

impl Parts<'_> {
    /// What a node does to shared memory before its regions run.
    fn before(&self, node: NodeId) -> Vec<Event> {
        let mut out = vec![];
        let inputs = self.graph.inputs(node).len() as u32;
        for port in 0..inputs {
            self.conversion(node, port, &mut out);
        }
        for (&dot, plan) in self.dots.iter().filter(|(_, d)| d.at == node) {
            for (at, operand) in [&plan.lhs, &plan.rhs].into_iter().enumerate() {
                if let Operand::Shared(s) = operand
                    && s.written == Written::Before(dot)
                    && s.ahead.is_none()
                {
                    out.push(staging(s, Slot::Stage(at as u32)));
                }
            }
            for operand in [&plan.lhs, &plan.rhs] {
                if let Operand::Shared(s) = operand {
                    out.push(Event { slot: Slot::Dot, buffer: s.buffer, touch: Touch::Read });
                }
            }
        }
        out.extend(fetched_ahead(self.dots, node).into_iter().map(|s| staging(s, Slot::Fill)));
        if let Some(&buffer) = self.cross_warp.get(&node) {
            out.push(Event { slot: Slot::Partial, buffer, touch: Touch::Write });
            out.push(Event { slot: Slot::Combine, buffer, touch: Touch::Read });
        }
        if let Some(x) = self.exchanges.get(&node) {
            let steps = exchange::steps(&self.graph.node(node).op, x.arrays.len());
            for (step, touches) in steps.into_iter().enumerate() {
                out.extend(touches.into_iter().map(|(array, write)| Event {
                    slot: Slot::Step(step as u32),
                    buffer: x.arrays[array].buffer,
                    touch: if write { Touch::Write } else { Touch::Read },
                }));
            }
        }
        out
    }

    /// And after.
    fn after(&self, node: NodeId) -> Vec<Event> {
        let mut out = vec![];
        for port in 0..self.graph.node(node).outputs.len() as u32 {
            self.conversion(node, result_port(port), &mut out);
        }
        out.extend(kept_after(self.dots, node).into_iter().map(|s| staging(s, Slot::Keep(s.buffer))));
        out
    }

    fn conversion(&self, node: NodeId, port: u32, out: &mut Vec<Event>) {
        if let Some(Conversion { how: How::Shared { buffer, .. }, .. }) = self.conversions.get(&(node, port))
        {
            out.push(Event { slot: Slot::Convert(port), buffer: *buffer, touch: Touch::Write });
            out.push(Event { slot: Slot::Converted(port), buffer: *buffer, touch: Touch::Read });
        }
    }
}

/// Operands of which every step of the loop `node` fetches the next one's.
pub fn fetched_ahead(dots: &BTreeMap<NodeId, Dot>, node: NodeId) -> Vec<&Staging> {
    let operands = dots.values().flat_map(|d| [&d.lhs, &d.rhs]);
    let shared = operands.filter_map(|o| if let Operand::Shared(s) = o { Some(s) } else { None });
    shared.filter(|s| s.ahead == Some(node)).collect()
}

/// Operands that are written to shared memory right after a node, each buffer once.
pub fn kept_after(dots: &BTreeMap<NodeId, Dot>, node: NodeId) -> Vec<&Staging> {
    let mut out: Vec<&Staging> = vec![];
    for operand in dots.values().flat_map(|d| [&d.lhs, &d.rhs]) {
        if let Operand::Shared(s) = operand
            && s.written == Written::After(node)
            && !out.iter().any(|o| o.buffer == s.buffer)
        {
            out.push(s);
        }
    }
    out
}

struct Lives<'a> {
    parts: &'a Parts<'a>,
    at: usize,
    life: Vec<Option<(usize, usize)>>,
    loops: Vec<(usize, usize)>,
}

impl Lives<'_> {
    fn region(&mut self, region: RegionId) {
        for &node in &self.parts.graph.region(region).nodes.clone() {
            self.note(self.parts.before(node));
            let start = self.at;
            for owned in self.parts.graph.node(node).op.regions() {
                self.region(owned);
            }
            if matches!(self.parts.graph.node(node).op, Op::For(_) | Op::While { .. }) {
                self.loops.push((start, self.at));
                // What is fetched ahead is on its way also where nobody looks at it.
                for s in fetched_ahead(self.parts.dots, node) {
                    self.life[s.buffer] = Some((start, self.at));
                }
            }
            self.note(self.parts.after(node));
        }
    }

    fn note(&mut self, events: Vec<Event>) {
        self.at += 1;
        for event in events {
            let (first, _) = self.life[event.buffer].unwrap_or((self.at, self.at));
            self.life[event.buffer] = Some((first, self.at));
        }
    }
}

struct Barriers<'a> {
    parts: &'a Parts<'a>,
    buffers: &'a [Buffer],
    /// Since the last barrier: buffer, and whether it was a write.
    pending: Vec<(BufferId, bool)>,
    barriers: BTreeSet<(NodeId, Slot)>,
    rewritten: BTreeSet<ObjectId>,
}

impl Barriers<'_> {
    fn region(&mut self, region: RegionId) {
        for &node in &self.parts.graph.region(region).nodes.clone() {
            if !self.parts.graph.in_claim(node) {
                self.node(node);
            }
        }
    }

    fn node(&mut self, node: NodeId) {
        let op = self.parts.graph.node(node).op.clone();
        if op.access().is_some_and(|a| self.rewritten.contains(&a.object)) {
            self.barriers.insert((node, Slot::Start));
            self.pending.clear();
        }
        self.events(node, self.parts.before(node));
        let entry = self.pending.clone();
        match &op {
            Op::For(_) | Op::While { .. } => {
                for region in op.regions() {
                    self.assume(region);
                }
                let mut passed_over = vec![];
                if let Op::For(ForOp { skip: Some(skip), .. }) = op {
                    // Asked at the head of a step, which may end there.
                    self.region(skip);
                    passed_over = self.pending.clone();
                }
                let ahead = fetched_ahead(self.parts.dots, node);
                self.events(node, ahead.into_iter().map(|s| staging(s, Slot::Ahead)).collect());
                let others = |r: &RegionId| self.parts.graph.region(*r).kind != RegionKind::Skip;
                for region in op.regions().into_iter().filter(others).collect::<Vec<_>>() {
                    self.region(region);
                }
                self.pending.extend(passed_over);
                self.pending.extend(entry);
            }
            Op::If { then, otherwise } => {
                self.region(*then);
                let after_then = std::mem::replace(&mut self.pending, entry);
                self.region(*otherwise);
                self.pending.extend(after_then);
            }
            _ => op.regions().into_iter().for_each(|r| self.region(r)),
        }
        self.events(node, self.parts.after(node));
    }

    /// Everything below the region may have happened.
    fn assume(&mut self, region: RegionId) {
        for node in self.parts.graph.nodes_under(region) {
            let events = [self.parts.before(node), self.parts.after(node)].concat();
            self.remember(&events);
        }
    }

    fn remember(&mut self, events: &[Event]) {
        let lasting = events.iter().filter(|e| e.touch != Touch::Bulk);
        self.pending.extend(lasting.map(|e| (e.buffer, e.touch.writes())));
    }

    /// Events of one slot stand behind one barrier: what any of them needs is asked first, then all are remembered.
    fn events(&mut self, node: NodeId, events: Vec<Event>) {
        for together in events.chunk_by(|a, b| a.slot == b.slot) {
            let conflicts = |event: &Event| {
                self.pending.iter().any(|&(other, wrote)| {
                    (wrote || event.touch.writes()) && self.overlap(other, event.buffer)
                })
            };
            if together.iter().any(conflicts) {
                self.barriers.insert((node, together[0].slot));
                self.pending.clear();
            }
            self.remember(together);
        }
    }

    fn overlap(&self, a: BufferId, b: BufferId) -> bool {
        let (x, y) = (&self.buffers[a], &self.buffers[b]);
        x.offset < y.offset + y.bytes && y.offset < x.offset + x.bytes
    }
}
