//! The files of a session and what a name means in each of them.
//!
//! A file sees its own items, what its `use` lines name, and the prelude, in this order.

use crate::grad::{self, Derived, Form};
use std::collections::HashMap;
use tile_base::Diagnostic;
use tile_syntax::ast;

/// Position of an item: file, item. Numbers past the items that are written are those of ops that `grad`s make.
pub type ItemRef = (usize, usize);

/// All files of a session. `prelude` is imported by every other file.
pub struct Module {
    files: Vec<(String, ast::File)>,
    /// Per file: what its `grad`s make.
    derived: Vec<Vec<Derived>>,
    main: usize,
    /// Per file: what its own kernels, functions and ops are called.
    own: Vec<HashMap<String, ItemRef>>,
    /// Per file: what its `use` lines bring in.
    imported: Vec<HashMap<String, ItemRef>>,
    prelude: Option<usize>,
}

/// The name by which an item is called or launched.
fn callable(item: &ast::Item) -> Option<&ast::Ident> {
    match &item.kind {
        ast::ItemKind::Kernel(k) => Some(&k.name),
        ast::ItemKind::Fn(f) => Some(&f.name),
        ast::ItemKind::Op(o) => Some(&o.name),
        _ => None,
    }
}

pub(crate) fn module_path(path: &[ast::Ident]) -> String {
    path.iter().map(|i| i.name.as_str()).collect::<Vec<_>>().join("::")
}

impl Module {
    /// `files`: module path (`attention::masks`, `prelude`) and tree; `main` is the one that is checked.
    pub fn new(files: Vec<(String, ast::File)>, main: usize) -> Module {
        let derived: Vec<Vec<Derived>> = files.iter().map(|(_, file)| grad::derive(file)).collect();
        let mut own: Vec<HashMap<String, ItemRef>> = vec![];
        for (at, (_, file)) in files.iter().enumerate() {
            let mut names = HashMap::new();
            let made = derived[at].iter().map(Derived::item);
            for (n, item) in file.items.iter().chain(made).enumerate() {
                if let Some(name) = callable(item) {
                    names.entry(name.name.clone()).or_insert((at, n));
                }
            }
            own.push(names);
        }
        let by_path = |path: &str| files.iter().position(|(p, _)| p == path);
        let mut imported = vec![];
        for (_, file) in &files {
            let mut names = HashMap::new();
            for item in &file.items {
                let ast::ItemKind::Use(u) = &item.kind else { continue };
                let Some(from) = by_path(&module_path(&u.path)) else { continue };
                match &u.names {
                    Some(wanted) => {
                        for w in wanted {
                            if let Some(&at) = own[from].get(&w.name) {
                                names.insert(w.name.clone(), at);
                            }
                        }
                    }
                    None => names.extend(own[from].iter().map(|(n, &at)| (n.clone(), at))),
                }
            }
            imported.push(names);
        }
        let prelude = by_path("prelude");
        Module { main, own, imported, prelude, files, derived }
    }

    /// Position of the main file among the files.
    pub fn main(&self) -> usize {
        self.main
    }

    pub fn main_file(&self) -> Option<&ast::File> {
        self.files.get(self.main).map(|(_, f)| f)
    }

    pub fn file(&self, at: usize) -> Option<&ast::File> {
        self.files.get(at).map(|(_, f)| f)
    }

    pub fn path(&self, at: usize) -> &str {
        self.files.get(at).map_or("", |(p, _)| p)
    }

    pub fn item(&self, at: ItemRef) -> &ast::Item {
        let written = &self.files[at.0].1.items;
        match written.get(at.1) {
            Some(item) => item,
            None => self.derived[at.0][at.1 - written.len()].item(),
        }
    }

    /// The items of the main file, and after them the ops that its `grad`s make.
    pub fn items(&self) -> impl Iterator<Item = (ItemRef, &ast::Item)> {
        let written = self.main_file().map_or(0, |f| f.items.len());
        let made = self.derived.get(self.main).map_or(0, Vec::len);
        (0..written + made).map(|n| ((self.main, n), self.item((self.main, n))))
    }

    /// What is to be known of an op that a `grad` makes.
    pub fn derived(&self, at: ItemRef) -> Option<&Derived> {
        let (_, file) = self.files.get(at.0)?;
        self.derived.get(at.0)?.get(at.1.checked_sub(file.items.len())?)
    }

    /// The `grad` of the main file that makes the op of this name, and which of its two ops that is.
    pub fn grad(&self, name: &str) -> Option<(&ast::Grad, Form)> {
        let at = self.resolve(self.main, name).filter(|at| at.0 == self.main)?;
        let derived = self.derived(at)?;
        match &self.item((at.0, derived.grad)).kind {
            ast::ItemKind::Grad(g) => Some((g, derived.form)),
            _ => None,
        }
    }

    /// The test blocks of a kernel or op of the main file. The ops of a `grad` are tested by those of `f.vjp`; where there are
    /// none, by those of `f`, which bind what the two have in common.
    pub fn tests_of(&self, name: &str) -> Vec<&ast::Test> {
        let named = |wanted: &str| -> Vec<&ast::Test> {
            let tests = self.items().filter_map(|(_, item)| match &item.kind {
                ast::ItemKind::Test(t) if t.name.name == wanted => Some(t),
                _ => None,
            });
            tests.collect()
        };
        let Some((grad, _)) = self.grad(name) else { return named(name) };
        let own = named(&format!("{}.{}", grad.name.name, Form::Vjp.suffix()));
        if own.is_empty() { named(&grad.name.name) } else { own }
    }

    /// The path of the module that a file is.
    pub fn module(&self, file: usize) -> &str {
        &self.files[file].0
    }

    /// What `name` is called in a file.
    pub fn resolve(&self, file: usize, name: &str) -> Option<ItemRef> {
        let in_prelude = || self.prelude.and_then(|p| self.own[p].get(name));
        self.own.get(file)?.get(name).or_else(|| self.imported[file].get(name)).or_else(in_prelude).copied()
    }

    /// `masks::causal`
    pub fn resolve_path(&self, file: usize, path: &[ast::Ident]) -> Option<ItemRef> {
        let (last, front) = path.split_last()?;
        if front.is_empty() {
            return self.resolve(file, &last.name);
        }
        self.own[self.position(&module_path(front))?].get(&last.name).copied()
    }

    /// The same for a path as text.
    pub fn resolve_text(&self, file: usize, path: &str) -> Option<ItemRef> {
        match path.rsplit_once("::") {
            None => self.resolve(file, path),
            Some((module, name)) => self.own[self.position(module)?].get(name).copied(),
        }
    }

    /// Position of the file of a module, whose path may leave out its beginning (`masks` for `attention::masks`).
    pub fn position(&self, module: &str) -> Option<usize> {
        let exact = self.files.iter().position(|(p, _)| p == module);
        exact.or_else(|| self.files.iter().position(|(p, _)| p.ends_with(&format!("::{module}"))))
    }

    /// Every name that a file can call, for "did you mean".
    pub fn names(&self, file: usize) -> Vec<&str> {
        let mut all: Vec<&str> = vec![];
        if let (Some(own), Some(imported)) = (self.own.get(file), self.imported.get(file)) {
            all.extend(own.keys().chain(imported.keys()).map(String::as_str));
        }
        if let Some(p) = self.prelude {
            all.extend(self.own[p].keys().map(String::as_str));
        }
        all.sort_unstable();
        all
    }

    pub fn kernel(&self, file: usize, name: &str) -> Option<(&ast::Kernel, ItemRef)> {
        let at = self.resolve(file, name)?;
        match &self.item(at).kind {
            ast::ItemKind::Kernel(k) => Some((k, at)),
            _ => None,
        }
    }

    pub fn op(&self, file: usize, name: &str) -> Option<(&ast::HostOp, ItemRef)> {
        let at = self.resolve(file, name)?;
        match &self.item(at).kind {
            ast::ItemKind::Op(o) => Some((o, at)),
            _ => None,
        }
    }

    /// Faults of `use` lines and of names defined twice in the main file.
    pub(crate) fn check_names(&self, out: &mut Vec<Diagnostic>) {
        let Some(file) = self.main_file() else { return };
        let mut seen: HashMap<&str, &ast::Ident> = HashMap::new();
        for item in &file.items {
            if let Some(name) = callable(item) {
                match seen.get(name.name.as_str()) {
                    Some(first) => out.push(
                        Diagnostic::error("T0201", name.span, format!("`{}` is defined twice", name.name))
                            .also(first.span, "first here")
                            .help("rename one of the two"),
                    ),
                    None => {
                        seen.insert(&name.name, name);
                    }
                }
            }
            if let ast::ItemKind::Use(u) = &item.kind {
                self.check_use(u, out);
            }
        }
    }

    fn check_use(&self, u: &ast::Use, out: &mut Vec<Diagnostic>) {
        let path = module_path(&u.path);
        let span = u.path.first().map_or(Default::default(), |f| f.span.to(u.path[u.path.len() - 1].span));
        let Some(from) = self.files.iter().position(|(p, _)| *p == path) else {
            out.push(Diagnostic::error("T0202", span, format!("there is no module `{path}`")).help(
                "a module is a file of the kernel library (`attention::masks`) or one beside this file",
            ));
            return;
        };
        for name in u.names.iter().flatten() {
            if !self.own[from].contains_key(&name.name) {
                let near = nearest(&name.name, self.own[from].keys().map(String::as_str));
                let d = Diagnostic::error("T0202", name.span, format!("`{path}` has no `{}`", name.name));
                out.push(match near {
                    Some(n) => d.help(format!("did you mean `{n}`?")),
                    None => d,
                });
            }
        }
    }
}

/// The candidate that differs least from `name`, if it is near enough to be meant.
pub fn nearest<'a>(name: &str, among: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = if name.chars().count() <= 3 { 1 } else { 2 };
    among
        .filter(|c| !c.is_empty() && *c != name)
        .map(|c| (distance(name, c), c))
        .filter(|&(d, c)| d <= limit && d < c.chars().count())
        .min()
        .map(|(_, c)| c)
}

/// Levenshtein distance over characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let next = (diagonal + usize::from(ca != *cb)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = row[j + 1];
            row[j + 1] = next;
        }
    }
    row[b.len()]
}
