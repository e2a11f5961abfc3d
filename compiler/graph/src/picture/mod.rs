//! Pictures of a graph: Graphviz text ([`dot`]) and a picture of its own ([`svg`]).
//!
//! Regions are nested boxes, nodes carry operation, path and type, and edges are values. Literals, dims, parameters
//! and loop variables are written into the operations that use them; a loop's variables and carried values stand in
//! the bar at the top of its body, its results in the bar at the bottom.

mod dot;
mod layout;
mod svg;

pub use dot::dot;
pub use svg::svg;

use crate::{ir::*, names::Names, op::*, print};

/// What a picture says of a node.
struct Label {
    /// Operation with its literal operands; what comes by an edge is a dot.
    title: String,
    /// `%44 x: f32[i, j]`
    detail: String,
}

fn label(graph: &Graph, names: &Names, node: NodeId) -> Label {
    let n = graph.node(node);
    let inputs = graph.inputs(node);
    let operand = |v: Value| if named(graph, v) { names.value(v) } else { "·".into() };
    let title = match &n.op {
        Op::Par(p) => format!("par {} in {}", names.of_loop(node), names.range(p.iter, &inputs)),
        Op::For(f) => format!("for {} in {}{}", names.of_loop(node), names.range(f.iter, &inputs), claims(f)),
        Op::Load(a) | Op::Accumulate(a) | Op::Store { access: a, .. } => {
            format!("{} {}", n.op.name(), print::access_text(graph, names, a, &inputs))
        }
        Op::Dot(_) | Op::RegionArgs | Op::Yield => n.op.name(),
        _ if inputs.iter().any(|&v| named(graph, v)) => {
            let operands: Vec<String> = inputs.iter().map(|&v| operand(v)).collect();
            format!("{} {}", n.op.name(), operands.join(", "))
        }
        _ => n.op.name(),
    };
    let path = n.path.as_ref().map_or(String::new(), |p| format!(" {p}"));
    let types: Vec<String> = n.outputs.iter().map(|t| names.ty(t)).collect();
    let detail = match types.is_empty() {
        true => String::new(),
        false => format!("%{}{path}: {}", node.0, types.join(", ")),
    };
    Label { title, detail }
}

fn claims(f: &ForOp) -> String {
    let mut text = match &f.combine {
        LoopCombine::Ordered => String::new(),
        LoopCombine::Sum => " sum".into(),
        LoopCombine::Merge { .. } => " merge".into(),
        LoopCombine::Affine { .. } => " affine".into(),
    };
    if f.origin == LoopOrigin::Stream {
        text += " (stream)";
    }
    text
}

/// Drawn inside its users instead of as a node.
fn inlined(graph: &Graph, node: NodeId) -> bool {
    matches!(graph.node(node).op, Op::Const(_) | Op::Dim(_) | Op::Param(_))
}

/// Written by name where it is used instead of by an edge: also the variables of loops.
fn named(graph: &Graph, value: Value) -> bool {
    let node = graph.node(value.node);
    inlined(graph, value.node)
        || (matches!(node.op, Op::RegionArgs) && value.port < graph.variables(node.region))
}

/// What a region is called in the box of its owner.
fn region_title(graph: &Graph, region: RegionId) -> &'static str {
    match graph.region(region).kind {
        RegionKind::Root | RegionKind::Par | RegionKind::Loop => "",
        RegionKind::Condition => "while",
        RegionKind::Then => "then",
        RegionKind::Else => "else",
        RegionKind::Skip => "skip where",
        RegionKind::Combine => "combine",
    }
}

/// Families by colour: fill and border.
fn colours(graph: &Graph, node: NodeId) -> (&'static str, &'static str) {
    match &graph.node(node).op {
        Op::Load(_) => ("#dbeafe", "#3b82f6"),
        Op::Store { .. } | Op::Accumulate(_) => ("#fee2e2", "#ef4444"),
        Op::Dot(_) | Op::UnitLowerInv => ("#ffedd5", "#f97316"),
        Op::Reduce { .. }
        | Op::ReduceWith { .. }
        | Op::Scan { .. }
        | Op::TopK { .. }
        | Op::Sort { .. }
        | Op::Histogram { .. } => ("#ede9fe", "#8b5cf6"),
        Op::RegionArgs | Op::Yield => ("#f3f4f6", "#9ca3af"),
        op if op.regions().is_empty()
            && graph.node(node).outputs.iter().all(|t| t.dtype == tile_base::DType::I64) =>
        {
            ("#dcfce7", "#22c55e")
        }
        _ => ("#ffffff", "#6b7280"),
    }
}
