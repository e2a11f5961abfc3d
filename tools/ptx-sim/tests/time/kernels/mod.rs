//! Kernels of the structure of well-known ones, written out as PTX for any tile: what the predictions are checked on.
//!
//! They are no copies: the published kernels' tiles, stages, roles, instructions and overlap, in the order in which their
//! authors have them run. Values are right, too, which `values.rs` checks at small shapes.

pub mod flash_mma;
pub mod flash_wgmma;

pub mod gemm_wgmma;

use std::fmt::Write;

/// PTX text that grows.
pub struct Ptx(pub String);

impl Ptx {
    pub fn new(target: &str) -> Ptx {
        Ptx(format!(".version 8.0\n.target {target}\n.address_size 64\n"))
    }

    pub fn line(&mut self, text: impl AsRef<str>) {
        let _ = writeln!(self.0, "{}", text.as_ref());
    }

    /// Several lines, each of which may be indented as the Rust around it is.
    pub fn lines(&mut self, text: impl AsRef<str>) {
        text.as_ref().lines().for_each(|l| self.line(l.trim()));
    }
}

/// `{%x0, %x1, …}`
pub fn list(name: &str, range: std::ops::Range<usize>) -> String {
    let all: Vec<String> = range.map(|n| format!("%{name}{n}")).collect();
    format!("{{{}}}", all.join(", "))
}

/// A launch of such a kernel, on zeros.
pub struct Launch {
    pub ptx: String,
    pub entry: &'static str,
    pub geometry: ptx_sim::Geometry,
    pub memory: ptx_sim::memory::Memory,
    pub params: Vec<u8>,
    pub operations: f64,
}
