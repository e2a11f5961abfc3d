//! A picture of its own, in SVG: no tool is needed to draw it.

use super::{
    colours, inlined, label,
    layout::{CHAR, Layout, Rect, layout},
    named, region_title,
};
use crate::{ir::*, names::Names, op::*};
use std::fmt::Write;

/// The graph as an SVG document.
pub fn svg(graph: &Graph) -> String {
    let names = Names::new(graph);
    let places = layout(graph, &names);
    let mut d = Drawing { graph, names: &names, places: &places, out: String::new() };
    let (w, h) = (places.size.0 + 20.0, places.size.1 + 50.0);
    let _ = writeln!(
        d.out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w:.0}\" height=\"{h:.0}\" viewBox=\"0 0 {w:.0} {h:.0}\" \
         font-family=\"monospace\" font-size=\"11\">"
    );
    let _ = writeln!(
        d.out,
        "<defs><marker id=\"a\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"6\" markerHeight=\"6\" \
         orient=\"auto\"><path d=\"M0,0 L8,4 L0,8 z\" fill=\"#6b7280\"/></marker></defs>"
    );
    let _ = writeln!(d.out, "<rect width=\"{w:.0}\" height=\"{h:.0}\" fill=\"#ffffff\"/>");
    d.text((12.0, 24.0), &graph.name, "font-size=\"15\" font-weight=\"bold\"");
    d.out += "<g transform=\"translate(10,34)\">\n";
    // Boxes, then edges, then what the edges lead to.
    d.region(ROOT, 0, true);
    d.edges();
    d.region(ROOT, 0, false);
    d.out += "</g>\n</svg>\n";
    d.out
}

struct Drawing<'a> {
    graph: &'a Graph,
    names: &'a Names<'a>,
    places: &'a Layout,
    out: String,
}

impl Drawing<'_> {
    fn text(&mut self, (x, y): (f64, f64), text: &str, attributes: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let _ = writeln!(self.out, "<text x=\"{x:.1}\" y=\"{y:.1}\" {attributes}>{text}</text>");
    }

    fn rect(&mut self, r: Rect, fill: &str, border: &str, more: &str) {
        let Rect { x, y, w, h } = r;
        let _ = writeln!(
            self.out,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" rx=\"5\" fill=\"{fill}\" \
             stroke=\"{border}\" {more}/>"
        );
    }

    fn region(&mut self, region: RegionId, depth: usize, boxes: bool) {
        let title = region_title(self.graph, region);
        if let (Some(&r), true) = (self.places.regions.get(&region), boxes && region != ROOT) {
            let fill = if depth.is_multiple_of(2) { "#ffffff" } else { "#f9fafb" };
            self.rect(r, fill, "#d1d5db", "stroke-dasharray=\"4 3\"");
            if !title.is_empty() {
                self.text((r.x + 8.0, r.y + 15.0), title, "fill=\"#6b7280\" font-style=\"italic\"");
            }
        }
        for &node in &self.graph.region(region).nodes {
            if !inlined(self.graph, node) {
                self.node(node, depth, boxes);
            }
        }
    }

    fn node(&mut self, node: NodeId, depth: usize, boxes: bool) {
        let Some(&r) = self.places.nodes.get(&node) else { return };
        if r.h == 0.0 {
            return;
        }
        let (fill, border) = colours(self.graph, node);
        let owned = self.graph.node(node).op.regions();
        let text = label(self.graph, self.names, node);
        if boxes {
            if !owned.is_empty() {
                self.rect(r, "#eef2ff", "#6366f1", "");
            }
            return owned.into_iter().for_each(|inner| self.region(inner, depth + 1, boxes));
        }
        if matches!(self.graph.node(node).op, Op::RegionArgs | Op::Yield) {
            return self.bar(node, r);
        }
        if owned.is_empty() {
            self.rect(r, fill, border, "");
        }
        self.text((r.x + 8.0, r.y + 15.0), &text.title, "font-weight=\"bold\"");
        if owned.is_empty() && !text.detail.is_empty() {
            self.text((r.x + 8.0, r.y + 29.0), &text.detail, "fill=\"#4b5563\"");
        } else if !text.detail.is_empty() {
            let x = r.x + 20.0 + text.title.chars().count() as f64 * CHAR;
            self.text((x, r.y + 15.0), &text.detail, "fill=\"#4b5563\"");
        }
        for inner in owned {
            self.region(inner, depth + 1, boxes);
        }
    }

    /// The arguments or results of a region, each over its edge.
    fn bar(&mut self, node: NodeId, r: Rect) {
        self.rect(r, "#f3f4f6", "#d1d5db", "");
        let words: Vec<String> = match self.graph.node(node).op {
            Op::RegionArgs => self.graph.outputs(node).map(|v| self.names.value(v)).collect(),
            _ => self
                .graph
                .inputs(node)
                .iter()
                .map(|&v| if named(self.graph, v) { self.names.value(v) } else { "·".into() })
                .collect(),
        };
        let count = words.len();
        for (at, word) in words.iter().enumerate() {
            let x = port_x(r, at, count);
            self.text((x, r.y + 16.0), word, "text-anchor=\"middle\" fill=\"#374151\"");
        }
    }

    fn edges(&mut self) {
        for node in self.graph.nodes_under(ROOT) {
            let Some(&to) = self.places.nodes.get(&node) else { continue };
            let inputs = self.graph.inputs(node);
            for (port, value) in inputs.iter().enumerate() {
                if named(self.graph, *value) {
                    continue;
                }
                let Some(&from) = self.places.nodes.get(&value.node) else { continue };
                let source = self.graph.node(value.node);
                let start = match source.op {
                    Op::RegionArgs => port_x(from, value.port as usize, source.outputs.len()),
                    _ => from.middle(),
                };
                let end = match self.graph.node(node).op {
                    Op::Yield => port_x(to, port, inputs.len()),
                    // Operands arrive side by side.
                    _ => to.middle() + (port as f64 - (inputs.len() as f64 - 1.0) / 2.0) * 10.0,
                };
                let crossing = source.region != self.graph.node(node).region;
                self.edge((start, from.y + from.h), (end, to.y), crossing, false);
            }
            for (source, _) in self.graph.effects_before(node) {
                if let Some(&from) = self.places.nodes.get(&source) {
                    self.edge(
                        (from.middle() + 12.0, from.y + from.h),
                        (to.middle() + 12.0, to.y),
                        true,
                        true,
                    );
                }
            }
        }
    }

    fn edge(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), faint: bool, dashed: bool) {
        let bend = ((y2 - y1).abs() / 2.0).clamp(10.0, 60.0);
        let (colour, dash) =
            (if faint { "#c7d2fe" } else { "#6b7280" }, if dashed { "stroke-dasharray=\"3 3\"" } else { "" });
        let _ = writeln!(
            self.out,
            "<path d=\"M{x1:.1},{y1:.1} C{x1:.1},{:.1} {x2:.1},{:.1} {x2:.1},{y2:.1}\" fill=\"none\" \
             stroke=\"{colour}\" {dash} marker-end=\"url(#a)\"/>",
            y1 + bend,
            y2 - bend
        );
    }
}

/// The place of one of `count` ports along a bar.
fn port_x(r: Rect, at: usize, count: usize) -> f64 {
    r.x + r.w * (at as f64 + 0.5) / count.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use tile_base::DType;

    /// Every node stands inside the region it belongs to, and no two nodes of a region overlap.
    fn check(graph: &Graph) {
        let names = Names::new(graph);
        let places = layout(graph, &names);
        for (at, region) in graph.regions.iter().enumerate() {
            let Some(outer) = places.regions.get(&RegionId::new(at)) else { continue };
            let boxes: Vec<Rect> = region.nodes.iter().filter_map(|n| places.nodes.get(n)).copied().collect();
            for (n, b) in boxes.iter().enumerate() {
                assert!(b.x >= outer.x && b.x + b.w <= outer.x + outer.w + 0.01, "{b:?} in {outer:?}");
                assert!(b.y >= outer.y && b.y + b.h <= outer.y + outer.h + 0.01, "{b:?} in {outer:?}");
                for c in &boxes[..n] {
                    let apart = b.x + b.w <= c.x + 0.01
                        || c.x + c.w <= b.x + 0.01
                        || b.y + b.h <= c.y + 0.01
                        || c.y + c.h <= b.y + 0.01;
                    assert!(apart, "{b:?} and {c:?} overlap");
                }
            }
        }
    }

    #[test]
    fn nodes_stay_inside_their_regions_and_apart() {
        for graph in [
            samples::add(DType::F32),
            samples::matmul(DType::F16),
            samples::softmax(DType::F32, 100),
            samples::flash(DType::F16, 64, true),
        ] {
            check(&graph);
            let text = svg(&graph);
            assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"));
        }
    }
}
