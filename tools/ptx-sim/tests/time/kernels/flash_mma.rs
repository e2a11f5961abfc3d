//! The forward pass of attention as FlashAttention-2 has it: four warps with 32 queries each, `cp.async`, `ldmatrix` and
//! `mma.sync`; Q stays in shared memory, K and V have one buffer each.
//!
//! The copy of V runs under Q·Kᵀ and that of the next K under the softmax and P·V. Fragments for the next sixteen are loaded
//! while the present ones are multiplied.

use super::{Launch, Ptx, list};
use crate::support::Params;
use ptx_sim::{Geometry, memory::Memory};

const QUERIES: usize = 128;
const THREADS: usize = 128;

/// Sizes of a variant.
#[derive(Clone, Copy)]
pub struct Shape {
    pub d: usize,
    pub keys: usize,
}

/// As published for a width.
pub fn published(d: usize) -> Shape {
    Shape { d, keys: if d == 64 { 128 } else { 64 } }
}

impl Shape {
    fn pitch(self) -> usize {
        2 * self.d
    }

    fn k_at(self) -> usize {
        QUERIES * self.pitch()
    }

    fn v_at(self) -> usize {
        self.k_at() + self.keys * self.pitch()
    }

    /// Columns of S and of O in eights.
    fn s_eights(self) -> usize {
        self.keys / 8
    }

    fn o_eights(self) -> usize {
        self.d / 8
    }
}

pub fn ptx(z: Shape) -> String {
    let mut p = Ptx::new("sm_80");
    header(&mut p, z);
    copy(&mut p, z, "q", 0, QUERIES);
    copy(&mut p, z, "k", z.k_at(), z.keys);
    p.line("LOOP:");
    p.line("cp.async.wait_group 0;");
    p.line("bar.sync 0;");
    copy(&mut p, z, "v", z.v_at(), z.keys);
    scores(&mut p, z);
    p.line("cp.async.wait_group 0;");
    p.line("bar.sync 0;");
    p.line("add.u32 tile, tile, 1;");
    p.line("setp.ge.u32 last, tile, tiles;");
    p.line("@last bra SOFTMAX;");
    copy(&mut p, z, "k", z.k_at(), z.keys);
    p.line("SOFTMAX:");
    softmax(&mut p, z);
    values(&mut p, z);
    p.line("@!last bra LOOP;");
    epilogue(&mut p, z);
    p.0
}

fn header(p: &mut Ptx, z: Shape) {
    p.lines(
        ".extern .shared .align 128 .b8 smem[];
        .visible .entry flash(.param .u64 q_, .param .u64 k_, .param .u64 v_, .param .u64 o_, .param .u32 length_,
            .param .u32 tiles_, .param .f32 scale_)
        .reqntid 128, 1, 1
        .maxnreg 255
        {
        .reg .pred last;
        .reg .b32 tid, lane, warp, tiles, length, base, tile, x, y, to, row, head, from_q, from_k, from_v, at;
        .reg .b32 a<16>, b<64>;
        .reg .b64 q, k, v, o, wide;
        .reg .f32 scale, zero, m<4>, l<4>, n<4>, c<4>, t<4>;",
    );
    p.line(format!(".reg .f32 %s<{}>, %o<{}>;", 8 * z.s_eights(), 8 * z.o_eights()));
    p.line(format!(".reg .b32 %p<{}>;", 4 * z.s_eights()));
    p.lines(
        "mov.u32 tid, %tid.x;
        and.b32 lane, tid, 31;
        shr.u32 warp, tid, 5;
        ld.param.u64 q, [q_];
        ld.param.u64 k, [k_];
        ld.param.u64 v, [v_];
        ld.param.u64 o, [o_];
        ld.param.u32 length, [length_];
        ld.param.u32 tiles, [tiles_];
        ld.param.f32 scale, [scale_];
        mov.u32 base, smem;
        mov.u32 row, %ctaid.x;
        shl.b32 row, row, 7;
        mov.u32 head, %ctaid.y;
        mov.u32 tile, 0;
        mov.f32 zero, 0f00000000;",
    );
    // What a thread copies: chunk tid % chunks of the rows tid / chunks, + THREADS / chunks, …
    let chunks = z.d / 8;
    p.line(format!("and.b32 x, tid, {};", chunks - 1));
    p.line(format!("shr.u32 y, tid, {};", chunks.trailing_zeros()));
    p.lines(
        "shl.b32 at, x, 4;
        cvt.u64.u32 wide, at;
        and.b32 to, y, 7;
        xor.b32 to, to, x;
        shl.b32 to, to, 4;",
    );
    p.line(format!("mad.lo.u32 to, y, {}, to;", z.pitch()));
    p.line("add.u32 to, base, to;");
    p.line("mad.lo.u32 at, head, length, y;");
    for name in ["q", "k", "v"] {
        p.line(format!("add.u64 {name}, {name}, wide;"));
    }
    p.line(format!("mul.wide.u32 wide, at, {};", z.pitch()));
    for name in ["q", "k", "v"] {
        p.line(format!("add.u64 {name}, {name}, wide;"));
    }
    p.line(format!("mul.wide.u32 wide, row, {};", z.pitch()));
    p.line("add.u64 q, q, wide;");
    // What ldmatrix reads: lanes name rows, whose chunk c lies at c ^ (row & 7).
    p.lines(
        "and.b32 x, lane, 15;
        shl.b32 y, warp, 5;
        add.u32 x, x, y;",
    );
    fragment(p, z, "from_q", "shr.u32 y, lane, 4;", 0);
    p.lines(
        "and.b32 x, lane, 7;
        shr.u32 y, lane, 4;
        shl.b32 y, y, 3;
        add.u32 x, x, y;",
    );
    fragment(p, z, "from_k", "shr.u32 y, lane, 3;\nand.b32 y, y, 1;", z.k_at());
    p.line("and.b32 x, lane, 15;");
    fragment(p, z, "from_v", "shr.u32 y, lane, 4;", z.v_at());
    for r in 0..4 {
        p.line(format!("mov.f32 m{r}, 0fFF800000;"));
        p.line(format!("mov.f32 l{r}, zero;"));
    }
    for o in 0..8 * z.o_eights() {
        p.line(format!("mov.f32 %o{o}, zero;"));
    }
}

/// Where a lane reads: row `x` of a tile, the chunk that `chunk` leaves in `y`.
fn fragment(p: &mut Ptx, z: Shape, name: &str, chunk: &str, tile_at: usize) {
    p.lines(chunk);
    p.lines(
        "and.b32 at, lane, 7;
        xor.b32 y, y, at;
        shl.b32 y, y, 4;",
    );
    p.line(format!("mad.lo.u32 {name}, x, {}, y;", z.pitch()));
    p.line(format!("add.u32 {name}, {name}, base;"));
    p.line(format!("add.u32 {name}, {name}, {tile_at};"));
}

/// Rows to shared memory; the pointer moves on to the next tile.
fn copy(p: &mut Ptx, z: Shape, from: &str, tile_at: usize, rows: usize) {
    let pass = THREADS / (z.d / 8);
    for n in 0..rows / pass {
        let offset = n * pass * z.pitch();
        p.line(format!("cp.async.cg.shared.global [to+{}], [{from}+{offset}], 16;", tile_at + offset));
    }
    p.line(format!("add.u64 {from}, {from}, {};", rows * z.pitch()));
    p.line("cp.async.commit_group;");
}

fn scores(p: &mut Ptx, z: Shape) {
    let steps = z.d / 16;
    let load = |p: &mut Ptx, k: usize| {
        let buffer = k % 2;
        p.line(format!("xor.b32 at, from_q, {};", 32 * k));
        for block in 0..2 {
            let a = list_plain("a", 8 * buffer + 4 * block, 4);
            p.line(format!("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {a}, [at+{}];", 16 * block * z.pitch()));
        }
        p.line(format!("xor.b32 at, from_k, {};", 32 * k));
        for pair in 0..z.s_eights() / 2 {
            let b = list_plain("b", 32 * buffer + 4 * pair, 4);
            p.line(format!("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {b}, [at+{}];", 16 * pair * z.pitch()));
        }
    };
    load(p, 0);
    for k in 0..steps {
        if k + 1 < steps {
            load(p, k + 1);
        }
        for n in 0..z.s_eights() {
            for block in 0..2 {
                let s = 4 * (block * z.s_eights() + n);
                let d = list("s", s..s + 4);
                let c = if k == 0 { "{zero, zero, zero, zero}".to_string() } else { d.clone() };
                let a = list_plain("a", 8 * (k % 2) + 4 * block, 4);
                let b = list_plain("b", 32 * (k % 2) + 2 * n, 2);
                p.line(format!("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {d}, {a}, {b}, {c};"));
            }
        }
    }
}

fn values(p: &mut Ptx, z: Shape) {
    let steps = z.keys / 16;
    let load = |p: &mut Ptx, k: usize| {
        for pair in 0..z.o_eights() / 2 {
            p.line(format!("xor.b32 at, from_v, {};", 32 * pair));
            let b = list_plain("b", 32 * (k % 2) + 4 * pair, 4);
            p.line(format!(
                "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {b}, [at+{}];",
                16 * k * z.pitch()
            ));
        }
    };
    load(p, 0);
    for k in 0..steps {
        if k + 1 < steps {
            load(p, k + 1);
        }
        for n in 0..z.o_eights() {
            for block in 0..2 {
                let o = 4 * (block * z.o_eights() + n);
                let d = list("o", o..o + 4);
                let a = 2 * (block * z.s_eights() + 2 * k);
                let a = list("p", a..a + 4);
                let b = list_plain("b", 32 * (k % 2) + 2 * n, 2);
                p.line(format!("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {d}, {a}, {b}, {d};"));
            }
        }
    }
}

/// Registers declared without a percent sign.
fn list_plain(name: &str, first: usize, count: usize) -> String {
    list(name, first..first + count).replace('%', "")
}

/// The row of a register, of four: two blocks of sixteen rows, two rows of a thread in each.
fn row(register: usize, eights: usize) -> usize {
    2 * (register / (4 * eights)) + register / 2 % 2
}

fn softmax(p: &mut Ptx, z: Shape) {
    let count = 8 * z.s_eights();
    for r in 0..4 {
        p.line(format!("mov.f32 n{r}, m{r};"));
    }
    // The two blocks in turn, so that a row's chain of maxima is not waited for.
    for s in (0..count / 2).flat_map(|s| [s, s + count / 2]) {
        p.line(format!("max.f32 n{r}, n{r}, %s{s};", r = row(s, z.s_eights())));
    }
    for by in [1, 2] {
        for r in 0..4 {
            p.line(format!("shfl.sync.bfly.b32 t{r}, n{r}, {by}, 31, -1;"));
        }
        for r in 0..4 {
            p.line(format!("max.f32 n{r}, n{r}, t{r};"));
        }
    }
    for r in 0..4 {
        p.line(format!("sub.f32 c{r}, m{r}, n{r};"));
        p.line(format!("mul.f32 c{r}, c{r}, scale;"));
        p.line(format!("ex2.approx.ftz.f32 c{r}, c{r};"));
        p.line(format!("mul.f32 l{r}, l{r}, c{r};"));
        p.line(format!("mov.f32 m{r}, n{r};"));
        p.line(format!("mul.f32 n{r}, n{r}, scale;"));
        p.line(format!("neg.f32 n{r}, n{r};"));
    }
    // Exponentials in lots of eight, and between them the sums of the lot before and the scaling of O.
    let lots = count / 8;
    let share = 8 * z.o_eights() / lots;
    for lot in 0..=lots {
        if lot < lots {
            for s in 8 * lot..8 * lot + 8 {
                p.line(format!("fma.rn.f32 %s{s}, %s{s}, scale, n{};", row(s, z.s_eights())));
            }
            for s in 8 * lot..8 * lot + 8 {
                p.line(format!("ex2.approx.ftz.f32 %s{s}, %s{s};"));
            }
            for o in share * lot..share * (lot + 1) {
                p.line(format!("mul.f32 %o{o}, %o{o}, c{};", row(o, z.o_eights())));
            }
        }
        if lot > 0 {
            for s in 8 * (lot - 1)..8 * lot {
                p.line(format!("add.f32 l{r}, l{r}, %s{s};", r = row(s, z.s_eights())));
            }
            for i in 4 * (lot - 1)..4 * lot {
                p.line(format!("cvt.rn.bf16x2.f32 %p{i}, %s{}, %s{};", 2 * i + 1, 2 * i));
            }
        }
    }
}

fn epilogue(p: &mut Ptx, z: Shape) {
    for by in [1, 2] {
        for r in 0..4 {
            p.line(format!("shfl.sync.bfly.b32 t{r}, l{r}, {by}, 31, -1;"));
            p.line(format!("add.f32 l{r}, l{r}, t{r};"));
        }
    }
    for r in 0..4 {
        p.line(format!("rcp.approx.ftz.f32 c{r}, l{r};"));
    }
    p.lines(
        "shl.b32 x, warp, 5;
        shr.u32 y, lane, 2;
        add.u32 x, x, y;
        add.u32 x, x, row;
        mad.lo.u32 x, head, length, x;",
    );
    p.line(format!("mul.wide.u32 wide, x, {};", z.pitch()));
    p.lines(
        "add.u64 o, o, wide;
        and.b32 x, lane, 3;
        mul.wide.u32 wide, x, 4;
        add.u64 o, o, wide;",
    );
    for first in (0..8 * z.o_eights()).step_by(2) {
        let (block, n, r) = (first / (4 * z.o_eights()), first / 4 % z.o_eights(), first / 2 % 2);
        let c = row(first, z.o_eights());
        p.line(format!("mul.f32 %o{first}, %o{first}, c{c};"));
        p.line(format!("mul.f32 %o{}, %o{}, c{c};", first + 1, first + 1));
        p.line(format!("cvt.rn.bf16x2.f32 x, %o{}, %o{first};", first + 1));
        p.line(format!("st.global.b32 [o+{}], x;", (16 * block + 8 * r) * z.pitch() + 16 * n));
    }
    p.lines("ret;\n}");
}

/// `heads` of a batch, each `length` by d; `length` a multiple of 128. Gives where O is.
pub fn launch(z: Shape, heads: usize, length: usize, mut memory: Memory, qkv: [u64; 3]) -> (Launch, u64) {
    let o = memory.reserve("o", heads * length * z.pitch()).unwrap();
    let scale = std::f32::consts::LOG2_E / (z.d as f32).sqrt();
    let params = Params::default()
        .address(qkv[0])
        .address(qkv[1])
        .address(qkv[2])
        .address(o)
        .u32(length as u32)
        .u32((length / z.keys) as u32)
        .u32(scale.to_bits())
        .bytes();
    let geometry = Geometry {
        grid: [(length / QUERIES) as u32, heads as u32, 1],
        block: [THREADS as u32, 1, 1],
        dynamic_shared: z.v_at() + z.keys * z.pitch(),
        ..Geometry::default()
    };
    let operations = 4.0 * heads as f64 * (length * length * z.d) as f64;
    (Launch { ptx: ptx(z), entry: "flash", geometry, memory, params, operations }, o)
}
