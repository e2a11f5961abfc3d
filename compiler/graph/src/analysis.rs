//! Questions that every backend asks of a graph: what a region captures, what is constant, what is the same for all
//! elements, which nodes compute addresses.
//!
//! All answers are about the graph as it stands; nothing is cached.

use crate::{ir::*, op::*};
use std::collections::{BTreeSet, HashSet};
use tile_base::DType;

impl Graph {
    /// Whether `inner` is `outer` or stands somewhere inside it.
    pub fn encloses(&self, outer: RegionId, inner: RegionId) -> bool {
        let mut at = Some(inner);
        while let Some(region) = at {
            if region == outer {
                return true;
            }
            at = self.parent(region);
        }
        false
    }

    /// Every node of a region and of the regions inside it, in program order, owners before what they own.
    pub fn nodes_under(&self, region: RegionId) -> Vec<NodeId> {
        let mut out = vec![];
        let mut stack: Vec<NodeId> = self.region(region).nodes.iter().rev().copied().collect();
        while let Some(node) = stack.pop() {
            out.push(node);
            for owned in self.node(node).op.regions().into_iter().rev() {
                stack.extend(self.region(owned).nodes.iter().rev());
            }
        }
        out
    }

    /// The values from outside that a region (with those inside it) uses, each once, in order of first use.
    pub fn captures(&self, region: RegionId) -> Vec<Value> {
        let inside = self.nodes_under(region);
        let members: HashSet<NodeId> = inside.iter().copied().collect();
        let mut seen = HashSet::new();
        let used = inside.iter().flat_map(|&n| self.inputs(n));
        used.filter(|v| !members.contains(&v.node) && seen.insert(*v)).collect()
    }

    /// The inputs of a node and of everything that it owns.
    pub fn all_inputs(&self, node: NodeId) -> Vec<Value> {
        let nested = self.node(node).op.regions().into_iter().flat_map(|r| self.nodes_under(r));
        [node].into_iter().chain(nested).flat_map(|n| self.inputs(n)).collect()
    }

    /// The backward slice of values within a region: themselves, and back through the nodes of the region (with what
    /// they own). Arguments of the region and values from outside it are in it and end it.
    ///
    /// ```text
    /// n1, n2 = args;  n3 = add n1, n0;  n4 = mul n3, n3        made_of(body, [n4]) = {n4, n3, n1, n0}
    /// ```
    pub fn made_of(&self, region: RegionId, values: &[Value]) -> BTreeSet<Value> {
        let (mut found, mut open) = (BTreeSet::new(), values.to_vec());
        while let Some(value) = open.pop() {
            let seen = !found.insert(value);
            if !seen && self.encloses(region, self.node(value.node).region) {
                open.extend(self.all_inputs(value.node));
            }
        }
        found
    }

    /// The outputs of a node.
    pub fn outputs(&self, node: NodeId) -> impl Iterator<Item = Value> + use<> {
        (0..self.node(node).outputs.len() as u32).map(move |port| Value { node, port })
    }

    /// The literal a scalar is.
    pub fn literal(&self, value: Value) -> Option<Literal> {
        match self.node(value.node).op {
            Op::Const(literal) => Some(literal),
            _ => None,
        }
    }

    /// The integer an index is.
    pub fn int(&self, value: Value) -> Option<i64> {
        match self.literal(value)? {
            Literal::Int(v) => Some(v),
            _ => None,
        }
    }

    /// The scalar that every element of a value equals: of a scalar itself, of a stretched scalar that scalar.
    pub fn uniform(&self, value: Value) -> Option<Value> {
        if self.type_of(value).is_scalar() {
            return Some(value);
        }
        let node = self.node(value.node);
        match node.op {
            Op::Broadcast
            | Op::Reshape { .. }
            | Op::Permute { .. }
            | Op::Merge { .. }
            | Op::Split { .. }
            | Op::Slice { .. } => self.uniform(*self.inputs(value.node).first()?),
            _ => None,
        }
    }

    /// The literal that every element of a value equals.
    pub fn splat(&self, value: Value) -> Option<Literal> {
        self.literal(self.uniform(value)?)
    }

    /// Nodes that compute indices and predicates from dims, parameters, loop variables and index tensors alone, by
    /// pure scalar and index-tile operations. Any role may compute them again: a producer of loads needs no other.
    pub fn index_slice(&self) -> BTreeSet<NodeId> {
        let mut slice = BTreeSet::new();
        for node in self.nodes_under(ROOT) {
            let n = self.node(node);
            let indices = n.outputs.iter().all(|t| matches!(t.dtype, DType::I64 | DType::Bool));
            let replayable = match &n.op {
                Op::Const(_) | Op::Dim(_) | Op::Param(_) | Op::RegionArgs => true,
                Op::Load(access) => {
                    let object = self.object(access.object);
                    object.mode == tile_base::Mode::In && object.index.is_some()
                }
                op => op.is_pure() && op.regions().is_empty(),
            };
            let leaf = matches!(n.op, Op::Param(_) | Op::RegionArgs);
            let from_slice = || self.inputs(node).iter().all(|v| self.in_slice(&slice, *v));
            if replayable && (indices || leaf) && from_slice() {
                slice.insert(node);
            }
        }
        slice
    }

    /// Whether a value may be an operand in the index slice: loop variables are, carried values are not.
    fn in_slice(&self, slice: &BTreeSet<NodeId>, value: Value) -> bool {
        slice.contains(&value.node)
            && match self.node(value.node).op {
                Op::RegionArgs => value.port < self.variables(self.node(value.node).region),
                _ => true,
            }
    }

    /// How many arguments of a region are loop variables (the others are carried or combined values).
    pub fn variables(&self, region: RegionId) -> u32 {
        let Some(owner) = self.region(region).owner else { return 0 };
        match &self.node(owner).op {
            Op::Par(p) => p.iter.variables() as u32,
            Op::For(f) if f.body == region || f.skip == Some(region) => f.iter.variables() as u32,
            _ => 0,
        }
    }
}

impl Op {
    /// Depends on its inputs alone and changes nothing. (A region it owns may still do more: see
    /// [`Graph::is_pure`].)
    pub fn is_pure(&self) -> bool {
        !matches!(
            self,
            Op::Load(_)
                | Op::Store { .. }
                | Op::Accumulate(_)
                | Op::RegionArgs
                | Op::Yield
                | Op::Par(_)
                | Op::While { .. }
                | Op::Assert { .. }
                | Op::Print { .. }
        )
    }
}

impl Graph {
    /// Whether a node, with all that it owns, may be dropped when nobody uses it. A load changes nothing, and a load
    /// that is checked in place still may be dropped only with its check, which is why those stay.
    pub fn is_pure(&self, node: NodeId) -> bool {
        let own = |op: &Op| match op {
            Op::Load(a) => a.coords.iter().all(|c| c.check != crate::access::Check::InPlace),
            op => op.is_pure(),
        };
        let inner = |n: NodeId| matches!(self.node(n).op, Op::RegionArgs | Op::Yield);
        let regions = self.node(node).op.regions();
        own(&self.node(node).op)
            && regions.iter().all(|&r| self.region(r).nodes.iter().all(|&n| inner(n) || self.is_pure(n)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn a_loop_body_captures_what_it_uses_from_outside() {
        let g = samples::matmul(DType::F32);
        let node = g.node_ids().find(|&n| matches!(g.node(n).op, Op::For(_))).expect("the stream");
        let Op::For(f) = &g.node(node).op else { unreachable!() };
        // i.start and j.start: the loads of the body need nothing else.
        assert_eq!(g.captures(f.body).len(), 2);
        assert!(g.captures(ROOT).is_empty());
    }

    #[test]
    fn the_index_slice_holds_addresses_and_no_data() {
        let g = samples::flash(DType::F16, 64, true);
        let slice = g.index_slice();
        for node in g.node_ids() {
            match &g.node(node).op {
                Op::Load(_) | Op::Dot(_) | Op::Reduce { .. } => assert!(!slice.contains(&node)),
                Op::Iota | Op::Dim(_) => assert!(slice.contains(&node)),
                _ => {}
            }
        }
    }

    #[test]
    fn what_a_value_is_made_of_ends_at_arguments_and_outside() {
        let mut s = samples::Sketch::new("k", vec![], &["N"]);
        let n = s.dim("N");
        let i = s.par("i", n);
        let twice = s.elem(ElemOp::Add, &[i, i]);
        let other = s.elem(ElemOp::Mul, &[i, twice]);
        let used = s.elem(ElemOp::Add, &[twice, n]);
        let g = s.finish();
        let body = g.node(i.node).region;
        assert_eq!(g.made_of(body, &[used]), [used, twice, i, n].into());
        assert!(!g.made_of(body, &[used]).contains(&other));
        assert_eq!(g.made_of(ROOT, &[twice]), [twice, i].into());
    }

    #[test]
    fn a_stretched_literal_is_a_splat() {
        let g = samples::flash(DType::F16, 64, false);
        let splats = g.node_ids().filter(|&n| matches!(g.node(n).op, Op::Broadcast));
        let found: Vec<_> = splats.map(|node| g.splat(Value { node, port: 0 })).collect();
        assert_eq!(found[0], Some(Literal::Float(f64::NEG_INFINITY)));
        assert_eq!(found[1], Some(Literal::Float(0.0)));
    }
}
