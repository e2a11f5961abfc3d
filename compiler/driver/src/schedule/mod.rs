//! Schedules: how the launches of a program run on a target.
//!
//! The first schedule whose name, target and guard fit is taken (language rule 22). What it asks for goes two ways:
//!
//! * `tile` and `place` are wishes to the planner of each launch ([`tile_plan::Request`]);
//! * `split` changes the program: one launch becomes several, with workspaces between them; and a guard on a run-time
//!   dimension becomes a host `if` between the variants.
//!
//! ```text
//! schedule decode where B <= 4 { split n 8; }             program decode
//! schedule decode { tile BN = 64; }                         if B <= 4 {
//!                                                             launch decode_n_part(q, k, v, o, w0, w1, w2)
//!                                                             launch decode(q, k, v, o, w0, w1, w2)
//!                                                           } else { launch decode_s2(q, k, v, o) }
//! ```
//!
//! Items that no backend honours yet are told (T0855), so is a `split` that the kernel does not allow (T0866); under
//! `require` both are errors. Schedules stand in the file that was asked for, or beside the kernel in a file that it uses;
//! the former go first.

mod guard;
mod program;
mod rows;

pub use program::{Scheduled, apply, each_split};

use crate::Loaded;
use guard::Condition;
use tile_base::Diagnostic;
use tile_graph::Graph;
use tile_syntax::ast;
use tile_target::Target;

/// Schedules of a kernel in the order in which they are tried, up to the first that always holds.
fn matching<'a>(
    loaded: &'a Loaded,
    graph: &Graph,
    target: &Target,
    notes: &mut Vec<Diagnostic>,
) -> Vec<(Condition, &'a ast::Schedule)> {
    let mut found = vec![];
    for s in schedules(loaded, &graph.signature.kernel) {
        if s.target.as_ref().is_some_and(|t| t.name != target.name) {
            continue;
        }
        let holds = match &s.guard {
            None => Some(Condition::Known(true)),
            Some(guard) => guard::condition(guard, graph),
        };
        match holds {
            Some(Condition::Known(false)) => {}
            Some(Condition::Known(true)) => {
                found.push((Condition::Known(true), s));
                break;
            }
            Some(asked) => found.push((asked, s)),
            None => notes.push(
                Diagnostic::note_at("T0856", s.guard.as_ref().map_or(s.name.span, |g| g.span), {
                    "this schedule is passed over: the host cannot compute its guard"
                })
                .help("compare dimensions and `const` parameters: `where M <= 8 && D == 128`"),
            ),
        }
    }
    found
}

/// All schedules of a kernel: of the main file, then of the file that declares it.
fn schedules<'a>(loaded: &'a Loaded, kernel: &str) -> impl Iterator<Item = &'a ast::Schedule> {
    let module = &loaded.module;
    let home = module.kernel(module.main(), kernel).map(|(_, (file, _))| file);
    let files = [Some(module.main()), home.filter(|&f| f != module.main())];
    let kernel = kernel.to_string();
    files.into_iter().flatten().filter_map(|f| module.file(f)).flat_map(|f| &f.items).filter_map(
        move |item| match &item.kind {
            ast::ItemKind::Schedule(s) if s.name.name == kernel => Some(s),
            _ => None,
        },
    )
}
