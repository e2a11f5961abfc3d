//! A rectangular part of a buffer, in the buffer's own axes.
//!
//! ```text
//! z: f32[4, N]      z[l - 1] with l = 3, N = 5:  cuts 2..3 (dropped), 0..5 (kept)      shape [5]
//!                   z[l - 1][1..4]:              cuts 2..3 (dropped), 1..4 (kept)      shape [3]
//! ```
//!
//! Two parts of one buffer share elements where their cuts meet along every axis, whatever the strides are.

/// Whose memory it is, by position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Buffer {
    Param(usize),
    Temp(usize),
}

/// What is taken of one axis of a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    pub lo: usize,
    pub hi: usize,
    /// Whether the part has this axis.
    pub kept: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Region {
    pub buffer: Buffer,
    /// One for each axis of the buffer; inside of it.
    pub cuts: Vec<Cut>,
}

impl Region {
    pub fn whole(buffer: Buffer, shape: &[usize]) -> Region {
        let all = |&extent: &usize| Cut { lo: 0, hi: extent, kept: true };
        Region { buffer, cuts: shape.iter().map(all).collect() }
    }

    pub fn shape(&self) -> Vec<usize> {
        self.kept().map(|(_, cut)| cut.hi - cut.lo).collect()
    }

    /// Where the part begins in a buffer with these strides, and the strides of the part.
    pub fn place(&self, strides: &[i64]) -> (i64, Vec<i64>) {
        let offset = self.cuts.iter().zip(strides).map(|(cut, stride)| cut.lo as i64 * stride).sum();
        (offset, self.kept().filter_map(|(axis, _)| strides.get(axis).copied()).collect())
    }

    pub fn overlaps(&self, other: &Region) -> bool {
        let meet = |(a, b): (&Cut, &Cut)| a.lo.max(b.lo) < a.hi.min(b.hi);
        self.buffer == other.buffer && self.cuts.iter().zip(&other.cuts).all(meet)
    }

    /// A part of this part: a cut for each of its axes, counted from where it begins and inside of it.
    pub(crate) fn part(mut self, cuts: &[Cut]) -> Region {
        let axes: Vec<usize> = self.kept().map(|(axis, _)| axis).collect();
        for (axis, cut) in axes.into_iter().zip(cuts) {
            let lo = self.cuts[axis].lo;
            self.cuts[axis] = Cut { lo: lo + cut.lo, hi: lo + cut.hi, kept: cut.kept };
        }
        self
    }

    fn kept(&self) -> impl Iterator<Item = (usize, &Cut)> {
        self.cuts.iter().enumerate().filter(|(_, cut)| cut.kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(lo: usize, hi: usize, kept: bool) -> Cut {
        Cut { lo, hi, kept }
    }

    #[test]
    fn parts_of_parts_are_parts_of_the_buffer() {
        let row = Region::whole(Buffer::Temp(0), &[4, 5]).part(&[cut(2, 3, false), cut(0, 5, true)]);
        assert_eq!((row.shape(), row.place(&[5, 1])), (vec![5], (10, vec![1])));
        let middle = row.clone().part(&[cut(1, 4, true)]);
        assert_eq!((middle.shape(), middle.place(&[1, 4])), (vec![3], (6, vec![4])));
        let element = middle.part(&[cut(2, 3, false)]);
        assert_eq!((element.shape(), element.place(&[5, 1])), (vec![], (13, vec![])));
    }

    #[test]
    fn parts_overlap_where_they_meet_along_every_axis() {
        let whole = Region::whole(Buffer::Param(1), &[4, 6]);
        let of = |rows: (usize, usize), columns: (usize, usize)| {
            whole.clone().part(&[cut(rows.0, rows.1, true), cut(columns.0, columns.1, true)])
        };
        assert!(of((0, 2), (0, 3)).overlaps(&of((1, 3), (2, 6))));
        assert!(!of((0, 2), (0, 3)).overlaps(&of((0, 2), (3, 6))));
        assert!(!of((0, 2), (0, 3)).overlaps(&Region::whole(Buffer::Param(0), &[4, 6])));
        assert!(!of((0, 2), (3, 3)).overlaps(&whole));
    }
}
