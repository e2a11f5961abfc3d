//! How diagnostics look, to the letter.

mod common;

use common::Folder;
use tile_base::DType;
use tile_tensor::{Tensor, write_npy};

const ADD: &str =
    "kernel add<const D>(x: in f32[M, D], y: in f32[M, D], z: out f32[M, D], a: f32) where M % 2 == 0 {
    tile B;
    par i in tiles(M, B) {
        z[i, :] = x[i, :] + y[i, :] * a;
    }
}
";

fn said(args: &[&str]) -> String {
    let folder = Folder::new();
    folder.write("add.tile", ADD);
    folder.write("two.tile", ADD.to_string() + &ADD.replace("add", "sub"));
    for (name, dtype, shape) in [
        ("x.npy", DType::F32, &[4, 3][..]),
        ("tall.npy", DType::F32, &[6, 3]),
        ("odd.npy", DType::F32, &[5, 3]),
        ("wide.npy", DType::F64, &[4, 3]),
    ] {
        write_npy(&folder.path(name), &Tensor::zeros(dtype, shape)).unwrap();
    }
    let out = folder.run(args);
    assert_eq!(out.status, 1);
    assert_eq!(out.stdout, "");
    out.stderr
}

#[test]
fn a_compile_time_parameter_that_nothing_shows() {
    insta::assert_snapshot!(said(&["build", "add.tile", "--emit", "graph"]), @r"
    T0807

      x nothing says what the const parameter `D` is
       ,-[add.tile:1:18]
     1 | kernel add<const D>(x: in f32[M, D], y: in f32[M, D], z: out f32[M, D], a: f32) where M % 2 == 0 {
       :                  |
       :                  `-- has to be known when the kernel is compiled
     2 |     tile B;
       `----
      help: give `--const D=VALUE`, an input that shows it, or a `test` block whose first case binds `D`
    1 error; `tilec explain T0807` tells more
    ");
}

#[test]
fn several_kernels() {
    insta::assert_snapshot!(said(&["build", "two.tile", "--emit", "graph"]), @r"
    T0803

      x `two.tile` has several kernels: add, sub
      help: say which one with `--kernel NAME`
    1 error; `tilec explain T0803` tells more
    ");
}

#[test]
fn shapes_that_do_not_agree_say_where_each_came_from() {
    insta::assert_snapshot!(said(&["run", "add.tile", "--in", "x=tall.npy", "--in", "y=x.npy", "--arg", "a=2"]), @r"
    T0814

      x axis 0 of `y` has extent 4, and M is 6 in this call
      help: the shapes of the arguments have to agree
            note: M = 6, from axis 0 of `x`
    1 error; `tilec explain T0814` tells more
    ");
}

#[test]
fn several_faults_of_a_launch_at_once() {
    insta::assert_snapshot!(said(&["run", "add.tile", "--in", "x=wide.npy", "--in", "y=x.npy"]), @r"
    T0813

      x `x` has elements of f64, and the kernel takes f32
      help: convert the tensor to f32 before the call; nothing is converted silently
    T0810

      x the argument `a` is missing: a scalar of f32
      help: give it, on the command line with `--arg a=VALUE`
    2 errors; `tilec explain T0813` tells more
    ");
}

#[test]
fn a_fact_that_does_not_hold() {
    insta::assert_snapshot!(said(&["run", "add.tile", "--in", "x=odd.npy", "--in", "y=odd.npy", "--arg", "a=2"]), @r"
    T0817

      x the kernel asks for `M % 2 == 0`, and here it is 1 == 0
      help: choose dimensions for which it holds
            note: M = 5, from axis 0 of `x`
    1 error; `tilec explain T0817` tells more
    ");
}
