//! How many registers tiles take: what is alive between two nodes, summed, at its worst.
//!
//! A value lives from the node that makes it to its last use, and through a whole loop when it is used there and made
//! outside. What costs nothing is left out, and what is elsewhere ends early:
//!
//! ```text
//! constants, indices                         made again where they are needed
//! a permutation                              other names for the same registers: its uses are those of its operand
//! a product that is added to its addend      the sum is the instruction's own
//! an operand kept in shared memory           ends where it is made, unless something else needs it in registers
//! an operand staged for one product          ends at this product
//! results of a loop or branch                begin at its end; inside, its own values stand for them
//! ```
//!
//! Worked example, attention over 64 x 64 with 4 warps and 128 channels: the accumulator 64, statistics 2 x 2, scores
//! and weights 32 each, a tile of keys on its way to shared memory 32.

use crate::plan::{Operand, Plan, Staging, Written};
use std::collections::HashMap;
use tile_graph::{Graph, NodeId, Op, ROOT, RegionId, Value};

/// Registers per thread.
pub fn registers(graph: &Graph, plan: &Plan) -> u32 {
    let order = graph.nodes_under(ROOT);
    let position = order.iter().enumerate().map(|(at, &n)| (n, at)).collect();
    let walk = Walk { graph, plan, position };
    let mut change = vec![0i64; order.len() + 2];
    for (&value, layout) in &plan.layouts {
        if walk.is_free(value) {
            continue;
        }
        let bits = graph.type_of(value).dtype.bits().max(16) as i64;
        let words = (layout.registers() as i64 * bits + 31) / 32;
        let (birth, death) = walk.life(value);
        change[birth] += words;
        change[death] -= words;
    }
    let mut alive = 0;
    let most = change.into_iter().map(|c| {
        alive += c;
        alive
    });
    most.max().unwrap_or(0).max(0) as u32
}

struct Walk<'a> {
    graph: &'a Graph,
    plan: &'a Plan,
    position: HashMap<NodeId, usize>,
}

impl Walk<'_> {
    fn is_free(&self, value: Value) -> bool {
        let fused = self.plan.dots.get(&value.node).is_some_and(|d| d.at != value.node);
        fused
            || crate::convert::Claims::in_claim(self.graph, value.node)
            || self.graph.splat(value).is_some()
            || matches!(self.graph.node(value.node).op, Op::Iota | Op::Permute { .. })
    }

    fn end_of(&self, region: RegionId) -> usize {
        self.graph.nodes_under(region).last().map_or(0, |n| self.position[n])
    }

    /// First and last position.
    fn life(&self, value: Value) -> (usize, usize) {
        let node = self.graph.node(value.node);
        let own = self.position[&value.node];
        let birth = node.op.regions().into_iter().map(|r| self.end_of(r)).max().unwrap_or(own);
        (birth, self.last_use(value, node.region).unwrap_or(birth).max(birth))
    }

    /// The last use in registers; a use inside a loop that does not contain `home` keeps the value to the loop's end.
    fn last_use(&self, value: Value, home: RegionId) -> Option<usize> {
        let uses = self.graph.uses(value).into_iter();
        let ends = uses.filter_map(|(user, port)| match &self.graph.node(user).op {
            Op::Permute { .. } => self.last_use(Value { node: user, port: 0 }, home),
            Op::Dot(_) => self.operand_until(user, port).map(|at| self.until(at, home)),
            _ => Some(self.until(user, home)),
        });
        ends.max()
    }

    /// Where a product stops needing an operand in registers.
    fn operand_until(&self, dot: NodeId, port: u32) -> Option<NodeId> {
        let plan = self.plan.dots.get(&dot)?;
        match if port == 0 { &plan.lhs } else { &plan.rhs } {
            Operand::Shared(Staging { written: Written::After(_), .. }) => None,
            _ => Some(plan.at),
        }
    }

    fn until(&self, user: NodeId, home: RegionId) -> usize {
        let (mut at, mut last) = (user, self.position[&user]);
        while self.graph.node(at).region != home {
            let region = self.graph.node(at).region;
            let Some(owner) = self.graph.region(region).owner else { break };
            if matches!(self.graph.node(owner).op, Op::For(_) | Op::While { .. }) {
                last = last.max(self.end_of(region));
            }
            at = owner;
        }
        last
    }
}
