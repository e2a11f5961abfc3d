//! Which instances of a kernel add to elements of their own.
//!
//! Real sums depend on their order, so two instances that add to one element of a `sum` tensor have to be kept in order
//! (or apart). Often most of them never meet:
//!
//! ```text
//! par b in B, g in HK, j in tiles(N, BN) {
//!     for h in g * R..(g + 1) * R { for i in tiles(M, BM) { accumulate DQ[b, i, h, :] += x } }
//! }
//! b: is the first coordinate itself                  two values of b, two elements          apart
//! g: the third coordinate lies in R g..R (g + 1)     R (g + 1) is where the next g begins   apart
//! j: no coordinate hangs on it                                                              may meet
//! ```
//!
//! (The tiles of one axis do not overlap, so where a tile begins stands for its index.)
//!
//! An axis keeps instances apart when along one dimension of the tensor it gives each of its steps an interval that ends
//! before that of the next one begins; the rest of the interval may hang on what encloses the axis, which is the same
//! for the instances compared. All additions to the tensor have to agree on the dimension and the intervals: where
//! one adds to `C[i, j]` and another to `C[j, i]`, row i of the one meets column i of the other.

use super::{linear::*, prove::*};
use crate::{access::*, ir::*, op::*};

/// The interval of a step of an axis: its dimension, and where it begins. It ends where that of the next step begins,
/// or before.
#[derive(Clone, PartialEq, Debug)]
struct Interval {
    dim: usize,
    begins: Linear,
}

/// The `par` axes of the nest, from outside in, each of which keeps the additions to `object` apart: instances that agree
/// on the axes around it and differ in it add to different elements.
pub fn apart(graph: &Graph, object: ObjectId) -> Vec<NodeId> {
    let adds = |n: &NodeId| matches!(&graph.node(*n).op, Op::Accumulate(a) if a.object == object);
    let adds: Vec<NodeId> = graph.nodes_under(ROOT).into_iter().filter(adds).collect();
    let keeps = |&par: &NodeId| {
        let mut agreed: Option<Vec<Interval>> = None;
        for &node in &adds {
            let found = intervals(graph, node, par);
            agreed = Some(match agreed {
                Some(so_far) => so_far.into_iter().filter(|i| found.contains(i)).collect(),
                None => found,
            });
        }
        agreed.is_none_or(|a| !a.is_empty())
    };
    graph.par_nest().into_iter().filter(keeps).collect()
}

/// The dimensions along which the addition at `node` stays within an interval of its own for each step of `par`.
fn intervals(graph: &Graph, node: NodeId, par: NodeId) -> Vec<Interval> {
    let (inputs, Some(access)) = (graph.inputs(node), graph.node(node).op.access()) else { return vec![] };
    let axes = &graph.type_of(inputs[0]).axes;
    let coords = access.coords.iter().enumerate();
    coords
        .filter_map(|(dim, coord)| {
            let CoordIndex::Affine { base: Some(port), terms } = &coord.index else { return None };
            let base = inputs[*port as usize];
            let owner = loop_of(graph, base, terms, axes)?;
            let begins = match owner == par {
                true => Linear::atom(Atom::Value(base)),
                false if base.port == 0 => run(graph, owner, par)?,
                false => return None,
            };
            Some(Interval { dim, begins })
        })
        .collect()
}

/// The loop or `par` whose range the coordinate `base + terms` runs over: `base` is its index, or the start of its tile
/// and the terms are the positions in that tile; or `base` is the number of the tile, by itself.
fn loop_of(graph: &Graph, base: Value, terms: &[(u32, i64)], axes: &[Axis]) -> Option<NodeId> {
    let region = graph.node(base.node).region;
    let owner = graph.region(region).owner?;
    let iter = match &graph.node(owner).op {
        Op::Par(p) if p.body == region => p.iter,
        Op::For(f) if f.body == region => f.iter,
        _ => return None,
    };
    let variable = matches!(graph.node(base.node).op, Op::RegionArgs);
    let moving: Vec<(Axis, i64)> =
        terms.iter().map(|&(a, s)| (axes[a as usize], s)).filter(|(a, _)| *a != Axis::One).collect();
    let inside = match (iter, base.port, &moving[..]) {
        (_, 0, []) | (Iter::Tiles { .. }, 2, []) => true,
        (Iter::Tiles { span, .. }, 0, [(axis, 1)]) => *axis == Axis::span(span),
        _ => false,
    };
    (variable && inside).then_some(owner)
}

/// Where the range of an inner loop begins, if the ranges of neighbouring steps of `par` do not overlap.
fn run(graph: &Graph, owner: NodeId, par: NodeId) -> Option<Linear> {
    let (Op::For(_), Op::Par(p)) = (&graph.node(owner).op, &graph.node(par).op) else { return None };
    let Iter::Each { .. } = p.iter else { return None };
    let index = Atom::Value(*graph.region_args(p.body).first()?);
    let inputs = graph.inputs(owner);
    let (lo, hi) = (of_value(graph, inputs[0])?, of_value(graph, inputs[1])?);
    let ((slope, first), (other, end)) = (lo.split(&index)?, hi.split(&index)?);
    let around = graph.node(par).region;
    if slope != other || ![&slope, &first, &end].iter().all(|l| stands(graph, l, around)) {
        return None;
    }
    // The next step begins at lo + slope.
    let room = slope.add(&first)?.sub(&end)?;
    let mut prover = Prover::new(graph, p.body);
    let holds = [&slope, &room].iter().all(|l| prover.nonnegative(l) == Proof::Proven);
    holds.then_some(lo)
}

/// Whether a polynomial is the same for all steps of an axis that stands in the region `around`.
fn stands(graph: &Graph, linear: &Linear, around: RegionId) -> bool {
    linear.terms.keys().flatten().all(|atom| match atom {
        Atom::Dim(_) => true,
        Atom::Value(v) => graph.encloses(graph.node(v.node).region, around),
        Atom::Position(_) => false,
        Atom::Div(a, b) | Atom::Mod(a, b) | Atom::Min(a, b) | Atom::Max(a, b) => {
            stands(graph, a, around) && stands(graph, b, around)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{Sketch, tensor};
    use tile_base::{DType, Mode};

    /// `for name in lo..hi { body }`.
    fn each(s: &mut Sketch, lo: Value, hi: Value, body: impl FnOnce(&mut Sketch, Value)) {
        let (region, args) = s.b.open(RegionKind::Loop, vec![ValueType::index()]);
        body(s, args[0]);
        s.b.close(&[]);
        let f = ForOp {
            iter: Iter::Each { reverse: false },
            body: region,
            name: "h".into(),
            origin: LoopOrigin::Written,
            early_exit: false,
            skip: None,
            combine: LoopCombine::Ordered,
        };
        s.b.add(Op::For(f), &[lo, hi], vec![]);
    }

    /// `Y[coords] += 1`, Y the first object.
    fn add_one(s: &mut Sketch, coords: &[Value]) {
        let one = s.f32(1.0);
        let ports = 1..=coords.len() as u32;
        let coords_of = ports.map(|p| Coord::scalar(p, Check::Proven)).collect();
        let access = Access { object: ObjectId::new(0), coords: coords_of, otherwise: None, mask: None };
        s.b.add(Op::Accumulate(access), &[&[one], coords].concat(), vec![]);
    }

    fn names(graph: &Graph) -> Vec<String> {
        let name = |n: NodeId| match &graph.node(n).op {
            Op::Par(p) => p.name.clone(),
            _ => String::new(),
        };
        apart(graph, ObjectId::new(0)).into_iter().map(name).collect()
    }

    /// `par b in B, g in HK, j in N { for h in g * R..(g + 1) * R + more { Y[b, h] += 1; } }` with R = HQ / HK.
    fn groups(more: i64) -> Vec<String> {
        let params = vec![tensor("y", Mode::Sum, DType::F32, &["B", "HQ"])];
        let mut s = Sketch::new("groups", params, &["B", "HQ", "HK", "N"]);
        let [batches, hq, hk, n] = ["B", "HQ", "HK", "N"].map(|name| s.dim(name));
        let (b, g, _) = (s.par("b", batches), s.par("g", hk), s.par("j", n));
        let size = s.elem(ElemOp::Div, &[hq, hk]);
        let (one, more) = (s.b.index(1), s.b.index(more));
        let next = s.elem(ElemOp::Add, &[g, one]);
        let (lo, end) = (s.elem(ElemOp::Mul, &[g, size]), s.elem(ElemOp::Mul, &[next, size]));
        let hi = s.elem(ElemOp::Add, &[end, more]);
        each(&mut s, lo, hi, |s, h| add_one(s, &[b, h]));
        names(&s.finish())
    }

    #[test]
    fn the_heads_of_a_group_are_its_own() {
        assert_eq!(groups(0), ["b", "g"]);
        assert_eq!(groups(-1), ["b", "g"]);
    }

    #[test]
    fn ranges_that_overlap_are_not_apart() {
        assert_eq!(groups(1), ["b"]);
    }

    #[test]
    fn additions_have_to_agree_on_the_dimension() {
        let of = |both: bool| {
            let params = vec![tensor("y", Mode::Sum, DType::F32, &["N", "N"])];
            let mut s = Sketch::new("symmetric", params, &["N"]);
            let n = s.dim("N");
            let a = s.par("a", n);
            let zero = s.b.index(0);
            each(&mut s, zero, n, |s, c| {
                add_one(s, &[a, c]);
                if both {
                    add_one(s, &[c, a]);
                }
            });
            names(&s.finish())
        };
        assert_eq!(of(false), ["a"]);
        assert_eq!(of(true), Vec::<String>::new());
    }

    /// `par i in tiles(N, B) { Y[i.start + shift + p] += 1 for each position p }`: moved, it reaches into the next tile.
    #[test]
    fn tiles_are_apart_where_the_positions_are_theirs() {
        let of = |shift: i64| {
            let params = vec![tensor("y", Mode::Sum, DType::F32, &["N"])];
            let mut s = Sketch::new("tiles", params, &["N"]);
            let tile = s.b.tile_size("B", vec![], false, tile_base::Span::default());
            let n = s.dim("N");
            let i = s.par_tiles("i", n, tile);
            let (one, by) = (s.f32(1.0), s.b.index(shift));
            let ones = s.broadcast(one, &[i.axis()]);
            let at = if shift == 0 { i.start } else { s.elem(ElemOp::Add, &[i.start, by]) };
            let coords = vec![Coord::along(0, Some(1), Check::Proven)];
            let access = Access { object: ObjectId::new(0), coords, otherwise: None, mask: None };
            s.b.add(Op::Accumulate(access), &[ones, at], vec![]);
            names(&s.finish())
        };
        assert_eq!(of(0), ["i"]);
        assert_eq!(of(1), Vec::<String>::new());
    }
}
