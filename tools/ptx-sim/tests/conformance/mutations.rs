//! The reader and the decoder on damaged text: always an answer, never a panic, in bounded time.
//!
//! The texts are those of the tables and one with every directive; each is damaged in a few thousand ways, the same on
//! every run. A folder of PTX named by `PTX_SIM_CORPUS` is damaged too.

use ptx_sim::{decode, read};
use std::time::{Duration, Instant};

/// Every directive and form of operand that compilers write.
const SAMPLE: &str = r#"
.version 8.0
.target sm_90a, debug
.address_size 64
.file 1 "/a \"quoted\" path/k.cu", 1700000000, 1234
.extern .func (.param .b32 func_retval0) vprintf (.param .b64 a, .param .b64 b) ;
.visible .global .attribute(.managed) .align 4 .u32 managed;
.weak .const .align 8 .b8 words[16] = {1, -2, 0x3, 04, 0b101, 1U};
.common .global .f32 shared_by_name;
.global .align 8 .u64 pointers[3] = {generic(words)+8, helper, 0};
.global .f32 matrix[2][2] = {{0f3F800000, -0f40000000}, {1.5, 2.5e-3}};
.extern .shared .align 128 .b8 dynamic[];
.func (.param .align 8 .b8 result[16]) helper (.param .b32 a, .reg .pred p) .noreturn ;
.alias other, helper2;
.visible .func helper2 (.param .b32 a) { trap; }
.visible .entry kernel(
    .param .u64 .ptr .global .align 16 kernel_param_0,
    .param .align 64 .b8 kernel_param_1[128],
    .param .v4 .f32 kernel_param_2
) .maxntid 128, 1, 1 .minnctapersm 2 .maxnreg 168 .explicitcluster .reqnctapercluster 2, 1, 1 .maxclusterrank 8
{
    .reg .pred %p<3>; .reg .b16 %rs<4>; .reg .b32 %r<10>, other; .reg .f64 %fd<2>; .reg .b64 %rd<8>; .reg .b128 %rq;
    .local .align 8 .b8 __local_depot0[64]; .reg .b64 %SP, %SPL;
    .pragma "nounroll";
    .loc 1 10 5, function_name $L__info_string0+12, inlined_at 1 3 1
$L__func_begin0:
    mov.b64 %SPL, __local_depot0; cvta.local.u64 %SP, %SPL;
    ld.param.b64 %rd1, [kernel_param_0+0]; ld.param::entry.v4.b32 {%r1, _, %r2, %r3}, [kernel_param_2];
    @!%p1 ld.global .relaxed .gpu .b32 %r1, [ %rd1 + -16 ];
    setp.lt.and.s32 %p1|%p2, %r1, WARP_SZ-(4*2), !%p2; shfl.sync.idx.b32 %r2|%p1, %r1, 0, 31, -1;
    { .reg .b32 t; mov.b32 {%rs1, %rs2}, %r1; @%p1 bra $L1; atom.global.gpu.acq_rel.add.u32 t, [%rd1], 1; $L1: }
    cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%rd1, {%r2, %r3}], [%r1];
    mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%r1,%r2,%r3,%r4}, {%r1,%r2,%r3,%r4}, {%r5,%r6}, {%r1,%r2,%r3,%r4};
    { .param .b64 p0; .param .b64 p1; .param .b32 r0; st.param.b64 [p0], %rd1; st.param.b64 [p1+0], %rd2;
      call.uni (r0), vprintf, (p0, p1); ld.param.b32 %r1, [r0]; }
    proto: .callprototype (.param .b32 _) _ (.param .b32 _);
    ways: .branchtargets $L2, $L3;
    brx.idx %r1, ways;
$L2: fma.rn.f32 %r1, %r2, 0f3F800000, 0d3FF0000000000000;
$L3: ret;
}
.section .debug_abbrev { $L__info: .b8 1 .b8 17, 1 .b32 .debug_str+4 }
.section .debug_loc { }
"#;

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }
}

const PIECES: [&str; 26] = [
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    ",",
    ";",
    ":",
    "%r1",
    "%p1",
    "_",
    ".reg",
    ".param",
    "mov.b32",
    "0x",
    "-",
    "<99999999>",
    "[4294967295]",
    "\"",
    "/*",
    "18446744073709551615",
    "0f",
    ".b128",
    "é",
    "@",
];

fn damaged(text: &str, random: &mut Random) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..1 + random.below(4) {
        if bytes.is_empty() {
            break;
        }
        let (at, to) = (random.below(bytes.len()), random.below(bytes.len()));
        match random.below(7) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at.min(to)..at.max(to).min(at.min(to) + 40))),
            2 => bytes[at] = random.below(256) as u8,
            3 => bytes.swap(at, to),
            4 => {
                let piece = PIECES[random.below(PIECES.len())];
                bytes.splice(at..at, piece.bytes());
            }
            5 => {
                let chunk = bytes[at..(at + 60).min(bytes.len())].to_vec();
                bytes.splice(to..to, chunk);
            }
            // A word for another: qualifiers and operands change places.
            _ => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let mut words: Vec<&str> = text.split_inclusive([' ', '.', ',']).collect();
                let (a, b) = (random.below(words.len()), random.below(words.len()));
                words.swap(a, b);
                bytes = words.concat().into_bytes();
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads and decodes; what comes of it does not matter.
fn follow(text: &str) {
    if let Ok(module) = read::parse(text) {
        for f in module.functions.iter().filter(|f| f.entry) {
            let _ = decode::kernel(&module, &f.name);
        }
    }
}

fn texts() -> Vec<String> {
    let mut out = vec![SAMPLE.to_string()];
    for (_, cases) in super::FAMILIES {
        let cases = cases();
        for case in cases.iter().step_by((cases.len() / 3).max(1)) {
            out.push(format!("{}{}", case.target.header(), case.text));
        }
    }
    if let Some(folder) = std::env::var_os("PTX_SIM_CORPUS") {
        let walk = std::fs::read_dir(folder).unwrap();
        for entry in walk.flatten() {
            out.extend(std::fs::read_to_string(entry.path().join("kernel.ptx")));
        }
    }
    out
}

#[test]
fn damaged_text_is_answered() {
    read::parse(SAMPLE).unwrap();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for text in texts() {
        // Less often where a text is long.
        let times = (2_000_000 / text.len()).clamp(20, 1500);
        for _ in 0..times {
            let damaged = damaged(&text, &mut random);
            let start = Instant::now();
            follow(&damaged);
            assert!(start.elapsed() < Duration::from_secs(5), "too slow:\n{damaged}");
        }
    }
}

/// Ten times the text takes about ten times as long.
#[test]
fn reading_is_linear() {
    let line = "    .loc 1 7 3\n    { .reg .b32 t; add.s32 t, %r1, 5; @%p1 bra L; mul.lo.s32 %r1, t, %r2; L: }\n    ld.global.v2.f32 {%f1, %f2}, [%x1+16];\n";
    let time = |lines: usize| {
        let head = ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k() { .reg .pred %p<2>; .reg .b32 %r<4>; .reg .f32 %f<4>; .reg .b64 %x<2>;\n";
        let text = format!("{head}{}ret; }}", line.repeat(lines));
        let start = Instant::now();
        let module = read::parse(&text).unwrap();
        decode::kernel(&module, "k").unwrap();
        start.elapsed()
    };
    let (small, large) = (time(2_000), time(20_000));
    assert!(large < 40 * small + Duration::from_millis(500), "{small:?} and then {large:?}");
}

#[test]
fn nesting_without_end_is_refused() {
    for open in ["{", "((", "{ .reg .b32 a; ", ".global .u32 x[1] = {{{{", "mov.b32 a, -~-~(("] {
        let text = format!(
            ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k() {{ {} }}",
            open.repeat(100_000)
        );
        assert!(read::parse(&text).is_err());
    }
}

/// Names of what is wrong, and where.
#[test]
fn what_is_not_understood_is_named_with_its_line() {
    let wrong = |body: &str| {
        let text = format!(
            ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 a) {{\n.reg .b32 %r<9>; .reg .b64 %x<9>; .reg .f32 %f<9>; .reg .pred %p<9>;\n{body}\nret; }}"
        );
        let error = read::parse(&text).and_then(|m| decode::kernel(&m, "k").map(|_| m)).unwrap_err();
        assert_eq!(error.line, 6, "{body}: {error}");
        error.message
    };
    for (body, named) in [
        ("frobnicate.b32 %r1, %r2;", "frobnicate.b32"),
        ("add.wobble.s32 %r1, %r2, %r3;", "wobble"),
        ("add.f128 %f1, %f2, %f3;", "add.f128"),
        ("mov.b32 %r77, %r1;", "%r77"),
        ("ld.global.b32 %r1, %x1;", "address"),
        ("bra nowhere;", "nowhere"),
        ("call nobody;", "nobody"),
        ("tex.2d.v4.f32.f32 {%f1,%f2,%f3,%f4}, [t, {%f1,%f2}];", "tex.2d"),
        ("fma.rn.f32x2 %x1, %x2, %x3, %x4;", "sm_100"),
        ("fma.rn.oob.f32 %f1, %f2, %f3, %f4;", "oob"),
        (
            "mma.sync.aligned.m16n8k99.row.col.f32.f16.f16.f32 {%f1,%f2,%f3,%f4}, {%r1,%r2}, {%r3}, {%f1,%f2,%f3,%f4};",
            "m16n8k99",
        ),
        ("atom.global.and.f32 %f1, [%x1], %f2;", "atom.global.and.f32"),
        ("alloca.u64 %x1, 16;", "alloca"),
        ("vadd.s32.s32.s32 %r1, %r2, %r3;", "vadd"),
        ("tcgen05.alloc.cta_group::1.sync.aligned.shared::cta.b32 [%x1], 32;", "tcgen05"),
        ("cvt.rs.f16x2.f32 %r1, %f1, %f2, %r2;", "rounding"),
    ] {
        let message = wrong(body);
        assert!(message.contains(named), "{body}: {message}");
    }
}
