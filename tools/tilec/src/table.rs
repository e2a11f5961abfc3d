//! Columns of text, numbers to the right.

/// Lines up the rows under the heads.
pub fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = heads.iter().map(|h| h.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let numeric: Vec<bool> = (0..heads.len())
        .map(|c| {
            let mut cells =
                rows.iter().filter_map(|r| r.get(c)).filter(|t| !t.is_empty() && *t != "-").peekable();
            cells.peek().is_some() && cells.all(|t| t.starts_with(|ch: char| ch.is_ascii_digit()))
        })
        .collect();
    let line = |cells: Vec<&str>| {
        let mut text = String::new();
        for (c, cell) in cells.iter().enumerate() {
            let pad = " ".repeat(widths[c].saturating_sub(cell.chars().count()));
            let gap = if c == 0 { "" } else { "  " };
            text += gap;
            text += &if numeric[c] { format!("{pad}{cell}") } else { format!("{cell}{pad}") };
        }
        format!("{}\n", text.trim_end())
    };
    let mut text = line(heads.to_vec());
    let rules: Vec<String> = widths.iter().map(|w| "-".repeat(*w)).collect();
    text += &line(rules.iter().map(String::as_str).collect());
    for row in rows {
        text += &line(row.iter().map(String::as_str).collect());
    }
    text
}
