//! Puts comments back.
//!
//! The tree is printed in source order, and comments are taken from one queue as their places come by. A comment
//! that stands where the canonical form has no line for it (inside an operator chain, say) waits for the next
//! place that has, or goes above its statement. None is ever dropped: the formatter drains the queue at the end.

use super::doc::{Doc, blank, concat, hard, remark, text};
use crate::ast::{Comment, File};
use std::cell::Cell;

pub struct Trivia<'a> {
    comments: &'a [Comment],
    blanks: &'a [u32],
    spellings: &'a [(u32, String)],
    arms: &'a [u32],
    next: Cell<usize>,
}

/// With its slashes.
pub fn written(c: &Comment) -> String {
    let glued = c.text.is_empty() || c.text.starts_with('!') || c.text.starts_with("//");
    format!("//{}{}", if glued { "" } else { " " }, c.text)
}

impl<'a> Trivia<'a> {
    pub fn new(file: &'a File) -> Self {
        Trivia {
            comments: &file.comments,
            blanks: &file.blanks,
            spellings: &file.spellings,
            arms: &file.arms,
            next: Cell::new(0),
        }
    }

    /// The integer that starts here, as it was written.
    pub fn int(&self, value: i64, start: u32) -> String {
        match self.spellings.binary_search_by_key(&start, |(at, _)| *at) {
            Ok(at) => self.spellings[at].1.clone(),
            Err(_) => value.to_string(),
        }
    }

    /// Where the arm closes whose last part ends at `last`.
    pub fn arm_end(&self, last: u32) -> u32 {
        let at = self.arms.partition_point(|&a| a < last);
        self.arms.get(at).copied().unwrap_or(last)
    }

    /// Whether the source has an empty line somewhere in `from..=to`.
    pub fn blank_in(&self, from: u32, to: u32) -> bool {
        let first = self.blanks.partition_point(|&b| b < from);
        self.blanks.get(first).is_some_and(|&b| b <= to)
    }

    pub fn peek(&self) -> Option<&'a Comment> {
        self.comments.get(self.next.get())
    }

    /// Whether some comment still waits that stands before `end`.
    pub fn any_before(&self, end: u32) -> bool {
        self.peek().is_some_and(|c| c.span.start < end)
    }

    /// Whether a comment stands in `from..to`.
    pub fn comment_in(&self, from: u32, to: u32) -> bool {
        let first = self.comments.partition_point(|c| c.span.start < from);
        self.comments.get(first).is_some_and(|c| c.span.start < to)
    }

    /// All waiting comments that stand before `end`.
    pub fn before(&self, end: u32) -> &'a [Comment] {
        let from = self.next.get();
        let count = self.comments[from..].partition_point(|c| c.span.start < end);
        self.next.set(from + count);
        &self.comments[from..from + count]
    }

    /// The comment that ends a line of code, if it stands before `end`: `  // …`.
    pub fn trailing(&self, end: u32) -> Option<Doc> {
        let c = self.peek().filter(|c| !c.own_line && c.span.start < end)?;
        self.next.set(self.next.get() + 1);
        Some(remark(format!("  {}", written(c))))
    }

    /// Comments on lines of their own before what starts at `start`, each with its line break. Empty lines
    /// between them are kept; the one above the first only if `separated` (something stands there).
    pub fn leading(&self, above: u32, start: u32, separated: bool) -> Leading {
        let comments = self.before(start);
        let first = comments.first().map_or(start, |c| c.span.start);
        let mut lines = vec![];
        for (at, c) in comments.iter().enumerate() {
            let next = comments.get(at + 1).map_or(start, |n| n.span.start);
            lines.push((written(c), self.blank_in(c.span.end, next)));
        }
        Leading { blank_first: separated && self.blank_in(above, first), lines }
    }
}

/// What stands above a statement.
pub struct Leading {
    /// An empty line comes first.
    pub blank_first: bool,
    /// Comments, each with whether an empty line follows.
    lines: Vec<(String, bool)>,
}

impl Leading {
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Each comment with its line break.
    pub fn lines(self) -> Doc {
        let line = |(t, apart): (String, bool)| concat(vec![text(t), if apart { blank() } else { hard() }]);
        concat(self.lines.into_iter().map(line).collect())
    }

    /// The same where nothing follows.
    pub fn last_lines(mut self) -> Doc {
        let last = self.lines.pop().map(|(t, _)| text(t));
        let above = self.lines();
        concat(std::iter::once(above).chain(last).collect())
    }
}
