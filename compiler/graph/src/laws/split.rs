//! Split a loop that sums or merges: *the parts combine to the whole.*
//!
//! ```text
//! v = for j in tiles(lo..hi, B) combine f carried (v = e) { … }
//!   = for p in 0..parts carried (t = e) {
//!         v = for j in tiles(lo + p·c .. min(lo + (p + 1)·c, hi), B) … carried (v = e') { … }
//!         yield f(t, v) }                                  with c = cdiv(hi - lo, parts)
//! ```
//!
//! where a summed variable starts each part at 0 and a merged one at its own start `e`, which the claim says is the
//! identity of f. A loop whose steps are fixed (a `const` size) is cut at multiples of the step. The parts here run
//! one after the other in one launch, which is what testing the claim needs; split-K and split decode run them as
//! launches of their own ([`super::launches`]).
//!
//! Refused for loops that run in order, that break, or whose body uses the number of the step.

use super::{Refused, cut::*};
use crate::{edit::*, ir::*, op::*};

/// Cuts the loop at `node` into `parts` partial loops and combines their results. The loop over the parts.
pub fn split_merge_loop(graph: &mut Graph, node: NodeId, parts: u64) -> Result<NodeId, Refused> {
    if parts == 0 {
        return Err(Refused("into 0 parts".into()));
    }
    let f = splittable(graph, node)?;
    let (region, span) = (graph.node(node).region, graph.node(node).span);
    let inputs = graph.inputs(node);
    let outputs = graph.node(node).outputs.clone();
    let at = At { region, before: Some(node), span };
    let count = scalar(graph, at, Literal::Int(parts as i64));
    let chunk = chunk(graph, at, unit(&f, 1), &inputs, count);
    let name = format!("{}.part", f.name);
    let totals = fold(graph, at, &name, count, &inputs[2..], |graph, inside, p, totals| {
        let (lo, hi) = bounds(graph, inside, &inputs, p, chunk);
        let starts = starts(graph, inside, &f, &inputs[2..], &outputs);
        // The loop itself over one part: a copy, so that its name and body stay.
        let copy = graph.copy_node(node, inside.region, None, &mut CopyMap::default());
        graph.set_inputs(copy, &[&[lo, hi][..], &starts].concat());
        let part: Vec<Value> = graph.outputs(copy).collect();
        combine(graph, inside, &f, totals, &part)
    });
    let outer = totals.first().map_or(node, |v| v.node);
    for (port, total) in totals.into_iter().enumerate() {
        graph.replace_uses(Value { node, port: port as u32 }, total);
    }
    graph.remove(node);
    crate::debug_verify(graph, "split_merge_loop");
    Ok(outer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{laws::loop_named, print, samples};
    use tile_base::DType;

    #[test]
    fn a_split_sum_adds_its_parts() {
        let mut g = samples::matmul(DType::F32);
        let s = loop_named(&g, "s").expect("the stream");
        split_merge_loop(&mut g, s, 3).expect("a sum");
        crate::verify(&g).expect("the law keeps the invariants");
        insta::assert_snapshot!(print(&g));
    }

    #[test]
    fn a_split_merge_combines_its_parts() {
        let mut g = samples::flash(DType::F32, 8, true);
        let j = loop_named(&g, "j").expect("the loop over keys");
        split_merge_loop(&mut g, j, 4).expect("a merge");
        crate::verify(&g).expect("the law keeps the invariants");
        let text = print(&g);
        assert!(text.contains("for j.part in 0..4"), "{text}");
        // The split loop keeps its claims, so it can be split again.
        let j = loop_named(&g, "j").expect("the part");
        split_merge_loop(&mut g, j, 2).expect("still a merge");
    }

    #[test]
    fn loops_that_run_in_order_are_refused() {
        let mut g = samples::matmul(DType::F32);
        let s = loop_named(&g, "s").expect("the stream");
        if let Op::For(f) = &mut g.node_mut(s).op {
            f.combine = LoopCombine::Ordered;
        }
        assert!(split_merge_loop(&mut g, s, 2).is_err());
    }
}
