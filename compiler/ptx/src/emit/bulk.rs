//! Bulk copies from global to shared memory by tensor maps (TMA), and the mbarriers on which they arrive.
//!
//! ```text
//! at the start        thread 0: mbarrier.init 1 of each; fence.mbarrier_init          bar.sync
//! fetch               thread 0: fence.proxy.async; arrive.expect_tx bytes; cp.async.bulk.tensor, a box for each panel
//! arrived             all: try_wait for the phase, again and again until it is over
//! ```
//!
//! The thread that fetches is the only arrival of a phase; the rest of it are the bytes. Behind the wait everybody sees
//! what was copied. Before a buffer is filled again the plan has put a barrier ([`tile_plan::memory`]), and the fence in
//! front of the copy carries what threads did to the same bytes through the generic proxy over to the async one: one
//! fence is enough, by the thread that the barrier ordered behind all others.
//!
//! Of each mbarrier the code counts the *turns*: how many tiles have arrived. The count is the same in all threads, and
//! loops and branches carry it like any other value ([`Emit::turns_of`]), since a step that is passed over fetches
//! nothing. A buffer of one tile waits for phase `turn & 1`. One of two, filled a step ahead, has two halves and two
//! mbarriers, which take turns:
//!
//! ```text
//! turn               0        1        2        3        4
//! half, mbarrier     0        1        0        1        0          turn & 1
//! phase of it        0        0        1        1        0          turn >> 1 & 1
//!
//! before the loop    fetch the first step's, turn n
//! head of a step     bar.sync; fetch the next step's, turn n + 1 (n where this step is passed over)
//! before the dot     arrived, turn n; from here on n + 1
//! ```

use super::{Emission, Emit};
use crate::text::{Ty, V};
use tile_graph::{CoordIndex, ForOp, Literal, NodeId, Op, RegionId, Value};
use tile_plan::{STAGES, Slot, Staging};

impl Emit<'_> {
    /// Sets up the mbarriers, where the plan has some.
    pub(super) fn open_mbarriers(&mut self) {
        let Some(all) = &self.plan.mbarriers else { return };
        let one = self.t.i32(1);
        self.turns = vec![self.t.i32(0); all.all.len()];
        let first = self.first_thread();
        self.t.open_if(first, &[]);
        for (number, &(_, words)) in all.all.iter().enumerate() {
            for word in 0..words {
                let word = self.t.i32(i64::from(word));
                let mbarrier = self.mbarrier(number, word);
                self.t.effect(&format!("nvvm.mbarrier.init {mbarrier}, {one} : !llvm.ptr<3>, i32"));
            }
        }
        self.t.effect("nvvm.fence.mbarrier.init");
        self.t.close_if(&[]);
        self.t.effect("nvvm.barrier0");
    }

    fn first_thread(&mut self) -> V {
        let thread = self.t.pure("nvvm.read.ptx.sreg.tid.x : i32".into(), &[], Ty::I32);
        let zero = self.t.i32(0);
        self.t.icmp("eq", thread, zero)
    }

    fn mbarrier(&mut self, number: usize, word: V) -> V {
        let base = self.plan.mbarriers.as_ref().map_or(0, |m| self.plan.buffers[m.buffer].offset);
        let at = self.t.i32(i64::from(base + 8 * STAGES * number as u32));
        let all = self.t.offset(self.shared, at);
        let word = self.t.mul_const(word, 8);
        self.t.offset(all, word)
    }

    /// Which half a turn uses, and the phase of its mbarrier that the turn ends.
    fn half_and_phase(&mut self, staging: &Staging, turn: V) -> (V, V) {
        let one = self.t.i32(1);
        let low = self.t.int_op("and", turn, one);
        match staging.ahead {
            None => (self.t.i32(0), low),
            Some(_) => {
                let rounds = self.t.int_op("lshr", turn, one);
                (low, self.t.int_op("and", rounds, one))
            }
        }
    }

    /// Has a tile copied to its place where `runs` holds; in another step than this where the loop's position is given.
    pub(super) fn fetch(
        &mut self,
        node: NodeId,
        staging: &Staging,
        runs: V,
        turn: V,
        position: Option<(Value, V)>,
    ) -> Emission<()> {
        let load = staging.source.node;
        let (Some(number), Some(&map)) = (staging.mbarrier, self.plan.bulk.get(&load)) else {
            return Err(self.bug(node, "a bulk copy without tensor map"));
        };
        let template = &self.plan.maps[map].template;
        let at = self.coordinates(node, load, &template.order, position)?;
        let (place, bytes) = (&staging.place, template.box_bytes());
        let step = i64::from(place.pitch / place.element);
        let base = self.plan.buffers[staging.buffer].offset;
        let map = self.maps.get(map).copied().ok_or_else(|| self.bug(node, "no such tensor map"))?;
        let (half, _) = self.half_and_phase(staging, turn);
        let (mbarrier, first) = (self.mbarrier(number, half), self.first_thread());
        let half = self.t.mul_const(half, i64::from(place.bytes()));
        let all = self.t.i32((bytes * u64::from(place.panels())) as i64);
        let goes = self.t.both(Some(first), Some(runs)).unwrap_or(first);
        self.t.open_if(goes, &[]);
        self.t.effect(
            "nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.shared>, space = #nvvm.shared_space<cta>}",
        );
        self.t.effect(&format!("nvvm.mbarrier.arrive.expect_tx {mbarrier}, {all} : !llvm.ptr<3>, i32"));
        for panel in 0..place.panels() {
            let offset = self.t.i32(i64::from(base + panel * place.panel_bytes()));
            let to = self.t.offset(self.shared, half);
            let to = self.t.offset(to, offset);
            let to = self.t.convert("addrspacecast", to, Ty::Cluster);
            let inner = self.t.add_const(at[0], step * i64::from(panel));
            let rest = at[1..].iter().map(|v| format!(", {v}")).collect::<String>();
            self.t.effect(&format!(
                "nvvm.cp.async.bulk.tensor.shared.cluster.global {to}, {map}, {mbarrier}, box[{inner}{rest}] : !llvm.ptr<7>, !llvm.ptr"
            ));
        }
        self.t.close_if(&[]);
        Ok(())
    }

    /// Where the box begins, in the order of the map. Dimensions have less than 2^31 elements, and so have positions.
    fn coordinates(
        &mut self,
        node: NodeId,
        load: NodeId,
        order: &[usize],
        position: Option<(Value, V)>,
    ) -> Emission<Vec<V>> {
        let Op::Load(access) = &self.g.node(load).op else {
            return Err(self.bug(node, "a bulk copy of something that is no load"));
        };
        let inputs = self.g.inputs(load);
        let mut out = vec![];
        for &dim in order {
            let CoordIndex::Affine { base, .. } = &access.coords[dim].index else {
                return Err(self.bug(node, "a bulk copy of looked-up positions"));
            };
            out.push(match base {
                Some(port) => {
                    let base = inputs[*port as usize];
                    let base = match (position, &self.g.node(base.node).op) {
                        (Some((loops, at)), _) if loops == base => at,
                        (_, Op::Const(Literal::Int(v))) => self.t.i64(*v),
                        _ => self.scalar(node, base)?,
                    };
                    self.t.convert("trunc", base, Ty::I32)
                }
                None => self.t.i32(0),
            });
        }
        Ok(out)
    }

    /// Waits until a tile that was fetched is there; of other tiles nothing.
    pub(super) fn arrived(&mut self, staging: &Staging) {
        let Some(number) = staging.mbarrier else { return };
        let turn = self.turns[number];
        let (half, phase) = self.half_and_phase(staging, turn);
        let mbarrier = self.mbarrier(number, half);
        self.t.open_while(&[]);
        let over = self
            .t
            .pinned(&format!("nvvm.mbarrier.try_wait {mbarrier}, {phase} : !llvm.ptr<3>, i32 -> i1"), Ty::I1);
        let yes = self.t.int(Ty::I1, 1);
        let again = self.t.int_op("xor", over, yes);
        self.t.does(again, &[]);
        self.t.close_while(&[]);
        if staging.ahead.is_some() {
            let half = self.t.mul_const(half, i64::from(staging.place.bytes()));
            self.halves.insert(staging.buffer, half);
        }
        self.turns[number] = self.t.add_const(turn, 1);
    }

    // ---- a step ahead

    /// Before a loop: fetches the tiles of its first step, should it have one.
    pub(super) fn fetch_first(&mut self, node: NodeId, f: &ForOp, range: (V, V, V)) -> Emission<()> {
        self.barrier(node, Slot::Fill);
        let zero = self.t.i32(0);
        self.fetch_step(node, f, range.0, range, zero)
    }

    /// At the head of a step at `variable`: fetches the tiles of the next one, should there be one.
    pub(super) fn fetch_next(
        &mut self,
        node: NodeId,
        f: &ForOp,
        variable: V,
        range: (V, V, V),
        skipped: V,
    ) -> Emission<()> {
        if self.plan.fetched_ahead(node).is_empty() {
            return Ok(());
        }
        self.barrier(node, Slot::Ahead);
        let next = self.t.add(variable, range.2);
        let yes = self.t.int(Ty::I1, 1);
        let runs = self.t.int_op("xor", skipped, yes);
        let turns = self.t.convert("zext", runs, Ty::I32);
        self.fetch_step(node, f, next, range, turns)
    }

    fn fetch_step(
        &mut self,
        node: NodeId,
        f: &ForOp,
        variable: V,
        range: (V, V, V),
        turns: V,
    ) -> Emission<()> {
        let all: Vec<Staging> = self.plan.fetched_ahead(node).into_iter().cloned().collect();
        if all.is_empty() {
            return Ok(());
        }
        let variables = self.loop_variables(f, variable, range);
        let skipped = self.skips(node, f, &variables)?;
        let yes = self.t.int(Ty::I1, 1);
        let wanted = self.t.int_op("xor", skipped, yes);
        let exists = self.t.icmp("slt", variable, range.1);
        let runs = self.t.both(Some(exists), Some(wanted)).unwrap_or(exists);
        let position = (self.g.region_args(f.body)[0], variables[0]);
        for staging in all {
            let Some(number) = staging.mbarrier else { continue };
            let turn = self.t.add(self.turns[number], turns);
            self.fetch(node, &staging, runs, turn, Some(position))?;
        }
        Ok(())
    }

    // ---- turns through loops and branches

    /// The mbarriers on which the code of these regions may wait.
    pub(super) fn mbarriers_under(&self, regions: &[RegionId]) -> Vec<usize> {
        self.plan.mbarriers_under(self.g, regions)
    }

    /// Their turns, to be carried behind the other values.
    pub(super) fn turns_of(&self, numbers: &[usize]) -> Vec<V> {
        numbers.iter().map(|&n| self.turns[n]).collect()
    }

    /// Takes the turns off the end of what a loop or branch carried; the other values.
    pub(super) fn take_turns<'v>(&mut self, numbers: &[usize], carried: &'v [V]) -> &'v [V] {
        let (values, turns) = carried.split_at(carried.len() - numbers.len());
        for (&n, &turn) in numbers.iter().zip(turns) {
            self.turns[n] = turn;
        }
        values
    }
}
