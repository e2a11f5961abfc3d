//! The rows of one schedule, read for one instance of its kernel.

use super::guard;
use tile_base::{Diagnostic, Size};
use tile_graph::{Graph, NodeId, laws};
use tile_plan::Request;
use tile_syntax::ast::{self, ScheduleItem, ScheduleWord};

/// What a schedule asks for, as far as it is honoured.
#[derive(Default)]
pub(super) struct Rows<'a> {
    pub request: Request,
    pub splits: Vec<SplitRow<'a>>,
    /// `require KEY PATH`
    required: Vec<(&'a str, String, &'a ScheduleItem)>,
}

/// `split j 8;`, `split j parts = cdiv(N, 512);`
pub(super) struct SplitRow<'a> {
    pub item: &'a ScheduleItem,
    /// `j`
    pub path: String,
    /// Over the dimensions of the kernel.
    pub parts: Size,
}

/// Reads a schedule. What is not honoured is told in `notes`, what makes no sense is an error.
pub(super) fn read<'a>(
    schedule: &'a ast::Schedule,
    graph: &Graph,
    notes: &mut Vec<Diagnostic>,
) -> Result<Rows<'a>, Vec<Diagnostic>> {
    let (mut rows, mut refused) = (Rows::default(), vec![]);
    let mut honoured = vec![];
    for item in &schedule.items {
        match item.keyword.name.as_str() {
            "tile" => {
                tiles(item, graph, &mut rows.request, &mut refused);
                honoured.push(("tile", String::new()));
            }
            "split" => match split(item, graph) {
                Ok(row) => {
                    honoured.push(("split", row.path.clone()));
                    rows.splits.push(row);
                }
                Err(d) => refused.push(*d),
            },
            "require" => {
                if let [ScheduleWord::Path(key), rest @ ..] = &item.words[..]
                    && let [key] = &key[..]
                {
                    rows.required.push((&key.name, first_path(rest), item));
                }
            }
            _ => notes.push(unhonoured(item, false)),
        }
    }
    for (key, path, item) in &rows.required {
        if !honoured.iter().any(|(k, p)| k == key && (path.is_empty() || p == path)) {
            refused.push(unhonoured(item, true));
        }
    }
    if refused.is_empty() { Ok(rows) } else { Err(refused) }
}

impl Rows<'_> {
    /// A split that the kernel does not allow: a note, or an error when it is required.
    pub fn not_split(&self, row: &SplitRow, why: &str) -> Diagnostic {
        let required =
            self.required.iter().any(|(k, p, _)| *k == "split" && (p.is_empty() || *p == row.path));
        let message = format!("`{}` is not split: it {why}", row.path);
        let d = match required {
            true => Diagnostic::error("T0866", row.item.span, message),
            false => Diagnostic::note_at("T0866", row.item.span, message),
        };
        d.help("a loop can be split that sums (`+=`) or has a `merge` claim, directly in the instance of the kernel")
    }
}

/// The loop that a row names.
pub(super) fn loop_of(graph: &Graph, path: &str) -> Option<NodeId> {
    laws::loop_named(graph, path)
}

fn tiles(item: &ScheduleItem, graph: &Graph, request: &mut Request, refused: &mut Vec<Diagnostic>) {
    for word in &item.words {
        let ScheduleWord::Bind(name, value) = word else { continue };
        let size = guard::size(value, graph).and_then(|s| s.as_const()).and_then(|v| u64::try_from(v).ok());
        match size {
            Some(v) => request.tiles.push((name.name.clone(), v)),
            None => refused.push(
                Diagnostic::error(
                    "T0806",
                    name.span,
                    format!("the tile size `{}` is given no whole number", name.name),
                )
                .help("write a number or an expression over the kernel's const parameters"),
            ),
        }
    }
}

fn split<'a>(item: &'a ScheduleItem, graph: &Graph) -> Result<SplitRow<'a>, Box<Diagnostic>> {
    let parts = match &item.words[..] {
        [ScheduleWord::Path(_), ScheduleWord::Int(n, _)] if *n >= 1 => Some(Size::Const(*n)),
        [ScheduleWord::Path(_), ScheduleWord::Bind(name, value)] if name.name == "parts" => {
            // Without a part there is no result.
            guard::size(value, graph).map(|s| Size::Max(Size::Const(1).into(), s.into()))
        }
        _ => None,
    };
    match parts {
        Some(parts) => Ok(SplitRow { item, path: first_path(&item.words), parts }),
        None => Err(Diagnostic::error("T0806", item.span, "`split` is given no number of parts")
            .help("write `split j 8;` or, over dimensions of the kernel, `split j parts = cdiv(N, 512);`")
            .into()),
    }
}

fn first_path(words: &[ScheduleWord]) -> String {
    match words.first() {
        Some(ScheduleWord::Path(path)) => path.iter().map(|i| i.name.as_str()).collect::<Vec<_>>().join("."),
        _ => String::new(),
    }
}

fn unhonoured(item: &ScheduleItem, required: bool) -> Diagnostic {
    let message = format!("`{}` is not honoured yet by the generic tensor-core path", item.keyword.name);
    let d = match required {
        true => Diagnostic::error("T0855", item.span, message),
        false => Diagnostic::note_at("T0855", item.span, message),
    };
    d.help("the kernel computes the same without it; `require` makes this an error")
}
