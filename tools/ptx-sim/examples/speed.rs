//! How fast the simulator runs: `cargo run --release -p ptx-sim --example speed`.
//!
//! Prints thread-instructions per second of processor time, in both modes, for loops of a kind each; with an argument those whose
//! name begins with it.

use ptx_sim::{Geometry, decode, memory::Memory, read};

fn kernel(body: &str) -> String {
    format!(
        ".version 8.6\n.target sm_90a\n.address_size 64\n.shared .align 1024 .b8 smem[16384];
.visible .entry k(.param .u64 pa) {{
    .reg .b32 %r<64>; .reg .b64 %rd<64>; .reg .pred %p<16>; .reg .f32 %f<64>; .reg .b16 %h<8>;
    ld.param.u64 %rd1, [pa];
    mov.u32 %r1, %tid.x;
    mov.u32 %r2, smem;
    mov.u32 %r11, 0x3c003c00; mov.u32 %r12, 0x34003800; mov.u32 %r13, 0x3c013801;
    mov.u32 %r20, %r11; mov.u32 %r21, %r11; mov.u32 %r22, %r12; mov.u32 %r23, %r13; mov.u32 %r24, %r12; mov.u32 %r25, %r13;
    mov.f32 %f10, 0f00000000; mov.f32 %f11, %f10; mov.f32 %f12, %f10; mov.f32 %f13, %f10;
    mov.u32 %r30, 0; mov.u32 %r31, 0; mov.u32 %r32, 0; mov.u32 %r33, 0;
    and.b32 %r15, %r1, 31; mad.lo.u32 %r15, %r15, 16, %r2;
    mad.lo.u32 %r3, %r1, 4, %r2;
    mul.wide.u32 %rd2, %r1, 4;
    add.s64 %rd2, %rd1, %rd2;
    cvt.rn.f32.u32 %f1, %r1; mov.f32 %f2, 0f3F800001; mov.f32 %f3, 0f00000000; mov.f32 %f4, %f1;
    mov.u32 %r4, %r1; mov.u32 %r5, 1; mov.u32 %r10, 0;
    st.shared.u32 [%r3], %r1;
    bar.sync 0;
LOOP:
{body}
    add.u32 %r10, %r10, 1;
    setp.lt.u32 %p1, %r10, 100000;
    @%p1 bra LOOP;
    cvt.rn.f32.u32 %f9, %r4;
    add.rn.f32 %f3, %f3, %f9;
    st.global.f32 [%rd2], %f3;
    ret;
}}"
    )
}

/// Processor time of this process so far, in seconds (Linux; elsewhere 0 and no rates).
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks = |n: usize| after.split_whitespace().nth(n).and_then(|w| w.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// 128 threads multiply m64n256k16 in bf16, over and over.
fn products(rounds: u32) -> String {
    let d: Vec<String> = (0..128).map(|n| format!("%g{n}")).collect();
    format!(
        ".version 8.6\n.target sm_90a\n.address_size 64\n.shared .align 1024 .b8 smem[16384];
.visible .entry k(.param .u64 pa) {{
    .reg .b32 %r<64>; .reg .b64 %rd<64>; .reg .pred %p<16>; .reg .f32 %g<128>;
    mov.u32 %r1, %tid.x;
    mov.u32 %r2, smem;
    mad.lo.u32 %r3, %r1, 16, %r2;
    mov.u32 %r4, 0;
FILL:
    st.shared.v4.u32 [%r3], {{%r4, %r4, %r4, %r4}};
    add.u32 %r3, %r3, 2048;
    setp.lt.u32 %p1, %r3, 16384;
    @%p1 bra FILL;
    fence.proxy.async;
    bar.sync 0;
    mov.u64 %rd5, 0x0000001000080000;
    mov.u64 %rd6, 0x0000001000080080;
    setp.ne.u32 %p2, %r4, %r4;
    mov.u32 %r10, 0;
    wgmma.fence.sync.aligned;
LOOP:
    wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {{{}}}, %rd5, %rd6, %p2, 1, 1, 0, 0;
    wgmma.commit_group.sync.aligned;
    wgmma.wait_group.sync.aligned 0;
    setp.eq.u32 %p2, %r4, %r4;
    add.u32 %r10, %r10, 1;
    setp.lt.u32 %p1, %r10, {rounds};
    @%p1 bra LOOP;
    ret;
}}",
        d.join(", ")
    )
}

/// Processor time of one run in seconds, and its thread-instructions.
fn time(text: &str, check: bool) -> (f64, u64) {
    let module = read::parse(text).unwrap_or_else(|e| panic!("{e}"));
    let kernel = decode::kernel(&module, "k").unwrap_or_else(|e| panic!("{e}"));
    let mut memory = Memory::new();
    let at = memory.allocate("a", &[0; 4 * 128]);
    let geometry = Geometry { block: [128, 1, 1], check, ..Geometry::default() };
    let start = cpu();
    let summary =
        ptx_sim::run(&kernel, &mut memory, &geometry, &at.to_le_bytes()).unwrap_or_else(|f| panic!("{f}"));
    if let Some(finding) = summary.findings.first() {
        panic!("{finding}");
    }
    (cpu() - start, summary.thread_instructions)
}

fn main() {
    let float = "fma.rn.f32 %f3, %f1, %f2, %f3; fma.rn.f32 %f4, %f3, %f2, %f4; mul.rn.f32 %f5, %f3, %f2;
        add.rn.f32 %f6, %f5, %f4; "
        .repeat(3);
    let int =
        "mad.lo.u32 %r4, %r4, %r5, %r10; xor.b32 %r6, %r4, %r10; shl.b32 %r7, %r6, 3; add.u32 %r8, %r7, %r4;
        and.b32 %r9, %r8, %r6; "
            .repeat(3);
    let address = "mul.wide.u32 %rd3, %r4, 4; add.s64 %rd4, %rd1, %rd3; shl.b64 %rd5, %rd4, 1; ".repeat(3);
    let mixed = "ld.shared.u32 %r6, [%r3]; add.u32 %r6, %r6, %r10; xor.b32 %r7, %r6, %r4; st.shared.u32 [%r3], %r7;
        fma.rn.f32 %f3, %f1, %f2, %f3; add.u32 %r4, %r7, 1; mul.rn.f32 %f5, %f3, %f2; add.rn.f32 %f6, %f5, %f4;"
        .to_string();
    let global = "ld.global.u32 %r6, [%rd2]; add.u32 %r6, %r6, %r10; xor.b32 %r7, %r6, %r4; add.u32 %r4, %r7, 1;
        fma.rn.f32 %f3, %f1, %f2, %f3; mul.rn.f32 %f5, %f3, %f2; add.rn.f32 %f6, %f5, %f4; st.global.u32 [%rd2], %r4;"
        .to_string();
    let halves = |ty: &str| {
        format!(
            "fma.rn.{ty} %r11, %r12, %r13, %r11; mul.rn.{ty} %r14, %r11, %r13; add.rn.{ty} %r12, %r14, %r13; "
        )
        .repeat(3)
    };
    let convert = "cvt.rn.f16x2.f32 %r11, %f1, %f4; mov.b32 {%h1, %h2}, %r11; cvt.f32.f16 %f5, %h1; cvt.f32.f16 %f6, %h2;
        cvt.rn.bf16x2.f32 %r12, %f5, %f6; mov.b32 {%h3, %h4}, %r12; cvt.f32.bf16 %f7, %h3; cvt.rzi.s32.f32 %r13, %f7; "
        .repeat(2);
    let product = |ty: &str| {
        format!(
            "mma.sync.aligned.m16n8k16.row.col.f32.{ty}.{ty}.f32 {{%f10, %f11, %f12, %f13}}, {{%r20, %r21, %r22, %r23}}, {{%r24, %r25}}, {{%f10, %f11, %f12, %f13}}; "
        )
        .repeat(4)
    };
    let tile = "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r20, %r21, %r22, %r23}, [%r15]; ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%r24, %r25}, [%r15];
        mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f10, %f11, %f12, %f13}, {%r20, %r21, %r22, %r23}, {%r24, %r25}, {%f10, %f11, %f12, %f13}; "
        .to_string();
    let bodies = [
        ("float", float),
        ("integer", int),
        ("64-bit", address),
        ("shared 1/4", mixed),
        ("global 1/4", global),
        ("f16x2", halves("f16x2")),
        ("bf16x2", halves("bf16x2")),
        ("conversions", convert),
        ("exp2", "ex2.approx.ftz.f32 %f5, %f1; ex2.approx.ftz.f32 %f6, %f2; ".repeat(4)),
        ("mma f16", product("f16")),
        ("mma bf16", product("bf16")),
        ("mma s8", product("s8").replace("k16", "k32").replace("f32", "s32").replace("%f1", "%r3")),
        ("mma ldmatrix", tile),
    ];
    // Only those that an argument names, if there is one.
    let only = std::env::args().nth(1).unwrap_or_default();
    for (name, body) in bodies.into_iter().filter(|(name, _)| name.starts_with(&only)) {
        let text = kernel(&body);
        let rate = |check| {
            let (seconds, instructions) = time(&text, check);
            instructions as f64 / seconds / 1e6
        };
        println!("{name:12}   fast {:7.0} M/s   check {:7.0} M/s", rate(false), rate(true));
    }
    if !"wgmma".starts_with(&only) {
        return;
    }
    let rounds = 4000;
    let text = products(rounds);
    let rate = |check| rounds as f64 * 64.0 * 256.0 * 16.0 / time(&text, check).0 / 1e9;
    println!("wgmma          fast {:7.1} G/s   check {:7.1} G/s   (multiply-adds)", rate(false), rate(true));
}
