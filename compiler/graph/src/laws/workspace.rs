//! What the laws that make several launches of a kernel have in common: tensors between the launches, and who writes what.
//!
//! A *workspace* holds one carried value for each instance and for each step of something else (the parts of a split
//! loop, the steps of a sliced one). Its dimensions are that step, what the `par` axes run over, and what is left of the
//! value's own axes:
//!
//! ```text
//! par b in B, i in tiles(M, BM)      acc: f32[i, 64]      W: f32[parts, B, M, 64]
//!                                                         W[p, b, i.start + @0, @1] = acc
//! ```
//!
//! An axis along a `par` span is kept by position, not by tile, so that the launches choose their tiles freely.
//! Elements that no instance has are never written and never read.

use super::{Refused, cut::*};
use crate::{access::*, facts, facts::extent, ir::*, op::*};
use tile_base::{DType, Mode, Signature, Size, Span, signature::ParamKind};

/// A kernel as several launches, the first of which fills the workspaces for the others.
pub struct Launches {
    pub graphs: Vec<Graph>,
    /// The dimension of all of them that the first extent of every workspace binds, when the host chooses it.
    pub parts: Option<String>,
    /// The last parameters of all of them, in order.
    pub workspaces: Vec<Workspace>,
}

/// A tensor between launches; its shape is over the dimensions of the kernel.
#[derive(Clone, PartialEq, Debug)]
pub struct Workspace {
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<Size>,
}

/// The body of the innermost `par`, where a loop has to stand that is to be taken apart.
pub(super) fn instance(graph: &Graph, node: NodeId) -> Result<RegionId, Refused> {
    let innermost = graph.par_nest().last().map(|&par| graph.node(par).op.clone());
    let Some(Op::Par(par)) = innermost else { return Err(Refused("has no `par` around it".into())) };
    match graph.node(node).region == par.body {
        true => Ok(par.body),
        false => Err(Refused("stands inside another loop or a branch".into())),
    }
}

/// Whether a node, or what it owns, does more than compute.
pub(super) fn has_effect(graph: &Graph, node: NodeId) -> bool {
    let own = |n: NodeId| {
        let op = &graph.node(n).op;
        op.writes_memory() || matches!(op, Op::Assert { .. } | Op::Print { .. })
    };
    own(node) || graph.node(node).op.regions().iter().any(|&r| graph.nodes_under(r).into_iter().any(own))
}

/// A name made of the wanted one that the signature does not have.
pub(super) fn unique(signature: &Signature, wanted: &str) -> String {
    let taken = |n: &str| {
        signature.dims.iter().any(|d| d == n)
            || signature.params.iter().any(|p| p.name() == n)
            || signature.consts.iter().any(|(c, _)| c == n)
    };
    let mut name = identifier(wanted);
    while taken(&name) {
        name.push('_');
    }
    name
}

/// `st.p` as a part of a name: `st_p`.
pub(super) fn identifier(path: &str) -> String {
    path.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect()
}

/// How a value lies in its workspace.
pub(super) struct Stored {
    pub ty: ValueType,
    /// One for each dimension after the first.
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
    pub fn extents(&self) -> impl Iterator<Item = Size> + '_ {
        self.dims.iter().map(|(size, _)| size.clone())
    }

    /// Of the value over all tiles of the `par` axis that moves one of its axes, so many positions from `start` on.
    pub fn positions(&self, axis: usize, start: Value, length: u64) -> Stored {
        let mut ty = self.ty.clone();
        ty.axes[axis] = crate::typing::fixed(length);
        let chosen = |along: &Along| match *along {
            Along::Span { axis: a, .. } if a as usize == axis => Along::Span { start, times: 1, axis: a },
            other => other,
        };
        Stored { ty, dims: self.dims.iter().map(|(size, along)| (size.clone(), chosen(along))).collect() }
    }

    /// Stores the value at `first`.
    pub fn store(&self, g: &mut Graph, at: At, object: ObjectId, first: Value, value: Value) {
        let mut ports = vec![value];
        let access = self.access(g, at, object, first, &mut ports);
        insert(g, at, Op::Store { access, unique: false }, vec![], &ports);
    }

    /// The value that was stored at `first`.
    pub fn load(&self, g: &mut Graph, at: At, object: ObjectId, first: Value) -> Value {
        let mut ports = vec![];
        let access = self.access(g, at, object, first, &mut ports);
        insert(g, at, Op::Load(access), vec![self.ty.clone()], &ports)[0]
    }

    /// The access of this value at `first`; `ports` gains what it needs.
    fn access(
        &self,
        graph: &mut Graph,
        at: At,
        object: ObjectId,
        first: Value,
        ports: &mut Vec<Value>,
    ) -> Access {
        let mut port = |value| {
            ports.push(value);
            ports.len() as u32 - 1
        };
        let mut coords = vec![Coord::scalar(port(first), Check::Proven)];
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

/// How a value of this type, of an instance, lies in a workspace.
pub(super) fn stored(graph: &Graph, ty: ValueType) -> Result<Stored, Refused> {
    stored_but_for(graph, ty, None)
}

/// The same, when what comes first tells the instances of one `par` axis apart.
pub(super) fn stored_but_for(graph: &Graph, ty: ValueType, told: Option<NodeId>) -> Result<Stored, Refused> {
    let (mut dims, mut taken) = (vec![], vec![]);
    for par in graph.par_nest().into_iter().filter(|&par| Some(par) != told) {
        let Op::Par(p) = &graph.node(par).op else { continue };
        let range = graph.inputs(par);
        let most = extent::bound(graph, range[1], extent::Side::Greatest)
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

/// Gives a kernel the workspaces as its last parameters; the first one's object.
pub(super) fn extend(g: &mut Graph, workspaces: &[Workspace], mode: Mode, span: Span) -> ObjectId {
    let first = ObjectId::new(g.objects.len());
    for w in workspaces {
        let param = g.signature.params.len();
        g.signature.params.push(ParamKind::Tensor(tile_base::signature::TensorParam {
            name: w.name.clone(),
            mode,
            optional: false,
            present: true,
            dtype: w.dtype,
            index: None,
            distinct: false,
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
    first
}

/// The same with a dimension that counts the parts. Its position, and the first workspace's object.
pub(super) fn extend_by_parts(
    g: &mut Graph,
    parts: &str,
    workspaces: &[Workspace],
    mode: Mode,
    span: Span,
) -> (u32, ObjectId) {
    g.signature.dims.push(parts.to_string());
    (g.signature.dims.len() as u32 - 1, extend(g, workspaces, mode, span))
}

/// How many steps a loop or `par` axis has at most, by the numbers that workspaces keep them by: the index itself, or the
/// number of the tile.
pub(super) fn steps(graph: &Graph, node: NodeId) -> Result<Size, Refused> {
    let (Op::For(ForOp { iter, name, .. }) | Op::Par(ParOp { iter, name, .. })) = &graph.node(node).op else {
        return Err(Refused("is no loop".into()));
    };
    let range = graph.inputs(node);
    let unbounded = || Refused(format!("goes over `{name}`, which the host cannot bound"));
    match iter {
        Iter::Each { .. } if !facts::nonnegative(graph, graph.node(node).region, range[0]) => {
            Err(Refused(format!("goes over `{name}`, which may begin below 0")))
        }
        Iter::Each { .. } => extent::bound(graph, range[1], extent::Side::Greatest).ok_or_else(unbounded),
        Iter::Tiles { step: StepSize::Fixed(n), .. } => {
            let length = extent::length(graph, range[0], range[1])
                .or_else(|| extent::longest(graph, range[0], range[1]))
                .ok_or_else(unbounded)?;
            Ok(Size::CeilDiv(length.into(), Size::Const(*n as i64).into()))
        }
        Iter::Tiles { .. } => Err(Refused(format!("goes over `{name}` by steps of a free size"))),
    }
}

/// Drops what an instance does after a node; what stands before it.
pub(super) fn drop_after(g: &mut Graph, home: RegionId, node: NodeId) -> Vec<NodeId> {
    let mut nodes = g.region(home).nodes.clone();
    let at = nodes.iter().position(|&n| n == node).unwrap_or(nodes.len());
    for later in nodes.split_off(at).into_iter().skip(1).rev() {
        if !matches!(g.node(later).op, Op::Yield) {
            g.remove(later);
        }
    }
    nodes
}

/// Drops every node of an instance that does something or is not used, but for `kept`. Refused when a result of what
/// writes memory is still needed.
pub(super) fn drop_effects(g: &mut Graph, nodes: &[NodeId], kept: NodeId) -> Result<(), Refused> {
    for &node in nodes.iter().rev() {
        if node == kept || matches!(g.node(node).op, Op::RegionArgs | Op::Yield | Op::MakeSpan { .. }) {
            continue;
        }
        if g.outputs(node).all(|v| g.uses(v).is_empty()) {
            g.remove(node);
        } else if has_effect(g, node) {
            return Err(Refused("needs results of what also writes memory".into()));
        }
    }
    Ok(())
}

/// What this launch does not write any more it is only given.
pub(super) fn read_only_unless_written(g: &mut Graph) {
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
