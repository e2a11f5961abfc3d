//! Cases of one instruction, applied to every tuple of a table, one thread each.
//!
//! The text names its operands `%a %b %c %e` (sources) and `%d %q` (destinations); their kinds say which registers they are.
//! Each value travels in a slot of eight bytes.

use super::case::{Case, Target};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    H,
    R,
    X,
    /// A predicate: 1 or 0 in its slot.
    P,
}

pub use Kind::*;

const SOURCES: [&str; 4] = ["%a", "%b", "%c", "%e"];
const DESTINATIONS: [&str; 2] = ["%d", "%q"];

impl Kind {
    fn bits(self) -> u32 {
        match self {
            H => 16,
            R | P => 32,
            X => 64,
        }
    }
}

/// One instruction over all tuples. `reference` gives the destinations' bits from the sources'.
pub fn elementwise(
    target: Target,
    text: &str,
    destinations: &[Kind],
    sources: &[Kind],
    tuples: &[Vec<u64>],
    reference: impl Fn(&[u64]) -> Vec<u64>,
) -> Case {
    let mut body = String::new();
    let declare = |name: &str, kind: Kind| match kind {
        P => format!("    .reg .pred {name};\n"),
        kind => format!("    .reg .b{} {name};\n", kind.bits()),
    };
    SOURCES.iter().zip(sources).for_each(|(n, k)| body += &declare(n, *k));
    DESTINATIONS.iter().zip(destinations).for_each(|(n, k)| body += &declare(n, *k));
    body += &format!("    mad.wide.u32 %in, %t, {}, %in;\n", 8 * sources.len());
    body += &format!("    mad.wide.u32 %out, %t, {}, %out;\n", 8 * destinations.len());
    for (n, (name, kind)) in SOURCES.iter().zip(sources).enumerate() {
        body += &match kind {
            P => format!("    ld.global.b32 %r0, [%in+{}]; setp.ne.u32 {name}, %r0, 0;\n", 8 * n),
            kind => format!("    ld.global.b{} {name}, [%in+{}];\n", kind.bits(), 8 * n),
        };
    }
    body += &format!("    {text}\n");
    for (n, (name, kind)) in DESTINATIONS.iter().zip(destinations).enumerate() {
        body += &match kind {
            P => format!("    selp.u32 %r0, 1, 0, {name}; st.global.b32 [%out+{}], %r0;\n", 8 * n),
            kind => format!("    st.global.b{} [%out+{}], {name};\n", kind.bits(), 8 * n),
        };
    }
    // Whole warps: the last tuple is repeated.
    let count = tuples.len().next_multiple_of(32);
    let all: Vec<&Vec<u64>> = (0..count).map(|n| &tuples[n.min(tuples.len() - 1)]).collect();
    let threads = if count.is_multiple_of(128) { 128 } else { 32 };
    let name = format!("{text} on {}", target.name());
    let mut case = Case::new(&name, target, threads, &body);
    case.blocks = count as u32 / threads;
    let input: Vec<u64> = all.iter().flat_map(|t| t.iter().copied()).collect();
    let low = |v: u64, kind: Kind| if kind == X { v } else { v & ((1 << kind.bits()) - 1) };
    let expected: Vec<u64> = all
        .iter()
        .flat_map(|t| reference(t).into_iter().zip(destinations).map(|(v, k)| low(v, *k)).collect::<Vec<_>>())
        .collect();
    case.input(&input).expect(&expected)
}

/// All pairs, triples, … of the columns.
pub fn product(columns: &[&[u64]]) -> Vec<Vec<u64>> {
    columns.iter().fold(vec![vec![]], |rows, column| {
        rows.iter().flat_map(|row| column.iter().map(|&v| [&row[..], &[v]].concat())).collect()
    })
}

/// The columns side by side, each repeated as often as the longest asks: a cheap mixture where a product is too much.
pub fn mixed(columns: &[&[u64]], count: usize) -> Vec<Vec<u64>> {
    const STRIDES: [usize; 4] = [1, 7, 11, 13];
    (0..count)
        .map(|n| columns.iter().zip(STRIDES).map(|(c, s)| c[(n * s + n / c.len()) % c.len()]).collect())
        .collect()
}
