//! One instance of a launch: slots for values, the walk over regions, the dispatch over operations.
//!
//! A [`Worker`] belongs to one thread and runs many instances one after the other. The nodes of the root region are
//! run once per worker; for each instance the levels of the `par` nest are entered with that instance's coordinates.
//! Values live in one flat array of slots; a region that runs again overwrites its slots.

use super::{
    Options,
    code::{Code, NodeCode, Slot},
    collective::{self, CollectiveFault, Direction},
    contract::{self, DotFault},
    elem::{self, ElemFault},
    fault::{Fault, Run},
    memory::{Memory, SumLog, Who},
    number::{self, IntFault},
    rearrange,
    value::{MAX_RANK, Shape, Val},
};
use std::{collections::BTreeMap, sync::Arc};
use tile_base::{DType, Span};
use tile_graph::{
    Axis, Claim, DotAxes, ElemOp, Graph, Literal, Node, NodeId, Op, ReduceKind, RegionId, ValueType,
};

/// The most elements of one tile.
pub const TILE_LIMIT: usize = 1 << 26;

/// What all workers of a launch share.
pub struct Shared<'a> {
    pub graph: &'a Graph,
    pub code: &'a Code,
    pub dims: &'a [i64],
    /// By position among the signature's parameters; tensors are unset.
    pub params: &'a [Val],
    pub memory: &'a [Memory<'a>],
    /// Elements per step, by tile size.
    pub steps: &'a [u64],
    pub options: &'a Options,
    pub rounded: bool,
}

/// One trip of a loop or one level of the `par` nest: start, end, number (an index loop: index, index + 1, number).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trip {
    pub start: i64,
    pub end: i64,
    pub number: i64,
}

/// How often claims were put to the test, by node.
pub type Tested = BTreeMap<(NodeId, TestedClaim), u64>;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TestedClaim {
    Skip,
    Merge,
    Affine,
    Unique,
}

impl TestedClaim {
    /// Whether an obligation of the graph is of this kind.
    pub fn is(self, claim: Claim) -> bool {
        matches!(
            (self, claim),
            (TestedClaim::Skip, Claim::Skip)
                | (TestedClaim::Merge, Claim::Merge)
                | (TestedClaim::Affine, Claim::Affine { .. })
                | (TestedClaim::Unique, Claim::Unique)
        )
    }
}

pub struct Worker<'a> {
    pub shared: &'a Shared<'a>,
    pub slots: Vec<Val>,
    /// The instance that runs.
    pub me: Who,
    /// Its coordinates, outermost first; while enumerating, those entered so far.
    pub coordinates: Vec<Trip>,
    /// Level of the `par` nest entered next.
    pub level: usize,
    /// Set while the domain is listed instead of run.
    pub listing: Option<Vec<Trip>>,
    /// Loops that are running, outermost first.
    pub loops: Vec<(NodeId, Trip)>,
    /// Above 0: memory is not written and nothing is printed (superposition of an `affine` body).
    pub dry: u32,
    /// Above 0: inside a body that `skip` passes over.
    pub in_skipped: u32,
    pub log: SumLog,
    pub prints: Vec<String>,
    pub tested: Tested,
}

impl<'a> Worker<'a> {
    pub fn new(shared: &'a Shared<'a>) -> Worker<'a> {
        Worker {
            shared,
            slots: vec![Val::Unset; shared.code.slots],
            me: 0,
            coordinates: vec![],
            level: 0,
            listing: None,
            loops: vec![],
            dry: 0,
            in_skipped: 0,
            log: SumLog::default(),
            prints: vec![],
            tested: Tested::new(),
        }
    }

    /// The value of a slot that holds an index or a bool.
    pub fn int(&self, slot: Slot) -> i64 {
        match self.slots[slot as usize] {
            Val::Int(x) => x,
            _ => 0,
        }
    }

    pub fn graph(&self) -> &'a Graph {
        self.shared.graph
    }

    /// The value at an input port: moved out at its last use.
    pub fn input(&mut self, node: &NodeCode, port: usize) -> Val {
        match node.inputs.get(port) {
            Some(input) if input.last => std::mem::take(&mut self.slots[input.slot as usize]),
            Some(input) => self.slots[input.slot as usize].clone(),
            None => Val::Unset,
        }
    }

    pub fn int_input(&self, node: &NodeCode, port: usize) -> i64 {
        node.inputs.get(port).map_or(0, |i| self.int(i.slot))
    }

    /// Runs the nodes of a region; its arguments are in their slots.
    pub fn region(&mut self, id: RegionId) -> Run<()> {
        let shared = self.shared;
        for code in &shared.code.region(id).nodes {
            let node = shared.graph.node(code.id);
            if let Err(fault) = self.node(code, node) {
                return Err(if fault.located { fault } else { self.locate(fault) });
            }
        }
        Ok(())
    }

    /// The results of a region that has just run.
    pub fn results(&mut self, id: RegionId, into: &mut Vec<Val>) {
        let shared = self.shared;
        into.clear();
        for input in &shared.code.region(id).yields {
            let slot = &mut self.slots[input.slot as usize];
            into.push(if input.last { std::mem::take(slot) } else { slot.clone() });
        }
    }

    pub fn set_args(&mut self, id: RegionId, from: usize, values: impl Iterator<Item = Val>) {
        let first = self.shared.code.region(id).args as usize + from;
        for (at, value) in values.enumerate() {
            self.slots[first + at] = value;
        }
    }

    fn node(&mut self, code: &NodeCode, node: &Node) -> Run<()> {
        if let Some(ty) = node.outputs.first()
            && ty.axes.len() > 1
        {
            self.shape_of(ty, node.span)?;
        }
        let value = match &node.op {
            Op::Const(literal) => self.literal(*literal, node.outputs[0].dtype),
            Op::Dim(at) => Val::Int(self.shared.dims[*at as usize]),
            Op::Param(at) => self.shared.params[*at as usize].clone(),
            Op::MakeSpan { span } => return self.make_span(code, *span),
            Op::Iota => {
                let shape = self.shape_of(&node.outputs[0], node.span)?;
                Val::ints(shape, (0..shape.count() as i64).collect())
            }
            Op::Elem(op) => self.elementwise(*op, code, node)?,
            Op::Cast => {
                let to = node.outputs[0].dtype;
                let x = self.input(code, 0);
                self.rounded(to, elem::cast(to, x))
            }
            Op::Broadcast => {
                let shape = self.shape_of(&node.outputs[0], node.span)?;
                elem::broadcast(&self.input(code, 0), shape).map_err(|e| elem_fault(e, node))?
            }
            Op::Reshape { .. } | Op::Merge { .. } | Op::Split { .. } => {
                let shape = self.shape_of(&node.outputs[0], node.span)?;
                let x = self.input(code, 0);
                if x.shape().rank() > 0 && x.shape().count() != shape.count() {
                    return Err(Fault::internal(node.span, "a rearrangement changes the number of elements"));
                }
                x.reshaped(shape)
            }
            Op::Permute { order } => rearrange::permute(&self.input(code, 0), order),
            Op::Slice { axis, lo } => {
                let shape = self.shape_of(&node.outputs[0], node.span)?;
                let (axis, lo) = (*axis as usize, *lo as usize);
                rearrange::slice(&self.input(code, 0), axis, lo, shape.dim(axis))
            }
            Op::Concat { axis } => {
                let parts: Vec<Val> = (0..code.inputs.len()).map(|p| self.input(code, p)).collect();
                rearrange::concat(&parts, *axis as usize).unwrap_or_default()
            }
            Op::Take { axis } => self.take(code, node, *axis as usize)?,
            Op::Dot(axes) => self.dot(code, node, axes)?,
            Op::Reduce { axis, kind } => {
                let x = self.input(code, 0);
                let dtype = code.operand;
                let out = collective::reduce(&x, *axis as usize, *kind, dtype)
                    .map_err(|e| collective_fault(e, node, dtype))?;
                let exact = matches!(kind, ReduceKind::Max | ReduceKind::Min);
                if exact { out } else { self.rounded(dtype, out) }
            }
            Op::ReduceWith { axis, combine } => {
                return self.reduce_with(code, node, *axis as usize, *combine);
            }
            Op::Scan { axis, kind, reverse, exclusive } => {
                let x = self.input(code, 0);
                let dtype = node.outputs[0].dtype;
                let way = Direction { reverse: *reverse, exclusive: *exclusive };
                let out = collective::scan(&x, *axis as usize, *kind, way, dtype)
                    .map_err(|e| collective_fault(e, node, dtype))?;
                self.rounded(dtype, out)
            }
            Op::TopK { axis, k } => return self.sorted(code, node, *axis as usize, true, Some(*k as usize)),
            Op::Sort { axis, descending } => {
                return self.sorted(code, node, *axis as usize, *descending, None);
            }
            Op::Histogram { bins } => {
                self.shape_of(&node.outputs[0], node.span)?;
                collective::histogram(&self.input(code, 0), *bins as usize)
            }
            Op::UnitLowerInv => {
                let out = collective::unit_lower_inv(&self.input(code, 0));
                self.rounded(node.outputs[0].dtype, out)
            }
            Op::Load(access) => self.load(code, node, access)?,
            Op::Store { access, unique } => return self.store(code, node, access, *unique),
            Op::Accumulate(access) => return self.accumulate(code, node, access),
            Op::RegionArgs | Op::Yield => return Ok(()),
            Op::Par(par) => return self.par(code, node, par),
            Op::For(f) => return self.for_loop(code, node, f),
            Op::While { condition, body } => return self.while_loop(code, node, *condition, *body),
            Op::If { then, otherwise } => return self.branch(code, *then, *otherwise),
            Op::Assert { message } => return self.assert(code, node, message),
            Op::Print { label } => return self.print(code, node, label),
        };
        self.slots[code.out as usize] = value;
        Ok(())
    }

    // ---- types and shapes

    pub fn extent(&self, axis: Axis) -> usize {
        match axis {
            Axis::One => 1,
            Axis::Fixed(n) => usize::try_from(n).unwrap_or(usize::MAX),
            Axis::Span { span, times } => {
                let (start, end) = self.shared.code.spans[span.index()];
                let len = self.int(end).saturating_sub(self.int(start)).max(0) as usize;
                len.saturating_mul(usize::try_from(times).unwrap_or(usize::MAX))
            }
        }
    }

    /// The extents of a type here and now; refuses what would not fit in memory.
    pub fn shape_of(&self, ty: &ValueType, span: Span) -> Run<Shape> {
        if ty.axes.len() > MAX_RANK {
            let message = format!("a tile of {} axes; the oracle has at most {MAX_RANK}", ty.axes.len());
            return Err(Fault::new("T0462", span, message));
        }
        let mut dims = [0; MAX_RANK];
        let mut count = 1usize;
        for (dim, &axis) in dims.iter_mut().zip(&ty.axes) {
            *dim = self.extent(axis);
            count = count.saturating_mul(*dim);
        }
        // An empty axis hides an absurd one from the product; each extent is bounded by itself.
        if count > TILE_LIMIT || dims.iter().any(|&d| d > u32::MAX as usize) {
            let dims: Vec<String> = dims[..ty.axes.len()].iter().map(|d| d.to_string()).collect();
            let message = format!("a tile of {} elements", dims.join(" × "));
            return Err(Fault::new("T0462", span, message)
                .label(format!("the oracle holds at most {TILE_LIMIT} elements in one tile"))
                .help("choose a smaller tile size or constant"));
        }
        Ok(Shape::new(&dims[..ty.axes.len()]))
    }

    /// Rounds a float to its dtype in rounded mode.
    pub fn rounded(&self, dtype: DType, value: Val) -> Val {
        if !self.shared.rounded || !dtype.is_float() || dtype == DType::F64 {
            return value;
        }
        match value {
            Val::Float(x) => Val::Float(number::round(dtype, x)),
            Val::Floats(shape, mut data) => {
                let own: &mut Vec<f64> = Arc::make_mut(&mut data);
                number::round_slice(dtype, own);
                Val::Floats(shape, data)
            }
            other => other,
        }
    }

    fn literal(&self, literal: Literal, dtype: DType) -> Val {
        match literal {
            Literal::Float(x) => self.rounded(dtype, Val::Float(x)),
            Literal::Int(x) if dtype.is_float() => self.rounded(dtype, Val::Float(x as f64)),
            Literal::Int(x) => Val::Int(x),
            Literal::Bool(b) => Val::bool(b),
        }
    }

    // ---- operations with something to say for themselves

    fn make_span(&mut self, code: &NodeCode, span: tile_graph::SpanId) -> Run<()> {
        let (lo, hi) = (self.int_input(code, 0), self.int_input(code, 1));
        let end = lo.saturating_add(self.step(self.graph().span(span).step)).min(hi).max(lo);
        self.slots[code.out as usize] = Val::Int(lo);
        self.slots[code.out as usize + 1] = Val::Int(end);
        Ok(())
    }

    /// Elements per step, as a positive number.
    pub fn step(&self, step: tile_graph::StepSize) -> i64 {
        let size = match step {
            tile_graph::StepSize::Tile(tile) => self.shared.steps[tile.index()],
            tile_graph::StepSize::Fixed(n) => n,
        };
        i64::try_from(size).unwrap_or(i64::MAX).max(1)
    }

    fn elementwise(&mut self, op: ElemOp, code: &NodeCode, node: &Node) -> Run<Val> {
        let dtype = node.outputs[0].dtype;
        let [a, b, c] = std::array::from_fn(|p| self.input(code, p));
        let arity = op.arity();
        let value = elem::evaluate(op, code.operand, [a, b, c].into_iter().take(arity))
            .map_err(|e| elem_fault(e, node))?;
        use ElemOp::*;
        Ok(match op {
            Select | Max | Min | Neg | Abs | Floor | Ceil | Round => value,
            _ => self.rounded(dtype, value),
        })
    }

    fn take(&mut self, code: &NodeCode, node: &Node, axis: usize) -> Run<Val> {
        let (x, index) = (self.input(code, 0), self.input(code, 1));
        rearrange::take(&x, index.int_slice(), axis).map_err(|outside| {
            let extent = x.shape().dim(axis);
            Fault::new("T0466", node.span, format!("`take` at {outside} along an axis of extent {extent}"))
                .label(format!("axis {axis} has positions 0..{extent}"))
        })
    }

    fn dot(&mut self, code: &NodeCode, node: &Node, axes: &DotAxes) -> Run<Val> {
        let dtype = node.outputs[0].dtype;
        let tf32 = self.shared.rounded && code.operand == DType::Tf32;
        let [mut a, mut b] = std::array::from_fn(|p| self.input(code, p));
        if tf32 {
            a = self.rounded(DType::Tf32, a);
            b = self.rounded(DType::Tf32, b);
        }
        let out = contract::dot(a, b, axes, dtype).map_err(|fault| match fault {
            DotFault::Overflow => Fault::new("T0451", node.span, format!("a dot overflows {dtype}")),
            DotFault::Shapes => Fault::internal(node.span, "the operands of a dot have different extents"),
        })?;
        Ok(self.rounded(dtype, out))
    }

    fn sorted(
        &mut self,
        code: &NodeCode,
        node: &Node,
        axis: usize,
        descending: bool,
        k: Option<usize>,
    ) -> Run<()> {
        let x = self.input(code, 0);
        let (values, positions) = collective::sorted(&x, axis, descending, k, node.outputs[0].dtype);
        self.slots[code.out as usize] = values;
        self.slots[code.out as usize + 1] = positions;
        Ok(())
    }

    /// The combiner is a scalar function, and scalar functions lift: it runs on whole slices of the axis at once.
    fn reduce_with(&mut self, code: &NodeCode, node: &Node, axis: usize, combine: RegionId) -> Run<()> {
        let inputs: Vec<Val> = (0..code.inputs.len()).map(|p| self.input(code, p)).collect();
        let extent = inputs.first().map_or(0, |x| x.shape().dim(axis));
        if extent == 0 {
            return Err(Fault::new("T0464", node.span, "a reduction by a function over no elements")
                .help("start from an element that is always there, or guard it with `if`"));
        }
        let at = |n: usize| inputs.iter().map(move |x| rearrange::slice(x, axis, n, 1));
        let mut running: Vec<Val> = at(0).collect();
        for n in 1..extent {
            let count = running.len();
            self.set_args(combine, 0, running.drain(..));
            self.set_args(combine, count, at(n));
            self.region(combine)?;
            self.results(combine, &mut running);
        }
        for (port, value) in running.into_iter().enumerate() {
            self.slots[code.out as usize + port] = value;
        }
        Ok(())
    }

    fn assert(&mut self, code: &NodeCode, node: &Node, message: &str) -> Run<()> {
        let condition = self.input(code, 0);
        let Some(at) = condition.int_slice().iter().position(|&c| c == 0) else { return Ok(()) };
        if self.dry > 0 {
            return Ok(());
        }
        let said = if message.is_empty() { "an assertion does not hold".into() } else { message.to_string() };
        let mut fault = Fault::new("T0460", node.span, said).label("false here");
        if condition.shape().rank() > 0 {
            let at = super::fault::coordinate(&condition.shape().unravel(at));
            fault = fault.note(format!("at position {at} of the tile"));
        }
        Err(fault)
    }

    fn print(&mut self, code: &NodeCode, _: &Node, label: &str) -> Run<()> {
        const SHOWN: usize = 64;
        let value = self.input(code, 0);
        if self.dry > 0 || self.in_skipped > 0 || self.listing.is_some() {
            return Ok(());
        }
        let count = if value.shape().rank() == 0 { 1 } else { value.shape().count() };
        let mut shown: Vec<String> = (0..count.min(SHOWN)).map(|at| value.show(at)).collect();
        if count > SHOWN {
            shown.push(format!("… {} more", count - SHOWN));
        }
        let text = match value.shape().dims() {
            [] => shown.concat(),
            dims => {
                let dims: Vec<usize> = dims.iter().map(|&d| d as usize).collect();
                format!("{} {}", super::fault::coordinate(&dims), shown.join(", "))
            }
        };
        self.prints.push(format!("{label}: {text}"));
        Ok(())
    }

    // ---- witnesses

    /// Says in which instance and in which iterations a fault happened.
    fn locate(&self, mut fault: Fault) -> Fault {
        fault.located = true;
        let nest = self.graph().par_nest();
        if !self.coordinates.is_empty() {
            fault = fault.note(format!(
                "in the instance {}",
                describe_instance(self.graph(), &nest, &self.coordinates)
            ));
        }
        if !self.loops.is_empty() {
            let path: Vec<String> =
                self.loops.iter().map(|&(node, trip)| describe_trip(self.graph(), node, trip)).collect();
            fault = fault.note(format!("in the iteration {}", path.join(", ")));
        }
        fault
    }
}

/// `b = 0, h = 3, i = 32..48`.
pub fn describe_instance(graph: &Graph, nest: &[NodeId], coordinates: &[Trip]) -> String {
    let levels: Vec<String> =
        nest.iter().zip(coordinates).map(|(&n, &trip)| describe_trip(graph, n, trip)).collect();
    if levels.is_empty() { "that is the only one".into() } else { levels.join(", ") }
}

/// `j = 64..128` for a span, `s = 3` for an index.
pub fn describe_trip(graph: &Graph, node: NodeId, trip: Trip) -> String {
    let (name, iter) = match &graph.node(node).op {
        Op::Par(p) => (p.name.as_str(), Some(p.iter)),
        Op::For(f) => (f.name.as_str(), Some(f.iter)),
        _ => ("while", None),
    };
    match iter {
        Some(tile_graph::Iter::Tiles { .. }) => format!("{name} = {}..{}", trip.start, trip.end),
        Some(_) => format!("{name} = {}", trip.start),
        None => format!("{} of `while`", trip.number),
    }
}

fn elem_fault(fault: ElemFault, node: &Node) -> Fault {
    let name = node.op.name();
    let dtype = node.outputs[0].dtype;
    match fault {
        ElemFault::Int { fault, a, b } => {
            let (message, help) = match fault {
                IntFault::Overflow => {
                    (format!("`{name}` of {a} and {b} overflows {dtype}"), "use a wider dtype")
                }
                IntFault::DivisionByZero => (format!("`{name}` of {a} by zero"), "guard the divisor"),
                IntFault::Shift => {
                    (format!("a shift of {a} by {b}"), "shifts are by 0 to less than the bits of the dtype")
                }
            };
            Fault::new("T0451", node.span, message).label(format!("this is {dtype}")).help(help)
        }
        ElemFault::Shapes(a, b) => {
            let message = format!("`{name}` of tiles of extents {:?} and {:?}", a.dims(), b.dims());
            Fault::internal(node.span, message)
        }
        ElemFault::Kind => Fault::internal(node.span, format!("`{name}` of {dtype} has no meaning")),
    }
}

fn collective_fault(fault: CollectiveFault, node: &Node, dtype: DType) -> Fault {
    let name = node.op.name();
    match fault {
        CollectiveFault::Overflow => {
            Fault::new("T0451", node.span, format!("`{name}` overflows {dtype}")).help("use a wider dtype")
        }
        CollectiveFault::Empty => Fault::new("T0464", node.span, format!("`{name}` of no elements"))
            .help("guard it with `if`, or use `max` of a value that is always there"),
    }
}
