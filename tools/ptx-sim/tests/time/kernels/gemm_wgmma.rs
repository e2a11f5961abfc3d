//! C = A·Bᵀ in bf16 as cuBLAS and CUTLASS have it on Hopper: tiles of 128 × 256 × 64, a producer warp with the copy
//! engine, two consumer warpgroups with a tile of 64 × 256 each, four stages, clusters of two that share B by multicast.
//!
//! The product of one stage is waited for when that of the next is under way, and its stage given back to both CTAs then.

use super::{Launch, Ptx, list};
use crate::support::{Params, bf16_map};
use ptx_sim::{Geometry, memory::Memory};

const STAGES: usize = 4;
const A_BYTES: usize = 128 * 64 * 2;
const B_BYTES: usize = 256 * 64 * 2;

pub fn ptx() -> String {
    let mut p = Ptx::new("sm_90a");
    p.lines(
        ".extern .shared .align 1024 .b8 smem[];
        .visible .entry gemm(.param .align 64 .b8 map_a[128], .param .align 64 .b8 map_b[128], .param .u64 c_,
            .param .u32 n_, .param .u32 k_tiles)
        .reqntid 384, 1, 1
        .minnctapersm 1
        .explicitcluster
        .reqnctapercluster 2, 1, 1
        {
        .shared .align 8 .b64 full[4];
        .shared .align 8 .b64 empty[4];
        .reg .pred p, done, more, wraps, speaks, acc, release;
        .reg .b32 tid, lane, group, rank, tiles, fulls, empties, base, row0, column0, tile, stage, parity, offset, bar, x, y;
        .reg .b32 to_a, to_b, k_first, row_b, remote, before, n, column, w<2>;
        .reg .b16 both;
        .reg .b64 map, map2, da, db, a, b, da_k, db_k, c, row, step;
        .reg .f32 %d<128>;
        mov.u32 tid, %tid.x;
        and.b32 lane, tid, 31;
        shr.u32 group, tid, 7;
        mov.u32 rank, %cluster_ctarank;
        ld.param.u32 tiles, [k_tiles];
        mov.u32 fulls, full;
        mov.u32 empties, empty;
        mov.u32 base, smem;
        mov.u32 row0, %ctaid.x;
        shl.b32 row0, row0, 7;
        mov.u32 column0, %ctaid.y;
        shl.b32 column0, column0, 8;
        setp.ne.u32 p, tid, 0;
        @p bra READY;",
    );
    for s in 0..STAGES {
        p.line(format!("mbarrier.init.shared::cta.b64 [fulls+{}], 1;", 8 * s));
        p.line(format!("mbarrier.init.shared::cta.b64 [empties+{}], 16;", 8 * s));
    }
    p.lines(
        "fence.mbarrier_init.release.cluster;
        READY:
        barrier.cluster.arrive.release.aligned;
        barrier.cluster.wait.acquire.aligned;
        mov.u32 tile, 0;
        mov.u32 stage, 0;
        mov.u32 parity, 0;
        setp.ne.u32 p, group, 0;
        @p bra CONSUMER;
        setmaxnreg.dec.sync.aligned.u32 24;
        setp.ne.u32 p, tid, 0;
        @p bra DONE;
        mov.b64 map, map_a;
        cvta.param.u64 map, map;
        mov.b64 map2, map_b;
        cvta.param.u64 map2, map2;
        mov.u16 both, 3;
        shl.b32 row_b, rank, 7;
        add.u32 row_b, column0, row_b;
        LOAD:
        shl.b32 offset, stage, 3;
        add.u32 bar, empties, offset;
        xor.b32 x, parity, 1;
        WAIT_EMPTY:
        mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 done, [bar], x;
        @!done bra WAIT_EMPTY;
        add.u32 bar, fulls, offset;",
    );
    p.line(format!("mbarrier.arrive.expect_tx.shared::cta.b64 _, [bar], {};", A_BYTES + B_BYTES));
    p.line(format!("mul.lo.u32 to_a, stage, {A_BYTES};"));
    p.line("add.u32 to_a, base, to_a;");
    p.line(format!("mul.lo.u32 to_b, stage, {B_BYTES};"));
    p.line("add.u32 to_b, base, to_b;");
    p.line(format!("mad.lo.u32 to_b, rank, {}, to_b;", B_BYTES / 2));
    p.line(format!("add.u32 to_b, to_b, {};", STAGES * A_BYTES));
    p.lines(
        "shl.b32 k_first, tile, 6;
        cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes
            [to_a], [map, {k_first, row0}], [bar];
        cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster
            [to_b], [map2, {k_first, row_b}], [bar], both;",
    );
    next_stage(&mut p);
    p.lines(
        "@more bra LOAD;
        bra DONE;
        CONSUMER:
        setmaxnreg.inc.sync.aligned.u32 240;
        sub.u32 group, group, 1;
        shl.b32 x, group, 13;
        add.u32 x, base, x;
        cvt.u64.u32 da, x;
        shr.u64 da, da, 4;
        or.b64 da, da, 0x4000004000010000;",
    );
    p.line(format!("add.u32 x, base, {};", STAGES * A_BYTES));
    p.lines(
        "cvt.u64.u32 db, x;
        shr.u64 db, db, 4;
        or.b64 db, db, 0x4000004000010000;
        setp.lt.u32 speaks, lane, 2;
        setp.ne.u32 acc, tiles, tiles;
        mov.u32 before, 0;
        MULTIPLY:
        shl.b32 offset, stage, 3;
        add.u32 bar, fulls, offset;
        WAIT_FULL:
        mbarrier.try_wait.parity.shared::cta.b64 done, [bar], parity;
        @!done bra WAIT_FULL;",
    );
    p.line(format!("mul.wide.u32 a, stage, {};", A_BYTES / 16));
    p.line("add.u64 a, da, a;");
    p.line(format!("mul.wide.u32 b, stage, {};", B_BYTES / 16));
    p.line("add.u64 b, db, b;");
    p.line("wgmma.fence.sync.aligned;");
    for k in 0..4 {
        p.line(format!("add.u64 da_k, a, {};", 2 * k));
        p.line(format!("add.u64 db_k, b, {};", 2 * k));
        let d = list("d", 0..128);
        p.line(format!(
            "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {d}, da_k, db_k, acc, 1, 1, 0, 0;"
        ));
        if k == 0 {
            p.line("setp.eq.u32 acc, tiles, tiles;");
        }
    }
    p.lines(
        "wgmma.commit_group.sync.aligned;
        wgmma.wait_group.sync.aligned 1;
        setp.ne.and.u32 release, before, 0, speaks;
        @release mapa.shared::cluster.u32 remote, before, lane;
        @release mbarrier.arrive.release.cluster.shared::cluster.b64 _, [remote];
        add.u32 before, empties, offset;",
    );
    next_stage(&mut p);
    p.lines(
        "@more bra MULTIPLY;
        wgmma.wait_group.sync.aligned 0;
        @speaks mapa.shared::cluster.u32 remote, before, lane;
        @speaks mbarrier.arrive.release.cluster.shared::cluster.b64 _, [remote];
        ld.param.u64 c, [c_];
        ld.param.u32 n, [n_];
        and.b32 x, tid, 127;
        shr.u32 x, x, 5;
        shl.b32 x, x, 4;
        shr.u32 y, lane, 2;
        add.u32 x, x, y;
        shl.b32 y, group, 6;
        add.u32 x, x, y;
        add.u32 x, x, row0;
        and.b32 column, lane, 3;
        shl.b32 column, column, 1;
        add.u32 column, column, column0;
        mul.wide.u32 row, x, n;
        cvt.u64.u32 step, column;
        add.u64 row, row, step;
        shl.b64 row, row, 1;
        add.u64 row, c, row;
        mul.wide.u32 step, n, 16;
        add.u64 step, row, step;",
    );
    for j in 0..32 {
        let d = 4 * j;
        p.line(format!("cvt.rn.bf16x2.f32 w0, %d{}, %d{};", d + 1, d));
        p.line(format!("cvt.rn.bf16x2.f32 w1, %d{}, %d{};", d + 3, d + 2));
        p.line(format!("st.global.b32 [row+{}], w0;", 16 * j));
        p.line(format!("st.global.b32 [step+{}], w1;", 16 * j));
    }
    p.lines(
        "DONE:
        barrier.cluster.arrive.release;
        barrier.cluster.wait.acquire;
        ret;
        }",
    );
    p.0
}

fn next_stage(p: &mut Ptx) {
    p.line("add.u32 stage, stage, 1;");
    p.line(format!("setp.eq.u32 wraps, stage, {STAGES};"));
    p.lines(
        "selp.b32 stage, 0, stage, wraps;
        selp.b32 x, 1, 0, wraps;
        xor.b32 parity, parity, x;
        add.u32 tile, tile, 1;
        setp.lt.u32 more, tile, tiles;",
    );
}

/// C in bf16 from operands that are filled by the caller; m a multiple of 256, n of 256, k of 64.
pub fn launch(m: usize, n: usize, k: usize, mut memory: Memory, a: u64, b: u64) -> (Launch, u64) {
    let c = memory.reserve("c", m * n * 2).unwrap();
    let params = Params::default()
        .map(&bf16_map(a, m, k, 128))
        .map(&bf16_map(b, n, k, 128))
        .address(c)
        .u32(n as u32)
        .u32(k.div_ceil(64) as u32)
        .bytes();
    let geometry = Geometry {
        grid: [m as u32 / 128, n as u32 / 256, 1],
        block: [384, 1, 1],
        cluster: [2, 1, 1],
        dynamic_shared: STAGES * (A_BYTES + B_BYTES) + 1024,
        ..Geometry::default()
    };
    let operations = 2.0 * m as f64 * n as f64 * k as f64;
    (Launch { ptx: ptx(), entry: "gemm", geometry, memory, params, operations }, c)
}
