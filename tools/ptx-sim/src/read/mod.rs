//! PTX text to a module: tokens ([`lex`]), syntax ([`syntax`]), a parser by recursive descent ([`parse`] and its helpers).
//!
//! The reader takes what LLVM, nvcc, Triton and people write: qualifiers in any order, nested scopes with repeated
//! names, vector operands, `.loc` and debug sections, initialised globals. It resolves nothing; an instruction is its
//! dotted words and its operands. What they mean is [`crate::decode`]'s affair.

mod body;
mod expression;
pub mod lex;
pub mod parse;
pub mod syntax;
mod variables;

pub use parse::parse;
pub use syntax::*;
