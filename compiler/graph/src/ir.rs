//! Graph, nodes, edges, regions, types, spans, tile sizes, memory objects, obligations.

use crate::op::Op;
use petgraph::{
    Direction,
    stable_graph::{NodeIndex, StableDiGraph},
    visit::EdgeRef,
};
use tile_base::{DType, IndexKind, Mode, Signature, Size, Span, index_type};

index_type! {
    /// A node of a graph; stable under removal of others.
    pub struct NodeId = "n";
    /// A region: a list of nodes under one loop, branch, combiner or the root.
    pub struct RegionId = "r";
    /// A span: the clipped range of positions that one step of `tiles(..)` covers.
    pub struct SpanId = "s";
    /// A tile size that a schedule or the recommender chooses.
    pub struct TileId = "t";
    /// A tensor in memory.
    pub struct ObjectId = "m";
}

/// One output of a node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Value {
    pub node: NodeId,
    pub port: u32,
}

/// An axis of a tile.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Axis {
    /// Extent 1; stretches against any axis of another operand.
    One,
    /// A compile-time extent.
    Fixed(u64),
    /// `times` elements for each position of a span (`times` is 1 but for merged axes such as `f × 2`).
    Span { span: SpanId, times: u64 },
}

impl Axis {
    pub fn span(span: SpanId) -> Axis {
        Axis::Span { span, times: 1 }
    }
}

/// dtype and axes. No axes: a scalar. Index arithmetic (dims, positions, loop variables, ids) is `I64`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ValueType {
    pub dtype: DType,
    pub axes: Vec<Axis>,
}

impl ValueType {
    pub fn scalar(dtype: DType) -> Self {
        ValueType { dtype, axes: vec![] }
    }

    pub fn index() -> Self {
        Self::scalar(DType::I64)
    }

    pub fn tile(dtype: DType, axes: impl Into<Vec<Axis>>) -> Self {
        ValueType { dtype, axes: axes.into() }
    }

    pub fn is_scalar(&self) -> bool {
        self.axes.is_empty()
    }
}

#[derive(Clone, Debug)]
pub struct Node {
    pub op: Op,
    pub outputs: Vec<ValueType>,
    pub region: RegionId,
    /// The path a schedule or an explanation names it by (`acc`, `st.p`, `s`); see language rule 24.
    pub path: Option<String>,
    pub span: Span,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Edge {
    /// Output port `from` of the source is input port `to` of the target.
    Value { from: u32, to: u32 },
    /// The source's access to the object comes first.
    Effect { object: ObjectId },
}

/// What a region is the body of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegionKind {
    Root,
    Par,
    Loop,
    /// The condition of a `while`.
    Condition,
    Then,
    Else,
    /// The predicate of a `skip` claim: the loop's variables in, one bool out.
    Skip,
    /// A `merge` claim or a `reduce` with a function: two groups of values in, one out.
    Combine,
}

#[derive(Clone, Debug)]
pub struct Region {
    pub kind: RegionKind,
    /// The node that owns it; `None` for the root.
    pub owner: Option<NodeId>,
    /// In program order: `RegionArgs` first, `Yield` last.
    pub nodes: Vec<NodeId>,
}

/// How far one step of `tiles(..)` reaches.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum StepSize {
    /// A free tile size, bound later.
    Tile(TileId),
    /// A `const` of the kernel or a literal.
    Fixed(u64),
}

/// The range `start..end` of positions a step covers; `end - start <=` its step size, smaller at the tail, maybe 0.
#[derive(Clone, Debug)]
pub struct SpanDef {
    pub name: String,
    pub step: StepSize,
    pub start: Value,
    pub end: Value,
}

/// `tile BM in {64, 128};`, or the hidden step of a streamed dot.
#[derive(Clone, Debug)]
pub struct TileSize {
    pub name: String,
    /// Empty: any.
    pub allowed: Vec<u64>,
    /// Made by the compiler for a streamed dot's loop; named after its `let`.
    pub hidden: bool,
    pub span: Span,
}

/// A tensor that accesses name.
#[derive(Clone, Debug)]
pub struct Object {
    pub name: String,
    /// Position among the signature's `params`.
    pub param: usize,
    pub dtype: DType,
    pub mode: Mode,
    pub index: Option<IndexKind>,
    /// Over `signature.dims`, const parameters already replaced by their values.
    pub shape: Vec<Size>,
    pub span: Span,
}

/// What has to be true for the program to mean anything (language rules 11, 15, 16).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// Coordinate `dim` of the access at `node` lies inside.
    Bounds { dim: u32 },
    /// Index arithmetic stays within 64 bits (and a value made into an index stays in range).
    Overflow,
    /// Every element of an `out` tensor is written exactly once.
    Cover { object: ObjectId },
    /// No instance reads or writes what another one writes.
    NoRace { object: ObjectId },
    /// Positions of a store do not repeat.
    Unique,
    /// Where the predicate holds the body changes nothing.
    Skip,
    /// The loop may be split and its partial results combined.
    Merge,
    /// The carried value is an affine function of itself.
    Affine { carried: u32 },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    Proven,
    /// Checked once, before the launch.
    AtLaunch,
    /// Checked where it happens: an error on oracle, CPU and simulator; on a GPU reads 0 and stores nothing.
    InPlace,
    /// Tested on the oracle, at random tile sizes and splits.
    Tested,
}

#[derive(Clone, Debug)]
pub struct Obligation {
    pub claim: Claim,
    pub node: NodeId,
    pub status: Status,
    pub span: Span,
    /// Why it holds or what is to be shown, in the user's names.
    pub reason: String,
}

/// One launch.
#[derive(Clone, Debug)]
pub struct Graph {
    pub name: String,
    pub signature: Signature,
    pub(crate) nodes: StableDiGraph<Node, Edge>,
    pub regions: Vec<Region>,
    pub spans: Vec<SpanDef>,
    pub tiles: Vec<TileSize>,
    pub objects: Vec<Object>,
    pub obligations: Vec<Obligation>,
}

pub const ROOT: RegionId = RegionId(0);

impl Graph {
    pub fn new(name: impl Into<String>, signature: Signature) -> Graph {
        Graph {
            name: name.into(),
            signature,
            nodes: StableDiGraph::new(),
            regions: vec![Region { kind: RegionKind::Root, owner: None, nodes: vec![] }],
            spans: vec![],
            tiles: vec![],
            objects: vec![],
            obligations: vec![],
        }
    }

    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[NodeIndex::new(id.index())]
    }

    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[NodeIndex::new(id.index())]
    }

    pub fn contains(&self, id: NodeId) -> bool {
        self.nodes.contains_node(NodeIndex::new(id.index()))
    }

    pub fn node_ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.nodes.node_indices().map(|n| NodeId::new(n.index()))
    }

    pub fn region(&self, id: RegionId) -> &Region {
        &self.regions[id.index()]
    }

    pub fn object(&self, id: ObjectId) -> &Object {
        &self.objects[id.index()]
    }

    pub fn span(&self, id: SpanId) -> &SpanDef {
        &self.spans[id.index()]
    }

    pub fn tile(&self, id: TileId) -> &TileSize {
        &self.tiles[id.index()]
    }

    pub fn type_of(&self, value: Value) -> &ValueType {
        &self.node(value.node).outputs[value.port as usize]
    }

    /// The values at the input ports, in port order.
    pub fn inputs(&self, id: NodeId) -> Vec<Value> {
        let mut found: Vec<(u32, Value)> = self
            .nodes
            .edges_directed(NodeIndex::new(id.index()), Direction::Incoming)
            .filter_map(|e| match *e.weight() {
                Edge::Value { from, to } => {
                    Some((to, Value { node: NodeId::new(e.source().index()), port: from }))
                }
                Edge::Effect { .. } => None,
            })
            .collect();
        found.sort_unstable_by_key(|&(to, _)| to);
        found.into_iter().map(|(_, v)| v).collect()
    }

    /// Where a value is used: node and input port.
    pub fn uses(&self, value: Value) -> Vec<(NodeId, u32)> {
        let mut found: Vec<(NodeId, u32)> = self
            .nodes
            .edges_directed(NodeIndex::new(value.node.index()), Direction::Outgoing)
            .filter_map(|e| match *e.weight() {
                Edge::Value { from, to } if from == value.port => Some((NodeId::new(e.target().index()), to)),
                _ => None,
            })
            .collect();
        found.sort_unstable();
        found
    }

    /// Accesses to an object that must have happened before this node: source node and object.
    pub fn effects_before(&self, id: NodeId) -> Vec<(NodeId, ObjectId)> {
        self.nodes
            .edges_directed(NodeIndex::new(id.index()), Direction::Incoming)
            .filter_map(|e| match *e.weight() {
                Edge::Effect { object } => Some((NodeId::new(e.source().index()), object)),
                Edge::Value { .. } => None,
            })
            .collect()
    }

    /// The `RegionArgs` outputs of a region.
    pub fn region_args(&self, region: RegionId) -> Vec<Value> {
        match self.region(region).nodes.first() {
            Some(&node) if matches!(self.node(node).op, Op::RegionArgs) => {
                (0..self.node(node).outputs.len() as u32).map(|port| Value { node, port }).collect()
            }
            _ => vec![],
        }
    }

    /// The `Yield` inputs of a region.
    pub fn yields(&self, region: RegionId) -> Vec<Value> {
        match self.region(region).nodes.last() {
            Some(&node) if matches!(self.node(node).op, Op::Yield) => self.inputs(node),
            _ => vec![],
        }
    }

    /// The region that a region stands in; `None` for the root.
    pub fn parent(&self, region: RegionId) -> Option<RegionId> {
        self.region(region).owner.map(|o| self.node(o).region)
    }

    /// The nest of `par` axes from the outermost in, each with its node; the last one's body is the instance.
    pub fn par_nest(&self) -> Vec<NodeId> {
        let mut nest = vec![];
        let mut region = ROOT;
        while let Some(&par) =
            self.region(region).nodes.iter().find(|&&n| matches!(self.node(n).op, Op::Par(_)))
        {
            nest.push(par);
            let Op::Par(p) = &self.node(par).op else { break };
            region = p.body;
        }
        nest
    }
}
