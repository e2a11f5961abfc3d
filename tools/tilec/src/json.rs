//! The `--json` forms: stable, described in `docs/cli.md`. One object on standard output, whatever happens.

use crate::output;
use serde_json::{Map, Value, json};
use tile_base::{Diagnostic, Severity, Sources, Span, diagnostic::any_error};

fn place(span: Span, sources: &Sources) -> Map<String, Value> {
    let mut map = Map::new();
    if let Some(source) = sources.get(span.file) {
        let (line, column) = source.line_column(span.start);
        let (end_line, end_column) = source.line_column(span.end);
        map.insert("file".into(), json!(source.name));
        map.insert("line".into(), json!(line));
        map.insert("column".into(), json!(column));
        map.insert("end_line".into(), json!(end_line));
        map.insert("end_column".into(), json!(end_column));
        map.insert("start".into(), json!(span.start));
        map.insert("end".into(), json!(span.end));
    }
    map
}

/// One diagnostic.
pub fn diagnostic(d: &Diagnostic, sources: &Sources) -> Value {
    let mut map = Map::new();
    map.insert("code".into(), json!(d.code));
    let severity = match d.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    map.insert("severity".into(), json!(severity));
    map.insert("message".into(), json!(d.message));
    if let Some(span) = d.primary {
        map.append(&mut place(span, sources));
        if !d.primary_label.is_empty() {
            map.insert("label".into(), json!(d.primary_label));
        }
    }
    let labels: Vec<Value> = d
        .labels
        .iter()
        .map(|l| {
            let mut at = place(l.span, sources);
            at.insert("text".into(), json!(l.text));
            Value::Object(at)
        })
        .collect();
    if !labels.is_empty() {
        map.insert("labels".into(), json!(labels));
    }
    if !d.notes.is_empty() {
        map.insert("notes".into(), json!(d.notes));
    }
    if let Some(help) = &d.help {
        map.insert("help".into(), json!(help));
    }
    Value::Object(map)
}

/// `{"ok": …, "diagnostics": […], …}`
fn object(diagnostics: &[Diagnostic], sources: &Sources, more: Map<String, Value>) -> Value {
    let mut map = Map::new();
    map.insert("ok".into(), json!(!any_error(diagnostics)));
    let list: Vec<Value> = diagnostics.iter().map(|d| diagnostic(d, sources)).collect();
    map.insert("diagnostics".into(), json!(list));
    map.extend(more);
    Value::Object(map)
}

/// Prints the object of a command.
pub fn print(diagnostics: &[Diagnostic], sources: &Sources, more: Map<String, Value>) {
    let text = serde_json::to_string_pretty(&object(diagnostics, sources, more)).unwrap_or_default();
    output::print(&format!("{text}\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_object_too() {
        output::catch_panics();
        let worker = std::thread::spawn(|| panic!("an index that is none"));
        assert!(worker.join().is_err());
        let object = object(&[output::fault()], &Sources::default(), Map::new());
        assert_eq!(object["ok"], json!(false));
        assert_eq!(object["diagnostics"][0]["code"], json!("T0999"));
        let note = object["diagnostics"][0]["notes"][0].as_str().unwrap();
        assert!(note.contains("json.rs:") && note.ends_with("an index that is none"), "{note}");
    }
}
