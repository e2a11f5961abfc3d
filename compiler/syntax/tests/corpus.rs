//! Every `.tile` file of the repository parses without a word of complaint and formats stably.

mod common;

use common::{check_format, corpus, read, told};

#[test]
fn corpus_parses() {
    let files = corpus();
    assert!(files.len() >= 2, "the corpus is there");
    for (path, text) in files {
        let parsed = read(&text);
        assert!(parsed.diagnostics.is_empty(), "{}:\n{}", path.display(), told(&text, &parsed));
    }
}

#[test]
fn corpus_formats() {
    for (path, text) in corpus() {
        let formatted = check_format(&path.display().to_string(), &text);
        for line in formatted.lines() {
            let code = line.split("//").next().unwrap().trim_end();
            assert!(code.len() <= 110, "{}: too long: {line}", path.display());
        }
    }
}
