//! The canonical text of a tree.
//!
//! Four blanks of indentation, one statement to a line, 110 columns; lists fill their lines; a block is on one
//! line only if it is a mere value. Formatting what was formatted changes nothing, and no comment is lost.
//!
//! | file | prints |
//! |---|---|
//! | [`doc`] | the layout algebra |
//! | [`comments`] | the queue of comments, empty lines, spellings of literals |
//! | [`expr`] | expressions, types |
//! | [`stmt`] | blocks, statements |
//! | [`item`] | the file, declarations |
//! | [`harness`] | specs, tests, schedules |

mod comments;
pub(crate) mod doc;
pub(crate) mod expr;
mod harness;
mod item;
pub(crate) mod stmt;

use crate::ast::File;
use comments::Trivia;

struct Formatter<'a> {
    trivia: Trivia<'a>,
}

/// The canonical text. The tree must be of a text without errors: what was not understood cannot be printed
/// (it becomes `<broken>`).
pub fn format(file: &File) -> String {
    Formatter { trivia: Trivia::new(file) }.file(file)
}
