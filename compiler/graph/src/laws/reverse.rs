//! Reverse a sum: *a loop that only adds may run backwards.*
//!
//! ```text
//! for j in tiles(lo..hi, B) sum  =  for j in tiles(lo..hi, B).rev() sum      up to the order of summation
//! ```
//!
//! The spans are the same ones, taken from the last: the tail is then the first step. Refused for loops that combine
//! otherwise (a merge need not commute), that break, or that store.

use super::Refused;
use crate::{ir::*, op::*};

/// Runs a sum loop the other way round.
pub fn reverse_loop(graph: &mut Graph, node: NodeId) -> Result<(), Refused> {
    let Op::For(f) = &graph.node(node).op else { return Err(Refused("is not a `for`".into())) };
    if f.combine != LoopCombine::Sum {
        return Err(Refused(format!("`{}` does more than add to its variables", f.name)));
    }
    let stores = |n: &NodeId| matches!(graph.node(*n).op, Op::Store { .. } | Op::Print { .. });
    if f.early_exit || graph.nodes_under(f.body).iter().any(stores) {
        return Err(Refused(format!("`{}` breaks or stores", f.name)));
    }
    if let Op::For(f) = &mut graph.node_mut(node).op {
        let (Iter::Each { reverse } | Iter::Tiles { reverse, .. }) = &mut f.iter;
        *reverse = !*reverse;
    }
    crate::debug_verify(graph, "reverse_loop");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{laws::loop_named, print, samples};
    use tile_base::DType;

    #[test]
    fn sums_reverse_and_merges_do_not() {
        let mut g = samples::matmul(DType::F32);
        let s = loop_named(&g, "s").expect("the stream");
        reverse_loop(&mut g, s).expect("a sum");
        assert!(print(&g).contains("for s in tiles(0..K, s).rev()"));
        let mut g = samples::flash(DType::F32, 8, false);
        let j = loop_named(&g, "j").expect("the loop over keys");
        assert!(reverse_loop(&mut g, j).is_err());
    }
}
