//! What lowering refuses: writes that instances share, outputs without writes, loops that are not affine.

mod common;

use common::try_lower;

#[track_caller]
fn codes(text: &str, kernel: &str, words: &str) -> Vec<&'static str> {
    match try_lower(text, kernel, words) {
        Ok(_) => vec![],
        Err(found) => found.into_iter().map(|d| d.code).collect(),
    }
}

#[test]
fn a_store_that_no_axis_of_the_domain_decides_is_shared() {
    let text = "kernel f(a: in f32[M, N], o: out f32[N]) {
        tile B;
        par r in M, i in tiles(N, B) { o[i] = a[r, i]; }
    }";
    assert_eq!(codes(text, "f", ""), ["T0402"]);
    let own = text.replace("o: out f32[N]", "o: out f32[M, N]").replace("o[i]", "o[r, i]");
    assert_eq!(codes(&own, "f", ""), [] as [&str; 0]);
}

#[test]
fn an_output_must_be_written() {
    let text = "kernel f(a: in f32[N], o: out f32[N], p: out f32[N]) {
        tile B;
        par i in tiles(N, B) { o[i] = a[i]; }
    }";
    assert_eq!(codes(text, "f", ""), ["T0401"]);
}

#[test]
fn a_square_is_not_affine() {
    let text = |step: &str| {
        format!(
            "kernel f(a: in f32[L, N], o: out f32[L, N]) {{
                tile B;
                par i in tiles(N, B) {{
                    var s: f32[i] = 0;
                    for t in L affine s {{ s = {step}; o[t, i] = s; }}
                }}
            }}"
        )
    };
    assert_eq!(codes(&text("s * 0.5 + a[t, i]"), "f", ""), [] as [&str; 0]);
    assert_eq!(codes(&text("s * s + a[t, i]"), "f", ""), ["T0403"]);
    assert_eq!(codes(&text("max(s, a[t, i])"), "f", ""), ["T0403"]);
}

#[test]
fn a_state_remembered_elsewhere_is_not_affine() {
    let text = "kernel f(a: in f32[L, N], o: out f32[L, N]) {
        tile B;
        par i in tiles(N, B) {
            var s: f32[i] = 0;
            var old: f32[i] = 0;
            for t in L affine s { s = s * old + a[t, i]; old = s; o[t, i] = s; }
        }
    }";
    assert_eq!(codes(text, "f", ""), ["T0403"]);
}
