//! Strided, gathered and masked access to tensors, with every coordinate checked.
//!
//! A tile is walked row by row along its *inner* axis. For each dimension of the tensor the coordinate is
//! `base + Σ stride · position`, or an element of an index tile. Along the inner axis the coordinates of affine
//! dimensions move by constants, so the positions that lie inside are one interval `[first, last)`:
//!
//! ```text
//! x[t - 3, c] else 0 with t = 0..8:   coordinate -3 + p, inside for p in [3, 8): three elements are filled
//! ```
//!
//! and the interval is one run that [`convert`] moves at the speed of memory. Index tiles and masks along the inner
//! axis go element by element. A coordinate outside is a [`super::Fault`] before anything of its row is touched,
//! unless the access says what outside means (`else`), or the mask is false.

use super::{
    Class, Env, MAX_RANK, ObjectRecord, Words, convert,
    convert::{Run, TileRun},
};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Load,
    Store,
    Accumulate,
}

/// What is known of an access at compile time; the words of a call hold the rest.
#[derive(Debug)]
pub struct AccessPlan {
    pub kind: Kind,
    pub object: usize,
    pub class: Class,
    pub rank: usize,
    pub coords: Vec<CoordPlan>,
    /// Outside reads the value given; without it and under a false mask 0 is read.
    pub otherwise: bool,
    pub mask: bool,
    pub site: i64,
}

#[derive(Debug)]
pub struct CoordPlan {
    /// `(tile axis, stride)`.
    pub terms: Vec<(u32, i64)>,
    /// The class of the index tile of a gathered coordinate.
    pub gather: Option<Class>,
    pub lo: bool,
    pub hi: bool,
    /// Outside is meant.
    pub lenient: bool,
}

/// One dimension during a call.
#[derive(Clone, Copy)]
struct Dimension<'a> {
    lo: i64,
    hi: i64,
    base: i64,
    /// Per tile axis.
    steps: [i64; MAX_RANK],
    gather: Option<(*const u8, Class, &'a [i64])>,
    memory_stride: i64,
    lenient: bool,
}

/// Words: plan, tile, extents, tile strides; for each coordinate base, lo and hi where the plan has them, or the
/// index tile and its strides; the word read outside; the mask and its strides.
pub unsafe extern "C" fn access(env: *mut Env, args: *const i64) -> i64 {
    // SAFETY: the plan lives as long as the compiled kernel; the words were written to fit it.
    unsafe {
        let plan = &*(*args as *const AccessPlan);
        let env = &mut *env;
        let object = &*env.objects.add(plan.object);
        let mut words = Words::new(args.add(1), word_count(plan) - 1);
        let tile = words.next() as *mut u8;
        let extents = words.many(plan.rank);
        let strides = words.many(plan.rank);
        let mut dims: [Option<Dimension>; MAX_RANK] = [None; MAX_RANK];
        for (d, c) in plan.coords.iter().enumerate() {
            dims[d] = Some(dimension(plan, c, &mut words, object, d));
        }
        let outside = if plan.otherwise { words.next() as u64 } else { 0 };
        let mask = plan.mask.then(|| (words.next() as *const i32, words.many(plan.rank)));
        if extents.iter().any(|&e| e <= 0) {
            return 0;
        }
        let walk = Walk { plan, object, tile, extents, strides, dims, outside, mask };
        if let Some(place) = walk.all_inside() {
            walk.move_rows(place);
            return 0;
        }
        match walk.run() {
            Ok(()) => 0,
            Err(Outside { dim, value, lo, hi }) => env.fail(plan.site, dim, value, lo, hi),
        }
    }
}

/// How many words a call with this plan takes.
pub fn word_count(plan: &AccessPlan) -> usize {
    let coord =
        |c: &CoordPlan| c.lo as usize + c.hi as usize + if c.gather.is_some() { 1 + plan.rank } else { 1 };
    2 + 2 * plan.rank
        + plan.coords.iter().map(coord).sum::<usize>()
        + plan.otherwise as usize
        + if plan.mask { 1 + plan.rank } else { 0 }
}

fn dimension<'a>(
    plan: &AccessPlan,
    c: &CoordPlan,
    words: &mut Words<'a>,
    object: &ObjectRecord,
    d: usize,
) -> Dimension<'a> {
    let size = object.dims[d];
    let lo = if c.lo { words.next().clamp(0, size) } else { 0 };
    let hi = if c.hi { words.next().clamp(0, size) } else { size };
    let mut out = Dimension {
        lo,
        hi,
        base: 0,
        steps: [0; MAX_RANK],
        gather: None,
        memory_stride: object.strides[d],
        lenient: c.lenient,
    };
    match c.gather {
        Some(class) => {
            let index = words.next() as *const u8;
            out.gather = Some((index, class, words.many(plan.rank)));
        }
        None => {
            // Far outside stays outside, and the sums below cannot overflow.
            out.base = words.next().clamp(-FAR, FAR);
            c.terms.iter().for_each(|&(axis, stride)| out.steps[axis as usize] += stride);
        }
    }
    out
}

/// Beyond every coordinate of every tensor, and far from the end of 64 bits.
const FAR: i64 = 1 << 60;

/// In place of a dimension: it is the stored value that lies outside.
pub const VALUE: i64 = -1;

struct Outside {
    dim: i64,
    value: i64,
    lo: i64,
    hi: i64,
}

struct Walk<'a> {
    plan: &'a AccessPlan,
    object: &'a ObjectRecord,
    tile: *mut u8,
    extents: &'a [i64],
    strides: &'a [i64],
    dims: [Option<Dimension<'a>>; MAX_RANK],
    outside: u64,
    mask: Option<(*const i32, &'a [i64])>,
}

/// Where a tile lies that is wholly inside: the position of its first element, and by how much positions move along each
/// of its axes.
struct Place {
    position: i64,
    moves: [i64; MAX_RANK],
}

impl Walk<'_> {
    /// The common case: affine coordinates, no mask, nothing outside, no values to check.
    fn all_inside(&self) -> Option<Place> {
        let checked = self.plan.kind == Kind::Store
            && (self.object.least != i64::MIN || self.object.greatest != i64::MAX);
        if self.mask.is_some() || checked {
            return None;
        }
        let mut place = Place { position: self.object.offset, moves: [0; MAX_RANK] };
        for (_, x) in self.dims() {
            let (mut least, mut most) = (x.base, x.base);
            for (axis, &extent) in self.extents.iter().enumerate() {
                let reach = x.steps[axis].checked_mul(extent - 1)?;
                let end = if reach < 0 { &mut least } else { &mut most };
                *end = end.checked_add(reach)?;
                let move_by = x.steps[axis].wrapping_mul(x.memory_stride);
                place.moves[axis] = place.moves[axis].wrapping_add(move_by);
            }
            if x.gather.is_some() || least < x.lo || most >= x.hi {
                return None;
            }
            place.position += x.base * x.memory_stride;
        }
        Some(place)
    }

    /// Moves a tile that is wholly inside, a run along the innermost axis at a time.
    unsafe fn move_rows(&self, place: Place) {
        let rank = self.plan.rank;
        let inner = (0..rank).rev().find(|&a| self.extents[a] > 1).or(rank.checked_sub(1));
        let n = inner.map_or(1, |a| self.extents[a]) as usize;
        let mut tile =
            TileRun { ptr: self.tile, class: self.plan.class, stride: inner.map_or(0, |a| self.strides[a]) };
        let mut run = Run {
            ptr: self.object.ptr,
            dtype: self.object.dtype,
            position: place.position,
            stride: inner.map_or(0, |a| place.moves[a]),
        };
        let mut at = [0i64; MAX_RANK];
        loop {
            // SAFETY: a run of the tile and one of the tensor, both found inside.
            unsafe { self.move_run(tile, run, n) };
            let mut axis = rank;
            loop {
                if axis == 0 {
                    return;
                }
                axis -= 1;
                if Some(axis) == inner {
                    continue;
                }
                // One step on, or back to the axis's start.
                at[axis] += 1;
                let wraps = at[axis] == self.extents[axis];
                let by = if wraps { 1 - self.extents[axis] } else { 1 };
                tile.ptr = tile.at_bytes_along(self.strides[axis] * by);
                run.position += place.moves[axis] * by;
                if !wraps {
                    break;
                }
                at[axis] = 0;
            }
        }
    }

    unsafe fn move_run(&self, tile: TileRun, run: Run, n: usize) {
        // SAFETY: as the caller promised.
        unsafe {
            match self.plan.kind {
                Kind::Load => convert::read(run, tile, n),
                Kind::Store => convert::write(tile, run, n),
                Kind::Accumulate => convert::accumulate(tile, run, n),
            }
        }
    }

    unsafe fn run(&self) -> Result<(), Outside> {
        let rank = self.plan.rank;
        // The innermost axis that is more than one element; a scalar is one row of one.
        let inner = (0..rank).rev().find(|&a| self.extents[a] > 1).or(rank.checked_sub(1));
        let mut at = [0i64; MAX_RANK];
        loop {
            // SAFETY: `at` is a position in the tile.
            unsafe { self.row(&at, inner)? };
            let mut axis = rank;
            loop {
                if axis == 0 {
                    return Ok(());
                }
                axis -= 1;
                if Some(axis) == inner {
                    continue;
                }
                at[axis] += 1;
                if at[axis] < self.extents[axis] {
                    break;
                }
                at[axis] = 0;
            }
        }
    }

    fn dims(&self) -> impl Iterator<Item = (usize, &Dimension<'_>)> {
        self.dims.iter().enumerate().map_while(|(d, x)| x.as_ref().map(|x| (d, x)))
    }

    unsafe fn row(&self, at: &[i64; MAX_RANK], inner: Option<usize>) -> Result<(), Outside> {
        let n = inner.map_or(1, |a| self.extents[a]);
        let along = |strides: &[i64]| inner.map_or(0, |a| strides[a]);
        let here = |strides: &[i64]| strides.iter().zip(at).map(|(s, p)| s * p).sum::<i64>();
        let tile = TileRun {
            ptr: self.tile.wrapping_offset((here(self.strides) * self.plan.class.bytes() as i64) as isize),
            class: self.plan.class,
            stride: along(self.strides),
        };
        let each = self.dims().any(|(_, d)| d.gather.is_some_and(|(_, _, s)| along(s) != 0))
            || self.mask.is_some_and(|(_, s)| along(s) != 0);
        if each {
            for p in 0..n {
                let mut at = *at;
                if let Some(a) = inner {
                    at[a] = p;
                }
                let one = TileRun { ptr: tile.at_bytes(p), ..tile };
                // SAFETY: one element of the tile.
                unsafe { self.span(&at, one, 1, None)? };
            }
            return Ok(());
        }
        // SAFETY: a row of the tile.
        unsafe { self.span(at, tile, n, inner) }
    }

    /// `n` elements along `inner` from position `at`; index tiles and masks do not vary along it.
    unsafe fn span(
        &self,
        at: &[i64; MAX_RANK],
        tile: TileRun,
        n: i64,
        inner: Option<usize>,
    ) -> Result<(), Outside> {
        let here = |strides: &[i64]| strides.iter().zip(at).map(|(s, p)| s * p).sum::<i64>();
        let (mut first, mut last) = (0, n);
        if let Some((mask, strides)) = self.mask {
            // SAFETY: the mask has an element here.
            if unsafe { *mask.offset(here(strides) as isize) } == 0 {
                last = 0;
            }
        }
        let (mut position, mut stride) = (0i64, 0i64);
        for (d, x) in self.dims() {
            if last <= first {
                break;
            }
            let (start, step) = match x.gather {
                // SAFETY: the index tile has an element here.
                Some((ptr, class, s)) => unsafe { (index_at(ptr, class, here(s)).clamp(-FAR, FAR), 0) },
                None => {
                    let moved: i64 = x.steps.iter().zip(at).map(|(s, p)| s * p).sum();
                    (x.base + moved, inner.map_or(0, |a| x.steps[a]))
                }
            };
            let (a, b) = inside(start, step, n, x.lo, x.hi);
            if !x.lenient && (a > 0 || b < n) {
                // Say the first coordinate outside that would be touched.
                let p = if a > first { first } else { b.max(first) };
                if p < last {
                    let value = start + step * p;
                    return Err(Outside { dim: d as i64, value, lo: x.lo, hi: x.hi });
                }
            }
            (first, last) = (first.max(a), last.min(b));
            position = position.wrapping_add(start.wrapping_mul(x.memory_stride));
            stride = stride.wrapping_add(step.wrapping_mul(x.memory_stride));
        }
        let last = last.max(first);
        if self.plan.kind == Kind::Store {
            // SAFETY: positions of the tile.
            unsafe { self.check_values(tile, first, last)? };
        }
        // SAFETY: every coordinate of `first..last` was found inside.
        unsafe { self.transfer(tile, n, first, last, position, stride) };
        Ok(())
    }

    /// What is stored in an index tensor lies in the range of its index type.
    unsafe fn check_values(&self, tile: TileRun, first: i64, last: i64) -> Result<(), Outside> {
        let (lo, hi) = (self.object.least, self.object.greatest);
        if lo == i64::MIN && hi == i64::MAX {
            return Ok(());
        }
        for p in first..last {
            // SAFETY: as the caller promised.
            let value = unsafe {
                match tile.class {
                    Class::I64 => *tile.at::<i64>(p as usize),
                    _ => *tile.at::<i32>(p as usize) as i64,
                }
            };
            if value < lo || value > hi {
                return Err(Outside { dim: VALUE, value, lo, hi: hi.saturating_add(1) });
            }
        }
        Ok(())
    }

    unsafe fn transfer(&self, tile: TileRun, n: i64, first: i64, last: i64, position: i64, stride: i64) {
        let part = |p: i64| TileRun { ptr: tile.at_bytes(p), ..tile };
        let run = Run {
            ptr: self.object.ptr,
            dtype: self.object.dtype,
            position: self.object.offset + position.wrapping_add(stride.wrapping_mul(first)),
            stride,
        };
        let count = (last - first) as usize;
        // SAFETY: as the caller found.
        unsafe {
            match self.plan.kind {
                Kind::Load => {
                    if first > 0 {
                        part(0).fill(first.min(n) as usize, self.outside);
                    }
                    if count > 0 {
                        convert::read(run, part(first), count);
                    }
                    if last < n {
                        part(last).fill((n - last) as usize, self.outside);
                    }
                }
                _ if count > 0 => self.move_run(part(first), run, count),
                _ => {}
            }
        }
    }
}

impl TileRun {
    fn at_bytes(&self, p: i64) -> *mut u8 {
        self.at_bytes_along(p * self.stride)
    }

    /// So many elements on, along any axis.
    fn at_bytes_along(&self, elements: i64) -> *mut u8 {
        self.ptr.wrapping_offset((elements * self.class.bytes() as i64) as isize)
    }
}

unsafe fn index_at(ptr: *const u8, class: Class, offset: i64) -> i64 {
    // SAFETY: the index tile has an element there.
    unsafe {
        match class {
            Class::I32 => *(ptr as *const i32).offset(offset as isize) as i64,
            _ => *(ptr as *const i64).offset(offset as isize),
        }
    }
}

/// The positions `p` of `0..n` with `lo <= start + step * p < hi`, as an interval (empty ones as `(n, n)` or
/// `(0, 0)`).
fn inside(start: i64, step: i64, n: i64, lo: i64, hi: i64) -> (i64, i64) {
    match step {
        0 if start >= lo && start < hi => (0, n),
        0 => (0, 0),
        s if s > 0 => {
            let first = (lo - start + s - 1).div_euclid(s).clamp(0, n);
            let last = (hi - start + s - 1).div_euclid(s).clamp(0, n);
            (first, last.max(first))
        }
        s => {
            // start - |s| p < hi  and  start - |s| p >= lo
            let s = -s;
            let first = ((start - hi).div_euclid(s) + 1).clamp(0, n);
            let last = ((start - lo).div_euclid(s) + 1).clamp(0, n);
            (first, last.max(first))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::inside;

    #[test]
    fn the_interval_inside_is_what_counting_finds() {
        for start in -9..9 {
            for step in -3..4 {
                for (lo, hi) in [(0, 5), (2, 3), (0, 0), (-2, 4)] {
                    let n = 6;
                    let found: Vec<i64> = (0..n).filter(|p| (lo..hi).contains(&(start + step * p))).collect();
                    let (a, b) = inside(start, step, n, lo, hi);
                    assert_eq!(found, (a..b).collect::<Vec<_>>(), "{start} {step} {lo} {hi}");
                }
            }
        }
    }
}
