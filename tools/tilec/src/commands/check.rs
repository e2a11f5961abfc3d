//! `tilec check`: everything that is wrong with files.

use crate::{cli::Check, json, output, render};
use serde_json::{Map, Value, json};
use tile_base::{Sources, diagnostic::any_error};
use tile_driver::{
    Session,
    claims::{self, Claim},
};

pub fn run(args: Check) -> bool {
    let mut session = Session::new();
    let mut found = vec![];
    let mut claimed = vec![];
    for file in &args.files {
        match session.load(file) {
            Ok(loaded) => {
                found.extend(session.check(&loaded));
                if args.claims {
                    claimed.extend(claims::of(&loaded));
                }
            }
            Err(diagnostics) => found.extend(diagnostics),
        }
    }
    if args.json {
        let mut more = Map::new();
        if args.claims {
            let list = claimed.iter().map(|c| as_json(c, &session.sources)).collect();
            more.insert("claims".into(), Value::Array(list));
        }
        json::print(&found, &session.sources, more);
    } else {
        render::report(&found, &session.sources);
        for c in &claimed {
            let known = if c.proven { "proven" } else { "tested" };
            output::print(&format!("{} {} `{}`: {known}, {}\n", c.kernel, c.kind, c.path, c.reason));
        }
        if !any_error(&found) {
            let n = args.files.len();
            output::tell(&format!("{n} file{} checked", if n == 1 { "" } else { "s" }));
        }
    }
    !any_error(&found)
}

/// `{"kernel", "kind", "path", "line", "proven", "reason"}`
fn as_json(c: &Claim, sources: &Sources) -> Value {
    let line = sources.get(c.span.file).map(|f| f.line_column(c.span.start).0);
    json!({ "kernel": c.kernel, "kind": c.kind, "path": c.path, "line": line, "proven": c.proven, "reason": c.reason })
}
