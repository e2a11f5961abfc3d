//! Facts about indices: bounds of accesses, shown by a small prover over polynomials.

pub mod apart;
pub mod extent;
pub mod linear;
pub mod prove;
pub mod ragged;
pub mod range;

use crate::{access::*, ir::*, op::*};
use linear::{Atom, Linear, of_size, of_value};
use prove::{Proof, Prover};

/// Whether coordinate `dim` of the access at `node` lies inside its limits and its dimension.
pub fn inside(graph: &Graph, node: NodeId, dim: usize) -> Proof {
    inside_of(graph, node, dim).unwrap_or(Proof::Unknown)
}

/// Whether an index is shown to be at least 1 in a region.
pub fn positive(graph: &Graph, region: RegionId, value: Value) -> bool {
    let less_one = of_value(graph, value).and_then(|l| l.offset(-1));
    less_one.is_some_and(|l| Prover::new(graph, region).nonnegative(&l) != Proof::Unknown)
}

/// Whether an index is shown to be at least 0 in a region.
pub fn nonnegative(graph: &Graph, region: RegionId, value: Value) -> bool {
    of_value(graph, value).is_some_and(|l| Prover::new(graph, region).nonnegative(&l) != Proof::Unknown)
}

fn inside_of(graph: &Graph, node: NodeId, dim: usize) -> Option<Proof> {
    let access = graph.node(node).op.access()?;
    let coord = access.coords.get(dim)?;
    let inputs = graph.inputs(node);
    let axes = match graph.node(node).op {
        Op::Load(_) => graph.node(node).outputs[0].axes.clone(),
        _ => graph.type_of(inputs[0]).axes.clone(),
    };
    let position = match &coord.index {
        CoordIndex::Affine { base, terms } => {
            let mut at = match base {
                Some(port) => of_value(graph, inputs[*port as usize])?,
                None => Linear::default(),
            };
            for &(axis, stride) in terms {
                at = at.plus(&Linear::atom(Atom::Position(axis)), stride as i128)?;
            }
            at
        }
        CoordIndex::Gather { index, .. } => of_value(graph, inputs[*index as usize])?,
    };
    let mut prover = Prover::new(graph, graph.node(node).region);
    prover.over(&axes);
    let masked = access.mask.map(|m| inputs[m as usize]);
    if let Some(mask) = masked {
        prover.assume(mask, true);
    }
    let limit = |p: Option<Port>| p.map(|p| of_value(graph, inputs[p as usize])).transpose_none();
    let mut all = vec![];
    let size = of_size(&graph.object(access.object).shape[dim])?;
    let mut lows = vec![Linear::default()];
    let mut highs = vec![size];
    lows.extend(limit(coord.lo)?);
    highs.extend(limit(coord.hi)?);
    for low in lows {
        let gap = position.sub(&low)?;
        all.push(match prover.nonnegative(&gap) {
            Proof::Unknown
                if low == Linear::default() && mask_says_nonnegative(graph, masked, coord, &inputs) =>
            {
                Proof::Proven
            }
            other => other,
        });
    }
    for high in highs {
        let gap = high.sub(&position)?.offset(-1)?;
        all.push(prover.nonnegative(&gap));
    }
    Some(all.into_iter().fold(Proof::Proven, |a, b| match (a, b) {
        (Proof::Unknown, _) | (_, Proof::Unknown) => Proof::Unknown,
        (Proof::AtLaunch, _) | (_, Proof::AtLaunch) => Proof::AtLaunch,
        _ => Proof::Proven,
    }))
}

/// `Some(None)` for no limit, `None` for a limit that is no polynomial.
trait TransposeNone<T> {
    fn transpose_none(self) -> Option<Option<T>>;
}

impl<T> TransposeNone<T> for Option<Option<T>> {
    fn transpose_none(self) -> Option<Option<T>> {
        match self {
            None => Some(None),
            Some(inner) => inner.map(Some),
        }
    }
}

/// Whether the mask holds only where the index tile is >= 0 (look-ups of `id?`), however either was reshaped.
fn mask_says_nonnegative(graph: &Graph, mask: Option<Value>, coord: &Coord, inputs: &[Value]) -> bool {
    let index = match coord.index {
        CoordIndex::Gather { index, .. } => index,
        CoordIndex::Affine { base: Some(base), ref terms } if terms.is_empty() => base,
        CoordIndex::Affine { .. } => return false,
    };
    mask.is_some_and(|m| says_nonnegative(graph, m, stem(graph, inputs[index as usize])))
}

fn says_nonnegative(graph: &Graph, condition: Value, index: Value) -> bool {
    let condition = stem(graph, condition);
    let inputs = graph.inputs(condition.node);
    match graph.node(condition.node).op {
        Op::Elem(ElemOp::And) => inputs.iter().any(|&i| says_nonnegative(graph, i, index)),
        Op::Elem(ElemOp::Ge) => graph.splat_int(inputs[1]) == Some(0) && stem(graph, inputs[0]) == index,
        Op::Elem(ElemOp::Gt) => graph.splat_int(inputs[1]) == Some(-1) && stem(graph, inputs[0]) == index,
        _ => false,
    }
}

/// The value behind reshapes and broadcasts.
fn stem(graph: &Graph, value: Value) -> Value {
    match graph.node(value.node).op {
        Op::Reshape { .. } | Op::Broadcast => stem(graph, graph.inputs(value.node)[0]),
        _ => value,
    }
}

impl Graph {
    fn splat_int(&self, value: Value) -> Option<i64> {
        match self.splat(value)? {
            Literal::Int(v) => Some(v),
            _ => None,
        }
    }
}
