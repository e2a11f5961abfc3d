//! Places of nodes and regions in the picture: a layered layout, region by region, from the inside out.
//!
//! In a region a node's layer is one past the last of its operands', pulled down towards its first user; nodes of a
//! layer are ordered by the middle of their neighbours and spread so that edges are short. A node that owns regions
//! is a box around them, side by side; to the region around it, it is one wide node.

use super::{inlined, label, region_title};
use crate::{ir::*, names::Names, op::*};
use std::collections::HashMap;

pub const CHAR: f64 = 6.7;
const ROW: f64 = 36.0;
const BAR: f64 = 24.0;
const GAP_X: f64 = 16.0;
const GAP_Y: f64 = 24.0;
const PAD: f64 = 12.0;
const HEADER: f64 = 24.0;

#[derive(Clone, Copy, Debug, Default)]
pub struct Rect {
    pub x: f64,
    pub y: f64,
    pub w: f64,
    pub h: f64,
}

impl Rect {
    pub fn middle(&self) -> f64 {
        self.x + self.w / 2.0
    }
}

/// Where everything is, in absolute coordinates.
#[derive(Default)]
pub struct Layout {
    pub nodes: HashMap<NodeId, Rect>,
    pub regions: HashMap<RegionId, Rect>,
    pub size: (f64, f64),
}

pub fn layout(graph: &Graph, names: &Names) -> Layout {
    let mut sizes = Sizes { graph, names, size: HashMap::new(), inner: HashMap::new() };
    let (w, h) = sizes.region(ROOT);
    let mut out = Layout { size: (w, h), ..Layout::default() };
    sizes.place(ROOT, (0.0, 0.0), &mut out);
    out
}

struct Sizes<'a> {
    graph: &'a Graph,
    names: &'a Names<'a>,
    size: HashMap<NodeId, (f64, f64)>,
    /// Per region: its size and its children relative to it.
    inner: HashMap<RegionId, Inner>,
}

/// Width and height, and the children within.
type Inner = ((f64, f64), Vec<(NodeId, Rect)>);

impl Sizes<'_> {
    fn node(&mut self, node: NodeId) -> (f64, f64) {
        let text = label(self.graph, self.names, node);
        let wide = text.title.chars().count().max(text.detail.chars().count()) as f64 * CHAR + 16.0;
        let owned = self.graph.node(node).op.regions();
        if owned.is_empty() {
            return (wide, if text.detail.is_empty() { BAR } else { ROW });
        }
        let (mut w, mut h) = (PAD, 0.0f64);
        for region in owned {
            let inner = self.region(region);
            w += inner.0 + PAD;
            h = h.max(inner.1);
        }
        (w.max(wide), h + HEADER + PAD)
    }

    /// Lays a region out; its size.
    fn region(&mut self, region: RegionId) -> (f64, f64) {
        let g = self.graph;
        let nodes: Vec<NodeId> = g.region(region).nodes.iter().copied().filter(|&n| !inlined(g, n)).collect();
        let bar = |n: &NodeId| matches!(g.node(*n).op, Op::RegionArgs | Op::Yield);
        let inside: Vec<NodeId> = nodes.iter().copied().filter(|n| !bar(n)).collect();
        for &n in &nodes {
            let size = self.node(n);
            self.size.insert(n, size);
        }
        let edges = self.edges(&inside);
        let layers = layers(&inside, &edges);
        let x = self.spread(&layers, &edges);

        let title = if region_title(g, region).is_empty() { 0.0 } else { 16.0 };
        let (mut y, mut placed) = (PAD + title, vec![]);
        let width = x.iter().map(|(n, &x)| x + self.size[n].0).fold(60.0, f64::max);
        let bars: Vec<NodeId> = nodes.iter().copied().filter(bar).collect();
        let needed = bars.iter().map(|b| self.size[b].0).fold(width, f64::max);
        for &b in bars.iter().filter(|b| matches!(g.node(**b).op, Op::RegionArgs)) {
            if !g.node(b).outputs.is_empty() {
                placed.push((b, Rect { x: PAD, y, w: needed, h: BAR }));
                y += BAR + GAP_Y;
            } else {
                placed.push((b, Rect { x: PAD, y, w: needed, h: 0.0 }));
            }
        }
        let shift = PAD + (needed - width) / 2.0;
        for layer in &layers {
            let tall = layer.iter().map(|n| self.size[n].1).fold(0.0, f64::max);
            for n in layer {
                let (w, h) = self.size[n];
                placed.push((*n, Rect { x: x[n] + shift, y, w, h }));
            }
            y += tall + GAP_Y;
        }
        for &b in bars.iter().filter(|b| matches!(g.node(**b).op, Op::Yield)) {
            let any = !g.inputs(b).is_empty();
            let (at, h) = if any { (y, BAR) } else { (y - GAP_Y, 0.0) };
            placed.push((b, Rect { x: PAD, y: at.max(0.0), w: needed, h }));
            y += if any { BAR + GAP_Y } else { 0.0 };
        }
        let size = (needed + 2.0 * PAD, (y - GAP_Y + PAD).max(2.0 * PAD));
        self.inner.insert(region, (size, placed));
        size
    }

    /// Edges between children of one region; what happens inside a child is the child's.
    fn edges(&self, inside: &[NodeId]) -> Vec<(NodeId, NodeId)> {
        let mut out = vec![];
        for &node in inside {
            let mut sources: Vec<Value> = self.graph.inputs(node);
            for region in self.graph.node(node).op.regions() {
                sources.extend(self.graph.captures(region));
            }
            let mut effects: Vec<NodeId> =
                self.graph.effects_before(node).into_iter().map(|(source, _)| source).collect();
            effects.extend(sources.into_iter().map(|v| v.node));
            out.extend(effects.into_iter().filter(|s| inside.contains(s)).map(|s| (s, node)));
        }
        out
    }

    /// Left edges of the nodes.
    fn spread(&self, layers: &[Vec<NodeId>], edges: &[(NodeId, NodeId)]) -> HashMap<NodeId, f64> {
        let mut order: Vec<Vec<NodeId>> = layers.to_vec();
        let mut x: HashMap<NodeId, f64> = HashMap::new();
        for layer in &order {
            let mut at = 0.0;
            for n in layer {
                x.insert(*n, at);
                at += self.size[n].0 + GAP_X;
            }
        }
        for round in 0..12 {
            let down = round % 2 == 0;
            let mut indices: Vec<usize> = (0..order.len()).collect();
            if !down {
                indices.reverse();
            }
            for l in indices {
                let wanted = |n: NodeId| -> f64 {
                    let near: Vec<f64> = edges
                        .iter()
                        .filter_map(|&(a, b)| match down {
                            true if b == n => Some(a),
                            false if a == n => Some(b),
                            _ => None,
                        })
                        .map(|o| x[&o] + self.size[&o].0 / 2.0)
                        .collect();
                    match near.is_empty() {
                        true => x[&n] + self.size[&n].0 / 2.0,
                        false => near.iter().sum::<f64>() / near.len() as f64,
                    }
                };
                let mut row: Vec<(f64, NodeId)> = order[l].iter().map(|&n| (wanted(n), n)).collect();
                row.sort_by(|a, b| a.0.total_cmp(&b.0));
                let places = self.without_overlap(&row);
                order[l] = row.iter().map(|r| r.1).collect();
                for (n, place) in order[l].iter().zip(places) {
                    x.insert(*n, place);
                }
            }
        }
        let left = x.values().copied().fold(f64::INFINITY, f64::min);
        if left.is_finite() {
            x.values_mut().for_each(|v| *v -= left);
        }
        x
    }

    /// Left edges near the wanted middles, in order, without overlap: pushed right, then as a whole back by the mean.
    fn without_overlap(&self, row: &[(f64, NodeId)]) -> Vec<f64> {
        let mut places: Vec<f64> = vec![];
        let mut right = f64::NEG_INFINITY;
        for (middle, n) in row {
            let w = self.size[n].0;
            let at = (middle - w / 2.0).max(right);
            places.push(at);
            right = at + w + GAP_X;
        }
        let pushed: f64 =
            places.iter().zip(row).map(|(at, (m, n))| at - (m - self.size[n].0 / 2.0)).sum::<f64>();
        let mean = pushed / row.len().max(1) as f64;
        places.iter().map(|p| p - mean).collect()
    }

    fn place(&self, region: RegionId, at: (f64, f64), out: &mut Layout) {
        let Some((size, children)) = self.inner.get(&region) else { return };
        out.regions.insert(region, Rect { x: at.0, y: at.1, w: size.0, h: size.1 });
        for (node, rect) in children {
            let here = Rect { x: at.0 + rect.x, y: at.1 + rect.y, ..*rect };
            out.nodes.insert(*node, here);
            let mut x = here.x + PAD;
            for owned in self.graph.node(*node).op.regions() {
                self.place(owned, (x, here.y + HEADER), out);
                x += self.inner.get(&owned).map_or(0.0, |(s, _)| s.0) + PAD;
            }
        }
    }
}

/// Nodes by layer.
fn layers(inside: &[NodeId], edges: &[(NodeId, NodeId)]) -> Vec<Vec<NodeId>> {
    let mut layer: HashMap<NodeId, usize> = HashMap::new();
    // Program order is an order of dependences.
    for &n in inside {
        let from = edges.iter().filter(|e| e.1 == n).filter_map(|e| layer.get(&e.0)).max();
        layer.insert(n, from.map_or(0, |l| l + 1));
    }
    for &n in inside.iter().rev() {
        if let Some(first) = edges.iter().filter(|e| e.0 == n).map(|e| layer[&e.1]).min() {
            layer.insert(n, first.saturating_sub(1));
        }
    }
    let count = layer.values().max().map_or(0, |m| m + 1);
    let mut out = vec![vec![]; count];
    for &n in inside {
        out[layer[&n]].push(n);
    }
    out.retain(|l| !l.is_empty());
    out
}
