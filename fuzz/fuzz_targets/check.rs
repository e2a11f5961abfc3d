//! Any bytes through the parser and the checker; what checks without an error is instantiated and lowered to a graph.
//!
//! What must hold: no panic and no hang; every diagnostic has a code and points into the text; a kernel whose file has
//! no error becomes a graph or a diagnostic.
//!
//! ```text
//! cargo +nightly fuzz run check fuzz/corpus/check kernels-lib dsl-examples compiler/syntax/tests/corpus \
//!     -- -dict=fuzz/tile.dict -max_len=4096 -max_total_time=600
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use tile_base::{Diagnostic, FileId, Severity};
use tile_sema::Module;
use tile_syntax::ast::{self, ItemKind};

const PRELUDE: &str = include_str!("../../kernels-lib/prelude.tile");

fn judge(text: &str, diagnostics: &[Diagnostic]) {
    for d in diagnostics {
        assert!(d.code.len() == 5 && d.code.starts_with('T'), "{d:?}");
        if let Some(span) = d.primary.filter(|s| s.file == FileId(0)) {
            assert!(text.get(span.range()).is_some(), "outside the text: {d:?}");
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let main = tile_syntax::parse(FileId(0), &text);
    judge(&text, &main.diagnostics);
    let prelude = tile_syntax::parse(FileId(1), PRELUDE);
    let kernel_name = |i: &ast::Item| match &i.kind {
        ItemKind::Kernel(k) => Some(k.name.name.clone()),
        _ => None,
    };
    let kernels: Vec<String> = main.file.items.iter().filter_map(kernel_name).collect();
    let module = Module::new(vec![("main".into(), main.file), ("prelude".into(), prelude.file)], 0);
    let found = tile_sema::check(&module);
    judge(&text, &found);
    let failed = main.diagnostics.iter().chain(&found).any(|d| d.severity == Severity::Error);
    if failed {
        return;
    }
    for kernel in kernels {
        for instance in tile_sema::instances_of(&module, &kernel).iter().take(2) {
            match tile_sema::instantiate(&module, &kernel, instance) {
                Ok(typed) => {
                    if let Err(found) = tile_lower::lower_graph(&typed) {
                        judge(&text, &found);
                    }
                }
                Err(found) => judge(&text, &found),
            }
        }
    }
});
