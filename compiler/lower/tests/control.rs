//! Breaks, branches and `while` as graphs.

mod common;

use common::lower;
use tile_graph::print;

#[test]
fn a_break_is_a_flag() {
    let text = "kernel f(a: in f32[M, N], o: out f32[M]) {
        par r in M {
            var total: f32 = 0;
            for x in N {
                let v = a[r, x];
                if v < 0 { break; }
                total = total + v;
            }
            o[r] = total;
        }
    }";
    let graph = print(&lower(text, "f", ""));
    assert!(graph.contains("for x in 0..N break carried"), "{graph}");
    // The flag comes first, then the sum.
    assert!(graph.contains("yield true, "), "{graph}");
}

#[test]
fn variables_set_before_a_break_keep_their_values() {
    let text = "kernel f(a: in f32[M, N], o: out f32[M]) {
        par r in M {
            var total: f32 = 0;
            for x in N {
                var w: f32 = 1;
                if a[r, x] > 1 { w = 2; if a[r, x] > 2 { total = w; break; } }
                total = total + w;
            }
            o[r] = total;
        }
    }";
    let graph = print(&lower(text, "f", ""));
    assert!(graph.contains("for x in 0..N break carried"), "{graph}");
    assert!(graph.contains("yield true, 2.0"), "{graph}");
}

#[test]
fn a_while_carries_its_variables() {
    let text = "kernel f(a: in f32[M], o: out f32[M]) {
        par r in M {
            var x: f32 = a[r];
            var n: index = 0;
            while x > 1 && n < 100 {
                x = x * 0.5;
                n = n + 1;
                if x == 3 { break; }
            }
            o[r] = x + n.to(f32);
        }
    }";
    let graph = print(&lower(text, "f", ""));
    // The flag, x and n.
    assert!(graph.contains("while carried (") && graph.contains("= false, "), "{graph}");
}
