//! The kernel library in .tile files, by family, and the prelude.
