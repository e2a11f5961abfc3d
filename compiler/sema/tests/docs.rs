//! The code blocks of the language specification: ` ```tile ` must check clean, ` ```tile error=T0203 ` must give that
//! code.

mod support;

/// A fenced block: the words after the fence, its first line, its text.
fn blocks(page: &str) -> Vec<(String, usize, String)> {
    let mut out = vec![];
    let mut open: Option<(String, usize, String)> = None;
    for (n, line) in page.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(words)) => open = Some((words.trim().to_string(), n + 2, String::new())),
            (Some(_), Some(_)) => out.extend(open.take()),
            (Some((_, _, text)), None) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    out
}

#[test]
fn blocks_of_the_specification_mean_what_they_say() {
    let page = std::fs::read_to_string(support::root().join("docs/language.md")).expect("the page is there");
    let mut tested = 0;
    for (words, line, text) in blocks(&page) {
        let Some(rest) = words.strip_prefix("tile") else { continue };
        let loaded = support::load("docs/language.md", &text);
        let mut found = loaded.syntax.clone();
        found.extend(tile_sema::check(&loaded.module));
        match rest.trim().strip_prefix("error=") {
            None => assert!(found.is_empty(), "line {line}:\n{}", support::show(&loaded, &found)),
            Some(code) => {
                assert!(found.iter().any(|d| d.code == code), "line {line}: no {code}, but {found:#?}");
            }
        }
        tested += 1;
    }
    assert!(tested >= 2, "the page has blocks to test");
}
