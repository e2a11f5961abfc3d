//! Faults of an evaluation, in the user's words.

use super::{
    code::{Code, Slot},
    eval::Fault,
};
use tile_base::{Diagnostic, Span};

/// `b = 0, i = 3`
pub(super) fn place(code: &Code, at: &[(Slot, i64)]) -> String {
    let named = at.iter().filter(|(slot, _)| !code.slot_names[*slot].is_empty());
    named.map(|(slot, v)| format!("{} = {v}", code.slot_names[*slot])).collect::<Vec<_>>().join(", ")
}

/// The diagnostic of a fault at `span` in the equation at `equation`.
pub(super) fn report(
    fault: Fault,
    span: Span,
    equation: Span,
    array: Option<&str>,
    place: &str,
) -> Diagnostic {
    let name = array.map_or("this array".to_string(), |a| format!("`{a}`"));
    let mut d = match fault {
        Fault::Outside { axis, at, lo, hi } => Diagnostic::error(
            "T0478",
            span,
            format!("position {at} on axis {axis} is outside {name}, which has {lo}..{hi} there"),
        )
        .label("read here")
        .help("guard it with `if`, or say what outside means with `else`: `x[t - s] else 0`"),
        Fault::NotInteger { value } => {
            Diagnostic::error("T0478", span, format!("{value} is not an integer, and a position must be one"))
                .label("used as a position")
                .help("`/` of two integers floors; of reals it does not: use `floor(…)`")
        }
        Fault::Undefined { at } => {
            let at = if at.is_empty() { String::new() } else { format!(" at {at:?}") };
            Diagnostic::error("T0479", span, format!("{name} is read{at} before an equation defines it"))
                .label("has no value yet")
        }
        Fault::DivisionByZero => {
            Diagnostic::error("T0481", span, "an integer is divided by zero").label("the divisor is 0")
        }
        Fault::EmptyArg => {
            Diagnostic::error("T0481", span, "argmax or argmin over nothing").label("this range is empty")
        }
        Fault::Extents { a, b } => {
            Diagnostic::error("T0476", span, format!("two extents that must agree are {a} and {b}"))
                .label("found from the arrays it subscripts")
                .help("give the index a range: `sum(j in lo..hi: …)`")
        }
        Fault::VectorSize { asked, len } => {
            Diagnostic::error("T0481", span, format!("{asked} elements are asked of a vector of {len}"))
                .label("this call")
        }
        Fault::TooLong { len } => {
            Diagnostic::error("T0480", span, format!("a slice cannot have {len} elements"))
                .label("this slice")
        }
        Fault::Internal(what) => Diagnostic::error(
            "T0930",
            span,
            format!("the spec evaluator met what its compiler excludes: {what}"),
        )
        .note("this is a fault of the compiler, not of the spec"),
    };
    if !place.is_empty() {
        d = d.note(format!("at {place}"));
    }
    if equation != span {
        d = d.also(equation, "in this statement");
    }
    d
}
