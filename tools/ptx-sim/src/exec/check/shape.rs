//! Shapes: which lane of an instruction touches which byte.
//!
//! A shape stands for all the bytes of an instruction at once, so that memory need not say it byte by byte. Nearly every
//! instruction has one of two simple ones:
//!
//! ```text
//! line   lane = address / stride - c, modulo 32         ld.global.f32 [p + 4 * lane]: stride 4
//! grid   lane = i + n j at base + i step + j row        four lanes a row, as the fragments of mma.sync lie
//! ```
//!
//! A line fits the word that names a shape ([`Code`]). A grid, and an instruction whose lanes go anywhere, are written out
//! once, in a table. A code says nothing of which bytes were touched; who keeps one
//! keeps a mask, too.

use super::{
    intern::{Interner, Marks, Moved},
    lane_words::{NOBODY, SEVERAL},
    shadow::GRANULE,
};
use crate::exec::rows::lanes;

/// The name of a shape: a line, or a place in the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Code(pub u32);

/// A line: this bit, the stride, and c in five bits. Stride 0 is longer than any address: every byte is one lane's.
const LINE: u32 = 1 << 31;
const MOST_STRIDE: u64 = (1 << 26) - 2;

/// How the lanes of two shapes compare at bytes that both touch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Relation {
    Same,
    Differ,
    /// On the byte.
    Depends,
}

impl Code {
    /// More than one lane, whichever.
    pub const SEVERAL: Code = Code(u32::MAX);

    fn line(stride: u32, c: u32) -> Code {
        Code(LINE | stride << 5 | c & 31)
    }

    /// All bytes are this lane's.
    pub fn one(lane: u32) -> Code {
        Code::line(0, lane.wrapping_neg())
    }

    fn as_line(self) -> Option<(u32, u32)> {
        (self != Code::SEVERAL && self.0 & LINE != 0).then_some(((self.0 & !LINE) >> 5, self.0 & 31))
    }

    /// The place in the table of one that is written there.
    pub fn in_table(self) -> Option<u32> {
        (self.0 & LINE == 0).then_some(self.0)
    }

    pub fn relation(self, other: Code) -> Relation {
        match (self.as_line(), other.as_line()) {
            _ if self == Code::SEVERAL || other == Code::SEVERAL => Relation::Differ,
            _ if self == other => Relation::Same,
            (Some((stride, _)), Some((other, _))) if stride == other => Relation::Differ,
            _ => Relation::Depends,
        }
    }
}

/// The lanes of one instruction, and where each begins.
pub struct Lanes<'a> {
    pub mask: u32,
    /// Of each lane.
    pub bytes: u64,
    pub from: &'a [u64; 32],
}

pub struct Shapes {
    table: Interner,
    scratch: Vec<u32>,
}

impl Default for Shapes {
    fn default() -> Self {
        Shapes { table: Interner::new(length), scratch: vec![] }
    }
}

/// First words of shapes in the table.
const GRID: u32 = 0;
const SCATTER: u32 = 1;
/// Set when lanes share bytes.
const SHARED: u32 = 2;

/// First word, mask and base; then what the kind needs.
const COMMON: usize = 4;

fn length(words: &[u32]) -> usize {
    COMMON + if words[0] & 1 == GRID { 3 } else { words[1].count_ones() as usize }
}

impl Shapes {
    /// The shape of an instruction.
    pub fn of(&mut self, x: &Lanes) -> Code {
        let Some(first) = lanes(x.mask).next() else { return Code::SEVERAL };
        if x.mask.count_ones() > 1 && lanes(x.mask).all(|lane| x.from[lane] == x.from[first]) {
            return Code::SEVERAL;
        }
        let rest = x.mask & (x.mask - 1);
        let step = lanes(rest)
            .next()
            .map_or(x.bytes, |second| x.from[second].wrapping_sub(x.from[first]) / (second - first) as u64);
        let widest = x.bytes.next_power_of_two();
        line(x, first, step).or_else(|| line(x, first, widest)).unwrap_or_else(|| self.written(x, first))
    }

    fn written(&mut self, x: &Lanes, first: usize) -> Code {
        self.scratch.clear();
        let base = x.from[first];
        match grid(x) {
            Some((n, step, row)) => {
                let base = x.from[0];
                self.scratch.extend([GRID | (x.bytes as u32) << 8, x.mask, base as u32, (base >> 32) as u32]);
                self.scratch.extend([n as u32, step as u32, row as u32]);
            }
            None => {
                self.scratch.extend([
                    SCATTER | (x.bytes as u32) << 8,
                    x.mask,
                    base as u32,
                    (base >> 32) as u32,
                ]);
                self.scratch.extend(lanes(x.mask).map(|lane| x.from[lane].wrapping_sub(base) as u32));
                let far = |lane: usize| x.from[lane].wrapping_sub(base) as i64 as i32 as i64 as u64;
                if lanes(x.mask).any(|lane| base.wrapping_add(far(lane)) != x.from[lane]) {
                    // More than 2 GiB apart: byte by byte.
                    return Code::SEVERAL;
                }
            }
        }
        if share(x) {
            self.scratch[0] |= SHARED;
        }
        Code(self.table.put(&self.scratch))
    }

    /// Whether no byte belongs to two lanes.
    pub fn apart(&self, code: Code) -> bool {
        code != Code::SEVERAL && code.in_table().is_none_or(|at| self.table.get(at)[0] & SHARED == 0)
    }

    /// The lane of each byte of a granule.
    pub fn lanes(&self, code: Code, granule: u64) -> [u8; GRANULE] {
        let start = granule * GRANULE as u64;
        if code == Code::SEVERAL {
            return [SEVERAL; GRANULE];
        }
        if let Some((stride, c)) = code.as_line() {
            let stride = stride as u64;
            let (mut at, mut left) = match start.checked_div(stride) {
                Some(at) => (at, stride - start % stride),
                None => (0, u64::MAX),
            };
            return std::array::from_fn(|_| {
                if left == 0 {
                    (at, left) = (at + 1, stride);
                }
                left -= 1;
                (at as u8).wrapping_sub(c as u8) & 31
            });
        }
        let mut out = [NOBODY; GRANULE];
        let words = self.table.get(code.0);
        let (kind, bytes, mask) = (words[0] & 1, (words[0] >> 8) as i64, words[1]);
        let base = words[2] as u64 | (words[3] as u64) << 32;
        for (n, lane) in lanes(mask).enumerate() {
            let offset = match kind {
                GRID => {
                    let [per_row, step, row] = [words[4], words[5], words[6]];
                    let lane = lane as u32;
                    ((lane % per_row) as i64 * step as i32 as i64)
                        + (lane / per_row) as i64 * row as i32 as i64
                }
                _ => words[4 + n] as i32 as i64,
            };
            let at = base.wrapping_add(offset as u64).wrapping_sub(start) as i64;
            if at < GRANULE as i64 && at + bytes > 0 {
                for slot in &mut out[at.max(0) as usize..(at + bytes).min(GRANULE as i64) as usize] {
                    *slot = if *slot == NOBODY { lane as u8 } else { SEVERAL };
                }
            }
        }
        out
    }

    pub fn no_marks(&self) -> Marks {
        self.table.no_marks()
    }

    /// Keeps the shapes that are marked.
    pub fn sweep(&mut self, marks: &Marks) -> Moved {
        self.table.sweep(marks, |words, out| out.extend(words))
    }

    pub fn bytes(&self) -> usize {
        self.table.bytes()
    }
}

/// The line that all lanes lie on, if there is one of this stride.
fn line(x: &Lanes, first: usize, stride: u64) -> Option<Code> {
    if stride < x.bytes || stride > MOST_STRIDE {
        return None;
    }
    let base = x.from[first];
    // A power of two by shifts: an instruction has this asked each time.
    let (at, rest) = match stride.is_power_of_two() {
        true => (base >> stride.trailing_zeros(), base & (stride - 1)),
        false => (base / stride, base % stride),
    };
    let fits = |lane: usize| x.from[lane] == base.wrapping_add((lane - first) as u64 * stride);
    let within = rest + x.bytes <= stride && lanes(x.mask).all(fits);
    within.then(|| Code::line(stride as u32, (at as u32).wrapping_sub(first as u32)))
}

/// Lanes of a row, the step between them, and that between rows, of a grid of all lanes.
fn grid(x: &Lanes) -> Option<(usize, i64, i64)> {
    let offset = |lane: usize| x.from[lane].wrapping_sub(x.from[0]) as i64;
    let step = offset(1);
    let per_row = (2..32).find(|&lane| offset(lane) != lane as i64 * step).unwrap_or(32);
    let row = if per_row == 32 { 0 } else { offset(per_row) };
    let fits = |lane: usize| offset(lane) == (lane % per_row) as i64 * step + (lane / per_row) as i64 * row;
    let near = i32::try_from(step).is_ok() && i32::try_from(row).is_ok();
    (x.mask == u32::MAX && near && lanes(x.mask).all(fits)).then_some((per_row, step, row))
}

/// Whether two lanes touch a byte in common.
fn share(x: &Lanes) -> bool {
    let mut sorted = *x.from;
    let mut count = 0;
    for lane in lanes(x.mask) {
        sorted[count] = x.from[lane];
        count += 1;
    }
    sorted[..count].sort_unstable();
    sorted[..count].windows(2).any(|w| w[0] + x.bytes > w[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a shape says of the bytes that the lanes touch, against the lanes themselves.
    fn holds(mask: u32, bytes: u64, from: impl Fn(u64) -> u64, in_table: bool) {
        let from: [u64; 32] = std::array::from_fn(|lane| from(lane as u64));
        let mut shapes = Shapes::default();
        let code = shapes.of(&Lanes { mask, bytes, from: &from });
        assert_eq!(code.in_table().is_some(), in_table, "{code:?}");
        for lane in lanes(mask) {
            for byte in from[lane]..from[lane] + bytes {
                let met = |l: &usize| (from[*l]..from[*l] + bytes).contains(&byte);
                let want = if lanes(mask).filter(met).count() > 1 { SEVERAL } else { lane as u8 };
                let said = shapes.lanes(code, byte / 16)[(byte % 16) as usize];
                assert_eq!(said, want, "lane {lane}, byte {byte}");
            }
        }
        assert_eq!(shapes.apart(code), !share(&Lanes { mask, bytes, from: &from }));
    }

    #[test]
    fn shapes_say_the_lane_of_each_byte() {
        let base = 0x7000_0000_0100u64;
        holds(u32::MAX, 4, |lane| base + 4 * lane, false);
        holds(u32::MAX, 2, |lane| base + 6 + 2 * lane, false);
        holds(0x00ff_0ff0, 8, |lane| base + 16 * lane, false);
        holds(u32::MAX, 32, |lane| base + 32 * lane, false);
        holds(1 << 7, 4, |_| base + 12, false);
        // Rows of a matrix, padded; fragments; anything; lanes that share.
        holds(u32::MAX, 16, |lane| base + 272 * lane, false);
        holds(u32::MAX, 2, |lane| base + 7 + 3 * lane, false);
        holds(u32::MAX, 16, |lane| base + 124 + 104 * lane, true);
        holds(u32::MAX, 8, |lane| base + lane % 4 * 8 + lane / 4 * 1000, true);
        holds(u32::MAX, 4, |lane| base + 4 * (lane ^ 5), true);
        holds(0x0f0f_0f0f, 1, |lane| base + lane * lane, true);
        holds(u32::MAX, 4, |lane| base + lane / 2 * 4, true);
        holds(u32::MAX, 4, |lane| base + 4096 - 4 * lane, true);
    }

    #[test]
    fn relations_hold_at_every_byte() {
        let codes = [
            Code::line(4, 0),
            Code::line(4, 5),
            Code::line(12, 0),
            Code::line(12, 1),
            Code::one(3),
            Code::one(4),
        ];
        let shapes = Shapes::default();
        for (a, b) in codes.iter().flat_map(|a| codes.iter().map(move |b| (*a, *b))) {
            for granule in 0..64 {
                let (of_a, of_b) = (shapes.lanes(a, granule), shapes.lanes(b, granule));
                let same = of_a.iter().zip(&of_b).filter(|(a, b)| a == b).count();
                match a.relation(b) {
                    Relation::Same => assert_eq!(same, 16),
                    Relation::Differ => assert_eq!(same, 0),
                    Relation::Depends => {}
                }
            }
        }
    }
}
