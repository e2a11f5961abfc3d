//! Every instruction that synchronises is taken out, one at a time; where the kernel stays clean, the line is listed here,
//! with the reason.
//!
//! The mutants of [`super::mutants`] are chosen by people; this finds what they forgot.

use crate::support::*;

/// First words of the instructions that order something.
const ORDERS: [&str; 13] = [
    "bar.sync",
    "bar.warp.sync",
    "barrier.cluster",
    "fence.",
    "mbarrier.",
    "wgmma.fence",
    "wgmma.commit_group",
    "wgmma.wait_group",
    "cp.async.wait_group",
    "cp.async.commit_group",
    "cp.async.mbarrier",
    "cp.async.bulk.wait_group",
    "cp.async.bulk.commit_group",
];

struct Kernel {
    name: &'static str,
    ptx: &'static str,
    problem: fn() -> Problem,
    /// Lines that may go.
    idle: &'static [&'static str],
}

/// Whether an instruction orders something: its text without guard.
fn orders(line: &str) -> bool {
    let text = line.trim_start();
    let text = if text.starts_with('@') { text.split_once(' ').map_or("", |x| x.1) } else { text };
    ORDERS.iter().any(|o| text.starts_with(o))
}

/// The lines without which the kernel is clean at every seed.
fn survivors(k: &Kernel) -> Vec<&'static str> {
    let lines: Vec<&str> = k.ptx.lines().collect();
    let mut out = vec![];
    for at in (0..lines.len()).filter(|&at| orders(lines[at])) {
        let mut text = lines.clone();
        text[at] = "";
        let text = text.join("\n");
        if (0..4).all(|seed| (k.problem)().run(&text, true, seed).clean()) {
            out.push(lines[at].trim());
        }
    }
    out
}

/// By the letter the engine sees a new mbarrier only after this fence. Triton initialises barriers with a CTA barrier alone, and
/// that works; so its absence is not held against anybody.
const SHOWN: &str = "fence.mbarrier_init.release.cluster;";

#[rustfmt::skip]
const KERNELS: [Kernel; 8] = [
    Kernel { name: "gemm_tma", ptx: include_str!("../kernels/gemm_tma.ptx"), problem: || gemm_tma(128, 64, 448), idle: &[SHOWN] },
    Kernel { name: "attention", ptx: include_str!("../kernels/attention.ptx"), problem: || attention(100, 320), idle: &[SHOWN] },
    Kernel { name: "gemm_cluster", ptx: include_str!("../kernels/gemm_cluster.ptx"), problem: || gemm_cluster(128, 64, 448), idle: &[SHOWN] },
    Kernel { name: "gemm_cp_async", ptx: include_str!("../kernels/gemm_cp_async.ptx"), problem: || gemm_cp_async(50, 33, 264), idle: &[] },
    Kernel { name: "stream_reduce", ptx: include_str!("../kernels/stream_reduce.ptx"), problem: || stream_reduce(3, 1028), idle: &[SHOWN] },
    Kernel { name: "split_k", ptx: include_str!("../kernels/split_k.ptx"), problem: || split_k(10, 300, 3), idle: &[] },
    Kernel { name: "exchange", ptx: include_str!("../kernels/exchange.ptx"), problem: exchange, idle: &[SHOWN] },
    Kernel { name: "device_map", ptx: include_str!("../kernels/device_map.ptx"), problem: || device_map(20, 100), idle: &[SHOWN] },
];

#[test]
fn nothing_that_orders_can_be_left_out() {
    for k in &KERNELS {
        let (mut left, mut listed) = (survivors(k), k.idle.to_vec());
        left.sort_unstable();
        listed.sort_unstable();
        assert_eq!(left, listed, "{}", k.name);
    }
}
