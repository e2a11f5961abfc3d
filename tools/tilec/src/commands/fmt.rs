//! `tilec fmt`: the canonical form. A file that does not parse is left as it is.

use super::show;
use crate::{cli::Fmt, output};
use tile_base::{Diagnostic, diagnostic::any_error};
use tile_driver::{Session, session::read_source};

pub fn run(args: Fmt) -> bool {
    let mut session = Session::new();
    let mut good = true;
    for path in &args.files {
        match one(&mut session, path, args.check) {
            Ok(same) => {
                if args.check && !same {
                    output::tell(&format!("{path} is not in canonical form; `tilec fmt {path}` rewrites it"));
                    good = false;
                }
            }
            Err(found) => {
                show(&session, &found);
                good = false;
            }
        }
    }
    good
}

/// Whether the file was in canonical form already.
fn one(session: &mut Session, path: &str, check: bool) -> Result<bool, Vec<Diagnostic>> {
    let text = read_source(path).map_err(|d| vec![d])?;
    let file = session.sources.add(path, text.clone());
    let parsed = tile_syntax::parse(file, &text);
    if any_error(&parsed.diagnostics) {
        return Err(parsed.diagnostics);
    }
    let formatted = tile_syntax::format(&parsed.file);
    let same = formatted == text;
    if !same && !check {
        std::fs::write(path, &formatted).map_err(|e| {
            let message = format!("`{path}` cannot be written: {e}");
            vec![Diagnostic::global("T0846", message).help("check the folder and its rights")]
        })?;
    }
    Ok(same)
}
