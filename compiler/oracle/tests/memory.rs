//! Rules 11, 12 and 16: accesses outside, and who may touch what. Each program breaks one rule, and the witness names
//! the place, the instances and the iteration.

mod support;

use support::*;
use tile_graph::{Program, TileBinding};
use tile_oracle::Options;
use tile_tensor::{Arguments, Tensor};

fn f32s(n: usize) -> Tensor {
    Tensor::from_f64(tile_base::DType::F32, &[n], &(0..n).map(|x| x as f64).collect::<Vec<_>>())
}

fn sized(program: &Program, size: u64) -> Options {
    let tiles = program.graphs.iter().map(|g| TileBinding::uniform(g, size)).collect();
    Options { tiles, ..Options::exact() }
}

/// What a kernel `f` over one dimension is refused with, at tiles of 4 in any order and on any number of threads.
#[track_caller]
fn refused_with(text: &str, arguments: Vec<Tensor>, expected: &str) {
    let program = kernel(text, "f", "");
    let arguments = Arguments(arguments.into_iter().map(Into::into).collect());
    for order_seed in [None, Some(1), Some(2)] {
        let options = Options { order_seed, ..sized(&program, 4) };
        let (_, told) = refusal(&program, &arguments, &options);
        assert_eq!(told, expected, "in order {order_seed:?}");
    }
}

#[test]
fn a_read_past_the_end_names_the_coordinate_and_the_instance() {
    refused_with(
        "kernel f(x: in f32[N], o: out f32[N]) { tile B; par i in tiles(N, B) { o[i] = x[i + 1]; } }",
        vec![f32s(10), f32s(10)],
        "T0450: `x` is read at 10 in dimension 0, whose positions are 0..10
  outside
  note: in the instance i = 8..10",
    );
}

#[test]
fn else_says_that_outside_is_meant() {
    let text =
        "kernel f(x: in f32[N], o: out f32[N]) { tile B; par i in tiles(N, B) { o[i] = x[i - 2] else 7; } }";
    let program = kernel(text, "f", "");
    let arguments = Arguments(vec![f32s(10).into(), f32s(10).into()]);
    let report = run(&program, &arguments, &sized(&program, 4));
    assert_eq!(report.outputs["o"].values, [7., 7., 0., 1., 2., 3., 4., 5., 6., 7.]);
}

#[test]
fn an_element_that_two_instances_write_names_both() {
    refused_with(
        "kernel f(x: in f32[N], p: in i32[N], o: inout f32[N]) {
            tile B;
            par i in tiles(N, B) { o[p[i].to(index)] = x[i]; }
        }",
        vec![f32s(6), Tensor::from_i32(&[6], &[3, 4, 2, 1, 5, 3]), f32s(6)],
        "T0456: two instances touch `o` at [3], and one writes it
  the second of them
  note: the instance i = 0..4 and the instance i = 4..6
  note: in the instance i = 4..6",
    );
}

#[test]
fn an_element_written_twice_by_one_instance() {
    refused_with(
        "kernel f(x: in f32[N], o: out f32[N]) {
            tile B;
            par i in tiles(N, B) { for r in 0..2 { o[i] = x[i]; } }
        }",
        vec![f32s(10), f32s(10)],
        "T0457: `o` is written twice at [0] by one instance
  the second time
  note: in the instance i = 0..4
  note: in the iteration r = 1",
    );
}

#[test]
fn an_output_that_is_not_covered() {
    refused_with(
        "kernel f(x: in f32[N], o: out f32[N]) {
            tile B;
            par i in tiles(0..N - 3, B) { o[i] = x[i]; }
        }",
        vec![f32s(10), f32s(10)],
        "T0458: `o` is not written at [7]
  every element of an `out` tensor is written exactly once
  note: 3 of 10 elements have no value",
    );
}

#[test]
fn a_read_of_what_another_instance_writes() {
    refused_with(
        "kernel f(x: inout f32[N]) {
            tile B;
            par i in tiles(N, B) { x[i] = x[i - 4] else 0; }
        }",
        vec![f32s(8)],
        "T0456: two instances touch `x` at [0], and one writes it
  the second of them
  note: the instance i = 0..4 and the instance i = 4..8
  note: in the instance i = 4..8",
    );
    refused_with(
        "kernel f(x: inout f32[N]) {
            tile B;
            par i in tiles(N, B) { x[i] = x[i + 4] else 0; }
        }",
        vec![f32s(8)],
        "T0459: `x` is read at [4] by another instance than the one that writes it
  no instance reads what another one writes: there is no order between them
  note: the instance i = 4..8 writes it, the instance i = 0..4 reads it",
    );
}

#[test]
fn an_instance_may_read_what_it_wrote() {
    let text =
        "kernel f(x: inout f32[N]) { tile B; par i in tiles(N, B) { for r in 0..3 { x[i] = x[i] * 2.0; } } }";
    let program = kernel(text, "f", "");
    let report = run(&program, &Arguments(vec![f32s(5).into()]), &sized(&program, 2));
    assert_eq!(report.outputs["x"].values, [0., 8., 16., 24., 32.]);
}

#[test]
fn sums_start_at_zero_and_take_from_every_instance() {
    let text = "kernel f(x: in f32[N], s: sum f32[3], c: sum i32[1]) {
        tile B;
        par i in tiles(N, B) { for r in 0..3 { s[r] += x[i].sum(); } c[0] += 1; }
    }";
    let program = kernel(text, "f", "");
    let s = Tensor::from_f32(&[3], &[9., 9., 9.]);
    let arguments = Arguments(vec![f32s(10).into(), s.into(), Tensor::from_i32(&[1], &[5]).into()]);
    let report = run(&program, &arguments, &sized(&program, 4));
    assert_eq!(report.outputs["s"].values, [45.0; 3]);
    assert_eq!(report.outputs["c"].values, [3.0]);
}

#[test]
fn a_gather_is_checked_element_by_element() {
    let text = "kernel f(x: in f32[N], p: in i32[M], o: out f32[M]) {
        tile B;
        par i in tiles(M, B) { o[i] = x[p[i].to(index)]; }
    }";
    refused_with(
        text,
        vec![f32s(5), Tensor::from_i32(&[6], &[4, 3, 2, 1, 0, 5]), f32s(6)],
        "T0450: `x` is read at 5 in dimension 0, whose positions are 0..5
  outside
  note: in the instance i = 4..6",
    );
    let program = kernel(text, "f", "");
    let p = Tensor::from_i32(&[5], &[4, 3, 2, 1, 0]);
    let arguments = Arguments(vec![f32s(5).into(), p.into(), f32s(5).into()]);
    assert_eq!(run(&program, &arguments, &sized(&program, 2)).outputs["o"].values, [4., 3., 2., 1., 0.]);
}

#[test]
fn none_of_an_optional_id_reads_else_and_a_list_passes_over_it() {
    let text = "kernel f(x: in f32[N], ids: in id?<N>[M], o: out f32[M], s: out f32[1]) {
        tile B;
        par z in 0..1 {
            for i in tiles(M, B) { o[i] = x[ids[i]] else -1; }
            var t: f32 = 0;
            for n in ids[:] { t += x[n]; }
            s[0] = t;
        }
    }";
    let program = kernel(text, "f", "");
    let ids = Tensor::from_i32(&[4], &[2, -1, 0, 2]);
    let arguments = Arguments(vec![f32s(3).into(), ids.into(), f32s(4).into(), f32s(1).into()]);
    let report = run(&program, &arguments, &sized(&program, 3));
    assert_eq!(report.outputs["o"].values, [2., -1., 0., 2.]);
    assert_eq!(report.outputs["s"].values, [4.0]);
}

#[test]
fn an_index_out_of_its_type_is_refused_where_it_is_stored() {
    refused_with(
        "kernel f(x: in f32[N], p: out id<N>[N]) { tile B; par i in tiles(N, B) { p[i] = i.at + 1; } }",
        vec![f32s(5), Tensor::from_i32(&[5], &[0; 5])],
        "T0452: `p`[4] is given 5, and its type allows 0..=4
  note: in the instance i = 4..5",
    );
}

#[test]
fn integers_do_not_wrap() {
    refused_with(
        "kernel f(x: in i8[N], o: out i8[N]) { tile B; par i in tiles(N, B) { o[i] = x[i] + x[i]; } }",
        vec![
            Tensor::from_f64(tile_base::DType::I8, &[5], &[1., 2., 3., 4., 64.]),
            Tensor::zeros(tile_base::DType::I8, &[5]),
        ],
        "T0451: `add` of 64 and 64 overflows i8
  this is i8
  note: in the instance i = 4..5",
    );
}

#[test]
fn absurd_tile_sizes_are_harmless_and_absurd_tiles_are_refused() {
    let text = "kernel f(x: in f32[N], o: out f32[N]) { tile B; par i in tiles(N, B) { o[i] = x[i]; } }";
    let program = kernel(text, "f", "");
    let arguments = Arguments(vec![f32s(5).into(), f32s(5).into()]);
    let report = run(&program, &arguments, &sized(&program, u64::MAX));
    assert_eq!(report.outputs["o"].values, [0., 1., 2., 3., 4.]);
    assert_eq!(refusal(&program, &arguments, &sized(&program, 0)).0, "T0463");
    let few = Options { memory_limit: 100, ..Options::exact() };
    assert_eq!(refusal(&program, &arguments, &few).0, "T0462");
    let wide = "kernel f<const D>(x: in f32[N], o: out f32[N]) {
        tile B;
        par i in tiles(N, B) { var a: f32[i, D] = 0; o[i] = x[i] + a.sum(1)[:, 0]; }
    }";
    let program = kernel(wide, "f", "D=1000000000");
    assert_eq!(refusal(&program, &arguments, &Options::exact()).0, "T0462");
}
