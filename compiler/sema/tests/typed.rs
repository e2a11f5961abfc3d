//! The typed text of kernels that between them use every part of the language.

mod support;

fn typed(file: &str, name: &str, instance: &str) -> String {
    let loaded = support::load_file(&support::root().join(file));
    let instance = support::instance(instance);
    let text = match loaded.module.op(0, name) {
        Some(_) => tile_sema::instantiate_op(&loaded.module, name, &instance).map(|p| p.print()),
        None => tile_sema::instantiate(&loaded.module, name, &instance).map(|k| k.print()),
    };
    text.unwrap_or_else(|d| support::show(&loaded, &d))
}

macro_rules! snapshot {
    ($($test:ident: $file:literal $name:literal $instance:literal;)*) => {$(
        #[test]
        fn $test() {
            insta::assert_snapshot!(stringify!($test), typed($file, $name, $instance));
        }
    )*};
}

snapshot! {
    add: "kernels-lib/elementwise/add.tile" "add" "T=f16";
    // A streamed dot and an epilogue function.
    matmul: "kernels-lib/gemm/matmul.tile" "matmul" "T=bf16 epi=silu";
    // skip and merge claims, tuples from inlined functions.
    flash_fwd: "kernels-lib/attention/flash_fwd.tile" "flash_fwd" "T=f16 D=64 CAUSAL=true";
    // The const branch folds away.
    flash_fwd_full: "kernels-lib/attention/flash_fwd.tile" "flash_fwd" "T=f32 D=40 CAUSAL=false";
    // Loops that merge by sum, an optional output that is absent.
    rmsnorm: "kernels-lib/norm/rmsnorm.tile" "rmsnorm" "T=f32 -rstd";
    // Index tiles, a merge over two variables of different types.
    argmax: "kernels-lib/reduce/argmax.tile" "row_argmax" "T=f32";
    // Function arguments with captured tensors.
    flash_mods: "dsl-examples/sketches/01_flash_mods.tile" "flash_mods" "T=f16 D=64 DV=32 mask=document score=alibi -lse";
    // A sum tensor.
    flash_bwd: "dsl-examples/sketches/02_flash_bwd.tile" "flash_bwd_main" "T=f16 D=64 CAUSAL=false";
    // Views through a page table.
    paged_decode: "dsl-examples/sketches/03_paged_decode.tile" "paged_decode" "T=f16 D=64 P=16";
    // A loop over a list with "none".
    block_sparse: "dsl-examples/sketches/05_block_sparse.tile" "block_sparse" "T=f16 D=64 BS=32";
    // affine, device ranges, scans, the triangular inverse.
    gated_deltanet: "dsl-examples/sketches/07_gated_deltanet.tile" "gdn_fwd" "T=bf16 K=16 V=32";
    // Arrays of tiles and unrolled loops.
    log_linear: "dsl-examples/sketches/08_log_linear.tile" "log_linear_fwd" "T=f32 K=16 V=16 C=16 LB=2 NZ=2";
    // An op: temporaries, launches, top-k, histogram, a unique scatter, gathers, merge and split.
    moe: "dsl-examples/sketches/09_moe.tile" "moe" "T=f16 E=8 TOPK=2";
    // A slice with a narrower inside, and an else.
    causal_conv1d: "dsl-examples/sketches/13_causal_conv1d.tile" "causal_conv1d" "T=f32 W=2 -bias";
}

/// What the repository's kernels do not use.
#[test]
fn the_rest_of_the_language() {
    let text = "
fn larger(a: f32, i: index, b: f32, j: index) { if b > a { (b, j) } else { (a, i) } }
kernel rest<const D, const W in {2, 4} = 4>(
    x: in f32[N, D], ids: in id<N>[D], m: inout f32[N, D], o: out f32[N, 2, D], n: i32, eps: f32,
) {
    tile B in {16, 32};
    let half = N / 2;
    assert n > 0, \"n is positive\";
    par i in tiles(half..N, B) {
        let v = x[i, :];
        let (best, at) = reduce((v, iota(D)[_, :] + i.at[:, _] * 0), 1, larger);
        let halves = concat(v[:, D / 2..D], v[:, 0..D / 2], 1);
        let g = x[ids[:], 0];
        let picked = take(g, at[:, 0], 0);
        let (sorted, order) = sort(v, desc = true);
        m[i, :] += sorted.split(1, 2).permute(0, 2, 1).merge(1, 2);
        var k: index = 0;
        var e: f32 = 1;
        while e > eps && k < 10 {
            e = e / 2;
            k += 1;
        }
        for t in (0..W).rev() {
            if t == n.to(index) { break; }
            e = e + x[i - 1, t].max();
        }
        let z = if e > 1 { v } else { 0 };
        o[i, 0, :] = z * best + halves;
        o[i, 1, :] = picked[:, _] * pow(e, 2) + order.to(f32) + cumsum(v, 1, rev = true, exclusive = true);
    }
}
";
    let loaded = support::load("rest.tile", text);
    assert_eq!(support::show(&loaded, &loaded.syntax), "");
    let kernel = tile_sema::instantiate(&loaded.module, "rest", &support::instance("D=16"));
    let shown = kernel.map(|k| k.print()).unwrap_or_else(|d| support::show(&loaded, &d));
    insta::assert_snapshot!(shown);
}
