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
//! A workspace holds one value of each part and each instance: its dimensions are the parts, what the `par` axes run
//! over, and what is left of the value's axes. An axis along a `par` span is kept by position, not by tile, so that
//! both kernels choose their tiles freely. Elements that no instance has are never written and never read.
//!
//! Everything that the kernel does beside the loop (stores, sums, assertions) is done by the second launch alone.

use super::{Refused, cut::*};
use crate::{access::*, edit::*, facts, ir::*, op::*};
use tile_base::{Mode, Signature, Size, signature::ParamKind};

/// Free steps are cut at multiples of this, so that parts of contiguous dimensions begin where vectors begin.
const UNIT: u64 = 64;

/// The two kernels, and what lies between them.
pub struct Split {
    pub part: Graph,
    pub combine: Graph,
    /// The name of the dimension that counts the parts.
    pub parts: String,
    /// The last parameters of both kernels, in order; the part writes them, the combination reads them.
    pub workspaces: Vec<Workspace>,
}

/// A tensor between the launches; `shape[0]` is the number of parts, the others are sizes over the kernel's dimensions.
#[derive(Clone, PartialEq, Debug)]
pub struct Workspace {
    pub name: String,
    pub dtype: tile_base::DType,
    pub shape: Vec<Size>,
}

/// Splits the kernel at a loop that stands directly in its instances.
pub fn split_launches(graph: &Graph, node: NodeId) -> Result<Split, Refused> {
    let f = splittable(graph, node)?;
    let home = instance(graph, node, &f)?;
    let parts = unique(&graph.signature, &format!("{}_parts", f.name));
    let stored: Vec<Stored> = (0..graph.node(node).outputs.len() as u32)
        .map(|port| stored(graph, Value { node, port }))
        .collect::<Result<_, _>>()?;
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
    Ok(Split { part, combine, parts: split.parts, workspaces: split.workspaces })
}

/// The body of the innermost `par`, where the loop has to stand, with nothing in it that writes.
fn instance(graph: &Graph, node: NodeId, f: &ForOp) -> Result<RegionId, Refused> {
    let innermost = graph.par_nest().last().map(|&par| graph.node(par).op.clone());
    let Some(Op::Par(par)) = innermost else { return Err(Refused("has no `par` around it".into())) };
    if graph.node(node).region != par.body {
        return Err(Refused(format!("`{}` stands inside another loop or a branch", f.name)));
    }
    let effect = graph.nodes_under(f.body).into_iter().find(|&n| {
        let op = &graph.node(n).op;
        op.writes_memory() || matches!(op, Op::Assert { .. } | Op::Print { .. })
    });
    match effect {
        Some(n) => Err(Refused(format!("`{}` has a `{}` in its body", f.name, graph.node(n).op.name()))),
        None => Ok(par.body),
    }
}

/// A name that the signature does not have.
fn unique(signature: &Signature, wanted: &str) -> String {
    let taken = |n: &str| {
        signature.dims.iter().any(|d| d == n)
            || signature.params.iter().any(|p| p.name() == n)
            || signature.consts.iter().any(|(c, _)| c == n)
    };
    let mut name: String = wanted.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
    while taken(&name) {
        name.push('_');
    }
    name
}

/// How a carried value lies in its workspace.
struct Stored {
    ty: ValueType,
    /// One for each dimension after the parts.
    dims: Vec<(Size, Along)>,
}

/// What moves a dimension of a workspace.
#[derive(Clone, Copy)]
enum Along {
    /// The index of a `par` axis.
    Index(Value),
    /// Positions of a `par` span, `times` for each, along an axis of the value.
    Span { start: Value, times: u64, axis: u32 },
    /// Positions of another axis of the value.
    Axis(u32),
}

impl Stored {
    fn extents(&self) -> impl Iterator<Item = Size> + '_ {
        self.dims.iter().map(|(size, _)| size.clone())
    }

    /// The access of this value at part `p`; `ports` gains what it needs.
    fn access(
        &self,
        graph: &mut Graph,
        at: At,
        object: ObjectId,
        p: Value,
        ports: &mut Vec<Value>,
    ) -> Access {
        let mut port = |value| {
            ports.push(value);
            ports.len() as u32 - 1
        };
        let mut coords = vec![Coord::scalar(port(p), Check::Proven)];
        for &(_, along) in &self.dims {
            coords.push(match along {
                Along::Index(index) => Coord::scalar(port(index), Check::Proven),
                Along::Span { start, times: 1, axis } => Coord::along(axis, Some(port(start)), Check::Proven),
                Along::Span { start, times, axis } => {
                    let times = scalar(graph, at, Literal::Int(times as i64));
                    let base = index(graph, at, ElemOp::Mul, start, times);
                    Coord::along(axis, Some(port(base)), Check::Proven)
                }
                Along::Axis(axis) => Coord::along(axis, None, Check::Proven),
            });
        }
        Access { object, coords, otherwise: None, mask: None }
    }
}

fn stored(graph: &Graph, value: Value) -> Result<Stored, Refused> {
    let ty = graph.type_of(value).clone();
    let (mut dims, mut taken) = (vec![], vec![]);
    for par in graph.par_nest() {
        let Op::Par(p) = &graph.node(par).op else { continue };
        let range = graph.inputs(par);
        let most = facts::extent::bound(graph, range[1], facts::extent::Side::Greatest)
            .ok_or_else(|| Refused(format!("the host cannot bound `par {}`", p.name)))?;
        if !facts::nonnegative(graph, graph.node(par).region, range[0]) {
            return Err(Refused(format!("`par {}` may begin below 0", p.name)));
        }
        let args = graph.region_args(p.body);
        let Iter::Tiles { span, .. } = p.iter else {
            dims.push((most, Along::Index(args[0])));
            continue;
        };
        let along = ty.axes.iter().position(|a| matches!(a, Axis::Span { span: s, .. } if *s == span));
        let Some(axis) = along else {
            let message =
                format!("a carried value is one for each tile of `{}`, not for each position", p.name);
            return Err(Refused(message));
        };
        taken.push(axis);
        let Axis::Span { times, .. } = ty.axes[axis] else { continue };
        let size = if times == 1 { most } else { Size::Mul(most.into(), Size::Const(times as i64).into()) };
        dims.push((size, Along::Span { start: args[0], times, axis: axis as u32 }));
    }
    for (axis, kind) in ty.axes.iter().enumerate().filter(|(axis, _)| !taken.contains(axis)) {
        let extent = match *kind {
            Axis::One => continue,
            Axis::Fixed(n) => n,
            Axis::Span { span, times } => match graph.span(span).step {
                StepSize::Fixed(n) => n.saturating_mul(times),
                StepSize::Tile(_) => {
                    let name = &graph.span(span).name;
                    return Err(Refused(format!("a carried value has a free tile size along `{name}`")));
                }
            },
        };
        dims.push((Size::Const(extent as i64), Along::Axis(axis as u32)));
    }
    Ok(Stored { ty, dims })
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
        let suffix: String = self.f.name.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
        g.name = format!("{}_{suffix}_part", graph.name);
        self.keep_the_loop(&mut g)?;
        read_only_unless_written(&mut g);
        let dim = self.extend(&mut g, Mode::InOut);
        let (body, p) = self.axis_over_parts(&mut g, dim);
        let at = At { region: body, before: Some(self.node), span: g.node(self.node).span };
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
            let mut ports = vec![value];
            let object = self.object(&g, n);
            let access = stored.access(&mut g, at, object, p, &mut ports);
            insert(&mut g, at, Op::Store { access, unique: false }, vec![], &ports);
        }
        super::simplify(&mut g);
        Ok(g)
    }

    /// The second launch: the kernel with the loop over parts in the loop's place.
    fn combine(&self, graph: &Graph) -> Graph {
        let mut g = graph.clone();
        let dim = self.extend(&mut g, Mode::In);
        let span = g.node(self.node).span;
        let outputs = g.node(self.node).outputs.clone();
        let inputs = g.inputs(self.node);
        let at = At { region: self.home, before: Some(self.node), span };
        let zero = scalar(&mut g, at, Literal::Int(0));
        let count = insert(&mut g, at, Op::Dim(dim), vec![ValueType::index()], &[])[0];

        let body = g.add_region(RegionKind::Loop);
        let inside = At { region: body, before: None, span };
        let types: Vec<ValueType> = [ValueType::index()].into_iter().chain(outputs.clone()).collect();
        let args = insert(&mut g, inside, Op::RegionArgs, types, &[]);
        let mut part = vec![];
        for (n, stored) in self.stored.iter().enumerate() {
            let mut ports = vec![];
            let object = self.object(&g, n);
            let access = stored.access(&mut g, inside, object, args[0], &mut ports);
            part.extend(insert(&mut g, inside, Op::Load(access), vec![stored.ty.clone()], &ports));
        }
        let combined = combine(&mut g, inside, &self.f, &args[1..], &part);
        insert(&mut g, inside, Op::Yield, vec![], &combined);
        let name = format!("{}.combine", self.f.name);
        let op = ForOp {
            iter: Iter::Each { reverse: false },
            body,
            name: name.clone(),
            origin: LoopOrigin::Written,
            early_exit: false,
            skip: None,
            combine: LoopCombine::Ordered,
        };
        let new = NewNode { op: Op::For(op), outputs: outputs.clone(), path: Some(name), span };
        let outer = g.insert(self.home, Some(self.node), new, &[&[zero, count][..], &inputs[2..]].concat());
        for port in 0..outputs.len() as u32 {
            g.replace_uses(Value { node: self.node, port }, Value { node: outer, port });
        }
        g.remove(self.node);
        super::simplify(&mut g);
        g
    }

    /// Drops everything that the instances do beside the loop and what it needs.
    fn keep_the_loop(&self, g: &mut Graph) -> Result<(), Refused> {
        for node in g.region(self.home).nodes.clone().into_iter().rev() {
            let op = &g.node(node).op;
            if node == self.node || matches!(op, Op::RegionArgs | Op::Yield | Op::MakeSpan { .. }) {
                continue;
            }
            if g.outputs(node).any(|v| !g.uses(v).is_empty()) {
                let writes = |n: &NodeId| g.node(*n).op.writes_memory();
                if op.regions().iter().any(|&r| g.nodes_under(r).iter().any(writes)) {
                    return Err(Refused(format!(
                        "`{}` needs results of what also writes memory",
                        self.f.name
                    )));
                }
                continue;
            }
            g.remove(node);
        }
        Ok(())
    }

    /// Adds the dimension of the parts and the workspaces to a kernel. The dimension's position.
    fn extend(&self, g: &mut Graph, mode: Mode) -> u32 {
        let span = g.node(self.node).span;
        g.signature.dims.push(self.parts.clone());
        for w in &self.workspaces {
            let param = g.signature.params.len();
            g.signature.params.push(ParamKind::Tensor(tile_base::signature::TensorParam {
                name: w.name.clone(),
                mode,
                optional: false,
                present: true,
                dtype: w.dtype,
                index: None,
                shape: w.shape.clone(),
            }));
            g.objects.push(Object {
                name: w.name.clone(),
                param,
                dtype: w.dtype,
                mode,
                index: None,
                shape: w.shape.clone(),
                span,
            });
        }
        g.signature.dims.len() as u32 - 1
    }

    /// The object of workspace `n`: the workspaces are the last ones.
    fn object(&self, g: &Graph, n: usize) -> ObjectId {
        ObjectId::new(g.objects.len() - self.workspaces.len() + n)
    }

    /// A new innermost `par` axis around everything in the instance. Its body and its index.
    fn axis_over_parts(&self, g: &mut Graph, dim: u32) -> (RegionId, Value) {
        let span = g.node(self.node).span;
        let body = g.add_region(RegionKind::Par);
        let inside = At { region: body, before: None, span };
        let p = insert(g, inside, Op::RegionArgs, vec![ValueType::index()], &[])[0];
        for node in g.region(self.home).nodes.clone() {
            if !matches!(g.node(node).op, Op::RegionArgs | Op::Yield) {
                g.relocate(node, body, None);
            }
        }
        insert(g, inside, Op::Yield, vec![], &[]);
        let at = At { region: self.home, before: g.region(self.home).nodes.last().copied(), span };
        let zero = scalar(g, at, Literal::Int(0));
        let count = insert(g, at, Op::Dim(dim), vec![ValueType::index()], &[])[0];
        let par = ParOp { iter: Iter::Each { reverse: false }, body, name: format!("{}.part", self.f.name) };
        insert(g, at, Op::Par(par), vec![], &[zero, count]);
        (body, p)
    }
}

/// What this launch does not write any more it is only given.
fn read_only_unless_written(g: &mut Graph) {
    let nodes = g.nodes_under(ROOT);
    for at in 0..g.objects.len() {
        let id = ObjectId::new(at);
        let op = |n: &NodeId| &g.node(*n).op;
        let written =
            nodes.iter().any(|n| op(n).writes_memory() && op(n).access().is_some_and(|a| a.object == id));
        if !written {
            g.objects[at].mode = Mode::In;
            if let Some(ParamKind::Tensor(t)) = g.signature.params.get_mut(g.objects[at].param) {
                t.mode = Mode::In;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{laws::loop_named, print, samples};
    use tile_base::DType;

    fn split(g: &Graph, name: &str) -> Result<Split, Refused> {
        split_launches(g, loop_named(g, name).expect("a loop of the sample"))
    }

    #[test]
    fn a_split_product_is_two_kernels() {
        let Split { part, combine, .. } = split(&samples::matmul(DType::F32), "s").expect("a sum");
        insta::assert_snapshot!(format!("{}\n{}", print(&part), print(&combine)));
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
        let o = split.part.objects.iter().find(|o| o.name == "o").expect("the output");
        assert_eq!(o.mode, Mode::In);
    }

    #[test]
    fn names_that_are_taken_are_left_alone() {
        let mut g = samples::matmul(DType::F32);
        g.signature.dims.push("s_parts".into());
        assert_eq!(split(&g, "s").expect("a sum").parts, "s_parts_");
    }

    #[test]
    fn what_does_not_combine_is_refused() {
        let mut g = samples::matmul(DType::F32);
        let s = loop_named(&g, "s").expect("the stream");
        if let Op::For(f) = &mut g.node_mut(s).op {
            f.combine = LoopCombine::Ordered;
        }
        assert_eq!(split(&g, "s").err(), Some(Refused("`s` neither sums nor merges".into())));
    }
}
