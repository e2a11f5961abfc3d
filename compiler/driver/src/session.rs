//! Files of a session: the one that was asked for, what its `use` lines name, and the prelude.
//!
//! `use attention::masks::{causal};` in `dir/f.tile` names, in this order:
//! 1. `dir/attention/masks.tile`, a file beside it;
//! 2. `ROOT/attention/masks.tile`, where ROOT is the nearest folder above `dir` that holds a `prelude.tile` (so that
//!    whoever edits the library sees the edited files);
//! 3. the kernel library that is built into the command.
//!
//! The same rule finds the prelude. A module that none of them has is left out here; the checker says so at the `use`
//! line (T0202).

use crate::Timer;
use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
};
use tile_base::{Diagnostic, FileId, Sources, diagnostic::any_error};
use tile_sema::Module;
use tile_syntax::ast;

/// Sources and timings of one run of a tool.
#[derive(Default)]
pub struct Session {
    pub sources: Sources,
    pub timer: Timer,
}

/// A file with everything it uses, parsed.
pub struct Loaded {
    /// As it was asked for.
    pub path: String,
    pub file: FileId,
    pub module: Module,
    /// Of parsing: what kept a part of a file from being understood.
    pub diagnostics: Vec<Diagnostic>,
}

impl Loaded {
    /// The tree of the file that was asked for.
    pub fn ast(&self) -> &ast::File {
        static EMPTY: ast::File = ast::File::EMPTY;
        self.module.main_file().unwrap_or(&EMPTY)
    }
}

impl Session {
    pub fn new() -> Session {
        Session::default()
    }

    /// Reads and parses a file and all it uses. Errors are of the file system; what the parser has to say is in the
    /// result, beside the tree that it could make.
    pub fn load(&mut self, path: &str) -> Result<Loaded, Vec<Diagnostic>> {
        let text = self.timer.time("read", || read_source(path)).map_err(|d| vec![d])?;
        Ok(self.load_text(path, text))
    }

    /// The same for a text that is in memory; `path` says where its `use` lines look.
    pub fn load_text(&mut self, path: &str, text: String) -> Loaded {
        let places = Places::of(Path::new(path));
        let mut diagnostics = vec![];
        let main = places.module_path();
        let (file, tree) = self.parse(path, text, &mut diagnostics);
        let mut wanted: VecDeque<String> = uses(&tree).collect();
        let mut files = vec![(main, tree)];
        wanted.push_back("prelude".into());
        while let Some(module) = wanted.pop_front() {
            if files.iter().any(|(m, _)| *m == module) {
                continue;
            }
            let found = self.timer.time("read", || places.find(&module));
            if let Some((name, text)) = found {
                let (_, tree) = self.parse(&name, text, &mut diagnostics);
                wanted.extend(uses(&tree));
                files.push((module, tree));
            }
        }
        Loaded { path: path.to_string(), file, module: Module::new(files, 0), diagnostics }
    }

    fn parse(&mut self, name: &str, text: String, out: &mut Vec<Diagnostic>) -> (FileId, ast::File) {
        let file = self.sources.add(name, text);
        let text = self.sources.get(file).map_or("", |s| &s.text);
        let parsed = self.timer.time("parse", || tile_syntax::parse(file, text));
        out.extend(parsed.diagnostics);
        (file, parsed.file)
    }

    /// Everything that is wrong with a file: syntax first; types only where the syntax is whole.
    pub fn check(&mut self, loaded: &Loaded) -> Vec<Diagnostic> {
        let mut found = loaded.diagnostics.clone();
        if !any_error(&found) {
            found.extend(self.timer.time("check", || tile_sema::check(&loaded.module)));
        }
        found
    }
}

/// Module paths of the `use` lines.
fn uses(file: &ast::File) -> impl Iterator<Item = String> + '_ {
    file.items.iter().filter_map(|item| match &item.kind {
        ast::ItemKind::Use(u) if !u.path.is_empty() => {
            Some(u.path.iter().map(|i| i.name.as_str()).collect::<Vec<_>>().join("::"))
        }
        _ => None,
    })
}

/// The text of a source file.
pub fn read_source(path: &str) -> Result<String, Diagnostic> {
    let fault = |why: String| {
        Diagnostic::global("T0800", format!("`{path}` cannot be read: {why}"))
            .help("check the path and its rights")
    };
    let data = std::fs::metadata(path).map_err(|e| fault(e.to_string()))?;
    if data.is_dir() {
        return Err(fault("it is a folder".into()));
    }
    if data.len() > tile_syntax::MAX_TEXT as u64 {
        return Err(fault(format!(
            "it has {} bytes, and the limit is {}",
            data.len(),
            tile_syntax::MAX_TEXT
        )));
    }
    let bytes = std::fs::read(path).map_err(|e| fault(e.to_string()))?;
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Diagnostic::global("T0801", format!("`{path}` is no UTF-8 text (byte {at})"))
            .help("save the file as UTF-8")
    })
}

/// Where modules are looked for.
struct Places {
    main: PathBuf,
    beside: PathBuf,
    /// Of a library on disk that the main file belongs to.
    root: Option<PathBuf>,
}

impl Places {
    fn of(main: &Path) -> Places {
        let beside = main.parent().map(Path::to_path_buf).unwrap_or_default();
        let absolute = std::fs::canonicalize(main).ok();
        let root = absolute.as_deref().and_then(|p| {
            p.ancestors()
                .skip(1)
                .take(6)
                .find(|dir| dir.join("prelude.tile").is_file())
                .map(Path::to_path_buf)
        });
        Places { main: absolute.unwrap_or_else(|| main.to_path_buf()), beside, root }
    }

    /// `attention::flash_fwd` for a file of the library, else the file's stem.
    fn module_path(&self) -> String {
        let inside = self.root.as_ref().and_then(|r| self.main.strip_prefix(r).ok());
        let path = inside.unwrap_or(self.main.file_name().map_or(Path::new("main"), Path::new));
        let path = path.with_extension("");
        path.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("::")
    }

    /// Name to show and text of a module.
    fn find(&self, module: &str) -> Option<(String, String)> {
        let file: PathBuf = module.split("::").collect::<PathBuf>().with_extension("tile");
        for dir in [Some(&self.beside), self.root.as_ref()].into_iter().flatten() {
            let path = dir.join(&file);
            if path.is_file()
                && let Ok(text) = read_source(&path.to_string_lossy())
            {
                return Some((path.to_string_lossy().into_owned(), text));
            }
        }
        let text = tile_kernels::source(module)?;
        Some((format!("<library>/{}", file.display()), text.to_string()))
    }
}

/// The `.tile` files under the given files and folders, sorted.
pub fn tile_files(paths: &[String]) -> Result<Vec<String>, Vec<Diagnostic>> {
    let (mut files, mut found) = (vec![], vec![]);
    for path in paths {
        match std::fs::metadata(path) {
            Ok(data) if data.is_dir() => {
                let before = files.len();
                walk(Path::new(path), 0, &mut files);
                if files.len() == before {
                    let message = format!("no .tile file is under `{path}`");
                    found.push(Diagnostic::global("T0800", message).help("name a file or another folder"));
                }
            }
            Ok(_) => files.push(path.clone()),
            Err(e) => found.push(
                Diagnostic::global("T0800", format!("`{path}` cannot be read: {e}")).help("check the path"),
            ),
        }
    }
    if found.is_empty() { Ok(files) } else { Err(found) }
}

fn walk(dir: &Path, depth: usize, files: &mut Vec<String>) {
    const DEPTH: usize = 16;
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    paths.sort();
    for path in paths {
        let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        if path.is_dir() && !hidden && depth < DEPTH {
            walk(&path, depth + 1, files);
        } else if path.extension().is_some_and(|e| e == "tile") {
            files.push(path.to_string_lossy().into_owned());
        }
    }
}
