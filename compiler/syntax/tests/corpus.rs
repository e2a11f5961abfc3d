//! Every `.tile` file at hand parses without a word of complaint.

use std::{fs, path::Path};
use tile_base::FileId;

fn tile_files(dir: &Path, out: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            tile_files(&path, out);
        } else if path.extension().is_some_and(|e| e == "tile") {
            out.push(path);
        }
    }
}

#[test]
fn corpus_parses() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![];
    for dir in ["tests/corpus", "../../kernels-lib", "../../dsl-examples"] {
        tile_files(&root.join(dir), &mut files);
    }
    assert!(files.len() >= 2, "the corpus is there");
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let parsed = tile_syntax::parse(FileId(0), &text);
        let told: Vec<String> = parsed
            .diagnostics
            .iter()
            .map(|d| format!("{d:?} at {:?}", &text[d.primary.unwrap().range()]))
            .collect();
        assert!(told.is_empty(), "{}:\n{}", path.display(), told.join("\n"));
    }
}
