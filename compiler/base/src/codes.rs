//! The page of each diagnostic code, from `docs/diagnostics/T….md`.
//!
//! Areas: T01xx syntax, T02xx names, types and shapes, T03xx layout, T04xx memory, bounds and claims,
//! T05xx barriers, T06xx resources and tile sizes, T07xx back ends, T08xx launches, tensors, files and the
//! command line, T09xx faults of the compiler itself.

/// Code and page, sorted by code.
pub const PAGES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// The page of a code: cause, example, fix.
pub fn explain(code: &str) -> Option<&'static str> {
    PAGES.binary_search_by_key(&code, |&(c, _)| c).ok().map(|at| PAGES[at].1)
}
