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
//!
//! Where no file is called `attention::flash_fwd`, that path names the file of the built-in library. Its modules are of the
//! library too; those that only the command line names (`--const mask=mine::window`) may be in the working folder.

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
        self.load_with(path, &[])
    }

    /// The same with more modules than the file uses, as far as there are such.
    pub fn load_with(&mut self, path: &str, modules: &[String]) -> Result<Loaded, Vec<Diagnostic>> {
        if let Some(text) = built_in(path) {
            return Ok(self.load_from(&Places::library(path), path, text.to_string(), modules));
        }
        let text = self.timer.time("read", || read_source(path)).map_err(|d| vec![d])?;
        Ok(self.load_from(&Places::of(Path::new(path)), path, text, modules))
    }

    /// The same for a text that is in memory; `path` says where its `use` lines look.
    pub fn load_text(&mut self, path: &str, text: String) -> Loaded {
        self.load_from(&Places::of(Path::new(path)), path, text, &[])
    }

    fn load_from(&mut self, places: &Places, path: &str, text: String, modules: &[String]) -> Loaded {
        let mut diagnostics = vec![];
        let main = places.module_path();
        let (file, tree) = self.parse(&places.shown(path), text, &mut diagnostics);
        let mut wanted: VecDeque<String> = uses(&tree).collect();
        let mut files = vec![(main, tree)];
        wanted.push_back("prelude".into());
        wanted.extend(modules.iter().cloned());
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
        let d = Diagnostic::global("T0800", format!("`{path}` cannot be read: {why}"));
        d.help(library_help(path).unwrap_or_else(|| "check the path and its rights".into()))
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

/// The text of `attention::flash_fwd`, unless a file has that name.
fn built_in(path: &str) -> Option<&'static str> {
    tile_kernels::source(path).filter(|_| !Path::new(path).exists())
}

/// `attention::flash_fwd` for whoever wrote `flash_fwd`, `flash_fwd.tile` or `attention::flsh_fwd`.
fn library_help(path: &str) -> Option<String> {
    if Path::new(path).exists() {
        return None;
    }
    let mut modules = tile_kernels::library().iter().map(|&(module, _)| module);
    let stem = Path::new(path).file_stem()?.to_str()?;
    let named = modules.clone().find(|m| m.rsplit("::").next() == Some(stem));
    let meant = named.or_else(|| {
        let near = tile_sema::nearest(path, modules.clone())?;
        modules.find(|m| *m == near)
    })?;
    Some(format!("check the path; the built-in library has `{meant}`"))
}

/// Where modules are looked for.
struct Places {
    /// For a module of the built-in library its path there, with `library` set.
    main: PathBuf,
    /// Whether the built-in library comes first.
    library: bool,
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
        Places { main: absolute.unwrap_or_else(|| main.to_path_buf()), library: false, beside, root }
    }

    fn library(module: &str) -> Places {
        Places { main: file_of(module), library: true, beside: PathBuf::new(), root: None }
    }

    /// The name of the main file in messages.
    fn shown(&self, asked: &str) -> String {
        if self.library { library_name(&self.main) } else { asked.to_string() }
    }

    /// `attention::flash_fwd` for a file of the library, else the file's stem.
    fn module_path(&self) -> String {
        let inside = match &self.root {
            Some(root) => self.main.strip_prefix(root).ok(),
            None => self.library.then_some(self.main.as_path()),
        };
        let path = inside.unwrap_or(self.main.file_name().map_or(Path::new("main"), Path::new));
        let path = path.with_extension("");
        path.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("::")
    }

    /// Name to show and text of a module.
    fn find(&self, module: &str) -> Option<(String, String)> {
        let file = file_of(module);
        let in_library = || Some((library_name(&file), tile_kernels::source(module)?.to_string()));
        let on_disk = || {
            [Some(&self.beside), self.root.as_ref()].into_iter().flatten().find_map(|dir| {
                let path = dir.join(&file);
                let name = path.to_string_lossy().into_owned();
                let text = path.is_file().then(|| read_source(&name).ok())??;
                Some((name, text))
            })
        };
        match self.library {
            true => in_library().or_else(on_disk),
            false => on_disk().or_else(in_library),
        }
    }
}

/// `attention/masks.tile` for `attention::masks`.
fn file_of(module: &str) -> PathBuf {
    module.split("::").collect::<PathBuf>().with_extension("tile")
}

fn library_name(file: &Path) -> String {
    format!("<library>/{}", file.display())
}

/// The `.tile` files under the given files and folders, sorted; modules of the built-in library stay as they are.
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
            Err(_) if built_in(path).is_some() => files.push(path.clone()),
            Err(e) => {
                let d = Diagnostic::global("T0800", format!("`{path}` cannot be read: {e}"));
                found.push(d.help(library_help(path).unwrap_or_else(|| "check the path".into())));
            }
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
