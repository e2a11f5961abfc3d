//! What the backend emits, run on the simulator, assembled by ptxas, and held to a golden table.
//!
//! One binary, because linking LLVM is the slow part.

mod bulk;
mod collectives;
mod masks;
mod random;
mod shadow;
mod small;
mod support;
mod triangular;
mod widths;
mod wrong;

use support::{Kernel, arguments, check, kernel};
use tile_base::DType;
use tile_graph::{
    ElemOp, Graph,
    samples::{Sketch, Sub, tensor},
};
use tile_plan::{Request, TensorClass};
use tile_tensor::Tensor;

const FLOATS: [DType; 3] = [DType::F32, DType::F16, DType::Bf16];

fn tolerance(dtype: DType) -> f64 {
    match dtype {
        DType::F32 => 2e-5,
        DType::F16 => 2e-3,
        _ => 1.6e-2,
    }
}

fn as_is(_: &str, t: Tensor) -> Tensor {
    t
}

/// Vectors where the sizes allow them, else any strides.
fn request_for(dims: &[(&str, i64)], multiple: i64) -> Request {
    let whole = dims.iter().all(|(_, v)| v % multiple == 0);
    Request { strided: !whole, ..Request::default() }
}

fn run(k: &Kernel, dims: &[(&str, i64)], scalars: &[(&str, f64)]) {
    let graph = k.graph();
    let request = request_for(dims, 8);
    let error = check(&graph, &request, dims, &arguments(&graph, dims, scalars, as_is));
    assert!(error <= tolerance(k.dtype), "{} {dims:?}: error {error:e}", k.label());
}

#[test]
fn elementwise_kernels_agree_with_the_oracle() {
    for dtype in FLOATS {
        for (m, n) in [(7, 33), (8, 64), (1, 1), (5, 1040)] {
            for (file, name) in [
                ("elementwise/add.tile", "add"),
                ("elementwise/silu_mul.tile", "silu_mul"),
                ("elementwise/gelu.tile", "gelu_fwd"),
            ] {
                run(&kernel(file, name, dtype), &[("M", m), ("N", n)], &[]);
            }
        }
    }
}

#[test]
fn row_kernels_agree_with_the_oracle() {
    for dtype in FLOATS {
        for (m, n) in [(5, 47), (8, 64), (1, 1), (3, 1040)] {
            let dims = [("M", m), ("N", n)];
            for (file, name) in [
                ("norm/rmsnorm.tile", "rmsnorm"),
                ("norm/layernorm.tile", "layernorm"),
                ("softmax/softmax.tile", "softmax_fwd"),
                ("reduce/sum.tile", "row_sum"),
                ("reduce/argmax.tile", "row_argmax"),
                ("reduce/logsumexp.tile", "row_logsumexp"),
            ] {
                run(&kernel(file, name, dtype), &dims, &[("eps", 1e-5)]);
            }
            run(
                &kernel("norm/layernorm.tile", "layernorm", dtype).without(&["mean", "rstd"]),
                &dims,
                &[("eps", 1e-5)],
            );
        }
    }
}

#[test]
fn matmul_agrees_with_the_oracle() {
    for dtype in FLOATS {
        for (m, n, k) in [(17, 33, 50), (64, 64, 64), (1, 1, 1), (136, 72, 40)] {
            run(&kernel("gemm/matmul.tile", "matmul", dtype), &[("M", m), ("N", n), ("K", k)], &[]);
        }
        run(
            &kernel("gemm/matmul.tile", "matmul", dtype).epilogue("epi", "silu"),
            &[("M", 37), ("N", 41), ("K", 29)],
            &[],
        );
    }
}

#[test]
fn matmul_takes_transposed_and_spread_inputs() {
    for dtype in FLOATS {
        let k = kernel("gemm/matmul.tile", "matmul", dtype);
        let graph = k.graph();
        let dims = [("M", 24), ("N", 40), ("K", 56)];
        let transposed = |name: &str, t: Tensor| if name == "a" { rearranged(&t) } else { t };
        let mut request = Request::default();
        request.classes.insert("a".into(), TensorClass::Vector { unit: 0, bytes: 16 });
        let error = check(&graph, &request, &dims, &arguments(&graph, &dims, &[], transposed));
        assert!(error <= tolerance(dtype), "transposed {dtype}: {error:e}");
        let spread = |name: &str, t: Tensor| if name == "c" { t } else { t.spread(3) };
        let request = Request { strided: true, ..Request::default() };
        let error = check(&graph, &request, &dims, &arguments(&graph, &dims, &[], spread));
        assert!(error <= tolerance(dtype), "spread {dtype}: {error:e}");
    }
}

/// The same matrix with its first dimension contiguous.
fn rearranged(t: &Tensor) -> Tensor {
    t.transposed().to_dense().transposed()
}

#[test]
fn flash_attention_agrees_with_the_oracle() {
    for dtype in FLOATS {
        for (d, causal, m, n, hq, hk) in [
            (64, 0, 64, 64, 2, 1),
            (64, 1, 17, 33, 4, 2),
            (128, 1, 100, 130, 1, 1),
            (40, 0, 1, 1, 2, 2),
            (40, 1, 70, 9, 1, 1),
            (256, 1, 40, 70, 1, 1),
        ] {
            let k =
                kernel("attention/flash_fwd.tile", "flash_fwd", dtype).with("D", d).with("CAUSAL", causal);
            let dims = [("B", 2), ("M", m), ("HQ", hq), ("N", n), ("HK", hk)];
            let graph = k.graph();
            let arguments = arguments(&graph, &dims, &[("scale", (d as f64).powf(-0.5))], as_is);
            let error = check(&graph, &Request::default(), &dims, &arguments);
            assert!(error <= tolerance(dtype), "{} {dims:?}: error {error:e}", k.label());
        }
    }
}

// ---- the library's kernels on the assembler

fn by_maps(tensors: &[&str]) -> Request {
    let wish = |t: &&str| tile_plan::bulk::Wish {
        path: t.to_string(),
        span: tile_base::Span::default(),
        required: false,
    };
    Request { bulk: tensors.iter().map(wish).collect(), ..Request::default() }
}

/// Every kernel of the library in its main variants, with how its tensors lie.
fn library() -> Vec<(String, Kernel, Request)> {
    let mut out = vec![];
    let mut add = |k: Kernel, note: &str, request: Request| out.push((k.label() + note, k, request));
    for dtype in [DType::F32, DType::F16] {
        for (file, name) in [
            ("elementwise/add.tile", "add"),
            ("elementwise/silu_mul.tile", "silu_mul"),
            ("elementwise/gelu.tile", "gelu_fwd"),
            ("norm/rmsnorm.tile", "rmsnorm"),
            ("norm/layernorm.tile", "layernorm"),
            ("softmax/softmax.tile", "softmax_fwd"),
            ("reduce/sum.tile", "row_sum"),
            ("reduce/argmax.tile", "row_argmax"),
            ("reduce/logsumexp.tile", "row_logsumexp"),
        ] {
            add(kernel(file, name, dtype), "", Request::default());
        }
    }
    let strided = Request { strided: true, ..Request::default() };
    for dtype in FLOATS {
        let matmul = kernel("gemm/matmul.tile", "matmul", dtype);
        add(matmul.clone(), "", Request::default());
        add(matmul.clone().epilogue("epi", "gelu"), "", Request::default());
        add(matmul.clone(), ", strided", strided.clone());
        let mut transposed = Request::default();
        transposed.classes.insert("a".into(), TensorClass::Vector { unit: 0, bytes: 16 });
        transposed.classes.insert("b".into(), TensorClass::Vector { unit: 0, bytes: 16 });
        add(matmul.clone(), ", transposed", transposed);
        add(matmul, ", by tensor maps where there are", by_maps(&["a", "b"]));
        for d in [40, 64, 128, 256] {
            for causal in [0, 1] {
                let flash = kernel("attention/flash_fwd.tile", "flash_fwd", dtype);
                add(flash.with("D", d).with("CAUSAL", causal), "", Request::default());
            }
            let flash = kernel("attention/flash_fwd.tile", "flash_fwd", dtype).with("D", d).with("CAUSAL", 1);
            add(flash, ", by tensor maps where there are", by_maps(&["q", "k", "v"]));
        }
    }
    out
}

/// ptxas accepts all of it for every target, nothing spills, and the resources are those of the table.
/// `TILEC_BLESS=1` writes the table.
#[test]
fn the_assembler_accepts_the_library() {
    let Some(ptxas) = tile_ptx::ptxas::find() else {
        println!("skipped: no ptxas in PATH, $TILEC_PTXAS or the cache folder; `./x setup` fetches it");
        return;
    };
    let mut table = String::from(
        "# Resources of the library's kernels\n\nptxas 13.0.88. Registers of a thread, bytes spilled, bytes of dynamic \
         shared memory, threads of a block.\n\n| kernel | target | registers | spilled | shared | threads |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    let mut faults = vec![];
    for (label, kernel, request) in library() {
        let graph = kernel.graph();
        for name in ["sm_80", "sm_90", "sm_100", "sm_120"] {
            let target = tile_target::find(name).expect("a target");
            let (plan, module) = support::compile(&graph, target, &request);
            let used = match tile_ptx::ptxas::assemble(&ptxas, &module.ptx, target) {
                Ok(used) => used,
                Err(text) => {
                    faults.push(format!("{label} on {name}: {text}"));
                    continue;
                }
            };
            let spilled = used.spill_stores + used.spill_loads;
            if spilled > 0 || !used.remarks.is_empty() {
                faults.push(format!("{label} on {name}: {used:?}"));
            }
            table += &format!(
                "| {label} | {} | {} | {spilled} | {} | {} |\n",
                target.processor,
                used.registers,
                plan.shared_bytes(),
                plan.threads()
            );
        }
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/resources.md");
    if std::env::var_os("TILEC_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a writable folder");
        std::fs::write(&path, &table).expect("a writable table");
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let golden = std::fs::read_to_string(&path).expect("the golden table");
    for (old, new) in golden.lines().zip(table.lines()) {
        assert_eq!(old, new, "the table moved; TILEC_BLESS=1 writes it anew");
    }
    assert_eq!(golden.lines().count(), table.lines().count());
}

// ---- the road through LLVM

/// An `mma.sync` whose result only some lanes store.
const MMA_THEN_MASKED_STORE: &str = r#"module {
llvm.func @k(%0: !llvm.ptr<1>, %1: i32, %2: f32) attributes {nvvm.kernel} {
  %c = nvvm.mma.sync A[%1, %1, %1, %1] B[%1, %1] C[%2, %2, %2, %2] {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>, multiplicandAPtxType = #nvvm.mma_type<bf16>, multiplicandBPtxType = #nvvm.mma_type<bf16>, shape = #nvvm.shape<m = 16, n = 8, k = 16>} : (i32, i32, f32) -> !llvm.struct<(f32, f32, f32, f32)>
  %d = llvm.extractvalue %c[0] : !llvm.struct<(f32, f32, f32, f32)>
  %e = llvm.inline_asm asm_dialect = att "tanh.approx.f32 $0, $1;", "=f,f" %d : (f32) -> f32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %five = llvm.mlir.constant(5 : i32) : i32
  %some = llvm.icmp "slt" %t, %five : i32
  llvm.cond_br %some, ^bb1, ^bb2
^bb1:
  llvm.store volatile %e, %0 : f32, !llvm.ptr<1>
  llvm.store volatile %d, %0 : f32, !llvm.ptr<1>
  llvm.br ^bb2
^bb2:
  llvm.return
}
}"#;

#[test]
fn warp_wide_operations_stay_out_of_divergent_branches() {
    let target = tile_target::find("sm_80").expect("a target");
    let ptx = tile_ptx::llvm::lower(MMA_THEN_MASKED_STORE, target, false).expect("it compiles").ptx;
    let at = |what: &str| ptx.find(what).unwrap_or_else(|| panic!("no {what} in\n{ptx}"));
    let branch = at("bra");
    assert!(at("mma.sync") < branch && at("tanh.approx") < branch, "{ptx}");
    assert_eq!(ptx.matches("mma.sync").count(), 1);
}

#[test]
fn a_fatal_error_of_llvm_is_an_answer_and_not_the_end() {
    let target = tile_target::find("sm_80").expect("a target");
    let bad = MMA_THEN_MASKED_STORE.replace(
        "%t = nvvm",
        "%w = llvm.fpext %d : f32 to f64\n%x = llvm.intr.cos(%w) : (f64) -> f64\n%y = llvm.fptrunc %x : f64 to f32\nllvm.store volatile %y, %0 : f32, !llvm.ptr<1>\n%t = nvvm",
    );
    match tile_ptx::llvm::lower(&bad, target, false) {
        Err(tile_ptx::llvm::Fault::Fatal(text)) => assert!(text.contains("elect"), "{text}"),
        other => panic!("LLVM took it: {other:?}"),
    }
    assert!(tile_ptx::llvm::lower(MMA_THEN_MASKED_STORE, target, false).is_ok());
    assert!(matches!(tile_ptx::llvm::lower("module {", target, false), Err(tile_ptx::llvm::Fault::Parse(_))));
}

/// Where a sum of products is one product a lane, the butterfly adds rounded products: contracted, a lane would round
/// its neighbour's product and not its own, and the holders of the sum would have different bits.
#[test]
fn lanes_never_contract_what_they_exchange() {
    let params = vec![
        tensor("a", tile_base::Mode::In, DType::F32, &["M", "32"]),
        tensor("b", tile_base::Mode::In, DType::F32, &["M", "32"]),
        tensor("c", tile_base::Mode::Out, DType::F32, &["M", "1"]),
    ];
    let mut s = Sketch::new("products", params, &["M"]);
    let rows = s.dim("M");
    let m = s.par("m", rows);
    let row = [Sub::At(m), Sub::All];
    let (a, b) = (s.load(0, &row), s.load(1, &row));
    let products = s.elem(ElemOp::Mul, &[a, b]);
    let sum = s.op(tile_graph::Op::Reduce { axis: 0, kind: tile_graph::ReduceKind::Sum }, &[products]);
    s.store(2, &row, sum);
    let graph = s.finish();
    let request = Request { warps: Some(1), ..Request::default() };
    let target = tile_target::find("sm_80").expect("a target");
    let (_, module) = support::compile(&graph, target, &request);
    assert_eq!(module.ptx.matches("shfl.sync").count(), 5, "{}", module.ptx);
    assert!(!module.ptx.contains("fma"), "{}", module.ptx);
    let dims = [("M", 3)];
    let error = check(&graph, &request, &dims, &arguments(&graph, &dims, &[], as_is));
    assert!(error <= tolerance(DType::F32), "error {error:e}");
}

// ---- every scalar function and cast, of every dtype

const DTYPES: [DType; 10] = [
    DType::F64,
    DType::F32,
    DType::F16,
    DType::Bf16,
    DType::I64,
    DType::I32,
    DType::I16,
    DType::I8,
    DType::U8,
    DType::Bool,
];

/// Dtypes that are only stored, and converted before anything is computed.
const STORED: [DType; 5] = [DType::F8e4m3, DType::F8e5m2, DType::F4e2m1, DType::I4, DType::U4];

/// A kernel that loads `a` and `b` and stores what `make` makes of them, each result in its own tensor.
fn all_of(
    dtype: DType,
    results: &[DType],
    make: impl Fn(&mut Sketch, usize, tile_graph::Value, tile_graph::Value) -> tile_graph::Value,
) -> Graph {
    let input = |n: &str| tensor(n, tile_base::Mode::In, dtype, &["N"]);
    let mut params = vec![input("a"), input("b")];
    for (n, &d) in results.iter().enumerate() {
        params.push(tensor(&format!("r{n}"), tile_base::Mode::Out, d, &["N"]));
    }
    let mut s = Sketch::new("all", params, &["N"]);
    let tile = s.b.tile_size("B", vec![], false, tile_base::Span::default());
    let n = s.dim("N");
    let i = s.par_tiles("i", n, tile);
    let a = s.load(0, &[Sub::Along(i)]);
    let b = s.load(1, &[Sub::Along(i)]);
    for at in 0..results.len() {
        let r = make(&mut s, at, a, b);
        s.store(2 + at as u32, &[Sub::Along(i)], r);
    }
    s.finish()
}

/// Whether the graph's type rule has the operation, and what it gives.
fn result_of(op: ElemOp, dtype: DType) -> Option<DType> {
    let t = tile_graph::ValueType::scalar(dtype);
    let mut inputs = vec![t; op.arity()];
    if op == ElemOp::Select {
        inputs[0] = tile_graph::ValueType::scalar(DType::Bool);
    }
    tile_graph::typing::elementwise(op, &inputs).ok().map(|t| t.dtype)
}

fn small_values(graph: &Graph, n: i64) -> tile_tensor::Arguments {
    let mut arguments = arguments(graph, &[("N", n)], &[], as_is);
    for (at, argument) in arguments.iter_mut().enumerate() {
        if let tile_tensor::Argument::Tensor(t) = argument
            && !t.dtype.is_float()
        {
            let (range, low) = match (t.dtype.bits(), at) {
                _ if t.dtype == DType::Bool => (2, 0),
                (4, _) => (8, 0),
                (8, 0) => (10, 10),
                (_, 0) => (100, 10),
                _ => (6, 1),
            };
            t.fill_with(|n| ((n * 7 + 3) % range + low) as f64);
        }
    }
    arguments
}

#[test]
fn scalar_functions_of_every_dtype_agree_with_the_oracle_and_assemble() {
    for dtype in DTYPES {
        let missing = |op: ElemOp| {
            use ElemOp::*;
            // The oracle refuses what leaves the dtype: negative numbers of an unsigned one.
            (dtype == DType::F64 && matches!(op, Exp | Exp2 | Log | Log2 | Sin | Cos | Tanh | Erf | Pow))
                || (!dtype.is_float() && op == Pow)
                || (dtype == DType::U8 && matches!(op, Neg | Not))
        };
        let ops: Vec<(ElemOp, DType)> = ElemOp::ALL
            .into_iter()
            .filter(|&op| !missing(op))
            .filter_map(|op| Some((op, result_of(op, dtype)?)))
            .collect();
        let results: Vec<DType> = ops.iter().map(|&(_, d)| d).collect();
        let graph = all_of(dtype, &results, |s, at, a, b| {
            let op = ops[at].0;
            match op.arity() {
                1 => s.elem(op, &[a]),
                2 => s.elem(op, &[a, b]),
                _ => {
                    let c = s.elem(ElemOp::Eq, &[a, b]);
                    s.elem(op, &[c, a, b])
                }
            }
        });
        assemble_everywhere(&graph);
        let error = check(&graph, &Request::default(), &[("N", 320)], &small_values(&graph, 320));
        // The oracle rounds after each operation as the kernel does; functions are within a few ulp.
        let allowed = if dtype.is_float() { tolerance(dtype) } else { 0.0 };
        assert!(error <= allowed, "{dtype}: error {error:e} in one of {ops:?}");
    }
}

#[test]
fn casts_between_all_dtypes_agree_with_the_oracle_and_assemble() {
    let all: Vec<DType> = DTYPES.into_iter().chain(STORED).collect();
    for &from in &all {
        let graph = all_of(from, &all, |s, at, a, _| s.cast(a, all[at]));
        assemble_everywhere(&graph);
        let error = check(&graph, &Request::default(), &[("N", 320)], &small_values(&graph, 320));
        assert!(error <= 1e-12, "{from}: error {error:e}");
    }
}

#[test]
fn functions_that_are_not_written_yet_are_named() {
    for (dtype, op) in [(DType::I32, ElemOp::Pow), (DType::F64, ElemOp::Log2)] {
        let graph =
            all_of(
                dtype,
                &[dtype],
                |s, _, a, b| if op.arity() == 1 { s.elem(op, &[a]) } else { s.elem(op, &[a, b]) },
            );
        let target = tile_target::find("sm_80").expect("a target");
        let errors = tile_plan::plan(&graph, target, &Request::default()).expect_err("not lowered");
        assert!(
            errors.iter().all(|d| d.code == "T0721") && errors[0].message.contains(dtype.name()),
            "{errors:?}"
        );
    }
}

fn assemble_everywhere(graph: &Graph) {
    for name in ["sm_80", "sm_90", "sm_100", "sm_120"] {
        let target = tile_target::find(name).expect("a target");
        let (_, module) = support::compile(graph, target, &Request::default());
        if let Some(ptxas) = tile_ptx::ptxas::find() {
            tile_ptx::ptxas::assemble(&ptxas, &module.ptx, target).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }
}
