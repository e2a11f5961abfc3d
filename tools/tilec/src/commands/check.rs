//! `tilec check`: everything that is wrong with files.

use crate::{cli::Check, json, output, render};
use serde_json::Map;
use tile_base::diagnostic::any_error;
use tile_driver::Session;

pub fn run(args: Check) -> bool {
    let mut session = Session::new();
    let mut found = vec![];
    for file in &args.files {
        match session.load(file) {
            Ok(loaded) => found.extend(session.check(&loaded)),
            Err(diagnostics) => found.extend(diagnostics),
        }
    }
    if args.json {
        json::print(&found, &session.sources, Map::new());
    } else {
        render::report(&found, &session.sources);
        if !any_error(&found) {
            let n = args.files.len();
            output::tell(&format!("{n} file{} checked", if n == 1 { "" } else { "s" }));
        }
    }
    !any_error(&found)
}
