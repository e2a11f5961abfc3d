//! Random expressions of f32 over a tile of two axes.
//!
//! The grammar knows three ranks of stretching (a full tile, a column `[i, 1]`, a row `[1, d]`) and scalars, so every
//! text is well typed. What makes two correct rungs disagree is left out: functions with poles or of fast growth get
//! bounded arguments, and a comparison looks only at what is exact (positions, values as loaded), since a rounding
//! that differs in the last bit must not choose another branch.

use crate::random::Random;

/// How an expression stretches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Tile,
    Column,
    Row,
    Scalar,
}

/// Names in scope, by kind, and what the place allows.
#[derive(Clone, Default)]
pub struct Scope {
    pub tiles: Vec<String>,
    pub columns: Vec<String>,
    pub rows: Vec<String>,
    /// At least one.
    pub scalars: Vec<String>,
    /// Exact f32 tiles: values as loaded.
    pub loaded: Vec<String>,
    /// Positions as index tiles: a column and a row.
    pub positions: Option<(String, String)>,
    /// The second axis is whole in the tile, so it may be reduced and scanned.
    pub whole_rows: bool,
    /// A square matrix of the element type, to multiply with, and what to scale by.
    pub square: Option<(String, String)>,
}

impl Scope {
    fn names(&self, kind: Kind) -> &[String] {
        match kind {
            Kind::Tile => &self.tiles,
            Kind::Column => &self.columns,
            Kind::Row => &self.rows,
            Kind::Scalar => &self.scalars,
        }
    }
}

fn leaf(r: &mut Random, scope: &Scope, kind: Kind) -> String {
    let names = scope.names(kind);
    if kind == Kind::Scalar || names.is_empty() {
        // A literal alone has no type for a function to take: it comes with a scalar that has one.
        let scalar = &scope.scalars[r.below(scope.scalars.len())];
        return match r.one_in(3) {
            true => scalar.clone(),
            false => format!("{scalar} + {:.3}", r.signed() * 2.0),
        };
    }
    names[r.below(names.len())].clone()
}

/// A kind that stretches to `kind`.
fn under(r: &mut Random, kind: Kind) -> Kind {
    match (kind, r.below(6)) {
        (Kind::Tile, 0) => Kind::Column,
        (Kind::Tile, 1) => Kind::Row,
        (_, 2) => Kind::Scalar,
        _ => kind,
    }
}

/// An expression of a kind (or one that stretches to it, for a leaf that the scope has not).
pub fn expression(r: &mut Random, scope: &Scope, kind: Kind, depth: usize) -> String {
    if depth == 0 || kind == Kind::Scalar || scope.names(kind).is_empty() {
        return format!("({})", leaf(r, scope, kind));
    }
    let d = depth - 1;
    match r.below(10) {
        0..=3 => binary(r, scope, kind, d),
        4 | 5 => unary(r, scope, kind, d),
        6 if kind == Kind::Tile => choice(r, scope, d),
        7 if kind == Kind::Tile && scope.whole_rows => {
            let x = expression(r, scope, Kind::Tile, d);
            let way = r.pick(&["", ", rev = true", ", exclusive = true"]);
            format!("(cumsum({x}, 1{way}) * 0.0625)")
        }
        7 if kind == Kind::Column && scope.whole_rows => {
            let x = expression(r, scope, Kind::Tile, d);
            match r.below(3) {
                0 => format!("({x}.sum(1) * 0.0625)"),
                1 => format!("{x}.max(1)"),
                _ => format!("{x}.min(1)"),
            }
        }
        8 if kind == Kind::Tile => match &scope.square {
            Some((matrix, scale)) => {
                let x = expression(r, scope, Kind::Tile, d);
                format!("((tanh({x}).to(T) @ {matrix}) * {scale})")
            }
            None => binary(r, scope, kind, d),
        },
        _ => binary(r, scope, kind, d),
    }
}

fn binary(r: &mut Random, scope: &Scope, kind: Kind, depth: usize) -> String {
    let a = expression(r, scope, kind, depth);
    let other = under(r, kind);
    let b = expression(r, scope, other, depth);
    match r.below(7) {
        0 | 1 => format!("({a} + {b})"),
        2 => format!("({a} - {b})"),
        3 => format!("({a} * tanh({b}))"),
        4 => format!("max({a}, {b})"),
        5 => format!("min({a}, {b})"),
        _ => format!("({a} / (1 + abs({b})))"),
    }
}

fn unary(r: &mut Random, scope: &Scope, kind: Kind, depth: usize) -> String {
    let x = expression(r, scope, kind, depth);
    match r.below(10) {
        0 => format!("tanh({x})"),
        1 => format!("exp2(min({x}, 3))"),
        2 => format!("sqrt(abs({x}) + 0.125)"),
        3 => format!("log2(abs({x}) + 1)"),
        4 => format!("sigmoid({x})"),
        5 => format!("gelu({x})"),
        6 => format!("sin({x})"),
        7 => format!("rsqrt(abs({x}) + 0.25)"),
        8 => format!("relu({x})"),
        _ => format!("(0.0 - {x})"),
    }
}

/// `select` on positions or on loaded values.
fn choice(r: &mut Random, scope: &Scope, depth: usize) -> String {
    let a = expression(r, scope, Kind::Tile, depth);
    let other = under(r, Kind::Tile);
    let b = expression(r, scope, other, depth);
    let compare = r.pick(&["<", "<=", ">", "!="]);
    let condition = match (&scope.positions, scope.loaded.is_empty()) {
        (Some((column, row)), _) if r.one_in(2) => format!("{row} {compare} {column} + {}", r.below(7)),
        (_, false) => format!("{} {compare} 0.25", scope.loaded[r.below(scope.loaded.len())]),
        (Some((column, row)), _) => format!("{column} {compare} {row}"),
        (None, true) => return a,
    };
    format!("select({condition}, {a}, {b})")
}

/// An expression of i32 whose values stay small: leaves are in -100..=100, products are cut by `%`.
pub fn integer(r: &mut Random, names: &[String], depth: usize) -> String {
    if depth == 0 {
        return match r.one_in(4) {
            // With a name, so that it has a type wherever it stands.
            true => format!("({} * 0 + {})", names[0], r.below(50) + 1),
            false => names[r.below(names.len())].clone(),
        };
    }
    let a = integer(r, names, depth - 1);
    let b = integer(r, names, depth - 1);
    let name = names[r.below(names.len())].clone();
    match r.below(11) {
        0 => format!("({a} + {b})"),
        1 => format!("({a} - {b})"),
        2 => format!("(({a} * {name}) % 97)"),
        3 => format!("({a} / {})", r.pick(&["(-7)", "(-2)", "1", "3", "10"])),
        4 => format!("({a} % {})", r.below(9) + 1),
        5 => format!("max({a}, {b})"),
        6 => format!("({a} & {b})"),
        7 => format!("({a} ^ {b})"),
        8 => format!("({a} >> {})", r.below(5)),
        9 => format!("select({name} < {b}, {a}, {b})"),
        _ => format!("abs({a})"),
    }
}
