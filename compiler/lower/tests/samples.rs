//! The hand-built samples of tile-graph are what lowering makes of their kernels, up to node numbers and paths.

mod common;

use common::lower_file;
use std::collections::HashMap;
use tile_base::DType;
use tile_graph::{Graph, laws, print, samples};

/// The body as text, values renumbered in order of appearance, paths and obligations left out.
fn shape(graph: &Graph) -> String {
    let text = print(graph);
    let body = text.split("obligations").next().expect("a text");
    let from = body.find("par ").expect("a par");
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let mut out = String::new();
    for line in body[from..].lines() {
        let mut rest = line.split("  // ").next().expect("a line");
        while let Some(at) = rest.find('%') {
            out += &rest[..=at];
            let digits = rest[at + 1..].find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len() - at - 1);
            let next = numbers.len();
            out += &numbers.entry(&rest[at + 1..at + 1 + digits]).or_insert(next).to_string();
            rest = &rest[at + 1 + digits..];
        }
        out += rest;
        out.push('\n');
    }
    out
}

fn check(mut sample: Graph, lowered: &Graph) {
    laws::simplify(&mut sample);
    assert_eq!(shape(&sample), shape(lowered));
}

#[test]
fn matmul() {
    check(samples::matmul(DType::F16), &lower_file("gemm/matmul.tile", "matmul", "T=f16 epi=same"));
    check(samples::matmul(DType::F32), &lower_file("gemm/matmul.tile", "matmul", "T=f32 epi=same"));
}

#[test]
fn flash() {
    for (causal, words) in [(true, "T=bf16 D=64 CAUSAL=true"), (false, "T=bf16 D=64 CAUSAL=false")] {
        let lowered = lower_file("attention/flash_fwd.tile", "flash_fwd", words);
        check(samples::flash(DType::Bf16, 64, causal), &lowered);
    }
}
