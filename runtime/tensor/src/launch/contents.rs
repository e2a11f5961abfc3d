//! Elements of index tensors (language rule 12), where the host sees them.

use crate::Tensor;
use std::collections::HashMap;
use tile_base::{Diagnostic, IndexKind, Size, signature::TensorParam};

/// Reports the first element that is out of range, and how many more there are.
pub fn check(p: &TensorParam, t: &Tensor, lookup: &dyn Fn(&str) -> Option<i64>, found: &mut Vec<Diagnostic>) {
    let Some(kind) = &p.index else { return };
    let (bound, word) = match kind {
        IndexKind::Id(n) => (n, "id"),
        IndexKind::IdOrNone(n) => (n, "id?"),
        IndexKind::Count(n) => (n, "count"),
        IndexKind::Offsets(n) => (n, "offsets"),
    };
    let limit = match bound.eval(lookup) {
        Ok(v) => v,
        Err(e) => {
            let message = format!("the bound of `{}`: {word}<{bound}>: {e}", p.name);
            found.push(Diagnostic::global("T0820", message).help("use smaller dimensions"));
            return;
        }
    };
    match kind {
        IndexKind::Id(_) => range(p, t, "T0823", 0, limit - 1, word, bound, found),
        IndexKind::IdOrNone(_) => range(p, t, "T0823", -1, limit - 1, word, bound, found),
        IndexKind::Count(_) => range(p, t, "T0825", 0, limit, word, bound, found),
        IndexKind::Offsets(_) => offsets(p, t, limit, bound, found),
    }
    if p.distinct {
        found.extend(repeated(p, t));
    }
}

/// The first position that a `unique` store would go to twice. -1 is none.
fn repeated(p: &TensorParam, t: &Tensor) -> Option<Diagnostic> {
    let mut seen = HashMap::new();
    for (at, v) in t.to_i64_vec().into_iter().enumerate().filter(|&(_, v)| v >= 0) {
        if let Some(first) = seen.insert(v, at) {
            let (here, first) = (t.unravel(at), t.unravel(first));
            let name = &p.name;
            let message = format!(
                "`{name}`{here:?} is {v}, as is `{name}`{first:?}, and no position in `{name}` may repeat"
            );
            return Some(
                Diagnostic::global("T0848", message)
                    .note("the kernel stores there, and claims `unique`")
                    .help("give each element a position of its own"),
            );
        }
    }
    None
}

/// ` with NS = 8`; nothing for a bound that is a number.
fn with_value(bound: &Size, value: i64) -> String {
    match bound.as_const() {
        Some(_) => String::new(),
        None => format!(" with {bound} = {value}"),
    }
}

#[allow(clippy::too_many_arguments)]
fn range(
    p: &TensorParam,
    t: &Tensor,
    code: &'static str,
    lo: i64,
    hi: i64,
    word: &str,
    bound: &Size,
    found: &mut Vec<Diagnostic>,
) {
    let values = t.to_i64_vec();
    let bad = |v: &&i64| **v < lo || **v > hi;
    let Some(at) = values.iter().position(|v| bad(&v)) else { return };
    let more = values[at + 1..].iter().filter(bad).count();
    let message = format!(
        "`{}`{:?} is {}, and {word}<{bound}>{} takes {lo} to {hi}",
        p.name,
        t.unravel(at),
        values[at],
        with_value(bound, if code == "T0825" { hi } else { hi + 1 }),
    );
    let mut d = Diagnostic::global(code, message).help("correct the data of the index tensor");
    if more > 0 {
        d = d.note(format!("{more} more elements are out of range"));
    }
    found.push(d);
}

/// Each row along the last axis starts at 0, ends at `limit` and never falls.
fn offsets(p: &TensorParam, t: &Tensor, limit: i64, bound: &Size, found: &mut Vec<Diagnostic>) {
    let mut report = |message: String| {
        let help = "offsets run from 0 to the end without falling, such as [0, 15, 15, 256]";
        found.push(Diagnostic::global("T0824", message).help(help));
    };
    let Some(&row) = t.shape.last().filter(|&&n| n > 0) else {
        report(format!("`{}` is empty, and offsets<{bound}> has at least the element 0", p.name));
        return;
    };
    let values = t.to_i64_vec();
    for (r, row) in values.chunks(row).enumerate() {
        let at = |i: usize| t.unravel(r * t.shape.last().copied().unwrap_or(1) + i);
        if row[0] != 0 {
            return report(format!("`{}`{:?} is {}, and offsets start at 0", p.name, at(0), row[0]));
        }
        if let Some(i) = (1..row.len()).find(|&i| row[i] < row[i - 1]) {
            return report(format!(
                "`{}`{:?} is {}, less than {} before it",
                p.name,
                at(i),
                row[i],
                row[i - 1]
            ));
        }
        let last = row.len() - 1;
        if row[last] != limit {
            let message =
                format!("`{}`{:?} is {}, and offsets<{bound}> end at {limit}", p.name, at(last), row[last]);
            return report(message);
        }
    }
}
