//! Hand-written kernels of compute capability 8.0 and 9.0: right at every shape, clean in check mode, whatever the moment at
//! which asynchronous effects come.

use crate::support::Problem;

const SEEDS: [u64; 4] = [0, 1, 2, 3];

#[track_caller]
fn all_clean(ptx: &str, shapes: &[&dyn Fn() -> Problem]) {
    for (at, shape) in shapes.iter().enumerate() {
        for seed in SEEDS {
            for check in [false, true] {
                let outcome = shape().run(ptx, check, seed);
                assert!(outcome.clean(), "shape {at}, seed {seed}, check {check}: {outcome:#?}");
            }
        }
    }
}

#[test]
fn matrix_product_with_roles_and_a_ring() {
    use crate::support::gemm_tma as p;
    let ptx = include_str!("../kernels/gemm_tma.ptx");
    // One tile and one stage; all stages twice round; edges on every side; two by two tiles.
    all_clean(
        ptx,
        &[&|| p(128, 64, 64), &|| p(128, 64, 384), &|| p(100, 40, 200), &|| p(1, 8, 8), &|| p(200, 136, 136)],
    );
}

#[test]
fn attention_with_scores_in_registers() {
    use crate::support::attention as p;
    let ptx = include_str!("../kernels/attention.ptx");
    all_clean(ptx, &[&|| p(64, 64), &|| p(64, 320), &|| p(100, 200), &|| p(1, 1)]);
}

#[test]
fn matrix_product_of_a_cluster_with_multicast() {
    use crate::support::gemm_cluster as p;
    let ptx = include_str!("../kernels/gemm_cluster.ptx");
    all_clean(
        ptx,
        &[&|| p(128, 64, 64), &|| p(128, 64, 448), &|| p(70, 50, 136), &|| p(1, 1, 8), &|| p(300, 100, 200)],
    );
}

#[test]
fn matrix_product_with_cp_async() {
    use crate::support::gemm_cp_async as p;
    let ptx = include_str!("../kernels/gemm_cp_async.ptx");
    all_clean(
        ptx,
        &[&|| p(64, 64, 32), &|| p(64, 64, 256), &|| p(50, 33, 72), &|| p(1, 1, 8), &|| p(130, 70, 136)],
    );
}

#[test]
fn sums_by_bulk_copies_and_reductions() {
    use crate::support::stream_reduce as p;
    let ptx = include_str!("../kernels/stream_reduce.ptx");
    all_clean(ptx, &[&|| p(1, 1024), &|| p(5, 2048), &|| p(3, 1028), &|| p(2, 4)]);
}

#[test]
fn sums_in_turns() {
    use crate::support::split_k as p;
    let ptx = include_str!("../kernels/split_k.ptx");
    all_clean(ptx, &[&|| p(8, 128, 4), &|| p(10, 300, 3), &|| p(1, 1, 1), &|| p(3, 130, 5)]);
}

#[test]
fn copies_through_maps_made_on_the_device() {
    use crate::support::device_map as p;
    let ptx = include_str!("../kernels/device_map.ptx");
    all_clean(ptx, &[&|| p(8, 32), &|| p(20, 100), &|| p(1, 4)]);
}

#[test]
fn sums_exchanged_between_the_ctas_of_a_cluster() {
    all_clean(include_str!("../kernels/exchange.ptx"), &[&crate::support::exchange]);
}
