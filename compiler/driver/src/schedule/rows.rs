//! The rows of one schedule, read for one instance of its kernel.

use super::guard;
use tile_base::{Diagnostic, Size};
use tile_graph::{
    ForOp, Graph, LoopCombine, Op,
    laws::{self, Launches, Refused},
};
use tile_plan::{Request, bulk::Wish};
use tile_syntax::ast::{self, ScheduleItem, ScheduleWord};

/// What a schedule asks for, as far as it is honoured.
#[derive(Default)]
pub(super) struct Rows<'a> {
    pub request: Request,
    pub splits: Vec<SplitRow<'a>>,
    /// `require KEY PATH`
    required: Vec<(&'a str, String, &'a ScheduleItem)>,
}

/// A row that makes several launches of a loop.
pub(super) struct SplitRow<'a> {
    pub item: &'a ScheduleItem,
    /// `j`
    pub path: String,
    pub how: How,
}

/// What a loop or a sum is taken apart into.
pub(super) enum How {
    /// `split j 8;`, `split j parts = cdiv(N, 512);`, over the dimensions of the kernel.
    Parts(Size),
    /// `split t states;`
    States,
    /// `order dq rank(j);`
    Ranks(Vec<String>),
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
            "stream" => match stream(item, graph) {
                Ok(step) => {
                    honoured.push(("stream", step.0.clone()));
                    rows.request.tiles.push(step);
                }
                Err(d) => refused.push(*d),
            },
            "split" => match split(item, graph) {
                Ok(row) => {
                    honoured.push(("split", row.path.clone()));
                    rows.splits.push(row);
                }
                Err(d) => refused.push(*d),
            },
            "order" => match order(item) {
                Ok(row) => {
                    honoured.push(("order", first_path(&item.words)));
                    rows.splits.extend(row);
                }
                Err(d) => refused.push(*d),
            },
            "place" => match place(item) {
                Some(wish) => {
                    honoured.push(("place", wish.path.clone()));
                    rows.request.bulk.push(wish);
                }
                None => notes.push(unhonoured(item, false)),
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
        // Whether a load can be placed so is the planner's to find out, and then its error.
        let meant =
            rows.request.bulk.iter_mut().filter(|w| *key == "place" && (path.is_empty() || *path == w.path));
        meant.for_each(|w| w.required = true);
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
        d.help(match row.how {
            How::Parts(_) => "a loop can be split that sums (`+=`) or has a `merge` or `affine` claim, directly in the instance",
            How::States => "a loop can be sliced that carries a state and writes something at every step",
            How::Ranks(_) => "ranks are `par` axes of the kernel; the others have to tell the elements apart",
        })
    }
}

impl SplitRow<'_> {
    /// The launches that the kernel becomes, or why it does not.
    pub fn launches(&self, graph: &Graph, request: &Request) -> Result<Launches, Refused> {
        let sizes = |name: &str| request.tiles.iter().find(|(n, _)| n == name).map(|(_, size)| *size);
        if let How::Ranks(ranks) = &self.how {
            return laws::order_sum(graph, &self.path, ranks, &sizes);
        }
        let gone = || Refused("is no loop of the kernel any more".into());
        let node = laws::loop_named(graph, &self.path).ok_or_else(gone)?;
        let affine =
            matches!(&graph.node(node).op, Op::For(ForOp { combine: LoopCombine::Affine { .. }, .. }));
        match self.how {
            How::States => laws::slice_loop(graph, node, &sizes),
            _ if affine => laws::segment_loop(graph, node),
            _ => laws::split_launches(graph, node),
        }
    }

    /// How many parts, for the dimension that counts them.
    pub fn parts(&self) -> Option<&Size> {
        match &self.how {
            How::Parts(size) => Some(size),
            How::States | How::Ranks(_) => None,
        }
    }
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

/// `stream s 64;`: the streamed product `s` takes 64 of its contracted axis at a step.
fn stream(item: &ScheduleItem, graph: &Graph) -> Result<(String, u64), Box<Diagnostic>> {
    let refused = |message: String| Diagnostic::error("T0806", item.span, message);
    let [ScheduleWord::Path(_), ScheduleWord::Int(step, _)] = &item.words[..] else {
        let d = refused("`stream` is given no step".into());
        return Err(d.help("write `stream s 64;` for the product that `let s` holds").into());
    };
    let name = first_path(&item.words);
    match (graph.tile_named(&name).filter(|&t| graph.tile(t).hidden), u64::try_from(*step)) {
        (Some(_), Ok(step)) => Ok((name, step)),
        (None, _) => {
            let d = refused(format!("`{name}` is no streamed product of the kernel"));
            Err(d
                .help("`a[i, :] @ b[:, j]` is one where the contracted axis is a dimension, not a tile")
                .into())
        }
        (_, Err(_)) => Err(refused(format!("`{step}` is no step of a product")).into()),
    }
}

fn split<'a>(item: &'a ScheduleItem, graph: &Graph) -> Result<SplitRow<'a>, Box<Diagnostic>> {
    let how = match &item.words[..] {
        [ScheduleWord::Path(_), ScheduleWord::Int(n, _)] if *n >= 1 => Some(How::Parts(Size::Const(*n))),
        [ScheduleWord::Path(_), ScheduleWord::Bind(name, value)] if name.name == "parts" => {
            // Without a part there is no result.
            guard::size(value, graph).map(|s| How::Parts(Size::Max(Size::Const(1).into(), s.into())))
        }
        [ScheduleWord::Path(_), ScheduleWord::Path(word)] => match &word[..] {
            [word] if word.name == "states" => Some(How::States),
            _ => None,
        },
        _ => None,
    };
    match how {
        Some(how) => Ok(SplitRow { item, path: first_path(&item.words), how }),
        None => Err(Diagnostic::error("T0806", item.span, "`split` is given no number of parts")
            .help("write `split j 8;`, `split j parts = cdiv(N, 512);` over dimensions of the kernel, or `split t states;`")
            .into()),
    }
}

/// `order dq any;` asks for nothing, `order dq rank(j, h);` for ranks.
fn order(item: &ScheduleItem) -> Result<Option<SplitRow<'_>>, Box<Diagnostic>> {
    let name = |e: &ast::Expr| match &e.kind {
        ast::ExprKind::Name(n) => Some(n.clone()),
        _ => None,
    };
    match &item.words[..] {
        [ScheduleWord::Path(_), ScheduleWord::Path(word)] if word.len() == 1 && word[0].name == "any" => {
            Some(None)
        }
        [ScheduleWord::Path(_), ScheduleWord::Call(rank, args)]
            if rank.name == "rank" && !args.is_empty() =>
        {
            let ranks: Option<Vec<String>> = args.iter().map(name).collect();
            ranks.map(|r| Some(SplitRow { item, path: first_path(&item.words), how: How::Ranks(r) }))
        }
        _ => None,
    }
    .ok_or_else(|| {
        Diagnostic::error("T0806", item.span, "`order` is given no order")
            .help("write `order dq any;` or, by axes of `par`, `order dq rank(j);`")
            .into()
    })
}

/// `place k tma;`: loads of the tensor `k`, or the load that the `let` of this name holds, by the copy engine.
fn place(item: &ScheduleItem) -> Option<Wish> {
    match &item.words[..] {
        [ScheduleWord::Path(_), ScheduleWord::Path(how)] if matches!(&how[..], [how] if how.name == "tma") => {
            Some(Wish { path: first_path(&item.words), span: item.span, required: false })
        }
        _ => None,
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
