//! Padded extents of tiles, and what is known to divide an index.
//!
//! Registers come in blocks, so a layout may cover more positions than an axis has. In a graph with dots every axis
//! is padded to 16, the step of the matrix instructions, so that all layouts of a value cover the same depth.

use crate::plan::TensorClass;
use std::collections::BTreeMap;
use tile_base::Size;
use tile_graph::{Axis, ElemOp, Graph, Iter, Literal, Op, StepSize, TileBinding, Value, ValueType};

pub struct Shapes<'a> {
    pub graph: &'a Graph,
    pub binding: &'a TileBinding,
    pub has_dots: bool,
    /// Known divisors of run-time dimensions.
    dims: BTreeMap<u32, u64>,
}

impl<'a> Shapes<'a> {
    pub fn new(graph: &'a Graph, binding: &'a TileBinding, classes: &[TensorClass]) -> Self {
        let has_dots = graph.node_ids().any(|n| matches!(graph.node(n).op, Op::Dot(_)));
        let mut dims = BTreeMap::new();
        for (object, class) in graph.objects.iter().zip(classes) {
            let TensorClass::Vector { unit, bytes } = class else { continue };
            let Some(Size::Name(name)) = object.shape.get(*unit) else { continue };
            let Some(dim) = graph.signature.dims.iter().position(|d| d == name) else { continue };
            let elements = u64::from(*bytes) * 8 / object.dtype.bits() as u64;
            let known = dims.entry(dim as u32).or_insert(1);
            *known = (*known).max(elements);
        }
        Shapes { graph, binding, has_dots, dims }
    }

    /// Positions along an axis that layouts cover. The tile sizes are bound.
    pub fn padded(&self, axis: Axis) -> u32 {
        let capacity = self.binding.capacity(self.graph, axis).unwrap_or(1).clamp(1, 1 << 24) as u32;
        match axis {
            Axis::One => 1,
            _ if self.has_dots => capacity.next_multiple_of(16),
            _ => capacity,
        }
    }

    pub fn extents(&self, ty: &ValueType) -> Vec<u32> {
        ty.axes.iter().map(|&a| self.padded(a)).collect()
    }

    /// A number that divides the index, whatever the launch; 0 when the index is 0.
    pub fn divisor(&self, value: Value) -> u64 {
        let node = self.graph.node(value.node);
        let inputs = self.graph.inputs(value.node);
        match &node.op {
            Op::Const(Literal::Int(v)) => v.unsigned_abs(),
            Op::Dim(d) => self.dims.get(d).copied().unwrap_or(1),
            Op::Elem(ElemOp::Add | ElemOp::Sub | ElemOp::Min | ElemOp::Max) => {
                gcd(self.divisor(inputs[0]), self.divisor(inputs[1]))
            }
            Op::Elem(ElemOp::Mul) => self.divisor(inputs[0]).saturating_mul(self.divisor(inputs[1])),
            Op::MakeSpan { span } => {
                let (lo, hi) = (self.divisor(inputs[0]), self.divisor(inputs[1]));
                if value.port == 0 { lo } else { gcd(gcd(lo, self.step(self.graph.span(*span).step)), hi) }
            }
            Op::RegionArgs => self.loop_variable(value),
            _ => 1,
        }
    }

    fn loop_variable(&self, value: Value) -> u64 {
        let region = self.graph.node(value.node).region;
        let Some(owner) = self.graph.region(region).owner else { return 1 };
        let iter = match &self.graph.node(owner).op {
            Op::Par(p) => p.iter,
            Op::For(f) => f.iter,
            _ => return 1,
        };
        let Iter::Tiles { step, .. } = iter else { return 1 };
        let bounds = self.graph.inputs(owner);
        let start = gcd(self.divisor(bounds[0]), self.step(step));
        match value.port {
            0 => start,
            1 => gcd(start, self.divisor(bounds[1])),
            _ => 1,
        }
    }

    fn step(&self, step: StepSize) -> u64 {
        self.binding.step(step).unwrap_or(1)
    }

    /// A number that divides the number of elements along an axis.
    pub fn extent_divisor(&self, axis: Axis) -> u64 {
        match axis {
            Axis::One => 1,
            Axis::Fixed(n) => n,
            Axis::Span { span, times } => {
                let def = self.graph.span(span);
                gcd(self.divisor(def.start), self.divisor(def.end)).saturating_mul(times)
            }
        }
    }
}

pub fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
