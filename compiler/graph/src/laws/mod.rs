//! Graph-to-graph laws: each is one file with the law stated, one entry, and its tests. A law changes no result
//! beyond the order of summation; the verifier runs after each in debug builds, and `tests/laws.rs` compares both
//! sides on the oracle.
//!
//! | law | entry |
//! | --- | --- |
//! | fewer nodes, same values | [`simplify`] |
//! | a skip claim changes nothing | [`execute_skipped`], [`honour_skip`] |
//! | bounds of a block say whether a mask hides all or nothing of it | [`bound_skips`], [`lift_measures`], [`peel_full`] |
//! | a sum may run backwards | [`reverse_loop`] |
//! | the parts of a sum or merge combine to the whole | [`split_merge_loop`] |
//! | the same with the parts in a launch of their own | [`split_launches`] |
//! | a recurrence first, then what it is used for at every step | [`slice_loop`] |
//! | segments of an affine recurrence, and what each makes of the state that enters it | [`segment_loop`] |
//! | a sum over instances by ranks, and the ranks in their order | [`order_sum`] |
//! | two independent axes are one | [`flatten_par`] |
//! | what does not depend on a loop is computed before it | [`hoist()`] |

pub mod blocks;
mod cut;
pub mod flatten;
pub mod hoist;
pub mod launches;
pub mod ordered;
pub mod reverse;
pub mod segments;
pub mod simplify;
pub mod skips;
pub mod slice;
pub mod split;
mod transition;
mod workspace;

pub use blocks::{bound_skips, lift_measures, peel_full};
pub use flatten::flatten_par;
pub use hoist::hoist;
pub use launches::split_launches;
pub use ordered::{adds_in_no_order, order_sum};
pub use reverse::reverse_loop;
pub use segments::segment_loop;
pub use simplify::simplify;
pub use skips::{execute_skipped, honour_skip};
pub use slice::slice_loop;
pub use split::split_merge_loop;
pub use workspace::{Launches, Workspace};

use crate::{ir::*, op::*};

/// Why a law does not apply here; the graph is as it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused(pub String);

/// The `for` with this name or path; the first in program order.
pub fn loop_named(graph: &Graph, name: &str) -> Option<NodeId> {
    graph.nodes_under(ROOT).into_iter().find(|&n| match &graph.node(n).op {
        Op::For(f) => f.name == name || graph.node(n).path.as_deref() == Some(name),
        _ => false,
    })
}
