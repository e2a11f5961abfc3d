//! Kernels of the library as graphs, and emitted PTX on the simulator beside the oracle.

use ptx_sim::{Fault, Geometry, ShadowUse, Summary, decode, memory::Memory, read};
use std::path::Path;
use tile_base::{DType, signature::ParamKind};
use tile_graph::{Graph, Program};
use tile_plan::{Plan, Request};
use tile_sema::{ConstValue, Instance, Module};
use tile_target::Target;
use tile_tensor::{Argument, Arguments, Scalar, Tensor};

/// One kernel of the library, specialised.
#[derive(Clone, Debug)]
pub struct Kernel {
    pub file: &'static str,
    pub name: &'static str,
    pub dtype: DType,
    pub consts: Vec<(&'static str, i64)>,
    pub functions: Vec<(&'static str, &'static str)>,
    pub absent: Vec<&'static str>,
}

pub fn kernel(file: &'static str, name: &'static str, dtype: DType) -> Kernel {
    Kernel { file, name, dtype, consts: vec![], functions: vec![], absent: vec![] }
}

impl Kernel {
    pub fn with(mut self, name: &'static str, value: i64) -> Self {
        self.consts.push((name, value));
        self
    }

    pub fn epilogue(mut self, name: &'static str, function: &'static str) -> Self {
        self.functions.push((name, function));
        self
    }

    pub fn without(mut self, names: &[&'static str]) -> Self {
        self.absent = names.to_vec();
        self
    }

    pub fn label(&self) -> String {
        let mut out = format!("{} {}", self.name, self.dtype);
        self.consts.iter().for_each(|(n, v)| out += &format!(" {n}={v}"));
        self.functions.iter().for_each(|(n, v)| out += &format!(" {n}={v}"));
        self.absent.iter().for_each(|n| out += &format!(" no {n}"));
        out
    }

    pub fn graph(&self) -> Graph {
        self.graph_of(&library_text(self.file))
    }

    /// The kernel, found in this text instead of its file's.
    pub fn graph_of(&self, text: &str) -> Graph {
        let parse = |path: &str, text: &str| {
            let parsed = tile_syntax::parse(tile_base::FileId(0), text);
            assert!(parsed.diagnostics.is_empty(), "{path}: {:?}", parsed.diagnostics);
            parsed.file
        };
        let main = self.file.trim_end_matches(".tile").replace('/', "::");
        let prelude = parse("prelude.tile", &library_text("prelude.tile"));
        let own = parse(self.file, text);
        let used = own.items.iter().filter_map(|item| match &item.kind {
            tile_syntax::ast::ItemKind::Use(u) => {
                Some(u.path.iter().map(|i| &i.name[..]).collect::<Vec<_>>())
            }
            _ => None,
        });
        let file = |path: Vec<&str>| {
            let name = format!("{}.tile", path.join("/"));
            (path.join("::"), parse(&name, &library_text(&name)))
        };
        let mut files: Vec<_> = used.map(file).collect();
        files.insert(0, (main, own));
        files.push(("prelude".into(), prelude));
        let module = Module::new(files, 0);
        let value = |v: i64, name: &str| match name {
            "CAUSAL" => ConstValue::Bool(v != 0),
            _ => ConstValue::Int(v),
        };
        let after = text.split_once(&format!("kernel {}<", self.name)).map_or("", |(_, after)| after);
        let generic = after.trim_start().starts_with("T:");
        let instance = Instance {
            dtypes: generic.then(|| ("T".to_string(), self.dtype)).into_iter().collect(),
            consts: self.consts.iter().map(|&(n, v)| (n.to_string(), value(v, n))).collect(),
            functions: self.functions.iter().map(|(n, f)| (n.to_string(), f.to_string())).collect(),
            absent: self.absent.iter().map(|n| n.to_string()).collect(),
        };
        let typed =
            tile_sema::instantiate(&module, self.name, &instance).unwrap_or_else(|e| panic!("{e:#?}"));
        tile_lower::lower_graph(&typed).unwrap_or_else(|e| panic!("{e:#?}"))
    }
}

fn library_text(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kernels-lib");
    std::fs::read_to_string(root.join(path)).expect("a file of the library")
}

/// Arguments with random contents: dims by name, scalars by name; `layout` may rearrange an input's memory.
pub fn arguments(
    graph: &Graph,
    dims: &[(&str, i64)],
    scalars: &[(&str, f64)],
    layout: impl Fn(&str, Tensor) -> Tensor,
) -> Arguments {
    let mut seed = 0x2545_F491_4F6C_DD1Du64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 40) as f64 / (1u64 << 24) as f64 * 4.0 - 2.0
    };
    let lookup = |n: &str| dims.iter().find(|(d, _)| *d == n).map(|&(_, v)| v);
    let all = graph.signature.params.iter().map(|p| match p {
        ParamKind::Tensor(t) if t.present => {
            let shape: Vec<usize> =
                t.shape.iter().map(|s| s.eval(&lookup).expect("a bound size") as usize).collect();
            let mut tensor = Tensor::zeros(t.dtype, &shape);
            tensor.fill_with(|_| if t.mode == tile_base::Mode::In { random() } else { -77.0 });
            Argument::Tensor(layout(&t.name, tensor))
        }
        ParamKind::Tensor(_) => Argument::Absent,
        ParamKind::Scalar(s) => {
            let v = scalars.iter().find(|(n, _)| *n == s.name).map_or(1.0, |&(_, v)| v);
            Argument::Scalar(Scalar::Float(v))
        }
    });
    Arguments(all.collect())
}

/// Runs emitted PTX, which has to be clean; outputs land in the arguments. What check mode kept of memory.
pub fn simulate(
    graph: &Graph,
    plan: &Plan,
    ptx: &str,
    dims: &[(&str, i64)],
    arguments: &mut Arguments,
) -> ShadowUse {
    let summary = launch(graph, plan, ptx, dims, arguments).unwrap_or_else(|f| panic!("{}: {f}", graph.name));
    assert!(summary.findings.is_empty(), "{}: {}", graph.name, summary.findings[0]);
    // Among the notes: lanes that store copies of one element to one place.
    assert!(summary.notes.is_empty(), "{}: {}", graph.name, summary.notes[0]);
    summary.shadow
}

/// Runs emitted PTX as docs/abi.md says; outputs land in the arguments.
pub fn launch(
    graph: &Graph,
    plan: &Plan,
    ptx: &str,
    dims: &[(&str, i64)],
    arguments: &mut Arguments,
) -> Result<Summary, Fault> {
    let module = read::parse(ptx).unwrap_or_else(|e| panic!("{e}\n{ptx}"));
    let kernel = decode::kernel(&module, &graph.name).unwrap_or_else(|e| panic!("{e}"));
    let mut memory = Memory::new();
    let mut block: Vec<u8> = vec![];
    let push = |block: &mut Vec<u8>, bytes: &[u8]| {
        block.resize(block.len().next_multiple_of(bytes.len()), 0);
        block.extend_from_slice(bytes);
    };
    let mut bases = vec![];
    for argument in arguments.iter() {
        let Argument::Tensor(t) = argument else {
            bases.push(None);
            continue;
        };
        let base = memory.allocate("tensor", t.bytes());
        push(&mut block, &(base + (t.offset() * t.dtype.bits() / 8) as u64).to_le_bytes());
        t.strides.iter().for_each(|s| push(&mut block, &s.to_le_bytes()));
        bases.push(Some(base));
    }
    let dim = |name: &str| dims.iter().find(|(d, _)| *d == name).map(|&(_, v)| v);
    for name in &graph.signature.dims {
        push(&mut block, &dim(name).expect("a bound dimension").to_le_bytes());
    }
    for argument in arguments.iter() {
        if let Argument::Scalar(s) = argument {
            push(&mut block, &(s.to_f64() as f32).to_le_bytes());
        }
    }
    for map in &plan.maps {
        let (Some(base), Argument::Tensor(t)) = (bases[map.param], &arguments[map.param]) else { continue };
        let shape: Vec<u64> = t.shape.iter().map(|&n| n as u64).collect();
        let address = base + (t.offset() * t.dtype.bits() / 8) as u64;
        let map =
            map.template.of(&shape, &t.strides, address).unwrap_or_else(|e| panic!("{}: {e}", map.name));
        block.resize(block.len().next_multiple_of(64), 0);
        block.extend_from_slice(&map.encode());
    }
    let blocks: i64 = plan.grid.iter().map(|a| a.count.eval(&dim).expect("a grid size")).product();
    let geometry = Geometry {
        grid: [blocks as u32, 1, 1],
        block: [plan.threads(), 1, 1],
        dynamic_shared: plan.shared_bytes() as usize,
        check: true,
        count: true,
        ..Geometry::default()
    };
    let summary = ptx_sim::run(&kernel, &mut memory, &geometry, &block)?;
    for (argument, base) in arguments.iter_mut().zip(bases) {
        if let (Argument::Tensor(t), Some(base)) = (argument, base) {
            let bytes = memory.contents(base).expect("an allocation");
            t.bytes_mut().copy_from_slice(&bytes);
        }
    }
    Ok(summary)
}

/// The plan and PTX of a kernel.
pub fn compile(graph: &Graph, target: &'static Target, request: &Request) -> (Plan, tile_ptx::PtxModule) {
    let plan = tile_plan::plan(graph, target, request).unwrap_or_else(|e| panic!("{e:#?}"));
    let module =
        tile_ptx::compile(graph, &plan, &tile_ptx::Options::default()).unwrap_or_else(|e| panic!("{e:#?}"));
    (plan, module)
}

/// [`check_on`] sm_80.
pub fn check(graph: &Graph, request: &Request, dims: &[(&str, i64)], arguments: &Arguments) -> f64 {
    check_on("sm_80", graph, request, dims, arguments)
}

/// Compiles, simulates, and compares every output with the oracle; the greatest error relative to 1 + |expected|.
pub fn check_on(
    target: &str,
    graph: &Graph,
    request: &Request,
    dims: &[(&str, i64)],
    arguments: &Arguments,
) -> f64 {
    let target = tile_target::find(target).expect("a target");
    let (plan, module) = compile(graph, target, request);
    let (mut ours, mut theirs) = (copy(arguments), copy(arguments));
    simulate(graph, &plan, &module.ptx, dims, &mut ours);
    let program = Program::single(graph.clone());
    tile_oracle::run(&program, &mut theirs, &tile_oracle::Options::rounded())
        .unwrap_or_else(|e| panic!("{e:#?}"));
    let mut worst: f64 = 0.0;
    for (at, (a, b)) in ours.iter().zip(theirs.iter()).enumerate() {
        let (Argument::Tensor(a), Argument::Tensor(b)) = (a, b) else { continue };
        for (n, (x, y)) in a.to_f64_vec().into_iter().zip(b.to_f64_vec()).enumerate() {
            let error = match x == y || (x.is_nan() && y.is_nan()) {
                true => 0.0,
                false => (x - y).abs() / (1.0 + y.abs()),
            };
            if error.is_nan() || error > worst.max(1e-2) {
                // What a person needs to look further, should the test fail.
                let inputs: Vec<String> = inputs(arguments, n);
                println!("{}: argument {at}, element {n}: {x} for {y}; inputs there {inputs:?}", graph.name);
                let path = std::env::temp_dir().join(format!("tilec-{}.ptx", graph.name));
                let _ = std::fs::write(path, &module.ptx);
            }
            assert!(!error.is_nan(), "{}: argument {at}, element {n}: {x} for {y}", graph.name);
            worst = worst.max(error);
        }
    }
    worst
}

fn inputs(arguments: &Arguments, n: usize) -> Vec<String> {
    let at = |a: &Argument| a.tensor().filter(|t| n < t.len()).map(|t| t.get_f64_linear(n).to_string());
    arguments.iter().filter_map(at).take(2).collect()
}

/// A deep copy: tensors share their buffers otherwise.
fn copy(arguments: &Arguments) -> Arguments {
    Arguments(arguments.iter().cloned().collect())
}
