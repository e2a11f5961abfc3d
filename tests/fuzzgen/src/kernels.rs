//! Random kernels: frames, filled with random expressions.
//!
//! | frame | domain | exercises |
//! | --- | --- | --- |
//! | rows | `par i in tiles(M, BM)`, whole rows of D | reductions, scans, products with a matrix, stretching |
//! | grid | `par i in tiles(M, BM), j in tiles(N, BN)` | tails of both axes, transposed loads, streamed dots |
//! | online | `par i`, `for j in tiles(N, BN)` | carried tiles, loops forwards and back, a running maximum, skip |
//! | integers | `par i, j` | floor division, remainders, bits, positions |
//! | products | `par b`, `for i in tiles(M, BM)` | chains of products, every operand turned or not, sums over spans |
//! | selections | `par i in tiles(M, BM)` | sorts, the greatest, running extrema, positions of extrema |
//! | ragged | `par n, i in tiles(cu[n]..cu[n + 1], BM)` | empty and odd sequences, rows gathered by ids that may be absent |

use crate::{
    Case,
    expr::{Kind, Scope, expression, integer},
    matrices::{Axis, Matrices, factor},
    random::Random,
};

/// A dimension of an odd kind.
fn extent(r: &mut Random) -> i64 {
    [1, 2, 5, 7, 8, 13, 16, 17, 31, 33, 40][r.below(11)]
}

/// `let t0 = …; let t1 = …;`, each in scope of the next.
fn lets(r: &mut Random, scope: &mut Scope, count: usize) -> String {
    let mut text = String::new();
    for n in 0..count {
        let value = expression(r, scope, Kind::Tile, 2);
        text += &format!("        let t{n} = {value};\n");
        scope.tiles.push(format!("t{n}"));
    }
    text
}

pub fn rows(r: &mut Random) -> Case {
    let d = extent(r);
    let mut scope = Scope {
        tiles: vec!["x".into(), "y".into()],
        columns: vec!["p".into()],
        rows: vec!["q".into()],
        scalars: vec!["alpha".into()],
        loaded: vec!["x".into()],
        whole_rows: true,
        square: Some(("w[:, :]".into(), format!("{:.4}", 1.0 / (d as f64).sqrt()))),
        ..Scope::default()
    };
    let body = lets(r, &mut scope, 2);
    let tile = expression(r, &scope, Kind::Tile, 2);
    let column = expression(r, &scope, Kind::Column, 3);
    let text = format!(
        "kernel f<T: f32 | f16 | bf16>(
    a: in T[M, {d}], b: in f32[M, {d}], c: in f32[M], e: in f32[{d}], w: in T[{d}, {d}],
    o: out T[M, {d}], s: out f32[M], alpha: f32,
) {{
    tile BM;
    par i in tiles(M, BM) {{
        let x = a[i, :].to(f32);
        let y = b[i, :];
        let p = c[i][:, _];
        let q = e[:][_, :];
{body}        o[i, :] = ({tile} + x * 0).to(T);
        s[i] = ({column} + p * 0)[:, 0];
    }}
}}
"
    );
    case(r, text, &["M"])
}

pub fn grid(r: &mut Random) -> Case {
    let mut scope = Scope {
        tiles: vec!["x".into(), "y".into()],
        columns: vec!["p".into()],
        rows: vec!["q".into()],
        scalars: vec!["alpha".into()],
        loaded: vec!["x".into(), "y".into()],
        positions: Some(("i.at[:, _]".into(), "j.at[_, :]".into())),
        ..Scope::default()
    };
    let mut body = String::new();
    if r.one_in(2) {
        body += "        let g = (u[i, :] @ v[:, j]) * 0.25;\n";
        scope.tiles.push("g".into());
    }
    body += &lets(r, &mut scope, 2);
    let tile = expression(r, &scope, Kind::Tile, 3);
    let text = format!(
        "kernel f<T: f32 | f16 | bf16>(
    a: in f32[M, N], b: in f32[N, M], c: in f32[M], e: in f32[N], u: in T[M, K], v: in T[K, N],
    o: out T[M, N], alpha: f32,
) {{
    tile BM, BN;
    par i in tiles(M, BM), j in tiles(N, BN) {{
        let x = a[i, j];
        let y = b[j, i].t;
        let p = c[i][:, _];
        let q = e[j][_, :];
{body}        o[i, j] = ({tile} + x * 0).to(T);
    }}
}}
"
    );
    case(r, text, &["M", "N", "K"])
}

pub fn online(r: &mut Random) -> Case {
    let d = extent(r);
    let scope = Scope {
        tiles: vec!["x".into(), "y".into()],
        columns: vec!["p".into()],
        rows: vec!["q".into()],
        scalars: vec!["alpha".into()],
        loaded: vec!["x".into()],
        positions: Some(("i.at[:, _]".into(), "j.at[_, :]".into())),
        ..Scope::default()
    };
    let score = expression(r, &scope, Kind::Tile, 3);
    let causal = r.one_in(2);
    let reverse = r.one_in(3);
    let (skip, hidden) = match causal {
        true => (" skip j.start >= i.end", "select(j.at[_, :] <= i.at[:, _], z, -inf)"),
        false => ("", "z"),
    };
    let range = if reverse { "tiles(N, BN).rev()" } else { "tiles(N, BN)" };
    let text = format!(
        "kernel f<T: f32 | f16 | bf16>(
    a: in f32[M, N], b: in f32[M, N], c: in f32[M], e: in f32[N], v: in T[N, {d}],
    o: out T[M, {d}], s: out f32[M], alpha: f32,
) {{
    tile BM, BN;
    par i in tiles(M, BM) {{
        let p = c[i][:, _];
        var m: f32[i, 1] = -inf;
        var l: f32[i, 1] = 0;
        var acc: f32[i, {d}] = 0;
        for j in {range}{skip} {{
            let x = a[i, j];
            let y = b[i, j];
            let q = e[j][_, :];
            let z = tanh({score} + x * 0) * 4;
            let (m1, w, k) = online(m, {hidden});
            l = l * k + w.sum(1);
            acc = acc * k + w.to(T) @ v[j, :];
            m = m1;
        }}
        o[i, :] = (acc / select(l == 0, 1, l)).to(T);
        s[i] = (m + log2(l))[:, 0];
    }}
}}
"
    );
    case(r, text, &["M", "N"])
}

pub fn integers(r: &mut Random) -> Case {
    let names: Vec<String> = ["x", "y", "p"].map(String::from).to_vec();
    let tile = integer(r, &names, 4);
    let text = format!(
        "kernel f<T: f32 | f16 | bf16>(
    a: in i32[M, N], b: in i32[N, M], c: in i32[M], h: in T[M], o: out i32[M, N], g: out T[M],
) {{
    tile BM, BN;
    par i in tiles(M, BM) {{
        for j in tiles(N, BN) {{
            let x = a[i, j];
            let y = b[j, i].t;
            let p = c[i][:, _];
            o[i, j] = {tile} + x * 0;
        }}
        g[i] = h[i];
    }}
}}
"
    );
    case(r, text, &["M", "N"])
}

pub fn products(r: &mut Random) -> Case {
    let m = Matrices { d: extent(r), e: extent(r) };
    let (d, e) = (m.d, m.e);
    let left = m.expression(r, Axis::D, Axis::I, 2);
    let right = m.expression(r, Axis::I, Axis::E, 2);
    let (left, right) = (factor(r, &left), factor(r, &right));
    let rows = m.expression(r, Axis::I, Axis::E, 3);
    let end = m.expression(r, Axis::D, Axis::E, 1);
    let reverse = if r.one_in(3) { ".rev()" } else { "" };
    let text = format!(
        "kernel f<T: f32 | f16 | bf16>(
    a: in T[B, M, {d}], b: in f32[B, M, {e}], c: in T[{d}, {e}], h: in T[{d}, {d}], k: in f32[{e}, {e}],
    o: out T[B, M, {e}], s: out f32[B, {d}, {e}],
) {{
    tile BM;
    par n in B {{
        let w = c[:, :].to(f32);
        let u = h[:, :].to(f32);
        let v = k[:, :];
        var g: f32[{d}, {e}] = 0;
        for i in tiles(M, BM){reverse} {{
            let x = a[n, i, :].to(f32);
            let y = b[n, i, :];
            g += {left} @ {right};
            o[n, i, :] = ({rows} + y * 0).to(T);
        }}
        s[n, :, :] = {end} + g;
    }}
}}
"
    );
    case(r, text, &["B", "M"])
}

pub fn selections(r: &mut Random) -> Case {
    let d = extent(r);
    let k = 1 + r.below(d as usize);
    let falling = r.pick(&["", ", desc = true"]);
    let running =
        r.pick(&["cummax(x, 1)", "cummax(x, 1, rev = true)", "cumsum(x, 1, rev = true, exclusive = true)"]);
    let extremum = r.pick(&["argmax", "argmin"]);
    // Few different values, so that there are ties.
    let rounded = r.pick(&["a[i, :]", "floor(a[i, :] * 2)"]);
    let text = format!(
        "kernel f<T: f32 | f16 | bf16>(
    a: in f32[M, {d}], h: in T[M], o: out f32[M, {d}], at: out i32[M, {d}], top: out f32[M, {k}], p: out i32[M, {k}],
    z: out i32[M], acc: out f32[M, {d}], g: out T[M],
) {{
    tile BM;
    par i in tiles(M, BM) {{
        let x = {rounded};
        let (v, from) = sort(x{falling});
        o[i, :] = v;
        at[i, :] = from.to(i32);
        let (t, q) = topk(x, k = {k});
        top[i, :] = t;
        p[i, :] = q.to(i32);
        z[i] = x.{extremum}(1)[:, 0].to(i32);
        acc[i, :] = {running};
        g[i] = h[i];
    }}
}}
"
    );
    case(r, text, &["M"])
}

pub fn ragged(r: &mut Random) -> Case {
    let d = extent(r);
    let mut scope = Scope {
        tiles: vec!["x".into(), "y".into()],
        columns: vec!["p".into()],
        rows: vec!["q".into()],
        scalars: vec!["alpha".into(), "c[n]".into()],
        loaded: vec!["x".into(), "y".into()],
        whole_rows: true,
        square: Some(("w[:, :]".into(), format!("{:.4}", 1.0 / (d as f64).sqrt()))),
        ..Scope::default()
    };
    let body = lets(r, &mut scope, 1);
    let tile = expression(r, &scope, Kind::Tile, 3);
    let column = expression(r, &scope, Kind::Column, 2);
    let text = format!(
        "kernel f<T: f32 | f16 | bf16>(
    cu: in offsets<L>[NS + 1], ids: in id?<M>[L], a: in T[L, {d}], b: in f32[M, {d}], c: in f32[NS], h: in f32[L],
    e: in f32[{d}], w: in T[{d}, {d}], o: out T[L, {d}], s: out f32[L], alpha: f32,
) {{
    tile BM;
    par n in NS, i in tiles(cu[n]..cu[n + 1], BM) {{
        let x = a[i, :].to(f32);
        let y = b[ids[i], :] else 0.5;
        let p = h[i][:, _];
        let q = e[:][_, :];
{body}        o[i, :] = ({tile} + x * 0).to(T);
        s[i] = ({column} + p * 0)[:, 0];
    }}
}}
"
    );
    case(r, text, &["L", "NS", "M"])
}

fn case(r: &mut Random, text: String, dims: &[&str]) -> Case {
    let dtype = ["f32", "f16", "bf16"][r.below(3)];
    let dims = dims.iter().map(|d| (d.to_string(), extent(r))).collect();
    Case { text, dims, dtype: tile_base::DType::from_name(dtype).unwrap_or(tile_base::DType::F32) }
}
