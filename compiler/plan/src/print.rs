//! The text form of a plan: first what a schedule can say, in schedule syntax; then what follows from it.

use crate::plan::*;
use std::fmt::Write;
use tile_graph::{Graph, NodeId, TileId, Value};

/// For `--emit plan`.
pub fn print(graph: &Graph, plan: &Plan) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "schedule {} for {} {{", plan.kernel, plan.target.name);
    for (id, size) in plan.binding.iter() {
        let tile = graph.tile(id);
        let word = if tile.hidden {
            format!("stream {} {size};", tile.name)
        } else {
            format!("tile {} = {size};", tile.name)
        };
        let who = if plan.recommended.contains(&tile.name) { "  // recommended" } else { "" };
        let _ = writeln!(out, "    {word}{who}");
    }
    let mut tensors: Vec<&str> = plan.maps.iter().map(|m| m.name.as_str()).collect();
    tensors.dedup();
    for name in tensors {
        let _ = writeln!(out, "    place {name} tma;");
    }
    let _ = writeln!(out, "}}\n");
    let counts: Vec<String> = plan.grid.iter().map(|a| format!("{} in {}", a.name, a.count)).collect();
    let _ = writeln!(out, "grid     {}", counts.join(" x "));
    let _ = writeln!(out, "block    {} warps, {} threads", plan.warps, plan.threads());
    let _ = writeln!(out, "shared   {} bytes", plan.shared_bytes());
    let _ = writeln!(
        out,
        "tiles in registers: about {} of a thread's {}",
        plan.registers,
        plan.registers_of_a_thread()
    );
    for r in &plan.requirements {
        let _ = writeln!(
            out,
            "launch   {}: stride 1 in dimension {}, other strides and pointer multiples of {} bytes, extent there of {} elements",
            r.name, r.unit, r.bytes, r.multiple
        );
    }
    for (n, map) in plan.maps.iter().enumerate() {
        let t = &map.template;
        let _ = writeln!(
            out,
            "map {n}    {}: {:?} in boxes of {:?}, dimensions {:?}, swizzle {:?}, outside {:?}; other strides and pointer multiples of 16 bytes",
            map.name, t.element, t.box_dims, t.order, t.swizzle, t.fill
        );
    }
    out.push('\n');
    dots(&mut out, graph, plan);
    for (node, access) in &plan.accesses {
        let op = &graph.node(*node).op;
        let Some(object) = op.access().map(|a| &graph.object(a.object).name) else { continue };
        let _ =
            writeln!(out, "{:8} {object} at {node}: {} elements an instruction", op.name(), access.vector);
    }
    for (node, map) in &plan.bulk {
        let _ = writeln!(out, "bulk     {} at {node}: by map {map}", plan.maps[*map].name);
    }
    for ((node, port), c) in &plan.conversions {
        let how = match &c.how {
            How::Registers(_) => "registers renamed".to_string(),
            How::Shared { buffer, .. } => format!("through {}", plan.buffers[*buffer].name),
        };
        let port = if *port > RESULT / 2 { "result".into() } else { format!("operand {port}") };
        let _ = writeln!(out, "convert  {} of {node}: {how}", port);
    }
    for (node, x) in &plan.exchanges {
        let arrays: Vec<&str> = x.arrays.iter().map(|a| plan.buffers[a.buffer].name.as_str()).collect();
        let _ = writeln!(
            out,
            "exchange {}: through {}, {} lanes a line",
            name(graph, *node),
            arrays.join(", "),
            x.lanes
        );
    }
    for b in &plan.buffers {
        let _ = writeln!(
            out,
            "buffer   {} at {}, {} bytes, alive {}..{}",
            b.name, b.offset, b.bytes, b.life.0, b.life.1
        );
    }
    for (node, slot) in &plan.barriers {
        let _ = writeln!(out, "barrier  {} {slot:?}", name(graph, *node));
    }
    for (value, layout) in &plan.layouts {
        if crate::convert::Claims::in_claim(graph, value.node) {
            continue;
        }
        let _ = writeln!(out, "layout   {}: {layout}", value_name(graph, *value));
    }
    out
}

fn dots(out: &mut String, graph: &Graph, plan: &Plan) {
    for (node, dot) in &plan.dots {
        let instruction = match dot.instruction {
            Instruction::Mma(s) => format!("mma.sync.m{}n{}k{} {}", s.m, s.n, s.k, s.operand),
            Instruction::MultiplyAdd => "multiply-add".to_string(),
        };
        let [m, n, k] = dot.size;
        let source = |o: &Operand| match o {
            Operand::Registers { .. } => "registers".to_string(),
            Operand::Shared(s) => {
                let b = &plan.buffers[s.buffer];
                let life = match s.written {
                    Written::After(n) => format!("kept after {}", name(graph, n)),
                    Written::Before(_) => "staged".into(),
                };
                let ahead = if s.ahead.is_some() { ", a step ahead" } else { "" };
                let waits = s.mbarrier.map(|n| format!(" by mbarrier {n}{ahead}")).unwrap_or_default();
                let panels = match s.place.panels() {
                    1 => String::new(),
                    n => format!("{n} panels, "),
                };
                format!(
                    "shared {} ({life}{waits}, {panels}pitch {}, xor (row >> {}) & {})",
                    b.name, s.place.pitch, s.place.shift, s.place.mask
                )
            }
        };
        let fused = if dot.addend.is_some() { ", addend fused" } else { "" };
        let _ = writeln!(
            out,
            "dot      {}: {instruction} over {m} x {n} x {k}, warps {} x {}{fused}; lhs {}; rhs {}",
            name(graph, *node),
            dot.warps.0,
            dot.warps.1,
            source(&dot.lhs),
            source(&dot.rhs)
        );
    }
}

fn name(graph: &Graph, node: NodeId) -> String {
    match &graph.node(node).path {
        Some(path) => format!("{path} ({node})"),
        None => format!("{} {node}", graph.node(node).op.name()),
    }
}

fn value_name(graph: &Graph, value: Value) -> String {
    match graph.node(value.node).outputs.len() {
        1 => name(graph, value.node),
        _ => format!("{}.{}", name(graph, value.node), value.port),
    }
}

/// Tile sizes by name, hidden ones too.
pub fn tile_sizes(graph: &Graph, plan: &Plan) -> Vec<(String, u64)> {
    (0..graph.tiles.len())
        .filter_map(|t| Some((graph.tiles[t].name.clone(), plan.binding.get(TileId::new(t))?)))
        .collect()
}
