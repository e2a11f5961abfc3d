//! The function: parameters in the order of docs/abi.md, the thread's numbers, the block's place in the `par` domain.

use super::{Emission, Emit, register_type};
use crate::text::{Text, Ty, V};
use std::{
    collections::{HashMap, HashSet},
    fmt::Write,
};
use tile_base::{Mode, Size, Sources, Span, signature::ParamKind};
use tile_graph::{Graph, Iter, NodeId, ParOp, SpanId, StepSize, Value};
use tile_plan::Plan;

/// Parameters of the function: name, type, attributes.
fn parameters(g: &Graph, plan: &Plan) -> Vec<(Ty, &'static str)> {
    let mut out = vec![];
    for param in &g.signature.params {
        let ParamKind::Tensor(t) = param else { continue };
        if t.present {
            let only_read = t.mode == Mode::In;
            out.push((
                Ty::Global,
                if only_read { " {llvm.noalias, llvm.readonly}" } else { " {llvm.noalias}" },
            ));
            out.extend(t.shape.iter().map(|_| (Ty::I64, "")));
        }
    }
    out.extend(g.signature.dims.iter().map(|_| (Ty::I64, "")));
    for param in &g.signature.params {
        if let ParamKind::Scalar(s) = param {
            out.push((register_type(s.dtype), ""));
        }
    }
    let map = " {llvm.byval = !llvm.array<128 x i8>, llvm.align = 64 : i64, nvvm.grid_constant}";
    out.extend(plan.maps.iter().map(|_| (Ty::Generic, map)));
    out
}

/// Module, shared memory, what else is `declared`, and the head of the function.
pub(super) fn header(g: &Graph, plan: &Plan, declared: &str) -> String {
    let mut out = String::from("module {\n");
    if plan.shared_bytes() > 0 {
        let _ = writeln!(
            out,
            "llvm.mlir.global external @shared() {{addr_space = 3 : i32, alignment = {} : i64}} : !llvm.array<0 x i8> loc(#s0)",
            plan.shared_align()
        );
    }
    out.push_str(declared);
    let args: Vec<String> = parameters(g, plan)
        .iter()
        .enumerate()
        .map(|(n, (ty, attrs))| format!("%{n}: {ty}{attrs} loc(#s0)"))
        .collect();
    let threads = plan.threads();
    let _ = writeln!(
        out,
        "llvm.func @{}({}) attributes {{nvvm.kernel, nvvm.reqntid = array<i32: {threads}, 1, 1>, nvvm.minctasm = 1 : i32}} {{",
        g.name,
        args.join(", ")
    );
    out
}

/// Numbered locations: file, line and column where the sources are known, else byte offsets.
pub(super) fn locations(spans: &[Span], sources: Option<&Sources>) -> String {
    let mut out = String::new();
    for (n, span) in spans.iter().enumerate() {
        let known = sources.and_then(|s| s.get(span.file));
        let _ = match known {
            Some(file) if *span != Span::default() => {
                let (line, column) = file.line_column(span.start);
                let name = file.name.replace(['\\', '"', '\n'], "_");
                writeln!(out, "#s{n} = loc(\"{name}\":{line}:{column})")
            }
            _ => writeln!(out, "#s{n} = loc(\"kernel\":{}:{})", span.start, span.end),
        };
    }
    out
}

/// The emitter at the start of the function.
pub(super) fn open<'a>(g: &'a Graph, plan: &'a Plan, sources: Option<&'a Sources>) -> Emit<'a> {
    let mut t = Text::new();
    let mut arguments =
        parameters(g, plan).into_iter().map(|(ty, _)| t.argument(ty)).collect::<Vec<V>>().into_iter();
    let mut next = || arguments.next();
    let mut by_param = HashMap::new();
    for (at, param) in g.signature.params.iter().enumerate() {
        if let ParamKind::Tensor(tensor) = param
            && tensor.present
            && let Some(pointer) = next()
        {
            let strides: Vec<V> = tensor.shape.iter().filter_map(|_| next()).collect();
            by_param.insert(at, (pointer, strides));
        }
    }
    let dims: Vec<V> = g.signature.dims.iter().filter_map(|_| next()).collect();
    let mut scalars = HashMap::new();
    for (at, param) in g.signature.params.iter().enumerate() {
        if let (ParamKind::Scalar(_), Some(v)) =
            (param, matches!(param, ParamKind::Scalar(_)).then(&mut next).flatten())
        {
            scalars.insert(at as u32, v);
        }
    }
    let maps: Vec<V> = plan.maps.iter().filter_map(|_| next()).collect();
    let thread = t.pure("nvvm.read.ptx.sreg.tid.x : i32".into(), &[], Ty::I32);
    let (five, low) = (t.i32(5), t.i32(31));
    let lane = t.int_op("and", thread, low);
    let warp = t.int_op("lshr", thread, five);
    let shared = match plan.shared_bytes() {
        0 => t.i32(0),
        _ => t.pure("llvm.mlir.addressof @shared : !llvm.ptr<3>".into(), &[], Ty::Shared),
    };
    let tensors = g.objects.iter().map(|o| by_param.get(&o.param).cloned()).collect();
    Emit {
        g,
        plan,
        t,
        values: HashMap::new(),
        affine: HashMap::new(),
        zero_past_end: HashSet::new(),
        tensors,
        dims,
        scalars,
        maps,
        turns: vec![],
        halves: HashMap::new(),
        lane,
        warp,
        shared,
        sources,
        texts: vec![],
    }
}

impl Emit<'_> {
    /// A size over the dimensions, i64.
    pub(super) fn size(&mut self, size: &Size) -> Option<V> {
        let mut two = |a: &Size, b: &Size| Some((self.size(a)?, self.size(b)?));
        Some(match size {
            Size::Const(n) => self.t.i64(*n),
            Size::Name(name) => {
                let at = self.g.signature.dims.iter().position(|d| d == name)?;
                self.dims[at]
            }
            Size::Add(a, b) => {
                let (a, b) = two(a, b)?;
                self.t.add(a, b)
            }
            Size::Sub(a, b) => {
                let (a, b) = two(a, b)?;
                self.t.sub(a, b)
            }
            Size::Mul(a, b) => {
                let (a, b) = two(a, b)?;
                self.t.mul(a, b)
            }
            Size::FloorDiv(a, b) => {
                let (a, b) = two(a, b)?;
                self.floor_div(a, b)
            }
            Size::Mod(a, b) => {
                let (a, b) = two(a, b)?;
                let q = self.floor_div(a, b);
                let back = self.t.mul(q, b);
                self.t.sub(a, back)
            }
            Size::CeilDiv(a, b) => {
                let (a, b) = two(a, b)?;
                let zero = self.t.i64(0);
                let negative = self.t.sub(zero, a);
                let q = self.floor_div(negative, b);
                self.t.sub(zero, q)
            }
            Size::Min(a, b) => {
                let (a, b) = two(a, b)?;
                self.t.intrinsic("smin", &[a, b])
            }
            Size::Max(a, b) => {
                let (a, b) = two(a, b)?;
                self.t.intrinsic("smax", &[a, b])
            }
        })
    }

    /// One axis of the domain: its index from the block number, then its body.
    pub(super) fn par(&mut self, node: NodeId, p: &ParOp) -> Emission<()> {
        let at = self
            .plan
            .grid
            .iter()
            .position(|a| a.par == node)
            .ok_or_else(|| self.bug(node, "not in the grid"))?;
        let index = self.block_index(node, at)?;
        let lo = self.scalar(node, self.g.inputs(node)[0])?;
        let hi = self.scalar(node, self.g.inputs(node)[1])?;
        let variables = match p.iter {
            Iter::Each { .. } => vec![self.t.add(lo, index)],
            Iter::Tiles { step, .. } => {
                let step = self.t.i64(self.step(step));
                let skipped = self.t.mul(index, step);
                let start = self.t.add(lo, skipped);
                let past = self.t.add(start, step);
                vec![start, self.t.intrinsic("smin", &[past, hi]), index]
            }
        };
        let exists = self.plan.grid[at].ragged.then(|| self.t.icmp("slt", variables[0], hi));
        for (value, v) in self.g.region_args(p.body).into_iter().zip(variables) {
            self.values.insert(value, vec![v]);
        }
        match exists {
            // The condition is the same for the whole block, so barriers inside are reached by all or none.
            Some(exists) => {
                self.t.open_if(exists, &[]);
                self.region(p.body)?;
                self.t.close_if(&[]);
                Ok(())
            }
            None => self.region(p.body),
        }
    }

    pub(super) fn step(&self, step: StepSize) -> i64 {
        self.plan.binding.step(step).unwrap_or(1) as i64
    }

    /// Position along axis `at` of this block. Counts fit 31 bits, as the grid does.
    fn block_index(&mut self, node: NodeId, at: usize) -> Emission<V> {
        let mut number = self.t.pure("nvvm.read.ptx.sreg.ctaid.x : i32".into(), &[], Ty::I32);
        for inner in (at + 1..self.plan.grid.len()).rev() {
            let count = self.count(node, inner)?;
            number = self.t.pure(format!("llvm.udiv {number}, {count} : i32"), &[number, count], Ty::I32);
        }
        if at > 0 {
            let count = self.count(node, at)?;
            number = self.t.pure(format!("llvm.urem {number}, {count} : i32"), &[number, count], Ty::I32);
        }
        Ok(self.t.convert("zext", number, Ty::I64))
    }

    fn count(&mut self, node: NodeId, axis: usize) -> Emission<V> {
        let size = self.plan.grid[axis].count.clone();
        let count =
            self.size(&size).ok_or_else(|| self.bug(node, "a grid axis over an unknown dimension"))?;
        Ok(self.t.convert("trunc", count, Ty::I32))
    }

    pub(super) fn make_span(&mut self, node: NodeId, span: SpanId) -> Emission<Vec<Vec<V>>> {
        let inputs = self.g.inputs(node);
        let (lo, hi) = (self.scalar(node, inputs[0])?, self.scalar(node, inputs[1])?);
        let step = self.step(self.g.span(span).step);
        let past = self.t.add_const(lo, step);
        let end = self.t.intrinsic("smin", &[past, hi]);
        let end = self.t.intrinsic("smax", &[end, lo]);
        Ok(vec![vec![lo], vec![end]])
    }

    pub(super) fn bind(&mut self, values: &[Value], registers: &[V]) {
        for (value, &v) in values.iter().zip(registers) {
            self.values.insert(*value, vec![v]);
        }
    }
}
