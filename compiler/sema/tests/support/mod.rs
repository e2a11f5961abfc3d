//! Reading `.tile` files of the repository into a module, as the driver does.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use tile_base::{Diagnostic, Sources};
use tile_sema::{ConstValue, Instance, Module};
use tile_syntax::ast;

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub fn library() -> PathBuf {
    root().join("kernels-lib")
}

pub struct Loaded {
    pub module: Module,
    pub sources: Sources,
    pub syntax: Vec<Diagnostic>,
}

/// A module of one text, what it uses from the library, and the prelude.
pub fn load(name: &str, text: &str) -> Loaded {
    let mut sources = Sources::default();
    let mut syntax = vec![];
    let id = sources.add(name, text);
    let parsed = tile_syntax::parse(id, text);
    syntax.extend(parsed.diagnostics);
    let mut files: Vec<(String, ast::File)> = vec![("main".into(), parsed.file)];
    let mut at = 0;
    let mut wanted = vec!["prelude".to_string()];
    while at < files.len() || !wanted.is_empty() {
        if at < files.len() {
            for item in &files[at].1.items {
                if let ast::ItemKind::Use(u) = &item.kind {
                    let path: Vec<&str> = u.path.iter().map(|i| i.name.as_str()).collect();
                    wanted.push(path.join("::"));
                }
            }
            at += 1;
        }
        for path in std::mem::take(&mut wanted) {
            if files.iter().any(|(p, _)| *p == path) {
                continue;
            }
            let file = library().join(path.replace("::", "/")).with_extension("tile");
            let Ok(text) = std::fs::read_to_string(&file) else { continue };
            let id = sources.add(path.clone(), text.clone());
            files.push((path, tile_syntax::parse(id, &text).file));
        }
    }
    Loaded { module: Module::new(files, 0), sources, syntax }
}

pub fn load_file(path: &Path) -> Loaded {
    load(&path.display().to_string(), &std::fs::read_to_string(path).expect("the file is there"))
}

/// Every `.tile` file below a folder, sorted.
pub fn tile_files(folder: &Path) -> Vec<PathBuf> {
    let mut out = vec![];
    let mut folders = vec![folder.to_path_buf()];
    while let Some(f) = folders.pop() {
        for entry in std::fs::read_dir(f).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "tile") {
                out.push(path);
            }
        }
    }
    out.sort();
    out
}

/// `T=f16 D=64 CAUSAL=true epi=relu -lse`
pub fn instance(text: &str) -> Instance {
    let mut out = Instance::default();
    for word in text.split_whitespace() {
        if let Some(name) = word.strip_prefix('-') {
            out.absent.insert(name.into());
            continue;
        }
        let (name, value) = word.split_once('=').expect("name=value");
        if let Some(d) = tile_base::DType::from_name(value) {
            out.dtypes.insert(name.into(), d);
        } else if let Ok(v) = value.parse::<i64>() {
            out.consts.insert(name.into(), ConstValue::Int(v));
        } else if let Ok(v) = value.parse::<bool>() {
            out.consts.insert(name.into(), ConstValue::Bool(v));
        } else {
            out.functions.insert(name.into(), value.into());
        }
    }
    out
}

/// `code line:column message`, one for each diagnostic, with labels and help below.
pub fn show(l: &Loaded, diagnostics: &[Diagnostic]) -> String {
    let mut out = String::new();
    let place = |s: tile_base::Span| {
        let (line, column) = l.sources.get(s.file).map_or((0, 0), |f| f.line_column(s.start));
        format!("{line}:{column} `{}`", l.sources.snippet(s).chars().take(60).collect::<String>())
    };
    for d in diagnostics {
        let at = d.primary.map_or(String::new(), place);
        out.push_str(&format!("{} {at}: {}\n", d.code, d.message));
        if !d.primary_label.is_empty() {
            out.push_str(&format!("    | {}\n", d.primary_label));
        }
        for label in &d.labels {
            out.push_str(&format!("    {}: {}\n", place(label.span), label.text));
        }
        for n in &d.notes {
            out.push_str(&format!("    note: {n}\n"));
        }
        if let Some(h) = &d.help {
            out.push_str(&format!("    help: {h}\n"));
        }
    }
    out
}
