//! Tokens, nom parser with recovery, AST, formatter.

pub mod ast;
