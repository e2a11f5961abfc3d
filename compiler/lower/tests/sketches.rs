//! The graphs of the sketches, as text: every construct of the language.

mod common;

use common::{lower_sketch, lower_sketch_op};
use tile_graph::{Check, Op, Program, print, print_program};

macro_rules! snapshot {
    ($name:ident, $path:literal, $kernel:literal, $words:literal) => {
        #[test]
        fn $name() {
            insta::assert_snapshot!(print(&lower_sketch($path, $kernel, $words)));
        }
    };
}

snapshot!(flash_mods, "01_flash_mods.tile", "flash_mods", "T=f16 D=16 DV=24 score=softcap mask=causal");
snapshot!(
    flash_document,
    "01_flash_mods.tile",
    "flash_mods",
    "T=f16 D=16 DV=16 score=alibi mask=document -lse"
);
snapshot!(flash_bwd_delta, "02_flash_bwd.tile", "flash_bwd_delta", "T=f16 D=16");
snapshot!(flash_bwd_main, "02_flash_bwd.tile", "flash_bwd_main", "T=f16 D=16 CAUSAL=true");
snapshot!(paged_decode, "03_paged_decode.tile", "paged_decode", "T=f16 D=16 P=4");
snapshot!(mla_decode, "04_mla_decode.tile", "mla_decode", "T=bf16 DL=32 DR=16");
snapshot!(block_sparse, "05_block_sparse.tile", "block_sparse", "T=f16 D=16 BS=16");
snapshot!(ssd_fwd, "06_mamba2_ssd.tile", "ssd_fwd", "T=bf16 N=16 P=16");
snapshot!(gdn_fwd, "07_gated_deltanet.tile", "gdn_fwd", "T=bf16 K=16 V=24");
snapshot!(log_linear_fwd, "08_log_linear.tile", "log_linear_fwd", "T=bf16 K=16 V=24 C=16 LB=4 NZ=5");
snapshot!(router, "09_moe.tile", "router", "E=8 TOPK=2");
snapshot!(routing, "09_moe.tile", "routing", "E=8 TOPK=2");
snapshot!(moe_up, "09_moe.tile", "moe_up", "T=f16");
snapshot!(moe_down, "09_moe.tile", "moe_down", "T=f16");
snapshot!(moe_combine, "09_moe.tile", "moe_combine", "T=f16 TOPK=2");
snapshot!(w4a16, "10_w4a16.tile", "w4a16", "T=f16 GS=32");
snapshot!(linear_cross_entropy, "11_linear_cross_entropy.tile", "linear_cross_entropy", "T=bf16");
snapshot!(fp8_block_scaled, "12_fp8_block_scaled.tile", "fp8_block_scaled", "T=bf16 QB=32");
snapshot!(causal_conv1d, "13_causal_conv1d.tile", "causal_conv1d", "T=f32 W=4 act=silu");
snapshot!(pool_keys, "14_block_selection.tile", "pool_keys", "T=f16 D=16 BS=8");
snapshot!(select_blocks, "14_block_selection.tile", "select_blocks", "T=f16 D=16 CAP=32 S=4");

/// Host code and the names of the graphs; the graphs themselves are snapshots of their own.
fn outline(program: &Program) -> String {
    let text = print_program(program);
    let graphs: Vec<&str> = text.lines().filter(|l| l.starts_with("graph ")).collect();
    let host = text.split("\ngraph ").next().expect("a text");
    format!("{host}{}\n", graphs.join("\n"))
}

#[test]
fn flash_vjp() {
    insta::assert_snapshot!(outline(&lower_sketch_op(
        "02_flash_bwd.tile",
        "flash_vjp",
        "T=f32 D=16 CAUSAL=true"
    )));
}

#[test]
fn moe() {
    let program = lower_sketch_op("09_moe.tile", "moe", "T=f32 E=8 TOPK=2");
    insta::assert_snapshot!(outline(&program));
    // No host ever sees the rows that the routing kernel wrote: nothing may rest on a check at launch.
    for graph in program.graphs.iter().filter(|g| g.name.starts_with("moe_")) {
        for node in graph.node_ids() {
            if let Some(access) = graph.node(node).op.access() {
                assert!(access.coords.iter().all(|c| c.check != Check::AtLaunch), "{}", graph.name);
            }
        }
        assert!(graph.node_ids().any(|n| matches!(&graph.node(n).op,
            Op::Load(a) if a.coords.iter().any(|c| c.check == Check::InPlace))));
    }
}
