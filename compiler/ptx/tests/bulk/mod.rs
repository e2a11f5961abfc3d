//! Loads by the copy engine: the same values as without, at sizes whose edges the tensor maps fill, and each guard of the
//! protocol taken out once.

use crate::support::{arguments, check_on, compile, kernel, launch};
use ptx_sim::FaultKind::{self, *};
use tile_base::{DType, Span};
use tile_graph::Graph;
use tile_plan::{Plan, Request, TensorClass, bulk::Wish};
use tile_tensor::{Arguments, Tensor};

fn request(tensors: &[&str]) -> Request {
    let wish = |t: &&str| Wish { path: t.to_string(), span: Span::default(), required: true };
    Request { bulk: tensors.iter().map(wish).collect(), ..Request::default() }
}

fn tolerance(dtype: DType) -> f64 {
    if dtype == DType::F32 { 1e-5 } else { 1e-2 }
}

/// The same values in rows that begin at multiples of 16 bytes, and have more behind them than they need.
fn padded(t: Tensor) -> Tensor {
    let last = t.rank() - 1;
    let row = (t.shape[last] + 1).next_multiple_of(8);
    let mut shape = t.shape.clone();
    shape[last] = row;
    let whole = Tensor::zeros(t.dtype, &shape);
    let mut view = whole.view(&t.shape, &whole.strides, 0).expect("a view");
    let values = t.to_f64_vec();
    let mut at = 0;
    view.fill_with(|_| {
        at += 1;
        values[at - 1]
    });
    view
}

#[test]
fn products_are_the_same_at_the_edges() {
    for dtype in [DType::F16, DType::Bf16, DType::F32] {
        let graph = kernel("gemm/matmul.tile", "matmul", dtype).graph();
        for (m, n, k) in [(17, 24, 40), (129, 200, 136), (1, 8, 8), (64, 64, 64)] {
            let dims = [("M", m), ("N", n), ("K", k)];
            let given = arguments(&graph, &dims, &[], |_, t| t);
            let error = check_on("sm_90", &graph, &request(&["a", "b"]), &dims, &given);
            assert!(error <= tolerance(dtype), "{dtype} {dims:?}: error {error:e}");
        }
    }
}

/// The tiles that the schedules of products give to sizes which no test could run.
#[test]
fn large_tiles_and_steps_are_the_same_at_the_edges() {
    for dtype in [DType::F16, DType::Bf16] {
        let graph = kernel("gemm/matmul.tile", "matmul", dtype).graph();
        let mut wanted = request(&["a", "b"]);
        wanted.tiles = [("BM", 256), ("BN", 128), ("s", 64)].map(|(name, size)| (name.into(), size)).into();
        for (m, n, k) in [(257, 136, 200), (255, 8, 64), (1, 264, 8)] {
            let dims = [("M", m), ("N", n), ("K", k)];
            let given = arguments(&graph, &dims, &[], |_, t| t);
            let error = check_on("sm_90", &graph, &wanted, &dims, &given);
            assert!(error <= tolerance(dtype), "{dtype} {dims:?}: error {error:e}");
        }
    }
}

/// Odd extents, which vectors cannot have, and rows that are contiguous the other way.
#[test]
fn only_strides_have_to_be_whole() {
    for dtype in [DType::F16, DType::F32] {
        let graph = kernel("gemm/matmul.tile", "matmul", dtype).graph();
        let dims = [("M", 33), ("N", 65), ("K", 51)];
        let mut wanted = request(&["a", "b"]);
        wanted.classes.insert("c".into(), TensorClass::Strided);
        let rows = |name: &str, t: Tensor| if name == "c" { t } else { padded(t) };
        let error = check_on("sm_90", &graph, &wanted, &dims, &arguments(&graph, &dims, &[], rows));
        assert!(error <= tolerance(dtype), "{dtype}: error {error:e}");
        for name in ["a", "b"] {
            wanted.classes.insert(name.into(), TensorClass::Vector { unit: 0, bytes: 16 });
        }
        let columns = |name: &str, t: Tensor| match name {
            "c" => t,
            _ => padded(t.transposed().to_dense()).transposed(),
        };
        let error = check_on("sm_90", &graph, &wanted, &dims, &arguments(&graph, &dims, &[], columns));
        assert!(error <= tolerance(dtype), "{dtype}, transposed: error {error:e}");
    }
}

#[test]
fn attention_is_the_same_over_several_steps() {
    for dtype in [DType::F16, DType::F32] {
        for (d, causal, m, n) in
            [(64, 0, 100, 130), (64, 1, 200, 190), (128, 1, 17, 200), (40, 1, 70, 9), (256, 0, 33, 65)]
        {
            let k = kernel("attention/flash_fwd.tile", "flash_fwd", dtype);
            let graph = k.with("D", d).with("CAUSAL", causal).graph();
            let dims = [("B", 2), ("M", m), ("HQ", 4), ("N", n), ("HK", 2)];
            let given = arguments(&graph, &dims, &[("scale", (d as f64).powf(-0.5))], |_, t| t);
            let error = check_on("sm_90", &graph, &request(&["q", "k", "v"]), &dims, &given);
            assert!(error <= tolerance(dtype), "{dtype} D={d} {dims:?}: error {error:e}");
        }
    }
}

// ---- mutants

/// Clean code, to be broken.
struct Subject {
    graph: Graph,
    plan: Plan,
    ptx: String,
    dims: Vec<(&'static str, i64)>,
    given: Arguments,
}

impl Subject {
    fn new(graph: Graph, tensors: &[&str], dims: &[(&'static str, i64)]) -> Subject {
        let target = tile_target::find("sm_90").expect("a target");
        let (plan, module) = compile(&graph, target, &request(tensors));
        let given = arguments(&graph, dims, &[], |_, t| t);
        let subject = Subject { graph, plan, ptx: module.ptx, dims: dims.to_vec(), given };
        assert_eq!(subject.verdict(&subject.ptx), (vec![], vec![]), "{}", subject.ptx);
        subject
    }

    /// Three steps, so that every phase comes round.
    fn product() -> Subject {
        let graph = kernel("gemm/matmul.tile", "matmul", DType::F16).graph();
        Subject::new(graph, &["a", "b"], &[("M", 80), ("N", 72), ("K", 96)])
    }

    /// Queries are fetched before the loop, by an mbarrier of their own.
    fn attention() -> Subject {
        let graph = kernel("attention/flash_fwd.tile", "flash_fwd", DType::F16)
            .with("D", 64)
            .with("CAUSAL", 0)
            .graph();
        Subject::new(graph, &["q", "k", "v"], &[("B", 1), ("M", 64), ("HQ", 1), ("N", 130), ("HK", 1)])
    }

    /// What a run of changed code is found guilty of, and what is noted.
    fn verdict(&self, ptx: &str) -> (Vec<FaultKind>, Vec<FaultKind>) {
        let mut given = Arguments(self.given.iter().cloned().collect());
        match launch(&self.graph, &self.plan, ptx, &self.dims, &mut given) {
            Ok(s) => (s.findings.iter().map(|f| f.kind).collect(), s.notes.iter().map(|f| f.kind).collect()),
            Err(fault) => (fault.before.iter().map(|f| f.kind).chain([fault.kind]).collect(), vec![]),
        }
    }

    /// The code with a change to the `n`th line that holds `what`.
    fn changed(&self, what: &str, n: usize, change: impl Fn(&str) -> String) -> String {
        let mut seen = 0;
        let mut line = |l: &str| {
            let hit = l.contains(what);
            seen += usize::from(hit);
            if hit && seen == n + 1 { change(l) } else { l.to_string() }
        };
        let out = self.ptx.lines().map(&mut line).collect::<Vec<_>>().join("\n");
        assert!(seen > n, "no line {n} with {what} in\n{}", self.ptx);
        out
    }
}

/// The line with its last operand replaced.
fn last_operand(line: &str, new: &str) -> String {
    let (front, _) = line.rsplit_once(", ").expect("operands");
    format!("{front}, {new};")
}

fn gone(_: &str) -> String {
    String::new()
}

/// The predicate that a wait sets, true without waiting.
fn taken_for_granted(line: &str) -> String {
    let predicate = line.split_whitespace().nth(1).expect("a result").trim_end_matches(',');
    format!("setp.eq.b32 {predicate}, 0, 0;")
}

/// A wait for the other phase.
fn other_parity(line: &str) -> String {
    let parity = line.rsplit_once(", ").expect("operands").1.trim_end_matches(';');
    format!("xor.b32 {parity}, {parity}, 1;\n{line}\nxor.b32 {parity}, {parity}, 1;")
}

#[test]
fn each_guard_of_the_protocol_is_needed() {
    let subject = Subject::product();
    let (expect, wait) = ("mbarrier.arrive.expect_tx", "mbarrier.try_wait.parity");
    let barriers = subject.ptx.matches("bar.sync").count();
    assert_eq!(barriers, 2, "one behind the mbarriers, one at the head of a step");
    assert_eq!(
        subject.ptx.matches(expect).count(),
        4,
        "of the first step before the loop, of the next within"
    );
    let mutants: Vec<(&str, String, &[FaultKind])> = vec![
        (
            "too few bytes",
            subject.changed(expect, 2, |l| last_operand(l, "8176")),
            &[MbarrierMisuse, Deadlock],
        ),
        ("too many bytes", subject.changed(expect, 2, |l| last_operand(l, "16384")), &[Deadlock]),
        (
            "bytes of one panel",
            subject.changed(expect, 3, |l| last_operand(l, "4096")),
            &[MbarrierMisuse, Deadlock],
        ),
        ("no wait for a", subject.changed(wait, 0, taken_for_granted), &[SharedRace]),
        ("no wait for b", subject.changed(wait, 1, taken_for_granted), &[SharedRace]),
        ("parity of a", subject.changed(wait, 0, other_parity), &[SharedRace, Deadlock]),
        ("parity of b", subject.changed(wait, 1, other_parity), &[SharedRace, Deadlock]),
        ("two arrivals", subject.changed("mbarrier.init", 0, |l| last_operand(l, "2")), &[Deadlock]),
        ("no mbarrier", subject.changed("mbarrier.init", 1, gone), &[MbarrierMisuse]),
        ("first tile of a not fetched", subject.changed("cp.async.bulk.tensor", 0, gone), &[Deadlock]),
        ("no barrier before the next tile", subject.changed("bar.sync", 1, gone), &[SharedRace]),
        (
            "a box elsewhere",
            subject.changed("cp.async.bulk.tensor", 0, |l| l.replace("], [%rd", "+16], [%rd")),
            &[Misaligned, DescriptorIllegal],
        ),
    ];
    for (name, ptx, classes) in mutants {
        let (found, _) = subject.verdict(&ptx);
        assert!(found.iter().any(|f| classes.contains(f)), "{name}: {found:?}");
    }
}

/// Two mutants are the same program. In the product the barrier at the head of the loop does as well as this one. And
/// `fence.mbarrier_init` shows the mbarriers to the copy engine, which the proxy fence before each copy, by the thread that
/// the barrier has ordered behind the initialisation, does too.
#[test]
fn mbarriers_are_shown_before_they_are_used() {
    let subject = Subject::attention();
    assert_eq!(subject.ptx.matches("fence.mbarrier_init").count(), 1);
    let (found, _) = subject.verdict(&subject.changed("bar.sync", 0, gone));
    assert!(found.contains(&MbarrierMisuse) || found.contains(&SharedRace), "{found:?}");
}

/// Threads only read what the copy engine overwrites; that order needs a fence is what texts disagree about.
#[test]
fn a_missing_proxy_fence_is_noted() {
    let subject = Subject::product();
    let ptx = subject.ptx.replace("fence.proxy.async.shared::cta;", "");
    let (found, noted) = subject.verdict(&ptx);
    assert!(found.is_empty() && noted.contains(&ProxyFence), "{found:?}, {noted:?}");
}
