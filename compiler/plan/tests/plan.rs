//! Plans of the sample kernels: what inference finds, what is refused.

use tile_base::DType;
use tile_graph::{Op, samples};
use tile_plan::{How, Instruction, Operand, Plan, Request, TensorClass, plan};
use tile_target::{Target, find};

fn target(name: &str) -> &'static Target {
    find(name).expect("a target")
}

fn tiles(sizes: &[(&str, u64)]) -> Request {
    Request { tiles: sizes.iter().map(|&(n, s)| (n.to_string(), s)).collect(), ..Request::default() }
}

fn codes(result: Result<Plan, Vec<tile_base::Diagnostic>>) -> Vec<&'static str> {
    result.err().unwrap_or_default().iter().map(|d| d.code).collect()
}

#[test]
fn attention_keeps_rows_in_a_warp_and_weights_in_registers() {
    for d in [64, 128] {
        let g = samples::flash(DType::F16, d, true);
        let p = plan(&g, target("sm_80"), &Request::default()).expect("a plan");
        assert!(
            p.conversions.values().all(|c| !matches!(c.how, How::Shared { .. })),
            "{}",
            tile_plan::print(&g, &p)
        );
        assert!(p.cross_warp.is_empty());
        let dots: Vec<_> = p.dots.values().collect();
        assert_eq!(dots.len(), 2);
        assert!(dots.iter().all(|d| d.warps.1 == 1 && matches!(d.instruction, Instruction::Mma(_))));
        // Q from shared memory, kept over the loop; P in the registers of the scores.
        assert!(
            matches!(&dots[0].lhs, Operand::Shared(s) if matches!(s.written, tile_plan::Written::After(_)))
        );
        assert!(matches!(dots[1].lhs, Operand::Registers { .. }));
        assert!(dots[1].addend.is_some());
    }
}

#[test]
fn true_f32_products_never_use_tensor_cores() {
    let g = samples::matmul(DType::F32);
    let p = plan(&g, target("sm_90"), &Request::default()).expect("a plan");
    assert!(p.dots.values().all(|d| d.instruction == Instruction::MultiplyAdd));
}

#[test]
fn vectors_follow_the_stride_class() {
    let g = samples::matmul(DType::F16);
    let widths = |request: &Request| {
        let p = plan(&g, target("sm_80"), request).expect("a plan");
        let mut loads: Vec<(String, u32)> = vec![];
        for (node, access) in &p.accesses {
            if let Op::Load(a) = &g.node(*node).op {
                loads.push((g.object(a.object).name.clone(), access.vector));
            }
        }
        loads
    };
    let of = |a: u32, b: u32| vec![("a".to_string(), a), ("b".to_string(), b)];
    assert_eq!(widths(&Request::default()), of(8, 8));
    assert_eq!(widths(&Request { strided: true, ..Request::default() }), of(1, 1));
    // A tile of 20 columns starts at multiples of 4 only.
    assert_eq!(widths(&tiles(&[("s", 20)])), of(4, 8));
    let mut transposed = Request::default();
    transposed.classes.insert("a".into(), TensorClass::Vector { unit: 0, bytes: 16 });
    assert_eq!(widths(&transposed), of(8, 8));
}

#[test]
fn buffers_that_are_alive_together_do_not_overlap() {
    for g in [
        samples::flash(DType::F32, 128, false),
        samples::flash(DType::F16, 256, true),
        samples::matmul(DType::Bf16),
    ] {
        let p = plan(&g, target("sm_80"), &Request::default()).expect("a plan");
        for (n, a) in p.buffers.iter().enumerate() {
            for b in &p.buffers[..n] {
                let together = a.life.0 <= b.life.1 && b.life.0 <= a.life.1;
                let overlap = a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
                assert!(!(together && overlap), "{} and {}", a.name, b.name);
            }
        }
    }
}

#[test]
fn every_layout_covers_its_tile_and_is_sound() {
    let graphs = [
        samples::add(DType::F32),
        samples::matmul(DType::F16),
        samples::softmax(DType::F16, 1000),
        samples::flash(DType::F16, 40, true),
        samples::flash(DType::F32, 72, true),
    ];
    for g in &graphs {
        for name in ["sm_80", "sm_120"] {
            let p = plan(g, target(name), &Request::default()).expect("a plan");
            for (value, layout) in &p.layouts {
                assert_eq!(layout.check(), Ok(()), "{} {value:?}", g.name);
                for (dim, &axis) in g.type_of(*value).axes.iter().enumerate() {
                    let capacity = p.binding.capacity(g, axis).expect("bound");
                    assert!(u64::from(layout.coverage(dim)) >= capacity);
                }
            }
            for node in g.nodes_under(tile_graph::ROOT) {
                for value in g.outputs(node).filter(|v| !g.type_of(*v).is_scalar()) {
                    assert!(p.layouts.contains_key(&value), "{} {value:?} has no layout", g.name);
                }
            }
        }
    }
}

/// Scores of few rows are in one warp, whole; of the wide result each warp has some columns.
#[test]
fn warps_without_rows_split_the_columns_of_the_result() {
    let g = samples::flash(DType::F16, 256, true);
    let mut request = tiles(&[("BM", 16), ("BN", 32)]);
    request.warps = Some(4);
    let p = plan(&g, target("sm_80"), &request).expect("a plan");
    let warps: Vec<(u32, u32)> = p.dots.values().map(|d| d.warps).collect();
    assert_eq!(warps, [(1, 1), (1, 4)]);
    assert!(p.dots.values().any(|d| matches!(d.lhs, Operand::Registers { .. })));
    assert!(p.cross_warp.is_empty() && p.notes.is_empty());
    assert!(p.conversions.values().all(|c| !matches!(c.how, How::Shared { .. })));
}

/// 16 warps have 128 registers a thread each; a plan that needs little more says so, one that needs far more is none.
#[test]
fn a_plan_that_lacks_few_registers_is_a_plan() {
    let g = samples::flash(DType::F16, 256, false);
    let with = |bm, warps| Request { warps: Some(warps), ..tiles(&[("BM", bm), ("BN", 64)]) };
    let p = plan(&g, target("sm_80"), &with(64, 4)).expect("a plan");
    assert_eq!(p.notes.iter().map(|n| n.code).collect::<Vec<_>>(), ["T0602"], "{}", p.registers);
    assert_eq!(codes(plan(&g, target("sm_80"), &with(128, 2))), ["T0601"]);
    assert_eq!([4, 8, 16, 32].map(|w| tile_plan::registers_of_a_thread(p.target, w)), [255, 255, 128, 64]);
}

#[test]
fn odd_tile_sizes_are_planned() {
    let g = samples::flash(DType::F16, 64, true);
    for (bm, bn) in [(48, 40), (17, 33), (96, 176), (1, 1)] {
        let p = plan(&g, target("sm_80"), &tiles(&[("BM", bm), ("BN", bn)]));
        assert!(p.is_ok() || codes(p) == ["T0601"], "{bm} x {bn}");
    }
}

#[test]
fn what_does_not_fit_or_exist_is_refused() {
    let g = samples::flash(DType::F32, 256, false);
    assert_eq!(codes(plan(&g, target("sm_86"), &tiles(&[("BM", 512), ("BN", 512)]))), ["T0601"]);
    assert_eq!(codes(plan(&g, target("sm_86"), &tiles(&[("BX", 16)]))), ["T0604"]);
    assert_eq!(codes(plan(&g, target("sm_86"), &tiles(&[("BM", 0)]))), ["T0605"]);
    assert_eq!(
        codes(plan(&g, target("sm_86"), &Request { warps: Some(3), ..Request::default() })),
        ["T0603"]
    );
    let mut classes = Request::default();
    classes.classes.insert("z".into(), TensorClass::Strided);
    assert_eq!(codes(plan(&g, target("sm_86"), &classes)), ["T0606"]);
}

#[test]
fn the_text_of_a_plan() {
    let g = samples::matmul(DType::F16);
    let p = plan(&g, target("sm_90"), &tiles(&[("BM", 64), ("BN", 64)])).expect("a plan");
    insta::assert_snapshot!(tile_plan::print(&g, &p));
}

/// A running sum along rows of `row` elements, `rows` of them in a tile.
fn row_scan(row: &str) -> tile_graph::Graph {
    use samples::{Sketch, Sub, tensor};
    use tile_base::Mode;
    let params =
        vec![tensor("x", Mode::In, DType::F32, &["M", row]), tensor("y", Mode::Out, DType::F32, &["M", row])];
    let mut s = Sketch::new("scan", params, &["M"]);
    let tile = s.b.tile_size("BM", vec![], false, tile_base::Span::default());
    let m = s.dim("M");
    let i = s.par_tiles("i", m, tile);
    let x = s.load(0, &[Sub::Along(i), Sub::All]);
    let scan = Op::Scan { axis: 1, kind: tile_graph::ReduceKind::Sum, reverse: false, exclusive: false };
    let y = s.op(scan, &[x]);
    s.store(1, &[Sub::Along(i), Sub::All], y);
    s.finish()
}

#[test]
fn a_line_gets_the_lanes_that_the_block_can_spare() {
    for (row, rows, lanes) in [("64", 1, 32), ("64", 8, 16), ("64", 200, 1), ("4", 1, 4), ("3", 2, 4)] {
        let g = row_scan(row);
        let request = Request { warps: Some(4), ..tiles(&[("BM", rows)]) };
        let p = plan(&g, target("sm_80"), &request).expect("a plan");
        let found: Vec<u32> = p.exchanges.values().map(|x| x.lanes).collect();
        assert_eq!(found, [lanes], "{rows} rows of {row}");
    }
}

#[test]
fn a_scan_waits_before_it_works_and_before_it_is_read() {
    use tile_plan::Slot;
    let g = row_scan("64");
    let p = plan(&g, target("sm_80"), &tiles(&[("BM", 4)])).expect("a plan");
    let slots: Vec<Slot> = p.barriers.iter().map(|&(_, slot)| slot).collect();
    assert_eq!(slots, [Slot::Step(1), Slot::Step(2)]);
    // Neither the operand nor the result is converted: the array is written and read in their own layouts.
    assert!(p.conversions.is_empty(), "{}", tile_plan::print(&g, &p));
}
