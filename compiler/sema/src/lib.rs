//! Names, types, symbolic shapes, specialisation: AST to typed kernel.

pub mod typed;

pub use typed::*;
