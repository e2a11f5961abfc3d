//! Whatever indices and offsets hold, nothing outside of a tensor is read or written, and the run says where.

use tile_base::{DType, Mode, Span};
use tile_graph::*;
use tile_tensor::{Arguments, Tensor};

/// `par i in tiles(N, B) { y[i] = x[idx[i] * factor]; }` with `idx` an ordinary i64 tensor.
fn gather(factor: i64, check: Check) -> Graph {
    let t = |n: &str, m, d, s: &[&str]| samples::tensor(n, m, d, s);
    let params = vec![
        t("x", Mode::In, DType::F32, &["M"]),
        t("idx", Mode::In, DType::I64, &["N"]),
        t("y", Mode::Out, DType::F32, &["N"]),
    ];
    let mut s = samples::Sketch::new("gather", params, &["M", "N"]);
    let tile = s.b.tile_size("B", vec![], false, Span::default());
    let n = s.dim("N");
    let i = s.par_tiles("i", n, tile);
    let idx = s.load(1, &[samples::Sub::Along(i)]);
    let by = s.b.index(factor);
    let at = s.elem(ElemOp::Mul, &[idx, by]);
    let coord = Coord::new(CoordIndex::Gather { index: 0, axes: vec![0] }, check);
    let mut inputs = vec![at];
    let otherwise = (check == Check::Else).then(|| {
        inputs.push(s.f32(-7.0));
        1
    });
    let access = Access { object: ObjectId(0), coords: vec![coord], otherwise, mask: None };
    let x = s.b.one(Op::Load(access), &inputs, ValueType::tile(DType::F32, [i.axis()]));
    s.store(2, &[samples::Sub::Along(i)], x);
    s.finish()
}

fn run(graph: Graph, x: &[f32], idx: &[i64]) -> Result<Vec<f64>, Vec<tile_base::Diagnostic>> {
    let binding = TileBinding::uniform(&graph, 4);
    let kernel = tile_cpu::compile(&Program::single(graph), &[binding]).unwrap();
    let mut arguments = Arguments(vec![
        Tensor::from_f32(&[x.len()], x).into(),
        Tensor::from_i64(&[idx.len()], idx).into(),
        Tensor::zeros(DType::F32, &[idx.len()]).into(),
    ]);
    kernel.run(&mut arguments, 2)?;
    Ok(arguments[2].tensor().unwrap().to_f64_vec())
}

const HOSTILE: [i64; 9] = [-1, 5, 6, 1 << 31, 1 << 40, -(1 << 61), i64::MAX, i64::MIN, i64::MAX / 4];

#[test]
fn a_gather_outside_is_an_error_with_a_place() {
    for bad in HOSTILE {
        for factor in [1, 4] {
            let found = run(gather(factor, Check::InPlace), &[1., 2., 3., 4., 5.], &[0, 1, bad, 0, 1]);
            let found = found.expect_err("outside");
            let code = if bad.checked_mul(factor).is_some() { "T0710" } else { "T0715" };
            assert_eq!(found[0].code, code, "{bad}: {}", found[0].message);
            let names = if code == "T0710" { "`x`" } else { "`mul`" };
            assert!(found[0].message.contains(names), "{}", found[0].message);
        }
    }
}

#[test]
fn outside_that_is_meant_reads_the_value_given() {
    for bad in HOSTILE {
        let got = run(gather(1, Check::Else), &[1., 2., 3., 4., 5.], &[0, bad, 4]).unwrap();
        assert_eq!(got, [1., -7., 5.]);
    }
}

/// A claim of the compiler is not believed either.
#[test]
fn a_wrong_proof_reads_nothing() {
    let found = run(gather(1, Check::Proven), &[1., 2.], &[0, 99]).expect_err("outside");
    assert_eq!(found[0].code, "T0719");
}

/// `y[:] = x[k[0] .. + 8]`: a view whose base is whatever `k` holds.
#[test]
fn a_view_at_a_hostile_base_is_an_error() {
    let t = |n: &str, m, d, s: &[&str]| samples::tensor(n, m, d, s);
    let params = vec![
        t("x", Mode::In, DType::F32, &["M"]),
        t("k", Mode::In, DType::I64, &["N"]),
        t("y", Mode::Out, DType::F32, &["8"]),
    ];
    let mut s = samples::Sketch::new("window", params, &["M", "N"]);
    let one = s.b.index(1);
    s.par("z", one);
    let zero = s.b.index(0);
    let k = s.load(1, &[samples::Sub::At(zero)]);
    let coord = Coord::along(0, Some(0), Check::InPlace);
    let access = Access { object: ObjectId(0), coords: vec![coord], otherwise: None, mask: None };
    let x = s.b.one(Op::Load(access), &[k], ValueType::tile(DType::F32, [Axis::Fixed(8)]));
    let y = s.elem(ElemOp::Add, &[x, x]);
    s.store(2, &[samples::Sub::All], y);
    let graph = s.finish();
    let kernel = tile_cpu::compile(&Program::single(graph), &[TileBinding::new()]).unwrap();
    let x: Vec<f32> = (0..20).map(|v| v as f32).collect();
    let run = |k: i64| {
        let mut arguments = Arguments(vec![
            Tensor::from_f32(&[20], &x).into(),
            Tensor::from_i64(&[1], &[k]).into(),
            Tensor::zeros(DType::F32, &[8]).into(),
        ]);
        kernel.run(&mut arguments, 1)?;
        Ok::<_, Vec<tile_base::Diagnostic>>(arguments[2].tensor().unwrap().to_f64_vec()[0])
    };
    assert_eq!(run(12).unwrap(), 24.0);
    for bad in [13, -1, i64::MAX, i64::MIN, 1 << 40] {
        assert_eq!(run(bad).expect_err("outside")[0].code, "T0710", "{bad}");
    }
}
