//! Any bytes through the parser, the formatter and the parser again.
//!
//! What must hold: no panic and no hang; every diagnostic points into the text; what parses without a diagnostic
//! formats to a text that parses to the same tree with as many comments, and formats to itself.
//!
//! ```text
//! cargo +nightly fuzz run parse fuzz/corpus/parse kernels-lib dsl-examples compiler/syntax/tests/corpus \
//!     -- -dict=fuzz/tile.dict -max_len=4096 -max_total_time=600
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use tile_base::FileId;
use tile_syntax::{format, parse, print_tree};

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let parsed = parse(FileId(0), &text);
    for d in &parsed.diagnostics {
        let span = d.primary.expect("a syntax error has a place");
        assert!(text.get(span.range()).is_some(), "outside the text: {d:?}");
    }
    let tree = print_tree(&parsed.file);
    let once = format(&parsed.file);
    if !parsed.diagnostics.is_empty() {
        return;
    }
    let again = parse(FileId(0), &once);
    assert!(again.diagnostics.is_empty(), "{once}\n{:?}", again.diagnostics);
    assert_eq!(tree, print_tree(&again.file), "{once}");
    assert_eq!(parsed.file.comments.len(), again.file.comments.len(), "{once}");
    assert_eq!(once, format(&again.file));
});
