//! Kernels at the widths of real models: a plan is found, the assembler takes its code, and what spills is pinned. The
//! kernels run at small widths elsewhere; here nothing is run.

use super::support::{self, Kernel, kernel};
use tile_base::DType::{self, Bf16, F32};
use tile_plan::Request;

const MLA: &str = "attention/mla_decode.tile";
const LOG_LINEAR: &str = "linear/log_linear.tile";
const ATOMIC: &str = "attention/flash_bwd_atomic.tile";
const BACKWARD: &str = "attention/flash_bwd.tile";

fn wide(file: &'static str, name: &'static str, dtype: DType, consts: &[(&'static str, i64)]) -> Kernel {
    consts.iter().fold(kernel(file, name, dtype), |k, &(n, v)| k.with(n, v))
}

/// Each kernel, and how many bytes it may spill.
fn kernels() -> Vec<(Kernel, u32)> {
    let levels = |k, v| [("K", k), ("V", v), ("C", 64), ("LB", 6), ("NZ", 5)];
    let heads = |d| [("D", d), ("DV", d)];
    let mut out = vec![];
    for dtype in [Bf16, F32] {
        // DeepSeek-V3: 512 latent channels, 64 rotary ones.
        out.push((wide(MLA, "mla_decode", dtype, &[("DL", 512), ("DR", 64)]), 0));
        out.push((wide(ATOMIC, "flash_bwd_atomic", dtype, &[("D", 128), ("DV", 128), ("CAUSAL", 1)]), 0));
        out.push((wide(BACKWARD, "flash_bwd_dkv", dtype, &heads(128)), 0));
        out.push((wide(BACKWARD, "flash_bwd_dkv", dtype, &heads(256)), 0));
        out.push((wide(BACKWARD, "flash_bwd_dq", dtype, &heads(256)), 0));
        // Five states beside tiles of 64 x 64.
        out.push((wide(LOG_LINEAR, "log_linear", dtype, &levels(128, 64)), 60));
        out.push((wide(LOG_LINEAR, "log_linear", dtype, &levels(32, 16)), 0));
    }
    let channels = |k, v| [("K", k), ("V", v)];
    out.push((wide("linear/simple_gla.tile", "simple_gla", Bf16, &channels(128, 128)), 0));
    out.push((wide("linear/simple_gla.tile", "simple_gla", Bf16, &channels(256, 256)), 0));
    out.push((wide("linear/ssd.tile", "ssd", Bf16, &[("N", 128), ("P", 64)]), 0));
    out.push((wide("linear/gated_delta.tile", "gated_delta", Bf16, &channels(128, 128)), 0));
    out.push((wide("linear/gated_delta.tile", "gated_delta", Bf16, &channels(16, 128)), 0));
    // Chunk x chunk x channels, a few channels at a time.
    for d in [128, 256] {
        out.push((wide("linear/gla_vector.tile", "gla_vector", Bf16, &channels(d, d)), 0));
        out.push((wide("linear/kda.tile", "kda", Bf16, &channels(d, d)), 0));
    }
    out
}

#[test]
fn model_widths_have_plans_that_do_not_spill() {
    let ptxas = tile_ptx::ptxas::find();
    if ptxas.is_none() {
        println!("no ptxas: compiled only");
    }
    let mut faults = vec![];
    for (kernel, allowed) in kernels() {
        let graph = kernel.graph();
        for name in ["sm_80", "sm_90"] {
            let target = tile_target::find(name).expect("a target");
            let (plan, module) = support::compile(&graph, target, &Request::default());
            let said = plan.notes.iter().any(|n| n.code == "T0602");
            let Some(ptxas) = &ptxas else { continue };
            match tile_ptx::ptxas::assemble(ptxas, &module.ptx, target) {
                Ok(used) if used.spill_stores > allowed || (used.spill_stores > 0 && !said) => {
                    faults.push(format!("{} on {name}: {used:?}, T0602 {said}", kernel.label()));
                }
                Ok(_) => {}
                Err(text) => faults.push(format!("{} on {name}: {text}", kernel.label())),
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
