//! Typed kernel to fused tile graph: the one place where statements become data flow.
//!
//! * A `var` is whatever value was assigned last; variables that a loop or branch assigns become its carried values
//!   or results ([`stmt`]).
//! * `@` over a run-time axis becomes a loop with a hidden tile size named after its `let` ([`expr`]).
//! * A `break` becomes a "stop" flag, and what follows it in the body a branch on the flag ([`stmt`]).
//! * Accesses keep their coordinates; expressions in them become input ports ([`memory`]).
//! * What has to be true is written down with a status ([`obligations`]): bounds, cover, races, claims; which index
//!   tensors the launcher has to find free of repetitions ([`distinct`]).
//!
//! ```text
//! var acc: f32[i, D] = 0;                      %5 = broadcast 0.0
//! for j in tiles(N, BN) {                      %9 = for j in tiles(0..N, BN) carried (%6.3 = %5) {
//!     acc = acc + x[i, j] @ v[j, :];   ==>       …  %8 = add %6.3, %7
//! }                                              yield %8 }
//! o[i, :] = acc;                               store o[i.start + @0, @1] = %9
//! ```
//!
//! A typed kernel has no errors left, so what fails here is a fault of the compiler (T092x) or a claim that is
//! refuted (T040x).

mod context;
mod distinct;
mod expr;
mod host;
mod memory;
mod obligations;
mod stmt;

pub use host::lower_op;

use tile_base::{Diagnostic, diagnostic::any_error};
use tile_graph::{Graph, Program, debug_verify, laws, verify};
use tile_sema::typed::TypedKernel;

/// One kernel as a program of one launch.
pub fn lower(kernel: &TypedKernel) -> Result<Program, Vec<Diagnostic>> {
    lower_graph(kernel).map(Program::single)
}

/// The graph of one kernel, simplified, with its obligations, verified.
pub fn lower_graph(kernel: &TypedKernel) -> Result<Graph, Vec<Diagnostic>> {
    let mut graph = context::Lowering::new(kernel).kernel().map_err(|d| vec![d])?;
    debug_verify(&graph, "lowering");
    laws::bound_skips(&mut graph);
    laws::simplify(&mut graph);
    debug_verify(&graph, "simplify");
    let found = obligations::establish(&mut graph);
    if any_error(&found) {
        return Err(found);
    }
    laws::lift_measures(&mut graph);
    distinct::mark(&mut graph);
    verify(&graph)?;
    Ok(graph)
}
