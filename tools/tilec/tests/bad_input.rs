//! Bad input of every class: a code each, status 1, no panic and no hang.

mod common;

use common::{Folder, root};
use tile_base::DType;
use tile_tensor::{Tensor, write_npy};

/// `add(x: f32[M, N], y: f32[M, N], z: out f32[M, N], a: f32) where N % 2 == 0`
const ADD: &str = "kernel add(x: in f32[M, N], y: in f32[M, N], z: out f32[M, N], a: f32) where N % 2 == 0 {
    tile BM, BN;
    par i in tiles(M, BM), j in tiles(N, BN) {
        z[i, j] = x[i, j] + y[i, j] * a;
    }
}
";

struct Case {
    folder: Folder,
}

impl Case {
    fn new() -> Case {
        let folder = Folder::new();
        folder.write("add.tile", ADD);
        for (name, dtype, shape) in [
            ("x", DType::F32, &[3, 4][..]),
            ("tall", DType::F32, &[5, 4]),
            ("odd", DType::F32, &[3, 5]),
            ("flat", DType::F32, &[12]),
            ("wide", DType::F64, &[3, 4]),
            ("none", DType::F32, &[0, 4]),
        ] {
            write_npy(&folder.path(&format!("{name}.npy")), &Tensor::zeros(dtype, shape)).unwrap();
        }
        Case { folder }
    }

    #[track_caller]
    fn refused(&self, more: &str, code: &str) -> String {
        let mut args = vec!["run", "add.tile"];
        args.extend(more.split_whitespace());
        self.folder.run(&args).refused(code)
    }
}

#[test]
fn launches() {
    let c = Case::new();
    let good = "--in x=x.npy --in y=x.npy --arg a=2";
    assert_eq!(
        c.folder.run(&["run", "add.tile", "--in", "x=x.npy", "--in", "y=x.npy", "--arg", "a=2"]).status,
        0
    );
    c.refused("--in x=x.npy --arg a=2", "T0810");
    c.refused("--in x=x.npy --in y=x.npy", "T0810");
    c.refused(&format!("{good} --in w=x.npy"), "T0811");
    c.refused(&format!("{good} --out w=w.npy"), "T0811");
    c.refused("--in x=flat.npy --in y=x.npy --arg a=2", "T0812");
    c.refused("--in x=wide.npy --in y=x.npy --arg a=2", "T0813");
    c.refused("--in x=tall.npy --in y=x.npy --arg a=2", "T0814");
    c.refused("--in x=odd.npy --in y=odd.npy --arg a=2", "T0817");
    c.refused("--in x=none.npy --in y=none.npy --arg a=2", "T0818");
    c.refused("--in x=x.npy --in y=x.npy --arg a=true", "T0827");
    c.refused("--in x=x.npy --in y=x.npy --arg a=much", "T0827");
    c.refused("--arg x=1 --in y=x.npy --arg a=2", "T0827");
    c.refused(&format!("{good} --in x=x.npy"), "T0809");
    c.refused(&format!("{good} --dim M=7"), "T0814");
}

#[test]
fn dimensions() {
    let c = Case::new();
    for (dims, code) in [
        ("--dim M=0 --dim N=4", "T0818"),
        ("--dim M=-3 --dim N=4", "T0818"),
        ("--dim M=inf --dim N=4", "T0806"),
        ("--dim M=1.5 --dim N=4", "T0806"),
        ("--dim M=2147483648 --dim N=4", "T0819"),
        ("--dim M=99999999999999999999999999 --dim N=4", "T0819"),
        ("--dim M=2147483646 --dim N=2147483646", "T0820"),
        ("--dim M=200000000 --dim N=2000", "T0828"),
        ("--dim M=4", "T0816"),
        ("--dim M=4 --dim N=4 --dim Q=4", "T0805"),
        ("--dim M=4 --dim N=4 --const Q=4", "T0804"),
    ] {
        c.refused(&format!("--random 1 {dims}"), code);
    }
}

#[test]
fn files() {
    let c = Case::new();
    let with = |file: &str, code: &str| c.refused(&format!("--in x={file} --in y=x.npy --arg a=2"), code);
    with("nowhere.npy", "T0830");
    with(".", "T0845");
    with("add.tile", "T0845");
    let x = std::fs::read(c.folder.path("x.npy")).unwrap();
    c.folder.write("cut.npy", &x[..x.len() - 1]);
    with("cut.npy", "T0835");
    c.folder.write("long.npy", [&x[..], b"more"].concat());
    with("long.npy", "T0836");
    c.folder.write("text.npy", "hello, this is not an array");
    with("text.npy", "T0831");
    let lie = String::from_utf8_lossy(&x[..128]).replace("(3, 4)", "(3, 9)");
    let lie = [&x[..10], &lie.as_bytes()[lie.find("{'").unwrap()..], &x[128..]].concat();
    c.folder.write("lie.npy", lie);
    with("lie.npy", "T0835");
    c.folder.write("bad.safetensors", b"\xff\xff\xff\xff\xff\xff\xff\x7f{}");
    with("bad.safetensors#x", "T0840");
    let header = br#"{"x":{"dtype":"F32","shape":[3,4],"data_offsets":[0,99]}}"#;
    c.folder.write("lie.safetensors", [&(header.len() as u64).to_le_bytes()[..], header, &[0; 48]].concat());
    with("lie.safetensors#x", "T0841");
    c.refused("--in x=x.npy --in y=x.npy --arg a=2 --out z=/nowhere/z.npy", "T0846");
    c.refused("--in x=x.npy --in y=x.npy --arg a=2 --out z=z.txt", "T0845");
}

#[test]
fn sources() {
    let c = Case::new();
    let f = &c.folder;
    f.run(&["check", "nowhere.tile"]).refused("T0800");
    f.run(&["run", "."]).refused("T0800");
    f.write("binary.tile", [0xff, 0xfe, 0x00]);
    f.run(&["check", "binary.tile"]).refused("T0801");
    f.write("empty.tile", "");
    f.run(&["check", "empty.tile"]).good();
    f.run(&["run", "empty.tile"]).refused("T0802");
    f.run(&["run", "add.tile", "--kernel", "sub"]).refused("T0802");
    f.write("two.tile", ADD.to_string() + &ADD.replace("add", "sub"));
    f.run(&["build", "two.tile", "--emit", "graph"]).refused("T0803");
    f.run(&["build", "add.tile", "--emit", "plan", "--target", "sm_42"]).refused("T0854");
    f.write("uses.tile", "use nowhere::at_all::{f};\n");
    f.run(&["check", "uses.tile"]).refused("T0202");
    f.write("generic.tile", "kernel g<const D>(x: in f32[N, D], y: out f32[N, D]) { tile B; par i in tiles(N, B) { y[i, :] = x[i, :]; } }\n");
    f.run(&["build", "generic.tile", "--emit", "graph"]).refused("T0807");
    f.run(&["build", "generic.tile", "--emit", "graph", "--const", "D=lots"]).refused("T0806");
}

/// Text that is nearly a kernel: never a panic, never a hang.
#[test]
fn mutilated_kernels_end_in_diagnostics() {
    let text = std::fs::read_to_string(root().join("kernels-lib/attention/flash_fwd.tile")).unwrap();
    let folder = Folder::new();
    let mut files = vec![];
    let mut state = 12345u64;
    let mut random = |n: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % n
    };
    for i in 0..60 {
        let mut bytes = text.clone().into_bytes();
        for _ in 0..1 + random(3) {
            let at = random(bytes.len());
            match random(4) {
                0 => bytes.truncate(at.max(1)),
                1 => drop(bytes.remove(at)),
                2 => bytes[at] = b"(){}[]<>;:,=+-*/@.0aT_ "[random(23)],
                _ => {
                    let from = random(bytes.len());
                    let piece = bytes[from..(from + 20).min(bytes.len())].to_vec();
                    bytes.splice(at..at, piece);
                }
            }
        }
        files.push(folder.write(&format!("m{i}.tile"), bytes));
    }
    for file in &files {
        let out = folder.run(&["check", file]);
        assert!(out.status < 2, "{file}");
    }
    folder.write(
        "deep.tile",
        format!(
            "kernel a(x: in f32[M], y: out f32[M]) {{ let z = {}1{}; }}",
            "(".repeat(20000),
            ")".repeat(20000)
        ),
    );
    folder.run(&["check", "deep.tile"]).refused("T01");
}
