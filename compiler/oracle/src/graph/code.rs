//! A graph made ready to run: every value gets a slot, every node its input slots, every region its list.
//!
//! Walking petgraph edges per executed node would cost more than the node; here a node is a row of numbers. A value
//! that is a tile is also marked where it is used for the last time inside its own region, so that the evaluator can
//! move it out of its slot and the operation can write over it. Scalars are never moved out: extents of spans read
//! them behind the graph's back.

use tile_base::DType;
use tile_graph::{ElemOp, Graph, NodeId, Op, RegionId, Value};

/// Where a value lives while an instance runs.
pub type Slot = u32;

/// An input of a node.
#[derive(Clone, Copy, Debug)]
pub struct Input {
    pub slot: Slot,
    /// No later use: the value may be moved out.
    pub last: bool,
}

#[derive(Debug)]
pub struct NodeCode {
    pub id: NodeId,
    pub inputs: Box<[Input]>,
    /// dtype of the first input (of an elementwise operation: of its values, not of a condition).
    pub operand: DType,
    /// Slot of output port 0; the other ports follow.
    pub out: Slot,
}

#[derive(Debug, Default)]
pub struct RegionCode {
    /// Slot of the first region argument; the others follow.
    pub args: Slot,
    /// Without `RegionArgs` and `Yield`.
    pub nodes: Vec<NodeCode>,
    pub yields: Vec<Input>,
    /// A `par` stands in it.
    pub has_par: bool,
}

#[derive(Debug)]
pub struct Code {
    pub regions: Vec<RegionCode>,
    pub slots: usize,
    /// Start and end of each span.
    pub spans: Vec<(Slot, Slot)>,
}

impl Code {
    pub fn new(graph: &Graph) -> Code {
        let limit = graph.node_ids().map(|n| n.index() + 1).max().unwrap_or(0);
        let mut first_slot = vec![0; limit];
        let mut slots = 0u32;
        for id in graph.node_ids() {
            first_slot[id.index()] = slots;
            slots += graph.node(id).outputs.len() as u32;
        }
        let slot = |v: Value| first_slot.get(v.node.index()).map_or(u32::MAX, |s| s + v.port);
        let regions =
            (0..graph.regions.len()).map(|r| region_code(graph, RegionId::new(r), &slot)).collect::<Vec<_>>();
        let spans = graph.spans.iter().map(|s| (slot(s.start), slot(s.end))).collect();
        Code { regions, slots: slots as usize, spans }
    }

    pub fn region(&self, id: RegionId) -> &RegionCode {
        &self.regions[id.index()]
    }
}

fn region_code(graph: &Graph, id: RegionId, slot: &dyn Fn(Value) -> Slot) -> RegionCode {
    let mut code = RegionCode::default();
    let region = graph.region(id);
    let inputs = |node: NodeId| -> Box<[Input]> {
        let last = |value: Value, port: u32| is_last_use(graph, id, node, port, value);
        let list = graph.inputs(node).into_iter().enumerate();
        list.map(|(port, v)| Input { slot: slot(v), last: last(v, port as u32) }).collect()
    };
    for &node in &region.nodes {
        let out = slot(Value { node, port: 0 });
        match graph.node(node).op {
            Op::RegionArgs => code.args = out,
            Op::Yield => code.yields = inputs(node).into_vec(),
            ref op => {
                code.has_par |= matches!(op, Op::Par(_));
                let values = graph.inputs(node);
                let first = if matches!(op, Op::Elem(ElemOp::Select)) { 1 } else { 0 };
                let operand = values.get(first).map_or(DType::Bool, |&v| graph.type_of(v).dtype);
                code.nodes.push(NodeCode { id: node, inputs: inputs(node), operand, out });
            }
        }
    }
    code
}

/// Whether `value`, a tile of this very region, is used nowhere after input `port` of `node`.
fn is_last_use(graph: &Graph, region: RegionId, node: NodeId, port: u32, value: Value) -> bool {
    if graph.node(value.node).region != region || graph.type_of(value).is_scalar() {
        return false;
    }
    let position = |n: NodeId| graph.region(region).nodes.iter().position(|&m| m == n);
    let here = position(node);
    graph.uses(value).iter().all(|&(user, p)| {
        if user == node {
            return p <= port;
        }
        graph.node(user).region == region && position(user) < here
    })
}
