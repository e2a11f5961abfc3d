//! Graphviz text: `dot -Tsvg` draws it.

use super::{colours, inlined, label, named, region_title};
use crate::{ir::*, names::Names};
use std::fmt::Write;

/// The graph as Graphviz text, regions as clusters.
pub fn dot(graph: &Graph) -> String {
    let names = Names::new(graph);
    let mut out = format!("digraph {:?} {{\n  compound=true; newrank=true;\n", graph.name);
    out += "  node [shape=box, style=\"filled,rounded\", fontname=\"monospace\", fontsize=10];\n";
    out += "  edge [color=\"#6b7280\", arrowsize=0.6];\n";
    region(graph, &names, ROOT, 1, &mut out);
    for node in graph.nodes_under(ROOT) {
        for (to, value) in graph.inputs(node).into_iter().enumerate() {
            if !named(graph, value) {
                let _ = writeln!(out, "  {} -> {} [tooltip=\"port {to}\"];", value.node, node);
            }
        }
        for (source, object) in graph.effects_before(node) {
            let name = &graph.object(object).name;
            let _ = writeln!(out, "  {source} -> {node} [style=dashed, label={name:?}];");
        }
    }
    out + "}\n"
}

fn region(graph: &Graph, names: &Names, id: RegionId, depth: usize, out: &mut String) {
    let pad = "  ".repeat(depth);
    for &node in &graph.region(id).nodes {
        if inlined(graph, node) {
            continue;
        }
        let text = label(graph, names, node);
        let full =
            if text.detail.is_empty() { text.title } else { format!("{}\n{}", text.title, text.detail) };
        let (fill, border) = colours(graph, node);
        let attributes = format!("label={full:?}, fillcolor={fill:?}, color={border:?}");
        let owned = graph.node(node).op.regions();
        if owned.is_empty() {
            let _ = writeln!(out, "{pad}{node} [{attributes}];");
            continue;
        }
        let _ = writeln!(
            out,
            "{pad}subgraph cluster_{node} {{\n{pad}  label=\"\"; style=rounded; color=\"#9ca3af\";"
        );
        let _ = writeln!(out, "{pad}  {node} [{attributes}];");
        for inner in owned {
            let title = region_title(graph, inner);
            let _ =
                writeln!(out, "{pad}  subgraph cluster_{inner} {{\n{pad}    label={title:?}; style=dashed;");
            region(graph, names, inner, depth + 2, out);
            let _ = writeln!(out, "{pad}  }}");
        }
        let _ = writeln!(out, "{pad}}}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Op;
    use tile_base::DType;

    #[test]
    fn every_drawn_node_and_no_other_is_declared_once() {
        let g = crate::samples::flash(DType::F16, 64, true);
        let text = dot(&g);
        for node in g.node_ids() {
            let declared = text.matches(&format!(" {node} [label=")).count();
            assert_eq!(
                declared,
                usize::from(!matches!(g.node(node).op, Op::Const(_) | Op::Dim(_) | Op::Param(_)))
            );
        }
        assert_eq!(text.matches('{').count(), text.matches('}').count());
    }
}
