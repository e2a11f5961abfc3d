//! A small pretty-printing algebra: text, places where a line may break, and groups that break as one.
//!
//! A [`group`] is laid out flat if it fits in what is left of the line (together with what follows it up to the
//! next place that may break), else each [`line`] directly in it becomes a line break. For example
//!
//! ```text
//! group("f(" nest(softline "a," line "b") softline ")")      f(a, b)      or      f(
//!                                                                                     a,
//!                                                                                     b
//!                                                                                 )
//! ```
//!
//! A list that should fill its lines puts each separator in a group of its own: `"a," group(line "b,") …`; a declaration's list
//! has them all in its own, so that each parameter gets a line. A
//! [`hard`] break breaks every group around it, which is known when the document is built. Comments take no part
//! in what fits: a long remark does not break the code it stands beside.

pub const WIDTH: usize = 110;
const INDENT: usize = 4;

#[derive(Debug)]
pub struct Doc {
    kind: Kind,
    /// Holds a [`hard`] break.
    broken: bool,
}

#[derive(Debug)]
enum Kind {
    Text(String),
    /// A break that is this when flat.
    Line(&'static str),
    Hard,
    /// One text when flat, another when the group around it breaks.
    Either(&'static str, &'static str),
    /// A hard break and an empty line.
    Blank,
    Concat(Vec<Doc>),
    Nest(Box<Doc>),
    Group(Box<Doc>),
    /// `// …` at the end of a line.
    Remark(String),
}

fn doc(kind: Kind, broken: bool) -> Doc {
    Doc { kind, broken }
}

pub fn text(text: impl Into<String>) -> Doc {
    doc(Kind::Text(text.into()), false)
}

pub fn nil() -> Doc {
    doc(Kind::Concat(vec![]), false)
}

/// A blank, or a line break.
pub fn line() -> Doc {
    doc(Kind::Line(" "), false)
}

/// Nothing, or a line break.
pub fn softline() -> Doc {
    doc(Kind::Line(""), false)
}

/// Only when the group around it breaks: the comma after the last of a list.
pub fn when_broken(text: &'static str) -> Doc {
    either("", text)
}

pub fn either(flat: &'static str, broken: &'static str) -> Doc {
    doc(Kind::Either(flat, broken), false)
}

pub fn hard() -> Doc {
    doc(Kind::Hard, true)
}

pub fn blank() -> Doc {
    doc(Kind::Blank, true)
}

/// Must be followed by a hard break.
pub fn remark(text: String) -> Doc {
    doc(Kind::Remark(text), true)
}

pub fn concat(parts: Vec<Doc>) -> Doc {
    let broken = parts.iter().any(|d| d.broken);
    doc(Kind::Concat(parts), broken)
}

pub fn nest(inner: Doc) -> Doc {
    let broken = inner.broken;
    doc(Kind::Nest(Box::new(inner)), broken)
}

pub fn group(inner: Doc) -> Doc {
    let broken = inner.broken;
    doc(Kind::Group(Box::new(inner)), broken)
}

/// `[…]` of documents and strings in a row.
macro_rules! row {
    ($($part:expr),* $(,)?) => { $crate::format::doc::concat(vec![$($crate::format::doc::Doc::from($part)),*]) };
}
pub(crate) use row;

impl From<&str> for Doc {
    fn from(t: &str) -> Doc {
        text(t)
    }
}

impl From<String> for Doc {
    fn from(t: String) -> Doc {
        text(t)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Flat,
    Broken,
}

type Todo<'a> = (usize, Mode, &'a Doc);

/// Lays the document out in [`WIDTH`] columns; no blanks at line ends.
pub fn render(root: &Doc) -> String {
    let mut out = String::new();
    let mut column = 0;
    let mut todo: Vec<Todo<'_>> = vec![(0, Mode::Broken, root)];
    while let Some((indent, mode, doc)) = todo.pop() {
        match &doc.kind {
            Kind::Text(t) => {
                if column == 0 && !t.is_empty() {
                    out.extend(std::iter::repeat_n(' ', indent));
                    column = indent;
                }
                out.push_str(t);
                column += t.chars().count();
            }
            Kind::Either(flat, broken) => {
                let t = if mode == Mode::Flat { flat } else { broken };
                out.push_str(t);
                column += t.len();
            }
            Kind::Remark(t) => {
                if column == 0 {
                    out.extend(std::iter::repeat_n(' ', indent));
                }
                out.push_str(t);
            }
            Kind::Line(flat) if mode == Mode::Flat => {
                out.push_str(flat);
                column += flat.len();
            }
            Kind::Line(_) | Kind::Hard => newline(&mut out, &mut column),
            Kind::Blank => {
                newline(&mut out, &mut column);
                out.push('\n');
            }
            Kind::Concat(parts) => todo.extend(parts.iter().rev().map(|d| (indent, mode, d))),
            Kind::Nest(inner) => todo.push((indent + INDENT, mode, inner)),
            Kind::Group(inner) => {
                let start = if column == 0 { indent } else { column };
                let flat = !inner.broken && fits(inner, WIDTH.saturating_sub(start), &todo);
                todo.push((indent, if flat { Mode::Flat } else { Mode::Broken }, inner));
            }
        }
    }
    out
}

fn newline(out: &mut String, column: &mut usize) {
    out.truncate(out.trim_end_matches(' ').len());
    out.push('\n');
    *column = 0;
}

/// Whether `inner`, flat, and what follows it up to the next break fit in `room` columns.
fn fits(inner: &Doc, room: usize, after: &[Todo<'_>]) -> bool {
    let mut room = room;
    let mut todo = vec![(Mode::Flat, inner)];
    let mut after = after.iter().rev();
    loop {
        let Some((mode, doc)) = todo.pop().or_else(|| after.next().map(|&(_, mode, doc)| (mode, doc))) else {
            return true;
        };
        match &doc.kind {
            Kind::Text(t) => match room.checked_sub(t.chars().count()) {
                Some(left) => room = left,
                None => return false,
            },
            Kind::Line(flat) if mode == Mode::Flat => match room.checked_sub(flat.len()) {
                Some(left) => room = left,
                None => return false,
            },
            Kind::Line(_) | Kind::Hard | Kind::Blank | Kind::Remark(_) => return true,
            Kind::Either(flat, broken) => {
                match room.checked_sub(if mode == Mode::Flat { flat } else { broken }.len()) {
                    Some(left) => room = left,
                    None => return false,
                }
            }
            Kind::Concat(parts) => todo.extend(parts.iter().rev().map(|d| (mode, d))),
            Kind::Nest(inner) | Kind::Group(inner) => todo.push((mode, inner)),
        }
    }
}
