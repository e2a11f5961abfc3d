//! Split a loop across launches: *the parts run side by side, and a second launch combines them.*
//!
//! The same law as [`super::split`], with memory between the parts and their combination. One kernel becomes two:
//!
//! ```text
//! par b in B, h in H {                         par b in B, h in H, p in parts {              (part)
//!     q = load Q[b, h, :]                          q = load Q[b, h, :]
//!     m, l, acc = for j in tiles(0..N, BN)         m, l, acc = for j in tiles(p·c .. min((p + 1)·c, N), BN)
//!         merge lse { … }                              merge lse { … }
//!     store O[b, h, :] = acc / l                   store W0[p, b, h] = m;  W1[p, b, h] = l;  W2[p, b, h, :] = acc
//! }                                            }
//!                                              par b in B, h in H {                          (combine)
//!                                                  m, l, acc = for p in 0..parts carried (e) {
//!                                                      lse(m, l, acc, load W0[p, b, h], …) }
//!                                                  store O[b, h, :] = acc / l
//!                                              }
//! ```
//!
//! Split-K, split decode and split reductions are this law. `parts` is a dimension of both kernels, bound by the shape
//! of the workspaces: the code does not know it, the host may choose it for each launch. Parts are combined in their
//! order, so results do not hang on which part ends first.
//!
//! How the workspaces lie: [`super::workspace`].
//!
//! Everything that the kernel does beside the loop (stores, sums, assertions) is done by the second launch alone.

use super::{Refused, cut::*, workspace::*};
use crate::{ir::*, op::*};
use tile_base::{Mode, Size};

/// Splits the kernel at a loop that stands directly in its instances.
pub fn split_launches(graph: &Graph, node: NodeId) -> Result<Launches, Refused> {
    let f = splittable(graph, node)?;
    let home = instance(graph, node)?;
    if has_effect(graph, node) {
        return Err(Refused("writes memory in its body".into()));
    }
    let parts = unique(&graph.signature, &format!("{}_parts", f.name));
    let carried = graph.node(node).outputs.iter();
    let stored: Vec<Stored> = carried.map(|ty| stored(graph, ty.clone())).collect::<Result<_, _>>()?;
    let workspaces: Vec<Workspace> = stored
        .iter()
        .enumerate()
        .map(|(at, s)| Workspace {
            name: unique(&graph.signature, &format!("{}_part{at}", f.name)),
            dtype: s.ty.dtype,
            shape: [Size::name(&parts)].into_iter().chain(s.extents()).collect(),
        })
        .collect();
    let split = Splitter { f, home, node, stored, parts, workspaces };
    let part = split.part(graph)?;
    let combine = split.combine(graph);
    crate::debug_verify(&part, "split_launches (part)");
    crate::debug_verify(&combine, "split_launches (combine)");
    Ok(Launches { graphs: vec![part, combine], parts: Some(split.parts), workspaces: split.workspaces })
}

struct Splitter {
    f: ForOp,
    /// The body of the innermost `par`.
    home: RegionId,
    node: NodeId,
    stored: Vec<Stored>,
    parts: String,
    workspaces: Vec<Workspace>,
}

impl Splitter {
    /// The first launch: the loop over one part, its results into the workspaces.
    fn part(&self, graph: &Graph) -> Result<Graph, Refused> {
        let mut g = graph.clone();
        g.name = format!("{}_{}_part", graph.name, identifier(&self.f.name));
        let nodes = g.region(self.home).nodes.clone();
        drop_effects(&mut g, &nodes, self.node)?;
        read_only_unless_written(&mut g);
        let (dim, first) = self.extend(&mut g, Mode::InOut);
        let span = g.node(self.node).span;
        let (body, p) = side_by_side(&mut g, self.home, &format!("{}.part", self.f.name), dim, span);
        let at = At { region: body, before: Some(self.node), span };
        let inputs = g.inputs(self.node);
        let parts = insert(&mut g, at, Op::Dim(dim), vec![ValueType::index()], &[])[0];
        let chunk = chunk(&mut g, at, unit(&self.f, UNIT), &inputs, parts);
        let (lo, hi) = bounds(&mut g, at, &inputs, p, chunk);
        let outputs = g.node(self.node).outputs.clone();
        let starts = starts(&mut g, at, &self.f, &inputs[2..], &outputs);
        g.set_inputs(self.node, &[&[lo, hi][..], &starts].concat());

        let end = g.region(body).nodes.last().copied();
        let at = At { before: end, ..at };
        for (n, stored) in self.stored.iter().enumerate() {
            let value = Value { node: self.node, port: n as u32 };
            stored.store(&mut g, at, ObjectId::new(first.index() + n), p, value);
        }
        super::simplify(&mut g);
        Ok(g)
    }

    /// The second launch: the kernel with the loop over parts in the loop's place.
    fn combine(&self, graph: &Graph) -> Graph {
        let mut g = graph.clone();
        let (dim, first) = self.extend(&mut g, Mode::In);
        let span = g.node(self.node).span;
        let inputs = g.inputs(self.node);
        let at = At { region: self.home, before: Some(self.node), span };
        let count = insert(&mut g, at, Op::Dim(dim), vec![ValueType::index()], &[])[0];
        let name = format!("{}.combine", self.f.name);
        let totals = fold(&mut g, at, &name, count, &inputs[2..], |g, inside, q, totals| {
            let part: Vec<Value> = self
                .stored
                .iter()
                .enumerate()
                .map(|(n, stored)| stored.load(g, inside, ObjectId::new(first.index() + n), q))
                .collect();
            combine(g, inside, &self.f, totals, &part)
        });
        for (port, total) in totals.into_iter().enumerate() {
            g.replace_uses(Value { node: self.node, port: port as u32 }, total);
        }
        g.remove(self.node);
        super::simplify(&mut g);
        g
    }

    /// Gives a kernel the dimension of the parts and the workspaces. The dimension's position, and the first workspace.
    fn extend(&self, g: &mut Graph, mode: Mode) -> (u32, ObjectId) {
        let span = g.node(self.node).span;
        extend_by_parts(g, &self.parts, &self.workspaces, mode, span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{laws::loop_named, print, samples};
    use tile_base::DType;

    fn split(g: &Graph, name: &str) -> Result<Launches, Refused> {
        split_launches(g, loop_named(g, name).expect("a loop of the sample"))
    }

    #[test]
    fn a_split_product_is_two_kernels() {
        let Launches { graphs, .. } = split(&samples::matmul(DType::F32), "s").expect("a sum");
        insta::assert_snapshot!(graphs.iter().map(print).collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn workspaces_are_kept_by_position() {
        let split = split(&samples::flash(DType::F16, 64, true), "j").expect("a merge");
        let shapes: Vec<String> = split
            .workspaces
            .iter()
            .map(|w| w.shape.iter().map(Size::to_string).collect::<Vec<_>>().join(", "))
            .collect();
        assert_eq!(shapes, ["j_parts, B, HQ, M", "j_parts, B, HQ, M", "j_parts, B, HQ, M, 64"]);
        // The part stores nothing else, and is only given what it does not write.
        let o = split.graphs[0].objects.iter().find(|o| o.name == "o").expect("the output");
        assert_eq!(o.mode, Mode::In);
    }

    #[test]
    fn names_that_are_taken_are_left_alone() {
        let mut g = samples::matmul(DType::F32);
        g.signature.dims.push("s_parts".into());
        assert_eq!(split(&g, "s").expect("a sum").parts.as_deref(), Some("s_parts_"));
    }

    #[test]
    fn what_does_not_combine_is_refused() {
        let mut g = samples::matmul(DType::F32);
        let s = loop_named(&g, "s").expect("the stream");
        if let Op::For(f) = &mut g.node_mut(s).op {
            f.combine = LoopCombine::Ordered;
        }
        assert_eq!(split(&g, "s").err(), Some(Refused("neither sums nor merges".into())));
    }
}
