//! Names, types, symbolic shapes, specialisation: AST to typed kernel.
//!
//! # How it works
//!
//! A kernel is *elaborated*: its body is run once, at compile time, over [values](value) that are constants, typed
//! expressions, spans, ranges, functions and the like; what reaches run time is emitted as typed statements
//! ([`typed`]). Functions are inlined by elaborating their bodies where they are called, with parameters bound to the
//! arguments, so generics need no types of their own. Whatever is wrong is reported and becomes `Val::Error`, which
//! silences everything that follows from it.
//!
//! | file | idea |
//! | --- | --- |
//! | `module` | what a name means in a file |
//! | `kernel` | signature, facts, `par`, body of one instance |
//! | `stmt` | statements, loops, claims |
//! | `expr`, `ops`, `builtins`, `call` | expressions |
//! | `access` | subscripts, views, what a load reaches |
//! | `host` | `op`s |
//! | `check` | every instance of every item of a file, specs, tests, schedules |

mod access;
mod builtins;
mod call;
mod check;
mod elab;
mod expr;
mod host;
mod kernel;
mod module;
mod ops;
pub mod print;
mod stmt;
pub mod typed;
mod value;
pub mod walk;

pub use check::{check, claims, instances_of};
pub use elab::{ConstValue, Instance};
pub use host::instantiate_op;
pub use kernel::instantiate;
pub use module::{ItemRef, Module};
pub use typed::*;
