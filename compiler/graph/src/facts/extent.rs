//! How far an index can go, as a [`Size`] that the host can compute before a launch.
//!
//! An index scalar of the graph is a number on the device. Where it is made of dimensions alone, it *is* a size
//! ([`size`]). Where it was read from an index tensor, its type bounds it ([`bound`]):
//!
//! ```text
//! par e in E, i in tiles(off[e]..off[e + 1], BM)      off: offsets<R>
//!     off[e]      0 ..= R        off[e + 1] - off[e]   at most R - 0 = R, the longest range
//!     e           0 ..= E - 1
//! ```
//!
//! Grids, workspaces and whoever else reserves before the device has spoken ask here.

use super::linear::of_value;
use crate::{ir::*, op::*};
use tile_base::{IndexKind, Size};

/// The length of `lo..hi` where the host knows it.
pub fn length(graph: &Graph, lo: Value, hi: Value) -> Option<Size> {
    match (size(graph, lo), size(graph, hi)) {
        (Some(Size::Const(0)), Some(hi)) => Some(hi),
        (Some(lo), Some(hi)) => Some(Size::Sub(hi.into(), lo.into())),
        // `g * GR .. (g + 1) * GR` has GR steps, whatever g.
        _ => of_value(graph, hi)?.sub(&of_value(graph, lo)?)?.to_size(),
    }
}

/// The greatest length that the types of index tensors and the ranges of outer axes allow: of
/// `off[e]..off[e + 1]` with `off: offsets<R>` it is R.
pub fn longest(graph: &Graph, lo: Value, hi: Value) -> Option<Size> {
    let (least, greatest) = (bound(graph, lo, Side::Least)?, bound(graph, hi, Side::Greatest)?);
    Some(match least {
        Size::Const(0) => greatest,
        least => Size::Max(Size::Const(0).into(), Size::Sub(greatest.into(), least.into()).into()),
    })
}

/// Which bound is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Least,
    Greatest,
}

impl Side {
    fn other(self) -> Side {
        if self == Side::Least { Side::Greatest } else { Side::Least }
    }
}

/// A bound of an index scalar as a size over the dimensions.
pub fn bound(graph: &Graph, value: Value, side: Side) -> Option<Size> {
    if let Some(exact) = size(graph, value) {
        return Some(exact);
    }
    let inputs = graph.inputs(value.node);
    let of = |at: usize, side| bound(graph, inputs[at], side);
    match &graph.node(value.node).op {
        Op::Load(access) => {
            let kind = graph.object(access.object).index.as_ref()?;
            Some(match (kind, side) {
                (IndexKind::IdOrNone(_), Side::Least) => Size::Const(-1),
                (_, Side::Least) => Size::Const(0),
                (IndexKind::Id(n) | IndexKind::IdOrNone(n), _) => {
                    Size::Sub(n.clone().into(), Size::Const(1).into())
                }
                (IndexKind::Count(n) | IndexKind::Offsets(n), _) => n.clone(),
            })
        }
        // Variables of an outer axis: start, end and number of a tile, or an index.
        Op::RegionArgs => {
            let owner = graph.region(graph.node(value.node).region).owner?;
            let Op::Par(p) = &graph.node(owner).op else { return None };
            let range = graph.inputs(owner);
            let past = bound(graph, range[1], Side::Greatest)?;
            match (side, p.iter, value.port) {
                (Side::Least, _, 2) => Some(Size::Const(0)),
                (Side::Least, ..) => bound(graph, range[0], Side::Least),
                (_, Iter::Tiles { .. }, 1) => Some(past),
                _ => Some(Size::Sub(past.into(), Size::Const(1).into())),
            }
        }
        Op::Elem(ElemOp::Add) => Some(Size::Add(of(0, side)?.into(), of(1, side)?.into())),
        Op::Elem(ElemOp::Sub) => Some(Size::Sub(of(0, side)?.into(), of(1, side.other())?.into())),
        Op::Elem(ElemOp::Min) if side == Side::Greatest => match (of(0, side), of(1, side)) {
            (Some(a), Some(b)) => Some(Size::Min(a.into(), b.into())),
            (a, b) => a.or(b),
        },
        Op::Elem(ElemOp::Max) if side == Side::Least => match (of(0, side), of(1, side)) {
            (Some(a), Some(b)) => Some(Size::Max(a.into(), b.into())),
            (a, b) => a.or(b),
        },
        Op::Elem(ElemOp::Min) => Some(Size::Min(of(0, side)?.into(), of(1, side)?.into())),
        Op::Elem(ElemOp::Max) => Some(Size::Max(of(0, side)?.into(), of(1, side)?.into())),
        // By a positive constant; `cdiv(a, b)` is such a division too.
        Op::Elem(ElemOp::Div) => match graph.int(inputs[1]) {
            Some(by) if by > 0 => Some(Size::FloorDiv(of(0, side)?.into(), Size::Const(by).into())),
            _ => None,
        },
        Op::Elem(ElemOp::Mul) if (0..2).all(|n| of(n, Side::Least).is_some_and(|s| never_negative(&s))) => {
            Some(Size::Mul(of(0, side)?.into(), of(1, side)?.into()))
        }
        Op::Elem(ElemOp::Mul) => {
            let positive = |n: usize| graph.int(inputs[n]).filter(|&c| c > 0);
            let (at, by) = positive(0).map(|c| (1, c)).or_else(|| positive(1).map(|c| (0, c)))?;
            Some(Size::Mul(of(at, side)?.into(), Size::Const(by).into()))
        }
        _ => None,
    }
}

/// Whether a size cannot be negative, by its form: dimensions are not.
fn never_negative(size: &Size) -> bool {
    match size {
        Size::Const(v) => *v >= 0,
        Size::Name(_) => true,
        Size::Add(a, b)
        | Size::Mul(a, b)
        | Size::FloorDiv(a, b)
        | Size::CeilDiv(a, b)
        | Size::Mod(a, b)
        | Size::Min(a, b) => never_negative(a) && never_negative(b),
        Size::Max(a, b) => never_negative(a) || never_negative(b),
        Size::Sub(..) => false,
    }
}

/// An index scalar as a size over the dimensions.
pub fn size(graph: &Graph, value: Value) -> Option<Size> {
    let inputs = graph.inputs(value.node);
    let two = |make: fn(Box<Size>, Box<Size>) -> Size| {
        Some(make(size(graph, inputs[0])?.into(), size(graph, inputs[1])?.into()))
    };
    match &graph.node(value.node).op {
        Op::Const(Literal::Int(v)) => Some(Size::Const(*v)),
        Op::Dim(d) => graph.signature.dims.get(*d as usize).map(Size::name),
        Op::Elem(ElemOp::Add) => two(Size::Add),
        Op::Elem(ElemOp::Sub) => two(Size::Sub),
        Op::Elem(ElemOp::Mul) => two(Size::Mul),
        Op::Elem(ElemOp::Div) => two(Size::FloorDiv),
        Op::Elem(ElemOp::Rem) => two(Size::Mod),
        Op::Elem(ElemOp::Min) => two(Size::Min),
        Op::Elem(ElemOp::Max) => two(Size::Max),
        _ => None,
    }
}
