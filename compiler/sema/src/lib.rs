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
//! | `kernel`, `params` | one instance: parameters, facts, `par`, body |
//! | `stmt`, `assign`, `loops`, `claims` | statements |
//! | `expr`, `convert`, `ops`, `dot` | expressions, dtype and axis rules |
//! | `builtins`, `along`, `methods`, `call` | functions |
//! | `access`, `compose`, `views`, `tiles`, `coords` | subscripts: what a load reaches |
//! | `host`, `launch` | `op`s |
//! | `grad` | the ops that a `grad` makes |
//! | `check` | every instance of every item of a file, specs, tests, schedules |

mod access;
mod along;
mod assign;
mod builtins;
mod call;
mod captures;
mod check;
mod claims;
mod compose;
mod convert;
mod coords;
mod dot;
mod elab;
mod expr;
pub mod grad;
mod host;
mod kernel;
mod launch;
mod loops;
mod methods;
mod module;
mod ops;
mod params;
pub mod print;
mod print_op;
mod stmt;
mod tiles;
pub mod typed;
mod value;
mod views;
pub mod walk;

pub use check::{check, claims, instances_of};
pub use elab::{ConstValue, Instance};
pub use host::instantiate_op;
pub use kernel::instantiate;
pub use module::{ItemRef, Module, nearest};
pub use typed::*;
