//! Collects the pages of `docs/diagnostics` into one table, so that a page *is* what `tilec explain` prints.

use std::{env, fs, path::Path};

fn main() {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/diagnostics");
    println!("cargo::rerun-if-changed={}", pages.display());
    let mut names: Vec<String> = fs::read_dir(&pages)
        .map(|dir| dir.flatten().filter_map(|e| e.file_name().into_string().ok()).collect())
        .unwrap_or_default();
    names.retain(|n| n.starts_with('T') && n.ends_with(".md"));
    names.sort();
    let mut table = String::from("&[\n");
    for name in &names {
        let file = pages.join(name);
        println!("cargo::rerun-if-changed={}", file.display());
        let text = fs::read_to_string(&file).expect("a diagnostics page is UTF-8 text");
        table.push_str(&format!("    ({:?}, {:?}),\n", name.trim_end_matches(".md"), text));
    }
    table.push_str("]\n");
    let out = Path::new(&env::var("OUT_DIR").expect("cargo sets OUT_DIR")).join("pages.rs");
    fs::write(out, table).expect("OUT_DIR is writable");
}
