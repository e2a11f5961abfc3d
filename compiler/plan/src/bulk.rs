//! Which loads the copy engine (TMA) does: one thread asks for a box of a tensor, and it arrives in shared memory where
//! the reads of a dot want it, with zeros for what lies outside of the tensor. No registers, no predicates, no addresses.
//!
//! A schedule asks (`place k tma;`); what is asked for and cannot be is told with its reason (T0607), an error under
//! `require`. A load qualifies when
//!
//! 1. only dots use its value, so that nobody needs it in registers;
//! 2. it is a box: each axis of the tile runs along one dimension of the tensor, with stride 1, nothing is gathered;
//! 3. zeros stand where a dot relies on them: along a contracted axis, past the end of the tile, is past the end of the
//!    tensor too. Along the other axes a tile may end anywhere: what lies there makes rows of the result that nobody uses;
//! 4. the launch's tensor can be described: base and strides in multiples of 16 bytes ([`Template::of`]; asked before
//!    each launch, and answered by a plan without this load where it does not hold).
//!
//! In a loop the tile of the next step is fetched while this one is worked on, into the other half of a buffer twice as
//! large, where the next step is known early: bases of the load are the loop's position or do not change in it, and
//! whether the step is passed over follows from scalars without a look at memory. Where two tiles do not fit shared
//! memory, the buffer has room for one, which is fetched when it is needed.
//!
//! Worked example, `k[b, j, g, :]` over `k: f16[B, N, HK, 64]` with 32 keys a step, used as `q @ k.t`: a box of 64 x 1 x
//! 32 x 1, innermost first, at (0, g, j.start, b). Channels are contracted, and 64 is all there are. Keys are not: the
//! last step may take what it likes.

use crate::{Request, convert::Claims, dots::fed, plan::*, shape::Shapes};
use std::collections::BTreeMap;
use tile_base::{DType, Diagnostic, Mode, Size, Span};
use tile_graph::{Access, Axis, Check, CoordIndex, Graph, Iter, Literal, NodeId, Op, ROOT, Value, ValueType};
use tile_layout::SharedLayout;
use tile_machine::{
    Swizzle,
    tensor_map::{ElementType, Fill, L2Promotion, MAX_RANK, Template},
};
use tile_target::Target;

/// The greatest extent of a box.
const MOST_ROWS: u32 = 256;

/// `place PATH tma;`
#[derive(Clone, Debug)]
pub struct Wish {
    /// A tensor, all of whose loads are meant, or a `let` that holds a load.
    pub path: String,
    pub span: Span,
    /// `require place PATH;`
    pub required: bool,
}

/// What the copy engine is to do.
#[derive(Default)]
pub struct Bulk {
    /// How each load's box is made. The tile's rows may be more once its dots are known.
    pub loads: BTreeMap<NodeId, Load>,
    /// Wishes that are not granted.
    pub refused: Vec<Diagnostic>,
    /// Whether tiles may be fetched one step ahead.
    pub may_be_ahead: bool,
}

impl Bulk {
    /// The loop around a load, where each of its steps can fetch the tile of the next one.
    pub fn ahead(&self, g: &Graph, load: NodeId) -> Option<NodeId> {
        let owner = g.region(g.node(load).region).owner.filter(|_| self.may_be_ahead)?;
        let Op::For(f) = &g.node(owner).op else { return None };
        let forward = match f.iter {
            Iter::Each { reverse } | Iter::Tiles { reverse, .. } => !reverse && !f.early_exit,
        };
        let early = f.skip.is_none_or(|skip| g.nodes_under(skip).iter().all(|&n| harmless(g, n)));
        let inside = g.nodes_under(f.body);
        let start = g.region_args(f.body)[0];
        let known =
            |v: Value| v == start || !inside.contains(&v.node) || matches!(g.node(v.node).op, Op::Const(_));
        (forward && early && g.inputs(load).into_iter().all(known)).then_some(owner)
    }

    /// A tensor that nothing but the copy engine reads may have any extent: nobody relies on whole vectors of it.
    pub fn classes(&self, g: &Graph, classes: &[TensorClass]) -> Vec<TensorClass> {
        let alone = |object: usize| {
            let of = |n: NodeId| g.node(n).op.access().is_some_and(|a| a.object.index() == object);
            let mut readers = g.nodes_under(ROOT).into_iter().filter(|&n| of(n)).peekable();
            readers.peek().is_some() && readers.all(|n| self.loads.contains_key(&n))
        };
        let lowered = |(object, class): (usize, &TensorClass)| match class {
            TensorClass::Vector { unit, .. } if alone(object) => TensorClass::Unit { unit: *unit },
            class => *class,
        };
        classes.iter().enumerate().map(lowered).collect()
    }
}

/// Whether a node of a `skip` predicate may be asked of a step that there may not be: no scalar is read for it, and of tiles
/// only what the step's span has, which then is nothing. Tiles from outside would have to be exchanged between warps.
fn harmless(g: &Graph, node: NodeId) -> bool {
    let n = g.node(node);
    let scalar = n.outputs.iter().all(|t| t.is_scalar());
    let along = |t: &ValueType| t.axes.iter().any(|a| matches!(a, Axis::Span { .. }));
    let own = |v: &Value| g.type_of(*v).is_scalar() || g.node(v.node).region == n.region;
    n.op.regions().is_empty()
        && g.inputs(node).iter().all(own)
        && match n.op {
            Op::Load(_) => n.outputs.iter().all(along),
            Op::Reduce { .. } | Op::Elem(_) | Op::Cast | Op::Iota => true,
            Op::Broadcast | Op::Reshape { .. } | Op::Permute { .. } => true,
            _ => scalar && n.op.access().is_none(),
        }
}

/// A load that qualifies.
#[derive(Clone, Debug)]
pub struct Load {
    pub element: ElementType,
    /// The tensor's dimensions, innermost first.
    pub order: Vec<usize>,
    /// By dimension of the map, the axis of the tile that runs along it.
    pub axes: Vec<Option<usize>>,
    /// The axis that is contiguous.
    pub fast: usize,
    /// How many dots read it.
    pub users: usize,
}

/// Loads that a request wants from the copy engine, as far as they qualify.
pub fn loads(
    s: &Shapes,
    target: &Target,
    classes: &[TensorClass],
    request: &Request,
    may_be_ahead: bool,
) -> Bulk {
    let g = s.graph;
    let mut out = Bulk { may_be_ahead, ..Bulk::default() };
    for wish in &request.bulk {
        let found = named(g, &wish.path);
        let mut reasons: Vec<String> = vec![];
        if found.is_empty() {
            reasons.push("no load has this name".into());
        }
        for node in found {
            match qualifies(s, target, classes, request, node) {
                Ok(load) => {
                    out.loads.insert(node, load);
                }
                Err(why) if reasons.contains(&why) => {}
                Err(why) => reasons.push(why),
            }
        }
        out.refused.extend(reasons.into_iter().map(|why| wish.refused(&why)));
    }
    out
}

/// Loads of a tensor, or the one that a `let` holds.
fn named(g: &Graph, path: &str) -> Vec<NodeId> {
    let of = |&n: &NodeId| {
        let Op::Load(access) = &g.node(n).op else { return false };
        !g.in_claim(n) && (g.object(access.object).name == path || g.node(n).path.as_deref() == Some(path))
    };
    g.nodes_under(ROOT).into_iter().filter(of).collect()
}

/// Whether a graph has something that `place PATH` can mean.
pub fn names_a_load(g: &Graph, path: &str) -> bool {
    !named(g, path).is_empty()
}

impl Wish {
    fn refused(&self, why: &str) -> Diagnostic {
        let message = format!("`{}` is not loaded by the copy engine: {why}", self.path);
        let d = match self.required {
            true => Diagnostic::error("T0607", self.span, message),
            false => Diagnostic::note_at("T0607", self.span, message),
        };
        d.help("the kernel computes the same without it; `require place` makes this an error")
    }
}

fn qualifies(
    s: &Shapes,
    target: &Target,
    classes: &[TensorClass],
    request: &Request,
    node: NodeId,
) -> Result<Load, String> {
    let g = s.graph;
    let Op::Load(access) = &g.node(node).op else { return Err("it is no load".into()) };
    let object = g.object(access.object);
    if !target.tensor_maps {
        return Err(format!("{} has no tensor maps", target.name));
    }
    if let Some(why) = request.no_map.get(&object.name) {
        return Err(why.clone());
    }
    if object.mode != Mode::In {
        return Err("the kernel writes to this tensor".into());
    }
    let uses = uses(g, Value { node, port: 0 }, [0, 1])?;
    let element = element(object.dtype, g.node(node).outputs[0].dtype)?;
    let unit = classes[access.object.index()].unit().ok_or("its elements lie at any strides")?;
    let axes = axes(g, node, access)?;
    let Some(fast) = axes[unit] else {
        return Err(format!(
            "the tile does not run along dimension {unit}, where its elements lie side by side"
        ));
    };
    for depth in uses.iter().map(|u| u.depth) {
        ends_in_zeros(s, node, access, &axes, depth)?;
    }
    let rows = s.padded(g.node(node).outputs[0].axes[1 - fast]);
    if rows > MOST_ROWS {
        return Err(format!("{rows} rows are more than the {MOST_ROWS} of a box"));
    }
    let rest = (0..axes.len()).rev().filter(|&d| d != unit);
    let order: Vec<usize> = [unit].into_iter().chain(rest).collect();
    let axes = order.iter().map(|&d| axes[d]).collect();
    Ok(Load { element, order, axes, fast, users: uses.len() })
}

/// A dot that reads a load.
struct Use {
    /// The axis of the load's tile that is contracted.
    depth: usize,
}

/// All uses, through transpositions; `axes` says which axis of the load each axis of the value is.
fn uses(g: &Graph, value: Value, axes: [usize; 2]) -> Result<Vec<Use>, String> {
    if g.type_of(value).axes.len() != 2 {
        return Err("it is no matrix".into());
    }
    let mut out = vec![];
    for (user, port) in g.uses(value) {
        match &g.node(user).op {
            Op::Dot(d) if d.lhs_batch.is_empty() => {
                let depth = if port == 0 { d.lhs_k } else { d.rhs_k };
                out.push(Use { depth: axes[depth as usize] });
            }
            Op::Permute { order } if order[..] == [1, 0] => {
                out.extend(uses(g, Value { node: user, port: 0 }, [axes[1], axes[0]])?);
            }
            op => return Err(format!("`{}` uses it too, in registers", op.name())),
        }
    }
    if out.is_empty() { Err("no dot uses it".into()) } else { Ok(out) }
}

/// Elements reach shared memory as they are, and as the instruction takes them.
fn element(stored: DType, used: DType) -> Result<ElementType, String> {
    let known = match stored {
        DType::F16 => Some(ElementType::F16),
        DType::Bf16 => Some(ElementType::Bf16),
        DType::F32 => Some(ElementType::F32),
        DType::F64 => Some(ElementType::F64),
        _ => None,
    };
    known
        .filter(|_| stored == used && fed(stored) == stored)
        .ok_or_else(|| format!("elements of {stored} are converted on their way"))
}

/// By dimension of the tensor, the axis of the tile that runs along it.
fn axes(g: &Graph, node: NodeId, access: &Access) -> Result<Vec<Option<usize>>, String> {
    if access.mask.is_some() || access.otherwise.is_some() {
        return Err("it has a mask of its own".into());
    }
    if access.coords.len() > MAX_RANK {
        return Err(format!("a tensor map has at most {MAX_RANK} dimensions"));
    }
    let mut out = vec![];
    for (dim, coord) in access.coords.iter().enumerate() {
        if coord.lo.is_some() || coord.hi.is_some() {
            return Err(format!("dimension {dim} has limits inside of the tensor"));
        }
        if !matches!(coord.check, Check::Proven | Check::AtLaunch) {
            return Err(format!("the subscript of dimension {dim} is checked in place"));
        }
        out.push(match &coord.index {
            CoordIndex::Affine { terms, .. } => match terms[..] {
                [] => None,
                [(axis, 1)] => Some(axis as usize),
                _ => return Err(format!("it steps over elements of dimension {dim}")),
            },
            CoordIndex::Gather { .. } => return Err(format!("positions of dimension {dim} are looked up")),
        });
    }
    for (axis, kind) in g.node(node).outputs[0].axes.iter().enumerate() {
        let along = out.iter().filter(|a| **a == Some(axis)).count();
        if along > 1 || (along == 0 && *kind != Axis::One) {
            return Err(format!("axis {axis} of the tile runs along {along} dimensions"));
        }
    }
    Ok(out)
}

/// Whether positions past the end of a contracted axis, as far as a dot reads, are outside of the tensor.
fn ends_in_zeros(
    s: &Shapes,
    node: NodeId,
    access: &Access,
    axes: &[Option<usize>],
    axis: usize,
) -> Result<(), String> {
    let g = s.graph;
    let kind = g.node(node).outputs[0].axes[axis];
    let Some(dim) = axes.iter().position(|a| *a == Some(axis)) else {
        return Err("a depth of 1 needs zeros behind it".into());
    };
    let padded = u64::from(s.padded(kind)).next_multiple_of(16);
    let extent = &g.object(access.object).shape[dim];
    let CoordIndex::Affine { base, .. } = &access.coords[dim].index else { return Ok(()) };
    let base = base.map(|port| g.inputs(node)[port as usize]);
    match kind {
        Axis::Fixed(n) if n == padded => Ok(()),
        Axis::Fixed(n) if is_zero(g, base) && *extent == Size::Const(n as i64) => Ok(()),
        Axis::Span { span, times: 1 } if s.binding.step(g.span(span).step) == Some(padded) => {
            let def = g.span(span);
            match base == Some(def.start)
                && end_of_tiles(g, def.end).is_some_and(|hi| is_extent(g, hi, extent))
            {
                true => Ok(()),
                false => Err(format!("its last step along `{}` may end inside of the tensor", def.name)),
            }
        }
        Axis::Span { span, times: 1 } => {
            Err(format!("a step along `{}` is no multiple of 16 elements", g.span(span).name))
        }
        _ => Err(format!("it ends inside of dimension {dim}")),
    }
}

fn is_zero(g: &Graph, base: Option<Value>) -> bool {
    base.is_none_or(|b| g.node(b.node).op == Op::Const(Literal::Int(0)))
}

/// The bound of the loop over tiles that gives a span its end.
fn end_of_tiles(g: &Graph, end: Value) -> Option<Value> {
    let Op::RegionArgs = g.node(end.node).op else { return None };
    let owner = g.region(g.node(end.node).region).owner?;
    let iter = match &g.node(owner).op {
        Op::Par(p) => p.iter,
        Op::For(f) => f.iter,
        _ => return None,
    };
    (matches!(iter, Iter::Tiles { .. }) && end.port == 1).then(|| g.inputs(owner)[1])
}

fn is_extent(g: &Graph, value: Value, extent: &Size) -> bool {
    match (&g.node(value.node).op, extent) {
        (Op::Dim(d), Size::Name(name)) => g.signature.dims[*d as usize] == *name,
        (Op::Const(Literal::Int(v)), Size::Const(n)) => v == n,
        _ => false,
    }
}

impl Load {
    /// Where a tile of these extents lies, and the map whose boxes make it up: all rows by one panel of columns.
    pub fn laid_out(&self, extents: [u32; 2]) -> (SharedLayout, Template) {
        let place = SharedLayout::boxed(extents, self.fast, self.element.bytes());
        let box_dims = self.axes.iter().map(|axis| match axis {
            Some(axis) if *axis == self.fast => place.pitch / place.element,
            Some(_) => place.rows,
            None => 1,
        });
        let swizzle = Swizzle::ALL.into_iter().find(|s| s.width() == place.pitch).unwrap_or_default();
        let template = Template {
            element: self.element,
            order: self.order.clone(),
            box_dims: box_dims.collect(),
            swizzle,
            l2_promotion: L2Promotion::B128,
            fill: Fill::Zero,
        };
        (place, template)
    }
}

/// The number of a map among those of a plan; loads of one tensor by equal boxes share it.
pub fn map_of(maps: &mut Vec<MapPlan>, map: MapPlan) -> usize {
    maps.iter().position(|m| *m == map).unwrap_or_else(|| {
        maps.push(map);
        maps.len() - 1
    })
}
