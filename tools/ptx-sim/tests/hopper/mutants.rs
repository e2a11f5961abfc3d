//! The hand-written kernels, broken one way at a time: each mutant has to be refuted, with the right class.
//!
//! A mutant is an edit of the kernel's text, a problem at which it shows, and the classes that may refute it: what the
//! simulator finds, or [`Class::Values`], a result that differs from the reference. A broken program may fail in several
//! ways (without a wait, data may be raced for or a barrier used too early), so some mutants list more than one class; a
//! run stops at its first hard fault, and seeds differ in when asynchronous effects come.
//!
//! Some breakages cannot be seen, because the program is still right; they stand in [`EQUIVALENT`] with the reason, and
//! must stay clean.

use crate::support::*;
use ptx_sim::FaultKind::{self, *};

enum Class {
    Kind(FaultKind),
    /// Nothing refuted the run, but the result is wrong.
    Values,
}

struct Mutant {
    name: &'static str,
    /// What is replaced by what; `\x02` before a text: its second occurrence, and so on.
    edits: &'static [(&'static str, &'static str)],
    problem: fn() -> Problem,
    classes: &'static [Class],
}

macro_rules! mutant {
    ($name:literal, $problem:expr, [$($class:tt),+], $($from:literal => $to:literal),+) => {
        Mutant {
            name: $name,
            edits: &[$(($from, $to)),+],
            problem: || $problem,
            classes: &[$(class!($class)),+],
        }
    };
}

macro_rules! class {
    (Values) => {
        Class::Values
    };
    ($kind:ident) => {
        Class::Kind($kind)
    };
}

const GEMM: &str = include_str!("../kernels/gemm_tma.ptx");
const ATTENTION: &str = include_str!("../kernels/attention.ptx");
const CLUSTER: &str = include_str!("../kernels/gemm_cluster.ptx");
const CP_ASYNC: &str = include_str!("../kernels/gemm_cp_async.ptx");
const STREAM: &str = include_str!("../kernels/stream_reduce.ptx");
const SPLIT_K: &str = include_str!("../kernels/split_k.ptx");
const DEVICE_MAP: &str = include_str!("../kernels/device_map.ptx");
const EXCHANGE: &str = include_str!("../kernels/exchange.ptx");

/// Twice round the ring of three stages.
fn long() -> Problem {
    gemm_tma(128, 64, 448)
}

#[rustfmt::skip]
const OF_GEMM: &[Mutant] = &[
    mutant!("barriers are used before they are shown", long(), [MbarrierMisuse, SharedRace],
        "READY:\n    bar.sync 0;" => "READY:"),
    mutant!("barrier in divergent code", long(), [DivergentBarrier, SyncMask],
        "READY:\n    bar.sync 0;" => "    bar.sync 0;\nREADY:"),
    mutant!("full expects one arrival too many", long(), [Deadlock],
        "[fulls], 1;" => "[fulls], 2;"),
    mutant!("empty expects one arrival too many", long(), [Deadlock],
        "[empties+8], 8;" => "[empties+8], 9;"),
    mutant!("empty expects one arrival too few", long(), [SharedRace, MbarrierMisuse],
        "[empties+8], 8;" => "[empties+8], 7;"),
    mutant!("double init, and one barrier without", long(), [MbarrierMisuse],
        "mbarrier.init.shared::cta.b64 [fulls+8], 1;" => "mbarrier.init.shared::cta.b64 [fulls], 1;"),
    mutant!("expect_tx too small", long(), [MbarrierMisuse, Deadlock],
        "_, [bar_full], 24576;" => "_, [bar_full], 24560;"),
    mutant!("expect_tx too large", long(), [Deadlock],
        "_, [bar_full], 24576;" => "_, [bar_full], 24592;"),
    mutant!("expect_tx of A only", long(), [MbarrierMisuse, SharedRace],
        "_, [bar_full], 24576;" => "_, [bar_full], 16384;"),
    mutant!("parity of empty flipped", long(), [Deadlock],
        "xor.b32 x, parity, 1;\nWAIT_EMPTY" => "mov.b32 x, parity;\nWAIT_EMPTY"),
    mutant!("parity of full flipped", long(), [Deadlock, MbarrierMisuse],
        "mov.u32 parity, 0;                   // of the round" => "mov.u32 parity, 0;",
        "setp.eq.u32 speaks, lane, 0;" => "xor.b32 parity, parity, 1;\n    setp.eq.u32 speaks, lane, 0;"),
    mutant!("no wait for empty", long(), [SharedRace],
        "    mbarrier.try_wait.parity.shared::cta.b64 done, [bar_empty], x;\n    @!done bra WAIT_EMPTY;\n" => ""),
    mutant!("no wait for full", long(), [SharedRace],
        "    mbarrier.try_wait.parity.shared::cta.b64 done, [bar_full], parity;\n    @!done bra WAIT_FULL;\n" => ""),
    mutant!("one test instead of a wait", long(), [SharedRace],
        "mbarrier.try_wait.parity.shared::cta.b64 done, [bar_full], parity;\n    @!done bra WAIT_FULL;"
        => "mbarrier.test_wait.parity.shared::cta.b64 done, [bar_full], parity;"),
    mutant!("stages are never released", long(), [Deadlock],
        "    @release mbarrier.arrive.shared::cta.b64 _, [before];\n" => ""),
    mutant!("every lane arrives", long(), [Deadlock],
        "setp.eq.u32 speaks, lane, 0;" => "setp.eq.u32 speaks, lane, lane;"),
    mutant!("no lane arrives", long(), [Deadlock],
        "setp.eq.u32 speaks, lane, 0;" => "setp.eq.u32 speaks, lane, 32;"),
    mutant!("the wrong stage is released", long(), [Deadlock],
        "add.u32 before, empties, offset;" => "mov.u32 before, empties;"),
    mutant!("a stage is released while it is read", long(), [SharedRace],
        "wgmma.wait_group.sync.aligned 1;" => "wgmma.wait_group.sync.aligned 3;"),
    mutant!("accumulators are read early", long(), [AccumulatorRead],
        "    wgmma.wait_group.sync.aligned 0;\n" => ""),
    mutant!("products are never committed", long(), [AccumulatorRead, SharedRace],
        "    wgmma.commit_group.sync.aligned;\n" => ""),
    mutant!("no fence before the first product", long(), [WgmmaFence],
        "    wgmma.fence.sync.aligned;\n" => ""),
    mutant!("the first product adds to nothing", long(), [Undefined],
        "setp.ne.u32 accumulate, tiles, tiles;" => "setp.eq.u32 accumulate, tiles, tiles;"),
    mutant!("one lane multiplies", long(), [DivergentBarrier, WarpgroupMismatch, SyncMask],
        "    wgmma.mma_async" => "    @speaks wgmma.mma_async"),
    mutant!("one warp of the group does not multiply", long(), [WarpgroupMismatch, Deadlock],
        "    wgmma.fence.sync.aligned;\n" => "    wgmma.fence.sync.aligned;\n    setp.lt.u32 p, tid, 160;\n    setp.ge.and.u32 p, tid, 128, p;\n    @p bra SKIP;\n",
        "    setp.eq.u32 accumulate, tiles, tiles;" => "SKIP:\n    setp.eq.u32 accumulate, tiles, tiles;"),
    mutant!("swizzles do not match", long(), [Values, DescriptorIllegal],
        "or.b64 desc_a, desc_a, 0x4000004000010000;" => "or.b64 desc_a, desc_a, 0x8000004000010000;"),
    mutant!("stride of a descriptor is off", long(), [Values, DescriptorIllegal, SharedRace],
        "or.b64 desc_b, desc_b, 0x4000004000010000;" => "or.b64 desc_b, desc_b, 0x4000002000010000;"),
    mutant!("both groups multiply the first half", long(), [Values],
        "    shl.b32 x, group, 13;\n    add.u32 x, base, x;\n    cvt.u64.u32 desc_a, x;" => "    cvt.u64.u32 desc_a, base;"),
    mutant!("stages of A are half as far apart for the reader", long(), [SharedRace, Values],
        "mul.wide.u32 a, stage, 1024;" => "mul.wide.u32 a, stage, 512;"),
    mutant!("A's last stage overlaps B's first", long(), [SharedRace],
        "add.u32 to_b, to_b, 49152;" => "add.u32 to_b, to_b, 40960;"),
    mutant!("a box begins between", long(), [DescriptorIllegal],
        "add.u32 to_b, to_b, 49152;" => "add.u32 to_b, to_b, 49216;"),
    mutant!("a box ends outside", long(), [OutOfBounds],
        "add.u32 to_b, to_b, 49152;" => "add.u32 to_b, to_b, 90112;"),
    mutant!("k runs in steps of 32", long(), [Values],
        "shl.b32 k_first, tile, 6;" => "shl.b32 k_first, tile, 5;"),
    mutant!("the producer's ring has four stages", long(), [MbarrierMisuse, Deadlock, SharedRace],
        "setp.eq.u32 wraps, stage, 3;" => "setp.eq.u32 wraps, stage, 4;"),
    mutant!("the round's parity never changes", long(), [SharedRace, Deadlock],
        "    xor.b32 parity, parity, x;\n" => ""),
    mutant!("one k tile too few", long(), [Values, Lifetime, Deadlock],
        "setp.lt.u32 more, tile, tiles;\n    @more bra MULTIPLY;" => "add.u32 x, tile, 1;\n    setp.lt.u32 more, x, tiles;\n    @more bra MULTIPLY;"),
    mutant!("the epilogue forgets the proxy fence", long(), [ProxyFence],
        "    fence.proxy.async.shared::cta;\n" => ""),
    mutant!("the epilogue forgets the barrier", long(), [SharedRace],
        "    bar.sync x, 128;\n" => ""),
    mutant!("the fence comes after the barrier, by one thread", long(), [ProxyFence],
        "    fence.proxy.async.shared::cta;\n" => "",
        "    bar.sync x, 128;\n" => "    bar.sync x, 128;\n    add.u32 y, tid, 0;\n    setp.eq.u32 p, y, 1024;\n    @p fence.proxy.async.shared::cta;\n"),
    mutant!("a barrier for more threads than come", long(), [Deadlock, BarrierMisuse],
        "bar.sync x, 128;" => "bar.sync x, 160;"),
    mutant!("both groups share one barrier", long(), [SharedRace, BarrierMisuse],
        "add.u32 x, group, 1;\n    bar.sync x, 128;" => "mov.u32 x, 1;\n    bar.sync x, 128;"),
    mutant!("the CTA ends while its tile is stored", long(), [Lifetime],
        "    cp.async.bulk.wait_group.read 0;\n" => ""),
    mutant!("the store is never committed", long(), [Lifetime],
        "    cp.async.bulk.commit_group;\n" => ""),
    mutant!("the epilogue does not swizzle", long(), [Values],
        "shl.b32 chunk, g, 4;" => "mov.u32 chunk, 0;"),
    mutant!("the second half goes too far down", gemm_tma(256, 64, 64), [GlobalRace, Values],
        "shl.b32 low, group, 6;" => "shl.b32 low, group, 7;"),
    mutant!("registers over-subscribed", long(), [Registers, Deadlock],
        "setmaxnreg.inc.sync.aligned.u32 240;" => "setmaxnreg.inc.sync.aligned.u32 248;"),
    mutant!("the producer keeps its registers", long(), [Registers, Deadlock],
        "    setmaxnreg.dec.sync.aligned.u32 24;\n" => ""),
    mutant!("one warp asks for registers", long(), [Registers, Deadlock, WarpgroupMismatch],
        "    setmaxnreg.inc.sync.aligned.u32 240;\n" => "    setp.lt.u32 p, tid, 160;\n    @p bra FEW;\n    setmaxnreg.inc.sync.aligned.u32 240;\nFEW:\n"),
];

fn keys() -> Problem {
    attention(100, 320)
}

#[rustfmt::skip]
const OF_ATTENTION: &[Mutant] = &[
    mutant!("no wgmma.fence before registers are read", keys(), [WgmmaFence],
        "\x02    wgmma.fence.sync.aligned;\n" => ""),
    mutant!("scores are packed before they are there", keys(), [AccumulatorRead],
        "    wgmma.wait_group.sync.aligned 0;\n" => ""),
    mutant!("the output is stored before it is there", keys(), [AccumulatorRead],
        "\x02    wgmma.wait_group.sync.aligned 0;\n" => ""),
    mutant!("a stage is released while values are read", keys(), [SharedRace],
        "    wgmma.wait_group.sync.aligned 1;\n" => ""),
    mutant!("P is packed while the old P is read", keys(), [AccumulatorRead],
        "    wgmma.wait_group.sync.aligned 1;\n" => "    cvt.rn.bf16x2.f32 %p0, 0f00000000, 0f00000000;\n    wgmma.wait_group.sync.aligned 1;\n"),
    mutant!("no wait for Q", keys(), [SharedRace],
        "    mbarrier.try_wait.parity.shared::cta.b64 done, [q_bar], 0;\n    @!done bra WAIT_Q;\n" => ""),
    mutant!("no wait for V", keys(), [SharedRace],
        "WAIT_V:\n    mbarrier.try_wait.parity.shared::cta.b64 done, [bar], parity;\n    @!done bra WAIT_V;\n" => ""),
    mutant!("V's wait asks K's barrier", keys(), [SharedRace],
        "\x02add.u32 bar, v_bars, offset;" => "add.u32 bar, k_bars, offset;"),
    mutant!("K signals V's barrier", keys(), [Deadlock, MbarrierMisuse, SharedRace],
        "add.u32 bar, k_bars, offset;" => "add.u32 bar, v_bars, offset;"),
    mutant!("Q's barrier expects twice the bytes", keys(), [Deadlock],
        "_, [q_bar], 8192;" => "_, [q_bar], 16384;"),
    mutant!("three warps release a stage", keys(), [SharedRace, MbarrierMisuse],
        "[empties], 4;" => "[empties], 3;"),
    mutant!("V is not read transposed", keys(), [Values],
        "desc_v, first, 1, 1, 1;" => "desc_v, first, 1, 1, 0;"),
    mutant!("a step of 16 keys is 1024 bytes", keys(), [Values],
        "add.u64 desc_v, desc_v, 128;" => "add.u64 desc_v, desc_v, 64;"),
    mutant!("a pair of scores changes places", keys(), [Values],
        "cvt.rn.bf16x2.f32 %p0, %s1, %s0;" => "cvt.rn.bf16x2.f32 %p0, %s0, %s1;"),
    mutant!("the output adds to nothing", keys(), [Undefined],
        "setp.ne.u32 first, tile, 0;" => "setp.eq.u32 first, tile, tile;"),
    mutant!("every tile begins at zero", keys(), [Values],
        "setp.ne.u32 first, tile, 0;" => "setp.ne.u32 first, tile, tile;"),
    mutant!("one query too many", keys(), [OutOfBounds],
        "setp.lt.u32 p, row, queries;" => "setp.le.u32 p, row, queries;"),
    mutant!("the lower rows are stored unasked", keys(), [OutOfBounds],
        "setp.lt.u32 first, row, queries;" => "setp.eq.u32 first, row, row;"),
    mutant!("V's second stage lies in K's", keys(), [SharedRace, Values],
        "[x+24576]" => "[x+16384]"),
];

fn pair() -> Problem {
    gemm_cluster(128, 64, 448)
}

#[rustfmt::skip]
const OF_CLUSTER: &[Mutant] = &[
    mutant!("only the CTA waits for its barriers", pair(), [MbarrierMisuse, SharedRace],
        "READY:\n    barrier.cluster.arrive.release;\n    barrier.cluster.wait.acquire;" => "READY:\n    bar.sync 0;"),
    mutant!("the cluster barrier at the start is relaxed", pair(), [MbarrierMisuse, SharedRace],
        "    fence.mbarrier_init.release.cluster;\nREADY:\n    barrier.cluster.arrive.release;" => "READY:\n    barrier.cluster.arrive.relaxed;"),
    mutant!("a CTA ends before the other is done with it", pair(), [Lifetime],
        "DONE:\n    barrier.cluster.arrive.release;\n    barrier.cluster.wait.acquire;" => "DONE:"),
    mutant!("an arrive without its wait", pair(), [BarrierMisuse, Lifetime],
        "\x02    barrier.cluster.wait.acquire;\n" => ""),
    mutant!("multicast to the first CTA only", pair(), [Deadlock],
        "mov.u16 both, 3;" => "mov.u16 both, 1;"),
    mutant!("multicast to nobody", pair(), [DescriptorIllegal],
        "mov.u16 both, 3;" => "mov.u16 both, 0;"),
    mutant!("multicast beyond the cluster", pair(), [DescriptorIllegal, OutOfBounds],
        "mov.u16 both, 3;" => "mov.u16 both, 7;"),
    mutant!("only the first CTA hears of free stages", pair(), [Deadlock],
        "setp.lt.u32 speaks, lane, 2;" => "setp.lt.u32 speaks, lane, 1;"),
    mutant!("a third CTA is told", pair(), [OutOfBounds, MbarrierMisuse],
        "setp.lt.u32 speaks, lane, 2;" => "setp.lt.u32 speaks, lane, 3;"),
    mutant!("the other CTA's warps are not counted", pair(), [SharedRace, MbarrierMisuse],
        "[empties], 8;" => "[empties], 4;"),
    mutant!("remote arrives order nothing", pair(), [SharedRace],
        "mbarrier.arrive.release.cluster" => "mbarrier.arrive.relaxed.cluster"),
    mutant!("the producer waits without order", pair(), [SharedRace],
        "mbarrier.try_wait.parity.acquire.cluster" => "mbarrier.try_wait.parity.relaxed.cluster"),
    mutant!("halves of B overlap", pair(), [SharedRace],
        "shl.b32 x, rank, 12;" => "shl.b32 x, rank, 11;"),
    mutant!("both CTAs load the same half of B", pair(), [Values],
        "shl.b32 row_b, rank, 5;" => "mov.u32 row_b, 0;"),
    mutant!("the other's bytes are not expected", pair(), [MbarrierMisuse, SharedRace],
        "_, [bar_full], 16384;" => "_, [bar_full], 12288;"),
    mutant!("a stage is released while it is multiplied", pair(), [SharedRace],
        "    wgmma.wait_group.sync.aligned 0;\n" => "    wgmma.wait_group.sync.aligned 1;\n"),
    mutant!("rows beyond m are stored", gemm_cluster(70, 50, 136), [OutOfBounds],
        "setp.lt.u32 upper, row, m;" => "setp.le.u32 upper, row, m;"),
];

fn stages() -> Problem {
    gemm_cp_async(50, 33, 264)
}

#[rustfmt::skip]
const OF_CP_ASYNC: &[Mutant] = &[
    mutant!("a stage is read one round early", stages(), [SharedRace, Values],
        "cp.async.wait_group 2;" => "cp.async.wait_group 3;"),
    mutant!("no wait at all", stages(), [SharedRace, Values],
        "    cp.async.wait_group 2;\n" => ""),
    mutant!("no barrier after the wait", stages(), [SharedRace],
        "    bar.sync 0;\n" => ""),
    mutant!("the barrier comes before the wait", stages(), [SharedRace],
        "    cp.async.wait_group 2;\n    bar.sync 0;\n" => "    bar.sync 0;\n    cp.async.wait_group 2;\n"),
    mutant!("rounds are not committed", stages(), [SharedRace, Values],
        "\x02    cp.async.commit_group;\n" => ""),
    mutant!("B of a stage overlaps its A", stages(), [SharedRace],
        "\x02[at_b+5120]" => "[at_b+2640]"),
    mutant!("a stage ends outside", stages(), [OutOfBounds],
        "\x02add.u32 filled, filled, 10240;" => "add.u32 filled, filled, 5120;"),
    mutant!("the ring of the readers has three stages", stages(), [SharedRace, Values],
        "setp.eq.u32 p, used, 40960;" => "setp.eq.u32 p, used, 30720;"),
    mutant!("too little shared memory", stages(), [OutOfBounds],
        "stages[40960]" => "stages[40928]"),
    mutant!("columns of k outside are not zero", stages(), [Values],
        "\x05selp.b32 size, 16, 0, q;" => "mov.u32 size, 16;", "\x06selp.b32 size, 16, 0, q;" => "mov.u32 size, 16;"),
    mutant!("rows outside are copied", stages(), [OutOfBounds],
        "\x02setp.lt.and.u32 q, y, m, inside;" => "setp.le.and.u32 q, y, m, inside;"),
    mutant!("a pad is forgotten", stages(), [Values, Undefined],
        "mul.lo.u32 from_a, x, 80;" => "mul.lo.u32 from_a, x, 64;"),
    mutant!("halves of k change places", stages(), [Values],
        "shr.u32 x, lane, 3;" => "shr.u32 x, lane, 2;"),
    mutant!("the source of a copy is misaligned", stages(), [Misaligned, DescriptorIllegal],
        "shl.b32 chunk, chunk, 3;" => "shl.b32 chunk, chunk, 2;"),
    mutant!("one row too many is stored", gemm_cp_async(56, 64, 32), [OutOfBounds],
        "setp.lt.u32 lower, x, m;" => "setp.le.u32 lower, x, m;"),
    mutant!("one column too many is stored", stages(), [GlobalRace, OutOfBounds, LaneConflict, Values],
        "\x05setp.lt.u32 right, x, n;" => "setp.le.u32 right, x, n;"),
];

fn pieces() -> Problem {
    stream_reduce(3, 1028)
}

#[rustfmt::skip]
const OF_STREAM: &[Mutant] = &[
    mutant!("a barrier is asked before it is there", pieces(), [MbarrierMisuse, SharedRace],
        "WAIT_INIT:\n    bar.sync 0;" => "WAIT_INIT:\n"),
    mutant!("no wait for the bytes", pieces(), [SharedRace],
        "    mbarrier.try_wait.parity.shared::cta.b64 done, [bar], 0;\n    @!done bra WAIT;\n" => ""),
    mutant!("the other parity", pieces(), [SharedRace],
        "done, [bar], 0;" => "done, [bar], 1;"),
    mutant!("the wait orders nothing", pieces(), [SharedRace],
        "mbarrier.try_wait.parity.shared::cta" => "mbarrier.try_wait.parity.relaxed.cta.shared::cta"),
    mutant!("more bytes expected than come", pieces(), [Deadlock],
        "_, [bar], bytes;" => "_, [bar], 4112;"),
    mutant!("no fence before the engine reads", pieces(), [ProxyFence],
        "    fence.proxy.async.shared::cta;\n" => ""),
    mutant!("the fence is for global memory", pieces(), [ProxyFence],
        "fence.proxy.async.shared::cta;" => "fence.proxy.async.global;"),
    mutant!("no barrier before the engine reads", pieces(), [SharedRace],
        "    bar.sync 0;\n" => ""),
    mutant!("the CTA ends too early", pieces(), [Lifetime],
        "    cp.async.bulk.wait_group.read 0;\n" => ""),
    mutant!("rows overwrite each other", pieces(), [GlobalRace],
        "cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32" => "cp.async.bulk.global.shared::cta.bulk_group"),
    mutant!("the last piece is as long as the others", pieces(), [OutOfBounds],
        "    min.u32 count, count, 1024;\n" => "    mov.u32 count, 1024;\n"),
    mutant!("a size that is no multiple of 16", pieces(), [DescriptorIllegal],
        "shl.b32 bytes, count, 2;" => "shl.b32 bytes, count, 2;\n    sub.u32 bytes, bytes, 4;"),
    mutant!("the engine adds integers", pieces(), [Values],
        "bulk_group.add.f32" => "bulk_group.add.u32"),
];

fn turns() -> Problem {
    split_k(10, 300, 3)
}

#[rustfmt::skip]
const OF_SPLIT_K: &[Mutant] = &[
    mutant!("the acquire is relaxed", turns(), [GlobalRace],
        "ld.acquire.gpu" => "ld.relaxed.gpu"),
    mutant!("the release is relaxed", turns(), [GlobalRace],
        "st.release.gpu" => "st.relaxed.gpu"),
    mutant!("the acquire is for the CTA only", turns(), [GlobalRace],
        "ld.acquire.gpu" => "ld.acquire.cta"),
    mutant!("the release is for the CTA only", turns(), [GlobalRace],
        "st.release.gpu" => "st.release.cta"),
    mutant!("no barrier after the acquire", turns(), [GlobalRace],
        "WAITED:\n    bar.sync 0;" => "WAITED:\n"),
    mutant!("no barrier before the release", turns(), [GlobalRace],
        "ADDED:\n    bar.sync 0;" => "ADDED:\n"),
    mutant!("nobody waits for its turn", turns(), [GlobalRace],
        "    setp.ne.u32 p, turn, piece;\n    @p bra WAIT;\n" => ""),
    mutant!("a turn is skipped", turns(), [Deadlock],
        "add.u32 next, piece, 1;" => "add.u32 next, piece, 2;"),
    mutant!("the turn goes backwards", turns(), [Deadlock],
        "setp.ne.u32 p, turn, piece;" => "add.u32 next, piece, 1;\n    setp.ne.u32 p, turn, next;"),
    mutant!("all wait on one semaphore", turns(), [Deadlock, GlobalRace, Values],
        "mul.wide.u32 at, block, 4;" => "mov.u64 at, 0;"),
    mutant!("one column too many", turns(), [OutOfBounds],
        "setp.ge.u32 outside, column, columns;" => "setp.gt.u32 outside, column, columns;"),
];

fn boxes() -> Problem {
    device_map(20, 100)
}

#[rustfmt::skip]
const OF_DEVICE_MAP: &[Mutant] = &[
    mutant!("one lane fills what others have just cleared", boxes(), [LaneOrder],
        "bar.warp.sync -1;\n    setp.ne.u32 p, tid, 0;\n    @p bra BUILT;" => "setp.ne.u32 p, tid, 0;\n    @p bra BUILT;"),
    mutant!("the map has one dimension", boxes(), [DescriptorIllegal],
        "rank.shared::cta.b1024.b32 [here], 1;" => "rank.shared::cta.b1024.b32 [here], 0;"),
    mutant!("rank six", boxes(), [DescriptorIllegal],
        "rank.shared::cta.b1024.b32 [here], 1;" => "rank.shared::cta.b1024.b32 [here], 5;"),
    mutant!("elements of two bytes", boxes(), [Deadlock],
        "[here], 7;" => "[here], 10;"),
    mutant!("a taller box", boxes(), [Deadlock],
        "[here], 1, 8;" => "[here], 1, 9;"),
    mutant!("a box wider than its swizzle", boxes(), [DescriptorIllegal],
        "swizzle_mode.shared::cta.b1024.b32 [here], 0;" => "swizzle_mode.shared::cta.b1024.b32 [here], 2;"),
    mutant!("a swizzle that the reader does not know of", boxes(), [Values],
        "swizzle_mode.shared::cta.b1024.b32 [here], 0;" => "swizzle_mode.shared::cta.b1024.b32 [here], 3;"),
    mutant!("one row too many is read", boxes(), [OutOfBounds],
        "[here], 1, rows;" => "[here], 1, 21;"),
    mutant!("rows are taken closer together", boxes(), [Values],
        "[here], 0, pitch;" => "[here], 0, 384;"),
    mutant!("a stride that is no multiple of 16", boxes(), [DescriptorIllegal],
        "[here], 0, pitch;" => "[here], 0, 404;"),
    mutant!("the map is never copied", boxes(), [DescriptorIllegal],
        "    tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.sync.aligned [map], [here], 128;\n" => ""),
    mutant!("one lane copies the map", boxes(), [DivergentBarrier, SyncMask],
        "    tensormap.cp_fenceproxy" => "    setp.eq.u32 q, tid, 0;\n    @q tensormap.cp_fenceproxy"),
    mutant!("the map is used without a fence", boxes(), [ProxyFence],
        "    fence.proxy.tensormap::generic.acquire.gpu [map], 128;\n" => ""),
    mutant!("the map is made of undefined bytes", boxes(), [Undefined],
        "    st.shared.b32 [a], 0;\n" => ""),
    mutant!("coordinates change places", boxes(), [Values],
        "{x0, y0}" => "{y0, x0}"),
];

#[rustfmt::skip]
const OF_EXCHANGE: &[Mutant] = &[
    mutant!("the arrival of the copies is one too many", exchange(), [Deadlock],
        "cp.async.mbarrier.arrive.noinc" => "cp.async.mbarrier.arrive"),
    mutant!("copies do not arrive", exchange(), [Deadlock],
        "    cp.async.mbarrier.arrive.noinc.shared::cta.b64 [copied];\n" => ""),
    mutant!("threads arrive, not their copies", exchange(), [SharedRace],
        "cp.async.mbarrier.arrive.noinc.shared::cta.b64 [copied];" => "mbarrier.arrive.shared::cta.b64 _, [copied];"),
    mutant!("nobody waits for the copies", exchange(), [SharedRace, Undefined],
        "    mbarrier.try_wait.parity.shared::cta.b64 done, [copied], 0;\n    @!done bra WAIT_COPIED;\n" => ""),
    mutant!("nobody waits for the other CTA", exchange(), [SharedRace],
        "    mbarrier.try_wait.parity.shared::cta.b64 done, [received], 0;\n    @!done bra WAIT_RECEIVED;\n" => ""),
    mutant!("only the sums are expected", exchange(), [SharedRace, MbarrierMisuse],
        "_, [received], 1024;" => "_, [received], 512;"),
    mutant!("more is expected than comes", exchange(), [Deadlock],
        "_, [received], 1024;" => "_, [received], 1028;"),
    mutant!("the sum stays at home", exchange(), [DescriptorIllegal, Deadlock, SharedRace],
        "mapa.shared::cluster.u32 there, to, other;" => "mapa.shared::cluster.u32 there, to, rank;"),
    mutant!("a rank that is not there", exchange(), [OutOfBounds],
        "xor.b32 other, rank, 1;" => "add.u32 other, rank, 1;"),
    mutant!("the CTAs do not wait for each other", exchange(), [MbarrierMisuse, SharedRace, Lifetime],
        "    barrier.cluster.arrive.release.aligned;\n    barrier.cluster.wait.acquire.aligned;\n" => "    bar.sync 0;\n"),
    mutant!("the counter does not begin at zero", exchange(), [Undefined, Values],
        "    st.shared.u32 [positives], 0;\n" => ""),
    mutant!("positives are stored, not added", exchange(), [SharedRace],
        "red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes.add.u32" => "st.async.shared::cluster.mbarrier::complete_tx::bytes.u32"),
    mutant!("the total is stored, not added", exchange(), [GlobalRace],
        "red.global.add.u32 [y], count;" => "st.global.u32 [y], count;"),
    mutant!("half of the copies", exchange(), [Undefined],
        "setp.lt.u32 p, i, 16;" => "setp.lt.u32 p, i, 8;"),
];

/// Kernel, problem, and what is replaced by what.
type Equivalent = (&'static str, &'static str, fn() -> Problem, &'static str, &'static str);

/// Edits that leave the program right (or, once, tolerated), and why.
#[rustfmt::skip]
const EQUIVALENT: &[Equivalent] = &[
    // One round of one tile: no stage is used twice, so nobody waits for its release.
    ("gemm: nothing is released in one round", GEMM, || gemm_tma(128, 64, 128),
        "    @release mbarrier.arrive.shared::cta.b64 _, [before];\n", ""),
    // A descriptor whose rows are as wide as the swizzle does not use its leading offset.
    ("gemm: leading offset", GEMM, long, "or.b64 desc_a, desc_a, 0x4000004000010000;",
        "or.b64 desc_a, desc_a, 0x4000004000000000;"),
    // The prefetch of a tensor map changes no value.
    ("gemm: no prefetch", GEMM, long, "    prefetch.tensormap [map];\n", ""),
    // By the letter a remote arrive of scope .cta orders nothing; but .cta is what no word means, and working code writes
    // none. Until NVIDIA says otherwise this is not held against anybody.
    ("cluster: remote arrives of the default scope", CLUSTER, pair,
        "mbarrier.arrive.release.cluster.shared::cluster", "mbarrier.arrive.shared::cluster"),
    // With one piece nobody waits, so nothing needs to be released.
    ("split-k: one piece needs no release", SPLIT_K, || split_k(10, 300, 1), "st.release.gpu", "st.relaxed.gpu"),
];

/// The text with one edit made; it has to be there, outside of comments.
fn edit(ptx: &str, from: &str, to: &str) -> String {
    let (nth, from) = match from.as_bytes().first() {
        Some(n @ 2..=8) => (*n as usize, &from[1..]),
        _ => (1, from),
    };
    let in_code = |at: usize| !ptx[..at].rsplit('\n').next().unwrap_or_default().contains("//");
    let mut matches = ptx.match_indices(from).filter(|(at, _)| in_code(*at));
    let (at, found) = matches.nth(nth - 1).unwrap_or_else(|| panic!("`{from}` is not there"));
    format!("{}{to}{}", &ptx[..at], &ptx[at + found.len()..])
}

fn fits(class: &Class, outcome: &Outcome) -> bool {
    match class {
        Class::Kind(kind) => outcome.findings.iter().any(|(k, _)| k == kind),
        Class::Values => outcome.findings.is_empty() && outcome.right == Some(false),
    }
}

/// Some seed has to do: asynchronous effects come late, at once, or at random.
const SEEDS: std::ops::Range<u64> = 0..4;

fn all_refuted(ptx: &str, mutants: &[Mutant]) {
    let mut missed = vec![];
    for m in mutants {
        let text = m.edits.iter().fold(ptx.to_string(), |t, (from, to)| edit(&t, from, to));
        let mut seen = vec![];
        let found = SEEDS.into_iter().any(|seed| {
            let outcome = (m.problem)().run(&text, true, seed);
            let fits = m.classes.iter().any(|c| fits(c, &outcome));
            seen.push(format!("        {outcome:?}"));
            fits
        });
        if !found {
            missed.push(format!("    {}\n{}", m.name, seen.join("\n")));
        }
    }
    assert!(missed.is_empty(), "{} of {} not refuted:\n{}", missed.len(), mutants.len(), missed.join("\n"));
}

#[test]
fn of_the_matrix_product() {
    all_refuted(GEMM, OF_GEMM);
}

#[test]
fn of_attention() {
    all_refuted(ATTENTION, OF_ATTENTION);
}

#[test]
fn of_the_cluster() {
    all_refuted(CLUSTER, OF_CLUSTER);
}

#[test]
fn of_cp_async() {
    all_refuted(CP_ASYNC, OF_CP_ASYNC);
}

#[test]
fn of_bulk_copies() {
    all_refuted(STREAM, OF_STREAM);
}

#[test]
fn of_the_semaphore() {
    all_refuted(SPLIT_K, OF_SPLIT_K);
}

#[test]
fn of_maps_made_on_the_device() {
    all_refuted(DEVICE_MAP, OF_DEVICE_MAP);
}

#[test]
fn of_the_exchange() {
    all_refuted(EXCHANGE, OF_EXCHANGE);
}

#[test]
fn equivalent_mutants_stay_clean() {
    for (name, ptx, problem, from, to) in EQUIVALENT {
        let text = edit(ptx, from, to);
        for seed in SEEDS {
            let outcome = problem().run(&text, true, seed);
            assert!(outcome.clean(), "{name}, seed {seed}: {outcome:#?}");
        }
    }
}

/// What working code does against the letter, or what changes nothing but speed, is noted.
#[test]
fn what_is_noted_only() {
    let text = edit(GEMM, ".minnctapersm 1 ", " ");
    let outcome = long().run(&text, true, 0);
    assert!(outcome.findings.is_empty() && outcome.right == Some(true), "{outcome:#?}");
    assert!(outcome.notes.iter().any(|n| n.contains("C7508")), "{:#?}", outcome.notes);
}
