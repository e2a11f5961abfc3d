//! Conformance: tiny kernels, made from tables, against references written independently of the simulator.
//!
//! A [`case::Case`] is data: a kernel's text, its input, the bytes that must come out, and how exactly. Making cases
//! (one module per family) and running them ([`run`]) know nothing of each other, so that the same tables can be
//! replayed on a device, where there is one ([`device`]):
//!
//! ```text
//! cargo test -p ptx-sim --test conformance device -- --nocapture
//! ```
//!
//! Where ptxas is installed, every kernel has to assemble for a target that has the instruction.

/// A test for each family, made of the asking module's `check`.
macro_rules! a_test_for_each_family {
    () => {
        a_test_for_each_family!(integer, float, convert, compare, memory, atomic, warp, matrix, sparse, control);
    };
    ($($name:ident),*) => {$(
        #[test]
        fn $name() {
            check(stringify!($name));
        }
    )*};
}

mod atomic;
mod case;
mod compare;
mod control;
mod convert;
mod device;
mod elementwise;
mod exact;
mod float;
mod integer;
mod matrix;
mod memory;
mod mutations;
mod ptxas;
#[path = "../replay/mod.rs"]
mod replay;
mod run;
#[path = "../../../sim-cuda/tests/common/mod.rs"]
mod shim;
mod small_floats;
mod sparse;
mod warp;

/// A family's table is made when it is asked for.
pub type Family = (&'static str, fn() -> Vec<case::Case>);

/// Every family by its name.
pub const FAMILIES: [Family; 10] = [
    ("integer", integer::cases),
    ("float", float::cases),
    ("convert", convert::cases),
    ("compare", compare::cases),
    ("memory", memory::cases),
    ("atomic", atomic::cases),
    ("warp", warp::cases),
    ("matrix", matrix::cases),
    ("sparse", sparse::cases),
    ("control", control::cases),
];
