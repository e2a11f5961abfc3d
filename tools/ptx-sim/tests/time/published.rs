//! Predictions against published measurements, each within 15 %.
//!
//! One number of the model was fitted, the clock that an H100 sustains: so that the 8192 × 8192 × 8192 product takes what
//! cuBLAS takes. Everything else here is a prediction. docs/simulator.md has the table, and what it does not show.
//!
//! | figures | measured on | by |
//! | --- | --- | --- |
//! | cuBLAS | H100 SXM | the README of pranjalssh/fast.cu (kernel 0) |
//! | FlashAttention-3, FlashAttention-2 on H100 | H100 SXM5, 80 GB | the charts of the FlashAttention-3 paper and repository, f16, forward |
//! | FlashAttention-2 on A100 | A100 SXM, 80 GB | the paper's "up to 230 TFLOPs/s" of the forward pass |

use crate::kernels::{Launch, flash_mma, flash_wgmma, gemm_wgmma};
use ptx_sim::{Geometry, decode, memory::Memory, read, time};

const TOLERANCE: f64 = 0.15;

/// A shape and what was measured, in T operations/s.
type Figure = (usize, f64);

fn prediction(l: &Launch, target: &str) -> time::Prediction {
    let target = tile_target::find(target).unwrap();
    let kernel = decode::kernel(&read::parse(&l.ptx).unwrap(), l.entry).unwrap();
    let sample = time::sample(&kernel, &l.geometry, target, true);
    let geometry = Geometry { count: true, sample: Some(sample), ..l.geometry.clone() };
    let summary =
        ptx_sim::run_in_module(&kernel, &l.memory, Default::default(), &geometry, &l.params).unwrap();
    time::predict(&kernel, &geometry, &summary.counters.unwrap(), &l.memory, target).unwrap()
}

fn compare(target: &str, figures: &[Figure], launch: impl Fn(usize) -> Launch) {
    let mut bad = vec![];
    for &(size, published) in figures {
        let launch = launch(size);
        let p = prediction(&launch, target);
        assert!(p.checked.is_some(), "a figure that is compared is of a family that counts as checked");
        let predicted = launch.operations / p.seconds / 1e12;
        let ratio = predicted / published;
        let row =
            format!("{target} {size}: published {published}, predicted {predicted:.0}, ratio {ratio:.3}");
        println!("{row}, at {:.2} GHz, bound by {}", p.clock / 1e9, p.bound);
        if (ratio - 1.0).abs() > TOLERANCE {
            bad.push(row);
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

fn product(n: usize) -> Launch {
    let mut memory = Memory::new();
    let [a, b] = ["a", "b"].map(|x| memory.reserve(x, n * n * 2).unwrap());
    gemm_wgmma::launch(n, n, n, memory, a, b).0
}

/// 16384 tokens in sequences of one length, 2048 wide in all.
fn sixteen_thousand(d: usize, length: usize) -> (usize, Memory, [u64; 3]) {
    let heads = 16384 / length * (2048 / d);
    let mut memory = Memory::new();
    let at = ["q", "k", "v"].map(|x| memory.reserve(x, heads * length * d * 2).unwrap());
    (heads, memory, at)
}

fn flash3(d: usize, causal: bool) -> impl Fn(usize) -> Launch {
    move |length| {
        let (heads, memory, at) = sixteen_thousand(d, length);
        flash_wgmma::launch(flash_wgmma::published(d, causal), heads, length, memory, at).0
    }
}

fn flash2(d: usize) -> impl Fn(usize) -> Launch {
    move |length| {
        let (heads, memory, at) = sixteen_thousand(d, length);
        flash_mma::launch(flash_mma::published(d), heads, length, memory, at).0
    }
}

/// The second of these is what the sustained clock was fitted to.
#[test]
fn cublas_on_h100() {
    compare("sm_90", &[(6144, 741.1), (8192, 797.8)], product);
}

#[test]
fn flash_attention_3_on_h100() {
    let figures = [(512, 467.0), (1024, 565.0), (2048, 625.0), (4096, 638.0), (8192, 646.0), (16384, 648.0)];
    compare("sm_90", &figures, flash3(128, false));
}

#[test]
fn flash_attention_3_on_h100_under_a_mask() {
    let figures = [(512, 292.0), (1024, 423.0), (2048, 521.0), (4096, 579.0), (8192, 602.0), (16384, 616.0)];
    compare("sm_90", &figures, flash3(128, true));
}

/// With tiles of 128 queries by two warpgroups, where the published kernel has 192 by three.
#[test]
fn flash_attention_3_on_h100_with_heads_of_64() {
    let figures = [(512, 333.0), (1024, 392.0), (2048, 460.0), (4096, 476.0), (8192, 496.0)];
    compare("sm_90", &figures, flash3(64, false));
}

#[test]
fn flash_attention_2_on_h100() {
    compare("sm_90", &[(512, 309.0), (1024, 350.0), (2048, 362.0), (8192, 370.0)], flash2(128));
}

#[test]
fn flash_attention_2_on_h100_with_heads_of_64() {
    compare("sm_90", &[(512, 282.0), (1024, 306.0), (2048, 318.0), (8192, 322.0)], flash2(64));
}

#[test]
fn flash_attention_2_on_a100() {
    compare("sm_80", &[(8192, 230.0)], flash2(128));
}
