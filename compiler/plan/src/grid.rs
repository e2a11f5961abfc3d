//! Launch geometry: the nest of `par` axes as a one-dimensional grid.
//!
//! Blocks are numbered along one dimension (the other two end at 65,535), last `par` axis fastest. The number of
//! instances along each axis is a size over the kernel's dimensions, so that a launcher computes it without the
//! graph. Where a bound depends on what the device holds (`off[e]..off[e + 1]`) the host launches as many blocks as the
//! types allow, and a block whose instance does not exist ends at once.

use crate::plan::GridAxis;
use tile_base::{Diagnostic, Size};
use tile_graph::{Graph, Iter, Op, TileBinding, facts::extent};

pub fn grid(graph: &Graph, binding: &TileBinding) -> Result<Vec<GridAxis>, Vec<Diagnostic>> {
    let mut axes = vec![];
    for par in graph.par_nest() {
        let node = graph.node(par);
        let Op::Par(p) = &node.op else { continue };
        let bounds = graph.inputs(par);
        let exact = extent::length(graph, bounds[0], bounds[1]);
        let most = extent::longest(graph, bounds[0], bounds[1]);
        let ragged = exact.is_none();
        let Some(length) = exact.or(most) else {
            return Err(vec![
                Diagnostic::error(
                    "T0723",
                    node.span,
                    format!("the host cannot bound `par {}` before it has seen device data", p.name),
                )
                .label("not lowered yet by the PTX backend: a grid without a greatest size")
                .help(
                    "use bounds from dimensions, from `count<N>` or `offsets<N>` tensors, or a loop inside",
                ),
            ]);
        };
        let count = match p.iter {
            Iter::Each { .. } => length,
            Iter::Tiles { step, .. } => {
                let step = binding.step(step).unwrap_or(1) as i64;
                Size::CeilDiv(length.into(), Size::Const(step).into())
            }
        };
        axes.push(GridAxis { name: p.name.clone(), par, count, ragged });
    }
    Ok(axes)
}
