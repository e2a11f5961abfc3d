//! What the library has to say beside its results: findings, what a client asks for and does not get.

use std::{
    collections::BTreeSet,
    fs::OpenOptions,
    io::Write,
    sync::{Mutex, PoisonError},
};

/// Writes a line to the file that `SIM_CUDA_LOG` names, else to standard error.
pub fn line(text: &str) {
    let file = std::env::var_os("SIM_CUDA_LOG").filter(|v| !v.is_empty());
    let opened = file.and_then(|path| OpenOptions::new().create(true).append(true).open(path).ok());
    let text = format!("{text}\n");
    // A client without standard error goes on all the same.
    let _ = match opened {
        Some(mut file) => file.write_all(text.as_bytes()),
        None => std::io::stderr().write_all(text.as_bytes()),
    };
}

/// Tells once of each thing that a client asked for and that is not there.
pub fn unsupported(what: &str) {
    static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let first = TOLD.lock().unwrap_or_else(PoisonError::into_inner).insert(what.to_string());
    if first {
        line(&format!("sim-cuda: {what} is not supported"));
    }
}
