//! `mma.sp`: a left operand of which half the elements are stored, with their places as metadata.
//!
//! The metadata are made here from a table of places: eight nibbles a lane, of which each belongs to a row and to a group of
//! columns (four; two of tf32, eight of 4 bits). With 16 bits and tf32, nibbles 0 to 3 are of row `lane / 4`, 4 to 7 of the row
//! eight further down, and the next lane has the next four groups. With 8 and 4 bits, all eight are of one row: an even lane's
//! of row `lane / 4`, an odd one's of the row eight further down; lanes 2 and 3 of four have the next eight groups. That is how a
//! device read them. The pairs that are stored have no period, so that no other order gives the same sums.

use super::{
    case::{Case, Target, Target::*},
    matrix::{Elem, Elem::*, loads, pack, place_a, place_b, place_c},
};

/// The two of four columns that are stored, for group `g` of row `r`.
fn chosen(r: usize, g: usize) -> [usize; 2] {
    const PAIRS: [[usize; 2]; 6] = [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]];
    PAIRS[((r * 37 + g * 101 + r * g * 11 + 5) * 40_503 >> 7) % 6]
}

struct Sparse {
    target: Target,
    k: usize,
    d: Elem,
    a: Elem,
    b: Elem,
    selector: usize,
    ordered: bool,
}

impl Sparse {
    /// Columns of a group, and elements that go together in it.
    fn group(&self) -> (usize, usize) {
        match self.a {
            Tf32 => (2, 1),
            S4 | U4 => (8, 2),
            _ => (4, 1),
        }
    }

    /// Full column of the stored column `c` of row `r`.
    fn column(&self, r: usize, c: usize) -> usize {
        let (columns, unit) = self.group();
        let g = c / (columns / 2);
        let within = c % (columns / 2);
        if self.a == Tf32 {
            return g * 2 + chosen(r, g)[0] % 2;
        }
        g * columns + chosen(r, g)[within / unit] * unit + within % unit
    }

    /// The four bits of a group.
    fn nibble(&self, r: usize, g: usize) -> u32 {
        match self.a {
            Tf32 => [0b0100, 0b1110][chosen(r, g)[0] % 2],
            _ => (chosen(r, g)[0] | chosen(r, g)[1] << 2) as u32,
        }
    }

    /// What a lane holds; lanes that the selector does not name hold something else.
    fn metadata(&self, lane: usize) -> u32 {
        let groups = self.k / self.group().0;
        let lanes = groups / 4;
        let Some(n) = (lane % 4).checked_sub(self.selector * lanes % 4).filter(|n| *n < lanes) else {
            return 0x4444_4444;
        };
        (0..8).fold(0, |word, at| {
            let (row, group) = match self.a.bits() {
                4 | 8 => (lane / 4 + n % 2 * 8, n / 2 * 8 + at),
                _ => (lane / 4 + at / 4 * 8, n * 4 + at % 4),
            };
            word | self.nibble(row, group) << (4 * at)
        })
    }

    fn case(&self) -> Case {
        let &Sparse { target, k, d, a, b, selector, ordered } = self;
        let (ea, eb, ed) = (a.packed(), b.packed(), d.packed());
        let (count_a, count_b, count_d) = (16 * k / 2 / 32, k * 8 / 32, 4);
        let left = |r: usize, c: usize| a.sample(r * k + c + 3);
        let right = |r: usize, c: usize| b.sample(r * 8 + c + 11);
        let start = |r: usize, c: usize| ((r * 8 + c) % 9) as i64 - 4;
        let sum = |r: usize, c: usize| {
            start(r, c) + (0..k / 2).map(|x| left(r, x) * right(self.column(r, x), c)).sum::<i64>()
        };
        let mut input = vec![];
        for lane in 0..32 {
            let fragment: Vec<i64> =
                (0..count_a).map(|i| place_a(16, ea, lane, i)).map(|(r, c)| left(r, c)).collect();
            input.extend(pack(a, &fragment));
            let fragment: Vec<i64> =
                (0..count_b).map(|i| place_b(eb, lane, i)).map(|(r, c)| right(r, c)).collect();
            input.extend(pack(b, &fragment));
            let fragment: Vec<i64> =
                (0..count_d).map(|i| place_c(lane, i)).map(|(r, c)| start(r, c)).collect();
            input.extend(pack(d, &fragment));
            input.push(self.metadata(lane));
        }
        let expected: Vec<u32> = (0..32)
            .flat_map(|lane| {
                pack(d, &(0..count_d).map(|i| place_c(lane, i)).map(|(r, c)| sum(r, c)).collect::<Vec<i64>>())
            })
            .collect();
        let mut at = 0;
        let (text_a, list_a) = loads("va", count_a / ea, false, &mut at);
        let (text_b, list_b) = loads("vb", count_b / eb, false, &mut at);
        let (text_c, list_c) = loads("vc", count_d / ed, false, &mut at);
        let (text_m, list_m) = loads("vm", 1, false, &mut at);
        let list_d: Vec<String> = (0..count_d / ed).map(|n| format!("%r{n}")).collect();
        let stores: String = list_d
            .iter()
            .enumerate()
            .map(|(n, r)| format!("    st.global.b32 [%out+{}], {r};\n", n * 4))
            .collect();
        let variant = if ordered { "sp::ordered_metadata" } else { "sp" };
        let op = format!(
            "mma.{variant}.sync.aligned.m16n8k{k}.row.col.{0}.{1}.{2}.{0}",
            d.name(),
            a.name(),
            b.name()
        );
        let body = format!(
            "    mad.wide.u32 %in, %t, {at}, %in; mad.wide.u32 %out, %t, {}, %out;\n{text_a}{text_b}{text_c}{text_m}    {op} {{{}}}, {{{list_a}}}, {{{list_b}}}, {{{list_c}}}, {list_m}, {selector:#x};\n{stores}",
            count_d / ed * 4,
            list_d.join(", "),
        );
        Case::new(&format!("{op} selector {selector}"), target, 32, &body).input(&input).expect(&expected)
    }
}

pub fn cases() -> Vec<Case> {
    let mut out = vec![];
    let mut add = |target, k, d, a, b, selectors: usize| {
        for selector in 0..selectors {
            for ordered in [false, true] {
                out.push(Sparse { target, k, d, a, b, selector, ordered }.case());
            }
        }
    };
    for a in [F16, Bf16] {
        add(Sm80, 16, F32, a, a, 4);
        add(Sm80, 32, F32, a, a, 2);
    }
    add(Sm80, 16, F16, F16, F16, 4);
    add(Sm80, 32, F16, F16, F16, 2);
    add(Sm80, 8, F32, Tf32, Tf32, 4);
    add(Sm80, 16, F32, Tf32, Tf32, 2);
    for (a, b) in [(S8, S8), (U8, S8)] {
        add(Sm80, 32, S32, a, b, 2);
        add(Sm80, 64, S32, a, b, 1);
    }
    for (a, b) in [(S4, S4), (S4, U4)] {
        add(Sm80, 64, S32, a, b, 2);
        add(Sm80, 128, S32, a, b, 1);
    }
    for (a, b) in [(E4m3, E4m3), (E4m3, E5m2)] {
        add(Sm89, 64, F32, a, b, 1);
    }
    out
}
