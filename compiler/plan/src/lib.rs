//! From a graph to a [`Plan`]: tile sizes, layouts, instructions, shared memory, barriers, launch geometry.
//!
//! The order of decisions, each in its own file:
//! 1. [`recommend`]: tile sizes and warps, unless the request gives them;
//! 2. [`access`]: how wide memory may be touched, from the tensors' stride classes; [`bulk`]: which loads the copy
//!    engine does instead;
//! 3. [`dots`]: the instruction of each dot and the layout of its result;
//! 4. [`infer`]: the layout of every tile value, from dots and memory outwards;
//! 5. [`convert`]: conversions where a consumer needs another layout, and [`exchange`]: operations that work on shared
//!    memory;
//! 6. [`memory`]: offsets of shared buffers and the barriers they need;
//! 7. [`grid`]: blocks as sizes over the dimensions;
//! 8. [`pressure`]: registers that all of it takes.
//!
//! A candidate that does not fit registers or shared memory is dropped and the next one tried. Where none fits, the one
//! that lacks the fewest registers is taken and says that it may spill (T0602); where that is too many, or the lack is
//! of shared memory, there is no plan, and the error says by how much each candidate missed.

pub mod access;
pub mod bulk;
pub mod convert;
pub mod cpu;
pub mod dots;
pub mod exchange;
pub mod grid;
pub mod infer;
pub mod legal;
pub mod local;
pub mod memory;
#[allow(clippy::module_inception)]
pub mod plan;
pub mod pressure;
pub mod print;
pub mod recommend;
pub mod shape;
pub mod triangular;

pub use cpu::recommend_cpu;
pub use plan::*;
pub use print::print;

use shape::Shapes;
use std::collections::BTreeMap;
use tile_base::Diagnostic;
use tile_graph::{Graph, Op, TileBinding, TileId};
use tile_target::Target;

/// What the caller fixes; all of it may be left open.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Tile sizes by name, from a schedule or the command line.
    pub tiles: Vec<(String, u64)>,
    /// Warps of a block; a power of two.
    pub warps: Option<u32>,
    /// Stride classes by tensor name; others are contiguous along their last dimension.
    pub classes: BTreeMap<String, TensorClass>,
    /// Every tensor may have any strides; what `classes` says still goes first.
    pub strided: bool,
    /// Loads that the copy engine shall do.
    pub bulk: Vec<bulk::Wish>,
    /// Tensors, by name, of which a launch cannot have a tensor map, and why.
    pub no_map: BTreeMap<String, String>,
}

/// Plans one launch.
pub fn plan(graph: &Graph, target: &'static Target, request: &Request) -> Result<Plan, Vec<Diagnostic>> {
    legal::constructs(graph)?;
    let given = given_tiles(graph, request)?;
    let classes = classes(graph, request)?;
    if request.warps.is_some_and(|w| !w.is_power_of_two() || w * 32 > target.threads_per_block) {
        let message =
            format!("{} warps: a block has 1, 2, 4, … up to 32 of them", request.warps.unwrap_or(0));
        return Err(vec![Diagnostic::global("T0603", message)]);
    }
    let mut refused = vec![];
    let mut nearest: Option<Plan> = None;
    for candidate in recommend::candidates(graph, &given, request.warps) {
        let attempt = |ahead| attempt(graph, target, &candidate, &classes, &given, (request, ahead));
        let mut plan = attempt(true)?;
        if !plan.bulk.is_empty() && plan.shared_bytes() > target.shared_per_block {
            plan = attempt(false)?;
        }
        let Err(misfit) = legal::fits(&plan) else { return Ok(plan) };
        refused.push(misfit.why);
        if misfit.spills_little && nearest.as_ref().is_none_or(|n| plan.pressure() < n.pressure()) {
            nearest = Some(plan);
        }
    }
    if let Some(mut plan) = nearest {
        plan.notes.push(legal::may_spill(graph, &plan));
        return Ok(plan);
    }
    let mut error = Diagnostic::error(
        "T0601",
        graph.tiles.first().map(|t| t.span).unwrap_or_default(),
        format!("no tile sizes of `{}` fit {}", graph.name, target.name),
    )
    .help("give smaller tile sizes in a schedule, or split the static dimensions");
    refused.dedup();
    for why in refused {
        error = error.note(why);
    }
    Err(vec![error])
}

fn given_tiles(graph: &Graph, request: &Request) -> Result<TileBinding, Vec<Diagnostic>> {
    let mut binding = TileBinding::new();
    let mut errors = vec![];
    for (name, size) in &request.tiles {
        let Some(tile) = graph.tile_named(name) else {
            let known: Vec<&str> = graph.tiles.iter().map(|t| t.name.as_str()).collect();
            let message = format!("`{}` has no tile size `{name}`", graph.name);
            errors.push(Diagnostic::global("T0604", message).note(format!("it has {}", known.join(", "))));
            continue;
        };
        let declared = graph.tile(tile);
        if *size == 0 || *size > 4096 || !(declared.allowed.is_empty() || declared.allowed.contains(size)) {
            let message = format!("`{name} = {size}` is not a tile size that `{}` allows", graph.name);
            let allowed = match declared.allowed.is_empty() {
                true => "allowed are 1 to 4096".to_string(),
                false => format!("allowed are {:?}", declared.allowed),
            };
            errors.push(Diagnostic::error("T0605", declared.span, message).label(allowed));
            continue;
        }
        binding.set(tile, *size);
    }
    if errors.is_empty() { Ok(binding) } else { Err(errors) }
}

fn classes(graph: &Graph, request: &Request) -> Result<Vec<TensorClass>, Vec<Diagnostic>> {
    for name in request.classes.keys() {
        if !graph.objects.iter().any(|o| o.name == *name) {
            let message = format!("`{}` has no tensor `{name}` to give strides to", graph.name);
            return Err(vec![Diagnostic::global("T0606", message)]);
        }
    }
    let class = |object: &tile_graph::Object| match request.classes.get(&object.name) {
        Some(TensorClass::Unit { unit } | TensorClass::Vector { unit, .. })
            if *unit >= object.shape.len() =>
        {
            let message = format!("`{}` has no dimension {unit}", object.name);
            Err(vec![Diagnostic::error("T0606", object.span, message)])
        }
        Some(TensorClass::Vector { unit, .. }) => Ok(access::vector_class(object, *unit)),
        Some(class) => Ok(*class),
        None if request.strided => Ok(TensorClass::Strided),
        None => Ok(access::default_class(object)),
    };
    graph.objects.iter().map(class).collect()
}

fn attempt(
    graph: &Graph,
    target: &'static Target,
    candidate: &recommend::Candidate,
    classes: &[TensorClass],
    given: &TileBinding,
    (request, ahead): (&Request, bool),
) -> Result<Plan, Vec<Diagnostic>> {
    let (binding, warps) = (&candidate.binding, candidate.warps);
    let shapes = Shapes::new(graph, binding, classes);
    let bulk = bulk::loads(&shapes, target, classes, request, ahead);
    if tile_base::diagnostic::any_error(&bulk.refused) {
        return Err(bulk.refused);
    }
    let classes = &bulk.classes(graph, classes)[..];
    let shapes = Shapes::new(graph, binding, classes);
    let dot_shapes = dots::shapes(&shapes, target, warps)?;
    let anchors: Vec<_> = dot_shapes.iter().map(|d| (d.result(), d.layout.clone())).collect();
    let layouts = infer::infer(&shapes, classes, warps, &anchors);
    let (dots, mut placed) = dots::place(&shapes, dot_shapes, &layouts, &bulk);
    let mbarriers = placed.mbarrier_room();
    let mut buffers = std::mem::take(&mut placed.buffers);
    let conversions = convert::insert(&shapes, &layouts, &dots, warps, &mut buffers);
    let parts = memory::Parts {
        graph,
        dots: &dots,
        conversions: &conversions.at,
        cross_warp: &conversions.cross_warp,
        exchanges: &conversions.exchanges,
    };
    let barriers = memory::arrange(&parts, &mut buffers, mbarriers.as_ref().map(|m| m.buffer));
    let mut accesses = accesses(&shapes, classes, &layouts);
    accesses.retain(|node, _| !placed.bulk.contains_key(node));
    let layouts = placed.without_bulk(graph, layouts);
    legal::whole_bytes(graph, &accesses)?;
    let mut plan = Plan {
        kernel: graph.name.clone(),
        target,
        binding: binding.clone(),
        recommended: (0..graph.tiles.len())
            .filter(|&t| given.get(TileId::new(t)).is_none())
            .map(|t| graph.tiles[t].name.clone())
            .collect(),
        warps,
        grid: grid::grid(graph, binding)?,
        requirements: requirements(graph, classes, &accesses),
        classes: classes.to_vec(),
        layouts,
        dots,
        conversions: conversions.at,
        cross_warp: conversions.cross_warp,
        exchanges: conversions.exchanges,
        accesses,
        bulk: placed.bulk,
        maps: placed.maps,
        mbarriers,
        buffers,
        barriers,
        registers: 0,
        notes: bulk.refused,
    };
    plan.registers = pressure::registers(graph, &plan);
    Ok(plan)
}

fn accesses(
    shapes: &Shapes,
    classes: &[TensorClass],
    layouts: &infer::Layouts,
) -> BTreeMap<tile_graph::NodeId, AccessPlan> {
    let g = shapes.graph;
    let mut out = BTreeMap::new();
    for node in g.nodes_under(tile_graph::ROOT) {
        let Some((access, ty)) = access::moved(shapes, node) else { continue };
        let value = match g.node(node).op {
            Op::Load(_) => tile_graph::Value { node, port: 0 },
            _ => g.inputs(node)[0],
        };
        let (axis, widest) = access::widest(shapes, node, classes[access.object.index()]);
        let vector = match (axis, layouts.get(&value)) {
            // Reductions in memory go element by element.
            _ if matches!(g.node(node).op, Op::Accumulate(_)) => 1,
            (Some(axis), Some(layout)) if !ty.is_scalar() => widest.min(layout.contiguous(axis)),
            _ => 1,
        };
        out.insert(node, AccessPlan { vector, axis });
    }
    out
}

/// What the widest access of each tensor asks of the launcher.
fn requirements(
    graph: &Graph,
    classes: &[TensorClass],
    accesses: &BTreeMap<tile_graph::NodeId, AccessPlan>,
) -> Vec<Requirement> {
    let mut out = vec![];
    for (at, (object, class)) in graph.objects.iter().zip(classes).enumerate() {
        let Some(unit) = class.unit() else { continue };
        let mut widest = 1;
        for (&node, plan) in accesses {
            if graph.node(node).op.access().is_some_and(|a| a.object.index() == at) {
                widest = widest.max(plan.vector);
            }
        }
        let bytes = (widest * object.dtype.bits() as u32 / 8).max(1);
        out.push(Requirement {
            param: object.param,
            name: object.name.clone(),
            unit,
            bytes,
            multiple: widest,
        });
    }
    out
}
