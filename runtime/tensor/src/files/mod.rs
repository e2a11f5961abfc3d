//! Tensors in files: `.npy` and `.safetensors`, chosen by the file's extension.
//!
//! Both readers take what a file says for a claim to be checked: the length in the header is compared with the
//! length of the file *before* anything is allocated, so memory is bounded by the file's size, and no input makes
//! them panic. Each fault has its own code.

mod npy;
mod safe;

use crate::Tensor;
use std::{
    fs::File,
    io::{BufReader, Read, Seek, Write},
    path::Path,
};
use tile_base::Diagnostic;

pub use npy::{parse_npy, read_npy, write_npy};
pub use safe::{
    parse_safetensors, read_safetensors, read_safetensors_all, safetensors_names, write_safetensors,
};

/// Reads `FILE.npy`, `FILE.safetensors#TENSOR`, or a `.safetensors` file that holds one tensor.
pub fn read_tensor(place: &str) -> Result<Tensor, Diagnostic> {
    let (path, name) = split_place(place);
    match extension(path) {
        "npy" if name.is_some() => {
            let message = format!("`{place}`: a .npy file holds one tensor without a name");
            Err(Diagnostic::global("T0844", message).help("leave `#NAME` out"))
        }
        "npy" => read_npy(path),
        "safetensors" => read_safetensors(path, name),
        _ => Err(unknown_format(path)),
    }
}

/// Writes one tensor to `FILE.npy` or `FILE.safetensors#TENSOR` (named `name` when the place gives no name).
pub fn write_tensor(place: &str, name: &str, tensor: &Tensor) -> Result<(), Diagnostic> {
    let (path, given) = split_place(place);
    match extension(path) {
        "npy" => write_npy(path, tensor),
        "safetensors" => write_safetensors(path, &[(given.unwrap_or(name), tensor)]),
        _ => Err(unknown_format(path)),
    }
}

/// `FILE#TENSOR` in two.
pub fn split_place(place: &str) -> (&str, Option<&str>) {
    match place.rsplit_once('#') {
        Some((path, name)) if path.ends_with(".safetensors") || path.ends_with(".npy") => (path, Some(name)),
        _ => (place, None),
    }
}

fn extension(path: &str) -> &str {
    Path::new(path).extension().and_then(|e| e.to_str()).unwrap_or("")
}

fn unknown_format(path: &str) -> Diagnostic {
    Diagnostic::global("T0845", format!("`{path}` is neither .npy nor .safetensors"))
        .help("name the file FILE.npy or FILE.safetensors#TENSOR")
}

/// A regular file and its length.
fn open(path: &str) -> Result<(BufReader<File>, u64), Diagnostic> {
    let fault = |why: String| {
        Diagnostic::global("T0830", format!("`{path}` cannot be read: {why}"))
            .help("check the path and its rights")
    };
    let file = File::open(path).map_err(|e| fault(e.to_string()))?;
    let data = file.metadata().map_err(|e| fault(e.to_string()))?;
    if !data.is_file() {
        return Err(fault("it is no regular file".into()));
    }
    Ok((BufReader::with_capacity(1 << 16, file), data.len()))
}

/// What a reader works on: a file or bytes in memory.
struct Input<R> {
    from: R,
    /// Of the whole input.
    len: u64,
    /// For messages.
    name: String,
}

impl<R: Read + Seek> Input<R> {
    fn fault(&self, code: &'static str, what: impl std::fmt::Display, help: &str) -> Diagnostic {
        Diagnostic::global(code, format!("`{}`: {what}", self.name)).help(help)
    }

    fn read_exact(&mut self, into: &mut [u8]) -> Result<(), Diagnostic> {
        self.from.read_exact(into).map_err(|e| self.fault("T0830", e, "check that the file is complete"))
    }

    /// A little-endian number of `N` bytes.
    fn number<const N: usize>(&mut self) -> Result<u64, Diagnostic> {
        let mut bytes = [0u8; 8];
        self.read_exact(&mut bytes[..N])?;
        Ok(u64::from_le_bytes(bytes))
    }
}

/// Replaces the file in one step, so that nobody sees half of it; what is no regular file is written straight to.
fn write_file(path: &str, parts: &[&[u8]]) -> Result<(), Diagnostic> {
    let fault = |e: std::io::Error| {
        Diagnostic::global("T0846", format!("`{path}` cannot be written: {e}"))
            .help("check the folder and its rights")
    };
    let regular = std::fs::metadata(path).map_or(true, |d| d.is_file());
    let partial = if regular { format!("{path}.{}.part", std::process::id()) } else { path.to_string() };
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&partial)?;
        for part in parts {
            file.write_all(part)?;
        }
        file.flush()?;
        if regular { std::fs::rename(&partial, path) } else { Ok(()) }
    };
    write().map_err(|e| {
        if regular {
            let _ = std::fs::remove_file(&partial);
        }
        fault(e)
    })
}
