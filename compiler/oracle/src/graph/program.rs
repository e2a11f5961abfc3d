//! Host code: buffers for parameters and temporaries, host integers, the steps, and the binding of each launch.
//!
//! A buffer holds f64 or i64 whatever its dtype, so that in exact mode a value passes from one launch to the next
//! without rounding. A launch sees a *view* of a buffer: whole, or with dimensions fixed (`z[l]`) or cut (`z[0..n]`).

use super::{
    Array, ClaimTest, Mode, Options, Report,
    code::Code,
    eval::{Tested, TestedClaim},
    launch::Launch,
    memory::{Data, Memory, Owned, Storage, dense_strides},
    tiles,
    value::Val,
};
use std::collections::BTreeMap;
use tile_base::{
    DType, Diagnostic, IndexKind, Mode as Access, Signature, Size, Span,
    diagnostic::any_error,
    signature::{ParamKind, TensorParam},
};
use tile_graph::{Arg, Graph, Op, Part, Program, Step};
use tile_tensor::{Argument, Arguments, Scalar, Tensor};

type Outcome<T> = Result<T, Vec<Diagnostic>>;

struct Buffer {
    name: String,
    shape: Vec<usize>,
    data: Data,
    /// Of a temporary that the program names: which elements some launch has written.
    written: Option<Vec<bool>>,
}

/// A rectangular part of a buffer.
#[derive(Clone)]
struct View {
    buffer: usize,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
    /// Which dimension of the buffer each axis is.
    axes: Vec<usize>,
    /// What is covered of each dimension of the buffer, for the overlap test.
    extent: Vec<(usize, usize)>,
}

impl View {
    /// The offsets in the buffer of each element, row-major.
    fn offsets(&self) -> impl Iterator<Item = usize> + '_ {
        let count: usize = self.shape.iter().product();
        (0..count).map(|mut linear| {
            let mut offset = self.offset;
            for (&extent, &stride) in self.shape.iter().zip(&self.strides).rev() {
                offset += linear % extent * stride;
                linear /= extent;
            }
            offset
        })
    }

    fn overlaps(&self, other: &View) -> bool {
        self.buffer == other.buffer
            && self.extent.iter().zip(&other.extent).all(|(a, b)| a.0 < b.1 && b.0 < a.1)
    }
}

/// What a launch's parameter is given.
enum Given {
    View(View),
    Scalar(Scalar),
    Absent,
}

struct Host<'a> {
    program: &'a Program,
    options: &'a Options,
    codes: Vec<Option<Code>>,
    steps: Vec<Vec<u64>>,
    /// Tensor parameters by position, then temporaries.
    buffers: Vec<Option<Buffer>>,
    scalars: Vec<Val>,
    /// Dimensions, `let`s, loop variables.
    names: BTreeMap<String, i64>,
    bytes: u64,
    report: Report,
    tested: BTreeMap<usize, Tested>,
}

pub fn run(program: &Program, arguments: &mut Arguments, options: &Options) -> Outcome<Report> {
    let dims = tile_tensor::launch::bind(&program.signature, arguments)?;
    let mut host = Host::new(program, options, arguments, &dims)?;
    host.run_steps(&program.steps)?;
    host.finish(arguments)
}

impl<'a> Host<'a> {
    fn new(program: &'a Program, options: &'a Options, arguments: &Arguments, dims: &[i64]) -> Outcome<Self> {
        let graphs = program.graphs.iter().enumerate();
        let steps: Vec<Vec<u64>> =
            graphs.map(|(at, g)| tiles::steps(g, options.tiles.get(at))).collect::<Result<_, _>>()?;
        let params = program.signature.params.len();
        let mut host = Host {
            program,
            options,
            codes: program.graphs.iter().map(|_| None).collect(),
            steps,
            buffers: (0..params + program.temps.len()).map(|_| None).collect(),
            scalars: vec![Val::Unset; params],
            names: program.signature.dims.iter().cloned().zip(dims.iter().copied()).collect(),
            bytes: 0,
            report: Report::default(),
            tested: BTreeMap::new(),
        };
        for (at, (param, argument)) in program.signature.params.iter().zip(arguments.iter()).enumerate() {
            match (param, argument) {
                (ParamKind::Tensor(p), Argument::Tensor(t)) => {
                    host.reserve(&p.name, t.len())?;
                    host.buffers[at] = Some(buffer_of(p, t));
                }
                (ParamKind::Scalar(p), Argument::Scalar(s)) => host.scalars[at] = scalar(*s, p.dtype),
                _ => {}
            }
        }
        Ok(host)
    }

    /// Accounts for a tensor before it is made: its elements, and the private copy with owners that a launch makes.
    fn reserve(&mut self, name: &str, count: usize) -> Outcome<()> {
        self.bytes = self.bytes.saturating_add((count as u64).saturating_mul(24));
        let limit = self.options.memory_limit;
        if self.bytes <= limit {
            return Ok(());
        }
        let message = format!(
            "with `{name}` the tensors need {} bytes on the oracle, the limit is {limit}",
            self.bytes
        );
        Err(vec![Diagnostic::global("T0462", message).help("use smaller dimensions")])
    }

    // ---- host integers

    fn lookup(&self, name: &str) -> Option<i64> {
        self.names.get(name).copied().or_else(|| {
            // A temporary's shape may name a tile size, of any graph that has it.
            let found = self.program.graphs.iter().zip(&self.steps);
            found.into_iter().find_map(|(g, s)| g.tile_named(name).map(|t| s[t.index()] as i64))
        })
    }

    fn size(&self, size: &Size) -> Outcome<i64> {
        size.eval(&|n| self.lookup(n)).map_err(|e| {
            let message = format!("a host integer of `{}` has no value: {e}", self.program.signature.kernel);
            vec![Diagnostic::global("T0470", message).help("use smaller dimensions")]
        })
    }

    fn extent(&self, size: &Size, what: &str) -> Outcome<usize> {
        let value = self.size(size)?;
        usize::try_from(value).map_err(|_| {
            vec![Diagnostic::global("T0470", format!("{what} is {size} = {value}, which is negative"))]
        })
    }

    // ---- steps

    fn run_steps(&mut self, steps: &'a [Step]) -> Outcome<()> {
        for step in steps {
            match step {
                Step::Launch { graph, args } => self.launch(*graph, args)?,
                Step::Let { name, value } => {
                    let value = self.size(value)?;
                    self.names.insert(name.clone(), value);
                }
                Step::For { name, lo, hi, body } => {
                    let (lo, hi) = (self.size(lo)?, self.size(hi)?);
                    let outer = self.names.get(name).copied();
                    for at in lo..hi {
                        self.names.insert(name.clone(), at);
                        self.run_steps(body)?;
                    }
                    match outer {
                        Some(value) => self.names.insert(name.clone(), value),
                        None => self.names.remove(name),
                    };
                }
                Step::If { lhs, op, rhs, then, otherwise } => {
                    let holds = op.holds(self.size(lhs)?, self.size(rhs)?);
                    self.run_steps(if holds { then } else { otherwise })?;
                }
            }
        }
        Ok(())
    }

    fn temp(&mut self, at: usize) -> Outcome<usize> {
        let slot = self.program.signature.params.len() + at;
        if self.buffers[slot].is_none() {
            let temp = &self.program.temps[at];
            let what = format!("an extent of the temporary `{}`", temp.name);
            let shape: Vec<usize> =
                temp.shape.iter().map(|s| self.extent(s, &what)).collect::<Result<_, _>>()?;
            let count = tile_tensor::element_count(&shape).unwrap_or(usize::MAX);
            self.reserve(&temp.name, count)?;
            let data = Data::zeros(temp.dtype, count);
            let written = (!temp.workspace).then(|| vec![false; count]);
            self.buffers[slot] = Some(Buffer { name: temp.name.clone(), shape, data, written });
        }
        Ok(slot)
    }

    fn view(&mut self, arg: &Arg) -> Outcome<Option<View>> {
        let buffer = match arg {
            Arg::Param(at) => *at,
            Arg::Temp(at) => self.temp(*at)?,
            Arg::Part { of, subscripts } => {
                let Some(whole) = self.view(of)? else { return Ok(None) };
                return self.part(whole, subscripts).map(Some);
            }
            Arg::Size(_) | Arg::Float(_) | Arg::Absent => return Ok(None),
        };
        Ok(self.buffers[buffer].as_ref().map(|b| View {
            buffer,
            offset: 0,
            shape: b.shape.clone(),
            strides: dense_strides(&b.shape),
            axes: (0..b.shape.len()).collect(),
            extent: b.shape.iter().map(|&e| (0, e)).collect(),
        }))
    }

    fn part(&self, whole: View, subscripts: &[Part]) -> Outcome<View> {
        let name = self.buffers[whole.buffer].as_ref().map_or("", |b| &b.name);
        let mut view = View { shape: vec![], strides: vec![], axes: vec![], ..whole.clone() };
        for (axis, (&extent, &stride)) in whole.shape.iter().zip(&whole.strides).enumerate() {
            let (lo, hi, kept) = match subscripts.get(axis) {
                Some(Part::At(at)) => {
                    let at = self.extent(at, &format!("a subscript of `{name}`"))?;
                    (at, at.saturating_add(1), false)
                }
                Some(Part::Range(lo, hi)) => {
                    let what = format!("a subscript of `{name}`");
                    (self.extent(lo, &what)?, self.extent(hi, &what)?, true)
                }
                Some(Part::All) | None => (0, extent, true),
            };
            if lo > hi || hi > extent {
                let message =
                    format!("the part {lo}..{hi} of `{name}` lies outside of its dimension 0..{extent}");
                return Err(vec![Diagnostic::global("T0450", message).help("narrow the range")]);
            }
            view.offset += lo * stride;
            if kept {
                view.shape.push(hi - lo);
                view.strides.push(stride);
                view.axes.push(whole.axes[axis]);
            }
            let covered = &mut view.extent[whole.axes[axis]];
            *covered = (covered.0 + lo, covered.0 + hi);
        }
        Ok(view)
    }

    // ---- launches

    fn launch(&mut self, at: usize, args: &[Arg]) -> Outcome<()> {
        let program = self.program;
        let graph = &program.graphs[at];
        let given: Vec<Given> = args.iter().map(|a| self.given(a)).collect::<Result<_, _>>()?;
        let dims = bind_dims(&graph.signature, &given)?;
        self.check_overlap(graph, &given)?;
        self.check_written(graph, &given)?;
        let mut params = vec![Val::Unset; graph.signature.params.len()];
        for ((value, param), given) in params.iter_mut().zip(&graph.signature.params).zip(&given) {
            if let (ParamKind::Scalar(p), Given::Scalar(s)) = (param, given) {
                *value = scalar(*s, p.dtype);
            }
        }
        let code = self.codes[at].take().unwrap_or_else(|| Code::new(graph));
        let launch = Launch {
            graph,
            code: &code,
            dims: &dims,
            params: &params,
            steps: &self.steps[at],
            options: self.options,
            rounded: self.options.mode == Mode::Rounded,
        };
        let names = |n: &str| dim_value(&graph.signature, &dims, n);
        let ran = launch.run(&|| self.memory(graph, &given, &names));
        self.codes[at] = Some(code);
        let done = ran?;
        for (object, bits) in graph.objects.iter().zip(done.written) {
            if let (Some(bits), Some(Given::View(view))) = (bits, given.get(object.param)) {
                self.write_back(view, &bits);
            }
        }
        self.report.launches += 1;
        self.report.instances += done.instances;
        self.report.prints.extend(done.prints);
        let tested = self.tested.entry(at).or_default();
        done.tested.into_iter().for_each(|(key, n)| *tested.entry(key).or_default() += n);
        Ok(())
    }

    fn given(&mut self, arg: &Arg) -> Outcome<Given> {
        Ok(match arg {
            Arg::Size(size) => Given::Scalar(Scalar::Int(self.size(size)?)),
            Arg::Float(x) => Given::Scalar(Scalar::Float(*x)),
            Arg::Absent => Given::Absent,
            Arg::Param(at) if matches!(self.program.signature.params[*at], ParamKind::Scalar(_)) => {
                match self.scalars[*at] {
                    Val::Float(x) => Given::Scalar(Scalar::Float(x)),
                    Val::Int(x) => Given::Scalar(Scalar::Int(x)),
                    _ => Given::Absent,
                }
            }
            tensor => self.view(tensor)?.map_or(Given::Absent, Given::View),
        })
    }

    fn memory<'m>(
        &'m self,
        graph: &'m Graph,
        given: &[Given],
        names: &dyn Fn(&str) -> Option<i64>,
    ) -> Vec<Memory<'m>> {
        let of = |object: &'m tile_graph::Object| {
            let mut memory = Memory {
                name: &object.name,
                dtype: object.dtype,
                mode: object.mode,
                declared: object.span,
                limits: limits(object.index.as_ref(), object.dtype, names),
                shape: vec![],
                strides: vec![],
                storage: Storage::Absent,
            };
            let Some(Given::View(view)) = given.get(object.param) else { return memory };
            let Some(buffer) = &self.buffers[view.buffer] else { return memory };
            memory.shape = view.shape.clone();
            if object.mode == Access::In {
                memory.strides = view.strides.clone();
                memory.storage = Storage::Read { data: &buffer.data, offset: view.offset };
                return memory;
            }
            memory.strides = dense_strides(&view.shape);
            let poison = if memory.is_float() { f64::NAN.to_bits() } else { i64::MIN as u64 };
            memory.storage = Storage::Own(match object.mode {
                Access::InOut => Owned::new(object.mode, view.offsets().map(|o| buffer.data.bits(o))),
                Access::Sum => Owned::new(object.mode, view.offsets().map(|_| 0)),
                _ => Owned::new(object.mode, view.offsets().map(|_| poison)),
            });
            memory
        };
        graph.objects.iter().map(of).collect()
    }

    fn write_back(&mut self, view: &View, bits: &[u64]) {
        let Some(buffer) = &mut self.buffers[view.buffer] else { return };
        for (offset, &bits) in view.offsets().zip(bits) {
            buffer.data.set_bits(offset, bits);
            if let Some(written) = &mut buffer.written {
                written[offset] = true;
            }
        }
    }

    /// No two arguments of a launch may share elements if one is written.
    fn check_overlap(&self, graph: &Graph, given: &[Given]) -> Outcome<()> {
        let tensors: Vec<(&TensorParam, &View)> = graph
            .signature
            .params
            .iter()
            .zip(given)
            .filter_map(|pair| match pair {
                (ParamKind::Tensor(p), Given::View(v)) => Some((p, v)),
                _ => None,
            })
            .collect();
        for (at, (p, v)) in tensors.iter().enumerate() {
            for (q, w) in &tensors[at + 1..] {
                if (p.mode.writes() || q.mode.writes()) && v.overlaps(w) {
                    let name = self.buffers[v.buffer].as_ref().map_or("", |b| &b.name);
                    let message = format!(
                        "the launch of `{}` is given parts of `{name}` that overlap as `{}` and `{}`, and one is written",
                        graph.name, p.name, q.name
                    );
                    return Err(vec![Diagnostic::global("T0468", message).help("use another temporary")]);
                }
            }
        }
        Ok(())
    }

    /// What a launch reads of a temporary has been written by one before it.
    fn check_written(&self, graph: &Graph, given: &[Given]) -> Outcome<()> {
        let loaded = |at: usize| {
            let loads = |n| matches!(&graph.node(n).op, Op::Load(a) if graph.object(a.object).param == at);
            graph.node_ids().any(loads)
        };
        for (at, (param, given)) in graph.signature.params.iter().zip(given).enumerate() {
            let (ParamKind::Tensor(p), Given::View(view)) = (param, given) else { continue };
            // A launch of a split kernel is given tensors that only another one writes.
            let Some(buffer) = self.buffers[view.buffer].as_ref().filter(|_| p.mode.reads() && loaded(at))
            else {
                continue;
            };
            let Some(written) = &buffer.written else { continue };
            if view.offsets().any(|o| !written[o]) {
                let message = format!(
                    "the launch of `{}` reads the temporary `{}` before it is written",
                    graph.name, buffer.name
                );
                return Err(vec![
                    Diagnostic::global("T0469", message).help("run the kernel that fills it first"),
                ]);
            }
        }
        Ok(())
    }

    // ---- the end

    fn finish(mut self, arguments: &mut Arguments) -> Outcome<Report> {
        for (at, param) in self.program.signature.params.iter().enumerate() {
            let (ParamKind::Tensor(p), Argument::Tensor(tensor)) = (param, &mut arguments[at]) else {
                continue;
            };
            let Some(buffer) = self.buffers[at].take().filter(|_| p.mode.writes()) else { continue };
            let values = match &buffer.data {
                Data::Floats(d) => {
                    tensor.fill_with(|n| d[n]);
                    d.clone()
                }
                Data::Ints(d) => {
                    match tensor.dtype {
                        // What f64 does not hold exactly goes the slow way.
                        DType::I64 => d.iter().enumerate().for_each(|(n, &x)| tensor.set_i64_linear(n, x)),
                        _ => tensor.fill_with(|n| d[n] as f64),
                    }
                    d.iter().map(|&x| x as f64).collect()
                }
            };
            self.report.outputs.insert(p.name.clone(), Array { shape: buffer.shape, values });
        }
        for (&at, tested) in &self.tested {
            let graph = &self.program.graphs[at];
            for (&(node, claim), &times) in tested {
                self.report.claims.push(claim_test(graph, node, claim, times));
            }
        }
        Ok(self.report)
    }
}

fn claim_test(graph: &Graph, node: tile_graph::NodeId, claim: TestedClaim, times: u64) -> ClaimTest {
    let of = graph.obligations.iter().find(|o| o.node == node && claim.is(o.claim));
    let named = graph.node(node).path.clone();
    let path = match &graph.node(node).op {
        tile_graph::Op::For(f) => named.unwrap_or_else(|| f.name.clone()),
        op => named.unwrap_or_else(|| op.name()),
    };
    let claim = match claim {
        TestedClaim::Skip => "skip",
        TestedClaim::Merge => "merge",
        TestedClaim::Affine => "affine",
        TestedClaim::Unique => "unique",
    };
    let span: Span = of.map_or(graph.node(node).span, |o| o.span);
    ClaimTest { graph: graph.name.clone(), claim, path, span, times }
}

fn buffer_of(p: &TensorParam, t: &Tensor) -> Buffer {
    let data = match p.dtype.is_float() {
        true => Data::Floats(t.to_f64_vec()),
        false => Data::Ints(t.to_i64_vec()),
    };
    Buffer { name: p.name.clone(), shape: t.shape.clone(), data, written: None }
}

/// The value a scalar parameter has inside a kernel.
fn scalar(s: Scalar, dtype: DType) -> Val {
    match s.of_dtype(dtype).unwrap_or(s) {
        Scalar::Int(x) if !dtype.is_float() => Val::Int(x),
        Scalar::Bool(b) => Val::bool(b),
        other => Val::Float(other.to_f64()),
    }
}

fn dim_value(signature: &Signature, dims: &[i64], name: &str) -> Option<i64> {
    signature.dims.iter().position(|d| d == name).map(|at| dims[at])
}

/// Values that an element of an index tensor may have.
fn limits(
    index: Option<&IndexKind>,
    dtype: DType,
    names: &dyn Fn(&str) -> Option<i64>,
) -> Option<(i64, i64)> {
    let of = |n: &Size| n.eval(names).ok();
    let (lo, hi) = match index? {
        IndexKind::Id(n) => (0, of(n)? - 1),
        IndexKind::IdOrNone(n) => (-1, of(n)? - 1),
        IndexKind::Count(n) | IndexKind::Offsets(n) => (0, of(n)?),
    };
    let (least, greatest) = dtype.int_range()?;
    Some((lo.max(least), hi.min(greatest)))
}

/// The dimensions of a launch from the shapes it is given: bare names, then linear sizes, then every shape checked.
fn bind_dims(signature: &Signature, given: &[Given]) -> Outcome<Vec<i64>> {
    let mut values: BTreeMap<String, i64> = BTreeMap::new();
    let shapes: Vec<(&TensorParam, &View)> = signature
        .params
        .iter()
        .zip(given)
        .filter_map(|pair| match pair {
            (ParamKind::Tensor(p), Given::View(v)) => Some((p, v)),
            _ => None,
        })
        .collect();
    let mut problems = vec![];
    let mut mismatch = |message: String| {
        problems.push(
            Diagnostic::global("T0467", format!("the launch of `{}`: {message}", signature.kernel))
                .help("the shapes of the arguments have to agree"),
        );
    };
    for (p, v) in &shapes {
        if p.shape.len() != v.shape.len() {
            mismatch(format!("`{}` has rank {}, and is given rank {}", p.name, p.shape.len(), v.shape.len()));
            continue;
        }
        for (size, &extent) in p.shape.iter().zip(&v.shape) {
            if let Size::Name(name) = size {
                values.entry(name.clone()).or_insert(extent as i64);
            }
        }
    }
    loop {
        let before = values.len();
        for (size, &extent) in shapes.iter().flat_map(|(p, v)| p.shape.iter().zip(&v.shape)) {
            if let Ok(Some((name, value))) = size.solve(extent as i64, &|n| values.get(n).copied()) {
                values.insert(name, value);
            }
        }
        if values.len() == before {
            break;
        }
    }
    for (p, v) in &shapes {
        for (size, &extent) in p.shape.iter().zip(&v.shape) {
            match size.eval(&|n| values.get(n).copied()) {
                Ok(expected) if expected == extent as i64 => {}
                Ok(expected) => {
                    mismatch(format!("`{}` has an extent {size} = {expected}, and is given {extent}", p.name))
                }
                Err(e) => mismatch(format!("`{}`: {e}", p.name)),
            }
        }
    }
    for fact in &signature.facts {
        let sides = (fact.lhs.eval(&|n| values.get(n).copied()), fact.rhs.eval(&|n| values.get(n).copied()));
        if !matches!(sides, (Ok(a), Ok(b)) if fact.op.holds(a, b)) {
            mismatch(format!("`{}` does not hold", fact.text));
        }
    }
    let dims = signature
        .dims
        .iter()
        .map(|d| values.get(d).copied().ok_or_else(|| format!("nothing shows the dimension `{d}`")));
    let dims: Vec<Result<i64, String>> = dims.collect();
    for missing in dims.iter().filter_map(|d| d.as_ref().err()) {
        mismatch(missing.clone());
    }
    if any_error(&problems) { Err(problems) } else { Ok(dims.into_iter().flatten().collect()) }
}
