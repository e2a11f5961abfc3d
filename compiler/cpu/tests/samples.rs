//! The graph samples at odd sizes and odd tile sizes, against the oracle in rounded mode.

use tile_base::DType;
use tile_graph::{Graph, Program, TileBinding, samples};
use tile_tensor::{Argument, Arguments, Tensor};

/// Values in [-1, 1) that no pattern of tile sizes repeats.
fn noise(dtype: DType, shape: &[usize], seed: u64) -> Tensor {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let count = shape.iter().product();
    let values: Vec<f64> = (0..count)
        .map(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f64 / (1u64 << 23) as f64 - 1.0
        })
        .collect();
    Tensor::from_f64(dtype, shape, &values)
}

/// Runs on the CPU with one and three threads and on the oracle; the greatest difference relative to 1 + |value|.
fn compare(graph: Graph, tiles: &[(&str, u64)], arguments: &Arguments, tolerance: f64) {
    let binding = TileBinding::named(&graph, tiles).unwrap();
    let program = Program::single(graph);
    let kernel = tile_cpu::compile(&program, std::slice::from_ref(&binding)).unwrap_or_else(|d| {
        panic!("{}", d.iter().map(|d| format!("{}: {} {:?}", d.code, d.message, d.notes)).collect::<String>())
    });
    let mut one = arguments.clone();
    kernel.run(&mut one, 1).unwrap();
    let mut three = arguments.clone();
    kernel.run(&mut three, 3).unwrap();
    let mut judge = arguments.clone();
    let options =
        tile_oracle::Options { mode: tile_oracle::Mode::Rounded, tiles: vec![binding], ..Default::default() };
    tile_oracle::run(&program, &mut judge, &options).unwrap();
    for (at, param) in program.signature.params.iter().enumerate() {
        let (Argument::Tensor(a), Argument::Tensor(b), Argument::Tensor(c)) =
            (&one[at], &three[at], &judge[at])
        else {
            continue;
        };
        assert_eq!(a.bytes(), b.bytes(), "`{}` depends on the threads", param.name());
        for (n, (x, y)) in a.to_f64_vec().into_iter().zip(c.to_f64_vec()).enumerate() {
            let same = x == y || (x.is_nan() && y.is_nan());
            let near = (x - y).abs() <= tolerance * (1.0 + y.abs());
            assert!(same || near, "`{}` at {n}: {x}, the oracle has {y}", param.name());
        }
    }
}

fn tolerance(dtype: DType) -> f64 {
    match dtype {
        DType::F32 => 2e-5,
        DType::F16 => 4e-3,
        DType::Bf16 => 3e-2,
        _ => 1e-12,
    }
}

#[test]
fn add() {
    for dtype in [DType::F32, DType::F16, DType::Bf16, DType::F64] {
        for (n, b) in [(1, 7), (37, 8), (1000, 64), (64, 64)] {
            let x = noise(dtype, &[n], 1);
            let y = noise(dtype, &[n], 2);
            let arguments = Arguments(vec![x.into(), y.into(), Tensor::zeros(dtype, &[n]).into()]);
            compare(samples::add(dtype), &[("B", b)], &arguments, 0.0);
        }
    }
}

#[test]
fn matmul() {
    for dtype in [DType::F32, DType::F16, DType::Bf16, DType::F64] {
        for (m, k, n, bm, bn, bk) in [(1, 1, 1, 4, 4, 4), (33, 70, 19, 16, 8, 32), (65, 130, 100, 48, 64, 40)]
        {
            let arguments = Arguments(vec![
                noise(dtype, &[m, k], 1).into(),
                noise(dtype, &[k, n], 2).into(),
                Tensor::zeros(dtype, &[m, n]).into(),
            ]);
            let tiles = [("BM", bm), ("BN", bn), ("s", bk)];
            compare(samples::matmul(dtype), &tiles, &arguments, tolerance(dtype));
        }
    }
}

#[test]
fn matmul_of_tensors_with_any_strides() {
    let (m, k, n) = (20, 33, 17);
    let a = noise(DType::F32, &[k, m], 1).transposed();
    let b = noise(DType::F32, &[k, n], 2).spread(3);
    let arguments = Arguments(vec![a.into(), b.into(), Tensor::zeros(DType::F32, &[m, n]).into()]);
    compare(samples::matmul(DType::F32), &[("BM", 16), ("BN", 8), ("s", 10)], &arguments, 2e-5);
}

#[test]
fn softmax() {
    for dtype in [DType::F32, DType::F16, DType::Bf16] {
        for (m, row, bm) in [(1, 1, 4), (5, 3, 2), (17, 130, 8), (9, 1000, 4)] {
            let arguments =
                Arguments(vec![noise(dtype, &[m, row], 3).into(), Tensor::zeros(dtype, &[m, row]).into()]);
            compare(samples::softmax(dtype, row as u64), &[("BM", bm)], &arguments, tolerance(dtype));
        }
    }
}

#[test]
fn flash() {
    for dtype in [DType::F32, DType::F16, DType::Bf16] {
        for causal in [false, true] {
            for (m, n, bm, bn) in [(1, 1, 16, 16), (40, 70, 16, 24), (70, 40, 32, 16), (65, 65, 64, 64)] {
                let (b, hq, hk, d) = (2, 4, 2, 24);
                let arguments = Arguments(vec![
                    noise(dtype, &[b, m, hq, d], 1).into(),
                    noise(dtype, &[b, n, hk, d], 2).into(),
                    noise(dtype, &[b, n, hk, d], 3).into(),
                    Tensor::zeros(dtype, &[b, m, hq, d]).into(),
                    Tensor::zeros(DType::F32, &[b, hq, m]).into(),
                    0.25f64.into(),
                ]);
                let tiles = [("BM", bm), ("BN", bn)];
                compare(samples::flash(dtype, d as u64, causal), &tiles, &arguments, tolerance(dtype));
            }
        }
    }
}
