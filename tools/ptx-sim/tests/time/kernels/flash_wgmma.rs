//! The forward pass of attention as FlashAttention-3 has it: 128 queries, two consumer warpgroups of 64 each, one lane of a
//! producer warpgroup with the copy engine, K and V in two stages each.
//!
//! Two overlaps, both as in the paper. *Within* a warpgroup the softmax of tile j runs while P·V of the tile before is on
//! the tensor cores; *between* the two, named barriers have one issue its products while the other is at its softmax:
//!
//! ```text
//! for each tile: K is there; my turn (bar.sync); S = Q·Kᵀ, O += P·V; the other's turn (bar.arrive);
//!                wait for S; maximum, exponentials, sum; wait for P·V; scale O; P = bf16(S)
//! ```
//!
//! Tiles go from the last to the first, so that only the first has to look whether keys lie outside.

use super::{Launch, Ptx, list};
use crate::support::Params;
use ptx_sim::{Geometry, memory::Memory};
use tile_machine::{
    Swizzle, TensorMap,
    tensor_map::{ElementType, Spec},
};

/// Sizes of a variant.
#[derive(Clone, Copy)]
pub struct Shape {
    /// Width of a head: 64 or 128.
    pub d: usize,
    /// Keys of a tile.
    pub keys: usize,
    /// No query sees later keys: fewer tiles for the first queries, and the last tile has the diagonal.
    pub causal: bool,
}

/// As published for a width.
pub fn published(d: usize, causal: bool) -> Shape {
    Shape { d, keys: if d == 64 || causal { 128 } else { 176 }, causal }
}

const QUERIES: usize = 128;

impl Shape {
    fn q_bytes(self) -> usize {
        QUERIES * self.d * 2
    }

    fn tile_bytes(self) -> usize {
        self.keys * self.d * 2
    }

    fn k_at(self, stage: usize) -> usize {
        self.q_bytes() + stage * self.tile_bytes()
    }

    fn shared(self) -> usize {
        self.q_bytes() + 4 * self.tile_bytes() + 1024
    }

    /// Registers of S and of O.
    fn s(self) -> usize {
        self.keys / 2
    }

    fn o(self) -> usize {
        self.d / 2
    }
}

pub fn ptx(z: Shape) -> String {
    let mut p = Ptx::new("sm_90a");
    header(&mut p, z);
    producer(&mut p, z);
    consumer_start(&mut p);
    // The last tile, with its mask, by itself.
    stage_of(&mut p);
    wait(&mut p, "K0", "kfull", "kpar");
    p.line("bar.sync mine, 256;");
    scores(&mut p, z);
    p.line("wgmma.wait_group.sync.aligned 0;");
    p.line("bar.arrive theirs, 256;");
    release(&mut p, "kempty");
    mask(&mut p, z);
    softmax(&mut p, z, true);
    pack(&mut p, z);
    p.lines(
        "setp.ne.u32 no, tid, tid;
        mov.pred accumulate, no;
        setp.eq.u32 more, tiles, 1;
        @more bra LAST;
        LOOP:",
    );
    p.line("add.u32 tile, tile, 1;");
    stage_of(&mut p);
    wait(&mut p, "K1", "kfull", "kpar");
    p.line("bar.sync mine, 256;");
    scores(&mut p, z);
    previous_stage(&mut p);
    wait(&mut p, "V1", "vfull", "vpar");
    values(&mut p, z);
    p.lines(
        "bar.arrive theirs, 256;
        wgmma.wait_group.sync.aligned 1;",
    );
    stage_of(&mut p);
    release(&mut p, "kempty");
    softmax(&mut p, z, false);
    p.line("wgmma.wait_group.sync.aligned 0;");
    previous_stage(&mut p);
    release(&mut p, "vempty");
    rescale(&mut p, z);
    pack(&mut p, z);
    p.lines(
        "add.u32 x, tile, 1;
        setp.lt.u32 more, x, tiles;
        @more bra LOOP;
        LAST:
        add.u32 tile, tile, 1;",
    );
    previous_stage(&mut p);
    wait(&mut p, "V2", "vfull", "vpar");
    values(&mut p, z);
    p.line("wgmma.wait_group.sync.aligned 0;");
    epilogue(&mut p, z);
    p.0
}

fn header(p: &mut Ptx, z: Shape) {
    p.lines(
        ".extern .shared .align 1024 .b8 smem[];
        .visible .entry flash(.param .align 64 .b8 map_q[128], .param .align 64 .b8 map_k[128],
            .param .align 64 .b8 map_v[128], .param .u64 o_, .param .u32 length_, .param .u32 tiles_, .param .f32 scale_)
        .reqntid 384, 1, 1
        .minnctapersm 1
        {
        .shared .align 8 .b64 q_full;
        .shared .align 8 .b64 k_full[2];
        .shared .align 8 .b64 k_empty[2];
        .shared .align 8 .b64 v_full[2];
        .shared .align 8 .b64 v_empty[2];
        .reg .pred p, done, more, speaks, no, yes, accumulate;
        .reg .b32 tid, lane, group, tiles, length, base, tile, stage, offset, bar, x, y, row, head, mine, theirs;
        .reg .b32 qbar, kfull, kempty, vfull, vempty, kpar, vpar, dst, key, seen<2>;
        .reg .b64 mq, mk, mv, dq, dk, dv, a, b, o, at;
        .reg .f32 scale, m<2>, l<2>, n<2>, c<2>, t<16>, inf;",
    );
    p.line(format!(".reg .f32 %s<{}>, %o<{}>;", z.s(), z.o()));
    p.line(format!(".reg .b32 %p<{}>;", z.s() / 2));
    p.lines(
        "mov.u32 tid, %tid.x;
        and.b32 lane, tid, 31;
        shr.u32 group, tid, 7;
        ld.param.u32 tiles, [tiles_];
        ld.param.u32 length, [length_];
        ld.param.f32 scale, [scale_];
        mov.u32 base, smem;
        mov.u32 qbar, q_full;
        mov.u32 kfull, k_full;
        mov.u32 kempty, k_empty;
        mov.u32 vfull, v_full;
        mov.u32 vempty, v_empty;
        mov.u32 row, %ctaid.x;
        shl.b32 row, row, 7;
        mov.u32 head, %ctaid.y;
        mov.u32 tile, 0;",
    );
    if z.causal {
        p.line(format!("add.u32 x, row, {};", QUERIES + z.keys - 1));
        p.line(format!("shr.u32 x, x, {};", z.keys.trailing_zeros()));
        p.line("min.u32 tiles, tiles, x;");
    }
    p.lines(
        "setp.ne.u32 p, tid, 0;
        @p bra READY;
        mbarrier.init.shared::cta.b64 [qbar], 1;
        mbarrier.init.shared::cta.b64 [kfull], 1;
        mbarrier.init.shared::cta.b64 [kfull+8], 1;
        mbarrier.init.shared::cta.b64 [vfull], 1;
        mbarrier.init.shared::cta.b64 [vfull+8], 1;
        mbarrier.init.shared::cta.b64 [kempty], 8;
        mbarrier.init.shared::cta.b64 [kempty+8], 8;
        mbarrier.init.shared::cta.b64 [vempty], 8;
        mbarrier.init.shared::cta.b64 [vempty+8], 8;
        fence.mbarrier_init.release.cluster;
        READY:
        bar.sync 0;
        setp.ne.u32 p, group, 0;
        @p bra CONSUMER;",
    );
}

fn producer(p: &mut Ptx, z: Shape) {
    p.lines(
        "setmaxnreg.dec.sync.aligned.u32 24;
        setp.ne.u32 p, tid, 0;
        @p bra DONE;
        mov.b64 mq, map_q;
        cvta.param.u64 mq, mq;
        mov.b64 mk, map_k;
        cvta.param.u64 mk, mk;
        mov.b64 mv, map_v;
        cvta.param.u64 mv, mv;",
    );
    p.line(format!("mbarrier.arrive.expect_tx.shared::cta.b64 _, [qbar], {};", z.q_bytes()));
    boxes(p, z, "base", 0, QUERIES, "mq", "row", "qbar");
    p.line("LOAD:");
    // Tile number t of those taken has the keys from (tiles - 1 - t) * keys on.
    p.lines(
        "sub.u32 key, tiles, tile;
        sub.u32 key, key, 1;",
    );
    p.line(format!("mul.lo.u32 key, key, {};", z.keys));
    stage_of(p);
    p.line("xor.b32 kpar, kpar, 1;");
    p.line(format!("mul.lo.u32 dst, stage, {};", z.tile_bytes()));
    p.line("add.u32 dst, base, dst;");
    wait(p, "KE", "kempty", "kpar");
    fill(p, z, "kfull", 0, "mk");
    wait(p, "VE", "vempty", "kpar");
    fill(p, z, "vfull", 2, "mv");
    p.lines(
        "add.u32 tile, tile, 1;
        setp.lt.u32 more, tile, tiles;
        @more bra LOAD;
        bra DONE;",
    );
}

/// Announces a tile and asks for it; `first`: the first of its two stages.
fn fill(p: &mut Ptx, z: Shape, bars: &str, first: usize, map: &str) {
    p.line(format!("add.u32 bar, {bars}, offset;"));
    p.line(format!("mbarrier.arrive.expect_tx.shared::cta.b64 _, [bar], {};", z.tile_bytes()));
    boxes(p, z, "dst", z.k_at(first), z.keys, map, "key", "bar");
}

/// A tile of `rows` by d, in boxes of 64 columns.
#[allow(clippy::too_many_arguments)]
fn boxes(p: &mut Ptx, z: Shape, to: &str, at: usize, rows: usize, map: &str, row: &str, bar: &str) {
    for half in 0..z.d / 64 {
        let at = at + half * rows * 128;
        p.line(format!(
            "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes
             [{to}+{at}], [{map}, {{{}, {row}, head}}], [{bar}];",
            64 * half
        ));
    }
}

fn consumer_start(p: &mut Ptx) {
    p.lines(
        "CONSUMER:
        setmaxnreg.inc.sync.aligned.u32 240;
        sub.u32 group, group, 1;
        setp.eq.u32 speaks, lane, 0;
        setp.ne.u32 no, tid, tid;
        setp.eq.u32 yes, tid, tid;
        mov.f32 inf, 0fFF800000;
        add.u32 mine, group, 1;
        sub.u32 theirs, 3, mine;
        setp.eq.u32 p, group, 0;
        @p bra FIRST;
        bar.arrive theirs, 256;
        FIRST:
        shl.b32 x, group, 13;
        add.u32 x, base, x;
        cvt.u64.u32 dq, x;
        shr.u64 dq, dq, 4;
        or.b64 dq, dq, 0x4000004000010000;
        WAITQ:
        mbarrier.try_wait.parity.shared::cta.b64 done, [qbar], 0;
        @!done bra WAITQ;",
    );
}

/// Stage and parity of the tile taken now.
fn stage_of(p: &mut Ptx) {
    p.lines(
        "and.b32 stage, tile, 1;
        shr.u32 kpar, tile, 1;
        and.b32 kpar, kpar, 1;
        shl.b32 offset, stage, 3;",
    );
}

/// Those of the tile before.
fn previous_stage(p: &mut Ptx) {
    p.lines(
        "sub.u32 x, tile, 1;
        and.b32 stage, x, 1;
        shr.u32 vpar, x, 1;
        and.b32 vpar, vpar, 1;
        shl.b32 offset, stage, 3;",
    );
}

fn wait(p: &mut Ptx, label: &str, bars: &str, parity: &str) {
    p.line(format!("add.u32 bar, {bars}, offset;"));
    p.line(format!("{label}:"));
    p.line(format!("mbarrier.try_wait.parity.shared::cta.b64 done, [bar], {parity};"));
    p.line(format!("@!done bra {label};"));
}

fn release(p: &mut Ptx, bars: &str) {
    p.line(format!("add.u32 bar, {bars}, offset;"));
    p.line("@speaks mbarrier.arrive.shared::cta.b64 _, [bar];");
}

/// A descriptor for a tile of the stage.
fn descriptor(p: &mut Ptx, z: Shape, name: &str, at: usize, bits: u64) {
    p.line(format!("mul.lo.u32 x, stage, {};", z.tile_bytes()));
    p.line("add.u32 x, base, x;");
    p.line(format!("add.u32 x, x, {at};"));
    p.line(format!("cvt.u64.u32 {name}, x;"));
    p.line(format!("shr.u64 {name}, {name}, 4;"));
    p.line(format!("or.b64 {name}, {name}, {bits:#x};"));
}

/// S = Q·Kᵀ, in sixteens of d.
fn scores(p: &mut Ptx, z: Shape) {
    descriptor(p, z, "dk", z.k_at(0), 0x4000_0040_0001_0000);
    p.line("wgmma.fence.sync.aligned;");
    for k in 0..z.d / 16 {
        let (half, inner) = (k / 4, k % 4);
        p.line(format!("add.u64 a, dq, {};", half * QUERIES * 8 + 2 * inner));
        p.line(format!("add.u64 b, dk, {};", half * z.keys * 8 + 2 * inner));
        p.line(format!(
            "wgmma.mma_async.sync.aligned.m64n{}k16.f32.bf16.bf16 {}, a, b, {}, 1, 1, 0, 0;",
            z.keys,
            list("s", 0..z.s()),
            if k == 0 { "no" } else { "yes" }
        ));
    }
    p.line("wgmma.commit_group.sync.aligned;");
}

/// O += P·V, in sixteens of the keys. V has its columns together: 64 of them by eight keys are 1024 bytes, the next 64 lie
/// behind all keys.
fn values(p: &mut Ptx, z: Shape) {
    let leading = (z.keys * 128 / 16) as u64;
    descriptor(p, z, "dv", z.k_at(2), 0x4000_0040_0000_0000 | leading << 16);
    p.line("wgmma.fence.sync.aligned;");
    for k in 0..z.keys / 16 {
        p.line(format!("add.u64 b, dv, {};", k * 128));
        p.line(format!(
            "wgmma.mma_async.sync.aligned.m64n{}k16.f32.bf16.bf16 {}, {}, b, {}, 1, 1, 1;",
            z.d,
            list("o", 0..z.o()),
            list("p", 4 * k..4 * k + 4),
            if k == 0 { "accumulate" } else { "yes" }
        ));
    }
    p.line("mov.pred accumulate, yes;");
    p.line("wgmma.commit_group.sync.aligned;");
}

/// Keys outside get no weight: register 4j + 2r + e is column 8j + 2t + e.
fn mask(p: &mut Ptx, z: Shape) {
    p.line("sub.u32 x, tiles, 1;");
    p.line(format!("mul.lo.u32 x, x, {};", z.keys));
    p.lines(
        "and.b32 y, lane, 3;
        shl.b32 y, y, 1;
        add.u32 x, x, y;",
    );
    for r in 0..2 {
        // How many keys from here on the row may see.
        p.line(format!("mov.u32 seen{r}, length;"));
        if z.causal {
            p.lines(
                "and.b32 y, tid, 127;
                shr.u32 y, y, 5;
                shl.b32 y, y, 4;
                add.u32 y, y, row;",
            );
            p.line("mad.lo.u32 y, group, 64, y;");
            p.line(format!("add.u32 y, y, {};", 8 * r + 1));
            p.line(format!("shr.u32 seen{r}, lane, 2;"));
            p.line(format!("add.u32 seen{r}, seen{r}, y;"));
        }
        p.line(format!("sub.u32 seen{r}, seen{r}, x;"));
    }
    for j in 0..z.keys / 8 {
        for e in 0..2 {
            for r in 0..2 {
                let s = 4 * j + 2 * r + e;
                p.line(format!("setp.gt.s32 p, seen{r}, {};", 8 * j + e));
                p.line(format!("selp.f32 %s{s}, %s{s}, inf, p;"));
            }
        }
    }
}

/// Maximum, exponentials and sum of the two rows of a thread; leaves in `c` by how much what came before shrinks.
fn softmax(p: &mut Ptx, z: Shape, first: bool) {
    for r in 0..2 {
        let start = if first { format!("%s{}", 2 * r) } else { format!("m{r}") };
        p.line(format!("mov.f32 n{r}, {start};"));
    }
    for j in 0..z.keys / 8 {
        for e in 0..2 {
            for r in 0..2 {
                p.line(format!("max.f32 n{r}, n{r}, %s{};", 4 * j + 2 * r + e));
            }
        }
    }
    for by in [1, 2] {
        for r in 0..2 {
            p.line(format!("shfl.sync.bfly.b32 t{r}, n{r}, {by}, 31, -1;"));
        }
        for r in 0..2 {
            p.line(format!("max.f32 n{r}, n{r}, t{r};"));
        }
    }
    for r in 0..2 {
        if !first {
            p.line(format!("sub.f32 c{r}, m{r}, n{r};"));
            p.line(format!("mul.f32 c{r}, c{r}, scale;"));
            p.line(format!("ex2.approx.ftz.f32 c{r}, c{r};"));
            p.line(format!("mul.f32 l{r}, l{r}, c{r};"));
        } else {
            p.line(format!("mov.f32 l{r}, 0f00000000;"));
        }
        p.line(format!("mov.f32 m{r}, n{r};"));
        p.line(format!("mul.f32 n{r}, n{r}, scale;"));
        p.line(format!("neg.f32 n{r}, n{r};"));
    }
    // Eight at a time, as a compiler would order them: sums of one lot after the exponentials of the next have begun.
    let lots = z.s() / 8;
    for lot in 0..=lots {
        if lot < lots {
            for s in 8 * lot..8 * lot + 8 {
                p.line(format!("fma.rn.f32 %s{s}, %s{s}, scale, n{};", s / 2 % 2));
            }
            for s in 8 * lot..8 * lot + 8 {
                p.line(format!("ex2.approx.ftz.f32 %s{s}, %s{s};"));
            }
        }
        if lot > 0 {
            for s in 8 * (lot - 1)..8 * lot {
                p.line(format!("add.f32 l{r}, l{r}, %s{s};", r = s / 2 % 2));
            }
        }
    }
}

fn rescale(p: &mut Ptx, z: Shape) {
    for o in 0..z.o() {
        p.line(format!("mul.f32 %o{o}, %o{o}, c{};", o / 2 % 2));
    }
}

/// Registers 2i and 2i + 1 of S are word i of the first operands.
fn pack(p: &mut Ptx, z: Shape) {
    for i in 0..z.s() / 2 {
        p.line(format!("cvt.rn.bf16x2.f32 %p{i}, %s{}, %s{};", 2 * i + 1, 2 * i));
    }
}

fn epilogue(p: &mut Ptx, z: Shape) {
    for by in [1, 2] {
        for r in 0..2 {
            p.line(format!("shfl.sync.bfly.b32 t{r}, l{r}, {by}, 31, -1;"));
            p.line(format!("add.f32 l{r}, l{r}, t{r};"));
        }
    }
    p.lines(
        "rcp.approx.ftz.f32 c0, l0;
        rcp.approx.ftz.f32 c1, l1;",
    );
    rescale(p, z);
    p.lines(
        "ld.param.u64 o, [o_];
        and.b32 x, tid, 127;
        shr.u32 x, x, 5;
        shl.b32 x, x, 4;
        shr.u32 y, lane, 2;
        add.u32 x, x, y;
        shl.b32 y, group, 6;
        add.u32 x, x, y;
        add.u32 x, x, row;
        mad.lo.u32 x, head, length, x;",
    );
    p.line(format!("mul.wide.u32 at, x, {};", 2 * z.d));
    p.lines(
        "add.u64 o, o, at;
        and.b32 x, lane, 3;
        mul.wide.u32 at, x, 4;
        add.u64 o, o, at;",
    );
    for j in 0..z.d / 8 {
        for r in 0..2 {
            let first = 4 * j + 2 * r;
            p.line(format!("cvt.rn.bf16x2.f32 x, %o{}, %o{};", first + 1, first));
            p.line(format!("st.global.b32 [o+{}], x;", 16 * j + r * 16 * z.d));
        }
    }
    p.lines("DONE:\nret;\n}");
}

/// Heads by rows by columns, in boxes of 64 columns of one head.
fn map(address: u64, heads: usize, rows: usize, z: Shape, box_rows: usize) -> TensorMap {
    TensorMap::new(Spec {
        address,
        dims: &[z.d as u64, rows as u64, heads as u64],
        strides: &[2 * z.d as u64, (2 * z.d * rows) as u64],
        box_dims: &[64, box_rows as u32, 1],
        element_strides: &[1; 3],
        swizzle: Swizzle::B128,
        ..Spec::new(ElementType::Bf16)
    })
    .unwrap()
}

/// `heads` of a batch, each `length` by d; `length` a multiple of 128. Gives where O is.
pub fn launch(z: Shape, heads: usize, length: usize, mut memory: Memory, qkv: [u64; 3]) -> (Launch, u64) {
    let o = memory.reserve("o", heads * length * z.d * 2).unwrap();
    let scale = std::f32::consts::LOG2_E / (z.d as f32).sqrt();
    let params = Params::default()
        .map(&map(qkv[0], heads, length, z, QUERIES))
        .map(&map(qkv[1], heads, length, z, z.keys))
        .map(&map(qkv[2], heads, length, z, z.keys))
        .address(o)
        .u32(length as u32)
        .u32(length.div_ceil(z.keys) as u32)
        .u32(scale.to_bits())
        .bytes();
    let geometry = Geometry {
        grid: [(length / QUERIES) as u32, heads as u32, 1],
        block: [384, 1, 1],
        dynamic_shared: z.shared(),
        ..Geometry::default()
    };
    let operations = if z.causal { 2.0 } else { 4.0 } * heads as f64 * (length * length * z.d) as f64;
    (Launch { ptx: ptx(z), entry: "flash", geometry, memory, params, operations }, o)
}
