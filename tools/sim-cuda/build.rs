//! Finds out which functions of `data/functions.txt` the sources implement, and writes stubs for the others.
//!
//! A function is implemented when a line inside an `entries! { … }` block of a source file begins with `fn NAME(`. So
//! a function that is written needs no second place to be listed, and one that is not is still exported: as a stub that
//! answers NOT_SUPPORTED and tells its name. What is written, and is not in the list, is a mistake that ends the build.

use std::{collections::BTreeSet, env, fmt::Write, fs, path::Path};

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let written = implemented(&root.join("src"));
    let list = fs::read_to_string(root.join("data/functions.txt")).expect("the list of functions is there");
    println!("cargo::rerun-if-changed=data");
    let mut symbols = BTreeSet::new();
    let mut table = String::from("pub static FUNCTIONS: &[Function] = &[\n");
    for line in list.lines().filter(|l| !l.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, version, symbol] = words[..] else { panic!("three words are wanted: `{line}`") };
        symbols.insert(symbol.to_string());
        let path = match written.get(symbol) {
            Some((file, _)) => format!("crate::{file}::{symbol}"),
            None => symbol.to_string(),
        };
        let (known, since) = (written.contains_key(symbol), version);
        writeln!(
            table,
            "    Function {{ name: {name:?}, since: {since}, #[cfg(test)] implemented: {known}, entry: Entry({path} as *const ()) }},"
        )
        .expect("text");
    }
    table.push_str("];\n\n");
    for symbol in symbols.iter().filter(|s| !written.contains_key(*s)) {
        writeln!(table, "stub!({symbol});").expect("text");
    }
    let unlisted: Vec<&String> = written.keys().filter(|w| !symbols.contains(*w)).collect();
    assert!(unlisted.is_empty(), "functions that data/functions.txt does not list: {unlisted:?}");
    let out = Path::new(&env::var("OUT_DIR").expect("cargo sets OUT_DIR")).join("functions.rs");
    fs::write(out, table).expect("OUT_DIR is writable");
    results(root);
}

type Written = std::collections::BTreeMap<String, (String, usize)>;

/// Function and the module it is in.
fn implemented(folder: &Path) -> Written {
    println!("cargo::rerun-if-changed=src");
    let mut out = Written::new();
    let mut files: Vec<_> = fs::read_dir(folder).expect("sources").flatten().map(|e| e.path()).collect();
    files.sort();
    for path in files {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let module = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut inside = false;
        for (n, line) in text.lines().enumerate() {
            match line {
                "entries! {" => inside = true,
                "}" => inside = false,
                _ => {}
            }
            if let (true, Some(rest)) = (inside, line.strip_prefix("    fn cu")) {
                let name = rest.split('(').next().unwrap_or_default();
                out.insert(format!("cu{name}"), (module.clone(), n));
            }
        }
    }
    out
}

/// Numbers and names of results, with the name as C has it and in words.
fn results(root: &Path) {
    let list = fs::read_to_string(root.join("data/results.txt")).expect("the list of results is there");
    let mut out = String::from("pub static RESULTS: &[(u32, &str, &str)] = &[\n");
    for line in list.lines().filter(|l| !l.starts_with('#')) {
        let (code, name) = line.split_once(' ').expect("a number and a name");
        let words = name.trim_start_matches("CUDA_ERROR_").trim_start_matches("CUDA_").replace('_', " ");
        writeln!(out, "    ({code}, \"{name}\\0\", \"{}\\0\"),", words.to_lowercase()).expect("text");
    }
    out.push_str("];\n");
    let file = Path::new(&env::var("OUT_DIR").expect("cargo sets OUT_DIR")).join("results.rs");
    fs::write(file, out).expect("OUT_DIR is writable");
}
