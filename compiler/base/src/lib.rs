//! What every crate of the compiler speaks: source spans, diagnostics as data, dtypes, typed indices,
//! symbolic sizes, and the signature by which a host calls a kernel.
//!
//! Nothing here reads a file, prints, or knows of any other crate of the project. The clock by which stages are timed is here too.

pub mod codes;
pub mod diagnostic;
pub mod dtype;
pub mod index;
pub mod op;
pub mod signature;
pub mod size;
pub mod span;
pub mod time;

pub use codes::explain;
pub use diagnostic::{Diagnostic, Diagnostics, Label, Severity};
pub use dtype::DType;
pub use signature::{IndexKind, Mode, ScalarParam, Signature, TensorParam};
pub use size::{Size, SizeError};
pub use span::{FileId, Source, Sources, Span};
