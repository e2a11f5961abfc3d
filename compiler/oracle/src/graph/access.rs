//! The walk over an access: for each row of the tile, where its elements lie in memory.
//!
//! A row is the tile's last axis. If no coordinate is looked up along it, no mask cuts it and both its ends are inside,
//! it is one strided run; else its elements are placed one by one. So a whole tile in the middle of a tensor costs a
//! few operations per row, and tails, halos and gathers cost what they must.
//!
//! ```text
//! x[t - 2, c] else 0   over x: [5, 4], t = 0..3:   rows t = 0 and 1 are placed one by one (all outside),
//!                                                  row t = 2 is the run 0, 1, 2, 3
//! ```

use super::value::{MAX_RANK, Shape};
use tile_graph::Check;

/// One coordinate of an access, its ports already read.
pub struct Place<'v> {
    pub base: i64,
    /// Per tile axis.
    pub steps: [i64; MAX_RANK],
    /// An index tile and its strides along the tile's axes.
    pub gather: Option<(&'v [i64], [usize; MAX_RANK])>,
    /// Inside means `lo <= coordinate < hi`.
    pub lo: i64,
    pub hi: i64,
    pub check: Check,
    /// Of this dimension in memory.
    pub stride: usize,
}

/// A coordinate that is outside and should not be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outside {
    pub dim: usize,
    pub coordinate: i64,
}

/// What to do with the elements of a tile, in row-major order.
pub trait Sink {
    type Error: From<Outside>;
    /// `len` elements from `first`, `step` apart.
    fn run(&mut self, first: usize, step: isize, len: usize) -> Result<(), Self::Error>;
    /// One element, or one that is outside or masked off.
    fn one(&mut self, place: Option<usize>) -> Result<(), Self::Error>;
}

pub type Mask<'v> = Option<(&'v [i64], [usize; MAX_RANK])>;

pub fn walk<S: Sink>(
    tile: Shape,
    places: &[Place<'_>],
    mask: Mask<'_>,
    sink: &mut S,
) -> Result<(), S::Error> {
    if tile.count() == 0 {
        return Ok(());
    }
    let (outer, inner) = match tile.rank() {
        0 => (0, 1),
        rank => (rank - 1, tile.dim(rank - 1)),
    };
    let whole_rows =
        mask.is_none() && places.iter().all(|p| p.gather.is_none_or(|(_, s)| inner == 1 || s[outer] == 0));
    let mut at = [0usize; MAX_RANK];
    let mut starts = vec![0i64; places.len()];
    loop {
        for (start, place) in starts.iter_mut().zip(places) {
            *start = coordinate(place, &at[..outer]);
        }
        match whole_rows.then(|| straight(places, &starts, outer, inner)).flatten() {
            Some((first, step)) => sink.run(first, step, inner)?,
            None => scattered(places, mask, &mut at, outer, inner, sink)?,
        }
        let mut axis = outer;
        loop {
            if axis == 0 {
                return Ok(());
            }
            axis -= 1;
            at[axis] += 1;
            if at[axis] < tile.dim(axis) {
                break;
            }
            at[axis] = 0;
        }
    }
}

/// The coordinate at a position of the tile (axes not given are at 0).
fn coordinate(place: &Place<'_>, at: &[usize]) -> i64 {
    let affine = at.iter().zip(&place.steps).fold(place.base, |sum, (&i, &step)| match step {
        0 => sum,
        step => sum.saturating_add(step.saturating_mul(i as i64)),
    });
    match place.gather {
        None => affine,
        Some((index, strides)) => {
            let from: usize = at.iter().zip(&strides).map(|(i, s)| i * s).sum();
            affine.saturating_add(index.get(from).copied().unwrap_or(i64::MIN))
        }
    }
}

/// First offset and step of a row whose ends are both inside in every dimension.
fn straight(places: &[Place<'_>], starts: &[i64], axis: usize, len: usize) -> Option<(usize, isize)> {
    let (mut first, mut along) = (0, 0);
    for (place, &start) in places.iter().zip(starts) {
        let step = if len == 1 { 0 } else { place.steps[axis] };
        let end = start.checked_add(step.checked_mul(len as i64 - 1)?)?;
        let inside = |c| place.lo <= c && c < place.hi;
        if !inside(start) || !inside(end) {
            return None;
        }
        first += start as usize * place.stride;
        along += step as isize * place.stride as isize;
    }
    Some((first, along))
}

fn scattered<S: Sink>(
    places: &[Place<'_>],
    mask: Mask<'_>,
    at: &mut [usize; MAX_RANK],
    axis: usize,
    len: usize,
    sink: &mut S,
) -> Result<(), S::Error> {
    for n in 0..len {
        at[axis] = n;
        let masked = mask.is_some_and(|(bits, strides)| {
            let from: usize = at[..=axis].iter().zip(&strides).map(|(i, s)| i * s).sum();
            bits.get(from) == Some(&0)
        });
        let place = if masked { None } else { element(places, &at[..=axis])? };
        sink.one(place)?;
    }
    at[axis] = 0;
    Ok(())
}

/// The offset of one element; `None` where it is outside and that is meant.
fn element(places: &[Place<'_>], at: &[usize]) -> Result<Option<usize>, Outside> {
    let mut offset = Some(0);
    for (dim, place) in places.iter().enumerate() {
        let c = coordinate(place, at);
        if place.lo <= c && c < place.hi {
            offset = offset.map(|o| o + c as usize * place.stride);
        } else if place.check == Check::Else {
            offset = None;
        } else {
            return Err(Outside { dim, coordinate: c });
        }
    }
    Ok(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Trace(Vec<String>);

    impl Sink for Trace {
        type Error = Outside;

        fn run(&mut self, first: usize, step: isize, len: usize) -> Result<(), Outside> {
            self.0.push(format!("{first}+{step}x{len}"));
            Ok(())
        }

        fn one(&mut self, place: Option<usize>) -> Result<(), Outside> {
            self.0.push(place.map_or("-".into(), |p| p.to_string()));
            Ok(())
        }
    }

    fn along(axis: usize, base: i64, hi: i64, stride: usize, check: Check) -> Place<'static> {
        let mut steps = [0; MAX_RANK];
        steps[axis] = 1;
        Place { base, steps, gather: None, lo: 0, hi, check, stride }
    }

    fn traced(tile: &[usize], places: &[Place<'_>], mask: Mask<'_>) -> Result<String, Outside> {
        let mut trace = Trace::default();
        walk(Shape::new(tile), places, mask, &mut trace)?;
        Ok(trace.0.join(" "))
    }

    #[test]
    fn rows_inside_are_runs_and_a_halo_is_placed_by_element() {
        let places = [along(0, -2, 5, 4, Check::Else), along(1, 0, 4, 1, Check::Proven)];
        assert_eq!(traced(&[3, 4], &places, None).unwrap(), "- - - - - - - - 0+1x4");
    }

    #[test]
    fn outside_without_else_is_an_error_with_the_coordinate() {
        let places = [along(0, 3, 5, 1, Check::InPlace)];
        assert_eq!(traced(&[3], &places, None), Err(Outside { dim: 0, coordinate: 5 }));
    }

    #[test]
    fn a_gather_looks_up_and_a_mask_cuts() {
        let index = [2, 0, -1];
        let mut strides = [0; MAX_RANK];
        strides[0] = 1;
        let rows = Place {
            base: 0,
            steps: [0; MAX_RANK],
            gather: Some((&index, strides)),
            lo: 0,
            hi: 3,
            check: Check::InPlace,
            stride: 2,
        };
        let bits = [1, 1, 0];
        let places = [rows, along(1, 0, 2, 1, Check::Proven)];
        assert_eq!(traced(&[3, 2], &places, Some((&bits, strides))).unwrap(), "4 5 0 1 - -");
        assert_eq!(traced(&[3, 2], &places, None), Err(Outside { dim: 0, coordinate: -1 }));
        assert_eq!(traced(&[2, 2], &places, None).unwrap(), "4+1x2 0+1x2");
    }

    #[test]
    fn a_scalar_is_one_run() {
        let place = Place {
            base: 3,
            steps: [0; MAX_RANK],
            gather: None,
            lo: 0,
            hi: 5,
            check: Check::Proven,
            stride: 7,
        };
        assert_eq!(traced(&[], &[place], None).unwrap(), "21+0x1");
    }
}
