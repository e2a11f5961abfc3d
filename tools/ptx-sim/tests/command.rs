//! The command line, run as a process: arguments of every kind, named buffers, exit statuses, JSON.

use std::{path::PathBuf, process::Command};
use tile_base::DType;
use tile_machine::{
    Swizzle, TensorMap,
    tensor_map::{ElementType, Spec},
};
use tile_tensor::{Tensor, read_npy, write_npy};

const HEAD: &str = ".version 8.0\n.target sm_90a\n.address_size 64\n";

/// Writes 4-byte words of its second argument, a block of bytes, to its first.
const COPY_BYTES: &str = r#"
.visible .entry k(.param .u64 out, .param .align 64 .b8 block[128]) {
    .reg .b64 %rd<4>; .reg .b32 %r<4>;
    mov.u32 %r1, %tid.x;
    mov.b64 %rd1, block;
    mul.wide.u32 %rd2, %r1, 4;
    add.s64 %rd1, %rd1, %rd2;
    ld.param.u32 %r2, [%rd1];
    ld.param.u64 %rd3, [out];
    add.s64 %rd3, %rd3, %rd2;
    st.global.u32 [%rd3], %r2;
    ret;
}"#;

struct Bench {
    folder: PathBuf,
}

/// What the process answered.
struct Answer {
    status: i32,
    out: String,
    err: String,
}

impl Bench {
    fn new(name: &str, ptx: &str) -> Bench {
        Bench::whole(name, &format!("{HEAD}{ptx}"))
    }

    /// A text that brings its own head.
    fn whole(name: &str, ptx: &str) -> Bench {
        let folder = std::env::temp_dir().join(format!("ptx-sim-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("k.ptx"), ptx).unwrap();
        Bench { folder }
    }

    fn path(&self, file: &str) -> String {
        self.folder.join(file).to_str().unwrap().to_string()
    }

    fn run(&self, arguments: &str) -> Answer {
        let arguments = arguments.replace('@', &self.path(""));
        let output = Command::new(env!("CARGO_BIN_EXE_ptx-sim"))
            .args(["run", &self.path("k.ptx"), "--entry", "k"])
            .args(arguments.split_whitespace())
            .output()
            .unwrap();
        Answer {
            status: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into(),
            err: String::from_utf8_lossy(&output.stderr).into(),
        }
    }

    fn write(&self, file: &str, dtype: DType, bytes: &[u8]) {
        let count = bytes.len() * 8 / dtype.bits();
        write_npy(&self.path(file), &Tensor::from_bytes(dtype, &[count], bytes).unwrap()).unwrap();
    }

    fn bytes(&self, file: &str) -> Vec<u8> {
        read_npy(&self.path(file)).unwrap().bytes().to_vec()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

#[test]
fn a_tensor_map_arrives_as_its_128_bytes() {
    let bench = Bench::new("tmap", COPY_BYTES);
    bench.write("a.npy", DType::I32, &words(&[0; 64]));
    let answer = bench.run(
        "--block 32 --buffer a=in:@a.npy --arg out:i32:32:@o.npy --arg tmap:a+16:f16:16,3:32:16,2::32:zero",
    );
    assert_eq!(answer.status, 0, "{}{}", answer.out, answer.err);
    let bytes: [u8; 128] = bench.bytes("o.npy").try_into().unwrap();
    let map = TensorMap::decode(&bytes).unwrap();
    let want = TensorMap::new(Spec {
        address: map.address(),
        dims: &[16, 3],
        strides: &[32],
        box_dims: &[16, 2],
        element_strides: &[1, 1],
        swizzle: Swizzle::B32,
        ..Spec::new(ElementType::F16)
    });
    assert_eq!(Ok(map), want);
    assert_eq!(map.address() % 4096, 16);
}

#[test]
fn buffers_by_name_and_by_position() {
    let ptx = r#"
.visible .entry k(.param .u64 p, .param .u64 q, .param .u64 o, .param .u64 z, .param .u16 h) {
    .reg .b64 %rd<6>; .reg .b32 %r<6>; .reg .b16 %h; .reg .pred %p;
    ld.param.u64 %rd1, [p];
    ld.param.u64 %rd2, [q];
    ld.param.u64 %rd3, [o];
    ld.param.u64 %rd4, [z];
    ld.param.u16 %h, [h];
    ld.global.u32 %r1, [%rd1];
    ld.global.u32 %r2, [%rd2];
    cvt.u32.u16 %r3, %h;
    add.u32 %r1, %r1, %r2;
    add.u32 %r1, %r1, %r3;
    setp.ne.u64 %p, %rd4, 0;
    @%p trap;
    st.global.u32 [%rd3], %r1;
    ret;
}"#;
    let bench = Bench::new("names", ptx);
    bench.write("a.npy", DType::I32, &words(&[1, 20, 300]));
    let answer = bench.run(
        "--block 1 --seed 5 --cluster 1,1,1 --buffer a=in:@a.npy --buffer b=out:u32:1:@o.npy
         --arg inout:@a.npy:@a2.npy --arg ptr:a+4 --arg ptr:b --arg null --arg u16:0x1000",
    );
    assert_eq!(answer.status, 0, "{}{}", answer.out, answer.err);
    assert_eq!(bench.bytes("o.npy"), words(&[21 + 0x1000]));
    assert_eq!(bench.bytes("a2.npy"), words(&[1, 20, 300]));
}

#[test]
fn unusable_command_lines_exit_with_2() {
    let bench = Bench::new("usage", COPY_BYTES);
    bench.write("a.npy", DType::I32, &words(&[0; 4]));
    let block = "00".repeat(128);
    for (arguments, why) in [
        (format!("--block 32 --arg bytes:{block}"), "takes 2 arguments, 1 are given"),
        (format!("--block 32 --arg i32:0 --arg bytes:{block}"), "`out` has 8 bytes, 4 are given"),
        (format!("--block 32 --arg in:@none.npy --arg bytes:{block}"), "none.npy"),
        (format!("--block 32 --arg ptr:b --arg bytes:{block}"), "`b` is no earlier buffer"),
        (format!("--block 32 --buffer 7=in:@a.npy --arg ptr:7 --arg bytes:{block}"), "is a number or taken"),
        (format!("--block 32 --buffer x=i32:1 --arg null --arg bytes:{block}"), "not a buffer"),
        (format!("--block 2048 --arg in:@a.npy --arg bytes:{block}"), "2048 threads"),
        ("--block 32 --buffer a=in:@a.npy --arg null --arg tmap:a:i32:4::3::none:zero".into(), "12 bytes"),
        ("--block 32 --entry other --arg null".into(), ""),
    ] {
        let answer = bench.run(&arguments);
        assert_eq!(answer.status, 2, "{arguments}: {}{}", answer.out, answer.err);
        assert!(answer.err.contains(why), "{arguments}: {}", answer.err);
    }
    let broken = Bench::new("broken", ".visible .entry k() { frobnicate.b32 %r1; }");
    let answer = broken.run("--block 1");
    assert_eq!(answer.status, 2);
    assert!(answer.err.contains("line 4") && answer.err.contains("frobnicate.b32"), "{}", answer.err);
}

#[test]
fn a_refuted_kernel_exits_with_1_and_reports() {
    let bench = Bench::new("refuted", COPY_BYTES);
    let block = "00".repeat(128);
    // 32 threads write 31 words.
    let arguments = format!("--block 32 --arg out:i32:31:@o.npy --arg bytes:{block}");
    let answer = bench.run(&arguments);
    assert_eq!(answer.status, 1, "{}{}", answer.out, answer.err);
    assert!(answer.out.starts_with("refuted: OutOfBounds"), "{}", answer.out);
    assert!(answer.out.contains("PTX line 14") && answer.out.contains("lane 31"), "{}", answer.out);
    let json = bench.run(&format!("{arguments} --json"));
    let report: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(report["verdict"], "refuted");
    assert_eq!(report["findings"][0]["kind"], "OutOfBounds");
    assert_eq!(report["findings"][0]["line"], 14);
    assert_eq!(report["findings"][0]["lane"], 31);
    assert!(!std::path::Path::new(&bench.path("o.npy")).exists(), "a refuted run writes no results");
}

#[test]
fn a_clean_run_says_what_it_did() {
    let bench = Bench::new("clean", COPY_BYTES);
    let block = "00".repeat(128);
    let answer = bench.run(&format!("--block 32 --check --json --arg out:i32:32:@o.npy --arg bytes:{block}"));
    let report: serde_json::Value = serde_json::from_str(&answer.out).unwrap();
    assert_eq!(answer.status, 0, "{}", answer.out);
    assert_eq!(report["verdict"], "clean");
    assert_eq!(report["counters"]["ctas"], 1);
    assert_eq!(report["counters"]["thread_instructions"], 32 * 9);
    assert!(report["findings"].as_array().unwrap().is_empty());
}

#[test]
fn counters_are_a_table_and_json() {
    let bench = Bench::new("count", COPY_BYTES);
    let arguments = format!("--block 32 --count --arg out:i32:32:@o.npy --arg bytes:{}", "00".repeat(128));
    let json = bench.run(&format!("{arguments} --json"));
    let report: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    let counters = &report["counters"];
    assert_eq!(counters["warp_instructions"], 9);
    assert_eq!(counters["global"], serde_json::json!({ "bytes": 128, "sectors": 4, "touched_bytes": 128 }));
    assert_eq!(counters["sites"][0]["line"], 14);
    assert_eq!(counters["time"]["target"], "sm_90");
    assert!(counters["time"]["at_least"][0]["seconds"].as_f64().unwrap() > 0.0);
    let predicted = &counters["time"]["predicted"];
    assert_eq!(predicted["checked"], serde_json::Value::Null);
    assert!(predicted["seconds"].as_f64().unwrap() > 2e-6, "a launch takes that: {predicted}");
    assert_eq!(predicted["bound"], "latency");
    let text = bench.run(&arguments);
    assert!(text.out.contains("predicted on sm_90") && text.out.contains("not calibrated"), "{}", text.out);
    assert!(text.out.contains("128 bytes of global memory asked for"), "{}", text.out);
    assert!(text.out.contains("at least on sm_90 by"), "{}", text.out);
    assert_eq!(bench.run(&format!("{arguments} --target sm_1")).status, 2);
    let unknown = bench.run(&format!("{arguments} --target sm_120"));
    assert!(unknown.out.contains("no prediction: no latencies are recorded for sm_120"), "{}", unknown.out);
}

/// A sample predicts, and leaves the files of results alone.
#[test]
fn a_sample_writes_no_results() {
    let bench = Bench::new("sample", COPY_BYTES);
    let arguments =
        format!("--block 32 --grid 40 --sample --arg out:i32:32:@o.npy --arg bytes:{}", "00".repeat(128));
    let text = bench.run(&arguments);
    assert_eq!(text.status, 0, "{}{}", text.out, text.err);
    assert!(text.out.contains("4 CTAs of 40 stand for all"), "{}", text.out);
    assert!(!bench.folder.join("o.npy").exists());
    assert_eq!(bench.run(&format!("{arguments} --check")).status, 2);
}

/// A kernel of compute capability 9.0 by hand: tensor maps over named buffers, a cluster, JSON.
#[test]
fn a_cluster_kernel_with_tensor_maps_runs_by_hand() {
    let ptx = include_str!("kernels/gemm_cluster.ptx").replace("gemm_cluster", "k");
    let bench = Bench::whole("cluster", &ptx);
    let (m, n, k) = (70usize, 8usize, 72usize);
    // A is all ones, B has j + 1 in row j: C[i][j] = k · (j + 1).
    let halves = |values: Vec<f32>| -> Vec<u8> {
        values.iter().flat_map(|v| ((v.to_bits() >> 16) as u16).to_le_bytes()).collect()
    };
    bench.write("a.npy", DType::I16, &halves(vec![1.0; m * k]));
    bench.write("b.npy", DType::I16, &halves((0..n * k).map(|x| (x / k + 1) as f32).collect()));
    let arguments = format!(
        "--block 160 --grid 2 --cluster 2 --shared 49152 --check --json --buffer a=in:@a.npy --buffer b=in:@b.npy
         --arg tmap:a:bf16:{k},{m}:{pitch}:64,64::128:zero --arg tmap:b:bf16:{k},{n}:{pitch}:64,32::128:zero
         --arg out:f32:{count}:@c.npy --arg u32:{m} --arg u32:{n} --arg u32:2",
        pitch = 2 * k,
        count = m * n
    );
    let answer = bench.run(&arguments);
    assert_eq!(answer.status, 0, "{}{}", answer.out, answer.err);
    let want: Vec<u8> = (0..m * n).flat_map(|x| ((k * (x % n + 1)) as f32).to_le_bytes()).collect();
    assert_eq!(bench.bytes("c.npy"), want);
    // The kernel names its cluster, so the option may be left out; a grid that does not fit it is refused.
    assert_eq!(bench.run(&arguments.replace("--cluster 2", "")).status, 0);
    assert_eq!(bench.run(&arguments.replace("--grid 2", "--grid 3")).status, 2);
}

/// The second kernel adds one to what the first wrote; with and without `griddepcontrol.wait`.
const PAIR: &str = r#"
.visible .entry k(.param .u64 p) {
    .reg .b64 %rd<4>; .reg .b32 %r<4>;
    ld.param.u64 %rd1, [p];
    mov.u32 %r1, %tid.x;
    mul.wide.u32 %rd2, %r1, 4;
    add.s64 %rd1, %rd1, %rd2;
    st.global.u32 [%rd1], %r1;
    ret;
}
.visible .entry behind(.param .u64 p, .param .u64 q) {
    .reg .b64 %rd<4>; .reg .b32 %r<4>;
    ld.param.u64 %rd1, [p];
    ld.param.u64 %rd3, [q];
    mov.u32 %r1, %tid.x;
    mul.wide.u32 %rd2, %r1, 4;
    add.s64 %rd1, %rd1, %rd2;
    add.s64 %rd3, %rd3, %rd2;
    WAIT
    ld.global.u32 %r2, [%rd1];
    add.u32 %r2, %r2, 1;
    st.global.u32 [%rd3], %r2;
    ret;
}"#;

#[test]
fn a_launch_behind_another() {
    let pair = |name, wait| Bench::new(name, &PAIR.replace("WAIT", wait));
    let launches = |bench: &Bench, how: &str| {
        let first = "--block 8 --check --buffer x=out:i32:8:@x.npy --arg ptr:x";
        let second = format!("{} --entry behind --block 8 --check {how}", bench.path("k.ptx"));
        bench.run(&format!("{first} --then {second} --arg ptr:x --arg out:i32:8:@y.npy"))
    };
    let waits = pair("waits", "griddepcontrol.wait;");
    let answer = launches(&waits, "--programmatic");
    assert_eq!(answer.status, 0, "{}{}", answer.out, answer.err);
    assert!(answer.out.contains("`behind`:\nclean"), "{}", answer.out);
    assert_eq!(waits.bytes("y.npy"), words(&[1, 2, 3, 4, 5, 6, 7, 8]));
    let hasty = pair("hasty", "");
    assert_eq!(launches(&hasty, "").status, 0, "one after the other");
    let answer = launches(&hasty, "--programmatic --json");
    assert_eq!(answer.status, 1, "{}{}", answer.out, answer.err);
    assert!(answer.out.contains("no griddepcontrol.wait before"), "{}", answer.out);
    assert!(answer.out.contains("the launch ahead, of `k`"), "{}", answer.out);
    let alone = hasty.run("--block 8 --check --programmatic --arg out:i32:8:@x.npy");
    assert_eq!((alone.status, alone.err.contains("no launch with --check")), (2, true), "{}", alone.err);
}
