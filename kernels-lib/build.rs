//! Embeds every `.tile` file of the library, by module path: `attention/masks.tile` is `attention::masks`.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

fn tile_files(dir: &Path, out: &mut Vec<PathBuf>) {
    println!("cargo::rerun-if-changed={}", dir.display());
    let mut entries: Vec<PathBuf> =
        fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            tile_files(&path, out);
        } else if path.extension().is_some_and(|e| e == "tile") {
            out.push(path);
        }
    }
}

fn main() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![];
    tile_files(&root, &mut files);
    let mut table = String::from("&[\n");
    for file in &files {
        println!("cargo::rerun-if-changed={}", file.display());
        let relative = file.strip_prefix(&root).expect("found under the root").with_extension("");
        let module = relative.iter().map(|p| p.to_string_lossy()).collect::<Vec<_>>().join("::");
        let text = fs::read_to_string(file).expect("a .tile file is UTF-8 text");
        table.push_str(&format!("    ({module:?}, {text:?}),\n"));
    }
    table.push_str("]\n");
    let out = Path::new(&env::var("OUT_DIR").expect("cargo sets OUT_DIR")).join("library.rs");
    fs::write(out, table).expect("OUT_DIR is writable");
}
