//! Shuffles, votes, `match`, `redux`, `elect`, `movmatrix`.

use super::rows::{LANES, Rows, lanes};
use crate::ir::{AtomOp, FloatMods, Op, Shuffle, Vote};

/// Executes a warp-wide operation for the lanes of `mask`; an error names what is wrong. `live`: lanes that have not exited.
///
/// Lanes that execute one instruction together may name different members (tiles of eight lanes, say): each set of
/// members is an operation of its own.
pub fn run(r: &mut Rows, mask: u32, live: u32, op: &Op) -> Result<(), String> {
    let Some(members) = members_of(op) else { return run_group(r, mask, op) };
    let named = *r.row(members);
    let mut left = mask;
    while left != 0 {
        let first = left.trailing_zeros() as usize;
        let group = lanes(left).filter(|&l| named[l] == named[first]).fold(0, |m, l| m | 1 << l);
        let missing = named[first] & live & !group;
        if let Some(l) = lanes(group).find(|&l| named[l] >> l & 1 == 0) {
            return Err(format!(
                "lane {l} executes an operation of lanes {:#010x}, and is none of them",
                named[l]
            ));
        }
        if missing != 0 {
            return Err(format!(
                "lanes {:#010x} are named, but only {group:#010x} execute this together; {missing:#010x} are missing",
                named[first]
            ));
        }
        run_group(r, group, op)?;
        left &= !group;
    }
    Ok(())
}

/// The row that holds the member mask, of `.sync` operations that have one.
fn members_of(op: &Op) -> Option<u32> {
    match op {
        Op::Shuffle { members, .. }
        | Op::VotePred { members, .. }
        | Op::VoteBallot { members, .. }
        | Op::MatchAny { members, .. }
        | Op::MatchAll { members, .. }
        | Op::Redux { members, .. }
        | Op::Elect { members, .. } => Some(*members),
        _ => None,
    }
}

/// The operation among lanes that all name each other.
fn run_group(r: &mut Rows, mask: u32, op: &Op) -> Result<(), String> {
    match op {
        Op::Shuffle { kind, d, p, a, lane, clamp, .. } => {
            let (from, by, limit) = (*r.row(*a), *r.row(*lane), *r.row(*clamp));
            let mut out = [0; LANES];
            let mut inside = 0;
            for l in lanes(mask) {
                let (source, ok) = source_lane(*kind, l as u32, by[l] & 31, limit[l]);
                // Beyond the segment a lane keeps its own value. What a lane that takes no part would give is undefined.
                out[l] = if ok { from[source as usize] } else { from[l] };
                inside |= (ok as u32) << l;
            }
            r.put(*d, mask, &out);
            if let Some(p) = p {
                r.set_pred(*p, inside, mask);
            }
        }
        Op::VotePred { kind, d, a, negate, .. } => {
            let votes = votes(r, *a, *negate) & mask;
            let result = match kind {
                Vote::All => votes == mask,
                Vote::Any => votes != 0,
                Vote::Uni => votes == mask || votes == 0,
            };
            r.set_pred(*d, if result { u32::MAX } else { 0 }, mask);
        }
        Op::VoteBallot { d, a, negate, .. } => {
            let votes = votes(r, *a, *negate) & mask;
            r.put(*d, mask, &[votes; LANES]);
        }
        Op::MatchAny { wide, d, a, .. } => {
            let value = |r: &Rows, l| if *wide { r.wide(*a, l) } else { r.row(*a)[l] as u64 };
            let mut out = [0; LANES];
            for l in lanes(mask) {
                out[l] = lanes(mask).filter(|&o| value(r, o) == value(r, l)).fold(0, |m, o| m | 1 << o);
            }
            r.put(*d, mask, &out);
        }
        Op::MatchAll { wide, d, p, a, .. } => {
            let value = |l| if *wide { r.wide(*a, l) } else { r.row(*a)[l] as u64 };
            let first = value(mask.trailing_zeros() as usize & 31);
            let all = lanes(mask).all(|l| value(l) == first);
            if let Some(d) = d {
                r.put(*d, mask, &[if all { mask } else { 0 }; LANES]);
            }
            if let Some(p) = p {
                r.set_pred(*p, if all { u32::MAX } else { 0 }, mask);
            }
        }
        Op::TransposeMatrix { d, a } => {
            if mask != u32::MAX {
                return Err(format!(
                    "`movmatrix` by lanes {mask:#010x} only; the whole warp has to take part"
                ));
            }
            let from = *r.row(*a);
            // Element (row, column) of the source lies in lane 4 row + column / 2, half column % 2.
            let element =
                |row: usize, column: usize| from[4 * row + column / 2] >> (16 * (column % 2)) & 0xffff;
            let out = std::array::from_fn(|lane| {
                let (row, column) = (lane / 4, 2 * (lane % 4));
                element(column, row) | element(column + 1, row) << 16
            });
            r.put(*d, mask, &out);
        }
        Op::Redux { op, float, magnitude, signed, d, a, .. } => {
            let values = *r.row(*a);
            let join = |x: u32, y: u32| match float {
                Some(mods) => float_extremum(*op, *mods, x, y),
                None => combine(*op, *signed, x, y),
            };
            // A lone value goes through the same rule: NaN becomes the one NaN.
            let own = |l: usize| {
                let value = if *magnitude { values[l] & !(1 << 31) } else { values[l] };
                if float.is_some() { join(value, value) } else { value }
            };
            let result = lanes(mask).map(own).reduce(join).unwrap_or(0);
            r.put(*d, mask, &[result; LANES]);
        }
        Op::Elect { d, p, .. } => {
            let leader = mask.trailing_zeros();
            if let Some(d) = d {
                r.put(*d, mask, &[leader; LANES]);
            }
            r.set_pred(*p, 1 << leader, mask);
        }
        Op::ActiveMask { d } => r.put(*d, mask, &[mask; LANES]),
        _ => {}
    }
    Ok(())
}

fn votes(r: &Rows, a: u32, negate: bool) -> u32 {
    if negate { !r.pred(a) } else { r.pred(a) }
}

/// The lane that is read and whether it lies inside the segment (PTX ISA, `shfl.sync`).
pub fn source_lane(kind: Shuffle, lane: u32, by: u32, c: u32) -> (u32, bool) {
    let (clamp, segment) = (c & 31, c >> 8 & 31);
    let max = (lane & segment) | (clamp & !segment);
    let min = lane & segment;
    let (source, ok) = match kind {
        Shuffle::Up => (lane.wrapping_sub(by), lane.wrapping_sub(by) as i32 >= max as i32),
        Shuffle::Down => (lane + by, lane + by <= max),
        Shuffle::Xor => (lane ^ by, (lane ^ by) <= max),
        Shuffle::Idx => (min | (by & !segment), (min | (by & !segment)) <= max),
    };
    (source & 31, ok)
}

fn float_extremum(op: AtomOp, mods: FloatMods, x: u32, y: u32) -> u32 {
    let (p, q) = (f32::from_bits(x), f32::from_bits(y));
    match (p.is_nan(), q.is_nan()) {
        (true, true) => 0x7fff_ffff,
        (true, false) | (false, true) if mods.nan => 0x7fff_ffff,
        (true, false) => y,
        (false, true) => x,
        // -0 lies below +0, as `total_cmp` has it.
        _ if p.total_cmp(&q).is_lt() == (op == AtomOp::Min) => x,
        _ => y,
    }
}

pub fn combine(op: AtomOp, signed: bool, x: u32, y: u32) -> u32 {
    match op {
        AtomOp::Add => x.wrapping_add(y),
        AtomOp::Min if signed => (x as i32).min(y as i32) as u32,
        AtomOp::Max if signed => (x as i32).max(y as i32) as u32,
        AtomOp::Min => x.min(y),
        AtomOp::Max => x.max(y),
        AtomOp::And => x & y,
        AtomOp::Or => x | y,
        _ => x ^ y,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffle_segments() {
        assert_eq!(source_lane(Shuffle::Down, 30, 4, 31), (2, false));
        assert_eq!(source_lane(Shuffle::Xor, 5, 1, 31), (4, true));
        // Segments of 8 lanes: c = (32 - 8) << 8 | 31.
        assert_eq!(source_lane(Shuffle::Down, 6, 4, 24 << 8 | 31), (10, false));
        assert_eq!(source_lane(Shuffle::Up, 9, 1, 24 << 8), (8, true));
        assert_eq!(source_lane(Shuffle::Idx, 9, 3, 24 << 8 | 31), (11, true));
    }
}
