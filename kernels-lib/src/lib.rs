//! The kernel library in `.tile` files, by family, and the prelude, embedded in the binary.
//!
//! ```
//! let text = tile_kernels::source("attention::flash_fwd").unwrap();
//! assert!(text.contains("kernel flash_fwd"));
//! ```

/// Module path and text of every file, sorted by path; `"prelude"` is imported by every file.
pub fn library() -> &'static [(&'static str, &'static str)] {
    include!(concat!(env!("OUT_DIR"), "/library.rs"))
}

/// The text of one module.
pub fn source(module: &str) -> Option<&'static str> {
    library().iter().find(|(path, _)| *path == module).map(|&(_, text)| text)
}
