//! Which loads the copy engine does, where their tiles lie, and why others stay with the threads.

use tile_base::{DType, Severity, Span};
use tile_graph::{Graph, samples};
use tile_plan::{Operand, Plan, Request, TensorClass, bulk::Wish, plan};

fn wanted(paths: &[&str]) -> Request {
    let wish = |p: &&str| Wish { path: p.to_string(), span: Span::default(), required: false };
    Request { bulk: paths.iter().map(wish).collect(), ..Request::default() }
}

fn on(target: &str, g: &Graph, request: &Request) -> Plan {
    plan(g, tile_target::find(target).expect("a target"), request).unwrap_or_else(|e| panic!("{e:#?}"))
}

/// Why a wish is not granted; nothing when it is.
fn refusal(target: &str, g: &Graph, request: &Request) -> String {
    let p = on(target, g, request);
    let notes: Vec<&str> = p.notes.iter().filter(|d| d.code == "T0607").map(|d| &d.message[..]).collect();
    assert_eq!(p.bulk.is_empty(), !notes.is_empty(), "{notes:?}");
    notes.join("; ")
}

#[test]
fn a_box_for_each_panel_of_an_operand() {
    let g = samples::matmul(DType::F16);
    let mut request = wanted(&["a", "b"]);
    request.tiles = [("BM", 64), ("BN", 128), ("s", 32)].map(|(n, v)| (n.to_string(), v)).to_vec();
    let p = on("sm_90", &g, &request);
    let boxes: Vec<(&str, &[u32])> = p.maps.iter().map(|m| (&m.name[..], &m.template.box_dims[..])).collect();
    assert_eq!(boxes, [("a", &[32, 64][..]), ("b", &[64, 32][..])]);
    let dot = p.dots.values().next().expect("a dot");
    let (Operand::Shared(a), Operand::Shared(b)) = (&dot.lhs, &dot.rhs) else { panic!("{dot:?}") };
    assert_eq!((a.place.panels(), a.place.pitch, b.place.panels(), b.place.pitch), (1, 64, 2, 128));
    // The loads have no vectors, no registers, and ask nothing of the extents.
    assert_eq!(p.accesses.len(), 1, "the store alone");
    assert!(p.layouts.keys().all(|v| !p.bulk.contains_key(&v.node)));
    assert!(p.requirements.iter().all(|r| r.name == "c" || r.multiple == 1));
    let text = tile_plan::print(&g, &p);
    for line in [
        "    place a tma;",
        "    place b tma;",
        "bulk     a at n9: by map 0",
        "map 1    b: F16 in boxes of [64, 32]",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[test]
fn buffers_lie_where_their_pattern_begins_and_mbarriers_where_nobody_writes() {
    for g in [samples::flash(DType::F16, 128, true), samples::flash(DType::F32, 64, false)] {
        let p = on("sm_90", &g, &wanted(&["qi", "k", "v"]));
        assert_eq!(p.bulk.len(), 3);
        let mbarriers = p.mbarriers.as_ref().expect("mbarriers").buffer;
        let of = |n: usize| p.buffers[n].offset..p.buffers[n].offset + p.buffers[n].bytes;
        for (n, buffer) in p.buffers.iter().enumerate() {
            assert!(buffer.offset.is_multiple_of(buffer.align), "{buffer:?}");
            assert!(n == mbarriers || of(n).end <= of(mbarriers).start || of(mbarriers).end <= of(n).start);
        }
        for operand in p.dots.values().flat_map(|d| [&d.lhs, &d.rhs]) {
            if let Operand::Shared(s) = operand
                && s.mbarrier.is_some()
            {
                assert_eq!(p.buffers[s.buffer].align, s.place.period());
            }
        }
    }
}

#[test]
fn each_reason_is_named() {
    let g = samples::matmul(DType::F16);
    assert!(refusal("sm_80", &g, &wanted(&["a"])).contains("sm_80 has no tensor maps"));
    assert!(refusal("sm_90", &g, &wanted(&["c"])).contains("no load has this name"));
    assert!(refusal("sm_90", &samples::add(DType::F32), &wanted(&["a"])).contains("it is no matrix"));
    let converted = refusal("sm_90", &samples::matmul(DType::I8), &wanted(&["a"]));
    assert!(converted.contains("elements of i8"), "{converted}");
    let strided = Request { strided: true, ..wanted(&["b"]) };
    assert!(refusal("sm_90", &g, &strided).contains("at any strides"));
    let steps = Request { tiles: vec![("s".into(), 24)], ..wanted(&["a"]) };
    assert!(refusal("sm_90", &g, &steps).contains("a step along `s` is no multiple of 16"));
    let mut launch = wanted(&["a"]);
    launch.no_map.insert("a".into(), "stride 100 of dimension 0".into());
    assert!(refusal("sm_90", &g, &launch).contains("stride 100 of dimension 0"));
    let mut across = wanted(&["k"]);
    across.classes.insert("k".into(), TensorClass::Vector { unit: 2, bytes: 16 });
    assert!(refusal("sm_90", &samples::flash(DType::F16, 64, false), &across).contains("dimension 2"));
}

/// Queries are fetched once. With two tiles of keys and of values 64 rows of 256 floats do not fit; with one they do.
#[test]
fn a_step_ahead_where_there_is_room() {
    let ahead = |g: &Graph| {
        let mut request = wanted(&["q", "k", "v"]);
        request.tiles = [("BM", 64), ("BN", 64)].map(|(n, v)| (n.to_string(), v)).to_vec();
        let p = on("sm_90", g, &request);
        let words =
            p.mbarriers.as_ref().expect("mbarriers").all.iter().map(|(_, words)| *words).collect::<Vec<_>>();
        let barriers = p.barriers.iter().filter(|(_, s)| *s == tile_plan::Slot::Ahead).count();
        (words, barriers)
    };
    assert_eq!(ahead(&samples::flash(DType::F16, 128, true)), (vec![1, 2, 2], 1));
    assert_eq!(ahead(&samples::flash(DType::F32, 256, false)), (vec![1, 1, 1], 0));
}

/// A step of rows that are not contracted may end anywhere; 40 channels are all that there are.
#[test]
fn zeros_are_asked_for_where_they_count() {
    let g = samples::flash(DType::F16, 40, true);
    let tiles = |bn| Request { tiles: vec![("BN".into(), bn)], ..wanted(&["k"]) };
    assert_eq!(refusal("sm_90", &g, &tiles(64)), "");
    assert_eq!(refusal("sm_90", &g, &tiles(40)), "", "keys are no depth of q @ k.t");
    let values = Request { bulk: wanted(&["v"]).bulk, ..tiles(40) };
    assert!(refusal("sm_90", &g, &values).contains("no multiple of 16"), "values are summed over keys");
}

#[test]
fn what_is_required_and_cannot_be_is_an_error() {
    let g = samples::matmul(DType::F16);
    let mut request = wanted(&["a"]);
    request.bulk[0].required = true;
    let target = tile_target::find("sm_80").expect("a target");
    let refused = plan(&g, target, &request).expect_err("no plan");
    assert_eq!((refused[0].code, refused[0].severity), ("T0607", Severity::Error));
}
