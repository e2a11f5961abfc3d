//! When a stored value is read for the last time.
//!
//! Steps are numbered in the order of emission. A value defined outside a loop and read inside it is needed until
//! the loop ends, since the next trip reads it again. Reads go through inline nodes to the stored values below;
//! steps that only rename a buffer (`merge`, `split`) hand their own last read down to what they rename.

use crate::fuse::{Schedule, Step, bases};
use std::collections::HashMap;
use tile_graph::{Graph, NodeId, Op, ROOT, RegionId, Value};

#[derive(Default)]
pub struct Liveness {
    /// Number of each region's steps, in order, and of the end of each control step.
    pub step: HashMap<(RegionId, usize), usize>,
    pub end: HashMap<NodeId, usize>,
    pub last: HashMap<Value, usize>,
}

pub fn analyse(graph: &Graph, schedule: &Schedule) -> Liveness {
    let mut walk = Walk { graph, schedule, live: Liveness::default(), next: 0, loops: vec![], late: vec![] };
    walk.region(ROOT);
    let Walk { mut live, late, .. } = walk;
    for (value, owner) in late {
        let end = live.end[&owner];
        let last = live.last.entry(value).or_default();
        *last = (*last).max(end);
    }
    rename(graph, &mut live);
    live
}

struct Walk<'a> {
    graph: &'a Graph,
    schedule: &'a Schedule,
    live: Liveness,
    next: usize,
    /// Loops around the current step, outermost first: node and body.
    loops: Vec<(NodeId, RegionId)>,
    /// Values read inside a loop they do not come from.
    late: Vec<(Value, NodeId)>,
}

impl Walk<'_> {
    fn region(&mut self, region: RegionId) {
        let Some(steps) = self.schedule.regions.get(&region) else { return };
        for (at, step) in steps.iter().enumerate() {
            let here = self.next;
            self.next += 1;
            self.live.step.insert((region, at), here);
            match step {
                Step::Group(group) => group.members.iter().for_each(|&m| self.reads(m, here)),
                Step::DotAdd { dot, add } => {
                    self.reads(*dot, here);
                    self.reads(*add, here);
                }
                Step::Node(node) => self.node(*node, here),
            }
        }
    }

    fn node(&mut self, node: NodeId, here: usize) {
        self.reads(node, here);
        let op = &self.graph.node(node).op;
        let repeats = matches!(op, Op::For(_) | Op::While { .. } | Op::Par(_) | Op::ReduceWith { .. });
        for region in op.regions() {
            if repeats {
                self.loops.push((node, region));
            }
            self.region(region);
            if repeats {
                self.loops.pop();
            }
        }
        if let Op::While { condition, .. } = op {
            // The body's arguments are the same buffers.
            let shared = self.graph.region_args(*condition);
            self.late.extend(shared.into_iter().map(|v| (v, node)));
        }
        self.live.end.insert(node, self.next);
        self.next += 1;
    }

    fn reads(&mut self, node: NodeId, here: usize) {
        let mut found = vec![];
        for input in self.graph.inputs(node) {
            bases(self.graph, input, true, &mut found);
        }
        for (value, _) in found {
            let home = self.graph.node(value.node).region;
            let last = self.live.last.entry(value).or_default();
            *last = (*last).max(here);
            let foreign = self.loops.iter().find(|(_, body)| !self.encloses(*body, home));
            if let Some(&(owner, _)) = foreign {
                self.late.push((value, owner));
            }
        }
    }

    fn encloses(&self, outer: RegionId, inner: RegionId) -> bool {
        let mut at = Some(inner);
        while let Some(region) = at {
            if region == outer {
                return true;
            }
            at = self.graph.parent(region);
        }
        false
    }
}

/// A renamed buffer lives as long as its new name.
fn rename(graph: &Graph, live: &mut Liveness) {
    loop {
        let mut changed = false;
        for node in graph.node_ids() {
            if !matches!(graph.node(node).op, Op::Merge { .. } | Op::Split { .. }) {
                continue;
            }
            let Some(&end) = live.last.get(&Value { node, port: 0 }) else { continue };
            let mut found = vec![];
            bases(graph, graph.inputs(node)[0], true, &mut found);
            for (value, _) in found {
                let last = live.last.entry(value).or_default();
                if *last < end {
                    *last = end;
                    changed = true;
                }
            }
        }
        if !changed {
            return;
        }
    }
}
