//! Schedules that make several launches of a kernel: the same results on the oracle, and on the simulator where the
//! backend is there.

mod support;

use tile_base::Diagnostic;
use tile_driver::{
    Session,
    testing::{FileReport, Rung, TestOptions, run_tests},
};
use tile_graph::Program;

/// Runs the tests of a text; every case has to pass, under its schedules too.
fn judged(text: &str) -> FileReport {
    let mut session = Session::new();
    let loaded = session.load_text("kernels.tile", text.to_string());
    let rung = if cfg!(feature = "ptx") { Rung::Sim } else { Rung::Oracle };
    let options = TestOptions { rung, variants: 1, ..TestOptions::default() };
    let report = run_tests(&mut session, &loaded, &options, &mut |_| {});
    for case in &report.cases {
        assert!(case.checks.iter().any(|c| c.name == "schedules"), "no schedule of `{}` splits", case.kernel);
    }
    let failed = support::failures(&report);
    assert!(failed.is_empty() && !report.cases.is_empty(), "{}", failed.join("\n"));
    report
}

const PRODUCT: &str = "
    kernel product<T: f32 | f16>(a: in T[M, K], b: in T[K, N], c: out T[M, N]) {
        tile BM, BN;
        par i in tiles(M, BM), j in tiles(N, BN) { let s = a[i, :] @ b[:, j]; c[i, j] = (2 * s).to(T); }
    }
    spec product { c[i, j] = 2 * sum(k: a[i, k] * b[k, j]); }
    test product { T in [f32, f16]; M in [5, 33], N = 17, K in [200, 1]; pairs; }";

#[test]
fn a_streamed_dot_is_split_and_guards_choose_at_launch() {
    judged(&format!("{PRODUCT} schedule product where M <= 16 {{ split s 3; require split s; }}"));
    judged(&format!(
        "{PRODUCT} schedule product where !(M > 16) || K == 1 {{ split s parts = cdiv(K, 64); tile BM = 16; }}
         schedule product where N >= 17 && K > 64 {{ split s 2; }}
         schedule product {{ tile BN = 32; }}"
    ));
}

#[test]
fn attention_over_a_page_table_is_split() {
    judged(
        "kernel rows<const P>(q: in f32[B, 16], kv: in f32[NP, P, 16], table: in id<NP>[B, MP], len: in count<MP * P>[B], o: out f32[B, 16]) {
            par b in B {
                var m: f32[1, 1] = -inf;
                var l: f32[1, 1] = 0;
                var acc: f32[1, 16] = 0;
                let qb = q[b, :][_, :];
                for n in 0..cdiv(len[b], P) merge lse_merge(m, l, acc) {
                    let x = kv[table[b, n], span(0, P, min(P, len[b] - n * P)), :];
                    let (m1, p, c) = online(m, (qb @ x.t) * LOG2E);
                    l = l * c + p.sum(1);
                    acc = acc * c + p @ x;
                    m = m1;
                }
                o[b, :] = (acc / select(l == 0, 1, l))[0, :];
            }
        }
        spec rows {
            let x[b, s in 0..MP * P] = if s < len[b] { sum(d: q[b, d] * kv[table[b, s / P], s % P, d]) } else { -inf };
            let p[b, :] = softmax(x[b, :]);
            o[b, d] = sum(s in 0..len[b]: p[b, s] * kv[table[b, s / P], s % P, d]);
        }
        test rows { B = 3, P = 4, NP = 9, MP = 5; len = [17, 0, 20]; }
        schedule rows { split n parts = MP; require split n; }",
    );
}

const DECAY: &str = "
    kernel decay(x: in f32[L, H, W], g: in f32[L, H], s0: in f32[H, W], o: out f32[L, H, W], s1: out f32[H, W]) {
        tile C in {16, 32}, BW;
        par h in H, w in tiles(W, BW) {
            var S: f32[1, w] = s0[h, w][_, :];
            for t in tiles(L, C) affine S {
                let G = cumsum(g[t, h], 0);
                let D = exp(select(iota(t)[:, _] >= iota(t)[_, :], G[:, _] - G[_, :], -inf));
                o[t, h, w] = exp(G)[:, _] * S + D @ x[t, h, w];
                S = exp(g[t, h].sum()) * S + (exp(g[t, h].sum() - G)[:, _] * x[t, h, w]).sum(0);
            }
            s1[h, w] = S[0, :];
        }
    }
    spec decay {
        let S[h, w] = s0[h, w];
        for t in 0..L { S[h, w] = exp(g[t, h]) * S[h, w] + x[t, h, w]; o[t, h, w] = S[h, w]; }
        s1[h, w] = S[h, w];
    }
    test decay { L in [100, 33, 1], H = 2, W = 20; g = uniform(-0.5, 0); s1: rel 1e-3, abs 1e-4; o: rel 1e-3, abs 1e-4; }";

#[test]
fn a_recurrence_is_sliced_and_segmented() {
    judged(&format!("{DECAY} schedule decay {{ tile C = 16; split t states; require split t; }}"));
    judged(&format!("{DECAY} schedule decay {{ split t 3; require split t; }}"));
    judged(&format!("{DECAY} schedule decay {{ split t parts = cdiv(L, 32); }}"));
}

const DELTA: &str = "
    kernel delta(k: in f32[L, H, 8], v: in f32[L, H, W], beta: in f32[L, H], s0: in f32[H, 8, W], o: out f32[L, H, W], s1: out f32[H, 8, W]) {
        tile C in {16, 32}, BW;
        par h in H, w in tiles(W, BW) {
            var S: f32[8, w] = s0[h, :, w];
            for t in tiles(L, C) affine S {
                let kt = k[t, h, :];
                let past = iota(t)[:, _] > iota(t)[_, :];
                let A = unit_lower_inv(select(past, beta[t, h][:, _] * (kt @ kt.t), 0));
                let seen = kt @ S;
                let U = (A * beta[t, h][_, :]) @ (v[t, h, w] - seen);
                o[t, h, w] = seen + select(past, kt @ kt.t, 0) @ U;
                S = S + kt.t @ U;
            }
            s1[h, :, w] = S;
        }
    }
    spec delta {
        let S[h, c, w] = s0[h, c, w];
        for t in 0..L {
            o[t, h, w] = sum(c: S[h, c, w] * k[t, h, c]);
            let u[h in 0..H, w in 0..W] = beta[t, h] * (v[t, h, w] - o[t, h, w]);
            S[h, c, w] = S[h, c, w] + k[t, h, c] * u[h, w];
        }
        s1[h, c, w] = S[h, c, w];
    }
    test delta { L in [100, 33, 1], H = 2, W = 20; k = randn * 0.3; beta = sigmoid(randn); s1: rel 1e-3, abs 1e-4; o: rel 1e-3, abs 1e-4; }";

/// The same with the state's columns first.
fn transposed() -> String {
    DELTA
        .replace("f32[8, w] = s0[h, :, w]", "f32[w, 8] = s0[h, :, w].t")
        .replace("kt @ S", "kt @ S.t")
        .replace("S + kt.t @ U", "S + U.t @ kt")
        .replace("s1[h, :, w] = S", "s1[h, :, w] = S.t")
}

/// Where the state is multiplied by a matrix, each segment is summed up by one.
#[test]
fn a_recurrence_of_matrices_is_sliced_and_segmented() {
    judged(&format!("{DELTA} schedule delta {{ tile C = 16; split t states; require split t; }}"));
    judged(&format!("{DELTA} schedule delta {{ split t 3; require split t; }}"));
    judged(&format!("{} schedule delta {{ split t parts = cdiv(L, 32); require split t; }}", transposed()));
    // A matrix of many rows is taken by some of its columns at a time.
    let (rows, size) = (&DELTA.replace('8', "136"), "test delta { L = 17, H = 1, W = 4");
    let rows = rows
        .replace("test delta { L in [100, 33, 1], H = 2, W = 20", size)
        .replace("randn * 0.3", "randn * 0.08");
    judged(&format!("{rows} schedule delta {{ tile C = 16; split t 2; require split t; }}"));
}

/// What has to be true of a state that is multiplied by a matrix.
#[test]
fn columns_that_are_not_cut_or_not_alike_are_not_segmented() {
    let with = |columns: &str, step: &str| {
        answers(&format!(
            "kernel f(k: in f32[L, 8], a: in f32[W], s1: out f32[8, W]) {{
                tile BW;
                par w in tiles(W, BW) {{
                    var S: f32[8, {columns}] = 1;
                    for t in 0..L affine S {{
                        let read = k[t, :][_, :] @ S;
                        S = {step};
                    }}
                    s1[:, w] = S.max(1) + a[w][_, :];
                }}
            }}
            spec f {{ s1[c, w] = a[w]; }}
            test f {{ L = 3, W = 9; }}
            schedule f {{ split t 3; }}"
        ))
    };
    let refused = vec![("T0866".to_string(), false)];
    assert_eq!(with("w", "S - k[t, :][:, _] * read"), vec![]);
    assert_eq!(with("24", "S - k[t, :][:, _] * read"), refused);
    assert_eq!(with("w", "S - k[t, :][:, _] * read.sum(1)"), refused);
    assert_eq!(with("w", "S * a[w][_, :] - k[t, :][:, _] * read"), refused);
}

const PACKED: &str = "
    kernel packed(x: in f32[L, W], cu: in offsets<L>[NS + 1], o: out f32[L, W]) {
        tile C in {16, 32}, BW;
        par n in NS, w in tiles(W, BW) {
            var S: f32[1, w] = 0;
            for t in tiles(cu[n]..cu[n + 1], C) affine S {
                o[t, w] = S + cumsum(x[t, w], 0);
                S = S + x[t, w].sum(0);
            }
        }
    }
    spec packed {
        for n in 0..NS {
            let S[w in 0..W] = 0;
            for t in cu[n]..cu[n + 1] { S[w] = S[w] + x[t, w]; o[t, w] = S[w]; }
        }
    }
    test packed { L = 100, W = 20, NS = 4; cu = [0, 33, 33, 34, 100]; }
    test packed { L = 31, W = 5, NS = 3; cu in [[0, 0, 0, 31], [0, 15, 31, 31]]; }";

/// Sequences that lie end to end share the places of their steps.
#[test]
fn a_packed_recurrence_keeps_its_steps_and_not_the_longest_sequence_for_each() {
    let states = format!("{PACKED} schedule packed {{ tile C = 16; split t states; require split t; }}");
    judged(&states);
    judged(&format!("{PACKED} schedule packed {{ split t 3; require split t; }}"));
    let (program, _) = scheduled(&states, None).expect("a schedule that fits");
    let given =
        |name: &str| [("L", 100), ("W", 20), ("NS", 4)].iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
    let extents: Vec<i64> =
        program.temps.iter().flat_map(|t| &t.shape).map(|s| s.eval(&given).expect("dimensions")).collect();
    assert_eq!(extents, [100 / 16 + 4, 20]);
}

const SUMS: &str = "
    kernel columns(x: in f32[M, B, N], y: sum f32[B, N]) {
        tile BM, BN;
        par b in B, j in tiles(N, BN), i in tiles(M, BM) { y[b, j] += x[i, b, j].sum(0)[0, :]; }
    }
    spec columns { y[b, j] = sum(i: x[i, b, j]); }
    test columns { M in [70, 1], B = 2, N = 33; }";

#[test]
fn sums_have_an_order() {
    judged(&format!("{SUMS} schedule columns {{ tile BM = 16; order y rank(i); require order y; }}"));
    judged(&format!("{SUMS} schedule columns {{ tile BM = 16; order y rank(i, b); }}"));
}

/// Codes and severities of what a schedule is answered with.
fn answers(text: &str) -> Vec<(String, bool)> {
    answers_of(text, None)
}

/// The same for one kernel or op of several.
fn answers_of(text: &str, name: Option<&str>) -> Vec<(String, bool)> {
    let found = match scheduled(text, name) {
        Ok((_, notes)) => notes,
        Err(errors) => errors,
    };
    found.iter().map(|d| (d.code.to_string(), d.is_error())).collect()
}

/// The program that a text's first case is under its schedules, with what is told of them.
fn scheduled(text: &str, name: Option<&str>) -> Result<(Program, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut session = Session::new();
    let loaded = session.load_text("kernels.tile", text.to_string());
    let picked = tile_driver::compile::pick(&mut session, &loaded, name).unwrap();
    let case = tile_driver::compile::first_case(&loaded, &picked);
    let choice = tile_driver::choose::choose(
        &loaded.module,
        picked.callable(&loaded),
        &Default::default(),
        case.as_ref(),
    )
    .unwrap();
    let compiled = tile_driver::compile::compile(&mut session, &loaded, &picked, &choice.instance).unwrap();
    let target = tile_driver::emit::find_target("sm_90").unwrap();
    let mut notes = vec![];
    tile_driver::schedule::apply(&loaded, &compiled.program, target, &mut notes).map(|s| (s.program, notes))
}

#[test]
fn what_is_not_done_is_told_and_an_error_when_required() {
    let with = |text: &str, rows: &str| answers(&format!("{text} schedule {rows}"));
    let told = |code: &str, error: bool| vec![(code.to_string(), error)];
    assert_eq!(with(PRODUCT, "product { split s 4; }"), vec![]);
    assert_eq!(with(PRODUCT, "product { split s states; }"), told("T0866", false));
    assert_eq!(with(PRODUCT, "product { split s states; require split s; }"), told("T0866", true));
    assert_eq!(with(PRODUCT, "product { stages s 4; }"), told("T0855", false));
    assert_eq!(with(PRODUCT, "product { split s 4; require stages s; }"), told("T0855", true));
    assert_eq!(with(PRODUCT, "product { stream s 64; require stream s; }"), vec![]);
    assert_eq!(with(PRODUCT, "product { stream s; }"), told("T0806", true));
    assert_eq!(with(DECAY, "decay { stream t 64; }"), told("T0806", true));
    assert_eq!(with(PRODUCT, "product { split s 0; }"), told("T0806", true));
    assert_eq!(with(PRODUCT, "product { split s parts = some(K); }"), told("T0806", true));
    // The steps of slices and ranks need a size that both launches know.
    assert_eq!(with(DECAY, "decay { split t states; }"), told("T0866", false));
    assert_eq!(with(SUMS, "columns { order y rank(i); }"), told("T0866", false));
    // Two instances of `b` would meet in one element of a rank.
    assert_eq!(
        answers(
            "kernel total(x: in f32[B, N], y: sum f32[N]) {
                tile BN;
                par b in B, j in tiles(N, BN) { y[j] += x[b, j]; }
            }
            spec total { y[j] = sum(b: x[b, j]); }
            test total { B = 3, N = 20; }
            schedule total { tile BN = 16; order y rank(j); }"
        ),
        told("T0866", false)
    );
}

/// What keeps instances apart may be a loop over a part of a dimension, and has to be the same for all additions.
#[test]
fn ranks_are_asked_for_where_instances_meet() {
    let told = |code: &str, refused: bool| vec![(code.to_string(), refused)];
    let groups = |end: &str| {
        format!(
            "kernel groups(x: in f32[B, H, N], k: in f32[G, N], y: sum f32[B, H]) where H % G == 0 {{
                tile BN;
                par b in B, g in G, j in tiles(N, BN) {{
                    for h in g * (H / G)..{end} {{ y[b, h] += (x[b, h, j] * k[g, j]).sum(); }}
                }}
            }}
            spec groups {{ y[b, h] = sum(j: x[b, h, j] * k[h / (H / G), j]); }}
            test groups {{ B = 2, H = 4, G = 2, N = 20; }}
            schedule groups {{ tile BN = 16; order y rank(j); }}"
        )
    };
    judged(&groups("(g + 1) * (H / G)"));
    assert_eq!(answers(&groups("min(H, (g + 1) * (H / G) + 1)")), told("T0866", false));
    assert_eq!(
        answers(
            "kernel both(x: in f32[M, M, N], y: sum f32[M, M]) {
                tile BN;
                par a in M, j in tiles(N, BN) {
                    for c in 0..M {
                        let e = x[a, c, j].sum();
                        y[a, c] += e;
                        y[c, a] += e;
                    }
                }
            }
            spec both { y[a, c] = sum(j: x[a, c, j]) + sum(j: x[c, a, j]); }
            test both { M = 3, N = 20; }
            schedule both { tile BN = 16; order y rank(j); }"
        ),
        told("T0866", false)
    );
}

/// An op whose launches differ in the dimension that a schedule asks for: they are made without it.
#[test]
fn a_dimension_that_an_op_does_not_fix_passes_the_schedule_over() {
    let op = "
        kernel scale(x: in f32[M, N], y: out f32[M, N]) {
            tile BM, BN;
            par i in tiles(M, BM), j in tiles(N, BN) { y[i, j] = x[i, j] * 2; }
        }
        op steps(x: in f32[L, N], y: out f32[L, N]) {
            for l in 0..L { run scale(x[l..l + 1, :], y[l..l + 1, :]); }
        }
        spec steps { y[l, j] = x[l, j] * 2; }
        test steps { L = 3, N = 20; }";
    let told = |guard: &str| {
        answers_of(&format!("{op} schedule scale where {guard} {{ tile BM = 16; }}"), Some("steps"))
    };
    assert_eq!(told("M <= 8"), vec![("T0867".to_string(), false)]);
    // N is an extent of the op's own parameters.
    assert_eq!(told("N <= 8"), vec![]);
}

/// States are kept by the index of the step, which may not be negative.
#[test]
fn steps_below_zero_have_no_place() {
    let text = "
        kernel shifted(x: in f32[N], o: out f32[N]) {
            par b in 1 {
                var s: f32[1] = 0;
                for t in -1..N - 1 { s = s + x[t + 1]; o[t + 1] = s.sum(); }
            }
        }
        spec shifted { o[t] = sum(j in 0..t + 1: x[j]); }
        test shifted { N = 9; }
        schedule shifted { split t states; }";
    assert_eq!(answers(text), vec![("T0866".to_string(), false)]);
}
