//! Standard output, standard error, and what becomes of a panic.

use std::{
    io::Write,
    sync::{Mutex, PoisonError},
};
use tile_base::Diagnostic;

/// Where a part of the compiler panicked, for the report that `main` makes of it.
static FAULT: Mutex<Option<String>> = Mutex::new(None);

/// Keeps a panic from printing on its own: it becomes one diagnostic (T0999). `tilec … | head` closes the pipe, which
/// is no fault.
pub fn catch_panics() {
    std::panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let text = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or_default();
        if text.contains("Broken pipe") {
            std::process::exit(0);
        }
        let place = info.location().map_or_else(String::new, |l| format!("{}:{}: ", l.file(), l.line()));
        let mut fault = FAULT.lock().unwrap_or_else(PoisonError::into_inner);
        // The first one is the cause; later ones come from threads that waited for it.
        fault.get_or_insert_with(|| format!("{place}{text}"));
    }));
}

/// The diagnostic for a panic.
pub fn fault() -> Diagnostic {
    let fault = FAULT.lock().unwrap_or_else(PoisonError::into_inner);
    let note = fault.as_deref().unwrap_or("no message");
    Diagnostic::global("T0999", "the compiler failed; this is a fault of tilec, not of your program")
        .note(note)
        .help("report it with the command and the .tile file; `tilec explain T0999` says more")
}

/// Writes to standard output; a closed pipe ends the process quietly.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|_| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// A line on standard error.
pub fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
