//! The graphs of library kernels, as text.

mod common;

use common::lower_file;
use tile_graph::print;

macro_rules! snapshot {
    ($name:ident, $path:literal, $kernel:literal, $words:literal) => {
        #[test]
        fn $name() {
            insta::assert_snapshot!(print(&lower_file($path, $kernel, $words)));
        }
    };
}

snapshot!(add, "elementwise/add.tile", "add", "T=f32");
snapshot!(gelu, "elementwise/gelu.tile", "gelu_fwd", "T=f16");
snapshot!(silu_mul, "elementwise/silu_mul.tile", "silu_mul", "T=bf16");
snapshot!(matmul, "gemm/matmul.tile", "matmul", "T=f16 epi=relu");
snapshot!(matmul_f32, "gemm/matmul.tile", "matmul", "T=f32 epi=same");
snapshot!(softmax, "softmax/softmax.tile", "softmax_fwd", "T=bf16");
snapshot!(rmsnorm, "norm/rmsnorm.tile", "rmsnorm", "T=f16");
snapshot!(layernorm, "norm/layernorm.tile", "layernorm", "T=f32");
snapshot!(sum, "reduce/sum.tile", "row_sum", "T=f32");
snapshot!(argmax, "reduce/argmax.tile", "row_argmax", "T=f32");
snapshot!(logsumexp, "reduce/logsumexp.tile", "row_logsumexp", "T=f32");
snapshot!(flash_causal, "attention/flash_fwd.tile", "flash_fwd", "T=f16 D=64 CAUSAL=true");
snapshot!(flash_full, "attention/flash_fwd.tile", "flash_fwd", "T=f32 D=40 CAUSAL=false");
