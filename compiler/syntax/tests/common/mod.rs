//! What several tests share.
#![allow(dead_code)]

pub mod ebnf;

use std::path::{Path, PathBuf};
use tile_base::FileId;
use tile_syntax::{Parsed, format, parse, print_tree};

/// Every `.tile` file of the repository that is meant to be correct.
pub fn corpus() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![];
    for dir in ["tests/corpus", "../../kernels-lib", "../../dsl-examples"] {
        collect(&root.join(dir), &mut files);
    }
    files.sort();
    files.into_iter().map(|p| (p.clone(), std::fs::read_to_string(p).unwrap())).collect()
}

fn collect(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, out);
        } else if path.extension().is_some_and(|e| e == "tile") {
            out.push(path);
        }
    }
}

pub fn read(text: &str) -> Parsed {
    parse(FileId(0), text)
}

/// Diagnostics with the text they point at.
pub fn told(text: &str, parsed: &Parsed) -> String {
    let one = |d: &tile_base::Diagnostic| {
        let at = d.primary.map_or("", |s| &text[s.range()]);
        format!("{} at {at:?}: {} ({}) {:?}", d.code, d.message, d.primary_label, d.help)
    };
    parsed.diagnostics.iter().map(one).collect::<Vec<_>>().join("\n")
}

pub fn comments(parsed: &Parsed) -> Vec<String> {
    let mut all: Vec<String> = parsed.file.comments.iter().map(|c| c.text.clone()).collect();
    all.sort();
    all
}

/// Formatting keeps the tree and the comments, and formatting again changes nothing. Gives the text.
pub fn check_format(name: &str, text: &str) -> String {
    let parsed = read(text);
    assert!(parsed.diagnostics.is_empty(), "{name}:\n{}\n{text}", told(text, &parsed));
    let once = format(&parsed.file);
    let again = read(&once);
    assert!(again.diagnostics.is_empty(), "{name}, formatted:\n{}\n{once}", told(&once, &again));
    assert_eq!(print_tree(&parsed.file), print_tree(&again.file), "{name}: the tree changed\n{once}");
    assert_eq!(comments(&parsed), comments(&again), "{name}: a comment changed\n{once}");
    let twice = format(&again.file);
    let differs = once.lines().zip(twice.lines()).position(|(a, b)| a != b);
    if once != twice {
        let show = |t: &str| {
            t.lines().skip(differs.unwrap_or(0).saturating_sub(3)).take(8).collect::<Vec<_>>().join("\n")
        };
        panic!(
            "{name}: formatting again changes\n{}\n----- to\n{}\n----- of\n{text}",
            show(&once),
            show(&twice)
        );
    }
    for line in once.lines() {
        let code = line.split("//").next().unwrap();
        assert!(line.trim_end() == line, "{name}: blanks at the end of {line:?}");
        assert!(code.contains('"') || code.is_ascii(), "{name}: {line:?} is not ASCII");
    }
    once
}
