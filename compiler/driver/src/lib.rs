//! The session: what the command line, the tests and other tools do with a `.tile` file, stage by stage.
//!
//! ```text
//! Session::load ─▶ Loaded ─▶ choose an instance ─▶ typed ─▶ program ─▶ oracle | CPU | PTX
//!   parse, use      check      (files, flags,        sema      lower
//!                               first test case)
//! ```
//!
//! Every function gives values and [`tile_base::Diagnostic`]s; nothing here prints. Stages are timed by name
//! ([`Timer`]). The PTX backend is there with the feature `ptx`; without it, asking for it is a diagnostic (T0853)
//! that says how to get it.

pub mod bench;
pub mod choose;
pub mod claims;
pub mod compile;
pub mod compile_time;
pub mod emit;
pub mod facts;
pub mod functions;
pub mod gpu;
mod packed;
pub mod resources;
pub mod run;
pub mod schedule;
pub mod session;
pub mod testing;
pub mod time;

pub use choose::{Callable, Choice, Given};
pub use compile::Compiled;
pub use session::{Loaded, Session};
pub use time::Timer;
