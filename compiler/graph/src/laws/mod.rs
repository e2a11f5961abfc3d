//! Graph-to-graph laws: each is one file with the law stated, one entry, and its tests. A law changes no result
//! beyond the order of summation; the verifier runs after each in debug builds.

pub mod simplify;

pub use simplify::simplify;
