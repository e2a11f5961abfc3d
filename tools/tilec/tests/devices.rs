//! Kernels on the simulator and through a CUDA driver, from the command line: `--device` and `--rung`.

#![cfg(feature = "ptx")]

mod common;
#[path = "../../sim-cuda/tests/common/mod.rs"]
mod shim;

use common::{Folder, root, tilec};
use tile_base::DType;
use tile_tensor::{Tensor, read_npy, write_npy};

const FLASH: &str = "kernels-lib/attention/flash_fwd.tile";
const MATMUL: &str = "kernels-lib/gemm/matmul.tile";
/// Host integers, loops and branches, parts, a temporary that starts at zero; rows of 33 elements have no vectors.
const LAYERS: &str = "
kernel twice(x: in f32[M], y: out f32[M]) { tile B; par i in tiles(M, B) { y[i] = x[i] * 2; } }
kernel triple(x: in f32[M], y: out f32[M]) { tile B; par i in tiles(M, B) { y[i] = x[i] * 3; } }
kernel totals(x: in f32[L, M], s: sum f32[L]) {
    tile B;
    par l in L, i in tiles(M, B) { s[l] += x[l, i].sum(0)[0]; }
}
op layers(x: in f32[M], s: out f32[L], z: out f32[L, M]) {
    temp h: f32[L, M];
    temp t: f32[L];
    let last = L - 1;
    run twice(x, h[0]);
    for l in 0..last { run twice(h[l], h[l + 1]); }
    if M <= 8 {
        for l in 0..L { run twice(h[l], z[l]); }
    } else {
        for l in 0..L { run triple(h[l], z[l]); }
    }
    run totals(h, t);
    run triple(t[0..L], s);
}
spec layers {
    z[l, i] = exp2(l + 1) * x[i] * (if M <= 8 { 2 } else { 3 });
    s[l] = sum(i: 3 * exp2(l + 1) * x[i]);
}
test layers { L in [1, 3], M in [5, 33, 64]; }
";
/// Reads a temporary that only the next launch writes.
const EARLY: &str = "
kernel twice(x: in f32[M], y: out f32[M]) { tile B; par i in tiles(M, B) { y[i] = x[i] * 2; } }
op early(x: in f32[M], y: out f32[M]) { temp t: f32[M]; run twice(t, y); run twice(x, t); }
";

/// All shapes of the library: for both targets in check mode, with nothing found and nothing left out; and through
/// the CUDA driver's API, for which the driver over the simulator stands.
#[test]
fn the_library_runs_on_the_simulator_and_through_a_driver() {
    let driver = shim::Driver::build();
    let place = [("LD_LIBRARY_PATH", driver.path().to_str().unwrap())];
    let text =
        common::tilec_with(&root(), &["test", "kernels-lib", "--device", "cuda:0", "--json"], &place).good();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let cases = json["cases"].as_array().unwrap();
    assert!(cases.len() > 100);
    for case in cases {
        let checks = case["checks"].as_array().unwrap();
        for rung in ["sim", "cuda"] {
            assert!(checks.iter().any(|c| c["name"] == rung && c["ok"] == true), "{rung}: {case:#}");
        }
        // The driver is the simulator, so that nothing but the order of CTAs can tell the two apart.
        let beside = checks.iter().find(|c| c["name"] == "cuda=sim").unwrap_or_else(|| panic!("{case:#}"));
        assert!(beside["bytes_equal"].is_boolean() && beside["ulps"].is_u64(), "{case:#}");
        assert!(case["stopped"].is_null(), "{case:#}");
    }
    assert_eq!(json["counts"]["simulated"], cases.len());
    assert_eq!(json["counts"]["on_gpu"], cases.len());
}

#[test]
fn kernels_run_and_are_measured_through_a_driver() {
    let driver = shim::Driver::build();
    let place = [("LD_LIBRARY_PATH", driver.path().to_str().unwrap())];
    let folder = Folder::new();
    let (here, there) = (folder.path("cpu.npy"), folder.path("cuda.npy"));
    for (device, file) in [("cpu", &here), ("cuda:0", &there)] {
        let out = format!("c={file}");
        let dims = ["--dim", "M=40", "--dim", "N=24", "--dim", "K=33", "--const", "T=f16"];
        let args = [&["run", MATMUL, "--device", device, "--random", "7", "--out", &out][..], &dims].concat();
        common::tilec_with(&root(), &args, &place).good();
    }
    let (a, b) = (read_npy(&here).unwrap().to_f64_vec(), read_npy(&there).unwrap().to_f64_vec());
    let worst = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst < 4e-2, "{worst}");
    common::tilec_with(&root(), &["run", MATMUL, "--device", "cuda:1", "--random", "7"], &place)
        .refused("T0871");
    let args =
        ["bench", MATMUL, "--device", "cuda", "--json", "--dim", "M=32", "--dim", "N=32", "--dim", "K=32"];
    let json: serde_json::Value =
        serde_json::from_str(&common::tilec_with(&root(), &args, &place).good()).unwrap();
    let results = json["results"].as_array().unwrap();
    assert!(!results.is_empty() && results.iter().all(|r| r["ms"].as_f64().unwrap() > 0.0), "{json:#}");
}

/// Nothing is measured: the simulator predicts, and says of what kind of kernel.
#[test]
fn a_bench_on_the_simulator_predicts() {
    let dims = ["--dim", "M=256", "--dim", "N=256", "--dim", "K=256", "--const", "T=f16"];
    let args =
        |target| [&["bench", MATMUL, "--device", "sim", "--json", "--target", target][..], &dims].concat();
    let json = |target: &'static str| -> serde_json::Value {
        serde_json::from_str(&tilec(&args(target)).good()).unwrap()
    };
    let slow = json("sm_80")["results"][0].clone();
    let quick = json("sm_90")["results"][0].clone();
    assert!(
        slow["ms"].as_f64().unwrap() > quick["ms"].as_f64().unwrap() && quick["ms"].as_f64() > Some(0.002)
    );
    assert!(quick["predicted"]["bound"].is_string() && quick["predicted"]["checked"].is_boolean(), "{quick}");
    let plain = [&["bench", MATMUL, "--device", "sim", "--target", "sm_120"][..], &dims].concat();
    tilec(&plain).refused("T0868");
}

/// Launches are compiled side by side, in an order that their sizes decide: the text does not depend on who was ready first.
#[test]
fn compiling_is_timed_by_stage_and_gives_the_same_bytes_each_time() {
    const SEVERAL: &str = "kernels-lib/sparse/sparse_decode.tile";
    let args = ["bench", SEVERAL, "--compile", "--target", "sm_80", "--json"];
    let json: serde_json::Value = serde_json::from_str(&tilec(&args).good()).unwrap();
    let time = &json["compile"][0];
    assert!(time["kernel"] == "sparse_decode" && time["launches"].as_u64() > Some(2), "{json:#}");
    let stages =
        ["parse", "check", "typed", "graph", "laws", "plan", "emit", "mlir parse", "llvm passes", "ptx"];
    for spent in stages.map(|s| &time["stages"][s]).into_iter().chain([time]) {
        assert!(spent["ms"].as_f64() > Some(0.0) && spent["cpu_ms"].as_f64() > Some(0.0), "{json:#}");
    }
    let table = tilec(&["bench", MATMUL, "--compile"]).good();
    assert!(table.contains("llvm passes") && table.contains("matmul"), "{table}");
    tilec(&["bench", MATMUL, "--compile", "--target", "sm_12"]).refused("T0854");
    // Of a kernel with schedules a call needs some of the launches.
    let launches = |dims: &[&str]| {
        let args = ["bench", "kernels-lib/linear/kda.tile", "--kernel", "kda", "--compile", "--json"];
        let json: serde_json::Value = serde_json::from_str(&tilec(&[&args, dims].concat()).good()).unwrap();
        json["compile"][0]["launches"].as_u64().unwrap()
    };
    let call = ["--dim", "L=64", "--dim", "H=2", "--dim", "NS=2", "--dim", "K=16", "--dim", "V=16"];
    assert_eq!(launches(&call), 1);
    assert!(launches(&[]) > 4);
    let text = || tilec(&["build", SEVERAL, "--target", "sm_80"]).good();
    assert_eq!(text(), text());
}

#[test]
fn the_simulator_agrees_with_the_cpu_at_sizes_without_vectors() {
    let folder = Folder::new();
    let file = root().join(MATMUL);
    let values = |n: usize| -> Vec<f64> { (0..n).map(|v| (v as f64 * 0.37).sin()).collect() };
    // Rows of 46 bytes: no vectors for b.
    let (a_file, b_file) = (folder.path("a.npy"), folder.path("b.npy"));
    write_npy(&a_file, &Tensor::from_f64(DType::F16, &[17, 40], &values(17 * 40))).unwrap();
    write_npy(&b_file, &Tensor::from_f64(DType::F16, &[40, 23], &values(40 * 23))).unwrap();
    let (a_arg, b_arg) = (format!("a={a_file}"), format!("b={b_file}"));
    let run = |device: &str, target: &str| {
        let out = folder.path(&format!("{device}-{target}.npy"));
        let c = format!("c={out}");
        let file = file.to_str().unwrap();
        let args = [
            "run", file, "--device", device, "--target", target, "--in", &a_arg, "--in", &b_arg, "--out", &c,
        ];
        let done = folder.run(&args);
        assert_eq!(done.status, 0, "{}", done.stderr);
        (read_npy(&out).unwrap().to_f64_vec(), done.stderr)
    };
    let (expected, _) = run("cpu", "sm_90");
    for target in ["sm_80", "sm_90"] {
        let (found, said) = run("sim", target);
        assert!(
            said.contains("T0860") && said.contains("`b`"),
            "other code than the default is told:\n{said}"
        );
        let worst = expected.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst < 4e-3, "{target}: {worst}");
    }
}

/// Every launch of an op on one memory, with code for the strides of its own arguments.
#[test]
fn ops_of_several_launches_run_on_the_simulator_and_through_a_driver() {
    let driver = shim::Driver::build();
    let place = [("LD_LIBRARY_PATH", driver.path().to_str().unwrap())];
    let folder = Folder::new();
    let file = folder.write("layers.tile", LAYERS);
    let text = common::tilec_with(&root(), &["test", &file, "--device", "cuda:0", "--json"], &place).good();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&json["counts"]["simulated"], &json["counts"]["on_gpu"]), (&6.into(), &6.into()), "{json:#}");
    let args = ["bench", &file, "--kernel", "layers", "--device", "cuda", "--dim", "M=33", "--json"];
    let text = common::tilec_with(&root(), &args, &place).good();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(json["results"][0]["ms"].as_f64().unwrap() > 0.0, "{json:#}");
}

/// A launch whose tensors can be described by tensor maps has them, through the simulator's own and the driver's call
/// alike; another one says why not, and is refused where the schedule insists.
#[test]
fn tensors_come_by_tensor_maps_or_with_a_reason() {
    let driver = shim::Driver::build();
    let place = [("LD_LIBRARY_PATH", driver.path().to_str().unwrap()), ("SIM_CUDA_CHECK", "1")];
    let folder = Folder::new();
    let kernel = "kernel product(a: in f16[M, K], b: in f16[K, N], c: out f32[M, N]) {
        tile BM, BN;
        par i in tiles(M, BM), j in tiles(N, BN) { let s = a[i, :] @ b[:, j]; c[i, j] = s; }
    }
    schedule product for sm_90 { place a tma; place b tma;";
    let wishes = folder.write("product.tile", format!("{kernel} }}"));
    let insists = folder.write("insists.tile", format!("{kernel} require place a; }}"));
    let run = |file: &str, device: &str, k: &str, out: &str| {
        let (k, out) = (format!("K={k}"), format!("c={}", folder.path(out)));
        let args = [
            "run", file, "--device", device, "--target", "sm_90", "--random", "3", "--dim", "M=70", "--dim",
            "N=40", "--dim", &k, "--out", &out,
        ];
        common::tilec_with(&root(), &args, &place)
    };
    let values = |name: &str| read_npy(&folder.path(name)).unwrap().to_f64_vec();
    for (k, whole) in [("72", true), ("50", false)] {
        run(&wishes, "cpu", k, "cpu.npy").good();
        for device in ["sim", "cuda"] {
            let done = run(&wishes, device, k, "out.npy");
            assert_eq!(done.stderr.contains("T0607"), !whole, "{device} {k}: {}", done.stderr);
            done.good();
            let worst = values("cpu.npy").into_iter().zip(values("out.npy")).map(|(a, b)| (a - b).abs());
            assert!(worst.fold(0.0, f64::max) < 1e-3, "{device} {k}");
            let insisted = run(&insists, device, k, "out.npy");
            match whole {
                true => drop(insisted.good()),
                false => assert!(insisted.refused("T0607").contains("stride 100 of dimension 0")),
            }
        }
    }
    let ptx = tilec(&["build", &insists, "--target", "sm_90"]).good();
    assert_eq!(ptx.matches("cp.async.bulk.tensor.2d").count() >= 2, ptx.contains(".param .align 64 .b8"));
    tilec(&["build", &insists, "--target", "sm_80"]).good();
    let any = folder.write("any.tile", format!("{kernel} require place a; }}").replace(" for sm_90", ""));
    tilec(&["build", &any, "--target", "sm_80"]).refused("T0607");
}

#[test]
fn a_temporary_that_is_read_too_early_shows_as_nan() {
    let driver = shim::Driver::build();
    let place = [("LD_LIBRARY_PATH", driver.path().to_str().unwrap())];
    let folder = Folder::new();
    let file = folder.write("early.tile", EARLY);
    for device in ["sim", "cuda"] {
        let out = folder.path(&format!("{device}.npy"));
        let y = format!("y={out}");
        let args = [
            "run", &file, "--kernel", "early", "--device", device, "--random", "1", "--dim", "M=5", "--out",
            &y,
        ];
        common::tilec_with(&root(), &args, &place).good();
        assert!(read_npy(&out).unwrap().to_f64_vec().iter().all(|v| v.is_nan()), "{device}");
    }
}

#[test]
fn a_target_that_is_none_is_said() {
    tilec(&["run", MATMUL, "--device", "sim", "--target", "sm_7", "--random", "1"]).refused("T0854");
}

/// Files that are no libraries stand before any driver that this machine may have.
#[test]
fn without_a_driver_the_command_says_so() {
    let folder = Folder::new();
    folder.write("libcuda.so", "no library");
    folder.write("libcuda.so.1", "no library");
    let file = root().join(MATMUL);
    let run = |args: &[&str]| {
        let place = [("LD_LIBRARY_PATH", folder.0.path().to_str().unwrap())];
        common::tilec_with(&root(), args, &place)
    };
    let file = file.to_str().unwrap();
    run(&["run", file, "--device", "cuda", "--random", "1"]).refused("T0870");
    let said = run(&["test", "kernels-lib/reduce/sum.tile", "--rung", "cuda"]).refused("T0870");
    assert!(!said.contains("T0859"), "one reason is enough: {said}");
    run(&["test", "kernels-lib/reduce/sum.tile", "--device", "cuda:1"]).refused("T0870");
    run(&["bench", file, "--device", "cuda:1"]).refused("T0870");
    let text = run(&["test", "kernels-lib/reduce/sum.tile"]).good();
    assert!(text.contains("stopped below the GPU: there is no CUDA driver"), "{text}");
    assert_eq!(run(&["run", file, "--device", "cuda:x"]).status, 2);
    assert_eq!(run(&["bench", file, "--device", "oracle"]).status, 2);
    assert_eq!(run(&["test", file, "--device", "cpu"]).status, 2);
}

/// The line of a finding comes from `.loc`; code stays optimised, so the target has no `debug`.
#[test]
fn ptx_carries_the_lines_of_the_kernel() {
    let ptx = tilec(&["build", MATMUL]).good();
    let number = ptx.lines().find_map(|l| {
        let (number, name) = l.trim().strip_prefix(".file")?.trim().split_once(' ')?;
        name.ends_with("gemm/matmul.tile\"").then(|| number.to_string())
    });
    let number = number.expect("the kernel's file has a number");
    let text = std::fs::read_to_string(root().join(MATMUL)).unwrap();
    let line = 1 + text.lines().position(|l| l.contains("a[i, :] @ b[:, j]")).unwrap();
    let location = format!(".loc\t{number} {line} ");
    assert!(ptx.contains(&location), "no `{location}`");
    let target = ptx.lines().find(|l| l.starts_with(".target")).unwrap();
    assert!(!target.contains("debug"), "{target}");
}

/// Constructs that the library is still short of: id lists, ragged domains, running sums, two products in one sum.
#[test]
fn sketches_run_on_the_simulator() {
    for name in [
        "01_flash_mods",
        "04_mla_decode",
        "05_block_sparse",
        "06_mamba2_ssd",
        "08_log_linear",
        "11_linear_cross_entropy",
        "13_causal_conv1d",
    ] {
        let file = format!("dsl-examples/sketches/{name}.tile");
        tilec(&["test", &file, "--rung", "sim"]).good();
    }
}

/// A product over one element is read as deep as the instruction is: what lies behind must be 0, whatever the dtype.
#[test]
fn products_of_depth_one_run_on_the_simulator() {
    let folder = Folder::new();
    let outer = "
kernel outer<T: f16 | f32, const K>(a: in T[M, K], b: in T[N, K], c: out T[M, N]) {
    tile BM, BN;
    par i in tiles(M, BM), j in tiles(N, BN) { c[i, j] = (a[i, :] @ b[j, :].t).to(T); }
}
spec outer { c[i, j] = sum(k: a[i, k] * b[j, k]); }
test outer { T in [f16, f32]; K in [1, 2]; M = 9, N = 21; }
";
    let file = folder.write("outer.tile", outer);
    folder.run(&["test", &file, "--rung", "sim"]).good();
    let means = ["cpu", "sim"].map(|device| {
        let text = tilec(&[
            "run",
            FLASH,
            "--random",
            "1",
            "--json",
            "--device",
            device,
            "--const",
            "T=f32",
            "--const",
            "D=1",
            "--const",
            "CAUSAL=true",
            "--dim",
            "B=1",
            "--dim",
            "M=9",
            "--dim",
            "N=9",
            "--dim",
            "HQ=1",
            "--dim",
            "HK=1",
        ]);
        let json: serde_json::Value = serde_json::from_str(&text.good()).unwrap();
        json["outputs"]["o"]["mean"].as_f64().unwrap()
    });
    assert!((means[0] - means[1]).abs() < 1e-5 && means[0] != 0.0, "{means:?}");
}
