//! Specs from text against values computed by hand and by direct loops.

use super::evaluate;
use crate::Array;
use std::collections::BTreeMap;
use tile_base::{
    DType, FileId, IndexKind, Mode, ScalarParam, Signature, Size, TensorParam, signature::ParamKind,
};
use tile_sema::{ConstValue, Instance, Module};
use tile_syntax::{
    ast::{Access, BinaryOp, Expr, ExprKind, Generic, IndexType, Kernel, Type, TypeKind},
    parse,
};
use tile_tensor::{Argument, Arguments, Tensor, random::Random};

const PRELUDE: &str = include_str!("../../../../kernels-lib/prelude.tile");

fn module(text: &str) -> Module {
    let file = parse(FileId(0), text);
    assert_eq!(file.diagnostics, vec![], "the test's text parses");
    let prelude = parse(FileId(1), PRELUDE);
    Module::new(vec![("main".into(), file.file), ("prelude".into(), prelude.file)], 0)
}

fn size(e: &Expr) -> Size {
    match &e.kind {
        ExprKind::Int(v) => Size::Const(*v),
        ExprKind::Name(n) => Size::name(n),
        ExprKind::Paren(e) => size(e),
        ExprKind::Binary { op: BinaryOp::Add, lhs, rhs } => Size::Add(size(lhs).into(), size(rhs).into()),
        ExprKind::Binary { op: BinaryOp::Mul, lhs, rhs } => Size::Mul(size(lhs).into(), size(rhs).into()),
        other => panic!("a size in a test: {other:?}"),
    }
}

fn dtype(ty: &Type) -> DType {
    match &ty.kind {
        TypeKind::Scalar(n) => DType::from_name(&n.name).unwrap_or(DType::F64),
        _ => DType::I32,
    }
}

/// The signature of a kernel whose parameters are of known dtypes.
fn signature(kernel: &Kernel, instance: &Instance) -> Signature {
    let mut s = Signature { kernel: kernel.name.name.clone(), ..Signature::default() };
    for p in &kernel.params {
        let TypeKind::Tile { element, axes } = &p.ty.kind else {
            s.params.push(ParamKind::Scalar(ScalarParam {
                name: p.name.name.clone(),
                dtype: dtype(&p.ty),
                index: false,
            }));
            continue;
        };
        let index = match &element.kind {
            TypeKind::Index { kind, bound } => Some(match kind {
                IndexType::Id => IndexKind::Id(size(bound)),
                IndexType::IdOrNone => IndexKind::IdOrNone(size(bound)),
                IndexType::Count => IndexKind::Count(size(bound)),
                IndexType::Offsets => IndexKind::Offsets(size(bound)),
            }),
            _ => None,
        };
        let mode = p.mode.unwrap();
        let shape: Vec<Size> = axes.iter().map(size).collect();
        for name in shape.iter().flat_map(|s| s.names()) {
            if !s.dims.iter().any(|d| d == name) {
                s.dims.push(name.to_string());
            }
        }
        s.params.push(ParamKind::Tensor(TensorParam {
            name: p.name.name.clone(),
            mode: match mode.access {
                Access::In => Mode::In,
                Access::Out => Mode::Out,
                Access::InOut => Mode::InOut,
                Access::Sum => Mode::Sum,
            },
            optional: mode.optional,
            present: !instance.absent.contains(&p.name.name),
            dtype: dtype(element),
            index,
            distinct: false,
            shape,
        }));
    }
    s.consts = kernel
        .generics
        .iter()
        .filter_map(|g| match g {
            Generic::Const { name, .. } => Some((name.name.clone(), String::new())),
            _ => None,
        })
        .collect();
    s
}

type Results = Result<BTreeMap<String, Array>, Vec<tile_base::Diagnostic>>;

/// Evaluates the spec of `k` in `text` with these arguments; the others are left out.
fn run_with(text: &str, instance: &Instance, named: Vec<(&str, Argument)>) -> Results {
    let module = module(text);
    let kernel = module.kernel(0, "k").expect("a kernel k").0;
    let signature = signature(kernel, instance);
    let named = named.into_iter().map(|(n, a)| (n.to_string(), a)).collect();
    let arguments = Arguments::by_name(&signature, named).unwrap();
    evaluate(&module, "k", instance, &signature, &arguments)
}

fn run(text: &str, named: Vec<(&str, Argument)>) -> Results {
    run_with(text, &Instance::default(), named)
}

fn values(text: &str, named: Vec<(&str, Argument)>, out: &str) -> Vec<f64> {
    run(text, named).unwrap()[out].values.clone()
}

fn refusal(text: &str, named: Vec<(&str, Argument)>) -> String {
    let d = run(text, named).unwrap_err().remove(0);
    format!("{} {}", d.code, d.message)
}

fn t(shape: &[usize], values: &[f64]) -> Argument {
    Tensor::from_f64(DType::F64, shape, values).into()
}

fn ints(shape: &[usize], values: &[i32]) -> Argument {
    Tensor::from_i32(shape, values).into()
}

fn zeros(shape: &[usize]) -> Argument {
    Tensor::zeros(DType::F64, shape).into()
}

fn randn(shape: &[usize], name: &str) -> (Vec<f64>, Argument) {
    let mut r = Random::stream(7, name);
    let v: Vec<f64> = (0..shape.iter().product()).map(|_| r.normal()).collect();
    let a = t(shape, &v);
    (v, a)
}

fn close(a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    for (i, (x, y)) in a.iter().zip(b).enumerate() {
        let same = x == y || (x - y).abs() <= 1e-12 * (1.0 + y.abs());
        assert!(same, "element {i}: {x} and {y}");
    }
}

#[test]
fn a_product_of_matrices() {
    let text = "kernel k(a: in f64[M, K], b: in f64[K, N], c: out f64[M, N]) {}
        spec k { c[i, j] = sum(k: a[i, k] * b[k, j]); }";
    let (m, n, kk) = (37, 300, 41);
    let ((a, ta), (b, tb)) = (randn(&[m, kk], "a"), randn(&[kk, n], "b"));
    let got = values(text, vec![("a", ta), ("b", tb), ("c", zeros(&[m, n]))], "c");
    let mut want = vec![0.0; m * n];
    for i in 0..m {
        for j in 0..n {
            want[i * n + j] = (0..kk).map(|x| a[i * kk + x] * b[x * n + j]).sum();
        }
    }
    close(&got, &want);
}

#[test]
fn softmax_and_logsumexp_of_nothing() {
    let text = "kernel k(x: in f64[M, N], y: out f64[M, N], l: out f64[M]) {}
        spec k { y[i, :] = softmax(x[i, :]);  l[i] = logsumexp(x[i, :]); }";
    let inf = f64::INFINITY;
    let x = t(&[3, 2], &[0.0, 0.0, -inf, -inf, 3.0, -inf]);
    let out = run(text, vec![("x", x), ("y", zeros(&[3, 2])), ("l", zeros(&[3]))]).unwrap();
    assert_eq!(out["y"].values, [0.5, 0.5, 0.0, 0.0, 1.0, 0.0]);
    close(&out["l"].values, &[2f64.ln(), -inf, 3.0]);
}

const ATTENTION: &str = "
    kernel k<const CAUSAL: bool = false, mask: fn(b, h, i, j: index) -> bool = all>(
        q: in f64[B, M, HQ, D], k: in f64[B, N, HK, D], v: in f64[B, N, HK, D],
        o: out f64[B, M, HQ, D], lse: out? f64[B, HQ, M], scale: f32) {}
    fn window(b, h, i, j: index) -> bool { let d = i - j; d < 3 && d > -3 }
    spec k {
        let x[b, h, i, j] = if (!CAUSAL || j <= i + (N - M)) && mask(b, h, i, j) {
            scale * sum(d: q[b, i, h, d] * k[b, j, h / (HQ / HK), d])
        } else { -inf };
        lse[b, h, i] = logsumexp(x[b, h, i, :]);
        let p[b, h, i, :] = softmax(x[b, h, i, :]);
        o[b, i, h, d] = sum(j: p[b, h, i, j] * v[b, j, h / (HQ / HK), d]);
    }";

/// Grouped-query attention by direct loops.
#[allow(clippy::too_many_arguments)]
fn attention(
    q: &[f64],
    k: &[f64],
    v: &[f64],
    [b, m, n, hq, hk, d]: [usize; 6],
    scale: f64,
    visible: impl Fn(i64, i64) -> bool,
) -> (Vec<f64>, Vec<f64>) {
    let (mut o, mut lse) = (vec![0.0; b * m * hq * d], vec![0.0; b * hq * m]);
    for (bi, h, i) in (0..b).flat_map(|b| (0..hq).flat_map(move |h| (0..m).map(move |i| (b, h, i)))) {
        let g = h / (hq / hk);
        let s: Vec<f64> = (0..n)
            .map(|j| match visible(i as i64, j as i64) {
                false => f64::NEG_INFINITY,
                true => {
                    let dot = |x| q[((bi * m + i) * hq + h) * d + x] * k[((bi * n + j) * hk + g) * d + x];
                    scale * (0..d).map(dot).sum::<f64>()
                }
            })
            .collect();
        let top = s.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = s.iter().map(|x| if top.is_finite() { (x - top).exp() } else { 0.0 }).sum();
        lse[(bi * hq + h) * m + i] = top + total.ln();
        for x in 0..d {
            let e = |j: usize| (s[j] - top).exp() / total * v[((bi * n + j) * hk + g) * d + x];
            o[((bi * m + i) * hq + h) * d + x] = if total > 0.0 { (0..n).map(e).sum() } else { 0.0 };
        }
    }
    (o, lse)
}

fn check_attention(causal: bool, dims: [usize; 6], mask: Option<&str>, visible: impl Fn(i64, i64) -> bool) {
    let [b, m, n, hq, hk, d] = dims;
    let (q, tq) = randn(&[b, m, hq, d], "q");
    let ((k, tk), (v, tv)) = (randn(&[b, n, hk, d], "k"), randn(&[b, n, hk, d], "v"));
    let instance = Instance {
        consts: BTreeMap::from([("CAUSAL".to_string(), ConstValue::Bool(causal))]),
        functions: mask.map(|m| ("mask".to_string(), m.to_string())).into_iter().collect(),
        ..Instance::default()
    };
    let args = vec![
        ("q", tq),
        ("k", tk),
        ("v", tv),
        ("o", zeros(&[b, m, hq, d])),
        ("lse", zeros(&[b, hq, m])),
        ("scale", Argument::from(0.1)),
    ];
    let out = run_with(ATTENTION, &instance, args).unwrap();
    let (o, lse) = attention(&q, &k, &v, dims, 0.1f32 as f64, visible);
    close(&out["o"].values, &o);
    close(&out["lse"].values, &lse);
}

#[test]
fn grouped_query_attention_against_direct_loops() {
    check_attention(false, [2, 5, 7, 4, 2, 3], None, |_, _| true);
    check_attention(false, [1, 40, 33, 2, 1, 40], None, |_, _| true);
}

#[test]
fn causal_rows_that_see_nothing_are_zero() {
    check_attention(true, [1, 9, 4, 2, 2, 8], None, |i, j| j <= i + 4 - 9);
}

#[test]
fn a_mask_function_is_inlined() {
    check_attention(true, [1, 12, 12, 2, 2, 4], Some("window"), |i, j| j <= i && (i - j).abs() < 3);
}

#[test]
fn an_optional_output_that_is_left_out_is_not_computed() {
    let (q, k, v) = (randn(&[1, 2, 1, 2], "q").1, randn(&[1, 3, 1, 2], "k").1, randn(&[1, 3, 1, 2], "v").1);
    let args =
        vec![("q", q), ("k", k), ("v", v), ("o", zeros(&[1, 2, 1, 2])), ("scale", Argument::from(1.0))];
    let instance = Instance { absent: ["lse".to_string()].into(), ..Instance::default() };
    let out = run_with(ATTENTION, &instance, args).unwrap();
    assert_eq!(out.keys().collect::<Vec<_>>(), ["o"]);
}

#[test]
fn a_recurrence_over_ragged_sequences_against_a_loop() {
    let text = "kernel k(q: in f64[L, H, K], k: in f64[L, H, K], v: in f64[L, H, V], g: in f64[L, H],
            cu: in offsets<L>[NS + 1], s0: in? f64[NS, H, K, V], o: out f64[L, H, V], s1: out? f64[NS, H, K, V]) {}
        spec k {
            for n in 0..NS {
                let S[h in 0..H, c in 0..K, w in 0..V] = if s0 { s0[n, h, c, w] } else { 0 };
                for t in cu[n]..cu[n + 1] {
                    let u[h in 0..H, w in 0..V] = v[t, h, w] - exp(g[t, h]) * sum(c: S[h, c, w] * k[t, h, c]);
                    S[h, c, w] = exp(g[t, h]) * S[h, c, w] + k[t, h, c] * u[h, w];
                    o[t, h, w] = sum(c: q[t, h, c] * S[h, c, w]);
                }
                s1[n, h, c, w] = S[h, c, w];
            }
        }";
    let (l, h, kk, vv, cu) = (11, 2, 3, 5, [0usize, 4, 4, 11]);
    let ((q, tq), (k, tk)) = (randn(&[l, h, kk], "q"), randn(&[l, h, kk], "k"));
    let ((v, tv), (g, tg)) = (randn(&[l, h, vv], "v"), randn(&[l, h], "g"));
    let args = vec![
        ("q", tq),
        ("k", tk),
        ("v", tv),
        ("g", tg),
        ("cu", ints(&[4], &cu.map(|c| c as i32))),
        ("o", zeros(&[l, h, vv])),
        ("s1", zeros(&[3, h, kk, vv])),
    ];
    let instance = Instance { absent: ["s0".to_string()].into(), ..Instance::default() };
    let out = run_with(text, &instance, args).unwrap();
    let (mut o, mut s1) = (vec![0.0; l * h * vv], vec![]);
    for n in 0..3 {
        let mut s = vec![0.0; h * kk * vv];
        for t in cu[n]..cu[n + 1] {
            for hh in 0..h {
                let e = g[t * h + hh].exp();
                let at = |c: usize, w: usize| (hh * kk + c) * vv + w;
                let row = (t * h + hh) * kk;
                let u: Vec<f64> = (0..vv)
                    .map(|w| {
                        let seen: f64 = (0..kk).map(|c| s[at(c, w)] * k[row + c]).sum();
                        v[(t * h + hh) * vv + w] - e * seen
                    })
                    .collect();
                for c in 0..kk {
                    for w in 0..vv {
                        s[at(c, w)] = e * s[at(c, w)] + k[row + c] * u[w];
                    }
                }
                for w in 0..vv {
                    o[(t * h + hh) * vv + w] = (0..kk).map(|c| q[row + c] * s[at(c, w)]).sum();
                }
            }
        }
        s1.extend(s);
    }
    close(&out["o"].values, &o);
    close(&out["s1"].values, &s1);
}

#[test]
fn an_equation_reads_the_array_from_before_it() {
    let text = "kernel k(x: in f64[N], y: out f64[N]) {}
        spec k { y[i] = x[i]; for t in 0..2 { y[i] = y[N - 1 - i] + 1; } }";
    let got = values(text, vec![("x", t(&[3], &[1.0, 2.0, 3.0])), ("y", zeros(&[3]))], "y");
    assert_eq!(got, [3.0, 4.0, 5.0]);
}

#[test]
fn ranges_may_depend_on_free_indices_and_on_data() {
    let text = "kernel k(x: in f64[N], len: in count<N>[R], y: out f64[R, N], z: out f64[R]) {}
        spec k {
            y[r, i] = sum(j in 0..min(i + 1, len[r]): x[j]);
            let part[r, i in 0..len[r]] = x[i] * x[i];
            z[r] = sum(i in 0..len[r]: part[r, i]);
        }";
    let args = vec![
        ("x", t(&[4], &[1.0, 2.0, 3.0, 4.0])),
        ("len", ints(&[2], &[0, 3])),
        ("y", zeros(&[2, 4])),
        ("z", zeros(&[2])),
    ];
    let out = run(text, args).unwrap();
    assert_eq!(out["y"].values, [0.0, 0.0, 0.0, 0.0, 1.0, 3.0, 6.0, 6.0]);
    assert_eq!(out["z"].values, [0.0, 14.0]);
}

#[test]
fn reducers_and_vector_functions() {
    let text = "kernel k(x: in f64[N], a: out f64[9], s: out f64[N], c: out f64[N], top: out f64[2],
            at: out i32[2]) {}
        spec k {
            a[0] = max(j: x[j]);  a[1] = min(j: x[j]);  a[2] = argmax(j: x[j]);  a[3] = argmin(j: x[j]);
            a[4] = prod(j: x[j]);
            let e = any(j: x[j] < 0);
            a[5] = if e { 1 } else { 0 };
            a[6] = if all(j: x[j] < 9) { 1 } else { 0 };
            a[7] = sum(i, j in 0..i: x[i] * x[j]);
            a[8] = sum(x[1..N] - x[0..N - 1]);
            s[:] = sort(x[:], desc = true);
            c[:] = cumsum(x[:] * 2, rev = true);
            top[:] = topk(x[:], k = 2);
            at[:] = argtopk(x[:], k = 2);
        }";
    let x = [3.0, -1.0, 3.0, 2.0];
    let args = vec![
        ("x", t(&[4], &x)),
        ("a", zeros(&[9])),
        ("s", zeros(&[4])),
        ("c", zeros(&[4])),
        ("top", zeros(&[2])),
        ("at", ints(&[2], &[0, 0])),
    ];
    let out = run(text, args).unwrap();
    let pairs: f64 = (0..4).flat_map(|i| (0..i).map(move |j| x[i] * x[j])).sum();
    assert_eq!(out["a"].values, [3.0, -1.0, 0.0, 1.0, -18.0, 1.0, 1.0, pairs, -1.0]);
    assert_eq!(out["s"].values, [3.0, 3.0, 2.0, -1.0]);
    assert_eq!(out["c"].values, [14.0, 8.0, 10.0, 4.0]);
    assert_eq!((&out["top"].values[..], &out["at"].values[..]), (&[3.0, 3.0][..], &[0.0, 2.0][..]));
}

#[test]
fn what_topk_gives_is_sliced_from_its_start() {
    let text = "kernel k(x: in f64[M, N], p: out f64[M, 2], n: out f64[M]) {}
        spec k {
            let best[i, :] = topk(x[i, :], k = 2);
            p[i, :] = softmax(best[i, :]);
            n[i] = sum(best[i, :]);
        }";
    let args =
        vec![("x", t(&[2, 3], &[0.0, 1.0, 1.0, 5.0, 2.0, 2.0])), ("p", zeros(&[2, 2])), ("n", zeros(&[2]))];
    let out = run(text, args).unwrap();
    assert_eq!(out["n"].values, [2.0, 7.0]);
    assert_eq!(out["p"].values[..2], [0.5, 0.5]);
}

#[test]
fn an_input_that_is_left_out_gives_no_extent() {
    let text = "kernel k(x: in f64[M], w: in? f64[M], y: out f64[M]) {}
        spec k {
            let z[i] = x[i] + if w { w[i] } else { 0 };
            y[i] = z[i] * 2;
        }";
    let x = || ("x", t(&[3], &[1.0, 2.0, 3.0]));
    let without = Instance { absent: ["w".to_string()].into(), ..Instance::default() };
    let out = run_with(text, &without, vec![x(), ("y", zeros(&[3]))]).unwrap();
    assert_eq!(out["y"].values, [2.0, 4.0, 6.0]);
    let out = run(text, vec![x(), ("w", t(&[3], &[1.0, 1.0, 1.0])), ("y", zeros(&[3]))]).unwrap();
    assert_eq!(out["y"].values, [4.0, 6.0, 8.0]);
}

#[test]
fn lanes_agree_with_scalars_whatever_the_shape() {
    // The same equation with its axes in both orders takes different lane indices.
    let text =
        "kernel k(a: in f64[M, K], b: in f64[N, K], id: in id?<N>[M], y: out f64[M, N], z: out f64[N, M]) {}
        fn f(x: f64, i: index) -> f64 { let s = x * x; if i % 3 == 0 { s + 1 } else { silu(s) } }
        spec k {
            y[i, j] = if j < i { f(max(k: a[i, k] - b[j, k]), i + j) } else { b[id[i], 0] else -7 };
            z[j, i] = if j < i { f(max(k: a[i, k] - b[j, k]), i + j) } else { b[id[i], 0] else -7 };
        }";
    for (m, n, kk) in [(3, 300, 2), (300, 3, 2), (1, 1, 600), (20, 21, 22)] {
        let (a, ta) = randn(&[m, kk], "a");
        let (b, tb) = randn(&[n, kk], "b");
        let id: Vec<i32> = (0..m).map(|i| (i % (n + 1)) as i32 - 1).collect();
        let args =
            vec![("a", ta), ("b", tb), ("id", ints(&[m], &id)), ("y", zeros(&[m, n])), ("z", zeros(&[n, m]))];
        let out = run(text, args).unwrap();
        for i in 0..m {
            for j in 0..n {
                let top = (0..kk).map(|x| a[i * kk + x] - b[j * kk + x]).fold(f64::NEG_INFINITY, f64::max);
                let s = top * top;
                let want = match (j < i, (i + j) % 3) {
                    (true, 0) => s + 1.0,
                    (true, _) => s / (1.0 + (-s).exp()),
                    (false, _) if id[i] < 0 => -7.0,
                    (false, _) => b[id[i] as usize * kk],
                };
                close(&[out["y"].values[i * n + j], out["z"].values[j * m + i]], &[want, want]);
            }
        }
    }
}

#[test]
fn integer_arithmetic_floors() {
    let text = "kernel k(w: in i32[N], y: out i32[N, 5]) {}
        spec k {
            y[i, 0] = (w[i] - 8) / 3;  y[i, 1] = (w[i] - 8) % 3;  y[i, 2] = cdiv(w[i], 3);
            y[i, 3] = (w[i] >> (4 * (i % 2))) & 15;  y[i, 4] = w[i] ^ 1 | 4;
        }";
    let out = values(text, vec![("w", ints(&[3], &[0, 171, 7])), ("y", ints(&[3, 5], &[0; 15]))], "y");
    assert_eq!(out, [-3.0, 1.0, 0.0, 0.0, 5.0, 54.0, 1.0, 57.0, 10.0, 174.0, -1.0, 2.0, 3.0, 7.0, 6.0]);
}

#[test]
fn a_list_of_ids_is_iterated_without_its_gaps() {
    let text = "kernel k(x: in f64[N], ids: in id?<N>[R, S], y: out f64[R], z: out f64[R]) {}
        spec k {
            y[r] = sum(n in ids[r, :]: x[n]);
            for r in 0..R { z[r] = 0; for n in ids[r, :] { z[r] = 10 * z[r] + x[n]; } }
        }";
    let args = vec![
        ("x", t(&[3], &[1.0, 2.0, 4.0])),
        ("ids", ints(&[2, 3], &[2, -1, 0, -1, -1, -1])),
        ("y", zeros(&[2])),
        ("z", zeros(&[2])),
    ];
    let out = run(text, args).unwrap();
    assert_eq!((&out["y"].values[..], &out["z"].values[..]), (&[5.0, 0.0][..], &[41.0, 0.0][..]));
}

#[test]
fn captured_tensors_belong_to_the_function_argument() {
    let text = "kernel k<bias: fn(i: index) -> f64 = none>(x: in f64[N], y: out f64[N]) {}
        fn none(i: index) -> f64 { 0 }
        fn slope(i: index) -> f64 using s: in f64[N] { s[i] * 2 }
        spec k { y[i] = x[i] + bias(i); }";
    let module = module(text);
    let kernel = module.kernel(0, "k").unwrap().0;
    let instance =
        Instance { functions: BTreeMap::from([("bias".into(), "slope".into())]), ..Instance::default() };
    let mut signature = signature(kernel, &instance);
    let mut captured = signature.tensors().next().unwrap().clone();
    captured.name = "bias.s".into();
    signature.params.push(ParamKind::Tensor(captured));
    let arguments = Arguments(vec![t(&[2], &[1.0, 2.0]), zeros(&[2]), t(&[2], &[10.0, 20.0])]);
    let out = evaluate(&module, "k", &instance, &signature, &arguments).unwrap();
    assert_eq!(out["y"].values, [21.0, 42.0]);
}

#[test]
fn sums_start_at_zero_and_add() {
    let text = "kernel k(x: in f64[N, D], id: in id<E>[N], y: sum f64[E, D], z: inout f64[D]) {}
        spec k { for n in 0..N { y[id[n], d] += x[n, d]; }  z[d] = z[d] + 1; }";
    let args = vec![
        ("x", t(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])),
        ("id", ints(&[3], &[1, 0, 1])),
        ("y", t(&[2, 2], &[9.0; 4])),
        ("z", t(&[2], &[5.0, 6.0])),
    ];
    let out = run(text, args).unwrap();
    assert_eq!(out["y"].values, [3.0, 4.0, 6.0, 8.0]);
    assert_eq!(out["z"].values, [6.0, 7.0]);
}

const XY: &str = "kernel k(x: in f64[N], w: in f64[R], y: out f64[N]) {} ";

fn xy() -> Vec<(&'static str, Argument)> {
    vec![("x", t(&[3], &[1.0, 2.0, 3.0])), ("w", t(&[2], &[4.0, 5.0])), ("y", zeros(&[3]))]
}

#[test]
fn faults_are_named() {
    let cases = [
        ("y[i] = z[i];", "T0475 there is no array `z`"),
        ("y[i] = a;", "T0475 `a` is not defined here"),
        ("y[i] = f(x[i]);", "T0475 `f` is not a function that a spec can call"),
        ("x[i] = 1;", "T0475 `x` is an input"),
        ("u[i] = 1;", "T0475 `u` is neither an output nor a `let`"),
        ("let u[i] = 1; y[i] = 0;", "T0476 the extent of `i` cannot be found"),
        ("y[i] = sum(j: x[j] * w[j]);", "T0476 `j` has two different extents"),
        ("y[i] = x[i, 0];", "T0477 `x` has 1 axes and is subscripted by 2"),
        ("y[i] = x[:];", "T0477 a slice stands where one number is needed"),
        ("y[i] = x[i] @ x[i];", "T0477 a spec has no tiles, so no `@`"),
        ("y[i] = x[i + 1];", "T0478 position 3 on axis 0 is outside `x`, which has 0..3 there"),
        ("y[i] = w[i];", "T0478 position 2 on axis 0 is outside `w`, which has 0..2 there"),
        ("y[i] = x[i / 2.0];", "T0478 0.5 is not an integer, and a position must be one"),
        ("y[0] = 1;", "T0479 the spec does not define every element of `y`"),
        ("y[i] = y[i] + 1;", "T0479 `y` is read before an equation defines it"),
        ("y[i] = i / (i - i);", "T0481 an integer is divided by zero"),
        ("y[i] = argmax(j in 0..i: x[j]);", "T0481 argmax or argmin over nothing"),
        ("y[i] = if x[i] { 1 } else { 0 };", "T0482 a condition must be a bool"),
        ("y[i] = 1 / 2;", "T0482 the quotient of two integers is rounded down"),
        (
            "let u[i in 0..9999, j in 0..9999, l in 0..9999] = 0; y[i] = 0;",
            "T0480 this equation has more elements",
        ),
    ];
    for (spec, want) in cases {
        let got = refusal(&format!("{XY} spec k {{ {spec} }}"), xy());
        assert!(got.starts_with(want), "{spec}\n  gives {got}\n  not   {want}");
    }
}

#[test]
fn several_faults_are_reported_at_once() {
    let found = run(&format!("{XY} spec k {{ let u[i] = a[i]; y[i] = u[i] + b; }}"), xy()).unwrap_err();
    assert_eq!(found.iter().map(|d| d.code).collect::<Vec<_>>(), ["T0476", "T0475"]);
}

/// `cargo test --release -p tile-oracle -- --ignored --nocapture spec_speed` prints the time.
#[test]
#[ignore = "a measurement"]
fn spec_speed_of_attention() {
    let (h, n, d) = (8, 1024, 64);
    let args = || {
        let tensor = |name| randn(&[1, n, h, d], name).1;
        vec![
            ("q", tensor("q")),
            ("k", tensor("k")),
            ("v", tensor("v")),
            ("o", zeros(&[1, n, h, d])),
            ("lse", zeros(&[1, h, n])),
            ("scale", Argument::from(0.125)),
        ]
    };
    let args = args();
    let start = std::time::Instant::now();
    let out = run(ATTENTION, args).unwrap();
    println!("B1 H8 S1024 D64: {:.2} s, o[0] = {}", start.elapsed().as_secs_f64(), out["o"].values[0]);
}

#[test]
fn a_kernel_without_a_spec_says_so() {
    assert!(refusal(XY, xy()).starts_with("T0483 `k` has no spec"));
}
