//! What a `skip` asks of masks that load: rows of keys in each step, rows of queries once before the loop.

mod common;

use common::lower;
use tile_graph::{ForOp, Graph, NodeId, Op, RegionId, laws};

/// Sums rows of v for each query that a mask shows.
fn kernel(mask: &str) -> String {
    format!(
        "{mask}
        kernel k(q: in f32[M, 16], v: in f32[N, 16], o: out f32[M, 16]) {{
            tile BM, BN;
            par i in tiles(M, BM) {{
                var acc: f32[i, 16] = 0;
                for j in tiles(N, BN) skip !seen(i.at[:, _], j.at[_, :]).any() {{
                    acc += select(seen(i.at[:, _], j.at[_, :]), q[i, :] @ v[j, :].t, 0) @ v[j, :];
                }}
                o[i, :] = acc;
            }}
        }}"
    )
    .replace("seen(", "mask(")
    .replace("kernel k(", "kernel k<mask: fn(i, j: index) -> bool = shown>(")
}

fn the_loop(g: &Graph) -> (NodeId, Option<RegionId>) {
    let node = laws::loop_named(g, "j").expect("the loop over keys");
    let Op::For(ForOp { skip, .. }) = g.node(node).op else { panic!("a loop") };
    (node, skip)
}

/// Reductions beside the loop, and those that every step asks for; `None`: nothing is passed over.
fn measures(mask: &str) -> Option<(usize, usize)> {
    let g = lower(&kernel(mask), "k", "");
    let (node, skip) = the_loop(&g);
    let reductions = |region: RegionId| {
        g.region(region).nodes.iter().filter(|&&n| matches!(g.node(n).op, Op::Reduce { .. })).count()
    };
    Some((reductions(g.node(node).region), reductions(skip?)))
}

#[test]
fn rows_are_measured_where_they_do_not_change() {
    let shown = |using: &str, value: &str| {
        measures(&format!("fn shown(i: index, j: index) -> bool {using} {{ {value} }}"))
    };
    // Positions alone need no look at memory.
    assert_eq!(shown("", "j <= i"), Some((0, 0)));
    assert_eq!(shown("using d: in i32[S]", "(d[i] else -1) == (d[j] else -1)"), Some((2, 2)));
    // Of one comparison with another one bound is asked for.
    assert_eq!(
        shown("using lo: in count<N>[M], hi: in count<N>[M]", "lo[i] <= j && j < hi[i]"),
        Some((2, 0))
    );
    assert_eq!(shown("using live: in i8[N]", "live[j] != 0"), Some((0, 2)));
    assert_eq!(shown("using len: in count<N>[1]", "j < len[0] || j <= i"), Some((0, 0)));
    // Two rows along one axis are compared element by element.
    assert_eq!(shown("using a: in i32[N], b: in i32[N]", "a[j] == b[j]"), Some((0, 1)));
    // Nothing is known of a table of pairs, nor of rows that are mixed in a way that may wrap.
    assert_eq!(shown("using t: in i8[M, N]", "t[i, j] != 0"), None);
    assert_eq!(shown("using d: in i32[N]", "d[j] - i.to(i32) > 0"), None);
}

/// In full blocks the product is taken as it is; its rows are loaded once more, apart from the mask's.
#[test]
fn full_blocks_are_peeled_where_a_product_pays_for_it() {
    let text = kernel(
        "fn shown(i: index, j: index) -> bool using d: in i32[S] { (d[i] else -1) == (d[j] else -1) }",
    );
    let mut g = lower(&text, "k", "");
    assert_eq!(laws::peel_full(&mut g), 1);
    tile_graph::verify(&g).expect("the law keeps the invariants");
    let (node, _) = the_loop(&g);
    let Op::For(ForOp { body, .. }) = g.node(node).op else { panic!("a loop") };
    let of_d = |n: &&NodeId| g.node(**n).op.access().is_some_and(|a| g.object(a.object).name == "mask.d");
    assert_eq!(g.region(g.node(node).region).nodes.iter().filter(of_d).count(), 1);
    assert_eq!(g.region(body).nodes.iter().filter(of_d).count(), 2);
    let without = text.replace("q[i, :] @ v[j, :].t", "(q[i, :].sum(1) + v[j, :].sum(1)[:, 0][_, :])");
    let mut g = lower(&without.replace(", 0) @ v[j, :];", ", 0).sum(1);"), "k", "");
    assert_eq!(laws::peel_full(&mut g), 0);
}
