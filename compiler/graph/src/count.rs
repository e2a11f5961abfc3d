//! How much a graph computes and moves, for given dims and tile sizes: the coordinates of a roofline.
//!
//! Trip counts come from the loops' bounds, extents are averages over a loop's steps (so that the tails of all steps
//! add up to the range exactly), and the share of steps that a `skip` claim passes over is measured on a grid of
//! positions. What depends on data is estimated: a `count<N>` as N, a group of an `offsets<N>` tensor as N over the
//! number of groups, the arms of an `if` half each.
//!
//! ```
//! use tile_graph::{TileBinding, count, samples};
//! let g = samples::matmul(tile_base::DType::F32);
//! let dims = [64, 32, 48]; // M, K, N
//! let work = count(&g, &dims, &TileBinding::uniform(&g, 16));
//! assert_eq!(work.dot_flops, (2 * 64 * 32 * 48) as f64);
//! // Every row tile is read once for each of the 3 column tiles, and the other way round.
//! assert_eq!(work.bytes_read, (4 * (64 * 32 * 3 + 32 * 48 * 4)) as f64);
//! assert_eq!(work.bytes_written, (4 * 64 * 48) as f64);
//! ```

use crate::{access::Access, binding::TileBinding, ir::*, op::*};
use std::collections::HashMap;
use tile_base::IndexKind;

/// Sums over the whole launch.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Work {
    /// Float operations outside dots, transcendentals not counted.
    pub flops: f64,
    /// Multiplications and additions of dots, two per product.
    pub dot_flops: f64,
    /// Evaluations of exp, log, sqrt, tanh and the like.
    pub transcendental: f64,
    /// Bytes that loads ask for, before any cache.
    pub bytes_read: f64,
    /// Bytes that stores and accumulations write.
    pub bytes_written: f64,
    /// Bytes of all tensors that are touched, each once: what has to move even with a perfect cache.
    pub footprint: f64,
    pub instances: f64,
}

impl Work {
    /// Float operations per byte that has to move.
    pub fn intensity(&self) -> f64 {
        (self.flops + self.dot_flops) / self.footprint.max(1.0)
    }
}

/// Counts the work of one launch. Tile sizes that `tiles` does not bind count as 64.
pub fn count(graph: &Graph, dims: &[i64], tiles: &TileBinding) -> Work {
    let mut c =
        Counter { graph, dims, tiles, known: HashMap::new(), extent: HashMap::new(), work: Work::default() };
    c.region(ROOT, 1.0);
    let mut touched = vec![false; graph.objects.len()];
    for node in graph.node_ids() {
        if let Some(a) = graph.node(node).op.access() {
            touched[a.object.index()] = true;
        }
    }
    let lookup =
        |name: &str| graph.signature.dims.iter().position(|d| d == name).and_then(|at| dims.get(at).copied());
    for (object, _) in graph.objects.iter().zip(touched).filter(|(_, t)| *t) {
        let elements: f64 =
            object.shape.iter().map(|s| s.eval(&lookup).map_or(1.0, |v| v.max(0) as f64)).product();
        c.work.footprint += elements * object.dtype.bits() as f64 / 8.0;
    }
    c.work
}

struct Counter<'a> {
    graph: &'a Graph,
    dims: &'a [i64],
    tiles: &'a TileBinding,
    /// Values of loop variables at the position that stands for all.
    known: HashMap<Value, f64>,
    /// Average extent of each span.
    extent: HashMap<SpanId, f64>,
    work: Work,
}

/// Positions per axis of the grid on which skips are measured.
const GRID: usize = 16;

impl Counter<'_> {
    fn region(&mut self, region: RegionId, times: f64) {
        for &node in &self.graph.region(region).nodes {
            self.node(node, times);
        }
    }

    fn node(&mut self, node: NodeId, times: f64) {
        let g = self.graph;
        let n = g.node(node);
        let inputs = g.inputs(node);
        let size = |c: &Self, t: &ValueType| -> f64 { t.axes.iter().map(|a| c.axis(*a)).product() };
        let out = n.outputs.first().map_or(0.0, |t| size(self, t)) * times;
        let float = n.outputs.first().is_some_and(|t| t.dtype.is_float());
        match &n.op {
            Op::Par(p) => {
                let steps = self.enter(p.iter, p.body, &inputs, 0.5);
                if !g.region(p.body).nodes.iter().any(|&n| matches!(g.node(n).op, Op::Par(_))) {
                    self.work.instances += times * steps;
                }
                self.region(p.body, times * steps);
            }
            Op::For(f) => {
                let share = f.skip.map_or(1.0, |skip| self.share(node, f, skip));
                let steps = self.enter(f.iter, f.body, &inputs, 0.5);
                self.region(f.body, times * steps * share);
            }
            Op::While { condition, body } => {
                self.region(*condition, times);
                self.region(*body, times);
            }
            Op::If { then, otherwise } => {
                self.region(*then, times / 2.0);
                self.region(*otherwise, times / 2.0);
            }
            Op::Elem(e) if float || e.is_predicate() => match e {
                ElemOp::Exp
                | ElemOp::Exp2
                | ElemOp::Log
                | ElemOp::Log2
                | ElemOp::Sqrt
                | ElemOp::Rsqrt
                | ElemOp::Sin
                | ElemOp::Cos
                | ElemOp::Tanh
                | ElemOp::Erf
                | ElemOp::Pow => {
                    self.work.transcendental += out;
                }
                _ if inputs.iter().any(|&v| g.type_of(v).dtype.is_float()) => self.work.flops += out,
                _ => {}
            },
            Op::Dot(d) => {
                let k = g.type_of(inputs[0]).axes.get(d.lhs_k as usize).map_or(1.0, |a| self.axis(*a));
                self.work.dot_flops += 2.0 * out * k;
            }
            Op::Reduce { .. } | Op::Scan { .. } | Op::ReduceWith { .. } if float => {
                self.work.flops += inputs.first().map_or(0.0, |&v| size(self, g.type_of(v))) * times;
            }
            Op::Load(a) => self.work.bytes_read += out * self.bytes(a),
            Op::Store { access, .. } | Op::Accumulate(access) => {
                let stored = size(self, g.type_of(inputs[0])) * times;
                self.work.bytes_written += stored * self.bytes(access);
            }
            _ => {}
        }
    }

    fn bytes(&self, access: &Access) -> f64 {
        self.graph.object(access.object).dtype.bits() as f64 / 8.0
    }

    fn axis(&self, axis: Axis) -> f64 {
        match axis {
            Axis::One => 1.0,
            Axis::Fixed(n) => n as f64,
            Axis::Span { span, times } => {
                let step = self.step(self.graph.span(span).step);
                self.extent.get(&span).copied().unwrap_or(step) * times as f64
            }
        }
    }

    fn step(&self, step: StepSize) -> f64 {
        self.tiles.step(step).unwrap_or(64) as f64
    }

    /// Puts a loop's variables at a fraction of its range; the number of its steps.
    fn enter(&mut self, iter: Iter, body: RegionId, inputs: &[Value], fraction: f64) -> f64 {
        let length = self.length(inputs[0], inputs[1]).max(0.0);
        let lo = self.value(inputs[0]).unwrap_or(0.0);
        let args = self.graph.region_args(body);
        match iter {
            Iter::Each { .. } => {
                self.known
                    .insert(args[0], (lo + fraction * length).floor().min(lo + (length - 1.0).max(0.0)));
                length
            }
            Iter::Tiles { step, span, .. } => {
                let step = self.step(step);
                let steps = (length / step).ceil();
                let number = (fraction * steps).floor().min((steps - 1.0).max(0.0));
                let start = lo + number * step;
                self.known.insert(args[0], start);
                self.known.insert(args[1], (start + step).min(lo + length));
                self.known.insert(args[2], number);
                self.extent.insert(span, if steps > 0.0 { length / steps } else { 0.0 });
                steps
            }
        }
    }

    fn length(&self, lo: Value, hi: Value) -> f64 {
        if let (Some((object, n)), Some((other, _))) = (self.offsets(lo), self.offsets(hi))
            && object == other
        {
            let groups = self.size(&self.graph.object(object).shape[0]).map_or(1.0, |s| (s - 1.0).max(1.0));
            return n / groups;
        }
        self.value(hi).unwrap_or(0.0) - self.value(lo).unwrap_or(0.0)
    }

    /// The total of an offsets tensor that a value is loaded from.
    fn offsets(&self, v: Value) -> Option<(ObjectId, f64)> {
        let Op::Load(a) = &self.graph.node(v.node).op else { return None };
        match &self.graph.object(a.object).index {
            Some(IndexKind::Offsets(n)) => Some((a.object, self.size(n)?)),
            _ => None,
        }
    }

    fn size(&self, size: &tile_base::Size) -> Option<f64> {
        let lookup = |name: &str| {
            self.graph.signature.dims.iter().position(|d| d == name).and_then(|at| self.dims.get(at).copied())
        };
        size.eval(&lookup).ok().map(|v| v as f64)
    }

    /// An index or a condition (as 0 or 1) at the present position; unknown beyond some depth.
    fn value(&self, v: Value) -> Option<f64> {
        self.value_within(v, 12)
    }

    fn value_within(&self, v: Value, depth: u32) -> Option<f64> {
        let depth = depth.checked_sub(1)?;
        if let Some(&known) = self.known.get(&v) {
            return Some(known);
        }
        let g = self.graph;
        let inputs = g.inputs(v.node);
        let of = |at: usize| self.value_within(inputs[at], depth);
        let truth = |b: bool| Some(f64::from(u8::from(b)));
        match &g.node(v.node).op {
            Op::Const(Literal::Int(c)) => Some(*c as f64),
            Op::Const(Literal::Bool(b)) => truth(*b),
            Op::Dim(d) => self.dims.get(*d as usize).map(|&d| d as f64),
            Op::Load(a) => match &g.object(a.object).index {
                Some(IndexKind::Count(n)) => self.size(n),
                Some(IndexKind::Offsets(n)) => self.size(n).map(|n| n / 2.0),
                _ => None,
            },
            Op::Elem(op) => Some(match op {
                ElemOp::Neg => -of(0)?,
                ElemOp::Not => 1.0 - of(0)?,
                ElemOp::Add => of(0)? + of(1)?,
                ElemOp::Sub => of(0)? - of(1)?,
                ElemOp::Mul => of(0)? * of(1)?,
                ElemOp::Div => (of(0)? / of(1)?).floor(),
                ElemOp::Rem => of(0)?.rem_euclid(of(1)?),
                ElemOp::Min | ElemOp::And => of(0)?.min(of(1)?),
                ElemOp::Max | ElemOp::Or => of(0)?.max(of(1)?),
                ElemOp::Lt => return truth(of(0)? < of(1)?),
                ElemOp::Le => return truth(of(0)? <= of(1)?),
                ElemOp::Gt => return truth(of(0)? > of(1)?),
                ElemOp::Ge => return truth(of(0)? >= of(1)?),
                ElemOp::Eq => return truth(of(0)? == of(1)?),
                ElemOp::Ne => return truth(of(0)? != of(1)?),
                _ => return None,
            }),
            _ => None,
        }
    }

    /// The share of a loop's steps that its skip claim leaves, over a grid of positions of this loop and of those
    /// around it (all of them at one fraction).
    fn share(&mut self, node: NodeId, f: &ForOp, skip: RegionId) -> f64 {
        let before = (self.known.clone(), self.extent.clone());
        let mut around = vec![];
        let mut region = self.graph.node(node).region;
        while let Some(owner) = self.graph.region(region).owner {
            around.push((owner, region));
            region = self.graph.node(owner).region;
        }
        around.reverse();
        let (mut kept, mut total) = (0.0, 0.0);
        for outer in 0..GRID {
            let fraction = (outer as f64 + 0.5) / GRID as f64;
            for &(owner, body) in &around {
                let iter = match &self.graph.node(owner).op {
                    Op::Par(p) => p.iter,
                    Op::For(f) => f.iter,
                    _ => continue,
                };
                let inputs = self.graph.inputs(owner);
                self.enter(iter, body, &inputs, fraction);
            }
            for inner in 0..GRID {
                let inputs = self.graph.inputs(node);
                self.enter(f.iter, skip, &inputs, (inner as f64 + 0.5) / GRID as f64);
                let skipped = self.graph.yields(skip).first().and_then(|&v| self.value(v));
                kept += 1.0 - skipped.unwrap_or(0.0);
                total += 1.0;
            }
        }
        (self.known, self.extent) = before;
        kept / total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use tile_base::DType;

    #[test]
    fn causal_attention_does_about_half() {
        // B, M, HQ, N, HK
        let dims = [1, 1024, 4, 1024, 4];
        let work = |causal| {
            let g = samples::flash(DType::F16, 64, causal);
            count(&g, &dims, &TileBinding::uniform(&g, 64))
        };
        let (full, causal) = (work(false), work(true));
        assert_eq!(full.dot_flops, 4.0 * 4.0 * 1024.0 * 1024.0 * 64.0);
        let ratio = causal.dot_flops / full.dot_flops;
        assert!((0.5..0.6).contains(&ratio), "{ratio}");
        assert_eq!(full.instances, 4.0 * 16.0);
    }

    #[test]
    fn tails_add_up_to_the_whole() {
        let g = samples::add(DType::F32);
        let work = count(&g, &[1000], &TileBinding::uniform(&g, 64));
        assert_eq!((work.flops, work.bytes_read, work.bytes_written), (1000.0, 8000.0, 4000.0));
        assert_eq!(work.footprint, 12000.0);
    }
}
