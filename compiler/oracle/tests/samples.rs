//! The hand-built sample graphs against plain loops, and against themselves: at random tile sizes, in random order,
//! with random splits and skipped bodies executed.

mod support;

use proptest::prelude::*;
use support::*;
use tile_base::DType;
use tile_graph::{Program, TileBinding, samples};
use tile_oracle::{Mode, Options, Report};
use tile_tensor::Arguments;

fn values(arguments: &Arguments, at: usize) -> Vec<f64> {
    arguments[at].tensor().expect("a tensor").to_f64_vec()
}

#[test]
fn add_has_tails() {
    let program = Program::single(samples::add(DType::F32));
    for n in [1, 47, 48, 49, 333] {
        let arguments = arguments(&program.signature, &[("N", n)], 1);
        let report = run(&program, &arguments, &Options::exact());
        let wanted: Vec<f64> =
            values(&arguments, 0).iter().zip(values(&arguments, 1)).map(|(a, b)| a + b).collect();
        assert_eq!(report.outputs["c"].values, wanted);
    }
}

#[test]
fn rounded_mode_rounds_where_exact_mode_does_not() {
    let program = Program::single(samples::add(DType::F16));
    let arguments = arguments(&program.signature, &[("N", 100)], 1);
    let exact = run(&program, &arguments, &Options::exact());
    let rounded = run(&program, &arguments, &Options::rounded());
    let pairs = exact.outputs["c"].values.iter().zip(&rounded.outputs["c"].values);
    for (&e, &r) in pairs {
        assert_eq!(tile_tensor::convert::round_to(DType::F16, e), r);
    }
    assert!(distance(&exact, &rounded) > 0.0);
}

#[test]
fn matmul_is_the_sum_of_products() {
    let program = Program::single(samples::matmul(DType::F32));
    let (m, n, k) = (37, 50, 71);
    let arguments = arguments(&program.signature, &[("M", m), ("N", n), ("K", k)], 2);
    let (a, b) = (values(&arguments, 0), values(&arguments, 1));
    let report = run(&program, &arguments, &Options::exact());
    let (m, n, k) = (m as usize, n as usize, k as usize);
    for i in 0..m {
        for j in 0..n {
            let wanted: f64 = (0..k).map(|s| a[i * k + s] * b[s * n + j]).sum();
            assert!((report.outputs["c"].values[i * n + j] - wanted).abs() < 1e-12);
        }
    }
}

/// Attention by the textbook.
fn attention(q: &[f64], k: &[f64], v: &[f64], s: &Sizes, causal: bool, scale: f64) -> (Vec<f64>, Vec<f64>) {
    let mut o = vec![0.0; s.b * s.m * s.hq * s.d];
    let mut lse = vec![0.0; s.b * s.hq * s.m];
    for (b, h, i) in (0..s.b).flat_map(|b| (0..s.hq).flat_map(move |h| (0..s.m).map(move |i| (b, h, i)))) {
        let g = h / (s.hq / s.hk);
        let at_q = ((b * s.m + i) * s.hq + h) * s.d;
        let at_k = |j: usize| ((b * s.n + j) * s.hk + g) * s.d;
        let seen = |j: usize| !causal || j as i64 <= i as i64 + s.n as i64 - s.m as i64;
        let x: Vec<f64> = (0..s.n)
            .map(|j| match seen(j) {
                true => scale * (0..s.d).map(|d| q[at_q + d] * k[at_k(j) + d]).sum::<f64>(),
                false => f64::NEG_INFINITY,
            })
            .collect();
        let top = x.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
        let sum: f64 = x.iter().map(|x| if top.is_finite() { (x - top).exp() } else { 0.0 }).sum();
        lse[(b * s.hq + h) * s.m + i] = if sum == 0.0 { f64::NEG_INFINITY } else { top + sum.ln() };
        for j in (0..s.n).filter(|_| sum > 0.0) {
            for d in 0..s.d {
                o[at_q + d] += (x[j] - top).exp() / sum * v[at_k(j) + d];
            }
        }
    }
    (o, lse)
}

struct Sizes {
    b: usize,
    m: usize,
    n: usize,
    hq: usize,
    hk: usize,
    d: usize,
}

impl Sizes {
    fn dims(&self) -> [(&'static str, i64); 5] {
        let of = |n, v: usize| (n, v as i64);
        [of("B", self.b), of("M", self.m), of("N", self.n), of("HQ", self.hq), of("HK", self.hk)]
    }
}

#[test]
fn flash_attention_is_attention_also_where_rows_see_nothing() {
    for causal in [false, true] {
        let s = Sizes { b: 2, m: 70, n: 53, hq: 4, hk: 2, d: 16 };
        let program = Program::single(samples::flash(DType::F32, s.d as u64, causal));
        let arguments = arguments(&program.signature, &s.dims(), 3);
        let report = run(&program, &arguments, &Options::exact());
        let [q, k, v] = [0, 1, 2].map(|at| values(&arguments, at));
        let (o, lse) = attention(&q, &k, &v, &s, causal, 0.25);
        let close = |a: &[f64], b: &[f64]| {
            a.iter().zip(b).for_each(|(a, b)| assert!(a == b || (a - b).abs() < 1e-12, "{a} {b}"));
        };
        close(&report.outputs["o"].values, &o);
        close(&report.outputs["lse"].values, &lse);
        if causal {
            assert_eq!(report.outputs["lse"].values[0], f64::NEG_INFINITY);
        }
    }
}

#[test]
fn claims_are_tested_only_when_asked_and_the_report_says_so() {
    let program = Program::single(samples::flash(DType::F32, 16, true));
    let dims = [("B", 1), ("M", 64), ("N", 64), ("HQ", 1), ("HK", 1)];
    let arguments = arguments(&program.signature, &dims, 3);
    let plain = run(&program, &arguments, &Options { tiles: tiles(&program, 16), ..Options::exact() });
    assert!(plain.claims.is_empty());
    let all = Options { tiles: tiles(&program, 16), ..shaken(&program, Mode::Exact, 5) };
    let tested = run(&program, &arguments, &all);
    let names: Vec<&str> = tested.claims.iter().map(|c| c.claim).collect();
    assert!(names.contains(&"skip") && names.contains(&"merge"), "{names:?}");
    assert!(tested.claims.iter().all(|c| c.times > 0));
}

fn tiles(program: &Program, size: u64) -> Vec<TileBinding> {
    program.graphs.iter().map(|g| TileBinding::uniform(g, size)).collect()
}

#[test]
fn threads_do_not_show() {
    let program = Program::single(samples::flash(DType::F16, 16, true));
    let dims = [("B", 2), ("M", 100), ("N", 90), ("HQ", 4), ("HK", 2)];
    let arguments = arguments(&program.signature, &dims, 9);
    let of = |threads| -> Report {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| run(&program, &arguments, &Options::rounded()))
    };
    assert_eq!(of(1), of(3));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn tile_sizes_order_splits_and_skips_do_not_matter(seed: u64, m in 1i64..80, n in 1i64..80, causal: bool) {
        let program = Program::single(samples::flash(DType::F32, 8, causal));
        let dims = [("B", 1), ("M", m), ("N", n), ("HQ", 2), ("HK", 1)];
        let arguments = arguments(&program.signature, &dims, seed);
        let plain = run(&program, &arguments, &Options::exact());
        let other = run(&program, &arguments, &shaken(&program, Mode::Exact, seed));
        prop_assert!(distance(&plain, &other) < 1e-12);
        // Rounded after every operation, different orders differ by the accumulator's last bits.
        let plain = run(&program, &arguments, &Options::rounded());
        let other = run(&program, &arguments, &shaken(&program, Mode::Rounded, seed));
        prop_assert!(distance(&plain, &other) < 2e-5);
    }

    #[test]
    fn a_streamed_dot_may_be_cut_anywhere(seed: u64, m in 1i64..40, n in 1i64..40, k in 1i64..200) {
        for dtype in [DType::F32, DType::Bf16] {
            let program = Program::single(samples::matmul(dtype));
            let arguments = arguments(&program.signature, &[("M", m), ("N", n), ("K", k)], seed);
            let plain = run(&program, &arguments, &Options::exact());
            let other = run(&program, &arguments, &shaken(&program, Mode::Exact, seed));
            prop_assert!(distance(&plain, &other) < 1e-12);
        }
    }

    #[test]
    fn where_no_order_changes_not_a_bit_does(seed: u64, m in 1i64..60) {
        let program = Program::single(samples::softmax(DType::Bf16, 37));
        let arguments = arguments(&program.signature, &[("M", m)], seed);
        let plain = run(&program, &arguments, &Options::rounded());
        let other = run(&program, &arguments, &shaken(&program, Mode::Rounded, seed));
        prop_assert_eq!(plain.outputs, other.outputs);
    }
}
