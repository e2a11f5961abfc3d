//! Loops, branches, asserts, prints, optional outputs; ops with temporaries and host loops.

mod support;

use support::*;
use tile_oracle::Options;
use tile_tensor::{Arguments, Tensor};

fn f32s(n: usize) -> Tensor {
    Tensor::from_f64(tile_base::DType::F32, &[n], &(0..n).map(|x| x as f64).collect::<Vec<_>>())
}

fn values(text: &str, arguments: Vec<Tensor>) -> Vec<f64> {
    let program = kernel(text, "f", "");
    let arguments = Arguments(arguments.into_iter().map(Into::into).collect());
    run(&program, &arguments, &Options::exact()).outputs["o"].values.clone()
}

#[test]
fn while_runs_until_its_condition_fails_and_has_a_limit() {
    let text = "kernel f(x: in f32[N], o: out f32[1]) {
        par z in 0..1 { var a: f32 = x[1]; var n: i32 = 0; while a < 100 { a = a * 2; n += 1; } o[0] = a + n.to(f32); }
    }";
    assert_eq!(values(text, vec![f32s(2), f32s(1)]), [128.0 + 7.0]);
    let program = kernel(text, "f", "");
    let zero = Tensor::from_f32(&[2], &[0.0, 0.0]);
    let endless = Arguments(vec![zero.into(), f32s(1).into()]);
    let few = Options { step_limit: 1000, ..Options::exact() };
    assert_eq!(refusal(&program, &endless, &few).0, "T0461");
}

#[test]
fn loops_run_backwards_break_and_count() {
    let text = "kernel f(x: in f32[N], o: out f32[4]) {
        tile B;
        par z in 0..1 {
            var a: f32 = 0;
            for p in (2..5).rev() { a = a * 10 + x[p]; }
            var b: f32 = 0;
            for p in 0..N { b = b * 10 + x[p]; if p == 2 { break; } }
            var c: f32 = 0;
            for i in tiles(N, 4).rev() { c = c * 100 + x[i].sum(); }
            var d: index = 0;
            for i in tiles(N, 4) { d += i.len * (i.id + 1); }
            o[0] = a; o[1] = b; o[2] = c; o[3] = d.to(f32);
        }
    }";
    assert_eq!(values(text, vec![f32s(6), f32s(4)]), [432.0, 12.0, 906.0, 8.0]);
}

#[test]
fn an_assertion_tells_where_and_prints_come_in_order() {
    let text = "kernel f(x: in f32[N], o: out f32[N]) {
        tile B;
        par i in tiles(N, B) { assert x[i] < 5, \"too large\"; o[i] = x[i]; }
    }";
    let program = kernel(text, "f", "");
    let tiles = vec![tile_graph::TileBinding::uniform(&program.graphs[0], 4)];
    let options = Options { tiles, ..Options::exact() };
    let (_, told) = refusal(&program, &Arguments(vec![f32s(8).into(), f32s(8).into()]), &options);
    assert_eq!(
        told,
        "T0460: too large\n  false here\n  note: at position [1] of the tile\n  note: in the instance i = 4..8"
    );
}

#[test]
fn reductions_scans_and_order_statistics_of_tails() {
    let text = "fn first(a: f32, b: f32) { a * 10 + b }
    kernel f(x: in f32[3, 4], o: out f32[12]) {
        par z in 0..1 {
            let t = x[:, :];
            let s = t.cumsum_rows();
            o[0..12] = s;
        }
    }";
    // The language has no such method; what it has is tested on real ones below.
    assert!(!tile_sema::check(&module(text)).is_empty());
    let text = "fn digits(a: f32, b: f32) { a * 10 + b }
    kernel f(x: in f32[3, 4], o: out f32[3, 4], r: out f32[3], k: out f32[3, 2], w: out index[3, 2]) {
        par z in 0..1 {
            let t = x[:, :];
            o[:, :] = cumsum(t, 1, rev = true);
            r[:] = reduce(t, 1, digits)[:, 0];
            let (v, p) = topk(t, k = 2);
            k[:, :] = v;
        }
    }";
    let text = text.replace(", w: out index[3, 2]", "");
    let program = kernel(&text, "f", "");
    let x = Tensor::from_f32(&[3, 4], &[1., 2., 3., 4., 4., 3., 2., 1., 5., 5., 0., 5.]);
    let z = |shape: &[usize]| Tensor::zeros(tile_base::DType::F32, shape);
    let arguments = Arguments(vec![x.into(), z(&[3, 4]).into(), z(&[3]).into(), z(&[3, 2]).into()]);
    let r = run(&program, &arguments, &Options::exact());
    assert_eq!(r.outputs["o"].values[..4], [10., 9., 7., 4.]);
    assert_eq!(r.outputs["r"].values, [1234., 4321., 5505.]);
    assert_eq!(r.outputs["k"].values, [4., 3., 4., 3., 5., 5.]);
}

const TREE: &str = "
    kernel double(x: in f32[N], o: out f32[N]) { tile B; par i in tiles(N, B) { o[i] = x[i] * 2; } }
    kernel join(a: in f32[N], b: in f32[N], o: out f32[N]) { tile B; par i in tiles(N, B) { o[i] = a[i] + b[i]; } }
    op f(x: in f32[N], o: out f32[N]) {
        temp z: f32[4, N];
        run double(x, z[0]);
        for l in 1..4 { run double(z[l - 1], z[l]); }
        if N > 3 { run join(z[3], z[0], o); } else { run double(x, o); }
    }
    op early(x: in f32[N], o: out f32[N]) { temp z: f32[N]; run double(z, o); run double(x, z); }
    op same(x: in f32[N], o: out f32[N]) { temp z: f32[N]; run double(x, z); run double(z, z); run double(z, o); }
";

#[test]
fn an_op_runs_launches_over_parts_of_temporaries() {
    let program = op(TREE, "f", "");
    let of = |n: usize| {
        let arguments = Arguments(vec![f32s(n).into(), f32s(n).into()]);
        run(&program, &arguments, &Options::exact())
    };
    let report = of(5);
    assert_eq!(report.outputs["o"].values, [0., 18., 36., 54., 72.]);
    assert_eq!(report.launches, 5);
    assert_eq!(of(3).outputs["o"].values, [0., 2., 4.]);
}

#[test]
fn an_op_may_not_read_what_is_not_written_nor_write_what_it_reads() {
    let arguments = Arguments(vec![f32s(5).into(), f32s(5).into()]);
    for (name, code) in [("early", "T0469"), ("same", "T0707")] {
        assert_eq!(refusal(&op(TREE, name, ""), &arguments, &Options::exact()).0, code);
    }
}

#[test]
fn temporaries_are_rounded_in_rounded_mode_only() {
    let text = "
    kernel scale(x: in f32[N], h: out f16[N]) { tile B; par i in tiles(N, B) { h[i] = (x[i] / 3).to(f16); } }
    kernel back(h: in f16[N], o: out f32[N]) { tile B; par i in tiles(N, B) { o[i] = h[i].to(f32) * 3; } }
    op f(x: in f32[N], o: out f32[N]) { temp h: f16[N]; run scale(x, h); run back(h, o); }";
    let program = op(text, "f", "");
    let arguments = Arguments(vec![f32s(9).into(), f32s(9).into()]);
    let exact = run(&program, &arguments, &Options::exact());
    assert!(exact.outputs["o"].values.iter().enumerate().all(|(n, &v)| (v - n as f64).abs() < 1e-14));
    let rounded = run(&program, &arguments, &Options::rounded());
    assert!((rounded.outputs["o"].values[1] - 1.0).abs() > 1e-5);
}
