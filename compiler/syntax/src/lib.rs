//! Text to syntax tree and back.
//!
//! - [`parse`] reads a file: tokens, a nom parser that recovers, always a tree, never a panic.
//! - [`format`] writes the canonical text of a tree.
//! - [`print_tree`] shows a tree as indented text, for `--emit ast` and for tests.
//!
//! The grammar is written down in `docs/grammar.ebnf`; a test reads it and holds the parser to it.

pub mod ast;
mod format;
mod lexer;
mod lookalike;
mod parser;
pub mod token;
mod tree;

pub use format::format;
pub use parser::{MAX_TEXT, Parsed, parse};
pub use tree::print_tree;
