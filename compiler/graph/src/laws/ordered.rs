//! Give a sum an order: *each rank adds into a tensor of its own, and a second launch adds the ranks up.*
//!
//! Instances add to a `sum` tensor in no order, and floating-point sums hang on their order. Under `order dq rank(j)` they
//! do not meet any more:
//!
//! ```text
//! par b in B, j in tiles(N, 64) {              par b in B, j in tiles(N, 64) {               (ranks)
//!     accumulate DQ[b, i] += x                     accumulate W[j.id, b, i] += x
//! }                                            }
//!                                              par b in B, i in tiles(M, BX) {               (ordered)
//!                                                  s = for r in 0..cdiv(N, 64) carried (0) { s + load W[r, b, i] }
//!                                                  accumulate DQ[b, i] += s                  once for each element
//!                                              }
//! ```
//!
//! Within one instance the program has an order already. Two instances of one rank must not add to one element, which the
//! law has to see: every `par` axis that is no rank keeps its instances apart (see [`crate::facts::apart`]). The price is
//! memory, a copy of the tensor for each rank.

use super::{Refused, cut::*, slice::fix_step, workspace::*};
use crate::{access::*, facts::apart::apart, ir::*, op::*};
use tile_base::{Mode, Size, Span};

/// Makes the sums into the tensor `object` a matter of the `par` axes `ranks`, in that order. `sizes` are the
/// tile sizes that the schedule gives: those of the ranks have to be among them.
pub fn order_sum(
    graph: &Graph,
    object: &str,
    ranks: &[String],
    sizes: &dyn Fn(&str) -> Option<u64>,
) -> Result<Launches, Refused> {
    let mut graph = graph.clone();
    let at = graph.objects.iter().position(|o| o.name == object && o.mode == Mode::Sum);
    let object = ObjectId::new(at.ok_or_else(|| Refused("is no `sum` tensor of this instance".into()))?);
    let mut axes = vec![];
    for name in ranks {
        let named = |&par: &NodeId| matches!(&graph.node(par).op, Op::Par(p) if p.name == *name);
        let par = graph.par_nest().into_iter().find(named);
        let par = par.ok_or_else(|| Refused(format!("has no `par` axis `{name}` to be ranked by")))?;
        fix_step(&mut graph, par, sizes)?;
        axes.push(par);
    }
    let adds = accumulations(&graph, object);
    one_instance_a_rank(&graph, object, &axes)?;
    let extents = axes.iter().map(|&par| steps(&graph, par)).collect::<Result<Vec<Size>, _>>()?;
    let workspace = Workspace {
        name: unique(&graph.signature, &format!("{}_ranks", graph.object(object).name)),
        dtype: graph.object(object).dtype,
        shape: extents.iter().chain(&graph.object(object).shape).cloned().collect(),
    };
    let first = by_rank(&graph, object, &adds, &axes, &workspace);
    let second = added_up(&graph, object, &extents, &workspace);
    crate::debug_verify(&first, "order_sum (ranks)");
    crate::debug_verify(&second, "order_sum (ordered)");
    Ok(Launches { graphs: vec![first, second], parts: None, workspaces: vec![workspace] })
}

fn accumulations(graph: &Graph, object: ObjectId) -> Vec<NodeId> {
    let adds = |n: &NodeId| matches!(&graph.node(*n).op, Op::Accumulate(a) if a.object == object);
    graph.nodes_under(ROOT).into_iter().filter(adds).collect()
}

/// Whether instances that add to one element differ in a rank: whatever is no rank keeps them apart.
fn one_instance_a_rank(graph: &Graph, object: ObjectId, ranks: &[NodeId]) -> Result<(), Refused> {
    let apart = apart(graph, object);
    for par in graph.par_nest().into_iter().filter(|p| !ranks.contains(p) && !apart.contains(p)) {
        let Op::Par(p) = &graph.node(par).op else { continue };
        let message = format!(
            "is added to by several instances of `{}`, which is no rank: name it in `rank({}, …)`",
            p.name, p.name
        );
        return Err(Refused(message));
    }
    Ok(())
}

/// Whether a floating-point sum of a kernel hangs on the order of its instances, or of the elements of a gathered tile.
pub fn adds_in_no_order(graph: &Graph) -> bool {
    let gathers = |c: &Coord| matches!(c.index, CoordIndex::Gather { .. });
    graph.nodes_under(ROOT).into_iter().any(|node| {
        let Op::Accumulate(access) = &graph.node(node).op else { return false };
        let float = graph.object(access.object).dtype.is_float();
        let meet = || {
            let apart = apart(graph, access.object);
            graph.par_nest().iter().any(|par| !apart.contains(par))
        };
        float && (access.coords.iter().any(gathers) || meet())
    })
}

/// The kernel, each rank adding into its own part of the workspace.
fn by_rank(
    graph: &Graph,
    object: ObjectId,
    adds: &[NodeId],
    ranks: &[NodeId],
    workspace: &Workspace,
) -> Graph {
    let mut g = graph.clone();
    g.name = format!("{}_{}_ranks", graph.name, identifier(&graph.object(object).name));
    let own = extend(&mut g, std::slice::from_ref(workspace), Mode::Sum, graph.object(object).span);
    let index = |&par: &NodeId| {
        let Op::Par(p) = &graph.node(par).op else { return None };
        graph.region_args(p.body).get(p.iter.variables() - 1).copied()
    };
    let ranks: Vec<Value> = ranks.iter().filter_map(index).collect();
    for &node in adds {
        let mut inputs = g.inputs(node);
        let first = inputs.len() as u32;
        inputs.extend(&ranks);
        g.set_inputs(node, &inputs);
        if let Op::Accumulate(access) = &mut g.node_mut(node).op {
            access.object = own;
            let ports = (first..).take(ranks.len());
            let coords = ports.map(|port| Coord::scalar(port, Check::Proven));
            access.coords = coords.chain(access.coords.drain(..)).collect();
        }
        move_effects(&mut g, object, own);
    }
    read_only_unless_written(&mut g);
    g
}

/// Effects between the additions are on the workspace now.
fn move_effects(g: &mut Graph, from: ObjectId, to: ObjectId) {
    for edge in g.nodes.edge_weights_mut() {
        if let Edge::Effect { object } = edge
            && *object == from
        {
            *object = to;
        }
    }
}

/// The kernel that adds the ranks up: `par` over all dimensions, the last two by tiles.
fn added_up(graph: &Graph, object: ObjectId, ranks: &[Size], workspace: &Workspace) -> Graph {
    let span = graph.object(object).span;
    let mut g = Graph::new(graph.name.clone(), graph.signature.clone());
    g.objects = graph.objects.clone();
    let own = extend(&mut g, std::slice::from_ref(workspace), Mode::In, span);
    let shape = g.object(object).shape.clone();
    let tiled = shape.len().saturating_sub(2);
    let (mut region, mut at) = (ROOT, vec![]);
    for (n, extent) in shape.iter().enumerate() {
        let here = At { region, before: None, span };
        let zero = scalar(&mut g, here, Literal::Int(0));
        let hi = size_value(&mut g, here, extent);
        let body = g.add_region(RegionKind::Par);
        let inside = At { region: body, before: None, span };
        let (iter, variables) = match n < tiled {
            true => (Iter::Each { reverse: false }, 1),
            false => (tile(&mut g, n), 3),
        };
        let args = insert(&mut g, inside, Op::RegionArgs, vec![ValueType::index(); variables], &[]);
        if let Iter::Tiles { span, .. } = iter {
            (g.spans[span.index()].start, g.spans[span.index()].end) = (args[0], args[1]);
        }
        let name = format!("x{n}");
        insert(&mut g, here, Op::Par(ParOp { iter, body, name }), vec![], &[zero, hi]);
        at.push((iter, args[0]));
        region = body;
    }
    let inside = At { region, before: None, span };
    let axes: Vec<Axis> = at
        .iter()
        .filter_map(|(iter, _)| match iter {
            Iter::Tiles { span, .. } => Some(Axis::span(*span)),
            Iter::Each { .. } => None,
        })
        .collect();
    let ty = ValueType::tile(g.object(object).dtype, axes);
    let mut total = splat(&mut g, inside, zero(ty.dtype), &ty);
    total = add_ranks(&mut g, inside, ranks, own, &at, total, &mut vec![]);
    let mut ports = vec![total];
    let access = element(object, &[], &at, &mut ports);
    insert(&mut g, inside, Op::Accumulate(access), vec![], &ports);
    close(&mut g, region, span);
    read_only_unless_written(&mut g);
    super::simplify(&mut g);
    g
}

/// A hidden tile size and a span of it.
fn tile(g: &mut Graph, n: usize) -> Iter {
    let name = format!("x{n}");
    g.tiles.push(TileSize { name: name.clone(), allowed: vec![], hidden: true, span: Span::default() });
    let step = StepSize::Tile(TileId::new(g.tiles.len() - 1));
    let nothing = Value { node: NodeId::new(0), port: 0 };
    g.spans.push(SpanDef { name, step, start: nothing, end: nothing });
    Iter::Tiles { step, span: SpanId::new(g.spans.len() - 1), reverse: false }
}

/// Loops over the ranks, one in the other.
fn add_ranks(
    g: &mut Graph,
    at: At,
    ranks: &[Size],
    own: ObjectId,
    place: &[(Iter, Value)],
    total: Value,
    outer: &mut Vec<Value>,
) -> Value {
    let Some((first, rest)) = ranks.split_first() else {
        let ty = g.type_of(total).clone();
        let mut ports = vec![];
        let access = element(own, outer, place, &mut ports);
        let part = insert(g, at, Op::Load(access), vec![ty.clone()], &ports)[0];
        return insert(g, at, Op::Elem(ElemOp::Add), vec![ty], &[total, part])[0];
    };
    let count = size_value(g, at, first);
    let name = format!("rank{}", outer.len());
    let folded = fold(g, at, &name, count, &[total], |g, inside, rank, totals| {
        outer.push(rank);
        let next = add_ranks(g, inside, rest, own, place, totals[0], outer);
        outer.pop();
        vec![next]
    });
    folded[0]
}

/// The access to one tile, behind coordinates for the ranks.
fn element(object: ObjectId, ranks: &[Value], place: &[(Iter, Value)], ports: &mut Vec<Value>) -> Access {
    let mut port = |value| {
        ports.push(value);
        ports.len() as u32 - 1
    };
    let mut coords: Vec<Coord> = ranks.iter().map(|&r| Coord::scalar(port(r), Check::Proven)).collect();
    let mut axis = 0;
    for &(iter, first) in place {
        coords.push(match iter {
            Iter::Each { .. } => Coord::scalar(port(first), Check::Proven),
            Iter::Tiles { .. } => {
                axis += 1;
                Coord::along(axis - 1, Some(port(first)), Check::Proven)
            }
        });
    }
    Access { object, coords, otherwise: None, mask: None }
}

/// Ends the nest of `par`s from the inside out.
fn close(g: &mut Graph, innermost: RegionId, span: Span) {
    let mut region = innermost;
    while region != ROOT {
        insert(g, At { region, before: None, span }, Op::Yield, vec![], &[]);
        let Some(outer) = g.parent(region) else { break };
        region = outer;
    }
}

/// A size as index arithmetic.
fn size_value(g: &mut Graph, at: At, size: &Size) -> Value {
    let two = |g: &mut Graph, a: &Size, b: &Size, op| {
        let (a, b) = (size_value(g, at, a), size_value(g, at, b));
        index(g, at, op, a, b)
    };
    match size {
        Size::Const(v) => scalar(g, at, Literal::Int(*v)),
        Size::Name(name) => {
            // Every name of a shape is a dimension: consts have their values already.
            let dim = g.signature.dims.iter().position(|d| d == name).unwrap_or(0);
            insert(g, at, Op::Dim(dim as u32), vec![ValueType::index()], &[])[0]
        }
        Size::Add(a, b) => two(g, a, b, ElemOp::Add),
        Size::Sub(a, b) => two(g, a, b, ElemOp::Sub),
        Size::Mul(a, b) => two(g, a, b, ElemOp::Mul),
        Size::FloorDiv(a, b) => two(g, a, b, ElemOp::Div),
        Size::Mod(a, b) => two(g, a, b, ElemOp::Rem),
        Size::Min(a, b) => two(g, a, b, ElemOp::Min),
        Size::Max(a, b) => two(g, a, b, ElemOp::Max),
        Size::CeilDiv(a, b) => {
            let (a, b) = (size_value(g, at, a), size_value(g, at, b));
            let one = scalar(g, at, Literal::Int(1));
            let less = index(g, at, ElemOp::Sub, b, one);
            let sum = index(g, at, ElemOp::Add, a, less);
            index(g, at, ElemOp::Div, sum, b)
        }
    }
}
