//! What this backend cannot lower, and what does not fit the machine.
//!
//! Every construct of the graph is either lowered by the back end or named here; there is no third way.

use crate::plan::{AccessPlan, Plan};
use tile_base::{DType, Diagnostic, Mode};
use tile_graph::{Graph, NodeId, Op, ROOT, ReduceKind};

/// Refuses what is not lowered yet, each construct with its line.
pub fn constructs(graph: &Graph) -> Result<(), Vec<Diagnostic>> {
    let mut errors = vec![];
    if graph.par_nest().is_empty() {
        errors.push(Diagnostic::global(
            "T0723",
            format!("`{}` has no `par`: there is nothing to launch", graph.name),
        ));
    }
    for node in graph.nodes_under(ROOT) {
        if crate::convert::Claims::in_claim(graph, node) {
            continue;
        }
        let n = graph.node(node);
        if let Some(what) = unsupported(graph, node) {
            errors.push(
                Diagnostic::error("T0721", n.span, format!("{what} is not lowered yet by the PTX backend"))
                    .label("runs on the oracle and, where that lowers it, on the CPU"),
            );
        }
    }
    for object in &graph.objects {
        let adds = matches!(object.dtype, DType::F32 | DType::F64 | DType::I32 | DType::I64);
        if object.mode == Mode::Sum && !adds {
            let message = format!(
                "`{}`: `sum` tensors of {} are not lowered yet by the PTX backend",
                object.name, object.dtype
            );
            errors.push(Diagnostic::error("T0721", object.span, message));
        }
    }
    // One message for each place, not one for each node of a place.
    errors.dedup_by(|a, b| a.primary == b.primary && a.message == b.message);
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// A store of elements below 8 bits has to fill bytes: what shares a byte with an element belongs to another thread.
pub fn whole_bytes(
    graph: &Graph,
    accesses: &std::collections::BTreeMap<NodeId, AccessPlan>,
) -> Result<(), Vec<Diagnostic>> {
    let part = |node: NodeId, access: &AccessPlan| {
        let object = graph.object(graph.node(node).op.access()?.object);
        let bits = object.dtype.bits() as u32 * access.vector;
        (graph.node(node).op.writes_memory() && !bits.is_multiple_of(8)).then(|| {
            Diagnostic::error(
                "T0722",
                graph.node(node).span,
                format!(
                    "`{}`: storing elements of {} one by one is not lowered yet by the PTX backend",
                    object.name, object.dtype
                ),
            )
            .label("several elements share a byte")
            .help("store tiles along the last dimension, of an extent that fills whole bytes")
        })
    };
    let errors: Vec<Diagnostic> = accesses.iter().filter_map(|(&n, a)| part(n, a)).collect();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn unsupported(graph: &Graph, node: NodeId) -> Option<String> {
    let n = graph.node(node);
    let name = match &n.op {
        Op::Print { .. } => n.op.name(),
        Op::Elem(e) => return unsupported_elem(graph, node, *e),
        Op::Reduce { kind: ReduceKind::ArgMax | ReduceKind::ArgMin, .. }
            if !matches!(
                graph.type_of(graph.inputs(node)[0]).dtype,
                DType::F32 | DType::F16 | DType::Bf16 | DType::I32 | DType::I64
            ) =>
        {
            format!("{} of {}", n.op.name(), graph.type_of(graph.inputs(node)[0]).dtype)
        }
        _ => return None,
    };
    Some(match name.starts_with(['`', 'a']) {
        true => name,
        false => format!("`{name}`"),
    })
}

/// Functions that have no instruction for a dtype, and that are not written here yet.
fn unsupported_elem(graph: &Graph, node: NodeId, op: tile_graph::ElemOp) -> Option<String> {
    use tile_graph::ElemOp::*;
    let dtype = graph.type_of(*graph.inputs(node).last()?).dtype;
    if op == Pow && !dtype.is_float() {
        return Some(format!("`pow` of {dtype}"));
    }
    let transcendental = matches!(op, Exp | Exp2 | Log | Log2 | Sin | Cos | Tanh | Erf | Pow);
    (transcendental && dtype == DType::F64).then(|| format!("`{}` of f64", op.name()))
}

/// Why a plan does not fit.
pub struct Misfit {
    pub why: String,
    /// It lacks no more than some registers: it would work, with some of its values in local memory.
    pub spills_little: bool,
}

/// Tiles may take this part of a thread's registers, in percent, when nothing needs fewer. What they take at their
/// fullest point is seldom all alive at once in the assembler's order.
const MOST_PRESSURE: u32 = 125;

/// Whether a plan fits its target; else by how much not.
pub fn fits(plan: &Plan) -> Result<(), Misfit> {
    let sizes: Vec<String> = plan.binding.iter().map(|(_, s)| s.to_string()).collect();
    let what = format!("tiles of {} with {} warps", sizes.join(" x "), plan.warps);
    if plan.shared_bytes() > plan.target.shared_per_block {
        let (has, needs) = (plan.target.shared_per_block, plan.shared_bytes());
        let why =
            format!("{what}: {needs} bytes of shared memory, a block of {} has {has}", plan.target.name);
        return Err(Misfit { why, spills_little: false });
    }
    let has = plan.registers_of_a_thread();
    let budget = crate::recommend::register_budget(has, plan.dots.len());
    if plan.registers > budget {
        let why = format!(
            "{what}: about {} registers per thread for tiles, {budget} are left beside addresses",
            plan.registers
        );
        return Err(Misfit { why, spills_little: plan.registers * 100 <= has * MOST_PRESSURE });
    }
    Ok(())
}

/// What is said of a plan that was taken although it lacks registers.
pub fn may_spill(graph: &Graph, plan: &Plan) -> Diagnostic {
    let sizes: Vec<String> = crate::print::tile_sizes(graph, plan)
        .into_iter()
        .map(|(name, size)| format!("{name} = {size}"))
        .collect();
    let message = format!(
        "`{}` may spill registers on {}: its tiles take about {} of a thread's {}",
        graph.name,
        plan.target.name,
        plan.registers,
        plan.registers_of_a_thread()
    );
    Diagnostic::note_at("T0602", graph.tiles.first().map(|t| t.span).unwrap_or_default(), message)
        .label(format!(
            "nothing that was tried needs fewer than {} with {} warps",
            sizes.join(", "),
            plan.warps
        ))
        .help("give smaller tile sizes in a schedule, or split the static dimensions")
}
