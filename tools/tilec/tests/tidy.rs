//! The repository tests itself: rules that no compiler checks.

mod common;

use common::root;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

/// Files that belong to the repository: tracked, with one of the endings.
fn files(endings: &[&str]) -> Vec<(PathBuf, String)> {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    let names: Vec<String> = match listed {
        Ok(out) if out.status.success() => {
            out.stdout.split(|b| *b == 0).map(|n| String::from_utf8_lossy(n).into_owned()).collect()
        }
        // A copy without git: everything but build results.
        _ => walk(&root(), Path::new("")),
    };
    names
        .into_iter()
        .filter(|n| endings.iter().any(|e| n.ends_with(e)))
        .filter_map(|n| Some((PathBuf::from(&n), std::fs::read_to_string(root().join(&n)).ok()?)))
        .collect()
}

fn walk(root: &Path, inside: &Path) -> Vec<String> {
    let mut out = vec![];
    for entry in std::fs::read_dir(root.join(inside)).unwrap().flatten() {
        let path = inside.join(entry.file_name());
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            if name != "target" && !name.starts_with('.') {
                out.extend(walk(root, &path));
            }
        } else {
            out.push(path.to_string_lossy().into_owned());
        }
    }
    out
}

/// Codes that stand in string literals of compiler and tools, with a place for each; tests do not count.
fn codes_in_use() -> BTreeMap<String, String> {
    let mut used = BTreeMap::new();
    for (path, text) in files(&[".rs"]) {
        let name = path.to_string_lossy();
        if name.contains("/tests/") || name.starts_with("tests/") || name.starts_with("fuzz/") {
            continue;
        }
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(&text);
        for line in code.lines().filter(|l| !l.trim_start().starts_with("//")) {
            for piece in line.split('"').skip(1).step_by(2) {
                if piece.len() == 5
                    && piece.starts_with('T')
                    && piece[1..].bytes().all(|b| b.is_ascii_digit())
                {
                    used.entry(piece.to_string()).or_insert_with(|| name.to_string());
                }
            }
        }
    }
    used
}

#[test]
fn every_code_has_a_page_and_every_page_a_code() {
    let used = codes_in_use();
    let pages: BTreeSet<&str> = tile_base::codes::PAGES.iter().map(|(code, _)| *code).collect();
    let without: Vec<_> = used.iter().filter(|(code, _)| !pages.contains(code.as_str())).collect();
    assert!(without.is_empty(), "codes without a page in docs/diagnostics: {without:?}");
    let unused: Vec<_> = pages.iter().filter(|p| !used.contains_key(**p)).collect();
    assert!(unused.is_empty(), "pages of codes that nothing uses: {unused:?}");
}

#[test]
fn pages_begin_with_their_code_and_have_a_title() {
    for (code, page) in tile_base::codes::PAGES {
        let first = page.lines().next().unwrap_or_default();
        let title = first.strip_prefix(&format!("# {code}: ")).unwrap_or_default();
        assert!(title.len() > 5, "{code}: {first}");
        assert!(page.len() > 100, "{code} says too little");
    }
}

#[test]
fn every_rust_file_has_a_header() {
    let without: Vec<_> = files(&[".rs"])
        .into_iter()
        .filter(|(_, text)| !text.trim_start_matches("#![no_main]").trim_start().starts_with("//!"))
        .map(|(path, _)| path)
        .collect();
    assert!(without.is_empty(), "files that do not begin with //!: {without:?}");
}

#[test]
fn no_file_names_a_place_of_one_machine() {
    // Written apart so that this file passes its own test.
    let places = [["/wo", "rk/"].concat(), ["/ro", "ot/"].concat(), ["/ho", "me/"].concat()];
    let mut found = vec![];
    for (path, text) in files(&[".rs", ".md", ".toml", ".tile", ".json", ".snap", "x", ".ci/run", ".ebnf"]) {
        for (n, line) in text.lines().enumerate() {
            if places.iter().any(|p| line.contains(p.as_str())) {
                found.push(format!("{}:{}: {line}", path.display(), n + 1));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// Direct dependencies on a package, by crate of the workspace, from the manifests.
fn dependents(package: &str) -> Vec<String> {
    let mut out = vec![];
    for (path, text) in files(&["Cargo.toml"]) {
        let mut dev = false;
        for line in text.lines() {
            if line.starts_with('[') {
                dev = line.contains("dev-dependencies") || line.contains("workspace.dependencies");
            }
            let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
            if !dev && name == package {
                out.push(path.parent().unwrap().to_string_lossy().into_owned());
            }
        }
    }
    out.sort();
    out
}

#[test]
fn each_spine_crate_stays_in_its_place() {
    for (package, place) in [
        ("petgraph", &["compiler/graph"][..]),
        ("nom", &["compiler/syntax"]),
        ("melior", &["compiler/ptx"]),
        ("inkwell", &["compiler/ptx"]),
        ("mlir-sys", &["compiler/ptx"]),
        ("cranelift-codegen", &["compiler/cpu"]),
        ("cudarc", &["runtime/core"]),
        ("safetensors", &["runtime/tensor"]),
        ("miette", &["tools/tilec"]),
    ] {
        let have = dependents(package);
        assert!(have.iter().all(|h| place.contains(&h.as_str())), "{package} is used by {have:?}");
    }
}

#[test]
fn llvm_is_linked_by_the_ptx_backend_alone() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    for (package, flags) in [
        ("tilec", &["--no-default-features"][..]),
        ("tile-driver", &["--no-default-features"]),
        ("tile-cpu", &[]),
        ("tile-oracle", &[]),
        ("tile-plan", &[]),
        ("tile-lower", &[]),
        ("tile-sema", &[]),
        ("tile-runtime", &[]),
        ("tile-tensor", &[]),
    ] {
        let out = Command::new(&cargo)
            .args(["tree", "--offline", "-e", "normal", "--prefix", "none", "-p", package])
            .args(flags)
            .current_dir(root())
            .output()
            .unwrap();
        let tree = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        for forbidden in ["llvm-sys ", "mlir-sys ", "melior ", "inkwell "] {
            assert!(!tree.lines().any(|l| l.starts_with(forbidden)), "{package} depends on {forbidden}");
        }
        if package == "tile-tensor" || package == "tile-runtime" {
            let knows = tree.lines().any(|l| l.starts_with("tile-graph ") || l.starts_with("tile-syntax "));
            assert!(!knows, "the runtime knows the compiler");
        }
    }
}
