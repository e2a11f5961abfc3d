//! Positions that are wrong and that no launcher sees: what is outside reads 0 and stores nothing, and an index tensor never
//! holds what its type forbids. The simulator would call an access outside of a tensor a fault.

use super::support::{Kernel, compile, kernel, launch};
use tile_base::DType;
use tile_plan::Request;
use tile_tensor::{Argument, Arguments, Tensor};

const TEXT: &str = include_str!("kernels.tile");

/// Launches a kernel with these tensors, looking at nothing beforehand; the tensors afterwards.
fn run(name: &'static str, dims: &[(&str, i64)], tensors: &[Tensor]) -> Vec<Vec<f64>> {
    let k: Kernel = kernel("kernels.tile", name, DType::F32);
    let graph = k.graph_of(TEXT);
    let mut found = vec![];
    for target in ["sm_80", "sm_90"] {
        let target = tile_target::find(target).expect("a target");
        let request = Request { strided: true, ..Request::default() };
        let (plan, module) = compile(&graph, target, &request);
        let mut given = Arguments(tensors.iter().cloned().map(Argument::Tensor).collect());
        let summary =
            launch(&graph, &plan, &module.ptx, dims, &mut given).unwrap_or_else(|f| panic!("{name}: {f}"));
        assert!(summary.findings.is_empty(), "{name}: {}", summary.findings[0]);
        found = given.iter().filter_map(|a| a.tensor()).map(|t| t.to_f64_vec()).collect();
    }
    found
}

fn numbers(shape: &[usize]) -> Tensor {
    let mut t = Tensor::zeros(DType::F32, shape);
    t.fill_with(|n| n as f64 + 1.0);
    t
}

const WRONG: [i32; 7] = [2, -1, 5, i32::MIN, 0, i32::MAX, 4];

#[test]
fn reads_outside_give_0_and_stores_outside_nothing() {
    let (at, dims) = (Tensor::from_i32(&[7], &WRONG), [("N", 5), ("M", 7)]);
    let y = run("pick", &dims, &[numbers(&[5, 4]), at.clone(), numbers(&[7, 4])]).remove(2);
    let row = |n: i32| if (0..5).contains(&n) { f64::from(4 * n + 1) } else { 0.0 };
    assert_eq!(y.chunks(4).map(|r| r[0]).collect::<Vec<_>>(), WRONG.map(row));
    let y = run("put", &dims, &[numbers(&[7]), at, Tensor::zeros(DType::F32, &[5])]).remove(2);
    assert_eq!(y, [5.0, 0.0, 1.0, 0.0, 7.0]);
}

#[test]
fn pages_and_segments_that_lie_outside_are_not_seen() {
    let table = Tensor::from_i32(&[3, 3], &[0, 4, -1, 3, 2, 2, 1, 1, 1]);
    let len = Tensor::from_i32(&[3], &[3, 99, -4]);
    let dims = [("NP", 4), ("B", 3), ("MP", 3)];
    let y = run("pages", &dims, &[numbers(&[4, 8]), table, len, numbers(&[3, 8])]).remove(3);
    assert_eq!(y.chunks(8).map(|r| r[0]).collect::<Vec<_>>(), [1.0, 25.0 + 17.0 + 17.0, 0.0]);
    // A segment that begins before the first row, one that falls, and one that ends behind the last row.
    let off = Tensor::from_i32(&[5], &[-70, 2, 1, 4, 1000]);
    let y = run("segments", &[("R", 6), ("E", 4)], &[numbers(&[6]), off, numbers(&[4])]).remove(2);
    assert_eq!(y, [3.0, 0.0, 9.0, 11.0]);
}

#[test]
fn index_tensors_hold_what_their_types_allow() {
    let x = Tensor::from_i32(&[7], &WRONG);
    let out = || Tensor::from_i32(&[7], &[-77; 7]);
    let made = run("make", &[("M", 7), ("N", 5)], &[x, out(), out(), out(), numbers(&[5])]);
    assert_eq!(made[1], [2.0, 0.0, 4.0, 0.0, 0.0, 4.0, 4.0]);
    assert_eq!(made[2], [2.0, -1.0, -1.0, -1.0, 0.0, -1.0, 4.0]);
    assert_eq!(made[3], [2.0, 0.0, 5.0, 0.0, 0.0, 5.0, 4.0]);
    // Which is what the next kernel relies on: it does not look.
    let ids: Vec<i32> = made[1].iter().map(|&v| v as i32).collect();
    let y = run(
        "pick_by",
        &[("N", 5), ("M", 7)],
        &[numbers(&[5, 4]), Tensor::from_i32(&[7], &ids), numbers(&[7, 4])],
    );
    assert_eq!(y[2][8], 17.0);
}
