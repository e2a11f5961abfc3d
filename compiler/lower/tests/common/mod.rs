//! From text to graph, for tests.
#![allow(dead_code, reason = "each test binary uses its part")]

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

/// One file, with the prelude and the library files that the sketches use.
pub fn module(text: &str) -> Module {
    let mut files = vec![("main".to_string(), parse(0, text))];
    for path in ["prelude", "attention::masks", "attention::flash_fwd"] {
        let text = library(&format!("{}.tile", path.replace("::", "/")));
        files.push((path.to_string(), parse(files.len() as u32, &text)));
    }
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

/// A kernel of `dsl-examples/sketches`.
pub fn lower_sketch(path: &str, kernel: &str, words: &str) -> Graph {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dsl-examples/sketches").join(path);
    let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    lower(&text, kernel, words)
}

/// An `op` of `dsl-examples/sketches`, whole.
pub fn lower_sketch_op(path: &str, op: &str, words: &str) -> Program {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dsl-examples/sketches").join(path);
    let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let typed = tile_sema::instantiate_op(&module(&text), op, &instance(words));
    let typed = typed.unwrap_or_else(|d| panic!("{op}: {d:#?}"));
    tile_lower::lower_op(&typed).unwrap_or_else(|d| panic!("{op}: {d:#?}"))
}
