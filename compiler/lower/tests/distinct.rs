//! Which index tensors a launcher has to find free of repetitions.

mod common;

use common::lower;
use tile_base::Signature;

fn distinct(signature: &Signature) -> Vec<&str> {
    signature.tensors().filter(|p| p.distinct).map(|p| p.name.as_str()).collect()
}

const APPEND: &str = "kernel f(x: in f32[L, H, 8], slot: in id<NS>[L], c: inout f32[NS, H, 8]) {
    tile B;
    par t in L, g in tiles(H, B) { c[unique(slot[t]), g, :] = x[t, g, :]; }
}";

#[test]
fn one_position_for_each_element() {
    assert_eq!(distinct(&lower(APPEND, "f", "").signature), ["slot"]);
    let tiled = "kernel f(x: in f32[L], slot: in id<NS>[L], c: inout f32[NS]) {
        tile B;
        par t in tiles(L, B) { c[unique(slot[t])] = x[t]; }
    }";
    assert_eq!(distinct(&lower(tiled, "f", "").signature), ["slot"]);
}

#[test]
fn a_claim_that_a_repeated_element_may_fulfil_asks_for_nothing() {
    let none: [&str; 0] = [];
    for (from, to) in [
        // The place in the page tells two tokens of one page apart.
        ("g, :] =", "t % 2, :] ="),
        // Only some of them store.
        ("{ c[", "{ if t < 3 { c["),
        // A part of the list.
        ("par t in L", "par t in 0..L / 2"),
        // Computed from it.
        ("slot[t])", "NS - 1 - slot[t])"),
        ("unique(slot[t])", "slot[t]"),
    ] {
        let mut text = APPEND.replace(from, to);
        if to.contains("t % 2") {
            text = text
                .replace("x[t, g, :]", "x[t, 0, :]")
                .replace(", g in tiles(H, B)", "")
                .replace("tile B;", "");
        }
        if to.contains("if t") {
            text = text.replace("; }\n}", "; } }\n}");
        }
        assert_eq!(distinct(&lower(&text, "f", "").signature), none, "{text}");
    }
}
