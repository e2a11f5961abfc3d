//! `tilec` with what a `grad` makes: `f.vjp` and `f.bwd` run, build, draw and are tested by name.

mod common;

use common::{Folder, root, tilec};
use tile_tensor::{Tensor, read_npy};

const FLASH: &str = "kernels-lib/attention/flash_fwd.tile";

/// A run of a program of flash_fwd's grad on small random data; the same seed gives the same inputs to both programs.
fn run(folder: &Folder, device: &str, kernel: &str, more: &[&str]) {
    let file = root().join(FLASH);
    let mut args =
        vec!["run", file.to_str().unwrap(), "--kernel", kernel, "--device", device, "--random", "7"];
    for dim in ["B=1", "M=5", "N=9", "HQ=2", "HK=1", "D=16"] {
        args.extend(["--dim", dim]);
    }
    args.extend(["--const", "T=f32", "--const", "CAUSAL=true", "--arg", "scale=0.25"]);
    folder.run(&[&args, more].concat()).good();
}

fn read(folder: &Folder, name: &str) -> Tensor {
    read_npy(&folder.path(name)).unwrap()
}

fn devices() -> Vec<&'static str> {
    let mut all = vec!["oracle", "cpu"];
    if cfg!(feature = "ptx") {
        all.push("sim");
    }
    all
}

#[test]
fn forward_and_backward_and_the_backward_alone_agree_on_every_device() {
    let folder = Folder::new();
    let mut first: Option<Vec<f64>> = None;
    for device in devices() {
        let asked = ["--out", "dq=dq.npy", "--out", "dk=dk.npy", "--out", "o=o.npy", "--out", "lse=lse.npy"];
        run(&folder, device, "flash_fwd.vjp", &asked);
        run(&folder, device, "flash_fwd.vjp", &["--out", "dk=alone.npy"]);
        let saved = ["--in", "o=o.npy", "--in", "lse=lse.npy"];
        run(
            &folder,
            device,
            "flash_fwd.bwd",
            &[&saved[..], &["--out", "dq=q.npy", "--out", "dk=k.npy"]].concat(),
        );
        let dk = read(&folder, "dk.npy").to_f64_vec();
        assert_eq!(dk, read(&folder, "alone.npy").to_f64_vec(), "{device}: whether o is asked for");
        assert_eq!(dk, read(&folder, "k.npy").to_f64_vec(), "{device}: saved values");
        let dq = read(&folder, "dq.npy").to_f64_vec();
        assert_eq!((read(&folder, "dq.npy").shape.as_slice(), dq.len()), (&[1, 5, 2, 16][..], 160));
        let near =
            |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-5 + 1e-4 * b.abs());
        assert!(near(&dq, &read(&folder, "q.npy").to_f64_vec()), "{device}: saved values");
        assert!(dq.iter().any(|v| v.abs() > 1e-3), "{device}: some gradient is there");
        match &first {
            Some(first) => assert!(near(&dq, first), "{device} and the oracle"),
            None => first = Some(dq),
        }
    }
}

#[test]
fn both_programs_build_and_are_named_where_a_kernel_is() {
    let typed = |kernel: &str| tilec(&["build", FLASH, "--kernel", kernel, "--emit", "typed"]).good();
    assert!(
        typed("flash_fwd.vjp").contains(" flash_fwd(q, k, v, o, lse, scale)"),
        "{}",
        typed("flash_fwd.vjp")
    );
    assert!(!typed("flash_fwd.bwd").contains(" flash_fwd("));
    let out = tilec(&["build", FLASH, "--kernel", "flash_fwd.grad", "--emit", "typed"]);
    assert!(out.refused("T0802").contains("it has flash_fwd, flash_fwd.vjp, flash_fwd.bwd"));
    // What nobody gave comes from the tests of the grad, by their name.
    let told = tilec(&["build", FLASH, "--kernel", "flash_fwd.bwd", "--emit", "typed"]).stderr;
    assert!(told.contains("from the first case of `test flash_fwd.vjp`"), "{told}");
    // A file with one kernel has one kernel to pick, grad or not.
    assert!(tilec(&["build", FLASH, "--emit", "typed"]).good().starts_with("kernel flash_fwd"));
    // A saved value is an input.
    let out = tilec(&["run", FLASH, "--kernel", "flash_fwd.bwd"]);
    assert!(["`o`", "`lse`"].iter().any(|n| out.stderr.contains(n)), "{}", out.stderr);
}

#[test]
fn a_wrong_rule_fails_with_the_result_and_the_place() {
    let folder = Folder::new();
    let file = folder.write(
        "twice.tile",
        "kernel twice(x: in f32[N], y: out f32[N]) { tile B; par i in tiles(N, B) { y[i] = 2 * x[i]; } }
         spec twice { y[i] = 2 * x[i]; }
         test twice { N = 9; }
         kernel copy(g: in f32[N], d: out f32[N]) { tile B; par i in tiles(N, B) { d[i] = g[i]; } }
         grad twice(gy for y) -> (gx for x) { run copy(gy, gx); }",
    );
    let told = folder.run(&["test", &file, "--rung", "oracle"]).refused("T0498");
    for part in ["`gx` is not the gradient of `twice` with respect to `x`", "multiplied by 2.000000"] {
        let line = told.split_whitespace().collect::<Vec<_>>().join(" ").replace("| ", "");
        assert!(line.contains(part), "{part}: {told}");
    }
}
