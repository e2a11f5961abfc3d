//! Kernels on the simulator, from the command line: what `--device sim` and `--rung sim` do and say.

#![cfg(feature = "ptx")]

mod common;

use common::{Folder, root, tilec};
use tile_base::DType;
use tile_tensor::{Tensor, read_npy, write_npy};

const MATMUL: &str = "kernels-lib/gemm/matmul.tile";
const TWO_STEPS: &str = "
kernel twice(x: in f32[M], y: out f32[M]) { tile B; par i in tiles(M, B) { y[i] = x[i] * 2; } }
op both(x: in f32[M], y: out f32[M]) {
    temp t: f32[M];
    run twice(x, t);
    run twice(t, y);
}
";

/// The issue's own demand: all shapes, both targets, check mode, nothing found and nothing left out.
#[test]
fn the_library_runs_on_the_simulator() {
    let text = tilec(&["test", "kernels-lib", "--rung", "sim", "--json"]).good();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let cases = json["cases"].as_array().unwrap();
    assert!(cases.len() > 100);
    for case in cases {
        let checks = case["checks"].as_array().unwrap();
        assert!(checks.iter().any(|c| c["name"] == "sim" && c["ok"] == true), "{case:#}");
        assert!(case["stopped"].is_null(), "{case:#}");
    }
    assert_eq!(json["counts"]["simulated"], cases.len());
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

#[test]
fn what_no_device_runs_yet_is_said() {
    let folder = Folder::new();
    let file = folder.write("two.tile", TWO_STEPS);
    let args = ["run", &file, "--kernel", "both", "--device", "sim", "--random", "1", "--dim", "M=5"];
    folder.run(&args).refused("T0861");
    let args = ["run", MATMUL, "--device", "sim", "--target", "sm_7", "--random", "1"];
    tilec(&args).refused("T0854");
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
    run(&["test", file, "--rung", "cuda"]).refused("T0870");
    run(&["bench", file, "--device", "cuda:1"]).refused("T0870");
    let text = run(&["test", "kernels-lib/reduce/sum.tile"]).good();
    assert!(text.contains("stopped below the GPU: there is no CUDA driver"), "{text}");
    assert_eq!(run(&["run", file, "--device", "cuda:x"]).status, 2);
    assert_eq!(run(&["bench", file, "--device", "oracle"]).status, 2);
}
