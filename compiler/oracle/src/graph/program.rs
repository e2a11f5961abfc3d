//! A program's buffers, and its launches one after the other.
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
    signature::{ParamKind, TensorParam},
};
use tile_graph::{Graph, Op, Program};
use tile_host::{Buffer, Given, Machine, Outcome, Region};
use tile_tensor::{Argument, Arguments, Scalar, Tensor};

struct Stored {
    name: String,
    shape: Vec<usize>,
    data: Data,
    /// Of a temporary that the program names: which elements some launch has written.
    written: Option<Vec<bool>>,
}

/// A rectangular part of a buffer.
struct View {
    /// Its slot in [`OnOracle::buffers`].
    buffer: usize,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
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
}

/// One run.
struct OnOracle<'a> {
    program: &'a Program,
    options: &'a Options,
    codes: Vec<Option<Code>>,
    steps: Vec<Vec<u64>>,
    /// Tensor parameters by position, then temporaries.
    buffers: Vec<Option<Stored>>,
    bytes: u64,
    report: Report,
    tested: BTreeMap<usize, Tested>,
}

pub fn run(program: &Program, arguments: &mut Arguments, options: &Options) -> Outcome<Report> {
    let dims = tile_tensor::launch::bind(&program.signature, arguments)?;
    let mut oracle = OnOracle::new(program, options, arguments)?;
    tile_host::run(program, &tile_host::whole(program, arguments), &dims, &mut oracle)?;
    oracle.finish(arguments)
}

impl<'a> OnOracle<'a> {
    fn new(program: &'a Program, options: &'a Options, arguments: &Arguments) -> Outcome<Self> {
        let graphs = program.graphs.iter().enumerate();
        let steps: Vec<Vec<u64>> =
            graphs.map(|(at, g)| tiles::steps(g, options.tiles.get(at))).collect::<Result<_, _>>()?;
        let params = program.signature.params.len();
        let mut oracle = OnOracle {
            program,
            options,
            codes: program.graphs.iter().map(|_| None).collect(),
            steps,
            buffers: (0..params + program.temps.len()).map(|_| None).collect(),
            bytes: 0,
            report: Report::default(),
            tested: BTreeMap::new(),
        };
        for (at, (param, argument)) in program.signature.params.iter().zip(arguments.iter()).enumerate() {
            if let (ParamKind::Tensor(p), Argument::Tensor(t)) = (param, argument) {
                oracle.reserve(&p.name, t.len())?;
                oracle.buffers[at] = Some(stored(p, t));
            }
        }
        Ok(oracle)
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

    /// The view of a buffer that a launch is given for a parameter.
    fn view(&self, region: &Region) -> Option<View> {
        let buffer = match region.buffer {
            Buffer::Param(at) => at,
            Buffer::Temp(at) => self.program.signature.params.len() + at,
        };
        let strides = dense_strides(&self.buffers[buffer].as_ref()?.shape);
        let kept = region.cuts.iter().zip(&strides).filter(|(cut, _)| cut.kept);
        Some(View {
            buffer,
            offset: region.cuts.iter().zip(&strides).map(|(cut, stride)| cut.lo * stride).sum(),
            shape: region.shape(),
            strides: kept.map(|(_, stride)| *stride).collect(),
        })
    }

    fn memory<'m>(
        &'m self,
        graph: &'m Graph,
        views: &[Option<View>],
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
            let Some(Some(view)) = views.get(object.param) else { return memory };
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

    /// What a launch reads of a temporary has been written by one before it.
    fn check_written(&self, graph: &Graph, views: &[Option<View>]) -> Outcome<()> {
        let loaded = |at: usize| {
            let loads = |n| matches!(&graph.node(n).op, Op::Load(a) if graph.object(a.object).param == at);
            graph.node_ids().any(loads)
        };
        for (at, (param, view)) in graph.signature.params.iter().zip(views).enumerate() {
            let (ParamKind::Tensor(p), Some(view)) = (param, view) else { continue };
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

impl Machine for OnOracle<'_> {
    /// Of any graph that has it.
    fn tile(&self, name: &str) -> Outcome<Option<i64>> {
        let mut all = self.program.graphs.iter().zip(&self.steps);
        Ok(all.find_map(|(g, steps)| g.tile_named(name).map(|t| steps[t.index()] as i64)))
    }

    fn temporary(&mut self, at: usize, shape: &[usize]) -> Outcome<()> {
        let temp = &self.program.temps[at];
        let count = tile_tensor::element_count(shape).unwrap_or(usize::MAX);
        self.reserve(&temp.name, count)?;
        let data = Data::zeros(temp.dtype, count);
        let written = (!temp.workspace).then(|| vec![false; count]);
        let slot = self.program.signature.params.len() + at;
        self.buffers[slot] = Some(Stored { name: temp.name.clone(), shape: shape.to_vec(), data, written });
        Ok(())
    }

    fn launch(&mut self, called: tile_host::Launch) -> Outcome<()> {
        let (program, at, dims) = (self.program, called.graph, &called.dims);
        let graph = &program.graphs[at];
        let view = |param| called.region(param).and_then(|region| self.view(region));
        let views: Vec<Option<View>> = (0..called.given.len()).map(view).collect();
        self.check_written(graph, &views)?;
        let scalars = graph.signature.params.iter().zip(&called.given).map(|pair| match pair {
            (ParamKind::Scalar(p), Given::Scalar(s)) => scalar(*s, p.dtype),
            _ => Val::Unset,
        });
        let params: Vec<Val> = scalars.collect();
        let code = self.codes[at].take().unwrap_or_else(|| Code::new(graph));
        let launch = Launch {
            graph,
            code: &code,
            dims,
            params: &params,
            steps: &self.steps[at],
            options: self.options,
            rounded: self.options.mode == Mode::Rounded,
        };
        let names = |n: &str| dim_value(&graph.signature, dims, n);
        let ran = launch.run(&|| self.memory(graph, &views, &names));
        self.codes[at] = Some(code);
        let done = ran?;
        for (object, bits) in graph.objects.iter().zip(done.written) {
            if let (Some(bits), Some(Some(view))) = (bits, views.get(object.param)) {
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

fn stored(p: &TensorParam, t: &Tensor) -> Stored {
    let data = match p.dtype.is_float() {
        true => Data::Floats(t.to_f64_vec()),
        false => Data::Ints(t.to_i64_vec()),
    };
    Stored { name: p.name.clone(), shape: t.shape.clone(), data, written: None }
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
