//! From text to graph, for tests.

use std::path::Path;
use tile_base::{DType, Diagnostic, FileId};
use tile_graph::{Graph, Program};
use tile_sema::{ConstValue, Instance, Module};

fn library(path: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kernels-lib").join(path);
    std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

fn parse(at: u32, text: &str) -> tile_syntax::ast::File {
    let parsed = tile_syntax::parse(FileId(at), text);
    assert!(parsed.diagnostics.is_empty(), "{:#?}", parsed.diagnostics);
    parsed.file
}

/// The prelude and one file.
pub fn module(text: &str) -> Module {
    let files = vec![
        ("main".to_string(), parse(0, text)),
        ("prelude".to_string(), parse(1, &library("prelude.tile"))),
    ];
    Module::new(files, 0)
}

/// `T=f16 D=64 CAUSAL=true epi=relu -bias`: dtypes, consts, functions and absent tensors.
pub fn instance(words: &str) -> Instance {
    let mut instance = Instance::default();
    for word in words.split_whitespace() {
        if let Some(name) = word.strip_prefix('-') {
            instance.absent.insert(name.into());
            continue;
        }
        let (name, value) = word.split_once('=').expect("NAME=VALUE");
        if let Some(dtype) = DType::from_name(value) {
            instance.dtypes.insert(name.into(), dtype);
        } else if let Ok(v) = value.parse::<i64>() {
            instance.consts.insert(name.into(), ConstValue::Int(v));
        } else if let Ok(v) = value.parse::<bool>() {
            instance.consts.insert(name.into(), ConstValue::Bool(v));
        } else {
            instance.functions.insert(name.into(), value.into());
        }
    }
    instance
}

pub fn try_lower(text: &str, kernel: &str, words: &str) -> Result<Program, Vec<Diagnostic>> {
    let module = module(text);
    let typed = tile_sema::instantiate(&module, kernel, &instance(words))?;
    tile_lower::lower(&typed)
}

pub fn lower(text: &str, kernel: &str, words: &str) -> Graph {
    let mut program = try_lower(text, kernel, words).unwrap_or_else(|d| panic!("{kernel}: {d:#?}"));
    program.graphs.remove(0)
}

/// A kernel of the library.
pub fn lower_file(path: &str, kernel: &str, words: &str) -> Graph {
    lower(&library(path), kernel, words)
}
