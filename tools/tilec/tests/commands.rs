//! The contract of every command: what it does, where it prints, with which exit status.

mod common;

use common::{Folder, root, tilec};
use tile_base::DType;
use tile_tensor::{Tensor, read_npy, read_tensor, write_npy, write_tensor};

const FLASH: &str = "kernels-lib/attention/flash_fwd.tile";
const MATMUL: &str = "kernels-lib/gemm/matmul.tile";
const SOFTMAX: &str = "kernels-lib/softmax/softmax.tile";

#[test]
fn usage_faults_exit_with_2() {
    for args in [
        &[][..],
        &["frobnicate"],
        &["check"],
        &["run"],
        &["run", SOFTMAX, "--device", "abacus"],
        &["run", SOFTMAX, "--in", "x"],
        &["build", SOFTMAX, "--emit", "soup"],
        &["graph", SOFTMAX],
        &["graph", SOFTMAX, "--svg", "--dot"],
        &["test", SOFTMAX, "--rung", "moon"],
    ] {
        assert_eq!(tilec(args).status, 2, "{args:?}");
    }
    assert_eq!(tilec(&["--help"]).status, 0);
    assert_eq!(tilec(&["--version"]).status, 0);
}

#[test]
fn check_accepts_the_library_and_the_sketches() {
    let mut args = vec!["check".to_string()];
    for folder in ["kernels-lib", "dsl-examples/sketches"] {
        args.extend(
            tile_driver::session::tile_files(&[root().join(folder).to_str().unwrap().to_string()]).unwrap(),
        );
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    tilec(&args).good();
}

#[test]
fn check_reports_several_faults_with_places() {
    let folder = Folder::new();
    let file = folder.write(
        "two.tile",
        "kernel a(x: in f32[M], y: out f32[M]) { tile B; par i in tiles(M, B) { y[i] = x[i] + z; } }\n\
         kernel b(x: in f32[M], y: out f32[M]) { tile B; par i in tiles(M, B) { y[i] = w; } }\n",
    );
    let out = folder.run(&["check", &file, "--json"]);
    assert_eq!(out.status, 1);
    let json: serde_json::Value = serde_json::from_str(&out.stdout).unwrap();
    assert_eq!(json["ok"], false);
    let found = json["diagnostics"].as_array().unwrap();
    let lines: Vec<u64> = found.iter().filter_map(|d| d["line"].as_u64()).collect();
    assert!(lines.contains(&1) && lines.contains(&2), "{json:#}");
    assert!(found.iter().all(|d| d["code"].as_str().is_some_and(|c| c.starts_with('T') && c.len() == 5)));
}

#[test]
fn diagnostics_show_the_line() {
    let folder = Folder::new();
    let file = folder.write(
        "one.tile",
        "kernel a(x: in f32[M], y: out f32[M]) {\n    tile B;\n    par i in tiles(M, B) {\n        y[i] = x[i] + zebra;\n    }\n}\n",
    );
    let text = folder.run(&["check", &file]).refused("T02");
    assert!(text.contains("y[i] = x[i] + zebra;") && text.contains(":4:"), "{text}");
    assert!(text.contains("tilec explain"), "{text}");
}

#[test]
fn fmt_rewrites_and_check_only_looks() {
    let folder = Folder::new();
    let ugly = "kernel a(x:in f32[M],y:out f32[M]){tile B;par i in tiles(M,B){y[i]=x[i];}} // kept\n";
    let file = folder.write("ugly.tile", ugly);
    assert_eq!(folder.run(&["fmt", "--check", &file]).status, 1);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), ugly);
    folder.run(&["fmt", &file]).good();
    let pretty = std::fs::read_to_string(&file).unwrap();
    assert!(pretty != ugly && pretty.contains("// kept"));
    folder.run(&["fmt", "--check", &file]).good();
    let broken = folder.write("broken.tile", "kernel a( {");
    folder.run(&["fmt", &broken]).refused("T01");
    assert_eq!(std::fs::read_to_string(&broken).unwrap(), "kernel a( {");
}

#[test]
fn build_prints_every_stage_that_needs_no_llvm() {
    let out = tilec(&["build", FLASH, "--emit", "ast,typed,graph,plan"]);
    assert!(out.stderr.contains("from the first case of `test flash_fwd`"), "{}", out.stderr);
    let text = out.good();
    for stage in ["ast", "typed", "graph", "plan"] {
        assert!(text.contains(&format!("// ==== {stage} ====")), "{stage}");
    }
}

#[test]
fn build_takes_consts_and_dims_from_the_command_line() {
    let out = tilec(&[
        "build",
        FLASH,
        "--emit",
        "typed",
        "--const",
        "T=bf16",
        "--dim",
        "D=40",
        "--const",
        "CAUSAL=true",
    ]);
    assert!(!out.stderr.contains("took"), "{}", out.stderr);
    assert!(out.good().contains("bf16"));
}

#[test]
fn build_writes_files() {
    let folder = Folder::new();
    let one = folder.path("g.txt");
    tilec(&["build", MATMUL, "--emit", "graph", "-o", &one]).good();
    assert!(std::fs::read_to_string(&one).unwrap().contains("matmul"));
    let many = folder.path("m");
    tilec(&["build", MATMUL, "--emit", "typed,graph", "-o", &many]).good();
    assert!(
        std::fs::metadata(format!("{many}.typed")).is_ok()
            && std::fs::metadata(format!("{many}.graph")).is_ok()
    );
}

#[test]
fn graph_draws() {
    assert!(tilec(&["graph", SOFTMAX, "--dot"]).good().contains("digraph"));
    assert!(tilec(&["graph", SOFTMAX, "--svg"]).good().contains("<svg"));
}

#[test]
fn explain_shows_the_page() {
    assert!(tilec(&["explain", "t0818"]).good().starts_with("# T0818"));
    assert_eq!(tilec(&["explain", "T9999"]).status, 1);
}

#[test]
fn doctor_lists_facts() {
    let text = tilec(&["doctor"]).good();
    for word in ["CPU device", "PTX backend", "ptxas", "CUDA driver"] {
        assert!(text.contains(word), "{text}");
    }
    let json: serde_json::Value = serde_json::from_str(&tilec(&["doctor", "--json"]).good()).unwrap();
    assert!(json["facts"].as_array().unwrap().len() >= 5);
}

#[test]
fn run_reads_npy_and_writes_npy_on_both_devices() {
    let folder = Folder::new();
    let (m, k, n) = (5, 7, 3);
    let a: Vec<f64> = (0..m * k).map(|i| (i % 11) as f64 - 5.0).collect();
    let b: Vec<f64> = (0..k * n).map(|i| (i % 7) as f64 - 3.0).collect();
    write_npy(&folder.path("a.npy"), &Tensor::from_f64(DType::F32, &[m, k], &a)).unwrap();
    write_npy(&folder.path("b.npy"), &Tensor::from_f64(DType::F32, &[k, n], &b)).unwrap();
    let file = root().join(MATMUL);
    for device in ["oracle", "cpu"] {
        let args = ["run", file.to_str().unwrap(), "--device", device, "--in", "a=a.npy", "--in", "b=b.npy"];
        folder.run(&[&args[..], &["--out", "c=c.npy"]].concat()).good();
        let c = read_npy(&folder.path("c.npy")).unwrap();
        assert_eq!((c.dtype, c.shape.as_slice()), (DType::F32, &[m, n][..]));
        for i in 0..m {
            for j in 0..n {
                let want: f64 = (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum();
                assert_eq!(c.get_f64(&[i, j]), want, "{device} {i} {j}");
            }
        }
        std::fs::remove_file(folder.path("c.npy")).unwrap();
    }
}

#[test]
fn run_takes_bf16_and_fortran_order() {
    let folder = Folder::new();
    let t = Tensor::from_f64(DType::Bf16, &[2, 3], &[1., 2., 3., 4., 5., 6.]);
    write_tensor(&folder.path("in.safetensors#x"), "x", &t).unwrap();
    let file = root().join("kernels-lib/reduce/sum.tile");
    folder
        .run(&["run", file.to_str().unwrap(), "--in", "x=in.safetensors#x", "--out", "s=out.safetensors"])
        .good();
    assert_eq!(read_tensor(&folder.path("out.safetensors")).unwrap().to_f64_vec(), [6., 15.]);
    // Column-major f32, as numpy.asfortranarray saves it.
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    let header = "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }\n";
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend([1f32, 4., 2., 5., 3., 6.].iter().flat_map(|v| v.to_le_bytes()));
    folder.write("f.npy", bytes);
    folder.run(&["run", file.to_str().unwrap(), "--in", "x=f.npy", "--out", "s=s.npy"]).good();
    assert_eq!(read_npy(&folder.path("s.npy")).unwrap().to_f64_vec(), [6., 15.]);
}

#[test]
fn random_runs_are_the_same_for_the_same_seed() {
    let folder = Folder::new();
    let file = root().join(SOFTMAX);
    let run = |seed: &str, out: &str| {
        let place = format!("y={out}");
        let args = [
            "run",
            file.to_str().unwrap(),
            "--random",
            seed,
            "--dim",
            "M=4",
            "--dim",
            "N=9",
            "--const",
            "T=f32",
        ];
        folder.run(&[&args[..], &["--out", &place]].concat()).good();
        read_npy(&folder.path(out)).unwrap().to_f64_vec()
    };
    let first = run("7", "a.npy");
    assert_eq!(first.len(), 36);
    assert!((first[..9].iter().sum::<f64>() - 1.0).abs() < 1e-5);
    assert_eq!(first, run("7", "b.npy"));
    assert_ne!(first, run("8", "c.npy"));
}

#[test]
fn run_says_what_it_did_as_json() {
    let out =
        tilec(&["run", FLASH, "--random", "1", "--dim", "M=5", "--dim", "N=3", "--const", "T=f32", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&out.good()).unwrap();
    assert_eq!(json["ok"], true);
    assert_eq!(json["kernel"], "flash_fwd");
    assert_eq!(json["dims"]["M"], 5);
    assert_eq!(json["outputs"]["o"]["dtype"], "f32");
    assert_eq!(json["outputs"]["o"]["nan"], 0);
    assert!(json["time_ms"]["run"].as_f64().is_some());
    assert!(json["taken"]["D"].as_str().is_some());
}

#[test]
fn rows_that_see_no_key_are_zero_and_minus_infinity() {
    let folder = Folder::new();
    let file = root().join(FLASH);
    let args =
        ["run", file.to_str().unwrap(), "--random", "1", "--dim", "M=5", "--dim", "N=2", "--dim", "B=1"];
    let more = ["--const", "T=f32", "--const", "CAUSAL=true", "--out", "o=o.npy", "--out", "lse=lse.npy"];
    folder.run(&[&args[..], &more[..]].concat()).good();
    let (o, lse) = (read_npy(&folder.path("o.npy")).unwrap(), read_npy(&folder.path("lse.npy")).unwrap());
    assert_eq!(o.get_f64(&[0, 0, 0, 0]), 0.0);
    assert_eq!(lse.get_f64(&[0, 0, 0]), f64::NEG_INFINITY);
    assert!(o.to_f64_vec().iter().all(|v| !v.is_nan()));
}

#[test]
fn test_blocks_run() {
    let json: serde_json::Value =
        serde_json::from_str(&tilec(&["test", SOFTMAX, "--rung", "cpu", "--json"]).good()).unwrap();
    assert_eq!(json["ok"], true);
    let cases = json["cases"].as_array().unwrap();
    assert!(!cases.is_empty() && cases.iter().all(|c| c["ok"] == true));
}

#[test]
fn a_wrong_kernel_fails_its_test_with_1() {
    let folder = Folder::new();
    let file = folder.write(
        "wrong.tile",
        "kernel twice(x: in f32[M], y: out f32[M]) { tile B; par i in tiles(M, B) { y[i] = x[i] * 2.5; } }\n\
         spec twice { y[i] = 2 * x[i]; }\n\
         test twice { M in [1, 9]; }\n",
    );
    let out = folder.run(&["test", &file]);
    assert_eq!(out.status, 1, "{}{}", out.stdout, out.stderr);
}

#[cfg(feature = "ptx")]
mod ptx {
    use super::*;

    #[test]
    fn build_gives_ptx_for_each_target() {
        for (target, word) in [("sm_80", ".target sm_80"), ("sm_90", ".target sm_90")] {
            let text = tilec(&["build", FLASH, "--target", target, "--const", "T=f16"]).good();
            assert!(text.contains(word) && text.contains("mma.sync"), "{target}");
        }
    }
}

#[cfg(not(feature = "ptx"))]
#[test]
fn ptx_without_the_backend_says_how_to_get_it() {
    let text = tilec(&["build", FLASH, "--emit", "ptx"]).refused("T0853");
    assert!(text.contains("./x setup"), "{text}");
    tilec(&["run", MATMUL, "--device", "sim", "--random", "1"]).refused("T0853");
    tilec(&["test", SOFTMAX, "--rung", "sim"]).refused("T0859");
}

#[test]
fn outputs_share_a_file_under_their_own_names() {
    let folder = Folder::new();
    let flash = root().join(FLASH);
    let run = |o: &str, lse: &str| {
        let sizes = ["B=1", "M=3", "N=5", "HQ=2", "HK=1", "D=16"];
        let mut args = vec!["run", flash.to_str().unwrap(), "--random", "7", "--out", o, "--out", lse];
        sizes.iter().for_each(|s| args.extend(["--dim", s]));
        folder.run(&args)
    };
    run("o=all.safetensors", "lse=all.safetensors").good();
    assert_eq!(read_tensor(&folder.path("all.safetensors#o")).unwrap().shape, [1, 3, 2, 16]);
    assert_eq!(read_tensor(&folder.path("all.safetensors#lse")).unwrap().shape, [1, 2, 3]);
    run("o=all.safetensors#x", "lse=all.safetensors#x").refused("T0809");
    run("o=all.npy", "lse=all.npy").refused("T0809");
}
