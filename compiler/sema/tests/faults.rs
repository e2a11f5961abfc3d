//! One small fault each: the code, and the text under the primary span. A fault gives its own code and no other, so
//! nothing follows from what is wrong.

mod support;

/// A kernel body in a frame that has one of everything.
fn body(text: &str) -> String {
    format!(
        "fn twice(x: f32) -> f32 {{ 2 * x }}
fn pairwise(p: f32[R, C], q: f32[R, C]) {{ p + q }}
fn first(p: f32, q: f32) {{ p }}
fn lost(p: f32, q: f32, r: f32, t: f32) {{ p }}
kernel k<T: f32 | f16, const D, const FLAG: bool = false>(
    x: in T[M, N], w: in f32[N, D], z: in f32[M, D], ids: in id<N>[M], few: in id?<N>[M, 4], len: in count<N>[M],
    opt: in? f32[M], o: out f32[M, N], oz: out f32[M, D], s: sum f32[M], u: inout f32[M, N], a: f32, n: i32) {{
    tile BM, BN;
    par i in tiles(M, BM) {{
{text}
    }}
}}
"
    )
}

/// In a kernel body: code, text under the primary span, statements.
const BODY: &[(&str, &str, &str)] = &[
    // names
    ("T0200", "q", "let v = q + 1;"),
    ("T0200", "twise", "let v = twise(a);"),
    ("T0200", "v", "v = 1;"),
    ("T0200", "exp", "let v = exp;"),
    // types of elements
    ("T0205", "x[i, j].to(f16) * a", "for j in tiles(N, BN) { u[i, j] = (x[i, j].to(f16) * a).to(f32); }"),
    ("T0205", "D", "let v = a * D;"),
    ("T0205", "N + n", "let v = N + n;"),
    ("T0205", "n", "oz[i, :] = n;"),
    ("T0207", "true", "let v = true + a;"),
    ("T0206", "-FLAG", "let v = -FLAG;"),
    ("T0206", "a & 1", "let v = a & 1;"),
    ("T0206", "sqrt(n)", "let v = sqrt(n);"),
    ("T0206", "BM", "let v = BM + 1;"),
    ("T0206", "z[i, :].any(1)", "let v = z[i, :].any(1);"),
    ("T0206", "(z[i, :] > 0).sum(1)", "let v = (z[i, :] > 0).sum(1);"),
    ("T0207", "0.5", "let v = n + 0.5;"),
    ("T0207", "300", "let v = n.to(u8) + 300;"),
    ("T0207", "true", "let v = select(a > 0, true, a);"),
    // axes
    ("T0203", "z[i, :] + z[i, :].t", "let v = z[i, :] + z[i, :].t;"),
    ("T0203", "w[j, :] + z[i, :]", "for j in tiles(N, BN) { let v = w[j, :] + z[i, :]; }"),
    ("T0204", "z[i, :] - z[i, :].max(1)[:, 0]", "let v = z[i, :] - z[i, :].max(1)[:, 0];"),
    ("T0208", "z[i, :]", "var m: f32[i, 1] = z[i, :];"),
    ("T0208", "z[i, :].sum(1)", "s[i] += z[i, :].sum(1);"),
    ("T0208", "w[j, :].t", "var m: f32[i, D] = 0; for j in tiles(N, BN) { m = w[j, :].t; }"),
    ("T0209", "float", "var v: float = 0;"),
    ("T0209", "N", "var v: f32[i, N] = 0;"),
    ("T0209", "BM", "var v: f32[BM, D] = 0;"),
    ("T0210", "N", "let (v, j) = topk(z[i, :], k = N);"),
    ("T0210", "a", "for j in tiles(N, a) { }"),
    ("T0212", "topk(z[i, :], k = 4096)", "let (v, j) = topk(z[i, :], k = 4096);"),
    // calls
    ("T0214", "twice(a, a)", "let v = twice(a, a);"),
    ("T0214", "select(FLAG, 1)", "let v = select(FLAG, 1);"),
    ("T0215", "a", "let v = a(1);"),
    ("T0216", "summ", "let v = z[i, :].summ(1);"),
    ("T0217", "length", "let v = i.length;"),
    ("T0217", "start", "let v = a.start;"),
    ("T0218", "size", "let (v, j) = topk(z[i, :], size = 2);"),
    ("T0208", "a", "let v = pairwise(a, a); "),
    ("T0208", "z[i, :].sum(1)[:, 0]", "let v = pairwise(z[i, :].sum(1)[:, 0], z[i, :]);"),
    ("T0203", "z[i, 0..2]", "let v = pairwise(z[i, :], z[i, 0..2]);"),
    ("T0205", "n", "let v = twice(n);"),
    ("T0222", "2", "let v = z[i, :].sum(2);"),
    ("T0222", "z[i, :].argmax()", "let v = z[i, :].argmax();"),
    ("T0223", "a", "let v = a.sum(0);"),
    ("T0223", "opt[i].t", "if opt { let v = opt[i].t; }"),
    // subscripts
    ("T0224", "x[i]", "let v = x[i];"),
    ("T0224", "a[0]", "let v = a[0];"),
    ("T0225", "a", "let v = z[i, a];"),
    ("T0225", "n", "let v = z[i, n];"),
    ("T0226", "x[i, :]", "let v = x[i, :] * 2;"),
    ("T0226", "x", "let v = x.sum(1);"),
    ("T0226", "w[:, :]", "var v: f32[i, 1] = 0; v = w[:, :];"),
    ("T0227", "N - 1", "let v = z[i, :][:, N - 1];"),
    ("T0228", "4096", "let v = z[i, :][:, 4096];"),
    ("T0228", "7", "let v = few[i, 7];"),
    ("T0228", "3..1", "let v = z[i, 3..1];"),
    ("T0229", "0", "let v = z[i, :][0, :];"),
    ("T0250", "opt", "let v = opt[i];"),
    // dot
    ("T0230", "opt[i] @ w", "if opt { let v = opt[i] @ w; }"),
    ("T0231", "z[i, :] @ w[j, :]", "for j in tiles(N, BN) { let v = z[i, :] @ w[j, :]; }"),
    ("T0231", "x[i, :].to(f32) @ z", "let v = x[i, :].to(f32) @ z;"),
    (
        "T0232",
        "z[i, :].to(f16) @ w[j, :].t",
        "for j in tiles(N, BN) { let v = z[i, :].to(f16) @ w[j, :].t; }",
    ),
    (
        "T0232",
        "dot(z[i, :], w[j, :].t, acc = i32)",
        "for j in tiles(N, BN) { let v = dot(z[i, :], w[j, :].t, acc = i32); }",
    ),
    // tile sizes
    ("T0234", "i.start", "oz[i, :] = i.start.to(f32);"),
    ("T0234", "lo", "let lo = i.start; oz[i, :] = lo.to(f32);"),
    ("T0234", "i.len", "if i.len > 3 { oz[i, :] = 0; }"),
    ("T0234", "i.end", "for j in tiles(0..i.end, BN) { u[i, j] = 0; }"),
    // memory
    ("T0235", "o[i, j]", "for j in tiles(N, BN) { let v = o[i, j]; }"),
    ("T0235", "s[i]", "let v = s[i];"),
    ("T0236", "z[i, :]", "z[i, :] = 0;"),
    ("T0237", "s[i]", "s[i] = 0;"),
    ("T0238", "oz[i, :]", "oz[i, :] += 1;"),
    ("T0239", "v", "let v = 1; v = 2;"),
    ("T0240", "v[:, 0]", "var v: f32[i, D] = 0; v[:, 0] = 1;"),
    ("T0240", "oz", "oz = 1;"),
    ("T0226", "o[i, :]", "o[i, :] = 0;"),
    // control
    ("T0241", "z[i, :] > 0", "if z[i, :] > 0 { oz[i, :] = 0; }"),
    ("T0241", "a", "while a { }"),
    ("T0241", "opt[i] > 0", "if opt { while opt[i] > 0 { } }"),
    ("T0242", "break;", "break;"),
    ("T0242", "break;", "for j in tiles(N, BN) skip j.start > 3 { break; }"),
    ("T0242", "let v = 1;", "for j in N { break; let v = 1; }"),
    ("T0243", "v", "var v: index = 0; for j in tiles(N, BN) skip v > 3 { v = v + 2; }"),
    ("T0244", "q", "let q = 1; for j in tiles(N, BN) merge first(q) { }"),
    ("T0244", "lost", "var p: f32 = 0; var q: f32 = 0; for j in N merge lost(p, q) { p = q + 1; q = p; }"),
    ("T0214", "first", "var p: f32 = 0; var q: f32 = 0; for j in N merge first(p, q) { p = q + 1; q = p; }"),
    (
        "T0244",
        "merge first(p)",
        "var p: f32 = 0; var q: f32 = 0; for j in N merge first(p) { p = q + 1; q = p; }",
    ),
    ("T0245", "a", "for j in N affine a { }"),
    ("T0246", "par j in N { }", "par j in N { }"),
    ("T0247", "a + 1", "a + 1;"),
    ("T0247", "temp q: f32[N];", "temp q: f32[N];"),
    ("T0248", "j", "var q: [f32; 3] = 0; for j in 3 { let v = q[j]; }"),
    ("T0228", "3", "var q: [f32; 3] = 0; let v = q[3];"),
    ("T0249", "0..100000", "unroll j in 0..100000 { }"),
    ("T0251", "(p, q)", "let (p, q) = a;"),
    ("T0252", "a > 0", "for j in a > 0 { }"),
    ("T0252", "tiles(N, BN)", "for j in tiles(tiles(N, BN), BN) { }"),
    ("T0253", "z[i, :].merge(0, 0)", "let v = z[i, :].merge(0, 0);"),
    ("T0253", "z[i, :].split(1, 5)", "let v = z[i, :].split(1, 5);"),
    ("T0253", "z[i, :].permute(0)", "let v = z[i, :].permute(0);"),
    ("T0256", "0..N", "unroll j in 0..N { }"),
    ("T0257", "ids[0]", "view v[j in N, d in D] = ids[0]; let q = v[0, 1];"),
    ("T0261", "if a > 0 { 1 }", "let v = if a > 0 { 1 };"),
    ("T0265", "1 / 0", "let v = 1 / 0;"),
    ("T0262", "w[:, :].merge(0, 1)[0]", "let v = w[:, :].merge(0, 1)[0];"),
];

/// Whole files: code, text under the primary span, text.
const FILES: &[(&str, &str, &str)] = &[
    ("T0201", "f", "fn f(x: f32) { x } fn f(x: f32) { x }"),
    ("T0201", "x", "kernel k(x: in f32[N], x: out f32[N]) { tile B; par i in tiles(N, B) { } }"),
    ("T0201", "B", "kernel k(x: in f32[N]) { tile B, B; par i in tiles(N, B) { } }"),
    ("T0202", "no::such", "use no::such::{f};"),
    ("T0202", "causel", "use attention::masks::{causel};"),
    ("T0211", "f", "kernel k<f: fn(x: f32) -> f32>(x: out f32[N]) { tile B; par i in tiles(N, B) { x[i] = f(1.0); } }"),
    ("T0213", "D == 2 * D + 1", "kernel k<const D>(x: out f32[N, D]) where D == 2 * D + 1 { }"),
    ("T0213", "assert D < 0, \"no\";", "kernel k<const D>(x: out f32[N, D]) { assert D < 0, \"no\"; }"),
    ("T0219", "g(x)", "fn f(x: f32) { g(x) } fn g(x: f32) { h(x) } fn h(x: f32) { g(x) }"),
    ("T0220", "x", "fn f(x: f32) -> index { x }"),
    (
        "T0221",
        "two",
        "fn two(x: f32, y: f32) -> f32 { x }
         kernel k<f: fn(x: f32) -> f32 = two>(x: out f32[N]) { tile B; par i in tiles(N, B) { x[i] = f(1.0); } }",
    ),
    ("T0246", "let v = 1;", "kernel k(x: out f32[N]) { tile B; par i in tiles(N, B) { x[i] = 0; } let v = 1; }"),
    ("T0246", "tiles(N, B).rev()", "kernel k(x: out f32[N]) { tile B; par i in tiles(N, B).rev() { x[i] = 0; } }"),
    ("T0254", "M", "kernel k(x: in f32[N], ids: in id<N>[M * K], o: out f32[N + M * K, M * 2 - K * M]) { }"),
    ("T0254", "MAX", "kernel k(x: in id<MAX>[N], o: out f32[N]) { tile B; par i in tiles(N, B) { o[i] = 0; } }"),
    ("T0255", "x: f32[N]", "kernel k(x: f32[N]) { }"),
    ("T0255", "x: sum f16[N]", "kernel k(x: sum f16[N]) { }"),
    ("T0255", "n: out f32", "kernel k(n: out f32) { }"),
    ("T0263", "N @ 2", "kernel k(x: in f32[N @ 2]) { }"),
    ("T0263", "N + 1", "kernel k(x: in f32[N]) where N + 1 { }"),
    ("T0200", "H", "kernel k(x: in f32[N]) where H % 2 == 0 { }"),
    ("T0258", "x[0]", "op k(x: in f32[N]) { let n = x[0]; }"),
    ("T0258", "var v = 1;", "op k(x: in f32[N]) { var v = 1; }"),
    (
        "T0258",
        "g",
        "fn g(i: index) -> f32 using s: in f32[N] { s[i] }
         kernel f<h: fn(i: index) -> f32 = g>(y: out f32[N]) { tile B; par i in tiles(N, B) { y[i] = h(i.at); } }
         op k(x: out f32[N]) { run f<h = g>(x); }",
    ),
    (
        "T0205",
        "g",
        "fn g(i: index) -> f32 using s: in f32[N] { s[i] }
         kernel f<h: fn(i: index) -> f32 = g>(y: out f32[N]) { tile B; par i in tiles(N, B) { y[i] = h(i.at); } }
         op k(x: out f32[N], s: in f16[N]) { run f<h = g>(x); }",
    ),
    (
        "T0258",
        "run f<h = twice>(x);",
        "fn g(i: index) -> f32 using s: in f32[N] { s[i] }
         fn twice(i: index) -> f32 { g(i) * 2 }
         kernel f<h: fn(i: index) -> f32 = g>(y: out f32[N]) { tile B; par i in tiles(N, B) { y[i] = h(i.at); } }
         op k(x: out f32[N], s: in f32[N]) { run f<h = twice>(x); }",
    ),
    ("T0214", "run f(x);", "kernel f(x: in f32[N], y: out f32[N]) { tile B; par i in tiles(N, B) { y[i] = x[i]; } } op k(x: in f32[N]) { run f(x); }"),
    ("T0236", "x", "kernel f(y: out f32[N]) { tile B; par i in tiles(N, B) { y[i] = 0; } } op k(x: in f32[N]) { run f(x); }"),
    ("T0205", "x", "kernel f(y: out f16[N]) { tile B; par i in tiles(N, B) { y[i] = 0; } } op k(x: out f32[N]) { run f(x); }"),
    ("T0208", "x", "kernel f(y: out f32[N]) { tile B; par i in tiles(N, B) { y[i] = 0; } } op k(x: out f32[N, M]) { run f(x); }"),
    ("T0215", "f", "fn f(x: f32) { x } op k(x: out f32[N]) { run f(x); }"),
    // grads
    ("T0285", "h", "kernel f(x: in f32[N], y: out f32[N]) { tile B; par i in tiles(N, B) { y[i] = x[i]; } } kernel b(x: in f32[N], g: in f32[N], d: out f32[N]) { tile B; par i in tiles(N, B) { d[i] = g[i] * x[i]; } } grad h(g for y) -> (d for x) { run b(x, g, d); }"),
    ("T0285", "f", "kernel f(x: in f32[N], y: out f32[N]) { tile B; par i in tiles(N, B) { y[i] = x[i]; } } kernel b(x: in f32[N], g: in f32[N], d: out f32[N]) { tile B; par i in tiles(N, B) { d[i] = g[i] * x[i]; } } grad f(g for y) -> (d for x) { run b(x, g, d); } grad f(g for y) -> (d for x) { run b(x, g, d); }"),
    ("T0285", "q", "kernel f(x: in f32[N], y: out f32[N]) { tile B; par i in tiles(N, B) { y[i] = x[i]; } } kernel b(x: in f32[N], g: in f32[N], d: out f32[N]) { tile B; par i in tiles(N, B) { d[i] = g[i] * x[i]; } } grad f(g for q) -> (d for x) { run b(x, g, d); }"),
    ("T0285", "y", "kernel f(x: in f32[N], y: out f32[N]) { tile B; par i in tiles(N, B) { y[i] = x[i]; } } kernel b(x: in f32[N], g: in f32[N], d: out f32[N]) { tile B; par i in tiles(N, B) { d[i] = g[i] * x[i]; } } grad f(g for y) -> (d for y) { run b(x, g, d); }"),
    ("T0285", "x", "kernel f(x: in f32[N], y: out f32[N]) { tile B; par i in tiles(N, B) { y[i] = x[i]; } } kernel b(x: in f32[N], g: in f32[N], d: out f32[N]) { tile B; par i in tiles(N, B) { d[i] = g[i] * x[i]; } } grad f(g for y) -> (d for x, e for x) { run b(x, g, d); run b(x, g, e); }"),
    ("T0285", "g: out for y", "kernel f(x: in f32[N], y: out f32[N]) { tile B; par i in tiles(N, B) { y[i] = x[i]; } } kernel b(x: in f32[N], g: in f32[N], d: out f32[N]) { tile B; par i in tiles(N, B) { d[i] = g[i] * x[i]; } } grad f(g: out for y) -> (d for x) { run b(x, g, d); }"),
    ("T0285", "d: inout for x", "kernel f(x: in f32[N], y: out f32[N]) { tile B; par i in tiles(N, B) { y[i] = x[i]; } } kernel b(x: in f32[N], g: in f32[N], d: out f32[N]) { tile B; par i in tiles(N, B) { d[i] = g[i] * x[i]; } } grad f(g for y) -> (d: inout for x) { run b(x, g, d); }"),
    ("T0285", "g", "kernel f(x: in f32[N], y: out f32[N]) { tile B; par i in tiles(N, B) { y[i] = x[i]; } } kernel b(x: in f32[N], g: in f32[N], d: out f32[N]) { tile B; par i in tiles(N, B) { d[i] = g[i] * x[i]; } } grad f(g for y) -> (d for x) { run b(x, x, d); }"),
    ("T0285", "d", "kernel f(x: in f32[N], y: out f32[N]) { tile B; par i in tiles(N, B) { y[i] = x[i]; } } kernel b(x: in f32[N], g: in f32[N], d: out f32[N]) { tile B; par i in tiles(N, B) { d[i] = g[i] * x[i]; } } grad f(g for y) -> (d for x) { temp t: f32[N]; run b(x, g, t); }"),
    ("T0285", "f", "kernel f(x: in f32[N], y: out f32[N]) { tile B; par i in tiles(N, B) { y[i] = x[i]; } } kernel b(x: in f32[N], g: in f32[N], d: out f32[N]) { tile B; par i in tiles(N, B) { d[i] = g[i] * x[i]; } } grad f() -> (d for x) { run b(x, x, d); }"),
    ("T0201", "y", "kernel f(x: in f32[N], y: out f32[N]) { tile B; par i in tiles(N, B) { y[i] = x[i]; } } kernel b(x: in f32[N], g: in f32[N], d: out f32[N]) { tile B; par i in tiles(N, B) { d[i] = g[i] * x[i]; } } grad f(g for y) -> (y for x) { run b(x, g, y); }"),
    ("T0286", "i", "kernel f(x: in f32[N], i: in id<N>[N], y: out f32[N]) { tile B; par r in tiles(N, B) { y[r] = x[i[r]]; } } grad f(g for y) -> (d for i) { run f(g, i, d); }"),
    ("T0286", "s", "kernel f(x: in f32[N], y: out f32[N], s: f32) { tile B; par i in tiles(N, B) { y[i] = s * x[i]; } } grad f(g for y) -> (d for s) { run f(g, d, s); }"),
    ("T0286", "y", "kernel f(x: in f32[N], y: out i32[N]) { tile B; par i in tiles(N, B) { y[i] = x[i].to(i32); } } kernel b(x: in f32[N], g: in f32[N], d: out f32[N]) { tile B; par i in tiles(N, B) { d[i] = g[i] * x[i]; } } grad f(g for y) -> (d for x) { run b(x, x, d); temp t: f32[N]; run b(x, g, t); }"),
    ("T0286", "f", "kernel f(x: in f32[N], u: inout f32[N], y: out f32[N]) { tile B; par i in tiles(N, B) { y[i] = x[i] + u[i]; u[i] = 0; } } kernel b(x: in f32[N], g: in f32[N], d: out f32[N]) { tile B; par i in tiles(N, B) { d[i] = g[i] * x[i]; } } grad f(g for y) -> (d for x) { run b(x, g, d); }"),
    // the body of a grad is that of an op
    ("T0214", "run b(x, g);", "kernel f(x: in f32[N], y: out f32[N]) { tile B; par i in tiles(N, B) { y[i] = x[i]; } } kernel b(x: in f32[N], g: in f32[N], d: out f32[N]) { tile B; par i in tiles(N, B) { d[i] = g[i] * x[i]; } } grad f(g for y) -> (d for x) { run b(x, g); if N > 1 { run b(x, g, d); } }"),
    ("T0208", "g", "kernel f(x: in f32[N], y: out f32[N]) { tile B; par i in tiles(N, B) { y[i] = x[i]; } } kernel c(g: in f32[N, M], d: out f32[N]) { tile B; par i in tiles(N, B) { d[i] = 0; } } grad f(g for y) -> (d for x) { run c(g, d); }"),
    ("T0205", "d", "kernel f(x: in f32[N], y: out f32[N]) { tile B; par i in tiles(N, B) { y[i] = x[i]; } } kernel b(x: in f32[N], g: in f32[N], d: out f32[N]) { tile B; par i in tiles(N, B) { d[i] = g[i] * x[i]; } } grad f(g for y) -> (d: out f16 for x) { run b(x, g, d); }"),
    ("T0255", "d: sum f16 for x", "kernel f(x: in f32[N], y: out f32[N]) { tile B; par i in tiles(N, B) { y[i] = x[i]; } } kernel c(g: in f32[N], d: out f16[N]) { tile B; par i in tiles(N, B) { d[i] = g[i].to(f16); } } grad f(g for y) -> (d: sum f16 for x) { run c(g, d); }"),
    ("T0280", "f.bwd", "kernel f(x: in f32[N], y: out f32[N]) { tile B; par i in tiles(N, B) { y[i] = x[i]; } } kernel b(x: in f32[N], g: in f32[N], d: out f32[N]) { tile B; par i in tiles(N, B) { d[i] = g[i] * x[i]; } } grad f(g for y) -> (d for x) { run b(x, g, d); } test f.bwd { N = 1; }"),
    ("T0281", "Q", "kernel f(x: in f32[N], y: out f32[N]) { tile B; par i in tiles(N, B) { y[i] = x[i]; } } kernel b(x: in f32[N], g: in f32[N], d: out f32[N]) { tile B; par i in tiles(N, B) { d[i] = g[i] * x[i]; } } grad f(g for y) -> (d for x) { run b(x, g, d); } test f.vjp { N = 1; Q = 2; }"),
    ("T0200", "tt", "fn f(x: T[R, C], m: f32[R, 1]) { x.to(f32) * tt }"),
    ("T0204", "x * m", "fn f(x: f32[R, C], m: f32[R]) { x * m }"),
    ("T0207", "1 / 3", "fn f(x: f32) { 1 / 3 * x }"),
    // specs
    ("T0272", "kk", "spec kk { o[i] = 1; }"),
    ("T0270", "z", "kernel k(x: in f32[N], o: out f32[N]) { tile B; par i in tiles(N, B) { o[i] = x[i]; } } spec k { o[i] = z[i]; }"),
    ("T0270", "soft", "kernel k(x: in f32[N], o: out f32[N]) { tile B; par i in tiles(N, B) { o[i] = x[i]; } } spec k { o[i] = soft(x[i]); }"),
    ("T0271", "x", "kernel k(x: in f32[N], o: out f32[N]) { tile B; par i in tiles(N, B) { o[i] = x[i]; } } spec k { o[i] = x[i, 0]; }"),
    ("T0271", "o", "kernel k(x: in f32[N], o: out f32[N]) { tile B; par i in tiles(N, B) { o[i] = x[i]; } } spec k { o[i, j] = x[i]; }"),
    ("T0273", "k", "kernel k(x: in f32[N], o: out f32[N]) { tile B; par i in tiles(N, B) { o[i] = x[i]; } } spec k { let q[i] = x[i]; }"),
    ("T0274", "x", "kernel k(x: in f32[N], o: out f32[N]) { tile B; par i in tiles(N, B) { o[i] = x[i]; } } spec k { o[i] = 1; x[i] = 1; }"),
    // tests
    ("T0280", "kk", "test kk { N = 1; }"),
    ("T0281", "Q", "kernel k(o: out f32[N]) { tile B; par i in tiles(N, B) { o[i] = 0; } } test k { N = 1; Q = 2; }"),
    ("T0282", "k", "kernel k(o: out f32[N]) { tile B; par i in tiles(N, B) { o[i] = 0; } } test k { }"),
    ("T0283", "2.5", "kernel k(o: out f32[N]) { tile B; par i in tiles(N, B) { o[i] = 0; } } test k { N = 2.5; }"),
    ("T0283", "f64", "kernel k<T: f32 | f16>(o: out T[N]) { tile B; par i in tiles(N, B) { o[i] = 0; } } test k { N = 2; T = f64; }"),
    ("T0283", "o", "kernel k(o: out f32[N]) { tile B; par i in tiles(N, B) { o[i] = 0; } } test k { N = 2; absent o; }"),
    ("T0284", "-1", "kernel k(o: out f32[N]) { tile B; par i in tiles(N, B) { o[i] = 0; } } test k { N = 2; o: rel -1; }"),
    // schedules
    ("T0290", "kk", "schedule kk { tile B = 16; }"),
    ("T0291", "BB", "kernel k(o: out f32[N]) { tile B; par i in tiles(N, B) { o[i] = 0; } } schedule k { tile BB = 16; }"),
    ("T0291", "K == 1", "kernel k(o: out f32[N]) { tile B; par i in tiles(N, B) { o[i] = 0; } } schedule k where K == 1 { tile B = 16; }"),
    ("T0292", "jj", "kernel k(o: out f32[N]) { tile B; par i in tiles(N, B) { for j in 3 { } o[i] = 0; } } schedule k { stages jj 2; }"),
    ("T0293", "j", "kernel k(o: out f32[N]) { tile B; par i in tiles(N, B) { for j in 3 { } for j in 4 { } o[i] = 0; } } schedule k { stages j 2; }"),
    ("T0294", "staged", "kernel k(o: out f32[N]) { tile B; par i in tiles(N, B) { o[i] = 0; } } schedule k { staged i 2; }"),
    ("T0295", "48", "kernel k(o: out f32[N]) { tile B in {16, 32}; par i in tiles(N, B) { o[i] = 0; } } schedule k { tile B = 48; }"),
    ("T0296", "k", "kernel k(o: out f32[N]) { tile B; par i in tiles(N, B) { o[i] = 0; } } schedule k { tile B = 16; } schedule k for sm_90 { tile B = 32; }"),
    ("T0259", "f", "asm fn f(x: f32) -> f32 \"neg.f32 $0, $1;\" { -x }"),
];

/// What differs from what was expected.
fn judge(code: &str, at: &str, text: &str, shown: &str) -> Option<String> {
    let loaded = support::load("fault.tile", text);
    if !loaded.syntax.is_empty() {
        return Some(format!("{shown}\n  is not read: {}", support::show(&loaded, &loaded.syntax)));
    }
    let found = tile_sema::check(&loaded.module);
    let right = !found.is_empty()
        && found.iter().all(|d| d.code == code)
        && found.iter().any(|d| d.primary.is_some_and(|s| loaded.sources.snippet(s) == at));
    (!right).then(|| format!("{shown}\n  wanted {code} at `{at}`, found\n{}", support::show(&loaded, &found)))
}

#[test]
fn each_fault_has_its_code_and_place_and_nothing_follows() {
    let bodies = BODY.iter().filter_map(|(code, at, text)| judge(code, at, &body(text), text));
    let files = FILES.iter().filter_map(|(code, at, text)| judge(code, at, text, text));
    let wrong: Vec<String> = bodies.chain(files).collect();
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_frame_itself_is_faultless() {
    let text = body("for j in tiles(N, BN) { o[i, j] = 0; } oz[i, :] = 0;");
    let loaded = support::load("frame.tile", &text);
    assert_eq!(support::show(&loaded, &tile_sema::check(&loaded.module)), "");
}

#[test]
fn every_code_has_a_page() {
    let codes = BODY.iter().chain(FILES).map(|(c, ..)| *c);
    let missing: Vec<&str> = codes.filter(|c| tile_base::explain(c).is_none()).collect();
    assert!(missing.is_empty(), "no page for {missing:?}");
}
