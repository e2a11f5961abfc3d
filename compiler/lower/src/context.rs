//! What lowering knows while it walks a kernel: the value of each local, the span of each loop, the builder.

use std::collections::HashMap;
use tile_base::{Diagnostic, Span};
use tile_graph::{
    Axis, Graph, GraphBuilder, Iter, Object, Op, ParOp, RegionId, RegionKind, SpanId, StepSize, TileId,
    Value, ValueType, typing::fixed,
};
use tile_sema::typed::{self, LocalId, Step, TypedKernel};

pub type Lowered<T> = Result<T, Diagnostic>;

/// A span in scope: its id in the graph and the values of its fields.
#[derive(Clone, Copy)]
pub struct OpenSpan {
    pub id: SpanId,
    pub start: Value,
    pub end: Value,
    pub number: Value,
}

pub struct Lowering<'a> {
    pub kernel: &'a TypedKernel,
    pub b: GraphBuilder,
    /// Current value of each local.
    pub locals: HashMap<LocalId, Value>,
    pub spans: HashMap<typed::SpanId, OpenSpan>,
}

impl<'a> Lowering<'a> {
    pub fn new(kernel: &'a TypedKernel) -> Self {
        let mut b = GraphBuilder::new(&kernel.name, kernel.signature.clone());
        for o in &kernel.objects {
            b.object(Object {
                name: o.name.clone(),
                param: o.param,
                dtype: o.dtype,
                mode: o.mode,
                index: o.index.clone(),
                shape: o.shape.clone(),
                span: o.span,
            });
        }
        // Typed tile ids stay graph tile ids; hidden ones follow.
        for t in &kernel.tiles {
            b.tile_size(&t.name, t.allowed.clone(), false, t.span);
        }
        Lowering { kernel, b, locals: HashMap::new(), spans: HashMap::new() }
    }

    /// The `par` nest around the body; a kernel without one is a single instance.
    pub fn kernel(mut self) -> Lowered<Graph> {
        let kernel = self.kernel;
        self.stmts(&kernel.before)?;
        let mut open = vec![];
        for axis in &kernel.par {
            self.stmts(&axis.setup)?;
            let (lo, hi) = (self.expr(&axis.lo)?, self.expr(&axis.hi)?);
            self.b.at(axis.span);
            let (iter, body, _) = self.open_loop(RegionKind::Par, axis.iter, false, vec![]);
            open.push((ParOp { iter, body, name: axis.name.clone() }, lo, hi, axis.span));
        }
        if open.is_empty() {
            let (lo, hi) = (self.b.index(0), self.b.index(1));
            self.b.at(kernel.span);
            let (body, _) = self.b.open(RegionKind::Par, vec![ValueType::index()]);
            let iter = Iter::Each { reverse: false };
            open.push((ParOp { iter, body, name: "instance".into() }, lo, hi, kernel.span));
        }
        self.stmts(&kernel.body)?;
        while let Some((par, lo, hi, span)) = open.pop() {
            self.b.at(span);
            self.b.close(&[]);
            self.b.add(Op::Par(par), &[lo, hi], vec![]);
        }
        Ok(self.b.finish())
    }

    /// Opens the body of a loop or `par` axis and binds its variables; the carried values as the body sees them.
    pub fn open_loop(
        &mut self,
        kind: RegionKind,
        iter: typed::Iter,
        reverse: bool,
        carried: Vec<ValueType>,
    ) -> (Iter, RegionId, Vec<Value>) {
        match iter {
            typed::Iter::Each { index } => {
                let types = [ValueType::index()].into_iter().chain(carried).collect();
                let (body, args) = self.b.open(kind, types);
                self.locals.insert(index, args[0]);
                (Iter::Each { reverse }, body, args[1..].to_vec())
            }
            typed::Iter::Tiles { span, step } => {
                let step = self.step(span, step);
                let id = self.b.declare_span(&self.kernel.spans[span.index()].name, step);
                let types = vec![ValueType::index(); 3].into_iter().chain(carried).collect();
                let (body, args) = self.b.open(kind, types);
                self.b.set_span(id, args[0], args[1]);
                self.spans.insert(span, OpenSpan { id, start: args[0], end: args[1], number: args[2] });
                (Iter::Tiles { step, span: id, reverse }, body, args[3..].to_vec())
            }
        }
    }

    /// The step of a span; a hidden one gets a tile size named after the span's path.
    pub fn step(&mut self, span: typed::SpanId, step: Step) -> StepSize {
        match step {
            Step::Tile(t) => StepSize::Tile(TileId(t.0)),
            Step::Fixed(n) => StepSize::Fixed(n),
            Step::Hidden => {
                let info = &self.kernel.spans[span.index()];
                StepSize::Tile(self.b.tile_size(&info.path, vec![], true, info.span))
            }
        }
    }

    pub fn local(&self, local: LocalId, at: Span) -> Lowered<Value> {
        self.locals.get(&local).copied().ok_or_else(|| {
            let name = self.kernel.locals.get(local.index()).map_or("?", |l| &l.path);
            fault(at, format!("`{name}` ({local}) is used before it has a value"))
        })
    }

    pub fn open_span(&self, span: typed::SpanId, at: Span) -> Lowered<OpenSpan> {
        self.spans
            .get(&span)
            .copied()
            .ok_or_else(|| fault(at, format!("span {span} is used outside its loop")))
    }

    pub fn local_type(&self, local: LocalId, at: Span) -> Lowered<ValueType> {
        match self.kernel.locals.get(local.index()) {
            Some(l) => self.ty(&l.ty, at),
            None => Err(fault(at, format!("there is no local {local}"))),
        }
    }

    /// A type of the typed kernel as one of the graph: extents of 1 are `One`.
    pub fn ty(&self, ty: &typed::Type, at: Span) -> Lowered<ValueType> {
        let axes = ty.axes.iter().map(|a| self.axis(a, at)).collect::<Lowered<_>>()?;
        Ok(ValueType { dtype: ty.elem.dtype(), axes })
    }

    pub fn axis(&self, axis: &typed::Axis, at: Span) -> Lowered<Axis> {
        Ok(match *axis {
            typed::Axis::One => Axis::One,
            typed::Axis::Fixed { value, .. } => fixed(value),
            typed::Axis::Span { span, times } => Axis::Span { span: self.open_span(span, at)?.id, times },
        })
    }

    /// Gives a value the path of the local it is bound to, unless it has one.
    pub fn name(&mut self, value: Value, path: &str) {
        let node = self.b.graph_mut().node_mut(value.node);
        if node.path.is_none()
            && !matches!(node.op, Op::Const(_) | Op::Dim(_) | Op::Param(_) | Op::RegionArgs)
        {
            node.path = Some(path.to_string());
        }
    }
}

/// A fault of the compiler: the typed kernel breaks its own rules.
pub fn fault(at: Span, text: impl Into<String>) -> Diagnostic {
    Diagnostic::error("T0920", at, text).note("this is a fault of the compiler, not of the kernel")
}
