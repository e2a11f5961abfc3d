//! What a step does to others: memory, barriers, copies on their way.
//!
//! ```text
//! cp.async.bulk of 16 KiB at clock 100      port of the receiver 128 wavefronts, its port to L2 158 clocks, L2 and the memory
//!                                           their share; the slowest ends at 258, and 282 + 30 later the bytes land
//! mbarrier.try_wait, parked since 120       they complete the phase at 570: the warp goes on at 647
//! ```

use super::{Cta, Event, Landing, Player, Ready};
use crate::time::{
    Stall,
    cost::Kind,
    sync::Mbarrier,
    trace::{BulkCopy, Effect, Signal, Step},
};
use std::cmp::Reverse;

impl Player<'_> {
    /// Through the port, and to L2 and the memory behind it.
    pub(super) fn access(&mut self, sm: usize, step: Step, latency: u64, now: u64) -> Ready {
        let wavefronts = (step.wavefronts as f64).max(step.sectors as f64 / 4.0).max(1.0);
        let port = self.sms[sm].shared.book(now, wavefronts) - 1;
        if step.sectors == 0 {
            return Ready { clock: port + latency, by: Stall::Shared };
        }
        let end = self.pass_l2(&[sm], step.sectors as f64 * 32.0, now).max(port);
        Ready { clock: end, by: Stall::Memory }
    }

    /// When bytes that go to (or come from) these multiprocessors have passed.
    fn pass_l2(&mut self, sms: &[usize], bytes: f64, now: u64) -> u64 {
        let timing = self.stage.timing;
        let ports = sms.iter().map(|&sm| self.sms[sm].l2.book(now, bytes)).max().unwrap_or(now);
        let served = self.l2.book(now, bytes).max(self.memory.book(now, bytes * self.stage.miss));
        let latency = timing.l2 as f64 + self.stage.miss * (timing.memory - timing.l2) as f64;
        ports.max(served) + latency as u64
    }

    /// The effects of the step just issued; whether the warp waits for others now.
    pub(super) fn effects(&mut self, w: usize, now: u64) -> bool {
        let trace = self.warps[w].trace;
        let step = self.warps[w].step - 1;
        let mut parks = None;
        if self.stage.costs[trace.steps[step].at as usize].kind == Kind::ClusterWait {
            let (cluster, round) = (self.ctas[self.warps[w].cta].cluster, self.warps[w].round);
            match self.clusters[cluster].barrier.wait(round, w) {
                Some(over) if over <= now => {}
                // The word that all are there is on its way.
                Some(over) => {
                    self.wake(vec![w], over);
                    parks = Some(Stall::Barrier);
                }
                None => parks = Some(Stall::Barrier),
            }
        }
        while let Some((at, effect)) = trace.effects.get(self.warps[w].effect)
            && *at as usize <= step
        {
            self.warps[w].effect += 1;
            parks = self.effect(w, effect, now).or(parks);
        }
        if let Some(why) = parks {
            self.warps[w].parked = Some((now, why));
        }
        parks.is_some()
    }

    fn effect(&mut self, w: usize, effect: &Effect, now: u64) -> Option<Stall> {
        let cta = self.warps[w].cta;
        match effect {
            Effect::Init { at, arrivals } => {
                self.ctas[cta].barriers.mbarriers.insert(*at, Mbarrier::new(*arrivals));
            }
            Effect::Arrive { bar, arrivals, drop, bytes } => {
                let owner = self.clusters[self.ctas[cta].cluster].first + bar.rank as usize;
                if *drop {
                    self.ctas[owner].barriers.mbarriers.entry(bar.at).or_default().drop(*arrivals);
                }
                if owner == cta {
                    self.signal(cta, bar.at, *arrivals, *bytes, now);
                } else {
                    let arrives = now + self.stage.timing.cluster_hop as u64;
                    self.land(
                        arrives,
                        Landing { cta: owner, at: bar.at, arrivals: *arrivals, bytes: *bytes },
                    );
                }
            }
            Effect::Wait { at, phases } => {
                let bar = self.ctas[cta].barriers.mbarriers.entry(*at).or_default();
                return (!bar.wait(*phases, w)).then_some(Stall::Mbarrier);
            }
            Effect::CopiesArrive { at, expected } => {
                if !expected {
                    self.ctas[cta].barriers.mbarriers.entry(*at).or_default().expect_arrival();
                }
                let end = self.warps[w].copies.all().max(now);
                self.land(end, Landing { cta, at: *at, arrivals: 1, bytes: 0 });
            }
            Effect::Bulk(copy) => self.bulk(w, copy, now),
            Effect::Barrier { id, threads, wait } => {
                let Cta { live, sm, .. } = self.ctas[cta];
                // Arrivals are counted one after the other.
                let counted = self.sms[sm].barriers.book(now, 1.0);
                let bar = self.ctas[cta].barriers.named.get_mut(*id as usize)?;
                let go = bar.arrive(*threads, wait.then_some(w), live);
                self.wake(go, counted + self.stage.timing.barrier as u64);
                return wait.then_some(Stall::Barrier);
            }
        }
        None
    }

    /// A copy by the copy engine sets out.
    fn bulk(&mut self, w: usize, copy: &BulkCopy, now: u64) {
        let timing = self.stage.timing;
        let cta = self.warps[w].cta;
        let first = self.clusters[self.ctas[cta].cluster].first;
        let receivers: Vec<usize> = copy.receivers.iter().map(|r| first + *r as usize).collect();
        let mut sms: Vec<usize> = receivers.iter().map(|&c| self.ctas[c].sm).collect();
        if sms.is_empty() {
            sms.push(self.ctas[cta].sm);
        }
        let wavefronts = copy.bytes as f64 / 128.0;
        let mut end = sms.iter().map(|&sm| self.sms[sm].shared.book(now, wavefronts)).max().unwrap_or(now);
        end = match copy.sectors {
            0 => end + timing.cluster as u64,
            n => self.pass_l2(&sms, n as f64 * 32.0, now).max(end),
        };
        end += timing.copy_engine as u64;
        match copy.done {
            Signal::Mbarrier(at) => {
                for cta in receivers {
                    self.land(end, Landing { cta, at, arrivals: 0, bytes: -(copy.bytes as i64) });
                }
            }
            Signal::Group => self.warps[w].bulk.add(end),
            Signal::Nothing => {}
        }
    }

    fn land(&mut self, clock: u64, landing: Landing) {
        self.events.push(Reverse((clock, Event::Land(self.landings.len()))));
        self.landings.push(landing);
    }

    pub(super) fn signal(&mut self, cta: usize, at: u32, arrivals: u32, bytes: i64, now: u64) {
        let bar = self.ctas[cta].barriers.mbarriers.entry(at).or_default();
        let go = bar.signal(arrivals, bytes);
        self.wake(go, now + self.stage.timing.mbarrier_wake as u64);
    }

    pub(super) fn wake(&mut self, warps: Vec<usize>, clock: u64) {
        self.events.extend(warps.into_iter().map(|w| Reverse((clock, Event::Warp(w)))));
    }

    pub(super) fn open_cluster(&mut self, cluster: usize, now: u64) {
        let over = now + self.stage.timing.cluster_barrier as u64;
        let go = self.clusters[cluster].barrier.open(over);
        self.wake(go, over);
    }
}
