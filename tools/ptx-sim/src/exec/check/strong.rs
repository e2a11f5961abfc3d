//! Order through memory: releases, acquires, and fences around relaxed accesses.
//!
//! A release leaves what its warp knows at the address; an acquire that reads it takes it. A relaxed write counts as a
//! release if a fence stood before it, a relaxed read as an acquire once a fence follows. Both sides need a scope that
//! covers the two warps.
//!
//! ```text
//! CTA 0: st.global data; fence.acq_rel.gpu; st.relaxed.gpu flag     leaves {warp 0 of CTA 0: 1} at `flag`
//! CTA 1: ld.relaxed.gpu flag (kept aside); fence.acq_rel.gpu        learns it; its read of `data` is in order
//! ```
//!
//! A write replaces what was left there, a read-modify-write adds to it (it continues the release sequence).

use super::{Check, Region, clock::Knowledge};
use crate::ir::{Order, Scope};
use std::{collections::HashMap, rc::Rc};

struct Release {
    /// Who left it; `None`: several warps, so that only an acquire of the widest scope takes it.
    warp: Option<usize>,
    scope: Scope,
    /// Shared by the places where one warp leaves the same.
    knowledge: Rc<Knowledge>,
}

/// Releases kept apart at one address (a counter that many CTAs raise); beyond, those of device scope become one.
const MOST_RELEASES: usize = 8;

pub struct Strong {
    places: HashMap<(Region, u64), Vec<Release>>,
    /// For each warp: what it knew at its last fence, and how far that fence reaches.
    fences: Vec<Option<(Scope, Rc<Knowledge>)>>,
    /// For each warp: what relaxed reads found, with the scope that a fence needs to take it.
    aside: Vec<Vec<(Scope, Knowledge)>>,
}

impl Strong {
    pub fn new(warps: usize) -> Self {
        Strong {
            places: HashMap::new(),
            fences: (0..warps).map(|_| None).collect(),
            aside: (0..warps).map(|_| vec![]).collect(),
        }
    }

    pub fn forget(&mut self, warp: usize) {
        self.fences[warp] = None;
        self.aside[warp].clear();
    }

    /// A write to a place leaves a release there, or nothing.
    fn leave(&mut self, place: (Region, u64), release: Option<Release>, rmw: bool) {
        if !rmw {
            self.places.remove(&place);
        }
        let Some(release) = release else { return };
        let left = self.places.entry(place).or_default();
        if left.len() >= MOST_RELEASES && release.scope >= Scope::Gpu {
            let (wide, narrow) = std::mem::take(left).into_iter().partition(|r| r.scope >= Scope::Gpu);
            let wide: Vec<Release> = wide;
            let mut all = Knowledge::clone(&release.knowledge);
            wide.iter().for_each(|r| all.join(&r.knowledge));
            *left = narrow;
            left.push(Release { warp: None, scope: release.scope, knowledge: Rc::new(all) });
            return;
        }
        match left.iter_mut().find(|r| (r.warp, r.scope) == (release.warp, release.scope)) {
            Some(r) => Rc::make_mut(&mut r.knowledge).join(&release.knowledge),
            None => left.push(release),
        }
    }

    /// Memory that the places take, without the clocks that are left there.
    pub fn bytes(&self) -> usize {
        let slot = size_of::<((Region, u64), Vec<Release>)>() + 1;
        let lists: usize = self.places.values().map(|l| l.capacity() * size_of::<Release>()).sum();
        self.places.capacity() * slot * 8 / 7 + lists
    }
}

impl Check<'_> {
    pub fn thread_fence(&mut self, warp: usize, order: Order) {
        self.lanes.fence(warp, order.acquires(), order.releases());
        if order.acquires() {
            let aside = std::mem::take(&mut self.strong.aside[warp]);
            for (needed, k) in aside {
                if order.scope >= needed {
                    self.know[warp].join(&k);
                    self.learned[warp] += 1;
                } else {
                    self.strong.aside[warp].push((needed, k));
                }
            }
        }
        if order.releases() {
            let copy = self.copy_out(warp);
            self.strong.fences[warp] = Some((order.scope, Rc::new(copy)));
        }
    }

    /// What a relaxed signal of a warp carries: what it knew at its last fence.
    pub fn behind_fence(&self, warp: usize) -> Option<&Knowledge> {
        self.strong.fences[warp].as_ref().map(|(_, k)| &**k)
    }

    pub fn strong_read(&mut self, warp: usize, region: Region, addr: u64, order: Order) {
        if order.acquires() {
            self.lanes.acquire(warp)
        } else {
            self.lanes.relaxed_read(warp)
        }
        let (per_cta, per_cluster) = (self.warps_per_cta, self.ctas_per_cluster);
        let Check { know, strong, learned, .. } = self;
        let Some(left) = strong.places.get(&(region, addr)) else { return };
        for r in left {
            let needed = r.warp.map_or(Scope::Gpu, |w| scope_between(w, warp, per_cta, per_cluster));
            if r.scope < needed || order.scope < needed || know[warp].covers(&r.knowledge) {
                continue;
            }
            if order.acquires() {
                know[warp].join(&r.knowledge);
                learned[warp] += 1;
                continue;
            }
            let aside = &mut strong.aside[warp];
            match aside.iter_mut().find(|(n, _)| *n == needed) {
                Some((_, known)) => known.join(&r.knowledge),
                None => aside.push((needed, Knowledge::clone(&r.knowledge))),
            }
        }
    }

    pub fn strong_write(&mut self, warp: usize, region: Region, addr: u64, order: Order, rmw: bool) {
        let release = if order.releases() {
            let knowledge = Rc::new(self.publish(warp));
            Some(Release { warp: Some(warp), scope: order.scope, knowledge })
        } else {
            self.lanes.relaxed_write(warp);
            self.strong.fences[warp].as_ref().map(|(scope, k)| Release {
                warp: Some(warp),
                scope: order.scope.min(*scope),
                knowledge: k.clone(),
            })
        };
        self.strong.leave((region, addr), release, rmw);
    }
}

/// The narrowest scope that covers both warps.
fn scope_between(a: usize, b: usize, warps_per_cta: usize, ctas_per_cluster: usize) -> Scope {
    let (x, y) = (a / warps_per_cta, b / warps_per_cta);
    if x == y {
        Scope::Cta
    } else if x / ctas_per_cluster == y / ctas_per_cluster {
        Scope::Cluster
    } else {
        Scope::Gpu
    }
}
