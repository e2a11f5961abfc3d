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
//! Which phase comes next is a bit for each mbarrier, the same in all threads, that loops and branches carry like any
//! other value ([`Emit::phases_of`]), since a step that is passed over fetches nothing.

use super::{Emission, Emit};
use crate::text::{Ty, V};
use tile_graph::{CoordIndex, NodeId, Op, RegionId};
use tile_plan::Staging;

impl Emit<'_> {
    /// Sets up the mbarriers, where the plan has some.
    pub(super) fn open_mbarriers(&mut self) {
        let Some(all) = &self.plan.mbarriers else { return };
        let (count, one) = (all.at.len(), self.t.i32(1));
        self.phases = vec![self.t.i32(0); count];
        let first = self.first_thread();
        self.t.open_if(first, &[]);
        for n in 0..count {
            let mbarrier = self.mbarrier(n);
            self.t.effect(&format!("nvvm.mbarrier.init {mbarrier}, {one} : !llvm.ptr<3>, i32"));
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

    fn mbarrier(&mut self, n: usize) -> V {
        let base = self.plan.mbarriers.as_ref().map_or(0, |m| self.plan.buffers[m.buffer].offset);
        let at = self.t.i32(i64::from(base) + 8 * n as i64);
        self.t.offset(self.shared, at)
    }

    /// Has a tile copied to its place.
    pub(super) fn fetch(&mut self, node: NodeId, staging: &Staging) -> Emission<()> {
        let load = staging.source.node;
        let (Some(number), Some(&map)) = (staging.mbarrier, self.plan.bulk.get(&load)) else {
            return Err(self.bug(node, "a bulk copy without tensor map"));
        };
        let template = &self.plan.maps[map].template;
        let at = self.coordinates(node, load, &template.order)?;
        let (place, bytes) = (&staging.place, template.box_bytes());
        let step = i64::from(place.pitch / place.element);
        let base = self.plan.buffers[staging.buffer].offset;
        let map = self.maps.get(map).copied().ok_or_else(|| self.bug(node, "no such tensor map"))?;
        let (mbarrier, first) = (self.mbarrier(number), self.first_thread());
        let all = self.t.i32((bytes * u64::from(place.panels())) as i64);
        self.t.open_if(first, &[]);
        self.t.effect(
            "nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.shared>, space = #nvvm.shared_space<cta>}",
        );
        self.t.effect(&format!("nvvm.mbarrier.arrive.expect_tx {mbarrier}, {all} : !llvm.ptr<3>, i32"));
        for panel in 0..place.panels() {
            let offset = self.t.i32(i64::from(base + panel * place.panel_bytes()));
            let to = self.t.offset(self.shared, offset);
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
    fn coordinates(&mut self, node: NodeId, load: NodeId, order: &[usize]) -> Emission<Vec<V>> {
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
                    let base = self.scalar(node, inputs[*port as usize])?;
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
        let (mbarrier, phase) = (self.mbarrier(number), self.phases[number]);
        self.t.open_while(&[]);
        let over = self
            .t
            .pinned(&format!("nvvm.mbarrier.try_wait {mbarrier}, {phase} : !llvm.ptr<3>, i32 -> i1"), Ty::I1);
        let (yes, one) = (self.t.int(Ty::I1, 1), self.t.i32(1));
        let again = self.t.int_op("xor", over, yes);
        self.t.does(again, &[]);
        self.t.close_while(&[]);
        self.phases[number] = self.t.int_op("xor", phase, one);
    }

    // ---- phases through loops and branches

    /// The mbarriers whose phases the code of these regions may end.
    pub(super) fn mbarriers_under(&self, regions: &[RegionId]) -> Vec<usize> {
        self.plan.mbarriers_under(self.g, regions)
    }

    /// Their phases, to be carried behind the other values.
    pub(super) fn phases_of(&self, numbers: &[usize]) -> Vec<V> {
        numbers.iter().map(|&n| self.phases[n]).collect()
    }

    /// Takes the phases off the end of what a loop or branch carried; the other values.
    pub(super) fn take_phases<'v>(&mut self, numbers: &[usize], carried: &'v [V]) -> &'v [V] {
        let (values, phases) = carried.split_at(carried.len() - numbers.len());
        for (&n, &phase) in numbers.iter().zip(phases) {
            self.phases[n] = phase;
        }
        values
    }
}
