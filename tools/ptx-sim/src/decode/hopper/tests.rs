//! Each form as the ISA writes it, and the ways to get it wrong.

use crate::{decode, ir::*, read};

fn decode_one(instruction: &str) -> Result<Op, read::ReadError> {
    let text = format!(
        ".version 8.6\n.target sm_90a\n.address_size 64\n
        .visible .entry k(.param .align 64 .b8 map[128]) {{
            .shared .align 8 .b8 bars[64];
            .reg .pred %p<3>; .reg .b16 %rs<4>; .reg .b32 %r<20>; .reg .b64 %rd<10>; .reg .f32 %f<200>;
            {instruction}
        }}"
    );
    let kernel = decode::kernel(&read::parse(&text)?, "k")?;
    Ok(kernel.code[0].op.clone())
}

fn hopper(instruction: &str) -> HopperOp {
    match decode_one(instruction) {
        Ok(Op::Hopper(op)) => *op,
        other => panic!("{instruction}: {other:?}"),
    }
}

fn barrier(instruction: &str) -> Mbarrier {
    match hopper(instruction) {
        HopperOp::Mbarrier(m) => m,
        other => panic!("{instruction}: {other:?}"),
    }
}

fn bulk(instruction: &str) -> Bulk {
    match hopper(instruction) {
        HopperOp::Bulk(b) => b,
        other => panic!("{instruction}: {other:?}"),
    }
}

#[track_caller]
fn refused(instruction: &str, why: &str) {
    let error = decode_one(instruction).map(|op| format!("{op:?}")).unwrap_err();
    assert!(error.message.contains(why), "{instruction}: {error}");
}

#[test]
fn mbarriers_in_every_spelling() {
    for space in ["", ".shared", ".shared::cta"] {
        assert!(
            matches!(barrier(&format!("mbarrier.init{space}.b64 [%r1+8], 3;")), Mbarrier::Init { bar, .. } if bar.offset == 8)
        );
        assert!(matches!(
            barrier(&format!("mbarrier.inval{space}.b64 [bars];")),
            Mbarrier::Invalidate { .. }
        ));
        let with_state = barrier(&format!("mbarrier.arrive{space}.b64 %rd1, [%r1];"));
        assert!(matches!(with_state, Mbarrier::Arrive { state: Some(_), count: None, cluster: false, .. }));
    }
    let remote = barrier("mbarrier.arrive.expect_tx.release.cluster.shared::cluster.b64 _, [%r1], %r2;");
    let Mbarrier::Arrive { cluster: true, state: None, count: None, expect_tx: Some(_), order, .. } = remote
    else {
        panic!("{remote:?}")
    };
    assert_eq!(order, Order { semantics: Semantics::Release, scope: Scope::Cluster });
    let relaxed = barrier("mbarrier.arrive.relaxed.cta.shared::cta.b64 _, [%r1], 2;");
    assert!(matches!(relaxed, Mbarrier::Arrive { count: Some(_), order, .. } if !order.releases()));
    let drop = barrier("mbarrier.arrive_drop.expect_tx.shared.b64 _, [%r1], 16;");
    assert!(matches!(drop, Mbarrier::Arrive { drop: true, expect_tx: Some(_), .. }));
    let incomplete = barrier("mbarrier.arrive.noComplete.shared.b64 %rd1, [%r1], 4;");
    assert!(matches!(incomplete, Mbarrier::Arrive { no_complete: true, count: Some(_), .. }));
    let expect = barrier("mbarrier.expect_tx.relaxed.cluster.shared::cluster.b64 [%r1], %r2;");
    assert!(matches!(expect, Mbarrier::ExpectTx { cluster: true, .. }));
    assert!(matches!(
        barrier("mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [%r1], 64;"),
        Mbarrier::CompleteTx { cluster: false, .. }
    ));
    assert!(matches!(barrier("mbarrier.pending_count.b64 %r1, %rd1;"), Mbarrier::PendingCount { .. }));
    assert!(matches!(
        barrier("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%r1];"),
        Mbarrier::CopyAsyncArrive { noinc: true, .. }
    ));
}

#[test]
fn waits_by_state_and_by_parity() {
    let parity = barrier("mbarrier.try_wait.parity.shared::cta.b64 %p1, [%r1], %r2, 0x989680;");
    let Mbarrier::Test { token: Token::Parity(_), may_suspend: true, order, .. } = parity else {
        panic!("{parity:?}")
    };
    assert_eq!(order, Order { semantics: Semantics::Acquire, scope: Scope::Cta });
    let state = barrier("mbarrier.test_wait.acquire.cluster.shared.b64 %p1, [%r1], %rd2;");
    assert!(matches!(state, Mbarrier::Test { token: Token::State(_), may_suspend: false, order, .. }
        if order.scope == Scope::Cluster));
    let relaxed = barrier("mbarrier.test_wait.parity.relaxed.cta.shared.b64 %p1, [%r1], 0;");
    assert!(matches!(relaxed, Mbarrier::Test { order, .. } if !order.acquires()));
    refused("mbarrier.test_wait.parity.shared::cluster.b64 %p1, [%r1], 0;", "own barriers");
    refused("mbarrier.test_wait.parity.shared.b64 %p1, [%r1], 0, 100;", "too many");
    refused("mbarrier.arrive.shared::cluster.b64 %rd1, [%r1];", "no state");
    refused("mbarrier.arrive.shared.b64 [%r1];", "not a register");
    refused("mbarrier.arrive.cluster.shared.b64 _, [%r1];", "both an order and a scope");
    refused("mbarrier.arrive.noComplete.relaxed.cta.shared.b64 %rd1, [%r1], 2;", "only `.release.cta`");
}

#[test]
fn bulk_copies_without_a_map() {
    let load = bulk(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster.L2::cache_hint
            [%r1], [%rd1], %r2, [%r3], %rs1, %rd2;",
    );
    assert_eq!((load.from, load.to), (BulkSpace::Global, BulkSpace::SharedCluster));
    assert!(matches!(load.done, Completion::Mbarrier(_)) && load.multicast.is_some());
    let own = bulk("cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes [%r1], [%rd1], 64, [%r3];");
    assert_eq!(own.to, BulkSpace::SharedCta);
    let between = bulk(
        "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%r1], [%r2], 64, [%r3];",
    );
    assert_eq!((between.from, between.to), (BulkSpace::SharedCta, BulkSpace::SharedCluster));
    let store = bulk(
        "cp.async.bulk.global.shared::cta.bulk_group.L2::cache_hint.cp_mask [%rd1], [%r1], 64, %rd2, %rs1;",
    );
    assert!(matches!(store.done, Completion::Group) && store.byte_mask.is_some());
    let reduce = bulk("cp.reduce.async.bulk.global.shared::cta.bulk_group.add.noftz.bf16 [%rd1], [%r1], 64;");
    assert_eq!(reduce.reduce, Some((AtomOp::Add, Some(Scalar::Bf16))));
    let remote = bulk(
        "cp.reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes.inc.u32
            [%r1], [%r2], 64, [%r3];",
    );
    assert!(matches!(remote.reduce, Some((AtomOp::Inc, Some(Scalar::Int { signed: false, bits: 32 })))));
    let prefetch = bulk("cp.async.bulk.prefetch.L2.global [%rd1], 64;");
    assert!(matches!(prefetch.done, Completion::None) && prefetch.destination.is_none());
    assert!(matches!(hopper("cp.async.bulk.commit_group;"), HopperOp::BulkCommit));
    assert!(matches!(
        hopper("cp.async.bulk.wait_group.read 1;"),
        HopperOp::BulkWait { pending: 1, read_only: true }
    ));
    refused("cp.async.bulk.shared::cta.shared::cta.bulk_group [%r1], [%r2], 64;", "no copy between");
    refused("cp.async.bulk.shared::cta.global.bulk_group [%r1], [%rd1], 64;", "its end");
    refused("cp.async.bulk.wait_group -1;", "-1 groups");
}

#[test]
fn tensor_copies_load_store_reduce_and_prefetch() {
    let load = bulk(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster.L2::cache_hint
            [%r1], [%rd1, {%r2, %r3}], [%r4], %rs1, %rd2;",
    );
    assert!(matches!(&load.tensor, Some(t) if t.at.len() == 2 && t.mode == TensorMode::Tile));
    assert!(load.multicast.is_some() && load.source.is_none());
    // The order LLVM writes before 8.6, and one dimension.
    let one = bulk(
        "cp.async.bulk.tensor.1d.shared::cluster.global.mbarrier::complete_tx::bytes.tile [%r1], [%rd1, {%r2}], [%r4];",
    );
    assert!(matches!(&one.tensor, Some(t) if t.at.len() == 1));
    let im2col = bulk(
        "cp.async.bulk.tensor.4d.shared::cta.global.im2col.mbarrier::complete_tx::bytes
            [%r1], [%rd1, {%r2, %r3, %r4, %r5}], [%r6], {%rs1, %rs2};",
    );
    assert!(
        matches!(&im2col.tensor, Some(Tensor { mode: TensorMode::Im2col { offsets }, .. }) if offsets.len() == 2)
    );
    let store = bulk("cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%rd1, {%r1, %r2, %r3}], [%r4];");
    assert!(store.source.is_some() && store.destination.is_none());
    let reduce =
        bulk("cp.reduce.async.bulk.tensor.1d.global.shared::cta.add.tile.bulk_group [%rd1, {%r1}], [%r4];");
    assert_eq!(reduce.reduce, Some((AtomOp::Add, None)));
    let prefetch = bulk("cp.async.bulk.prefetch.tensor.5d.L2.global [%rd1, {0, 0, 0, 0, 0}];");
    assert_eq!(prefetch.to, BulkSpace::L2);
    refused(
        "cp.async.bulk.tensor.2d.shared::cta.global.mbarrier::complete_tx::bytes [%r1], [%rd1, {%r2}], [%r4];",
        "1 coordinates",
    );
    refused(
        "cp.async.bulk.tensor.2d.shared::cta.global.tile::gather4.mbarrier::complete_tx::bytes [%r1], [%rd1, {%r2, %r3}], [%r4];",
        "tile::gather4",
    );
    refused(
        "cp.async.bulk.tensor.1d.global.shared::cta.bulk_group.multicast::cluster [%rd1, {%r1}], [%r4];",
        "multicast",
    );
}

#[test]
fn stores_and_reductions_in_another_cta() {
    let HopperOp::StoreAsync { reduce: None, a, .. } =
        hopper("st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v2.f32 [%r1], {%f1, 1.0}, [%r2];")
    else {
        panic!()
    };
    assert_eq!(a.len(), 2);
    let HopperOp::StoreAsync { reduce: Some(AtomOp::Max), ty, .. } = hopper(
        "red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes.max.s32 [%r1], %r3, [%r2];",
    ) else {
        panic!()
    };
    assert_eq!(ty, Scalar::Int { signed: true, bits: 32 });
    refused("st.async.shared::cluster.b32 [%r1], %r2, [%r3];", "complete_tx");
}

fn list(prefix: &str, count: usize) -> String {
    (0..count).map(|n| format!("%{prefix}{n}")).collect::<Vec<_>>().join(", ")
}

fn wgmma(instruction: &str) -> Wgmma {
    match hopper(instruction) {
        HopperOp::Wgmma(w) => w,
        other => panic!("{other:?}"),
    }
}

#[test]
fn products_of_every_type() {
    let d = list("f", 64);
    let w = wgmma(&format!(
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {{{d}}}, %rd1, %rd2, !%p1, 1, -1, 0, 1;"
    ));
    assert_eq!((w.n, w.k, w.d_type, w.a_type), (128, 16, WgmmaAcc::F32, WgmmaType::Bf16));
    assert!(w.scale_d_negated && !w.negate_a && w.negate_b && !w.transpose_a && w.transpose_b);
    let w = wgmma(&format!(
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {{{d}}}, {{%r1, %r2, %r3, %r4}}, %rd2, 1, 1, 1, 1;"
    ));
    assert!(matches!(w.a, WgmmaA::Registers(ref a) if a.len() == 4) && w.transpose_b);
    let half = list("r", 2);
    let w = wgmma(&format!(
        "wgmma.mma_async.sync.aligned.m64n8k32.f16.e4m3.e5m2 {{{half}}}, %rd1, %rd2, %p1, 1, 1;"
    ));
    assert_eq!((w.d_type, w.a_type, w.b_type), (WgmmaAcc::F16, WgmmaType::E4m3, WgmmaType::E5m2));
    let w = wgmma(&format!(
        "wgmma.mma_async.sync.aligned.m64n8k8.f32.tf32.tf32 {{{}}}, %rd1, %rd2, %p1, 1, 1;",
        list("f", 4)
    ));
    assert_eq!(w.a_type, WgmmaType::Tf32);
    let w = wgmma(&format!(
        "wgmma.mma_async.sync.aligned.m64n16k32.s32.u8.s8.satfinite {{{}}}, %rd1, %rd2, %p1;",
        list("r", 8)
    ));
    assert!(w.saturate && w.a_type == WgmmaType::U8);
    let w = wgmma(&format!(
        "wgmma.mma_async.sync.aligned.m64n8k256.s32.b1.b1.and.popc {{{}}}, %rd1, %rd2, %p1;",
        list("r", 4)
    ));
    assert!(w.and_popc);
    let w = wgmma(&format!(
        "wgmma.mma_async.sp.sync.aligned.m64n8k32.f32.f16.f16 {{{}}}, %rd1, %rd2, %r9, 1, %p1, 1, 1, 0, 0;",
        list("f", 4)
    ));
    assert_eq!(w.sparse.map(|(_, selector)| selector), Some(1));
    assert!(matches!(hopper("wgmma.fence.sync.aligned;"), HopperOp::WgmmaFence));
    assert!(matches!(hopper("wgmma.commit_group.sync.aligned;"), HopperOp::WgmmaCommit));
    assert!(matches!(hopper("wgmma.wait_group.sync.aligned 3;"), HopperOp::WgmmaWait { pending: 3 }));
}

#[test]
fn products_that_do_not_exist() {
    let d = list("f", 4);
    let product = |form: &str, rest: &str| {
        format!("wgmma.mma_async.sync.aligned.{form} {{{d}}}, %rd1, %rd2, %p1{rest};")
    };
    refused(&product("m64n12k16.f32.f16.f16", ", 1, 1, 0, 0"), "no such combination");
    refused(&product("m64n8k8.f32.f16.f16", ", 1, 1, 0, 0"), "no such combination");
    refused(&product("m64n8k16.f32.f16.bf16", ", 1, 1, 0, 0"), "no such combination");
    refused(&product("m64n40k32.s32.s8.s8", ""), "no such combination");
    refused(&product("m64n16k16.f32.f16.f16", ", 1, 1, 0, 0"), "takes 8 registers");
    refused(&product("m64n8k16.f32.f16.f16", ", 1, 2, 0, 0"), "neither 1 nor -1");
    refused(&product("m64n8k16.f32.f16.f16", ", 1, 1, 0"), "more operands");
    // Only 16-bit elements have operands for transposition.
    refused(&product("m64n8k8.f32.tf32.tf32", ", 1, 1, 0, 0"), "too many");
    refused("wgmma.wait_group.sync.aligned -1;", "-1 groups");
}

#[test]
fn clusters_registers_and_dependent_grids() {
    assert!(matches!(
        hopper("barrier.cluster.arrive.relaxed.aligned;"),
        HopperOp::ClusterArrive { order, aligned: true } if !order.releases()
    ));
    assert!(matches!(
        hopper("barrier.cluster.arrive;"),
        HopperOp::ClusterArrive { order, aligned: false } if order.releases()
    ));
    assert!(matches!(hopper("barrier.cluster.wait.acquire.aligned;"), HopperOp::ClusterWait { .. }));
    assert!(matches!(
        hopper("mapa.shared::cluster.u32 %r1, bars, 1;"),
        HopperOp::Mapa { wide: false, generic: false, .. }
    ));
    assert!(matches!(hopper("mapa.u64 %rd1, %rd2, %r3;"), HopperOp::Mapa { wide: true, generic: true, .. }));
    assert!(matches!(
        hopper("getctarank.shared::cluster.u32 %r1, %r2;"),
        HopperOp::CtaRank { generic: false, .. }
    ));
    assert!(matches!(
        hopper("setmaxnreg.dec.sync.aligned.u32 40;"),
        HopperOp::SetMaxRegisters { increase: false, count: 40 }
    ));
    refused("setmaxnreg.inc.sync.aligned.u32 250;", "multiples of 8");
    assert!(matches!(hopper("griddepcontrol.wait;"), HopperOp::GridDependency { wait: true }));
    assert!(matches!(hopper("griddepcontrol.launch_dependents;"), HopperOp::GridDependency { wait: false }));
}

#[test]
fn proxy_fences() {
    let fence = |text: &str| match decode_one(text) {
        Ok(Op::Fence(f)) => f,
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(fence("fence.proxy.async;"), Fence::ProxyAsync { global: true, shared: true });
    assert_eq!(fence("fence.proxy.async.shared::cta;"), Fence::ProxyAsync { global: false, shared: true });
    assert_eq!(fence("fence.proxy.async.global;"), Fence::ProxyAsync { global: true, shared: false });
    assert_eq!(fence("fence.proxy.alias;"), Fence::ProxyAlias);
    assert_eq!(fence("fence.mbarrier_init.release.cluster;"), Fence::MbarrierInit);
    assert_eq!(
        fence("fence.proxy.tensormap::generic.release.gpu;"),
        Fence::TensorMapRelease { scope: Scope::Gpu }
    );
    assert!(matches!(
        fence("fence.proxy.tensormap::generic.acquire.sys [%rd1], 128;"),
        Fence::TensorMapAcquire { scope: Scope::Sys, .. }
    ));
    let restricted = "sync_restrict::shared::cluster.cluster;";
    assert_eq!(
        fence(&format!("fence.proxy.async::generic.acquire.{restricted}")),
        Fence::ProxyAsync { global: false, shared: true }
    );
    assert!(matches!(fence(&format!("fence.acquire.{restricted}")), Fence::Thread(o) if o.acquires()));
    // Plain fences are still those of the generic proxy.
    assert!(matches!(fence("fence.acq_rel.cluster;"), Fence::Thread(_)));
    refused("fence.proxy.tensormap::generic.acquire.gpu [%rd1], 64;", "only 128");
    refused("fence.proxy.wrong;", "not supported");
}

#[test]
fn tensor_maps_on_the_device() {
    let HopperOp::TensorMapReplace { shared, field, ordinal, .. } =
        hopper("tensormap.replace.tile.global_dim.shared::cta.b1024.b32 [%r1], 1, %r2;")
    else {
        panic!()
    };
    assert!(shared && field == TensorMapField::GlobalDim && ordinal == 1);
    assert!(matches!(
        hopper("tensormap.replace.tile.global_address.global.b1024.b64 [%rd1], %rd2;"),
        HopperOp::TensorMapReplace { shared: false, field: TensorMapField::GlobalAddress, .. }
    ));
    assert!(matches!(
        hopper("tensormap.replace.tile.swizzle_mode.shared::cta.b1024.b32 [%r1], 0x3;"),
        HopperOp::TensorMapReplace { field: TensorMapField::SwizzleMode, .. }
    ));
    assert!(matches!(
        hopper(
            "tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.sync.aligned [%rd1], [%r1], 128;"
        ),
        HopperOp::TensorMapCopyFence { .. }
    ));
    assert!(matches!(hopper("prefetch.tensormap [%rd1];"), HopperOp::PrefetchTensorMap { .. }));
    assert!(matches!(decode_one("prefetch.param.tensormap [map];"), Ok(Op::Nop)));
    refused("tensormap.replace.tile.global_stride.shared::cta.b1024.b64 [%r1], 4, %rd1;", "no dimension 4");
    refused("tensormap.replace.tile.rank.shared::cta.b1024.b64 [%r1], %rd1;", "another width");
}

#[test]
fn cache_policies_change_no_value() {
    for text in [
        "createpolicy.fractional.L2::evict_last.b64 %rd1, 0.5;",
        "createpolicy.fractional.L2::evict_first.L2::evict_unchanged.b64 %rd1;",
        "createpolicy.range.global.L2::evict_last.L2::evict_unchanged.b64 %rd1, [%rd2], 0x100000, 0x400000;",
        "createpolicy.cvt.L2.b64 %rd1, %rd2;",
    ] {
        assert!(matches!(decode_one(text), Ok(Op::Copy { .. })), "{text}: {:?}", decode_one(text));
    }
    assert!(matches!(decode_one("applypriority.global.L2::evict_normal [%rd1], 128;"), Ok(Op::Nop)));
    assert!(matches!(decode_one("discard.global.L2 [%rd1], 128;"), Ok(Op::Nop)));
}

#[test]
fn tensor_memory_is_named_and_refused() {
    refused("tcgen05.alloc.cta_group::1.sync.aligned.shared::cta.b32 [%r1], 64;", "not executed yet");
    refused("tcgen05.mma.cta_group::1.kind::f16 [%r1], %rd1, %rd2, %r3, %p1;", "not executed yet");
}
