//! Functions that a person names on the command line: `--const mask=attention::masks::window`.
//!
//! A bare name (`mask=causal`) is one that the `.tile` file has or imports. A path names a function of any module, of the
//! library or beside the file; the session loads the modules that paths mention ([`modules`]) together with the file. A name
//! that nothing has is answered with one that would do, looked for in the file and in the whole library.

use crate::choose::Given;
use tile_base::{Diagnostic, FileId};
use tile_sema::{Module, nearest};
use tile_syntax::ast::{self, ItemKind};

/// How many names a help lists.
const LISTED: usize = 12;

/// Modules that the values after `--const` mention: `attention::masks` of `mask=attention::masks::window`.
pub fn modules(given: &Given) -> Vec<String> {
    given.consts.values().filter_map(|v| v.rsplit_once("::")).map(|(module, _)| module.to_string()).collect()
}

/// Whether the main file can call a function of this name or path.
pub fn is_known(module: &Module, name: &str) -> bool {
    let found = module.resolve_text(module.main(), name);
    found.is_some_and(|at| matches!(module.item(at).kind, ItemKind::Fn(_)))
}

/// What to say of a function that is not there.
pub fn unknown(module: &Module, param: &ast::Ident, name: &str) -> Diagnostic {
    let message = format!("there is no function `{name}` for `{}`", param.name);
    let help = match name.rsplit_once("::") {
        Some((path, last)) => help_for_path(module, &param.name, path, last),
        None => help_for_name(module, &param.name, name),
    };
    Diagnostic::error("T0200", param.span, message).label("a function that is given").help(help)
}

fn help_for_path(module: &Module, param: &str, path: &str, last: &str) -> String {
    let Some(at) = module.position(path) else {
        let all = tile_kernels::library().iter().map(|&(module, _)| module);
        return match nearest(path, all) {
            Some(near) => {
                format!("there is no module `{path}`; did you mean `--const {param}={near}::{last}`?")
            }
            None => format!("there is no module `{path}` in the library or beside the file"),
        };
    };
    let names = module.file(at).map(function_names).unwrap_or_default();
    match nearest(last, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `--const {param}={path}::{near}`?"),
        None => format!("`{path}` has {}", list(&names)),
    }
}

fn help_for_name(module: &Module, param: &str, name: &str) -> String {
    let library = library_functions();
    if let Some((path, _)) = library.iter().find(|(_, function)| function == name) {
        return format!("the library has one: `--const {param}={path}::{name}`");
    }
    let own: Vec<String> =
        module.names(module.main()).into_iter().filter(|n| is_known(module, n)).map(str::to_string).collect();
    if let Some(near) = nearest(name, own.iter().map(String::as_str)) {
        return format!("did you mean `--const {param}={near}`?");
    }
    match nearest(name, library.iter().map(|(_, function)| function.as_str())) {
        Some(near) => {
            let path = library.iter().find(|(_, f)| f == near).map_or("", |(path, _)| path);
            format!("did you mean `--const {param}={path}::{near}`?")
        }
        None => format!(
            "the file has and imports {}; any other by its path: `--const {param}=attention::masks::causal`",
            list(&own)
        ),
    }
}

fn list(names: &[String]) -> String {
    let more = if names.len() > LISTED { ", …" } else { "" };
    format!("{}{more}", names[..names.len().min(LISTED)].join(", "))
}

fn function_names(file: &ast::File) -> Vec<String> {
    file.items
        .iter()
        .filter_map(|item| match &item.kind {
            ItemKind::Fn(f) => Some(f.name.name.clone()),
            _ => None,
        })
        .collect()
}

/// Module and name of every function of the library. Only somebody who misspelt a name waits for this.
fn library_functions() -> Vec<(&'static str, String)> {
    tile_kernels::library()
        .iter()
        .filter(|(_, text)| text.contains("fn "))
        .flat_map(|&(path, text)| {
            let names = function_names(&tile_syntax::parse(FileId(0), text).file);
            names.into_iter().map(move |name| (path, name))
        })
        .collect()
}
