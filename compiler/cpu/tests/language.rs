//! Kernels of the library and of the sketches, from text to machine code, against the oracle in rounded mode.
//!
//! Each case names the specialisation, the dimensions and the tile sizes; the data is random within what the index
//! types allow. Gates (`g`, `dt`, `a`) are made small and of the sign their kernels expect.

use std::{collections::BTreeMap, path::Path};
use tile_base::{DType, Diagnostic, FileId, Signature, signature::ParamKind};
use tile_graph::{Program, TileBinding};
use tile_sema::{ConstValue, Instance, Module};
use tile_tensor::{Argument, Arguments, Tensor, launch, random};

fn text_of(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let file = root.join(path);
    std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

fn parse(at: u32, text: &str) -> tile_syntax::ast::File {
    let parsed = tile_syntax::parse(FileId(at), text);
    assert!(parsed.diagnostics.is_empty(), "{:#?}", parsed.diagnostics);
    parsed.file
}

fn instance(words: &str) -> Instance {
    let mut instance = Instance::default();
    for word in words.split_whitespace() {
        if let Some(name) = word.strip_prefix('-') {
            instance.absent.insert(name.into());
            continue;
        }
        let (name, value) = word.split_once('=').unwrap();
        if let Some(dtype) = DType::from_name(value) {
            instance.dtypes.insert(name.into(), dtype);
        } else if let Ok(v) = value.parse::<i64>() {
            instance.consts.insert(name.into(), ConstValue::Int(v));
        } else if let Ok(v) = value.parse::<bool>() {
            instance.consts.insert(name.into(), ConstValue::Bool(v));
        } else {
            instance.functions.insert(name.into(), value.into());
        }
    }
    instance
}

fn program(path: &str, kernel: &str, words: &str) -> Program {
    let mut files = vec![("main".to_string(), parse(0, &text_of(path)))];
    for module in ["prelude", "attention::masks", "attention::flash_fwd"] {
        let text = text_of(&format!("kernels-lib/{}.tile", module.replace("::", "/")));
        files.push((module.to_string(), parse(files.len() as u32, &text)));
    }
    let typed = tile_sema::instantiate(&Module::new(files, 0), kernel, &instance(words));
    let typed = typed.unwrap_or_else(|d| panic!("{kernel}: {}", show(&d)));
    tile_lower::lower(&typed).unwrap_or_else(|d| panic!("{kernel}: {}", show(&d)))
}

fn show(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(|d| format!("{} {} {:?}\n", d.code, d.message, d.notes)).collect()
}

fn numbers(words: &str) -> BTreeMap<String, i64> {
    let pair = |w: &str| w.split_once('=').map(|(n, v)| (n.to_string(), v.parse().unwrap())).unwrap();
    words.split_whitespace().map(pair).collect()
}

/// Random arguments; outputs are zeros.
fn arguments(signature: &Signature, dims: &BTreeMap<String, i64>) -> Arguments {
    let mut list = vec![];
    for param in &signature.params {
        let p = match param {
            ParamKind::Scalar(_) => {
                list.push(Argument::from(0.3));
                continue;
            }
            ParamKind::Tensor(p) if !p.present => {
                list.push(Argument::Absent);
                continue;
            }
            ParamKind::Tensor(p) => p,
        };
        let shape = launch::shape_of(signature, p, dims).unwrap_or_else(|d| panic!("{}", show(&d)));
        let mut stream = random::Random::stream(7, &p.name);
        let tensor = match &p.index {
            _ if !p.mode.reads() => Tensor::zeros(p.dtype, &shape),
            Some(kind) => {
                use tile_base::IndexKind::*;
                let (Id(n) | IdOrNone(n) | Count(n) | Offsets(n)) = kind;
                let limit = n.eval(&|name| dims.get(name).copied()).unwrap();
                random::fill_index(p.dtype, kind, limit, &shape, &mut stream).unwrap()
            }
            None => {
                let mut t = random::fill(p.dtype, &shape, &mut stream).unwrap();
                let gate: Option<fn(f64) -> f64> = match p.name.as_str() {
                    "g" | "a" if p.dtype == DType::F32 => Some(|x| -0.2 * x.abs()),
                    "dt" | "beta" | "weight" | "sa" | "sb" => Some(|x| 0.5 / (1.0 + x.abs())),
                    "q" | "k" | "v" | "s0" => Some(|x| 0.5 * x),
                    _ => None,
                };
                if let Some(f) = gate {
                    let values = t.to_f64_vec();
                    t.fill_with(|i| f(values[i]));
                }
                t
            }
        };
        list.push(tensor.into());
    }
    Arguments(list)
}

/// CPU with one and three threads, bit by bit; then against the oracle.
fn check(path: &str, kernel: &str, words: &str, dims: &str, tiles: &str, tolerance: f64) {
    let program = program(path, kernel, words);
    let sizes = numbers(tiles);
    let bindings: Vec<TileBinding> = program
        .graphs
        .iter()
        .map(|g| {
            let mut b = TileBinding::uniform(g, 16);
            for (name, &size) in &sizes {
                if let Some(tile) = g.tile_named(name) {
                    b.set(tile, size as u64);
                }
            }
            b
        })
        .collect();
    let arguments = arguments(&program.signature, &numbers(dims));
    let compiled =
        tile_cpu::compile(&program, &bindings).unwrap_or_else(|d| panic!("{kernel}: {}", show(&d)));
    let (mut one, mut three, mut judge) = (arguments.clone(), arguments.clone(), arguments);
    compiled.run(&mut one, 1).unwrap_or_else(|d| panic!("{kernel}: {}", show(&d)));
    compiled.run(&mut three, 3).unwrap_or_else(|d| panic!("{kernel}: {}", show(&d)));
    let options =
        tile_oracle::Options { mode: tile_oracle::Mode::Rounded, tiles: bindings, ..Default::default() };
    tile_oracle::run(&program, &mut judge, &options).unwrap_or_else(|d| panic!("{kernel}: {}", show(&d)));
    let mut compared = 0;
    for (at, param) in program.signature.params.iter().enumerate() {
        let (Argument::Tensor(a), Argument::Tensor(b), Argument::Tensor(c)) =
            (&one[at], &three[at], &judge[at])
        else {
            continue;
        };
        assert_eq!(a.bytes(), b.bytes(), "{kernel}: `{}` depends on the threads", param.name());
        let want = c.to_f64_vec();
        let scale = want.iter().filter(|v| v.is_finite()).fold(0.0f64, |m, v| m.max(v.abs()));
        for (n, (x, &y)) in a.to_f64_vec().into_iter().zip(&want).enumerate() {
            let same = x == y || (x.is_nan() && y.is_nan());
            assert!(
                same || (x - y).abs() <= tolerance * (0.1 * scale + y.abs()),
                "{kernel} {words}: `{}` at {n} of {:?}: {x}, the oracle has {y}",
                param.name(),
                a.shape
            );
            compared += 1;
        }
    }
    assert!(compared > 0);
}

const F32: f64 = 5e-5;
const F16: f64 = 6e-3;
const BF16: f64 = 5e-2;

macro_rules! cases {
    ($($name:ident: $path:literal $kernel:literal [$($words:literal, $dims:literal, $tiles:literal, $tolerance:expr;)*])*) => {$(
        #[test]
        fn $name() {
            $(check($path, $kernel, $words, $dims, $tiles, $tolerance);)*
        }
    )*};
}

cases! {
    add: "kernels-lib/elementwise/add.tile" "add" ["T=f32", "M=5 N=37", "", 0.0; "T=f16", "M=3 N=100", "", 0.0;]
    gelu: "kernels-lib/elementwise/gelu.tile" "gelu_fwd" ["T=f32", "M=5 N=37", "", F32; "T=f16", "M=5 N=37", "", F16;]
    silu_mul: "kernels-lib/elementwise/silu_mul.tile" "silu_mul" ["T=bf16", "N=37 M=5 D=12 F=12", "", BF16;]
    matmul: "kernels-lib/gemm/matmul.tile" "matmul" [
        "T=f32 epi=same", "M=33 N=70 K=45", "BM=16 BN=32", F32;
        "T=f16 epi=relu", "M=33 N=70 K=45", "BM=16 BN=32", F16;
    ]
    softmax: "kernels-lib/softmax/softmax.tile" "softmax_fwd" ["T=f32", "M=5 N=77", "", F32; "T=bf16", "M=5 N=77", "", BF16;]
    rmsnorm: "kernels-lib/norm/rmsnorm.tile" "rmsnorm" ["T=f32", "M=7 N=77 D=77", "", F32;]
    layernorm: "kernels-lib/norm/layernorm.tile" "layernorm" ["T=f32", "M=7 N=77 D=77", "", F32;]
    row_sum: "kernels-lib/reduce/sum.tile" "row_sum" ["T=f32", "M=7 N=77", "", F32;]
    row_argmax: "kernels-lib/reduce/argmax.tile" "row_argmax" ["T=f32", "M=7 N=77", "", 0.0;]
    row_logsumexp: "kernels-lib/reduce/logsumexp.tile" "row_logsumexp" ["T=f32", "M=7 N=77", "", F32;]
    flash_fwd: "kernels-lib/attention/flash_fwd.tile" "flash_fwd" [
        "T=f32 D=16 CAUSAL=true", "B=2 M=37 N=50 HQ=4 HK=2", "BM=16 BN=24", F32;
        "T=f16 D=40 CAUSAL=false", "B=1 M=37 N=20 HQ=2 HK=2", "BM=32 BN=16", F16;
    ]
    flash_mods: "dsl-examples/sketches/01_flash_mods.tile" "flash_mods" [
        "T=f32 D=16 DV=24 score=softcap mask=causal", "B=2 M=20 N=33 HQ=4 HK=2", "", F32;
        "T=f32 D=16 DV=16 score=alibi mask=document -lse", "B=2 M=20 N=20 S=20 HQ=4 HK=2", "", F32;
    ]
    flash_bwd_delta: "dsl-examples/sketches/02_flash_bwd.tile" "flash_bwd_delta" [
        "T=f32 D=16", "B=2 M=20 HQ=3", "", F32;
    ]
    flash_bwd_main: "dsl-examples/sketches/02_flash_bwd.tile" "flash_bwd_main" [
        "T=f32 D=16 CAUSAL=true", "B=2 M=33 N=40 HQ=4 HK=2", "", F32;
        "T=f16 D=16 CAUSAL=false", "B=1 M=33 N=20 HQ=4 HK=2", "", F16;
    ]
    paged_decode: "dsl-examples/sketches/03_paged_decode.tile" "paged_decode" [
        "T=f32 D=16 P=4", "B=3 HQ=8 HK=2 NP=11 MP=5", "BN=6", F32;
        "T=f16 D=16 P=4", "B=3 HQ=8 HK=2 NP=11 MP=5", "", F16;
    ]
    mla_decode: "dsl-examples/sketches/04_mla_decode.tile" "mla_decode" [
        "T=f32 DL=32 DR=16", "B=2 H=5 N=40", "", F32;
    ]
    block_sparse: "dsl-examples/sketches/05_block_sparse.tile" "block_sparse" [
        "T=f32 D=16 BS=16", "B=2 M=37 N=64 HQ=4 HK=2 S=3", "", F32;
    ]
    ssd_fwd: "dsl-examples/sketches/06_mamba2_ssd.tile" "ssd_fwd" [
        "T=f32 N=16 P=16", "L=71 H=4 G=2 NS=3", "C=32", F32;
    ]
    gdn_fwd: "dsl-examples/sketches/07_gated_deltanet.tile" "gdn_fwd" [
        "T=f32 K=16 V=24", "L=71 H=2 HV=4 NS=3", "C=16", 5e-4;
    ]
    holes: "compiler/ptx/tests/collectives/kernels.tile" "holes" [
        "T=f32 N=7", "M=5", "BM=2", 0.0; "T=f16 N=40", "M=9", "", 0.0; "T=i32 N=2", "M=1", "", 0.0;
    ]
    log_linear_fwd: "dsl-examples/sketches/08_log_linear.tile" "log_linear_fwd" [
        "T=f32 K=16 V=24 C=16 LB=4 NZ=5", "L=71 H=2", "", 2e-4;
    ]
    router: "dsl-examples/sketches/09_moe.tile" "router" ["E=8 TOPK=2", "N=21", "", F32;]
    routing: "dsl-examples/sketches/09_moe.tile" "routing" ["E=8 TOPK=2", "N=21", "", 0.0;]
    moe_up: "dsl-examples/sketches/09_moe.tile" "moe_up" ["T=f32", "N=21 DM=20 E=3 F=19 R=42", "", F32;]
    moe_down: "dsl-examples/sketches/09_moe.tile" "moe_down" ["T=f32", "DM=20 E=3 F=19 R=42", "", F32;]
    moe_combine: "dsl-examples/sketches/09_moe.tile" "moe_combine" ["T=f32 TOPK=2", "N=21 R=42 DM=20", "", F32;]
    w4a16: "dsl-examples/sketches/10_w4a16.tile" "w4a16" ["T=f32 GS=32", "M=9 N=21 K=80", "", F32;]
    linear_cross_entropy: "dsl-examples/sketches/11_linear_cross_entropy.tile" "linear_cross_entropy" [
        "T=f32", "N=21 DM=30 V=50", "", F32;
    ]
    fp8_block_scaled: "dsl-examples/sketches/12_fp8_block_scaled.tile" "fp8_block_scaled" [
        "T=f32 QB=32", "M=20 N=50 K=70", "", F32;
    ]
    causal_conv1d: "dsl-examples/sketches/13_causal_conv1d.tile" "causal_conv1d" [
        "T=f32 W=4 act=silu", "L=71 C=20 NS=3", "", F32;
    ]
    pool_keys: "dsl-examples/sketches/14_block_selection.tile" "pool_keys" ["T=f32 D=16 BS=8", "B=2 N=37 HK=2", "", F32;]
    select_blocks: "dsl-examples/sketches/14_block_selection.tile" "select_blocks" [
        "T=f32 D=16 CAP=32 S=4", "B=2 HQ=4 HK=2 NB=9", "", 0.0;
    ]
}
