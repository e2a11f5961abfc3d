//! The kernels that predictions are checked on compute what they claim.

use crate::{
    kernels::{Launch, flash_mma, flash_wgmma, gemm_wgmma},
    support::Matrix,
};
use half::bf16;
use ptx_sim::{decode, memory::Memory, read};

fn run(mut l: Launch, output: u64) -> Vec<f32> {
    let kernel = decode::kernel(&read::parse(&l.ptx).unwrap(), l.entry).unwrap();
    let summary = ptx_sim::run(&kernel, &mut l.memory, &l.geometry, &l.params).unwrap();
    assert!(summary.findings.is_empty());
    let bytes = l.memory.contents(output).unwrap();
    bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
}

#[test]
fn a_product_by_clusters() {
    let (m, n, k) = (256, 256, 320);
    let (a, b) = (Matrix::random(m, k, 1, 1), Matrix::random(n, k, 1, 2));
    let mut memory = Memory::new();
    let (at_a, at_b) = (memory.allocate("a", &a.bf16()), memory.allocate("b", &b.bf16()));
    let (launch, c) = gemm_wgmma::launch(m, n, k, memory, at_a, at_b);
    let got = run(launch, c);
    let want = a.times_transposed(&b);
    assert!(got.iter().zip(&want.values).all(|(g, w)| *g == *w as f32));
}

/// Attention of each head in f64.
fn attention([q, k, v]: &[Matrix; 3], length: usize, causal: bool) -> Vec<f64> {
    let d = q.columns;
    let mut out = vec![0.0; q.rows * d];
    for row in 0..q.rows {
        let first = row / length * length;
        let last = if causal { row + 1 } else { first + length };
        let dot = |key: usize| (0..d).map(|x| (q.at(row, x) * k.at(key, x)) as f64).sum::<f64>();
        let scores: Vec<f64> = (first..last).map(|key| dot(key) / (d as f64).sqrt()).collect();
        let most = scores.iter().copied().fold(f64::MIN, f64::max);
        let weights: Vec<f64> = scores.iter().map(|s| (s - most).exp()).collect();
        let total: f64 = weights.iter().sum();
        for (n, w) in weights.iter().enumerate() {
            for x in 0..d {
                out[row * d + x] += w / total * v.at(first + n, x) as f64;
            }
        }
    }
    out
}

fn operands(heads: usize, length: usize, d: usize) -> ([Matrix; 3], Memory, [u64; 3]) {
    let all = [1, 2, 3].map(|seed| Matrix::random(heads * length, d, 1, seed));
    let mut memory = Memory::new();
    let at = [0, 1, 2].map(|n| memory.allocate(["q", "k", "v"][n], &all[n].bf16()));
    (all, memory, at)
}

fn close(got: &[f32], want: &[f64]) {
    let worst = got.iter().zip(want).map(|(g, w)| (*g as f64 - w).abs()).fold(0.0, f64::max);
    assert!(worst < 0.02, "off by {worst}");
}

#[test]
fn attention_by_warpgroups() {
    for (d, length, causal) in [(128, 384, false), (64, 256, false), (128, 384, true), (64, 256, true)] {
        let (qkv, memory, at) = operands(2, length, d);
        let (launch, o) = flash_wgmma::launch(flash_wgmma::published(d, causal), 2, length, memory, at);
        close(&run(launch, o), &attention(&qkv, length, causal));
    }
}

#[test]
fn attention_by_warps() {
    for d in [64, 128] {
        let length = 256;
        let (qkv, memory, at) = operands(2, length, d);
        let (launch, o) = flash_mma::launch(flash_mma::published(d), 2, length, memory, at);
        close(&run(launch, o), &attention(&qkv, length, false));
    }
}
