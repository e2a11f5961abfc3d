//! Launch geometry: the nest of `par` axes as a one-dimensional grid.
//!
//! Blocks are numbered along one dimension (the other two end at 65,535), last `par` axis fastest. The number of
//! instances along each axis is a size over the kernel's dimensions, so that a launcher computes it without the
//! graph.

use crate::plan::GridAxis;
use tile_base::{Diagnostic, Size};
use tile_graph::{ElemOp, Graph, Iter, Literal, Op, TileBinding, Value};

pub fn grid(graph: &Graph, binding: &TileBinding) -> Result<Vec<GridAxis>, Vec<Diagnostic>> {
    let mut axes = vec![];
    for par in graph.par_nest() {
        let node = graph.node(par);
        let Op::Par(p) = &node.op else { continue };
        let bounds = graph.inputs(par);
        let (Some(lo), Some(hi)) = (size(graph, bounds[0]), size(graph, bounds[1])) else {
            return Err(vec![
                Diagnostic::error(
                    "T0723",
                    node.span,
                    format!("the bounds of `par {}` depend on device data or on an outer axis", p.name),
                )
                .label("not lowered yet by the PTX backend: a grid whose size the host does not know")
                .help("use bounds over the kernel's dimensions, and a loop inside"),
            ]);
        };
        let length = if lo == Size::Const(0) { hi } else { Size::Sub(hi.into(), lo.into()) };
        let count = match p.iter {
            Iter::Each { .. } => length,
            Iter::Tiles { step, .. } => {
                let step = binding.step(step).unwrap_or(1) as i64;
                Size::CeilDiv(length.into(), Size::Const(step).into())
            }
        };
        axes.push(GridAxis { name: p.name.clone(), par, count });
    }
    Ok(axes)
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
